# SPDX-License-Identifier: MIT
"""What the tools themselves say of the packages in a tree on disk, in one form for all formats.

Debian has no opkg: where none is on the PATH its own files are read here. Must not use the product.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from . import tools

if TYPE_CHECKING:
    from pathlib import Path

DATABASES = {"deb": "var/lib/dpkg", "ipk": "var/lib/opkg", "rpm": "var/lib/rpm"}
_RPM_VERSION = "%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}"


def versions(kind: str, root: Path) -> dict[str, tuple[str, str]]:
    """Every package that is wholly installed, by name: its version and architecture."""
    if kind == "rpm":
        text = _rpm(root, "-qa", "--qf", f"%{{NAME}} {_RPM_VERSION} %{{ARCH}}\\n")
    elif kind == "deb":
        form = "${Package} ${Version} ${Architecture} ${db:Status-Abbrev}\\n"
        text = tools.run("dpkg-query", *_admindir(root), "-W", "-f", form).stdout
        assert all(line.endswith(" ii ") for line in text.splitlines()), text
    else:
        states = {name: (one["Version"], one["Architecture"], one["Status"]) for name, one in _status(root).items()}
        assert all(state.endswith(" ok installed") for _, _, state in states.values()), states
        return {name: (version, arch) for name, (version, arch, _) in states.items()}
    rows = [line.split() for line in text.splitlines()]
    found = {row[0]: (row[1], row[2]) for row in rows}
    assert len(found) == len(rows), "a package is there twice"
    return found


def listed(kind: str, root: Path) -> list[str]:
    """The names that the command lists which people use: `dpkg -l`, `rpm -qa`, `opkg list-installed`."""
    if kind == "rpm":
        return sorted(_rpm(root, "-qa", "--qf", "%{NAME}\\n").split())
    if kind == "deb":
        table = tools.run("dpkg", f"--root={root}", "-l").stdout.partition("+++-")[2]
        return sorted(name.partition(":")[0] for name in re.findall(r"^ii +(\S+)", table, re.MULTILINE))
    if shutil.which("opkg"):
        text = tools.run("opkg", "--offline-root", root, "list-installed").stdout
        return sorted(line.partition(" ")[0] for line in text.splitlines())
    return sorted(_status(root))


def owners(kind: str, root: Path, path: str) -> set[str]:
    """The packages that have a path."""
    if kind == "rpm":
        return set(_rpm(root, "-qf", "--qf", "%{NAME}\\n", path).split())
    if kind == "deb":
        said = tools.run("dpkg-query", *_admindir(root), "-S", path).stdout
        return {name.partition(":")[0] for name in said.partition(": ")[0].split(", ")}
    lists = (root / DATABASES[kind] / "info").glob("*.list")
    return {one.stem for one in lists if path in [line.split("\t")[0] for line in one.read_text().splitlines()]}


def faults(kind: str, root: Path) -> list[str]:
    """What the tool says is not as its database has it; times are no fault. opkg looks at nothing."""
    if kind == "rpm":
        return _rpm(root, "-Va", "--nomtime", status=None).splitlines()
    if kind == "deb":
        verify = tools.run("dpkg", f"--root={root}", "--verify", status=None).stdout
        return [*verify.splitlines(), *tools.run("dpkg", f"--root={root}", "--audit").stdout.splitlines()]
    return []


def _admindir(root: Path) -> list[object]:
    tools.need("dpkg-query")
    return ["--admindir", root / DATABASES["deb"]]


def _rpm(root: Path, *words: object, status: int | None = 0) -> str:
    tools.need("rpm")
    tools.need_root()
    return tools.run("rpm", "--root", root, "--dbpath", "/" + DATABASES["rpm"], *words, status=status).stdout


def _status(root: Path) -> dict[str, dict[str, str]]:
    text = (root / DATABASES["ipk"] / "status").read_text(encoding="utf-8")
    paragraphs = [dict(re.findall(r"^([\w-]+): (.*)$", one, re.MULTILINE)) for one in text.split("\n\n")]
    return {one["Package"]: one for one in paragraphs if one}
