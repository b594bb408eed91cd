# SPDX-License-Identifier: MIT
"""Layers of packages, one after the other, installed by a real package manager into a directory that grows.

After each installation the packages that are there are held against those the tool said it would install. To the plan
it is the same as the built-in installer. Must not know blobs, caches or OCI documents, nor how a tool is called.
"""

from __future__ import annotations

import errno
import logging
import os
import shlex
from typing import TYPE_CHECKING, Callable, NamedTuple

from ...accounts import Owners as AskedFor
from ...delta import Delta, apply
from ...errors import ConfigError, Fault, InputError, ToolError
from ...populate import Wanted
from ...tree import DIRECTORY, Tree, ancestors, shown
from ..database import KEEP, identity
from ..installation import Installation, InstalledPackage, LayerPackages, plain_parents
from .links import check_inside, led_inside
from .manager import Refused, Request
from .naming import name_owners
from .readback import read_back
from .recall import Recalled
from .root import DENIED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ...config import Config, PackagesLayer
    from ...tree import Entry
    from ..contents import Contents
    from ..package import Installed, Package
    from .catalog import Asked, Catalog
    from .manager import Manager, Outcome, Planned
    from .recall import Recall
    from .root import WorkRoot
    from .scripts import Scripts

LOG = logging.getLogger("oe_oci")

Read = Callable[["Sequence[Package]"], "list[Contents]"]

_BATCH = 8  # packages whose payloads are held while they are checked


class Workshop(NamedTuple):
    """A package manager with what it may choose from, and the directory that it installs into.

    `scripts` is what scripts find that run outside of it. `recall` knows what was installed in earlier builds, None
    where nothing is kept.
    """

    catalog: Catalog
    manager: Manager
    scripts: Scripts
    root: WorkRoot
    recall: Recall | None


