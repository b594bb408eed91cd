# SPDX-License-Identifier: MIT
from __future__ import annotations

import random
import time

import pytest
from support import headers, rpmfeeds
from support.offers import world
from support.rpmfeeds import facts

from oe_oci.packages.maintainer.order import PLAIN, STRONG, WEAK, arranged, deb_order, rpm_order
from oe_oci.packages.resolve import resolve
from oe_oci.packages.rpm import resolve as rpm_resolve
from oe_oci.packages.rpm.header import Header

PRE, POST, PREUN, PREREQ, META = 1 << 9, 1 << 10, 1 << 11, 1 << 6, 1 << 29


def configured(known, *names: str, silent: str = "", first: str = "") -> list[str]:
    """The order of a layer's packages; those `silent` have no `postinst`. They come in reverse, `first` before all."""
    selected = sorted(resolve(known, "app", names).selected, key=lambda one: one.package.name, reverse=True)
    selected.sort(key=lambda one: one.package.name not in first.split())
    found = deb_order(known, selected, [one.package.name not in silent.split() for one in selected])
    assert sorted(map(id, found)) == sorted(map(id, selected))
    return [one.package.name for one in found]


class TestDeb:
    def test_what_is_needed_comes_first(self):
        known = world("a 1 ; needs b, d", "b 1 ; pre c", "c 1", "d 1")
        assert configured(known, "a", first="a") == ["d", "c", "b", "a"]

    def test_what_is_in_order_stays(self):
        known = world("c 1", "a 1 ; needs c", "b 1")
        assert configured(known, "c", "a", "b", first="c") == ["c", "b", "a"]

    def test_what_is_met_below_is_no_matter(self):
        known = world("a 1 ; needs b | c", "c 1", below=["b 1"])
        assert configured(known, "a", "c", first="a") == ["a", "c"]

    def test_what_is_upgraded_is_to_be_configured_again(self):
        known = world("a 1 ; needs b (>= 2)", "b 2", below=["b 1"])
        assert configured(known, "a", first="a") == ["b", "a"]

    def test_another_version_below_meets_what_is_upgraded_too(self):
        known = world("a 1 ; needs b", "b 2", below=["b 1"])
        assert configured(known, "a", "b", first="a") == ["a"]

    def test_the_first_alternative_is_enough(self):
        known = world("a 1 ; needs x | y", "x 1", "y 1 ; needs a")
        assert configured(known, "a", "x", "y", first="a y") == ["x", "a", "y"]

    @pytest.mark.parametrize(("relation", "last"), [("v", "p"), ("v (>= 2)", "p"), ("v (= 1) | q", "q")])
    def test_what_is_provided(self, relation, last):
        known = world(f"a 1 ; needs {relation}", "p 1 ; provides v (= 2)", "q 1")
        assert configured(known, "a", "p", "q", first="a")[:2] in ([last, "a"], ["q", "p"])
        order = configured(known, "a", "p", "q", first="a")
        assert order.index("a") == order.index(last) + 1

    def test_a_package_that_provides_what_it_needs(self):
        known = world("a 1 ; needs v ; provides v", "b 1 ; provides v ; needs a")
        assert configured(known, "a", "b", first="b") == ["a", "b"]

    def test_what_is_recommended_goes_before_as_well(self):
        assert configured(world("a 1 ; likes b", "b 1"), "a", first="a") == ["b", "a"]

    def test_a_recommendation_makes_no_circle(self):
        assert configured(world("a 1 ; likes b", "b 1 ; needs a"), "a", first="b") == ["a", "b"]

    def test_a_circle_is_broken_where_nothing_happens(self):
        known = world("a 1 ; needs b", "b 1 ; needs c", "c 1 ; needs a")
        assert configured(known, "a", silent="c") == ["c", "b", "a"]
        assert configured(known, "a", silent="b") == ["b", "a", "c"]

    def test_a_circle_is_else_broken_by_name(self):
        known = world("a 1 ; needs b", "b 1 ; needs c", "c 1 ; needs a")
        assert configured(known, "a") == ["a", "c", "b"]

    def test_what_must_be_before_is_kept_in_a_circle(self):
        known = world("a 1 ; pre b", "b 1 ; needs a")
        assert configured(known, "a") == ["b", "a"]
        assert configured(known, "a", silent="a") == ["b", "a"]

    def test_circles_within_a_circle(self):
        known = world("a 1 ; needs b, d", "b 1 ; needs a", "c 1 ; needs b", "d 1 ; needs c")
        assert configured(known, "a", silent="b") == ["b", "c", "d", "a"]

    def test_what_lies_outside_of_a_circle_keeps_its_place(self):
        known = world("a 1 ; needs b", "b 1 ; needs a, c", "c 1", "d 1 ; needs a")
        assert configured(known, "d", first="d") == ["c", "a", "b", "d"]


