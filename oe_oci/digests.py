# SPDX-License-Identifier: MIT
"""SHA-256 of contents: none is read twice in a build, and none that did not change since an earlier one is read at all.

What is known of a file of this machine goes by its stamp. A file that changed while the clock stood still, as it does
between two ticks, can have the stamp it had before; so one is remembered only if its last change was well before the
build began, whatever happens to it later. Must not know what the contents are for.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import time
from typing import TYPE_CHECKING

from . import kept
from .content import Region, changed_at, content_digest, stamp_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .content import Content

_RESOLUTION = 2_000_000_000  # nanoseconds; of FAT, the coarsest of all
_RECORD = struct.Struct("48s32s")  # stamp and offset, digest
_HEAD = b"oe-oci digests 1\n"
_EMPTY = hashlib.sha256()


class Digests:
    """The digests of contents, those known from earlier builds of the same image among them.

    These are kept in the file `path`, None for none. With `paranoid` what is there is not used. `began` is when the
    build began, in nanoseconds since 1970; nothing that it reads may have been looked at before.
    """

    def __init__(self, path: str | None = None, *, paranoid: bool = False, began: int | None = None) -> None:
        self._path = path if path is not None and _machine() else None
        self._began = time.time_ns() if began is None else began
        self._trusting = self._path is not None and not paranoid
        self._known = _load(self._path) if self._path is not None and self._trusting else {}
        self._found: dict[bytes | Content, bytes] = {}

    def __call__(self, content: Content) -> str:
        """The SHA-256 of a content's bytes, in hexadecimal; they are read where it is not known.

        Raises:
            InputError, ToolError: they can not be read.
        """
        known = self.known(content)
        if known is None:
            known = content_digest(content)
            self.learn(content, known)
        return known

    def known(self, content: Content) -> str | None:
        """The SHA-256 of a content's bytes where it is known without reading them."""
        if not isinstance(content, Region):
            return content_digest(content)
        if not content.size:
            return _EMPTY.hexdigest()
        key = _key(content)
        found = self._found.get(key)
        if found is None and isinstance(key, bytes):
            found = self._known.get(key)
            if found is not None:
                self._found[key] = found
        return None if found is None else found.hex()

    def learn(self, content: Content, digest: str) -> None:
        """Take note of the digest of a content that was read elsewhere, after the build began."""
        if isinstance(content, Region) and content.size:
            self._found[_key(content)] = bytes.fromhex(digest)

    def file(self, path: str) -> Region:
        """A whole file, links followed, whose digest may be known.

        Raises:
            OSError: there is none.
        """
        path = os.path.realpath(path)
        facts = os.stat(path)
        return Region(os.fsencode(path), 0, facts.st_size, stamp_of(facts))

    def mark(self, files: Iterable[Region]) -> bytes | None:
        """What files have in common with a later build only as long as none of them changes; None where nothing tells.

        With `paranoid` nothing does.
        """
        stamps = [file.stamp for file in files]
        return _machine() + b"".join(stamps) if self._trusting and all(map(self._settled, stamps)) else None

    def _settled(self, stamp: bytes) -> bool:
        """Whether a file that changes from now on will have another stamp."""
        return changed_at(stamp) < self._began - _RESOLUTION

    def save(self) -> None:
        """Keep what this build knows of unchanged files for the next one, and nothing else."""
        if self._path is None:
            return
        found = {k: d for k, d in self._found.items() if isinstance(k, bytes) and self._settled(k[:-8])}
        if found != self._known:
            kept.keep(self._path, _head(), b"".join(_RECORD.pack(*item) for item in found.items()))


def _key(region: Region) -> bytes | Content:
    return region.stamp + region.offset.to_bytes(8, "little") if region.stamp else region


def _load(path: str) -> dict[bytes, bytes]:
    body = kept.recall(path, _head()) or b""
    return dict(_RECORD.iter_unpack(body)) if len(body) % _RECORD.size == 0 else {}


def _head() -> bytes:
    return _HEAD + _machine() + b"\n"


def _machine() -> bytes:
    """What the numbers of devices are numbers of: this machine since it was started; empty where that is not told."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id", "rb") as file:
        return file.read().strip()
    return b""
