# SPDX-License-Identifier: MIT
from __future__ import annotations

import base64
import errno
import gc
import json
import os
import random
import shutil
import stat
import struct
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.blobs import Layer, LayoutMaker, layer, layout, member, pack

from oe_oci import unpack as unpack_module
from oe_oci.content import pieces
from oe_oci.errors import InputError, OciError, ToolError
from oe_oci.oci.layout import find_image, open_layout, read_image
from oe_oci.oci.spec import Platform
from oe_oci.stored import image_tree
from oe_oci.unpack import UnpackReport, unpack

if TYPE_CHECKING:
    from pathlib import Path

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can set owners and make devices")
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


@pytest.fixture(params=[pytest.param(False, marks=needs_root, id="root"), pytest.param(True, id="rootless")])
def rootless(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def facts(root: str | Path) -> dict[bytes, dict[str, Any]]:
    """What is on disk, by path; hard-linked names share an inode number's alias."""
    found: dict[bytes, dict[str, Any]] = {}
    top = os.fsencode(root)
    for folder, folders, files in os.walk(top):
        for name in [b"", *folders, *files] if folder == top else [*folders, *files]:
            path = os.path.join(folder, name) if name else folder
            status = os.lstat(path)
            entry: dict[str, Any] = {
                "type": stat.S_IFMT(status.st_mode),
                "mode": stat.S_IMODE(status.st_mode),
                "owner": (status.st_uid, status.st_gid),
                "mtime": status.st_mtime_ns / 10**9,
                "inode": status.st_ino,
                "device": (os.major(status.st_rdev), os.minor(status.st_rdev)),
                "xattrs": {key: os.getxattr(path, key, follow_symlinks=False) for key in listed(path)},
            }
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    entry["data"] = file.read()
            elif stat.S_ISLNK(status.st_mode):
                entry["data"] = os.readlink(path)
            found[os.path.relpath(path, top)] = entry
    return found


def listed(path: bytes) -> list[str]:
    return [name for name in os.listxattr(path, follow_symlinks=False) if name != "security.selinux"]


def left(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def refuse(tmp_path: Path, *layers: Layer, kind: type[OciError] = InputError, **options: Any) -> OciError:
    """What unpacking ends with; nothing is left behind."""
    path = layout(tmp_path / "in" / "layout", *layers)
    (tmp_path / "out").mkdir()
    rootless = options.pop("rootless", True)
    with pytest.raises(kind) as caught:
        unpack(path, None, None, str(tmp_path / "out" / "root"), rootless=rootless, **options)
    assert left(tmp_path / "out") == []
    assert left(tmp_path / "in") == ["layout"]
    return caught.value


def done(tmp_path: Path, *layers: Layer, rootless: bool = True, **options: Any) -> dict[bytes, dict[str, Any]]:
    path = layout(tmp_path / "in" / "layout", *layers)
    (tmp_path / "out").mkdir()
    unpack(path, None, None, str(tmp_path / "out" / "root"), rootless=rootless, **options)
    assert left(tmp_path / "out") == ["root", "root.owners.json"][: 1 + rootless]
    assert left(tmp_path) == ["in", "out"]
    return facts(tmp_path / "out" / "root")


# What is written.


@needs_root
def test_root_sets_everything(tmp_path):
    found = done(
        tmp_path,
        layer(
            member("./", kind="d", mode=0o751, uid=1, gid=2, mtime=5),
            member("tmp", kind="d", mode=0o1777, mtime=11),
            member("locked", kind="d", mode=0, uid=1234, gid=4321, mtime=12),
            member("locked/su", b"#!", mode=0o4111, uid=1234, mtime=13, xattrs={"security.capability": CAPABILITY}),
            member("locked/null", kind="c", mode=0o666, gid=6, device=(1, 3), mtime=14),
            member("locked/disk", kind="b", mode=0o660, device=(259, 300), mtime=15),
            member("locked/pipe", kind="p", mode=0o622, uid=9, mtime=16, xattrs={"trusted.t": b"\0\xff"}),
            member("locked/link", kind="l", link="/nowhere/at all", uid=7, gid=8, mtime=17),
            member("again", kind="h", link="locked/su"),
            member("null2", kind="h", link="locked/null"),
            member("link2", kind="h", link="locked/link"),
            member("none", b"secret", mode=0, mtime=18, xattrs={"user.a": b"", "user.b": b"1"}),
            member("sgid", kind="d", mode=0o2775, mtime=19, xattrs={"user.d": b"x"}),
            member("big", b"", uid=4294967294, gid=2147483648, mtime=20),
        ),
        rootless=False,
    )
    expected = {
        b".": ("d", 0o751, (1, 2), 5),
        b"tmp": ("d", 0o1777, (0, 0), 11),
        b"locked": ("d", 0, (1234, 4321), 12),
        b"locked/su": ("f", 0o4111, (1234, 0), 13),
        b"locked/null": ("c", 0o666, (0, 6), 14),
        b"locked/disk": ("b", 0o660, (0, 0), 15),
        b"locked/pipe": ("p", 0o622, (9, 0), 16),
        b"locked/link": ("l", 0o777, (7, 8), 17),
        b"none": ("f", 0, (0, 0), 18),
        b"sgid": ("d", 0o2775, (0, 0), 19),
        b"big": ("f", 0o644, (4294967294, 2147483648), 20),
    }
    kinds = {"d": stat.S_IFDIR, "f": stat.S_IFREG, "c": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO,
             "l": stat.S_IFLNK}  # fmt: skip
    for path, (kind, *rest) in expected.items():
        assert [found[path][key] for key in ("type", "mode", "owner", "mtime")] == [kinds[kind], *rest], path
    assert set(found) == {*expected, b"again", b"null2", b"link2"}
    for name, other in ((b"again", b"locked/su"), (b"null2", b"locked/null"), (b"link2", b"locked/link")):
        assert found[name] == found[other]
    assert found[b"locked/su"]["xattrs"] == {"security.capability": CAPABILITY}
    assert found[b"locked/pipe"]["xattrs"] == {"trusted.t": b"\0\xff"}
    assert found[b"none"]["xattrs"] == {"user.a": b"", "user.b": b"1"}
    assert found[b"sgid"]["xattrs"] == {"user.d": b"x"}
    assert (found[b"locked/null"]["device"], found[b"locked/disk"]["device"]) == ((1, 3), (259, 300))
    assert found[b"locked/link"]["data"] == b"/nowhere/at all"
    assert found[b"none"]["data"] == b"secret"


def test_only_the_final_tree_is_written(tmp_path, rootless):
    found = done(
        tmp_path,
        layer(
            member("gone", b"1"), member("d/gone", b"1"), member("d/stays", b"2"), member("opaque/x", b"3"),
            member("file", b"4"), member("dir/x", b"5"), member("shared", b"6"),
            member("other", kind="h", link="shared"),
        ),
        layer(
            member(".wh.gone"), member("d/.wh.gone"), member("opaque/.wh..wh..opq"), member("opaque/y", b"33"),
            member("file", kind="d"), member("file/in", b"44"), member("dir", b"55"), member("other", b"66"),
        ),
        layer(member("late", kind="h", link="dir"), member("dir", kind="h", link="dir")),
        rootless=rootless,
    )  # fmt: skip
    data = {path: entry.get("data") for path, entry in found.items() if entry["type"] != stat.S_IFDIR}
    assert data == {
        b"d/stays": b"2", b"opaque/y": b"33", b"file/in": b"44", b"dir": b"55", b"late": b"55", b"shared": b"6",
        b"other": b"66",
    }  # fmt: skip
    assert found[b"late"]["inode"] == found[b"dir"]["inode"]
    assert found[b"shared"]["inode"] != found[b"other"]["inode"]


ODD = (
    b"new\nline",
    b"\xff\xfe not utf-8",
    b"-rf",
    b" blank ",
    "ünïcode/ß".encode(),
    b"*",
    b"back\\slash",
    b"\x1b[31m",
    b"a" * 255,
)


def test_odd_names(tmp_path, rootless):
    members = [member(name, name) for name in ODD]
    members += [member(b"l" + bytes([n]), kind="l", link=name) for n, name in enumerate(ODD, 65)]
    members += [member(b"h" + bytes([n]), kind="h", link=name) for n, name in enumerate(ODD, 65)]
    found = done(tmp_path, layer(*members), rootless=rootless)
    for number, name in enumerate(ODD, 65):
        assert found[name]["data"] == name
        assert found[b"l" + bytes([number])]["data"] == name
        assert found[b"h" + bytes([number])]["inode"] == found[name]["inode"]


@pytest.mark.parametrize("mask", [0, 0o027, 0o077])
def test_the_umask_does_not_matter(tmp_path, rootless, mask: int):
    old = os.umask(mask)
    try:
        made = layer(
            member("d", kind="d", mode=0o777), member("d/f", b"", mode=0o666), member("p", kind="p", mode=0o777)
        )
        found = done(tmp_path, made, rootless=rootless)
    finally:
        os.umask(old)
    assert [found[path]["mode"] for path in (b".", b"d", b"d/f", b"p")] == [0o755, 0o777, 0o666, 0o777]


@needs_root
def test_what_the_folder_around_hands_down_is_not_taken(tmp_path):
    entries = ((1, 7, -1), (2, 7, 99), (4, 7, -1), (16, 7, -1), (32, 0, -1))
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    try:
        os.setxattr(tmp_path, "system.posix_acl_default", acl)
    except OSError:
        pytest.skip("no ACLs on this file system")
    os.chown(tmp_path, 0, 99)
    os.chmod(tmp_path, 0o2755)
    path = layout(tmp_path / "a", layer(member("d", kind="d"), member("d/f", b"")))
    unpack(path, None, None, str(tmp_path / "root"), rootless=False)
    found = facts(tmp_path / "root")
    assert all(entry["xattrs"] == {} and entry["owner"] == (0, 0) for entry in found.values())
    assert [found[path]["mode"] for path in (b".", b"d", b"d/f")] == [0o755, 0o755, 0o644]


def test_big_and_empty_files_and_sizes(tmp_path):
    data = bytes(range(256)) * 4096 * 5 + b"end"
    path = layout(
        tmp_path / "a",
        layer(member("big", data), member("empty", b""), member("same", kind="h", link="big")),
        layer(member("big2", data), compression="none"),
    )
    for number, source in enumerate((path, pack(path))):
        report = unpack(source, "latest", Platform("linux", "amd64"), str(tmp_path / f"root{number}"), rootless=True)
        assert (report.entries, report.size) == (5, 2 * len(data))
        found = facts(tmp_path / f"root{number}")
        assert found[b"big"]["data"] == found[b"big2"]["data"] == data
        assert found[b"empty"]["data"] == b""


def test_report(tmp_path):
    path = layout(tmp_path / "a", layer(member("x", b"12")))
    report = unpack(path, None, None, str(tmp_path / "r"), rootless=True)
    assert report == UnpackReport(report.digest, str(tmp_path / "r"), str(tmp_path / "r.owners.json"), 2, 2)
    assert json.loads(json.dumps(report.to_json()))["digest"] == str(report.digest)
    assert report._replace(sidecar="").to_json()["sidecar"] is None
    assert report.text().splitlines() == [
        f"{report.digest} in {tmp_path}/r: 2 paths, 2 B",
        f"owners, modes and devices in {tmp_path}/r.owners.json",
    ]
    assert len(report._replace(sidecar="").text().splitlines()) == 1


def test_no_descriptor_stays_open(tmp_path):
    gc.collect()  # what earlier tests' errors still hold
    before = os.listdir("/proc/self/fd")
    done(tmp_path, layer(*(member(f"d{n}/e/f", b"x") for n in range(300))))
    assert len(os.listdir("/proc/self/fd")) == len(before)


# Without root.


def test_rootless_keeps_in_the_sidecar_what_only_root_may_set(tmp_path):
    found = done(
        tmp_path,
        layer(
            member("su", b"1", mode=0o6755, uid=5, gid=6, xattrs={"security.capability": CAPABILITY, "user.u": b"v"}),
            member("locked", kind="d", mode=0, uid=9),
            member("locked/secret", b"2", mode=0),
            member("tmp", kind="d", mode=0o1777),
            member("null", kind="c", mode=0o666, device=(1, 3)),
            member("null2", kind="h", link="null"),
            member("pipe", kind="p", mode=0o600),
            member(b"\xff", kind="l", link="x", uid=3),
        ),
    )
    me = (os.geteuid(), os.getegid())
    assert {entry["owner"] for entry in found.values()} == {me}
    modes = {path: entry["mode"] for path, entry in found.items()}
    assert modes == {
        b".": 0o755, b"su": 0o755, b"locked": 0o700, b"locked/secret": 0o400, b"tmp": 0o1777, b"pipe": 0o600,
        b"\xff": 0o777,
    }  # fmt: skip
    assert "security.capability" not in found[b"su"]["xattrs"]
    with open(tmp_path / "out" / "root.owners.json", encoding="ascii") as file:
        document = json.load(file)
    assert document["version"] == 1
    assert document["image"].startswith("sha256:")
    assert [fact.get("path") for fact in document["paths"]] == [
        "/", "/locked", "/locked/secret", "/null", "/null2", "/pipe", "/su", "/tmp", None
    ]  # fmt: skip
    by_path = {fact.get("path"): fact for fact in document["paths"]}
    assert by_path["/null"] == {
        "path": "/null", "kind": "char", "mode": "0666", "uid": 0, "gid": 0, "device": [1, 3]
    }  # fmt: skip
    assert by_path["/null2"]["device"] == [1, 3]
    assert (by_path["/su"]["mode"], by_path["/su"]["uid"], by_path["/su"]["gid"]) == ("6755", 5, 6)
    xattrs = {"security.capability": base64.b64encode(CAPABILITY).decode(), "user.u": base64.b64encode(b"v").decode()}
    assert by_path["/su"]["xattrs"] == xattrs
    assert base64.b64decode(by_path[None]["path_base64"]) == b"/\xff"


HOSTILE_MODES = layer(
    member("a", kind="d", mode=0), member("a/b", kind="d", mode=0), member("a/b/f", b"x" * 70000, mode=0),
    member("dev", kind="c", device=(1, 3)), member("su", b"1", mode=0o4755, uid=4), member("h", kind="h", link="a/b/f"),
    member("bin", b"2", mode=0o444, xattrs={"user.x": b"1", "trusted.y": b"2"}),
)  # fmt: skip


def as_nobody(work: Any) -> str:
    """What `work(folder)` returns, or raises, in a process that is not root; the folder is its own."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    folder = tempfile.mkdtemp()
    os.chown(folder, 65534, 65534)
    result, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            text = work(folder)
        except BaseException as error:  # noqa: BLE001 - the child has nobody to tell but its parent
            text = f"{type(error).__name__}: {error}"
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    with open(result, encoding="utf-8") as file:
        text = file.read()
    os.waitpid(child, 0)
    shutil.rmtree(folder)
    return text


def test_somebody_else_unpacks_without_root():
    def work(folder: str) -> str:
        path = layout(f"{folder}/a", HOSTILE_MODES)
        unpack(path, None, None, f"{folder}/root", rootless=True)
        found = facts(f"{folder}/root")
        assert found[b"a/b/f"]["data"] == b"x" * 70000
        assert found[b"h"]["inode"] == found[b"a/b/f"]["inode"]
        return " ".join(sorted(os.listdir(folder)))

    assert as_nobody(work) == "a root root.owners.json"


def test_somebody_else_leaves_nothing_behind():
    def work(folder: str) -> str:
        bad = layer(member("f" * 256, b"")), layer(member("f" * 256 + "/g", b""))
        errors = []
        for number, last in enumerate(bad):
            path = layout(f"{folder}/{number}", HOSTILE_MODES, last)
            try:
                unpack(path, None, None, f"{folder}/root", rootless=True)
            except InputError as error:
                errors.append(error.message.rpartition(":")[2].strip())
        return f"{errors} {sorted(os.listdir(folder))}"

    assert as_nobody(work) == "['File name too long', 'File name too long'] ['0', '1']"


def test_somebody_else_is_told_of_rootless():
    def work(folder: str) -> str:
        unpack(f"{folder}/a", None, None, f"{folder}/root", rootless=False)
        return "done"

    text = as_nobody(work)
    assert text.startswith("ToolError: only root can give the files their owners")
    assert "--rootless" in text


def test_a_folder_one_may_not_write_to():
    def work(folder: str) -> str:
        path = layout(f"{folder}/a", HOSTILE_MODES)
        unpack(path, None, None, "/root-owned", rootless=True)
        return "done"

    assert as_nobody(work) == "ToolError: cannot write /: Permission denied"


# The destination.


def test_an_empty_directory_is_taken(tmp_path, rootless):
    path = layout(tmp_path / "a", layer(member("./", kind="d", mode=0o711), member("x", b"")))
    (tmp_path / "root").mkdir()
    unpack(path, None, None, str(tmp_path / "root") + "/", rootless=rootless)
    found = facts(tmp_path / "root")
    assert (set(found), found[b"."]["mode"]) == ({b".", b"x"}, 0o711)


def test_a_relative_destination(tmp_path, monkeypatch):
    path = layout(tmp_path / "a", layer(member("x", b"")))
    monkeypatch.chdir(tmp_path)
    assert unpack(path, None, None, "root", rootless=True).destination == "root"
    assert left(tmp_path) == ["a", "root", "root.owners.json"]


def test_a_long_name(tmp_path):
    path = layout(tmp_path / "a", layer(member("x", b"")))
    unpack(path, None, None, str(tmp_path / ("n" * 240)), rootless=True)
    assert "n" * 240 in left(tmp_path)


@pytest.mark.parametrize("kind", ["full", "file", "link", "dangling", "sidecar"])
def test_a_destination_in_use(tmp_path, kind: str):
    path = layout(tmp_path / "a", layer(member("x", b"")))
    root = tmp_path / "root"
    (tmp_path / "empty").mkdir()
    if kind == "full":
        root.mkdir()
        (root / "mine").write_text("kept")
    elif kind == "file":
        root.write_text("kept")
    elif kind == "sidecar":
        (tmp_path / "root.owners.json").write_text("kept")
    else:
        root.symlink_to("empty" if kind == "link" else "nowhere")
    before = left(tmp_path)
    with pytest.raises(InputError, match="root"):
        unpack(path, None, None, str(root), rootless=True)
    assert left(tmp_path) == before
    assert left(tmp_path / "empty") == []
    if kind == "full":
        assert (root / "mine").read_text() == "kept"


def test_a_missing_folder(tmp_path):
    path = layout(tmp_path / "a", layer(member("x", b"")))
    with pytest.raises(ToolError, match=r"cannot write .*/missing: No such file"):
        unpack(path, None, None, str(tmp_path / "missing" / "root"), rootless=True)


def test_something_takes_the_place_meanwhile(tmp_path, monkeypatch):
    path = layout(tmp_path / "a", layer(member("x", b"")))
    write = unpack_module._write_sidecar

    def late(*arguments: Any) -> None:
        write(*arguments)
        (tmp_path / "root").mkdir()
        (tmp_path / "root" / "mine").write_text("kept")

    monkeypatch.setattr(unpack_module, "_write_sidecar", late)
    with pytest.raises(ToolError, match="Directory not empty"):
        unpack(path, None, None, str(tmp_path / "root"), rootless=True)
    assert left(tmp_path) == ["a", "root"]
    assert left(tmp_path / "root") == ["mine"]


@pytest.fixture
def small_disk(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=False)
    if done.returncode:
        pytest.skip("mount is not allowed here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk(tmp_path, small_disk, rootless):
    path = layout(tmp_path / "a", layer(member("d/small", b"1"), member("d/big", random.Random(1).randbytes(2 << 20))))
    with pytest.raises(ToolError, match=r"cannot write /d/big: No space left on device") as caught:
        unpack(path, None, None, str(small_disk / "root"), rootless=rootless)
    assert caught.value.exit_code == 3
    assert left(small_disk) == []


def test_a_disk_that_is_full_at_once(tmp_path, small_disk):
    path = layout(tmp_path / "a", layer(member("x", b"")))
    # Its root and one directory.
    subprocess.run(["mount", "-o", "remount,nr_inodes=2", str(small_disk)], check=True)
    with pytest.raises(ToolError, match=f"cannot write {small_disk}: No space left on device"):
        unpack(path, None, None, str(small_disk / "root"), rootless=True)
    assert left(small_disk) == []


def test_a_mount_point(tmp_path, small_disk, rootless):
    path = layout(tmp_path / "a", layer(member("x", b"")))
    with pytest.raises(InputError, match="is a mount point"):
        unpack(path, None, None, str(small_disk), rootless=rootless)


def test_a_full_disk_for_the_sidecar(tmp_path, monkeypatch):
    path = layout(tmp_path / "a", layer(member("x", b"")))

    def full(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(unpack_module, "_facts", full)
    with pytest.raises(ToolError, match=r"owners\.json: No space left"):
        unpack(path, None, None, str(tmp_path / "root"), rootless=True)
    assert left(tmp_path) == ["a"]


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    path = layout(tmp_path / "a", HOSTILE_MODES)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(unpack_module._Writer, "link", interrupted)
    with pytest.raises(KeyboardInterrupt):
        unpack(path, None, None, str(tmp_path / "root"), rootless=True)
    assert left(tmp_path) == ["a"]


# Hostile layers.


@pytest.fixture
def outside(tmp_path):
    """A folder that layers try to write to; nothing in it may change."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_text("mine")
    before = facts(folder)
    yield folder
    assert facts(folder) == before
    shutil.rmtree(folder)


def test_writing_through_a_link_of_the_same_layer(tmp_path, outside, rootless):
    found = done(
        tmp_path / "work",
        layer(
            member("abs", kind="l", link=str(outside)), member("abs/file", b"evil"), member("abs/new", b"evil"),
            member("up", kind="l", link="../" * 20 + str(outside)[1:]), member("up/file", b"evil"),
            member("up/own", kind="d", mode=0), member("up/dev", kind="p"), member("up/l", kind="l", link="x"),
        ),
        rootless=rootless,
    )  # fmt: skip
    assert found[b"abs"]["data"] == os.fsencode(outside)
    assert found[os.fsencode(outside)[1:] + b"/file"]["data"] == b"evil"


def test_writing_through_a_link_of_a_lower_layer(tmp_path, outside, rootless):
    found = done(
        tmp_path / "work",
        layer(member("abs", kind="l", link=str(outside)), member("file", kind="l", link=f"{outside}/file")),
        layer(member("abs/file", b"evil"), member("file", b"evil"), member("abs/.wh.file")),
        rootless=rootless,
    )
    assert found[b"abs/file"]["data"] == b"evil"
    assert found[b"file"]["data"] == b"evil"


def test_a_link_then_a_file_of_its_name(tmp_path, outside, rootless):
    made = layer(member("x", kind="l", link=f"{outside}/file"), member("x", b"evil"))
    assert done(tmp_path / "work", made, rootless=rootless)[b"x"]["data"] == b"evil"


def test_hard_links_stay_inside(tmp_path, outside, rootless):
    made = layer(member("l", kind="l", link=str(outside)), member("h", kind="h", link="l/file"))
    assert "hard link to missing /l/file" in refuse(tmp_path / "a", made, rootless=rootless).message
    made = layer(member("h", kind="h", link=f"{outside}/file"))
    assert "hard link" in refuse(tmp_path / "b", made, rootless=rootless).message
    made = layer(member("h", kind="h", link="../" * 20 + f"{outside}/file"))
    assert ".." in refuse(tmp_path / "c", made, rootless=rootless).message
    made = layer(member("l", kind="l", link=f"{outside}/file"), member("h", kind="h", link="l"), member("h", b"evil"))
    assert done(tmp_path / "d", made, rootless=rootless)[b"h"]["data"] == b"evil"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "..", "a/.."])
