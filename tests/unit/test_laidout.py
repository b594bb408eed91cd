# SPDX-License-Identifier: MIT
"""Layers of packages in folders: what was laid out, what was made of it, and what the layer then is."""

from __future__ import annotations

import os
import shutil
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from support.configs import PACKAGES, config
from support.tools import need_root
from support.trees import directory, entries, file, link, tree
from test_delta import lowers

from oe_oci import folders
from oe_oci.config import PackagesLayer
from oe_oci.content import content_digest, whole
from oe_oci.delta import apply, diff
from oe_oci.digests import Digests
from oe_oci.errors import ConfigError, InputError, ToolError
from oe_oci.layer import members
from oe_oci.packages.installation import InstalledPackage, LayerPackages
from oe_oci.packages.laidout import LaidOutInstaller, record_of
from oe_oci.plan import PlannedLayer, check_apart
from oe_oci.tree import DIRECTORY, Tree

if TYPE_CHECKING:
    from pathlib import Path

    from oe_oci.delta import Delta
    from oe_oci.tree import Entry

EPOCH = 1_600_000_000
DIGESTS = Digests()
SPEC = PackagesLayer("app", ("shop",))
LOWER = {
    "etc/passwd": file(b"root\n"),
    "etc/shop": directory(0o750, uid=7),
    "old": directory(),
    "old/one": file(b"1"),
    "old/two": file(b"2"),
    "tmp": directory(0o1777),
    "usr/lib/a": file(b"a"),
    "bin": link("usr/bin"),
    "usr/bin": directory(),
}


@pytest.fixture(autouse=True)
def _as_root() -> None:
    need_root()


def same(one, other) -> bool:
    return content_digest(one) == content_digest(other)


def lower_tree() -> Tree:
    return tree(**{path.replace("/", "__"): entry for path, entry in LOWER.items()})


def lay_out(folder: Path, lower: Tree, upper: dict[str, Entry], removed=()) -> Delta:
    delta = diff(lower, upper, removed, same)
    package = InstalledPackage("shop", "1", "all", "0" * 64, 5, 6, "", "", ("postinst",))
    layer = PlannedLayer(SPEC, delta, "", LayerPackages((package,), ("lib 1",), {"name": "opkg", "version": "0.6"}))
    folders._write(str(folder), delta, DIGESTS)
    folders._write_record(str(folder), folders._record(layer, lower, "keep", {"shop", "lib"}, DIGESTS))
    return delta


def open_folder(folder: Path, *, spec: PackagesLayer = SPEC, epoch: int | None = EPOCH, **packages) -> LaidOutInstaller:
    wanted = config(layers=(spec,), laid_out=(str(folder),), epoch=epoch, packages=PACKAGES._replace(**packages))
    return LaidOutInstaller(wanted, Digests())


def take_in(folder: Path, lower: Tree, epoch: int | None = EPOCH) -> Delta:
    wanted = open_folder(folder, epoch=epoch).install(SPEC, lower).wanted
    return diff(lower, wanted.entries, wanted.removed, same)


def written(delta: Delta) -> list[object]:
    """What a layer's archive would have."""
    return [
        (path, entry._replace(content=whole(entry.content) if entry.content else None, inode=None), hardlink)
        for path, entry, hardlink in members(delta, 0)
    ]


def changed(delta: Delta) -> set[str]:
    """The paths that a layer has, but for directories that others lie in."""
    ups = {path.rpartition("/")[0] for path in (*delta.entries, *delta.removed)}
    return {path for path, entry in delta.entries.items() if entry.kind != DIRECTORY or path not in ups}


@settings(derandomize=True, deadline=None, max_examples=150)
@given(lowers, lowers)
def test_what_nobody_changed_is_the_same_layer(tmp_path_factory, lower, upper):
    folder = tmp_path_factory.mktemp("laid") / "out"
    delta = lay_out(folder, Tree(lower), upper, [path for path in lower if path not in upper])
    again = take_in(folder, Tree(lower))
    assert (written(again), again.removed, again.changed) == (written(delta), delta.removed, delta.changed)


@pytest.mark.parametrize("epoch", [EPOCH, None])
def test_times_are_those_that_were_laid_out(tmp_path, epoch):
    upper = {
        "base": directory(0o700, mtime=EPOCH + 99),
        "base/own": file(b"own", mtime=EPOCH - 7),
        "first": file(b"", mtime=0),
    }
    lay_out(tmp_path / "a", Tree({"": directory()}), upper)
    found = take_in(tmp_path / "a", Tree({"": directory()}), epoch).entries
    assert {path: entry.mtime for path, entry in found.items()} == {path: entry.mtime for path, entry in upper.items()}


