# SPDX-License-Identifier: MIT
"""The members of a package's payload, with the facts that its header has of them.

Must not know how payloads are compressed, or where the files will lie.
"""

from __future__ import annotations

import contextlib
import hashlib
import stat
from collections import Counter
from typing import TYPE_CHECKING

from ... import tree
from ...content import Part
from ...stream import PieceStream
from ...tree import Entry, decode, encode, shown
from ...untar import Member
from ..contents import gathered
from ..paths import Paths
from . import capabilities, tags
from .cpio import Archive
from .files import inside
from .sums import MD5, SHA256, new_sum

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from ..contents import Keeper
    from .cpio import Item
    from .files import File
    from .header import Header
    from .sums import State

_LATEST = 0xFFFFFFFF  # time of a file; rpm has no later ones


def read_members(
    header: Header, files: Sequence[File], plain: Iterator[bytes], payload: Keeper, key: str
) -> tuple[Member, ...]:
    """The members of the uncompressed archive `plain`, whose bytes go to `payload`; `files` are all of the package's.

    `key` is what the package's inodes are known by.

    Raises:
        InputError: the archive is damaged, or does not hold what the header says.
        ToolError: `payload` can not be kept.
    """
    members = _Members(header, files, payload, key)
    with contextlib.closing(_kept(plain, payload)) as pieces:
        return members.read(Archive(PieceStream(pieces), f"{header.where}: payload"))


def _kept(plain: Iterator[bytes], payload: Keeper) -> Generator[bytes, None, None]:
    for piece in gathered(plain):
        payload.write(piece)
        yield piece


class _Members:
    """The members so far; each is held against what the header has of it."""

    def __init__(self, header: Header, files: Sequence[File], payload: Keeper, key: str) -> None:
        self._where = header.where
        self._files = files
        self._payload = payload
        self._key = key
        self._algorithm = header.number(tags.FILEDIGESTALGO, MD5)
        self._paths = Paths(header.where)
        self._numbers = {file.path: number for number, file in enumerate(files)}
        if len(self._numbers) != len(files):
            raise header.damaged("names a file twice")
        self._missing = {number for number, file in enumerate(files) if not file.ghost}
        # Of each inode how many of its names are still to come: its content is with the last one.
        self._to_come = Counter(files[number].inode for number in self._missing if stat.S_ISREG(files[number].mode))
        self._names: dict[tuple[int, int], list[int]] = {}  # of each inode that has several, their places in `_found`
        self._found: list[Member] = []

    def read(self, archive: Archive) -> tuple[Member, ...]:
        for item in archive:
            self._add(item, archive)
        if self._missing:
            path = self._files[min(self._missing)].path
            raise self._paths.fault(path, "is in the header of the package, but not in its payload")
        return tuple(self._found)

    def _add(self, item: Item, archive: Archive) -> None:
        file = self._file(item)
        entry = self._entry(file)
        if item.number is None and stat.S_IFMT(item.mode) != stat.S_IFMT(file.mode):
            raise self._paths.fault(file.path, f"is a {entry.kind} by its header, and something else in the payload")
        facts = len(file.target) + 100 * len(entry.xattrs)
        self._paths.add(file.path, facts, directory=entry.kind == tree.DIRECTORY)
        raw = f"./{file.path}" if item.number is not None else decode(item.name)
        member = Member(file.path, entry, None, archive.position, raw, file.user, file.group)
        if entry.kind == tree.FILE:
            self._add_file(member, file, item, archive)
            return
        self._check_size(file, item, len(encode(entry.target)))
        if b"".join(archive.data(len(encode(entry.target)))) != encode(entry.target):
            raise self._paths.fault(file.path, "is a link to something else in the payload than by its header")
        self._found.append(member)

    def _file(self, item: Item) -> File:
        """What the header has of a member."""
        if item.number is None:
            path = inside(decode(item.name), self._where)
            number = self._numbers.get(path, len(self._files))
        else:
            path, number = f"#{item.number}", item.number
        if number >= len(self._files):
            raise self._paths.fault(path, "is in the payload of the package, but not in its header")
        file = self._files[number]
        if number not in self._missing:
            raise self._paths.fault(file.path, "is a ghost, but in the payload" if file.ghost else "is in it twice")
        self._missing.remove(number)
        return file

    def _entry(self, file: File) -> Entry:
        """A member's facts, without what only the payload has."""
        kind = tree.kind_of(file.mode)
        if not kind or (not file.path and kind != tree.DIRECTORY):
            raise self._paths.fault(file.path, f"nothing of mode {file.mode:o} can be there")
        if file.mtime > _LATEST or (kind == tree.SYMLINK and not file.target):
            raise self._paths.fault(file.path, "has a time out of bounds, or is a link to nothing")
        xattrs: tuple[tuple[str, bytes], ...] = ()
        if kind == tree.FILE and file.capabilities:
            data = capabilities.attribute(file.capabilities, f"{self._where}: {shown(file.path)}")
            xattrs = ((capabilities.XATTR, data),)
        return Entry(
            kind=kind,
            mode=0o777 if kind == tree.SYMLINK else stat.S_IMODE(file.mode),
            mtime=file.mtime,
            target=file.target if kind == tree.SYMLINK else "",
            device=(file.device >> 8 & 0xFF, file.device & 0xFF) if kind in (tree.CHAR, tree.BLOCK) else (0, 0),
            xattrs=xattrs,
        )

    def _add_file(self, member: Member, file: File, item: Item, archive: Archive) -> None:
        """Take a name of an inode; the last one brings the content."""
        self._to_come[file.inode] -= 1
        last = not self._to_come[file.inode]
        self._check_size(file, item, file.size if last else 0)
        content = self._content(file, archive) if last else None
        member = member._replace(entry=member.entry._replace(size=file.size, content=content))
        self._found.append(member)
        if not last or file.inode in self._names:
            names = self._names.setdefault(file.inode, [])
            names.append(len(self._found) - 1)
            if last:
                self._link(names, member, file)

    def _link(self, names: Sequence[int], last: Member, file: File) -> None:
        """Give all names of an inode, by their places in what was found, what the last one has: also its facts.

        rpm sets those once it has written the content.
        """
        first = self._found[names[0]].path
        entry = last.entry._replace(inode=(self._key, first))
        for number in names:
            member = self._found[number]
            said = self._files[self._numbers[member.path]]
            if (said.size, said.digest) != (file.size, file.digest):
                message = f"is another name of {shown(last.path)}, and by its header has other content"
                raise self._paths.fault(member.path, message)
            hardlink = None if number == names[0] else first
            self._found[number] = last._replace(path=member.path, entry=entry, hardlink=hardlink, raw=member.raw)

    def _check_size(self, file: File, item: Item, expected: int) -> None:
        size = item.size
        if item.number is not None:
            size = file.size if expected else 0
        if size != expected:
            raise self._paths.fault(file.path, f"has {size} bytes in the payload, and {expected} by its header")

    def _content(self, file: File, archive: Archive) -> Part:
        """A file's bytes, held against their sum in the header."""
        offset, digest = archive.position, hashlib.sha256()
        states: list[State] = [digest]
        if file.digest and self._algorithm != SHA256:
            states.append(new_sum(self._algorithm, self._where))
        for piece in archive.data(file.size):
            for state in states:
                state.update(piece)
        found = states[-1].hexdigest()
        if file.digest and found != file.digest.lower():
            raise self._paths.fault(file.path, f"damaged: its sum is {found}, not {file.digest[:200]!r}")
        return Part(self._payload, offset, file.size, digest.hexdigest())
