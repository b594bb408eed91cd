# SPDX-License-Identifier: MIT
"""Which packages satisfy a relation: those installed and those the feeds offer, by rpm's rules, which libsolv knows.

Must not choose.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from .. import libsolv
from ..package import Installed, Package
from ..world import KEPT, REBUILT, Barred, Need, advice
from .pool import NOARCH, Pool
from .primary import package as metadata
from .relation import RICH, Relation, leaves, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..relation import Relation as AnyRelation
    from ..world import Candidate, Policy
    from .feed import Feeds


_SYSTEM = 1  # libsolv's number of what stands for rpm itself


class World:
    """The packages that are installed, by their headers, and those that are offered.

    Of the worlds of some feeds only the one made last can be asked.

    Raises:
        ToolError: libsolv is not there.
    """

    def __init__(self, feeds: Feeds, installed: Sequence[Installed], policy: Policy) -> None:
        self.policy = policy
        if not isinstance(feeds.pool, Pool):
            raise libsolv.missing()
        self.pool = feeds.pool
        self._feeds = feeds
        self._candidates: dict[int, Candidate] = {}
        self._numbers: dict[int, int] = {}  # of the candidates, by their ids in memory
        self.installed = tuple(installed)
        texts = [metadata(one.header) for one in installed if one.header is not None]
        for solvable, one in zip(self.pool.install(texts, "the database of rpm"), installed):
            self._enter(solvable, one)
        self._barred = set(self._find_barred())
        feeds.arrange(self._barred)
        self._providing: dict[int, tuple[Candidate, ...]] = {}
        self._required: dict[int, tuple[Need, ...]] = {}
        self._recommended: dict[int, tuple[Need, ...]] = {}
        self._replaced: dict[int, tuple[Installed, ...]] = {}

    # ---- between libsolv's packages and ours

    def candidate(self, solvable: Any) -> Candidate:
        """The package of one of libsolv's."""
        if solvable.id not in self._candidates:
            self._enter(solvable, self._feeds.package(solvable))
        return self._candidates[solvable.id]

    def solvable(self, one: Candidate) -> Any:
        """The package that libsolv has for one that came from here."""
        return self.pool.inner.id2solvable(self._numbers[id(one)])

    def number(self, one: Candidate) -> int:
        """The number that libsolv has for a package that came from here."""
        return self._numbers[id(one)]

    def providing(self, dependency: Any) -> tuple[Candidate, ...]:
        """What provides a relation of libsolv's, the best first."""
        number = dependency if isinstance(dependency, int) else dependency.id
        if number not in self._providing:
            found = self.pool.inner.whatprovides(number)
            self._providing[number] = self._ranked([self.candidate(one) for one in found if one.id > _SYSTEM])
        return self._providing[number]

    def _enter(self, solvable: Any, one: Candidate) -> None:
        self._candidates[solvable.id] = one
        self._numbers[id(one)] = solvable.id

    # ---- what explains and orders

    def identity(self, one: Candidate) -> str:
        """The name under which only one version is ever installed."""
        return one.name

    def required(self, one: Candidate) -> tuple[Need, ...]:
        """What a package can not do without."""
        if id(one) not in self._required:
            self._required[id(one)] = tuple(self._needs(one, self.pool.solv.SOLVABLE_REQUIRES))
        return self._required[id(one)]

    def recommended(self, one: Candidate) -> tuple[Need, ...]:
        """What a package recommends, and what supplements it; nothing where that is switched off."""
        if not self.policy.recommends or isinstance(one, Installed):
            return ()
        if id(one) not in self._recommended:
            needs = self._needs(one, self.pool.solv.SOLVABLE_RECOMMENDS)
            kept = ((need.group, filter(self.may_be_recommended, need.met_by)) for need in needs)
            self._recommended[id(one)] = tuple(Need(group, tuple(met_by)) for group, met_by in kept)
        return self._recommended[id(one)]

    def may_be_recommended(self, one: Candidate) -> bool:
        """Whether a recommendation alone can bring a package."""
        return isinstance(one, Installed) or not (one.name in self.policy.bad_recommendations or self.replaces(one))

    @functools.cached_property
    def unwelcome(self) -> list[int]:
        """What no recommendation may bring, by libsolv's numbers: what replaces one below, and what is named so."""
        inner = self.pool.inner
        found = {self.number(one) for below in self.installed for one in self.replacing(below)}
        for name in self.policy.bad_recommendations:
            found.update(one.id for one in inner.whatprovides(inner.str2id(name)) if one.name == name)
        return sorted(found)

    def supplemented(self, one: Package) -> list[Candidate]:
        """The packages for whose sake one comes by itself."""
        found = self._relations(one, self.pool.solv.SOLVABLE_SUPPLEMENTS)
        return [other for relation in found for other in self.providing(self._dependency(relation))]

    def named(self, name: str, arch: str) -> list[Candidate]:
        """What has a name or provides it, for an architecture where one is given, and may be taken: the best first."""
        found = self.providing(self.pool.inner.str2id(name))
        return [one for one in found if arch in ("", one.arch)]

    def known(self, name: str) -> tuple[Candidate, ...]:
        """All for the target that have a name or provide it, whether they may be taken or not, the best first."""
        return self._ranked([self.candidate(one) for one in self._all_named.get(name, ())])

    def satisfies(self, one: Candidate, relation: AnyRelation, _asker: Candidate | None) -> bool:
        """Whether a package satisfies a relation, whether it may be taken or not."""
        provides = self.pool.solv.SOLVABLE_PROVIDES
        return bool(self.solvable(one).matchesdep(provides, self._dependency(relation), -1))

    def provided(self, one: Candidate, name: str) -> list[Relation]:
        """A package's own words where it provides a name."""
        provided = self._relations(one, self.pool.solv.SOLVABLE_PROVIDES)
        return [relation for relation in provided if relation.name == name] or [Relation(name)]

    def reason(self, one: Candidate, other: Candidate) -> tuple[str, Relation] | None:
        """By which field and relation one is against another; None where it is not, or only as both are the same."""
        solv = self.pool.solv
        for dependency in self.solvable(one).lookup_deparray(solv.SOLVABLE_CONFLICTS):
            if any(found is other for found in self.providing(dependency)):
                return "Conflicts", parse(str(dependency))[0]
        for dependency in self.solvable(one).lookup_deparray(solv.SOLVABLE_OBSOLETES):
            if self._is_named(other, dependency):
                return "Obsoletes", parse(str(dependency))[0]
        return None

    def clashes(self, below: Installed, one: Package) -> bool:
        """Whether an installed package can not stay as it is beside a new one, by its conflicts or its conditions."""
        needs = (need for need in self.required(below) if need.group[0].operator == RICH)
        named = {leaf.name for need in needs for leaf in leaves(str(need.group[0]), conditions=True)}
        by_name = any(each is one for name in named for each in self.known(name))
        return by_name or self.reason(below, one) is not None or self.reason(one, below) is not None

    def replaces(self, one: Candidate) -> tuple[Installed, ...]:
        """The installed packages whose place one would take: of its name, and those that it says it obsoletes."""
        if isinstance(one, Installed):
            return ()
        if id(one) not in self._replaced:
            obsoleted = self.solvable(one).lookup_deparray(self.pool.solv.SOLVABLE_OBSOLETES)
            names = [one.name, *(str(each).split()[0] for each in obsoleted)]
            there = [below for below in self.installed if below.name in names]
            self._replaced[id(one)] = tuple(
                below
                for below in there
                if below.name == one.name or any(self._is_named(below, each) for each in obsoleted)
            )
        return self._replaced[id(one)]

    def replaced(self, one: Candidate) -> Installed | None:
        """The installed package whose place one would take, the one of its name where there is one."""
        found = sorted(self.replaces(one), key=lambda below: below.name != one.name)
        return found[0] if found else None

    def barred(self, one: Candidate) -> Barred | None:
        """Why a package may not be taken, None where it may."""
        if isinstance(one, Installed) or self.number(one) not in self._barred:
            return None
        if one.name in self.policy.exclude:
            return Barred("PACKAGE_EXCLUDE names it", "remove it there, or do not install what needs it")
        below = next(below for below in self.installed if below.name == one.name)
        if one.version == below.version:
            return Barred("it is installed below in the same version", REBUILT)
        return Barred(f"{below.shown}, which is newer, is installed below", KEPT)

    def hint(self, name: str) -> str:
        """What could have been meant by a name that nothing has."""
        return advice(self._feeds, self.policy.native, name, self._feeds.names())

    def check_same(self, packages: Iterable[Package]) -> None:
        """See that of each of these packages all that have its name, version and architecture are the same.

        Raises:
            InputError: two differ in their bytes.
        """
        for one in packages:
            named = self.pool.inner.whatprovides(self.pool.inner.str2id(one.name))
            alike = [self.candidate(each) for each in named if each.name == one.name]
            same = [each for each in alike if isinstance(each, Package) and each[:3] == one[:3]]
            self._feeds.check_same([one, *(each for each in same if each is not one)])

    def _is_named(self, one: Candidate, dependency: Any) -> bool:
        """Whether a package is one that another obsoletes: by its name, and not by what it provides."""
        return bool(self.solvable(one).matchesdep(self.pool.solv.SOLVABLE_NAME, dependency, -1))

    def _find_barred(self) -> Iterator[int]:
        """What may not be taken, by libsolv's numbers: what is excluded, and no newer than what lies below."""
        there: dict[str, list[Any]] = {}
        for one in map(self.solvable, self.installed):
            there.setdefault(one.name, []).append(one)
        for one in self._feeds.offered():
            name = one.name
            if name in self.policy.exclude or any(one.evrcmp(below) <= 0 for below in there.get(name, ())):
                yield one.id

    def obsoleting(self, one: Candidate) -> tuple[list[Candidate], list[Candidate]]:
        """The packages that obsolete one on offer, installed ones first: as the best of their name do, and the rest."""
        if isinstance(one, Installed):
            return [], []
        obsoletes = self.pool.solv.SOLVABLE_OBSOLETES
        found = {
            each.id: self.candidate(each)
            for each in self._obsoleting.get(one.name, ())
            if each.id not in self._barred and each.name != one.name
            if any(self._is_named(one, dependency) for dependency in each.lookup_deparray(obsoletes))
        }
        best = {name: self._best(name) for name in {each.name for each in found.values()}}
        kept = {name for name, each in best.items() if each is not None and self.number(each) in found}
        ranked = self._ranked(list(found.values()))
        return [each for each in ranked if each.name in kept], [each for each in ranked if each.name not in kept]

    def _best(self, name: str) -> Candidate | None:
        return next((one for one in self.named(name, "") if one.name == name), None)

    def replacing(self, below: Installed) -> list[Package]:
        """What may take the place of an installed package: newer versions, and what obsoletes it."""
        named = self.pool.inner.whatprovides(self.pool.inner.str2id(below.name))
        found = [one for one in named if one.name == below.name]
        found += [one for one in self._obsoleting.get(below.name, ()) if one.id not in self._barred]
        packages = [self.candidate(one) for one in found if not one.isinstalled()]
        return [one for one in packages if isinstance(one, Package) and below in self.replaces(one)]

    @functools.cached_property
    def _obsoleting(self) -> dict[str, list[Any]]:
        """The packages that obsolete others, by the names of these."""
        found: dict[str, list[Any]] = {}
        obsoletes = self.pool.solv.SOLVABLE_OBSOLETES
        for one in [*map(self.solvable, self.installed), *filter(self._feeds.is_taken, self._feeds.offered())]:
            for dependency in one.lookup_deparray(obsoletes):
                found.setdefault(str(dependency).split()[0], []).append(one)
        return found

    def _needs(self, one: Candidate, key: int) -> Iterator[Need]:
        for dependency in self.solvable(one).lookup_deparray(key, 0):
            text = str(dependency)
            if not text.startswith("rpmlib("):
                group = parse(text)
                yield Need(group, self._meeting(dependency, text))

    def _meeting(self, dependency: Any, text: str) -> tuple[Candidate, ...]:
        if not text.startswith("("):
            return self.providing(dependency)
        found = {id(one): one for leaf in leaves(text) for one in self.providing(self._dependency(leaf))}
        return self._ranked(list(found.values()))

    def _dependency(self, relation: AnyRelation) -> int:
        inner, solv = self.pool.inner, self.pool.solv
        if relation.operator in ("", RICH):
            return int(inner.str2id(relation.name))
        flags = {"<": solv.REL_LT, "=": solv.REL_EQ, ">": solv.REL_GT}
        flag = sum(flags[sign] for sign in relation.operator)
        return int(inner.rel2id(inner.str2id(relation.name), inner.str2id(relation.version), flag))

    def _relations(self, one: Candidate, key: int) -> Iterator[Relation]:
        for dependency in self.solvable(one).lookup_deparray(key, 0):
            yield from parse(str(dependency))

    def _ranked(self, found: list[Candidate]) -> tuple[Candidate, ...]:
        """The best first: what is installed, then what replaces nothing, then as feeds rank it, then the newest."""
        if len(found) < 2:
            return tuple(found)
        newest: Any = functools.cmp_to_key(lambda one, other: int(other.evrcmp(one)))
        found = sorted(found, key=lambda one: one.name)
        found.sort(key=lambda one: newest(self.solvable(one)))
        ranks = [self._rank(one) for one in found]
        best: dict[tuple[str, tuple[int, int]], int] = {}  # of the packages of a name in a feed, the best architecture
        for one, rank in zip(found, ranks):
            if one.arch != NOARCH:
                best[one.name, rank[:2]] = min(rank[2], best.get((one.name, rank[:2]), rank[2]))
        for number, (one, rank) in enumerate(zip(found, ranks)):
            if one.arch == NOARCH:
                ranks[number] = (*rank[:2], best.get((one.name, rank[:2]), rank[2]))
        return tuple(found[number] for number in sorted(range(len(found)), key=ranks.__getitem__))

    def _rank(self, one: Candidate) -> tuple[int, int, int]:
        return (0, 0, 0) if isinstance(one, Installed) else (2 if self.replaces(one) else 1, *self._feeds.rank(one))

    @functools.cached_property
    def _all_named(self) -> dict[str, list[Any]]:
        """The packages that have or provide each name, those that are excluded too."""
        found: dict[str, dict[int, Any]] = {}
        there = [self.solvable(one) for one in self.installed]
        provides = self.pool.solv.SOLVABLE_PROVIDES
        for one in [*there, *filter(self._feeds.is_taken, self._feeds.offered())]:
            for name in [one.name, *(str(each).split(" ")[0] for each in one.lookup_deparray(provides))]:
                found.setdefault(name, {})[one.id] = one
        return {name: list(ones.values()) for name, ones in found.items()}
