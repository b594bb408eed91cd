# SPDX-License-Identifier: MIT
"""BitBake's datastore and its reading of a class, as far as the classes of this layer go.

Values are expanded and overridden as BitBake does it: `${NAME}`, `${@…}`, `NAME:append`, `NAME:override`. What it can
not do it refuses, so that a test never means something else than BitBake would.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import oe_oci.bitbake
import oe_oci.bitbake_task

CLASSES = Path(__file__).parents[2] / "classes"

_REFERENCE = re.compile(r"\$\{([A-Za-z0-9_+./~:-]+)\}")
_PYTHON = re.compile(r"\$\{@(.+?)\}", re.DOTALL)
_ASSIGNMENT = re.compile(r'([A-Za-z0-9_:-]+)(?:\[([a-z-]+)\])?\s*(=|\?=|\+=|\.=)\s*"(.*)"')
_FUNCTION = re.compile(r"(python\s+|)([A-Za-z0-9_:]*)\s*\(\)\s*\{")
_ADDING = {"append": lambda old, new: old + new, "prepend": lambda old, new: new + old}


class Fatal(Exception):  # noqa: N818 - BitBake's own word
    """bb.fatal was called."""


class SkipRecipe(Exception):  # noqa: N818 - as BitBake calls it
    """The recipe is not for this machine."""


class DataStore:
    """A recipe's variables."""

    def __init__(self, values: dict[str, str] | None = None, **more: str) -> None:
        self._values: dict[str, Any] = {**(values or {}), **more}
        self._flags: dict[tuple[str, str], str] = {}

    def createCopy(self) -> DataStore:  # noqa: N802 - BitBake's names, as all here
        copy = DataStore(self._values)
        copy._flags = dict(self._flags)
        return copy

    def getVar(self, name: str, expand: bool = True) -> Any:  # noqa: N802 - as BitBake has it
        value = self._values.get(name)
        if ":" not in name:
            for override in (self._values.get("OVERRIDES") or "").split(":"):
                value = self._values.get(f"{name}:{override}", value) if override else value
            for word, add in _ADDING.items():
                more = self._values.get(f"{name}:{word}")
                value = add(value or "", more) if more is not None else value
        return self.expand(value) if expand and isinstance(value, str) else value

    def setVar(self, name: str, value: Any) -> None:  # noqa: N802
        self._values[name] = value

    def appendVar(self, name: str, value: str) -> None:  # noqa: N802
        self.setVar(name, (self.getVar(name, False) or "") + value)

    def getVarFlag(self, name: str, flag: str, expand: bool = True) -> Any:  # noqa: N802
        value = self._flags.get((name, flag))
        return self.expand(value) if expand and value else value

    def getVarFlags(self, name: str) -> dict[str, str] | None:  # noqa: N802
        return {flag: value for (known, flag), value in self._flags.items() if known == name} or None

    def setVarFlag(self, name: str, flag: str, value: str) -> None:  # noqa: N802
        self._flags[name, flag] = value

    def appendVarFlag(self, name: str, flag: str, value: str) -> None:  # noqa: N802
        self._flags[name, flag] = self._flags.get((name, flag), "") + value

    def prependVarFlag(self, name: str, flag: str, value: str) -> None:  # noqa: N802
        self._flags[name, flag] = value + self._flags.get((name, flag), "")

    def keys(self) -> list[str]:
        return list(self._values)

    def expand(self, text: str) -> str:
        while True:
            before = text
            text = _REFERENCE.sub(self._referred, text)
            text = _PYTHON.sub(lambda match: str(eval(match[1], self.names())), text)
            if text == before:
                return text

    def _referred(self, match: re.Match[str]) -> str:
        value = self.getVar(match[1])
        return match[0] if value is None else str(value)

    def names(self) -> dict[str, Any]:
        """What the Python of classes knows."""
        return {"d": self, "bb": sys.modules["bb"], "oe_oci": oe_oci}


def stand_in() -> types.ModuleType:
    """A module `bb` that notes what is said in `said`, as (level, text)."""
    bb: Any = types.ModuleType("bb")
    bb.said = []
    for level in ("debug", "note", "plain", "warn", "error"):
        setattr(bb, level, lambda *words, level=level: bb.said.append((level, words[-1])))

    def fatal(text: str) -> None:
        raise Fatal(text)

    def contains(name: str, value: str, true: Any, false: Any, d: DataStore) -> Any:
        return true if set(value.split()) <= set((d.getVar(name) or "").split()) else false

    bb.fatal = fatal
    bb.parse = types.SimpleNamespace(SkipRecipe=SkipRecipe, cached_mtime_noerror=os.path.getmtime)
    bb.utils = types.SimpleNamespace(contains=contains)
    return bb


class Class:
    """A class of this layer: `functions` are bodies by their names, that of no name the one run at parse time."""

    def __init__(self, name: str) -> None:
        self.assignments: list[tuple[str, str, str, str]] = []
        self.functions: dict[str, str] = {}
        lines = iter((CLASSES / f"{name}.bbclass").read_text(encoding="utf-8").splitlines())
        for line in lines:
            assignment, function = _ASSIGNMENT.fullmatch(line), _FUNCTION.fullmatch(line)
            if assignment:
                self.assignments.append((assignment[1], assignment[2] or "", assignment[3], assignment[4]))
            elif function:
                self.functions[function[2]] = "\n".join(iter(lambda: next(lines), "}"))
            elif line and not line.startswith("#"):
                raise ValueError(f"{name}.bbclass: not understood: {line}")

    def inherit(self, d: DataStore) -> None:
        """Have the datastore of a recipe inherit the class, at the recipe's end, and run what runs at parse time."""
        for name, flag, operator, value in self.assignments:
            if flag:
                d.appendVarFlag(name, flag, f" {value}")
            elif operator == ".=":
                d.setVar(name, (d.getVar(name, False) or "") + value)
            elif operator == "=" or d.getVar(name, False) is None:
                d.setVar(name, value)
        self.run("", d)

    def run(self, name: str, d: DataStore) -> None:
        """Run a function in Python."""
        lines = self.functions[name].splitlines()
        body = "\n".join(line.removeprefix("    ") for line in lines)
        exec(body, d.names())

    def shell(self, name: str, d: DataStore, *, before: str = "", after: str = "") -> str:
        """The text of a function in shell, expanded, with what a recipe has before and after it."""
        exported = (name for name, flag, _, _ in self.assignments if flag == "export")
        exports = "".join(f"export {name}='${{{name}}}'\n" for name in exported)
        return d.expand(f"{exports}{before}\n{self.functions[name]}\n{after}")


LOGGING = """\
set -e
bbfatal() { echo "fatal: $*"; exit 1; }
bbwarn() { echo "warn: $*"; }
bbnote() { echo "note: $*"; }
"""


def run_shell(text: str, *, prefix: tuple[str, ...] = (), cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a task's function in shell, as BitBake does: in the host's sh, stopped by the first failure."""
    argv = [*prefix, "sh", "-c", LOGGING + text]
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
