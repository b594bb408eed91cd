# SPDX-License-Identifier: MIT
"""Digests of files: what is remembered of them from build to build, and when it is not."""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import pytest

from oe_oci import digests as subject
from oe_oci import readers
from oe_oci.content import File, Literal, Part, Region, Stored, stamp_of
from oe_oci.digests import Digests
from oe_oci.errors import ToolError

SECOND = 1_000_000_000
FAR = 3600 * SECOND


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def soon() -> int:
    """A beginning so late that all there is now is old."""
    return time.time_ns() + FAR


@pytest.fixture
def kept(tmp_path) -> str:
    return str(tmp_path / "cache" / "digests" / "one")


IS_LOCAL = subject._is_local


@pytest.fixture
def reads(monkeypatch) -> list[object]:
    """The contents that were read since."""
    found: list[object] = []
    read = subject.content_digest

    def counted(content):
        if isinstance(content, (File, Region)):
            found.append(content)
        return read(content)

    monkeypatch.setattr(subject, "content_digest", counted)
    return found


def files(folder: Path, count: int) -> list[str]:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        (folder / f"{number:03}").write_bytes(b"%d" % number * (number + 1))
    return [str(folder / f"{number:03}") for number in range(count)]


def build(kept: str, paths: list[str], **how) -> list[bytes]:
    """The digests of files in one build."""
    digests = Digests(kept, **{"began": soon(), **how})
    found = [digests(digests.file(path)) for path in paths]
    digests.save()
    return found


def expected(paths: list[str]) -> list[bytes]:
    return [sha256(Path(path).read_bytes()) for path in paths]


def test_a_content_is_read_once(tmp_path, reads):
    (path,) = files(tmp_path / "files", 1)
    digests = Digests()
    one, other = digests.file(path), digests.file(path)
    assert digests.known(one) == b""
    assert digests(one) == digests(other) == digests.known(one) == expected([path])[0]
    assert len(reads) == 1


def test_what_holds_its_digest_is_not_read(reads):
    def refuse():
        raise AssertionError

    data = b"data"
    for content in (Literal(data), Part(refuse, 0, 4, sha256(data).hex()), Stored(refuse, 0, 4, sha256(data).hex())):
        assert Digests()(content) == Digests().known(content) == sha256(data)
    assert Digests().known(Region(b"/no/such/file", 0, 0)) == sha256(b"")


def test_an_unchanged_file_is_not_read_again(tmp_path, kept, reads):
    paths = files(tmp_path / "files", 20)
    assert build(kept, paths) == build(kept, paths) == build(kept, paths) == expected(paths)
    assert len(reads) == 20


def test_with_paranoid_every_file_is_read_and_remembered(tmp_path, kept, reads):
    paths = files(tmp_path / "files", 3)
    assert build(kept, paths, paranoid=True) == build(kept, paths, paranoid=True) == build(kept, paths)
    assert len(reads) == 6


@pytest.mark.parametrize("order", ["as it was", "reversed", "shuffled", "each twice", "fewer", "more"])
def test_the_order_of_files_matters_to_speed_alone(tmp_path, kept, reads, order):
    paths = files(tmp_path / "files", 300)
    build(kept, paths[:200])
    reads.clear()
    asked = {
        "as it was": paths[:200],
        "reversed": paths[:200][::-1],
        "shuffled": random.Random(1).sample(paths[:200], 200),
        "each twice": [path for path in paths[:200] for _ in range(2)],
        "fewer": paths[100:200:3],
        "more": [path for pair in zip(paths[200:], paths[:100]) for path in pair],
    }[order]
    assert build(kept, asked) == expected(asked)
    assert len(reads) == (100 if order == "more" else 0)
    reads.clear()
    assert build(kept, asked) == expected(asked)
    assert not reads


def test_only_what_the_last_build_saw_is_kept(tmp_path, kept, reads):
    paths = files(tmp_path / "files", 10)
    build(kept, paths)
    build(kept, paths[:5])
    assert os.path.getsize(kept) < 5 * 80 + 200
    reads.clear()
    build(kept, paths)
    assert len(reads) == 5


# ---- very many


