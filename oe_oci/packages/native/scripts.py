# SPDX-License-Identifier: MIT
"""Scripts of packages that run on this machine, with the image in a directory: what they find, as in OpenEmbedded.

Its packages ask for an *intercept* where something is to be done once for all of them, such as a cache of fonts: a
program of the folder INTERCEPT_DIR. Those asked for run after each installation. Must not know how a tool is called.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from typing import TYPE_CHECKING, NamedTuple

from ...confined import placing
from ...errors import ToolError
from ...run import run_logged
from ..maintainer.scripts import ROOT_VARIABLES
from .manager import last_lines, read_log
from .updatealternatives import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .manager import Place

    Start = Callable[[Sequence[str], Mapping[str, str]], tuple[int, str]]

# What is the build's own, where there is one.
_INTERCEPTS, _NATIVE = "INTERCEPT_DIR", "NATIVE_ROOT"
_ASKING = "postinst_intercept"  # what asks for the others
_DELAYED = "delay_to_first_boot"
_NO_EMULATOR = "qemuwrapper: qemu usermode is not supported"
_PACKAGES = re.compile(r"^##PKGS:(.*)$", re.MULTILINE)

_MODE = 0o755
_KNOWS_THE_ROOT = b"OPKG_OFFLINE_ROOT"


class Left(NamedTuple):
    """An intercept that was not done: its name, the packages that asked for it, and what it said.

    `delayed` says that only an image that boots can do it.
    """

    name: str
    packages: str
    status: int
    said: Sequence[str]
    delayed: bool


class Scripts:
    """What scripts find that run outside of the root in the place `place`.

    `start` runs a program with these variables, and tells its exit status and what it said; it is run as it is
    otherwise.
    """

    def __init__(self, place: Place, start: Start | None = None) -> None:
        self._place = place
        self._start = start or self._run
        self._hooks = os.environ.get(_INTERCEPTS, "")

    @property
    def told(self) -> list[object]:
        """What of this machine decides what scripts do, as far as it can be known."""
        native = _NATIVE in os.environ
        return [native, may_run(), [*_digests(self._hooks)] if self._hooks else None]

    @property
    def folder(self) -> str:
        """The folder that scripts run in."""
        return self._path("tmp")

    def prepare(self) -> None:
        """Make what scripts find, with intercepts that nobody asked for yet.

        Raises:
            ToolError: it can not be made.
        """
        for path in map(self._path, ("tmp", "bin", "hooks")):
            with placing(path):
                os.makedirs(path, exist_ok=True)
        if not _alternatives_of_opkg():
            # Debian's program of this name would change this machine, whatever the root.
            path = self._path("bin", "update-alternatives")
            with placing(path):
                with open(path, "w", encoding="ascii") as file:
                    file.write(PROGRAM)
                os.chmod(path, _MODE)
        for name in os.listdir(self._path("hooks")):
            os.unlink(self._path("hooks", name))
        for name in _names(self._hooks) if self._hooks else ():
            path = self._path("hooks", name)
            with placing(path):
                shutil.copyfile(os.path.join(self._hooks, name), path)
                os.chmod(path, _MODE if name == _ASKING else 0o644)

    def environment(self, epoch: int) -> dict[str, str]:
        """The variables of scripts."""
        variables = dict.fromkeys(ROOT_VARIABLES, self._place.root)
        if self._hooks:
            variables[_INTERCEPTS] = self._path("hooks")
        if _NATIVE in os.environ:
            # The second is what intercepts call it.
            variables.update(dict.fromkeys((_NATIVE, "STAGING_DIR_NATIVE"), os.environ[_NATIVE]))
        path = f"{self._path('bin')}:{os.environ.get('PATH', os.defpath)}"
        variables.update(PATH=path, HOME=self.folder, TMPDIR=self.folder, SOURCE_DATE_EPOCH=str(epoch))
        return {**variables, **accounts(self._place)}

    def run(self, argv: Sequence[str], epoch: int) -> tuple[int, str]:
        """Run a script; its exit status and what it said.

        Raises:
            ToolError: it can not be started.
        """
        return self._start(argv, self.environment(epoch))

    def _run(self, argv: Sequence[str], env: Mapping[str, str]) -> tuple[int, str]:
        log = self._path("script.log")
        status = run_logged(argv, log, env=env, cwd=self.folder)
        return status, read_log(log)

    def intercept(self, epoch: int) -> Iterator[Left]:
        """Run the intercepts that scripts asked for; those that were not done.

        Raises:
            ToolError: one can not be started.
        """
        for name in sorted(os.listdir(self._path("hooks"))):
            hook = self._path("hooks", name)
            if name == _ASKING or not os.access(hook, os.X_OK):
                continue
            with open(hook, encoding="utf-8", errors="backslashreplace") as file:
                asked = _PACKAGES.search(file.read())
            packages = ", ".join(asked[1].split()) if asked else ""
            status, said = (1, "") if name.startswith(_DELAYED) else self.run([hook], epoch)
            if status:
                delayed = name.startswith(_DELAYED) or _NO_EMULATOR in said
                yield Left(name, packages, status, last_lines(said), delayed)

    def _path(self, *names: str) -> str:
        return os.path.join(self._place.scratch, *names)


def accounts(place: Place) -> dict[str, str]:
    """What has pseudo know the image's own users and groups by their names; without pseudo that is nothing."""
    known = os.environ.get("PSEUDO_PASSWD")
    return {"PSEUDO_PASSWD": f"{place.root}:{known}"} if known else {}


def may_run() -> bool:
    """Whether the scripts of a format may be run whose own tool never does it outside of a container.

    That is where a build has intercepts for them, and where they can do no more than its user.
    """
    return bool(os.environ.get(_INTERCEPTS)) and not _is_root()


def _is_root() -> bool:
    """Whether this is root in truth, which fakeroot, pseudo and a user namespace only tell."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            user = re.search(r"^Uid:\s+[0-9]+\s+([0-9]+)", file.read(), re.MULTILINE)
        with open("/proc/self/uid_map", encoding="ascii") as file:
            mapped = file.read().split()[:2]
    except OSError:
        return True
    return (user is None or user[1] == "0") and mapped == ["0", "0"]


def _names(folder: str) -> list[str]:
    """The names of the files in the folder of intercepts, sorted."""
    try:
        return sorted(name for name in os.listdir(folder) if os.path.isfile(os.path.join(folder, name)))
    except OSError as error:
        raise ToolError(f"cannot read {folder}, which {_INTERCEPTS} names: {error.strerror}") from error


def _digests(folder: str) -> Iterator[list[str]]:
    for path in (os.path.join(folder, name) for name in _names(folder)):
        try:
            with open(path, "rb") as file:
                yield [os.path.basename(path), hashlib.sha256(file.read()).hexdigest()]
        except OSError as error:
            raise ToolError(f"cannot read {path}: {error.strerror}") from error


def _alternatives_of_opkg() -> bool:
    """Whether the update-alternatives on the PATH is one that heeds the root."""
    path = shutil.which("update-alternatives")
    if path is None:
        return False
    try:
        with open(path, "rb") as file:
            return _KNOWS_THE_ROOT in file.read(1 << 16)
    except OSError:
        return False
