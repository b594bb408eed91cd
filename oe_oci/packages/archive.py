# SPDX-License-Identifier: MIT
"""Reading a package's file, .deb or .ipk, in one pass: what its control data says, what it holds.

A package is an ar archive of `debian-binary`, `control.tar` and `data.tar`, or, the old form of ipk, a gzipped tar of
the same three; follows deb(5), deb-conffiles(5). Must not know feeds, other packages or where the files will lie.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from typing import TYPE_CHECKING, NamedTuple, Protocol

from .. import decompress
from ..changeset import WHITEOUT, content_xattrs
from ..content import Holder, Part
from ..errors import InputError, ToolError
from ..stream import PieceStream
from ..tree import DIRECTORY, FILE, ancestors, decode, shown
from ..untar import BLOCK, Archive, Member
from .ar import MAGIC, Ar
from .control import parse_control

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from .package import Package

_PIECE = 1 << 18
_VERSION, _CONTROL, _DATA = "debian-binary", "control.tar", "data.tar"  # in the order deb(5) asks for
_CONFFILE = re.compile(rb"(remove-on-upgrade\s+)?(/.*)")
_FORMAT = re.compile(rb"2\.[0-9]+(?:\n|\Z)")
_SUFFIXES = {"": decompress.NONE, ".gz": decompress.GZIP, ".xz": decompress.XZ, ".zst": decompress.ZSTD,
             ".bz2": decompress.BZIP2, ".lzma": decompress.LZMA}  # fmt: skip
_OUTER_MEMBERS = 100
_CONTROL_LIMIT = 64 << 20  # of all control data
_CONTROL_FILE = 16 << 20  # of one of its files; Debian's largest, a list of symbols, has 6 MiB
_MEMBERS = 1_000_000
_PATH_LIMIT = 4096  # Linux opens no longer one
_FACTS = 256 << 20  # of all names and attributes, which are held in memory
_HEADERS = 64 << 20  # of a payload that are neither content nor a plain header of a member


class Keeper(Holder, Protocol):
    """What takes a payload's bytes in order, and gives any of them back."""

    def write(self, piece: bytes) -> None: ...

    def release(self) -> None:
        """Give up the bytes; what is asked for later is read anew from the package."""


class Contents(NamedTuple):
    """What a package's file holds.

    `fields` are those of its control file, `control` the bytes of every control file by name. `conffiles` are its
    configuration files' paths, relative to the root. `members` are in the order of the archive, the content of a file
    is a `Part` of `payload`, and the names of one inode have equal entries. `digest` is the file's SHA-256.
    """

    fields: dict[str, str]
    control: dict[str, bytes]
    conffiles: tuple[str, ...]
    members: tuple[Member, ...]
    payload: Keeper
    digest: str
    size: int


