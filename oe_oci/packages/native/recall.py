# SPDX-License-Identifier: MIT
"""What package managers did in earlier builds, so that none need run where it would do the same again.

It is known by all that a tool is given: itself, the packages that it may choose from, the settings, and what lies
below. What files hold is taken from the layer that was made of it then, so it is recalled only as long as the cache has
that. A tool whose scripts look at the clock or at this machine is taken at its first word. Must not know how tools are
called.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, NamedTuple

from ...accounts import Owners as AskedFor
from ...content import Literal, whole
from ...populate import Wanted
from ..installation import Installation, LayerPackages
from ..recorded import EntryDigests, Records, entries_of, first_names, line, listing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ...content import Content
    from ...delta import Delta
    from ...memory import Memory
    from ...store import Store
    from ...tree import Entry, Tree
    from ..recorded import Layer
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
        self._settings = settings
        self._records = Records(memory, store, folder)
        self._entries = EntryDigests(memory.digests)
        self._pending: tuple[str, dict[str, Any], dict[str, bytes]] | None = None

    def __enter__(self) -> Recall:
        return self

    def __exit__(self, *_: object) -> None:
        self._records.__exit__()

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
        state = hashlib.sha256(line([*asked, sorted(apart)]))
        for each in sorted(line([*one[:3], one.state, one.requested]) for one in request.installed):
            state.update(each)
        state.update(b"\n")
        for each in sorted(line([*one[:3], one.feed, dict(one.fields), catalog.digest(one)]) for one in offered):
            state.update(each)
        state.update(b"\n")
        for each in self._entries.of(lower):
            state.update(each)
        return state.hexdigest()

    def find(self, key: str, lower: Tree) -> Recalled | None:
        """What an installation gave in an earlier build; None where that is not known or its files are lost.

        Raises:
            ToolError: the disk is full.
        """
        found = self._records.find(key, _KIND)
        if found is None:
            return None
        value, layer = found

        def content(path: str, size: int, digest: str) -> Content | None:
            return self._content(path, size, digest, value["texts"], lower, layer)

        wanted = entries_of(value["entries"], content, (key, "wanted"))
        withheld = entries_of(value["withheld"], content, (key, "withheld"))
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
            "entries": listing(wanted.entries, self._memory.digests),
            "withheld": listing(found.withheld, self._memory.digests),
            "texts": {path: b64encode(whole(content)).decode("ascii") for path, content in texts.items()},
            "removed": wanted.removed,
            "lost": sorted(found.lost),
            "users": sorted(asked.users),
            "groups": sorted(asked.groups),
            **packages.to_record(),
        }
        contents = ((path, entry.content) for path, entry in first_names(wanted.entries).items() if path not in texts)
        digests = ((path, self._memory.digests(content)) for path, content in contents if content is not None)
        needed = {path: digest for path, digest in digests if digest != self._known(lower, path)}
        self._pending = key, value, needed

    def keep(self, delta: Delta, shape: str, key: str) -> None:
        """Keep what was noted last, as `delta` became the layer that the store has with that shape and key."""
        if self._pending is None:
            return
        (own, value, needed), self._pending = self._pending, None
        written = first_names(delta.entries) if needed else {}
        for path, digest in needed.items():
            content = written[path].content if path in written else None
            if content is None or self._memory.digests(content) != digest:
                return  # the layer has it otherwise, by a rule for paths
        self._memory.keep(own, _KIND, {**value, "layer": [shape, key] if needed else None})

    # ---- what is written down

    def _known(self, tree: Tree, path: str) -> bytes:
        entry = tree.entry(path)
        return b"" if entry is None or entry.content is None else self._memory.digests(entry.content)

    # ---- what is made of it

    def _content(
        self, path: str, size: int, digest: str, texts: Mapping[str, str], lower: Tree, layer: Layer | None
    ) -> Content | None:
        if path in texts:
            return Literal(b64decode(texts[path]))
        below = lower.entry(path)
        if below is not None and below.content is not None and self._known(lower, path).hex() == digest:
            return below.content
        return None if layer is None else layer.content(path, size, digest)
