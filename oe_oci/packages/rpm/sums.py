# SPDX-License-Identifier: MIT
"""Sums of bytes, of the kinds that rpm's headers name by OpenPGP's numbers. Must not know what is summed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ...errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MD5, SHA1, SHA256 = 1, 2, 8
_NAMES = {MD5: "md5", SHA1: "sha1", SHA256: "sha256", 9: "sha384", 10: "sha512", 11: "sha224", 12: "sha3_256",
          14: "sha3_512"}  # fmt: skip


class State(Protocol):
    """A sum of the bytes so far."""

    def update(self, data: bytes | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


def new_sum(number: int, where: str) -> State:
    """The sum of no bytes yet, of a kind. `where` names the package in messages.

    Raises:
        InputError: the kind is not known.
    """
    if number not in _NAMES:
        raise InputError(f"{where}: has sums of a kind {number}, which is not known")
    return hashlib.new(_NAMES[number], usedforsecurity=False)


class Sum(NamedTuple):
    """A sum and what it must come to, in hexadecimal; `what` is summed, as messages name it."""

    what: str
    state: State
    expected: str

    def check(self, where: str) -> None:
        """Raise where it came to something else."""
        found = self.state.hexdigest()
        if found != self.expected.lower():
            raise InputError(f"{where}: damaged: the sum of {self.what} is {found}, not {self.expected[:200]!r}")


def summed(pieces: Iterable[bytes], sums: Sequence[Sum]) -> Iterator[bytes]:
    """The same pieces; each goes into all sums."""
    for piece in pieces:
        for one in sums:
            one.state.update(piece)
        yield piece
