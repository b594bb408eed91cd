# SPDX-License-Identifier: MIT
"""What a package manager is to the installer: what it is asked, and what it answers.

An adapter is configuration, argument lists and the reading of outputs. Must not know layers' blobs or the delta.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...tree import Entry, Source, Tree
    from ..contents import Contents
    from ..package import Installed
    from .volatile import Volatile

LAST_LINES = 12  # of what a tool said, in a message
_LOG_LIMIT = 4 << 20  # bytes of that which are read


class Place(NamedTuple):
    """Where a tool works: `root` is the image as it stands, `scratch` a folder of the tool's own, outside of it."""

    root: str
    scratch: str


class Request(NamedTuple):
    """What a layer asks a tool for: packages by the names that feeds have, on top of those `installed`.

    None of `names` lies below already. `epoch` is the time of what is made.
    """

    layer: str
    names: tuple[str, ...]
    installed: tuple[Installed, ...]
    epoch: int


class Planned(NamedTuple):
    """A package that a tool means to install. The version is as its database writes it.

    `replaces` names packages of other names that go as it comes.
    """

    name: str
    version: str
    arch: str
    replaces: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """How an installation went, as the tool tells: `said` are its last lines, those that matter.

    `failed` names a package that the tool says it could not install, and `reason` says why; both may be empty where
    only its status tells.
    """

    done: bool
    said: tuple[str, ...] = ()
    failed: str = ""
    reason: str = ""


class Refused(Exception):  # noqa: N818 - an answer
    """A tool's dry run found no way; `said` are its last lines."""

    def __init__(self, said: Sequence[str]) -> None:
        super().__init__("\n".join(said))
        self.said = tuple(said)


class Manager(Protocol):
    """A package manager that installs into a directory.

    `tool` names it, for report and cache: `{"name": "apt", "version": "2.6.1", "dpkg": "1.21.22"}`. `databases` are the
    folders of its database, relative to the root, each with a `/` at its end; `volatile` is what else it leaves that
    is not the same in each build. `not_run` are the scripts of packages that it does not run when it installs them.
    `changes_root` says whether it works with the directory as its root, where links lead as in the image.
    """

    @property
    def tool(self) -> Mapping[str, str]: ...

    @property
    def databases(self) -> Sequence[str]: ...

    @property
    def volatile(self) -> Sequence[Volatile]: ...

    @property
    def not_run(self) -> Sequence[str]: ...

    @property
    def changes_root(self) -> bool: ...

    def prepare(self, tree: Tree, request: Request) -> Mapping[str, Entry]:
        """What the root is to hold while the tool runs: the tree's entries, but for what it must not see or needs.

        Raises:
            InputError: there is something in the tree that the tool can not work with.
        """

    def resolve(self, request: Request) -> Sequence[Planned]:
        """What would be installed, in the tool's order; a dry run.

        Raises:
            Refused: there is no way.
            ToolError: the tool can not be run.
        """

    def install(self, request: Request, held: Sequence[Contents]) -> Outcome:
        """Install into the root what `resolve` told, and what packages hold.

        Raises:
            InputError: a package has what the tool can not work with.
            ToolError: the tool can not be run.
        """

    def installed(self, tree: Source) -> Sequence[Installed]:
        """The packages that the database of a tree knows, in any state.

        Raises:
            InputError: it is damaged.
        """

    def finish(
        self, found: Mapping[str, Entry], tree: Tree, request: Request, held: Sequence[Contents]
    ) -> Mapping[str, Entry]:
        """What the image is to hold, by what was `found` in the root: `prepare` undone.

        `tree` is what the image held before, `held` what the new packages hold.
        """


def read_log(path: str) -> str:
    """What a tool said, and of very much the last: scripts of packages may print what they like."""
    with open(path, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_LIMIT))
        return file.read().decode("utf-8", "backslashreplace")


def last_lines(text: str) -> tuple[str, ...]:
    """The last lines of what a tool said, without empty ones."""
    return tuple(line.rstrip() for line in text.splitlines() if line.strip())[-LAST_LINES:]
