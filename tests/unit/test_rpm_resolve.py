# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.rpmfeeds import opened, world, write_feed

from oe_oci.errors import ConfigError, InputError
from oe_oci.packages.rpm.relation import leaves, parse
from oe_oci.packages.rpm.resolve import missing_names, resolve

if TYPE_CHECKING:
    from pathlib import Path

    from oe_oci.packages.resolve import Resolution, Selected


@pytest.fixture
def ask(tmp_path):
    """Resolves names in a feed of texts, on top of packages `below`."""

    def resolved(names: str, *texts: str, below=(), archs=("noarch", "x86_64"), **policy) -> Resolution:
        return resolve(world(opened(write_feed(tmp_path, *texts), archs=archs), *below, **policy), "app", names.split())

    return resolved


@pytest.fixture
def refuse(ask):
    def refused(names: str, *texts: str, **how) -> tuple[str, str]:
        """The message and the hint."""
        with pytest.raises(ConfigError) as caught:
            ask(names, *texts, **how)
        (fault,) = caught.value.faults
        assert fault.where == "OCI_LAYERS"
        return fault.message.removeprefix("layer 'app': "), fault.hint

    return refused


def shown(resolution: Resolution) -> list[str]:
    return [told(one) for one in resolution.selected]


def told(one: Selected) -> str:
    replaced = [each.shown for each in (one.replaces, *one.obsoletes) if each is not None]
    asked = f" for {one.asked_by}" if one.asked_by else ""
    return one.package.shown + asked + (f" instead of {', '.join(replaced)}" if replaced else "")


# ---- what is installed


def test_a_package_comes_after_what_it_needs(ask):
    found = ask("shop", "shop 1 ; needs libc >= 2, /bin/sh", "libc 2", "libc 1", "sh 1 ; needs libc ; files /bin/sh")
    assert shown(found) == ["libc 2-1 for shop", "sh 1-1 for shop", "shop 1-1"]


def test_rich_dependencies(ask):
    offered = ("a 1", "b 1", "c 1", "d 1 ; provides with-it")
    assert shown(ask("x", "x 1 ; needs (a or b)", *offered)) == ["a 1-1 for x", "x 1-1"]
    assert shown(ask("x", "x 1 ; needs (a if c)", *offered)) == ["x 1-1"]
    assert shown(ask("x c", "x 1 ; needs (a if c)", *offered)) == ["c 1-1", "a 1-1 for x", "x 1-1"]
    assert shown(ask("x", "x 1 ; needs (a and b)", *offered)) == ["a 1-1 for x", "b 1-1 for x", "x 1-1"]
    assert shown(ask("x", "x 1 ; needs (d with with-it)", *offered)) == ["d 1-1 for x", "x 1-1"]


def test_what_rpm_itself_can_do(ask):
    assert shown(ask("x", "x 1 ; needs rpmlib(PayloadIsZstd) <= 5.4.18-1")) == ["x 1-1"]


def test_epochs(ask):
    assert shown(ask("x", "x 1", "x 1:0.5-2")) == ["x 1:0.5-2"]


def test_recommendations(ask):
    offered = ("x 1 ; likes y, no", "y 1", "z 1 ; supplements y", "w 1 ; supplements other")
    assert shown(ask("x", *offered)) == ["y 1-1 for x", "z 1-1 for y", "x 1-1"]
    assert shown(ask("x", *offered, recommends=False)) == ["x 1-1"]
    assert shown(ask("x", *offered, bad=["y"])) == ["x 1-1"]
    assert shown(ask("x y", *offered, bad=["y", "z"])) == ["y 1-1", "x 1-1"]


def test_a_recommendation_upgrades_nothing(ask):
    offered = ("x 1 ; likes y >= 2", "y 2", "z 1 ; obsoletes y ; supplements x")
    assert shown(ask("x", *offered, below=["y 1"])) == ["x 1-1"]


def test_what_lies_below_is_upgraded_where_there_is_no_other_way(ask):
    assert shown(ask("x", "x 1 ; needs y", "y 2", below=["y 1"])) == ["x 1-1"]
    assert shown(ask("x", "x 1 ; needs y >= 2", "y 2", below=["y 1"])) == ["y 2-1 for x instead of y 1-1", "x 1-1"]
    # Of two that serve the one that is new goes before the one that replaces.
    offered = ("x 1 ; needs v", "b 2 ; provides v", "z 1 ; provides v")
    assert shown(ask("x", *offered, below=["b 1"])) == ["z 1-1 for x", "x 1-1"]
    assert ask("y", "y 2", below=["y 1"]).below[0].shown == "y 1-1"


def test_what_lies_below_counts(ask):
    resolution = ask("x y", "x 1 ; needs y, /usr/share/y", "y 1", below=["y 1 ; files /usr/share/y"])
    assert shown(resolution) == ["x 1-1"]
    assert [one.shown for one in resolution.below] == ["y 1-1"]


