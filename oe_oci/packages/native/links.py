# SPDX-License-Identifier: MIT
"""Symbolic links that lead out of the directory a package manager installs into, onto this machine.

A tool that does not change its root follows `/var/run -> /run` to this machine's /run, and writes and removes there.
Must not know how a tool is called.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ...errors import InputError
from ...tree import DIRECTORY, SYMLINK, join, parent, resolve, shown
from .root import BUILTIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...tree import Entry, Lookup, Tree
    from ..contents import Contents

_LIMIT = 40  # links that Linux follows in one path


def led_inside(tree: Tree) -> dict[str, Entry]:
    """The links of a tree that lead out of it where its root is not the machine's, each so that it stays inside."""
    found = {}
    for path, entry in tree.entries.items():
        if entry.kind == SYMLINK and _way_out(tree, path):
            goal = resolve(tree, path, follow=True).path
            target = os.path.relpath(f"/{goal}", f"/{parent(path)}")
            found[path] = entry._replace(target=target, inode=None)
    return found


def check_inside(tree: Tree, held: Sequence[Contents], databases: Sequence[str]) -> None:
    """See that no file of new packages lies behind a link of theirs that leads out of the tree.

    Nor may such a link be in one of the folders `databases`, as a tool writes its own files there.

    Raises:
        InputError: one does.
    """
    shipped = _Shipped(tree, held)
    _check_databases(shipped, held, tuple(databases))
    known: dict[str, str] = {}
    for contents in held:
        folders = (
            member.path if member.entry.kind == DIRECTORY else parent(member.path) for member in contents.members
        )
        for path in (*folders, *contents.conffiles):
            if path not in known:
                known[path] = _way_out(shipped, path)
            if known[path]:
                raise InputError(
                    f"{contents.fields['Package']}: {shown(path)} lies behind the link {shown(known[path])}, which out"
                    " of a container leads onto this machine",
                    hint=f"the package with the link needs a layer before; or {BUILTIN}",
                )


def _check_databases(shipped: _Shipped, held: Sequence[Contents], databases: tuple[str, ...]) -> None:
    for contents in held:
        for path in (member.path for member in contents.members if member.entry.kind == SYMLINK):
            if f"{shipped.place(path)}/".startswith(databases) and _way_out(shipped, path):
                raise InputError(
                    f"{contents.fields['Package']}: {shown(path)} is a link in the database of packages, which out of a"
                    " container leads onto this machine",
                    hint=BUILTIN,
                )


class _Shipped:
    """A tree with the links of packages that are to come."""

    def __init__(self, tree: Tree, held: Sequence[Contents]) -> None:
        self._tree = tree
        members = (member for contents in held for member in contents.members)
        links = [(member.path, member.entry) for member in members if member.entry.kind == SYMLINK]
        self._links: dict[str, Entry] = dict(links)
        for _ in range(_LIMIT):  # a link may lie behind those of other packages
            known = len(self._links)
            for path, entry in links:
                self._links.setdefault(self.place(path), entry)
            if known == len(self._links):
                break

    def place(self, path: str) -> str:
        """Where a path lies, behind links."""
        return join(resolve(self, parent(path), follow=True).path, path.rpartition("/")[2])

    def entry(self, path: str) -> Entry | None:
        return self._links.get(path) or self._tree.entry(path)


def _way_out(source: Lookup, path: str) -> str:
    """The link by which the kernel leaves the tree when it follows a path; empty where it stays inside."""
    pending = [part for part in reversed(path.split("/")) if part]
    current, last, links = "", "", 0
    while pending:
        part = pending.pop()
        if part == "..":
            if not current:
                return last
            current = parent(current)
            continue
        current = join(current, part)
        entry = source.entry(current)
        if entry is not None and entry.kind == SYMLINK and links < _LIMIT:
            if entry.target.startswith("/"):
                return current
            links, last = links + 1, current
            pending.extend(each for each in reversed(entry.target.split("/")) if each not in ("", "."))
            current = parent(current)
    return ""
