# SPDX-License-Identifier: MIT
"""Layers of packages: the same packages give the same bytes, wherever their feed lies and whoever builds."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from support import compare, debian, packages, tools
from support.layouts import file, folder, hardlink, symlink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REAL = ("python3-minimal", "jq", "base-files", "bash")
CONF = """\
PV = "1.2.3"
SOURCE_DATE_EPOCH = "1700000000"
OCI_LAYERS = "base:packages:base-files,bash made:packages:made python:packages:python3-minimal,jq"
OCI_PACKAGE_SCRIPTS = "skip"
OCI_IMAGE_ACCOUNTS = "user:shop:1000"
"""
MADE = (
    packages.package(
        "made",
        arch="all",
        files=[
            folder("./"),
            folder("./opt/"),
            packages.Owned("./opt/su", b"su", mode=0o4755, user="shop", group="shop"),
            hardlink("./opt/su2", "./opt/su"),
            file("./opt/conf", b"conf\n", mtime=1_800_000_000),
            symlink("./opt/grün", "su"),
        ],
        scripts={"conffiles": "/opt/conf\n", "postinst": "#!/bin/sh\n"},
        Depends="data",
        Recommends="extra",
    ),
    packages.package("data", files={"opt/data": bytes(range(256)) * 4096}),
    packages.package("extra", files={"opt/extra": b"x"}),
    packages.package("other", files={"srv/other": b"other"}),
)


@pytest.fixture(scope="module")
def feed(room) -> Path:
    """Real packages and made ones, without an index."""
    place = packages.write_feed(room / "feed", MADE, index="")
    for path in debian.packages(REAL).values():
        shutil.copy(path, place)
    return place


@pytest.fixture(scope="module")
def product(room) -> tools.Copy:
    return tools.Copy(room / "product of packages")


class Builder:
    """Builds in a folder of its own each time; all else is the test's."""

    def __init__(self, feed: Path, product: tools.Copy, room: Path) -> None:
        self._feed = feed
        self._product = product
        self._room = room
        self._number = 0
        self.report: dict[str, Any] = {}

    def __call__(
        self,
        *words: str,
        conf: str = CONF,
        user: bool = False,
        umask: int = 0o022,
        feed: Path | None = None,
        **env: str,
    ) -> dict[str, str]:
        self._number += 1
        place = self._room / f"built {self._number}" / ("x" * self._number)
        place.mkdir(parents=True)
        (place / "app.conf").write_text(conf)
        deploy = place / "out"
        deploy.mkdir()
        prefix: tuple[str, ...] = ()
        if user:
            tools.give_to_nobody(place)
            prefix = tuple(tools.as_nobody())
        env = {"HOME": str(place), **env}
        command = [*prefix, self._product.program, "-m", "oe_oci", "build", place / "app.conf"]
        command += ["--feed", feed or self._feed, "--deploy-dir", deploy, *words]
        tools.run(*command, umask=umask, env=self._product.environment(**env), cwd=place)
        self.report = json.loads((deploy / "app-oci.json").read_text(encoding="utf-8"))
        found = compare.contents(deploy)
        shutil.rmtree(place)
        return found

    def blobs(self, layers: str, *lines: str) -> dict[str, str]:
        """The digest of each layer's blob, by its name, of an image with these layers."""
        # Accounts that no layer needs go into the last one.
        conf = "\n".join([CONF, 'OCI_IMAGE_ACCOUNTS = ""', *lines, ""])
        self("--set", f"OCI_LAYERS={layers}", conf=conf)
        return {layer["name"]: layer["digest"] for layer in self.report["layers"]}


@pytest.fixture(scope="module")
def builder(feed, product) -> Iterator[Builder]:
    with tools.scratch("oe-oci-feeds-", 0o755) as room:
        yield Builder(feed, product, room)


@pytest.fixture(scope="module")
def reference(builder) -> dict[str, str]:
    return builder("--jobs", "1")


def test_another_folder_and_more_threads(builder, reference):
    assert builder("--jobs", "4") == reference


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_umask(builder, reference, umask):
    assert builder(umask=umask) == reference


@pytest.mark.parametrize(
    "env",
    [
        {"TZ": "Asia/Kathmandu"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONHASHSEED": "1"},
        {"PYTHONHASHSEED": "4242"},
    ],
    ids=str,
)
def test_environment(builder, reference, env):
    assert builder(**env) == reference


def test_ordinary_user(builder, reference):
    """Owners, setuid bits and attributes never need to be set on disk."""
    assert builder(user=True) == reference
    (layer,) = (layer for layer in builder.report["layers"] if layer["name"] == "made")
    assert [package["name"] for package in layer["packages"]] == ["data", "made", "extra"]


def test_the_same_packages_elsewhere_with_an_index_and_other_times(builder, reference, feed, room):
    copy = room / "copy of the feed"
    for number, path in enumerate(sorted(feed.iterdir())):
        target = copy / ("some" if number % 2 else "others") / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        os.utime(target, (number, number))
    assert builder(feed=copy) == reference
    tools.need("dpkg-scanpackages")
    for part in copy.iterdir():
        (part / "Packages").write_text(tools.run("dpkg-scanpackages", "-m", ".", cwd=part).stdout, encoding="utf-8")
    assert builder(feed=copy) == reference


def test_two_feeds_of_the_same_in_either_order(builder, reference, feed, room):
    again = room / "the feed again"
    shutil.copytree(feed, again)
    assert builder("--feed", str(again)) == reference
    assert builder("--feed", str(feed), feed=again) == reference


@pytest.mark.parametrize("database", ["status.d", "remove"])
def test_a_layer_is_one_blob_in_images_whose_other_layers_differ(builder, database):
    """Where the database is not shared, what lies below and above does not matter."""
    line = f'OCI_PACKAGE_DATABASE = "{database}"'
    python = "python:packages:python3-minimal,jq"
    one = builder.blobs(f"base:packages:base-files,bash {python} made:packages:made", line)
    two = builder.blobs(f"base:packages:base-files,bash other:packages:other {python}", line)
    assert one["python"] == two["python"]
    assert one["base"] == two["base"]
    assert "made" in one
    kept = builder.blobs(f"base:packages:base-files,bash other:packages:other {python}")
    assert kept["python"] != one["python"]


def test_images_share_their_common_layers_where_the_database_is_kept(builder):
    first = builder.blobs("base:packages:base-files,bash python:packages:python3-minimal made:packages:made")
    second = builder.blobs("base:packages:base-files,bash python:packages:python3-minimal other:packages:other")
    assert [first[name] == second[name] for name in ("base", "python")] == [True, True]
