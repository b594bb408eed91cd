# SPDX-License-Identifier: MIT
"""The layers of packages laid out in folders, one for each, so that they can be changed before the image is built.

`packages/laidout.py` takes them in again. Must not know blobs or OCI documents.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from .config import Config, DatabaseLayer, PackagesLayer
from .content import pieces
from .delta import apply
from .errors import ToolError
from .inodes import Inodes
from .inputs import Options, open_inputs
from .memory import open_memory
from .packages.edits import facts_digest, linked_names
from .packages.installation import TOP, LayerPackages
from .packages.laidout import MARK, Record, database_of, record_of
from .plan import plan_layers
from .removal import remove_folder
from .tree import DIRECTORY, SYMLINK, Entry, Tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .delta import Delta
    from .digests import Digests
    from .plan import PlannedLayer

_HINT = "run it as root, or under fakeroot or pseudo, on a file system that has owners, devices and attributes"


class Folder(NamedTuple):
    """A layer of packages laid out: what OCI_LAYER_<number>_ROOTFS is to say is its `path`."""

    number: int
    name: str
    path: str


def lay_out(config: Config, options: Options, prefix: str) -> tuple[Folder, ...]:
    """Write what each layer of packages changes into a folder of its own, `<prefix><number>`, numbered from 1.

    A folder holds the layer's entries with all their facts, and the directories they lie in. Beside each is a record of
    what it can not say. Where the database is to be on top it has a folder too. Folders of an earlier time go first.

    Raises:
        ConfigError, InputError: as the build would.
        ToolError: the same, or the caller may not give files their owners; no folder is left.
    """
    if os.geteuid() != 0:
        raise ToolError("only root can lay out layers with the owners that their files have", hint=_HINT)
    config, prefix = config._replace(laid_out=()), os.path.join(os.getcwd(), prefix)
    layers = config.package_layers
    folders = tuple(Folder(number, spec.name, f"{prefix}{number}") for number, spec in enumerate(layers, 1))
    places = {folder.name: folder.path for folder in folders}
    if folders and config.packages.database == TOP:
        places[DatabaseLayer().name] = database_of(folders[-1].path)
    _remove_former(prefix)
    for place in places.values():
        _check_free(place)
    with contextlib.ExitStack() as undo:
        undo.callback(_remove, places.values())
        if places:
            _lay_out(config, options, prefix, places)
        undo.pop_all()
    return folders


def _lay_out(config: Config, options: Options, prefix: str, places: dict[str, str]) -> None:
    # What the build keeps in mind of its inputs is not what is read here.
    own = config._replace(deploy_dir=prefix)
    left = set(places)
    with open_memory(own, paranoid=options.paranoid) as memory, open_inputs(config, options, memory) as (base, inputs):
        tree = Tree(base.tree.entries)
        for planned in plan_layers(config, inputs, finished=False):
            spec = planned.spec
            if spec.name in left:
                options.status(f"layer {spec.name}")
                assert inputs.installer is not None
                if planned.packages is not None:
                    inputs.installer.hold()
                _write(places[spec.name], planned.delta, inputs.digests)
                names = inputs.installer.names()
                record = _record(planned, tree, config.packages.database, names, inputs.digests)
                _write_record(places[spec.name], record)
                left.remove(spec.name)
            if not left:
                return
            apply(tree, planned.delta)


def _write(folder: str, delta: Delta, digests: Digests) -> None:
    """Write a layer into its folder, which is not there or empty."""
    entries = {"": Entry(DIRECTORY, 0o755), **delta.entries}
    disk = Inodes(folder, f"in {folder}", _HINT)
    with _writing(folder):
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        # First, so that a folder that is not finished is known for ours.
        _write_text(record_of(folder), f"{MARK}}}\n")
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        disk.begin()
        disk.make(entries, entries, lambda entry: _read(entry, digests))
        disk.dress(entries, entries)


def _read(entry: Entry, digests: Digests) -> Iterator[memoryview]:
    """The bytes of a file, whose digest is known then."""
    assert entry.content is not None
    known = digests.known(entry.content)
    state = hashlib.sha256()
    for piece in pieces(entry.content):
        if not known:
            state.update(piece)
        yield piece
    if not known:
        digests.learn(entry.content, state.digest())


def _write_record(folder: str, record: Record) -> None:
    place = record_of(folder)
    with _writing(folder):
        _write_text(f"{place}.new", record.to_text())
        os.replace(f"{place}.new", place)


@contextlib.contextmanager
def _writing(folder: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ToolError(f"cannot write {error.filename2 or error.filename or folder}: {error.strerror}") from error


def _record(planned: PlannedLayer, lower: Tree, database: str, names: Iterable[str], digests: Digests) -> Record:
    """What is to be known of a layer; `lower` is what lies below it, `names` are the packages that are installed."""
    spec, delta = planned.spec, planned.delta
    links = (
        path
        for path, entry in delta.entries.items()
        if entry.kind == DIRECTORY and path in lower and lower.entries[path].kind == SYMLINK
    )
    return Record(
        layer=spec.name,
        asked=spec.packages if isinstance(spec, PackagesLayer) else (),
        names=tuple(sorted(names)),
        database=database,
        entries={
            path: (entry.kind, entry.mtime, facts_digest(entry, digests)) for path, entry in delta.entries.items()
        },
        linked=linked_names(delta.entries),
        links=tuple(links),
        removed=delta.removed,
        packages=planned.packages or LayerPackages((), ()),
    )


def _write_text(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o644)


def _remove_former(prefix: str) -> None:
    """Remove what was laid out under the prefix before, and nothing that was not."""
    parent, stem = os.path.split(prefix)
    numbered = re.compile(re.escape(stem) + r"[0-9]+(\.database)?\.json")
    names: list[str] = []
    with contextlib.suppress(FileNotFoundError):
        names = [name for name in os.listdir(parent) if numbered.fullmatch(name)]
    _remove(path[: -len(".json")] for name in names for path in [os.path.join(parent, name)] if _is_ours(path))


def _is_ours(record: str) -> bool:
    with contextlib.suppress(OSError), open(record, "rb") as file:
        return file.read(len(MARK)) == MARK.encode("ascii")
    return False


def _remove(folders: Iterable[str]) -> None:
    for folder in folders:
        if not os.path.islink(folder):
            remove_folder(folder)
        for path in (f"{record_of(folder)}.new", record_of(folder)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _check_free(folder: str) -> None:
    """See that nothing is in a layer's place.

    Raises:
        ToolError: something is, which was not laid out here.
    """
    for path in (folder, record_of(folder)):
        taken = os.path.lexists(path) and (path != folder or os.path.islink(path) or not os.path.isdir(path))
        if taken or (os.path.isdir(folder) and os.listdir(folder)):
            raise ToolError(f"{path} is in the way: no layer was laid out there", hint="move it away")
