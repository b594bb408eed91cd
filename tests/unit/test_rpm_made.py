# SPDX-License-Identifier: MIT
"""Databases of rpm of which an earlier build left the digest: the same ones, made when somebody asks for the bytes."""

from __future__ import annotations

import errno
import hashlib
import json
import os

import pytest
from support import headers, rpms
from support.trees import file, with_parents

from oe_oci.cli import main
from oe_oci.content import content_digest, pieces
from oe_oci.errors import InputError, ToolError
from oe_oci.memory import Memory
from oe_oci.packages.database import KEEP, Step
from oe_oci.packages.rpm import database, made, sqlite
from oe_oci.packages.rpm.entered import entered
from oe_oci.packages.rpm.header import Header
from oe_oci.packages.scratch import Scratch
from oe_oci.tree import Tree

PATH = "var/lib/rpm/rpmdb.sqlite"
SCRATCH = Scratch(None, memory=1 << 24)


def packages(*names: str):
    """Packages with their numbers."""
    found = []
    for number, name in enumerate(names, 1):
        signature, main = headers.package(name, files={f"/usr/bin/{name}": b""})
        found.append((number, database.installed(entered(Header(main, name), Header(signature, name), 5))))
    return found


def content_of(packages, memory, scratch=SCRATCH):
    return made.content_of(packages, memory, scratch)


@pytest.fixture
def written(monkeypatch):
    """The numbers of packages of each database that was made."""
    found = []
    write = sqlite.write
    monkeypatch.setattr(sqlite, "write", lambda given: found.append(len(given)) or write(given))
    return found


def whole(content) -> bytes:
    return b"".join(map(bytes, pieces(content)))


def test_bytes_are_made_where_they_are_asked_for(tmp_path, written):
    memory = Memory(str(tmp_path))
    first = content_of(packages("a", "b"), memory)
    assert written == [2]
    second = content_of(packages("a", "b"), memory)
    assert (second.size, content_digest(second)) == (first.size, content_digest(first))
    assert written == [2]
    assert whole(second) == whole(first) == sqlite.write([(n, one.header) for n, one in packages("a", "b")])
    assert content_digest(first) == hashlib.sha256(whole(first)).hexdigest()


@pytest.mark.parametrize("other", [packages("a"), packages("b", "a"), [(7, packages("a")[0][1])]])
def test_of_other_packages_or_numbers_it_is_another_one(tmp_path, written, other):
    memory = Memory(str(tmp_path))
    content_of(packages("a", "b"), memory)
    assert content_of(other, memory).digest == hashlib.sha256(whole(content_of(other, Memory()))).hexdigest()
    assert len(written) == 3


def test_nothing_is_kept_without_a_folder(written):
    for _ in range(2):
        content_of(packages("a"), Memory())
    assert written == [1, 1]


def test_what_the_cache_knows_wrongly_does_not_get_into_a_layer(tmp_path, monkeypatch):
    memory = Memory(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "write", lambda _headers: b"another")
        content_of(packages("a"), memory)
    with pytest.raises(InputError, match="knows another database of rpm"):
        whole(content_of(packages("a"), memory))


def test_the_bytes_lie_in_a_file_where_memory_has_no_room(tmp_path, written):
    given = packages(*(f"{number}" for number in range(200)))
    with Scratch(str(tmp_path), memory=0) as scratch:
        found = content_of(given, Memory(), scratch)
        expected = sqlite.write([(number, one.header) for number, one in given])
        assert whole(found) == expected
        view = memoryview(bytearray(5000))
        found.holder.readinto(view, 12_345)
        assert view == expected[12_345:17_345]
    assert written == [200, 200]


def test_a_full_disk_is_told_and_the_bytes_can_be_had_once_there_is_room(tmp_path, monkeypatch):
    memory = Memory(str(tmp_path))
    content_of(packages("a"), memory)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with Scratch(str(tmp_path), memory=0) as scratch:
        found = content_of(packages("a"), memory, scratch)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            with pytest.raises(ToolError, match=f"cannot write to {tmp_path}: No space left") as caught:
                whole(found)
        assert "database" in caught.value.hint
        assert hashlib.sha256(whole(found)).hexdigest() == found.digest


def test_the_bytes_are_those_that_the_number_in_the_cache_stands_for():
    """Where others are made of the same headers, that number must change, and this digest with it."""
    assert made._KIND == "rpmdb 1"
    found = content_of(packages("a", "b"), Memory())
    assert found.digest == "d990b1acd1a58195fe1083abf2cb5368a0be49a9a844ed90b682b9e4219d2cac"


def test_a_build_in_which_nothing_changed_makes_none(tmp_path, written, capsys):
    (tmp_path / "feed").mkdir()
    for name in ("a", "b", "c"):
        rpms.package(name, given={f"usr/bin/{name}": name.encode()}).write(tmp_path / "feed")
    words = ["--feed", str(tmp_path / "feed"), "--cache-dir", str(tmp_path / "cache"), "--json"]

    def build(layers: str) -> list[str]:
        (tmp_path / "app.conf").write_text(f'OCI_LAYERS = "{layers}"\nSOURCE_DATE_EPOCH = "5"\n')
        assert main(["build", str(tmp_path / "app.conf"), "--deploy-dir", str(tmp_path / "out"), *words]) == 0
        return [layer["digest"] for layer in json.loads(capsys.readouterr().out)["layers"]]

    first = build("x:packages:a y:packages:b")
    assert written == [1, 2]
    assert build("x:packages:a y:packages:b") == first
    assert written == [1, 2]
    assert build("x:packages:a y:packages:b z:packages:c")[:2] == first
    assert written == [1, 2, 3]


def on_top(content, *names: str, **more: bytes):
    """What a layer writes on top of a database."""
    folder = PATH.rpartition("/")[0]
    lower = {PATH: file(b"")._replace(content=content, size=content.size)}
    lower.update({f"{folder}/rpmdb.sqlite-{name}": file(data) for name, data in more.items()})
    step = Step([one for _, one in packages(*names)], (), (), ())
    return database.write(Tree(with_parents(lower)), step, KEEP).files[PATH].data


def test_what_lies_on_top_knows_the_numbers_without_the_bytes(tmp_path, written):
    memory = Memory(str(tmp_path))
    content_of(packages("b", "a"), memory)
    below = content_of(packages("b", "a"), memory)
    data = on_top(below, "a", "b", "c")
    assert written == [2, 3]
    numbers = {number: Header(blob, "").text(1000) for number, blob in sqlite.read(data, b"", "here").items()}
    assert numbers == {1: "b", 2: "a", 3: "c"}
    assert on_top(below, "a", "b", "c", wal=b"") == data
    assert written == [2, 3, 2, 3]
