# SPDX-License-Identifier: MIT
"""SHA-256 of contents: none is read twice in a build, and none that did not change since an earlier one is read at all.

What is known of a file of this machine goes by its stamp. A file that changed while the clock stood still, as it does
between two ticks, can have the stamp it had before; so one is remembered only if its last change was well before the
build began, whatever happens to it later. Where a file system's times are not this kernel's own, none is: those of an
image of one are as it was made with, and another image mounted in its place can have the same. Must not know what the
contents are for.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from typing import TYPE_CHECKING

from . import kept
from .content import Region, changed_at, content_digest, stamp_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .content import Content

_RESOLUTION = 2_000_000_000  # nanoseconds; of FAT, the coarsest of all
_KEY, _RECORD = 48, 80  # bytes: a stamp and an offset; these and a digest
_NEAR = 64 * _RECORD
_HEAD = b"oe-oci digests 1\n"
_EMPTY = hashlib.sha256().digest()
_MOUNTS = "/proc/self/mountinfo"
_LOOP = b"7:"  # the major number of loop devices: images of file systems of any type
# These come as images too, keep no time of an inode's last change, or hand on what a server says.
_TIMELESS = re.compile(rb"squashfs|erofs|cramfs|romfs|iso9660|udf|vfat|msdos|exfat|fuse(blk)?(\..*)?")


class Digests:
    """The digests of contents, those known from earlier builds of the same image among them.

    These are kept in the file `path`, None for none. With `paranoid` what is there is not used. `began` is when the
    build began, in nanoseconds since 1970; nothing that it reads may have been looked at before.
    """

    def __init__(self, path: str | None = None, *, paranoid: bool = False, began: int | None = None) -> None:
        self._path = path if path is not None and _machine() else None
        self._latest = (time.time_ns() if began is None else began) - _RESOLUTION
        self._trusting = self._path is not None and not paranoid
        self._timeless = _timeless() if self._path is not None else frozenset()
        body = kept.recall(self._path, _head()) if self._path is not None and self._trusting else None
        self._kept = body if body is not None and len(body) % _RECORD == 0 else b""
        self._next = 0  # where in what is kept the record lies that will be asked for next, if all is as it was
        self._index: dict[bytes, int] | None = None
        self._seen = bytearray()  # what this build keeps
        self._found: dict[bytes | Content, bytes] = {}

    def __call__(self, content: Content) -> bytes:
        """The SHA-256 of a content's bytes; they are read where it is not known.

        Raises:
            InputError, ToolError: they can not be read.
        """
        known = self.known(content)
        if not known:
            known = bytes.fromhex(content_digest(content))
            self.learn(content, known)
        return known

    def known(self, content: Content) -> bytes:
        """The SHA-256 of a content's bytes, empty where they would have to be read for it."""
        if not isinstance(content, Region):
            return bytes.fromhex(content_digest(content))
        if not content.size:
            return _EMPTY
        if content.digest:
            return content.digest
        key = _key(content)
        if key not in self._found and isinstance(key, bytes):
            digest = self._recall(key)
            if digest:
                self._found[key] = digest
        return self._found.get(key, b"")

    def learn(self, content: Content, digest: bytes) -> None:
        """Take note of the digest of a content that was read elsewhere, after the build began."""
        if isinstance(content, Region) and content.size and not content.digest:
            key = _key(content)
            self._found[key] = digest
            if isinstance(key, bytes):
                self._keep(key, digest)

    def stamped(self, path: bytes, facts: os.stat_result) -> Region:
        """A whole file, with the digest of its bytes where that is known."""
        stamp = stamp_of(facts)
        return Region(path, 0, facts.st_size, stamp, self._recall(stamp + bytes(8)) if self._kept else b"")

    def file(self, path: str) -> Region:
        """The same of a file that links may lead to.

        Raises:
            OSError: there is none.
        """
        path = os.path.realpath(path)
        return self.stamped(os.fsencode(path), os.stat(path))

    def mark(self, files: Iterable[Region]) -> bytes | None:
        """What files have in common with a later build only as long as none of them changes; None where nothing tells.

        With `paranoid` nothing does.
        """
        stamps = [file.stamp for file in files]
        return _machine() + b"".join(stamps) if self._trusting and all(map(self._settled, stamps)) else None

    def _settled(self, stamp: bytes) -> bool:
        """Whether a file that changes from now on will have another stamp."""
        return changed_at(stamp) < self._latest and stamp[:8] not in self._timeless

    def save(self) -> None:
        """Keep what this build knows of unchanged files for the next one, and nothing else."""
        if self._path is not None and self._seen != self._kept:
            kept.keep(self._path, _head(), bytes(self._seen))

    def _recall(self, key: bytes) -> bytes:
        """The digest kept under a key. Keys are asked for in the order they were kept in, or nearly so."""
        if key[:8] in self._timeless:
            return b""
        place = self._next
        if self._kept[place : place + _KEY] != key:
            place = self._kept.find(key, place, place + _NEAR)
            if place < 0 or place % _RECORD:
                place = self._places().get(key, -1)
                if place < 0:
                    return b""
        self._next = place + _RECORD
        digest = self._kept[place + _KEY : place + _RECORD]
        self._keep(key, digest)
        return digest

    def _places(self) -> dict[bytes, int]:
        if self._index is None:
            self._index = {self._kept[at : at + _KEY]: at for at in range(0, len(self._kept), _RECORD)}
        return self._index

    def _keep(self, key: bytes, digest: bytes) -> None:
        if self._settled(key):
            self._seen += key
            self._seen += digest


def _key(region: Region) -> bytes | Content:
    return region.stamp + region.offset.to_bytes(8, "little") if region.stamp else region


def _head() -> bytes:
    return _HEAD + _machine() + b"\n"


def _timeless() -> frozenset[bytes]:
    """The devices of mounted file systems whose stamps do not tell one content from another, as stamps begin."""
    found = set()
    with contextlib.suppress(OSError), open(_MOUNTS, "rb") as file:
        for line in file:
            mount, _, rest = line.partition(b" - ")
            device, kind = mount.split(b" ")[2], rest.split(b" ")[0]
            if device.startswith(_LOOP) or _TIMELESS.fullmatch(kind):
                found.add(os.makedev(*map(int, device.split(b":"))).to_bytes(8, "little"))
    return frozenset(found)


def _machine() -> bytes:
    """What the numbers of devices are numbers of: this machine since it was started; empty where that is not told."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id", "rb") as file:
        return file.read().strip()
    return b""
