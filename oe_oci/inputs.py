# SPDX-License-Identifier: MIT
"""What an image is made of, opened as far as its layers need it: base image, rootfs, feeds of packages.

Must not know what the layers take.
"""

from __future__ import annotations

import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING, Callable, NamedTuple

from .base import Base, open_base
from .config import CUT, RestLayer
from .owned import Owned, read_owned
from .plan import Inputs, check_apart, needs_packages, needs_rootfs
from .removal import remove_folder
from .rootfs import open_rootfs
from .tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .config import Config
    from .memory import Memory
    from .packages.contents import Contents
    from .packages.installation import Installer
    from .packages.package import Package


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
    check_apart(config)
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
        owned = _read_owned(config)
        installer: Installer | None = None
        if config.laid_out:
            from .packages.laidout import LaidOutInstaller

            installer = LaidOutInstaller(config, memory.digests)
        elif needs_packages(config) and config.packages.manager == CUT:
            from .packages.cut import CutInstaller

            assert rootfs is not None
            rootfs = Tree(dict(rootfs.walk("")))  # all of it is looked at several times
            installer = CutInstaller(config, rootfs, owned, base.tree)
        elif needs_packages(config):
            options.status("feeds")
            scratch = stage or stack.enter_context(_scratch())
            installer = stack.enter_context(_open_installer(config, options, memory, base.tree, scratch))
        yield base, Inputs(base.tree, rootfs, installer, memory.digests, owned.paths)


def _read_owned(config: Config) -> Owned:
    """What packages have in the rootfs, where a layer asks for it and the configuration says where to find it."""
    files = [spec.owned for spec in config.layers if isinstance(spec, RestLayer) and spec.owned is not None]
    return read_owned(files[0], with_needs=config.packages.manager == CUT) if files else Owned()


@contextlib.contextmanager
def _scratch() -> Iterator[str]:
    """A temporary folder."""
    import tempfile

    folder = tempfile.mkdtemp(prefix="oe-oci-")
    try:
        yield folder
    finally:
        remove_folder(folder)


@contextlib.contextmanager
def _open_installer(config: Config, options: Options, memory: Memory, base: Tree, scratch: str) -> Iterator[Installer]:
    from .packages.contents import Reading
    from .packages.feed import Feeds, open_feeds
    from .packages.index import Remembered
    from .packages.payload import Payloads
    from .packages.recall import PackageReader

    settings = config.packages
    feeds = open_feeds(
        settings.feeds,
        kind=settings.kind,
        archs=settings.archs,
        native=settings.native,
        remember=Remembered(memory.indexes, memory.digests),
        limit=options.limit,
    )
    with Payloads(scratch, notes=memory.notes) as payloads:
        reader = PackageReader(payloads, memory, options.jobs, options.limit)

        def read(packages: Sequence[Package]) -> list[Contents]:
            options.status(f"{len(packages)} packages")
            for package in packages:
                feeds.check_present(package)
            return reader.read(packages)

        if settings.manager == "native":
            from .packages.native.choose import open_workshop
            from .packages.native.installer import NativeInstaller

            with open_workshop(config, feeds, memory, scratch, options.jobs) as workshop:
                yield NativeInstaller(config, base, workshop, read)
            return
        from .packages.maintainer.choose import open_maintainer

        with open_maintainer(config, feeds.kind, memory, scratch, options.jobs) as maintainer:
            reading = Reading(read, reader.hold)
            if isinstance(feeds, Feeds):
                from .packages.installer import Installer as DebianInstaller

                yield DebianInstaller(config, feeds, base, reading, maintainer)
            else:
                from .packages.rpm.installer import RpmInstaller
                from .packages.rpm.made import content_of
                from .packages.scratch import Scratch

                with Scratch(scratch, memory=0) as databases:
                    make = partial(content_of, memory=memory, scratch=databases)
                    yield RpmInstaller(config, feeds, base, reading, make, maintainer)
