# SPDX-License-Identifier: MIT
"""Packages that an earlier build read: recalled as they are, without opening them, and only where they are the same."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import time
from typing import TYPE_CHECKING

import pytest
from support import rpms
from support.layouts import Member, file, folder, hardlink, symlink, tar
from support.packages import COMPRESSIONS, Made, Owned, control_tar, outer, package, xattrs

from oe_oci import digests as digests_module
from oe_oci.content import Part, pieces
from oe_oci.digests import Digests
from oe_oci.errors import InputError, ToolError
from oe_oci.memory import Memory
from oe_oci.packages import payload as payload_module
from oe_oci.packages import recall
from oe_oci.packages.database import md5_of
from oe_oci.packages.package import Package
from oe_oci.packages.payload import Payloads
from oe_oci.packages.recall import PackageReader

if TYPE_CHECKING:
    from pathlib import Path

    from oe_oci.packages.contents import Contents

LATER = time.time_ns() + 3600 * 10**9  # when a build begins that may trust what was just written
IMAGE = "0" * 64
ODD = package(
    "odd",
    files=[
        folder("./"),
        folder("./usr/"),
        Owned("./usr/su", b"su" * 4000, mode=0o4755, user="shop", group="gruppe", uid=7, gid=1 << 22),
        hardlink("./usr/su2", "./usr/su"),
        hardlink("./usr/su3", "./usr/su2"),
        file("usr//plain", b"plain", mtime=-1),
        file("./usr/empty"),
        file("./usr/caf\udce9 \U0001f600\udc80", bytes(range(256))),
        symlink("./usr/link", "to\udcff"),
        file("./usr/able", b"x", pax=xattrs(security__capability=b"\1\0\0\2\0\x20\xff", user__x=b"")),
        Member("./usr/fifo", kind=tarfile.FIFOTYPE),
        Member("./usr/null", kind=tarfile.CHRTYPE, device=(1, 3)),
        file("./etc/conf", b"conf\n", mtime=1 << 33),
    ],
    scripts={"conffiles": "/etc/conf\n", "postinst": b"#!/bin/sh\n\xff\0\r\n", "md5sums": b""},
    Depends="plain",
    Section="caf\udce9",
)
PLAIN = package("plain", files={"usr/share/plain": b"plain"})
BARE = package("bare", files=[], kind="ipk", form="tar.gz")
ALL = (ODD, PLAIN, BARE)


def offered(place: Path, made: Made, *, indexed: bool = True) -> Package:
    """A package in a folder, as an index would give it, or as one without would."""
    place.mkdir(exist_ok=True)
    path = place / made.name
    path.write_bytes(made.data)
    names = (made.fields[key] for key in ("Package", "Version", "Architecture"))
    digest = hashlib.sha256(made.data).hexdigest()
    found = Package(*names, made.fields, str(path), len(made.data), digest, 0)
    return found if indexed else found._replace(size=None, digest=None)


class Builds:
    """Builds one after the other, each of which reads packages and remembers them."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def read(
        self, packages: list[Package], *, paranoid: bool = False, began: int | None = LATER, limit: int | None = None
    ) -> tuple[list[Contents], list[dict[str, bytes]]]:
        """What packages hold, and the bytes of their files."""
        digests = Digests(str(self.place / "digests" / IMAGE), paranoid=paranoid, began=began)
        memory = Memory(str(self.place), digests, IMAGE)
        with Payloads(notes=memory.notes) as payloads:
            reader = PackageReader(payloads, memory, 2, limit)
            found = reader.read(packages)
            self.held = [isinstance(one.payload, payload_module.Payload) and one.payload.held for one in found]
            memory.save()
            reader.hold(found)
            contents = [{m.path: m.entry.content for m in one.members if m.entry.content is not None} for one in found]
            texts = [{path: b"".join(map(bytes, pieces(c))) for path, c in one.items()} for one in contents]
        return [bare(one) for one in found], texts

    def error(self, packages: list[Package], **how) -> str:
        with pytest.raises((InputError, ToolError)) as caught:
            self.read(packages, **how)
        return str(caught.value)

    def files(self) -> list[Path]:
        return [path for path in self.place.rglob("*") if path.is_file()]


