# SPDX-License-Identifier: MIT
"""The ids that an ordinary user has beside his own, and a user namespace that has them: he is root there.

His own id is 0 in it, and those of subuid(5) and subgid(5) follow from 1 on. Must not know what it is for.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
from typing import NamedTuple

from ...errors import ToolError
from ...run import run

_CLONE_NEWUSER = 0x10000000  # sched.h
_SKIP = 'run oe-oci under fakeroot or as root, or set OCI_PACKAGE_SCRIPTS = "skip"'
DENIED = f"a user namespace has not all rights that root has; {_SKIP}"
_FEW = f"give the user more ids in /etc/subuid and /etc/subgid, {_SKIP}"
_FILES = {"newuidmap": "/etc/subuid", "newgidmap": "/etc/subgid"}


class Setting(NamedTuple):
    """A program that sets the ids of a process's namespace, and its words after the number of that process."""

    program: str
    words: tuple[str, ...]


def settings() -> tuple[Setting, ...]:
    """What sets the ids of a namespace for the user that runs this.

    Raises:
        ToolError: he has no subordinate ids, or no program to use them; the hint says what to do.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    ranges = {program: _ranges(path, {name, str(uid)}) for program, path in _FILES.items()}
    faults = [f"there is no {program}" for program in _FILES if not shutil.which(program)]
    faults += [f"{path} has no line for {name}" for program, path in _FILES.items() if not ranges[program]]
    if faults:
        raise ToolError(
            f"the scripts of packages need the rights of root, or subordinate ids: {', '.join(faults)}",
            hint=f"install the package uidmap, and run usermod --add-subuids 100000-165535 --add-subgids 100000-165535"
            f" {name}; or {_SKIP}",
        )
    own = {"newuidmap": uid, "newgidmap": gid}
    return tuple(Setting(program, _words(own[program], ranges[program])) for program in _FILES)


def _ranges(path: str, names: set[str]) -> list[tuple[int, int]]:
    """The first id and the number of each range that a file gives to a user of these names."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            fields = [line.strip().split(":") for line in file]
    except OSError:
        return []
    mine = [(first, count) for name, first, count in (each for each in fields if len(each) == 3) if name in names]
    return [(int(first), int(count)) for first, count in mine if first.isdigit() and count.isdigit() and int(count)]


def _words(own: int, ranges: list[tuple[int, int]]) -> tuple[str, ...]:
    numbers, following = [0, own, 1], 1
    for first, count in ranges:
        numbers += [following, first, count]
        following += count
    return tuple(map(str, numbers))


def give_ids(pid: int, given: tuple[Setting, ...]) -> None:
    """Give ids to the user namespace of a process, from outside.

    Raises:
        ToolError: it was refused.
    """
    for program, words in given:
        done = run([program, str(pid), *words])
        if done.status:
            raise ToolError(
                f"cannot use subordinate ids: {done.errors.strip()}", hint=f"see {_FILES[program]}; or {_SKIP}"
            )


def enter_namespace() -> None:
    """Have this process, which may have no second thread, in a user namespace of its own; it has no ids yet.

    Raises:
        ToolError: it was refused.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(_CLONE_NEWUSER):
        reason = os.strerror(ctypes.get_errno())
        raise ToolError(f"cannot make a user namespace: {reason}", hint=f"allow users to have such; or {_SKIP}")


class Owners:
    """The owners that files can have in this process's user namespace."""

    def __init__(self) -> None:
        self._uids, self._gids = _mapped("/proc/self/uid_map"), _mapped("/proc/self/gid_map")

    def check(self, where: str, uid: int, gid: int) -> None:
        """See that a file can have its owner.

        Raises:
            ToolError: it can not.
        """
        for what, number, ranges in (("user", uid, self._uids), ("group", gid, self._gids)):
            if not any(first <= number < end for first, end in ranges):
                last = max((end for _, end in ranges), default=0) - 1
                raise ToolError(
                    f"{where}: its owner is {uid}:{gid}, and the subordinate ids of this user reach to {what} {last}",
                    hint=_FEW,
                )


def _mapped(path: str) -> list[tuple[int, int]]:
    """The first id of each range, and the one after its last."""
    with open(path, encoding="ascii") as file:
        numbers = [tuple(map(int, line.split())) for line in file]
    return [(inside, inside + count) for inside, _, count in numbers]
