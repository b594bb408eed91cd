# SPDX-License-Identifier: MIT
"""rpm's headers: tags with typed values, as a package's file and the database have them.

rpmfile reads one tag in two wrongly or not at all (64-bit numbers, names that are no UTF-8, damage), and what it gives
can not be written back. Follows rpm's documentation of its package format, version 4. Must not know files or databases.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from ...errors import InputError
from ...tree import decode
from .tags import HEADERIMAGE, HEADERIMMUTABLE, HEADERSIGNATURES

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"\x8e\xad\xe8\x01\0\0\0\0"
INTRO = 8  # bytes: how many entries and how many bytes of values follow
_ENTRY = struct.Struct(">IIiI")
_VALUE = struct.Struct(">4xIiI")  # an entry without its tag
MOST_ENTRIES, MOST_BYTES = 0xFFFF, 0x0FFFFFFF  # rpm reads no more
_MOST_VALUES = 1 << 20  # of a tag; each is held as an object of its own, and no package has as many files

INT8, INT16, INT32, INT64, STRING, BIN, STRINGS, I18N = 2, 3, 4, 5, 6, 7, 8, 9
_SIZES = {1: 1, INT8: 1, INT16: 2, INT32: 4, INT64: 8, BIN: 1}
_LETTERS = {1: "B", INT8: "B", INT16: "H", INT32: "I", INT64: "Q"}


class Value(NamedTuple):
    """Where a tag's values lie: their type and number, and where the first begins among the bytes of all."""

    kind: int
    offset: int
    number: int


class Header:
    """The tags of one header; `data` is as the database has it: number of entries, number of bytes, both of these.

    Values are looked at when they are asked for. `where` names the header in messages.

    Raises:
        InputError: it is damaged, here and wherever a value is asked for.
    """

    def __init__(self, data: bytes, where: str) -> None:
        self.data = data
        self.where = where
        if len(data) < INTRO:
            raise self.damaged("ends within its first bytes")
        entries, size = struct.unpack_from(">II", data)
        if not 0 < entries <= MOST_ENTRIES or size > MOST_BYTES:
            raise self.damaged(f"says that it has {entries} entries and {size} bytes of values")
        if len(data) != INTRO + _ENTRY.size * entries + size:
            raise self.damaged(f"has {len(data)} bytes, not those that it says")
        self._values = memoryview(data)[INTRO + _ENTRY.size * entries :]
        # Of each tag the number of its entry: as very many headers are held at once, not what that says.
        self._tags: dict[int, int] = {}
        rows = _ENTRY.iter_unpack(data[INTRO : INTRO + _ENTRY.size * entries])
        for number, (tag, kind, offset, count) in enumerate(rows):
            size = _SIZES.get(kind, 1) * count
            if not STRING <= kind <= I18N and kind not in _SIZES:
                raise self.damaged(f"its tag {tag} has values of a type {kind}")
            if not 0 <= offset <= len(self._values) - size or not count:
                raise self.damaged(f"its tag {tag} has {count} values at {offset}, which it does not hold")
            self._tags.setdefault(tag, number)
        self._check_region(entries)

    def _check_region(self, entries: int) -> None:
        """See that the part of the header that a signature covers lies in it, where it has one.

        A region's tag comes first; its value is an entry like those of tags, with the region's length in it, negative.
        """
        tag = next(iter(self._tags))
        if tag not in (HEADERIMAGE, HEADERSIGNATURES, HEADERIMMUTABLE):
            return
        value = self.value(tag)
        assert value is not None
        if (value.kind, value.number) != (BIN, _ENTRY.size):
            raise self.damaged("its region has no entry of its own")
        end, kind, offset, count = _ENTRY.unpack_from(self._values, value.offset)
        if end not in (tag, HEADERIMAGE) or (kind, count) != (BIN, _ENTRY.size):
            raise self.damaged("its region ends in something else")
        if offset % _ENTRY.size or not 0 < -offset <= entries * _ENTRY.size:
            raise self.damaged(f"its region begins at {offset}, where it has no entries")

    def __contains__(self, tag: object) -> bool:
        return tag in self._tags

    def __iter__(self) -> Iterator[int]:
        return iter(self._tags)

    def value(self, tag: int) -> Value | None:
        """Where the values of a tag lie; None where it is missing."""
        number = self._tags.get(tag)
        if number is None:
            return None
        return Value(*_VALUE.unpack_from(self.data, INTRO + _ENTRY.size * number))

    def numbers(self, tag: int) -> tuple[int, ...]:
        """The numbers of a tag, unsigned; none where it is missing."""
        value = self._value(tag, tuple(_LETTERS), "numbers")
        if value is None:
            return ()
        return struct.unpack_from(f">{value.number}{_LETTERS[value.kind]}", self._values, value.offset)

    def number(self, tag: int, default: int = 0) -> int:
        """The first number of a tag."""
        return next(iter(self.numbers(tag)), default)

    def texts(self, tag: int) -> tuple[str, ...]:
        """The texts of a tag, as names in a tree (`tree.decode`); none where it is missing."""
        value = self._value(tag, (STRING, STRINGS, I18N), "texts")
        if value is None:
            return ()
        # No more is split off than there are, so that one header does not cost the square of its size.
        parts = bytes(self._values[value.offset :]).split(b"\0", value.number) if value.number > 1 else self._one(value)
        if len(parts) != value.number + 1:
            raise self.damaged(f"its tag {tag} has a text without an end")
        return tuple(map(decode, parts[:-1]))

    def text(self, tag: int) -> str:
        """The first text of a tag; of one in several languages that is the plain one."""
        return next(iter(self.texts(tag)), "")

    def binary(self, tag: int) -> bytes:
        """The bytes of a tag; none where it is missing."""
        value = self._value(tag, (BIN,), "bytes")
        if value is None:
            return b""
        return bytes(self._values[value.offset : value.offset + value.number])

    def damaged(self, message: str) -> InputError:
        return InputError(f"{self.where}: damaged header: {message}")

    def _value(self, tag: int, kinds: tuple[int, ...], what: str) -> Value | None:
        value = self.value(tag)
        if value is not None and value.kind not in kinds:
            raise self.damaged(f"its tag {tag} has no {what}")
        if value is not None and value.kind != BIN and value.number > _MOST_VALUES:
            raise self.damaged(f"its tag {tag} has {value.number} values, more than {_MOST_VALUES}")
        return value

    def _one(self, value: Value) -> list[bytes]:
        """The bytes of a text and what follows it, as far as they are looked at."""
        data, end, step = self._values, -1, 256
        while end < 0:
            piece = bytes(data[value.offset : value.offset + step])
            end = piece.find(b"\0")
            if end < 0 and value.offset + step >= len(data):
                return [piece]
            step *= 4
        return [piece[:end], b""]
