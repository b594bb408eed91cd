# SPDX-License-Identifier: MIT
"""Builds of a Debian system with the scripts of its packages: by the built-in installer, and by mmdebstrap."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import subprocess
import sys
import time

from benchmarks import corpus, peers
from benchmarks.measure import Cost, Image, version_of
from benchmarks.runs import SETTLE, Runs
from benchmarks.table import BUILT_IN

MMDEBSTRAP = "mmdebstrap"

_COMPRESSION = "gzip"
_TOOLS = (MMDEBSTRAP, "bash", "pigz", "unshare")
_TOPS = ("bin", "lib", "lib64", "sbin")
_HOOK = "/usr/share/mmdebstrap/hooks/merged-usr"
_EPOCH = "1700000000"
# What a layer is too: a tar with its digest, compressed, with the digest of that. The level of pigz makes about the
# size that oe-oci's own does, in less time than its default; nothing waits for the disk.
_FLOW = """\
set -e -o pipefail
{mmdebstrap} | tee >(sha256sum >diff-id) | pigz -n -4 | tee rootfs.tar.gz | sha256sum >digest
"""


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
        self._is_compared = peers.can_install(_TOOLS, MMDEBSTRAP)
        if self._is_compared:
            self.facts[MMDEBSTRAP] = version_of(MMDEBSTRAP, "--version")
        time.sleep(SETTLE)

    def round(self, number: int) -> None:
        """Run each build once; mmdebstrap knows no cache."""
        corpus.remove(self._path("cache"))
        corpus.read(self._feed)
        self._built_in(number, "cold")
        if self._is_compared:
            self._note(number, _COMPRESSION, "cold", self._mmdebstrap(), manager=MMDEBSTRAP)
        self._built_in(number, "same")

    def _built_in(self, number: int, scenario: str) -> None:
        options = ("--rootfs", self._path("merged"))
        settings = {"OCI_PACKAGE_SCRIPTS": self._corpus.scripts, "SOURCE_DATE_EPOCH": _EPOCH}
        cost = self._build(self._feed, _COMPRESSION, "layers", *options, **settings)
        image = self._note(number, _COMPRESSION, scenario, cost, self._image_of_all, BUILT_IN)
        self._image_of_all = self._image_of_all or image

    def _mmdebstrap(self) -> Cost:
        corpus.remove(self._path("deploy"))
        os.mkdir(self._path("deploy"))
        names = self._corpus.layers[-1].rpartition(":")[2].strip(",")
        script = self._path("mmdebstrap.sh")
        with open(script, "w", encoding="utf-8") as file:
            file.write(f"cd {shlex.quote(self._path('deploy'))}\n")
            file.write(_FLOW.format(mmdebstrap=shlex.join(_words(self._feed, names))))
        return self._measure(["bash", script])

    def _image(self) -> Image | None:
        made = self._path("deploy", "rootfs.tar.gz")
        if not os.path.exists(made):
            image = super()._image()
            packages = [one for layer in self._report()["layers"] for one in layer.get("packages", ())]
            installed = {one["name"] for one in packages if "scriptsNotRun" not in one}
        else:
            with open(made, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            image = Image("", {digest: os.path.getsize(made)})
            installed = _installed(made)
        if self._packages is None:
            self._packages = installed
        if other := installed ^ self._packages:
            print(f"not the same packages, or not with their scripts: {', '.join(sorted(other))}", file=sys.stderr)
            return None
        return image


def _words(feed: str, names: str) -> list[str]:
    """mmdebstrap's words for a tar of these packages and all they depend on, from a feed alone."""
    options = ["--mode=root", "--variant=custom", f"--include={names}", f"--hook-dir={_HOOK}", "--format=tar"]
    options += ['--aptopt=APT::Install-Recommends "false"', "--dpkgopt=force-unsafe-io"]
    source = f"deb [trusted=yes] copy:{feed} ./"
    # What it mounts is gone with it, should it take too long: all that is left of it is removed then.
    return ["env", f"SOURCE_DATE_EPOCH={_EPOCH}", "unshare", "--mount", MMDEBSTRAP, *options, "", "-", source]


def _installed(made: str) -> set[str]:
    """The packages that a system's tar tells of."""
    command = ["tar", "-xOzf", made, "./var/lib/dpkg/status"]
    status = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = (re.search(r"(?ms)^Package: (\S+)$.*^Status: install ok installed$", part) for part in status.split("\n\n"))
    return {match[1] for match in found if match}
