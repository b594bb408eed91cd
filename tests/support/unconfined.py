# SPDX-License-Identifier: MIT
"""A place for scripts that keeps nothing apart: for tests of what is around it."""

from __future__ import annotations

import os
import subprocess

from oe_oci.packages.maintainer.ran import Ran


class Open:
    """Runs scripts where the test is."""

    def __init__(self, root: str, scratch: str, before: str = "") -> None:
        self._root = root
        self._scratch = scratch
        self._before = before

    def place(self, name: str, content: bytes) -> str:
        path = os.path.join(self._scratch, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def run(self, argv, env, *, stdin=b"") -> Ran:
        said = subprocess.PIPE
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **env}
        done = subprocess.run(
            argv, env=env, cwd=self._root, input=stdin, stdout=said, stderr=subprocess.STDOUT, check=False
        )
        return Ran(done.returncode, self._before + done.stdout.decode("utf-8", "surrogateescape"), "")


def everywhere(root: str, scratch: str, before: str = "") -> Open:
    return Open(root, scratch, before)
