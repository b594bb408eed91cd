# SPDX-License-Identifier: MIT
"""Layers of packages, from feeds on disk to what each layer holds."""

from __future__ import annotations

import re
import tarfile
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support.configs import PACKAGES, config
from support.layouts import Member, file, folder, hardlink, symlink
from support.packages import Made, Owned, package, write_feed, xattrs

from oe_oci.config import Accounts, DatabaseLayer, Group, HostCopy, HostLayer, PackagesLayer, User
from oe_oci.content import Literal, pieces
from oe_oci.delta import apply
from oe_oci.digests import Digests
from oe_oci.errors import ConfigError, InputError
from oe_oci.packages import dpkg
from oe_oci.packages.contents import Reading
from oe_oci.packages.feed import open_feeds
from oe_oci.packages.installer import Installer
from oe_oci.packages.payload import Payload, Payloads
from oe_oci.plan import Inputs, plan_layers
from oe_oci.tree import DIRECTORY, Entry, Tree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from oe_oci.packages.installer import LayerPackages

DPKG = "var/lib/dpkg/"
NOBODY = Accounts()


class Layer(NamedTuple):
    """A planned layer: what it adds or changes, what it removes, the packages it brings."""

    entries: dict[str, Entry]
    removed: tuple[str, ...]
    packages: LayerPackages | None
    left_out: str

    @property
    def names(self) -> list[str]:
        assert self.packages is not None
        return [one.name for one in self.packages.new]

    def text(self, path: str) -> str:
        entry = self.entries[path]
        assert entry.content is not None, path
        return b"".join(map(bytes, pieces(entry.content))).decode()


class Build:
    """Layers of packages planned on top of each other, and the tree that they make."""

    def __init__(self, feed: Path, packages: Sequence[Made], *, index: str = "Packages") -> None:
        self.feed = write_feed(feed, packages, index=index)
        self.tree = Tree()

    def layers(
        self,
        *names: str | HostLayer,
        epoch: int | None = 0,
        accounts: Accounts = NOBODY,
        base: Tree | None = None,
        **settings: object,
    ) -> list[Layer]:
        """The layers, each of the packages that a text names, separated by spaces."""
        specs = [
            PackagesLayer(f"l{number}", tuple(name.split())) if isinstance(name, str) else name
            for number, name in enumerate(names)
        ]
        if settings.get("database") == "top":
            specs.append(DatabaseLayer())
        chosen = PACKAGES._replace(**{"feeds": (str(self.feed),), "recommends": False, **settings})
        asked = config(layers=tuple(specs), packages=chosen, epoch=epoch, accounts=accounts)
        below, found = base or Tree(), []
        feeds = open_feeds(chosen.feeds, kind=None, archs=chosen.archs, native="amd64", remember=None, limit=None)
        self.tree = Tree({"": Entry(DIRECTORY, 0o755), **below.entries})
        with Payloads() as payloads:
            installer = Installer(asked, feeds, below, Reading(lambda packages: payloads.read(packages, 2)))
            for planned in plan_layers(asked, Inputs(below, None, installer, Digests())):
                found.append(
                    Kept.of(Layer(planned.delta.entries, planned.delta.removed, planned.packages, planned.left_out))
                )
                apply(self.tree, planned.delta._replace(entries=found[-1].entries))
        return found


class Kept(Layer):
    """A layer whose small files were read while they could be."""

    @classmethod
    def of(cls, layer: Layer) -> Kept:
        entries = {
            path: entry
            if entry.content is None
            else entry._replace(content=Literal(b"".join(map(bytes, pieces(entry.content)))))
            for path, entry in layer.entries.items()
        }
        return cls(entries, *layer[1:])


@pytest.fixture
def build(tmp_path):
    def made(*packages: Made, index: str = "Packages") -> Build:
        return Build(tmp_path / "feed", packages, index=index)

    return made


def own(layer: Layer) -> set[str]:
    """The paths of a layer but for the database and the directories on the way to it."""
    return {path for path in layer.entries if not (path + "/").startswith(("var/", "/"))}


class TestLayers:
    def test_each_holds_what_those_below_lack(self, build):
        base = package("base", files={"usr/bin/sh": b"sh"})
        lib = package("lib", files={"usr/lib/lib.so": b"lib"}, Depends="base")
        app = package("app", files={"usr/bin/app": b"app"}, Depends="lib, base")
        first, second = build(base, lib, app).layers("base", "app")
        assert first.names == ["base"]
        assert second.names == ["lib", "app"]
        assert own(first) == {"usr", "usr/bin", "usr/bin/sh"}
        assert own(second) == {"usr", "usr/bin", "usr/bin/app", "usr/lib", "usr/lib/lib.so"}

    def test_what_is_below_already_is_told(self, build):
        _, second = build(package("a", files={"f": b""})).layers("a", "a")
        assert second.packages.new == ()
        assert second.packages.below == ("a 1.0",)
        assert second.left_out == "it changes nothing"

    def test_every_unknown_name_of_every_layer(self, build):
        with pytest.raises(ConfigError) as caught:
            build(package("libc6")).layers("libc7", "libc6 nothing")
        assert [fault.message for fault in caught.value.faults] == [
            "layer 'l0': no feed has a package 'libc7'",
            "layer 'l1': no feed has a package 'nothing'",
        ]
        assert caught.value.faults[0].hint == "did you mean libc6?"

    def test_reasons_and_scripts_are_told(self, build):
        lib = package("lib", scripts={"postinst": "#!/bin/sh\n", "prerm": "#!/bin/sh\n"})
        (layer,) = build(lib, package("app", Depends="lib")).layers("app")
        first, second = layer.packages.new
        assert (first.name, first.asked_by, first.scripts) == ("lib", "app", ("postinst",))
        assert (second.name, second.asked_by, second.scripts) == ("app", "", ())

    def test_a_package_is_checked_against_its_index(self, build):
        made = build(package("a", files={"f": b"one"}))
        path = next(made.feed.glob("*.deb"))
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        with pytest.raises(InputError, match=r"its SHA-256 is .*, the index says"):
            made.layers("a")

    @pytest.mark.parametrize("index", ["", "Packages", "Packages.gz", "Packages.xz", "Packages.zst"])
    def test_with_any_index_or_none(self, build, index):
        (layer,) = build(package("a", files={"f": b"1"}), index=index).layers("a")
        assert layer.text("f") == "1"


