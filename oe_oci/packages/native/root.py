# SPDX-License-Identifier: MIT
"""A directory that holds the image as it stands, for a package manager to install into; and what one did there.

What it holds is written from the tree and read back after each installation, each time only what changed. The contents
of files that a tool made are known by their digests from then on, so that a later installation may change them in
place. Under fakeroot or pseudo all facts are those they tell. Must not know packages.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import struct
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from ...content import Region, changed_at, is_dated, pieces, stamp_of, unreadable
from ...errors import ToolError
from ...inodes import Inodes
from ...removal import mounts, remove_folder
from ...scan import Directory
from ...tree import DIRECTORY, FILE, decode, encode, join, order, parent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ...tree import Entry, Source

BUILTIN = 'set OCI_PACKAGE_MANAGER = "builtin", which needs no rights'
DENIED = f"a user namespace has no devices, and only the owners that are mapped; {BUILTIN}"

_MORE = struct.Struct("<5Q")  # mode, links, owner, group, device


class _Known(NamedTuple):
    """What is at a path: the entry it was made of or read as, and the facts on disk.

    These are its stamp and more: what no clock and no owner under fakeroot leave as they were when a file changes.
    """

    entry: Entry
    facts: bytes

    @property
    def is_dated(self) -> bool:
        """Whether it has the entry's time on disk too."""
        return is_dated(self.facts, self.entry.mtime)


