# SPDX-License-Identifier: MIT
"""rpm's database: what is read of a base's, what a layer writes, and databases made to harm."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import struct
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import headers
from support.trees import directory, file, link, with_parents

from oe_oci.errors import InputError
from oe_oci.packages.database import KEEP, Step
from oe_oci.packages.rpm import database
from oe_oci.packages.rpm.entered import entered, with_hidden
from oe_oci.packages.rpm.header import Header
from oe_oci.tree import Tree

if TYPE_CHECKING:
    from oe_oci.packages.database import Written
    from oe_oci.packages.package import Installed

ROOT = "var/lib/rpm"
PATH = f"{ROOT}/rpmdb.sqlite"
WHERE = r"/var/lib/rpm/rpmdb\.sqlite"
EPOCH = 1_700_000_000

SHELL = headers.stored("shell", "5.2", {"/bin/sh": b"#", "/etc/shell.conf": b"a", "/run/sh.ghost": b""}, _1003=1)
LIB = headers.stored("lib", "2~rc1", {"/usr/lib/lib.so": b"l"}, _5046=["extra"])


def base(data: bytes, path: str = PATH, **more: bytes) -> Tree:
    """A base image with a database, and more files in its folder: `_s` stands for the database's name."""
    folder = path.rpartition("/")[0]
    found = {f"{folder}/{name.replace('_s', 'rpmdb.sqlite')}": file(value) for name, value in more.items()}
    return Tree(with_parents({path: file(data), **found}))


EMPTY = Tree(with_parents({"etc": directory()}))


def new(name: str, version: str = "1", files: dict[str, bytes] | None = None, epoch: int = EPOCH) -> Installed:
    """A package as a layer enters it."""
    signature, main = headers.package(name, version, files)
    return database.installed(entered(Header(main, name), Header(signature, name), epoch))


def write(lower: Tree, *packages: Installed) -> Written:
    return database.write(lower, Step(packages, (), (), " "), KEEP)


def rows(data: bytes, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(":memory:")
    connection.deserialize(data)
    with contextlib.closing(connection):
        return connection.execute(query).fetchall()


# ---- reading


def test_no_database_is_no_package():
    assert database.read(EMPTY) == ()
    assert database.read(base(b"")) == ()


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (headers.sqlite(SHELL, LIB), PATH),
        (headers.sqlite(SHELL, LIB), "usr/lib/sysimage/rpm/rpmdb.sqlite"),
        (headers.sqlite(SHELL, LIB), "usr/share/rpm/rpmdb.sqlite"),
        (headers.ndb(SHELL, LIB), f"{ROOT}/Packages.db"),
    ],
)
def test_packages_are_read_with_all_that_is_known_of_them(data, path):
    lower = base(data, path)
    shell, lib = database.read(lower)
    assert (shell.name, shell.version, shell.arch, shell.whole) == ("shell", "1:5.2-1", "noarch", True)
    assert (lib.shown, lib.header.texts(5046)) == ("lib 2~rc1-1", ("extra",))
    assert shell.conffiles == (("etc/shell.conf", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),)
    assert database.files_of(lower, shell) == ("bin/sh", "etc/shell.conf", "run/sh.ghost")
    assert database.files_of(lower, lib) == ("usr/lib/lib.so",)
    assert shell.header.data == SHELL


def test_a_database_behind_links():
    lower = Tree(
        with_parents(
            {
                "var/lib/rpm": link("../../usr/lib/sysimage/rpm"),
                "usr/lib/sysimage/rpm/rpmdb.sqlite": file(headers.sqlite(SHELL)),
            }
        )
    )
    assert [one.name for one in database.read(lower)] == ["shell"]
    assert set(write(lower, *database.read(lower), new("app")).files) == {"usr/lib/sysimage/rpm/rpmdb.sqlite"}


SYSIMAGE = "usr/lib/sysimage/rpm"


