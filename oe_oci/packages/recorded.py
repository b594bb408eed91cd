# SPDX-License-Identifier: MIT
"""What earlier builds made of layers of packages: facts as JSON, the bytes of files in the layers that the cache has.

Must not know what a record is known by, or what made the files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from ..content import Part
from ..errors import InputError, ToolError
from ..members import Listing, from_json
from ..oci.layout import uncompressed
from ..stream import FileStream
from ..tree import FILE, order
from ..untar import Archive, Member

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    from ..content import Content, Region
    from ..digests import Digests
    from ..memory import Memory
    from ..notes import Notes
    from ..store import CachedLayer, Store
    from ..tree import Entry, Tree


class Record(NamedTuple):
    """What is kept under a key, and the layer that has the bytes of files, None where it needs none."""

    value: dict[str, Any]
    layer: Layer | None


class Records:
    """The records in `memory`, with the layers in `store`; a context manager.

    Layers are unpacked in `folder`, each when a file of it is first asked for.
    """

    def __init__(self, memory: Memory, store: Store, folder: str) -> None:
        self._memory = memory
        self._store = store
        self._folder = folder
        self._taken: dict[tuple[str, ...], Layer] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Records:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def find(self, key: str, kind: str) -> Record | None:
        """What is kept under a key, as of `Memory.recall`; its `layer` says where the layer is.

        None where nothing is, or that layer is not whole.

        Raises:
            ToolError: the disk is full.
        """
        value = self._memory.recall(key, kind)
        if value is None:
            return None
        layer = None if value["layer"] is None else self._take(value["layer"])
        return None if layer is None and value["layer"] is not None else Record(value, layer)

    def _take(self, where: Sequence[str]) -> Layer | None:
        """A layer by its shape and key, every byte of it checked; None where it is not whole."""
        place = tuple(where)
        if place not in self._taken:
            found = self._store.find(*place)
            if isinstance(found, str):
                return None
            layer = Layer(found, self._folder, self._memory.notes)
            # At hand from now on: whoever cleans up the cache meanwhile does not take it away.
            if self._store.take(found, layer.path):
                return None
            self._taken[place] = self._stack.enter_context(layer)
        return self._taken[place]


class Layer:
    """A layer of the cache, unpacked when a file of it is first asked for; a context manager."""

    def __init__(self, cached: CachedLayer, folder: str, notes: Notes | None) -> None:
        self.path = os.path.join(folder, f"recalled-{cached.blob.digest.hex}")
        self.notes = notes
        self._digest = cached.blob.digest.hex
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self._lock = threading.Lock()
        self._plain: Region | None = None
        self._offsets: dict[str, int] = {}

    def __enter__(self) -> Layer:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def content(self, path: str, size: int, digest: str) -> Content:
        """A file of the layer, of `size` bytes with that SHA-256 in hexadecimal."""
        return Part(_File(self, path), 0, size, digest)

    def place(self, path: str) -> tuple[Region, int]:
        """The layer's tar, and where in it the bytes of a file begin.

        Raises:
            InputError, ToolError: it can not be unpacked, or the file is not in it.
        """
        with self._lock:
            if self._plain is None:
                self._plain = self._stack.enter_context(
                    uncompressed(self.path, scratch=self._folder, digest=self._digest)
                )
                with open(self._plain.path, "rb") as file:
                    archive = Archive(FileStream(file, 0, self._plain.size), self.path)
                    self._offsets = {member.path: member.offset for member in archive if member.hardlink is None}
            if path not in self._offsets:
                raise InputError(f"{self.path}: holds no {path}", hint="run 'oe-oci cache verify'")
            return self._plain, self._offsets[path]


class _File:
    """The bytes of a file of a layer."""

    def __init__(self, layer: Layer, path: str) -> None:
        self.notes = layer.notes
        self._layer = layer
        self._path = path

    def readinto(self, view: memoryview, offset: int) -> None:
        """Fill the whole of `view` with the bytes from `offset` on."""
        plain, begin = self._layer.place(self._path)
        try:
            with open(plain.path, "rb", buffering=0) as file:
                count = os.preadv(file.fileno(), [view], begin + offset)
        except OSError as error:
            raise ToolError(f"cannot read {os.fsdecode(plain.path)}: {error.strerror}") from error
        if count != len(view):
            raise InputError(f"{os.fsdecode(plain.path)}: ends early")


# ---- what is written down


def line(value: Any) -> bytes:
    """A JSON value as a line of what a key is made of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


class EntryDigests:
    """Trees as digests of their entries, which a key is made of. Each is made once, in however many trees it is."""

    def __init__(self, digests: Digests) -> None:
        self._digests = digests
        self._known: dict[str, tuple[Entry, str, bytes]] = {}

    def of(self, tree: Tree) -> Iterator[bytes]:
        """Of each entry of a tree, in order, the SHA-256 of all its facts, the digest of its content among them.

        Raises:
            InputError, ToolError: a file can not be read.
        """
        first: dict[object, str] = {}
        for path in sorted(tree.entries, key=order):
            entry = tree.entries[path]
            name = "" if entry.inode is None else first.setdefault(entry.inode, path)
            known = self._known.get(path)
            if known is None or known[0] is not entry or known[1] != name:
                self._known[path] = known = entry, name, self._digest(path, entry, name)
            yield known[2]

    def _digest(self, path: str, entry: Entry, name: str) -> bytes:
        digest = "" if entry.content is None else self._digests(entry.content).hex()
        xattrs = [(key, data.hex()) for key, data in entry.xattrs]
        return hashlib.sha256(line([path, *entry[:7], entry.device, xattrs, name, digest])).digest()


def first_names(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """The entries without further names of an inode: the first one has the content."""
    first: dict[object, str] = {}
    found = {}
    for path in sorted(entries, key=order):
        inode = entries[path].inode
        if inode is None or first.setdefault(inode, path) == path:
            found[path] = entries[path]
    return found


def listing(entries: Mapping[str, Entry], digests: Digests) -> dict[str, Any]:
    """Entries as JSON, for `entries_of`: all facts, and the digests of contents."""
    first: dict[object, str] = {}
    members, known = [], []
    for number, path in enumerate(sorted(entries, key=order)):
        entry = entries[path]
        target = None if entry.inode is None else first.setdefault(entry.inode, path)
        members.append(Member(path, entry, target if target != path else None, number, "", "", ""))
        known.append("" if entry.content is None else digests(entry.content).hex())
    return Listing(members, known).to_json()


# ---- what is made of it


def entries_of(
    listed: dict[str, Any], content: Callable[[str, int, str], Content | None], mark: Hashable
) -> dict[str, Entry] | None:
    """The entries of a listing; None where the content of one is nowhere.

    `content` is asked by path, size and SHA-256 in hexadecimal. Inodes are told from those of others by `mark`.
    """
    entries: dict[str, Entry] = {}
    for member, digest in zip(*from_json(listed)):
        if member.hardlink is not None:
            first = entries[member.hardlink]
            entries[member.hardlink] = first._replace(inode=(mark, member.hardlink))
            entries[member.path] = entries[member.hardlink]
            continue
        entry, found = member.entry, None
        if entry.kind == FILE:
            found = content(member.path, entry.size, digest)
            if found is None:
                return None
        entries[member.path] = entry._replace(content=found)
    return entries
