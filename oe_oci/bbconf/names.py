# SPDX-License-Identifier: MIT
"""The left-hand sides of BitBake's syntax: what `A:foo`, `A:append:foo` and `A[flag]` say by their names.

Must not know values or files.
"""

from __future__ import annotations

import bisect
import re
from typing import TYPE_CHECKING, NamedTuple

from ..errors import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

EDITS = ("append", "prepend", "remove")

_OLD_EDIT = re.compile(rf"_({'|'.join(EDITS)})(?![a-z])(_?)")
_OVERRIDE_LIMIT = 32  # in one name


class Location(NamedTuple):
    """Where something was written; line 0 where there are no lines (`--set`)."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class Target(NamedTuple):
    """The left-hand side of an assignment: a variable as written, or one of its flags."""

    key: str
    flag: str = ""

    def __str__(self) -> str:
        return f"{self.key}[{self.flag}]" if self.flag else self.key


def spot_of(name: str, at: Location | None) -> str:
    """A name and its place, as a `Fault` says them."""
    return f"{at}: {name}" if at else name


def base_name(key: str) -> str:
    """The variable a name is about: `A` for `A:append:foo`."""
    return key.partition(":")[0]


def split_edit(key: str) -> tuple[str, str, str] | None:
    """`A:append:foo` as name, edit and condition; None where BitBake sees no edit in the name."""
    names = key.split(":")
    for index in range(1, len(names)):
        condition = ":".join(names[index + 1 :])
        if names[index] in EDITS and not re.search("[A-Z]", condition):
            return ":".join(names[:index]), names[index], condition
    return None


def shorter(key: str) -> Iterable[tuple[str, str]]:
    """The names a name stands for, with the override: `A:foo:bar` for `A:foo` under bar, for `A` under foo:bar."""
    names = key.split(":")
    for index in range(len(names) - 1, 0, -1):
        if not re.match("[a-z0-9]", names[index]):
            return
        yield ":".join(names[:index]), ":".join(names[index:])


class Overrides:
    """The overrides in force, in the order of `OVERRIDES`."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._places: dict[str, list[int]] = {}
        for index, name in enumerate(self.names):
            self._places.setdefault(name, []).append(index)

    def hold(self, condition: str) -> bool:
        """Whether all of the overrides an edit or a name asks for are in force."""
        return all(name in self._places for name in condition.split(":"))

    def rank(self, override: str) -> tuple[tuple[int, int], ...]:
        """How much an override in force weighs.

        The names of `foo:bar` are looked for from the last to the first, each further down in `OVERRIDES` than the one
        before, and where there is none from the top again. The round and the place where the first name was found
        decide; between equals those of the second.
        """
        turn, place = 0, -1
        ranks = []
        for name in reversed(override.split(":")):
            places = self._places[name]
            after = bisect.bisect_right(places, place)
            if after == len(places):
                turn, after = turn + 1, 0
            place = places[after]
            ranks.append((turn, place))
        return tuple(reversed(ranks))


def key_fault(target: Target, operator: str, at: Location | None) -> Fault | None:
    """What is wrong with a left-hand side that can be read, where something is."""
    spot = spot_of(str(target), at)
    old = next((edit for edit in EDITS if f"_{edit}" in target.key), None)
    if old and not target.flag:
        right = _OLD_EDIT.sub(lambda match: f":{match[1]}" + (":" if match[2] else ""), target.key)
        hint = f"write {right}" if right != target.key else f"a name can not hold `_{old}`"
        return Fault(spot, f"`_{old}` is the syntax of old releases, which BitBake refuses", hint)
    if target.flag.startswith("_"):
        return Fault(spot, "a flag that begins with `_` is internal to BitBake")
    if target.key.count(":") > _OVERRIDE_LIMIT:
        return Fault(spot, f"more than {_OVERRIDE_LIMIT} overrides in one name")
    edit = split_edit(target.key)
    if edit and (target.flag or operator == "??="):
        what = "a flag" if target.flag else "`??=`"
        return Fault(spot, f"{what} on `:{edit[1]}` has no effect in BitBake", "write it on the variable itself")
    return lost_edit(str(target), at) if edit and "${" in edit[2] else None


def lost_edit(name: str, at: Location | None) -> Fault:
    """The fault of an edit that BitBake would silently never make."""
    hint = "an override is lower case, and what its name refers to must be set"
    return Fault(spot_of(name, at), "BitBake would never make this edit", hint)
