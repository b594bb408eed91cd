# SPDX-License-Identifier: MIT
"""Where the bytes of a regular file lie: a reference that can be read, never a whole file in memory.

Must not know trees, layers or the formats of archives.
"""

from __future__ import annotations

import errno
import hashlib
import os
import struct
from typing import TYPE_CHECKING, Callable, NamedTuple, Protocol, Union

from .errors import InputError, ToolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .notes import Notes

PIECE = 1 << 20
_STAMP = struct.Struct("<5Q")
STAMP = _STAMP.size
_TIME = (1 << 64) - 1  # what is kept of nanoseconds, which can be before 1970 and after 2262
# O_NONBLOCK: a fifo that took a file's place must not hang the build.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_UNLINKED = 32  # bytes of a stamp: all but the time of the inode's last change


class Region(NamedTuple):
    """`size` bytes of a file from `offset` on: a whole file, or a member of an uncompressed archive.

    `stamp` is the file's, empty where its bytes are not worth knowing in a later build; `digest` is the SHA-256 of the
    bytes where that is known without reading them.
    """

    path: bytes
    offset: int
    size: int
    stamp: bytes = b""
    digest: bytes = b""


class File(NamedTuple):
    """A whole file of a rootfs or of the host, small as there may be very many; `stamp` and `digest` as of `Region`.

    `name` is its path in `folder`, as trees have it, which both are there for others too; empty for `folder` itself.
    """

    folder: bytes
    name: str
    stamp: bytes
    digest: bytes = b""

    @property
    def path(self) -> bytes:
        return b"%b/%b" % (self.folder, self.name.encode("utf-8", "surrogateescape")) if self.name else self.folder

    @property
    def size(self) -> int:
        return int.from_bytes(self.stamp[16:24], "little")

    @property
    def offset(self) -> int:
        return 0


def stamp_of(facts: os.stat_result) -> bytes:
    """What tells a file's present content from any other on this machine, as far as the file system can: its stamp.

    Device, inode, size, and the times of the last change of the content and of the inode, in nanoseconds.
    """
    modified, changed = facts.st_mtime_ns & _TIME, facts.st_ctime_ns & _TIME
    return _STAMP.pack(facts.st_dev, facts.st_ino, facts.st_size, modified, changed)


def changed_at(stamp: bytes) -> int:
    """When the inode of a file last changed, as its stamp has it, in nanoseconds since 1970."""
    return int.from_bytes(stamp[32:40], "little")


def is_dated(stamp: bytes, seconds: int) -> bool:
    """Whether the content of a file last changed at a time in seconds since 1970, as its stamp has it."""
    return int.from_bytes(stamp[24:32], "little") == seconds * 10**9 & _TIME


class Literal(NamedTuple):
    """Bytes the build itself makes; small."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)


class Stored(NamedTuple):
    """A file inside a compressed archive: known by its digest, read by unpacking the archive it lies in.

    `digest` is its SHA-256 in hexadecimal. `unpack` returns the path of a file that holds the whole uncompressed
    archive; called only when bytes are needed. What is found out of the bytes goes into `notes`.
    """

    unpack: Callable[[], bytes]
    offset: int
    size: int
    digest: str
    notes: Notes | None = None


class Holder(Protocol):
    """Something that holds bytes, in memory or not; `notes` are as of `Stored`."""

    notes: Notes | None

    def readinto(self, view: memoryview, offset: int) -> None:
        """Fill the whole of `view` with the bytes from `offset` on."""


class Part(NamedTuple):
    """A part of the bytes that `holder` holds: a member of a package's payload; `digest` as of `Stored`."""

    holder: Holder
    offset: int
    size: int
    digest: str


Content = Union[File, Region, Literal, Stored, Part]


def filled(content: Content, views: Iterable[memoryview]) -> Iterator[memoryview]:
    """The views, each filled with the bytes of a content that follow, from its start on.

    A view is asked for when what was done with the one before is done.

    Raises:
        ToolError: the file can not be opened or read.
        InputError: the file is another one than it was when it was scanned, or has another size.
    """
    if isinstance(content, (File, Region)):
        return _filled(content.path, content, content.stamp, views)
    if isinstance(content, Stored):
        return _filled(content.unpack(), content, b"", views)
    return _held(content, views)


