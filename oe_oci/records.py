# SPDX-License-Identifier: MIT
"""Digests by keys of one size, as one build leaves them to the next: few bytes each, as there may be very many.

Must not know what the keys are.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left
from itertools import chain

KEY, RECORD = 48, 80  # bytes: a key; a key and its digest
_NEAR = 64  # records
_BITS = 32  # of a record's number, and of a key's hash
_MASK = (1 << _BITS) - 1


class Records:
    """Digests by their keys: those in `before`, which is what an earlier build left, and those that are added.

    What is asked for in the order it was left in, or nearly so, is found at once. Threads may ask and add.
    """

    def __init__(self, before: bytes = b"") -> None:
        self._before = before if len(before) % RECORD == 0 else b""
        self._number = len(self._before) // RECORD
        self._next = 0  # the place in these where the record lies that will be asked for next, if all is as it was
        self._hashes: array[int] | None = None
        self._added = bytearray()
        self._added_at: dict[bytes, int] = {}  # as far as it was looked through
        self._indexed = 0
        self._left = array("I")  # the records to leave, in their order: numbers of those before, then of those added
        self._is_left = bytearray(self._number)  # for each of those before
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        """Whether an earlier build left any."""
        return bool(self._before)

    def recall(self, key: bytes, *, leave: bool) -> bytes:
        """The digest that an earlier build left under a key, empty for none; with `leave` this one leaves it too."""
        if not self._before:
            return b""
        with self._lock:
            place = self._next
            if self._before[place : place + KEY] != key:
                place = self._before.find(key, place, place + _NEAR * RECORD)
                if place < 0 or place % RECORD:
                    place = self._place(key)
                    if place < 0:
                        return b""
            self._next = place + RECORD
            if leave and not self._is_left[place // RECORD]:
                self._is_left[place // RECORD] = 1
                self._left.append(place // RECORD)
            return self._before[place + KEY : place + RECORD]

    def _place(self, key: bytes) -> int:
        """Where a key of an earlier build is, wherever that may be; negative for nowhere."""
        if self._hashes is None:
            # A dictionary would take twenty times the memory.
            hashes = (hash(self._before[at : at + KEY]) & _MASK for at in range(0, len(self._before), RECORD))
            self._hashes = array("Q", sorted(each << _BITS | number for number, each in enumerate(hashes)))
        wanted = hash(key) & _MASK
        for at in range(bisect_left(self._hashes, wanted << _BITS), self._number):
            place = (self._hashes[at] & _MASK) * RECORD
            if self._hashes[at] >> _BITS != wanted:
                break
            if self._before[place : place + KEY] == key:
                return place
        return -1

    def add(self, key: bytes, digest: bytes) -> None:
        """Add a digest, and leave it to later builds."""
        with self._lock:
            self._left.append(self._number + len(self._added) // RECORD)
            self._added += key + digest

    def added(self, key: bytes) -> bytes:
        """The digest that was added under a key, empty for none."""
        with self._lock:
            for at in range(self._indexed, len(self._added), RECORD):
                self._added_at[bytes(self._added[at : at + KEY])] = at
            self._indexed = len(self._added)
            at = self._added_at.get(key, -1)
            return bytes(self._added[at + KEY : at + RECORD]) if at >= 0 else b""

    def leave_all(self) -> None:
        """Leave what an earlier build left, in that order, and what was added."""
        added = [number for number in self._left if number >= self._number]
        self._left = array("I", chain(range(self._number), added))
        self._is_left = bytearray(b"\1") * self._number

    def body(self) -> bytes | None:
        """What this build leaves; None where that is what was left before, in nearly its order."""
        if self._is_as_before():
            return None
        pieces = []
        for begin, end in self._runs():
            data, skipped = (self._before, 0) if begin < self._number else (self._added, self._number)
            pieces.append(data[(begin - skipped) * RECORD : (end - skipped) * RECORD])
        return b"".join(pieces)

    def _is_as_before(self) -> bool:
        """Whether the same is left, in the same order but for what threads that ask at once make of it."""
        if self._added or len(self._left) != self._number:
            return False
        return all(-_NEAR < number - place < _NEAR for place, number in enumerate(self._left))

    def _runs(self) -> list[tuple[int, int]]:
        """The records to leave as ranges of numbers, none of both those before and those added."""
        runs = []
        begin = end = -1
        for number in chain(self._left, (-1,)):
            if number != end or number == self._number:
                if begin >= 0:
                    runs.append((begin, end))
                begin = number
            end = number + 1
        return runs