class TestFacts:
    MEMBERS = (
        folder("./"),
        folder("./usr/", mode=0o755),
        folder("./usr/bin/", mode=0o2755, uid=5, gid=6),
        file("./usr/bin/su", b"su", mode=0o4755, uid=7, gid=8, mtime=1000),
        hardlink("./usr/bin/sudo", "./usr/bin/su"),
        file("./usr/bin/ping", b"ping", pax=xattrs(security__capability=b"\1\0\0\2\0\x20\0\0" + bytes(12))),
        symlink("./usr/bin/ln", "su", uid=9),
    )

    def test_are_kept(self, build):
        (layer,) = build(package("a", files=self.MEMBERS)).layers("a", epoch=2000)
        su, sudo = layer.entries["usr/bin/su"], layer.entries["usr/bin/sudo"]
        assert (su.mode, su.uid, su.gid, su.mtime) == (0o4755, 7, 8, 1000)
        assert su.inode == sudo.inode is not None
        assert layer.entries["usr/bin"][1:4] == (0o2755, 5, 6)
        assert layer.entries["usr/bin/ping"].xattrs[0][0] == "security.capability"
        assert (layer.entries["usr/bin/ln"].target, layer.entries["usr/bin/ln"].uid) == ("su", 9)

    @pytest.mark.parametrize(("epoch", "mtime"), [(None, 1000), (500, 500), (2000, 1000)])
    def test_a_time_is_the_packages_own_and_at_most_the_epoch(self, build, epoch, mtime):
        (layer,) = build(package("a", files=self.MEMBERS)).layers("a", epoch=epoch)
        assert layer.entries["usr/bin/su"].mtime == mtime
        assert layer.entries[DPKG + "status"].mtime == (epoch or 0)

    def test_owners_by_name_are_those_of_the_image(self, build):
        base = package("base", files={"etc/passwd": b"www:x:33:33::/:/bin/sh\n", "etc/group": b"adm:x:4:\n"})
        members = [
            Owned("./f", b"", uid=1000, gid=1000, user="www", group="adm"),
            Owned("./g", b"", uid=9, user="nobody-knows"),
        ]
        (same,) = build(base, package("a", files=members)).layers("a base")
        assert (same.entries["f"].uid, same.entries["f"].gid, same.entries["g"].uid) == (33, 4, 9)
        _, later = build(base, package("a", files=members)).layers("base", "a")
        assert (later.entries["f"].uid, later.entries["f"].gid) == (33, 4)

    def test_owners_that_are_declared(self, build):
        members = [Owned("./f", b"", uid=1000, gid=1000, user="shop", group="shop")]
        declared = Accounts((User("shop", 70, "", "/nonexistent", "/usr/sbin/nologin"),), (Group("late", 71),))
        first, second, third = build(package("a", files=members), package("b"), package("c")).layers(
            "b", "a", "c", accounts=declared
        )
        assert "etc/passwd" not in first.entries
        assert (second.entries["f"].uid, second.entries["f"].gid) == (70, 70)
        assert "shop:x:70:70" in second.text("etc/passwd")
        assert "late" not in second.text("etc/group")
        assert "late:x:71:" in third.text("etc/group")

    def test_directories_nobody_ships_are_made(self, build):
        (layer,) = build(package("a", files=[file("./opt/a/f")])).layers("a", epoch=7)
        assert [layer.entries[path][:5] for path in ("opt", "opt/a")] == [("directory", 0o755, 0, 0, 7)] * 2


class TestMergedUsr:
    BASE = package("base", files=[folder("./usr/"), folder("./usr/bin/"), symlink("./bin", "usr/bin")])
    TOOL = package("tool", files=[folder("./"), folder("./bin/"), file("./bin/tool"), symlink("./bin/t", "tool")])

    def test_on_a_lower_layer(self, build):
        _, layer = build(self.BASE, self.TOOL).layers("base", "tool")
        assert own(layer) == {"usr", "usr/bin", "usr/bin/tool", "usr/bin/t"}

    @pytest.mark.parametrize("names", ["base tool", "tool base"])
    def test_within_a_layer_whatever_comes_first(self, build, names):
        (layer,) = build(self.BASE, self.TOOL).layers(names)
        assert layer.entries["bin"].target == "usr/bin"
        assert "usr/bin/tool" in layer.entries
        assert "bin/tool" not in layer.entries

    def test_the_database_names_the_paths_as_they_were_shipped(self, build):
        _, layer = build(self.BASE, self.TOOL).layers("base", "tool")
        assert layer.text(DPKG + "info/tool.list") == "/.\n/bin\n/bin/tool\n/bin/t\n"

    def test_a_link_where_a_lower_layer_has_a_directory(self, build):
        with pytest.raises(InputError, match=r"^base 1\.0: /bin is a symlink; tool 1\.0 has a directory there"):
            build(self.BASE, self.TOOL).layers("tool", "base")

    def test_a_link_to_where_nothing_is_yet(self, build):
        base = package("base", files=[folder("./var/"), symlink("./var/run", "/run")])
        (layer,) = build(base, package("a", files=[folder("./var/run/", mode=0o700), file("./var/run/a")])).layers(
            "base a"
        )
        assert layer.entries["run"].mode == 0o700
        assert "run/a" in layer.entries


