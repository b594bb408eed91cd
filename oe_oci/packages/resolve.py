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
from .world import REQUIRED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .world import Candidate, World


class Selected(NamedTuple):
    """A package to install. `asked_by` is the name of the package that needs it, empty where the layer names it.

    `replaces` is what it upgrades below.
    """

    package: Package
    asked_by: str
    replaces: Installed | None


class Resolution(NamedTuple):
    """What a layer installs, in order; and what it names that lies below already."""

    selected: tuple[Selected, ...]
    below: tuple[Installed, ...]


def missing_names(world: World, layer: str, names: Sequence[str]) -> list[Fault]:
    """What of the names that a layer asks for no package has, or several provide."""
    faults = [one for one in (_asked_for(world, name) for name in names) if isinstance(one, Fault)]
    return [fault._replace(message=f"layer '{layer}': {fault.message}") for fault in faults]


def resolve(world: World, layer: str, names: Sequence[str]) -> Resolution:
    """What to install so that a layer has the packages it names, on top of what is installed.

    Raises:
        ConfigError: there is no way, with the shortest chain of reasons.
        InputError: a package's relations can not be read.
    """
    faults = missing_names(world, layer, names)
    if faults:
        raise ConfigError(faults)
    asked = {id(one): one for one in (_asked_for(world, name) for name in names)}.values()
    requested = [one for one in asked if isinstance(one, Package)]
    chosen = _choose(world, layer, requested) if requested else []
    below = tuple(one for one in asked if isinstance(one, Installed))
    return Resolution(tuple(_selected(world, requested, chosen)), below)


def _asked_for(world: World, name: str) -> Candidate | Fault:
    """The package a layer means: the installed one, else the best of that name, else the only one to provide it."""
    name, _, arch = name.partition(":")
    candidates = world.satisfying(Relation(name, arch), None)
    real = [one for one in candidates if one.name == name]
    for found in (real, [one for one in candidates if isinstance(one, Installed)], candidates):
        if len({one.name for one in found}) == 1:
            return found[0]
    if candidates:
        names = ", ".join(sorted({one.name for one in candidates}))
        return Fault("OCI_LAYERS", f"'{name}' is no package, but several provide it", f"name one of them: {names}")
    return no_such_package(world, name)


def _choose(world: World, layer: str, requested: Sequence[Package]) -> list[Package]:
    favored, whole = preferred(world, requested)
    if whole:
        # Nearly always it is a solution: then libsolv has only that to see to.
        chosen, problems = solve(world, favored, favored, ())
        if not problems:
            return chosen
    chosen, problems = solve(world, _universe(world, requested), requested, favored)
    if problems:
        raise ConfigError([explain(world, layer, requested, problems)])
    return chosen


def _universe(world: World, requested: Sequence[Package]) -> list[Package]:
    """All packages that may have a part in installing those requested, newer ones of those below among them."""
    pending = [*requested, *(newer for one in world.installed.values() for newer in world.newer(one))]
    found = {id(one): one for one in pending}
    while pending:
        one = pending.pop()
        for group in [*world.groups(one, REQUIRED), *world.recommended(one)]:
            for other in world.meeting(group, one):
                if isinstance(other, Package) and id(other) not in found:
                    found[id(other)] = other
                    pending.append(other)
    return list(found.values())


def _selected(world: World, requested: Sequence[Package], chosen: Sequence[Package]) -> list[Selected]:
    asked_by = {id(one): link.asker.name for one, link in chains(world, requested, chosen).values() if link}
    return [
        Selected(one, asked_by.get(id(one), ""), world.installed.get(world.identity(one)))
        for one in _ordered(world, requested, chosen)
    ]


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
            needed = [other for group in world.groups(one, REQUIRED) for other in world.meeting(group, one)]
            pending += [(other, False) for other in reversed(needed) if isinstance(other, Package)]
    return list(done.values())
