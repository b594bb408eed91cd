# SPDX-License-Identifier: MIT
"""Tables and sizes as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def size(count: int) -> str:
    """A number of bytes as people read it: `999 B`, `1.5 kB`, `23.0 MB`."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.95 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{count} B" if units[0] == "B" else f"{value:.1f} {units[0]}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under their headings; those whose heading begins with `>` are aligned to the right."""
    names = [name.lstrip(">") for name in head]
    widths = [max(len(row[number]) for row in [names, *rows]) for number in range(len(head))]
    lines = []
    for row in [names, *rows]:
        cells = [
            cell.rjust(width) if name.startswith(">") else cell.ljust(width)
            for cell, width, name in zip(row, widths, head)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def printable(text: str) -> str:
    r"""Text whose characters, but line ends, can be shown; the others are escaped, as `\x1b` or `\udcff`.

    What images and file names hold is shown, and must not steer the terminal it is shown on.
    """
    if text.replace("\n", "").isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text)
