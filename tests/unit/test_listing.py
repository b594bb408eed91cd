# SPDX-License-Identifier: MIT
"""A layer's key: everything that decides its bytes, and nothing else. The pinned ones are those that caches hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st
from support.trees import device, directory, fifo, file, link, with_parents

from oe_oci.compress import BLOCK, choose
from oe_oci.config import Compression
from oe_oci.content import Literal, content_digest
from oe_oci.delta import diff
from oe_oci.layer import LayerBlob, LayerWriter, Member, members
from oe_oci.listing import COLUMNS, FORMAT, key_of, listing_of, pack, shape_of, unpack
from oe_oci.tree import FILE, Entry, Tree

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

NONE = {"name": "none"}
ZLIB_NG = {"name": "zlib-ng", "version": "2.3.3", "level": 6, "block": BLOCK}


def every_kind() -> list[Member]:
    """A layer with one of everything that a layer can hold."""
    lower = Tree(with_parents({"etc/gone": file(b"gone"), "usr/bin/a": file(b"a")}))
    wanted = with_parents(
        {
            "etc/app.conf": file(b"x=1\n", 0o600, uid=33, gid=34, mtime=1_700_000_000),
            "etc/empty": file(b""),
            "dev/null": device("c", 1, 3, 0o666),
            "dev/loop0": device("b", 7, 0, 0o660, gid=6),
            "run/fifo": fifo(0o620),
            "usr/bin/ping": file(b"ping", 0o755, xattrs=(("security.capability", b"\1\0\0\2"), ("user.é", b"\xff"))),
            "usr/bin/one": file(b"two names", 0o4755, inode="i"),
            "usr/bin/two": file(b"two names", 0o4755, inode="i"),
            "usr/lib/libx.so": link("libx.so.1"),
            "usr/share/" + "long/" * 60 + "name": file(b"l" * 3000, uid=3_000_000),
            "usr/share/\udcff\n],[": file(b"odd"),
            "var/tmp": directory(0o1777),
        }
    )
    delta = diff(lower, wanted, ["etc/gone"], lambda one, other: one == other)
    return list(members(delta, 1_600_000_000))


def digests(found: list[Member]) -> bytes:
    return b"".join(bytes.fromhex(content_digest(content)) for content in shape_of(found, NONE).contents)


def written(found: list[Member], folder: Path, *compression: Any) -> LayerBlob:
    with LayerWriter(found, str(folder), choose(Compression(*compression)), jobs=1) as writer:
        return writer.write()()


def test_pinned(tmp_path: Path) -> None:
    """Where one of these changes, FORMAT must: caches hold layers of such keys, which would be other bytes now."""
    found = every_kind()
    shape = shape_of(found, NONE)
    blob = written(found, tmp_path, "none", 0, "auto")
    assert (FORMAT, key_of(shape, digests(found)), blob.diff_id.hex) == (
        1,
        "b5b54d0bd1a56d074c1c4125dabeeb3dc54ba051cdf0f494ce8db4e00891094d",
        "bae2f0939457ac7a41d5e158a247a335499eb5d85d261bdaec0846f5fafbacab",
    )
    compressed = written(found, tmp_path, "gzip", 6, "zlib-ng")
    assert compressed.diff_id == blob.diff_id


def test_a_compressor_is_part_of_the_key(tmp_path: Path) -> None:
    found = every_kind()
    others = [{**ZLIB_NG, **change} for change in ({"name": "zlib"}, {"version": "2.4"}, {"level": 7}, {"block": 1})]
    shapes = {shape_of(found, compressor).digest for compressor in (NONE, ZLIB_NG, *others)}
    assert len(shapes) == 6


CHANGES = {
    "kind": {"kind": "fifo"},
    "mode": {"mode": 0o755},
    "uid": {"uid": 1},
    "gid": {"gid": 1},
    "mtime": {"mtime": 1},
    "size": {"size": 5},
    "target": {"target": "x"},
    "major": {"device": (1, 0)},
    "minor": {"device": (0, 1)},
    "xattr": {"xattrs": (("user.a", b"1"),)},
    "another xattr": {"xattrs": (("user.b", b"1"),)},
    "another value": {"xattrs": (("user.a", b"2"),)},
    "two xattrs": {"xattrs": (("user.a", b"1"), ("user.b", b"1"))},
}


def test_every_fact_of_a_member_is_part_of_the_shape() -> None:
    entry = file(b"data")
    shapes = {
        shape_of([Member("etc/file", entry._replace(**change), None)], NONE).digest for change in CHANGES.values()
    }
    shapes.add(shape_of([Member("etc/file", entry, None)], NONE).digest)
    shapes.add(shape_of([Member("etc/file", entry, "etc/other")], NONE).digest)
    shapes.add(shape_of([Member("etc/file2", entry, None)], NONE).digest)
    shapes.add(shape_of([Member("etc/file", entry, None)] * 2, NONE).digest)
    assert len(shapes) == len(CHANGES) + 4


def test_what_is_no_fact_of_the_bytes_is_not() -> None:
    one = shape_of([Member("etc/file", file(b"data", inode=("feed/a", 1)), None)], NONE)
    other = shape_of([Member("etc/file", file(b"atad", inode=("b", 2)), None)], NONE)
    assert one.digest == other.digest


def test_contents_are_part_of_the_key_in_their_order() -> None:
    a, b = bytes(32), bytes(31) + b"\1"
    shape = shape_of([Member("a", file(b"a"), None), Member("b", file(b"b"), None)], NONE)
    assert len({key_of(shape, digests) for digests in (a + b, b + a, a + a, b + b)}) == 4


def test_only_members_with_bytes_have_contents() -> None:
    found = every_kind()
    contents = list(shape_of(found, NONE).contents)
    assert contents == [m.entry.content for m in found if m.entry.kind == FILE and not m.hardlink and m.entry.content]
    # Among them no whiteout, no second name of a file, no folder.
    assert len(contents) == 6


def test_a_listing_says_all_of_every_member() -> None:
    found = every_kind()
    lines = list(unpack(pack(listing_of(shape_of(found, NONE), digests(found)))))
    rows = [dict(zip(COLUMNS, json.loads(line))) for line in lines]
    assert len(rows) == len(found)
    for row, (path, entry, hardlink) in zip(rows, found):
        assert (row["path"], row["hardlink"]) == (path, hardlink or "")
        assert [row[name] for name in COLUMNS[1:8]] == list(entry[:7])
        assert (row["major"], row["minor"]) == entry.device
        pairs = json.loads(row["xattrs"] or "[]")
        assert tuple((name, bytes.fromhex(value)) for name, value in pairs) == entry.xattrs
        has_content = entry.content is not None and hardlink is None
        assert row["content"] == (content_digest(entry.content) if has_content else "")


NAMES = st.text(st.sampled_from('a/],["\\\n\x1f\0 é\udcff'), max_size=8)


@given(st.lists(st.tuples(NAMES, NAMES, NAMES), min_size=1, max_size=5))
def test_no_name_can_be_taken_for_the_end_of_a_line(names: list[tuple[str, str, str]]) -> None:
    found = [
        Member(path, Entry(FILE, 0o644, target=target, content=Literal(b"")), hardlink)
        for path, target, hardlink in names
    ]
    lines = list(unpack(pack(listing_of(shape_of(found, NONE), b""))))
    rows = [json.loads(line) for line in lines]
    assert [(row[0], row[7], row[11]) for row in rows] == names


def test_many_members_are_as_few(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Member(f"file{number}", file(b""), None) for number in range(2501)]
    whole = shape_of(found, NONE)
    listing = list(unpack(pack(listing_of(whole, digests(found)))))
    assert len(listing) == 2501
    monkeypatch.setattr("oe_oci.listing._CHUNK", 7)
    assert shape_of(found, NONE) == whole
    monkeypatch.setattr("oe_oci.listing._PIECE", 11)
    assert list(unpack(pack(listing_of(whole, digests(found))))) == listing
