# SPDX-License-Identifier: MIT
"""The relations between packages: `Depends`, `Conflicts`, `Provides` and their kin, as deb-control(5) has them.

opkg writes them the same way. Must not know which packages there are.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from ..errors import InputError
from .version import compare

# OE's ipk packages provide paths, such as /bin/sh, too. Longer names and versions than these no package has.
_RELATION = re.compile(
    r"([A-Za-z0-9/][A-Za-z0-9+./_-]{0,254})(?::([a-z0-9-]{1,100}))?"
    r"\s*(?:\(\s*(<<|<=|<|=|>=|>>|>)\s*([A-Za-z0-9.+~:_-]{1,1000})\s*\))?"
)
_HOLDS = {
    "<<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    "=": lambda order: order == 0,
    ">=": lambda order: order >= 0,
    ">>": lambda order: order > 0,
}
_FORMER = {"<": "<=", ">": ">="}  # what they have always meant


class Relation(NamedTuple):
    """A package by name, of an architecture (`qualifier`, or empty) and of some versions (`operator`, or empty)."""

    name: str
    qualifier: str = ""
    operator: str = ""
    version: str = ""

    def __str__(self) -> str:
        name = f"{self.name}:{self.qualifier}" if self.qualifier else self.name
        return f"{name} ({self.operator} {self.version})" if self.operator else name

    def admits(self, version: str) -> bool:
        """Whether a version is one of those."""
        return not self.operator or _HOLDS[self.operator](compare(version, self.version))


Group = tuple[Relation, ...]  # alternatives, the preferred one first


@lru_cache(maxsize=1 << 16)
def parse_relations(text: str) -> tuple[Group, ...]:
    """The groups of a field, each of one or more alternatives.

    Raises:
        InputError: the text is not as the format has it.
    """
    parts = (part.split("|") for part in text.split(",") if part.strip())
    return tuple(tuple(_relation(alternative.strip(), text) for alternative in part) for part in parts)


def _relation(text: str, field: str) -> Relation:
    match = _RELATION.fullmatch(text)
    if match is None:
        raise InputError(f"{text[:80]!r} in {field[:200]!r} is no relation to a package")
    name, qualifier, operator, version = match.groups("")
    return Relation(name, qualifier, _FORMER.get(operator, operator), version)
