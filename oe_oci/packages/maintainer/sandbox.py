# SPDX-License-Identifier: MIT
"""Runs one script of a package where it can change the image and nothing else of the machine, and reach nobody.

Must not know what scripts are for, in what order they are run, or what they did.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from typing import TYPE_CHECKING, Callable

from ...confined import placing
from ...errors import ToolError
from ...run import Limits, faking, run_bounded
from . import crowd, view, wrapping
from .ran import Ran
from .wrapping import Identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ...run import Bounded
    from .view import Mount

OFFLINE, CHROOT = "offline", "chroot"

_SHELL = "/bin/sh"
_MODE = 0o755
_LIMITS = Limits()
_TRIES = 3
_SKIP = 'set OCI_PACKAGE_SCRIPTS = "skip", which runs none'
_HINT = (
    "install bubblewrap (bwrap) or util-linux (unshare, setpriv), and let this user make namespaces and mount in them; "
    f"or {_SKIP}"
)
_NOT_STARTED = {
    OFFLINE: _HINT,
    CHROOT: f"the image needs a {_SHELL} that this machine can run; "
    "where the image is for another architecture, set up qemu-user with binfmt_misc, or set OCI_PACKAGE_SCRIPTS = "
    f'"run:offline" for the shell of this machine; or {_SKIP}',
}
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_DIRECTORIES = ("PSEUDO_PREFIX", "PSEUDO_BINDIR", "PSEUDO_LIBDIR", "PSEUDO_LOCALSTATEDIR")

_Wrap = Callable[[str, "Sequence[Mount]", "Mapping[str, str]", Identity], "list[str]"]
# The program, what else it needs, and its words; the first that works is taken.
_PROGRAMS: dict[str, tuple[tuple[str, ...], _Wrap]] = {
    "bwrap": ((), wrapping.bubblewrap),
    "unshare": (("setpriv", "mount", "chroot", "env"), wrapping.unshare),
}


class Sandbox:
    """Runs scripts with the image in the directory `root`, in the way `mode`; `scratch` is a folder beside it.

    `program` is the one that isolates them.
    """

    def __init__(self, mode: str, place: tuple[str, str], readable: Iterable[str], limits: Limits) -> None:
        self._mode = mode
        self._root, self._scratch = map(os.path.realpath, place)
        self._readable = tuple(readable)
        self._limits = limits
        self._who = _who(mode)
        self.program = _working(self._who)

    def place(self, name: str, content: bytes) -> str:
        """Make a script of these bytes; the path that it has where it runs.

        Raises:
            ToolError: it can not be written.
        """
        folder = self._scripts
        path = os.path.join(folder, name)
        with placing(path):
            os.makedirs(folder, exist_ok=True)
            with open(path, "wb") as file:
                file.write(content)
            os.chmod(folder, _MODE)
            os.chmod(path, _MODE)
        return path if self._mode == OFFLINE else os.path.join(view.IMAGE_SCRIPTS, name)

    def run(self, argv: Sequence[str], env: Mapping[str, str], *, stdin: bytes = b"") -> Ran:
        """Run a program to its end with these variables, in `scratch`, or in the root of the image.

        Raises:
            ToolError: it can not be run.
        """
        env = {**_faked(self._who), **env, "LC_ALL": "C"}
        env.pop("TZ", None)
        # A socket may be gone before something is mounted over it.
        for _ in range(_TRIES if self._mode == OFFLINE else 1):
            done = self._run_once(argv, env, stdin)
            if done.started or done.is_late:
                break
        said = done.said.decode("utf-8", "backslashreplace")
        if not done.started and not done.is_late:
            raise ToolError(f"cannot run a script in isolation: {_last(said)}", hint=_NOT_STARTED[self._mode])
        ended = f"took longer than {self._limits.seconds} seconds" if done.is_late else ""
        return Ran(done.status, said, ended)

    def _run_once(self, argv: Sequence[str], env: Mapping[str, str], stdin: bytes) -> Bounded:
        with contextlib.ExitStack() as stack:
            if self._mode == OFFLINE:
                readable = (*self._readable, *_of_faking())
                mounts = view.of_machine((self._root, self._scratch), readable, view.sockets())
                folder = self._scratch
            else:
                with placing(self._scripts):
                    os.makedirs(self._scripts, exist_ok=True)
                mounts = stack.enter_context(view.of_image(self._root, self._scripts))
                folder = "/"
            before = stack.enter_context(crowd.bounded(self._limits.processes)) if self._who.uid == 0 else []
            words = [*before, *_words(self.program, mounts, env, self._who), _SHELL, "-c", wrapping.FIRST, "sh"]
            return run_bounded(
                [*words, folder, *argv], env=_outside(), stdin=stdin, limits=self._limits, after=wrapping.STARTED
            )

    @property
    def _scripts(self) -> str:
        return os.path.join(self._scratch, "scripts")


def decides(mode: str, limits: Limits = _LIMITS) -> dict[str, object]:
    """What decides about results, for a key: the way, and the limits. Which program isolates does not."""
    return {"mode": mode, "limits": [limits.seconds, limits.size, limits.files]}


def offline(root: str, scratch: str, readable: Iterable[str] = (), limits: Limits = _LIMITS) -> Sandbox:
    """Scripts see this machine, its shell and its programs, and may write to `root` and `scratch` alone.

    `readable` are folders that they see even where they lie in a private place such as /tmp, which is else empty.

    Raises:
        ToolError: nothing here can isolate them.
    """
    return Sandbox(OFFLINE, (root, scratch), readable, limits)


def chroot(root: str, scratch: str, limits: Limits = _LIMITS) -> Sandbox:
    """Scripts see the image as their root, its shell and its programs.

    Raises:
        ToolError: nothing here can isolate them, or owners would not be what they tell.
    """
    return Sandbox(CHROOT, (root, scratch), (), limits)


def _who(mode: str) -> Identity:
    """The caller as the kernel knows it, whatever fakeroot or pseudo tell.

    Raises:
        ToolError: scripts can not see what those tell.
    """
    faked = faking()
    hint = f'set OCI_PACKAGE_SCRIPTS = "run:offline", or {_SKIP}'
    if faked and mode == CHROOT:
        raise ToolError("scripts can not run in the image itself under fakeroot or pseudo", hint=hint)
    if "libfakeroot-tcp" in faked.get("LD_PRELOAD", ""):
        raise ToolError("scripts have no network, over which this fakeroot works", hint="use fakeroot-sysv")
    numbers = {}
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith(("Uid:", "Gid:")):
                numbers[line[:3]] = int(line.split()[2])
    return Identity(numbers["Uid"], numbers["Gid"], mode == CHROOT, "FAKEROOTKEY" in faked)


@functools.cache
def _working(who: Identity) -> str:
    """The name of the first program that can isolate, tried once with one that does nothing.

    Raises:
        ToolError: there is none.
    """
    failures = []
    for name, (others, _) in _PROGRAMS.items():
        missing = [each for each in (name, *others) if not shutil.which(each)]
        if missing:
            failures.append(f"no {missing[0]}" if missing[0] == name else f"{name}: no {missing[0]}")
            continue
        words = _words(name, view.of_machine((), ()), {}, who)
        done = run_bounded(
            [*words, _SHELL, "-c", wrapping.FIRST, "sh", "/", "true"],
            env=_outside(),
            limits=Limits(seconds=30),
            after=wrapping.STARTED,
        )
        if done.started and done.status == 0:
            return name
        said = _last(done.said.decode("utf-8", "backslashreplace"))
        failures.append(f"{name}: {said.removeprefix(f'{name}: ')}")
    raise ToolError(f"scripts of packages can not be isolated here: {'; '.join(failures)}", hint=_HINT)


def _words(name: str, mounts: Sequence[Mount], env: Mapping[str, str], who: Identity) -> list[str]:
    path = shutil.which(name)
    return _PROGRAMS[name][1](path or name, mounts, env, who)


def _outside() -> dict[str, str]:
    """The variables of what isolates, which must see no more than the kernel tells."""
    return {"PATH": os.environ.get("PATH", _PATH), "LC_ALL": "C", **({"PSEUDO_UNLOAD": "1"} if faking() else {})}


def _faked(who: Identity) -> dict[str, str]:
    """The variables that make a script see what fakeroot or pseudo tell."""
    faked = faking()
    if "FAKEROOTKEY" in faked and who.uid:
        # No owner is known in a user namespace, which fakeroot takes for a failure when it tries.
        faked["FAKEROOTDONTTRYCHOWN"] = "1"
    return faked


def _of_faking() -> list[str]:
    """The files that fakeroot and pseudo need."""
    faked = faking()
    found = [faked[name] for name in _DIRECTORIES if name in faked]
    lists = (faked.get(name, "") for name in ("LD_PRELOAD", "LD_LIBRARY_PATH", "PSEUDO_PASSWD"))
    return [*found, *(path for text in lists for path in text.replace(" ", ":").split(":"))]


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "it ended at once"
