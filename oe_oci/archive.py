# SPDX-License-Identifier: MIT
"""An image layout as one file: at once an OCI archive and an archive for `docker load`.

Must not know how the layout came to be.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from . import tar
from .blob import BlobWriter
from .errors import ToolError
from .tree import DIRECTORY, FILE, Entry, ancestors, join, order

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .compress import Method
    from .content import Content


class ArchiveFacts(NamedTuple):
    """The archive file's SHA-256, in hexadecimal, and its size."""

    digest: str
    size: int


def write_archive(
    path: str, files: Mapping[str, Content], top: str, method: Method, *, jobs: int, epoch: int
) -> ArchiveFacts:
    """Write the files of a layout, by their path in it, as a tar archive at `path`, below the directory `top` if any.

    Every entry has the time `epoch`, root as its owner and the same mode on any host.

    Raises:
        ToolError: the disk is full or a file can not be read.
    """
    entries = {join(top, name): Entry(FILE, 0o644, mtime=epoch, size=c.size, content=c) for name, c in files.items()}
    for name in list(entries):
        for up in ancestors(name):
            if up:
                entries[up] = Entry(DIRECTORY, 0o755, mtime=epoch)
    size = len(tar.END) + sum(tar.member_size(*item) for item in entries.items()) if method.sized else 0
    try:
        with open(path, "wb") as file, BlobWriter(file, method, jobs, size) as blob:
            for name in sorted(entries, key=order):
                tar.write_member(blob, name, entries[name])
            blob.write(tar.END)
            facts = blob.finish()
            os.fchmod(file.fileno(), 0o644)
    except OSError as error:
        raise ToolError(f"cannot write {path}: {error.strerror}") from error
    return ArchiveFacts(facts.digest, facts.size)