@pytest.mark.parametrize(
    ("entries", "place"),
    [
        ({"usr/lib": directory()}, "var/lib/rpm"),
        ({SYSIMAGE: directory()}, SYSIMAGE),
        ({SYSIMAGE: directory(), "var/lib/rpm": directory()}, "var/lib/rpm"),
        ({SYSIMAGE: directory(), "var/lib/rpm": link(f"/{SYSIMAGE}")}, SYSIMAGE),
        ({"var/lib/rpm": link(f"/{SYSIMAGE}")}, SYSIMAGE),
        ({SYSIMAGE: link("../../share/rpm"), "usr/share/rpm": directory()}, "usr/share/rpm"),
        ({SYSIMAGE: file(b"")}, "var/lib/rpm"),
        ({"usr/share/rpm": directory()}, "var/lib/rpm"),
    ],
)
def test_a_new_database_lies_where_the_image_has_room_for_it(entries, place):
    assert set(write(Tree(with_parents(entries)), new("app")).files) == {f"{place}/rpmdb.sqlite"}


def test_files_that_were_not_installed_are_not_its_own():
    files = {"/usr/share/a": b"", "/usr/share/b": b"", "/usr/share/doc/a": b""}
    lower = base(headers.sqlite(headers.stored("a", "1", files, _1029=[0, 0, 2])))
    assert database.files_of(lower, database.read(lower)[0]) == ("usr/share/a", "usr/share/b")


def test_the_root_directory_is_owned_without_a_path():
    signature, main = headers.package("fs", _1117=["", "usr"], _1116=[0, 0], _1118=["/"])
    one = database.installed(entered(Header(main, "fs"), Header(signature, "fs"), 0))
    assert database.files_of(EMPTY, one) == ("usr",)


def test_keys_of_signatures_have_no_architecture_and_share_a_name():
    keys = [headers.header({1000: "gpg-pubkey", 1001: f"{at}", 1002: "1", 1008: 5}, 63) for at in (1, 2)]
    lower = base(headers.sqlite(*keys))
    found = database.read(lower)
    assert [(one.name, one.version, one.arch) for one in found] == [
        ("gpg-pubkey", "1-1", ""),
        ("gpg-pubkey", "2-1", ""),
    ]
    data = write(lower, *found, new("app")).files[PATH].data
    assert rows(data, "SELECT hnum, blob FROM Packages")[:2] == [(1, keys[0]), (2, keys[1])]


def test_berkeley_db_is_not_read():
    with pytest.raises(InputError, match=r"/var/lib/rpm/Packages: .* Berkeley DB") as error:
        database.read(base(b"any", f"{ROOT}/Packages"))
    assert "rpm --rebuilddb" in error.value.hint


def logged(tmp_path) -> tuple[bytes, bytes]:
    """A database, and the log of a package that was added to it."""
    path = tmp_path / "rpmdb.sqlite"
    path.write_bytes(headers.sqlite(SHELL))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("INSERT INTO Packages VALUES (?, ?)", (9, LIB))
        return path.read_bytes(), (tmp_path / "rpmdb.sqlite-wal").read_bytes()


def test_what_a_log_adds_is_read_and_the_log_goes(tmp_path):
    data, log = logged(tmp_path)
    assert data[18:20] == b"\2\2"
    assert [one.name for one in database.read(base(data))] == ["shell"]
    lower = base(data, **{"_s-wal": log, "_s-shm": bytes(32768)})
    assert [one.name for one in database.read(lower)] == ["shell", "lib"]
    written = write(lower, *database.read(lower))
    assert written.removed == (f"{PATH}-shm", f"{PATH}-wal")
    assert rows(written.files[PATH].data, "SELECT hnum FROM Packages") == [(1,), (9,)]


def test_a_log_that_is_none_is_as_if_it_was_not_there(tmp_path):
    data, log = logged(tmp_path)
    for odd in (b"x" * 5000, log[:40], log[:-4000], log[:32] + log[100:]):
        assert [one.name for one in database.read(base(data, **{"_s-wal": odd}))] == ["shell"]


def test_a_database_whose_change_was_cut_off():
    with pytest.raises(InputError, match=r"rpmdb\.sqlite-journal: a change .* was cut off") as error:
        database.read(base(headers.sqlite(SHELL), **{"_s-journal": b"\xd9\xd5\x05\xf9"}))
    assert "base image" in error.value.hint


# ---- damaged and hostile databases


