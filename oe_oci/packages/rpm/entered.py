# SPDX-License-Identifier: MIT
"""The header of a package as the database has it: that of its file, and what is known once it is installed.

Follows what rpm 4.18 does: the package's own header stays byte for byte, so that its digests and signatures hold, and
what is new follows it. Must not know databases.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ...errors import InputError
from ...tree import encode
from . import tags
from .header import BIN, INT8, INT16, INT32, INT64, INTRO, Header

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_CHARS = 1  # a type of numbers
_ENTRY = struct.Struct(">IIiI")
_LETTERS = {_CHARS: "B", INT8: "B", INT16: "H", INT32: "I", INT64: "Q"}
_ALIGNED = {INT16: 2, INT32: 4, INT64: 8}

# What of the signature header goes into the package's, under its own number or another.
_SAME = (
    *(tags.DSAHEADER, tags.RSAHEADER, tags.SHA1HEADER, tags.LONGSIGSIZE, tags.LONGARCHIVESIZE, tags.SHA256HEADER),
    *(tags.FILESIGNATURES, tags.FILESIGNATURELENGTH, tags.VERITYSIGNATURES, tags.VERITYSIGNATUREALGO),
)
_OTHER = {
    tags.SIGTAG_SIZE: tags.SIGSIZE,
    tags.SIGTAG_PGP: tags.SIGPGP,
    tags.SIGTAG_MD5: tags.SIGMD5,
    tags.SIGTAG_GPG: tags.SIGGPG,
    tags.SIGTAG_PAYLOADSIZE: tags.ARCHIVESIZE,
}

_Raw = tuple[int, int, bytes]  # type, number of values, their bytes


def entered(header: Header, signature: Header, epoch: int, hidden: Collection[int] = ()) -> Header:
    """The header of a package that a layer installs, by the two of its file.

    All its files are there but those with the numbers `hidden`, which are of the wrong colour. Its time of installation
    and the number of its transaction are the `epoch`.

    Raises:
        InputError: a header is damaged, or of a package that rpm 4 did not make.
    """
    if next(iter(header)) != tags.HEADERIMMUTABLE:
        raise InputError(
            f"{header.where}: its header has no part that stays as it is, as packages of rpm 4 have",
            hint="build the package anew; rpm itself enters no such package in its database",
        )
    moved = {**{tag: tag for tag in _SAME}, **_OTHER}
    found = {new: _raw(signature, old) for old, new in moved.items() if old in signature}
    files = len(header.texts(tags.BASENAMES))
    if files:
        states = bytes(tags.WRONG_COLOR if number in hidden else tags.NORMAL for number in range(files))
        found[tags.FILESTATES] = (_CHARS, files, states)
    for tag, number in _of_installation(epoch).items():
        found[tag] = (INT32, 1, struct.pack(">I", number))
    return _with(header, {tag: raw for tag, raw in found.items() if tag not in header})


def with_hidden(header: Header, hidden: Collection[int]) -> Header:
    """A header of the database in which the files with these numbers are of the wrong colour."""
    value = header.value(tags.FILESTATES)
    if value is None or value.kind not in (_CHARS, INT8):
        return header
    data = bytearray(header.data)
    start = INTRO + _ENTRY.size * int.from_bytes(data[:4], "big") + value.offset
    for number in hidden:
        if number < value.number:
            data[start + number] = tags.WRONG_COLOR
    return Header(bytes(data), header.where)


def as_entered(header: Header, epoch: int) -> Header:
    """A header that rpm itself entered, with what differs from one installation to the next as `entered` has it.

    Raises:
        InputError: the header is damaged.
    """
    data = bytearray(header.data)
    start = INTRO + _ENTRY.size * int.from_bytes(data[:4], "big")
    for tag, number in _of_installation(epoch).items():
        value = header.value(tag)
        if value is not None and (value.kind, value.number) == (INT32, 1):
            struct.pack_into(">I", data, start + value.offset, number)
    return Header(bytes(data), header.where)


def _of_installation(epoch: int) -> dict[int, int]:
    return {tags.INSTALLTIME: epoch, tags.INSTALLTID: epoch, tags.INSTALLCOLOR: 0}


def _raw(header: Header, tag: int) -> _Raw:
    value = header.value(tag)
    assert value is not None
    if value.kind in _LETTERS:
        return value.kind, value.number, struct.pack(f">{value.number}{_LETTERS[value.kind]}", *header.numbers(tag))
    if value.kind == BIN:
        return value.kind, value.number, header.binary(tag)
    return value.kind, value.number, b"".join(encode(text) + b"\0" for text in header.texts(tag))


def _with(header: Header, added: Mapping[int, _Raw]) -> Header:
    """A header with more tags behind those it has."""
    number, _ = struct.unpack_from(">II", header.data)
    entries = header.data[INTRO : INTRO + _ENTRY.size * number]
    values = bytearray(header.data[INTRO + len(entries) :])
    for tag, (kind, count, data) in sorted(added.items()):
        values += bytes(-len(values) % _ALIGNED.get(kind, 1))
        entries += _ENTRY.pack(tag, kind, len(values), count)
        values += data
    sizes = struct.pack(">II", number + len(added), len(values))
    return Header(sizes + entries + values, header.where)
