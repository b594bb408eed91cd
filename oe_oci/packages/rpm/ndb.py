# SPDX-License-Identifier: MIT
"""Packages.db, the database of rpm's own format: the headers in one. It is never written. Must not know trees.

A table of slots tells where the headers lie among blocks of sixteen bytes; numbers have their lowest byte first.
"""

from __future__ import annotations

import struct
import zlib

from ..database import damaged

_MAGIC, _SLOT, _START, _END = b"RpmP", b"Slot", b"BlbS", b"BlbE"
_PAGE, _BLOCK = 4096, 16
_SLOTS = struct.Struct("<4s3I")  # magic, number of the package, its first block, how many it has
_HEAD = struct.Struct("<4s3I")  # magic, number of the package, generation, bytes of the header
_TAIL = struct.Struct("<2I4s")  # checksum, bytes of the header, magic


def read(data: bytes, where: str) -> dict[int, bytes]:
    """The headers in a database by their numbers.

    Raises:
        InputError: it is damaged, or no database of rpm's.
    """
    magic, version, _, pages = struct.unpack_from("<4s3I", data.ljust(_BLOCK, b"\0"))
    end = pages * _PAGE
    if magic != _MAGIC or version or not 0 < end <= len(data):
        raise damaged(f"{where}: is no database of rpm, or ends early")
    found: dict[int, bytes] = {}
    for at in range(2 * _BLOCK, end, _SLOTS.size):  # after the database's own facts
        magic, number, first, blocks = _SLOTS.unpack_from(data, at)
        if magic != _SLOT:
            raise damaged(f"{where}: damaged: at {at} no slot is")
        if first:
            blob = _blob(data[first * _BLOCK : (first + blocks) * _BLOCK], number)
            if blob is None or number in found or first * _BLOCK < end:
                raise damaged(f"{where}: damaged: package {number} does not lie where it should")
            found[number] = blob
    return dict(sorted(found.items()))


def _blob(data: bytes, number: int) -> bytes | None:
    """The header in a package's blocks; None where they are damaged."""
    if len(data) < _HEAD.size:
        return None
    magic, own, _, size = _HEAD.unpack_from(data)
    blocks = -(-(_HEAD.size + size + _TAIL.size) // _BLOCK)
    if magic != _START or own != number or len(data) != blocks * _BLOCK:
        return None
    checksum, again, magic = _TAIL.unpack_from(data, len(data) - _TAIL.size)
    if magic != _END or again != size or checksum != zlib.adler32(data[: -_TAIL.size]):
        return None
    return data[_HEAD.size : _HEAD.size + size]
