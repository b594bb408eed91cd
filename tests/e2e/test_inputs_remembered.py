# SPDX-License-Identifier: MIT
"""Inputs that an earlier build read: the image is the same, and what did not change is not opened to plan it."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import tarfile
import time
from typing import TYPE_CHECKING, Any

import pytest
from support import compare, packages, tools
from support.layouts import file, folder, hardlink, symlink

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIB = packages.package(
    "lib",
    files=[
        folder("./"),
        folder("./etc/"),
        file("./etc/lib.conf", b"lib\n"),
        folder("./usr/"),
        packages.Owned("./usr/lib.so", b"lib" * 9000, mode=0o4755, user="shop", group="shop"),
        hardlink("./usr/lib.so.1", "./usr/lib.so"),
        symlink("./usr/grün", "lib.so"),
    ],
    scripts={"conffiles": "/etc/lib.conf\n", "postinst": "#!/bin/sh\n"},
)
TOOL = packages.package("tool", files={"bin/tool": b"tool" * 9000, "usr/share/tool": b"t"}, Depends="lib")
MORE = packages.package("more", files={"opt/more": b"more"}, scripts={"md5sums": "0  opt/more\n"}, Depends="tool")
CONF = """\
PV = "1.2.3"
SOURCE_DATE_EPOCH = "1700000000"
OCI_BASE_IMAGE = "{base}"
OCI_LAYERS = "\\
    tools:packages:tool,more \\
    files:directories:/srv \\
"
OCI_IMAGE_ACCOUNTS = "user:shop:1000"
"""
# The product, which may not unpack anything, nor hash any file that is larger than an index.
SEALED = """\
import sys
from oe_oci import content, decompress, digests
from oe_oci.packages import payload

def refuse(*_, **__):
    raise AssertionError("an input was opened")

def digest(found):
    return refuse() if isinstance(found, (content.File, content.Region)) else content.content_digest(found)

payload.read_package = decompress.decompress = refuse
digests.content_digest = digest
from oe_oci.cli import main
sys.exit(main())
"""


class Inputs:
    """A base image with packages, a feed and a rootfs, and the folder of what is remembered of them."""

    def __init__(self, place: Path, *, archived: bool, indexed: bool, compression: str) -> None:
        self.place = place
        place.mkdir()
        self.feed = packages.write_feed(place / "feed", [LIB, TOOL, MORE], index="Packages" if indexed else "")
        (place / "base.conf").write_text(
            'SOURCE_DATE_EPOCH = "1"\nOCI_LAYERS = "base:packages:lib"\nOCI_PACKAGE_SCRIPTS = "skip"\n'
        )
        tools.build(place / "base.conf", place / "deploy", "--feed", self.feed, "--cache-dir", place / "other")
        self.base = place / "deploy" / ("base-oci.tar" if archived else "base-oci")
        self.rootfs = place / f"rootfs.tar{compression}"
        with tarfile.open(self.rootfs, f"w:{compression[1:]}") as archive:
            for member in (folder("srv"), file("srv/data", b"data" * 5000)):
                archive.addfile(member.info(), io.BytesIO(member.data))
        (place / "app.conf").write_text(CONF.format(base=self.base))
        time.sleep(2.1)  # a file that is younger is not trusted

    def words(self, command: str, *more: Any) -> list[Any]:
        return [command, self.place / "app.conf", "--feed", self.feed, "--rootfs", self.rootfs, *more]

    def build(self, *more: Any) -> dict[str, str]:
        deploy = self.place / "out"
        shutil.rmtree(deploy, ignore_errors=True)
        tools.oe_oci(*self.words("build", "--deploy-dir", deploy, *more))
        return compare.contents(deploy)


@pytest.fixture(params=[(False, True, ".gz"), (True, False, "")], ids=["index, layout, gz", "no index, archive, tar"])
def inputs(request, tmp_path) -> Inputs:
    tools.need_own_disk(tmp_path)
    archived, indexed, compression = request.param
    return Inputs(tmp_path / "in", archived=archived, indexed=indexed, compression=compression)


@pytest.fixture
def plan(inputs, tmp_path) -> Callable[..., Any]:
    """Plans by a product that may open nothing."""

    def made(*more: Any, status: int | None = 0) -> Any:
        words = inputs.words("plan", "--json", "--deploy-dir", inputs.place / "out", *more)
        done = tools.run(sys.executable, "-c", SEALED, *words, cwd=tmp_path, status=status)
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr

    return made


def test_the_image_is_the_same(inputs, tmp_path):
    memory = ("--cache-dir", tmp_path / "memory")
    expected = inputs.build("--set", "OCI_LAYER_CACHE=0")
    assert not (tmp_path / "memory").exists()
    assert inputs.build(*memory) == expected
    assert inputs.build(*memory) == expected
    assert inputs.build(*memory, "--jobs", "4") == expected
    assert inputs.build(*memory, "--paranoid") == expected
    shutil.rmtree(tmp_path / "memory" / "entries")  # all is made again, of what is remembered
    assert inputs.build(*memory) == expected
    shutil.rmtree(tmp_path / "memory" / "digests")
    assert inputs.build(*memory) == expected
    for path in (tmp_path / "memory").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-1])
    assert inputs.build(*memory) == expected


def test_a_plan_opens_nothing_that_did_not_change(inputs, plan, tmp_path):
    memory = ("--cache-dir", tmp_path / "memory")
    assert "an input was opened" in plan(*memory, status=None)
    inputs.build(*memory)
    planned = plan(*memory)
    assert [layer["changed"] > 0 for layer in planned["layers"]] == [True, True]
    assert "an input was opened" in plan(*memory, "--paranoid", status=None)


def test_each_change_is_seen(inputs, tmp_path):
    memory = ("--cache-dir", tmp_path / "memory")
    inputs.build(*memory)
    other = packages.package("more", files={"opt/more": b"MORE"}, Depends="tool")
    index = "Packages" if (inputs.feed / "Packages").exists() else ""
    packages.write_feed(inputs.feed, [LIB, TOOL, other], index=index)
    changed = inputs.build(*memory)
    assert changed == inputs.build("--set", "OCI_LAYER_CACHE=0")
    with tarfile.open(inputs.rootfs, f"w:{inputs.rootfs.suffix.strip('.').replace('tar', '')}") as archive:
        archive.addfile(folder("srv").info())
    again = inputs.build(*memory)
    assert again != changed
    assert again == inputs.build("--set", "OCI_LAYER_CACHE=0")
    os.unlink(inputs.feed / TOOL.name)
    words = inputs.words("build", "--deploy-dir", inputs.place / "out")
    errors = [tools.oe_oci(*words, *how, status=2).stderr for how in (memory, ("--set", "OCI_LAYER_CACHE=0"))]
    assert errors[0] == errors[1]
