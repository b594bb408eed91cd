# SPDX-License-Identifier: MIT
"""What the package databases of dpkg and opkg share: reading their files in a tree, and gathering what a layer writes.

Must not know the layout of either, feeds, or how packages are chosen.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Callable, NamedTuple, Optional, Protocol

from ..content import Literal, notes_on, pieces, whole
from ..errors import InputError
from ..tree import DIRECTORY, FILE, Entry, ancestors, decode, encode, resolve, shown
from . import control
from .package import Installed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ..content import Content, Part
    from ..tree import Lookup, Overlay, Resolved, Source

KEEP, PER_PACKAGE = "keep", "status.d"  # the values of OCI_PACKAGE_DATABASE that write one

_LIMIT = 256 << 20  # of a status file, and of all files of one folder together
_HINT = "mend the package database of the base image, or take another base"
_MEMBER = re.compile(r"[A-Za-z0-9_+-]+")  # dpkg too passes over those with a dot
_FIELD = re.compile(r"[!-9;-~]+")
_CONFFILE = re.compile(r"/(.+?) ([^ ]+(?: obsolete| remove-on-upgrade)*)")
_SCRIPTS = frozenset(("preinst", "postinst", "prerm", "postrm", "config"))
_WHOLE = "install ok installed"
_STATES = frozenset(
    (
        *("not-installed", "config-files", "half-installed", "unpacked", "half-configured", "triggers-awaited"),
        *("triggers-pending", "installed", "post-inst-failed", "removal-failed"),
    )
)

Md5 = Callable[[str], Optional[str]]


class Added(NamedTuple):
    """A package that a layer installs.

    `control` are its control files by name. `paths` is what it ships, directories too, relative to the root and in its
    archive's order. `md5` gives the MD5 in hexadecimal of a regular file it ships, None for anything else; it is
    called only where the package has no `md5sums` of its own.
    """

    package: Installed
    control: Mapping[str, bytes]
    paths: Sequence[str]
    md5: Md5


class Step(NamedTuple):
    """What a layer does to the packages.

    `installed` are all packages as they stand after it, `added` those it installs, `replaced` those it upgrades, as
    they stood before. `architectures` are the native one and then the foreign ones. `epoch` is the time of
    installation where the database has one.
    """

    installed: Sequence[Installed]
    added: Sequence[Added]
    replaced: Sequence[Installed]
    architectures: Sequence[str]
    epoch: int = 0


class DatabaseFile(NamedTuple):
    """A file of the database: its bytes, or where they lie."""

    data: bytes | Part
    mode: int

    def entry(self, epoch: int) -> Entry:
        """The same as a tree has it."""
        content = Literal(self.data) if isinstance(self.data, bytes) else self.data
        return Entry(FILE, self.mode, mtime=epoch, size=content.size, content=content)


class Written(NamedTuple):
    """What a layer has of the database: files by path, directories (0755) that are not there yet, paths to remove.

    The directories that files lie in are not listed. No path has a link among its parents.
    """

    files: dict[str, DatabaseFile]
    directories: tuple[str, ...]
    removed: tuple[str, ...]


class Database(Protocol):
    """A format's database; the modules `dpkg` and `opkg` are."""

    def read(self, tree: Source) -> tuple[Installed, ...]:
        """Every package the tree's database knows, in any state; none where there is no database."""

    def files_of(self, tree: Source, package: Installed) -> tuple[str, ...]:
        """The paths of an installed package, directories too; none where the database does not say."""

    def write(self, lower: Source, step: Step, mode: str) -> Written:
        """The database's changes on top of `lower`; `mode` is KEEP or PER_PACKAGE."""


def identity(package: Installed) -> tuple[str, str]:
    return package.name, package.arch


def states(packages: Iterable[Installed]) -> set[tuple[str, str, str, str]]:
    """What is installed, and how."""
    return {(*identity(one), one.version, one.state) for one in packages}


def md5_of(content: Content) -> str:
    """MD5 of the bytes, in hexadecimal: what databases compare files with, no safeguard."""
    notes, digest = notes_on(content)
    known = None if notes is None else notes.md5(digest)
    if known is not None:
        return known
    state = hashlib.md5(usedforsecurity=False)
    for piece in pieces(content):
        state.update(piece)
    if notes is not None:
        notes.add_md5(digest, state.hexdigest())
    return state.hexdigest()


def conffiles(paths: Iterable[str], md5: Md5) -> tuple[tuple[str, str], ...]:
    """A package's configuration files as `Installed` has them; those it names but does not ship are left out."""
    found = ((path, md5(path)) for path in paths)
    return tuple((path, digest) for path, digest in found if digest)


