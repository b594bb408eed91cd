# SPDX-License-Identifier: MIT
"""Which package owns what lies at a place: as a database of the image says, and as layers installed it.

Must not know layers or how a database is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from ..tree import DIRECTORY, ancestors, place_of, resolve

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from ..tree import Tree
    from .database import Database
    from .package import Installed
    from .place import Placement, Shipment


class Owners:
    """The owners of places. Those that a database tells of are read when first asked for: most layers hide nothing.

    `diverted` gives the path a package's file goes to in place of its own.
    """

    def __init__(
        self, base: Tree, database: Database, installed: Sequence[Installed], diverted: Callable[[str, str], str]
    ) -> None:
        self._database = database
        self._diverted = diverted
        self._installed = {id(one): one for one in installed}
        self._unread: list[tuple[Installed, Tree, dict[str, str]]] = []
        self._of: dict[str, list[Installed]] = {}
        self._paths: dict[int, Mapping[str, str]] = {}
        self._lost: dict[int, set[str]] = {}  # the places of what others took over
        self.learn(base, installed, installed)

    def learn(self, tree: Tree, found: Iterable[Installed], installed: Iterable[Installed]) -> None:
        """Take note of the packages `found` in the database of a tree; `installed` are all there are now."""
        self._installed = {id(one): one for one in installed}
        parents: dict[str, str] = {}  # of the tree's paths
        self._unread += ((one, tree, parents) for one in found)

    def owners(self, place: str) -> Iterator[Installed]:
        """The installed packages that own what lies at a place."""
        self._complete()
        for one in self._of.get(place, ()):
            # What is left of a removed package, its configuration, is anyone's.
            if id(one) in self._installed and one.whole and place not in self._lost.get(id(one), ()):
                yield one

    def paths(self, package: Installed) -> dict[str, str]:
        """The paths of what an installed package owns, each with its place."""
        self._complete()
        lost = self._lost.get(id(package), ())
        return {path: place for path, place in self._paths.get(id(package), {}).items() if place not in lost}

    def advance(
        self,
        installed: Iterable[Installed],
        new: Iterable[tuple[Installed, Mapping[str, str]]],
        taken: Iterable[tuple[Installed, str]],
    ) -> None:
        """Take note of a layer: `installed` are all packages after it, `new` those it brings with their paths' places.

        Of `taken` each package no longer owns what is at the place.
        """
        self._installed = {id(one): one for one in installed}
        for package, place in taken:
            self._lost.setdefault(id(package), set()).add(place)
        for package, paths in new:
            self._enter(package, paths)

    def move(self, tree: Tree, paths: Collection[str]) -> None:
        """Take note that files of packages which have these paths are diverted otherwise now."""
        self._complete()
        parents: dict[str, str] = {}
        for number, one in self._installed.items():
            known = self._paths.get(number, {})
            moved = {path: place_of(tree, self._diverted(path, one.name), parents) for path in paths if path in known}
            for path, place in moved.items():
                self._of[known[path]].remove(one)
                self._of.setdefault(place, []).append(one)
            if moved:
                self._paths[number] = {**known, **moved}

    def _complete(self) -> None:
        while self._unread:
            one, tree, parents = self._unread.pop()
            paths = self._database.files_of(tree, one)
            self._enter(one, {path: place_of(tree, self._diverted(path, one.name), parents) for path in paths})

    def _enter(self, package: Installed, paths: Mapping[str, str]) -> None:
        self._paths[id(package)] = paths
        for place in paths.values():
            self._of.setdefault(place, []).append(package)


def outgoing(tree: Tree, owners: Owners, shipments: Iterable[Shipment]) -> frozenset[str]:
    """The places of what upgraded packages ship no more and no other owns; configuration files stay, as with dpkg."""
    upgrades = [(one.replaces, one.contents) for one in shipments if one.replaces is not None]
    replaced = {id(package) for package, _ in upgrades}
    found = set()
    for package, contents in upgrades:
        conffiles = dict(package.conffiles)
        kinds = {member.path: member.entry.kind for member in contents.members}
        for path, place in owners.paths(package).items():
            goes = place and path not in conffiles and _goes(tree, place, kinds.get(path, ""))
            if goes and all(id(one) in replaced for one in owners.owners(place)):
                found.add(place)
    return frozenset(found)


def _goes(tree: Tree, place: str, kind: str) -> bool:
    """Whether what is at a place goes as a package no longer ships it, or ships a directory (`kind`) instead."""
    return not kind or (kind == DIRECTORY and not _is_directory(tree, place))


def _is_directory(tree: Tree, place: str) -> bool:
    found = resolve(tree, place, follow=True).entry
    return found is not None and found.kind == DIRECTORY


def left_over(tree: Tree, going: Collection[str], placement: Placement) -> tuple[str, ...]:
    """What of the `going` is to be removed from the tree: what is not placed anew, of directories the empty ones."""
    placed = {place for owned in placement.owned for place in owned.values()}
    placed.update(placement.entries)
    gone = {place for place in going if place not in placed and place in tree}
    directories = {place for place in gone if tree.entries[place].kind == DIRECTORY}
    gone -= directories
    for path in (*tree.entries, *placement.entries) if directories else ():
        if path not in gone and path not in directories:
            directories.difference_update(ancestors(path))
    return tuple(sorted(gone | directories))
