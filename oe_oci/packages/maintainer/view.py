# SPDX-License-Identifier: MIT
"""What a script sees of the file system: this machine's with two folders that it may write to, or the image's own.

Must not know the programs that bring this about, or what scripts do.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from ...confined import placing
from ...errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

BIND, READ_ONLY, EMPTY, PROC, DEV = "bind", "read-only", "empty", "proc", "dev"

# Where daemons have their sockets, and programs what is of no use to a script; links may lead elsewhere.
_PRIVATE = ("/tmp", "/var/tmp", "/run", "/var/run")  # noqa: S108 - nothing is written there
# Of /proc: where root can do harm without any capability.
_COVERED = ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi", "driver", "mtrr")
_OPEN, _CLOSED = 0o1777, 0o755
IMAGE_SCRIPTS = "/tmp/oe-oci"  # noqa: S108 - in a file system of its own
_LINKS = 40  # that are followed at most, as the kernel does


class Mount(NamedTuple):
    """One thing to mount, in order: a folder or file `source` at the path `target`, or what the kernel makes.

    `mode` is that of an empty directory.
    """

    kind: str
    target: str
    source: str = ""
    mode: int = 0


def of_machine(writable: Sequence[str], readable: Iterable[str], closed: Iterable[str] = ()) -> list[Mount]:
    """This machine, nothing of which can be written but the folders `writable`.

    Of its private places nothing is seen, but for what `readable` and `writable` name. Nobody listens at the sockets
    `closed`, which may lie anywhere else.
    """
    private = sorted({os.path.realpath(path) for path in _PRIVATE if os.path.isdir(path)})
    mounts = [Mount(READ_ONLY, "/", "/"), Mount(DEV, "/dev"), *_proc("/proc")]
    mounts += [Mount(EMPTY, path, mode=_OPEN if path.endswith("tmp") else _CLOSED) for path in private]
    shown = {os.path.realpath(path) for path in readable if os.path.isabs(path) and os.path.exists(path)}
    mounts += [Mount(READ_ONLY, path, path) for path in sorted(shown) if is_below(path, private)]
    reached = (*private, *shown, *map(os.path.realpath, writable))
    mounts += [Mount(READ_ONLY, path, os.devnull) for path in closed if not is_below(path, reached)]
    return [*mounts, *(Mount(BIND, path, path) for path in writable)]


def sockets() -> list[str]:
    """The paths of all sockets of this machine that can be seen."""
    found = set()
    with contextlib.suppress(OSError), open("/proc/net/unix", "rb") as file:
        for line in file:
            path = os.fsdecode(line.rstrip(b"\n").split(b" ", 7)[-1])
            with contextlib.suppress(OSError, ValueError):
                if path.startswith("/") and stat.S_ISSOCK(os.lstat(path).st_mode):
                    found.add(os.path.realpath(path))
    return sorted(found)


def _proc(target: str) -> list[Mount]:
    covered = [name for name in _COVERED if os.path.exists(os.path.join("/proc", name))]
    covers = [Mount(READ_ONLY, os.path.join(target, name), os.path.join("/proc", name)) for name in covered]
    return [Mount(PROC, target), *covers]


def is_below(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is in one of the folders."""
    return any(path.startswith(f"{folder}/") for folder in folders)


@contextlib.contextmanager
def of_image(root: str, scripts: str) -> Iterator[list[Mount]]:
    """The image in the directory `root`, with the folder `scripts` at IMAGE_SCRIPTS, and what the kernel makes.

    The directories for that are made where the image has none, and gone afterwards.

    Raises:
        ToolError: one can not be made.
    """
    made: list[str] = []
    try:
        mounts = [Mount(BIND, "/", root)]
        for kind, name, mode in ((PROC, "proc", 0), (DEV, "dev", 0), (EMPTY, "tmp", _OPEN)):
            if not os.path.lexists(os.path.join(root, name)):
                with placing(os.path.join(root, name)):
                    os.mkdir(os.path.join(root, name), _CLOSED)
                made.append(os.path.join(root, name))
            target = _directory(root, name)
            mounts += _proc(target) if kind == PROC else [Mount(kind, target, mode=mode)]
        scratch = mounts[-1].target
        if os.path.lexists(os.path.join(root, "run")):
            mounts.append(Mount(EMPTY, _directory(root, "run"), mode=_CLOSED))
        yield [*mounts, Mount(READ_ONLY, os.path.join(scratch, os.path.basename(IMAGE_SCRIPTS)), scripts)]
    finally:
        for path in reversed(made):
            with placing(path), contextlib.suppress(FileNotFoundError):
                os.rmdir(path)


def _directory(root: str, name: str) -> str:
    """Where a directory of the image is in truth, links followed as in the image.

    Raises:
        ToolError: it is none.
    """
    found: list[str] = []
    left, links = [name], 0
    while left:
        part = left.pop(0)
        if part == "..":
            found = found[:-1]
        elif part not in ("", "."):
            path = os.path.join(root, *found, part)
            if os.path.islink(path) and links < _LINKS:
                target, links = os.readlink(path), links + 1
                found = [] if target.startswith("/") else found
                left = [*target.split("/"), *left]
            else:
                found.append(part)
    path = os.path.join(root, *found)
    if not found or os.path.islink(path) or not os.path.isdir(path):
        raise ToolError(f"/{name} of the image is no directory, which its scripts need")
    return os.path.join("/", *found)
