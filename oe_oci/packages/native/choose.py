# SPDX-License-Identifier: MIT
"""Which package manager installs the packages of feeds, and where it works. Must not know layers."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from ...staging import staging
from ...store import Store
from ..feed import Feeds
from ..package import IPK
from ..world import policy_of
from .apt import Apt
from .catalog import Catalog, DebianCatalog
from .dnf import Dnf
from .installer import Workshop
from .manager import Manager, Place
from .opkg import Opkg, plainly
from .recall import Recall
from .repository import repositories
from .root import WorkRoot, check_rights
from .rpmcatalog import RpmCatalog
from .scripts import Scripts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...config import Config
    from ...memory import Memory
    from ..rpm.feed import Feeds as RpmFeeds


@contextlib.contextmanager
def open_workshop(
    config: Config, feeds: Feeds | RpmFeeds, memory: Memory, folder: str, jobs: int
) -> Iterator[Workshop]:
    """The package manager for feeds of a format, working in OCI_WORK_DIR, else in `folder`; a context manager.

    `jobs` are threads that hash.

    Raises:
        ToolError: there is none, or it may not do its work.
    """
    rpm = not isinstance(feeds, Feeds)
    check_rights(
        "dnf" if rpm else "opkg" if feeds.kind == IPK else "apt",
        "unshare --map-root-user --map-auto" if rpm else "fakeroot",
    )
    with contextlib.ExitStack() as stack:
        if config.work_dir is not None:
            # By another name than that of the place of outputs, which may be in the same folder.
            folder = stack.enter_context(staging(config.work_dir, f"{config.names.base}.work"))
        root = stack.enter_context(WorkRoot(os.path.join(folder, "work"), config.epoch, jobs))
        place = stack.enter_context(plainly(Place(root.path, root.scratch)))
        scripts = Scripts(place)
        recall = None
        if memory.keeps and config.cache_dir is not None:
            decides = [config.packages._replace(feeds=()), config.accounts, config.epoch, scripts.told]
            recall = stack.enter_context(Recall(memory, Store(config.cache_dir), root.scratch, decides))
        yield Workshop(*_manager(config, feeds, place, scripts), scripts, root, recall)


def _manager(config: Config, feeds: Feeds | RpmFeeds, place: Place, scripts: Scripts) -> tuple[Catalog, Manager]:
    """The package manager of the feeds' format, and what it may choose from."""
    policy = policy_of(config.packages, feeds.kind)
    if not isinstance(feeds, Feeds):
        dnf = Dnf(place, repositories(feeds), feeds.archs, policy, config.accounts, scripts)
        return RpmCatalog(feeds, policy), dnf
    catalog = DebianCatalog(feeds, policy)
    return catalog, (Opkg if feeds.kind == IPK else Apt)(place, catalog, scripts)
