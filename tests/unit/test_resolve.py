# SPDX-License-Identifier: MIT
from __future__ import annotations

import random

import pytest
from support.offers import world

from oe_oci.errors import ConfigError, InputError
from oe_oci.packages.package import Package
from oe_oci.packages.prefer import preferred
from oe_oci.packages.relation import Relation, parse_relations
from oe_oci.packages.resolve import resolve
from oe_oci.packages.world import AGAINST, REQUIRED


def chosen(known, *names: str) -> list[str]:
    """What is installed for the names, as `name` or, where that is not the only version, `name=version`."""
    return [one.package.name for one in resolve(known, "app", names).selected]


def versions(known, *names: str) -> dict[str, str]:
    return {one.package.name: one.package.version for one in resolve(known, "app", names).selected}


def refused(known, *names: str) -> tuple[str, str]:
    with pytest.raises(ConfigError) as caught:
        resolve(known, "app", names)
    (fault,) = caught.value.faults
    assert fault.where == "OCI_LAYERS"
    return fault.message, fault.hint


class TestRelations:
    @pytest.mark.parametrize(
        ("text", "groups"),
        [
            ("a", ((Relation("a"),),)),
            (
                "a, b:any (>= 1:2~rc-1) |c ( << 3 )",
                ((Relation("a"),), (Relation("b", "any", ">=", "1:2~rc-1"), Relation("c", "", "<<", "3"))),
            ),
            ("a (> 1), b (< 2),", ((Relation("a", "", ">=", "1"),), (Relation("b", "", "<=", "2"),))),
            ("libstdc++6 (=12)\n", ((Relation("libstdc++6", "", "=", "12"),),)),
            ("", ()),
        ],
    )
    def test_read(self, text, groups):
        assert parse_relations(text) == groups

    @pytest.mark.parametrize(
        "text", ["a b", "(>= 1)", "a (>= )", "a (~ 1)", "a | ", "a (>= 1", "ä", "a\nb", "-x", "a [amd64]"]
    )
    def test_refused(self, text):
        with pytest.raises(InputError, match="no relation"):
            parse_relations(text)

    def test_a_package_with_one_is_named(self):
        with pytest.raises(InputError, match=r"^a 1: Depends: 'b c' in 'b c' is no relation to a package$"):
            chosen(world("a 1 ; needs b c"), "a")


