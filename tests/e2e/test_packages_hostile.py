# SPDX-License-Identifier: MIT
"""Hostile packages and indexes through the command line: one clear error, bounded memory, nothing left behind."""

from __future__ import annotations

import hashlib
import os
import resource
import sys
from typing import TYPE_CHECKING

import pytest
from support import packages, tools
from support.layouts import COMPRESS, file, folder, hardlink, symlink, tar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOOD = packages.package("good", files={"f": b"good"})
MEMORY = 900 << 20  # of address space: far more than is used, far less than a bomb would take
FIELDS = {"Package": "bad", "Version": "1.0", "Architecture": "all"}


def bad(**facts: object) -> packages.Made:
    return packages.Made(FIELDS, packages.deb(FIELDS, **facts), "bad_1.0_all.deb")


def holding(*members: object) -> packages.Made:
    return bad(files=[folder("./"), *members])


def bomb(compression: str) -> packages.Made:
    """16 GiB of zeros in one file, in a few megabytes or less."""
    piece = bytes(64 << 20)
    if compression == "zst":
        import pyzstd

        data = pyzstd.compress(piece, 19) * 256
    else:
        data = COMPRESS["xz"](piece) * 256
    header = tar([file("./zeros", b"")])[:512]
    start = packages.COMPRESSIONS[compression](_sized(header, b"\x80" + (256 * len(piece)).to_bytes(11, "big")))
    parts = [
        ("debian-binary", b"2.0\n"),
        ("control.tar.gz", packages.COMPRESSIONS["gz"](packages.control_tar(FIELDS))),
        (f"data.tar.{compression}", start + data),
    ]
    return packages.Made(FIELDS, packages.ar(parts), "bad_1.0_all.deb")


def _sized(header: bytes, size: bytes) -> bytes:
    block = header[:124] + size + header[136:148] + b" " * 8 + header[156:]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


HOSTILE: dict[str, tuple[Callable[[], packages.Made], str]] = {
    "leaves the root": (lambda: holding(file("../f")), "leaves the root with '..'"),
    "absolute": (lambda: holding(file("/etc/passwd")), "absolute path"),
    "a line feed in a name": (lambda: holding(file("./a\nb")), "line"),
    "twice": (lambda: holding(file("./f"), file("./f")), "/f"),
    "through a link out": (lambda: holding(symlink("./l", "/../../etc"), file("./l/passwd")), "/l"),
    "hard link out": (lambda: holding(hardlink("./h", "../../etc/passwd")), "leaves the root"),
    "hard link to nothing": (lambda: holding(hardlink("./h", "./nothing")), "/nothing"),
    "a name that removes": (lambda: holding(file("./.wh.f")), ".wh."),
    "a bomb of xz": (lambda: bomb("xz"), "unpacks to"),
    "a bomb of zstd": (lambda: bomb("zst"), "unpacks to"),
    "torn": (
        lambda: packages.Made(FIELDS, packages.deb(FIELDS, files={"f": b"x" * 9999})[:-300], "bad_1.0_all.deb"),
        "",
    ),
    "no package": (lambda: packages.Made(FIELDS, b"not an archive", "bad_1.0_all.deb"), ""),
}


@pytest.fixture
def attempt(folder: Path) -> Callable[..., str]:
    """Tries to build from a feed; the error it ends with."""

    def run(feed: Path, *words: str) -> str:
        (folder / "app.conf").write_text('OCI_LAYERS = "a:packages:good b:packages:bad"')
        for name in ("out", "tmp", "home"):
            (folder / name).mkdir(exist_ok=True)
        env = tools.environment(TMPDIR=str(folder / "tmp"), HOME=str(folder / "home"))
        done = tools.run(
            *[sys.executable, "-m", "oe_oci", "build", folder / "app.conf", "--feed", feed],
            *["--deploy-dir", folder / "out", "--max-unpacked", "64M", *words],
            status=2,
            env=env,
            cwd=folder,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
        )
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        assert os.listdir(folder / "tmp") == []
        assert os.listdir(folder / "out") == []
        assert sorted(set(os.listdir(folder)) - {"feed", "home"}) == ["app.conf", "out", "tmp"]
        return done.stderr

    return run


@pytest.mark.parametrize("index", ["Packages", ""])
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_package(attempt, folder, kind, index):
    make, text = HOSTILE[kind]
    error = attempt(packages.write_feed(folder / "feed", [GOOD, make()], index=index))
    assert "bad_1.0_all.deb" in error
    assert text in error
    assert error.count("\n") <= 3, error


INDEXES: dict[str, tuple[dict[str, str | None], str]] = {
    "a size that lies": ({"Size": "10"}, "the index says 10"),
    "a checksum that lies": ({"SHA256": hashlib.sha256(b"").hexdigest()}, "SHA-256"),
    "a file that is not there": ({"Filename": "nowhere_1.0_all.deb"}, "which is not there"),
    "a file outside": ({"Filename": "../outside.deb"}, "can not be a Filename"),
    "an absolute file": ({"Filename": "/etc/passwd.deb"}, "can not be a Filename"),
    "a name that is none": ({"Package": "b/ad"}, "no feed has a package 'bad'"),
    "another version": ({"Version": "2.0"}, "the index says"),
    "no relation": ({"Depends": "(what)"}, "no relation"),
    "needs itself in a version that is not": ({"Depends": "bad (>= 7)"}, "bad (>= 7)"),
}


@pytest.mark.parametrize("kind", INDEXES)
def test_a_hostile_index(attempt, folder, kind):
    changed, text = INDEXES[kind]
    made = bad(files={"g": b"1"})
    feed = packages.write_feed(folder / "feed", [GOOD, made], index="")
    (feed / "Packages").write_bytes(GOOD.entry() + b"\n" + made.entry(**changed))
    error = attempt(feed)
    assert text in error
    assert error.count("\n") <= 3, error


def test_two_packages_of_one_identity(attempt, folder):
    feed = packages.write_feed(folder / "feed", [GOOD, bad(files={"g": b"1"})], index="")
    packages.write_feed(feed / "more", [bad(files={"g": b"2"})], index="")
    error = attempt(feed)
    assert "bad_1.0_all.deb" in error
    assert "different content" in error


def test_a_torn_index(attempt, folder):
    feed = packages.write_feed(folder / "feed", [GOOD, bad(files={"g": b"1"})], index="Packages.gz")
    data = (feed / "Packages.gz").read_bytes()
    (feed / "Packages.gz").write_bytes(data[: len(data) // 2])
    assert "Packages.gz" in attempt(feed)


def test_a_bomb_of_an_index(attempt, folder):
    feed = packages.write_feed(folder / "feed", [GOOD], index="")
    (feed / "Packages.xz").write_bytes(COMPRESS["xz"](bytes(1 << 20)) * 2000)
    assert "Packages.xz" in attempt(feed)
