# SPDX-License-Identifier: MIT
"""Links that would lead a package manager out of the directory it installs into."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.trees import file, link, with_parents

from oe_oci.errors import InputError
from oe_oci.packages.contents import Contents
from oe_oci.packages.native.links import check_inside, led_inside
from oe_oci.tree import Tree, resolve
from oe_oci.untar import Member

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oe_oci.tree import Entry


def tree(**links: str) -> Tree:
    """A tree with links by path; `__` stands for a slash."""
    return Tree(with_parents({path.replace("__", "/"): link(target) for path, target in links.items()}))


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        ({"var__run": "/run"}, {"var/run": "../run"}),
        ({"var__run": "../run", "bin": "usr/bin", "here": "."}, {}),
        ({"var__run": "../../run"}, {"var/run": "../run"}),
        ({"a": "/"}, {"a": "."}),
        ({"a": "b/x", "b": "/usr"}, {"a": "usr/x", "b": "usr"}),
        ({"a__b__up": "../..", "a__b__out": "up/../etc"}, {"a/b/out": "../../etc"}),
        ({"a": "/b", "b": "/a"}, {"a": "a", "b": "b"}),
        ({"etc__mtab": "/proc/self/../mounts"}, {"etc/mtab": "../proc/mounts"}),
    ],
)
def test_every_link_that_leads_out_is_led_inside(links, expected):
    found = led_inside(tree(**links))
    assert {path: entry.target for path, entry in found.items()} == expected


def test_what_is_led_inside_leads_to_the_same():
    before = tree(var__run="/run", etc__rc="/etc/rc.d/../rc.d", a__b="../../../usr")
    after = Tree({**before.entries, **led_inside(before)})
    for path in ("var/run/x", "etc/rc/y", "a/b/lib"):
        assert resolve(after, path, follow=True).path == resolve(before, path, follow=True).path
    assert not led_inside(after)


def test_names_of_one_link_get_targets_of_their_own():
    one = link("/run")._replace(inode=("t", 1))
    found = led_inside(Tree(with_parents({"a/run": one, "b/c/run": one})))
    assert {path: (entry.target, entry.inode) for path, entry in found.items()} == {
        "a/run": ("../run", None),
        "b/c/run": ("../../run", None),
    }


# ---- packages


class _Nothing:
    def release(self) -> None:
        raise AssertionError


def contents(members: Mapping[str, Entry], *conffiles: str) -> Contents:
    found = tuple(Member(path, entry, None, 0, path, "", "") for path, entry in members.items())
    return Contents({"Package": "pkg"}, {}, conffiles, found, _Nothing(), "", 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("members", "conffiles", "path", "by"),
    [
        ({"run": link("/run"), "run/file": file()}, (), "/run", "/run"),
        ({"a/up": link("../../x"), "a/up/file": file()}, (), "/a/up", "/a/up"),
        ({"usr/bin/out": link("/opt"), "bin/out/file": file()}, (), "/bin/out", "/usr/bin/out"),
        ({"etc/conf": link("/srv/conf")}, ("etc/conf",), "/etc/conf", "/etc/conf"),
        ({"out": link("/opt"), "file": file()}, (), "", ""),
        ({"new": link("etc"), "new/out": link("/opt"), "etc/out/file": file()}, (), "/etc/out", "/etc/out"),
    ],
)
def test_files_behind_a_link_of_the_same_layer_are_refused_where_it_leads_out(members, conffiles, path, by):
    held = [contents(members, *conffiles)]
    below = tree(bin="usr/bin")
    if not path:
        check_inside(below, held, ())
        return
    with pytest.raises(InputError) as caught:
        check_inside(below, held, ())
    assert caught.value.message.startswith(f"pkg: {path} lies behind the link {by}, ")
    assert "builtin" in caught.value.hint


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"db/lock": link("/etc/passwd")}, "/db/lock"),
        ({"db/more/up": link("../../../x")}, "/db/more/up"),
        ({"of/lock": link("/etc/passwd")}, "/of/lock"),
        ({"new": link("db"), "new/lock": link("/etc/passwd")}, "/new/lock"),
        ({"db/inner": link("../etc"), "dbx": link("/etc"), "srv/lock": link("/etc/passwd")}, ""),
    ],
)
def test_no_link_of_a_package_leads_out_of_a_database(members, path):
    """A tool opens its lock anew for each of its steps, and empties what it finds behind a link."""
    below = tree(of="db")
    if not path:
        check_inside(below, [contents(members)], ["db/"])
        return
    with pytest.raises(InputError) as caught:
        check_inside(below, [contents(members)], ["db/"])
    assert caught.value.message.startswith(f"pkg: {path} is a link in the database of packages, ")
    assert "builtin" in caught.value.hint
