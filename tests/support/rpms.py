# SPDX-License-Identifier: MIT
"""Packages (.rpm), made with the standard library, each part of which a test can break; rpm itself installs them.

Must not use the product: its readers are tested against what this makes. Follows rpm's documentation of its package
format, version 4.
"""

from __future__ import annotations

import hashlib
import stat
import struct
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from support.packages import COMPRESSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MAGIC = b"\x8e\xad\xe8\x01\0\0\0\0"
INT8, INT16, INT32, INT64, STRING, BIN, STRINGS, I18N = 2, 3, 4, 5, 6, 7, 8, 9
_LETTERS = {INT8: "B", INT16: "H", INT32: "I", INT64: "Q"}
_ALIGNED = {INT16: 2, INT32: 4, INT64: 8}
SIGNATURES, IMMUTABLE = 62, 63
CONFIG, NOREPLACE, GHOST = 1, 16, 64
# What a header calls a compression.
COMPRESSORS = {"none": "", "gz": "gzip", "xz": "xz", "zst": "zstd", "bz2": "bzip2", "lzma": "lzma"}
ALGORITHMS = {1: "md5", 2: "sha1", 8: "sha256", 9: "sha384", 10: "sha512", 11: "sha224"}

# A tag's value: its type, and numbers, texts or bytes.
Value = tuple[int, Any]
Tags = dict[int, Value]


# ---- headers


def header(tags: Mapping[int, Value | None], region: int | None = IMMUTABLE, *, trailer: bytes | None = None) -> bytes:
    """A header as the database has it: number of entries, bytes of values, entries, values.

    `region` is the tag of the part that signatures cover, here the whole; `trailer` its last entry, by default right.
    A tag without a value is left out.
    """
    entries, values = [], bytearray()
    given = sorted((tag, value) for tag, value in tags.items() if value is not None)
    for tag, (kind, value) in given:
        values += bytes(-len(values) % _ALIGNED.get(kind, 1))
        data, count = packed(kind, value)
        entries.append(struct.pack(">IIiI", tag, kind, len(values), count))
        values += data
    if region is not None:
        entries.insert(0, struct.pack(">IIiI", region, BIN, len(values), 16))
        values += struct.pack(">IIiI", region, BIN, -16 * len(entries), 16) if trailer is None else trailer
    return struct.pack(">II", len(entries), len(values)) + b"".join(entries) + bytes(values)


def packed(kind: int, value: Any) -> tuple[bytes, int]:
    """The bytes of a tag's value and how many there are."""
    if kind == BIN:
        return value, len(value)
    if kind in _LETTERS:
        numbers = value if isinstance(value, (list, tuple)) else [value]
        return struct.pack(f">{len(numbers)}{_LETTERS[kind]}", *numbers), len(numbers)
    texts = value if isinstance(value, (list, tuple)) else [value]
    return b"".join(encoded(text) + b"\0" for text in texts), len(texts)


