# SPDX-License-Identifier: MIT
"""What a file system holds: the facts of every inode, and where its bytes lie.

Paths are text relative to the root: `usr/bin/sh`, the root itself is the empty string. Bytes that are not UTF-8 are
kept as lone surrogates (`decode`, `encode`), so that a name is the same text on every host, whatever its locale.

Must not know layers, their order, tar or OCI.
"""

from __future__ import annotations

import stat
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping

    from .content import Content

FILE, DIRECTORY, SYMLINK, FIFO, CHAR, BLOCK = "file", "directory", "symlink", "fifo", "char", "block"

_LINK_LIMIT = 40  # as the kernel's ELOOP
_TYPES = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFIFO: FIFO,
    stat.S_IFCHR: CHAR,
    stat.S_IFBLK: BLOCK,
}


class Entry(NamedTuple):
    """One inode's facts.

    `mode` holds the twelve permission bits (of a link always 0o777), `mtime` whole seconds as they are to be written,
    `target` a symbolic link's text, `device` major and minor. `inode` is equal for the names of one hard-linked inode
    and None where an inode has one name.
    """

    kind: str
    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size: int = 0
    target: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[str, bytes], ...] = ()
    content: Content | None = None
    inode: Hashable | None = None


def kind_of(mode: int) -> str:
    """The kind that the mode of stat(2) tells; empty for what no tree holds, such as a socket."""
    return _TYPES.get(mode & 0o170000, "")


def decode(name: bytes) -> str:
    """A file's name as text, the same on every host."""
    return name.decode("utf-8", "surrogateescape")


def encode(path: str) -> bytes:
    """The bytes of a name made by `decode`."""
    return path.encode("utf-8", "surrogateescape")


def shown(path: str) -> str:
    """A path as messages and reports show it: absolute, one line, valid UTF-8; only odd characters are escaped."""
    text = "/" + path
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in encode(character))


def order(path: str) -> str:
    """Sort key: by components, a directory before what is in it."""
    return "\0" + path.replace("/", "\0") if path else ""


def parent(path: str) -> str:
    """The directory a path lies in; the root's is the root."""
    return path.rpartition("/")[0]


def join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name


def ancestors(path: str) -> Iterator[str]:
    """The directories a path lies in, the nearest first, the root last; none of the root."""
    while path:
        path = parent(path)
        yield path


class Lookup(Protocol):
    """Something that can tell what is at a path."""

    def entry(self, path: str) -> Entry | None:
        """The entry of a path none of whose parents is a link; None where there is nothing."""


class Source(Lookup, Protocol):
    """Something that holds a file system's facts: a tree, or a directory on disk read as it is asked for."""

    def walk(self, path: str) -> Iterator[tuple[str, Entry]]:
        """The path itself and all below it, a directory before what is in it."""

    def names(self, directory: str) -> list[str]:
        """The names in a directory."""


