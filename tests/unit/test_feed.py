# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from support.packages import COMPRESSIONS, Made, index_of, package, write_feed

from oe_oci import digests
from oe_oci.digests import Digests
from oe_oci.errors import ConfigError, InputError, ToolError
from oe_oci.packages import archive, feed
from oe_oci.packages.feed import Feeds, Remembered, open_feeds

if TYPE_CHECKING:
    from pathlib import Path


LATER = time.time_ns() + 3600 * 10**9  # when a build begins that may trust what was just written


def opened(
    *folders: Path, kind=None, archs=None, native="amd64", remember=None, paranoid=False, began: int | None = LATER
) -> Feeds:
    where = remember and Remembered(str(remember), Digests(str(remember / "digests"), paranoid=paranoid, began=began))
    return open_feeds(
        [str(each) for each in folders], kind=kind, archs=archs, native=native, remember=where, limit=None
    )


def found(feeds: Feeds, name: str) -> list[str]:
    return [f"{one.version} {one.arch} {one.feed}" for one in feeds.named(name)]


def refused(text: str, *folders: Path, **how) -> InputError:
    with pytest.raises(InputError, match=text) as caught:
        opened(*folders, **how)
    return caught.value


def ipk(name: str, version: str = "1.0", arch: str = "all", **fields: str) -> Made:
    return package(name, version, arch, kind="ipk", **fields)


def by_arch(place: Path, *packages: Made, index: str = "") -> Path:
    """As Yocto lays its feeds out."""
    for arch in {made.fields["Architecture"] for made in packages}:
        write_feed(place / arch, [made for made in packages if made.fields["Architecture"] == arch], index=index)
    return place


SHOP = package("shop", "2.0", "amd64", Depends="libc", Provides="store")
LIBC = package("libc", "3", "amd64")
DOCS = package("docs", "1:1", "all", Provides="store (= 1)")
ALL = [SHOP, LIBC, DOCS]


# ---- what is read


@pytest.mark.parametrize("index", ["", "Packages", "Packages.gz", "Packages.xz", "Packages.zst"])
@pytest.mark.parametrize("kind", ["deb", "ipk"])
def test_a_folder(tmp_path, index, kind):
    made = [package(name, kind=kind, Provides="x", Section="s") for name in ("b", "a")]
    feeds = opened(write_feed(tmp_path / "feed", made, index=index))
    assert feeds.kind == kind
    assert set(feeds.names()) == {"a", "b", "x"}
    (one,) = feeds.named("a")
    assert (one.name, one.version, one.arch, one.feed) == ("a", "1.0", "all", 0)
    assert (one.path, one.size) == (str(tmp_path / "feed" / made[1].name), len(made[1].data))
    assert (one.digest is None) == (not index)
    assert "Section" not in one.fields
    assert [package.name for package in feeds.providing("x")] == ["a", "b"]
    assert feeds.providing("x")[0] is one is feeds.named("a")[0]
    assert feeds.named("x") == feeds.providing("a") == feeds.named("zzz") == ()
    feeds.check_present(one)


def test_a_folder_of_both_forms_of_ipk(tmp_path):
    made = [ipk("a"), package("b", kind="ipk", form="tar.gz")]
    assert set(opened(write_feed(tmp_path, made, index="")).names()) == {"a", "b"}


def test_the_plain_index_goes_before_the_others(tmp_path):
    for suffix, made in (("", SHOP), (".gz", LIBC), (".xz", DOCS)):
        (tmp_path / f"Packages{suffix}").write_bytes(COMPRESSIONS[suffix[1:] or "none"](made.entry()))
    assert opened(tmp_path).named("shop")
    (tmp_path / "Packages").unlink()
    (tmp_path / "Packages").mkdir()
    assert opened(tmp_path).named("libc")
    (tmp_path / "Packages.gz").unlink()
    os.mkfifo(tmp_path / "Packages.gz")
    assert opened(tmp_path).named("docs")


