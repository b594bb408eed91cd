# SPDX-License-Identifier: MIT
"""The members of a tar archive as a JSON value: what an archive holds, kept so that it need not be unpacked again.

Must not know what the archive is of, or where such values are kept. Whoever changes what is in them changes the name
that they are kept under.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from .content import Content
from .tree import BLOCK, CHAR, DIRECTORY, FIFO, FILE, SYMLINK, Entry, decode, encode
from .untar import Member

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .untar import Archive

Locate = Callable[[int, int, str], Content]

_KINDS = {FILE: "f", DIRECTORY: "d", SYMLINK: "l", FIFO: "p", CHAR: "c", BLOCK: "b"}
_NUMBERS = ("mode", "uid", "gid", "mtime", "size")  # as `Entry` has them after the kind
_LETTERS = {letter: kind for kind, letter in _KINDS.items()}


class Listing(NamedTuple):
    """The members of an archive in their order, and of each the SHA-256 of its content, empty where that is unknown."""

    members: Sequence[Member]
    digests: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """All facts; a column each, or pairs of number and value where most members have none."""
        members, entries = self.members, [member.entry for member in self.members]
        owners: dict[tuple[str, str], int] = {}
        return {
            "path": [member.path for member in members],
            "kind": "".join(_KINDS[entry.kind] for entry in entries),
            **{name: [getattr(entry, name) for entry in entries] for name in _NUMBERS},
            "offset": [member.offset for member in members],
            "digest": list(self.digests),
            "owner": [owners.setdefault((member.user, member.group), len(owners)) for member in members],
            "owners": list(owners),
            "target": _some(entry.target for entry in entries),
            "device": _some(entry.device if any(entry.device) else None for entry in entries),
            "xattrs": _some([(key, decode(data)) for key, data in entry.xattrs] for entry in entries),
            "hardlink": [(n, member.hardlink) for n, member in enumerate(members) if member.hardlink is not None],
            "raw": _some(
                member.raw if member.raw != _usual(member.path, member.entry.kind) else None for member in members
            ),
        }


def _some(values: Iterable[Any]) -> list[tuple[int, Any]]:
    return [(number, value) for number, value in enumerate(values) if value]


def _usual(path: str, kind: str) -> str:
    """A member's name as most tools write it."""
    return f"./{path}/" if kind == DIRECTORY and path else f"./{path}"


def from_json(value: dict[str, Any], locate: Locate | None = None) -> Listing:
    """The listing that `to_json` turned into a value; `locate(offset, size, digest)` gives the contents of files."""
    paths, sizes, offsets, digests = (value[name] for name in ("path", "size", "offset", "digest"))
    kinds = [_LETTERS[letter] for letter in value["kind"]]
    hardlinks = _column(value["hardlink"], len(paths), None)
    contents: list[Content | None] = [None] * len(paths)
    if locate is not None:
        contents = [
            locate(offset, size, digest) if kind == FILE and hardlink is None else None
            for kind, hardlink, offset, size, digest in zip(kinds, hardlinks, offsets, sizes, digests)
        ]
    entries = map(
        Entry,
        kinds,
        *(value[name] for name in _NUMBERS),
        _column(value["target"], len(paths), ""),
        _column(((number, tuple(device)) for number, device in value["device"]), len(paths), (0, 0)),
        _column(((number, _attributes(pairs)) for number, pairs in value["xattrs"]), len(paths), ()),
        contents,
    )
    names = [_usual(path, kind) for path, kind in zip(paths, kinds)]
    for number, name in value["raw"]:
        names[number] = name
    owners = [value["owners"][number] for number in value["owner"]]
    users, groups = ([owner[place] for owner in owners] for place in (0, 1))
    members = map(Member, paths, entries, hardlinks, offsets, names, users, groups)
    return Listing(list(members), digests)


def _column(pairs: Iterable[tuple[int, Any]], length: int, default: Any) -> list[Any]:
    column = [default] * length
    for number, value in pairs:
        column[number] = value
    return column


def _attributes(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, bytes], ...]:
    return tuple((key, encode(data)) for key, data in pairs)


class Recorder:
    """Passes on an archive's members and their digests, and makes a list of them."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._members: list[Member] = []
        self._digests: list[str] = []

    def __iter__(self) -> Iterator[Member]:
        for member in self._archive:
            self._members.append(member)
            self._digests.append("")
            yield member

    def digest(self) -> str:
        """The SHA-256 of the current member's bytes, in hexadecimal."""
        self._digests[-1] = self._archive.digest()
        return self._digests[-1]

    @property
    def listing(self) -> Listing:
        """The members so far, with the digests that were asked for."""
        return Listing(self._members, self._digests)


class Replay:
    """Gives the members of a listing and their digests as the archive would."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._number = -1

    def __iter__(self) -> Iterator[Member]:
        for number, member in enumerate(self._listing.members):
            self._number = number
            yield member

    def digest(self) -> str:
        """The SHA-256 of the current member's bytes, in hexadecimal."""
        return self._listing.digests[self._number]
