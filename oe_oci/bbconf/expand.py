# SPDX-License-Identifier: MIT
"""How the text of a value becomes the value: references replaced, inline Python refused, excess stopped.

Must not know where values come from. A value that needs another one asks for it by yielding its name, so that a long
chain of variables costs memory, not depth of the interpreter's stack.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from ..errors import ConfigError, Fault
from .names import base_name

if TYPE_CHECKING:
    from collections.abc import Iterable

VALUE_LIMIT = 4 << 20  # characters of one value; no honest one comes near
WORK_LIMIT = 256 << 20  # characters written by all expansions together

Steps = Generator[str, "str | None", "str | None"]  # names that are needed go out, their values come in
TextSteps = Generator[str, "str | None", str]

_REFERENCE = re.compile(r"\$\{([A-Za-z0-9_+./~:-]+)\}")
_STEP = 1024  # what a step costs besides its characters


class Budget:
    """The work that may go into one configuration, so that none of them can hang or fill the memory."""

    def __init__(self) -> None:
        self._left = WORK_LIMIT

    def spend(self, characters: int, spot: Callable[[], str], *, steps: int = 0) -> None:
        """Takes some of it, for a text of that many characters; `spot` is where to look if it is used up."""
        self._left -= characters + steps * _STEP
        if characters > VALUE_LIMIT:
            raise ConfigError([Fault(spot(), f"the value grows beyond {VALUE_LIMIT} characters")])
        if self._left < 0:
            raise ConfigError(
                [Fault(spot(), "working out the values takes too long: they refer to each other too often")]
            )


def references(text: str) -> Iterable[str]:
    """The base names a text refers to with `${…}`."""
    return (base_name(name) for name in _REFERENCE.findall(text))


def expansion(text: str, spot: Callable[[], str], budget: Budget) -> TextSteps:
    """The text with its references replaced, again until nothing changes; one that is not set stays as written."""
    budget.spend(len(text), spot, steps=1)
    while "${" in text:
        pieces: list[str] = []
        end = size = 0
        for match in _REFERENCE.finditer(text):
            value = yield match[1]
            if value is None:
                continue
            pieces += (text[end : match.start()], value)
            end = match.end()
            size += len(value)
            if size > VALUE_LIMIT:
                break
        budget.spend(size + len(text), spot)
        expanded = "".join(pieces) + text[end:]
        _refuse_python(expanded, spot)
        if expanded == text:
            break
        text = expanded
    return text


def run(name: str, steps: Steps, value: Callable[[str], Steps], known: dict[str, str | None]) -> str | None:
    """Runs the steps of one value and of all it needs; every value found is kept in `known`.

    A value that needs itself raises `CycleError`.
    """
    names, running, answer = [name], [steps], None
    waiting = {name}
    while names:
        try:
            needed = running[-1].send(answer)
        except StopIteration as done:
            answer = done.value
            known[names[-1]] = answer
            waiting.remove(names.pop())
            running.pop()
            continue
        if needed in waiting:
            raise CycleError(names[names.index(needed) :])
        answer = known.get(needed)
        if needed not in known:
            names.append(needed)
            running.append(value(needed))
            waiting.add(needed)
    return answer


class CycleError(Exception):
    """A value needs itself; holds the names on the way."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(names)
        self.names = names


def _refuse_python(text: str, spot: Callable[[], str]) -> None:
    start = text.find("${@")
    if start >= 0 and text.find("}", start + 4) >= 0:
        hint = "inline Python runs only inside BitBake: use the image-oci class, or write the value out"
        raise ConfigError([Fault(spot(), "the value holds inline Python (`${@…}`)", hint)])