def bare(contents: Contents) -> Contents:
    """What a package holds, without what holds the bytes."""
    members = []
    for member in contents.members:
        content = member.entry.content
        if isinstance(content, Part):
            content = content._replace(holder=None)
        members.append(member._replace(entry=member.entry._replace(content=content)))
    return contents._replace(members=tuple(members), payload=None)


@pytest.fixture
def builds(tmp_path):
    return Builds(tmp_path / "memory")


@pytest.fixture
def hashed(monkeypatch):
    """The files that were hashed."""
    found = []
    hash_ = digests_module.content_digest

    def noted(content):
        if not isinstance(content, Part):
            found.append(os.path.basename(os.fsdecode(content.path)))
        return hash_(content)

    monkeypatch.setattr(digests_module, "content_digest", noted)
    return found


# ---- the same


@pytest.mark.parametrize("indexed", [True, False])
def test_a_round_trip_of_all_that_is_odd(tmp_path, builds, indexed):
    packages = [offered(tmp_path / "feed", made, indexed=indexed) for made in ALL]
    first = builds.read(packages)
    assert builds.held == [True] * 3
    odd = {member.path: member for member in first[0][0].members}
    assert odd["usr/su3"].entry.inode == odd["usr/su"].entry.inode == (packages[0].path, "usr/su")
    assert builds.read(packages) == first
    assert builds.held == [False] * 3
    shutil.rmtree(tmp_path / "memory" / "digests")
    assert builds.read(packages) == first
    assert builds.held == [False] * 3


def test_a_round_trip_of_an_rpm(tmp_path, builds):
    files = [
        *(rpms.file(path, b"su", 0o4755, user="shop", link="su") for path in ("/usr/su", "/usr/su2")),
        rpms.file("/usr/able", caps="cap_net_raw=ep"),
        rpms.file("/etc/caf\udce9.conf", flags=rpms.CONFIG),
        rpms.ghost("/var/ghost"),
    ]
    made = rpms.package("odd", "2:1.0-1", given=files, compression="zst", tags={1023: (rpms.STRING, b"caf\xe9")})
    feed = tmp_path / "feed"
    feed.mkdir()
    one = Package("odd", "2:1.0-1", "noarch", {}, str(made.write(feed)), None, None, 0)
    first, second = builds.read([one]), builds.read([one])
    assert builds.held == [False]
    assert first == second
    assert [member.entry.inode is not None for member in second[0][0].members] == [False, False, True, True]


def test_a_checksum_of_another_kind_must_have_been_looked_at(tmp_path, builds):
    one = offered(tmp_path / "feed", PLAIN)._replace(digest=None)
    builds.read([one])
    right, wrong = (hashlib.sha512(data).hexdigest() for data in (PLAIN.data, b"other"))
    assert "its SHA-512 is" in builds.error([one._replace(checksum=wrong)])
    first = builds.read([one._replace(checksum=right)])
    assert builds.held == [True]
    assert builds.read([one._replace(checksum=right)]) == first
    assert builds.held == [False]
    assert builds.read([one]) == first
    assert builds.held == [False]
    assert "its SHA-512 is" in builds.error([one._replace(checksum=wrong)])


def test_a_file_with_another_stamp_is_hashed(tmp_path, builds, hashed):
    packages = [offered(tmp_path / "feed", made, indexed=made is not PLAIN) for made in ALL]
    first = builds.read(packages)
    hashed.clear()
    for path in (tmp_path / "feed").iterdir():
        path.chmod(0o600)  # its stamp is another one now
    assert builds.read(packages) == first
    assert builds.held == [False] * 3
    assert sorted(hashed) == sorted(made.name for made in ALL)


def test_neither_opened_nor_hashed(tmp_path, builds, monkeypatch, hashed):
    packages = [offered(tmp_path / "feed", made, indexed=made is not PLAIN) for made in ALL]
    builds.read(packages)
    hashed.clear()
    opened = []
    read = payload_module.read_package
    monkeypatch.setattr(
        payload_module, "read_package", lambda path, *a, **k: opened.append(path) or read(path, *a, **k)
    )
    monkeypatch.setattr(PackageReader, "hold", lambda *_: opened.append("held"))
    builds.read(packages)
    # Those that hold files, and only once they were to be held.
    assert opened == ["held", packages[0].path, packages[1].path]
    assert hashed == []


