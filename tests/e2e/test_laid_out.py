# SPDX-License-Identifier: MIT
"""Layers of packages laid out in folders and taken in again: unchanged the same image, and else what was changed."""

from __future__ import annotations

import json
import shlex
import tarfile
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support import laidout, layouts, merge, namespaces, packages, samples, tools
from support.layouts import file, hardlink
from support.layouts import folder as member_folder
from support.managers import EPOCH, MANAGERS, Kit
from support.sources import Source, symlink
from support.sources import file as node
from support.sources import folder as node_folder

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
    lines += ['OCI_PACKAGE_SCRIPTS = "skip"'] if way.manager == "builtin" else []
    base, app = samples.Images(*way.without).write_configurations(folder, *lines)
    older, newer = sample_feeds(way.kind)
    builtin = ("--set", "OCI_PACKAGE_MANAGER=builtin", "--set", "OCI_PACKAGE_SCRIPTS=skip")
    tools.build(base, base.parent / "deploy", "--feed", older, *builtin)
    tools.build(app, app.parent / "deploy", "--feed", newer)
    laid = laidout.lay_out(folder / "rootfs-oci-", app, "--feed", newer)
    assert len(laid) == 2 * 3
    tools.build(app, app.parent / "again", *laid)
    reports = [(app.parent / place / "app-oci.json").read_text() for place in ("deploy", "again")]
    assert reports[0] == reports[1]


@pytest.mark.parametrize("way", ["fakeroot", "pseudo"])
@pytest.mark.parametrize("name", ["apt", "deb builtin"])
def test_in_one_session_without_root(folder: Path, way: str, name: str):
    """Owners, set-user-ID, devices and links go through the folders, and so does what is changed there."""
    tools.need_root()
    tools.need(way, *MANAGERS[name].programs)
    kit = Kit(MANAGERS[name], folder)
    owned = [member_folder("./"), member_folder("./srv/", mode=0o700, uid=7), file("./srv/su", mode=0o6755, uid=8)]
    device = layouts.Member("./srv/null", kind=tarfile.CHRTYPE, device=(1, 3))
    lib = packages.package("lib", files=[*owned, device, hardlink("./srv/more", "./srv/su", mode=0o6755, uid=8)])
    app = packages.package("app", files={"usr/bin/app": b"app"}, Depends="lib")
    feed = packages.write_feed(kit.folder / "feed", [lib, app], index="")
    plain = kit.build("root", "low:packages:lib app:packages:app", feed)
    copy = tools.Copy(folder / "copy")
    place = folder / "mine"
    place.mkdir()
    (place / "app.conf").write_text((folder / "root/app.conf").read_text())
    tools.give_to_nobody(place)
    words = [place / "app.conf", "--deploy-dir", place / "deploy", "--json", "--set", "OCI_LAYER_CACHE=0"]
    _, *program = laidout.program(place / "rootfs-oci-", *words, "--feed", feed)
    taken = laidout.settings((number, "", str(place / f"rootfs-oci-{number}")) for number in (1, 2))
    build = [copy.program, "-m", "oe_oci", "build", *words, *taken]
    edit = ["chown", "12:34", place / "rootfs-oci-2/usr/bin/app"]
    steps = [[copy.program, *program], build, edit, build]
    text = " && ".join(shlex.join(map(str, step)) for step in steps)
    env = copy.environment(TMPDIR=str(place), HOME=str(place), PSEUDO_PREFIX="/usr", PSEUDO_LOCALSTATEDIR=str(place))
    done = tools.run(*tools.as_nobody(), way, "sh", "-c", text, env=env, cwd=place)
    one, two = done.stdout[done.stdout.index("{") :].split("\n}\n")[:2]
    first, second = (json.loads(each + "\n}")["layers"] for each in (one, two))
    assert [layer["digest"] for layer in first] == plain.digests()
    assert (second[0]["digest"], second[1]["digest"] == first[1]["digest"]) == (first[0]["digest"], False)
    merged = merge.read_image(place / "deploy/app-oci").merged
    assert (merged[b"usr/bin/app"].uid, merged[b"usr/bin/app"].gid, merged[b"srv/su"].uid) == (12, 34, 8)
    assert merged[b"srv/null"].device == (1, 3)


# ---- what is changed


LIB = Source(
    "lib",
    files=[
        node_folder("/usr/lib"),
        symlink("/lib", "usr/lib"),
        node("/usr/lib/lib.so", b"1"),
        node("/etc/lib.conf", b"lib\n"),
        node_folder("/var/volatile", mode=0o1777),
    ],
)
APP = Source("app", files=[node("/usr/bin/app", b"app"), node("/usr/share/doc/app", b"doc")], depends=["lib"])
LAYERS = "low:packages:lib app:packages:app"


@pytest.fixture
def kit(folder: Path) -> Kit:
    tools.need_root()
    return Kit(MANAGERS["deb builtin"], folder)


