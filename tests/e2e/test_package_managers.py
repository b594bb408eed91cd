# SPDX-License-Identifier: MIT
"""What everything that installs packages promises: one set of tests, run with each by name."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import stat
import time

import pytest
from support import compare, merge, tools
from support.managers import EPOCH, MANAGERS, NUMBERS, Image, Kit
from support.sources import CAPABILITIES, NATIVE, Source, file, folder, hardlink, symlink

LIB = Source("lib", "1.0-1", [file("/usr/lib/lib.so", b"1\n"), file("/usr/lib/lib-old.so", b"old\n")], NATIVE)
NEW_LIB = Source("lib", "2.0-1", [file("/usr/lib/lib.so", b"2\n"), file("/usr/lib/lib-new.so", b"new\n")], NATIVE)
APP = Source("app", "1.0-1", [file("/usr/bin/app", b"app\n", mode=0o755)], depends=["lib"])
MORE = Source("more", "1.0-1", [file("/usr/bin/more", b"more\n")], depends=["lib", "app"])


@pytest.fixture(params=MANAGERS)
def kit(request, folder) -> Kit:
    tools.need_root()
    tools.need(*MANAGERS[request.param].programs)
    return Kit(MANAGERS[request.param], folder)


@pytest.fixture(params=[name for name, manager in MANAGERS.items() if manager.value == "native"])
def native(request, folder) -> Kit:
    """Those alone that are programs."""
    tools.need_root()
    tools.need(*MANAGERS[request.param].programs)
    return Kit(MANAGERS[request.param], folder)


def times(tree: compare.Listing) -> compare.Listing:
    """Without directories, whose times a tool's own work changes."""
    return compare.without(tree, "directory")


# ---- installing


def test_a_package_with_all_it_needs(kit):
    image = kit.build("one", "app:packages:app", kit.feed("feed", LIB, APP, MORE))
    assert image.names("app") == ["app", "lib"]
    asked = {package["name"]: package.get("askedBy") for package in image.layer("app")["packages"]}
    assert asked == {"app": None, "lib": "app"}
    assert image.text("usr/bin/app") == "app\n"
    assert image.tree[b"usr/bin/app"].mode == "0755"
    assert image.versions() == {"app": "1.0-1", "lib": "1.0-1"}
    assert image.report["packageManager"]["name"] == kit.manager.tool
    assert ("version" in image.report["packageManager"]) == (kit.manager.value == "native")


def test_a_layer_on_top_brings_what_is_new_alone(kit):
    image = kit.build("two", "low:packages:lib high:packages:more,lib", kit.feed("feed", LIB, APP, MORE))
    assert (image.names("low"), image.names("high")) == (["lib"], ["app", "more"])
    assert image.layer("high")["below"] == ["lib 1.0-1"]
    assert image.versions() == {"app": "1.0-1", "lib": "1.0-1", "more": "1.0-1"}


def test_nothing_is_installed_twice(kit):
    image = kit.build("twice", "low:packages:app high:packages:app", kit.feed("feed", LIB, APP))
    assert image.names("high") == []
    assert image.layer("high")["note"] == "left out: it changes nothing"


def test_the_tree_is_the_same_in_one_layer_and_in_three(kit):
    feed = kit.feed("feed", LIB, APP, MORE)
    one = kit.build("one", "all:packages:lib,app,more", feed)
    three = kit.build("three", "a:packages:lib b:packages:app c:packages:more", feed)
    compare.assert_same(one.tree, three.tree)
    assert one.versions() == three.versions()


@pytest.mark.parametrize("database", ["keep", "top"])
def test_on_a_base_with_packages(kit, database):
    feed = kit.feed("feed", LIB, APP, MORE)
    kit.build("base", "base:packages:app", feed, lines=[f'OCI_PACKAGE_DATABASE = "{database}"'])
    image = kit.build("upper", "high:packages:more", feed, lines=['OCI_BASE_IMAGE = "../base/deploy/app-oci"'])
    assert image.names("high") == ["more"]
    assert image.versions() == {"app": "1.0-1", "lib": "1.0-1", "more": "1.0-1"}


