# SPDX-License-Identifier: MIT
"""Why a layer is not the one that was kept: what differs between the two, the difference that matters first.

Compares what is written down of two layers. Must not know where layers are kept, and not read a file.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from .changeset import WHITEOUT
from .listing import COLUMNS
from .tree import DIRECTORY, join, order, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# Of one file: what it is, then what is in it, then who may do what with it.
_TELLING = ("kind", "hardlink", "target", "major", "minor", "size", "content", "mode", "uid", "gid", "xattrs", "mtime")
_LONG = 40
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


def compare(
    before: Mapping[str, Any], after: Mapping[str, Any], listings: tuple[bytes, bytes] | None
) -> list[Difference]:
    """The differences of two layers by what explains them and by their listings, where both are known.

    What explains the most comes first: the format of layers, the compressor, packages, settings, then the members.
    """
    members = list(compare_listings(*listings)) if listings is not None else []
    settings = list(compare_settings(before.get("settings", {}), after["settings"]))
    if listings is not None and not any(each.fact == _NAMES["mtime"] for each in members):
        # The layer is the same at any time.
        settings = [each for each in settings if each.subject != EPOCH]
    return [*compare_facts(before, after), *settings, *members]


def compare_facts(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    """The differences of format, compressor and packages."""
    if before.get("format") != after["format"]:
        yield Difference("oe-oci", "format of layers", str(before.get("format", "")), str(after["format"]))
    yield from _compressors(before.get("compressor", {}), after["compressor"])
    yield from _packages(before.get("packages", ()), after["packages"])


def compare_settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    """The differences of variables."""
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield Difference(name, "value", str(before.get(name, "")), str(after.get(name, "")))


def compare_listings(before: bytes, after: bytes) -> Iterator[Difference]:
    """The differences of two layers' members, by path; the listings are those of `listing.listing_of`.

    Directories that are new or gone come last: mostly they are there for what lies in them.
    """
    old, new = set(before.split(b"\n")), set(after.split(b"\n"))
    gone, come = _by_path(old - new), _by_path(new - old)
    one_sided = {path: gone.get(path) or come[path] for path in gone.keys() ^ come.keys()}
    directories = {path for path, row in one_sided.items() if row["kind"] == DIRECTORY}
    for path in sorted({*gone, *come}, key=lambda path: (path in directories, order(path))):
        yield from _member(path, gone.get(path), come.get(path))


def _by_path(lines: Iterable[bytes]) -> dict[str, dict[str, Any]]:
    rows = (dict(zip(COLUMNS, json.loads(line))) for line in lines if line)
    return {row["path"]: row for row in rows}


def _compressors(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    if before == after:
        return
    if before.get("name") != after.get("name"):
        yield Difference("compressor", "library", _titled(before), _titled(after))
        return
    for fact in sorted({*before, *after}):
        if before.get(fact) != after.get(fact):
            yield Difference(f"compressor {after['name']}", fact, str(before.get(fact, "")), str(after.get(fact, "")))


def _titled(compressor: Mapping[str, Any]) -> str:
    return " ".join(str(compressor[fact]) for fact in ("name", "version") if fact in compressor)


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
