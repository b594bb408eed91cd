# SPDX-License-Identifier: MIT
"""A database in SQLite's file format, written in one go: tables and indexes whose rows are all known.

SQLite itself would write other bytes with another version or other options of its build, and these are part of a
layer's digest. Follows SQLite's documentation of its file format. Must not know what the tables hold.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple, Union

from ...tree import encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Column = Union[int, str, bytes, None]

_PAGE = 4096
_HEADER = 100  # bytes of the first page, before its part of the tree
_LIBRARY = 3040001  # the version of SQLite that is said to have written it
_INNER_INDEX, _INNER_TABLE, _LEAF_INDEX, _LEAF_TABLE = 2, 5, 10, 13
# Bytes of a row that lie in the tree; of a larger one at least so many, the rest in pages of their own.
_LEAST, _MOST_INDEX, _MOST_TABLE = 489, 1002, 4061
_SIGNED = {1: 1, 2: 2, 3: 3, 4: 4, 6: 5, 8: 6}  # the types of numbers, by their bytes


class Index(NamedTuple):
    """An index of a table by the column at `position`; `sql` makes it."""

    name: str
    sql: str
    position: int


class Table(NamedTuple):
    """A table: each row has a number, higher than the one before it, and columns; `sql` makes it."""

    name: str
    sql: str
    rows: Sequence[tuple[int, Sequence[Column]]]
    indexes: Sequence[Index] = ()


class _Cell(NamedTuple):
    """A row, or of an inner page of a table the number of one; `child` is the page with what comes before it.

    `key` is what the level above has of it, where it goes there.
    """

    body: bytes
    key: bytes
    child: bytes = b""


def database(tables: Iterable[Table]) -> bytes:
    """The bytes of a database's file."""
    pages = _Pages()
    schema: list[tuple[int, Sequence[Column]]] = []

    def enter(kind: str, name: str, table: str, root: int, sql: str) -> None:
        schema.append((len(schema) + 1, (kind, name, table, root, sql)))

    for table in tables:
        enter("table", table.name, table.name, pages.table(table.rows), table.sql)
        for index in table.indexes:
            enter("index", index.name, table.name, pages.index(table.rows, index.position), index.sql)
    return pages.file(schema)


class _Pages:
    def __init__(self) -> None:
        self._pages = [b""]  # the first is written last

    def table(self, rows: Iterable[tuple[int, Sequence[Column]]], room: int = _PAGE) -> int:
        """Write a table's rows; returns the number of the root page."""
        cells = []
        for number, columns in rows:
            key = _varint(number)
            cells.append(_Cell(self._body(_record(columns), _MOST_TABLE, key), key))
        return self._tree(cells, _LEAF_TABLE, room)

    def index(self, rows: Iterable[tuple[int, Sequence[Column]]], position: int) -> int:
        """Write the index of a table's column; returns the number of the root page."""
        entries = ((columns[position], number) for number, columns in rows)
        cells = []
        for entry in sorted(entries, key=_order):
            body = self._body(_record(entry), _MOST_INDEX)
            cells.append(_Cell(body, body))
        return self._tree(cells, _LEAF_INDEX, _PAGE)

    def file(self, schema: Sequence[tuple[int, Sequence[Column]]]) -> bytes:
        """All pages, the first of them with the header and the root of the schema."""
        root = self._pages[self.table(schema, _PAGE - _HEADER) - 1]
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
        inner = 4 if root[0] in (_INNER_INDEX, _INNER_TABLE) else 0
        pointers = 8 + inner + 2 * int.from_bytes(root[3:5], "big")
        # Cells lie at the end of the page and are pointed to from its beginning, so they can stay.
        self._pages[0] = header + root[:pointers] + root[pointers + _HEADER :]
        return b"".join(self._pages)

    def _body(self, row: bytes, most: int, key: bytes = b"") -> bytes:
        """A row as a cell has it, with what is too much for one in pages of its own."""
        size = _varint(len(row))
        if len(row) <= most:
            return size + key + row
        local = _LEAST + (len(row) - _LEAST) % (_PAGE - 4)
        local = local if local <= most else _LEAST
        first = len(self._pages) + 1
        for start in range(local, len(row), _PAGE - 4):
            more = start + _PAGE - 4 < len(row)
            following = len(self._pages) + 2 if more else 0
            piece = row[start : start + _PAGE - 4]
            self._pages.append(struct.pack(">I", following) + piece.ljust(_PAGE - 4, b"\0"))
        return size + key + row[:local] + struct.pack(">I", first)

    def _tree(self, cells: list[_Cell], kind: int, room: int) -> int:
        """Write a tree level by level, from the leaves up."""
        last = 0
        while True:
            cells, last = self._level(cells, kind, last, room)
            if not cells:
                return last
            kind = _INNER_TABLE if kind in (_LEAF_TABLE, _INNER_TABLE) else _INNER_INDEX

    def _level(self, cells: list[_Cell], kind: int, last: int, room: int) -> tuple[list[_Cell], int]:
        """Write one level; returns the cells of the one above it, and the number of the page behind those.

        `last` is the page behind the last cell, for a level that is not that of the leaves.
        """
        upper = []
        for own, up in _filled(cells, kind, room):
            right = last if up is None else int.from_bytes(up.child, "big")
            self._pages.append(_page(kind, own, right))
            if up is not None:
                upper.append(_Cell(up.key, up.key, struct.pack(">I", len(self._pages))))
        return upper, len(self._pages)


