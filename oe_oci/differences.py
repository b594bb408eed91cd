# SPDX-License-Identifier: MIT
"""Why a layer is not the one that was kept: what differs between the two, the difference that matters first.

Compares what is written down of two layers. Must not know where layers are kept, and not read a file.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from .changeset import WHITEOUT
from .listing import COLUMNS
from .tree import DIRECTORY, join, order, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# Of one file: what it is, then what is in it, then who may do what with it.
_TELLING = ("kind", "hardlink", "target", "major", "minor", "size", "content", "mode", "uid", "gid", "xattrs", "mtime")
_LONG = 40
_ENOUGH = 1000  # differing lines among which the first difference is looked for
EPOCH = "SOURCE_DATE_EPOCH"
_NAMES = {"hardlink": "hard link to", "uid": "owner", "gid": "group", "xattrs": "attributes", "mtime": "time"}


class Difference(NamedTuple):
    """One fact of a layer that is not as it was: `before` and `after` are empty where there was or is nothing."""

    subject: str
    fact: str
    before: str
    after: str

    def __str__(self) -> str:
        if not self.fact:
            return f"{self.subject}: {'added' if not self.before else 'removed'}"
        fact = "" if self.fact == "value" else f"{self.fact} "
        return f"{self.subject}: {fact}{_short(self.before)}→{_short(self.after)}"

    def to_json(self) -> dict[str, str]:
        return dict(self._asdict())


def _short(value: str) -> str:
    value = value or "none"
    return value if len(value) <= _LONG else f"{value[:12]}…"


class Changes(NamedTuple):
    """Two layers that differ: what explains each, and the lines of its listing that the other one lacks.

    `gone` and `come` are lines of `listing.listing_of`, put together by `lines_of`; None where the listings can not be
    compared.
    """

    before: Mapping[str, Any]
    after: Mapping[str, Any]
    gone: bytes | None
    come: bytes | None

    def differences(self, most: int | None = None) -> list[Difference]:
        """The differences; what explains the most comes first: format, programs, packages, settings, then members.

        With `most` only so many lines of each listing are looked at.
        """
        members = None
        if self.gone is not None and self.come is not None:
            gone, come = (zlib.decompress(lines).split(b"\n")[:most] for lines in (self.gone, self.come))
            members = list(_members(gone, come))
        settings = compare_settings(self.before.get("settings", {}), self.after["settings"])
        told = (each for each in settings if members is None or each.subject != EPOCH or _is_written(each, members))
        return [*compare_facts(self.before, self.after), *told, *(members or ())]

    def first(self) -> Difference | None:
        """The first difference, or one like it where there are very many."""
        return next(iter(self.differences(_ENOUGH)), None)


def lines_of(lines: Iterable[bytes]) -> bytes:
    """Lines of a listing for `Changes`; they take little room."""
    return zlib.compress(b"\n".join(sorted(lines)), 1)


def _is_written(epoch: Difference, members: Iterable[Difference]) -> bool:
    """Whether any member's time follows the epoch: else the layer is the same at any time."""
    times = [each for each in members if each.fact == _NAMES["mtime"]]
    return any(each.before == epoch.before or each.after == epoch.after for each in times)


def compare_facts(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    """The differences of format, compressor, package manager and packages."""
    if before.get("format") != after["format"]:
        yield Difference("oe-oci", "format of layers", str(before.get("format", "")), str(after["format"]))
    yield from _tools("compressor", "library", before.get("compressor", {}), after["compressor"])
    manager = after.get("manager", {})
    # What was kept before there was a choice does not tell.
    yield from _tools("package manager", "tool", before.get("manager", manager), manager)
    yield from _packages(before.get("packages", ()), after["packages"])


def compare_settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    """The differences of variables."""
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield Difference(name, "value", str(before.get(name, "")), str(after.get(name, "")))


def _members(gone: Iterable[bytes], come: Iterable[bytes]) -> Iterator[Difference]:
    """The differences of two layers' members, by path.

    Directories that are new or gone come last: mostly they are there for what lies in them.
    """
    before, after = _by_path(gone), _by_path(come)
    one_sided = {path: before.get(path) or after[path] for path in before.keys() ^ after.keys()}
    directories = {path for path, row in one_sided.items() if row["kind"] == DIRECTORY}
    for path in sorted({*before, *after}, key=lambda path: (path in directories, order(path))):
        yield from _member(path, before.get(path), after.get(path))


def _by_path(lines: Iterable[bytes]) -> dict[str, dict[str, Any]]:
    rows = (dict(zip(COLUMNS, json.loads(line))) for line in lines if line)
    return {row["path"]: row for row in rows}


def _tools(kind: str, what: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    """The differences of a program or library, which has a name and other facts."""
    if before == after:
        return
    if before.get("name") != after.get("name"):
        yield Difference(kind, what, _titled(before), _titled(after))
        return
    for fact in sorted({*before, *after}):
        if before.get(fact) != after.get(fact):
            yield Difference(f"{kind} {after['name']}", fact, str(before.get(fact, "")), str(after.get(fact, "")))


def _titled(tool: Mapping[str, Any]) -> str:
    return " ".join(str(tool[fact]) for fact in ("name", "version") if fact in tool)


def _packages(before: Iterable[Any], after: Iterable[Any]) -> Iterator[Difference]:
    old, new = ({(name, arch): (version, digest) for name, arch, version, digest in each} for each in (before, after))
    changed = [one for one in new if one in old and old[one] != new[one]]
    for name, arch in [*changed, *(one for one in new if one not in old), *(one for one in old if one not in new)]:
        was, now = old.get((name, arch), ("", "")), new.get((name, arch), ("", ""))
        if not was[0] or not now[0]:
            yield Difference(f"package {name} {was[0] or now[0]}", "", was[0], now[0])
        elif was[0] != now[0]:
            yield Difference(f"package {name}", "version", was[0], now[0])
        else:
            yield Difference(f"package {name} {now[0]}", "file digest", was[1], now[1])


def _member(path: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Iterator[Difference]:
    kinds = ["" if row is None else str(row["kind"]) for row in (before, after)]
    folder, _, name = path.rpartition("/")
    subject = f"{kinds[1] or kinds[0]} {shown(path)}"
    if name.startswith(WHITEOUT):
        subject = f"removal of {shown(join(folder, name[len(WHITEOUT) :]))}"
    if before is None or after is None:
        yield Difference(subject, "", *kinds)
        return
    # Only the first name of an inode has its content.
    linked = before["hardlink"] != after["hardlink"]
    for fact in _TELLING:
        if before[fact] != after[fact] and not (linked and fact == "content"):
            yield Difference(subject, _NAMES.get(fact, fact), _value(fact, before[fact]), _value(fact, after[fact]))


def _value(fact: str, value: Any) -> str:
    if fact == "mode":
        return f"{value:04o}"
    return shown(value) if fact == "hardlink" and value else str(value)
