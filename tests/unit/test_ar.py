# SPDX-License-Identifier: MIT
from __future__ import annotations

import shutil
import subprocess
import tracemalloc

import pytest
from support.packages import ar, ar_header

from oe_oci.errors import InputError
from oe_oci.packages.ar import Ar
from oe_oci.stream import PieceStream

PARTS = [
    ("debian-binary", b"2.0\n"),
    ("odd", b"abc"),
    ("empty", b""),
    ("large", bytes(range(256)) * 2000),
    ("_x", b"y"),
]


def opened(data: bytes, piece: int = 1 << 20) -> Ar:
    return Ar(PieceStream(data[i : i + piece] for i in range(0, len(data), piece)), "it")


def read(data: bytes, piece: int = 1 << 20) -> list[tuple[str, bytes]]:
    archive = opened(data, piece)
    return [(name, b"".join(archive.data())) for name in archive]


def refused(data: bytes, text: str) -> None:
    with pytest.raises(InputError, match=text) as caught:
        read(data)
    assert str(caught.value).startswith("it: damaged ar archive: ")
    with pytest.raises(InputError):  # what is skipped is checked too
        list(opened(data))


@pytest.mark.parametrize("piece", [1, 59, 4096, 1 << 20])
def test_names_and_bytes(piece):
    assert read(ar(PARTS), piece) == PARTS


def test_what_is_not_asked_for_is_skipped():
    assert list(opened(ar(PARTS))) == [name for name, _ in PARTS]
    archive = opened(ar(PARTS))
    assert [next(archive.data(), b"")[:1] for _ in archive] == [data[:1] for _, data in PARTS]


def test_an_archive_of_nothing():
    assert read(b"!<arch>\n") == []


def test_the_slash_that_ends_a_name_is_no_part_of_it():
    assert list(opened(b"!<arch>\n" + ar_header(b"a b.tar/", 0) + ar_header(b"sixteen-letters.", 0))) == [
        "a b.tar",
        "sixteen-letters.",
    ]


def test_fields_nobody_needs_may_be_anything():
    header = b"name".ljust(16) + b"?" * 32 + b"3".ljust(10) + b"`\n"
    assert read(b"!<arch>\n" + header + b"abc\n") == [("name", b"abc")]


def test_what_the_ar_program_writes(tmp_path):
    if shutil.which("ar") is None:
        pytest.skip("no ar")
    for name, data in PARTS:
        (tmp_path / name).write_bytes(data)
    subprocess.run(["ar", "rc", "x.a", *(name for name, _ in PARTS)], cwd=tmp_path, check=True)
    assert read((tmp_path / "x.a").read_bytes()) == PARTS


@pytest.mark.parametrize("data", [b"", b"!", b"!<arch>", b"!<thin>\n", b"\x1f\x8b", b"!<arch>\r\n"])
def test_what_is_no_archive(data):
    refused(data, "does not begin as one")


@pytest.mark.parametrize(
    "size", [b"", b"-1", b"+1", b"0x1", b" 1", b"1 1", b"1_0", b"1.0", b"1e3", b"one", b"\xd9\xa1", b"1\0", b"\0" * 10]
)
def test_a_size_that_is_no_number(size):
    header = ar_header(b"a", 0)
    refused(b"!<arch>\n" + header[:48] + size.ljust(10) + header[58:] + b"\n" * 100, "b'a +' begins no member")


def test_a_header_that_ends_otherwise():
    refused(b"!<arch>\n" + ar_header(b"a", 1, end=b"\n`") + b"x\n", "begins no member")
    refused(ar(PARTS).replace(b"abc\n", b"abc"), "begins no member")  # without the padding between two


def test_a_size_that_lies():
    for size in (5, 6, 100, 9_999_999_999):
        refused(b"!<arch>\n" + ar_header(b"a", size) + b"abcd", "ends in the middle")
    refused(b"!<arch>\n" + ar_header(b"a", 2) + b"abcd", "begins no member")


def test_what_a_size_promises_is_not_allocated():
    tracemalloc.start()
    try:
        refused(b"!<arch>\n" + ar_header(b"a", 9_999_999_999) + b"abcd", "ends in the middle")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_torn_anywhere():
    small = [("a", b"12"), ("b", b"345"), ("c", b"6")]
    data = ar(small)
    whole = {8: 0, 8 + 62: 1, 8 + 62 + 63: 2, 8 + 62 + 64: 2, len(data) - 1: 3}  # without the last one's padding too
    for cut in range(len(data)):
        if cut in whole:
            assert read(data[:cut]) == small[: whole[cut]]
        else:
            refused(data[:cut], "does not begin|ends in the middle|begins no member")
