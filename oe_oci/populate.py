# SPDX-License-Identifier: MIT
"""What a layer wants on top of what lies below: entries from the rootfs or from the host, at their real places.

Must not know tar, OCI or how a delta is made. Reads facts, never bytes.
"""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import TYPE_CHECKING, Callable, NamedTuple

from .delta import hides
from .errors import ConfigError, Fault, InputError, nearest
from .scan import Directory
from .tree import (
    DIRECTORY,
    SYMLINK,
    Entry,
    Lookup,
    Overlay,
    Resolved,
    Source,
    Tree,
    ancestors,
    encode,
    join,
    order,
    parent,
    resolve,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from .config import HostLayer, PathRule, PathsLayer
    from .digests import Digests


class Wanted(NamedTuple):
    """What a layer adds or replaces, with the directories it lies in, and the paths it removes."""

    entries: dict[str, Entry]
    removed: tuple[str, ...] = ()


class Edits(NamedTuple):
    """What somebody did by hand to layers of packages.

    `changed` are the paths that were changed or added, each with the digest of what a package had there, empty where
    none had anything; `removed` are those that were removed.
    """

    changed: Mapping[str, str]
    removed: Collection[str]


class Stack(NamedTuple):
    """What lies below a layer: the tree, and what of it was the base image's.

    `given` is what layers of host files put there, or somebody by hand; `edits` tells of the latter.
    """

    tree: Tree
    base: Mapping[str, Entry]
    given: Mapping[str, Entry] = MappingProxyType({})
    edits: Edits = Edits(MappingProxyType({}), frozenset())

    def is_of_base(self, path: str) -> bool:
        """Whether what is at a path is the base's; its directories are, whoever gave them other facts."""
        return is_still(self.tree.entry(path), self.base.get(path))

    def is_given(self, path: str) -> bool:
        """Whether what is at a path is what a layer of host files put there, or somebody by hand."""
        return is_still(self.tree.entry(path), self.given.get(path))


def is_still(entry: Entry | None, before: Entry | None) -> bool:
    """Whether an entry of a tree is the one that was there before; a directory is, whoever gave it other facts."""
    if entry is None or before is None:
        return False
    return entry is before or entry.kind == before.kind == DIRECTORY


def want_rootfs(rootfs: Source, stack: Stack) -> Wanted:
    """The whole rootfs, on top of what is there."""
    return Wanted(at_real_places(stack.tree, dict(rootfs.walk(""))))


def want_paths(layer: PathsLayer, rootfs: Source, stack: Stack) -> Wanted:
    """Paths of the rootfs with all below them, and the directories and links that lead to them.

    The path `/` alone also removes what layers of this image put there and the rootfs lacks. That the paths are there
    has been seen to by `missing_paths`.
    """
    entries: dict[str, Entry] = {}
    for path in layer.paths:
        found = resolve(rootfs, path)
        _take(entries, rootfs, found)
        if found.entry is not None and found.entry.kind == SYMLINK and layer.kind == "directories":
            _take(entries, rootfs, resolve(rootfs, path, follow=True))
    if layer.paths != ("/",):
        return Wanted(at_real_places(stack.tree, entries))
    placed = at_real_places(LastingLinks(stack.tree, stack.is_of_base), entries)
    return Wanted(placed, lacking(stack, placed, lambda _path: False))


def _take(entries: dict[str, Entry], rootfs: Source, found: Resolved) -> None:
    for path in found.passed:
        entry = rootfs.entry(path)
        assert entry is not None
        entries.setdefault(path, entry)
    entries.update(rootfs.walk(found.path))


def missing_paths(layer: PathsLayer, rootfs: Source) -> list[Fault]:
    """What of a layer's paths is not in the rootfs."""
    found = [(path, resolve(rootfs, path)) for path in layer.paths]
    return [_missing(layer, path, rootfs, resolved) for path, resolved in found if resolved.entry is None]


def missing_sources(layer: HostLayer) -> list[Fault]:
    """What of a layer's sources is not on the host."""
    return [
        Fault("OCI_LAYERS", f"layer '{layer.name}': '{copy.written}': there is no {copy.source}")
        for copy in layer.copies
        if not os.path.exists(encode(copy.source))
    ]


def _missing(layer: PathsLayer, path: str, rootfs: Source, found: Resolved) -> Fault:
    hint = ""
    lost = found.path
    for up in ancestors(found.path):
        entry = rootfs.entry(up)
        if entry is not None and entry.kind == DIRECTORY:
            known = {shown(join(up, name)) for name in rootfs.names(up)}
            dangling = f"{shown(lost)} is a link that leads to no directory"
            hint = dangling if shown(lost) in known else nearest(shown(lost), known)
            break
        lost = up
    return Fault("OCI_LAYERS", f"layer '{layer.name}': '{path}' is not in the rootfs", hint)


def want_host(
    layer: HostLayer, stack: Stack, epoch: int, owner: tuple[int, int] | None, digests: Digests | None = None
) -> Wanted:
    """Files and directories of the host at their destinations, with the time `epoch`.

    Missing directories on the way are made, 0755 and root's. With `owner` None files keep theirs and their modes;
    else a mode says only whether a file is executable, as git has it, so that the umask of a checkout does not matter.
    `digests` knows some files of earlier builds.

    Raises:
        ConfigError: a destination can not be; lists every one.
    """
    upper = Overlay(stack.tree)
    faults = []
    for copy in layer.copies:
        plain = owner is not None
        source = Directory(copy.source, "host", lambda _mtime: epoch, owner, plain_modes=plain, digests=digests)
        target = "/".join(part for part in copy.destination.split("/") if part not in ("", "."))
        if copy.destination.endswith("/"):
            target = join(target, os.path.basename(copy.source.rstrip("/")))
        fault = _copy(upper, source, target, epoch)
        if fault:
            faults.append(Fault("OCI_LAYERS", f"layer '{layer.name}': '{copy.written}:{copy.destination}': {fault}"))
    if faults:
        raise ConfigError(faults)
    return Wanted(at_real_places(stack.tree, upper.entries))


def _copy(upper: Overlay, source: Directory, target: str, epoch: int) -> str:
    """Put a source at its target; returns what is wrong with that, or nothing."""
    top = source.entry("")
    if top is None:
        return "neither a file nor a directory"
    up = resolve(upper, parent(target), follow=True)
    if up.entry is not None and up.entry.kind != DIRECTORY:
        return f"{shown(up.path)} is no directory"
    place = join(up.path, target.rpartition("/")[2]) if target else ""
    below = upper.entry(place)
    if below is not None and below.kind == DIRECTORY and top.kind != DIRECTORY:
        return f"{shown(place)} is a directory; write '{shown(place)}/' to put the file into it"
    for directory in ancestors(place):
        if upper.entry(directory) is not None:
            break
        upper.entries[directory] = Entry(DIRECTORY, 0o755, mtime=epoch)
    for path, entry in source.walk(""):
        name = join(place, path) if path else place
        known = upper.entry(name)
        if known is not None and known.kind == DIRECTORY != entry.kind:
            return f"{shown(name)} is a directory, which a file would replace with all that is in it"
        # A folder that is there already keeps its facts: what is copied is what it holds.
        if entry.kind != DIRECTORY or known is None or known.kind != DIRECTORY:
            upper.entries[name] = entry
    return ""


class LastingLinks:
    """What lies below a layer that replaces what this image put there: of links only those that are to stay."""

    def __init__(self, tree: Lookup, stays: Callable[[str], bool]) -> None:
        self._tree = tree
        self._stays = stays

    def entry(self, path: str) -> Entry | None:
        entry = self._tree.entry(path)
        return None if entry is not None and entry.kind == SYMLINK and not self._stays(path) else entry


class _Kept:
    """The tree as it will be with entries on top, where links below stay in place of directories."""

    def __init__(self, lower: Lookup, entries: Mapping[str, Entry]) -> None:
        self._lower = lower
        self._entries = entries

    def entry(self, path: str) -> Entry | None:
        entry, below = self._entries.get(path), self._lower.entry(path)
        if entry is None or (entry.kind == DIRECTORY and below is not None and below.kind == SYMLINK):
            return below
        return entry


def at_real_places(lower: Lookup, entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """The entries where they really come to lie: a directory where `lower` has a link is what the link leads to.

    Written at its own path it would hide the link, and with it all that lies behind it. A link that will no longer
    lead to a directory, as an entry takes that one's place, is replaced.
    """
    kept = _Kept(lower, entries)
    places: dict[str, str] = {}
    placed: dict[str, Entry] = {}
    for path in sorted(entries, key=order):
        entry = entries[path]
        place = path
        if places and path:
            up = parent(path)
            place = join(places.get(up, up), path.rpartition("/")[2])
        if entry.kind == DIRECTORY:
            target = _behind_link(lower, place, kept)
            if target is not None:
                places[path] = target
                for missing in _absent(lower, placed, target):
                    placed[missing] = entries.get(missing, entry)
                continue
            if place != path:
                places[path] = place
        known = placed.get(place)
        if known is not None and known != entry and not known.kind == entry.kind == DIRECTORY:
            raise InputError(
                f"{shown(path)}: lands at {shown(place)} through a link of a lower layer, where another file lands too"
            )
        placed.setdefault(place, entry)
    for place in placed if places else ():
        for up in ancestors(place):
            if up in placed and placed[up].kind != DIRECTORY:
                raise InputError(
                    f"{shown(place)}: lands there through a link of a lower layer, below a {placed[up].kind}"
                )
    if places:
        _check_reached(lower, placed, entries)
    return placed


def _check_reached(lower: Lookup, placed: dict[str, Entry], entries: Mapping[str, Entry]) -> None:
    """See that every file is found at its path: links that lead to each other or to the root can hide some."""
    final = Overlay(lower, placed)
    for path, entry in entries.items():
        if entry.kind != DIRECTORY and resolve(final, path).entry != entry:
            raise InputError(
                f"{shown(path)}: would be lost behind a link of a lower layer",
                hint="remove that link from the base, or the path from the rootfs",
            )


def _behind_link(lower: Lookup, path: str, kept: Lookup) -> str | None:
    below = lower.entry(path)
    if below is None or below.kind != SYMLINK:
        return None
    found = resolve(kept, path, follow=True)
    if found.entry is not None:
        return found.path if found.entry.kind == DIRECTORY else None
    # Dangling: what it leads to can be made, unless something else than directories is on the way.
    way = map(kept.entry, ancestors(found.path))
    return None if any(entry is not None and entry.kind != DIRECTORY for entry in way) else found.path


def _absent(lower: Lookup, placed: Mapping[str, Entry], path: str) -> list[str]:
    return [name for name in (path, *ancestors(path)) if lower.entry(name) is None and name not in placed]


def lacking(stack: Stack, there: Collection[str], spared: Callable[[str], bool]) -> tuple[str, ...]:
    """What the layers of this image put there that is not to be there, nor spared; no directory with more in it."""
    gone = {
        path
        for path in stack.tree.entries
        if path and path not in there and not stack.is_of_base(path) and not spared(path)
    }
    for path in stack.tree.entries:
        if path not in gone:
            gone.difference_update(ancestors(path))
    return tuple(gone)


def apply_rules(rules: tuple[PathRule, ...], wanted: Wanted, lower: Tree) -> Wanted:
    """The last layer with OCI_IMAGE_PATHS applied: modes and owners set, paths removed.

    All names of a hard-linked inode change together. A link is changed itself, not what it leads to.

    Raises:
        ConfigError: a path is not in the image; lists every one.
    """
    final, faults = Overlay(lower, dict(wanted.entries), wanted.removed), []
    for rule in rules:
        found = resolve(final, rule.path)
        if found.entry is None:
            faults.append(Fault("OCI_IMAGE_PATHS", f"'{rule.path}' is not in the image"))
        elif rule.remove:
            for path in [name for name in final.entries if found.path in (name, *ancestors(name))]:
                del final.entries[path]
            if found.path in lower:
                final.removed.add(found.path)
        else:
            for path in _names(final, lower, found.path, found.entry):
                final.entries[path] = _ruled(rule, found.entry)
    if faults:
        raise ConfigError(faults)
    return Wanted(final.entries, tuple(final.removed))


def _ruled(rule: PathRule, entry: Entry) -> Entry:
    return entry._replace(
        mode=entry.mode if rule.mode is None or entry.kind == SYMLINK else rule.mode,
        uid=entry.uid if rule.uid is None else rule.uid,
        gid=entry.gid if rule.gid is None else rule.gid,
    )


def _names(final: Overlay, lower: Tree, path: str, entry: Entry) -> list[str]:
    """All names that the inode at a path has."""
    if entry.inode is None:
        return [path]
    names = {name for name, other in final.entries.items() if other.inode == entry.inode}
    for name in lower.names_of(entry.inode):
        if not any(hides(up, final.entries, final.removed) for up in (name, *ancestors(name))):
            names.add(name)
    return sorted({path, *names})
