# SPDX-License-Identifier: MIT
"""Whatever happens to a cache, its bytes are right or a miss with a reason, and the next put makes it whole again."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import caches, tools

from oe_oci import kept, upkeep
from oe_oci import store as store_module
from oe_oci.audit import verify
from oe_oci.errors import ToolError
from oe_oci.store import Store
from oe_oci.upkeep import Limits, gc

NOTHING = Limits()


def quiet(_: str) -> None:
    pass


@pytest.fixture
def made(tmp_path: Path) -> caches.Made:
    return caches.make(tmp_path / "stage")


@pytest.fixture
def store(tmp_path: Path, made: caches.Made) -> Store:
    """With one layer, which is that of an image, and beside it what one build remembered for the next."""
    store = Store(str(tmp_path / "cache"))
    put_all(store, made)
    return store


def put_all(store: Store, made: caches.Made) -> None:
    assert made.put(store) == ""
    store.note("app", made.layer.facts["layer"], made.layer)
    for kind in ("indexes", "archives", "digests"):
        kept.write(os.path.join(store.folder, kind, "app"), b"oe-oci something 1\n", b"x" * 100)


def assert_right_or_a_reason(store: Store, made: caches.Made, target: Path) -> list[str]:
    """As a build goes about it; the reasons."""
    found = store.find(made.layer.shape, made.layer.key)
    if isinstance(found, str):
        reasons = [found]
    else:
        assert found == made.layer
        reasons = [store.take(found, str(target))]
        assert target.exists() == (reasons == [""])
        if target.exists():
            assert target.read_bytes() == made.data
    assert store.listing(made.layer) in (made.listing, None)
    assert store.latest("app", "one") in ([made.layer], [])
    for name in os.listdir(target.parent):
        assert not name.startswith(kept.UNFINISHED)
    target.unlink(missing_ok=True)
    return reasons


# ---- every file damaged


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    rewrite(path, bytes(data))


def rewrite(path: Path, data: bytes) -> None:
    path.unlink()  # the blob is the build's own too
    path.write_bytes(data)


def sealed(path: Path) -> None:
    """A socket: nobody can open it, whoever they are."""
    import socket

    path.unlink()
    here = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(path.name[:50])
        os.rename(path.name[:50], path.name)
    finally:
        os.chdir(here)


DAMAGES = {
    "truncated": lambda path: rewrite(path, path.read_bytes()[:-1]),
    "half": lambda path: rewrite(path, path.read_bytes()[: path.stat().st_size // 2]),
    "longer": lambda path: rewrite(path, path.read_bytes() + b"\n"),
    "one bit": flip,
    "first bit": lambda path: rewrite(path, bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]),
    "zeros": lambda path: rewrite(path, bytes(path.stat().st_size)),
    "empty": lambda path: rewrite(path, b""),
    "removed": lambda path: path.unlink(),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "full folder": lambda path: (path.unlink(), path.mkdir(), (path / "file").touch()),
    "fifo": lambda path: (path.unlink(), os.mkfifo(path)),
    "socket": sealed,
    "link to nothing": lambda path: (path.unlink(), path.symlink_to("nothing")),
    "link to itself": lambda path: (path.unlink(), path.symlink_to(path.name)),
    "link to /dev/zero": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
}
FILES = ["blob", "listing", "entry", "note", "CACHEDIR.TAG"]
OTHER_KINDS = list(DAMAGES)[list(DAMAGES).index("folder") :]


def piece(store: Store, made: caches.Made, name: str) -> Path:
    layer = made.layer
    places = {
        "blob": f"blobs/sha256/{layer.blob.digest.hex}",
        "listing": f"blobs/sha256/{layer.listing.digest.hex}",
        "entry": f"entries/{layer.shape}/{layer.key}",
        "note": "latest/app/one",
    }
    return Path(store.folder, places.get(name, name))


@pytest.mark.parametrize(
    ("name", "damage"),
    [*((name, damage) for name in FILES for damage in DAMAGES), *(("lock", damage) for damage in OTHER_KINDS)],
)
def test_damaged(store, made, tmp_path, name, damage):
    whole = caches.files(Path(store.folder))
    DAMAGES[damage](piece(store, made, name))
    assert (verify(store.folder, quiet) == []) == ((name, damage) == ("note", "removed"))
    for _ in range(2):
        reasons = assert_right_or_a_reason(store, made, tmp_path / "target")
        # Of an entry that is not there nothing is told.
        assert (reasons != [""]) == (name in ("blob", "entry") and (name, damage) != ("entry", "removed")), reasons
    put_all(store, made)
    assert assert_right_or_a_reason(store, made, tmp_path / "target") == [""]
    assert verify(store.folder, quiet) == []
    assert caches.files(Path(store.folder)) == whole


def test_every_file_of_the_store_is_damaged_above(store, made):
    known = {str(piece(store, made, name).relative_to(store.folder)) for name in [*FILES, "lock"]}
    assert known == {name for name in caches.files(Path(store.folder)) if not name.endswith("s/app")}


def test_only_a_regular_file_is_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/etc/passwd")
    for path in (tmp_path, tmp_path / "fifo", tmp_path / "link", "/dev/zero"):
        with pytest.raises(OSError, match="not a regular file"):
            kept.opened(os.fspath(path))


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 400])
def test_an_entry_cut_anywhere_is_damaged(store, made, size):
    path = piece(store, made, "entry")
    rewrite(path, path.read_bytes()[:size])
    assert store.find(made.layer.shape, made.layer.key) == "its entry is damaged"


def entry_of(**changes: object) -> bytes:
    import json

    layer = {"media_type": "", "digest": "sha256:" + "0" * 64, "size": 1}
    blob = {"mediaType": "", "digest": layer["digest"], "size": 1}
    value = {"shape": "s", "key": "k", "blob": blob, "diff_id": layer["digest"], "raw_size": 1, "listing": blob}
    return json.dumps({**value, "facts": {}, "made": 1, **changes}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        entry_of(blob=None),
        entry_of(blob={"mediaType": "", "digest": "sha512:" + "0" * 128, "size": 1}),
        entry_of(diff_id="../../etc"),
        entry_of(raw_size=-1),
        entry_of(raw_size=True),
        entry_of(facts=[]),
        entry_of(key=3),
    ],
)
def test_an_entry_of_another_version_is_damaged(store, made, body):
    path = piece(store, made, "entry")
    kept.keep(str(path), b"oe-oci layer 1\n", body)
    assert store.find(made.layer.shape, made.layer.key) == "its entry is damaged"
    kept.keep(str(path), b"oe-oci layer 0\n", body)
    assert store.find(made.layer.shape, made.layer.key) == "its entry is damaged"


def test_an_entry_under_another_name_is_no_hit(store, made, tmp_path):
    other = caches.make(tmp_path / "stage", "other")
    target = Path(store.folder, "entries", other.layer.shape, other.layer.key)
    target.parent.mkdir()
    shutil.copy(piece(store, made, "entry"), target)
    assert store.find(other.layer.shape, other.layer.key) == "its entry is that of another layer"
    assert [violation.rule for violation in verify(store.folder, quiet)] == ["entry"]


def test_a_huge_entry_is_not_read(store, made):
    path = piece(store, made, "entry")
    os.truncate(path, 1 << 40)
    assert store.find(made.layer.shape, made.layer.key) == "its entry is damaged"


@pytest.mark.parametrize("damage", [damage for damage in DAMAGES if damage != "removed"])
@pytest.mark.parametrize("kind", ["indexes", "archives", "digests"])
def test_damage_of_what_is_remembered_is_found(store, made, kind, damage):
    path = Path(store.folder, kind, "app")
    DAMAGES[damage](path)
    found = verify(store.folder, quiet)
    assert [(violation.rule in ("remembered", "misplaced"), violation.where) for violation in found] == [
        (True, f"{kind}/app")
    ]


@pytest.mark.parametrize("name", ["blob", "entry", "listing", "note"])
def test_unreadable(store, made, tmp_path, monkeypatch, name):
    """Permissions do not keep root out."""
    path = str(piece(store, made, name))
    real = os.open

    def refuse(file, *words, **options):
        if os.path.normpath(file) == path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), file)
        return real(file, *words, **options)

    monkeypatch.setattr(os, "open", refuse)
    reasons = assert_right_or_a_reason(store, made, tmp_path / "target")
    told = {name: f"its {name} can not be read: Permission denied" for name in ("blob", "entry")}
    assert reasons == [told.get(name, "")]


def test_a_bad_disk(store, made, tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "preadv", broken)
    assert assert_right_or_a_reason(store, made, tmp_path / "target") == [
        "its blob can not be read: Input/output error"
    ]
    assert piece(store, made, "blob").exists()


# ---- a full disk


@pytest.fixture
def full(monkeypatch):
    """Makes the n-th write fail; tells how many there were."""
    count = [0, 0]
    real = os.write

    def arm(number: int) -> list[int]:
        count[:] = [0, number]
        return count

    def write(descriptor, data):
        count[0] += 1
        if count[0] == count[1]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data)

    def refuse(*_, **__):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr(os, "link", refuse)
    return arm


def test_a_target_on_a_full_disk_is_the_builds_error(store, made, tmp_path, full):
    full(1)
    with pytest.raises(ToolError, match=r"cannot write .*/target: No space left on device"):
        store.take(made.layer, str(tmp_path / "target"))
    assert sorted(os.listdir(tmp_path)) == ["cache", "stage"]
    full(0)
    assert store.take(made.layer, str(tmp_path / "target")) == ""


def test_a_full_cache(tmp_path):
    """Whatever does not fit: each size of the disk ends in another file."""
    tools.need_root()
    made = caches.make(tmp_path / "stage", size=30_000)
    reasons = set()
    for number in range(2, 30):
        with tools.tmpfs(tmp_path / f"disk{number}", f"16M,nr_inodes={number}") as disk:
            store = Store(str(disk / "cache"))
            reasons.add(made.put(store))
            store.note("app", "one", made.layer)
            found = store.find(made.layer.shape, made.layer.key)
            assert found in ("", made.layer)
            assert not list(disk.rglob(".new-*"))
    assert reasons == {"", "No space left on device"}


def test_a_full_cache_of_bytes(tmp_path):
    tools.need_root()
    made = caches.make(tmp_path / "stage", size=30_000)
    reasons = []
    for pages in range(1, 16):
        with tools.tmpfs(tmp_path / f"disk{pages}", str(pages * 4096)) as disk:
            store = Store(str(disk))
            reasons.append(made.put(store))
            assert store.find(made.layer.shape, made.layer.key) in ("", made.layer)
            assert not list(disk.rglob(".new-*"))
            if reasons[-1]:
                assert store.take(made.layer, str(tmp_path / "target")) in ("", "its blob is missing")
                gc(store.folder, NOTHING)
                assert not [name for name in caches.files(disk) if name.startswith(("blobs", "entries"))]
    assert set(reasons[:9]) == {"No space left on device"}
    assert reasons[-1] == ""


# ---- killed

# Ends itself before the n-th call that changes what the file system holds, and tells how many there were.
STOPPER = """\
import fcntl, os, shutil, signal, sys
from pathlib import Path
from support import caches
from oe_oci import store as store_module
from oe_oci.store import Store
from oe_oci.upkeep import Limits, gc
number, left = 0, int(sys.argv[1])

