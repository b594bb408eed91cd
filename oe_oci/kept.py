# SPDX-License-Identifier: MIT
"""Files kept for later builds that may be lost or damaged at any time: each is whole, or as if it were not there.

A file begins with a line that says what it is, and ends with the SHA-256 of all before. It appears under its name by a
rename and is locked until then, so that whoever tidies up can tell what a killed build left. Must not know what is
kept.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import stat
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

UNFINISHED = ".new-"  # the names of files that are being written begin with it
_SUM = 64


def recall(path: str, head: bytes) -> bytes | None:
    """What is kept in a file, without its first line `head`; None where there is none, or not as `keep` wrote it."""
    try:
        with open(opened(path), "rb") as file:
            return body(file, head)
    except OSError:
        return None


def opened(path: str, flags: int = 0) -> int:
    """A descriptor to read a file by, which is a regular one; `flags` are more of `os.open`.

    Raises:
        OSError: it can not be opened, or is something else: a link, which could lead anywhere, or a fifo or device.
    """
    try:
        # O_NONBLOCK: a fifo in its place must not hang the build.
        descriptor = os.open(path, flags | os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _no_file(path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_file(path)
    return descriptor


def _no_file(path: str) -> OSError:
    return OSError(errno.EINVAL, "not a regular file", path)


def body(file: BinaryIO, head: bytes) -> bytes | None:
    """What is kept in an open file, without its first line `head`; None where it is not as `write` wrote it.

    Raises:
        OSError: it can not be read.
    """
    begun, rest = file.read(len(head)), file.read()
    digest = hashlib.sha256(begun)
    digest.update(memoryview(rest)[:-_SUM])
    whole = begun == head and rest[-_SUM:] == digest.hexdigest().encode()
    return rest[:-_SUM] if whole else None


def sound(path: str) -> bool:
    """Whether a file is as `write` wrote it, whatever its first line; it need not fit into memory."""
    digest, last = hashlib.sha256(), b""
    try:
        with open(_unnoticed(path), "rb") as file:
            while piece := file.read(1 << 20):
                last += piece
                digest.update(memoryview(last)[:-_SUM])
                last = last[-_SUM:]
    except OSError:
        return False
    return last == digest.hexdigest().encode()


def _unnoticed(path: str) -> int:
    try:
        # To be looked at is no use of it.
        return opened(path, os.O_NOATIME)
    except PermissionError:
        return opened(path)  # of another user


def keep(path: str, head: bytes, body: bytes) -> bool:
    """Write a file for `recall`; whether that was possible. A folder that can not be written to is no error."""
    with contextlib.suppress(OSError):
        write(path, head, body)
        return True
    return False


def write(path: str, head: bytes, body: bytes) -> None:
    """Write a file for `recall`, and the folder it lies in.

    Raises:
        OSError: that was not possible.
    """
    digest = hashlib.sha256(head)
    digest.update(body)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with unfinished(os.path.dirname(path)) as (descriptor, name):
        with open(descriptor, "wb", closefd=False) as file:
            file.writelines([head, body, digest.hexdigest().encode()])
        os.replace(name, path)


@contextlib.contextmanager
def unfinished(folder: str) -> Iterator[tuple[int, str]]:
    """A descriptor and the path of a new file in a folder; a context manager.

    It is gone at the end unless it was renamed. Its mode follows the umask, as several users may share the folder.

    Raises:
        OSError: it can not be made.
    """
    name = os.path.join(folder, UNFINISHED + secrets.token_hex(8))
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor, name
    finally:
        os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
