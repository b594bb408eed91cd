# SPDX-License-Identifier: MIT
"""Small random worlds, each held against all that could be installed in it: tried out one by one, by rules of its own.

Versions are numbers, so that nothing is taken from the product.
"""

from __future__ import annotations

import itertools
import random
import re
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support import tools
from support.offers import FIELDS, facts, world

from oe_oci.errors import ConfigError
from oe_oci.packages.package import Package
from oe_oci.packages.prefer import preferred
from oe_oci.packages.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from oe_oci.packages.resolve import Selected

_RELATION = re.compile(r"([a-z0-9]+)(?::([a-z0-9]+))?(?: \((\S+) (\d+)\))?")
_OPERATORS = {
    "<<": int.__lt__,
    "<=": int.__le__,
    "=": int.__eq__,
    ">=": int.__ge__,
    ">>": int.__gt__,
}


# ---- random worlds


class Draw:
    """Draws a world: packages offered and below, in the words of `support.offers`."""

    def __init__(self, seed: int, *, foreign: bool) -> None:
        self.random = random.Random(seed)
        self._names = [f"p{number}" for number in range(7)]
        self._foreign = foreign
        archs = ["amd64", "amd64", "i386", "all"] if foreign else ["amd64"]
        drawn = [(self._pick(self._names), self._pick("123"), self._pick(archs)) for _ in range(14)]
        offered = sorted(set(drawn), key=lambda one: (one[0], one[2] == "i386", -int(one[1])))
        self.offered = [self._package(*one) for one in offered if (one[2] == "all") == (one[0] == "p6" and foreign)]
        below = {self._pick(self._names[:6]): self._pick("12") for _ in range(self._pick((0, 0, 1, 2, 3)))}
        self.below = [self._package(name, version, "amd64") for name, version in below.items()]
        known = sorted({text.split()[0] for text in self.offered if "i386" not in text.split()[2]})
        self.wanted = self.random.sample(known, min(len(known), self._pick((1, 1, 2))))

    def _pick(self, among):
        return self.random.choice(among)

    def _package(self, name: str, version: str, arch: str) -> str:
        parts = [f"{name} {version} {arch}"]
        for word, chance, most in (("needs", 0.6, 3), ("pre", 0.1, 1), ("likes", 0.3, 2)):
            if self.random.random() < chance:
                groups = (" | ".join(self._relations(name, 3)) for _ in range(self.random.randint(1, most)))
                parts.append(f"{word} {', '.join(groups)}")
        for word, chance in (("conflicts", 0.15), ("breaks", 0.12)):
            if self.random.random() < chance:
                parts.append(f"{word} {', '.join(self._relations(name, 2))}")
        if self.random.random() < 0.3:
            parts.append(f"provides {self._pick(('v1', 'v2', 'v1 (= 2)', 'v1, v2 (= 1)', 'p0', 'p1 (= 2)'))}")
        if self._foreign:
            parts.append(f"multi {self._pick(('no', 'same', 'foreign', 'allowed') if arch != 'all' else ('no',))}")
        return " ; ".join(parts)

    def _relations(self, asker: str, most: int) -> list[str]:
        return [self._relation(asker) for _ in range(self.random.randint(1, most))]

    def _relation(self, asker: str) -> str:
        name = self._pick([one for one in (*self._names, *self._names, "v1", "v2") if one != asker])
        if self._foreign and self.random.random() < 0.2:
            name += self._pick((":any", ":i386", ":amd64"))
        if self.random.random() < 0.6:
            return name
        return f"{name} ({self._pick(tuple(_OPERATORS))} {self._pick('123')})"


# ---- what could be installed


class Piece(NamedTuple):
    """A package in a puzzle. `identity` is what there can be one of; `bit` its place in sets of pieces."""

    name: str
    version: int
    arch: str
    fields: dict[str, str]
    below: bool
    bit: int

    @property
    def identity(self) -> tuple[str, bool]:
        return self.name, self.arch == "i386"

    @property
    def own(self) -> str:
        return "i386" if self.arch == "i386" else "amd64"

    def of(self, word: str) -> list[list[tuple[str, str, str, str]]]:
        text = self.fields.get(FIELDS[word], "")
        groups = (group.split("|") for group in text.split(",") if group)
        return [[_RELATION.fullmatch(one.strip()).groups("") for one in group] for group in groups]


