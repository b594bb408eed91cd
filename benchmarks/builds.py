# SPDX-License-Identifier: MIT
"""The builds of one corpus and those of its peers, each once a round, each image compared with the one it must be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks import corpus, peers
from benchmarks.runs import SETTLE, Runs

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from benchmarks.measure import Cost, Image

COMPRESSIONS = ("gzip", "zstd")


class Builds(Runs):
    """The runs of one corpus with the layer cache and without, and those of its peers that are named."""

    def __init__(self, chosen: corpus.Corpus, work: str, timeout: float, named: Container[str]) -> None:
        super().__init__(chosen, work, timeout)
        self._peers = [name for name in chosen.peers if name in named]
        self._compressors: dict[str, Mapping[str, object]] = {}
        self._paranoid = peers.can_be_paranoid()
        self._copy = corpus.Copy(self._made, self._path("input"))
        self._images = {compression: self._references(compression) for compression in COMPRESSIONS}
        self._packages = {
            layer["name"]: [each["name"] for each in layer.get("packages", ())] for layer in self._report()["layers"]
        }

    def _references(self, compression: str) -> tuple[Image, Image]:
        """The image that builds must give, and the one they must give of the changed input: made without a cache."""
        self._copy.change()
        changed = self._image_without_cache(compression)
        self._copy.restore()
        image = self._image_without_cache(compression)
        if len(image.layers.keys() - changed.layers.keys()) != 1:
            raise SystemExit(f"{self._corpus.name}: the change is not one of one layer")
        self._compressors[compression] = self._report()["compressor"]
        return image, changed

    def _image_without_cache(self, compression: str) -> Image:
        cost = self._run(compression, "0")
        if cost.status != 0:
            raise SystemExit(f"{self._corpus.name}: no image after {cost.wall:.0f} s\n{self._messages()}")
        image = self._image()
        if image is None:
            raise SystemExit(f"{self._corpus.name}: no sound image")
        return image

    def _run(self, compression: str, cache: str = "1", *options: str) -> Cost:
        # The umoci flow runs no scripts either.
        settings = {"OCI_LAYER_CACHE": cache, "OCI_PACKAGE_SCRIPTS": "skip"}
        return self._build(self._copy.place, compression, "layers", *options, **settings)

    def round(self, number: int) -> None:
        """Run each build once."""
        for compression in COMPRESSIONS:
            self._round_of(number, compression)
            for name in [name for name in self._peers if peers.PEERS[name].compression == compression]:
                self._peer(number, name)
            if "limit" in self._corpus.peers:
                self._limits(number, compression)

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

    def _peer(self, number: int, name: str) -> None:
        scenarios = (name, f"{name}-same", f"{name}-changed") if name == "bud" else (name,)
        for scenario in scenarios:
            if scenario == "bud-changed":
                self._copy.change()
            cost = self._script(self._command(name))
            self._note(number, peers.PEERS[name].compression, scenario, cost)
            if cost.status is None:
                self._peers.remove(name)
                break
        if name == "bud":
            self._copy.restore()
        corpus.remove(self._path("store"))

    def _command(self, name: str) -> str:
        """The script of a peer."""
        rootfs, folders, out = self._copy.place, self._corpus.folders, self._path("deploy", "image-oci")
        store = self._path("store")
        if name == "umoci":
            return peers.umoci_flow(self._fills(self._path("scratch", "bundle")), out, self._path("scratch", "bundle"))
        if name == "insert":
            return peers.umoci_insert(rootfs, folders, out)
        if name == "buildah":
            return peers.buildah(rootfs, folders, out, store)
        if name == "bud":
            return peers.buildah_bud(rootfs, folders, out, store)
        compressor = {"pigz": ("pigz", "-n"), "zstd": ("zstd", "-q", "-T0")}[name]
        return peers.packed(peers.tar_of(rootfs), compressor, self._path("deploy"))

    def _fills(self, bundle: str) -> Mapping[str, Sequence[str]]:
        if self._corpus.option == "--rootfs":
            return peers.fills_of_files(self._copy.place, self._corpus.folders, bundle)
        return peers.fills_of_packages(self._copy.place, self._packages, bundle)

    def _limits(self, number: int, compression: str) -> None:
        """What one core takes for the same bytes with each compressor, as if all cores shared it evenly."""
        tar, compressors = self._path("limit.tar"), {"limit": self._compressors[compression]}
        if compression == "zstd":
            compressors["limit-3"] = {"name": "pyzstd", "level": 3}
        subprocess.run([*peers.tar_of(self._copy.place), "-f", tar], check=True)
        for scenario, compressor in compressors.items():
            cost = self._script(peers.limit([json.dumps(compressor), tar, self._path("deploy")]))
            if cost.status == 0:
                spent = float(self._messages())
                cost = cost._replace(wall=spent / len(os.sched_getaffinity(0)), cpu=spent)
            self._note(number, compression, scenario, cost)
        os.unlink(tar)

    def _image(self) -> Image | None:
        image = super()._image()
        packed = os.path.exists(self._path("deploy", peers.PACKED))
        if image and not packed and len(image.layers) != len(self._corpus.layers):
            print(f"{len(image.layers)} layers in place of {len(self._corpus.layers)}", file=sys.stderr)
            return None
        return image