class Tree:
    """A file system's entries by path. Every path's parents are in it, as directories; the caller sees to that."""

    def __init__(self, entries: Mapping[str, Entry] | None = None) -> None:
        self.entries: dict[str, Entry] = {}
        self._names: dict[Hashable, dict[str, None]] = {}
        self._order: list[str] | None = None
        self.update(entries or {})

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, path: object) -> bool:
        return path in self.entries

    def entry(self, path: str) -> Entry | None:
        return self.entries.get(path)

    def walk(self, path: str = "") -> Iterator[tuple[str, Entry]]:
        if self._order is None:
            self._order = sorted(map(order, self.entries))
        top = order(path)
        for position in range(bisect_left(self._order, top), len(self._order)):
            key = self._order[position]
            if key != top and not key.startswith(top + "\0"):
                return
            name = key[1:].replace("\0", "/")
            yield name, self.entries[name]

    def names(self, directory: str) -> list[str]:
        return [path.rpartition("/")[2] for path in self.entries if path and parent(path) == directory]

    def names_of(self, inode: Hashable) -> list[str]:
        """The paths that share an inode."""
        return list(self._names.get(inode, ()))

    def put(self, path: str, entry: Entry) -> None:
        """As `update`, of one entry."""
        self.update({path: entry})

    def update(self, entries: Mapping[str, Entry]) -> None:
        """Add or replace entries; what lay below a directory that is one no longer must be dropped by `drop`."""
        for path, entry in entries.items():
            self._forget(path)
            if entry.inode is not None:
                self._names.setdefault(entry.inode, {})[path] = None
        self.entries.update(entries)
        self._order = None

    def drop(self, paths: Iterable[str], *, keep: bool = False) -> None:
        """Remove the paths and all below them; with `keep` only what is below them."""
        for name in self.below(paths):
            self._forget(name)
            del self.entries[name]
        if not keep:
            for path in paths:
                self._forget(path)
                self.entries.pop(path, None)
        self._order = None

    def below(self, paths: Iterable[str]) -> list[str]:
        """Every path that lies in one of the directories `paths`."""
        tops = frozenset(paths)
        if not tops:
            return []
        return [name for name in self.entries if any(up in tops for up in ancestors(name))]

    def _forget(self, path: str) -> None:
        entry = self.entries.get(path)
        if entry is not None and entry.inode is not None:
            names = self._names[entry.inode]
            del names[path]
            if not names:
                del self._names[entry.inode]


class Overlay:
    """A file system with entries on top of it, and without what is removed of it."""

    def __init__(
        self, lower: Lookup, entries: dict[str, Entry] | None = None, removed: Collection[str] = frozenset()
    ) -> None:
        self._lower = lower
        self.entries = {} if entries is None else entries
        self.removed = set(removed)

    def entry(self, path: str) -> Entry | None:
        entry = self.entries.get(path)
        if entry is not None or (self.removed and not self.removed.isdisjoint((path, *ancestors(path)))):
            return entry
        return self._lower.entry(path)

    def put(self, path: str, entry: Entry, mtime: int) -> None:
        """Add an entry, with the directories on the way that are missing: root's, 0755, of the time `mtime`."""
        self.entries[path] = entry
        for up in ancestors(path):
            if self.entry(up) is not None:
                break
            self.entries[up] = Entry(DIRECTORY, 0o755, mtime=mtime)


class Resolved(NamedTuple):
    """Where a path leads inside a file system.

    `path` holds no link but perhaps its last component; `passed` lists the directories and links gone through, in
    order; `entry` is None where nothing is there.
    """

    path: str
    entry: Entry | None
    passed: tuple[str, ...]


def resolve(source: Lookup, path: str, *, follow: bool = False) -> Resolved:
    """Follow a path as the kernel would with `source` as its root: links never lead out of it.

    `path` may be absolute or relative to the root. With `follow` a link in the last component is followed too.
    A loop of links ends in the link itself, as an entry that is no directory.
    """
    pending = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    current, passed, links = "", [""], 0
    entry = source.entry("")
    while pending:
        part = pending.pop()
        if part == "..":
            current = parent(current)
            entry = source.entry(current)
            continue
        if entry is not None and entry.kind != DIRECTORY:
            entry = None
        current = join(current, part)
        entry = source.entry(current) if entry is not None else None
        if entry is not None and entry.kind == SYMLINK and (pending or follow) and links < _LINK_LIMIT:
            links += 1
            passed.append(current)
            pending.extend(p for p in reversed(entry.target.split("/")) if p not in ("", "."))
            current = "" if entry.target.startswith("/") else parent(current)
            entry = source.entry(current)
        elif pending and entry is not None:
            passed.append(current)
    return Resolved(current, entry, tuple(passed))


def place_of(source: Lookup, path: str, parents: dict[str, str]) -> str:
    """Where the file of a path lies: behind the links on the way to it. `parents` has those known so far."""
    up = parent(path)
    if up not in parents:
        parents[up] = resolve(source, up, follow=True).path
    return join(parents[up], path.rpartition("/")[2]) if path else path
