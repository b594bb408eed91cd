# SPDX-License-Identifier: MIT
"""The scripts of rpm packages that a layer installs, with what they set off, in their order."""

from __future__ import annotations

from support import headers

from oe_oci.packages.maintainer.transaction import Transaction
from oe_oci.packages.package import Installed, Package
from oe_oci.packages.resolve import Selected
from oe_oci.packages.rpm.header import Header
from oe_oci.packages.rpm.tags import TRIGGERIN, TRIGGERUN

SCRIPTS = {"_1151": "pretrans\n", "_1023": "pre\n", "_1024": "post\n", "_1152": "posttrans\n"}
ERASED = {"_1025": "preun\n", "_1026": "postun\n"}


def header(name: str, version: str = "1", **values) -> Header:
    return Header(headers.package(name, version, **values)[1], name)


def on(name: str, sense: int, text: str) -> dict[str, object]:
    """The tags of a trigger on another package."""
    return {"_1065": [text], "_1066": [name], "_1067": [""], "_1068": [sense], "_1069": [0]}


def on_files(prefix: str, text: str, *, transaction: bool = False, priority: int = 1_000) -> dict[str, object]:
    """The tags of a trigger on files."""
    tags = (5076, 5077, 5079, 5080, 5081, 5082, 5085) if transaction else (5066, 5067, 5069, 5070, 5071, 5072, 5084)
    values = [text], ["/bin/sh"], [prefix], [0], [""], [TRIGGERIN], [priority]
    return {f"_{tag}": value for tag, value in zip(tags, values)}


def selected(one: Header, replaces: Installed | None = None) -> tuple[Selected, Header]:
    package = Package(one.text(1000), one.text(1001), "noarch", {}, "", None, None, 0)
    return Selected(package, "", replaces), one


def installed(one: Header) -> Installed:
    return Installed(one.text(1000), one.text(1001), "noarch", {}, header=one)


def told(transaction: Transaction) -> tuple[list[str], list[str]]:
    """What runs before and after: whose script it is, its text and words, and what it reads."""

    def line(script) -> str:
        words = " ".join((script.package, script.data.decode().strip(), *script.words))
        return f"{words} < {' '.join(script.input.decode().split())}" if script.input else words

    return [line(one) for one in transaction.before()], [line(one) for one in transaction.after()]


def made(coming, below=()) -> tuple[list[str], list[str]]:
    return told(Transaction(coming, below, lambda _relation, _one: True))


def test_all_that_runs_before_files_comes_before_all_that_runs_after():
    before, after = made([selected(header("lib", **SCRIPTS)), selected(header("app", **SCRIPTS))])
    assert before == ["lib pretrans 1", "app pretrans 1", "lib pre 1", "app pre 1"]
    assert after == ["lib post 1", "app post 1", "lib posttrans 1", "app posttrans 1"]


def test_an_upgrade_is_two_until_the_old_one_is_gone():
    old = installed(header("app", **SCRIPTS, **ERASED))
    before, after = made([selected(header("app", "2", **SCRIPTS), old)], [old])
    assert before == ["app pretrans 2", "app pre 2"]
    assert after == ["app post 2", "app preun 1", "app postun 1", "app posttrans 2"]


def test_triggers_of_packages_below_and_of_the_layer():
    below = installed(header("watch", **on("app", TRIGGERIN, "seen")))
    itself = header("also", **on("watch", TRIGGERIN, "there"))
    _, after = made([selected(header("app", **SCRIPTS)), selected(itself)], [below])
    assert after == ["app post 1", "watch seen 1 1", "also there 1 1", "app posttrans 1"]


def test_what_goes_sets_off_triggers_too():
    watch = installed(header("watch", **on("app", TRIGGERUN, "going")))
    old = installed(header("app", **ERASED))
    _, after = made([selected(header("app", "2"), old)], [watch, old])
    assert after == ["watch going 1 1", "app preun 1", "app postun 1"]


def test_files_that_come_set_off_triggers():
    files = {"/lib/modules/mod.ko": b"module"}
    cache = installed(header("cache", **on_files("/lib/modules/", "each")))
    late = installed(header("late", **on_files("/lib/modules/", "once", transaction=True)))
    one, other = (header(name, files=files, **SCRIPTS) for name in ("one", "other"))
    _, after = made([selected(one), selected(other)], [cache, late])
    assert after == [
        "one post 1",
        "cache each 1 1 < /lib/modules/mod.ko",
        "other post 1",
        "cache each 1 1 < /lib/modules/mod.ko",
        "one posttrans 1",
        "other posttrans 1",
        "late once 1 < /lib/modules/mod.ko /lib/modules/mod.ko",
    ]


class Counted(Header):
    """A header that counts what it is asked for."""

    asked = 0

    def texts(self, tag: int) -> tuple[str, ...]:
        self.asked += 1
        return super().texts(tag)


def asked_for(number: int) -> int:
    """How often each of so many packages is asked for what it has."""
    found = [Counted(headers.package(f"lib{each}", "1", **SCRIPTS)[1], "") for each in range(number)]
    watch = header("watch", **on("lib1", TRIGGERIN, "seen"), **on_files("/usr/", "each"))
    _, after = made([selected(one) for one in found], [installed(watch)])
    assert len(after) == 2 * number + 1
    assert len({one.asked for one in found}) == 1
    return found[0].asked


def test_a_package_is_asked_for_its_triggers_as_often_however_many_others_there_are():
    assert asked_for(2) == asked_for(30)
