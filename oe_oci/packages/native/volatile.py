# SPDX-License-Identifier: MIT
"""What package managers leave that is not the same in each build, or says nothing of the image: removed, or dated.

`docs/reference/package-managers.md` has the same tables; a test compares the two. What the image held before is left
as it was.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

REMOVED, DATED = "removed", "dated"


class Volatile(NamedTuple):
    """Paths by a pattern, in which `*` stands for any characters but `/`, with all below them.

    What is REMOVED is not in the image; what is DATED has the epoch's time, and no other.
    """

    pattern: str
    action: str
    why: str


COMMON = (
    Volatile("var/cache/ldconfig/aux-cache", REMOVED, "inode numbers and times of the build host"),
    Volatile("etc/.pwd.lock", REMOVED, "a lock"),
    *(
        Volatile(f"etc/{name}-", REMOVED, "the accounts before the last change")
        for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")
    ),
    Volatile("etc/machine-id", REMOVED, "random, and the machine's own"),
    Volatile("var/lib/dbus/machine-id", REMOVED, "random, and the machine's own"),
    Volatile("var/lib/systemd/random-seed", REMOVED, "random, and the machine's own"),
)

DPKG = (
    Volatile("var/lib/dpkg/*-old", REMOVED, "the database before the last change"),
    Volatile("var/lib/dpkg/lock", REMOVED, "a lock"),
    Volatile("var/lib/dpkg/lock-frontend", REMOVED, "a lock"),
    Volatile("var/lib/dpkg/triggers/Lock", REMOVED, "a lock"),
    Volatile("var/lib/dpkg", DATED, "the database is made by the build"),
    Volatile("var/log/dpkg.log", REMOVED, "the clock"),
    Volatile("var/log/alternatives.log", REMOVED, "the clock"),
    Volatile("var/cache/debconf/*-old", REMOVED, "the database before the last change"),
    Volatile("etc/ssh/ssh_host_*", REMOVED, "random, and a secret that no two containers share"),
    Volatile("etc/ssl/private/ssl-cert-snakeoil.key", REMOVED, "random, and a secret that no two containers share"),
    Volatile("etc/ssl/certs/ssl-cert-snakeoil.pem", REMOVED, "of that key"),
)

APT = (
    Volatile("var/log/apt", REMOVED, "the clock"),
    Volatile("var/cache/apt", REMOVED, "what is made anew when it is needed"),
    Volatile("var/lib/apt/lists", REMOVED, "feeds of the build host"),
    Volatile("var/lib/apt/extended_states", DATED, "the database is made by the build"),
)

OPKG = (
    Volatile("var/lib/opkg", DATED, "the database is made by the build"),
    Volatile("usr/lib/opkg", DATED, "the database is made by the build"),
)


# rpm's times of installation, and the pages of its database, are made the same where that is written anew.
RPM = (Volatile("var/lib/rpm/.rpm.lock", REMOVED, "a lock"),)


def matcher(table: Sequence[Volatile], action: str) -> Callable[[str], bool]:
    """Whether a path is one of those that a table has an action for."""
    patterns = (one.pattern for one in table if one.action == action)
    words = (re.escape(pattern).replace(r"\*", "[^/]*") for pattern in patterns)
    expression = re.compile(f"(?:{'|'.join(words)})(?:/.*)?", re.DOTALL)
    return lambda path: expression.fullmatch(path) is not None
