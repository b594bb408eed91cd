# SPDX-License-Identifier: MIT
"""The names in rich relations, as rpm 4.18 enters them in its database."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oe_oci.packages.rpm.rich import MalformedError, names, parse


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


@pytest.mark.parametrize(
    ("relation", "wrong"),
    [
        ("(", "a name is missing"),
        ("()", "a name is missing"),
        ("(a", "a parenthesis is missing at its end"),
        ("(a or", "a name is missing"),
        ("(a or)", "a name is missing"),
        ("(a or b", "a parenthesis is missing at its end"),
        ("((((a)", "a parenthesis is missing at its end"),
        ("(a xor b)", "'xor' is no operator"),
        ("(a b)", "'b' is no operator"),
        ("(a or(b))", "'or(b' is no operator"),
        ("(a >=1)", "'>=1' is no operator"),
        ("(a >= )", "a version is missing"),
        ("(a or b) c", "something follows its last parenthesis"),
        ("(a or b and c)", "'and' can not stand after 'or'"),
        ("(a if b if c)", "'if' can not stand after 'if'"),
        ("(a without b without c)", "'without' can not stand after 'without'"),
        ("(a if b else c else d)", "'else' can not stand after 'else'"),
        ("(a or b else c)", "'else' can not stand after 'or'"),
        ("(a else b)", "'else' stands alone"),
        ("(a with (b and c))", "'with' and 'without' join names alone"),
        ("((a or (b if c)) without d)", "'with' and 'without' join names alone"),
        ("(" * 500, "it has too many parentheses in each other"),
    ],
)
def test_a_malformed_relation_has_none_and_says_why(relation, wrong):
    assert names(relation) == []
    with pytest.raises(MalformedError, match=re.escape(wrong)):
        parse(relation)


@given(st.text(alphabet="() ab!<=if,or", max_size=40))
def test_no_text_is_too_odd(text):
    assert isinstance(names(f"({text}"), list)
