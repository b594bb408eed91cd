# SPDX-License-Identifier: MIT
from __future__ import annotations

import builtins
import gzip
import random
import shutil
import sys
import threading
import zlib

import pytest
from support.layouts import COMPRESS, flipped, tar

from oe_oci import decompress as subject
from oe_oci.decompress import BZIP2, GZIP, NONE, PIECE, XZ, ZSTD, decompress, detect, limit_for
from oe_oci.errors import InputError, ToolError

needs_zstd = pytest.mark.skipif(shutil.which("zstd") is None, reason="needs the zstd program")
ALL = [GZIP, pytest.param(ZSTD, marks=needs_zstd), XZ, BZIP2]
MANY = 1 << 30
DATA = random.Random(1).randbytes(3000) + b"text " * 4000


@pytest.fixture(params=["as installed", "bare"])
def libraries(request, monkeypatch):
    """With what is installed, and as it is where nothing but Python is."""
    if request.param == "bare":
        without(monkeypatch, "isal", "pyzstd")


def without(monkeypatch, *names: str) -> None:
    original = builtins.__import__

    def refuse(name, *rest, **more):
        if name.partition(".")[0] in names:
            raise ImportError(name)
        return original(name, *rest, **more)

    for name in [name for name in sys.modules if name.partition(".")[0] in names]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", refuse)


def unpack(data: bytes, compression: str, *, piece: int = PIECE, limit: int = MANY) -> bytes:
    pieces = (data[i : i + piece] for i in range(0, len(data), piece))
    out = list(decompress(pieces, compression, "it", limit=limit))
    assert all(0 < len(part) <= PIECE for part in out)
    return b"".join(out)


def refused(data: bytes, compression: str, text: str, **how) -> None:
    with pytest.raises(InputError, match=text) as caught:
        unpack(data, compression, **how)
    assert str(caught.value).startswith("it: ")


@pytest.mark.parametrize("name", [*ALL, NONE])
def test_detect(name):
    assert detect(COMPRESS[name](DATA)[:8]) == name


def test_detect_of_less_or_other_bytes():
    assert detect(b"") == detect(b"\x1f") == detect(b"\x50\x2a\x4d") == NONE
    assert detect(tar([])[:8]) == detect(b"PK\x03\x04") == NONE
    assert all(detect(bytes([first]) + b"\x2a\x4d\x18") == ZSTD for first in range(0x50, 0x60))


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("piece", [1, 7, 4096, PIECE])
def test_pieces_of_any_size(name, piece):
    assert unpack(COMPRESS[name](DATA), name, piece=piece) == DATA


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("name", ALL)
def test_all_members_are_read(name):
    packed = b"".join(COMPRESS[name](part) for part in (DATA, b"", b"second", b""))
    for piece in (1, 13, PIECE):
        assert unpack(packed, name, piece=piece) == DATA + b"second"


