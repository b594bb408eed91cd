# SPDX-License-Identifier: MIT
"""rpmdb.sqlite: the headers in one, and one made of headers, with the tables that rpm looks packages up in.

Reads with Python's sqlite3, in memory; a database that came with an image is not trusted. Must not know trees.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from typing import TYPE_CHECKING

from ...errors import ToolError
from ..database import damaged
from .btree import Index, Table, database
from .lookups import LOOKUPS, Lookup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .header import Header

_SMALLEST = 512  # bytes of a page
_JOURNALS = 18  # where the bytes are that say whether there is a write-ahead log
_ROLLBACK = b"\1\1"
_STEPS = 10_000  # of SQLite's machine between two looks at how many there were
_ALLOWED = frozenset((sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ))

_PACKAGES = "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL)"
_SEQUENCE = "CREATE TABLE sqlite_sequence(name,seq)"
_LOOKUP = (
    "CREATE TABLE '{0}' (key '{1}' NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL, "
    "FOREIGN KEY (hnum) REFERENCES 'Packages'(hnum))"
)
_INDEX = "CREATE INDEX '{0}_{1}_idx' ON '{0}'({1} ASC)"


def read(data: bytes, log: bytes, where: str) -> dict[int, bytes]:
    """The headers in a database by their numbers; `log` is its write-ahead log, where that has anything in it.

    Raises:
        InputError: it is damaged, or no database of rpm's.
        ToolError: the log can not be taken in, as the disk is full.
    """
    if len(data) % _SMALLEST:
        raise damaged(f"{where}: is no database of rpm, or ends early")  # SQLite takes what is missing for zeros
    if log:
        return _read_with_log(data, log, where)
    connection = sqlite3.connect(":memory:")
    # In memory there can be no log, and a database that could have one is not opened.
    connection.deserialize(b"".join((data[:_JOURNALS], _ROLLBACK, data[_JOURNALS + len(_ROLLBACK) :])))
    return _read(connection, len(data), where)


def _read_with_log(data: bytes, log: bytes, where: str) -> dict[int, bytes]:
    """SQLite takes a log in from files alone: copies, as it changes them."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "rpmdb.sqlite")
            for name, content in ((path, data), (f"{path}-wal", log)):
                with open(name, "wb") as file:
                    file.write(content)
            return _read(sqlite3.connect(path, isolation_level=None), len(data) + len(log), where)
    except OSError as error:
        raise ToolError(f"cannot copy {where} to {tempfile.gettempdir()}: {error.strerror}") from error


def _read(connection: sqlite3.Connection, size: int, where: str) -> dict[int, bytes]:
    try:
        _restrict(connection, size)
        found = connection.execute(
            "SELECT type, rootpage FROM sqlite_master WHERE name = 'Packages' COLLATE NOCASE"
        ).fetchall()
        if len(found) != 1 or found[0][0] != "table" or not found[0][1]:
            raise damaged(f"{where}: is no database of rpm: it has no table of packages")
        headers: dict[int, bytes] = {}
        for number, blob in connection.execute("SELECT hnum, blob FROM Packages"):
            size -= len(blob) if isinstance(blob, bytes) else 0
            if type(number) is not int or not isinstance(blob, bytes) or number in headers or number < 1 or size < 0:
                raise damaged(f"{where}: its table of packages has a row that is none of rpm's")
            headers[number] = blob
    # What is no UTF-8 in an error's own text is a UnicodeDecodeError.
    except (sqlite3.Error, UnicodeDecodeError, OverflowError, MemoryError) as error:
        raise damaged(f"{where}: can not be read: {error}") from error
    finally:
        connection.close()
    return dict(sorted(headers.items()))


def _restrict(connection: sqlite3.Connection, size: int) -> None:
    """Have a connection do nothing but read rows, and no more than a database of that size can have."""
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, size)
    connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, 10_000)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.set_authorizer(lambda action, *_names: sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY)
    left = 1000 + size // _STEPS

    def is_too_long() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    connection.set_progress_handler(is_too_long, _STEPS)


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
