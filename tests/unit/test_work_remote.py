# SPDX-License-Identifier: MIT
"""What a build and a worker say to each other, without a namespace: entries, contents, errors, a worker that dies."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import stat
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest
from support.tools import need_root
from support.unconfined import everywhere

from oe_oci.content import Literal, Part, Region, Stored, whole
from oe_oci.errors import InputError, ToolError
from oe_oci.packages.maintainer import subordinate
from oe_oci.packages.maintainer.remote import RemoteWork
from oe_oci.packages.maintainer.wire import Ended, Wire
from oe_oci.packages.maintainer.work import LocalWork, open_work
from oe_oci.tree import BLOCK, CHAR, DIRECTORY, FIFO, FILE, SYMLINK, Entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EPOCH = 1_600_000_000
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
ATTRIBUTES = (("security.capability", CAPABILITY), ("user.a", b"\0"))
TOP = {"": Entry(DIRECTORY, 0o755, mtime=5)}
DEV = {**TOP, "dev": Entry(DIRECTORY, 0o755), "dev/null": Entry(CHAR, 0o666, device=(1, 3))}


class Held:
    """Bytes of a package, and how often they were asked for."""

    notes = None

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked = 0

    def readinto(self, view: memoryview, offset: int) -> None:
        self.asked += 1
        view[:] = self.data[offset : offset + len(view)]

    def entry(self, **facts) -> Entry:
        digest = hashlib.sha256(self.data).hexdigest()
        return Entry(FILE, 0o644, size=len(self.data), content=Part(self, 0, len(self.data), digest), **facts)


@pytest.fixture
def work(tmp_path: Path) -> Iterator[RemoteWork]:
    need_root()
    with RemoteWork(str(tmp_path / "work"), EPOCH, 2, everywhere, ()) as made:
        yield made


def file(data: bytes, mode: int = 0o644, **facts) -> Entry:
    return Entry(FILE, mode, size=len(data), content=Literal(data), **facts)


def script(work: RemoteWork, text: str) -> None:
    work.begin()
    assert work.run(["sh", "-ec", text], {}) == (0, "", "")


def read(work: RemoteWork, path: str) -> bytes:
    with open(os.path.join(work.root, path), "rb") as opened:
        return opened.read()


def test_every_fact_and_every_kind_of_content_is_on_disk(work, tmp_path):
    host, member = tmp_path / "host", tmp_path / "archive"
    host.write_bytes(b"of the host")
    member.write_bytes(b"..of an archive..")
    big = Held(os.urandom((2 << 20) + 12345))
    entries = {
        **TOP,
        "bin": Entry(SYMLINK, 0o777, uid=3, gid=4, mtime=7, target="usr/b\udcffn"),
        "pipe": Entry(FIFO, 0o620, uid=9),
        "secret": Entry(DIRECTORY, 0, uid=77, mtime=3),
        "secret/none": file(b"", 0),
        "usr": Entry(DIRECTORY, 0o3770, uid=12, gid=34, mtime=9),
        "usr/big": big.entry(),
        "usr/gr\udcfcn": file(b"name of bytes"),
        "usr/link": file(b"two names", 0o600, uid=1, mtime=2, inode=("i", 1)),
        "usr/linked": file(b"two names", 0o600, uid=1, mtime=2, inode=("i", 1)),
        "usr/host": Entry(FILE, 0o644, size=11, content=Region(os.fsencode(host), 0, 11)),
        "usr/member": Entry(FILE, 0o644, size=13, content=Stored(lambda: os.fsencode(member), 2, 13, "0" * 64)),
        "usr/ping": file(b"ping", 0o4755, uid=5, gid=6, xattrs=ATTRIBUTES),
    }
    work.sync(entries)
    assert read(work, "usr/big") == big.data
    assert read(work, "usr/host") == b"of the host"
    assert read(work, "usr/member") == b"of an archive"
    assert read(work, "usr/gr\udcfcn") == b"name of bytes"
    assert os.path.samefile(os.path.join(work.root, "usr/link"), os.path.join(work.root, "usr/linked"))
    facts = os.lstat(os.path.join(work.root, "usr/ping"))
    assert (stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid) == (0o4755, 5, 6)
    work.begin()
    found = work.scan()
    assert found.keys() == entries.keys()
    assert all(found[path] is entry for path, entry in entries.items())


def test_what_a_script_did_not_touch_has_the_entry_it_had(work):
    entries = {
        **TOP,
        "etc": Entry(DIRECTORY, 0o755, mtime=77),
        "etc/a": file(b"a"),
        "etc/b": file(b"b"),
        "c": file(b"c"),
    }
    work.sync(entries)
    script(work, "echo more > etc/new; chmod 600 etc/a; rm c")
    found = work.scan()
    changed = {path for path, entry in found.items() if entry is not entries.get(path)}
    assert changed == {"etc/new", "etc/a"}
    assert "c" not in found
    assert found["etc/a"]._replace(content=None) == entries["etc/a"]._replace(mode=0o600, content=None)
    assert (found["etc/new"].mtime, whole(found["etc/new"].content)) == (EPOCH, b"more\n")
    again = work.scan()
    assert all(again[path] is entry for path, entry in found.items())


def test_bytes_are_sent_once(work):
    held = Held(b"bytes")
    work.sync({**TOP, "a": held.entry()})
    work.sync({**TOP, "a": held.entry(uid=7)})
    work.sync({**TOP, "a": held.entry(uid=7), "b": file(b"b")})
    assert held.asked == 1
    assert os.lstat(os.path.join(work.root, "a")).st_uid == 7
    work.sync({**TOP, "a": Held(b"other").entry()})
    assert read(work, "a") == b"other"


def test_contents_that_scripts_made_can_be_read_until_the_end(work):
    work.sync(TOP)
    script(work, "echo first > conf; echo gone > gone")
    first = work.scan()
    work.sync(first)
    script(work, "echo other > conf; rm gone")
    second = work.scan()
    assert [whole(one.content) for one in (first["conf"], first["gone"], second["conf"])] == [
        b"first\n",
        b"gone\n",
        b"other\n",
    ]
    assert first["conf"].content.digest == hashlib.sha256(b"first\n").digest()
    work.sync({**second, "conf": first["conf"], "back": first["gone"]})
    assert (read(work, "conf"), read(work, "back")) == (b"first\n", b"gone\n")


def test_the_same_bytes_written_again_are_no_change(work):
    work.sync(TOP)
    script(work, "echo same > cache")
    first = work.scan()
    work.sync(first)
    script(work, "rm cache; echo same > cache")
    assert work.scan()["cache"] is first["cache"]


def test_names_of_an_inode_that_a_script_linked_stay_one(work):
    work.sync({**TOP, "a": file(b"a")})
    script(work, "ln a b; ln a c")
    found = work.scan()
    assert found["a"].inode == found["b"].inode == found["c"].inode != None  # noqa: E711 - all four
    work.sync({**found, "c": found["c"]._replace(uid=9), "a": found["a"]._replace(uid=9)})
    assert os.lstat(os.path.join(work.root, "b")).st_nlink == 3
    script(work, "rm a b")
    assert work.scan()["c"].inode is None


def test_paths_that_are_dated_have_the_epochs_time(work):
    work.sync(TOP)
    script(work, "touch -d @9 status other")
    found = work.scan(lambda path: path == "status")
    assert (found["status"].mtime, found["other"].mtime) == (EPOCH, 9)


def test_devices_are_told_of_though_they_are_not_there(work):
    work.sync({**DEV, "dev/loop": Entry(BLOCK, 0o660, device=(7, 0))})
    assert os.listdir(os.path.join(work.root, "dev")) == []
    script(work, "echo > dev/loop")
    found = work.scan()
    assert found["dev/null"] is DEV["dev/null"]
    assert found["dev/loop"].kind == FILE
    work.sync(found)
    script(work, "rm -r dev")
    assert work.scan().keys() == {""}
    work.sync(DEV)
    script(work, "rmdir dev; ln -s /tmp dev")
    assert work.scan().keys() == {"", "dev"}


def test_what_is_forgotten_is_gone(work):
    work.sync({**DEV, "var": Entry(DIRECTORY, 0o755)})
    script(work, "mkdir var/log; echo > var/log/apt")
    work.scan()
    assert sorted(work.forget("var/log")) == ["var/log", "var/log/apt"]
    assert work.scan().keys() == {*DEV, "var"}
    assert work.forget("dev/null") == ["dev/null"]
    work.sync(DEV)
    assert sorted(work.forget("dev")) == ["dev", "dev/null"]
    assert work.scan().keys() == {""}


def test_a_script_gets_what_it_is_given_and_its_output_comes_back(work):
    work.sync(TOP)
    ran = work.run(["sh", "-c", 'cat; echo "$1 $A"; exit 3', "sh", "w\udcffrd"], {"A": "e\udcfe"}, b"\xff\0in\n")
    assert ran == (3, "\udcff\0in\nw\udcffrd e\udcfe\n", "")
    path = work.place("script", b"printf '\\377 here'; pwd")
    assert os.path.dirname(path) == work.scratch
    assert work.run(["sh", path], {}).said == f"\udcff here{work.root}\n"


def test_a_sandbox_has_the_arguments_that_it_was_given(tmp_path):
    need_root()
    sandbox = partial(everywhere, before="says: ")
    for each in (
        RemoteWork(str(tmp_path / "work"), EPOCH, 1, sandbox, ()),
        LocalWork(str(tmp_path / "work"), EPOCH, 1, sandbox),
    ):
        with each as work:
            assert work.run(["echo"], {}).said == "says: \n"


def test_an_input_that_can_not_be_read_is_the_error_that_it_was_and_no_end(work):
    class Broken(Held):
        def readinto(self, view: memoryview, offset: int) -> None:
            if offset:
                raise InputError("a.deb: damaged", hint="fetch it again")
            super().readinto(view, offset)

    with pytest.raises(InputError, match=r"a\.deb: damaged") as caught:
        work.sync({**TOP, "a": Broken(b"x" * (3 << 20)).entry()})
    assert caught.value.hint == "fetch it again"
    good = file(b"good")
    work.sync({**TOP, "b": good})
    assert work.scan()["b"] is good


@pytest.mark.parametrize(
    "entries",
    [
        {"x" * 300: file(b"")},
        {"x": Entry(FILE, 0o644, xattrs=(("none.such", b""),), content=Literal(b""))},
        {"x\0": file(b"")},
    ],
)
def test_what_can_not_be_made_is_the_same_error_as_without_a_worker(work, tmp_path, entries):
    told = []
    with LocalWork(str(tmp_path / "local"), EPOCH, 1, everywhere) as local:
        for each in (work, local):
            with pytest.raises((InputError, ToolError)) as caught:
                each.sync({**TOP, **entries})
            told.append((type(caught.value), caught.value.message, caught.value.hint))
    assert told[0] == told[1]


def test_a_fault_of_the_worker_itself_is_no_users_error(work):
    with pytest.raises(RuntimeError, match="TypeError"):
        work.run(["sh"], {"PATH": None})


def test_a_worker_that_is_killed_is_an_error_and_nothing_is_left(tmp_path):
    need_root()
    with RemoteWork(str(tmp_path / "work"), EPOCH, 1, everywhere, ()) as work:
        work.sync({**TOP, "secret": Entry(DIRECTORY, 0), "secret/a": file(b"a")})
        os.kill(work._worker.pid, signal.SIGKILL)
        with pytest.raises(ToolError, match="was killed by SIGKILL"):
            work.scan()
        assert os.listdir(tmp_path) == ["work"]
    assert os.listdir(tmp_path) == []


def test_a_worker_that_ends_says_why(tmp_path):
    need_root()
    with pytest.raises(ToolError, match="ended with status 4") as caught:
        RemoteWork(str(tmp_path / "work"), EPOCH, 1, ends_at_first, ()).__enter__()
    assert caught.value.hint == "out of order"
    assert os.listdir(tmp_path) == []


def ends_at_first(root: str, scratch: str):
    if os.path.exists(os.path.join(scratch, "second")):
        return everywhere(root, scratch)
    with open(os.path.join(scratch, "second"), "wb"):
        sys.stderr.write("out of order\n")
        sys.stderr.flush()
        os._exit(4)


def test_nothing_is_left_after_an_error(tmp_path):
    need_root()
    work = RemoteWork(str(tmp_path / "work"), EPOCH, 1, everywhere, ())
    missing = Entry(FILE, 0o644, size=1, content=Region(b"/nowhere", 0, 1))
    with pytest.raises(ToolError, match="nowhere"), work:
        work.sync({**TOP, "secret": Entry(DIRECTORY, 0, uid=5), "secret/a": file(b"a", 0, uid=6), "x": missing})
    assert os.listdir(tmp_path) == []


def test_words_go_through_and_an_end_is_told():
    one, other = socket.socketpair()
    with other:
        with one:
            Wire(one).say("word", "\udcff\n", 1 << 40, None, {"a": [True]})
            assert Wire(other).hear() == ("word", ["\udcff\n", 1 << 40, None, {"a": [True]}])
        for act in (Wire(other).hear, lambda: Wire(other).say("word")):
            with pytest.raises(Ended):
                act()


# ---- who may


@pytest.fixture
def ids(tmp_path, monkeypatch) -> Path:
    """A file of subordinate ids, and a user who is not root."""
    monkeypatch.setattr(os, "geteuid", lambda: 61234)
    monkeypatch.setattr(os, "getegid", lambda: 71234)
    path = tmp_path / "ids"
    monkeypatch.setattr(subordinate, "_FILES", dict.fromkeys(("newuidmap", "newgidmap"), str(path)))
    monkeypatch.setattr(subordinate.shutil, "which", lambda program: f"/usr/bin/{program}")
    return path


def test_all_ranges_of_a_user_follow_each_other(ids):
    ids.write_text("other:1:2\n61234:100000:65536\n\n# 61234:1:9\n61234:500:10\n61234:x:1\n61234:7:0\n")
    assert subordinate.settings() == (
        ("newuidmap", ("0", "61234", "1", "1", "100000", "65536", "65537", "500", "10")),
        ("newgidmap", ("0", "71234", "1", "1", "100000", "65536", "65537", "500", "10")),
    )


def test_who_has_no_ids_is_told_what_to_do(ids, monkeypatch, tmp_path):
    with pytest.raises(ToolError, match="has no line for 61234") as caught:
        open_work(str(tmp_path / "work"), EPOCH, 1, everywhere)
    for way in ("uidmap", "usermod --add-subuids", "fakeroot", 'OCI_PACKAGE_SCRIPTS = "skip"'):
        assert way in caught.value.hint
    ids.write_text("61234:100000:65536\n")
    monkeypatch.setattr(subordinate.shutil, "which", lambda _program: None)
    with pytest.raises(ToolError, match="there is no newuidmap, there is no newgidmap"):
        open_work(str(tmp_path / "work"), EPOCH, 1, everywhere)


def test_root_needs_no_worker(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert isinstance(open_work(str(tmp_path / "work"), EPOCH, 1, everywhere), LocalWork)
