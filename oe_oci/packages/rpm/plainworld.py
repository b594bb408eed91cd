# SPDX-License-Identifier: MIT
"""What feeds offer and what is installed, as far as names tell: which package a layer means, and what asked for which.

All that takes libsolv, versions among it, is left to the package manager that installs. Must not choose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..package import Installed, Package
from ..world import Barred, Need, advice
from . import tags
from .relation import is_rich, leaves, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..world import Candidate, Policy
    from .feed import Feeds
    from .plain import Listed


class PlainWorld:
    """The packages that are installed, by their headers, and those that are offered."""

    def __init__(self, feeds: Feeds, installed: Sequence[Installed], policy: Policy) -> None:
        self.policy = policy
        self.installed = tuple(installed)
        self._feeds = feeds
        self._listed: dict[int, Listed] = {}  # by the packages' ids in memory
        self._known: dict[str, dict[int, Candidate]] = {}  # by each name that one has or provides, and by its files
        for below in self.installed:
            provided = below.header.texts(tags.PROVIDENAME) if below.header is not None else ()
            self._enter(below, [below.name, *provided])
        for listed in filter(feeds.is_taken, feeds.offered()):
            package = feeds.package(listed)
            self._listed[id(package)] = listed
            self._enter(package, [package.name, *listed.provides, *listed.files])

    def _enter(self, one: Candidate, names: Iterable[str]) -> None:
        for name in names:
            self._known.setdefault(name, {})[id(one)] = one

    # ---- names

    def identity(self, one: Candidate) -> str:
        """The name under which only one version is ever installed."""
        return one.name

    def known(self, name: str) -> tuple[Candidate, ...]:
        """All for the target that have a name or provide it, whether they may be taken or not; installed ones first."""
        return tuple(sorted(self._known.get(name, {}).values(), key=self._rank))

    def named(self, name: str, arch: str) -> list[Candidate]:
        """Those of them that may be taken, for an architecture where one is given."""
        return [one for one in self.known(name) if self.barred(one) is None and arch in ("", one.arch)]

    def barred(self, one: Candidate) -> Barred | None:
        """Why a package may not be taken, None where it may."""
        if isinstance(one, Installed) or one.name not in self.policy.exclude:
            return None
        return Barred("PACKAGE_EXCLUDE names it", "remove it there, or do not install what needs it")

    def hint(self, name: str) -> str:
        """What could have been meant by a name that nothing has."""
        return advice(self._feeds, self.policy.native, name, self._feeds.names())

    def obsoleting(self, _one: Candidate) -> tuple[list[Candidate], list[Candidate]]:
        """The packages that obsolete one on offer: the tool knows them."""
        return [], []

    def _rank(self, one: Candidate) -> tuple[object, ...]:
        first = (0, 0, 0) if isinstance(one, Installed) else (1, *self._feeds.rank(one))
        return (*first, *one[:3])

    # ---- what asked for what

    def required(self, one: Candidate) -> tuple[Need, ...]:
        """What a package can not do without."""
        listed = self._listed.get(id(one))
        return tuple(self._needs(listed.requires)) if listed is not None else ()

    def recommended(self, one: Candidate) -> tuple[Need, ...]:
        """What a package recommends; nothing where that is switched off."""
        listed = self._listed.get(id(one)) if self.policy.recommends else None
        return tuple(self._needs(listed.recommends)) if listed is not None else ()

    def supplemented(self, _one: Package) -> list[Candidate]:
        """The packages for whose sake one comes by itself: the tool knows them."""
        return []

    def replaces(self, one: Candidate) -> tuple[Installed, ...]:
        """The installed packages of a package's name."""
        return tuple(below for below in self.installed if below.name == one.name)

    def clashes(self, _below: Installed, _one: Package) -> bool:
        """Whether an installed package can not stay as it is beside a new one: the tool knows."""
        return False

    def _needs(self, names: Iterable[str]) -> Iterator[Need]:
        for name in names:
            simple = [leaf.name for leaf in leaves(name)] if is_rich(name) else [name]
            yield Need(parse(name), tuple(one for each in simple for one in self.known(each)))
