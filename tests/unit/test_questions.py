# SPDX-License-Identifier: MIT
"""Questions to file systems, and whether they are answered the same again."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from oe_oci.questions import Asked, Questions, from_json, same, to_json

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
        ("listed", folder),
        ("real", folder),
        ("facts", folder + b"/none"),
    ]
    assert same(asked)
    assert questions.newest == max(os.lstat(path).st_ctime_ns for path in (folder, *found(folder)))
    assert list(questions.devices) == [os.lstat(folder).st_dev.to_bytes(8, "little")]


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
    assert not same(asked)
    with pytest.raises(OSError, match="No such file"):
        questions.listed(folder + b"/folder")


def test_questions_are_json(folder: bytes) -> None:
    asked = [Asked("facts", folder + b"/b\xff\n", bytes(16)), Asked("listed", b"/", b"\1" * 16)]
    assert from_json(json.loads(json.dumps(to_json(asked)))) == asked
