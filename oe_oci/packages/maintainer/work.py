# SPDX-License-Identifier: MIT
"""The directory that scripts of packages run in: the image as it stands, and what a script made of it.

It is in this process where that has the rights of root, in truth or as fakeroot or pseudo tell it, and else with a
worker that has. Must not know packages, nor how a script is kept apart from this machine.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Callable, Protocol

from ..native.root import WorkRoot
from .remote import RemoteWork
from .subordinate import DENIED, settings
from .worker import PURPOSE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...tree import Entry
    from .ran import Make, Ran


class Work(Protocol):
    """The directory `root`; `scratch` is a folder of the build's own beside it. A context manager that removes both."""

    @property
    def root(self) -> str: ...

    @property
    def scratch(self) -> str: ...

    def sync(self, entries: Mapping[str, Entry]) -> None:
        """Make the directory hold these entries and nothing else.

        Raises:
            InputError, ToolError: a content can not be read, or something not be made.
        """

    def begin(self) -> None:
        """To be called before scripts are run: what is changed from now on was changed by them."""

    def scan(self, dated: Callable[[str], bool] = ...) -> dict[str, Entry]:
        """What the directory holds, by path; what did not change has the entry it had.

        The paths that are to be `dated` have the time of what a script makes, whatever theirs is. The contents can be
        read until the directory is changed again.

        Raises:
            InputError, ToolError: something can not be read, or can not be in an image.
        """

    def forget(self, path: str) -> list[str]:
        """Remove a path, and all below it; what was removed of what is known."""

    def place(self, name: str, content: bytes) -> str:
        """Make a script of these bytes; the path that it has where it runs.

        Raises:
            ToolError: it can not be written.
        """

    def run(self, argv: Sequence[str], env: Mapping[str, str], stdin: bytes = b"") -> Ran:
        """Run a script in the sandbox.

        Raises:
            ToolError: it can not be started.
        """

    def __enter__(self) -> Work: ...

    def __exit__(self, *_: object) -> None: ...


class LocalWork:
    """A `Work` in the folder `folder`, by this process. The parameters are those of `open_work`."""

    def __init__(self, folder: str, epoch: int | None, jobs: int, sandbox: Make) -> None:
        self._disk = WorkRoot(folder, epoch, jobs, purpose=PURPOSE, hint=DENIED)
        self._sandbox = sandbox(self._disk.path, self._disk.scratch)
        self.root = self._disk.path
        self.scratch = self._disk.scratch
        self.sync = self._disk.sync
        self.begin = self._disk.begin
        self.scan = self._disk.scan
        self.forget = self._disk.forget
        self.place = self._sandbox.place

    def __enter__(self) -> LocalWork:
        self._disk.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._disk.__exit__(*error)

    def run(self, argv: Sequence[str], env: Mapping[str, str], stdin: bytes = b"") -> Ran:
        return self._sandbox.run(argv, env, stdin=stdin)


def open_work(folder: str, epoch: int | None, jobs: int, sandbox: Make) -> Work:
    """A place for scripts in the folder `folder`, which is made.

    `epoch` and `jobs` are as of `WorkRoot`; `sandbox` makes what scripts run in: a function at the top of a module, or
    a partial of one with arguments of plain text, numbers and lists.

    Raises:
        ToolError: the caller has neither the rights of root nor subordinate ids; the hint says what to do.
    """
    # Under fakeroot and pseudo they tell so.
    if os.geteuid() == 0:
        return LocalWork(folder, epoch, jobs, sandbox)
    return RemoteWork(folder, epoch, jobs, sandbox, settings())
