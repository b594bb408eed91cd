# SPDX-License-Identifier: MIT
from __future__ import annotations

import gzip
import hashlib
import os
import re

import pytest
from support.packages import COMPRESSIONS, index_of, package, paragraph

from oe_oci.errors import InputError, ToolError
from oe_oci.packages import index as module
from oe_oci.packages.index import Index, keep, provided, read_index, recall, record

SHOP = package(
    "shop", "1:2.0-1", "amd64", Depends="libc (>= 2),\n libfoo", Provides="store, web-shop (= 2)", Section="x"
)
LIBC = package("libc", "3", "arm64", kind="ipk", Provides="store", Multi_Arch="same")
TWO = index_of([SHOP, LIBC])


def read(folder, data: bytes, *, name: str = "Packages", remember=None, limit=None) -> Index:
    path = folder / name
    path.write_bytes(data)
    return read_index(str(path), remember=remember and str(remember), limit=limit)


def refused(folder, data: bytes, text: str, **how) -> None:
    with pytest.raises(InputError, match=text) as caught:
        read(folder, data, **how)
    assert str(caught.value).startswith(str(folder))


def everything(index: Index):
    fields = [index.fields(number) for number in range(len(index))]
    return fields, index.names(index.archs), index.archs, index.suffixes


# ---- what it says


def test_an_index(tmp_path):
    index = read(tmp_path, TWO)
    assert (len(index), index.where) == (2, str(tmp_path / "Packages"))
    assert index.names({"amd64", "arm64"}) == {"shop", "libc", "store", "web-shop"}
    assert index.names({"arm64"}) == {"libc", "store"}
    assert (index.archs, index.suffixes) == ({"amd64", "arm64"}, {".deb", ".ipk"})
    assert [index.fields(number)["Version"] for number in index.named("shop")] == ["1:2.0-1"]
    assert (list(index.named("store")), list(index.providers("store"))) == ([], ["shop", "libc"])
    assert (list(index.named("x")), list(index.providers("shop"))) == ([], [])
    assert list(index.files()) == [SHOP.name, LIBC.name]


def test_the_fields_that_installing_needs(tmp_path):
    fields = read(tmp_path, TWO).fields(0)
    assert fields == {
        **{field: SHOP.fields[field] for field in ("Package", "Version", "Architecture", "Depends", "Provides")},
        "Filename": SHOP.name,
        "Size": str(len(SHOP.data)),
        "SHA256": hashlib.sha256(SHOP.data).hexdigest(),
    }


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".zst"])
def test_every_compression(tmp_path, suffix):
    data = COMPRESSIONS[suffix[1:] or "none"](TWO)
    assert everything(read(tmp_path, data, name=f"Packages{suffix}")) == everything(read(tmp_path, TWO))


@pytest.mark.parametrize("data", [b"", b"\n", b"\n\n\n"])
def test_an_empty_index(tmp_path, data):
    assert everything(read(tmp_path, data, remember=tmp_path / "r")) == ([], set(), frozenset(), frozenset())
    assert len(read(tmp_path, data, remember=tmp_path / "r")) == 0


def test_blank_lines_case_and_blanks_around_values(tmp_path):
    expected = everything(read(tmp_path, TWO))
    loud = re.sub(rb"(?m)^([A-Za-z0-9-]+): (.*)$", lambda line: line[1].upper() + b":\t " + line[2] + b" \t\r", TWO)
    found = everything(read(tmp_path, b"\n\n" + loud.replace(b"\n\n", b"\n\n\n\n\n") + b"\n\n"))
    assert found[0][0].pop("Depends") == "libc (>= 2), \t\r\n libfoo"
    assert expected[0][0].pop("Depends")
    assert found == expected


def test_opkgs_words_for_checksums(tmp_path):
    data = SHOP.entry(SHA256=None, SHA256sum="ab", MD5sum="cd")
    fields = read(tmp_path, data).fields(0)
    assert (fields["SHA256"], fields["MD5Sum"]) == ("ab", "cd")