@pytest.mark.parametrize(("epoch", "expected"), [(EPOCH, (EPOCH, EPOCH - 60)), (None, (0, 0))])
def test_what_is_new_has_its_own_time_or_the_epochs(tmp_path, epoch, expected):
    lay_out(tmp_path / "a", Tree({"": directory()}), entries(etc__a=b"a"))
    (tmp_path / "a/etc/new").write_bytes(b"new")
    (tmp_path / "a/etc/old").write_bytes(b"old")
    os.utime(tmp_path / "a/etc/old", (EPOCH - 60, EPOCH - 60))
    os.utime(tmp_path / "a/etc/a", (EPOCH + 60, EPOCH + 60))
    found = take_in(tmp_path / "a", Tree({"": directory()}), epoch).entries
    assert (found["etc/new"].mtime, found["etc/old"].mtime) == expected
    assert found["etc/a"].mtime == found["etc"].mtime == expected[0]


def test_what_was_added_and_changed_is_there(tmp_path):
    lay_out(tmp_path / "a", lower_tree(), entries(etc__app=b"app", usr__bin__app=file(b"app", 0o755)))
    os.chmod(tmp_path / "a/usr/bin/app", 0o4750)
    os.chown(tmp_path / "a/etc/app", 12, 34)
    os.symlink("app", tmp_path / "a/etc/link")
    os.link(tmp_path / "a/etc/app", tmp_path / "a/etc/too")
    found = take_in(tmp_path / "a", lower_tree())
    assert changed(found) == {"etc/app", "etc/link", "etc/too", "usr/bin/app"}
    assert found.entries["usr/bin/app"].mode == 0o4750
    assert found.entries["etc/app"][2:4] == (12, 34)
    assert found.entries["etc/app"].inode == found.entries["etc/too"].inode is not None


def test_what_was_removed_is_gone(tmp_path):
    """Of what lay below already too, as the layer had replaced it; what it never had stays."""
    upper = entries(etc__passwd=b"root\nshop\n", etc__app=b"app", opt__app=b"app")
    lay_out(tmp_path / "a", lower_tree(), upper)
    for name in ("etc/passwd", "etc/app", "opt/app"):
        (tmp_path / "a" / name).unlink()
    (tmp_path / "a/etc").rmdir()
    (tmp_path / "a/opt").rmdir()
    found = take_in(tmp_path / "a", lower_tree())
    assert (found.removed, changed(found)) == (("etc/passwd",), set())
    assert "opt" not in found.entries


# ---- what was done by hand


def edits(folder: Path, lower: Tree) -> tuple[set[str], set[str], set[str]]:
    """The paths that were changed, added and removed, but for what was never there."""
    found = open_folder(folder).install(SPEC, lower).edits()
    changed = {path for path, digest in found.changed.items() if digest}
    return changed, found.changed.keys() - changed, set(found.removed)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(lowers, lowers)
def test_nothing_was_done_by_hand_where_nothing_was_changed(tmp_path_factory, lower, upper):
    folder = tmp_path_factory.mktemp("laid") / "out"
    lay_out(folder, Tree(lower), upper, [path for path in lower if path not in upper])
    assert edits(folder, Tree(lower)) == (set(), set(), set())


@pytest.mark.parametrize(
    "edit",
    [
        lambda path: path.write_bytes(b"ppa"),
        lambda path: path.chmod(0o600),
        lambda path: os.chown(path, 1, 0),
        lambda path: os.setxattr(path, "user.note", b"1"),
        lambda path: (path.unlink(), path.symlink_to("elsewhere")),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: (path.unlink(), os.mknod(path, 0o20644, os.makedev(1, 3))),
    ],
)
def test_each_change_of_a_path_is_one(tmp_path, edit):
    lay_out(tmp_path / "a", lower_tree(), entries(etc__app=b"app", etc__other=b"app"))
    edit(tmp_path / "a/etc/app")
    assert edits(tmp_path / "a", lower_tree()) == ({"etc/app"}, set(), set())


def test_of_a_directory_its_own_facts_count(tmp_path):
    lay_out(tmp_path / "a", lower_tree(), entries(etc__app__conf=b"1", opt__app=b"app"))
    (tmp_path / "a/etc/app/new").touch()
    (tmp_path / "a/opt").chmod(0o700)
    for name in ("tmp", "srv", "usr/lib/sub"):  # the first one is there below
        (tmp_path / "a" / name).mkdir(parents=True)
    assert edits(tmp_path / "a", lower_tree()) == ({"opt"}, {"etc/app/new", "srv", "usr/lib/sub"}, set())


def test_a_time_alone_is_no_change(tmp_path):
    lay_out(tmp_path / "a", lower_tree(), entries(etc__app=b"app"))
    os.utime(tmp_path / "a/etc/app", (1, 1))
    assert edits(tmp_path / "a", lower_tree()) == (set(), set(), set())