def counted(call):
    def wrapper(*words, **options):
        global number
        number += 1
        if number == left:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*words, **options)
    return wrapper

cache, stage, what = sys.argv[2], Path(sys.argv[3]), sys.argv[4]
store = Store(cache)
one, two = (caches.make(stage, name) for name in ("one", "two"))
if what.endswith("copied"):
    del os.link
    def link(*_, **__): raise OSError(18, "")
    os.link = link
for module, names in (
    (os, "mkdir rename replace link unlink rmdir utime write fchmod truncate"), (shutil, "rmtree"), (fcntl, "flock")
):
    for each in names.split():
        setattr(module, each, counted(getattr(module, each)))
open_ = os.open
os.open = lambda path, flags, *mode, **options: (counted(open_) if flags & os.O_CREAT else open_)(
    path, flags, *mode, **options)
if what.startswith("put"):
    with store.making(one.layer.shape):
        assert one.put(store) == ""
        store.note("app", "one", one.layer)
elif what.startswith("take"):
    assert store.take(one.layer, str(stage / "target")) == ""
else:
    limits = Limits(max_size=0) if what == "gc all" else Limits()
    assert not gc(cache, limits).failed
print(number)
"""


def stopped(cache: Path, stage: Path, what: str, number: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", STOPPER, str(number), str(cache), str(stage), what]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)


def begin(cache: Path, made: caches.Made, other: caches.Made, what: str) -> None:
    """What is there when it begins: nothing, a layer, a layer with a damaged blob, or that and garbage."""
    shutil.rmtree(cache, ignore_errors=True)
    store = Store(str(cache))
    if what in ("put", "put copied"):
        return
    put_all(store, made)
    if what.startswith("put again"):
        flip(piece(store, made, "blob"))
        flip(piece(store, made, "listing"))
        flip(piece(store, made, "note"))
    if what.startswith("gc"):
        put_all(store, other)
        piece(store, other, "blob").unlink()
        (cache / "locks").mkdir(exist_ok=True)
        (cache / "locks" / made.layer.shape).touch()
        (cache / "entries" / ".new-0123456789abcdef").touch()
        (cache / "blobs" / "sha256" / ("0" * 64)).mkdir()


@pytest.mark.parametrize(
    "what", ["put", "put copied", "put again", "put again copied", "take", "take copied", "gc", "gc all"]
)
def test_killed_before_any_change_of_the_file_system(tmp_path, what):
    """Then all is right or a miss, a clean-up leaves nothing over, and a put makes it whole."""
    stage, cache, clean = tmp_path / "stage", tmp_path / "cache", tmp_path / "clean"
    made, other = caches.make(tmp_path / "own"), caches.make(tmp_path / "own", "two")
    put_all(Store(str(clean)), made)
    begin(cache, made, other, what)
    done = stopped(cache, stage, what, 0)
    assert done.returncode == 0, done.stderr
    count = int(done.stdout)
    assert count >= (4 if what == "take" else 5)
    states = set()
    for number in range(1, count + 1):
        begin(cache, made, other, what)
        done = stopped(cache, stage, what, number)
        assert done.returncode == -signal.SIGKILL, done.stderr
        store = Store(str(cache))
        states.add(tuple(caches.files(cache)))
        (tmp_path / "out").mkdir(exist_ok=True)
        assert_right_or_a_reason(store, made, tmp_path / "out" / "target")
        assert not gc(str(cache), NOTHING).failed
        assert {violation.rule for violation in verify(str(cache), quiet)} <= {"blob", "tag"}
        put_all(store, made)
        assert assert_right_or_a_reason(store, made, tmp_path / "out" / "target") == [""]
        assert not gc(str(cache), NOTHING).failed
        assert verify(str(cache), quiet) == []
        assert caches.files(cache) == caches.files(clean)
    assert len(states) > (0 if what.startswith("take") else 3)


def test_gc_spares_what_is_being_put(store, tmp_path, monkeypatch):
    """The one waits for the other; where it can not, for what is young."""
    monkeypatch.setattr(store_module, "TIDYING_WAIT", 0.05)
    made = caches.make(tmp_path / "stage", "two")
    write, done = kept.write, []

    def tidied_before(*words):
        done.append(gc(store.folder, NOTHING))
        write(*words)

    monkeypatch.setattr(store_module.kept, "write", tidied_before)
    assert made.put(store) == ""
    assert done[0].removed == ()
    assert store.take(made.layer, str(tmp_path / "target")) == ""


def test_gc_waits_for_a_put(store, tmp_path, monkeypatch):
    """With the lock, what nothing leads to goes at once."""
    (blob := piece(store, caches.make(tmp_path / "stage", "two"), "blob")).touch()
    with open(Path(store.folder, "lock"), "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        monkeypatch.setattr(store_module, "TIDYING_WAIT", 0.05)
        gc(store.folder, NOTHING)
        assert blob.exists()
    gc(store.folder, NOTHING)
    assert not blob.exists()


def test_where_nothing_can_be_locked_what_is_young_stays(store, monkeypatch):
    folder = Path(store.folder)
    names = [
        "blobs/sha256/" + "0" * 64,
        "entries/.new-0123456789abcdef",
        "indexes/.new-0123456789abcdef",
        "locks/" + "1" * 64,
    ]
    (folder / "locks").mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert gc(store.folder, NOTHING).removed == ()
    for name in names:
        os.utime(folder / name, (1e9, 1e9))
    assert sorted(removal.where for removal in gc(store.folder, NOTHING).removed) == sorted(names)
    assert verify(store.folder, quiet) == []


def test_what_is_being_written_stays(store):
    for kind in ("blobs/sha256", "entries", "latest/app", "indexes", "archives", "digests", ""):
        with kept.unfinished(os.path.join(store.folder, kind)) as (_, name):
            os.utime(name, (1e9, 1e9))
            assert gc(store.folder, NOTHING).removed == ()
            assert verify(store.folder, quiet) == []
            assert os.path.exists(name)


def test_a_layer_that_is_being_made_keeps_its_lock(store, made):
    with store.making(made.layer.shape):
        path = Path(store.folder, "locks", made.layer.shape)
        os.utime(path, (1e9, 1e9))
        assert gc(store.folder, Limits(max_size=0)).removed != ()
        assert path.exists()


def test_what_can_not_be_removed_is_told(store, made, monkeypatch):
    real = os.unlink

    def refuse(path, **options):
        if "dir_fd" in options and os.readlink(f"/proc/self/fd/{options['dir_fd']}").endswith("blobs/sha256"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        real(path, **options)

    monkeypatch.setattr(upkeep.os, "unlink", refuse)
    done = gc(store.folder, Limits(max_size=0))
    assert {reason for _, reason in done.failed} == {"Permission denied"}
    assert len(done.failed) == 2
    assert done.left == sum(
        len(data) for data in map(Path.read_bytes, filter(Path.is_file, Path(store.folder).rglob("*")))
    )
