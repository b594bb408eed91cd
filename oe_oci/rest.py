# SPDX-License-Identifier: MIT
"""What the rootfs has beyond the layers of packages: what its makers changed, added and removed.

A package that is in the rootfs and in no layer was needed for its making alone: what only it owns is left out. What
somebody did by hand to a layer stays. Reads facts, and of contents the databases of packages. Must not know who
installs packages, tar or OCI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .errors import InputError
from .packages.database import KEEP, PER_PACKAGE
from .packages.installation import MADE, is_same_directory
from .packages.known import is_managers, package_names
from .populate import LastingLinks, Wanted, at_real_places, lacking
from .tree import DIRECTORY, SYMLINK, Entry, Tree, ancestors, order, parent, place_of, resolve, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from .populate import Stack
    from .tree import Source

_WAY_OUT = "or leave OCI_ROOTFS_LAYER empty"


class Packages(NamedTuple):
    """The `names` of all packages in the image, and the paths in the rootfs of each package that is `owned` there.

    `database` is what becomes of the database, a value of OCI_PACKAGE_DATABASE.
    """

    names: Collection[str]
    owned: Mapping[str, Sequence[str]]
    database: str


class Rest(NamedTuple):
    """What is wanted of the rootfs; `overruled` is what it has where a layer stays as it was changed by hand."""

    wanted: Wanted
    overruled: dict[str, Entry]


def want_rest(rootfs: Source, stack: Stack, packages: Packages) -> Rest:
    """What of the rootfs differs from what lies below, and the removal of what layers of packages put there beyond it.

    What layers of host files put there stays as it is, as if the rootfs lay below them, and so does what somebody
    changed, added or removed by hand.

    Raises:
        InputError: the rootfs does not go together with the base, with files of the host or with what was done by hand,
            or has a damaged database.
    """
    found = _without_removed(Tree(dict(rootfs.walk(""))), stack)
    state = _state(found, stack, packages)
    left = _left_out(found, stack, packages, state)
    links = LastingLinks(stack.tree, lambda path: stack.is_of_base(path) or stack.is_given(path))
    there = wanted = at_real_places(links, found.entries)
    if left:
        wanted = at_real_places(links, {path: entry for path, entry in found.entries.items() if path not in left})

    def spared(path: str) -> bool:
        return stack.is_given(path) or (state.spared and is_managers(path))

    below, overruled = _below_given(stack, wanted)
    return Rest(Wanted(below, lacking(stack, there, spared)), overruled)


def want_database(rootfs: Source, stack: Stack, packages: Packages) -> Wanted | None:
    """The database of the rootfs for a layer of its own; None where it tells of other packages than the image has."""
    if not _is_of_image(_names(rootfs), stack, packages):
        return None
    found = {path: entry for path, entry in rootfs.walk("") if is_managers(path) or entry.kind == DIRECTORY}
    needed = {up for path in found if is_managers(path) for up in (path, *ancestors(path))}
    placed = at_real_places(stack.tree, {path: entry for path, entry in found.items() if path in needed})
    return Wanted(placed, lacking(stack, placed, lambda path: not is_managers(path)))


# ---- the packages' database


class _State(NamedTuple):
    """What becomes of the paths of package managers.

    Of the rootfs they are all `taken`, or `added` where nothing is, or none; those below can be `spared` from removal.
    """

    taken: bool
    added: bool
    spared: bool


def _state(found: Tree, stack: Stack, packages: Packages) -> _State:
    names = _names(found)
    if packages.database == KEEP and _is_of_image(names, stack, packages):
        return _State(taken=True, added=False, spared=False)
    # A rootfs whose database was removed can still have something of the managers, such as notes on alternatives; where
    # nobody knows of packages it is like any other file.
    if not names and not package_names(stack.tree):
        return _State(taken=True, added=False, spared=False)
    return _State(taken=False, added=not names, spared=packages.database in (KEEP, PER_PACKAGE))


def _is_of_image(names: frozenset[str], stack: Stack, packages: Packages) -> bool:
    """Whether a database tells of packages of the image alone, and of all those of the base."""
    return bool(names) and names.issubset(packages.names) and package_names(Tree(stack.base)) <= names


def _names(rootfs: Source) -> frozenset[str]:
    try:
        return package_names(rootfs)
    except InputError as error:
        raise InputError(f"IMAGE_ROOTFS: {error.message}", hint=f"make the rootfs anew, {_WAY_OUT}") from error


# ---- packages that are in no layer


def _left_out(found: Tree, stack: Stack, packages: Packages, state: _State) -> set[str]:
    """The paths of the rootfs that are not for the image."""
    ours = _places(found, packages.owned, packages.names)
    others = _places(found, packages.owned, packages.owned.keys() - set(packages.names)) - ours
    managers = filter(is_managers, () if state.taken else found.entries)
    others.update(path for path in managers if not state.added or resolve(stack.tree, path).entry is not None)
    if not others:
        return others
    left = _emptied(found, stack.tree, others)
    links = _leading_to(found, stack.tree, left, ours)
    return _emptied(found, stack.tree, others | links) if links else left


def _places(found: Tree, owned: Mapping[str, Sequence[str]], names: Iterable[str]) -> set[str]:
    """Where the files of packages lie in the rootfs, behind links of which a package need not know."""
    parents: dict[str, str] = {}
    return {place_of(found, path, parents) for name in names for path in owned.get(name, ())}


def _emptied(found: Tree, lower: Tree, others: Collection[str]) -> set[str]:
    """Those of `others` that are there, and the directories that hold nothing else, unless they lie below already.

    Directories with something else in them are not left out, whoever has them.
    """
    left: set[str] = set()
    needed, filled = {""}, set()
    for path in sorted(found.entries, key=order, reverse=True):
        is_other, up = path in others, parent(path)
        if found.entries[path].kind == DIRECTORY and path in needed:
            is_other = False
        elif path in filled and not is_other:
            below = lower.entry(path)
            is_other = below is None or below.kind != DIRECTORY
        filled.add(up)
        if is_other:
            left.add(path)
        else:
            needed.add(up)
    return left


def _leading_to(found: Tree, lower: Tree, left: Collection[str], ours: Collection[str]) -> set[str]:
    """The links of nobody, such as of alternatives, that would lead to nothing as what they lead to is left out."""
    links = (path for path, entry in found.entries.items() if entry.kind == SYMLINK and path not in left)
    nobodys = (path for path in links if path not in ours)
    targets = ((path, resolve(found, path, follow=True).path) for path in nobodys)
    return {path for path, target in targets if target in left and resolve(lower, target).entry is None}


# ---- files of the host, and what was done by hand


def _without_removed(found: Tree, stack: Stack) -> Tree:
    """The rootfs without what was removed by hand and no layer has brought since."""
    parents: dict[str, str] = {}
    gone = {place_of(found, path, parents) for path in stack.edits.removed if stack.tree.entry(path) is None}
    if found.entries.keys().isdisjoint(gone):
        return found
    left = _emptied(found, stack.tree, gone)
    return Tree({path: entry for path, entry in found.entries.items() if path not in left})


def _below_given(stack: Stack, wanted: Mapping[str, Entry]) -> tuple[dict[str, Entry], dict[str, Entry]]:
    """What is wanted, as far as nothing that is given is in its place; and what has something changed by hand there.

    Raises:
        InputError: a directory is given where the rootfs has none, or the other way round.
    """
    given = {path for path in stack.given if stack.is_given(path)}
    folders = {up for path in given for up in ancestors(path)}
    folders.update(path for path in given if stack.given[path].kind == DIRECTORY)
    files, edited = given - folders, stack.edits.changed
    clashing = [path for path, entry in wanted.items() if path in (files if entry.kind == DIRECTORY else folders)]
    for path in clashing:
        if path not in edited:
            raise _clash(stack, path, wanted[path].kind, DIRECTORY if path in folders else stack.given[path].kind)
    stays = {*files, *clashing, *(path for path in edited if _has_own_facts(stack, path))}
    hidden = frozenset(path for path in clashing if wanted[path].kind == DIRECTORY)
    below = {
        path: entry
        for path, entry in wanted.items()
        if path not in stays and not (hidden and any(up in hidden for up in ancestors(path)))
    }
    return below, {path: wanted[path] for path in edited if path in stays and path in wanted}


def _has_own_facts(stack: Stack, path: str) -> bool:
    """Whether a directory was given its facts by hand, and not but made to put something into it."""
    entry = stack.tree.entry(path)
    if entry is None or entry.kind != DIRECTORY or entry is not stack.given[path]:
        return False
    return bool(stack.edits.changed[path]) or not is_same_directory(entry, MADE)


def _clash(stack: Stack, path: str, kind: str, given: str) -> InputError:
    by_hand = any(path in ancestors(edited) for edited in stack.edits.changed)
    layer = "a layer that was changed by hand" if by_hand else "a layer of host files"
    hint = "change the rootfs or the layer" if by_hand else "change the destination in OCI_LAYERS"
    message = f"{shown(path)}: is a {kind} in the rootfs, and {layer} has a {given} there"
    return InputError(message, hint=f"{hint}, {_WAY_OUT}")
