# SPDX-License-Identifier: MIT
"""What recipes have of their own before, in and after the task, as people write it."""

from __future__ import annotations

import json
import tarfile

from support.merge import read_image

from oe_oci.oci.verify import verify


def test_functions_in_shell_before_the_task(images):
    build = images("appended")
    found = read_image(build.layout("appended", "2.0")).merged
    facts = {path: (found[path].mode, found[path].uid, found[path].gid) for path in (b"etc/prefunc", b"etc/prepended")}
    assert facts == {b"etc/prefunc": ("0644", 1234, 42), b"etc/prepended": ("4755", 0, 0)}


def test_what_is_appended_finds_the_image(images):
    build = images("appended")
    folder, name, tag, bundle, new, blobs = (build.images / "appended.said").read_text().splitlines()
    assert folder == str(build.work("appended") / "deploy-appended-image-complete")
    assert name == build.layout("appended", "2.0").resolve().name
    assert (tag, bundle, new) == ("2.0", f"{name}-bundle", "t")
    assert int(blobs) == 3


def test_functions_after_the_task(images):
    assert (images("appended").images / "appended.postfunc").read_text() == "postfunc\n"


def test_a_recipe_edits_the_layers(images):
    build = images("hooked")
    system, app = read_image(build.layout("hooked", "1.0")).layers[:2]
    home = system[b"home/nonroot"]
    assert (home.isdir(), home.uid, home.gid) == (True, 65532, 65532)
    assert b"home/nonroot" not in app
    assert {b"usr/bin/app", b"usr/lib/liba.txt"} <= app.keys()
    assert not {b"usr/bin/app"} & system.keys()
    told = build.log("hooked")
    assert "edited system" in told
    assert "edited app" not in told


def test_what_a_recipe_does_to_the_layout_is_in_the_archives(images):
    build = images("appended")
    layout = build.layout("appended", "2.0")
    assert list(verify(str(layout), "2.0")) == []
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    manifest = json.loads((layout / "blobs" / entry["digest"].replace(":", "/")).read_text())
    config = json.loads((layout / "blobs" / manifest["config"]["digest"].replace(":", "/")).read_text())
    assert config["author"] == "somebody"
    for ending, top in ((".tar", ""), ("-dir.tar", f"{layout.resolve().name}/")):
        with tarfile.open(f"{layout}{ending}") as archive:
            names = {member.name.removeprefix("./").removeprefix(top) for member in archive if member.isfile()}
            index = archive.extractfile(next(one for one in archive if one.name.endswith("index.json")))
            assert json.load(index)["manifests"][0]["digest"] == entry["digest"]
        wanted = {one["digest"] for one in (entry, manifest["config"], *manifest["layers"])}
        assert {name for name in names if "/sha256/" in name} == {f"blobs/{one.replace(':', '/')}" for one in wanted}
    assert build.report("appended", "2.0")["image"]["digest"] == entry["digest"]
