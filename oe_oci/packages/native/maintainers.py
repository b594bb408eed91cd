# SPDX-License-Identifier: MIT
"""Maintainers' scripts of deb packages, run where dpkg does not see them, with the words that dpkg gives them.

Must not know how dpkg is called.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ...confined import placing
from .manager import Outcome, last_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..contents import Contents
    from .manager import Request
    from .scripts import Scripts

_MODE = 0o755


def run_new(
    scripts: Scripts, request: Request, held: Sequence[Contents], configured: Iterable[str], folder: str
) -> Outcome:
    """Run `preinst` and `postinst` of new packages, each after those of what it needs: in the order `configured`.

    As in OpenEmbedded's builds all are unpacked by then, and scripts of what is upgraded do not run. They are put into
    `folder` for that.
    """
    below = {one.name: one.version for one in request.installed if one.whole}
    new = {contents.fields["Package"]: contents.control for contents in held}
    order = [name for name in dict.fromkeys((*configured, *new)) if name in new]
    for script in ("preinst", "postinst"):
        for name in order:
            data = new[name].get(script)
            if data is None:
                continue
            argv = [_placed(folder, f"{name}.{script}", data), *_words(script, below.get(name, ""))]
            status, said = scripts.run(argv, request.epoch)
            if status:
                return Outcome(False, last_lines(said), name, f"its {script} ended with status {status}")
    return Outcome(True)


def _words(script: str, below: str) -> list[str]:
    """A script's arguments; `below` is the version that is upgraded, empty where there is none."""
    if script == "postinst":
        return ["configure", below] if below else ["configure"]
    return ["upgrade", below] if below else ["install"]


def _placed(folder: str, name: str, data: bytes) -> str:
    """The path of a script that can be run."""
    path = os.path.join(folder, name)
    with placing(path):
        os.makedirs(folder, exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, _MODE)
    return path
