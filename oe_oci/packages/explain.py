# SPDX-License-Identifier: MIT
"""Why packages can not be installed, in the fewest words that show it.

Must not choose packages.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Optional

from ..errors import Fault
from .package import Installed, Package
from .world import REQUIRED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .relation import Group, Relation
    from .solver import Problem
    from .world import Candidate, World


class Link(NamedTuple):
    """What asks for a package: another one, by a group of relations."""

    asker: Package
    group: Group


Chains = dict[int, tuple[Package, Optional[Link]]]

# The kinds of problems, the one that says most first.
_TELLING = ("missing", "conflict", "same", "older", "requires")


def chains(world: World, requested: Sequence[Package], among: Iterable[Package] | None = None) -> Chains:
    """For each package that those requested lead to, by way of the fewest, what asks for it; None for those themselves.

    Keys are the packages' ids in memory; `among` bounds what is looked at. What is needed goes before what is
    recommended.
    """
    members = None if among is None else {id(one) for one in among}
    found: Chains = {id(one): (one, None) for one in requested}
    for groups in (lambda one: world.groups(one, REQUIRED), world.recommended):
        pending = deque(one for one, _ in found.values())
        while pending:
            asker = pending.popleft()
            for group in groups(asker):
                for one in world.meeting(group, asker):
                    if isinstance(one, Package) and id(one) not in found and (members is None or id(one) in members):
                        found[id(one)] = (one, Link(asker, group))
                        pending.append(one)
    return found


def no_such_package(world: World, name: str) -> Fault:
    """The fault of a layer that names a package there is not."""
    for one in world.known(name):
        reason = world.unfit(one)
        if reason:
            return Fault("OCI_LAYERS", f"'{name}' may not be installed: {reason}", "remove it from one of the two")
    return Fault("OCI_LAYERS", f"no feed has a package '{name}'", world.hint(name))


def explain(world: World, layer: str, requested: Sequence[Package], problems: Sequence[Problem]) -> Fault:
    """The fault of a layer whose packages do not fit together: of all chains of reasons the shortest."""
    known = chains(world, requested)
    told = [(_TELLING.index(problem.kind), _steps(known, problem), number) for number, problem in enumerate(problems)]
    if not told:
        names = ", ".join(one.shown for one in requested)
        return Fault("OCI_LAYERS", f"layer '{layer}': {names} do not fit together, nor with what lies below")
    _, steps, number = min(told, key=lambda one: (one[0], len(one[1]), one[1]))
    text, hint = _told(world, problems[number])
    return Fault("OCI_LAYERS", f"layer '{layer}': {'; '.join([*steps, text])}", hint)


def _steps(known: Chains, problem: Problem) -> list[str]:
    """How the layer comes to the packages of a problem."""
    steps: list[str] = []
    for one in (problem.one, problem.other):
        own: list[str] = []
        place = known.get(id(one))
        while place is not None and place[1] is not None:
            own.append(f"{place[1].asker.shown} needs {_text(place[1].group)}")
            place = known.get(id(place[1].asker))
        steps += [step for step in reversed(own) if step not in steps]
    return steps


def _told(world: World, problem: Problem) -> tuple[str, str]:
    one, other, group = problem.one, problem.other, problem.group or ()
    if problem.kind == "conflict":
        return f"{_shown(one)} conflicts with {_text(group) or 'it'}: {_shown(other)}", ""
    if problem.kind == "same" and not isinstance(other, Installed) and not isinstance(one, Installed):
        return f"{_shown(one)} and {_shown(other)} can not both be installed", ""
    if problem.kind in ("same", "older"):
        below, instead = (one, other) if isinstance(one, Installed) else (other, one)
        by = f" by {_shown(instead)}" if instead else ""
        hint = "a layer never replaces a package below by an older one, nor removes one"
        return f"{_shown(below)} would have to be replaced{by}", hint
    reason, hint = _why_missing(world, group, one)
    return f"{_shown(one)} needs {_text(group)}{reason}", hint


def _why_missing(world: World, group: Group, asker: Candidate) -> tuple[str, str]:
    if world.meeting(group, asker):
        return ", which does not fit with the rest", ""
    known = [one for relation in group for one in world.known(relation.name)]
    unfit = [f"{world.unfit(one)}" for one in known if world.unfit(one)]
    if unfit:
        return f", and {unfit[0]}", ""
    if known:
        there = ", ".join(sorted({_shown(one) for one in known})[:3])
        return f"; there is {there}", ""
    return ", which no feed has", world.hint(group[0].name)


def _shown(one: Candidate | None) -> str:
    if one is None:
        return "another package"
    return f"{one.shown} (installed below)" if isinstance(one, Installed) else one.shown


def _text(group: Sequence[Relation]) -> str:
    return " or ".join(map(str, group))
