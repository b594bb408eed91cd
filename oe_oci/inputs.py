# SPDX-License-Identifier: MIT
"""What an image is made of, opened as far as its layers need it: base image, rootfs, feeds of packages.

Must not know what the layers take.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import TYPE_CHECKING, Callable, NamedTuple

from .base import Base, open_base
from .errors import ConfigError, Fault
from .packages.feed import Feeds, open_feeds
from .packages.index import Remembered
from .packages.installer import Installer, policy_of
from .packages.native.apt import Apt
from .packages.native.catalog import DebianCatalog
from .packages.native.dnf import Dnf
from .packages.native.installer import NativeInstaller
from .packages.native.manager import Place
from .packages.native.opkg import Opkg, plainly
from .packages.native.root import WorkRoot, check_rights
from .packages.native.rpmcatalog import RpmCatalog
from .packages.package import IPK
from .packages.payload import Payloads
from .packages.recall import PackageReader
from .plan import Inputs, needs_packages, needs_rootfs
from .rootfs import open_rootfs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .config import Config
    from .memory import Memory
    from .packages.contents import Contents
    from .packages.native.catalog import Catalog
    from .packages.native.manager import Manager
    from .packages.package import Package
    from .packages.rpm import feed as rpm
    from .plan import Installs
    from .tree import Tree

# What gives a user who is not root the rights that rpm needs.
_MAPPED = "unshare --map-root-user --map-auto"


class Options(NamedTuple):
    """What does not belong to the image.

    `jobs` are threads, `limit` bounds the bytes one input may unpack to, `status` is told what is being done. With
    `paranoid` every input is read, whatever earlier builds found out.
    """

    jobs: int
    limit: int | None = None
    status: Callable[[str], None] = lambda _text: None
    paranoid: bool = False


@contextlib.contextmanager
def open_inputs(
    config: Config, options: Options, memory: Memory, stage: str | None = None
) -> Iterator[tuple[Base, Inputs]]:
    """The base image, and all that layers are made of; a context manager.

    What is found out of them goes into `memory`, and what that knows already is not read.

    The base's blobs are copied into the layout that is staged in the folder `stage`, where there is one; temporary
    files lie there too.

    Raises:
        ConfigError, InputError, ToolError: an input is not there, damaged, or can not be read.
    """
    with contextlib.ExitStack() as stack:
        if config.base is not None:
            options.status("base image")
        blobs = os.path.join(stage, "layout", "blobs") if stage else None
        base = stack.enter_context(
            open_base(config.base, config.platform, blobs=blobs, limit=options.limit, scratch=stage, memory=memory)
        )
        rootfs = None
        if needs_rootfs(config):
            assert config.rootfs is not None
            options.status("rootfs")
            rootfs = stack.enter_context(
                open_rootfs(config.rootfs, config.epoch, limit=options.limit, scratch=stage, memory=memory)
            )
        installer = None
        if needs_packages(config):
            options.status("feeds")
            installer = _installer(config, options, memory, base.tree, stage, stack)
        yield base, Inputs(base.tree, rootfs, installer, memory.digests)


def _installer(
    config: Config, options: Options, memory: Memory, base: Tree, stage: str | None, stack: contextlib.ExitStack
) -> Installs:
    settings = config.packages
    feeds = open_feeds(
        settings.feeds,
        kind=settings.kind,
        archs=settings.archs,
        native=settings.native,
        remember=Remembered(memory.indexes, memory.digests),
        limit=options.limit,
    )
    payloads = stack.enter_context(Payloads(stage, notes=memory.notes))
    reader = PackageReader(payloads, memory, options.jobs, options.limit)

    def read(packages: Sequence[Package]) -> list[Contents]:
        options.status(f"{len(packages)} packages")
        for package in packages:
            feeds.check_present(package)
        return reader.read(packages)

    if settings.manager == "builtin":
        if not isinstance(feeds, Feeds):
            hint = "give a feed of deb or ipk packages"
            raise ConfigError([Fault("IMAGE_PKGTYPE", "packages of rpm feeds are not installed yet", hint)])
        return Installer(config, feeds, base, read, reader.hold)
    rights = ("opkg" if feeds.kind == IPK else "apt", "fakeroot") if isinstance(feeds, Feeds) else ("dnf", _MAPPED)
    check_rights(*rights)
    folder = stage or stack.enter_context(tempfile.TemporaryDirectory(prefix="oe-oci-", ignore_cleanup_errors=True))
    root = stack.enter_context(WorkRoot(os.path.join(folder, "work"), config.epoch, options.jobs))
    place = stack.enter_context(plainly(Place(root.path, root.scratch)))
    catalog, manager = _manager(config, memory, feeds, place)
    return NativeInstaller(config, base, catalog, manager, root, read)


def _manager(config: Config, memory: Memory, feeds: Feeds | rpm.Feeds, place: Place) -> tuple[Catalog, Manager]:
    """The package manager of the feeds' format, and what it may take."""
    policy = policy_of(config.packages, feeds.kind)
    if not isinstance(feeds, Feeds):
        return RpmCatalog(feeds, policy), Dnf(place, config.packages.feeds, feeds.archs, policy, config.accounts)
    catalog = DebianCatalog(feeds, policy)
    if feeds.kind == IPK:
        return catalog, Opkg(place, catalog)
    return catalog, Apt(place, catalog, lambda package: _digest(package, memory))


def _digest(package: Package, memory: Memory) -> str:
    """The SHA-256 of a package's file."""
    return package.digest or memory.digests(memory.digests.file(package.path)).hex()
