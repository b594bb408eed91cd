# SPDX-License-Identifier: MIT
"""Packages read, or recalled where an earlier build read them and they are the same still.

What a package holds follows from its bytes; so it is kept under their SHA-256, and the package is opened again only
for what goes into a layer. Whatever is wrong with a package is told by reading it. Must not know layers.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ..content import Part
from ..decompress import limit_for
from ..errors import InputError, OciError
from ..members import Listing, from_json
from ..tree import decode, encode
from .contents import Contents, check_identity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..content import Region
    from ..memory import Memory
    from .contents import Keeper
    from .package import Package
    from .payload import Payloads

_VERSION = 1  # changes with what is kept of a package, and with what is taken for one


class PackageReader:
    """Reads packages in `jobs` threads; `limit` bounds the bytes of each payload, as of `Payloads.read`."""

    def __init__(self, payloads: Payloads, memory: Memory, jobs: int, limit: int | None) -> None:
        self._payloads = payloads
        self._memory = memory
        self._jobs = jobs
        self._limit = limit

    def read(self, packages: Sequence[Package]) -> list[Contents]:
        """What packages hold, in the order given.

        Raises:
            InputError: a package is not what the index says, or is damaged or hostile.
            ToolError: one can not be read, or the disk is full.
        """
        if not self._memory.keeps:
            return self._payloads.read(packages, self._jobs, self._limit)
        with ThreadPoolExecutor(max(1, self._jobs)) as pool:
            files = list(pool.map(self._file, packages))
        recalled = [self._recalled(package, file) for package, file in zip(packages, files)]
        missing = [number for number, contents in enumerate(recalled) if contents is None]
        read = self._payloads.read([packages[number] for number in missing], self._jobs, self._limit)
        found = dict(zip(missing, read))
        for number, contents in found.items():
            file = files[number]
            if file is not None and self._is_there(packages[number], file):
                self._memory.digests.learn(file, bytes.fromhex(contents.digest))
            self._memory.keep(contents.digest, _kind(packages[number]), self._value(packages[number], contents))
        return [contents or found[number] for number, contents in enumerate(recalled)]

    def hold(self, packages: Sequence[Contents]) -> None:
        """Have the payloads of packages at hand, which else are read one by one when they are asked for.

        Raises:
            InputError: a package has changed.
            ToolError: one can not be read, or the disk is full.
        """
        self._payloads.hold(packages, self._jobs)

    def _bound(self, size: int) -> int:
        return limit_for(size, self._limit)

    def _value(self, package: Package, contents: Contents) -> dict[str, Any]:
        return {**to_json(contents, self._bound(contents.size)), "checksum": package.checksum}

    def _file(self, package: Package) -> Region | None:
        """A package's file, read where its digest is worth knowing; None where reading it will tell what is wrong."""
        try:
            file = self._memory.digests.file(package.path)
            # It can be recalled under no other digest than that of the index.
            if package.digest is None or self._memory.has(package.digest):
                self._memory.digests(file)
        except (OSError, OciError):
            return None
        return file

    def _is_there(self, package: Package, file: Region) -> bool:
        """Whether a package's path leads to that very file, as it was."""
        try:
            return self._memory.digests.file(package.path).stamp == file.stamp
        except OSError:
            return False

    def _recalled(self, package: Package, file: Region | None) -> Contents | None:
        digest = "" if file is None else self._memory.digests.known(file).hex()
        if file is None or not digest or digest != (package.digest or digest):
            return None
        value = self._memory.recall(digest, _kind(package))
        # What one bound lets pass a lower one may not.
        if value is None or file.size != (package.size or file.size) or value["bound"] > self._bound(file.size):
            return None
        if package.checksum not in ("", value.get("checksum", "")):
            return None
        payload = self._payloads.unread(package, digest, self._limit)
        contents = from_value(value, package.path, payload, digest, file.size)
        try:
            check_identity(contents, package)
        except InputError:
            return None
        return contents


def _kind(package: Package) -> str:
    # An ipk may be made in ways that a deb may not.
    return f"package {_VERSION} {package.path[-4:]}"


def to_json(contents: Contents, bound: int) -> dict[str, Any]:
    """What a package holds as a JSON value; `bound` is that of its payload's bytes when it was read."""
    contained = (member.entry.content for member in contents.members)
    digests = [content.digest if isinstance(content, Part) else "" for content in contained]
    return {
        "bound": bound,
        "fields": contents.fields,
        "control": {name: decode(data) for name, data in contents.control.items()},
        "conffiles": contents.conffiles,
        "members": Listing(contents.members, digests).to_json(),
    }


def from_value(value: dict[str, Any], path: str, payload: Keeper, digest: str, size: int) -> Contents:
    """What a package holds, by what `to_json` made of it, of a file of `size` bytes that lies at `path` now."""

    def locate(offset: int, length: int, sha256: str) -> Part:
        return Part(payload, offset, length, sha256)

    members = list(from_json(value["members"], locate).members)
    links = [(number, member.hardlink) for number, member in enumerate(members) if member.hardlink is not None]
    numbers = {member.path: number for number, member in enumerate(members)} if links else {}
    for number, hardlink in links:
        first = members[numbers[hardlink]]
        if first.entry.inode is None:
            first = first._replace(entry=first.entry._replace(inode=(path, hardlink)))
            members[numbers[hardlink]] = first
        members[number] = members[number]._replace(entry=first.entry)
    control = {name: encode(data) for name, data in value["control"].items()}
    return Contents(value["fields"], control, tuple(value["conffiles"]), tuple(members), payload, digest, size)
