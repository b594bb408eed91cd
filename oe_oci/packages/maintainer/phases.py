# SPDX-License-Identifier: MIT
"""The scripts of a layer, all of them in the order in which they run: before its packages' files are placed, and after.

Must not know where they run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ...errors import InputError
from .. import dpkg, opkg
from ..package import DEB, RPM
from ..rpm import tags
from ..rpm.header import Header
from .order import deb_order, rpm_order
from .scripts import (
    AFTER,
    BEFORE,
    LUA,
    PLACED,
    changes,
    deb_scripts,
    ipk_scripts,
)
from .transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...tree import Tree
    from ..package import Installed
    from ..relation import Relation
    from ..world import Candidate
    from .job import Job
    from .scripts import Change, Script

_SOONER, _LATER = (BEFORE,), (PLACED, AFTER)
_FORMER = ("prerm", "postrm")
_HINT = 'set OCI_PACKAGE_MANAGER = "native", which has rpm run it, or OCI_PACKAGE_SCRIPTS = "skip"'


class Phases(NamedTuple):
    """The scripts that run before files are placed and after, each in the order in which they run.

    Those `waiting` would run before, but can not; they run first of all once the files are there.
    """

    before: Sequence[Script]
    after: Sequence[Script]
    waiting: Sequence[Script] = ()


def phases_of(job: Job, tree: Tree) -> Phases:
    """The scripts of a layer on top of `tree`.

    Raises:
        InputError: one can be run by rpm alone, or what tells of them is damaged.
    """
    if job.kind == RPM:
        pairs = zip(job.selected, job.held)
        headers = {id(one): Header(contents.control["header"], one.package.path) for one, contents in pairs}
        packages = rpm_order(job.world, job.selected, list(headers.values()))
        below = [one for one in job.installed if one.whole]

        def fits(relation: Relation, one: Candidate) -> bool:
            return job.world.satisfies(one, relation, None)

        transaction = Transaction([(one, headers[id(one)]) for one in packages], below, fits)
        found = Phases(list(transaction.before()), list(transaction.after()))
        for script in (*found.before, *found.after):
            _check(job, script)
        return found
    scripts_of = deb_scripts if job.kind == DEB else ipk_scripts
    ordered = _changes(job, tree)
    return Phases(
        *(
            [script for phase in phases for one in ordered for script in scripts_of(one, phase)]
            for phases in (_SOONER, _LATER)
        )
    )


def _changes(job: Job, tree: Tree) -> list[Change]:
    scripted = ["postinst" in contents.control for contents in job.held]
    ordered = deb_order(job.world, job.selected, scripted)
    controls = {id(one): contents.control for one, contents in zip(job.selected, job.held)}
    upgraded = [one.replaces for one in ordered if one.replaces is not None]
    former = {(old.name, old.arch): dict(_former(job, tree, old)) for old in upgraded}
    return changes(ordered, [controls[id(one)] for one in ordered], job.installed, former)


def _former(job: Job, tree: Tree, package: Installed) -> Iterator[tuple[str, bytes]]:
    """The scripts of a package that is to go, which an earlier layer brought, or which the database has."""
    known = job.leaving.get((package.name, package.version, package.arch))
    database = dpkg if job.kind == DEB else opkg
    for name in _FORMER:
        data = database.control_of(tree, package, name) if known is None else known.get(name)
        if data is not None:
            yield name, data


def _check(job: Job, script: Script) -> None:
    """See that a script can be run without rpm."""
    where = f"layer '{job.layer}': {script.package}: its {script.name}"
    if script.interpreter[:1] == (LUA,):
        raise InputError(f"{where} is in Lua, which rpm has built in", hint=_HINT)
    if script.flags & (tags.SCRIPT_EXPAND | tags.SCRIPT_QFORMAT):
        raise InputError(f"{where} has macros that rpm expands when it runs", hint=_HINT)
