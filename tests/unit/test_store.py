# SPDX-License-Identifier: MIT
"""The layer cache: what is put in comes out, for whoever asks, by link or copy; who waits for whom."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support import caches

from oe_oci import kept, transfer
from oe_oci import store as store_module
from oe_oci.audit import verify
from oe_oci.errors import InputError, ToolError
from oe_oci.kept import TAG
from oe_oci.store import CachedLayer, Store, quoted
from oe_oci.upkeep import Limits, gc

SHAPE, OTHER = caches.sha256("a shape"), caches.sha256("another")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "cache"))


@pytest.fixture
def made(tmp_path: Path) -> caches.Made:
    return caches.make(tmp_path / "stage")


def quiet(_: str) -> None:
    pass


def blob(store: Store, layer: CachedLayer) -> Path:
    return Path(store.folder, "blobs", "sha256", layer.blob.digest.hex)


def entry(store: Store, layer: CachedLayer) -> Path:
    return Path(store.folder, "entries", layer.shape, layer.key)


# ---- in and out


def test_an_empty_cache_has_nothing_and_is_not_made(store, made, tmp_path):
    assert not store.has_shape(SHAPE)
    assert store.find(made.layer.shape, made.layer.key) == ""
    assert store.take(made.layer, str(tmp_path / "target")) == "its blob is missing"
    assert store.listing(made.layer) is None
    assert store.latest("app", "one") == []
    assert not os.path.lexists(store.folder)
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("compression", ["", "+gzip", "+zstd"])
def test_what_is_put_in_comes_out(store, tmp_path, compression):
    made = caches.make(tmp_path / "stage", compression=compression, size=2_500_000)
    assert made.put(store) == ""
    assert store.has_shape(made.layer.shape)
    assert store.find(made.layer.shape, made.layer.key) == made.layer
    assert store.take(made.layer, str(tmp_path / "target")) == ""
    assert (tmp_path / "target").read_bytes() == made.data
    assert store.listing(made.layer) == made.listing
    assert verify(store.folder, quiet) == []


def test_facts_may_hold_any_json(store, made):
    facts = {"image": "\udcff☃", "layer": "", "kind": "x", "n": [1, None, {"a": 1.5}], "long": "y" * 100_000}
    layer = made.layer._replace(facts=facts)
    assert store.put(layer, made.file, made.listing) == ""
    assert store.find(layer.shape, layer.key) == layer


def test_another_key_of_the_shape_is_not_there(store, made):
    made.put(store)
    assert store.find(made.layer.shape, OTHER) == ""
    assert store.find(OTHER, made.layer.key) == ""
    assert not store.has_shape(OTHER)


def test_the_folder_says_that_it_is_a_cache(store, made):
    made.put(store)
    assert Path(store.folder, "CACHEDIR.TAG").read_bytes() == TAG
    assert TAG.startswith(b"Signature: 8a477f597d28d172789f06886806bc55\n")


def test_a_use_is_remembered_a_look_is_not(store, made, tmp_path):
    made.put(store)
    os.utime(entry(store, made.layer), (1e9, 1e9))
    store.find(made.layer.shape, made.layer.key)
    assert entry(store, made.layer).stat().st_mtime == 1e9
    store.take(made.layer, str(tmp_path / "target"))
    assert time.time() - entry(store, made.layer).stat().st_mtime < 100


def test_the_entry_is_the_last_thing_to_be_written(store, made, monkeypatch):
    order = []
    replace = os.replace

    def noted(old, new):
        order.append(os.path.relpath(new, store.folder).split("/")[0])
        replace(old, new)

    monkeypatch.setattr(os, "replace", noted)
    made.put(store)
    assert order == ["CACHEDIR.TAG", "blobs", "blobs", "entries"]


def test_a_second_put_writes_the_entry_alone(store, made):
    made.put(store)
    before = {path: os.stat(path).st_ino for path in Path(store.folder).rglob("*") if path.is_file()}
    assert made.put(store) == ""
    changed = {path for path, inode in before.items() if os.stat(path).st_ino != inode}
    assert changed == {entry(store, made.layer)}


@pytest.mark.parametrize("data", [b"", b"x" * 10, None])
def test_a_put_replaces_what_is_damaged_of_itself(store, made, data):
    made.put(store)
    blob(store, made.layer).unlink()
    blob(store, made.layer).write_bytes(bytes(len(made.data)) if data is None else data)
    assert made.put(store) == ""
    assert blob(store, made.layer).read_bytes() == made.data


# ---- by link or copy


def test_a_blob_is_linked(store, made, tmp_path):
    made.put(store)
    store.take(made.layer, str(tmp_path / "target"))
    assert os.path.samefile(blob(store, made.layer), made.file)
    assert os.path.samefile(blob(store, made.layer), tmp_path / "target")


def no_links(monkeypatch, number: int) -> None:
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_a_blob_is_copied_where_it_can_not_be_linked(store, made, tmp_path, monkeypatch, number):
    no_links(monkeypatch, number)
    assert made.put(store) == ""
    assert store.take(made.layer, str(tmp_path / "target")) == ""
    assert (tmp_path / "target").read_bytes() == made.data
    assert len({os.stat(path).st_ino for path in (blob(store, made.layer), made.file, tmp_path / "target")}) == 3
    assert sorted(os.listdir(tmp_path)) == ["cache", "stage", "target"]


def test_a_blob_is_cloned_where_the_file_system_can(store, made, tmp_path, monkeypatch):
    def clone(descriptor, request, source):
        assert request == 0x40049409
        os.sendfile(descriptor, source, 0, 1 << 20)

    monkeypatch.setattr(transfer.fcntl, "ioctl", clone)
    assert made.put(store) == ""
    assert store.take(made.layer, str(tmp_path / "target")) == ""
    assert not os.path.samefile(blob(store, made.layer), made.file)
    assert (tmp_path / "target").read_bytes() == made.data
    blob(store, made.layer).write_bytes(b"x" * len(made.data))
    assert store.take(made.layer, str(tmp_path / "other")) == "its blob is damaged"
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_modes_follow_the_umask_but_for_the_target(store, made, tmp_path, monkeypatch, umask):
    no_links(monkeypatch, errno.EXDEV)
    old = os.umask(umask)
    try:
        made.put(store)
        store.note("app", "one", made.layer)
        monkeypatch.undo()
        store.take(made.layer, str(tmp_path / "target"))
    finally:
        os.umask(old)
    for path in Path(store.folder).rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o777 if path.is_dir() else 0o666) & ~umask, path
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o644


def test_a_blob_of_another_user_is_copied(store, made, tmp_path, monkeypatch):
    made.put(store)
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(made.file).st_uid + 1)
    assert store.take(made.layer, str(tmp_path / "target")) == ""
    assert not os.path.samefile(blob(store, made.layer), tmp_path / "target")


def test_what_is_at_the_target_stays_if_the_blob_can_not_be_taken(store, made, tmp_path):
    made.put(store)
    target = tmp_path / "target"
    for number in range(2):
        assert store.take(made.layer, str(target)) == "", number
    blob(store, made.layer).unlink()
    blob(store, made.layer).write_bytes(b"?" * len(made.data))
    assert store.take(made.layer, str(target)) == "its blob is damaged"
    assert target.read_bytes() == made.data
    assert sorted(os.listdir(tmp_path)) == ["cache", "stage", "target"]


@pytest.mark.parametrize("number", [errno.EXDEV, 0])
def test_a_target_that_can_not_be_written_is_the_builds_error(store, made, tmp_path, monkeypatch, number):
    made.put(store)
    if number:
        no_links(monkeypatch, number)
    with pytest.raises(ToolError, match=r"cannot write .*/none/target: No such file or directory"):
        store.take(made.layer, str(tmp_path / "none" / "target"))
    assert store.take(made.layer, str(tmp_path / "target")) == ""


# ---- which was the latest


def test_latest_of_an_image_else_of_any(store, tmp_path):
    one, two, three = (caches.make(tmp_path / "stage", name) for name in ("one", "two", "three"))
    for each in (one, two, three):
        each.put(store)
    assert store.latest("app", "base") == []
    store.note("first", "base", one.layer)
    store.note("second", "base", two.layer)
    os.utime(Path(store.folder, "latest", "first", "base"), (2e9, 2e9))
    assert store.latest("second", "base") == [two.layer]
    assert store.latest("third", "base") == [one.layer]
    assert store.latest("third", "other") == []
    store.note("first", "base", three.layer)
    os.utime(Path(store.folder, "latest", "second", "base"), (1e9, 1e9))
    assert store.latest("third", "base") == [three.layer, one.layer]
    entry(store, three.layer).unlink()
    assert store.latest("third", "base") == store.latest("first", "base") == [one.layer]
    entry(store, one.layer).unlink()
    assert store.latest("third", "base") == store.latest("first", "base") == [two.layer]


def test_a_note_has_the_last_few(store, tmp_path):
    made = [caches.make(tmp_path / "stage", str(number)) for number in range(6)]
    for each in made:
        each.put(store)
        store.note("app", "base", each.layer)
    store.note("app", "base", made[3].layer)
    assert store.latest("app", "base") == [made[number].layer for number in (3, 5, 4, 2)]


def test_a_note_that_says_the_same_is_not_rewritten(store, made):
    made.put(store)
    store.note("app", "one", made.layer)
    (note,) = Path(store.folder, "latest").rglob("one")
    before = note.stat().st_ino
    os.utime(note, (1e9, 1e9))
    store.note("app", "one", made.layer)
    assert (note.stat().st_ino, note.stat().st_mtime > 1e9) == (before, True)


NAMES = ["", ".", "..", ".new-1", "a/b", "a%2Fb", "%", "\0", "\udcff\ud800", "ü" * 30, "n" * 160, "n" * 161, "n" * 9999]
NAMES += ["/" * 500, "/" * 501, "n" * 9998, "CON", " ", "~", "%2E"]


def test_any_names_will_do(store, made):
    made.put(store)
    quotes = [quoted(name) for name in NAMES]
    assert len({*quotes}) == len(NAMES)
    for text in quotes:
        assert 0 < len(os.fsencode(text)) < 200
        assert "/" not in text
        assert not text.startswith(".")
    assert quoted("a/b ü~%.") == "a%2Fb%20%C3%BC~%25."
    for name in NAMES:
        store.note(name, name, made.layer)
    assert len(os.listdir(Path(store.folder, "latest"))) == len(NAMES)
    assert all(store.latest(name, name) == [made.layer] for name in NAMES)
    assert verify(store.folder, quiet) == []


# ---- where nothing can be written


def test_a_cache_that_can_not_be_written_to_is_no_error(made, tmp_path):
    (tmp_path / "file").touch()
    store = Store(str(tmp_path / "file" / "cache"))
    assert made.put(store) == "Not a directory"
    store.note("app", "one", made.layer)
    with store.making(SHAPE) as again:
        assert again is False
    assert store.find(SHAPE, OTHER) == "its entry can not be read: Not a directory"
    assert store.take(made.layer, str(tmp_path / "target")) == "its blob can not be read: Not a directory"
    assert store.latest("app", "one") == []
    assert not store.has_shape(SHAPE)


@pytest.mark.parametrize("place", ["blobs", "blobs/sha256", "entries", "entries/{}", "latest", "locks"])
def test_no_link_is_followed_out_of_the_folder(store, made, tmp_path, place):
    """Nothing is read there, and nothing is written."""
    elsewhere = Path(store.folder + "-elsewhere")
    other = Store(str(elsewhere))
    made.put(other)
    other.note("app", "one", made.layer)
    (elsewhere / "locks").mkdir(exist_ok=True)
    before = caches.files(elsewhere)
    place = place.format(made.layer.shape)
    Path(store.folder, place).parent.mkdir(parents=True)
    Path(store.folder, "CACHEDIR.TAG").write_bytes(TAG)
    Path(store.folder, place).symlink_to(elsewhere / place)
    found = store.find(made.layer.shape, made.layer.key)
    assert isinstance(found, str)
    assert store.take(made.layer, str(tmp_path / "target")) != ""
    assert store.latest("app", "one") == []
    if place in ("latest", "locks"):
        assert made.put(store) == ""
    else:
        assert made.put(store) == "Not a directory"
    store.note("app", "one", made.layer)
    with store.making(SHAPE) as again:
        assert again is False
        assert caches.files(elsewhere) == before
    assert caches.files(elsewhere) == before


# ---- whose folder it is


def anything(folder: Path) -> None:
    (folder / "archives").mkdir()
    (folder / "archives" / "thesis.zip").write_bytes(b"PK")


def another_tag(folder: Path) -> None:
    (folder / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n# another program's\n")


def a_lock(folder: Path) -> None:
    (folder / "lock").mkdir()
    (folder / "lock" / "data").touch()


def a_note(folder: Path) -> None:
    (folder / "latest" / "app" / "one").mkdir(parents=True)


def a_layout(folder: Path) -> None:
    (folder / "blobs" / "sha256").mkdir(parents=True)
    (folder / "blobs" / "sha256" / ("0" * 64)).touch()
    (folder / "index.json").touch()


def entries_of_others(folder: Path) -> None:
    (folder / "entries" / "2024").mkdir(parents=True)
    (folder / "entries" / "2024" / "diary").write_text("Dear diary")


def a_report(folder: Path) -> None:
    (folder / ".new-report.txt").touch()


@pytest.mark.parametrize(
    "fill",
    [anything, another_tag, a_lock, a_note, a_layout, entries_of_others, a_report],
    ids=lambda fill: fill.__name__,
)
def test_a_folder_of_somebody_else_stays_as_it_is(store, made, fill):
    """Else a clean-up would remove what is in it."""
    folder = Path(store.folder)
    folder.mkdir()
    fill(folder)
    before = caches.files(folder)
    assert made.put(store) == "the folder is no cache of oe-oci, and not empty"
    store.note("app", "one", made.layer)
    with store.making(SHAPE):
        assert caches.files(folder) == before
    with pytest.raises(InputError, match="is no cache of oe-oci"):
        gc(store.folder, Limits(max_size=0))
    assert caches.files(folder) == before


@pytest.mark.parametrize("lost", ["removed", "damaged", "folder"])
def test_a_cache_whose_tag_is_lost_gets_it_back(store, made, lost):
    made.put(store)
    tag = Path(store.folder, "CACHEDIR.TAG")
    tag.unlink()
    if lost == "damaged":
        tag.write_bytes(TAG[:-1])
    elif lost == "folder":
        tag.mkdir()
    assert made.put(store) == ""
    assert tag.read_bytes() == TAG


def test_what_is_remembered_makes_no_folder_somebody_elses(store, made):
    kept.write(f"{store.folder}/indexes/packages-1", b"oe-oci packages 1\n", b"")
    kept.write(f"{store.folder}/latest/app/one", b"oe-oci latest 2\n", b"")
    Path(store.folder, "lock").touch()
    assert made.put(store) == ""


# ---- one makes, the others wait

HOLDER = """\
import sys, time
from oe_oci.store import Store
with Store(sys.argv[1]).making(sys.argv[2]) as again:
    print(again, flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def holding(store: Store, shape: str):
    """Another process that makes a layer of a shape, until its standard input ends."""
    argv = [sys.executable, "-c", HOLDER, store.folder, shape]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def locks(store: Store) -> list[str]:
    return os.listdir(Path(store.folder, "locks"))


def test_nobody_waits_alone(store):
    with store.making(SHAPE) as again:
        assert again is False
        assert locks(store) == [SHAPE]
        with store.making(OTHER) as other:
            assert other is False
    assert locks(store) == []


def test_the_lock_is_gone_after_an_error(store):
    with pytest.raises(KeyError), store.making(SHAPE):
        raise KeyError
    assert locks(store) == []


def ended_soon(process: subprocess.Popen[str], end) -> threading.Timer:
    assert process.stdout.readline() == "False\n"
    timer = threading.Timer(0.15, end)
    timer.start()
    return timer


@pytest.mark.parametrize("end", ["done", "killed"])
def test_the_second_waits_for_the_first(store, caplog, end):
    caplog.set_level(logging.INFO, "oe_oci")
    with holding(store, SHAPE) as process:
        began = time.monotonic()
        timer = ended_soon(process, process.stdin.close if end == "done" else process.kill)
        with store.making(OTHER) as again:
            assert again is False
        with store.making(SHAPE) as again:
            assert time.monotonic() - began >= 0.15
            assert again is True
            assert locks(store) == [SHAPE]
        timer.join()
    assert locks(store) == []
    assert [record.message.partition(" (")[0] for record in caplog.records] == [
        "another build makes a layer that is needed here"
    ]


def test_a_killed_build_leaves_a_lock_that_holds_nobody(store):
    with holding(store, SHAPE) as process:
        process.stdout.readline()
        process.kill()
        process.wait()
        assert locks(store) == [SHAPE]
        with store.making(SHAPE) as again:
            assert again is False
    assert locks(store) == []


def test_a_stopped_build_is_waited_for_only_so_long(store, monkeypatch):
    monkeypatch.setattr(store_module, "MAKING_WAIT", 0.2)
    with holding(store, SHAPE) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        with store.making(SHAPE) as again:
            assert again is True
        assert 0.2 <= time.monotonic() - began < 5
        # It is the other's still.
        assert locks(store) == [SHAPE]


def test_a_clean_up_that_was_stopped_delays_a_put_only_so_long(store, made, monkeypatch):
    made.put(store)
    monkeypatch.setattr(store_module, "TIDYING_WAIT", 0.1)
    with open(Path(store.folder, "lock"), "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        began = time.monotonic()
        assert made.put(store) == ""
        assert 0.1 <= time.monotonic() - began < 5


def test_puts_do_not_wait_for_each_other(store, made):
    made.put(store)
    with open(Path(store.folder, "lock"), "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        began = time.monotonic()
        assert made.put(store) == ""
        assert time.monotonic() - began < 5


def test_a_lock_that_was_removed_just_before_it_was_taken_is_none(store, monkeypatch):
    flock, path = fcntl.flock, Path(store.folder, "locks", SHAPE)
    turns = []

    def late(descriptor, operation):
        # Who held it is done by now, and somebody else already holds the next.
        if not turns:
            path.rename(path.with_name("gone"))
            path.touch()
        turns.append(operation)
        flock(descriptor, operation)

    with store.making(OTHER):
        monkeypatch.setattr(fcntl, "flock", late)
        with store.making(SHAPE) as again:
            assert again is True
            assert len(turns) == 2
            with open(path, "rb") as file, pytest.raises(BlockingIOError):
                flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EBADF, errno.EOPNOTSUPP])
def test_without_locks_there_is_a_cache_all_the_same(store, made, tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with store.making(SHAPE) as again:
        assert again is False
    assert made.put(store) == ""
    assert store.take(made.layer, str(tmp_path / "target")) == ""


# ---- all at once

MANY = """\
import random, sys
from pathlib import Path
from support import caches
from oe_oci.store import Store
from oe_oci.upkeep import Limits, gc

cache, stage, number = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
store, chance = Store(cache), random.Random(number)
taken = 0
for turn in range(60):
    made = caches.make(stage, f"layer{chance.randrange(4)}", size=20_000)
    shape, key = made.layer[:2]
    with store.making(shape):
        found = store.find(shape, key)
        target = stage / "target"
        if not isinstance(found, str):
            reason = store.take(found, str(target))
            assert reason in ("", "its blob is missing"), reason
            if not reason:
                taken += 1
                assert target.read_bytes() == made.data
                assert store.listing(found) in (made.listing, None)
                continue
        else:
            assert found == "", found
        reason = made.put(store)
        assert reason == "", reason
        store.note("app", made.layer.facts["layer"], made.layer)
    if turn % 5 == number % 5:
        done = gc(cache, Limits(max_size=chance.choice([0, 50_000, 10**9])))
        assert not done.failed, done.failed
print(taken)
"""


@pytest.mark.parametrize("count", [2, 8])
def test_builds_and_clean_ups_at_once(store, tmp_path, count):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [[sys.executable, "-c", MANY, store.folder, str(tmp_path / str(n)), str(n)] for n in range(count)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
    processes = [subprocess.Popen(words, **options) for words in argv]
    told = [process.communicate(timeout=120) for process in processes]
    assert [stderr for _, stderr in told] == [""] * count
    assert sum(int(stdout) for stdout, _ in told) > 10
    assert verify(store.folder, quiet) == []
