# SPDX-License-Identifier: MIT
"""The order of versions, as dpkg and opkg have it.

python-debian's refuses versions with `_`, which OE's packages have, and numbers of thousands of digits.
Follows deb-version(7).
"""

from __future__ import annotations

import re
from functools import cmp_to_key, lru_cache
from itertools import zip_longest
from typing import Any

_EPOCH = re.compile(r"([0-9]+):(.*)", re.DOTALL)
_RUN = re.compile(r"([^0-9]*)([0-9]*)")


def compare(a: str, b: str) -> int:
    """Less than 0 where `a` is the older version, more where it is the newer one, else 0."""
    if a != b:
        for ours, theirs in zip(_parts(a), _parts(b)):
            # What has ended compares as zero, so that 1.0 equals 1.0-0 and 1.0~ comes before both.
            for one, other in zip_longest(ours, theirs, fillvalue=0):
                if one != other:
                    return -1 if one < other else 1
    return 0


sort_key = cmp_to_key(compare)


@lru_cache(maxsize=1 << 16)
def _parts(version: str) -> tuple[tuple[Any, ...], ...]:
    """Epoch, upstream version and revision, each such that equal places compare."""
    match = _EPOCH.fullmatch(version)
    epoch, rest = match.groups() if match else ("", version)
    upstream, hyphen, revision = rest.rpartition("-")
    return _places(epoch), _places(upstream if hyphen else rest), _places(revision if hyphen else "")


def _places(text: str) -> tuple[Any, ...]:
    """Characters by their rank, 0 where they end, and numbers by their length before their digits."""
    places: list[Any] = []
    for characters, digits in _RUN.findall(text):
        number = digits.lstrip("0")
        places += [_rank(character) for character in characters]
        places += [0, len(number), number] if number else [0, 0]
    return tuple(places)


def _rank(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) + (0 if character.isalpha() and character.isascii() else 1 << 21)
