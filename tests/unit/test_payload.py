# SPDX-License-Identifier: MIT
from __future__ import annotations

import errno
import gc
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from support.layouts import file
from support.packages import Made, package
from support.tools import ROOT, environment, run

from oe_oci.content import content_digest, pieces
from oe_oci.errors import InputError, ToolError
from oe_oci.packages import payload as subject
from oe_oci.packages.contents import Contents
from oe_oci.packages.package import Package
from oe_oci.packages.payload import Payloads
from oe_oci.packages.scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Iterator

MANY = 1 << 30
SIZES = [10, 3_000_000, 0, 700_000, 1, 1 << 20, 40_000]


def data_of(number: int) -> bytes:
    return random.Random(number).randbytes(SIZES[number])


def offered(folder, made: Made, **changed) -> Package:
    """A package in a folder, as an index would give it."""
    path = folder / made.name
    path.write_bytes(made.data)
    names = (made.fields[key] for key in ("Package", "Version", "Architecture"))
    digest = hashlib.sha256(made.data).hexdigest()
    return Package(*names, made.fields, str(path), len(made.data), digest, 0)._replace(**changed)


@pytest.fixture
def packages(tmp_path):
    """Packages of very different sizes, in no order of size, each with a file of random bytes."""
    (tmp_path / "feed").mkdir()
    return [
        offered(tmp_path / "feed", package(f"p{n}", files={f"usr/f{n}": data_of(n)}, compression="gz"))
        for n in range(len(SIZES))
    ]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def digests(contents) -> list[str]:
    """Those of the bytes as they are read, which are the ones known without reading them."""
    found = []
    for content in (m.entry.content for each in contents for m in each.members if m.entry.content is not None):
        found.append(hashlib.sha256(b"".join(map(bytes, pieces(content)))).hexdigest())
        assert content_digest(content) == found[-1]
    return found


EXPECTED = [hashlib.sha256(data_of(n)).hexdigest() for n in range(len(SIZES))]


def in_memory(payloads: Payloads, contents) -> int:
    return sum(len(place) for each in contents for place in each.payload._places if isinstance(place, bytes))


def spool_size(payloads: Payloads) -> int:
    file_ = payloads._scratch._file
    return 0 if file_ is None else os.fstat(file_.fileno()).st_size


@pytest.fixture(autouse=True)
def being_read(monkeypatch) -> list[str]:
    """The packages that some thread reads."""
    found: list[str] = []
    original = subject.read_package

    def noted(path, *rest, **how):
        found.append(path)
        try:
            return original(path, *rest, **how)
        finally:
            found.remove(path)

    monkeypatch.setattr(subject, "read_package", noted)
    return found


@pytest.mark.parametrize("memory", [0, 1000, 2 << 20, MANY])
@pytest.mark.parametrize("jobs", [0, 1, 2, 8])
def test_results_come_in_the_order_asked_for(packages, folder, memory, jobs, being_read):
    with Payloads(str(folder), memory) as payloads:
        found = payloads.read(packages, jobs)
        assert [each.fields["Package"] for each in found] == [f"p{n}" for n in range(len(SIZES))]
        assert digests(found) == EXPECTED
        assert in_memory(payloads, found) <= memory
        assert (spool_size(payloads) > 0) == (memory < MANY)
        assert os.listdir(folder) == []  # the file has no name
    assert being_read == []


def test_nothing_to_read(folder):
    with Payloads(str(folder)) as payloads:
        assert payloads.read([], 2) == []


def test_the_biggest_is_read_first(packages, monkeypatch):
    begun = []
    original = subject.read_package

    def noted(path, *rest, **how):
        begun.append(os.path.basename(path))
        return original(path, *rest, **how)

    monkeypatch.setattr(subject, "read_package", noted)
    unknown = [each._replace(size=None) if n % 2 else each for n, each in enumerate(packages)]
    with Payloads() as payloads:
        payloads.read(unknown, 1)
    assert begun[:4] == ["p1_1.0_all.deb", "p5_1.0_all.deb", "p3_1.0_all.deb", "p6_1.0_all.deb"]


def test_a_folder_is_needed_only_when_memory_is_full(packages, tmp_path):
    with Payloads(str(tmp_path / "none"), MANY) as payloads:
        assert digests(payloads.read(packages, 2)) == EXPECTED
    with Payloads(f"{tmp_path}/none", 1 << 20) as payloads, pytest.raises(ToolError, match=r"to .*/none: No such file"):
        payloads.read(packages, 2)