def test_what_is_removed_by_hand_or_by_a_mark(tmp_path):
    lay_out(tmp_path / "a", lower_tree(), entries(etc__app=b"app", opt__app=b"app"), ["usr/lib/a"])
    shutil.rmtree(tmp_path / "a/opt")
    (tmp_path / "a/etc/.wh.passwd").touch()
    (tmp_path / "a/old").mkdir()
    (tmp_path / "a/old/.wh..wh..opq").touch()
    removed = {"opt", "opt/app", "etc/passwd", "old/one", "old/two"}
    assert edits(tmp_path / "a", lower_tree()) == (set(), set(), removed)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda top: (top / "c").unlink(), (set(), set(), {"c"})),
        (lambda top: os.link(top / "a", top / "d"), ({"a", "b", "c"}, {"d"}, set())),
        (lambda top: (top / "a").write_bytes(b"y"), ({"a", "b", "c"}, set(), set())),
        (lambda top: ((top / "a").unlink(), (top / "a").write_bytes(b"y")), ({"a"}, set(), set())),
        (lambda top: ((top / "a").unlink(), (top / "a").write_bytes(b"x")), ({"a", "b", "c"}, set(), set())),
    ],
)
def test_names_of_one_file(tmp_path, edit, expected):
    one = file(b"x", inode=("p", 1))
    lay_out(tmp_path / "a", Tree({"": directory()}), {"a": one, "b": one, "c": one, "other": file(b"x")})
    edit(tmp_path / "a")
    assert edits(tmp_path / "a", Tree({"": directory()})) == expected


def test_removals_stay(tmp_path):
    lay_out(tmp_path / "a", lower_tree(), entries(etc__app=b"app"), ["old", "usr/lib/a"])
    found = take_in(tmp_path / "a", lower_tree())
    assert found.removed == ("old", "usr/lib/a")
    # Below, somebody has removed one of them too.
    less = lower_tree()
    less.drop(["usr/lib/a"])
    assert take_in(tmp_path / "a", less).removed == ("old",)


def test_what_is_put_into_a_directory_that_the_layer_removes_is_alone_there(tmp_path):
    lay_out(tmp_path / "a", lower_tree(), entries(etc__app=b"app"), ["old"])
    (tmp_path / "a/old").mkdir()
    (tmp_path / "a/old/two").write_bytes(b"mine")
    grown = lower_tree()
    apply(grown, take_in(tmp_path / "a", lower_tree()))
    assert sorted(path for path in grown.entries if path.startswith("old")) == ["old", "old/two"]
    assert whole(grown.entries["old/two"].content) == b"mine"


def test_marks_of_removals_remove(tmp_path):
    """As images have them, and as users of the class before this one make them."""
    lay_out(tmp_path / "a", lower_tree(), entries(etc__app=b"app"))
    (tmp_path / "a/etc/.wh.passwd").touch()
    (tmp_path / "a/etc/.wh.absent").touch()
    (tmp_path / "a/old").mkdir()
    (tmp_path / "a/old/.wh..wh..opq").touch()
    (tmp_path / "a/old/new").write_bytes(b"new")
    found = take_in(tmp_path / "a", lower_tree())
    assert found.removed == ("etc/passwd", "old/one", "old/two")
    assert changed(found) == {"etc/app", "old/new"}


def test_a_mark_that_is_none_is_refused(tmp_path):
    lay_out(tmp_path / "a", lower_tree(), entries(etc__app=b"app"))
    (tmp_path / "a/etc/.wh.passwd").write_bytes(b"not empty")
    with pytest.raises(InputError, match=r"etc/\.wh\.passwd"):
        take_in(tmp_path / "a", lower_tree())


def test_a_directory_made_to_put_something_into_keeps_its_facts_below(tmp_path):
    lay_out(tmp_path / "a", lower_tree(), entries(usr__bin__app=b"app"))
    for name, mode in (("etc/shop", 0o755), ("tmp", 0o755), ("old", 0o700)):
        os.makedirs(tmp_path / "a" / name)
        os.chmod(tmp_path / "a" / name, mode)
        (tmp_path / "a" / name / "new").write_bytes(b"")
    found = take_in(tmp_path / "a", lower_tree()).entries
    assert (found["etc/shop"].mode, found["etc/shop"].uid, found["tmp"].mode) == (0o750, 7, 0o1777)
    assert found["old"].mode == 0o700


def test_what_is_put_behind_a_link_below_lies_where_it_leads(tmp_path):
    lay_out(tmp_path / "a", lower_tree(), entries(etc__app=b"app"))
    (tmp_path / "a/bin").mkdir()
    (tmp_path / "a/bin/tool").write_bytes(b"")
    found = take_in(tmp_path / "a", lower_tree())
    assert changed(found) == {"etc/app", "usr/bin/tool"}


