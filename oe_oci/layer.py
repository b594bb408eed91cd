# SPDX-License-Identifier: MIT
"""A delta written as a layer blob: tar, diff ID, compression and digest in one pass over the bytes.

Follows layer.md of the OCI image specification. Must not know caches, manifests or where the entries come from.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING, Callable, NamedTuple

from . import tar
from .blob import BlobWriter
from .changeset import WHITEOUT
from .content import Content, Part, Stored
from .errors import ToolError
from .oci.spec import LAYER, Descriptor, Digest
from .tree import FILE, Entry, join, order, parent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from .blob import BlobFacts
    from .compress import Method
    from .delta import Delta

_ENDINGS = {"gzip": "+gzip", "zstd": "+zstd", "none": ""}


class LayerBlob(NamedTuple):
    """A finished layer: its descriptor, the digest of its tar, and the tar's size in bytes."""

    descriptor: Descriptor
    diff_id: Digest
    raw_size: int

    @property
    def name(self) -> str:
        """The name of the blob's file in a layout's `blobs/sha256`."""
        return self.descriptor.digest.hex


Seen = Callable[[Content, bytes], None]
Finish = Callable[[], LayerBlob]


class Member(NamedTuple):
    """A member of a layer's tar: `hardlink` is the path of an earlier one that this is another name of."""

    path: str
    entry: Entry
    hardlink: str | None


def members(delta: Delta, epoch: int) -> Iterator[Member]:
    """The tar members of a delta, in order: a directory, its whiteouts, then what is in it.

    A hard link follows the first of its names that the layer has. Whiteouts have the time `epoch`.
    """
    entries = delta.entries  # which are in order but for what is put between them
    if delta.removed:
        whiteouts = {_whiteout(path): Entry(FILE, 0o644, mtime=epoch) for path in delta.removed}
        entries = {**entries, **whiteouts}
        entries = {
            path: entries[path] for path in sorted(entries, key=lambda path: _before_siblings(path, path in whiteouts))
        }
    first: dict[object, str] = {}
    for path, entry in entries.items():
        target = None if entry.inode is None else first.setdefault(entry.inode, path)
        yield Member(path, entry, target if target != path else None)


def _whiteout(path: str) -> str:
    return join(parent(path), WHITEOUT + path.rpartition("/")[2])


def _before_siblings(path: str, whiteout: bool) -> str:
    # A name can not hold NUL, so two of them come before every sibling.
    return order(parent(path)) + "\0\0" + path.rpartition("/")[2] if whiteout else order(path)


class LayerWriter:
    """Writes members as a blob into `folder`, a layout's `blobs/sha256`, under its digest's name; a context manager.

    `written` are the members. Where the writer is left before `finish` is done, an unfinished file stays in the folder.

    Raises:
        ToolError: a file can not be read, or the disk is full; so do the methods.
    """

    def __init__(self, written: Sequence[Member], folder: str, method: Method, *, jobs: int) -> None:
        import tempfile  # noqa: PLC0415 - most layers are known

        self._written, self._folder = written, folder
        self._media_type = LAYER + _ENDINGS[method.algorithm]
        size = len(tar.END) + sum(tar.member_size(*member) for member in written) if method.sized else 0
        with self._writing():
            descriptor, self._name = tempfile.mkstemp(dir=folder, prefix="layer-")
        self._file = open(descriptor, "wb")  # noqa: SIM115 - closed by __exit__
        self._blob = BlobWriter(self._file, method, jobs, size)

    def __enter__(self) -> LayerWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._blob.__exit__()
        with self._writing():
            self._file.close()

    def write(self, seen: Seen | None = None) -> Finish:
        """Read all members; what they are compressed to may be written later, as late as the call of the result.

        `seen` is told of each file's content and the SHA-256 of the bytes that were read.

        Raises:
            InputError: a file is not as it was scanned.
        """
        with self._writing():
            for member in self._written:
                _write_member(self._blob, member, seen)
            self._blob.write(tar.END)
            facts = self._blob.end()
        return lambda: self._finish(facts)

    def _finish(self, written: Future[BlobFacts]) -> LayerBlob:
        with self._writing():
            facts = written.result()
            os.fchmod(self._file.fileno(), 0o644)
            os.rename(self._name, os.path.join(self._folder, facts.digest))
        return LayerBlob(
            Descriptor(self._media_type, Digest("sha256", facts.digest), facts.size),
            Digest("sha256", facts.raw_digest),
            facts.raw_size,
        )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ToolError(f"cannot write a layer into {self._folder}: {error.strerror}") from error


def _write_member(blob: BlobWriter, member: Member, seen: Seen | None) -> None:
    content = member.entry.content
    if seen is None or content is None or member.hardlink is not None:
        tar.write_member(blob, *member)
    elif isinstance(content, (Part, Stored)):
        # Of an archive whose digest is known, and so no other bytes than those that were hashed when it was read.
        tar.write_member(blob, *member)
        seen(content, bytes.fromhex(content.digest))
    else:
        state = hashlib.sha256()
        tar.write_member(blob, *member, state=state)
        seen(content, state.digest())
