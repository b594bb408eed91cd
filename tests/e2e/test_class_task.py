# SPDX-License-Identifier: MIT
"""The class's task as it runs in a build: what a recipe has before and after it, and what it leaves, under fakeroot."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import laidout
from support.datastore import Class, DataStore, run_shell, stand_in
from support.managers import MANAGERS, write_feed
from support.sources import Source, file
from support.tools import need
from support.tools import run as run_tool

from oe_oci.oci.verify import verify

LAYER = Path(__file__).parents[2]
MAKE_ROOTFS = """\
mkdir -p rootfs/usr/bin rootfs/etc && cd rootfs
echo '#!/bin/sh' >usr/bin/su && chmod 4711 usr/bin/su
echo key >etc/key && chown 12:34 etc/key && chmod 400 etc/key
mknod etc/null c 1 3
"""


@pytest.fixture(autouse=True)
def bb(monkeypatch):
    module = stand_in()
    monkeypatch.setitem(sys.modules, "bb", module)
    for name in ("INTERCEPT_DIR", "NATIVE_ROOT"):
        monkeypatch.setenv(name, "")  # and back again
    return module


@pytest.fixture
def fakeroot(tmp_path):
    """The words before a program that is to run in one session of fakeroot with all others of the test."""
    need("fakeroot")
    state = str(tmp_path / "faked")
    words = ("fakeroot", "-s", state, "--")
    subprocess.run([*words, "sh", "-ec", MAKE_ROOTFS], cwd=tmp_path, check=True)
    return ("fakeroot", "-i", state, "-s", state, "--")


def recipe(tmp_path, **values):
    (tmp_path / "deploy").mkdir(exist_ok=True)
    d = DataStore(
        {
            "PN": "app",
            "FILE": str(tmp_path / "app.bb"),
            "WORKDIR": str(tmp_path),
            "TOPDIR": str(tmp_path),
            "MACHINE": "qemu",
            "IMAGE_BASENAME": "app",
            "IMAGE_NAME": "app-qemu.rootfs-20261129",
            "IMAGE_NAME_SUFFIX": ".rootfs",
            "IMAGE_FSTYPES": "oci",
            "STAGING_DIR_NATIVE": str(tmp_path / "native"),
            "IMAGE_ROOTFS": str(tmp_path / "rootfs"),
            "IMGDEPLOYDIR": str(tmp_path / "deploy"),
            "TARGET_ARCH": "x86_64",
            "OE_OCI_LAYERDIR": str(LAYER),
            "REPRODUCIBLE_TIMESTAMP_ROOTFS": "1700000000",
            **values,
        }
    )
    Class("image-oci").inherit(d)
    return d


def run(d, fakeroot, *, before="", after=""):
    made = Class("image-oci")
    for function in d.getVarFlag("do_image_oci", "prefuncs").split():
        made.run(function, d)
    return run_shell(made.shell("IMAGE_CMD:oci", d, before=before, after=after), prefix=fakeroot)


def test_what_a_recipe_appends_finds_the_image(tmp_path, fakeroot):
    after = """\
        echo "append: $PWD $image_name $image_tag $image_bundle_name $new_image [$OCI_REUSE_IMAGE]"
        test -f $image_name.tar && test -f $image_name/index.json && echo "append: there"
    """
    done = run(recipe(tmp_path, OCI_IMAGE_TAG="1.0"), fakeroot, before="echo prepend: $PWD", after=after)
    assert done.returncode == 0, done.stdout
    name = "app-qemu.rootfs-20261129.rootfs-oci"
    said = [line for line in done.stdout.splitlines() if line.startswith(("append: ", "prepend: "))]
    assert said[1:] == [f"append: {tmp_path}/deploy {name} 1.0 {name}-bundle t []", "append: there"]
    assert said[0].startswith("prepend: ")
    assert (tmp_path / "deploy" / "app-1.0-oci").readlink() == Path(name)


def test_with_sloci_a_recipe_finds_the_names_of_that_tool(tmp_path, fakeroot):
    after = """\
        [ -n "$image_name" ] || image_name=${IMAGE_NAME}${IMAGE_NAME_SUFFIX}-oci-${OCI_IMAGE_TAG}
        test -f $image_name-${OCI_IMAGE_ARCH}-linux.oci-image.tar && echo "append: there"
    """
    done = run(recipe(tmp_path, OCI_IMAGE_BACKEND="sloci-image"), fakeroot, after=after)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "append: there")


def test_what_a_recipe_prepends_comes_before_the_image(tmp_path, fakeroot):
    done = run(recipe(tmp_path), fakeroot, before=f"echo late >{tmp_path}/rootfs/etc/late")
    assert done.returncode == 0, done.stdout
    layout = tmp_path / "deploy" / "app-latest-oci"
    report = json.loads((tmp_path / "deploy" / "app-latest-oci.json").read_text())
    blob = layout / "blobs" / "sha256" / report["layers"][0]["digest"].partition(":")[2]
    listed = subprocess.run(["tar", "-tvzf", str(blob)], capture_output=True, text=True, check=True).stdout
    assert re.search(r"^-rws--x--x 0/0 .* usr/bin/su$", listed, re.MULTILINE)
    assert re.search(r"^-r-------- 12/34 .* etc/key$", listed, re.MULTILINE)
    assert re.search(r"^crw-\S+ 0/0 +1,3 .* etc/null$", listed, re.MULTILINE)
    assert " etc/late" in listed
    assert list(verify(str(layout), "latest")) == []


def test_a_failure_is_told_in_one_message_and_leaves_nothing(tmp_path, fakeroot):
    d = recipe(tmp_path, OCI_LAYERS="site:directories:/srv/site")
    done = run(d, fakeroot, after="echo append: reached")
    assert done.returncode == 1
    message = "fatal: OCI_LAYERS: layer 'site': '/srv/site' is not in the rootfs\n  did you mean /usr?\n"
    assert done.stdout.endswith(f"\n{message}")
    assert list((tmp_path / "deploy").iterdir()) == []


def test_an_edit_that_the_rootfs_has_a_change_of_is_warned_of(tmp_path, fakeroot):
    write_feed(MANAGERS["deb builtin"], tmp_path / "feed", [Source("base", files=[file("/etc/key"), file("/etc/own")])])
    words = [tmp_path / "oci/image.conf", "--feed", tmp_path / "feed"]
    (tmp_path / "oci").mkdir()
    conf = f"""\
