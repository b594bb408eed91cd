# SPDX-License-Identifier: MIT
"""Reading an rpm package's file in one pass: what its headers say, what it holds.

A package is a lead, a signature (a header with sums of what follows), the main header, and a compressed cpio archive;
follows rpm's documentation of its package format, version 4. What is said twice must agree. Who signed a package is
not judged. Must not know feeds, other packages or where the files will lie.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NamedTuple

from ... import decompress
from ...errors import InputError
from ...stream import PieceStream
from ..contents import Contents, PackageFile
from . import tags
from .files import files_of
from .header import INTRO, MAGIC, MOST_BYTES, MOST_ENTRIES, Header
from .members import read_members
from .sums import MD5, SHA1, SHA256, Sum, new_sum, summed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..contents import Keeper

_LEAD = struct.Struct(">4sBBHH66sHH16x")
_LEAD_MAGIC, _SOURCE, _HAS_SIGNATURE = b"\xed\xab\xee\xdb", 1, 5
_ALIGNED = 8  # the signature's length
_ENTRY = 16  # bytes
_WORD = re.compile(r"[!-.0-~]+")  # no blank and no slash
_COMPRESSIONS = {"gzip": decompress.GZIP, "xz": decompress.XZ, "lzma": decompress.LZMA, "zstd": decompress.ZSTD,
                 "bzip2": decompress.BZIP2}  # fmt: skip

# What rpm runs when a package is installed, by its own names.
_SCRIPTS = (
    ("pretrans", tags.PRETRANS, tags.PRETRANSPROG),
    ("prein", tags.PREIN, tags.PREINPROG),
    ("postin", tags.POSTIN, tags.POSTINPROG),
    ("posttrans", tags.POSTTRANS, tags.POSTTRANSPROG),
)
_TRIGGERS = (
    ("triggerprein", tags.TRIGGERFLAGS, tags.TRIGGERPREIN),
    ("triggerin", tags.TRIGGERFLAGS, tags.TRIGGERIN),
    ("filetriggerin", tags.FILETRIGGERFLAGS, tags.TRIGGERIN),
    ("transfiletriggerin", tags.TRANSFILETRIGGERFLAGS, tags.TRIGGERIN),
)


class Head(NamedTuple):
    """The headers of a package's file; the main one is its bytes from `start` to `end`."""

    signature: Header
    header: Header
    start: int
    end: int


def read_head(path: str, where: str) -> Head:
    """The headers of a package's file; the payload is not read. `where` names the package in messages.

    Raises:
        InputError: the file is no binary package, or damaged as far as it was read.
        ToolError: it can not be read.
    """
    with PackageFile(path, where) as file:
        return _head(PieceStream(file.pieces), file)


def read_package(
    path: str,
    where: str,
    payload: Keeper,
    *,
    size: int | None = None,
    digest: str | None = None,
    limit: int | None = None,
) -> Contents:
    """Read a package's file once, from its start to its end; `payload` gets the uncompressed cpio archive.

    `size` and `digest` (of any kind) are what the file must have, where known. `limit` bounds the bytes of
    the payload (default: what the file's size makes plausible). `Contents.control` has the two headers as the database
    has them, `header` and `signature`.

    Raises:
        InputError: the file is not what `size` and `digest` say, is no binary package, or is damaged or hostile.
        ToolError: it can not be read, or `payload` not be kept.
    """
    with PackageFile(path, where, size, digest) as file:
        try:
            stream = PieceStream(file.pieces)
            head = _head(stream, file)
            fields, files, sums = fields_of(head.header), files_of(head.header), _sums(head, where)
            plain = _plain(head.header, summed(stream.rest(), sums), decompress.limit_for(file.length, limit))
            members = read_members(head.header, files, plain, payload, path)
            for one in sums:
                one.check(where)
        except InputError as error:
            # Why a file can not be read is said best by that it is another one.
            file.check(error)
            raise
        file.check()
        control = {"header": head.header.data, "signature": head.signature.data}
        conffiles = tuple(one.path for one in files if one.configuration and not one.ghost)
        return Contents(fields, control, conffiles, members, payload, file.digest.hexdigest(), file.length)


def fields_of(header: Header) -> dict[str, str]:
    """What a package is, under the names that control files have for it; a version is `[epoch:]version-release`.

    Raises:
        InputError: its header does not say.
    """
    name, version, release, arch = map(header.text, (tags.NAME, tags.VERSION, tags.RELEASE, tags.ARCH))
    for word in (name, version, release, arch):
        if not _WORD.fullmatch(word) or (word in (version, release) and "-" in word):
            raise header.damaged(f"no package has the name, version or architecture {word[:80]!r}")
    epoch = header.number(tags.EPOCH)
    return {
        "Package": name,
        "Version": f"{epoch}:{version}-{release}" if epoch else f"{version}-{release}",
        "Architecture": arch,
    }


