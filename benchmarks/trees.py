# SPDX-License-Identifier: MIT
"""Root file systems that images are made of: many small files, unpacked packages, large files.

Each is made as `input`, a top folder for each layer; `changed` has another content of the same size for one of its
files. Only unpacked packages differ with the day and the distribution.
"""

from __future__ import annotations

import os
import random
import shutil
import string
from typing import TYPE_CHECKING

from benchmarks import packages

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TOPS = {"base": "usr", "runtime": "opt", "tools": "srv", "app": "var"}
PARTS = tuple(f"part{number:02d}" for number in range(16))
LARGE = 256 << 20

_MEDIAN, _SPREAD, _LARGEST = 7.3, 1.2, 200_000  # e^7.3 is 1.5 kB
_A_FOLDER, _A_LINK = 50, 25  # so many files have a folder; one of so many is a link
_SUFFIXES = ("conf", "h", "json", "py", "txt")
_PROGRAM = 16 << 10  # what is smaller is not taken for a program


def files(folder: str) -> Iterator[str]:
    """The paths, from the folder on, of all below it that is no directory."""
    for found, _, names in os.walk(folder):
        for name in names:
            yield os.path.relpath(os.path.join(found, name), folder)


def _write_changed(place: str, path: str) -> None:
    """Another content for one of the files: letters at its start have the other case."""
    target = os.path.join(place, "changed", path)
    os.makedirs(os.path.dirname(target))
    shutil.copyfile(os.path.join(place, "input", path), target)
    with open(target, "rb+") as file:
        head = file.read(4096)
        file.seek(0)
        file.write(head.swapcase())


# ---- many small files


def make_files(place: str, count: int) -> None:
    """A root file system of so many files and links in four top folders, and another content for one in the third."""
    rng = random.Random(1)
    words = _vocabulary(rng)
    for top in TOPS.values():
        for number in range(count // len(TOPS)):
            _write_file(place, top, number, rng, words)
    _write_changed(place, os.path.join(TOPS["tools"], _folder_of(0), f"file00.{_SUFFIXES[0]}"))


def _folder_of(number: int) -> str:
    return os.path.join(f"part{number // 2500:02d}", f"folder{number // _A_FOLDER % 50:02d}")


def _write_file(place: str, top: str, number: int, rng: random.Random, words: list[str]) -> None:
    folder = os.path.join(place, "input", top, _folder_of(number))
    within = number % _A_FOLDER
    os.makedirs(folder, exist_ok=True)
    names = [f"file{each:02d}.{_SUFFIXES[each % len(_SUFFIXES)]}" for each in (within - 1, within)]
    path = os.path.join(folder, names[1])
    if within % _A_LINK == _A_LINK - 1:
        os.symlink(names[0], path)
        return
    size = min(int(rng.lognormvariate(_MEDIAN, _SPREAD)) + 1, _LARGEST)
    # A word and its blank are five letters at the least.
    text = " ".join(rng.choices(words, k=size // 5 + 1))[:size]
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _vocabulary(rng: random.Random) -> list[str]:
    """Words such as sources have; those that are frequent are in it more than once."""
    found = ["".join(rng.choices(string.ascii_lowercase, k=rng.randint(4, 12))) for _ in range(3000)]
    return [word for rank, word in enumerate(found) for _ in range(1 + 3000 // (rank + 3))]


# ---- packages, unpacked


def make_trees(place: str, feed: str, layers: Mapping[str, Sequence[str]]) -> None:
    """A feed's packages unpacked: in each layer's folder those it names and all they need, but for those before it."""
    for layer, names in packages.groups(feed, layers, os.path.join(place, "apt")).items():
        root = os.path.join(place, "input", layer)
        os.makedirs(root)
        for name in names:
            packages.run("dpkg-deb", "-x", os.path.join(feed, name), root)
    _write_changed(place, os.path.join("tools", packages.DOCUMENT))


def make_parts(place: str, trees: str) -> None:
    """The files of such trees in 16 folders of like size, in the order of their paths; they are links to them."""
    sizes = {path: os.lstat(os.path.join(trees, path)).st_size for path in sorted(files(trees))}
    total, before, number = sum(sizes.values()), 0, -1
    for path, size in sizes.items():
        # One part further at the most: a file can be larger than a part. Files of no size may stand at the end.
        number = min(before * len(PARTS) // total, number + 1, len(PARTS) - 1)
        target = os.path.join(place, "input", PARTS[number], path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.link(os.path.join(trees, path), target, follow_symlinks=False)
        if path == os.path.join("tools", packages.DOCUMENT):
            _write_changed(place, os.path.join(PARTS[number], path))
        before += size


def make_large(place: str, trees: str, size: int) -> None:
    """A file of so many bytes in each of four folders: programs and libraries of such trees, one after the other.

    They come in another order each time, so none comes again within a compressor's window.
    """
    paths = [os.path.join(trees, path) for path in sorted(files(trees))]
    programs = [path for path in paths if not os.path.islink(path) and os.path.getsize(path) > _PROGRAM]
    rng = random.Random(3)
    for layer in TOPS:
        os.makedirs(os.path.join(place, "input", layer))
        with open(os.path.join(place, "input", layer, "large.bin"), "wb") as file:
            while file.tell() < size:
                for path in rng.sample(programs, len(programs)):
                    with open(path, "rb") as program:
                        file.write(program.read(size - file.tell()))
    _write_changed(place, os.path.join("tools", "large.bin"))
