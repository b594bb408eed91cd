# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from support.packages import paragraph

from oe_oci.errors import InputError
from oe_oci.packages.control import identity, paragraphs, parse_control

WHOLE = b"""\
Package: shop
Version: 1:2.0-1
Architecture: amd64
Depends: libc (>= 2),
 libfoo
Description: sells things
 First line,
  indented
 .
\tlast
X-Own: a: b
"""


def refused(data: bytes, text: str) -> None:
    with pytest.raises(InputError, match=text) as caught:
        parse_control(data, "it")
    assert str(caught.value).startswith("it: ")


def test_fields_in_order_and_the_paragraph_again():
    fields = parse_control(WHOLE, "it")
    assert list(fields) == ["Package", "Version", "Architecture", "Depends", "Description", "X-Own"]
    assert fields["Depends"] == "libc (>= 2),\n libfoo"
    assert fields["X-Own"] == "a: b"
    assert paragraph(fields) == WHOLE


@pytest.mark.parametrize(
    ("written", "usual"),
    [
        ("package", "Package"),
        ("PRE-DEPENDS", "Pre-Depends"),
        ("MD5sum", "MD5Sum"),
        ("md5sum", "MD5Sum"),
        ("SHA256sum", "SHA256"),
        ("sha256", "SHA256"),
        ("multi-arch", "Multi-Arch"),
        ("conffiles", "Conffiles"),
        ("x-OWN", "x-OWN"),
    ],
)
def test_usual_names(written, usual):
    assert parse_control(f"{written}: v\n".encode(), "it") == {usual: "v"}


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"A:v", "v"),
        (b"A:v\n", "v"),
        (b"A: \t v \t\n", "v"),
        (b"A: v\r\n", "v"),
        (b"A:", ""),
        (b"A:\n b\n", "\n b"),
        (b"A: v\n  b \n \n", "v\n  b \n "),
        (b"A: v\x0bw\x0c\xc2\x85x\xe2\x80\xa8y", "v\x0bw\x0c\x85x\u2028y"),
        (b"\n\nA: v\n\n\n\n", "v"),
    ],
)
def test_values(data, value):
    assert parse_control(data, "it") == {"A": value}


def test_bytes_that_are_no_utf_8_survive():
    fields = parse_control(b"Maintainer: J\xe9r\xc3\xb4me\n", "it")
    assert fields == {"Maintainer": "J\udce9rôme"}
    assert paragraph(fields) == b"Maintainer: J\xe9r\xc3\xb4me\n"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "no field"),
        (b"\n\n", "no field"),
        (b"A: 1\n\nB: 2\n", "more than one paragraph"),
        (b" A: 1\n", "line 1: ' A: 1' is no field"),
        (b"A: 1\nB 2\n", "line 2: 'B 2' is no field"),
        (b"A: 1\n b\n c\n: 2\n", "line 4"),
        (b"A: 1\n#B: 2\n", "line 2"),
        (b"A: 1\n-B: 2\n", "line 2"),
        (b"A: 1\nB B: 2\n", "line 2"),
        (b"A: 1\nB\xc3\xa9: 2\n", "line 2"),
        (b"A: 1\nB: 2\0\n", "line 2"),
        (b"\n\nA: 1\nB: 2\n\0\n", "line 5"),
        (b"A: 1\nB: 2\nA: 3\n", "line 3: has the field A twice"),
        (b"A: 1\nB: 2\na: 3\n", "line 3: has the field a twice"),
        (b"SHA256: 1\nSha256: 3\n", "twice"),
        (b"Description: " + b"x" * (1 << 20), "more than 1048576 bytes"),
        (b"A: 1\n" + b" x\n" * (1 << 19), "more than 1048576 bytes"),
    ],
)
def test_what_is_damaged_is_refused(data, text):
    refused(data, text)


def test_a_long_message_shows_only_the_beginning():
    with pytest.raises(InputError) as caught:
        parse_control(b"x" * 100_000, "it")
    assert len(str(caught.value)) < 200


def test_paragraphs_and_their_lines():
    data = b"\nA: 1\n x\n\n\n\nA: 2\n\nB: 3\n"
    assert list(paragraphs(data, "it")) == [{"A": "1\n x"}, {"A": "2"}, {"B": "3"}]
    found = paragraphs(data + b"\nC: 4\nD\n", "it")
    assert len([next(found) for _ in range(3)]) == 3
    with pytest.raises(InputError, match="line 12: 'D' is no field"):
        next(found)
    assert list(paragraphs(b"", "it")) == []


def test_large_data_takes_no_longer_than_its_size():
    assert len(parse_control(b"A: 1\n" + b" x\n" * 300_000, "it")["A"]) == 900_001
    assert len(list(paragraphs(b"A: 1\n\n" * 100_000, "it"))) == 100_000
    assert len(parse_control(b"".join(b"F%d: 1\n" % n for n in range(90_000)), "it")) == 90_000


GOOD = {"Package": "lib-c++6.x_y", "Version": "1:2.0~rc1+git_0-r0", "Architecture": "core2-64"}


def test_identity():
    assert identity(GOOD, "it") == tuple(GOOD.values())
    assert identity({**GOOD, "Package": "Shop", "Version": "x", "Architecture": "qemux86_64"}, "it")[0] == "Shop"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("Package", text) for text in ("-x", "+x", ".", "a b", "a/b", "../a", "a\n b", "é", "a\n", "a" * 256, "١")),
        *(("Version", text) for text in ("1 2", "1/2", "1\n", "1(2", "1\udcff", "1" * 1001, "١")),
        *(("Architecture", text) for text in ("a b", "a.b", "a/..", "all\n", "é")),
    ],
)
def test_identity_refuses_what_no_package_has(field, value):
    with pytest.raises(InputError, match=f"it: .*can not be the {field}"):
        identity({**GOOD, field: value}, "it")


@pytest.mark.parametrize("field", GOOD)
def test_identity_needs_all(field):
    for fields in ({**GOOD, field: ""}, {key: value for key, value in GOOD.items() if key != field}):
        with pytest.raises(InputError, match=f"it: has no {field}"):
            identity(fields, "it")