class TestTwoPackages:
    def test_one_file_of_both(self, build):
        with pytest.raises(InputError, match=r"^/f is in b 1.0 and in a 1.0") as caught:
            build(package("a", files={"f": b"1"}), package("b", files={"f": b"1"})).layers("a b")
        assert "Replaces" in caught.value.hint

    def test_one_file_behind_a_link(self, build):
        link = package("l", files=[folder("./usr/"), symlink("./bin", "usr/bin")])
        one, other = package("a", files={"bin/f": b"1"}), package("b", files={"usr/bin/f": b"1"})
        with pytest.raises(InputError, match=r"^/usr/bin/f is in b 1.0 and in a 1.0"):
            build(link, one, other).layers("l a b")

    @pytest.mark.parametrize("names", ["a b", "b a"])
    @pytest.mark.parametrize("replaces", ["a", "a (<< 2)", "x, a (= 1.0)"])
    def test_the_one_that_replaces_the_other_has_it(self, build, names, replaces):
        one, other = package("a", files={"f": b"a", "g": b""}), package("b", files={"f": b"b"}, Replaces=replaces)
        (layer,) = build(one, other).layers(names)
        assert layer.text("f") == "b"
        assert layer.text(DPKG + "info/a.list") == "/.\n/g\n"
        assert layer.text(DPKG + "info/b.list") == "/.\n/f\n"

    def test_replaces_only_other_versions(self, build):
        with pytest.raises(InputError, match=r"is in b 1\.0 and in a 1\.0"):
            build(package("a", files={"f": b"a"}), package("b", files={"f": b"b"}, Replaces="a (<< 1)")).layers("a b")

    def test_across_layers(self, build):
        one, other = package("a", files={"f": b"a"}), package("b", files={"f": b"b"})
        with pytest.raises(InputError, match=r"^/f is in b 1.0 and in a 1.0, which lies below"):
            build(one, other).layers("a", "b")
        _, layer = build(one, package("b", files={"f": b"b"}, Replaces="a")).layers("a", "b")
        assert layer.text("f") == "b"

    @pytest.mark.parametrize("names", ["a b", "b a"])
    def test_a_directory_has_the_facts_of_the_first(self, build, names):
        one = package("a", files=[folder("./d/", mode=0o700)])
        other = package("b", files=[folder("./d/", mode=0o755), file("./d/f")], Depends="a")
        (layer,) = build(one, other).layers(names)
        assert layer.entries["d"].mode == 0o700

    def test_a_directory_that_is_a_file_of_the_other(self, build):
        with pytest.raises(InputError, match=r"^b 1.0: /d is a directory; a 1.0 has a file"):
            build(package("a", files=[file("./d")]), package("b", files=[folder("./d/")])).layers("a b")
        with pytest.raises(InputError, match=r"^b 1.0: /d/f .*a 1.0 has a file|^b 1.0: /d is no directory"):
            build(package("a", files=[file("./d")]), package("b", files=[file("./d/f")])).layers("a b")

    def test_architectures_of_one_package_share_files(self, build):
        same = {"Multi_Arch": "same"}
        native = package("lib", arch="amd64", files={"usr/share/doc": b"d", "usr/lib/amd64": b""}, **same)
        foreign = package("lib", arch="i386", files={"usr/share/doc": b"d", "usr/lib/i386": b""}, **same)
        (layer,) = build(native, foreign).layers("lib lib:i386", archs=("all", "i386", "amd64"))
        assert {"usr/lib/amd64", "usr/lib/i386", DPKG + "info/lib:i386.list"} <= set(layer.entries)
        other = package("lib", arch="i386", files={"usr/share/doc": b"other"}, **same)
        with pytest.raises(InputError, match="/usr/share/doc is in"):
            build(native, other).layers("lib lib:i386", archs=("all", "i386", "amd64"))

    def test_architectures_of_one_package_across_layers(self, build):
        archs, same = ("all", "i386", "amd64"), {"Multi_Arch": "same"}
        native = package("lib", arch="amd64", files={"doc": b"d"}, **same)
        foreign = package("lib", arch="i386", files={"doc": b"d"}, **same)
        _, second = build(native, foreign).layers("lib", "lib:i386", archs=archs)
        assert "doc" not in second.entries
        assert second.text(DPKG + "info/lib:i386.list") == "/.\n/doc\n"
        other = package("lib", arch="i386", files={"doc": b"x"}, **same)
        with pytest.raises(InputError, match=r"^/doc is in lib 1\.0 and in lib 1\.0, which lies below"):
            build(native, other).layers("lib", "lib:i386", archs=archs)

    def test_what_both_architectures_share_is_in_both_lists(self, build):
        made = [package("lib", arch=arch, files={"doc": b"d"}, Multi_Arch="same") for arch in ("amd64", "i386")]
        (layer,) = build(*made).layers("lib lib:i386", archs=("all", "i386", "amd64"))
        lists = [layer.text(DPKG + f"info/lib:{arch}.list") for arch in ("amd64", "i386")]
        assert lists == ["/.\n/doc\n"] * 2

    @pytest.mark.parametrize("layers", [["a b"], ["a", "b"]])
    def test_the_same_link_to_a_directory(self, build, layers):
        one = package("a", files=[folder("./usr/"), symlink("./l", "usr")])
        *_, last = build(one, package("b", files=[symlink("./l", "usr"), file("./f")])).layers(*layers)
        assert last.text(DPKG + "info/b.list") == "/l\n/f\n"
        with pytest.raises(InputError, match=r"^/l is in b 1\.0 and in a 1\.0"):
            build(one, package("b", files=[symlink("./l", "opt")])).layers(*layers)

    def test_the_one_below_replaces_the_new_one(self, build):
        one, other = package("a", files={"f": b"a"}, Replaces="b"), package("b", files={"f": b"b", "g": b""})
        _, second = build(one, other).layers("a", "b")
        assert own(second) == {"g"}
        assert second.text(DPKG + "info/b.list") == "/.\n/g\n"

    @pytest.mark.parametrize("layers", [["a b"], ["b a"], ["a", "b"]])
    def test_a_directory_in_place_of_a_file(self, build, layers):
        one, other = package("a", files={"d": b""}), package("b", files={"d/f": b""}, Replaces="a")
        made = build(one, other)
        made.layers(*layers)
        assert "d/f" in made.tree

    def test_a_file_in_place_of_a_directory(self, build):
        one = package("a", files={"d/f": b""})
        for layers in (["a b"], ["a", "b"]):
            with pytest.raises(InputError, match=r"^b 1\.0: /d is a file, where there is a directory with files"):
                build(one, package("b", files={"d": b""}, Replaces="a")).layers(*layers)
        (layer,) = build(
            package("a", files=[folder("./d/"), file("./f")]), package("b", files={"d": b""}, Replaces="a")
        ).layers("a b")
        assert layer.entries["d"].kind == "file"

    def test_a_link_that_is_gone_in_the_end(self, build):
        one = package("a", files=[folder("./e/"), symlink("./d", "e")])
        other, third = package("b", files={"d": b"b"}, Replaces="a"), package("c", files=[file("./d/f")])
        with pytest.raises(
            InputError, match=r"^c 1\.0: /d is no longer /e once all packages of the layer are in place"
        ):
            build(one, other, third).layers("a c b")

    def test_a_name_of_an_inode_that_another_package_has(self, build):
        one = package("a", files=[file("./f", b"a"), hardlink("./g", "./f"), hardlink("./h", "./f")])
        made = build(one, package("b", files={"g": b"b"}, Replaces="a"))
        (both,) = made.layers("a b")
        assert (both.text("g"), both.text("h")) == ("b", "a")
        assert both.entries["f"].inode == both.entries["h"].inode != both.entries["g"].inode
        _, second = made.layers("a", "b")
        assert own(second) == {"g"}
        assert made.tree.entries["f"].inode == made.tree.entries["h"].inode is not None

    def test_replaces_that_can_not_be_read(self, build):
        made = build(package("a", files={"f": b""}), package("b", files={"f": b""}, Replaces="a (1)"))
        with pytest.raises(InputError, match=r"^b 1\.0: Replaces: "):
            made.layers("a b")


