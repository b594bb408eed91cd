# SPDX-License-Identifier: MIT
"""What apt and opkg would choose: of alternatives the first that can be had, dependencies depth first.

Two that are against each other: the later one wins, as with apt, unless the earlier one was asked for or is needed by
what was, without a choice. The solver decides; this tells it which of several ways users of Debian's tools expect.
Where no way is found here the solver may still find one. Pure.
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

    Step = Generator["Step", bool, bool]


def preferred(world: World, requested: Sequence[Package]) -> tuple[list[Package], bool]:
    """The packages that would be chosen for those requested, and whether these and no others are enough."""
    chosen = _Chosen(world)
    # All that is asked for is settled first, so that a dependency is not met by something else.
    agreed = [chosen.request(package) for package in requested]
    agreed += [_run(chosen.complete(package)) for package in requested]
    chosen.drop_broken()
    packages = chosen.reached(requested)
    return packages, all(agreed) and all(map(chosen.holds, packages))


def _run(step: Step) -> bool:
    """Drive steps that ask for further steps; a stack of our own, as chains of dependencies can be long."""
    stack = [step]
    answer: bool | None = None
    while True:
        try:
            inner = next(stack[-1]) if answer is None else stack[-1].send(answer)
        except StopIteration as stop:
            stack.pop()
            answer = bool(stop.value)
            if not stack:
                return answer
        else:
            answer = None
            stack.append(inner)


class _Chosen:
    """What is chosen so far. `firm` is what was asked for, and what that needs without a choice."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._packages: dict[str, Package] = {}
        self._firm: set[int] = set()
        self._begun: set[int] = set()  # whose needs are just being met
        self._failed: set[int] = set()
        self._against: dict[str, list[tuple[Relation, Candidate]]] = {}
        for one in world.installed.values():
            self._enter_conflicts(one)

    def request(self, package: Package) -> bool:
        """Choose a package that is asked for, without what it needs."""
        self._firm.add(id(package))
        if not self._fits_in(package):
            return False
        self._packages[self._world.identity(package)] = package
        return True

    def complete(self, package: Package) -> Step:
        """Choose a package with what it needs; it is not chosen where that can not be, unless it is firm."""
        firm = id(package) in self._firm
        if id(package) in self._failed or not (self._fits_in(package) and self._make_room(package, firm=firm)):
            return False
        self._packages[self._world.identity(package)] = package
        self._enter_conflicts(package)
        self._begun.add(id(package))
        for group in self._world.groups(package, REQUIRED):
            if not (yield self._meet(package, group, firm=firm)) and not firm:
                del self._packages[self._world.identity(package)]
                # Not tried again, as apt does not either: else a package many need would be tried for each of them.
                self._failed.add(id(package))
                self._begun.discard(id(package))
                return False
        for group in self._world.recommended(package):
            yield self._meet(package, group, firm=False)
        self._begun.discard(id(package))
        return True

    def drop_broken(self) -> None:
        """Give up packages that lost what they need to later ones."""
        pending = list(self._packages.values())
        while pending:
            left = [one for one in pending if id(one) in self._firm or self.is_whole(one)]
            if len(left) == len(pending):
                return
            self._packages = {self._world.identity(one): one for one in left}
            pending = left

    def is_whole(self, package: Package) -> bool:
        """Whether a package has what it needs directly."""
        return all(self._is_met(package, group) for group in self._world.groups(package, REQUIRED))

    def holds(self, package: Package) -> bool:
        """Whether a package has what it needs, and nothing that it can not stand beside."""
        return self.is_whole(package) and not any(map(self._present, self._rivals(package)))

    def reached(self, requested: Sequence[Package]) -> list[Package]:
        """Those chosen that are still of use to the ones requested."""
        pending = list(requested)
        found: set[int] = set()
        while pending:
            one = pending.pop()
            if id(one) not in found:
                found.add(id(one))
                for group in [*self._world.groups(one, REQUIRED), *self._world.recommended(one)]:
                    met = self._world.meeting(group, one)
                    pending += [other for other in met if isinstance(other, Package) and self._present(other)]
        return [one for one in self._packages.values() if id(one) in found]

    def _fits_in(self, package: Package) -> bool:
        """Whether a package is no older than what lies below, and no other version of one that is chosen."""
        name = self._world.identity(package)
        below = self._world.installed.get(name)
        newer = below is None or compare(package.version, below.version) > 0
        return newer and self._packages.get(name, package) is package

    def _make_room(self, package: Package, *, firm: bool) -> bool:
        """Give up what a package can not stand beside."""
        rivals = [one for one in self._rivals(package) if self._present(one)]
        if any(not isinstance(one, Package) or id(one) in self._firm | self._begun for one in rivals):
            return False
        for one in rivals:
            del self._packages[self._world.identity(one)]
            if firm:
                self._failed.add(id(one))
        return True

    def _rivals(self, package: Package) -> list[Candidate]:
        world = self._world
        found = {id(one): one for one in world.siblings(package)}
        for group in world.groups(package, AGAINST):
            found.update((id(one), one) for one in world.meeting(group, package))
        for own in (package.name, *(provided.name for provided in world.provided(package))):
            for relation, owner in self._against.get(own, ()):
                if world.satisfied_by(package, relation, owner):
                    found[id(owner)] = owner
        return [one for one in found.values() if world.identity(one) != world.identity(package)]

    def _meet(self, package: Package, group: Group, *, firm: bool) -> Step:
        candidates = self._world.meeting(group, package)
        left = [one for one in candidates if id(one) not in self._failed]
        if firm and len(set(map(id, left))) == 1 and isinstance(left[0], Package) and id(left[0]) not in self._firm:
            self._firm.add(id(left[0]))
            return (yield self.complete(left[0]))
        if self._is_met(package, group):
            return True
        for one in left:
            if isinstance(one, Package) and (yield self.complete(one)):
                return True
        return False

    def _is_met(self, package: Package, group: Group) -> bool:
        return any(self._present(one) for one in self._world.meeting(group, package))

    def _present(self, one: Candidate) -> bool:
        name = self._world.identity(one)
        return self._packages.get(name) is one if isinstance(one, Package) else name not in self._packages

    def _enter_conflicts(self, one: Candidate) -> None:
        for group in self._world.groups(one, AGAINST):
            self._against.setdefault(group[0].name, []).append((group[0], one))
