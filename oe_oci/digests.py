# SPDX-License-Identifier: MIT
"""SHA-256 of contents: none is read twice in a build, and none that did not change since an earlier one is read at all.

What is known of a file of this machine goes by its stamp. A file that changed while the clock stood still, as it does
between two ticks, can have the stamp it had before; so one is remembered only if its last change was well before the
build began, whatever happens to it later. And only where the times of a file are this kernel's own: of a file on
another machine it may tell facts of a minute ago, and an image of a file system has the times that it was made with, as
another one mounted in its place can have. Must not know what the contents are for.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

from . import kept
from .content import File, Region, changed_at, content_digest, stamp_of
from .questions import Questions
from .records import Records
from .threads import give_up, pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Future

    from .content import Content
    from .questions import Asked

_RESOLUTION = 2_000_000_000  # nanoseconds; of FAT, the coarsest of all
_LARGE = 64 << 10  # bytes from which on a thread of its own is worth while
_MANY = 2048  # small files that are worth a process
_WHOLE = bytes(8)  # of a key, which is a stamp and an offset
_HEAD = b"oe-oci digests 1\n"
_MOUNTS = "/proc/self/mountinfo"  # proc(5)
# File systems of this machine's own, with all times of a file, and what is none of their disks: a file as one, or a
# server's. Of overlay the lower layers may be anything. Regular expressions.
_LOCAL = rb"bcachefs|btrfs|ext[234]|f2fs|jfs|nilfs2|ramfs|reiserfs|tmpfs|xfs|zfs"
_IMAGE = rb"/dev/(loop|nbd)\d.*"
_EMPTY = hashlib.sha256().digest()

_Begun = tuple["Sequence[int]", "Future[list[bytes]]"]  # numbers of contents, and the digests of these


class Digests:
    """The digests of contents, those known from earlier builds of the same image among them.

    These are kept in the file `path`, None for none. With `paranoid` what is there is not used. `began` is when the
    build began, in nanoseconds since 1970; nothing that it reads may have been looked at before. `questions` are those
    of the files' facts. It is `trusting` where what earlier builds left counts.
    """

    def __init__(self, path: str | None = None, *, paranoid: bool = False, began: int | None = None) -> None:
        self._path = path if path is not None and boot() else None
        self._latest = (time.time_ns() if began is None else began) - _RESOLUTION
        self.trusting = self._path is not None and not paranoid
        body = kept.recall(self._path, _head()) if self._path is not None and self.trusting else None
        self._records = Records(body or b"")
        self._found: dict[bytes | Content, bytes] = {}  # of this build alone
        self._local: dict[bytes, bool] = {}  # by device
        self._begun: list[list[_Begun]] = []
        self._stopped = False
        # Under fakeroot and pseudo attributes change while the inode on disk stays as it is.
        self.questions = Questions(noting=self._path is not None and "LD_PRELOAD" not in os.environ)

    def __call__(self, content: Content) -> bytes:
        """The SHA-256 of a content's bytes; they are read where it is not known.

        Raises:
            InputError, ToolError: they can not be read.
        """
        return self.known(content) or self._read(content)

    def _read(self, content: Content) -> bytes:
        digest = bytes.fromhex(content_digest(content))
        self.learn(content, digest)
        return digest

    def begin(self, contents: Iterable[Content], jobs: int) -> Callable[[], bytes]:
        """Have contents read whose SHA-256 is not known; the result gives that of each, one after the other.

        Until it is called large ones are read in `jobs` threads, and very many small ones by processes beside the
        caller. Another thread may call it.

        Raises:
            InputError, ToolError: one can not be read; so does the result.
            CancelledError: only the result does, once all was stopped.
        """
        self._stopped = False
        contents = list(contents)
        found = list(map(self.known, contents))
        unknown = [number for number, digest in enumerate(found) if not digest]
        small = [number for number in unknown if contents[number].size < _LARGE]
        large = {contents[number]: [number] for number in unknown if contents[number].size >= _LARGE}
        outside = self._read_outside(contents, small, jobs)
        begun = [*outside, *((numbers, pool(jobs).submit(_digests, content)) for content, numbers in large.items())]
        self._begun.append(begun)
        for number in () if outside else small:
            found[number] = self._read(contents[number])

        def result() -> bytes:
            for numbers, future in begun:
                for number, digest in zip(numbers, future.result()):
                    if digest:
                        found[number] = digest
                        self.learn(contents[number], digest)
            begun.clear()
            return b"".join(digest or self._unless_stopped(content) for content, digest in zip(contents, found))

        return result

    def _unless_stopped(self, content: Content) -> bytes:
        """The digest of a content, unless all was stopped since it was begun."""
        if self._stopped:
            raise CancelledError
        return self(content)

    def _read_outside(self, contents: Sequence[Content], numbers: Sequence[int], jobs: int) -> list[_Begun]:
        """Have processes read contents of these numbers, one process fewer than `jobs` as the caller has work to do.

        None where reading them here takes less time.
        """
        processes = min(jobs - 1, len(numbers) // _MANY)
        if not processes:
            return []
        from .readers import digests_of  # noqa: PLC0415 - few builds read very many files

        ends = [part * len(numbers) // processes for part in range(processes + 1)]
        parts = [numbers[begin:end] for begin, end in zip(ends, ends[1:])]
        threads = pool(jobs)
        return [
            (part, threads.submit(digests_of, [contents[number] for number in part], self._is_wanted)) for part in parts
        ]

    def _is_wanted(self) -> bool:
        return not self._stopped

    def stop(self) -> None:
        """Have nothing read any more of what was begun, and wait for what is being read."""
        self._stopped = True
        give_up(future for begun in self._begun for _, future in begun)

    def known(self, content: Content) -> bytes:
        """The SHA-256 of a content's bytes, empty where they would have to be read for it."""
        if not isinstance(content, (File, Region)):
            return bytes.fromhex(content_digest(content))
        if content.digest:
            return content.digest
        if not content.size:
            return _EMPTY
        key = self._key(content)
        if not isinstance(key, bytes):
            return self._found.get(key, b"")
        # A whole file was asked for as it was stamped.
        left = self._recall(key) if isinstance(content, Region) else b""
        return left or self._records.added(key) or self._found.get(key, b"")

    def learn(self, content: Content, digest: bytes) -> None:
        """Take note of the digest of a content that was read elsewhere, after the build began."""
        if isinstance(content, (File, Region)) and content.size and not content.digest:
            key = self._key(content)
            if isinstance(key, bytes) and self._settled(key):
                self._records.add(key, digest)
            else:
                self._found[key] = digest

    def stamped(self, path: bytes, facts: os.stat_result) -> tuple[bytes, bytes]:
        """A whole file's stamp, and the digest of its bytes where that is known."""
        stamp = stamp_of(facts)
        known = self._records and self._is_local(path, stamp)
        return stamp, self._recall(stamp + _WHOLE) if known else b""

    def file(self, path: str) -> Region:
        """A whole file that links may lead to, with the digest of its bytes where that is known.

        Raises:
            OSError: there is none.
        """
        path = os.path.realpath(path)
        name, facts = os.fsencode(path), os.stat(path)
        return Region(name, 0, facts.st_size, *self.stamped(name, facts))

    def mark(self, files: Iterable[File | Region]) -> bytes | None:
        """What files have in common with a later build only as long as none of them changes; None where nothing tells.

        With `paranoid` nothing does.
        """
        keys = list(map(self._key, files)) if self.trusting else []
        stamps = [key for key in keys if isinstance(key, bytes) and self._settled(key)]
        return boot() + b"".join(stamps) if self.trusting and len(stamps) == len(keys) else None

    def asked(self) -> list[Asked] | None:
        """All that `questions` asked; None where a later build could be told the same, and something have changed."""
        questions = self.questions
        local = all(self._is_local(path, device) for device, path in questions.devices.items())
        return questions.asked if local and questions.newest < self._latest else None

    def _settled(self, stamp: bytes) -> bool:
        """Whether a file that changes from now on will have another stamp."""
        return changed_at(stamp) < self._latest

    def leave_all(self) -> None:
        """Keep all that earlier builds left, whether this one asked for it or not."""
        self._records.leave_all()

    def save(self) -> None:
        """Keep what this build knows of unchanged files for the next one, and nothing else."""
        if self._path is not None and (body := self._records.body()) is not None:
            kept.keep(self._path, _head(), body)

    def _recall(self, key: bytes) -> bytes:
        """The digest that an earlier build left under a key."""
        return self._records.recall(key, leave=self._settled(key))

    def _key(self, region: File | Region) -> bytes | Content:
        """What a region is known by in this build: by itself, or by bytes that it is known by in later ones too."""
        stamp = region.stamp
        local = self._local.get(stamp[:8]) if stamp else False
        if local is None:
            local = self._is_local(region.path, stamp)
        if not local:
            return region
        return stamp + (_WHOLE if isinstance(region, File) else region.offset.to_bytes(8, "little"))

    def _is_local(self, path: bytes, stamp: bytes) -> bool:
        """Whether the stamp of a file, of which its device is enough, can be trusted, where anything is kept at all."""
        device = stamp[:8]
        if device not in self._local:
            self._local[device] = self._path is not None and _is_local(os.path.realpath(path))
        return self._local[device]


def _is_local(path: bytes) -> bool:
    """Whether a path without links lies on a file system whose times are this kernel's own."""
    mounted: dict[bytes, bool] = {}
    with contextlib.suppress(OSError), open(_MOUNTS, "rb") as file:
        for line in file:
            before, _, after = line.partition(b" - ")
            kind, source = after.split(b" ")[:2]
            point = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), before.split(b" ")[4])
            # The last one at a place hides those before.
            local = re.fullmatch(_LOCAL, kind) and not re.fullmatch(_IMAGE, source)
            mounted[point.rstrip(b"/")] = bool(local)
    while path and path not in mounted:
        path = path.rpartition(b"/")[0]
    return mounted.get(path, False)


def _digests(content: Content) -> list[bytes]:
    """The digest of a content, as one of several."""
    return [bytes.fromhex(content_digest(content))]


def _head() -> bytes:
    return _HEAD + boot() + b"\n"


def boot() -> bytes:
    """What the numbers of devices are numbers of: this machine since it was started; empty where that is not told."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id", "rb") as file:
        return file.read().strip()
    return b""
