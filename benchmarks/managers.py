# SPDX-License-Identifier: MIT
"""Builds of the same packages by the built-in installer, the format's package manager and mmdebstrap, in turn."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from benchmarks import corpus, formats, peers
from benchmarks.measure import version_of
from benchmarks.runs import SETTLE, Runs
from benchmarks.table import BUILT_IN

if TYPE_CHECKING:
    from benchmarks.measure import Cost, Image

_COMPRESSION = "gzip"


class Managers(Runs):
    """The runs of one corpus. A manager must make one image every time, and all must install the same packages."""

    def __init__(self, chosen: corpus.Corpus, work: str, timeout: float) -> None:
        super().__init__(chosen, work, timeout)
        self._feed = os.path.join(self._made, "input")
        self._managers = {BUILT_IN: "builtin"}
        if name := native(chosen.format):
            self._managers[name] = "native"
        self._extracts = chosen.format == "deb" and chosen.scripts == "skip" and peers.can_run("mmdebstrap")
        if self._extracts:
            self.facts["mmdebstrap"] = version_of("mmdebstrap", "--version")
        self._images: dict[str, Image] = {}
        self._packages: set[tuple[str, str]] = set()
        time.sleep(SETTLE)

    def round(self, number: int) -> None:
        """Run each build once."""
        corpus.remove(self._path("cache"))
        corpus.read(self._feed)
        for scenario in ("cold", "same"):
            for manager, value in self._managers.items():
                settings = {"OCI_PACKAGE_MANAGER": value}
                if manager == BUILT_IN:  # the others run scripts anyway
                    settings["OCI_PACKAGE_SCRIPTS"] = self._corpus.scripts
                cost = self._build(self._feed, _COMPRESSION, value, **settings)
                image = self._note(number, _COMPRESSION, scenario, cost, self._images.get(manager), manager)
                if image:
                    self._images.setdefault(manager, image)
            if scenario == "cold" and self._extracts:
                self._note(number, _COMPRESSION, scenario, self._mmdebstrap(), manager="mmdebstrap")

    def _mmdebstrap(self) -> Cost:
        """It unpacks the packages that are in the image, and makes what a layer is."""
        names = ",".join(sorted({name for _, name in self._packages}))
        words = peers.mmdebstrap("extract", names, self._feed)
        return self._script(peers.packed(words, peers.PIGZ, self._path("deploy")))

    def _image(self) -> Image | None:
        if os.path.exists(self._path("deploy", peers.PACKED)):
            return super()._image()
        runs = self._corpus.scripts != "skip"
        found = {
            (layer["name"], package["name"])
            for layer in self._report()["layers"]
            for package in layer["packages"]
            if not (runs and "scriptsNotRun" in package)
        }
        self._packages = self._packages or found
        if other := found ^ self._packages:
            what = ", ".join(map(" ".join, sorted(other)))
            print(f"not the same packages{', or not with their scripts' * runs}: {what}", file=sys.stderr)
            return None
        return super()._image()


def native(kind: str) -> str | None:
    """The package manager of a format, if it can be measured here; if not, why is said."""
    name, programs = formats.MANAGERS[kind]
    return name if peers.can_install(programs, name) else None
