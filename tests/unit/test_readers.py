# SPDX-License-Identifier: MIT
"""Processes that read small files: the same digests as read here, or none."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading

import pytest

from oe_oci import readers as subject
from oe_oci.content import File, Literal, Region, stamp_of
from oe_oci.readers import digests_of


def always() -> bool:
    return True


def never() -> bool:
    return False


def whole(folder: bytes, name: str) -> File:
    return File(folder, name, stamp_of(os.lstat(os.path.join(folder, os.fsencode(name)))))


@pytest.fixture
def folder(tmp_path) -> bytes:
    for name, data in {b"a": b"A", b"b\xff\n": b"B" * 5000, b"empty": b""}.items():
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            file.write(data)
    return os.fsencode(tmp_path)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def test_whole_files_and_parts_are_read(folder: bytes) -> None:
    named = whole(folder, "b\udcff\n")
    part = Region(named.path, 1, 2, named.stamp)
    asked = [whole(folder, "a"), part, named, whole(folder, "empty")]
    assert digests_of(asked, always) == [sha256(b"A"), sha256(b"BB"), sha256(b"B" * 5000), sha256(b"")]


def test_many_are_told_in_their_order(folder: bytes) -> None:
    asked = [whole(folder, name) for name in ("a", "empty", "a") for _ in range(500)]
    assert digests_of(asked, always) == [sha256(b"A")] * 500 + [sha256(b"")] * 500 + [sha256(b"A")] * 500


def test_what_is_not_as_it_was_is_left_to_who_asks(folder: bytes) -> None:
    changed, gone, linked = (whole(folder, name) for name in ("a", "b\udcff\n", "empty"))
    os.utime(changed.path, ns=(0, 0))
    os.unlink(gone.path)
    os.unlink(linked.path)
    os.symlink("a", linked.path)
    asked = [changed, gone, linked, Region(changed.path, 0, 1), Literal(b"x"), whole(folder, "a")]
    assert digests_of(asked, always) == [b""] * 5 + [sha256(b"A")]


@pytest.mark.parametrize(
    "program",
    ["raise SystemExit(1)", "print('warning')", "import os; os.abort()", "import sys; sys.stdout.write('x' * 64)"],
    ids=["failed", "too little", "killed", "too much"],
)
def test_a_process_that_fails_tells_nothing(folder: bytes, monkeypatch, program: str) -> None:
    monkeypatch.setattr(subject, "_PROGRAM", program)
    assert digests_of([whole(folder, "a")], always) == [b""]


@pytest.mark.parametrize("interpreter", ["/no/such/python", "", None])
def test_without_an_interpreter_nothing_is_told(folder: bytes, monkeypatch, interpreter: str | None) -> None:
    monkeypatch.setattr(sys, "executable", interpreter)
    assert digests_of([whole(folder, "a")], always) == [b""]


@pytest.mark.parametrize("threads", [0, 1])
def test_without_threads_nothing_is_told_and_no_process_left(folder: bytes, monkeypatch, threads: int) -> None:
    left = [threading.Thread.start] * threads

    def start(thread: threading.Thread) -> None:
        if not left:
            raise RuntimeError("can't start new thread")
        left.pop()(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    assert digests_of([whole(folder, "a")], always) == [b""]
    assert not children()


def children() -> list[str]:
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return file.read().split()


def test_what_is_not_wanted_any_more_is_given_up(folder: bytes) -> None:
    assert digests_of([whole(folder, "a")] * 100_000, never) == [b""] * 100_000
    assert not children()


def test_a_process_starts_with_little() -> None:
    code = f"{subject._PROGRAM}; print(*[name for name in sys.modules if name.startswith('oe_oci.')])"
    argv = [sys.executable, "-ISBc", code, subject._PLACE]
    done = subprocess.run(argv, input="", capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == ["oe_oci.content", "oe_oci.errors", "oe_oci.readers"]


def test_a_process_is_told_nothing_by_fakeroot_or_pseudo(folder: bytes, monkeypatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/no/such/library.so")
    told = "os.environ.get('LD_PRELOAD'), os.environ.get('PSEUDO_UNLOAD')"
    monkeypatch.setattr(subject, "_PROGRAM", f"import os; print(repr(({told})).ljust(31))")
    assert digests_of([whole(folder, "a")], always) == [b"('', '1')".ljust(31) + b"\n"]