def test_yoctos_folders(tmp_path):
    made = [ipk("a"), ipk("b", arch="core2-64"), ipk("c", arch="qemux86_64")]
    for index in ("", "Packages"):
        feeds = opened(by_arch(tmp_path / f"feed{index}", *made, index=index))
        assert [len(feeds.named(name)) for name in "abc"] == [1, 1, 1]
        assert feeds.archs == ("all", "core2-64", "qemux86_64")
    top = by_arch(tmp_path / "both", *made, index="Packages")
    (top / "Packages").write_bytes(b"\n".join(m.entry(f"{m.fields['Architecture']}/{m.name}") for m in made))
    assert [len(opened(top).named(name)) for name in "abc"] == [1, 1, 1]


def test_debians_layout(tmp_path):
    pool = write_feed(tmp_path / "pool" / "main" / "s" / "shop", [SHOP, package("stray")], index="")
    index = tmp_path / "dists" / "stable" / "main" / "binary-amd64"
    index.mkdir(parents=True)
    (index / "Packages.gz").write_bytes(COMPRESSIONS["gz"](SHOP.entry(f"pool/main/s/shop/{SHOP.name}")))
    feeds = opened(tmp_path)
    (one,) = feeds.named("shop")
    assert one.path == str(pool / SHOP.name)
    assert feeds.named("stray") == ()
    assert feeds.unlisted("stray") == str(pool / "stray_1.0_all.deb")
    assert feeds.unlisted("shop") is None


def test_a_folder_without_an_index_below_one_with(tmp_path):
    write_feed(tmp_path, [SHOP])
    write_feed(tmp_path / "extra", [DOCS], index="")
    feeds = opened(tmp_path)
    assert (found(feeds, "shop"), found(feeds, "docs")) == (["2.0 amd64 0"], ["1:1 all 0"])
    assert feeds.unlisted("docs") is None


def test_links(tmp_path):
    """Those to folders are not followed, those to packages are where no index is."""
    kept = write_feed(tmp_path / "kept", [SHOP], index="")
    place = tmp_path / "feed"
    place.mkdir()
    (place / "loop").symlink_to(".")
    (place / "there").symlink_to(kept)
    error = refused("holds neither .deb, .ipk nor .rpm packages, and no index", place)
    assert "links to folders are not followed" in error.hint
    (place / SHOP.name).symlink_to(kept / SHOP.name)
    assert found(opened(place), "shop") == ["2.0 amd64 0"]
    write_feed(tmp_path / "twice", [SHOP], index="")
    assert len(opened(place, tmp_path / "twice").named("shop")) == 1
    (tmp_path / "link").symlink_to("kept")
    assert found(opened(tmp_path / "link"), "shop") == ["2.0 amd64 0"]


def test_odd_names(tmp_path):
    place = write_feed(tmp_path / os.fsdecode(b"caf\xe9"), [SHOP], index="")
    os.rename(place / SHOP.name, place / os.fsdecode(b"\xff \xc3\xa9.deb"))
    for _ in range(2):
        (one,) = opened(tmp_path, remember=tmp_path / "r").named("shop")
        assert os.path.samefile(one.path, place / os.fsdecode(b"\xff \xc3\xa9.deb"))
    os.rename(one.path, place / "a\n\nb.deb")
    refused("line feed", tmp_path)


def test_a_relative_folder_and_one_with_a_slash(tmp_path, monkeypatch):
    write_feed(tmp_path / "feed", [SHOP])
    monkeypatch.chdir(tmp_path)
    write_feed(tmp_path / "feed" / "loose", [DOCS], index="")
    for folder in ("feed", "./feed//", "feed/.", "feed/../feed", str(tmp_path / "feed") + "/"):
        feeds = opened(folder)
        feeds.check_present(feeds.named("shop")[0])
        assert feeds.named("docs")
        assert feeds.unlisted("shop") is None


# ---- which are taken, and which is the best


def test_the_earlier_feed_wins_whatever_the_version(tmp_path):
    first = write_feed(tmp_path / "1", [package("a", "1"), package("a", "2")])
    second = write_feed(tmp_path / "2", [package("a", "9")], index="")
    assert found(opened(first, second), "a") == ["2 all 0", "1 all 0", "9 all 1"]
    assert found(opened(second, first), "a") == ["9 all 0", "2 all 1", "1 all 1"]


