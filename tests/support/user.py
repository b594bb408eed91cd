# SPDX-License-Identifier: MIT
"""Code run as a user who is not root, whoever runs the tests."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_PREAMBLE = """
import os, sys
{imports}
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
"""


def run_as_user(imports: str, code: str, *arguments: object, within: Path) -> str:
    """The output of `code`, whose `imports` are done before privileges are dropped; opens the way to `within`."""
    for folder in [within, *within.parents]:
        if folder.stat().st_uid == 0 and folder.name and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o055)
    argv = [sys.executable, "-c", _PREAMBLE.format(imports=imports) + code, *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
