# SPDX-License-Identifier: MIT
"""Layers of packages on base images: with a database of ours, of the real dpkg, and with none."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from support import compare, packages, tools
from support.layouts import file, folder

if TYPE_CHECKING:
    from pathlib import Path

LIB = packages.package(
    "lib", "1", files=[folder("./"), folder("./lib/"), file("./lib/lib.so.1"), file("./lib/data", b"1")]
)
NEW_LIB = packages.package(
    "lib", "2", files=[folder("./"), folder("./lib/"), file("./lib/lib.so.2"), file("./lib/data", b"2")]
)
TOOL = packages.package("tool", files=[folder("./"), folder("./bin/"), file("./bin/tool", b"tool")], Depends="lib")
APP = packages.package("app", files={"opt/app": b"app"}, Depends="tool, lib (>= 2)")
MORE = packages.package("more", files={"opt/more": b"more"}, scripts={"postinst": "#!/bin/sh\n"}, Depends="tool")
SKIP = 'OCI_PACKAGE_SCRIPTS = "skip"'


@pytest.fixture
def feeds(folder: Path) -> tuple[Path, Path]:
    """A feed with the old library, and one with the new."""
    return (
        packages.write_feed(folder / "old", [LIB, TOOL]),
        packages.write_feed(folder / "new", [NEW_LIB, TOOL, APP, MORE]),
    )


def build(place: Path, layers: str, feed: Path, *lines: str) -> dict[str, Any]:
    """An image in a folder of its own; its report."""
    place.mkdir()
    (place / "app.conf").write_text("\n".join([f'OCI_LAYERS = "{layers}"', SKIP, *lines, ""]))
    return tools.build(place / "app.conf", place / "out", "--feed", feed, "--set", "OCI_IMAGE_TAR_OUTPUT=0")


def unpacked(place: Path) -> Path:
    """The final file system, as files of this host."""
    arguments = [] if os.geteuid() == 0 else ["--rootless"]
    tools.oe_oci("unpack", *arguments, place / "out" / "app-oci", place / "tree")
    return place / "tree"


def of(report: dict[str, Any], name: str) -> dict[str, Any]:
    (layer,) = (layer for layer in report["layers"] if layer["name"] == name)
    return layer


def status(tree: Path) -> dict[str, str]:
    """What the real dpkg says is installed: versions by name."""
    tools.need("dpkg-query")
    words = ["--admindir", tree / "var/lib/dpkg", "-W", "-f", "${Package} ${Version} ${db:Status-Status}\n"]
    lines = tools.run("dpkg-query", *words).stdout.split("\n")
    return {name: version for name, version, state in (line.split() for line in lines if line) if state == "installed"}


def test_what_the_base_has_is_below_and_upgraded_on_demand_alone(folder, feeds):
    old, new = feeds
    build(folder / "base", "base:packages:tool", old)
    same = build(folder / "same", "app:packages:tool,more", new, 'OCI_BASE_IMAGE = "../base/out/app-oci"')
    assert of(same, "app")["below"] == ["tool 1.0"]
    assert [one["name"] for one in of(same, "app")["packages"]] == ["more"]
    assert status(unpacked(folder / "same")) == {"lib": "1", "tool": "1.0", "more": "1.0"}
    newer = build(folder / "newer", "app:packages:app", new, 'OCI_BASE_IMAGE = "../base/out/app-oci"')
    assert [(one["name"], one.get("upgrades")) for one in of(newer, "app")["packages"]] == [("lib", "1"), ("app", None)]
    tree = unpacked(folder / "newer")
    assert status(tree) == {"lib": "2", "tool": "1.0", "app": "1.0"}
    assert sorted(os.listdir(tree / "lib")) == ["data", "lib.so.2"]


def test_the_same_tree_with_a_base_and_without(folder, feeds):
    _, new = feeds
    build(folder / "base", "base:packages:tool", new)
    build(folder / "upper", "app:packages:app,more", new, 'OCI_BASE_IMAGE = "../base/out/app-oci"')
    build(folder / "flat", "all:packages:tool,app,more", new)
    # What was asked for, and what only as it was needed, differs; a layer of the base knows of no later wish.
    found = [compare.listing(unpacked(folder / name)) for name in ("upper", "flat")]
    for listing in found:
        for path in list(listing):
            if path.startswith(b"var/lib/apt"):
                del listing[path]
    compare.assert_same(*found)


@pytest.mark.parametrize("database", ["top", "status.d", "remove"])
def test_bases_with_another_form_of_database(folder, feeds, database):
    _, new = feeds
    build(folder / "base", "base:packages:tool", new, f'OCI_PACKAGE_DATABASE = "{database}"')
    report = build(folder / "upper", "app:packages:app", new, 'OCI_BASE_IMAGE = "../base/out/app-oci"')
    names = [one["name"] for one in of(report, "app")["packages"]]
    tree = unpacked(folder / "upper")
    if database == "remove":
        # Nothing is known of what lies below; what is the same there is not in the layer again.
        assert names == ["lib", "tool", "app"]
        listing = tools.run("tar", "-tzf", _blob(folder / "upper", of(report, "app"))).stdout.split("\n")
        assert "opt/app" in listing
        assert "lib/lib.so.2" not in listing
    else:
        assert names == ["app"]
    assert status(tree) == {"lib": "2", "tool": "1.0", "app": "1.0"}


def _blob(place: Path, layer: dict[str, Any]) -> Path:
    return place / "out" / "app-oci" / "blobs" / "sha256" / layer["digest"].partition(":")[2]


def test_a_base_that_the_real_dpkg_installed(folder, feeds):
    """Its database is read, and carried on: the layer's packages are beside dpkg's own."""
    tools.need_root()
    tools.need("dpkg")
    _, new = feeds
    root = folder / "root"
    for part in ("updates", "info", "triggers"):
        (root / "var/lib/dpkg" / part).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    install(root, new / LIB.name.replace("_1_", "_2_"), new / TOOL.name)
    (folder / "base").mkdir()
    (folder / "base" / "app.conf").write_text("")
    tools.build(folder / "base" / "app.conf", folder / "base" / "out", "--rootfs", root)
    report = build(folder / "upper", "app:packages:app", new, 'OCI_BASE_IMAGE = "../base/out/app-oci"')
    assert [one["name"] for one in of(report, "app")["packages"]] == ["app"]
    tree = unpacked(folder / "upper")
    assert status(tree) == {"lib": "2", "tool": "1.0", "app": "1.0"}
    assert (tree / "var/lib/dpkg/info/tool.list").read_text() == (root / "var/lib/dpkg/info/tool.list").read_text()


def test_the_native_tool_goes_on_from_there(folder, feeds):
    """A package more, an upgrade, a removal, by the real dpkg; apt finds nothing to mend."""
    tools.need_root()
    tools.need("dpkg", "apt-get")
    old, new = feeds
    build(folder / "image", "base:packages:lib tools:packages:tool", old)
    tree = unpacked(folder / "image")
    assert dpkg(tree, "--audit").stdout == ""
    assert dpkg(tree, "-V").stdout == ""
    install(tree, new / MORE.name, new / NEW_LIB.name)
    assert status(tree) == {"lib": "2", "tool": "1.0", "more": "1.0"}
    assert not (tree / "lib/lib.so.1").exists()
    dpkg(tree, "--remove", "more")
    assert not (tree / "opt/more").exists()
    assert apt(folder, tree, "check").returncode == 0
    (new / "Packages").unlink()
    shutil.copy(new / APP.name, folder / APP.name)
    simulated = apt(folder, tree, "-s", "install", f"{folder}/{APP.name}").stdout
    assert re.findall("^Inst (\\S+)", simulated, re.MULTILINE) == ["app"]


def dpkg(tree: Path, *words: object) -> Any:
    # Its scripts run in the tree, which has no shell: those of the packages here say so, and need none.
    return tools.run("dpkg", f"--root={tree}", "--force-script-chrootless", "--log=/dev/null", *words)


def install(tree: Path, *files: Path) -> None:
    dpkg(tree, "--force-not-root", "-i", *files)


def apt(folder: Path, tree: Path, *words: str) -> Any:
    state = folder / "apt"
    (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    options = {
        "Dir::State": state,
        "Dir::State::status": tree / "var/lib/dpkg/status",
        "Dir::State::extended_states": tree / "var/lib/apt/extended_states",
        "Dir::Cache": state,
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": "/dev/null",
        "APT::Sandbox::User": "root",
    }
    return tools.run("apt-get", *(f"-o{key}={value}" for key, value in options.items()), *words)
