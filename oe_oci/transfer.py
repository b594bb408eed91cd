# SPDX-License-Identifier: MIT
"""Copying bytes whose digest is known: without reading them where the file system can share them.

A link would share them too, but change the stamp of the file it is to, which would be read again in the next build.
Must not know what the files are.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING, BinaryIO

from .content import pieces, stamp_of, unreadable
from .errors import InputError

if TYPE_CHECKING:
    from .content import Region

_FICLONE = 0x40049409


def transfer(source: Region, target: BinaryIO) -> None:
    """Write the bytes of `source`, which has its file's stamp, to an empty file.

    Raises:
        InputError: the file is another one than it was.
        ToolError: it can not be read.
        OSError: the bytes can not be written.
    """
    try:
        descriptor = os.open(source.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise unreadable(source.path, error) from error
    try:
        whole = source.offset == 0 and os.fstat(descriptor).st_size == source.size
        if not (whole and _shared(descriptor, target.fileno())):
            target.writelines(pieces(source))
        if stamp_of(os.fstat(descriptor)) != source.stamp:
            raise InputError(
                f"{os.fsdecode(source.path)} changed while it was read",
                hint="nothing may write to the inputs during a build; start again when that has ended",
            )
    finally:
        os.close(descriptor)


def _shared(source: int, target: int) -> bool:
    """Whether the file system let one file share all bytes of another."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(target, _FICLONE, source)
        return True
    return False
