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
    """A format, who installs its packages, which of them that one can not, and whether it runs their scripts."""

    kind: str
    manager: str
    without: tuple[str, ...] = ()
    runs: bool = False

    def images(self) -> samples.Images:
        return samples.Images(*self.without)


# What the tools themselves take in no package: dpkg capabilities; what rpm does not is told in `samples`. To opkg what
# a package provides has no version, so these two are not satisfied, and what they alone need does not come.
CAN_NOT = {
    "deb": ("net-probe",),
    "rpm": ("special",),
    "ipk": ("meta", "caller", "ring-a", "ring-b", "nice", "new-name"),
}
WAYS = {
    "ipk built in": Way("ipk", "builtin"),
    "deb built in": Way("deb", "builtin"),
    "rpm built in": Way("rpm", "builtin"),
    "apt": Way("deb", "native", CAN_NOT["deb"]),
    "dnf": Way("rpm", "native", CAN_NOT["rpm"], runs=True),
    "opkg": Way("ipk", "native", CAN_NOT["ipk"], runs=True),
}
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
    if way.manager == "native" and way.kind == "ipk":
        tools.need("opkg")
    reports = {}
    words = ["--set", f"OCI_PACKAGE_MANAGER={way.manager}"]
    words += ["--set", "OCI_PACKAGE_SCRIPTS=skip"] if way.manager == "builtin" else []
    for path, feed in zip(way.images().write_configurations(place), feeds):
        reports[path.stem] = tools.build(path, path.parent / "deploy", "--feed", feed, *words)
    layout = place / "app/deploy/app-oci"
    tools.oe_oci("unpack", layout, place / "root")
    return Built(way, reports, merge.read_image(layout).merged, place / "root", feeds.newer)


@pytest.fixture(params=WAYS)
def built(request, build) -> Built:
    return build(request.param)


def compared(tree: compare.Listing, kind: str, *without: str) -> compare.Listing:
    """A tree less databases and some packages; what lies beside changed configuration files has one name."""
    beside = BESIDE[kind].encode()
    nodes = [node for source in samples.sets().newer if source.name in without for node in source.files]
    paths = [node.path.lstrip("/").encode() for node in nodes]
    kept = merge.without(tree, *DATABASES, *paths)
    emptied = {path.rpartition(b"/")[0] for path in paths} - {path.rpartition(b"/")[0] for path in kept}
    kept = merge.without(kept, *emptied)
    found = {path.removesuffix(beside) + b" (new)" if path.endswith(beside) else path: kept[path] for path in kept}
    for path in [path for path in found if path.endswith(b" (new)")]:
        found[path] = found[path]._replace(names=frozenset({path}))
    return found


# ---- the tree


def test_the_tree_is_what_the_sources_say(built):
    tree = built.way.images().expected(BESIDE[built.way.kind])
    if built.way.runs:
        tree.put(sources.file(samples.SCRIPTED, samples.SCRIPTED_TEXT[built.way.kind]))
    expected, found = (merge.without(one, *DATABASES, *samples.ACCOUNT_FILES) for one in (tree.listing(), built.merged))
    compare.assert_same(expected, found, times=built.way.manager == "builtin")


@pytest.mark.parametrize("name", list(WAYS)[1:])
def test_all_ways_make_the_same_tree(build, name):
    one, other = build(next(iter(WAYS))), build(name)
    without = {*one.way.without, *other.way.without}
    trees = [compared(each.merged, each.way.kind, *without) for each in (one, other)]
    if one.way.runs != other.way.runs:
        trees = [merge.without(tree, samples.SCRIPTED.lstrip("/").encode()) for tree in trees]
    compare.assert_same(*trees, times=one.way.manager == other.way.manager == "builtin")


def test_the_tree_holds_what_it_is_compared_for(built):
    """That nothing was left out of the packages in every format."""
    found = built.merged
    kinds = {"file", "directory", "link", "character device"}
    if "special" not in built.way.without:
        kinds |= {"fifo", "block device"}
    assert {facts.kind for facts in found.values()} == kinds
    assert (found[b"usr/bin/kiosk-su"].mode, found[b"usr/bin/kiosk-su"].uid) == ("4755", samples.NUMBERS["kiosk"])
    assert found[b"var/lib/shop"].uid == samples.NUMBERS["shopd"]
    if "net-probe" not in built.way.without:
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
    assert ran == built.way.runs


# ---- the packages


def test_every_layer_has_the_same_packages(built):
    layers = {
        layer["name"]: {package["name"] for package in layer["packages"]}
        for report in built.reports.values()
        for layer in report["layers"]
        if layer.get("packages")
    }
    assert layers == built.way.images().layers()


def test_the_tools_say_the_same(built):
    kind, root = built.way.kind, built.root
    expected = built.way.images().versions(kind)
    assert installed.versions(kind, root) == expected
    assert installed.listed(kind, root) == sorted(expected)
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


# ---- the tools without us


@pytest.mark.parametrize("kind", ["deb", "rpm"])
def test_the_tools_themselves_make_that_tree(kind, sample_feeds, folder):
    """dpkg and rpm, package by package: the tree above is what they take the packages for. Times are none of theirs."""
    tools.need_root()
    images, root = samples.Images(*CAN_NOT[kind]), folder / "root"
    older, newer = samples.sets()
    install, feeds = INSTALL[kind], sample_feeds(kind)
    root.mkdir()
    # One after the other: the accounts must be there before the files that belong to them.
    for source in older:
        install(root, feeds.older / samples.file_name(source, kind))
    (root / "etc/editor/editor.conf").write_bytes(samples.CHANGED)
    declare_account(root)
    for source in newer:
        if source.name in images.names() and source not in older:
            install(root, feeds.newer / samples.file_name(source, kind))
    tree = images.expected(BESIDE[kind])
    tree.put(sources.file(samples.SCRIPTED, samples.SCRIPTED_TEXT[kind]))
    expected, found = (
        merge.without(one, *DATABASES, *samples.ACCOUNT_FILES) for one in (tree.listing(), compare.listing(root))
    )
    compare.assert_same(expected, found)
    assert installed.versions(kind, root) == images.versions(kind)


def install_deb(root: Path, deb: Path) -> None:
    for part in ("updates", "info", "triggers"):
        (root / "var/lib/dpkg" / part).mkdir(parents=True, exist_ok=True)
    (root / "var/lib/dpkg/status").touch()
    options = ("--force-unsafe-io", "--force-depends", "--force-confold", "--log=/dev/null")
    tools.run("dpkg", f"--root={root}", *options, "--install", deb)


def install_rpm(root: Path, rpm: Path) -> None:
    tools.run("rpm", "--root", root, "--dbpath", "/var/lib/rpm", "--upgrade", "--nodeps", rpm)


INSTALL = {"deb": install_deb, "rpm": install_rpm}


def declare_account(root: Path) -> None:
    for name, line in (("passwd", "shopd:x:1800:1800::/nonexistent:/usr/sbin/nologin"), ("group", "shopd:x:1800:")):
        with open(root / "etc" / name, "a", encoding="utf-8") as stream:
            stream.write(f"{line}\n")
