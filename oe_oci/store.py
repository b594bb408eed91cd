# SPDX-License-Identifier: MIT
"""The layer cache on disk: finished layers by the key of what made them, for all builds of all users of a folder.

    CACHEDIR.TAG              says that this is a cache, as backups understand it
    lock                      held shared while something is put in, alone while something is removed
    blobs/sha256/<digest>     the layers' blobs and listings
    entries/<shape>/<key>     a layer each: which blobs it has; its time is that of the layer's last use
    latest/<image>/<layer>    which entries a layer of an image had, the last one first
    locks/<shape>             there while a layer of that shape is made

Whoever can write to the folder can put layers into images. A piece that is missing, damaged or no regular file is a
miss, never an error of the build, and the layer made instead takes its place. Must not know what a key means, nor what
a listing holds.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from . import kept, locking
from .errors import InputError, ToolError
from .oci.spec import Descriptor, Digest, as_object, as_text
from .transfer import BlobError, bring, check

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

LISTING = "application/vnd.oe-oci.listing.v1+json+zlib"
LATEST = b"oe-oci latest 2\n"
_ENTRY = b"oe-oci layer 1\n"  # the number changes with what an entry holds
_LARGEST = 64 << 20  # bytes of an entry
_LARGEST_LISTING = 1 << 30
_LAST = 1 << 36  # a second of the year 4147
_NOTED = 4  # entries of one layer of an image
_NAME = 160  # characters of a file's name that a quoted name may have; the longest names are of 255 bytes

# Seconds that a build waits for another one that makes a layer it needs; then it makes the layer itself.
MAKING_WAIT = 600.0
# Seconds that a put waits for a clean-up to end, and a clean-up for the puts.
TIDYING_WAIT = 60.0


class CachedLayer(NamedTuple):
    """A layer of the cache; `raw_size` is the bytes of its tar.

    `listing` is a blob of the store too. `facts` is JSON that the store hands on; its `image`, `layer` and `kind` are
    texts to show.
    """

    shape: str
    key: str
    blob: Descriptor
    diff_id: Digest
    raw_size: int
    listing: Descriptor
    facts: dict[str, Any]


class Store:
    """The cache in a folder, which is made once something is put into it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def has_shape(self, shape: str) -> bool:
        """Whether there is an entry of that shape, be it damaged."""
        with contextlib.suppress(OSError), os.scandir(self._path("entries", shape, "")) as found:
            return any(re.fullmatch("[0-9a-f]{64}", each.name) for each in found)
        return False

    def find(self, shape: str, key: str) -> CachedLayer | str:
        """The entry of a key; else why there is none: an empty text where there never was one."""
        found = self.look(shape, key)
        return found if isinstance(found, str) else found[0]

    def look(self, shape: str, key: str) -> tuple[CachedLayer, int] | str:
        """As `find`; the entry comes with the second since 1970 it was made in."""
        try:
            with open(kept.opened(self._path("entries", shape, key)), "rb") as file:
                small = os.fstat(file.fileno()).st_size <= _LARGEST
                body = kept.body(file, _ENTRY) if small else None
        except FileNotFoundError:
            return ""
        except OSError as error:
            return f"its entry can not be read: {error.strerror}"
        try:
            found = _parse(body or b"")
        except (InputError, ValueError, RecursionError):
            return "its entry is damaged"
        return found if found[0][:2] == (shape, key) else "its entry is that of another layer"

    def lacks(self, layer: CachedLayer) -> str:
        """Why a layer's blob can not be taken, as far as that shows without reading it; empty for nothing."""
        try:
            descriptor = kept.opened(self._path("blobs", "sha256", layer.blob.digest.hex))
            size = os.fstat(descriptor).st_size
            os.close(descriptor)
        except FileNotFoundError:
            return "its blob is missing"
        except OSError as error:
            return f"its blob can not be read: {error.strerror}"
        return "" if size == layer.blob.size else "its blob is damaged"

    def take(self, layer: CachedLayer, target: str) -> str:
        """Put a layer's blob at the path `target`, every byte checked; why it can not be, empty where it was.

        What is at `target` stays there but where the blob takes its place. A success is the entry's last use.

        Raises:
            ToolError: `target` can not be written.
        """
        try:
            path = self._path("blobs", "sha256", layer.blob.digest.hex)
            source = kept.opened(path)
        except FileNotFoundError:
            return "its blob is missing"
        except OSError as error:
            return f"its blob can not be read: {error.strerror}"
        try:
            bring(source, path, layer.blob, target, trusted=False)
        except BlobError as fault:
            if fault.damaged:
                # A few bytes less to check for the put that follows; it finds out by itself too.
                _remove_if_same(path, source)
            return str(fault)
        except OSError as error:
            raise ToolError(f"cannot write {target}: {error.strerror}") from error
        finally:
            os.close(source)
        with contextlib.suppress(OSError):
            os.utime(self._path("entries", layer.shape, layer.key), follow_symlinks=False)
        return ""

    def put(self, layer: CachedLayer, blob: str, listing: bytes) -> str:
        """Keep a layer whose finished blob is the file `blob`; why it can not be kept, empty where it is.

        What is there of it already, and is sound, stays. The entry comes last.
        """
        try:
            self._prepare()
            with locking.lock(os.path.join(self.folder, "lock"), fcntl.LOCK_SH, TIDYING_WAIT):
                self._put_blob(layer.blob, blob)
                self._put_listing(layer.listing, listing)
                path = self._path("entries", layer.shape, layer.key)
                _make_way(path)
                kept.write(path, _ENTRY, _body(layer, int(time.time())))
        except BlobError as fault:
            return str(fault)
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def listing(self, layer: CachedLayer) -> bytes | None:
        """The bytes of a layer's listing, which are what the entry says they are; None where they are not there."""
        with contextlib.suppress(OSError):
            path = self._path("blobs", "sha256", layer.listing.digest.hex)
            with open(kept.opened(path), "rb") as file:
                data = file.read(layer.listing.size + 1)
            if _is(data, layer.listing):
                return data
        return None

    def latest(self, image: str, layer: str) -> list[CachedLayer]:
        """What a layer of an image was when it was noted, the last one first; else that of the image noted last."""
        own = self._noted(self._note(image, layer))
        return own or next(filter(None, map(self._noted, self._notes(layer))), [])

    def note(self, image: str, layer: str, cached: CachedLayer) -> None:
        """Take note of what a layer of an image is now, where that is possible."""
        with contextlib.suppress(OSError):
            self._prepare()
            path = self._path(*self._note(image, layer))
            before, now = note_targets(kept.recall(path, LATEST)), cached[:2]
            if before[:1] == [now]:
                os.utime(path, follow_symlinks=False)
            else:
                _make_way(path)
                targets = [now, *(target for target in before if target != now)][:_NOTED]
                kept.write(path, LATEST, "".join(f"{shape} {key}\n" for shape, key in targets).encode())

    def making(self, shape: str) -> AbstractContextManager[bool]:
        """Held while a layer of a shape is made; a context manager.

        True where another build held it meanwhile, which may have put the layer wanted. Where it takes too long or
        there can be no lock, the layer is made without.
        """
        try:
            self._prepare()
            path = self._path("locks", shape)
            os.makedirs(os.path.dirname(path), exist_ok=True)
        except OSError:
            return contextlib.nullcontext(False)
        return locking.making(path, MAKING_WAIT)

    def _path(self, *parts: str) -> str:
        """A path in the cache, of which no folder is a link that leads elsewhere.

        Raises:
            OSError: one is.
        """
        path = self.folder
        for part in parts[:-1]:
            path = os.path.join(path, part)
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISDIR(os.lstat(path).st_mode):
                    raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return os.path.join(path, parts[-1])

    def _prepare(self) -> None:
        if not kept.claim(self.folder):
            # From a folder of somebody else's a clean-up would remove what it does not know.
            raise OSError(errno.ENOTEMPTY, "the folder is no cache of oe-oci, and not empty", self.folder)
        _make_way(os.path.join(self.folder, "lock"))

    def _put_blob(self, blob: Descriptor, source: str) -> None:
        path = self._path("blobs", "sha256", blob.digest.hex)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _make_way(path)
        with contextlib.suppress(OSError, BlobError):
            present = kept.opened(path)
            try:
                check(present, blob)
                return
            finally:
                os.close(present)
        descriptor = kept.opened(source)
        try:
            bring(descriptor, source, blob, path, trusted=True)
        finally:
            os.close(descriptor)

    def _put_listing(self, listing: Descriptor, data: bytes) -> None:
        path = self._path("blobs", "sha256", listing.digest.hex)
        if _content(path, listing.size) != data:
            _make_way(path)
            _write(path, data)

    def _note(self, image: str, layer: str) -> tuple[str, str, str]:
        return "latest", quoted(image), quoted(layer)

    def _notes(self, layer: str) -> list[tuple[str, str, str]]:
        """The notes of any image's layer of that name, the one made last first."""
        found = []
        with contextlib.suppress(OSError):
            for image in os.listdir(self._path("latest", "")):
                with contextlib.suppress(OSError):
                    parts = ("latest", image, quoted(layer))
                    found.append((os.lstat(self._path(*parts)).st_mtime, parts))
        return [parts for _, parts in sorted(found, reverse=True)]

    def _noted(self, parts: tuple[str, str, str]) -> list[CachedLayer]:
        with contextlib.suppress(OSError):
            found = [self.find(*target) for target in note_targets(kept.recall(self._path(*parts), LATEST))]
            return [layer for layer in found if not isinstance(layer, str)]
        return []


