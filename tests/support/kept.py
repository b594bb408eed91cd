# SPDX-License-Identifier: MIT
"""What a reader of packages gives the bytes of payloads to, in memory; and what a package holds, by path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oe_oci.content import Part

if TYPE_CHECKING:
    from oe_oci.packages.contents import Contents


class Kept(bytearray):
    """A payload's bytes."""

    notes = None

    def write(self, piece: bytes) -> None:
        self.extend(piece)

    def readinto(self, view: memoryview, offset: int) -> None:
        view[:] = self[offset : offset + len(view)]

    def release(self) -> None:
        self.clear()


def content(contents: Contents, path: str) -> bytes:
    """The bytes of a package's file."""
    (entry,) = [member.entry for member in contents.members if member.path == path]
    assert isinstance(entry.content, Part)
    buffer = bytearray(entry.size)
    entry.content.holder.readinto(memoryview(buffer), entry.content.offset)
    return bytes(buffer)
