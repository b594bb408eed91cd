# SPDX-License-Identifier: MIT
"""What packages and layers make of a root file system, by Python's own tarfile. Shares no code with the product.

Nothing is written to disk, so it needs no root: a tree is a dictionary of paths, and the names of one inode share a
node. The result is a `compare.Listing`, as of a directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from . import compare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "link",
    tarfile.FIFOTYPE: "fifo",
    tarfile.CHRTYPE: "character device",
    tarfile.BLKTYPE: "block device",
}
_XATTR = "SCHILY.xattr."


@dataclass
class Node:
    """An inode; `owners` are the packages that it is from."""

    kind: str
    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size: int = 0
    digest: str = ""
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[str, bytes] = field(default_factory=dict)
    owner: str = ""


class Root:
    """A root file system in memory."""

    def __init__(self) -> None:
        self.nodes: dict[bytes, Node] = {}

    def listing(self) -> compare.Listing:
        """All paths and their facts; the root itself is `b"."`."""
        names: dict[int, set[bytes]] = {}
        for path, node in self.nodes.items():
            names.setdefault(id(node), set()).add(path)
        return {
            path: compare.Facts(
                kind=node.kind,
                mode="0777" if node.kind == "link" else f"{node.mode:04o}",
                uid=node.uid,
                gid=node.gid,
                size=node.size,
                digest=node.digest,
                target=node.target,
                device=node.device,
                xattrs=node.xattrs,
                names=frozenset(names[id(node)]),
                mtime=node.mtime * 10**9,
            )
            for path, node in self.nodes.items()
        }

    def real(self, path: bytes, *, last: bool = True) -> bytes:
        """The path that a path leads to; of its last part a link is followed only where that is asked for."""
        found: list[bytes] = []
        parts = split(path)
        links = 0
        while parts:
            part = parts.pop(0)
            if part == b"..":
                del found[-1:]
                continue
            node = self.nodes.get(b"/".join([*found, part]))
            if node is not None and node.kind == "link" and (parts or last):
                links += 1
                assert links < 40, f"{path!r} leads in circles"
                if node.target.startswith(b"/"):
                    found = []
                parts = split(node.target) + parts
            else:
                found.append(part)
        return b"/".join(found) or b"."

    def place(self, path: bytes) -> bytes:
        """Where an entry of a path comes to lie: behind the links that lead to its parent."""
        up = self.real(os.path.dirname(path))
        return join(up, os.path.basename(path))


def split(path: bytes) -> list[bytes]:
    return [part for part in path.split(b"/") if part not in (b"", b".")]


def join(up: bytes, name: bytes) -> bytes:
    return name if up == b"." else up + b"/" + name


def parents(path: bytes) -> Iterator[bytes]:
    """The directories that a path lies in, the nearest first, the root last."""
    while path != b".":
        path = os.path.dirname(path) or b"."
        yield path


def read_node(member: tarfile.TarInfo, data: IO[bytes] | None, **facts: Any) -> Node:
    kind = _KINDS[member.type]
    content = data.read() if data is not None else b""
    found = {
        "uid": member.uid,
        "gid": member.gid,
        "mtime": int(member.mtime),
        "size": len(content),
        "digest": hashlib.sha256(content).hexdigest() if kind == "file" else "",
        "target": os.fsencode(member.linkname) if kind == "link" else b"",
        "device": (member.devmajor, member.devminor) if kind.endswith("device") else (0, 0),
        "xattrs": {
            key.removeprefix(_XATTR): value.encode("utf-8", "surrogateescape")
            for key, value in sorted(member.pax_headers.items())
            if key.startswith(_XATTR)
        },
    }
    return Node(kind, member.mode, **{**found, **facts})


# ---- packages


class Unpacked(NamedTuple):
    """A package's control fields, and the names of all its control files."""

    name: str
    version: str
    fields: dict[str, str]


