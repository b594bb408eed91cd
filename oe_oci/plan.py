# SPDX-License-Identifier: MIT
"""The layers in order, each as the changes on top of those before it. Writes nothing.

Must not know tar, blobs or OCI documents.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from .accounts import add_accounts
from .config import Config, DatabaseLayer, HostLayer, LayerSpec, PackagesLayer, PathsLayer, RootfsLayer
from .content import Content, content_digest
from .delta import Delta, apply, diff
from .errors import ConfigError, Fault
from .populate import (
    Stack,
    Wanted,
    apply_rules,
    missing_paths,
    missing_sources,
    want_host,
    want_paths,
    want_rootfs,
)
from .tree import DIRECTORY, Entry, Source, Tree, decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .accounts import Owners
    from .packages.installer import Installer, LayerPackages


class PlannedLayer(NamedTuple):
    """A layer and what it changes. `left_out` says why it will not be in the image, empty where it will.

    `packages` are those of a layer of packages.
    """

    spec: LayerSpec
    delta: Delta
    left_out: str
    packages: LayerPackages | None


class Inputs(NamedTuple):
    """What layers are made of: the base image's tree, the rootfs and the packages where any layer takes of them."""

    base: Tree
    rootfs: Source | None
    installer: Installer | None


def plan_layers(config: Config, inputs: Inputs) -> Iterator[PlannedLayer]:
    """Plan layer after layer; each is to be written before the next is asked for, as the tree grows with it.

    Raises:
        ConfigError: a layer can not be made as it is configured.
        InputError: what a layer takes in can not be used.
        ToolError: a file can not be read.
    """
    check_contents(config, inputs)
    check_apart(config)
    tree = Tree(inputs.base.entries)
    if not inputs.base.entries and needs_packages(config):
        # Which every image has: a layer of packages is the same as the lowest one and above others.
        tree.put("", Entry(DIRECTORY, 0o755))
    stack = Stack(tree, inputs.base.entries)
    same = _Same()
    for number, spec in enumerate(config.layers):
        last = number == len(config.layers) - 1
        wanted, asked, packages = _want(spec, config, inputs, stack)
        wanted = add_accounts(config.accounts, wanted, tree, last=last, epoch=config.epoch or 0, asked=asked)
        if last and config.path_rules:
            wanted = apply_rules(config.path_rules, wanted, tree)
        delta = diff(tree, wanted.entries, wanted.removed, same)
        left_out = "it changes nothing" if delta.empty and not config.keep_empty else ""
        yield PlannedLayer(spec, delta, left_out, packages)
        apply(tree, delta)
        if inputs.installer is not None and packages is None and not last:
            inputs.installer.notice(tree, delta.entries)


def needs_rootfs(config: Config) -> bool:
    """Whether any layer takes from the rootfs."""
    return any(isinstance(spec, (PathsLayer, RootfsLayer)) for spec in config.layers)


def needs_packages(config: Config) -> bool:
    """Whether there are layers of packages."""
    return any(isinstance(spec, PackagesLayer) for spec in config.layers)


def _want(
    spec: LayerSpec, config: Config, inputs: Inputs, stack: Stack
) -> tuple[Wanted, Owners | None, LayerPackages | None]:
    if isinstance(spec, HostLayer):
        return want_host(spec, stack, config.epoch or 0, config.host_owner), None, None
    if isinstance(spec, (PackagesLayer, DatabaseLayer)):
        assert inputs.installer is not None
        if isinstance(spec, DatabaseLayer):
            return inputs.installer.database(stack.tree), None, None
        return inputs.installer.install(spec, stack.tree)
    assert inputs.rootfs is not None
    if isinstance(spec, PathsLayer):
        return want_paths(spec, inputs.rootfs, stack), None, None
    assert isinstance(spec, RootfsLayer), spec
    return want_rootfs(inputs.rootfs, stack), None, None


def check_apart(config: Config) -> None:
    """Raises ConfigError where outputs would lie in what is packed: each build would take in the one before.

    Follows links, as the host has them.
    """
    # As bytes: what a rootfs or a configuration calls a file need not be a name in this host's locale.
    outputs = os.path.realpath(encode(config.deploy_dir))
    places = [
        ("OCI_LAYERS", copy.source) for spec in config.layers if isinstance(spec, HostLayer) for copy in spec.copies
    ]
    for spec in config.layers:
        if config.rootfs is not None and isinstance(spec, (PathsLayer, RootfsLayer)):
            paths = spec.paths if isinstance(spec, PathsLayer) else ("/",)
            places += [("IMAGE_ROOTFS", os.path.join(config.rootfs, path.strip("/"))) for path in paths]
    faults = [
        Fault(
            variable,
            f"the deploy folder {decode(outputs)} lies in {place}, which goes into the image",
            "set --deploy-dir",
        )
        for variable, place in dict.fromkeys(places)
        if os.path.commonpath([outputs, os.path.realpath(encode(place))]) == os.path.realpath(encode(place))
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


class _Same:
    """Compares contents by their digests, each read once."""

    def __init__(self) -> None:
        self._digests: dict[Content, str] = {}

    def __call__(self, one: Content, other: Content) -> bool:
        return self._digest(one) == self._digest(other)

    def _digest(self, content: Content) -> str:
        if content not in self._digests:
            self._digests[content] = content_digest(content)
        return self._digests[content]
