# SPDX-License-Identifier: MIT
"""The rpm packages that feeds offer: folders with `repodata`, or of packages alone, in any nesting.

Must not resolve, and not read a payload.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ... import kept
from ...architectures import architecture, is_other
from ...errors import InputError, ToolError
from ...tree import decode, encode
from .. import libsolv
from ..contents import ALGORITHMS
from ..index import REPOMD
from ..package import RPM, Package, check_present
from . import repomd
from .archive import read_head
from .plain import PlainPool
from .pool import NOARCH, Pool, spooled
from .primary import document, package
from .repomd import ANEW, Metadata

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from ...content import Region
    from ...digests import Digests
    from ..index import Remembered

SUFFIX = f".{RPM}"
_THREADS = 4
_PACKAGES = 1_000_000
_LARGEST = 10**18
_SOURCES = ("src", "nosrc")
# A level of a processor, which not all of its kind have; taken where PACKAGE_ARCHS names it.
_LEVEL = re.compile("x86_64_v[0-9]")
_NAME = re.compile(r"[A-Za-z0-9_][^\s\0-\x1f\x7f()<>&\"'|,:/]{0,254}")
_EVR = re.compile(r"([0-9]{1,10}:)?[A-Za-z0-9_.+~^]{1,255}-[A-Za-z0-9_.+~^]{1,255}")
_ARCH = re.compile("[A-Za-z0-9_]{1,64}")


class Found(NamedTuple):
    """What a walk through a feed found: folders with `repodata`, and packages, by the folders they lie in."""

    number: int
    top: str
    indexed: Sequence[str]
    packages: dict[str, list[str]]


class _Source(NamedTuple):
    """The packages of one index, or those of a feed that none is for; their files are named from `folder`.

    `limit` bounds the uncompressed bytes of further metadata; `loose` are the files where there is no index.
    """

    repo: Any
    feed: int
    top: str
    folder: str
    where: str
    metadata: dict[str, Metadata]
    limit: int | None
    loose: tuple[str, ...] = ()

    def place(self, location: str) -> str:
        """Where a package's file lies.

        Raises:
            InputError: outside the feed.
        """
        parts = [part for part in os.fsdecode(encode(location)).split("/") if part not in ("", ".")]
        path = os.path.join(self.folder, *parts)
        inside = not location.startswith("/") and os.pardir not in parts and not re.search("[\0-\x1f]", location)
        if inside and (not self.metadata or _is_inside(path, self.top)):
            return path
        raise InputError(
            f"{self.where}: {location[:200]!r} can not be the location of a package",
            hint="a package's file lies in the feed, and is named from the folder that repodata lies in",
        )


def open_feeds(
    found: Sequence[Found],
    *,
    archs: Sequence[str] | None,
    native: str,
    remember: Remembered,
    limit: int | None,
) -> Feeds:
    """The packages of some feeds, the first of which goes before the others.

    `archs` and `native` are as in `packages.feed.open_feeds`; words for packages that run anywhere stand for `noarch`.

    Raises:
        InputError: a feed is damaged.
        ToolError: it can not be read.
    """
    pool = Pool() if libsolv.is_there() else PlainPool()
    sources: list[_Source] = []
    covered: list[str] = []
    for each in found:
        listed = [_indexed(pool, each, folder, remember, limit) for folder in each.indexed]
        folders = {*each.indexed, *_listed_folders(pool, listed)} if each.packages else set()
        loose: list[str] = []
        for folder, names in each.packages.items():
            paths = [os.path.join(folder, name) for name in names]
            (covered if folder in folders else loose).extend(paths)
        sources += listed
        if loose:
            sources.append(_loose(pool, each, loose, remember))
    return Feeds(pool, sources, covered, archs, native, remember.digests)


class Feeds:
    """What feeds offer to a target.

    `archs` are the architectures taken, the lowest priority first. The better of two packages is the one of the earlier
    feed, then of the later architecture, then of the higher version; `noarch` is as good as any architecture.
    """

    kind = RPM

    def __init__(
        self,
        pool: Pool | PlainPool,
        sources: Sequence[_Source],
        covered: Sequence[str],
        archs: Sequence[str] | None,
        native: str,
        digests: Digests,
    ) -> None:
        self.pool = pool
        self.archs = _words(archs) if archs is not None else _found_archs(sources, native)
        self._sources = {source.repo.id: source for source in sources}
        self._covered = covered
        self._digests = digests
        self._places = {arch: place for place, arch in enumerate(self.archs)}
        self._packages: dict[int, Package] = {}
        self._listing: dict[str, str] = {}  # a package's file to the index that lists it
        self._extended: set[int] = set()

    @property
    def metadata(self) -> list[tuple[str, ...]]:
        """What the feeds' indexes are known by, in the order of the feeds: their types and digests."""
        found = (one for source in self._sources.values() for one in sorted(source.metadata.items()))
        return [(kind, *one.digest, *one.plain) for kind, one in found]

    def offered(self) -> Iterator[Any]:
        """All packages, those for other architectures too, as libsolv has them."""
        for source in self._sources.values():
            yield from source.repo.solvables

    def package(self, solvable: Any) -> Package:
        """A package; the same object each time.

        Raises:
            InputError: its metadata say what can not be.
        """
        number = solvable.id
        if number not in self._packages:
            source = self._sources[solvable.repo.id]
            location = self.pool.location(solvable)
            if not location:
                raise InputError(f"{source.where}: {solvable} has no file in the feed", hint=ANEW)
            path = source.place(location)
            size = self.pool.size(solvable)
            if size > _LARGEST:
                raise InputError(f"{source.where}: {solvable}: {size} can not be the size of a package", hint=ANEW)
            checksum = self.pool.checksum(solvable)
            digest = checksum if ALGORITHMS.get(len(checksum)) == "sha256" else None
            if source.metadata:
                self._listing[path] = source.where
            facts = (solvable.name, solvable.evr, str(solvable.arch))
            fields = dict(zip(("Package", "Version", "Architecture"), facts))
            other = checksum if digest is None and len(checksum) in ALGORITHMS else ""
            self._packages[number] = Package(*facts, fields, path, size or None, digest, source.feed, other)
        return self._packages[number]

    @property
    def places(self) -> list[tuple[str, int, tuple[str, ...]]]:
        """The folders that packages are named from, each with its feed's number and with what lies in it unlisted."""
        return [(source.folder, source.feed, source.loose) for source in self._sources.values()]

    def rank(self, one: Package) -> tuple[int, int]:
        """What decides between packages before their versions, but for `noarch`: the less, the better."""
        return one.feed, -self._places.get(one.arch, -1)

    def names(self) -> set[str]:
        """All names of packages for the target."""
        return {one.name for one in self.offered() if self.is_taken(one)}

    def is_taken(self, solvable: Any) -> bool:
        """Whether a package is for the target."""
        arch = str(solvable.arch)
        return arch in self._places or arch == NOARCH

    def other_archs(self, name: str) -> tuple[str, ...]:
        """The architectures for which there is a package of a name, where there is none for the target."""
        found = [one for one in self.offered() if one.name == name]
        return () if any(map(self.is_taken, found)) else tuple(sorted({str(one.arch) for one in found}))

    def unlisted(self, name: str) -> str | None:
        """A package's file that lies in a feed whose index does not list it; None where there is none."""
        paths = [path for path in self._covered if os.path.basename(path).rsplit("-", 2)[0] == name]
        listed = {self.package(one).path for one in self.offered() if one.name == name} if paths else set()
        return next((path for path in paths if path not in listed), None)

    def check_present(self, package: Package) -> None:
        """See that a package's file is there.

        Raises:
            InputError: it is not.
        """
        check_present(package, self._listing.get(package.path))

    def check_same(self, packages: Sequence[Package]) -> None:
        """See that packages of one name, version and architecture are the same.

        Raises:
            InputError: two differ in their bytes.
        """
        first = packages[0]
        for other in packages[1:]:
            same = first.size == other.size or None in (first.size, other.size)
            if not same or (first.path != other.path and self.digest(first) != self.digest(other)):
                raise InputError(
                    f"{first.path} and {other.path} are both {first.shown} for {first.arch}, with different content",
                    hint="remove one of them, and make the index anew where there is one",
                )

    def arrange(self, disabled: Collection[int]) -> None:
        """Make known to libsolv what provides what, without some packages; files' names are read where they matter."""
        assert isinstance(self.pool, Pool)
        paths = self.pool.arrange(self.archs, disabled)
        left = [source for source in self._sources.values() if source.repo.id not in self._extended]
        for source in left if paths else ():
            self._extended.add(source.repo.id)
            if "filelists" in source.metadata:
                with repomd.opened(source.metadata["filelists"], source.limit) as file:
                    self.pool.extend(source.repo, file, source.metadata["filelists"].path)
        if paths and left:
            self.pool.arrange(self.archs, disabled)
        self.pool.check()

    def digest(self, package: Package) -> str:
        """The SHA-256 of a package's file, in hexadecimal; read where its index does not tell.

        Raises:
            InputError, ToolError: it can not be read.
        """
        return self._digests(_file(package.path, self._digests)).hex() if package.digest is None else package.digest


