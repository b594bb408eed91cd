# SPDX-License-Identifier: MIT
"""What apt and opkg would choose: of alternatives the first that can be had, dependencies depth first.

Two that are against each other: the later one wins, as with apt, unless the earlier one was asked for or is needed by
what was, without a choice. The solver decides; this tells it which of several ways users of Debian's tools expect.
Where no way is found here the solver may still find one. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .package import Package

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from .world import Candidate, Need, World

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
        self._opponents: dict[int, dict[int, Candidate]] = {}  # of a package, by the ids in memory
        for one in world.installed.values():
            self._enter_opponent(one)

    def request(self, package: Package) -> bool:
        """Choose a package that is asked for, without what it needs."""
        self._firm.add(id(package))
        return self._packages.setdefault(self._world.identity(package), package) is package

    def complete(self, package: Package) -> Step:
        """Choose a package with what it needs; it is not chosen where that can not be, unless it is firm."""
        name, firm = self._world.identity(package), id(package) in self._firm
        other = self._packages.get(name, package) is not package
        if id(package) in self._failed or other or not self._make_room(package, firm=firm):
            return False
        self._packages[name] = package
        self._enter_opponent(package)
        self._begun.add(id(package))
        for need in self._world.required(package):
            if not (yield self._meet(need, firm=firm)) and not firm:
                del self._packages[name]
                # Not tried again, as apt does not either: else a package many need would be tried for each of them.
                self._failed.add(id(package))
                self._begun.discard(id(package))
                return False
        for need in self._world.recommended(package):
            yield self._meet(need, firm=False)
        self._begun.discard(id(package))
        return True

    def drop_broken(self) -> None:
        """Give up packages that lost what they need to later ones."""
        askers: dict[int, list[Package]] = {}
        for one in self._packages.values():
            for met in (met for need in self._world.required(one) for met in need.met_by):
                askers.setdefault(id(met), []).append(one)
        pending = list(self._packages.values())
        while pending:
            one = pending.pop()
            if self._present(one) and id(one) not in self._firm and not self._is_whole(one):
                del self._packages[self._world.identity(one)]
                pending += askers.get(id(one), ())

    def holds(self, package: Package) -> bool:
        """Whether a package has what it needs, and nothing that it can not stand beside."""
        return self._is_whole(package) and not any(map(self._present, self._rivals(package)))

    def reached(self, requested: Iterable[Package]) -> list[Package]:
        """Those chosen that are still of use to the ones requested."""
        pending = list(requested)
        found = {id(one) for one in pending}
        while pending:
            one = pending.pop()
            for need in (*self._world.required(one), *self._world.recommended(one)):
                for met in need.met_by:
                    if isinstance(met, Package) and id(met) not in found and self._present(met):
                        found.add(id(met))
                        pending.append(met)
        return [one for one in self._packages.values() if id(one) in found]

    def _make_room(self, package: Package, *, firm: bool) -> bool:
        """Give up what a package can not stand beside."""
        rivals = [one for one in self._rivals(package) if self._present(one)]
        if any(not isinstance(one, Package) or id(one) in self._firm or id(one) in self._begun for one in rivals):
            return False
        for one in rivals:
            del self._packages[self._world.identity(one)]
            if firm:
                self._failed.add(id(one))
        return True

    def _meet(self, need: Need, *, firm: bool) -> Step:
        left = [one for one in need.met_by if id(one) not in self._failed]
        if firm and len(left) == 1 and isinstance(left[0], Package) and id(left[0]) not in self._firm:
            self._firm.add(id(left[0]))
            return (yield self.complete(left[0]))
        if self._is_met(need):
            return True
        for one in left:
            if isinstance(one, Package) and (yield self.complete(one)):
                return True
        return False

    def _is_whole(self, package: Package) -> bool:
        return all(map(self._is_met, self._world.required(package)))

    def _is_met(self, need: Need) -> bool:
        return any(map(self._present, need.met_by))

    def _present(self, one: Candidate) -> bool:
        name = self._world.identity(one)
        return self._packages.get(name) is one if isinstance(one, Package) else name not in self._packages

    def _rivals(self, package: Package) -> list[Candidate]:
        opposed = {id(one): one for one in self._world.opposed(package)}
        return list({**opposed, **self._opponents.get(id(package), {})}.values())

    def _enter_opponent(self, one: Candidate) -> None:
        for other in self._world.opposed(one):
            self._opponents.setdefault(id(other), {})[id(one)] = one
