# SPDX-License-Identifier: MIT
"""rpm's database: what it says of a tree, and what a layer has of it.

Reads rpmdb.sqlite and Packages.db, writes rpmdb.sqlite alone. Must not know feeds, or how packages are chosen.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...content import Part, pieces
from ...errors import InputError
from ...tree import DIRECTORY, FILE, resolve, shown
from ..database import KEEP, Writer, damaged, relative
from ..package import Installed
from . import ndb, sqlite, tags
from .entered import as_entered
from .header import Header
from .made import Made, data_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ...tree import Lookup, Source
    from ..database import Step, Written

    Numbered = Sequence[tuple[int, Installed]]
    Make = Callable[[Numbered], bytes | Part]

# The folder is a link to the second on some systems; the third is that of images that are updated as a whole.
ROOTS = "var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm"
_SQLITE, _NDB, _BERKELEY = "rpmdb.sqlite", "Packages.db", "Packages"
_LOG = f"{_SQLITE}-wal"
_UNFINISHED = f"{_SQLITE}-journal"
_OTHERS = _LOG, f"{_SQLITE}-shm", _UNFINISHED, _NDB, "Index.db"  # what must not lie beside a new database
_LOCK = ".rpm.lock"
OWN = frozenset((_SQLITE, *_OTHERS))  # names of files that are rpm's to write
_LIMIT = 256 << 20  # of a database
_PACKAGES, _TAGS = 50_000, 4_000_000  # of all packages together; each is held as an object of its own
_PATHS = 64 << 20  # characters of one package's paths, many of which can lie in one long folder
_WORD = re.compile(r"[^\s\0-\x1f\x7f]+")


# ---- reading


def read(tree: Source) -> tuple[Installed, ...]:
    """Every package the tree's database knows, keys of signatures (`gpg-pubkey`) too; none where there is no database.

    A name can be there more than once, in several versions.

    Raises:
        InputError: the database is damaged, or of a kind that is not read.
    """
    return tuple(package for _, package in _numbered(tree))


def files_of(tree: Source, package: Installed) -> tuple[str, ...]:  # noqa: ARG001 - as other formats' need it
    """The paths of an installed package, directories and ghosts too, without those that were not installed.

    Raises:
        InputError: its header is damaged.
    """
    header = _header_of(package)
    states = header.numbers(tags.FILESTATES)
    paths = _paths(header)
    if states and len(states) != len(paths):
        raise damaged(f"{header.where}: has {len(paths)} files and the states of {len(states)}")
    there = (path for path, state in zip(paths, states or (0,) * len(paths)) if not state)
    return relative(there, header.where)


def folder(tree: Lookup) -> str:
    """Where the tree's database lies, or will."""
    return _found(tree)[0]


def is_in(tree: Lookup, path: str) -> bool:
    """Whether a path is the folder of the tree's database, and no link to it."""
    there = _there(tree)
    return there is not None and there[0] == path == resolve(tree, path, follow=True).path


def _numbered(tree: Lookup) -> list[tuple[int, Installed]]:
    root, name = _found(tree)
    path = f"{root}/{name}"
    where = shown(path)
    if name == _BERKELEY:
        raise InputError(
            f"{where}: is a package database of the kind of Berkeley DB, which is not read",
            hint="run rpm --rebuilddb with a newer rpm in the base image, which makes rpmdb.sqlite of it",
        )
    if name == _SQLITE and not any(resolve(tree, f"{root}/{other}").entry for other in (_UNFINISHED, _LOG)):
        entry = resolve(tree, path, follow=True).entry
        content = None if entry is None else entry.content
        if isinstance(content, Part) and isinstance(content.holder, Made):
            return list(content.holder.packages)
    data = _bytes(tree, path)
    if not data:
        return []
    if name == _NDB:
        headers = ndb.read(data, where)
    else:
        if _bytes(tree, f"{root}/{_UNFINISHED}"):
            raise damaged(f"{shown(root)}/{_UNFINISHED}: a change of the package database was cut off here")
        headers = sqlite.read(data, _bytes(tree, f"{root}/{_LOG}"), where)
    if len(headers) > _PACKAGES or sum(int.from_bytes(blob[:4], "big") for blob in headers.values()) > _TAGS:
        raise damaged(f"{where}: has more than {_PACKAGES} packages, or {_TAGS} tags")
    return [(number, _package(blob, f"{where}: package {number}")) for number, blob in headers.items()]


def _found(tree: Lookup) -> tuple[str, str]:
    """The database's folder and file; where none is there those that it will have.

    That is the first folder unless the second one alone is there: an rpm that has its database there brings it.
    """
    there = _there(tree)
    if there is not None:
        return there
    first, second = (resolve(tree, root, follow=True).entry for root in ROOTS[:2])
    other = first is None and second is not None and second.kind == DIRECTORY
    return ROOTS[1] if other else ROOTS[0], _SQLITE


def _there(tree: Lookup) -> tuple[str, str] | None:
    for root in ROOTS:
        for name in (_SQLITE, _NDB, _BERKELEY):
            if resolve(tree, f"{root}/{name}", follow=True).entry is not None:
                return root, name
    return None


