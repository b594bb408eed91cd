# SPDX-License-Identifier: MIT
"""What is unpacked is what the field's own tools unpack, path by path."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.blobs import layer, layout, member

from oe_oci.unpack import unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
SCRIPT = b"#!/bin/sh\necho hello\n"

# Members that are hard links have their targets' facts, as tar writes them: tools differ on which of the two hold.
BASE = layer(
    member("./", kind="d", mtime=1000),
    member("bin", kind="d", mtime=1001),
    member("bin/su", SCRIPT, mode=0o4111, mtime=1002),
    member("bin/ping", SCRIPT, mode=0o755, xattrs={"security.capability": CAPABILITY}, mtime=1003),
    member("bin/sgid", SCRIPT, mode=0o2755, uid=1234, gid=1235, mtime=1004),
    member("dev", kind="d", mtime=1005),
    member("dev/null", kind="c", mode=0o666, device=(1, 3), mtime=1006),
    member("dev/loop9", kind="b", mode=0o660, gid=6, device=(7, 9), mtime=1007),
    member("dev/initctl", kind="p", mode=0o600, mtime=1008),
    member("etc", kind="d", mtime=1009),
    member("etc/shadow", b"root:*:::::::\n", mode=0, mtime=1010),
    member("etc/lower", b"lower\n", mtime=1011),
    member("etc/removed", b"removed\n", mtime=1012),
    member("etc/link", kind="l", link="../bin/su", uid=7, gid=8, mtime=1013),
    member("etc/absolute", kind="l", link="/bin/su", mtime=1014),
    member("etc/dangling", kind="l", link="/no/such file", mtime=1015),
    member("opt", kind="d", mode=0o750, uid=1234, gid=1234, mtime=1016),
    member("opt/inner", kind="d", mtime=1017),
    member("opt/inner/hard", kind="h", link="bin/su", mode=0o4111, mtime=1002),
    member("opt/inner/gone", b"gone\n", mtime=1018),
    member("opt/attribute", b"", xattrs={"user.one": b"1", "user.binary": b"\0\xff\n="}, mtime=1019),
    member("tmp", kind="d", mode=0o1777, mtime=1020),
    member("locked", kind="d", mode=0, mtime=1021),
    member("locked/inside", b"inside\n", mode=0, uid=99, mtime=1022),
    member("becomes-dir", b"file\n", mtime=1023),
    member("becomes-file", kind="d", mtime=1024),
    member("becomes-file/child", b"child\n", mtime=1025),
    member("becomes-link", kind="d", mtime=1026),
    member("becomes-link/child", b"child\n", mtime=1027),
    member("opaque", kind="d", mtime=1028),
    member("opaque/lower", b"lower\n", mtime=1029),
    member("opaque/deep", kind="d", mtime=1030),
    member("opaque/deep/lower", b"lower\n", mtime=1031),
    member("huge-owner", b"", uid=4000000000, gid=3000000000, mtime=1032),
)
ODD = layer(
    member("odd", kind="d", mtime=2000),
    *(
        member(b"odd/" + name, name, mtime=2001)
        for name in (
            b"new\nline",
            b"-rf",
            b" two  blanks ",
            b"tab\t",
            "ünïcode".encode(),
            b"back\\slash",
            b"q'\"",
            b"n" * 255,
        )
    ),
    member("odd/" + "/".join(["d" * 60] * 4) + "/file", b"deep\n", mtime=2002),
    member("odd/" + "l" * 120, kind="l", link="t" * 300, mtime=2003),
    member("odd/" + "h" * 120, kind="h", link="odd/" + "n" * 255, mtime=2001),
)
TOP = layer(
    member("etc/.wh.removed"),
    member("etc", kind="d", mode=0o711, uid=5, mtime=3009),
    member("etc/lower", b"upper, and longer\n", mode=0o600, mtime=3011),
    member("opt/inner/.wh.gone"),
    member("opt/inner", kind="d", mtime=3017),
    member("opt/inner/new", b"new\n", mtime=3018),
    member("opt/inner/new2", kind="h", link="opt/inner/new", mtime=3018),
    member("becomes-dir", kind="d", mtime=3023),
    member("becomes-dir/child", b"child\n", mtime=3024),
    member("becomes-file", b"file\n", mtime=3025),
    member("becomes-link", kind="l", link="etc", mtime=3026),
    member("opaque/.wh..wh..opq"),
    member("opaque", kind="d", mtime=3028),
    member("opaque/upper", b"upper\n", mtime=3029),
    member("never/.wh.existed"),
    member("never", kind="d", mtime=3030),
)
LAST = layer(
    member("bin/.wh.sgid"),
    member("bin", kind="d", mtime=4001),
    member("opaque/.wh.upper"),
    member("opaque", kind="d", mode=0o700, mtime=4028),
    member("./", kind="d", mode=0o711, mtime=4000),
)
LAYERS = (BASE, ODD, TOP, LAST)
NOT_UTF8 = layer(
    member(b"\xff\xfe", b"x", mtime=5000),
    member(b"l\xe9", kind="l", link=b"\xff\xfe", mtime=5001),
    member(b"h\xe9", kind="h", link=b"\xff\xfe"),
    member("./", kind="d", mtime=5003),
)


@pytest.fixture(autouse=True)
def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can set owners and make devices")


def tool(name: str) -> str:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


def listing(root: Path) -> dict[bytes, dict[str, Any]]:
    """Every fact of every path; names of one inode by the least of them."""
    found: dict[bytes, dict[str, Any]] = {}
    first: dict[int, bytes] = {}
    top = os.fsencode(root)
    paths = [top]
    for folder, folders, files in os.walk(top):
        paths += [os.path.join(folder, name) for name in (*folders, *files)]
    for path in sorted(paths):
        status = os.lstat(path)
        name = os.path.relpath(path, top)
        entry: dict[str, Any] = {
            "mode": oct(status.st_mode),
            "owner": (status.st_uid, status.st_gid),
            "mtime": status.st_mtime,
            "device": (os.major(status.st_rdev), os.minor(status.st_rdev)),
            "xattrs": {
                key: os.getxattr(path, key, follow_symlinks=False)
                for key in os.listxattr(path, follow_symlinks=False)
                if key != "security.selinux"
            },
        }
        if not stat.S_ISDIR(status.st_mode):
            entry["links"] = status.st_nlink
            entry["inode"] = first.setdefault(status.st_ino, name)
        if stat.S_ISREG(status.st_mode):
            entry["data"] = Path(os.fsdecode(path)).read_bytes()
        elif stat.S_ISLNK(status.st_mode):
            entry["data"] = os.readlink(path)
        found[name] = entry
    return found


def ours(path: str, folder: Path, *, rootless: bool = False) -> dict[bytes, dict[str, Any]]:
    unpack(path, "latest", None, str(folder), rootless=rootless)
    return listing(folder)


def same(mine: dict[bytes, dict[str, Any]], theirs: dict[bytes, dict[str, Any]], unknown_times: set[bytes]) -> None:
    """Compare path by path; `unknown_times` are directories no layer holds, which tools give the time of the day."""
    assert sorted(mine) == sorted(theirs)
    for path, entry in mine.items():
        time = {"mtime": theirs[path]["mtime"]} if path in unknown_times else {}
        assert {**entry, **time} == theirs[path], path


# No layer says what these are; each tool makes them anew.
IMPLIED = {b"odd/" + b"/".join([b"d" * 60] * n) for n in range(1, 5)}


def umoci(path: str, folder: Path) -> dict[bytes, dict[str, Any]]:
    subprocess.run([tool("umoci"), "unpack", "--image", f"{path}:latest", str(folder)], check=True, capture_output=True)
    return listing(folder / "rootfs")


@pytest.mark.parametrize("number", range(1, len(LAYERS) + 1))
def test_as_umoci_unpacks(tmp_path: Path, number: int) -> None:
    path = layout(tmp_path / "layout", *LAYERS[:number])
    same(ours(path, tmp_path / "mine"), umoci(path, tmp_path / "theirs"), {*IMPLIED, b"odd"})


def test_names_that_are_not_utf8_as_umoci_unpacks_them(tmp_path: Path) -> None:
    path = layout(tmp_path / "layout", NOT_UTF8)
    same(ours(path, tmp_path / "mine"), umoci(path, tmp_path / "theirs"), set())


def test_after_skopeo_copied_it(tmp_path: Path) -> None:
    path = layout(tmp_path / "layout", *LAYERS)
    archive = f"{tmp_path}/image.tar"
    command = [tool("skopeo"), "--insecure-policy", "copy", "-q", f"oci:{path}:latest", f"oci-archive:{archive}:latest"]
    subprocess.run(command, check=True)
    assert ours(archive, tmp_path / "packed") == ours(path, tmp_path / "mine")


@contextlib.contextmanager
def buildah_mount(path: str, folder: Path) -> Iterator[Path]:
    """The image's file system as containers/storage applies layers, with a storage of its own."""
    program = [tool("buildah"), "--root", f"{folder}/root", "--runroot", f"{folder}/run", "--storage-driver", "vfs"]

    def run(*arguments: str) -> str:
        done = subprocess.run([*program, *arguments], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"buildah does not work here: {done.stderr.decode()[-200:]}")
        return done.stdout.decode().strip()

    name = run("from", "--pull-never", "-q", f"oci:{path}:latest")
    try:
        yield Path(run("mount", name))
    finally:
        run("rm", name)


def test_as_buildah_mounts_it(tmp_path: Path) -> None:
    path = layout(tmp_path / "layout", *LAYERS)
    mine = ours(path, tmp_path / "mine")
    with buildah_mount(path, tmp_path) as mounted:
        theirs = listing(mounted)
    same(mine, theirs, {*IMPLIED, b"."})  # it gives the root no time


def test_rootless_has_the_same_content(tmp_path: Path) -> None:
    path = layout(tmp_path / "layout", *LAYERS)
    mine, full = ours(path, tmp_path / "mine", rootless=True), umoci(path, tmp_path / "theirs")
    devices = {b"dev/null", b"dev/loop9"}
    assert sorted(mine) == sorted(set(full) - devices)
    kept = ("data", "links", "inode")
    for name, entry in mine.items():
        assert [entry.get(key) for key in kept] == [full[name].get(key) for key in kept], name
