# SPDX-License-Identifier: MIT
"""Choosing packages that fit together, by libsolv.

libsolv's wheel knows rpm's rules alone. So nothing of Debian's is left for it to decide: each relation becomes a
capability of its own, provided by the packages that satisfy it (`World` says which), and a package's version becomes
its rank among those of its name. What remains is what libsolv is for: which packages make all of it true.
"""

from __future__ import annotations

from functools import cmp_to_key
from typing import TYPE_CHECKING, Any, NamedTuple

from .package import Package
from .version import compare
from .world import AGAINST, REQUIRED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .relation import Group
    from .world import Candidate, World


class Problem(NamedTuple):
    """One reason for which there is no solution.

    `kind` is `missing` (nothing satisfies `group` of `one`), `requires` (nothing that could be installed does),
    `conflict` (`one` is against `other`, as `group` says), `same` (two packages of one name) or `older` (the installed
    `one` would have to go).
    """

    kind: str
    one: Candidate
    other: Candidate | None = None
    group: Group | None = None


def solve(
    world: World, universe: Sequence[Package], requested: Sequence[Package], favored: Iterable[Package]
) -> tuple[list[Package], list[Problem]]:
    """Those of `universe` to install so that all `requested` are, and all relations hold with what is installed.

    Of several ways the one with the `favored` packages is taken. Returns the packages, or why there are none.
    """
    model = _Model(world, universe)
    return model.solve(requested, favored)


class _Model:
    def __init__(self, world: World, universe: Sequence[Package]) -> None:
        import solv  # noqa: PLC0415 - not for the class, nor for builds without packages

        self._solv = solv
        self._world = world
        self._pool = solv.Pool()
        self._capabilities: dict[tuple[Group, str], Any] = {}
        self._groups: dict[int, Group] = {}  # by the capability's id
        self._of: dict[int, Candidate] = {}  # by the solvable's id
        self._ids: dict[int, Any] = {}  # solvables by the candidate's identity in memory
        installed = list(world.installed.values())
        self._ranks = _ranks(world, [*installed, *universe])
        self._pool.installed = self._add("installed", installed)
        same = {(name, one.version) for name, one in world.installed.items()}
        self._add("offered", [one for one in universe if (world.identity(one), one.version) not in same])
        for one in list(self._of.values()):
            self._relate(one)
        self._pool.createwhatprovides()

    def solve(self, requested: Sequence[Package], favored: Iterable[Package]) -> tuple[list[Package], list[Problem]]:
        solv = self._solv
        jobs = [(solv.Job.SOLVER_INSTALL, one) for one in requested]
        jobs += [(solv.Job.SOLVER_FAVOR, one) for one in favored]
        solver = self._pool.Solver()
        problems = solver.solve(
            [
                self._pool.Job(what | solv.Job.SOLVER_SOLVABLE, self._ids[id(one)].id)
                for what, one in jobs
                if id(one) in self._ids
            ]
        )
        if problems:
            return [], self._problems(problems)
        new = [self._of[solvable.id] for solvable in solver.transaction().newsolvables()]
        return [one for one in new if isinstance(one, Package)], []

    def _add(self, name: str, packages: Iterable[Candidate]) -> Any:
        repo = self._pool.add_repo(name)
        for one in packages:
            solvable = repo.add_solvable()
            solvable.name = self._world.identity(one)
            solvable.evr = str(self._ranks[self._world.identity(one)][one.version])
            solvable.arch = "noarch"
            dependency = self._pool.rel2id(solvable.nameid, solvable.evrid, self._solv.REL_EQ)
            solvable.add_deparray(self._solv.SOLVABLE_PROVIDES, dependency)
            self._of[solvable.id] = one
            self._ids[id(one)] = solvable
        return repo

    def _relate(self, one: Candidate) -> None:
        solv, solvable, world = self._solv, self._ids[id(one)], self._world
        for group in world.groups(one, REQUIRED):
            solvable.add_deparray(solv.SOLVABLE_REQUIRES, self._capability(group, one))
        for group in world.recommended(one):
            solvable.add_deparray(solv.SOLVABLE_RECOMMENDS, self._capability(group, one))
        for group in world.groups(one, AGAINST):
            solvable.add_deparray(solv.SOLVABLE_CONFLICTS, self._capability(group, one))
        for other in world.siblings(one):
            if id(other) in self._ids:
                sibling = self._ids[id(other)]
                exactly = self._pool.rel2id(sibling.nameid, sibling.evrid, solv.REL_EQ)
                solvable.add_deparray(solv.SOLVABLE_CONFLICTS, exactly)

    def _capability(self, group: Group, asker: Candidate) -> Any:
        key = (group, self._world.architecture(asker))
        if key not in self._capabilities:
            number = self._pool.str2id(f"relation {len(self._capabilities)}")
            self._capabilities[key] = number
            self._groups[number] = group
            for relation in group:
                for one in self._world.satisfying(relation, asker):
                    if id(one) in self._ids:
                        self._ids[id(one)].add_deparray(self._solv.SOLVABLE_PROVIDES, number)
        return self._capabilities[key]

    def _problems(self, problems: Iterable[Any]) -> list[Problem]:
        found = []
        for problem in problems:
            for rule in problem.findallproblemrules():
                for info in rule.allinfos():
                    known = self._problem(info)
                    if known is not None and known not in found:
                        found.append(known)
        return found

    def _problem(self, info: Any) -> Problem | None:
        kinds, of = self._solv.Solver, self._of
        one = of.get(info.solvable.id) if info.solvable else None
        other = of.get(info.othersolvable.id) if info.othersolvable else None
        if one is None:
            return None
        group = self._groups.get(info.dep_id)
        if info.type in (kinds.SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP, kinds.SOLVER_RULE_PKG_REQUIRES):
            missing = info.type == kinds.SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP
            return Problem("missing" if missing else "requires", one, None, group)
        if info.type == kinds.SOLVER_RULE_PKG_CONFLICTS:
            return Problem("conflict", one, other, group)
        if info.type == kinds.SOLVER_RULE_PKG_SAME_NAME:
            return Problem("same", one, other)
        if info.type == kinds.SOLVER_RULE_UPDATE:
            return Problem("older", one)
        return None


def _ranks(world: World, packages: Iterable[Candidate]) -> dict[str, dict[str, int]]:
    """For each name the place of each version among those known, from 1."""
    versions: dict[str, set[str]] = {}
    for one in packages:
        versions.setdefault(world.identity(one), set()).add(one.version)
    return {
        name: {version: place for place, version in enumerate(sorted(known, key=cmp_to_key(compare)), 1)}
        for name, known in versions.items()
    }