class Puzzle:
    """All that could be installed: sets of pieces, as numbers with a bit for each."""

    def __init__(self, offered: list[str], below: list[str]) -> None:
        texts = [(text, True) for text in below] + [(text, False) for text in offered]
        made = ((facts(text), is_below) for text, is_below in texts)
        self.pieces = [
            Piece(name, int(version), arch, fields, is_below, 1 << number)
            for number, ((name, version, arch, fields), is_below) in enumerate(made)
        ]
        self.below = sum(one.bit for one in self.pieces if one.below)
        self.needs = {one.bit: self._met(one) for one in self.pieces}
        self.against = {one.bit: self._against(one) for one in self.pieces}
        for one, other in itertools.permutations(self.pieces, 2):
            if self.against[one.bit] & other.bit and not (one.below and other.below):
                self.against[other.bit] |= one.bit

    def solutions(self, wanted: list[int]) -> Iterator[int]:
        """Every set that holds, with one of each of `wanted`."""
        sorts: dict[tuple[str, bool], list[int]] = {}
        for one in self.pieces:
            sorts.setdefault(one.identity, []).append(one.bit)
        choices = [
            bits if bits[0] & self.below else [0, *bits] for bits in (self._not_older(bits) for bits in sorts.values())
        ]
        for found in self._fitting(choices, 0):
            if all(found & one for one in wanted) and self.holds(found):
                yield found

    def holds(self, found: int) -> bool:
        """Whether all that is needed is there; what was missing below already may be missing still."""
        return all(
            found & met or (one.bit & self.below and not self.below & met)
            for one in self.pieces
            if one.bit & found
            for met in self.needs[one.bit]
        )

    def fits(self, found: int) -> bool:
        """Whether nothing is against anything; what was below already may be."""
        kept = found & self.below
        return not any(
            self.against[one.bit] & found & ~(kept if one.bit & kept else 0) for one in self.pieces if one.bit & found
        )

    def named(self, name: str) -> int:
        """The packages of a name for the target."""
        return sum(one.bit for one in self.pieces if one.name == name and one.own == "amd64")

    def bits(self, packages: Iterable[Package]) -> int:
        """What there is when packages are installed on top of what lies below."""
        found = self.below
        for package in packages:
            new = (package.name, int(package.version), package.arch)
            (piece,) = (one for one in self.pieces if not one.below and one[:3] == new)
            replaced = (one.bit for one in self.pieces if one.below and one.identity == piece.identity)
            found = (found | piece.bit) & ~sum(replaced)
        return found

    def spares(self, found: int, other: int) -> bool:
        """Whether another solution has the same new packages, and keeps more of what lies below."""
        replaced = {one.identity for one in self.pieces if one.bit & self.below & ~found}
        new = sum(one.bit for one in self.pieces if one.bit & found & ~self.below and one.identity not in replaced)
        keeps_more = other & self.below != found & self.below == other & found & self.below
        return keeps_more and not new & ~other and not other & ~self.below & ~found

    def _fitting(self, choices: list[list[int]], found: int) -> Iterator[int]:
        if not choices:
            yield found
            return
        for bit in choices[0]:
            if not bit or not (self.against[bit] & found & ~(self.below if bit & self.below else 0)):
                yield from self._fitting(choices[1:], found | bit)

    def _not_older(self, bits: list[int]) -> list[int]:
        version = {one.bit: one.version for one in self.pieces}
        first = bits[0]
        return [first, *(bit for bit in bits if version[bit] > version[first])] if first & self.below else bits

    def _met(self, asker: Piece) -> list[int]:
        return [
            sum(one.bit for one in self.pieces if any(_satisfies(one, relation, asker) for relation in group))
            for group in (*asker.of("pre"), *asker.of("needs"))
        ]

    def _against(self, asker: Piece) -> int:
        relations = [relation for word in ("conflicts", "breaks") for (relation,) in asker.of(word)]
        return sum(
            one.bit
            for one in self.pieces
            if (one.name != asker.name and any(_satisfies(one, relation, None) for relation in relations))
            or (one.name == asker.name and one.own != asker.own and not _both_same(one, asker))
        )


