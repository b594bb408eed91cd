# SPDX-License-Identifier: MIT
"""Locks that end with who holds them, and are waited for only so long. Must not know what they guard."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG = logging.getLogger("oe_oci")
_POLL = 0.02  # seconds


@contextlib.contextmanager
def lock(path: str, operation: int, wait: float) -> Iterator[bool]:
    """Hold the lock that a file is, `fcntl.LOCK_SH` or `LOCK_EX`, made where it is missing; a context manager.

    False where there is none: it can not be made or locked here, or somebody held it for more than `wait` seconds.
    """
    descriptor, _ = _acquire(path, operation, wait, "")
    try:
        yield descriptor >= 0
    finally:
        if descriptor >= 0:
            os.close(descriptor)


@contextlib.contextmanager
def making(path: str, wait: float) -> Iterator[bool]:
    """Hold a lock whose file is there only as long; a context manager. Whether somebody else held it meanwhile.

    Goes on without it where it can not be had, or not within `wait` seconds.
    """
    told = f"another build makes a layer that is needed here ({path}); waiting for it"
    descriptor, waited = _acquire(path, fcntl.LOCK_EX, wait, told)
    try:
        yield waited
    finally:
        if descriptor >= 0:
            # Removed while it is still locked: who waits for it finds another inode, and makes a new one.
            with contextlib.suppress(OSError):
                os.unlink(path)
            os.close(descriptor)


def free(path: str, *, remove: bool = False) -> bool | None:
    """Whether nobody holds a lock on a file, which is removed then if asked for; None where that can not be told."""
    try:
        descriptor = _open(path, 0)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if remove:
            os.unlink(path)
    except BlockingIOError:
        return False
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return True


def _acquire(path: str, operation: int, wait: float, told: str) -> tuple[int, bool]:
    """The descriptor of a locked file, -1 for none, and whether another held it; `told` is logged once then."""
    deadline, waited = time.monotonic() + wait, False
    while True:
        try:
            descriptor = _open(path, os.O_CREAT)
        except OSError:
            return -1, waited
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
                    return descriptor, waited
        except BlockingIOError:
            if told and not waited:
                LOG.info("%s", told)
        except OSError:
            # Some network file systems lock nothing.
            os.close(descriptor)
            return -1, waited
        os.close(descriptor)
        waited = True
        if time.monotonic() >= deadline:
            return -1, waited
        time.sleep(_POLL)


def _open(path: str, create: int) -> int:
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        # NFS locks a file for one alone only where it is open for writing.
        return os.open(path, flags | os.O_RDWR | create, 0o666)
    except PermissionError:
        return os.open(path, flags | os.O_RDONLY)