class NativeInstaller:
    """Installs the packages of layer after layer with the package manager of a workshop.

    `read` tells what packages' files hold, and sees that they are not damaged.
    """

    def __init__(self, config: Config, base: Tree, workshop: Workshop, read: Read) -> None:
        self._config = config
        self._epoch = config.epoch or 0
        self._catalog, self._manager, self._scripts, self._root, self._recall = workshop
        self._read = read
        self._installed = list(self._manager.installed(base))
        # The database where the image does not have it, or not yet: what the root has otherwise than the tree.
        self._withheld: dict[str, Entry] = {}
        self._lost: set[str] = set()

    def missing(self, layer: PackagesLayer) -> list[Fault]:
        """What of a layer's names no package has."""
        return self._catalog.missing(layer, self._installed)

    def notice(self, tree: Tree, changed: Iterable[str]) -> None:
        """Take note of a layer of another kind that changed paths of the tree: it may have brought packages too.

        Raises:
            InputError: it has a damaged database.
        """
        brought = [path for path in changed if self._is_database(path) and tree.entries[path].kind != DIRECTORY]
        for path in brought:
            self._withheld.pop(path, None)
            self._lost.discard(path)
        if brought:
            found = {identity(one): one for one in self._manager.installed(Tree(tree.entries))}
            self._installed = [*found.values(), *(one for one in self._installed if identity(one) not in found)]

    def install(self, layer: PackagesLayer, tree: Tree) -> Installation:
        """The packages a layer names, and all they need, on top of `tree`.

        Raises:
            ConfigError: the packages can not be had together.
            InputError: a package is damaged.
            ToolError: the package manager failed; the message has its own last lines.
        """
        asked = self._catalog.ask(layer, self._installed)
        if not asked.names:
            return Installation(Wanted({}), AskedFor(), LayerPackages((), asked.below, self._manager.tool))
        request = Request(layer.name, asked.names, tuple(self._installed), self._epoch)
        whole = self._whole(tree)
        if self._recall is None:
            return self._install(layer, tree, asked, request, whole)
        apart = {*self._withheld, *self._lost}
        key = self._recall.key(self._manager.tool, request, self._catalog, whole, apart)
        recalled = self._recall.find(key, whole)
        if recalled is None:
            installation = self._install(layer, tree, asked, request, whole)
            recalled = Recalled(installation, self._withheld, frozenset(self._lost))
            self._recall.note(key, whole, recalled, self._is_database)
            return installation
        self._withheld, self._lost = dict(recalled.withheld), set(recalled.lost)
        installation = recalled.installation
        self._installed = list(self._manager.installed(self._whole(_with(tree, installation.wanted))))
        return installation._replace(packages=installation.packages._replace(below=asked.below))

    def _install(self, layer: PackagesLayer, tree: Tree, asked: Asked, request: Request, whole: Tree) -> Installation:
        inside = {} if self._manager.changes_root else led_inside(whole)
        self._root.sync({**self._manager.prepare(whole, request), **inside})
        self._scripts.prepare()
        self._root.begin()
        planned = self._planned(layer, request)
        packages = [self._package(layer, one) for one in planned]
        held = self._contents(packages)
        if not self._manager.changes_root:
            check_inside(Tree({**whole.entries, **inside}), held, self._manager.databases)
        outcome = self._manager.install(request, held)
        self._check_mounts(request)
        self._check_installed(request, planned, outcome)
        self._intercept(request)
        found = read_back(self._root, whole, held, self._manager.volatile)
        entries = dict(self._manager.finish(found, whole, request, held))
        entries.update({path: whole.entries[path] for path, link in inside.items() if entries.get(path) == link})
        asked_for = name_owners(entries, whole, held, self._config.accounts)
        wanted = self._wanted(tree, entries, held)
        return Installation(wanted, asked_for, self._facts(layer, request, asked, packages, held))

    def names(self) -> frozenset[str]:
        """The names of all packages that are installed so far, in the base image too."""
        return frozenset(one.name for one in self._installed if one.whole)

    def hold(self) -> None:
        """All files of the layer installed last are at hand."""

    def keep(self, delta: Delta, shape: str, key: str) -> None:
        """Have what the layer installed last became known to later builds: a layer of the cache."""
        if self._recall is not None:
            self._recall.keep(delta, shape, key)

    def database(self, tree: Tree) -> Wanted:
        """The database as it stands after all layers, for a layer of its own.

        Raises:
            InputError: a layer has something else in its place.
        """
        self._check_room(tree)
        return Wanted(self._withheld, tuple(sorted(path for path in self._lost if path in tree)))

    # ---- before

    def _whole(self, tree: Tree) -> Tree:
        """The tree with the database that goes with it.

        Raises:
            InputError: a layer has something else in its place.
        """
        if not self._withheld and not self._lost:
            return Tree(tree.entries)
        self._check_room(tree)
        kept = {path: entry for path, entry in tree.entries.items() if path not in self._lost}
        return Tree({**kept, **self._withheld})

    def _check_room(self, tree: Tree) -> None:
        """See that no layer has something in the place of the database that is withheld."""
        for path, entry in self._withheld.items():
            for up in (path, *ancestors(path)):
                there, is_folder = tree.entry(up), up != path or entry.kind == DIRECTORY
                if there is not None and (there.kind == DIRECTORY) != is_folder:
                    kind = DIRECTORY if is_folder else "file"
                    raise InputError(
                        f"{shown(up)} is a {there.kind} of a layer, and the database of packages has a {kind} there",
                        hint='put it elsewhere, or set OCI_PACKAGE_DATABASE = "keep"',
                    )

    def _planned(self, layer: PackagesLayer, request: Request) -> Sequence[Planned]:
        try:
            return self._manager.resolve(request)
        except Refused as refused:
            fault = self._catalog.explain(layer, self._installed)
            names = ", ".join(request.names)
            message = f"layer '{layer.name}': {self._manager.tool['name']} finds no way to install {names}"
            fault = fault or Fault("OCI_LAYERS", message)
            hint = "\n  ".join(filter(None, (fault.hint, *self._said(refused.said))))
            raise ConfigError([fault._replace(hint=hint)]) from refused

    def _said(self, lines: Sequence[str]) -> list[str]:
        return [f"{self._manager.tool['name']} says:", *(f"  {line}" for line in lines)] if lines else []

    def _package(self, layer: PackagesLayer, planned: Planned) -> Package:
        package = self._catalog.package(planned)
        if package is None:
            name, version, arch = planned[:3]
            raise ToolError(
                f"layer '{layer.name}': {self._manager.tool['name']} means to install {name} {version} for {arch},"
                " which no feed has"
            )
        return package

    def _contents(self, packages: Sequence[Package]) -> list[Contents]:
        """What packages hold; their bytes are let go, as the tool reads them itself."""
        held: list[Contents] = []
        for at in range(0, len(packages), _BATCH):
            batch = self._read(packages[at : at + _BATCH])
            for contents in batch:
                contents.payload.release()
            held += batch
        return held

    # ---- after

    def _check_mounts(self, request: Request) -> None:
        """See that no script mounted anything in the root: it is no part of the image, and can be all of this machine.

        Raises:
            ToolError: one did.
        """
        mounted = self._root.mounted
        if mounted:
            message = (
                f"{self._where(request)}: a script of a package mounted something at {mounted[0]}, and left it there"
            )
            hint = f"see what it is, and run umount {shlex.quote(mounted[0])}; a build never removes what is mounted"
            raise ToolError(message, hint=hint)

    def _where(self, request: Request) -> str:
        return f"layer '{request.layer}': {self._manager.tool['name']}"

    def _check_installed(self, request: Request, planned: Sequence[Planned], outcome: Outcome) -> None:
        """See that an installation went well, by what is there and not by what the tool says.

        Raises:
            ToolError: it did not.
        """
        installed = self._manager.installed(self._root.source)
        fault = _fault(request, planned, installed, outcome)
        if fault:
            hint = "\n  ".join([*([DENIED] if _is_denied(fault) else []), *self._said(outcome.said)])
            raise ToolError(f"{self._where(request)}: {fault}", hint=hint)
        self._installed = list(installed)

    def _intercept(self, request: Request) -> None:
        """Run the intercepts that scripts asked for.

        Raises:
            ToolError: one failed.
        """
        for left in self._scripts.intercept(request.epoch):
            asked = f"the intercept {left.name}, for which {left.packages or 'a package'} asked"
            if not left.delayed:
                hint = "\n  ".join(["it says:", *(f"  {line}" for line in left.said)]) if left.said else ""
                raise ToolError(f"{self._where(request)}: {asked}, ended with status {left.status}", hint=hint)
            message = "%s: %s, is left to the first boot, which a container has not"
            LOG.warning(message, self._where(request), asked)
        self._check_mounts(request)

    def _wanted(self, tree: Tree, entries: dict[str, Entry], held: Sequence[Contents]) -> Wanted:
        """What a layer wants, without the database where the image is not to have it in that layer."""
        removed = {path for path in tree.entries if path not in entries}
        if self._config.packages.database != KEEP:
            shipped = {member.path for contents in held for member in contents.members}
            mine = {path for path in entries if self._is_database(path) and path not in shipped}
            self._withheld = {path: entries[path] for path in mine if entries[path] is not tree.entries.get(path)}
            self._lost = {path for path in removed if self._is_database(path)}
            self._withhold_parents(tree, entries)
            removed -= self._lost
        changed = {
            path: entry
            for path, entry in entries.items()
            if path not in self._withheld and entry is not tree.entries.get(path)
        }
        wanted = Wanted(changed, tuple(sorted(removed)))
        if self._config.packages.database != KEEP:
            wanted = Wanted({**plain_parents(tree, wanted, self._epoch), **changed}, wanted.removed)
        return wanted

    def _withhold_parents(self, tree: Tree, entries: Mapping[str, Entry]) -> None:
        """Directories that are there for the database alone are withheld with it."""
        lonely = {up for path in self._withheld for up in ancestors(path) if up not in tree and up in entries}
        if lonely:
            for path in entries:
                if path not in self._withheld and path not in lonely:
                    lonely.difference_update(ancestors(path))
        self._withheld.update((path, entries[path]) for path in lonely)

    def _is_database(self, path: str) -> bool:
        return f"{path}/".startswith(tuple(self._manager.databases))

    def _facts(
        self,
        layer: PackagesLayer,
        request: Request,
        asked: Asked,
        packages: Sequence[Package],
        held: Sequence[Contents],
    ) -> LayerPackages:
        before = {one.name: one.version for one in request.installed if one.whole}
        askers = self._catalog.askers(layer, request.installed, packages)
        new = tuple(
            InstalledPackage(
                *package[:3],
                contents.digest,
                contents.size,
                sum(member.entry.size for member in contents.members if member.hardlink is None),
                asker,
                before.get(package.name, ""),
                tuple(name for name in self._manager.not_run if name in contents.control),
            )
            for package, contents, asker in zip(packages, held, askers)
        )
        return LayerPackages(new, asked.below, self._manager.tool)


