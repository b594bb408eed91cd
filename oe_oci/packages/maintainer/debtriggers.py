# SPDX-License-Identifier: MIT
"""dpkg's triggers: a package is told, when all are configured, that what it is interested in has changed.

Follows deb-triggers(5) and dpkg 1.21. A package that waits for another one to be told is configured all the same: dpkg
only would put off what depends on it. Must not run a script, nor know a database.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ...errors import InputError
from ...tree import decode
from ..package import DEB
from .scripts import Script, interpreter_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ..world import Candidate

_FILE = "File"  # among the files of the database that of paths, others being named as the triggers
_DIRECTIVE = re.compile(r"(interest|activate)(-await|-noawait)?[ \t]+([!-~]+)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")
_PATH = re.compile(r"(/[^/]+)+")
_NOAWAIT = "/noawait"


class Interest(NamedTuple):
    """A package that is to be told of a trigger: a name, or a path with all below it.

    The package is as dpkg's database has it, with its architecture where there may be several of a name. `awaits`
    says whether who sets off the trigger waits.
    """

    package: str
    trigger: str
    awaits: bool = True


class Triggers(NamedTuple):
    """What a package is interested in, and which triggers it sets off, each with whether it waits."""

    interests: tuple[Interest, ...] = ()
    activates: tuple[tuple[str, bool], ...] = ()


class Arrival(NamedTuple):
    """A package that comes, by the name its triggers have, with the paths it places, relative to the root."""

    package: str
    triggers: Triggers
    paths: Sequence[str] = ()


class Told(NamedTuple):
    """A package that is told of some triggers, in the order of the word that it gets."""

    package: str
    triggers: tuple[str, ...]


def parse(data: bytes, package: str, where: str) -> Triggers:
    """What a package's control file `triggers` says. `where` names the package in messages.

    Raises:
        InputError: it is not as dpkg has it.
    """
    interests, activates = [], []
    for line in decode(data).split("\n"):
        text = line.strip(" \t\r")
        if not text or text.startswith("#"):
            continue
        match = _DIRECTIVE.fullmatch(text)
        if match is None or not (_NAME.fullmatch(match[3]) or _PATH.fullmatch(match[3])):
            raise InputError(f"{where}: triggers: {line[:200]!r} is not understood")
        awaits = match[2] != "-noawait"
        if match[1] == "interest":
            interests.append(Interest(package, match[3], awaits))
        else:
            activates.append((match[3], awaits))
    return Triggers(tuple(interests), tuple(activates))


def registered(files: Mapping[str, bytes]) -> list[Interest]:
    """The interests in the database; `files` are those of its folder `triggers` by their names.

    Raises:
        InputError: a line has no package.
    """
    found = []
    for name, data in files.items():
        for line in decode(data).split("\n"):
            trigger, _, package = line.rpartition(" ") if name == _FILE else (name, "", line)
            if not line:
                continue
            stem, _, options = package.partition("/")
            if not trigger or not stem:
                raise InputError(f"/var/lib/dpkg/triggers/{name}: {line[:200]!r} is no interest of a package")
            found.append(Interest(stem, trigger, f"/{options}" != _NOAWAIT))
    return found


def told(interests: Iterable[Interest], activations: Iterable[str]) -> list[Told]:
    """Who is to be told of what, by who is interested: the first to be concerned first, of the latest trigger first.

    `activations` are triggers' names and absolute paths, in the order of their activation.
    """
    waiting = _Waiting(interests)
    for one in activations:
        waiting.activate(one)
    return waiting.told()


def told_of_layer(below: Iterable[Interest], arrivals: Sequence[Arrival]) -> list[Told]:
    """Who is to be told of what once a layer's packages are configured, which come in that order.

    All are placed before one is configured; until then it is interested in nothing, as its `postinst` does by itself
    what there is to do. `below` are the interests in the database; of a package that is upgraded they count no more.
    """
    new = {one.package for one in arrivals}
    waiting = _Waiting(one for one in below if one.package not in new)
    for one in arrivals:
        for trigger, _ in one.triggers.activates:
            waiting.activate(trigger)
        for path in one.paths:
            waiting.activate(f"/{path}")
    for one in arrivals:
        for trigger, _ in one.triggers.activates:
            waiting.activate(trigger)
        waiting.add(one.triggers.interests)
    return waiting.told()


def triggered(one: Candidate, postinst: bytes, triggers: Iterable[str], instances: int = 1) -> Script:
    """The script of a package that is told of triggers."""
    words = ("triggered", " ".join(triggers))
    return Script(DEB, one.name, one.arch, "postinst", interpreter_of(postinst), postinst, words, instances=instances)


class _Waiting:
    """Packages that are interested, and what they are to be told."""

    def __init__(self, interests: Iterable[Interest]) -> None:
        self._packages: dict[str, list[str]] = {}  # by trigger
        self._told: dict[str, dict[str, None]] = {}  # by package
        self._passed: set[str] = set()
        self.add(interests)

    def add(self, interests: Iterable[Interest]) -> None:
        for one in interests:
            self._packages.setdefault(one.trigger, []).append(one.package)
        self._passed.clear()

    def activate(self, trigger: str) -> None:
        for each in _and_above(trigger):
            if each in self._passed:
                break  # and so are those above
            self._passed.add(each)
            packages = self._packages.get(each, ())
            # Of a path dpkg goes through those interested backwards.
            for package in reversed(packages) if each.startswith("/") else packages:
                self._told.setdefault(package, {}).setdefault(each)

    def told(self) -> list[Told]:
        return [Told(package, tuple(reversed(triggers))) for package, triggers in self._told.items()]


def _and_above(trigger: str) -> Iterator[str]:
    """A trigger; of a path also those it lies in, the nearest first."""
    while trigger:
        yield trigger
        trigger = trigger.rpartition("/")[0]