def test_the_later_architecture_wins_whatever_the_version(tmp_path):
    made = [ipk("a", "3", "all"), ipk("a", "2", "core2-64"), ipk("a", "1", "qemux86_64"), ipk("a", "10", "core2-64")]
    archs = ["all", "any", "noarch", "core2-64", "qemux86_64"]
    best = ["1 qemux86_64 0", "10 core2-64 0", "2 core2-64 0", "3 all 0"]
    assert found(opened(write_feed(tmp_path, made), archs=archs), "a") == best
    assert found(opened(write_feed(tmp_path, made), archs=["qemux86_64", "core2-64"]), "a") == [
        *best[1:3],
        best[0],
        best[3],
    ]
    assert found(opened(write_feed(tmp_path, made), archs=["core2-64"]), "a") == best[1:]


def test_versions_are_in_debians_order(tmp_path):
    words = ["1.0~rc1", "1.0", "1.0-r9", "1.0-r10", "1:0"]
    feeds = opened(write_feed(tmp_path, [package("a", word) for word in words]))
    assert [one.version for one in feeds.named("a")] == words[::-1]


def test_providers_are_in_the_same_order_then_by_name(tmp_path):
    first = write_feed(tmp_path / "1", [package("z", Provides="x"), package("y", "1", Provides="a, x (= 2)")])
    second = write_feed(tmp_path / "2", [package("b", arch="amd64", Provides="x"), package("a", "9", Provides="x"),
                                         package("y", "2", Provides="xx"), package("x")])  # fmt: skip
    feeds = opened(first, second)
    assert [f"{one.name} {one.version}" for one in feeds.providing("x")] == ["y 1", "z 1.0", "b 1.0", "a 9"]


def test_of_deb_those_for_the_target_and_for_all(tmp_path):
    made = [package("a", arch=arch) for arch in ("all", "amd64", "arm64", "i386")]
    place = write_feed(tmp_path, made)
    assert found(opened(place), "a") == ["1.0 amd64 0", "1.0 all 0"]
    assert opened(place).archs == ("all", "amd64")
    assert found(opened(place, native="arm64"), "a") == ["1.0 arm64 0", "1.0 all 0"]
    assert found(opened(place, archs=["all", "amd64", "i386"]), "a") == ["1.0 i386 0", "1.0 amd64 0", "1.0 all 0"]
    assert found(opened(place, archs=["all"]), "a") == ["1.0 amd64 0", "1.0 all 0"]


def test_packages_for_others_only(tmp_path):
    feeds = opened(write_feed(tmp_path, [package("a", arch="arm64", Provides="x"), package("a", arch="i386"), DOCS]))
    assert (feeds.named("a"), feeds.providing("x")) == ((), ())
    assert feeds.names() == {"docs", "store"}
    assert [feeds.other_archs(name) for name in ("a", "docs", "zzz")] == [("arm64", "i386"), (), ()]


def test_yoctos_feeds_of_deb_say_the_architecture_by_the_folder(tmp_path):
    for folder, version in (("all", "1"), ("core2-64", "3"), ("qemux86_64", "2"), ("other", "9"), ("core2-64", "4")):
        arch = "all" if folder == "all" else "amd64"
        write_feed(tmp_path / folder, [package("a", version, arch)], index="")
    archs = ["all", "any", "noarch", "core2-64", "qemux86_64"]
    assert found(opened(tmp_path, archs=archs), "a") == ["2 amd64 0", "4 amd64 0", "3 amd64 0", "1 all 0"]


def test_of_ipk_all_but_what_plainly_is_for_another_processor(tmp_path):
    words = ["all", "noarch", "core2-64", "cortexa57", "armv8a", "x86_64", "i586", "aarch64", "riscv64"]
    feeds = opened(write_feed(tmp_path, [ipk("a", arch=word) for word in words]))
    assert feeds.archs == ("all", "noarch", "armv8a", "core2-64", "cortexa57", "x86_64")
    assert {one.arch for one in feeds.named("a")} == set(feeds.archs)
    feeds = opened(tmp_path, native="arm64")
    assert feeds.archs == ("all", "noarch", "armv8a", "core2-64", "cortexa57", "aarch64")


def test_packages_of_the_other_kind_are_passed_over(tmp_path):
    place = write_feed(tmp_path, [package("a"), ipk("b")])
    feeds = opened(place, kind="deb")
    assert (len(feeds.named("a")), len(feeds.named("b"))) == (1, 0)
    assert len(opened(place, kind="ipk").named("b")) == 1


