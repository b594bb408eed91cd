# SPDX-License-Identifier: MIT
"""Variables written down, so that reading them gives the same values. Must not know what any variable means."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Text that is free of one kind of quotes can stand in those.
_PIECES = re.compile(r"[^\"]+|[^']+")


def assignments(values: Iterable[tuple[str, str]]) -> str:
    """The text that assigns values to names. A line's end becomes a blank, as no value can hold one."""
    return "".join(_assignment(name, " ".join(value.splitlines())) for name, value in values)


def _assignment(name: str, value: str) -> str:
    lines: list[str] = []
    for piece in _PIECES.findall(value) or [""]:
        quote = '"' if '"' not in piece else "'"
        lines.append(f"{name} {'.=' if lines else '='} {quote}{piece}{quote}\n")
    return "".join(lines)