class TestChoice:
    def test_dependencies_come_first(self):
        assert chosen(world("a 1 ; needs b", "b 1 ; pre c", "c 1", "d 1"), "a") == ["c", "b", "a"]

    def test_the_order_of_the_layer_is_kept_where_nothing_speaks_against_it(self):
        assert chosen(world("a 1", "b 1", "c 1 ; essential yes"), "b", "a", "c") == ["c", "b", "a"]

    def test_a_circle(self):
        assert sorted(chosen(world("a 1 ; needs b", "b 1 ; needs a"), "a")) == ["a", "b"]

    def test_a_chain_longer_than_the_stack(self):
        links = [f"p{n} 1 ; needs p{n + 1}" for n in range(5000)]
        assert len(chosen(world(*links, "p5000 1"), "p0")) == 5001

    def test_the_first_alternative(self):
        known = world("a 1 ; needs x | y", "x 1", "y 1")
        assert chosen(known, "a") == ["x", "a"]

    def test_an_alternative_that_is_asked_for(self):
        known = world("a 1 ; needs x | y", "x 1", "y 1")
        assert sorted(chosen(known, "a", "y")) == ["a", "y"]

    def test_an_alternative_that_is_chosen_earlier(self):
        known = world("a 1 ; needs b, x | y", "b 1 ; needs y", "x 1", "y 1")
        assert sorted(chosen(known, "a")) == ["a", "b", "y"]

    def test_an_alternative_that_can_not_be(self):
        known = world("a 1 ; needs x | y", "x 1 ; needs nothing-has-it", "y 1")
        assert chosen(known, "a") == ["y", "a"]

    def test_an_alternative_that_conflicts_with_what_is_asked_for(self):
        known = world("a 1 ; needs x | y", "x 1 ; conflicts b", "y 1", "b 1")
        assert sorted(chosen(known, "a", "b")) == ["a", "b", "y"]

    def test_a_conflict_that_only_the_solver_finds_a_way_around(self):
        # Depth first x is taken for a before b, which excludes it, is met.
        known = world("a 1 ; needs x | y, b", "x 1", "y 1", "b 1 ; conflicts x")
        assert sorted(chosen(known, "a")) == ["a", "b", "y"]

    def test_a_later_choice_wins_over_one_that_it_is_against(self):
        known = world(
            "a 1 ; needs b ; likes core",
            "b 1 ; likes c",
            "c 1 ; needs nogui | core",
            "nogui 1",
            "core 1 ; conflicts nogui",
        )
        assert sorted(chosen(known, "a")) == ["a", "b", "c", "core"]

    def test_what_an_earlier_choice_needed_goes_with_it(self):
        known = world("a 1 ; likes b, c", "b 1 ; needs d ; likes e", "d 1", "e 1", "c 1 ; conflicts d")
        assert sorted(chosen(known, "a")) == ["a", "c"]

    def test_what_is_needed_without_a_choice_stays(self):
        known = world("a 1 ; needs b ; likes c", "b 1 ; needs d", "d 1", "c 1 ; conflicts d")
        assert sorted(chosen(known, "a")) == ["a", "b", "d"]

    def test_an_older_version_on_demand(self):
        known = world("a 1 ; needs b (<< 2)", "b 2", "b 1.9", "b 1.8")
        assert versions(known, "a") == {"a": "1", "b": "1.9"}

    def test_debian_order_of_versions(self):
        known = world("a 1 ; needs b (>= 2.0)", "b 2.0~rc1", "b 1:0.1", "b 2.0")
        assert versions(known, "a")["b"] == "1:0.1"
        assert versions(world("a 1 ; needs b (>> 1:2.39.5)", "b 1:2.39.5-0+deb12u2"), "a")["b"] == "1:2.39.5-0+deb12u2"

    def test_a_name_that_one_provides(self):
        assert chosen(world("postfix 1 ; provides mta"), "mta") == ["postfix"]

    def test_a_name_that_several_provide(self):
        message, hint = refused(world("exim 1 ; provides mta", "postfix 1 ; provides mta"), "mta")
        assert message == "layer 'app': 'mta' is no package, but several provide it"
        assert hint == "name one of them: exim, postfix"

    def test_the_package_itself_goes_before_those_that_provide_it(self):
        assert chosen(world("a 1 ; needs b", "c 1 ; provides b", "b 1"), "a") == ["b", "a"]

    def test_of_those_that_provide_it_the_more_important(self):
        known = world("a 1 ; needs v", "x 1 ; provides v ; priority optional", "y 1 ; provides v ; priority standard")
        assert chosen(known, "a") == ["y", "a"]

    @pytest.mark.parametrize(
        ("provides", "needs", "met"),
        [
            ("v", "v", True),
            ("v", "v (>= 1)", False),
            ("v (= 2)", "v (>= 1)", True),
            ("v (= 2)", "v (>= 3)", False),
            ("v (= 2)", "v", True),
        ],
    )
    def test_provided_versions(self, provides, needs, met):
        known = world(f"a 1 ; needs {needs}", f"p 9 ; provides {provides}")
        if met:
            assert chosen(known, "a") == ["p", "a"]
        else:
            assert refused(known, "a")[0].startswith(f"layer 'app': a 1 needs {needs}")

    def test_who_conflicts_with_what_he_provides_may_stand(self):
        assert chosen(world("postfix 1 ; provides mta ; conflicts mta"), "postfix") == ["postfix"]


class TestRecommendations:
    OFFER = ("a 1 ; needs b ; likes c | d, e", "b 1", "c 1", "d 1", "e 1")

    def test_taken(self):
        assert sorted(chosen(world(*self.OFFER), "a")) == ["a", "b", "c", "e"]

    def test_switched_off(self):
        assert sorted(chosen(world(*self.OFFER, recommends=False), "a")) == ["a", "b"]

    def test_bad_ones(self):
        assert sorted(chosen(world(*self.OFFER, bad_recommendations={"c", "e"}), "a")) == ["a", "b", "d"]

    def test_a_bad_one_that_is_needed(self):
        known = world("a 1 ; needs b ; likes c", "b 1 ; needs c", "c 1", bad_recommendations={"c"})
        assert sorted(chosen(known, "a")) == ["a", "b", "c"]

    def test_one_that_can_not_be(self):
        known = world("a 1 ; likes b, c, nowhere", "b 1 ; needs nowhere", "c 1 ; conflicts a")
        assert chosen(known, "a") == ["a"]

    def test_excluded(self):
        assert sorted(chosen(world(*self.OFFER, exclude={"c", "e"}), "a")) == ["a", "b", "d"]


class TestExcluded:
    def test_asked_for(self):
        message, hint = refused(world("a 1", exclude={"a"}), "a")
        assert message == "layer 'app': 'a' may not be installed: PACKAGE_EXCLUDE names it"
        assert hint == "remove it from one of the two"

    def test_needed(self):
        message, _ = refused(world("a 1 ; needs b", "b 1", exclude={"b"}), "a")
        assert message == "layer 'app': a 1 needs b, and PACKAGE_EXCLUDE names it"