def test_one_takes_the_place_of_several(ask):
    found = ask("x", "x 2 ; obsoletes y, z < 2", below=["x 1", "y 5", "z 1", "w 1"])
    assert shown(found) == []
    found = ask("n", "x 2 ; obsoletes y, z < 2", "n 1 ; needs x >= 2", below=["x 1", "y 5", "z 1", "w 1"])
    assert shown(found) == ["x 2-1 for n instead of x 1-1, y 5-1, z 1-1", "n 1-1"]


def test_an_obsoleted_name(ask):
    """As with dnf."""
    offered = ("old 1", "new 1 ; obsoletes old", "part 1 ; obsoletes other < 2", "other 2")
    assert shown(ask("old", *offered)) == ["new 1-1"]
    assert shown(ask("old new", *offered)) == ["new 1-1"]
    assert shown(ask("other", *offered)) == ["other 2-1"]
    assert shown(ask("old", "old 1", "new 1 ; obsoletes old ; needs none")) == ["old 1-1"]
    assert shown(ask("old", *offered, exclude=["new"])) == ["old 1-1"]
    # A later version that does not say so any more takes it back.
    assert shown(ask("old", *offered, "new 2")) == ["old 1-1"]
    assert shown(ask("old", "old 1 ; needs none", "new 1 ; obsoletes old", "new 2")) == ["new 1-1"]
    resolution = ask("old", *offered, below=["new 1 ; obsoletes old"])
    assert (shown(resolution), [one.name for one in resolution.below]) == ([], ["new"])


def test_each_of_two_names_is_there_where_they_lead_to_one_package(refuse):
    """One that obsoletes the other, and can not be had."""
    message, _ = refuse("new old", "old 1", "new 1 ; obsoletes old ; needs none")
    assert message == "new 1-1 needs none, which no feed has"


def test_a_provided_name(ask, refuse):
    assert shown(ask("v", "x 1 ; provides v = 3")) == ["x 1-1"]
    message, hint = refuse("v", "x 1 ; provides v = 3", "y 1 ; provides v")
    assert message == "'v' is no package, but several provide it"
    assert hint == "name one of them: x, y"


def test_one_architecture_of_a_name(ask, refuse):
    offered = ("x 1 x86_64", "x 2 noarch")
    assert ask("x:noarch", *offered).selected[0].package.arch == "noarch"
    assert ask("x:x86-64", *offered).selected[0].package.arch == "x86_64"
    assert refuse("x:i686", *offered)[0] == "no feed has a package 'x:i686'"


def test_the_architecture_goes_before_the_version(ask):
    offered = ("y 1 ; needs x", "x 1 qemux86_64", "x 2 core2_64")
    archs = ("all", "core2-64", "x86_64", "qemux86_64")
    assert shown(ask("y", *offered, archs=archs))[0] == "x 1-1 for y"
    assert shown(ask("y", "y 2 ; needs x > 1", *offered[1:], archs=archs))[0] == "x 2-1 for y"


@pytest.mark.parametrize("names", ["x", "y"])
@pytest.mark.parametrize(("independent", "chosen"), [("2", "x 2-1 noarch"), ("0", "x 1-1 qemux86_64")])
def test_what_is_for_any_architecture_is_as_good_as_the_best(ask, names, independent, chosen):
    offered = ("y 1 ; needs x", "x 1 qemux86_64", "x 3 core2_64", f"x {independent} noarch")
    found = ask(names, *offered, archs=("all", "core2-64", "x86_64", "qemux86_64")).selected[0].package
    assert f"{found.name} {found.version} {found.arch}" == chosen


def test_an_older_version_where_another_needs_it(ask):
    assert shown(ask("x y", "x 1", "x 2", "y 1 ; needs x < 2")) == ["x 1-1", "y 1-1"]


def test_the_earlier_feed_goes_before_the_version(tmp_path):
    feeds = opened(write_feed(tmp_path / "1", "x 1"), write_feed(tmp_path / "2", "x 2", "y 1 ; needs x"))
    assert shown(resolve(world(feeds), "app", ["y"])) == ["x 1-1 for y", "y 1-1"]


def test_two_packages_that_say_they_are_the_same(tmp_path):
    feeds = opened(write_feed(tmp_path / "1", "x 1"), write_feed(tmp_path / "2", "x 1 ; provides z"))
    with pytest.raises(InputError, match="with different content"):
        resolve(world(feeds), "app", ["x"])


def test_layer_upon_layer(tmp_path):
    """One feed serves the worlds of all layers, one after the other."""
    feeds = opened(write_feed(tmp_path, "x 1 ; needs y", "y 1", "z 1 ; needs x"))
    assert len(resolve(world(feeds), "one", ["x"]).selected) == 2
    assert shown(resolve(world(feeds, "x 1 ; needs y", "y 1"), "two", ["z"])) == ["z 1-1"]
    assert len(resolve(world(feeds), "three", ["z"]).selected) == 3


