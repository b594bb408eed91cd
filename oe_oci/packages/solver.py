# SPDX-License-Identifier: MIT
"""Choosing packages that fit together, by libsolv.

libsolv's wheel knows rpm's rules alone. So nothing of Debian's is left for it to decide: each need becomes a capability
of its own, provided by the packages that meet it (`World` says which), and a package's version becomes its place among
those of its name. What remains is what libsolv is for: which packages make all of it true.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from . import libsolv
from .package import Package

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .world import Candidate, Need, World


class Problem(NamedTuple):
    """One reason for which there is no solution.

    `kind` is `missing` (nothing meets `need` of `one`), `requires` (nothing that could be installed does), `conflict`
    (`one` is against `other`), `same` (two packages of one name) or `gone` (the installed `one` would have to go).
    """

    kind: str
    one: Candidate
    other: Candidate | None = None
    need: Need | None = None


def solve(
    world: World, universe: Sequence[Package], requested: Iterable[Sequence[Package]], favored: Iterable[Package]
) -> tuple[list[Package], list[Problem]]:
    """Those of `universe` to install so that one of each of `requested` is, and all relations hold with the installed.

    All of `requested` and `favored` are in `universe`. Of several ways the one with the `favored` packages is taken.
    Returns the packages, or why there are none.
    """
    model = _Model(world, universe)
    return model.solve(requested, favored)


class _Model:
    def __init__(self, world: World, universe: Sequence[Package]) -> None:
        solv = libsolv.load()
        self._solv = solv
        self._world = world
        self._pool = solv.Pool()
        self._capabilities: dict[tuple[object, ...], int] = {}
        self._needs: dict[int, Need] = {}  # by the capability
        self._of: dict[int, Candidate] = {}  # by the solvable's id
        self._provides: dict[int, list[int]] = {}  # the capabilities, by the solvable's id
        self._ids: dict[int, int] = {}  # the solvables', by the candidates' ids in memory
        self._pool.installed = self._pool.add_repo("installed")
        repo = self._pool.add_repo("offered")
        for below in world.installed.values():
            self._add(self._pool.installed, below, 0)
        places = _places(world, universe)
        for one in universe:
            self._add(repo, one, places[id(one)])
        self._relate()
        self._pool.createwhatprovides()

    def solve(
        self, requested: Iterable[Sequence[Package]], favored: Iterable[Package]
    ) -> tuple[list[Package], list[Problem]]:
        install, favor = self._solv.Job.SOLVER_INSTALL, self._solv.Job.SOLVER_FAVOR
        jobs = [self._job(install, one) for one in requested] + [self._job(favor, (one,)) for one in favored]
        solver = self._pool.Solver()
        problems = solver.solve(jobs)
        if problems:
            return [], self._problems(problems)
        new = [self._of[solvable.id] for solvable in solver.transaction().newsolvables()]
        return [one for one in new if isinstance(one, Package)], []

    def _job(self, what: int, packages: Sequence[Package]) -> Any:
        ids = [self._ids[id(one)] for one in packages]
        if len(ids) == 1:
            return self._pool.Job(what | self._solv.Job.SOLVER_SOLVABLE, ids[0])
        return self._pool.Job(what | self._solv.Job.SOLVER_SOLVABLE_ONE_OF, self._pool.towhatprovides(ids))

    def _add(self, repo: Any, one: Candidate, place: int) -> None:
        solvable = repo.add_solvable()
        # libsolv lets conflicts of what is called patch:… pass.
        solvable.name = f"package {self._world.identity(one)}"
        solvable.evr = str(place)
        solvable.arch = "noarch"
        itself = self._pool.rel2id(solvable.nameid, solvable.evrid, self._solv.REL_EQ)
        self._provides[solvable.id] = [itself]
        self._of[solvable.id] = one
        self._ids[id(one)] = solvable.id

    def _relate(self) -> None:
        """Enter all relations, one sort after the other: libsolv copies what does not grow at its end."""
        solv, world = self._solv, self._world
        requires = {number: [self._need(need) for need in world.required(one)] for number, one in self._of.items()}
        recommends = {
            number: [self._need(need) for need in world.recommended(one)]
            for number, one in self._of.items()
            if isinstance(one, Package)
        }
        conflicts = {number: self._opposed(one) for number, one in self._of.items()}
        for sort, relations in (
            (solv.SOLVABLE_REQUIRES, requires),
            (solv.SOLVABLE_RECOMMENDS, recommends),
            (solv.SOLVABLE_CONFLICTS, conflicts),
            (solv.SOLVABLE_PROVIDES, self._provides),
        ):
            for number, capabilities in relations.items():
                for capability in capabilities:
                    self._pool.solvables[number].add_deparray(sort, capability)

    def _need(self, need: Need) -> int:
        """The capability of all that meets a need."""
        number = self._capability((need.group, *map(id, need.met_by)), need.met_by)
        self._needs[number] = need
        return number

    def _opposed(self, one: Candidate) -> list[int]:
        """The capability of all that a package is against, and of itself: thus packages against each other share it.

        No package is against itself, says libsolv too.
        """
        opposed = [other for other in self._world.opposed(one) if id(other) in self._ids]
        key = tuple(sorted(map(id, (one, *opposed))))
        return [self._capability(key, [one, *opposed])] if opposed else []

    def _capability(self, key: tuple[object, ...], providers: Iterable[Candidate]) -> int:
        if key not in self._capabilities:
            number = self._capabilities[key] = self._pool.str2id(f"capability {len(self._capabilities)}")
            for one in providers:
                if id(one) in self._ids:
                    self._provides[self._ids[id(one)]].append(number)
        return self._capabilities[key]

    def _problems(self, problems: Iterable[Any]) -> list[Problem]:
        rules = (rule for problem in problems for rule in problem.findallproblemrules())
        found: dict[tuple[int, ...], Problem] = {}
        for info in (info for rule in rules for info in rule.allinfos()):
            solvables = (one.id if one else 0 for one in (info.solvable, info.othersolvable))
            known = self._problem(info)
            if known is not None:
                found.setdefault((info.type, info.dep_id, *solvables), known)
        return list(found.values())

    def _problem(self, info: Any) -> Problem | None:
        kinds = self._solv.Solver
        one = self._of.get(info.solvable.id) if info.solvable else None
        other = self._of.get(info.othersolvable.id) if info.othersolvable else None
        if one is None:
            return None
        found = {
            kinds.SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP: Problem("missing", one, None, self._needs.get(info.dep_id)),
            kinds.SOLVER_RULE_PKG_REQUIRES: Problem("requires", one, None, self._needs.get(info.dep_id)),
            kinds.SOLVER_RULE_PKG_CONFLICTS: Problem("conflict", one, other),
            kinds.SOLVER_RULE_PKG_SAME_NAME: Problem("same", one, other),
            kinds.SOLVER_RULE_UPDATE: Problem("gone", one),
        }
        return found.get(info.type)


def _places(world: World, packages: Iterable[Package]) -> dict[int, int]:
    """The place of each package among those of its name, from 1, the best one last; by the ids in memory."""
    return {
        id(one): place
        for name in dict.fromkeys(package.name for package in packages)
        for place, one in enumerate(reversed(world.known(name)), 1)
        if one.name == name
    }