class WorkRoot:
    """The directory `root` in the folder `folder`; a context manager that removes both at its end.

    `epoch` is the time of what a tool makes and the latest one of what it installs; None for the files' own. `jobs` are
    threads that hash. Errors tell that something was to be made `purpose`, and give `hint` where the caller has not the
    right to. With `copies` the contents of what a tool made are read from copies that are whole until the end, for who
    may not read the directory, or reads later.
    """

    def __init__(
        self,
        folder: str,
        epoch: int | None,
        jobs: int = 1,
        *,
        purpose: str = "for a package manager",
        hint: str = DENIED,
        copies: bool = False,
    ) -> None:
        self.path = os.path.join(folder, "root")
        self.scratch = os.path.join(folder, "scratch")
        self._folder = folder
        self._kept = encode(os.path.join(folder, "kept"))
        self._copies = encode(copies_in(folder)) if copies else None
        self._root = encode(self.path)
        self._disk = Inodes(self.path, purpose, hint)
        self._epoch = epoch
        self._jobs = jobs
        self._known: dict[str, _Known] = {}
        self._scans = 0
        self._began = 0
        self._ended = -1
        # A file's extended attributes are another program's, who changes no time of the file for them.
        self._faked = "LD_PRELOAD" in os.environ

    def __enter__(self) -> WorkRoot:
        try:
            for path in (self._folder, self.path, self.scratch, decode(self._kept)):
                os.makedirs(path, mode=0o700, exist_ok=True)
            if self._copies is not None:
                os.makedirs(self._copies, mode=0o700, exist_ok=True)
        except OSError as error:
            raise ToolError(f"cannot make the folder {self._folder}: {error.strerror}") from error
        self._disk.begin()
        return self

    def __exit__(self, *_: object) -> None:
        remove_folder(self._folder)

    @property
    def mounted(self) -> list[str]:
        """The places in the directory and beside it where something is mounted, which nothing here enters then."""
        return mounts(self._folder)

    @property
    def source(self) -> Source:
        """What the directory holds at present."""
        return Directory(self.path, "work", lambda mtime: mtime)

    # ---- from the tree to the disk

    def sync(self, entries: Mapping[str, Entry]) -> None:
        """Make the directory hold these entries and nothing else; only what differs from what is there is written.

        Raises:
            InputError, ToolError: a content can not be read, or something not be made.
        """
        gone = {path for path in self._known if path not in entries}
        stale = {path for path, entry in entries.items() if path not in self._known or self._known[path].entry != entry}
        # A tool's own time is no part of the image, and whoever looks at it later would make something else of it.
        stale |= {path for path, known in self._known.items() if path in entries and not known.is_dated}
        stale |= self._other_names(entries, stale)
        rebuilt = {path for path in stale if not self._keeps_content(path, entries[path])}
        saved = self._save(entries, rebuilt)
        touched = {parent(path) for path in (*gone, *rebuilt) if path}
        for path in sorted(gone | (rebuilt & self._known.keys()), key=order, reverse=True):
            self._remove(path)
        self._disk.make(entries, rebuilt, lambda entry: _read_from(entry, saved))
        changed = [path for path in stale | touched if path in entries]
        self._disk.dress(entries, changed)
        for path in changed:
            self._known[path] = _Known(entries[path], self._facts(path))
        for path, known in self._known.items():
            if known.entry is not entries[path]:  # but equal: what does not change is to be the caller's own
                self._known[path] = known._replace(entry=entries[path])
        for place in saved.values():
            os.unlink(place)

    def _other_names(self, entries: Mapping[str, Entry], stale: set[str]) -> set[str]:
        """The other names of the inodes that must be made anew."""
        inodes = {entries[path].inode for path in stale} - {None}
        return {path for path, entry in entries.items() if entry.inode in inodes} if inodes else set()

    def _keeps_content(self, path: str, entry: Entry) -> bool:
        """Whether what is at a path needs but other facts."""
        known = self._known.get(path)
        if known is None:
            return False
        if entry.kind == DIRECTORY:
            return known.entry.kind == DIRECTORY
        same = known.entry._replace(mode=entry.mode, uid=entry.uid, gid=entry.gid, mtime=entry.mtime)
        return same == entry and entry.kind == FILE and entry.inode is None

    def _save(self, entries: Mapping[str, Entry], rebuilt: Iterable[str]) -> dict[bytes, bytes]:
        """Files of the directory whose bytes are needed for what is made of them anew, linked where they are safe."""
        saved: dict[bytes, bytes] = {}
        for path in rebuilt:
            content = entries[path].content
            if isinstance(content, Region) and content.path not in saved and self._is_own(content.path):
                place = os.path.join(self._kept, b"%d" % len(saved))
                with self._disk.placing(path):
                    os.link(content.path, place)
                saved[content.path] = place
        return saved

    def _is_own(self, path: bytes) -> bool:
        return path.startswith(self._root + b"/")

    def _remove(self, path: str) -> None:
        known = self._known.pop(path)
        with self._disk.placing(path):
            if known.entry.kind == DIRECTORY:
                if path:
                    os.rmdir(self._disk.name(path))
            else:
                os.unlink(self._disk.name(path))

    # ---- from the disk to entries

    def begin(self) -> None:
        """To be called before a tool is run: what is changed from now on was changed by it."""
        latest = max((changed_at(known.facts) for known in self._known.values()), default=0)
        self._began = self._clock()
        # Two changes within a tick of the clock could leave the same times.
        while self._began <= latest:
            self._began = self._clock()
        self._ended = -1

    def scan(self, dated: Callable[[str], bool] = lambda _path: False) -> dict[str, Entry]:
        """What the directory holds, by path; what did not change has the entry it had.

        The paths that are to be `dated` have the time of what a tool makes, whatever theirs is.

        Raises:
            InputError, ToolError: something can not be read, or can not be in an image.
        """
        self._ended = self._clock()
        self._scans += 1
        directory = Directory(self.path, f"work {self._scans}", lambda mtime: mtime)
        found: dict[str, _Known] = {}
        for path, facts in self._walk():
            known = self._known.get(path)
            key = self._key(path, facts)
            if known is not None and known.facts == key:
                found[path] = known
                continue
            entry = directory.entry_of(path, self._disk.name(path), facts)
            if entry is None:
                self.forget(path)  # a socket means nothing without the process that made it
            else:
                mtime = self._epoch or 0 if dated(path) else self._dated(facts.st_mtime_ns)
                found[path] = _Known(entry._replace(mtime=mtime), key)
        self._hash(found)
        for path, after in found.items():
            before = self._known.get(path)
            if before is not None and before is not after and _is_same(before.entry, after.entry):
                found[path] = _Known(before.entry, after.facts)
        self._known = found
        return {path: known.entry for path, known in found.items()}

    def forget(self, path: str) -> list[str]:
        """Remove a path, and all below it; what was removed of what is known."""
        lost = [name for name in self._known if name == path or name.startswith(f"{path}/")]
        for inner in lost:
            del self._known[inner]
        name = self._disk.name(path)
        with self._disk.placing(path):
            if os.path.isdir(name) and not os.path.islink(name):
                shutil.rmtree(name)
            else:
                os.unlink(name)
        return lost

    def _walk(self) -> Iterator[tuple[str, os.stat_result]]:
        yield "", os.lstat(self._root)
        pending = [""]
        while pending:
            directory = pending.pop()
            name = self._disk.name(directory)
            try:
                with os.scandir(name) as listed:
                    inner = [(decode(one.name), one.stat(follow_symlinks=False)) for one in listed]
            except OSError as error:
                raise unreadable(name, error) from error
            for base, facts in inner:
                path = join(directory, base)
                if stat.S_ISDIR(facts.st_mode):
                    pending.append(path)
                yield path, facts

    def _hash(self, found: dict[str, _Known]) -> None:
        """Give files that are new their digests."""
        new = [path for path, one in found.items() if one.entry.kind == FILE and one is not self._known.get(path)]
        with ThreadPoolExecutor(max(1, self._jobs)) as pool:
            contents = list(pool.map(self._content, new, (found[path].entry.size for path in new)))
        for path, content in zip(new, contents):
            one = found[path]
            found[path] = one._replace(entry=one.entry._replace(content=content))

    def _content(self, path: str, size: int) -> Region:
        name = self._disk.name(path)
        return _hashed(name, size) if self._copies is None else _copied(name, size, self._copies)

    def _dated(self, mtime: int) -> int:
        """The time to write for one on disk, which is in nanoseconds."""
        seconds = mtime // 10**9
        # Many programs copy a time without its fraction.
        if self._began // 10**9 <= seconds and mtime <= self._ended:
            return self._epoch or 0
        return max(0, seconds if self._epoch is None else min(seconds, self._epoch))

    def _facts(self, path: str) -> bytes:
        return self._key(path, os.lstat(self._disk.name(path)))

    def _key(self, path: str, facts: os.stat_result) -> bytes:
        more = _MORE.pack(facts.st_mode, facts.st_nlink, facts.st_uid, facts.st_gid, facts.st_rdev)
        if self._faked:
            name = self._disk.name(path)
            with contextlib.suppress(OSError):
                for key in sorted(os.listxattr(name, follow_symlinks=False)):
                    data = os.getxattr(name, key, follow_symlinks=False)
                    more += b"%b\0%d\0%b" % (os.fsencode(key), len(data), data)
        return stamp_of(facts) + more

    def _clock(self) -> int:
        """The present time of the file system, in nanoseconds."""
        path = os.path.join(self.scratch, ".clock")
        with self._disk.placing(""), open(path, "wb"):
            return os.stat(path).st_ctime_ns


