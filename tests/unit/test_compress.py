# SPDX-License-Identifier: MIT
"""Compressed bytes depend on the input and the compressor alone, and other programs read them."""

from __future__ import annotations

import gc
import gzip
import hashlib
import io
import os
import random
import subprocess
import sys
import weakref
import zlib

import pytest

from oe_oci.blob import BlobWriter
from oe_oci.compress import choose
from oe_oci.config import Compression
from oe_oci.errors import ConfigError, ToolError

MIB = 1 << 20
GZIP = [Compression("gzip", 6, "zlib-ng"), Compression("gzip", 6, "zlib"), Compression("gzip", 1, "auto")]
ZSTD = [Compression("zstd", 3, "pyzstd"), Compression("zstd", 3, "zstd")]
OWN = [Compression("zstd", None, "pyzstd"), Compression("zstd", None, "zstd")]


def text(size: int) -> bytes:
    words = [b"layer", b"blob", b"digest", b"manifest", b"\n", b" ", b"index"]
    source = random.Random(7)
    return b"".join(source.choices(words, k=size // 4 + 1))[:size]


def written(data: bytes, compression: Compression, jobs: int = 2, piece: int = 65537) -> tuple[bytes, object]:
    out = io.BytesIO()
    with BlobWriter(out, choose(compression), jobs, len(data)) as blob:
        for start in range(0, len(data), piece):
            blob.write(data[start : start + piece])
        facts = blob.finish()
    return out.getvalue(), facts


def unpacked(data: bytes, compression: Compression) -> bytes:
    if compression.algorithm == "none":
        return data
    if compression.algorithm == "gzip":
        return gzip.decompress(data)
    return subprocess.run(["zstd", "-dc"], input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize("compression", [*GZIP, *ZSTD, *OWN, Compression("none", 0, "auto")], ids=str)
@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 17])
def test_what_is_written_reads_back_and_the_facts_are_true(compression, size):
    data = text(size)
    out, facts = written(data, compression)
    assert unpacked(out, compression) == data
    assert facts == (hashlib.sha256(data).hexdigest(), size, hashlib.sha256(out).hexdigest(), len(out))


@pytest.mark.parametrize("compression", [*GZIP, *ZSTD, *OWN], ids=str)
def test_threads_and_pieces_do_not_change_the_bytes(compression):
    data = text(9 * MIB + 12345)
    first, _ = written(data, compression, 1)
    assert all(written(data, compression, jobs)[0] == first for jobs in (2, 3, 4))
    assert all(written(data, compression, 2, piece)[0] == first for piece in (513, MIB, len(data)))


def test_gzip_is_one_ordinary_member_without_time_or_name():
    data = text(3 * MIB)
    out, _ = written(data, GZIP[0])
    assert out[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    inner = zlib.decompressobj(31)
    assert inner.decompress(out) == data
    assert inner.eof
    assert inner.unused_data == b""


def test_gzip_blocks_know_what_came_before():
    repeated = random.Random(1).randbytes(16 << 10)
    # Two blocks; the second begins with what the first ended with.
    out, _ = written(repeated * 128, GZIP[0])
    assert len(out) < 3 * len(repeated)


def test_zstd_frames_tell_size_and_checksum():
    out, _ = written(text(2 * MIB), ZSTD[0])
    descriptor = out[4]  # RFC 8878, Frame_Header_Descriptor
    assert descriptor >> 6, "no content size"
    assert descriptor & 4, "no checksum"


def test_a_pinned_compressor_that_is_absent_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "zlib_ng", None)
    with pytest.raises(ConfigError, match="compressor 'zlib-ng' is not installed\n  install zlib-ng, or write 'auto'"):
        choose(Compression("gzip", 6, "zlib-ng"))


@pytest.mark.parametrize(("compressor", "level"), [("zlib-ng", 5), ("zlib", 4), ("pyzstd", 2), ("zstd", 2)])
def test_each_compressor_has_a_level_of_its_own(compressor, level):
    algorithm = "gzip" if compressor.startswith("zlib") else "zstd"
    assert choose(Compression(algorithm, None, compressor)).identity["level"] == level
    assert choose(Compression(algorithm, 9, compressor)).identity["level"] == 9


def test_auto_falls_back_and_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "zlib_ng", None)
    monkeypatch.setitem(sys.modules, "pyzstd", None)
    assert choose(Compression("gzip", 6, "auto")).identity["name"] == "zlib"
    assert choose(Compression("zstd", 3, "auto")).identity["name"] == "zstd"
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigError, match="a compressor for zstd is not installed"):
        choose(Compression("zstd", 3, "auto"))


def test_the_identity_names_all_that_determines_the_bytes():
    identity = choose(GZIP[0]).identity
    assert set(identity) == {"name", "version", "level", "block"}
    assert identity["version"][0].isdigit()
    assert set(choose(ZSTD[1]).identity) == {"name", "version", "level"}
    tuned = {"windowLog", "hashLog", "minMatch", "overlapLog", "job"}
    for one in OWN:
        assert set(choose(one).identity) == {"name", "version", "level", *tuned}


class FullDisk(io.BytesIO):
    def write(self, data):
        if self.tell() + len(data) > MIB:
            raise OSError(28, "No space left on device")
        return super().write(data)


@pytest.mark.parametrize("compression", [GZIP[0], *ZSTD, *OWN, Compression("none", 0, "auto")], ids=str)
def test_a_full_disk_ends_it(compression):
    data = random.Random(3).randbytes(8 * MIB)

    def write():
        with BlobWriter(FullDisk(), choose(compression), 2, len(data)) as blob:
            blob.write(data)
            blob.finish()

    with pytest.raises(OSError, match="No space"):
        write()


def test_a_program_that_fails_is_told_of(tmp_path, monkeypatch):
    fake = tmp_path / "zstd"
    fake.write_text('#!/bin/sh\n[ "$1" = -q ] && { echo 1.5.0; exit; }\necho broken >&2\nexit 3\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ToolError, match="zstd failed: broken"):
        written(text(9 * MIB), ZSTD[1])


def test_a_compressor_of_zstd_is_gone_with_its_blob(monkeypatch):
    """Tens of MiB: an image of many layers would hold them for each, until somebody looks for circles."""
    pyzstd = pytest.importorskip("pyzstd")
    made = []

    class Compressor(pyzstd.ZstdCompressor):  # type: ignore[misc]
        def __init__(self, *words: object) -> None:
            super().__init__(*words)
            made.append(weakref.ref(self))

    monkeypatch.setattr(pyzstd, "ZstdCompressor", Compressor)
    gc.disable()
    try:
        written(b"data" * 1000, Compression("zstd", None, "pyzstd"))
        assert [each() for each in made] == [None]
    finally:
        gc.enable()
