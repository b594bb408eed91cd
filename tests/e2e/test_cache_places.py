# SPDX-License-Identifier: MIT
"""A cache on a full, closed, foreign or oddly named folder, and clocks that go wrong: the image is right."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import compare, forks, packages, tools, warm
from support.warm import HITS, LAYERS, Image

if TYPE_CHECKING:
    from collections.abc import Iterator

FULL = "No space left on device"
YEARS = 15 * 365 * 24 * 3600


@pytest.fixture(scope="module")
def forked() -> Iterator[forks.Forks]:
    yield from forks.running()


@pytest.fixture(scope="module")
def image(forked) -> Iterator[Image]:
    with tools.scratch("oe-oci-places-", 0o755) as place:
        yield Image(place, forked)


@pytest.fixture(scope="module")
def filled(image) -> Path:
    """A cache that has all."""
    for _ in range(2):
        image.clear()
        image.build(image.place / "filled")
    return image.place / "filled"


# ---- full


def assert_sound(image: Image, cache: Path) -> None:
    assert not list(cache.rglob(".new-*"))
    assert not [name for name in warm.files(cache) if name.startswith("locks/")]
    image.gc(cache)
    assert image.faults(cache) == []


@pytest.mark.parametrize("limit", ["size={}k", "size=16M,nr_inodes={}"], ids=["bytes", "inodes"])
def test_a_full_cache(image, folder, limit):
    """Each size of the disk ends in another file; a build goes on without."""
    hits = set()
    for number in range(4, 136, 4) if "size={}k" in limit else range(2, 60, 2):
        image.clear()
        with tools.tmpfs(folder / f"disk{number}", limit.format(number)[5:]) as disk:
            image.build(disk / "cache")
            hits.add(tuple(not reason for reason in image.build(disk / "cache").values()))
            if (disk / "cache").exists():
                assert_sound(image, disk / "cache")
            image.build(disk / "cache")
    assert (True,) * len(LAYERS) in hits
    assert (False,) * len(LAYERS) in hits
    assert len(hits) > 2


@pytest.mark.parametrize("begin", ["cold", "warm"])
def test_full_outputs(image, filled, folder, begin):
    """The build's error, and none of the cache's."""
    failed = 0
    for size in range(4, 100, 8):
        cache = warm.copied(filled, image.place / "cache")
        if begin == "cold":
            shutil.rmtree(cache)
        with tools.tmpfs(folder / f"disk{size}", f"{size}k") as disk:
            done = image.forks(*image.words(cache, "-q", out=disk / "out"), status=None)
            assert done.status in (0, 3)
            if done.status:
                assert (FULL in done.stderr, done.stderr.count("oe-oci: ")) == (True, 1), done.stderr
                assert list(disk.iterdir()) == []
                failed += 1
            else:
                assert compare.contents(disk / "out") == image.right
        if cache.exists():
            assert_sound(image, cache)
        image.clear()
        image.build(cache)
        assert image.build(cache) == HITS
    assert 2 < failed < 12


# ---- closed, foreign, odd


def test_a_cache_that_is_read_only(image, filled, folder):
    with tools.tmpfs(folder / "disk", "16M") as disk:
        (disk / "empty").mkdir()
        warm.copied(filled, disk / "cache")
        tools.run("mount", "-o", "remount,ro", disk)
        before = warm.state(disk / "cache")
        image.clear()
        assert image.build(disk / "cache") == HITS
        assert all(image.build(disk / "empty").values())
        assert all(image.build(disk / "missing").values())
        assert warm.state(disk / "cache") == before


def test_a_cache_on_another_file_system(image, folder):
    with tools.tmpfs(folder / "disk", "16M") as disk:
        image.clear()
        image.build(disk / "cache")
        assert image.build(disk / "cache") == HITS
        assert image.faults(disk / "cache") == []


@pytest.mark.parametrize("name", [b"a b\n'\"$HOME%5d:#\\", "grün ☃".encode(), b"not \xff UTF-8", b"-rf", b"n" * 255])
def test_a_cache_of_any_name(image, folder, name):
    cache = Path(os.fsdecode(os.path.join(os.fsencode(folder), name)))
    image.clear()
    image.build(cache)
    image.clear()
    assert image.build(cache) == HITS
    assert image.faults(cache) == []
    assert [path.name for path in folder.iterdir()] == [cache.name]


def test_a_cache_that_a_link_leads_to(image, folder):
    (folder / "cache").mkdir()
    (folder / "link").symlink_to("cache")
    image.clear()
    image.build(folder / "link")
    assert image.build(folder / "link") == HITS
    assert image.build(folder / "cache") == HITS
    assert image.gc(folder / "link") == []
    assert image.faults(folder / "link") == []


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("nothing"), os.mkfifo])
def test_no_folder_in_the_place_of_a_cache(image, folder, make):
    make(folder / "cache")
    image.clear()
    assert all(image.build(folder / "cache").values())
    assert not (folder / "cache").is_dir()


def as_nobody(image: Image, product: tools.Copy, cache: Path) -> dict[str, str]:
    """An ordinary user's build: why each layer was made."""
    out = image.place / "theirs"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    tools.give_to_nobody(out)
    words = [*tools.as_nobody(), product.program, "-m", "oe_oci", *image.words(cache, "--json", "-q", out=out)]
    done = tools.run(*words, env=product.environment(HOME="/nonexistent"), cwd="/")
    assert compare.contents(out) == image.right
    assert {path.lstat().st_uid for path in out.rglob("*")} == {tools.NOBODY}
    return warm.reasons(json.loads(done.stdout))


