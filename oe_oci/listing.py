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
_BETWEEN = "\x1f"  # no JSON text holds it


Contents = Union[bytes, bytearray]


class Shape(NamedTuple):
    """A layer but for its files' contents.

    `digest` is the shape's SHA-256 in hexadecimal. `lines` has a line for each of the members: a JSON array of the
    `COLUMNS` but the last. Extended attributes stand there as JSON text of names and hexadecimal values, empty without.
    """

    digest: str
    members: Sequence[Member]
    lines: bytes

    @property
    def contents(self) -> Iterator[Content]:
        """What the members that are files hold, in their order."""
        return (entry.content for _, entry, hardlink in self.members if entry.content is not None and hardlink is None)


def shape_of(members: Sequence[Member], compressor: dict[str, Any]) -> Shape:
    """The shape of the layer that these members make with a compressor, which is given by its identity."""
    lines = b"\n".join(_chunks(iter(members)))
    state = hashlib.sha256(_canonical({"compressor": compressor, "format": FORMAT}))
    state.update(lines)
    return Shape(state.hexdigest(), members, lines)


def key_of(shape: Shape, digests: Contents) -> str:
    """The key of a layer: its shape with the SHA-256 of each of its contents, one after the other."""
    contents = hashlib.sha256(digests).hexdigest()
    return hashlib.sha256(_canonical({"contents": contents, "shape": shape.digest})).hexdigest()


def listing_of(shape: Shape, digests: Contents) -> bytes:
    """The lines of a shape with the digest of each member's content, empty without, as their last column."""
    left = (digests[at : at + 32].hex() for at in range(0, len(digests), 32))
    lines = zip(shape.lines.split(b"\n"), shape.members)
    return b"\n".join(b'%b,"%b"]' % (line[:-1], _content(member, left).encode("ascii")) for line, member in lines)


def _content(member: Member, digests: Iterator[str]) -> str:
    return next(digests) if member.entry.content is not None and member.hardlink is None else ""


def pack(listing: bytes) -> bytes:
    """A listing as it is kept."""
    return zlib.compress(listing, 1)


def unpack(data: bytes) -> bytes:
    """The listing that `pack` was given."""
    return zlib.decompress(data)


def _chunks(members: Iterator[Member]) -> Iterator[bytes]:
    while True:
        rows = [
            (path, *entry[:7], *entry.device, _xattrs(entry.xattrs) if entry.xattrs else "", hardlink or "")
            for path, entry, hardlink in islice(members, _CHUNK)
        ]
        if not rows:
            return
        # Of flat rows only: what stands between two of them stands nowhere else.
        text = json.dumps(rows, separators=(_BETWEEN, ":"))[1:-1]
        yield text.replace(f"]{_BETWEEN}[", "]\n[").replace(_BETWEEN, ",").encode("ascii")


def _xattrs(xattrs: Iterable[tuple[str, bytes]]) -> str:
    return json.dumps([[name, value.hex()] for name, value in xattrs], separators=(",", ":"))


def _canonical(value: Any) -> bytes:
    """JSON in its one form: ASCII, keys sorted, no blanks."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")