def _with(tree: Tree, wanted: Wanted) -> Tree:
    after = Tree(tree.entries)
    apply(after, Delta(wanted.entries, wanted.removed, 0))
    return after


def _fault(request: Request, planned: Sequence[Planned], installed: Sequence[Installed], outcome: Outcome) -> str:
    """What is wrong with the packages that are there after an installation; empty where nothing is."""
    if outcome.failed:
        return f"{outcome.failed}: {outcome.reason or 'could not be installed'}"
    found = {identity(one): one for one in installed}
    for one in planned:
        there = found.get((one.name, one.arch))
        if there is None or not there.whole:
            return f"{one.name} {one.version} was not installed"
        if there.version != one.version:
            return f"{one.name} {one.version} was not installed, but {there.version} is"
        if not _is_configured(there):
            return f"{one.name} {one.version} was left '{there.state}'"
    if not outcome.done:
        return f"failed to install {', '.join(request.names)}"
    gone = {one.name for one in planned}.union(*(one.replaces for one in planned))
    for before in request.installed:
        after = found.pop(identity(before), None)
        if before.name not in gone and before.whole and (after is None or after.version != before.version):
            return f"{before.shown}, which lay below, was {'removed' if after is None else 'changed'}"
    known = {(one.name, one.arch) for one in planned}
    more = next((one for one in found.values() if identity(one) not in known and one.whole), None)
    return f"{more.shown} was installed, which it did not plan" if more else ""


def _is_denied(fault: str) -> bool:
    return any(os.strerror(number) in fault for number in (errno.EPERM, errno.EINVAL))


def _is_configured(package: Installed) -> bool:
    words = package.state.split()
    return words[-1] == "installed" and "reinstreq" not in words
