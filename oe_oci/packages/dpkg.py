# SPDX-License-Identifier: MIT
"""dpkg's database: what it says of a tree, and what a layer has of it; with apt's marks of packages nobody asked for.

Follows dpkg(1), deb-triggers(5) and what dpkg 1.21 writes. `status.d` is the form of distroless images: a file for each
package, which scanners read and dpkg does not.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

from ..errors import InputError
from ..tree import ancestors, decode, encode, order
from .database import (
    KEEP,
    Added,
    Step,
    Writer,
    Written,
    damaged,
    identity,
    in_order,
    lines_of,
    list_of_files,
    listed_conffiles,
    names_in,
    packages_in,
    packages_under,
    paragraph,
    read_file,
    relative,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ..tree import Lookup, Source
    from .package import Installed

_ROOT = "var/lib/dpkg"
_STATUS, _SINGLE, _INFO, _TRIGGERS = f"{_ROOT}/status", f"{_ROOT}/status.d", f"{_ROOT}/info", f"{_ROOT}/triggers"
MARKS = "var/lib/apt/extended_states"
_SUMS = ".md5sums"
_FOLDERS = ("alternatives", "info", "parts", "triggers", "updates")
_FIRST = (
    *("Package", "Essential", "Protected", "Status", "Priority", "Section", "Installed-Size", "Origin", "Maintainer"),
    *("Bugs", "Architecture", "Multi-Arch", "Source", "Version", "Config-Version", "Replaces", "Provides", "Depends"),
    *("Pre-Depends", "Recommends", "Suggests", "Breaks", "Conflicts", "Enhances", "Conffiles", "Description"),
    *("Triggers-Pending", "Triggers-Awaited"),
)
_OWN = ("File", "Lock", "Unincorp")  # of dpkg, among the triggers
_TRIGGER = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")
_INTEREST = re.compile(r"(interest(?:-await|-noawait)?|activate(?:-await|-noawait)?)[ \t]+([!-~]+)")


# ---- reading


def read(tree: Source) -> tuple[Installed, ...]:
    """Every package the tree's database knows, in any state; none where there is no database.

    Raises:
        InputError: the database is damaged.
    """
    if any(name.isdigit() for name in names_in(tree, f"{_ROOT}/updates")):
        raise InputError(
            f"/{_ROOT}/updates: an installation was cut off here, so the database is not up to date",
            hint="run dpkg --configure -a in the base image, or take another base",
        )
    found = {identity(package): package for package in packages_in(tree, _STATUS, shared=True)}
    for _, package in _singles(tree):
        found.setdefault(identity(package), package)
    marks = _marks(tree)
    # apt gives packages for all architectures the native one.
    marks |= {(name, "all") for name, _ in marks}
    return tuple(package._replace(requested=identity(package) not in marks) for package in found.values())


def files_of(tree: Source, package: Installed) -> tuple[str, ...]:
    """The paths of an installed package, directories too; none where the database does not say.

    Raises:
        InputError: the list is damaged.
    """
    for start in (_stem(package), package.name):
        path = f"{_INFO}/{start}.list"
        data = read_file(tree, path)
        if data is not None:
            return relative(lines_of(data), f"/{path}")
    # Some distroless images have shorter names for the files than the packages have.
    singles = (path for path, single in _singles(tree) if identity(single) == identity(package))
    own = (f"{_SINGLE}/{package.name}", f"{_SINGLE}/{package.name}:{package.arch}")
    for path in chain(own, singles):
        data = read_file(tree, path + _SUMS)
        if data is not None:
            return _summed(data, path + _SUMS)
    return ()


def control_of(tree: Lookup, package: Installed, name: str) -> bytes | None:
    """A control file of an installed package, such as a script; None where the database has none of that name."""
    found = (read_file(tree, f"{_INFO}/{start}.{name}") for start in (_stem(package), package.name))
    return next((data for data in found if data is not None), None)


def read_diversions(tree: Lookup) -> dict[str, tuple[str, str]]:
    """Where a path's file really lies, and the package whose file stays at the path itself (`:` for none).

    Raises:
        InputError: the file is damaged.
    """
    path = f"{_ROOT}/diversions"
    data = read_file(tree, path) or b""
    lines = decode(data).split("\n")
    found = {}
    for at in range(0, len(lines) - 1, 3):
        record, where = lines[at : at + 3], f"/{path}: line {at + 1}"
        paths = relative(record[:2], where)
        if len(lines) - at <= 3 or len(paths) != 2 or not record[2]:
            raise damaged(f"{where}: two different paths and a package are expected, a line each")
        found[paths[0]] = (paths[1], record[2])
    return found


def _singles(tree: Source) -> Iterator[tuple[str, Installed]]:
    """The packages of `status.d`, each with its file."""
    names = (name for name in names_in(tree, _SINGLE) if not name.endswith(_SUMS))
    return packages_under(tree, (f"{_SINGLE}/{name}" for name in names))


def _summed(data: bytes, path: str) -> tuple[str, ...]:
    """The paths of a list of MD5 sums, which names no directories: those they lie in are added."""
    files = relative((line[32:].lstrip(" *") for line in lines_of(data)), f"/{path}")
    found = {up for file in files for up in (file, *ancestors(file)) if up}
    return tuple(sorted(found, key=order))


def _marks(tree: Lookup) -> set[tuple[str, str]]:
    """Names and architectures of the packages that apt removes once nothing needs them."""
    fields: dict[str, str] = {}
    found = set()
    for line in [*decode(read_file(tree, MARKS) or b"").split("\n"), ""]:
        name, _, value = line.partition(":")
        fields[name] = value.strip()
        if not line.strip():
            if fields.get("Auto-Installed") == "1":
                found.add((fields.get("Package", ""), fields.get("Architecture", "")))
            fields = {}
    return found


def stem(fields: Mapping[str, str]) -> str:
    """What the names of a package's files in `info` begin with, and what triggers call it."""
    same = fields.get("Multi-Arch") == "same"
    return f"{fields['Package']}:{fields['Architecture']}" if same else fields["Package"]


