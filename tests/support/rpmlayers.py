# SPDX-License-Identifier: MIT
"""Layers of rpm packages, planned on top of each other in this process, and the tree that they make."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from oe_oci.config import Accounts, DatabaseLayer, HostLayer, PackagesLayer
from oe_oci.content import Literal, pieces
from oe_oci.delta import apply
from oe_oci.digests import Digests
from oe_oci.packages.contents import Reading
from oe_oci.packages.feed import open_feeds
from oe_oci.packages.payload import Payloads
from oe_oci.packages.rpm import database
from oe_oci.packages.rpm.installer import RpmInstaller
from oe_oci.plan import Inputs, plan_layers
from oe_oci.tree import BLOCK, CHAR, DIRECTORY, FILE, SYMLINK, Entry, Tree, decode, encode

from . import compare
from .configs import PACKAGES, config

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from oe_oci.packages.installation import LayerPackages

    from .rpms import Made

DATABASE = "var/lib/rpm/rpmdb.sqlite"
_KINDS = {SYMLINK: "link", CHAR: "character device", BLOCK: "block device"}


class Layer(NamedTuple):
    """A planned layer: what it adds or changes, what it removes, the packages it brings."""

    entries: dict[str, Entry]
    removed: tuple[str, ...]
    packages: LayerPackages | None
    left_out: str

    @property
    def names(self) -> list[str]:
        assert self.packages is not None
        return [one.name for one in self.packages.new]

    @property
    def own(self) -> set[str]:
        """The paths but for the database's and the root."""
        return {path for path in self.entries if path and not DATABASE.startswith(path)}

    def text(self, path: str) -> str:
        return text(self.entries[path])


class Build:
    """A feed of packages, and images of layers of them."""

    def __init__(self, feed: Path, packages: Iterable[Made]) -> None:
        self.feed = feed
        self.files: dict[tuple[str, str], Path] = {}
        feed.mkdir(exist_ok=True)
        for made in packages:
            self.files[made.name, made.version] = made.write(feed)
        self.tree = Tree()

    def layers(
        self,
        *names: str | HostLayer,
        epoch: int | None = 0,
        accounts: Accounts | None = None,
        base: Tree | None = None,
        **settings: object,
    ) -> list[Layer]:
        """The layers, each of the packages that a text names, separated by spaces."""
        specs = [
            PackagesLayer(f"l{number}", tuple(name.split())) if isinstance(name, str) else name
            for number, name in enumerate(names)
        ]
        if settings.get("database") == "top":
            specs.append(DatabaseLayer())
        chosen = PACKAGES._replace(**{"feeds": (str(self.feed),), "recommends": False, **settings})
        asked = config(layers=tuple(specs), packages=chosen, epoch=epoch, accounts=accounts or Accounts())
        below, found = base or Tree(), []
        feeds = open_feeds(chosen.feeds, kind=None, archs=chosen.archs, native="amd64", remember=None, limit=None)
        self.tree = Tree({"": Entry(DIRECTORY, 0o755), **below.entries})
        with Payloads() as payloads:
            installer = RpmInstaller(asked, feeds, below, Reading(lambda packages: payloads.read(packages, 2)))
            for planned in plan_layers(asked, Inputs(below, None, installer, Digests())):
                entries = {path: kept(entry) for path, entry in planned.delta.entries.items()}
                found.append(Layer(entries, planned.delta.removed, planned.packages, planned.left_out))
                apply(self.tree, planned.delta._replace(entries=entries))
        return found

    @property
    def installed(self) -> dict[str, str]:
        """What the database of the tree has, each package with its version."""
        return {one.name: one.version for one in database.read(self.tree)}

    def listing(self) -> compare.Listing:
        """The tree as `compare` has those on disk."""
        return {encode(path or "."): self._facts(path, entry) for path, entry in self.tree.entries.items()}

    def _facts(self, path: str, entry: Entry) -> compare.Facts:
        linked = entry.inode is not None and entry.kind != DIRECTORY
        names = self.tree.names_of(entry.inode) if linked else [path or "."]
        return compare.Facts(
            kind=_KINDS.get(entry.kind, entry.kind),
            mode=f"{entry.mode:04o}",
            uid=entry.uid,
            gid=entry.gid,
            size=entry.size if entry.kind == FILE else 0,
            digest=hashlib.sha256(_data(entry)).hexdigest() if entry.kind == FILE else "",
            target=encode(entry.target),
            device=entry.device,
            xattrs=dict(entry.xattrs),
            names=frozenset(map(encode, names)),
            mtime=entry.mtime * 10**9,
        )


def text(entry: Entry) -> str:
    """The content of a small file."""
    return decode(_data(entry))


def _data(entry: Entry) -> bytes:
    assert entry.content is not None
    return b"".join(map(bytes, pieces(entry.content)))


def kept(entry: Entry) -> Entry:
    """An entry whose bytes are read while they can be."""
    return entry if entry.content is None else entry._replace(content=Literal(_data(entry)))
