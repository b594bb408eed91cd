# SPDX-License-Identifier: MIT
"""Whatever happens to the files of a cache, at rest or during a build: the image is right, and the cache heals."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from support import forks, tools, warm
from support.warm import HITS, LAYERS, Warm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def forked() -> Iterator[forks.Forks]:
    yield from forks.running()


@pytest.fixture(scope="module")
def subject(forked) -> Iterator[Warm]:
    with tools.scratch("oe-oci-faults-") as place:
        yield Warm(place, forked, unpacked=False)


@pytest.fixture(scope="module")
def unpacked(forked) -> Iterator[Warm]:
    with tools.scratch("oe-oci-faults-") as place:
        yield Warm(place, forked, unpacked=True)


def test_every_kind_of_file_is_there(subject):
    """So that each is damaged below."""
    tops = [name.partition("/")[0] for name in subject.files]
    assert {top: tops.count(top) for top in tops} == {
        "CACHEDIR.TAG": 1,
        "archives": 5,  # of two packages, the layer of the base image and the archive of the rootfs; and notes
        "blobs": 2 * len(LAYERS),
        "digests": 1,
        "entries": len(LAYERS),
        "indexes": 1,
        "latest": len(LAYERS),
        "lock": 1,
    }
    assert set(map(subject.layer, subject.files)) == {"", *LAYERS}


# ---- at rest


def flip(path: Path) -> None:
    """In place, with the time of the last change as it was."""
    facts = path.stat()
    with open(path, "r+b") as file:
        data = file.read()
        file.seek(len(data) // 2)
        file.write(bytes([data[len(data) // 2] ^ 1]) if data else b"\1")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def linked(path: Path) -> None:
    """A link to the same bytes outside of the cache."""
    outside = path.parents[len(path.parts) - path.parts.index("copy") - 2].parent / "outside"
    os.replace(path, outside)
    path.symlink_to(outside)


def instead(make: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda path: (path.unlink(), make(path))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: os.truncate(path, max(0, path.stat().st_size - 1)),
    "emptied": lambda path: os.truncate(path, 0),
    "longer": lambda path: os.truncate(path, path.stat().st_size + 1),
    "one bit": flip,
    "removed": lambda path: path.unlink(),
    "folder": instead(lambda path: path.mkdir()),
    "full folder": instead(lambda path: (path.mkdir(), (path / "more").touch())),
    "link to nothing": instead(lambda path: path.symlink_to("nothing")),
    "link to /dev/zero": instead(lambda path: path.symlink_to("/dev/zero")),
    "link outside": linked,
    "fifo": instead(os.mkfifo),
}
OTHER_KINDS = list(DAMAGES)[list(DAMAGES).index("folder") :]


def damage_and_heal(warm_: Warm, name: str, damage: str) -> None:
    """The layer that is damaged is made again, and no other; then all are hits, and there is nothing to mend."""
    image, cache = warm_.image, warm_.copy()
    DAMAGES[damage](cache / name)
    if name != "lock" and (damage != "removed" or name.startswith(("blobs", "entries"))):
        assert image.faults(cache), name
    told = image.build(cache)
    made = [layer for layer, reason in told.items() if reason]
    assert made == ([warm_.layer(name)] if warm_.layer(name) else []), (name, told)
    assert image.build(cache) == HITS, name
    image.gc(cache)
    assert image.faults(cache) == [], name
    assert image.build(cache) == HITS, name
    assert warm.files(cache) == warm_.files


@pytest.mark.parametrize("damage", [damage for damage in DAMAGES if damage not in OTHER_KINDS])
def test_every_file_damaged(subject, damage):
    for name in subject.files:
        damage_and_heal(subject, name, damage)


@pytest.mark.parametrize("damage", OTHER_KINDS)
def test_something_else_in_the_place_of_a_file(subject, damage):
    """Of one file of each kind."""
    found = {(name.partition("/")[0], bool(subject.layer(name))): name for name in subject.files}
    assert len(found) == 9
    for name in found.values():
        damage_and_heal(subject, name, damage)


@pytest.mark.parametrize("damage", ["truncated", "one bit", "removed"])
def test_files_damaged_of_a_folder(unpacked, damage):
    """Of a root file system that is one, each of whose files is known by its stamp."""
    for name in unpacked.files:
        if name.startswith("digests") or unpacked.layer(name) == "data":
            damage_and_heal(unpacked, name, damage)


@pytest.mark.parametrize("damage", ["one bit", "removed"])
def test_a_clean_up_of_damage_first(subject, damage):
    """What it takes away is made again, and no other."""
    image = subject.image
    for name in subject.files:
        cache = subject.copy()
        DAMAGES[damage](cache / name)
        if name == "CACHEDIR.TAG":
            # Nothing may be removed from a folder that does not say what it is.
            image.forks("cache", "gc", "--cache-dir", cache, status=2)
        else:
            image.gc(cache)
        made = [layer for layer, reason in image.build(cache).items() if reason]
        assert len(made) <= name.startswith(("blobs", "entries")), (name, made)
        assert not subject.layer(name) or made == [subject.layer(name)]
        assert image.build(cache) == HITS, name


@pytest.mark.parametrize("what", ["blobs", "blobs/sha256", "entries", "latest", "latest/app", "archives", "digests"])
@pytest.mark.parametrize("damage", ["removed", "file", "link"])
def test_folders_damaged(subject, what, damage):
    image, cache = subject.image, subject.copy()
    os.rename(cache / what, image.place / "moved")
    if damage == "file":
        (cache / what).touch()
    if damage == "link":
        (cache / what).symlink_to(image.place / "moved")
    image.build(cache)
    image.build(cache)
    image.gc(cache)
    assert image.faults(cache) == []
    image.build(cache)
    assert image.build(cache) == HITS
    outside = warm.files(image.place / "moved")
    assert outside == sorted(name[len(what) + 1 :] for name in subject.files if name.startswith(f"{what}/"))
    shutil.rmtree(image.place / "moved")


def test_every_file_unreadable(subject):
    """By errors that are those of a bad disk, as permissions do not keep root out."""
    image = subject.image
    for name in subject.files:
        cache = subject.copy()
        told = image.build(cache, before=REFUSING.format(path=str(cache / name)))
        made = [layer for layer, reason in told.items() if reason]
        assert made == ([subject.layer(name)] if subject.layer(name) else []), (name, told)
        assert image.build(cache) == HITS, name


REFUSING = """\
import errno, os
def refusing(call):
    def wrapper(path, *words, **options):
        if path == {path!r}:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return call(path, *words, **options)
    return wrapper
