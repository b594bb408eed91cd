# SPDX-License-Identifier: MIT
"""What feeds of rpm packages offer to dnf, as the built-in installer reads them, or by names where there is no libsolv.

Must not know how dnf is called.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from ...errors import ConfigError
from ..rpm.plainworld import PlainWorld
from ..rpm.pool import Pool
from ..rpm.resolve import asked_for, askers, missing_names, resolve
from ..rpm.world import World
from .catalog import Asked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...config import PackagesLayer
    from ...errors import Fault
    from ..package import Installed, Package
    from ..rpm.feed import Feeds
    from ..world import Policy
    from .manager import Planned


class RpmCatalog:
    """Feeds of rpm packages."""

    def __init__(self, feeds: Feeds, policy: Policy) -> None:
        self.feeds = feeds
        self.policy = policy
        self._world: tuple[tuple[Installed, ...], World | PlainWorld] | None = None

    def missing(self, layer: PackagesLayer, installed: Sequence[Installed]) -> list[Fault]:
        return missing_names(self._of(installed), layer.name, layer.packages)

    def ask(self, layer: PackagesLayer, installed: Sequence[Installed]) -> Asked:
        wanted, below = asked_for(self._of(installed), layer.name, layer.packages)
        # A word for an architecture may have `-` for `_`.
        words = {word.replace("-", "_") for word in layer.packages}
        best = [versions[0] for versions in wanted]
        exact = [f"{one.name}:{one.arch}" for one in best]
        chosen = tuple(name if name.replace("-", "_") in words else one.name for one, name in zip(best, exact))
        return Asked(chosen, tuple(one.shown for one in below))

    def explain(self, layer: PackagesLayer, installed: Sequence[Installed]) -> Fault | None:
        world = self._of(installed)
        if isinstance(world, PlainWorld):
            return None
        try:
            resolve(world, layer.name, layer.packages)
        except ConfigError as error:
            return error.faults[0]
        return None

    def package(self, planned: Planned) -> Package | None:
        found = [one for one in map(self.feeds.package, self._named.get(planned.name, ())) if one[:3] == planned[:3]]
        return min(found, key=self.feeds.rank, default=None)

    def digest(self, package: Package) -> str:
        return self.feeds.digest(package)

    @property
    def metadata(self) -> Sequence[Sequence[str]]:
        return self.feeds.metadata

    def offered(self, _names: Sequence[str], _installed: Sequence[Installed]) -> Sequence[Package]:
        """All packages: dnf looks at whole feeds, and files and rich relations let any of them have a part."""
        return [self.feeds.package(one) for one in self.feeds.offered() if self.feeds.is_taken(one)]

    def askers(
        self, layer: PackagesLayer, installed: Sequence[Installed], packages: Sequence[Package]
    ) -> Sequence[str]:
        world = self._of(installed)
        wanted, _ = asked_for(world, layer.name, layer.packages)
        return askers(world, [one for versions in wanted for one in versions], packages)

    def _of(self, installed: Sequence[Installed]) -> World | PlainWorld:
        """The world of the feeds on top of what is installed; the same one for the same packages."""
        there = tuple(installed)
        if self._world is None or self._world[0] != there:
            made = World if isinstance(self.feeds.pool, Pool) else PlainWorld
            self._world = there, made(self.feeds, there, self.policy)
        return self._world[1]

    @cached_property
    def _named(self) -> dict[str, list[object]]:
        """The packages that feeds offer, by their names."""
        found: dict[str, list[object]] = {}
        for one in self.feeds.offered():
            found.setdefault(one.name, []).append(one)
        return found