def test_with_layers_of_other_kinds_between(kit):
    """What they bring and change is there for the tool, and stays."""
    (kit.folder / "note").write_text("note\n")
    layers = "low:packages:lib note:host:../note:/usr/bin/note high:packages:app"
    image = kit.build("mixed", layers, kit.feed("feed", LIB, APP))
    assert image.names("high") == ["app"]
    assert image.text("usr/bin/note") == "note\n"
    assert image.versions() == {"app": "1.0-1", "lib": "1.0-1"}


def test_what_lies_below_is_upgraded_where_it_must_be_and_else_not(kit):
    new_app = Source("new-app", files=[file("/usr/bin/new-app")], depends=["lib >= 2.0"])
    old, new = kit.feed("old", LIB), kit.feed("new", NEW_LIB, APP, new_app)
    kit.build("base", "base:packages:lib", old)
    base = ['OCI_BASE_IMAGE = "../base/deploy/app-oci"']
    same = kit.build("same", "high:packages:app", new, lines=base)
    assert same.names("high") == ["app"]
    newer = kit.build("newer", "high:packages:new-app", new, lines=base)
    upgrades = {package["name"]: package.get("upgrades") for package in newer.layer("high")["packages"]}
    assert upgrades == {"lib": "1.0-1", "new-app": None}
    assert newer.versions() == {"lib": "2.0-1", "new-app": "1.0-1"}
    assert newer.text("usr/lib/lib.so") == "2\n"
    assert sorted(path for path in newer.tree if path.startswith(b"usr/lib/")) == [
        b"usr/lib/lib-new.so",
        b"usr/lib/lib.so",
    ]


def test_the_earlier_feed_wins(kit):
    image = kit.build("first", "app:packages:lib", kit.feed("old", LIB), kit.feed("new", NEW_LIB))
    assert image.versions() == {"lib": "1.0-1"}


def test_names_and_versions_with_odd_characters(kit):
    plus = Source("libodd++6", "2:1.0~rc1+git2-3", [file("/usr/lib/odd")], NATIVE)
    needs = Source("needs.odd", depends=["libodd++6 >= 2:1.0~rc1"], files=[file("/usr/bin/needs")])
    image = kit.build("odd", "app:packages:needs.odd,libodd++6", kit.feed("feed", plus, needs))
    assert image.versions() == {"libodd++6": "2:1.0~rc1+git2-3", "needs.odd": "1.0-1"}


def test_packages_that_need_each_other(kit):
    one = Source("one", files=[file("/usr/bin/one")], depends=["two"])
    two = Source("two", files=[file("/usr/bin/two")], depends=["one"])
    image = kit.build("circle", "app:packages:one", kit.feed("feed", one, two))
    assert image.versions() == {"one": "1.0-1", "two": "1.0-1"}


def test_what_is_provided(kit):
    mail = Source("smtpd", files=[file("/usr/sbin/smtpd")], provides=["mail-server"])
    user = Source("user", files=[file("/usr/bin/user")], depends=["mail-server"])
    image = kit.build("mail", "app:packages:user", kit.feed("feed", mail, user))
    assert image.versions() == {"smtpd": "1.0-1", "user": "1.0-1"}


def test_what_is_recommended(kit):
    docs, extra = Source("docs", files=[file("/usr/share/docs")]), Source("extra", files=[file("/usr/share/extra")])
    shop = Source("shop", files=[file("/usr/bin/shop")], recommends=["docs", "extra"])
    feed = kit.feed("feed", docs, extra, shop)
    names = {
        line: kit.build(f"shop{number}", "app:packages:shop", feed, lines=[line]).names("app")
        for number, line in enumerate(
            ("", 'NO_RECOMMENDATIONS = "1"', 'BAD_RECOMMENDATIONS = "docs"', 'PACKAGE_EXCLUDE = "extra"')
        )
    }
    assert list(names.values()) == [["docs", "extra", "shop"], ["shop"], ["extra", "shop"], ["docs", "shop"]]