os.open = refusing(os.open)
"""


# ---- lies


def rewritten(path: Path, change: Callable[[dict], object]) -> None:
    """An entry changed, with a checksum that holds."""
    head, _, body = path.read_bytes()[:-64].partition(b"\n")
    value = json.loads(body)
    change(value)
    data = head + b"\n" + json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    path.write_bytes(data + hashlib.sha256(data).hexdigest().encode())


def entries(cache: Path) -> dict[str, tuple[Path, dict]]:
    found = {}
    for path in cache.glob("entries/*/*"):
        value = json.loads(path.read_bytes()[:-64].partition(b"\n")[2])
        found[value["facts"]["layer"]] = path, value
    return found


def test_an_entry_in_the_place_of_another_is_a_miss(subject):
    cache, image = subject.copy(), subject.image
    found = entries(cache)
    shutil.copy(found["conf"][0], found["data"][0])
    assert any(fault.startswith("entry ") for fault in image.faults(cache))
    told = image.build(cache)
    assert told == {**HITS, "data": "its entry is that of another layer"}
    assert image.build(cache) == HITS
    assert image.faults(cache) == []


@pytest.mark.parametrize("field", ["blob", "listing"])
def test_a_size_that_is_not_the_blobs_is_noticed(subject, field):
    cache, image = subject.copy(), subject.image
    rewritten(entries(cache)["conf"][0], lambda value: value[field].update(size=value[field]["size"] + 1))
    assert [fault for fault in image.faults(cache) if " bytes, not " in fault]
    told = image.build(cache)
    assert told == ({**HITS, "conf": "its blob is damaged"} if field == "blob" else HITS)
    assert image.build(cache) == HITS
    image.gc(cache)
    image.build(cache)
    assert image.faults(cache) == []


def test_swapped_listings_explain_wrongly_and_change_no_image(subject):
    cache, image = subject.copy(), subject.image
    listing = entries(cache)["data"][1]["listing"]
    rewritten(entries(cache)["conf"][0], lambda value: value.update(listing=listing))
    assert image.build(cache) == HITS


def test_whoever_writes_to_the_folder_is_trusted(subject):
    """A lie that agrees with itself is an image of other bytes, which nothing but making the layer again could tell.

    So says the reference of OCI_LAYER_CACHE_DIR. `cache verify` knows that the diff ID is not that of the blob, and
    `verify` that of the image; where the diff ID lies too, nothing can know.
    """
    cache, image = subject.copy(), subject.image
    other = entries(cache)["data"][1]
    rewritten(entries(cache)["conf"][0], lambda value: value.update(blob=other["blob"]))
    assert any(fault.startswith("diff-id ") for fault in image.faults(cache))
    image.forks(*image.words(cache, "-q"))
    with pytest.raises(AssertionError):
        image.assert_right()
    image.forks("verify", image.out / "app-oci", status=4)
    assert image.cold() == image.right
