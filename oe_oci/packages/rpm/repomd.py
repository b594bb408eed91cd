# SPDX-License-Identifier: MIT
"""What a `repodata/repomd.xml` says of a repository's metadata, and their bytes held against it.

Must not know packages.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple
from xml.parsers import expat

from ... import decompress
from ...errors import InputError, ToolError
from ..index import REPOMD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ANEW = "make the index anew with createrepo_c"

_SIZE = 1 << 20  # bytes; the largest known has 10 KiB
_LIMIT = 1 << 30  # of uncompressed metadata; Fedora's names of files have 700 MiB
_PIECE = 1 << 20
_ALGORITHMS = {"sha": "sha1", **{name: name for name in ("sha1", "sha224", "sha256", "sha384", "sha512", "md5")}}
_DIGEST = re.compile("[0-9a-f]{32,128}")
# In another encoding what is looked for could be written in other bytes.
_UTF8 = re.compile(rb"(\xef\xbb\xbf)?\s*<(?!\?xml[^>]*encoding\s*=(?!\s*[\"'](?i:utf-8|us-ascii)[\"']))")
_WRITTEN = re.compile(rb"<!(?:DOCTYPE|ENTITY)")
# A value in which libsolv could go down by more calls of its own than a stack holds.
_LONG = 1 << 15
_DEEP = re.compile(rb"\"[^\"<]{%d}|'[^'<]{%d}" % (_LONG, _LONG))


class Metadata(NamedTuple):
    """A file of metadata: where it lies, and its digests, compressed and not: algorithm and value, or empty."""

    path: str
    digest: tuple[str, str]
    plain: tuple[str, str]


def read(folder: str, top: str) -> dict[str, Metadata]:
    """The metadata that a folder's `repomd.xml` names, by their types; they lie in the folder `top` of the feed.

    Raises:
        InputError: it is damaged.
        ToolError: it can not be read.
    """
    path = os.path.join(folder, REPOMD)
    data = b"".join(_pieces(path, _SIZE + 1))
    if len(data) > _SIZE:
        raise InputError(f"{path}: damaged index: has more than {_SIZE} bytes", hint=ANEW)
    found = _Reader(path).read(data)
    inside = os.path.join(os.path.realpath(top), "")
    metadata = {}
    for kind, one in found.items():
        place = os.path.join(folder, one.path)
        outside = one.path.startswith("/") or os.pardir in one.path.split("/") or "\0" in one.path
        if outside or not os.path.realpath(place).startswith(inside):
            raise InputError(f"{path}: {one.path[:200]!r} can not be the place of {kind}", hint=ANEW)
        metadata[kind] = one._replace(path=place)
    if "primary" not in metadata:
        raise InputError(f"{path}: damaged index: names no primary metadata", hint=ANEW)
    return metadata


def opened(metadata: Metadata, limit: int | None) -> BinaryIO:
    """The uncompressed bytes of metadata in a file without a name, held against their digests.

    Raises:
        InputError: they are damaged, or come to more than `limit` (default: 1 GiB).
        ToolError: they can not be read, or the disk is full.
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by who takes it
    try:
        for piece in _checked(metadata, _LIMIT if limit is None else limit):
            file.write(piece)
        file.seek(0)
    except OSError as error:
        file.close()
        raise ToolError(f"cannot keep what {metadata.path} unpacks to: {error.strerror}") from error
    except BaseException:
        file.close()
        raise
    return file


class _Reader:
    """Follows the elements of one document; nothing in it may be defined by itself."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._found: dict[str, Metadata] = {}
        self._kind = ""
        self._place = ""
        self._sums: dict[str, tuple[str, str]] = {}
        self._text: list[str] | None = None
        self._algorithm = ""

    def read(self, data: bytes) -> dict[str, Metadata]:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self._begin
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._add
        parser.StartDoctypeDeclHandler = self._refuse
        try:
            parser.Parse(data, True)
        except expat.ExpatError as error:
            raise InputError(f"{self._path}: damaged index: {error}", hint=ANEW) from error
        return self._found

    def _refuse(self, *_declared: Any) -> None:
        raise InputError(f"{self._path}: damaged index: has a document type", hint=ANEW)

    def _begin(self, element: str, attributes: dict[str, str]) -> None:
        name = element.rpartition(" ")[2]
        if name == "data":
            self._kind, self._place, self._sums = attributes.get("type", ""), "", {}
        elif name in ("checksum", "open-checksum"):
            self._text, self._algorithm = [], attributes.get("type", "")
        elif name == "location":
            self._place = attributes.get("href", "")
            if any(key.endswith("base") for key in attributes):
                raise InputError(f"{self._path}: its metadata lie elsewhere", hint="give the feed they lie in")

    def _add(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _end(self, element: str) -> None:
        name = element.rpartition(" ")[2]
        if name in ("checksum", "open-checksum"):
            algorithm, value = _ALGORITHMS.get(self._algorithm, ""), "".join(self._text or ()).strip().lower()
            if not algorithm or not _DIGEST.fullmatch(value):
                text = f"{self._algorithm[:20]} {value[:80]}"
                raise InputError(f"{self._path}: damaged index: {text!r} can not be a checksum", hint=ANEW)
            self._sums[name], self._text = (algorithm, value), None
        elif name == "data" and self._place:
            sums = (self._sums.get(each, ("", "")) for each in ("checksum", "open-checksum"))
            self._found.setdefault(self._kind, Metadata(self._place, *sums))


def _checked(metadata: Metadata, limit: int) -> Iterator[bytes]:
    """The uncompressed bytes, those of both forms held against their digests, and none that could be a trap."""
    path = metadata.path
    data = _hashed(_pieces(path), metadata.digest, path)
    first = next(data, b"")
    plain = decompress.decompress(_joined(first, data), decompress.detect(first), path, limit=limit)
    last = b""
    for number, piece in enumerate(_hashed(plain, metadata.plain, path)):
        if b"\0" in piece or (number == 0 and not _UTF8.match(piece)):
            raise InputError(f"{path}: damaged index: is no XML in UTF-8", hint=ANEW)
        # What is written over the end of a piece is found too.
        both = last + piece
        if _WRITTEN.search(both):
            raise InputError(f"{path}: damaged index: has a document type", hint=ANEW)
        if _DEEP.search(both):
            raise InputError(f"{path}: damaged index: has a value of more than {_LONG} bytes", hint=ANEW)
        last = both[-(_LONG + 16) :]
        yield piece


def _joined(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _hashed(data: Iterable[bytes], expected: tuple[str, str], path: str) -> Iterator[bytes]:
    algorithm, value = expected
    digest = hashlib.new(algorithm, usedforsecurity=False) if algorithm else None
    for piece in data:
        if digest is not None:
            digest.update(piece)
        yield piece
    if digest is not None and digest.hexdigest() != value:
        raise InputError(f"{path}: is not the file that repomd.xml lists: its {algorithm} differs", hint=ANEW)


def _pieces(path: str, size: int = -1) -> Iterator[bytes]:
    """The bytes of a file, at most `size`."""
    try:
        with open(path, "rb", buffering=0) as file:
            while size:
                piece = file.read(_PIECE if size < 0 else min(size, _PIECE))
                if not piece:
                    return
                size -= len(piece) if size > 0 else 0
                yield piece
    except FileNotFoundError as error:
        raise InputError(f"{path} is not there, though it is listed", hint=ANEW) from error
    except OSError as error:
        raise ToolError(f"cannot read {path}: {error.strerror}") from error
