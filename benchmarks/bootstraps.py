# SPDX-License-Identifier: MIT
"""Builds of a Debian system with the scripts of its packages: by the built-in installer, and by mmdebstrap."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

from benchmarks import corpus, peers
from benchmarks.measure import Cost, Image, version_of
from benchmarks.runs import SETTLE, Runs
from benchmarks.table import BUILT_IN

_COMPRESSION = "gzip"
_TOPS = ("bin", "lib", "lib64", "sbin")
_HOOK = "/usr/share/mmdebstrap/hooks/merged-usr"


class Bootstraps(Runs):
    """The runs of one corpus. Both must install the same packages; only the built-in installer makes one image."""

    def __init__(self, chosen: corpus.Corpus, work: str, timeout: float) -> None:
        super().__init__(chosen, work, timeout)
        self._feed = os.path.join(self._made, "input")
        self._image_of_all: Image | None = None
        self._packages: set[str] | None = None
        for top in _TOPS:
            os.makedirs(self._path("merged", "usr", top))
            os.symlink(f"usr/{top}", self._path("merged", top))
        self._is_compared = peers.can_run("mmdebstrap")
        if self._is_compared:
            self.facts["mmdebstrap"] = version_of("mmdebstrap", "--version")
        time.sleep(SETTLE)

    def round(self, number: int) -> None:
        """Run each build once; mmdebstrap knows no cache."""
        corpus.remove(self._path("cache"))
        corpus.read(self._feed)
        self._built_in(number, "cold")
        if self._is_compared:
            self._note(number, _COMPRESSION, "cold", self._mmdebstrap(), manager="mmdebstrap")
        self._built_in(number, "same")

    def _built_in(self, number: int, scenario: str) -> None:
        options = ("--rootfs", self._path("merged"))
        settings = {"OCI_PACKAGE_SCRIPTS": self._corpus.scripts, "SOURCE_DATE_EPOCH": peers.EPOCH}
        cost = self._build(self._feed, _COMPRESSION, "layers", *options, **settings)
        image = self._note(number, _COMPRESSION, scenario, cost, self._image_of_all, BUILT_IN)
        self._image_of_all = self._image_of_all or image

    def _mmdebstrap(self) -> Cost:
        names = self._corpus.layers[-1].rpartition(":")[2].strip(",")
        words = peers.mmdebstrap("custom", names, self._feed, f"--hook-dir={_HOOK}")
        return self._script(peers.packed(words, peers.PIGZ, self._path("deploy")))

    def _image(self) -> Image | None:
        image, made = super()._image(), self._path("deploy", peers.PACKED)
        if os.path.exists(made):
            installed = _installed(made)
        else:
            packages = [one for layer in self._report()["layers"] for one in layer.get("packages", ())]
            installed = {one["name"] for one in packages if "scriptsNotRun" not in one}
        if self._packages is None:
            self._packages = installed
        if other := installed ^ self._packages:
            print(f"not the same packages, or not with their scripts: {', '.join(sorted(other))}", file=sys.stderr)
            return None
        return image


def _installed(made: str) -> set[str]:
    """The packages that a system's tar tells of."""
    command = ["tar", "-xOzf", made, "./var/lib/dpkg/status"]
    status = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = (re.search(r"(?ms)^Package: (\S+)$.*^Status: install ok installed$", part) for part in status.split("\n\n"))
    return {match[1] for match in found if match}
