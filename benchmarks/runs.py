# SPDX-License-Identifier: MIT
"""Runs of what builds images of one corpus: how each is started, what is taken down of it. Must not know scenarios."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from benchmarks import corpus, peers
from benchmarks.measure import Cost, Image, measure, read_image, read_packed
from benchmarks.table import DONE, EXPIRED, FAILED, WRONG, Run

# oe-oci remembers a file only if its last change was two seconds or more before the build.
SETTLE = 3


class Runs:
    """The runs of one corpus. All they make lies in the folder `place`, but for the corpus itself.

    `facts` are versions of what made the images, for the page.
    """

    def __init__(self, chosen: corpus.Corpus, work: str, timeout: float) -> None:
        self.runs: list[Run] = []
        self.facts: dict[str, str] = {}
        self._entries = 0
        self._corpus, self._timeout = chosen, timeout
        self._place = os.path.join(work, "run")
        corpus.remove(self._place)
        os.mkdir(self._place)
        self._made = chosen.made(os.path.join(work, "corpora"))
        self.size = corpus.describe(self._made)
        print(f"{chosen.name}: {self.size}", file=sys.stderr)
        with open(self._path("image.conf"), "w", encoding="utf-8") as file:
            file.write(peers.configuration(chosen.layers))

    def close(self) -> None:
        corpus.remove(self._place)

    def _path(self, *names: str) -> str:
        return os.path.join(self._place, *names)

    def _report(self) -> Any:
        with open(self._path("deploy", "image-oci.json"), encoding="utf-8") as file:
            return json.load(file)

    def _build(self, source: str, compression: str, cache: str, *options: str, **settings: str) -> Cost:
        """One run of oe-oci, into an empty deploy folder; `cache` names the cache among those of the corpus."""
        corpus.remove(self._path("deploy"))
        settings["OCI_LAYER_COMPRESSION"] = compression
        settings["OCI_LAYER_CACHE_DIR"] = self._path("cache", cache)
        command = [peers.OE_OCI, "build", self._path("image.conf"), self._corpus.option, source]
        command += ["--deploy-dir", self._path("deploy"), *options]
        command += [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        cost = self._measure(command)
        if cost.status == 0:
            self._take_facts(compression)
        return cost

    def _take_facts(self, compression: str) -> None:
        report = self._report()
        self._entries = sum(layer.get("changed", 0) + layer.get("removed", 0) for layer in report["layers"])
        made, tool = report["compressor"], report.get("packageManager", {})
        self.facts[compression] = f"{made['name']} {made['version']}, level {made['level']}"
        if "version" in tool:
            more = [f"{name} {version}" for name, version in tool.items() if name not in ("name", "version")]
            self.facts[tool["name"]] = ", ".join([tool["version"], *more])

    def _script(self, text: str) -> Cost:
        """One run of a script for bash, into an empty deploy folder; of its scratch nothing is left."""
        corpus.remove(self._path("deploy"))
        os.mkdir(self._path("deploy"))
        with open(self._path("script"), "w", encoding="utf-8") as file:
            file.write(text)
        cost = self._measure(["bash", self._path("script")])
        corpus.remove(self._path("scratch"))
        return cost

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

    def _note(
        self,
        number: int,
        compression: str,
        scenario: str,
        cost: Cost,
        wanted: Image | None = None,
        manager: str = "",
    ) -> Image | None:
        """Take down a run, and what became of it; the image that it made."""
        outcome, size, image = DONE, 0, None
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
        run = Run(self._corpus.name, number, compression, scenario, outcome, *cost[1:], size, manager, self._entries)
        self.runs.append(run)
        words = " ".join(filter(None, (run.corpus, str(number), compression, manager, scenario)))
        print(f"{words}: {outcome}, {run.wall:.2f} s", file=sys.stderr)
        return image

    def _image(self) -> Image | None:
        try:
            if os.path.exists(self._path("deploy", peers.PACKED)):
                return read_packed(self._path("deploy"), peers.PACKED)
            return read_image(self._path("deploy", "image-oci"))
        except (OSError, KeyError, ValueError) as error:
            print(error, file=sys.stderr)
            return None
