# SPDX-License-Identifier: MIT
"""The declared users and groups in the image's own files: `etc/passwd`, `etc/group` and their shadows.

Reads these files and no others. Must not know how layers are filled or written.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from .config import Accounts, Group, User
from .content import Literal, whole
from .errors import ConfigError, Fault, InputError, nearest
from .populate import Wanted
from .tree import DIRECTORY, FILE, Entry, Overlay, ancestors, decode, encode, resolve, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from .delta import SameContent
    from .tree import Lookup, Tree

_VARIABLE = "OCI_IMAGE_ACCOUNTS"
_MODES = {"passwd": 0o644, "group": 0o644, "shadow": 0o640, "gshadow": 0o640}
# What a file begins with that the image lacks: without root an image's first processes would have no name.
_ROOT = {"passwd": "root:x:0:0:root:/root:/bin/sh\n", "group": "root:x:0:\n"}
_FIELDS = {"passwd": 7, "group": 4, "shadow": 9, "gshadow": 4}
_LARGEST = 16 << 20  # a passwd of 200,000 users


class Names(NamedTuple):
    """The numbers of users and of groups, by name."""

    users: dict[str, int]
    groups: dict[str, int]


class Owners(NamedTuple):
    """The users and groups that a layer's packages ask for by name."""

    users: Collection[str] = ()
    groups: Collection[str] = ()


def read_names(lookup: Lookup, declared: Accounts | None = None) -> Names:
    """The users and groups of an image's own files, and those declared that it lacks.

    Of two lines with one name the first holds; what is no line of an account is passed over.

    Raises:
        InputError: a file is far too large.
        ToolError: a file can not be read.
    """
    users, groups = (_File(lookup, name).numbers() for name in ("passwd", "group"))
    for user in declared.users if declared else ():
        users.setdefault(user.name, user.uid)
    for group in (*declared.groups, *declared.own_groups) if declared else ():
        groups.setdefault(group.name, group.gid)
    return Names(users, groups)


def remembered(tree: Tree) -> dict[str, Entry]:
    """The account files of a tree with their bytes, for one whose files on disk go on to change.

    Raises:
        InputError, ToolError: as for `read_names`.
    """
    files = (_File(tree, name) for name in _MODES)
    return {
        file.place: tree.entries[file.place]._replace(content=Literal(encode(file.before)))
        for file in files
        if file.before is not None
    }


def add_accounts(
    accounts: Accounts,
    wanted: Wanted,
    lower: Tree,
    same_content: SameContent,
    *,
    asked: Owners | None,
    epoch: int,
) -> Wanted:
    """What a layer wants, with the accounts it is the first to need in its account files.

    A layer needs an account that owns something it adds or changes, or that is among those `asked` for. The last one,
    for which `asked` is None, gets all that is still missing. A layer that replaces an account file keeps the declared
    accounts of the one below. Files are those that links lead to; one that is absent is made, but `etc/gshadow` is not.
    The time is `epoch`.

    Raises:
        ConfigError: the image has another account of that name or number, or lacks a group or member; lists every one.
        InputError: an account file is no regular file, or far too large.
        ToolError: a file can not be read.
    """
    due = accounts if asked is None else _due(accounts, wanted, lower, same_content, asked)
    if not due.users and not due.groups:
        return wanted
    upper = _Upper(lower, dict(wanted.entries), wanted.removed)
    files = _Files(upper)
    files.add(due, accounts)
    if asked is None:
        files.check_members(accounts)
    if files.faults:
        raise ConfigError(files.faults)
    for file in files.changed():
        upper.put(file.place, file.made(epoch), epoch)
    return Wanted(upper.entries, tuple(sorted(upper.removed)))


def _due(accounts: Accounts, wanted: Wanted, lower: Tree, same_content: SameContent, asked: Owners) -> Accounts:
    """The accounts a layer needs: a user brings its group, and the groups it is a declared member of."""
    if not accounts.users and not accounts.groups:
        return accounts
    below = read_names(lower)
    uids, gids = _owners(accounts, wanted, lower, same_content)
    own = {group.name for group in accounts.own_groups if group.gid in gids or group.name in asked.groups}
    users = tuple(
        user
        for user in accounts.users
        if user.uid in uids or user.name in own or user.name in asked.users or user.name in below.users
    )
    names = {user.name for user in users}
    primary = {user.group or user.name for user in users}
    groups = tuple(
        group
        for group in accounts.groups
        if group.gid in gids
        or group.name in asked.groups
        or group.name in below.groups
        or not primary.isdisjoint((group.name, str(group.gid)))
        or not names.isdisjoint(group.members)
    )
    return Accounts(users, groups)


