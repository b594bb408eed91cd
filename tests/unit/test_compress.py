# SPDX-License-Identifier: MIT
"""Compressed bytes depend on the input and the compressor alone, and other programs read them."""

from __future__ import annotations

import functools
import gc
import gzip
import hashlib
import io
import itertools
import os
import random
import re
import subprocess
import sys
import weakref
import zlib
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import tools

from oe_oci.blob import BlobWriter
from oe_oci.compress import Method, choose
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


def written(
    data: bytes, compression: Compression, jobs: int = 2, piece: int = 65537, method: Method | None = None
) -> tuple[bytes, object]:
    out = io.BytesIO()
    with BlobWriter(out, method or choose(compression), jobs, len(data)) as blob:
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


SIZES = {"gzip": 4 * MIB, "zstd": 20 * MIB}  # zstd's threads take 4 or 8 MiB each


@functools.lru_cache(maxsize=1)
def sample() -> bytes:
    """Text, then what no compressor makes smaller, again and again: never the same for as long as zstd looks back."""
    parts = (random.Random(number).randbytes(MIB // 4) + text(MIB * 7 // 4) for number in range(11))
    return b"".join(parts)


@functools.lru_cache(maxsize=4)
def expected(compression: Compression, size: int) -> bytes:
    return written(sample()[:size], compression, jobs=1, piece=MIB)[0]


@functools.cache
def used_again(compression: Compression) -> Method:
    return choose(compression)


@pytest.mark.parametrize("compression", [*GZIP, *ZSTD, *OWN], ids=str)
@settings(max_examples=20, deadline=None)
@given(found=st.data())
def test_the_bytes_are_the_same_for_any_threads_and_pieces(compression, found):
    """Also when they are made again in one process, by whatever of a library is used again."""
    most = SIZES[compression.algorithm]
    size = found.draw(st.sampled_from([most + 12345, most, MIB + 1]), "bytes")
    jobs = found.draw(st.sampled_from([1, 2, 4]), "threads")
    piece = st.one_of(st.integers(1, 99), st.integers(1000, 3 * MIB))
    pieces = found.draw(st.lists(st.tuples(piece, st.booleans()), min_size=1, max_size=6), "pieces, viewed or not")
    data, out = memoryview(sample())[:size], io.BytesIO()
    with BlobWriter(out, used_again(compression), jobs, size) as blob:
        for length, viewed in itertools.cycle([*pieces, (MIB // 2, True)]):
            now, data = data[:length], data[length:]
            if viewed:
                for view in blob.views(len(now)):
                    view[:], now = now[: len(view)], now[len(view) :]
            else:
                blob.write(bytes(now))
            if not data:
                break
        blob.finish()
    assert out.getvalue() == expected(compression, size)


@pytest.mark.parametrize("compression", GZIP, ids=str)
@pytest.mark.parametrize("size", [0, 1, MIB, 3 * MIB + 17])
def test_gzip_is_one_ordinary_member_without_time_or_name(compression, size, tmp_path):
    """Read by others, who would warn of more after it."""
    tools.need("gzip", "pigz")
    data = text(size)
    out, _ = written(data, compression)
    assert out[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # RFC 1952: no flag, no time, system "unknown"
    inner = zlib.decompressobj(31)
    assert inner.decompress(out) == data
    assert inner.eof
    assert inner.unused_data == b""
    (tmp_path / "blob.gz").write_bytes(out)
    for program in ("gzip", "pigz"):
        done = subprocess.run([program, "-dc", tmp_path / "blob.gz"], capture_output=True, check=True)
        assert (done.stdout, done.stderr) == (data, b"")


def test_gzip_blocks_know_what_came_before():
    repeated = random.Random(1).randbytes(16 << 10)
    # Two blocks; the second begins with what the first ended with.
    out, _ = written(repeated * 128, GZIP[0])
    assert len(out) < 3 * len(repeated)


class Header(NamedTuple):
    """Of a zstd frame (RFC 8878, 3.1.1.1)."""

    content_size: int | None
    checksum: bool
    dictionary: bool

    @classmethod
    def read(cls, data: bytes) -> Header:
        assert data[:4] == b"\x28\xb5\x2f\xfd"
        descriptor = data[4]
        single_segment, dictionary = bool(descriptor & 0x20), descriptor & 3
        assert not descriptor & 0x18, "bits that are unused or reserved"
        length = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
        start = 5 + (not single_segment) + (0, 1, 2, 4)[dictionary]
        size = int.from_bytes(data[start : start + length], "little") + (256 if length == 2 else 0)
        return cls(size if length else None, bool(descriptor & 4), bool(dictionary))


@pytest.mark.parametrize("compression", [*ZSTD, *OWN], ids=str)
@pytest.mark.parametrize("size", [0, 1, 300, MIB, 9 * MIB + 17])
def test_zstd_is_one_frame_with_size_and_checksum(compression, size, tmp_path):
    data = text(size)
    out, _ = written(data, compression)
    assert Header.read(out) == (size, True, False)
    path = tmp_path / "blob.zst"
    path.write_bytes(out)
    tools.run("zstd", "-q", "-t", path)
    listed = tools.run("zstd", "-lv", path).stdout
    assert re.search(r"Frames: 1$", listed, re.MULTILINE)
    assert re.search(rf"^Decompressed Size: .*\b{size} B\b", listed, re.MULTILINE)
    assert re.search(r"^Check: XXH64", listed, re.MULTILINE)


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


@pytest.fixture
def compressors(monkeypatch):
    """What made the frames of pyzstd, tens of MiB each; None for those that are gone without a look for circles."""
    pyzstd = pytest.importorskip("pyzstd")
    made: list[weakref.ref[object]] = []

    class Compressor(pyzstd.ZstdCompressor):  # type: ignore[misc]
        def __init__(self, *words: object) -> None:
            super().__init__(*words)
            made.append(weakref.ref(self))

    monkeypatch.setattr(pyzstd, "ZstdCompressor", Compressor)
    gc.disable()
    yield lambda: [each() for each in made]
    gc.enable()


def test_one_compressor_of_zstd_makes_layer_after_layer(compressors):
    method = choose(OWN[0])
    for size in (9 * MIB + 17, 0, 1, 9 * MIB + 17):
        assert written(text(size), OWN[0], method=method) == written(text(size), OWN[0])
    assert len([each for each in compressors() if each is not None]) == 1
    del method
    assert not any(compressors())


def test_layers_that_are_made_at_once_have_compressors_of_their_own(compressors):
    method, data = choose(OWN[0]), text(9 * MIB)
    first, second = io.BytesIO(), io.BytesIO()
    with BlobWriter(first, method, 2, len(data)) as one, BlobWriter(second, method, 2, len(data)) as other:
        for start in range(0, len(data), MIB):
            one.write(data[start : start + MIB])
            other.write(data[start : start + MIB])
        assert len(compressors()) == 2
        one.finish()
        other.finish()
    assert first.getvalue() == second.getvalue() == written(data, OWN[0])[0]


def test_what_made_a_part_of_a_frame_makes_no_other(compressors):
    method, data = choose(OWN[0]), text(9 * MIB)
    with BlobWriter(io.BytesIO(), method, 2, len(data)) as blob:
        blob.write(data[: 2 * MIB])
    assert compressors() == [None]
    assert written(data, OWN[0], method=method) == written(data, OWN[0])