# ---- reading


def damaged(message: str) -> InputError:
    return InputError(message, hint=_HINT)


def read_file(tree: Lookup, path: str) -> bytes | None:
    """The bytes of a database's file, links followed; None where there is none.

    Raises:
        InputError: it is no regular file, or too large to be one of a database.
    """
    entry = resolve(tree, path, follow=True).entry
    if entry is None:
        return None
    if entry.kind != FILE or entry.content is None:
        raise damaged(f"{shown(path)}: is a {entry.kind}, where the package database has a file")
    if entry.size > _LIMIT:
        raise damaged(f"{shown(path)}: has more than {_LIMIT >> 20} MiB")
    return whole(entry.content)


def lines_of(data: bytes | None) -> list[str]:
    """The lines that are not empty."""
    return [line for line in decode(data or b"").split("\n") if line]


def names_in(tree: Source, directory: str) -> list[str]:
    """The names in a directory of a database, sorted; none where it is not there.

    Raises:
        InputError: it is no directory.
    """
    found = resolve(tree, directory, follow=True)
    if found.entry is None:
        return []
    if found.entry.kind != DIRECTORY:
        raise damaged(f"{shown(directory)}: is a {found.entry.kind}, where the package database has a directory")
    return sorted(tree.names(found.path))


def packages_under(tree: Lookup, paths: Iterable[str]) -> Iterator[tuple[str, Installed]]:
    """The packages of small files of paragraphs, each with its file.

    Raises:
        InputError: a file is damaged, or they are too large together.
    """
    total = 0
    for path in paths:
        entry = resolve(tree, path, follow=True).entry
        total += entry.size if entry is not None else 0
        if total > _LIMIT:
            raise damaged(f"{shown(path)}: the package database has more than {_LIMIT >> 20} MiB")
        for package in packages_in(tree, path):
            yield path, package


def packages_in(tree: Lookup, path: str, *, shared: bool = False) -> list[Installed]:
    """The packages of a file of paragraphs; none where it is not there.

    Where the file is `shared` by all packages its last line must be whole and each paragraph have its `Status`.

    Raises:
        InputError: the file is damaged.
    """
    data, where = read_file(tree, path) or b"", shown(path)
    if shared and data and not data.endswith(b"\n"):
        raise damaged(f"{where}: line {data.count(10) + 1}: the file ends within a line")
    try:
        every = list(control.paragraphs(data, where))
    except InputError as error:
        raise damaged(error.message) from error
    found: dict[tuple[str, str], Installed] = {}
    for number, fields in enumerate(every):
        try:
            package = _package({"Status": "" if shared else _WHOLE, **fields}, f"paragraph {number + 1}")
        except InputError as error:
            raise damaged(f"{where}: line {_line(data, number)}: {error.message}") from error
        if found.setdefault(identity(package), package) is not package:
            raise damaged(f"{where}: line {_line(data, number)}: package '{package.name}' is there twice")
    return list(found.values())


def _package(fields: dict[str, str], where: str) -> Installed:
    state = " ".join(fields["Status"].split())
    words = state.split(" ")
    if len(words) != 3 or words[2] not in _STATES:
        raise InputError(f"{where}: {state[:80]!r} is no Status of a package")
    listed = []
    for line in fields.get("Conffiles", "").split("\n"):
        match = _CONFFILE.fullmatch(line.strip(" \t"))
        if match is not None:
            listed.append((match[1], match[2]))
        elif line.strip():
            raise InputError(f"{where}: {line[:200]!r} is no configuration file with its MD5")
    name, version, arch = (fields.get(field, "") for field in ("Package", "Version", "Architecture"))
    kept = {field: value for field, value in fields.items() if field not in ("Status", "Conffiles")}
    return _checked(Installed(name, version, arch, kept, state, tuple(listed)), where)


def _checked(package: Installed, where: str) -> Installed:
    """A package whose name and architecture can be parts of a file's name."""
    given = {"Package": package.name, "Version": package.version, "Architecture": package.arch}
    if not package.whole:
        # What is only known, or was removed, may lack these.
        given = {"Version": "0", "Architecture": "all", **{field: value for field, value in given.items() if value}}
    control.identity(given, where)
    return package


def _line(data: bytes, number: int) -> int:
    """The line on which a paragraph begins, the first paragraph being number 0."""
    before = b""
    for at, line in enumerate(data.split(b"\n"), 1):
        number -= bool(line and not before)
        if number < 0:
            return at
        before = line
    return 0


