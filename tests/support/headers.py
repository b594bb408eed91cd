# SPDX-License-Identifier: MIT
"""Headers of rpm packages and databases of them, made by hand; nothing of the product is used."""

from __future__ import annotations

import hashlib
import sqlite3
import struct
import zlib
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from collections.abc import Mapping

Value = Union[int, str, bytes, "list[int]", "list[str]"]

MAGIC = b"\x8e\xad\xe8\x01" + bytes(4)
IMMUTABLE, SIGNATURES = 63, 62
_CHAR, _INT16, _INT32, _STRING, _BIN, _STRINGS, _I18N = 1, 3, 4, 6, 7, 8, 9
_TRANSLATED = frozenset((1004, 1005, 1016))
_SHORT, _CHARS = frozenset((1030, 1033)), frozenset((1029,))
_ALIGNED = {_INT16: 2, _INT32: 4}


def header(values: Mapping[int, Value], region: int = 0, more: Mapping[int, Value] | None = None) -> bytes:
    """A header of values by tag, with a region (its tag) around them; `more` follow it."""
    entries, store = b"", b""

    def put(tag: int, value: Value) -> None:
        nonlocal entries, store
        kind, count, data = _packed(tag, value)
        store += bytes(-len(store) % _ALIGNED.get(kind, 1))
        entries += struct.pack(">IIiI", tag, kind, len(store), count)
        store += data

    for tag, value in sorted(values.items()):
        put(tag, value)
    number = len(values)
    if region:
        number += 1
        entries = struct.pack(">IIiI", region, _BIN, len(store), 16) + entries
        store += struct.pack(">IIiI", region, _BIN, -16 * number, 16)
    for tag, value in sorted((more or {}).items()):
        put(tag, value)
        number += 1
    return struct.pack(">II", number, len(store)) + entries + store


def _packed(tag: int, value: Value) -> tuple[int, int, bytes]:
    if isinstance(value, bytes):
        return _BIN, len(value), value
    if isinstance(value, str):
        return (_I18N if tag in _TRANSLATED else _STRING), 1, _text(value)
    if isinstance(value, int):
        value = [value]
    if value and isinstance(value[0], str):
        return _STRINGS, len(value), b"".join(map(_text, value))
    kind, letter = (_INT16, "H") if tag in _SHORT else (_CHAR, "B") if tag in _CHARS else (_INT32, "I")
    return kind, len(value), struct.pack(f">{len(value)}{letter}", *value)


def _text(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape") + b"\0"


def package(
    name: str, version: str = "1", files: Mapping[str, bytes] | None = None, epoch: int = 0, **tags: Value
) -> tuple[bytes, bytes]:
    """The signature header and the header of a package of regular files; `_5046=[...]` sets a tag.

    Files whose name ends in `.conf` are configuration, in `.ghost` ghosts.
    """
    values: dict[int, Value] = {
        1000: name,
        1001: version,
        1002: "1",
        1004: "made by hand",
        1014: "MIT",
        1016: "Tests",
        1021: "linux",
        1022: "noarch",
        1044: f"{name}-{version}-1.src.rpm",
        1047: [name],
        1112: [8],
        1113: [f"{version}-1"],
        1124: "cpio",
        **({1003: epoch} if epoch else {}),
        **_files(files or {}),
        **{int(tag[1:]): value for tag, value in tags.items()},
    }
    main = header(values, IMMUTABLE)
    signed = MAGIC + main
    sums = {269: hashlib.sha1(signed).hexdigest(), 273: hashlib.sha256(signed).hexdigest()}
    signature = header({**sums, 1000: 10, 1004: hashlib.md5(signed).digest(), 1007: 20, 1008: bytes(8)}, SIGNATURES)
    return signature, main


def _files(files: Mapping[str, bytes]) -> dict[int, Value]:
    if not files:
        return {}
    split = [path.rpartition("/") for path in sorted(files)]
    folders = sorted({folder + "/" for folder, _, _ in split})
    number = {folder: at for at, folder in enumerate(folders)}
    ghosts = [path.endswith(".ghost") for path in sorted(files)]
    digests = ["" if ghost else hashlib.sha256(files[path]).hexdigest() for path, ghost in zip(sorted(files), ghosts)]
    return {
        1117: [name for _, _, name in split],
        1116: [number[folder + "/"] for folder, _, _ in split],
        1118: folders,
        1028: [len(files[path]) for path in sorted(files)],
        1030: [0o100644 for _ in files],
        1033: [0 for _ in files],
        1034: [1 for _ in files],
        1035: digests,
        1036: ["" for _ in files],
        1037: [64 if path.endswith(".ghost") else 17 if path.endswith(".conf") else 0 for path in sorted(files)],
        1039: ["root" for _ in files],
        1040: ["root" for _ in files],
        1045: [0xFFFFFFFF for _ in files],
        5011: 8,
    }


def stored(
    name: str, version: str = "1", files: Mapping[str, bytes] | None = None, at: int = 7, **tags: Value
) -> bytes:
    """The header of a package as a database has it, installed at a time."""
    states = tags.pop("_1029", [0] * len(files or {}))
    _, main = package(name, version, files, **tags)
    number, _ = struct.unpack_from(">II", main)
    entries, store = main[8 : 8 + 16 * number], main[8 + 16 * number :]
    added = header({1008: at, **({1029: states} if states else {}), 1127: 0, 1128: at})
    extra = struct.unpack_from(">II", added)[0]
    store += bytes(-len(store) % 4)
    for tag, kind, offset, count in struct.iter_unpack(">IIiI", added[8 : 8 + 16 * extra]):
        entries += struct.pack(">IIiI", tag, kind, offset + len(store), count)
    store += added[8 + 16 * extra :]
    return struct.pack(">II", number + extra, len(store)) + entries + store


def split(data: bytes) -> tuple[bytes, bytes]:
    """The signature header and the header of a package's file."""
    found, at = [], 96
    for _ in range(2):
        assert data[at : at + 8] == MAGIC
        number, size = struct.unpack_from(">II", data, at + 8)
        end = at + 16 + 16 * number + size
        found.append(data[at + 8 : end])
        at = end + -end % 8
    return found[0], found[1]


def sqlite(*blobs: bytes, schema: str = "hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL") -> bytes:
    """An rpmdb.sqlite as SQLite makes it, with the table of packages alone, numbered from 1."""
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE TABLE 'Packages' ({schema})")
    connection.executemany("INSERT INTO Packages (hnum, blob) VALUES (?, ?)", enumerate(blobs, 1))
    connection.commit()
    data: bytes = connection.serialize()
    connection.close()
    return data


def ndb(*blobs: bytes) -> bytes:
    """A Packages.db of rpm's own format, numbered from 1."""
    slots = b"RpmP" + struct.pack("<4I12x", 0, len(blobs), 1, len(blobs) + 1)
    blocks = b""
    for number, blob in enumerate(blobs, 1):
        start = 4096 + len(blocks)
        data = b"BlbS" + struct.pack("<3I", number, number, len(blob)) + blob
        data += bytes(-(len(data) + 12) % 16)
        data += struct.pack("<2I", zlib.adler32(data), len(blob)) + b"BlbE"
        slots += b"Slot" + struct.pack("<3I", number, start // 16, len(data) // 16)
        blocks += data
    free = (4096 - len(slots)) // 16
    return slots + free * (b"Slot" + bytes(12)) + blocks
