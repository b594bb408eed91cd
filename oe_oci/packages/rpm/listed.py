# SPDX-License-Identifier: MIT
"""What a header says of its package's files, those too that are not in the payload.

Must not know where files lie, or what is done with them.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, NamedTuple

from ...tree import BLOCK, CHAR, DIRECTORY, FIFO, FILE, SYMLINK
from . import tags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .header import Header

NORMAL = 0  # of states: the file is there
MD5 = 1  # of algorithms: what holds where none is named

_KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFIFO: FIFO,
    stat.S_IFCHR: CHAR,
    stat.S_IFBLK: BLOCK,
}


class FileInfo(NamedTuple):
    """What a package says of one of its files.

    `mode` has the bits of the type too, `kind` is empty where it is one that no tree has. `digest` is in hexadecimal,
    by the algorithm of the number `algorithm`. `flags` are those of `tags`; `color` tells what kind of ELF file it is.
    """

    path: str
    kind: str
    mode: int
    user: str
    group: str
    size: int
    target: str
    device: int
    digest: str
    algorithm: int
    flags: int
    color: int
    state: int

    @property
    def config(self) -> bool:
        return bool(self.flags & tags.CONFIG)

    @property
    def ghost(self) -> bool:
        """Whether the package owns the path and brings nothing for it."""
        return bool(self.flags & tags.GHOST)

    @property
    def keeps(self) -> bool:
        """Whether a changed file stays and the new one is put beside it."""
        return bool(self.flags & tags.NOREPLACE)


class Files:
    """The files of a header in its order, by path too.

    Raises:
        InputError: the header's lists of files do not fit each other.
    """

    def __init__(self, header: Header) -> None:
        self.paths = paths_of(header)
        self._header = header
        self._numbers = {path: number for number, path in enumerate(self.paths)}
        self._columns: list[Sequence[int] | Sequence[str]] = []

    def __contains__(self, path: object) -> bool:
        return path in self._numbers

    def __getitem__(self, path: str) -> FileInfo:
        number = self._numbers[path]
        if not self._columns:
            self._columns = self._read()
        mode, *rest = (column[number] for column in self._columns)
        assert isinstance(mode, int)
        return FileInfo(path, _KINDS.get(stat.S_IFMT(mode), ""), mode, *rest)  # type: ignore[arg-type]

    def _read(self) -> list[Sequence[int] | Sequence[str]]:
        header, length = self._header, len(self.paths)

        def numbers(tag: int) -> Sequence[int]:
            found = header.numbers(tag)
            if found and len(found) != length:
                raise header.damaged(f"it lists {length} files and has {len(found)} values of tag {tag}")
            return found or (0,) * length

        def texts(tag: int) -> Sequence[str]:
            found = header.texts(tag)
            if found and len(found) != length:
                raise header.damaged(f"it lists {length} files and has {len(found)} values of tag {tag}")
            return found or ("",) * length

        sizes = numbers(tags.LONGFILESIZES if tags.LONGFILESIZES in header else tags.FILESIZES)
        algorithm = header.number(tags.FILEDIGESTALGO, MD5)
        return [
            numbers(tags.FILEMODES),
            texts(tags.FILEUSERNAME),
            texts(tags.FILEGROUPNAME),
            sizes,
            texts(tags.FILELINKTOS),
            numbers(tags.FILERDEVS),
            texts(tags.FILEDIGESTS),
            (algorithm,) * length,
            numbers(tags.FILEFLAGS),
            numbers(tags.FILECOLORS),
            numbers(tags.FILESTATES),
        ]


def paths_of(header: Header) -> tuple[str, ...]:
    """The paths of a package's files, relative to the root, in the header's order.

    Raises:
        InputError: the lists that make them do not fit each other, or a path leads out of where it seems to be.
    """
    if tags.BASENAMES in header:
        folders, numbers = header.texts(tags.DIRNAMES), header.numbers(tags.DIRINDEXES)
        names = header.texts(tags.BASENAMES)
        if len(names) != len(numbers) or any(number >= len(folders) for number in numbers):
            raise header.damaged("its folders and the names of its files do not fit each other")
        whole = [folders[number] + name for number, name in zip(numbers, names)]
    else:
        whole = list(header.texts(tags.OLDFILENAMES))
    return tuple(_relative(header, path) for path in whole)


def _relative(header: Header, path: str) -> str:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise header.damaged(f"{path[:200]!r} is no path of a package")
    return "/".join(parts)
