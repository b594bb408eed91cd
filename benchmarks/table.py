# SPDX-License-Identifier: MIT
"""What was measured, as tables of medians and of ratios within each round."""

from __future__ import annotations

import itertools
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# In the order they run in.
SCENARIOS = {
    "cold": "cold, empty cache",
    "same": "nothing changed",
    "paranoid": "nothing changed, `--paranoid`",
    "changed": "one layer changed",
    "copied": "same content, every file new",
    "off": 'cold, `OCI_LAYER_CACHE = "0"`',
    "umoci": "umoci flow",
    "insert": "umoci insert",
    "buildah": "buildah from, copy, commit, push",
    "bud": "buildah bud, empty cache",
    "bud-same": "buildah bud, nothing changed",
    "bud-changed": "buildah bud, one layer changed",
    "pigz": "tar, pigz, both digests",
    "zstd": "tar, zstd, both digests",
    "limit": "limit",
    "limit-3": "limit of level 3",
}
OWN = ("cold", "same", "paranoid", "changed", "copied", "off")  # of oe-oci
BUILT_IN = "built in"
DONE, FAILED, WRONG, EXPIRED = "done", "failed", "wrong image", "took too long"


class Run(NamedTuple):
    """One measured build. `size` is what its layers take in the layout, in bytes; 0 where there is no image.

    Where package managers are compared, `manager` is the one that installed. `entries` is how many oe-oci last made an
    image of the same input of.
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
    entries: int = 0


def table(runs: Sequence[Run]) -> str:
    """A table of the runs of one corpus: a row for each compression, scenario and package manager."""
    head = ("Layers", "Build", "Wall s", "CPU s", "Peak MiB", "Layers MB", "vs cold")
    compressions, managers = ({getattr(run, fact): None for run in runs} for fact in ("compression", "manager"))
    rows = []
    for key in itertools.product(compressions, SCENARIOS, managers):
        every = [run for run in runs if (run.compression, run.scenario, run.manager) == key]
        rows += [_row(runs, every)] if every else []
    return rows_of(head, ("---", "---", *["---:"] * 5), rows)


def rows_of(head: Sequence[str], lines: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; `lines` stand below its head."""
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, lines, *rows))


def _row(runs: Sequence[Run], every: Sequence[Run]) -> tuple[str, ...]:
    first = every[0]
    good = [run for run in every if run.outcome == DONE]
    faults = ", ".join(dict.fromkeys(run.outcome for run in every if run.outcome != DONE))
    build = f"{first.manager}: {SCENARIOS[first.scenario]}" if first.manager else SCENARIOS[first.scenario]
    head = (first.compression, build + (f" (**{faults}**: {len(every) - len(good)})" if faults else ""))
    if not good:
        return (*head, *["-"] * 5)
    cold = [
        run
        for run in runs
        if (run.compression, run.scenario, run.manager) == (first.compression, "cold", first.manager)
    ]
    walls = [run.wall for run in good]
    return (
        *head,
        f"{seconds(median(walls))} ({seconds(min(walls))}-{seconds(max(walls))})",
        seconds(median(run.cpu for run in good)),
        f"{median(run.peak for run in good):.0f}",
        f"{median(run.size for run in good) / 1e6:.1f}",
        times(ratio(cold, good)),
    )


def ratio(above: Iterable[Run], below: Iterable[Run], of: str = "wall") -> float | None:
    """The median, over the rounds that have both, of the one's figure over the other's; None where no round has."""
    bases = {run.round: getattr(run, of) for run in above if run.outcome == DONE}
    found = [bases[run.round] / getattr(run, of) for run in below if run.outcome == DONE and run.round in bases]
    return median(found) if found else None


def seconds(value: float) -> str:
    """With three figures, or to the second."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x" if value < 10 else f"{value:.0f}x"
