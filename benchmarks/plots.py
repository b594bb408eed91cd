# SPDX-License-Identifier: MIT
"""Plots as SVG: with one version of matplotlib the same figures give the same bytes.

matplotlib is imported only to draw: its memory would be seen in what is measured after it.
"""

from __future__ import annotations

import importlib.util
import io
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.table import DONE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.table import Run

SMALL = "files-"  # how the names of the corpora of small files begin

# By compression, scenario and name, in the order they are drawn in.
_GROWTH = (("gzip", "cold", "oe-oci, gzip"), ("zstd", "cold", "oe-oci, zstd"), ("gzip", "umoci", "umoci flow, gzip"))
_SETTINGS = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "grid.linewidth": 0.4,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.marker": "o",
    "lines.markersize": 3,
    "svg.fonttype": "none",
    "svg.hashsalt": "oe-oci",
}


def can_draw() -> bool:
    """Whether matplotlib is there."""
    return importlib.util.find_spec("matplotlib") is not None


def growth(runs: Sequence[Run]) -> bytes:
    """Seconds and memory by the number of files, of the corpora of small files."""
    good = [run for run in runs if run.corpus.startswith(SMALL) and run.outcome == DONE]

    def fill(figure: Any) -> None:
        axes = figure.subplots(1, 2)
        for place, (fact, what) in zip(axes, (("wall", "seconds"), ("peak", "peak MiB"))):
            for compression, scenario, name in _GROWTH:
                every = [run for run in good if (run.compression, run.scenario) == (compression, scenario)]
                counts = sorted({run.entries for run in every})
                medians = [median(getattr(run, fact) for run in every if run.entries == count) for count in counts]
                if counts:
                    place.plot(counts, medians, label=name)
            place.set(xlabel="files, links and directories", ylabel=what, xscale="log", yscale="log")
            _label(place.xaxis, place.yaxis)
        axes[0].legend()

    return _drawn(8, 3.4, fill)


def levels(measured: Mapping[str, Mapping[int, tuple[float, float]]], usual: Mapping[str, int]) -> bytes:
    """The ratio of compression against the speed, a curve for each compressor.

    Of each level, `measured` has the megabytes a second and the compressed part of the whole; `usual` is the level that
    is taken where none is named, and has a ring.
    """

    def fill(figure: Any) -> None:
        place = figure.subplots()
        for name, found in measured.items():
            points = {level: (speed, 1 / part) for level, (speed, part) in found.items()}
            (line,) = place.plot(*zip(*points.values()), label=name)
            for level, point in points.items():
                place.annotate(str(level), point, (0, 5), textcoords="offset points", ha="center", fontsize=7)
            if name in usual:
                place.plot(*points[usual[name]], markersize=8, fillstyle="none", color=line.get_color())
        place.set(xlabel="MB/s of one core", ylabel="raw bytes for each compressed one", xscale="log")
        _label(place.xaxis)
        place.legend()

    return _drawn(6.5, 4, fill)


def _drawn(width: float, height: float, fill: Callable[[Any], None]) -> bytes:
    """A figure of so many inches."""
    from matplotlib import rc_context  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    out = io.BytesIO()
    with rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        fill(figure)
        figure.savefig(out, format="svg", metadata={"Creator": None, "Date": None})
    # Trailing blanks are all that a checker of sources has against it.
    return b"".join(line.rstrip() + b"\n" for line in out.getvalue().splitlines())


def _label(*axes: Any) -> None:
    """Plain numbers at 1, 2 and 5 of each power of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter  # noqa: PLC0415

    for axis in axes:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
