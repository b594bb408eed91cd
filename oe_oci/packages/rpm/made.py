# SPDX-License-Identifier: MIT
"""The database that a layer is to have, whose bytes are made when they are asked for: mostly their digest is enough.

An earlier build that made a database of the same headers left size and digest. Must not know trees.
"""

from __future__ import annotations

import hashlib
import struct
import threading
from typing import TYPE_CHECKING

from ...content import Part
from ...errors import InputError
from . import sqlite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...memory import Memory
    from ...notes import Notes
    from ..package import Installed
    from .header import Header

    Numbered = Sequence[tuple[int, Installed]]

_KIND = "rpmdb 1"  # the number changes with the bytes that are made of the same headers
_HEAD = struct.Struct(">IQ")


class Made:
    """A database of packages, which have numbers; something that holds bytes.

    `known` are size and SHA-256 of the bytes, by an earlier build.
    """

    notes: Notes | None = None

    def __init__(self, packages: Numbered, known: tuple[int, str] | None = None) -> None:
        self.packages = packages
        self._known = known
        self._lock = threading.Lock()
        self._data: bytes | None = None

    def data(self) -> bytes:
        """All bytes.

        Raises:
            InputError: a header is damaged, or the bytes are not what is known of them.
        """
        with self._lock:
            if self._data is None:
                self._data = sqlite.write([(number, _header(package)) for number, package in self.packages])
                if self._known not in (None, _facts_of(self._data)):
                    raise InputError(
                        "the layer cache knows another database of rpm than its packages make",
                        hint="remove the folder 'archives' in it",
                    )
            return self._data

    def readinto(self, view: memoryview, offset: int) -> None:
        """Fill the whole of `view` with the bytes from `offset` on."""
        view[:] = memoryview(self.data())[offset : offset + len(view)]


def _facts_of(data: bytes) -> tuple[int, str]:
    return len(data), hashlib.sha256(data).hexdigest()


def content_of(packages: Numbered, memory: Memory) -> Part:
    """The bytes of a database; made at once only where `memory` does not know of them.

    Raises:
        InputError: a header is damaged.
    """
    state = hashlib.sha256()
    for number, package in packages:
        data = _header(package).data
        state.update(_HEAD.pack(number, len(data)))
        state.update(data)
    key = state.hexdigest()
    value = memory.recall(key, _KIND)
    known = None if value is None else (int(value[0]), str(value[1]))
    made = Made(packages, known)
    if known is None:
        known = _facts_of(made.data())
        memory.keep(key, _KIND, known)
    return Part(made, 0, *known)


def _header(package: Installed) -> Header:
    assert package.header is not None
    return package.header
