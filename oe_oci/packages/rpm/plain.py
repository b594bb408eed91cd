# SPDX-License-Identifier: MIT
"""The packages of feeds as their metadata have them, without libsolv: for a package manager that chooses itself.

Must not know which packages are taken, or where they lie.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple
from xml.parsers import expat

from ...errors import InputError
from .entries import find_rich
from .primary import Version
from .repomd import ANEW

if TYPE_CHECKING:
    from collections.abc import Mapping

_DIGEST = re.compile("[0-9a-f]*")
_DIGITS = {"md5": 32, "sha": 40, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128}
_NUMBER = re.compile("[0-9]{1,20}")
_TEXTS = ("name", "arch", "checksum", "file")
_RELATIONS = ("provides", "requires", "recommends")


class Listed(NamedTuple):
    """A package of an index. `provides`, `requires` and `recommends` are names alone, but for rich relations."""

    id: int
    repo: PlainRepo
    name: str
    evr: str
    arch: str
    location: str
    size: int
    checksum: str
    provides: tuple[str, ...]
    requires: tuple[str, ...]
    recommends: tuple[str, ...]
    files: tuple[str, ...]


class PlainRepo:
    """The packages of one index."""

    def __init__(self, number: int) -> None:
        self.id = number
        self.solvables: list[Listed] = []

    @property
    def nsolvables(self) -> int:
        return len(self.solvables)


class PlainPool:
    """Packages in repositories, as `Pool` has them for libsolv."""

    def __init__(self) -> None:
        self._repos = 0
        self._packages = 0

    def add(self, file: BinaryIO, where: str, _priority: int) -> PlainRepo:
        """A new repository of the packages of primary metadata."""
        find_rich(file, where)  # for its errors
        file.seek(0)
        self._repos += 1
        repo = PlainRepo(self._repos)
        _Reader(repo, self._packages).read(file, where)
        self._packages += repo.nsolvables
        return repo

    def location(self, one: Listed) -> str:
        return one.location

    def folder(self, one: Listed) -> str:
        return os.path.dirname(one.location)

    def size(self, one: Listed) -> int:
        return one.size

    def checksum(self, one: Listed) -> str:
        return one.checksum


class _Reader:
    """Follows the elements of one document; `last` is the number of the last package before it."""

    def __init__(self, repo: PlainRepo, last: int) -> None:
        self._repo = repo
        self._last = last
        self._facts: dict[str, Any] = {}
        self._files: list[str] = []
        self._names: dict[str, dict[str, None]] = {}
        self._relation = ""
        self._text: list[str] | None = None
        self._digits = 0  # of a checksum

    def read(self, file: BinaryIO, where: str) -> None:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self._begin
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._add
        try:
            parser.ParseFile(file)
        except expat.ExpatError as error:
            raise InputError(f"{where}: damaged index: {error}", hint=ANEW) from error

    def _begin(self, element: str, attributes: Mapping[str, str]) -> None:
        name = element.rpartition(" ")[2]
        if name == "package":
            self._facts, self._files, self._names = {}, [], {each: {} for each in _RELATIONS}
        elif name in _TEXTS:
            self._text = []
            self._digits = _DIGITS.get(attributes.get("type", "").lower(), 0)
        elif name == "version":
            epoch = attributes.get("epoch", "0")
            rest = (attributes.get(each, "") for each in ("ver", "rel"))
            self._facts["evr"] = str(Version("" if epoch == "0" else epoch, *rest))
        elif name == "size":
            size = attributes.get("package", "")
            self._facts["size"] = int(size) if _NUMBER.fullmatch(size) else 0
        elif name == "location":
            elsewhere = any(key.endswith("base") for key in attributes)
            self._facts["location"] = "" if elsewhere else attributes.get("href", "")
        elif name in _RELATIONS:
            self._relation = name
        elif name == "entry" and self._relation:
            self._names[self._relation][attributes.get("name", "")] = None

    def _add(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _end(self, element: str) -> None:
        name = element.rpartition(" ")[2]
        text = "".join(self._text or ())
        if name == "package":
            self._last += 1
            self._repo.solvables.append(self._package())
        elif name == "file":
            self._files.append(text)
        elif name == "checksum":
            self._facts["checksum"] = text if len(text) == self._digits and _DIGEST.fullmatch(text) else ""
        elif name in _TEXTS:
            self._facts[name] = text
        elif name in _RELATIONS:
            self._relation = ""
        if name in _TEXTS:
            self._text = None

    def _package(self) -> Listed:
        name, evr, arch, location = (str(self._facts.get(each, "")) for each in ("name", "evr", "arch", "location"))
        size, checksum = self._facts.get("size", 0), self._facts.get("checksum", "")
        provides, requires, recommends = (tuple(self._names[each]) for each in _RELATIONS)
        where = (name, evr, arch, location, size, checksum)
        return Listed(self._last, self._repo, *where, provides, requires, recommends, tuple(self._files))
