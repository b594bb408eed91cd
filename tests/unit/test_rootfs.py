# SPDX-License-Identifier: MIT
"""Archives of a rootfs that an earlier build read: recalled as they are, and only where they are the same."""

from __future__ import annotations

import os
import tarfile
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.layouts import COMPRESS, Member, file, folder, hardlink, symlink, tar
from support.packages import xattrs

from oe_oci import content as content_module
from oe_oci import digests
from oe_oci import rootfs as subject
from oe_oci.content import Stored, pieces, whole
from oe_oci.digests import Digests
from oe_oci.errors import InputError
from oe_oci.memory import Memory
from oe_oci.oci import layout as layout_module
from oe_oci.rootfs import open_rootfs

if TYPE_CHECKING:
    from pathlib import Path

LATER = time.time_ns() + 3600 * 10**9  # when a build begins that may trust what was just written
IMAGE = "0" * 64
ODD = [
    folder("./"),
    folder("usr/bin", mode=0o2755, gid=5),
    symlink("bin", "usr/bin"),
    file("./bin/sh", b"sh" * 4000, mode=0o4755, uid=1 << 22, mtime=1 << 33),
    hardlink("usr/bin/ash", "bin/sh"),
    file("etc/passwd", b"root:x:0:0::/:/bin/sh\n", mtime=-1),
    file("etc/caf\udce9 \U0001f600", b"\xff\0"),
    file("able", b"x", pax=xattrs(security__capability=b"\1\0\xff", security__selinux=b"host")),
    file("twice", b"1"),
    file("twice", b"two"),
    file("empty", b""),
    Member("null", kind=tarfile.CHRTYPE, device=(1, 3)),
    Member("fifo", kind=tarfile.FIFOTYPE),
]


class Builds:
    """Builds one after the other of one rootfs, each of which remembers it."""

    def __init__(self, place: Path) -> None:
        self.folder = place / "memory"

    def read(self, path: Path, *, epoch: int | None = 1 << 32, limit: int | None = None, **how: Any) -> Any:
        """The entries with their contents' facts, and the bytes of one file."""
        known = Digests(str(self.folder / "digests" / IMAGE), **{"began": LATER, **how})
        memory = Memory(str(self.folder), known, IMAGE)
        with open_rootfs(str(path), epoch, limit=limit, memory=memory) as source:
            found = dict(source.walk(""))
            passwd = source.entry("etc/passwd")
            text = whole(passwd.content) if passwd is not None else b""
            memory.save()
        return {p: e._replace(content=e.content and e.content[1:4]) for p, e in found.items()}, text

    def texts(self, path: Path) -> dict[str, bytes]:
        memory = Memory(str(self.folder), Digests(), IMAGE)
        with open_rootfs(str(path), 0, memory=memory) as source:
            return {p: data(e.content) for p, e in source.walk("") if e.content is not None}

    def error(self, path: Path, **how: Any) -> str:
        with pytest.raises(InputError) as caught:
            self.read(path, **how)
        return str(caught.value)


def data(content: Any) -> bytes:
    return b"".join(map(bytes, pieces(content)))


def archive(place: Path, *members: Member, compression: str = "gzip") -> Path:
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(COMPRESS[compression](tar(members)))
    return place


@pytest.fixture
def builds(tmp_path):
    return Builds(tmp_path)


@pytest.fixture
def unpacked(monkeypatch):
    """The archives that were unpacked."""
    found = []
    unpack = subject.uncompressed
    monkeypatch.setattr(subject, "uncompressed", lambda path, **how: found.append(path) or unpack(path, **how))
    return found


@pytest.mark.parametrize("compression", ["gzip", "xz", "zstd", "bzip2"])
def test_a_compressed_archive_is_unpacked_once(tmp_path, builds, unpacked, compression):
    path = archive(tmp_path / "r", *ODD, compression=compression)
    first = builds.read(path)
    assert first[1] == b"root:x:0:0::/:/bin/sh\n"
    assert unpacked == [str(path)]
    assert builds.read(path) == builds.read(path, paranoid=True) == builds.read(path, began=None) == first
    assert unpacked == [str(path)]
    plain = archive(tmp_path / "plain", *ODD, compression="none")
    assert builds.texts(path) == builds.texts(plain) == Builds(tmp_path / "none").texts(path)
    assert len(unpacked) == 3  # once though many files are read


