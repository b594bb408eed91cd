# SPDX-License-Identifier: MIT
"""Databases in SQLite's file format: SQLite itself must find every row in them, in order, and nothing wrong."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oe_oci.packages.rpm.btree import Index, Table, database
from oe_oci.tree import decode


def opened(data: bytes) -> contextlib.closing[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.deserialize(data)
    connection.text_factory = bytes
    assert connection.execute("PRAGMA integrity_check").fetchall() == [(b"ok",)]
    return contextlib.closing(connection)


def table(rows: list[tuple[object, int]], indexes: tuple[str, ...] = ("a", "b")) -> Table:
    """A table of two columns, with an index of each."""
    made = [Index(f"t_{name}", f"CREATE INDEX t_{name} ON t({name} ASC)", "ab".index(name)) for name in indexes]
    columns = [[a for a, _ in rows], [b for _, b in rows]]
    return Table("t", "CREATE TABLE t (a, b)", range(1, len(rows) + 1), columns, made)


def ordered(data: bytes, by: str) -> list[tuple[object, int]]:
    with opened(data) as found:
        plan = found.execute(f"EXPLAIN QUERY PLAN SELECT a, b FROM t INDEXED BY t_{by} ORDER BY {by}").fetchall()
        assert f"t_{by}".encode() in plan[0][3]
        return found.execute(f"SELECT a, b FROM t INDEXED BY t_{by} ORDER BY {by}, rowid").fetchall()


@pytest.mark.parametrize("number", [0, 1, 2, 5, 300, 2_000, 20_000])
def test_every_row_is_found_by_its_number_and_by_each_index(number):
    # Not in order, many equal.
    keys = [hashlib.md5(bytes((at % 97,))).hexdigest()[: at % 33] for at in range(number)]
    rows = [(key, at // 3) for at, key in enumerate(keys)]
    data = database([table(rows)])
    with opened(data) as found:
        as_bytes = [(key.encode(), value) for key, value in rows]
        assert found.execute("SELECT a, b FROM t ORDER BY rowid").fetchall() == as_bytes
        for at in range(0, number, max(1, number // 50)):
            assert found.execute("SELECT a, b FROM t WHERE rowid = ?", (at + 1,)).fetchall() == [as_bytes[at]]
    assert ordered(data, "a") == sorted(as_bytes, key=lambda row: row[0])
    assert ordered(data, "b") == as_bytes


LENGTHS = [485, 488, 489, 490, 990, 996, 1000, 1005, 2000, 4050, 4061, 4090, 8200, 100_000, 1_100_000]


@pytest.mark.parametrize("length", LENGTHS)
def test_long_values_go_on_in_pages_of_their_own(length):
    rows = [(chr(97 + at) * (length + at), at) for at in range(12)]
    data = database([table(rows)])
    assert ordered(data, "a") == [(key.encode(), value) for key, value in rows]


def test_an_inner_page_is_never_left_without_cells():
    """Entries so long that four fill a page: whatever their number, no page may be empty at the end of a level."""
    for number in range(1, 60):
        rows = [(f"{at:04}" * 250, at) for at in range(number)]
        assert len(ordered(database([table(rows)]), "a")) == number


def test_numbers_of_all_sizes():
    powers = (0, 1, 7, 8, 15, 16, 23, 24, 31, 32, 39, 40, 47, 48, 55, 62)
    rows = [(number, 0) for power in powers for number in (2**power, 2**power - 1)]
    assert ordered(database([table(rows)]), "a") == sorted(rows)


def test_bytes_and_nothing_are_kept_as_they_are():
    with opened(database([table([(b"\0\xff", 1), (None, 2), (b"", 3)], indexes=())])) as found:
        assert found.execute("SELECT a, typeof(a) FROM t").fetchall() == [
            (b"\0\xff", b"blob"),
            (None, b"null"),
            (b"", b"blob"),
        ]


def test_text_that_is_no_utf_8_stands_where_its_bytes_do():
    names = [decode(name) for name in (b"\xff", b"\xc3\xa9", b"\xee\x80\x80", b"\xf0\x9f\x98\x80", b"\x80", b"a")]
    found = ordered(database([table([(name, at) for at, name in enumerate(names)])]), "a")
    assert [key for key, _ in found] == [b"a", b"\x80", b"\xc3\xa9", b"\xee\x80\x80", b"\xf0\x9f\x98\x80", b"\xff"]


def test_many_tables_have_their_schema_on_more_than_one_page():
    tables = [Table(f"t{at}", f"CREATE TABLE t{at} (a)", [7], [[at]]) for at in range(300)]
    with opened(database(tables)) as found:
        assert [found.execute(f"SELECT rowid, a FROM t{at}").fetchall() for at in range(300)] == [
            [(7, at)] for at in range(300)
        ]


def test_sqlite_writes_to_it():
    """What is added, changed and removed by SQLite itself leaves a good database."""
    with opened(database([table([(f"k{at:05}" * 9, at) for at in range(5_000)])])) as found:
        found.execute("DELETE FROM t WHERE b % 3 = 0")
        found.executemany("INSERT INTO t VALUES (?, ?)", [(f"n{at}" * 300, at) for at in range(500)])
        found.execute("UPDATE t SET a = a || a WHERE b % 5 = 1")
        assert found.execute("PRAGMA integrity_check").fetchall() == [(b"ok",)]
        assert found.execute("SELECT count(*) FROM t").fetchone() == (3_333 + 500,)


def test_no_bytes_come_from_the_library():
    """They are the same with every version of Python and of SQLite."""
    data = database([table([(f"key {at}" * (at % 400), at) for at in range(3_000)])])
    assert hashlib.sha256(data).hexdigest() == "5b8cb7e75753b3befec1cc36d7a971b6b07ef7c085253abe653b910b5b52cbc0"


@given(st.lists(st.tuples(st.text(max_size=1_200), st.integers(0, 5)), max_size=60))
def test_any_rows(rows):
    encodable = [(key.encode("utf-8", "replace").decode(), value) for key, value in rows]
    found = ordered(database([table(encodable)]), "a")
    assert found == sorted(((key.encode(), value) for key, value in encodable), key=lambda row: row[0])
