# SPDX-License-Identifier: MIT
"""What the installer knows of a package: one a feed offers, and one that is installed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .rpm.header import Header

DEB, IPK, RPM = "deb", "ipk", "rpm"


class Package(NamedTuple):
    """A package a feed offers.

    `fields` are those of its index entry or control file, under their usual names (`Pre-Depends`, `Multi-Arch`).
    `path` is its file; `size` in bytes and `digest` (SHA-256, hexadecimal) are None where only the file can tell.
    `feed` is the number of the feed, 0 the first. `checksum` is what the index gives in place of the SHA-256,
    hexadecimal too, of the kind that its length tells; else empty.
    """

    name: str
    version: str
    arch: str
    fields: Mapping[str, str]
    path: str
    size: int | None
    digest: str | None
    feed: int
    checksum: str = ""

    @property
    def shown(self) -> str:
        return f"{self.name} {self.version}"


class Installed(NamedTuple):
    """A package that a database knows, of the base image or of a layer.

    `fields` are those of its control file; `state` is the database's `Status`, `install ok installed` where it is
    whole. `conffiles` gives each configuration file's path, relative to the root, with its MD5 in hexadecimal.
    `requested` is False where it was installed only as another needs it. An rpm's `header` is as its database has it;
    the digests of its configuration files are of the kind that their length tells.
    """

    name: str
    version: str
    arch: str
    fields: Mapping[str, str]
    state: str = "install ok installed"
    conffiles: tuple[tuple[str, str], ...] = ()
    requested: bool = True
    header: Header | None = None

    @property
    def shown(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def whole(self) -> bool:
        """Whether its files are there, so that dependencies may count on it."""
        return self.state.rpartition(" ")[2] not in ("not-installed", "config-files")


def check_present(package: Package, index: str | None) -> None:
    """See that the file of a package is there, which `index` lists, None for none.

    Raises:
        InputError: it is not.
    """
    if os.path.isfile(package.path):
        return
    if index is None:
        raise InputError(f"{package.path} was there when the feed was read, and is no more")
    hint = "make the index anew, or fetch the package again"
    raise InputError(f"{index} lists {package.path}, which is not there", hint=hint)
