# SPDX-License-Identifier: MIT
"""What a layer of packages gets, whoever installs them, and what is told of them.

Must not know formats of packages, feeds, or how packages are chosen.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Protocol

from ..populate import Edits, Wanted
from ..tree import DIRECTORY, Entry, Overlay, ancestors
from .database import enter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..accounts import Owners
    from ..config import PackagesLayer
    from ..delta import Delta
    from ..errors import Fault
    from ..tree import Tree
    from .contents import Contents
    from .database import Written
    from .resolve import Resolution, Selected

TOP = "top"  # the value of OCI_PACKAGE_DATABASE for a layer of its own
MADE = Entry(DIRECTORY, 0o755)  # what mkdir makes


class InstalledPackage(NamedTuple):
    """A package of a layer, for plan and report.

    `size` is that of its file, `unpacked` that of the files in it, both in bytes; without a file `digest` is empty and
    `size` 0. `asked_by` names the package that
    needs it, empty where the layer does; `replaces` is the version it upgrades, or what it obsoletes, else empty.
    `scripts` are those of its scripts that did not run.
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
        value: dict[str, Any] = {"name": self.name, "version": self.version, "architecture": self.arch}
        if self.digest:
            value.update(digest=f"sha256:{self.digest}", size=self.size)
        value["unpackedSize"] = self.unpacked
        if self.asked_by:
            value["askedBy"] = self.asked_by
        if self.replaces:
            value["upgrades"] = self.replaces
        return {**value, "scriptsNotRun": list(self.scripts)} if self.scripts else value


class LayerPackages(NamedTuple):
    """The packages a layer brings, in the order of installation, and those it names that lie below it already.

    `tool` is what installed them: its name, and the versions of its programs.
    """

    new: tuple[InstalledPackage, ...]
    below: tuple[str, ...]
    tool: Mapping[str, str] = MappingProxyType({"name": "builtin"})

    def to_json(self) -> dict[str, Any]:
        return {"packages": [package.to_json() for package in self.new], "below": list(self.below)}

    def to_record(self) -> dict[str, Any]:
        """All of it as JSON, for `from_record`."""
        return {"new": self.new, "below": self.below, "tool": dict(self.tool)}

    @classmethod
    def from_record(cls, value: Mapping[str, Any]) -> LayerPackages:
        """What `to_record` made JSON of."""
        new = tuple(
            InstalledPackage._make(tuple(fact) if isinstance(fact, list) else fact for fact in one)
            for one in value["new"]
        )
        return cls(new, tuple(value["below"]), value["tool"])


class Installation(NamedTuple):
    """What a layer of packages wants; `asked` are the owners that packages call by name.

    `edits` finds what somebody did by hand to it, where anybody can have; best asked when the layer is written, as that
    reads all contents.
    """

    wanted: Wanted
    asked: Owners
    packages: LayerPackages
    edits: Callable[[], Edits] | None = None


def tell(resolution: Resolution, held: Sequence[Contents], scripts: Sequence[tuple[str, ...]]) -> LayerPackages:
    """What is told of a layer's packages, by what their files hold and by the names of their scripts."""
    new = tuple(
        InstalledPackage(
            *one.package[:3],
            contents.digest,
            contents.size,
            sum(member.entry.size for member in contents.members if member.hardlink is None),
            one.asked_by,
            _replaced(one),
            names,
        )
        for one, contents, names in zip(resolution.selected, held, scripts)
    )
    return LayerPackages(new, tuple(one.shown for one in resolution.below))


def reowned(tree: Tree, before: Mapping[str, Entry], now: Mapping[str, Entry]) -> dict[str, Entry]:
    """What of a tree has other owners now than before; not what a script gave others meanwhile."""
    found = {}
    for path, entry in now.items():
        there, former = tree.entries.get(path), before.get(path)
        if there is None or former is None:
            continue
        if (there.uid, there.gid) == (former.uid, former.gid) != (entry.uid, entry.gid):
            found[path] = there._replace(uid=entry.uid, gid=entry.gid)
    return found


def _replaced(one: Selected) -> str:
    """What a package takes the place of: of its own name the version alone."""
    replaced = (one.replaces, *one.obsoletes)
    name = one.package.name
    return ", ".join(old.version if old.name == name else old.shown for old in replaced if old is not None)


class Installer(Protocol):
    """Installs the packages of layer after layer; each is to be written before the next, as their bytes are let go."""

    def missing(self, layer: PackagesLayer) -> list[Fault]:
        """What of a layer's names no package has."""

    def notice(self, tree: Tree, changed: Iterable[str]) -> None:
        """Take note of a layer of another kind that changed paths of the tree: it may have brought packages too.

        Raises:
            InputError: it has a database of the other format, or a damaged one.
        """

    def install(self, layer: PackagesLayer, tree: Tree) -> Installation:
        """The packages a layer names, and all they need, on top of `tree`.

        Raises:
            ConfigError: the packages can not be had together.
            InputError: a package is damaged, or its files clash with others.
            ToolError: a file can not be read or kept.
        """

    def names(self) -> frozenset[str]:
        """The names of all packages that are installed so far, in the base image too."""

    def hold(self) -> None:
        """Have the payloads of the layer installed last at hand; to be called before that is written.

        Raises:
            InputError: a package changed after it was read first.
            ToolError: one can not be read, or the disk is full.
        """

    def keep(self, delta: Delta, shape: str, key: str) -> None:
        """Have later builds know the layer installed last, which became `delta`, by its place in the cache."""

    def database(self, tree: Tree) -> Wanted:
        """The database as it stands after all layers, for a layer of its own."""


def with_database(tree: Tree, wanted: Wanted, written: Written, epoch: int) -> Wanted:
    """What a layer wants, with what it has of the package database."""
    upper = Overlay(tree, dict(wanted.entries), wanted.removed)
    enter(upper, written, epoch)
    removed = upper.removed.union(written.removed).difference(upper.entries)
    return Wanted(upper.entries, tuple(sorted(removed)))


def plain_parents(tree: Tree, wanted: Wanted, epoch: int) -> dict[str, Entry]:
    """The directories that changes lie in where they are as made ones: then it is the same whether they lie below."""
    made = Entry(DIRECTORY, 0o755, mtime=epoch)
    parents = {up for path in (*wanted.entries, *wanted.removed) for up in ancestors(path)}
    found = ((path, tree.entry(path)) for path in parents)
    return {path: made for path, below in found if below is not None and is_same_directory(below, made)}


def is_same_directory(one: Entry, other: Entry) -> bool:
    """Whether two directories have the same facts; times do not count."""
    return one._replace(mtime=0) == other._replace(mtime=0)