def _owners(accounts: Accounts, wanted: Wanted, lower: Tree, same_content: SameContent) -> tuple[set[int], set[int]]:
    """The numbers of declared users and of groups that own something the layer adds or changes."""
    uids = {user.uid for user in accounts.users}
    gids = {group.gid for group in (*accounts.groups, *accounts.own_groups)}
    more_uids, more_gids = set(uids), set(gids)
    for path, entry in wanted.entries.items():
        if (entry.uid in more_uids or entry.gid in more_gids) and _changes(lower.entry(path), entry, same_content):
            more_uids.discard(entry.uid)
            more_gids.discard(entry.gid)
    return uids - more_uids, gids - more_gids


def _changes(below: Entry | None, entry: Entry, same_content: SameContent) -> bool:
    """Whether an entry will be in the layer: as in the delta, times do not count."""
    if below is None or _facts(below) != _facts(entry):
        return True
    if below.content is None or entry.content is None:
        return below.content is not entry.content
    return below.content != entry.content and not same_content(below.content, entry.content)


def _facts(entry: Entry) -> Entry:
    return entry._replace(mtime=0, content=None, inode=None)


class _Upper(Overlay):
    """The tree as it will be with a layer on top, which can still be added to."""

    def __init__(self, lower: Tree, entries: dict[str, Entry], removed: Collection[str]) -> None:
        super().__init__(lower, entries, removed)
        self._tree = lower

    def put(self, path: str, entry: Entry, mtime: int) -> None:
        """Add an entry, with the directories it needs, those that were to be removed too."""
        self.entries[path] = entry
        for up in ancestors(path):
            there = self.entry(up)
            if there is not None and there.kind != DIRECTORY:
                raise InputError(f"{shown(up)} is a {there.kind}: {_VARIABLE} needs a directory there")
            if there is not None:
                return
            self.entries[up] = Entry(DIRECTORY, 0o755, mtime=mtime)
            if up in self.removed:
                # Removed and made again: as the directory stays, what lay in it must go by itself.
                self.removed.remove(up)
                self.removed.update(self._tree.below([up]))


class _Files:
    """The account files as a layer has them, and what is wrong with what is to be added."""

    def __init__(self, lookup: Lookup) -> None:
        self.faults: list[Fault] = []
        self._passwd, self._group, self._shadow, self._gshadow = (_File(lookup, name) for name in _MODES)

    def add(self, due: Accounts, declared: Accounts) -> None:
        """Add what is due and missing; of accounts that are there only members are added, to groups."""
        if due.users:
            self._passwd.begin()
        users, gids = self._passwd.numbers(), self._passwd.numbers(column=3)
        new = [user for user in due.users if self._lacks(user, user.uid, users)]
        if new or due.groups or self._passwd.is_new:
            self._group.begin()
        groups = self._group.numbers()
        # A user that is there keeps its group; where a layer's own etc/group lost that, it is made again.
        lost = [user for user in due.users if gids.get(user.name) == user.uid not in groups.values()]
        own = {user.name for user in new} | {user.name for user in lost} - groups.keys()
        for group in due.groups:
            # A member without a line is a fault to the system's tools: it joins in the layer that adds it.
            members = tuple(name for name in group.members if name in users)
            self._add_group(group._replace(members=members), groups)
        for group in declared.own_groups:
            if group.name in own:
                self._add_group(group, groups, own=True)
        for group in (*declared.groups, *declared.own_groups):
            groups.setdefault(group.name, group.gid)
        for user in new:
            self._add_user(user, groups)
        if new or self._passwd.is_new:
            self._add_shadows([user.name for user in new])

    def check_members(self, declared: Accounts) -> None:
        """See that every member of a group is a user."""
        users = {*self._passwd.numbers(), *(user.name for user in declared.users)}
        for group in declared.groups:
            for name in group.members:
                if name not in users:
                    message = f"the group '{group.name}': its member '{name}' is no user of the image"
                    self._fault(message, nearest(name, users) or f"declare it: user:{name}:NUMBER")

    def changed(self) -> Iterable[_File]:
        files = (self._passwd, self._group, self._shadow, self._gshadow)
        return (file for file in files if file.text != file.before)

    def _add_user(self, user: User, groups: dict[str, int]) -> None:
        gid = int(user.group) if user.group.isdigit() else groups.get(user.group or user.name)
        if gid is None:
            message = f"the user '{user.name}': there is no group '{user.group}' in the image"
            self._fault(message, nearest(user.group, groups) or f"declare it: group:{user.group}:NUMBER")
        self._passwd.add(user.name, "x", str(user.uid), str(gid), "", user.home, user.shell)

    def _add_group(self, group: Group, groups: dict[str, int], *, own: bool = False) -> None:
        members = ",".join(group.members)
        if self._lacks(group, group.gid, groups, own=own):
            self._group.add(group.name, "x", str(group.gid), members)
            if self._gshadow.text is not None and group.name not in self._gshadow.names():
                self._gshadow.add(group.name, "!", "", members)
        for file in (self._group, self._gshadow):
            file.join(group.name, group.members)

    def _add_shadows(self, names: list[str]) -> None:
        """Locked, without a date: it would be that of a clock. A file that is made has all whose passwords it holds."""
        if self._shadow.text is None:
            names = [fields[0] for fields in self._passwd.records() if fields[1] == "x"]
        self._shadow.begin()
        there = self._shadow.names()
        for name in names:
            if name not in there:
                self._shadow.add(name, "!", *[""] * 7)

    def _lacks(self, account: User | Group, number: int, known: dict[str, int], *, own: bool = False) -> bool:
        """Whether an account is to be added, and is then known; a fault where it can not be."""
        kind, name = "user" if isinstance(account, User) else "group", account.name
        there = known.get(name)
        if there == number:
            return False
        other = next((one for one, taken in known.items() if taken == number), None)
        what = f"the {kind} '{name}' {'of a user ' if own else ''}is to have number {number}"
        if there is not None:
            hint = f"write user:{name}:{number}:{there}" if own else f"write {kind}:{name}:{there}, or another name"
            self._fault(f"{what}; in the image it has {there}", hint)
        elif other is not None:
            hint = f"write user:{name}:{number}:{other}, or another number" if own else "write another number"
            self._fault(f"{what}; in the image that is the {kind} '{other}'", hint)
        else:
            known[name] = number
            return True
        return False

    def _fault(self, message: str, hint: str) -> None:
        self.faults.append(Fault(_VARIABLE, message, hint))


