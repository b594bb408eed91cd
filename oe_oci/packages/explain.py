# SPDX-License-Identifier: MIT
"""Why packages can not be installed, in the fewest words that show it.

Must not choose packages.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

from ..errors import Fault
from .package import Installed, Package
from .world import KEPT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .relation import Relation
    from .solver import Problem
    from .world import Candidate, Facts, Links, Names, Need


class Link(NamedTuple):
    """What asks for a package: another one, by a need that the first one meets."""

    asker: Candidate
    need: Need
    met: Candidate


_MOST, _STEPS = 3, 8  # of what is told of many: of packages and reasons, and of steps that lead to a reason
# The kinds of problems; the less, the more one says.
_TELLING = {"conflict": 0, "missing": 0, "same": 1, "requires": 2, "gone": 3}


def chains(
    world: Links, requested: Iterable[Package], among: Iterable[Package] | None = None
) -> dict[int, Link | None]:
    """For each package that those requested lead to, by way of the fewest, what asks for it; None for those themselves.

    Keys are the packages' ids in memory; `among` bounds what is looked at. What is needed goes before what is
    recommended.
    """
    members = None if among is None else {id(one) for one in among}
    frontier = list(requested)
    found: dict[int, Link | None] = dict.fromkeys(map(id, frontier))

    def ask(asker: Package, needs: Iterable[Need]) -> Iterator[Package]:
        for need in needs:
            for one in need.met_by:
                if isinstance(one, Package) and id(one) not in found and (members is None or id(one) in members):
                    found[id(one)] = Link(asker, need, one)
                    yield one

    while frontier:
        for asker in frontier:  # grows meanwhile
            frontier.extend(ask(asker, world.required(asker)))
        frontier = [one for asker in frontier for one in ask(asker, world.recommended(asker))]
    return found


def no_such_package(world: Names, name: str, arch: str) -> Fault:
    """The fault of a layer that names a package there is not, of an architecture where it names one."""
    written = f"{name}:{arch}" if arch else name
    for one in world.known(name):
        barred = world.barred(one)
        if barred and one.name == name:
            return Fault(
                "OCI_LAYERS", f"'{written}' may not be installed: {barred.reason}", "remove it from one of the two"
            )
    there = [world.identity(one) for one in world.known(name)]
    hint = f"there is {_some(there)}" if there else world.hint(name)
    return Fault("OCI_LAYERS", f"no feed has a package '{written}'", hint)


def explain(world: Facts, layer: str, requested: Sequence[Package], problems: Sequence[Problem]) -> Fault:
    """The fault of a layer whose packages do not fit together: of all chains of reasons the shortest."""
    return _Explanation(world, requested, problems).fault(layer)


class _Explanation:
    def __init__(self, world: Facts, requested: Sequence[Package], problems: Sequence[Problem]) -> None:
        self._world = world
        self._requested = requested
        self._problems = problems
        self._chains = chains(world, requested)
        self._depths: dict[int, int] = {}
        for number, link in self._chains.items():
            self._depths[number] = self._depths[id(link.asker)] + 1 if link else 0

    def fault(self, layer: str) -> Fault:
        if not self._problems:
            names = _some(map(self._shown, self._requested))
            return Fault("OCI_LAYERS", f"layer '{layer}': {names} do not fit together, nor with what lies below")
        ranked = sorted(self._problems, key=self._rank)
        _, hint = self._told(ranked[0])
        texts: dict[str, None] = {}
        for problem in itertools.islice(itertools.chain(ranked[:1], self._others(ranked)), _MOST):
            texts.update(dict.fromkeys([*_shortened(self._steps(problem)), self._told(problem)[0]]))
        return Fault("OCI_LAYERS", f"layer '{layer}': {'; '.join(texts)}", hint)

    def _rank(self, problem: Problem) -> tuple[int, int]:
        """How little a problem says, and how far what the layer names is from it."""
        return _TELLING[problem.kind], sum(self._depths.get(id(one), 0) for one in (problem.one, problem.other))

    def _others(self, ranked: Sequence[Problem]) -> Iterator[Problem]:
        """Why what could be instead of the packages that the first problem comes by can not be either."""
        problems = {id(problem.one): problem for problem in reversed(ranked) if problem.kind != "requires"}
        seen = {id(ranked[0].one), id(ranked[0].other)}
        for link in self._chain(ranked[0].one):
            for instead in link.need.met_by:
                if id(instead) in problems and id(instead) not in seen and instead is not link.met:
                    yield problems[id(instead)]

    def _steps(self, problem: Problem) -> list[str]:
        """How the layer comes to the packages of a problem."""
        one, other = problem.one, problem.other
        if problem.kind == "same" and other is not None:
            links = [*self._demanded(one, other), *self._demanded(other, one)]
        else:
            links = [*self._chain(one), *self._chain(other)]
        return list(dict.fromkeys(map(self._step, links)))

    def _chain(self, one: Candidate | None) -> list[Link]:
        """How the layer comes to a package, from what the layer names on."""
        links: list[Link] = []
        link = self._chains.get(id(one))
        while link is not None:
            links.append(link)
            link = self._chains.get(id(link.asker))
        return links[::-1]

    def _demanded(self, one: Candidate, other: Candidate) -> list[Link]:
        """How the layer comes to a package where another version of it would not do."""
        ways = [
            [*self._chain(problem.one), Link(problem.one, problem.need, one)]
            for problem in self._problems
            if problem.kind == "requires" and problem.need is not None
            if any(met is one for met in problem.need.met_by) and all(met is not other for met in problem.need.met_by)
        ]
        return min(ways, key=len, default=self._chain(one))

    def _step(self, link: Link) -> str:
        named = link.met.name in {relation.name for relation in link.need.group}
        provided = "" if named else f", which {self._shown(link.met)} provides"
        return f"{self._shown(link.asker)} needs {_text(link.need)}{provided}"

    def _told(self, problem: Problem) -> tuple[str, str]:
        """What a problem is, and what to do about it."""
        one, other, need = problem.one, problem.other, problem.need
        if other is not None:
            return self._conflict(one, other) if problem.kind == "conflict" else self._same(one, other)
        if need is None:
            return f"{self._shown(one)} would have to go", KEPT
        text = f"{self._shown(one)} needs {_text(need)}"
        if need.met_by:
            return f"{text}, which does not fit with the rest", ""
        reason, hint = self._missing(need, one)
        return f"{text}{reason}", hint

    def _same(self, one: Candidate, other: Candidate) -> tuple[str, str]:
        """Two versions of a package."""
        if isinstance(one, Installed) or isinstance(other, Installed):
            below, new = (one, other) if isinstance(one, Installed) else (other, one)
            return f"{self._shown(new)} would take the place of {self._shown(below)}", KEPT
        return f"{self._shown(one)} and {self._shown(other)} can not both be installed", self._choice(one, other)

    def _conflict(self, one: Candidate, other: Candidate) -> tuple[str, str]:
        found = self._world.reason(one, other)
        if found is None:
            hint = "packages of one name for two architectures fit together in one version, with Multi-Arch: same"
            return f"{self._shown(one)} and {self._shown(other)} can not both be installed", hint
        field, relation = found
        text = f"{self._shown(one)} conflicts with {self._shown(other)}, by its {field}: {relation}"
        return text, self._choice(one, other)

    def _choice(self, one: Candidate, other: Candidate) -> str:
        """What to do about two packages that can not both be there."""
        if isinstance(one, Installed) or isinstance(other, Installed):
            return KEPT
        ways = ((each, self._chain(each)) for each in (one, other))
        asked = {self._world.identity(way[0].asker if way else each) for each, way in ways}
        return f"leave out {' or '.join(sorted(asked))}" if len(asked) > 1 else ""

    def _missing(self, need: Need, asker: Candidate) -> tuple[str, str]:
        """Why nothing meets a need, and what to do about it."""
        world = self._world
        known = [(one, relation) for relation in need.group for one in world.known(relation.name)]
        for one, relation in known:
            barred = world.barred(one)
            if barred and world.satisfies(one, relation, asker):
                return f"; {self._shown(one)} would do, but {barred.reason}", barred.hint
        if known:
            fit = [(one, relation) for one, relation in known if world.barred(one) is None] or known
            return f"; there is {_some(self._offered(one, relation) for one, relation in fit)}", _rule(fit)
        hints = (world.hint(relation.name) for relation in need.group[:_MOST])
        return ", which no feed has", next(filter(None, hints), "")

    def _offered(self, one: Candidate, relation: Relation) -> str:
        """A package that does not serve, with what it provides where that is what was asked for."""
        shown = f"{one.name}:{one.arch} {one.version}" if relation.qualifier else self._shown(one)
        if one.name == relation.name:
            return shown
        return f"{self._world.provided(one, relation.name)[0]} of {shown}"

    def _shown(self, one: Candidate) -> str:
        text = f"{self._world.identity(one)} {one.version}"
        return f"{text} (installed below)" if isinstance(one, Installed) else text


def _rule(known: Iterable[tuple[Candidate, Relation]]) -> str:
    """The rule that packages of the right names fail by, where it is one that is little known."""
    for one, relation in known:
        if relation.qualifier == "any" and one.fields.get("Multi-Arch") != "allowed":
            return "':any' takes packages with 'Multi-Arch: allowed' only"
        if relation.operator and one.name != relation.name:
            return "a relation with a version is met by a Provides with a fitting version only"
    return ""


def _shortened(steps: list[str]) -> list[str]:
    return steps if len(steps) <= _STEPS else [*steps[: _STEPS // 2], "…", *steps[-_STEPS // 2 :]]


def _some(texts: Iterable[str]) -> str:
    different = list(dict.fromkeys(texts))
    more = f" and {len(different) - _MOST} more" if len(different) > _MOST else ""
    return ", ".join(different[:_MOST]) + more


def _text(need: Need) -> str:
    more = f" or {len(need.group) - _STEPS} others" if len(need.group) > _STEPS else ""
    return " or ".join(map(str, need.group[:_STEPS])) + more
