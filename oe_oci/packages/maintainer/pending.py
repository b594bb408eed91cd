# SPDX-License-Identifier: MIT
"""Which packages are to be told of dpkg's triggers once a layer's packages are configured, by the database of a tree.

What scripts set off by themselves the image's own dpkg-trigger writes down, in a file that is empty afterwards. Must
not run a script.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ...content import Literal
from ...tree import FILE, Entry, Tree, decode, resolve
from .. import dpkg
from ..database import names_in, read_file
from .debtriggers import Arrival, Told, parse, registered, told, told_of_layer, triggered
from .runner import Followers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..world import Candidate
    from .job import Job
    from .scripts import Script

_FOLDER = "var/lib/dpkg/triggers"
_SET_OFF = f"{_FOLDER}/Unincorp"
_OWN = ("Lock", "Unincorp")


def pending(job: Job, tree: Tree, arrived: bool) -> Followers:
    """The scripts to be told, and the tree without what was set off; with `arrived` also by what the layer holds.

    Raises:
        InputError: the database is damaged, or triggers of a package are not understood.
    """
    names = (name for name in names_in(tree, _FOLDER) if name not in _OWN)
    interests = registered({name: read_file(tree, f"{_FOLDER}/{name}") or b"" for name in names})
    listed = [line.split(" ") for line in decode(read_file(tree, _SET_OFF) or b"").split("\n") if line]
    found = told_of_layer(interests, _arrivals(job)) if arrived else []
    found = _merged([*found, *told(interests, (trigger for trigger, *_ in listed))])
    return Followers(_scripts(job, tree, found), _emptied(tree) if listed else tree)


def _arrivals(job: Job) -> list[Arrival]:
    found = []
    for one, contents in zip(job.selected, job.held):
        name = dpkg.stem({**contents.fields, "Package": one.package.name, "Architecture": one.package.arch})
        triggers = parse(contents.control.get("triggers", b""), name, one.package.shown)
        found.append(Arrival(name, triggers, [member.path for member in contents.members]))
    return found


def _merged(found: Iterable[Told]) -> list[Told]:
    """Each package once, with all its triggers, the latest first."""
    triggers: dict[str, dict[str, None]] = {}
    for one in found:
        triggers[one.package] = {**dict.fromkeys(one.triggers), **triggers.get(one.package, {})}
    return [Told(package, tuple(each)) for package, each in triggers.items()]


def _scripts(job: Job, tree: Tree, found: Sequence[Told]) -> list[Script]:
    coming = {dpkg.stem(contents.fields): (one, contents) for one, contents in zip(job.selected, job.held)}
    new = {(one.package.name, one.package.arch) for one in job.selected}
    gone = {id(one.replaces) for one in job.selected}
    below = [one for one in job.installed if one.whole and id(one) not in gone]
    there = {dpkg.stem({**one.fields, "Package": one.name, "Architecture": one.arch}): one for one in below}
    instances = Counter(name for name, _ in new.union((one.name, one.arch) for one in below))
    scripts = []
    for each in found:
        if each.package in coming:
            package, contents = coming[each.package]
            one: Candidate = package.package
            data = contents.control.get("postinst")
        elif each.package in there:
            one = there[each.package]
            data = dpkg.control_of(tree, there[each.package], "postinst")
        else:
            continue
        if data is not None:
            scripts.append(triggered(one, data, each.triggers, instances[one.name]))
    return scripts


def _emptied(tree: Tree) -> Tree:
    place = resolve(tree, _SET_OFF, follow=True)
    assert place.entry is not None
    empty = Literal(b"")
    return Tree({**tree.entries, place.path: Entry(FILE, 0o644, mtime=place.entry.mtime, size=0, content=empty)})
