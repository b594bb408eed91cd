# SPDX-License-Identifier: MIT
"""Layers of packages taken in from folders that they were laid out in, and that somebody may have changed since.

What a folder can not say is in a record beside it, `<folder>.json`: what was laid out, what the layer removes, and its
packages. To the plan this is an installer that installs nothing. Must not know how layers are laid out.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from ..accounts import Owners
from ..changeset import OPAQUE, WHITEOUT
from ..config import DatabaseLayer, PackagesLayer, rootfs_variable
from ..errors import ConfigError, Fault, InputError, ToolError
from ..populate import Edits, Stack, Wanted, want_rootfs
from ..rootfs import rootfs_time
from ..scan import Directory
from ..tree import DIRECTORY, FILE, Entry, Tree, join
from .edits import find_changed
from .installation import MADE, TOP, Installation, LayerPackages, is_same_directory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..config import Config
    from ..delta import Delta
    from ..digests import Digests

MARK = '{"format":"oe-oci laid out 1"'  # how each record begins; the number changes with what is in it
AGAIN = "lay the layers out again"


class Record(NamedTuple):
    """What was laid out in a folder.

    `entries` has kind, time and a digest of the facts of each path, `linked` the names of each file that has several,
    `links` are the paths of directories that replace a link below. `asked` are the names of packages that the layer was
    asked for, `names` those of all that were installed then, `database` is the value of OCI_PACKAGE_DATABASE.
    """

    layer: str
    asked: tuple[str, ...]
    names: tuple[str, ...]
    database: str
    entries: dict[str, tuple[str, int, str]]
    linked: tuple[tuple[str, ...], ...]
    links: tuple[str, ...]
    removed: tuple[str, ...]
    packages: LayerPackages

    def to_text(self) -> str:
        value = {**self._asdict(), "packages": self.packages.to_record()}
        return f"{MARK},{json.dumps(value, separators=(',', ':'))[1:]}\n"

    @classmethod
    def from_text(cls, text: str) -> Record:
        """Raises ValueError for a text that is no record, or that of a folder which is not finished."""
        try:
            value: dict[str, Any] = json.loads(text)
            return cls(
                layer=value["layer"],
                asked=tuple(value["asked"]),
                names=tuple(value["names"]),
                database=value["database"],
                entries={path: (kind, mtime, facts) for path, (kind, mtime, facts) in value["entries"].items()},
                linked=tuple(map(tuple, value["linked"])),
                links=tuple(value["links"]),
                removed=tuple(value["removed"]),
                packages=LayerPackages.from_record(value["packages"]),
            )
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError("not the record of a layer that was laid out") from error


def record_of(folder: str) -> str:
    """The path of the record of a folder."""
    return f"{folder}.json"


def database_of(folder: str) -> str:
    """Where the packages' database is laid out that comes in a layer of its own; `folder` is that of the last layer."""
    return f"{folder}.database"


