# SPDX-License-Identifier: MIT
"""Small layers to put into a cache, and what a cache's folder holds."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import tarfile
import zlib
from typing import TYPE_CHECKING, NamedTuple

from oe_oci.oci.spec import LAYER, Descriptor, Digest
from oe_oci.store import LISTING, CachedLayer, Store

if TYPE_CHECKING:
    from pathlib import Path


class Made(NamedTuple):
    """A layer as a build has it before it is put into the cache: the file of its blob, the bytes of its listing."""

    layer: CachedLayer
    file: str
    data: bytes
    listing: bytes

    def put(self, store: Store) -> str:
        return store.put(self.layer, self.file, self.listing)


def sha256(data: bytes | str) -> str:
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def tar_of(name: str, size: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo(name)
        member.size = size
        archive.addfile(member, io.BytesIO(random.Random(name).randbytes(size)))
    return buffer.getvalue()


def make(folder: Path, name: str = "one", *, size: int = 3000, compression: str = "+gzip", shape: str = "") -> Made:
    """A layer of a file `name`; layers of one name have one blob."""
    raw = tar_of(name, size)
    if compression == "+zstd":
        import pyzstd

        data = pyzstd.compress(raw)
    else:
        data = gzip.compress(raw, mtime=0) if compression else raw
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.blob"
    file.unlink(missing_ok=True)  # it may be the cache's too by now
    file.write_bytes(data)
    file.chmod(0o644)
    listing = zlib.compress(f'{{"{name}":{size}}}'.encode())
    shape = shape or sha256(f"shape {name}")
    layer = CachedLayer(
        shape,
        sha256(shape + name),
        Descriptor(LAYER + compression, Digest("sha256", sha256(data)), len(data)),
        Digest("sha256", sha256(raw)),
        len(raw),
        Descriptor(LISTING, Digest("sha256", sha256(listing)), len(listing)),
        {"image": "app", "layer": name, "kind": "files", "more": {"size": size}},
    )
    return Made(layer, str(file), data, listing)


def files(folder: Path) -> dict[str, bytes]:
    """Every file's bytes by its path; of an entry without the moment it was made in."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_dir():
            where = str(path.relative_to(folder))
            found[where] = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            if where.startswith("entries/"):
                found[where] = found[where].partition(b'"made":')[0]
    return found