def test_a_cache_of_another_user(image, filled, product):
    """What may be read is taken; what is theirs is no output of another one."""
    cache = warm.copied(filled, image.place / "cache")
    assert as_nobody(image, product, cache) == HITS
    cache.chmod(0o700)
    assert all(as_nobody(image, product, cache).values())
    shutil.rmtree(cache)
    cache.mkdir()
    tools.give_to_nobody(cache)
    assert all(as_nobody(image, product, cache).values())
    image.clear()
    assert image.build(cache) == HITS
    assert {path.lstat().st_uid for path in image.out.rglob("*")} == {0}
    # They change what they own: root's output is not theirs.
    for path in cache.glob("blobs/sha256/*"):
        path.write_bytes(b"")
    image.assert_right()
    assert as_nobody(image, product, cache) == dict.fromkeys(LAYERS, "its blob is damaged")


def test_users_who_share_a_folder(image, folder, product):
    cache = folder / "cache"
    cache.mkdir()
    cache.chmod(0o1777)
    image.clear()
    image.build(cache, before="import os; os.umask(0)")
    assert as_nobody(image, product, cache) == HITS
    image.clear()
    assert image.build(cache) == HITS


@pytest.mark.parametrize("umask", [0o077, 0o777 & ~0o700, 0])
def test_a_umask_is_not_in_the_outputs(image, folder, umask):
    for _ in range(2):
        image.clear()
        told = image.build(folder / "cache", before=f"import os; os.umask({umask})")
    assert told == HITS


# ---- clocks


class Tiny:
    """A file of each kind of input, which are rewritten in place so that their sizes and times are the same."""

    def __init__(self, place: Path, forked: forks.Forks) -> None:
        self.place, self.forks = place, forked
        (place / "rootfs" / "srv").mkdir(parents=True)
        (place / "feed").mkdir()
        layers = f"rootfs:files:/srv/file host:host:{place}/host:/etc/ package:packages:one"
        (place / "app.conf").write_text(f'OCI_IMAGE_TAR_OUTPUT = "0"\nOCI_LAYERS = "{layers}"\n')

    def write(self, text: str, seconds: int) -> None:
        made = packages.package("one", files={"bin/one": text.encode()}, compression="none")
        inputs = {"rootfs/srv/file": text.encode(), "host": text.encode(), "feed/one_1.0_all.deb": made.data}
        for name, data in inputs.items():
            path = self.place / name
            path.touch()
            with open(path, "r+b") as file:
                file.write(data)
            os.utime(path, (seconds, seconds))

    def build(self, *more: str, before: str = "") -> set[str]:
        """The texts that are in the image."""
        words = ("--rootfs", self.place / "rootfs", "--feed", self.place / "feed", "--cache-dir", self.place / "cache")
        words = ("build", self.place / "app.conf", *words, "--deploy-dir", self.place / "out", "--json", "-q", *more)
        report = json.loads(self.forks(*words, before=before).stdout)
        texts = set()
        for layer, name in zip(report["layers"], ("srv/file", "etc/host", "bin/one"), strict=True):
            blob = self.place / "out" / "app-oci" / "blobs" / "sha256" / layer["digest"][7:]
            with tarfile.open(blob) as archive:
                texts.add(archive.extractfile(name).read().decode())
        return texts


