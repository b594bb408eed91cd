# SPDX-License-Identifier: MIT
"""An image with a layer of each kind on a base image, built with a cache, and what it is built of."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import time
from typing import TYPE_CHECKING, Any

from . import compare, packages, tools
from .layouts import file, folder, symlink

if TYPE_CHECKING:
    from pathlib import Path

    from .forks import Forks

CONF = """\
SOURCE_DATE_EPOCH = "1700000000"
OCI_BASE_IMAGE = "{place}/base/base-oci"
OCI_IMAGE_TAR_OUTPUT = "0"
OCI_LAYERS = "\\
    tools:packages:tool,more \\
    conf:directories:/etc \\
    data:files:/srv/data,/srv/none \\
    motd:host:{place}/motd:/etc/ \\
"
OCI_IMAGE_ACCOUNTS = "user:shop:1000"
"""
LAYERS = ["tools", "conf", "data", "motd"]
SETTLED = 2.1  # seconds; the digest of a file that is younger is not remembered
ROOTFS = [
    folder("etc"),
    file("etc/app.conf", b"app\n" * 300),
    symlink("etc/link", "app.conf"),
    folder("srv"),
    file("srv/data", b"data" * 5000),
    file("srv/none", b""),
]
LIB = packages.package("lib", files={"usr/lib.so": b"lib" * 900}, scripts={"postinst": "#!/bin/sh\n"})


def tool(text: bytes = b"tool") -> packages.Made:
    """A package whose version is the same whatever is in it."""
    return packages.package("tool", files={"bin/tool": text * 900, "usr/share/tool": b"t"}, Depends="lib")


MORE = packages.package("more", files={"opt/more": b"more"}, Depends="tool")


class Image:
    """The image, with a compressed archive as its root file system or, `unpacked`, a folder.

    Outputs go to `out`; `right` is what lies there after a build without a cache. Where it is `settled`, the digests of
    the inputs are known after the first build.
    """

    def __init__(self, place: Path, forks: Forks, *, unpacked: bool = False, settled: bool = True) -> None:
        self.place, self.forks = place, forks
        self.out, self.conf, self.feed = place / "out", place / "app.conf", place / "feed"
        self.write_feed(tool())
        (place / "motd").write_text("hello\n")
        below = ('SOURCE_DATE_EPOCH = "1"', 'OCI_LAYERS = "base:packages:lib"', 'OCI_PACKAGE_SCRIPTS = "skip"', "")
        (place / "base.conf").write_text("\n".join(below))
        base = ("build", place / "base.conf", "--feed", self.feed, "--deploy-dir", place / "base")
        forks(*base, "--set", "OCI_LAYER_CACHE=0", "-q")
        self.conf.write_text(CONF.format(place=place))
        self.rootfs = place / ("rootfs" if unpacked else "rootfs.tar.gz")
        with tarfile.open(place / "rootfs.tar.gz", "w:gz") as archive:
            for member in ROOTFS:
                archive.addfile(member.info(), io.BytesIO(member.data))
        if unpacked:
            shutil.unpack_archive(place / "rootfs.tar.gz", self.rootfs, filter="fully_trusted")
        self.right = self.cold()
        if settled:
            time.sleep(SETTLED)

    def write_feed(self, made: packages.Made) -> None:
        """The feed and its index, made anew with that package among the others."""
        packages.write_feed(self.feed, [LIB, made, MORE])

    def words(self, cache: Path | str, *more: Any, command: str = "build", out: Path | None = None) -> list[Any]:
        inputs = ("--feed", self.feed, "--rootfs", self.rootfs)
        return [command, self.conf, *inputs, "--deploy-dir", out or self.out, "--cache-dir", cache, *more]

    def cold(self, *more: Any) -> dict[str, str]:
        """The outputs of a build without a cache."""
        self.clear()
        self.forks(*self.words(self.place / "none", "-q", "--set", "OCI_LAYER_CACHE=0", *more))
        assert not (self.place / "none").exists()
        return compare.contents(self.out)

    def clear(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)

    def build(self, cache: Path | str, *more: Any, before: str = "", right: Any = None) -> dict[str, str]:
        """Build, see that the outputs are right, and say why each layer was made, with an empty text for a hit."""
        report = json.loads(self.forks(*self.words(cache, "--json", "-q", *more), before=before).stdout)
        self.assert_right(right=right)
        return reasons(report)

    def assert_right(self, told: object = None, right: dict[str, str] | None = None) -> None:
        assert compare.contents(self.out) == (right or self.right), told

    def gc(self, cache: Path | str, *more: Any) -> list[str]:
        """What a clean-up removes."""
        done = self.forks("cache", "gc", "--cache-dir", cache, "--json", *more)
        return [removal["where"] for removal in json.loads(done.stdout)["removed"]]

    def faults(self, cache: Path | str) -> list[str]:
        """What `cache verify` finds."""
        done = self.forks("cache", "verify", "--cache-dir", cache, "--json", status=None)
        return [f"{found['rule']} {found['where']}: {found['message']}" for found in json.loads(done.stdout)]


HITS = dict.fromkeys(LAYERS, "")


def reasons(report: dict[str, Any]) -> dict[str, str]:
    """Of each layer in a build's report."""
    return {layer["name"]: layer["cache"].get("reason", "") for layer in report["layers"]}


def copied(cache: Path, target: Path) -> Path:
    """A copy of a cache, with all times, in a folder that is made anew."""
    shutil.rmtree(target, ignore_errors=True)
    tools.run("cp", "-a", "--reflink=auto", cache, target)
    return target


def files(cache: Path) -> list[str]:
    """Every file of a cache, by its path in it."""
    return sorted(str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_symlink() or not path.is_dir())


def state(cache: Path) -> dict[str, bytes]:
    """What is in a cache but for what depends on when it was put there: the digests' stamps, and entries' moments."""
    found = {}
    for where in files(cache):
        data = (cache / where).read_bytes()
        found[where] = b"" if where.startswith("digests/") else data.partition(b'"made":')[0]
    return found


class Warm:
    """An image, and a cache that has all of it; its digests are known, and nothing is put into it any more."""

    def __init__(self, place: Path, forked: Forks, *, unpacked: bool) -> None:
        self.image = Image(place, forked, unpacked=unpacked)
        self.cache = place / "warm"
        for _ in range(2):
            self.image.clear()
            self.image.build(self.cache)
        self.files = files(self.cache)
        entries = json.loads(forked("cache", "ls", "--cache-dir", self.cache, "--json").stdout)
        self.layers = {name: entry["layer"] for entry in entries for name in (entry["key"], entry["blob"][7:])}

    def copy(self) -> Path:
        self.image.clear()
        return copied(self.cache, self.image.place / "copy")

    def layer(self, file: str) -> str:
        """The layer that can not be had without a file; empty for none."""
        return self.layers.get(file.rpartition("/")[2], "")
