# SPDX-License-Identifier: MIT
"""What packages ask of whoever reads them, `rpmlib(…)`: a feature that is not known here is not guessed at.

The features are those of rpm 4.15 to 6. Must not know other packages.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...errors import InputError
from . import tags

if TYPE_CHECKING:
    from .header import Header

_PREFIX = "rpmlib("
_KNOWN = {
    "BuiltinLuaScripts": "4.2.2-1",
    "CaretInVersions": "4.15.0-1",
    "CompressedFileNames": "3.0.4-1",
    "ConcurrentAccess": "4.1-1",
    "DynamicBuildRequires": "4.15.0-1",
    "ExplicitPackageProvide": "4.0-1",
    "FileCaps": "4.6.1-1",
    "FileDigests": "4.6.0-1",
    "HeaderLoadSortsTags": "4.0.1-1",
    "LargeFiles": "4.12.0-1",
    "PartialHardlinkSets": "4.0.4-1",
    "PayloadFilesHavePrefix": "4.0-1",
    "PayloadIsBzip2": "3.0.5-1",
    "PayloadIsLzma": "4.4.2-1",
    "PayloadIsXz": "5.2-1",
    "PayloadIsZstd": "5.4.18-1",
    "RichDependencies": "4.12.0-1",
    "ScriptletExpansion": "4.9.0-1",
    "ScriptletInterpreterArgs": "4.0.3-1",
    "TildeInVersions": "4.10.0-1",
    "VersionedDependencies": "3.0.3-1",
}
_PLAIN = re.compile(r"[0-9]+(\.[0-9]+)*(-[0-9]+)?")
_SIGNS = {tags.LESS: "<", tags.GREATER: ">", tags.EQUAL: "="}
_HINTS = {"ShortCircuited": "it was built with rpmbuild --short-circuit, of which rpm installs nothing: build it whole"}


def check_features(header: Header) -> None:
    """See that all features a package needs are known.

    Raises:
        InputError: one is not.
    """
    asked = zip(header.texts(tags.REQUIRENAME), header.numbers(tags.REQUIREFLAGS), header.texts(tags.REQUIREVERSION))
    for name, flags, version in asked:
        feature = name[len(_PREFIX) : -1]
        if not name.startswith(_PREFIX) or _is_met(_KNOWN.get(feature, ""), flags, version):
            continue
        sign = "".join(text for flag, text in _SIGNS.items() if flags & flag)
        wanted = " ".join(filter(None, (name[:80], sign, version[:80])))
        hint = 'build it with an older rpm, or set OCI_PACKAGE_MANAGER = "native" where the rpm of this machine has it'
        raise InputError(
            f"{header.where}: needs {wanted!r}, a feature of packages that is not known here",
            hint=_HINTS.get(feature, hint),
        )


def _is_met(known: str, flags: int, version: str) -> bool:
    """Whether a feature of a version, empty for none, is what is asked for."""
    if not known or not version or not flags & (tags.LESS | tags.GREATER | tags.EQUAL):
        return bool(known)
    if not _PLAIN.fullmatch(version):
        return False
    asked = _parts(version)
    there = _parts(known)[: len(asked)]  # a release that nobody asks for is any
    return bool(flags & (tags.EQUAL if there == asked else tags.LESS if there < asked else tags.GREATER))


def _parts(version: str) -> list[list[int]]:
    """The numbers of a version and of its release, as these compare."""
    return [[int(number) for number in part.split(".")] for part in version.split("-")]