def test_what_may_have_changed_unseen_is_hashed(tmp_path, builds, hashed):
    packages = [offered(tmp_path / "feed", made) for made in ALL]
    first = builds.read(packages, began=None)
    hashed.clear()
    assert builds.read(packages, began=None) == first
    assert builds.held == [False] * 3
    assert sorted(hashed) == sorted(made.name for made in ALL)


def test_paranoid(tmp_path, builds, hashed):
    packages = [offered(tmp_path / "feed", made) for made in ALL]
    first = builds.read(packages)
    hashed.clear()
    assert builds.read(packages, paranoid=True) == first
    assert sorted(hashed) == sorted(made.name for made in ALL)


def test_a_first_build_hashes_nothing_twice(tmp_path, builds, hashed):
    builds.read([offered(tmp_path / "feed", made) for made in ALL])
    assert hashed == []


def test_nothing_is_kept_without_a_folder(tmp_path):
    package_ = offered(tmp_path / "feed", ODD)
    with Payloads() as payloads:
        (found,) = PackageReader(payloads, Memory(), 2, None).read([package_])
        assert found.payload.held
    assert os.listdir(tmp_path) == ["feed"]


def test_a_feed_that_moved(tmp_path, builds):
    packages = [offered(tmp_path / "feed", made) for made in ALL]
    first = builds.read(packages)
    os.rename(tmp_path / "feed", tmp_path / "moved")
    moved = [one._replace(path=one.path.replace("/feed/", "/moved/")) for one in packages]
    contents, texts = builds.read(moved)
    assert builds.held == [False] * 3
    assert texts == first[1]
    inodes = {member.entry.inode for member in contents[0].members} - {None}
    assert inodes == {(moved[0].path, "usr/su")}


def test_equal_packages_at_two_paths_have_inodes_of_their_own(tmp_path, builds):
    packages = [offered(tmp_path / name, ODD) for name in ("1", "2")]
    for held in (True, False):
        contents, _ = builds.read(packages)
        assert builds.held == [held] * 2
        inodes = [{member.entry.inode for member in one.members} - {None} for one in contents]
        assert inodes == [{(package_.path, "usr/su")} for package_ in packages]


def test_md5_sums_are_kept(tmp_path, builds):
    package_ = offered(tmp_path / "feed", PLAIN)
    builds.read([package_])
    sums = []
    for _ in range(2):
        memory = Memory(
            str(tmp_path / "memory"), Digests(str(tmp_path / "memory" / "digests" / IMAGE), began=LATER), IMAGE
        )
        with Payloads(notes=memory.notes) as payloads:
            (found,) = PackageReader(payloads, memory, 1, None).read([package_])
            sums.append(md5_of(found.members[-1].entry.content))
            assert found.payload.held == (len(sums) == 1)
            memory.save()
    assert sums == [hashlib.md5(b"plain").hexdigest()] * 2


# ---- not the same


@pytest.mark.parametrize("indexed", [True, False])
def test_a_package_that_changed(tmp_path, builds, indexed):
    packages = [offered(tmp_path / "feed", made, indexed=indexed) for made in ALL]
    builds.read(packages)
    other = package("plain", files={"usr/share/plain": b"other"})
    changed = other._replace(name=PLAIN.name)
    packages[1] = offered(tmp_path / "feed", changed, indexed=indexed)
    _, texts = builds.read(packages)
    assert texts[1] == {"usr/share/plain": b"other"}
    assert builds.held == [False, True, False]