def test_names_that_lead_out(tmp_path, name: str):
    assert "leaves the root" in refuse(tmp_path, layer(member(name, b"x"))).message


def test_an_absolute_name_is_refused(tmp_path):
    with pytest.raises(InputError, match="/etc/x: written as an absolute path"):
        done(tmp_path, layer(member("/etc/x", b"x")))


def test_paths_written_twice(tmp_path, rootless):
    found = done(
        tmp_path,
        layer(
            member("a", b"1"), member("b", kind="h", link="a"), member("a", b"22"), member("c", kind="h", link="a"),
            member("d", b"3"), member("d", kind="d"), member("d/e", b"4"), member("f", kind="d"), member("f", b"5"),
        ),
        rootless=rootless,
    )  # fmt: skip
    assert [found[name]["data"] for name in (b"a", b"b", b"c", b"d/e", b"f")] == [b"22", b"1", b"22", b"4", b"5"]
    assert found[b"a"]["inode"] == found[b"c"]["inode"] != found[b"b"]["inode"]


def test_a_file_and_what_is_in_it(tmp_path, rootless):
    found = done(tmp_path, layer(member("a", b"1"), member("a/b", b"2")), rootless=rootless)
    assert found[b"a/b"]["data"] == b"2"


def test_links_in_circles(tmp_path, rootless):
    made = layer(member("a", kind="l", link="b"), member("b", kind="l", link="a"), member("a/x", b"1"))
    found = done(tmp_path, made, rootless=rootless)
    assert b"1" in [entry.get("data") for entry in found.values()]