# ---- why nothing is


def test_missing_names(tmp_path):
    known = world(opened(write_feed(tmp_path, "shop 1", "tool 1 i686", "out 1")), exclude=["out"])
    faults = missing_names(known, "app", ["shop", "shp", "tool", "out", "/bin/sh"])
    assert [(fault.message, fault.hint) for fault in faults] == [
        ("layer 'app': no feed has a package 'shp'", "did you mean shop?"),
        ("layer 'app': no feed has a package 'tool'", "the feeds have it for i686 alone; the image is for amd64"),
        ("layer 'app': 'out' may not be installed: PACKAGE_EXCLUDE names it", "remove it from one of the two"),
        ("layer 'app': no feed has a package '/bin/sh'", ""),
    ]


def test_a_chain_to_what_is_missing(refuse):
    message, _ = refuse("a", "a 1 ; needs b", "b 1 ; needs c >= 2", "c 1")
    assert message == "a 1-1 needs b; b 1-1 needs c >= 2; there is c 1-1"
    message, hint = refuse("a", "a 1 ; needs (libd or e)", "libdd 1")
    assert message == "a 1-1 needs libd or e, which no feed has"
    assert hint == "did you mean libdd?"


def test_a_missing_file(refuse):
    assert refuse("a", "a 1 ; needs /usr/bin/perl")[0] == "a 1-1 needs /usr/bin/perl, which no feed has"


def test_conflicts(refuse):
    message, hint = refuse("a b", "a 1 ; conflicts b < 2", "b 1")
    assert message == "a 1-1 conflicts with b 1-1, by its Conflicts: b < 2"
    assert hint == "leave out a or b"
    message, _ = refuse("a b", "a 1 ; needs c", "c 1 ; obsoletes d", "b 1 ; needs d", "d 1")
    assert message == "a 1-1 needs c; b 1-1 needs d; c 1-1 conflicts with d 1-1, by its Obsoletes: d"


def test_two_versions_of_a_package(refuse):
    message, hint = refuse("a b", "a 1 ; needs c = 1", "b 1 ; needs c = 2", "c 1", "c 2")
    assert message == "b 1-1 needs c = 2; a 1-1 needs c = 1; c 2-1 and c 1-1 can not both be installed"
    assert hint == "leave out a or b"


KEPT = "a layer never removes a package below, nor replaces it by an older one"


def test_below_is_newer(refuse):
    message, hint = refuse("a", "a 1 ; needs c = 1", "c 1", below=["c 2"])
    assert message == "a 1-1 needs c = 1; c 1-1 would do, but c 2-1, which is newer, is installed below"
    assert hint == KEPT


def test_below_would_have_to_go(refuse):
    message, hint = refuse("a", "a 1 ; conflicts c", "c 2", below=["c 1"])
    assert message == "a 1-1 conflicts with c 1-1 (installed below), by its Conflicts: c"
    assert hint == KEPT


def test_below_needs_what_would_be_replaced(refuse):
    message, hint = refuse("a", "a 1 ; obsoletes c", below=["c 1", "d 1 ; needs c"])
    assert "c 1-1 (installed below)" in message
    assert hint == KEPT


def test_what_is_excluded(refuse):
    message, hint = refuse("a", "a 1 ; needs b", "b 1", exclude=["b"])
    assert message == "a 1-1 needs b; b 1-1 would do, but PACKAGE_EXCLUDE names it"
    assert hint == "remove it there, or do not install what needs it"


def test_what_is_not_in_the_index(tmp_path):
    place: Path = write_feed(tmp_path, "a 1 ; needs b")
    (place / "b-1-1.x86_64.rpm").touch()
    with pytest.raises(ConfigError) as caught:
        resolve(world(opened(place)), "app", ["a"])
    assert caught.value.faults[0].hint == (
        f"{place / 'b-1-1.x86_64.rpm'} lies in the feed, but its index does not list it: make the index anew"
    )


# ---- relations as texts


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("libc >= 2", ["libc >= 2"]),
        ("(a or b = 1)", ["a", "b = 1"]),
        ("(a if b)", ["a"]),
        ("(a if b else c)", ["a", "c"]),
        ("((a and b) or (c unless d))", ["a", "b", "c"]),
        ("(pkg(x) or lib.so(A)(64bit) >= 1)", ["pkg(x)", "lib.so(A)(64bit) >= 1"]),
        ("(a with b)", ["a", "b"]),
        ("((((", []),
        ("())", []),
    ],
)
def test_what_a_relation_asks_for(text, names):
    found = leaves(text) if text.startswith("(") else parse(text)
    assert [str(relation) for relation in found] == names
    assert str(parse(text)[0]) in (text, names[0] if names else "")