IMAGE_BASENAME = "app"
IMAGE_ROOTFS = "{tmp_path}/rootfs"
IMGDEPLOYDIR = "{tmp_path}/deploy"
OCI_LAYERS = "base:packages:base"
OCI_ROOTFS_LAYER = "rootfs"
"""
    words[0].write_text(conf)
    run_tool(*fakeroot, *laidout.program(tmp_path / "laid-", *words))
    for name in ("key", "own"):
        (tmp_path / "laid-1/etc" / name).write_text("edited")
    words[0].write_text(f'{conf}OCI_LAYER_1_ROOTFS = "{tmp_path}/laid-1"\n')
    done = run_shell(Class("image-oci").shell("IMAGE_CMD:oci", recipe(tmp_path)), prefix=fakeroot)
    assert done.returncode == 0, done.stdout
    text = "kept as edited in the layers, without what the rootfs changed there: /etc/key"
    assert [line for line in done.stdout.splitlines() if line.startswith("warn: ")] == [f"warn: {text}"]


def test_progress_is_seen_by_bitbake(tmp_path, fakeroot):
    d = recipe(tmp_path, OCI_LAYERS="etc:directories:/etc usr:directories:/usr")
    pattern = re.compile(d.getVarFlag("do_image_oci", "progress").strip().partition(":")[2])
    done = run(d, fakeroot)
    assert [pattern.findall(line) for line in done.stdout.splitlines() if pattern.findall(line)] == [
        [("1", "2")],
        [("2", "2")],
    ]


def test_an_earlier_run_leaves_nothing_to_be_deployed_again(tmp_path):
    need("fakeroot")
    (tmp_path / "rootfs").mkdir()
    # Each in a session of its own: what functions of the class remove outside of one it would take for there.
    alone = ("fakeroot", "--")
    assert run(recipe(tmp_path), alone).returncode == 0
    other = tmp_path / "deploy" / "app-qemu.rootfs-20261129.manifest"
    other.touch()
    (tmp_path / "deploy" / "app.manifest").symlink_to(other.name)
    done = run(recipe(tmp_path, IMAGE_NAME="app-qemu.rootfs-20261130", OCI_IMAGE_TAG="2"), alone)
    assert done.returncode == 0, done.stdout
    left = {path.name for path in (tmp_path / "deploy").iterdir()}
    new = {f"app-qemu.rootfs-20261130.rootfs-oci{end}" for end in ("", ".tar", "-dir.tar", ".json")}
    assert left == {*new, *(f"app-2-oci{end}" for end in ("", ".tar", "-dir.tar", ".json")), other.name, "app.manifest"}