def _words(archs: Sequence[str]) -> tuple[str, ...]:
    """Yocto's words as rpm has them, of equal ones the last."""
    words = [NOARCH if word in ("all", "any") else word.replace("-", "_") for word in archs]
    return tuple(reversed(dict.fromkeys(reversed(words))))


def _found_archs(sources: Sequence[_Source], native: str) -> tuple[str, ...]:
    """The architectures to take where none are given; the one that runs anywhere first, the target's own last."""
    found = {str(one.arch) for source in sources for one in source.repo.solvables}
    taken = {arch for arch in found if not (is_other(arch, native) or arch in _SOURCES or _LEVEL.fullmatch(arch))}
    return tuple(sorted(taken, key=lambda arch: (arch != NOARCH, architecture(arch) != "", arch)))


# ---- what is read


def _indexed(pool: Pool | PlainPool, found: Found, folder: str, remember: Remembered, limit: int | None) -> _Source:
    """The packages that a folder's `repodata` lists; what libsolv made of it is remembered."""
    where = os.path.join(folder, REPOMD)
    metadata = repomd.read(folder, found.top)
    primary = metadata["primary"]
    if isinstance(pool, PlainPool):
        with repomd.opened(primary, limit) as file:
            repo: Any = pool.add(file, primary.path, -found.number)
    else:
        repo = _recalled(pool, primary, found.number, remember) if remember.folder is not None else None
        repo = _read(pool, primary, found.number, remember, limit) if repo is None else repo
    source = _Source(repo, found.number, found.top, folder, where, metadata, limit)
    _check(source)
    return source


