# SPDX-License-Identifier: MIT
"""The last build of an image, whose layers are those of this one where nothing changed that it asked for.

What a build's layers are follows from its configuration, the base image, the program, and what the file systems of the
host answered it; all of that is written down with the layers' keys. Where one of these is not the same, or there is
more that layers are made of, this one is planned as if there had been none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from . import __version__, questions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .config import Config
    from .memory import Memory
    from .oci.spec import Digest
    from .questions import Asked

_PROGRAM = os.path.dirname(__file__)


class EarlierLayer(NamedTuple):
    """A layer that was made: its facts for the report, and its shape and key, which are empty for one left out."""

    name: str
    kind: str
    changed: int
    removed: int
    note: str
    shape: str
    key: str


class Earlier(NamedTuple):
    """What an earlier build asked of the host, and the layers it made."""

    asked: list[Asked]
    layers: list[EarlierLayer]


class Builds:
    """The builds of one image: the last one is known, and this one is left to the next.

    They are of one configuration, with the base image `base`, and layers compressed in the way of the identity
    `compressor`.
    """

    def __init__(self, memory: Memory, config: Config, base: Digest | None, compressor: dict[str, Any]) -> None:
        self._memory = memory
        self._key = _key_of(config, base, compressor) if _is_asked_for(config) else ""

    def last(self) -> Earlier | None:
        """The last one, if it was of the same configuration; None where that is not known."""
        value = self._memory.recall_build() if self._key and self._memory.digests.questions.is_noting else None
        if value is None or value["key"] != self._key:
            return None
        return Earlier(questions.from_json(value["asked"]), [EarlierLayer(*each) for each in value["layers"]])

    def leave(self, layers: Sequence[EarlierLayer]) -> None:
        """Leave this build, which made these layers."""
        asked = self._memory.digests.asked() if self._key else None
        if asked is not None:
            self._memory.keep_build({"key": self._key, "asked": questions.to_json(asked), "layers": layers})


def _is_asked_for(config: Config) -> bool:
    """Whether all that layers are made of is asked of the host's file systems."""
    from_archive = config.rootfs is not None and not os.path.isdir(config.rootfs)
    return not from_archive and all(layer.kind in ("directories", "files", "host", "rootfs") for layer in config.layers)


def _key_of(config: Config, base: Digest | None, compressor: dict[str, Any]) -> str:
    facts = (__version__, _program(), _asker(), config, base, sorted(compressor.items()))
    return hashlib.sha256(ascii(facts).encode()).hexdigest()


def _program() -> list[tuple[str, int, int]]:
    """The files of this program, by which one that was changed is another one."""
    found = []
    for folder, _, names in os.walk(_PROGRAM):
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                facts = os.stat(path)
                found.append((path, facts.st_size, facts.st_mtime_ns))
    return sorted(found)


def _asker() -> list[str]:
    """Who asks: the same inode has other owners and attributes in another user namespace, and for another user."""
    found = [str(os.geteuid())]
    for name in ("uid_map", "gid_map"):
        with contextlib.suppress(OSError), open(f"/proc/self/{name}", encoding="ascii") as file:
            found.append(file.read())
    return found
