# SPDX-License-Identifier: MIT
"""A database in SQLite's file format, written in one go: tables and indexes whose rows are all known.

SQLite itself would write other bytes with another version or other options of its build, and these are part of a
layer's digest. Follows SQLite's documentation of its file format. Must not know what the tables hold.
"""

from __future__ import annotations

import struct
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple, Union

from ...tree import encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Value = Union[int, str, bytes, None]
_Encoded = tuple[bytes, bytes]

_PAGE = 4096
_HEADER = 100  # bytes of the first page, before its part of the tree
_LIBRARY = 3040001  # the version of SQLite that is said to have written it
_INNER_INDEX, _INNER_TABLE, _LEAF_INDEX, _LEAF_TABLE = 2, 5, 10, 13
_INNER = {_LEAF_INDEX: _INNER_INDEX, _LEAF_TABLE: _INNER_TABLE}
# Bytes of a row that lie in the tree; of a larger one at least so many, the rest in pages of their own.
_LEAST, _MOST_INDEX, _MOST_TABLE = 489, 1002, 4061
_BITS = (b"\x08", b""), (b"\x09", b"")  # 0 and 1
# The type of a number and its bytes, by how many whole bytes the bits before its sign fill.
_NUMBERS = tuple(
    (bytes((code,)), size) for code, size in ((1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (5, 6), (6, 8), (6, 8))
)


class Index(NamedTuple):
    """An index of a table by the column at `position`, whose values are all text, or all numbers; `sql` makes it."""

    name: str
    sql: str
    position: int


class Table(NamedTuple):
    """A table of as many rows as there are `numbers`, which grow; of each column the values. `sql` makes it."""

    name: str
    sql: str
    numbers: Sequence[int]
    columns: Sequence[Sequence[Value]]
    indexes: Sequence[Index] = ()


def database(tables: Iterable[Table]) -> bytes:
    """The bytes of a database's file."""
    pages, schema = _Pages(), []  # type: _Pages, list[tuple[Value, ...]]
    for table in tables:
        columns = [list(map(_encoded, column)) for column in table.columns]
        schema.append(("table", table.name, table.name, pages.table(table.numbers, columns), table.sql))
        numbers = list(map(_encoded, table.numbers)) if table.indexes else []
        for index in table.indexes:
            order = _order(table.columns[index.position], columns[index.position])
            root = pages.index([columns[index.position][at] for at in order], [numbers[at] for at in order])
            schema.append(("index", index.name, table.name, root, index.sql))
    return pages.file(schema)


class _Pages:
    def __init__(self) -> None:
        self._pages = [b""]  # the first is written last

    def table(self, numbers: Sequence[int], columns: Sequence[Sequence[_Encoded]], room: int = _PAGE) -> int:
        """Write a table's rows; returns the number of the root page."""
        keys = list(map(_varint, numbers))
        cells = [self._cell(_row(values), _MOST_TABLE, key) for values, key in zip(zip(*columns), keys)]
        return self._tree(_LEAF_TABLE, cells, keys, room)

    def index(self, values: Sequence[_Encoded], numbers: Sequence[_Encoded]) -> int:
        """Write an index of values, in their order, with the numbers of their rows; returns the root page's number."""
        pairs = zip(values, numbers)
        rows = (b"%c%b%b%b%b" % (len(kind) + len(other) + 1, kind, other, a, b) for (kind, a), (other, b) in pairs)
        cells = [self._cell(row, _MOST_INDEX) for row in rows]
        return self._tree(_LEAF_INDEX, cells, cells)

    def file(self, schema: Sequence[tuple[Value, ...]]) -> bytes:
        """All pages, the first of them with the header and the root of the schema."""
        columns = [list(map(_encoded, column)) for column in zip(*schema)]
        root = self._pages[self.table(range(1, len(schema) + 1), columns, _PAGE - _HEADER) - 1]
        self._pages.pop()  # the root, which was written last
        header = struct.pack(
            ">16sHBBBBBB12I20xII",
            b"SQLite format 3\0",
            _PAGE,
            *(1, 1),  # no write-ahead log: with one it could not be opened where nothing can be written
            *(0, 64, 32, 32),
            *(1, len(self._pages), 0, 0, len(schema), 4, 0, 0, 1, 0, 0, 0),
            *(1, _LIBRARY),
        )
        pointers = (12 if root[0] == _INNER_TABLE else 8) + 2 * int.from_bytes(root[3:5], "big")
        # Cells lie at the end of the page and are pointed to from its beginning, so they can stay.
        self._pages[0] = header + root[:pointers] + root[pointers + _HEADER :]
        return b"".join(self._pages)

    def _cell(self, row: bytes, most: int, key: bytes = b"") -> bytes:
        """A row as a leaf has it, with what is too much for one in pages of its own."""
        size = len(row)
        if size <= most:
            return _varint(size) + key + row
        local = _LEAST + (size - _LEAST) % (_PAGE - 4)
        local = local if local <= most else _LEAST
        first = len(self._pages) + 1
        for start in range(local, size, _PAGE - 4):
            following = len(self._pages) + 2 if start + _PAGE - 4 < size else 0
            self._pages.append(struct.pack(">I", following) + row[start : start + _PAGE - 4].ljust(_PAGE - 4, b"\0"))
        return _varint(size) + key + row[:local] + struct.pack(">I", first)

    def _tree(self, kind: int, cells: list[bytes], keys: list[bytes], room: int = _PAGE) -> int:
        """Write a tree level by level, from the leaves up; `keys` are what the level above has of each cell."""
        last = b""
        while True:
            upper = []
            for own, key, child in _filled(kind, cells, keys, room):
                self._pages.append(_page(kind, own, last if child is None else child))
                number = struct.pack(">I", len(self._pages))
                if child is None:
                    last = number
                else:
                    upper.append(number + key)
            if not upper:
                return len(self._pages)
            kind = _INNER.get(kind, kind)
            cells, keys = upper, [cell[4:] for cell in upper]


def _filled(
    kind: int, cells: list[bytes], keys: list[bytes], room: int
) -> Iterator[tuple[list[bytes], bytes, bytes | None]]:
    """The cells of each page, the key between it and the next, and the page that the cell of that key leads to.

    That cell goes to the level above, but for a table's leaves, which have every row. The last page has no key.
    """
    starts, left = [0], 0
    first = room - (8 if kind in _INNER else 12)
    stays = kind == _LEAF_TABLE
    for at, size in enumerate(map(len, cells)):
        if at == starts[-1]:
            left = first
        left -= size + 2
        if left < 0:
            starts.append(at if stays else at + 1)
            left = first - size - 2
    if starts[-1] == len(cells) and len(starts) > 1:  # no page may be without cells
        starts[-1] -= 1
    for start, end in zip(starts, starts[1:]):
        up = end - 1
        yield cells[start : end if stays else up], keys[up], b"" if kind in _INNER else cells[up][:4]
    yield cells[starts[-1] :], b"", None


def _page(kind: int, cells: Sequence[bytes], right: bytes) -> bytes:
    """A page; `right` leads to what comes after all cells of one that is no leaf."""
    start = _PAGE - sum(map(len, cells))
    pointers = struct.pack(f">{len(cells)}H", *accumulate(map(len, cells[:-1]), initial=start)) if cells else b""
    head = struct.pack(">BHHHB", kind, 0, len(cells), start, 0)
    head += pointers if kind in _INNER else right + pointers
    return b"".join((head, bytes(start - len(head)), *cells))


def _order(column: Sequence[Value], encoded: Sequence[_Encoded]) -> list[int]:
    """The order of an index: that of numbers, and of text by its bytes."""
    if column and isinstance(column[0], str):
        return sorted(range(len(encoded)), key=[data for _, data in encoded].__getitem__)
    return sorted(range(len(column)), key=column.__getitem__)  # type: ignore[arg-type]


def _row(values: Sequence[_Encoded]) -> bytes:
    """A row: the types of its values, then these."""
    types = b"".join([kind for kind, _ in values])
    assert len(types) < 127  # so that their length is one byte
    return b"".join([bytes((len(types) + 1,)), types, *[data for _, data in values]])


def _encoded(value: Value) -> _Encoded:
    """The type of a value, and its bytes; numbers are from 0 on."""
    if isinstance(value, int):
        if value < 2:
            return _BITS[value]
        code, size = _NUMBERS[value.bit_length() // 8]
        return code, value.to_bytes(size, "big")
    if isinstance(value, str):
        data = encode(value)
        return _varint(13 + 2 * len(data)), data
    return (b"\0", b"") if value is None else (_varint(12 + 2 * len(value)), value)


def _varint(number: int) -> bytes:
    """A number from 0 on, below 2 to the power of 56."""
    if number < 0x80:
        return bytes((number,))
    # Two or three bytes, as the numbers of rows have, of which there are very many.
    if number < 0x4000:
        return bytes((number >> 7 | 0x80, number & 0x7F))
    if number < 0x200000:
        return bytes((number >> 14 | 0x80, number >> 7 & 0x7F | 0x80, number & 0x7F))
    found = [number & 0x7F]
    while number > 0x7F:
        number >>= 7
        found.append(number & 0x7F | 0x80)
    return bytes(reversed(found))