class TestUpgrade:
    OLD = package(
        "lib",
        "1",
        files=[
            folder("./"),
            folder("./lib/"),
            file("./lib/1"),
            folder("./lib/old/"),
            file("./lib/old/f"),
            folder("./lib/shared/"),
            file("./lib/both", b"1"),
            file("./lib/gone.conf", b"old\n"),
        ],
        scripts={"conffiles": "/lib/gone.conf\n", "postrm": "#!/bin/sh\n"},
    )
    NEW = package("lib", "2", files=[folder("./"), folder("./lib/"), file("./lib/2"), file("./lib/both", b"2")])
    OTHER = package("other", files={"lib/shared/f": b""})
    APP = package("app", Depends="lib (>= 2)")

    @pytest.fixture
    def layers(self, build, tmp_path):
        made = build(self.OLD, self.OTHER)
        new = write_feed(tmp_path / "new", [self.NEW, self.APP])
        return made.layers("lib other", "app", feeds=(str(made.feed), str(new)))

    def test_it_is_told(self, layers):
        assert [one.replaces for one in layers[0].packages.new] == ["", ""]
        assert [(one.name, one.version, one.replaces) for one in layers[1].packages.new] == [
            ("lib", "2", "1"),
            ("app", "1.0", ""),
        ]

    def test_what_nobody_owns_any_more_is_removed(self, layers):
        assert set(layers[1].removed) == {"lib/1", "lib/old", DPKG + "info/lib.conffiles", DPKG + "info/lib.postrm"}
        assert layers[1].text("lib/both") == "2"

    def test_the_database(self, layers):
        status = layers[1].text(DPKG + "status")
        assert status.count("Package: lib\n") == 1
        assert "Version: 2\n" in status
        assert re.search("\n /lib/gone.conf [0-9a-f]{32} obsolete\n", status)
        assert layers[1].text(DPKG + "info/lib.list") == "/.\n/lib\n/lib/2\n/lib/both\n/lib/gone.conf\n"

    def test_a_package_of_the_layer_below_is_upgraded_in_top_mode_too(self, build, tmp_path):
        made = build(self.OLD, self.OTHER)
        new = write_feed(tmp_path / "new", [self.NEW, self.APP])
        *_, top = made.layers("lib other", "app", feeds=(str(made.feed), str(new)), database="top")
        status = top.text(DPKG + "status")
        assert sorted(re.findall("Package: (.*)", status)) == ["app", "lib", "other"]
        assert DPKG + "info/lib.postrm" not in top.entries


