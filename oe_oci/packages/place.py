# SPDX-License-Identifier: MIT
"""Where the files of packages come to lie, and which package wins where two ship the same.

A file lies where the kernel would put it: behind the links of what lies below and of the layer's own packages
(usr-merge), or where a diversion sends it. Two packages meet as in dpkg(1) and deb-control(5): a directory that is
there keeps its facts, a file of two packages needs a `Replaces`, a configuration file somebody changed is kept. Must
not know how databases, tar or layers are written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, NamedTuple

from ..errors import InputError
from ..tree import DIRECTORY, SYMLINK, Entry, ancestors, join, parent, resolve, shown
from .database import md5_of
from .package import DEB
from .relation import parse_relations

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..tree import Lookup
    from ..untar import Member
    from .archive import Contents
    from .package import Installed, Package


_ROOT = Entry(DIRECTORY, 0o755)


class Shipment(NamedTuple):
    """A package with what it holds, and the package below that it takes the place of."""

    package: Package
    contents: Contents
    replaces: Installed | None


class Below(NamedTuple):
    """What lies below a layer of packages.

    `owners` gives the packages that own what lies at a place, `diversions` where the file of a path goes, and the
    package whose file stays.
    """

    tree: Lookup
    owners: Callable[[str], Sequence[Installed]]
    diversions: Mapping[str, tuple[str, str]]


class Placed(NamedTuple):
    """What lies at a place: an entry of a member of the package `number`."""

    entry: Entry
    member: Member
    number: int


class Placement(NamedTuple):
    """The files of packages at their places, with the directories they lie in.

    `shipped` gives for each package, in their order, the paths it ships and still owns, `places` where those lie.
    """

    entries: dict[str, Entry]
    files: dict[str, Placed]
    shipped: tuple[tuple[str, ...], ...]
    places: tuple[tuple[str, ...], ...]


def place(shipments: Sequence[Shipment], below: Below, kind: str, epoch: int | None) -> Placement:
    """Place the files of packages, which are in the order of installation.

    `kind` is that of the packages; `epoch` is the latest time of a file, and that of directories no package ships.

    Raises:
        InputError: two packages ship the same file, or a file lies where something else is.
    """
    placing = _Placing(shipments, below, kind, epoch)
    for number, shipment in enumerate(shipments):
        for member in shipment.contents.members:
            placing.add(number, member)
    return placing.placement()


class _Placing:
    def __init__(self, shipments: Sequence[Shipment], below: Below, kind: str, epoch: int | None) -> None:
        self._shipments = shipments
        self._below = below
        self._new = ".dpkg-dist" if kind == DEB else "-opkg"
        self._epoch = epoch
        self._files: dict[str, Placed] = {}
        self._made: dict[str, Entry] = {}  # directories that no package ships
        self._parents: dict[str, str] = {}
        self._lost: set[tuple[int, str]] = set()
        self._links = _links_with_content(shipments)

    def entry(self, path: str) -> Entry | None:
        """What is at a path as far as packages are placed; a link that others ship files behind from the start."""
        placed = self._files.get(path)
        if placed is not None:
            return placed.entry
        below = self._made.get(path) or self._below.tree.entry(path) or self._links.get(path)
        return _ROOT if below is None and not path else below

    def add(self, number: int, member: Member) -> None:
        """Put one member where it lies."""
        if member.entry.kind == DIRECTORY:
            self._add_directory(number, member)
            return
        path = self._diverted(number, member.path)
        up = self._parent(number, parent(path))
        place = join(up, path.rpartition("/")[2])
        held = self._files.get(place)
        if held is not None:
            if not self._wins(number, member, held, place):
                return
        elif not self._goes_on_top(number, member, place):
            return
        elif self._is_kept(number, member, place):
            place += self._new
        self._files[place] = Placed(member.entry, member, number)

    def placement(self) -> Placement:
        dated = {path: self._dated(placed.entry) for path, placed in self._files.items()}
        places: list[list[str]] = [[] for _ in self._shipments]
        for path, placed in self._files.items():
            places[placed.number].append(path)
        shipped = tuple(
            tuple(member.path for member in shipment.contents.members if (number, member.path) not in self._lost)
            for number, shipment in enumerate(self._shipments)
        )
        return Placement({**self._made, **dated}, self._files, shipped, tuple(map(tuple, places)))

    def _dated(self, entry: Entry) -> Entry:
        latest = entry.mtime if self._epoch is None else min(entry.mtime, self._epoch)
        return entry._replace(mtime=max(0, latest))

    def _add_directory(self, number: int, member: Member) -> None:
        found = resolve(self, member.path, follow=True)
        if found.entry is not None and found.entry.kind != DIRECTORY:
            kind = found.entry.kind
            self._clash(number, member.path, f"is a directory; {self._holder(found.path)} has a {kind}")
        if found.entry is None:
            self._make(parent(found.path), number)
        if found.path != member.path:
            # Behind a link: the facts are the other package's that ships the directory itself.
            if self.entry(found.path) is None:
                self._made[found.path] = self._dated(member.entry)
            return
        below = self._below.tree.entry(found.path)
        if below is not None and below._replace(mtime=0) != member.entry._replace(mtime=0):
            return
        self._made.pop(found.path, None)
        # Where it is as below but for the time it counts too: then the layer is the same whatever lies below.
        self._files.setdefault(found.path, Placed(member.entry, member, number))

    def _parent(self, number: int, path: str) -> str:
        """The real directory behind a path; made where it is missing."""
        if path not in self._parents:
            found = resolve(self, path, follow=True)
            if found.entry is None:
                self._make(found.path, number)
            elif found.entry.kind != DIRECTORY:
                self._clash(number, path, f"is no directory: {self._holder(found.path)} has a {found.entry.kind} there")
            self._parents[path] = found.path
        return self._parents[path]

    def _make(self, path: str, number: int) -> None:
        for up in (path, *ancestors(path)):
            entry = self.entry(up) if up else _ROOT
            if entry is None:
                self._made[up] = Entry(DIRECTORY, 0o755, mtime=self._epoch or 0)
            elif entry.kind != DIRECTORY:
                self._clash(number, path, f"lies below {shown(up)}, which is a {entry.kind}")

    def _diverted(self, number: int, path: str) -> str:
        target, owner = self._below.diversions.get(path, (path, ""))
        return path if owner == self._shipments[number].package.name else target

    def _wins(self, number: int, member: Member, held: Placed, place: str) -> bool:
        """Whether a member takes the place of another package's; exactly one of the two loses it."""
        if held.number == number:
            self._clash(number, member.path, f"and {shown(held.member.path)} are the same file, {shown(place)}")
        new, old = self._shipments[number], self._shipments[held.number]
        if held.member.entry.kind == DIRECTORY:
            self._clash(number, member.path, f"is a {member.entry.kind}, where {old.package.shown} has a directory")
        if _replaces(new.package, old.package.name, old.package.version):
            self._lost.add((held.number, held.member.path))
            return True
        if not _replaces(old.package, new.package.name, new.package.version) and not _shared(new, old, member, held):
            raise InputError(
                f"{shown(place)} is in {new.package.shown} and in {old.package.shown}",
                hint="one must say that it Replaces the other; or name one in PACKAGE_EXCLUDE",
            )
        self._lost.add((number, member.path))
        return False

    def _goes_on_top(self, number: int, member: Member, place: str) -> bool:
        """Whether a member may hide what lies below; False where that stays, as it is the same directory."""
        below = self._below.tree.entry(place)
        package = self._shipments[number].package
        if place in self._made or (below is not None and below.kind == DIRECTORY):
            target = resolve(self, join(parent(place), member.entry.target), follow=True)
            if member.entry.kind == SYMLINK and target.path == place:
                return False
            self._clash(number, member.path, f"is a {member.entry.kind}, where a directory with other files lies below")
        if below is None:
            return True
        replaced = self._shipments[number].replaces
        for owner in self._below.owners(place):
            same = owner.name == package.name or any(owner == one.replaces for one in self._shipments)
            if owner != replaced and not same and not _replaces(package, owner.name, owner.version):
                raise InputError(
                    f"{shown(place)} is in {package.shown} and in {owner.shown}, which lies below",
                    hint=f"{package.name} must say that it Replaces {owner.name}; or name one in PACKAGE_EXCLUDE",
                )
        return True

    def _is_kept(self, number: int, member: Member, place: str) -> bool:
        """Whether a configuration file that lies below stays, as somebody has made or changed it."""
        shipment = self._shipments[number]
        below = self._below.tree.entry(place)
        if below is None or below.content is None or member.path not in shipment.contents.conffiles:
            return False
        known = dict(shipment.replaces.conffiles).get(member.path) if shipment.replaces else None
        sums = {known.split(" ")[0]} if known else set()
        if member.entry.content is not None:
            sums.add(md5_of(member.entry.content))
        return md5_of(below.content) not in sums

    def _holder(self, path: str) -> str:
        placed = self._files.get(path)
        return self._shipments[placed.number].package.shown if placed else "what lies below"

    def _clash(self, number: int, path: str, message: str) -> None:
        raise InputError(f"{self._shipments[number].package.shown}: {shown(path)} {message}")


def _links_with_content(shipments: Iterable[Shipment]) -> dict[str, Entry]:
    """The links of packages where others ship a directory: they are links before anything is placed.

    Else it would depend on the order whether the files of `/bin` lie in it or behind it.
    """
    links: dict[str, Entry] = {}
    directories: set[str] = set()
    for shipment in shipments:
        for member in shipment.contents.members:
            if member.entry.kind == SYMLINK:
                links[member.path] = member.entry
            elif member.entry.kind == DIRECTORY:
                directories.add(member.path)
            directories.add(parent(member.path))
    return {path: entry for path, entry in links.items() if path in directories}


def _replaces(package: Package, name: str, version: str) -> bool:
    groups = parse_relations(package.fields.get("Replaces", ""))
    return any(group[0].name == name and group[0].admits(version) for group in groups)


def _shared(new: Shipment, old: Shipment, member: Member, held: Placed) -> bool:
    """Whether two architectures of one package share a file, as `Multi-Arch: same` promises."""
    if new.package.name != old.package.name:
        return False
    one, other = member.entry, held.entry
    if one[:4] != other[:4] or one.target != other.target or one.size != other.size:
        return False
    return one.content is None or other.content is None or md5_of(one.content) == md5_of(other.content)
