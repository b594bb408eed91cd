# SPDX-License-Identifier: MIT
"""Copying bytes of files inside the kernel, without a copy where the file system can share them.

Must not know what the files are.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from .content import stamp_of, unreadable
from .errors import InputError

if TYPE_CHECKING:
    from .content import Region

_FICLONE = 0x40049409
_PIECE = 1 << 30  # of a copy; the kernel makes no longer one


def transfer(source: Region, target: int) -> None:
    """Write the bytes of `source`, which has its file's stamp, to the empty file of descriptor `target`.

    A link would be no cheaper than what is shared, and would change the stamp of the file it is to.

    Raises:
        InputError: the file is another one than it was.
        ToolError: it can not be opened.
        OSError: the bytes can not be copied.
    """
    try:
        descriptor = os.open(source.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise unreadable(source.path, error) from error
    try:
        facts = os.fstat(descriptor)
        if source.offset or facts.st_size != source.size or not _is_shared(descriptor, target):
            _copy(source, descriptor, target)
        if stamp_of(os.fstat(descriptor)) != source.stamp:
            raise InputError(
                f"{os.fsdecode(source.path)} changed while it was read",
                hint="nothing may write to the inputs during a build; start again when that has ended",
            )
    finally:
        os.close(descriptor)


def _is_shared(source: int, target: int) -> bool:
    """Share all bytes of one file with another, where the file system can."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(target, _FICLONE, source)
        return True
    return False


def _copy(source: Region, descriptor: int, target: int) -> None:
    position, end = source.offset, source.offset + source.size
    while position < end:
        count = os.sendfile(target, descriptor, position, min(_PIECE, end - position))
        if not count:
            return  # the file is shorter now, as its stamp will tell
        position += count
