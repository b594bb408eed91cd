# SPDX-License-Identifier: MIT
"""The distribution's real packages as .rpm: the same names and files with all their facts, by the real rpmbuild.

A version stays as it is but for what rpm knows no place for. Relations lose their versions, as the two formats do not
put all versions in one order; with that go the relations that are against some versions only. Scripts are dpkg's, and
left out. So are the folders of a system that is not usr-merged: where /bin is a link, rpm takes no folder of that name.
"""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
from typing import TYPE_CHECKING, NamedTuple

from . import debian, merge, specs, tools
from .sources import NATIVE, Node, Source, file, folder, symlink

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

# With all they need more than a hundred.
NAMES = (
    *("base-files", "base-passwd", "bash", "ca-certificates", "coreutils", "curl", "dash", "diffutils", "findutils"),
    *("git", "grep", "gzip", "iputils-ping", "jq", "ncurses-bin", "netbase", "openssh-client", "openssl", "passwd"),
    *("perl", "procps", "python3", "sed", "tar", "util-linux", "vim-tiny"),
)
FEWEST = 100
_MERGED = ("bin", "lib", "lib64", "sbin")
_KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.LNKTYPE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "link",
}


class Real(NamedTuple):
    """A real package in both forms."""

    source: Source
    deb: Path
    rpm: Path


def packages(place: Path, *, compression: str = "zstd") -> dict[str, Real]:
    """`NAMES` and all they need, by name, as .rpm in a folder without metadata. Without `system`."""
    debs = debian.packages(NAMES)
    assert len(debs) >= FEWEST
    place.mkdir(parents=True, exist_ok=True)
    with tools.scratch("oe-oci-debian-rpms-") as room:
        root = room / "root"
        found = [source_of(deb, root) for deb in debs.values()]
        rpms = specs.build(found, root, place, compression=compression)
    return {one.name: Real(one, debs[one.name], rpms[one.name]) for one in found}


def system(real: Mapping[str, Real]) -> Source:
    """What scripts of Debian's installer make: the links of a merged system, and the accounts that files belong to."""
    listed = subprocess.run(
        ["dpkg-deb", "--fsys-tarfile", real["base-passwd"].deb], stdout=subprocess.PIPE, check=True
    ).stdout
    accounts = []
    for name in ("passwd", "group"):
        words = ["tar", "-xO", f"./usr/share/base-passwd/{name}.master"]
        data = subprocess.run(words, input=listed, stdout=subprocess.PIPE, check=True).stdout
        accounts.append(file(f"/etc/{name}", data))
    folders = [folder(path) for path in ("/usr", "/etc", *(f"/usr/{name}" for name in _MERGED))]
    return Source("system", files=[*folders, *accounts, *(symlink(f"/{name}", f"usr/{name}") for name in _MERGED)])


def source_of(deb: Path, root: Path) -> Source:
    """What a package is, without its bytes: these are put into a folder."""
    package = merge.read_fields(deb)
    fields = package.fields
    config = merge.control_files(deb).get("conffiles", b"").decode().split("\n")
    return Source(
        package.name,
        _version(package.version),
        list(_nodes(deb, root, frozenset(config))),
        "all" if fields["Architecture"] == "all" else NATIVE,
        depends=[*_relations(fields.get("Pre-Depends", "")), *_relations(fields.get("Depends", ""))],
        recommends=list(_relations(fields.get("Recommends", ""))),
        provides=list(_relations(fields.get("Provides", ""))),
        conflicts=[one for one in fields.get("Conflicts", "").replace(" ", "").split(",") if one and "(" not in one],
    )


def _version(version: str) -> str:
    epoch, _, rest = version.rpartition(":")
    upstream, _, revision = rest.rpartition("-")
    # A version without a revision has no hyphen.
    upstream, revision = (upstream.replace("-", "."), revision) if upstream else (revision, "0")
    return f"{epoch}:{upstream}-{revision}" if epoch else f"{upstream}-{revision}"


def _relations(text: str) -> Iterator[str]:
    for group in text.split(","):
        names = [re.split(r"[\s:(\[<]", one.strip())[0] for one in group.split("|")]
        if names != [""]:
            yield " | ".join(names)


def _nodes(deb: Path, root: Path, config: Iterable[str]) -> Iterator[Node]:
    """All that the package ships but the root; what is its content lies in the folder then."""
    seen: dict[str, Node] = {}
    with merge.data_of(deb) as archive:
        for member in archive:
            path = _path(member.name)
            if path == "/" or (member.isdir() and path.lstrip("/") in _MERGED):
                continue
            stream = archive.extractfile(member) if member.isreg() else None
            node = Node(
                path,
                _KINDS[member.type],
                stream.read() if stream else b"",
                member.linkname if member.issym() else "",
                member.mode,
                member.uname,
                member.gname,
                int(member.mtime),
                config=path in config,
            )
            if member.islnk():
                other = seen[_path(member.linkname)]
                node = other._replace(path=path, same_as=other.path)
            specs.fill(root, [node])
            seen[path] = node._replace(data=b"")
            yield seen[path]


def _path(name: str) -> str:
    return "/" + os.fsdecode(b"/".join(merge.split(os.fsencode(name))))
