# SPDX-License-Identifier: MIT
"""One pass over the bytes: raw ones in, their digest, compressed ones out to a file, their digest and size.

Must not know what the bytes are.
"""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from .compress import BLOCK, Method

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class BlobFacts(NamedTuple):
    """What one pass found out: SHA-256 of the raw bytes and of those written, in hexadecimal, and both sizes."""

    raw_digest: str
    raw_size: int
    digest: str
    size: int


class BlobWriter:
    """Collects raw bytes in blocks of 1 MiB, which a thread hashes, compresses and writes; a context manager.

    Blocks are cut by position alone, so the bytes written do not depend on the sizes of what is given. `size` is the
    number of raw bytes that will come, where the method is sized. The file is the caller's to open, close and remove.
    What fails in the thread is raised by the call that follows, at the latest by the result of `end`.
    """

    def __init__(self, file: BinaryIO, method: Method, jobs: int, size: int) -> None:
        self._file = file
        self._raw = hashlib.sha256()
        self._raw_size = 0
        self._out = self._raw if method.algorithm == "none" else hashlib.sha256()
        self._out_size = 0
        self._ahead = method.ahead
        self._encoder = method.start(self._emit, jobs, size)
        self._buffer = bytearray(BLOCK)
        self._view = memoryview(self._buffer)
        self._filled = 0
        self._thread = ThreadPoolExecutor(1, "blob")
        self._running: deque[Future[bytearray]] = deque()

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._encoder.close()
        # It calls this, and may have tens of MiB: else they stay until somebody looks for circles of references.
        del self._encoder

    def _emit(self, data: Any) -> None:
        if self._out is not self._raw:
            self._out.update(data)
        self._out_size += len(data)
        self._file.write(data)

    def write(self, data: bytes) -> None:
        """Add a few bytes."""
        end = self._filled + len(data)
        if end < BLOCK:
            self._view[self._filled : end] = data
            self._filled = end
            return
        position = 0
        for view in self.views(len(data)):
            view[:] = data[position : position + len(view)]
            position += len(view)

    def views(self, size: int) -> Iterable[memoryview]:
        """Room for `size` bytes, as views to be filled in turn; a view is gone when anything else is asked for."""
        end = self._filled + size
        if end < BLOCK:
            view = self._view[self._filled : end]
            self._filled = end
            return (view,)
        return self._views(size)

    def _views(self, size: int) -> Iterator[memoryview]:
        while size:
            view = self._view[self._filled : self._filled + min(size, BLOCK - self._filled)]
            yield view
            self._filled += len(view)
            size -= len(view)
            if self._filled == BLOCK:
                self._flush()

    def _flush(self) -> None:
        self._running.append(self._thread.submit(self._take, self._buffer, self._filled))
        self._buffer = self._running.popleft().result() if len(self._running) > self._ahead else bytearray(BLOCK)
        self._view = memoryview(self._buffer)
        self._filled = 0

    def _take(self, buffer: bytearray, length: int) -> bytearray:
        self._raw.update(memoryview(buffer)[:length])
        self._raw_size += length
        return self._encoder.feed(buffer, length)

    def end(self) -> Future[BlobFacts]:
        """Have the thread write what is left, and tell what went through. Nothing may be added after it."""
        if self._filled:
            self._flush()
        return self._thread.submit(self._end)

    def finish(self) -> BlobFacts:
        """As `end`, and wait for it."""
        return self.end().result()

    def _end(self) -> BlobFacts:
        for block in self._running:
            block.result()
        self._encoder.finish()
        self._file.flush()
        return BlobFacts(self._raw.hexdigest(), self._raw_size, self._out.hexdigest(), self._out_size)
