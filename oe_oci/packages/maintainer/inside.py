# SPDX-License-Identifier: MIT
"""What scripts find that run in the image itself: nothing of this machine, and a policy that starts no service.

Must not know how they are kept apart from this machine, nor formats of packages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...content import Literal
from ...tree import DIRECTORY, FILE, Entry, resolve
from ..database import read_file
from ..package import DEB

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ...tree import Tree
    from ..native.scripts import Left
    from .job import Job
    from .scripts import Script

_VARIABLES = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "TMPDIR": "/tmp",  # noqa: S108 - in a file system of its own
    # Else update-mime-database waits for the disk after each of its files, as if they were to outlast a power cut.
    "PKGSYSTEM_ENABLE_FSYNC": "0",
}
# What invoke-rc.d and deb-systemd-invoke ask; 101 is that it is not allowed.
_POLICY, _FORBIDS = "usr/sbin/policy-rc.d", Literal(b"#!/bin/sh\nexit 101\n")

_INFO = "var/lib/dpkg/info"
_QUESTIONS = ("templates", "config")


class Inside:
    """Such surroundings. There is nothing to intercept: scripts use the image's own programs."""

    def disguised(self, tree: Tree) -> Mapping[str, Entry]:
        folder, _, name = _POLICY.rpartition("/")
        place = resolve(tree, folder, follow=True)
        if place.entry is None or place.entry.kind != DIRECTORY or f"{place.path}/{name}" in tree:
            return {}
        return {f"{place.path}/{name}": Entry(FILE, 0o755, size=_FORBIDS.size, content=_FORBIDS)}

    def place(self, script: Script, tree: Tree) -> str:
        """As dpkg has it: debconf looks for a package's questions beside its scripts."""
        for stem in (script.package, f"{script.package}:{script.arch}") if script.kind == DEB else ():
            path = f"{_INFO}/{stem}.{script.name}"
            if read_file(tree, path) == script.data:
                return f"/{path}"
        return ""

    def beside(self, script: Script, job: Job) -> Mapping[str, bytes]:
        if script.kind != DEB or script.name != "preinst":
            return {}
        for one, contents in zip(job.selected, job.held):
            if (one.package.name, one.package.arch) == (script.package, script.arch):
                found = {name: contents.control.get(name) for name in _QUESTIONS}
                return {f"{script.package}.{name}": data for name, data in found.items() if data is not None}
        return {}

    def own(self, script: Script) -> Mapping[str, str]:
        # Of a `preinst` debconf else asks a file that dpkg has while it unpacks.
        return {"DEBCONF_PACKAGE": script.package} if script.kind == DEB and script.name == "preinst" else {}

    def prepare(self) -> None:
        pass

    def environment(self, epoch: int) -> Mapping[str, str]:
        return {**_VARIABLES, "SOURCE_DATE_EPOCH": str(epoch)}

    def intercept(self, epoch: int) -> Iterable[Left]:  # noqa: ARG002 - of the protocol
        return ()