def test_a_very_deep_path(tmp_path, rootless):
    deep = "/".join(["d" * 20] * 400)
    path = layout(tmp_path / "a", layer(member(deep, b"bottom"), member("link", kind="h", link=deep)))
    unpack(path, None, None, str(tmp_path / "root"), rootless=rootless)
    assert (tmp_path / "root" / "link").read_bytes() == b"bottom"
    here = os.open(tmp_path / "root", os.O_RDONLY)
    for name in deep.split("/")[:-1]:
        deeper = os.open(name, os.O_RDONLY, dir_fd=here)
        assert os.fstat(deeper).st_mode & 0o7777 == 0o755
        assert os.fstat(deeper).st_mtime == 0
        os.close(here)
        here = deeper
    assert os.listdir(here) == ["d" * 20]
    os.close(here)
    subprocess.run(["rm", "-rf", str(tmp_path / "root"), str(tmp_path / "root.owners.json")], check=True)
    bad = layout(tmp_path / "b", layer(member(deep, b""), member(deep[:-20] + "x" * 300, b"")))
    with pytest.raises(InputError, match="File name too long"):
        unpack(bad, None, None, str(tmp_path / "root"), rootless=rootless)
    assert "root" not in " ".join(left(tmp_path))


def test_a_bomb(tmp_path):
    error = refuse(tmp_path, layer(member("zeros", bytes(8 << 20))), limit=1 << 20)
    assert "unpacks to more than 1048576 bytes" in error.message


