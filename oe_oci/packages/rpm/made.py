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
    from ..scratch import Place, Scratch
    from .header import Header

    Numbered = Sequence[tuple[int, Installed]]

_KIND = "rpmdb 1"  # the number changes with the bytes that are made of the same headers
_HEAD = struct.Struct(">IQ")


class Made:
    """A database of packages, which have numbers; something that holds bytes, in `scratch` once they are made.

    `known` are size and SHA-256 of the bytes, by an earlier build.
    """

    notes: Notes | None = None

    def __init__(self, packages: Numbered, scratch: Scratch, known: tuple[int, str] | None = None) -> None:
        self.packages = packages
        self._scratch = scratch
        self._known = known
        self._lock = threading.Lock()
        self._place: Place | None = None

    def facts(self) -> tuple[int, str]:
        """Size and SHA-256 of the bytes; these are made where they are not known.

        Raises:
            InputError: a header is damaged.
            ToolError: the disk is full.
        """
        if self._known is None:
            self._made()
        assert self._known is not None
        return self._known

    def readinto(self, view: memoryview, offset: int) -> None:
        """Fill the whole of `view` with the bytes from `offset` on.

        Raises:
            InputError: a header is damaged, or the bytes are not what is known of them.
            ToolError: the disk is full.
        """
        self._scratch.fill(view, self._made(), offset)

    def _made(self) -> Place:
        with self._lock:
            if self._place is None:
                data = data_of(self.packages)
                facts = len(data), hashlib.sha256(data).hexdigest()
                if self._known not in (None, facts):
                    raise InputError(
                        "the layer cache knows another database of rpm than its packages make",
                        hint="remove the folder 'archives' in it",
                    )
                self._known, place = facts, self._scratch.reserve(data)
                self._scratch.write(data, place)
                self._place = place
            return self._place


def data_of(packages: Numbered) -> bytes:
    """The bytes of a database.

    Raises:
        InputError: a header is damaged.
    """
    return sqlite.write([(number, _header(package)) for number, package in packages])


def content_of(packages: Numbered, memory: Memory, scratch: Scratch) -> Part:
    """The bytes of a database; made at once only where `memory` does not know of them.

    Raises:
        InputError: a header is damaged.
        ToolError: the disk is full.
    """
    state = hashlib.sha256()
    for number, package in packages:
        data = _header(package).data
        state.update(_HEAD.pack(number, len(data)))
        state.update(data)
    key = state.hexdigest()
    value = memory.recall(key, _KIND)
    known = None if value is None else (int(value[0]), str(value[1]))
    made = Made(packages, scratch, known)
    if known is None:
        memory.keep(key, _KIND, made.facts())
    return Part(made, 0, *made.facts())


def _header(package: Installed) -> Header:
    assert package.header is not None
    return package.header
