# SPDX-License-Identifier: MIT
"""oe-oci against what else was measured, as ratios within each round, and the floors under them.

A floor is the least that is asked of oe-oci. Must not know how anything is run.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.table import BUILT_IN, DONE, OWN, SCENARIOS, ratio, rows_of, times

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from benchmarks.table import Run

# By peer, the builds that are compared with it. The umoci flow knows no cache: a rebuild costs what a build does.
_AGAINST = {
    "umoci": ("cold", "same", "changed"),
    "insert": ("cold",),
    "buildah": ("cold",),
    "bud": ("cold",),
    "bud-same": ("same",),
    "bud-changed": ("changed",),
    "pigz": ("cold",),
    "zstd": ("cold",),
    "limit": ("cold",),
    "limit-3": ("cold",),
}


class Floor(NamedTuple):
    """What one build must reach. Other figures than `faster` are the most it may have.

    `faster` is how many times as fast as the peer it is; `size` how many times as large its layers are, `slower` how
    many times as slow it is; `wall` are seconds, without a peer.
    """

    corpus: str
    compression: str
    scenario: str
    peer: str
    figure: str
    bound: float


FLOORS = (
    Floor("trees", "gzip", "cold", "umoci", "faster", 6),
    Floor("trees", "gzip", "cold", "umoci", "size", 0.97),
    Floor("trees", "gzip", "cold", "buildah", "faster", 3),
    Floor("trees", "gzip", "cold", "pigz", "faster", 2),
    Floor("trees", "gzip", "cold", "pigz", "size", 1.03),
    Floor("trees", "gzip", "cold", "insert", "faster", 0.9),
    Floor("trees", "gzip", "cold", "insert", "size", 0.98),
    Floor("trees", "gzip", "cold", "limit", "slower", 1.3),
    Floor("trees", "gzip", "same", "", "wall", 0.25),
    Floor("trees", "gzip", "paranoid", "", "wall", 0.6),
    Floor("trees", "gzip", "changed", "bud-changed", "faster", 5),
    Floor("trees", "zstd", "cold", "umoci", "faster", 15),
    Floor("trees", "zstd", "cold", "umoci", "size", 0.87),
    Floor("trees", "zstd", "cold", "buildah", "faster", 8),
    Floor("trees", "zstd", "cold", "pigz", "faster", 5),
    Floor("trees", "zstd", "cold", "pigz", "size", 1),
    Floor("trees", "zstd", "cold", "insert", "faster", 2),
    Floor("trees", "zstd", "cold", "limit", "slower", 1.4),
    Floor("trees", "zstd", "cold", "limit-3", "slower", 1.4),
    Floor("trees", "zstd", "same", "", "wall", 0.25),
    Floor("trees", "zstd", "paranoid", "", "wall", 0.6),
    Floor("trees-16", "gzip", "cold", "umoci", "faster", 12),
    Floor("files-200k", "gzip", "cold", "umoci", "faster", 20),
)
# Of every build: so many MiB, and so many bytes for each entry of the image.
_PEAK = {"gzip": 100, "zstd": 180}
_AN_ENTRY = 600


def floors(runs: Sequence[Run]) -> str:
    """A table of the floors that something was measured for, and of the memory that each corpus's builds may take."""
    head = ("Corpus", "Layers", "oe-oci", "Figure", "Measured", "Floor", "Met")
    return rows_of(head, ("---",) * 4 + ("---:", "---:", "---"), [*_reached(runs), *_peaks(runs)])


def _reached(runs: Sequence[Run]) -> Iterator[tuple[str, ...]]:
    for floor in FLOORS:
        own = _of(runs, floor.corpus, floor.scenario, "", floor.compression)
        others = _of(runs, floor.corpus, floor.peer)
        if floor.peer.startswith("limit"):
            others = _of(runs, floor.corpus, floor.peer, "", floor.compression)
        if not own:
            continue
        name, found, unit = _measured(floor, own, others)
        met = "-" if found is None else _met(found >= floor.bound if floor.figure == "faster" else found <= floor.bound)
        shown = "-" if found is None else f"{found:.3g}{unit}"
        sign = "≥" if floor.figure == "faster" else "≤"
        head = (floor.corpus, floor.compression, SCENARIOS[floor.scenario], name)
        yield (*head, shown, f"{sign} {floor.bound:g}{unit}", met)


