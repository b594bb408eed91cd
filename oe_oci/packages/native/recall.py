# SPDX-License-Identifier: MIT
"""What package managers did in earlier builds, so that none need run where it would do the same again.

It is known by all that a tool is given: itself, the packages that it may choose from, the settings, and what lies
below. What files hold is taken from the layer that was made of it then, so it is recalled only as long as the cache has
that. A tool whose scripts look at the clock or at this machine is taken at its first word. Must not know how tools are
called.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, NamedTuple

from ...accounts import Owners as AskedFor
from ...content import Literal, Part, whole
from ...errors import InputError, ToolError
from ...members import Listing, from_json
from ...oci.layout import uncompressed
from ...populate import Wanted
from ...stream import FileStream
from ...tree import FILE, order
from ...untar import Archive, Member
from ..installation import Installation, LayerPackages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ...content import Content, Region
    from ...delta import Delta
    from ...memory import Memory
    from ...notes import Notes
    from ...store import CachedLayer, Store
    from ...tree import Entry, Tree
    from .catalog import Catalog
    from .manager import Request

_KIND = "native 1"  # the number changes with what is kept, and with what is made of the same
_TEXTS = 64 << 20  # bytes of a database


class Recalled(NamedTuple):
    """What installing a layer gave; `withheld` and `lost` are what the tool's root has otherwise than the image."""

    installation: Installation
    withheld: dict[str, Entry]
    lost: frozenset[str]


