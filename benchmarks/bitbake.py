# SPDX-License-Identifier: MIT
"""Measures do_image_oci in real BitBake: the class of this layer, and one of the same name in another layer.

Layers of packages are cut from the root file system, and also installed by the package manager, as by the other class.

What is measured is the elapsed time of the task, with all that runs before and after its shell function, as BitBake's
buildstats have it. Packages and root file systems are there by then; nothing else runs, and tasks run one at a time.
Must not know how either class makes an image.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support.bitbake import FORMATS, USER, Build, Checkouts, Failed

from benchmarks.measure import machine, read_image, version_of
from benchmarks.table import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

IMAGES = ("small-single", "small-multi", "big-single", "big-multi")
QUICK = ("small-single", "small-multi")
COLD, WARM = "empty", "as the build before left it"
OURS, INSTALLED, OTHER = "ours", "installed", "replaced"
_LAYER = Path(__file__).parent / "meta-benchmark"
# The other class knows nothing of the tests' own images.
_CONF = r"""
INHERIT += "buildstats"
BB_NUMBER_THREADS = "1"
SSTATE_DIR = "{work}/sstate"
BB_HASHSERVE_DB_DIR = "{work}/sstate"
BBMASK += "/(samples/recipes|examples)/[^_]*\.bb$"
"""
_INSTALLED = 'OCI_PACKAGE_MANAGER = "native"\n'
_HEADING = """\
Packages are {kind}. Seconds are medians of {rounds}, with the least and the most in brackets; *installed* is this
layer's class with `OCI_PACKAGE_MANAGER = "native"`. How many times faster this layer's class is than the other is the
median of the ratios within each round. Layers are MB of blobs, their number in brackets.

| Image | Layer cache | Seconds | Installed | The other | Times faster | Installed | Layers | Installed | The other's |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"""


class Timed(NamedTuple):
    """One run of the task: which class in which round, its seconds, and how many layers of how many bytes it made."""

    image: str
    cache: str
    maker: str
    round: int
    seconds: float
    layers: int
    size: int


