# SPDX-License-Identifier: MIT
"""A base image that is not what it must be ends in one message that names it."""

from __future__ import annotations

import pytest
from support.configs import config
from support.layouts import layout

from oe_oci.base import open_base
from oe_oci.config import BaseRef
from oe_oci.errors import InputError
from oe_oci.labels import Automatic
from oe_oci.oci.image import make_image
from oe_oci.oci.spec import Platform

AMD = Platform("linux", "amd64")


def ref(path) -> BaseRef:
    return BaseRef(str(path), "1.0", "./base")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("Env", "PATH=/bin", "config.Env: expected a JSON array"),
        ("Env", [1], "config.Env: expected text"),
        ("Entrypoint", {}, "config.Entrypoint: expected a JSON array"),
        ("Cmd", [["sh"]], "config.Cmd: expected text"),
        ("Labels", ["a"], "config.Labels: expected a JSON object"),
        ("Labels", {"a": 1}, "config.Labels.a: expected text"),
        ("ExposedPorts", ["80/tcp"], "config.ExposedPorts: expected a JSON object"),
        ("Volumes", "/v", "config.Volumes: expected a JSON object"),
        ("User", 0, "config.User: expected text"),
    ],
)
def test_what_is_inherited_must_be_of_its_type(tmp_path, key, value, message):
    path = layout(config=lambda document: document.update(config={key: value})).write(tmp_path)
    with pytest.raises(InputError) as caught, open_base(ref(path), AMD):
        pass
    assert str(caught.value).startswith("OCI_BASE_IMAGE './base': ")
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [["x"], "x", 5])
def test_a_config_that_is_none(tmp_path, value):
    path = layout(config=lambda document: document.update(config=value)).write(tmp_path)
    with pytest.raises(InputError, match="config: expected a JSON object"), open_base(ref(path), AMD):
        pass


@pytest.mark.parametrize("value", ["\ud800", float("nan")])
def test_what_can_not_be_written_again_is_no_json(tmp_path, value):
    path = layout(config=lambda document: document.update(author=value)).write(tmp_path)
    with pytest.raises(InputError, match="not JSON"), open_base(ref(path), AMD):
        pass


def test_null_is_nothing(tmp_path):
    empty = dict.fromkeys(("Env", "Entrypoint", "Cmd", "Labels", "ExposedPorts", "Volumes"))
    path = layout(config=lambda document: document.update(config=empty, history=None)).write(tmp_path)
    with open_base(ref(path), AMD) as base:
        assert make_image(base.image, [], config(), Automatic("2026-01-01T00:00:00Z", {}, {})).layers


def test_a_base_for_another_platform(tmp_path):
    path = layout().write(tmp_path)
    with pytest.raises(InputError, match="has no image for linux/arm64; it has: linux/amd64"):  # noqa: SIM117
        with open_base(ref(path), Platform("linux", "arm64")):
            pass


def test_a_recipe_that_was_not_built(tmp_path):
    missing = BaseRef(str(tmp_path / "core-latest-oci"), "latest", "core")
    with pytest.raises(InputError) as caught, open_base(missing, AMD):
        pass
    assert str(caught.value) == (
        f"OCI_BASE_IMAGE 'core': {tmp_path}/core-latest-oci: there is no such layout or archive\n"
        "  build the recipe core first; a path begins with '/', './' or '../'"
    )
