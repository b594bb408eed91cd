# SPDX-License-Identifier: MIT
"""What was measured, as tables of medians and of ratios within each round."""

from __future__ import annotations

import itertools
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# In the order they run in.
SCENARIOS = {
    "cold": "cold, empty cache",
    "same": "nothing changed",
    "paranoid": "nothing changed, `--paranoid`",
    "changed": "one of four layers changed",
    "copied": "same content, every file new",
    "off": 'cold, `OCI_LAYER_CACHE = "0"`',
    "umoci": "umoci flow",
}
BUILT_IN = "built in"
DONE, FAILED, WRONG, EXPIRED = "done", "failed", "wrong image", "took too long"

NOTE = """\
Medians of {rounds}; wall seconds have the least and the most in brackets. A ratio is the median of those within each
round: how many times faster the row is. Wall seconds of a machine that does other work too can only be compared within
one run of this benchmark; CPU seconds and ratios within a round bear it better.
"""


class Run(NamedTuple):
    """One measured build. `size` is what its layers take in the layout, in bytes; 0 where there is no image.

    Where package managers are compared, `manager` is the one that installed.
    """

    corpus: str
    round: int
    compression: str
    scenario: str
    outcome: str
    wall: float
    cpu: float
    peak: float
    size: int
    manager: str = ""


def report(runs: Sequence[Run], corpora: Mapping[str, str], machine: Mapping[str, object]) -> str:
    """The whole page; `corpora` says of each corpus how much it is."""
    rounds = len({run.round for run in runs})
    parts = [
        "# Benchmarks\n",
        "".join(f"- {key}: {value}\n" for key, value in machine.items()),
        NOTE.format(rounds="1 round" if rounds == 1 else f"{rounds} rounds"),
    ]
    for corpus, size in corpora.items():
        parts += [f"## {corpus}: {size}\n", table([run for run in runs if run.corpus == corpus])]
    return "\n".join(parts)


def table(runs: Sequence[Run]) -> str:
    """A table of the runs of one corpus: a row for each compression, scenario and package manager."""
    other = "package manager" if any(run.manager for run in runs) else "umoci flow"
    rows = [
        ("Layers", "Build", "Wall s", "CPU s", "Peak MiB", "Layers MB", "vs cold", f"vs {other}"),
        ("---", "---", *["---:"] * 6),
    ]
    compressions, managers = ({getattr(run, fact): None for run in runs} for fact in ("compression", "manager"))
    for key in itertools.product(compressions, SCENARIOS, managers):
        every = [run for run in runs if (run.compression, run.scenario, run.manager) == key]
        rows += [_row(runs, every)] if every else []
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(runs: Sequence[Run], every: Sequence[Run]) -> tuple[str, ...]:
    first = every[0]
    good = [run for run in every if run.outcome == DONE]
    faults = ", ".join(dict.fromkeys(run.outcome for run in every if run.outcome != DONE))
    build = f"{first.manager}: {SCENARIOS[first.scenario]}" if first.manager else SCENARIOS[first.scenario]
    head = (first.compression, build + (f" (**{faults}**: {len(every) - len(good)})" if faults else ""))
    if not good:
        return (*head, *["-"] * 6)

    def is_cold(run: Run) -> bool:
        return (run.compression, run.scenario, run.manager) == (first.compression, "cold", first.manager)

    managed = {run.scenario for run in runs if run.manager not in ("", BUILT_IN)}
    # What knows no cache runs once a round.
    situation = first.scenario if first.scenario in managed else "cold"

    def is_other(run: Run) -> bool:
        if first.manager:
            return run.scenario == situation and run.manager != BUILT_IN
        return run.scenario == "umoci"

    walls = [run.wall for run in good]
    return (
        *head,
        f"{seconds(median(walls))} ({seconds(min(walls))}-{seconds(max(walls))})",
        seconds(median(run.cpu for run in good)),
        f"{median(run.peak for run in good):.0f}",
        f"{median(run.size for run in good) / 1e6:.1f}",
        _times(ratio(runs, good, is_cold)),
        _times(ratio(runs, good, is_other)),
    )


def ratio(runs: Sequence[Run], rows: Sequence[Run], is_base: Callable[[Run], bool]) -> float | None:
    """The median, over the rounds that have both, of the base's seconds over the row's; None where no round has."""
    bases = {run.round: run.wall for run in runs if is_base(run) and run.outcome == DONE}
    found = [bases[run.round] / run.wall for run in rows if run.round in bases]
    return median(found) if found else None


def seconds(value: float) -> str:
    """With three figures, or to the second."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x" if value < 10 else f"{value:.0f}x"
