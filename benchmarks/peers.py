# SPDX-License-Identifier: MIT
"""The commands that are measured: oe-oci's, and those of the tools that it is compared with."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import packages
from benchmarks.measure import version_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

OE_OCI = os.path.join(os.path.dirname(sys.executable), "oe-oci")
PACKED = "layer"  # the file that `packed` makes


class Peer(NamedTuple):
    """What is measured beside oe-oci: its name, the compression of its layers, the programs it takes."""

    name: str
    compression: str
    programs: tuple[str, ...]
    as_root: bool = False


_PIPED = ("bash", "tar", "tee", "sha256sum")
PEERS = {
    "umoci": Peer("the umoci flow", "gzip", ("bash", "umoci", "rsync")),
    "insert": Peer("umoci insert", "gzip", ("bash", "umoci")),
    "buildah": Peer("buildah", "gzip", ("bash", "buildah", "unshare"), as_root=True),
    "bud": Peer("buildah bud", "gzip", ("bash", "buildah", "unshare"), as_root=True),
    "pigz": Peer("tar and pigz", "gzip", (*_PIPED, "pigz")),
    "zstd": Peer("tar and zstd", "zstd", (*_PIPED, "zstd")),
    "mmdebstrap": Peer("mmdebstrap", "gzip", (*_PIPED, "mmdebstrap", "pigz", "unshare"), as_root=True),
}
_VERSIONED = ("buildah", "pigz", "rsync", "tar", "umoci", "zstd")
# About the size that oe-oci's own level makes, in less time than the default takes.
PIGZ = ("pigz", "-n", "-4")
EPOCH = "1700000000"

# The same settings for all; none of them asks git.
_LABELS = {
    "org.opencontainers.image.created": "2026-01-01T00:00:00Z",
    "org.opencontainers.image.revision": "0123456789abcdef",
    "org.opencontainers.image.version": "1.2",
    "vendor": "Example",
}
_CONF = """\
OCI_LAYERS = "{layers}"
NO_RECOMMENDATIONS = "1"
OCI_IMAGE_TAR_OUTPUT = "0"
OCI_IMAGE_AUTO_LABELS = "0"
OCI_IMAGE_LABELS = "{labels}"
OCI_IMAGE_AUTHOR = "a@example.com"
OCI_IMAGE_ENV_VARS = "PATH=/usr/bin:/bin"
OCI_IMAGE_WORKINGDIR = "/"
OCI_IMAGE_ENTRYPOINT = "/bin/sh"
OCI_IMAGE_CMD = "-l"
"""


def configuration(layers: Iterable[str]) -> str:
    """An `image.conf` of these layers."""
    labels = " ".join(f"{key}={value}" for key, value in _LABELS.items())
    return _CONF.format(layers=" ".join(layers), labels=labels)


def present(programs: Iterable[str], without: str) -> bool:
    """Whether programs are there; what can not be measured without them is said."""
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        print(f"no {', '.join(missing)}: without {without}", file=sys.stderr)
    return not missing


def can_install(programs: Iterable[str], name: str) -> bool:
    """Whether a package manager, which takes root and these programs, can be measured; if not, why is said."""
    if os.geteuid() != 0:
        print(f"not root: without {name}", file=sys.stderr)
        return False
    return present(programs, name)


def can_run(name: str) -> bool:
    """Whether a peer can be measured; if not, why is said."""
    peer = PEERS[name]
    return can_install(peer.programs, peer.name) if peer.as_root else present(peer.programs, peer.name)


def versions(names: Iterable[str]) -> str:
    """The programs that some peers are, and their versions."""
    programs = {program for name in names for program in PEERS[name].programs if program in _VERSIONED}
    return ", ".join(f"{program} {version_of(program, '--version')}" for program in sorted(programs))


def compile_oe_oci() -> None:
    """Compile the oe-oci that is measured to bytecode, as an installation has it."""
    text = "import compileall, oe_oci; compileall.compile_dir(oe_oci.__path__[0], quiet=1)"
    # Isolated, as its own program is: this process may have the modules of another folder.
    subprocess.run([sys.executable, "-I", "-c", text], check=True)


def can_be_paranoid() -> bool:
    """Whether this oe-oci has the option that reads every input again."""
    done = subprocess.run([OE_OCI, "build", "--help"], capture_output=True, text=True, check=True)
    return "--paranoid" in done.stdout


def umoci_flow(fills: Mapping[str, Sequence[str]], out: str, bundle: str) -> str:
    """A script of the calls in the order of meta-virtualization's class.

    An empty image is unpacked, and after each layer its bundle is made anew. Of each layer, `fills` has the commands
    that bring its files into the bundle's root file system.
    """
    unpack = _line("umoci", "unpack", "--rootless", "--image", f"{out}:latest", bundle)
    lines = _new(out)
    for commands in fills.values():
        remove = [_line("rm", "-rf", bundle)] if len(lines) > 3 else []
        lines += [*remove, unpack, *commands, _line("umoci", "repack", "--image", f"{out}:latest", bundle)]
    return _text([*lines, *_configured(out)])


def umoci_insert(rootfs: str, folders: Iterable[str], out: str) -> str:
    """A script that puts each top folder into a layer without unpacking anything."""
    insert = ("umoci", "insert", "--rootless", "--image", f"{out}:latest")
    inserts = [_line(*insert, os.path.join(rootfs, folder), f"/{folder}") for folder in folders]
    return _text([*_new(out), *inserts, *_configured(out)])


def _new(out: str) -> list[str]:
    return ["set -e", _line("umoci", "init", "--layout", out), _line("umoci", "new", "--image", f"{out}:latest")]


def _configured(out: str) -> list[str]:
    return [_line("umoci", "config", "--image", f"{out}:latest", *words) for words in _settings()]


def _settings() -> Iterator[tuple[str, ...]]:
    """What `umoci config` is given, a call for each, as the class does it."""
    for key, value in _LABELS.items():
        yield "--config.label", f"{key}={value}"
    yield "--config.env", "PATH=/usr/bin:/bin"
    yield "--config.workingdir", "/"
    yield "--os", "linux"
    yield "--config.entrypoint", "/bin/sh"
    yield "--config.cmd", "-l"
    yield "--author", "a@example.com"


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def buildah(rootfs: str, folders: Iterable[str], out: str, store: str) -> str:
    """A script that copies each top folder into a container and commits it as a layer, with overlay as the storage."""
    lines, image = ["set -e"], "scratch"
    for folder in folders:
        copied = _line(os.path.join(rootfs, folder), f"/{folder}")
        lines += [
            f"container=$({_buildah(store)} from --isolation chroot {image})",
            f'{_buildah(store)} copy --quiet "$container" {copied} >/dev/null',
            f"image=$({_buildah(store)} commit --quiet --rm --format oci $container)",
        ]
        image = "$image"
    labels = [word for key, value in _LABELS.items() for word in ("--label", f"{key}={value}")]
    words = [*labels, "--env", "PATH=/usr/bin:/bin", "--workingdir", "/", "--entrypoint", "/bin/sh", "--cmd", "-l"]
    configured = f"{_buildah(store)} config --author a@example.com {_line(*words)} $container"
    lines.insert(-1, configured)
    return _in_namespace([*lines, _pushed("$image", out, store)])


def buildah_bud(rootfs: str, folders: Iterable[str], out: str, store: str) -> str:
    """A script that builds a Containerfile of a COPY for each top folder; what it stores is its cache of layers."""
    copies = "".join(f"COPY {folder} /{folder}\n" for folder in folders)
    labels = " ".join(f"{key}={value}" for key, value in _LABELS.items())
    settings = f'LABEL {labels}\nENV PATH=/usr/bin:/bin\nWORKDIR /\nENTRYPOINT ["/bin/sh"]\nCMD ["-l"]\n'
    build = f"{_buildah(store)} bud --quiet --layers --isolation chroot --tag made --file - {_line(rootfs)} >/dev/null"
    lines = ["set -e", f"{build} <<'end'\nFROM scratch\n{copies}{settings}end", _pushed("made", out, store)]
    return _in_namespace(lines)


def _buildah(store: str) -> str:
    # What is said to be mounted is not any more in the next run: that lies in the folder which each run has anew.
    root = _line("buildah", "--storage-driver", "overlay", "--root", store)
    return f'{root} --runroot "$TMPDIR/run"'


def _pushed(image: str, out: str, store: str) -> str:
    return f"{_buildah(store)} push --quiet {image} {_line(f'oci:{out}:latest')}"


def _in_namespace(lines: Iterable[str]) -> str:
    """What buildah mounts is gone with the script."""
    return f"exec unshare --mount bash -c {_line(_text(lines))}\n"


def packed(tar: Sequence[str], compressor: Sequence[str], place: str) -> str:
    """A script for bash that makes what a layer is, of a command which writes a tar, in the folder `place`.

    A compressed tar is in PACKED then, and its digest and that of the raw bytes in `digest` and `diff-id`.
    """
    files = (">(sha256sum >diff-id)", _line(*compressor), PACKED)
    pipe = "{} | tee {} | {} | tee {} | sha256sum >digest".format(_line(*tar), *files)
    return _text([f"cd {_line(place)}", "set -e -o pipefail", pipe])


def limit(words: Sequence[str]) -> str:
    """A script that runs `limit.py`."""
    return _text([_line("exec", sys.executable, "-P", os.path.join(os.path.dirname(__file__), "limit.py"), *words)])


def mmdebstrap(variant: str, names: str, feed: str, *options: str) -> list[str]:
    """mmdebstrap's words for a tar of these packages and all they depend on, from a feed alone."""
    words = ["--mode=root", f"--variant={variant}", f"--include={names}", *options, "--format=tar"]
    # Nothing waits for the disk.
    words += ['--aptopt=APT::Install-Recommends "false"', "--dpkgopt=force-unsafe-io"]
    source = f"deb [trusted=yes] copy:{feed} ./"
    # What it mounts is gone with it, should it take too long: all that is left of it is removed then.
    return ["env", f"SOURCE_DATE_EPOCH={EPOCH}", "unshare", "--mount", "mmdebstrap", *words, "", "-", source]


def tar_of(rootfs: str) -> list[str]:
    """The words of GNU tar for all of a folder, always in one order."""
    return ["tar", "-C", rootfs, "--sort=name", "--numeric-owner", "-c", "."]


def fills_of_files(rootfs: str, folders: Iterable[str], bundle: str) -> dict[str, list[str]]:
    """Each layer is one of the top folders."""
    return {folder: [_merge(os.path.join(rootfs, folder), bundle)] for folder in folders}


def fills_of_packages(feed: str, installed: Mapping[str, Sequence[str]], bundle: str) -> dict[str, list[str]]:
    """Each layer's packages are unpacked into a folder first; `installed` names them."""
    fills = {}
    for layer, names in installed.items():
        root = f"{bundle}-{layer}"
        unpack = [_line("dpkg-deb", "-x", packages.file_of(name, feed), root) for name in names]
        fills[layer] = [_line("mkdir", root), *unpack, _merge(f"{root}/", bundle)]
    return fills


def _merge(source: str, bundle: str) -> str:
    return _line("rsync", "-a", "--no-owner", "--no-group", source, os.path.join(bundle, "rootfs", ""))


def _line(*words: str) -> str:
    return shlex.join(words)
