# SPDX-License-Identifier: MIT
"""What can go wrong, in the classes that decide the exit code.

A library function raises; only the front ends turn an error into text and an exit status. Everything that is not
an `OciError` is a bug (exit status 1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class OciError(Exception):
    """An error its reader can mend: a message, and a hint on what to do."""

    exit_code = 3

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class Fault(NamedTuple):
    """One fault of a configuration: where it stands (file:line and variable), what it is, what to do."""

    where: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n  {self.hint}" if self.hint else text


class ConfigError(OciError):
    """A configuration is wrong; holds every fault found, not only the first."""

    exit_code = 2

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class InputError(OciError):
    """The content of an input (rootfs, archive, base image, layout) can not be used."""

    exit_code = 2


class ToolError(OciError):
    """A program, the disk, a permission or the network failed."""

    exit_code = 3


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word most like `word`, as a question to append to a message; empty when none is near."""
    import difflib  # noqa: PLC0415 - for faults alone

    matches = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.7)
    return f"did you mean {matches[0]}?" if matches else ""
