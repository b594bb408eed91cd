# SPDX-License-Identifier: MIT
"""Scripts left to the first boot: the files that are made of them, in a row over all layers, and what is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.trees import file, link, tree

from oe_oci.content import whole
from oe_oci.packages.maintainer.defer import Defer
from oe_oci.packages.maintainer.job import Job
from oe_oci.packages.maintainer.scripts import SHELL, Script
from oe_oci.packages.package import Installed, Package
from oe_oci.packages.resolve import Selected
from oe_oci.populate import Wanted
from oe_oci.tree import FILE, Tree

if TYPE_CHECKING:
    from oe_oci.tree import Entry

EPOCH = 1_600_000_000


def script(package: str, name: str = "postinst", data: bytes = b"#!/bin/sh\n:\n", **facts: Any) -> Script:
    return Script(facts.pop("kind", "ipk"), package, "all", name, facts.pop("interpreter", SHELL), data, **facts)


def deferred(
    lower: Tree, *scripts: Script, kind: str = "ipk", wanted: Wanted | None = None, upgrades: tuple[str, ...] = ()
) -> Wanted:
    selected = [
        Selected(Package(name, "2", "all", {}, "", None, None, 0), "", Installed(name, "1", "all", {}))
        for name in upgrades
    ]
    job = Job("low", kind, selected, [], None, ())  # type: ignore[arg-type] - scripts are given
    defer = Defer(lambda _job, _tree: scripts, EPOCH)
    return defer.after(job, lower, defer.before(job, lower), wanted or Wanted({}))


def files(wanted: Wanted) -> dict[str, Entry]:
    return {path: entry for path, entry in wanted.entries.items() if entry.kind == FILE}


def bytes_of(entry: Entry) -> bytes:
    assert entry.content is not None
    return whole(entry.content)


def test_without_scripts_nothing_changes(caplog):
    wanted = Wanted({"a": file(b"a")}, ("b",))
    assert deferred(tree(b=b""), wanted=wanted) == wanted
    assert not caplog.records


def test_files_are_numbered_after_those_that_are_there(caplog):
    lower = tree(etc__x=b"")
    wanted = deferred(lower, script("lib"), script("app"), wanted=Wanted({"usr/app": file(b"")}))
    made = {path: entry for path, entry in files(wanted).items() if path != "usr/app"}
    assert list(made) == ["etc/ipk-postinsts/000-lib", "etc/ipk-postinsts/001-app"]
    assert {(entry.mode, entry.uid, entry.gid, entry.mtime) for entry in made.values()} == {(0o755, 0, 0, EPOCH)}
    assert bytes_of(made["etc/ipk-postinsts/000-lib"]) == b"#!/bin/sh\n:\n"
    assert "layer 'low': left to the first boot, which a container has not: the scripts of lib, app" in caplog.text
    upper = Tree({**lower.entries, **wanted.entries})
    assert list(files(deferred(upper, script("more")))) == ["etc/ipk-postinsts/002-more"]


def test_those_that_a_package_ships_count_too():
    wanted = deferred(tree(), script("app"), wanted=Wanted(tree(**{"etc__ipk-postinsts__007-own": b""}).entries))
    assert "etc/ipk-postinsts/008-app" in wanted.entries


def test_behind_a_link():
    wanted = deferred(
        Tree({**tree(usr__etc__x=b"").entries, "etc": link("usr/etc")}), script("app", kind="deb"), kind="deb"
    )
    assert list(files(wanted)) == ["usr/etc/deb-postinsts/000-app"]


def test_what_would_run_for_what_is_upgraded_is_not_left():
    scripts = [script("lib", "postrm"), script("lib"), script("old", "preun"), script("old", "postun")]
    assert list(files(deferred(tree(), *scripts))) == ["etc/ipk-postinsts/000-lib"]


def test_a_newer_version_takes_the_place_of_what_was_left_for_the_older():
    lower = tree(**{"etc__ipk-postinsts__000-lib": b"1", "etc__ipk-postinsts__001-lib2": b"2"})
    wanted = deferred(lower, script("lib"), upgrades=("lib",))
    assert list(files(wanted)) == ["etc/ipk-postinsts/002-lib"]
    assert wanted.removed == ("etc/ipk-postinsts/000-lib",)
    assert deferred(lower, upgrades=("lib",)).removed == ("etc/ipk-postinsts/000-lib",)


def test_those_of_rpm_have_what_runs_them():
    scripts = [
        script("sh", "postin", b"echo $1\n", kind="rpm"),
        script("py", "postin", b"print()\n", kind="rpm", interpreter=("/usr/bin/python3", "-I")),
        script("alone", "posttrans", b"", kind="rpm", interpreter=("/sbin/ldconfig",)),
    ]
    wanted = deferred(tree(), *scripts, kind="rpm")
    assert [bytes_of(entry) for entry in files(wanted).values()] == [
        b"#!/bin/sh\necho $1\n",
        b"#!/usr/bin/python3 -I\nprint()\n",
        b"#!/bin/sh\nexec /sbin/ldconfig\n",
    ]


def test_none_of_them_ran():
    defer = Defer(lambda _job, _tree: (), EPOCH)
    assert defer.left(("preinst", "postinst")) == ("preinst", "postinst")
    assert not defer.withheld(tree())