@pytest.mark.parametrize("field", ["digest", "diff_id"])
def test_lies(tmp_path, field: str):
    lie = layer(member("x", b"1"))._replace(**{field: "sha256:" + "0" * 64})
    assert field.replace("_id", " ID") in refuse(tmp_path, layer(member("y", b"")), lie).message


def test_a_truncated_blob(tmp_path):
    good = layer(member("x", bytes(100000)))
    assert "its descriptor says" in refuse(tmp_path, good._replace(blob=good.blob[:-20])).message


@needs_root
@pytest.mark.parametrize(
    "facts",
    [{"uid": 1 << 32}, {"gid": (1 << 32) - 1}, {"uid": 1 << 62}, {"kind": "c", "device": (1 << 20, 3)}],
)
def test_facts_no_file_system_holds(tmp_path, facts: dict[str, Any]):
    error = refuse(tmp_path, layer(member("odd", **{"data": b"", **facts})), kind=OciError, rootless=False)
    assert "/odd" in error.message


def test_a_time_beyond_all_clocks(tmp_path, rootless):
    """The kernel sets the nearest the file system can hold."""
    odd = [member(str(n), b"", mtime=n) for n in (-5, -(1 << 62), 1 << 40, (1 << 63) - 1)]
    assert len(done(tmp_path, layer(*odd), rootless=rootless)) == 5


