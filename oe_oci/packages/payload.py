# SPDX-License-Identifier: MIT
"""Packages read side by side, their uncompressed payloads held until they are written to a layer.

Payloads are held in memory up to a bound; beyond it they lie in one temporary file without a name. Must not know how
packages are chosen or where their files will lie.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from concurrent.futures import wait
from functools import cache
from typing import TYPE_CHECKING, Callable, TypeVar

from ..errors import InputError
from ..threads import give_up, pool
from .contents import Contents, check_identity
from .scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from ..notes import Notes
    from .contents import Keeper
    from .package import Package
    from .scratch import Place

MEMORY = 4 << 20
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h

Wanted = Callable[[], bool]

_Found = TypeVar("_Found")


def read_package(path: str, payload: Keeper, size: int | None, digest: str | None, limit: int | None) -> Contents:
    """Read a package of the format that its name tells, as the readers of the formats do."""
    if path.endswith(".rpm"):
        from .rpm.archive import read_package as read  # noqa: PLC0415 - most packages are known and not read
    else:
        from .archive import read_package as read  # noqa: PLC0415 - the same
    return read(path, path, payload, size=size, digest=digest, limit=limit)


class Payloads:
    """Reads packages and holds their payloads; a context manager, after which none can be read.

    At most `memory` bytes are held in memory; the rest lies in a file in `folder` (default: that of temporary files).
    What is found out of files goes into `notes`.
    """

    def __init__(self, folder: str | None = None, memory: int = MEMORY, notes: Notes | None = None) -> None:
        self._scratch = Scratch(folder, memory)
        self._notes = notes

    def __enter__(self) -> Payloads:
        return self

    def __exit__(self, *_: object) -> None:
        self._scratch.close()

    def read(self, packages: Sequence[Package], jobs: int, limit: int | None = None) -> list[Contents]:
        """Read packages in `jobs` threads; what they hold, in the order asked for.

        `limit` bounds the bytes of each payload (default: what its package's size makes plausible). The error raised
        is that of the first package in order that has one, whichever was found first.

        Raises:
            InputError: a package is not what the index says, or is damaged or hostile.
            ToolError: one can not be read, or the disk is full.
        """
        payloads = [Payload(self._scratch, package, limit, self._notes) for package in packages]
        return _side_by_side(payloads, jobs, Payload.read)

    def unread(self, package: Package, digest: str, limit: int | None = None) -> Payload:
        """The payload of a package whose SHA-256 is `digest`, to be read when it is asked for."""
        return Payload(self._scratch, package, limit, self._notes, digest)

    def hold(self, packages: Sequence[Contents], jobs: int) -> None:
        """Read the payloads that are not held, in `jobs` threads; errors are as of `read`.

        Raises:
            InputError: a package changed after it was read first.
            ToolError: one can not be read, or the disk is full.
        """
        payloads = [one.payload for one in packages if isinstance(one.payload, Payload) and not one.payload.held]
        _side_by_side(payloads, jobs, Payload.hold)


@cache
def _trim() -> Callable[[int], object]:
    """What gives memory back to the system that is free (malloc_trim(3)); does nothing where the C library can not.

    From now on large blocks are given back as they are freed (mallopt(3)): glibc does so no longer once it was asked to
    free one of a few MiB. What a decompressor takes is as large, and would stay, in pieces, in each thread.
    """
    try:
        import ctypes  # noqa: PLC0415 - most packages are known and not read

        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, 1 << 20)
        trim: Callable[[int], object] = library.malloc_trim
    except (ImportError, OSError, AttributeError):
        return lambda _: None
    return trim


def _side_by_side(payloads: Sequence[Payload], jobs: int, work: Callable[[Payload, Wanted], _Found]) -> list[_Found]:
    """What `work` gives for each payload, in the same order; after an error nothing is held of any."""
    wanted = len(payloads)  # after an error only those before that one, as theirs would come first

    def do(number: int) -> list[_Found]:
        nonlocal wanted
        try:
            return [work(payloads[number], lambda: number < wanted)] if number < wanted else []
        except _Unwanted:
            return []
        except BaseException:
            wanted = min(wanted, number)
            raise

    if not payloads:
        return []
    trim = _trim()
    # The biggest first, so that no thread is left alone with one at the end.
    numbers = sorted(range(len(payloads)), key=lambda number: -_file_size(payloads[number].package))
    futures: dict[int, Future[list[_Found]]] = {}
    try:
        for number in numbers:
            futures[number] = pool(max(1, jobs)).submit(do, number)
        wait(futures.values())
        trim(0)
        return [found for number in range(len(payloads)) for found in futures[number].result()]
    except BaseException:
        wanted = 0
        give_up(futures.values())
        for payload in payloads:
            payload.release()
        raise


def _file_size(package: Package) -> int:
    if package.size is not None:
        return package.size
    try:
        return os.stat(package.path).st_size
    except OSError:
        return 0  # told when it is read


class _Unwanted(BaseException):
    """Nobody waits any more for the package that is being read."""


class Payload:
    """The uncompressed payload of one package; its bytes may be asked for by several threads.

    What was released, or not read yet of a package whose SHA-256 is `digest`, is read when it is asked for.
    """

    def __init__(
        self, scratch: Scratch, package: Package, limit: int | None, notes: Notes | None, digest: str | None = None
    ) -> None:
        self.package = package
        self.notes = notes
        self._scratch = scratch
        self._limit = limit
        self._lock = threading.RLock()
        self._wanted: Wanted = lambda: True
        self._digest = digest
        self._held = False
        self._starts: list[int] = []  # where in the payload each piece begins
        self._places: list[Place] = []
        self._size = 0

    def read(self, wanted: Wanted) -> Contents:
        """Read the package, by what its index says of it; ends early where it is no longer wanted.

        Raises:
            InputError: the package is not what the index says, or is damaged or hostile.
            ToolError: it can not be read, or its payload not be kept.
        """
        self._wanted = wanted
        contents = self._read(self.package.size, self.package.digest or self.package.checksum)
        self._wanted = lambda: True
        check_identity(contents, self.package)
        return contents

    def _read(self, size: int | None, digest: str | None) -> Contents:
        path = self.package.path
        with self._lock:
            try:
                contents = read_package(path, self, size, digest, self._limit)
            except BaseException:
                self.release()
                raise
            self._digest, self._held = contents.digest, True
            return contents

    @property
    def held(self) -> bool:
        return self._held

    def hold(self, wanted: Wanted) -> None:
        """Read the payload unless it is held; ends early where it is no longer wanted.

        Raises:
            InputError: the package has changed.
            ToolError: it can not be read, or its payload not be kept.
        """
        with self._lock:
            if not self._held:
                self._wanted = wanted
                try:
                    self._read_again()
                finally:
                    self._wanted = lambda: True

    def write(self, piece: bytes) -> None:
        """Keep the next bytes.

        Raises:
            ToolError: the disk is full.
        """
        if not self._wanted():
            raise _Unwanted
        place = self._scratch.reserve(piece)
        self._starts.append(self._size)
        self._places.append(place)
        self._size += len(piece)
        self._scratch.write(piece, place)

    def readinto(self, view: memoryview, offset: int) -> None:
        """Fill the whole of `view` with the bytes from `offset` on.

        Raises:
            InputError: the package had to be read again, and has changed.
            ToolError: it can not be read, or its payload not be kept.
        """
        with self._lock:
            if not self._held:
                self._read_again()
            number, filled = bisect_right(self._starts, offset) - 1, 0
            while filled < len(view):
                begin = offset + filled - self._starts[number]
                part = view[filled : filled + self._length(number) - begin]
                self._scratch.fill(part, self._places[number], begin)
                filled += len(part)
                number += 1

    def _read_again(self) -> None:
        try:
            self._read(None, self._digest)
        except InputError as error:
            raise InputError(
                f"{self.package.path}: changed after it was read",
                hint="nothing may write to the feeds during a build; start again when that has ended",
            ) from error

    def _length(self, number: int) -> int:
        return (*self._starts[number + 1 : number + 2], self._size)[0] - self._starts[number]

    def release(self) -> None:
        """Give up the bytes, in memory or in the file."""
        with self._lock:
            for number, place in enumerate(self._places):
                self._scratch.drop(place, self._length(number))
            self._starts, self._places, self._size, self._held = [], [], 0, False
