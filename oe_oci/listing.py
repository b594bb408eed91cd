# SPDX-License-Identifier: MIT
"""What decides a layer's bytes, written down: the members with all their facts, and the digests of their contents.

A layer's *shape* is the digest of all that decides its bytes but the contents of files, its *key* that of all. Nothing
else enters, and nothing can be forgotten, as the members are those that are written. Must not know where layers are
kept.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Union

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .content import Content
    from .layer import Member

# Of the bytes made from members: what tar.py, layer.py and compress.py add of their own. Whoever changes these so that
# other bytes come from the same members raises it; a test of a fixed layer fails else.
FORMAT = 1

COLUMNS = ("path", "kind", "mode", "uid", "gid", "mtime", "size", "target", "major", "minor", "xattrs", "hardlink",
           "content")  # fmt: skip

_CHUNK = 1000  # members turned to text at once: bounds memory, and is as fast as all at once
_PIECE = 1 << 20  # bytes unpacked at once
_BETWEEN = "\x1f"  # no JSON text holds it


Contents = Union[bytes, bytearray]


class Shape(NamedTuple):
    """A layer but for its files' contents: the shape's SHA-256 in hexadecimal, and the members."""

    digest: str
    members: Sequence[Member]

    @property
    def contents(self) -> Iterator[Content]:
        """What the members that are files hold, in their order."""
        return (entry.content for _, entry, hardlink in self.members if entry.content is not None and hardlink is None)


def shape_of(members: Sequence[Member], compressor: dict[str, Any]) -> Shape:
    """The shape of the layer that these members make with a compressor, which is given by its identity."""
    state = hashlib.sha256(_canonical({"compressor": compressor, "format": FORMAT}))
    for lines in _between(_chunks(map(_row, members))):
        state.update(lines)
    return Shape(state.hexdigest(), members)


def key_of(shape: Shape, digests: Contents) -> str:
    """The key of a layer: its shape with the SHA-256 of each of its contents, one after the other."""
    contents = hashlib.sha256(digests).hexdigest()
    return hashlib.sha256(_canonical({"contents": contents, "shape": shape.digest})).hexdigest()


def listing_of(shape: Shape, digests: Contents) -> Iterator[bytes]:
    """A line for each of a layer's members, many at once: a JSON array of the `COLUMNS`.

    `digests` are the SHA-256 of the contents, one after the other; in the lines they are hexadecimal, empty without a
    content. Extended attributes stand there as JSON text of names and hexadecimal values, empty without.
    """
    left = (digests[at : at + 32].hex() for at in range(0, len(digests), 32))
    return _chunks((*_row(member), _content(member, left)) for member in shape.members)


def _content(member: Member, digests: Iterator[str]) -> str:
    return next(digests) if member.entry.content is not None and member.hardlink is None else ""


def pack(listing: Iterable[bytes]) -> bytes:
    """A listing as it is kept."""
    compressor = zlib.compressobj(1)
    return b"".join([*map(compressor.compress, _between(listing)), compressor.flush()])


def unpack(data: bytes) -> Iterator[bytes]:
    """The lines of the listing that `pack` was given, one after the other."""
    unpacker, rest = zlib.decompressobj(), b""
    while data:
        *lines, rest = (rest + unpacker.decompress(data, _PIECE)).split(b"\n")
        data = unpacker.unconsumed_tail
        yield from lines
    yield rest


def _row(member: Member) -> tuple[object, ...]:
    path, entry, hardlink = member
    return (path, *entry[:7], *entry.device, _xattrs(entry.xattrs) if entry.xattrs else "", hardlink or "")


def _chunks(rows: Iterator[tuple[object, ...]]) -> Iterator[bytes]:
    while some := list(islice(rows, _CHUNK)):
        # Of flat rows only: what stands between two of them stands nowhere else.
        text = json.dumps(some, separators=(_BETWEEN, ":"))[1:-1]
        yield text.replace(f"]{_BETWEEN}[", "]\n[").replace(_BETWEEN, ",").encode("ascii")


def _between(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks with line ends between them."""
    for number, chunk in enumerate(chunks):
        yield b"\n" + chunk if number else chunk


def _xattrs(xattrs: Iterable[tuple[str, bytes]]) -> str:
    return json.dumps([[name, value.hex()] for name, value in xattrs], separators=(",", ":"))


def _canonical(value: Any) -> bytes:
    """JSON in its one form: ASCII, keys sorted, no blanks."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")