def check_rights(tool: str, way: str) -> None:
    """See that the caller may give files their owners, in truth or as fakeroot or pseudo tell it.

    `way` is a command before this one that gives the right.

    Raises:
        ToolError: the caller may not.
    """
    if os.geteuid() != 0:
        raise ToolError(f"{tool} installs as root alone", hint=f"run {way} oe-oci …, or {BUILTIN}")


def _read_from(entry: Entry, saved: Mapping[bytes, bytes]) -> Iterator[memoryview]:
    content = entry.content
    assert content is not None
    if isinstance(content, Region) and content.path in saved:
        content = content._replace(path=saved[content.path])
    return pieces(content)


def _hashed(name: bytes, size: int) -> Region:
    content = Region(name, 0, size)
    state = hashlib.sha256()
    for piece in pieces(content):
        state.update(piece)
    # Without a stamp: a tool may write the same bytes to it again.
    return content._replace(digest=state.digest())


def _copied(name: bytes, size: int, folder: bytes) -> Region:
    """A copy of a file that is named by its digest, so that equal contents are one."""
    state = hashlib.sha256()
    try:
        descriptor, place = tempfile.mkstemp(dir=folder)
        with open(descriptor, "wb") as copy:
            for piece in pieces(Region(name, 0, size)):
                state.update(piece)
                copy.write(piece)
        kept = copy_in(folder, state.hexdigest())
        os.replace(place, kept)
    except OSError as error:
        raise ToolError(f"cannot copy {os.fsdecode(name)} to {os.fsdecode(folder)}: {error.strerror}") from error
    return Region(kept, 0, size, digest=state.digest())


def copies_in(folder: str) -> str:
    """Where the folder of a `WorkRoot` has its copies."""
    return os.path.join(folder, "copies")


def copy_in(copies: bytes, digest: str) -> bytes:
    """Where one of them lies, by its SHA-256 in hexadecimal."""
    return os.path.join(copies, digest.encode())


def _is_same(before: Entry, after: Entry) -> bool:
    """Whether nothing changed but the time, as it does of a directory when something in it does."""
    return before._replace(mtime=0, inode=None) == after._replace(mtime=0, inode=None) and (
        before.kind == DIRECTORY or before.inode is None is after.inode
    )
