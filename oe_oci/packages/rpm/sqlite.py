# SPDX-License-Identifier: MIT
"""rpmdb.sqlite: the headers in one, and one made of headers, with the tables that rpm looks packages up in.

Must not know trees.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..database import damaged
from .btree import Index, Table, database
from .lookups import LOOKUPS, Lookup
from .pages import DamagedError, Pages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .header import Header

_MOST = 0xFFFFFFFF  # of packages' numbers

_MADE = re.compile(
    r"CREATE TABLE ['\"]?Packages['\"]? ?\(hnum INTEGER PRIMARY KEY( AUTOINCREMENT)?, ?blob BLOB NOT NULL\)"
)
_PACKAGES = "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL)"
_SEQUENCE = "CREATE TABLE sqlite_sequence(name,seq)"
_LOOKUP = (
    "CREATE TABLE '{0}' (key '{1}' NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL, "
    "FOREIGN KEY (hnum) REFERENCES 'Packages'(hnum))"
)
_INDEX = "CREATE INDEX '{0}_{1}_idx' ON '{0}'({1} ASC)"


def read(data: bytes, log: bytes, where: str) -> dict[int, bytes]:
    """The headers in a database by their numbers; `log` is its write-ahead log, where it has one.

    Raises:
        InputError: it is damaged, or no database of rpm's.
    """
    headers: dict[int, bytes] = {}
    try:
        pages = Pages(data, log)
        for number, columns in pages.rows(_root(pages)):
            blob = columns[-1] if len(columns) == 2 else None
            if not isinstance(blob, bytes) or number in headers or not 0 < number <= _MOST:
                raise damaged(f"{where}: its package {number} has no header, or two")
            headers[number] = blob
    except DamagedError as error:
        raise damaged(f"{where}: is no database of rpm, or damaged: {error}") from error
    return dict(sorted(headers.items()))


def _root(pages: Pages) -> int:
    """Where the table of packages begins."""
    for _, columns in pages.rows(1):
        if len(columns) == 5 and columns[:2] == ["table", "Packages"]:
            root, sql = columns[3:]
            if isinstance(root, int) and isinstance(sql, str) and _MADE.fullmatch(sql):
                return root
    raise DamagedError("it has no table of packages")


def write(headers: Sequence[tuple[int, Header]]) -> bytes:
    """A database of headers with their numbers, in the order of these, as rpm 4.18 has it.

    Raises:
        InputError: a header is damaged.
    """
    numbers = [number for number, _ in headers]
    blobs = [header.data for _, header in headers]
    tables = [
        Table("Packages", _PACKAGES, numbers, ([None] * len(blobs), blobs)),
        Table("sqlite_sequence", _SEQUENCE, [1][: len(blobs)], (["Packages"], numbers[-1:])),
    ]
    return database((*tables, *(_table(lookup, headers) for lookup in LOOKUPS)))


def _table(lookup: Lookup, headers: Sequence[tuple[int, Header]]) -> Table:
    name = lookup.name
    rows = [(key, number, place) for number, header in headers for key, place in lookup.keys(header)]
    indexes = [
        Index(f"{name}_{column}_idx", _INDEX.format(name, column), ("key", "hnum").index(column))
        for column in lookup.indexed
    ]
    sql = _LOOKUP.format(name, "TEXT" if lookup.text else "BLOB")
    return Table(name, sql, range(1, len(rows) + 1), list(zip(*rows)) or [(), (), ()], indexes)