class TestUpgradeOfFiles:
    """A package and its next version, which another package needs, in two layers."""

    @pytest.fixture
    def upgrade(self, build, tmp_path):
        def layers(old: Made, new: Made, *others: Made, names: str = "") -> list[Layer]:
            self.built = build(old, *others)
            name = new.fields["Package"]
            app = package("app", kind=new.name[-3:], Depends=f"{name} (>= {new.fields['Version']})")
            feed = write_feed(tmp_path / "new", [new, app])
            return self.built.layers(f"{name} {names}", "app", feeds=(str(self.built.feed), str(feed)))

        return layers

    @pytest.mark.parametrize(("names", "removed"), [("", ("d",)), ("q", ())])
    def test_a_directory_that_another_package_ships_too_stays(self, upgrade, names, removed):
        old, other = package("p", "1", files=[folder("./d/")]), package("q", files=[folder("./d/")])
        _, second = upgrade(old, package("p", "2"), other, names=names)
        assert second.removed == removed

    def test_a_file_that_moves_to_where_a_link_led_already(self, upgrade):
        link = package("base", files=[folder("./usr/"), folder("./usr/bin/"), symlink("./bin", "usr/bin")])
        old, new = package("p", "1", files={"bin/x": b"1"}), package("p", "2", files={"usr/bin/x": b"2"})
        _, second = upgrade(old, new, link, names="base")
        assert second.text("usr/bin/x") == "2"
        assert second.removed == ()

    def test_a_link_to_a_directory_that_is_a_directory_now_stays(self, upgrade):
        old = package("p", "1", files=[folder("./e/"), symlink("./d", "e")])
        new = package("p", "2", files=[folder("./e/"), folder("./d/"), file("./d/f")])
        _, second = upgrade(old, new)
        assert (second.removed, own(second)) == ((), {"e", "e/f"})
        assert self.built.tree.entries["d"].target == "e"

    @pytest.mark.parametrize("target", ["nowhere", "d"])
    def test_a_link_that_leads_nowhere_makes_way_for_a_directory(self, upgrade, target):
        old = package("p", "1", files=[symlink("./d", target)])
        upgrade(old, package("p", "2", files=[folder("./d/"), file("./d/f")]))
        assert self.built.tree.entries["d"].kind == DIRECTORY
        assert "d/f" in self.built.tree

    def test_a_file_makes_way_for_a_directory(self, upgrade):
        _, second = upgrade(package("p", "1", files={"d": b""}), package("p", "2", files={"d/f": b"2"}))
        assert (second.removed, own(second)) == ((), {"d", "d/f"})

    @pytest.mark.parametrize("now", [file("./d"), symlink("./d", "e")])
    def test_a_directory_makes_way_where_nothing_is_left_in_it(self, upgrade, now):
        old = package("p", "1", files=[folder("./d/"), folder("./d/e/"), file("./d/e/f"), hardlink("./d/g", "./d/e/f")])
        new, other = package("p", "2", files=[now]), package("q", files={"d/h": b""})
        _, second = upgrade(old, new)
        assert (second.removed, own(second)) == ((), {"d"})
        assert not [path for path in self.built.tree.entries if path.startswith("d/")]
        with pytest.raises(InputError, match=r"^p 2: /d is a \w+; q 1\.0 has a directory there"):
            upgrade(old, new, other, names="q")

    def test_the_names_of_an_inode(self, upgrade):
        old = package("p", "1", files=[file("./a", b"1"), hardlink("./b", "./a"), hardlink("./c", "./a")])
        new = package("p", "2", files=[file("./a", b"2"), hardlink("./b", "./a"), file("./d", b"1")])
        _, second = upgrade(old, new)
        assert own(second) == {"a", "b", "d"}
        assert second.removed == ("c",)
        inodes = [self.built.tree.entries[path].inode for path in "abd"]
        assert inodes[0] == inodes[1] is not None
        assert inodes[2] is None

    def test_a_package_stays_one_that_was_asked_for(self, upgrade):
        upgrade(package("lib", "1"), package("lib", "2"))
        assert "var/lib/apt/extended_states" not in self.built.tree

    def test_alternatives_of_ipk_follow(self, upgrade):
        old, new = "10:/bin/ed:/bin/a,10:/bin/ex:/bin/a,10:/bin/vi:/bin/a", "10:/bin/ed:/bin/a,10:/bin/vi:/bin/b"
        first, second = upgrade(
            package("p", "1", kind="ipk", files={"bin/a": b""}, Alternatives=old),
            package("p", "2", kind="ipk", files={"bin/a": b""}, Alternatives=new),
        )
        assert {"bin/ed", "bin/ex", "bin/vi"} <= set(first.entries)
        assert "bin/ed" not in second.entries
        assert second.entries["bin/vi"].target == "/bin/b"
        assert second.removed == ("bin/ex",)

    def test_what_another_took_over_is_no_longer_its_own(self, upgrade):
        """So it stays where the former owner is upgraded, and goes with the new one."""
        taker = package("taker", files={"f": b"t"}, Replaces="p")
        _, second = upgrade(package("p", "1", files={"f": b"1", "g": b""}), package("p", "2"), taker, names="taker")
        assert second.removed == ("g",)


