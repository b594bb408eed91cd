# SPDX-License-Identifier: MIT
"""Packages of another format than the feeds': no package manager knows the other's files, so they are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InputError
from . import dpkg, opkg
from .package import DEB, IPK, RPM
from .rpm import database as rpm

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..tree import Source
    from .database import Database

DATABASES = {DEB: ("var/lib/dpkg/",), IPK: ("var/lib/opkg/", "usr/lib/opkg/"), RPM: tuple(f"{r}/" for r in rpm.ROOTS)}
_NAMES: dict[str, tuple[str, Database]] = {DEB: ("dpkg", dpkg), IPK: ("opkg", opkg), RPM: ("rpm", rpm)}


def check_format(tree: Source, kind: str, where: str, changed: Iterable[str] | None = None) -> None:
    """See that a tree has no packages of another format than `kind`; with `changed` only databases with those paths.

    Raises:
        InputError: it has, or a database is damaged.
    """
    paths = None if changed is None else list(changed)
    for other, (name, database) in _NAMES.items():
        touched = paths is None or any(path.startswith(DATABASES[other]) for path in paths)
        number = sum(one.whole for one in database.read(tree)) if other != kind and touched else 0
        if number:
            raise InputError(
                f"{where} has {number} packages in the database of {name}, and the feeds hold {kind} packages",
                hint="neither knows the other's files; take feeds of its format, or packages of one format alone",
            )