def changed(statement: str, *blobs: bytes) -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.deserialize(headers.sqlite(*blobs))
    with contextlib.closing(connection):
        connection.executescript(statement)
        return connection.serialize()


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE Packages",
        "ALTER TABLE Packages RENAME TO Other; CREATE VIEW Packages AS SELECT hnum, blob FROM Other",
        "DROP TABLE Packages; CREATE VIRTUAL TABLE Packages USING fts3(hnum, blob)",
        "DROP TABLE Packages; CREATE TABLE Packages (hnum, other)",
        "DROP TABLE Packages; CREATE TABLE Packages (hnum, blob); INSERT INTO Packages VALUES (1, NULL)",
        "DROP TABLE Packages; CREATE TABLE Packages (hnum, blob); INSERT INTO Packages VALUES (NULL, x'00')",
        "DROP TABLE Packages; CREATE TABLE Packages (hnum, blob); INSERT INTO Packages VALUES ('1', x'00')",
        "DROP TABLE Packages; CREATE TABLE Packages (hnum, blob); INSERT INTO Packages VALUES (1, 'text')",
        "DROP TABLE Packages; CREATE TABLE Packages (hnum, blob); INSERT INTO Packages VALUES (1, x'00'), (1, x'01')",
        "INSERT INTO Packages VALUES (-1, x'00')",
        "INSERT INTO Packages VALUES (7, x'')",
        "INSERT INTO Packages VALUES (7, zeroblob(100000))",
        "DROP TABLE Packages; CREATE TABLE Packages (hnum, blob AS (zeroblob(1e9))); INSERT INTO Packages VALUES (1)",
    ],
)
def test_a_table_that_is_not_rpms(statement):
    with pytest.raises(InputError, match=WHERE) as error:
        database.read(base(changed(statement, SHELL)))
    assert "base image" in error.value.hint


def test_what_a_schema_says_is_not_run():
    """Triggers, views and other tables are there, and nothing of them is looked at."""
    data = changed(
        "CREATE TRIGGER t AFTER INSERT ON Packages BEGIN DELETE FROM Packages; END;"
        "CREATE VIEW v AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c",
        SHELL,
    )
    assert [one.name for one in database.read(base(data))] == ["shell"]


@pytest.mark.parametrize("data", [b"x", b"SQLite format 3\0", bytes(4096), b"\xff" * 9000, headers.sqlite(SHELL)[:-1]])
def test_a_file_that_is_no_database(data):
    with pytest.raises(InputError, match=WHERE):
        database.read(base(data))


def test_a_database_with_bytes_changed_is_an_error_or_is_read():
    whole, dice = (
        headers.sqlite(SHELL, *(headers.stored(f"p{at}", _1047=["x" * 900]) for at in range(40))),
        random.Random(1),
    )
    started = time.monotonic()
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(dice.choice((1, 4, 50))):
            data[dice.randrange(len(data))] = dice.randrange(256)
        cut = bytes(data[: dice.choice((len(data), dice.randrange(len(data))))])
        with contextlib.suppress(InputError):
            for one in database.read(base(cut)):
                database.files_of(EMPTY, one)
    assert time.monotonic() - started < 60


def test_pages_that_lead_to_each_other_end():
    """A tree whose inner pages are one page again and again would have rows without end."""
    data = bytearray(headers.sqlite(*(headers.stored(f"p{at}", _1047=["x" * 900]) for at in range(700))))
    pages = [data[start : start + 4096] for start in range(0, len(data), 4096)]
    inner = [number for number, page in enumerate(pages[1:], 2) if page[0] == 5]
    first = inner[0]
    at = (first - 1) * 4096
    cells = struct.unpack_from(">H", data, at + 3)[0]
    for number in range(cells):
        (pointer,) = struct.unpack_from(">H", data, at + 12 + 2 * number)
        struct.pack_into(">I", data, at + pointer, first)
    with pytest.raises(InputError):
        database.read(base(bytes(data)))


