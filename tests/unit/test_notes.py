# SPDX-License-Identifier: MIT
from __future__ import annotations

import json

from oe_oci import notes as subject
from oe_oci.content import Region, Stored, whole
from oe_oci.memory import Memory
from oe_oci.notes import Notes
from oe_oci.packages.database import md5_of

IMAGE = "0" * 64


def refuse() -> bytes:
    raise AssertionError("read")


def test_bytes_and_sums_are_known_in_a_later_build(tmp_path):
    data = bytes(range(256))
    (tmp_path / "file").write_bytes(data)
    path = str(tmp_path / "file").encode()
    memory = Memory(str(tmp_path / "memory"), image=IMAGE)
    content = Stored(lambda: path, 0, len(data), "d1", memory.notes)
    expected = md5_of(Region(path, 0, len(data)))
    for _ in range(2):
        assert (md5_of(content), whole(content)) == (expected, data)
        memory.save()
        memory = Memory(str(tmp_path / "memory"), image=IMAGE)
        content = content._replace(unpack=refuse, notes=memory.notes)
    memory.save()  # what was not asked for is not kept on
    again = Memory(str(tmp_path / "memory"), image=IMAGE).notes
    assert again is not None
    assert (again.md5("d1"), again.text("d1")) == (None, None)


def test_nothing_is_written_where_nothing_is_new(tmp_path):
    notes = Notes()
    notes.add_md5("d", "m")
    notes.add_text("d", b"\xff")
    value = json.loads(json.dumps(notes.to_json()))
    again = Notes(value)
    assert again.to_json() is not None
    assert (again.md5("d"), again.text("d")) == ("m", b"\xff")
    assert again.to_json() is None


def test_all_that_was_known_can_be_left():
    notes = Notes()
    notes.add_md5("d", "m")
    notes.add_text("e", b"\xff")
    again = Notes(json.loads(json.dumps(notes.to_json())))
    again.leave_all()
    assert again.to_json() is None


def test_large_files_are_not_held(monkeypatch):
    monkeypatch.setattr(subject, "_LARGEST", 10)
    monkeypatch.setattr(subject, "_TEXTS", 25)
    notes = Notes()
    for digest, size in (("a", 11), ("b", 10), ("c", 10), ("d", 10), ("e", 5)):
        notes.add_text(digest, bytes(size))
    assert [digest for digest in "abcde" if notes.text(digest) is not None] == ["b", "c", "e"]


def test_without_a_folder_nothing_is_held():
    memory = Memory()
    assert memory.notes is None
    memory.save()
