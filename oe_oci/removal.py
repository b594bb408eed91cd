# SPDX-License-Identifier: MIT
"""Removing folders with all in them, but never what is mounted in them.

Must not know what was in a folder, or who mounted something there.
"""

from __future__ import annotations

import contextlib
import os
import re

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def mounts(folder: str) -> list[str]:
    """The places at a folder and below where something is mounted, as the kernel tells; the first one first."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            lines = file.readlines()
    except OSError:
        return []
    names = (_ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), line.split(b" ")[4]) for line in lines)
    top = os.path.realpath(folder)
    return [place for place in map(os.fsdecode, names) if place == top or place.startswith(os.path.join(top, ""))]


def remove_folder(folder: str) -> None:
    """Remove a folder and all in it, whatever the modes of its directories; what can not be removed is left.

    So is what is mounted in it: no place of which the kernel tells, and no other device, is entered.
    """
    place = os.path.realpath(folder)
    with contextlib.suppress(OSError):
        _remove(place, None, os.lstat(place).st_dev, frozenset(mounts(place)))


def _remove(place: str, around: int | None, device: int, mounted: frozenset[str]) -> None:
    """Remove a directory; `around` is a descriptor of the one that it lies in, None for the path itself."""
    if place in mounted:
        return
    name = place if around is None else os.path.basename(place)
    with contextlib.suppress(OSError):
        inside = _opened(name, around)
        try:
            if os.fstat(inside).st_dev == device:
                _empty(place, inside, device, mounted)
        finally:
            os.close(inside)
        os.rmdir(name, dir_fd=around)


def _empty(place: str, inside: int, device: int, mounted: frozenset[str]) -> None:
    with contextlib.suppress(OSError):
        os.fchmod(inside, 0o700)
    with os.scandir(inside) as found:
        entries = [(each.name, each.is_dir(follow_symlinks=False)) for each in found]
    for name, is_directory in entries:
        if is_directory:
            _remove(os.path.join(place, name), inside, device, mounted)
        else:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=inside)


def _opened(name: str, around: int | None) -> int:
    try:
        return os.open(name, _OPEN_DIRECTORY, dir_fd=around)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=around)
        return os.open(name, _OPEN_DIRECTORY, dir_fd=around)