def _measured(floor: Floor, own: Sequence[Run], others: Sequence[Run]) -> tuple[str, float | None, str]:
    """What a floor's figure is called, its value, and its unit."""
    peer = SCENARIOS.get(floor.peer, "")
    if floor.figure == "faster":
        return f"times as fast as {peer}", ratio(others, own), "x"
    if floor.figure == "size":
        return f"times the size of {peer}", ratio(own, others, "size"), "x"
    if floor.figure == "slower":
        return f"times the {peer}", ratio(own, others), "x"
    good = [run.wall for run in own if run.outcome == DONE]
    return "wall seconds", median(good) if good else None, " s"


def _peaks(runs: Sequence[Run]) -> Iterator[tuple[str, ...]]:
    for corpus, compression in dict.fromkeys((run.corpus, run.compression) for run in runs):
        own = [
            run
            for run in runs
            if (run.corpus, run.compression, run.outcome) == (corpus, compression, DONE)
            and run.scenario in OWN
            and run.manager in ("", BUILT_IN)
        ]
        if own:
            most = max(run.peak for run in own)
            bound = _PEAK[compression] + _AN_ENTRY * max(run.entries for run in own) / 2**20
            row = (corpus, compression, "the largest of all", "peak MiB")
            yield (*row, f"{most:.0f}", f"≤ {bound:.0f}", _met(most <= bound))


def _met(met: bool) -> str:
    return "yes" if met else "**no**"


def _of(runs: Iterable[Run], corpus: str, scenario: str, manager: str = "", compression: str = "") -> list[Run]:
    key = (corpus, scenario, manager)
    return [
        run for run in runs if (run.corpus, run.scenario, run.manager) == key and compression in ("", run.compression)
    ]


def comparison(runs: Sequence[Run]) -> str:
    """A table of each build against each peer and package manager."""
    head = ("Corpus", "Layers", "oe-oci", "Against", "Times as fast", "Times the size")
    rows = [
        (corpus, compression, SCENARIOS[own[0].scenario], name, times(ratio(others, own)), _size(own, others))
        for corpus, compression in dict.fromkeys((run.corpus, run.compression) for run in runs)
        for own, name, others in (*_peers(runs, corpus, compression), *_managers(runs, corpus, compression))
        if own and others
    ]
    return rows_of(head, ("---",) * 4 + ("---:", "---:"), rows)


def _peers(runs: Sequence[Run], corpus: str, compression: str) -> Iterator[tuple[list[Run], str, list[Run]]]:
    for peer, scenarios in _AGAINST.items():
        # What gzip makes is compared with what zstd does, as with some peers there is nothing else.
        others = _of(runs, corpus, peer, "", compression) or _of(runs, corpus, peer, "", "gzip")
        for scenario in scenarios:
            yield _of(runs, corpus, scenario, "", compression), SCENARIOS[peer], others


def _managers(runs: Sequence[Run], corpus: str, compression: str) -> Iterator[tuple[list[Run], str, list[Run]]]:
    every = (run.manager for run in runs if run.corpus == corpus)
    for manager in dict.fromkeys(manager for manager in every if manager not in ("", BUILT_IN)):
        for scenario in ("cold", "same"):
            # What knows no cache runs once a round.
            others = _of(runs, corpus, scenario, manager) or _of(runs, corpus, "cold", manager)
            named = f"{manager}: {SCENARIOS[others[0].scenario]}" if others else manager
            yield _of(runs, corpus, scenario, BUILT_IN, compression), named, others


def _size(own: Sequence[Run], others: Sequence[Run]) -> str:
    found = ratio(own, others, "size")
    return "-" if found is None else f"{found:.3f}"
