# SPDX-License-Identifier: MIT
"""Writing below one directory and never outside: paths are reached by descriptors, and no link is followed.

Must not know images, layers or what is written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections import OrderedDict
from typing import TYPE_CHECKING

from .errors import InputError, ToolError
from .removal import remove_folder
from .tree import DIRECTORY, ancestors, encode

if TYPE_CHECKING:
    from .tree import Tree

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEAR = 64  # directories held open, far below any limit on descriptors


class placing:  # noqa: N801 - used as a statement, once a file: a generator takes three times as long
    """Turns what the operating system refuses into an error that names the path; `hint` is for what is not allowed."""

    __slots__ = ("_hint", "_what")

    def __init__(self, what: str, hint: str = "") -> None:
        self._what = what
        self._hint = hint

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, (ValueError, OverflowError)):
            raise InputError(f"{self._what}: holds what no file system can: {error}") from error
        if isinstance(error, OSError):
            message = f"cannot write {self._what}: {error.strerror}"
            if error.errno == errno.ENAMETOOLONG:
                raise InputError(message) from error
            denied = error.errno in (errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP)
            raise ToolError(message, hint=self._hint if denied else "") from error


class Place:
    """The directory `path` that is filled, in a folder beside the final one; a context manager.

    It is moved to the final place by the caller. In the same folder lies another one, of the descriptor `waiting`,
    for files that get their places later. At the end what still waits is removed, and all that is empty.
    """

    def __init__(self, final: str) -> None:
        folder, name = os.path.split(final)
        with placing(folder):
            # Until the end only the caller may look in: set-user-ID files get their modes before all is written.
            self._folder = tempfile.mkdtemp(prefix=f".{name[:50]}.tmp-", dir=folder)
            with contextlib.ExitStack() as undo:
                undo.callback(remove_folder, self._folder)
                for attribute in ("system.posix_acl_default", "system.posix_acl_access"):
                    # What the folder around gives to all that is made in it is no part of the image.
                    with contextlib.suppress(OSError):
                        os.removexattr(self._folder, attribute)
                self.path, self._waiting = (os.path.join(self._folder, name) for name in ("root", "waiting"))
                for path in (self.path, self._waiting):
                    os.mkdir(path, 0o700)
                self._top, self.waiting = (os.open(path, _OPEN_DIRECTORY) for path in (self.path, self._waiting))
                undo.pop_all()
        self._near: OrderedDict[str, int] = OrderedDict()

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        while self._near:
            os.close(self._near.popitem()[1])
        for name in os.listdir(self.waiting):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=self.waiting)
        for path, descriptor in ((self.path, self._top), (self._waiting, self.waiting)):
            os.close(descriptor)
            with contextlib.suppress(OSError):
                os.rmdir(path)
        with contextlib.suppress(OSError):
            os.rmdir(self._folder)

    def directory(self, path: str) -> int:
        """A descriptor of a directory, open at least until two others were asked for."""
        if not path:
            return self._top
        if path in self._near:
            self._near.move_to_end(path)
            return self._near[path]
        start = next(up for up in ancestors(path) if not up or up in self._near)
        current, names = self._near.get(start, self._top), encode(path[len(start) :]).strip(b"/").split(b"/")
        for number, name in enumerate(names):
            try:
                deeper = os.open(name, _OPEN_DIRECTORY, dir_fd=current)
            finally:
                if number:
                    os.close(current)
            current = deeper
        self._near[path] = current
        if len(self._near) > _NEAR:
            os.close(self._near.popitem(last=False)[1])
        return current

    def at(self, path: str) -> tuple[int, bytes]:
        """The directory a path lies in and the name in it."""
        folder, _, name = path.rpartition("/")
        return self.directory(folder), encode(name)

    def remove(self, tree: Tree) -> None:
        """Remove all that was written of the tree, as far as that goes."""
        for path, entry in reversed(list(tree.walk())[1:]):
            with contextlib.suppress(OSError):
                folder, name = self.at(path)
                if entry.kind == DIRECTORY:
                    os.rmdir(name, dir_fd=folder)
                else:
                    os.unlink(name, dir_fd=folder)