def _bytes(tree: Lookup, path: str) -> bytes:
    """The bytes of a file of the database; none where it is not there."""
    entry = resolve(tree, path, follow=True).entry
    if entry is None:
        return b""
    if entry.kind != FILE or entry.content is None:
        raise damaged(f"{shown(path)}: is a {entry.kind}, where the package database has a file")
    if entry.size > _LIMIT:
        raise damaged(f"{shown(path)}: has more than {_LIMIT >> 20} MiB")
    return b"".join(map(bytes, pieces(entry.content)))


def _package(blob: bytes, where: str) -> Installed:
    try:
        header = Header(blob, where)
        return installed(header)
    except InputError as error:
        raise damaged(error.message) from error


def installed(header: Header, *, requested: bool = True) -> Installed:
    """The package whose header, as the database has it, that is.

    Raises:
        InputError: the header is damaged.
    """
    name, version, release = (header.text(tag) for tag in (tags.NAME, tags.VERSION, tags.RELEASE))
    arch, epoch = header.text(tags.ARCH), header.number(tags.EPOCH)
    for word in (name, version, release, arch or "-"):  # keys have no architecture
        if not _WORD.fullmatch(word):
            raise header.damaged(f"{word[:80]!r} can not be a package's name, version or architecture")
    whole = f"{epoch}:{version}-{release}" if epoch else f"{version}-{release}"
    fields = {"Package": name, "Version": whole, "Architecture": arch}
    return Installed(name, whole, arch, fields, conffiles=_conffiles(header), requested=requested, header=header)


def _conffiles(header: Header) -> tuple[tuple[str, str], ...]:
    flags = header.numbers(tags.FILEFLAGS)
    if not any(flag & tags.CONFIG for flag in flags):
        return ()
    paths, digests = _paths(header), header.texts(tags.FILEDIGESTS)
    if not len(flags) == len(paths) == len(digests):
        raise header.damaged(f"its {len(paths)} files have {len(flags)} flags and {len(digests)} digests")
    found = zip(paths, flags, digests)
    listed = [(path, digest) for path, flag, digest in found if flag & tags.CONFIG and digest]
    return tuple(zip(relative((path for path, _ in listed), header.where), (digest for _, digest in listed)))


def _paths(header: Header) -> list[str]:
    names, numbers, folders = header.texts(tags.BASENAMES), header.numbers(tags.DIRINDEXES), header.texts(tags.DIRNAMES)
    if len(names) != len(numbers) or any(number >= len(folders) for number in numbers):
        raise header.damaged(f"the {len(names)} names of its files do not fit where these lie")
    if sum(len(folders[number]) for number in numbers) > _PATHS:
        raise header.damaged(f"its files have paths of more than {_PATHS} characters")
    return [folders[number] + name for name, number in zip(names, numbers)]


# ---- writing


def write(lower: Source, step: Step, mode: str, make: Make | None = None) -> Written:
    """The database's changes on top of `lower`: all packages that `step` says are installed, by their headers.

    A package that is there below keeps its number; new ones have those that follow the highest, by name, version and
    architecture. A database of another kind is replaced. `make` gives the bytes of packages with their numbers.

    Raises:
        InputError: the database below is damaged.
    """
    assert mode == KEEP
    return _write(Writer(lower), _found(lower)[0], _numbered(lower), step.installed, make or data_of)


def normalized(lower: Source, tree: Source, epoch: int) -> Written:
    """The changes that make the database that rpm itself left in `tree` the one that `write` would have made.

    What rpm added on top of `lower` has the `epoch` where its header has the time, and rpm's lock is removed.

    Raises:
        InputError: a database is damaged.
    """
    below = _numbered(lower)
    known = {(*_identity(package), _time(package)) for _, package in below}
    packages = []
    for package in read(tree):
        if (*_identity(package), _time(package)) in known:
            packages.append(package)
        else:
            packages.append(package._replace(header=as_entered(_header_of(package), epoch)))
    writer, root = Writer(tree), _found(tree)[0]
    if resolve(lower, f"{root}/{_LOCK}").entry is None:
        writer.remove(f"{root}/{_LOCK}")
    return _write(writer, root, below, packages, data_of)


def _write(writer: Writer, root: str, below: Numbered, packages: Iterable[Installed], make: Make) -> Written:
    arranged = _arranged(below, packages)
    content = make(arranged)
    size = content.size if isinstance(content, Part) else len(content)
    if size > _LIMIT:
        raise InputError(f"{shown(root)}/{_SQLITE}: {len(arranged)} packages make it more than {_LIMIT >> 20} MiB")
    writer.put(f"{root}/{_SQLITE}", content)
    for name in _OTHERS:
        writer.remove(f"{root}/{name}")
    return writer.written()


def _arranged(below: Numbered, packages: Iterable[Installed]) -> list[tuple[int, Installed]]:
    """Packages with their numbers, in the order of these."""
    numbers: dict[tuple[str, str, str], list[int]] = {}
    last = 0
    for number, package in below:
        numbers.setdefault(_identity(package), []).append(number)
        last = max(last, number)
    kept, new = {}, []
    for package in packages:
        known = numbers.get(_identity(package))
        if known:
            kept[known.pop(0)] = package
        else:
            new.append(package)
    return [*sorted(kept.items(), key=lambda item: item[0]), *enumerate(sorted(new, key=_identity), last + 1)]


def _identity(package: Installed) -> tuple[str, str, str]:
    return package.name, package.version, package.arch


def _time(package: Installed) -> int:
    return _header_of(package).number(tags.INSTALLTIME)


def _header_of(package: Installed) -> Header:
    assert package.header is not None
    return package.header