class TestBase:
    """On top of a base image with a database of its own."""

    LIB = package("lib", "1", files=[folder("./"), folder("./lib/"), file("./lib/1")])
    APP = package("app", files={"bin/app": b"app"}, Depends="lib")

    @pytest.fixture
    def base(self, build):
        made = build(self.LIB)
        made.layers("lib")
        return made.tree

    def test_what_it_has_is_not_installed_again(self, build, base):
        (layer,) = build(self.LIB, self.APP).layers("app lib", base=base)
        assert layer.names == ["app"]
        assert layer.packages.below == ("lib 1",)
        assert "lib/1" not in layer.entries
        assert layer.text(DPKG + "status").count("Package: ") == 2

    def test_a_file_of_one_of_its_packages(self, build, base):
        with pytest.raises(InputError, match=r"^/lib/1 is in bad 1\.0 and in lib 1, which lies below"):
            build(package("bad", files={"lib/1": b""})).layers("bad", base=base)

    def test_a_file_of_nobody(self, build, base):
        base.put("lib/own", base.entries["lib/1"])
        (layer,) = build(package("app", files={"lib/own": b"new"})).layers("app", base=base)
        assert layer.text("lib/own") == "new"

    def test_an_upgrade(self, build, base):
        new = package("lib", "2", files=[folder("./"), folder("./lib/"), file("./lib/2")])
        (layer,) = build(new, package("app", Depends="lib (>= 2)")).layers("app", base=base)
        assert layer.removed == ("lib/1",)
        assert set(layer.entries) >= {"lib", "lib/2", DPKG + "info/lib.list"}

    def test_a_diversion(self, build, base):
        text = b"/bin/sh\n/bin/sh.distrib\ndash\n"
        entry = base.entries[DPKG + "status"]
        base.put(DPKG + "diversions", entry._replace(size=len(text), content=Literal(text)))
        (layer,) = build(package("bash", files={"bin/sh": b"bash"}), package("dash", files={"bin/sh": b"dash"})).layers(
            "bash dash", base=base
        )
        assert layer.text("bin/sh") == "dash"
        assert layer.text("bin/sh.distrib") == "bash"

    def test_diversions_that_lead_to_each_other(self, build, base):
        text = b"/a\n/b\nx\n/b\n/a\ny\n"
        entry = base.entries[DPKG + "status"]
        base.put(DPKG + "diversions", entry._replace(size=len(text), content=Literal(text)))
        (layer,) = build(package("p", files={"a": b"a", "b": b"b"})).layers("p", base=base)
        assert (layer.text("a"), layer.text("b")) == ("b", "a")

    def test_a_diverted_file_of_the_base_has_its_owner(self, build, base):
        entry = base.entries[DPKG + "status"]
        for name, text in ("diversions", b"/lib/1\n/lib/1.real\nother\n"), ("info/lib.list", b"/.\n/lib\n/lib/1\n"):
            base.put(DPKG + name, entry._replace(size=len(text), content=Literal(text)))
        base.put("lib/1.real", base.entries["lib/1"])
        with pytest.raises(InputError, match=r"^/lib/1\.real is in bad 1\.0 and in lib 1, which lies below"):
            build(package("bad", files={"lib/1.real": b""})).layers("bad", base=base)
        new = package("lib", "2", files={"lib/2": b""})
        (layer,) = build(new, package("app", Depends="lib (>= 2)")).layers("app", base=base)
        assert layer.removed == ("lib/1.real",)

    def test_diversions_that_come_and_go_with_layers(self, tmp_path):
        """As scripts of a layer make them; here a package ships them."""
        tree, changed = Tree(), []
        for number, text in enumerate((b"", b"/a\n/a.real\n:\n/b\n/b.real\n:\n", b"")):
            files = {"a": b"%d" % number, **({"b": b""} if number == 0 else {})}
            made = Build(
                tmp_path / str(number),
                [
                    package("diverts", str(number), files={DPKG + "diversions": text}),
                    package("low", str(number), files=files),
                    package("first", str(number), Depends=f"diverts (>= {number})"),
                    package("then", str(number), Depends=f"low (>= {number})"),
                    package(f"ask{number}", Depends=f"first (>= {number})"),
                    package(f"more{number}", Depends=f"then (>= {number})"),
                ],
            )
            changed.append(made.layers(f"ask{number}", f"more{number}", base=tree)[1])
            tree = made.tree
        assert [own(one) for one in changed] == [{"a", "b"}, {"a.real"}, {"a"}]
        # What lies at a diverted path is not the package's any more.
        assert [one.removed for one in changed] == [(), (), ()]

    def test_packages_that_a_lower_layer_has_of_a_rootfs(self, build, base, tmp_path):
        """They are in the database of the image, as those of the base are."""
        for path, entry in base.entries.items():
            target = tmp_path / "root" / path
            if entry.content is None:
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.write_bytes(b"".join(map(bytes, pieces(entry.content))))
        host = HostLayer("system", (HostCopy(str(tmp_path / "root"), "/.", "root"),))
        first, _second, third = build(self.LIB, self.APP, package("other")).layers("other", host, "app")
        assert first.names == ["other"]
        assert third.names == ["app"]
        packages = re.findall("Package: (.*)", third.text(DPKG + "status"))
        assert packages == ["app", "lib", "other"]
        with pytest.raises(InputError, match=r"^/lib/1 is in bad 1\.0 and in lib 1, which lies below"):
            build(package("bad", files={"lib/1": b""})).layers(host, "bad")

    def test_one_of_the_other_format(self, build, base):
        made = build(package("app", kind="ipk"))
        with pytest.raises(InputError, match=r"^the base image has 1 packages in the database of dpkg"):
            made.layers("app", base=base)


