# SPDX-License-Identifier: MIT
"""SHA-256 of very many small files, found by processes that do nothing else.

A small file takes more system calls than time for its bytes, and at each of these a thread would wait for the others.
fakeroot and pseudo, which change owners and modes alone, would hold up each of them as well; a process can do without.
Must not know what the files are for.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
from typing import TYPE_CHECKING, Callable

from .content import STAMP, File, Region, content_digest
from .errors import InputError, OciError, ToolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .content import Content

_DIGEST = 32  # bytes
_NONE = bytes(_DIGEST)  # in place of a digest
_PLACE = os.path.dirname(os.path.dirname(__file__))
_PROGRAM = "import sys; sys.path.append(sys.argv[1]); from oe_oci.readers import main; main()"
# Without fakeroot's library, and without pseudo's, which would else come back by itself.
_UNFAKED = {"LD_PRELOAD": "", "PSEUDO_UNLOAD": "1"}
_FACTS = struct.Struct(f"<{STAMP}s2Q")  # of a content: stamp, offset, size


def digests_of(contents: Sequence[Content], is_wanted: Callable[[], bool]) -> list[bytes]:
    """The SHA-256 of each content, empty for one that can not be read as it was scanned.

    All are empty where they are not wanted any more before the end, or no process can be had.
    """
    from .run import filtered  # noqa: PLC0415 - few builds read many files

    # There is none where Python is a part of another program.
    argv = [sys.executable or "", "-ISBc", _PROGRAM, _PLACE]
    found = bytearray()
    with (
        contextlib.suppress(InputError, ToolError),
        contextlib.closing(filtered(argv, map(_asked, contents), "", env=_UNFAKED)) as pieces,
    ):
        for piece in pieces:
            found += piece
            if not is_wanted():
                found.clear()
                break
        if len(found) == _DIGEST * len(contents):
            digests = (bytes(found[at : at + _DIGEST]) for at in range(0, len(found), _DIGEST))
            return [b"" if digest == _NONE else digest for digest in digests]
    return [b""] * len(contents)


def _asked(content: Content) -> bytes:
    """What a process is told of a content; where it can not read that, an empty path."""
    if isinstance(content, (File, Region)) and content.stamp:
        return _FACTS.pack(content.stamp, content.offset, content.size) + content.path + b"\0"
    return bytes(_FACTS.size + 1)


def main() -> None:
    """What such a process does: its input are contents, its output their digests."""
    asked, at = sys.stdin.buffer.read(), 0
    while at < len(asked):
        end = asked.index(b"\0", at + _FACTS.size)
        stamp, offset, size = _FACTS.unpack_from(asked, at)
        sys.stdout.buffer.write(_digest(Region(asked[at + _FACTS.size : end], offset, size, stamp)))
        at = end + 1


def _digest(region: Region) -> bytes:
    try:
        return bytes.fromhex(content_digest(region))
    except OciError:
        return _NONE