def test_a_memoryview_that_is_used_again():
    packed = COMPRESS[GZIP](DATA)
    buffer = bytearray(100)

    def reused():
        for start in range(0, len(packed), 100):
            part = packed[start : start + 100]
            buffer[: len(part)] = part
            yield memoryview(buffer)[: len(part)]

    assert b"".join(list(decompress(reused(), GZIP, "it", limit=MANY))) == DATA
    parts = []
    for part in decompress(iter([memoryview(b"plain")]), NONE, "it", limit=MANY):
        assert isinstance(part, bytes)
        parts.append(part)
    assert parts == [b"plain"]


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("excess", [-2, -1, 0, 1, 258, 259])
def test_output_that_just_fills_a_piece(excess):
    for content in (bytes(PIECE + excess), random.Random(2).randbytes(PIECE + excess)):
        packed = gzip.compress(content, 1)
        for piece in (4093, PIECE):
            assert unpack(packed, GZIP, piece=piece) == content


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("name", ALL)
def test_an_input_torn_anywhere_is_refused(name):
    packed = COMPRESS[name](DATA[:300])
    cuts = range(len(packed)) if name in (GZIP, BZIP2) else [0, 1, 5, 12, len(packed) // 2, len(packed) - 1]
    for cut in cuts:
        refused(packed[:cut], name, "damaged|ends in the middle")


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("name", ALL)
def test_nothing_is_no_input(name):
    refused(b"", name, "damaged|ends in the middle")
    refused(bytes(100), name, "damaged|ends in the middle")


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("name", ALL)
def test_a_second_member_torn_anywhere_is_refused(name):
    packed = COMPRESS[name](b"first")
    for cut in range(1, len(packed), 1 if name == GZIP else 7):
        refused(packed + packed[:cut], name, "damaged|ends in the middle")


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("name", ALL)
def test_garbage_after_the_last_member_is_refused(name):
    for rest in (b"g", b"garbage that goes on", b"\0\0\0garbage"):
        refused(COMPRESS[name](DATA) + rest, name, "damaged|ends in the middle")


@pytest.mark.parametrize("name", [GZIP, XZ, BZIP2])
def test_zeros_after_the_last_member_are_padding(name):
    for piece in (1, PIECE):
        assert unpack(COMPRESS[name](DATA) + bytes(700), name, piece=piece) == DATA


@pytest.mark.usefixtures("libraries")
def test_every_flipped_bit_of_gzip_is_found_or_harmless():
    packed = COMPRESS[GZIP](b"some words, some more words")
    for position in range(len(packed)):
        for bit in range(8):
            try:
                out = unpack(flipped(packed, position, bit), GZIP)
            except InputError:
                continue
            # No checksum covers the time and the system in the header, and some bits say nothing.
            assert out == b"some words, some more words"


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("name", ALL)
def test_bombs_end_at_the_limit(name):
    packed = COMPRESS[name](bytes(8 << 20))
    got = []
    with pytest.raises(InputError, match="unpacks to more than 5000000 bytes"):
        got.extend(map(len, decompress(iter([packed]), name, "it", limit=5_000_000)))
    assert sum(got) <= 5_000_000
    assert len(unpack(packed, name, limit=8 << 20)) == 8 << 20


def test_a_bound_for_what_is_not_compressed_too():
    with pytest.raises(InputError, match="more than 3 bytes"):
        unpack(b"four", NONE, limit=3)


def test_limit_for():
    assert limit_for(10, None) == subject.PLAUSIBLE_SIZE
    assert limit_for(1 << 30, None) == subject.PLAUSIBLE_RATIO << 30
    assert limit_for(1 << 30, 5) == 5


def test_an_xz_header_can_not_ask_for_all_memory(monkeypatch):
    monkeypatch.setattr(subject, "_XZ_MEMORY", 1 << 20)
    refused(COMPRESS[XZ](DATA), XZ, "damaged")


def test_many_tiny_members_are_read_in_a_moment():
    assert unpack(gzip.compress(b"x") * 20_000, GZIP) == b"x" * 20_000


def test_only_what_is_asked_for_is_read():
    asked = []

    def data():
        for number in range(10):
            asked.append(number)
            yield zlib.compress(random.Random(number).randbytes(1000), 0, wbits=31)

    out = decompress(data(), GZIP, "it", limit=MANY)
    next(out)
    assert asked == [0]


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("name", [*ALL, NONE])
def test_a_failing_input_is_what_is_raised(name):
    def failing():
        yield COMPRESS[name](DATA)[:100]
        raise ToolError("disk gone")

    with pytest.raises(ToolError, match="disk gone"):
        list(decompress(failing(), name, "it", limit=MANY))


# ---- zstd


@needs_zstd
@pytest.mark.usefixtures("libraries")
def test_skippable_frames_are_skipped():
    skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc"
    packed = skippable + COMPRESS[ZSTD](DATA) + skippable + COMPRESS[ZSTD](b"2") + skippable
    assert detect(packed[:8]) == ZSTD
    assert unpack(packed, ZSTD) == DATA + b"2"


def test_zstd_without_library_and_program(monkeypatch, tmp_path):
    without(monkeypatch, "pyzstd")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="cannot run zstd") as caught:
        unpack(b"\x28\xb5\x2f\xfd", ZSTD)
    assert caught.value.hint == "install zstd"


@needs_zstd
def test_the_zstd_program_leaves_no_thread_and_gives_the_input_back(monkeypatch):
    without(monkeypatch, "pyzstd")
    packed = COMPRESS[ZSTD](random.Random(3).randbytes(8 << 20))
    data = iter([packed[i : i + 65536] for i in range(0, len(packed), 65536)])
    source = (piece for piece in data)
    before = threading.active_count()
    out = decompress(source, ZSTD, "it", limit=MANY)
    next(out)
    out.close()
    assert threading.active_count() == before
    assert sum(map(len, source)) > 0  # not being run by another thread


# ---- archives within archives


def test_what_is_inside_is_not_unpacked_too():
    inner = COMPRESS[GZIP](DATA)
    assert unpack(COMPRESS[XZ](inner), XZ) == inner
