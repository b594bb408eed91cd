# SPDX-License-Identifier: MIT
"""The builds that the tests look at: each image is made once, unless a test wants it made anew."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import tools
from support.bitbake import EXAMPLES, SAMPLES, Build, Failed, parameters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# What another test prepares, or breaks on purpose.
_NOT_AT_FIRST = ("derived-path", "failing", "plain")


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


def _failure(said: str, name: str) -> str:
    """What bitbake says of a recipe that failed, or was never begun."""
    told = re.findall(rf"^ERROR: {name}-1\.0-\S+ do_.*(?:\n(?!ERROR|NOTE|WARNING).+)*", said, re.MULTILINE)
    if told or "NOTE: Tasks Summary: " not in said or f"/{name}.bb:do_" in said.partition("\nSummary: ")[2]:
        return "\n".join(told) or said
    return ""


class Images:
    """Images of the layer, all of them or those that are wanted, made in one go."""

    def __init__(self, build: Build, wanted: Iterable[str] = ()) -> None:
        recipes = [*(SAMPLES / "recipes").glob("*.bb"), *EXAMPLES.glob("*.bb")]
        names = sorted(path.stem for path in recipes if "_" not in path.stem)
        wanted = wanted or [name for name in names if name not in _NOT_AT_FIRST]
        self._build = build
        self._failed: dict[str, str] = {}
        try:
            self.said = build.run("-k", *wanted)
        except Failed as error:
            self.said = str(error)
            self._failed = {name: told for name in wanted if (told := _failure(self.said, name))}

    def __call__(self, name: str) -> Build:
        """The build, where the image was made; fails where it was not."""
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
        yield Images(build.elsewhere(folder / "elsewhere"), ("single", "derived", "multi"))
