# SPDX-License-Identifier: MIT
"""What a build and its worker say to each other over a socket: frames of JSON or of a file's bytes, and entries in it.

It is JSON, as reading that runs nothing: scripts of packages run beside the worker, with the same rights. Text with
lone surrogates goes through it as it is. Must not know what is said.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

from ...tree import Entry

if TYPE_CHECKING:
    import socket
    from collections.abc import Hashable

    from ...content import Content

_LENGTH = struct.Struct("<I")

Spoken = tuple[str, list[Any]]


class Ended(Exception):  # noqa: N818 - no fault by itself
    """The other side is there no longer. No OSError, which would be taken for one of the disk."""


class Wire:
    """One side of the socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def say(self, word: str, *values: Any) -> None:
        """Send a word with what belongs to it: text, numbers, lists and mappings of such."""
        self.send(json.dumps([word, *values], separators=(",", ":")).encode())

    def hear(self) -> Spoken:
        """What the other side said next."""
        length = self._length()
        data = memoryview(bytearray(length))
        self._fill(data)
        word, *values = json.loads(bytes(data))
        return word, values

    def send(self, data: bytes | memoryview) -> None:
        """Send bytes."""
        try:
            self._connection.sendall(b"".join((_LENGTH.pack(len(data)), data)))
        except OSError as error:
            raise Ended from error

    def receive(self, view: memoryview) -> bool:
        """Fill a view with bytes that were sent as one; False where there were none."""
        length = self._length()
        assert length in (0, len(view))
        if length:
            self._fill(view)
        return bool(length)

    def _length(self) -> int:
        head = bytearray(_LENGTH.size)
        self._fill(memoryview(head))
        return int(_LENGTH.unpack(head)[0])

    def _fill(self, view: memoryview) -> None:
        while view:
            try:
                count = self._connection.recv_into(view)
            except OSError as error:
                raise Ended from error
            if not count:
                raise Ended
            view = view[count:]


# ---- entries


def packed(path: str, entry: Entry, content: int | str | None, inode: int | list[Any] | None) -> list[Any]:
    """An entry for the wire; its content and its inode are named by what both sides know them by."""
    facts = [entry.kind, entry.mode, entry.uid, entry.gid, entry.mtime, entry.size, entry.target, entry.device]
    return [path, *facts, {key: value.hex() for key, value in entry.xattrs}, content, inode]


def unpacked(value: list[Any], content: Content | None, inode: Hashable | None) -> Entry:
    """The entry that `packed` was given."""
    _, kind, mode, uid, gid, mtime, size, target, device, xattrs, *_ = value
    pairs = tuple((key, bytes.fromhex(text)) for key, text in xattrs.items())
    return Entry(kind, mode, uid, gid, mtime, size, target, tuple(device), pairs, content, inode)
