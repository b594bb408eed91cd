# SPDX-License-Identifier: MIT
"""The layers in order, each as the changes on top of those before it. Writes nothing.

Must not know tar, blobs or OCI documents.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from .config import Config, HostLayer, LayerSpec, PackagesLayer, PathsLayer, RootfsLayer
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
from .tree import Source, Tree, decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterator


class PlannedLayer(NamedTuple):
    """A layer and what it changes. `left_out` says why it will not be in the image, empty where it will."""

    spec: LayerSpec
    delta: Delta
    left_out: str


def plan_layers(config: Config, base: Tree, rootfs: Source | None) -> Iterator[PlannedLayer]:
    """Plan layer after layer; each is to be written before the next is asked for, as the tree grows with it.

    Raises:
        ConfigError: a layer can not be made as it is configured.
        InputError: what a layer takes in can not be used.
        ToolError: a file can not be read.
    """
    check_contents(config, rootfs)
    check_apart(config)
    tree = Tree(base.entries)
    stack = Stack(tree, base.entries)
    same = _Same()
    for number, spec in enumerate(config.layers):
        wanted = _want(spec, config, rootfs, stack)
        if number == len(config.layers) - 1 and config.path_rules:
            wanted = apply_rules(config.path_rules, wanted, tree)
        delta = diff(tree, wanted.entries, wanted.removed, same)
        left_out = "it changes nothing" if delta.empty and not config.keep_empty else ""
        yield PlannedLayer(spec, delta, left_out)
        apply(tree, delta)


def refuse_packages(config: Config) -> None:
    """Raises ConfigError where there is a layer of packages: no installer is built in yet."""
    faults = [
        Fault(
            "OCI_LAYERS",
            f"layer '{spec.name}': layers of packages are not supported yet",
            "install them into a rootfs, and take their directories: 'NAME:directories:/usr,/etc'",
        )
        for spec in config.layers
        if isinstance(spec, PackagesLayer)
    ]
    if faults:
        raise ConfigError(faults)


def needs_rootfs(config: Config) -> bool:
    """Whether any layer takes from the rootfs."""
    return any(isinstance(spec, (PathsLayer, RootfsLayer)) for spec in config.layers)


def _want(spec: LayerSpec, config: Config, rootfs: Source | None, stack: Stack) -> Wanted:
    if isinstance(spec, HostLayer):
        return want_host(spec, stack, config.epoch or 0, config.host_owner)
    assert rootfs is not None
    if isinstance(spec, PathsLayer):
        return want_paths(spec, rootfs, stack)
    assert isinstance(spec, RootfsLayer), spec
    return want_rootfs(rootfs, stack)


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


def check_contents(config: Config, rootfs: Source | None) -> None:
    """Raises ConfigError with everything that a layer is to take and that is not there."""
    faults = [fault for spec in config.layers for fault in _missing(spec, rootfs)]
    if faults:
        raise ConfigError(faults)


def _missing(spec: LayerSpec, rootfs: Source | None) -> list[Fault]:
    if isinstance(spec, HostLayer):
        return missing_sources(spec)
    return missing_paths(spec, rootfs) if isinstance(spec, PathsLayer) and rootfs is not None else []


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
