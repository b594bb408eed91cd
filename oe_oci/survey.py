# SPDX-License-Identifier: MIT
"""What a cache's folder holds: every file with its kind, and the entries that can be read. Must not change anything."""

from __future__ import annotations

import collections
import contextlib
import os
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

from . import kept
from .errors import InputError
from .store import LATEST, CachedLayer, Store, note_targets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .oci.spec import Descriptor

_HEX = "[0-9a-f]{64}"
# What builds remember beside the layers: files of `kept`, of which any may go at any time.
REMEMBERED = ("indexes", "archives", "digests")
FOLDERS = re.compile(rf"|blobs(/sha256)?|entries(/{_HEX})?|latest(/[^/]+)?|locks|{'|'.join(REMEMBERED)}")
_FILES = {
    "tag": re.compile(r"CACHEDIR\.TAG"),
    "lock": re.compile("lock"),
    "blob": re.compile(f"blobs/sha256/{_HEX}"),
    "entry": re.compile(f"entries/{_HEX}/{_HEX}"),
    "note": re.compile("latest/[^/]+/[^/]+"),
    "making": re.compile(f"locks/{_HEX}"),
    **{kind: re.compile(f"{kind}/[^/]+") for kind in REMEMBERED},
}
# Besides: a file that is being written, what is no file or no folder in the place of one, and what is not ours.
UNFINISHED, MISPLACED, FOREIGN = "unfinished", "misplaced", "foreign"
_SHORTEST = 6  # digits of a key


class File(NamedTuple):
    """A file of the cache: its path in the folder, its kind, its bytes, the second since 1970 it was last used in."""

    where: str
    kind: str
    size: int
    used: float


class Entry(NamedTuple):
    """A layer of the cache, the second since 1970 it was made in, and the file that says so."""

    layer: CachedLayer
    made: int
    file: File

    @property
    def blobs(self) -> tuple[Descriptor, Descriptor]:
        return self.layer.blob, self.layer.listing


class Survey:
    """A cache as it is now. A folder that is missing is an empty one.

    `entries` are those that can be read, the one used last first; `damaged` the others' files, with the reason.

    Raises:
        OSError: a folder can not be read.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.files: dict[str, list[File]] = collections.defaultdict(list)
        for file in _walk(folder, ""):
            self.files[file.kind].append(file)
        self.entries: list[Entry] = []
        self.damaged: dict[File, str] = {}
        store = Store(folder)
        for file in self.files["entry"]:
            _, shape, key = file.where.split("/")
            found = store.look(shape, key)
            if not isinstance(found, str):
                self.entries.append(Entry(found[0], found[1], file))
            elif found:
                self.damaged[file] = found
        self.entries.sort(key=lambda entry: (-entry.file.used, entry.layer.key))
        self.blobs = {file.where.rpartition("/")[2]: file for file in self.files["blob"]}

    def path(self, file: File) -> str:
        return os.path.join(self.folder, file.where)

    @property
    def tagged(self) -> bool:
        """Whether the folder says that it is a cache of ours."""
        return kept.is_tagged(self.folder)

    def referenced(self) -> collections.Counter[str]:
        """The digests of the blobs that the entries name, and how often."""
        return collections.Counter(blob.digest.hex for entry in self.entries for blob in entry.blobs)

    def wrong_size(self, blob: Descriptor) -> str:
        """What is wrong with a blob of an entry without a look into it; empty for nothing."""
        file = self.blobs.get(blob.digest.hex)
        if file is None:
            return "is missing"
        return "" if file.size == blob.size else f"has {file.size} bytes, not {blob.size}"

    def notes(self) -> dict[File, list[tuple[str, str]]]:
        """The notes of what an image's layer was, and the shapes and keys in each; none where it is damaged."""
        return {file: note_targets(kept.recall(self.path(file), LATEST)) for file in self.files["note"]}

    def entry(self, prefix: str) -> Entry:
        """The entry whose key begins with `prefix`.

        Raises:
            InputError: there is none, or more than one.
        """
        if not re.fullmatch(rf"[0-9a-f]{{{_SHORTEST},64}}", prefix):
            raise InputError(f"{prefix!r} is no key", hint=f"give {_SHORTEST} or more digits that 'cache ls' shows")
        found = [entry for entry in self.entries if entry.layer.key.startswith(prefix)]
        if not found:
            raise InputError(f"no entry of the cache has the key {prefix}", hint="'oe-oci cache ls' lists them")
        if len(found) > 1:
            keys = "\n  ".join(sorted(entry.layer.key for entry in found))
            raise InputError(f"more than one key begins with {prefix}", hint=keys)
        return found[0]

    def require_cache(self) -> None:
        """Raises InputError where the folder is something else, from which nothing may be removed."""
        if self.tagged:
            return
        for file in (each for files in self.files.values() for each in files):
            known = file.kind in ("lock", "making", UNFINISHED)
            # Feeds' indexes may be kept in a folder that holds no layer yet.
            known |= file.kind in REMEMBERED and kept.begin(self.path(file), 7) == b"oe-oci "
            if not known:
                raise InputError(
                    f"{self.folder} is no cache of oe-oci: it holds {file.where}, and no CACHEDIR.TAG that says so",
                    hint="give the folder that builds have; if it is that, the next build puts CACHEDIR.TAG back",
                )


def _walk(folder: str, where: str) -> Iterator[File]:
    try:
        with os.scandir(os.path.join(folder, where)) as found:
            names = sorted(entry.name for entry in found)
    except FileNotFoundError:
        return
    for name in names:
        path = f"{where}/{name}" if where else name
        with contextlib.suppress(FileNotFoundError):  # gone since
            facts = os.lstat(os.path.join(folder, path))
            kind = _kind(path, facts.st_mode)
            if not kind:
                yield from _walk(folder, path)
                continue
            size = 0 if stat.S_ISDIR(facts.st_mode) else facts.st_size
            # What is only read has no other sign of its use; many file systems tell it to the day.
            used = max(facts.st_mtime, facts.st_atime) if kind in REMEMBERED else facts.st_mtime
            yield File(path, kind, size, used)


def _kind(path: str, mode: int) -> str:
    """A path's kind; empty for a folder to look into."""
    if FOLDERS.fullmatch(path):
        return "" if stat.S_ISDIR(mode) else MISPLACED
    folder, _, name = path.rpartition("/")
    kind = next((kind for kind, names in _FILES.items() if names.fullmatch(path)), FOREIGN)
    if kept.UNFINISHED_NAME.fullmatch(name) and FOLDERS.fullmatch(folder):
        kind = UNFINISHED
    return kind if kind == FOREIGN or stat.S_ISREG(mode) else MISPLACED
