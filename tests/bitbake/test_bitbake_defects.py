# SPDX-License-Identifier: MIT
"""What the class that this one replaces did to images: one test for each, numbered as they were found."""

from __future__ import annotations

import json
import re
import tarfile

import pytest
from support import installed, tools
from support.bitbake import Failed
from support.merge import read_image, read_tar

MULTI = ["multi", "installed"]  # layers cut from the rootfs, and layers that the package manager installs
# The time of all that a recipe here makes, and that of what has a later one in a root file system.
PACKAGED, DATED = 1302044400 * 10**9, 1700000000 * 10**9
MODES = {
    b"usr/bin/setuid": "4111",
    b"usr/bin/setgid": "2755",
    b"usr/lib/samples/sticky": "1777",
    b"usr/lib/samples/read-only": "0555",
    b"var/lib/samples": "0750",
    b"var/lib/samples/secret": "0400",
    b"var/lib/samples/nothing": "0000",
    b"opt/data/own": "0700",
    b"opt/data/setuid": "4755",
}


def image(build, name="multi"):
    return read_image(build.layout(name))


def names(layer):
    return {path for path, member in layer.items() if not member.isdir()}


def documents(build, name):
    """The manifest and the config of an image."""
    layout = build.layout(name)
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    manifest = json.loads((layout / "blobs" / entry["digest"].replace(":", "/")).read_text())
    config = json.loads((layout / "blobs" / manifest["config"]["digest"].replace(":", "/")).read_text())
    return entry, manifest, config


@pytest.mark.parametrize("name", ["single", *MULTI])
def test_defect_01_owners_are_kept(images, name):
    found = image(images(name), name).merged
    owners = {b"var/lib/samples/secret": (1234, 1234), b"usr/bin/setgid": (0, 42), b"opt/data/own/file": (1234, 1234)}
    assert {path: (found[path].uid, found[path].gid) for path in owners} == owners


@pytest.mark.parametrize("name", MULTI)
def test_defects_02_and_03_layers_of_packages_hold_them(images, name):
    """Nothing was installed into them: of ipk packages (2), and of deb packages (3)."""
    layers = image(images(name), name).layers
    expected = [
        {b"bin/busybox", b"etc/passwd", b"etc/fstab"},
        {b"usr/bin/setuid", b"usr/share/links/a/one", b"usr/lib/liba.txt", b"usr/share/names/plus++"},
        {b"usr/bin/app", b"usr/lib/libb.txt", b"usr/share/nice", b"etc/settings.conf", b"usr/lib/libren.so.3"},
        {b"usr/lib/libfoo++.txt"},
    ]
    for wanted, layer in zip(expected, layers):
        assert wanted <= names(layer)
        assert not names(layer) & set().union(*expected) - wanted


def test_defect_04_a_layer_that_fails_is_an_error_and_in_no_cache(build):
    build.run("-c", "clean", "failing")
    build.command("rm", "-rf", "failing-cache")  # what an earlier run of the tests left is taken from it
    with pytest.raises(Failed, match=r"failing-1\.0-r0 do_image_oci: .*\bapp[-_]1\.0"):
        build.run("failing", conf='SAMPLES_BREAK = "1"\n')
    assert not build.layout("failing").exists()
    build.run("failing")
    assert {b"usr/bin/app", b"usr/lib/libb.txt"} <= names(image(build, "failing").layers[1])


def test_defects_05_and_06_the_cache_has_what_is_there_now(images):
    """Content without a new version was not seen (5); what came from the cache had no setuid bits (6)."""
    build = images("changing")
    build.run("changing", conf='SAMPLES_SETTING = "1"\n')
    before = build.report("changing")["layers"]
    build.run("changing", conf='SAMPLES_SETTING = "2"\n')
    after = build.report("changing")["layers"]
    assert [one["digest"] == other["digest"] for one, other in zip(before, after)][:2] == [True, False]
    assert "layer system (1 of" in build.log("changing")
    with tarfile.open(build.layout("changing") / "blobs" / after[1]["digest"].replace(":", "/")) as archive:
        assert archive.extractfile("etc/settings.conf").read() == b"setting=2\n"
        assert archive.extractfile("etc/settings.ran").read() == b"setting=2\n"
    assert image(build, "changing").merged[b"usr/bin/setuid"].mode == "4111"


@pytest.mark.parametrize("name", ["single", *MULTI])
def test_defect_07_roots_password_is_locked(images, name):
    build = images(name)
    with tarfile.open(build.rootfs(name)) as archive:
        accounts = archive.extractfile("./etc/passwd").read()
    assert b"root:*:0:0:" in accounts
    assert image(build, name).merged[b"etc/passwd"].digest == read_tar(build.rootfs(name))[b"etc/passwd"].digest


@pytest.mark.parametrize("name", ["single", *MULTI])
def test_defect_08_modes_are_kept(images, name):
    found = image(images(name), name).merged
    assert {path: found[path].mode for path in MODES} == MODES


