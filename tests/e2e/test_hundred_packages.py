# SPDX-License-Identifier: MIT
"""More than a hundred real packages, as .deb and as .rpm, make the same tree whoever installs them.

The tree they are compared with is the one that rpm itself makes of the rpms. What its tools would do otherwise is left
out of the rpms and told in `debian_rpms`; times of directories are nobody's but of who made them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support import compare, debian_rpms, installed, merge, samples, sources, specs, tools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATABASES = (*(path.encode() for path in installed.DATABASES.values()), b"var/lib/apt")
FIRST = ("base-files", "base-passwd", "bash", "coreutils", "dash")
CONF = f"""\
OCI_LAYERS = "\\
    system:packages:system \\
    base:packages:{",".join(FIRST)} \\
    more:packages:{",".join(name for name in debian_rpms.NAMES if name not in FIRST)} \\
"
NO_RECOMMENDATIONS = "1"
SOURCE_DATE_EPOCH = "2000000000"
"""


class Way(NamedTuple):
    """A format and who installs its packages."""

    kind: str
    manager: str


WAYS = {
    "deb built in": Way("deb", "builtin"),
    "apt": Way("deb", "native"),
    "rpm built in": Way("rpm", "builtin"),
    "dnf": Way("rpm", "native"),
}


class Hundred(NamedTuple):
    """The real packages by name, one more with what the scripts of some would make, and a feed of each kind."""

    real: dict[str, debian_rpms.Real]
    system: sources.Source
    feeds: dict[str, Path]

    def versions(self, kind: str) -> dict[str, str]:
        """Those of the real packages, in the words of a format."""
        if kind == "rpm":
            return {name: one.source.version for name, one in self.real.items()}
        return {name: merge.read_fields(one.deb).version for name, one in self.real.items()}


@pytest.fixture(scope="module")
def hundred(room) -> Hundred:
    feeds = {kind: room / f"hundred {kind}" for kind in ("deb", "rpm")}
    real = debian_rpms.packages(feeds["rpm"])
    system = debian_rpms.system(real)
    specs.write([system], feeds["rpm"])
    sources.write([system], feeds["deb"], "deb", samples.NUMBERS)
    for one in real.values():
        (feeds["deb"] / one.deb.name).symlink_to(one.deb)
    return Hundred(real, system, feeds)


@pytest.fixture(scope="module")
def rpms_own(hundred) -> Iterator[Path]:
    """What rpm makes of all packages, in an order of its own."""
    tools.need_root()
    with tools.scratch("oe-oci-hundred-", 0o755) as folder:
        root = folder / "root"
        root.mkdir()
        first = hundred.feeds["rpm"] / specs.file_name(hundred.system)
        for rpms in ([first], [one.rpm for one in hundred.real.values()]):
            tools.run("rpm", "--root", root, "--dbpath", "/var/lib/rpm", "--upgrade", "--nodeps", *rpms, timeout=600)
        yield root


class Built(NamedTuple):
    way: Way
    report: dict[str, Any]
    merged: compare.Listing


@pytest.fixture(scope="module", params=WAYS)
def built(request, hundred, room) -> Built:
    way, place = WAYS[request.param], room / f"hundred by {request.param}"
    place.mkdir()
    (place / "app.conf").write_text(CONF, encoding="utf-8")
    words = ["--set", "OCI_PACKAGE_MANAGER=native" if way.manager == "native" else "OCI_PACKAGE_SCRIPTS=skip"]
    report = tools.build(place / "app.conf", place / "deploy", "--feed", hundred.feeds[way.kind], *words, timeout=600)
    return Built(way, report, merge.read_image(place / "deploy/app-oci").merged)


def test_every_package_is_installed_once(hundred, built):
    found = [(one["name"], one["version"]) for layer in built.report["layers"] for one in layer["packages"]]
    assert sorted(found) == sorted([*hundred.versions(built.way.kind).items(), ("system", hundred.system.version)])
    assert len(found) > debian_rpms.FEWEST


def test_the_tree_is_the_one_that_rpm_makes(rpms_own, built):
    expected, found = (merge.without(tree, *DATABASES) for tree in (compare.listing(rpms_own), built.merged))
    compare.assert_same(*map(without_folders_times, (expected, found)), times=True)


def without_folders_times(tree: compare.Listing) -> compare.Listing:
    return {path: facts._replace(mtime=0) if facts.kind == "directory" else facts for path, facts in tree.items()}


def test_rpm_finds_its_tree_whole(hundred, rpms_own):
    assert installed.faults("rpm", rpms_own) == []
    found = {name: version for name, (version, _) in installed.versions("rpm", rpms_own).items()}
    assert found == {**hundred.versions("rpm"), "system": hundred.system.version}
