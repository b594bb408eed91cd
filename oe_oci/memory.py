# SPDX-License-Identifier: MIT
"""What earlier builds found out about inputs, so that this one need not read what did not change.

All of it follows from bytes whose digest is known, so none of it can be out of date; any of it may be missing. Must not
know layers.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from typing import TYPE_CHECKING, Any

from . import kept
from .digests import Digests
from .tree import encode

if TYPE_CHECKING:
    from .config import Config


class Memory:
    """What is known of files by their digests, in the folder `folder`; with None nothing is, and nothing is kept.

    `digests` are those of files themselves.
    """

    def __init__(self, folder: str | None = None, digests: Digests | None = None) -> None:
        self.digests = digests or Digests()
        self.indexes = None if folder is None else os.path.join(folder, "indexes")
        self._archives = None if folder is None else os.path.join(folder, "archives")

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


def open_memory(config: Config, *, paranoid: bool = False) -> Memory:
    """The memory of the builds of one image; with `paranoid` no digest of an earlier one is taken for true."""
    if config.cache_dir is None:
        return Memory()
    image = hashlib.sha256(encode(f"{config.deploy_dir}\0{config.names.base}")).hexdigest()
    return Memory(config.cache_dir, Digests(os.path.join(config.cache_dir, "digests", image), paranoid=paranoid))


def _head(digest: str, kind: str) -> bytes:
    return f"oe-oci archive {kind} {digest}\n".encode()
