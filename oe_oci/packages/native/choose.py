# SPDX-License-Identifier: MIT
"""Which package manager installs the packages of feeds, and where it works. Must not know layers."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple

from ..feed import Feeds
from ..installer import policy_of
from ..package import IPK
from .apt import Apt
from .catalog import Catalog, DebianCatalog
from .dnf import Dnf
from .manager import Manager, Place
from .opkg import Opkg, plainly
from .root import WorkRoot, check_rights
from .rpmcatalog import RpmCatalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ...config import Config
    from ..package import Package
    from ..rpm.feed import Feeds as RpmFeeds


class Workshop(NamedTuple):
    """A package manager with what it may choose from, and the directory that it installs into."""

    catalog: Catalog
    manager: Manager
    root: WorkRoot


@contextlib.contextmanager
def open_workshop(
    config: Config, feeds: Feeds | RpmFeeds, folder: str, jobs: int, digest: Callable[[Package], str]
) -> Iterator[Workshop]:
    """The package manager for feeds of a format, working in the folder `folder`; a context manager.

    `jobs` are threads that hash; `digest` gives the SHA-256 of a package's file in hexadecimal.

    Raises:
        ToolError: there is none, or it may not do its work.
    """
    policy = policy_of(config.packages, feeds.kind)
    with contextlib.ExitStack() as stack:
        rpm = not isinstance(feeds, Feeds)
        tool = "dnf" if rpm else "opkg" if feeds.kind == IPK else "apt"
        check_rights(tool, "unshare --map-root-user --map-auto" if rpm else "fakeroot")
        root = stack.enter_context(WorkRoot(os.path.join(folder, "work"), config.epoch, jobs))
        place = stack.enter_context(plainly(Place(root.path, root.scratch)))
        if not isinstance(feeds, Feeds):
            dnf = Dnf(place, config.packages.feeds, feeds.archs, policy, config.accounts)
            yield Workshop(RpmCatalog(feeds, policy), dnf, root)
            return
        catalog = DebianCatalog(feeds, policy)
        yield Workshop(catalog, Opkg(place, catalog) if feeds.kind == IPK else Apt(place, catalog, digest), root)