def _read(pool: Pool, primary: Metadata, number: int, remember: Remembered, limit: int | None) -> Any:
    key = _key(primary, remember.digests) if remember.folder is not None else ""
    with repomd.opened(primary, limit) as file:
        repo = pool.add(file, primary.path, -number)
    if remember.folder is not None and key == _key(primary, remember.digests):  # else it was written to meanwhile
        place = os.path.join(remember.folder, f"packages-{key}")
        kept.keep(place, _head(pool, key, remember.digests), pool.written(repo))
    return repo


def _recalled(pool: Pool, primary: Metadata, number: int, remember: Remembered) -> Any | None:
    assert remember.folder is not None
    key = _key(primary, remember.digests)
    data = kept.recall(os.path.join(remember.folder, f"packages-{key}"), _head(pool, key, remember.digests))
    return None if data is None else pool.recall(data, primary.path, -number)


def _head(pool: Pool, key: str, digests: Digests) -> bytes:
    library = digests(_file(pool.library, digests)).hex()
    return f"oe-oci rpm index 3 {library} {key}\n".encode()  # the number changes with what is kept


def _key(primary: Metadata, digests: Digests) -> str:
    """The key under which libsolv's form of metadata is kept: all that they were held against."""
    file = digests(_file(primary.path, digests)).hex()
    return hashlib.sha256("\0".join((file, *primary.digest, *primary.plain)).encode()).hexdigest()


def _check(source: _Source) -> None:
    if source.repo.nsolvables > _PACKAGES:
        raise InputError(f"{source.where}: lists more than {_PACKAGES} packages")
    for one in source.repo.solvables:
        facts = ((one.name, _NAME, "name"), (one.evr, _EVR, "version"), (one.arch, _ARCH, "architecture"))
        for text, pattern, what in facts:
            if not pattern.fullmatch(text):
                message = f"{source.where}: damaged index: {text[:80]!r} can not be the {what} of a package"
                raise InputError(message, hint=ANEW)


def _listed_folders(pool: Pool | PlainPool, sources: Sequence[_Source]) -> set[str]:
    """The folders of the files that indexes list: the packages beside them are not for the taking."""
    folders = {(source.folder, pool.folder(one)): source for source in sources for one in source.repo.solvables}
    return {os.path.dirname(source.place(os.path.join(folder, "file"))) for (_, folder), source in folders.items()}


def _loose(pool: Pool | PlainPool, found: Found, paths: Sequence[str], remember: Remembered) -> _Source:
    """The packages of a feed that no index is for, by what they say themselves; remembered while no file changes."""
    files = [_file(path, remember.digests) for path in paths]
    mark = remember.digests.mark(files)
    names = [os.path.relpath(path, found.top) for path in paths]
    key = hashlib.sha256((mark or b"") + os.fsencode("\0".join(names))).hexdigest()
    place = None if mark is None or remember.folder is None else os.path.join(remember.folder, f"packages-{key}")
    head = f"oe-oci rpm packages 1 {key}\n".encode()  # the number changes with what is kept
    text = None if place is None else kept.recall(place, head)
    if text is None:
        text = _described(paths, names, files)
        if place is not None and [_file(path, remember.digests) for path in paths] == files:
            kept.keep(place, head, text)
    with spooled(text) as file:
        repo = pool.add(file, found.top, -found.number)
    source = _Source(repo, found.number, found.top, found.top, found.top, {}, None, tuple(names))
    _check(source)
    return source


def _described(paths: Sequence[str], names: Sequence[str], files: Sequence[Region]) -> bytes:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - most feeds have an index

    def describe(path: str, name: str, size: int) -> str:
        location = decode(os.fsencode(name))
        if re.search("[\0-\x1f\ud800-\udfff]", location):
            raise InputError(f"{path!r}: the name of a package's file", hint="give it another name")
        return package(read_head(path, path).header, location=location, size=size)

    with ThreadPoolExecutor(_THREADS) as threads:
        return document(threads.map(describe, paths, names, (file.size for file in files)))


def _file(path: str, digests: Digests) -> Region:
    """The whole file of a package."""
    try:
        return digests.file(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file, or it is a link to nothing") from error
    except OSError as error:
        raise ToolError(f"cannot read {path}: {error.strerror}") from error


def _is_inside(path: str, top: str) -> bool:
    return os.path.realpath(path).startswith(os.path.join(os.path.realpath(top), ""))
