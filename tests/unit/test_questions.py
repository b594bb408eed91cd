# SPDX-License-Identifier: MIT
"""Questions to file systems, and whether they are answered the same again."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from oe_oci import questions as subject
from oe_oci.questions import Asked, Questions, from_json, to_json

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> bytes:
    for name in (b"a", b"b\xff\n"):
        with open(os.path.join(os.fsencode(tmp_path), name), "wb"):
            pass
    os.utime(os.path.join(os.fsencode(tmp_path), b"a"), ns=(0, -1))
    return os.fsencode(tmp_path)


def test_questions_are_answered(folder: bytes) -> None:
    questions = Questions()
    assert [name for name, _ in questions.listed(folder)] == [b"a", b"b\xff\n"]
    assert questions.listed(folder)[0][1].st_mtime_ns == -1
    assert questions.facts(folder + b"/a") == os.lstat(folder + b"/a")
    assert questions.facts(folder + b"/none") is None
    assert questions.facts(folder + b"/a/none") is None
    os.symlink(b"a", folder + b"/link")
    assert questions.real(folder + b"/link") == os.path.realpath(folder + b"/a")
    assert questions.asked is None


def test_each_question_is_noted_once(folder: bytes) -> None:
    questions = Questions(noting=True)
    for _ in range(2):
        questions.facts(folder)
        questions.listed(folder)
        questions.real(folder)
        questions.facts(folder + b"/none")
    asked = questions.asked
    assert asked is not None
    assert [each[:2] for each in asked] == [
        ("facts", folder),
        ("list", folder),
        ("real", folder),
        ("facts", folder + b"/none"),
    ]
    assert again(asked)
    assert questions.newest == max(os.lstat(path).st_ctime_ns for path in (folder, *found(folder)))
    assert list(questions.devices) == [os.lstat(folder).st_dev.to_bytes(8, "little")]


def again(asked: list[Asked]) -> bool:
    return Questions(noting=True).same(asked)


def found(folder: bytes) -> list[bytes]:
    return [os.path.join(folder, name) for name in os.listdir(folder)]


def test_two_answers_to_one_question_are_none(folder: bytes) -> None:
    questions = Questions(noting=True)
    questions.facts(folder + b"/none")
    os.mkdir(folder + b"/none")
    questions.facts(folder + b"/none")
    assert questions.asked is None


def test_what_can_not_be_asked_again_is_not_the_same(folder: bytes) -> None:
    questions = Questions(noting=True)
    os.mkdir(folder + b"/folder")
    questions.listed(folder + b"/folder")
    asked = questions.asked
    assert asked
    os.rmdir(folder + b"/folder")
    assert not again(asked)
    with pytest.raises(OSError, match="No such file"):
        questions.listed(folder + b"/folder")


def test_what_was_asked_on_the_way_to_a_difference_is_not_asked_again(
    folder: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Questions(noting=True)
    paths = [folder, folder + b"/a", folder + b"/none", folder + b"/b\xff\n", folder + b"/more"]
    before = [first.listed(folder), *map(first.facts, paths)]
    with open(folder + b"/b\xff\n", "wb") as file:
        file.write(b"changed")
    second, asked = Questions(noting=True), first.asked
    assert asked
    assert not second.same(asked[1:])
    real, read = os.lstat, []
    monkeypatch.setattr(subject.os, "lstat", lambda path: read.append(path) or real(path))
    after = [*map(second.facts, paths), second.listed(folder)]
    assert read == paths[4:]
    assert after[:3] == before[1:4]
    assert [each[:2] for each in second.asked or ()] == [*(each[:2] for each in asked[1:]), ("list", folder)]
    monkeypatch.undo()
    assert second.facts(folder) == os.lstat(folder)
    assert again(second.asked or [])


def test_only_so_much_is_at_hand(folder: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "_HELD", 2)
    first = Questions(noting=True)
    first.listed(folder)
    for name in (b"/a", b"/c", b"/d"):
        first.facts(folder + name)
    asked, second = first.asked, Questions(noting=True)
    assert asked
    with open(folder + b"/d", "wb"):
        pass
    assert not second.same(asked[1:])
    assert list(second._held) == [("facts", folder + b"/a"), ("facts", folder + b"/c")]
    assert not Questions(noting=True).same(asked)


def test_a_time_of_another_century_is_not_noted(folder: bytes) -> None:
    os.utime(folder + b"/a", (10**10, 10**10))
    questions = Questions(noting=True)
    assert questions.listed(folder)[0][1].st_mtime == 10**10
    assert questions.asked is None


def test_questions_are_json(folder: bytes) -> None:
    asked = [Asked("facts", folder + b"/b\xff\n", bytes(16)), Asked("list", b"/", b"\1" * 16)]
    assert from_json(json.loads(json.dumps(to_json(asked)))) == asked
