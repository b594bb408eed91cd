# SPDX-License-Identifier: MIT
"""libsolv's pool: the packages that feeds offer and those that are installed, with their relations by rpm's rules.

Must not know which packages are taken, or where they lie.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import tempfile
from typing import TYPE_CHECKING, Any, BinaryIO

from ...errors import InputError, ToolError
from .. import libsolv
from .primary import document
from .repomd import ANEW

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NOARCH = "noarch"
# libsolv takes `noarch` for as good as any architecture, whatever it is told; so it gets another word for it.
_NOARCH = "independent"
# The files that primary metadata have of each package, as all who make them agree.
_PRIMARY = re.compile(r"/etc/.*|(/.*)?bin/.*|/usr/lib/sendmail")


class Pool:
    """Packages in repositories; the numbers of packages are libsolv's, from the first on.

    `solv` is libsolv's module, `inner` its pool.
    """

    def __init__(self) -> None:
        self.solv = libsolv.load()
        self.inner = self.solv.Pool()
        self.inner.setdisttype(self.solv.Pool.DISTTYPE_RPM)
        self._below: Any = None

    @property
    def form(self) -> str:
        """What the form depends on that `written` gives."""
        return importlib.metadata.version("solv")

    def add(self, file: BinaryIO, where: str, priority: int) -> Any:
        """A new repository of the packages of primary metadata; those of the highest priority are the best."""
        repo = self.inner.add_repo(where)
        repo.priority = priority
        self._load(repo.add_rpmmd, file, where, 0)
        self._name_independent(repo)
        return repo

    def recall(self, data: bytes, where: str, priority: int) -> Any:
        """A new repository of what `written` gave for an earlier one."""
        repo = self.inner.add_repo(where)
        repo.priority = priority
        with spooled(data) as file:
            self._load(lambda stream, _language, flags: repo.add_solv(stream, flags), file, where, 0)
        self._name_independent(repo)
        return repo

    def written(self, repo: Any) -> bytes:
        """A repository as libsolv keeps it, which it reads in a tenth of the time; for libsolv of this version."""
        with tempfile.TemporaryFile() as file:
            stream = self.solv.xfopen_fd("", os.dup(file.fileno()), "w")
            repo.write(stream)
            stream.close()
            file.seek(0)
            return file.read()

    def extend(self, repo: Any, file: BinaryIO, where: str) -> None:
        """Add the names of all files to the packages of a repository."""
        self._load(repo.add_rpmmd, file, where, self.solv.Repo.REPO_EXTEND_SOLVABLES)

    def install(self, packages: Sequence[str], where: str) -> list[Any]:
        """Make packages, by their metadata, those that are installed, instead of those that were; in the same order."""
        if self._below is not None:
            self._below.free(True)
        self._below = self.inner.installed = self.inner.add_repo("below")
        with spooled(document(packages)) as file:
            self._load(self._below.add_rpmmd, file, where, 0)
        self._name_independent(self._below)
        found = list(self._below.solvables)
        if len(found) != len(packages):
            raise InputError(f"{where}: {len(packages)} packages are installed, and {len(found)} could be read")
        return found

    def arrange(self, archs: Sequence[str], disabled: Iterable[int]) -> set[str]:
        """Make known what provides what, for some architectures, the lowest priority first, and without some packages.

        Returns the paths that packages need and that primary metadata do not have.
        """
        words = [_NOARCH if word == NOARCH else word for word in reversed(archs)]
        self.inner.setarch(":".join(dict.fromkeys([*words, _NOARCH])))
        self.inner.set_disabled_list(list(disabled))
        paths = map(self.inner.id2str, self.inner.addfileprovides_queue())
        self.inner.createwhatprovides()
        return {path for path in paths if not _PRIMARY.fullmatch(path)}

    def arch(self, solvable: Any) -> str:
        """A package's architecture, in rpm's words."""
        return NOARCH if solvable.arch == _NOARCH else str(solvable.arch)

    def location(self, solvable: Any) -> str:
        """Where a package's file lies, as its metadata say; empty where that is outside of the feed.

        libsolv makes usual names of what it knows of a package.
        """
        if solvable.lookup_str(self.solv.SOLVABLE_MEDIABASE):
            return ""
        named = solvable.arch == _NOARCH
        if named:
            solvable.arch = NOARCH
        location = solvable.lookup_location()[0] or ""
        if named:
            solvable.arch = _NOARCH
        return str(location)

    def folder(self, solvable: Any) -> str:
        """The folder that a package's file lies in, as its metadata say."""
        return os.path.dirname(solvable.lookup_location()[0] or "")

    def size(self, solvable: Any) -> int:
        """The bytes of a package's file; 0 where that is not known."""
        return int(solvable.lookup_num(self.solv.SOLVABLE_DOWNLOADSIZE))

    def sha256(self, solvable: Any) -> str | None:
        """The digest of a package's file, in hexadecimal; None where that is not known."""
        checksum = solvable.lookup_checksum(self.solv.SOLVABLE_CHECKSUM)
        known = checksum is not None and checksum.type == self.solv.REPOKEY_TYPE_SHA256
        return str(checksum.hex()) if known else None

    def _load(self, load: Any, file: BinaryIO, where: str, flags: int) -> None:
        stream = self.solv.xfopen_fd("", os.dup(file.fileno()))
        try:
            done = load(stream, None, flags)
        finally:
            stream.close()
        if not done:
            raise InputError(f"{where}: damaged index: {self.inner.errstr}", hint=ANEW)

    def _name_independent(self, repo: Any) -> None:
        for one in repo.solvables:
            if one.arch == NOARCH:
                one.arch = _NOARCH


def spooled(data: bytes) -> BinaryIO:
    """Bytes in a file without a name.

    Raises:
        ToolError: the disk is full.
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by who takes it
    try:
        file.write(data)
        file.seek(0)
    except OSError as error:
        file.close()
        raise ToolError(f"cannot keep the packages' metadata: {error.strerror}") from error
    return file
