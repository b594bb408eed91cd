# SPDX-License-Identifier: MIT
"""The class oci-multiarch in a real BitBake with three multiconfigs.

OE_OCI_BITBAKE and OE_OCI_OECORE are checkouts, OE_OCI_HARNESS the folder of the harness that runs them without a
compiler, OE_OCI_BUILD a build folder outside root's own, which is kept for the next run.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from support import tools
from support.layouts import FULL_NAME, REF_NAME, blob_name

from oe_oci.merge import find_platforms

LAYER = Path(__file__).parent / "meta-multiarch"
TASK = "app-multiarch.bb:do_create_multiarch_index"
ALL = "container-aarch64 container-x86-64 arm7"


class Build:
    """A build folder. A call builds, with more lines of configuration; it returns what BitBake said."""

    def __init__(self) -> None:
        tools.need_root()
        names = ("OE_OCI_BITBAKE", "OE_OCI_OECORE", "OE_OCI_HARNESS", "OE_OCI_BUILD")
        unset = [name for name in names if not os.environ.get(name)]
        if unset:
            pytest.skip(f"no BitBake: {', '.join(unset)} not set")
        self._bitbake, self._oe_core, self._harness, self.folder = (Path(os.environ[name]) for name in names)

    def __call__(self, *words: str, conf: tuple[str, ...] = (), enabled: str = ALL, status: int | None = 0) -> str:
        lines = [f'BBPATH .= ":{LAYER}"', f'BBFILES += "{LAYER}/recipes/*.bb"', f'OE_OCI_TESTED = "{tools.ROOT}"']
        lines += [f'BBMULTICONFIG = "{enabled}"', *conf]
        options: list[object] = ["--bitbake", self._bitbake, "--oe-core", self._oe_core, "--build", self.folder]
        options += ["--class-layer", tools.ROOT, "--as-layer", "--class", "oci-by-command", "--pkg", "ipk"]
        options += [word for line in lines for word in ("--conf", line)]
        self._wait_for_server()
        done = tools.run(self._harness / "run.sh", *options, *words, status=status, timeout=600)
        return done.stdout + done.stderr

    def _wait_for_server(self) -> None:
        """BitBake's server outlives the command, and removes its sockets while the harness goes through the folder."""
        end = time.monotonic() + 60
        while any(self.folder.glob("*.sock")) and time.monotonic() < end:
            time.sleep(0.2)

    def deployed(self, tmpdir: str, machine: str) -> Path:
        """The folder of images; before wrynose the name of the C library is behind TMPDIR."""
        places = [self.folder / f"{tmpdir}{ending}" / "deploy/images" / machine for ending in ("-glibc", "")]
        return next(place for place in places if place.is_dir())

    @property
    def layout(self) -> Path:
        return self.deployed("tmp", "harness") / "app-multiarch-multiarch-oci"

    def entries(self) -> dict[str, str]:
        """The digests of the images in the layout by their platforms."""
        (entry,) = json.loads((self.layout / "index.json").read_bytes())["manifests"]
        index: dict[str, Any] = json.loads((self.layout / blob_name(entry["digest"])).read_bytes())
        return {"/".join(each["platform"].values()): each["digest"] for each in index["manifests"]}


@pytest.fixture(scope="module")
def bitbake() -> Build:
    build = Build()
    build("app-multiarch")
    return build


def test_the_images_of_all_multiconfigs_are_there(bitbake: Build) -> None:
    assert list(bitbake.entries()) == ["amd64/linux", "arm/linux/v7", "arm64/linux"]
    tools.oe_oci("verify", bitbake.layout)
    (entry,) = json.loads((bitbake.layout / "index.json").read_bytes())["manifests"]
    assert entry["annotations"] == {REF_NAME: "latest", FULL_NAME: "localhost/app:latest"}


def test_the_images_are_those_that_were_deployed(bitbake: Build) -> None:
    places = {
        "amd64/linux": bitbake.deployed("tmp-container-x86-64", "harness"),
        "arm/linux/v7": bitbake.deployed("elsewhere", "harness-arm7"),
        "arm64/linux": bitbake.deployed("tmp-container-aarch64", "harness-arm64"),
    }
    for platform, place in places.items():
        (entry,) = json.loads((place / "app-latest-oci/index.json").read_bytes())["manifests"]
        assert bitbake.entries()[platform] == entry["digest"]