class Dpkg(Root):
    """Unpacks packages as dpkg(1) and deb-control(5) say.

    A directory that is there keeps its facts, a file lies behind the links that lead to its directory, and a file of
    two packages is that of the one which Replaces the other. Times are at most `epoch`. Directories that no package
    ships are root's.

    The time of a directory is the one thing that dpkg does not keep. In layers it is that of the lowest layer which
    ships it; where a later layer ships it with the same facts, and has something new in it, that layer's time.
    """

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self._epoch = epoch
        self._packages: dict[str, Unpacked] = {}
        self._shipped: dict[bytes, int] = {}  # directories of a layer that are there, to their time in the layer
        self._new: set[bytes] = set()  # the directories with something new in them

    def end_layer(self, *databases: bytes) -> None:
        """No more packages of this layer, which also writes into `databases`."""
        for path in databases:
            self._new.update(parents(path))
        for path in self._new & self._shipped.keys():
            self.nodes[path].mtime = self._shipped[path]
        self._shipped, self._new = {}, set()

    def unpack(self, file: Path) -> Unpacked:
        package = read_fields(file)
        self._packages[package.name] = package
        with data_of(file) as archive:
            for member in archive:
                self._add(member, archive, package)
        return package

    def _add(self, member: tarfile.TarInfo, archive: tarfile.TarFile, package: Unpacked) -> None:
        path = b"/".join(split(os.fsencode(member.name))) or b"."
        place = self.place(path) if path != b"." else path
        self._make_parents(place)
        if member.isdir():
            real = self.real(path)
            node = self._dated(read_node(member, None), package)
            known = self.nodes.get(real)
            if known is None:
                self.nodes[real] = node
                self._shipped[real] = node.mtime
                self._new.update(parents(real))
            else:
                assert known.kind == "directory", f"{file_of(package, path)}: {known.kind} of {known.owner}"
                same = (known.mode, known.uid, known.gid, known.xattrs) == (node.mode, node.uid, node.gid, node.xattrs)
                if same and real == path:
                    self._shipped.setdefault(real, node.mtime)
            return
        if not self._takes(place, package):
            return
        self._new.update(parents(place))
        if member.islnk():
            self.nodes[place] = self.nodes[self.place(b"/".join(split(os.fsencode(member.linkname))))]
        else:
            data = archive.extractfile(member) if member.isfile() else None
            self.nodes[place] = self._dated(read_node(member, data), package)

    def _dated(self, node: Node, package: Unpacked) -> Node:
        node.mtime = max(0, min(node.mtime, self._epoch))
        node.owner = package.name
        return node

    def _make_parents(self, place: bytes) -> None:
        for up in parents(place):
            known = self.nodes.setdefault(up, Node("directory", 0o755, mtime=self._epoch))
            assert known.kind == "directory", f"{place!r} lies in {up!r}, a {known.kind} of {known.owner}"

    def _takes(self, place: bytes, package: Unpacked) -> bool:
        known = self.nodes.get(place)
        if known is None:
            return True
        other = self._packages[known.owner]
        assert known.kind != "directory", f"{file_of(package, place)}: a directory of {known.owner}"
        if replaces(package, other):
            return True
        assert replaces(other, package), f"{file_of(package, place)}: {known.owner} has it too"
        return False


def file_of(package: Unpacked, path: bytes) -> str:
    return f"{package.name}: {path!r}"


def replaces(one: Unpacked, other: Unpacked) -> bool:
    """Whether a package Replaces another one."""
    for part in one.fields.get("Replaces", "").split(","):
        match = re.fullmatch(r"\s*(\S+?)\s*(?:\((<<|<=|=|>=|>>)\s*(\S+)\))?\s*", part)
        if match and match[1] == other.name and (not match[2] or _holds(other.version, match[2], match[3])):
            return True
    return False


def _holds(version: str, operator: str, limit: str) -> bool:
    words = {"<<": "lt", "<=": "le", "=": "eq", ">=": "ge", ">>": "gt"}
    done = subprocess.run(["dpkg", "--compare-versions", version, words[operator], limit], check=False)
    return done.returncode == 0


def read_fields(file: Path) -> Unpacked:
    text = subprocess.run(["dpkg-deb", "--field", file], stdout=subprocess.PIPE, check=True).stdout.decode()
    fields = dict(re.findall(r"^([A-Za-z0-9-]+):[ \t]*(.*(?:\n[ \t].*)*)", text, re.MULTILINE))
    return Unpacked(fields["Package"], fields["Version"], fields)


