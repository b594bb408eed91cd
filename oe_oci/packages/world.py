# SPDX-License-Identifier: MIT
"""Which packages satisfy a relation: those installed and those the feeds offer, by Debian's rules.

A relation is decided here, once; what chooses among packages sees only who satisfies what, and who is against whom.
Follows deb-control(5) and Debian's multiarch specification. Must not choose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, Union

from ..errors import InputError, nearest
from .package import DEB, Installed, Package
from .relation import Group, Relation, parse_relations
from .version import compare

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from ..config import PackageSettings

Candidate = Union[Package, Installed]

_INDEPENDENT = frozenset(("all", "noarch", "any"))
_PRIORITIES = {name: rank for rank, name in enumerate(("required", "important", "standard", "optional", "extra"))}
_EVERY = "*"  # in place of an architecture

KEPT = "a layer never removes a package below, nor replaces it by an older one"
REBUILT = "the feeds' package says other things than the one below; what is built anew needs a higher version"


class Absent(Protocol):
    """What feeds know of names that they do not offer."""

    def other_archs(self, name: str) -> Sequence[str]:
        """The architectures for which there is a package of a name, where there is none for the target."""

    def unlisted(self, name: str) -> str | None:
        """A package file of that name which lies in a feed but is not offered, as the feed's index leaves it out."""


class Offer(Absent, Protocol):
    """What the feeds offer; the same objects each time."""

    def named(self, name: str) -> Sequence[Package]:
        """The packages of a name, the best first."""

    def providing(self, name: str) -> Sequence[Package]:
        """The packages that provide a name, versioned or not."""

    def names(self) -> Collection[str]:
        """All names of both kinds."""


class Links(Protocol):
    """What packages need, in whatever format; `World` says what each of it means."""

    def required(self, one: Candidate) -> Sequence[Need]: ...

    def recommended(self, one: Candidate) -> Sequence[Need]: ...


class Names(Protocol):
    """What is known of names, in the same way."""

    def identity(self, one: Candidate) -> str: ...

    def known(self, name: str) -> Sequence[Candidate]: ...

    def barred(self, one: Candidate) -> Barred | None: ...

    def hint(self, name: str) -> str: ...


class Facts(Links, Names, Protocol):
    """What is known of packages and their relations, in the same way."""

    def reason(self, one: Candidate, other: Candidate) -> tuple[str, Relation] | None: ...

    def satisfies(self, one: Candidate, relation: Relation, asker: Candidate | None, /) -> bool: ...

    def provided(self, one: Candidate, name: str) -> Sequence[Relation]: ...


class Policy(NamedTuple):
    """What decides beside the packages: their kind, the target's architecture in Debian's words, and the settings.

    `color` is that of the ELF file that stays where rpm packages have two at one path.
    """

    kind: str
    native: str
    recommends: bool = True
    bad_recommendations: Collection[str] = frozenset()
    exclude: Collection[str] = frozenset()
    color: int = 2


def policy_of(settings: PackageSettings, kind: str) -> Policy:
    """What decides which packages of a kind are chosen, beside the packages."""
    return Policy(
        kind,
        settings.native,
        settings.recommends,
        frozenset(settings.bad_recommendations),
        frozenset(settings.exclude),
        settings.prefer_color,
    )


class Need(NamedTuple):
    """One thing that a package needs or recommends, and what meets it, the best first.

    Installed ones come first, and last what would take the place of one: that is for where there is no other way.
    """

    group: Group
    met_by: tuple[Candidate, ...]


class Barred(NamedTuple):
    """Why a package may not be taken, and what to do about it."""

    reason: str
    hint: str