def test_the_default_folder(packages, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with Payloads(memory=0) as payloads, pytest.raises(ToolError, match=r"cannot write to .*/none: No such file"):
        payloads.read(packages, 2)


# ---- release


@pytest.mark.parametrize("memory", [0, 2 << 20, MANY])
def test_what_was_released_is_read_again(packages, folder, memory):
    with Payloads(str(folder), memory) as payloads:
        found = payloads.read(packages, 2)
        for _ in range(2):
            for each in found:
                each.payload.release()
                each.payload.release()
            assert in_memory(payloads, found) == 0
            assert (payloads._scratch._room, payloads._scratch._end, spool_size(payloads)) == (memory, 0, 0)
            assert digests(found) == EXPECTED
        assert in_memory(payloads, found) <= memory


def test_room_in_memory_is_used_again(packages, folder):
    with Payloads(str(folder), 4 << 20) as payloads:
        for each in packages * 2:
            (found,) = payloads.read([each], 1)
            found.payload.release()
        assert spool_size(payloads) == 0


def test_a_package_that_changed_after_it_was_read(packages, folder, tmp_path):
    with Payloads(str(folder)) as payloads:
        found = payloads.read(packages[:2], 2)
        for each in found:
            each.payload.release()
        with open(packages[0].path, "r+b") as sink:
            sink.write(b"other")
        os.unlink(packages[1].path)
        for number in (0, 1):
            for _ in range(2):
                with pytest.raises(InputError, match=rf"/p{number}_1.0_all.deb: changed after it was read"):
                    digests([found[number]])


def test_a_package_that_the_index_gave_no_digest_of_may_not_change_either(tmp_path, folder):
    path = tmp_path / "feed"
    path.mkdir()
    package_ = offered(path, package("a", files={"f": b"1"}), size=None, digest=None)
    with Payloads(str(folder)) as payloads:
        (found,) = payloads.read([package_], 1)
        found.payload.release()
        offered(path, package("a", files={"f": b"2"}))
        with pytest.raises(InputError, match="changed after it was read"):
            digests([found])


# ---- packages that were not read in this build


def unread(payloads: Payloads, packages) -> list[Contents]:
    """Packages with nothing but a payload, as of an earlier build."""
    made = (payloads.unread(one, one.digest) for one in packages)
    return [Contents({}, {}, (), (), payload, payload.package.digest, 0) for payload in made]


def test_payloads_are_held_side_by_side(packages, folder, monkeypatch):
    begun = []
    original = subject.read_package

    def noted(path, *rest, **how):
        begun.append((os.path.basename(path), threading.current_thread().name.partition("_")[0]))
        return original(path, *rest, **how)

    with Payloads(str(folder), 1 << 20) as payloads:
        read = payloads.read(packages[:1], 2)
        known = unread(payloads, packages[1:])
        monkeypatch.setattr(subject, "read_package", noted)
        payloads.hold([*read, *known], 2)
        assert {place for _, place in begun} == {"oe-oci"}
        assert [begun[0][0], len(begun)] == ["p1_1.0_all.deb", len(packages) - 1]
        assert all(one.payload.held for one in known)
        payloads.hold(known, 2)
        assert len(begun) == len(packages) - 1
        known[0].payload.release()
        payloads.hold(known, 2)
        assert begun[-1] == ("p1_1.0_all.deb", "oe-oci")
        assert in_memory(payloads, [*read, *known]) <= 1 << 20


@pytest.mark.parametrize("jobs", [1, 2, 8])
def test_the_error_of_holding_is_that_of_the_first_in_order(packages, folder, jobs, being_read):
    os.unlink(packages[6].path)
    with open(packages[2].path, "ab") as sink:
        sink.write(b"x")
    with Payloads(str(folder), 1 << 20) as payloads:
        known = unread(payloads, packages)
        with pytest.raises(InputError, match=r"p2_1.0_all.deb: changed after it was read"):
            payloads.hold(known, jobs)
        assert not any(one.payload.held for one in known)
        assert payloads._scratch._used == 0
        payloads.hold(known[:2], jobs)
        assert known[1].payload.held
    assert being_read == []


# ---- many threads, short reads and writes


@pytest.mark.parametrize("memory", [0, 2 << 20, MANY])
def test_many_threads_read_and_release(packages, folder, memory):
    with Payloads(str(folder), memory) as payloads, ThreadPoolExecutor(8) as pool:
        found = payloads.read(packages, 4)

        def use(number: int) -> None:
            assert digests(found) == EXPECTED
            found[number].payload.release()

        list(pool.map(use, [n % len(found) for n in range(24)]))
        assert digests(found) == EXPECTED


def test_any_part(tmp_path, folder, monkeypatch):
    made = package("a", files=[file("./f", bytes(range(256)) * 9000)], compression="gz")
    package_ = offered(tmp_path, made)
    write, readv = os.pwrite, os.preadv
    monkeypatch.setattr(subject.os, "pwrite", lambda fd, data, place: write(fd, data[:99_999], place))
    monkeypatch.setattr(subject.os, "preadv", lambda fd, views, place: readv(fd, [views[0][:77_777]], place))
    draw = random.Random(7)
    for memory in (0, 1 << 20, MANY):
        with Payloads(str(folder), memory) as payloads:
            (found,) = payloads.read([package_], 1)
            whole = bytearray(found.payload._size)
            found.payload.readinto(memoryview(whole), 0)
            assert bytes(range(256)) * 9000 in whole
            for _ in range(200):
                start, stop = sorted(draw.choices(range(len(whole) + 1), k=2))
                buffer = bytearray(stop - start)
                found.payload.readinto(memoryview(buffer), start)
                assert buffer == whole[start:stop]


# ---- errors


def test_a_package_that_is_another_one(packages):
    with Payloads() as payloads:
        with pytest.raises(InputError, match=r"p0_1.0_all.deb: is 'p0 1.0 all', the index says 'p0 2.0 all'"):
            payloads.read([packages[0]._replace(version="2.0"), packages[1]], 2)
        with pytest.raises(InputError, match=r"p0_1.0_all.deb: its SHA-256 is .* the index says 00"):
            payloads.read([packages[0]._replace(digest="00"), packages[1]], 2)
        with pytest.raises(InputError, match=r"p0_1.0_all.deb: has .* bytes, the index says 7"):
            payloads.read([packages[0]._replace(size=7)], 2)
        with pytest.raises(InputError, match=r"p1_1.0_all.deb: data.tar.gz: unpacks to more than 100000 bytes"):
            payloads.read([packages[0], packages[1]], 2, limit=100_000)
        assert payloads._scratch._room == subject.MEMORY


@pytest.mark.parametrize("jobs", [1, 2, 8])
def test_the_error_is_that_of_the_first_in_order(packages, folder, jobs, being_read):
    wrong = [each._replace(digest="00") if n in (2, 3, 6) else each for n, each in enumerate(packages)]
    slow_first = [wrong[0], packages[1]._replace(digest="00"), *wrong[2:]]
    for _ in range(5):
        with Payloads(str(folder), 1 << 20) as payloads:
            with pytest.raises(InputError, match=r"p2_1.0_all"):
                payloads.read(wrong, jobs)
            with pytest.raises(InputError, match=r"p1_1.0_all"):
                payloads.read(slow_first, jobs)
            assert payloads._scratch._used == 0
            assert digests(payloads.read(packages, jobs)) == EXPECTED
    assert being_read == []


def test_what_comes_after_the_first_error_is_not_read(packages, monkeypatch):
    begun = []
    original = subject.read_package

    def noted(path, *rest, **how):
        begun.append(os.path.basename(path))
        return original(path, *rest, **how)

    monkeypatch.setattr(subject, "read_package", noted)
    wrong = [packages[1]._replace(digest="00"), *packages[2:], packages[0]]
    with Payloads() as payloads, pytest.raises(InputError, match=r"p1_1.0_all"):
        payloads.read(wrong, 1)
    assert begun == ["p1_1.0_all.deb"]


def test_a_full_disk(packages, folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(subject.os, "pwrite", full)
    with Payloads(str(folder), 1 << 20) as payloads:
        with pytest.raises(ToolError, match=f"cannot write to {folder}: No space left on device"):
            payloads.read(packages, 2)
        assert payloads._scratch._used == 0


def test_a_disk_that_can_not_be_read(packages, folder, monkeypatch):
    def broken(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(subject.os, "preadv", broken)
    with Payloads(str(folder), 0) as payloads:
        found = payloads.read(packages, 2)
        with pytest.raises(ToolError, match="Input/output error"):
            digests(found)


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Nothing is collected meanwhile: an interrupt that comes to somebody's callback of that goes no further."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
def test_an_interrupt_ends_the_reading(packages, monkeypatch, being_read):
    begun = threading.Event()
    original = Scratch.reserve

    def slow(store, piece):
        begun.set()
        time.sleep(0.02)
        return original(store, piece)

    def interrupt():
        begun.wait()
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Scratch, "reserve", slow)
    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    start = time.monotonic()
    with Payloads() as payloads:
        with pytest.raises(KeyboardInterrupt):
            payloads.read(packages * 300, 2)
        assert being_read == []
        assert payloads._scratch._room == subject.MEMORY
    interrupter.join()
    subject.pool.cache_clear()  # the interrupt may have come just after one of its locks was taken
    assert time.monotonic() - start < 10  # all of them would take far longer


def test_where_memory_can_not_be_given_back_nothing_is_done(monkeypatch):
    monkeypatch.setitem(sys.modules, "ctypes", None)
    subject._trim.__wrapped__()(0)


# Says how many MiB this process has more than before, once packages are read.
GROWTH = """\
import json, sys
from oe_oci.packages.package import Package
from oe_oci.packages.payload import Payloads

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) >> 8

packages = [Package(*fields) for fields in json.loads(sys.argv[1])]
before = resident()
with Payloads(memory=0) as payloads:
    found = payloads.read(packages, 4)
    print(resident() - before)
"""


def test_what_decompressors_took_is_given_back(tmp_path):
    """The dictionary of xz is 8 MiB in each thread."""
    large = [offered(tmp_path, package(f"p{n}", files={"usr/f": bytes(9 << 20)})) for n in range(8)]
    done = run(sys.executable, "-c", GROWTH, json.dumps(large), env=environment(PYTHONPATH=str(ROOT)))
    assert int(done.stdout) < 24
