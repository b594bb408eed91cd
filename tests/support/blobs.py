# SPDX-License-Identifier: MIT
"""Image layouts for tests that read images: made of the standard library alone, with any fault one asks for.

Shares no code with the package, so that what it writes is judged by other eyes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
from typing import Any, NamedTuple

OCI = "application/vnd.oci.image"
LAYER = OCI + ".layer.v1.tar"
MANIFEST = OCI + ".manifest.v1+json"

TYPES = {"d": tarfile.DIRTYPE, "f": tarfile.REGTYPE, "l": tarfile.SYMTYPE, "h": tarfile.LNKTYPE, "p": tarfile.FIFOTYPE,
         "c": tarfile.CHRTYPE, "b": tarfile.BLKTYPE}  # fmt: skip


class Member(NamedTuple):
    info: tarfile.TarInfo
    data: bytes


def member(
    name: str | bytes,
    data: bytes = b"",
    *,
    kind: str = "f",
    mode: int | None = None,
    uid: int = 0,
    gid: int = 0,
    mtime: int = 1000000000,
    link: str | bytes = "",
    device: tuple[int, int] = (0, 0),
    xattrs: dict[str, bytes] | None = None,
    pax: dict[str, str] | None = None,
) -> Member:
    info = tarfile.TarInfo(os.fsdecode(name))
    info.type = TYPES[kind]
    info.mode = mode if mode is not None else 0o755 if kind == "d" else 0o777 if kind == "l" else 0o644
    info.uid, info.gid, info.mtime, info.size = uid, gid, mtime, len(data)
    info.linkname = os.fsdecode(link)
    info.devmajor, info.devminor = device
    records = {f"SCHILY.xattr.{key}": value.decode("utf-8", "surrogateescape") for key, value in (xattrs or {}).items()}
    info.pax_headers = {**records, **(pax or {})}
    return Member(info, data)


def tar(*members: Member) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8") as archive:
        for item in members:
            archive.addfile(item.info, io.BytesIO(item.data))
    return buffer.getvalue()


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Layer(NamedTuple):
    """A layer as it is to be stored; `diff_id`, `size` and `digest` may be lies."""

    blob: bytes
    media_type: str
    diff_id: str
    size: int
    digest: str


def layer(*members: Member, compression: str = "gzip", plain: bytes | None = None) -> Layer:
    data = tar(*members) if plain is None else plain
    if compression == "gzip":
        blob = gzip.compress(data, mtime=0)
    elif compression == "zstd":
        blob = subprocess.run(["zstd", "-c", "-q"], input=data, stdout=subprocess.PIPE, check=True).stdout
    else:
        blob = data
    media_type = LAYER if compression == "none" else f"{LAYER}+{compression}"
    return Layer(blob, media_type, sha256(data), len(blob), sha256(blob))


class LayoutMaker:
    """A layout directory that images are added to one by one."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._manifests: list[dict[str, Any]] = []
        os.makedirs(os.path.join(self.path, "blobs", "sha256"))
        self._write("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')

    def _write(self, name: str, data: bytes) -> None:
        with open(os.path.join(self.path, name), "wb") as file:
            file.write(data)

    def blob(self, data: bytes, digest: str | None = None) -> str:
        digest = digest or sha256(data)
        self._write(f"blobs/sha256/{digest.partition(':')[2]}", data)
        return digest

    def document(self, value: dict[str, Any], media_type: str) -> dict[str, Any]:
        data = json.dumps(value).encode()
        return {"mediaType": media_type, "digest": self.blob(data), "size": len(data)}

    def image(
        self,
        *layers: Layer,
        tag: str | None = "latest",
        config: dict[str, Any] | None = None,
        annotations: dict[str, str] | None = None,
        platform: dict[str, str] | None = None,
        names: dict[str, str] | None = None,
    ) -> LayoutMaker:
        """Add an image; `config` adds to or replaces the config's top-level keys, `names` the entry's annotations."""
        platform = platform or {"os": "linux", "architecture": "amd64"}
        diff_ids = [item.diff_id for item in layers]
        document = {**platform, "rootfs": {"type": "layers", "diff_ids": diff_ids}, **(config or {})}
        manifest: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.document(document, OCI + ".config.v1+json"),
            "layers": [
                {"mediaType": x.media_type, "digest": self.blob(x.blob, x.digest), "size": x.size} for x in layers
            ],
        }
        if annotations:
            manifest["annotations"] = annotations
        entry = {**self.document(manifest, MANIFEST), "platform": platform}
        entry["annotations"] = {**({"org.opencontainers.image.ref.name": tag} if tag else {}), **(names or {})}
        self._manifests.append(entry)
        self._write("index.json", json.dumps({"schemaVersion": 2, "manifests": self._manifests}).encode())
        return self


def layout(path: str | os.PathLike[str], *layers: Layer, **facts: Any) -> str:
    """A layout of one image; returns its path."""
    return LayoutMaker(path).image(*layers, **facts).path


def pack(path: str) -> str:
    """The archive of a layout, beside it."""
    with tarfile.open(path + ".tar", "w") as archive:
        archive.add(path, arcname=".")
    return path + ".tar"
