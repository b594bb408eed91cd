# SPDX-License-Identifier: MIT
"""Choosing rpm packages that fit together, by libsolv with the rules that dnf 4 gives it.

What is asked of it beyond dnf: no package below goes or becomes an older one, and one is upgraded where there is no
other way alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..package import Installed, Package
from ..solver import Problem
from ..world import Need
from .relation import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .world import World

_TRIES = 32  # each is a run of the solver; what upgrades more than that is a new release of everything


class Chosen(NamedTuple):
    """Packages in the order of their installation, each with the installed ones whose place it takes."""

    package: Package
    replaces: tuple[Installed, ...]


def solve(world: World, requested: Sequence[Sequence[Package]]) -> tuple[list[Chosen], list[Problem]]:
    """What to install so that one of each of `requested` is, the first one if it can be; or why nothing will do.

    What is told of it is why the first ones will not do.
    """
    best = [versions[:1] for versions in requested]
    solver, problems = _run(world, best)
    if problems and any(len(versions) > 1 for versions in requested):
        again, left = _run(world, requested)
        if not left:
            return _sparing(world, requested, _transaction(world, again)), []
    if problems:
        return [], _problems(world, problems)
    return _sparing(world, best, _transaction(world, solver)), []


def _sparing(world: World, requested: Sequence[Sequence[Package]], chosen: list[Chosen]) -> list[Chosen]:
    """The same, or a way that upgrades less of what lies below and takes no other version of anything new.

    libsolv itself likes it better to upgrade a package than to bring a new one.
    """
    asked = {id(one) for versions in requested for one in versions}
    upgraded = {id(below): below for one in chosen if id(one.package) not in asked for below in one.replaces}
    locked: set[int] = set()
    each = [[below] for below in upgraded.values()][:_TRIES]
    for spared in (list(upgraded.values()), *each) if upgraded else ():
        those = {world.number(one) for below in spared for one in world.replacing(below) if id(one) not in asked}
        solver, problems = _run(world, requested, locked | those)
        found = [] if problems else _transaction(world, solver)
        if found and _same_versions(chosen, found):
            chosen, locked = found, locked | those
            if len(spared) == len(upgraded):
                break
    return chosen


def _same_versions(some: Iterable[Chosen], others: Iterable[Chosen]) -> bool:
    """Whether what is in both is there in one version."""
    known = {one.package.name: one.package for one in some}
    return all(known.get(one.package.name, one.package) is one.package for one in others)


def _run(world: World, requested: Iterable[Sequence[Package]], locked: Iterable[int] = ()) -> tuple[Any, list[Any]]:
    solv, inner = world.pool.solv, world.pool.inner
    wanted = [[world.number(one) for one in versions] for versions in requested]
    job = solv.Job
    jobs = [inner.Job(job.SOLVER_INSTALL | job.SOLVER_SOLVABLE_ONE_OF, inner.towhatprovides(ids)) for ids in wanted]
    jobs += [inner.Job(job.SOLVER_LOCK | job.SOLVER_SOLVABLE, number) for number in sorted(locked)]
    asked = {number for ids in wanted for number in ids}
    unwelcome = (number for number in world.unwelcome if number not in asked)
    jobs += [inner.Job(job.SOLVER_SOLVABLE | job.SOLVER_EXCLUDEFROMWEAK, number) for number in unwelcome]
    solver = inner.Solver()
    for flag in (
        solver.SOLVER_FLAG_ALLOW_VENDORCHANGE,
        solver.SOLVER_FLAG_ALLOW_ARCHCHANGE,
        solver.SOLVER_FLAG_NO_INFARCHCHECK,
        solver.SOLVER_FLAG_YUM_OBSOLETES,
        solver.SOLVER_FLAG_BEST_OBEY_POLICY,
        solver.SOLVER_FLAG_KEEP_ORPHANS,
    ):
        solver.set_flag(flag, 1)
    solver.set_flag(solver.SOLVER_FLAG_IGNORE_RECOMMENDED, int(not world.policy.recommends))
    return solver, solver.solve(jobs)


def _transaction(world: World, solver: Any) -> list[Chosen]:
    transaction = solver.transaction()
    transaction.order()
    new = {one.id for one in transaction.newsolvables()}
    chosen = []
    for step in transaction.steps():
        if step.id in new:
            package = world.candidate(step)
            assert isinstance(package, Package)
            gone = (world.candidate(one) for one in transaction.allothersolvables(step))
            replaces = sorted((one for one in gone if isinstance(one, Installed)), key=lambda one: one[:3])
            chosen.append(Chosen(package, tuple(sorted(replaces, key=lambda one: one.name != package.name))))
    return chosen


def _problems(world: World, problems: Iterable[Any]) -> list[Problem]:
    rules = (rule for problem in problems for rule in problem.findallproblemrules())
    found: dict[tuple[int, ...], Problem] = {}
    for info in (info for rule in rules for info in rule.allinfos()):
        solvables = tuple(one.id if one else 0 for one in (info.solvable, info.othersolvable))
        known = _problem(world, info)
        if known is not None:
            found.setdefault((info.type, info.dep_id, *solvables), known)
    # What lies below can not be changed, so it tells more than what could be installed as well.
    return sorted(found.values(), key=lambda one: not isinstance(one.other, Installed))


def _problem(world: World, info: Any) -> Problem | None:
    kinds = world.pool.solv.Solver
    if not info.solvable:
        return None
    one = world.candidate(info.solvable)
    other = world.candidate(info.othersolvable) if info.othersolvable else None
    need = _need(world, info) if info.dep_id else None
    found = {
        kinds.SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP: Problem("missing", one, None, need),
        kinds.SOLVER_RULE_PKG_REQUIRES: Problem("requires", one, None, need),
        kinds.SOLVER_RULE_PKG_CONFLICTS: Problem("conflict", one, other),
        kinds.SOLVER_RULE_PKG_SELF_CONFLICT: Problem("conflict", one, one),
        kinds.SOLVER_RULE_PKG_OBSOLETES: Problem("conflict", one, other),
        kinds.SOLVER_RULE_PKG_INSTALLED_OBSOLETES: Problem("conflict", one, other),
        kinds.SOLVER_RULE_PKG_IMPLICIT_OBSOLETES: Problem("same", one, other),
        kinds.SOLVER_RULE_PKG_SAME_NAME: Problem("same", one, other),
        kinds.SOLVER_RULE_UPDATE: Problem("gone", one),
        kinds.SOLVER_RULE_YUMOBS: Problem("gone", one),
    }
    return found.get(info.type)


def _need(world: World, info: Any) -> Need:
    """The need that a reason of libsolv's is about: the package's own, where it is one."""
    group = parse(str(info.dep))
    own = world.required(world.candidate(info.solvable))
    return next((need for need in own if need.group == group), Need(group, ()))
