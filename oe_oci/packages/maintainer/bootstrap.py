# SPDX-License-Identifier: MIT
"""The order of scripts where some must wait until all files are placed: those that need what the layer brings.

Must not run a script.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import InputError
from ...tree import FILE, resolve
from ..package import DEB, IPK, RPM
from ..relation import parse_relations
from ..rpm.header import Header
from .order import names_in, needed_before
from .phases import Phases, phases_of
from .scripts import SHELL

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from ...tree import Tree
    from ..contents import Contents
    from ..package import Package
    from ..resolve import Selected
    from ..world import Need
    from .job import Job
    from .scripts import Script

    _Identity = tuple[str, str]

# What runs before anything that comes is there, with the tools too.
_FIRST_OF_ALL = ("prerm", "pretrans")
_HINT = (
    "name a package with it in the layer or in one below, or set OCI_PACKAGE_SCRIPTS:"
    ' "run:offline" for the shell of this machine, "skip" for none'
)


def phases_inside(job: Job, tree: Tree) -> Phases:
    """The scripts of a layer on top of `tree`, where they run in it.

    All wait where a tree has no shell, or a layer brings essential packages, on which scripts rely without saying so.
    Else one waits that lacks its interpreter, or whose package needs one of the layer before it is placed; one of a
    package that goes needs none of those that come. Essential packages are configured before all others.

    Raises:
        InputError: one can be run by rpm alone, or what tells of them is damaged.
    """
    phases = phases_of(job, tree)
    essential = _essential(job)
    if not _has(tree, SHELL[0]) or _brings(job, essential):
        return _essential_first(job, essential, Phases([], phases.after, phases.before))
    late = _late(job, set(map(_identity, phases.before)))
    waits = [_is_late(one, late) or not _is_run_by(tree, one) for one in phases.before]
    waiting = [one for one, is_late in zip(phases.before, waits) if is_late]
    sooner = [one for one, is_late in zip(phases.before, waits) if not is_late]
    return _essential_first(job, essential, Phases(sooner, phases.after, waiting))


def phases_outside(job: Job, tree: Tree) -> Phases:
    """The scripts of a layer on top of `tree`, where they run outside of it.

    Where the layer brings Debian's essential packages all wait until files are there, as inside: they look for those of
    each other below DPKG_ROOT.

    Raises:
        InputError: one can be run by rpm alone, or what tells of them is damaged.
    """
    phases = phases_of(job, tree)
    essential = _essential(job)
    if job.kind != DEB or not _brings(job, essential):
        return phases
    return _essential_first(job, essential, Phases([], phases.after, phases.before))


def check_interpreter(job: Job, tree: Tree, script: Script) -> None:
    """See that an image has what runs a script, and a shell.

    Raises:
        InputError: it has not.
    """
    for program in dict.fromkeys((*SHELL, *script.interpreter[:1])):
        if not _has(tree, program):
            asker = f"layer '{job.layer}': {script.package}: its {script.name}"
            raise InputError(f"{asker} needs {program} in the image, which has none", hint=_HINT)


def _has(tree: Tree, program: str) -> bool:
    entry = resolve(tree, program, follow=True).entry
    return entry is not None and entry.kind == FILE


def _is_run_by(tree: Tree, script: Script) -> bool:
    return all(_has(tree, program) for program in script.interpreter[:1])


def _identity(script: Script) -> _Identity:
    return script.package, script.arch


def _essential(job: Job) -> set[_Identity]:
    packages = (one.package for one in job.selected)
    return {(one.name, one.arch) for one in packages if one.fields.get("Essential") == "yes"}


def _brings(job: Job, essential: set[_Identity]) -> bool:
    """Whether one of some packages is new in a layer."""
    return any((one.package.name, one.package.arch) in essential for one in job.selected if one.replaces is None)


def _essential_first(job: Job, essential: set[_Identity], phases: Phases) -> Phases:
    """The scripts of a layer, of those after the files are placed essential debs' first."""
    if job.kind != DEB or not essential:
        return phases
    first = _closure(job, essential)
    after = sorted(phases.after, key=lambda one: (one.name == "postinst", _identity(one) not in first))
    waiting = sorted(phases.waiting, key=lambda one: _identity(one) not in first)
    return Phases(phases.before, after, waiting)


def _is_late(script: Script, late: Collection[_Identity]) -> bool:
    return script.name not in _FIRST_OF_ALL and _identity(script) in late


def _late(job: Job, scripted: Collection[_Identity]) -> set[_Identity]:
    """The packages, of those with scripts, that need another of the layer before they are placed."""
    found = set()
    inside = {id(one.package) for one in job.selected}
    for one, contents in zip(job.selected, job.held):
        if (one.package.name, one.package.arch) not in scripted:
            continue
        needs = _needed_early(job, one, contents)
        if any(all(id(other) in inside for other in need.met_by) and need.met_by for need in needs):
            found.add((one.package.name, one.package.arch))
    return found


def _needed_early(job: Job, one: Selected, contents: Contents) -> Iterable[Need]:
    """What a package needs before it is placed: to opkg it is all, but of an upgrade that must see what was there."""
    needs = job.world.required(one.package)
    if job.kind == IPK:
        return needs if one.replaces is None else ()
    if job.kind == RPM:
        names = needed_before(Header(contents.control["header"], one.package.path))
        return [need for need in needs if not names.isdisjoint(names_in(need))]
    return needs[: len(parse_relations(one.package.fields.get("Pre-Depends", "")))]


def _closure(job: Job, essential: set[_Identity]) -> set[_Identity]:
    """Packages of a layer with all of it that they need."""
    inside: Mapping[int, Package] = {id(one.package): one.package for one in job.selected}
    pending: list[Package] = [one for one in inside.values() if (one.name, one.arch) in essential]
    found = {id(one) for one in pending}
    while pending:
        for need in job.world.required(pending.pop()):
            met = [inside[id(one)] for one in need.met_by if id(one) in inside][:1]
            pending += [one for one in met if id(one) not in found]
            found.update(map(id, met))
    return {(one.name, one.arch) for key, one in inside.items() if key in found}