class TestConffiles:
    APP = package("app", files={"etc/app.conf": b"new\n"}, scripts={"conffiles": "/etc/app.conf\n"})

    def host(self, tmp_path, text: str) -> HostLayer:
        source = tmp_path / "app.conf"
        source.write_text(text)
        return HostLayer("site", (HostCopy(str(source), "/etc/app.conf", "app.conf"),))

    def test_one_that_is_there_is_kept(self, build, tmp_path):
        _, layer = build(self.APP).layers(self.host(tmp_path, "mine\n"), "app")
        assert "etc/app.conf" not in layer.entries
        assert layer.text("etc/app.conf.dpkg-dist") == "new\n"

    def test_the_same_one(self, build, tmp_path):
        _, layer = build(self.APP).layers(self.host(tmp_path, "new\n"), "app")
        assert "etc/app.conf.dpkg-dist" not in layer.entries

    def test_one_that_is_kept_is_the_packages_own(self, build, tmp_path):
        bad = package("bad", files={"etc/app.conf": b""})
        with pytest.raises(InputError, match=r"^/etc/app\.conf is in bad 1\.0 and in app 1\.0, which lies below"):
            build(self.APP, bad).layers(self.host(tmp_path, "mine\n"), "app", "bad")

    def test_a_link_somebody_made_is_kept(self, build, tmp_path):
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/app.conf").symlink_to("other.conf")
        (tmp_path / "etc/other.conf").write_text("mine\n")
        host = HostLayer("site", (HostCopy(str(tmp_path / "etc"), "/etc", "etc"),))
        _, layer = build(self.APP).layers(host, "app")
        assert own(layer) == {"etc", "etc/app.conf.dpkg-dist"}
        (tmp_path / "etc/other.conf").write_text("new\n")
        _, layer = build(self.APP).layers(host, "app")
        assert own(layer) == set()

    def test_one_that_another_package_takes_over(self, build):
        other = package(
            "other", files={"etc/app.conf": b"other\n"}, scripts={"conffiles": "/etc/app.conf\n"}, Replaces="app"
        )
        _, second = build(self.APP, other).layers("app", "other")
        assert second.text("etc/app.conf") == "other\n"
        assert "etc/app.conf.dpkg-dist" not in second.entries

    @pytest.mark.parametrize(
        ("there", "new", "expected"),
        [
            ("old\n", "new\n", {"etc/app.conf": "new\n"}),
            ("mine\n", "new\n", {"etc/app.conf": "mine\n", "etc/app.conf.dpkg-dist": "new\n"}),
            ("mine\n", "old\n", {"etc/app.conf": "mine\n"}),
            ("new\n", "new\n", {"etc/app.conf": "new\n"}),
            (None, "new\n", {"etc/app.conf.dpkg-dist": "new\n"}),
            (None, "old\n", {}),
        ],
    )
    def test_an_upgrade_leaves_what_somebody_changed_or_removed(self, build, there, new, expected):
        base = self.installed(build)
        if there is None:
            base.drop(["etc/app.conf"])
        else:
            entry = base.entries["etc/app.conf"]
            base.put("etc/app.conf", entry._replace(mode=0o600, size=len(there), content=Literal(there.encode())))
        made = build(*self.newer({"etc/app.conf": new.encode()}, "/etc/app.conf\n"))
        made.layers("needs", base=base)
        entries = {path: made.tree.entries[path] for path in made.tree.entries if path.startswith("etc/")}
        assert {path: entry.content.data.decode() for path, entry in entries.items()} == expected
        if there is not None:
            assert {entry.mode for entry in entries.values()} == {0o600}

    def installed(self, build) -> Tree:
        old = package("app", "0.9", files={"etc/app.conf": b"old\n"}, scripts={"conffiles": "/etc/app.conf\n"})
        made = build(old)
        made.layers("app")
        return made.tree

    def newer(self, files: dict[str, bytes], conffiles: str = "") -> list[Made]:
        scripts = {"conffiles": conffiles} if conffiles else {}
        return [package("app", "1", files=files, scripts=scripts), package("needs", Depends="app (>= 1)")]

    def test_one_that_is_an_ordinary_file_now(self, build):
        base = self.installed(build)
        (layer,) = build(*self.newer({"etc/app.conf": b"new\n"})).layers("needs", base=base)
        assert layer.text("etc/app.conf") == "new\n"
        assert "Conffiles" not in layer.text(DPKG + "status")

    def test_one_that_the_new_version_lacks_may_be_another_packages(self, build):
        base = self.installed(build)
        other = package("other", files={"etc/app.conf": b"new\n"}, scripts={"conffiles": "/etc/app.conf\n"})
        first, second = build(*self.newer({}), other).layers("needs", "other", base=base)
        assert first.text(DPKG + "info/app.list") == "/.\n/etc/app.conf\n"
        assert second.text("etc/app.conf") == "new\n"

    def test_of_a_package_that_was_removed(self, build):
        """Its configuration is anyone's, and known when it comes back."""
        base = self.installed(build)
        status = base.entries[DPKG + "status"]
        text = status.content.data.replace(b"install ok installed", b"deinstall ok config-files")
        base.put(DPKG + "status", status._replace(size=len(text), content=Literal(text)))
        (layer,) = build(self.APP).layers("app", base=base)
        assert layer.text("etc/app.conf") == "new\n"
        assert layer.text(DPKG + "status").count("Package: ") == 1
        (layer,) = build(package("other", files={"etc/app.conf": b"other\n"})).layers("other", base=base)
        assert layer.text("etc/app.conf") == "other\n"

    def test_the_database_has_their_sums(self, build):
        (layer,) = build(self.APP).layers("app")
        assert "\n /etc/app.conf 9cd599a3523898e6a12e13ec787da50a\n" in layer.text(DPKG + "status")


class TestDatabase:
    ONE = package("one", files={"f": b"1"})
    TWO = package("two", files={"g": b"2"}, Depends="one")

    def test_keep(self, build):
        first, second = build(self.ONE, self.TWO).layers("one", "two")
        assert "Package: one" in first.text(DPKG + "status")
        assert "Package: two" not in first.text(DPKG + "status")
        assert "Package: one" in second.text(DPKG + "status")
        assert "Package: two" in second.text(DPKG + "status")

    def test_top(self, build):
        first, second, top = build(self.ONE, self.TWO).layers("one", "two", database="top")
        assert set(first.entries) == {"", "f"} or set(first.entries) == {"f"}
        assert "g" in second.entries
        assert "Package: two" in top.text(DPKG + "status")
        assert "Package: one" in top.text(DPKG + "status")
        assert not {"f", "g"} & set(top.entries)

    def test_remove(self, build):
        first, second = build(self.ONE, self.TWO).layers("one", "two", database="remove")
        assert not any(path.startswith("var") for path in (*first.entries, *second.entries))

    def test_status_d_leaves_a_layer_the_same_whatever_lies_below(self, build):
        other = package("other", files={"h": b""})
        made = build(self.ONE, self.TWO, other)
        _, one = made.layers("other", "one", database="status.d")
        (same,) = made.layers("one", database="status.d")
        assert one.entries == same.entries
        assert one.text(DPKG + "status.d/one").startswith("Package: one\n")

    @pytest.mark.parametrize("database", ["status.d", "remove", "top"])
    def test_times_of_directories_below_do_not_count(self, build, database):
        below = package("below", files=[folder("./", mtime=1), folder("./opt/", mtime=2), folder("./var/", mtime=3)])
        made = build(below, package("one", files=[file("./opt/one/f"), file("./opt/g")]))
        _, one, *_ = made.layers("below", "one", database=database, epoch=7)
        (same, *_) = made.layers("one", database=database, epoch=7)
        assert list(one.entries.items()) == list(same.entries.items())

    def test_top_after_another_package_took_a_file_over(self, build):
        taker = package("taker", files={"f": b"t"}, Replaces="one")
        *_, top = build(package("one", files={"f": b"1", "g": b""}), taker).layers("one", "taker", database="top")
        assert top.text(DPKG + "info/one.list") == "/.\n/g\n"
        assert top.text(DPKG + "info/one.md5sums").split()[1] == "g"

    def test_top_lets_go_of_the_bytes(self, build, monkeypatch):
        made = build(self.ONE, self.TWO)
        monkeypatch.setattr(Payload, "_read_again", lambda _: pytest.fail("read twice"))
        *_, top = made.layers("one", "two", database="top")
        assert re.fullmatch("[0-9a-f]{32}  f\n", top.text(DPKG + "info/one.md5sums"))

    @pytest.mark.parametrize("database", ["keep", "top", "status.d", "remove"])
    def test_a_layer_that_installs_nothing(self, build, database):
        made = build(self.ONE, self.TWO)
        _, nothing, *_ = made.layers("one", "one", "two", database=database)
        *_, last = made.layers("one", base=made.tree, database=database)
        assert nothing.left_out == last.left_out == "it changes nothing"

    @pytest.mark.parametrize("below", ["keep", "status.d"])
    @pytest.mark.parametrize("database", ["keep", "top", "status.d"])
    def test_on_a_base_of_every_form(self, build, below, database):
        made = build(self.ONE, self.TWO)
        made.layers("one", database=below)
        made.layers("two", base=made.tree, database=database)
        found = dpkg.read(made.tree)
        assert sorted(one.name for one in found) == ["one", "two"]
        assert {dpkg.files_of(made.tree, one) for one in found} == {("f",), ("g",)}

    def test_the_packages_of_an_ipk_feed_are_opkgs(self, build):
        (layer,) = build(package("one", arch="core2-64", kind="ipk", files={"f": b"1"}), index="Packages.gz").layers(
            "one"
        )
        assert "Status: install user installed" in layer.text(
            "var/lib/opkg/status"
        ) or "Status: install ok installed" in layer.text("var/lib/opkg/status")

    def test_alternatives_of_ipk(self, build):
        vi = package("busybox", kind="ipk", files={"bin/busybox": b""}, Alternatives="100:/usr/bin/vi:/bin/busybox")
        vim = package("vim", kind="ipk", files={"usr/bin/vim": b""}, Alternatives="200:/usr/bin/vi:/usr/bin/vim")
        first, second = build(vi, vim).layers("busybox", "vim")
        assert first.entries["usr/bin/vi"].target == "/bin/busybox"
        assert second.entries["usr/bin/vi"].target == "/usr/bin/vim"
        second, first = build(vi, vim).layers("vim", "busybox")
        assert second.entries["usr/bin/vi"].target == "/usr/bin/vim"
        assert "usr/bin/vi" not in first.entries


