# SPDX-License-Identifier: MIT
"""What a git repository tells of the sources: commit, branch, date, and whether a tracked file is changed.

Must not know labels.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from .errors import ToolError
from .run import run

LOG = logging.getLogger("oe_oci")

# Takes no lock, and fetches nothing: not even what a partial clone lacks, for which git would run a configured program.
_ENVIRONMENT = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
}


class Revision(NamedTuple):
    """A commit's full digest, the branch (empty when detached), its date in seconds, changed tracked files."""

    commit: str
    branch: str
    time: int
    dirty: bool


def find_revision(folder: str) -> Revision | None:
    """The revision checked out where `folder` lies; None outside a repository, before its first commit, or without git.

    Raises:
        ToolError: git fails inside a repository.
    """
    try:
        head = _git(folder, "rev-parse", "--verify", "-q", "HEAD^{commit}")
    except ToolError:
        return None
    if head is None:
        return None
    time = _git(folder, "log", "-1", "--format=%ct", "--no-show-signature")
    options = ("--porcelain", "--untracked-files=no", "--ignore-submodules=dirty")
    changes = _git(folder, "status", *options, settings=_no_filters(folder))
    if time is None or changes is None:
        raise ToolError(
            f"git can not read the repository that holds {folder}",
            hint='mend it, or leave its labels out: OCI_IMAGE_AUTO_LABELS = "0"',
        )
    branch = _git(folder, "symbolic-ref", "-q", "--short", "HEAD") or ""
    if not branch.isprintable():
        LOG.warning("the branch's name %r is no text; its label is left out", branch)
        branch = ""
    return Revision(head, branch, int(time), bool(changes))


def _no_filters(folder: str) -> tuple[str, ...]:
    """Settings that switch off the filters a repository configures: programs that `status` would run on its files."""
    names = (_git(folder, "config", "--name-only", "--get-regexp", r"^filter\.") or "").splitlines()
    drivers = {name.rpartition(".")[0] for name in names}
    values = ("clean=", "smudge=", "process=", "required=false")
    return tuple(f"{driver}.{value}" for driver in sorted(drivers) for value in values)


def _git(folder: str, *words: str, settings: tuple[str, ...] = ()) -> str | None:
    # Another user's checkout is read too, so nothing that it brings along may run, and nothing is written to it.
    settings = ("safe.directory=*", "core.fsmonitor=false", *settings)
    argv = ["git", "-C", folder, *(part for setting in settings for part in ("-c", setting)), *words]
    done = run(argv, env=_ENVIRONMENT)
    return done.output.strip() if done.status == 0 else None