def note_targets(body: bytes | None) -> list[tuple[str, str]]:
    """The shapes and keys that a note holds."""
    return re.findall("^([0-9a-f]{64}) ([0-9a-f]{64})$", (body or b"").decode("ascii", "replace"), re.MULTILINE)


def quoted(name: str) -> str:
    """A name as that of a file: any text gives one, no two the same."""
    # As urllib.parse.quote has it, which takes longer to import than the store.
    data = name.encode("utf-8", "surrogatepass")
    text = re.sub(rb"[^A-Za-z0-9_.~-]", lambda found: b"%%%02X" % ord(found[0]), data).decode("ascii") or "%"
    text = re.sub(r"^\.", "%2E", text)  # no . or .., and nothing that looks unfinished
    if len(text) <= _NAME:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text[: _NAME - 60]}%{digest}"  # longer than any other


def _body(layer: CachedLayer, made: int) -> bytes:
    value = {
        "shape": layer.shape,
        "key": layer.key,
        "blob": layer.blob.to_json(),
        "diff_id": str(layer.diff_id),
        "raw_size": layer.raw_size,
        "listing": layer.listing.to_json(),
        "facts": layer.facts,
        "made": made,
    }
    # In ASCII: a name among the facts may be no text that UTF-8 knows.
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def _parse(body: bytes) -> tuple[CachedLayer, int]:
    value = as_object(json.loads(body), "entry")
    numbers = [value.get(name) for name in ("raw_size", "made")]
    blob, listing = (Descriptor.from_json(value.get(name), name) for name in ("blob", "listing"))
    raw_size, made = (number if type(number) is int else -1 for number in numbers)
    if (
        raw_size < 0
        or not 0 <= made < _LAST
        or listing.size > _LARGEST_LISTING
        or {blob.digest.algorithm, listing.digest.algorithm} != {"sha256"}
    ):
        raise InputError("entry: not one of this version")
    shape, key, diff_id = (as_text(value, name, "entry") for name in ("shape", "key", "diff_id"))
    facts = as_object(value.get("facts"), "entry.facts")
    return CachedLayer(shape, key, blob, Digest.parse(diff_id), raw_size, listing, facts), made


def _is(data: bytes, blob: Descriptor) -> bool:
    return len(data) == blob.size and hashlib.sha256(data).hexdigest() == blob.digest.hex


def _content(path: str, size: int) -> bytes | None:
    """The first bytes of a regular file, one more than `size` at most; None where there is none."""
    try:
        with open(kept.opened(path), "rb") as file:
            return file.read(size + 1)
    except OSError:
        return None


def _write(path: str, data: bytes) -> None:
    with kept.unfinished(os.path.dirname(path)) as (descriptor, name):
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        os.replace(name, path)


def _make_way(path: str) -> None:
    """Remove what stands in the place of a file and is none."""
    with contextlib.suppress(FileNotFoundError):
        mode = os.lstat(path).st_mode
        if stat.S_ISDIR(mode):
            shutil.rmtree(path)
        elif not stat.S_ISREG(mode):
            os.unlink(path)


def _remove_if_same(path: str, descriptor: int) -> None:
    with contextlib.suppress(OSError):
        if os.path.samestat(os.lstat(path), os.fstat(descriptor)):
            os.unlink(path)