# ---- packages of one identity


def test_one_package_in_two_feeds_is_one(tmp_path):
    feeds = [
        write_feed(tmp_path / str(number), [SHOP], index=index) for number, index in enumerate(("Packages", "", ""))
    ]
    assert found(opened(*feeds), "shop") == ["2.0 amd64 0"]
    assert found(opened(feeds[2], feeds[0]), "shop") == ["2.0 amd64 0"]


@pytest.mark.parametrize("index", ["", "Packages"])
def test_two_of_one_identity_with_other_bytes(tmp_path, index):
    for size in (len(b"x"), len(b"xyz")):
        files = [{"usr/f": b"x"}, {"usr/f": b"y" * size}]
        made = [package("a", files=each, compression="none") for each in files]
        top = tmp_path / str(size)
        for number, each in enumerate(made):
            write_feed(top / str(number), [each], index=index)
        feeds = opened(top)
        with pytest.raises(InputError, match="are both a 1\\.0 for all, with different content") as caught:
            feeds.named("a")
        assert f"{top}/0/a_1.0_all.deb and {top}/1/a_1.0_all.deb" in str(caught.value)
        with pytest.raises(InputError, match="with different content"):
            opened(top / "0", top / "1").named("a")


def test_an_index_that_contradicts_itself(tmp_path):
    place = write_feed(tmp_path, [SHOP])
    (place / "Packages").write_bytes(SHOP.entry() + b"\n" + SHOP.entry(SHA256="0" * 64))
    with pytest.raises(InputError, match="with different content"):
        opened(place).named("shop")
    (place / "Packages").write_bytes(SHOP.entry() + b"\n" + SHOP.entry())
    assert len(opened(place).named("shop")) == 1


def test_entries_that_say_too_little_to_differ(tmp_path):
    little = SHOP.entry(Size=None, SHA256=None)
    (tmp_path / "Packages").write_bytes(little + b"\n" + little)
    (one,) = opened(tmp_path).named("shop")
    assert (one.size, one.digest) == (None, None)
    write_feed(tmp_path / "sub", [SHOP])
    write_feed(tmp_path / "loose", [SHOP], index="")
    with pytest.raises(InputError, match="no such file"):
        opened(tmp_path).named("shop")
    write_feed(tmp_path, [SHOP])
    (tmp_path / "Packages").write_bytes(little)
    assert len(opened(tmp_path).named("shop")) == 1
    write_feed(tmp_path / "other", [package("shop", "2.0", "amd64")], index="")
    with pytest.raises(InputError, match="with different content"):
        opened(tmp_path).named("shop")


# ---- entries and files that do not fit


@pytest.mark.parametrize(
    "name", ["/etc/x.deb", "../x.deb", "a/../../x.deb", "a/..", "out/x.deb", "out.deb", "a\n b.deb"]
)
def test_a_filename_never_leaves_the_feed(tmp_path, name):
    write_feed(tmp_path / "outside", [SHOP], index="")
    place = tmp_path / "feed"
    place.mkdir()
    (place / "out").symlink_to(tmp_path / "outside")
    (place / "out.deb").symlink_to(tmp_path / "outside" / SHOP.name)
    (place / "Packages").write_bytes(SHOP.entry(name) + b"\n" + LIBC.entry())
    feeds = opened(place)
    assert feeds.named("libc")
    with pytest.raises(InputError, match="can not be a Filename"):
        feeds.named("shop")


def test_a_link_inside_the_feed_stays_there(tmp_path):
    write_feed(tmp_path / "pool", [SHOP], index="")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "l.deb").symlink_to(f"../pool/{SHOP.name}")
    (tmp_path / "sub" / "Packages").write_bytes(SHOP.entry("./l.deb"))
    (one,) = opened(tmp_path).named("shop")
    assert one.path == str(tmp_path / "sub" / "l.deb")


