# SPDX-License-Identifier: MIT
"""Where the files of packages come to lie, and which package wins where two ship the same.

A file lies where the kernel would put it: behind the links of what lies below and of the layer's own packages
(usr-merge), or where a diversion sends it. Two packages meet as in dpkg(1) and deb-control(5): a directory that is
there keeps its facts, a file of two packages needs a `Replaces`, a configuration file somebody changed is kept. Other
than with dpkg, links of a layer count from the start, whatever the order; a file takes the place of a directory only
where nothing is left in that, and so does a link, which dpkg would leave out without a word; and what a dangling link
leads to is made. Must not know how databases, tar or layers are written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, NamedTuple, Union

from ..errors import InputError
from ..tree import DIRECTORY, FILE, SYMLINK, Entry, ancestors, join, parent, resolve, shown
from .database import md5_of
from .package import DEB, Installed, Package
from .relation import parse_relations

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from typing import NoReturn

    from ..tree import Lookup
    from ..untar import Member
    from .contents import Contents

Either = Union[Package, Installed]

_ROOT = Entry(DIRECTORY, 0o755)
_WINS, _SHARES, _LOSES = range(3)


class Shipment(NamedTuple):
    """A package with what it holds, and the package below that it takes the place of."""

    package: Package
    contents: Contents
    replaces: Installed | None


class Below(NamedTuple):
    """What lies below a layer of packages, upgraded packages and what they leave behind not counted.

    `owners` gives the packages that own what lies at a place, `occupied` every directory with something in it,
    `conffiles` the MD5 sums under which packages know the configuration file of a path, upgraded and removed packages
    too. `diverted` gives the path a package's file goes to in place of its own.
    """

    tree: Lookup
    owners: Callable[[str], Sequence[Installed]]
    occupied: Callable[[], Collection[str]]
    conffiles: Mapping[str, Collection[str]]
    diverted: Callable[[str, str], str]


class _Rival(NamedTuple):
    """A package that owns what is at a place: the package `number` of the layer, as `path`, or one below."""

    package: Either
    number: int
    path: str


class Placed(NamedTuple):
    """What lies at a place: an entry of a member of the package `number`."""

    entry: Entry
    member: Member
    number: int


class Placement(NamedTuple):
    """The files of packages at their places, with the directories they lie in.

    `owned` gives for each package, in their order, the paths it ships and still owns, each with its place; `taken` the
    packages below whose file at a place is another's now.
    """

    entries: dict[str, Entry]
    files: dict[str, Placed]
    owned: tuple[dict[str, str], ...]
    taken: tuple[tuple[Installed, str], ...]


def place(shipments: Sequence[Shipment], below: Below, kind: str, epoch: int | None) -> Placement:
    """Place the files of packages, which are in the order of installation.

    `kind` is that of the packages; `epoch` is the latest time of a file, and that of directories no package ships.

    Raises:
        InputError: two packages ship the same file, or a file lies where something else is.
    """
    placing = _Debian(shipments, below, kind, epoch)
    for number, shipment in enumerate(shipments):
        for member in shipment.contents.members:
            placing.add(number, member)
    return placing.placement()


class Placing:
    """What placing has in common whatever the format: where a path lies, which directories are made on the way.

    `tree` is what lies below, `epoch` is as of `place`.
    """

    def __init__(self, shipments: Sequence[Shipment], tree: Lookup, epoch: int | None) -> None:
        self._shipments = shipments
        self._tree = tree
        self._epoch = epoch
        self._files: dict[str, Placed] = {}
        self._made: dict[str, Entry] = {}  # directories that no package ships
        self._parents: dict[str, tuple[str, int]] = {}  # where a path's directory lies, and who asked first
        self._filled: set[str] = set()  # directories that something was placed in
        self._owned: list[dict[str, str]] = [{} for _ in shipments]
        self._links = _links_with_content(shipments)

    def entry(self, path: str) -> Entry | None:
        """What is at a path as far as packages are placed; a link that others ship files behind from the start."""
        there = self._there(path)
        link = self._links.get(path)
        if link is not None and path not in self._files and (there is None or there.kind != DIRECTORY):
            return link
        return _ROOT if there is None and not path else there

    def _there(self, place: str) -> Entry | None:
        placed = self._files.get(place)
        return placed.entry if placed is not None else self._made.get(place) or self._tree.entry(place)

    def placement(self) -> Placement:
        """All that was placed, once all packages are.

        Raises:
            InputError: a file would not be found at its path.
        """
        self._check_parents()
        dated = {path: self._dated(placed.entry) for path, placed in self._files.items()}
        return Placement({**self._made, **dated}, self._files, tuple(self._owned), ())

    def _place(self, number: int, path: str) -> str:
        """Where a path lies, in a directory that is made where it is missing."""
        place = join(self._parent(number, parent(path)), path.rpartition("/")[2])
        return path if place == path else place  # one text for both

    def _check_parents(self) -> None:
        """See that files are found at their paths: links may have come or gone after they were placed."""
        for path, (place, number) in self._parents.items():
            found = resolve(self, path, follow=True)
            if found.path != place or found.entry is None or found.entry.kind != DIRECTORY:
                self._clash(number, path, f"is no longer {shown(place)} once all packages of the layer are in place")

    def _dated(self, entry: Entry) -> Entry:
        latest = entry.mtime if self._epoch is None else min(entry.mtime, self._epoch)
        return entry._replace(mtime=max(0, latest))

    def _parent(self, number: int, path: str) -> str:
        """The real directory behind a path; made where it is missing."""
        if path not in self._parents:
            found = resolve(self, path, follow=True)
            if found.entry is None:
                self._make(found.path, number)
            elif found.entry.kind != DIRECTORY:
                self._clash(number, path, f"is no directory: {self._holder(found.path)} has a {found.entry.kind} there")
            self._parents[path] = found.path, number
            self._filled.update((found.path, *ancestors(found.path)))
        return self._parents[path][0]

    def _make(self, path: str, number: int) -> None:
        for up in (path, *ancestors(path)):
            entry = self.entry(up)
            if entry is None:
                self._made[up] = Entry(DIRECTORY, 0o755, mtime=self._epoch or 0)
            elif entry.kind != DIRECTORY:
                self._clash(number, path, f"lies below {shown(up)}, which is a {entry.kind}")

    def _holder(self, path: str) -> str:
        placed = self._files.get(path)
        return self._shipments[placed.number].package.shown if placed else "what lies below"

    def _clash(self, number: int, path: str, message: str) -> NoReturn:
        raise InputError(f"{self._shipments[number].package.shown}: {shown(path)} {message}")


class _Debian(Placing):
    """As dpkg and opkg do it."""

    def __init__(self, shipments: Sequence[Shipment], below: Below, kind: str, epoch: int | None) -> None:
        super().__init__(shipments, below.tree, epoch)
        self._below = below
        self._deb = kind == DEB
        self._owners: dict[str, list[_Rival]] = {}
        self._taken: dict[tuple[int, str], Installed] = {}
        self._conffiles = [frozenset(shipment.contents.conffiles) for shipment in shipments]

    def add(self, number: int, member: Member) -> None:
        """Put one member where it lies."""
        directory = member.entry.kind == DIRECTORY
        path = member.path if directory else self._below.diverted(member.path, self._shipments[number].package.name)
        place = self._place(number, path)
        owns = self._add_directory(number, member, place) if directory else self._add_file(number, member, place)
        if owns:
            self._owned[number][member.path] = place
            self._owners.setdefault(place, []).append(_Rival(self._shipments[number].package, number, member.path))

    def placement(self) -> Placement:
        taken = tuple((package, path) for (_, path), package in self._taken.items())
        return super().placement()._replace(taken=taken)

    def _add_directory(self, number: int, member: Member, place: str) -> bool:
        """Whether the package owns the directory then."""
        found = resolve(self, place, follow=True)
        way = (found.entry,) if found.entry is not None else map(self.entry, ancestors(found.path))
        if any(entry is not None and entry.kind != DIRECTORY for entry in way):
            outcome = self._contest(number, member, place)
            if outcome == _WINS:
                self._files[place] = Placed(member.entry, member, number)
            return outcome != _LOSES
        if found.path == place:
            self._made.pop(place, None)
            # Where it lies below too it counts: then the layer is the same whatever lies below.
            self._files.setdefault(place, Placed(member.entry, member, number))
        elif found.entry is None:
            # Behind a link: the facts are the other package's that ships the directory itself.
            self._make(found.path, number)
            self._made[found.path] = self._dated(member.entry)
        return True

    def _add_file(self, number: int, member: Member, place: str) -> bool:
        """Whether the package owns the file then."""
        outcome = self._contest(number, member, place)
        if outcome == _WINS:
            if member.path in self._conffiles[number] and place not in self._files:
                self._put_conffile(number, member, place)
            else:
                self._put(number, member, place)
        return outcome != _LOSES

    def _put(self, number: int, member: Member, place: str) -> None:
        there = self._there(place)
        filled = place in self._made or place in self._filled
        if there is not None and there.kind == DIRECTORY and (filled or place in self._below.occupied()):
            self._clash(number, member.path, f"is a {member.entry.kind}, where there is a directory with files")
        self._files[place] = Placed(member.entry, member, number)

    def _contest(self, number: int, member: Member, place: str) -> int:
        """Which of a member and what is at its place stays there, and whether both packages own that."""
        there = self._there(place)
        if there is None:
            return _WINS
        if member.entry.kind == SYMLINK and self._is_same_directory(member, place, there):
            return _SHARES
        new, conffile = self._shipments[number].package, member.path in self._conffiles[number]
        outcome, beaten = _WINS, []
        for rival in self._rivals(place):
            if rival.number == number:
                self._clash(number, member.path, f"and {shown(rival.path)} are the same file, {shown(place)}")
            if _replaces(new, rival.package) or (conffile and _is_obsolete(rival.package, member.path)):
                beaten.append(rival)
            elif _replaces(rival.package, new):
                outcome = _LOSES
            elif rival.package.name == new.name and _is_same(member.entry, there):
                outcome = outcome or _SHARES
            else:
                self._dispute(number, member, place, rival.package)
        if outcome == _WINS:
            for rival in beaten:
                self._give_up(rival, place)
        return outcome

    def _is_same_directory(self, member: Member, place: str, there: Entry) -> bool:
        """Whether a link is the one that is there, to a directory, or leads to the directory that is."""
        found = resolve(self, place, follow=True)
        if there.kind == SYMLINK:
            return there.target == member.entry.target and found.entry is not None and found.entry.kind == DIRECTORY
        target = member.entry.target
        target = target if target.startswith("/") else join(parent(place), target)
        return there.kind == DIRECTORY and resolve(self, target, follow=True).path == place

    def _rivals(self, place: str) -> Iterator[_Rival]:
        yield from self._owners.get(place, ())
        for owner in self._below.owners(place):
            if (id(owner), place) not in self._taken:
                yield _Rival(owner, -1, "")

    def _give_up(self, rival: _Rival, place: str) -> None:
        if isinstance(rival.package, Installed):
            self._taken[id(rival.package), place] = rival.package
        else:
            del self._owned[rival.number][rival.path]
            self._owners[place].remove(rival)

    def _dispute(self, number: int, member: Member, place: str, old: Either) -> NoReturn:
        there, new = self._there(place), self._shipments[number].package
        if there is not None and (there.kind == DIRECTORY) != (member.entry.kind == DIRECTORY):
            self._clash(number, member.path, f"is a {member.entry.kind}; {old.shown} has a {there.kind} there")
        lies = ", which lies below" if isinstance(old, Installed) else ""
        raise InputError(
            f"{shown(place)} is in {new.shown} and in {old.shown}{lies}",
            hint=f"{new.name} must say that it Replaces {old.name}; or name one in PACKAGE_EXCLUDE",
        )

    def _put_conffile(self, number: int, member: Member, place: str) -> None:
        """Put a configuration file at its place, or beside it where somebody made, changed or removed what is there."""
        there, known = self._below.tree.entry(place), self._below.conffiles.get(member.path, ())
        new, current = _sum(member.entry), _sum(resolve(self._below.tree, place, follow=True).entry)
        if there is None or there.kind == DIRECTORY:
            changed = self._deb and bool(known) and there is None
        else:
            changed = current != new and current not in known
            if not changed and there.kind == SYMLINK:
                return
            if self._deb and there.kind == FILE:
                member = _with_facts(member, there)
        if not changed:
            self._put(number, member, place)
        elif new not in known:
            self._put(number, member, place + (".dpkg-dist" if self._deb else "-opkg"))


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


def _with_facts(member: Member, there: Entry) -> Member:
    """A configuration file with the mode and owner of the one that is there, as dpkg leaves those to the user too."""
    entry = member.entry._replace(mode=there.mode, uid=there.uid, gid=there.gid)
    # One of several names of an inode can not have facts of its own.
    entry = entry if entry == member.entry else entry._replace(inode=None)
    return member._replace(entry=entry, user="", group="")


def _replaces(package: Either, other: Either) -> bool:
    try:
        groups = parse_relations(package.fields.get("Replaces", ""))
    except InputError as error:
        raise InputError(f"{package.shown}: Replaces: {error.message}") from error
    return any(group[0].name == other.name and group[0].admits(other.version) for group in groups)


def _is_obsolete(package: Either, path: str) -> bool:
    """Whether a file is left of a former version's configuration: dpkg lets any package have it as its own."""
    conffiles = package.conffiles if isinstance(package, Installed) else ()
    return any(known.endswith(" obsolete") for conffile, known in conffiles if conffile == path)


def _is_same(one: Entry, other: Entry) -> bool:
    """Whether two architectures of one package share a file, as `Multi-Arch: same` promises."""
    if (one.kind, one.size, one.target, one.device) != (other.kind, other.size, other.target, other.device):
        return False
    return _sum(one) == _sum(other)


def _sum(entry: Entry | None) -> str:
    return md5_of(entry.content) if entry is not None and entry.content is not None else ""
