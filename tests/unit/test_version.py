# SPDX-License-Identifier: MIT
from __future__ import annotations

import itertools
import random
import shutil
import subprocess
import time

import pytest
from debian.debian_support import NativeVersion
from hypothesis import given, settings
from hypothesis import strategies as st

from oe_oci.packages.version import compare, sort_key

fuzz = settings(derandomize=True, deadline=None, database=None, max_examples=500)
ANY = st.text(alphabet="01290.+~:_-abZ", max_size=12)
GOOD = st.from_regex(r"([0-9]:)?[0-9][0-9.+~aZ]{0,6}(-[0-9.+~aZ]{1,4}){0,2}", fullmatch=True)

# Each list from the oldest to the newest; the words of one entry are equal.
ORDER = [
    ["1.0~~", "1.0~~a", "1.0~", "1.0~-1", "1.0 1.0-0 1.00 01.0 0:1.0", "1.0-0.1", "1.0-1", "1.0a", "1.0+b", "1.0.1"],
    ["~~", "~ ~0", "0 00 0-0 0:0", "0a"],
    ["9", "10", "1:1", "2:0~", "10:0"],
    ["1.0-r9", "1.0-r10", "1.0+git0-r0", "1.0+git1-r0", "1.0_1-r0"],
    ["1", "a", "aa", "ab", "b", "+", "."],
    ["1.2.3-1-1", "1.2.3-1-2", "1.2.3-2-1"],
]


@pytest.mark.parametrize("rising", ORDER)
def test_order(rising):
    for (low, lows), (high, highs) in itertools.combinations(enumerate(word.split() for word in rising), 2):
        assert low < high
        for a, b in itertools.product(lows, highs):
            assert (compare(a, b), compare(b, a)) == (-1, 1), (a, b)
    for words in rising:
        for a, b in itertools.product(words.split(), repeat=2):
            assert compare(a, b) == 0


def test_sort_key():
    shuffled = ["1.0-r10", "1.0-r9", "1:0", "1.0~rc1"]
    assert sorted(shuffled, key=sort_key) == ["1.0~rc1", "1.0-r9", "1.0-r10", "1:0"]


@fuzz
@given(GOOD, GOOD)
def test_agrees_with_python_debian(a, b):
    ours, theirs = NativeVersion(a), NativeVersion(b)
    assert compare(a, b) == (ours > theirs) - (ours < theirs)


@fuzz
@given(ANY, ANY, ANY)
def test_is_an_order(a, b, c):
    assert compare(a, a) == 0
    assert compare(a, b) == -compare(b, a)
    low, middle, high = sorted((a, b, c), key=sort_key)
    assert compare(low, middle) <= 0
    assert compare(middle, high) <= 0
    assert compare(low, high) <= 0


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="needs dpkg")
def test_agrees_with_dpkg():
    chance = random.Random(1)
    for _ in range(150):
        a, b = ("1" + "".join(chance.choices("019.+~ab-", k=chance.randint(0, 6))) + "0" for _ in range(2))
        found = [
            subprocess.run(["dpkg", "--compare-versions", a, sign, b], check=False).returncode for sign in ("lt", "gt")
        ]
        assert found == [int(compare(a, b) >= 0), int(compare(a, b) <= 0)], (a, b)


def test_hostile_versions():
    long = "9" * 100_000
    begun = time.perf_counter()
    assert compare(long, long[:-1] + "8") == 1
    assert compare(long + ":1", "1:2") == 1
    assert compare("1" + "a1" * 50_000, "1" + "a1" * 50_000 + "~") == 1
    assert compare("1-" * 50_000, "1-" * 50_000 + "0") in (-1, 0, 1)
    assert compare("1.\udcff", "1.\U0010ffff") in (-1, 1)
    assert compare("١", "2") == 1
    assert compare("", "~") == 1
    assert time.perf_counter() - begun < 5
