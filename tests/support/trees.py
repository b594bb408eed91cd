# SPDX-License-Identifier: MIT
"""Short ways to write trees down in tests, and to read layers with Python's own tarfile."""

from __future__ import annotations

import io
import tarfile

from oe_oci.content import Literal
from oe_oci.tree import BLOCK, CHAR, DIRECTORY, FIFO, FILE, SYMLINK, Entry, Tree, ancestors


def file(data: bytes = b"", mode: int = 0o644, **facts) -> Entry:
    return Entry(FILE, mode, size=len(data), content=Literal(data), **facts)


def directory(mode: int = 0o755, **facts) -> Entry:
    return Entry(DIRECTORY, mode, **facts)


def link(target: str, **facts) -> Entry:
    return Entry(SYMLINK, 0o777, target=target, **facts)


def fifo(mode: int = 0o644, **facts) -> Entry:
    return Entry(FIFO, mode, **facts)


def device(kind: str, major: int, minor: int, mode: int = 0o600, **facts) -> Entry:
    return Entry({"c": CHAR, "b": BLOCK}[kind], mode, device=(major, minor), **facts)


def entries(**named: Entry | str | bytes) -> dict[str, Entry]:
    """Entries by path, `__` standing for `/`: bytes are a file, text is a link's target. Parents are added."""
    return with_parents({name.replace("__", "/"): as_entry(value) for name, value in named.items()})


def as_entry(value: Entry | str | bytes) -> Entry:
    if isinstance(value, bytes):
        return file(value)
    return link(value) if isinstance(value, str) else value


def with_parents(found: dict[str, Entry]) -> dict[str, Entry]:
    parents = {up: directory() for path in found for up in ancestors(path)}
    return {**parents, **found}


def tree(**named: Entry | str | bytes) -> Tree:
    return Tree(entries(**named))


def members(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getmembers()
