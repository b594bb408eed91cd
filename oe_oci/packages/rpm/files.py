# SPDX-License-Identifier: MIT
"""The files of a package as its header has them, ghosts too. Must not know payloads or trees."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ...errors import InputError
from ..paths import FACTS, MEMBERS, PATH_LIMIT
from . import tags

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .header import Header

_Value = TypeVar("_Value")


class File(NamedTuple):
    """One file's facts.

    `path` is relative to the root, `mode` all sixteen bits, `device` what a device node stands for, `inode` what the
    names of one inode have in common. `digest` is hexadecimal, of the kind that FILEDIGESTALGO says. `color` has a
    bit for each kind of ELF file that it is, none of another file.
    """

    path: str
    mode: int
    size: int
    mtime: int
    flags: int
    user: str
    group: str
    target: str
    digest: str
    capabilities: str
    device: int
    inode: tuple[int, int]
    color: int

    @property
    def ghost(self) -> bool:
        """Whether it belongs to the package, but is not in its payload."""
        return bool(self.flags & tags.GHOST)

    @property
    def configuration(self) -> bool:
        """Whether it is a configuration file; the flag says nothing of a directory."""
        return bool(self.flags & tags.CONFIG) and not stat.S_ISDIR(self.mode)


def files_of(header: Header) -> list[File]:
    """The files of a package in the order of its header.

    Raises:
        InputError: the header is damaged, or a path leaves the root.
    """
    paths = _paths(header)

    def column(read: Callable[[int], Sequence[_Value]], tag: int, default: _Value | None = None) -> Sequence[_Value]:
        values = read(tag)
        if not values and default is not None:
            return [default] * len(paths)
        if len(values) != len(paths):
            raise header.damaged(f"its tag {tag} has {len(values)} values for {len(paths)} files")
        return values

    numbers, texts = header.numbers, header.texts
    sizes = tags.LONGFILESIZES if tags.LONGFILESIZES in header else tags.FILESIZES
    # Without an inode each file is one by itself.
    inodes = header.numbers(tags.FILEINODES) or range(1, len(paths) + 1)
    return list(
        map(
            File,
            paths,
            column(numbers, tags.FILEMODES),
            column(numbers, sizes),
            column(numbers, tags.FILEMTIMES),
            column(numbers, tags.FILEFLAGS, 0),
            column(texts, tags.FILEUSERNAME),
            column(texts, tags.FILEGROUPNAME),
            column(texts, tags.FILELINKTOS, ""),
            column(texts, tags.FILEDIGESTS, ""),
            column(texts, tags.FILECAPS, ""),
            column(numbers, tags.FILERDEVS, 0),
            zip(column(numbers, tags.FILEDEVICES, 0), column(lambda _: inodes, tags.FILEINODES)),
            column(numbers, tags.FILECOLORS, 0),
        )
    )


def inside(path: str, where: str) -> str:
    """A path as a tree has it. `where` names the package in messages.

    Raises:
        InputError: it leaves the root.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if os.pardir in parts:
        raise InputError(f"{where}: {path[:200]!r}: leaves the root with '..'")
    return "/".join(parts)


def _paths(header: Header) -> list[str]:
    names, numbers, folders = header.texts(tags.BASENAMES), header.numbers(tags.DIRINDEXES), header.texts(tags.DIRNAMES)
    if tags.OLDFILENAMES in header:
        names = header.texts(tags.OLDFILENAMES)
        numbers, folders = (0,) * len(names), ("",)
    if len(names) != len(numbers):
        raise header.damaged(f"has {len(names)} names of files and says of {len(numbers)} where they lie")
    if numbers and max(numbers) >= len(folders):
        raise header.damaged(f"a file lies in its directory {max(numbers)}, and it has {len(folders)}")
    if len(names) > MEMBERS:
        raise InputError(f"{header.where}: has more than {MEMBERS} files")
    # All in one directory, they can be many times as large as their header.
    if any(len(folder) > PATH_LIMIT for folder in folders) or sum(len(folders[number]) for number in numbers) > FACTS:
        raise InputError(f"{header.where}: has a path of more than {PATH_LIMIT} characters, or too many long ones")
    return [inside(folders[number] + name, header.where) for number, name in zip(numbers, names)]
