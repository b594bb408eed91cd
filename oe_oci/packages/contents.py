# SPDX-License-Identifier: MIT
"""What a package's file holds, in every format; and such a file while it is read, its bytes hashed as they pass.

Must not know formats, feeds or other packages.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, Callable, NamedTuple, Protocol

from ..content import Holder
from ..errors import InputError, ToolError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from ..untar import Member
    from .package import Package

_PIECE = 1 << 18
# Kinds of digests by the number of their hexadecimal digits, which is another one for each.
ALGORITHMS = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}


class Keeper(Holder, Protocol):
    """What takes a payload's bytes in order, and gives any of them back."""

    def write(self, piece: bytes) -> None: ...

    def release(self) -> None:
        """Give up the bytes; what is asked for later is read anew from the package."""


class Contents(NamedTuple):
    """What a package's file holds.

    `fields` are those of its control file, `control` the bytes of every control file by name; of an rpm package the
    fields that say what it is, and its two headers. `conffiles` are its configuration files' paths, relative to the
    root. `members` are in the order of the archive, the content of a file is a `Part` of `payload`, and the names of
    one inode have equal entries. `digest` is the file's SHA-256.
    """

    fields: dict[str, str]
    control: dict[str, bytes]
    conffiles: tuple[str, ...]
    members: tuple[Member, ...]
    payload: Keeper
    digest: str
    size: int


class Reading(NamedTuple):
    """How packages are read: `packages` tells what they hold, in the order given; `hold` has their payloads at hand."""

    packages: Callable[[Sequence[Package]], list[Contents]]
    hold: Callable[[Sequence[Contents]], None] = lambda _held: None


def check_identity(contents: Contents, package: Package) -> None:
    """Hold a package's own name, version and architecture against those its feed gave.

    Raises:
        InputError: they differ.
    """
    found = tuple(contents.fields.get(field, "") for field in ("Package", "Version", "Architecture"))
    if found != (package.name, package.version, package.arch):
        said = f"{package.name} {package.version} {package.arch}"
        raise _other(f"{package.path}: is {' '.join(found)!r}, the index says {said!r}")


def _other(message: str) -> InputError:
    return InputError(message, hint="make the index anew or fetch the package again")


class PackageFile:
    """A package's file while it is read; a context manager. `digest` is the SHA-256 of what was read.

    `expected` is what the whole file must come to where that is known, hexadecimal, of the kind that its length tells.

    Raises:
        InputError: there is none, or it is no file or not of `size` bytes, where that is known.
        ToolError: it can not be read.
    """

    def __init__(self, path: str, where: str, size: int | None = None, expected: str | None = None) -> None:
        self.path = path
        self.where = where
        self.digest = hashlib.sha256()
        self._expected = expected
        self._kind = ALGORITHMS.get(len(expected or ""), "sha256")
        self._other = None if self._kind == "sha256" else hashlib.new(self._kind, usedforsecurity=False)
        self._passed = 0
        try:
            # O_NONBLOCK: a fifo in a feed must not hang the build.
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            status = os.fstat(self._descriptor)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _other(f"{where}: there is no such file") from error
        except OSError as error:
            raise ToolError(f"cannot read {where}: {error.strerror}") from error
        self.length = status.st_size
        self.pieces = self._pieces()
        if not stat.S_ISREG(status.st_mode):
            self.__exit__()
            raise InputError(f"{where}: is no regular file")
        if size is not None and self.length != size:
            self.__exit__()
            raise _other(f"{where}: has {self.length} bytes, the index says {size}")

    def __enter__(self) -> PackageFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def _pieces(self) -> Iterator[bytes]:
        while True:
            try:
                piece = os.read(self._descriptor, _PIECE)
            except OSError as error:
                # Turned here, as a decompressor takes any OSError of its input for damage.
                raise ToolError(f"cannot read {self.where}: {error.strerror}") from error
            if not piece:
                return
            self._passed += len(piece)
            self.digest.update(piece)
            if self._other is not None:
                self._other.update(piece)
            yield piece

    def check(self, cause: InputError | None = None) -> None:
        """Read what is left, and raise where the file is not the one that was asked for."""
        for _ in self.pieces:
            pass
        if self._passed != self.length:
            raise InputError(
                f"{self.where}: changed its size while it was read",
                hint="nothing may write to the inputs during a build; start again when that has ended",
            ) from cause
        found = (self._other or self.digest).hexdigest()
        if self._expected and found != self._expected:
            kind = self._kind.upper().replace("SHA", "SHA-")
            raise _other(f"{self.where}: its {kind} is {found}, the index says {self._expected}") from cause


def gathered(pieces: Iterable[bytes]) -> Generator[bytes, None, None]:
    """The same bytes in pieces that are never many small ones, as each is kept by itself."""
    parts: list[bytes] = []
    length = 0
    for piece in pieces:
        parts.append(piece)
        length += len(piece)
        if length >= _PIECE:
            yield b"".join(parts) if len(parts) > 1 else piece
            parts, length = [], 0
    if parts:
        yield b"".join(parts)
