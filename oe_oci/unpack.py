# SPDX-License-Identifier: MIT
"""Writing an image's final file system into a directory.

Each layer is read once. The bytes of its files are written into a folder of their own, under numbers, while the tree
is computed; so no whiteout is acted upon on disk. Then the tree is made, and the files that it still refers to are
moved into it. Every path is reached from the destination by descriptors of directories and never through a link, so no
layer can write outside, whatever it holds. Must not know how images are made.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from .changeset import apply_changeset, read_changeset
from .confined import Place, placing
from .content import Region
from .errors import InputError, ToolError
from .oci.layout import find_image, open_layout, read_image
from .stored import history, read_layer
from .tables import size
from .tree import BLOCK, CHAR, DIRECTORY, FIFO, FILE, SYMLINK, Entry, Tree, encode, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from .content import Content
    from .oci.layout import Image, Layout
    from .oci.spec import Digest, Platform
    from .untar import Archive, Member

SIDECAR = ".owners.json"

_HINT = f"--rootless keeps owners, devices and attributes in DIRECTORY{SIDECAR} instead"

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_IDS = range((1 << 32) - 1)  # the last number means "leave it" to chown
_DEVICES = {CHAR: stat.S_IFCHR, BLOCK: stat.S_IFBLK}


class UnpackReport(NamedTuple):
    """What was unpacked: `entries` counts paths with the root, `size` the files' bytes, each hard-linked file once.

    `sidecar` is the path of the file that keeps what only root may set; empty where root unpacked.
    """

    digest: Digest
    destination: str
    sidecar: str
    entries: int
    size: int

    def to_json(self) -> dict[str, Any]:
        return {**self._asdict(), "digest": str(self.digest), "sidecar": self.sidecar or None}

    def text(self) -> str:
        """The report for people."""
        lines = [f"{self.digest} in {self.destination}: {self.entries} paths, {size(self.size)}"]
        return "\n".join([*lines, f"owners, modes and devices in {self.sidecar}"] if self.sidecar else lines)


def unpack(
    layout_path: str,
    tag: str | None,
    platform: Platform | None,
    destination: str,
    *,
    rootless: bool,
    limit: int | None = None,
) -> UnpackReport:
    """Write an image's final file system to `destination`, which is not there yet or is an empty directory.

    Either all of it is there at the end, or nothing. With `rootless` files stay the caller's, who keeps the right to
    read them; owners, full modes, devices and attributes are in `<destination>.owners.json` (see `_write_sidecar`).

    Raises:
        InputError: the image is damaged or hostile, or the destination in use.
        ToolError: a file can not be written; the caller is not root and did not ask for `rootless`.
    """
    final = os.path.abspath(destination)
    _check(final, rootless=rootless)
    with open_layout(layout_path, limit=limit) as layout:
        image = read_image(layout, find_image(layout, tag, platform))
        with Place(final) as place, contextlib.ExitStack() as undo:
            tree = _read(layout, image, place, limit)
            undo.callback(place.remove, tree)
            written = _fill(_Writer(place, tree, rootless=rootless))
            sidecar = final + SIDECAR if rootless else ""
            if sidecar:
                _write_sidecar(sidecar, image.descriptor.digest, tree, undo)
            with placing(final):
                os.rename(place.path, final)
            undo.pop_all()
    return UnpackReport(image.descriptor.digest, destination, sidecar, len(tree), written)


def _check(final: str, *, rootless: bool) -> None:
    if os.geteuid() != 0 and not rootless:
        raise ToolError(
            "only root can give the files their owners",
            hint=_HINT,
        )
    if os.path.islink(final):
        raise InputError(f"{final}: is a symbolic link", hint="name the directory itself")
    try:
        used = bool(os.listdir(final))
    except FileNotFoundError:
        used = False
    except NotADirectoryError:
        raise InputError(f"{final}: is no directory") from None
    except OSError as error:
        raise ToolError(f"cannot read {final}: {error.strerror}") from error
    if used:
        raise InputError(f"{final}: is not empty", hint="name a directory that does not exist yet")
    if os.path.ismount(final):
        raise InputError(f"{final}: is a mount point", hint="name a directory in it that does not exist yet")
    if rootless and os.path.lexists(final + SIDECAR):
        raise InputError(f"{final + SIDECAR}: exists; it belongs to another unpacked image")


def _read(layout: Layout, image: Image, place: Place, limit: int | None) -> Tree:
    """The final file system, of which the files wait in the place: each is known there by the path of its content."""
    tree = Tree({"": Entry(DIRECTORY, 0o755)})
    history(layout, image)  # for the faults in it
    for number, (descriptor, diff_id) in enumerate(zip(image.layers, image.diff_ids)):
        with read_layer(layout, descriptor, diff_id, limit=limit) as layer:
            members = _Waiting(layer.archive, number, place)
            apply_changeset(tree, read_changeset(members, layer.where, tree, members.locate))
    return tree


class _Waiting:
    """A layer's members; when the digest of one is asked for, its bytes are written to where files wait."""

    def __init__(self, archive: Archive, number: int, place: Place) -> None:
        self._archive = archive
        self._number = number
        self._place = place
        self._path = ""
        self._name = b""

    def __iter__(self) -> Iterator[Member]:
        for member in self._archive:
            self._path, self._name = member.path, b"%d-%d" % (self._number, member.offset)
            yield member

    def digest(self) -> str:
        """Nothing: nobody wants to know it."""
        with placing(shown(self._path)):
            descriptor = os.open(self._name, _NEW_FILE, 0o600, dir_fd=self._place.waiting)
            try:
                for piece in self._archive.data():
                    view = memoryview(piece)
                    while view:
                        view = view[os.write(descriptor, view) :]
            finally:
                os.close(descriptor)
        return ""

    def locate(self, _offset: int, size: int, _digest: str) -> Content:
        """Where the bytes of the current member are."""
        return Region(self._name, 0, size)


