# SPDX-License-Identifier: MIT
"""What feeds offer to a real package manager, as the built-in installer reads them: names, reasons, files of packages.

So a layer means the same packages by its names, and has the same errors, whichever installs it. Must not know how a
tool is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from ...errors import ConfigError
from .. import libsolv
from ..resolve import asked_for, askers, missing_names, resolve, universe
from ..world import World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...config import PackagesLayer
    from ...errors import Fault
    from ..feed import Feeds
    from ..package import Installed, Package
    from ..world import Policy
    from .manager import Planned


class Asked(NamedTuple):
    """What a layer asks for: names of packages that are to come, and what of it lies below, as it is shown."""

    names: tuple[str, ...]
    below: tuple[str, ...]


class Catalog(Protocol):
    """The packages of feeds, on top of those installed, which each method is told."""

    def missing(self, layer: PackagesLayer, installed: Sequence[Installed]) -> list[Fault]:
        """What of a layer's names no package has, with the nearest one that is."""

    def ask(self, layer: PackagesLayer, installed: Sequence[Installed]) -> Asked:
        """What a layer asks for.

        Raises:
            ConfigError: no package has a name.
        """

    def explain(self, layer: PackagesLayer, installed: Sequence[Installed]) -> Fault | None:
        """Why what a layer asks for can not be had; None where it seems that it can, or where nothing here can tell."""

    def package(self, planned: Planned) -> Package | None:
        """The package of a feed that a tool means."""

    def digest(self, package: Package) -> str:
        """The SHA-256 of a package's file, in hexadecimal."""

    @property
    def metadata(self) -> Sequence[Sequence[str]]:
        """What is known of the feeds' own indexes, where a tool reads those."""

    def offered(self, names: Sequence[str], installed: Sequence[Installed], /) -> Sequence[Package]:
        """What may have a part in installing some packages; more may be told, and nothing else is offered to a tool."""

    def askers(
        self, layer: PackagesLayer, installed: Sequence[Installed], packages: Sequence[Package]
    ) -> Sequence[str]:
        """For each of some packages the name of the one that needs it, empty where the layer names it."""


class DebianCatalog:
    """Feeds of deb or ipk packages."""

    metadata = ()

    def __init__(self, feeds: Feeds, policy: Policy) -> None:
        self.feeds = feeds
        self.policy = policy

    def digest(self, package: Package) -> str:
        return self.feeds.digest(package)

    def world(self, installed: Sequence[Installed]) -> World:
        return World(self.feeds, installed, self.policy)

    def missing(self, layer: PackagesLayer, installed: Sequence[Installed]) -> list[Fault]:
        return missing_names(self.world(installed), layer.name, layer.packages)

    def ask(self, layer: PackagesLayer, installed: Sequence[Installed]) -> Asked:
        world = self.world(installed)
        wanted, below = asked_for(world, layer.name, layer.packages)
        return Asked(tuple(world.identity(versions[0]) for versions in wanted), tuple(one.shown for one in below))

    def explain(self, layer: PackagesLayer, installed: Sequence[Installed]) -> Fault | None:
        if not libsolv.is_there():
            return None
        try:
            resolve(self.world(installed), layer.name, layer.packages)
        except ConfigError as error:
            return error.faults[0]
        return None

    def package(self, planned: Planned) -> Package | None:
        found = (one for one in self.feeds.named(planned.name) if (one.version, one.arch) == planned[1:3])
        return next(found, None)

    def askers(
        self, layer: PackagesLayer, installed: Sequence[Installed], packages: Sequence[Package]
    ) -> Sequence[str]:
        world = self.world(installed)
        wanted, _ = asked_for(world, layer.name, layer.packages)
        named = {id(one) for versions in wanted for one in versions}
        return askers(world, [one for one in packages if id(one) in named], packages)

    def offered(self, layer_names: Sequence[str], installed: Sequence[Installed]) -> list[Package]:
        """What may have a part in installing some packages: of each name and architecture the best one."""
        world = self.world(installed)
        wanted, _ = asked_for(world, "", layer_names)
        best: dict[str, Package] = {}
        for one in universe(world, wanted):
            known = best.setdefault(world.identity(one), one)
            ranked = self.feeds.named(one.name)
            if ranked.index(one) < ranked.index(known):
                best[world.identity(one)] = one
        return [best[name] for name in sorted(best)]
