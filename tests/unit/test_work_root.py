# SPDX-License-Identifier: MIT
"""The directory that package managers install into: the tree on disk, with every fact, and back."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest
from support.tools import need_root

from oe_oci.content import Literal, Region, content_digest, whole
from oe_oci.digests import Digests
from oe_oci.errors import InputError, ToolError
from oe_oci.packages.native.root import WorkRoot, check_rights
from oe_oci.tree import BLOCK, CHAR, DIRECTORY, FIFO, FILE, SYMLINK, Entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EPOCH = 1_600_000_000
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
TOP = {"": Entry(DIRECTORY, 0o755, mtime=5)}


@pytest.fixture(autouse=True)
def _as_root() -> None:
    need_root()


@pytest.fixture
def work(tmp_path: Path) -> Iterator[WorkRoot]:
    with WorkRoot(str(tmp_path / "work"), EPOCH) as root:
        yield root


def file(data: bytes, mode: int = 0o644, **facts) -> Entry:
    return Entry(FILE, mode, size=len(data), content=Literal(data), **facts)


def path_of(work: WorkRoot, name: str) -> str:
    return os.path.join(work.path, name)


def write(work: WorkRoot, name: str, data: bytes) -> None:
    """Change a file in place, as a script would."""
    with open(path_of(work, name), "wb") as opened:
        opened.write(data)


EVERYTHING = {
    **TOP,
    "bin": Entry(SYMLINK, 0o777, uid=3, gid=4, mtime=7, target="usr/bin"),
    "dev": Entry(DIRECTORY, 0o755),
    "dev/loop": Entry(BLOCK, 0o660, gid=6, device=(259, 70000)),
    "dev/null": Entry(CHAR, 0o666, device=(1, 3)),
    "dev/pipe": Entry(FIFO, 0o620, uid=9),
    "secret": Entry(DIRECTORY, 0, uid=77, mtime=3),
    "secret/deep": Entry(DIRECTORY, 0o500),
    "secret/deep/none": file(b"", 0),
    "usr": Entry(DIRECTORY, 0o3770, uid=12, gid=34, mtime=EPOCH + 9),
    "usr/link": file(b"two names", 0o600, uid=1, mtime=2, inode="i"),
    "usr/linked": file(b"two names", 0o600, uid=1, mtime=2, inode="i"),
    "usr/ping": file(b"ping", 0o755, uid=5, gid=6, xattrs=(("security.capability", CAPABILITY),)),
    "usr/su": file(b"su", 0o6755, uid=1234, gid=3_000_000_000, mtime=EPOCH - 5),
    "usr/gr\udcfcn": file(b"name of bytes"),
}


def test_every_fact_is_on_disk(work):
    work.sync(EVERYTHING)
    kinds = {FILE: stat.S_IFREG, DIRECTORY: stat.S_IFDIR, SYMLINK: stat.S_IFLNK, FIFO: stat.S_IFIFO}
    kinds |= {CHAR: stat.S_IFCHR, BLOCK: stat.S_IFBLK}
    for path, entry in EVERYTHING.items():
        name = os.path.join(work.path.encode(), path.encode("utf-8", "surrogateescape"))
        facts = os.lstat(name)
        assert facts.st_mode == kinds[entry.kind] | entry.mode, path
        assert (facts.st_uid, facts.st_gid, facts.st_mtime_ns) == (entry.uid, entry.gid, entry.mtime * 10**9), path
        if entry.kind == FILE:
            with open(name, "rb") as opened:
                assert opened.read() == entry.content.data
        elif entry.kind == SYMLINK:
            assert os.readlink(name).decode() == entry.target
        elif entry.kind in (CHAR, BLOCK):
            assert (os.major(facts.st_rdev), os.minor(facts.st_rdev)) == entry.device
    assert os.getxattr(path_of(work, "usr/ping"), "security.capability") == CAPABILITY
    assert os.path.samefile(path_of(work, "usr/link"), path_of(work, "usr/linked"))
    count = sum(len(names) + len(folders) for _, folders, names in os.walk(work.path))
    assert count == len(EVERYTHING) - 1


@pytest.mark.parametrize("mtime", [10**10, 2**63 // 10**9 + 1])
def test_times_after_those_that_64_bits_of_nanoseconds_have(work, mtime):
    entries = {**TOP, "d": Entry(DIRECTORY, 0o755, mtime=mtime), "f": file(b"f", mtime=mtime)}
    entries["l"] = Entry(SYMLINK, 0o777, mtime=mtime, target="f")
    work.sync(entries)
    work.begin()
    os.mkdir(path_of(work, "made"))
    os.symlink("f", path_of(work, "linked"))
    for name in ("made", "linked"):
        os.utime(path_of(work, name), (mtime, mtime), follow_symlinks=False)
    found = work.scan()
    assert {found[name].mtime for name in ("made", "linked")} == {EPOCH}
    assert all(found[name] is entries[name] for name in ("d", "l"))
    assert found["f"]._replace(content=None) == entries["f"]._replace(content=None)


def test_what_no_tool_changed_has_the_entry_it_had(work):
    work.sync(EVERYTHING)
    work.begin()
    found = work.scan()
    assert found.keys() == EVERYTHING.keys()
    assert all(found[path] is entry for path, entry in EVERYTHING.items())


def test_the_entry_it_had_is_the_last_one_that_was_given(work):
    work.sync({**TOP, "a": file(b"a")})
    again = {**TOP, "a": file(b"a")}
    work.sync(again)
    work.begin()
    assert work.scan()["a"] is again["a"]


def test_only_what_differs_is_written(work):
    work.sync(EVERYTHING)
    before = {path: os.lstat(path_of(work, path)).st_ctime_ns for path in ("usr/ping", "dev/null", "secret/deep/none")}
    work.sync({**EVERYTHING, "usr/su": file(b"other"), "usr/new": file(b"new")})
    assert before == {path: os.lstat(path_of(work, path)).st_ctime_ns for path in before}
    assert (work.source.entry("usr/su").size, work.source.entry("usr/new").size) == (5, 3)
    assert os.lstat(path_of(work, "usr")).st_mtime == EPOCH + 9


def test_kinds_change_and_things_go(work):
    work.sync({**TOP, "a": Entry(DIRECTORY, 0o755), "a/b": file(b"b"), "c": Entry(SYMLINK, 0o777, target="a")})
    work.sync({**TOP, "a": file(b"a"), "c": Entry(DIRECTORY, 0o755), "c/d": file(b"d")})
    assert os.path.isfile(path_of(work, "a"))
    assert sorted(os.listdir(work.path)) == ["a", "c"]
    assert os.path.isfile(path_of(work, "c/d"))
    assert not os.path.islink(path_of(work, "c"))


def test_names_of_an_inode_part_and_join(work):
    one, both = file(b"one"), file(b"both", inode="i")
    work.sync({**TOP, "a": both, "b": both, "c": one})
    work.sync({**TOP, "a": one, "b": both._replace(inode=None), "c": one})
    assert {os.lstat(path_of(work, name)).st_nlink for name in "abc"} == {1}
    work.sync({**TOP, "a": both, "b": both, "c": both})
    assert {os.lstat(path_of(work, name)).st_nlink for name in "abc"} == {3}


def test_what_a_tool_made_has_the_epochs_time_and_what_it_installed_its_own(work):
    work.sync({**TOP, "etc": Entry(DIRECTORY, 0o755, mtime=77)})
    work.begin()
    write(work, "made", b"made")
    os.mkdir(path_of(work, "folder"))
    for name, mtime in (("old", EPOCH - 3.75), ("late", EPOCH + 3), ("early", -4)):
        write(work, f"etc/{name}", name.encode())
        os.utime(path_of(work, f"etc/{name}"), (mtime, mtime))
    found = work.scan()
    times = {path: entry.mtime for path, entry in found.items()}
    assert times == {
        "": 5,
        "etc": 77,
        "made": EPOCH,
        "folder": EPOCH,
        "etc/old": EPOCH - 4,
        "etc/late": EPOCH,
        "etc/early": 0,
    }


def test_without_an_epoch_times_are_the_files_own(tmp_path):
    with WorkRoot(str(tmp_path / "work"), None) as work:
        work.sync(TOP)
        work.begin()
        write(work, "made", b"")
        write(work, "late", b"")
        os.utime(path_of(work, "late"), (EPOCH + 9, EPOCH + 9))
        found = work.scan()
        assert (found["made"].mtime, found["late"].mtime) == (0, EPOCH + 9)


def test_a_path_that_is_dated_has_the_epochs_time_whatever_its_own(work):
    work.sync(TOP)
    work.begin()
    write(work, "status", b"")
    os.utime(path_of(work, "status"), (9, 9))
    assert work.scan(lambda path: path == "status")["status"].mtime == EPOCH


def test_contents_are_known_when_a_tool_has_changed_them_in_place(work):
    """And those that are there now can be read."""
    digests = Digests()
    work.sync(TOP)
    work.begin()
    write(work, "conf", b"first")
    first = work.scan()
    work.sync(first)
    work.begin()
    write(work, "conf", b"other")  # the same size
    second = work.scan()
    assert digests(first["conf"].content) == hashlib.sha256(b"first").digest()
    assert digests(second["conf"].content) == hashlib.sha256(b"other").digest()
    assert whole(second["conf"].content) == b"other"


def test_the_same_bytes_written_again_are_no_change(work):
    work.sync(TOP)
    work.begin()
    write(work, "cache", b"same")
    first = work.scan()
    work.sync(first)
    work.begin()
    os.unlink(path_of(work, "cache"))
    write(work, "cache", b"same")
    second = work.scan()
    assert second["cache"] is first["cache"]
    assert whole(second["cache"].content) == b"same"


def test_a_change_right_after_the_writing_is_seen(work):
    """The clock of a file system stands still between two ticks."""
    for number in range(20):
        work.sync({**TOP, "file": file(b"%02d" % number)})
        work.begin()
        write(work, "file", b"xx")
        assert whole(work.scan()["file"].content) == b"xx"


def test_facts_of_what_a_tool_made_can_be_set(work):
    """Whose bytes lie nowhere but in the file itself."""
    work.sync(TOP)
    work.begin()
    write(work, "one", b"one")
    write(work, "two", b"two")
    os.link(path_of(work, "two"), path_of(work, "three"))
    found = work.scan()
    owned = {path: entry._replace(uid=7) for path, entry in found.items()}
    work.sync(owned)
    assert {os.lstat(path_of(work, name)).st_uid for name in ("one", "two", "three")} == {7}
    assert os.path.samefile(path_of(work, "two"), path_of(work, "three"))
    work.begin()
    assert {path: whole(entry.content) for path, entry in work.scan().items() if path} == {
        "one": b"one",
        "two": b"two",
        "three": b"two",
    }


def test_what_a_tool_links_is_one_inode(work):
    work.sync({**TOP, "a": file(b"a")})
    work.begin()
    os.link(path_of(work, "a"), path_of(work, "b"))
    found = work.scan()
    assert found["a"].inode == found["b"].inode != None  # noqa: E711 - all three
    work.sync(found)
    work.begin()
    os.unlink(path_of(work, "a"))
    assert work.scan()["b"].inode is None


def test_attributes_go(work):
    work.sync({**TOP, "ping": file(b"", xattrs=(("security.capability", CAPABILITY), ("user.a", b"1")))})
    work.sync({**TOP, "ping": file(b"", xattrs=(("user.a", b"2"),))})
    assert os.listxattr(path_of(work, "ping")) == ["user.a"]
    assert os.getxattr(path_of(work, "ping"), "user.a") == b"2"


def test_a_socket_is_no_part_of_an_image(work):
    work.sync({**TOP, "run": Entry(DIRECTORY, 0o755)})
    work.begin()
    with socket.socket(socket.AF_UNIX) as one:
        folder = os.open(path_of(work, "run"), os.O_PATH)
        one.bind(f"/proc/self/fd/{folder}/s")
        os.close(folder)
    assert work.scan().keys() == {"", "run"}
    work.sync(TOP)
    assert os.listdir(work.path) == []


def test_what_is_forgotten_is_gone(work):
    work.sync({**TOP, "var": Entry(DIRECTORY, 0o755)})
    work.begin()
    os.mkdir(path_of(work, "var/log"))
    write(work, "var/log/apt", b"")
    work.scan()
    assert sorted(work.forget("var/log")) == ["var/log", "var/log/apt"]
    assert work.scan().keys() == {"", "var"}


def test_nothing_is_left_at_the_end(tmp_path):
    with WorkRoot(str(tmp_path / "work"), EPOCH) as work:
        work.sync(EVERYTHING)
    assert os.listdir(tmp_path) == []
    missing = Region(b"/nowhere", 0, 1)
    work = WorkRoot(str(tmp_path / "work"), EPOCH)
    with pytest.raises(ToolError, match="nowhere"), work:
        work.sync({**EVERYTHING, "zz": Entry(FILE, 0o644, size=1, content=missing)})
    assert os.listdir(tmp_path) == []


def test_a_file_that_changed_meanwhile_is_not_written(work, tmp_path):
    place = tmp_path / "host"
    place.write_bytes(b"longer")
    with pytest.raises(InputError, match="host changed its size"):
        work.sync({**TOP, "a": Entry(FILE, 0o644, size=3, content=Region(os.fsencode(place), 0, 3))})


@pytest.mark.parametrize(
    ("call", "number", "entry"),
    [
        ("mknod", errno.EPERM, Entry(CHAR, 0o666, device=(1, 3))),
        ("chown", errno.EINVAL, file(b"", uid=70_000)),
    ],
)
def test_what_a_user_namespace_refuses_is_told_with_a_way_out(monkeypatch, work, call, number, entry):
    work.sync(TOP)

    def refuse(*_words, **_options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(ToolError, match=r"cannot make /x for a package manager") as caught:
        work.sync({**TOP, "x": entry})
    assert 'OCI_PACKAGE_MANAGER = "builtin"' in caught.value.hint


def test_who_is_not_root_is_told_the_ways_out(monkeypatch):
    check_rights("apt", "fakeroot")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ToolError, match="apt") as caught:
        check_rights("apt", "fakeroot")
    assert "fakeroot oe-oci" in caught.value.hint
    assert 'OCI_PACKAGE_MANAGER = "builtin"' in caught.value.hint


def test_digest_of_what_is_read_back(work):
    """Every kind of content ends as one that has its digest."""
    work.sync(TOP)
    work.begin()
    write(work, "empty", b"")
    write(work, "big", b"x" * (3 << 20))
    found = work.scan()
    for name in ("empty", "big"):
        assert found[name].content.digest.hex() == content_digest(found[name].content)
