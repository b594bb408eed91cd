# SPDX-License-Identifier: MIT
"""Who is told of dpkg's triggers by the database of a tree, and what scripts find in the image."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from support import tools

from oe_oci.content import Literal, whole
from oe_oci.packages.maintainer.inside import Inside
from oe_oci.packages.maintainer.pending import pending
from oe_oci.packages.maintainer.scripts import Script
from oe_oci.packages.package import Installed
from oe_oci.tree import DIRECTORY, FILE, SYMLINK, Entry, Tree, ancestors

INFO = "var/lib/dpkg/info"
TRIGGERS = "var/lib/dpkg/triggers"
HEARS = Installed("hears", "1", "all", {"Package": "hears", "Architecture": "all"})


def tree(**files: bytes) -> Tree:
    """Files by their paths, with `__` for `/`."""
    entries = {"": Entry(DIRECTORY, 0o755)}
    for name, data in files.items():
        path = name.replace("__", "/")
        entries.update((up, Entry(DIRECTORY, 0o755)) for up in ancestors(path))
        entries[path] = Entry(FILE, 0o644, size=len(data), content=Literal(data))
    return Tree(entries)


def database(set_off: bytes, postinst: bytes = b"#!/bin/sh\n") -> Tree:
    one = tree(**{f"{TRIGGERS}/call": b"hears\n", f"{TRIGGERS}/File": b"/usr/a hears\n", f"{TRIGGERS}/Lock": b""})
    two = tree(**{f"{TRIGGERS}/Unincorp": set_off, f"{INFO}/hears.postinst": postinst})
    return Tree({**one.entries, **two.entries})


def job(*installed: Installed) -> SimpleNamespace:
    return SimpleNamespace(selected=(), held=(), installed=installed)


def test_what_a_script_set_off_is_told_to_a_package_below_and_forgotten():
    below = database(b"call -\n/usr/a/b other\n")
    found = pending(job(HEARS), below, False)
    assert [(one.package, one.name, one.words) for one in found.scripts] == [
        ("hears", "postinst", ("triggered", "/usr/a call"))
    ]
    assert whole(found.tree.entries[f"{TRIGGERS}/Unincorp"].content) == b""
    assert not pending(job(HEARS), found.tree, False).scripts


def test_where_nothing_is_set_off_the_tree_is_the_same():
    below = database(b"")
    found = pending(job(HEARS), below, True)
    assert not found.scripts
    assert found.tree is below


@pytest.mark.parametrize("state", ["deinstall ok config-files", "unknown ok not-installed"])
def test_who_is_gone_is_not_told(state):
    assert not pending(job(HEARS._replace(state=state)), database(b"call -\n"), False).scripts


def test_scripts_find_a_policy_where_the_image_has_none_behind_links_too():
    merged = tree(usr__bin__x=b"")
    linked = Tree({**merged.entries, "usr/sbin": Entry(SYMLINK, 0o777, target="bin")})
    assert list(Inside().disguised(linked)) == ["usr/bin/policy-rc.d"]
    assert Inside().disguised(merged) == {}
    assert Inside().disguised(tree(**{"usr/sbin/policy-rc.d": b"own"})) == {}


def test_a_script_runs_from_the_database_only_where_it_is_the_same():
    script = Script("deb", "a", "amd64", "postinst", ("/bin/sh",), b"new")
    assert Inside().place(script, tree(**{f"{INFO}/a:amd64.postinst": b"new"})) == f"/{INFO}/a:amd64.postinst"
    assert Inside().place(script, tree(**{f"{INFO}/a.postinst": b"old"})) == ""


def test_scripts_in_the_image_find_the_variables_that_the_documentation_tells():
    text = (tools.ROOT / "docs/reference/package-scripts.md").read_text(encoding="utf-8")
    table = text[text.index("| `PATH` |") : text.index("A layer's scripts run in this order")]
    found = {}
    for line in table.strip().splitlines():
        names, values = (re.findall("`([^`]*)`", cell) for cell in line.strip("|").split("|"))
        found.update(zip(names, values))
    told = {name: found[name] for name in Inside().environment(0)}
    assert told == Inside().environment(0)
