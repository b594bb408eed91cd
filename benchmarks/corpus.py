# SPDX-License-Identifier: MIT
"""What images are made of: each corpus is made once, the same bytes each time, and kept.

A corpus is a folder with `input`, a root file system or a feed of packages, and `changed`, which holds under the same
paths what is to replace parts of it. Builds see a copy, which can be changed, restored and copied anew.
"""

from __future__ import annotations

import os
import random
import shutil
import string
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import formats, packages, scripts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Of other corpora than an earlier version of these modules made, the folder has another name.
FORMAT = 2

TOPS = {"base": "usr", "runtime": "opt", "tools": "srv", "app": "var"}
_MEDIAN, _SPREAD, _LARGEST = 7.3, 1.2, 200_000  # e^7.3 is 1.5 kB
_A_FOLDER, _A_LINK = 50, 25  # so many files have a folder; one of so many is a link
_SUFFIXES = ("conf", "h", "json", "py", "txt")


@dataclass(frozen=True)
class Corpus:
    """`option` is that of oe-oci which takes the input, `layers` are named in the configuration's grammar.

    To make it takes the programs `needed`. With a `format` of packages, it is for those that install it; `scripts` is
    what OCI_PACKAGE_SCRIPTS is then.
    """

    name: str
    option: str
    layers: tuple[str, ...]
    make: Callable[[str], None]
    needed: tuple[str, ...] = ()
    format: str = ""
    scripts: str = "skip"

    def made(self, folder: str) -> str:
        """Its folder below another, made where it is missing."""
        place = os.path.join(folder, f"{self.name}-{FORMAT}")
        if not os.path.isdir(place):
            remove(f"{place}.new")
            os.makedirs(f"{place}.new")
            self.make(f"{place}.new")
            os.rename(f"{place}.new", place)
        return place


def corpora() -> dict[str, Corpus]:
    """Every corpus by its name, in the order they are measured."""
    counts = {"files-1k": 1_000, "files-10k": 10_000, "files-50k": 50_000, "files-200k": 200_000}
    found = [_of_files(name, count) for name, count in counts.items()]
    feeds = [_of_packages(name, layers) for name, layers in packages.LAYERS.items()]
    found += [*feeds, *(_of_format(feed, kind) for feed in feeds for kind in formats.MANAGERS)]
    found += [_of_system(name, names) for name, names in packages.SYSTEMS.items()]
    found += [_of_format(feed, kind, scripted=True) for feed in feeds for kind in formats.SCRIPTED]
    return {corpus.name: corpus for corpus in found}


def _of_files(name: str, count: int) -> Corpus:
    layers = tuple(f"{layer}:directories:/{top}" for layer, top in TOPS.items())
    return Corpus(name, "--rootfs", layers, lambda place: make_files(place, count))


def _of_packages(name: str, layers: dict[str, tuple[str, ...]]) -> Corpus:
    words = tuple(f"{layer}:packages:{','.join(names)}," for layer, names in layers.items())
    return Corpus(
        name, "--feed", words, lambda place: packages.make(place, [*sum(layers.values(), ())]), packages.TOOLS
    )


def _of_format(feed: Corpus, kind: str, *, scripted: bool = False) -> Corpus:
    """The packages of a feed in one format, made of them, with scripts or without."""

    def make(place: str) -> None:
        formats.make(place, kind, os.path.join(feed.made(os.path.dirname(place)), "input"), scripted=scripted)

    if not scripted:
        return Corpus(f"{feed.name}-{kind}", feed.option, feed.layers, make, formats.NEEDED[kind], kind)
    name, needed = f"{feed.name.replace('packages', 'scripts')}-{kind}", (*formats.NEEDED[kind], scripts.PROGRAM)
    return Corpus(name, feed.option, feed.layers, make, needed, kind, "run")


def _of_system(name: str, names: tuple[str, ...]) -> Corpus:
    """The distribution's packages with their own scripts, in one layer on the links of a merged /usr."""
    layers = ("merged:directories:/", f"all:packages:{','.join(names)},")
    return Corpus(
        f"{name}-deb", "--feed", layers, lambda place: packages.make(place, names), packages.TOOLS, "deb", "run:chroot"
    )


# ---- many small files


def make_files(place: str, count: int) -> None:
    """A root file system of so many files and links in four top folders, and another content for one in the third."""
    rng = random.Random(1)
    words = _vocabulary(rng)
    for top in TOPS.values():
        for number in range(count // len(TOPS)):
            _write_file(place, top, number, rng, words)
    path = os.path.join(TOPS["tools"], _folder_of(0), f"file00.{_SUFFIXES[0]}")
    with open(os.path.join(place, "input", path), encoding="ascii") as file:
        other = file.read().swapcase()
    os.makedirs(os.path.dirname(os.path.join(place, "changed", path)))
    with open(os.path.join(place, "changed", path), "w", encoding="ascii") as file:
        file.write(other)


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


# ---- the copy that builds see


class Copy:
    """A copy of a corpus's input in the folder `place`, which is made."""

    def __init__(self, made: str, place: str) -> None:
        self._made = made
        self.place = place
        self.renew()

    def renew(self) -> None:
        """Copy all of it again: the same contents and modes, but new inodes and times, as a new checkout has."""
        remove(self.place)
        source = os.path.join(self._made, "input")
        subprocess.run(["cp", "-R", "--preserve=mode", source, self.place], check=True)

    def change(self) -> None:
        self._replace("changed")

    def restore(self) -> None:
        self._replace("input")

    def _replace(self, source: str) -> None:
        for path in _files(os.path.join(self._made, "changed")):
            shutil.copyfile(os.path.join(self._made, source, path), os.path.join(self.place, path))


def _files(folder: str) -> Iterator[str]:
    for found, _, names in os.walk(folder):
        for name in names:
            yield os.path.relpath(os.path.join(found, name), folder)


def read(folder: str) -> None:
    """Read all files below a folder, so that they are in memory as far as there is room."""
    for path in _files(folder):
        with open(os.path.join(folder, path), "rb") as file:
            while file.read(1 << 20):
                pass


def describe(made: str) -> str:
    """How much a corpus's input is."""
    count = packages = size = 0
    for path in _files(os.path.join(made, "input")):
        count += 1
        packages += path.endswith((".deb", ".ipk", ".rpm"))
        size += os.lstat(os.path.join(made, "input", path)).st_size
    return f"{f'{packages} packages' if packages else f'{count} files and links'}, {size / 1e6:.1f} MB"


def remove(path: str) -> None:
    """Remove a folder with all below it, if it is there."""
    subprocess.run(["rm", "-rf", "--", path], check=True)
