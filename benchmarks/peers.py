# SPDX-License-Identifier: MIT
"""The commands that are measured: oe-oci's, and umoci's in the order of meta-virtualization's class."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks import packages
from benchmarks.corpus import TOPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

OE_OCI = os.path.join(os.path.dirname(sys.executable), "oe-oci")
UMOCI_TOOLS = ("umoci", "rsync")

# The same settings for both; none of them asks git.
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


def can_be_paranoid() -> bool:
    """Whether this oe-oci has the option that reads every input again."""
    done = subprocess.run([OE_OCI, "build", "--help"], capture_output=True, text=True, check=True)
    return "--paranoid" in done.stdout


def umoci_flow(fills: Mapping[str, Sequence[str]], out: str, bundle: str) -> str:
    """A script of the calls: an empty image is unpacked, and after each layer its bundle is made anew.

    Of each layer, `fills` has the commands that bring its files into the bundle's root file system.
    """
    unpack = _line("umoci", "unpack", "--rootless", "--image", f"{out}:latest", bundle)
    lines = ["set -e", _line("umoci", "init", "--layout", out), _line("umoci", "new", "--image", f"{out}:latest")]
    for commands in fills.values():
        remove = [_line("rm", "-rf", bundle)] if len(lines) > 3 else []
        lines += [*remove, unpack, *commands, _line("umoci", "repack", "--image", f"{out}:latest", bundle)]
    lines += [_line("umoci", "config", "--image", f"{out}:latest", *words) for words in _settings()]
    return "".join(f"{line}\n" for line in lines)


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


def fills_of_files(rootfs: str, bundle: str) -> dict[str, list[str]]:
    """Each layer is one of the top folders."""
    return {layer: [_merge(os.path.join(rootfs, top), bundle)] for layer, top in TOPS.items()}


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
