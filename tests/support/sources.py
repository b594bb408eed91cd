# SPDX-License-Identifier: MIT
"""Packages described once, and written as .deb, .ipk (here) and .rpm (`specs.py`).

Owners are names; `numbers` gives what they stand for in the image, as only the tar in a .deb or .ipk has numbers too.
A relation is `name`, `name >= version`, or several of them with `|` between; a name that is a path is a file that some
package ships, which only rpm can ask for: the other formats get that package's name.

What no format or not every one can say is left out or written in its own words:

- Names may have `+`, but no format takes a `~` in one; versions have it.
- A ghost is a file that only rpm's database knows: the others have nothing.
- `takes_from`: files move here from older versions of a package that stays. rpm settles that by the versions alone.
- `stands_for`: the package goes by another's name too, and takes its place. With rpm that is Obsoletes.
- The real dpkg refuses a package with extended headers in its tar, as capabilities need them.

Must not use the product: its installers are tested against what this makes.
"""

from __future__ import annotations

import hashlib
import os
import platform
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from . import merge, packages

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from .layouts import Member

EPOCH = 1_700_000_000
NATIVE = "native"  # the architecture of this machine, in the words of each format
CAPABILITIES = {
    "cap_net_raw=ep": bytes.fromhex("0100000200200000000000000000000000000000"),
    "cap_net_bind_service=p": bytes.fromhex("0000000200040000000000000000000000000000"),
}
_DPKG = {"x86_64": "amd64", "aarch64": "arm64"}
_TYPES = {
    "file": tarfile.REGTYPE,
    "directory": tarfile.DIRTYPE,
    "link": tarfile.SYMTYPE,
    "fifo": tarfile.FIFOTYPE,
    "character device": tarfile.CHRTYPE,
    "block device": tarfile.BLKTYPE,
}


class Node(NamedTuple):
    """What a package has at a path; `same_as` is the path of another one of the package that is the same inode."""

    path: str
    kind: str = "file"
    data: bytes = b""
    target: str = ""
    mode: int = 0o644
    user: str = "root"
    group: str = "root"
    mtime: int = EPOCH
    device: tuple[int, int] = (0, 0)
    capabilities: str = ""
    config: bool = False
    ghost: bool = False
    same_as: str = ""


def file(path: str, data: bytes = b"content\n", **facts: Any) -> Node:
    return Node(path, data=data, **facts)


def folder(path: str, **facts: Any) -> Node:
    return Node(path, "directory", **{"mode": 0o755, **facts})


def symlink(path: str, target: str, **facts: Any) -> Node:
    return Node(path, "link", target=target, mode=0o777, **facts)


def hardlink(path: str, other: Node) -> Node:
    """One more name of a file of the same package."""
    return other._replace(path=path, same_as=other.path)


@dataclass(frozen=True)
class Source:
    """A package; `version` is `[epoch:]version-release`, `scripts` are those of dpkg by its names for them.

    What only rpm has it calls itself, with the words that follow: `triggerin -- other`. `early` is what is needed
    before a `preinst` runs; opkg knows no such thing.
    """

    name: str
    version: str = "1.0-1"
    files: Sequence[Node] = ()
    arch: str = "all"
    depends: Sequence[str] = ()
    early: Sequence[str] = ()
    recommends: Sequence[str] = ()
    provides: Sequence[str] = ()
    conflicts: Sequence[str] = ()
    takes_from: Sequence[str] = ()
    stands_for: Sequence[str] = ()
    scripts: Mapping[str, str] = field(default_factory=dict)


def architecture(arch: str, kind: str) -> str:
    """An architecture as a format calls it."""
    if arch == NATIVE:
        return _DPKG.get(platform.machine(), platform.machine()) if kind == "deb" else platform.machine()
    return "noarch" if arch == "all" and kind == "rpm" else arch


# ---- .deb and .ipk


def write(sources: Iterable[Source], place: Path, kind: str, numbers: Mapping[str, int]) -> dict[str, Path]:
    """Packages in a folder without an index; their files by name."""
    found = list(sources)
    owners = {node.path: source.name for source in found for node in source.files}
    made = [made_of(source, kind, numbers, owners) for source in found]
    packages.write_feed(place, made, index="")
    return {one.fields["Package"]: place / one.name for one in made}


def made_of(source: Source, kind: str, numbers: Mapping[str, int], owners: Mapping[str, str]) -> packages.Made:
    """A source as a package of a kind; `owners` are the packages that ship the paths relations name."""
    nodes = [node for node in source.files if not node.ghost]
    # The format of GNU has no extended headers.
    plain = not any(node.capabilities for node in nodes)
    config = "".join(f"{node.path}\n" for node in nodes if node.config)
    return packages.package(
        source.name,
        source.version,
        architecture(source.arch, kind),
        list(_members(nodes, numbers)),
        {**({"conffiles": config} if config else {}), **source.scripts},
        kind=kind,
        compression="gz",
        tar_format=tarfile.GNU_FORMAT if plain else tarfile.PAX_FORMAT,
        **_fields(source, kind, owners),
    )


