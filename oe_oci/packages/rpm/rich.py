# SPDX-License-Identifier: MIT
"""Rich relations, `(a if b)`: their grammar, and the names in one, as rpm's database looks them up.

Follows what rpm 4.18 takes when a package is installed, which is more than rpmbuild lets pass. Must not know headers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

AND, OR, IF, UNLESS, ELSE, WITH, WITHOUT = "and", "or", "if", "unless", "else", "with", "without"
_OPERATORS = (AND, OR, IF, UNLESS, ELSE, WITH, WITHOUT)
_CHAINED = (AND, OR, WITH)
_BLANK = re.compile(r"[ \t\n\v\f\r,]*")
_SIGN = re.compile(r"(<=?|=[<=>]?|>=?)(?=[ \t\n\v\f\r,)])")
_OPERATOR = re.compile(r"[^ \t\n\v\f\r)]+")
_PART = re.compile(r"[^ \t\n\v\f\r,()]+|[()]")
_DEEPEST = 64


class MalformedError(Exception):
    """A relation that rpm does not understand; says what is wrong."""


class Node(NamedTuple):
    """A relation. `operator` joins the `parts`: two, or more of `and`, `or`, `with`, or three where there is an `else`.

    A simple one has no operator, but a `name`, and perhaps a `sign` and a `version`.
    """

    operator: str
    parts: tuple[Node, ...] = ()
    name: str = ""
    sign: str = ""
    version: str = ""


def parse(text: str) -> Node:
    """What a rich relation says.

    Raises:
        MalformedError: rpm does not understand it either.
    """
    parser = _Parser(text)
    found = parser.group(0)
    parser.end()
    return found


def names(relation: str) -> list[str]:
    """The names in a relation, each once; one that matters where it is missing begins with `!`, and these come last.

    There are none where the relation is malformed.
    """
    try:
        found = set(_named(parse(relation)))
    except MalformedError:
        return []
    return [f"!{name}" if missing else name for missing, name in sorted(found)]


def _named(node: Node) -> Iterator[tuple[bool, str]]:
    """Names, and of each whether it matters where it is missing."""
    if not node.operator:
        if not node.name.startswith("rpmlib("):
            yield False, node.name
        return
    for number, part in enumerate(node.parts):
        condition = number == 1 and node.operator in (IF, UNLESS)
        for missing, name in _named(part):
            yield missing != condition, name
            if condition and len(node.parts) > 2:
                yield missing, name  # with an `else` it matters both ways


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def group(self, depth: int) -> Node:
        """What stands in parentheses."""
        if depth > _DEEPEST:
            raise MalformedError("it has too many parentheses in each other")
        if not self._text.startswith("(", self._at):
            raise MalformedError("it does not begin with a parenthesis")
        self._at += 1
        parts, operators = [self._operand(depth)], list[str]()
        while not self._closes():
            operators.append(self._operator(operators))
            parts.append(self._operand(depth))
        self._at += 1
        if not operators:
            return parts[0]
        if operators[0] in (WITH, WITHOUT) and not all(map(_is_of_one_package, parts)):
            raise MalformedError("'with' and 'without' join names alone")
        return Node(operators[0], tuple(parts))

    def end(self) -> None:
        if self._at < len(self._text):
            raise MalformedError("something follows its last parenthesis")

    def _closes(self) -> bool:
        self._skip()
        if self._at == len(self._text):
            raise MalformedError("a parenthesis is missing at its end")
        return self._text[self._at] == ")"

    def _operator(self, before: list[str]) -> str:
        """The next operator, which must fit to those before it."""
        match = _OPERATOR.match(self._text, self._at)
        word = match[0] if match else ""
        if match is None or word not in _OPERATORS:
            raise MalformedError(f"{word[:40]!r} is no operator")
        self._at = match.end()
        fits = word in _CHAINED and set(before) == {word} if before else word != ELSE
        if not fits and not (word == ELSE and before in ([IF], [UNLESS])):
            raise MalformedError(f"{word!r} can not stand after {before[-1]!r}" if before else "'else' stands alone")
        return word

    def _operand(self, depth: int) -> Node:
        self._skip()
        if self._text.startswith("(", self._at):
            return self.group(depth + 1)
        name = self._word("name")
        self._skip()
        match = _SIGN.match(self._text, self._at)
        if match is None:
            return Node("", name=name)
        self._at = match.end()
        self._skip()
        return Node("", name=name, sign=match[0], version=self._word("version"))

    def _word(self, what: str) -> str:
        """A name or version, which may have parentheses of its own."""
        start, inner = self._at, 0
        while (match := _PART.match(self._text, self._at)) and (match[0] != ")" or inner):
            inner += {"(": 1, ")": -1}.get(match[0], 0)
            self._at = match.end()
        if self._at == start:
            raise MalformedError(f"a {what} is missing")
        return self._text[start : self._at]

    def _skip(self) -> None:
        match = _BLANK.match(self._text, self._at)
        self._at = match.end() if match else self._at


def _is_of_one_package(node: Node) -> bool:
    """Whether a relation, in all its parts, can be asked of one package alone."""
    return node.operator in ("", OR, WITH, WITHOUT) and all(map(_is_of_one_package, node.parts))