def _both_same(one: Piece, other: Piece) -> bool:
    return one.version == other.version and one.fields["Multi-Arch"] == other.fields["Multi-Arch"] == "same"


def _satisfies(one: Piece, relation: tuple[str, str, str, str], asker: Piece | None) -> bool:
    """Whether a package satisfies a relation of `asker`; None stands for what a package is against."""
    name, arch, operator, wanted = relation
    multi = one.fields.get("Multi-Arch")
    if asker is None:
        reached = arch in ("", "any", one.own)
    elif arch == "any":
        reached = multi == "allowed"
    elif arch:
        reached = one.own == arch
    else:
        reached = multi == "foreign" or one.own == asker.own
    if not reached:
        return False
    versions = [version for ((provided, _, _, version),) in one.of("provides") if provided == name]
    versions += [str(one.version)] if one.name == name else []
    return any(not operator or (each and _OPERATORS[operator](int(each), int(wanted))) for each in versions)


# ---- what is chosen


def chosen(draw: Draw) -> list[Selected] | str:
    """What is installed, or why nothing is."""
    try:
        return list(resolve(world(*draw.offered, below=draw.below), "app", draw.wanted).selected)
    except ConfigError as error:
        return str(error)


@pytest.mark.parametrize("foreign", [False, True], ids=["one architecture", "two"])
@pytest.mark.parametrize("seed", range(400))
def test_what_is_chosen_is_a_solution_and_where_there_is_one_it_is_found(seed, foreign):
    draw = Draw(seed, foreign=foreign)
    puzzle = Puzzle(draw.offered, draw.below)
    wanted = [puzzle.named(name) for name in draw.wanted]
    solution = next(puzzle.solutions(wanted), None)
    selected = chosen(draw)
    if isinstance(selected, str):
        assert solution is None
        assert re.match(r"OCI_LAYERS: layer 'app': p\d", selected)
        return
    found = puzzle.bits(one.package for one in selected)
    assert puzzle.holds(found)
    assert puzzle.fits(found)
    assert all(found & one for one in wanted)
    assert not any(puzzle.spares(found, other) for other in puzzle.solutions(wanted))
    assert {one.package.name for one in selected if not one.asked_by} <= set(draw.wanted)


@pytest.mark.parametrize("seed", range(200))
def test_what_users_of_apt_expect_is_chosen_where_it_is_a_solution(seed):
    draw = Draw(seed, foreign=False)
    puzzle = Puzzle(draw.offered, draw.below)
    known = world(*draw.offered, below=draw.below)
    best = [next(one for one in known.known(name) if one.name == name) for name in draw.wanted]
    expected, whole = preferred(known, [one for one in best if isinstance(one, Package)])
    if whole and puzzle.holds(puzzle.bits(expected)) and puzzle.fits(puzzle.bits(expected)):
        assert {one.package.shown for one in chosen(draw)} == {one.shown for one in expected}


@pytest.mark.parametrize("seed", range(100))
def test_the_order_in_which_packages_are_known_does_not_matter(seed):
    draw = Draw(seed, foreign=True)
    before = chosen(draw)
    names = [text.split()[0] for text in draw.offered]
    draw.random.shuffle(names)
    of = {name: iter([text for text in draw.offered if text.split()[0] == name]) for name in names}
    draw.offered = [next(of[name]) for name in names]  # of one name the first is the best
    draw.random.shuffle(draw.below)
    after = chosen(draw)
    assert after == before if isinstance(before, str) else list(map(shown, after)) == list(map(shown, before))


def shown(one: Selected) -> tuple[str, str, str]:
    return one.package.shown, one.package.arch, one.asked_by


def test_nothing_depends_on_the_order_of_sets():
    script = """
import sys
sys.path[:0] = sys.argv[1:]
from test_resolve_random import Draw, chosen, shown
for seed in range(100):
    found = chosen(Draw(seed, foreign=True))
    print(found if isinstance(found, str) else [shown(one) for one in found])
"""
    paths = [str(tools.ROOT), str(tools.ROOT / "tests"), str(tools.ROOT / "tests" / "unit")]
    command = [sys.executable, "-c", script, *paths]
    texts = {
        subprocess.run(command, env={"PYTHONHASHSEED": seed}, check=True, stdout=subprocess.PIPE).stdout
        for seed in ("1", "2", "3")
    }
    assert len(texts) == 1
