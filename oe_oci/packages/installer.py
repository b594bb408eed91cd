# SPDX-License-Identifier: MIT
"""Layers of packages, one after the other: resolved, read, placed, and entered in the package database.

Must not know blobs, caches or OCI documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from ..accounts import Owners as AskedFor
from ..accounts import read_names
from ..content import Literal
from ..errors import InputError
from ..populate import Wanted
from ..tree import DIRECTORY, FILE, SYMLINK, Entry, Overlay, Tree
from ..tree import resolve as follow
from . import dpkg, opkg
from .alternatives import alternatives
from .database import KEEP, PER_PACKAGE, Added, Step, conffiles, identity, md5_of
from .owners import Owners, left_over
from .package import DEB, Installed
from .place import Below, Shipment, place
from .resolve import missing_names, resolve
from .world import Policy, World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config import Config, PackagesLayer
    from ..errors import Fault
    from .archive import Contents
    from .database import Database
    from .feed import Feeds
    from .package import Package
    from .place import Placement
    from .resolve import Resolution, Selected

Read = Callable[["Sequence[Package]"], "list[Contents]"]

# What dpkg and opkg would run when they install a package.
_SCRIPTS = ("preinst", "config", "postinst")


class InstalledPackage(NamedTuple):
    """A package of a layer, for plan and report.

    `size` is that of its file, `unpacked` that of the files in it, both in bytes. `asked_by` names the package that
    needs it, empty where the layer does; `replaces` is the version it upgrades, else empty. `scripts` are those of its
    scripts that did not run.
    """

    name: str
    version: str
    arch: str
    digest: str
    size: int
    unpacked: int
    asked_by: str
    replaces: str
    scripts: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {
            "name": self.name,
            "version": self.version,
            "architecture": self.arch,
            "digest": f"sha256:{self.digest}",
            "size": self.size,
            "unpackedSize": self.unpacked,
        }
        if self.asked_by:
            value["askedBy"] = self.asked_by
        if self.replaces:
            value["upgrades"] = self.replaces
        return {**value, "scriptsNotRun": list(self.scripts)} if self.scripts else value


class LayerPackages(NamedTuple):
    """The packages a layer brings, in the order of installation, and those it names that lie below it already."""

    new: tuple[InstalledPackage, ...]
    below: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"packages": [package.to_json() for package in self.new], "below": list(self.below)}


class Installation(NamedTuple):
    """What a layer of packages wants; `asked` are the owners that packages call by name."""

    wanted: Wanted
    asked: AskedFor
    packages: LayerPackages


class Installer:
    """Installs the packages of layer after layer; each is to be written before the next, as their bytes are let go.

    `read` reads packages' files, in the order given.
    """

    def __init__(self, config: Config, feeds: Feeds, base: Tree, read: Read) -> None:
        settings = config.packages
        self._config = config
        self._epoch = config.epoch or 0
        self._feeds = feeds
        self._read = read
        self._policy = Policy(
            feeds.kind,
            settings.native,
            settings.recommends,
            frozenset(settings.bad_recommendations),
            frozenset(settings.exclude),
        )
        self._database: Database = dpkg if feeds.kind == DEB else opkg
        self._diversions = dpkg.read_diversions(base) if feeds.kind == DEB else {}
        _check_format(base, feeds.kind)
        self._installed = list(self._database.read(base))
        self._owners = Owners(base, self._database, self._installed)
        self._added: list[Added] = []
        self._replaced: list[Installed] = []
        self._held: list[Contents] = []

    def missing(self, layer: PackagesLayer) -> list[Fault]:
        """What of a layer's names no package has."""
        return missing_names(self._world(), layer.name, layer.packages)

    def install(self, layer: PackagesLayer, tree: Tree) -> Installation:
        """The packages a layer names, and all they need, on top of `tree`.

        Raises:
            ConfigError: the packages can not be had together.
            InputError: a package is damaged, or its files clash with others.
            ToolError: a file can not be read or kept.
        """
        for contents in self._held:
            contents.payload.release()
        resolution = resolve(self._world(), layer.name, layer.packages)
        packages = [one.package for one in resolution.selected]
        self._held = self._read(packages)
        shipments = [
            Shipment(one.package, contents, one.replaces) for one, contents in zip(resolution.selected, self._held)
        ]
        placement = place(
            shipments, Below(tree, self._owners.owners, self._diversions), self._feeds.kind, self._config.epoch
        )
        replaced = [one.replaces for one in resolution.selected if one.replaces is not None]
        gone = left_over(tree, self._owners, replaced, placement)
        added = [_added(*one) for one in zip(resolution.selected, self._held, placement.shipped)]
        entries, asked = self._owned(tree, placement)
        self._advance(added, replaced, placement)
        wanted = Wanted(self._with_links(tree, entries), gone)
        if added and self._config.packages.database in (KEEP, PER_PACKAGE):
            step = Step(self._installed, added, replaced, self._architectures(), self._epoch)
            wanted = self._with_database(tree, wanted, step, self._config.packages.database)
        return Installation(wanted, asked, _facts(resolution, self._held))

    def database(self, tree: Tree) -> Wanted:
        """The database as it stands after all layers, for a layer of its own."""
        if not self._added:
            return Wanted({})
        step = Step(self._installed, self._added, self._replaced, self._architectures(), self._epoch)
        return self._with_database(tree, Wanted({}), step, KEEP)

    def _world(self) -> World:
        return World(self._feeds, self._installed, self._policy)

    def _advance(self, added: Sequence[Added], replaced: Sequence[Installed], placement: Placement) -> None:
        """Count a layer's packages among those installed."""
        ours = {id(one.package) for one in self._added}
        self._replaced += (one for one in replaced if id(one) not in ours)
        gone = {id(one) for one in replaced}
        new = {identity(one.package) for one in added}
        self._added = [one for one in self._added if id(one.package) not in gone] + list(added)
        self._installed = [one for one in self._installed if id(one) not in gone and identity(one) not in new]
        self._installed += (one.package for one in added)
        self._owners.advance(self._installed, [one.package for one in added], placement)

    def _architectures(self) -> list[str]:
        native = self._policy.native
        return [native, *sorted({one.arch for one in self._installed} - {native, "all", ""})]

    def _owned(self, tree: Tree, placement: Placement) -> tuple[dict[str, Entry], AskedFor]:
        """The entries with the owners that packages name, as far as the image or OCI_IMAGE_ACCOUNTS knows them."""
        declared = self._config.accounts
        names = read_names(Overlay(tree, placement.entries), declared)
        entries = dict(placement.entries)
        users, groups = set(), set()
        for path, (_, member, _) in placement.files.items():
            entry = entries[path]
            uid, gid = names.users.get(member.user, entry.uid), names.groups.get(member.group, entry.gid)
            users.add(member.user)
            groups.add(member.group)
            if (uid, gid) != (entry.uid, entry.gid):
                entries[path] = entry._replace(uid=uid, gid=gid)
        return entries, AskedFor(users, groups)

    def _with_links(self, tree: Tree, entries: dict[str, Entry]) -> dict[str, Entry]:
        """The entries with the links of alternatives that are new; no file of a package is hidden by one."""
        if self._feeds.kind == DEB:
            return entries
        upper = Overlay(tree, dict(entries))
        for link, target in alternatives(one for one in self._installed if one.whole):
            found = follow(upper, link)
            known = found.entry
            if known is None or (known.kind == SYMLINK and known.target != target):
                upper.put(found.path, Entry(SYMLINK, 0o777, mtime=self._epoch, target=target), self._epoch)
        return upper.entries

    def _with_database(self, tree: Tree, wanted: Wanted, step: Step, mode: str) -> Wanted:
        written = self._database.write(tree, step, mode)
        upper = Overlay(tree, dict(wanted.entries))
        for path in written.directories:
            upper.put(path, Entry(DIRECTORY, 0o755, mtime=self._epoch), self._epoch)
        for path, (data, file_mode) in written.files.items():
            entry = Entry(FILE, file_mode, mtime=self._epoch, size=len(data), content=Literal(data))
            upper.put(path, entry, self._epoch)
        return Wanted(upper.entries, (*wanted.removed, *written.removed))


