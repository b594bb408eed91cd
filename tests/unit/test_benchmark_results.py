# SPDX-License-Identifier: MIT
"""What benchmarks/ says of runs that were measured: ratios, floors, plots."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from benchmarks import levels, plots
from benchmarks.floors import comparison, floors
from benchmarks.main import plot
from benchmarks.table import DONE, FAILED, Run


def run(scenario: str, wall: float, number: int = 1, corpus: str = "trees", **more) -> Run:
    facts = {"compression": "gzip", "outcome": DONE, "peak": 50.4, "size": 970_000, "manager": "", "entries": 10_000}
    facts |= more
    return Run(
        corpus, number, facts.pop("compression"), scenario, facts.pop("outcome"), wall, 2 * wall, *facts.values()
    )


def cells(text: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in text.splitlines()[2:]]


def figures(text: str, scenario: str) -> dict[str, list[str]]:
    return {row[3]: row[4:] for row in cells(text) if row[1:3] == ["gzip", scenario]}


class TestFloors:
    def test_ratios_are_taken_within_each_round(self):
        walls = {"cold": (1, 2, 9), "umoci": (5.9, 12.2, 55), "limit": (1, 1.6, 4)}
        runs = [
            run(each, walls[each][number - 1], number, size=1_000_000 if each == "umoci" else 970_000)
            for number in (1, 2, 3)
            for each in walls
        ]
        found = figures(floors(runs), "cold, empty cache")
        assert found["times as fast as umoci flow"] == ["6.1x", "≥ 6x", "yes"]
        assert found["times the size of umoci flow"] == ["0.97x", "≤ 0.97x", "yes"]
        assert found["times the limit"] == ["1.25x", "≤ 1.3x", "yes"]

    def test_what_is_slower_or_larger_is_said(self):
        runs = [run("cold", 2), run("pigz", 3, size=900_000), run("limit", 1), run("same", 0.26)]
        found = figures(floors(runs), "cold, empty cache")
        assert found["times as fast as tar, pigz, both digests"] == ["1.5x", "≥ 2x", "**no**"]
        assert found["times the size of tar, pigz, both digests"] == ["1.08x", "≤ 1.03x", "**no**"]
        assert found["times the limit"] == ["2x", "≤ 1.3x", "**no**"]
        assert figures(floors(runs), "nothing changed") == {"wall seconds": ["0.26 s", "≤ 0.25 s", "**no**"]}

    def test_what_was_not_measured_is_neither(self):
        found = figures(floors([run("cold", 2), run("umoci", 99, outcome=FAILED)]), "cold, empty cache")
        assert found["times as fast as umoci flow"] == ["-", "≥ 6x", "-"]
        assert floors([run("cold", 2, outcome=FAILED)]).count("yes") == 0

    def test_zstd_is_measured_against_what_others_make_with_gzip(self):
        runs = [run("cold", 1, compression="zstd", size=1), run("umoci", 20, size=2), run("limit", 9)]
        runs += [run("limit", 0.7, compression="zstd"), run("limit-3", 0.8, compression="zstd")]
        found = {row[3]: row[4:] for row in cells(floors(runs)) if row[1] == "zstd"}
        assert found["times as fast as umoci flow"] == ["20x", "≥ 15x", "yes"]
        assert found["times the limit"] == ["1.43x", "≤ 1.4x", "**no**"]
        assert found["times the limit of level 3"] == ["1.25x", "≤ 1.4x", "yes"]

    @pytest.mark.parametrize(("peak", "met"), [(105.7, "yes"), (105.8, "**no**")])
    def test_memory_grows_with_the_entries_alone(self, peak: float, met: str):
        runs = [run("cold", 1, corpus="some", peak=peak), run("umoci", 1, corpus="some", peak=999)]
        assert cells(floors(runs)) == [["some", "gzip", "the largest of all", "peak MiB", "106", "≤ 106", met]]

    def test_memory_of_zstd(self):
        assert cells(floors([run("same", 1, corpus="some", compression="zstd", peak=185)]))[0][5:] == ["≤ 186", "yes"]


class TestComparison:
    def test_rebuilds_are_compared_with_rebuilds(self):
        runs = [run("cold", 2), run("same", 0.5), run("changed", 1)]
        runs += [run("bud", 8), run("bud-same", 4), run("bud-changed", 6), run("umoci", 20, size=1_000_000)]
        assert [row[2:] for row in cells(comparison(runs))] == [
            ["cold, empty cache", "umoci flow", "10x", "0.970"],
            ["nothing changed", "umoci flow", "40x", "0.970"],
            ["one layer changed", "umoci flow", "20x", "0.970"],
            ["cold, empty cache", "buildah bud, empty cache", "4.00x", "1.000"],
            ["nothing changed", "buildah bud, nothing changed", "8.00x", "1.000"],
            ["one layer changed", "buildah bud, one layer changed", "6.00x", "1.000"],
        ]

    def test_package_managers_are_compared_within_a_scenario(self):
        walls = {"built in": (2, 0.5), "dnf": (8, 1)}
        runs = [run(each, walls[who][n], manager=who) for n, each in enumerate(("cold", "same")) for who in walls]
        assert [row[2:5] for row in cells(comparison(runs))] == [
            ["cold, empty cache", "dnf: cold, empty cache", "4.00x"],
            ["nothing changed", "dnf: nothing changed", "2.00x"],
        ]

    def test_what_knows_no_cache_is_compared_with_in_every_scenario(self):
        runs = [run("cold", 2, manager="built in"), run("cold", 6, manager="mmdebstrap")]
        found = cells(comparison([*runs, run("same", 0.5, manager="built in")]))
        assert [row[4] for row in found] == ["3.00x", "12x"]


class TestPlots:
    RUNS = (
        *(run("cold", count / 1000, corpus=f"files-{count}", entries=count) for count in (10, 50, 200)),
        *(run("umoci", count / 10, corpus=f"files-{count}", entries=count) for count in (10, 50, 200)),
        run("cold", 7),
    )
    LEVELS = ({"zlib": {1: (70.0, 0.4), 6: (30.0, 0.35)}, "zstd": {3: (200.0, 0.3)}}, {"zlib": 6, "zstd": 3})

    def test_the_same_figures_are_the_same_bytes(self):
        assert plots.growth(self.RUNS) == plots.growth(self.RUNS)
        assert plots.levels(*self.LEVELS) == plots.levels(*self.LEVELS)

    def test_texts_are_texts(self):
        texts = {element.text for element in ET.fromstring(plots.levels(*self.LEVELS)).findall(".//{*}text")}
        assert {"zlib", "zstd", "1", "6", "3", "MB/s of one core"} <= texts
        texts = {element.text for element in ET.fromstring(plots.growth(self.RUNS)).findall(".//{*}text")}
        assert {"oe-oci, gzip", "umoci flow, gzip", "seconds", "peak MiB"} <= texts
        assert "oe-oci, zstd" not in texts

    def test_growth_takes_two_sizes_and_matplotlib(self, tmp_path, monkeypatch, capsys):
        plot(str(tmp_path), self.RUNS[:1])
        assert not [*tmp_path.iterdir()]
        plot(str(tmp_path), self.RUNS)
        assert [each.name for each in tmp_path.iterdir()] == ["growth.svg"]
        monkeypatch.setattr(plots, "can_draw", lambda: False)
        plot(str(tmp_path / "none"), self.RUNS)
        assert capsys.readouterr().err.startswith("no matplotlib: without the plot of growth")

    def test_table_of_levels(self):
        assert levels.table(*self.LEVELS).splitlines()[2:] == [
            "| 1 | 70 | 40.0% | - | - |",
            "| 3 | - | - | **200** | **30.0%** |",
            "| 6 | **30** | **35.0%** | - | - |",
        ]
