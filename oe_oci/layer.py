# SPDX-License-Identifier: MIT
"""A delta written as a layer blob: tar, diff ID, compression and digest in one pass over the bytes.

Follows layer.md of the OCI image specification. Must not know caches, manifests or where the entries come from.
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, NamedTuple

from . import tar
from .blob import BlobWriter
from .changeset import WHITEOUT
from .errors import ToolError
from .oci.spec import LAYER, Descriptor, Digest
from .tree import FILE, Entry, join, order, parent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .compress import Method
    from .delta import Delta

_ENDINGS = {"gzip": "+gzip", "zstd": "+zstd", "none": ""}


class LayerBlob(NamedTuple):
    """A finished layer: its descriptor, the digest of its tar, and the tar's size in bytes."""

    descriptor: Descriptor
    diff_id: Digest
    raw_size: int


class Member(NamedTuple):
    path: str
    entry: Entry
    hardlink: str | None


def members(delta: Delta, epoch: int) -> Iterator[Member]:
    """The tar members of a delta, in order: a directory, its whiteouts, then what is in it.

    A hard link follows the first of its names that the layer has. Whiteouts have the time `epoch`.
    """
    whiteouts = {_whiteout(path): Entry(FILE, 0o644, mtime=epoch) for path in delta.removed}
    first: dict[object, str] = {}
    for path in sorted([*delta.entries, *whiteouts], key=lambda path: _before_siblings(path, path in whiteouts)):
        entry = whiteouts.get(path) or delta.entries[path]
        target = None if entry.inode is None else first.setdefault(entry.inode, path)
        yield Member(path, entry, target if target != path else None)


def _whiteout(path: str) -> str:
    return join(parent(path), WHITEOUT + path.rpartition("/")[2])


def _before_siblings(path: str, whiteout: bool) -> str:
    # A name can not hold NUL, so two of them come before every sibling.
    return order(parent(path)) + "\0\0" + path.rpartition("/")[2] if whiteout else order(path)


def write_layer(delta: Delta, folder: str, method: Method, *, jobs: int, epoch: int) -> LayerBlob:
    """Write a delta as a blob into `folder`, a layout's `blobs/sha256`, under its digest's name.

    Raises:
        InputError: a file is not as it was scanned.
        ToolError: a file can not be read, or the disk is full.
    """
    written = list(members(delta, epoch))
    size = len(tar.END) + sum(tar.member_size(*member) for member in written) if method.sized else 0
    try:
        descriptor, name = tempfile.mkstemp(dir=folder, prefix="layer-")
        with open(descriptor, "wb") as file, BlobWriter(file, method, jobs, size) as blob:
            for member in written:
                tar.write_member(blob, *member)
            blob.write(tar.END)
            facts = blob.finish()
            os.fchmod(file.fileno(), 0o644)
        os.rename(name, os.path.join(folder, facts.digest))
    except OSError as error:
        raise ToolError(f"cannot write a layer into {folder}: {error.strerror}") from error
    media_type = LAYER + _ENDINGS[method.algorithm]
    return LayerBlob(
        Descriptor(media_type, Digest("sha256", facts.digest), facts.size),
        Digest("sha256", facts.raw_digest),
        facts.raw_size,
    )
