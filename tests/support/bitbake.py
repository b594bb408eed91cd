# SPDX-License-Identifier: MIT
"""Builds by real bitbake: a folder for each series of openembedded-core and each format of packages.

What is built with comes from the environment: OE_OCI_BITBAKE and OE_OCI_OECORE name checkouts, separated by colons and
in pairs; OE_OCI_PSEUDO is the prefix of a pseudo that knows include paths; OE_OCI_BUILDS a folder that keeps the build
folders from one run of the tests to the next.
"""

from __future__ import annotations

import contextlib
import fcntl
import filecmp
import itertools
import json
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from . import tools

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FORMATS = {
    "ipk": ("opkg", "opkg-build", "opkg-make-index"),
    "rpm": ("rpm", "rpmbuild", "dnf", "createrepo_c"),
    "deb": ("dpkg", "dpkg-deb", "apt-get", "apt-ftparchive"),
}
SAMPLES = tools.ROOT / "tests" / "bitbake" / "meta-samples"
EXAMPLES = tools.ROOT / "docs" / "examples"
# bitbake refuses to run as root. The number is nobody's: what it owns is the build's by mistake.
USER = 31019
_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
_LOCAL_CONF = """\
MACHINE = "samples"
DISTRO = "samples"
PACKAGE_CLASSES = "package_{kind}"
IMAGE_FSTYPES = "tar"
TMPDIR = "{tmp}"
BB_SERVER_TIMEOUT = "0"
SAMPLES_PSEUDO = "{pseudo}"
PATCH_GIT_USER_NAME = "Samples"
PATCH_GIT_USER_EMAIL = "samples@example.org"
"""
_BBLAYERS_CONF = """\
LCONF_VERSION = "7"
BBPATH = "${{TOPDIR}}"
BBFILES ?= ""
BBLAYERS = "{layers}"
"""


class Checkouts(NamedTuple):
    """A bitbake and the openembedded-core that goes with it."""

    bitbake: Path
    core: Path

    @property
    def series(self) -> str:
        text = (self.core / "meta" / "conf" / "layer.conf").read_text(encoding="utf-8")
        found = re.search(r'^LAYERSERIES_CORENAMES = "(\w+)', text, re.MULTILINE)
        assert found, self.core
        return found[1]

    @property
    def behind_tmpdir(self) -> str:
        """What older series put behind TMPDIR: the name of the C library."""
        defaults = self.core / "meta" / "conf" / "distro" / "defaultsetup.conf"
        return "-glibc" if "TCLIBCAPPEND" in defaults.read_text(encoding="utf-8") else ""


def checkouts() -> list[Checkouts]:
    """The pairs that the environment names."""
    bitbakes, cores = (os.environ.get(name, "").split(":") for name in ("OE_OCI_BITBAKE", "OE_OCI_OECORE"))
    return [Checkouts(Path(one), Path(other)) for one, other in zip(bitbakes, cores) if one and other]


class Failed(Exception):  # noqa: N818 - of bitbake, not of the tests
    """bitbake ended with another status than was expected."""