def test_leaves_that_are_read_again_and_again_end():
    data = bytearray(headers.sqlite(*(headers.stored(f"p{at}", _1047=["x" * 900]) for at in range(700))))
    at = next(start for start in range(4096, len(data), 4096) if data[start] == 5)
    cells = struct.unpack_from(">H", data, at + 3)[0]
    pointers = struct.unpack_from(f">{cells}H", data, at + 12)
    leaf = data[at + pointers[0] : at + pointers[0] + 4]
    for pointer in pointers:
        data[at + pointer : at + pointer + 4] = leaf
    with pytest.raises(InputError, match="its page 4 is in more than one place"):
        database.read(base(bytes(data)))


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"", "package 1: damaged header"),
        (SHELL[:-1], "package 1: damaged header"),
        (headers.header({1000: "a"}, 63), "'' can not be a package's name"),
        (headers.header({1000: "a\nb", 1001: "1", 1002: "1"}, 63), r"'a\\nb' can not be"),
        (headers.stored("a", _1022="x y"), "'x y' can not be"),
        (headers.stored("a", files={"/a.conf": b""}, _1116=[7]), "do not fit where these lie"),
        (headers.stored("a", files={"/a.conf": b"", "/b": b""}, _1037=[1]), "2 files have 1 flags"),
        (headers.stored("a", files={"/../a.conf": b""}), "is no path of a package"),
    ],
)
def test_a_header_that_is_damaged(blob, message):
    with pytest.raises(InputError, match=message) as error:
        database.read(base(headers.sqlite(blob)))
    assert "/var/lib/rpm/rpmdb.sqlite" in error.value.message
    assert "base image" in error.value.hint


def test_paths_that_lead_out():
    (one,) = database.read(base(headers.sqlite(headers.stored("a", files={"/../../etc/x": b""}))))
    with pytest.raises(InputError, match=r"package 1: .* is no path of a package"):
        database.files_of(EMPTY, one)


def test_a_file_where_a_folder_is_and_one_that_is_too_large(monkeypatch):
    with pytest.raises(InputError, match="is a directory, where the package database has a file"):
        database.read(Tree(with_parents({PATH: directory()})))
    monkeypatch.setattr(database, "_LIMIT", 100)
    with pytest.raises(InputError, match="has more than"):
        database.read(base(headers.sqlite(SHELL)))


def test_more_than_can_be_held_is_told_of(monkeypatch):
    lower = base(headers.sqlite(SHELL, LIB))
    long = {f"/{'d' * 100}/{at}": b"" for at in range(3)}
    monkeypatch.setattr(database, "_PATHS", 250)
    with pytest.raises(InputError, match="its files have paths of more than 250 characters"):
        database.files_of(EMPTY, new("long", files=long))
    monkeypatch.setattr(database, "_TAGS", 50)
    with pytest.raises(InputError, match="has more than 50000 packages, or 50 tags"):
        database.read(lower)
    monkeypatch.setattr(database, "_PACKAGES", 1)
    with pytest.raises(InputError, match="has more than 1 packages"):
        database.read(lower)
    monkeypatch.setattr(database, "_LIMIT", 4096)
    with pytest.raises(InputError, match="1 packages make it more than 0 MiB"):
        write(EMPTY, new("app"))


NDB = headers.ndb(SHELL, LIB)


@pytest.mark.parametrize(
    "data",
    [
        NDB[:31],
        NDB[:4000],
        NDB[:-1],
        b"RpmQ" + NDB[4:],
        NDB[:4] + b"\1" + NDB[5:],
        NDB[:12] + b"\xff\xff\xff\xff" + NDB[16:],
        NDB[:12] + bytes(4) + NDB[16:],
        NDB[:32] + b"x" + NDB[33:],
        NDB[:40] + b"\xff\xff\xff" + NDB[43:],
        NDB[:40] + b"\1" + NDB[41:],
        NDB[:44] + b"\xff" + NDB[45:],
        NDB[:36] + b"\7" + NDB[37:],
        NDB[:4200] + b"~" + NDB[4201:],
    ],
)
def test_a_damaged_database_of_rpms_own_format(data):
    with pytest.raises(InputError, match=r"/var/lib/rpm/Packages\.db") as error:
        database.read(base(data, f"{ROOT}/Packages.db"))
    assert "base image" in error.value.hint


@settings(max_examples=150)
@given(st.binary(max_size=60), st.integers(0, len(NDB)), st.integers(0, len(NDB)))
def test_whatever_a_database_holds_there_is_an_error_or_packages(junk, start, end):
    for data, name in ((NDB, "Packages.db"), (headers.sqlite(SHELL, LIB), "rpmdb.sqlite")):
        with contextlib.suppress(InputError):
            lower = base(data[:start] + junk + data[end:], f"{ROOT}/{name}")
            assert len(write(lower, *database.read(lower)).files) == 1


