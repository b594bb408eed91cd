# SPDX-License-Identifier: MIT
"""Compressing on all cores, with bytes that depend on the input and the compressor alone.

gzip: blocks of 1 MiB, each by a new compressor that knows the 32 KiB before it, joined to one ordinary member. zstd:
one frame by libzstd's own workers, whose number does not matter as long as there is one (measured). What determines
the bytes, the compressor's name and version among it, is the method's `identity`. Must not know tar or OCI.
"""

from __future__ import annotations

import contextlib
import os
import threading
import zlib
from collections import deque
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Protocol

from .errors import ConfigError, Fault, ToolError
from .run import Filter, run
from .threads import give_up, pool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from .config import Compression

BLOCK = 1 << 20
_WINDOW = 32 << 10
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # no name, no time, system "unknown": the same on every host
_LAST_BLOCK = b"\x03\x00"  # an empty final deflate block

Sink = Callable[[Any], object]


class Encoder(Protocol):
    """Takes the raw bytes a buffer at a time and gives compressed ones to its sink, in order."""

    def feed(self, buffer: bytearray, length: int) -> bytearray:
        """Take the first `length` bytes of a buffer, which is the encoder's from now on; returns one to fill next."""

    def finish(self) -> None:
        """Write what is left. Nothing may be fed after it."""

    def close(self) -> None:
        """Free threads and processes, whatever state the work is in."""


class Method(NamedTuple):
    """A way to compress.

    `algorithm` is `gzip`, `zstd` or `none`; `identity` is all that determines the bytes besides the input; `start`
    makes an encoder for a sink, a number of threads and, where it is `sized`, the number of raw bytes that will come.
    `ahead` is how many blocks may wait for the encoder, as many as are worth their memory.
    """

    algorithm: str
    identity: dict[str, Any]
    start: Callable[[Sink, int, int], Encoder]
    sized: bool = False
    ahead: int = 3


def choose(compression: Compression, variable: str = "OCI_LAYER_COMPRESSOR") -> Method:
    """The method a configuration asks for by `variable`; `auto` takes the best library there is.

    Raises:
        ConfigError: the compressor asked for by name is not installed, or nothing that can write zstd is.
    """
    if compression.algorithm == "none":
        return Method("none", {"name": "none"}, lambda sink, _jobs, _size: _Stored(sink))
    names = ("zlib-ng", "zlib") if compression.algorithm == "gzip" else ("pyzstd", "zstd")
    for name in names if compression.compressor == "auto" else (compression.compressor,):
        method = _METHODS[name](compression.level)
        if method is not None:
            return method
    if compression.compressor == "auto":
        fault = Fault(variable, "a compressor for zstd is not installed", "install pyzstd or zstd, or use gzip")
    else:
        asked = f"compressor '{compression.compressor}' is not installed"
        fault = Fault(variable, asked, f"install {compression.compressor}, or write 'auto'")
    raise ConfigError([fault])


def default_jobs() -> int:
    """Threads to use: the processors this process may run on."""
    return len(os.sched_getaffinity(0))


def _zlib_ng(level: int | None) -> Method | None:
    try:
        from zlib_ng import zlib_ng  # noqa: PLC0415 - not needed where another is pinned
    except ImportError:
        return None
    return _gzip("zlib-ng", str(zlib_ng.ZLIBNG_RUNTIME_VERSION), level or 5, zlib_ng)


def _zlib(level: int | None) -> Method:
    # Which makes about the same size as zlib-ng's own level.
    return _gzip("zlib", str(zlib.ZLIB_RUNTIME_VERSION), level or 4, zlib)


def _gzip(name: str, version: str, level: int, library: Any) -> Method:
    identity = {"name": name, "version": version, "level": level, "block": BLOCK}
    return Method("gzip", identity, lambda sink, jobs, _size: _Gzip(sink, jobs, level, library))


# Without a level: level 2 with a larger window and a larger table, which makes about the size of level 3 in three
# quarters of the time, in jobs that take less memory. The names are libzstd's, and those of the program zstd.
_TUNED_LEVEL = 2
_TUNED = {"windowLog": 22, "hashLog": 17, "minMatch": 6, "overlapLog": 7}
_JOB = 4 << 20


def _pyzstd(level: int | None) -> Method | None:
    try:
        import pyzstd  # noqa: PLC0415 - not needed where another is pinned
    except ImportError:
        return None
    options = {"compressionLevel": level or _TUNED_LEVEL, **({} if level else {**_TUNED, "jobSize": _JOB})}
    identity = _identity("pyzstd", pyzstd.zstd_version, level)
    compressors = _Compressors(options, pyzstd)
    return _zstd(identity, lambda sink, jobs, size: _Zstd(sink, jobs, size, compressors))


def _zstd_program(level: int | None) -> Method | None:
    try:
        said = run(["zstd", "-q", "-V"]).output.split()
    except ToolError:
        return None
    tuned = ",".join(f"{name}={value}" for name, value in _TUNED.items())
    options = [f"-{level}"] if level else [f"-{_TUNED_LEVEL}", f"--zstd={tuned}", f"-B{_JOB}"]
    identity = _identity("zstd", said[-1] if said else "", level)
    return _zstd(identity, lambda sink, jobs, size: _ZstdProgram(sink, jobs, size, options))


