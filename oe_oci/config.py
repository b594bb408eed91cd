# SPDX-License-Identifier: MIT
"""What is to be built, complete and checked: nothing after this reads a variable, the environment or the clock.

Values only; `configure` makes a `Config` from variables.
"""

from __future__ import annotations

from typing import NamedTuple, Union

from .oci.spec import Platform  # noqa: TC001 - a field's type

ARCHIVES = ("-oci.tar", "-oci-dir.tar")


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


class RestLayer(NamedTuple):
    """What the rootfs has beyond the layers below; `owned` is the path of the file that says whose it is, or None."""

    name: str
    owned: str | None
    kind: str = "rootfs-rest"


class DatabaseLayer(NamedTuple):
    """The packages' database as it stands after all other layers: the last one where the database is to be on top."""

    name: str = "package-database"
    kind: str = "database"


LayerSpec = Union[PackagesLayer, PathsLayer, HostLayer, RootfsLayer, RestLayer, DatabaseLayer]


CUT = "rootfs"  # the manager that installs nothing: a layer of packages is what they have in the rootfs


class PackageSettings(NamedTuple):
    """Where packages come from, and which are taken.

    `kind` is `deb` or `ipk`, None where the feeds tell. `feeds` are absolute folders, the first one first. `archs` has
    the lowest priority first, None stands for what the feeds hold; `native` is the target's architecture in Debian's
    words. `database` is what becomes of the packages' database: `keep`, `top`, `status.d` or `remove`. `manager` is
    what installs: `native`, the real package manager of the format, `builtin`, or CUT. `prefer_color` is rpm's
    bit for the kind of ELF file that stays where two packages have different ones at a path. `scripts` is what becomes
    of the scripts of packages, as OCI_PACKAGE_SCRIPTS says.
    """

    kind: str | None
    feeds: tuple[str, ...]
    archs: tuple[str, ...] | None
    native: str
    recommends: bool
    bad_recommendations: tuple[str, ...]
    exclude: tuple[str, ...]
    database: str
    manager: str = "builtin"
    prefer_color: int = 2
    scripts: str = "run"


class User(NamedTuple):
    """A declared user. `group` is a group's name, or its number in digits; empty means one of the user's own name."""

    name: str
    uid: int
    group: str
    home: str
    shell: str


class Group(NamedTuple):
    """A declared group; `members` are users' names."""

    name: str
    gid: int
    members: tuple[str, ...] = ()


class Accounts(NamedTuple):
    """The users and groups of OCI_IMAGE_ACCOUNTS; no two users, and no two groups, have one name or number."""

    users: tuple[User, ...] = ()
    groups: tuple[Group, ...] = ()

    @property
    def own_groups(self) -> tuple[Group, ...]:
        """The groups that users without one get, of their own names and numbers; not those declared."""
        names = {group.name for group in self.groups}
        return tuple(Group(user.name, user.uid) for user in self.users if not user.group and user.name not in names)


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
    """How layers are compressed: `gzip`, `zstd` or `none`; `compressor` as OCI_LAYER_COMPRESSOR says.

    Without a `level` it is the compressor's own default.
    """

    algorithm: str
    level: int | None
    compressor: str


class Names(NamedTuple):
    """What the image and its outputs are called.

    `stem` begins the outputs' names, `link` the links'; `tag` is the entry's ref.name, `full` the name for runtimes.
    `archives` end the names of the archives, uncompressed: of that with the layout at its root, and in a folder.
    """

    stem: str
    link: str
    tag: str
    full: str
    archives: tuple[str, str] = ARCHIVES

    @property
    def base(self) -> str:
        """The image's name without what differs from build to build: IMAGE_BASENAME."""
        return self.link[: -len(self.tag) - 1]


class Config(NamedTuple):
    """A checked configuration. Paths are absolute; `epoch` is SOURCE_DATE_EPOCH in seconds, None where unset.

    `cache_dir` is the folder of what earlier builds left and later ones may use; None uses and leaves nothing.
    `work_dir` is where package managers work, None for the folder that outputs are made in.
    `labels_from` is the folder whose git repository the automatic labels tell of; None leaves them out.
    `laid_out` are the folders that the layers of packages are laid out in, one for each; none where packages are
    installed.
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
    packages: PackageSettings
    accounts: Accounts
    compression: Compression
    archives: bool
    archive_compression: str
    epoch: int | None
    rootfs: str | None
    deploy_dir: str
    cache_dir: str | None
    work_dir: str | None = None
    laid_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def package_layers(self) -> list[PackagesLayer]:
        return [layer for layer in self.layers if isinstance(layer, PackagesLayer)]


def rootfs_variable(number: int) -> str:
    """The variable that says where the layer of packages of that number, from 1 on, is laid out."""
    return f"OCI_LAYER_{number}_ROOTFS"
