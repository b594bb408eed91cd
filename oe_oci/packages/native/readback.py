# SPDX-License-Identifier: MIT
"""What a directory holds after programs changed the image in it, without what is not the same in each build.

Must not know which programs those were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Protocol

from ...accounts import remembered
from ...content import Literal, whole
from ...tree import Tree, ancestors
from .volatile import DATED, REMOVED, matcher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...tree import Entry
    from ..contents import Contents
    from .volatile import Volatile

_SMALL = 1 << 20  # bytes of a file that is held in memory


class Root(Protocol):
    """A directory that can be read back: a `WorkRoot`, or one that lies behind another process."""

    def scan(self, dated: Callable[[str], bool]) -> dict[str, Entry]: ...

    def forget(self, path: str) -> list[str]: ...


def read_back(root: Root, before: Tree, held: Sequence[Contents], table: Sequence[Volatile]) -> dict[str, Entry]:
    """What a directory holds that held `before`, but for what a table of volatile files says of it.

    What packages ship, of which `held` tells, stays; what was there before is as it was.

    Raises:
        InputError, ToolError: something can not be read, or can not be in an image.
    """
    found = root.scan(matcher(table, DATED))
    shipped = {up for one in held for member in one.members for up in (member.path, *ancestors(member.path))}
    is_removed = matcher(table, REMOVED)
    for path in [path for path in found if is_removed(path)]:
        if path in shipped:
            # A later program may write to it, and then it is given back.
            found[path] = _in_memory(found[path])
        elif path in before:
            found[path] = before.entries[path]
        elif path in found:
            for inner in root.forget(path):
                del found[inner]
    for path, entry in remembered(Tree(found)).items():
        # By when it is asked who had an account below, those of the next layer may have been written.
        if found[path] is not before.entries.get(path):
            found[path] = entry
    return found


def _in_memory(entry: Entry) -> Entry:
    """A file with its bytes, where they are few."""
    if entry.content is None or isinstance(entry.content, Literal) or entry.size > _SMALL:
        return entry
    return entry._replace(content=Literal(whole(entry.content)))
