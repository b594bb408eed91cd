# SPDX-License-Identifier: MIT
"""The users and groups that a configuration declares: `OCI_IMAGE_ACCOUNTS`. Must not know what the image has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Callable

from ..config import Accounts, Group, User
from ..errors import ConfigError, Fault, nearest
from .grammar import inside_rootfs
from .ownership import owner_id
from .settings import quoted, use, wrong

if TYPE_CHECKING:
    from .settings import Settings

_NAME = "OCI_IMAGE_ACCOUNTS"
_FORMS = {
    "user": "write user:NAME:UID, then as needed :GROUP:HOME:SHELL, such as user:shop:500::/srv/shop",
    "group": "write group:NAME:GID, then as needed :MEMBER,MEMBER, such as group:media:600:shop,www",
}
# What useradd takes; wider names break tools that read these files.
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]*\$?")
_LONGEST = 32
# As an account of a service has them where nothing else is said: no home, no login.
_HOME, _SHELL = "/nonexistent", "/usr/sbin/nologin"


def read_accounts(settings: Settings) -> Accounts:
    """The declared users and groups; a double name or number is a fault of the later one."""
    found = settings.each(_NAME, _account)
    users = tuple(one for one in found if isinstance(one, User))
    groups = tuple(one for one in found if isinstance(one, Group))
    accounts = Accounts(users, groups)
    faults = [
        *_doubles("user", [(user.name, user.uid) for user in users]),
        *_doubles("group", [(group.name, group.gid) for group in groups]),
        *_clashes(accounts),
    ]
    for fault in faults:
        settings.fault(_NAME, fault.message, fault.hint)
    return accounts


def _doubles(kind: str, declared: list[tuple[str, int]]) -> list[Fault]:
    faults = []
    names: set[str] = set()
    numbers: dict[int, str] = {}
    for name, number in declared:
        if name in names:
            faults.append(Fault("", f"the {kind} {quoted(name)} is there twice", "write one word for each"))
        elif number in numbers:
            message = f"the {kind}s {quoted(numbers[number])} and {quoted(name)} both have the number {number}"
            faults.append(Fault("", message, "write another number"))
        names.add(name)
        numbers.setdefault(number, name)
    return faults


def _clashes(accounts: Accounts) -> list[Fault]:
    """Groups of users' own that would have the number of a declared one."""
    taken = {group.gid: group.name for group in accounts.groups}
    return [
        Fault(
            "",
            f"the user {quoted(one.name)} would get a group of that name with the number {one.gid}, which is that of"
            f" the group {quoted(taken[one.gid])}",
            f"write user:{one.name}:{one.gid}:{taken[one.gid]}, or declare 'group:{one.name}:NUMBER'",
        )
        for one in accounts.own_groups
        if one.gid in taken
    ]


def _account(word: str) -> User | Group:
    kind, *fields = word.split(":")
    try:
        if kind not in _FORMS:
            raise wrong(f"{quoted(kind)} is neither 'user' nor 'group'", nearest(kind, _FORMS) or use(tuple(_FORMS)))
        return _user(fields) if kind == "user" else _group(fields)
    except ConfigError as error:
        faults = [fault._replace(message=f"account {quoted(word)}: {fault.message}") for fault in error.faults]
        raise ConfigError(faults) from None


def _user(fields: list[str]) -> User:
    if not 2 <= len(fields) <= 5:
        raise wrong("it is not user:NAME:UID:GROUP:HOME:SHELL", _FORMS["user"])
    name, uid, group, home, shell = [*fields, "", "", ""][:5]
    group = "" if group == name else group
    return User(
        *_each((_name, name), (owner_id, uid), (_group_of, group), (_path, home or _HOME), (_path, shell or _SHELL))
    )


def _group(fields: list[str]) -> Group:
    if not 2 <= len(fields) <= 3:
        raise wrong("it is not group:NAME:GID:MEMBER,MEMBER", _FORMS["group"])
    name, gid, members = [*fields, ""][:3]
    return Group(*_each((_name, name), (owner_id, gid), (_members, members)))


def _each(*fields: tuple[Callable[[str], Any], str]) -> list[Any]:
    """What each parser makes of its text. Raises ConfigError with the faults of all."""
    found: list[Any] = []
    faults: list[Fault] = []
    for parse, text in fields:
        try:
            found.append(parse(text))
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults)
    return found


def _name(text: str) -> str:
    if not text:
        raise wrong("a name is missing", "write a name such as 'shop'")
    if not _ACCOUNT.fullmatch(text):
        hint = "a name has lower-case letters, digits, '_' and '-', and starts with a letter or '_'"
        raise wrong(f"{quoted(text)} is not a name of a user or group", hint)
    if len(text) > _LONGEST:
        raise wrong(f"{quoted(text)} is longer than {_LONGEST} characters", "shorten the name")
    return text


def _group_of(text: str) -> str:
    """A group's name or number; empty where the user has one of its own."""
    if text[:1].isdigit():
        return str(owner_id(text))
    return _name(text) if text else ""


def _members(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_each(*((_name, name) for name in text.split(","))))) if text else ()


def _path(text: str) -> str:
    if not text.isprintable():
        raise wrong(f"{quoted(text)} is not printable", "write the path without control characters")
    return inside_rootfs(text)
