# SPDX-License-Identifier: MIT
"""Owners by name: a tool takes the numbers that a name has on this machine, and the image is to have its own.

Must not know how a tool is called.
"""

from __future__ import annotations

import grp
import pwd
from functools import cache
from typing import TYPE_CHECKING

from ...accounts import Owners, read_names
from ...tree import Tree, join, parent, resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...config import Accounts
    from ...tree import Entry
    from ..contents import Contents


def name_owners(entries: dict[str, Entry], whole: Tree, held: Sequence[Contents], accounts: Accounts) -> Owners:
    """Give entries the owners that packages name, as the image or the declared `accounts` know them.

    `whole` is what the image held before, `held` what new packages hold. A tool asks this machine, whose numbers for a
    name are its own. What is of neither was given to another by a script.
    """
    tree = Tree(entries)
    names = read_names(tree, accounts)
    users: set[str] = set()
    groups: set[str] = set()
    parents: dict[str, str] = {}
    for member in (member for contents in held for member in contents.members):
        users.add(member.user)
        groups.add(member.group)
        path = _placed(tree, member.path, parents)
        entry = entries.get(path)
        if entry is None or entry is whole.entries.get(path) or entry.kind != member.entry.kind:
            continue
        uid, gid = entry.uid, entry.gid
        if uid in (member.entry.uid, _user_here(member.user)):
            uid = names.users.get(member.user, member.entry.uid)
        if gid in (member.entry.gid, _group_here(member.group)):
            gid = names.groups.get(member.group, member.entry.gid)
        if (uid, gid) != (entry.uid, entry.gid):
            entries[path] = entry._replace(uid=uid, gid=gid)
    return Owners(users, groups)


@cache
def _user_here(name: str) -> int | None:
    """The number of a user on this machine."""
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):
        return None


@cache
def _group_here(name: str) -> int | None:
    """The number of a group on this machine."""
    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        return None


def _placed(tree: Tree, path: str, parents: dict[str, str]) -> str:
    """Where the file of a path lies, behind links."""
    up = parent(path)
    if up not in parents:
        parents[up] = resolve(tree, up, follow=True).path
    return join(parents[up], path.rpartition("/")[2]) if path else path