# ---- writing


def test_a_header_is_entered_as_rpm_does():
    signature, main = headers.package("app", files={"/etc/app.conf": b"", "/usr/bin/app": b"x"})
    made = entered(Header(main, "app"), Header(signature, "app"), EPOCH)
    number, _ = struct.unpack_from(">II", main)
    added = [tag for tag, *_ in struct.iter_unpack(">IIiI", made.data[8 + 16 * number : 8 + 16 * (number + 9)])]
    # The part that signatures cover is what it was, and all else follows it.
    assert added == [257, 261, 269, 273, 1008, 1029, 1046, 1127, 1128]
    assert made.data[8 : 8 + 16 * number] == main[8 : 8 + 16 * number]
    assert made.data[8 + 16 * (number + 9) :].startswith(main[8 + 16 * number :])
    assert (made.numbers(1008), made.numbers(1128), made.numbers(1127)) == ((EPOCH,), (EPOCH,), (0,))
    assert (made.numbers(1029), made.numbers(257), made.numbers(1046)) == ((0, 0), (10,), (20,))
    assert made.binary(261) == Header(signature, "").binary(1004)


@pytest.mark.parametrize(("hidden", "states"), [([], (0, 0)), ([1], (0, 4)), ([0, 1, 9], (4, 4))])
def test_files_are_hidden_in_a_header_that_is_entered_already(hidden, states):
    there = new("app", files={"/usr/bin/app": b"x", "/usr/bin/two": b""}).header
    made = with_hidden(there, hidden)
    assert made.numbers(1029) == states
    assert [made.binary(tag) if tag == 63 else made.value(tag) for tag in made] == [
        there.binary(tag) if tag == 63 else there.value(tag) for tag in there
    ]
    _, main = headers.package("app", files={"/usr/bin/app": b"x"})
    assert with_hidden(Header(main, "app"), [0]).data == main  # it has no states


def test_a_package_without_files_has_no_states():
    assert 1029 not in new("meta").header


def test_a_header_of_an_older_rpm_is_told_of():
    signature, _ = headers.package("old")
    with pytest.raises(InputError, match="old: its header has no part that stays") as error:
        entered(Header(headers.header({1000: "old", 1001: "1", 1002: "1"}), "old"), Header(signature, "old"), 0)
    assert "build the package anew" in error.value.hint


def test_a_first_layer_has_a_database_that_opens_anywhere():
    written = write(EMPTY, new("b"), new("a", files={"/usr/bin/a": b"", "/usr/bin/b": b""}))
    assert (written.directories, written.removed) == ((), ())
    assert list(written.files) == [PATH]
    data, mode = written.files[PATH]
    assert mode == 0o644
    assert data[18:20] == b"\1\1"  # a database with a log can not be opened where nothing can be written
    assert rows(data, "PRAGMA integrity_check") == [("ok",)]
    assert rows(data, "PRAGMA foreign_key_check") == []
    assert rows(data, "SELECT key, hnum FROM Name") == [("a", 1), ("b", 2)]
    assert rows(data, "SELECT key, hnum, idx FROM Basenames") == [("a", 1, 0), ("b", 1, 1)]
    assert rows(data, "SELECT key, hnum, idx FROM Dirnames") == [("/usr/bin/", 1, 0)]
    assert rows(data, "SELECT key, typeof(key) FROM Installtid") == [(struct.pack("<I", EPOCH), "blob")] * 2
    assert rows(data, "SELECT name, seq FROM sqlite_sequence") == [("Packages", 2)]


