# SPDX-License-Identifier: MIT
"""Which packages satisfy a relation: those installed and those the feeds offer, by Debian's rules.

A relation is decided here, once; what chooses among packages sees only who satisfies what. Follows deb-control(5) and
Debian's multiarch specification. Must not choose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, Union

from ..errors import InputError, nearest
from .package import DEB, Installed, Package
from .relation import Group, Relation, parse_relations
from .version import compare

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

Candidate = Union[Package, Installed]

REQUIRED = ("Pre-Depends", "Depends")
AGAINST = ("Conflicts", "Breaks")

_INDEPENDENT = frozenset(("all", "noarch", "any"))
_PRIORITIES = {name: rank for rank, name in enumerate(("required", "important", "standard", "optional", "extra"))}


class Offer(Protocol):
    """What the feeds offer."""

    def named(self, name: str) -> Sequence[Package]:
        """The packages of a name, the best first."""

    def providing(self, name: str) -> Sequence[Package]:
        """The packages that provide a name, versioned or not."""

    def names(self) -> Collection[str]:
        """All names of both kinds."""

    def unlisted(self, name: str) -> str | None:
        """A package file of that name which lies in a feed but is not offered, as the feed's index leaves it out."""


class Policy(NamedTuple):
    """What decides beside the packages: their kind, the target's architecture in Debian's words, and the settings."""

    kind: str
    native: str
    recommends: bool = True
    bad_recommendations: Collection[str] = frozenset()
    exclude: Collection[str] = frozenset()


class World:
    """The packages that are installed and those that are offered."""

    def __init__(self, offer: Offer, installed: Sequence[Installed], policy: Policy) -> None:
        self.policy = policy
        self.installed = {self.identity(one): one for one in installed if one.whole}
        self._offer = offer
        self._providers: dict[str, list[Installed]] = {}
        for one in self.installed.values():
            for name in (one.name, *(provided.name for provided in self.provided(one))):
                self._providers.setdefault(name, []).append(one)
        self._known: dict[tuple[Relation, str], tuple[Candidate, ...]] = {}

    def identity(self, one: Candidate) -> str:
        """The name under which only one version is ever installed: with the architecture where that is foreign."""
        return f"{one.name}:{one.arch}" if self.architecture(one) != self.architecture(None) else one.name

    def groups(self, one: Candidate, fields: Sequence[str]) -> Iterator[Group]:
        """The relations of some of a package's fields, in order."""
        for field in fields:
            text = one.fields.get(field)
            if text:
                try:
                    yield from parse_relations(text)
                except InputError as error:
                    raise InputError(f"{one.shown}: {field}: {error.message}") from error

    def recommended(self, one: Candidate) -> Iterator[Group]:
        """What a package recommends, without what BAD_RECOMMENDATIONS names; nothing where that is switched off."""
        if self.policy.recommends:
            for group in self.groups(one, ("Recommends",)):
                kept = tuple(relation for relation in group if relation.name not in self.policy.bad_recommendations)
                if kept:
                    yield kept

    def provided(self, one: Candidate) -> Iterator[Relation]:
        """The names a package provides beside its own, with the version where it gives one."""
        for group in self.groups(one, ("Provides",)):
            yield group[0]

    def satisfying(self, relation: Relation, asker: Candidate | None) -> tuple[Candidate, ...]:
        """What satisfies a relation of `asker` (None where the layer asks), the best first.

        Installed ones come first, then those of the name itself, then those that provide it.
        """
        arch = self.architecture(asker)
        key = (relation, arch)
        if key not in self._known:
            offered = [*self._offer.named(relation.name), *self._offered_providers(relation.name)]
            found: dict[int, Candidate] = {}
            for one in [*self._providers.get(relation.name, ()), *offered]:
                if id(one) not in found and self._satisfies(one, relation, arch):
                    found[id(one)] = one
            self._known[key] = tuple(found.values())
        return self._known[key]

    def meeting(self, group: Group, asker: Candidate) -> list[Candidate]:
        """What satisfies one of a group's alternatives, the best of the first one first."""
        return [one for relation in group for one in self.satisfying(relation, asker)]

    def newer(self, below: Installed) -> list[Package]:
        """What could take the place of an installed package."""
        name = self.identity(below)
        return [
            one
            for one in self._offer.named(below.name)
            if self.identity(one) == name and compare(one.version, below.version) > 0 and not self.unfit(one)
        ]

    def known(self, name: str) -> list[Candidate]:
        """All that have a name or provide it, whether they may be taken or not."""
        return [*self._providers.get(name, ()), *self._offer.named(name), *self._offer.providing(name)]

    def hint(self, name: str) -> str:
        """What could have been meant by a name that nothing has."""
        unlisted = self._offer.unlisted(name)
        if unlisted:
            return f"{unlisted} lies in the feed, but its index does not list it: make the index anew"
        return nearest(name, self._offer.names())

    def satisfied_by(self, one: Candidate, relation: Relation, asker: Candidate | None) -> bool:
        """Whether a package satisfies a relation of `asker`."""
        return self._satisfies(one, relation, self.architecture(asker))

    def siblings(self, one: Candidate) -> list[Candidate]:
        """The packages of the same name and another architecture that can not be installed beside one."""
        if self.policy.kind != DEB:
            return []
        same: list[Candidate] = [*self._providers.get(one.name, ()), *self._offer.named(one.name)]
        return [
            other
            for other in same
            if other.name == one.name
            and self.architecture(other) != self.architecture(one)
            and not (_coinstallable(one) and _coinstallable(other) and one.version == other.version)
        ]

    def unfit(self, one: Candidate) -> str:
        """Why a package may not be taken, empty where it may."""
        return "PACKAGE_EXCLUDE names it" if one.name in self.policy.exclude else ""

    def _offered_providers(self, name: str) -> list[Package]:
        # Of equals apt takes the one that it learnt of last, which mostly is the last by name.
        return sorted(sorted(self._offer.providing(name), key=lambda one: one.name, reverse=True), key=_preference)

    def _satisfies(self, one: Candidate, relation: Relation, arch: str) -> bool:
        if isinstance(one, Package) and self.unfit(one):
            return False
        named = one.name == relation.name and relation.admits(one.version)
        if named and self._reachable(one, relation, arch, real=True):
            return True
        if not self._reachable(one, relation, arch, real=False):
            return False
        return any(
            provided.name == relation.name
            and (not relation.operator or (provided.operator == "=" and relation.admits(provided.version)))
            for provided in self.provided(one)
        )

    def _reachable(self, one: Candidate, relation: Relation, arch: str, *, real: bool) -> bool:
        """Whether a package of its architecture may satisfy a relation of one of `arch`."""
        if self.policy.kind != DEB:
            return True
        multi = one.fields.get("Multi-Arch", "")
        own = self.architecture(one)
        if relation.qualifier == "any":
            return multi == "allowed" or not real
        if relation.qualifier:
            return own == (self.policy.native if relation.qualifier == "native" else relation.qualifier)
        return own == arch or multi == "foreign"

    def architecture(self, one: Candidate | None) -> str:
        """A package's architecture as dpkg counts it; of ipk packages all that are taken run on the target."""
        if one is None or self.policy.kind != DEB or one.arch in _INDEPENDENT:
            return self.policy.native
        return one.arch


def _coinstallable(one: Candidate) -> bool:
    return one.fields.get("Multi-Arch") == "same"


def _preference(one: Package) -> tuple[bool, int]:
    priority = _PRIORITIES.get(one.fields.get("Priority", ""), len(_PRIORITIES))
    return one.fields.get("Essential") != "yes", priority