class TestBelow:
    def test_not_installed_again(self):
        known = world("a 1 ; needs b (>= 1)", "b 2", below=["b 1"])
        assert chosen(known, "a") == ["a"]

    def test_asked_for_again(self):
        found = resolve(world("b 2", below=["b 1"]), "app", ["b"])
        assert found.selected == ()
        assert [one.shown for one in found.below] == ["b 1"]

    def test_upgraded_where_a_dependency_demands_it(self):
        known = world("a 1 ; needs b (>= 2)", "b 3", "b 2", below=["b 1"])
        one, _ = resolve(known, "app", ["a"]).selected
        assert (one.package.version, one.asked_by, one.replaces.version) == ("3", "a", "1")

    def test_upgraded_with_what_needs_just_its_version(self):
        known = world(
            "a 1 ; needs b (>= 2)", "b 2", "b-data 2 ; needs b (= 2)", below=["b 1", "b-data 1 ; needs b (= 1)"]
        )
        assert versions(known, "a") == {"a": "1", "b": "2", "b-data": "2"}

    def test_upgraded_where_the_new_one_breaks_it(self):
        known = world("a 2 ; breaks b (<< 2)", "b 2", below=["b 1"])
        assert versions(known, "a") == {"a": "2", "b": "2"}

    def test_never_an_older_one(self):
        message, hint = refused(world("a 1 ; needs b (<< 2)", "b 1", below=["b 2"]), "a")
        assert message == "layer 'app': a 1 needs b (<< 2); b 2 (installed below) would have to be replaced by b 1"
        assert hint == "a layer never replaces a package below by an older one, nor removes one"

    def test_never_removed(self):
        message, _ = refused(world("a 1 ; conflicts b", below=["b 2"]), "a")
        assert message == "layer 'app': a 1 conflicts with b: b 2 (installed below)"

    def test_it_may_be_against_what_comes(self):
        message, _ = refused(world("a 1", below=["b 2 ; breaks a (<< 2)"]), "a")
        assert message == "layer 'app': b 2 (installed below) conflicts with a (<< 2): a 1"

    def test_broken_ones_stay_as_they_are(self):
        known = world("a 1", below=["b 2 ; needs nowhere", "c 1 ; conflicts d", "d 1"])
        assert chosen(known, "a") == ["a"]

    def test_what_recommends_below_is_past(self):
        assert chosen(world("a 1", "c 1", below=["b 2 ; likes c"]), "a") == ["a"]


class TestArchitectures:
    def test_another_architecture_does_not_serve(self):
        message, _ = refused(world("a 1 ; needs b", "b 1 i386"), "a")
        assert message == "layer 'app': a 1 needs b; there is b 1"

    def test_multi_arch_foreign_serves_all(self):
        assert chosen(world("a 1 ; needs b", "b 1 i386 ; multi foreign"), "a") == ["b", "a"]

    @pytest.mark.parametrize(("multi", "met"), [("allowed", True), ("foreign", False), ("no", False)])
    def test_any(self, multi, met):
        known = world("a 1 ; needs python:any", f"python 3 ; multi {multi}")
        assert (met and chosen(known, "a") == ["python", "a"]) or (not met and refused(known, "a"))

    def test_an_architecture_is_named(self):
        known = world("a 1 ; needs libc:i386", "libc 2 ; multi same", "libc 2 i386 ; multi same")
        assert [(one.package.name, one.package.arch) for one in resolve(known, "app", ["a", "libc"]).selected] == [
            ("libc", "i386"),
            ("a", "amd64"),
            ("libc", "amd64"),
        ]
        assert chosen(known, "libc:i386") == ["libc"]

    def test_the_same_only_in_one_version(self):
        known = world("a 1 ; needs libc:i386", "libc 2 ; multi same", "libc 1 i386 ; multi same")
        assert "libc" in refused(known, "a", "libc")[0]

    def test_all_is_native(self):
        assert chosen(world("a 1 all ; needs b", "b 1 amd64"), "a") == ["b", "a"]
        assert chosen(world("a 1 ; needs b", "b 1 all"), "a") == ["b", "a"]

    def test_ipk_has_many_for_one_machine(self):
        known = world("a 1 core2-64 ; needs b, c", "b 1 qemux86_64", "c 1 noarch", kind="ipk")
        assert chosen(known, "a") == ["b", "c", "a"]