class LaidOutInstaller:
    """Has each layer of packages hold what is in its folder.

    Raises:
        ConfigError: a folder is not there, or holds another layer; lists every one.
        InputError: a record is damaged.
        ToolError: one can not be read, or the caller sees no owners.
    """

    def __init__(self, config: Config, digests: Digests) -> None:
        if os.geteuid() != 0:
            raise ToolError(
                f"{rootfs_variable(1)}: layers that are laid out have owners that only root sees",
                hint="build in the same session of fakeroot or pseudo that they were laid out in, or as root",
            )
        self._epoch = config.epoch
        self._digests = digests
        self._layers: dict[str, tuple[str, Record]] = {}
        self._names: frozenset[str] = frozenset()
        layers = config.package_layers
        faults = []
        for number, (spec, folder) in enumerate(zip(layers, config.laid_out), 1):
            fault = self._open(spec, folder, config.packages.database)
            if fault is not None:
                faults.append(fault._replace(where=rootfs_variable(number)))
        if not faults and config.packages.database == TOP:
            fault = self._open(DatabaseLayer(), database_of(config.laid_out[-1]), TOP)
            faults += [fault._replace(where=rootfs_variable(len(layers)))] if fault is not None else []
        if faults:
            raise ConfigError(faults)

    def _open(self, spec: PackagesLayer | DatabaseLayer, folder: str, database: str) -> Fault | None:
        """Read the record of a layer's folder; returns what is wrong with it."""
        path = record_of(folder)
        if not os.path.isdir(folder):
            return Fault("", f"there is no folder {folder}", AGAIN)
        if not os.path.exists(path):
            return Fault("", f"nothing was laid out in {folder}: there is no {path}", AGAIN)
        record = _read(path)
        asked = spec.packages if isinstance(spec, PackagesLayer) else ()
        if (record.layer, record.asked) != (spec.name, asked):
            former = f"{record.layer}:packages:{','.join(record.asked)}"
            return Fault("", f"{folder} was laid out for '{former}', which OCI_LAYERS does not have there", AGAIN)
        if record.database != database:
            message = f'{folder} was laid out for OCI_PACKAGE_DATABASE = "{record.database}", now it is "{database}"'
            return Fault("", message, AGAIN)
        self._layers[spec.name] = folder, record
        return None

    def missing(self, layer: PackagesLayer) -> list[Fault]:  # noqa: ARG002 - of the protocol
        """Nothing: no feed is asked."""
        return []

    def notice(self, tree: Tree, changed: Iterable[str]) -> None:
        """What other layers bring was taken note of when the layers were laid out."""

    def install(self, layer: PackagesLayer, tree: Tree) -> Installation:
        """What is in a layer's folder.

        Raises:
            InputError: it can not be in an image.
            ToolError: it can not be read.
        """
        record = self._layers[layer.name][1]
        self._names = frozenset(record.names)
        # Accounts that packages ask for by name are in the layers that were laid out.
        wanted, edits = self._take_in(layer.name, tree)
        return Installation(wanted, Owners(), record.packages, edits)

    def names(self) -> frozenset[str]:
        """The names of all packages that were installed by the time the last layer taken in was."""
        return self._names

    def hold(self) -> None:
        """All files are at hand."""

    def keep(self, delta: Delta, shape: str, key: str) -> None:
        """Folders are read again by each build."""

    def database(self, tree: Tree) -> Wanted:
        """The database as it was when the layers were laid out."""
        return self._take_in(DatabaseLayer().name, tree)[0]

    def _take_in(self, name: str, tree: Tree) -> tuple[Wanted, Callable[[], Edits]]:
        folder, record = self._layers[name]
        found: dict[str, Entry] = {}
        whiteouts, opaque = [], []
        for path, entry in Directory(folder, f"laid out {name}", int, digests=self._digests).walk():
            directory, _, base = path.rpartition("/")
            if base == OPAQUE:
                opaque.append(directory)
            elif base.startswith(WHITEOUT) and base != WHITEOUT and entry.kind == FILE and not entry.size:
                whiteouts.append(join(directory, base[len(WHITEOUT) :]))
            else:
                found[path] = self._as_laid(record, path, entry, tree)
        removed = {*whiteouts, *tree.below([*whiteouts, *opaque])}
        gone = {*record.removed, *tree.below(record.removed), *removed}
        # Without a directory of its own a layer still leaves what others have in it.
        gone.update(path for path, (kind, *_) in record.entries.items() if kind != DIRECTORY)
        replaced = {path for path in record.links if path in found and found[path].kind == DIRECTORY}
        lower = tree
        if replaced:
            lower = Tree({path: entry for path, entry in tree.entries.items() if path not in replaced})
        placed = want_rootfs(Tree(found), Stack(lower, {})).entries
        own = {path: entry for path, entry in found.items() if entry is not tree.entry(path)}
        removed = (removed | record.entries.keys()) - found.keys()

        def edits() -> Edits:
            laid = {path: facts for path, (*_, facts) in record.entries.items()}
            return Edits(find_changed(laid, record.linked, own, self._digests), removed)

        return Wanted(placed, tuple(sorted(gone - found.keys()))), edits

    def _as_laid(self, record: Record, path: str, entry: Entry, tree: Tree) -> Entry:
        """An entry with the time to write; a directory that was but made to hold something keeps its facts below."""
        kind, mtime, _ = record.entries.get(path, ("", None, ""))
        if not kind and entry.kind == DIRECTORY and is_same_directory(entry, MADE):
            below = tree.entry(path)
            if below is not None and below.kind == DIRECTORY:
                return below
        return entry if entry.mtime == mtime else entry._replace(mtime=rootfs_time(self._epoch, entry.mtime))


def _read(path: str) -> Record:
    try:
        with open(path, encoding="ascii") as file:
            return Record.from_text(file.read())
    except OSError as error:
        raise ToolError(f"cannot read {path}: {error.strerror}") from error
    except ValueError:
        raise InputError(f"{path}: is damaged, or its folder is not finished", hint=AGAIN) from None
