# SPDX-License-Identifier: MIT
"""What images are made of: each corpus is made once, the same bytes each time, and kept.

A corpus is a folder with `input`, a root file system or a feed of packages, and `changed`, which holds under the same
paths what is to replace parts of it. Builds see a copy, which can be changed, restored and copied anew.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import formats, packages, scripts, trees

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

# Of other corpora than an earlier version of these modules made, the folder has another name.
FORMAT = 3

# The names of what is measured beside oe-oci, as in peers.PEERS, and the limit: all, or what is for any input, or for
# any root file system.
ALL = ("umoci", "insert", "buildah", "bud", "pigz", "zstd", "limit")
FLOW = ("umoci",)
FILES = ("umoci", "limit")


@dataclass(frozen=True)
class Corpus:
    """`option` is that of oe-oci which takes the input, `layers` are named in the configuration's grammar.

    To make it takes the programs `needed`. With a `format` of packages, it is for those that install it; `scripts` is
    what OCI_PACKAGE_SCRIPTS is then. Without one, `peers` names what is measured beside oe-oci.
    """

    name: str
    option: str
    layers: tuple[str, ...]
    make: Callable[[str], None]
    needed: tuple[str, ...] = ()
    format: str = ""
    scripts: str = "skip"
    peers: tuple[str, ...] = FLOW

    @property
    def folders(self) -> tuple[str, ...]:
        """The top folder of each layer, where the input is a root file system."""
        return tuple(layer.rpartition("/")[2] for layer in self.layers)

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
    found += [corpus for feed in feeds for corpus in _of_trees(feed)]
    found += [*feeds, *(_of_format(feed, kind) for feed in feeds for kind in formats.MANAGERS)]
    found += [_of_system(name, names) for name, names in packages.SYSTEMS.items()]
    found += [_of_format(feed, kind, scripted=True) for feed in feeds for kind in formats.SCRIPTED]
    return {corpus.name: corpus for corpus in found}


def _of_files(name: str, count: int) -> Corpus:
    return _of_rootfs(name, trees.TOPS, lambda place: trees.make_files(place, count))


def _of_trees(feed: Corpus) -> Iterable[Corpus]:
    """The packages of a feed unpacked: in its four layers, in sixteen, and as four large files."""
    name, layers, needed = feed.name.replace("packages", "trees"), packages.LAYERS[feed.name], feed.needed
    size = trees.LARGE if name == "trees" else trees.LARGE // 32

    def input_of(corpus: Corpus, place: str) -> str:
        return os.path.join(corpus.made(os.path.dirname(place)), "input")

    def make(place: str) -> None:
        trees.make_trees(place, input_of(feed, place), layers)

    def make_parts(place: str) -> None:
        trees.make_parts(place, input_of(tree, place))

    def make_large(place: str) -> None:
        trees.make_large(place, input_of(tree, place), size)

    tree = _of_rootfs(name, dict(zip(layers, layers)), make, needed, ALL)
    yield tree
    yield _of_rootfs(f"{name}-16", dict(zip(trees.PARTS, trees.PARTS)), make_parts, needed)
    yield _of_rootfs(name.replace("trees", "large"), dict(zip(layers, layers)), make_large, needed, ALL)


def _of_rootfs(
    name: str,
    folders: Mapping[str, str],
    make: Callable[[str], None],
    needed: tuple[str, ...] = (),
    peers: tuple[str, ...] = FILES,
) -> Corpus:
    layers = tuple(f"{layer}:directories:/{folder}" for layer, folder in folders.items())
    return Corpus(name, "--rootfs", layers, make, needed, peers=peers)


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
        subprocess.run(["cp", "-R", "--preserve=mode,links", source, self.place], check=True)

    def change(self) -> None:
        self._replace("changed")

    def restore(self) -> None:
        self._replace("input")

    def _replace(self, source: str) -> None:
        for path in trees.files(os.path.join(self._made, "changed")):
            shutil.copyfile(os.path.join(self._made, source, path), os.path.join(self.place, path))


def read(folder: str) -> None:
    """Read all files below a folder, so that they are in memory as far as there is room."""
    for name in trees.files(folder):
        path = os.path.join(folder, name)
        # Links of unpacked packages lead to this machine's files, or nowhere.
        if not os.path.islink(path):
            with open(path, "rb") as file:
                while file.read(1 << 20):
                    pass


def describe(made: str) -> str:
    """How much a corpus's input is."""
    count = packages = size = 0
    for path in trees.files(os.path.join(made, "input")):
        count += 1
        packages += path.endswith((".deb", ".ipk", ".rpm"))
        size += os.lstat(os.path.join(made, "input", path)).st_size
    return f"{f'{packages} packages' if packages else f'{count} files and links'}, {size / 1e6:.1f} MB"


def remove(path: str) -> None:
    """Remove a folder with all below it, if it is there."""
    subprocess.run(["rm", "-rf", "--", path], check=True)
