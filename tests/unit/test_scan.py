# SPDX-License-Identifier: MIT
"""Facts of a directory on disk, and of a rootfs given as an archive, are the same entries."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import tarfile

import pytest
from support.trees import directory
from support.user import run_as_user

from oe_oci.content import pieces
from oe_oci.errors import InputError
from oe_oci.rootfs import open_rootfs
from oe_oci.scan import Directory
from oe_oci.tree import Tree


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "file").write_bytes(b"data")
    os.link(root / "etc" / "file", root / "other")
    (root / "link").symlink_to("/absolute")
    os.mkfifo(root / "fifo")
    (root / ".hidden").write_bytes(b"")
    (root / os.fsdecode(b"odd\xff\nname")).write_bytes(b"x")
    os.chmod(root / "etc" / "file", 0o4711)
    os.utime(root / "etc" / "file", ns=(0, 1_999_999_999))
    os.utime(root / "etc", ns=(0, 50_000_000_000))
    return root


def scanned(root, time=lambda mtime: mtime, owner=None) -> dict:
    return dict(Directory(str(root), "rootfs", time, owner).walk(""))


def test_every_entry_is_found_with_its_facts(folder):
    found = scanned(folder)
    assert sorted(found) == ["", ".hidden", "etc", "etc/file", "fifo", "link", "odd\udcff\nname", "other"]
    entry = found["etc/file"]
    assert (entry.kind, entry.mode, entry.size, entry.mtime) == ("file", 0o4711, 4, 1)
    assert entry.inode == found["other"].inode is not None
    assert found[".hidden"].inode is None
    assert found["link"].target == "/absolute"
    assert found["fifo"].kind == "fifo"
    assert b"".join(map(bytes, pieces(found["odd\udcff\nname"].content))) == b"x"


def test_the_time_to_write_and_the_owner_are_given(folder):
    found = scanned(folder, lambda mtime: min(mtime, 20), (7, 8))
    assert found["etc"].mtime == 20
    assert {entry[2:4] for entry in found.values()} == {(7, 8)}


def test_attributes_are_found_but_not_this_hosts(folder):
    os.setxattr(folder / "etc" / "file", "user.note", b"\0\xff")
    os.setxattr(folder / "etc" / "file", "user.overlay.opaque", b"y")
    assert scanned(folder)["etc/file"].xattrs == (("user.note", b"\0\xff"),)


def test_a_checkouts_attributes_are_no_content_but_capabilities_are(folder):
    os.setxattr(folder / "etc" / "file", "user.xdg.origin.url", b"x")
    plain = Directory(str(folder), "host", int, (0, 0), plain_modes=True).entry("etc/file")
    assert plain.xattrs == ()
    assert plain.mode == 0o755
    if os.geteuid() == 0:
        capability = b"\1\0\0\2\0\4\0\0" + bytes(12)
        os.setxattr(folder / "etc" / "file", "security.capability", capability)
        again = Directory(str(folder), "host", int, (0, 0), plain_modes=True).entry("etc/file")
        assert again.xattrs == (("security.capability", capability),)


def test_a_socket_is_left_out_and_told_of(folder, caplog):
    with socket.socket(socket.AF_UNIX) as server:
        old = os.getcwd()
        os.chdir(folder)
        server.bind("sock")
        os.chdir(old)
    with caplog.at_level(logging.WARNING):
        assert "sock" not in scanned(folder)
    assert "sock is a socket; left out" in caplog.text


def test_the_root_may_be_a_link_but_nothing_inside_is_followed(folder, tmp_path):
    (tmp_path / "alias").symlink_to("root")
    (folder / "out").symlink_to(tmp_path)
    found = scanned(tmp_path / "alias")
    assert "etc/file" in found
    assert found["out"].kind == "symlink"


def test_an_unreadable_directory_is_a_clear_error(folder):
    os.chmod(folder / "etc", 0)
    imports = "from oe_oci.scan import Directory\nfrom oe_oci.errors import ToolError"
    code = """
try: list(Directory(sys.argv[1], "r", int).walk(""))
except ToolError as error: print(error)
"""
    assert run_as_user(imports, code, folder, within=folder) == (
        f"cannot read {folder}/etc: Permission denied\n"
        "  run as root or under fakeroot, or give the rootfs as a tar archive\n"
    )


def test_an_archive_of_a_directory_gives_the_same_entries(folder, tmp_path):
    subprocess.run(["tar", "-C", folder, "--format=posix", "-cf", tmp_path / "r.tar", "."], check=True)
    with open_rootfs(str(folder), 20) as one, open_rootfs(str(tmp_path / "r.tar"), 20) as other:
        first, second = dict(one.walk("")), dict(other.walk(""))
        assert [(p, e[:9]) for p, e in sorted(first.items())] == [(p, e[:9]) for p, e in sorted(second.items())]
        assert second["etc/file"].inode == second["other"].inode is not None
        for path, entry in second.items():
            if entry.content:
                assert list(map(bytes, pieces(entry.content))) == list(map(bytes, pieces(first[path].content)))


@pytest.mark.parametrize(("epoch", "time"), [(None, 0), (20, 20), (10**9, 50)])
def test_times_are_at_most_the_epoch(folder, epoch, time):
    with open_rootfs(str(folder), epoch) as source:
        assert source.entry("etc").mtime == time


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz"])
def test_compressed_archives(folder, tmp_path, ending):
    with tarfile.open(tmp_path / "r.tar", f"w:{ending}") as archive:
        archive.add(folder, ".")
    with open_rootfs(str(tmp_path / "r.tar"), None) as source:
        assert b"".join(map(bytes, pieces(source.entry("etc/file").content))) == b"data"


def archive_of(tmp_path, *members: tuple[str, dict]) -> str:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for name, facts in members:
            member = tarfile.TarInfo(name)
            for key, value in facts.items():
                setattr(member, key, value)
            archive.addfile(member)
    return str(path)


DIR, LINK, HARD = {"type": tarfile.DIRTYPE, "mode": 0o755}, tarfile.SYMTYPE, tarfile.LNKTYPE


def test_paths_through_links_of_the_archive_stay_inside(tmp_path):
    path = archive_of(
        tmp_path, ("usr/bin", DIR), ("bin", {"type": LINK, "linkname": "/usr/bin"}), ("bin/sh", {}), ("evil", {
            "type": LINK, "linkname": "../../.."}), ("evil/x", {}))  # fmt: skip
    with open_rootfs(path, None) as source:
        assert isinstance(source, Tree)
        assert sorted(source.entries) == ["", "bin", "evil", "usr", "usr/bin", "usr/bin/sh", "x"]
        assert source.entry("usr") == directory()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("../x", {})], "'../x': leaves the root with '..'"),
        ([("/etc/x", {})], "'/etc/x': absolute path in an archive\n  names are relative to the root"),
        ([("x", {"type": HARD, "linkname": "../../etc/passwd"})], "leaves the root with '..'"),
        ([("x", {"type": HARD, "linkname": "none"})], "/x: hard link to missing /none"),
        ([("a", {}), ("a/b", {})], "/a/b: lies in /a, which is no directory"),
        ([("a/b", {}), ("a", {})], "/a: a directory with files in it becomes something else"),
        ([], "an empty archive"),
    ],
)
def test_hostile_archives_are_refused(tmp_path, members, message):
    with pytest.raises(InputError) as caught, open_rootfs(archive_of(tmp_path, *members), None):
        pass
    assert message in str(caught.value)
