# SPDX-License-Identifier: MIT
"""rpm's relations between packages as texts: `libc >= 2`, `/bin/sh`, and rich ones such as `(a or b if c)`.

Must not know which packages there are.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .. import relation
from .tags import EQUAL, GREATER, LESS

if TYPE_CHECKING:
    from collections.abc import Iterator

RICH = "rich"
SENSE = LESS | GREATER | EQUAL
_WORDS = ("and", "or", "if", "unless", "else", "with", "without")
_TOKEN = re.compile(r"[()]|(?:[^\s()]|\([^\s()]*\))+")


class Relation(relation.Relation):
    """The same as rpm writes it. A rich one has the first name in it, `RICH` as its operator, and then its text."""

    def __str__(self) -> str:
        return self.version if self.operator == RICH else " ".join(filter(None, (self.name, *self[2:])))


def is_rich(text: str) -> bool:
    """Whether a name is a rich relation."""
    return text.startswith("(")


def parse(text: str) -> tuple[Relation, ...]:
    """The relations of a text as alternatives: those of one that is rich and knows but `or`, else the one itself."""
    if not is_rich(text):
        return (_simple(text.split()),)
    words = set(_TOKEN.findall(text)).intersection(_WORDS)
    found = tuple(leaves(text))
    return found if words == {"or"} else (Relation(found[0].name if found else text, "", RICH, text),)


def leaves(text: str, *, conditions: bool = False) -> Iterator[Relation]:
    """The simple relations in a rich one that it asks for, and those of its conditions where these are wanted."""
    words: list[str] = []
    skipped: list[bool] = [False]  # in each pair of parentheses that is open, whether this is a condition
    for part in [*_TOKEN.findall(text), ")"]:
        if part in ("(", ")", *_WORDS):
            if words and (conditions or not skipped[-1]):
                yield _simple(words)
            words = []
        if part == "(":
            skipped.append(skipped[-1])
        elif part == ")":
            skipped.pop()
            skipped = skipped or [False]
        elif part in _WORDS:
            outer = len(skipped) > 1 and skipped[-2]
            skipped[-1] = outer or part in ("if", "unless", "without")
        else:
            words.append(part)


def _simple(words: list[str]) -> Relation:
    name, sign, version = [*words, "", ""][:3] if len(words) == 3 else (" ".join(words), "", "")
    return Relation(name, "", sign, version)
