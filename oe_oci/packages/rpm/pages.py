# SPDX-License-Identifier: MIT
"""The rows of a table in a file of SQLite's format, and what its write-ahead log adds.

SQLite itself would run what the file says is its schema, which can take any time; the file came with an image, and is
not trusted. Here no page is read twice. Follows SQLite's documentation of its file format. Must not know what the
tables hold.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple, Union

from ...tree import decode

if TYPE_CHECKING:
    from collections.abc import Iterator

Value = Union[int, str, bytes, None]

_MAGIC = b"SQLite format 3\0"
_HEADER = 100
_UTF8 = 1
_SMALLEST, _LARGEST = 512, 65536  # pages
_INNER, _LEAF = 5, 13  # kinds of a table's pages
_DEEPEST = 20  # levels of a tree
_SIZES = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)  # bytes of a value, by its type; the seventh is a floating-point number's
_FLOAT, _NONE, _ONE = 7, 0, 9

_LOG, _FRAME = struct.Struct(">8I"), struct.Struct(">6I")
_LOG_MAGIC, _LOG_VERSION = 0x377F0682, 3_007_000  # the lowest bit of the first says that the highest byte is first


class DamagedError(Exception):
    """It is no database, or one that is damaged."""


class _Frames(NamedTuple):
    """Pages by their numbers, and how many there are of the database with them."""

    pages: dict[int, memoryview]
    number: int


class Pages:
    """The pages of a database, with those that `log` has in place of its own.

    Raises:
        DamagedError: here and wherever rows are asked for.
    """

    def __init__(self, data: bytes, log: bytes = b"") -> None:
        if len(data) < _SMALLEST or not data.startswith(_MAGIC):
            raise DamagedError("it does not begin as a database does")
        size = int.from_bytes(data[16:18], "big")
        self._size = _LARGEST if size == 1 else size
        if not _SMALLEST <= self._size <= _LARGEST or self._size & (self._size - 1):
            raise DamagedError(f"it has pages of {self._size} bytes")
        if len(data) % self._size:
            raise DamagedError("it ends within a page")
        self._data = memoryview(data)
        self._frames = _frames(log, self._size) or _Frames({}, len(data) // self._size)
        first = self._page(1)
        self._usable = self._size - first[20]
        if self._usable < 480 or int.from_bytes(first[56:60], "big") != _UTF8:
            raise DamagedError("its header is none that SQLite writes")
        self._seen: set[int] = set()
        self._left = len(data) + len(log)  # bytes that rows can have

    def rows(self, root: int) -> Iterator[tuple[int, list[Value]]]:
        """The rows of the table whose tree begins at a page: their numbers and columns; the schema begins at 1."""
        below = [(root, 1)]
        while below:
            number, depth = below.pop()
            page = self._once(number)
            start = _HEADER if number == 1 else 0
            kind, count = page[start], int.from_bytes(page[start + 3 : start + 5], "big")
            if kind not in (_INNER, _LEAF) or depth > _DEEPEST:
                raise DamagedError(f"its page {number} is none of a table")
            first = start + (8 if kind == _LEAF else 12)
            if first + 2 * count > self._usable:
                raise DamagedError(f"its page {number} says that it has {count} rows")
            cells = struct.unpack_from(f">{count}H", page, first)
            if kind == _LEAF:
                for at in cells:
                    yield self._row(page, at)
                continue
            right = int.from_bytes(page[start + 8 : start + 12], "big")
            children = (*(int.from_bytes(page[at : at + 4], "big") for at in cells), right)
            below += ((child, depth + 1) for child in reversed(children))

    def _page(self, number: int) -> memoryview:
        if not 0 < number <= self._frames.number:
            raise DamagedError(f"it has no page {number}")
        known = self._frames.pages.get(number)
        page = self._data[(number - 1) * self._size : number * self._size] if known is None else known
        if len(page) != self._size:
            raise DamagedError(f"it has no page {number}")
        return page

    def _once(self, number: int) -> memoryview:
        if number in self._seen:
            raise DamagedError(f"its page {number} is in more than one place")
        self._seen.add(number)
        return self._page(number)

    def _row(self, page: memoryview, at: int) -> tuple[int, list[Value]]:
        size, at = _varint(page, at)
        number, at = _varint(page, at)
        most = self._usable - 35
        self._left -= size
        if self._left < 0:
            raise DamagedError("its rows say that they have more bytes than it has")
        if size <= most:
            return number, _columns(bytes(page[at : min(at + size, self._usable)]), size)
        least = (self._usable - 12) * 32 // 255 - 23
        local = least + (size - least) % (self._usable - 4)
        local = local if local <= most else least
        parts, left = [page[at : min(at + local, self._usable)]], size - local
        following = int.from_bytes(page[at + local : at + local + 4], "big")
        while left > 0:
            more = self._once(following)
            parts.append(more[4 : min(4 + left, self._usable)])
            following, left = int.from_bytes(more[:4], "big"), left - (self._usable - 4)
        return number, _columns(b"".join(parts), size)


def _columns(row: bytes, size: int) -> list[Value]:
    """The values of a row."""
    if len(row) != size:
        raise DamagedError("a row does not lie within its page")
    view = memoryview(row)
    end, at = _varint(view, 0)
    found: list[Value] = []
    start = end
    while at < end:
        kind, at = _varint(view, at)
        length = _SIZES[kind] if kind < len(_SIZES) else (kind - 12) // 2
        value = row[start : start + length]
        if kind in (10, 11) or at > end or len(value) != length:
            raise DamagedError("a row has a value of which something is missing")
        found.append(_value(kind, value))
        start += length
    return found


def _value(kind: int, value: bytes) -> Value:
    if kind in (_NONE, _FLOAT):
        return None
    if kind < len(_SIZES):
        return int.from_bytes(value, "big", signed=True) if value else kind - 8
    return decode(value) if kind % 2 else value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number of up to nine bytes, and where what follows it begins."""
    number = 0
    for count, byte in enumerate(data[at : at + 9], 1):
        if count == 9:
            return number << 8 | byte, at + count
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, at + count
    raise DamagedError("a number is not whole")


def _frames(log: bytes, size: int) -> _Frames | None:
    """The pages that a log has for the database, as far as it was written to its end; None where it has none.

    SQLite too ignores what is not whole, or left over from an earlier use of the file.
    """
    if len(log) < _LOG.size:
        return None
    magic, version, page_size, _, *salt, first, second = _LOG.unpack_from(log)
    order = ">" if magic & 1 else "<"
    state = _sum(order, log[: _LOG.size - 8], (0, 0))
    if magic | 1 != _LOG_MAGIC | 1 or version != _LOG_VERSION or page_size != size or state != (first, second):
        return None
    view = memoryview(log)
    whole: dict[int, memoryview] = {}
    pages: dict[int, memoryview] = {}
    number = 0
    for at in range(_LOG.size, len(log) - _FRAME.size - size + 1, _FRAME.size + size):
        page, commit, *own, first, second = _FRAME.unpack_from(log, at)
        start = at + _FRAME.size
        state = _sum(order, log[at : at + 8] + log[start : start + size], state)
        if own != salt or state != (first, second):
            break
        pages[page] = view[start : start + size]
        if commit:
            whole.update(pages)
            pages, number = {}, commit
    return _Frames(whole, number) if number else None


def _sum(order: str, data: bytes, state: tuple[int, int]) -> tuple[int, int]:
    first, second = state
    for one, other in struct.iter_unpack(f"{order}II", data):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second