class TestRpm:
    @pytest.fixture
    def order(self, tmp_path):
        def ordered(*texts: str, flags=None, tags=None, names: str = "a", below=()) -> list[str]:
            """The order of a layer's packages, which come with `a` first and the rest in reverse.

            `flags` are of relations by the name of a package and theirs, `tags` more of what headers have.
            """
            known = rpmfeeds.world(rpmfeeds.opened(rpmfeeds.write_feed(tmp_path, *texts)), *below)
            resolution = rpm_resolve.resolve(known, "app", names.split())
            selected = sorted(resolution.selected, key=lambda one: one.package.name, reverse=True)
            selected.sort(key=lambda one: one.package.name != "a")
            made = {one.name: header(one, flags or {}, (tags or {}).get(one.name, {})) for one in map(facts, texts)}
            found = rpm_order(known, selected, [made[one.package.name] for one in selected])
            return [one.package.name for one in found]

        return ordered

    def test_what_is_needed_comes_first(self, order):
        texts = "a 1 ; needs b >= 1, /bin/x", "b 1 ; needs v", "c 1 ; provides v", "d 1 ; files /bin/x"
        assert order(*texts) == ["d", "c", "b", "a"]

    def test_what_is_met_below_is_no_matter(self, order):
        assert order("a 1 ; needs v", "c 1 ; provides v", names="a c", below=["b 1 ; provides v"]) == ["a", "c"]

    def test_a_need_of_scripts_is_kept_in_a_circle(self, order):
        texts = "a 1 ; needs b", "b 1 ; needs a"
        assert order(*texts) == ["a", "b"]
        for flag in (PRE, POST, PREREQ):
            assert order(*texts, flags={("a", "b"): flag}) == ["b", "a"]
        assert order(*texts, flags={("a", "b"): PREUN}) == ["a", "b"]

    def test_a_circle_is_broken_at_a_package_without_scripts(self, order):
        texts = "a 1 ; needs b", "b 1 ; needs c", "c 1 ; needs a"
        assert order(*texts, tags={"a": {1086: "/sbin/ldconfig"}, "b": {1023: "true\n"}}) == ["c", "b", "a"]

    def test_needs_without_an_order(self, order):
        assert order("a 1 ; needs b", "b 1", flags={("a", "b"): META}) == ["a", "b"]

    def test_rich_needs(self, order):
        assert order("a 1 ; needs (b and c)", "b 1", "c 1") == ["c", "b", "a"]
        assert order("a 1 ; needs (b or c)", "b 1", "c 1 ; needs a", names="a b c") == ["b", "a", "c"]
        texts = "a 1 ; needs (b and c)", "b 1 ; needs a", "c 1"
        assert order(*texts, flags={("a", "(b and c)"): PRE}) == ["c", "b", "a"]

    def test_a_recommendation_makes_no_circle(self, order):
        assert order("a 1 ; likes b", "b 1") == ["b", "a"]
        assert order("a 1 ; likes b", "b 1 ; needs a") == ["a", "b"]

    def test_a_wish_for_an_order(self, order):
        texts = "a 1", "b 1 ; provides v"
        for name in ("b", "v"):
            assert order(*texts, names="a b", tags={"a": {5035: [name]}}) == ["b", "a"]
        assert order("a 1", "b 1 ; needs a", names="a b", tags={"a": {5035: ["b", "x"]}}) == ["a", "b"]