@needs_root
def test_an_attribute_the_file_system_refuses(tmp_path):
    made = layer(member("l", kind="l", link="x", xattrs={"user.x": b"1"}))
    error = refuse(tmp_path / "a", made, kind=ToolError, rootless=False)
    assert "/l" in error.message
    assert "--rootless" in error.hint
    done(tmp_path / "b", made, rootless=True)


def test_an_image_among_several(tmp_path):
    maker = LayoutMaker(tmp_path / "a")
    maker.image(layer(member("one", b"")), tag="one").image(layer(member("two", b"")), tag="two")
    unpack(maker.path, "two", None, str(tmp_path / "root"), rootless=True)
    assert left(tmp_path / "root") == ["two"]
    with pytest.raises(InputError, match="holds several images"):
        unpack(maker.path, None, None, str(tmp_path / "root2"), rootless=True)


# Whatever the layers hold.

NAMES = st.sampled_from(["a", "b", "c", "a/b", "a/c", "b/a", "a/b/c", "c/a/b"])
TARGETS = st.sampled_from(["a", "b", "a/b", "/c", "..", "../..", ".", "/", "b/a", "../outside", "/OUTSIDE"])
MARKS = st.sampled_from([".wh.a", ".wh.b", "a/.wh.b", ".wh..wh..opq", "a/.wh..wh..opq", "b/.wh.a"])
MEMBERS = st.one_of(
    st.builds(lambda n, d, m: member(n, d, mode=m), NAMES, st.binary(max_size=3), st.sampled_from([0, 0o600, 0o4755])),
    st.builds(lambda n, m: member(n, kind="d", mode=m), NAMES | st.just("./"), st.sampled_from([0, 0o755, 0o1777])),
    st.builds(lambda n, t: member(n, kind="l", link=t), NAMES, TARGETS),
    st.builds(lambda n, t: member(n, kind="h", link=t), NAMES, NAMES),
    st.builds(lambda n: member(n, kind="p"), NAMES),
    st.builds(member, MARKS),
)