def scripts_of(header: Header) -> tuple[str, ...]:
    """What rpm would run when the package is installed, by rpm's names for it."""
    scripts = [name for name, script, program in _SCRIPTS if script in header or program in header]
    triggers = [name for name, tag, sense in _TRIGGERS if any(flags & sense for flags in header.numbers(tag))]
    return (*scripts, *triggers)


# ---- before the payload


def _head(stream: PieceStream, file: PackageFile) -> Head:
    lead = stream.read(_LEAD.size)
    if len(lead) < _LEAD.size or not lead.startswith(_LEAD_MAGIC):
        raise InputError(f"{file.where}: does not begin as an rpm package does")
    _, major, _, kind, _, _, _, signed = _LEAD.unpack(lead)
    if major not in (3, 4) or signed != _HAS_SIGNATURE:
        raise InputError(f"{file.where}: is of a format {major}, signature {signed}, which is not known")
    signature = _header(stream, f"{file.where}: signature", file.length)
    stream.skip(-stream.position % _ALIGNED)
    start = stream.position
    header = _header(stream, file.where, file.length)
    head = Head(signature, header, start, stream.position)
    _check(head, file)
    if kind == _SOURCE or tags.SOURCERPM not in header:
        raise InputError(f"{file.where}: is a source package, which can not be installed")
    return head


def _header(stream: PieceStream, where: str, length: int) -> Header:
    intro = stream.read(len(MAGIC) + INTRO)
    if len(intro) < len(MAGIC) + INTRO or not intro.startswith(MAGIC):
        raise InputError(f"{where}: damaged: no header begins at byte {stream.position - len(intro)}")
    entries, size = struct.unpack_from(">II", intro, len(MAGIC))
    whole = _ENTRY * entries + size
    if entries > MOST_ENTRIES or size > MOST_BYTES or stream.position + whole > length:
        raise InputError(f"{where}: damaged: says that it has {entries} entries and {size} bytes of values")
    return Header(intro[len(MAGIC) :] + stream.read(whole), where)


def _check(head: Head, file: PackageFile) -> None:
    """Hold the header against its signature, as far as that is possible without the payload."""
    signature, length = head.signature, file.length - head.start
    said = signature.number(tags.SIGTAG_LONGSIZE, signature.number(tags.SIGTAG_SIZE, length))
    if said != length:
        raise InputError(
            f"{file.where}: damaged: has {length} bytes after its signature, which says {said}",
            hint="fetch the package again",
        )
    for tag, kind in ((tags.SIGTAG_SHA256, SHA256), (tags.SIGTAG_SHA1, SHA1)):
        if tag in signature:
            _sum_with_header(head, kind, "its header", signature.text(tag)).check(file.where)


# ---- the payload


def _sums(head: Head, where: str) -> list[Sum]:
    """What the compressed payload must come to, still without it: by the header, or an old package's signature."""
    digest = head.header.text(tags.PAYLOADDIGEST)
    if digest:
        return [Sum("its payload", new_sum(head.header.number(tags.PAYLOADDIGESTALGO, SHA256), where), digest)]
    digest = head.signature.binary(tags.SIGTAG_MD5).hex()
    return [_sum_with_header(head, MD5, "its header and payload", digest)] if digest else []


def _sum_with_header(head: Head, kind: int, what: str, expected: str) -> Sum:
    one = Sum(what, new_sum(kind, head.header.where), expected)
    one.state.update(MAGIC)
    one.state.update(head.header.data)
    return one


def _plain(header: Header, pieces: Iterator[bytes], limit: int) -> Iterator[bytes]:
    """The uncompressed payload."""
    form, compressor = header.text(tags.PAYLOADFORMAT) or "cpio", header.text(tags.PAYLOADCOMPRESSOR)
    if form != "cpio" or compressor not in ("", *_COMPRESSIONS):
        raise InputError(f"{header.where}: its payload is {form[:40]!r} in {compressor[:40]!r}, which is not known")
    first = next(pieces, b"")
    # rpm names no compressor where there is none, and gzip's in old packages neither.
    compression = _COMPRESSIONS[compressor] if compressor else decompress.detect(first)
    return decompress.decompress(_chained(first, pieces), compression, f"{header.where}: payload", limit=limit)


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
