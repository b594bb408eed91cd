# SPDX-License-Identifier: MIT
from __future__ import annotations

import struct

import pytest

from oe_oci.errors import InputError
from oe_oci.packages.rpm.capabilities import attribute

ADMIN, RAW, CHOWN = 1 << 12, 1 << 13, 1
ALL = (1 << 41) - 1


def bits(text: str) -> tuple[bool, int, int]:
    """Whether they are effective, those permitted, those inheritable."""
    data = attribute(text, "shop")
    magic, permitted, inheritable, *high = struct.unpack("<5I", data)
    assert magic & ~1 == 0x02000000
    return bool(magic & 1), permitted | high[0] << 32, inheritable | high[1] << 32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cap_net_raw=ep", (True, RAW, 0)),
        ("= cap_net_raw+ep", (True, RAW, 0)),  # as libcap wrote it before 2.47
        ("cap_net_admin,cap_net_raw+p", (False, ADMIN | RAW, 0)),
        ("cap_net_admin=ep cap_net_raw+eip", (True, ADMIN | RAW, RAW)),
        ("CAP_NET_RAW=eip", (True, RAW, RAW)),
        ("=ep", (True, ALL, 0)),
        ("all=p", (False, ALL, 0)),
        ("=p cap_chown-p", (False, ALL & ~CHOWN, 0)),
        ("cap_chown=p cap_chown=i", (False, 0, CHOWN)),
        ("cap_chown=ip-p", (False, 0, CHOWN)),
        ("cap_chown=ip+e-i", (True, CHOWN, 0)),
        ("cap_checkpoint_restore=ep", (True, 1 << 40, 0)),
        ("41,cap_chown=p", (False, 1 << 41 | CHOWN, 0)),
        ("  cap_chown=p\tcap_net_raw=p ", (False, CHOWN | RAW, 0)),
        ("cap_chown=e", (True, 0, 0)),
        # The attribute is there, and gives nothing: so rpm has it.
        ("=", (False, 0, 0)),
        ("=p all=", (False, 0, 0)),
    ],
)
def test_texts(text, expected):
    assert bits(text) == expected


def test_the_bytes_are_those_that_setcap_sets():
    # setcap cap_net_raw=ep of libcap 2.66, read with getfattr -e hex
    assert attribute("cap_net_raw=ep", "shop").hex() == "0100000200200000000000000000000000000000"


@pytest.mark.parametrize(
    "text",
    ["cap_chown", "cap_chown=x", "cap_chown=P", "+p", "-e", "cap_chown+", "cap_chown=p=i", "cap chown=p", ",=p",
     "cap_chown,=p", "64=p", "cap_chown+p=", "cap_chown=p,cap_kill=p", "²=p", "1234567890123456789012345=p", "\0=p"],
)  # fmt: skip
def test_what_is_no_text_of_capabilities(text):
    with pytest.raises(InputError, match=r"^shop: capabilities '"):
        attribute(text, "shop")


def test_a_misspelt_name_has_a_hint():
    with pytest.raises(InputError, match="'cap_net_row' is none") as caught:
        attribute("cap_net_row=ep", "shop")
    assert caught.value.hint == "did you mean cap_net_raw?"


def test_a_file_has_all_effective_or_none():
    with pytest.raises(InputError, match="all are effective or none"):
        attribute("cap_chown=ep cap_kill=p", "shop")