# ---- what goes wrong


def test_a_base_of_another_format(kit):
    """No tool knows the files of another one's packages."""
    other = Kit(MANAGERS["ipk builtin" if kit.manager.kind == "deb" else "deb builtin"], kit.folder)
    other.build("base", "low:packages:lib", other.feed("other", LIB))
    said = kit.refuse(
        "upper", "app:packages:app", kit.feed("feed", LIB, APP), lines=['OCI_BASE_IMAGE = "../base/deploy/app-oci"']
    )
    assert "has 1 packages in the database of" in said


def test_a_name_that_no_feed_has(kit):
    said = kit.refuse("missing", "shop:packages:libb,app", kit.feed("feed", Source("libc", files=[]), LIB, APP))
    assert "layer 'shop': no feed has a package 'libb'" in said
    assert re.search(r"did you mean lib[c]?\?", said)


def test_what_can_not_be_had(kit):
    shop = Source("shop", files=[file("/usr/bin/shop")], depends=["lib >= 3"])
    said = kit.refuse("unmet", "app:packages:shop", kit.feed("feed", shop, LIB))
    assert "layer 'app'" in said
    assert "shop" in said
    assert "lib" in said


def test_what_is_excluded_and_needed(kit):
    said = kit.refuse("excluded", "app:packages:app", kit.feed("feed", LIB, APP), lines=['PACKAGE_EXCLUDE = "lib"'])
    assert "layer 'app'" in said
    assert "PACKAGE_EXCLUDE" in said


def test_rivals(kit):
    one, two = Source("one", files=[file("/usr/bin/one")], conflicts=["two"]), Source("two", files=[file("/usr/bin/2")])
    feed = kit.feed("feed", one, two)
    for number, layers in enumerate(("app:packages:one,two", "low:packages:two app:packages:one")):
        said = kit.refuse(f"rivals{number}", layers, feed)
        assert "layer 'app'" in said
        assert "one" in said
        assert "two" in said


@pytest.mark.parametrize("way", ["cut", "changed"])
def test_a_package_that_is_damaged(kit, way):
    feed = kit.feed("feed", LIB, APP)
    (path,) = (path for path in feed.iterdir() if path.name.startswith("lib"))
    data = bytearray(path.read_bytes())
    middle = len(data) - 40
    data[middle:] = b"" if way == "cut" else bytes(byte ^ 0x55 for byte in data[middle:])
    path.write_bytes(data)
    said = kit.refuse("damaged", "app:packages:app", feed)
    assert path.name in said


@pytest.mark.parametrize("layers", ["app:packages:app,thief", "low:packages:app app:packages:thief"])
def test_two_packages_with_one_file(kit, layers):
    thief = Source("thief", files=[file("/usr/bin/app", b"other\n")])
    said = kit.refuse("clash", layers, kit.feed("feed", LIB, APP, thief))
    assert "/usr/bin/app" in said
    assert "thief" in said
    assert "layer 'app'" in said or kit.manager.value == "builtin"


# ---- files