def asked_of(paths: list[str]) -> list[File]:
    """Whole files as a scan has them."""
    return [
        File(os.fsencode(os.path.dirname(path)), os.path.basename(path), stamp_of(os.lstat(path))) for path in paths
    ]


def test_very_many_small_files_are_read_by_processes(tmp_path, kept, reads, monkeypatch):
    monkeypatch.setattr(subject, "_MANY", 5)
    paths = files(tmp_path / "files", 23)
    digests = Digests(kept, began=soon())
    assert digests.begin(asked_of(paths), 4)() == b"".join(expected(paths))
    assert not reads
    assert digests.begin(asked_of(paths), 4)() == b"".join(expected(paths))
    digests.save()
    assert build(kept, paths) == expected(paths)
    assert not reads


@pytest.mark.parametrize(("count", "jobs"), [(4, 4), (23, 1)], ids=["few", "one processor"])
def test_others_are_read_here(tmp_path, kept, reads, monkeypatch, count, jobs):
    monkeypatch.setattr(subject, "_MANY", 5)
    paths = files(tmp_path / "files", count)
    digests = Digests(kept, began=soon())
    assert digests.begin(asked_of(paths), jobs)() == b"".join(expected(paths))
    assert len(reads) == count


def test_what_a_process_can_not_read_is_the_error_it_is_here(tmp_path, kept, monkeypatch):
    monkeypatch.setattr(subject, "_MANY", 5)
    paths = files(tmp_path / "files", 23)
    digests = Digests(kept, began=soon())
    asked = asked_of(paths)
    os.unlink(paths[7])
    with pytest.raises(ToolError, match="007: No such file"):
        digests.begin(asked, 4)()


def test_who_waits_for_what_is_given_up_reads_nothing(tmp_path, kept, reads, monkeypatch):
    monkeypatch.setattr(subject, "_MANY", 5)
    started = threading.Event()

    def slow(contents, is_wanted):
        started.set()
        while is_wanted():
            time.sleep(0.01)
        return [b""] * len(contents)

    monkeypatch.setattr(readers, "digests_of", slow)
    digests = Digests(kept, began=soon())
    asked = asked_of(files(tmp_path / "files", 23))
    result = digests.begin(asked, 2)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(result)
        assert started.wait(10)
        digests.stop()
        assert isinstance(waiting.exception(10), CancelledError)
    assert not reads
    monkeypatch.setattr(subject, "_MANY", 50)
    assert len(digests.begin(asked, 2)()) == 23 * 32


# ---- changes


def rewritten(path: Path) -> None:
    path.write_bytes(b"x" * path.stat().st_size)


def rewritten_with_its_time(path: Path) -> None:
    facts = path.stat()
    rewritten(path)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def replaced_with_its_time(path: Path) -> None:
    facts, other = path.stat(), path.with_name("other")
    other.write_bytes(b"x" * facts.st_size)
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    other.rename(path)


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def touched(path: Path) -> None:
    os.utime(path)


def chmodded(path: Path) -> None:
    path.chmod(0o600)


@pytest.mark.parametrize(
    "change", [rewritten, rewritten_with_its_time, replaced_with_its_time, longer, touched, chmodded]
)
def test_a_changed_file_is_read(tmp_path, kept, reads, change):
    paths = files(tmp_path / "files", 3)
    build(kept, paths)
    reads.clear()
    change(Path(paths[1]))
    assert build(kept, paths) == expected(paths)
    assert len(reads) == 1


def test_a_moved_file_is_read_for_its_inode_changed(tmp_path, kept, reads):
    paths = files(tmp_path / "files", 1)
    build(kept, paths)
    reads.clear()
    (tmp_path / "files").rename(tmp_path / "moved")  # this alone changes no file
    moved = [str(tmp_path / "moved" / "000")]
    assert build(kept, moved) == expected(moved)
    assert not reads


@pytest.mark.parametrize(
    ("after", "reads_again"),
    [(-FAR, True), (0, True), (1 * SECOND, True), (2 * SECOND - 1, True), (3 * SECOND, False)],
    ids=["the clock was set back", "at once", "a second after", "just before", "well after"],
)
def test_a_file_that_changed_as_the_build_began_is_not_remembered(tmp_path, kept, reads, after, reads_again):
    """It might change once more within the same tick of the clock."""
    paths = files(tmp_path / "files", 1)
    changed = os.stat(paths[0]).st_ctime_ns
    build(kept, paths, began=changed + after)
    build(kept, paths)
    assert len(reads) == 1 + reads_again


