# SPDX-License-Identifier: MIT
"""Which package owns what lies at a place: as the base image's database says, and as layers installed it.

Must not know layers or how a database is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..tree import DIRECTORY, ancestors, join, parent, resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..tree import Tree
    from .database import Database
    from .package import Installed
    from .place import Placement


class Owners:
    """The owners of places. The base image's are read when first asked for: most layers hide nothing."""

    def __init__(self, base: Tree, database: Database, installed: Sequence[Installed]) -> None:
        self._base = base
        self._database = database
        self._installed = {id(one): one for one in installed}
        self._unread = list(installed)
        self._of: dict[str, list[Installed]] = {}
        self._places: dict[int, list[str]] = {}
        self._parents: dict[str, str] = {}

    def owners(self, place: str) -> Sequence[Installed]:
        """The installed packages that own what lies at a place."""
        self._complete()
        return [one for one in self._of.get(place, ()) if id(one) in self._installed]

    def places(self, package: Installed) -> Sequence[str]:
        """The places of what an installed package owns."""
        self._complete()
        return self._places.get(id(package), ())

    def advance(self, installed: Iterable[Installed], new: Sequence[Installed], placement: Placement) -> None:
        """Take note of a layer: `installed` are all packages after it, `new` those that `placement` placed."""
        self._installed = {id(one): one for one in installed}
        for number, package in enumerate(new):
            self._enter(package, placement.places[number])

    def _complete(self) -> None:
        while self._unread:
            one = self._unread.pop()
            self._enter(one, map(self._place, self._database.files_of(self._base, one)))

    def _enter(self, package: Installed, places: Iterable[str]) -> None:
        known = self._places.setdefault(id(package), [])
        for place in places:
            known.append(place)
            self._of.setdefault(place, []).append(package)

    def _place(self, path: str) -> str:
        up = parent(path)
        if up not in self._parents:
            self._parents[up] = resolve(self._base, up, follow=True).path
        return join(self._parents[up], path.rpartition("/")[2])


def left_over(tree: Tree, owners: Owners, replaced: Iterable[Installed], placement: Placement) -> tuple[str, ...]:
    """What upgraded packages leave behind that nobody owns any more; changed configuration files stay, as with dpkg."""
    gone: set[str] = set()
    directories: set[str] = set()
    for package in replaced:
        kept = {path for path, _ in package.conffiles}
        for place in owners.places(package):
            entry = tree.entry(place)
            if entry is None or place in placement.entries or place in kept:
                continue
            if any(other is not package for other in owners.owners(place)):
                continue
            (directories if entry.kind == DIRECTORY else gone).add(place)
    if directories:
        left = (path for path in (*tree.entries, *placement.entries) if path not in gone and path not in directories)
        gone |= directories.difference(*map(ancestors, left))
    return tuple(sorted(gone))
