# SPDX-License-Identifier: MIT
"""The layers in order, each as the changes on top of those before it. Writes nothing.

Must not know tar, blobs or OCI documents.
"""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import TYPE_CHECKING, Callable, NamedTuple

from .accounts import Owners, add_accounts
from .config import (
    Config,
    DatabaseLayer,
    HostLayer,
    LayerSpec,
    PackagesLayer,
    PathsLayer,
    RestLayer,
    RootfsLayer,
    rootfs_variable,
)
from .delta import Delta, apply, diff
from .errors import ConfigError, Fault
from .populate import (
    Edits,
    Stack,
    Wanted,
    apply_rules,
    is_still,
    missing_paths,
    missing_sources,
    want_host,
    want_paths,
    want_rootfs,
)
from .tree import DIRECTORY, Entry, Source, Tree, decode, encode, order, place_of, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .content import Content
    from .digests import Digests
    from .packages.installation import Installer, LayerPackages
    from .rest import Packages


class PlannedLayer(NamedTuple):
    """A layer and what it changes. `left_out` says why it will not be in the image, empty where it will.

    `packages` are those of a layer of packages; `notes` are for the user.
    """

    spec: LayerSpec
    delta: Delta
    left_out: str
    packages: LayerPackages | None
    notes: tuple[str, ...] = ()


class Inputs(NamedTuple):
    """What layers are made of: the base image's tree, the rootfs and the packages where any layer takes of them.

    `digests` are those of their files; `owned` are the paths in the rootfs that packages have, by their names.
    """

    base: Tree
    rootfs: Source | None
    installer: Installer | None
    digests: Digests
    owned: Mapping[str, Sequence[str]] = MappingProxyType({})


def plan_layers(config: Config, inputs: Inputs, *, finished: bool = True) -> Iterator[PlannedLayer]:
    """Plan layer after layer; each is to be written before the next is asked for, as the tree grows with it.

    Unless `finished`, the last layer goes without what is for it alone: rules, and accounts that no other one has.

    Raises:
        ConfigError: a layer can not be made as it is configured.
        InputError: what a layer takes in can not be used.
        ToolError: a file can not be read.
    """
    check_contents(config, inputs)
    tree = Tree(inputs.base.entries)
    if not inputs.base.entries and needs_packages(config):
        # Which every image has: a layer of packages is the same as the lowest one and above others.
        tree.put("", Entry(DIRECTORY, 0o755))
    given: dict[str, Entry] = {}
    laid: list[_Laid] = []

    def same(one: Content, other: Content) -> bool:
        return inputs.digests(one) == inputs.digests(other)

    for number, spec in enumerate(config.layers):
        last = number == len(config.layers) - 1
        stack = _stack(tree, inputs, given, laid if isinstance(spec, RestLayer) else ())
        wanted, asked, packages, edits, notes = _want(spec, config, inputs, stack)
        brought = wanted.entries if isinstance(spec, HostLayer) or edits is not None else {}
        if finished or not last:
            asked = None if last else asked or Owners()
            wanted = add_accounts(config.accounts, wanted, tree, same, asked=asked, epoch=config.epoch or 0)
        if finished and last and config.path_rules:
            wanted = apply_rules(config.path_rules, wanted, tree)
        delta = diff(tree, wanted.entries, wanted.removed, same)
        del wanted  # which is as large as the delta
        left_out = "it changes nothing" if delta.empty and not config.keep_empty else ""
        yield PlannedLayer(spec, delta, left_out, packages, notes)
        apply(tree, delta)
        there = {path: tree.entries[path] for path in brought if path in tree}  # rules can have removed some
        if edits is None:
            given.update(there)
        else:
            laid.append(_Laid(there, edits))
        if inputs.installer is not None and packages is None and not last:
            inputs.installer.notice(tree, delta.entries)


def needs_rootfs(config: Config) -> bool:
    """Whether any layer takes from the rootfs."""
    return any(isinstance(spec, (PathsLayer, RootfsLayer, RestLayer)) for spec in config.layers)


def needs_packages(config: Config) -> bool:
    """Whether there are layers of packages."""
    return bool(config.package_layers)


class _Want(NamedTuple):
    """What a layer wants; `asked`, `packages` and `edits` as of an installation."""

    wanted: Wanted
    asked: Owners | None = None
    packages: LayerPackages | None = None
    edits: Callable[[], Edits] | None = None
    notes: tuple[str, ...] = ()


def _want(spec: LayerSpec, config: Config, inputs: Inputs, stack: Stack) -> _Want:
    if isinstance(spec, HostLayer):
        return _Want(want_host(spec, stack, config.epoch or 0, config.host_owner, inputs.digests))
    if isinstance(spec, (PackagesLayer, DatabaseLayer)):
        assert inputs.installer is not None
        if isinstance(spec, DatabaseLayer):
            return _Want(_want_database(config, inputs, stack))
        return _Want(*inputs.installer.install(spec, stack.tree))
    assert inputs.rootfs is not None
    if isinstance(spec, PathsLayer):
        return _Want(want_paths(spec, inputs.rootfs, stack))
    if isinstance(spec, RestLayer):
        from .rest import want_rest  # noqa: PLC0415 - few images have one

        rest = want_rest(inputs.rootfs, stack, _packages(config, inputs))
        return _Want(rest.wanted, notes=_kept_edits(rest.overruled, stack, inputs.digests))
    assert isinstance(spec, RootfsLayer), spec
    return _Want(want_rootfs(inputs.rootfs, stack))