def test_a_file_that_is_not_remembered_is_no_reason_to_forget_others(tmp_path, kept, reads):
    paths = files(tmp_path / "files", 2)
    while os.stat(paths[1]).st_ctime_ns <= os.stat(paths[0]).st_ctime_ns:
        os.utime(paths[1])
    build(kept, paths, began=os.stat(paths[1]).st_ctime_ns + 2 * SECOND)
    reads.clear()
    build(kept, paths)
    assert [region.path for region in reads] == [os.fsencode(paths[1])]


def test_parts_of_an_archive_are_known_apart(tmp_path, kept, reads):
    path = tmp_path / "archive"
    path.write_bytes(b"__aabb")

    def parts() -> list[bytes]:
        digests = Digests(kept, began=soon())
        stamp = digests.file(str(path)).stamp
        found = [digests(Region(os.fsencode(path), offset, 2, stamp)) for offset in (2, 4)]
        digests.save()
        return found

    assert parts() == parts() == [sha256(b"aa"), sha256(b"bb")]
    assert len(reads) == 2


def test_what_was_read_elsewhere_is_taken_note_of(tmp_path, kept, reads):
    paths = files(tmp_path / "files", 1)
    digests = Digests(kept, began=soon())
    digests.learn(digests.file(paths[0]), expected(paths)[0])
    digests.save()
    assert build(kept, paths) == expected(paths)
    assert not reads


# ---- what is kept


@pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied", "removed", "folder", "link", "fifo"])
def test_a_damaged_memory_is_none(tmp_path, kept, reads, damage):
    paths = files(tmp_path / "files", 4)
    build(kept, paths)
    data = Path(kept).read_bytes()
    Path(kept).unlink()
    if damage == "truncated":
        Path(kept).write_bytes(data[:-80])
    elif damage == "flipped":
        Path(kept).write_bytes(data[:150] + bytes([data[150] ^ 1]) + data[151:])
    elif damage == "emptied":
        Path(kept).write_bytes(b"")
    elif damage == "folder":
        Path(kept).mkdir()
    elif damage == "link":
        (tmp_path / "elsewhere").write_bytes(data)
        Path(kept).symlink_to(tmp_path / "elsewhere")
    elif damage == "fifo":
        os.mkfifo(kept)
    reads.clear()
    assert build(kept, paths) == expected(paths)
    assert len(reads) == 4


def test_numbers_of_another_machine_say_nothing(tmp_path, kept, reads, monkeypatch):
    paths = files(tmp_path / "files", 2)
    build(kept, paths)
    monkeypatch.setattr(subject, "boot", lambda: b"another")
    build(kept, paths)
    assert len(reads) == 4


def test_where_the_machine_is_not_known_nothing_is_kept(tmp_path, kept, monkeypatch):
    monkeypatch.setattr(subject, "boot", lambda: b"")
    build(kept, files(tmp_path / "files", 2))
    assert not os.path.exists(kept)


def test_a_folder_that_can_not_be_written_is_no_error(tmp_path, reads):
    (tmp_path / "file").write_bytes(b"")
    paths = files(tmp_path / "files", 1)
    assert build(str(tmp_path / "file" / "digests"), paths) == expected(paths)


