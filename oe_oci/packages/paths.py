# SPDX-License-Identifier: MIT
"""The paths of a package's members, each judged by itself and by those before it.

Must not know archives, or where the files will lie.
"""

from __future__ import annotations

from ..changeset import WHITEOUT
from ..errors import InputError
from ..tree import ancestors, shown

MEMBERS = 1_000_000
PATH_LIMIT = 4096  # Linux opens no longer one
FACTS = 256 << 20  # of all names and attributes, which are held in memory


class Paths:
    """The paths so far of the package that `where` names in messages."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._directories: dict[str, bool] = {}  # of each path whether it is one
        self._occupied: set[str] = set()  # directories with something in them, in the archive themselves or not
        self._facts = 0

    def add(self, path: str, facts: int, *, directory: bool) -> None:
        """Take the next path; `facts` are the bytes of what is held of it beside that.

        Raises:
            InputError: it can not be in a package, or not with those before it; or there are too many.
        """
        if len(self._directories) == MEMBERS:
            raise InputError(f"{self._where}: has more than {MEMBERS} members")
        if "\n" in path:
            raise self.fault(path, "a name with a newline, which the database of packages can not hold")
        if path.rpartition("/")[2].startswith(WHITEOUT):
            raise self.fault(path, f"a name that begins with '{WHITEOUT}' would remove a file of a lower layer")
        if len(path) > PATH_LIMIT:
            raise self.fault(path[:80] + "…", f"a path of more than {PATH_LIMIT} characters")
        if path in self._directories:
            raise self.fault(path, "is in it twice")
        self._weigh(len(path) + facts)
        self._occupy(path)
        if path in self._occupied and not directory:
            raise self.fault(path, "is no directory, but something lies in it")
        self._directories[path] = directory

    def fault(self, path: str, message: str) -> InputError:
        return InputError(f"{self._where}: {shown(path)}: {message}")

    def _occupy(self, path: str) -> None:
        """Note the directories a path lies in; one that is something else would lead the write elsewhere."""
        for up in ancestors(path):
            if up in self._occupied:
                return
            if not self._directories.get(up, True):
                raise self.fault(path, f"lies in {shown(up)}, which is no directory in the same package")
            self._weigh(len(up))
            self._occupied.add(up)

    def _weigh(self, size: int) -> None:
        self._facts += size
        if self._facts > FACTS:
            raise InputError(f"{self._where}: has more than {FACTS >> 20} MiB of names and attributes")