@pytest.fixture
def tiny(folder, forked) -> Tiny:
    return Tiny(folder, forked)


SHIFTED = "import time\nreal = time.time_ns\ntime.time_ns = lambda: real() + {hours} * 3600 * 10**9\n"


@pytest.mark.parametrize("hours", [(0,), (-1,), (1,), (0, -1, 1, -2)])
def test_inputs_rewritten_in_quick_succession(tiny, hours):
    """With the clock as it is, behind, ahead, and stepped between builds."""
    for number in range(30):
        text = f"text {number:04}"
        tiny.write(text, 1_600_000_000)
        assert tiny.build(before=SHIFTED.format(hours=hours[number % len(hours)])) == {text}


def test_inputs_rewritten_after_their_digests_are_known(tiny):
    """The guard has let them pass, and their stamps tell."""
    tools.need_own_disk(tiny.place)
    ahead = SHIFTED.format(hours=1)
    for number in range(10):
        text = f"text {number:04}"
        tiny.write(text, 1_600_000_000)
        assert tiny.build(before=ahead) == {text}
        assert tiny.build(before=ahead + SEALED) == {text}


# Fails where a file is read for its digest alone.
SEALED = """\
from oe_oci import content, digests
real_digest = content.content_digest
def refuse(one):
    assert not isinstance(one, (content.File, content.Region)), "an input was read"
    return real_digest(one)
digests.content_digest = refuse
"""


def test_times_in_the_future(image, filled):
    cache = warm.copied(filled, image.place / "cache")
    for folder in (cache, image.feed, image.place / "base"):
        for path in folder.rglob("*"):
            times = path.lstat().st_mtime + YEARS
            os.utime(path, (times, times), follow_symlinks=False)
    image.clear()
    assert image.build(cache) == HITS
    assert image.gc(cache) == []
    assert image.build(cache) == HITS
    assert image.faults(cache) == []


def test_rewritten_files_with_times_in_the_future(tiny):
    for number in range(6):
        text = f"text {number:04}"
        tiny.write(text, 3_000_000_000)
        assert tiny.build() == {text}
        assert tiny.build() == {text}


# ---- stamps that tell nothing

# As on a file system that keeps no time of the last change.
BLIND = """\
import sys
from oe_oci import content
def blind(facts): return content._STAMP.pack(facts.st_dev, facts.st_ino, facts.st_size, 0, 0)
for module in list(sys.modules.values()):
    if getattr(module, "stamp_of", None) is not None:
        module.stamp_of = blind
"""


def test_paranoid_reads_what_seems_unchanged(tiny):
    tools.need_own_disk(tiny.place)
    tiny.write("text one", 1_600_000_000)
    assert tiny.build(before=BLIND) == {"text one"}
    tiny.write("text two", 1_600_000_000)
    # This is what the stamps are trusted for.
    assert tiny.build(before=BLIND) == {"text one"}
    assert tiny.build("--paranoid", before=BLIND) == {"text two"}
    # It is what is known from then on.
    assert tiny.build(before=BLIND + SEALED) == {"text two"}
    tiny.write("text one", 1_600_000_000)
    assert tiny.build("--paranoid", before=BLIND) == {"text one"}


# ---- outputs that share their bytes with the cache


@pytest.mark.parametrize("damage", ["one bit", "truncated", "longer"])
def test_an_output_changed_in_place(image, filled, damage):
    """The cache's own blob changes with it where it is a hard link: the next build sees that."""
    image.clear()
    cache = warm.copied(filled, image.place / "cache")
    image.build(cache)
    shared = 0
    for layer in json.loads((image.out / "app-oci.json").read_text())["layers"]:
        blob = image.out / "app-oci" / "blobs" / "sha256" / layer["digest"][7:]
        linked = blob.stat().st_nlink > 1
        data = blob.read_bytes()
        with open(blob, "r+b") as file:
            file.seek(len(data) // 2)
            file.write(bytes([data[len(data) // 2] ^ 1]) if damage == "one bit" else b"")
        if damage != "one bit":
            os.truncate(blob, len(data) + (1 if damage == "longer" else -1))
        assert image.build(cache) == {**HITS, **({layer["name"]: "its blob is damaged"} if linked else {})}
        assert image.build(cache) == HITS
        assert image.faults(cache) == []
        shared += linked
    # Else nothing was tested here, as the file system has clones.
    assert shared in (0, len(LAYERS))
