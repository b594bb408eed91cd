# SPDX-License-Identifier: MIT
"""Everything a cache says of itself, derived again from the bytes; every contradiction is listed.

Must not change anything, nor know what listings hold.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from typing import TYPE_CHECKING, Callable

from . import decompress, kept
from .ahead import ahead
from .content import Region, pieces
from .errors import InputError, ToolError
from .oci.rehash import Tee, within
from .oci.spec import LAYER_TYPES
from .oci.verify import Violation
from .survey import FOREIGN, MISPLACED, REMEMBERED, Survey
from .upkeep import abandoned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .oci.spec import Descriptor
    from .store import CachedLayer

_COMPRESSIONS = {"gzip": decompress.GZIP, "zstd": decompress.ZSTD}


def verify(folder: str, progress: Callable[[str], None]) -> list[Violation]:
    """Everything that is wrong with a cache, and what in its folder is not of the cache.

    What a build is just putting in can look as if it belonged to nothing.

    Raises:
        OSError: a folder can not be read.
    """
    survey = Survey(folder)
    return [*_files(survey), *_remembered(survey), *_entries(survey), *_blobs(survey, progress)]


def _files(survey: Survey) -> Iterator[Violation]:
    if (survey.files["tag"] or survey.files["entry"] or survey.blobs) and not survey.tagged:
        yield Violation("tag", "CACHEDIR.TAG", "is missing, or does not say that this is the cache of oe-oci")
    for file in survey.files[MISPLACED]:
        yield Violation("misplaced", file.where, "is no folder, or no regular file, where there should be one")
    for file in survey.files[FOREIGN]:
        yield Violation("foreign", file.where, "is not of the cache")
    for file in abandoned(survey, time.time()):
        yield Violation("unfinished", file.where, "was left by a build that was killed")


def _remembered(survey: Survey) -> Iterator[Violation]:
    for kind in REMEMBERED:
        for file in survey.files[kind]:
            if not kept.sound(survey.path(file)):
                yield Violation("remembered", file.where, "is damaged")


def _entries(survey: Survey) -> Iterator[Violation]:
    for file, reason in survey.damaged.items():
        yield Violation("entry", file.where, reason)
    there = {entry.layer[:2] for entry in survey.entries}
    for file, targets in survey.notes().items():
        if there.isdisjoint(targets):
            yield Violation("latest", file.where, "leads to no entry" if targets else "is damaged")
    uses = survey.referenced()
    for digest, file in survey.blobs.items():
        if not uses[digest]:
            yield Violation("unreferenced", file.where, "is the blob of no entry")


def _blobs(survey: Survey, progress: Callable[[str], None]) -> Iterator[Violation]:
    """Each blob is read once for all entries that say the same of it."""
    seen = set()
    for number, entry in enumerate(survey.entries, 1):
        progress(f"reading layer {number} of {len(survey.entries)}")
        layer = entry.layer
        for blob, of in ((layer.blob, layer), (layer.listing, None)):
            claim = (blob.media_type, blob.digest, blob.size, of and (of.diff_id, of.raw_size))
            if claim not in seen:
                seen.add(claim)
                yield from _blob(survey, blob, of)


def _blob(survey: Survey, blob: Descriptor, layer: CachedLayer | None) -> Iterator[Violation]:
    """What is wrong with a blob, and with the tar in it where it is that of a layer."""
    where = f"blobs/sha256/{blob.digest.hex}"
    fault = survey.wrong_size(blob)
    if fault:
        yield Violation("blob", where, fault)
        return
    stored = Tee(_read(os.path.join(survey.folder, where), blob.size), "sha256")
    faults = [] if layer is None else list(_contents(stored, where, layer))
    found = stored.finish()
    if stored.fault is not None:
        yield Violation("blob", where, stored.fault.message)
    elif found != blob.digest.hex:
        yield Violation("blob", where, f"has the digest sha256:{found}")
    for message in faults:
        yield Violation("diff-id", where, message)


def _read(path: str, size: int) -> Iterator[memoryview]:
    try:
        yield from pieces(Region(os.fsencode(path), 0, size))
    except ToolError as error:
        raise InputError(error.message) from error


def _contents(stored: Tee, where: str, layer: CachedLayer) -> Iterator[str]:
    """What the entry says of the bytes uncompressed, and is not so."""
    known = LAYER_TYPES.get(layer.blob.media_type)
    if known is None:
        yield f"has the type {layer.blob.media_type!r:.80}, which no layer has"
        return
    compression = _COMPRESSIONS.get(known.rpartition("+")[2], decompress.NONE)
    state, size = hashlib.sha256(), 0
    try:
        unpacked = decompress.decompress(stored, compression, where, limit=layer.raw_size, hint="")
        with contextlib.closing(ahead(unpacked)) as data:
            for piece in data:
                state.update(piece)
                size += len(piece)
    except InputError as error:
        if stored.fault is None:
            yield within(error, where)
        return
    if size != layer.raw_size:
        yield f"unpacks to {size} bytes, not {layer.raw_size}"
    if state.hexdigest() != layer.diff_id.hex:
        yield f"unpacks to sha256:{state.hexdigest()}, not {layer.diff_id}"
