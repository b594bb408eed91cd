# SPDX-License-Identifier: MIT
"""The changes of a layer: what is left out, what is taken along, and that applying them gives what was wanted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.trees import device, directory, entries, file, link, tree, with_parents

from oe_oci.content import content_digest
from oe_oci.delta import apply, diff
from oe_oci.errors import InputError
from oe_oci.tree import DIRECTORY, Entry, Tree


def same(one, other):
    return content_digest(one) == content_digest(other)


def changes(lower, wanted, removed=()):
    return diff(lower, wanted, removed, same)


def test_what_is_identical_below_is_left_out():
    delta = changes(tree(etc__passwd=b"root"), entries(etc__passwd=b"root"))
    assert delta.empty
    assert delta.entries == {}


@pytest.mark.parametrize(
    "upper",
    [
        file(b"b"),
        file(b"a", mode=0o755),
        file(b"a", uid=1),
        file(b"a", gid=1),
        file(b"a", xattrs=(("user.x", b"1"),)),
        link("a"),
        directory(),
        device("c", 1, 3),
    ],
)
def test_each_differing_fact_is_a_change(upper):
    delta = changes(tree(a=b"a"), with_parents({"a": upper}))
    assert delta.entries == {"a": upper}
    assert delta.changed == 1


def test_a_time_alone_is_no_change():
    assert changes(tree(a=file(b"a", mtime=1)), entries(a=file(b"a", mtime=2))).empty


def test_device_numbers_are_compared():
    assert not changes(tree(a=device("c", 1, 3)), entries(a=device("c", 1, 5))).empty


def test_unchanged_parents_come_along_with_their_true_facts_and_do_not_count():
    lower = Tree(with_parents({"srv": directory(0o2750, uid=7), "srv/a": file(b"1")}))
    delta = changes(lower, {**lower.entries, "srv/b": file(b"2")})
    assert list(delta.entries) == ["srv", "srv/b"]
    assert delta.entries["srv"] == directory(0o2750, uid=7)
    assert delta.changed == 1


def test_the_root_itself_is_written_only_when_it_changes():
    assert "" not in changes(tree(a=b"1"), entries(b=b"2")).entries
    assert "" in changes(tree(a=b"1"), {"": directory(0o700)}).entries


def test_only_the_topmost_removed_path_is_named():
    lower = tree(opt__app__bin__x=b"x", opt__keep=b"k")
    delta = changes(lower, {}, ["opt/app/bin/x", "opt/app/bin", "opt/app"])
    assert delta.removed == ("opt/app",)
    assert list(delta.entries) == ["opt"]


def test_a_directory_replaced_by_a_link_needs_no_removals_inside_it():
    lower = tree(bin__sh=b"sh", usr__bin__env=b"env")
    delta = changes(lower, {"bin": link("usr/bin")}, ["bin/sh"])
    assert delta.removed == ()
    assert list(delta.entries) == ["bin"]
    apply(lower, delta)
    assert sorted(lower.entries) == ["", "bin", "usr", "usr/bin", "usr/bin/env"]


def test_names_that_mean_removal_are_refused():
    with pytest.raises(InputError, match=r"/etc/\.wh\.passwd"):
        changes(Tree(), entries(**{"etc__.wh.passwd": b""}))


def test_a_name_with_the_mark_inside_is_fine():
    assert not changes(Tree(), entries(**{"etc__a.wh.b": b""})).empty


def test_all_names_of_a_written_inode_are_written():
    shared = file(b"data", inode=("rootfs", 1))
    lower = tree(a__one=shared)
    delta = changes(lower, entries(b__two=shared))
    assert {"a/one", "b/two"} <= set(delta.entries)
    apply(lower, delta)
    assert sorted(lower.names_of(("rootfs", 1))) == ["a/one", "b/two"]


def test_an_inode_of_which_nothing_changed_is_left_out():
    shared = file(b"data", inode=("rootfs", 1))
    assert changes(tree(a=shared, b=shared), entries(a=shared, b=shared)).empty


def test_files_that_become_one_are_written_though_their_content_is_the_same():
    shared = file(b"data", inode=("rootfs", 1))
    lower = tree(a=b"data", b=file(b"data", inode=("base", 1)), c=file(b"data", inode=("base", 1)))
    delta = changes(lower, entries(a=shared, b=shared))
    assert sorted(delta.entries) == ["a", "b"]
    apply(lower, delta)
    assert lower.names_of(("rootfs", 1)) == ["a", "b"]
    assert lower.names_of(("base", 1)) == ["c"]


def test_names_that_part_are_written_but_for_the_first():
    shared, two = file(b"data", inode=("base", 1)), file(b"data", inode=("rootfs", 2))
    lower = tree(a=shared, b=shared, c=shared, d=shared)
    delta = changes(lower, entries(b=b"data", c=two, d=two, a=b"data"))
    assert sorted(delta.entries) == ["b", "c", "d"]
    apply(lower, delta)
    assert lower.names_of(("base", 1)) == ["a"]
    assert lower.names_of(("rootfs", 2)) == ["c", "d"]


def test_a_removed_name_of_a_written_inode_stays_removed():
    shared = file(b"data", inode=("rootfs", 1))
    delta = changes(tree(a=shared), entries(b=shared), ["a"])
    assert delta.removed == ("a",)
    assert "a" not in delta.entries


names = st.sampled_from(["a", "b", "c", "a/x", "a/y", "b/x", "a/x/1", "a/x/2", "b/x/1", "-", "a.b", "é", "\udcff"])


def nodes(source: str) -> st.SearchStrategy[Entry]:
    """Entries; those that share an inode are of one source."""
    return st.one_of(
        st.binary(max_size=2).map(file),
        st.builds(file, st.just(b"s"), inode=st.sampled_from([(source, 1), (source, 2)])),
        st.sampled_from([0o755, 0o700]).map(directory),
        st.sampled_from(["a", "../b", "/c"]).map(link),
    )


def consistent(found: dict[str, Entry]) -> dict[str, Entry]:
    """Without what lies below something that is no directory."""
    kept = {"": directory()}
    for path in sorted(found):
        up = path.rpartition("/")[0]
        if up in kept and kept[up].kind == DIRECTORY:
            kept[path] = found[path]
    return kept


def names_of_inodes(found: dict[str, Entry]) -> set[frozenset[str]]:
    inodes: dict[object, set[str]] = {}
    for path, entry in found.items():
        inodes.setdefault(entry.inode or path, set()).add(path)
    return set(map(frozenset, inodes.values()))


lowers, uppers = (st.dictionaries(names, nodes(source), max_size=10).map(consistent) for source in ("base", "rootfs"))


@settings(derandomize=True, deadline=None, max_examples=200)
@given(lowers, uppers)
def test_applying_the_difference_gives_what_was_wanted(lower, upper):
    grown = Tree(lower)
    delta = changes(grown, upper, [path for path in lower if path not in upper])
    for path in [*delta.entries, *delta.removed]:
        assert path.rpartition("/")[0] in {*delta.entries, ""}
    apply(grown, delta)
    assert {p: e._replace(inode=None) for p, e in grown.entries.items()} == {
        p: e._replace(inode=None) for p, e in upper.items()
    }
    assert names_of_inodes(grown.entries) == names_of_inodes(upper)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(lowers)
def test_nothing_differs_from_itself(found):
    assert changes(Tree(found), found).empty
