# SPDX-License-Identifier: MIT
"""The scripts of rpm packages that a layer installs, and of what they set off, in the order in which rpm runs them.

But that all that run before files are placed come first, as the files of all packages are placed together. Must not
know where scripts run.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from ..rpm import tags
from ..rpm.files import files_of
from . import rpmtriggers
from .rpmtriggers import Owner, Placed, file_triggers_of, triggers_of
from .scripts import AFTER, BEFORE, FIRST, LAST, REMOVED, rpm_scripts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..package import Installed
    from ..resolve import Selected
    from ..rpm.header import Header
    from ..world import Candidate
    from .rpmtriggers import FileTrigger, Fits, Trigger
    from .scripts import Script


class _Present(NamedTuple):
    """A package that is there or comes, with what it has of triggers: read once, as they are looked at for each other.

    `by_files` are those on the files of each package that brings some.
    """

    package: Candidate
    header: Header
    triggers: Sequence[Trigger]
    by_files: Sequence[FileTrigger]


_Coming = tuple["Selected", _Present]


class Transaction:
    """What runs when packages are installed, each with its header, in their order; `below` are those that are there.

    `fits` says whether a package is one that a relation with its name admits. A transaction is gone through once:
    first `before`, then `after`.

    Raises:
        InputError: a header is damaged; so do the methods.
    """

    def __init__(self, coming: Sequence[tuple[Selected, Header]], below: Iterable[Installed], fits: Fits) -> None:
        self._coming: list[_Coming] = [(one, _present(one.package, header)) for one, header in coming]
        self._fits = fits
        self._there = [_present(one, one.header) for one in below if one.header is not None]
        self._counts = Counter(one.package.name for one in self._there)
        gone = {id(old) for one, _ in coming for old in _gone(one)}
        self._kept = [one for one in self._there if id(one.package) not in gone]

    def before(self) -> Iterator[Script]:
        """What runs before files are placed."""
        yield from self._phase(FIRST)
        for one, came in self._coming:
            yield from self._others(tags.TRIGGERPREIN, one.package)
            yield from self._itself(tags.TRIGGERPREIN, came)
            yield from rpm_scripts(one, came.header, BEFORE)

    def after(self) -> Iterator[Script]:
        """What runs after they are."""
        for one, came in self._coming:
            yield from self._install(one, came)
        for one, came in self._coming:
            yield from self._erase(one, came.header)
        yield from self._phase(LAST)
        yield from self._at_end()

    def _phase(self, phase: str) -> Iterator[Script]:
        for one, came in self._coming:
            yield from rpm_scripts(one, came.header, phase)

    def _install(self, one: Selected, came: _Present) -> Iterator[Script]:
        before = tuple(self._there)
        self._counts[one.package.name] += 1
        self._there.append(came)
        yield from self._files(came, before, early=True)
        yield from rpm_scripts(one, came.header, AFTER)
        yield from self._others(tags.TRIGGERIN, one.package)
        yield from self._itself(tags.TRIGGERIN, came)
        yield from self._files(came, before, early=False)

    def _files(self, came: _Present, before: Sequence[_Present], *, early: bool) -> Iterator[Script]:
        owners = [one.by_files for one in self._there if one.by_files]
        if owners:
            (placed,) = _placed([came])
            yield from rpmtriggers.set_off_by_files(tags.TRIGGERIN, placed, owners, self._counts, early=early)
        if came.by_files:
            own, there = came.by_files, _placed(before)
            yield from rpmtriggers.set_off_by_files_there(tags.TRIGGERIN, own, there, self._counts, early=early)

    def _erase(self, one: Selected, header: Header) -> Iterator[Script]:
        erased = rpm_scripts(one, header, REMOVED)
        for old in _gone(one):
            self._counts[old.name] -= 1
            assert old.header is not None
            own = Owner(old, triggers_of(old.header))
            others = [present for present in self._there if present.package is not old]
            there = [present.package for present in others]
            yield from rpmtriggers.set_off_by_others(tags.TRIGGERUN, own, there, self._counts, self._fits)
            yield from self._others(tags.TRIGGERUN, old)
            yield from (script for script in erased if script.package == old.name)
            yield from self._others(tags.TRIGGERPOSTUN, old)
            self._there = others

    def _at_end(self) -> Iterator[Script]:
        came = [one for _, one in self._coming]
        owners = [own for one in self._kept for own in [file_triggers_of(one.header, transaction=True)] if own]
        if owners:
            yield from rpmtriggers.set_off_at_end(tags.TRIGGERIN, owners, _placed(came), self._counts)
        for one in came:
            own = file_triggers_of(one.header, transaction=True)
            if own:
                every = _placed([*self._kept, *came])
                yield from rpmtriggers.set_off_at_end(tags.TRIGGERIN, [own], every, self._counts)

    def _others(self, sense: int, one: Candidate) -> list[Script]:
        """What a package has all that are there do."""
        owners = (Owner(each.package, each.triggers) for each in self._there if each.triggers)
        return rpmtriggers.set_off(sense, one, owners, self._counts, self._fits)

    def _itself(self, sense: int, own: _Present) -> list[Script]:
        """What a package does for those that are there."""
        if not own.triggers:
            return []
        there = [one.package for one in self._there]
        owner = Owner(own.package, own.triggers)
        return rpmtriggers.set_off_by_others(sense, owner, there, self._counts, self._fits)


def _present(package: Candidate, header: Header) -> _Present:
    return _Present(package, header, triggers_of(header), file_triggers_of(header))


def _gone(one: Selected) -> list[Installed]:
    return [old for old in (one.replaces, *one.obsoletes) if old is not None]


def _placed(packages: Iterable[_Present]) -> list[Placed]:
    return [Placed(one.package.name, _paths(one.header)) for one in packages]


def _paths(header: Header) -> list[str]:
    return sorted(f"/{file.path}" for file in files_of(header))
