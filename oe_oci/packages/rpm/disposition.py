# SPDX-License-Identifier: MIT
"""What becomes of a file where another one is: rpm's rules for files of two packages, and for configuration files.

A configuration file that somebody changed is never lost: either it stays and the new one is put beside it, or it is
put aside. Must not know where files lie.
"""

from __future__ import annotations

import hashlib
import stat
from typing import TYPE_CHECKING

from ...content import content_digest, pieces
from ...tree import DIRECTORY, FILE, SYMLINK
from ..database import md5_of
from . import tags

if TYPE_CHECKING:
    from ...content import Content
    from ...tree import Entry
    from .listed import FileInfo

# What is done with a file of a package. Of the last three what was there is put aside, or the new one is beside it.
CREATE, SKIP, SAVE, BACKUP, BESIDE = "create", "skip", ".rpmsave", ".rpmorig", ".rpmnew"

_ALGORITHMS = {1: "md5", 2: "sha1", 8: "sha256", 9: "sha384", 10: "sha512", 11: "sha224"}


def difference(one: FileInfo, other: FileInfo) -> str:
    """In what two packages' files of one path differ, so that they can not share it; empty where they can."""
    if one.ghost or other.ghost:
        return ""
    if one.kind != other.kind:
        return f"a {one.kind or 'socket'} and a {other.kind or 'socket'}"
    if one.mode != other.mode:
        return f"mode {stat.S_IMODE(one.mode):04o} and {stat.S_IMODE(other.mode):04o}"
    if one.user != other.user:
        return f"user '{one.user}' and '{other.user}'"
    if one.group != other.group:
        return f"group '{one.group}' and '{other.group}'"
    if one.kind == SYMLINK and one.target != other.target:
        return f"link to {one.target!r} and to {other.target!r}"
    if one.kind == FILE and (one.size, one.algorithm, one.digest) != (other.size, other.algorithm, other.digest):
        return "other content"
    return "device numbers" if one.device != other.device else ""


def is_changed(info: FileInfo, there: Entry | None) -> bool:
    """Whether what is at the place of a configuration file is other than the package has it."""
    if not info.config or there is None:
        return False
    return info.kind not in (FILE, SYMLINK) or not _is_as_shipped(info, there)


def on_upgrade(old: FileInfo, new: FileInfo, there: Entry | None) -> str:
    """What is done with a configuration file that an installed package has too: `old`; `there` is what is there."""
    if there is None:
        return SKIP if new.flags & tags.CONFIG_MISSINGOK else CREATE
    if new.kind == DIRECTORY:
        return CREATE
    save = BESIDE if new.keeps else SAVE
    plain = old.kind in (FILE, SYMLINK)
    if there.kind != new.kind and not plain:
        return save
    if old.kind != new.kind:
        return save if there.kind != old.kind else CREATE
    if not plain or _is_as_shipped(old, there) or _is_as_shipped(new, there):
        return CREATE
    return SKIP if _is_same_text(old, new) else save


def _is_as_shipped(info: FileInfo, there: Entry) -> bool:
    """Whether a file or link is as a package has it; facts but the type do not count."""
    if there.kind != info.kind:
        return False
    if info.kind == SYMLINK:
        return there.target == info.target
    assert there.content is not None
    return bool(info.digest) and there.size == info.size and digest_of(there.content, info.algorithm) == info.digest


def _is_same_text(old: FileInfo, new: FileInfo) -> bool:
    if old.kind == SYMLINK:
        return old.target == new.target
    return bool(old.digest) and (old.algorithm, old.digest) == (new.algorithm, new.digest)


def digest_of(content: Content, algorithm: int) -> str:
    """The digest of the bytes in hexadecimal, by rpm's number of the algorithm; empty where that is not known."""
    name = _ALGORITHMS.get(algorithm, "")
    if name == "md5":
        return md5_of(content)
    if name == "sha256":
        return content_digest(content)
    if not name:
        return ""
    state = hashlib.new(name, usedforsecurity=False)
    for piece in pieces(content):
        state.update(piece)
    return state.hexdigest()