def test_facts_of_files(kit):
    one = file("/srv/one", b"three names\n", mode=0o640, user="app", group="app", mtime=EPOCH - 9)
    nodes = [
        one,
        hardlink("/srv/deep/two", one),
        hardlink("/usr/share/three", one),
        file("/usr/bin/su", b"su\n", mode=0o6755, mtime=EPOCH + 999),
        file("/usr/share/grün und blau", b"name\n", mtime=EPOCH - 77),
        folder("/var/empty", mode=0o1777),
        folder("/var/private", mode=0o700, user="app", group="app"),
        symlink("/usr/bin/away", "../no/where"),
    ]
    lines = ['OCI_IMAGE_ACCOUNTS = "user:app:4321"']
    image = kit.build("facts", "app:packages:odd", kit.feed("feed", Source("odd", files=nodes)), lines=lines)
    tree = image.tree
    assert tree[b"srv/one"].names == {b"srv/one", b"srv/deep/two", b"usr/share/three"}
    assert (tree[b"srv/one"].mode, tree[b"srv/one"].uid, tree[b"srv/one"].gid) == ("0640", 4321, 4321)
    assert tree[b"usr/bin/su"].mode == "6755"
    assert tree[b"var/empty"].mode == "1777"
    assert (tree[b"var/private"].mode, tree[b"var/private"].uid) == ("0700", 4321)
    assert tree[b"usr/bin/away"].target == b"../no/where"
    seconds = {
        path: tree[path].mtime // 10**9 for path in (b"srv/one", b"usr/bin/su", "usr/share/grün und blau".encode())
    }
    assert list(seconds.values()) == [EPOCH - 9, EPOCH, EPOCH - 77]


def test_owners_are_the_images_and_not_those_of_this_machine(kit):
    """Every machine has a `games`; the number in the package is another one, and the image may say a third."""
    shop = Source("shop", files=[file("/srv/shop", user="games", group="games")])
    feed = kit.feed("feed", shop)
    number = NUMBERS["games"]
    if kit.manager.kind == "rpm":
        # There are no numbers in its packages.
        error = kit.refuse("unknown", "app:packages:shop", feed)
        assert "user 'games'" in error
        assert "OCI_IMAGE_ACCOUNTS" in error
    else:
        unknown = kit.build("unknown", "app:packages:shop", feed)
        assert (unknown.tree[b"srv/shop"].uid, unknown.tree[b"srv/shop"].gid) == (number, number)
    known = kit.build("known", "app:packages:shop", feed, lines=['OCI_IMAGE_ACCOUNTS = "user:games:77"'])
    assert (known.tree[b"srv/shop"].uid, known.tree[b"srv/shop"].gid) == (77, 77)


def test_capabilities(kit):
    if not kit.manager.attributes:
        said = kit.refuse("probe", "app:packages:probe", kit.feed("feed", probe()))
        assert "layer 'app': apt: probe: corrupted filesystem tarfile in package archive: unsupported PAX" in said
        return
    image = kit.build("probe", "app:packages:probe", kit.feed("feed", probe()))
    assert image.tree[b"usr/bin/probe"].xattrs == {"security.capability": CAPABILITIES["cap_net_raw=ep"]}


def probe() -> Source:
    return Source("probe", files=[file("/usr/bin/probe", mode=0o755, capabilities="cap_net_raw=ep")])


def test_files_go_behind_links_of_the_layer_below(kit):
    merged = Source("merged", files=[folder("/usr/bin"), symlink("/bin", "usr/bin")])
    old = Source("old", files=[file("/bin/old", b"old\n", mode=0o755)])
    image = kit.build("merged", "low:packages:merged app:packages:old", kit.feed("feed", merged, old))
    assert image.tree[b"bin"].target == b"usr/bin"
    assert b"usr/bin/old" in image.tree


def test_configuration_files_that_somebody_changed(kit):
    """Are kept, and the new one lies beside; others follow the package."""
    files = ("changed", "left")
    old = Source("conf", "1.0-1", [file(f"/etc/{name}.conf", b"old\n", config=True) for name in files])
    new = Source("conf", "2.0-1", [file(f"/etc/{name}.conf", b"new\n", config=True) for name in files])
    user = Source("user", files=[file("/usr/bin/user")], depends=["conf >= 2.0"])
    (kit.folder / "changed.conf").write_text("mine\n")
    layers = "low:packages:conf mine:host:../changed.conf:/etc/changed.conf"
    kit.build("base", layers, kit.feed("old", old))
    base = ['OCI_BASE_IMAGE = "../base/deploy/app-oci"']
    image = kit.build("upper", "app:packages:user", kit.feed("new", new, user), lines=base)
    assert (image.text("etc/changed.conf"), image.text("etc/left.conf")) == ("mine\n", "new\n")
    (beside,) = (path for path in os.listdir(image.root / "etc") if path.startswith("changed.conf") and path[12:])
    assert image.text(f"etc/{beside}") == "new\n"


