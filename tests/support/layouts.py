# SPDX-License-Identifier: MIT
"""Small tars, layers and image layouts made with the standard library alone, each part of which a test can break.

Must not use the product: its readers are tested against what this makes.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import subprocess
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
REF_NAME = "org.opencontainers.image.ref.name"
FULL_NAME = "io.containerd.image.name"

Edit = Callable[[dict[str, Any]], object]


def keep(_: dict[str, Any]) -> None:
    """An edit that changes nothing."""


# ---- tar


@dataclass(frozen=True)
class Member:
    """One member of a tar; `pax` are records of its extended header."""

    name: str
    data: bytes = b""
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: float = 0
    device: tuple[int, int] = (0, 0)
    pax: dict[str, str] = field(default_factory=dict)

    def info(self) -> tarfile.TarInfo:
        info = tarfile.TarInfo(self.name)
        info.type, info.linkname, info.mode, info.size = self.kind, self.link, self.mode, len(self.data)
        info.uid, info.gid, info.mtime = self.uid, self.gid, self.mtime
        info.devmajor, info.devminor = self.device
        info.pax_headers = dict(self.pax)
        return info


def file(name: str, data: bytes = b"content\n", **facts: Any) -> Member:
    return Member(name, data, **facts)


def folder(name: str, **facts: Any) -> Member:
    return Member(name, kind=tarfile.DIRTYPE, **{"mode": 0o755, **facts})


def symlink(name: str, target: str, **facts: Any) -> Member:
    return Member(name, kind=tarfile.SYMTYPE, link=target, **{"mode": 0o777, **facts})


def hardlink(name: str, target: str, **facts: Any) -> Member:
    return Member(name, kind=tarfile.LNKTYPE, link=target, **facts)


def tar(members: Iterable[Member], *, format: int = tarfile.PAX_FORMAT, pax: dict[str, str] | None = None) -> bytes:  # noqa: A002
    """A tar archive; `pax` are records of a global header."""
    sink = io.BytesIO()
    with tarfile.open(
        fileobj=sink, mode="w", format=format, encoding="utf-8", errors="surrogateescape", pax_headers=pax
    ) as archive:
        for member in members:
            archive.addfile(member.info(), io.BytesIO(member.data))
    return sink.getvalue()


def header(name: bytes = b"f", **fields: bytes) -> bytes:
    """One ustar header with fields given as bytes, its checksum right unless `checksum` is given."""
    parts = {
        "name": name.ljust(100, b"\0"),
        "mode": b"0000644\0",
        "uid": b"0000000\0",
        "gid": b"0000000\0",
        "size": b"00000000000\0",
        "mtime": b"00000000000\0",
        "checksum": b" " * 8,
        "type": b"0",
        "link": b"",
        "magic": b"ustar\x0000",
        "owner": b"",
        "group": b"",
        "major": b"0000000\0",
        "minor": b"0000000\0",
        "prefix": b"",
    }
    widths = (100, 8, 8, 8, 12, 12, 8, 1, 100, 8, 32, 32, 8, 8, 155)
    checksum = fields.pop("checksum", None)
    parts.update(fields)
    block = b"".join(value.ljust(width, b"\0") for value, width in zip(parts.values(), widths)).ljust(512, b"\0")
    assert len(block) == 512
    stated = b"%06o\0 " % sum(block) if checksum is None else checksum
    return block[:148] + stated.ljust(8, b"\0") + block[156:]


def records(*pairs: tuple[bytes, bytes]) -> bytes:
    """The records of an extended header, with their lengths."""
    return b"".join(record(key, value) for key, value in pairs)


def record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    length = len(body)
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


def extended(data: bytes, kind: bytes = b"x") -> bytes:
    """An extended header (`x`, `g`) or a GNU long name (`L`, `K`) with its data and padding."""
    return header(b"extended", type=kind, size=b"%011o\0" % len(data)) + padded(data)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


END = bytes(1024)


# ---- compression


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zstd": zstd,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "none": bytes,
}


# ---- layouts


@dataclass
class Layer:
    """A layer as it will be stored; every field can be set to something that contradicts the others."""

    tar: bytes
    compression: str = "gzip"
    media_type: str = ""
    diff_id: str = ""
    blob: bytes = b""

    def __post_init__(self) -> None:
        self.blob = self.blob or COMPRESS[self.compression](self.tar)
        self.diff_id = self.diff_id or sha256(self.tar)
        self.media_type = self.media_type or LAYER + {"none": ""}.get(self.compression, f"+{self.compression}")


def layer(*members: Member, **facts: Any) -> Layer:
    return Layer(tar(members), **facts)


def base_layer() -> Layer:
    """A layer with nothing to complain of."""
    return layer(folder("etc"), file("etc/hostname"), folder("usr"), folder("usr/bin"), file("usr/bin/sh", mode=0o755))


@dataclass
class Files:
    """The files of a layout by their path; what was made for each image is kept for tests to look up."""

    files: dict[str, bytes] = field(default_factory=dict)
    images: list[dict[str, Any]] = field(default_factory=list)

    def blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        """Store a blob; its descriptor."""
        self.files[blob_name(sha256(data))] = data
        return {"mediaType": media_type, "digest": sha256(data), "size": len(data)}

    def document(self, value: Any, media_type: str) -> dict[str, Any]:
        return self.blob(to_json(value), media_type)

    def write(self, path: Path) -> Path:
        """As a layout directory."""
        for name, data in self.files.items():
            target = path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        return path

    def archive(self, path: Path, *, top: str = "", compression: str = "none") -> Path:
        """As an archive, at its root or in the directory `top`."""
        members = [file(top + name, data) for name, data in sorted(self.files.items())]
        path.write_bytes(COMPRESS[compression](tar(members)))
        return path


def image(
    files: Files,
    layers: Iterable[Layer],
    *,
    config: Edit = keep,
    manifest: Edit = keep,
    descriptor: Edit = keep,
    platform: dict[str, str] | None = None,
    tag: str = "1.0",
    name: str = "localhost/app:1.0",
) -> dict[str, Any]:
    """Add an image to `files`; its descriptor for an index. Each edit changes a document before it is stored."""
    stored = list(layers)
    where = platform or {"architecture": "amd64", "os": "linux"}
    fields: dict[str, Any] = {
        **where,
        "config": {"Env": ["PATH=/usr/bin"], "Cmd": ["/usr/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [part.diff_id for part in stored]},
        "history": [{"created_by": f"layer {number}"} for number in range(len(stored))],
    }
    config(fields)
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": files.document(fields, CONFIG),
        "layers": [files.blob(part.blob, part.media_type) for part in stored],
    }
    manifest(document)
    entry = files.document(document, MANIFEST)
    entry["platform"] = where
    entry["annotations"] = {REF_NAME: tag, FULL_NAME: name}
    descriptor(entry)
    files.images.append({"descriptor": entry, "manifest": document, "config": fields})
    return entry


def index(files: Files, entries: Iterable[dict[str, Any]], edit: Edit = keep) -> Files:
    """Add index.json and oci-layout."""
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)}
    edit(document)
    files.files["index.json"] = to_json(document)
    files.files["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    return files


def docker_manifest(files: Files, edit: Edit = keep) -> Files:
    """Add manifest.json, as docker reads it, for every image there is."""
    entries = []
    for made in files.images:
        entry = {
            "Config": blob_name(made["manifest"]["config"]["digest"]),
            "RepoTags": [made["descriptor"].get("annotations", {}).get(FULL_NAME, "localhost/app:1.0")],
            "Layers": [blob_name(part["digest"]) for part in made["manifest"]["layers"]],
        }
        edit(entry)
        entries.append(entry)
    files.files["manifest.json"] = to_json(entries)
    return files


def layout(*layers: Layer, index_edit: Edit = keep, **edits: Any) -> Files:
    """A layout of one image, without a fault unless an edit makes one; of one plain layer where none is given."""
    files = Files()
    return index(files, [image(files, layers or (base_layer(),), **edits)], index_edit)


def unpacked_archive(path: Path) -> dict[str, bytes]:
    """The files of an archive by their path."""
    with tarfile.open(path) as archive:
        return {m.name: archive.extractfile(m).read() for m in archive if m.isfile()}  # type: ignore[union-attr]


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def blob_name(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def to_json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def flipped(data: bytes, position: int, bit: int = 0) -> bytes:
    """The data with one bit changed."""
    return data[:position] + bytes([data[position] ^ (1 << bit)]) + data[position + 1 :]


def replaced(path: Path, data: bytes) -> None:
    """Change a file's content in place."""
    os.chmod(path, 0o644)
    path.write_bytes(data)
