# SPDX-License-Identifier: MIT
"""Layers of rpm packages, one after the other: resolved, read, placed, and entered in rpm's database.

Must not know blobs, caches or OCI documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...accounts import Owners as AskedFor
from ...accounts import read_names
from ...delta import Delta, apply
from ...errors import ConfigError, Fault, InputError
from ...populate import Wanted
from ...tree import SYMLINK, Overlay, Tree, shown
from ..database import KEEP, PER_PACKAGE, Step
from ..foreign import DATABASES, check_format
from ..installation import Installation, plain_parents, reowned, tell, with_database
from ..maintainer.job import Job, Skip
from ..owners import Owners, left_over
from ..package import RPM
from ..place import Shipment
from ..world import policy_of
from . import database
from .archive import scripts_of
from .disposition import kind_of
from .entered import entered, with_hidden
from .facts import Facts
from .features import check_features
from .files import files_of
from .header import Header
from .place import Below, Erased, place
from .resolve import missing_names, resolve
from .world import World

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ...accounts import Names
    from ...config import Config, PackagesLayer
    from ...tree import Entry, Source
    from ..contents import Contents, Reading
    from ..database import Written
    from ..maintainer.job import Maintainer
    from ..package import Installed
    from ..place import Placement
    from ..resolve import Selected
    from .database import Make
    from .feed import Feeds
    from .files import File

_ROOT = "root"
_MAKING = ("prein",)  # the scripts that add accounts


class RpmInstaller:
    """Installs the packages of layer after layer; an `Installer` of rpm packages.

    `make` makes databases, as of `database.write`. `maintainer` does what is to become of scripts; without one none
    runs.
    """

    def __init__(
        self,
        config: Config,
        feeds: Feeds,
        base: Tree,
        reading: Reading,
        make: Make | None = None,
        maintainer: Maintainer | None = None,
    ) -> None:
        self._maintainer = maintainer or Skip()
        settings = config.packages
        if settings.database == PER_PACKAGE:
            message = "'status.d' has a file for each package, and rpm has one database of all"
            raise ConfigError([Fault("OCI_PACKAGE_DATABASE", message, "write 'keep', 'top' or 'remove'")])
        self._config = config
        self._epoch = config.epoch or 0
        self._feeds = feeds
        self._reading = reading
        self._make = make
        self._policy = policy_of(config.packages, RPM)
        check_format(base, RPM, "the base image")
        self._installed = list(database.read(base))
        self._owners = Owners(base, database, self._installed, lambda path, _name: path)
        self._facts = Facts()
        self._changed = False  # whether any layer brought packages
        self._held: list[Contents] = []
        self._known: World | None = None  # as long as what is installed stays the same

    def missing(self, layer: PackagesLayer) -> list[Fault]:
        """What of a layer's names no package has."""
        return missing_names(self._world(), layer.name, layer.packages)

    def notice(self, tree: Tree, changed: Iterable[str]) -> None:
        """Take note of a layer of another kind that changed paths of the tree: it may have brought packages too.

        Raises:
            InputError: it has a database of another format, or a damaged one.
        """
        changed, tree = list(changed), Tree(tree.entries)
        check_format(tree, RPM, "a layer below", changed)
        if not any(path.startswith(DATABASES[RPM]) for path in changed):
            return
        known = {_identity(one): one for one in self._installed}
        found = [known.get(_identity(one), one) for one in database.read(tree)]
        new = [one for one in found if known.get(_identity(one)) is not one]
        names = {one.name for one in found}
        # Where layers bring no database, it does not tell of what they installed.
        kept = self._config.packages.database == KEEP
        ours = [] if kept else [one for one in self._installed if one.name not in names]
        self._installed, self._known = [*found, *ours], None
        self._owners.learn(tree, new, self._installed)

    def install(self, layer: PackagesLayer, tree: Tree) -> Installation:
        """The packages a layer names, and all they need, on top of `tree`.

        Raises:
            ConfigError: the packages can not be had together, or the image lacks an owner of their files.
            InputError: a package is damaged, or its files clash with others.
            ToolError: a file can not be read or kept.
        """
        for contents in self._held:
            contents.payload.release()
        resolution = resolve(self._world(), layer.name, layer.packages)
        selected = resolution.selected
        self._held = self._reading.packages([one.package for one in selected])
        shipments = [Shipment(one.package, contents, None) for one, contents in zip(selected, self._held)]
        headers = [_header(one.package.path, contents, "header") for one, contents in zip(selected, self._held)]
        for header in headers:
            check_features(header)
        files = [{file.path: file for file in files_of(header)} for header in headers]
        self._check_database(tree, shipments, files)
        job = Job(layer.name, RPM, selected, self._held, self._world(), tuple(self._installed))
        below = self._maintainer.before(job, tree)
        erased = [old for one in selected for old in (one.replaces, *one.obsoletes) if old is not None]
        placement, going = place(
            shipments, files, self._below(below, erased), self._config.epoch, self._config.packages.prefer_color
        )
        names = read_names(Overlay(below, placement.entries), self._config.accounts)
        entries, asked = _named(placement, names)
        unknown = self._unknown_owners(layer.name, shipments, placement, names)
        if unknown and not self._maintainer.waits():
            raise ConfigError(unknown)
        if unknown:
            job = job._replace(owned=lambda after: self._owned(layer.name, shipments, placement, entries, after))
        wanted = Wanted(entries, left_over(below, going, placement))
        self._advance(selected, headers, files, erased, placement)
        if selected and self._config.packages.database == KEEP:
            whole = Tree(below.entries)
            apply(whole, Delta(wanted.entries, wanted.removed, 0))
            wanted = self._with_database(whole, below, wanted)
        elif selected:
            job = job._replace(written=self._written)
        wanted = self._maintainer.after(job, tree, below, wanted)
        if self._config.packages.database != KEEP:
            wanted = Wanted({**plain_parents(tree, wanted, self._epoch), **wanted.entries}, wanted.removed)
        scripts = [self._maintainer.left(scripts_of(header)) for header in headers]
        return Installation(wanted, asked, tell(resolution, self._held, scripts))

    def names(self) -> frozenset[str]:
        """The names of all packages that are installed so far, in the base image too."""
        return frozenset(one.name for one in self._installed if one.whole)

    def hold(self) -> None:
        """Have the payloads of the layer installed last at hand; to be called before that is written.

        Raises:
            InputError: a package changed after it was read first.
            ToolError: one can not be read, or the disk is full.
        """
        self._reading.hold(self._held)

    def keep(self, delta: Delta, shape: str, key: str) -> None:
        """Have later builds know what scripts did; what packages hold they know by the packages themselves."""
        self._maintainer.keep(delta, shape, key)

    def database(self, tree: Tree) -> Wanted:
        """The database as it stands after all layers, for a layer of its own."""
        if not self._changed:
            return Wanted({})
        kept = dict(self._maintainer.withheld(tree))
        return self._with_database(Tree({**tree.entries, **kept}), tree, Wanted(kept))

    def _world(self) -> World:
        if self._known is None:
            self._known = World(self._feeds, self._installed, self._policy)
        return self._known

    def _below(self, tree: Tree, erased: Sequence[Installed]) -> Below:
        behind: dict[int, dict[str, str]] = {}  # of packages with files behind links the places, with their paths

        def owners(path: str) -> Iterator[tuple[Installed, File]]:
            for one in self._owners.owners(path):
                file = self._facts.file(one, path)
                if file is None:
                    if id(one) not in behind:
                        paths = self._owners.paths(one)
                        behind[id(one)] = {place: each for each, place in reversed(paths.items())}
                    file = self._facts.file(one, behind[id(one)].get(path, path))
                if file is not None:
                    yield one, file

        gone = [Erased(one, self._facts.of(one), self._owners.paths(one)) for one in erased]
        return Below(tree, owners, gone)

    def _check_database(self, tree: Tree, shipments: Sequence[Shipment], files: Sequence[Mapping[str, File]]) -> None:
        """See that no package moves the folder of the database that lies below.

        Raises:
            InputError: one has a link there.
        """
        links = (
            (shipment.package, listed[root])
            for shipment, listed in zip(shipments, files)
            for root in database.ROOTS
            if root in listed and kind_of(listed[root]) == SYMLINK
        )
        for package, link in links:
            if database.is_in(tree, link.path):
                raise InputError(
                    f"{package.shown}: {shown(link.path)} is a link to {link.target!r}, and what lies below has its"
                    " package database there",
                    hint=f"have {package.name} in the first layer of packages: the database then lies behind the link",
                )

    def _owned(
        self, layer: str, shipments: Sequence[Shipment], placement: Placement, entries: Mapping[str, Entry], after: Tree
    ) -> Mapping[str, Entry]:
        """What has other owners after scripts made accounts; `entries` are a layer's as they were before.

        Raises:
            ConfigError: there is still an owner that the image does not know.
        """
        names = read_names(after, self._config.accounts)
        unknown = self._unknown_owners(layer, shipments, placement, names)
        if unknown:
            raise ConfigError(unknown)
        return reowned(after, entries, _named(placement, names)[0])

    def _unknown_owners(
        self, layer: str, shipments: Sequence[Shipment], placement: Placement, names: Names
    ) -> list[Fault]:
        """The owners that packages name which neither the image nor OCI_IMAGE_ACCOUNTS knows."""
        faults: dict[tuple[str, str], Fault] = {}
        for _, member, number in placement.files.values():
            for what, name, known in (("user", member.user, names.users), ("group", member.group, names.groups)):
                if name != _ROOT and name not in known and (what, name) not in faults:
                    package = shipments[number].package.shown
                    faults[what, name] = _unknown_owner(
                        f"layer '{layer}': {package}: {shown(member.path)}",
                        what,
                        name,
                        runs=not self._maintainer.left(_MAKING),
                    )
        return list(faults.values())

    def _advance(
        self,
        selected: Sequence[Selected],
        headers: Sequence[Header],
        files: Sequence[Mapping[str, File]],
        erased: Sequence[Installed],
        placement: Placement,
    ) -> None:
        """Count a layer's packages among those installed."""
        gone = set(map(id, erased))
        new: list[tuple[Installed, Mapping[str, str]]] = []
        for one, header, listed, contents, owned in zip(selected, headers, files, self._held, placement.owned):
            signature = _header(one.package.path, contents, "signature")
            hidden = {number for number, path in enumerate(listed) if path not in owned}
            package = database.installed(entered(header, signature, self._epoch, hidden), requested=not one.asked_by)
            self._facts.learn(package, listed)
            new.append((package, owned))
        changed = self._changed_below(placement)
        there = [one for one in self._installed if id(one) not in gone]
        self._installed = [changed[id(one)][0] if id(one) in changed else one for one in there]
        self._installed += (package for package, _ in new)
        self._known = None
        self._owners.advance(self._installed, [*changed.values(), *new], ())
        self._changed = self._changed or bool(new)

    def _changed_below(self, placement: Placement) -> dict[int, tuple[Installed, Mapping[str, str]]]:
        """The packages below some of whose files are hidden now, with that in their headers.

        They go by the ids in memory of those they stand for; with each are the places of what it still has.
        """
        found: dict[int, tuple[Installed, Mapping[str, str]]] = {}
        taken = {id(package): package for package, _ in placement.taken}
        for number, package in taken.items():
            assert package.header is not None
            places = {place for one, place in placement.taken if one is package}
            paths = self._owners.paths(package)
            listed = enumerate(files_of(package.header))
            header = with_hidden(package.header, [at for at, file in listed if paths.get(file.path) in places])
            kept = {path: place for path, place in paths.items() if place not in places}
            found[number] = package._replace(header=header), kept
        return found

    def _with_database(self, whole: Tree, tree: Tree, wanted: Wanted) -> Wanted:
        """What a layer wants, with the database as it is after it; `whole` is the tree with what is wanted."""
        return with_database(tree, wanted, self._written(whole), self._epoch)

    def _written(self, lower: Source) -> Written:
        """The database as it is now, on top of a tree."""
        step = Step(self._installed, (), (), (), self._epoch)
        return database.write(lower, step, KEEP, self._make)


def _named(placement: Placement, names: Names) -> tuple[dict[str, Entry], AskedFor]:
    """The entries with the owners that packages name, and root's where these names are not known."""
    users, groups = {**names.users, _ROOT: 0}, {**names.groups, _ROOT: 0}
    entries = dict(placement.entries)
    for path, (_, member, _) in placement.files.items():
        entries[path] = entries[path]._replace(uid=users.get(member.user, 0), gid=groups.get(member.group, 0))
    members = [member for _, member, _ in placement.files.values()]
    return entries, AskedFor({member.user for member in members}, {member.group for member in members})


def _unknown_owner(file: str, what: str, name: str, *, runs: bool) -> Fault:
    hint = f"declare it: {what}:{name}:NUMBER"
    if not runs:
        hint = f"{hint}; what a package's scripts would create is not there, as they do not run"
    return Fault("OCI_IMAGE_ACCOUNTS", f"{file} is of the {what} '{name}', which the image does not have", hint)


def _header(path: str, contents: Contents, which: str) -> Header:
    return Header(contents.control[which], path)


def _identity(package: Installed) -> tuple[str, str, str]:
    return package.name, package.version, package.arch
