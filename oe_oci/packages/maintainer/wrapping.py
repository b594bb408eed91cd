# SPDX-License-Identifier: MIT
"""The words before a program that put it into namespaces of its own: those of bubblewrap, and those of util-linux.

Must not know what the program is, or which of the two is there.
"""

from __future__ import annotations

import os
import re
import shutil
from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

from .view import BIND, DEV, EMPTY, PROC, READ_ONLY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .view import Mount

HOSTNAME = "localhost"

# What scripts need as root. Nothing of it reaches beyond what is mounted for them.
CAPABILITIES = (
    "chown",
    "dac_override",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setfcap",
    "sys_chroot",
    "audit_write",
)

# It tells that it runs, enters the folder that is its first argument, and is the parent of all: with it they end.
FIRST = 'printf \'\\001\'; cd "$1" || exit; shift; unset PWD OLDPWD SHLVL; "$@"; exit $?'
STARTED = b"\1"

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
# A directory that every machine has and no script's files lie in; what is mounted there is on all of it in the end.
_BASE = "/sys"
_ESCAPED = re.compile(r"\\([0-7]{3})")
_LEAST = "nosuid,nodev"
_KEPT = ("nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime")


class Identity(NamedTuple):
    """Who runs a program: the kernel's own numbers, and whether they are to be those of root inside.

    Another user than root needs a user namespace, in which `keeps_ipc` says whether this machine's queues of messages
    are seen.
    """

    uid: int
    gid: int
    becomes_root: bool
    keeps_ipc: bool

    @property
    def is_root_inside(self) -> bool:
        """Whether it is root where it runs."""
        return self.uid == 0 or self.becomes_root


def bubblewrap(program: str, mounts: Sequence[Mount], env: Mapping[str, str], who: Identity) -> list[str]:
    """The words before a program for bubblewrap, itself found at `program`."""
    words = [program, "--unshare-pid", "--as-pid-1", "--die-with-parent", "--unshare-net"]
    words += ["--unshare-uts", "--hostname", HOSTNAME, *(() if who.keeps_ipc else ("--unshare-ipc",))]
    if who.uid:
        words += ["--unshare-user", *(("--uid", "0", "--gid", "0") if who.becomes_root else ())]
    words += ["--cap-drop", "ALL"]
    if who.is_root_inside:
        words += [word for name in CAPABILITIES for word in ("--cap-add", f"CAP_{name.upper()}")]
    for mount in mounts:
        words += _option(mount)
    words.append("--clearenv")
    words += [word for name, value in env.items() for word in ("--setenv", name, value)]
    return [*words, "--"]


def _option(mount: Mount) -> list[str]:
    if mount.kind == EMPTY:
        return ["--perms", f"{mount.mode:04o}", "--tmpfs", mount.target]
    if mount.kind in (PROC, DEV):
        return [f"--{mount.kind}", mount.target]
    return ["--bind" if mount.kind == BIND else "--ro-bind", mount.source, mount.target]


def unshare(program: str, mounts: Sequence[Mount], env: Mapping[str, str], who: Identity) -> list[str]:
    """The words before a program for util-linux, whose unshare is found at `program`."""
    # What unshare itself is to end with is its parent.
    words = [
        "setpriv",
        "--pdeathsig=KILL",
        program,
        "--mount",
        "--pid",
        "--fork",
        "--kill-child=KILL",
        "--net",
        "--uts",
    ]
    words += [*(() if who.keeps_ipc else ("--ipc",)), *(("--map-root-user",) if who.uid else ())]
    given = ["env", "-i", *(f"{name}={value}" for name, value in env.items())]
    if who.is_root_inside:
        names = ",".join(("-all", *(f"+{name}" for name in CAPABILITIES)))
        rights = ["setpriv", "--no-new-privs", "--inh-caps=-all", f"--bounding-set={names}"]
        # Of the machine's own programs the last one: nothing but the variables says where to look for it.
        last = [*rights, *given, shutil.which("chroot") or "chroot", "."]
    else:
        # Another namespace, in which it is who it was, and can do nothing to the one around.
        own = [program, "--user", f"--map-user={who.uid}", f"--map-group={who.gid}"]
        last = ["chroot", ".", "setpriv", "--no-new-privs", *own, *given]
    # The folder that all is in is mounted over what was there before: no way leads back to that.
    script = [*_commands(mounts), f"cd {_BASE}", "mount -n --move . /", 'exec "$@"']
    return [*words, "sh", "-c", "\n".join(("set -e", *script)), "sh", *last]


