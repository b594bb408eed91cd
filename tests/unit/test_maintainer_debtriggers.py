# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from test_maintainer_scripts import package

from oe_oci.errors import InputError
from oe_oci.packages.maintainer.debtriggers import (
    Arrival,
    Interest,
    Told,
    Triggers,
    parse,
    registered,
    told,
    told_of_layer,
    triggered,
)


class TestControlFile:
    def test_all_directives(self):
        text = (
            b"# a comment\n\ninterest ldconfig\ninterest-await /usr/share/icons\n  interest-noawait\t/usr/lib/x \n"
            b"activate one\nactivate-await two\nactivate-noawait /three\n"
        )
        assert parse(text, "shop:amd64", "shop 1") == Triggers(
            (
                Interest("shop:amd64", "ldconfig"),
                Interest("shop:amd64", "/usr/share/icons"),
                Interest("shop:amd64", "/usr/lib/x", awaits=False),
            ),
            (("one", True), ("two", True), ("/three", False)),
        )
        assert parse(b"", "shop", "shop 1") == Triggers()

    @pytest.mark.parametrize(
        "line", ["interest", "watch x", "interest a b", "interest /usr/", "interest /", "interest -x", "interests x"]
    )
    def test_refused(self, line):
        with pytest.raises(InputError, match=r"^shop 1: triggers: '.*' is not understood$"):
            parse(f"activate y\n{line}\n".encode(), "shop", "shop 1")


class TestDatabase:
    def test_files_of_triggers(self):
        files = {"File": b"/usr/share/a b shop:amd64/noawait\n/x other\n", "ldconfig": b"libc-bin/noawait\nshop\n"}
        assert registered(files) == [
            Interest("shop:amd64", "/usr/share/a b", awaits=False),
            Interest("other", "/x"),
            Interest("libc-bin", "ldconfig", awaits=False),
            Interest("shop", "ldconfig"),
        ]

    @pytest.mark.parametrize(("name", "data"), [("File", b"/x\n"), ("ldconfig", b"/noawait\n"), ("File", b"/x /await")])
    def test_damage(self, name, data):
        with pytest.raises(InputError, match=f"^/var/lib/dpkg/triggers/{name}: .* is no interest of a package$"):
            registered({name: data})


class TestTold:
    def test_a_path_and_all_below_it(self):
        interests = [Interest("icons", "/usr/share/icons"), Interest("other", "/usr/share/icon")]
        for path in ("/usr/share/icons", "/usr/share/icons/a/b.png"):
            assert told(interests, [path]) == [Told("icons", ("/usr/share/icons",))]
        assert told(interests, ["/usr/share/icons.png", "/usr/share", "usr/share/icons"]) == []

    def test_names(self):
        assert told([Interest("libc-bin", "ldconfig")], ["ldconfig", "other", "ldconfig"]) == [
            Told("libc-bin", ("ldconfig",))
        ]

    def test_who_is_concerned_first_is_told_first_and_of_the_latest_first(self):
        interests = [Interest("a", "/one"), Interest("a", "two"), Interest("b", "two"), Interest("b", "/one/x")]
        assert told(interests, ["two", "/one/x/y"]) == [Told("a", ("/one", "two")), Told("b", ("/one/x", "two"))]
        assert told(interests, ["/one/x/y", "two"]) == [Told("b", ("two", "/one/x")), Told("a", ("two", "/one"))]

    def test_several_packages_of_one_trigger(self):
        paths = [Interest("a", "/one"), Interest("b", "/one")]
        names = [Interest("a", "two"), Interest("b", "two")]
        assert [one.package for one in told(paths, ["/one"])] == ["b", "a"]
        assert [one.package for one in told(names, ["two"])] == ["a", "b"]


class TestLayer:
    ICONS = Interest("icons", "/usr/share/icons")

    def test_what_lies_below_is_told_of_paths_and_names(self):
        below = [self.ICONS, Interest("libc-bin", "ldconfig")]
        arrivals = [
            Arrival("theme", Triggers(), ["usr", "usr/share", "usr/share/icons/x.png"]),
            Arrival("lib", Triggers(activates=(("ldconfig", False),))),
        ]
        assert told_of_layer(below, arrivals) == [
            Told("icons", ("/usr/share/icons",)),
            Told("libc-bin", ("ldconfig",)),
        ]

    def test_what_is_new_is_not_told_of_what_was_there_before_it_was_configured(self):
        icons = Arrival("icons", Triggers((self.ICONS, Interest("icons", "icons"))))
        theme = Arrival("theme", Triggers(activates=(("icons", True),)), ["usr/share/icons/x.png"])
        assert told_of_layer([], [theme, icons]) == []
        assert told_of_layer([], [icons, theme]) == [Told("icons", ("icons",))]
        assert told_of_layer([self.ICONS], [theme, icons]) == []

    def test_no_package_sets_off_itself(self):
        assert told_of_layer([], [Arrival("a", Triggers((Interest("a", "x"),), (("x", True),)))]) == []


def test_the_script():
    script = triggered(package("shop"), b"#!/bin/sh -e\n", ["/usr/share/icons", "x"], instances=2)
    assert script[:7] == (
        *("deb", "shop", "amd64", "postinst", ("/bin/sh", "-e"), b"#!/bin/sh -e\n"),
        ("triggered", "/usr/share/icons x"),
    )
    assert script.instances == 2
