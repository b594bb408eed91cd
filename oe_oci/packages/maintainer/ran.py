# SPDX-License-Identifier: MIT
"""How a script ended. Must not know where it ran."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Ran(NamedTuple):
    """How a script ended, and the last that it said, both outputs in their order.

    The status is the exit status, or as shells have it 128 and the number of the signal that ended it. `ended` says
    why it was stopped, and is empty where it was not.
    """

    status: int
    said: str
    ended: str = ""


class Sandbox(Protocol):
    """Where scripts run."""

    def place(self, name: str, content: bytes) -> str:
        """Make a script of these bytes; the path that it has where it runs.

        Raises:
            ToolError: it can not be written.
        """

    def run(self, argv: Sequence[str], env: Mapping[str, str], *, stdin: bytes = b"") -> Ran:
        """Run a script to its end.

        Raises:
            ToolError: it can not be started.
        """


# Of the directory that holds the image, and of a folder for what a script needs.
Make = Callable[[str, str], Sandbox]
