# SPDX-License-Identifier: MIT
"""Layers of packages, from feeds on disk to what each layer holds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support.configs import PACKAGES, config
from support.layouts import file, folder, hardlink, symlink
from support.packages import Made, Owned, package, write_feed, xattrs

from oe_oci.config import Accounts, DatabaseLayer, Group, HostCopy, HostLayer, PackagesLayer, User
from oe_oci.content import Literal, pieces
from oe_oci.delta import apply
from oe_oci.errors import ConfigError, InputError
from oe_oci.packages.feed import open_feeds
from oe_oci.packages.installer import Installer
from oe_oci.packages.payload import Payloads
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
            installer = Installer(asked, feeds, below, lambda packages: payloads.read(packages, 2))
            for planned in plan_layers(asked, Inputs(below, None, installer)):
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
