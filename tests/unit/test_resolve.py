# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from support.offers import world

from oe_oci.errors import ConfigError, InputError
from oe_oci.packages.relation import Relation, parse_relations
from oe_oci.packages.resolve import resolve


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
            ("/bin/sh, a/b", ((Relation("/bin/sh"),), (Relation("a/b"),))),
            ("", ()),
        ],
    )
    def test_read(self, text, groups):
        assert parse_relations(text) == groups

    @pytest.mark.parametrize(
        "text",
        [
            *("a b", "(>= 1)", "a (>= )", "a (~ 1)", "a | ", "a (>= 1", "ä", "a\nb", "-x", "a [amd64]", "${a:b}"),
            *("a" * 256, f"a (= {'1' * 1001})", f"a{' ' * 100_000}b", "|" * 1000),
        ],
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

    def test_who_needs_conflicts_with_and_provides_himself_may_stand(self):
        text = "a 1 ; pre a ; needs a (>= 1) ; likes a ; conflicts a ; breaks a (<= 1) ; replaces a ; provides a (= 3)"
        assert chosen(world(text), "a") == ["a"]

    def test_the_best_goes_before_the_newest(self):
        # Of an earlier feed, say; that y is needed only the solver finds.
        known = world("a 1 ; needs x | y, c", "x 1", "c 1 ; conflicts x", "y 1 ; needs b", "b 1", "b 2")
        assert versions(known, "a") == {"a": "1", "b": "1", "c": "1", "y": "1"}

    def test_an_older_version_of_what_is_asked_for_where_the_best_can_not_be(self):
        known = world(
            "a 3 ; needs nowhere", "a 2 ; needs b (= 2)", "a 1 ; needs b (= 1)", "b 2", "b 1", "c 1 ; needs b (= 1)"
        )
        assert versions(known, "a") == {"a": "2", "b": "2"}
        assert versions(known, "c", "a") == {"a": "1", "b": "1", "c": "1"}

    def test_equal_versions_in_other_words(self):
        # In a set they would have another order in each process.
        known = world(
            "a 1 ; needs x | y, c", "x 1", "c 1 ; conflicts x", "y 1 ; needs b", "b 1.0-0", "b 0:1.0", "b 1.0"
        )
        assert versions(known, "a")["b"] == "1.0-0"


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

    def test_one_that_all_are_bad_of(self):
        assert sorted(chosen(world(*self.OFFER, bad_recommendations={"c", "d"}), "a")) == ["a", "b", "e"]

    def test_excluded(self):
        assert sorted(chosen(world(*self.OFFER, exclude={"c", "e"}), "a")) == ["a", "b", "d"]


class TestExcluded:
    def test_asked_for(self):
        message, hint = refused(world("a 1", exclude={"a"}), "a")
        assert message == "layer 'app': 'a' may not be installed: PACKAGE_EXCLUDE names it"
        assert hint == "remove it from one of the two"

    def test_needed(self):
        message, _ = refused(world("a 1 ; needs b", "b 1", exclude={"b"}), "a")
        assert message == "layer 'app': a 1 needs b; b 1 would do, but PACKAGE_EXCLUDE names it"


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
        assert message == "layer 'app': a 1 needs b (<< 2); b 1 would do, but b 2, which is newer, is installed below"
        assert hint == "a layer never removes a package below, nor replaces it by an older one"

    def test_never_removed(self):
        message, _ = refused(world("a 1 ; conflicts b", below=["b 2"]), "a")
        assert message == "layer 'app': a 1 conflicts with b 2 (installed below), by its Conflicts: b"

    def test_it_may_be_against_what_comes(self):
        message, _ = refused(world("a 1", below=["b 2 ; breaks a (<< 2)"]), "a")
        assert message == "layer 'app': b 2 (installed below) conflicts with a 1, by its Breaks: a (<< 2)"

    def test_broken_ones_stay_as_they_are(self):
        known = world("a 1", below=["b 2 ; needs nowhere", "c 1 ; conflicts d", "d 1"])
        assert chosen(known, "a") == ["a"]

    def test_upgraded_only_where_there_is_no_other_way(self):
        known = world("a 1 ; needs b (>= 2) | c", "b 2", "c 1", below=["b 1"])
        assert versions(known, "a") == {"a": "1", "c": "1"}

    def test_not_upgraded_for_a_recommendation(self):
        known = world("a 1 ; likes b (>= 2), c", "b 2", "c 1", below=["b 1"])
        assert versions(known, "a") == {"a": "1", "c": "1"}

    def test_upgraded_where_what_is_recommended_needs_it(self):
        known = world("a 1 ; likes c", "b 2", "c 1 ; needs b (>= 2)", below=["b 1"])
        assert versions(known, "a") == {"a": "1", "b": "2", "c": "1"}

    def test_what_stays_gets_what_it_needs_instead_of_what_is_upgraded(self):
        known = world("a 1 ; needs b (>= 2)", "b 2", "c 1", below=["b 1", "d 1 ; needs b (<< 2) | c"])
        assert versions(known, "a") == {"a": "1", "b": "2", "c": "1"}

    def test_an_upgrade_takes_only_new_recommendations(self):
        known = world(
            "a 1 ; needs b (>= 2)",
            "b 2 ; likes c, d, e (>= 2)",
            "c 1",
            "d 1",
            "e 2",
            below=["b 1 ; likes c | x, e", "e 1"],
        )
        assert versions(known, "a") == {"a": "1", "b": "2", "d": "1"}

    def test_never_for_the_same_version_in_other_words(self):
        message, _ = refused(world("a 1 ; needs v", "b 1.0-0 ; provides v", below=["b 1.0"]), "a")
        assert message == "layer 'app': a 1 needs v; b 1.0-0 would do, but it is installed below in the same version"

    def test_never_the_same_version_with_other_relations(self):
        message, hint = refused(world("a 1 ; needs v", "b 1 ; provides v", below=["b 1"]), "a")
        assert message == "layer 'app': a 1 needs v; b 1 would do, but it is installed below in the same version"
        assert "what is built anew needs a higher version" in hint

    def test_never_where_another_one_below_would_lose_what_it_needs(self):
        message, hint = refused(world("a 1 ; needs b (>= 2)", "b 2", below=["b 1", "d 1 ; needs b (= 1)"]), "a")
        assert message == (
            "layer 'app': a 1 needs b (>= 2); d 1 (installed below) needs b (= 1); "
            "b 2 would take the place of b 1 (installed below)"
        )
        assert hint == "a layer never removes a package below, nor replaces it by an older one"

    def test_what_there_is_is_told_once(self):
        message, _ = refused(world("a 1 ; needs b (= 1)", "b 3", "b 2", below=["b 2"]), "a")
        assert message == "layer 'app': a 1 needs b (= 1); there is b 2 (installed below), b 3"

    @pytest.mark.parametrize("state", ["hold ok installed", "install hold installed"])
    def test_on_hold(self, state):
        known = world("a 1 ; needs b (>= 2)", "b 2", below=["b 1"], state=state)
        message, _ = refused(known, "a")
        assert message == "layer 'app': a 1 needs b (>= 2); b 2 would do, but b 1, which is installed below, is on hold"

    @pytest.mark.parametrize("state", ["deinstall ok config-files", "purge ok not-installed"])
    def test_what_is_not_there_any_more(self, state):
        known = world("a 1 ; needs b", "b 2", "c 1", below=["b 3 ; conflicts a"], state=state)
        assert versions(known, "a") == {"a": "1", "b": "2"}

    @pytest.mark.parametrize(
        "state", ["install ok unpacked", "install ok triggers-pending", "install ok half-configured"]
    )
    def test_what_is_there_though_not_set_up(self, state):
        assert chosen(world("a 1 ; needs b", "b 2", below=["b 1"], state=state), "a") == ["a"]

    def test_a_name_that_one_below_provides(self):
        known = world("a 1 ; needs mta", "exim 1 ; provides mta", "mta 1", below=["postfix 1 ; provides mta"])
        assert chosen(known, "a") == ["a"]
        assert chosen(known, "mta") == ["mta"]

    @pytest.mark.parametrize(
        ("offered", "below", "asked_by"),
        [
            (
                ["a 1 ; needs b (>= 2)", "b 2", "c 2 ; needs b (= 2)"],
                ["b 1", "c 1 ; needs b (= 1)"],
                {"b": "a", "c": "b"},
            ),
            (
                ["a 1 ; breaks b (<< 2)", "b 2 ; needs c ; likes d", "c 1", "d 1"],
                ["b 1"],
                {"b": "a", "c": "b", "d": "b"},
            ),
            (["a 1", "b 2"], ["b 1 ; breaks a"], {"b": "a"}),
            (["a 1 ; needs b (>= 2)", "b 2", "c 1"], ["b 1", "d 1 ; needs b (<< 2) | c"], {"b": "a", "c": "d"}),
        ],
    )
    def test_who_asked_for_what_is_upgraded(self, offered, below, asked_by):
        found = resolve(world(*offered, below=below), "app", ["a"])
        assert {one.package.name: one.asked_by for one in found.selected} == {"a": "", **asked_by}

    def test_what_recommends_below_is_past(self):
        assert chosen(world("a 1", "c 1", below=["b 2 ; likes c"]), "a") == ["a"]


class TestArchitectures:
    def test_another_architecture_does_not_serve(self):
        message, _ = refused(world("a 1 ; needs b", "b 1 i386"), "a")
        assert message == "layer 'app': a 1 needs b; there is b:i386 1"

    def test_multi_arch_foreign_serves_all(self):
        assert chosen(world("a 1 ; needs b", "b 1 i386 ; multi foreign"), "a") == ["b", "a"]

    @pytest.mark.parametrize(("multi", "met"), [("allowed", True), ("foreign", False), ("no", False)])
    def test_any(self, multi, met):
        known = world("a 1 ; needs python:any", f"python 3 ; multi {multi}")
        assert (met and chosen(known, "a") == ["python", "a"]) or (not met and refused(known, "a"))

    @pytest.mark.parametrize(
        ("provider", "needs", "met"),
        [
            ("p 1 ; provides v", "v:any", False),
            ("p 1 ; provides v ; multi foreign", "v:any", False),
            ("p 1 ; provides v ; multi allowed", "v:any", True),
            ("p 1 i386 ; provides v ; multi allowed", "v:any", True),
            ("p 1 ; provides v:any", "v:any", True),
            ("p 1 ; provides v:any", "v", False),
            ("p 1 ; provides v:i386 (= 2)", "v:i386 (>= 2)", True),
            ("p 1 ; provides v:i386 ; multi foreign", "v", False),
            ("p 1 i386 ; provides v", "v:native", False),
            ("p 1 all ; provides v", "v:amd64", True),
        ],
    )
    def test_what_one_provides_for_an_architecture(self, provider, needs, met):
        known = world(f"a 1 ; needs {needs}", provider)
        assert (met and sorted(chosen(known, "a")) == ["a", "p"]) or (not met and refused(known, "a"))

    @pytest.mark.parametrize("field", ["conflicts", "breaks"])
    @pytest.mark.parametrize(
        ("relation", "met"), [("b", False), ("b:any", False), ("b:i386", False), ("b:amd64", True)]
    )
    def test_against_all_architectures(self, field, relation, met):
        known = world(f"a 1 ; {field} {relation} ; needs b:i386", "b 1 i386")
        assert (met and chosen(known, "a") == ["b", "a"]) or (not met and refused(known, "a"))

    def test_what_provides_and_conflicts_with_a_name_stands_beside_itself(self):
        rest = "; provides v ; conflicts v, lib (<< 3) ; multi same"
        known = world("a 1 ; needs lib, lib:i386", f"lib 2 {rest}", f"lib 2 i386 {rest}")
        assert sorted(chosen(known, "a")) == ["a", "lib", "lib"]

    @pytest.mark.parametrize("name", ["patch", "pattern", "product"])
    def test_a_name_that_has_a_meaning_for_the_solver(self, name):
        # libsolv lets conflicts of what is called patch:… pass.
        known = world(f"a 1 ; needs {name}:i386, b:i386", f"{name} 2 i386 ; conflicts b:i386", "b 1 i386")
        assert f"{name}:i386 2 conflicts with b:i386 1" in refused(known, "a")[0]

    def test_an_architecture_that_no_package_is_for(self):
        message, hint = refused(world("b 1 i386", "c 1"), "c:i386")
        assert (message, hint) == ("layer 'app': no feed has a package 'c:i386'", "there is c")

    def test_the_architecture_of_an_ipk(self):
        known = world("a 1 core2-64", "a 1 noarch", kind="ipk")
        (one,) = resolve(known, "app", ["a:noarch"]).selected
        assert one.package.arch == "noarch"

    def test_ipk_provides_paths(self):
        known = world("a 1 ; needs /bin/sh", "busybox 1 ; provides /bin/sh", kind="ipk")
        assert chosen(known, "a") == ["busybox", "a"]

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
        message, hint = refused(known, "a", "b")
        assert message == "layer 'app': a 1 needs c; b 1 needs d; c 1 conflicts with d 1, by its Conflicts: d"
        assert hint == "leave out a or b"

    def test_a_conflict_by_a_name_that_one_provides(self):
        known = world("a 1 ; needs b, mta", "b 1 ; conflicts mta", "exim 1 ; provides mta")
        message, hint = refused(known, "a")
        assert message == (
            "layer 'app': a 1 needs b; a 1 needs mta, which exim 1 provides; "
            "b 1 conflicts with exim 1, by its Conflicts: mta"
        )
        assert hint == ""

    def test_all_alternatives_are_told(self):
        known = world(
            "a 1 ; needs x | y | z", "x 1 ; needs nowhere", "y 1 ; conflicts b", "z 1 ; needs c (>= 2)", "b 1", "c 1"
        )
        assert refused(known, "a", "b")[0] == (
            "layer 'app': a 1 needs x or y or z; y 1 conflicts with b 1, by its Conflicts: b; "
            "x 1 needs nowhere, which no feed has; z 1 needs c (>= 2); there is c 1"
        )

    @pytest.mark.parametrize(
        ("offered", "reason", "hint"),
        [
            (
                ["a 1 ; needs v (>= 2)", "p 9 ; provides v"],
                "a 1 needs v (>= 2); there is v of p 9",
                "a relation with a version is met by a Provides with a fitting version only",
            ),
            (
                ["a 1 ; needs b:any", "b 1"],
                "a 1 needs b:any; there is b:amd64 1",
                "':any' takes packages with 'Multi-Arch: allowed' only",
            ),
            (
                ["a 1 ; needs b (>> 9)", *(f"b {version}" for version in range(9, 1, -1))],
                "a 1 needs b (>> 9); there is b 9, b 8, b 7 and 5 more",
                "",
            ),
            (
                ["a 1 ; needs b, b:i386", "b 2 ; multi same", "b 1 i386 ; multi same"],
                "a 1 needs b; a 1 needs b:i386; b 2 and b:i386 1 can not both be installed",
                "packages of one name for two architectures fit together in one version, with Multi-Arch: same",
            ),
        ],
    )
    def test_what_there_is_instead(self, offered, reason, hint):
        assert refused(world(*offered), "a") == (f"layer 'app': {reason}", hint)

    def test_a_package_for_other_architectures_only(self):
        known = world("a 1 ; needs b", other={"b": ("arm64", "i386")})
        hint = "the feeds have it for arm64, i386 alone; the image is for amd64"
        assert refused(known, "b") == ("layer 'app': no feed has a package 'b'", hint)
        assert refused(known, "a") == ("layer 'app': a 1 needs b, which no feed has", hint)

    def test_a_long_chain_is_shortened(self):
        links = [f"p{number} 1 ; needs p{number + 1}" for number in range(3000)]
        message, _ = refused(world(*links), "p0")
        assert message.startswith(
            "layer 'app': p0 1 needs p1; p1 1 needs p2; p2 1 needs p3; p3 1 needs p4; …; p2995 1 needs"
        )
        assert message.endswith("p2999 1 needs p3000, which no feed has")

    def test_many_alternatives_are_shortened(self):
        message, _ = refused(world("a 1 ; needs " + " | ".join(f"b{number}" for number in range(100))), "a")
        assert (
            message
            == "layer 'app': a 1 needs b0 or b1 or b2 or b3 or b4 or b5 or b6 or b7 or 92 others, which no feed has"
        )

    def test_names_are_listed_once_for_all_that_are_unknown(self):
        known = world(*(f"package-{number} 1" for number in range(2000)))
        listed = []
        names = known._offer.names
        known._offer.names = lambda: listed.append(1) or names()
        with pytest.raises(ConfigError) as caught:
            resolve(known, "app", [f"pakage-{number}" for number in range(20)])
        assert len(listed) == 1
        assert all(fault.hint for fault in caught.value.faults)

    def test_two_versions(self):
        known = world("a 1 ; needs c (= 1)", "b 1 ; needs c (= 2)", "c 2", "c 1")
        message, _ = refused(known, "a", "b")
        assert message.startswith("layer 'app': ")
        assert "a 1 needs c (= 1)" in message
        assert "b 1 needs c (= 2)" in message

    def test_who_asked(self):
        found = resolve(world("a 1 ; needs b ; likes c", "b 1 ; needs d", "c 1 ; needs d", "d 1"), "app", ["a"])
        assert {one.package.name: one.asked_by for one in found.selected} == {"a": "", "b": "a", "c": "a", "d": "b"}

    def test_who_asked_for_what_is_recommended_needs(self):
        found = resolve(world("a 1 ; likes b", "b 1 ; needs c", "c 1 ; likes d", "d 1"), "app", ["a"])
        assert {one.package.name: one.asked_by for one in found.selected} == {"a": "", "b": "a", "c": "b", "d": "c"}


class TestBounds:
    """What would take hours, or all memory, were it done in a naive way."""

    def test_a_package_that_needs_very_many(self):
        # libsolv's own tables overflow where they are not filled one after the other.
        names = [f"p{number}" for number in range(30_000)]
        known = world(f"a 1 ; needs {', '.join(names)}", *(f"{name} 1" for name in names))
        assert len(chosen(known, "a")) == 30_001

    def test_very_many_alternatives(self):
        names = [f"p{number}" for number in range(20_000)]
        known = world(
            f"a 1 ; needs {' | '.join(names)}", *(f"{name} 1 ; conflicts a" for name in names[:-1]), "p19999 1"
        )
        assert chosen(known, "a") == ["p19999", "a"]

    def test_a_package_that_provides_very_many_names(self):
        names = [f"v{number}" for number in range(20_000)]
        known = world(f"a 1 ; provides {', '.join(names)}", f"b 1 ; needs {', '.join(names)}")
        assert chosen(known, "b") == ["a", "b"]

    def test_very_many_that_conflict_with_each_other(self):
        known = world(
            *(f"p{number} 1 ; provides v ; conflicts v" for number in range(1000)),
            "a 1 ; needs v, w",
            "b 1 ; provides w ; conflicts v",
        )
        assert "by its Conflicts: v" in refused(known, "a")[0]

    def test_a_circle_of_pre_depends(self):
        assert (
            len(chosen(world(*(f"p{number} 1 ; pre p{(number + 1) % 3000}" for number in range(3000))), "p0")) == 3000
        )

    def test_a_tree_of_alternatives_none_of_which_can_be(self):
        links = [f"n{n} 1 ; needs n{2 * n + 1} | n{2 * n + 2}, n{2 * n + 2} | n{2 * n + 1}" for n in range(1000)]
        assert refused(world(*links), "n0")[0].endswith("which no feed has")