def _fields(source: Source, kind: str, owners: Mapping[str, str]) -> dict[str, str]:
    taken = [*source.takes_from, *source.stands_for]
    early = [owners.get(relation, relation) for relation in source.early]
    depends = [owners.get(relation, relation) for relation in source.depends]
    fields = {
        "Pre-Depends": early if kind == "deb" else (),
        "Depends": depends if kind == "deb" else [*early, *depends],
        "Recommends": source.recommends,
        "Provides": [*source.provides, *(f"{name} = {source.version}" for name in source.stands_for)],
        "Conflicts": [*source.conflicts, *source.stands_for],
        "Replaces": taken,
        # opkg does not know the field.
        "Breaks": source.takes_from if kind == "deb" else (),
    }
    return {name: ", ".join(map(_relation, found)) for name, found in fields.items() if found}


def _relation(text: str) -> str:
    alternatives = []
    for alternative in text.split("|"):
        name, *limit = alternative.split()
        operator, version = limit or ("", "")
        operator = {"<": "<<", ">": ">>"}.get(operator, operator)
        alternatives.append(f"{name} ({operator} {version})" if limit else name)
    return " | ".join(alternatives)


def _members(nodes: Iterable[Node], numbers: Mapping[str, int]) -> Iterator[Member]:
    """A package's nodes as members of a tar, with all folders that they lie in."""
    found = {node.path: node for node in nodes}
    for path in list(found):
        for up in merge.parents(path.lstrip("/").encode()):
            up_path = "/" if up == b"." else f"/{up.decode()}"
            found.setdefault(up_path, folder(up_path))
    for _, node in sorted(found.items(), key=lambda one: (bool(one[1].same_as), one[0])):
        yield packages.Owned(
            "." + node.path + ("/" if node.kind == "directory" and node.path != "/" else ""),
            data=b"" if node.same_as else node.data,
            kind=tarfile.LNKTYPE if node.same_as else _TYPES[node.kind],
            link=f".{node.same_as}" if node.same_as else node.target,
            mode=node.mode,
            uid=numbers[node.user],
            gid=numbers[node.group],
            user=node.user,
            group=node.group,
            mtime=node.mtime,
            device=node.device,
            pax=packages.xattrs(security__capability=CAPABILITIES[node.capabilities]) if node.capabilities else {},
        )


# ---- what they make of a root file system


class Tree(merge.Root):
    """What packages make, by the description alone. `beside` is put after the name of a configuration file that is not
    to take the place of one somebody changed."""

    def __init__(self, numbers: Mapping[str, int], beside: str) -> None:
        super().__init__()
        self._numbers = numbers
        self._beside = beside
        self._installed: dict[str, Source] = {}
        self.nodes[b"."] = merge.Node("directory", 0o755)  # which no layer has, as there is nothing to say of it

    def install(self, source: Source) -> None:
        former = self._installed.pop(source.name, None)
        self._installed[source.name] = source
        known = {node.path: node for node in former.files} if former else {}
        for node in source.files:
            if not node.ghost:
                self._put(node, known.get(node.path))
        kept = {node.path for other in self._installed.values() for node in other.files}
        for path in known.keys() - kept:
            del self.nodes[self.place(os.fsencode(path).lstrip(b"/"))]

    def put(self, node: Node) -> None:
        """Something that is from no package."""
        self._put(node, None)

    def _put(self, node: Node, former: Node | None) -> None:
        path = self.place(os.fsencode(node.path).lstrip(b"/"))
        for up in merge.parents(path):
            self.nodes.setdefault(up, merge.Node("directory", 0o755, mtime=EPOCH))
        if former is not None and former.config and self.nodes[path].digest != _digest(former):
            path += os.fsencode(self._beside)
        if node.same_as:
            self.nodes[path] = self.nodes[self.place(os.fsencode(node.same_as).lstrip(b"/"))]
            return
        self.nodes[path] = merge.Node(
            node.kind,
            node.mode,
            self._numbers[node.user],
            self._numbers[node.group],
            min(node.mtime, EPOCH),
            len(node.data),
            _digest(node) if node.kind == "file" else "",
            os.fsencode(node.target),
            node.device,
            {"security.capability": CAPABILITIES[node.capabilities]} if node.capabilities else {},
        )


def _digest(node: Node) -> str:
    return hashlib.sha256(node.data).hexdigest()
