# SPDX-License-Identifier: MIT
"""The layers of an image, one on the other, are the root file system, of which bitbake makes a tar of its own."""

from __future__ import annotations

import json
import shutil

import pytest
from support.compare import assert_same
from support.merge import read_image, read_tar

from oe_oci.oci.verify import verify

MULTI = ["multi", "installed"]  # layers cut from the rootfs, and layers that the package manager installs
OUTSIDE = {b"usr/bin/outside", b"usr/share/outside", b"usr/share/outside/file"}


def merged(build, image, tag="latest"):
    layout = build.layout(image, tag)
    assert list(verify(str(layout), tag)) == []
    return read_image(layout).merged


def assert_is_rootfs(build, image, *, base=None, host=(), without=(), **options):
    """`base` is an image whose paths are there too, `host` are paths of host layers, `without` those of the rootfs."""
    below = merged(build, base) if base else {}
    expected = {path: facts for path, facts in read_tar(build.rootfs(image)).items() if path not in without}
    found = {path: facts for path, facts in merged(build, image).items() if path not in host}
    # The root itself is no part of what a package or a recipe makes.
    assert_same({**below, **expected, b".": found[b"."]}, found, **options)


def test_one_layer(images):
    assert_is_rootfs(images("single"), "single", times=True)


def test_what_is_in_a_rootfs_is_what_this_suite_is_about(images):
    """Where a package or the build's own tools lost something on the way, equality would say nothing of it."""
    build = images("single")
    found = read_tar(build.rootfs("single"))
    facts = {
        path: (found[path].mode, found[path].uid, found[path].gid)
        for path in (b"usr/bin/setuid", b"usr/bin/setgid", b"usr/lib/samples/sticky", b"var/lib/samples/nothing")
    }
    assert facts == {
        b"usr/bin/setuid": ("4111", 0, 0),
        b"usr/bin/setgid": ("2755", 0, 42),
        b"usr/lib/samples/sticky": ("1777", 0, 0),
        b"var/lib/samples/nothing": ("0000", 1234, 1234),
    }
    links = b"usr/share/links/"
    assert found[links + b"a/one"].names == {links + b"a/one", links + b"a/two", links + b"b/c/three"}
    assert found[links + b"dangling"].target == b"../../nowhere"
    assert found[b"opt/null"].device == (1, 3)
    assert list(found[b"bin/busybox"].xattrs) == ["security.capability"]
    there = {
        b".hidden",
        "usr/share/names/ümlaut".encode(),
        b"usr/share/names/a blank",
        b"usr/lib/libfoo++.txt",
        b"usr/lib/libren.so.3",
        b"etc/settings.ran",
        b"usr/share/nice",
    }
    assert there <= found.keys()
    gone = {b"usr/share/excluded", b"usr/lib/libfoo.txt", b"etc/issue.net", b"usr/share/misc"}
    assert not gone & found.keys()
    assert (b"usr/share/unwanted" in found) == (build.kind == "deb")  # which has no BAD_RECOMMENDATIONS


@pytest.mark.parametrize("name", MULTI)
def test_layers_of_all_types(images, name):
    build = images(name)
    assert_is_rootfs(build, name, host={b"etc/from-host"}, without=OUTSIDE, times=name == "multi")
    from_host = merged(build, name)[b"etc/from-host"]
    assert (from_host.mode, from_host.uid, from_host.gid) == ("0644", 0, 0)


def test_layers_cut_from_the_rootfs(images):
    build = images("multi")
    native, cut = (read_image(images(name).layout(name)).layers for name in ("installed", "multi"))
    assert len(cut) == len(native)
    for one, other in zip(native[1:4], cut[1:4]):
        assert {path for path, member in other.items() if not member.isdir()} <= one.keys()
    assert {b"usr/bin/app", b"usr/lib/libb.txt", b"usr/share/nice"} <= cut[2].keys()
    packages = [layer["packages"] for layer in build.report("multi")["layers"] if "packages" in layer]
    assert {"base-files", "busybox"} <= {one["name"] for one in packages[0]}
    assert all(one["version"] and one["architecture"] for layer in packages for one in layer)


@pytest.mark.parametrize("name", MULTI)
def test_packages_outside_the_layers_do_not_leak(images, name):
    build = images(name)
    assert read_tar(build.rootfs(name)).keys() >= OUTSIDE
    assert not merged(build, name).keys() & OUTSIDE


def test_the_config_says_what_the_recipe_says(images):
    build = images("multi")
    report = build.report("multi")
    config = json.loads((build.layout("multi") / "blobs" / report["image"]["config"].replace(":", "/")).read_text())
    expected = {
        "Entrypoint": ["/usr/bin/app"],
        "Cmd": ["--say", "hello there"],
        "ExposedPorts": {"8080/tcp": {}, "53/udp": {}},
        "WorkingDir": "/var/lib/samples",
        "User": "1234",
        "StopSignal": "SIGTERM",
    }
    assert {key: config["config"][key] for key in expected} == expected
    assert {"A=1", "B=two words"} <= set(config["config"]["Env"])
    assert config["config"]["Labels"]["org.example.two"] == "two words"
    assert (config["architecture"], config["author"]) == ("amd64", "samples@example.org")


def test_one_layer_on_a_base(images):
    build = images("derived")
    assert_is_rootfs(build, "derived", base="base")
    base, derived = (read_image(build.layout(name)) for name in ("base", "derived"))
    assert len(derived.layers) == len(base.layers) + 1
    assert b"usr/bin/setuid" not in derived.layers[-1]


@pytest.mark.parametrize("name", ["derived-multi", "derived-installed"])
def test_layers_on_a_base(images, name):
    assert_is_rootfs(images(name), name, base="base")


def test_on_a_base_that_lies_somewhere(images):
    build = images("base")
    place = build.folder / "base-layout"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(build.layout("base"), place)
    build.run("derived-path")
    assert_is_rootfs(build, "derived-path")
    assert build.report("derived-path")["base"]["digest"] == build.report("base")["image"]["digest"]


@pytest.fixture(scope="module")
def merged_usr(images):
    """The build with all of it below /usr."""
    build = images("single").apart("usrmerge")
    build.run("-k", "single", *MULTI, conf='DISTRO_FEATURES:append = " usrmerge"\n', status=None)
    return build


def test_usrmerge_in_one_layer(merged_usr):
    assert_is_rootfs(merged_usr, "single", times=True)
    assert merged(merged_usr, "single")[b"bin"].target == b"usr/bin"


@pytest.mark.parametrize("name", MULTI)
def test_usrmerge_in_layers(merged_usr, name):
    assert_is_rootfs(merged_usr, name, host={b"etc/from-host"}, without=OUTSIDE)
    assert merged(merged_usr, name)[b"bin"].target == b"usr/bin"