class _Writer:
    """Makes a tree's inodes, one at a time, with the attributes they are to have."""

    def __init__(self, place: Place, tree: Tree, *, rootless: bool) -> None:
        self.tree = tree
        self.size = 0
        self._place = place
        self._rootless = rootless

    def _placing(self, path: str) -> AbstractContextManager[None]:
        return placing(shown(path), "" if self._rootless else _HINT)

    def make(self, path: str, entry: Entry) -> None:
        """Make what is at a path; a directory without attributes."""
        if entry.kind == FILE:
            self._put(path, entry)
        elif entry.kind != DIRECTORY:
            self._make_special(path, entry)
        elif path:
            with self._placing(path):
                folder, name = self._place.at(path)
                os.mkdir(name, 0o700, dir_fd=folder)

    def _put(self, path: str, entry: Entry) -> None:
        """Give a file that waits its place."""
        with self._placing(path):
            folder, name = self._place.at(path)
            os.rename(_name_of(entry), name, src_dir_fd=self._place.waiting, dst_dir_fd=folder)
            self._dress(entry, name, folder)
        self.size += entry.size

    def _make_special(self, path: str, entry: Entry) -> None:
        """Make a link, fifo or device; without root a device is in the sidecar only."""
        with self._placing(path):
            folder, name = self._place.at(path)
            if entry.kind == SYMLINK:
                os.symlink(encode(entry.target), name, dir_fd=folder)
            elif entry.kind == FIFO:
                os.mkfifo(name, 0o600, dir_fd=folder)
            elif self._rootless:
                return
            else:
                os.mknod(name, _DEVICES[entry.kind] | 0o600, os.makedev(*entry.device), dir_fd=folder)
            self._dress(entry, name, folder)

    def link(self, path: str, first: str) -> None:
        if self._rootless and self.tree.entries[first].kind in _DEVICES:
            return
        with self._placing(path):
            (old, old_name), (new, new_name) = self._place.at(first), self._place.at(path)
            os.link(old_name, new_name, src_dir_fd=old, dst_dir_fd=new, follow_symlinks=False)

    def dress_directories(self) -> None:
        """The deepest first: what a directory lets through, and when it was changed, is settled at the end."""
        directories = [(path, entry) for path, entry in self.tree.walk() if entry.kind == DIRECTORY]
        for path, entry in reversed(directories):
            with self._placing(path):
                self._dress(entry, self._place.directory(path), None)

    def _dress(self, entry: Entry, target: int | bytes, folder: int | None) -> None:
        """Set owner, mode, attributes and time, in this order: the kernel drops bits and capabilities on chown.

        `target` is a descriptor, or where `folder` is given a name in that directory, which is not followed.
        """
        nofollow: dict[str, Any] = {} if folder is None else {"dir_fd": folder, "follow_symlinks": False}
        # There is no setxattr relative to a directory.
        full = target if folder is None else b"/proc/self/fd/%d/%s" % (folder, target)
        if self._rootless:
            for name, value in entry.xattrs:
                # The owner may write to it now, but perhaps not with its mode; the sidecar has it in any case.
                with contextlib.suppress(OSError):
                    if name.startswith("user."):
                        os.setxattr(full, encode(name), value, follow_symlinks=folder is None)
        else:
            if entry.uid not in _IDS or entry.gid not in _IDS:
                raise ValueError(f"owner {entry.uid}:{entry.gid}")
            os.chown(target, entry.uid, entry.gid, **nofollow)
        if entry.kind != SYMLINK:
            os.chmod(target, self._mode(entry), dir_fd=folder)
        if not self._rootless:
            for name, value in entry.xattrs:
                os.setxattr(full, encode(name), value, follow_symlinks=folder is None)
        os.utime(target, ns=(entry.mtime * 10**9,) * 2, **nofollow)

    def _mode(self, entry: Entry) -> int:
        if not self._rootless:
            return entry.mode
        # A set-user-ID file of the image would be one of the caller's: anybody could act in the caller's name.
        return entry.mode & 0o1777 | (0o700 if entry.kind == DIRECTORY else 0o400)