def laid_out(kit: Kit, *lines: str) -> list[Path]:
    """The folders of an image that is built too, as `plain`."""
    feed = kit.feed("feed", LIB, APP)
    conf = kit.build("plain", LAYERS, feed, lines=lines).place / "app.conf"
    words = laidout.lay_out(kit.folder / "rootfs-oci-", conf, "--feed", feed)
    assert len(words) == 4
    return [kit.folder / "rootfs-oci-1", kit.folder / "rootfs-oci-2"]


def taken_in(*lines: str) -> list[str]:
    return [*lines, *(f'OCI_LAYER_{number}_ROOTFS = "../rootfs-oci-{number}"' for number in (1, 2))]


def test_what_a_recipe_changes_is_in_the_image(kit):
    low, app = laid_out(kit)
    (low / "etc/lib.conf").write_text("changed\n")
    (app / "usr/share/doc/app").unlink()
    (app / "usr/bin/app").chmod(0o4755)
    (app / "lib").mkdir()
    (app / "lib/plugin").write_text("plugin")
    (app / "var/volatile").mkdir(parents=True, exist_ok=True)
    (app / "var/volatile/state").touch()
    (app / "etc").mkdir()
    (app / "etc/.wh.lib.conf").touch()
    image = kit.build("changed", LAYERS, lines=taken_in())
    tree = image.tree
    assert b"etc/lib.conf" not in tree
    assert b"usr/share/doc/app" not in tree
    assert (tree[b"usr/bin/app"].mode, tree[b"var/volatile"].mode) == ("4755", "1777")
    assert (tree[b"lib"].kind, tree[b"usr/lib/plugin"].kind) == ("link", "file")
    assert {tree[path].mtime for path in (b"usr/lib/plugin", b"var/volatile/state")} == {EPOCH * 10**9}
    assert image.names("app") == ["app"]
    assert image.versions() == {"app": "1.0-1", "lib": "1.0-1"}


def test_the_same_changes_make_the_same_image(kit):
    digests = []
    for name in ("one", "two"):
        _, app = laid_out(kit)
        (app / "usr/share/new").mkdir()
        (app / "usr/share/new/file").write_text("new")
        digests.append(kit.build(name, LAYERS, lines=taken_in()).digests())
    assert digests[0] == digests[1]


def test_rules_and_accounts_are_applied_to_what_was_changed(kit):
    lines = [
        'OCI_IMAGE_PATHS = "/usr/share/doc:remove /usr/bin/app:0750:1800:1800"',
        'OCI_IMAGE_ACCOUNTS = "user:shopd:1800"',
    ]
    _, app = laid_out(kit, *lines)
    assert (app / "usr/share/doc/app").exists()
    (app / "etc").mkdir()
    (app / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nme:x:1234:1234::/:/bin/sh\n")
    image = kit.build("changed", LAYERS, lines=taken_in(*lines))
    assert b"usr/share/doc" not in image.tree
    assert (image.tree[b"usr/bin/app"].mode, image.tree[b"usr/bin/app"].uid) == ("0750", 1800)
    names = [line.partition(":")[0] for line in image.text("etc/passwd").splitlines()]
    assert names == ["root", "me", "shopd"]


def test_a_layer_that_is_not_changed_comes_from_the_cache(kit):
    laid_out(kit)
    again = kit.build("again", LAYERS, lines=taken_in(), cache="plain")
    assert [layer["cache"]["hit"] for layer in again.report["layers"]] == [True, True]


def test_a_plan_tells_of_the_folders(kit):
    _, app = laid_out(kit)
    (app / "usr/share/doc/app").unlink()
    plan = json.loads(kit.run("plan", "changed", LAYERS, lines=taken_in()).stdout)
    plain = json.loads((kit.folder / "plain/deploy/app-oci.json").read_text())
    assert plan["layers"][1]["changed"] == plain["layers"][1]["changed"] - 1
    assert [one["name"] for one in plan["layers"][1]["packages"]] == ["app"]


def test_only_root_of_others_too_lays_out(kit):
    feed = kit.feed("feed", Source("app", files=[node("/usr/bin/app", user="games")]))
    place = kit.build("plain", "app:packages:app", feed).place
    kit.folder.chmod(0o777)
    before = namespaces.as_root_of_one()
    copy = tools.Copy(kit.folder / "copy")
    _, *program = laidout.program(kit.folder / "rootfs-oci-", place / "app.conf", "--feed", feed)
    done = tools.run(*before, copy.program, *program, env=copy.environment(HOME="/"), cwd="/", status=1)
    assert "ToolError: cannot make /usr/bin/app in" in done.stderr
    assert "under fakeroot or pseudo" in done.stderr
    assert not [path for path in kit.folder.iterdir() if path.name.startswith("rootfs")]


def test_a_failed_installation_leaves_no_folder(kit):
    feed = kit.feed("feed", LIB)
    conf = kit.build("plain", "low:packages:lib", feed).place / "app.conf"
    conf.write_text(conf.read_text().replace("low:packages:lib", "low:packages:lib app:packages:absent"))
    done = tools.run(*laidout.program(kit.folder / "rootfs-oci-", conf, "--feed", feed), status=1)
    assert "ConfigError: OCI_LAYERS: layer 'app'" in done.stderr
    assert not [path for path in kit.folder.iterdir() if path.name.startswith("rootfs")]
