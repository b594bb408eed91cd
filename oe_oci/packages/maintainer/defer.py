# SPDX-License-Identifier: MIT
"""Scripts left to the first boot, in the folder where the format's own service looks for them.

Follows OpenEmbedded's run-postinsts: the files of `/etc/ipk-postinsts` and its like run in the order of their names,
and each is removed that succeeds. Must not know what scripts do.
"""

from __future__ import annotations

import logging
import re
import shlex
from typing import TYPE_CHECKING

from ...content import Literal
from ...populate import Wanted
from ...tree import FILE, Entry, Overlay, encode, join, parent, resolve
from ..package import RPM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ...delta import Delta
    from ...tree import Tree
    from .job import Job
    from .scripts import Script

LOG = logging.getLogger("oe_oci")

_CONFIGURING = ("postinst", "postin", "posttrans")
_NUMBERED = re.compile(r"([0-9]+)-")


class Defer:
    """Records what would run after the files of packages are placed; what would run before does not run at all.

    `epoch` is the time of what is made.
    """

    def __init__(self, scripts: Callable[[Job, Tree], Sequence[Script]], epoch: int) -> None:
        self._scripts = scripts
        self._epoch = epoch

    def before(self, job: Job, tree: Tree) -> Tree:  # noqa: ARG002 - of the protocol
        return tree

    def after(self, job: Job, tree: Tree, below: Tree, wanted: Wanted) -> Wanted:
        # What would run of packages that are upgraded has no place in the new image.
        scripts = [script for script in self._scripts(job, below) if script.name in _CONFIGURING]
        upper = Overlay(tree, dict(wanted.entries), wanted.removed)
        folder = resolve(upper, f"etc/{job.kind}-postinsts", follow=True).path
        there = {path.rpartition("/")[2] for path in (*tree.entries, *upper.entries) if parent(path) == folder}
        left = {join(folder, name) for name in there if _package_of(name) in _upgraded(job)}
        upper.removed.update(path for path in left if path not in upper.entries)
        for at, script in enumerate(scripts, _next(there)):
            content = Literal(_runnable(script))
            entry = Entry(FILE, 0o755, mtime=self._epoch, size=content.size, content=content)
            upper.put(join(folder, f"{at:03d}-{script.package}"), entry, self._epoch)
        if scripts:
            names = ", ".join(dict.fromkeys(script.package for script in scripts))
            message = "layer '%s': left to the first boot, which a container has not: the scripts of %s"
            LOG.warning(message, job.layer, names)
        return Wanted(upper.entries, tuple(sorted(upper.removed)))

    def waits(self) -> bool:
        return False

    def left(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(names)

    def keep(self, delta: Delta, shape: str, key: str) -> None:
        """What is left to the first boot is known by the packages."""

    def withheld(self, tree: Tree) -> Mapping[str, Entry]:  # noqa: ARG002 - of the protocol
        return {}


def _upgraded(job: Job) -> set[str]:
    """The names of the packages below that go."""
    return {old.name for one in job.selected for old in (one.replaces, *one.obsoletes) if old is not None}


def _package_of(name: str) -> str:
    """The package whose script a file is; empty where it is none."""
    match = _NUMBERED.match(name)
    return name[match.end() :] if match else ""


def _runnable(script: Script) -> bytes:
    """A script as a file that runs by itself: rpm has what runs it apart."""
    if script.kind != RPM:
        return script.data
    if not script.data:
        return encode(f"#!/bin/sh\nexec {shlex.join(script.interpreter)}\n")
    return encode(f"#!{' '.join(script.interpreter)}\n") + script.data


def _next(names: Iterable[str]) -> int:
    """The number after those that files have already."""
    found = (_NUMBERED.match(name) for name in names)
    return max((int(match[1]) + 1 for match in found if match), default=0)