def _name_of(entry: Entry) -> bytes:
    """Where a file waits."""
    assert isinstance(entry.content, Region)
    return entry.content.path


def _fill(writer: _Writer) -> int:
    """Make the whole tree, of which the files wait; returns the bytes of its files."""
    files: dict[bytes, str] = {}
    links: list[tuple[str, str]] = []
    for path, entry in writer.tree.walk():
        first = path if entry.inode is None else writer.tree.names_of(entry.inode)[0]
        if first == path and entry.kind == FILE:
            # One member is one inode, even where a link within the layer led two of its names apart.
            first = files.setdefault(_name_of(entry), path)
        if first != path:
            links.append((path, first))
        else:
            writer.make(path, entry)
    for path, first in links:
        writer.link(path, first)
    writer.dress_directories()
    return writer.size


def _write_sidecar(path: str, image: Digest, tree: Tree, undo: contextlib.ExitStack) -> None:
    """Write what the directory can not hold: JSON, with one line for each path, sorted as the tree is.

    Every path is listed, with all that root would have set: `path` (absolute in the image; `path_base64` in its place
    where the bytes are not UTF-8), `kind`, `mode` in octal, `uid`, `gid`; `device` (major, minor) and `xattrs` (name to
    base64 of the value) where there are any.
    """
    with placing(path), open(path, "x", encoding="ascii") as file:
        undo.callback(os.unlink, path)
        file.write(f'{{"version":1,"image":"{image}","paths":[')
        facts = (json.dumps(_facts(name, entry), separators=(",", ":")) for name, entry in tree.walk())
        file.writelines((",\n" if number else "\n") + line for number, line in enumerate(facts))
        file.write("\n]}\n")


def _facts(path: str, entry: Entry) -> dict[str, Any]:
    absolute = "/" + path
    facts: dict[str, Any] = {"path": absolute}
    try:
        absolute.encode("utf-8")
    except UnicodeEncodeError:
        facts = {"path_base64": base64.b64encode(encode(absolute)).decode("ascii")}
    facts.update(kind=entry.kind, mode=f"{entry.mode:04o}", uid=entry.uid, gid=entry.gid)
    if entry.kind in _DEVICES:
        facts["device"] = entry.device
    if entry.xattrs:
        facts["xattrs"] = {name: base64.b64encode(value).decode("ascii") for name, value in entry.xattrs}
    return facts