class _Laid(NamedTuple):
    """What a layer brought that somebody can have changed by hand, and how to find out what was."""

    brought: dict[str, Entry]
    edits: Callable[[], Edits]


def _stack(tree: Tree, inputs: Inputs, given: Mapping[str, Entry], laid: Iterable[_Laid]) -> Stack:
    """What lies below a layer, with what was done by hand to those that were `laid` and is still so."""
    kept, removed = dict(given), set[str]()
    changed: dict[str, str] = {}
    parents: dict[str, str] = {}
    for layer in laid:
        edits = layer.edits()
        removed.update(edits.removed)
        for path, digest in edits.changed.items():
            place = place_of(tree, path, parents)
            entry = layer.brought.get(place)
            if entry is not None and is_still(tree.entry(place), entry):
                kept[place], changed[place] = entry, digest
    return Stack(tree, inputs.base.entries, kept, Edits(changed, removed))


def _kept_edits(overruled: Mapping[str, Entry], stack: Stack, digests: Digests) -> tuple[str, ...]:
    """What to tell of what the rootfs has in place of edits: nothing of what it has as packages do, or as edited."""
    from .packages.edits import facts_digest  # noqa: PLC0415 - only with a rest of the rootfs
    from .packages.known import is_managers  # noqa: PLC0415 - the same

    paths = [
        path
        for path, entry in overruled.items()
        if not is_managers(path)
        and facts_digest(entry, digests)
        not in (stack.edits.changed[path], facts_digest(stack.tree.entries[path], digests))
    ]
    names = ", ".join(shown(path) for path in sorted(paths, key=order))
    return (f"kept as edited in the layers, without what the rootfs changed there: {names}",) if names else ()


def _want_database(config: Config, inputs: Inputs, stack: Stack) -> Wanted:
    """The database on top: with the rest of the rootfs also that one's, where it tells of the same packages."""
    assert inputs.installer is not None
    found = None
    if inputs.rootfs is not None and any(isinstance(spec, RestLayer) for spec in config.layers):
        from .rest import want_database  # noqa: PLC0415 - few images have one

        found = want_database(inputs.rootfs, stack, _packages(config, inputs))
    return inputs.installer.database(stack.tree) if found is None else found


def _packages(config: Config, inputs: Inputs) -> Packages:
    from .rest import Packages  # noqa: PLC0415 - few images have one

    assert inputs.installer is not None
    return Packages(inputs.installer.names(), inputs.owned, config.packages.database)


def check_apart(config: Config) -> None:
    """Raises ConfigError where outputs or the cache would lie in what is packed: each build would take in the last one.

    Follows links, as the host has them.
    """
    kept = [("the deploy folder", config.deploy_dir, "set --deploy-dir")]
    if config.cache_dir is not None:
        kept.append(("the folder of the cache", config.cache_dir, "set --cache-dir"))
    places = [
        ("OCI_LAYERS", copy.source) for spec in config.layers if isinstance(spec, HostLayer) for copy in spec.copies
    ]
    places += ((rootfs_variable(number), folder) for number, folder in enumerate(config.laid_out, 1))
    for spec in config.layers:
        if config.rootfs is not None and isinstance(spec, (PathsLayer, RootfsLayer, RestLayer)):
            paths = spec.paths if isinstance(spec, PathsLayer) else ("/",)
            places += [("IMAGE_ROOTFS", os.path.join(config.rootfs, path.strip("/"))) for path in paths]
    faults = [
        Fault(variable, f"{what} {decode(inner)} lies in {place}, which goes into the image", hint)
        for what, folder, hint in kept
        # As bytes: what a rootfs or a configuration calls a file need not be a name in this host's locale.
        for inner in [os.path.realpath(encode(folder))]
        for variable, place in dict.fromkeys(places)
        if os.path.commonpath([inner, os.path.realpath(encode(place))]) == os.path.realpath(encode(place))
    ]
    if faults:
        raise ConfigError(faults)


def check_contents(config: Config, inputs: Inputs) -> None:
    """Raises ConfigError with everything that a layer is to take and that is not there."""
    faults = [fault for spec in config.layers for fault in _missing(spec, inputs)]
    if faults:
        raise ConfigError(faults)


def _missing(spec: LayerSpec, inputs: Inputs) -> list[Fault]:
    if isinstance(spec, HostLayer):
        return missing_sources(spec)
    if isinstance(spec, PackagesLayer) and inputs.installer is not None:
        return inputs.installer.missing(spec)
    return missing_paths(spec, inputs.rootfs) if isinstance(spec, PathsLayer) and inputs.rootfs is not None else []
