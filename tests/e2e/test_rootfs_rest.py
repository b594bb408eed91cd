# SPDX-License-Identifier: MIT
"""OCI_ROOTFS_LAYER: the layers of packages and the rest of the rootfs together are the rootfs, path by path.

The rootfs is made by dpkg, opkg or rpm of the very packages, and changed as a build's own steps would.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from support import compare, installed, merge, roots, tools
from support.managers import MANAGERS, write_feed
from support.sources import EPOCH, Source, file, folder, hardlink, symlink

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_DATA = file("/usr/share/app/data", bytes(range(256)) * 100)
BASE = Source(
    "base",
    files=[
        file("/etc/passwd", b"root::0:0:root:/root:/bin/sh\n"),
        file("/etc/group", b"root:x:0:\n"),
        file("/etc/shadow", b"root::15069:0:99999:7:::\n", mode=0o400),
        *map(folder, ("/usr/bin", "/usr/lib", "/usr/share/doc/base", "/srv/empty", "/var/cache/base")),
        folder("/tmp", mode=0o1777),
        *(symlink(f"/{name}", f"usr/{name}") for name in ("bin", "lib")),
        file("/usr/share/doc/base/copyright"),
        file("/usr/bin/sh", b"sh\n", mode=0o755),
    ],
)
APP = Source(
    "app",
    files=[
        file("/usr/bin/app", b"app\n", mode=0o4755),
        file("/usr/lib/libapp.so.1", b"\x7fELF app\n"),
        symlink("/usr/lib/libapp.so", "libapp.so.1"),
        _DATA,
        hardlink("/usr/share/app/data-too", _DATA),
        hardlink("/usr/lib/app-data", _DATA),
        file("/usr/share/app/one", b"same\n"),
        file("/usr/share/app/two", b"same\n"),
        file("/etc/app/app.conf", b"a = 1\n", config=True),
        file("/usr/share/app/pages/index", b"index\n"),
        file("/usr/share/app/style", b"style\n"),
        file("/usr/share/app/size", b"12\n"),
        symlink("/usr/share/app/current", "pages"),
        folder("/var/lib/app", mode=0o700),
    ],
    depends=["base"],
)
TOOL = Source(
    "tool",
    files=[
        file("/usr/bin/tool", b"tool\n", mode=0o755),
        file("/usr/share/tool/deep/data", b"tool\n"),
        symlink("/usr/lib/libtool.so", "libtool.so.1"),
        file("/usr/lib/libtool.so.1", b"lib\n"),
        file("/etc/tool.conf", b"t = 1\n", config=True),
    ],
    depends=["base"],
)
LAYERS = 'OCI_LAYERS = "base:packages:base app:packages:app"'
# The packages' files by what lists them in a build, which names no directories.
OWNED = {source.name: [node.path for node in source.files if node.kind != "directory"] for source in (BASE, APP, TOOL)}

NEEDS = {source.name: source.depends for source in (BASE, APP, TOOL)}


@dataclass(frozen=True)
class Room:
    """A format's packages as a feed, and images of them and of a rootfs."""

    kind: str
    folder: Path
    files: dict[str, Path]

    @property
    def databases(self) -> tuple[bytes, ...]:
        return (roots.DATABASES[self.kind].encode(), b"var/lib/apt")

    def rootfs(self, name: str, *packages: str) -> Path:
        return roots.install(self.kind, [self.files[package] for package in packages], self.folder / name)

    def build(
        self, name: str, rootfs: Path, *lines: str, manager: str = "builtin", words: Iterable[object] = ()
    ) -> Made:
        done = self.run(name, rootfs, *lines, manager=manager, words=words)
        assert done.returncode == 0, done.stderr
        return Made(json.loads(done.stdout), self.folder / name / "deploy/app-oci")

    def run(
        self, name: str, rootfs: Path, *lines: str, manager: str = "builtin", words: Iterable[object] = ()
    ) -> tools.Done:
        place = self.folder / name
        place.mkdir()
        (place / "owned.json").write_text(json.dumps({"packages": OWNED, "needs": NEEDS}), encoding="utf-8")
        usual = (LAYERS, 'OCI_ROOTFS_LAYER = "rootfs"', 'OCI_ROOTFS_PACKAGES = "owned.json"')
        conf = (*usual, f'OCI_PACKAGE_MANAGER = "{manager}"', f'SOURCE_DATE_EPOCH = "{EPOCH}"', *lines, "")
        (place / "app.conf").write_text("\n".join(conf), encoding="utf-8")
        return tools.oe_oci("build", *self.words(name, rootfs), *words, status=None)

    def words(self, name: str, rootfs: Path) -> list[object]:
        place = self.folder / name
        given = ["--feed", self.folder / "feed", "--rootfs", rootfs, "--deploy-dir", place / "deploy"]
        return [place / "app.conf", "--json", *given]


