# SPDX-License-Identifier: MIT
"""How many processes a script of real root may have, for whom the limit of other users is none: a control group.

Must not know what runs in it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONTROLLER = "pids"
_MOUNTED = "/sys/fs/cgroup"
_PREFIX = "oe-oci-"
_TRIES = 50  # to remove a group whose processes are dead, which takes the kernel a moment
_ENTER = 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"'


@contextlib.contextmanager
def bounded(most: int) -> Iterator[list[str]]:
    """The words before a program that let it and all below it be `most` processes; none where that can not be."""
    folder = _made(most)
    if folder is None:
        yield []
        return
    try:
        yield ["sh", "-c", _ENTER, "sh", folder]
    finally:
        for _ in range(_TRIES):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
                break
            time.sleep(0.01)


def _made(most: int) -> str | None:
    """A new control group, where this process may make one."""
    for around in _around():
        with contextlib.suppress(OSError):
            _remove_stale(around)
            folder = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=around)
            try:
                # Not made where it is none, as it would be in a folder that is no control group.
                with open(os.path.join(folder, "pids.max"), "r+", encoding="ascii") as file:
                    file.write(str(most))
            except OSError:
                os.rmdir(folder)
            else:
                return folder
    return None


def _remove_stale(around: str) -> None:
    """Remove what was left by those that were killed."""
    for name in os.listdir(around):
        if name.startswith(_PREFIX) and not os.path.exists(f"/proc/{name[len(_PREFIX) :].partition('-')[0]}"):
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(around, name))


def _around() -> Iterator[str]:
    """Where a group may be made: in the own one, or where none that holds processes may hold groups, beside it."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return
    for _, controllers, path in lines:
        if _CONTROLLER in controllers.split(","):
            yield f"{_MOUNTED}/{_CONTROLLER}{path}"
        elif not controllers:
            yield f"{_MOUNTED}{path}"
            yield os.path.dirname(f"{_MOUNTED}{path}")
