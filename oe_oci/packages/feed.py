# SPDX-License-Identifier: MIT
"""The packages that feeds offer: folders with an index, or of packages alone, in any nesting.

Of a package only what is asked for is read. Must not resolve, and not read a payload.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from ..architectures import architecture, debian, is_other
from ..content import Region, stamp_of
from ..digests import Digests
from ..errors import ConfigError, Fault, InputError, ToolError
from ..tree import decode, encode
from .control import identity
from .index import NAMES, REPOMD, Index, Remembered, keep, provided, read_index, recall, record
from .package import DEB, IPK, RPM, Package, check_present
from .version import sort_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .rpm import feed as rpm

_INDEPENDENT = {DEB: ("all",), IPK: ("all", "any", "noarch")}
_SUFFIXES = {f".{DEB}", f".{IPK}", f".{RPM}"}
_RPM = re.compile(r"(?s).*(?<!\.src)(?<!\.nosrc)\.rpm")  # of sources there is nothing to install
_THREADS = 4
_ANEW = "make the index anew"


def open_feeds(
    folders: Sequence[str],
    *,
    kind: str | None,
    archs: Sequence[str] | None,
    native: str,
    remember: Remembered | None,
    limit: int | None,
) -> Feeds | rpm.Feeds:
    """The packages of some feeds, the first of which goes before the others.

    `kind` is `deb`, `ipk` or `rpm`, None where the feeds tell. `archs` are the architectures to take, the lowest
    priority first; None stands for what the feeds hold for `native`, the target's architecture in Debian's words.
    Packages for any architecture are always taken, and of deb those for `native`, as PACKAGE_ARCHS does not have
    Debian's words. What was read is kept in the folder of `remember`; `limit` bounds an index's uncompressed bytes
    (default: 256 MiB, of rpm's 1 GiB).

    Raises:
        ConfigError: the feeds hold packages of several kinds, and `kind` is None.
        InputError: a feed holds no packages, or is damaged.
        ToolError: it can not be read.
    """
    remember = remember or Remembered(None, Digests())
    feeds = [_survey(number, folder, remember.folder, limit) for number, folder in enumerate(folders)]
    chosen = _kind(feeds, kind)
    if chosen == RPM:
        from .rpm import feed as rpm  # noqa: PLC0415 - takes longer than the rest of a small build

        found = [rpm.Found(feed.number, feed.top, feed.indexed, _rpms(feed)) for feed in feeds]
        return rpm.open_feeds(found, archs=archs, native=native, remember=remember, limit=limit)
    sources = [source for feed in feeds for source in _sources(feed, chosen, remember)]
    return Feeds(sources, feeds, chosen, archs, native, remember.digests)


class Feeds:
    """What feeds offer to a target.

    `kind` is `deb` or `ipk`; `archs` are the architectures taken, the lowest priority first. The better of two
    packages is the one of the earlier feed, then of the later architecture, then of the higher version.
    """

    def __init__(
        self,
        sources: Sequence[_Source],
        feeds: Sequence[_Feed],
        kind: str,
        archs: Sequence[str] | None,
        native: str,
        digests: Digests,
    ) -> None:
        self.kind = kind
        self.archs = tuple(archs) if archs is not None else _found_archs(sources, kind, native)
        self._sources = sources
        self._feeds = feeds
        self._digests = digests
        self._native = native if kind == DEB else ""
        self._places = {arch: place for place, arch in enumerate(self.archs)}
        self._packages: dict[str, tuple[Package, ...]] = {}
        self._listing: dict[str, str] = {}  # a package's file to the index that lists it

    def names(self) -> set[str]:
        """All names, those provided too, of packages for the target."""
        archs = {*self._places, *_INDEPENDENT[self.kind], self._native}
        return {name for source in self._sources for name in source.packages.names(archs)}

    def other_archs(self, name: str) -> tuple[str, ...]:
        """The architectures for which there is a package of a name, where there is none for the target."""
        if self.named(name):
            return ()
        entries = [source.packages.fields(n) for source in self._sources for n in source.packages.named(name)]
        return tuple(sorted({fields["Architecture"] for fields in entries}))

    def named(self, name: str) -> tuple[Package, ...]:
        """The packages of a name, the best first; the same objects each time.

        Raises:
            InputError: an entry says what can not be, or two packages differ in nothing but their bytes.
        """
        if name not in self._packages:
            found: dict[tuple[str, str, str], Package] = {}
            for source in self._sources:
                for number in source.packages.named(name):
                    package = self._package(source, source.packages.fields(number))
                    if package is not None:
                        self._check_same(found.setdefault(package[:3], package), package)
            ranked = sorted(found.values(), key=lambda one: one.path)
            ranked.sort(key=lambda one: sort_key(one.version), reverse=True)
            self._packages[name] = tuple(sorted(ranked, key=self._rank))
        return self._packages[name]

    def providing(self, name: str) -> tuple[Package, ...]:
        """The packages that provide a name, with a version or without: the best first, equal ones by their names.

        Raises:
            InputError: as for `named`.
        """
        owners = {owner for source in self._sources for owner in source.packages.providers(name)}
        found = [package for owner in sorted(owners) for package in self.named(owner)]
        providers = [package for package in found if name in provided(package.fields.get("Provides", ""))]
        return tuple(sorted(providers, key=self._rank))

    def unlisted(self, name: str) -> str | None:
        """A package's file that lies in a feed whose index does not list it; None where there is none."""
        entries = [(source, number) for source in self._sources for number in source.packages.named(name)]
        listed = {source.place(source.packages.fields(number)["Filename"]) for source, number in entries}
        for path in (path for feed in self._feeds for path in feed.covered):
            if os.path.basename(path).startswith(f"{name}_") and path.endswith(f".{self.kind}") and path not in listed:
                return path
        return None

    def check_present(self, package: Package) -> None:
        """See that a package's file is there.

        Raises:
            InputError: it is not.
        """
        check_present(package, self._listing.get(package.path))

    def _package(self, source: _Source, fields: dict[str, str]) -> Package | None:
        """The package of an entry, None where it is not for the target."""
        name, version, arch = identity(fields, source.packages.where)
        path = source.place(fields["Filename"])
        if not path.endswith(f".{self.kind}") or not self._taken(arch, path, source):
            return None
        size, digest = fields.get("Size", ""), fields.get("SHA256", "").lower()
        for field, text, pattern in (("Size", size, "[0-9]{0,18}"), ("SHA256", digest, "([0-9a-f]{64})?")):
            if not re.fullmatch(pattern, text):
                raise InputError(f"{source.packages.where}: {name}: {text[:80]!r} can not be the {field}", hint=_ANEW)
        if source.listed:
            self._listing[path] = source.packages.where
        return Package(name, version, arch, fields, path, int(size) if size else None, digest or None, source.feed)

    def _check_same(self, first: Package, second: Package) -> None:
        """See that two packages of one name, version and architecture are the same."""
        if first.path == second.path:
            same = (first.size, first.digest) == (second.size, second.digest)
        else:
            same_size = first.size == second.size or None in (first.size, second.size)
            same = same_size and self.digest(first) == self.digest(second)
        if not same:
            raise InputError(
                f"{first.path} and {second.path} are both {first.shown} for {first.arch}, with different content",
                hint="remove one of them, and make the index anew where there is one",
            )

    def digest(self, package: Package) -> str:
        """The SHA-256 of a package's file, in hexadecimal; read where its index does not tell.

        Raises:
            InputError, ToolError: it can not be read.
        """
        return self._digests(_file(package.path)).hex() if package.digest is None else package.digest

    def _taken(self, arch: str, path: str, source: _Source) -> bool:
        if arch in self._places or arch in _INDEPENDENT[self.kind]:
            return True
        if arch != self._native:
            return False
        # Yocto's feeds of deb have a folder for each of its architectures, whose packages all say Debian's word.
        by_folder = not self._places.keys().isdisjoint(self._feeds[source.feed].folders)
        return not by_folder or _folder_name(path) in self._places

    def _rank(self, package: Package) -> tuple[int, int]:
        otherwise = -1 if package.arch in _INDEPENDENT[self.kind] else len(self._places)
        place = self._places.get(package.arch, self._places.get(_folder_name(package.path), otherwise))
        return package.feed, -place


def _folder_name(path: str) -> str:
    return os.path.basename(os.path.dirname(path))


def _found_archs(sources: Sequence[_Source], kind: str, native: str) -> tuple[str, ...]:
    """The architectures to take where none are given; those that run anywhere first, the target's own last."""
    if kind == DEB:
        return ("all", native)
    found = {arch for source in sources for arch in source.packages.archs}
    ranked = {arch: (arch not in _INDEPENDENT[IPK], debian(architecture(arch)) == native, arch) for arch in found}
    return tuple(sorted((arch for arch in found if not is_other(arch, native)), key=ranked.__getitem__))


# ---- what lies where


class _Source(NamedTuple):
    """An index, or the packages of a feed that no index is for; its files are named from `folder`, or from `top`."""

    packages: Index
    feed: int
    top: str
    folder: str
    listed: bool

    def place(self, filename: str) -> str:
        """Where a package's file lies.

        Raises:
            InputError: outside the feed.
        """
        parts = [part for part in os.fsdecode(encode(filename)).split("/") if part not in ("", ".")]
        if not (filename.startswith("/") or os.pardir in parts or re.search("[\0-\x1f]", filename)):
            path = os.path.join(self.folder, *parts)
            if self.folder != self.top and not os.path.exists(path):
                # As in Debian's archive, whose indexes lie in dists/ and name what is in pool/.
                pooled = os.path.join(self.top, *parts)
                path = pooled if os.path.exists(pooled) else path
            if not self.listed or _is_inside(path, self.top):
                return path
        raise InputError(
            f"{self.packages.where}: {filename[:200]!r} can not be a Filename",
            hint="a package's file lies in the feed, and is named from its index's folder or from the feed's",
        )


def _is_inside(path: str, top: str) -> bool:
    return os.path.realpath(path).startswith(os.path.join(os.path.realpath(top), ""))


class _Feed(NamedTuple):
    """What a walk through a feed finds.

    `loose` are the packages no index is for, `covered` those in folders that one is for, listed or not. `folders` are
    the names of the folders with packages or an index. `indexed` are the folders with an index of rpm packages, all of
    which are in `loose`. `other` says what else there is.
    """

    number: int
    top: str
    listed: list[_Source]
    loose: dict[str, list[str]]
    covered: list[str]
    folders: set[str]
    indexed: list[str]
    other: str

    def kinds(self) -> set[str]:
        suffixes = {suffix for source in self.listed for suffix in source.packages.suffixes}
        suffixes.update(name[-4:] for names in self.loose.values() for name in names)
        suffixes.update(f".{RPM}" for _ in self.indexed)
        return {suffix[1:] for suffix in suffixes & _SUFFIXES}


def _survey(number: int, top: str, remember: str | None, limit: int | None) -> _Feed:
    top = top.rstrip("/") or "/"
    feed = _Feed(number, top, [], {}, [], set(), [], "")
    hints = []
    for folder, links, names in _walk(top):
        packages = [name for name in names if name[-4:] in _SUFFIXES]
        index = next((name for name in NAMES if name in names and os.path.isfile(os.path.join(folder, name))), None)
        if index:
            found = read_index(os.path.join(folder, index), remember=remember, limit=limit)
            feed.listed.append(_Source(found, number, top, folder, listed=True))
            feed.covered.extend(os.path.join(folder, name) for name in packages)
        elif packages:
            feed.loose[folder] = packages
        if os.path.isfile(os.path.join(folder, REPOMD)):
            feed.indexed.append(folder)
        if index or packages:
            feed.folders.add(os.path.basename(folder))
        hints += [f"links to folders are not followed; give {link} itself as a feed" for link in links]
    for folder in _listed_folders(feed) & feed.loose.keys() if feed.loose else ():
        feed.covered.extend(os.path.join(folder, name) for name in feed.loose.pop(folder))
    return feed._replace(other=hints[0] if hints else "")


def _listed_folders(feed: _Feed) -> set[str]:
    """The folders of the files that indexes list: the packages beside them are not for the taking."""
    samples = {(n, os.path.dirname(file)): file for n, s in enumerate(feed.listed) for file in s.packages.files()}
    return {os.path.dirname(feed.listed[number].place(file)) for (number, _), file in samples.items()}


def _walk(top: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Every folder of a feed: its path, the links to folders in it, and its other files, sorted."""

    def refuse(error: OSError) -> None:
        if error.filename == top and isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise InputError(f"{top}: there is no such folder", hint="a feed is a folder with packages in it")
        raise ToolError(f"cannot read {error.filename}: {error.strerror}") from error

    for folder, inner, names in os.walk(top, onerror=refuse):
        inner.sort()
        links = [path for path in (os.path.join(folder, name) for name in inner) if os.path.islink(path)]
        yield folder, links, sorted(names)


def _kind(feeds: Sequence[_Feed], kind: str | None) -> str:
    """The kind of packages the feeds hold, every one of them."""
    for feed in feeds:
        kinds = feed.kinds()
        missing = kind not in kinds if kind and kinds else not (kinds or feed.listed)
        if missing:
            looked_for = f"no .{kind} packages" if kind else "neither .deb, .ipk nor .rpm packages"
            other = f"it holds .{min(kinds)} packages; set IMAGE_PKGTYPE to '{min(kinds)}'" if kinds else feed.other
            raise InputError(f"{feed.top}: holds {looked_for}{'' if kinds else ', and no index'}", hint=other)
    found = {each: feed.top for feed in reversed(feeds) for each in feed.kinds()}
    if kind is None and len(found) > 1:
        held = " and ".join(f".{each} packages ({top})" for each, top in sorted(found.items()))
        hint = f"set it to {' or '.join(map(repr, sorted(found)))}"
        raise ConfigError([Fault("IMAGE_PKGTYPE", f"is not set, and the feeds hold {held}", hint)])
    if not found:
        raise InputError(f"{', '.join(feed.top for feed in feeds)}: the index of every folder is empty", hint=_ANEW)
    return kind or next(iter(found))


def _rpms(feed: _Feed) -> dict[str, list[str]]:
    """The rpm packages in each folder of a feed."""
    files = (os.path.split(path) for path in feed.covered)
    found: dict[str, list[str]] = {folder: list(names) for folder, names in feed.loose.items()}
    for folder, name in files:
        found.setdefault(folder, []).append(name)
    rpms = {folder: [name for name in names if _RPM.fullmatch(name)] for folder, names in found.items()}
    return {folder: names for folder, names in rpms.items() if names}


# ---- packages without an index


def _sources(feed: _Feed, kind: str, remember: Remembered) -> Iterator[_Source]:
    yield from feed.listed
    records: list[bytes] = []
    for folder, names in feed.loose.items():
        paths = [os.path.join(folder, name) for name in names if name.endswith(f".{kind}")]
        if paths:
            records += _read_folder(feed.top, paths, remember)
    if records:
        yield _Source(Index(records, feed.top), feed.number, feed.top, feed.top, listed=False)


def _read_folder(top: str, paths: Sequence[str], remember: Remembered) -> list[bytes]:
    """The records of packages by what they say themselves, remembered as long as no file changes."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - most feeds have an index

    names = [decode(os.fsencode(os.path.relpath(path, top))) for path in paths]
    files = list(map(_file, paths))
    mark = remember.digests.mark(files)
    folder = None if mark is None else remember.folder
    key = hashlib.sha256((mark or b"") + encode("\0".join(names))).hexdigest()
    known = None if folder is None else recall(folder, key)
    if known is not None:
        return known
    with ThreadPoolExecutor(_THREADS) as pool:
        records = list(pool.map(_read_file, paths, names, (file.size for file in files)))
    if folder is not None and list(map(_file, paths)) == files:
        keep(folder, key, records)
    return records


def _file(path: str) -> Region:
    """The whole file of a package."""
    real = os.path.realpath(path)
    status = _stat(real)
    return Region(os.fsencode(real), 0, status.st_size, stamp_of(status))


def _stat(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file, or it is a link to nothing") from error
    except OSError as error:
        raise ToolError(f"cannot read {path}: {error.strerror}") from error


def _read_file(path: str, name: str, size: int) -> bytes:
    from .archive import read_control  # noqa: PLC0415 - not needed where there is an index

    if "\n" in name:
        raise InputError(f"{path!r}: a line feed in the name of a package's file", hint="give it another name")
    fields = read_control(path, path)
    identity(fields, path)
    return record({**fields, "Filename": name, "Size": str(size), "SHA256": "", "MD5Sum": ""})
