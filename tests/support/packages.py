# SPDX-License-Identifier: MIT
"""Packages (.deb, .ipk) and feeds of them, made with the standard library, each part of which a test can break.

Must not use the product: its readers are tested against what this makes.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Union

from support.layouts import COMPRESS, Member, file, folder, tar

if TYPE_CHECKING:
    from pathlib import Path

# By the suffix that a member of a package has. Every one of them is a function of the bytes to the compressed ones.
COMPRESSIONS = {
    "none": bytes,
    "gz": COMPRESS["gzip"],
    "xz": COMPRESS["xz"],
    "zst": COMPRESS["zstd"],
    "bz2": COMPRESS["bzip2"],
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
}

Files = Union[Mapping[str, bytes], Iterable[Member]]


# ---- members of data.tar


@dataclass(frozen=True)
class Owned(Member):
    """A member whose owners have names too, in the header's own fields."""

    user: str = ""
    group: str = ""

    def info(self) -> tarfile.TarInfo:
        info = super().info()
        info.uname, info.gname = self.user, self.group
        return info


def xattrs(**values: bytes) -> dict[str, str]:
    """Records for a member's `pax`; in a name `__` stands for a dot: `xattrs(security__capability=b"…")`."""
    return {f"SCHILY.xattr.{k.replace('__', '.')}": v.decode("utf-8", "surrogateescape") for k, v in values.items()}


def members(files: Files) -> list[Member]:
    """Members as they are given; of a mapping of paths to bytes all with the root and the folders they lie in."""
    if not isinstance(files, Mapping):
        return list(files)
    folders = {"./"}
    for path in files:
        parts = path.strip("./").split("/")[:-1]
        folders.update("./" + "/".join(parts[: n + 1]) + "/" for n in range(len(parts)))
    return [*map(folder, sorted(folders)), *(file("./" + path.lstrip("./"), data) for path, data in files.items())]


# ---- archives


def ar(parts: Iterable[tuple[str, bytes]]) -> bytes:
    """An ar archive, as dpkg-deb writes one."""
    out = [b"!<arch>\n"]
    for name, data in parts:
        out += [ar_header(name.encode(), len(data)), data, b"\n" * (len(data) % 2)]
    return b"".join(out)


def ar_header(name: bytes, size: int, *, end: bytes = b"`\n") -> bytes:
    return b"%-16s%-12d%-6d%-6d%-8s%-10d" % (name, 0, 0, 0, b"100644", size) + end


def paragraph(fields: Mapping[str, str]) -> bytes:
    """A paragraph of control data; what a value's further lines need before them is left to the caller."""
    text = "".join(f"{key}: {value}\n" for key, value in fields.items())
    return text.encode("utf-8", "surrogateescape")


def control_tar(fields: Mapping[str, str] | bytes, extra: Mapping[str, bytes | str] | None = None) -> bytes:
    """control.tar: the control file, then `extra` by name (maintainer scripts, conffiles, md5sums …)."""
    found = [folder("./"), file("./control", fields if isinstance(fields, bytes) else paragraph(fields))]
    for name, content in (extra or {}).items():
        data = content if isinstance(content, bytes) else content.encode()
        found.append(file("./" + name, data, mode=0o755 if name.endswith(("inst", "rm", "config")) else 0o644))
    return tar(found, format=tarfile.GNU_FORMAT)


def deb(
    fields: Mapping[str, str] | bytes,
    files: Files = (),
    scripts: Mapping[str, bytes | str] | None = None,
    *,
    compression: str = "xz",
    control_compression: str = "gz",
    form: str = "ar",
    tar_format: int = tarfile.PAX_FORMAT,
    data_tar: bytes | None = None,
) -> bytes:
    """A package.

    `fields` are those of the control file, or its bytes. `scripts` are all other control files by name, so conffiles
    too. The compressions are keys of `COMPRESSIONS`. `form` is "ar", or "tar.gz" as the first ipk had it. `data_tar`,
    where given, is taken for the uncompressed payload in place of one made of `files`.
    """
    payload = tar(members(files), format=tar_format) if data_tar is None else data_tar
    parts = [
        ("debian-binary", b"2.0\n"),
        (
            member_name("control.tar", control_compression),
            COMPRESSIONS[control_compression](control_tar(fields, scripts)),
        ),
        (member_name("data.tar", compression), COMPRESSIONS[compression](payload)),
    ]
    return outer(parts, form)


def member_name(stem: str, compression: str) -> str:
    return stem if compression == "none" else f"{stem}.{compression}"


def outer(parts: Iterable[tuple[str, bytes]], form: str = "ar") -> bytes:
    """The outer archive of a package's parts, in either form."""
    if form == "ar":
        return ar(parts)
    assert form == "tar.gz"
    return gzip.compress(tar([file("./" + name, data) for name, data in parts], format=tarfile.GNU_FORMAT), mtime=0)


# ---- packages with their usual names, and feeds


class Made(NamedTuple):
    """A package: the fields of its control file, its bytes, and the usual name of its file."""

    fields: dict[str, str]
    data: bytes
    name: str

    def entry(self, filename: str = "", **changed: str | None) -> bytes:
        """Its paragraph in an index; None takes a field out. `_` in a field's name stands for `-`."""
        digests = {"Size": str(len(self.data)), "SHA256": hashlib.sha256(self.data).hexdigest()}
        fields = {**self.fields, "Filename": filename or self.name, **digests}
        for key, value in changed.items():
            fields[key.replace("_", "-")] = value
        return paragraph({key: value for key, value in fields.items() if value is not None})


def package(
    name: str,
    version: str = "1.0",
    arch: str = "all",
    files: Files = (),
    scripts: Mapping[str, bytes | str] | None = None,
    *,
    kind: str = "deb",
    form: str = "ar",
    compression: str = "",
    tar_format: int = tarfile.PAX_FORMAT,
    **fields: str,
) -> Made:
    """A package with the control fields that every one has; `_` in another field's name stands for `-`."""
    usual = {"Package": name, "Version": version, "Architecture": arch}
    rest = {"Maintainer": "Tester <tester@example.com>", "Description": f"{name} for tests"}
    all_fields = {**usual, **{key.replace("_", "-"): value for key, value in fields.items()}, **rest}
    compression = compression or {"deb": "xz", "ipk": "gz"}[kind]
    data = deb(all_fields, files, scripts, form=form, compression=compression, tar_format=tar_format)
    return Made(all_fields, data, f"{name}_{version.partition(':')[2] or version}_{arch}.{kind}")


def index_of(packages: Iterable[Made]) -> bytes:
    """A `Packages` of packages that lie beside it."""
    return b"\n".join(made.entry() for made in packages)


def write_feed(place: Path, packages: Iterable[Made], *, index: str = "Packages") -> Path:
    """A folder of packages, with an index named `index` (its suffix says how it is compressed), empty for none."""
    place.mkdir(parents=True, exist_ok=True)
    found = list(packages)
    for made in found:
        (place / made.name).write_bytes(made.data)
    if index:
        (place / index).write_bytes(COMPRESSIONS[index.partition(".")[2] or "none"](index_of(found)))
    return place
