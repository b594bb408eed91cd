# SPDX-License-Identifier: MIT
"""A place beside the outputs where they are made, so that they appear whole or not at all.

The place has one name for each image, is locked while it is used and cleared by whoever comes next; a build killed at
any moment leaves nothing else. Must not know what is made in it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import shlex
from typing import TYPE_CHECKING

from .errors import ToolError
from .removal import mounts, remove_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG = logging.getLogger("oe_oci")


@contextlib.contextmanager
def staging(deploy_dir: str, name: str) -> Iterator[str]:
    """The path of an empty folder in `deploy_dir`, which is made where it is missing; a context manager.

    Another build of the same image waits until this one is done.

    Raises:
        ToolError: the folder can not be made or written to.
    """
    made = _make_folders(deploy_dir)
    path = os.path.join(deploy_dir, f".{name}-oci.partial")
    try:
        try:
            descriptor = _locked(path)
        except BaseException:
            _discard(path)
            raise
        try:
            _clear(path)
            yield path
        finally:
            # Removed while it is still locked: who waits for it finds another inode, and makes a new one.
            _remove(path)
            os.close(descriptor)
    finally:
        for folder in made:
            with contextlib.suppress(OSError):
                os.rmdir(folder)  # only where it is still empty, after a failure


def _make_folders(path: str) -> list[str]:
    """Make a folder and its parents; returns those made, the innermost first."""
    missing = []
    while path and not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        try:
            os.mkdir(folder)
        except FileExistsError as error:
            if not os.path.isdir(folder):
                raise ToolError(f"cannot make the folder {folder}: {error.strerror}") from error
        except OSError as error:
            raise ToolError(f"cannot make the folder {folder}: {error.strerror}") from error
    return missing


def _locked(path: str) -> int:
    while True:
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError as error:
            if not os.path.isdir(os.path.dirname(path)):
                raise ToolError(f"cannot make the folder {path}: {error.strerror}") from error
            continue
        except OSError as error:
            raise ToolError(f"cannot make the folder {path}: {error.strerror}") from error
        try:
            _lock(descriptor, path)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _discard(path: str) -> None:
    """Remove a folder that was made and not used, unless it is another build's by now."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rmdir(path)
        finally:
            os.close(descriptor)


def _lock(descriptor: int, path: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        LOG.warning("another build of this image is running (%s); waiting for it", path)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        # Some network file systems lock no directories.
        if error.errno not in (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL):
            raise ToolError(f"cannot lock {path}: {error.strerror}") from error
        LOG.info("%s can not be locked here: run only one build of an image at a time", path)


def _clear(path: str) -> None:
    """Remove what a killed build left.

    Raises:
        ToolError: something of it can not be removed.
    """
    mounted = mounts(path)
    if mounted:
        hint = f"see what it is, and run umount {shlex.quote(mounted[0])}"
        raise ToolError(f"an earlier build left {path}, in which something is mounted at {mounted[0]}", hint=hint)
    with os.scandir(path) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                remove_folder(entry.path)
            else:
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)
    left = sorted(os.listdir(path))
    if left:
        raise ToolError(f"cannot remove {os.path.join(path, left[0])}, which an earlier build left")


def _remove(path: str) -> None:
    try:
        remove_folder(path)
    except KeyboardInterrupt:
        # Not half of it either.
        remove_folder(path)
        raise
