# SPDX-License-Identifier: MIT
"""What is to be built, complete and checked: nothing after this reads a variable, the environment or the clock.

Values only; `configure` makes a `Config` from variables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Union

from .oci.spec import Platform  # noqa: TC001 - a field's type


class PackagesLayer(NamedTuple):
    """A layer of packages, by the names the feed knows."""

    name: str
    packages: tuple[str, ...]
    kind: str = "packages"


class PathsLayer(NamedTuple):
    """A layer of paths of the rootfs: `kind` is `directories` or `files`; paths are absolute inside the rootfs."""

    name: str
    kind: str
    paths: tuple[str, ...]


class HostLayer(NamedTuple):
    """A layer of the build host's files.

    Sources are absolute paths of the host; `written` is how the configuration names the source. A destination that ends
    with `/` is the directory to put the source into.
    """

    name: str
    copies: tuple[HostCopy, ...]
    kind: str = "host"


class HostCopy(NamedTuple):
    source: str
    destination: str
    written: str


class RootfsLayer(NamedTuple):
    """The whole rootfs as one layer: single mode."""

    name: str
    kind: str = "rootfs"


LayerSpec = Union[PackagesLayer, PathsLayer, HostLayer, RootfsLayer]


class BaseRef(NamedTuple):
    """The base image: a layout's or archive's absolute path and the tag to take; `written` as configured."""

    path: str
    tag: str
    written: str


class PathRule(NamedTuple):
    """One entry of OCI_IMAGE_PATHS: what to set (None leaves it), or the path's removal."""

    path: str
    remove: bool
    mode: int | None
    uid: int | None
    gid: int | None


class RunConfig(NamedTuple):
    """What the image's config says of running it. None inherits from the base, an empty value clears."""

    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: tuple[tuple[str, str], ...] | None = None
    user: str | None = None
    workdir: str | None = None
    stop_signal: str | None = None
    ports: tuple[str, ...] | None = None
    volumes: tuple[str, ...] | None = None
    labels: tuple[tuple[str, str], ...] | None = None
    default_cmd: tuple[str, ...] = ()


class AutoLabels(NamedTuple):
    """The automatic labels: empty text finds the value, None leaves the label out, other text is the value."""

    revision: str | None
    branch: str | None
    date: str | None
    version: str | None


class Compression(NamedTuple):
    """How layers are compressed: `gzip`, `zstd` or `none`; `compressor` as OCI_LAYER_COMPRESSOR says."""

    algorithm: str
    level: int
    compressor: str


class Names(NamedTuple):
    """What the image and its outputs are called.

    `stem` begins the outputs' names, `link` the links'; `tag` is the entry's ref.name, `full` the name for runtimes.
    """

    stem: str
    link: str
    tag: str
    full: str

    @property
    def base(self) -> str:
        """The image's name without what differs from build to build: IMAGE_BASENAME."""
        return self.link[: -len(self.tag) - 1]


@dataclass(frozen=True)
class Config:
    """A checked configuration. Paths are absolute; `epoch` is SOURCE_DATE_EPOCH in seconds, None where unset.

    `labels_from` is the folder whose git repository the automatic labels tell of; None leaves them out.
    `host_owner` is None where files of the host keep their owner.
    """

    names: Names
    platform: Platform
    layers: tuple[LayerSpec, ...]
    base: BaseRef | None
    run: RunConfig
    author: str
    annotations: tuple[tuple[str, str], ...]
    auto_labels: AutoLabels
    labels_from: str | None
    keep_empty: bool
    host_owner: tuple[int, int] | None
    path_rules: tuple[PathRule, ...]
    compression: Compression
    archives: bool
    archive_compression: str
    epoch: int | None
    rootfs: str | None
    deploy_dir: str
    notes: tuple[str, ...] = ()
