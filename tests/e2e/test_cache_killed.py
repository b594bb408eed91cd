# SPDX-License-Identifier: MIT
"""Builds with a cache that are killed or not alone: every image is right, and a clean-up leaves nothing over."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from support import compare, forks, tools, warm
from support.warm import HITS, LAYERS, Image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KILLS = 20

# Ends itself before the n-th call that changes what the file system holds, and tells how many there were.
STOPPER = """\
import fcntl, os, shutil, signal, sys, threading
number, left, alone = 0, {number}, threading.Lock()

def counted(call, changes=lambda *words: True):
    def wrapper(*words, **options):
        global number
        if changes(*words):
            with alone:
                number += 1
                if number == left:
                    os.kill(os.getpid(), signal.SIGKILL)
        return call(*words, **options)
    return wrapper

os.open = counted(os.open, lambda path, flags, *mode: bool(flags & os.O_CREAT))
for module, names in (
    (os, "mkdir rename replace link unlink rmdir symlink chmod fchmod utime write"),
    (shutil, "rmtree"),
    (fcntl, "flock"),
):
    for each in names.split():
        setattr(module, each, counted(getattr(module, each)))

def after():
    sys.stderr.write(f"calls {{number}}\\n")
"""


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    with tools.scratch("oe-oci-killed-") as place, forks.Forks() as forked:
        made = Image(place, forked)
        (place / "tmp").mkdir()
        for _ in range(2):
            made.clear()
            made.build(place / "clean")
        yield made


def begin(image: Image, what: str) -> Path:
    """An empty cache, one with half of the layers, or one with a piece of each damaged."""
    image.clear()
    cache = warm.copied(image.place / "clean", image.place / "cache")
    if what == "cold":
        shutil.rmtree(cache)
    if what == "partly":
        for number, path in enumerate(sorted(cache.glob("entries/*/*"))):
            if number % 2:
                path.unlink()
    if what == "damaged":
        for number, kind in enumerate(("blobs/sha256", "entries", "latest", "archives", "digests", "indexes")):
            path = sorted(path for path in (cache / kind).rglob("*") if path.is_file())[number % 2 - 1]
            data = path.read_bytes()
            path.write_bytes(data[:-1])
    return cache


def stopped(image: Image, cache: Path, number: int) -> forks.Done:
    before, env = STOPPER.format(number=number), {"TMPDIR": str(image.place / "tmp")}
    return image.forks(*image.words(cache, "-q"), before=before, env=env, status=None)


def assert_sound(image: Image, cache: Path, told: object, *, again: bool = True) -> None:
    """After a build was killed: the next one is right, and what is left is what a clean cache holds."""
    clean = warm.state(image.place / "clean")
    assert list((image.place / "tmp").iterdir()) == [], told
    if cache.exists():
        image.gc(cache)
        assert set(warm.files(cache)) <= {*clean, "lock"}, told
    image.build(cache)
    image.gc(cache)
    assert warm.state(cache) == clean, told
    assert image.faults(cache) == [], told
    if again:
        assert image.build(cache) == HITS, told


@pytest.mark.parametrize("what", ["cold", "partly", "damaged"])
def test_killed_before_each_change_of_the_file_system(image, what):
    done = stopped(image, begin(image, what), 0)
    assert done.status == 0, done.stderr
    count, states = int(done.stderr.rpartition("calls ")[2]), set()
    assert count > 100
    for number in range(1, count + 1):
        cache = begin(image, what)
        done = stopped(image, cache, number)
        assert done.status == -signal.SIGKILL, done.stderr
        states.add(tuple(warm.files(cache)))
        assert_sound(image, cache, number, again=number % 4 == 0)
    assert len(states) > 5


# Each layer takes so long that builds begun at once want the same one at once.
SLOWLY = """\
import sys, time
from oe_oci import build, cli
write = build.LayerWriter
def slowly(*words, **options):
    time.sleep(0.5)
    return write(*words, **options)
