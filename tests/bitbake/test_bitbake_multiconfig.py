# SPDX-License-Identifier: MIT
"""The class oci-multiarch in a real BitBake with three multiconfigs, whose images the class image-oci makes."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from support import tools
from support.bitbake import Build, parameters
from support.layouts import FULL_NAME, REF_NAME, blob_name

from oe_oci.merge import find_platforms

if TYPE_CHECKING:
    from pathlib import Path

TASK = "shop-multiarch.bb:do_create_multiarch_index"
ALL = "container-aarch64 container-x86-64 arm7"
# Each is read for each configuration, and again after each change.
RECIPES = """\
${SAMPLES}/recipes-multiarch/*.bb ${SAMPLES}/recipes/settings_*.bb ${SAMPLES}/recipes/*-native_*.bb \
${COREBASE}/meta/recipes-core/base-files/base-files_*.bb\
"""
# Older series put the C library's name behind the TMPDIR of each configuration.
ENDINGS = ("-glibc", "")


class Shop:
    """A build folder. A call builds, with more lines of configuration; it returns what BitBake said."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self.folder = build.folder

    def __call__(self, *words: str, conf: tuple[str, ...] = (), enabled: str = ALL, status: int | None = 0) -> str:
        lines = [f'BBFILES:forcevariable = "{RECIPES}"', f'BBMULTICONFIG = "{enabled}"', *conf]
        return self._build.run(*words, conf="".join(f"{line}\n" for line in lines), status=status)

    def deployed(self, tmpdir: str, machine: str) -> Path:
        """The folder of images."""
        places = [self.folder / f"{tmpdir}{ending}" / "deploy/images" / machine for ending in ENDINGS]
        return next(place for place in places if place.is_dir())

    @property
    def layout(self) -> Path:
        return self.deployed("tmp", "samples") / "shop-multiarch-multiarch-oci"

    def entries(self) -> dict[str, str]:
        """The digests of the images in the layout by their platforms."""
        (entry,) = json.loads((self.layout / "index.json").read_bytes())["manifests"]
        index: dict[str, Any] = json.loads((self.layout / blob_name(entry["digest"])).read_bytes())
        return {"/".join(each["platform"].values()): each["digest"] for each in index["manifests"]}


@pytest.fixture(scope="module", params=parameters(("ipk",)))
def shop(request: pytest.FixtureRequest, builds: Path) -> Shop:
    pair, kind = request.param
    shop = Shop(Build(builds / f"{pair.series}-multiarch", pair, kind))
    shop("shop-multiarch")
    return shop


def test_the_images_of_all_multiconfigs_are_there(shop: Shop) -> None:
    assert list(shop.entries()) == ["amd64/linux", "arm/linux/v7", "arm64/linux"]
    tools.oe_oci("verify", shop.layout)
    (entry,) = json.loads((shop.layout / "index.json").read_bytes())["manifests"]
    assert entry["annotations"] == {REF_NAME: "latest", FULL_NAME: "localhost/shop:latest"}


def test_the_images_are_those_that_were_deployed(shop: Shop) -> None:
    places = {
        "amd64/linux": shop.deployed("tmp-container-x86-64", "samples"),
        "arm/linux/v7": shop.deployed("elsewhere", "samples-arm7"),
        "arm64/linux": shop.deployed("tmp-container-aarch64", "samples-arm64"),
    }
    for platform, place in places.items():
        (entry,) = json.loads((place / "shop-latest-oci/index.json").read_bytes())["manifests"]
        assert shop.entries()[platform] == entry["digest"]


def test_a_postfunc_of_the_recipe_finds_the_layout(shop: Shop) -> None:
    noted = shop.layout.parent / "shop-multiarch.noted"
    assert noted.read_bytes() == (shop.layout / "index.json").read_bytes()


def test_nothing_is_done_again_without_need(shop: Shop) -> None:
    assert TASK not in shop("shop-multiarch", conf=('UNRELATED = "1"', 'OCI_MULTIARCH_MC[riscv64] = "other"'))


def test_what_decides_the_layout_makes_it_again(shop: Shop) -> None:
    for line in (
        'OCI_MULTIARCH_PLATFORMS:pn-shop-multiarch = "x86_64 aarch64"',
        'OCI_IMAGE_NAME:pn-shop-multiarch = "example.com/shop"',
        'OCI_ARCH_TO_PLATFORM[aarch64] = "linux/arm64"',
    ):
        assert TASK in shop("shop-multiarch", conf=(line,))


def test_the_image_of_one_multiconfig_changes(shop: Shop) -> None:
    shop("shop-multiarch")
    before = shop.entries()
    assert TASK in shop("shop-multiarch", conf=('SAMPLES_SETTING:samples-arm64 = "2"',))
    assert {name for name, digest in shop.entries().items() if digest != before[name]} == {"arm64/linux"}
    tools.oe_oci("verify", shop.layout)


def test_a_build_without_the_earlier_one_makes_the_same(shop: Shop) -> None:
    shop("shop-multiarch")
    before = shop.entries()
    for tmpdir in ("tmp", "elsewhere", "tmp-container-aarch64", "tmp-container-x86-64"):
        for ending in ENDINGS:
            shutil.rmtree(shop.folder / f"{tmpdir}{ending}", ignore_errors=True)
    assert TASK in shop("shop-multiarch")
    assert shop.entries() == before


def test_a_damaged_image_is_told_and_the_layout_stays(shop: Shop) -> None:
    shop("shop-multiarch")
    before = shop.entries()
    blob = blob_name(before["arm64/linux"])
    place = shop.deployed("tmp-container-aarch64", "samples-arm64") / "shop-latest-oci"
    kept = (place / blob).rename(place / "kept")
    try:
        said = shop("shop-multiarch", "-f", "-c", "create_multiarch_index", status=1)
    finally:
        kept.rename(place / blob)
    assert "OCI_MULTIARCH_RECIPE 'shop' for aarch64 (multiconfig container-aarch64): " in said
    assert f"{blob} is missing" in said
    assert "Traceback" not in said
    assert shop.entries() == before


def test_a_multiconfig_for_another_machine(shop: Shop) -> None:
    said = shop("shop-multiarch", conf=('OCI_MULTIARCH_MC[aarch64] = "arm7"',), status=1)
    assert "shop-latest-oci is for linux/arm/v7, not for arm64" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("target", "enabled", "reason"),
    [
        ("any-multiarch", ALL, "OCI_MULTIARCH_RECIPE is ${MCNAME}"),
        ("shop-multiarch", "container-x86-64", "OCI_MULTIARCH_MC[aarch64]: the multiconfig 'container-aarch64' is not"),
    ],
    ids=["for variants alone", "not enabled"],
)
def test_why_a_recipe_is_skipped(shop: Shop, target: str, enabled: str, reason: str) -> None:
    assert f"{target} was skipped: {reason}" in shop(target, enabled=enabled, status=1)


def test_a_variant_of_a_recipe(shop: Shop) -> None:
    shop("any-multiarch-shop")
    found = find_platforms(str(shop.layout.parent / "any-multiarch-shop-multiarch-oci"), "latest")
    assert sorted(image.platform.architecture for image in found) == ["amd64", "arm64"]


def test_a_recipe_that_says_nothing(shop: Shop) -> None:
    said = shop("shop-multiarch", conf=('OCI_MULTIARCH_RECIPE:pn-shop-multiarch = ""',), status=1)
    assert "shop-multiarch: OCI_MULTIARCH_RECIPE: is not set" in said
    assert "Traceback" not in said