def test_a_layer_that_changes_nothing_goes_on_doing_so(tmp_path):
    delta = lay_out(tmp_path / "a", lower_tree(), {})
    assert delta.empty
    assert os.listdir(tmp_path / "a") == []
    assert take_in(tmp_path / "a", lower_tree()).empty


def test_a_socket_is_left_out(tmp_path, caplog):
    lay_out(tmp_path / "a", lower_tree(), entries(etc__app=b"app"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "a/etc/socket"))
    assert changed(take_in(tmp_path / "a", lower_tree())) == {"etc/app"}
    assert "socket" in caplog.text


def test_packages_are_told_as_they_were(tmp_path):
    lay_out(tmp_path / "a", lower_tree(), entries(etc__app=b"app"))
    installer = open_folder(tmp_path / "a")
    told = installer.install(SPEC, lower_tree()).packages
    assert installer.names() == {"lib", "shop"}
    assert told.to_json() == {
        "packages": [
            {
                "name": "shop",
                "version": "1",
                "architecture": "all",
                "digest": f"sha256:{'0' * 64}",
                "size": 5,
                "unpackedSize": 6,
                "scriptsNotRun": ["postinst"],
            }
        ],
        "below": ["lib 1"],
    }
    assert told.tool == {"name": "opkg", "version": "0.6"}


# ---- what can not be taken in


def refused(folder: Path, **options) -> str:
    with pytest.raises((ConfigError, InputError, ToolError)) as raised:
        open_folder(folder, **options)
    return str(raised.value)


def test_a_folder_must_be_the_layers_own(tmp_path):
    assert refused(tmp_path / "a").startswith("OCI_LAYER_1_ROOTFS: there is no folder ")
    (tmp_path / "a").mkdir()
    assert f"there is no {tmp_path}/a.json" in refused(tmp_path / "a")
    (tmp_path / "a").rmdir()
    lay_out(tmp_path / "a", lower_tree(), entries(etc__app=b"app"))
    for spec in (PackagesLayer("other", ("shop",)), PackagesLayer("app", ("shop", "more"))):
        assert "was laid out for 'app:packages:shop'" in refused(tmp_path / "a", spec=spec)
    assert 'OCI_PACKAGE_DATABASE = "keep", now it is "remove"' in refused(tmp_path / "a", database="remove")


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "\xff", folders.MARK + "}", '{"layer":1}', '{"layer":"app","asked":["shop"]}', "[" * 9999]
)
def test_a_damaged_record_is_one_error(tmp_path, text):
    lay_out(tmp_path / "a", lower_tree(), entries(etc__app=b"app"))
    (tmp_path / "a.json").write_text(text, encoding="latin-1")
    assert refused(tmp_path / "a").startswith(f"{record_of(str(tmp_path / 'a'))}: is damaged, or its folder is not")


def test_only_who_sees_owners_can_take_in(tmp_path, monkeypatch):
    lay_out(tmp_path / "a", lower_tree(), entries(etc__app=b"app"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "fakeroot or pseudo" in refused(tmp_path / "a")


def test_outputs_in_a_folder_are_refused(tmp_path):
    wanted = config(layers=(SPEC,), laid_out=(str(tmp_path),), deploy_dir=str(tmp_path / "deploy"))
    with pytest.raises(ConfigError, match="OCI_LAYER_1_ROOTFS: the deploy folder"):
        check_apart(wanted)


# ---- what can not be laid out


def test_only_who_may_give_owners_lays_out(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ToolError, match="only root can lay out layers") as raised:
        folders.lay_out(config(layers=(SPEC,)), folders.Options(1), str(tmp_path / "a"))
    assert "fakeroot or pseudo" in raised.value.hint
    assert os.listdir(tmp_path) == []


def test_what_was_not_laid_out_is_never_removed(tmp_path):
    (tmp_path / "a1").mkdir()
    (tmp_path / "a1/mine").touch()
    for name in ("a1.json", "a7.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(ToolError, match="a1 is in the way"):
        folders.lay_out(config(layers=(SPEC,)), folders.Options(1), str(tmp_path / "a"))
    assert sorted(os.listdir(tmp_path)) == ["a1", "a1.json", "a7.json"]


def test_folders_of_an_earlier_time_go(tmp_path):
    for name in ("a1", "a12", "b1"):
        lay_out(tmp_path / name, lower_tree(), entries(etc__app=b"app"))
    (tmp_path / "a3.json").write_text(folders.MARK + "}")
    (tmp_path / "a3").mkdir()
    (tmp_path / "a3/half").touch()
    assert folders.lay_out(config(), folders.Options(1), str(tmp_path / "a")) == ()
    assert sorted(os.listdir(tmp_path)) == ["b1", "b1.json"]
