# SPDX-License-Identifier: MIT
"""What an installer asks for, whatever becomes of the scripts of packages. Must not know what they do."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Callable, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...delta import Delta
    from ...populate import Wanted
    from ...tree import Entry, Source, Tree
    from ..contents import Contents
    from ..database import Written
    from ..package import Installed
    from ..resolve import Selected
    from ..world import Facts


class Job(NamedTuple):
    """The packages that a layer installs, of a format, and what each holds.

    `world` says what they need, `installed` are those below, of any state. `leaving` has the control files of those of
    them that earlier layers brought, by name, version and architecture, for what their database does not tell.
    `written` makes the database as it is after the layer, on top of what is given; it is there once the files have
    their places, where the layer has it not itself. `owned` is there then where files have owners that the image does
    not know: what of a tree has others, by the accounts that it has.
    """

    layer: str
    kind: str
    selected: Sequence[Selected]
    held: Sequence[Contents]
    world: Facts
    installed: Sequence[Installed]
    leaving: Mapping[tuple[str, str, str], Mapping[str, bytes]] = MappingProxyType({})
    written: Callable[[Source], Written] | None = None
    owned: Callable[[Tree], Mapping[str, Entry]] | None = None


class Maintainer(Protocol):
    """Does what is to become of scripts, before the files of a layer's packages are placed and after."""

    def before(self, job: Job, tree: Tree) -> Tree:
        """What lies below, with what scripts made that run before the files are there.

        Raises:
            InputError, ToolError: a script failed, or none can be run here.
        """

    def after(self, job: Job, tree: Tree, below: Tree, wanted: Wanted) -> Wanted:
        """What a layer wants on top of `tree`, where it wants `wanted` on top of `below`, with what scripts make.

        Raises:
            InputError, ToolError: a script failed, or none can be run here.
        """

    def waits(self) -> bool:
        """Whether scripts that make accounts have yet to run when owners are looked up."""

    def left(self, names: Sequence[str]) -> tuple[str, ...]:
        """Which of the scripts of a package did not run."""

    def keep(self, delta: Delta, shape: str, key: str) -> None:
        """Have later builds know what scripts of the layer did that became `delta`, by its place in the cache."""

    def withheld(self, tree: Tree) -> Mapping[str, Entry]:
        """What scripts know of the database, and keep in its place, which layers lack: for a layer on `tree`."""


class Skip:
    """Runs nothing."""

    def before(self, job: Job, tree: Tree) -> Tree:  # noqa: ARG002 - of the protocol
        return tree

    def after(self, job: Job, tree: Tree, below: Tree, wanted: Wanted) -> Wanted:  # noqa: ARG002 - of the protocol
        return wanted

    def waits(self) -> bool:
        return False

    def left(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(names)

    def keep(self, delta: Delta, shape: str, key: str) -> None:
        """Nothing was done."""

    def withheld(self, tree: Tree) -> Mapping[str, Entry]:  # noqa: ARG002 - of the protocol
        return {}
