# SPDX-License-Identifier: MIT
"""What umoci and skopeo change in a layout after the build is in its archives and its report, and loads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from support import merge, tools
from support.layouts import folder, tar
from support.refreshed import refresh

if TYPE_CHECKING:
    from pathlib import Path

TAR = tar([folder("home/", mode=0o755), folder("home/nonroot/", mode=0o700, uid=65532, gid=65532)])


class Built:
    """A built image, in the words of a recipe that changes it afterwards."""

    def __init__(self, place: Path, busybox: Path, *lines: str) -> None:
        self.place = place
        conf = ['OCI_LAYERS = "system:directories:/bin,/etc same:files:/etc/passwd"', *lines, ""]
        (place / "app.conf").write_text("\n".join(conf))
        self.words = [place / "app.conf", "--deploy-dir", place / "deploy", "--rootfs", busybox]
        tools.run(tools.sys.executable, "-m", "oe_oci", "build", *self.words)
        self.layout = place / "deploy/app-oci"
        self.archive = place / "deploy/app-oci.tar"

    @property
    def report(self) -> dict[str, Any]:
        return json.loads((self.place / "deploy/app-oci.json").read_text())

    def inspect(self, where: str) -> dict[str, Any]:
        tools.need("skopeo")
        return json.loads(tools.run("skopeo", "inspect", "--raw", "--config", where).stdout)


@pytest.fixture
def built(folder, busybox) -> Built:
    tools.need_root()
    tools.need("umoci")
    return Built(folder, busybox)


def test_a_user_and_a_layer_of_it_as_umoci_makes_them(built):
    before = built.report
    (built.place / "home.tar").write_bytes(TAR)
    tools.run("umoci", "config", "--image", f"{built.layout}:latest", "--config.user", "65532")
    tools.run("umoci", "raw", "add-layer", "--image", f"{built.layout}:latest", built.place / "home.tar")
    report = refresh(*built.words)
    assert report == built.report
    tools.oe_oci("verify", built.archive)
    tools.oe_oci("verify", built.place / "deploy/app-oci-dir.tar")
    for where in (f"oci-archive:{built.archive}", f"oci:{built.layout}:latest"):
        assert built.inspect(where)["config"]["User"] == "65532"
    manifest = json.loads(tools.run("skopeo", "inspect", "--raw", f"oci-archive:{built.archive}").stdout)
    layers = [layer for layer in report["layers"] if "digest" in layer]
    assert [layer["digest"] for layer in layers] == [layer["digest"] for layer in manifest["layers"]]
    assert layers[0] == before["layers"][0]
    assert report["layers"][-1] == before["layers"][-1]
    assert merge.read_image(built.layout).merged[b"home/nonroot"].uid == 65532
    tools.oe_oci("diff", built.layout, built.archive, "--times")
    assert refresh(*built.words) is None


def test_after_a_clean_up_by_umoci(built):
    tools.run("umoci", "config", "--image", f"{built.layout}:latest", "--config.user", "1")
    tools.run("umoci", "gc", "--layout", built.layout)
    before = built.report
    report = refresh(*built.words)
    assert report["layers"] == before["layers"]
    tools.oe_oci("verify", built.layout)
    tools.oe_oci("verify", built.archive)


def test_a_name_more_that_umoci_gives(built):
    tools.run("umoci", "tag", "--image", f"{built.layout}:latest", "2.0")
    refresh(*built.words)
    tools.oe_oci("verify", built.archive)
    with tools.Podman() as podman:
        podman("load", "-i", built.archive)
        assert set(podman.names()) == {"localhost/app:2.0", "localhost/app:latest"}


def test_engines_load_what_was_changed_under_its_name(built):
    tools.run("umoci", "config", "--image", f"{built.layout}:latest", "--config.env", "CHANGED=yes")
    refresh(*built.words)
    with tools.Podman() as podman:
        podman("load", "-i", built.archive)
        assert podman.names() == ["localhost/app:latest"]
        assert "CHANGED=yes" in podman("image", "inspect", "localhost/app:latest").stdout
    with tools.Docker() as docker:
        docker("load", "-i", built.archive)
        assert docker.names() == ["localhost/app:latest"]


def test_what_skopeo_puts_in_the_layouts_place(built, busybox, folder):
    """Its entry of the index says nothing but the tag."""
    (folder / "other").mkdir()
    other = Built(folder / "other", busybox, 'OCI_IMAGE_STOPSIGNAL = "SIGUSR1"')
    tools.skopeo_copy(f"oci:{other.layout}:latest", f"oci:{built.layout}:latest")
    report = refresh(*built.words)
    assert report["image"]["name"] == "localhost/app:latest"
    assert built.inspect(f"oci-archive:{built.archive}:latest")["config"]["StopSignal"] == "SIGUSR1"
    with tools.Podman() as podman:
        podman("load", "-i", built.archive)
        assert podman.names() == ["localhost/app:latest"]
        assert "SIGUSR1" in podman("image", "inspect", "localhost/app:latest").stdout
    tools.oe_oci("verify", built.archive)