@contextlib.contextmanager
def data_of(file: Path) -> Iterator[tarfile.TarFile]:
    """The files of a package, by dpkg's own tool."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", file], stdout=subprocess.PIPE) as process:
        with tarfile.open(fileobj=process.stdout, mode="r|", encoding="utf-8", errors="surrogateescape") as archive:
            yield archive
        assert process.stdout is not None
        process.stdout.read()
    assert process.returncode == 0, file


# ---- layers


class Image(NamedTuple):
    """What is in a layout: the members of each layer by path, and all of them merged."""

    layers: list[dict[bytes, tarfile.TarInfo]]
    merged: compare.Listing


def read_image(layout: Path) -> Image:
    """Merge the layers of a layout's only image, as the OCI's image specification says."""
    manifest = _document(layout, _only(json.loads((layout / "index.json").read_bytes())["manifests"]))
    root, layers = Root(), []
    root.nodes[b"."] = Node("directory", 0o755)
    for descriptor in manifest["layers"]:
        with tarfile.open(_blob(layout, descriptor), encoding="utf-8", errors="surrogateescape") as archive:
            layers.append(_merge(root, archive))
    return Image(layers, root.listing())


def read_tar(path: Path) -> compare.Listing:
    """What is in a tar of a whole root file system."""
    root = Root()
    root.nodes[b"."] = Node("directory", 0o755)
    with tarfile.open(path, encoding="utf-8", errors="surrogateescape") as archive:
        _merge(root, archive)
    return root.listing()


def _merge(root: Root, archive: tarfile.TarFile) -> dict[bytes, tarfile.TarInfo]:
    """Put a layer on top; its members by path."""
    members: dict[bytes, tarfile.TarInfo] = {}
    new: dict[bytes, Node] = {}
    for member in archive:
        path = b"/".join(split(os.fsencode(member.name))) or b"."
        assert path not in members, f"{path!r} is twice in a layer"
        members[path] = member
        name = os.path.basename(path)
        if name.startswith(b".wh."):
            assert name != b".wh..wh..opq", "opaque directories are not expected here"
            _remove(root, join(os.path.dirname(path) or b".", name.removeprefix(b".wh.")))
            continue
        up = os.path.dirname(path)
        assert not up or root.nodes[up].kind == "directory", f"{path!r} lies in no directory"
        if member.islnk():
            node = new[b"/".join(split(os.fsencode(member.linkname)))]
        else:
            node = read_node(member, archive.extractfile(member) if member.isfile() else None)
        if node.kind != "directory":
            _remove(root, path)
        root.nodes[path] = new[path] = node
    return members


def _remove(root: Root, path: bytes) -> None:
    node = root.nodes.pop(path, None)
    if node is not None and node.kind == "directory":
        for below in [other for other in root.nodes if other.startswith(path + b"/")]:
            del root.nodes[below]


def _document(layout: Path, descriptor: Mapping[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(_blob(layout, descriptor).read_bytes())
    return value


def _blob(layout: Path, descriptor: Mapping[str, Any]) -> Path:
    return layout / "blobs" / descriptor["digest"].replace(":", "/")


def _only(found: list[dict[str, Any]]) -> dict[str, Any]:
    (one,) = found
    return one


# ---- packages made of packages


def parts(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The members of a package's ar archive."""
    assert data[:8] == b"!<arch>\n"
    at = 8
    while at < len(data):
        name, size = data[at : at + 16].decode().strip().rstrip("/"), int(data[at + 48 : at + 58])
        yield name, data[at + 60 : at + 60 + size]
        at += 60 + size + size % 2


def control_files(file: Path) -> dict[str, bytes]:
    """The control files of a package by name."""
    done = subprocess.run(["dpkg-deb", "--ctrl-tarfile", file], stdout=subprocess.PIPE, check=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        found = ((member.name.removeprefix("./"), archive.extractfile(member)) for member in archive)
        return {name: data.read() for name, data in found if data is not None}


def without(tree: compare.Listing, *tops: bytes) -> compare.Listing:
    """A tree less some paths and all below them; directories that are only on the way to them are not."""
    return {
        path: facts
        for path, facts in tree.items()
        if not any(path == top or path.startswith(top + b"/") for top in tops)
    }
