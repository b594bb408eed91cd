# SPDX-License-Identifier: MIT
"""Alternatives that packages declare: of several programs under one name the link goes to that of the highest rank.

The control field `Alternatives` of ipk packages: `rank:link:target`, separated by commas. What packages do in scripts
with update-alternatives is not seen here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .package import Installed

_ALTERNATIVE = re.compile(r"([0-9]{1,9}):(/[^:,\n]+):(/[^:,\n]+)")


class Alternative(NamedTuple):
    """A link, relative to the root, and what it leads to."""

    link: str
    target: str


def alternatives(packages: Iterable[Installed]) -> list[Alternative]:
    """The links of installed packages, each to the target of the highest rank; of equals to the first by name.

    Raises:
        InputError: a field is not as it should be.
    """
    best: dict[str, tuple[int, str, str]] = {}
    for package in packages:
        for rank, link, target in _declared(package):
            known = best.get(link)
            if known is None or (-rank, package.name) < known[:2]:
                best[link] = (-rank, package.name, target)
    return [Alternative(link, target) for link, (_, _, target) in sorted(best.items())]


def _declared(package: Installed) -> list[tuple[int, str, str]]:
    found = []
    for text in package.fields.get("Alternatives", "").split(","):
        match = _ALTERNATIVE.fullmatch(text.strip())
        parts = match[2].split("/") if match else []
        if match and ".." not in parts:
            found.append((int(match[1]), "/".join(part for part in parts if part not in ("", ".")), match[3]))
        elif text.strip():
            raise InputError(f"{package.shown}: Alternatives: {text.strip()[:200]!r} is not rank:/link:/target")
    return found
