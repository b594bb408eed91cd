# SPDX-License-Identifier: MIT
"""What a directory tree holds, path by path, and how two of them differ. Shares no code with the product."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# The host's own marks, which no layer carries.
HOST_XATTRS = ("security.selinux",)
_SHOWN = 30

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFSOCK: "socket",
}


class Facts(NamedTuple):
    """One path's facts. `names` are all paths of its inode, itself included; `mtime` is in nanoseconds."""

    kind: str
    mode: str
    uid: int
    gid: int
    size: int
    digest: str
    target: bytes
    device: tuple[int, int]
    xattrs: dict[str, bytes]
    names: frozenset[bytes]
    mtime: int


Listing = dict[bytes, Facts]


def listing(root: Path | str) -> Listing:
    """Everything in a directory and itself, as `b"."`, by path relative to it."""
    top = os.fsencode(root)
    paths = [b"."]
    for folder, folders, files in os.walk(top, onerror=_raise):
        paths += [os.path.relpath(os.path.join(folder, name), top) for name in (*folders, *files)]
    states = {path: os.lstat(os.path.join(top, path)) for path in paths}
    inodes: dict[tuple[int, int], list[bytes]] = {}
    for path, state in states.items():
        inodes.setdefault((state.st_dev, state.st_ino), []).append(path)
    digests: dict[tuple[int, int], str] = {}
    found = {}
    for path in sorted(paths):
        state, inode = states[path], (states[path].st_dev, states[path].st_ino)
        if stat.S_ISREG(state.st_mode) and inode not in digests:
            digests[inode] = _digest(os.path.join(top, path))
        names = [path] if stat.S_ISDIR(state.st_mode) else inodes[inode]
        found[path] = _facts(os.path.join(top, path), state, digests.get(inode, ""), names)
    return found


def _raise(error: OSError) -> None:
    raise error


def _facts(path: bytes, state: os.stat_result, digest: str, names: list[bytes]) -> Facts:
    kind = _KINDS[stat.S_IFMT(state.st_mode)]
    device = kind.endswith("device")
    return Facts(
        kind=kind,
        # A link's own mode is 0777 on Linux, whatever an archive says.
        mode=f"{stat.S_IMODE(state.st_mode):04o}",
        uid=state.st_uid,
        gid=state.st_gid,
        size=state.st_size if kind == "file" else 0,
        digest=digest,
        target=os.readlink(path) if kind == "link" else b"",
        device=(os.major(state.st_rdev), os.minor(state.st_rdev)) if device else (0, 0),
        xattrs={
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in sorted(os.listxattr(path, follow_symlinks=False))
            if name not in HOST_XATTRS
        },
        names=frozenset(names),
        mtime=state.st_mtime_ns,
    )


def _digest(path: bytes) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def without(tree: Mapping[bytes, Facts], *kinds: str) -> Listing:
    """The tree less all paths of some kinds."""
    gone = {path for path, facts in tree.items() if facts.kind in kinds}
    return {path: facts._replace(names=facts.names - gone) for path, facts in tree.items() if path not in gone}


def differences(expected: Mapping[bytes, Facts], found: Mapping[bytes, Facts], *, times: bool = False) -> list[str]:
    """One line for each fact that differs; times are compared only where that is asked for."""
    lines = [f"{_shown(path)}: is missing" for path in sorted(expected.keys() - found.keys())]
    lines += [f"{_shown(path)}: should not be there" for path in sorted(found.keys() - expected.keys())]
    for path in sorted(expected.keys() & found.keys()):
        for field, wanted, got in zip(Facts._fields, expected[path], found[path]):
            if wanted != got and (times or field != "mtime"):
                lines.append(f"{_shown(path)}: {field} is {_value(got)}, expected {_value(wanted)}")
    return lines


def assert_same(expected: Mapping[bytes, Facts], found: Mapping[bytes, Facts], *, times: bool = False) -> None:
    """Fails with a list of what differs."""
    lines = differences(expected, found, times=times)
    more = [f"... and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    assert not lines, "\n".join([f"{len(lines)} differences:", *lines[:_SHOWN], *more])


def _shown(path: bytes) -> str:
    text = repr(path)[1:]
    return text if len(text) < 120 else f"{text[:80]}…{text[-30:]}"


def _value(value: Any) -> str:
    if isinstance(value, frozenset):
        return "{" + ", ".join(map(_shown, sorted(value))) + "}"
    return repr(value)


def contents(folder: Path | str) -> dict[str, str]:
    """All that lies in a folder of outputs, by path: links as their targets, else mode, and digest of a file."""
    found = {}
    for path, facts in listing(folder).items():
        value = f"{facts.kind} {facts.mode} {facts.digest}" if facts.kind != "link" else os.fsdecode(facts.target)
        if path != b".":
            found[os.fsdecode(path)] = value
    return found
