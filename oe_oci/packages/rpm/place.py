# SPDX-License-Identifier: MIT
"""Where the files of rpm packages come to lie, and what becomes of those of packages that they take the place of.

As rpm does it: packages share what is the same in all facts but the time, and nothing else, but that of two ELF files
of different colours, as multilib has them, the preferred one stays; what nobody owns makes way,
a configuration file is put aside first or stays with the new one beside it (`disposition`); what an upgraded or
obsoleted package had goes where no other has it. Other than with rpm, links of a layer count from the start, whatever
the order, and what old packages had goes once all new ones are in place, not after each. Must not know how databases,
tar or layers are written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, NamedTuple

from ...errors import InputError
from ...tree import DIRECTORY, SYMLINK, join, parent, resolve, shown
from ..package import Installed, Package
from ..place import Placed, Placement, Placing
from .disposition import (
    BACKUP,
    BESIDE,
    CREATE,
    HIDE,
    SAVE,
    SKIP,
    difference,
    is_changed,
    is_preferred,
    is_stuck,
    keeps,
    kind_of,
    on_upgrade,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import NoReturn, Union

    from ...tree import Entry, Lookup
    from ...untar import Member
    from ..place import Shipment
    from .files import File

    Owning = Union[Package, Installed]


class Erased(NamedTuple):
    """A package that goes: what its header says of its files, and the places of their paths."""

    package: Installed
    files: Mapping[str, File]
    places: Mapping[str, str]


class Below(NamedTuple):
    """What lies below a layer, the packages that go with it still there.

    `owners` gives the packages that own what lies at a place, with what each says of it.
    """

    tree: Lookup
    owners: Callable[[str], Iterable[tuple[Installed, File]]]
    erased: Sequence[Erased]


class Outcome(NamedTuple):
    """`going` are the places of what goes with erased packages: of directories only those in which nothing is left.

    What a package does not own of its files is hidden by another's of the preferred colour.
    """

    placement: Placement
    going: frozenset[str]


class _Prior(NamedTuple):
    """The file of the layer's package `number` at a place, and what was done with it."""

    file: File
    number: int
    done: str


def place(
    shipments: Sequence[Shipment], files: Sequence[Mapping[str, File]], below: Below, epoch: int | None, color: int
) -> Outcome:
    """Place the files of packages, which are in the order of installation; `files` are what their headers say.

    `epoch` is the latest time of a file, and that of directories no package ships. `color` is the preferred one
    of ELF files.

    Raises:
        InputError: files of two packages clash, or a file lies where something else is.
    """
    placing = _Rpm(shipments, below, epoch, color)
    for number, listed in enumerate(files):
        members = {member.path: member for member in shipments[number].contents.members}
        for path, file in listed.items():
            placing.add(number, file, members.get(path))
    going = placing.erase()
    return Outcome(placing.placement(), going)