@dataclass(frozen=True)
class Made:
    report: dict[str, Any]
    layout: Path

    @property
    def tree(self) -> compare.Listing:
        return merge.read_image(self.layout).merged

    @property
    def rest(self) -> dict[str, Any]:
        return self.report["layers"][-1]

    def paths(self, layer: int = -1) -> set[str]:
        """The paths of a layer's entries but for directories, marks of removals among them."""
        members = merge.read_image(self.layout).layers[layer].items()
        return {os.fsdecode(path) for path, member in members if not member.isdir()}


@pytest.fixture(scope="module", params=["deb", "ipk", "rpm"])
def made(request, room) -> Room:
    tools.need_root()
    tools.need(*roots.PROGRAMS[request.param])
    place = room / f"rest-{request.param}"
    place.mkdir()
    manager = MANAGERS[f"{request.param} builtin"]
    return Room(request.param, place, write_feed(manager, place / "feed", (BASE, APP, TOOL)))


def processed(root: Path) -> None:
    """What a build does to a rootfs once the packages are in it."""
    (root / "etc/shadow").write_text("root:*:15069:0:99999:7:::\n")
    write(root / "etc/version", "2.4\n", 0o640, uid=1234)
    write(root / "var/lib/app/state/deep", "state\n")
    shutil.rmtree(root / "usr/share/doc")
    (root / "usr/lib/libapp.so").unlink()
    (root / "usr/bin/app").chmod(0o755)
    os.chown(root / "etc/app/app.conf", 7, 8)
    os.chmod(root / "tmp", 0o777)
    os.setxattr(root / "usr/lib/libapp.so.1", "security.capability", bytes.fromhex("0100000200200000" + "0" * 24))
    write(root / "usr/share/app/size", "21\n")
    # A file becomes a link, a directory one, and a link a directory.
    (root / "usr/share/app/style").unlink()
    (root / "usr/share/app/style").symlink_to("/etc/style")
    (root / "usr/share/app/current").unlink()
    (root / "usr/share/app/pages").rename(root / "usr/share/app/current")
    (root / "usr/share/app/pages").symlink_to("current")
    # Of three names of a file one is another file now; two files are one.
    (root / "usr/share/app/data-too").unlink()
    write(root / "usr/share/app/data-too", (root / "usr/share/app/data").read_bytes())
    (root / "usr/share/app/two").unlink()
    os.link(root / "usr/share/app/one", root / "usr/share/app/two")
    os.mknod(root / "usr/share/app/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mkfifo(root / "srv/empty/fifo")
    (root / "opt/empty").mkdir(parents=True)


def write(path: Path, data: str | bytes, mode: int = 0o644, uid: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    path.chmod(mode)
    os.chown(path, uid, uid)


def without_database(made: Room, root: Path) -> Path:
    shutil.rmtree(root / roots.DATABASES[made.kind])
    return root


def finished(made: Room, name: str, database: str) -> Path:
    """A rootfs as a build leaves it; without the database where the image is to have none."""
    root = made.rootfs(name, "base", "app")
    if database == "remove":
        without_database(made, root)
    processed(root)
    return root


# ---- the rootfs itself


@pytest.mark.parametrize("word", ["keep", "top"])
def test_the_layers_together_are_the_rootfs_with_its_database(made, word):
    root = made.rootfs(f"root {word}", "base", "app")
    processed(root)
    image = made.build(word, root, f'OCI_PACKAGE_DATABASE = "{word}"')
    compare.assert_same(compare.listing(root), image.tree)
    names = [layer["name"] for layer in image.report["layers"]]
    assert names == ["base", "app", "rootfs", *(["package-database"] if word == "top" else [])]
    assert image.report["layers"][2]["type"] == "rootfs-rest"


def test_the_layers_together_are_a_rootfs_without_a_database(made):
    root = without_database(made, made.rootfs("root remove", "base", "app"))
    processed(root)
    image = made.build("remove", root, 'OCI_PACKAGE_DATABASE = "remove"')
    compare.assert_same(compare.listing(root), image.tree)
    # Nothing that a package brought is there again.
    assert image.paths().isdisjoint(("usr/bin/sh", "etc/passwd", "etc/group"))
    assert "usr/share/.wh.doc" in image.paths()


def test_nothing_is_left_where_nothing_was_done(made):
    root = without_database(made, made.rootfs("root as is", "base", "app"))
    image = made.build("as is", root, 'OCI_PACKAGE_DATABASE = "remove"')
    compare.assert_same(compare.listing(root), image.tree)
    assert image.rest["note"] == "left out: it changes nothing"


def test_a_database_that_is_asked_for_stays_where_the_rootfs_has_none(made):
    root = without_database(made, made.rootfs("root bare", "base", "app"))
    processed(root)
    image = made.build("bare", root)
    compare.assert_same(compare.listing(root), merge.without(image.tree, *made.databases))
    tools.oe_oci("unpack", image.layout, made.folder / "unpacked")
    assert set(installed.versions(made.kind, made.folder / "unpacked")) == {"base", "app"}


def test_a_database_of_another_form_or_none_is_not_brought_by_the_rootfs(made):
    root = made.rootfs("root full", "base", "app")
    processed(root)
    for word in ("remove", *(["status.d"] if made.kind != "rpm" else [])):
        image = made.build(f"full {word}", root, f'OCI_PACKAGE_DATABASE = "{word}"')
        compare.assert_same(
            merge.without(compare.listing(root), *made.databases), merge.without(image.tree, *made.databases)
        )
        there = {path for path in image.tree if path.startswith(made.databases)}
        assert {path for path in there if path.endswith(b"/status")} == set()
        assert bool(there) == (word == "status.d")


# ---- packages for the build alone


@pytest.mark.parametrize("word", ["keep", "top", "remove"])
def test_a_package_that_is_in_no_layer_is_not_in_the_image(made, word):
    root = made.rootfs(f"root tool {word}", "base", "app", "tool")
    processed(root)
    # As ldconfig does, for the tool's library and for the app's.
    (root / "usr/lib/libtool.so.1.alias").symlink_to("libtool.so.1")
    (root / "usr/lib/libapp.so.1.alias").symlink_to("libapp.so.1")
    image = made.build(f"tool {word}", root, f'OCI_PACKAGE_DATABASE = "{word}"')
    tools_own = (*(path.encode()[1:] for path in OWNED["tool"]), b"usr/share/tool", b"usr/lib/libtool.so.1.alias")
    expected = merge.without(compare.listing(root), *made.databases, *tools_own)
    compare.assert_same(expected, merge.without(image.tree, *made.databases))
    assert not [path for path in image.tree if b"tool" in path]
    if word == "keep":
        tools.oe_oci("unpack", image.layout, made.folder / "unpacked tool")
        assert set(installed.versions(made.kind, made.folder / "unpacked tool")) == {"base", "app"}


# ---- layers cut from it


@pytest.mark.parametrize("word", ["keep", "top", "remove"])
def test_layers_of_packages_can_be_cut_from_the_rootfs(made, word):
    root = finished(made, f"root cut {word}", word)
    image = made.build(f"cut {word}", root, f'OCI_PACKAGE_DATABASE = "{word}"', manager="rootfs")
    compare.assert_same(compare.listing(root), image.tree)
    base, app, rest = (image.paths(layer) for layer in range(3))
    assert {"etc/passwd", "etc/shadow", "usr/bin/sh"} <= base
    assert {"usr/bin/app", "etc/app/app.conf", "usr/share/app/data", "usr/share/app/size"} <= app
    assert {"etc/version", "usr/share/app/null", "var/lib/app/state/deep"} <= rest
    assert not rest & (base | app)
    assert [[one["name"] for one in layer["packages"]] for layer in image.report["layers"][:2]] == [["base"], ["app"]]
    assert image.report["packageManager"] == {"name": "rootfs"}


def test_what_packages_need_is_cut_with_them_and_others_are_not(made):
    root = without_database(made, made.rootfs("root cut tool", "base", "app", "tool"))
    layers = 'OCI_LAYERS = "all:packages:app"'
    image = made.build("cut tool", root, layers, 'OCI_PACKAGE_DATABASE = "remove"', manager="rootfs")
    assert {"usr/bin/sh", "usr/bin/app"} <= image.paths(0)
    tools_own = (*(path.encode()[1:] for path in OWNED["tool"]), b"usr/share/tool")
    compare.assert_same(merge.without(compare.listing(root), *tools_own), image.tree)


def test_a_database_of_more_than_the_image_has_is_refused(made):
    root = made.rootfs("root cut more", "base", "app", "tool")
    done = made.run("cut more", root, manager="rootfs")
    assert done.returncode == 2
    assert "the database of the rootfs tells of packages that are in no layer: tool" in done.stderr


# ---- other ways to the same


@pytest.mark.parametrize("word", ["keep", "remove"])
def test_with_the_package_manager_itself(made, word):
    native = next(one for one in MANAGERS.values() if one.kind == made.kind and one.value == "native")
    tools.need(*native.programs)
    root = finished(made, f"root native {word}", word)
    image = made.build(f"native-{word}", root, f'OCI_PACKAGE_DATABASE = "{word}"', manager="native")
    compare.assert_same(compare.listing(root), image.tree)


def test_of_a_tar_of_the_rootfs(made):
    tools.need("tar")
    root = without_database(made, made.rootfs("root tar", "base", "app"))
    processed(root)
    options = ("--format=posix", "--numeric-owner", "--xattrs", "--xattrs-include=*")
    tools.run("tar", *options, "-C", root, "-czf", made.folder / "root.tar.gz", ".")
    line = 'OCI_PACKAGE_DATABASE = "remove"'
    image = made.build("tar", made.folder / "root.tar.gz", line)
    compare.assert_same(compare.listing(root), image.tree)
    assert image.rest["diffId"] == made.build("folder", root, line).rest["diffId"]


def test_on_a_base_image_what_the_base_has_stays(made):
    first = made.rootfs("root base", "base")
    base = made.build("of base", first, 'OCI_LAYERS = "base:packages:base"', 'OCI_PACKAGE_DATABASE = "keep"')
    root = made.rootfs("root upper", "base", "app")
    processed(root)
    lines = (f'OCI_BASE_IMAGE = "{base.layout}"', 'OCI_LAYERS = "app:packages:app"')
    image = made.build("upper", root, *lines)
    kept = {b"usr/share/doc", b"usr/share/doc/base", b"usr/share/doc/base/copyright"}
    assert kept <= image.tree.keys()
    found = {path: facts for path, facts in image.tree.items() if path not in kept}
    compare.assert_same(compare.listing(root), found)


def test_host_files_and_declared_accounts_stay(made):
    root = without_database(made, made.rootfs("root host", "base", "app"))
    processed(root)
    (made.folder / "mine.conf").write_text("a = host\n")
    layers = f'OCI_LAYERS = "base:packages:base app:packages:app mine:host:{made.folder}/mine.conf:/etc/app/app.conf"'
    layers = layers.replace(f"{made.folder}/", "../")
    accounts = 'OCI_IMAGE_ACCOUNTS = "user:shop:1800"'
    image = made.build("host", root, layers, accounts, 'OCI_PACKAGE_DATABASE = "remove"')
    tools.oe_oci("unpack", image.layout, made.folder / "unpacked host")
    unpacked = made.folder / "unpacked host"
    assert (unpacked / "etc/app/app.conf").read_text() == "a = host\n"
    assert (unpacked / "etc/passwd").read_text().splitlines()[-1].startswith("shop:x:1800:")
    assert (unpacked / "etc/shadow").read_text().startswith("root:*:")
    changed = {b"etc/app/app.conf", b"etc/passwd", b"etc/group", b"etc/shadow"}
    expected, found = compare.listing(root), image.tree
    compare.assert_same(*({path: tree[path] for path in tree if path not in changed} for tree in (expected, found)))


# ---- rebuilds, and what is wrong


def test_the_cache_has_the_layer_and_a_change_of_the_rootfs_is_seen(made):
    root = without_database(made, made.rootfs("root cached", "base", "app"))
    processed(root)
    cache = ("--cache-dir", made.folder / "cache")
    line = 'OCI_PACKAGE_DATABASE = "remove"'
    first = made.build("first", root, line, words=cache)
    again = made.build("again", root, line, words=cache)
    assert [layer["cache"]["hit"] for layer in again.report["layers"]] == [True] * 3
    assert again.rest["digest"] == first.rest["digest"]
    write(root / "etc/version", "2.5\n", 0o640, uid=1234)
    changed = made.build("changed", root, line, words=cache)
    assert [layer["cache"]["hit"] for layer in changed.report["layers"]] == [True, True, False]
    assert changed.rest["digest"] != first.rest["digest"]
    plan = json.loads(tools.oe_oci("plan", *made.words("changed", root), *cache).stdout)["layers"][-1]
    assert (plan["name"], plan["type"], plan["content"]) == ("rootfs", "rootfs-rest", ["/"])
    assert plan["cache"]["hit"]
    assert (plan["changed"], len(plan["removed"])) == (changed.rest["changed"], changed.rest["removed"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no such file"),
        ('{"packages": {"app": ["usr/bin/app"]}}', "package 'app': 'usr/bin/app' is no absolute path"),
    ],
)
def test_a_list_of_packages_that_can_not_be_read(made, folder, text, message):
    root = folder / "root"
    (root / "etc").mkdir(parents=True)
    if text is not None:
        write(folder / "bad.json", text)
    name = f"bad {len(list(made.folder.iterdir()))}"
    done = made.run(name, root, f'OCI_ROOTFS_PACKAGES = "{folder}/bad.json"')
    assert done.returncode == 2
    assert f"OCI_ROOTFS_PACKAGES: {folder}/bad.json: {message}" in done.stderr
    assert '{"packages": {"NAME": ["/path", …]}}' in done.stderr
    assert not (made.folder / name / "deploy").exists()
