# SPDX-License-Identifier: MIT
"""What rich relations become to libsolv: as many lists of packages as are counted, and what is too much is refused."""

from __future__ import annotations

import io
import itertools
from typing import TYPE_CHECKING

import pytest
from support.rpmfeeds import (
    below,
    element,
    facts,
    opened,
    package,
    primary,
    remembered,
    world,
    write_feed,
    write_repodata,
)

from oe_oci.errors import InputError
from oe_oci.packages.rpm.clauses import is_complex, packages
from oe_oci.packages.rpm.entries import Rich, find_rich
from oe_oci.packages.rpm.resolve import resolve
from oe_oci.packages.rpm.rich import parse
from oe_oci.packages.rpm.world import World
from oe_oci.packages.world import Policy

if TYPE_CHECKING:
    from oe_oci.packages.rpm.rich import Node

PAIRS = "(" + " or ".join(f"(a{number} and b{number})" for number in range(20)) + ")"


def expanded(node: Node, providers: int, conjunctive: bool) -> list[tuple]:
    """The lists themselves, put together step by step."""
    if not is_complex(node):
        names = leaves(node)
        chosen = [(name, number) for name in names for number in range(providers)]
        return [tuple(chosen)] if conjunctive else [(one,) for one in chosen]
    parts = [expanded(part, providers, conjunctive) for part in node.parts]
    others = [expanded(part, providers, not conjunctive) for part in node.parts]
    together, apart = (added, multiplied) if conjunctive else (multiplied, added)
    if node.operator in ("and", "or"):
        join = together if node.operator == "and" else apart
        return join(*parts)
    inner, outer = (apart, together) if node.operator == "if" else (together, apart)
    found = inner(parts[0], others[1])
    return outer(found, inner(parts[1], parts[2])) if len(parts) > 2 else found


def leaves(node: Node) -> list[str]:
    if not node.operator:
        return [node.name]
    return [name for part in (node.parts if node.operator == "or" else node.parts[:1]) for name in leaves(part)]


def added(*parts: list[tuple]) -> list[tuple]:
    return [one for part in parts for one in part]


def multiplied(*parts: list[tuple]) -> list[tuple]:
    return [sum(chosen, ()) for chosen in itertools.product(*parts)]


@pytest.mark.parametrize("providers", [1, 2])
@pytest.mark.parametrize("conflict", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        "(a)",
        "(a or b)",
        "(a or (b with c))",
        "(a and b)",
        "((a and b) or c)",
        "((a and b) or (c and d) or (e and f))",
        "(a if b)",
        "(a if (b and c))",
        "(a if (b or c or d) else e)",
        "((a and b) if (c or (d and e)) else (f unless g))",
        "(a unless b)",
        "((a or b) unless (c and d) else (e if f))",
        "((a if b) and (c or (d and e and f)))",
    ],
)
def test_as_many_as_there_are(text, conflict, providers):
    lists = expanded(parse(text), providers, not conflict)
    assert packages(parse(text), lambda _: providers, conflict=conflict) == sum(map(len, lists))


@pytest.mark.parametrize(
    ("text", "found"), [("(a or b)", False), ("(a with b)", False), ("(a or (b if c))", True), ("((a and b))", True)]
)
def test_what_is_more_than_a_choice(text, found):
    assert is_complex(parse(text)) == found


# ---- in metadata


def find(*texts: str) -> list[Rich]:
    return find_rich(io.BytesIO(primary([element(facts(text)) for text in texts])), "feed")


def test_relations_are_found_with_their_packages():
    found = find(
        "a 1 ; needs (b and c), (d or e) ; conflicts f, (g and h) ; likes (i if j)",
        "k 1 ; needs l ; supplements (m and n)",
    )
    assert found == [
        Rich("a", False, "(b and c)"),
        Rich("a", True, "(g and h)"),
        Rich("a", False, "(i if j)"),
        Rich("k", False, "(m and n)"),
    ]


@pytest.mark.parametrize(
    "entry",
    [
        "<rpm:entry name='(a and b)'/>",
        '<rpm:entry  flags="EQ"\nname = "(a and b)"/>',
        '<rpm:entry name="&#40;a and b&#x29;"/>',
        '<rpm:entry name="(a &#97;nd b)"/>',
    ],
)
def test_in_whatever_way_they_are_written(entry):
    data = f"<package><name>p</name><rpm:conflicts/><rpm:requires>{entry}</rpm:requires></package>"
    assert find_rich(io.BytesIO(data.encode()), "feed") == [Rich("p", False, "(a and b)")]


@pytest.mark.parametrize(
    "text",
    [
        '<description>write name="&lt;your name, and so on</description><url>"x</url>',
        "<description>option name='&amp;foo; don&apos;t</description><packager>O'Neil</packager>",
    ],
)
def test_what_only_looks_like_an_attribute(tmp_path, text):
    one = element(facts("shop 1 ; needs (a and b)")).replace("</name>", f"</name>{text}")
    folder = write_repodata(tmp_path / "feed", {"primary": primary([one])})
    assert opened(folder).names() == {"shop"}
    assert find_rich(io.BytesIO(primary([one])), "feed") == [Rich("shop", False, "(a and b)")]


