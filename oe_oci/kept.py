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
import re
import shutil
import stat
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

UNFINISHED = ".new-"  # the names of files that are being written begin with it
TAG_NAME = "CACHEDIR.TAG"
TAG = b"""Signature: 8a477f597d28d172789f06886806bc55
# This folder is the layer cache of oe-oci: see https://bford.info/cachedir/
"""
_OWN = b"oe-oci "  # every file that is kept begins with it
UNFINISHED_NAME = re.compile(r"\.new-[0-9a-f]{16}")
_UNTAGGED = re.compile(r"lock|locks|indexes|archives|digests|latest")  # what a build that lost its cache may leave
_SUM = 64


def claim(folder: str) -> bool:
    """Whether a folder is a cache of ours, or can be made one: from now on it is.

    Raises:
        OSError: it can not be read, or not be made.
    """
    os.makedirs(folder, exist_ok=True)
    if is_tagged(folder):
        return True
    if not _is_ours(folder):
        return False
    with unfinished(folder) as (descriptor, name):
        with open(descriptor, "wb", closefd=False) as file:
            file.write(TAG)
        path = os.path.join(folder, TAG_NAME)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        os.replace(name, path)
    return True


def is_tagged(folder: str) -> bool:
    """Whether a folder says that it is a cache of ours."""
    return begin(os.path.join(folder, TAG_NAME), len(TAG) + 1) == TAG


def _is_ours(folder: str) -> bool:
    """Whether a folder without our tag holds nothing, or what only we can have put there."""
    found = os.listdir(folder)
    names = set(found) - {TAG_NAME}
    if "entries" in names:
        # The tag was lost or damaged: where there are layers, these tell.
        return any(map(_begins, _files(os.path.join(folder, "entries"), depth=2)))
    known = all(_UNTAGGED.fullmatch(name) or UNFINISHED_NAME.fullmatch(name) for name in names)
    known = known and not os.path.isdir(os.path.join(folder, "lock"))
    known = known and all(re.search("/[0-9a-f]{64}$", path) for path in _files(os.path.join(folder, "locks"), depth=1))
    depths = {"indexes": 1, "archives": 1, "digests": 1, "latest": 2}
    kept = (path for name, depth in depths.items() for path in _files(os.path.join(folder, name), depth))
    return known and all(map(_begins, kept)) and bool(names or not found)


def _begins(path: str) -> bool:
    return begin(path, len(_OWN)) == _OWN


def _files(folder: str, depth: int) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as found:
        for entry in found:
            if depth > 1:
                yield from _files(entry.path, depth - 1)
            elif not entry.name.startswith(UNFINISHED):
                yield entry.path


def begin(path: str, size: int) -> bytes:
    """The first bytes of a regular file, none where there is none that can be read."""
    try:
        with open(opened(path), "rb") as file:
            return file.read(size)
    except OSError:
        return b""


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
    size = os.fstat(file.fileno()).st_size - len(head) - _SUM
    if size < 0 or file.read(len(head)) != head:
        return None
    kept, told = file.read(size), file.read()
    digest = hashlib.sha256(head)
    digest.update(kept)
    return kept if told == digest.hexdigest().encode() else None


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


def keep(path: str, head: bytes, body: bytes | bytearray) -> None:
    """Write a file for `recall`, where that is possible: a folder that can not be written to is no error."""
    with contextlib.suppress(OSError):
        write(path, head, body)


def write(path: str, head: bytes, body: bytes | bytearray) -> None:
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
    name = os.path.join(folder, UNFINISHED + os.urandom(8).hex())
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor, name
    finally:
        os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