# ---- the database


def test_without_the_database(kit):
    """The layers have none of it, and yet the packages below are known to the next layer."""
    feed = kit.feed("feed", LIB, APP, MORE)
    image = kit.build("bare", "low:packages:app high:packages:more", feed, lines=['OCI_PACKAGE_DATABASE = "remove"'])
    assert image.names("high") == ["more"]
    whole = merge.read_image(image.layout).merged
    assert whole.keys() == image.tree.keys()
    assert not any(path.startswith((b"var", b"etc")) for path in whole)


def test_the_database_in_a_layer_of_its_own(kit):
    feed = kit.feed("feed", LIB, APP, MORE)
    image = kit.build("top", "low:packages:app high:packages:more", feed, lines=['OCI_PACKAGE_DATABASE = "top"'])
    assert image.names("high") == ["more"]
    assert image.versions() == {"app": "1.0-1", "lib": "1.0-1", "more": "1.0-1"}
    plain = kit.build("keep", "low:packages:app high:packages:more", feed)
    found = [merge.read_image(one.layout).merged for one in (image, plain)]
    compare.assert_same(*(compare.without(one, "directory") for one in found), times=True)


# ---- the same again


def test_the_same_layers_at_another_time_in_another_folder(kit):
    feed = kit.feed("feed", LIB, APP, MORE)
    layers = "low:packages:app high:packages:more"
    one = kit.build("one", layers, feed)
    time.sleep(1.1)
    other = Kit(kit.manager, kit.folder / "quite" / "another folder")
    other.folder.mkdir(parents=True)
    feeds = [other.feed("fed", LIB, APP, MORE)]
    old = os.umask(0o077)
    try:
        env = tools.environment(TZ="Asia/Tokyo", LC_ALL="C.UTF-8", PYTHONHASHSEED="3")
        two = other.build("two", layers, *feeds, env=env)
    finally:
        os.umask(old)
    assert one.digests() == two.digests()


def test_the_second_build_is_from_the_cache(kit):
    feed = kit.feed("feed", LIB, APP)
    one = kit.build("one", "app:packages:app", feed)
    done = kit.run("build", "one", "app:packages:app", feed)
    again = Image(kit.manager, json.loads(done.stdout), kit.folder / "one")
    assert again.layer("app")["cache"]["hit"]
    assert again.digests() == one.digests()


def only_told(kit: Kit) -> dict[str, str | None]:
    """An environment in which the manager's programs tell their versions, and do nothing else."""
    place = kit.folder / "programs"
    place.mkdir(exist_ok=True)
    for name in kit.manager.programs:
        found = shutil.which(name)
        text = f'#!/bin/sh\ncase "$*" in *--version|--print-architecture) exec {found} "$@";; esac\nexit 77\n'
        (place / name).write_text(text, encoding="utf-8")
        (place / name).chmod(0o755)
    return tools.environment(PATH=f"{place}:{os.environ['PATH']}")


@pytest.mark.parametrize("database", ["keep", "remove", "top"])
def test_nothing_runs_where_nothing_changed(native, database):
    feed = native.feed("feed", LIB, APP, MORE)
    layers = "low:packages:app high:packages:more"
    lines = [f'OCI_PACKAGE_DATABASE = "{database}"']
    one = native.build("one", layers, feed, lines=lines)
    again = native.build("two", layers, feed, lines=lines, env=only_told(native), cache="one")
    assert again.digests() == one.digests()
    packages = [[layer.get("packages") for layer in image.report["layers"]] for image in (one, again)]
    assert packages[0] == packages[1]
    third = native.build(
        "three", layers, feed, lines=[*lines, 'OCI_LAYER_COMPRESSION = "none"'], env=only_told(native), cache="one"
    )
    assert third.tree == one.tree
    assert [layer["diffId"] for layer in third.report["layers"]] == [layer["diffId"] for layer in one.report["layers"]]


