# SPDX-License-Identifier: MIT
"""The packages of a layer: those it names and all they need, less what lies below, in the order they are installed.

Must not read a package's payload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import ConfigError, Fault
from .explain import chains, explain, no_such_package
from .package import Installed, Package
from .prefer import preferred
from .relation import Relation
from .solver import solve

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .world import Candidate, World


class Selected(NamedTuple):
    """A package to install. `asked_by` is the name of the package that needs it, empty where the layer names it.

    `replaces` is what it upgrades below; `obsoletes` are others below whose place it takes too.
    """

    package: Package
    asked_by: str
    replaces: Installed | None
    obsoletes: tuple[Installed, ...] = ()


class Resolution(NamedTuple):
    """What a layer installs, in order; and what it names that lies below already."""

    selected: tuple[Selected, ...]
    below: tuple[Installed, ...]


def missing_names(world: World, layer: str, names: Sequence[str]) -> list[Fault]:
    """What of the names that a layer asks for no package has, or several provide."""
    return faults_of(layer, [_asked_for(world, name) for name in names])


def resolve(world: World, layer: str, names: Sequence[str]) -> Resolution:
    """What to install so that a layer has the packages it names, on top of what is installed.

    Raises:
        ConfigError: there is no way, with the shortest chain of reasons.
        InputError: a package's relations can not be read.
    """
    wanted, below = asked_for(world, layer, names)
    chosen = _choose(world, layer, wanted) if wanted else []
    return Resolution(tuple(_selected(world, wanted, chosen)), below)


def asked_for(world: World, layer: str, names: Sequence[str]) -> tuple[list[list[Package]], tuple[Installed, ...]]:
    """The packages that a layer names, each with its versions the best first; and what of it lies below already.

    Raises:
        ConfigError: no package has a name, or several provide it.
    """
    asked = [_asked_for(world, name) for name in names]
    faults = faults_of(layer, asked)
    if faults:
        raise ConfigError(faults)
    found = {id(one[0]): one for one in asked if not isinstance(one, Fault)}.values()
    below = tuple(versions[0] for versions in found if isinstance(versions[0], Installed))
    wanted = [
        [one for one in versions if isinstance(one, Package)]
        for versions in found
        if not isinstance(versions[0], Installed)
    ]
    return wanted, below


def faults_of(layer: str, asked: Iterable[Sequence[Candidate] | Fault]) -> list[Fault]:
    """What of the names that a layer asks for is none."""
    faults = (one for one in asked if isinstance(one, Fault))
    return [fault._replace(message=f"layer '{layer}': {fault.message}") for fault in faults]


def _asked_for(world: World, name: str) -> list[Candidate] | Fault:
    """The package a layer means, its versions the best first.

    It is the installed one, else that of the name, else the only one to provide it.
    """
    name, _, arch = name.partition(":")
    candidates = world.satisfying(Relation(name, arch), None)
    real = [one for one in candidates if one.name == name]
    for found in (real, [one for one in candidates if isinstance(one, Installed)], candidates):
        if len({one.name for one in found}) == 1:
            return [one for one in found if world.identity(one) == world.identity(found[0])]
    if candidates:
        names = ", ".join(sorted({one.name for one in candidates}))
        return Fault("OCI_LAYERS", f"'{name}' is no package, but several provide it", f"name one of them: {names}")
    return no_such_package(world, name, arch)


def _choose(world: World, layer: str, wanted: Sequence[Sequence[Package]]) -> list[Package]:
    """What to install so that one of each of `wanted` is, the first one if it can be."""
    best = [versions[:1] for versions in wanted]
    requested = [one for (one,) in best]
    favored, whole = preferred(world, requested)
    # Nearly always it is a solution: then libsolv has only that to see to.
    chosen = _least(world, favored, requested) if whole else []
    if chosen:
        return chosen
    chosen, problems = solve(world, universe(world, best), best, favored)
    if problems and any(len(versions) > 1 for versions in wanted):
        chosen, _ = solve(world, universe(world, wanted), wanted, favored)
    if not chosen:
        raise ConfigError([explain(world, layer, requested, problems)])
    return _least(world, chosen, [one for versions in wanted for one in versions])


def _least(world: World, packages: Sequence[Package], requested: Sequence[Package]) -> list[Package]:
    """Those requested and all new ones of some packages, with what must be upgraded; none where they do not fit."""
    asked_for = {id(one) for one in requested}
    kept = [(one,) for one in packages if id(one) in asked_for or world.replaced(one) is None]
    return solve(world, packages, kept, ())[0]


def universe(world: World, wanted: Iterable[Sequence[Package]]) -> list[Package]:
    """All packages that may have a part in installing those wanted, beginning with these."""
    pending = [*(one for versions in wanted for one in versions), *_in_place(world)]
    found = {id(one): one for one in pending}
    while pending:
        one = pending.pop()
        for need in (*world.required(one), *world.recommended(one)):
            for other in need.met_by:
                if isinstance(other, Package) and id(other) not in found:
                    found[id(other)] = other
                    pending.append(other)
    return list(found.values())


def _in_place(world: World) -> Iterator[Package]:
    """What could take the place of an installed package, and what those that stay could need then."""
    newer = {name: world.newer(one) for name, one in world.installed.items()}
    for packages in newer.values():
        yield from packages
    for one in world.installed.values():
        for need in world.required(one):
            below = [met for met in need.met_by if isinstance(met, Installed)]
            if below and all(newer[world.identity(met)] for met in below):
                yield from (met for met in need.met_by if isinstance(met, Package))


def _selected(world: World, wanted: Sequence[Sequence[Package]], chosen: Sequence[Package]) -> list[Selected]:
    members = {id(one) for one in chosen}
    requested = [one for versions in wanted for one in versions if id(one) in members]
    ordered = _ordered(world, requested, chosen)
    return [Selected(one, asker, world.replaced(one)) for one, asker in zip(ordered, askers(world, requested, ordered))]


def askers(world: World, requested: Sequence[Package], chosen: Sequence[Package]) -> list[str]:
    """For each of the packages chosen the name of the one that needs it, empty for those requested."""
    asked_by = {one: link.asker.name if link else "" for one, link in chains(world, requested, chosen).items()}
    return [asked_by[id(one)] if id(one) in asked_by else _cause(world, one, chosen) for one in chosen]


def _cause(world: World, one: Package, chosen: Sequence[Package]) -> str:
    """The name of the package for whose sake one is chosen that none of those requested leads to.

    It takes the place of one below that does not fit with another one chosen, or one of these or below needs it.
    """
    below = world.replaced(one)
    lost = {id(met) for need in world.required(below) for met in need.met_by} if below else set()
    for other in chosen if below else ():
        against = any(each is below for each in world.opposed(other))
        if other is not one and (against or id(world.replaced(other)) in lost):
            return other.name
    askers: list[Candidate] = [*chosen, *world.installed.values()]
    for asker in askers:
        recommended = world.recommended(asker) if isinstance(asker, Package) else ()
        if asker is not one and any(one in need.met_by for need in (*world.required(asker), *recommended)):
            return asker.name
    # What is left is upgraded as it is against one that comes.
    return next((other.name for other in chosen if below and other in world.opposed(below)), "")


def _ordered(world: World, requested: Sequence[Package], chosen: Sequence[Package]) -> list[Package]:
    """The packages, each after those it needs; essential ones first. In a circle the one that is met first is last."""
    members = {id(one) for one in chosen}
    essential = sorted((one for one in chosen if one.fields.get("Essential") == "yes"), key=world.identity)
    others = sorted(chosen, key=world.identity)
    done: dict[int, Package] = {}
    begun: set[int] = set()
    # A stack of our own, as chains can be long: a package is met twice, before and after what it needs.
    pending = [(one, False) for one in reversed([*essential, *requested, *others])]
    while pending:
        one, after = pending.pop()
        if after:
            done[id(one)] = one
        elif id(one) in members and id(one) not in begun:
            begun.add(id(one))
            pending.append((one, True))
            needed = [other for need in world.required(one) for other in need.met_by if id(other) in members]
            pending += [(other, False) for other in reversed(needed) if isinstance(other, Package)]
    return list(done.values())