def test_what_a_header_is_looked_up_by():
    """As rpm 4.18 enters it: not what scripts need that run when it is installed; of rich relations all names."""
    tags = {
        "_1049": ["pre", "pre-and-preun", "interpreter", "(a if b)", "rpmlib(X)", "(torn"],
        "_1048": [1 << 9, 1 << 9 | 1 << 11, 1 << 8, 0, 1 << 24 | 8, 0],
        "_1050": [""] * 6,
        "_1066": ["t", "u", "t"],
        "_1069": [0, 0, 1],
        "_5069": ["/usr", "/lib", "/usr"],
        "_5070": [0, 0, 3],
        "_5052": ["(s and t)"],
    }
    signature, main = headers.package("a", **tags)
    header = entered(Header(main, "a"), Header(signature, "a"), EPOCH)
    data = write(EMPTY, database.installed(header)).files[PATH].data

    def entered_in(table: str) -> list[tuple[object, ...]]:
        return rows(data, f"SELECT key, idx FROM '{table}' ORDER BY rowid")

    assert entered_in("Requirename") == [
        ("pre-and-preun", 1),
        ("interpreter", 2),
        ("(a if b)", 3),
        ("a", 3),
        ("!b", 3),
        ("(torn", 5),
    ]
    assert entered_in("Triggername") == [("t", 0), ("u", 1)]
    assert entered_in("Filetriggername") == [("/usr", 0), ("/lib", 0), ("/usr", 3)]
    assert entered_in("Supplementname") == [("(s and t)", 0), ("s", 0), ("t", 0)]
    assert entered_in("Sha1header") == [(Header(signature, "a").text(269), 0)]
    assert entered_in("Sigmd5") == [(Header(signature, "a").binary(1004), 0)]


def test_a_package_without_a_group_is_looked_up_as_one_of_an_unknown():
    key = headers.header({1000: "gpg-pubkey", 1001: "1", 1002: "1"}, 63)
    lower = base(headers.sqlite(key))
    data = write(lower, *database.read(lower)).files[PATH].data
    assert rows(data, "SELECT key FROM 'Group'") == [("Unknown",)]
    assert rows(data, "SELECT key FROM Sha1header UNION SELECT key FROM Sigmd5 UNION SELECT key FROM Installtid") == []


def test_neither_order_nor_a_second_time_changes_a_byte():
    packages = [new(f"p{at}", files={f"/usr/share/{at}/{name}": b"" for name in "abc"}) for at in range(50)]
    once = write(EMPTY, *packages)
    assert write(EMPTY, *reversed(packages)) == once
    again = base(once.files[PATH].data)
    assert write(again, *database.read(again)) == once


def test_packages_that_stay_keep_their_numbers():
    lower = base(headers.sqlite(SHELL, LIB, headers.stored("tool")))
    shell, _, tool = database.read(lower)
    data = write(lower, new("lib", "3"), tool, new("app"), shell).files[PATH].data
    found = rows(data, "SELECT key, hnum FROM Name ORDER BY hnum")
    assert found == [("shell", 1), ("tool", 3), ("app", 4), ("lib", 5)]
    assert rows(data, "SELECT blob FROM Packages WHERE hnum = 1") == [(SHELL,)]


def test_a_database_of_rpms_own_format_is_replaced():
    lower = base(headers.ndb(SHELL), f"{ROOT}/Packages.db", **{"Index.db": b"x"})
    written = write(lower, *database.read(lower))
    assert list(written.files) == [PATH]
    assert written.removed == (f"{ROOT}/Index.db", f"{ROOT}/Packages.db")


def test_what_rpm_itself_wrote_becomes_what_is_written_here():
    lower = base(headers.sqlite(SHELL))
    files = {"/usr/bin/app": b""}
    rpms = [headers.stored("app", files=files, at=77), headers.stored("zap", at=78)]
    tree = base(headers.sqlite(SHELL, *reversed(rpms)), **{".rpm.lock": b"", "_s-wal": b"", "_s-shm": b"x"})
    made = database.normalized(lower, tree, EPOCH)
    assert made.removed == (f"{ROOT}/.rpm.lock", f"{PATH}-shm", f"{PATH}-wal")
    here = [headers.stored("app", files=files, at=EPOCH), headers.stored("zap", at=EPOCH)]
    assert rows(made.files[PATH].data, "SELECT blob FROM Packages") == [(SHELL,), *((blob,) for blob in here)]


def test_what_rpm_itself_replaced_by_the_same_version_counts_as_new():
    lower = base(headers.sqlite(headers.stored("app", at=5)), **{".rpm.lock": b""})
    made = database.normalized(lower, base(headers.sqlite(headers.stored("app", at=6)), **{".rpm.lock": b""}), EPOCH)
    assert rows(made.files[PATH].data, "SELECT blob FROM Packages") == [(headers.stored("app", at=EPOCH),)]
    assert made.removed == ()
