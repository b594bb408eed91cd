# SPDX-License-Identifier: MIT
"""Feeds of rpm packages as repositories for dnf: folders that have metadata, and those for which it is to be made.

Follows createrepo_c(8) and dnf.conf(5). Must not read packages.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..rpm.feed import Feeds

_LINK = "packages"  # in the folder of made metadata, to the folder of the packages


class Repository(NamedTuple):
    """A folder of the feed `feed`, 0 the first; `loose` are its packages, from there, where it has no metadata."""

    folder: str
    feed: int
    loose: tuple[str, ...] = ()


def repositories(feeds: Feeds) -> list[Repository]:
    """The repositories that offer dnf what the built-in installer finds in feeds."""
    return list(map(Repository._make, feeds.places))


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
