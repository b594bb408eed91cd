# SPDX-License-Identifier: MIT
"""Layers of packages, one after the other: resolved, read, placed, and entered in the package database.

Must not know blobs, caches or OCI documents.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from ..accounts import Owners as AskedFor
from ..accounts import read_names
from ..delta import Delta, apply
from ..errors import InputError
from ..populate import Wanted
from ..tree import DIRECTORY, SYMLINK, Entry, Overlay, Tree, ancestors, shown
from ..tree import resolve as follow
from . import dpkg, opkg
from .alternatives import alternatives
from .database import KEEP, PER_PACKAGE, Added, Step, conffiles, identity, md5_of
from .foreign import DATABASES, check_format
from .installation import TOP, Installation, is_same_directory, plain_parents, reowned, tell, with_database
from .maintainer.job import Job, Skip
from .owners import Owners, left_over, outgoing
from .package import DEB, IPK, Installed
from .place import Below, Shipment, place
from .resolve import missing_names, resolve
from .world import World, policy_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from ..accounts import Names
    from ..config import Config, PackagesLayer
    from ..errors import Fault
    from ..tree import Lookup
    from .alternatives import Alternative
    from .contents import Contents, Reading
    from .database import Database
    from .feed import Feeds
    from .maintainer.job import Maintainer
    from .place import Placement
    from .resolve import Selected

# What dpkg and opkg would run when they install a package.
_SCRIPTS = ("preinst", "config", "postinst")
_LEAVING = ("prerm", "postrm")

_OWN = 100  # the least number of a user or group that is not the same on each system, as Debian's policy has it


class Installer:
    """Installs the packages of layer after layer; each is to be written before the next, as their bytes are let go.

    `maintainer` does what is to become of their scripts; without one none runs.
    """

    def __init__(
        self,
        config: Config,
        feeds: Feeds,
        base: Tree,
        reading: Reading,
        maintainer: Maintainer | None = None,
    ) -> None:
        self._config = config
        self._maintainer = maintainer or Skip()
        self._epoch = config.epoch or 0
        self._feeds = feeds
        self._reading = reading
        self._policy = policy_of(config.packages, feeds.kind)
        self._database: Database = dpkg if feeds.kind == DEB else opkg
        self._diversions = dpkg.read_diversions(base) if feeds.kind == DEB else {}
        check_format(base, feeds.kind, "the base image")
        self._installed = list(self._database.read(base))
        self._owners = Owners(base, self._database, self._installed, self._diverted)
        self._added: list[Added] = []  # of all layers, where the database comes after them
        self._replaced: list[Installed] = []
        self._held: list[Contents] = []
        self._leaving: dict[tuple[str, str, str], dict[str, bytes]] = {}  # scripts for when packages of layers go

    def missing(self, layer: PackagesLayer) -> list[Fault]:
        """What of a layer's names no package has."""
        return missing_names(self._world(), layer.name, layer.packages)

    def notice(self, tree: Tree, changed: Iterable[str]) -> None:
        """Take note of a layer of another kind that changed paths of the tree: it may have brought packages too.

        Raises:
            InputError: it has a database of the other format, or a damaged one.
        """
        changed, tree = list(changed), Tree(tree.entries)
        check_format(tree, self._feeds.kind, "a layer below", changed)
        if not any(path.startswith(DATABASES[self._feeds.kind]) for path in changed):
            return
        if self._feeds.kind == DEB:
            self._diversions = dpkg.read_diversions(tree)
        known = {(*identity(one), one.version): one for one in self._installed}
        found = {identity(one): known.get((*identity(one), one.version), one) for one in self._database.read(tree)}
        new = [one for one in found.values() if known.get((*identity(one), one.version)) is not one]
        self._installed = [*found.values(), *(one for one in self._installed if identity(one) not in found)]
        self._owners.learn(tree, new, self._installed)

    def install(self, layer: PackagesLayer, tree: Tree) -> Installation:
        """The packages a layer names, and all they need, on top of `tree`.

        Raises:
            ConfigError: the packages can not be had together.
            InputError: a package is damaged, or its files clash with others.
            ToolError: a file can not be read or kept.
        """
        for contents in self._held:
            contents.payload.release()
        world = self._world()
        resolution = resolve(world, layer.name, layer.packages)
        self._held = self._reading.packages([one.package for one in resolution.selected])
        shipments = [
            Shipment(one.package, contents, one.replaces) for one, contents in zip(resolution.selected, self._held)
        ]
        there = tuple(self._installed)
        job = Job(layer.name, self._feeds.kind, resolution.selected, self._held, world, there, self._leaving)
        below = self._before(job, tree)
        going = outgoing(below, self._owners, shipments)
        placement = place(shipments, self._below(below, shipments, going), self._feeds.kind, self._config.epoch)
        before = dict(self._alternatives())
        added = self._advance(below, resolution.selected, placement)
        names = read_names(Overlay(below, placement.entries), self._config.accounts)
        entries, asked = _named(below, placement, names)
        if self._maintainer.waits() and _has_unknown(placement, names):
            job = job._replace(owned=lambda after: self._owned(below, placement, entries, after))
        wanted = self._with_links(below, Wanted(entries, left_over(below, going, placement)), before)
        replaced = [one.replaces for one in shipments if one.replaces is not None]
        if added and self._config.packages.database in (KEEP, PER_PACKAGE):
            wanted = self._with_database(below, wanted, added, replaced)
        if added and self._config.packages.database != KEEP:
            step = self._step(added, replaced)
            job = job._replace(written=lambda lower: self._database.write(lower, step, KEEP))
        wanted = self._maintainer.after(job, tree, below, wanted)
        if self._config.packages.database != KEEP:
            wanted = Wanted({**plain_parents(tree, wanted, self._epoch), **wanted.entries}, wanted.removed)
        scripts = [
            self._maintainer.left([name for name in _SCRIPTS if name in contents.control]) for contents in self._held
        ]
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
        if not self._added:
            return Wanted({})
        there = set(map(id, self._installed))
        added = [
            one._replace(paths=tuple(self._owners.paths(one.package)))
            for one in self._added
            if id(one.package) in there
        ]
        return self._with_database(tree, Wanted(dict(self._maintainer.withheld(tree))), added, self._replaced)

    def _before(self, job: Job, tree: Tree) -> Tree:
        """What lies below once the scripts ran that run before files are placed; any may have diverted files."""
        below = self._maintainer.before(job, tree)
        if self._feeds.kind == DEB:
            former = self._diversions
            self._diversions = dpkg.read_diversions(Overlay(below, dict(self._maintainer.withheld(below))))
            changed = {path for path, _ in former.items() ^ self._diversions.items()}
            if changed:
                self._owners.move(below, changed)
        return below

    def _below(self, tree: Tree, shipments: Sequence[Shipment], going: Collection[str]) -> Below:
        replaced = {id(one.replaces) for one in shipments}
        files = {path for path in going if path in tree and tree.entries[path].kind != DIRECTORY}

        def owners(path: str) -> list[Installed]:
            return [one for one in self._owners.owners(path) if id(one) not in replaced]

        @cache
        def occupied() -> set[str]:
            return {up for path in tree.entries if path not in going for up in ancestors(path)}

        conffiles: dict[str, set[str]] = {}
        for package in self._installed:
            for path, known in package.conffiles:
                conffiles.setdefault(path, set()).add(known.partition(" ")[0])
        return Below(Overlay(tree, {}, files), owners, occupied, conffiles, self._diverted)

    def _diverted(self, path: str, name: str) -> str:
        """Where the file of a path lies that a package ships."""
        target, owner = self._diversions.get(path, (path, ""))
        return path if owner == name else target

    def _world(self) -> World:
        return World(self._feeds, self._installed, self._policy)

    def _advance(self, tree: Tree, selected: Sequence[Selected], placement: Placement) -> list[Added]:
        """Count a layer's packages among those installed."""
        known = {identity(one): one for one in self._installed if not one.whole}
        added, new = [], []
        for one, contents, owned in zip(selected, self._held, placement.owned):
            # Of a package that was removed its configuration is still known.
            former = one.replaces or known.get((one.package.name, one.package.arch))
            obsolete = self._obsolete(tree, former, contents, placement) if former else {}
            added.append(_added(one, contents, [*owned, *obsolete], former))
            new.append((added[-1].package, {**owned, **obsolete}))
            self._leaving[one.package[:3]] = {
                name: contents.control[name] for name in _LEAVING if name in contents.control
            }
        gone = {id(one.replaces) for one in selected}
        identities = {identity(one.package) for one in added}
        self._installed = [one for one in self._installed if id(one) not in gone and identity(one) not in identities]
        self._installed += (one.package for one in added)
        self._owners.advance(self._installed, new, placement.taken)
        if self._config.packages.database == TOP:
            ours = {id(one.package) for one in self._added}
            self._replaced += (one.replaces for one in selected if one.replaces and id(one.replaces) not in ours)
            self._added = [one for one in self._added if id(one.package) not in gone] + list(map(_without_bytes, added))
        return added

    def _obsolete(self, tree: Tree, former: Installed, contents: Contents, placement: Placement) -> dict[str, str]:
        """The configuration files that a package's new version lacks, which stay its own as with dpkg."""
        shipped = {member.path for member in contents.members}
        paths = self._owners.paths(former)
        places = {path: paths[path] for path, _ in former.conffiles if path in paths and path not in shipped}
        return {path: place for path, place in places.items() if place in tree and place not in placement.files}

    def _architectures(self) -> list[str]:
        native = self._policy.native
        return [native, *sorted({one.arch for one in self._installed} - {native, "all", ""})]

    def _owned(
        self, tree: Tree, placement: Placement, entries: Mapping[str, Entry], after: Tree
    ) -> Mapping[str, Entry]:
        """What has other owners after scripts made accounts; `entries` are a layer's as they were before."""
        names = read_names(after, self._config.accounts)
        return reowned(after, entries, _named(tree, placement, names)[0])

    def _alternatives(self) -> list[Alternative]:
        return alternatives(one for one in self._installed if one.whole) if self._feeds.kind == IPK else []

    def _with_links(self, tree: Tree, wanted: Wanted, before: Mapping[str, str]) -> Wanted:
        """The links of alternatives as they are now; no file of a package is hidden by one.

        `before` are the links that alternatives of the packages below had, with what they lead to.
        """
        upper = Overlay(tree, dict(wanted.entries), wanted.removed)
        now = dict(self._alternatives())
        for link, target in now.items():
            found = follow(upper, link)
            known = found.entry
            if before.get(link) != target and (known is None or known.kind == SYMLINK):
                _check_way(upper, link, found.path)
                upper.put(found.path, Entry(SYMLINK, 0o777, mtime=self._epoch, target=target), self._epoch)
        lost = {follow(upper, link).path: target for link, target in before.items() if link not in now}
        for path, target in lost.items():
            if path in tree and path not in upper.entries and tree.entries[path].target == target:
                upper.removed.add(path)
        return Wanted(upper.entries, tuple(upper.removed))

    def _with_database(
        self, tree: Tree, wanted: Wanted, added: Sequence[Added], replaced: Sequence[Installed]
    ) -> Wanted:
        """What a layer wants, with the database as it is after it; packages may ship directories and links of it."""
        whole = Tree(tree.entries)
        apply(whole, Delta(wanted.entries, wanted.removed, 0))
        mode = PER_PACKAGE if self._config.packages.database == PER_PACKAGE else KEEP
        step = self._step(added, replaced)
        return with_database(tree, wanted, self._database.write(whole, step, mode), self._epoch)

    def _step(self, added: Sequence[Added], replaced: Sequence[Installed]) -> Step:
        return Step(tuple(self._installed), added, replaced, self._architectures(), self._epoch)


