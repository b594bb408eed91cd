# SPDX-License-Identifier: MIT
"""A strict reader of tar archives: ustar, pax and GNU headers, one pass, nothing guessed.

Python's own reader takes a damaged header for the end of the archive, and so would lose content in silence; this one
raises. Shares no code with the writer. Follows POSIX pax (ustar and extended headers) and GNU tar's long names.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from typing import TYPE_CHECKING, NamedTuple

from . import tree
from .errors import InputError
from .tree import Entry, decode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .stream import Stream

BLOCK = 512
_HEADER_LIMIT = 1 << 20  # of an extended header or a long name
_GLOBAL_LIMIT = 1000  # records that hold for all members; each member is looked through for them
_NUMBER_LIMIT = 1 << 63  # of any number, either way, as the kernel's own
_DECIMAL = re.compile(rb"(-?[0-9]{1,19})(?:\.([0-9]*))?")
_KINDS = {b"0": tree.FILE, b"\0": tree.FILE, b"7": tree.FILE, b"2": tree.SYMLINK, b"3": tree.CHAR, b"4": tree.BLOCK,
          b"5": tree.DIRECTORY, b"6": tree.FIFO}  # fmt: skip
_PATH_LIMIT = 32 << 10  # no file system has such; each of its components would be a directory of the tree
_DEVICE_LIMIT = 0o7777777  # of each half of a device's number: what a header's field holds, more than any kernel has
_XATTR = b"SCHILY.xattr."
_LINKS = (b"1", b"2")
_EXTENSIONS = (b"x", b"g", b"L", b"K", b"V")  # of the archive, or of the member that follows
_DEVICES = (tree.CHAR, tree.BLOCK)
_OCTAL = b"01234567"
_OWNERS = 1000  # that are remembered; most archives have a few


class Member(NamedTuple):
    """One member: its path, relative to the root and without `.`; its facts, without content.

    `hardlink` is the path of an earlier member this is another name of, else None. `offset` is where the data
    begins in the uncompressed archive. `raw` is the name as it is written; `user` and `group` are the owners' names,
    empty where the archive has numbers alone.
    """

    path: str
    entry: Entry
    hardlink: str | None
    offset: int
    raw: str
    user: str
    group: str


class _Owner(NamedTuple):
    uid: int
    gid: int
    user: str
    group: str


class Archive:
    """The members of an uncompressed tar stream, in order.

    Between two members `data` gives the bytes of the current one; what is not asked for is skipped. `where` names the
    archive in messages. With `whole`, the archive must end as tar ends one and hold nothing after that, and absolute
    names and what our trees can not hold (ACLs) are refused; else an absolute name starts at the root and the rest is
    passed over, as the consumers of layers do. `count` is the number of members so far. After the last one `marked`
    tells whether there was an end mark.
    """

    def __init__(self, stream: Stream, where: str, *, whole: bool = False) -> None:
        self._stream = stream
        self._where = where
        self._whole = whole
        self._left = 0
        self._padding = 0
        self._global: dict[bytes, bytes] = {}
        self._owners: dict[bytes, _Owner] = {}
        self.count = 0
        self.marked = False

    def __iter__(self) -> Iterator[Member]:
        while True:
            member = self._next()
            if member is None:
                return
            self.count += 1
            yield member

    def data(self) -> Iterator[bytes]:
        """The bytes of the current member, in pieces of at most 1 MiB."""
        while self._left:
            piece = self._stream.some(min(self._left, 1 << 20))
            if not piece:
                raise self._fault("ends in the middle of a file")
            self._left -= len(piece)
            yield piece

    def digest(self) -> str:
        """The SHA-256 of the current member's bytes, in hexadecimal."""
        state = hashlib.sha256()
        for piece in self.data():
            state.update(piece)
        return state.hexdigest()

    def _fault(self, message: str) -> InputError:
        return InputError(f"{self._where}: damaged tar archive: {message} (at byte {self._stream.position})")

    def _skip(self) -> None:
        size = self._left + self._padding
        if size:
            passed = self._stream.skip(size)
            # Without the last padding all content is there; umoci has written such layers.
            if passed < self._left or (self._whole and passed < size):
                raise self._fault("ends in the middle of a file")
        self._left = self._padding = 0

    def _begin(self, size: int) -> None:
        if size < 0:
            raise self._fault("a size is negative")
        self._left = size
        self._padding = -size % BLOCK

    def _next(self) -> Member | None:
        records: dict[bytes, bytes] = {}
        long_name = long_link = None
        while True:
            self._skip()
            block = self._stream.read(BLOCK)
            if len(block) < BLOCK or not any(block):
                self._end(block)
                if records or long_name is not None or long_link is not None:
                    raise self._fault("ends after an extended header")
                return None
            self._check(block)
            kind = block[156:157]
            if kind not in _EXTENSIONS:
                extended = {**self._global, **records} if self._global else records
                return self._member(block, extended, long_name, long_link)
            if kind == b"x":
                records.update(self._records(self._extension(block)))
            elif kind == b"g":
                self._global.update(self._records(self._extension(block)))
                if len(self._global) > _GLOBAL_LIMIT:
                    raise self._fault(f"has more than {_GLOBAL_LIMIT} global records")
            elif kind == b"L":
                long_name = self._extension(block).rstrip(b"\0")
            elif kind == b"K":
                long_link = self._extension(block).rstrip(b"\0")
            else:
                self._begin(self._number(block[124:136]))

    def _end(self, block: bytes) -> None:
        if 0 < len(block) < BLOCK:
            raise self._fault("ends in the middle of a header")
        if not block and self._whole:
            raise self._fault("ends without an end mark, so a part of it is missing")
        self.marked = bool(block)
        if block:
            block = self._stream.read(BLOCK)
            if any(block):
                raise self._fault("holds more after its end mark")
        while block:
            block = self._stream.read(1 << 20)
            if self._whole and any(block):
                raise self._fault("holds more after its end mark")

    def _check(self, block: bytes) -> None:
        field = block[148:156]
        # Of half a block adler32 has the sum in its low half, plus one: less than what it is taken modulo of.
        total = (zlib.adler32(block[:256]) & 0xFFFF) + (zlib.adler32(block[256:]) & 0xFFFF) - 2 - sum(field) + 8 * 32
        if field == b"%06o\0 " % total:
            return
        try:
            stated = self._number(field)
        except InputError:
            stated = -1
        # Some have summed up signed characters.
        if stated not in (total, total - 256 * sum(b > 127 for b in block[:148] + block[156:])):
            raise self._fault("a header's checksum is wrong")

    def _extension(self, block: bytes) -> bytes:
        size = self._number(block[124:136])
        if size > _HEADER_LIMIT:
            raise self._fault("an extended header is larger than 1 MiB")
        self._begin(size)
        return b"".join(self.data())

    def _number(self, field: bytes) -> int:
        digits = field[:-1]
        if field[-1] in b"\0 " and not digits.translate(None, _OCTAL):
            return int(digits, 8)
        if field[0] in (0x80, 0xFF):
            value = int.from_bytes(field[1:], "big")
            return self._bounded(value if field[0] == 0x80 else value - (1 << (8 * (len(field) - 1))))
        text = field.split(b"\0", 1)[0].strip(b" ")
        if text.translate(None, b"01234567"):
            raise self._fault(f"{field!r} is not a number")
        return int(text, 8) if text else 0

    def _bounded(self, value: int) -> int:
        if not -_NUMBER_LIMIT < value < _NUMBER_LIMIT:
            raise self._fault(f"the number {value} is out of all bounds")
        return value

    def _records(self, data: bytes) -> dict[bytes, bytes]:
        records: dict[bytes, bytes] = {}
        position, end = 0, len(data.rstrip(b"\0"))
        while position < end:
            space = data.find(b" ", position, position + 11)
            head = data[position:space] if space > 0 else b""
            stop = position + int(head) if head.isdigit() else 0
            key, equals, value = data[space + 1 : stop].partition(b"=")
            if not equals or not value.endswith(b"\n") or stop > end:
                raise self._fault("an extended header is malformed")
            records[key] = value[:-1]
            position = stop
        return records

    def _member(
        self, block: bytes, extended: dict[bytes, bytes], long_name: bytes | None, long_link: bytes | None
    ) -> Member:
        flag = block[156:157]
        name = _name(block) if long_name is None else long_name
        link = b""
        if flag in _LINKS:
            link = block[157:257].partition(b"\0")[0] if long_link is None else long_link
        owner = self._extended_owner(block, extended) if extended else self._owner(block)
        size, mtime = self._number(block[124:136]), self._number(block[136:148])
        if extended:
            # A record without a value takes back what a global header said; the member's own field holds again.
            name, link = extended.get(b"path") or name, extended.get(b"linkpath") or link
            size, mtime = self._decimal(extended, b"size", size), self._decimal(extended, b"mtime", mtime)
        kind = _KINDS.get(flag, "")
        if kind == tree.FILE and name.endswith(b"/"):
            kind = tree.DIRECTORY
        if extended or (not kind and flag != b"1"):
            self._refuse(name, flag, extended)
        raw = decode(name)
        path = self._path(raw)
        if not path and kind != tree.DIRECTORY:
            raise self._fault(f"{raw!r} names the root, which is a directory")
        if flag in _LINKS and (not link or b"\0" in link):
            raise self._fault(f"{tree.shown(path)} is a link to {decode(link)[:80]!r}")
        device = (0, 0)
        if kind in _DEVICES:
            device = self._number(block[329:337]), self._number(block[337:345])
        if owner.uid < 0 or owner.gid < 0 or min(device) < 0 or max(device) > _DEVICE_LIMIT:
            raise self._fault("an owner or a device number is out of bounds")
        # A directory's or link's size says nothing of the archive: no data follows.
        self._begin(size if kind == tree.FILE else min(size, 0))
        entry = Entry(
            kind or tree.FILE,
            0o777 if kind == tree.SYMLINK else self._number(block[100:108]) & 0o7777,
            owner.uid,
            owner.gid,
            mtime,
            self._left,
            decode(link) if kind == tree.SYMLINK else "",
            device,
            self._xattrs(extended) if extended else (),
        )
        hardlink = self._path(decode(link)) if flag == b"1" else None
        return Member(path, entry, hardlink, self._stream.position, raw, owner.user, owner.group)

    def _refuse(self, name: bytes, flag: bytes, extended: dict[bytes, bytes]) -> None:
        where = f"{self._where}: {tree.shown(decode(name).lstrip('./'))}"
        if flag == b"S" or any(key.startswith(b"GNU.sparse.") for key in extended):
            raise InputError(f"{where}: sparse members are not read", hint="make it without --sparse")
        if flag not in _KINDS and flag != b"1":
            raise InputError(f"{where}: unknown type of member {flag!r}")
        if self._whole and any(key.startswith(b"SCHILY.acl.") for key in extended):
            raise InputError(
                f"{where}: has an access control list as text, which a layer can not hold",
                hint="make the archive with --xattrs and without --acls",
            )

    def _owner(self, block: bytes) -> _Owner:
        """The owner by a header alone; mostly it is that of headers before."""
        key = block[108:124] + block[257:329]
        owner = self._owners.get(key)
        if owner is None:
            owner = _Owner(self._number(block[108:116]), self._number(block[116:124]), *_names(block, {}))
            if len(self._owners) == _OWNERS:
                self._owners.clear()
            self._owners[key] = owner
        return owner

    def _extended_owner(self, block: bytes, extended: dict[bytes, bytes]) -> _Owner:
        owner = self._owner(block)
        ids = self._decimal(extended, b"uid", owner.uid), self._decimal(extended, b"gid", owner.gid)
        return _Owner(*ids, *_names(block, extended))

    def _xattrs(self, extended: dict[bytes, bytes]) -> tuple[tuple[str, bytes], ...]:
        found = sorted((key[len(_XATTR) :], value) for key, value in extended.items() if key.startswith(_XATTR))
        if any(not name or b"\0" in name for name, _ in found):
            raise self._fault("an attribute has no name, or one that holds a NUL")
        return tuple((decode(name), value) for name, value in found)

    def _decimal(self, extended: dict[bytes, bytes], key: bytes, default: int) -> int:
        text = extended.get(key)
        if not text:
            return default
        match = _DECIMAL.fullmatch(text)
        if match is None:
            raise self._fault(f"{decode(key)}={text[:40]!r} is not a number")
        whole, fraction = match[1], match[2] or b""
        # Times before 1970 round down too.
        return self._bounded(int(whole) - (1 if whole.startswith(b"-") and fraction.strip(b"0") else 0))

    def _path(self, text: str) -> str:
        """A path inside the root, or an error: what would leave the root is never repaired in silence."""
        if not text or "\0" in text:
            raise self._fault(f"a name is empty or holds a NUL: {text[:80]!r}")
        if len(text) > _PATH_LIMIT:
            raise InputError(f"{self._where}: {text[:80]!r}…: a path of more than {_PATH_LIMIT} characters")
        if text.startswith("/") and self._whole:
            raise InputError(
                f"{self._where}: {text[:200]!r}: absolute path in an archive",
                hint="names are relative to the root, as tar -C ROOTFS -c . writes them",
            )
        short = text.removeprefix("./")
        if not short.startswith(("/", ".")) and "//" not in short and "/." not in short:
            return short.removesuffix("/")
        parts = [part for part in text.split("/") if part not in ("", ".")]
        if os.pardir in parts:
            raise InputError(f"{self._where}: {text[:200]!r}: leaves the root with '..'")
        return "/".join(parts)


def _names(block: bytes, extended: dict[bytes, bytes]) -> tuple[str, str]:
    """The names of owner and group."""
    if block[257:262] != b"ustar":
        return "", ""
    fields = block[265:297].partition(b"\0")[0], block[297:329].partition(b"\0")[0]
    user, group = (extended.get(key) or field for key, field in zip((b"uname", b"gname"), fields))
    return decode(user), decode(group)


def _name(block: bytes) -> bytes:
    name = block[:100].partition(b"\0")[0]
    # GNU's own header, "ustar" and a blank, has times where ustar has the prefix.
    if block[345] and block[257:263] == b"ustar\0":
        return block[345:500].partition(b"\0")[0] + b"/" + name
    return name
