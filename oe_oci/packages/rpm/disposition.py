# SPDX-License-Identifier: MIT
"""What becomes of a file where another one is: rpm's rules for files of two packages, and for configuration files.

A configuration file that somebody changed is never lost: either it stays and the new one is put beside it, or it is
put aside. Must not know where files lie.
"""

from __future__ import annotations

import hashlib
import stat
from typing import TYPE_CHECKING

from ... import tree
from ...content import content_digest, pieces
from ...tree import BLOCK, CHAR, DIRECTORY, FILE, SYMLINK
from ..contents import ALGORITHMS
from ..database import md5_of
from . import tags

if TYPE_CHECKING:
    from ...tree import Entry
    from .files import File

# What is done with a file of a package. Of the last three what was there is put aside, or the new one is beside it.
CREATE, SKIP, SAVE, BACKUP, BESIDE = "create", "skip", ".rpmsave", ".rpmorig", ".rpmnew"
HIDE = "hide"  # another package's file of the preferred colour is there

_COLORS = tags.ELF32 | tags.ELF64 | tags.ELF_N32


def kind_of(file: File) -> str:
    """What a file is, as in a tree; a socket for what no tree has."""
    return tree.kind_of(file.mode) or "socket"


def difference(one: File, other: File) -> str:
    """In what two packages' files of one path differ, so that they can not share it; empty where they can."""
    if one.ghost or other.ghost:
        return ""
    kind = kind_of(one)
    if kind != kind_of(other):
        return f"a {kind} and a {kind_of(other)}"
    if one.mode != other.mode:
        return f"mode {stat.S_IMODE(one.mode):04o} and {stat.S_IMODE(other.mode):04o}"
    if one.user != other.user:
        return f"user '{one.user}' and '{other.user}'"
    if one.group != other.group:
        return f"group '{one.group}' and '{other.group}'"
    if kind == SYMLINK and one.target != other.target:
        return f"link to {one.target!r} and to {other.target!r}"
    if kind == FILE and (one.size, one.digest) != (other.size, other.digest):
        return "other content"
    return "device numbers" if kind in (CHAR, BLOCK) and one.device != other.device else ""


def is_preferred(one: File, other: File, color: int) -> bool | None:
    """Whether of two ELF files of one path, which differ, it is the first that stays; None where no colour tells.

    `color` is the preferred one.
    """
    first, second = one.color & _COLORS, other.color & _COLORS
    if not first or not second or first == second or not (first | second) & color:
        return None
    return bool(first & color)


def keeps(file: File) -> bool:
    """Whether a changed file stays and the new one is put beside it."""
    return bool(file.flags & tags.NOREPLACE)


def is_changed(file: File, there: Entry | None) -> bool:
    """Whether what is at the place of a configuration file is other than the package has it."""
    return file.configuration and there is not None and not _is_as_shipped(file, there)


def on_upgrade(old: File, new: File, there: Entry | None) -> str:
    """What is done with a configuration file that an installed package has too: `old`; `there` is what is there."""
    if there is None:
        return SKIP if new.flags & tags.CONFIG_MISSINGOK else CREATE
    before, after = kind_of(old), kind_of(new)
    if before not in (FILE, SYMLINK) or there.kind == after == DIRECTORY or _is_as_shipped(old, there):
        return CREATE
    if before == after:
        if _is_as_shipped(new, there):
            return CREATE
        if new.configuration and (old.digest, old.target) == (new.digest, new.target):
            return SKIP
    if keeps(new):
        return CREATE if after == DIRECTORY else BESIDE
    return SAVE


def is_stuck(old: File, new: File, there: Entry | None, behind: Entry | None) -> bool:
    """Whether a directory, or a link to one, would have to become something else: rpm refuses that.

    `there` is what is at the place, `behind` what it leads to where it is a link.
    """
    before, after = kind_of(old), kind_of(new)
    if there is None or new.ghost or old.ghost:
        return False
    if before == DIRECTORY != after:
        return there.kind != after
    return before == SYMLINK and after == DIRECTORY and behind is not None and behind.kind == DIRECTORY


def _is_as_shipped(file: File, there: Entry) -> bool:
    """Whether a file or link is as a package has it; facts but the type do not count."""
    if there.kind != kind_of(file):
        return False
    if there.kind == SYMLINK:
        return there.target == file.target
    return there.content is not None and there.size == file.size and _digest(there, file) == file.digest


def _digest(there: Entry, file: File) -> str:
    """The digest of what is there, of the kind that the package has of its file."""
    assert there.content is not None
    name = ALGORITHMS.get(len(file.digest), "md5")
    if name in ("md5", "sha256"):
        return md5_of(there.content) if name == "md5" else content_digest(there.content)
    state = hashlib.new(name, usedforsecurity=False)
    for piece in pieces(there.content):
        state.update(piece)
    return state.hexdigest()
