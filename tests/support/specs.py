# SPDX-License-Identifier: MIT
"""The packages of `sources.py` as .rpm, by the real rpmbuild: many of one spec file, since each run takes a while.

Packages that have different things at a path can not be of one spec, as all of a spec lie in one folder first.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from . import sources, tools

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from .sources import Node, Source

# As rpmbuild calls what it compresses with, quick levels.
COMPRESSIONS = {
    "none": "w.ufdio",
    "gzip": "w6.gzdio",
    "bzip2": "w9.bzdio",
    "xz": "w2.xzdio",
    "lzma": "w2.lzdio",
    "zstd": "w3.zstdio",
}
# No stripping, no byte compiling, nothing of the host and no time of the day.
_MACROS = {
    "__os_install_post": "%{nil}",
    "_build_id_links": "none",
    "_build_name_fmt": "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
    "_buildhost": "localhost",
    "_unpackaged_files_terminate_build": "0",
    "debug_package": "%{nil}",
    "use_source_date_epoch_as_buildtime": "1",
}
_SCRIPTS = {"preinst": "pre", "postinst": "post", "prerm": "preun", "postrm": "postun"}


def write(found: Iterable[Source], place: Path, *, compression: str = "zstd") -> dict[str, Path]:
    """Packages in a folder without metadata; their files by name."""
    place.mkdir(parents=True, exist_ok=True)
    made: dict[str, Path] = {}
    with tools.scratch("oe-oci-specs-") as folder:
        for number, batch in enumerate(_batches(found)):
            root = folder / f"root{number}"
            fill(root, [node for source in batch for node in source.files])
            made.update(build(batch, root, place, compression=compression))
    return made


def build(batch: Sequence[Source], root: Path, place: Path, *, compression: str) -> dict[str, Path]:
    """Packages whose files lie in a folder already, with any times."""
    tools.need("rpmbuild")
    tools.need_root()
    root.mkdir(exist_ok=True)
    _set_times(root, batch)
    top = root.with_name(f"{root.name}.rpmbuild")
    top.mkdir()
    (top / "set.spec").write_bytes(os.fsencode(spec(batch)))
    # rpmbuild looks into every file for what it may be, most of its time, unless it knows of nothing.
    (top / "magic").write_bytes(b"0 string \\177ELF ELF\n")
    macros = {**_MACROS, "_topdir": top, "_rpmdir": place, "_binary_payload": COMPRESSIONS[compression]}
    defined = [word for name, value in macros.items() for word in ("--define", f"{name} {value}")]
    argv = ["rpmbuild", "-bb", "--quiet", "--noclean", "--buildroot", root, *defined, top / "set.spec"]
    env = tools.environment(SOURCE_DATE_EPOCH=str(sources.EPOCH), MAGIC=str(top / "magic"))
    tools.run(*argv, env=env, timeout=600)
    made = {source.name: place / file_name(source) for source in batch}
    assert all(path.is_file() for path in made.values())
    return made


def file_name(source: Source) -> str:
    version = source.version.partition(":")[2] or source.version
    return f"{source.name}-{version}.{sources.architecture(source.arch, 'rpm')}.rpm"


def spec(batch: Iterable[Source]) -> str:
    """A spec file of packages, with a main package that has no files and so is not written."""
    head = "Name: set\nVersion: 1\nRelease: 1\nSummary: Tests\nLicense: MIT\n%description\nTests.\n"
    return head + "".join(map(_package, batch))


def _package(source: Source) -> str:
    epoch, _, rest = source.version.rpartition(":")
    version, _, release = rest.rpartition("-")
    named = f"-n {source.name}"
    lines = [
        f"%package {named}",
        f"Summary: {source.name} for tests",
        f"Version: {version}",
        f"Release: {release}",
        *([f"Epoch: {epoch}"] if epoch else []),
        *(["BuildArch: noarch"] if source.arch == "all" else []),
        "AutoReqProv: no",
        *_relations(source),
        f"%description {named}",
        f"{source.name} for tests.",
    ]
    for script, text in source.scripts.items():
        word, _, rest = script.partition(" ")
        lines += [f"%{_SCRIPTS.get(word, word)} {named} {rest}", text.removeprefix("#!/bin/sh\n")]
    lines += [f"%files {named}", *map(_file, source.files)]
    return "\n".join(lines) + "\n"


def _relations(source: Source) -> Iterator[str]:
    version = source.version
    for tag, relations in {
        "Requires": source.depends,
        "Requires(pre)": source.early,
        "Recommends": source.recommends,
        "Provides": [*source.provides, *(f"{name} = {version}" for name in source.stands_for)],
        "Conflicts": [*source.conflicts, *source.takes_from],
        "Obsoletes": [f"{name} < {version}" for name in source.stands_for],
    }.items():
        for relation in relations:
            parts = [part.strip() for part in relation.split("|")]
            yield f"{tag}: {parts[0] if len(parts) == 1 else '(' + ' or '.join(parts) + ')'}"


def _file(node: Node) -> str:
    mode = "-" if node.kind == "link" else f"{node.mode:04o}"
    return "".join(
        [
            "%dir " if node.kind == "directory" else "",
            f"%attr({mode},{node.user},{node.group}) ",
            "%config(noreplace) " if node.config else "",
            "%ghost " if node.ghost else "",
            f"%caps({node.capabilities}) " if node.capabilities else "",
            f'"{escaped(node.path)}"',
        ]
    )


def escaped(path: str) -> str:
    """A pattern for a path, in which macros have no part either; for braces it knows no way but any character."""
    return re.sub(r"[{}\\]", "?", re.sub(r"([\[\]*?%])", r"[\1]", path))


# ---- the folder that rpmbuild reads


def _batches(found: Iterable[Source]) -> list[list[Source]]:
    """Packages in as few groups as can be, of which no two have something else at a path, or one name."""
    batches: list[tuple[list[Source], dict[str, Node]]] = []
    for source in found:
        nodes = {node.path: node for node in source.files}
        for batch, taken in batches:
            if all(taken.get(path, node) == node for path, node in nodes.items()) and not any(
                source.name == other.name for other in batch
            ):
                break
        else:
            batch, taken = [], {}
            batches.append((batch, taken))
        batch.append(source)
        taken.update(nodes)
    return [batch for batch, _ in batches]


def fill(root: Path, nodes: Iterable[Node]) -> None:
    """All nodes without their owners and modes, which the spec gives."""
    places = {os.path.join(root, node.path.lstrip("/")): node for node in nodes}
    for path, node in sorted(places.items(), key=lambda one: bool(one[1].same_as)):
        os.makedirs(path if node.kind == "directory" else os.path.dirname(path), exist_ok=True)
        if node.same_as:
            os.link(os.path.join(root, node.same_as.lstrip("/")), path)
        elif node.kind == "link":
            os.symlink(node.target, path)
        elif node.kind == "fifo":
            os.mkfifo(path)
        elif node.kind.endswith("device"):
            # With %dev a spec could make one too, but its time would be that of the day.
            os.mknod(path, stat.S_IFCHR if node.kind.startswith("char") else stat.S_IFBLK, os.makedev(*node.device))
        elif node.kind == "file":
            with open(path, "wb") as stream:
                stream.write(node.data)


def _set_times(root: Path, batch: Iterable[Source]) -> None:
    for node in (node for source in batch for node in source.files):
        path = os.path.join(root, node.path.lstrip("/"))
        os.utime(path, (node.mtime, node.mtime), follow_symlinks=False)
