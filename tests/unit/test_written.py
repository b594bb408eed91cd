# SPDX-License-Identifier: MIT
from __future__ import annotations

import random

import pytest

from oe_oci.bbconf import read_conf
from oe_oci.bbconf.written import assignments

ODD = [
    "",
    "a b",
    'it is "so"',
    'one " alone',
    "one ' alone",
    "it's 5\" wide",
    "a\\",
    " padded ",
    "#",
    "${NOT_SET}",
    "é𝄞",
]


def read(text, tmp_path):
    path = tmp_path / "image.conf"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    return read_conf(str(path), defaults={})


@pytest.mark.parametrize("value", ODD)
def test_what_is_written_is_read_again(value, tmp_path):
    found = read(assignments([("A", value), ("B", "after")]), tmp_path)
    assert (found.get("A"), found.get("B")) == (value, "after")


def test_any_value_is_read_again(tmp_path):
    chance = random.Random(6)
    values = {f"A{n}": "".join(chance.choices("ab \"'\\=.#:[]()$%", k=chance.randrange(12))) for n in range(300)}
    found = read(assignments(values.items()), tmp_path)
    assert {name: found.get(name) for name in values} == values


def test_the_end_of_a_line_becomes_a_blank(tmp_path):
    assert read(assignments([("A", "one\ntwo\n")]), tmp_path).get("A") == "one two"
