# SPDX-License-Identifier: MIT
"""libsolv's pool: the packages that feeds offer and those that are installed, with their relations by rpm's rules.

Must not know which packages are taken, or where they lie.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from typing import TYPE_CHECKING, Any, BinaryIO

from ...errors import InputError, ToolError
from .. import libsolv
from . import clauses, rich
from .entries import Rich, find_rich
from .primary import document
from .repomd import ANEW

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NOARCH = "noarch"
_LISTED, _ALL = 500_000, 4_000_000  # packages in the lists that one relation becomes, and that all become
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
        self._rich: dict[int, tuple[str, list[tuple[Rich, rich.Node]]]] = {}  # by repositories, with what these are

    @property
    def library(self) -> str:
        """The file of libsolv's module, on which the form depends that `written` gives."""
        return str(self.solv._solv.__file__)  # noqa: SLF001 - the part of it that is in C

    def add(self, file: BinaryIO, where: str, priority: int) -> Any:
        """A new repository of the packages of primary metadata; those of the highest priority are the best."""
        repo = self.inner.add_repo(where)
        repo.priority = priority
        self._read(repo, file, where)
        return repo

    def recall(self, data: bytes, where: str, priority: int) -> Any:
        """A new repository of what `written` gave for an earlier one."""
        repo = self.inner.add_repo(where)
        repo.priority = priority
        found, _, data = data.partition(b"\n")
        self._note(repo, where, [Rich(*one) for one in json.loads(found)])
        with spooled(data) as file:
            self._load(lambda stream, _language, flags: repo.add_solv(stream, flags), file, where, 0)
        return repo

    def written(self, repo: Any) -> bytes:
        """A repository as libsolv keeps it, which it reads in a tenth of the time; for libsolv of this version."""
        found = [one for one, _ in self._rich[repo.id][1]]
        with tempfile.TemporaryFile() as file:
            stream = self.solv.xfopen_fd("", os.dup(file.fileno()), "w")
            repo.write(stream)
            stream.close()
            file.seek(0)
            return json.dumps(found).encode("ascii") + b"\n" + file.read()

    def extend(self, repo: Any, file: BinaryIO, where: str) -> None:
        """Add the names of all files to the packages of a repository."""
        self._load(repo.add_rpmmd, file, where, self.solv.Repo.REPO_EXTEND_SOLVABLES)

    def install(self, packages: Sequence[str], where: str) -> list[Any]:
        """Make packages, by their metadata, those that are installed, instead of those that were; in the same order."""
        if self._below is not None:
            self._below.free(True)
        self._below = self.inner.installed = self.inner.add_repo("below")
        with spooled(document(packages)) as file:
            self._read(self._below, file, where)
        found = list(self._below.solvables)
        if len(found) != len(packages):
            raise InputError(f"{where}: {len(packages)} packages are installed, and {len(found)} could be read")
        return found

    def arrange(self, archs: Sequence[str], disabled: Iterable[int]) -> set[str]:
        """Make known what provides what, for some architectures, the lowest priority first, and without some packages.

        `noarch` goes without saying, and is as good as any other, as with dnf. Returns the paths that packages need and
        that primary metadata do not have.
        """
        # One word alone libsolv would take for all that a processor of that name can run.
        self.inner.setarch(":".join([*(word for word in reversed(archs) if word != NOARCH), "none"]))
        self.inner.set_disabled_list(list(disabled))
        paths = map(self.inner.id2str, self.inner.addfileprovides_queue())
        self.inner.createwhatprovides()
        return {path for path in paths if not _PRIMARY.fullmatch(path)}

    def check(self) -> None:
        """See that no rich relation, nor all of them, is more than can be resolved, by what provides what now.

        Raises:
            InputError: one is.
        """
        left = _ALL
        for where, found in self._rich.values():
            for one, node in found:
                number = clauses.packages(node, self._providers, conflict=one.conflict)
                left -= number
                if number > _LISTED or left < 0:
                    said = one.text if len(one.text) < 80 else f"{one.text[:80]}…"
                    which = f"it names more than {_LISTED}" if number > _LISTED else f"all such name more than {_ALL}"
                    raise InputError(
                        f"{where}: {one.package}: {said!r} is too much to resolve: with each 'or' of an 'and' written"
                        f" out {which} packages",
                        hint="say it in several relations, or take the package out of the feed",
                    )

    def _providers(self, node: rich.Node) -> int:
        """How many packages provide a simple relation."""
        number = self.inner.str2id(node.name)
        if node.sign:
            signs = {"<": self.solv.REL_LT, "=": self.solv.REL_EQ, ">": self.solv.REL_GT}
            number = self.inner.rel2id(
                number, self.inner.str2id(node.version), sum(signs[one] for one in set(node.sign))
            )
        return len(self.inner.whatprovides(number))

    def _read(self, repo: Any, file: BinaryIO, where: str) -> None:
        """Fill a repository with the packages of primary metadata."""
        found = find_rich(file, where)
        file.seek(0)
        self._load(repo.add_rpmmd, file, where, 0)
        self._note(repo, where, found)

    def _note(self, repo: Any, where: str, found: Sequence[Rich]) -> None:
        self._rich[repo.id] = where, [(one, rich.parse(one.text)) for one in found]

    def location(self, solvable: Any) -> str:
        """Where a package's file lies, as its metadata say; empty where that is outside of the feed."""
        elsewhere = solvable.lookup_str(self.solv.SOLVABLE_MEDIABASE)
        return "" if elsewhere else str(solvable.lookup_location()[0] or "")

    def folder(self, solvable: Any) -> str:
        """The folder that a package's file lies in, as its metadata say."""
        return os.path.dirname(solvable.lookup_location()[0] or "")

    def size(self, solvable: Any) -> int:
        """The bytes of a package's file; 0 where that is not known."""
        return int(solvable.lookup_num(self.solv.SOLVABLE_DOWNLOADSIZE))

    def checksum(self, solvable: Any) -> str:
        """A digest of a package's file, in hexadecimal; empty where none is known."""
        known = solvable.lookup_checksum(self.solv.SOLVABLE_CHECKSUM)
        return str(known.hex()) if known is not None else ""

    def _load(self, load: Any, file: BinaryIO, where: str, flags: int) -> None:
        stream = self.solv.xfopen_fd("", os.dup(file.fileno()))
        try:
            done = load(stream, None, flags)
        finally:
            stream.close()
        if not done:
            raise InputError(f"{where}: damaged index: {self.inner.errstr}", hint=ANEW)


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
