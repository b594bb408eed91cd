# SPDX-License-Identifier: MIT
"""rpm packages in a few words, as metadata of a feed and as headers: for tests of resolving, without their files."""

from __future__ import annotations

import gzip
import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from oe_oci.digests import Digests
from oe_oci.packages.feed import open_feeds
from oe_oci.packages.index import Remembered
from oe_oci.packages.package import Installed
from oe_oci.packages.rpm.header import Header
from oe_oci.packages.rpm.world import World
from oe_oci.packages.world import Policy
from support import rpms

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

WORDS = ("provides", "needs", "conflicts", "obsoletes", "likes", "supplements")
_ELEMENTS = dict(zip(WORDS, ("provides", "requires", "conflicts", "obsoletes", "recommends", "supplements")))
_SIGNS = {"<": "LT", "<=": "LE", "=": "EQ", ">=": "GE", ">": "GT"}


class Facts(NamedTuple):
    """A package; relations by the words for them, files as absolute paths."""

    name: str
    epoch: str
    version: str
    release: str
    arch: str
    relations: dict[str, list[str]]
    files: list[str]

    @property
    def evr(self) -> str:
        return f"{self.epoch}{':' if self.epoch else ''}{self.version}-{self.release}"

    @property
    def file(self) -> str:
        return f"{self.name}-{self.version}-{self.release}.{self.arch}.rpm"


def facts(text: str) -> Facts:
    """`name evr [arch] [; word value]…`, as `shop 1 ; needs libc >= 2, (x or y) ; files /bin/shop`; release 1."""
    head, *fields = (part.strip() for part in text.split(";"))
    name, evr, arch = ([*head.split(), "x86_64"])[:3]
    epoch, _, rest = evr.rpartition(":")
    version, _, release = rest.partition("-")
    values = {word: value for word, _, value in (field.partition(" ") for field in fields)}
    relations = {word: re.split(r",\s*", values[word]) for word in WORDS if word in values}
    own = f"{name} = {epoch}{':' if epoch else ''}{version}-{release or 1}"
    relations["provides"] = [own, *relations.get("provides", [])]
    return Facts(name, epoch, version, release or "1", arch, relations, values.get("files", "").split())


def _parts(relation: str) -> tuple[str, str, str]:
    words = [relation] if relation.startswith("(") else relation.split()
    name, sign, evr = [*words, "", ""][:3]
    return name, sign, evr


# ---- metadata


def entry(relation: str) -> str:
    name, sign, evr = _parts(relation)
    text = f"<rpm:entry name={quoteattr(name)}"
    if sign:
        epoch, _, rest = evr.rpartition(":")
        version, _, release = rest.partition("-")
        text += f' flags="{_SIGNS[sign]}" epoch="{epoch or 0}" ver="{version}"'
        text += f' rel="{release}"' if release else ""
    return text + "/>"


def element(one: Facts, *, digest: str = "", size: int = 100, location: str = "", files: bool = True) -> str:
    """A package in primary metadata; by default its digest is that of what it says."""
    relations = "".join(
        f"<rpm:{_ELEMENTS[word]}>{''.join(map(entry, found))}</rpm:{_ELEMENTS[word]}>"
        for word, found in one.relations.items()
    )
    paths = "".join(f"<file>{escape(path)}</file>" for path in one.files) if files else ""
    digest = digest or pkgid(one)
    return (
        f'<package type="rpm"><name>{one.name}</name><arch>{one.arch}</arch>'
        f'<version epoch="{one.epoch or 0}" ver="{one.version}" rel="{one.release}"/>'
        f'<checksum type="sha256" pkgid="YES">{digest}</checksum><size package="{size}"/>'
        f'<location href="{location or one.file}"/><format>{relations}{paths}</format></package>'
    )


def pkgid(one: Facts) -> str:
    return hashlib.sha256(repr(one).encode()).hexdigest()


def primary(elements: Iterable[str]) -> bytes:
    text = "".join(elements)
    begin = '<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm">'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{begin}{text}</metadata>\n'.encode()


def filelists(packages: Iterable[Facts]) -> bytes:
    text = "".join(
        f'<package pkgid="{pkgid(one)}" name="{one.name}" arch="{one.arch}">'
        f'<version epoch="{one.epoch or 0}" ver="{one.version}" rel="{one.release}"/>'
        + "".join(f"<file>{escape(path)}</file>" for path in one.files)
        + "</package>"
        for one in packages
    )
    begin = '<filelists xmlns="http://linux.duke.edu/metadata/filelists">'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{begin}{text}</filelists>\n'.encode()


def write_repodata(folder: Path, metadata: dict[str, bytes]) -> Path:
    """`repodata` of some metadata, by their types, compressed with gzip."""
    place = folder / "repodata"
    place.mkdir(parents=True, exist_ok=True)
    text = ""
    for kind, data in metadata.items():
        packed = gzip.compress(data, 1, mtime=0)
        name = f"{kind}.xml.gz"
        (place / name).write_bytes(packed)
        text += (
            f'<data type="{kind}"><checksum type="sha256">{hashlib.sha256(packed).hexdigest()}</checksum>'
            f'<open-checksum type="sha256">{hashlib.sha256(data).hexdigest()}</open-checksum>'
            f'<location href="repodata/{name}"/></data>'
        )
    (place / "repomd.xml").write_text(
        f'<?xml version="1.0" encoding="UTF-8"?>\n<repomd xmlns="http://linux.duke.edu/metadata/repo">{text}</repomd>\n'
    )
    return folder


def write_feed(folder: Path, *texts: str) -> Path:
    """A feed's metadata alone, as createrepo_c would write them: in the primary ones the files that these have."""
    packages = list(map(facts, texts))
    common = re.compile(r"/etc/.*|(/.*)?bin/.*|/usr/lib/sendmail")
    short = (one._replace(files=[path for path in one.files if common.fullmatch(path)]) for one in packages)
    elements = [element(one, digest=pkgid(whole)) for one, whole in zip(short, packages)]
    return write_repodata(folder, {"primary": primary(elements), "filelists": filelists(packages)})


# ---- packages


def package(one: Facts) -> rpms.Made:
    """A package as a file has it."""
    words = {_ELEMENTS[word]: found for word, found in one.relations.items()}
    words["provides"] = words["provides"][1:]  # itself it provides anyway
    return rpms.package(one.name, one.evr, one.arch, {path[1:]: b"" for path in one.files}, **words)


# ---- worlds


def opened(*folders: Path, archs: Sequence[str] | None = ("noarch", "x86_64"), **how: object):
    """The feeds in some folders."""
    settings = {"kind": None, "native": "amd64", "remember": None, "limit": None, **how}
    return open_feeds([str(folder) for folder in folders], archs=archs, **settings)


def remembered(folder: Path, began: int) -> Remembered:
    return Remembered(str(folder), Digests(str(folder / "digests"), began=began))


def below(*texts: str) -> list[Installed]:
    """Packages that are installed."""
    return [
        Installed(one.name, one.evr, one.arch, {}, header=Header(package(one).header, one.name))
        for one in map(facts, texts)
    ]


def world(feeds, *installed: str, recommends: bool = True, exclude: Collection[str] = (), bad: Collection[str] = ()):
    policy = Policy("rpm", "amd64", recommends, frozenset(bad), frozenset(exclude))
    return World(feeds, below(*installed), policy)
