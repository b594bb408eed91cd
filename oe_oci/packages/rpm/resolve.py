# SPDX-License-Identifier: MIT
"""The rpm packages of a layer: those it names and all they need, less what lies below, in the order of installation.

Must not read a package's payload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ...errors import ConfigError, Fault
from ..explain import chains, explain, no_such_package
from ..package import Installed, Package
from ..resolve import Resolution, Selected, faults_of
from ..world import Links, Names
from .solver import solve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..world import Candidate
    from .solver import Chosen
    from .world import World


class Named(Names, Protocol):
    """What is known of names; `World` says what each of it means."""

    def named(self, name: str, arch: str) -> list[Candidate]: ...

    def obsoleting(self, one: Candidate, /) -> tuple[list[Candidate], list[Candidate]]: ...


class Linked(Links, Protocol):
    """What is known of packages that come for others, in the same way."""

    @property
    def installed(self) -> Sequence[Installed]: ...

    def supplemented(self, one: Package, /) -> list[Candidate]: ...

    def replaces(self, one: Candidate) -> tuple[Installed, ...]: ...

    def clashes(self, below: Installed, one: Package, /) -> bool: ...


def missing_names(world: Named, layer: str, names: Sequence[str]) -> list[Fault]:
    """What of the names that a layer asks for no package has, or several provide."""
    return faults_of(layer, [_asked_for(world, name) for name in names])


def resolve(world: World, layer: str, names: Sequence[str]) -> Resolution:
    """What to install so that a layer has the packages it names, on top of what is installed.

    Raises:
        ConfigError: there is no way, with the shortest chain of reasons.
        InputError: packages' metadata say what can not be, or two are the same but for their bytes.
    """
    wanted, below = asked_for(world, layer, names)
    if not wanted:
        return Resolution((), below)
    chosen, problems = solve(world, wanted)
    if problems:
        raise ConfigError([explain(world, layer, [versions[0] for versions in wanted], problems)])
    world.check_same(one.package for one in chosen)
    return Resolution(tuple(_selected(world, wanted, chosen)), below)


def asked_for(world: Named, layer: str, names: Sequence[str]) -> tuple[list[list[Package]], tuple[Installed, ...]]:
    """The versions of each package that a layer names and that is to come, the best first; and what lies below.

    Raises:
        ConfigError: no package has a name, or several do.
    """
    asked = [_asked_for(world, name) for name in names]
    faults = faults_of(layer, asked)
    if faults:
        raise ConfigError(faults)
    found = {tuple(map(id, one)): one for one in asked if not isinstance(one, Fault)}.values()
    there = {id(versions[0]): versions[0] for versions in found}.values()
    below = tuple(one for one in there if isinstance(one, Installed))
    wanted = [
        [one for one in versions if isinstance(one, Package)]
        for versions in found
        if not isinstance(versions[0], Installed)
    ]
    return wanted, below


def _asked_for(world: Named, name: str) -> list[Candidate] | Fault:
    """The package a layer means, its versions the best first.

    It is the installed one, else that of the name, else the only one to provide it. As with dnf a package that
    obsoletes the one of the name goes before it.
    """
    name, _, arch = name.partition(":")
    candidates = world.named(name, arch.replace("-", "_"))
    real = [one for one in candidates if one.name == name]
    below: list[Candidate] = [one for one in candidates if isinstance(one, Installed)]
    for found in (real, below, candidates):
        if len({one.name for one in found}) == 1:
            first, last = world.obsoleting(found[0])
            return [*first, *found, *last]
    if candidates:
        names = ", ".join(sorted({one.name for one in candidates}))
        return Fault("OCI_LAYERS", f"'{name}' is no package, but several provide it", f"name one of them: {names}")
    return no_such_package(world, name, arch)


def _selected(world: World, wanted: Sequence[Sequence[Package]], chosen: Sequence[Chosen]) -> list[Selected]:
    packages = [one.package for one in chosen]
    named = askers(world, [one for versions in wanted for one in versions], packages)
    return [
        Selected(one.package, asker, one.replaces[0] if one.replaces else None, one.replaces[1:])
        for one, asker in zip(chosen, named)
    ]


def askers(world: Linked, wanted: Sequence[Package], chosen: Sequence[Package]) -> list[str]:
    """For each of some packages the name of the one that needs it; empty where it is among those `wanted`."""
    members = {id(one) for one in chosen}
    requested = [one for one in wanted if id(one) in members]
    asked_by = {one: link.asker.name if link else "" for one, link in chains(world, requested, chosen).items()}
    return [asked_by[id(one)] if id(one) in asked_by else _cause(world, one, chosen) for one in chosen]


def _cause(world: Linked, one: Package, packages: Sequence[Package]) -> str:
    """The name of the package for whose sake one is chosen that none of those requested leads to."""
    askers: list[Candidate] = [*packages, *world.installed]
    for asker in askers:
        needs = (*world.required(asker), *world.recommended(asker))
        if asker is not one and any(one in need.met_by for need in needs):
            return asker.name
    supplemented = world.supplemented(one)
    others = [other for other in packages if other is not one]
    for other in others:
        if other in supplemented or any(world.clashes(below, other) for below in world.replaces(one)):
            return other.name
    return others[0].name if others else ""
