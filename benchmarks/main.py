# SPDX-License-Identifier: MIT
"""Measures builds of oe-oci, with its layer cache and without, other builders of images, and package managers."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from benchmarks import corpus, formats, peers, plots
from benchmarks.bootstraps import Bootstraps
from benchmarks.builds import Builds
from benchmarks.managers import Managers
from benchmarks.measure import machine, version_of
from benchmarks.page import page
from benchmarks.table import FAILED, WRONG, Run

if TYPE_CHECKING:
    from collections.abc import Sequence

CORPORA = corpus.corpora()
_FORMATS = tuple(formats.MANAGERS)
FULL = ("trees", "trees-16", "large", "files-10k", "files-50k", "files-200k", "packages")
FULL += tuple(f"packages-{kind}" for kind in _FORMATS)
FULL += tuple(f"scripts-{kind}" for kind in _FORMATS)
QUICK = ("trees-few", "trees-few-16", "large-few", "files-1k", "packages-few")
QUICK += tuple(f"packages-few-{kind}" for kind in _FORMATS)
QUICK += tuple(f"scripts-few-{kind}" for kind in _FORMATS)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/run", description=__doc__)
    default = os.path.join(tempfile.gettempdir(), f"oe-oci-benchmarks-{os.getuid()}")
    parser.add_argument("--work", metavar="DIR", default=default, help="where all lies (default: %(default)s)")
    parser.add_argument("--rounds", metavar="N", type=int, help="how often each build runs (default: 3)")
    parser.add_argument("--only", metavar="CORPUS,…", help=f"of {', '.join(CORPORA)} (default: {','.join(FULL)})")
    parser.add_argument("--quick", action="store_true", help=f"one round of {','.join(QUICK)}, to try it out")
    parser.add_argument("--without-umoci", action="store_true", help="leave out the umoci flow, which takes longest")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=1800,
        help="a build that takes longer is stopped and marked (default: %(default)s)",
    )
    arguments = parser.parse_args(words)
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 3)
    arguments.corpora = arguments.only.split(",") if arguments.only else QUICK if arguments.quick else FULL
    if unknown := set(arguments.corpora) - CORPORA.keys():
        parser.error(f"no such corpus: {', '.join(sorted(unknown))}")
    return arguments


def write(work: str, runs: Sequence[Run], sizes: dict[str, str], facts: dict[str, Any]) -> None:
    """Write the results so far."""
    with open(os.path.join(work, "results.md"), "w", encoding="utf-8") as file:
        file.write(page(runs, sizes, facts))
    with open(os.path.join(work, "results.json"), "w", encoding="utf-8") as file:
        json.dump({"machine": facts, "corpora": sizes, "runs": [run._asdict() for run in runs]}, file, indent=1)


def plot(work: str, runs: Sequence[Run]) -> None:
    """Draw how builds grow with the number of files, where two such corpora or more were measured."""
    if len({run.corpus for run in runs if run.corpus.startswith(plots.SMALL)}) < 2:
        return
    if not plots.can_draw():
        print("no matplotlib: without the plot of growth; the extra 'bench' of oe-oci brings it", file=sys.stderr)
        return
    with open(os.path.join(work, "growth.svg"), "wb") as file:
        file.write(plots.growth(runs))


def main() -> int:
    arguments = parse()
    os.umask(0o022)
    work = os.path.abspath(arguments.work)
    os.makedirs(os.path.join(work, "corpora"), exist_ok=True)
    with open(os.path.join(work, "lock"), "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"{work} is in use by another run") from None
        return run_all(arguments, work)


def peers_of(arguments: argparse.Namespace) -> list[str]:
    """The peers that the corpora ask for and that can be measured here; why others are left out is said."""
    builds = [CORPORA[name] for name in arguments.corpora if not CORPORA[name].format]
    asked = {name for chosen in builds for name in chosen.peers}
    without = {"umoci"} if arguments.without_umoci else set()
    return [name for name in peers.PEERS if name in asked - without and peers.can_run(name)]


def run_all(arguments: argparse.Namespace, work: str) -> int:
    """Measure each corpus in turn, and print the tables; the exit status."""
    named = peers_of(arguments)
    facts = {**machine(work), "oe-oci": version_of(peers.OE_OCI, "--version"), "peers": peers.versions(named)}
    peers.compile_oe_oci()
    runs: list[Run] = []
    sizes: dict[str, str] = {}
    print(f"{work} is on {facts['file system']}", file=sys.stderr)
    for name in arguments.corpora:
        chosen = CORPORA[name]
        if not peers.present(chosen.needed, name):
            continue
        builds: Builds | Managers | Bootstraps
        if chosen.scripts == "run:chroot":
            builds = Bootstraps(chosen, work, arguments.timeout)
        elif chosen.format:
            builds = Managers(chosen, work, arguments.timeout)
        else:
            builds = Builds(chosen, work, arguments.timeout, named)
        sizes[name] = builds.size
        for number in range(1, arguments.rounds + 1):
            builds.round(number)
            facts.update(builds.facts)
            write(work, [*runs, *builds.runs], sizes, facts)
        runs += builds.runs
        builds.close()
    plot(work, runs)
    print(page(runs, sizes, facts))
    print(f"{work} has this as results.md and results.json.", file=sys.stderr)
    return int(any(run.outcome in (FAILED, WRONG) for run in runs))


if __name__ == "__main__":
    sys.exit(main())
