# SPDX-License-Identifier: MIT
"""Layers of packages within a bound of memory: large ones are built, bombs end with one clear error."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support import merge, packages, tools
from support.layouts import extended, file, folder, records, tar

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
LARGE = 512 * MIB  # of files in one layer: far more than is held in memory
MOST = 160 * MIB  # of memory for that, with all that Python and its libraries take
FIELDS = {"Package": "bomb", "Version": "1.0", "Architecture": "all"}
# Under it little else than reading in pieces works.
ADDRESS_SPACE = 900 * MIB

# Runs the product, and says how much memory it took at most, in KiB.
_MEASURED = """\
import resource, subprocess, sys
status = subprocess.run([sys.executable, "-m", "oe_oci", *sys.argv[1:]]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


class Attempt(NamedTuple):
    """A build that was limited in its memory."""

    place: Path
    done: tools.Done

    @property
    def left(self) -> list[str]:
        """What it left behind, in the deploy folder and among temporary files."""
        return os.listdir(self.place / "out") + os.listdir(self.place / "tmp")


def build(place: Path, feed: Path, layers: str, *words: str, status: int, measured: bool = False) -> Attempt:
    (place / "app.conf").write_text(f'OCI_LAYERS = "{layers}"\n', encoding="utf-8")
    for name in ("out", "tmp", "home"):
        (place / name).mkdir()
    command = [sys.executable, *(("-c", _MEASURED) if measured else ("-m", "oe_oci")), "build", place / "app.conf"]
    command += ["--feed", feed, "--deploy-dir", place / "out", *words]
    env = tools.environment(TMPDIR=str(place / "tmp"), HOME=str(place / "home"))
    limit = None if measured else limit_memory
    return Attempt(place, tools.run(*command, status=status, env=env, cwd=place, timeout=300, preexec_fn=limit))


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))


# ---- bombs


def zeros(compression: str) -> bytes:
    """A payload with one file of 16 GiB, compressed: as both formats allow it, of many equal parts."""
    part = 64 * MIB
    size = b"\x80" + (256 * part).to_bytes(11, "big")
    header = tar([file("./zeros", b"")])[:512]
    block = header[:124] + size + header[136:148] + b" " * 8 + header[156:]
    compress = packages.COMPRESSIONS[compression]
    return compress(block[:148] + b"%06o\0 " % sum(block) + block[156:]) + compress(bytes(part)) * 256


def bomb(data: bytes, compression: str = "xz", **control: bytes) -> packages.Made:
    parts = [
        ("debian-binary", b"2.0\n"),
        ("control.tar.xz", packages.COMPRESSIONS["xz"](packages.control_tar(FIELDS, control))),
        (f"data.tar.{compression}", data),
    ]
    return packages.Made(FIELDS, packages.ar(parts), "bomb_1.0_all.deb")


def plain(*headers: bytes) -> bytes:
    return packages.COMPRESSIONS["zst"](b"".join([*headers, tar([folder("./")])]))


# What each is, and what the error says of it.
BOMBS = {
    "a file, in xz": (lambda: bomb(zeros("xz")), "unpacks to more than 1000000000 bytes"),
    "a file, in zstd": (lambda: bomb(zeros("zst"), "zst"), "unpacks to more than 1000000000 bytes"),
    "control data": (lambda: bomb(plain(), "zst", templates=bytes(200 * MIB)), "/templates: has more than"),
    "a header": (lambda: bomb(plain(extended(records((b"comment", b"x" * (200 * MIB))))), "zst"), "data.tar.zst: "),
    "a long name": (lambda: bomb(plain(extended(b"n" * (200 * MIB), b"L")), "zst"), "data.tar.zst: "),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb(folder, kind):
    """Of more bytes than it may unpack to, which are more than the memory it has."""
    make, text = BOMBS[kind]
    feed = packages.write_feed(folder / "feed", [packages.package("good"), make()])
    layers = "a:packages:good b:packages:bomb"
    attempt = build(folder, feed, layers, "--max-unpacked", "1G", status=2)
    assert attempt.done.stdout == ""
    error, *hint = (line for line in attempt.done.stderr.splitlines() if line)
    assert error.startswith(f"oe-oci: {feed}/bomb_1.0_all.deb: "), attempt.done.stderr
    assert text in error
    assert len(hint) <= 1, attempt.done.stderr
    assert attempt.left == []


# ---- what is large and right


def test_a_large_layer_takes_little_memory(folder):
    """Packages whose files are many times what is held: the rest lies in a temporary file that leaves no trace."""
    block = hashlib.shake_128(b"block").digest(MIB)
    parts = [package_with(f"part{number}", block, number, LARGE // 8) for number in range(8)]
    top = packages.package("top", Depends=", ".join(made.fields["Package"] for made in parts))
    feed = packages.write_feed(folder / "feed", [*parts, top], index="")
    words = ("--set", "OCI_LAYER_COMPRESSION=none", "--set", "OCI_IMAGE_TAR_OUTPUT=0", "--json")
    attempt = build(folder, feed, "large:packages:top", *words, status=0, measured=True)
    *report, peak = attempt.done.stdout.rstrip().rpartition("\n")
    assert int(peak) << 10 < MOST, f"{int(peak) >> 10} MiB of memory"
    (layer,) = json.loads(report[0])["layers"]
    assert layer["uncompressedSize"] > LARGE
    assert os.listdir(folder / "tmp") == []
    image = merge.read_image(folder / "out/app-oci")
    assert len({image.merged[f"opt/part{number}".encode()].digest for number in range(8)}) == 8


def package_with(name: str, block: bytes, number: int, size: int) -> packages.Made:
    """A package with one file that compresses well, and yet not as a bomb does."""
    data = b"".join(
        bytes([number]) + hashlib.shake_128(bytes([n])).digest(32 << 10) + block[: MIB - (32 << 10) - 1]
        for n in range(size // MIB)
    )
    return packages.package(name, files={f"opt/{name}": data}, compression="zst")