def header(one: rpmfeeds.Facts, flags: dict[tuple[str, str], int], tags: dict[int, headers.Value]) -> Header:
    """A package's header with what it needs, of which `flags` say how."""
    needs = one.relations.get("needs", ())
    requires = {1049: [text if text.startswith("(") else text.split()[0] for text in needs]}
    requires |= {1048: [flags.get((one.name, text), 0) for text in needs], 1050: [""] * len(needs)}
    provides = {1047: [text.split()[0] for text in one.relations["provides"]]}
    found = {tag: value for tag, value in {**requires, **provides, **tags}.items() if value}
    _, data = headers.package(one.name, **{f"_{tag}": value for tag, value in found.items()})
    return Header(data, one.name)


# ---- all circles there can be


def reachable(needs: list[dict[int, int]], least: int) -> list[set[int]]:
    """What each leads to by needs that are strong enough."""
    found = [{other for other, strength in each.items() if strength >= least} for each in needs]
    while True:
        more = [each.union(*(found[other] for other in each)) for each in found]
        if more == found:
            return found
        found = more


def drawn(seed: int) -> tuple[list[dict[int, int]], list[tuple[bool, int]]]:
    """Needs of a few packages among themselves, and ranks."""
    draw = random.Random(seed)
    number = draw.randint(1, 12)
    needs: list[dict[int, int]] = [{} for _ in range(number)]
    for _ in range(draw.randint(0, 3 * number)):
        one, other = draw.randrange(number), draw.randrange(number)
        if one != other:
            needs[one][other] = draw.choice((WEAK, PLAIN, PLAIN, PLAIN, STRONG))
    names = draw.sample(range(number), number)
    return needs, [(draw.random() < 0.7, name) for name in names]


@pytest.mark.parametrize("seed", range(0, 1000, 100))
def test_needs_that_are_on_no_circle_are_kept(seed):
    for each in range(seed, seed + 100):
        needs, ranks = drawn(each)
        order = arranged(needs, ranks)
        assert sorted(order) == list(range(len(needs)))
        ways = {least: reachable(needs, least) for least in (WEAK, PLAIN, STRONG)}
        for one, others in enumerate(needs):
            for other, strength in others.items():
                # What is weaker than a need has no part in whether it is kept.
                circle = one in ways[strength][other]
                assert circle or order.index(other) < order.index(one), (each, one, other)
            for other in ways[PLAIN][one]:
                assert one in ways[PLAIN][other] or order.index(other) < order.index(one), (each, one, other)


@pytest.mark.parametrize("seed", range(0, 1000, 100))
def test_the_order_in_which_needs_are_known_is_no_matter(seed):
    for each in range(seed, seed + 100):
        needs, ranks = drawn(each)
        draw = random.Random(each)
        shuffled = [dict(draw.sample(list(others.items()), len(others))) for others in needs]
        assert arranged(shuffled, ranks) == arranged(needs, ranks)


@pytest.mark.parametrize("seed", range(200))
def test_what_is_in_order_stays_as_it_is(seed):
    needs, ranks = drawn(seed)
    sorted_needs = [{other: how for other, how in each.items() if other < one} for one, each in enumerate(needs)]
    assert arranged(sorted_needs, ranks) == list(range(len(needs)))


# ---- many packages


def lattice(number: int, reach: int) -> list[dict[int, int]]:
    """Packages in a ring, each of which needs its neighbours."""
    return [{(one + step) % number: PLAIN for step in range(-reach, reach + 1) if step} for one in range(number)]


@pytest.mark.parametrize(
    ("needs", "order"),
    [
        pytest.param(
            [{one + 1: PLAIN} if one < 19_999 else {} for one in range(20_000)], range(19_999, -1, -1), id="chain"
        ),
        pytest.param([{(one + 1) % 20_000: PLAIN} for one in range(20_000)], [0, *range(19_999, 0, -1)], id="ring"),
        pytest.param([{one // 2: PLAIN} if one else {} for one in range(20_000)], range(20_000), id="tree"),
    ],
)
def test_chains_longer_than_the_stack(needs, order):
    assert arranged(needs, [(one,) for one in range(len(needs))]) == list(order)


@pytest.mark.parametrize(
    "needs", [lattice(2000, 5), [dict.fromkeys(set(range(300)) - {one}, PLAIN) for one in range(300)]]
)
def test_many_circles_take_no_time(needs):
    begin = time.process_time()
    order = arranged(needs, [(one,) for one in range(len(needs))])
    assert sorted(order) == list(range(len(needs)))
    assert time.process_time() - begin < 5  # nearly all of it is leeway
