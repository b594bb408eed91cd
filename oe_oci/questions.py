# SPDX-License-Identifier: MIT
"""What is asked of the file systems of the host, and whether they would answer the same again.

An answer is the facts of inodes, down to the times of their last changes: as long as those are the same so is all that
the inodes hold, contents, links and extended attributes. Must not know what is asked for.
"""

from __future__ import annotations

import hashlib
import os
import struct
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Found = list[tuple[bytes, os.stat_result]]

_FACTS_OF, _LIST_OF, _REAL_PATH = "facts", "list", "real"
_PACKED = struct.Struct("<8Q2q")  # times can be before 1970
_DIGEST = 16  # bytes that are kept of an answer's SHA-256
_HELD = 1 << 16  # inodes whose facts are kept at hand; they take less than what is made of them later
_Question = tuple[str, bytes]


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
        self._asked: dict[_Question, bytes] | None = {} if noting else None
        self._held: dict[_Question, Any] = {}  # answers that are not used yet
        self.newest = 0
        self.devices: dict[bytes, bytes] = {}

    def facts(self, path: bytes) -> os.stat_result | None:
        """What is at a path, which may be a link; None for nothing.

        Raises:
            OSError: that can not be told.
        """
        found: os.stat_result | None = self._ask(_FACTS_OF, path)
        return found

    def listed(self, directory: bytes) -> Found:
        """The names in a directory, in order, with the facts of each.

        Raises:
            OSError: they can not be read.
        """
        found: Found = self._ask(_LIST_OF, directory)
        return found

    def real(self, path: bytes) -> bytes:
        """The path without links on the way to what it leads to."""
        found: bytes = self._ask(_REAL_PATH, path)
        return found

    def same(self, asked: Iterable[Asked]) -> bool:
        """Whether all these questions are answered as they were; it is not asked on after the first that is not.

        After that one answers are at hand for who asks for them again, many of them at least.
        """
        room = _HELD
        for question, path, answer in asked:
            try:
                found = self._ask(question, path)
            except OSError:
                return False
            if room > 0:
                self._held[question, path] = found
                room -= len(found) if question == _LIST_OF else 1
            if self._asked is None or self._asked[question, path] != answer:
                return False
        self._held.clear()
        return True

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

    def _ask(self, question: str, path: bytes) -> Any:
        if (question, path) in self._held:
            return self._held.pop((question, path))
        found, asked = _ASK[question](path), self._asked
        if asked is not None:
            if question == _REAL_PATH:
                answer = found
            elif question == _LIST_OF:
                answer = self._packed(path, found)
            else:
                answer = b"" if found is None else self._packed(path, ((b"", found),))
            digest = hashlib.sha256(answer).digest()[:_DIGEST]
            if asked.setdefault((question, path), digest) != digest:
                self.forget()
        return found

    def _packed(self, path: bytes, found: Iterable[tuple[bytes, os.stat_result]]) -> bytes:
        """Facts as bytes; those that tell whether they will do are noted."""
        told: list[bytes] = []
        for name, facts in found:
            changed = facts.st_ctime_ns
            try:
                packed = _PACKED.pack(facts.st_dev, *facts[:2], *facts[3:7], facts.st_rdev, facts.st_mtime_ns, changed)
            except struct.error:
                self.forget()  # a time of another century
                break
            told += name, packed
            self.newest = max(self.newest, changed)
            if packed[:8] not in self.devices:
                self.devices[packed[:8]] = os.path.join(path, name) if name else path
        return b"".join(told)


def _facts(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _listed(directory: bytes) -> Found:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # The facts are looked up from there, and not from the root.
        with os.scandir(descriptor) as entries:
            return sorted((os.fsencode(entry.name), entry.stat(follow_symlinks=False)) for entry in entries)
    finally:
        os.close(descriptor)


_ASK: dict[str, Callable[[bytes], Any]] = {_FACTS_OF: _facts, _LIST_OF: _listed, _REAL_PATH: os.path.realpath}


def to_json(asked: Iterable[Asked]) -> list[list[str]]:
    """Questions as a JSON value."""
    return [[each.question, each.path.decode("utf-8", "surrogateescape"), each.answer.hex()] for each in asked]


def from_json(value: Iterable[Sequence[str]]) -> list[Asked]:
    """The questions that `to_json` turned into a value."""
    return [
        Asked(question, path.encode("utf-8", "surrogateescape"), bytes.fromhex(answer))
        for question, path, answer in value
    ]
