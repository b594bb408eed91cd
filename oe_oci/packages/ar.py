# SPDX-License-Identifier: MIT
"""A strict reader of ar archives, one pass: what packages of the deb family are made of.

python-debian's ArFile seeks, opens lazily and passes over damage, and the file would be read once more for its digest.
Follows deb(5) and ar(5); the long names of GNU and BSD are not read, as packages have none. Must not know packages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InputError
from ..tree import decode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..stream import Stream

MAGIC = b"!<arch>\n"
_HEADER = 60
_PIECE = 1 << 18


class Ar:
    """The names of an archive's members, in order; without the blanks and the `/` that may end one.

    Between two members `data` gives the bytes of the current one; what is not asked for is skipped. Dates, owners and
    modes are passed over unread. `where` names the archive in messages.

    Raises:
        InputError: the archive is damaged or ends early. Only the padding after the last member may be missing.
    """

    def __init__(self, stream: Stream, where: str) -> None:
        self._stream = stream
        self._where = where
        self._left = 0
        self._padding = 0

    def __iter__(self) -> Iterator[str]:
        if self._stream.read(len(MAGIC)) != MAGIC:
            raise self._fault("does not begin as one")
        while True:
            self._skip()
            header = self._stream.read(_HEADER)
            if not header:
                return
            yield self._begin(header)

    def data(self) -> Iterator[bytes]:
        """The bytes of the current member, a piece at a time."""
        while self._left:
            piece = self._stream.read(min(self._left, _PIECE))
            if not piece:
                raise self._fault("ends in the middle of a member")
            self._left -= len(piece)
            yield piece

    def _begin(self, header: bytes) -> str:
        size = header[48:58].rstrip(b" ")
        if len(header) < _HEADER or header[58:] != b"`\n" or not size.isdigit():
            raise self._fault(f"{header[:16]!r} begins no member")
        self._left = int(size)
        self._padding = self._left % 2
        return decode(header[:16].rstrip(b" ").removesuffix(b"/"))

    def _skip(self) -> None:
        if self._stream.skip(self._left) < self._left:
            raise self._fault("ends in the middle of a member")
        self._stream.skip(self._padding)
        self._left = self._padding = 0

    def _fault(self, message: str) -> InputError:
        return InputError(f"{self._where}: damaged ar archive: {message} (at byte {self._stream.position})")
