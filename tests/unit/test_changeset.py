# SPDX-License-Identifier: MIT
from __future__ import annotations

import hashlib

import pytest
from support.layouts import Member, extended, file, folder, hardlink, header, record, symlink, tar

from oe_oci.changeset import apply_changeset, content_xattrs, read_changeset
from oe_oci.content import Literal
from oe_oci.errors import InputError
from oe_oci.stream import PieceStream
from oe_oci.tree import DIRECTORY, FILE, SYMLINK, Tree
from oe_oci.untar import Archive


def changes(data: bytes | list[Member], lower: Tree | None = None, locate=None):
    data = data if isinstance(data, bytes) else tar(data)
    return read_changeset(Archive(PieceStream(iter([data])), "it"), "it", lower or Tree(), locate)


def applied(*layers: list[Member]) -> Tree:
    tree = Tree()
    for number, members in enumerate(layers):
        archive = Archive(PieceStream(iter([tar(members)])), f"layer {number}")
        apply_changeset(tree, read_changeset(archive, f"layer {number}", tree, None))
    for path in tree.entries:
        assert path == "" or tree.entry(path.rpartition("/")[0]).kind == DIRECTORY
    return tree


def paths(tree: Tree) -> list[str]:
    return sorted(path for path in tree.entries if path)


def refused(members: list[Member], text: str) -> None:
    with pytest.raises(InputError, match=text) as caught:
        applied(members)
    assert str(caught.value).startswith("layer 0: ")


# ---- reading


def test_entries_are_in_the_order_written():
    found = changes([file("b"), folder("a"), file("a/.wh.x", b""), symlink("a/l", "b")])
    assert list(found.entries) == ["b", "a", "a/l"]
    assert found.removed == ("a/x",)
    assert found.opaque == ()


def test_locate_gets_where_the_bytes_lie_and_their_digest():
    asked = []

    def locate(offset, size, digest):
        asked.append((offset, size, digest))
        return Literal(b"as told")

    data = tar([file("a", b"abc"), file("b", b"")])
    found = changes(data, locate=locate)
    assert [data[offset : offset + size] for offset, size, _ in asked] == [b"abc", b""]
    assert [digest for _, _, digest in asked] == [hashlib.sha256(text).hexdigest() for text in (b"abc", b"")]
    assert found.entries["a"].content == Literal(b"as told")


def test_without_locate_there_is_no_content():
    assert changes([file("a", b"abc")]).entries["a"].content is None


def test_attributes_of_the_host_are_dropped():
    kept = (("security.capability", b"\1"), ("user.mine", b"\2"))
    host = (("security.selinux", b"x"), ("trusted.overlay.opaque", b"y"), ("user.overlay.impure", b"y"))
    assert content_xattrs(kept + host) == kept
    data = b"".join(extended(record(b"SCHILY.xattr." + key.encode(), value)) for key, value in kept + host)
    assert changes(data + header(b"f") + bytes(1024)).entries["f"].xattrs == kept


def test_marks():
    found = changes(
        [file("d/.wh.gone", b""), file(".wh.top", b""), file("d/.wh..wh..opq", b""), file(".wh..wh..opq", b"")]
    )
    assert found.removed == ("d/gone", "top")
    assert found.opaque == ("d", "")
    assert found.entries == {}


def test_marks_of_aufs_are_nothing():
    members = [file(".wh..wh.aufs", b""), folder(".wh..wh.plnk"), file(".wh..wh.plnk/12.34"), file("a/.wh..wh.orph/x")]
    found = changes(members)
    assert (found.entries, found.removed, found.opaque) == ({}, (), ())


@pytest.mark.parametrize("name", [".wh.", "a/.wh.", ".wh..", "a/.wh..", ".wh...", "a/.wh..."])
def test_whiteouts_of_nothing_are_refused(name):
    refused([file(name, b"")], "a whiteout of nothing")


def test_a_damaged_archive_is_refused():
    with pytest.raises(InputError, match="damaged tar"):
        changes(tar([file("a", b"x" * 600)])[:700])


# ---- whiteouts


def test_whiteouts_remove_what_is_below():
    tree = applied([file("d/a"), file("d/b"), file("e/f/g")], [file("d/.wh.a", b""), file(".wh.e", b"")])
    assert paths(tree) == ["d", "d/b"]


def test_whiteouts_are_for_lower_layers_only():
    for order in ((file("d/.wh.a", b""), file("d/a", b"new")), (file("d/a", b"new"), file("d/.wh.a", b""))):
        tree = applied([file("d/a", b"old!")], list(order))
        assert tree.entry("d/a").size == 3


def test_a_whiteout_of_a_directory_that_is_made_again():
    tree = applied([folder("d"), file("d/old")], [file(".wh.d", b""), folder("d"), file("d/new")])
    assert paths(tree) == ["d", "d/new"]


def test_whiteouts_of_what_is_not_there_are_nothing():
    assert paths(applied([file("a")], [file(".wh.b", b""), file("c/.wh.d", b"")])) == ["a"]


@pytest.mark.parametrize("last", [False, True])
def test_an_opaque_directory_hides_all_below_it(last):
    mark, new = file("d/.wh..wh..opq", b""), file("d/new")
    layer = [folder("d", mode=0o700), *([new, mark] if last else [mark, new])]
    tree = applied([folder("d"), file("d/old"), file("d/e/f"), file("other")], layer)
    assert paths(tree) == ["d", "d/new", "other"]
    assert tree.entry("d").mode == 0o700