class World:
    """The packages that are installed and those that are offered."""

    def __init__(self, offer: Offer, installed: Sequence[Installed], policy: Policy) -> None:
        self.policy = policy
        whole = (one for one in installed if one.whole)
        self.installed = {self.identity(one): one for one in sorted(whole, key=lambda one: (one.name, one.arch))}
        self._offer = offer
        self._names: tuple[str, ...] = ()
        self._below: dict[str, list[Installed]] = {}  # by each name that one has or provides
        # By a name, by a relation, with who asks or without, and by the packages' ids in memory.
        self._known: dict[str, tuple[Candidate, ...]] = {}
        self._satisfying: dict[tuple[Relation, str], tuple[Candidate, ...]] = {}
        self._hits: dict[Relation, list[Candidate]] = {}
        self._provisions: dict[int, dict[str, list[Relation]]] = {}
        self._required: dict[int, tuple[Need, ...]] = {}
        self._recommended: dict[int, tuple[Need, ...]] = {}
        self._opposed: dict[int, tuple[Candidate, ...]] = {}
        for one in self.installed.values():
            for name in {one.name: None, **self._provided(one)}:
                self._below.setdefault(name, []).append(one)

    def identity(self, one: Candidate) -> str:
        """The name under which only one version is ever installed: with the architecture where that is foreign."""
        return f"{one.name}:{one.arch}" if self._architecture(one) != self.policy.native else one.name

    def required(self, one: Candidate) -> tuple[Need, ...]:
        """What a package can not do without."""
        if id(one) not in self._required:
            groups = self._groups(one, "Pre-Depends", "Depends")
            self._required[id(one)] = tuple(self._need(group, one) for group in groups)
        return self._required[id(one)]

    def recommended(self, one: Candidate) -> tuple[Need, ...]:
        """What a package recommends, without what BAD_RECOMMENDATIONS names; nothing where that is switched off.

        A recommendation alone upgrades nothing below, and one that was not followed below is not followed by an
        upgrade either.
        """
        if id(one) not in self._recommended:
            groups = self._groups(one, "Recommends") if self.policy.recommends else ()
            needs = (self._need(self._without_bad(group), one) for group in groups)
            past = self._not_followed(one)
            self._recommended[id(one)] = tuple(
                Need(need.group, tuple(met for met in need.met_by if not self._upgrades(met)))
                for need in needs
                if past.isdisjoint(relation.name for relation in need.group)
            )
        return self._recommended[id(one)]

    def opposed(self, one: Candidate) -> tuple[Candidate, ...]:
        """What can not be there beside a package, as it says, or as it is the same for another architecture."""
        if id(one) not in self._opposed:
            against = (other for _, relation in self._against(one) for other in self._hit(relation, one))
            found = {id(other): other for other in (*against, *self._siblings(one))}
            self._opposed[id(one)] = tuple(found.values())
        return self._opposed[id(one)]

    def reason(self, one: Candidate, other: Candidate) -> tuple[str, Relation] | None:
        """By which field and relation one is against another; None where it is not, or only as both are the same."""
        against = ((field, relation, self._hit(relation, one)) for field, relation in self._against(one))
        return next(((field, relation) for field, relation, hit in against if any(each is other for each in hit)), None)

    def satisfying(self, relation: Relation, asker: Candidate | None) -> tuple[Candidate, ...]:
        """What satisfies a relation of `asker` (None where the layer asks), the best first.

        Installed ones come first, then those of the name itself, then those that provide it.
        """
        key = (relation, self._architecture(asker))
        if key not in self._satisfying:
            known = (one for one in self.known(relation.name) if self.barred(one) is None)
            self._satisfying[key] = tuple(one for one in known if self._satisfies(one, *key))
        return self._satisfying[key]

    def known(self, name: str) -> tuple[Candidate, ...]:
        """All that have a name or provide it, whether they may be taken or not, in the order of `satisfying`."""
        if name not in self._known:
            # Of equals apt takes the one that it learnt of last, which mostly is the last by name.
            providers = sorted(self._offer.providing(name), key=lambda one: one.name, reverse=True)
            known = [*self._below.get(name, ()), *self._offer.named(name), *sorted(providers, key=_preference)]
            self._known[name] = tuple({id(one): one for one in known}.values())
        return self._known[name]

    def satisfies(self, one: Candidate, relation: Relation, asker: Candidate | None) -> bool:
        """Whether a package satisfies a relation of `asker`, whether it may be taken or not."""
        return self._satisfies(one, relation, self._architecture(asker))

    def provided(self, one: Candidate, name: str) -> Sequence[Relation]:
        """A package's own words where it provides a name."""
        return self._provided(one).get(name, ())

    def newer(self, below: Installed) -> list[Package]:
        """What could take the place of an installed package, the best first."""
        return [
            one for one in self._offer.named(below.name) if self.replaced(one) is below and self.barred(one) is None
        ]

    def replaced(self, one: Candidate) -> Installed | None:
        """The installed package whose place one would take."""
        return self.installed.get(self.identity(one))

    def barred(self, one: Candidate) -> Barred | None:
        """Why a package may not be taken, None where it may."""
        if isinstance(one, Installed):
            return None
        if one.name in self.policy.exclude:
            return Barred("PACKAGE_EXCLUDE names it", "remove it there, or do not install what needs it")
        below = self.replaced(one)
        if below is None:
            return None
        if "hold" in below.state.split()[:2]:  # dpkg's first word, opkg's second
            return Barred(f"{below.shown}, which is installed below, is on hold", "")
        order = compare(one.version, below.version)
        if order < 0:
            return Barred(f"{below.shown}, which is newer, is installed below", KEPT)
        return Barred("it is installed below in the same version", REBUILT) if order == 0 else None

    def hint(self, name: str) -> str:
        """What could have been meant by a name that nothing has."""
        self._names = self._names or tuple(self._offer.names())
        return advice(self._offer, self.policy.native, name, self._names)

    def _groups(self, one: Candidate, *fields: str) -> Iterator[Group]:
        """The relations of some of a package's fields, in order."""
        for field in fields:
            text = one.fields.get(field)
            if text:
                try:
                    yield from parse_relations(text)
                except InputError as error:
                    raise InputError(f"{one.shown}: {field}: {error.message}") from error

    def _without_bad(self, group: Group) -> Group:
        return tuple(relation for relation in group if relation.name not in self.policy.bad_recommendations)

    def _not_followed(self, one: Candidate) -> set[str]:
        """The names that what a package would take the place of recommends in vain."""
        below = self.replaced(one) if isinstance(one, Package) else None
        unmet = (need for need in self.recommended(below) if not _is_met_below(need)) if below else ()
        return {relation.name for need in unmet for relation in need.group}

    def _need(self, group: Group, asker: Candidate) -> Need:
        met_by = {id(one): one for relation in group for one in self.satisfying(relation, asker)}
        return Need(group, tuple(sorted(met_by.values(), key=self._upgrades)))

    def _upgrades(self, one: Candidate) -> bool:
        return isinstance(one, Package) and self.replaced(one) is not None

    def _provided(self, one: Candidate) -> dict[str, list[Relation]]:
        """The names a package provides beside its own, each with the versions where it gives some."""
        if id(one) not in self._provisions:
            found: dict[str, list[Relation]] = {}
            for relation, *_ in self._groups(one, "Provides"):
                found.setdefault(relation.name, []).append(relation)
            self._provisions[id(one)] = found
        return self._provisions[id(one)]

    def _against(self, one: Candidate) -> Iterator[tuple[str, Relation]]:
        """What a package may not be with, each with the field that says so."""
        return ((field, relation) for field in ("Conflicts", "Breaks") for relation, *_ in self._groups(one, field))

    def _hit(self, relation: Relation, one: Candidate) -> list[Candidate]:
        """What a package is against by a relation: for any architecture where it names none, and never itself."""
        if relation not in self._hits:
            anywhere = relation._replace(qualifier="") if relation.qualifier == "any" else relation
            known = self.known(relation.name)
            self._hits[relation] = [other for other in known if self._satisfies(other, anywhere, _EVERY)]
        return [other for other in self._hits[relation] if other.name != one.name]

    def _siblings(self, one: Candidate) -> list[Candidate]:
        """The packages of the same name and another architecture that can not be installed beside one."""
        if self.policy.kind != DEB:
            return []
        return [
            other
            for other in self.known(one.name)
            if other.name == one.name
            and self._architecture(other) != self._architecture(one)
            and not (_coinstallable(one) and _coinstallable(other) and one.version == other.version)
        ]

    def _satisfies(self, one: Candidate, relation: Relation, arch: str) -> bool:
        """Whether a package satisfies a relation of one of `arch`."""
        if one.name == relation.name and relation.admits(one.version) and self._serves(one, "", relation, arch):
            return True
        return any(
            (not relation.operator or (provided.operator == "=" and relation.admits(provided.version)))
            and self._serves(one, provided.qualifier, relation, arch)
            for provided in self.provided(one, relation.name)
        )

    def _serves(self, one: Candidate, qualifier: str, relation: Relation, arch: str) -> bool:
        """Whether a package, or what it provides for an architecture (`qualifier`), is of the one that is asked for."""
        if self.policy.kind != DEB:
            return relation.qualifier in ("", "any", one.arch)
        own = qualifier or self._architecture(one)
        multi = "" if qualifier else one.fields.get("Multi-Arch", "")
        if not relation.qualifier:
            return arch in (own, _EVERY) or multi == "foreign"
        if relation.qualifier == "any":
            return own == "any" or multi == "allowed"
        return own == (self.policy.native if relation.qualifier == "native" else relation.qualifier)

    def _architecture(self, one: Candidate | None) -> str:
        """A package's architecture as dpkg counts it; of ipk packages all that are taken run on the target."""
        if one is None or self.policy.kind != DEB or one.arch in _INDEPENDENT:
            return self.policy.native
        return one.arch


def advice(offer: Absent, native: str, name: str, names: Iterable[str]) -> str:
    """What could have been meant by a name, one of `names`, that nothing has."""
    unlisted = offer.unlisted(name)
    if unlisted:
        return f"{unlisted} lies in the feed, but its index does not list it: make the index anew"
    others = offer.other_archs(name)
    if others:
        return f"the feeds have it for {', '.join(others)} alone; the image is for {native}"
    # Likeness is costly among 100,000 names; what is like enough mostly begins or ends the same.
    few = min(len(name) // 2, 4)
    head, tail = name[:few], name[len(name) - few :]
    return nearest(name, (one for one in names if one.startswith(head) or one.endswith(tail)))


def _is_met_below(need: Need) -> bool:
    return any(isinstance(one, Installed) for one in need.met_by)


def _coinstallable(one: Candidate) -> bool:
    return one.fields.get("Multi-Arch") == "same"


def _preference(one: Package) -> tuple[bool, int]:
    priority = _PRIORITIES.get(one.fields.get("Priority", ""), len(_PRIORITIES))
    return one.fields.get("Essential") != "yes", priority