build.LayerWriter = slowly
sys.exit(cli.main())
"""


def start(
    image: Image, cache: Path | str, *words: Any, out: Path | None = None, slowly: bool = False
) -> subprocess.Popen[str]:
    program = ("-c", SLOWLY) if slowly else ("-m", "oe_oci")
    argv = [sys.executable, *program, *image.words(cache, "--json", "-q", *words, out=out)]
    environment = tools.environment(TMPDIR=str(image.place / "tmp"))
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    return subprocess.Popen(list(map(os.fspath, argv)), env=environment, stdin=subprocess.DEVNULL, **options)


def ended(process: subprocess.Popen[str]) -> dict[str, str]:
    """Why each layer was made."""
    try:
        stdout, stderr = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, stderr
    return warm.reasons(json.loads(stdout))


def test_killed_at_any_time(image):
    """Half of the builds are cold, half find what killed ones left; those that were faster do not count."""
    chance, began = random.Random(3), time.monotonic()
    ended(start(image, begin(image, "cold")))
    took, killed, number = time.monotonic() - began, 0, 0
    while killed < KILLS:
        number += 1
        assert number < 10 * KILLS
        cache = begin(image, "cold") if number % 4 < 2 else image.place / "cache"
        process = start(image, cache)
        time.sleep(chance.uniform(took / 3, took))
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        if number % 2:
            assert_sound(image, cache, number)
            next(iter(cache.glob("entries/*/*"))).unlink()


def test_killed_while_it_holds_the_lock_of_a_layer(image):
    """Who waits for it goes on at once; what it left goes with the next clean-up."""
    cache = begin(image, "cold")
    before = "from oe_oci import build; import os, signal\nbuild.LayerWriter = lambda *w, **o: os.kill(os.getpid(), 9)"
    assert image.forks(*image.words(cache, "-q"), before=before, status=None).status == -signal.SIGKILL
    assert len([name for name in warm.files(cache) if name.startswith("locks/")]) == 1
    began = time.monotonic()
    image.build(cache)
    assert time.monotonic() - began < 10
    assert_sound(image, cache, "")


# ---- not alone


@pytest.mark.parametrize("number", [2, 8])
def test_builds_at_once_make_a_layer_once(image, number):
    """Of one image, each with outputs of its own."""
    cache = begin(image, "cold")
    outs = [image.place / f"out{each}" for each in range(number)]
    made = [ended(process) for process in [start(image, cache, out=out, slowly=True) for out in outs]]
    for out in outs:
        assert compare.contents(out) == image.right
        shutil.rmtree(out)
    for layer in LAYERS:
        assert sum(bool(told[layer]) for told in made) == 1, (layer, made)
    assert list((image.place / "tmp").iterdir()) == []
    assert image.faults(cache) == []
    assert [name for name in image.gc(cache) if not name.startswith("locks/")] == []


@pytest.mark.parametrize("limits", [(), ("--max-size", "0"), ("--max-size", "3K")])
@pytest.mark.parametrize("number", [2, 8])
def test_builds_beside_a_clean_up(image, number, limits):
    """Of two images of the same layers, one in another order and under other names, in one folder and in several."""
    words = ("--set", "IMAGE_BASENAME=other", "--set", f"OCI_LAYERS={OTHER.format(place=image.place)}")
    other = image.cold(*words)
    cache = begin(image, "cold")
    for _ in range(2):
        running = []
        for each in range(number):
            more, right = ((), image.right) if each % 2 else (words, other)
            running.append((start(image, cache, *more, out=image.place / f"out{each}"), right))
        rounds = 0
        while rounds < 3 or any(process.poll() is None for process, _ in running):
            if cache.exists():
                image.gc(cache, *limits)
            rounds += 1
        for each, (process, right) in enumerate(running):
            ended(process)
            assert compare.contents(image.place / f"out{each}") == right
            shutil.rmtree(image.place / f"out{each}")
    image.gc(cache)
    assert image.faults(cache) == []
    image.clear()
    image.build(cache)
    assert image.build(cache) == HITS


OTHER = "first:host:{place}/motd:/etc/ data:files:/srv/data,/srv/none tools:packages:tool,more conf:directories:/etc"
