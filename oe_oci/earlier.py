# SPDX-License-Identifier: MIT
"""The last build of an image, whose layers are those of this one where nothing changed that it asked for.

What a build's layers are follows from its configuration, the base image, the program, and what the file systems of the
host answered it; all of that is written down with the layers' keys. Where one of these is not the same, or there is
more that layers are made of, this one is planned as if there had been none.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from . import __version__, questions
from .config import HostLayer, PathsLayer, RootfsLayer
from .content import stamp_of
from .digests import boot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .config import Config
    from .memory import Memory
    from .oci.spec import Digest
    from .questions import Asked

_PROGRAM = os.path.dirname(__file__)


class EarlierLayer(NamedTuple):
    """A layer: its facts for the report, and its shape and key, which are empty for one that was left out."""

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
        if not _is_asked_for(config):
            memory.digests.questions.forget()
        noting = memory.digests.questions.is_noting
        self._key = _key_of(config, base, compressor) if noting else ""

    def last(self) -> Earlier | None:
        """The last one, if it was of the same configuration; None where that is not known, or not to be trusted."""
        value = self._memory.recall_build() if self._key and self._memory.digests.trusting else None
        if value is None or value["key"] != self._key:
            return None
        return Earlier(questions.from_json(value["asked"]), [EarlierLayer(*each) for each in value["layers"]])

    def leave(self, layers: Sequence[EarlierLayer]) -> None:
        """Leave this build, which made these layers, in place of the last one, whatever that was told."""
        if self._key:
            asked = self._memory.digests.asked()
            value = {"key": self._key, "asked": questions.to_json(asked), "layers": layers} if asked else None
            self._memory.keep_build(value)


def _is_asked_for(config: Config) -> bool:
    """Whether all that layers are made of is asked of the host's file systems."""
    from_archive = config.rootfs is not None and not os.path.isdir(config.rootfs)
    return not from_archive and all(isinstance(layer, (PathsLayer, RootfsLayer, HostLayer)) for layer in config.layers)


def _key_of(config: Config, base: Digest | None, compressor: dict[str, Any]) -> str:
    """What builds of the same layers have in common, if their questions are answered the same; empty for nothing."""
    try:
        known = (boot(), __version__, _program(), _asker())
    except OSError:
        return ""
    facts = (*known, config, base, sorted(compressor.items()))
    return hashlib.sha256(ascii(facts).encode()).hexdigest()


def _program() -> list[tuple[str, bytes]]:
    """The files of this program, by whose stamps one that was changed is another one.

    Raises:
        OSError: they can not be told.
    """
    paths = [
        os.path.join(folder, name) for folder, _, names in os.walk(_PROGRAM) for name in names if name.endswith(".py")
    ]
    if not paths:
        raise FileNotFoundError(_PROGRAM)  # it lies in an archive, or is there in another form
    return [(path, stamp_of(os.lstat(path))) for path in sorted(paths)]


def _asker() -> list[str]:
    """Who asks: to another user, or in another user namespace, the same inode has other owners and attributes.

    Raises:
        OSError: that can not be told.
    """
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        found = [line for line in file if line.startswith(("Uid:", "Gid:", "Groups:", "CapEff:"))]
    return [*found, os.readlink("/proc/self/ns/user")]
