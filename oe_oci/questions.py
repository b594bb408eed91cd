# SPDX-License-Identifier: MIT
"""What is asked of the file systems of the host, and whether they would answer the same again.

An answer is the facts of inodes, down to the times of their last changes: as long as those are the same so is all that
the inodes hold, contents, links and extended attributes. Must not know what is asked for.
"""

from __future__ import annotations

import hashlib
import os
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Found = list[tuple[bytes, os.stat_result]]

_FACTS = struct.Struct("<8Q2q")  # times can be before 1970
_DIGEST = 16  # bytes that are kept of an answer's SHA-256


class Asked(NamedTuple):
    """A question, the path it was about, and a digest of the answer."""

    question: str
    path: bytes
    answer: bytes


class Questions:
    """Asks about inodes; where it is `noting`, it takes note of what it asks and of what it is told.

    `newest` is when the last one changed of all inodes told of, in nanoseconds since 1970; `devices` are those they lie
    on, as stamps have them, each with a path of an inode on it.
    """

    def __init__(self, *, noting: bool = False) -> None:
        self._asked: dict[tuple[str, bytes], bytes] | None = {} if noting else None
        self.newest = 0
        self.devices: dict[bytes, bytes] = {}

    def facts(self, path: bytes) -> os.stat_result | None:
        """What is at a path, which may be a link; None for nothing.

        Raises:
            OSError: that can not be told.
        """
        try:
            facts = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            facts = None
        self._note("facts", path, () if facts is None else ((b"", facts),))
        return facts

    def listed(self, directory: bytes) -> Found:
        """The names in a directory, in order, with the facts of each.

        Raises:
            OSError: they can not be read.
        """
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # The facts are looked up from there, and not from the root.
            with os.scandir(descriptor) as entries:
                found = sorted((os.fsencode(entry.name), entry.stat(follow_symlinks=False)) for entry in entries)
        finally:
            os.close(descriptor)
        self._note("listed", directory, found)
        return found

    def real(self, path: bytes) -> bytes:
        """The path without links on the way to what it leads to."""
        found = os.path.realpath(path)
        self._keep("real", path, found)
        return found

    @property
    def is_noting(self) -> bool:
        """Whether all that was asked is noted."""
        return self._asked is not None

    def forget(self) -> None:
        """Take note of nothing: what was told here is not all that matters."""
        self._asked = None

    @property
    def asked(self) -> list[Asked] | None:
        """All that was asked, in this order; None where it was not noted, or was answered differently in between."""
        return None if self._asked is None else [Asked(*question, answer) for question, answer in self._asked.items()]

    def _note(self, question: str, path: bytes, found: Sequence[tuple[bytes, os.stat_result]]) -> None:
        if self._asked is None:
            return
        told: list[bytes] = []
        for name, facts in found:
            changed = facts.st_ctime_ns
            packed = _FACTS.pack(facts.st_dev, *facts[:2], *facts[3:7], facts.st_rdev, facts.st_mtime_ns, changed)
            told += name, packed
            self.newest = max(self.newest, changed)
            if packed[:8] not in self.devices:
                self.devices[packed[:8]] = os.path.join(path, name) if name else path
        self._keep(question, path, b"".join(told))

    def _keep(self, question: str, path: bytes, answer: bytes) -> None:
        digest = hashlib.sha256(answer).digest()[:_DIGEST]
        if self._asked is not None and self._asked.setdefault((question, path), digest) != digest:
            self.forget()


def same(asked: Iterable[Asked]) -> bool:
    """Whether all questions are answered as they were."""
    return all(_answer(question, path) == answer for question, path, answer in asked)


def _answer(question: str, path: bytes) -> bytes:
    """The digest of what is answered now, empty where there is no answer."""
    now = Questions(noting=True)
    try:
        {"facts": now.facts, "listed": now.listed, "real": now.real}[question](path)
    except OSError:
        return b""
    return now.asked[0].answer if now.asked else b""


def to_json(asked: Iterable[Asked]) -> list[list[str]]:
    """Questions as a JSON value."""
    return [[each.question, each.path.decode("utf-8", "surrogateescape"), each.answer.hex()] for each in asked]


def from_json(value: Iterable[Sequence[str]]) -> list[Asked]:
    """The questions that `to_json` turned into a value."""
    return [
        Asked(question, path.encode("utf-8", "surrogateescape"), bytes.fromhex(answer))
        for question, path, answer in value
    ]
