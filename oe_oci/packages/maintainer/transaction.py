# SPDX-License-Identifier: MIT
"""The scripts of rpm packages that a layer installs, and of what they set off, in the order in which rpm runs them.

But that all that run before files are placed come first, as the files of all packages are placed together. Must not
know where scripts run.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

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
    from .rpmtriggers import Fits
    from .scripts import Script

_Coming = tuple["Selected", "Header"]
_Present = tuple["Candidate", "Header"]


class Transaction:
    """What runs when packages are installed, each with its header, in their order; `below` are those that are there.

    `fits` says whether a package is one that a relation with its name admits. A transaction is gone through once:
    first `before`, then `after`.

    Raises:
        InputError: a header is damaged; so do the methods.
    """

    def __init__(self, coming: Sequence[_Coming], below: Iterable[Installed], fits: Fits) -> None:
        self._coming = coming
        self._fits = fits
        self._there: list[_Present] = [(one, one.header) for one in below if one.header is not None]
        self._counts = Counter(one.name for one, _ in self._there)
        gone = {id(old) for one, _ in coming for old in _gone(one)}
        self._kept = [(one, header) for one, header in self._there if id(one) not in gone]

    def before(self) -> Iterator[Script]:
        """What runs before files are placed."""
        yield from self._phase(FIRST)
        for one, header in self._coming:
            own = Owner(one.package, triggers_of(header))
            yield from self._others(tags.TRIGGERPREIN, one.package)
            yield from self._itself(tags.TRIGGERPREIN, own)
            yield from rpm_scripts(one, header, BEFORE)

    def after(self) -> Iterator[Script]:
        """What runs after they are."""
        for one, header in self._coming:
            yield from self._install(one, header)
        for one, header in self._coming:
            yield from self._erase(one, header)
        yield from self._phase(LAST)
        yield from self._at_end()

    def _phase(self, phase: str) -> Iterator[Script]:
        for one, header in self._coming:
            yield from rpm_scripts(one, header, phase)

    def _install(self, one: Selected, header: Header) -> Iterator[Script]:
        before = tuple(self._there)
        self._counts[one.package.name] += 1
        self._there.append((one.package, header))
        yield from self._files(one.package, header, before, early=True)
        yield from rpm_scripts(one, header, AFTER)
        yield from self._others(tags.TRIGGERIN, one.package)
        yield from self._itself(tags.TRIGGERIN, Owner(one.package, triggers_of(header)))
        yield from self._files(one.package, header, before, early=False)

    def _files(self, one: Candidate, header: Header, before: Sequence[_Present], *, early: bool) -> Iterator[Script]:
        owners = [own for _, each in self._there for own in [file_triggers_of(each)] if own]
        if owners:
            came = Placed(one.name, _paths(header))
            yield from rpmtriggers.set_off_by_files(tags.TRIGGERIN, came, owners, self._counts, early=early)
        own = file_triggers_of(header)
        if own:
            there = _placed(before)
            yield from rpmtriggers.set_off_by_files_there(tags.TRIGGERIN, own, there, self._counts, early=early)

    def _erase(self, one: Selected, header: Header) -> Iterator[Script]:
        erased = rpm_scripts(one, header, REMOVED)
        for old in _gone(one):
            self._counts[old.name] -= 1
            assert old.header is not None
            own = Owner(old, triggers_of(old.header))
            others = [present for present in self._there if present[0] is not old]
            there = [each for each, _ in others]
            yield from rpmtriggers.set_off_by_others(tags.TRIGGERUN, own, there, self._counts, self._fits)
            yield from self._others(tags.TRIGGERUN, old)
            yield from (script for script in erased if script.package == old.name)
            yield from self._others(tags.TRIGGERPOSTUN, old)
            self._there = others

    def _at_end(self) -> Iterator[Script]:
        came = [(one.package, header) for one, header in self._coming]
        owners = [own for _, header in self._kept for own in [file_triggers_of(header, transaction=True)] if own]
        if owners:
            yield from rpmtriggers.set_off_at_end(tags.TRIGGERIN, owners, _placed(came), self._counts)
        for _, header in came:
            own = file_triggers_of(header, transaction=True)
            if own:
                every = _placed([*self._kept, *came])
                yield from rpmtriggers.set_off_at_end(tags.TRIGGERIN, [own], every, self._counts)

    def _others(self, sense: int, one: Candidate) -> list[Script]:
        """What a package has all that are there do."""
        owners = (Owner(each, triggers_of(header)) for each, header in self._there)
        return rpmtriggers.set_off(sense, one, owners, self._counts, self._fits)

    def _itself(self, sense: int, own: Owner) -> list[Script]:
        """What a package does for those that are there."""
        there = [one for one, _ in self._there]
        return rpmtriggers.set_off_by_others(sense, own, there, self._counts, self._fits)


def _gone(one: Selected) -> list[Installed]:
    return [old for old in (one.replaces, *one.obsoletes) if old is not None]


def _placed(packages: Iterable[_Present]) -> list[Placed]:
    return [Placed(one.name, _paths(header)) for one, header in packages]


def _paths(header: Header) -> list[str]:
    return sorted(f"/{file.path}" for file in files_of(header))
