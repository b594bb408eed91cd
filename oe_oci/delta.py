# SPDX-License-Identifier: MIT
"""What a layer must hold: the difference between what lies below and what is wanted on top of it.

Compares type, mode, owner, link target, device numbers, extended attributes, content, and which names one inode has;
not times. Pure but for `same_content`, which is given. Must not know tar or OCI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, NamedTuple

from .changeset import WHITEOUT
from .content import Content
from .errors import InputError
from .tree import DIRECTORY, Entry, Tree, ancestors, order, parent, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Mapping

SameContent = Callable[[Content, Content], bool]


class Delta(NamedTuple):
    """The changes of one layer.

    `entries`, in the order they are written, are those added or changed and the directories they lie in; `changed`
    counts the former alone. `removed` are the topmost paths to remove.
    """

    entries: dict[str, Entry]
    removed: tuple[str, ...]
    changed: int

    @property
    def empty(self) -> bool:
        return not self.changed and not self.removed


def diff(lower: Tree, wanted: Mapping[str, Entry], removed: Iterable[str], same_content: SameContent) -> Delta:
    """The changes that bring the `wanted` entries onto `lower` and take the `removed` paths from it.

    Where one name of a hard-linked inode must be written, all its names are, those of lower layers too: a link
    can only be made within a layer, and this keeps the names together at no cost but a header each.

    Raises:
        InputError: a name begins with `.wh.`, which in a layer means a removal.
    """
    there = lower.entries.get
    entries = {path: entry for path, entry in wanted.items() if not _same(there(path), entry, same_content)}
    entries.update((path, wanted[path]) for path in _regrouped(lower, wanted, entries))
    entries.update(_other_names(lower, wanted, entries, frozenset(removed)))
    gone = _topmost(lower, entries, removed)
    _check_names(entries)
    count = len(entries)
    for directory in {parent(path) for path in (*entries, *gone)}:
        up = directory
        while up and up not in entries:
            entry = wanted.get(up) or there(up)
            assert entry is not None, up
            entries[up] = entry
            up = parent(up)
    return Delta({path: entries[path] for path in sorted(entries, key=order)}, gone, count)


def apply(tree: Tree, delta: Delta) -> None:
    """Change `tree`, which was the delta's lower one, to what it is with the layer on top."""
    tree.drop(delta.removed)
    tree.drop(_replacing(tree, delta.entries))
    tree.update(delta.entries)


def _same(below: Entry | None, entry: Entry, same_content: SameContent) -> bool:
    if below is None:
        return False
    if below is entry:
        return True
    # All facts but the time (4), the content and the inode (9, 10), which are compared otherwise.
    if below[:4] != entry[:4] or below[5:9] != entry[5:9]:
        return False
    if entry.content is None or below.content is None:
        return entry.content is below.content
    return below.content == entry.content or same_content(below.content, entry.content)


def _regrouped(lower: Tree, wanted: Mapping[str, Entry], changed: Collection[str]) -> set[str]:
    """The paths, else unchanged, that are to share an inode and do not, or do and are not to.

    Of names that are to part, the first one and those it is still to share the inode with stay as they are.
    """
    together: dict[Hashable, list[str]] = {}
    apart: dict[Hashable, dict[Hashable, list[str]]] = {}
    there = lower.entries.get
    for path, entry in wanted.items():
        if entry.inode is not None:
            together.setdefault(entry.inode, []).append(path)
        below = there(path)
        if below is not None and below.inode is not None and path not in changed:
            apart.setdefault(below.inode, {}).setdefault(path if entry.inode is None else entry.inode, []).append(path)
    found: set[str] = set()
    for paths in together.values():
        inodes = {_inode(lower, path) for path in paths}
        if len(paths) > 1 and (None in inodes or len(inodes) > 1):
            found.update(paths)
    for groups in apart.values():
        left = sorted((paths for paths in groups.values() if found.isdisjoint(paths)), key=min)
        found.update(path for paths in left[1:] for path in paths)
    return found


def _inode(tree: Tree, path: str) -> Hashable | None:
    entry = tree.entry(path)
    return None if entry is None else entry.inode


def _other_names(
    lower: Tree, wanted: Mapping[str, Entry], changed: Mapping[str, Entry], removed: frozenset[str]
) -> dict[str, Entry]:
    inodes = {entry.inode: entry for entry in changed.values() if entry.inode is not None}
    if not inodes:
        return {}
    found = {path: entry for path, entry in wanted.items() if entry.inode in inodes}
    for inode, entry in inodes.items():
        for path in lower.names_of(inode):
            if path not in wanted and not any(hides(up, wanted, removed) for up in (path, *ancestors(path))):
                found[path] = entry
    return found


def hides(path: str, wanted: Mapping[str, Entry], removed: Collection[str]) -> bool:
    """Whether what lies below `path`, or at it, is gone with the changes on top."""
    return path in removed or (path in wanted and wanted[path].kind != DIRECTORY)


def _replacing(tree: Tree, entries: Mapping[str, Entry]) -> list[str]:
    """The paths where something else takes the place of a directory."""
    there = tree.entries.get
    return [
        path
        for path, entry in entries.items()
        if entry.kind != DIRECTORY and (below := there(path)) is not None and below.kind == DIRECTORY
    ]


def _topmost(lower: Tree, entries: Mapping[str, Entry], removed: Iterable[str]) -> tuple[str, ...]:
    """The removals to write: not those inside a removed directory, nor those a replacing entry takes along."""
    paths = {path for path in removed if path in lower and path not in entries}
    tops = paths.union(_replacing(lower, entries))
    return tuple(sorted((p for p in paths if not any(up in tops for up in ancestors(p))), key=order))


def _check_names(entries: Iterable[str]) -> None:
    for path in entries:
        if WHITEOUT in path and path.rpartition("/")[2].startswith(WHITEOUT):
            raise InputError(
                f"{shown(path)}: a name that begins with '{WHITEOUT}' would remove a file of a lower layer",
                hint='remove it from the rootfs; to remove a path in the image use OCI_IMAGE_PATHS = "path:remove"',
            )
