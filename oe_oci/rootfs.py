# SPDX-License-Identifier: MIT
"""The root file system the layers are taken from: a directory, or a tar archive of one.

Must not know which paths are wanted.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from .changeset import content_xattrs
from .content import Region
from .errors import InputError, ToolError
from .oci.layout import uncompressed
from .scan import Directory
from .stream import FileStream
from .tree import DIRECTORY, FILE, Entry, Source, Tree, ancestors, join, parent, resolve, shown
from .untar import Archive, Member

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .digests import Digests


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
    digests: Digests | None = None,
) -> Iterator[Source]:
    """Open a rootfs, a directory or a tar archive with any of the usual compressions; a context manager.

    A compressed archive is unpacked to a temporary file first, in the folder `scratch` where given, to at most
    `limit` bytes. `digests` knows some files of earlier builds.

    Raises:
        InputError: there is nothing at `path`, or an archive that is damaged or hostile.
        ToolError: it can not be read.
    """
    if os.path.isdir(path):
        yield Directory(path, "rootfs", lambda mtime: rootfs_time(epoch, mtime), digests=digests)
        return
    if not os.path.lexists(path):
        raise InputError(f"IMAGE_ROOTFS: there is no {path}", hint="give --rootfs DIR or TAR, or set IMAGE_ROOTFS")
    with uncompressed(path, limit=limit, scratch=scratch) as plain:
        yield _read_archive(plain, path, epoch)


def _read_archive(plain: Region, where: str, epoch: int | None) -> Tree:
    found = _Archived(plain, where, epoch)
    try:
        with open(plain.path, "rb") as file:
            for member in Archive(FileStream(file, 0, plain.size), where, whole=True):
                found.add(member)
    except OSError as error:
        raise ToolError(f"cannot read {where}: {error.strerror}") from error
    if len(found.tree) == 1:
        raise InputError(f"{where}: an empty archive")
    return found.tree


class _Archived:
    """The tree of an archive's members so far."""

    def __init__(self, plain: Region, where: str, epoch: int | None) -> None:
        self.tree = Tree({"": Entry(DIRECTORY, 0o755)})
        self._plain = plain
        self._where = where
        self._epoch = epoch
        self._occupied: set[str] = set()  # directories with something in them

    def add(self, member: Member) -> None:
        """Put one member where extracting it would: through links inside the root, replacing what was there."""
        path = self._place(member.path)
        entry = self._entry(member) if member.hardlink is None else self._linked(member, member.hardlink)
        if path in self._occupied and entry.kind != DIRECTORY:
            raise InputError(f"{self._where}: {shown(path)}: a directory with files in it becomes something else")
        for up in ancestors(path):
            self._occupied.add(up)
            if up in self.tree:
                break
            self.tree.put(up, Entry(DIRECTORY, 0o755))
        self.tree.put(path, entry)

    def _entry(self, member: Member) -> Entry:
        entry = member.entry
        return entry._replace(
            mtime=rootfs_time(self._epoch, entry.mtime),
            xattrs=content_xattrs(entry.xattrs),
            content=Region(self._plain.path, member.offset, entry.size) if entry.kind == FILE else None,
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
