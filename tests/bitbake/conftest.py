# SPDX-License-Identifier: MIT
"""The builds that the tests look at: each image is made once, unless a test wants it made anew."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import tools
from support.bitbake import EXAMPLES, SAMPLES, Build, Failed, parameters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# What another test prepares, or breaks on purpose.
_NOT_AT_FIRST = ("derived-path", "failing", "plain", "signed")


@pytest.fixture(scope="session")
def builds() -> Iterator[Path]:
    """The folder of the build folders."""
    kept = os.environ.get("OE_OCI_BUILDS")
    if kept:
        yield Path(kept)
        return
    with tools.scratch(mode=0o755) as folder:
        yield folder


@pytest.fixture(scope="session", params=parameters())
def build(request: pytest.FixtureRequest, builds: Path) -> Build:
    pair, kind = request.param
    return Build(builds / f"{pair.series}-{kind}", pair, kind)


class Images:
    """Images of the layer, all of them or those that are wanted, made in one go."""

    def __init__(self, build: Build, wanted: Iterable[str] = ()) -> None:
        recipes = [*(SAMPLES / "recipes").glob("*.bb"), *EXAMPLES.glob("*.bb")]
        names = sorted(path.stem for path in recipes if "_" not in path.stem)
        wanted = wanted or [name for name in names if name not in _NOT_AT_FIRST]
        self._build = build
        self._failed: dict[str, str] = {}
        self._made = set(wanted)
        try:
            build.run("-k", *wanted)
        except Failed:
            self._made.clear()  # of which image each is told when it is asked for

    def __call__(self, name: str) -> Build:
        """The build, where the image was made; fails where it can not be."""
        if name not in self._made and name not in self._failed:
            try:
                self._build.run(name)
                self._made.add(name)
            except Failed as error:
                self._failed[name] = str(error)
        if name in self._failed:
            pytest.fail(self._failed[name], pytrace=False)
        return self._build


@pytest.fixture(scope="session")
def images(build: Build) -> Images:
    return Images(build)


@pytest.fixture(scope="session")
def second_build(build: Build) -> Iterator[Images]:
    """A few images made from nothing in another folder."""
    with tools.scratch(mode=0o755) as folder:
        yield Images(build.elsewhere(folder / "elsewhere"), ("single", "derived", "multi", "installed"))
