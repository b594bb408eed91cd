# SPDX-License-Identifier: MIT
"""Programs that run in the image itself, as in a container."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from . import tools


def inside(root: Path, *words: object, status: int | None = 0) -> str:
    """What a program says that runs in a root file system as root."""
    tools.need("bwrap")
    mounts = ["--bind", root, "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]
    apart = ["--cap-add", "ALL", "--unshare-pid", "--unshare-net", "--clearenv", "--chdir", "/"]
    return tools.run("bwrap", *mounts, *apart, *words, status=status).stdout


def install(root: Path, *packages: Path, by: tuple[str, ...]) -> None:
    """Have a package manager inside install packages; `by` are its words before their paths."""
    for one in packages:
        shutil.copy(one, root)
    inside(root, *by, *(f"/{one.name}" for one in packages))
    for one in packages:
        (root / one.name).unlink()


def with_program(root: Path, name: str) -> None:
    """Have a root file system a program of this machine, with the libraries it needs."""
    tools.need(name, "ldd")
    program = shutil.which(name) or ""
    for folder in ("bin", "lib", "lib64"):
        (root / folder).mkdir(exist_ok=True)
    shutil.copy(program, root / "bin" / name)
    for library in map(Path, re.findall(r"(/\S+) \(0x", tools.run("ldd", program).stdout)):
        # The loader is called by its whole path.
        shutil.copy(library, root / ("lib64" if library.name.startswith("ld-") else "lib"))
