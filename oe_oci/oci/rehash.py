# SPDX-License-Identifier: MIT
"""One pass over a layer's blob for `verify`: both digests, and what is wrong with each form of the bytes.

Shares no code with what writes blobs.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import decompress
from ..ahead import ahead
from ..content import pieces
from ..errors import InputError
from ..stream import PieceStream
from ..untar import Archive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..content import Region


def within(error: InputError, where: str) -> str:
    """An error's message without the place before it, which a violation names by itself."""
    prefix = f"{where}: "
    return error.message.removeprefix(prefix)


class Tee:
    """Passes pieces on and hashes them on the way; keeps what is wrong with them where they end too early."""

    def __init__(self, data: Iterator[Any], algorithm: str) -> None:
        self._data = data
        self._state = hashlib.new(algorithm)
        self.fault: InputError | None = None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            piece = next(self._data)
        except InputError as error:
            self.fault = error
            raise
        self._state.update(piece)
        return piece

    def finish(self) -> str:
        """The digest of all there is, also of what nobody asked for."""
        with contextlib.suppress(InputError):
            for _ in self:
                pass
        return self._state.hexdigest()


class Unpacked(NamedTuple):
    """What one pass over a layer's blob found: its digest, that of the tar in it, and what is wrong with each."""

    stored: str
    plain: str
    compression: str
    fault: str
    tar_fault: str


def unpack_layer(region: Region, where: str, algorithms: tuple[str, str], limit: int | None) -> Unpacked:
    stored = Tee(pieces(region), algorithms[0])
    first = next(stored, b"")
    compression = decompress.detect(bytes(first[:8]))
    most = decompress.limit_for(region.size, limit)
    data = decompress.decompress(itertools.chain([first], stored), compression, where, limit=most)
    tar_fault = ""
    with contextlib.closing(ahead(data)) as unpacked:
        plain = Tee(unpacked, algorithms[1])
        try:
            archive = Archive(PieceStream(plain), where)
            for _ in archive:
                pass
            if not archive.marked:
                tar_fault = "has no end mark; GNU tar and Python take it for a part of an archive"
        except InputError as error:
            tar_fault = within(error, where)
        diff_id = plain.finish()
    fault = within(plain.fault, where) if plain.fault else ""
    return Unpacked(stored.finish(), diff_id, compression, fault, "" if fault else tar_fault)
