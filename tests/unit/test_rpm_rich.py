# SPDX-License-Identifier: MIT
"""The names in rich relations, as rpm 4.18 enters them in its database."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oe_oci.packages.rpm.rich import names


@pytest.mark.parametrize(
    ("relation", "found"),
    [
        ("(beta or gamma)", "beta gamma"),
        ("(y or x or x or y)", "x y"),
        ("((f or g >= 1) and h)", "f g h"),
        ("(k with l < 2:1-3)", "k l"),
        ("(ee without ff)", "ee ff"),
        ("(a if b)", "a !b"),
        ("(c if d else e)", "c d e !d"),
        ("(p if (q if r))", "p r !q"),
        ("(s unless t)", "s !t"),
        ("((aa if bb else cc) and dd)", "aa bb cc dd !bb"),
        ("(b(x) or foo(y-z) or /bin/q)", "/bin/q b(x) foo(y-z)"),
        ("(lib(a(b))(64bit) and orders)", "lib(a(b))(64bit) orders"),
        ("(rpmlib(RichDependencies) and x)", "x"),
        ("(ä or b)", "b ä"),
    ],
)
def test_names(relation, found):
    assert names(relation) == found.split()


@pytest.mark.parametrize("relation", ["(", "(a", "(a or", "(a xor b)", "(a or b", "(a b)", "(" * 500, "((((a)"])
def test_a_malformed_relation_has_none(relation):
    assert names(relation) == []


@given(st.text(alphabet="() ab!<=if,or", max_size=40))
def test_no_text_is_too_odd(text):
    assert isinstance(names(f"({text}"), list)
