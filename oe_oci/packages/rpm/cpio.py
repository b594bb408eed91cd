# SPDX-License-Identifier: MIT
"""A strict reader of cpio archives as rpm's payloads are: portable ASCII headers, and rpm's own that have no facts.

Follows cpio(5) (`newc`, with and without checksums) and rpm's documentation of its package format: a stripped header
gives the number of a file in the package's header, which has all else, so also how many bytes follow. Must not know
that header.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NamedTuple

from ...errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...stream import Stream

_PIECE = 1 << 20
_ALIGNED = 4
_HEAD, _HEADER = 16, 110  # bytes: of a stripped header with its padding, and of a whole one without its name
_MAGIC, _STRIPPED = (b"070701", b"070702"), b"07070X"
_NUMBERS = struct.Struct(">13I")
_NEWC = re.compile(rb"[0-9A-Fa-f]{104}")
_INDEX = re.compile(rb"[0-9A-Fa-f]{8}")
_NAME_LIMIT = 8192  # Linux opens no name of half of it
_TRAILER = b"TRAILER!!!"
_PADDING = 512  # cpio pads an archive to as many bytes


class Item(NamedTuple):
    """A member as its own header has it: its name, mode and size; of a stripped one the number of the file alone."""

    name: bytes = b""
    mode: int = 0
    size: int = 0
    number: int | None = None


class Archive:
    """The members of an uncompressed archive, in order; `where` names it in messages.

    Of each member `data` must be read to its end before the next one is asked for. After the last one the stream is at
    its end.
    """

    def __init__(self, stream: Stream, where: str) -> None:
        self._stream = stream
        self._where = where

    @property
    def position(self) -> int:
        """Where in the archive the data of the current member begins, as far as none of it was read."""
        return self._stream.position

    def __iter__(self) -> Iterator[Item]:
        while True:
            self._read(-self._stream.position % _ALIGNED)
            item = self._next()
            if item is None:
                self._end()
                return
            yield item

    def data(self, size: int) -> Iterator[bytes]:
        """The `size` bytes of the current member, in pieces of at most 1 MiB."""
        while size:
            piece = self._stream.read(min(size, _PIECE))
            if not piece:
                raise self._fault("ends in the middle of a file")
            size -= len(piece)
            yield piece

    def _next(self) -> Item | None:
        head = self._read(_HEAD)
        if head.startswith(_STRIPPED):
            field = head[6:14]
            if not _INDEX.fullmatch(field):
                raise self._fault(f"{field!r} is the number of no file")
            return Item(number=int(field, 16))
        if not head.startswith(_MAGIC):
            raise self._fault(f"{head[:6]!r} is not the beginning of a member")
        fields = head[6:] + self._read(_HEADER - _HEAD)
        if not _NEWC.fullmatch(fields):
            raise self._fault("a member's header has other characters than digits")
        _, mode, _, _, _, _, size, _, _, _, _, length, _ = _NUMBERS.unpack(bytes.fromhex(fields.decode()))
        if not 1 < length <= _NAME_LIMIT:
            raise self._fault(f"a name has {length} bytes")
        name = self._read(length + -(_HEADER + length) % _ALIGNED)[:length]
        if name.find(b"\0") != length - 1:
            raise self._fault("a name ends elsewhere than its header says")
        return None if name[:-1] == _TRAILER else Item(name[:-1], mode, size)

    def _end(self) -> None:
        rest = self._stream.read(_PADDING)
        if any(rest) or self._stream.read(1):
            raise self._fault("holds more after its end mark")

    def _read(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) < size:
            raise self._fault("ends without an end mark, so a part of it is missing")
        return data

    def _fault(self, message: str) -> InputError:
        return InputError(f"{self._where}: damaged cpio archive: {message} (at byte {self._stream.position})")
