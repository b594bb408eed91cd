# SPDX-License-Identifier: MIT
"""Packages with scripts that work in the image itself as well as on this machine, where `$D` is the image's folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from . import tools
from .sources import NATIVE, Source, file, symlink

# rpm itself runs scriptlets in the image, which needs a shell then; outside of it they find the image in $D.
BUSYBOX = ("sh", "cat", "chmod", "chown", "echo", "false", "grep", "id", "ln", "ls", "mkdir", "mkfifo", "rm", "sort")


def shell() -> Source:
    tools.need("busybox")
    program = Path(shutil.which("busybox") or "").read_bytes()
    links = [symlink(f"/bin/{name}", "busybox") for name in BUSYBOX]
    return Source("shell", "1.0-1", [file("/bin/busybox", program, mode=0o755), *links], NATIVE)


def script(text: str) -> str:
    return f"#!/bin/sh\nset -e\n{text}\n"


def noting(name: str, *, inside: str = "/usr/share", **fields: Any) -> Source:
    """A package whose scripts note that they run, and which files of packages there are."""
    scripts = {
        each: script(
            f"mkdir -p $D/var\necho {name} {each} >>$D/var/{each}\n"
            f"test ! -e $D{inside}/{name} || echo {name} is there >>$D/var/{each}"
        )
        for each in ("preinst", "postinst")
    }
    return Source(name, files=[file(f"{inside}/{name}")], scripts=scripts, **fields)


CALLED = ("preinst", "postinst", "prerm", "postrm")


def calling(version: str) -> Source:
    """A package whose scripts note the words they get."""
    told = {name: script(f'mkdir -p $D/var; echo {name} {version}: "$@" >>$D/var/{name}') for name in CALLED}
    return Source("lib", version, [file(f"/usr/share/lib-{version}")], scripts=told)


# Adds an account `app`, where none is there.
ACCOUNTS = (
    "mkdir -p $D/etc; cd $D/etc; test -e passwd || echo root:x:0:0:root:/root:/bin/sh >passwd\n"
    "test -e group || echo root:x:0: >group\n"
    "grep -q ^app: passwd || echo app:x:777:778::/srv:/bin/false >>passwd\n"
    "grep -q ^app: group || echo app:x:778: >>group"
)


def alternatives_of_opkg_utils() -> bytes:
    """The program of opkg-utils, which lies beside its others; Debian's has the same name."""
    tools.need("opkg-build")
    program = Path(shutil.which("opkg-build") or "").resolve().parent / "update-alternatives"
    if not program.exists():
        pytest.skip("no update-alternatives of opkg-utils")
    return program.read_bytes()


def editor(name: str, priority: int, version: str = "1.0-1", *, ours: bool = True) -> Source:
    link = f"vi vi /usr/bin/{name}"
    adds = f"update-alternatives --install /usr/bin/{link} {priority}"
    scripts = {
        "postinst": script(adds if ours else ":"),
        "prerm": script(f"update-alternatives --remove vi /usr/bin/{name}"),
    }
    return Source(name, version, [file(f"/usr/bin/{name}", mode=0o755)], scripts=scripts)
