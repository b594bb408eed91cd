# SPDX-License-Identifier: MIT
"""A cache that is damaged while a build looks at it: the image is right, and the cache heals."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from support import forks, tools
from support.warm import HITS, LAYERS, Warm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def subject() -> Iterator[Warm]:
    with tools.scratch("oe-oci-faults-") as place, forks.Forks() as forked:
        yield Warm(place, forked, unpacked=False)


# After the n-th call that looks at a path in the cache, damages that file, or all of them.
MEANWHILE = """\
import os, shutil, sys
cache, how, left = {cache!r}, {how!r}, {number}
opened, listed, moved, linked = os.open, os.walk, os.replace, os.link
number = 0

def flipped(path):
    new = path + ".flipped"
    with open(path, "rb") as file:
        data = file.read()
    with open(new, "wb") as file:
        file.write(data[:len(data) // 2] + bytes([data[len(data) // 2] ^ 1 if data else 1]) + data[len(data) // 2 + 1:])
    moved(new, path)

def damage(path):
    if how == "gone":
        shutil.rmtree(cache)
    elif how == "all flipped":
        for folder, _, names in listed(cache):
            for name in names:
                flipped(os.path.join(folder, name))
    elif not os.path.isfile(path):
        pass
    elif how == "removed":
        os.unlink(path)
    elif how == "flipped":
        flipped(path)
    elif how == "flipped in place":
        # The file that is an output already is that one's own, which nobody may write to.
        if os.stat(path).st_nlink == 1 and os.stat(path).st_size:
            with open(path, "r+b") as file:
                data = file.read()
                file.seek(len(data) // 2)
                file.write(bytes([data[len(data) // 2] ^ 1]))

def counted(call):
    def wrapper(*words, **options):
        global number
        done = call(*words, **options)
        paths = [os.fspath(word) for word in words if isinstance(word, (str, os.PathLike))]
        path = next((path for path in paths if path.startswith(cache + "/")), None)
        if path is not None:
            number += 1
            if number == left:
                damage(path)
        return done
    return wrapper

for each in ("open", "link", "replace", "lstat", "stat", "scandir", "utime", "mkdir", "unlink"):
    setattr(os, each, counted(getattr(os, each)))

def after():
    sys.stderr.write(f"calls {{number}}\\n")
"""


@pytest.mark.parametrize(
    ("begin", "how", "step"),
    [
        *(("warm", how, 1) for how in ("removed", "flipped", "flipped in place", "all flipped", "gone")),
        *((begin, how, 3) for begin in ("cold", "partly") for how in ("removed", "all flipped")),
    ],
)
def test_damage_after_each_look(subject, begin, how, step):
    """After every third one where much is written; every one was right when this was written."""
    image = subject.image

    def begun() -> Path:
        cache = subject.copy()
        if begin == "cold":
            shutil.rmtree(cache)
        if begin == "partly":
            for name in subject.files:
                if subject.layer(name) in LAYERS[::2]:
                    (cache / name).unlink()
        return cache

    def build(number: int) -> int:
        cache = begun()
        before = MEANWHILE.format(cache=str(cache), how=how, number=number)
        done = image.forks(*image.words(cache, "--json", "-q"), before=before)
        image.assert_right((number, done.stderr))
        return int(done.stderr.rpartition("calls ")[2])

    count = build(0)
    assert count > 50
    for number in range(1, count + 1, step):
        build(number)
        if number % 10 == 1:
            cache = image.place / "copy"
            image.build(cache)
            assert image.build(cache) == HITS, number
            assert not [name for name in image.gc(cache) if ".new-" in name]
            assert [f for f in image.faults(cache) if not f.startswith("foreign")] == [], number
