# SPDX-License-Identifier: MIT
"""Measures how fast each compressor is at each level, on one core, and how small it makes the same bytes.

The bytes are the files of folders, one after the other, as a layer has them. Must not know how levels are chosen.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from typing import TYPE_CHECKING

from benchmarks import plots
from benchmarks.table import rows_of
from oe_oci.compress import BLOCK, choose
from oe_oci.config import Compression

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Levels = Mapping[int, tuple[float, float]]  # megabytes a second and the compressed part, by level

# By compressor; a level of None is what is taken where none is asked for.
_LEVELS: dict[str, tuple[Compression, Sequence[int | None]]] = {
    "zlib": (Compression("gzip", None, "zlib"), range(1, 10)),
    "zlib-ng": (Compression("gzip", None, "zlib-ng"), range(1, 10)),
    "zstd": (Compression("zstd", None, "pyzstd"), (1, 2, 3, 4, 6, 9, 12, 15, 19)),
    "zstd, tuned": (Compression("zstd", None, "pyzstd"), (None,)),
}


def read(folders: Sequence[str], most: int) -> list[bytes]:
    """At most so many bytes of each of the folders, in blocks."""
    return [block for folder in folders for block in itertools.islice(_blocks(folder), -(-most // BLOCK))]


def _blocks(folder: str) -> Iterator[bytes]:
    filled = b""
    for name in _files(folder):
        with open(name, "rb") as file:
            while piece := file.read(BLOCK - len(filled)):
                filled += piece
                if len(filled) == BLOCK:
                    yield filled
                    filled = b""
    if filled:
        yield filled


def _files(folder: str) -> Iterator[str]:
    for top, inner, names in os.walk(folder):
        inner.sort()
        paths = (os.path.join(top, name) for name in sorted(names))
        yield from (path for path in paths if os.path.isfile(path) and not os.path.islink(path))


def measure(compression: Compression, blocks: Sequence[bytes]) -> tuple[float, int]:
    """The seconds of one core, and the compressed bytes."""
    sizes: list[int] = []
    began = time.process_time()
    encoder = choose(compression).start(lambda data: sizes.append(len(data)), 1, sum(map(len, blocks)))
    for block in blocks:
        encoder.feed(bytearray(block), len(block))
    encoder.finish()
    encoder.close()
    return time.process_time() - began, sum(sizes)


def table(measured: Mapping[str, Levels], usual: Mapping[str, int]) -> str:
    """A row for each level, and the speed and the compressed part by each compressor; its usual level is bold."""
    head = ("Level", *(cell for name in measured for cell in (f"{name} MB/s", "Size")))
    rows = []
    for level in sorted({level for found in measured.values() for level in found}):
        row = [str(level)]
        for name, found in measured.items():
            cells = (f"{found[level][0]:.0f}", f"{found[level][1]:.1%}") if level in found else ("-", "-")
            row += [f"**{cell}**" if level == usual.get(name) else cell for cell in cells]
        rows.append(row)
    return rows_of(head, ("---:",) * len(head), rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/levels", description=__doc__)
    parser.add_argument("folders", metavar="FOLDER", nargs="*", default=["/usr/bin", "/usr/lib", "/usr/share"])
    parser.add_argument("--most", metavar="MB", type=int, default=60, help="read of each folder (default: %(default)s)")
    parser.add_argument("--plot", metavar="FILE", help="draw the curves as SVG")
    arguments = parser.parse_args()
    if arguments.plot and not plots.can_draw():
        parser.error("--plot takes matplotlib, which the extra 'bench' of oe-oci brings")
    blocks = read(arguments.folders, arguments.most * 10**6)
    raw = sum(map(len, blocks))
    measured: dict[str, dict[int, tuple[float, float]]] = {}
    usual, versions = {}, {}
    for name, (compression, numbers) in _LEVELS.items():
        own = choose(compression).identity
        versions[str(own["name"])] = str(own["version"])
        for number in numbers:
            identity = choose(compression._replace(level=number)).identity
            level = identity["level"]
            print(f"{name} {level}", file=sys.stderr)
            if identity == own:
                usual[name] = level
            spent, size = measure(compression._replace(level=number), blocks)
            measured.setdefault(name, {})[level] = (raw / 1e6 / spent, size / raw)
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    print(f"{named}; {raw / 1e6:.0f} MB of {', '.join(arguments.folders)}, on one core.\n")
    print(table(measured, usual), end="")
    if arguments.plot:
        with open(arguments.plot, "wb") as file:
            file.write(plots.levels(measured, usual))
    return 0


if __name__ == "__main__":
    sys.exit(main())
