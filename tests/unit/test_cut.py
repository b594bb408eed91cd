# SPDX-License-Identifier: MIT
"""Layers of packages cut from a rootfs in which they are installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.configs import PACKAGES
from support.configs import config as made

from oe_oci.config import PackagesLayer
from oe_oci.content import Literal
from oe_oci.errors import ConfigError
from oe_oci.owned import Owned
from oe_oci.packages.cut import CutInstaller
from oe_oci.tree import DIRECTORY, FILE, SYMLINK, Entry, Tree

if TYPE_CHECKING:
    from oe_oci.config import Config

OWNED = Owned(
    {
        "base": ("etc/hostname", "lib/libc.so"),
        "app": ("usr/bin/app", "usr/share/doc/app"),
        "liba": ("lib/liba.so",),
        "group": (),
        "outside": ("usr/bin/outside",),
    },
    {"app": ("liba", "base"), "liba": ("base",), "group": ("app",)},
    {"app": ("1.0-r0", "core2-64")},
)
STATUS = "var/lib/opkg/status"


def file(text: str = "") -> Entry:
    return Entry(FILE, 0o644, size=len(text), content=Literal(text.encode()))


def tree(*files: str, **more: Entry) -> Tree:
    entries = {"": Entry(DIRECTORY, 0o755)}
    for path, entry in {**{path: file(path) for path in files}, **more}.items():
        parts = path.split("/")
        entries.update({"/".join(parts[:at]): Entry(DIRECTORY, 0o750) for at in range(1, len(parts))})
        entries[path] = entry
    return Tree(entries)


def with_database(*installed: str) -> dict[str, Entry]:
    text = "".join(
        f"Package: {name}\nVersion: 1\nArchitecture: all\nStatus: install ok installed\n\n" for name in installed
    )
    return {STATUS: file(text)} if installed else {}


def rootfs(*installed: str) -> Tree:
    """The packages with /lib behind a link, without documentation, with a link that is nobody's."""
    files = ("etc/hostname", "usr/lib/libc.so", "usr/bin/app", "usr/lib/liba.so", "usr/bin/outside", "etc/added")
    links = {"lib": Entry(SYMLINK, 0o777, target="usr/lib"), "usr/bin/sh": Entry(SYMLINK, 0o777, target="app")}
    return tree(*files, **links, **with_database(*installed))


def config(database: str = "remove", **layers: str) -> Config:
    specs = tuple(PackagesLayer(name, tuple(text.split())) for name, text in layers.items())
    return made(layers=specs, packages=PACKAGES._replace(database=database, manager="rootfs"))


def cut(root: Tree, base: Tree | None = None, database: str = "remove", **layers: str) -> dict[str, set[str]]:
    """The files of each layer."""
    asked = config(database, **layers)
    installer = CutInstaller(asked, root, OWNED, base or tree())
    found = {}
    for layer in asked.package_layers:
        wanted = installer.install(layer, tree()).wanted
        assert not wanted.removed
        found[layer.name] = {path for path, entry in wanted.entries.items() if entry.kind != DIRECTORY}
    return found


def test_a_layer_holds_what_its_packages_and_those_they_need_have_in_the_rootfs() -> None:
    assert cut(rootfs(), low="base", high="app") == {
        "low": {"etc/hostname", "usr/lib/libc.so"},
        "high": {"usr/bin/app", "usr/lib/liba.so"},
    }
    assert cut(rootfs(), all="group")["all"] == {"etc/hostname", "usr/lib/libc.so", "usr/bin/app", "usr/lib/liba.so"}


def test_directories_have_the_facts_of_the_rootfs() -> None:
    asked = config(low="base")
    wanted = CutInstaller(asked, rootfs(), OWNED, tree()).install(asked.package_layers[0], tree()).wanted
    assert {path: entry.mode for path, entry in wanted.entries.items() if entry.kind == DIRECTORY} == {
        "": 0o755,
        "etc": 0o750,
        "usr": 0o750,
        "usr/lib": 0o750,
    }


def test_what_is_told_of_packages() -> None:
    asked = config(low="base", high="app base:all")
    installer = CutInstaller(asked, rootfs(), OWNED, tree())
    low, high = (installer.install(layer, tree()).packages for layer in asked.package_layers)
    assert [one.name for one in low.new] == ["base"]
    assert [(one.name, one.version, one.arch, one.asked_by) for one in high.new] == [
        ("app", "1.0-r0", "core2-64", ""),
        ("liba", "", "", "app"),
    ]
    assert high.below == ("base:all",)
    assert high.new[0].to_json() == {
        "name": "app",
        "version": "1.0-r0",
        "architecture": "core2-64",
        "unpackedSize": len("usr/bin/app"),
    }
    assert installer.names() == {"base", "app", "liba"}


def test_packages_of_the_base_are_below() -> None:
    assert cut(rootfs(), tree(**with_database("base")), high="app") == {"high": {"usr/bin/app", "usr/lib/liba.so"}}


def test_a_name_that_the_rootfs_lacks_is_a_fault() -> None:
    asked = config(low="bse app")
    (fault,) = CutInstaller(asked, rootfs(), OWNED, tree()).missing(asked.package_layers[0])
    assert str(fault).startswith("OCI_LAYERS: layer 'low': 'bse' is no package of the rootfs")
    assert "base" in fault.hint


@pytest.mark.parametrize("database", ["keep", "top"])
def test_a_database_that_tells_of_other_packages_is_refused(database: str) -> None:
    with pytest.raises(ConfigError, match="tells of packages that are in no layer: outside") as caught:
        cut(rootfs("base", "app", "liba", "outside"), database=database, all="app")
    assert 'write "remove"' in caught.value.faults[0].hint
    assert cut(rootfs("base", "app", "liba"), database=database, all="app")


def test_a_database_without_the_packages_of_the_base_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not tell of packages that the base image has: older"):
        cut(rootfs("base", "app", "liba"), tree(**with_database("older")), database="keep", all="app")
