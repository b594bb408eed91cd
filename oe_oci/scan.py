# SPDX-License-Identifier: MIT
"""A directory on disk as a source of entries, read as it is asked for.

Under fakeroot or pseudo the facts are those they tell, as every call goes through the C library. Must not know
layers or the configuration.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from typing import TYPE_CHECKING, Callable

from .changeset import content_xattrs
from .content import File, unreadable
from .digests import Digests
from .errors import InputError
from .tree import BLOCK, CHAR, DIRECTORY, FILE, SYMLINK, Entry, decode, encode, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .questions import Found

LOG = logging.getLogger("oe_oci")

Time = Callable[[int], int]

_new = tuple.__new__


class Directory:
    """What lies in a directory, or in one file, of the host.

    `time` turns an mtime in seconds into the one to write; `owner` replaces every file's owner. `label` keeps the
    inodes of two sources apart. With `plain_modes` a file is 0755 or 0644, as its owner may execute it or not.
    `digests` knows some files of earlier builds, and asks for all facts.
    """

    def __init__(
        self,
        root: str,
        label: str,
        time: Time,
        owner: tuple[int, int] | None = None,
        *,
        plain_modes: bool = False,
        digests: Digests | None = None,
    ) -> None:
        self._digests = digests or Digests()
        self._questions = self._digests.questions
        self._root = self._questions.real(encode(root)).rstrip(b"/")
        self._label = label
        self._time = time
        self._owner = owner
        self._plain_modes = plain_modes

    def entry(self, path: str) -> Entry | None:
        name = self._name(path)
        try:
            facts = self._questions.facts(name)
        except OSError as error:
            raise unreadable(name, error) from error
        return None if facts is None else self.entry_of(path, name, facts)

    def walk(self, path: str = "") -> Iterator[tuple[str, Entry]]:
        top = self.entry(path)
        if top is None:
            return
        yield path, top
        pending = [path] if top.kind == DIRECTORY else []
        while pending:
            directory = pending.pop()
            place = self._name(directory)
            before, where = f"{directory}/" if directory else "", os.path.join(place, b"")
            for name, facts in self._listed(place):
                inner, place = before + decode(name), where + name
                entry = self.entry_of(inner, place, facts)
                if entry is None:
                    # It means nothing without the process that made it, and no archive can hold one.
                    LOG.warning("%s is a socket; left out", os.fsdecode(place))
                    self._questions.forget()  # so that it is told each time
                    continue
                if entry.kind == DIRECTORY:
                    pending.append(inner)
                yield inner, entry

    def names(self, directory: str) -> list[str]:
        return [decode(name) for name, _ in self._listed(self._name(directory))]

    def _listed(self, directory: bytes) -> Found:
        try:
            return self._questions.listed(directory)
        except OSError as error:
            raise unreadable(directory, error) from error

    def _name(self, path: str) -> bytes:
        return b"%b/%b" % (self._root, encode(path)) if path else self._root or b"/"

    def entry_of(self, path: str, name: bytes, facts: os.stat_result) -> Entry | None:
        """The entry of a path whose place on disk and facts are known; None for a socket."""
        # There are very many: the whole tuple at once, whose times are seconds.
        mode, inode, device, links, uid, gid, size, _, mtime, _ = facts
        kind = kind_of(mode)
        if not kind:
            if not stat.S_ISSOCK(mode):
                # fakeroot 1.31 forgets it where the first that it hears of a file is an extended attribute.
                raise InputError(
                    f"{os.fsdecode(name)}: a file of no known type",
                    hint="under fakeroot, set the file's owner or mode before its extended attributes",
                )
            return None
        if self._owner is not None:
            uid, gid = self._owner
        xattrs = _xattrs(name)
        if self._plain_modes:
            mode = 0o755 if kind == DIRECTORY or mode & stat.S_IXUSR else 0o644
            # An access list or a browser's note on where a file is from belongs to the checkout, as the owner does.
            xattrs = tuple(pair for pair in xattrs if pair[0] == "security.capability")
        # As Entry(…) and File(…) are, in a third of the time.
        content = _new(File, (self._root, path, *self._digests.stamped(name, facts))) if kind == FILE else None
        fields = (
            kind,
            0o777 if kind == SYMLINK else mode & 0o7777,
            uid,
            gid,
            self._time(int(mtime)),
            size if kind == FILE else 0,
            _target(name) if kind == SYMLINK else "",
            (os.major(facts.st_rdev), os.minor(facts.st_rdev)) if kind in (CHAR, BLOCK) else (0, 0),
            xattrs,
            content,
            (self._label, device, inode) if links > 1 and kind != DIRECTORY else None,
        )
        return _new(Entry, fields)


def _target(name: bytes) -> str:
    try:
        return decode(os.readlink(name))
    except OSError as error:
        raise unreadable(name, error) from error


def _xattrs(name: bytes) -> tuple[tuple[str, bytes], ...]:
    try:
        keys = os.listxattr(name, follow_symlinks=False)
        if not keys:
            return ()
        pairs = sorted((decode(os.fsencode(key)), os.getxattr(name, key, follow_symlinks=False)) for key in keys)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENODATA):
            return ()
        raise unreadable(name, error) from error
    for key, _ in pairs:
        if "=" in key:
            raise InputError(f"{os.fsdecode(name)}: the extended attribute {key!r} has a '=' in its name")
    return content_xattrs(tuple(pairs))