def _filled(cells: list[_Cell], kind: int, room: int) -> list[tuple[list[_Cell], _Cell | None]]:
    """The cells of each page, and the one between it and the next that goes to the level above.

    Of a table's leaves none goes, but the last number of each is known there too.
    """
    stays = kind == _LEAF_TABLE
    first = room - (8 if kind in (_LEAF_TABLE, _LEAF_INDEX) else 12)
    left, own = first, []  # type: int, list[_Cell]
    filled: list[tuple[list[_Cell], _Cell | None]] = []
    for cell in cells:
        size = len(cell.child) + len(cell.body) + 2
        if size <= left:
            own.append(cell)
            left -= size
            continue
        filled.append((own, own[-1] if stays else cell))
        own, left = ([cell], first - size) if stays else ([], first)
    if filled and not own:  # no page may be without cells
        before, up = filled.pop()
        assert up is not None
        filled.append((before[:-1], before[-1]))
        own = [up]
    return [*filled, (own, None)]


def _page(kind: int, cells: Sequence[_Cell], right: int) -> bytes:
    bodies = [cell.child + cell.body for cell in cells]
    start = _PAGE - sum(map(len, bodies))
    pointers, at = [], start
    for body in bodies:
        pointers.append(at)
        at += len(body)
    head = struct.pack(">BHHHB", kind, 0, len(cells), start, 0)
    if kind in (_INNER_INDEX, _INNER_TABLE):
        head += struct.pack(">I", right)
    head += struct.pack(f">{len(pointers)}H", *pointers)
    return head.ljust(start, b"\0") + b"".join(bodies)


def _order(entry: tuple[Column, int]) -> tuple[int, int | bytes, int]:
    """Where an entry of an index stands: numbers before texts before bytes."""
    value, number = entry
    if isinstance(value, int):
        return 0, value, number
    return (1, encode(value), number) if isinstance(value, str) else (2, value or b"", number)


def _record(columns: Sequence[Column]) -> bytes:
    types, values = b"", []
    for column in columns:
        kind, value = _value(column)
        types += _varint(kind)
        values.append(value)
    assert len(types) < 127  # so that its own length is one byte
    return b"".join((bytes((len(types) + 1,)), types, *values))


def _value(column: Column) -> tuple[int, bytes]:
    """A column's type and its bytes."""
    if column is None:
        return 0, b""
    if isinstance(column, int):
        if column in (0, 1):
            return 8 + column, b""
        size = next(size for size in _SIGNED if -(1 << 8 * size - 1) <= column < 1 << 8 * size - 1)
        return _SIGNED[size], column.to_bytes(size, "big", signed=True)
    if isinstance(column, str):
        data = encode(column)
        return 13 + 2 * len(data), data
    return 12 + 2 * len(column), column


def _varint(number: int) -> bytes:
    """A number from 0 on, below 2 to the power of 56."""
    if number < 0x80:
        return bytes((number,))
    found = [number & 0x7F]
    while number > 0x7F:
        number >>= 7
        found.append(number & 0x7F | 0x80)
    return bytes(reversed(found))
