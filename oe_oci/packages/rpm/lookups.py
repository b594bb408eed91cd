# SPDX-License-Identifier: MIT
"""What rpm's database looks packages up by: a table for each of some tags, and what of a header is in it.

Follows what rpm 4.18 writes. Must not know how the tables are stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, NamedTuple, Union

from . import tags
from .rich import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .header import Header

Key = Union[str, bytes]

# What is needed to install alone, and what to erase.
_INSTALLING = (
    tags.SCRIPT_PRE | tags.SCRIPT_POST | tags.SCRIPT_PRETRANS | tags.SCRIPT_POSTTRANS | tags.RPMLIB | tags.KEYRING
)
_ERASING = tags.SCRIPT_PREUN | tags.SCRIPT_POSTUN


class Lookup(NamedTuple):
    """A table of the database.

    `keys` gives those of a header with the number of the value each stands for; `text` tells whether they are text,
    `indexed` which columns have an index.
    """

    name: str
    keys: Callable[[Header], Iterable[tuple[Key, int]]]
    text: bool = True
    indexed: tuple[str, ...] = ("key", "hnum")


def _texts(tag: int) -> Callable[[Header], Iterable[tuple[Key, int]]]:
    """Each value of a tag."""

    def keys(header: Header) -> Iterator[tuple[Key, int]]:
        return ((text, number) for number, text in enumerate(header.texts(tag)))

    return keys


def _relations(tag: int, flags: int = 0) -> Callable[[Header], Iterable[tuple[Key, int]]]:
    """The relations of a tag, without those that matter only while the package is installed, by `flags`."""

    def keys(header: Header) -> Iterator[tuple[Key, int]]:
        found = header.texts(tag)
        given = (*header.numbers(flags), *(0 for _ in found))
        for number, (text, flag) in enumerate(zip(found, given)):
            if flag & _INSTALLING and not flag & _ERASING:
                continue
            yield text, number
            if text.startswith("("):
                for name in names(text):
                    yield name, number

    return keys


def _triggers(header: Header) -> Iterable[tuple[Key, int]]:
    """The names of packages that trigger a script, each once."""
    found: dict[Key, int] = {}
    for number, text in enumerate(header.texts(tags.TRIGGERNAME)):
        found.setdefault(text, number)
    return found.items()


def _file_triggers(tag: int, index: int) -> Callable[[Header], Iterable[tuple[Key, int]]]:
    """The paths that trigger scripts, with these scripts' numbers, which are the tag `index`."""

    def keys(header: Header) -> Iterable[tuple[Key, int]]:
        return zip(header.texts(tag), header.numbers(index))

    return keys


def _group(header: Header) -> Iterable[tuple[Key, int]]:
    return [(header.text(tags.GROUP) or "Unknown", 0)]


def _transaction(header: Header) -> Iterable[tuple[Key, int]]:
    """The number of the transaction, as processors of today have it in memory."""
    return ((number.to_bytes(4, "little"), at) for at, number in enumerate(header.numbers(tags.INSTALLTID)))


def _md5(header: Header) -> Iterable[tuple[Key, int]]:
    return [(header.binary(tags.SIGMD5), 0)] if tags.SIGMD5 in header else []


LOOKUPS = (
    Lookup("Name", _texts(tags.NAME), indexed=("key",)),
    Lookup("Basenames", _texts(tags.BASENAMES)),
    Lookup("Group", _group, indexed=("key",)),
    Lookup("Requirename", _relations(tags.REQUIRENAME, tags.REQUIREFLAGS)),
    Lookup("Providename", _texts(tags.PROVIDENAME)),
    Lookup("Conflictname", _relations(tags.CONFLICTNAME)),
    Lookup("Obsoletename", _texts(tags.OBSOLETENAME)),
    Lookup("Triggername", _triggers),
    Lookup("Dirnames", _texts(tags.DIRNAMES)),
    Lookup("Installtid", _transaction, text=False, indexed=()),
    Lookup("Sigmd5", _md5, text=False, indexed=()),
    Lookup("Sha1header", _texts(tags.SHA1HEADER), indexed=("key",)),
    Lookup("Filetriggername", _file_triggers(tags.FILETRIGGERNAME, tags.FILETRIGGERINDEX)),
    Lookup("Transfiletriggername", _file_triggers(tags.TRANSFILETRIGGERNAME, tags.TRANSFILETRIGGERINDEX)),
    Lookup("Recommendname", _relations(tags.RECOMMENDNAME)),
    Lookup("Suggestname", _relations(tags.SUGGESTNAME)),
    Lookup("Supplementname", _relations(tags.SUPPLEMENTNAME)),
    Lookup("Enhancename", _relations(tags.ENHANCENAME)),
)
