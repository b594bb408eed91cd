# SPDX-License-Identifier: MIT
"""In which order the packages of a layer are configured: each after those it needs, as far as no circle prevents it.

What is installed below is configured already. Of several packages that meet a need the best one goes first, as one is
enough to dpkg and to rpm. Must not choose packages, nor run anything.
"""

from __future__ import annotations

import heapq
from collections import Counter
from typing import TYPE_CHECKING

from ..package import Installed
from ..relation import parse_relations
from ..rpm import tags
from ..rpm.relation import RICH, is_rich, leaves

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from ..resolve import Selected
    from ..rpm.header import Header
    from ..world import Links, Need

    Needs = Sequence[Mapping[int, int]]  # of each package those it needs, by number, with how badly

WEAK, PLAIN, STRONG = 1, 2, 3  # what is recommended; what is needed; what is needed before or by scripts

_WORK = 1 << 18  # needs that are looked at while a circle is broken at one package after the other
_EARLY = tags.PREREQ | tags.SCRIPT_PRE | tags.SCRIPT_POST
_SCRIPTS = (tags.PREIN, tags.PREINPROG, tags.POSTIN, tags.POSTINPROG)


def deb_order(world: Links, selected: Sequence[Selected], scripted: Sequence[bool]) -> list[Selected]:
    """Packages of control files in the order they are configured; `scripted` says of each whether it has a `postinst`.

    A circle is broken at a `Depends` of a package that has none, as nothing happens there; else by name.

    Raises:
        InputError: a package's relations can not be read.
    """
    found = _Found(selected)
    for number, one in enumerate(selected):
        early = len(parse_relations(one.package.fields.get("Pre-Depends", "")))
        for at, need in enumerate(world.required(one.package)):
            found.meet(number, need, STRONG if at < early else PLAIN)
        for need in world.recommended(one.package):
            found.meet(number, need, WEAK)
    return [selected[number] for number in arranged(found.needs, _ranks(selected, scripted))]


def rpm_order(world: Links, selected: Sequence[Selected], headers: Sequence[Header]) -> list[Selected]:
    """Packages of rpm in the order they are installed; `headers` are theirs.

    What a script needs is kept where it can be. A circle is broken at a package without scripts, else by name.

    Raises:
        InputError: a header is damaged.
    """
    found = _Found(selected)
    named: dict[str, int] = {}
    for number, header in enumerate(headers):
        for name in (header.text(tags.NAME), *header.texts(tags.PROVIDENAME)):
            named.setdefault(name, number)
    for number, (one, header) in enumerate(zip(selected, headers)):
        early, unordered = _early(header), _unordered(header)
        for need in world.required(one.package):
            names = set(names_in(need))
            if not names <= unordered:
                found.meet(number, need, PLAIN if early.isdisjoint(names) else STRONG)
        for need in world.recommended(one.package):
            found.meet(number, need, WEAK)
        for name in header.texts(tags.ORDERNAME):
            found.add(number, named.get(name, number), WEAK)
    scripted = [any(tag in header for tag in _SCRIPTS) for header in headers]
    return [selected[number] for number in arranged(found.needs, _ranks(selected, scripted))]


def arranged(needs: Needs, ranks: Sequence[tuple[object, ...]]) -> list[int]:
    """Numbers from 0 on, each after those it needs, else in their own order.

    In a circle the weakest needs go first: all that are weak, then those of the one with the least of the `ranks`,
    which all differ. Those of a circle come one after the other, after all that any of them needs from outside.
    """
    left = [dict(each) for each in needs]
    found: list[int] = []
    pending: list[tuple[Sequence[int], int]] = [(range(len(left)), _WORK)]
    while pending:
        group, work = pending.pop()
        if len(group) == 1:
            found += group
            continue
        work -= sum(len(left[one]) for one in group)
        parts = _in_order(left, _parts(left, group))
        for part in parts:
            if len(part) > 1:
                _break(left, part, ranks if work > 0 else None)
        pending += ((part, work) for part in reversed(parts))
    return found


# ---- what needs what


class _Found:
    """The needs of a layer's packages among themselves."""

    def __init__(self, selected: Sequence[Selected]) -> None:
        self.needs: list[dict[int, int]] = [{} for _ in selected]
        self._numbers = {id(one.package): number for number, one in enumerate(selected)}
        gone = (below for one in selected for below in (one.replaces, *one.obsoletes) if below is not None)
        self._gone = set(map(id, gone))

    def meet(self, number: int, need: Need, strength: int) -> None:
        """Note what meets a need of a package: the best one of the layer, or none where one below does.

        Of a rich relation, which may ask for several, it is all of the layer.
        """
        met = [self._numbers[id(one)] for one in need.met_by if id(one) in self._numbers]
        if any(relation.operator == RICH for relation in need.group):
            for other in met:
                self.add(number, other, strength)
        elif met and number not in met and not any(map(self._stays, need.met_by)):
            self.add(number, met[0], strength)

    def add(self, number: int, other: int, strength: int) -> None:
        if other != number:
            self.needs[number][other] = max(strength, self.needs[number].get(other, 0))

    def _stays(self, one: object) -> bool:
        return isinstance(one, Installed) and id(one) not in self._gone