def _named(tree: Tree, placement: Placement, names: Names) -> tuple[dict[str, Entry], AskedFor]:
    """The entries with the owners that packages name, as far as these names are known."""
    entries = dict(placement.entries)
    users, groups = set(), set()
    for path, (_, member, _) in placement.files.items():
        entry = entries[path]
        uid, gid = names.users.get(member.user, entry.uid), names.groups.get(member.group, entry.gid)
        users.add(member.user)
        groups.add(member.group)
        if (uid, gid) != (entry.uid, entry.gid):
            entries[path] = entry = entry._replace(uid=uid, gid=gid)
        below = tree.entry(path) if entry.kind == DIRECTORY else None
        if below is not None and below.kind == DIRECTORY and not is_same_directory(below, entry):
            del entries[path]  # a directory that is there keeps its facts
    return entries, AskedFor(users, groups)


def _has_unknown(placement: Placement, names: Names) -> bool:
    """Whether some file has an owner by a name that is not known, whose number each system chooses for itself."""
    return any(
        (member.user not in names.users and bool(member.user) and entry.uid >= _OWN)
        or (member.group not in names.groups and bool(member.group) and entry.gid >= _OWN)
        for entry, member, _ in placement.files.values()
    )


def _added(selected: Selected, contents: Contents, paths: Sequence[str], former: Installed | None) -> Added:
    files = {member.path: member.entry.content for member in contents.members}

    def md5(path: str) -> str | None:
        content = files.get(path)
        return None if content is None else md5_of(content)

    package, owned = selected.package, set(paths)
    listed = conffiles((path for path in contents.conffiles if path in owned), md5)
    # As dpkg, which leaves a configuration file that the new version lacks to its user.
    before = former.conffiles if former else ()
    obsolete = [(path, f"{known.split()[0]} obsolete") for path, known in before if path in owned and path not in files]
    installed = Installed(
        package.name,
        package.version,
        package.arch,
        contents.fields,
        conffiles=(*listed, *obsolete),
        requested=not selected.asked_by or (selected.replaces is not None and selected.replaces.requested),
    )
    return Added(installed, contents.control, paths, md5)


def _without_bytes(added: Added) -> Added:
    """What is known of a package once its bytes are let go."""
    sums = {} if "md5sums" in added.control else {path: added.md5(path) for path in added.paths}
    return added._replace(md5=sums.get)


def _check_way(tree: Lookup, link: str, place: str) -> None:
    for up in ancestors(place):
        entry = tree.entry(up)
        if entry is not None and entry.kind != DIRECTORY:
            raise InputError(f"{shown(link)}: is an alternative, but {shown(up)} is a {entry.kind}")