def encoded(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


# ---- files and their archive


@dataclass(frozen=True)
class File:
    """A file of a package. `path` is absolute; `mode` has its type too; `link` is equal for the names of one inode."""

    path: str | bytes
    data: bytes = b""
    mode: int = stat.S_IFREG | 0o644
    mtime: int = 0
    flags: int = 0
    user: str = "root"
    group: str = "root"
    target: str | bytes = ""
    caps: str = ""
    device: int = 0
    link: str | None = None
    digest: str | None = None  # None: the right one
    size: int | None = None
    color: int = 0  # 1 of a 32-bit ELF file, 2 of a 64-bit one

    @property
    def content(self) -> bytes:
        """What the archive has of it."""
        return encoded(self.target) if stat.S_ISLNK(self.mode) else self.data

    @property
    def told_size(self) -> int:
        return len(self.content) if self.size is None else self.size


def file(path: str | bytes, data: bytes = b"content\n", mode: int = 0o644, **facts: Any) -> File:
    return File(path, data, stat.S_IFREG | mode, **facts)


def folder(path: str | bytes, mode: int = 0o755, **facts: Any) -> File:
    return File(path, b"", stat.S_IFDIR | mode, **facts)


def symlink(path: str | bytes, target: str | bytes, **facts: Any) -> File:
    return File(path, b"", stat.S_IFLNK | 0o777, target=target, **facts)


def device(path: str | bytes, major: int, minor: int, mode: int = stat.S_IFCHR | 0o666, **facts: Any) -> File:
    return File(path, b"", mode, device=major << 8 | minor, **facts)


def ghost(path: str | bytes, **facts: Any) -> File:
    return File(path, b"", flags=GHOST, **facts)


def files(given: Iterable[File] | Mapping[str, bytes]) -> list[File]:
    """Files in the order that rpm looks for them in; of a mapping of paths to bytes plain ones."""
    found = [file("/" + path.lstrip("/"), data) for path, data in given.items()] if isinstance(given, dict) else given
    return sorted(found, key=lambda each: encoded(each.path))


def newc(
    name: bytes, mode: int = 0o100644, size: int = 0, inode: int = 1, links: int = 1, magic: bytes = b"070701"
) -> bytes:
    """A member's header, and its name."""
    fields = (inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, len(name) + 1, 0)
    head = magic + b"".join(b"%08x" % field for field in fields) + name + b"\0"
    return head + bytes(-len(head) % 4)


def stripped(number: int) -> bytes:
    """A member's header in rpm's own form, of files of any size."""
    return b"07070X%08x\0\0" % number


TRAILER = newc(b"TRAILER!!!", 0)


def cpio(given: Iterable[File], *, large: bool = False, trailer: bytes = TRAILER) -> bytes:
    """The payload of a package's files; with `large` its headers are stripped.

    The names of an inode come last and together: rpm 4.18 writes what lies between them into it.
    """
    found = list(given)
    numbers = inodes(found)
    links = Counter(each.link for each in found if not each.flags & GHOST)
    left, out = Counter(links), []
    order = [numbers[number] if each.link is not None else 0 for number, each in enumerate(found)]
    for number in sorted(range(len(found)), key=order.__getitem__):
        each = found[number]
        if each.flags & GHOST:
            continue
        left[each.link] -= 1
        content = each.content if each.link is None or not left[each.link] else b""
        count = links[each.link] if each.link is not None else 1
        name = b"." + encoded(each.path)
        out.append(stripped(number) if large else newc(name, each.mode, len(content), numbers[number], count))
        out.append(content + bytes(-len(content) % 4))
    return b"".join([*out, trailer])


def inodes(given: Iterable[File]) -> list[int]:
    """Numbers from 1 on, one for all names of one inode."""
    known: dict[str, int] = {}
    return [
        number if each.link is None else known.setdefault(each.link, number) for number, each in enumerate(given, 1)
    ]


def file_tags(given: Iterable[File], algorithm: int = 8, *, large: bool = False, old: bool = False) -> Tags:
    """The tags of a header that tell of files; with `old` their names are whole paths."""
    found = list(given)
    if not found:
        return {}
    parts = [encoded(each.path).rpartition(b"/") for each in found]
    folders = sorted({start + slash for start, slash, _ in parts})
    sizes: Value = (INT64 if large else INT32, [each.told_size for each in found])
    tags: Tags = {
        5008 if large else 1028: sizes,
        1030: (INT16, [each.mode for each in found]),
        1033: (INT16, [each.device for each in found]),
        1034: (INT32, [each.mtime for each in found]),
        1035: (STRINGS, [digest_of(each, algorithm) for each in found]),
        1036: (STRINGS, [each.target for each in found]),
        1037: (INT32, [each.flags for each in found]),
        1039: (STRINGS, [each.user for each in found]),
        1040: (STRINGS, [each.group for each in found]),
        1045: (INT32, [0xFFFFFFFF for _ in found]),
        1095: (INT32, [1 for _ in found]),
        1096: (INT32, inodes(found)),
        1097: (STRINGS, ["" for _ in found]),
    }
    if algorithm != 1:
        tags[5011] = (INT32, algorithm)
    if any(each.color for each in found):
        tags[1140] = (INT32, [each.color for each in found])
    if any(each.caps for each in found):
        tags[5010] = (STRINGS, [each.caps for each in found])
    if old:
        tags[1027] = (STRINGS, [each.path for each in found])
        return tags
    tags[1116] = (INT32, [folders.index(start + slash) for start, slash, _ in parts])
    tags[1117] = (STRINGS, [name for _, _, name in parts])
    tags[1118] = (STRINGS, folders)
    return tags


def digest_of(each: File, algorithm: int) -> str:
    if each.digest is not None:
        return each.digest
    if not stat.S_ISREG(each.mode) or each.flags & GHOST:
        return ""
    return hashlib.new(ALGORITHMS[algorithm], each.data).hexdigest()


# ---- packages

# Relations by their usual names: the tags of names, flags and versions.
RELATIONS = {
    "provides": (1047, 1112, 1113),
    "requires": (1049, 1048, 1050),
    "conflicts": (1054, 1053, 1055),
    "obsoletes": (1090, 1114, 1115),
    "recommends": (5046, 5048, 5047),
    "suggests": (5049, 5051, 5050),
    "supplements": (5052, 5054, 5053),
    "enhances": (5055, 5057, 5056),
}
_SENSES = {"<": 2, ">": 4, "=": 8, "<=": 10, ">=": 12}


def relation_tags(kind: str, words: Iterable[str]) -> Tags:
    """The tags of relations written as in a spec file: `name`, `name >= 1.0-1`, `(a or b)`, `rpmlib(X) <= 1`."""
    found = []
    for word in words:
        parts = word.split() if not word.startswith("(") else [word]
        name, sense, version = parts if len(parts) == 3 else (word, "", "")
        found.append((name, _SENSES.get(sense, 0) | (1 << 24 if name.startswith("rpmlib(") else 0), version))
    if not found:
        return {}
    names, flags, versions = zip(*sorted(found))
    tags = RELATIONS[kind]
    return {tags[0]: (STRINGS, list(names)), tags[1]: (INT32, list(flags)), tags[2]: (STRINGS, list(versions))}


def lead(
    name: str = "shop-1.0-1", *, kind: int = 0, magic: bytes = b"\xed\xab\xee\xdb", major: int = 3, signed: int = 5
) -> bytes:
    return struct.pack(">4sBBHH66sHH16x", magic, major, 0, kind, 1, name.encode()[:65], 1, signed)


class Made(NamedTuple):
    """A package: what its header says and its payload, from which its bytes and all sums in it follow.

    `payload` is compressed. The rest replaces or, with None, removes what would be right.
    """

    name: str
    version: str
    arch: str
    tags: Tags
    payload: bytes
    signature: Mapping[int, Value | None] = {}
    lead: bytes = b""

    @property
    def header(self) -> bytes:
        return header(self.tags)

    @property
    def filename(self) -> str:
        return f"{self.name}-{self.version.partition(':')[2] or self.version}.{self.arch}.rpm"

    @property
    def data(self) -> bytes:
        """The whole file."""
        return whole(self.header, self.payload, self.signature, self.lead or lead(self.filename))

    def with_tags(self, changed: Mapping[int, Value | None]) -> Made:
        """The same with other tags; None takes one out."""
        tags = {tag: value for tag, value in {**self.tags, **changed}.items() if value is not None}
        return self._replace(tags=tags)

    def write(self, place: Any) -> Any:
        """Write it into a folder under its usual name; its path."""
        path = place / self.filename
        path.write_bytes(self.data)
        return path


def whole(
    main: bytes, payload: bytes, signature: Mapping[int, Value | None] | None = None, start: bytes | None = None
) -> bytes:
    """A package's file of its main header and its compressed payload."""
    summed = MAGIC + main
    tags: dict[int, Value | None] = {
        269: (STRING, hashlib.sha1(summed).hexdigest()),
        273: (STRING, hashlib.sha256(summed).hexdigest()),
        1000: (INT32, len(summed) + len(payload)) if len(summed) + len(payload) < 1 << 32 else None,
        1004: (BIN, hashlib.md5(summed + payload).digest()),
        **(signature or {}),
    }
    block = MAGIC + header(tags, SIGNATURES)
    return (lead() if start is None else start) + block + bytes(-len(block) % 8) + summed + payload


def package(
    name: str,
    version: str = "1.0-1",
    arch: str = "noarch",
    given: Iterable[File] | Mapping[str, bytes] = (),
    *,
    compression: str = "gz",
    algorithm: int = 8,
    large: bool = False,
    old: bool = False,
    payload: bytes | None = None,
    compress: Callable[[bytes], bytes] | None = None,
    tags: Mapping[int, Value | None] | None = None,
    **relations: Iterable[str],
) -> Made:
    """A package with the tags that every one has.

    `version` is `[epoch:]version-release`. `compression` is one of `COMPRESSIONS`. `large` gives sizes 64 bits and
    strips the payload's headers, `old` gives files whole paths. `payload` is the uncompressed archive where it is not
    made of the files. `relations` are as in a spec file, by the names of `RELATIONS`. `tags` are more, or others.
    """
    epoch, _, rest = version.rpartition(":")
    number, _, release = rest.rpartition("-")
    found = files(given)
    plain = cpio(found, large=large) if payload is None else payload
    packed_payload = (compress or COMPRESSIONS[compression])(plain)
    needs = ["rpmlib(CompressedFileNames) <= 3.0.4-1", "rpmlib(PayloadFilesHavePrefix) <= 4.0-1"]
    needs += ["rpmlib(FileDigests) <= 4.6.0-1"] * (algorithm != 1) + ["rpmlib(LargeFiles) <= 4.12.0-1"] * large
    provides = [f"{name} = {version}", *relations.pop("provides", ())]
    made: dict[int, Value | None] = {
        100: (STRINGS, ["C"]),
        1000: (STRING, name),
        1001: (STRING, number),
        1002: (STRING, release),
        1003: (INT32, int(epoch)) if epoch else None,
        1004: (I18N, [f"{name} for tests"]),
        1005: (I18N, [f"{name} for tests."]),
        1006: (INT32, 1_600_000_000),
        1007: (STRING, "tests"),
        1009: (INT32, sum(len(each.content) for each in found) & 0xFFFFFFFF),
        1014: (STRING, "MIT"),
        1016: (I18N, ["Unspecified"]),
        1021: (STRING, "linux"),
        1022: (STRING, arch),
        1044: (STRING, f"{name}-{rest}.src.rpm"),
        1064: (STRING, "4.18.0"),
        1124: (STRING, "cpio"),
        1125: (STRING, COMPRESSORS[compression]) if COMPRESSORS[compression] else None,
        1126: (STRING, "9"),
        5092: (STRINGS, [hashlib.sha256(packed_payload).hexdigest()]),
        5093: (INT32, 8),
        **file_tags(found, algorithm, large=large, old=old),
        **relation_tags("provides", provides),
        **relation_tags("requires", [*needs, *relations.pop("requires", ())]),
    }
    for kind, words in relations.items():
        made.update(relation_tags(kind, words))
    made.update(tags or {})
    return Made(name, version, arch, {t: v for t, v in made.items() if v is not None}, packed_payload)