@pytest.mark.parametrize(
    ("field", "value"),
    [("Size", "-1"), ("Size", "1_0"), ("Size", "9" * 19), ("Size", "x"), ("SHA256", "0" * 63), ("SHA256", "../" * 21),
     ("Version", "1 2"), ("Architecture", "../x")],
)  # fmt: skip
def test_entries_that_can_not_be(tmp_path, field, value):
    (tmp_path / "Packages").write_bytes(SHOP.entry(**{field: value}) + b"\n" + LIBC.entry())
    feeds = opened(tmp_path)
    assert feeds.named("libc")
    with pytest.raises(InputError, match=f"can not be the {field}"):
        feeds.named("shop")


def test_a_listed_file_that_is_not_there(tmp_path):
    place = write_feed(tmp_path, ALL)
    (place / SHOP.name).unlink()
    feeds = opened(place)
    (one,) = feeds.named("shop")
    with pytest.raises(InputError, match=f"{place}/Packages lists {place}/{SHOP.name}, which is not there"):
        feeds.check_present(one)


def test_a_file_that_went_meanwhile(tmp_path):
    feeds = opened(write_feed(tmp_path, ALL, index=""))
    (tmp_path / SHOP.name).unlink()
    with pytest.raises(InputError, match="was there when the feed was read"):
        feeds.check_present(feeds.named("shop")[0])


def test_packages_the_index_does_not_list(tmp_path):
    place = write_feed(tmp_path, [SHOP])
    for name in ("docs_1_all.deb", "docs-x_1_all.deb", "ipk_1_all.ipk", "other.deb"):
        (place / name).write_bytes(b"never read")
    feeds = opened(place)
    assert feeds.named("docs") == ()
    assert feeds.unlisted("docs") == str(place / "docs_1_all.deb")
    assert [feeds.unlisted(name) for name in ("shop", "doc", "ipk", "other", "zzz")] == [None] * 5
    (place / "shop_3_amd64.deb").write_bytes(b"")
    assert feeds.unlisted("shop") is None
    assert opened(place).unlisted("shop") == str(place / "shop_3_amd64.deb")


# ---- folders without packages


def test_no_feed_at_all(tmp_path):
    error = refused("holds neither .deb, .ipk nor .rpm packages, and no index", tmp_path)
    assert error.hint == ""
    refused("holds no .deb packages", tmp_path, kind="deb")
    refused("there is no such folder", tmp_path / "x")
    (tmp_path / "x").write_bytes(b"")
    refused("there is no such folder", tmp_path / "x")


def test_empty_indexes(tmp_path):
    first, second = tmp_path / "1", write_feed(tmp_path / "2", [SHOP])
    write_feed(first, [])
    assert found(opened(first, second), "shop") == ["2.0 amd64 1"]
    refused("the index of every folder is empty", first)
    refused("the index of every folder is empty", first, kind="ipk")


def test_a_feed_of_the_other_kind(tmp_path):
    place = write_feed(tmp_path, [SHOP])
    error = refused("holds no .ipk packages\n", place, kind="ipk")
    assert error.hint == "it holds .deb packages; set IMAGE_PKGTYPE to 'deb'"


def test_feeds_of_both_kinds(tmp_path):
    first, second = write_feed(tmp_path / "1", [SHOP]), write_feed(tmp_path / "2", [ipk("a")], index="")
    with pytest.raises(ConfigError) as caught:
        opened(first, second)
    (fault,) = caught.value.faults
    assert fault.where == "IMAGE_PKGTYPE"
    assert f".deb packages ({first}) and .ipk packages ({second})" in fault.message
    write_feed(first, [ipk("a")], index="")
    assert opened(first).kind == "deb"
    (first / "Packages").unlink()
    with pytest.raises(ConfigError):
        opened(first)
    assert opened(first, kind="ipk").named("a")


def test_what_can_not_be_read_is_the_disks_fault(tmp_path, monkeypatch):
    write_feed(tmp_path / "a" / "b", [SHOP])
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ToolError, match=r"cannot read .*/a/b: Permission denied"):
        opened(tmp_path)


