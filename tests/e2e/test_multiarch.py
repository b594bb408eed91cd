# SPDX-License-Identifier: MIT
"""Images of several platforms in one layout: tools copy all of it, and take from it what is for their own machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support import tools

from oe_oci.merge import find_platforms, merge

if TYPE_CHECKING:
    from pathlib import Path

NAME = "localhost/app:latest"
# As --override-arch and --override-variant of skopeo have them, and `uname -m`.
PLATFORMS = {"linux/amd64": ("amd64", "", "x86_64"), "linux/arm64": ("arm64", "", "aarch64")}
PLATFORMS["linux/arm/v7"] = ("arm", "v7", "armv7l")


@pytest.fixture(scope="module")
def merged(room: Path, busybox: Path) -> Path:
    """The layout of three images, which have a layer of their own on one that all have."""
    place = room / "multiarch"
    place.mkdir()
    for architecture, variant, machine in PLATFORMS.values():
        (place / machine).write_text(f"{machine}\n", encoding="utf-8")
        conf = place / f"{machine}.conf"
        conf.write_text(
            'IMAGE_BASENAME = "app"\nOCI_LAYERS = "system:directories:/ '
            f'machine:host:{machine}:/etc/machine"\nOCI_IMAGE_CMD = "/bin/busybox cat /etc/machine"\n'
            f'OCI_IMAGE_ARCH = "{architecture}"\nOCI_IMAGE_SUBARCH = "{variant}"\n',
            encoding="utf-8",
        )
        tools.build(conf, place / "deploy" / machine, "--rootfs", busybox)
    layouts = [place / "deploy" / machine / "app-latest-oci" for _, _, machine in PLATFORMS.values()]
    found = [image for path in layouts for image in find_platforms(str(path), "latest")]
    merge(found, str(place / "all-oci"), "latest", NAME)
    return place / "all-oci"


def test_no_fault_is_found(merged: Path) -> None:
    tools.oe_oci("verify", merged)
    tools.oe_oci("lint", merged)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_our_commands_take_one_platform(merged: Path, folder: Path, platform: str) -> None:
    done = tools.oe_oci("inspect", merged, "--platform", platform, "--json")
    assert json.loads(done.stdout)["platform"]["architecture"] == PLATFORMS[platform][0]
    tools.oe_oci("unpack", merged, folder / "rootfs", "--platform", platform)
    assert (folder / "rootfs/etc/machine").read_text() == f"{PLATFORMS[platform][2]}\n"


def test_the_shared_layer_is_there_once(merged: Path) -> None:
    layers = set()
    for platform in PLATFORMS:
        done = tools.oe_oci("inspect", merged, "--platform", platform, "--json")
        layers |= {layer["digest"] for layer in json.loads(done.stdout)["layers"]}
    assert len(layers) == 4
    # Three manifests and configs, and the index.
    assert len([*(merged / "blobs/sha256").iterdir()]) == len(layers) + 7


@pytest.mark.parametrize("tag", ["", ":latest"])
def test_skopeo_copies_all_of_it(merged: Path, folder: Path, tag: str) -> None:
    tools.need("skopeo")
    words = ["skopeo", "--insecure-policy", "copy", "-q", "--all", "--preserve-digests"]
    tools.run(*words, f"oci:{merged}{tag}", f"oci:{folder}/copy:latest")
    assert {file.name for file in (merged / "blobs/sha256").iterdir()} == {
        file.name for file in (folder / "copy/blobs/sha256").iterdir()
    }
    raw = [tools.run("skopeo", "inspect", "--raw", f"oci:{path}").stdout for path in (merged, folder / "copy")]
    assert raw[0] == raw[1]
    assert [each["platform"] for each in json.loads(raw[0])["manifests"]] == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm", "os": "linux", "variant": "v7"},
        {"architecture": "arm64", "os": "linux"},
    ]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_skopeo_takes_one_platform(merged: Path, platform: str) -> None:
    tools.need("skopeo")
    architecture, variant, _ = PLATFORMS[platform]
    chosen = ["--override-arch", architecture, *(["--override-variant", variant] if variant else [])]
    done = tools.run("skopeo", *chosen, "inspect", "--config", f"oci:{merged}:latest")
    config = json.loads(done.stdout)
    assert (config["architecture"], config.get("variant", "")) == (architecture, variant)


def test_podman_takes_what_is_for_its_machine_or_asked_for(merged: Path) -> None:
    with tools.Podman() as podman:
        own = podman("pull", "-q", f"oci:{merged}").stdout.strip()
        assert podman("run", "--rm", own).stdout == "x86_64\n"
        other = podman("pull", "-q", "--platform", "linux/arm/v7", f"oci:{merged}").stdout.strip()
        with podman.mounted(other) as place:
            assert (place / "etc/machine").read_text() == "armv7l\n"


def test_containerd_takes_all_platforms_under_the_full_name(merged: Path, folder: Path) -> None:
    archive = folder / "all.tar"
    tools.run("tar", "-C", merged, "-cf", archive, ".")
    with tools.Containerd() as containerd:
        containerd("images", "import", "--all-platforms", "--no-unpack", archive)
        assert containerd.names() == [NAME]
        listed = containerd("images", "ls", f"name=={NAME}").stdout
        assert "linux/amd64,linux/arm/v7,linux/arm64" in listed


def test_a_platform_as_base(merged: Path, folder: Path) -> None:
    (folder / "more").write_text("more\n", encoding="utf-8")
    (folder / "child.conf").write_text(
        f'OCI_BASE_IMAGE = "{merged}"\nOCI_IMAGE_ARCH = "arm"\nOCI_IMAGE_SUBARCH = "v7"\n'
        'OCI_LAYERS = "more:host:more:/etc/more"\n',
        encoding="utf-8",
    )
    tools.build(folder / "child.conf", folder / "deploy")
    tools.oe_oci("unpack", folder / "deploy/child-oci", folder / "rootfs")
    assert (folder / "rootfs/etc/machine").read_text() == "armv7l\n"
