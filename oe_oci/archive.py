# SPDX-License-Identifier: MIT
"""An image layout as one file: at once an OCI archive and an archive for `docker load`.

Must not know how the layout came to be.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple

from . import tar
from .blob import BlobWriter
from .errors import ToolError
from .tree import DIRECTORY, FILE, Entry, ancestors, join

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .compress import Method
    from .content import Content


class ArchiveFacts(NamedTuple):
    """The archive file's SHA-256, in hexadecimal, and its size."""

    digest: str
    size: int


class Archive:
    """A tar archive at `path` to which the files of a layout are added, below the directory `top` if any.

    Every member has the time `epoch`, root as its owner and the same mode on any host. `size` is that of all members,
    where the method wants it. A context manager; the file is the caller's to remove.

    Raises:
        ToolError: the disk is full or a file can not be read; so do the methods.
    """

    def __init__(self, path: str, top: str, method: Method, *, jobs: int, epoch: int, size: int = 0) -> None:
        self._path = path
        self._members = _Members(top, epoch)
        with self._writing():
            self._file = open(path, "wb")  # noqa: SIM115 - closed by __exit__
        self._blob = BlobWriter(self._file, method, jobs, size)

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._blob.__exit__()
        with self._writing():
            self._file.close()

    def add(self, name: str, content: Content) -> None:
        """Add the file of a path in the layout, and the directories that it is the first to lie in."""
        with self._writing():
            for path, entry in self._members.of(name, content):
                tar.write_member(self._blob, path, entry)

    def finish(self) -> ArchiveFacts:
        """Write what is left. Nothing may be added after it."""
        with self._writing():
            self._blob.write(tar.END)
            facts = self._blob.finish()
            os.fchmod(self._file.fileno(), 0o644)
        return ArchiveFacts(facts.digest, facts.size)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ToolError(f"cannot write {self._path}: {error.strerror}") from error


def archive_size(files: Mapping[str, Content], top: str, epoch: int) -> int:
    """The bytes of an archive of these files, before it is compressed."""
    members = _Members(top, epoch)
    found = (member for name, content in files.items() for member in members.of(name, content))
    return len(tar.END) + sum(tar.member_size(*member) for member in found)


class _Members:
    """The members of an archive, each directory once."""

    def __init__(self, top: str, epoch: int) -> None:
        self._top, self._epoch = top, epoch
        self._directories = {""}

    def of(self, name: str, content: Content) -> Iterator[tuple[str, Entry]]:
        path = join(self._top, name)
        for up in sorted(ancestors(path)):
            if up not in self._directories:
                self._directories.add(up)
                yield up, Entry(DIRECTORY, 0o755, mtime=self._epoch)
        yield path, Entry(FILE, 0o644, mtime=self._epoch, size=content.size, content=content)