def test_hashed_only_where_it_may_have_changed(tmp_path, builds, monkeypatch):
    path = archive(tmp_path / "r", *ODD)
    builds.read(path)
    hashed = []
    hash_ = digests.content_digest
    monkeypatch.setattr(digests, "content_digest", lambda content: hashed.append(content) or hash_(content))
    builds.read(path)
    assert hashed == []
    builds.read(path, paranoid=True)
    assert [content.path for content in hashed] == [os.fsencode(path)]


def test_times_are_those_of_the_present_epoch(tmp_path, builds):
    path = archive(tmp_path / "r", *ODD)
    for epoch in (None, 0, 1 << 31, 1 << 40):
        assert builds.read(path, epoch=epoch) == Builds(tmp_path / f"{epoch}").read(path, epoch=epoch)


def test_the_same_archive_elsewhere(tmp_path, builds, unpacked):
    path = archive(tmp_path / "r", *ODD)
    first = builds.read(path)
    os.rename(path, tmp_path / "moved")
    (tmp_path / "link").symlink_to("moved")
    assert builds.read(tmp_path / "link") == first
    assert len(unpacked) == 1


def test_errors_are_those_of_a_first_build(tmp_path, builds):
    fresh = Builds(tmp_path / "fresh")
    path = archive(tmp_path / "r", *ODD)
    builds.read(path)
    assert builds.error(path, limit=3000) == fresh.error(path, limit=3000)
    path.write_bytes(path.read_bytes()[:-20])
    assert builds.error(path) == fresh.error(path)
    for members in ([], [hardlink("a", "b")], [file("a"), file("a/b")]):
        archive(path, *members)
        assert builds.error(path) == builds.error(path) == fresh.error(path)


def test_an_archive_that_changed(tmp_path, builds):
    path = archive(tmp_path / "r", *ODD)
    builds.read(path)
    archive(path, file("etc/passwd", b"other"))
    assert builds.read(path)[1] == b"other"
    archive(path, file("etc/passwd", b"OTHER"))
    assert builds.read(path)[1] == b"OTHER"


def test_an_archive_that_changes_before_it_is_unpacked(tmp_path, builds):
    path = archive(tmp_path / "r", *ODD)
    builds.read(path)
    known = Digests(str(builds.folder / "digests" / IMAGE), began=LATER)
    with open_rootfs(str(path), 0, memory=Memory(str(builds.folder), known, IMAGE)) as source:
        content = source.entry("able").content
        assert isinstance(content, Stored)
        archive(path, *ODD, file("more"))
        with pytest.raises(InputError, match=f"{path} changed while it was read"):
            data(content)


def test_an_archive_that_changes_unseen(tmp_path, builds, monkeypatch):
    """As one that is mapped into memory can: what is unpacked is held against the digest it is known by."""
    for module in (layout_module, content_module, digests):
        monkeypatch.setattr(module, "stamp_of", lambda _facts: bytes(40))
    path = archive(tmp_path / "r", file("a", b"a" * 100))
    size = path.stat().st_size
    builds.read(path)
    others = (archive(path, file("a", bytes([number]) * 100)) for number in range(1, 97))
    assert any(other.stat().st_size == size for other in others)
    known = Digests(str(builds.folder / "digests" / IMAGE), began=LATER)
    memory = Memory(str(builds.folder), known, IMAGE)
    with open_rootfs(str(path), 0, memory=memory) as source, pytest.raises(InputError, match="changed while it was"):
        data(source.entry("a").content)


def test_a_plain_archive_has_its_files_stamp(tmp_path, builds):
    path = archive(tmp_path / "r", *ODD, compression="none")
    with open_rootfs(str(path), 0) as source:
        contents = [entry.content for _, entry in source.walk("") if entry.content is not None]
    assert {content.stamp for content in contents} == {Digests().file(str(path)).stamp}
    first = Digests(str(builds.folder), began=LATER)
    expected = [first(content) for content in contents]
    first.save()
    again = Digests(str(builds.folder), began=LATER)
    assert [again.known(content) for content in contents] == expected


@pytest.mark.parametrize("how", ["empty", "cut", "flipped", "directory"])
def test_damage_costs_time_alone(tmp_path, builds, how):
    path = archive(tmp_path / "r", *ODD)
    first = builds.read(path)
    for kept in [each for each in builds.folder.rglob("*") if each.is_file()]:
        text = kept.read_bytes()
        kept.unlink()
        if how == "directory":
            kept.mkdir()
        else:
            flipped = text[:-70] + bytes([text[-70] ^ 1]) + text[-69:]
            kept.write_bytes({"empty": b"", "cut": text[:-1], "flipped": flipped}[how])
        assert builds.read(path) == first
        if kept.is_dir():
            kept.rmdir()
    assert builds.read(path) == first
