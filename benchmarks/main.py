# SPDX-License-Identifier: MIT
"""Measures builds of oe-oci, with its layer cache and without, and umoci's way of building, in turn."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from benchmarks import corpus, packages, peers
from benchmarks.builds import Builds
from benchmarks.measure import machine, version_of
from benchmarks.table import FAILED, WRONG, Run, report

if TYPE_CHECKING:
    from collections.abc import Sequence

CORPORA = corpus.corpora()
FULL = ("files-10k", "files-50k", "files-200k", "packages")
QUICK = ("files-1k", "packages-few")


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


def present(tools: Sequence[str], without: str) -> bool:
    """Whether programs are there; what can not be measured without them is said."""
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        print(f"no {', '.join(missing)}: without {without}", file=sys.stderr)
    return not missing


def write(work: str, runs: Sequence[Run], sizes: dict[str, str], facts: dict[str, Any]) -> None:
    """Write the results so far."""
    with open(os.path.join(work, "results.md"), "w", encoding="utf-8") as file:
        file.write(report(runs, sizes, facts))
    with open(os.path.join(work, "results.json"), "w", encoding="utf-8") as file:
        json.dump({"machine": facts, "corpora": sizes, "runs": [run._asdict() for run in runs]}, file, indent=1)


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


def run_all(arguments: argparse.Namespace, work: str) -> int:
    """Measure each corpus in turn, and print the tables; the exit status."""
    umoci = not arguments.without_umoci and present(peers.UMOCI_TOOLS, "the umoci flow")
    facts = {**machine(work), "oe-oci": version_of(peers.OE_OCI, "--version")}
    if umoci:
        facts["umoci"] = version_of("umoci", "--version")
    runs: list[Run] = []
    sizes: dict[str, str] = {}
    print(f"{work} is on {facts['file system']}", file=sys.stderr)
    for name in arguments.corpora:
        if name in packages.LAYERS and not present(packages.TOOLS, name):
            continue
        builds = Builds(CORPORA[name], work, arguments.timeout, umoci=umoci)
        sizes[name] = builds.size
        facts.update(builds.compressors)
        for number in range(1, arguments.rounds + 1):
            builds.round(number)
            write(work, [*runs, *builds.runs], sizes, facts)
        runs += builds.runs
        builds.close()
    print(report(runs, sizes, facts))
    print(f"{work}/results.md and {work}/results.json have this.", file=sys.stderr)
    return int(any(run.outcome in (FAILED, WRONG) for run in runs))


if __name__ == "__main__":
    sys.exit(main())
