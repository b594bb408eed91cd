# SPDX-License-Identifier: MIT
"""Small random worlds of rpm packages, each held against all that could be installed in it: tried out one by one.

The rules are written down here once more, and versions are numbers, so that nothing is taken from the product.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support.rpmfeeds import Facts, facts, opened, world, write_feed
from support.rpmworlds import Draw

from oe_oci.errors import ConfigError
from oe_oci.packages.rpm.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from oe_oci.packages.package import Package
    from oe_oci.packages.resolve import Selected

_OPERATORS = {"<": int.__lt__, "<=": int.__le__, "=": int.__eq__, ">=": int.__ge__, ">": int.__gt__}


class Piece(NamedTuple):
    """A package in a puzzle; `bit` is its place in sets of pieces, which are numbers."""

    facts: Facts
    below: bool
    bit: int

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def version(self) -> int:
        return int(self.facts.version)


class Puzzle:
    """All that could be installed."""

    def __init__(self, draw: Draw) -> None:
        texts = [(text, True) for text in draw.below] + [(text, False) for text in draw.offered]
        self.pieces = [Piece(facts(text), is_below, 1 << number) for number, (text, is_below) in enumerate(texts)]
        self.below = sum(one.bit for one in self.pieces if one.below)
        self.against = {one.bit: self._against(one) for one in self.pieces}
        for one, other in itertools.permutations(self.pieces, 2):
            if self.against[one.bit] & other.bit:
                self.against[other.bit] |= one.bit

    def meant(self, name: str) -> int:
        """The packages that stand for a name: its own, and those that obsolete the best one; all where one is below."""
        named = [one for one in self.pieces if one.name == name]
        best = max(named, key=lambda one: (one.below, one.version))
        found = [*named, *(one for one in self.pieces if not best.below and one.name != name and _obsoletes(one, best))]
        return -1 if any(one.below for one in found) else sum(one.bit for one in found)

    def solutions(self, wanted: list[int]) -> Iterator[int]:
        """Every set that holds, with one of each of `wanted`."""
        names = dict.fromkeys(one.name for one in self.pieces)
        choices = [[0, *(one.bit for one in self.pieces if one.name == name)] for name in names]
        for found in self._fitting(choices, 0):
            if all(found & one for one in wanted) and self.holds(found) and self.keeps(found):
                yield found

    def _fitting(self, choices: list[list[int]], found: int) -> Iterator[int]:
        if not choices:
            yield found
            return
        for bit in choices[0]:
            if not bit or not self.against[bit] & found & ~(self.below if bit & self.below else 0):
                yield from self._fitting(choices[1:], found | bit)

    def keeps(self, found: int) -> bool:
        """Whether each package below is there, or what may take its place."""
        there = [one for one in self.pieces if one.bit & found]
        return all(
            any(
                other.bit == one.bit
                or (other.name == one.name and other.version > one.version)
                or (not other.below and _obsoletes(other, one))
                for other in there
            )
            for one in self.pieces
            if one.below
        ) and not any(
            one.name == other.name and one.version <= other.version
            for one in there
            for other in self.pieces
            if other.below and not one.below
        )

    def holds(self, found: int) -> bool:
        """Whether all that is needed is there; what was missing below already may be missing still."""
        there = [one for one in self.pieces if one.bit & found]
        before = [one for one in self.pieces if one.below]
        return all(
            self.met(need, there) or (one.below and not self.met(need, before))
            for one in there
            for need in one.facts.relations.get("needs", ())
        )

    def fits(self, found: int) -> bool:
        return not any(
            self.against[one.bit] & found & ~(self.below if one.below else 0) for one in self.pieces if one.bit & found
        )

    def met(self, need: str, there: list[Piece]) -> bool:
        """Whether a relation, rich or not, is met by what is there."""
        words = [
            word if word in ("(", ")", "or", "and", "if", "else") else str(_met_by_any(word, there))
            for word in re.findall(r"[()]|\bor\b|\band\b|\bif\b|\belse\b|[^\s()]+(?: [<>=]+ \d)?", need)
        ]
        return _evaluated(words)

    def bits(self, selected: list[Selected]) -> int:
        """What there is when packages are installed on top of what lies below."""
        found = self.below
        for one in selected:
            new = self.piece(one.package)
            gone = {below.name for below in (one.replaces, *one.obsoletes) if below is not None}
            found = (found | new.bit) & ~sum(piece.bit for piece in self.pieces if piece.below and piece.name in gone)
        return found

    def piece(self, package: Package) -> Piece:
        """The piece of a package on offer."""
        offered = (one for one in self.pieces if not one.below)
        return next(one for one in offered if (one.name, one.facts.evr) == package[:2])

    def spares(self, found: int, other: int) -> bool:
        """Whether another solution has the same packages of other names, and keeps more of what lies below."""
        names = {one.name for one in self.pieces if one.below}
        new = sum(one.bit for one in self.pieces if one.bit & found and not one.below and one.name not in names)
        keeps_more = other & self.below != found & self.below == other & found & self.below
        return keeps_more and not new & ~other and not other & ~self.below & ~found

    def _against(self, asker: Piece) -> int:
        conflicts = asker.facts.relations.get("conflicts", ())
        return sum(
            one.bit
            for one in self.pieces
            if one.name != asker.name
            and (any(_satisfies(one, relation) for relation in conflicts) or _obsoletes(asker, one))
        )


def _evaluated(words: list[str]) -> bool:
    """The value of a relation whose simple parts are True or False; `a if b else c` reads as it does in Python."""
    text = " ".join(words)
    while "(" in text:
        inner = re.search(r"\(([^()]*)\)", text)
        text = text[: inner.start()] + str(_evaluated(inner[1].split())) + text[inner.end() :]
    if " if " in text:
        then, _, rest = text.partition(" if ")
        condition, _, otherwise = rest.partition(" else ")
        return then == "True" if condition == "True" else (otherwise or "True") == "True"
    if " or " in text:
        return "True" in text.split(" or ")
    return all(word == "True" for word in text.split(" and "))


def _met_by_any(relation: str, there: list[Piece]) -> bool:
    return any(_satisfies(one, relation) for one in there)


def _satisfies(one: Piece, relation: str) -> bool:
    if relation.startswith("/"):
        return relation in one.facts.files
    name, sign, wanted = [*relation.split(), "", ""][:3]
    for provided in one.facts.relations["provides"]:
        own, _, version = [*provided.split(), "", ""][:3]
        number = int(version.partition("-")[0]) if version else None
        if own == name and (not sign or number is None or _OPERATORS[sign](number, int(wanted))):
            return True
    return False


def _obsoletes(one: Piece, other: Piece) -> bool:
    """Obsoletes look at names alone, not at what others provide."""
    for relation in one.facts.relations.get("obsoletes", ()):
        name, sign, wanted = [*relation.split(), "", ""][:3]
        if other.name == name and (not sign or _OPERATORS[sign](other.version, int(wanted))):
            return True
    return False


def chosen(place: Path, draw: Draw) -> list[Selected] | str:
    """What is installed, or why nothing is."""
    place.mkdir(exist_ok=True)
    try:
        known = world(opened(write_feed(place, *draw.offered)), *draw.below)
        return list(resolve(known, "app", draw.wanted).selected)
    except ConfigError as error:
        return str(error)


@pytest.mark.parametrize("weak", [True, False], ids=["weak", "firm"])
@pytest.mark.parametrize("seed", range(300))
def test_what_is_chosen_is_a_solution_and_where_there_is_one_it_is_found(tmp_path, seed, weak):
    draw = Draw(seed, weak=weak)
    puzzle = Puzzle(draw)
    wanted = [puzzle.meant(name) for name in draw.wanted]
    selected = chosen(tmp_path, draw)
    if isinstance(selected, str):
        assert next(puzzle.solutions(wanted), None) is None
        assert re.match(r"OCI_LAYERS: layer 'app': '?p\d", selected)
        return
    found = puzzle.bits(selected)
    assert puzzle.holds(found)
    assert puzzle.fits(found)
    assert puzzle.keeps(found)
    assert all(found & one for one in wanted)
    assert not any(puzzle.spares(found, other) for other in puzzle.solutions(wanted))
    asked = [puzzle.piece(one.package).bit for one in selected if not one.asked_by]
    assert all(any(bit & one for one in wanted) for bit in asked)