@given(layers=st.lists(st.lists(MEMBERS, max_size=8), min_size=1, max_size=3), as_root=st.booleans())
@settings(deadline=None, max_examples=150)
def test_the_disk_holds_the_tree_and_nothing_outside_changes(layers: list[list[Any]], as_root: bool):
    as_root = as_root and os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/outside")
        for members in layers:
            for found in members:
                found.info.linkname = found.info.linkname.replace("/OUTSIDE", f"{folder}/outside")
        path = layout(f"{folder}/in", *(layer(*members, compression="none") for members in layers))
        try:
            unpack(path, None, None, f"{folder}/root", rootless=not as_root)
        except InputError:
            assert sorted(os.listdir(folder)) == ["in", "outside"]
            return
        finally:
            assert os.listdir(f"{folder}/outside") == []
        with open_layout(path) as opened:
            image = read_image(opened, find_image(opened, None, None))
            with image_tree(opened, image) as stored:
                assert on_disk(f"{folder}/root") == expected(stored.tree, exact=as_root)


def on_disk(root: str) -> dict[str, Any]:
    found = facts(root)
    names: dict[int, set[str]] = {}
    for path, entry in found.items():
        names.setdefault(entry["inode"], set()).add(os.fsdecode(path))
    return {
        os.fsdecode(path): (entry["type"], entry["mode"], entry.get("data"), entry["mtime"], names[entry["inode"]])
        for path, entry in found.items()
    }


def expected(tree: Any, *, exact: bool) -> dict[str, Any]:
    kinds = {"file": stat.S_IFREG, "directory": stat.S_IFDIR, "symlink": stat.S_IFLNK, "fifo": stat.S_IFIFO}
    found = {}
    for path, entry in tree.walk():
        data = None
        if entry.kind == "file":
            data = b"".join(bytes(piece) for piece in pieces(entry.content))
        elif entry.kind == "symlink":
            data = os.fsencode(entry.target)
        mode = entry.mode
        if not exact and entry.kind != "symlink":
            mode = mode & 0o1777 | (0o700 if entry.kind == "directory" else 0o400)
        names = {path or "."} if entry.inode is None else set(tree.names_of(entry.inode))
        found[path or "."] = (kinds[entry.kind], mode, data, entry.mtime, names)
    return found
