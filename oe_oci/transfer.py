# SPDX-License-Identifier: MIT
"""Bytes brought from one file to another by the cheapest way there is, checked on the way where they have to be.

Must not know caches or layouts.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from typing import TYPE_CHECKING, BinaryIO

from . import kept
from .content import stamp_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .content import Region
    from .oci.spec import Descriptor

_FICLONE = 0x40049409  # linux/fs.h
_PIECE = 1 << 20
_MODE = 0o644


def clone(source: Region, target: BinaryIO) -> bool:
    """Let an empty file share the bytes of `source`, whose digest is known by its file's stamp; whether it does.

    A link would change that stamp, and the file be read again in the next build.
    """
    try:
        descriptor = kept.opened(os.fsdecode(source.path))
    except OSError:
        return False
    try:
        facts = os.fstat(descriptor)
        whole = source.offset == 0 and facts.st_size == source.size and stamp_of(facts) == source.stamp
        return whole and _cloned(descriptor, target.fileno())
    finally:
        os.close(descriptor)


def _cloned(source: int, target: int) -> bool:
    """Whether the file system let one file share all bytes of another."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(target, _FICLONE, source)
        return True
    return False


class BlobError(Exception):
    """Why the blob at the source can not be used; `damaged` where its bytes are not those of its digest."""

    def __init__(self, reason: str, *, damaged: bool = False) -> None:
        super().__init__(reason)
        self.damaged = damaged


def bring(source: int, path: str, blob: Descriptor, target: str, *, trusted: bool) -> None:
    """Put what the descriptor `source` of the file `path` reads at `target`: as a clone, a hard link or a copy.

    What is there is replaced once all is done, and stays otherwise. With `trusted` the bytes are checked only where
    they are copied; else they always are, and `target` gets the mode of a layout's blobs.

    Raises:
        BlobError: the bytes are not the blob, or can not be read.
        OSError: `target` can not be written.
    """
    if os.fstat(source).st_size != blob.size:
        raise BlobError("its blob is damaged", damaged=True)
    for way in (_clone, _link, _copy):
        if way(source, path, blob, target, trusted):
            return


def _clone(source: int, _path: str, blob: Descriptor, target: str, trusted: bool) -> bool:
    with kept.unfinished(os.path.dirname(target)) as (descriptor, name):
        if not _cloned(source, descriptor):
            return False
        if not trusted:
            check(descriptor, blob)
        _finish(descriptor, name, target, trusted)
    return True


def _link(source: int, path: str, blob: Descriptor, target: str, trusted: bool) -> bool:
    facts = os.fstat(source)
    # An output has that mode, and is nobody else's.
    if not trusted and (facts.st_mode & 0o7777 != _MODE or facts.st_uid != os.geteuid()):
        return False
    name = os.path.join(os.path.dirname(target), f"{kept.UNFINISHED}{os.urandom(8).hex()}")
    try:
        os.link(path, name, follow_symlinks=False)
    except OSError:
        return False  # of another file system, of another user, or one link too many
    try:
        if not os.path.samestat(os.lstat(name), facts):
            return False
        if not trusted:
            check(source, blob)
        os.replace(name, target)
    finally:
        # Still there, too, where both names were links of one file already.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
    return True


def _copy(source: int, _path: str, blob: Descriptor, target: str, trusted: bool) -> bool:
    with kept.unfinished(os.path.dirname(target)) as (descriptor, name):
        check(source, blob, copy=descriptor)
        _finish(descriptor, name, target, trusted)
    return True


def _finish(descriptor: int, name: str, target: str, trusted: bool) -> None:
    if not trusted:
        os.fchmod(descriptor, _MODE)
    os.replace(name, target)


def check(descriptor: int, blob: Descriptor, *, copy: int = -1) -> None:
    """Read a file from its start and compare it with what the blob should be; write it to `copy` where one is given.

    Raises:
        BlobError: the bytes are not the blob, or can not be read.
        OSError: `copy` can not be written.
    """
    state, size = hashlib.new(blob.digest.algorithm), 0
    for piece in _pieces(descriptor, min(_PIECE, blob.size + 1)):
        state.update(piece)
        size += len(piece)
        if size > blob.size:
            break
        while copy >= 0 and piece:
            piece = piece[os.write(copy, piece) :]  # noqa: PLW2901 - what is left to write
    if size != blob.size or state.hexdigest() != blob.digest.hex:
        raise BlobError("its blob is damaged", damaged=True)


def _pieces(descriptor: int, size: int) -> Iterator[memoryview]:
    buffer, position = memoryview(bytearray(size)), 0
    while True:
        try:
            count = os.preadv(descriptor, [buffer], position)
        except OSError as error:
            raise BlobError(f"its blob can not be read: {error.strerror}") from error
        if not count:
            return
        yield buffer[:count]
        position += count
