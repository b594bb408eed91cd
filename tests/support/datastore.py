# SPDX-License-Identifier: MIT
"""BitBake's datastore as far as classes' Python uses it: values that refer to each other, and flags."""

from __future__ import annotations

import re

_REFERENCE = re.compile(r"\$\{([A-Za-z0-9_.+/~:-]+)\}")


class DataStore:
    """Variables and their flags; a reference to what is not set stays as it is written, as in BitBake."""

    def __init__(self, **values: str) -> None:
        self._values: dict[str, str] = dict(values)
        self._flags: dict[str, dict[str, str]] = {}

    def createCopy(self) -> DataStore:  # noqa: N802 - BitBake's names, as all here
        copy = DataStore(**self._values)
        copy._flags = {name: dict(flags) for name, flags in self._flags.items()}
        return copy

    def getVar(self, name: str, expand: bool = True) -> str | None:  # noqa: N802
        value = self._values.get(name)
        return self.expand(value) if expand and value is not None else value

    def setVar(self, name: str, value: str) -> None:  # noqa: N802
        self._values[name] = value

    def getVarFlag(self, name: str, flag: str, expand: bool = True) -> str | None:  # noqa: N802
        value = self._flags.get(name, {}).get(flag)
        return self.expand(value) if expand and value is not None else value

    def getVarFlags(self, name: str) -> dict[str, str] | None:  # noqa: N802
        return dict(self._flags[name]) if name in self._flags else None

    def setVarFlag(self, name: str, flag: str, value: str) -> None:  # noqa: N802
        self._flags.setdefault(name, {})[flag] = value

    def appendVarFlag(self, name: str, flag: str, value: str) -> None:  # noqa: N802
        self.setVarFlag(name, flag, (self.getVarFlag(name, flag, False) or "") + value)

    def expand(self, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            found = self.getVar(match[1])
            return match[0] if found is None else found

        return _REFERENCE.sub(value, text)