class _Rpm(Placing):
    def __init__(self, shipments: Sequence[Shipment], below: Below, epoch: int | None, color: int) -> None:
        super().__init__(shipments, below.tree, epoch)
        self._below = below
        self._color = color
        self._going = {id(one.package) for one in below.erased}
        self._prior: dict[str, _Prior] = {}
        self._met: dict[str, tuple[tuple[Installed, File], ...]] = {}
        self._taken: dict[tuple[int, str], Installed] = {}
        self._aside: dict[str, Entry] = {}  # configuration files of others, by their new names

    def add(self, number: int, file: File, member: Member | None) -> None:
        """Put one file where it lies; of a ghost that is nowhere."""
        up = parent(file.path)
        known = self._parents.get(up)
        place = join(known[0] if known else resolve(self, up, follow=True).path, file.path.rpartition("/")[2])
        place = file.path if place == file.path else place  # one text for both
        done = self._disposition(number, file, place)
        self._prior[place] = _Prior(file, number, done)
        if done == HIDE:
            return
        self._owned[number][file.path] = place
        if done == SKIP or member is None:
            return
        self._place(number, file.path)
        below = self._tree.entry(place)
        if done in (SAVE, BACKUP) and below is not None:
            self._aside[place + done] = below
        if member.entry.kind == DIRECTORY:
            self._put_directory(number, member, place)
            return
        new = place + BESIDE if done == BESIDE else place
        there = self._there(new)
        if there is not None and there.kind == DIRECTORY:
            self._clash(number, file.path, f"is a {member.entry.kind}, where there is a directory")
        self._files[new] = Placed(member.entry, member, number)

    def placement(self) -> Placement:
        found = super().placement()
        taken = tuple((package, place) for (_, place), package in self._taken.items())
        return found._replace(entries={**self._aside, **found.entries}, taken=taken)

    def erase(self) -> frozenset[str]:
        """The places of what goes with erased packages; a configuration file that was changed is put aside."""
        going = set()
        for one in self._below.erased:
            for path, place in one.places.items():
                file, there = one.files[path], self._tree.entry(place)
                if there is None or not self._is_erased(place):
                    continue
                if is_changed(file, there):
                    if file.ghost:
                        continue
                    if there.kind != DIRECTORY:
                        self._aside[place + SAVE] = there
                # Behind a link others may have their files, as it is with /bin; rpm would remove it.
                behind = resolve(self._tree, place, follow=True).entry if there.kind == SYMLINK else None
                if not (kind_of(file) == DIRECTORY and behind is not None and behind.kind == DIRECTORY):
                    going.add(place)
        return frozenset(going)

    def _is_erased(self, place: str) -> bool:
        """Whether nobody has what an erased package has at a place."""
        if not place or place in self._prior:
            return False
        return all(id(other) in self._going for other, _ in self._owners(place))

    def _owners(self, place: str) -> tuple[tuple[Installed, File], ...]:
        """The installed packages that own what lies at a place, of those that say the same of it one.

        A directory such as `/usr` may be of all packages there are.
        """
        if place not in self._met:
            found: dict[tuple[bool, File], tuple[Installed, File]] = {}
            for package, file in self._below.owners(place):
                said = file._replace(path="", mtime=0, inode=(0, 0))
                found.setdefault((id(package) in self._going, said), (package, file))
            self._met[place] = tuple(found.values())
        return self._met[place]

    def _disposition(self, number: int, file: File, place: str) -> str:
        there = self._tree.entry(place)
        done = self._against_installed(number, file, place, there)
        prior = self._prior.get(place)
        if done == HIDE:
            return HIDE
        if prior is None:
            changed = done is None and is_changed(file, there)
            return (BESIDE if keeps(file) else BACKUP) if changed else done or CREATE
        what = difference(file, prior.file)
        preferred = is_preferred(file, prior.file, self._color) if what else None
        if preferred:
            self._owned[prior.number].pop(prior.file.path, None)
            return CREATE
        if what and preferred is None:
            self._dispute(number, place, self._shipments[prior.number].package, what)
        if what or prior.done == HIDE:
            return HIDE
        if done == SKIP or (prior.done != SKIP and not prior.file.ghost):
            return SKIP
        if is_changed(file, there):
            return BESIDE if keeps(file) else SKIP
        return done or CREATE

    def _against_installed(self, number: int, file: File, place: str, there: Entry | None) -> str | None:
        """What is done with a file because of those installed packages that have it; None where that is nothing."""
        done = None
        for package, old in self._owners(place):
            what = difference(file, old)
            stays = id(package) not in self._going
            preferred = is_preferred(file, old, self._color) if what and stays else None
            if preferred:
                self._take(place, file)
                continue
            if preferred is False:
                return HIDE
            if what and (stays or is_stuck(old, file, there, resolve(self._tree, place, follow=True).entry)):
                self._dispute(number, place, package, what)
            if file.configuration or old.configuration:
                done = on_upgrade(old, file, there)
        return done

    def _take(self, place: str, file: File) -> None:
        """Hide the files of those installed packages that have one of another colour at a place."""
        for package, old in self._below.owners(place):
            if id(package) not in self._going and is_preferred(file, old, self._color):
                self._taken[id(package), place] = package

    def _put_directory(self, number: int, member: Member, place: str) -> None:
        there = self.entry(place)
        found = resolve(self, place, follow=True)
        if there is not None and there.kind == SYMLINK and found.entry is not None and found.entry.kind == DIRECTORY:
            place = found.path
        self._made.pop(place, None)
        self._files[place] = Placed(member.entry, member, number)

    def _dispute(self, number: int, place: str, old: Owning, what: str) -> NoReturn:
        new = self._shipments[number].package
        lies = ", which lies below" if isinstance(old, Installed) else ""
        hint = "rpm has packages share only what is the same in each; name one of them in PACKAGE_EXCLUDE"
        if old.arch != new.arch and "noarch" not in (old.arch, new.arch):
            hint = f"they are for {new.arch} and for {old.arch}, and RPM_PREFER_ELF_ARCH does not tell which; name one"
        raise InputError(f"{shown(place)} is in {new.shown} and in {old.shown}{lies}, and differs: {what}", hint=hint)
