# SPDX-License-Identifier: MIT
"""What installed packages say of their files, by their headers, looked up file by file.

Must not know where files lie.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from .files import File, files_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..package import Installed

_RECENT = 16  # packages all of whose files are held


class Facts:
    """The files of installed packages. Only directories are held of all, as these are what most packages share."""

    def __init__(self) -> None:
        self._folders: dict[int, tuple[Installed, dict[str, File]]] = {}
        self._recent: dict[int, Mapping[str, File]] = {}

    def learn(self, package: Installed, files: Mapping[str, File]) -> None:
        """Take note of the files of a package, which somebody has read already."""
        folders = {path: file for path, file in files.items() if stat.S_ISDIR(file.mode)}
        self._folders[id(package)] = package, folders

    def of(self, package: Installed) -> Mapping[str, File]:
        """All files of a package by path.

        Raises:
            InputError: its header is damaged.
        """
        found = self._recent.pop(id(package), None)
        if found is None:
            assert package.header is not None
            found = {file.path: file for file in files_of(package.header)}
            self.learn(package, found)
        self._recent[id(package)] = found
        if len(self._recent) > _RECENT:
            del self._recent[next(iter(self._recent))]
        return found

    def file(self, package: Installed, path: str) -> File | None:
        """What a package says of one of its paths; None where it does not have that.

        Raises:
            InputError: its header is damaged.
        """
        _, folders = self._folders.get(id(package), (package, {}))
        return folders.get(path) or self.of(package).get(path)
