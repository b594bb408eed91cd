# SPDX-License-Identifier: MIT
"""The builds of one corpus, each scenario once a round, each image compared with the one it must be."""

from __future__ import annotations

import os
import time

from benchmarks import corpus, peers
from benchmarks.measure import Cost, Image, read_image
from benchmarks.runs import SETTLE, Runs

COMPRESSIONS = ("gzip", "zstd")


class Builds(Runs):
    """The runs of one corpus with the layer cache and without, and of the umoci flow."""

    def __init__(self, chosen: corpus.Corpus, work: str, timeout: float, *, umoci: bool) -> None:
        super().__init__(chosen, work, timeout)
        self._umoci = umoci
        self._paranoid = peers.can_be_paranoid()
        self._copy = corpus.Copy(self._made, self._path("input"))
        self._images = {compression: self._references(compression) for compression in COMPRESSIONS}
        self._layers = self._report()["layers"]

    def _references(self, compression: str) -> tuple[Image, Image]:
        """The image that builds must give, and the one they must give of the changed input: made without a cache."""
        self._copy.change()
        changed = self._image_without_cache(compression)
        self._copy.restore()
        image = self._image_without_cache(compression)
        if len(image.layers) != 4 or len(image.layers.keys() - changed.layers.keys()) != 1:
            raise SystemExit(f"{self._corpus.name}: the change is not one of one in four layers")
        return image, changed

    def _image_without_cache(self, compression: str) -> Image:
        cost = self._run(compression, "0")
        if cost.status != 0:
            raise SystemExit(f"{self._corpus.name}: no image after {cost.wall:.0f} s\n{self._messages()}")
        return read_image(self._path("deploy", "image-oci"))

    def _run(self, compression: str, cache: str = "1", *options: str) -> Cost:
        # The umoci flow runs no scripts either.
        settings = {"OCI_LAYER_CACHE": cache, "OCI_PACKAGE_SCRIPTS": "skip"}
        return self._build(self._copy.place, compression, "layers", *options, **settings)

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
        corpus.read(self._copy.place)
        time.sleep(SETTLE)
        note("cold", self._run(compression))
        note("same", self._run(compression))
        if self._paranoid:
            note("paranoid", self._run(compression, "1", "--paranoid"))
        self._copy.change()
        note("changed", self._run(compression), changed)
        self._copy.renew()
        note("copied", self._run(compression))
        corpus.remove(self._path("cache"))
        note("off", self._run(compression, "0"))

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