class TestHostile:
    """One clear error each, or the right result."""

    def test_the_database_of_a_package(self, build):
        files = {DPKG + "status": b"Package: no\n\n", DPKG + "info/a.list": b"/no\n", DPKG + "info/no.list": b"/no\n"}
        made = build(package("a", files=files), package("b"))
        first, second = made.layers("a", "b")
        for layer in (first, second):
            assert "Package: no" not in layer.text(DPKG + "status")
        assert first.text(DPKG + "info/a.list").startswith("/.\n/var\n")
        with pytest.raises(InputError, match=r"^/var/lib/dpkg/status: line 1: "):
            made.layers("a", "b", database="status.d")

    @pytest.mark.parametrize(
        "what", [folder("./var/lib/dpkg/status/"), file("./var/lib/dpkg"), symlink("./var", "var")]
    )
    def test_something_in_the_way_of_the_database(self, build, what):
        with pytest.raises(InputError, match=r"^/var/lib/dpkg/[^ ]*: can not be written, as a \w+ is in the way"):
            build(package("a", files=[what])).layers("a")

    def test_the_database_behind_a_link(self, build):
        made = build(package("a", files=[symlink("./var/lib/dpkg", "/tmp/../../x")]), package("b"))
        first, second = made.layers("a", "b")
        assert "Package: a" in first.text("x/status")
        assert "Package: b" in second.text("x/status")

    @pytest.mark.parametrize(
        "what",
        [
            symlink("./etc/passwd", "passwd"),
            Member("./etc/passwd", kind=tarfile.CHRTYPE, device=(1, 3)),
            folder("./etc/passwd/"),
            file("./etc"),
        ],
    )
    def test_accounts_that_can_not_be_written(self, build, what):
        declared = Accounts((User("shop", 70, "", "/nonexistent", "/usr/sbin/nologin"),), ())
        made = build(package("a", files=[what, Owned("./f", b"", uid=9, user="shop")]))
        with pytest.raises(InputError, match=r"^/etc(/passwd)? is a \w+: OCI_IMAGE_ACCOUNTS needs a \w+ there"):
            made.layers("a", accounts=declared)
        (layer,) = made.layers("a")
        assert layer.entries["f"].uid == 9

    def test_accounts_behind_a_link_out_of_the_root(self, build):
        declared = Accounts((User("shop", 70, "", "/nonexistent", "/usr/sbin/nologin"),), ())
        (layer,) = build(package("a", files=[symlink("./etc/passwd", "../../../tmp/passwd")])).layers(
            "a", accounts=declared
        )
        assert "shop:x:70:70" in layer.text("tmp/passwd")

    def test_an_alternative_below_a_file(self, build):
        bad = package("a", kind="ipk", files={"bin/a": b""}, Alternatives="1:/bin/a/b:/bin/a")
        with pytest.raises(InputError, match=r"^/bin/a/b: is an alternative, but /bin/a is a file"):
            build(bad).layers("a")

    def test_a_new_version_of_a_file_where_a_directory_is(self, build, tmp_path):
        (tmp_path / "etc/a.dpkg-dist/d").mkdir(parents=True)
        (tmp_path / "etc/a").write_text("mine\n")
        host = HostLayer("site", (HostCopy(str(tmp_path / "etc"), "/etc", "etc"),))
        made = build(package("a", files={"etc/a": b"new\n"}, scripts={"conffiles": "/etc/a\n"}))
        with pytest.raises(InputError, match=r"^a 1\.0: /etc/a is a file, where there is a directory with files"):
            made.layers(host, "a")