@pytest.mark.parametrize("name", ["x.deb", "x.ipk"])
def test_files_that_are_no_packages(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    refused(name, tmp_path)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("nothing")
    refused("link to nothing", tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    refused("no regular file", tmp_path)


def test_control_data_no_package_has(tmp_path):
    write_feed(tmp_path, [package("a", "1 2")], index="")
    refused("'1 2' can not be the Version of 'a'", tmp_path)


def test_the_first_of_several_faults_is_told(tmp_path):
    for number in range(20):
        (tmp_path / f"x{number:02}.deb").write_bytes(b"x")
    for _ in range(5):
        refused("x00.deb", tmp_path)


# ---- what is remembered


def test_packages_without_an_index_are_read_once(tmp_path, monkeypatch):
    place, memory = write_feed(tmp_path / "feed", ALL, index=""), tmp_path / "memory"
    first = opened(place, remember=memory).named("shop")
    reads = []
    read = archive.read_control
    monkeypatch.setattr(archive, "read_control", lambda path, where: reads.append(path) or read(path, where))
    assert opened(place, remember=memory).named("shop") == first
    assert reads == []
    (place / SHOP.name).write_bytes(package("shop", "2.1", "amd64").data)
    assert found(opened(place, remember=memory), "shop") == ["2.1 amd64 0"]
    assert len(reads) == 3
    os.rename(place / SHOP.name, place / "x.deb")
    assert found(opened(place, remember=memory), "shop") == ["2.1 amd64 0"]
    assert len(reads) == 6
    opened(place)
    assert len(reads) == 9


def test_what_may_have_changed_unseen_is_read_each_time(tmp_path, monkeypatch):
    place, memory = write_feed(tmp_path / "feed", ALL, index=""), tmp_path / "memory"
    opened(place, remember=memory, began=None)
    assert not memory.exists()
    opened(place, remember=memory)
    reads = []
    read = archive.read_control
    monkeypatch.setattr(archive, "read_control", lambda path, where: reads.append(path) or read(path, where))
    opened(place, remember=memory, paranoid=True)
    assert len(reads) == 3
    opened(place, remember=memory, began=None)
    assert len(reads) == 6
    opened(place, remember=memory)
    assert len(reads) == 6
    monkeypatch.setattr(digests, "boot", lambda: b"another")
    opened(place, remember=memory)
    assert len(reads) == 9


def test_a_feed_that_is_exchanged_while_it_is_read_is_not_remembered(tmp_path, monkeypatch):
    """A link on the way to it leads elsewhere for a moment."""
    right = write_feed(tmp_path / "right", [package("shop", "1.0")], index="")
    wrong = write_feed(tmp_path / "wrong", [package("shop", "2.0")._replace(name="shop_1.0_all.deb")], index="")
    place, memory = tmp_path / "feed", tmp_path / "memory"
    place.symlink_to(right)
    read = feed._read_file

    def exchanged(*words):
        place.unlink()
        place.symlink_to(wrong)
        return read(*words)

    monkeypatch.setattr(feed, "_read_file", exchanged)
    assert found(opened(place, remember=memory), "shop") == ["2.0 all 0"]
    monkeypatch.setattr(feed, "_read_file", read)
    place.unlink()
    place.symlink_to(right)
    assert found(opened(place, remember=memory), "shop") == ["1.0 all 0"]


def test_a_feed_can_move_with_what_is_remembered_of_its_index(tmp_path):
    place, memory = write_feed(tmp_path / "1" / "sub", [SHOP]).parent, tmp_path / "memory"
    opened(place, remember=memory)
    os.rename(place, tmp_path / "2")
    (one,) = opened(tmp_path / "2", remember=memory).named("shop")
    assert one.path == str(tmp_path / "2" / "sub" / SHOP.name)


def test_packages_are_made_only_when_asked_for(tmp_path, monkeypatch):
    made = []
    package_class = feed.Package
    monkeypatch.setattr(feed, "Package", lambda *facts: made.append(facts[0]) or package_class(*facts))
    feeds = opened(write_feed(tmp_path, ALL))
    assert made == []
    assert feeds.named("shop") is feeds.named("shop")
    assert made == ["shop"]


def test_an_index_of_all_that_lies_there_says_the_same(tmp_path):
    place = write_feed(tmp_path, ALL, index="")
    before = [
        one._replace(digest=None, fields={}) for name in ("shop", "libc", "docs") for one in opened(place).named(name)
    ]
    (place / "Packages").write_bytes(index_of(ALL))
    after = [
        one._replace(digest=None, fields={}) for name in ("shop", "libc", "docs") for one in opened(place).named(name)
    ]
    assert before == after
