# SPDX-License-Identifier: MIT
"""Feeds of rpm packages as repositories for dnf: folders that have metadata, and those for which it is to be made.

Follows createrepo_c(8) and dnf.conf(5). Must not read packages.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from ...errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

METADATA = os.path.join("repodata", "repomd.xml")
_LINK = "packages"  # in the folder of made metadata, to the folder of the packages


class Repository(NamedTuple):
    """A folder of the feed `feed`, 0 the first; `loose` are its packages, from there, where it has no metadata."""

    folder: str
    feed: int
    loose: tuple[str, ...] = ()


def repositories(feeds: Sequence[str]) -> list[Repository]:
    """The repositories in feeds: folders with metadata, and what packages lie in no folder that has.

    Raises:
        ToolError: a feed can not be read.
    """
    return [repository for number, top in enumerate(feeds) for repository in _of_feed(top, number)]


def _of_feed(top: str, number: int) -> Iterator[Repository]:
    loose: list[str] = []
    for folder, inner, names in os.walk(top, onerror=_refuse):
        inner.sort()
        if os.path.isfile(os.path.join(folder, METADATA)):
            inner.clear()  # it has the packages of all folders in it
            yield Repository(folder, number)
            continue
        packages = (os.path.join(folder, name) for name in sorted(names) if name.endswith(".rpm"))
        loose += (os.path.relpath(path, top) for path in packages if os.path.isfile(path))
    if loose:
        yield Repository(top, number, tuple(loose))


def _refuse(error: OSError) -> None:
    raise ToolError(f"cannot read {error.filename}: {error.strerror}") from error


def making(repository: Repository, folder: str, listing: str) -> list[str]:
    """The arguments that make the metadata of loose packages in `folder`; `listing` is a file with their names."""
    argv = ["createrepo_c", "--quiet", "--no-database", f"--outputdir={folder}", f"--pkglist={listing}"]
    return [*argv, f"--location-prefix={_LINK}", repository.folder]


def place_packages(repository: Repository, folder: str) -> None:
    """Have packages found where the metadata that is made in `folder` says."""
    os.symlink(os.path.abspath(repository.folder), os.path.join(folder, _LINK))


def configured(places: Sequence[tuple[int, str]]) -> str:
    """The text of a `.repo` file for folders with metadata, each with the number of its feed; the first feed wins."""
    return "".join(
        f"[feed{number}]\n"
        f"name=feed{number}\n"
        f"baseurl=file://{quote(os.fsencode(os.path.abspath(folder)))}\n"
        f"priority={feed + 1}\n"
        "skip_if_unavailable=0\n\n"
        for number, (feed, folder) in enumerate(places)
    )