def test_what_is_recalled_is_what_the_layer_above_is_installed_on(native):
    feed = native.feed("feed", LIB, APP, MORE)
    native.build("one", "low:packages:app", feed)
    again = native.build("two", "low:packages:app high:packages:more", feed, cache="one")
    cold = native.build(
        "three", "low:packages:app high:packages:more", feed, lines=['OCI_LAYER_CACHE = "0"'], cache="one"
    )
    assert again.digests() == cold.digests()


def test_the_database_that_the_image_has_and_the_one_that_is_withheld_are_told_apart(native):
    """The root is the same where a layer of packages lies on a base image that has the database."""
    feed = native.feed("feed", LIB, APP)
    top = ['OCI_PACKAGE_DATABASE = "top"']
    native.build("base", "low:packages:lib", feed)
    native.build("upper", "high:packages:app", feed, lines=[*top, 'OCI_BASE_IMAGE = "../base/deploy/app-oci"'])
    image = native.build("two", "low:packages:lib high:packages:app", feed, lines=top, cache="upper")
    assert image.versions() == {"app": "1.0-1", "lib": "1.0-1"}
    cold = native.build("three", "low:packages:lib high:packages:app", feed, lines=top)
    assert image.digests() == cold.digests()


def test_what_lies_below_is_told_of_what_the_layer_names_now(native):
    feed = native.feed("feed", LIB, APP)
    native.build("one", "low:packages:lib high:packages:app", feed)
    image = native.build("two", "low:packages:lib high:packages:app,lib", feed, cache="one")
    assert image.layer("high")["below"] == ["lib 1.0-1"]


def test_no_epoch_is_another_one_than_1970(native):
    feed = native.feed("feed", LIB)
    native.build("one", "low:packages:lib", feed, lines=['SOURCE_DATE_EPOCH = "0"'])
    unset = {"lines": ['SOURCE_DATE_EPOCH = ""'], "env": tools.environment(SOURCE_DATE_EPOCH=None)}
    two = native.build("two", "low:packages:lib", feed, cache="one", **unset)
    cold = native.build("three", "low:packages:lib", feed, **unset)
    assert two.tree[b"usr/lib/lib.so"].mtime == cold.tree[b"usr/lib/lib.so"].mtime != 0


@pytest.mark.parametrize("damage", ["removed", "changed"])
def test_what_was_kept_and_is_damaged_is_installed_again(native, damage):
    feed = native.feed("feed", LIB, APP)
    one = native.build("one", "app:packages:app", feed)
    for blob in (native.folder / "one/cache/blobs/sha256").iterdir():
        if damage == "removed":
            blob.unlink()
        else:
            data = blob.read_bytes()
            blob.unlink()  # the image's blob can be the same file
            blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert native.build("two", "app:packages:app", feed, cache="one").digests() == one.digests()


def test_another_version_of_the_tool_installs_again(native):
    feed = native.feed("feed", LIB, APP)
    native.build("one", "app:packages:app", feed)
    env = only_told(native)
    for program in (native.folder / "programs").iterdir():
        text = program.read_text(encoding="utf-8").replace("exec ", "").replace(";;", "| sed 's/[0-9]/9/'; exit;;", 1)
        program.write_text(text, encoding="utf-8")
    assert native.run("build", "two", "app:packages:app", feed, env=env, status=None, cache="one").returncode in (2, 3)


def test_a_change_of_the_feed_is_seen(native):
    native.build("one", "low:packages:app", native.feed("feed", LIB, APP))
    changed = native.feed("changed", LIB, dataclasses.replace(APP, files=[*APP.files, file("/usr/share/new", b"new")]))
    again = native.build("two", "low:packages:app", changed, cache="one")
    assert again.text("usr/share/new") == "new"


