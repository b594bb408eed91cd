# SPDX-License-Identifier: MIT
"""Rich relations, `(a if b)`: the names in one, as rpm's database looks them up. Must not know headers."""

from __future__ import annotations

import re

_SPACE = re.compile(r"\s*")
_VERSION = re.compile(r"\s*[<>=]+\s*[^\s,()]+")
_OPERATOR = re.compile(r"\s*(and|or|if|unless|else|with|without)(?=[\s(])")
_DEEPEST = 64


class _MalformedError(Exception):
    """A relation that rpm does not understand either."""


def names(relation: str) -> list[str]:
    """The names in a relation, each once; one that matters where it is missing begins with `!`, and these come last.

    There are none where the relation is malformed.
    """
    parser = _Parser(relation)
    try:
        found = parser.group(0)
    except _MalformedError:
        return []
    return [f"!{name}" if missing else name for missing, name in sorted(set(found))]


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def group(self, depth: int) -> list[tuple[bool, str]]:
        """What stands in parentheses: names, and of each whether it matters where it is missing."""
        if depth > _DEEPEST:
            raise _MalformedError
        self._at += 1
        found, part = self._operand(depth), []  # type: list[tuple[bool, str]], list[tuple[bool, str]]
        while not self._closes():
            match = _OPERATOR.match(self._text, self._at)
            if not match:
                raise _MalformedError
            self._at = match.end()
            if match[1] == "else":
                found += part  # the condition matters both ways
            part = self._operand(depth)
            found += [(not missing, name) for missing, name in part] if match[1] in ("if", "unless") else part
        self._at += 1
        return found

    def _closes(self) -> bool:
        self._skip(_SPACE)
        return self._text.startswith(")", self._at)

    def _operand(self, depth: int) -> list[tuple[bool, str]]:
        self._skip(_SPACE)
        if self._text.startswith("(", self._at):
            return self.group(depth + 1)
        name = self._name()
        self._skip(_VERSION)
        return [(False, name)] if name and not name.startswith("rpmlib(") else []

    def _name(self) -> str:
        """A name, which may have parentheses of its own."""
        start, inner = self._at, 0
        for character in self._text[start:]:
            if character.isspace() or character == "," or (character == ")" and not inner):
                break
            inner += {"(": 1, ")": -1}.get(character, 0)
            self._at += 1
        return self._text[start : self._at]

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._at)
        self._at = match.end() if match else self._at
