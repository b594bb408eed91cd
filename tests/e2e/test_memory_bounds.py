# SPDX-License-Identifier: MIT
"""Memory that depends neither on how large files are nor on the layers, and a little on how many files there are."""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING

import pytest
from support import tools

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MIB = 1 << 20
MOST = {"gzip": 100 * MIB, "zstd": 180 * MIB}  # with all that Python and its libraries take
AN_ENTRY = 600
LARGE = 300 * MIB
MANY = 30_000
LAYERS = 'OCI_LAYERS = "first:directories:/first second:directories:/second"\nOCI_IMAGE_TAR_OUTPUT = "0"\n'

# Runs the product and says how much memory it took at most, in KiB. It is a small process, as what is measured begins
# with the memory of the one that starts it.
_MEASURED = """\
import os, sys
child = os.posix_spawn(sys.executable, [sys.executable, "-m", "oe_oci", *sys.argv[1:]], os.environ)
_, status, usage = os.wait4(child, 0)
print(usage.ru_maxrss, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def large(rootfs: Path) -> int:
    """A file of which a third is no hole, in each of the layers; returns the number of entries."""
    block = random.Random(1).randbytes(MIB)
    for name in ("first", "second"):
        (rootfs / name).mkdir(parents=True)
        with open(rootfs / name / "large", "wb") as file:
            for position in range(0, LARGE, 3 * MIB):
                file.seek(position)
                file.write(block)
            file.truncate(LARGE)
    return 4


def many(rootfs: Path) -> int:
    """Small files, half of them in each layer; returns the number of entries."""
    for number in range(MANY):
        folder = rootfs / ("first" if number % 2 else "second") / f"folder{number % 100}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"a file with the number {number}").write_bytes(b"%d\n" % number)
    return MANY


@pytest.mark.parametrize("compression", MOST)
@pytest.mark.parametrize("fill", [large, many])
def test_memory_is_bounded(folder: Path, fill: Callable[[Path], int], compression: str):
    conf, image, root = folder / "app.conf", folder / "out" / "app-oci", folder / "root"
    conf.write_text(LAYERS, encoding="utf-8")
    most = MOST[compression] + AN_ENTRY * fill(folder / "rootfs")
    build = ["build", conf, "--rootfs", folder / "rootfs", "--deploy-dir", folder / "out"]
    # A compressor takes more with each thread.
    build += ["--jobs", "2", "--cache-dir", folder / "cache", "--set", f"OCI_LAYER_COMPRESSION={compression}"]
    for words in (
        build,
        ["inspect", image],
        ["verify", image],
        ["diff", image, image],
        ["unpack", image, root, "--rootless"],
    ):
        done = tools.run(sys.executable, "-c", _MEASURED, *words, timeout=300)
        peak = int(done.stderr.splitlines()[-1]) << 10
        assert peak < most, f"{words[0]}: {peak / MIB:.0f} MiB of {most / MIB:.0f}"
