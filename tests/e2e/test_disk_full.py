# SPDX-License-Identifier: MIT
"""A disk that fills up, at whatever point, ends a build with one message and leaves what was there."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest
from support import tools

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A megabyte that can not be compressed, and an image.conf of it."""
    (tmp_path / "data").mkdir()
    for number in range(4):
        (tmp_path / "data" / f"f{number}").write_bytes(random.Random(number).randbytes(256 << 10))
    (tmp_path / "app.conf").write_text('OCI_LAYERS = "data:host:data:/srv"\nOCI_IMAGE_AUTO_LABELS = "0"\n')
    return tmp_path


# What has room: nothing, a part of the layer, the layout alone, the layout and one archive.
@pytest.mark.parametrize("size", ["100k", "700k", "1300k", "2500k"])
@pytest.mark.parametrize("algorithm", ["gzip", "zstd", "none"])
def test_a_full_disk(source, size, algorithm):
    with tools.tmpfs(source / "disk", size) as disk:
        done = tools.oe_oci(
            "build", source / "app.conf", "--deploy-dir", disk / "deploy",
            "--set", f"OCI_LAYER_COMPRESSION={algorithm}",
            status=3,
        )  # fmt: skip
        lines = [line for line in done.stderr.splitlines() if "warning:" not in line]
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("oe-oci: cannot write ")
        assert lines[0].endswith("No space left on device")
        assert done.stdout == ""
        assert os.listdir(disk) == []


def test_a_full_disk_leaves_the_old_image(source):
    with tools.tmpfs(source / "disk", "4m") as disk:
        build = ["build", "-q", source / "app.conf", "--deploy-dir", disk / "deploy"]
        tools.oe_oci(*build, "--set", "OCI_IMAGE_TAR_OUTPUT=0")
        before = {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()}
        (disk / "filler").write_bytes(bytes(2 << 20))
        tools.oe_oci(*build, status=3)
        (disk / "filler").unlink()
        assert {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()} == before
        assert tools.oe_oci("verify", disk / "deploy" / "app-oci").stdout == "nothing found\n"


def test_no_room_to_unpack_a_rootfs(source):
    tools.run("tar", "-C", source, "-czf", source / "rootfs.tar.gz", "data")
    with tools.tmpfs(source / "disk", "500k") as disk:
        done = tools.oe_oci(
            "build", "-q", source / "app.conf", "--deploy-dir", disk / "deploy", "--rootfs", source / "rootfs.tar.gz",
            "--set", "OCI_LAYERS=a:directories:/data", status=3,
        )  # fmt: skip
        assert "No space left on device\n  free some space there" in done.stderr
        assert os.listdir(disk) == []


def test_no_room_to_unpack_an_image(source):
    tools.oe_oci("build", "-q", source / "app.conf", "--deploy-dir", source / "deploy")
    with tools.tmpfs(source / "disk", "500k") as disk:
        done = tools.oe_oci("unpack", source / "deploy" / "app-oci", disk / "root", status=3)
        assert "No space left on device" in done.stderr
        assert os.listdir(disk) == []
