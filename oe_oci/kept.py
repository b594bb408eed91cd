# SPDX-License-Identifier: MIT
"""Files kept for later builds that may be lost or damaged at any time: each is whole, or as if it were not there.

A file begins with a line that says what it is, and ends with the SHA-256 of all before. It appears under its name by a
rename and is locked until then, so that whoever tidies up can tell what a killed build left. Must not know what is
kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

UNFINISHED = ".new-"  # the names of files that are being written begin with it
_SUM = 64


def recall(path: str, head: bytes) -> bytes | None:
    """What is kept in a file, without its first line `head`; None where there is none, or not as `keep` wrote it."""
    try:
        # O_NONBLOCK: a fifo in its place must not hang the build.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            begun, rest = file.read(len(head)), file.read()
    except OSError:
        return None
    digest = hashlib.sha256(begun)
    digest.update(memoryview(rest)[:-_SUM])
    whole = begun == head and rest[-_SUM:] == digest.hexdigest().encode()
    return rest[:-_SUM] if whole else None


def keep(path: str, head: bytes, body: bytes) -> bool:
    """Write a file for `recall`; whether that was possible. A folder that can not be written to is no error."""
    digest = hashlib.sha256(head)
    digest.update(body)
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with unfinished(os.path.dirname(path)) as (descriptor, name):
            with open(descriptor, "wb", closefd=False) as file:
                file.writelines([head, body, digest.hexdigest().encode()])
            os.replace(name, path)
            return True
    return False


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
