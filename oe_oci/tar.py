# SPDX-License-Identifier: MIT
"""Tar headers: the only place where they are made.

ustar, with pax records only for what ustar can not say: long names, large ids and sizes, extended attributes. No
user or group names, whole seconds, a fixed order of records: equal entries give equal bytes. Follows POSIX pax and
the OCI image specification's layer.md.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from .content import filled
from .tree import BLOCK, CHAR, DIRECTORY, FIFO, FILE, SYMLINK, Entry, encode

if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCK_SIZE = 512
END = bytes(2 * BLOCK_SIZE)

_FLAGS = {FILE: b"0", SYMLINK: b"2", CHAR: b"3", BLOCK: b"4", DIRECTORY: b"5", FIFO: b"6"}
_MAX_ID = 0o7777777
_MAX_NUMBER = 0o77777777777
_NAME, _PREFIX = 100, 155


class Sink(Protocol):
    """What members are written to: bytes, or room for bytes to be read into."""

    def write(self, data: bytes) -> None: ...

    def views(self, size: int) -> Iterable[memoryview]: ...


class Hash(Protocol):
    """A hash of the standard library."""

    def update(self, data: memoryview, /) -> None: ...


def write_member(
    sink: Sink, path: str, entry: Entry, hardlink: str | None = None, *, state: Hash | None = None
) -> None:
    """Write one member, header and data; the arguments are those of `header`. The data go into `state` too."""
    sink.write(header(path, entry, hardlink))
    if entry.size and hardlink is None:
        assert entry.content is not None
        for view in filled(entry.content, sink.views(entry.size)):
            if state is not None:
                state.update(view)
        if entry.size % BLOCK_SIZE:
            sink.write(bytes(padding(entry.size)))


def member_size(path: str, entry: Entry, hardlink: str | None = None) -> int:
    """The bytes `write_member` writes."""
    data = entry.size if hardlink is None else 0
    # Most members need no records, which can be told without making the header.
    names = path + entry.target + (hardlink or "")
    plain = len(names) <= _NAME - 2 and names.isascii() and not entry.xattrs
    plain = plain and entry.uid <= _MAX_ID and entry.gid <= _MAX_ID and data <= _MAX_NUMBER
    return (BLOCK_SIZE if plain else len(header(path, entry, hardlink))) + data + padding(data)


def padding(size: int) -> int:
    """Zero bytes that follow a file's `size` bytes."""
    return -size % BLOCK_SIZE


def header(path: str, entry: Entry, hardlink: str | None = None) -> bytes:
    """The header block or blocks of one member.

    `path` is relative to the root, whose own entry is written as `./`. With `hardlink`, the path of an earlier member,
    the member is another name of that one and has no data.
    """
    name = encode(path) or b"."
    if entry.kind == DIRECTORY:
        name += b"/"
    link = encode(entry.target if hardlink is None else hardlink)
    size = entry.size if hardlink is None else 0
    records = b""
    prefix, short = (b"", name) if len(name) <= _NAME else _split(name)
    if short is None:
        records += _record(b"path", name)
        prefix, short = b"", name[:_NAME]
    if len(link) > _NAME:
        records += _record(b"linkpath", link)
    if size > _MAX_NUMBER:
        records += _record(b"size", b"%d" % size)
    if entry.uid > _MAX_ID:
        records += _record(b"uid", b"%d" % entry.uid)
    if entry.gid > _MAX_ID:
        records += _record(b"gid", b"%d" % entry.gid)
    if entry.xattrs and hardlink is None:
        for attribute, data in entry.xattrs:
            records += _record(b"SCHILY.xattr." + encode(attribute), data)
    flag = b"1" if hardlink is not None else _FLAGS[entry.kind]
    block = _block(short, prefix, link[:_NAME], flag, entry, size)
    return _extension(records) + block if records else block


def _split(name: bytes) -> tuple[bytes, bytes | None]:
    """Ustar's prefix and name of a name that is too long for one; None for the name where it does not fit."""
    # The slash between the two is implied; the name must not be empty.
    cut = name.rfind(b"/", 0, min(_PREFIX + 1, len(name) - 1))
    if cut <= 0 or len(name) - cut - 1 > _NAME:
        return b"", None
    return name[:cut], name[cut + 1 :]


def _block(name: bytes, prefix: bytes, link: bytes, flag: bytes, entry: Entry, size: int) -> bytes:
    head = b"%b%b%011o\0%011o\0" % (
        name.ljust(_NAME, b"\0"),
        _owner(entry.mode, entry.uid, entry.gid),
        min(size, _MAX_NUMBER),
        max(0, min(entry.mtime, _MAX_NUMBER)),
    )
    tail, tail_sum = _tail(flag, link, entry.device, prefix)
    assert len(head) + 8 + len(tail) == BLOCK_SIZE, "a number that does not fit its field"
    return b"%b%06o\0 %b" % (head, _sum(head) + 8 * 0x20 + tail_sum, tail)


# Few of these differ from one member to the next.
@lru_cache(maxsize=64)
def _owner(mode: int, uid: int, gid: int) -> bytes:
    return b"%07o\0%07o\0%07o\0" % (mode, min(uid, _MAX_ID), min(gid, _MAX_ID))


@lru_cache(maxsize=64)
def _tail(flag: bytes, link: bytes, device: tuple[int, int], prefix: bytes) -> tuple[bytes, int]:
    """What follows a block's checksum, and its sum."""
    tail = b"%b%bustar\x0000%b%07o\0%07o\0%b" % (
        flag,
        link.ljust(_NAME, b"\0"),
        bytes(64),  # user and group name
        *device,
        prefix.ljust(_PREFIX + 12, b"\0"),
    )
    return tail, _sum(tail[:150]) + _sum(tail[150:])


def _sum(data: bytes) -> int:
    """The sum of at most 256 bytes: Adler-32's first half less its start, many times faster than a loop."""
    return (zlib.adler32(data) & 0xFFFF) - 1


def _record(key: bytes, value: bytes) -> bytes:
    """One pax record: its own length in decimal, itself included, then `key=value` and a line end."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _extension(records: bytes) -> bytes:
    # The extended header's own facts reach no file; equal for all.
    block = _block(b"././@PaxHeader", b"", b"", b"x", Entry(FILE, 0o644), len(records))
    return block + records + bytes(padding(len(records)))
