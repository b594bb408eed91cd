# SPDX-License-Identifier: MIT
"""The same files as .deb and as .ipk, in either outer form, make the same tree but for the database."""

from __future__ import annotations

import gzip
import re
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support import compare, debian, merge, packages, tools
from support.layouts import Member, file, folder, hardlink, symlink

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

REAL = ("base-files", "bash", "curl", "python3-minimal")
FEWEST = 40
ARCHS = {"amd64": "core2-64", "arm64": "cortexa57", "all": "all"}
DATABASES = (b"var/lib/dpkg", b"var/lib/opkg", b"var/lib/apt")
CONF = """\
OCI_LAYERS = "\\
    base:packages:usr-merged-links,base-files,bash \\
    python:packages:python3-minimal,special \\
    tools:packages:curl \\
"
NO_RECOMMENDATIONS = "1"
OCI_PACKAGE_SCRIPTS = "skip"
SOURCE_DATE_EPOCH = "1600000000"
"""
LINKS = [
    *map(folder, ("./", "./usr/", "./usr/bin/", "./usr/lib/", "./usr/lib64/", "./usr/sbin/")),
    *(symlink(f"./{name}", f"usr/{name}") for name in ("bin", "lib", "lib64", "sbin")),
]
SPECIAL = [
    folder("./"),
    folder("./opt/", mode=0o1777, gid=5),
    file("./opt/su", b"su\n", mode=0o4755, uid=1234, pax=packages.xattrs(user__text=b"text")),
    hardlink("./opt/su-too", "./opt/su"),
    Member("./opt/null", kind=tarfile.CHRTYPE, device=(1, 3), mode=0o666),
    file("./bin/special", b"#!/bin/sh\n", mode=0o755),
    file("./etc/special.conf", b"conf\n"),
]
# Quick ones, as much is compressed here.
COMPRESS = {"gz": lambda data: gzip.compress(data, 1, mtime=0), "zst": packages.COMPRESSIONS["zst"]}
MADE = {"usr-merged-links": LINKS, "special": SPECIAL}


class Kind(NamedTuple):
    """A format of packages: the ending of their files, the outer form, and how the payload is compressed."""

    kind: str
    form: str
    compression: str


KINDS = {
    "ipk": Kind("ipk", "ar", "gz"),
    "ipk in the old form": Kind("ipk", "tar.gz", "gz"),
    "ipk as new tools write it": Kind("ipk", "ar", "zst"),
}


def made(kind: Kind) -> list[packages.Made]:
    arch = "all"
    return [
        packages.package(
            name, arch=arch, files=files, scripts={"conffiles": "/etc/special.conf\n"} if name == "special" else {},
            kind=kind.kind, form=kind.form, compression=kind.compression,
        )
        for name, files in MADE.items()
    ]  # fmt: skip


@pytest.fixture(scope="module")
def debs(room) -> Path:
    place = packages.write_feed(room / "debs", made(Kind("deb", "ar", "xz")), index="")
    for path in debian.packages(REAL).values():
        (place / path.name).write_bytes(path.read_bytes())
    return place


class Payload(NamedTuple):
    """A real package taken apart: its control files and its files as an uncompressed tar."""

    name: str
    control: dict[str, bytes]
    data: bytes


@pytest.fixture(scope="module")
def payloads() -> list[Payload]:
    found = []
    for path in debian.packages(REAL).values():
        done = subprocess.run(["dpkg-deb", "--fsys-tarfile", path], stdout=subprocess.PIPE, check=True)
        found.append(Payload(path.name, merge.control_files(path), done.stdout))
    return found


def repacked(payload: Payload, kind: Kind) -> tuple[str, bytes]:
    """A .deb as .ipk, its architecture in OE's words; opkg has one for each machine and takes no `name:any`."""
    control = dict(payload.control)
    text = control.pop("control").decode()
    arch = ARCHS[re.search(r"^Architecture: (.*)$", text, re.MULTILINE)[1]]  # type: ignore[index]
    text = re.sub(r"^Architecture: .*$", f"Architecture: {arch}", text, flags=re.MULTILINE)
    text = re.sub(r"(?m)^(Multi-Arch: .*\n)", "", re.sub(r":any\b", "", text))
    parts = [
        ("debian-binary", b"2.0\n"),
        ("control.tar.gz", COMPRESS["gz"](packages.control_tar(text.encode(), control))),
        (f"data.tar.{kind.compression}", COMPRESS[kind.compression](payload.data)),
    ]
    name = re.sub(r"_[a-z0-9]+\.deb$", f"_{arch}.ipk", payload.name)
    return name, packages.outer(parts, kind.form)


def write_ipks(place: Path, payloads: Iterable[Payload], kind: Kind) -> Path:
    packages.write_feed(place, made(kind), index="")
    for payload in payloads:
        name, data = repacked(payload, kind)
        (place / name).write_bytes(data)
    return place


