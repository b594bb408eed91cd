# SPDX-License-Identifier: MIT
"""What a git repository tells of the sources: commit, branch, date, and whether a tracked file is changed.

Must not know labels.
"""

from __future__ import annotations

from typing import NamedTuple

from .errors import ToolError
from .run import run


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
    # Read-only and without the repository's own helpers: a build must not run what a checkout brings along.
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    if time is None or changes is None:
        raise ToolError(f"git can not read the repository that holds {folder}")
    branch = _git(folder, "symbolic-ref", "-q", "--short", "HEAD") or ""
    return Revision(head, branch, int(time), bool(changes))


def _git(folder: str, *words: str) -> str | None:
    # Another user's checkout is fine: nothing is written to it.
    settings = ("safe.directory=*", "core.fsmonitor=false", "core.quotePath=true")
    argv = ["git", "-C", folder, *(part for setting in settings for part in ("-c", setting)), *words]
    done = run(argv, env={"GIT_OPTIONAL_LOCKS": "0", "GIT_CONFIG_NOSYSTEM": "1"})
    return done.output.strip() if done.status == 0 else None