def _commands(mounts: Sequence[Mount]) -> Iterator[str]:
    """The lines of a shell that mount all of it below _BASE."""
    yield f"hostname {HOSTNAME} 2>/dev/null || echo {HOSTNAME} >/proc/sys/kernel/hostname"
    table = _Table()
    seen = table.seen()
    made = [mount.target for mount in mounts if mount.kind in (EMPTY, PROC, DEV)]
    for mount in mounts:
        at = _at(mount.target)
        if mount.kind == EMPTY:
            yield f"mount -n -t tmpfs -o mode={mount.mode:o},nosuid,nodev tmpfs {at}"
        elif mount.kind == PROC:
            yield f"mount -n -t proc -o nosuid,nodev,noexec proc {at}"
        elif mount.kind == DEV:
            yield from _devices(f"{_BASE}{mount.target}")
        elif mount.target == "/" and mount.kind == READ_ONLY:
            yield f"mount -n --rbind / {at}"
            hidden = tuple(f"{path}/" for path in made)
            for point, flags in seen:
                if point not in made and not point.startswith(hidden):
                    yield f"mount -n -o remount,bind,ro,{flags} {_at(point)}"
        else:
            yield f"test -e {at} || mkdir -p {at}"
            # With what is mounted below: in a namespace of another user nobody may look under that.
            yield f"mount -n --rbind {quote(mount.source)} {at}"
            yield f"mount -n -o remount,bind,{'rw' if mount.kind == BIND else 'ro'},{table.flags(mount.source)} {at}"
            for point, flags in seen if mount.kind == READ_ONLY else ():
                if point.startswith(f"{mount.source}/"):
                    yield f"mount -n -o remount,bind,ro,{flags} {_at(mount.target + point[len(mount.source) :])}"


def _at(path: str) -> str:
    return quote(_BASE + path.rstrip("/"))


def _devices(folder: str) -> Iterator[str]:
    at = quote(folder)
    yield f"mount -n -t tmpfs -o mode=755,nosuid tmpfs {at}"
    for name in _DEVICES:
        yield f": >{at}/{name}; mount -n --bind /dev/{name} {at}/{name}"
    yield f"mkdir {at}/pts; mkdir -m 1777 {at}/shm"
    yield f"mount -n -t devpts -o newinstance,ptmxmode=0666,mode=620,nosuid,noexec devpts {at}/pts"
    yield f"ln -s pts/ptmx {at}/ptmx"
    for name, target in _LINKS.items():
        yield f"ln -s {target} {at}/{name}"


class _Table:
    """What is mounted on this machine, by the kernel's numbers."""

    def __init__(self) -> None:
        self._lines: dict[str, tuple[str, str]] = {}
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                words = line.split(" ")
                point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), words[4])
                # Whoever makes a namespace may add to these, and not take away.
                given = [flag for flag in words[5].split(",") if flag in _KEPT]
                self._lines[words[0]] = (point, ",".join(dict.fromkeys((*given, *_LEAST.split(",")))))

    def seen(self) -> list[tuple[str, str]]:
        """The places of all that nothing else is mounted over, with their flags."""
        return [(point, flags) for number, (point, flags) in self._lines.items() if _number(point) == number]

    def flags(self, path: str) -> str:
        """The flags of what a path lies in."""
        return self._lines.get(_number(path), ("", _LEAST))[1]


def _number(path: str) -> str:
    """The kernel's number of what is mounted where a path leads, empty where it leads nowhere."""
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        with open(f"/proc/self/fdinfo/{opened}", encoding="ascii") as file:
            return next((line.split()[1] for line in file if line.startswith("mnt_id:")), "")
    finally:
        os.close(opened)
