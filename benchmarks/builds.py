# SPDX-License-Identifier: MIT
"""The builds of one corpus, each scenario once a round, each image compared with the one it must be."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from benchmarks import corpus, peers
from benchmarks.measure import Cost, Image, measure, read_image
from benchmarks.table import DONE, EXPIRED, FAILED, WRONG, Run

COMPRESSIONS = ("gzip", "zstd")
# oe-oci remembers a file only if its last change was two seconds or more before the build.
SETTLE = 3


class Builds:
    """The runs of one corpus. All they make lies in the folder `place`, but for the corpus itself."""

    def __init__(self, chosen: corpus.Corpus, work: str, timeout: float, *, umoci: bool) -> None:
        self.runs: list[Run] = []
        self.compressors: dict[str, str] = {}
        self._corpus, self._timeout, self._umoci = chosen, timeout, umoci
        self._paranoid = peers.can_be_paranoid()
        self._place = os.path.join(work, "run")
        corpus.remove(self._place)
        os.mkdir(self._place)
        made = chosen.made(os.path.join(work, "corpora"))
        self.size = corpus.describe(made)
        print(f"{chosen.name}: {self.size}", file=sys.stderr)
        self._copy = corpus.Copy(made, self._path("input"))
        with open(self._path("image.conf"), "w", encoding="utf-8") as file:
            file.write(peers.configuration(chosen.layers))
        self._images = {compression: self._references(compression) for compression in COMPRESSIONS}
        self._layers = self._report()["layers"]

    def close(self) -> None:
        corpus.remove(self._place)

    def _path(self, *names: str) -> str:
        return os.path.join(self._place, *names)

    def _references(self, compression: str) -> tuple[Image, Image]:
        """The image that builds must give, and the one they must give of the changed input: made without a cache."""
        self._copy.change()
        changed = self._image_without_cache(compression)
        self._copy.restore()
        image = self._image_without_cache(compression)
        made = self._report()["compressor"]
        self.compressors[compression] = f"{made['name']} {made['version']}, level {made['level']}"
        if len(image.layers) != 4 or len(image.layers.keys() - changed.layers.keys()) != 1:
            raise SystemExit(f"{self._corpus.name}: the change is not one of one in four layers")
        return image, changed

    def _image_without_cache(self, compression: str) -> Image:
        cost = self._build(compression, "0")
        if cost.status != 0:
            raise SystemExit(f"{self._corpus.name}: no image after {cost.wall:.0f} s\n{self._messages()}")
        return read_image(self._path("deploy", "image-oci"))

    def _report(self) -> Any:
        with open(self._path("deploy", "image-oci.json"), encoding="utf-8") as file:
            return json.load(file)

    def _build(self, compression: str, cache: str = "1", *options: str) -> Cost:
        """One run of oe-oci, into an empty deploy folder."""
        corpus.remove(self._path("deploy"))
        command = [peers.OE_OCI, "build", self._path("image.conf"), self._corpus.option, self._copy.place]
        command += ["--deploy-dir", self._path("deploy"), *options]
        settings = {
            "OCI_LAYER_COMPRESSION": compression,
            "OCI_LAYER_CACHE": cache,
            "OCI_LAYER_CACHE_DIR": self._path("cache", "layers"),
        }
        command += [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        return self._measure(command)

    def _measure(self, command: list[str]) -> Cost:
        corpus.remove(self._path("scratch"))
        os.mkdir(self._path("scratch"))
        env = {
            "HOME": self._path("scratch"),
            "LC_ALL": "C.UTF-8",
            "PATH": os.environ["PATH"],
            "TMPDIR": self._path("scratch"),
            "XDG_CACHE_HOME": self._path("cache"),
        }
        return measure(command, env, self._path("messages"), self._timeout)

    def _messages(self) -> str:
        with open(self._path("messages"), encoding="utf-8", errors="replace") as file:
            return file.read()[-2000:]

    def round(self, number: int) -> None:
        """Run each build once."""
        self._round_of(number, COMPRESSIONS[0])
        if self._umoci:
            self._umoci_flow(number)
        for compression in COMPRESSIONS[1:]:
            self._round_of(number, compression)

    def _round_of(self, number: int, compression: str) -> None:
        image, changed = self._images[compression]

        def note(scenario: str, cost: Cost, wanted: Image = image) -> None:
            self._note(number, compression, scenario, cost, wanted)

        corpus.remove(self._path("cache"))
        self._copy.read()
        time.sleep(SETTLE)
        note("cold", self._build(compression))
        note("same", self._build(compression))
        if self._paranoid:
            note("paranoid", self._build(compression, "1", "--paranoid"))
        self._copy.change()
        note("changed", self._build(compression), changed)
        self._copy.renew()
        note("copied", self._build(compression))
        corpus.remove(self._path("cache"))
        note("off", self._build(compression, "0"))

    def _umoci_flow(self, number: int) -> None:
        bundle = self._path("scratch", "bundle")
        if self._corpus.option == "--rootfs":
            fills = peers.fills_of_files(self._copy.place, bundle)
        else:
            installed = {layer["name"]: [each["name"] for each in layer["packages"]] for layer in self._layers}
            fills = peers.fills_of_packages(self._copy.place, installed, bundle)
        script = self._path("umoci.sh")
        with open(script, "w", encoding="utf-8") as file:
            file.write(peers.umoci_flow(fills, self._path("deploy", "image-oci"), bundle))
        corpus.remove(self._path("deploy"))
        os.mkdir(self._path("deploy"))
        cost = self._measure(["sh", script])
        self._note(number, COMPRESSIONS[0], "umoci", cost)
        self._umoci = cost.status is not None
        corpus.remove(self._path("scratch"))

    def _note(self, number: int, compression: str, scenario: str, cost: Cost, wanted: Image | None = None) -> None:
        """Take down a run, and what became of it."""
        outcome, size = DONE, 0
        if cost.status is None:
            outcome = EXPIRED
        elif cost.status:
            outcome = FAILED
            print(self._messages(), file=sys.stderr)
        else:
            image = self._image()
            size = sum(image.layers.values()) if image else 0
            if image is None or image != (wanted or image):
                outcome = WRONG
        run = Run(self._corpus.name, number, compression, scenario, outcome, *cost[1:], size)
        self.runs.append(run)
        print(f"{run.corpus} {number} {compression} {scenario}: {outcome}, {run.wall:.2f} s", file=sys.stderr)

    def _image(self) -> Image | None:
        try:
            return read_image(self._path("deploy", "image-oci"))
        except (OSError, KeyError, ValueError) as error:
            print(error, file=sys.stderr)
            return None
