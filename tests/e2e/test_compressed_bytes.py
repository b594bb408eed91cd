# SPDX-License-Identifier: MIT
"""The bytes of compressed layers and archives are the same for any number of threads, and on any processor."""

from __future__ import annotations

import platform
import random
import shutil
import sys
from typing import TYPE_CHECKING

import pytest
from support import compare, tools

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
CONF = """\
SOURCE_DATE_EPOCH = "1700000000"
OCI_LAYERS = "large:directories:/large small:directories:/small"
OCI_LAYER_CACHE = "0"
"""
ALGORITHMS = {"zlib-ng": ("gzip", "gz"), "zlib": ("gzip", "gz"), "pyzstd": ("zstd", "zst"), "zstd": ("zstd", "zst")}
# From what every x86-64 has, to SSE 4.2, to AVX2; a library chooses its code by them. None has AVX-512.
CPU_MODELS = ["qemu64", "Nehalem", "Haswell"]

# Prints the digest of a file's bytes for each compressor, by the program's own compressor where it is the library's.
DIGESTS = """\
import io, sys
from oe_oci.blob import BlobWriter
from oe_oci.compress import choose
from oe_oci.config import Compression

with open(sys.argv[1], "rb") as file:
    data = file.read()
for algorithm, compressor in (("gzip", "zlib-ng"), ("gzip", "zlib"), ("zstd", "pyzstd"), ("zstd", "zstd")):
    with BlobWriter(io.BytesIO(), choose(Compression(algorithm, None, compressor)), 2, len(data)) as blob:
        blob.write(data)
        print(compressor, blob.finish().digest)
"""


def words(chance: random.Random, size: int) -> bytes:
    """Text and numbers of a length."""
    text = b"".join(b"%s %d\n" % (chance.choice((b"layer", b"blob", b"digest")), n) for n in range(size // 8))
    return text[:size]


@pytest.fixture(scope="module")
def rootfs(room: Path) -> Path:
    """A file that zstd's threads have several pieces of, at 4 MiB each, and some small ones."""
    path = room / "threads" / "rootfs"
    (path / "small").mkdir(parents=True)
    (path / "large").mkdir()
    chance = random.Random(5)
    piece = words(chance, MIB)
    (path / "large" / "file").write_bytes(b"".join(chance.randbytes(MIB // 8) + piece for _ in range(18)))
    for number in range(300):
        (path / "small" / f"{number}").write_bytes(piece[: number * 40] + chance.randbytes(number * 10))
    return path


@pytest.mark.parametrize("compressor", ALGORITHMS)
def test_threads(rootfs, folder, compressor):
    algorithm, archive = ALGORITHMS[compressor]
    conf = folder / "app.conf"
    lines = f'OCI_LAYER_COMPRESSION = "{algorithm}"\nOCI_LAYER_COMPRESSOR = "{compressor}"\n'
    conf.write_text(f'{CONF}{lines}OCI_IMAGE_TAR_COMPRESSION = "{archive}"\n')
    built = []
    for jobs in ("1", "2", "4"):
        report = tools.build(conf, folder / jobs, "--rootfs", rootfs, "--jobs", jobs)
        assert report["compressor"]["name"] == report["outputs"]["compressor"]["name"] == compressor
        built.append(compare.contents(folder / jobs))
    assert built[0] == built[1] == built[2]


@pytest.fixture(scope="module")
def sample(room: Path) -> Path:
    """Three blocks, not all of the last: text, machine code, and what no compressor makes smaller."""
    tools.need("qemu-x86_64", "zstd")
    chance = random.Random(3)
    with open(shutil.which("qemu-x86_64") or "", "rb") as file:
        code = file.read(MIB)
    path = room / "sample"
    path.write_bytes((words(chance, MIB) + code + chance.randbytes(MIB // 8))[: 2 * MIB + 12345])
    return path


@pytest.fixture(scope="module")
def native(sample: Path) -> str:
    """The digests on the processor that there is."""
    return tools.run(sys.executable, "-c", DIGESTS, sample, env=tools.environment(PYTHONPATH=str(tools.ROOT))).stdout


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the processors are of x86-64")
@pytest.mark.parametrize("model", CPU_MODELS)
def test_processors(sample, native, folder, model):
    emulated = ["qemu-x86_64", "-cpu", model]
    # What an emulated process starts is not emulated itself.
    program = folder / "zstd"
    program.write_text(f'#!/bin/sh\nexec {" ".join(emulated)} {shutil.which("zstd")} "$@"\n')
    program.chmod(0o755)
    env = tools.environment(PYTHONPATH=str(tools.ROOT), PATH=f"{folder}:{tools.environment()['PATH']}")
    found = tools.run(*emulated, sys.executable, "-c", DIGESTS, sample, env=env).stdout
    assert native.count("\n") == 4
    assert found == native
