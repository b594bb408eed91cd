# SPDX-License-Identifier: MIT
"""Files of SQLite's format are read as SQLite reads them, whatever made them so; damaged ones end in an error."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oe_oci.packages.rpm.btree import Table, database
from oe_oci.packages.rpm.pages import DamagedError, Pages

if TYPE_CHECKING:
    from pathlib import Path

Rows = dict[int, bytes]


def read(data: bytes, log: bytes = b"", table: str = "t") -> Rows:
    pages = Pages(data, log)
    (root,) = (columns[3] for _, columns in pages.rows(1) if columns[:2] == ["table", table])
    return {number: columns[1] for number, columns in pages.rows(root)}


def made(rows: Rows, *pragmas: str) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE t (number INTEGER PRIMARY KEY, value BLOB)")
    connection.executemany("INSERT INTO t VALUES (?, ?)", rows.items())
    return connection


def blobs(*sizes: int, seed: int = 1) -> Rows:
    dice = random.Random(seed)
    return {number * 3: dice.randbytes(size) for number, size in enumerate(sizes, 1)}


@pytest.mark.parametrize("size", [512, 1024, 4096, 16384, 65536])
@pytest.mark.parametrize("more", ["cache_size = 9", "auto_vacuum = FULL"])
def test_rows_of_all_sizes_on_pages_of_all_sizes(size, more):
    edges = [size + by for by in (-40, -36, -35, -34, -12, -4, 0, 5)] + [5 * size, 0, 1, 100_000]
    rows = blobs(*edges, *(3 for _ in range(2_000)))
    with contextlib.closing(made(rows, f"page_size = {size}", more)) as connection:
        assert read(connection.serialize()) == rows


def test_what_was_removed_is_not_there():
    rows = blobs(*(50 * at for at in range(200)))
    with contextlib.closing(made(rows)) as connection:
        connection.execute("DELETE FROM t WHERE number % 2")
        connection.execute("UPDATE t SET value = zeroblob(7) WHERE number % 4 = 0")
        assert read(connection.serialize()) == dict(connection.execute("SELECT * FROM t"))


def test_values_of_all_types():
    values = [None, 0, 1, -1, 127, -129, 1 << 20, -(1 << 30), 1 << 40, -(1 << 62), "", "é", b"", b"\xff" * 300]
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE t ({', '.join(f'c{at}' for at in range(len(values) + 1))})")
        connection.execute(f"INSERT INTO t VALUES ({', '.join('?' * len(values))}, 0.5)", values)
        connection.commit()
        pages = Pages(connection.serialize())
    assert [columns for _, columns in pages.rows(2)] == [[*values, None]]  # nothing of rpm's is a fraction


def test_numbers_of_rows_to_the_highest():
    rows = dict.fromkeys((1, 127, 128, 1 << 14, 1 << 21, 1 << 31, 1 << 42, (1 << 63) - 1), b"x")
    with contextlib.closing(made(rows)) as connection:
        assert read(connection.serialize()) == rows


# ---- the log


def in_log(folder: Path, *, endless: bool = False) -> tuple[sqlite3.Connection, Path]:
    """A database whose log is not taken in of itself; where it is not `endless` it starts anew behind a checkpoint."""
    path = folder / "db"
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("page_size = 1024", "journal_mode = WAL", "wal_autocheckpoint = 0"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE t (number INTEGER PRIMARY KEY, value BLOB)")
    if not endless:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    return connection, path


def as_sqlite_reads(folder: Path, data: bytes, log: bytes) -> Rows:
    (folder / "copy").write_bytes(data)
    (folder / "copy-wal").write_bytes(log)
    (folder / "copy-shm").unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(folder / "copy")) as connection:
        return dict(connection.execute("SELECT * FROM t"))


def test_a_log_is_taken_in_as_far_as_it_is_whole(tmp_path):
    """Cut off anywhere, with bytes changed, or left over from before: SQLite itself sees the same rows."""
    connection, path = in_log(tmp_path)
    with contextlib.closing(connection):
        for at in range(30):
            connection.execute("INSERT INTO t VALUES (?, ?)", (at, bytes((at,)) * 300 * at))
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        # From here on the log is written from its start again, and what it had before stands behind.
        connection.execute("DELETE FROM t WHERE number > 7")
        connection.execute("INSERT INTO t VALUES (100, zeroblob(4000))")
        connection.execute("UPDATE t SET value = 'text' WHERE number = 3")
        data, log = path.read_bytes(), (tmp_path / "db-wal").read_bytes()
    assert read(data, log) == as_sqlite_reads(tmp_path, data, log)
    seen = set()  # numbers of rows: those before all of this, and those after it
    for end in (*range(0, 12_000, 530), *range(12_000, len(log), 20_000)):
        found = read(data, log[:end])
        assert found == as_sqlite_reads(tmp_path, data, log[:end])
        seen.add(len(found))
    assert seen == {9, 30}
    dice = random.Random(1)
    for _ in range(40):
        odd = bytearray(log)
        odd[dice.randrange(9_000)] ^= 1 << dice.randrange(8)
        assert read(data, bytes(odd)) == as_sqlite_reads(tmp_path, data, bytes(odd))


def test_a_log_with_everything_and_one_that_makes_the_database_smaller(tmp_path):
    connection, path = in_log(tmp_path, endless=True)
    with contextlib.closing(connection):
        connection.execute("INSERT INTO t VALUES (1, zeroblob(90000))")
        data, log = path.read_bytes(), (tmp_path / "db-wal").read_bytes()
        assert read(data, log) == {1: bytes(90_000)}
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("DELETE FROM t")
        connection.execute("VACUUM")
        data, log = path.read_bytes(), (tmp_path / "db-wal").read_bytes()
    assert len(data) > 90_000
    assert read(data, log) == {}


def test_a_log_of_another_database_is_ignored(tmp_path):
    connection, _ = in_log(tmp_path, endless=True)
    with contextlib.closing(connection):
        log = (tmp_path / "db-wal").read_bytes()
    with contextlib.closing(made({1: b"x"}, "page_size = 4096")) as other:
        assert read(other.serialize(), log) == {1: b"x"}


# ---- damaged and hostile files


def broken(position: int, value: bytes) -> bytes:
    data = bytearray(database([Table("t", "CREATE TABLE t (a, b)", range(1, 900), [[None] * 899, [b"x" * 90] * 899])]))
    data[position : position + len(value)] = value
    return bytes(data)


INNER = next(at for at in range(4096, 4096 * 30, 4096) if broken(0, b"S")[at] == 5)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "does not begin"),
        (b"S" * 4096, "does not begin"),
        (broken(16, b"\0\7"), "has pages of 7 bytes"),
        (broken(16, b"\3\0"), "has pages of 768 bytes"),
        (broken(0, b"S")[:-1], "ends within a page"),
        (broken(20, b"\xff"), "has no page|says that it has|does not lie|none of a table|more than one"),
        (broken(56, b"\0\0\0\2"), "its header is none"),
        (broken(100, b"\2"), "its page 1 is none of a table"),
        (broken(103, b"\xff\xff"), "its page 1 says that it has 65535 rows"),
        (broken(INNER + 8, bytes(4)), "has no page 0"),
        (broken(INNER + 8, b"\xff\xff\xff\xff"), "has no page 4294967295"),
        (broken(INNER + 8, struct.pack(">I", INNER // 4096 + 1)), "in more than one place"),
        (broken(INNER + 8, struct.pack(">I", 1)), "in more than one place|does not lie|number is not whole|of which"),
        (broken(0, b"S")[:4096], "has no page"),
    ],
)
def test_a_damaged_file(data, message):
    with pytest.raises(DamagedError, match=message):
        read(data)


def test_rows_that_lie_over_each_other_are_not_more_than_the_file():
    """A page whose cells all begin at one place would be read as often as it has cells."""
    row = b"\x8e\x00\x01\x04\x00\x8e\x60" + bytes(1792 - 4)
    cells = 500
    leaf = struct.pack(">BHHHB", 13, 0, cells, 2000, 0) + struct.pack(">H", 2200) * cells
    data = bytearray(database([Table("t", "CREATE TABLE t (a, b)", [1], [[None], [b"x" * 4000]])]))
    leaf = leaf.ljust(2200, b"\0") + row
    at = next(at for at in range(4096, len(data), 4096) if data[at] == 13)
    data[at : at + 4096] = leaf.ljust(4096, b"\0")
    with pytest.raises(DamagedError, match="more bytes than it has"):
        read(bytes(data))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=40))
def test_whatever_is_changed_there_is_an_error_or_rows(position, junk):
    size = len(broken(0, b"S"))
    with contextlib.suppress(DamagedError):
        pages = Pages(broken(position % (size - len(junk)), junk))
        for _, columns in [*pages.rows(1)]:
            for root in (column for column in columns if isinstance(column, int)):
                assert sum(1 for _ in pages.rows(root)) < size