def test_a_postfunc_of_the_recipe_finds_the_layout(bitbake: Build) -> None:
    noted = bitbake.layout.parent / "app-multiarch.noted"
    assert noted.read_bytes() == (bitbake.layout / "index.json").read_bytes()


def test_nothing_is_done_again_without_need(bitbake: Build) -> None:
    assert TASK not in bitbake("app-multiarch", conf=('UNRELATED = "1"', 'OCI_MULTIARCH_MC[riscv64] = "other"'))


def test_what_decides_the_layout_makes_it_again(bitbake: Build) -> None:
    for line in (
        'OCI_MULTIARCH_PLATFORMS:pn-app-multiarch = "x86_64 aarch64"',
        'OCI_IMAGE_NAME:pn-app-multiarch = "example.com/app"',
        'OCI_ARCH_TO_PLATFORM[aarch64] = "linux/arm64"',
    ):
        assert TASK in bitbake("app-multiarch", conf=(line,))


def test_the_image_of_one_multiconfig_changes(bitbake: Build) -> None:
    bitbake("app-multiarch")
    before = bitbake.entries()
    assert TASK in bitbake("app-multiarch", conf=('HP_SETTING:harness-arm64 = "2"',))
    assert {name for name, digest in bitbake.entries().items() if digest != before[name]} == {"arm64/linux"}
    tools.oe_oci("verify", bitbake.layout)


def test_a_build_without_the_earlier_one_makes_the_same(bitbake: Build) -> None:
    bitbake("app-multiarch")
    before = bitbake.entries()
    for tmpdir in ("tmp", "elsewhere", "tmp-container-aarch64", "tmp-container-x86-64"):
        for ending in ("", "-glibc"):
            shutil.rmtree(bitbake.folder / f"{tmpdir}{ending}", ignore_errors=True)
    assert TASK in bitbake("app-multiarch")
    assert bitbake.entries() == before


def test_a_damaged_image_is_told_and_the_layout_stays(bitbake: Build) -> None:
    bitbake("app-multiarch")
    before = bitbake.entries()
    blob = blob_name(before["arm64/linux"])
    place = bitbake.deployed("tmp-container-aarch64", "harness-arm64") / "app-latest-oci"
    kept = (place / blob).rename(place / "kept")
    try:
        said = bitbake("app-multiarch", "-f", "-c", "create_multiarch_index", status=1)
    finally:
        kept.rename(place / blob)
    assert "OCI_MULTIARCH_RECIPE 'app' for aarch64 (multiconfig container-aarch64): " in said
    assert f"{blob} is missing" in said
    assert "Traceback" not in said
    assert bitbake.entries() == before


def test_a_multiconfig_for_another_machine(bitbake: Build) -> None:
    said = bitbake("app-multiarch", conf=('OCI_MULTIARCH_MC[aarch64] = "arm7"',), status=1)
    assert "app-latest-oci is for linux/arm/v7, not for arm64" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("target", "enabled", "reason"),
    [
        ("any-multiarch", ALL, "OCI_MULTIARCH_RECIPE is ${MCNAME}"),
        ("app-multiarch", "container-x86-64", "OCI_MULTIARCH_MC[aarch64]: the multiconfig 'container-aarch64' is not"),
    ],
)
def test_why_a_recipe_is_skipped(bitbake: Build, target: str, enabled: str, reason: str) -> None:
    assert f"{target} was skipped: {reason}" in bitbake(target, enabled=enabled, status=1)


def test_a_variant_of_a_recipe(bitbake: Build) -> None:
    bitbake("any-multiarch-app")
    found = find_platforms(str(bitbake.layout.parent / "any-multiarch-app-multiarch-oci"), "latest")
    assert sorted(image.platform.architecture for image in found) == ["amd64", "arm64"]


def test_a_recipe_that_says_nothing(bitbake: Build) -> None:
    said = bitbake("app-multiarch", conf=('OCI_MULTIARCH_RECIPE:pn-app-multiarch = ""',), status=1)
    assert "app-multiarch: OCI_MULTIARCH_RECIPE: is not set" in said
    assert "Traceback" not in said
