# SPDX-License-Identifier: MIT
from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import shutil
from typing import Any

import pytest
from support.blobs import LAYER, Layer, LayoutMaker, layer, layout, member, pack, sha256, tar

from oe_oci import decompress
from oe_oci.content import Stored, pieces
from oe_oci.errors import InputError, ToolError
from oe_oci.oci.layout import Image, Layout, find_image, open_layout, read_image
from oe_oci.stored import LayerFiles, image_tree, layer_facts, read_layer

needs_zstd = pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed")
HELLO = member("hello", b"hello\n" * 1000, mode=0o640, uid=7, gid=8)


@contextlib.contextmanager
def opened(path: str):
    with open_layout(path) as found:
        yield found, read_image(found, find_image(found, None, None))


def tree_of(path: str, **options: Any):
    with opened(path) as (found, image), image_tree(found, image, **options) as stored:
        return stored


def raised(path: str, **options: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        tree_of(path, **options)
    return caught.value


def fails(path: str, **options: Any) -> InputError:
    """What reading the tree and counting the members both end with."""
    error = raised(path, **options)
    with opened(path) as (found, image), pytest.raises(InputError) as again:
        layer_facts(found, image, limit=options.get("limit"))
    assert str(again.value) == str(error)
    return error


def read(content: Any) -> bytes:
    return b"".join(bytes(piece) for piece in pieces(content))


@pytest.mark.parametrize("compression", ["gzip", "none", pytest.param("zstd", marks=needs_zstd)])
@pytest.mark.parametrize("packed", [False, True])
def test_a_layer_is_read_whatever_its_compression(tmp_path, compression: str, packed: bool):
    path = layout(tmp_path / "a", layer(member("first", b"1"), HELLO, compression=compression))
    path = pack(path) if packed else path
    with opened(path) as (found, image), image_tree(found, image) as stored:
        entry = stored.tree.entries["hello"]
        assert (entry.kind, entry.mode, entry.uid, entry.gid, entry.size) == ("file", 0o640, 7, 8, 6000)
        assert isinstance(entry.content, Stored)
        assert "sha256:" + entry.content.digest == sha256(HELLO.data)
        assert read(entry.content) == HELLO.data
        assert read(stored.tree.entries["first"].content) == b"1"
        assert stored.layers == layer_facts(found, image)
        (facts,) = stored.layers
        assert (facts.descriptor, facts.diff_id) == (image.layers[0], image.diff_ids[0])
        assert (facts.size, facts.entries, facts.created_by) == (10240, 2, "")


@needs_zstd
def test_zstd_is_read_by_the_program_where_there_is_no_library(tmp_path, monkeypatch):
    monkeypatch.setattr(decompress, "_zstd_decompressor", lambda: None)
    path = layout(tmp_path / "a", layer(HELLO, compression="zstd"))
    with opened(path) as (found, image), image_tree(found, image) as stored:
        assert read(stored.tree.entries["hello"].content) == HELLO.data


@pytest.mark.parametrize(
    ("media_type", "compression"),
    [
        ("application/vnd.docker.image.rootfs.diff.tar", "none"),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", "gzip"),
        pytest.param("application/vnd.docker.image.rootfs.diff.tar.zstd", "zstd", marks=needs_zstd),
    ],
)
def test_dockers_types_are_read(tmp_path, media_type: str, compression: str):
    made = layer(HELLO, compression=compression)._replace(media_type=media_type)
    assert "hello" in tree_of(layout(tmp_path / "a", made)).tree


def test_the_root_is_there_even_where_no_layer_has_it(tmp_path):
    tree = tree_of(layout(tmp_path / "a")).tree
    assert list(tree.entries) == [""]
    assert (tree.entries[""].kind, tree.entries[""].mode) == ("directory", 0o755)
    tree = tree_of(layout(tmp_path / "b", layer(member("./", kind="d", mode=0o700, uid=3)))).tree
    assert (tree.entries[""].mode, tree.entries[""].uid) == (0o700, 3)


def test_layers_are_applied_from_the_base_up(tmp_path):
    lower = layer(member("d", kind="d"), member("d/a", b"1"), member("d/b", b"2"), member("e", b"3"))
    upper = layer(member("d/.wh.a"), member("e", b"4444"), member("f", kind="h", link="e"))
    with opened(layout(tmp_path / "a", lower, upper)) as (found, image), image_tree(found, image) as stored:
        tree = stored.tree
        assert sorted(tree.entries) == ["", "d", "d/b", "e", "f"]
        assert read(tree.entries["e"].content) == read(tree.entries["f"].content) == b"4444"
        assert sorted(tree.names_of(tree.entries["e"].inode)) == ["e", "f"]
        assert [found.entries for found in stored.layers] == [4, 3]


def test_a_path_written_twice_is_two_inodes(tmp_path):
    made = layer(member("a", b"1"), member("b", kind="h", link="a"), member("a", b"2"), member("c", kind="h", link="a"))
    with opened(layout(tmp_path / "a", made)) as (found, image), image_tree(found, image) as stored:
        tree = stored.tree
        assert [read(tree.entries[name].content) for name in "abc"] == [b"2", b"1", b"2"]
        assert sorted(tree.names_of(tree.entries["a"].inode)) == ["a", "c"]
        assert tree.names_of(tree.entries["b"].inode) == ["b"]


def test_a_file_moved_by_a_link_over_a_directory_leaves_no_orphans(tmp_path):
    lower = layer(member("d/x/child", b""), member("keep", b""))
    upper = layer(member("link", kind="l", link="d"), member("link/x", b"file"))
    tree = tree_of(layout(tmp_path / "a", lower, upper)).tree
    assert sorted(tree.entries) == ["", "d", "d/x", "keep", "link"]
    assert tree.entries["d/x"].kind == "file"


@pytest.mark.parametrize("flag", ["f", "l", "p", "h"])
def test_the_root_is_a_directory(tmp_path, flag: str):
    made = layer(member("a", b""), member("./", kind=flag, link="a" if flag in "lh" else ""))
    tree_of(layout(tmp_path / "d", layer(member("./", kind="d"))))
    if flag != "f":  # a file whose name ends with a slash is an old directory
        assert "root" in str(fails(layout(tmp_path / "a", made)))


def test_a_hard_link_to_a_directory_is_refused(tmp_path):
    made = layer(member("d", kind="d"), member("e", kind="h", link="d"))
    assert "hard link to missing /d" in raised(layout(tmp_path / "a", made)).message


def test_history_goes_to_its_layers(tmp_path):
    history = [{"created_by": "one"}, {"created_by": "ENV", "empty_layer": True}, {"comment": "x"}]
    made = [layer(member(name, b"")) for name in "abc"]
    stored = tree_of(layout(tmp_path / "a", *made, config={"history": history}))
    assert [found.created_by for found in stored.layers] == ["one", "", ""]
    longer = [{"created_by": name} for name in "abcdef"]
    stored = tree_of(layout(tmp_path / "b", *made, config={"history": longer}))
    assert [found.created_by for found in stored.layers] == ["a", "b", "c"]
    assert "history[0]" in str(fails(layout(tmp_path / "c", *made, config={"history": ["x"]})))


# What an image claims, and is not so.


def test_a_digest_that_lies(tmp_path):
    good = layer(HELLO)
    error = fails(layout(tmp_path / "a", good._replace(digest="sha256:" + "0" * 64)))
    assert good.digest in error.message
    assert "0" * 64 in error.message
    assert str(tmp_path / "a") in error.message


def test_a_damaged_blob_is_named_by_its_digest_and_not_by_what_broke(tmp_path):
    good = layer(HELLO)
    broken = bytearray(good.blob)
    broken[len(broken) // 2] ^= 0xFF
    error = fails(layout(tmp_path / "a", good._replace(blob=bytes(broken))))
    assert f"digest is {sha256(bytes(broken))}" in error.message
    assert "copy the image" in error.hint


def test_a_truncated_blob(tmp_path):
    good = layer(HELLO)
    error = fails(layout(tmp_path / "a", good._replace(blob=good.blob[:-10])))
    assert f"has {len(good.blob) - 10} bytes, its descriptor says {len(good.blob)}" in error.message
    short = good.blob[:-10]
    error = fails(layout(tmp_path / "b", good._replace(blob=short, size=len(short), digest=sha256(short))))
    assert "ends in the middle" in error.message


def test_a_truncated_tar(tmp_path):
    data = tar(HELLO)
    for size in (100, 700, 2000):
        error = fails(layout(tmp_path / str(size), layer(plain=data[:size])))
        assert "damaged tar archive: ends in the middle" in error.message


def test_a_size_that_lies(tmp_path):
    good = layer(HELLO)
    assert "its descriptor says 5" in fails(layout(tmp_path / "a", good._replace(size=5))).message


def test_a_diff_id_that_lies(tmp_path):
    good = layer(HELLO)
    error = fails(layout(tmp_path / "a", good._replace(diff_id="sha256:" + "1" * 64)))
    assert f"its diff ID is {good.diff_id}, the image's config says sha256:{'1' * 64}" in error.message


def test_bytes_after_the_archive_count_for_the_diff_id(tmp_path):
    data = tar(HELLO)
    made = layer(plain=data + b"\0" * 4096)
    assert tree_of(layout(tmp_path / "a", made)).layers[0].size == len(data) + 4096
    assert "diff ID" in fails(layout(tmp_path / "b", made._replace(diff_id=sha256(data)))).message


def test_another_compression_than_the_type_says(tmp_path):
    plain = layer(HELLO, compression="none")
    error = fails(layout(tmp_path / "a", plain._replace(media_type=LAYER + "+gzip")))
    assert "its media type says compression 'gzip', its bytes look like 'none'" in error.message
    error = fails(layout(tmp_path / "b", layer(HELLO)._replace(media_type=LAYER)))
    assert "its media type says compression 'none', its bytes look like 'gzip'" in error.message


def test_a_name_may_look_like_a_compression(tmp_path):
    assert "BZh" in tree_of(layout(tmp_path / "a", layer(member("BZh", b"x"), compression="none"))).tree
    bad = layer(member("BZh", b"x"), member("y", kind="h", link="missing"), compression="none")
    assert "hard link to missing" in raised(layout(tmp_path / "b", bad)).message


@pytest.mark.parametrize(
    ("media_type", "text"),
    [
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "may not be passed on"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "may not be passed on"),
        ("application/vnd.oci.image.layer.v1.tar+br", "no media type of a layer"),
        ("", "no media type of a layer"),
    ],
)
def test_layers_that_can_not_be_used(tmp_path, media_type: str, text: str):
    assert text in fails(layout(tmp_path / "a", layer(HELLO)._replace(media_type=media_type))).message


@pytest.mark.parametrize("compression", ["gzip", pytest.param("zstd", marks=needs_zstd)])
def test_a_bomb_ends_at_the_limit(tmp_path, compression: str):
    made = layer(member("zeros", bytes(8 << 20)), compression=compression)
    error = fails(layout(tmp_path / "a", made), limit=1 << 20)
    assert "unpacks to more than 1048576 bytes" in error.message
    assert "--max-unpacked" in error.hint


def test_a_missing_blob(tmp_path):
    made = layer(HELLO)
    path = layout(tmp_path / "a", made)
    os.unlink(os.path.join(path, "blobs", "sha256", made.digest[7:]))
    assert "is missing" in fails(path).message


# Copying.


def test_blobs_are_copied_in_the_same_pass(tmp_path):
    made = [layer(HELLO), layer(member("x", b"y"), compression="none")]
    copies: list[tuple[str, io.BytesIO]] = []

    @contextlib.contextmanager
    def copy(descriptor):
        copies.append((str(descriptor.digest), io.BytesIO()))
        yield copies[-1][1]

    tree_of(layout(tmp_path / "a", *made), copy=copy)
    assert [(digest, data.getvalue()) for digest, data in copies] == [(item.digest, item.blob) for item in made]


def test_the_copy_learns_that_the_blob_is_wrong(tmp_path):
    dropped = []

    @contextlib.contextmanager
    def copy(descriptor):
        try:
            yield io.BytesIO()
        except InputError:
            dropped.append(str(descriptor.digest))
            raise

    lie = layer(HELLO)._replace(diff_id="sha256:" + "1" * 64)
    assert "diff ID" in raised(layout(tmp_path / "a", lie), copy=copy).message
    assert dropped == [lie.digest]


@pytest.mark.parametrize("when", ["open", "write", "close"])
def test_a_full_disk_under_the_copy_is_no_fault_of_the_image(tmp_path, when: str):
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Full(io.BytesIO):
        def write(self, data):
            return full() if when == "write" else super().write(data)

    @contextlib.contextmanager
    def copy(_):
        if when == "open":
            full()
        yield Full()
        if when == "close":
            full()

    with pytest.raises(ToolError, match=r"cannot copy .*No space left"):
        tree_of(layout(tmp_path / "a", layer(HELLO)), copy=copy)


# Contents.


def image_in(path: str) -> tuple[Layout, Image]:
    with opened(path) as found:
        return found


def test_a_layer_is_unpacked_once_and_removed_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = layer(HELLO, member("b", b"2"))
    with opened(layout(tmp_path / "a", made, made)) as (found, image):
        with image_tree(found, image) as stored:
            assert os.listdir(tmp_path) == ["a"]
            contents = [stored.tree.entries[name].content for name in ("hello", "b")]
            assert [read(content) for content in contents] == [HELLO.data, b"2"]
            assert len({content.unpack() for content in contents}) == 1
            (folder,) = (name for name in os.listdir(tmp_path) if name != "a")
            assert os.stat(tmp_path / folder).st_mode & 0o777 == 0o700
        assert os.listdir(tmp_path) == ["a"]


def test_an_uncompressed_layer_is_read_where_it_lies(tmp_path, monkeypatch):
    made = layer(HELLO, compression="none")
    path = layout(tmp_path / "a", made)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with opened(path) as (found, image), image_tree(found, image) as stored:
        content = stored.tree.entries["hello"].content
        assert content.unpack() == os.fsencode(f"{path}/blobs/sha256/{made.digest[7:]}")
        assert read(content) == HELLO.data


def test_no_room_to_unpack(tmp_path, monkeypatch):
    found, image = image_in(layout(tmp_path / "a", layer(HELLO)))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with LayerFiles(found, None, None) as files, pytest.raises(ToolError, match=r"cannot unpack .*No such file"):
        files.path(image.layers[0], image.diff_ids[0])


def test_a_blob_that_changes_between_the_passes_is_noticed(tmp_path):
    made = layer(HELLO)
    path = layout(tmp_path / "a", made)
    with opened(path) as (found, image), image_tree(found, image) as stored:
        other = layer(member("hello", b"HELLO\n" * 1000)).blob
        with open(os.path.join(path, "blobs", "sha256", made.digest[7:]), "wb") as file:
            file.write(other[: len(made.blob)].ljust(len(made.blob), b"\0"))
        with pytest.raises(InputError, match="the blob's digest is"):
            read(stored.tree.entries["hello"].content)


def test_what_the_consumer_leaves_is_checked_too(tmp_path):
    made = layer(HELLO, member("more", bytes(3 << 20)))
    for number, lie in enumerate(({"digest": "sha256:" + "0" * 64}, {"diff_id": "sha256:" + "0" * 64})):
        found, image = image_in(layout(tmp_path / str(number), made._replace(**lie)))
        with pytest.raises(InputError), read_layer(found, image.layers[0], image.diff_ids[0]) as opened_layer:
            next(iter(opened_layer.archive))


def test_an_error_of_the_consumer_is_its_own(tmp_path):
    found, image = image_in(layout(tmp_path / "a", layer(HELLO)))
    with pytest.raises(KeyError), read_layer(found, image.layers[0], image.diff_ids[0]):
        raise KeyError


def test_sha512(tmp_path):
    made = layer(HELLO)
    maker = LayoutMaker(tmp_path / "a")
    diff_id = "sha512:" + hashlib.sha512(tar(HELLO)).hexdigest()
    path = maker.image(made._replace(diff_id=diff_id)).path
    assert "hello" in tree_of(path).tree
    other = Layer(made.blob, made.media_type, "sha512:" + "0" * 128, made.size, made.digest)
    assert f"its diff ID is {diff_id}" in raised(layout(tmp_path / "b", other)).message
