# SPDX-License-Identifier: MIT
"""Bytes that a build holds for a while and that may be too many for memory. Must not know what they are."""

from __future__ import annotations

import os
import tempfile
import threading
from typing import IO, Union

from ..errors import ToolError

Place = Union[bytes, int]  # of a piece: its bytes, or where it begins in the file


class Scratch:
    """Bytes in memory while there is room for them, then in a file. Safe to use from several threads.

    A context manager, after which none can be read. At most `memory` bytes are held in memory; the rest lies in a file
    without a name in `folder` (default: that of temporary files).
    """

    def __init__(self, folder: str | None, memory: int) -> None:
        self._folder = folder
        self._room = memory
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._end = 0  # of the file; what lies before it is used again once all of it was dropped
        self._used = 0

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def reserve(self, piece: bytes) -> Place:
        """Where a piece is to be kept; `write` must follow."""
        with self._lock:
            if len(piece) <= self._room:
                self._room -= len(piece)
                return piece
            place = self._end
            self._end += len(piece)
            self._used += len(piece)
            return place

    def drop(self, place: Place, size: int) -> None:
        """Give up a piece of so many bytes."""
        with self._lock:
            if not isinstance(place, int):
                self._room += size
                return
            self._used -= size
            if self._used == 0:
                self._end = 0
                if self._file is not None:
                    os.ftruncate(self._file.fileno(), 0)

    def write(self, piece: bytes, place: Place) -> None:
        """Keep a piece in its place.

        Raises:
            ToolError: the disk is full.
        """
        if not isinstance(place, int):
            return
        rest = memoryview(piece)
        try:
            descriptor = self._descriptor()
            while rest:
                count = os.pwrite(descriptor, rest, place)
                rest, place = rest[count:], place + count
        except OSError as error:
            raise ToolError(
                f"cannot write to {self._folder or tempfile.tempdir}: {error.strerror}",
                hint="packages and their database lie in a temporary file there when they are large",
            ) from error

    def _descriptor(self) -> int:
        with self._lock:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - see close
            return self._file.fileno()

    def fill(self, view: memoryview, place: Place, begin: int) -> None:
        """Fill the whole of `view` with the bytes of a piece from `begin` on.

        Raises:
            ToolError: they can not be read.
        """
        if not isinstance(place, int):
            view[:] = memoryview(place)[begin : begin + len(view)]
            return
        assert self._file is not None, "read before it was written, or after the end"
        while view:
            try:
                count = os.preadv(self._file.fileno(), [view], place + begin)
            except OSError as error:
                raise ToolError(f"cannot read a temporary file: {error.strerror}") from error
            assert count, "the file ends before what was written to it"
            view, begin = view[count:], begin + count

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
