# SPDX-License-Identifier: MIT
"""What is there in a feed's folder, by its index or by its packages: a record a package, remembered by content.

python-debian takes three seconds for Debian's index; here it is one, and a fifth of one where it was read before.
Must not know which packages are taken.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import decompress, kept
from ..errors import InputError, ToolError
from ..stream import PieceStream
from ..tree import decode
from .control import PARAGRAPH_LIMIT

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    from ..digests import Digests

_COMPRESSIONS = {"": decompress.NONE, ".gz": decompress.GZIP, ".xz": decompress.XZ, ".zst": decompress.ZSTD}
NAMES = tuple(f"Packages{suffix}" for suffix in _COMPRESSIONS)
REPOMD = os.path.join("repodata", "repomd.xml")  # of a folder of rpm packages

_REQUIRED = ("Package", "Version", "Architecture", "Filename")
# What installing needs of a package.
_FIELDS = (
    *(*_REQUIRED, "Provides", "Multi-Arch", "Essential", "Priority", "Source", "Depends", "Pre-Depends", "Recommends"),
    *("Conflicts", "Breaks", "Replaces", "Installed-Size", "Size", "SHA256", "MD5Sum"),
)
_KEYS = tuple(field.lower().encode() for field in _FIELDS)

_LIMIT = 256 << 20  # of an index's bytes; Debian's has 50 MiB
_PACKAGES = 1_000_000
_PROVIDED = 1_000_000
_PIECE = 1 << 20
_ANEW = "make the index anew"

_FIELD = re.compile(rb"(?m)^([!-9;-~]+):[ \t]*(.*(?:\n[ \t].*)*)")
_PROVIDES = re.compile(r"(?:^|,)\s*([^\s,(:|]+)")

_BETWEEN = b"\n\n"  # two records; no field holds it


class Remembered(NamedTuple):
    """The folder where it is kept what feeds hold, None for none, and what tells which files did not change."""

    folder: str | None
    digests: Digests


class Index:
    """The packages that a folder's index lists, or that lie in it; `where` names it in messages.

    A package is known by its number, in the order of the index. `archs` and `suffixes` (`.deb`) are those of all.
    """

    def __init__(self, records: Sequence[bytes], where: str) -> None:
        self.where = where
        self._records = records
        self._named: dict[str, list[int]] = {}
        self._providers: dict[str, list[str]] = {}
        archs, suffixes = set(), set()
        left = _PROVIDED
        for number, each in enumerate(records):
            name, _, arch, file, provides, _ = each.split(b"\0", 5)
            self._named.setdefault(decode(name), []).append(number)
            archs.add(arch)
            suffixes.add(file[-4:])
            if provides:
                virtual = provided(decode(provides))
                left -= len(virtual)
                if left < 0:
                    raise InputError(f"{where}: its packages provide more than {_PROVIDED} names")
                for one in virtual:
                    self._providers.setdefault(one, []).append(decode(name))
        self.archs = frozenset(map(decode, archs))
        self.suffixes = frozenset(map(decode, suffixes))

    def __len__(self) -> int:
        return len(self._records)

    def named(self, name: str) -> Sequence[int]:
        """The packages of a name."""
        return self._named.get(name, ())

    def providers(self, name: str) -> Sequence[str]:
        """The names of the packages that provide one."""
        return self._providers.get(name, ())

    def names(self, archs: Container[str]) -> set[str]:
        """The names of all packages of some architectures, and those they provide."""
        found: set[str] = set()
        for each in self._records:
            name, _, arch, _, provides, _ = map(decode, each.split(b"\0", 5))
            if arch in archs:
                found.update((name, *provided(provides)))
        return found

    def fields(self, number: int) -> dict[str, str]:
        """The fields of a package that installing needs."""
        values = decode(self._records[number]).split("\0")
        return {field: value for field, value in zip(_FIELDS, values) if value}

    def files(self) -> Iterator[str]:
        """The `Filename` of every package."""
        return (decode(each.split(b"\0", 4)[3]) for each in self._records)


def provided(provides: str) -> list[str]:
    """The names in a field `Provides`, without their versions."""
    return _PROVIDES.findall(provides)


def record(fields: Mapping[str, str]) -> bytes:
    """The record of a package whose fields come from elsewhere than an index."""
    return "\0".join(fields.get(field, "") for field in _FIELDS).encode("utf-8", "surrogateescape")


def read_index(path: str, *, remember: str | None, limit: int | None) -> Index:
    """Read an index, compressed or not; what it says is kept in the folder `remember`.

    `limit` bounds its uncompressed bytes (default: 256 MiB).

    Raises:
        InputError: it is damaged or out of bounds.
        ToolError: it can not be read.
    """
    digest = hashlib.sha256()
    if remember is not None:
        for _ in _hashed(path, digest):
            pass
        known = recall(remember, digest.hexdigest())
        if known is not None:
            return Index(known, path)
    records, read = _read(path, _LIMIT if limit is None else limit)
    index = Index(records, path)
    if remember is not None and read == digest.hexdigest():  # else it was written to meanwhile
        keep(remember, read, records)
    return index


# ---- what is remembered


def recall(folder: str, key: str) -> list[bytes] | None:
    """The records kept under a key; None where there are none, or what is there is not as `keep` wrote it."""
    body = kept.recall(os.path.join(folder, f"packages-{key}"), _head(key))
    *records, _ = (b"" if body is None else body).split(_BETWEEN)
    whole = body is not None and all(one.count(b"\0") == len(_FIELDS) - 1 for one in records)
    return records if whole else None


def keep(folder: str, key: str, records: Iterable[bytes]) -> None:
    """Keep records under a key; a folder that can not be written is no error."""
    kept.keep(os.path.join(folder, f"packages-{key}"), _head(key), _BETWEEN.join([*records, b""]))


def _head(key: str) -> bytes:
    return f"oe-oci packages 1 {key}\n".encode()  # the number changes with what a record holds


# ---- reading an index


def _read(path: str, limit: int) -> tuple[list[bytes], str]:
    """The records of an index, and the SHA-256 of its file."""
    digest = hashlib.sha256()
    records: list[bytes] = []
    line = 1
    for text in _whole_paragraphs(_plain(path, digest, limit), path):
        for paragraph in text.split(b"\n\n"):
            body = paragraph.strip(b"\n")
            if body:
                found = _record(body)
                if isinstance(found, str):
                    raise _fault(path, line + text.count(b"\n", 0, text.index(body)), found)
                records.append(found)
        line += text.count(b"\n")
        if len(records) > _PACKAGES:
            raise InputError(f"{path}: lists more than {_PACKAGES} packages")
    return records, digest.hexdigest()


def _record(paragraph: bytes) -> bytes | str:
    """The record of a package, or what its paragraph has that it must not have."""
    found = [(name.lower(), value) for name, value in _FIELD.findall(paragraph)]
    fields = dict(found)
    if len(fields) < len(found):
        return "has a field twice"
    # Every line is a field or goes on with one; this way that costs next to nothing.
    if len(found) != paragraph.count(b"\n") - paragraph.count(b"\n ") - paragraph.count(b"\n\t") + 1:
        return "has a line that is no field"
    if b"\0" in paragraph:
        return "holds a NUL"
    if b"sha256sum" in fields:  # opkg's word
        fields.setdefault(b"sha256", fields[b"sha256sum"])
    values = [fields.get(key, b"").rstrip() for key in _KEYS]
    for field, value in zip(_REQUIRED, values):
        if not value:
            return f"has no {field}"
    return b"\0".join(values)


def _fault(path: str, line: int, message: str) -> InputError:
    return InputError(f"{path}: damaged index: the entry in line {line} {message}", hint=_ANEW)


def _whole_paragraphs(data: Iterator[bytes], path: str) -> Iterator[bytes]:
    """The text in pieces that end between two paragraphs."""
    stream, rest = PieceStream(data), b""
    while True:
        piece = stream.read(_PIECE)
        text = rest + piece
        end = text.rfind(b"\n\n") + 1 if piece else len(text)
        if len(text) - end > PARAGRAPH_LIMIT:
            raise InputError(f"{path}: damaged index: an entry has more than {PARAGRAPH_LIMIT} bytes", hint=_ANEW)
        if end:
            yield text[:end]
        if not piece:
            if rest and not rest.endswith(b"\n"):
                raise InputError(f"{path}: damaged index: ends within a line", hint=_ANEW)
            return
        rest = text[end:]


def _plain(path: str, digest: Any, limit: int) -> Iterator[bytes]:
    """The uncompressed bytes of an index, those of its file added to `digest`."""
    data = _hashed(path, digest)
    first = next(data, b"")
    found, named = decompress.detect(first), _COMPRESSIONS[os.path.splitext(path)[1]]
    if found != named:
        raise InputError(f"{path}: damaged index: its name says {named}, its bytes {found}", hint=_ANEW)
    return decompress.decompress(itertools.chain([first], data), named, path, limit=limit)


def _hashed(path: str, digest: Any) -> Iterator[bytes]:
    for piece in _pieces(path):
        digest.update(piece)
        yield piece


def _pieces(path: str) -> Iterator[bytes]:
    try:
        with open(path, "rb", buffering=0) as file:
            while True:
                piece = file.read(_PIECE)
                if not piece:
                    return
                yield piece
    except OSError as error:
        # Turned here, as a decompressor takes any OSError of its input for damage.
        raise ToolError(f"cannot read {path}: {error.strerror}") from error
