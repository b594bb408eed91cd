# SPDX-License-Identifier: MIT
from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rpms import BIN, I18N, INT8, INT16, INT32, INT64, STRING, STRINGS, header

from oe_oci.errors import InputError
from oe_oci.packages.rpm.header import Header

TAGS = {
    1000: (STRING, "shop"),
    1004: (I18N, ["a shop", "ein Laden"]),
    1006: (INT32, 0xFFFFFFFF),
    1030: (INT16, [0o100644, 0o040755]),
    1117: (STRINGS, ["a", "", b"\xff"]),
    5008: (INT64, [5 << 40, 0]),
    1999: (INT8, [1, 255]),
    261: (BIN, b"\0\1\2"),
}


def read(data: bytes) -> Header:
    return Header(data, "shop")


def raw(*entries: tuple[int, int, int, int], values: bytes = b"") -> bytes:
    """A header of entries as they are."""
    packed = b"".join(struct.pack(">IIiI", *entry) for entry in entries)
    return struct.pack(">II", len(entries), len(values)) + packed + values


def ask_for_all(data: bytes) -> None:
    """Every value of a header, of whatever type it is asked for."""
    found = read(data)
    for tag in found:
        value = found.value(tag)
        assert value is not None
        kind = value.kind
        (found.binary if kind == BIN else found.numbers if kind in (INT8, INT16, INT32, INT64) else found.texts)(tag)


def refused(data: bytes, text: str) -> None:
    with pytest.raises(InputError, match=f"^shop: damaged header: .*{text}") as caught:
        ask_for_all(data)
    assert caught.value.message.isprintable()


def test_values_of_every_type():
    found = read(header(TAGS))
    assert found.text(1000) == "shop"
    assert found.texts(1004) == ("a shop", "ein Laden")
    assert found.text(1004) == "a shop"
    assert found.number(1006) == 0xFFFFFFFF
    assert found.numbers(1030) == (0o100644, 0o040755)
    assert found.texts(1117) == ("a", "", "\udcff")
    assert found.numbers(5008) == (5 << 40, 0)
    assert found.numbers(1999) == (1, 255)
    assert found.binary(261) == b"\0\1\2"


def test_what_is_missing():
    found = read(header(TAGS))
    assert (1 in found, 1000 in found) == (False, True)
    assert (found.numbers(1), found.texts(1), found.text(1), found.binary(1)) == ((), (), "", b"")
    assert found.number(1, 7) == 7
    assert set(found) == {63, *TAGS}


def test_a_header_without_a_region():
    assert read(header(TAGS, None)).text(1000) == "shop"


def test_a_value_of_another_type_than_asked_for():
    found = read(header(TAGS))
    for ask, tag in ((found.numbers, 1000), (found.texts, 1006), (found.binary, 1000), (found.texts, 261)):
        with pytest.raises(InputError, match=f"its tag {tag} has no "):
            ask(tag)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 1024, 100_000])
def test_texts_of_any_length_wherever_they_end(size):
    text = "x" * size
    for tags in ({1000: (STRING, text)}, {1000: (STRING, text), 1001: (STRING, "after")}):
        assert read(header(tags, None)).text(1000) == text


def test_torn_anywhere():
    data = header(TAGS)
    for cut in range(len(data)):
        refused(data[:cut], "")
    refused(data + b"\0", "not those that it says")


def test_numbers_that_lie():
    refused(struct.pack(">II", 0, 0), "0 entries")
    refused(struct.pack(">II", 0x10000, 0) + bytes(16 << 16), "65536 entries")
    refused(struct.pack(">II", 1, 0x10000000), "268435456 bytes")
    refused(raw((1, INT32, 0, 1), values=b"abc"), "1 values at 0")
    refused(raw((1, INT32, -4, 1), values=b"abcd"), "1 values at -4")
    refused(raw((1, INT32, 4, 1), values=b"abcd"), "1 values at 4")
    refused(raw((1, INT32, 0, 0x40000001), values=b"abcd"), "1073741825 values")
    refused(raw((1, INT32, 0, 0), values=b"abcd"), "0 values")
    refused(raw((1, 0, 0, 1), values=b"abcd"), "a type 0")
    refused(raw((1, 10, 0, 1), values=b"abcd"), "a type 10")


def test_texts_without_an_end():
    refused(raw((1, STRING, 0, 1), values=b"abc"), "a text without an end")
    refused(raw((1, STRINGS, 0, 2), values=b"abc\0d"), "a text without an end")


def test_more_values_than_anything_has():
    refused(raw((1, STRINGS, 0, (1 << 20) + 1), values=bytes((1 << 20) + 1)), "more than 1048576")
    assert len(read(raw((1, BIN, 0, 2 << 20), values=bytes(2 << 20))).binary(1)) == 2 << 20


@pytest.mark.parametrize(
    ("trailer", "text"),
    [
        (struct.pack(">IIiI", 64, BIN, -32, 16), "ends in something else"),
        (struct.pack(">IIiI", 63, INT8, -32, 16), "ends in something else"),
        (struct.pack(">IIiI", 63, BIN, -32, 8), "ends in something else"),
        (struct.pack(">IIiI", 63, BIN, 32, 16), "begins at 32"),
        (struct.pack(">IIiI", 63, BIN, -40, 16), "begins at -40"),
        (struct.pack(">IIiI", 63, BIN, -48, 16), "begins at -48"),
        (struct.pack(">IIiI", 63, BIN, 0, 16), "begins at 0"),
    ],
)
def test_a_region_out_of_bounds(trailer, text):
    refused(header({1000: (STRING, "shop")}, trailer=trailer), text)


def test_a_region_without_an_entry():
    refused(raw((63, INT32, 0, 1), values=bytes(16)), "no entry of its own")
    refused(raw((63, BIN, 0, 16), values=bytes(8)), "16 values at 0")


def test_what_is_added_after_a_region_is_read():
    inner = header({1000: (STRING, "shop")})
    entries, size = struct.unpack_from(">II", inner)
    added = struct.pack(">IIiI", 1008, INT32, size, 1)
    data = struct.pack(">II", entries + 1, size + 4) + inner[8 : 8 + 16 * entries] + added
    found = read(data + inner[8 + 16 * entries :] + struct.pack(">I", 99))
    assert (found.text(1000), found.number(1008)) == ("shop", 99)


def test_many_texts_at_the_start_of_a_large_header_cost_no_square():
    values = b"x\0" * (1 << 19)
    data = raw(*((tag, STRING, 0, 1) for tag in range(20_000)), values=values)
    found = read(data)
    began = time.process_time()
    assert {found.text(tag) for tag in range(20_000)} == {"x"}
    assert time.process_time() - began < 5


fuzz = settings(derandomize=True, deadline=None, database=None, max_examples=500)


@st.composite
def mutated(draw):
    data = bytearray(header(TAGS, draw(st.sampled_from([62, 63, None]))))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data) - 1))
        data[start : start + draw(st.sampled_from([0, 1, 4]))] = draw(st.binary(max_size=4))
    return bytes(data)


@fuzz
@given(st.one_of(st.binary(max_size=200), mutated()))
def test_any_bytes_are_values_or_an_error(data):
    message = "shop: damaged header: "
    try:
        ask_for_all(data)
    except InputError as error:
        message = error.message
    assert message.startswith("shop: damaged header: ")
    assert message.isprintable()