def _stem(package: Installed) -> str:
    return stem({**package.fields, "Package": package.name, "Architecture": package.arch})


# ---- writing


def write(lower: Source, step: Step, mode: str) -> Written:
    """The database's changes on top of `lower`; `mode` is KEEP or PER_PACKAGE.

    KEEP takes over what `lower` has in `status.d`, so that the database is one. PER_PACKAGE leaves what is shared
    alone, but for a package of `lower` that is replaced.

    Raises:
        InputError: the database below is damaged, or a package can not be entered in one.
    """
    writer, step = Writer(lower), step._replace(installed=in_order(step.installed))
    gone = {identity(package) for package in step.replaced}
    writer.remove_control(_INFO, map(_stem, step.replaced))
    singles = list(_singles(lower))
    for path, package in singles:
        if mode == KEEP or identity(package) in gone:
            writer.remove(path)
            writer.remove(path + _SUMS)
    if mode != KEEP:
        _write_singles(writer, step, gone)
        return writer.written()
    for added in step.added:
        _write_info(writer, added)
    new = {identity(added.package) for added in step.added}
    for path, package in singles:
        if identity(package) not in new | gone:
            _take_over(writer, path, package)
    writer.put(_STATUS, b"".join(map(_status, step.installed)))
    _write_shared(writer, step)
    return writer.written()


def _write_singles(writer: Writer, step: Step, gone: set[tuple[str, str]]) -> None:
    below = packages_in(writer.lower, _STATUS, shared=True)
    left = [package for package in below if identity(package) not in gone]
    if len(left) != len(below):
        writer.put(_STATUS, b"".join(map(_status, in_order(left))))
    for added in step.added:
        package = added.package
        foreign = package.arch not in ("all", *step.architectures[:1])
        path = f"{_SINGLE}/{package.name}:{package.arch}" if foreign else f"{_SINGLE}/{package.name}"
        writer.put(path, paragraph(package.fields.items()))
        writer.put(path + _SUMS, _sums(added))


def _write_info(writer: Writer, added: Added) -> None:
    start = f"{_INFO}/{_stem(added.package)}"
    writer.put_control(start, added)
    writer.put(f"{start}.list", list_of_files(added.package, added.paths, "\n"))
    writer.put(start + _SUMS, _sums(added))


def _take_over(writer: Writer, path: str, package: Installed) -> None:
    """Give a package of `status.d` its files in `info`."""
    start = f"{_INFO}/{_stem(package)}"
    sums = read_file(writer.lower, path + _SUMS) or b""
    paths = _summed(sums, path + _SUMS)
    writer.put_missing(f"{start}.list", list_of_files(package, ("", *paths), "\n"))
    writer.put_missing(start + _SUMS, sums)