class Side:
    """The build folder of one class; `layer` is that of the other class, None for this one. `conf` is added."""

    def __init__(
        self, name: str, work: Path, pair: Checkouts, kind: str, layer: Path | None = None, conf: str = ""
    ) -> None:
        self.name = name
        self._build = Build(work / f"{name}-{pair.series}-{kind}", pair, kind)
        shutil.copytree(_LAYER, self._build.layers / "benchmark", dirs_exist_ok=True)
        self._conf = _CONF.format(work=work) + conf
        self._other = layer is not None
        if layer is not None:
            place = self._build.layers / "other"
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(layer / "classes", place / "classes")
            self._conf += f'BBPATH =. "{place}:"\n'

    def prepare(self, images: Sequence[str]) -> None:
        """Make all that the task needs, and each image once."""
        self._bitbake(*images)
        for image in images:
            script = (self._build.work(image) / "temp" / "run.do_image_oci").read_text(encoding="utf-8")
            if ("-m oe_oci" in script) is self._other:
                raise SystemExit(f"{image}: {self.name} is not made by the class that is to be measured")

    def empty_cache(self) -> None:
        shutil.rmtree(self._build.folder / "oci-layer-cache", ignore_errors=True)

    def run(self, image: str, cache: str, number: int) -> Timed:
        """Run the task of an image again."""
        os.sync()
        self._bitbake("-f", image)
        (layout,) = self._build.work(image).glob(f"deploy-*/{image}-latest-oci")
        sizes = read_image(str(layout)).layers.values()
        return Timed(image, cache, self.name, number, self._elapsed(image), len(sizes), sum(sizes))

    def _bitbake(self, *words: str) -> None:
        order = "{core} {samples} {own} {layers}/benchmark"
        self._build.run("-c", "image_oci", *words, conf=self._conf, layers=order)

    def _elapsed(self, image: str) -> float:
        path = max(self._build.tmp.glob(f"buildstats/*/{image}-1.0-r0/do_image_oci"))
        found = re.search(r"^Elapsed time: ([0-9.]+) ", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert found, path
        return float(found[1])


def measure(sides: Sequence[Side], images: Sequence[str], rounds: int) -> Iterator[Timed]:
    """Every run, the classes in turns, in each round with an empty cache and then with what that left."""
    for number, image in itertools.product(range(1, rounds + 1), images):
        for cache, side in itertools.product((COLD, WARM), sides):
            if cache == COLD:
                side.empty_cache()
            timed = side.run(image, cache, number)
            print(f"{image}, cache {cache}, {side.name}: {timed.seconds:.2f} s", file=sys.stderr)
            yield timed


def report(runs: Sequence[Timed], kind: str, facts: dict[str, Any]) -> str:
    """The page of what was measured."""
    rounds = max(run.round for run in runs)
    lines = ["# do_image_oci\n", "".join(f"- {key}: {value}\n" for key, value in facts.items())]
    heading = _HEADING.format(kind=kind, rounds="1 round" if rounds == 1 else f"{rounds} rounds")
    cases = dict.fromkeys((run.image, run.cache) for run in runs)
    return "\n".join((*lines, heading)) + "".join(_row(runs, *case) for case in cases)


def _row(runs: Sequence[Timed], image: str, cache: str) -> str:
    makers = (OURS, INSTALLED, OTHER)
    ours, installed, other = ([run for run in runs if run[:3] == (image, cache, maker)] for maker in makers)
    times = (*map(_times, (ours, installed, other)), *(_faster(each, other) for each in (ours, installed)))
    return f"| {' | '.join((image, cache, *times, *map(_size, (ours, installed, other))))} |\n"


def _faster(ours: Sequence[Timed], other: Sequence[Timed]) -> str:
    ratios = [theirs.seconds / run.seconds for run, theirs in zip(ours, other)]
    return f"{median(ratios):.1f}" if ratios else "-"


def _times(runs: Sequence[Timed]) -> str:
    values = [run.seconds for run in runs]
    return f"{seconds(median(values))} ({seconds(min(values))}-{seconds(max(values))})" if values else "-"


def _size(runs: Sequence[Timed]) -> str:
    return f"{runs[-1].size / 1e6:.1f} ({runs[-1].layers})" if runs else "-"


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/bitbake", description=__doc__)
    default = os.path.join(tempfile.gettempdir(), f"oe-oci-benchmarks-bitbake-{os.getuid()}")
    parser.add_argument("--bitbake", metavar="DIR", type=Path, required=True, help="a checkout of bitbake")
    parser.add_argument("--core", metavar="DIR", type=Path, required=True, help="of openembedded-core to go with it")
    parser.add_argument("--replaced", metavar="DIR", type=Path, required=True, help="a layer with a class image-oci")
    parser.add_argument("--pseudo", metavar="PREFIX", help="where a pseudo that knows include paths is (default: /usr)")
    parser.add_argument("--kind", choices=FORMATS, default="rpm", help="format of the packages (default: %(default)s)")
    parser.add_argument("--work", metavar="DIR", type=Path, default=Path(default), help="where all lies (%(default)s)")
    parser.add_argument("--rounds", metavar="N", type=int, help="how often each image is made (default: 3)")
    parser.add_argument("--only", metavar="IMAGE,…", help=f"of {', '.join(IMAGES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help=f"one round of {', '.join(QUICK)}, to try it out")
    arguments = parser.parse_args(words)
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 3)
    arguments.images = arguments.only.split(",") if arguments.only else QUICK if arguments.quick else IMAGES
    if unknown := set(arguments.images) - set(IMAGES):
        parser.error(f"no such image: {', '.join(sorted(unknown))}")
    return arguments


def main() -> int:
    arguments = parse()
    os.umask(0o022)
    work = arguments.work.resolve()
    (work / "sstate").mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(work / "sstate", USER, USER)
    if arguments.pseudo:
        os.environ["OE_OCI_PSEUDO"] = arguments.pseudo
    pair = Checkouts(arguments.bitbake.resolve(), arguments.core.resolve())
    facts = {**machine(str(work)), "series": pair.series, "umoci": version_of("umoci", "--version")}
    runs: list[Timed] = []
    try:
        sides = [
            Side(OURS, work, pair, arguments.kind),
            Side(INSTALLED, work, pair, arguments.kind, conf=_INSTALLED),
            Side(OTHER, work, pair, arguments.kind, arguments.replaced.resolve()),
        ]
        for side in sides:
            side.prepare(arguments.images)
        for timed in measure(sides, arguments.images, arguments.rounds):
            runs.append(timed)
            _write(work, runs, arguments.kind, facts)
    except pytest.skip.Exception as missing:
        raise SystemExit(f"can not be measured here: {missing}") from None
    except Failed as error:
        raise SystemExit(str(error)) from None
    print(report(runs, arguments.kind, facts))
    print(f"{work}/results.md and {work}/results.json have this.", file=sys.stderr)
    return 0


def _write(work: Path, runs: Sequence[Timed], kind: str, facts: dict[str, Any]) -> None:
    """Write the results so far."""
    (work / "results.md").write_text(report(runs, kind, facts), encoding="utf-8")
    every = {"machine": facts, "kind": kind, "runs": [run._asdict() for run in runs]}
    (work / "results.json").write_text(json.dumps(every, indent=1), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
