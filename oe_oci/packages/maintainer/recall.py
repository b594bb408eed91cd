# SPDX-License-Identifier: MIT
"""What scripts did in earlier builds, so that none need run where it would do the same again.

It is known by all that scripts are given: themselves, the settings, the layer's packages, and the whole tree that they
see. What they made is kept with it where that is little, and else taken from the layer that was made of it then. A
script that looks at the clock or at this machine is taken at its first word. Must not know where scripts run.
"""

from __future__ import annotations

import functools
import hashlib
import zlib
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, NamedTuple

from ...content import Literal, Region, whole
from ..recorded import EntryDigests, Records, entries_of, first_names, line, listing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ...content import Content
    from ...delta import Delta
    from ...memory import Memory
    from ...store import Store
    from ...tree import Entry, Tree
    from ..contents import Contents
    from ..recorded import Record
    from .scripts import Script

_KIND = "scripts 2"  # the number changes with what is kept, and with what is made of the same
_SMALL = 1 << 20  # bytes of a file that can be kept with what scripts did
_INSIDE = 256 << 10  # bytes that all take as they are held, from which on those are not kept that the layer has
_TEXTS = 64 << 20  # bytes of all of them


class Done(NamedTuple):
    """What the image holds after scripts; `left` are messages about what they left to the first boot."""

    entries: Mapping[str, Entry]
    left: tuple[str, ...] = ()


class _Noted(NamedTuple):
    """What scripts did, to be kept once its layer is; `needed` are the digests of what they made, `texts` some of it.

    Digests are in hexadecimal, texts compressed.
    """

    key: str
    value: dict[str, Any]
    needed: Sequence[str]
    texts: Mapping[str, bytes]


class Recall:
    """Recalls what scripts did from `memory`, and files that they made from layers in `store`.

    `settings` tell all that decides what a script does beside itself and what it sees; they are asked for once, if at
    all. Layers are unpacked in `folder`. A context manager.

    Of each layer `begin` is called first, and `keep` at its end.
    """

    def __init__(self, memory: Memory, store: Store, folder: str, settings: Callable[[], Any]) -> None:
        self._memory = memory
        self._settings = functools.cache(settings)
        self._records = Records(memory, store, folder)
        self._entries = EntryDigests(memory.digests)
        self._noted: list[_Noted] = []

    def __enter__(self) -> Recall:
        return self

    def __exit__(self, *_: object) -> None:
        self._records.__exit__()

    def begin(self) -> None:
        """Forget what was noted and not kept."""
        self._noted.clear()

    def key(self, scripts: Sequence[Script], held: Iterable[Contents], tree: Tree, apart: Iterable[str]) -> str:
        """What a run of scripts is known by: themselves, the settings, the layer's packages and the tree they see.

        The paths `apart` are those that the image does not have.

        Raises:
            InputError, ToolError: a file can not be read.
        """
        packages = sorted(contents.digest for contents in held)
        state = hashlib.sha256(line([self._settings(), packages, sorted(apart)]))
        for script in scripts:
            told = {name: value.hex() if isinstance(value, bytes) else value for name, value in _facts(script)}
            state.update(line(told))
        state.update(b"\n")
        for each in self._entries.of(tree):
            state.update(each)
        return state.hexdigest()

    def find(self, key: str, tree: Tree) -> Done | None:
        """What scripts did to `tree` in an earlier build; None where that is not known or its files are lost.

        Raises:
            ToolError: the disk is full.
        """
        found = self._records.find(key, _KIND)
        if found is None:
            return None
        value = found.value
        changed = entries_of(value["entries"], functools.partial(_content, found, tree), key)
        if changed is None:
            return None
        removed = frozenset(value["removed"])
        kept = {path: entry for path, entry in tree.entries.items() if path not in removed}
        return Done({**kept, **changed}, tuple(value["left"]))

    def note(self, key: str, tree: Tree, done: Done) -> None:
        """Take note of what scripts did to `tree`; it is kept once the layer is.

        Raises:
            InputError, ToolError: a file can not be read.
        """
        changed = {path: entry for path, entry in done.entries.items() if entry is not tree.entries.get(path)}
        inodes = {entry.inode for entry in tree.entries.values()} - {None}
        if any(entry.inode in inodes for entry in changed.values()):
            return  # a further name of a file that was there, which the listing can not tell
        digests = self._memory.digests
        known = ((path, entry.content) for path, entry in tree.entries.items())
        there = {digests(content): path for path, content in known if content is not None}
        made = (entry.content for entry in first_names(changed).values())
        contents = {digests(content): content for content in made if content is not None}
        new = {digest.hex(): content for digest, content in contents.items() if digest not in there}
        value = {
            "entries": listing(changed, digests),
            "removed": [path for path in tree.entries if path not in done.entries],
            "left": done.left,
            "below": {digest.hex(): there[digest] for digest in contents if digest in there},
        }
        # Their bytes are at hand now, and gone once other scripts changed the files.
        self._noted.append(_Noted(key, value, list(new), _small(new)))

    def keep(self, delta: Delta, shape: str, key: str) -> None:
        """Keep what was noted, as `delta` became the layer that the store has with that shape and key."""
        noted, self._noted = self._noted, []
        if not noted:
            return
        places = {}
        for path, entry in first_names(delta.entries).items():
            if entry.content is not None:
                places[self._memory.digests(entry.content).hex()] = path
        for one in noted:
            little = sum(map(len, one.texts.values())) <= _INSIDE
            texts = {digest: data for digest, data in one.texts.items() if little or digest not in places}
            inside = {digest: places.get(digest) for digest in one.needed if digest not in texts}
            if None in inside.values():
                continue  # scripts that ran later, or a rule for paths, left nothing of it
            packed = {digest: b64encode(data).decode("ascii") for digest, data in texts.items()}
            where = [shape, key] if inside else None
            self._memory.keep(one.key, _KIND, {**one.value, "texts": packed, "inside": inside, "layer": where})


def _facts(script: Script) -> list[tuple[str, Any]]:
    return list(script._asdict().items())


def _small(contents: Mapping[str, Content]) -> dict[str, bytes]:
    """The bytes of small contents, as far as there is room for them, compressed as they may be held for long."""
    texts, room = {}, _TEXTS
    for digest, content in contents.items():
        if content.size <= min(_SMALL, room):
            texts[digest] = zlib.compress(whole(content), 1)
            room -= content.size
    return texts


def _content(found: Record, tree: Tree, path: str, size: int, digest: str) -> Content | None:
    """The content of a file that scripts made, or that was there; None where it is not at hand."""
    value, layer = found
    if digest in value["texts"]:
        return Literal(zlib.decompress(b64decode(value["texts"][digest])))
    if digest in value["inside"]:
        return None if layer is None else layer.content(value["inside"][digest], size, digest)
    source = value["below"][digest]
    content = tree.entries[source].content
    # A file of the directory that scripts of this build ran in, which the next ones may change there.
    is_passing = isinstance(content, Region) and content.digest and not content.stamp
    return None if is_passing and source != path else content