def test_an_opaque_root():
    assert paths(applied([file("a"), folder("b")], [file(".wh..wh..opq", b""), file("c")])) == ["c"]


# ---- one kind in another's place


def test_a_directory_over_a_directory_keeps_what_is_in_it():
    tree = applied([folder("d", mode=0o755), file("d/f")], [folder("d", mode=0o700, uid=5)])
    assert (tree.entry("d").mode, tree.entry("d").uid) == (0o700, 5)
    assert paths(tree) == ["d", "d/f"]


@pytest.mark.parametrize("new", [file("d"), symlink("d", "x")])
def test_what_is_no_directory_replaces_one_with_all_that_is_in_it(new):
    assert paths(applied([folder("d"), file("d/e/f")], [new])) == ["d"]


@pytest.mark.parametrize("old", [file("d"), symlink("d", "x")])
def test_a_directory_replaces_what_is_none(old):
    tree = applied([old], [folder("d"), file("d/f")])
    assert tree.entry("d").kind == DIRECTORY
    assert paths(tree) == ["d", "d/f"]


def test_a_missing_parent_is_made():
    tree = applied([file("a/b/c")])
    assert tree.entry("a/b")[:4] == (DIRECTORY, 0o755, 0, 0)
    assert tree.entry("").kind == DIRECTORY


def test_a_parent_that_is_there_is_not_changed():
    tree = applied([folder("a", mode=0o700)], [file("a/b")])
    assert tree.entry("a").mode == 0o700


def test_a_file_below_which_something_lies_becomes_a_directory():
    tree = applied([file("a")], [file("a/b")])
    assert tree.entry("a").kind == DIRECTORY


def test_parents_may_come_after_what_is_in_them():
    tree = applied([file("a/b"), folder("a", mode=0o700)])
    assert tree.entry("a").mode == 0o700
    assert paths(tree) == ["a", "a/b"]


# ---- links


def test_a_path_through_a_link_of_its_own_layer_is_at_the_links_place():
    tree = applied([folder("usr"), folder("usr/bin"), symlink("bin", "usr/bin"), file("bin/sh")])
    assert paths(tree) == ["bin", "usr", "usr/bin", "usr/bin/sh"]
    assert tree.entry("bin").kind == SYMLINK


def test_a_path_through_a_link_of_a_lower_layer_hides_the_link():
    tree = applied([folder("usr"), file("usr/bin/x"), symlink("bin", "usr/bin")], [file("bin/sh")])
    assert paths(tree) == ["bin", "bin/sh", "usr", "usr/bin", "usr/bin/x"]
    assert tree.entry("bin").kind == DIRECTORY


def test_links_never_lead_out_of_the_root():
    tree = applied([symlink("l", "../../../etc"), file("l/x"), symlink("m", "/etc"), file("m/y")])
    assert paths(tree) == ["etc", "etc/x", "etc/y", "l", "m"]


def test_a_loop_of_links_ends():
    tree = applied([symlink("a", "b"), symlink("b", "a"), file("a/x")])
    assert len(tree) < 6


def test_a_directory_replaced_by_a_link_to_where_its_content_went():
    lower = [folder("bin"), file("bin/sh"), folder("usr"), folder("usr/bin")]
    tree = applied(lower, [symlink("bin", "usr/bin"), file("usr/bin/sh")])
    assert paths(tree) == ["bin", "usr", "usr/bin", "usr/bin/sh"]


# ---- hard links


def test_names_of_one_inode():
    tree = applied([file("a", b"abc", mode=0o600), hardlink("b", "a"), hardlink("d/c", "./b"), file("other")])
    entries = [tree.entry(path) for path in ("a", "b", "d/c")]
    assert entries[0] == entries[1] == entries[2]
    assert sorted(tree.names_of(entries[0].inode)) == ["a", "b", "d/c"]
    assert tree.entry("other").inode is None


def test_equal_paths_in_two_layers_are_two_inodes():
    tree = applied([file("a"), hardlink("b", "a")], [file("a"), hardlink("c", "a")])
    assert tree.names_of(tree.entry("b").inode) == ["b"]
    assert sorted(tree.names_of(tree.entry("a").inode)) == ["a", "c"]


def test_links_to_links():
    tree = applied([symlink("a", "x"), hardlink("b", "a")])
    assert tree.entry("b").kind == SYMLINK
    assert tree.entry("b").inode == tree.entry("a").inode


def test_a_link_to_a_file_of_a_lower_layer_is_taken_for_its_content():
    tree = applied([file("a", b"abcd")], [hardlink("b", "a")])
    assert (tree.entry("b").kind, tree.entry("b").size) == (FILE, 4)
    assert tree.entry("a").inode == tree.entry("b").inode


@pytest.mark.parametrize("members", [[hardlink("b", "a")], [hardlink("b", "a"), file("a")], [hardlink("a", "a")]])
def test_links_whose_target_is_not_there_are_refused(members):
    refused(members, "hard link to missing /a")


def test_links_to_directories_are_refused():
    refused([folder("a"), hardlink("b", "a")], "hard link")
    with pytest.raises(InputError, match="hard link"):
        applied([folder("a")], [hardlink("b", "a")])


def test_a_link_whose_target_is_replaced_in_the_same_layer_keeps_the_old_one():
    tree = applied([file("a", b"old!"), hardlink("b", "a"), file("a", b"new")])
    assert (tree.entry("a").size, tree.entry("b").size) == (3, 4)
    assert tree.names_of(tree.entry("b").inode) == ["b"]
