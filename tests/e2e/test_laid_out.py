# SPDX-License-Identifier: MIT
"""Layers of packages laid out in folders and taken in again: unchanged the same image, and else what was changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from support import laidout, samples, tools

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Way(NamedTuple):
    """Who installs packages of a format, and which of the samples that one can not."""

    kind: str
    manager: str
    without: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()


WAYS = {
    "deb": Way("deb", "builtin"),
    "ipk": Way("ipk", "builtin"),
    "rpm": Way("rpm", "builtin"),
    "apt": Way("deb", "native", ("net-probe",), ("apt-get", "dpkg", "dpkg-deb")),
    "dnf": Way("rpm", "native", ("special",), ("dnf", "rpm", "rpmbuild", "createrepo_c")),
    "opkg": Way("ipk", "native", ("meta", "caller", "ring-a", "ring-b", "nice", "new-name"), ("opkg",)),
}
DATABASES = {"deb": ("keep", "top", "status.d", "remove"), "rpm": ("keep", "top", "remove")}
CASES = [
    *((name, database) for name in ("deb", "rpm") for database in DATABASES[name]),
    *(("ipk", database) for database in ("keep", "top")),
    *((name, database) for name in ("apt", "dnf", "opkg") for database in ("keep", "top")),
]


@pytest.mark.parametrize(("name", "database"), CASES)
def test_what_nobody_changed_is_the_same_image(folder: Path, sample_feeds: Callable, name: str, database: str):
    """On a base image, with accounts, upgrades, hard links, devices and capabilities."""
    tools.need_root()
    way = WAYS[name]
    tools.need(*way.programs)
    lines = [f'OCI_PACKAGE_DATABASE = "{database}"', f'OCI_PACKAGE_MANAGER = "{way.manager}"']
    base, app = samples.Images(*way.without).write_configurations(folder, *lines)
    older, newer = sample_feeds(way.kind)
    tools.build(base, base.parent / "deploy", "--feed", older)
    tools.build(app, app.parent / "deploy", "--feed", newer)
    laid = laidout.lay_out(folder / "rootfs-oci-", app, "--feed", newer)
    assert len(laid) == 2 * 3
    tools.build(app, app.parent / "again", *laid)
    reports = [(app.parent / place / "app-oci.json").read_text() for place in ("deploy", "again")]
    assert reports[0] == reports[1]
