# SPDX-License-Identifier: MIT
"""The page of results: the machine, the floors, oe-oci against what else was measured, and the runs of each corpus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.floors import comparison, floors
from benchmarks.table import table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.table import Run

_NOTE = """\
Medians of {rounds}; wall seconds have the least and the most in brackets. A ratio is the median of those within each
round. Wall seconds of a machine that does other work too can only be compared within one run of this benchmark; CPU
seconds and ratios within a round bear it better.
"""


def page(runs: Sequence[Run], corpora: Mapping[str, str], machine: Mapping[str, object]) -> str:
    """All of it in Markdown; `corpora` says of each corpus how much it is."""
    rounds = len({run.round for run in runs})
    parts = [
        "# Benchmarks\n",
        "".join(f"- {key}: {value}\n" for key, value in machine.items()),
        _NOTE.format(rounds="1 round" if rounds == 1 else f"{rounds} rounds"),
        "## Floors\n",
        floors(runs),
        "## Against others\n",
        comparison(runs),
    ]
    for corpus, size in corpora.items():
        parts += [f"## {corpus}: {size}\n", table([run for run in runs if run.corpus == corpus])]
    return "\n".join(parts)
