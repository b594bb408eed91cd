# SPDX-License-Identifier: MIT
"""Sequential reading with the position counted: from pieces that arrive, or from a file that can be sought.

Must not know what the bytes are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Stream(Protocol):
    """`read` and `skip` fall short of what is asked for only at the end."""

    position: int

    def read(self, size: int) -> bytes: ...

    def some(self, size: int) -> bytes:
        """At most so many bytes, as many as are at hand; none only at the end."""

    def skip(self, size: int) -> int:
        """Pass over bytes; returns how many."""


class PieceStream:
    """A stream over an iterator of pieces of any size."""

    def __init__(self, data: Iterator[Any]) -> None:
        self._data = data
        self._piece = b""
        self._at = 0  # in the piece
        self.position = 0

    def read(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._piece):
            return b"".join(self._parts(size))
        part = self._piece[self._at : end]
        self._at = end
        self.position += size
        return part

    def some(self, size: int) -> bytes:
        if self._at == len(self._piece) and not self._fill():
            return b""
        part = self._piece[self._at : self._at + size]
        self._at += len(part)
        self.position += len(part)
        return part

    def skip(self, size: int) -> int:
        left = size
        while left > len(self._piece) - self._at:
            left -= len(self._piece) - self._at
            if not self._fill():
                size -= left
                left = 0
        self._at += left
        self.position += size
        return size

    def rest(self) -> Iterator[bytes]:
        """All that follows, in pieces as they arrive."""
        while self._at < len(self._piece) or self._fill():
            yield self.some(len(self._piece))

    def _parts(self, size: int) -> Iterator[bytes]:
        while size:
            part = self.some(size)
            if not part:
                return
            size -= len(part)
            yield part

    def _fill(self) -> bool:
        """Go on to the next piece that holds anything; whether there is one."""
        self._piece, self._at = b"", 0
        for piece in self._data:
            if piece:
                self._piece = bytes(piece)
                return True
        return False


class FileStream:
    """A stream over `size` bytes of a file from `offset` on; what is skipped is not read."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        self._file = file
        self._size = size
        self.position = 0
        file.seek(offset)

    def read(self, size: int) -> bytes:
        data = self._file.read(min(size, self._size - self.position))
        self.position += len(data)
        return data

    some = read

    def skip(self, size: int) -> int:
        size = min(size, self._size - self.position)
        self._file.seek(size, 1)
        self.position += size
        return size