def _held(content: Literal | Part, views: Iterable[memoryview]) -> Iterator[memoryview]:
    position = content.offset if isinstance(content, Part) else 0
    for view in views:
        if isinstance(content, Part):
            content.holder.readinto(view, position)
        else:
            view[:] = content.data[position : position + len(view)]
        position += len(view)
        yield view


def _filled(
    path: bytes, content: File | Region | Stored, stamp: bytes, views: Iterable[memoryview]
) -> Iterator[memoryview]:
    position = content.offset
    descriptor = _opened(path, content, stamp)
    try:
        for view in views:
            _fill(descriptor, view, position, path)
            position += len(view)
            yield view
    finally:
        os.close(descriptor)


def _opened(path: bytes, content: File | Region | Stored, stamp: bytes) -> int:
    """A descriptor of a file that is, as far as that can be told, the one that was scanned."""
    descriptor = -1
    try:
        descriptor = os.open(path, _READ)
        # Offset 0 is a file of its own, as a member of an archive has a header before it.
        if not stamp and content.offset:
            return descriptor
        facts = os.fstat(descriptor)
    except OSError as error:
        if descriptor >= 0:
            os.close(descriptor)
        raise unreadable(path, error) from error
    # A folder or link on the way may lead elsewhere by now. But for the inode's time, as a link changes that.
    if stamp_of(facts)[:_UNLINKED] == stamp[:_UNLINKED]:
        return descriptor
    resized = content.offset == 0 and facts.st_size != content.size
    if stamp or resized:
        os.close(descriptor)
        raise _changed(path, "its size " if resized else "")
    return descriptor


def _fill(descriptor: int, view: memoryview, position: int, path: bytes) -> None:
    while True:
        try:
            count = os.preadv(descriptor, [view], position)
        except OSError as error:
            raise unreadable(path, error) from error
        if count == len(view):
            return
        if count == 0:
            raise _changed(path, "its size ")
        position += count
        view = view[count:]


def _changed(path: bytes, what: str) -> InputError:
    return InputError(
        f"{os.fsdecode(path)} changed {what}while it was read",
        hint="nothing may write to the inputs during a build; start again when that has ended",
    )


def unreadable(path: bytes, error: OSError) -> ToolError:
    """The error of a file of a rootfs or of the host that can not be read."""
    hint = ""
    if error.errno == errno.EACCES:
        hint = "run as root or under fakeroot, or give the rootfs as a tar archive"
    return ToolError(f"cannot read {os.fsdecode(path)}: {error.strerror}", hint=hint)


def pieces(content: Content) -> Iterator[memoryview]:
    """The bytes of `content` in views of at most 1 MiB; a view is valid until the next one is asked for."""
    buffer = memoryview(bytearray(min(PIECE, content.size)))
    return filled(content, (buffer[: content.size - at] for at in range(0, content.size, PIECE)))


def _at_once(content: Content) -> bytearray:
    """The bytes of a small content."""
    data = bytearray(content.size)
    for _ in filled(content, (memoryview(data),)):
        pass
    return data


def notes_on(content: Content) -> tuple[Notes | None, str]:
    """Where to look for what is known of a content, and the SHA-256 it is known by."""
    if isinstance(content, Part):
        return content.holder.notes, content.digest
    return (content.notes, content.digest) if isinstance(content, Stored) else (None, "")


def whole(content: Content) -> bytes:
    """All bytes of a small file; where they were noted before they are not read."""
    notes, digest = notes_on(content)
    known = None if notes is None else notes.text(digest)
    if known is not None:
        return known
    data = bytes(_at_once(content))
    if notes is not None:
        notes.add_text(digest, data)
    return data


def content_digest(content: Content) -> str:
    """SHA-256 of the bytes, in hexadecimal; known without reading where an archive was read before."""
    if isinstance(content, (Stored, Part)):
        return content.digest
    if content.size <= PIECE:  # as most are
        return hashlib.sha256(_at_once(content)).hexdigest()
    state = hashlib.sha256()
    for piece in pieces(content):
        state.update(piece)
    return state.hexdigest()
