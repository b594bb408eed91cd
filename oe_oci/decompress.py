# SPDX-License-Identifier: MIT
"""Reading compressed bytes: which compression a file has, and its bytes without it, a bounded piece at a time.

Shares no code with what compresses. Must not know tar or OCI.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING, Any, Callable

from . import run
from .errors import InputError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

PIECE = 1 << 20
_FED = 1 << 16  # what is left of it is copied at every member's end, and members can be small
_XZ_MEMORY = 256 << 20  # xz -9 asks for 65 MiB; a header may ask for 4 GiB

GZIP, ZSTD, XZ, BZIP2, NONE = "gzip", "zstd", "xz", "bzip2", "none"
LZMA = "lzma"  # what came before xz; its bytes do not show it

_MAGIC = ((b"\x1f\x8b", GZIP), (b"\x28\xb5\x2f\xfd", ZSTD), (b"\xfd7zXZ\x00", XZ), (b"BZh", BZIP2))

# Unpacked bytes one archive may come to: what its compressed size makes plausible, but always this much.
PLAUSIBLE_RATIO = 200
PLAUSIBLE_SIZE = 4 << 30
_RAISE_LIMIT = "if that is right, raise the bound with --max-unpacked"


def detect(head: bytes) -> str:
    """The compression a file's first bytes show; a zstd file may begin with a skippable frame."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F:
        return ZSTD
    return NONE


def limit_for(size: int, limit: int | None) -> int:
    """The bytes that `size` compressed ones may unpack to: `limit` where one was given, else a plausible number."""
    return max(PLAUSIBLE_SIZE, size * PLAUSIBLE_RATIO) if limit is None else limit


def decompress(
    data: Iterable[Any], compression: str, where: str, *, limit: int, hint: str = _RAISE_LIMIT
) -> Generator[bytes, None, None]:
    """The uncompressed bytes of `data`, whose pieces may be of any size, in pieces of at most 1 MiB.

    All members or frames of the input are read. `where` names the input in messages, `hint` says what to do where
    it comes to more than `limit`.

    Raises:
        InputError: the bytes are damaged or end early, or come to more than `limit`.
        ToolError: zstd is needed and there is neither pyzstd nor the zstd program.
    """
    total = 0
    for piece in _unlimited(data, compression, where):
        total += len(piece)
        if total > limit:
            raise InputError(f"{where}: unpacks to more than {limit} bytes", hint=hint)
        yield piece


def _unlimited(data: Iterable[Any], compression: str, where: str) -> Iterator[bytes]:
    if compression == NONE:
        return (bytes(piece) for piece in data)
    if compression == ZSTD and _zstd_decompressor() is None:
        return run.filtered(["zstd", "-d", "-c", "-q"], data, where)
    return _members(data, _MAKERS[compression], where)


class _Gzip:
    """zlib's decompressor with the interface that those of bz2, lzma and zstd share."""

    def __init__(self) -> None:
        self._inner = _gzip_decompressor()
        self._pending = b""

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def needs_input(self) -> bool:
        return not self._pending and not self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inner.unused_data)

    def decompress(self, data: bytes, size: int) -> bytes:
        out: bytes = self._inner.decompress(self._pending + data, size)
        self._pending = self._inner.unconsumed_tail
        return out


def _gzip_decompressor() -> Any:
    try:
        from isal import isal_zlib  # noqa: PLC0415 - imported where used
    except ImportError:
        return zlib.decompressobj(31)
    return isal_zlib.decompressobj(31)


def _zstd_decompressor() -> Any:
    try:
        import pyzstd  # noqa: PLC0415 - imported where used
    except ImportError:
        return None
    return pyzstd.ZstdDecompressor()


_MAKERS: dict[str, Callable[[], Any]] = {
    GZIP: _Gzip,
    ZSTD: _zstd_decompressor,
    XZ: lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY),
    LZMA: lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_XZ_MEMORY),
    BZIP2: bz2.BZ2Decompressor,
}


def _fed(data: Iterable[Any]) -> Iterator[bytes]:
    for piece in data:
        for start in range(0, len(piece), _FED):
            yield bytes(piece[start : start + _FED])


def _members(data: Iterable[Any], make: Callable[[], Any], where: str) -> Iterator[bytes]:
    """One member after the other; zeros after the last one are padding, as the compressors' own programs see it."""
    inner, members = None, 0
    try:
        for rest in _fed(data):
            while rest or (inner is not None and not inner.needs_input):
                if inner is None:
                    if members:
                        rest = rest.lstrip(b"\0")  # noqa: PLW2901 - what is left to feed
                    if not rest:
                        break
                    inner, members = make(), members + 1
                out = inner.decompress(rest, PIECE)
                rest = b""  # noqa: PLW2901
                if inner.eof:
                    rest, inner = inner.unused_data, None  # noqa: PLW2901
                if out:
                    yield out
    except (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError) as error:
        raise InputError(f"{where}: damaged: {error}") from error
    except Exception as error:
        if type(error).__name__ in ("ZstdError", "IsalError"):
            raise InputError(f"{where}: damaged: {error}") from error
        raise
    if inner is not None or not members:
        raise InputError(f"{where}: ends in the middle of its compressed data")