@pytest.mark.parametrize(
    ("mounts", "remembered"),
    [
        ("21 1 0:20 / / rw - ext4 /dev/sda rw", True),
        ("21 1 0:20 / / rw - nfs4 host:/x rw", False),
        ("21 1 0:20 / / rw - ext4 /dev/sda rw\n22 21 0:31 / {place} rw shared:1 - nfs host:/x rw", False),
        ("21 1 0:20 / / rw - nfs host:/x rw\n22 21 0:31 / {place} rw shared:1 - btrfs /dev/sdb rw", True),
        (
            "21 1 0:20 / / rw - xfs a rw\n22 21 0:31 / {place} rw - xfs b rw\n23 21 0:32 / {place} rw - fuse.x c rw",
            False,
        ),
        ("21 1 0:20 / / rw - nfs a rw\n22 21 0:31 / {place}/files rw - xfs b rw", True),
        ("21 1 0:20 / / rw - ext4 a rw\n22 21 0:31 / {place}/file rw - nfs b rw", True),
        ("21 1 7:3 / / rw - ext4 /dev/loop3 rw", False),
        ("21 1 0:31 / / rw - btrfs /dev/loop3p1 rw", False),
        ("21 1 0:31 / / rw - overlay overlay rw", False),
        ("21 1 0:20 / / rw - squashfs /dev/sda rw", False),
        ("21 1 0:20 / / rw - vfat /dev/sda rw", False),
        ("", False),
    ],
    ids=[
        *("local", "remote", "remote below", "local below", "hidden", "deeper", "beside", "image", "another", "layers"),
        *("read-only", "without all times", "not told"),
    ],
)
def test_only_files_with_times_of_this_machine_are_remembered(tmp_path, kept, reads, monkeypatch, mounts, remembered):
    """Of another machine's files the kernel may tell how they were a while ago; images can be exchanged."""
    place = tmp_path / "a place\t"
    place.mkdir()
    text = str(place).replace(" ", "\\040").replace("\t", "\\011")
    (tmp_path / "mounts").write_text(mounts.format(place=text) + "\n" if mounts else "")
    monkeypatch.setattr(subject, "_MOUNTS", str(tmp_path / "mounts"))
    monkeypatch.setattr(subject, "_is_local", IS_LOCAL)
    paths = files(place / "files", 3)
    assert build(kept, paths) == build(kept, paths) == expected(paths)
    assert len(reads) == (3 if remembered else 6)


def test_a_link_to_another_machine_is_seen_through(tmp_path, kept, reads, monkeypatch):
    (tmp_path / "mounts").write_text(f"1 1 0:2 / / rw - ext4 a rw\n2 1 0:3 / {tmp_path}/far rw - nfs b rw\n")
    monkeypatch.setattr(subject, "_MOUNTS", str(tmp_path / "mounts"))
    monkeypatch.setattr(subject, "_is_local", IS_LOCAL)
    files(tmp_path / "far", 1)
    (tmp_path / "near").symlink_to("far")
    for _ in range(2):
        digests = Digests(kept, began=soon())
        path = os.fsencode(tmp_path / "near" / "000")
        facts = os.stat(path)
        digests(Region(path, 0, facts.st_size, *digests.stamped(path, facts)))
        digests.save()
    assert len(reads) == 2


def test_large_files_are_read_while_others_are_asked_for(tmp_path, kept, monkeypatch):
    let_go = threading.Event()
    read = subject.content_digest

    def slowly(content):
        if content.size > 1 << 16:
            assert let_go.wait(60)
        return read(content)

    monkeypatch.setattr(subject, "content_digest", slowly)
    (tmp_path / "large").write_bytes(bytes(1 << 17))
    digests = Digests(kept, began=soon())
    large, small = digests.file(str(tmp_path / "large")), digests.file(files(tmp_path / "some", 1)[0])
    result = digests.begin([small, large, small], jobs=1)
    assert digests.known(small)
    assert not digests.known(large)
    let_go.set()
    assert result() == sha256(b"0") + sha256(bytes(1 << 17)) + sha256(b"0")


def test_what_was_begun_is_not_read_after_the_end(tmp_path, kept, monkeypatch):
    begun, let_go = threading.Event(), threading.Event()
    read = []

    def slowly(content):
        read.append(content)
        begun.set()
        assert let_go.wait(60)
        return hashlib.sha256().hexdigest()

    monkeypatch.setattr(subject, "content_digest", slowly)
    for name in ("one", "two", "three"):
        (tmp_path / name).write_bytes(bytes(1 << 17))
    digests = Digests(kept, began=soon())
    result = digests.begin([digests.file(str(tmp_path / name)) for name in ("one", "two", "three")], jobs=1)
    assert begun.wait(60)
    threading.Timer(0.1, let_go.set).start()
    digests.stop()
    assert len(read) == 1
    with pytest.raises(CancelledError):
        result()
