# SPDX-License-Identifier: MIT
"""A layer's tar: its order, its links and whiteouts, and the diff IDs others may rely on."""

from __future__ import annotations

import gzip
import os
import stat

import pytest
from support.trees import device, directory, entries, file, link, members, tree, with_parents

from oe_oci.compress import choose
from oe_oci.config import Compression
from oe_oci.content import Region, content_digest
from oe_oci.delta import Delta, diff
from oe_oci.errors import InputError, ToolError
from oe_oci.layer import LayerWriter
from oe_oci.layer import members as layer_members
from oe_oci.tree import FILE, Entry, Tree


def delta(lower: Tree, wanted: dict, removed=()) -> Delta:
    return diff(lower, wanted, removed, lambda a, b: content_digest(a) == content_digest(b))


def layer(tmp_path, change: Delta, algorithm: str = "none", epoch: int = 0):
    method = choose(Compression(algorithm, 6, "auto"))
    with LayerWriter(list(layer_members(change, epoch)), str(tmp_path), method, jobs=2) as writer:
        blob = writer.write()()
    return blob, (tmp_path / blob.descriptor.digest.hex).read_bytes()


def names(tmp_path, change: Delta) -> list[str]:
    return [member.name for member in members(layer(tmp_path, change)[1])]


def test_parents_come_before_children_and_siblings_are_sorted_by_component(tmp_path):
    wanted = entries(**{"a.b": b"", "a__b": b"", "a-b": b"", "a__b.c": b"", "B": b"", "\udcff": b"", "é": b""})
    assert names(tmp_path, delta(Tree(), wanted)) == [".", "B", "a", "a/b", "a/b.c", "a-b", "a.b", "é", "\udcff"]


def test_whiteouts_follow_their_directory_and_precede_its_files(tmp_path):
    lower = tree(etc__a=b"", etc__z=b"", etc__sub__x=b"", top=b"")
    change = delta(lower, entries(etc__a=b"new", etc__aa=b""), ["etc/z", "etc/sub", "top"])
    assert names(tmp_path, change) == [".wh.top", "etc", "etc/.wh.sub", "etc/.wh.z", "etc/a", "etc/aa"]


def test_a_whiteout_is_an_empty_file_of_the_builds_time(tmp_path):
    change = delta(tree(a=b""), {}, ["a"])
    (found,) = members(layer(tmp_path, change, epoch=77)[1])
    assert (found.name, found.isreg(), found.size, found.mtime) == (".wh.a", True, 0, 77)


def test_later_names_of_an_inode_are_links_to_the_first_one_in_the_layer(tmp_path):
    shared = file(b"data", inode=("rootfs", 1))
    found = members(layer(tmp_path, delta(Tree(), entries(z__b=shared, a__c=shared)))[1])
    assert [(m.name, m.linkname) for m in found if not m.isdir()] == [("a/c", ""), ("z/b", "a/c")]


def test_the_blob_has_its_digest_as_name_and_anyone_may_read_it(tmp_path):
    old = os.umask(0o077)
    try:
        blob, data = layer(tmp_path, delta(Tree(), entries(a=b"1")), "gzip")
    finally:
        os.umask(old)
    path = tmp_path / blob.descriptor.digest.hex
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert blob.descriptor.size == len(data)
    assert blob.raw_size == len(gzip.decompress(data))
    assert os.listdir(tmp_path) == [blob.descriptor.digest.hex]


def test_the_diff_id_of_a_fixed_tree_is_pinned(tmp_path):
    """Changing these bytes changes every image ever built; it must be meant."""
    shared = file(b"shared\n", 0o4111, uid=1234, gid=1234, mtime=1700000000, inode=("rootfs", 1))
    wanted = with_parents(
        {
            "": directory(mtime=5),
            "bin/su": shared,
            "bin/sudo": shared,
            "dev/null": device("c", 1, 3, 0o666),
            "etc/link": link("/etc/target"),
            "opt/cap": file(b"x", xattrs=(("security.capability", b"\1\0\0\2\0\4\0\0" + bytes(12)),)),
            "var/" + "long/" * 60 + "name": file(b"deep", uid=3000000000),
            "tmp": directory(0o1777),
        }
    )
    lower = tree(etc__old=b"", bin__sh=b"")
    blob, _ = layer(tmp_path, delta(lower, wanted, ["etc/old"]), "gzip", epoch=9)
    assert str(blob.diff_id) == "sha256:8940338fc76344e6f6cf751b11fdcc7fbd38edd012a047575b78ee2a11d19653"


@pytest.mark.parametrize("size", [0, 3, 9])
def test_a_file_that_changed_its_size_is_an_error(tmp_path, size):
    source = tmp_path / "source"
    source.write_bytes(bytes(size))
    entry = Entry(FILE, 0o644, size=6, content=Region(os.fsencode(source), 0, 6))
    (tmp_path / "blobs").mkdir()
    with pytest.raises(InputError, match="changed its size while it was read"):
        layer(tmp_path / "blobs", delta(Tree(), {"a": entry}))


def test_a_file_that_became_a_link_is_not_followed(tmp_path):
    (tmp_path / "secret").write_bytes(b"123456")
    (tmp_path / "source").symlink_to("secret")
    entry = Entry(FILE, 0o644, size=6, content=Region(os.fsencode(tmp_path / "source"), 0, 6))
    with pytest.raises(ToolError, match=r"cannot read .*source"):
        layer(tmp_path, delta(Tree(), {"a": entry}))