def test_provided():
    assert provided("a") == ["a"]
    assert provided("a (= 1:2), b,\n c:any ,d(=1), ,e | f") == ["a", "b", "c", "d", "e"]
    assert provided("") == []


def test_entries_that_lie_across_pieces(tmp_path, monkeypatch):
    expected = everything(read(tmp_path, TWO))
    for piece in (1, 2, 3, 7, 100, len(TWO) - 1):
        monkeypatch.setattr(module, "_PIECE", piece)
        assert everything(read(tmp_path, TWO)) == expected


# ---- damage


@pytest.mark.parametrize("field", ["Package", "Version", "Architecture", "Filename"])
def test_an_entry_lacks_a_field(tmp_path, field):
    refused(tmp_path, LIBC.entry() + b"\n" + SHOP.entry(**{field: None}), f"the entry in line 12 has no {field}")
    refused(tmp_path, SHOP.entry(**{field: ""}), f"the entry in line 1 has no {field}")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"Version: 2\n", "a field twice"),
        (b"versioN: 2\n", "a field twice"),
        (b"Homepage: a\nHomepage: a\n", "a field twice"),
        (b"no field\n", "a line that is no field"),
        (b"N\xc3\xa9: x\n", "a line that is no field"),
        (b": x\n", "a line that is no field"),
        (b"A: \0\n", "a NUL"),
        (b"\n B: x\n", "a line that is no field"),
        (b"no line", "a line that is no field"),
    ],
)
def test_damaged_entries(tmp_path, line, text):
    refused(
        tmp_path,
        LIBC.entry() + b"\n\n" + SHOP.entry() + line,
        f"damaged index: the entry in line [12][0-9] has {text}|holds {text}",
    )


def test_an_index_torn_anywhere_is_shorter_or_refused(tmp_path):
    whole = everything(read(tmp_path, TWO))[0]
    for cut in range(len(TWO)):
        try:
            found = everything(read(tmp_path, TWO[:cut]))[0]
        except InputError:
            continue
        assert len(found) <= 2
        assert found[:1] == whole[:1] or len(found) < 2


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_damaged_compression(tmp_path, suffix):
    data = COMPRESSIONS[suffix[1:]](index_of([package(f"p{n}", str(n * n)) for n in range(200)]))
    name = f"Packages{suffix}"
    refused(tmp_path, data[:-20], "ends|damaged", name=name)
    middle = len(data) // 2
    refused(tmp_path, data[:middle] + bytes(50) + data[middle + 50 :], "damaged", name=name)
    refused(tmp_path, TWO, "its name says .*, its bytes none", name=name)
    refused(tmp_path, b"", "its bytes none", name=name)
    refused(tmp_path, COMPRESSIONS[suffix[1:]](TWO[:-1]), "ends within a line", name=name)
    refused(tmp_path, data, "its name says none, its bytes", name="Packages")


def test_bounds(tmp_path, monkeypatch):
    refused(tmp_path, TWO, "more than 100 bytes", limit=100)
    refused(tmp_path, b"\n" * 2000, "more than 1000 bytes", limit=1000)
    refused(tmp_path, SHOP.entry() + b"X: " + b"x" * (3 << 20), "more than 1048576 bytes")
    bomb = gzip.compress(bytes(64 << 20))
    refused(tmp_path, bomb, "more than 1048576 bytes", name="Packages.gz")
    monkeypatch.setattr(module, "_PACKAGES", 1)
    refused(tmp_path, TWO, "more than 1 packages")
    monkeypatch.setattr(module, "_PACKAGES", 2)
    monkeypatch.setattr(module, "_PROVIDED", 2)
    refused(tmp_path, TWO, "more than 2 names")


def test_what_can_not_be_read_is_the_disks_fault(tmp_path):
    with pytest.raises(ToolError, match="cannot read"):
        read_index(str(tmp_path / "Packages"), remember=None, limit=None)
    (tmp_path / "Packages").mkdir()
    with pytest.raises(ToolError, match="cannot read"):
        read_index(str(tmp_path / "Packages"), remember=str(tmp_path / "r"), limit=None)