def _sums(added: Added) -> bytes:
    """A package's own MD5 sums, or such as dpkg makes where it has none."""
    if "md5sums" in added.control:
        return added.control["md5sums"]
    digests = ((path, added.md5(path)) for path in added.paths)
    return encode("".join(f"{digest}  {path}\n" for path, digest in digests if digest))


def _status(package: Installed) -> bytes:
    fields = {**package.fields, "Status": package.state, "Conffiles": listed_conffiles(package)}
    rest = [field for field in fields if field not in _FIRST]
    return paragraph((field, fields[field]) for field in (*_FIRST, *rest) if field in fields)


def _write_shared(writer: Writer, step: Step) -> None:
    for folder in _FOLDERS:
        writer.directory(f"{_ROOT}/{folder}")
    for name in ("available", "diversions", "statoverride", "triggers/Unincorp"):
        writer.put_missing(f"{_ROOT}/{name}")
    writer.put_missing(f"{_INFO}/format", b"1\n")
    known = lines_of(read_file(writer.lower, f"{_ROOT}/arch"))
    archs = list(dict.fromkeys((*(known or step.architectures[:1]), *step.architectures)))
    if archs != known and len(archs) > 1:
        writer.put(f"{_ROOT}/arch", encode("".join(f"{arch}\n" for arch in archs)))
    _write_triggers(writer, step)
    _write_marks(writer, step)


def _write_marks(writer: Writer, step: Step) -> None:
    marks = _automatic(step.installed, next(iter(step.architectures), "all"))
    if set(marks) != _marks(writer.lower):
        writer.put(MARKS, _listed(marks))


def marks_of(installed: Sequence[Installed], native: str) -> bytes:
    """Apt's marks of packages nobody asked for, in their order by name."""
    return _listed(_automatic(in_order(installed), native))


def _automatic(installed: Iterable[Installed], native: str) -> list[tuple[str, str]]:
    automatic = (package for package in installed if package.whole and not package.requested)
    return [(package.name, native if package.arch == "all" else package.arch) for package in automatic]


def _listed(marks: Iterable[tuple[str, str]]) -> bytes:
    fields = ([("Package", name), ("Architecture", arch), ("Auto-Installed", "1")] for name, arch in marks)
    return b"".join(map(paragraph, fields))


def _write_triggers(writer: Writer, step: Step) -> None:
    """Enter which packages want to be told of what, so that later installations tell them."""
    gone = frozenset(map(_stem, step.replaced))
    interests: dict[str, list[str]] = {}
    for added in sorted(step.added, key=lambda added: identity(added.package)):
        for path, line in _interests(added):
            interests.setdefault(path, []).append(line)
    known = [*(name for name in names_in(writer.lower, _TRIGGERS) if name not in _OWN), "File"]
    for path in dict.fromkeys((*(f"{_TRIGGERS}/{name}" for name in known if gone), *interests)):
        before = lines_of(read_file(writer.lower, path))
        # The package is what stands last, with `/noawait` behind it or not.
        kept = [line for line in before if line.rpartition(" ")[2].partition("/")[0] not in gone]
        after = list(dict.fromkeys((*kept, *interests.get(path, ()))))
        if after or path.endswith("/File"):
            writer.put(path, encode("".join(f"{line}\n" for line in after)))
        else:
            writer.remove(path)


def _interests(added: Added) -> Iterator[tuple[str, str]]:
    """The lines to enter for a package, each with the file it belongs in."""
    for line in decode(added.control.get("triggers", b"")).split("\n"):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        match = _INTEREST.fullmatch(text)
        name = match[2] if match else ""
        if not match or not (name.startswith("/") or (_TRIGGER.fullmatch(name) and name not in _OWN)):
            raise InputError(f"{added.package.shown}: triggers: {line[:200]!r} is not understood")
        who = _stem(added.package) + ("/noawait" if match[1] == "interest-noawait" else "")
        if match[1].startswith("interest"):
            yield (f"{_TRIGGERS}/File", f"{name} {who}") if name.startswith("/") else (f"{_TRIGGERS}/{name}", who)
