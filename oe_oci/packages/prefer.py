# SPDX-License-Identifier: MIT
"""What apt and opkg would choose: of alternatives the first that can be had, dependencies depth first.

The solver decides; this tells it which of several ways users of Debian's tools expect. Where no way is found here the
solver may still find one. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .package import Package
from .version import compare
from .world import AGAINST, REQUIRED

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from .relation import Group, Relation
    from .world import Candidate, World

    Step = Generator[Package, bool, bool]


def preferred(world: World, requested: Sequence[Package]) -> tuple[list[Package], bool]:
    """The packages that would be chosen for those requested, and whether these and no others are enough."""
    chosen = _Chosen(world)
    # All that is asked for is settled first, so that a dependency is not met by something else.
    whole = all(chosen.take(package) for package in requested)
    for package in requested:
        whole = _run(chosen, chosen.needs(package)) and whole
    return list(chosen.packages.values()), whole


def _run(chosen: _Chosen, step: Step) -> bool:
    """Drive steps that ask for further steps; a stack of our own, as chains of dependencies can be long."""
    stack = [step]
    answer: bool | None = None
    while True:
        try:
            package = next(stack[-1]) if answer is None else stack[-1].send(answer)
        except StopIteration as stop:
            stack.pop()
            answer = stop.value
            if not stack:
                return bool(answer)
        else:
            answer = None
            stack.append(chosen.install(package))


class _Chosen:
    """What is chosen so far."""

    def __init__(self, world: World) -> None:
        self.packages: dict[str, Package] = {}
        self._world = world
        self._failed: set[int] = set()
        self._against: dict[str, list[tuple[Relation, Candidate]]] = {}
        for one in world.installed.values():
            self._enter_conflicts(one)

    def install(self, package: Package) -> Step:
        """Choose a package with what it needs; chooses nothing where that can not be."""
        before = list(self.packages)
        if self.packages.get(self._world.identity(package)) is package:
            return True
        if id(package) in self._failed:
            return False
        if self.take(package):
            if (yield from self.needs(package)):
                return True
            for name in list(self.packages)[len(before) :]:
                del self.packages[name]
        # Not tried again, as apt does not either: else a package many need would be tried for each of them.
        self._failed.add(id(package))
        return False

    def needs(self, package: Package) -> Step:
        """Choose what a package needs, then what it recommends."""
        for group in self._world.groups(package, REQUIRED):
            if not (yield from self._meet(package, group)):
                return False
        for group in self._world.recommended(package):
            yield from self._meet(package, group)
        return True

    def take(self, package: Package) -> bool:
        """Choose one package, where nothing chosen or installed is against it."""
        name = self._world.identity(package)
        if name in self.packages:
            return self.packages[name] is package
        below = self._world.installed.get(name)
        if below is not None and compare(package.version, below.version) <= 0:
            return False
        if self._conflicts(package, name):
            return False
        self.packages[name] = package
        self._enter_conflicts(package)
        return True

    def _meet(self, package: Package, group: Group) -> Step:
        candidates = self._world.meeting(group, package)
        if any(self._present(one) for one in candidates):
            return True
        for one in candidates:
            if isinstance(one, Package) and (yield one):
                return True
        return False

    def _present(self, one: Candidate) -> bool:
        name = self._world.identity(one)
        if isinstance(one, Package):
            return self.packages.get(name) is one
        return name not in self.packages

    def _conflicts(self, package: Package, name: str) -> bool:
        world = self._world
        others = world.siblings(package)
        for group in world.groups(package, AGAINST):
            others += world.meeting(group, package)
        for own in (package.name, *(provided.name for provided in world.provided(package))):
            others += (
                owner for relation, owner in self._against.get(own, ()) if world.satisfied_by(package, relation, owner)
            )
        return any(self._present(other) and world.identity(other) != name for other in others)

    def _enter_conflicts(self, one: Candidate) -> None:
        for group in self._world.groups(one, AGAINST):
            self._against.setdefault(group[0].name, []).append((group[0], one))