class _File:
    """An account file: where it lies, and its text, None where there is none. Lines of another form stay untouched."""

    def __init__(self, lookup: Lookup, name: str) -> None:
        found = resolve(lookup, f"etc/{name}", follow=True)
        self._name, self.place, self._entry = name, found.path, found.entry
        self.before = _read(found.path, found.entry) if found.entry is not None and found.entry.kind == FILE else None
        self.text = self.before

    @property
    def is_new(self) -> bool:
        return self.before is None and self.text is not None

    def records(self) -> list[list[str]]:
        """The fields of the lines that have as many as they should."""
        lines = (line.split(":") for line in (self.text or "").split("\n"))
        return [fields for fields in lines if len(fields) == _FIELDS[self._name] and fields[0]]

    def names(self) -> set[str]:
        return {fields[0] for fields in self.records()}

    def numbers(self, column: int = 2) -> dict[str, int]:
        """The number each name has in a column; of two lines with one name the first holds."""
        found: dict[str, int] = {}
        for fields in self.records():
            if re.fullmatch("[0-9]{1,10}", fields[column]):
                found.setdefault(fields[0], int(fields[column]))
        return found

    def begin(self) -> None:
        """Make the file where there is none. Raises InputError where something else is in its place."""
        if self._entry is not None and self._entry.kind != FILE:
            raise InputError(f"{shown(self.place)} is a {self._entry.kind}: {_VARIABLE} needs a file there")
        if self.text is None:
            self.text = _ROOT.get(self._name, "")

    def add(self, *fields: str) -> None:
        text = self.text or ""
        end = "\n" if text and not text.endswith("\n") else ""
        self.text = f"{text}{end}{':'.join(fields)}\n"

    def join(self, name: str, members: tuple[str, ...]) -> None:
        """Add members to a group that lacks them."""
        lines = (self.text or "").split("\n")
        for place, line in enumerate(lines):
            fields = line.split(":")
            if fields[0] == name and len(fields) == _FIELDS[self._name]:
                there = [member for member in fields[3].split(",") if member]
                more = [member for member in members if member not in there]
                if more:
                    lines[place] = ":".join([*fields[:3], ",".join([*there, *more])])
                    self.text = "\n".join(lines)
                return

    def made(self, epoch: int) -> Entry:
        """The entry of the file as it is now."""
        data = encode(self.text or "")
        entry = self._entry or Entry(FILE, _MODES[self._name])
        return entry._replace(mtime=epoch, size=len(data), content=Literal(data), inode=None)


def _read(path: str, entry: Entry) -> str:
    assert entry.content is not None
    if entry.size > _LARGEST:
        raise InputError(f"{shown(path)} has {entry.size} bytes, too many for a file of accounts")
    return decode(whole(entry.content))