class TestReasons:
    def test_an_unknown_name(self):
        message, hint = refused(world("libstdc++6 1"), "libstdc++7")
        assert (message, hint) == ("layer 'app': no feed has a package 'libstdc++7'", "did you mean libstdc++6?")

    def test_all_unknown_names_at_once(self):
        with pytest.raises(ConfigError) as caught:
            resolve(world("b 1"), "app", ["x", "b", "y"])
        assert len(caught.value.faults) == 2

    def test_the_shortest_chain(self):
        known = world(
            "a 1 ; needs b, d", "b 1 ; needs c", "c 1 ; needs libfoo (>= 3)", "d 1 ; needs libfoo (>= 3)", "libfoo 2"
        )
        assert refused(known, "a")[0] == "layer 'app': a 1 needs d; d 1 needs libfoo (>= 3); there is libfoo 2"

    def test_a_needed_name_that_nothing_has(self):
        message, hint = refused(world("a 1 ; needs b | c", "b 1 ; needs libssl4", "libssl3 1"), "a")
        assert message == "layer 'app': a 1 needs b or c; b 1 needs libssl4, which no feed has"
        assert hint == "did you mean libssl3?"

    def test_a_conflict(self):
        known = world("a 1 ; needs c", "b 1 ; needs d", "c 1 ; conflicts d", "d 1")
        assert refused(known, "a", "b")[0] == ("layer 'app': a 1 needs c; b 1 needs d; c 1 conflicts with d: d 1")

    def test_two_versions(self):
        known = world("a 1 ; needs c (= 1)", "b 1 ; needs c (= 2)", "c 2", "c 1")
        message, _ = refused(known, "a", "b")
        assert message.startswith("layer 'app': ")
        assert "a 1 needs c (= 1)" in message
        assert "b 1 needs c (= 2)" in message

    def test_who_asked(self):
        found = resolve(world("a 1 ; needs b ; likes c", "b 1 ; needs d", "c 1 ; needs d", "d 1"), "app", ["a"])
        assert {one.package.name: one.asked_by for one in found.selected} == {"a": "", "b": "a", "c": "a", "d": "b"}


def _random_world(rnd: random.Random):
    names = [f"p{number}" for number in range(12)]

    def relation() -> str:
        name = rnd.choice([*names, "v1", "v2"])
        return (
            name if rnd.random() < 0.6 else f"{name} ({rnd.choice(['<<', '<=', '=', '>=', '>>'])} {rnd.randint(1, 3)})"
        )

    def package(name: str) -> str:
        text = f"{name} {rnd.randint(1, 3)}"
        for field, chance, most in (("needs", 0.7, 3), ("likes", 0.3, 2), ("conflicts", 0.15, 1), ("breaks", 0.1, 1)):
            if rnd.random() < chance:
                groups = (
                    " | ".join(relation() for _ in range(rnd.choice([1, 1, 2]))) for _ in range(rnd.randint(1, most))
                )
                text += f" ; {field} " + ", ".join(
                    g if field in ("needs", "likes") else g.split(" | ")[0] for g in groups
                )
        if rnd.random() < 0.2:
            text += f" ; provides {rnd.choice(['v1', 'v2', 'v1 (= 2)'])}"
        return text

    offered = {tuple(text.split()[:2]): text for text in (package(rnd.choice(names)) for _ in range(20))}
    below = {text.split()[0]: text for text in (package(rnd.choice(names)) for _ in range(rnd.choice([0, 0, 3])))}
    return world(*offered.values(), below=list(below.values())), names


def _holds(known, packages) -> None:
    """What a solution must be, said another way than the solver is told."""
    final = {known.identity(one): one for one in [*known.installed.values(), *packages]}
    below = list(known.installed.values())
    for one in packages:
        for group in known.groups(one, REQUIRED):
            assert any(known.satisfied_by(other, relation, one) for relation in group for other in final.values())
    for one in final.values():
        for group in known.groups(one, AGAINST):
            for other in final.values():
                if other is not one and not (one in below and other in below):
                    assert not known.satisfied_by(other, group[0], one), (one.shown, other.shown)


@pytest.mark.parametrize("seed", range(300))
def test_random_worlds(seed):
    """Every solution holds; where what apt would take holds, it is the solution."""
    rnd = random.Random(seed)
    known, names = _random_world(rnd)
    offered = [
        name for name in names if any(isinstance(one, Package) and one.name == name for one in known.known(name))
    ]
    wanted = rnd.sample(offered, 2)
    try:
        selected = [one.package for one in resolve(known, "app", wanted).selected]
    except ConfigError:
        return
    _holds(known, selected)
    # In the order they were asked for, as of two that are against each other the later one is taken.
    requested = sorted((one for one in selected if one.name in wanted), key=lambda one: wanted.index(one.name))
    favored, whole = preferred(known, requested)
    if whole and len(requested) == len([name for name in wanted if name not in known.installed]):
        assert {one.shown for one in favored} == {one.shown for one in selected}
