# SPDX-License-Identifier: MIT
"""Owners and modes that a configuration states: `OCI_HOST_OWNER` and `OCI_IMAGE_PATHS`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..config import PathRule
from ..errors import ConfigError
from .grammar import inside_rootfs
from .settings import quoted, wrong

if TYPE_CHECKING:
    from .settings import Settings

_LAST_ID = 2**32 - 2  # the one above means "no owner" to chown(2)
_RULE_HINT = "write path:mode:uid:gid, such as /etc/shadow:0640:0:42, or path:remove"


def read_host_owner(settings: Settings) -> tuple[int, int] | None:
    """The owner of host layers' files; None where they keep the one they have."""
    usual: tuple[int, int] | None = (0, 0)
    return settings.parsed("OCI_HOST_OWNER", _owner, usual)


def read_path_rules(settings: Settings) -> tuple[PathRule, ...]:
    name = "OCI_IMAGE_PATHS"
    rules: dict[str, PathRule] = {}
    for rule in settings.each(name, _rule):
        if rule.path in rules:
            settings.fault(name, f"the path {quoted(rule.path)} is there twice", "write one rule for each path")
        rules[rule.path] = rule
    return tuple(rules.values())


def _owner(text: str) -> tuple[int, int] | None:
    if text == "keep":
        return None
    uid, colon, gid = text.partition(":")
    if not (colon and uid and gid):
        raise wrong(f"{quoted(text)} is not uid:gid", "write two numbers, such as '0:0', or 'keep'")
    return owner_id(uid), owner_id(gid)


def _rule(word: str) -> PathRule:
    try:
        return _parse_rule(word)
    except ConfigError as error:
        fault = error.faults[0]
        raise wrong(f"rule {quoted(word)}: {fault.message}", fault.hint) from None


def _parse_rule(word: str) -> PathRule:
    if word.endswith(":remove"):
        path = inside_rootfs(word[: -len(":remove")])
        if path == "/":
            raise wrong("the root can not be removed", "write the paths below it")
        return PathRule(path, remove=True, mode=None, uid=None, gid=None)
    path, *fields = word.rsplit(":", 3)
    if len(fields) < 3:
        raise wrong("it is not path:mode:uid:gid or path:remove", _RULE_HINT)
    if not any(fields):
        raise wrong("it sets nothing", _RULE_HINT)
    mode, uid, gid = fields
    return PathRule(
        inside_rootfs(path),
        remove=False,
        mode=_mode(mode) if mode else None,
        uid=owner_id(uid) if uid else None,
        gid=owner_id(gid) if gid else None,
    )


def _mode(text: str) -> int:
    if not re.fullmatch(r"[0-7]{1,5}", text) or int(text, 8) > 0o7777:
        raise wrong(f"{quoted(text)} is not a mode", "write octal digits from 0 to 7777, such as 0755")
    return int(text, 8)


def owner_id(text: str) -> int:
    """The number of a user or group. Raises ConfigError."""
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > _LAST_ID:
        raise wrong(f"{quoted(text)} is not a user or group number", f"write a number from 0 to {_LAST_ID}")
    return int(text)
