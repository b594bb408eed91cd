# SPDX-License-Identifier: MIT
"""The rich relations that packages' metadata have, found in the text: of a malformed one libsolv says nothing at all.

Must not know libsolv.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO, NamedTuple
from xml.parsers import expat

from ...errors import InputError
from . import clauses, rich

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = 1 << 20
_MOST = 64 << 20  # bytes of one package's metadata
_LONGEST = 1 << 13  # characters of a relation; libsolv goes down by a call of its own for each `or`
_END = b"</package>"
_BEGINNINGS = (b'"(', b"'(", b'"&', b"'&")  # of a value; few packages have one
_RICH = re.compile(rb"name(?<=\sname)\s*=\s*(?:\"([(&][^\"]*)\"|'([(&][^']*)')")
_NAME = re.compile(rb"<name>([^<]*)</name>")
_KIND = re.compile(rb"<rpm:(provides|requires|conflicts|obsoletes|recommends|suggests|supplements|enhances)\b")
_ODD = re.compile(r"[^\S ]|,")  # between words; rpm takes these for blanks, and libsolv does not


class Rich(NamedTuple):
    """A relation of a package that is more than a choice of one; `conflict` is what must not be so."""

    package: str
    conflict: bool
    text: str


def find_rich(file: BinaryIO, where: str) -> list[Rich]:
    """Those in primary metadata, which are read to their end.

    Raises:
        InputError: a rich relation is malformed, if only one that is a choice.
    """
    complex_ones: dict[str, bool] = {}  # many packages have the same
    found: list[Rich] = []
    for data in _packages(file, where):
        for package in data.split(_END):
            if any(begin in package for begin in _BEGINNINGS):
                found += _find(package, where, complex_ones)
    return found


def _packages(file: BinaryIO, where: str) -> Iterator[bytes]:
    """The same bytes in pieces that hold whole packages."""
    rest = b""
    while piece := file.read(_PIECE):
        whole, end, rest = (rest + piece).rpartition(_END)
        if len(rest) > _MOST:
            raise InputError(f"{where}: damaged index: a package of more than {_MOST >> 20} MiB")
        yield whole + end
    yield rest


def _find(package: bytes, where: str, known: dict[str, bool]) -> Iterator[Rich]:
    """Those of one package; `known` tells of relations whether they are complex."""
    name, kind, passed = "", b"", 0
    for match in _RICH.finditer(package):
        text = _value(match)
        if not text.startswith("("):
            continue
        kind = next(reversed(_KIND.findall(package, passed, match.start())), kind)
        passed = match.start()
        name = name or _name(package)
        if text not in known:
            known[text] = _is_complex(text, f"{where}: {name}")
        if known[text]:
            yield Rich(name, kind == b"conflicts", text)


def _value(match: re.Match[bytes]) -> str:
    """The value of what looks like an attribute; as it is written where it is none, as a description may have it."""
    found: dict[str, str] = {}
    parser = expat.ParserCreate("UTF-8")
    parser.StartElementHandler = lambda _name, attributes: found.update(attributes)
    try:
        parser.Parse(b"<a %b/>" % match[0], True)
    except expat.ExpatError:  # where the document is damaged libsolv tells
        return (match[1] or match[2]).decode("utf-8", "surrogateescape")
    return found["name"]


def _name(package: bytes) -> str:
    found = _NAME.search(package)
    return found[1].decode("utf-8", "replace")[:80] if found else "a package without a name"


def _parsed(text: str) -> rich.Node:
    """A relation, of which libsolv says the same as rpm.

    Raises:
        MalformedError: one of the two does not understand it.
    """
    if len(text) > _LONGEST:
        raise rich.MalformedError(f"it has more than {_LONGEST} characters")
    if _ODD.search(text):
        raise rich.MalformedError("its words are separated by something else than blanks")
    return rich.parse(text)


def _is_complex(text: str, where: str) -> bool:
    """Whether a relation is more than the choice of one package; `where` names who has it."""
    try:
        return clauses.is_complex(_parsed(text))
    except rich.MalformedError as error:
        raise InputError(
            f"{where}: {text[:200]!r} is no relation to a package: {error}",
            hint="build the package anew, or take it out of the feed",
        ) from error
