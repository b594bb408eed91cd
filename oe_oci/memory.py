# SPDX-License-Identifier: MIT
"""What earlier builds found out about inputs, so that this one need not read what did not change.

All of it follows from bytes whose digest is known, or from all that it is kept with, so none of it can be out of date;
any of it may be missing. Must not know layers.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zlib
from typing import TYPE_CHECKING, Any

from . import kept
from .digests import Digests
from .notes import Notes
from .tree import encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .config import Config

_NOTES, _BUILD = "notes 1", "build 1"


class Memory:
    """What is known of files by their digests, in the folder `folder`; with None nothing is, and nothing is kept.

    `digests` are those of files themselves, `notes` what else is known of files inside archives; these are kept
    under `image`, a SHA-256 that stands for the image.
    """

    def __init__(self, folder: str | None = None, digests: Digests | None = None, image: str = "") -> None:
        self.digests = digests or Digests()
        self.indexes = None if folder is None else os.path.join(folder, "indexes")
        self._archives = None if folder is None else os.path.join(folder, "archives")
        self._image = image
        self._build = hashlib.sha256(f"build {image}".encode()).hexdigest()
        self.notes = Notes(self.recall(image, _NOTES)) if self.keeps else None

    @property
    def keeps(self) -> bool:
        """Whether anything is kept for later builds."""
        return self._archives is not None

    def save(self) -> None:
        """Keep what this build knows of files for the next one of the image."""
        self.digests.save()
        notes = None if self.notes is None else self.notes.to_json()
        if notes is not None:
            self.keep(self._image, _NOTES, notes)

    def leave_all(self) -> None:
        """Keep all that earlier builds found out, whether this one asks for it or not."""
        self.digests.leave_all()
        if self.notes is not None:
            self.notes.leave_all()

    def recall_build(self) -> Any | None:
        """The JSON value that the last build of the image left."""
        return self.recall(self._build, _BUILD)

    def keep_build(self, value: Any) -> None:
        """Leave a JSON value to the next build of the image, in place of what the last one left."""
        self.keep(self._build, _BUILD, value)

    def has(self, digest: str) -> bool:
        """Whether anything seems to be kept of an archive with that SHA-256."""
        return self._archives is not None and os.path.exists(os.path.join(self._archives, digest))

    def recall(self, digest: str, kind: str) -> Any | None:
        """The JSON value kept of an archive with that SHA-256; `kind` names what the value is, and its version."""
        if self._archives is None:
            return None
        body = kept.recall(os.path.join(self._archives, digest), _head(digest, kind))
        # The checksum holds, so it is what some version of this program wrote under this head.
        return None if body is None else json.loads(zlib.decompress(body))

    def keep(self, digest: str, kind: str, value: Any) -> None:
        """Keep a JSON value of an archive; a folder that can not be written is no error."""
        if self._archives is not None:
            body = zlib.compress(json.dumps(value, separators=(",", ":")).encode("ascii"), 1)
            kept.keep(os.path.join(self._archives, digest), _head(digest, kind), body)


@contextlib.contextmanager
def open_memory(config: Config, *, paranoid: bool = False) -> Iterator[Memory]:
    """The memory of the builds of one image; a context manager, at whose end it is kept unless there was an error.

    With `paranoid` no digest of an earlier build is taken for true.
    """
    if config.cache_dir is None or not _is_cache(config.cache_dir):
        yield Memory()
        return
    # Of machines that share the folder, each has its own.
    image = hashlib.sha256(encode(f"{_machine()}\0{config.deploy_dir}\0{config.names.base}")).hexdigest()
    digests = Digests(os.path.join(config.cache_dir, "digests", image), paranoid=paranoid)
    memory = Memory(config.cache_dir, digests, image)
    yield memory
    # Not after a failure: what was not looked at until then would be forgotten.
    memory.save()


def _is_cache(folder: str) -> bool:
    try:
        return kept.claim(folder)
    except OSError:
        return True  # it can only be read, or is not there and nothing will be


def _machine() -> str:
    """What tells a machine from others (machine-id(5)), where anything does."""
    with contextlib.suppress(OSError), open("/etc/machine-id", encoding="ascii", errors="replace") as file:
        return file.read().strip()
    return os.uname().nodename


def _head(digest: str, kind: str) -> bytes:
    return f"oe-oci archive {kind} {digest}\n".encode()
