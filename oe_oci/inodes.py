# SPDX-License-Identifier: MIT
"""Inodes made on disk as entries tell: files, directories, links and devices, with every fact.

Under fakeroot or pseudo the facts are what they are told. Must not know what the inodes are for.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Callable

from .content import pieces
from .errors import InputError, ToolError
from .tree import BLOCK, CHAR, DIRECTORY, FIFO, FILE, SYMLINK, decode, encode, order, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .tree import Entry

Read = Callable[["Entry"], "Iterator[memoryview]"]

_DEVICES = {CHAR: stat.S_IFCHR, BLOCK: stat.S_IFBLK}
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_INHERITED = ("system.posix_acl_default", "system.posix_acl_access")


class Inodes:
    """Makes inodes in the directory `root`.

    Errors tell that they were made `purpose`, and give `hint` where the caller has not the right to make one.
    """

    def __init__(self, root: str, purpose: str, hint: str) -> None:
        self._root = encode(root)
        self._purpose = purpose
        self._hint = hint

    def name(self, path: str) -> bytes:
        """Where a path is on disk."""
        return os.path.join(self._root, encode(path)) if path else self._root

    def begin(self) -> None:
        """Rid the directory, which is there and empty, of what all that is made in it would inherit."""
        for name in _INHERITED:
            # What the folder around gives to all that is made in it is no part of the image.
            with contextlib.suppress(OSError):
                os.removexattr(self._root, name)

    def make(self, entries: Mapping[str, Entry], paths: Iterable[str], read: Read | None = None) -> None:
        """Make what the entries at the paths are, but for their facts; `read` gives the bytes of a file.

        Raises:
            InputError, ToolError: a content can not be read, or something not be made.
        """
        first: dict[object, str] = {}
        for path in sorted(paths, key=order):
            entry, name = entries[path], self.name(path)
            with self.placing(path):
                if entry.inode is not None and entry.inode in first:
                    os.link(self.name(first[entry.inode]), name, follow_symlinks=False)
                    continue
                first[entry.inode] = path
                if entry.kind == DIRECTORY:
                    if path:
                        os.mkdir(name, 0o700)
                elif entry.kind == FILE:
                    _write(name, (read or _read)(entry))
                elif entry.kind == SYMLINK:
                    os.symlink(encode(entry.target), name)
                elif entry.kind == FIFO:
                    os.mkfifo(name, 0o600)
                else:
                    os.mknod(name, _DEVICES[entry.kind] | 0o600, os.makedev(*entry.device))

    def dress(self, entries: Mapping[str, Entry], paths: Iterable[str]) -> None:
        """Give what is at the paths the facts of its entry, a directory after all that is in it.

        Raises:
            InputError, ToolError: one can not be set.
        """
        directories = []
        for path in paths:
            if entries[path].kind == DIRECTORY:
                directories.append(path)
            else:
                self._dress(path, entries[path])
        for path in sorted(directories, key=order, reverse=True):
            self._dress(path, entries[path])

    def _dress(self, path: str, entry: Entry) -> None:
        """Set owner, mode, attributes and time, in this order: the kernel drops bits and capabilities on chown."""
        name = self.name(path)
        with self.placing(path):
            os.chown(name, entry.uid, entry.gid, follow_symlinks=False)
            if entry.kind != SYMLINK:
                os.chmod(name, entry.mode)
            _set_attributes(name, entry)
            os.utime(name, ns=(entry.mtime * 10**9,) * 2, follow_symlinks=False)

    @contextlib.contextmanager
    def placing(self, path: str) -> Iterator[None]:
        """Turns what the operating system refuses at a path into an error."""
        try:
            yield
        except (ValueError, OverflowError) as error:
            raise InputError(f"{shown(path)}: holds what no file system can: {error}") from error
        except OSError as error:
            denied = error.errno in (errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP)
            hint = self._hint if denied else ""
            raise ToolError(f"cannot make {shown(path)} {self._purpose}: {error.strerror}", hint=hint) from error


def _set_attributes(name: bytes, entry: Entry) -> None:
    wanted = dict(entry.xattrs)
    there: list[str] = []
    with contextlib.suppress(OSError):
        there = os.listxattr(name, follow_symlinks=False)
    for key in there:
        if decode(os.fsencode(key)) not in wanted:
            with contextlib.suppress(OSError):
                os.removexattr(name, key, follow_symlinks=False)
    for key, value in wanted.items():
        os.setxattr(name, encode(key), value, follow_symlinks=False)


def _read(entry: Entry) -> Iterator[memoryview]:
    assert entry.content is not None
    return pieces(entry.content)


def _write(name: bytes, data: Iterator[memoryview]) -> None:
    descriptor = os.open(name, _NEW_FILE, 0o600)
    try:
        for piece in data:
            view = piece
            while view:
                view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)
