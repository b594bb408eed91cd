# SPDX-License-Identifier: MIT
"""The root file system the layers are taken from: a directory, or a tar archive of one.

Must not know which paths are wanted.
"""

from __future__ import annotations

import contextlib
import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Callable

from .changeset import content_xattrs
from .content import Content, Region, Stored
from .decompress import NONE, limit_for
from .errors import InputError, ToolError
from .members import Recorder, from_json
from .oci.layout import probe, uncompressed
from .scan import Directory
from .stream import FileStream
from .tree import DIRECTORY, FILE, Entry, Source, Tree, ancestors, join, parent, resolve, shown
from .untar import Archive, Member

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .memory import Memory

Locate = Callable[[Member, str], Content]

_KIND = "rootfs 1"  # the number changes with what is kept of an archive


def rootfs_time(epoch: int | None, mtime: int) -> int:
    """The time written for a file of the rootfs: its own, at most `epoch`; 0 where there is no epoch."""
    return 0 if epoch is None else max(0, min(mtime, epoch))


@contextlib.contextmanager
def open_rootfs(
    path: str,
    epoch: int | None,
    *,
    limit: int | None = None,
    scratch: str | None = None,
    memory: Memory | None = None,
) -> Iterator[Source]:
    """Open a rootfs, a directory or a tar archive with any of the usual compressions; a context manager.

    A compressed archive is unpacked to a temporary file, in the folder `scratch` where given, to at most `limit`
    bytes: at once, or, where `memory` knows what is in it, when a content is asked for.

    Raises:
        InputError: there is nothing at `path`, or an archive that is damaged or hostile.
        ToolError: it can not be read.
    """
    if os.path.isdir(path):
        digests = None if memory is None else memory.digests
        yield Directory(path, "rootfs", partial(rootfs_time, epoch), digests=digests)
        return
    if not os.path.lexists(path):
        raise InputError(f"IMAGE_ROOTFS: there is no {path}", hint="give --rootfs DIR or TAR, or set IMAGE_ROOTFS")
    file, compression = probe(path)
    if compression == NONE:
        yield _read_plain(file, path, epoch)
        return
    with _Unpacked(path, file, limit, scratch) as unpacked:
        if memory is None or not memory.keeps:
            yield _read_plain(unpacked.plain(), path, epoch)
        else:
            yield _read_compressed(unpacked, epoch, memory)


class _Unpacked:
    """A compressed archive that is unpacked when it is first asked for; a context manager."""

    def __init__(self, where: str, file: Region, limit: int | None, scratch: str | None) -> None:
        self.where = where
        self.file = file
        self.digest = ""  # of the archive, in hexadecimal, where that is known
        self.most = limit_for(file.size, limit)
        self._limit = limit
        self._scratch = scratch
        self._stack = contextlib.ExitStack()
        self._plain: Region | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> _Unpacked:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self) -> bytes:
        return self.plain().path

    def plain(self) -> Region:
        """The archive without compression.

        Raises:
            InputError: it is damaged, unpacks to too much, or is another one than it was.
            ToolError: it can not be read, or not be unpacked.
        """
        with self._lock:
            if self._plain is None:
                self._plain = self._stack.enter_context(
                    uncompressed(self.where, limit=self._limit, scratch=self._scratch, digest=self.digest)
                )
            return self._plain


def _read_plain(plain: Region, where: str, epoch: int | None) -> Tree:
    def locate(member: Member, _digest: str) -> Content:
        return Region(plain.path, member.offset, member.entry.size, plain.stamp)

    with _opened(plain, where) as archive:
        return _tree(((member, "") for member in archive), locate, where, epoch)


def _read_compressed(unpacked: _Unpacked, epoch: int | None, memory: Memory) -> Tree:
    def locate(member: Member, digest: str) -> Content:
        return Stored(unpacked, member.offset, member.entry.size, digest, memory.notes)

    digest, where = memory.digests(unpacked.file).hex(), unpacked.where
    unpacked.digest = digest
    value = memory.recall(digest, _KIND)
    if value is not None and value["size"] <= unpacked.most:
        listing = from_json(value["members"])
        return _tree(zip(listing.members, listing.digests), locate, where, epoch)
    plain = unpacked.plain()
    with _opened(plain, where) as archive:
        recorder = Recorder(archive)
        tree = _tree(_with_digests(recorder), locate, where, epoch)
    memory.keep(digest, _KIND, {"size": plain.size, "members": recorder.listing.to_json()})
    return tree


@contextlib.contextmanager
def _opened(plain: Region, where: str) -> Iterator[Archive]:
    try:
        with open(plain.path, "rb") as file:
            yield Archive(FileStream(file, 0, plain.size), where, whole=True)
    except OSError as error:
        raise ToolError(f"cannot read {where}: {error.strerror}") from error


def _with_digests(archive: Recorder) -> Iterator[tuple[Member, str]]:
    for member in archive:
        yield member, archive.digest() if member.entry.kind == FILE and member.hardlink is None else ""


def _tree(members: Iterable[tuple[Member, str]], locate: Locate, where: str, epoch: int | None) -> Tree:
    """The tree of an archive's members, given with the SHA-256 of their contents."""
    found = _Archived(locate, where, epoch)
    for member, digest in members:
        found.add(member, digest)
    if len(found.tree) == 1:
        raise InputError(f"{where}: an empty archive")
    return found.tree


class _Archived:
    """The tree of an archive's members so far."""

    def __init__(self, locate: Locate, where: str, epoch: int | None) -> None:
        self.tree = Tree({"": Entry(DIRECTORY, 0o755)})
        self._locate = locate
        self._where = where
        self._epoch = epoch
        self._occupied: set[str] = set()  # directories with something in them

    def add(self, member: Member, digest: str) -> None:
        """Put one member where extracting it would: through links inside the root, replacing what was there."""
        path = self._place(member.path)
        entry = self._entry(member, digest) if member.hardlink is None else self._linked(member, member.hardlink)
        if path in self._occupied and entry.kind != DIRECTORY:
            raise InputError(f"{self._where}: {shown(path)}: a directory with files in it becomes something else")
        for up in ancestors(path):
            self._occupied.add(up)
            if up in self.tree:
                break
            self.tree.put(up, Entry(DIRECTORY, 0o755))
        self.tree.put(path, entry)

    def _entry(self, member: Member, digest: str) -> Entry:
        entry = member.entry
        return entry._replace(
            mtime=rootfs_time(self._epoch, entry.mtime),
            xattrs=content_xattrs(entry.xattrs),
            content=self._locate(member, digest) if entry.kind == FILE else None,
        )

    def _linked(self, member: Member, hardlink: str) -> Entry:
        target = self._place(hardlink)
        entry = self.tree.entry(target)
        if entry is None or entry.kind == DIRECTORY:
            raise InputError(f"{self._where}: {shown(member.path)}: hard link to missing {shown(hardlink)}")
        if entry.inode is None:
            entry = entry._replace(inode=("rootfs", target))
            self.tree.put(target, entry)
        return entry

    def _place(self, path: str) -> str:
        if not path:
            return path
        up = resolve(self.tree, parent(path), follow=True)
        if up.entry is not None and up.entry.kind != DIRECTORY:
            raise InputError(f"{self._where}: {shown(path)}: lies in {shown(up.path)}, which is no directory")
        return join(up.path, path.rpartition("/")[2])
