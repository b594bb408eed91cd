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
from .tree import DIRECTORY, ancestors, encode, parent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .tree import Tree

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEAR = 64  # directories held open, far below any limit on descriptors


@contextlib.contextmanager
def placing(what: str, hint: str = "") -> Iterator[None]:
    """Turns what the operating system refuses into an error that names the path; `hint` is for what is not allowed."""
    try:
        yield
    except (ValueError, OverflowError) as error:
        raise InputError(f"{what}: holds what no file system can: {error}") from error
    except OSError as error:
        message = f"cannot write {what}: {error.strerror}"
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(message) from error
        denied = error.errno in (errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP)
        raise ToolError(message, hint=hint if denied else "") from error


class Place:
    """The directory that is filled, beside the final one; a context manager, which leaves it where it is."""

    def __init__(self, final: str) -> None:
        folder, name = os.path.split(final)
        with placing(folder):
            # Until the end only the caller may look in: set-user-ID files get their modes before all is written.
            self.path = tempfile.mkdtemp(prefix=f".{name[:50]}.tmp-", dir=folder)
            self._top = os.open(self.path, _OPEN_DIRECTORY)
        self._near: OrderedDict[str, int] = OrderedDict()
        for name in ("system.posix_acl_default", "system.posix_acl_access"):
            # What the folder around gives to all that is made in it is no part of the image.
            with contextlib.suppress(OSError):
                os.removexattr(self._top, name)

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        while self._near:
            os.close(self._near.popitem()[1])
        os.close(self._top)

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
        return self.directory(parent(path)), encode(path.rpartition("/")[2])

    def remove(self, tree: Tree) -> None:
        """Remove all that was written of the tree, as far as that goes, and the directory itself."""
        for path, entry in reversed(list(tree.walk())):
            with contextlib.suppress(OSError):
                if not path:
                    os.rmdir(self.path)
                    continue
                folder, name = self.at(path)
                if entry.kind == DIRECTORY:
                    os.rmdir(name, dir_fd=folder)
                else:
                    os.unlink(name, dir_fd=folder)
