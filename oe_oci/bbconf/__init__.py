# SPDX-License-Identifier: MIT
"""Reads `image.conf`: BitBake's configuration syntax, with the values BitBake would find.

Must not know what any variable means. Nothing is ever evaluated, and nothing comes from the environment.

The rules are BitBake's own, also where they surprise; `tests/data/bbconf-cases.json` holds what it answered. As there,
a file whose name ends in `.inc`, `.bb` or `.bbclass` may not hold a comment inside a continued line, where any other
takes it as text. `require` and `include` look beside the file they stand in, then in the folders of `BBPATH` if a file
sets that. `FILE`, `FILE_DIRNAME` and `THISDIR` are known as they are below bitbake.conf.

It is stricter than BitBake where that would lose or bend what was written. Refused are the syntax of old releases
(`A_append`) with every operator, a flag or `??=` on `A:append`, an edit that never takes effect (`A:append:FOO`),
internal flags (`A[_x]`), a NUL byte, a file that comes to include itself, inline Python even where BitBake would leave
it as text, and files, values or references beyond any honest size.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import ConfigError, Fault
from .names import Location, Target
from .syntax import RECIPE_LIKE, Assignment, Export, Include, Parser, Statement, Unset, parse_setting, short
from .variables import Variables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Location", "Variables", "read_conf"]

FILE_LIMIT = 4 << 20  # bytes of one file
TOTAL_LIMIT = 32 << 20  # bytes of all files read, each as often as it is read
_INCLUDE_LIMIT = 1000
_DEPTH_LIMIT = 64


def read_conf(path: str, *, defaults: Mapping[str, str], settings: Sequence[str] = ()) -> Variables:
    """The variables of a file; `defaults` are weaker than it, `settings` (`VAR=VALUE`) come after its last line."""
    variables = Variables()
    for name, value in defaults.items():
        variables.assign(Target(name), "??=", value, None)
    _Reader(variables).read_all(path, settings)
    variables.finish()
    return variables


class _Reader:
    """Reads files and what they include, and applies the statements in their order."""

    def __init__(self, variables: Variables) -> None:
        self._variables = variables
        self._chain: list[tuple[str, str]] = []  # real path and shown path of the files being read
        self._files = 0
        self._bytes = 0

    def read_all(self, path: str, settings: Sequence[str]) -> None:
        try:
            data = self._load(path)
        except OSError as error:
            raise ConfigError([Fault(path, f"can not be read: {_reason(error)}")]) from error
        written = [parse_setting(setting) for setting in settings]
        faults = [item for item in written if isinstance(item, Fault)]
        self._apply(path, data, faults)
        for item in written:
            if isinstance(item, Assignment):
                self._execute(item)

    def _apply(self, path: str, data: bytes, faults: Sequence[Fault] = ()) -> None:
        statements, found = Parser(path, data).parse()
        if found or faults:
            raise ConfigError([*found, *faults])
        before = self._variables.set_file(os.path.abspath(path))
        self._chain.append((os.path.realpath(path), path))
        for statement in statements:
            self._execute(statement)
        self._chain.pop()
        if before is not None:
            self._variables.set_file(before)

    def _execute(self, statement: Statement) -> None:
        if isinstance(statement, Include):
            spot = str(statement.at)
            for name in self._variables.expand(statement.files, spot).split():
                self._include(name, statement)
        elif isinstance(statement, Export):
            self._variables.export(statement.key, statement.at)
        elif isinstance(statement, Unset) and statement.flag:
            self._variables.unset_flag(statement.key, statement.flag)
        elif isinstance(statement, Unset):
            self._variables.unset(statement.key)
        else:
            if statement.exported:
                self._variables.export(statement.target.key, statement.at)
            self._variables.assign(statement.target, statement.operator, statement.value, statement.at)

    def _include(self, name: str, statement: Include) -> None:
        spot = str(statement.at)
        path = self._find(name)
        if not path.endswith((".conf", *RECIPE_LIKE)):
            hint = "the names of the files stand alone on the line, without quotes or comment, and end in .conf or .inc"
            raise ConfigError([Fault(spot, f"{statement.verb} can not read {short(name)}", hint)])
        if os.path.realpath(path) in [real for real, _ in self._chain]:
            chain = " → ".join([*(shown for _, shown in self._chain), path])
            raise ConfigError([Fault(spot, f"the file includes itself: {chain}")])
        self._files += 1
        if self._files > _INCLUDE_LIMIT or len(self._chain) > _DEPTH_LIMIT:
            limit = f"{_INCLUDE_LIMIT} files, or {_DEPTH_LIMIT} inside each other"
            raise ConfigError([Fault(spot, f"more than {limit}, are included")])
        try:
            data = self._load(path) if os.path.isfile(path) else None
        except OSError as error:
            raise ConfigError([Fault(spot, f"{path} can not be read: {_reason(error)}")]) from error
        if data is not None:
            self._apply(path, data)
        elif statement.verb == "require":
            hint = "looked for beside the file it is required in, and in the folders of BBPATH"
            raise ConfigError([Fault(spot, f"no file {short(name)}", hint)])

    def _find(self, name: str) -> str:
        """The first file or folder of that name, beside the file being read and then along `BBPATH`."""
        folders = [os.path.dirname(self._chain[-1][1]), *filter(None, (self._variables.get("BBPATH") or "").split(":"))]
        paths = [os.path.join(folder, name) for folder in folders]
        return next((path for path in paths if os.path.exists(path)), paths[0])

    def _load(self, path: str) -> bytes:
        with open(path, "rb") as file:
            data = file.read(FILE_LIMIT + 1)
        self._bytes += len(data)
        if len(data) > FILE_LIMIT or self._bytes > TOTAL_LIMIT:
            raise ConfigError([Fault(path, "the file is too large for a configuration")])
        return data


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