class Recall:
    """Recalls installations from `memory`, and their files from layers in `store`.

    `settings` are all that decides what a tool does beside what it is asked for. Layers are unpacked in `folder`.
    """

    def __init__(self, memory: Memory, store: Store, folder: str, settings: Any) -> None:
        self._memory = memory
        self._store = store
        self._folder = folder
        self._settings = settings
        self._layers = contextlib.ExitStack()
        self._pending: tuple[str, dict[str, Any], dict[str, bytes]] | None = None

    def __enter__(self) -> Recall:
        return self

    def __exit__(self, *_: object) -> None:
        self._layers.close()

    def key(
        self, tool: Mapping[str, str], request: Request, catalog: Catalog, lower: Tree, apart: Iterable[str]
    ) -> str:
        """What an installation is known by: the tool, what it is asked for and may choose from, and what lies below.

        The paths `apart` are those where the image has otherwise than `lower`.

        Raises:
            InputError, ToolError: a file can not be read.
        """
        offered = catalog.offered(request.names, request.installed)
        asked = [dict(tool), request.names, request.epoch, self._settings, catalog.metadata]
        state = hashlib.sha256(_line([*asked, sorted(apart)]))
        for line in sorted(_line([*one[:3], one.state, one.requested]) for one in request.installed):
            state.update(line)
        state.update(b"\n")
        for line in sorted(_line([*one[:3], one.feed, dict(one.fields), catalog.digest(one)]) for one in offered):
            state.update(line)
        state.update(b"\n")
        for line in self._lines(lower):
            state.update(line)
        return state.hexdigest()

    def find(self, key: str, lower: Tree) -> Recalled | None:
        """What an installation gave in an earlier build; None where that is not known or its files are lost.

        Raises:
            ToolError: the disk is full.
        """
        value = self._memory.recall(key, _KIND)
        layer = None if value is None else self._layer(value["layer"])
        if value is None or (layer is None and value["layer"] is not None):
            return None
        wanted = self._entries(value["entries"], value["texts"], lower, layer)
        withheld = self._entries(value["withheld"], value["texts"], lower, layer)
        if wanted is None or withheld is None:
            return None
        asked = AskedFor(set(value["users"]), set(value["groups"]))
        installation = Installation(Wanted(wanted, tuple(value["removed"])), asked, LayerPackages.from_record(value))
        return Recalled(installation, withheld, frozenset(value["lost"]))

    def note(self, key: str, lower: Tree, found: Recalled, is_text: Callable[[str], bool]) -> None:
        """Take note of what an installation gave on top of `lower`; it is kept once its layer is.

        The files for which `is_text` is true, those of a database, are kept with it.
        """
        self._pending = None
        wanted, asked, packages, _ = found.installation
        inodes = {entry.inode for entry in lower.entries.values()} - {None}
        entries = {**wanted.entries, **found.withheld}
        texts = {
            path: entry.content
            for path, entry in entries.items()
            if entry.content is not None and (path in found.withheld or is_text(path))
        }
        if sum(content.size for content in texts.values()) > _TEXTS:
            return
        if any(entry.inode in inodes for entry in entries.values()):
            return  # a further name of a file of a lower layer, which the listing can not tell
        value = {
            "entries": self._listing(wanted.entries),
            "withheld": self._listing(found.withheld),
            "texts": {path: b64encode(whole(content)).decode("ascii") for path, content in texts.items()},
            "removed": wanted.removed,
            "lost": sorted(found.lost),
            "users": sorted(asked.users),
            "groups": sorted(asked.groups),
            **packages.to_record(),
        }
        contents = ((path, entry.content) for path, entry in _first_names(wanted.entries).items() if path not in texts)
        digests = ((path, self._memory.digests(content)) for path, content in contents if content is not None)
        needed = {path: digest for path, digest in digests if digest != self._known(lower, path)}
        self._pending = key, value, needed

    def keep(self, delta: Delta, shape: str, key: str) -> None:
        """Keep what was noted last, as `delta` became the layer that the store has with that shape and key."""
        if self._pending is None:
            return
        (own, value, needed), self._pending = self._pending, None
        written = _first_names(delta.entries) if needed else {}
        for path, digest in needed.items():
            content = written[path].content if path in written else None
            if content is None or self._memory.digests(content) != digest:
                return  # the layer has it otherwise, by a rule for paths
        self._memory.keep(own, _KIND, {**value, "layer": [shape, key] if needed else None})

    # ---- what is written down

    def _lines(self, tree: Tree) -> Iterator[bytes]:
        first: dict[object, str] = {}
        for path in sorted(tree.entries, key=order):
            entry = tree.entries[path]
            name = "" if entry.inode is None else first.setdefault(entry.inode, path)
            digest = "" if entry.content is None else self._memory.digests(entry.content).hex()
            xattrs = [(key, data.hex()) for key, data in entry.xattrs]
            yield _line([path, *entry[:7], entry.device, xattrs, name, digest])

    def _listing(self, entries: Mapping[str, Entry]) -> dict[str, Any]:
        first: dict[object, str] = {}
        members, digests = [], []
        for number, path in enumerate(sorted(entries, key=order)):
            entry = entries[path]
            target = None if entry.inode is None else first.setdefault(entry.inode, path)
            members.append(Member(path, entry, target if target != path else None, number, "", "", ""))
            digests.append("" if entry.content is None else self._memory.digests(entry.content).hex())
        return Listing(members, digests).to_json()

    def _known(self, tree: Tree, path: str) -> bytes:
        entry = tree.entry(path)
        return b"" if entry is None or entry.content is None else self._memory.digests(entry.content)

    # ---- what is made of it

    def _layer(self, where: list[str] | None) -> _Layer | None:
        found = None if where is None else self._store.find(*where)
        if found is None or isinstance(found, str):
            return None
        layer = _Layer(found, self._folder, self._memory.notes)
        # At hand from now on: whoever cleans up the cache meanwhile does not take it away.
        return self._layers.enter_context(layer) if not self._store.take(found, layer.path) else None

    def _entries(
        self, listing: dict[str, Any], texts: Mapping[str, str], lower: Tree, layer: _Layer | None
    ) -> dict[str, Entry] | None:
        """The entries of a listing; None where the content of one is nowhere."""
        entries: dict[str, Entry] = {}
        for member, digest in zip(*from_json(listing)):
            if member.hardlink is not None:
                first = entries[member.hardlink]
                entries[member.hardlink] = first._replace(inode=(layer or self, member.hardlink))
                entries[member.path] = entries[member.hardlink]
                continue
            entry, content = member.entry, None
            if entry.kind == FILE:
                content = self._content(member.path, entry.size, digest, texts, lower, layer)
                if content is None:
                    return None
            entries[member.path] = entry._replace(content=content)
        return entries

    def _content(
        self, path: str, size: int, digest: str, texts: Mapping[str, str], lower: Tree, layer: _Layer | None
    ) -> Content | None:
        if path in texts:
            return Literal(b64decode(texts[path]))
        below = lower.entry(path)
        if below is not None and below.content is not None and self._known(lower, path).hex() == digest:
            return below.content
        return None if layer is None else Part(_File(layer, path), 0, size, digest)


class _Layer:
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

    def __enter__(self) -> _Layer:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

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

    def __init__(self, layer: _Layer, path: str) -> None:
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


def _first_names(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """The entries without further names of an inode: the first one has the content."""
    first: dict[object, str] = {}
    found = {}
    for path in sorted(entries, key=order):
        inode = entries[path].inode
        if inode is None or first.setdefault(inode, path) == path:
            found[path] = entries[path]
    return found


def _line(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"