def _ranks(selected: Sequence[Selected], scripted: Sequence[bool]) -> list[tuple[object, ...]]:
    return [(scripts, one.package.name, number) for number, (one, scripts) in enumerate(zip(selected, scripted))]


def needed_before(header: Header) -> set[str]:
    """The names in what the script needs that runs before a package of rpm is placed, but for what runs it."""
    which = tags.SCRIPT_PRE | tags.INTERP
    found = (text for text, flags in _required(header) if flags & which == tags.SCRIPT_PRE)
    return {name for text in found for name in _simple(text)}


def _early(header: Header) -> set[str]:
    """The names in what a package's scripts need when it is installed."""
    return {name for text, flags in _required(header) if flags & _EARLY for name in _simple(text)}


def _unordered(header: Header) -> set[str]:
    """The names in what a package needs at any time, before or after."""
    known: dict[str, bool] = {}
    for text, flags in _required(header):
        for name in _simple(text):
            known[name] = known.get(name, True) and bool(flags & tags.META)
    return {name for name, meta in known.items() if meta}


def _required(header: Header) -> Iterator[tuple[str, int]]:
    return zip(header.texts(tags.REQUIRENAME), header.numbers(tags.REQUIREFLAGS))


def _simple(text: str) -> list[str]:
    return [leaf.name for leaf in leaves(text)] if is_rich(text) else [text]


def names_in(need: Need) -> Iterator[str]:
    """The names of all that meets a need by its words."""
    for relation in need.group:
        yield from _simple(relation.version) if relation.operator == RICH else (relation.name,)


# ---- circles


def _parts(needs: Sequence[Mapping[int, int]], group: Iterable[int]) -> list[list[int]]:
    """A group in parts, all of whose members need each other, directly or not: Tarjan's algorithm.

    It has a stack of its own, as chains can be long.
    """
    met = dict.fromkeys(group, -1)  # the number of each once it is met
    lowest: dict[int, int] = {}
    open_ones: list[int] = []
    closed: set[int] = set()
    parts = []
    for start in met:
        path = [(start, iter(needs[start]))] if met[start] < 0 else []
        while path:
            one, others = path[-1]
            if met[one] < 0:
                met[one] = lowest[one] = len(lowest)
                open_ones.append(one)
            for other in others:
                if met.get(other, 0) < 0:
                    path.append((other, iter(needs[other])))
                    break
                if other in met and other not in closed:
                    lowest[one] = min(lowest[one], met[other])
            else:
                path.pop()
                if path:
                    lowest[path[-1][0]] = min(lowest[path[-1][0]], lowest[one])
                if lowest[one] == met[one]:
                    parts.append(_cut(open_ones, one))
                    closed.update(parts[-1])
    return parts


def _cut(found: list[int], start: int) -> list[int]:
    """Take off the end of a list, from one on."""
    part = [found.pop()]
    while part[-1] != start:
        part.append(found.pop())
    return part


def _break(left: Sequence[dict[int, int]], circle: Sequence[int], ranks: Sequence[tuple[object, ...]] | None) -> None:
    """Drop the weakest needs of a circle: of its member with the least rank, or of all where they are weak indeed.

    Without ranks it is of all too.
    """
    inside = set(circle)
    weakest = min(strength for one in circle for other, strength in left[one].items() if other in inside)
    dropped = {one: _within(left[one], inside, weakest) for one in circle}
    if weakest > WEAK and ranks is not None:
        broken = min((one for one in circle if dropped[one]), key=ranks.__getitem__)
        dropped = {broken: dropped[broken]}
    for one, others in dropped.items():
        for other in others:
            del left[one][other]


def _within(needs: Mapping[int, int], inside: Collection[int], strength: int) -> list[int]:
    return [other for other, how in needs.items() if other in inside and how == strength]


def _in_order(needs: Sequence[Mapping[int, int]], parts: Sequence[list[int]]) -> list[list[int]]:
    """Parts, each after those that one of it needs; of those that could come next it is the one with the least."""
    part_of = {one: number for number, part in enumerate(parts) for one in part}
    askers: list[set[int]] = [set() for _ in parts]
    for one, number in part_of.items():
        for other in needs[one]:
            if part_of.get(other, number) != number:
                askers[part_of[other]].add(number)
    waiting = Counter(number for each in askers for number in each)
    ready = [(min(part), number) for number, part in enumerate(parts) if not waiting[number]]
    heapq.heapify(ready)
    found = []
    while ready:
        _, number = heapq.heappop(ready)
        found.append(parts[number])
        for asker in askers[number]:
            waiting[asker] -= 1
            if not waiting[asker]:
                heapq.heappush(ready, (min(parts[asker]), asker))
    return found
