# SPDX-License-Identifier: MIT
"""A base image's layers that an earlier build read: recalled as they are, and only where they are the same."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support.blobs import layer, layout, member, pack, sha256

from oe_oci import base as base_module
from oe_oci import content as content_module
from oe_oci import decompress
from oe_oci.base import open_base
from oe_oci.config import BaseRef
from oe_oci.content import Stored, pieces, whole
from oe_oci.digests import Digests
from oe_oci.errors import InputError, ToolError
from oe_oci.memory import Memory
from oe_oci.oci import layout as layout_module
from oe_oci.oci.spec import Platform

if TYPE_CHECKING:
    from pathlib import Path

AMD = Platform("linux", "amd64")
LATER = time.time_ns() + 3600 * 10**9  # when a build begins that may trust what was just written
IMAGE = "0" * 64
LOWER = layer(
    member("etc", kind="d"),
    member("etc/passwd", b"root:x:0:0::/:/bin/sh\n"),
    member("gone/deep/file", b"gone"),
    member("hidden/file", b"hidden"),
    member("usr/a", b"a" * 5000, mode=0o4755, uid=3, gid=1 << 22, mtime=-5),
    member("usr/b", kind="h", link="usr/a"),
    member("usr/link", kind="l", link="a\udcff"),
    member("usr/caf\udce9", b"\xff", xattrs={"user.x": b"\xff\0y"}),
)
UPPER = layer(
    member("gone/.wh.deep"),
    member("hidden/.wh..wh..opq"),
    member("hidden/new", b"new"),
    member("usr/c", kind="h", link="usr/a"),
    member("usr/link", b"a file now"),
    compression="none",
)


class Read(NamedTuple):
    """What a build saw of a base: entries with their contents' facts, bytes, blobs that were copied."""

    entries: dict[str, Any]
    texts: dict[str, bytes]
    blobs: dict[str, tuple[int, bytes]]