# ---- what is remembered


@pytest.fixture
def unread(monkeypatch):
    """From here on an index may not be parsed."""

    def fail(*_):
        raise AssertionError

    return lambda: monkeypatch.setattr(module, "_record", fail)


def test_what_was_read_is_remembered(tmp_path, unread):
    memory = tmp_path / "deep" / "memory"
    first = everything(read(tmp_path, TWO, remember=memory))
    unread()
    assert everything(read(tmp_path, TWO, remember=memory)) == first
    other = tmp_path / "other"
    other.mkdir()
    index = read(other, TWO, remember=memory)
    assert (everything(index), index.where) == (first, str(other / "Packages"))
    with pytest.raises(AssertionError):
        read(tmp_path, TWO + b"\n", remember=memory)
    (one,) = memory.iterdir()
    assert one.name == f"packages-{hashlib.sha256(TWO).hexdigest()}"


def test_what_is_damaged_is_not_remembered(tmp_path):
    memory = tmp_path / "memory"
    refused(tmp_path, b"x", "no field", remember=memory)
    assert not memory.exists()


def test_a_damaged_memory_is_made_anew(tmp_path):
    memory = tmp_path / "memory"
    expected = everything(read(tmp_path, TWO, remember=memory))
    (file,) = memory.iterdir()
    good = file.read_bytes()
    for position in range(len(good)):
        file.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        assert recall(str(memory), file.name[9:]) is None
        file.write_bytes(good[:position])
        assert recall(str(memory), file.name[9:]) is None
    for bad in (b"", b"foreign", good + b"x", good.replace(b"shop", b"evil")):
        file.write_bytes(bad)
        assert everything(read(tmp_path, TWO, remember=memory)) == expected
        assert file.read_bytes() == good


def test_a_memory_of_something_else_is_not_taken(tmp_path):
    memory = str(tmp_path)
    keep(memory, "a", [record({"Package": "a"})])
    os.rename(tmp_path / "packages-a", tmp_path / "packages-b")
    assert recall(memory, "b") is None
    keep(memory, "a", [b"no record"])
    assert recall(memory, "a") is None
    os.mkfifo(tmp_path / "packages-c")
    os.mkdir(tmp_path / "packages-d")
    assert [recall(memory, key) for key in "cdef"] == [None] * 4


def test_records_come_back(tmp_path):
    for records in ([], [record({})], [record({"Package": "a", "Depends": "b,\n c"}), record({"Source": "\udcff"})]):
        keep(str(tmp_path), "k", records)
        assert recall(str(tmp_path), "k") == records


def test_a_folder_that_can_not_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    expected = everything(read(tmp_path, TWO))
    assert everything(read(tmp_path, TWO, remember=tmp_path / "file")) == expected
    assert everything(read(tmp_path, TWO, remember=tmp_path / "file" / "below")) == expected
    taken = tmp_path / "memory"
    (taken / f"packages-{hashlib.sha256(TWO).hexdigest()}" / "in the way").mkdir(parents=True)
    assert everything(read(tmp_path, TWO, remember=taken)) == expected
    assert len(list(taken.iterdir())) == 1


def test_an_index_that_changes_while_it_is_read_is_not_remembered(tmp_path, monkeypatch):
    memory, path = tmp_path / "memory", tmp_path / "Packages"
    plain = module._plain

    def meanwhile(*how):
        path.write_bytes(LIBC.entry())
        return plain(*how)

    monkeypatch.setattr(module, "_plain", meanwhile)
    assert read(tmp_path, TWO, remember=memory).names({"arm64"}) == {"libc", "store"}
    assert not memory.exists()


def test_a_whole_distribution_in_little_time(tmp_path):
    count = 20_000
    entry = {**SHOP.fields, "Filename": "f.deb", "Tag": "a,\n b", "Size": "1"}
    data = b"\n".join(paragraph({**entry, "Package": f"p{number}"}) for number in range(count))
    index = read(tmp_path, data)
    assert (len(index), list(index.named("p777"))) == (count, [777])
    assert len(index.providers("store")) == count
