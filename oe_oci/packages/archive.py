# SPDX-License-Identifier: MIT
"""Reading a package's file, .deb or .ipk, in one pass: what its control data says, what it holds.

A package is an ar archive of `debian-binary`, `control.tar` and `data.tar`, or, the old form of ipk, a gzipped tar of
the same three; follows deb(5), deb-conffiles(5). Must not know feeds, other packages or where the files will lie.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from .. import decompress
from ..changeset import content_xattrs
from ..content import Part
from ..errors import InputError
from ..stream import PieceStream
from ..tree import DIRECTORY, FILE, decode, shown
from ..untar import BLOCK, Archive, Member
from .ar import MAGIC, Ar
from .contents import Contents, PackageFile, gathered
from .control import parse_control
from .paths import Paths

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from .contents import Keeper

_VERSION, _CONTROL, _DATA = "debian-binary", "control.tar", "data.tar"  # in the order deb(5) asks for
_CONFFILE = re.compile(rb"(remove-on-upgrade\s+)?(/.*)")
_FORMAT = re.compile(rb"2\.[0-9]+(?:\n|\Z)")
_SUFFIXES = {"": decompress.NONE, ".gz": decompress.GZIP, ".xz": decompress.XZ, ".zst": decompress.ZSTD,
             ".bz2": decompress.BZIP2, ".lzma": decompress.LZMA}  # fmt: skip
_OUTER_MEMBERS = 100
_CONTROL_LIMIT = 64 << 20  # of all control data
_CONTROL_FILE = 16 << 20  # of one of its files; Debian's largest, a list of symbols, has 6 MiB
_HEADERS = 64 << 20  # of a payload that are neither content nor a plain header of a member


def read_control(path: str, where: str) -> dict[str, str]:
    """The fields of a package's control file; the payload is not unpacked. `where` names the package in messages.

    Raises:
        InputError: the file is no package, or damaged as far as it was read.
        ToolError: it can not be read.
    """
    with PackageFile(path, where) as file:
        for kind, name, data in _parts(file, None):
            if kind == _CONTROL:
                return parse_control(_control(data, name, where)["control"], f"{where}: control")
    raise AssertionError  # _parts has raised where there is none


def read_package(
    path: str,
    where: str,
    payload: Keeper,
    *,
    size: int | None = None,
    digest: str | None = None,
    limit: int | None = None,
) -> Contents:
    """Read a package's file once, from its start to its end; `payload` gets the uncompressed data.tar.

    `size` and `digest` (of any kind) are what the file must have, where known. `limit` bounds the bytes of
    the payload (default: what the file's size makes plausible).

    Raises:
        InputError: the file is not what `size` and `digest` say, is no package, or is damaged or hostile.
        ToolError: it can not be read, or `payload` not be kept.
    """
    with PackageFile(path, where, size, digest) as file:
        control: dict[str, bytes] = {}
        members: tuple[Member, ...] = ()
        try:
            for kind, name, data in _parts(file, limit):
                if kind == _CONTROL:
                    control = _control(data, name, where)
                else:
                    bound = decompress.limit_for(file.length, limit)
                    plain = decompress.decompress(data, _SUFFIXES[name[len(_DATA) :]], f"{where}: {name}", limit=bound)
                    members = _Members(f"{where}: {name}", path, payload).read(plain)
            fields = parse_control(control["control"], f"{where}: control")
            conffiles = _conffiles(control.get("conffiles", b""), where)
        except InputError as error:
            # Why a file can not be read is said best by that it is another one.
            file.check(error)
            raise
        file.check()
        return Contents(fields, control, conffiles, members, payload, file.digest.hexdigest(), file.length)


# ---- the outer archive


def _parts(file: PackageFile, limit: int | None) -> Iterator[tuple[str, str, Iterator[bytes]]]:
    """`control.tar` and `data.tar`: which one, the member's full name and its bytes, to be read before the next one.

    All that deb(5) asks of the outer archive is checked. What follows once all are there is passed over.
    """
    kinds = (_VERSION, _CONTROL, _DATA)
    seen: list[str] = []
    head = next(file.pieces, b"")
    # Tools that make ipk have written any order.
    ordered = head.startswith(MAGIC) and not file.path.endswith(".ipk")
    for number, (name, data) in enumerate(_outer(head, file, limit)):
        kind = next((kind for kind in kinds if name.startswith(kind)), "")
        if number == _OUTER_MEMBERS:
            raise InputError(f"{file.where}: has more than {_OUTER_MEMBERS} members")
        if not kind and (name.startswith("_") or len(seen) == len(kinds)):
            continue
        if not kind or name[len(kind) :] not in (_SUFFIXES if kind != _VERSION else ("",)):
            raise InputError(f"{file.where}: its member {name!r} has no place in a package")
        if kind in seen:
            raise InputError(f"{file.where}: has two members {kind}")
        if ordered and kind != kinds[len(seen)]:
            raise InputError(f"{file.where}: its member {name} stands where {kinds[len(seen)]} must")
        seen.append(kind)
        if kind == _VERSION:
            _check_format(next(data, b""), file.where)
        else:
            yield kind, name, data
    missing = [kind for kind in kinds if kind not in seen]
    if missing:
        raise InputError(f"{file.where}: has no member {missing[0]}, so it is no package or not all of one")


def _outer(head: bytes, file: PackageFile, limit: int | None) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The members of the outer archive, which begins with `head`: their names and bytes."""
    pieces = _chained(head, file.pieces)
    if head.startswith(MAGIC):
        archive = Ar(PieceStream(pieces), file.where)
        for name in archive:
            yield name, archive.data()
        return
    if decompress.detect(head) != decompress.GZIP:
        raise InputError(f"{file.where}: is neither an ar archive nor a gzipped tar, so it is no package")
    # Beside the payload it holds the control data, and both with headers.
    bound = decompress.limit_for(file.length, limit) + _CONTROL_LIMIT
    plain = decompress.decompress(pieces, decompress.GZIP, file.where, limit=bound)
    tar = Archive(PieceStream(plain), file.where, whole=True)
    for member in tar:
        if member.path and (member.entry.kind != FILE or member.hardlink is not None):
            raise InputError(f"{file.where}: its member {member.path!r} is no regular file")
        if member.path:
            yield member.path, tar.data()


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _check_format(text: bytes, where: str) -> None:
    if not _FORMAT.match(text):
        raise InputError(f"{where}: its debian-binary says format {text[:20]!r}, only 2.x is known")


# ---- control.tar


def _control(data: Iterator[bytes], name: str, where: str) -> dict[str, bytes]:
    """Every control file by its name."""
    where = f"{where}: {name}"
    found: dict[str, bytes] = {}
    plain = decompress.decompress(data, _SUFFIXES[name[len(_CONTROL) :]], where, limit=_CONTROL_LIMIT, hint="")
    with contextlib.closing(gathered(plain)) as pieces:
        archive = Archive(PieceStream(pieces), where, whole=True)
        for member in archive:
            path, entry = member.path, member.entry
            if not path:
                continue
            if entry.kind != FILE or member.hardlink is not None or "/" in path or not path.isprintable():
                raise InputError(f"{where}: {shown(path)}: control data is regular files in one folder")
            if path in found:
                raise InputError(f"{where}: {shown(path)}: is in it twice")
            if entry.size > _CONTROL_FILE:
                raise InputError(f"{where}: {shown(path)}: has more than {_CONTROL_FILE >> 20} MiB")
            found[path] = b"".join(archive.data())
    if "control" not in found:
        raise InputError(f"{where}: holds no file 'control'")
    return found


def _conffiles(data: bytes, where: str) -> tuple[str, ...]:
    """The paths of configuration files this version of the package has; one flagged as removed it has not."""
    found: dict[str, None] = {}
    for line in filter(None, map(bytes.strip, data.split(b"\n"))):
        match = _CONFFILE.fullmatch(line)
        if match is None:
            raise InputError(f"{where}: conffiles: {decode(line[:200])!r} is no absolute path")
        parts = [part for part in match[2].split(b"/") if part not in (b"", b".")]
        if not parts or b".." in parts or b"\0" in line:
            raise InputError(f"{where}: conffiles: {decode(line[:200])!r} is no path of a file inside the root")
        if match[1] is None:
            found[decode(b"/".join(parts))] = None
    return tuple(found)


# ---- data.tar


class _Members:
    """The members of a payload; each is judged by those before it."""

    def __init__(self, where: str, key: str, payload: Keeper) -> None:
        self._where = where
        self._key = key
        self._payload = payload
        self._paths = Paths(where)
        self._found: list[Member] = []
        self._numbers: dict[str, int] = {}  # of the members, by path
        self._content = 0

    def read(self, plain: Iterator[bytes]) -> tuple[Member, ...]:
        """The members of an uncompressed data.tar."""
        with contextlib.closing(self._kept(plain)) as pieces:
            archive = Archive(PieceStream(pieces), self._where, whole=True)
            for member in archive:
                self._add(member, archive)
        return tuple(self._found)

    def _kept(self, plain: Iterator[bytes]) -> Generator[bytes, None, None]:
        total = 0
        for piece in gathered(plain):
            total += len(piece)
            # The reader holds extended headers until a member follows, and those for all members for good.
            if total - self._content > _HEADERS + 8 * BLOCK * len(self._found):
                raise InputError(f"{self._where}: has more than {_HEADERS >> 20} MiB of headers or of nothing")
            self._payload.write(piece)
            yield piece

    def _add(self, member: Member, archive: Archive) -> None:
        path, entry = member.path, member.entry
        facts = len(entry.target) + sum(len(key) + len(value) + 100 for key, value in entry.xattrs)
        self._paths.add(path, facts, directory=entry.kind == DIRECTORY and member.hardlink is None)
        made = self._complete(member, archive) if member.hardlink is None else self._linked(member, member.hardlink)
        self._numbers[path] = len(self._found)
        self._found.append(made)

    def _complete(self, member: Member, archive: Archive) -> Member:
        entry = member.entry._replace(xattrs=content_xattrs(member.entry.xattrs))
        if entry.kind == FILE:
            self._content += entry.size + -entry.size % BLOCK
            entry = entry._replace(content=Part(self._payload, member.offset, entry.size, archive.digest()))
        return member._replace(entry=entry)

    def _linked(self, member: Member, hardlink: str) -> Member:
        number = self._numbers.get(hardlink)
        target = None if number is None else self._found[number]
        if number is None or target is None or target.entry.kind != FILE:
            message = f"hard link to {shown(hardlink)}, which is no earlier file of the package"
            raise self._paths.fault(member.path, message)
        if target.entry.inode is None:
            target = target._replace(entry=target.entry._replace(inode=(self._key, hardlink)))
            self._found[number] = target
        # One inode has one owner: the names too are the target's.
        return member._replace(entry=target.entry, user=target.user, group=target.group)
