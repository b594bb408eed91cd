# SPDX-License-Identifier: MIT
"""One set of sources, packaged in each format, makes the same images, whoever installs it.

The tree is also what the descriptions of the packages say, by some lines of Python that know no format. Databases are
compared by what the tools of the formats answer. What differs is in `BESIDE` and in the tests below, with its reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support import compare, installed, merge, samples, sources, tools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Way(NamedTuple):
    """A format and who installs its packages."""

    kind: str
    manager: str


WAYS = {"ipk built in": Way("ipk", "builtin"), "deb built in": Way("deb", "builtin")}
# The name under which the new one of a configuration file lies that somebody changed: each tool has its own.
BESIDE = {"ipk": "-opkg", "deb": ".dpkg-dist", "rpm": ".rpmnew"}
DATABASES = (*(path.encode() for path in installed.DATABASES.values()), b"var/lib/apt")


class Built(NamedTuple):
    """The two images of a way: a report each, the merged layers of the second, and that on disk."""

    way: Way
    reports: dict[str, dict[str, Any]]
    merged: compare.Listing
    root: Path
    feed: Path


@pytest.fixture(scope="module")
def build(room, sample_feeds) -> Iterator[Callable[[str], Built]]:
    made: dict[str, Built] = {}
    with tools.scratch("oe-oci-formats-", 0o755) as folder:

        def of(name: str) -> Built:
            if name not in made:
                made[name] = _build(WAYS[name], sample_feeds(WAYS[name].kind), folder / name.replace(" ", "-"))
            return made[name]

        yield of


def _build(way: Way, feeds: samples.Feeds, place: Path) -> Built:
    tools.need_root()
    reports = {}
    for path, feed in zip(samples.write_configurations(place), feeds):
        reports[path.stem] = tools.build(path, path.parent / "deploy", "--feed", feed)
    layout = place / "app/deploy/app-oci"
    tools.oe_oci("unpack", layout, place / "root")
    return Built(way, reports, merge.read_image(layout).merged, place / "root", feeds.newer)


@pytest.fixture(params=WAYS)
def built(request, build) -> Built:
    return build(request.param)


def compared(tree: compare.Listing, kind: str) -> compare.Listing:
    """A tree without databases, what is beside changed configuration files under one name."""
    beside = BESIDE[kind].encode()
    kept = merge.without(tree, *DATABASES)
    found = {path.removesuffix(beside) + b" (new)" if path.endswith(beside) else path: kept[path] for path in kept}
    for path in [path for path in found if path.endswith(b" (new)")]:
        found[path] = found[path]._replace(names=frozenset({path}))
    return found


# ---- the tree


def test_the_tree_is_what_the_sources_say(built):
    tree = samples.expected(BESIDE[built.way.kind])
    expected, found = (merge.without(one, *DATABASES, *samples.ACCOUNT_FILES) for one in (tree.listing(), built.merged))
    compare.assert_same(expected, found, times=True)


def test_all_ways_make_the_same_tree(build):
    one, *others = (build(name) for name in WAYS)
    for other in others:
        compare.assert_same(compared(one.merged, one.way.kind), compared(other.merged, other.way.kind), times=True)


def test_the_tree_holds_what_it_is_compared_for(built):
    """That nothing was left out of the packages in every format."""
    found = built.merged
    assert {facts.kind for facts in found.values()} == {
        *("file", "directory", "link", "fifo", "character device", "block device")
    }
    assert (found[b"usr/bin/kiosk-su"].mode, found[b"usr/bin/kiosk-su"].uid) == ("4755", samples.NUMBERS["kiosk"])
    assert found[b"var/lib/shop"].uid == samples.NUMBERS["shopd"]
    assert found[b"usr/bin/net-probe"].xattrs == {"security.capability": sources.CAPABILITIES["cap_net_raw=ep"]}
    assert len(found[b"usr/share/odd/one"].names) == 3
    assert found[b"bin"].target == b"usr/bin"
    assert b"usr/bin/odd" in found
    beside = b"etc/editor/editor.conf" + BESIDE[built.way.kind].encode()
    conf = [(built.root / path.decode()).read_bytes() for path in (b"etc/editor/editor.conf", beside)]
    assert conf == [samples.CHANGED, b"lines = 6\n"]
    assert (built.root / "etc/editor/colours.conf").read_bytes() == b"colours = 256\n"


def test_ghosts_are_nowhere(built):
    """Only rpm has them, and only in its database."""
    assert b"var/log/ghostly.log" not in built.merged


def test_scripts_run_where_a_tool_runs_them(built):
    ran = samples.SCRIPTED.lstrip("/").encode() in built.merged
    assert ran == (built.way.manager == "native")


# ---- the packages


def test_every_layer_has_the_same_packages(built):
    layers = {
        layer["name"]: {package["name"] for package in layer["packages"]}
        for report in built.reports.values()
        for layer in report["layers"]
        if layer["name"] in samples.LAYERS
    }
    assert layers == samples.LAYERS


def test_the_tools_say_the_same(built):
    kind, root = built.way.kind, built.root
    assert installed.versions(kind, root) == samples.versions(kind)
    assert installed.listed(kind, root) == sorted(samples.versions(kind))
    for path, owner in (
        ("/usr/bin/kiosk-su", "rights"),
        ("/srv/odd/two  blanks", "odd"),
        ("/usr/share/plug/data", "plug-data"),
        ("/usr/lib/plug", "plug"),
        ("/etc/editor/keys.conf", "editor"),
    ):
        assert installed.owners(kind, root, path) == {owner}, path


def test_the_tools_find_the_files_as_they_should_be(built):
    """But for the configuration file that was changed, and the accounts that were added."""
    faults = [line.split()[-1] for line in installed.faults(built.way.kind, built.root)]
    changed = {"/etc/editor/editor.conf", *(f"/{path.decode()}" for path in samples.ACCOUNT_FILES)}
    assert set(faults) <= changed, faults


def test_rivals_are_refused(built, folder):
    """Of two packages one of which conflicts with the other the error names both, and the layer."""
    (folder / "app.conf").write_text('OCI_LAYERS = "links:packages:usr-merged fight:packages:rival-a,rival-b"\n')
    words = (folder / "app.conf", "--deploy-dir", folder / "deploy", "--feed", built.feed)
    done = tools.oe_oci("build", *words, status=2)
    for word in ("rival-a", "rival-b", "'fight'"):
        assert word in done.stderr
    assert not (folder / "deploy/app-oci").exists()