def test_errors_are_those_of_a_first_build(tmp_path, builds):
    packages = [offered(tmp_path / "feed", made) for made in ALL]
    builds.read(packages)
    memory, fresh = builds, Builds(tmp_path / "none")
    wrong = [
        [packages[0], packages[1]._replace(digest="00" * 32), packages[2]],
        [packages[0]._replace(version="2.0"), packages[1]._replace(digest="00" * 32)],
        [packages[1]._replace(size=7), packages[0]._replace(version="2.0")],
        [packages[2], packages[0]._replace(path=str(tmp_path))],
        [packages[1], packages[0]._replace(path=f"{tmp_path}/none.deb")],
    ]
    for asked in wrong:
        assert memory.error(asked) == fresh.error(asked)
    assert memory.error(packages, limit=3000) == fresh.error(packages, limit=3000)
    with open(packages[1].path, "r+b") as sink:
        sink.seek(200)
        sink.write(b"damage")
    os.utime(packages[1].path, ns=(1, 1))
    os.unlink(packages[2].path)
    for asked in (packages, packages[::-1], [packages[1]._replace(digest=None, size=None)]):
        assert memory.error(asked) == fresh.error(asked)


def test_a_bound_that_let_it_pass_lets_it_pass_again(tmp_path, builds):
    package_ = offered(tmp_path / "feed", ODD)
    builds.read([package_])
    for _ in range(2):
        builds.read([package_], limit=1 << 20)
    assert builds.held == [False]


def test_what_may_be_an_ipk_need_not_be_a_deb(tmp_path, builds):
    parts = [
        ("debian-binary", b"2.0\n"),
        ("data.tar.gz", COMPRESSIONS["gz"](tar([folder("./")]))),
        ("control.tar.gz", COMPRESSIONS["gz"](control_tar(PLAIN.fields))),
    ]
    made = Made(PLAIN.fields, outer(parts), "a.ipk")
    builds.read([offered(tmp_path / "feed", made)])
    renamed = offered(tmp_path / "feed", made._replace(name="a.deb"))
    assert "stands where control.tar must" in builds.error([renamed])


def test_a_package_that_changes_before_it_is_held(tmp_path, builds):
    packages = [offered(tmp_path / "feed", made) for made in ALL]
    builds.read(packages)
    memory = Memory(str(tmp_path / "memory"), Digests(str(tmp_path / "memory" / "digests" / IMAGE), began=LATER), IMAGE)
    with Payloads() as payloads:
        reader = PackageReader(payloads, memory, 2, None)
        found = reader.read(packages)
        for number in (1, 2):
            offered(tmp_path / "feed", package("x")._replace(name=ALL[number].name))
        with pytest.raises(InputError, match=r"plain_1.0_all.deb: changed after it was read"):
            reader.hold(found)
        assert not any(one.payload.held for one in found)


# ---- what is kept is damaged


@pytest.mark.parametrize("how", ["empty", "cut", "flipped", "a directory", "a fifo", "gone"])
def test_damage_costs_time_alone(tmp_path, builds, how):
    packages = [offered(tmp_path / "feed", made) for made in ALL]
    first = builds.read(packages)
    before = {path.relative_to(builds.place) for path in builds.files()}
    for path in builds.files():
        data = path.read_bytes()
        path.unlink()
        if how == "a directory":
            path.mkdir()
        elif how == "a fifo":
            os.mkfifo(path)
        elif how != "gone":
            flipped = data[:-70] + bytes([data[-70] ^ 1]) + data[-69:]
            path.write_bytes({"empty": b"", "cut": data[:-1], "flipped": flipped}[how])
        assert builds.read(packages) == first
        if path.is_dir():
            path.rmdir()
    assert builds.read(packages) == first
    assert builds.read(packages) == first
    assert builds.held == [False] * 3
    assert {path.relative_to(builds.place) for path in builds.files()} == before


def test_a_folder_that_can_not_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    packages = [offered(tmp_path / "feed", made) for made in ALL]
    builds = Builds(tmp_path / "file")
    assert builds.read(packages) == builds.read(packages)
    assert builds.held == [True] * 3


def test_a_value_of_another_version_is_not_used(tmp_path, builds, monkeypatch):
    packages = [offered(tmp_path / "feed", made) for made in ALL]
    first = builds.read(packages)
    monkeypatch.setattr(recall, "_VERSION", 0)
    assert builds.read(packages) == first
    assert builds.held == [True] * 3
