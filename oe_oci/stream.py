# SPDX-License-Identifier: MIT
"""Sequential reading with the position counted: from pieces that arrive, or from a file that can be sought.

Must not know what the bytes are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Stream(Protocol):
    """`read` and `skip` fall short of what is asked for only at the end."""

    position: int

    def read(self, size: int) -> bytes: ...

    def skip(self, size: int) -> int:
        """Pass over bytes; returns how many."""


class PieceStream:
    """A stream over an iterator of pieces of any size."""

    def __init__(self, data: Iterator[bytes]) -> None:
        self._data = data
        self._piece = memoryview(b"")
        self.position = 0

    def read(self, size: int) -> bytes:
        if size <= len(self._piece):
            part = bytes(self._piece[:size])
            self._piece = self._piece[size:]
            self.position += size
            return part
        return b"".join(self._parts(size))

    def skip(self, size: int) -> int:
        return sum(len(part) for part in self._parts(size))

    def rest(self) -> Iterator[memoryview]:
        """All that follows, in pieces as they arrive."""
        while True:
            if not self._piece:
                piece = next(self._data, None)
                if piece is None:
                    return
                self._piece = memoryview(piece)
            yield from self._parts(len(self._piece))

    def _parts(self, size: int) -> Iterator[memoryview]:
        while size:
            if not self._piece:
                piece = next(self._data, None)
                if piece is None:
                    return
                self._piece = memoryview(piece)
            part = self._piece[:size]
            self._piece = self._piece[len(part) :]
            size -= len(part)
            self.position += len(part)
            yield part


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

    def skip(self, size: int) -> int:
        size = min(size, self._size - self.position)
        self._file.seek(size, 1)
        self.position += size
        return size
