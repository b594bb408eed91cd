# SPDX-License-Identifier: MIT
"""What becomes of the scripts of packages, as OCI_PACKAGE_SCRIPTS says, and where they run. Must not know layers."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING

from ...staging import staging
from ...store import Store
from ..database import KEEP
from ..dpkg import MARKS
from ..foreign import DATABASES
from ..native.links import led_inside
from ..native.manager import Place
from ..native.scripts import Scripts
from ..native.volatile import COMMON, DPKG, OPKG
from ..native.volatile import RPM as RPM_LEFT
from ..package import DEB, IPK, RPM
from .bootstrap import check_interpreter, phases_inside, phases_outside
from .defer import Defer
from .inside import Inside
from .job import Skip
from .pending import pending
from .phases import phases_of
from .processors import runs
from .recall import Recall
from .runner import Runner, Surroundings, Way
from .sandbox import CHROOT, OFFLINE, chroot, decides, offline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ...config import Config
    from ...memory import Memory
    from ...tree import Entry, Tree
    from .job import Job, Maintainer
    from .ran import Make
    from .scripts import Script

_VOLATILE = {DEB: (*COMMON, *DPKG), IPK: (*COMMON, *OPKG), RPM: (*COMMON, *RPM_LEFT)}

_PLACES = {**DATABASES, DEB: (*DATABASES[DEB], f"{MARKS}/")}


class Outside(Scripts):
    """What scripts find that run on this machine: links of the image do not lead out of it."""

    def disguised(self, tree: Tree) -> Mapping[str, Entry]:
        return led_inside(tree)

    def place(self, script: Script, tree: Tree) -> str:  # noqa: ARG002 - of the protocol
        return ""

    def beside(self, script: Script, job: Job) -> Mapping[str, bytes]:  # noqa: ARG002 - of the protocol
        return {}

    def own(self, script: Script) -> Mapping[str, str]:  # noqa: ARG002 - of the protocol
        return {}


def mode_of(scripts: str, kind: str, architecture: str) -> str:
    """`skip`, `defer`, `offline` or `chroot`, as it is said.

    Else the last is how scripts of a deb run, as long as this machine runs programs for the architecture, which is in
    Debian's words.
    """
    if scripts == "run":
        return CHROOT if kind == DEB and runs(architecture) else OFFLINE
    return scripts.rpartition(":")[2]


def _sandbox(mode: str) -> Make:
    if mode == CHROOT:
        return chroot
    # What a build has for scripts can lie in a folder that they do not see else.
    return partial(
        offline, readable=[os.environ[name] for name in ("INTERCEPT_DIR", "NATIVE_ROOT") if name in os.environ]
    )


@contextlib.contextmanager
def open_maintainer(config: Config, kind: str, memory: Memory, folder: str, jobs: int) -> Iterator[Maintainer]:
    """What does with scripts of packages of a format as it is asked for; a context manager.

    Scripts run in OCI_WORK_DIR, else in `folder`; `jobs` are threads that hash. `memory` knows of earlier builds.
    """
    mode, epoch = mode_of(config.packages.scripts, kind, config.packages.native), config.epoch or 0
    if mode == "skip":
        yield Skip()
        return
    if mode == "defer":
        yield Defer(lambda job, tree: phases_of(job, tree).after, epoch)
        return

    @contextlib.contextmanager
    def start() -> Iterator[Surroundings]:
        from .work import open_work  # noqa: PLC0415 - what scripts did is mostly known

        with contextlib.ExitStack() as stack:
            place = folder
            if config.work_dir is not None:
                place = stack.enter_context(staging(config.work_dir, f"{config.names.base}.work"))
            work = stack.enter_context(open_work(os.path.join(place, "scripts"), config.epoch, jobs, _sandbox(mode)))

            def run(argv: Sequence[str], env: Mapping[str, str]) -> tuple[int, str]:
                ran = work.run(argv, env)
                return (ran.status or 1 if ran.ended else ran.status), ran.said

            if mode == CHROOT:
                yield Surroundings(work, Inside(), "", _VOLATILE[kind], check_interpreter)
            else:
                found = Outside(Place(work.root, work.scratch), run)
                yield Surroundings(work, found, work.root, _VOLATILE[kind])

    # Inside, debconf runs `config` when a `postinst` asks for it.
    inside = Way(phases_inside, pending if kind == DEB else None, ())
    way = inside if mode == CHROOT else Way(phases_outside)
    apart = () if config.packages.database == KEEP else _PLACES[kind]
    with contextlib.ExitStack() as stack:
        recall = _recall(config, mode, memory, folder)
        if recall is not None:
            stack.enter_context(recall)
        runner = Runner(start, way, apart=apart, epoch=epoch, recall=recall)
        yield stack.enter_context(runner)


def _recall(config: Config, mode: str, memory: Memory, folder: str) -> Recall | None:
    """What scripts did in earlier builds, where anything is kept."""
    if not memory.keeps or config.cache_dir is None:
        return None

    def settings() -> list[object]:
        # What scripts find is not known by where they find it.
        found = Scripts(Place("", "")).told
        return [decides(mode), config.epoch, config.packages.database, config.accounts, found]

    return Recall(memory, Store(config.cache_dir), folder, settings)