def test_a_value_that_is_no_xml_is_an_error_that_names_the_package():
    data = b'<package><name>p</name><rpm:requires><rpm:entry name="(a and b & c)"/></rpm:requires></package>'
    with pytest.raises(InputError, match=r"^feed: p: '\(a and b & c\)' is no relation to a package: "):
        find_rich(io.BytesIO(data), "feed")


def test_those_of_a_package_that_lies_across_pieces():
    text = f"p 1 ; files {' '.join(f'/usr/bin/{number}' for number in range(100_000))}"
    data = primary([element(facts(text)).replace("</format>", '<rpm:entry name="(a and b)"/></format>')] * 3)
    assert len(data) > 6 << 20
    assert find_rich(io.BytesIO(data), "feed") == [Rich("p", False, "(a and b)")] * 3


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("(a or", "a name is missing"),
        ("(a, or b)", "its words are separated by something else than blanks"),
        ("(a\u2028or b)", "its words are separated by something else than blanks"),
        ("(" + " or ".join("a" * 5000) + ")", "it has more than 8192 characters"),
    ],
)
def test_a_malformed_one_is_an_error_that_names_the_package(tmp_path, text, wrong):
    bad = facts("shop 1")._replace(relations={"needs": [text]})
    folder = write_repodata(tmp_path / "feed", {"primary": primary([element(facts("a 1")), element(bad)])})
    with pytest.raises(InputError, match=wrong) as caught:
        opened(folder)
    assert caught.value.message.startswith(f"{folder}/repodata/primary.xml.gz: shop: '(")
    assert caught.value.hint == "build the package anew, or take it out of the feed"


def test_of_a_package_without_an_index_and_of_one_that_is_installed(tmp_path):
    bad = facts("shop 1")._replace(relations={"provides": ["shop = 1-1"], "needs": ["(a xor b)"]})
    (tmp_path / "loose").mkdir()
    package(bad).write(tmp_path / "loose")
    with pytest.raises(InputError, match=r"/loose: shop: '\(a xor b\)' is no relation to a package"):
        opened(tmp_path / "loose")
    feeds = opened(write_feed(tmp_path / "feed", "a 1"))
    there = [below("shop 1")[0]._replace(header=package_header(bad))]
    with pytest.raises(InputError, match=r"the database of rpm: shop: '\(a xor b\)' is no relation to a package"):
        World(feeds, there, Policy("rpm", "amd64"))


def package_header(one):
    from oe_oci.packages.rpm.header import Header

    return Header(package(one).header, one.name)


# ---- what is too much


@pytest.mark.parametrize("word", ["needs", "likes"])
def test_many_pairs_are_refused(tmp_path, word):
    folder = write_feed(tmp_path, f"shop 1 ; {word} {PAIRS}", "a0 1", "b0 1")
    with pytest.raises(InputError, match="is too much to resolve") as caught:
        world(opened(folder))
    assert caught.value.message.startswith(f"{folder}/repodata/primary.xml.gz: shop: '((a0 and b0) or ")
    assert len(caught.value.message) < 400


def test_many_that_provide_what_may_not_be_together_are_refused(tmp_path):
    many = [f"{name}{number} 1 ; provides {name}" for name in "abc" for number in range(60)]
    folder = write_feed(tmp_path, "shop 1 ; conflicts (a and b and c)", *many)
    with pytest.raises(InputError, match="it names more than 500000 packages"):
        world(opened(folder))


def test_many_large_ones_are_refused(tmp_path):
    twelve = "(" + " or ".join(f"(a{number} and b{number})" for number in range(12)) + ")"
    few = opened(write_feed(tmp_path / "few", *(f"shop{number} 1 ; needs {twelve}" for number in range(50))))
    assert len(world(few).pool.inner.solvables) > 50
    many = opened(write_feed(tmp_path / "many", *(f"shop{number} 1 ; needs {twelve}" for number in range(100))))
    with pytest.raises(InputError, match="all such name more than 4000000 packages"):
        world(many)


def test_what_is_large_and_not_too_large_is_resolved(tmp_path):
    pairs = "(" + " or ".join(f"(a{number} and b{number})" for number in range(10)) + ")"
    folder = write_feed(tmp_path, f"shop 1 ; needs {pairs}", "a7 1", "b7 1")
    found = resolve(world(opened(folder)), "app", ["shop"])
    assert sorted(one.package.name for one in found.selected) == ["a7", "b7", "shop"]


def test_what_is_remembered_is_refused_too(tmp_path):
    folder = write_feed(tmp_path / "feed", f"shop 1 ; needs {PAIRS}")
    for _ in range(2):
        feeds = opened(folder, remember=remembered(tmp_path / "cache", began=2**62))
        with pytest.raises(InputError, match="is too much to resolve"):
            world(feeds)
    assert list((tmp_path / "cache").iterdir())
