# SPDX-License-Identifier: MIT
"""The layer among others, and recipes that were written for the class which this one replaces."""

from __future__ import annotations

import pytest
from support.merge import read_image

from oe_oci.oci.verify import verify

ORDERS = {
    "first": "{own} {core} {samples} {layers}/rival",
    "last": "{core} {samples} {layers}/rival {own}",
    "around": "{layers}/rival {own} {core} {samples}",
}


@pytest.fixture
def rival(build):
    """A layer with a class of the same name, that comes after what is there, as such layers do."""
    layer = build.layers / "rival"
    (layer / "conf").mkdir(parents=True, exist_ok=True)
    (layer / "classes").mkdir(exist_ok=True)
    (layer / "conf" / "layer.conf").write_text(
        'BBPATH .= ":${LAYERDIR}"\n'
        'BBFILE_COLLECTIONS += "rival"\n'
        'BBFILE_PATTERN_rival = "^${LAYERDIR}/"\n'
        'BBFILE_PATTERN_IGNORE_EMPTY_rival = "1"\n'
        'BBFILE_PRIORITY_rival = "99"\n'
        f'LAYERSERIES_COMPAT_rival = "{build.series}"\n'
    )
    (layer / "classes" / "image-oci.bbclass").write_text('RIVAL = "1"\n')
    return layer


@pytest.mark.parametrize("order", ORDERS)
def test_the_class_is_found_before_others_of_its_name(images, rival, order):
    build = images("single")
    said = build.run("-e", "single", layers=ORDERS[order])
    assert '\nRIVAL="' not in said
    assert f"{build.layers}/oe-oci/classes/image-oci.bbclass" in said


def test_a_class_for_all_images(images):
    build = images("single")
    said = build.run("plain", conf='IMAGE_CLASSES += "image-oci"\nIMAGE_FSTYPES = "oci"\n')
    assert not [line for line in said.splitlines() if "plain" in line and "WARNING" in line]
    assert list(verify(str(build.layout("plain")), "latest")) == []
    assert b"etc/passwd" in read_image(build.layout("plain")).merged


def test_recipe_app_container_multilayer(images):
    build = images("app-container-multilayer")
    layers = read_image(build.layout("app-container-multilayer")).layers
    assert len(layers) == 3
    paths = (b"etc/services", b"bin/busybox", b"etc/curlrc")
    assert [[path in layer for path in paths] for layer in layers] == [
        [True, False, False],
        [False, True, False],
        [False, False, True],
    ]


def test_recipe_app_container_layered(images):
    build = images("app-container-layered")
    base, app = (read_image(build.layout(name)).layers for name in ("container-base", "app-container-layered"))
    assert len(app) == len(base) + 1
    assert b"etc/curlrc" in app[-1]
    assert b"etc/services" not in app[-1]
