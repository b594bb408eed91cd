# SPDX-License-Identifier: MIT
"""What package managers know of a tree, in whatever format: the names of its packages, and the paths of their own.

Must not know what the packages are for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import dpkg, opkg
from .foreign import DATABASES
from .rpm import database as rpm

if TYPE_CHECKING:
    from ..tree import Source

_KEY = "gpg-pubkey"  # what rpm calls the keys of signatures among its packages
# Beside the databases: apt's marks and lists, dnf's own notes on what it installed.
_OWN = (*(root for roots in DATABASES.values() for root in roots), "var/lib/apt/", "var/lib/dnf/")


def is_managers(path: str) -> bool:
    """Whether a path is one where package managers keep what they know."""
    return f"{path}/".startswith(_OWN)


def package_names(tree: Source) -> frozenset[str]:
    """The names of all packages that are there by a tree's databases.

    Raises:
        InputError: a database is damaged.
    """
    found = (one for database in (dpkg, opkg, rpm) for one in database.read(tree) if one.whole)
    return frozenset(one.name for one in found if one.name != _KEY)