class Builds:
    """Builds one after the other on one base, each of which remembers it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.stage = place / "stage"
        self.folder = place / "memory"

    def memory(self, **how: Any) -> Memory:
        return Memory(str(self.folder), Digests(str(self.folder / "digests" / IMAGE), **{"began": LATER, **how}), IMAGE)

    def read(self, path: str, *, limit: int | None = None, texts: bool = True, **how: Any) -> Read:
        memory = self.memory(**how)
        shutil.rmtree(self.stage, ignore_errors=True)
        ref = BaseRef(path, "latest", path)
        with open_base(ref, AMD, blobs=str(self.stage), limit=limit, scratch=None, memory=memory) as base:
            entries = {p: e._replace(content=e.content and e.content[1:4]) for p, e in base.tree.entries.items()}
            found = {p: whole(e.content) for p, e in base.tree.entries.items() if p == "etc/passwd"}
            if texts:
                found = {p: data(e.content) for p, e in base.tree.entries.items() if e.content is not None}
            memory.save()
        blobs = {p.name: (p.stat().st_mode & 0o777, p.read_bytes()) for p in self.stage.rglob("*") if p.is_file()}
        return Read(entries, found, blobs)

    def error(self, path: str, **how: Any) -> str:
        with pytest.raises((InputError, ToolError)) as caught:
            self.read(path, **how)
        return str(caught.value)


def data(content: Any) -> bytes:
    assert isinstance(content, Stored)
    return b"".join(map(bytes, pieces(content)))


@pytest.fixture
def builds(tmp_path):
    return Builds(tmp_path)


@pytest.fixture
def cloning(monkeypatch):
    """A file system where files can share bytes."""

    def clone(source, sink):
        with open(source.path, "rb") as file:
            file.seek(source.offset)
            sink.write(file.read(source.size))
        return True

    monkeypatch.setattr(base_module, "clone", clone)


@pytest.fixture
def sealed(monkeypatch):
    """From its call on no layer may be unpacked; with `hashed` given as False none may be hashed either."""

    def refuse(*_, **__):
        raise AssertionError("read")

    def seal(*, hashed: bool) -> None:
        monkeypatch.setattr(decompress, "decompress", refuse)
        if not hashed:
            monkeypatch.setattr(base_module, "pieces", refuse)

    return seal


@pytest.mark.parametrize("packed", [False, True])
def test_a_layer_that_did_not_change_is_not_read(tmp_path, builds, sealed, cloning, packed):
    path = layout(tmp_path / "a", LOWER, UPPER)
    path = pack(path) if packed else path
    first = builds.read(path)
    assert first.texts["usr/c"] == b"a" * 5000
    assert len(first.blobs) == 2
    assert builds.read(path) == first
    builds.read(path, texts=False)
    sealed(hashed=False)
    again = builds.read(path, texts=False)
    assert again == first._replace(texts={"etc/passwd": first.texts["etc/passwd"]})


@pytest.mark.parametrize("packed", ["", "layout", "gz"])
def test_a_layer_whose_stamp_is_another_one_is_hashed(tmp_path, builds, sealed, packed):
    path = layout(tmp_path / "a", LOWER, UPPER)
    first = builds.read(path, texts=False)
    shutil.copytree(path, tmp_path / "b")
    path = pack(str(tmp_path / "b")) if packed else str(tmp_path / "b")
    if packed != "gz":
        sealed(hashed=True)
    else:
        with open(path, "rb") as file, open(path + ".gz", "wb") as target:
            target.write(gzip.compress(file.read()))
        path += ".gz"
    again = builds.read(path, texts=False)
    inodes = [{p: e.inode and e.inode[1:] for p, e in one.entries.items()} for one in (first, again)]
    assert inodes[0] == inodes[1]
    assert (again.blobs, again.texts) == (first.blobs, first.texts)


def test_a_layer_that_has_to_be_copied_is_hashed(tmp_path, builds, monkeypatch):
    """Else damage that no time tells of would be passed on."""
    for module in (layout_module, content_module):
        monkeypatch.setattr(module, "stamp_of", lambda _facts: bytes(40))
    path = layout(tmp_path / "a", LOWER)
    (blob,) = builds.read(path).blobs
    with open(tmp_path / "a" / "blobs" / "sha256" / blob, "r+b") as file:
        file.write(b"x")
    assert f"{blob}: the blob's digest is sha256:" in builds.error(path)


def test_paranoid(tmp_path, builds, monkeypatch, cloning):
    path = layout(tmp_path / "a", LOWER, UPPER)
    first = builds.read(path)
    hashed = []
    read = base_module.pieces
    monkeypatch.setattr(base_module, "pieces", lambda region: hashed.append(region) or read(region))
    assert builds.read(path) == first
    assert hashed == []
    assert builds.read(path, paranoid=True) == first
    assert len(hashed) == 2
    for times in (2, 4):  # the first knows what was kept, and keeps nothing of what is so new
        assert builds.read(path, began=None) == first
        assert len(hashed) == times


def test_nothing_is_copied_for_a_plan(tmp_path, builds, sealed):
    path = layout(tmp_path / "a", LOWER)
    builds.read(path)
    sealed(hashed=False)
    with open_base(BaseRef(path, "latest", path), AMD, memory=builds.memory()) as base:
        assert base.tree.entries["usr/a"].size == 5000


def test_errors_are_those_of_a_first_build(tmp_path, builds):
    path = layout(tmp_path / "a", LOWER, UPPER)
    builds.read(path)
    wrong = {
        "type": LOWER._replace(media_type=UPPER.media_type),
        "diff ID": LOWER._replace(diff_id=sha256(b"other")),
        "digest": LOWER._replace(blob=LOWER.blob[:-9] + b"x" + LOWER.blob[-8:]),
        "size": LOWER._replace(size=LOWER.size + 1),
    }
    fresh = Builds(tmp_path / "fresh")
    for name, changed in wrong.items():
        path = layout(tmp_path / name, changed, UPPER)
        assert builds.error(path) == fresh.error(path)
    path = layout(tmp_path / "limit", LOWER, UPPER)
    assert builds.error(path, limit=2000) == fresh.error(path, limit=2000)
    builds.read(path)
    os.unlink(os.path.join(path, "blobs", "sha256", LOWER.digest[7:]))
    assert builds.error(path) == fresh.error(path)


def test_a_blob_that_changes_in_place(tmp_path, builds):
    path = layout(tmp_path / "a", LOWER, UPPER)
    builds.read(path)
    name = os.path.join(path, "blobs", "sha256", LOWER.digest[7:])
    with open(name, "r+b") as file:
        file.seek(-1, 2)
        file.write(b"x")
    os.utime(name, ns=(0, 0))
    assert builds.error(path) == Builds(tmp_path / "fresh").error(path)


def test_a_hard_link_to_a_layer_below_is_to_the_file_that_is_there_now(tmp_path, builds):
    builds.read(layout(tmp_path / "a", LOWER, UPPER))
    other = layer(member("usr/a", b"other"))
    path = layout(tmp_path / "b", other, UPPER)
    found = builds.read(path)
    assert found.texts["usr/c"] == b"other"
    assert builds.read(path) == found
    path = layout(tmp_path / "c", layer(member("x")), UPPER)
    error = builds.error(path)
    assert "hard link to missing /usr/a" in error
    assert error == Builds(tmp_path / "fresh").error(path)


@pytest.mark.parametrize("how", ["empty", "cut", "flipped", "directory"])
def test_damage_costs_time_alone(tmp_path, builds, how):
    path = layout(tmp_path / "a", LOWER, UPPER)
    first = builds.read(path)
    for file in [each for each in builds.folder.rglob("*") if each.is_file()]:
        kept = file.read_bytes()
        file.unlink()
        if how == "directory":
            file.mkdir()
        else:
            flipped = kept[:-70] + bytes([kept[-70] ^ 1]) + kept[-69:]
            file.write_bytes({"empty": b"", "cut": kept[:-1], "flipped": flipped}[how])
        assert builds.read(path) == first
        if file.is_dir():
            file.rmdir()
    assert builds.read(path) == first


def test_a_layer_that_is_there_twice(tmp_path, builds):
    path = layout(tmp_path / "a", LOWER, UPPER, LOWER)
    first = builds.read(path)
    assert builds.read(path) == first
    assert builds.read(pack(path)).blobs == first.blobs


def test_what_is_kept_says_nothing_of_this_machine(tmp_path, builds):
    path = layout(tmp_path / "a", LOWER)
    builds.read(path)
    memory = builds.memory()
    value = memory.recall(LOWER.digest[7:], "layer 1")
    assert str(tmp_path) not in json.dumps(value)
