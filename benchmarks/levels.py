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

from oe_oci.compress import BLOCK, choose
from oe_oci.config import Compression

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LEVELS = {"zlib": range(1, 10), "zlib-ng": range(1, 10), "pyzstd": (1, 2, 3, 4, 6, 9, 12, 15, 19)}


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


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/levels", description=__doc__)
    parser.add_argument("folders", metavar="FOLDER", nargs="*", default=["/usr/bin", "/usr/lib", "/usr/share"])
    parser.add_argument("--most", metavar="MB", type=int, default=60, help="read of each folder (default: %(default)s)")
    arguments = parser.parse_args()
    blocks = read(arguments.folders, arguments.most * 10**6)
    raw = sum(map(len, blocks))
    print(f"{raw / 1e6:.0f} MB of {', '.join(arguments.folders)}, on one core.\n")
    print("| Compressor | Level | MB/s | Size |\n| --- | ---: | ---: | ---: |")
    for name, levels in _LEVELS.items():
        algorithm = "zstd" if name == "pyzstd" else "gzip"
        usual = choose(Compression(algorithm, None, name)).identity["level"]
        for level in levels:
            spent, size = measure(Compression(algorithm, level, name), blocks)
            shown = f"**{level}**" if level == usual else level
            print(f"| {name} | {shown} | {raw / 1e6 / spent:.0f} | {size / raw:.1%} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