def relative(paths: Iterable[str], where: str) -> tuple[str, ...]:
    """Paths as a tree has them, without the root.

    Raises:
        InputError: one leads out of where it seems to be.
    """
    found: dict[str, None] = {}
    for path in paths:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts or "\0" in path:
            raise damaged(f"{where}: {path[:200]!r} is no path of a package")
        found["/".join(parts)] = None
    found.pop("", None)
    return tuple(found)


# ---- writing


def paragraph(fields: Iterable[tuple[str, str]]) -> bytes:
    """A paragraph of fields, with the empty line after it; empty fields are left out.

    Raises:
        InputError: a field would break out of the paragraph.
    """
    lines = []
    for name, value in fields:
        if not _FIELD.fullmatch(name) or re.search(r"\n(?![ \t])", value):
            raise InputError(f"{name[:80]!r}: {value[:200]!r} can not stand in a package database")
        if value.strip():
            lines.append(f"{name}:{value if value.startswith(chr(10)) else ' ' + value}\n")
    return encode("".join(lines) + "\n")


def listed_conffiles(package: Installed) -> str:
    return "".join(f"\n /{path} {digest}" for path, digest in package.conffiles)


def list_of_files(package: Installed, paths: Iterable[str], forbidden: str) -> bytes:
    """A list of paths, a line each, absolute; the root is `/.`.

    Raises:
        InputError: a path holds a character that is `forbidden` in the list.
    """
    lines = []
    for path in paths:
        if any(character in path for character in forbidden):
            raise InputError(f"{package.shown}: {shown(path)}: a name the package database can not hold")
        lines.append(f"/{path or '.'}\n")
    return encode("".join(lines))


def enter(upper: Overlay, written: Written, epoch: int) -> None:
    """Put what is written of a database on a tree; what is to be removed is left to the caller."""
    for path in written.directories:
        upper.put(path, Entry(DIRECTORY, 0o755, mtime=epoch), epoch)
    for path, file in written.files.items():
        upper.put(path, file.entry(epoch), epoch)


class Writer:
    """Gathers what a layer writes, each path where links of `lower` lead it."""

    def __init__(self, lower: Source) -> None:
        self.lower = lower
        self._files: dict[str, DatabaseFile] = {}
        self._directories: set[str] = set()
        self._removed: set[str] = set()

    def put(self, path: str, data: bytes | Part, mode: int = 0o644) -> None:
        """Write a file.

        Raises:
            InputError: something else stands there or in the way.
        """
        found = self._place(path, FILE)
        self._files[found.path] = DatabaseFile(data, mode)

    def put_missing(self, path: str, data: bytes = b"") -> None:
        """Write a file where there is none."""
        if resolve(self.lower, path, follow=True).entry is None:
            self.put(path, data)

    def put_control(self, stem: str, added: Added) -> None:
        """Write a package's control files but for `control` itself, as `stem.name`."""
        for name, data in added.control.items():
            if _MEMBER.fullmatch(name) and name not in ("control", "list"):
                self.put(f"{stem}.{name}", data, 0o755 if name in _SCRIPTS else 0o644)

    def directory(self, path: str) -> None:
        """Make a directory where there is none."""
        found = self._place(path, DIRECTORY)
        if found.entry is None:
            self._directories.add(found.path)

    def remove(self, path: str) -> None:
        """Remove a file unless it is written."""
        found = resolve(self.lower, path)
        if found.entry is not None:
            self._removed.add(found.path)

    def remove_control(self, directory: str, stems: Iterable[str]) -> None:
        """Remove the control files of packages that are replaced."""
        gone = frozenset(stems)
        for name in names_in(self.lower, directory) if gone else ():
            if name.rpartition(".")[0] in gone:
                self.remove(f"{directory}/{name}")

    def written(self) -> Written:
        directories = self._directories.difference(*map(ancestors, self._files))
        removed = self._removed.difference(self._files)
        files = {path: self._files[path] for path in sorted(self._files)}
        return Written(files, tuple(sorted(directories)), tuple(sorted(removed)))

    def _place(self, path: str, kind: str) -> Resolved:
        found = resolve(self.lower, path, follow=True)
        entry = found.entry
        for up in ancestors(found.path):
            if entry is not None:
                break
            entry, kind = self.lower.entry(up), DIRECTORY
        if entry is not None and entry.kind != kind:
            raise damaged(f"{shown(path)}: can not be written, as a {entry.kind} is in the way")
        return found


def in_order(packages: Iterable[Installed]) -> list[Installed]:
    """Packages by name and architecture, which can be part of a file's name.

    Raises:
        InputError: one's can not.
    """
    return sorted((_checked(package, package.shown) for package in packages), key=identity)