def test_defect_09_the_database_has_the_packages_of_all_layers(images, tmp_path):
    build = images("kept")
    root = tools.umoci_unpack(build.layout("kept"), "latest", tmp_path / "bundle")
    named = {"base-files", "base-passwd", "busybox", "liba", "libb", "libfoo++", "app", "settings", "nice"}
    assert installed.versions(build.kind, root).keys() == named | {"unwanted", "excluded"}


@pytest.mark.parametrize("name", MULTI)
def test_defect_10_a_name_that_ends_in_plus_is_that_package(images, name):
    layers = image(images(name), name).layers
    assert [b"usr/lib/libfoo++.txt" in layer for layer in layers[:4]] == [False, False, False, True]
    assert not any(b"usr/lib/libfoo.txt" in layer for layer in layers)


@pytest.mark.parametrize("name", ["derived-multi", "derived-installed"])
def test_defect_11_what_the_base_has_is_not_shipped_again(images, name):
    build = images(name)
    base = image(build, "base")
    for layer in image(build, name).layers[len(base.layers) :]:
        assert not names(layer) & {b"usr/bin/setuid", b"etc/fstab", b"var/lib/samples/secret"}


@pytest.mark.parametrize("name", [*MULTI, "kept"])
def test_defect_12_nothing_of_the_package_manager_is_left(images, name):
    build = images(name)
    own = re.compile(rb"etc/(dnf|rpm|rpmrc|yum|apt)(/|$)|var/(cache|log)/(dnf|apt|opkg)|var/lib/(dnf|apt/lists)")
    databases = re.compile(rb"(var|usr)/lib/(rpm|dpkg|opkg|sysimage)/(?!alternatives)")
    layers = image(build, name).layers[: 3 if name == "kept" else None]  # the rootfs itself is set up for a manager
    assert [path for layer in layers for path in names(layer) if own.match(path)] == []
    assert [any(databases.match(path) for path in names(layer)) for layer in layers[:3]] == [name == "kept"] * 3


@pytest.mark.parametrize("name", ["single", "derived", *MULTI])
def test_defect_13_a_second_build_makes_the_same_layers(images, second_build, name):
    first, second = images(name).report(name), second_build(name).report(name)
    assert [layer["digest"] for layer in first["layers"]] == [layer["digest"] for layer in second["layers"]]
    assert first["image"]["digest"] == second["image"]["digest"]


@pytest.mark.parametrize("name", ["single", *MULTI])
def test_defect_14_hard_links_and_times_of_directories_are_kept(images, name):
    build = images(name)
    found, rootfs = image(build, name).merged, read_tar(build.rootfs(name))
    links = b"usr/share/links/"
    assert found[links + b"b/c/three"].names == {links + b"a/one", links + b"a/two", links + b"b/c/three"}
    assert found[b"opt/data/same"].names == {b"opt/data/same", b"opt/data/own/file"}
    for path in (links + b"a", links + b"b/c", b"usr/share/names/empty"):
        assert found[path].mtime in ({PACKAGED, DATED} if name == "installed" else {rootfs[path].mtime})
    assert found[b"opt/data/own"].mtime == rootfs[b"opt/data/own"].mtime


@pytest.mark.parametrize("name", ["single", *MULTI])
def test_defect_15_device_nodes_are_kept(images, name):
    found = image(images(name), name).merged
    facts = {path: (found[path].kind, found[path].device) for path in (b"opt/null", b"opt/disk")}
    assert facts == {b"opt/null": ("character device", (1, 3)), b"opt/disk": ("block device", (8, 1))}


@pytest.mark.parametrize("name", ["single", "derived", *MULTI])
def test_defect_16_every_blob_is_referenced(images, name):
    build = images(name)
    entry, manifest, _ = documents(build, name)
    wanted = {one["digest"] for one in (entry, manifest["config"], *manifest["layers"])}
    layout = build.layout(name)
    assert {f"sha256:{path.name}" for path in (layout / "blobs" / "sha256").iterdir()} == wanted
    for ending in (".tar", "-dir.tar"):
        with tarfile.open(f"{layout}{ending}") as archive:
            blobs = [member.name for member in archive if "/sha256/" in member.name]
        assert {f"sha256:{blob.rpartition('/')[2]}" for blob in blobs} == wanted
        assert len(blobs) == len(wanted)


def test_defect_17_a_derived_image_has_its_own_time(images):
    build = images("derived")
    created = {name: documents(build, name)[2]["created"] for name in ("base", "derived")}
    assert created == {"base": "2020-09-13T12:26:40Z", "derived": "2023-11-14T22:13:20Z"}


def test_defect_17_a_layer_that_changes_nothing_can_be_kept(images):
    build = images("derived-installed")
    layers = build.report("derived-installed")["layers"]
    assert [layer["name"] for layer in layers[:4]] == ["same", "system", "more", "app"]
    assert (layers[0]["changed"], layers[0]["removed"]) == (0, 0)
    _, manifest, config = documents(build, "derived-installed")
    written = sum(not entry.get("empty_layer") for entry in config["history"])
    assert written == len(manifest["layers"]) == len(image(build, "base").layers) + len(layers)
