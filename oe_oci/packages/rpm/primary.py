# SPDX-License-Identifier: MIT
"""The metadata of packages by their headers, as createrepo_c writes it: so libsolv reads all packages in one way.

Must not know feeds or what lies where.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ...errors import InputError
from . import tags
from .relation import SENSE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .header import Header

BEGIN = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<metadata xmlns="http://linux.duke.edu/metadata/common"'
    ' xmlns:rpm="http://linux.duke.edu/metadata/rpm">\n'
)
END = "</metadata>\n"

_FLAGS = {
    tags.LESS: "LT",
    tags.GREATER: "GT",
    tags.EQUAL: "EQ",
    tags.LESS | tags.EQUAL: "LE",
    tags.GREATER | tags.EQUAL: "GE",
}
_RELATIONS = (
    ("provides", tags.PROVIDENAME, tags.PROVIDEFLAGS, tags.PROVIDEVERSION),
    ("requires", tags.REQUIRENAME, tags.REQUIREFLAGS, tags.REQUIREVERSION),
    ("conflicts", tags.CONFLICTNAME, tags.CONFLICTFLAGS, tags.CONFLICTVERSION),
    ("obsoletes", tags.OBSOLETENAME, tags.OBSOLETEFLAGS, tags.OBSOLETEVERSION),
    ("recommends", tags.RECOMMENDNAME, tags.RECOMMENDFLAGS, tags.RECOMMENDVERSION),
    ("supplements", tags.SUPPLEMENTNAME, tags.SUPPLEMENTFLAGS, tags.SUPPLEMENTVERSION),
)
_EARLY = tags.PREREQ | tags.SCRIPT_PRE | tags.SCRIPT_POST  # what its scripts need goes before a package itself
# A name, a version or a release; rpm itself allows less.
_WORD = re.compile(r"[A-Za-z0-9_][^\s\0-\x1f\x7f-\x9f()<>&\"'|,:/]{0,254}")
_ESCAPED = str.maketrans({one: f"&#{ord(one)};" for one in '&<>"\t\n\r'})
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Version(NamedTuple):
    """A version in its three parts; the epoch is empty where it is none or 0."""

    epoch: str
    version: str
    release: str

    def __str__(self) -> str:
        return f"{self.epoch}{':' if self.epoch else ''}{self.version}-{self.release}"


def version_of(header: Header) -> Version:
    """The version of a package, by its header."""
    epoch = header.number(tags.EPOCH)
    return Version(str(epoch) if epoch else "", header.text(tags.VERSION), header.text(tags.RELEASE))


def document(packages: Iterable[str]) -> bytes:
    """A whole document of packages' metadata."""
    return "".join([BEGIN, *packages, END]).encode()


def package(header: Header, *, location: str = "", size: int = 0) -> str:
    """The metadata of one package, whose file lies at `location` and has `size` bytes.

    Raises:
        InputError: its header says what can not be.
    """
    name, version = header.text(tags.NAME), version_of(header)
    arch = header.text(tags.ARCH) or "noarch"  # keys have none
    for what, word in (("name", name), ("version", version.version), ("release", version.release)):
        if not _WORD.fullmatch(word) or _NO_XML.search(word) or (what != "name" and "-" in word):
            raise InputError(f"{header.where}: {word[:80]!r} can not be a package's {what}")
    if not re.fullmatch("[A-Za-z0-9_]{1,64}", arch):
        raise InputError(f"{header.where}: {arch[:80]!r} can not be an architecture")
    relations = "".join(_relations(header, *one) for one in _RELATIONS)
    files = "".join(f"<file>{_escaped(path)}</file>\n" for path in _paths(header) if not _NO_XML.search(path))
    return (
        f'<package type="rpm"><name>{name}</name><arch>{arch}</arch>'
        f'<version epoch="{version.epoch or 0}" ver="{version.version}" rel="{version.release}"/>'
        f'<size package="{size}" installed="{header.number(tags.SIZE)}"/><location href="{_escaped(location)}"/>\n'
        f"<format>{relations}{files}</format></package>\n"
    )


def _relations(header: Header, element: str, names: int, flags: int, versions: int) -> str:
    texts, numbers = header.texts(names), header.numbers(flags)
    wanted = header.texts(versions)
    if not len(texts) == len(numbers) == len(wanted):
        raise header.damaged(f"has {len(texts)} {element}, {len(numbers)} of their flags, {len(wanted)} versions")
    entries = {_entry(header, *each): None for each in zip(texts, numbers, wanted)}
    return f"<rpm:{element}>\n{''.join(entries)}</rpm:{element}>\n" if entries else ""


def _entry(header: Header, name: str, flags: int, evr: str) -> str:
    if not name or _NO_XML.search(name) or _NO_XML.search(evr):
        raise InputError(f"{header.where}: {name[:80]!r} {evr[:80]!r} is no relation to a package")
    text = f'<rpm:entry name="{_escaped(name)}"'
    if flags & SENSE in _FLAGS and evr:
        epoch, _, rest = evr.rpartition(":")
        version, _, release = rest.partition("-")
        text += f' flags="{_FLAGS[flags & SENSE]}" epoch="{_escaped(epoch or "0")}" ver="{_escaped(version)}"'
        text += f' rel="{_escaped(release)}"' if release else ""
    return text + (' pre="1"/>\n' if flags & _EARLY else "/>\n")


def _paths(header: Header) -> Iterator[str]:
    if tags.BASENAMES not in header:
        yield from header.texts(tags.OLDFILENAMES)
        return
    folders = header.texts(tags.DIRNAMES)
    numbers, names = header.numbers(tags.DIRINDEXES), header.texts(tags.BASENAMES)
    if len(numbers) != len(names) or max(numbers, default=0) >= len(folders):
        raise header.damaged("has files in directories that it does not have")
    yield from (folders[number] + name for number, name in zip(numbers, names))


def _escaped(text: str) -> str:
    """A text as a document has it, between tags or in double quotes."""
    return text.translate(_ESCAPED)
