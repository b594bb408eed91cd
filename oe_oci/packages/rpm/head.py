# SPDX-License-Identifier: MIT
"""The header of a package's file. To be replaced by `archive.read_head`."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ...errors import InputError, ToolError
from .header import INTRO, MAGIC, MOST_BYTES, MOST_ENTRIES, Header

if TYPE_CHECKING:
    from typing import BinaryIO

_LEAD = 96
_ENTRY = 16


def read_header(path: str, where: str) -> Header:
    """The main header of a package.

    Raises:
        InputError: it is no package, or damaged.
        ToolError: it can not be read.
    """
    try:
        with open(path, "rb") as file:
            if file.read(_LEAD)[:4] != b"\xed\xab\xee\xdb":
                raise InputError(f"{where}: is no rpm package")
            signature = _header(file, where)
            file.read(-len(signature.data) % 8)
            return _header(file, where)
    except OSError as error:
        raise ToolError(f"cannot read {path}: {error.strerror}") from error


def _header(file: BinaryIO, where: str) -> Header:
    begin = file.read(len(MAGIC) + INTRO)
    if not begin.startswith(MAGIC) or len(begin) < len(MAGIC) + INTRO:
        raise InputError(f"{where}: damaged package: has no header")
    entries, size = struct.unpack(">II", begin[len(MAGIC) :])
    if entries > MOST_ENTRIES or size > MOST_BYTES:
        raise InputError(f"{where}: damaged package: has a header of {entries} entries and {size} bytes")
    return Header(begin[len(MAGIC) :] + file.read(_ENTRY * entries + size), where)