def _zstd(identity: dict[str, Any], start: Callable[[Sink, int, int], Encoder]) -> Method:
    # Its workers begin with a whole job: a few of them keep all processors at work while a next layer is planned.
    return Method("zstd", identity, start, sized=True, ahead=16)


def _identity(name: str, version: str, level: int | None) -> dict[str, Any]:
    tuned = {} if level else {**_TUNED, "job": _JOB}
    return {"name": name, "version": version, "level": level or _TUNED_LEVEL, **tuned}


_METHODS: dict[str, Callable[[int | None], Method | None]] = {
    "zlib-ng": _zlib_ng,
    "zlib": _zlib,
    "pyzstd": _pyzstd,
    "zstd": _zstd_program,
}


class _Stored:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def feed(self, buffer: bytearray, length: int) -> bytearray:
        self._sink(memoryview(buffer)[:length])
        return buffer

    def finish(self) -> None: ...

    def close(self) -> None: ...


class _Gzip:
    """One gzip member of blocks compressed side by side (RFC 1952; the joints are deflate sync flushes)."""

    def __init__(self, sink: Sink, jobs: int, level: int, library: Any) -> None:
        self._sink = sink
        self._level = level
        self._library = library
        self._pool = pool(max(1, jobs))
        self._ahead = 2 * jobs
        self._running: deque[tuple[Future[bytes], bytearray]] = deque()
        self._before = b""
        self._crc = 0
        self._size = 0
        sink(_GZIP_HEADER)

    def feed(self, buffer: bytearray, length: int) -> bytearray:
        block = memoryview(buffer)[:length]
        self._crc = self._library.crc32(block, self._crc)
        self._size += length
        self._running.append((self._pool.submit(self._compress, block, self._before), buffer))
        self._before = bytes(block[-_WINDOW:])
        return self._oldest() if len(self._running) > self._ahead else bytearray(BLOCK)

    def _compress(self, block: memoryview, before: bytes) -> bytes:
        library = self._library
        # A compressor for one block only: a reused one would make the bytes depend on what it did before.
        options = {"zdict": before} if before else {}
        inner = library.compressobj(self._level, library.DEFLATED, -15, 8, library.Z_DEFAULT_STRATEGY, **options)
        return bytes(inner.compress(block) + inner.flush(library.Z_SYNC_FLUSH))

    def _oldest(self) -> bytearray:
        future, buffer = self._running.popleft()
        self._sink(future.result())
        return buffer

    def finish(self) -> None:
        while self._running:
            self._oldest()
        self._sink(_LAST_BLOCK + self._crc.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little"))

    def close(self) -> None:
        give_up(future for future, _ in self._running)


class _Compressors:
    """Compressors of pyzstd; one that made a whole frame makes the next.

    It has threads, and tens of MiB: what a new one asks for is not what an old one gave back, as malloc has it.
    """

    def __init__(self, options: dict[str, int], library: Any) -> None:
        self._options = {**options, "checksumFlag": 1}
        self._library = library
        self._idle: dict[int, list[Any]] = {}  # by their number of threads

    def take(self, jobs: int) -> Any:
        idle = self._idle.get(jobs)
        if idle:
            return idle.pop()
        options, names = {**self._options, "nbWorkers": max(1, jobs)}, self._library.CParameter
        return self._library.ZstdCompressor({getattr(names, name): value for name, value in options.items()})

    def give_back(self, compressor: Any, jobs: int) -> None:
        self._idle.setdefault(jobs, []).append(compressor)


class _Zstd:
    """One zstd frame with its content's size and checksum (RFC 8878)."""

    def __init__(self, sink: Sink, jobs: int, size: int, compressors: _Compressors) -> None:
        self._sink = sink
        self._jobs = jobs
        self._compressors = compressors
        self._inner = compressors.take(jobs)
        self._inner._set_pledged_input_size(size)  # noqa: SLF001 - the only name pyzstd has for it

    def feed(self, buffer: bytearray, length: int) -> bytearray:
        self._sink(self._inner.compress(memoryview(buffer)[:length]))
        return buffer

    def finish(self) -> None:
        self._sink(self._inner.flush())
        self._compressors.give_back(self._inner, self._jobs)

    def close(self) -> None: ...


class _ZstdProgram:
    def __init__(self, sink: Sink, jobs: int, size: int, options: Sequence[str]) -> None:
        self._program = Filter(["zstd", *options, f"-T{max(1, jobs)}", f"--stream-size={size}", "-q", "-c"])
        self._sink = sink
        self._failure: BaseException | None = None
        self._drain = threading.Thread(target=self._copy, daemon=True)
        self._drain.start()

    def _copy(self) -> None:
        try:
            while True:
                piece = self._program.output.read(BLOCK)
                if not piece:
                    return
                self._sink(piece)
        except BaseException as error:  # noqa: BLE001 - raised again by finish
            self._failure = error
            self._program.output.close()

    def feed(self, buffer: bytearray, length: int) -> bytearray:
        try:
            self._program.input.write(memoryview(buffer)[:length])
        except BrokenPipeError:
            self.finish()
        return buffer

    def finish(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._program.input.close()
        self._drain.join()
        done = self._program.finish()
        if self._failure is not None:
            raise self._failure
        if done.status:
            raise ToolError(f"zstd failed: {done.errors}")

    def close(self) -> None:
        self._program.__exit__()
        self._drain.join()