class Built(NamedTuple):
    image: merge.Image
    report: dict[str, Any]
    layout: Path

    def names(self) -> list[list[tuple[str, str]]]:
        """The packages of each layer, with their versions."""
        return [
            sorted((package["name"], package["version"]) for package in layer["packages"])
            for layer in self.report["layers"]
        ]


def build(folder: Path, feed: Path, *words: str) -> Built:
    folder.mkdir()
    (folder / "app.conf").write_text(CONF, encoding="utf-8")
    report = tools.build(folder / "app.conf", folder / "deploy", "--feed", feed, *words)
    layout = folder / "deploy/app-oci"
    return Built(merge.read_image(layout), report, layout)


@pytest.fixture(scope="module")
def of_debs(room, debs) -> Built:
    return build(room / "of debs", debs)


@pytest.fixture(scope="module", params=KINDS)
def of_ipks(request, room, payloads) -> Built:
    feed = write_ipks(room / f"feed of {request.param}", payloads, KINDS[request.param])
    return build(room / f"built of {request.param}", feed)


def test_the_same_packages_and_the_same_tree(of_debs, of_ipks):
    assert of_ipks.names() == of_debs.names()
    assert sum(map(len, of_debs.names())) >= FEWEST
    expected, found = (merge.without(built.image.merged, *DATABASES) for built in (of_debs, of_ipks))
    compare.assert_same(expected, found, times=True)


def test_the_database_is_that_of_the_format(of_debs, of_ipks):
    for built, there, other in ((of_debs, "dpkg", "opkg"), (of_ipks, "opkg", "dpkg")):
        paths = set(built.image.merged)
        assert f"var/lib/{there}/status".encode() in paths
        assert f"var/lib/{there}/info/bash.list".encode() in paths
        assert not [path for path in paths if path.startswith(f"var/lib/{other}/status".encode())]
    archs = {package["architecture"] for layer in of_ipks.report["layers"] for package in layer["packages"]}
    assert len(archs) == 2
    assert archs <= set(ARCHS.values())


def test_the_layers_are_the_same_blobs_without_a_database(room, debs, payloads):
    """Then nothing in a layer says from which format it came."""
    ipks = write_ipks(room / "feed for blobs", payloads, KINDS["ipk"])
    words = ("--set", "OCI_PACKAGE_DATABASE=remove")
    one, other = (build(room / f"blobs of {feed.name}", feed, *words) for feed in (debs, ipks))
    assert [layer["digest"] for layer in one.report["layers"]] == [layer["digest"] for layer in other.report["layers"]]


def test_programs_run(of_ipks):
    tools.need_root()
    with tools.scratch("oe-oci-ipk-", 0o755) as folder:
        tools.oe_oci("unpack", of_ipks.layout, folder / "root")
        done = tools.run("chroot", folder / "root", "/bin/bash", "-ec", "python3 -c 'print(6 * 7)'; curl --version")
        assert done.stdout.startswith("42\ncurl ")


# ---- what only opkg's packages have


def test_fields_of_opkg(folder):
    """Fields of opkg's own are read, and those that dpkg would refuse are no error; versions may have `_`."""
    busybox = packages.package(
        "busybox", "1.36.1_p2-r0", "core2-64", {"bin/busybox.nosuid": b"busybox\n"}, kind="ipk",
        Alternatives="50:/bin/sh:/bin/busybox.nosuid, 50:/usr/bin/vi:/bin/busybox.nosuid", OE="busybox",
        ABIVersion="2", Source="busybox.bb", License="GPL-2.0-only", Tags="small", Status="unknown ok not-installed",
    )  # fmt: skip
    bash = packages.package(
        "bash", "5.2-r0", "core2-64", {"bin/bash": b"bash\n"}, kind="ipk", form="tar.gz",
        Alternatives="100:/bin/sh:/bin/bash", Depends="busybox (>= 1.36.1_p1)",
    )  # fmt: skip
    feed = packages.write_feed(folder / "feed", [busybox, bash], index="Packages.gz")
    (folder / "app.conf").write_text('OCI_LAYERS = "a:packages:busybox b:packages:bash"\nIMAGE_PKGTYPE = "ipk"\n')
    report = tools.build(folder / "app.conf", folder / "deploy", "--feed", feed)
    image = merge.read_image(folder / "deploy/app-oci")
    assert image.layers[0][b"bin/sh"].linkname == "/bin/busybox.nosuid"
    assert image.merged[b"bin/sh"].target == b"/bin/bash"
    assert image.merged[b"usr/bin/vi"].target == b"/bin/busybox.nosuid"
    assert [[package["name"] for package in layer["packages"]] for layer in report["layers"]] == [["busybox"], ["bash"]]
