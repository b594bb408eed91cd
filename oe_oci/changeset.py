# SPDX-License-Identifier: MIT
"""Reading a layer: a changeset's tar members applied to a tree, as the runtimes apply them.

Follows layer.md of the OCI image specification (whiteouts, opaque whiteouts, hard links) and, where it is silent,
what overlay-based runtimes do. Must not know where layers are stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, NamedTuple, Protocol

from .content import Content
from .errors import InputError
from .tree import DIRECTORY, FILE, SYMLINK, Entry, Tree, ancestors, join, order, parent, resolve, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .untar import Member

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"

# What the kernel and the runtimes keep in attributes about this host, which is no content of an image.
HOST_XATTRS = (
    "security.selinux",
    "security.ima",
    "security.evm",
    "trusted.overlay.",
    "user.overlay.",
    "user.rootlesscontainers",
    "user.containers.override_stat",
)

Locate = Callable[[int, int, str], Content]


class Members(Protocol):
    """What gives an archive's members in order, and of the current one the digest: the archive, or a list of it."""

    def __iter__(self) -> Iterator[Member]: ...

    def digest(self) -> str: ...


class Changeset(NamedTuple):
    """What a layer says: entries in the order written, paths removed, directories whose lower content is hidden."""

    entries: dict[str, Entry]
    removed: tuple[str, ...]
    opaque: tuple[str, ...]


def content_xattrs(xattrs: tuple[tuple[str, bytes], ...]) -> tuple[tuple[str, bytes], ...]:
    """The attributes that are content: without those of this host."""
    return tuple(pair for pair in xattrs if not pair[0].startswith(HOST_XATTRS))


def read_changeset(archive: Members, where: str, lower: Tree, locate: Locate | None) -> Changeset:
    """Read a layer's members; `locate(offset, size, digest)` gives the reference to a file's bytes.

    Every file's bytes are hashed on the way where `locate` is given, else passed over.

    Raises:
        InputError: the archive is damaged, a name leaves the root, or a hard link has no target.
    """
    entries: dict[str, Entry] = {}
    removed: list[str] = []
    opaque: list[str] = []
    for member in archive:
        if member.raw.startswith("/"):
            raise InputError(f"{where}: {shown(member.path)}: written as an absolute path, which a layer must not hold")
        directory, _, name = member.path.rpartition("/")
        if name == OPAQUE:
            opaque.append(directory)
        elif f"/{WHITEOUT}{WHITEOUT}" in f"/{member.path}":
            continue  # other marks of aufs, as .wh..wh.plnk and what is in it, are nothing to anyone else
        elif name.startswith(WHITEOUT):
            if name[len(WHITEOUT) :] in ("", ".", ".."):
                raise InputError(f"{where}: {shown(member.path)}: a whiteout of nothing")
            removed.append(join(directory, name[len(WHITEOUT) :]))
        elif member.hardlink is not None:
            _link(entries, member, where, lower)
        else:
            entries[member.path] = _entry(archive, member, locate)
    return Changeset(entries, tuple(removed), tuple(opaque))


def _entry(archive: Members, member: Member, locate: Locate | None) -> Entry:
    entry = member.entry
    if entry.xattrs:
        entry = entry._replace(xattrs=content_xattrs(entry.xattrs))
    if entry.kind != FILE or locate is None:
        return entry
    return Entry(*entry[:9], locate(member.offset, entry.size, archive.digest()))


def _link(entries: dict[str, Entry], member: Member, where: str, lower: Tree) -> None:
    assert member.hardlink is not None
    target = entries.get(member.hardlink)
    if target is None:
        # Only some runtimes link to a file of a lower layer; its content is all that can be meant.
        target = lower.entry(member.hardlink)
    if target is None or target.kind == DIRECTORY:
        raise InputError(f"{where}: {shown(member.path)}: hard link to missing {shown(member.hardlink)}")
    if target.inode is None:
        # The offset too: a path written twice is two inodes, each of which may have other names.
        target = target._replace(inode=(where, member.hardlink, member.offset))
    entries[member.hardlink] = target
    entries[member.path] = target


def apply_changeset(tree: Tree, changes: Changeset) -> None:
    """Change `tree` to what it is with the layer on top.

    Whiteouts are for lower layers only, so they come first. A path through a link of the same layer is at the link's
    place; one through a link of a lower layer hides the link, as overlay file systems have it.
    """
    tree.drop(changes.opaque, keep=True)
    tree.drop([path for path in changes.removed if path in tree])
    own: set[str] = set()
    replaced = [p for p, e in changes.entries.items() if e.kind != DIRECTORY and _is_directory(tree, p)]
    tree.drop(replaced)
    # Links first, so that a path through several of them ends where it does once all are there.
    for path in sorted(changes.entries, key=lambda path: (changes.entries[path].kind != SYMLINK, order(path))):
        entry = changes.entries[path]
        place = path
        if own and any(up in own for up in ancestors(path)):
            place = join(resolve(tree, parent(path), follow=True).path, path.rpartition("/")[2])
        if not _is_directory(tree, parent(place)):
            for up in _missing(tree, place):
                tree.put(up, Entry(DIRECTORY, 0o755))
        if entry.kind != DIRECTORY and _is_directory(tree, place):
            tree.drop([place])
        if entry.kind == SYMLINK:
            own.add(path)
        tree.put(place, entry)


def _is_directory(tree: Tree, path: str) -> bool:
    entry = tree.entry(path)
    return entry is not None and entry.kind == DIRECTORY


def _missing(tree: Tree, path: str) -> Iterator[str]:
    for up in ancestors(path):
        if _is_directory(tree, up):
            return
        yield up
