# SPDX-License-Identifier: MIT
"""Paragraphs of fields, as control files, indexes and databases of packages have them.

Follows deb-control(5), whose syntax opkg shares. Must not know what a field means.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PARAGRAPH_LIMIT = 1 << 20

# As dpkg writes them, or opkg where dpkg has no such field.
_FIELDS = (
    *("Package", "Version", "Architecture", "Multi-Arch", "Essential", "Protected", "Priority", "Section", "Source"),
    *("Maintainer", "Origin", "Bugs", "Homepage", "License", "Tag", "Tags", "Task", "Status", "Auto-Installed"),
    *("Pre-Depends", "Depends", "Recommends", "Suggests", "Enhances", "Conflicts", "Breaks", "Replaces", "Provides"),
    *("Installed-Size", "Installed-Time", "Filename", "Size", "MD5Sum", "SHA1", "SHA256", "SHA512", "Conffiles"),
    *("Config-Version", "Triggers-Pending", "Triggers-Awaited", "Alternatives", "ABIVersion", "OE", "Build-Ids"),
    *("Description", "Description-md5", "Built-Using", "Static-Built-Using"),
)
_USUAL = {**{field.lower(): field for field in _FIELDS}, "sha256sum": "SHA256"}

_BETWEEN = re.compile(r"\n(?![ \t])")  # two fields
_FIELD = re.compile(r"([!\"$-,.-9;-~][!-9;-~]*):[ \t]*(.*)", re.DOTALL)
_IDENTITY = {
    "Package": re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,254}"),
    "Version": re.compile(r"[A-Za-z0-9.+~:_-]{1,1000}"),
    "Architecture": re.compile(r"[A-Za-z0-9_-]{1,100}"),
}


def parse_control(data: bytes, where: str) -> dict[str, str]:
    """The fields of exactly one paragraph; `where` names it in messages.

    Raises:
        InputError: it is damaged, or there is none or more than one.
    """
    found = paragraphs(data, where)
    fields = next(found, None)
    if fields is None:
        raise InputError(f"{where}: holds no field")
    if next(found, None) is not None:
        raise InputError(f"{where}: holds more than one paragraph")
    return fields


def paragraphs(data: bytes, where: str) -> Iterator[dict[str, str]]:
    """The fields of each paragraph, in order, known ones under their usual names.

    A field's further lines are kept as they stand, so that names and values with a colon between them are the
    paragraph again. Bytes that are no UTF-8 are surrogates.

    Raises:
        InputError: a line is no field, a field is given twice, or a paragraph has more than 1 MiB.
    """
    line = 1
    for text in data.decode("utf-8", "surrogateescape").split("\n\n"):
        body = text.strip("\n")
        if body:
            yield _fields(body, where, line + len(text) - len(text.lstrip("\n")))
        line += text.count("\n") + 2


def identity(fields: Mapping[str, str], where: str) -> tuple[str, str, str]:
    """A package's name, version and architecture.

    Raises:
        InputError: one is missing, or no package can have it.
    """
    name, version, arch = (fields.get(field, "") for field in _IDENTITY)
    for field, pattern in _IDENTITY.items():
        text = fields.get(field, "")
        if not pattern.fullmatch(text):
            package = f" of {name[:80]!r}" if name and field != "Package" else ""
            raise InputError(
                f"{where}: {text[:80]!r} can not be the {field}{package}"
                if text
                else f"{where}: has no {field}{package}"
            )
    return name, version, arch


def _fields(body: str, where: str, line: int) -> dict[str, str]:
    if len(body) > PARAGRAPH_LIMIT:
        raise InputError(f"{where}: line {line}: a paragraph of more than {PARAGRAPH_LIMIT} bytes")
    fields: dict[str, str] = {}
    seen = set()
    for text in _BETWEEN.split(body):
        match = _FIELD.match(text)
        if match is None or "\0" in text:
            raise InputError(f"{where}: line {line}: {text[:80]!r} is no field of control data")
        name = match[1].lower()
        if name in seen:
            raise InputError(f"{where}: line {line}: has the field {match[1][:80]} twice")
        first, feed, rest = match[2].partition("\n")
        fields[_USUAL.get(name, match[1])] = first.rstrip(" \t\r") + feed + rest
        seen.add(name)
        line += text.count("\n") + 1
    return fields