def read_control(path: str, where: str) -> dict[str, str]:
    """The fields of a package's control file; the payload is not unpacked. `where` names the package in messages.

    Raises:
        InputError: the file is no package, or damaged as far as it was read.
        ToolError: it can not be read.
    """
    with _File(path, where) as file:
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

    `size` and `digest` (SHA-256, hexadecimal) are what the file must have, where known. `limit` bounds the bytes of
    the payload (default: what the file's size makes plausible).

    Raises:
        InputError: the file is not what `size` and `digest` say, is no package, or is damaged or hostile.
        ToolError: it can not be read, or `payload` not be kept.
    """
    with _File(path, where) as file:
        if size is not None and file.length != size:
            raise _other(f"{where}: has {file.length} bytes, the index says {size}")
        control: dict[str, bytes] = {}
        members = _Members(where, path, payload)
        try:
            for kind, name, data in _parts(file, limit):
                if kind == _CONTROL:
                    control = _control(data, name, where)
                else:
                    members.read(data, name, decompress.limit_for(file.length, limit))
            fields = parse_control(control["control"], f"{where}: control")
            conffiles = _conffiles(control.get("conffiles", b""), where)
        except InputError as error:
            # Why a file can not be read is said best by that it is another one.
            file.check(digest, error)
            raise
        file.check(digest)
        return Contents(fields, control, conffiles, tuple(members.found), payload, file.digest.hexdigest(), file.length)


def check_identity(contents: Contents, package: Package) -> None:
    """Hold a package's own name, version and architecture against those its feed gave.

    Raises:
        InputError: they differ.
    """
    found = tuple(contents.fields.get(field, "") for field in ("Package", "Version", "Architecture"))
    if found != (package.name, package.version, package.arch):
        said = f"{package.name} {package.version} {package.arch}"
        raise _other(f"{package.path}: is {' '.join(found)!r}, the index says {said!r}")


def _other(message: str) -> InputError:
    return InputError(message, hint="make the index anew or fetch the package again")


# ---- the file


class _File:
    """A package's file while it is read; a context manager. Its bytes are hashed as they pass."""

    def __init__(self, path: str, where: str) -> None:
        self.where = where
        self.ordered = not path.endswith(".ipk")  # tools that make ipk have written any order
        self.digest = hashlib.sha256()
        self._passed = 0
        try:
            # O_NONBLOCK: a fifo in a feed must not hang the build.
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            status = os.fstat(self._descriptor)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _other(f"{where}: there is no such file") from error
        except OSError as error:
            raise ToolError(f"cannot read {where}: {error.strerror}") from error
        self.length = status.st_size
        if not stat.S_ISREG(status.st_mode):
            self.__exit__()
            raise InputError(f"{where}: is no regular file")
        self.pieces = self._pieces()

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def _pieces(self) -> Iterator[bytes]:
        while True:
            try:
                piece = os.read(self._descriptor, _PIECE)
            except OSError as error:
                # Turned here, as a decompressor takes any OSError of its input for damage.
                raise ToolError(f"cannot read {self.where}: {error.strerror}") from error
            if not piece:
                return
            self._passed += len(piece)
            self.digest.update(piece)
            yield piece

    def check(self, digest: str | None, cause: InputError | None = None) -> None:
        """Read what is left, and raise where the file is not the one that was asked for."""
        for _ in self.pieces:
            pass
        if self._passed != self.length:
            raise InputError(
                f"{self.where}: changed its size while it was read",
                hint="nothing may write to the inputs during a build; start again when that has ended",
            ) from cause
        found = self.digest.hexdigest()
        if digest is not None and found != digest:
            raise _other(f"{self.where}: its SHA-256 is {found}, the index says {digest}") from cause


def _parts(file: _File, limit: int | None) -> Iterator[tuple[str, str, Iterator[bytes]]]:
    """`control.tar` and `data.tar`: which one, the member's full name and its bytes, to be read before the next one.

    All that deb(5) asks of the outer archive is checked. What follows once all are there is passed over.
    """
    kinds = (_VERSION, _CONTROL, _DATA)
    seen: list[str] = []
    for number, (name, data) in enumerate(_outer(file, limit)):
        kind = next((kind for kind in kinds if name.startswith(kind)), "")
        if number == _OUTER_MEMBERS:
            raise InputError(f"{file.where}: has more than {_OUTER_MEMBERS} members")
        if not kind and (name.startswith("_") or len(seen) == len(kinds)):
            continue
        if not kind or name[len(kind) :] not in (_SUFFIXES if kind != _VERSION else ("",)):
            raise InputError(f"{file.where}: its member {name!r} has no place in a package")
        if kind in seen:
            raise InputError(f"{file.where}: has two members {kind}")
        if file.ordered and kind != kinds[len(seen)]:
            raise InputError(f"{file.where}: its member {name} stands where {kinds[len(seen)]} must")
        seen.append(kind)
        if kind == _VERSION:
            _check_format(next(data, b""), file.where)
        else:
            yield kind, name, data
    missing = [kind for kind in kinds if kind not in seen]
    if missing:
        raise InputError(f"{file.where}: has no member {missing[0]}, so it is no package or not all of one")


def _outer(file: _File, limit: int | None) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The members of the outer archive: their names and bytes."""
    head = next(file.pieces, b"")
    pieces = _chained(head, file.pieces)
    if head.startswith(MAGIC):
        archive = Ar(PieceStream(pieces), file.where)
        for name in archive:
            yield name, archive.data()
        return
    if decompress.detect(head) != decompress.GZIP:
        raise InputError(f"{file.where}: is neither an ar archive nor a gzipped tar, so it is no package")
    file.ordered = False
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
    with contextlib.closing(_gathered(plain)) as pieces:
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
    """The members of a payload so far, in `found`; each is judged by those before it."""

    def __init__(self, where: str, key: str, payload: Keeper) -> None:
        self.found: list[Member] = []
        self._where = where
        self._key = key
        self._payload = payload
        self._numbers: dict[str, int] = {}  # of the members, by path
        self._occupied: set[str] = set()  # directories with something in them, in the archive themselves or not
        self._content = 0
        self._facts = 0

    def read(self, data: Iterator[bytes], name: str, limit: int) -> None:
        self._where = f"{self._where}: {name}"
        plain = decompress.decompress(data, _SUFFIXES[name[len(_DATA) :]], self._where, limit=limit)
        with contextlib.closing(self._kept(plain)) as pieces:
            archive = Archive(PieceStream(pieces), self._where, whole=True)
            for member in archive:
                self._add(member, archive)

    def _kept(self, plain: Iterator[bytes]) -> Generator[bytes, None, None]:
        total = 0
        for piece in _gathered(plain):
            total += len(piece)
            # The reader holds extended headers until a member follows, and those for all members for good.
            if total - self._content > _HEADERS + 8 * BLOCK * len(self.found):
                raise InputError(f"{self._where}: has more than {_HEADERS >> 20} MiB of headers or of nothing")
            self._payload.write(piece)
            yield piece

    def _add(self, member: Member, archive: Archive) -> None:
        path = member.path
        if len(self.found) == _MEMBERS:
            raise InputError(f"{self._where}: has more than {_MEMBERS} members")
        if "\n" in path:
            raise self._fault(path, "a name with a newline, which the database of packages can not hold")
        if path.rpartition("/")[2].startswith(WHITEOUT):
            raise self._fault(path, f"a name that begins with '{WHITEOUT}' would remove a file of a lower layer")
        if len(path) > _PATH_LIMIT:
            raise self._fault(path[:80] + "…", f"a path of more than {_PATH_LIMIT} characters")
        if path in self._numbers:
            raise self._fault(path, "is in it twice")
        entry = member.entry
        self._weigh(len(path) + len(entry.target) + sum(len(key) + len(value) + 100 for key, value in entry.xattrs))
        self._occupy(path)
        if path in self._occupied and (entry.kind != DIRECTORY or member.hardlink is not None):
            raise self._fault(path, "is no directory, but something lies in it")
        made = self._complete(member, archive) if member.hardlink is None else self._linked(member, member.hardlink)
        self._numbers[path] = len(self.found)
        self.found.append(made)

    def _occupy(self, path: str) -> None:
        """Note the directories a path lies in; one that is something else would lead the write elsewhere."""
        if not path:
            return
        for up in ancestors(path):
            if up in self._occupied:
                return
            number = self._numbers.get(up)
            if number is not None and self.found[number].entry.kind != DIRECTORY:
                raise self._fault(path, f"lies in {shown(up)}, which is no directory in the same package")
            self._weigh(len(up))
            self._occupied.add(up)

    def _complete(self, member: Member, archive: Archive) -> Member:
        entry = member.entry._replace(xattrs=content_xattrs(member.entry.xattrs))
        if entry.kind == FILE:
            self._content += entry.size + -entry.size % BLOCK
            entry = entry._replace(content=Part(self._payload, member.offset, entry.size, archive.digest()))
        return member._replace(entry=entry)

    def _linked(self, member: Member, hardlink: str) -> Member:
        number = self._numbers.get(hardlink)
        target = None if number is None else self.found[number]
        if number is None or target is None or target.entry.kind != FILE:
            raise self._fault(member.path, f"hard link to {shown(hardlink)}, which is no earlier file of the package")
        if target.entry.inode is None:
            target = target._replace(entry=target.entry._replace(inode=(self._key, hardlink)))
            self.found[number] = target
        # One inode has one owner: the names too are the target's.
        return member._replace(entry=target.entry, user=target.user, group=target.group)

    def _weigh(self, size: int) -> None:
        self._facts += size
        if self._facts > _FACTS:
            raise InputError(f"{self._where}: has more than {_FACTS >> 20} MiB of names and attributes")

    def _fault(self, path: str, message: str) -> InputError:
        return InputError(f"{self._where}: {shown(path)}: {message}")


def _gathered(pieces: Iterable[bytes]) -> Generator[bytes, None, None]:
    """The same bytes in pieces that are never many small ones, as each is kept by itself."""
    parts: list[bytes] = []
    length = 0
    for piece in pieces:
        parts.append(piece)
        length += len(piece)
        if length >= _PIECE:
            yield b"".join(parts) if len(parts) > 1 else piece
            parts, length = [], 0
    if parts:
        yield b"".join(parts)
