# SPDX-License-Identifier: MIT
"""The layer cache kept small: what takes its room, and what may go.

Runs beside builds: what they want and what has gone is a miss. Must not know what layers hold.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import os
import shutil
import stat
import time
from typing import TYPE_CHECKING, NamedTuple

from . import kept, locking, store
from .survey import FOLDERS, FOREIGN, MISPLACED, REMEMBERED, UNFINISHED, Entry, File, Survey

if TYPE_CHECKING:
    from collections.abc import Iterator

_DAY = 24 * 3600.0
_SKEW = 3600.0  # seconds that the clocks of machines which share a folder may differ by


class Limits(NamedTuple):
    """What may stay: bytes in all, seconds since an entry was made, seconds since it was used; None for any."""

    max_size: int | None = None
    max_age: float | None = None
    unused: float | None = None


class Removal(NamedTuple):
    """A file that goes: its path in the folder, its bytes, and why: `garbage`, `old`, `unused` or `size`."""

    where: str
    size: int
    reason: str


class Cleaned(NamedTuple):
    """What a clean-up removed, the bytes of what is left, and what could not be removed, with the reason."""

    removed: tuple[Removal, ...]
    left: int
    failed: tuple[tuple[str, str], ...] = ()


def gc(folder: str, limits: Limits, *, dry_run: bool = False) -> Cleaned:
    """Remove garbage; then entries made too long ago, those not used for long, and the rest until the size is right.

    The ones used least recently go first. No blob is read. With `dry_run` nothing is removed.

    Raises:
        InputError: the folder is no cache.
        OSError: it can not be read.
    """
    before = Survey(folder)
    before.require_cache()
    if dry_run or not any(before.files.values()):
        return _plan(before, limits, alone=True)
    with locking.lock(os.path.join(folder, "lock"), fcntl.LOCK_EX, store.TIDYING_WAIT) as alone:
        plan = _plan(Survey(folder), limits, alone=alone)
        return _remove(folder, plan)


def _plan(survey: Survey, limits: Limits, *, alone: bool) -> Cleaned:
    now = time.time()
    sweep = _Sweep(survey)
    sweep.garbage(now, alone=alone)
    for entry in list(sweep.entries.values()):
        if limits.max_age is not None and now - entry.made > limits.max_age:
            sweep.drop(entry, "old")
        elif limits.unused is not None and now - entry.file.used > limits.unused:
            sweep.drop(entry, "unused")
    for file in sweep.remembered():
        if limits.unused is not None and now - file.used > limits.unused:
            sweep.remove(file, "unused")
    if limits.max_size is not None:
        sweep.shrink(limits.max_size, now)
    # An entry before its blobs: killed in between, what is left is garbage, which the next clean-up knows.
    removals = sorted(sweep.removals.values(), key=lambda removal: not removal.where.startswith("entries/"))
    return Cleaned(tuple(removals), sweep.size)


class _Sweep:
    """What is to be removed so far; `size` is the bytes of what stays."""

    def __init__(self, survey: Survey) -> None:
        self.entries = {entry.layer[:2]: entry for entry in survey.entries}
        self.removals: dict[str, Removal] = {}
        self._survey = survey
        self._notes = {file: set(targets) & self.entries.keys() for file, targets in survey.notes().items()}
        self._noted: dict[tuple[str, str], list[File]] = collections.defaultdict(list)
        for file, targets in self._notes.items():
            for target in targets:
                self._noted[target].append(file)
        self._uses = survey.referenced()
        self.size = sum(file.size for kind, files in survey.files.items() for file in files if kind != FOREIGN)

    def remove(self, file: File, reason: str) -> None:
        if file.where not in self.removals:
            self.removals[file.where] = Removal(file.where, file.size, reason)
            self.size -= file.size

    def drop(self, entry: Entry, reason: str) -> None:
        """Remove an entry, first of all, and what nothing leads to without it."""
        del self.entries[entry.layer[:2]]
        self.remove(entry.file, reason)
        for file in self._noted[entry.layer[:2]]:
            self._notes[file].discard(entry.layer[:2])
            if not self._notes[file]:
                self.remove(file, reason)
        for blob in entry.blobs:
            self._uses[blob.digest.hex] -= 1
            if not self._uses[blob.digest.hex] and blob.digest.hex in self._survey.blobs:
                self.remove(self._survey.blobs[blob.digest.hex], reason)

    def garbage(self, now: float, *, alone: bool) -> None:
        survey = self._survey
        for file in [*survey.damaged, *survey.files[MISPLACED], *abandoned(survey, now)]:
            self.remove(file, "garbage")
        for entry in survey.entries:
            if any(survey.wrong_size(blob) for blob in entry.blobs):
                self.drop(entry, "garbage")
        for file, targets in self._notes.items():
            if not targets:
                self.remove(file, "garbage")
        for digest, file in survey.blobs.items():
            # Without the lock it may be one whose entry is yet to come.
            if not self._uses[digest] and (alone or now - file.used > _DAY):
                self.remove(file, "garbage")

    def remembered(self) -> list[File]:
        return [file for kind in REMEMBERED for file in self._survey.files[kind]]

    def shrink(self, most: int, now: float) -> None:
        def use(each: Entry | File) -> tuple[float, float]:
            then = each.file.used if isinstance(each, Entry) else each.used
            # In the future once the clock was set back: then it tells little, and less than a use of today.
            return (then if then <= now + _SKEW else now - _DAY, then)

        left: list[Entry | File] = [*self.entries.values(), *self.remembered()]
        for each in sorted(left, key=use):
            if self.size <= most:
                return
            if isinstance(each, Entry):
                self.drop(each, "size")
            else:
                self.remove(each, "size")


def abandoned(survey: Survey, now: float) -> Iterator[File]:
    """What killed builds left: unfinished files and locks that nobody holds."""
    for file in [*survey.files[UNFINISHED], *survey.files["making"]]:
        free = locking.free(survey.path(file))
        if free or (free is None and now - file.used > _DAY):
            yield file


def _remove(folder: str, plan: Cleaned) -> Cleaned:
    removed, failed = [], []
    for removal in plan.removed:
        try:
            if _unlink(folder, removal.where):
                removed.append(removal)
        except FileNotFoundError:
            pass
        except OSError as error:
            failed.append((removal.where, error.strerror or str(error)))
    for parent in ("entries", "latest"):
        path = os.path.join(folder, parent)
        if not os.path.islink(path) and os.path.isdir(path):
            for name in os.listdir(path):
                if FOLDERS.fullmatch(f"{parent}/{name}"):
                    with contextlib.suppress(OSError):
                        os.rmdir(os.path.join(path, name))  # where it is empty
    more = sum(removal.size for removal in plan.removed if removal.where in dict(failed))
    return Cleaned(tuple(removed), plan.left + more, tuple(failed))


def _unlink(folder: str, where: str) -> bool:
    """Remove a file, but none that somebody has locked since; whether that was done.

    No link is followed, even where one took a folder's place meanwhile.
    """
    *parents, name = where.split("/")
    with contextlib.ExitStack() as stack:
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, place)
        for each in parents:
            place = os.open(each, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
            stack.callback(os.close, place)
        if stat.S_ISDIR(os.lstat(name, dir_fd=place).st_mode):
            shutil.rmtree(name, dir_fd=place)
        elif kept.UNFINISHED_NAME.fullmatch(name) or parents == ["locks"]:
            free = locking.free(f"/proc/self/fd/{place}/{name}", remove=True)
            if free is None:
                os.unlink(name, dir_fd=place)
            return free is not False
        else:
            os.unlink(name, dir_fd=place)
    return True


def du(folder: str) -> dict[str, tuple[int, int]]:
    """The number and the bytes (of the files, not of the disk's blocks) of what a cache holds, by what it is."""
    survey = Survey(folder)
    sweep = _Sweep(survey)
    sweep.garbage(time.time(), alone=True)
    good = [file for files in survey.files.values() for file in files if file.where not in sweep.removals]
    layers = {entry.layer.blob.digest.hex for entry in sweep.entries.values()}
    rows: dict[str, list[int]] = {name: [] for name in ("layers", "listings", "records", *REMEMBERED)}
    for file in good:
        if file.kind == "blob":
            rows["layers" if file.where.rpartition("/")[2] in layers else "listings"].append(file.size)
        elif file.kind in REMEMBERED:
            rows[file.kind].append(file.size)
        elif file.kind != FOREIGN:
            rows["records"].append(file.size)
    rows["garbage"] = [removal.size for removal in sweep.removals.values()]
    rows["total"] = [size for sizes in rows.values() for size in sizes]
    return {name: (len(sizes), sum(sizes)) for name, sizes in rows.items()}
