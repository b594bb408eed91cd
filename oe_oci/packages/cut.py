# SPDX-License-Identifier: MIT
"""Layers of packages cut from a rootfs, in which somebody has installed them: each holds what its packages have there.

What they need comes with them, as far as it is in the rootfs. What no package has is not taken: that is for the layer
of the rest. To the plan this is an installer that installs nothing. Must not know formats of packages, nor feeds.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ..accounts import Owners
from ..config import CUT
from ..errors import ConfigError, Fault, nearest
from ..populate import Wanted, at_real_places
from ..tree import ancestors, place_of
from .database import KEEP
from .installation import TOP, Installation, InstalledPackage, LayerPackages
from .known import package_names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ..config import Config, PackagesLayer
    from ..delta import Delta
    from ..owned import Owned
    from ..tree import Tree

_SHOWN = 8  # names in a message


class CutInstaller:
    """Has each layer of packages hold what its packages have in `rootfs`, as `owned` tells.

    Raises:
        ConfigError: the database that the image is to have tells of packages that no layer has.
        InputError: a database is damaged.
    """

    def __init__(self, config: Config, rootfs: Tree, owned: Owned, base: Tree) -> None:
        self._rootfs = rootfs
        self._paths, self._needs, self._versions = owned.paths, owned.needs, owned.versions
        self._base = package_names(base)
        self._there = self._base
        self._parents: dict[str, str] = {}
        if config.packages.database in (KEEP, TOP):
            self._check_database(config.packages.database, config.package_layers)

    def _check_database(self, database: str, layers: Iterable[PackagesLayer]) -> None:
        """See that the rootfs's database can be the image's."""
        told = package_names(self._rootfs)
        ours = set(self._base)
        for layer in layers:
            ours.update(self._closure(layer, ours))
        if told and not ours.issuperset(told):
            raise _unfit(database, "tells of packages that are in no layer", told - ours, "put them into a layer")
        if told and not told.issuperset(self._base):
            what, way = "does not tell of packages that the base image has", "install them into the rootfs too"
            raise _unfit(database, what, self._base - told, way)

    def missing(self, layer: PackagesLayer) -> list[Fault]:
        """What of a layer's names no package of the rootfs, or of the base image, has."""
        known = {*self._paths, *self._base}
        return [
            Fault(
                "OCI_LAYERS",
                f"layer '{layer.name}': '{asked}' is no package of the rootfs",
                nearest(_name(asked), known) or "install it there, in a recipe by IMAGE_INSTALL",
            )
            for asked in layer.packages
            if _name(asked) not in known
        ]

    def notice(self, tree: Tree, changed: Iterable[str]) -> None:
        """Other layers bring no packages of the rootfs."""

    def install(self, layer: PackagesLayer, tree: Tree) -> Installation:
        """What a layer's packages, and all that they need, have in the rootfs.

        Raises:
            InputError: it does not go together with what lies below.
        """
        below = tuple(asked for asked in layer.packages if _name(asked) in self._there)
        closure = self._closure(layer, self._there)
        self._there = self._there.union(closure)
        places = {name: self._places(name) for name in closure}
        entries = {place: self._rootfs.entries[place] for found in places.values() for place in found}
        folders = {up for place in entries for up in ancestors(place)}
        entries.update((up, self._rootfs.entries[up]) for up in folders)
        new = tuple(self._told(name, asked_by, places[name]) for name, asked_by in closure.items())
        wanted = Wanted(at_real_places(tree, entries))
        return Installation(wanted, Owners(), LayerPackages(new, below, {"name": CUT}))

    def names(self) -> frozenset[str]:
        """The names of all packages that are in the image so far, in the base image too."""
        return self._there

    def hold(self) -> None:
        """All files are at hand."""

    def keep(self, delta: Delta, shape: str, key: str) -> None:
        """The rootfs is read again by each build."""

    def database(self, tree: Tree) -> Wanted:  # noqa: ARG002 - of the protocol
        """Nothing: where the rootfs has a database, that is taken."""
        return Wanted({})

    def _closure(self, layer: PackagesLayer, there: Collection[str]) -> dict[str, str]:
        """The packages that a layer brings, in the order in which they are found, each with the one that needs it."""
        found: dict[str, str] = {}
        pending = deque((_name(asked), "") for asked in layer.packages)
        while pending:
            name, asked_by = pending.popleft()
            if name in self._paths and name not in there and name not in found:
                found[name] = asked_by
                pending.extend((needed, name) for needed in self._needs.get(name, ()))
        return found

    def _places(self, name: str) -> list[str]:
        """Where a package's files lie, without those that the rootfs lost since."""
        places = (place_of(self._rootfs, path, self._parents) for path in self._paths[name])
        return [place for place in places if place in self._rootfs]

    def _told(self, name: str, asked_by: str, places: Iterable[str]) -> InstalledPackage:
        version, arch, *_ = (*self._versions.get(name, ()), "", "")
        unpacked = sum(self._rootfs.entries[place].size for place in places)
        return InstalledPackage(name, version, arch, "", 0, unpacked, asked_by, "", ())


def _name(asked: str) -> str:
    """A package's name, without the architecture that may be asked for: a rootfs has one of each name."""
    return asked.partition(":")[0]


def _unfit(database: str, what: str, names: Collection[str], way: str) -> ConfigError:
    most = ", ".join(sorted(names)[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    message = f"is '{database}', and the database of the rootfs {what}: {most}{more}"
    return ConfigError([Fault("OCI_PACKAGE_DATABASE", message, f'{way}, or write "remove"')])