def test_another_order_of_feeds_is_seen(native):
    old, new = native.feed("old", LIB), native.feed("new", NEW_LIB)
    assert native.build("one", "app:packages:lib", old, new).versions() == {"lib": "1.0-1"}
    assert native.build("two", "app:packages:lib", new, old, cache="one").versions() == {"lib": "2.0-1"}


def test_a_plan_says_the_same_and_writes_nothing(kit):
    feed = kit.feed("feed", LIB, APP, MORE)
    layers = "low:packages:app high:packages:more"
    done = kit.run("plan", "one", layers, feed)
    assert not (kit.folder / "one" / "deploy").exists()
    plan = json.loads(done.stdout)
    report = kit.build("one", layers, feed).report
    assert plan["packageManager"] == report["packageManager"]
    for planned, built in zip(plan["layers"], report["layers"]):
        assert planned["packages"] == built["packages"]
        assert planned["changed"] == built["changed"]


def test_people_are_told_what_installed(kit):
    feed = kit.feed("feed", LIB, APP)
    kit.build("one", "app:packages:app", feed)
    place = kit.folder / "one"
    said = tools.oe_oci("build", place / "app.conf", "--deploy-dir", place / "deploy", "--feed", feed).stdout
    assert (f"package manager: {kit.manager.tool} version " in said) == (kit.manager.value == "native")


def test_nothing_is_left_beside_the_outputs(kit):
    image = kit.build("one", "app:packages:app", kit.feed("feed", LIB, APP))
    assert not [name for name in os.listdir(image.place / "deploy") if "partial" in name]
    assert all(stat.S_ISREG(path.lstat().st_mode) for path in (kit.folder / "feed").iterdir())


@pytest.mark.parametrize("place", ["elsewhere/rootfs-work", "one/deploy"])
def test_it_works_where_it_is_told_to(native, place):
    """Below a folder that may be the outputs' own, in which a build that was killed left something."""
    feed = native.feed("feed", LIB, APP)
    work = native.folder / place
    (work / ".app.work-oci.partial/work/root/old").mkdir(parents=True)
    usual = native.build("usual", "app:packages:app", feed)
    image = native.build("one", "app:packages:app", feed, lines=[f'OCI_WORK_DIR = "{work}"'])
    assert image.digests() == usual.digests()
    assert not [name for name in os.listdir(work) if "partial" in name]
    (native.folder / "file").write_text("")
    done = native.run(
        "build", "two", "app:packages:app", feed, lines=[f'OCI_WORK_DIR = "{native.folder}/file/in"'], status=3
    )
    assert f"cannot make the folder {native.folder}/file" in done.stderr


def without_libsolv(place) -> dict[str, str]:
    """An environment whose interpreters do not find it, as BitBake's does not."""
    place.mkdir()
    (place / "sitecustomize.py").write_text("import sys\nsys.modules['solv'] = None\n")
    return tools.environment(PYTHONPATH=f"{place}:{os.environ.get('PYTHONPATH', '')}")


def test_it_needs_no_libsolv_of_pythons(native):
    feed = native.feed("feed", LIB, APP, MORE)
    layers = "low:packages:lib high:packages:more,app"
    env = without_libsolv(native.folder / "bare")
    usual = native.build("one", layers, feed)
    bare = native.build("two", layers, feed, env=env)
    assert bare.digests() == usual.digests()
    assert [layer["packages"] for layer in bare.report["layers"]] == [
        layer["packages"] for layer in usual.report["layers"]
    ]
    broken = Source("broken", files=[file("/usr/bin/broken")], depends=["nowhere"])
    other = native.feed("other", LIB, APP, MORE, broken)
    for lost, said in (("mores", "did you mean more?"), ("app,broken", f"{native.manager.tool} finds no way")):
        done = native.run("build", "three", f"a:packages:{lost}", other, env=env, status=2)
        assert said in done.stderr
        assert "Traceback" not in done.stderr