class Build:
    """A build folder."""

    def __init__(self, folder: Path, pair: Checkouts, kind: str, tmp: str = "tmp") -> None:
        self.folder = folder
        self.kind = kind
        self.series = pair.series
        self.pseudo = Path(os.environ.get("OE_OCI_PSEUDO") or "/usr")
        self._pair = pair
        self.layers = folder / "layers"
        self._tmpdir = folder / tmp
        self.tmp = folder / f"{tmp}{pair.behind_tmpdir}"
        tools.need("setpriv", *FORMATS[kind])
        self.refresh()

    def apart(self, name: str) -> Build:
        """The same build folder with another place for what is made in it, for another configuration."""
        return Build(self.folder, self._pair, self.kind, f"tmp-{name}")

    def elsewhere(self, folder: Path) -> Build:
        """A build folder of the same kind in another place."""
        return Build(folder, self._pair, self.kind)

    # ---- bitbake

    def refresh(self) -> None:
        """Put the layers as they are in the tests' own tree into the build, whose user may not be able to read that."""
        (self.folder / "conf").mkdir(parents=True, exist_ok=True)
        for name in ("classes", "conf", "oe_oci"):
            _mirror(tools.ROOT / name, self.layers / "oe-oci" / name)
        _mirror(SAMPLES, self.layers / "samples")
        _mirror(EXAMPLES, self.layers / "examples")

    def run(self, *words: str, conf: str = "", layers: str = "{core} {samples} {own}", status: int | None = 0) -> str:
        """What bitbake says; `conf` are more lines of local.conf, `layers` the order of the layers.

        A status of None stands for any.

        Raises:
            Failed: with all that bitbake said, where it ends with another status.
        """
        places = {
            "core": self._pair.core / "meta",
            "samples": self.layers / "samples",
            "own": self.layers / "oe-oci",
            "layers": self.layers,
        }
        self._write("bblayers.conf", _BBLAYERS_CONF.format(layers=layers.format(**places)))
        self._write("local.conf", _LOCAL_CONF.format(kind=self.kind, pseudo=self.pseudo, tmp=self._tmpdir) + conf)
        done = self.command("bitbake", *words, status=None)
        self._wait()
        if status is not None and done.returncode != status:
            raise Failed(f"bitbake {' '.join(words)}: status {done.returncode}\n{done.stdout}")
        return str(done.stdout)

    def command(self, *words: str, status: int | None = 0, **changes: str) -> tools.Done:
        """Run a program as the build's user, in its environment."""
        env = {
            "PATH": f"{self._pair.bitbake}/bin:{self._pair.core}/scripts:{_PATH}",
            "HOME": str(self.folder / "home"),
            "USER": "build",
            "LOGNAME": "build",
            "LC_ALL": "C.UTF-8",
            "BUILDDIR": str(self.folder),
            "BBPATH": str(self.folder),
            **changes,
        }
        (self.folder / "home").mkdir(exist_ok=True)
        prefix = []
        if os.geteuid() == 0:
            self.give()
            prefix = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "env"]
        options = {"cwd": self.folder, "env": env, "timeout": 900, "stderr": tools.subprocess.STDOUT}
        return tools.run(*prefix, *words, status=status, **options)

    def _wait(self) -> None:
        """Wait for the end of bitbake's server, which outlives the command a little."""
        with contextlib.suppress(FileNotFoundError), open(self.folder / "bitbake.lock", "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)

    def give(self) -> None:
        """Make the user own what the tests write; all else is that user's already."""
        for top in (self.folder / "conf", self.folder / "home", self.layers):
            for folder, names, files in os.walk(top):
                for name in (".", *names, *files):
                    os.chown(os.path.join(folder, name), USER, USER, follow_symlinks=False)
        os.chown(self.folder, USER, USER)

    def _write(self, name: str, text: str) -> None:
        path = self.folder / "conf" / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")

    # ---- what it made

    @property
    def images(self) -> Path:
        return self.tmp / "deploy" / "images" / "samples"

    def layout(self, image: str, tag: str = "latest") -> Path:
        return self.images / f"{image}-{tag}-oci"

    def report(self, image: str, tag: str = "latest") -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.images / f"{image}-{tag}-oci.json").read_text(encoding="utf-8"))
        return found

    def rootfs(self, image: str) -> Path:
        """The tar that bitbake made of the image's root file system."""
        (found,) = self.images.glob(f"{image}-samples*rootfs.tar")
        return found

    def work(self, image: str) -> Path:
        """The recipe's WORKDIR."""
        (found,) = self.tmp.glob(f"work/samples-*/{image}/*/temp")
        return found.parent

    def log(self, image: str, task: str = "image_oci") -> str:
        return (self.work(image) / "temp" / f"log.do_{task}").read_text(encoding="utf-8", errors="replace")


def _mirror(source: Path, target: Path) -> None:
    """Make `target` as `source` is; files that are the same keep their times, by which bitbake knows them."""
    target.mkdir(parents=True, exist_ok=True)
    wanted = {path.relative_to(source) for path in source.rglob("*") if "__pycache__" not in path.parts}
    for path in sorted(target.rglob("*"), reverse=True):
        if path.relative_to(target) not in wanted:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in sorted(wanted):
        if (source / name).is_dir():
            (target / name).mkdir(exist_ok=True)
        elif not (target / name).exists() or not filecmp.cmp(source / name, target / name, shallow=False):
            shutil.copyfile(source / name, target / name)


def parameters(kinds: Iterable[str] = tuple(FORMATS)) -> Iterator[Any]:
    """For pytest: each pair of checkouts with each format; one that skips where there are none."""
    pairs = checkouts()
    if not pairs:
        reason = "OE_OCI_BITBAKE and OE_OCI_OECORE name no checkouts"
        yield pytest.param(None, id="none", marks=pytest.mark.skip(reason=reason))
    for pair, kind in itertools.product(pairs, kinds):
        yield pytest.param((pair, kind), id=f"{pair.series}-{kind}")