def _check_format(base: Tree, kind: str) -> None:
    other = opkg if kind == DEB else dpkg
    number = sum(one.whole for one in other.read(base))
    if number:
        name = "opkg" if kind == DEB else "dpkg"
        raise InputError(
            f"the base image has {number} packages in the database of {name}, and the feeds hold {kind} packages",
            hint="neither knows the other's files; take feeds of the base's format, or a base of the feeds'",
        )


def _added(selected: Selected, contents: Contents, paths: Sequence[str]) -> Added:
    files = {member.path: member.entry.content for member in contents.members}

    def md5(path: str) -> str | None:
        content = files.get(path)
        return None if content is None else md5_of(content)

    package = selected.package
    listed = conffiles(contents.conffiles, md5)
    before = selected.replaces.conffiles if selected.replaces else ()
    # As dpkg, which leaves a configuration file that the new version lacks to its user.
    obsolete = [(path, f"{known.split()[0]} obsolete") for path, known in before if path not in dict(listed)]
    installed = Installed(
        package.name,
        package.version,
        package.arch,
        contents.fields,
        conffiles=(*listed, *obsolete),
        requested=not selected.asked_by,
    )
    return Added(installed, contents.control, paths, md5)


def _facts(resolution: Resolution, held: Sequence[Contents]) -> LayerPackages:
    new = tuple(
        InstalledPackage(
            *one.package[:3],
            contents.digest,
            contents.size,
            sum(member.entry.size for member in contents.members if member.hardlink is None),
            one.asked_by,
            one.replaces.version if one.replaces else "",
            tuple(name for name in _SCRIPTS if name in contents.control),
        )
        for one, contents in zip(resolution.selected, held)
    )
    return LayerPackages(new, tuple(one.shown for one in resolution.below))
