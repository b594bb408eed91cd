# SPDX-License-Identifier: MIT
"""Layers of rpm packages, from feeds on disk to what each layer holds."""

from __future__ import annotations

import contextlib
import stat

import pytest
from support import trees
from support.packages import package as other_package
from support.packages import write_feed
from support.rpmlayers import DATABASE, Build, text
from support.rpms import CONFIG, GHOST, NOREPLACE, STRING, File, Made, device, file, folder, ghost, package, symlink

from oe_oci.config import Accounts, Group, HostCopy, HostLayer, User
from oe_oci.errors import ConfigError, InputError
from oe_oci.packages import dpkg, feed, installer
from oe_oci.packages.owners import Owners
from oe_oci.packages.rpm import database, tags
from oe_oci.packages.rpm import installer as rpm_installer
from oe_oci.packages.rpm.header import Header
from oe_oci.tree import Tree

KEPT = CONFIG | NOREPLACE
PASSWD = [
    file("/etc/passwd", b"root:x:0:0::/:/bin/sh\nwww:x:33:33::/:/bin/sh\n"),
    file("/etc/group", b"root:x:0:\nadm:x:4:\n"),
]


@pytest.fixture
def build(tmp_path):
    def made(*packages: Made) -> Build:
        return Build(tmp_path / "feed", packages)

    return made


def old(*files: File, name: str = "a", **words) -> Made:
    return package(name, "1-1", given=files, **words)


def new(*files: File, name: str = "a", **words) -> Made:
    return package(name, "2-1", given=files, **words)


WANTS = package("wants", requires=["a = 2-1"])


class TestLayers:
    def test_each_holds_what_those_below_lack(self, build):
        base = package("base", given={"usr/bin/sh": b"sh"})
        lib = package("lib", "1:2.0-3", given={"usr/lib/lib.so": b"lib"}, requires=["base"])
        app = package("app", given={"usr/bin/app": b"app"}, requires=["lib >= 1:2", "/usr/bin/sh"])
        made = build(base, lib, app)
        first, second = made.layers("base", "app")
        assert first.names == ["base"]
        assert second.names == ["lib", "app"]
        assert first.own == {"usr", "usr/bin", "usr/bin/sh"}
        assert second.own == {"usr", "usr/bin", "usr/bin/app", "usr/lib", "usr/lib/lib.so"}
        assert made.installed == {"base": "1.0-1", "lib": "1:2.0-3", "app": "1.0-1"}

    def test_what_is_below_already_is_told(self, build):
        _, second = build(package("a", given={"f": b""})).layers("a", "a")
        assert second.packages.new == ()
        assert second.packages.below == ("a 1.0-1",)
        assert second.left_out == "it changes nothing"

    def test_every_unknown_name_of_every_layer(self, build):
        with pytest.raises(ConfigError) as caught:
            build(package("libc6")).layers("libc7", "libc6 nothing")
        assert [fault.message for fault in caught.value.faults] == [
            "layer 'l0': no feed has a package 'libc7'",
            "layer 'l1': no feed has a package 'nothing'",
        ]

    def test_each_is_chosen_in_a_world_that_is_made_once(self, build, monkeypatch):
        worlds = []
        world = rpm_installer.World
        monkeypatch.setattr(rpm_installer, "World", lambda *given: worlds.append(given) or world(*given))
        made = build(package("a"), package("b"), package("c", requires=["b"]))
        assert [layer.names for layer in made.layers("a", "b", "c")] == [["a"], ["b"], ["c"]]
        assert [len(installed) for _, installed, _ in worlds] == [0, 1, 2]

    def test_reasons_and_scripts_are_told(self, build):
        lib = package("lib", tags={1023: (STRING, "true"), 1024: (STRING, "true"), 1026: (STRING, "true")})
        (layer,) = build(lib, package("app", requires=["lib"])).layers("app")
        first, second = layer.packages.new
        assert (first.name, first.asked_by, first.scripts) == ("lib", "app", ("prein", "postin"))
        assert (second.name, second.asked_by, second.scripts) == ("app", "", ())

    def test_a_base_with_packages_of_another_format(self, build):
        base = trees.tree(var__lib__dpkg__status=b"Package: a\nStatus: install ok installed\nVersion: 1\n"
                          b"Architecture: all\n\n")  # fmt: skip
        with pytest.raises(InputError, match="has 1 packages in the database of dpkg, and the feeds hold rpm packages"):
            build(package("a")).layers("a", base=base)


def test_packages_of_another_format_on_rpms(build, tmp_path):
    made = build(package("a", given={"f": b""}))
    made.layers("a")
    place = write_feed(tmp_path / "debs", [other_package("b")])
    debs = feed.open_feeds([str(place)], kind=None, archs=None, native="amd64", remember=None, limit=None)
    with pytest.raises(InputError, match="has 1 packages in the database of rpm, and the feeds hold deb packages"):
        installer.Installer(trees_config(), debs, made.tree, lambda _packages: [])
    assert dpkg.read(made.tree) == ()


def trees_config():
    from support.configs import config

    return config()


class TestFacts:
    def test_are_kept(self, build):
        files = [
            folder("/usr/bin", 0o2755),
            file("/usr/bin/su", b"su", 0o4755, link="1", mtime=1000),
            file("/usr/sbin/sudo", b"su", 0o4755, link="1", mtime=1000),
            file("/usr/bin/ping", b"ping", caps="cap_net_raw=ep"),
            symlink("/usr/bin/ln", "su"),
            device("/dev/null", 1, 3),
            File("/run/fifo", mode=stat.S_IFIFO | 0o620),  # over which rpm 4.18 itself hangs
        ]
        (layer,) = build(package("a", given=files)).layers("a", epoch=2000)
        su, sudo = layer.entries["usr/bin/su"], layer.entries["usr/sbin/sudo"]
        assert (su.mode, su.mtime) == (0o4755, 1000)
        assert su.inode == sudo.inode is not None
        assert layer.entries["usr/bin"].mode == 0o2755
        assert [name for name, _ in layer.entries["usr/bin/ping"].xattrs] == ["security.capability"]
        assert layer.entries["usr/bin/ln"].target == "su"
        assert layer.entries["dev/null"].device == (1, 3)
        assert layer.entries["run/fifo"][:2] == ("fifo", 0o620)

    @pytest.mark.parametrize(("epoch", "mtime"), [(None, 1000), (500, 500), (2000, 1000)])
    def test_a_time_is_the_packages_own_and_at_most_the_epoch(self, build, epoch, mtime):
        (layer,) = build(package("a", given=[file("/f", mtime=1000)])).layers("a", epoch=epoch)
        assert layer.entries["f"].mtime == mtime
        assert layer.entries[DATABASE].mtime == (epoch or 0)

    def test_directories_nobody_ships_are_made(self, build):
        (layer,) = build(package("a", given=[file("/opt/a/f")])).layers("a", epoch=7)
        assert [layer.entries[path][:5] for path in ("opt", "opt/a")] == [("directory", 0o755, 0, 0, 7)] * 2

    def test_the_root_itself(self, build):
        (layer,) = build(package("a", given=[folder("/", 0o555), file("/f")])).layers("a")
        assert layer.entries[""].mode == 0o555

    def test_a_directory_has_those_of_its_package_whatever_lies_below(self, build):
        (layer,) = build(package("a", given=[folder("/d", 0o700)])).layers("a", base=trees.tree(d__f=b""))
        assert layer.entries["d"].mode == 0o700


class TestOwners:
    FILES = (file("/f", b"", 0o4755, user="www", group="adm"), folder("/d", user="www"))

    def test_by_name_are_those_of_the_image(self, build):
        made = build(package("base", given=PASSWD), package("a", given=self.FILES))
        for names in (["a base"], ["base", "a"]):
            *_, layer = made.layers(*names)
            assert [layer.entries[path][1:4] for path in ("f", "d")] == [(0o4755, 33, 4), (0o755, 33, 0)]

    def test_root_is_0_whatever_the_image_says(self, build):
        (layer,) = build(package("a", given=[file("/f")])).layers(
            "a", base=trees.tree(etc__passwd=b"root:x:7:7::/:/\n")
        )
        assert layer.entries["f"][2:4] == (0, 0)

    def test_that_are_declared(self, build):
        declared = Accounts((User("www", 70, "", "/nonexistent", "/sbin/nologin"),), (Group("adm", 71),))
        layer, _ = build(package("a", given=self.FILES), package("b")).layers("a", "b", accounts=declared)
        assert layer.entries["f"][2:4] == (70, 71)
        assert "www:x:70:70" in layer.text("etc/passwd")

    def test_that_nothing_knows_are_an_error_and_never_root(self, build):
        with pytest.raises(ConfigError) as caught:
            build(package("a", given=self.FILES)).layers("a")
        assert [fault.message for fault in caught.value.faults] == [
            "layer 'l0': a 1.0-1: /d is of the user 'www', which the image does not have",
            "layer 'l0': a 1.0-1: /f is of the group 'adm', which the image does not have",
        ]
        assert all(fault.where == "OCI_IMAGE_ACCOUNTS" for fault in caught.value.faults)
        assert caught.value.faults[0].hint.startswith("declare it: user:www:NUMBER; what a package's scripts")


class TestTwoPackages:
    @pytest.mark.parametrize("layers", [["a b"], ["a", "b"]])
    @pytest.mark.parametrize(
        ("one", "other", "what"),
        [
            (file("/x", b"1"), file("/x", b"2"), "other content"),
            (file("/x"), file("/x", mode=0o600), "mode 0600 and 0644"),
            (file("/x"), file("/x", user="www"), "user 'www' and 'root'"),
            (folder("/x"), folder("/x", group="adm"), "group 'adm' and 'root'"),
            (folder("/x"), folder("/x", 0o700), "mode 0700 and 0755"),
            (symlink("/x", "1"), symlink("/x", "2"), "link to '2' and to '1'"),
            (file("/x"), symlink("/x", "1"), "a symlink and a file"),
            (file("/x"), folder("/x"), "a directory and a file"),
            (device("/x", 1, 3), device("/x", 1, 5), "device numbers"),
        ],
    )
    def test_what_differs_can_not_be_shared(self, build, layers, one, other, what):
        made = build(package("a", given=[one]), package("b", given=[other]))
        lies = ", which lies below" if len(layers) == 2 else ""
        with pytest.raises(InputError) as caught:
            made.layers(*layers)
        assert caught.value.message == f"/x is in b 1.0-1 and in a 1.0-1{lies}, and differs: {what}"

    def test_of_two_architectures_that_is_said(self, build):
        made = build(
            package("a", arch="x86_64", given=[file("/x", b"1")]), package("b", arch="i686", given=[file("/x")])
        )
        with pytest.raises(
            InputError, match=r"^/x is in b .* and differs: other content\n  they are for i686 and for x86_64"
        ):
            made.layers("a b", archs=("noarch", "i686", "x86_64"))

    def test_one_directory_of_many(self, build):
        """Who owns it with other facts is found among those with the same."""
        made = build(
            *(package(f"p{number}", given=[folder("/d")]) for number in range(20)),
            package("b", given=[folder("/d", 0o700)]),
        )
        with pytest.raises(InputError, match=r"^/d is in b 1\.0-1 and in p0 1\.0-1, which lies below"):
            made.layers(" ".join(f"p{number}" for number in range(20)), "b")

    @pytest.mark.parametrize("shared", [file("/x"), folder("/x", 0o700), symlink("/x", "y"), device("/x", 1, 3)])
    def test_what_is_the_same_is_shared_whatever_its_time(self, build, shared):
        made = build(old(shared), package("b", given=[file("/f"), shared]), package("c"))
        first, second, _ = made.layers("a", "b", "c", epoch=None)
        assert "x" in first.own
        assert second.own == {"f"}

    @pytest.mark.parametrize("layers", [["a b"], ["b a"], ["a", "b"], ["b", "a"]])
    def test_a_ghost_shares_with_everything(self, build, layers):
        made = build(package("a", given=[ghost("/x")]), package("b", given=[file("/x", b"b", 0o600)]))
        made.layers(*layers)
        assert text(made.tree.entries["x"]) == "b"

    def test_behind_a_link(self, build):
        links = package("l", given=[folder("/usr/bin"), symlink("/bin", "usr/bin")])
        made = build(links, package("a", given={"bin/f": b"1"}), package("b", given={"usr/bin/f": b"2"}))
        for layers in (["l a b"], ["l", "a", "b"]):
            with pytest.raises(InputError, match=r"^/usr/bin/f is in b 1\.0-1 and in a 1\.0-1"):
                made.layers(*layers)

    def test_a_file_where_a_directory_is(self, build):
        for content in ({"x": b""}, [symlink("/x", "y")]):
            with pytest.raises(InputError, match=r"^a 1\.0-1: /x is a (file|symlink), where there is a directory"):
                build(package("a", given=content)).layers("a", base=trees.tree(x=trees.directory()))

    def test_names_of_an_inode_that_are_shared(self, build):
        made = build(old(file("/d/f")), package("b", given=[file("/d/f", link="1"), file("/e/f", link="1")]))
        made.layers("a b")
        assert made.tree.entries["d/f"].inode is None
        _, second = made.layers("a", "b")
        assert second.entries["d/f"].inode == second.entries["e/f"].inode is not None


class TestMergedUsr:
    BASE = package("base", given=[folder("/usr/bin"), symlink("/bin", "usr/bin")])
    TOOL = package("tool", given=[file("/bin/tool"), symlink("/bin/t", "tool")])

    @pytest.mark.parametrize("layers", [["base tool"], ["tool base"], ["base", "tool"]])
    def test_files_lie_where_the_link_leads(self, build, layers):
        made = build(self.BASE, self.TOOL)
        made.layers(*layers)
        assert {"usr/bin/tool", "usr/bin/t"} <= set(made.tree.entries)
        assert made.tree.entries["bin"].target == "usr/bin"

    def test_a_directory_that_is_a_link_below_gives_its_facts_to_what_that_leads_to(self, build):
        tool = package("tool", given=[folder("/bin", 0o700)])
        (layer,) = build(tool).layers("tool", base=trees.tree(bin="usr/bin", usr__bin__f=b""))
        assert "bin" not in layer.entries
        assert layer.entries["usr/bin"].mode == 0o700

    def test_a_link_below_stays_when_who_called_it_a_directory_goes(self, build, tmp_path):
        first = build(old(folder("/bin"), file("/bin/f")))
        first.layers("a", base=trees.tree(bin="usr/bin", usr__bin__g=b""))
        second = Build(tmp_path / "second", [new(), WANTS])
        (layer,) = second.layers("wants", base=first.tree)
        assert layer.removed == ("usr/bin/f",)


class TestUnowned:
    """What lies below and belongs to no package."""

    def layer(self, build, given, below):
        (layer,) = build(package("a", given=[given])).layers("a", base=trees.tree(x=below))
        return layer

    def test_a_file_makes_way(self, build):
        assert self.layer(build, file("/x", b"new"), b"old").text("x") == "new"

    def test_a_configuration_file_is_put_aside(self, build):
        layer = self.layer(build, file("/x", b"new", flags=CONFIG), b"old")
        assert (layer.text("x"), layer.text("x.rpmorig")) == ("new", "old")

    def test_or_the_new_one_is_put_beside_it(self, build):
        layer = self.layer(build, file("/x", b"new", flags=KEPT), b"old")
        assert layer.own == {"x.rpmnew"}
        assert layer.text("x.rpmnew") == "new"

    @pytest.mark.parametrize("flags", [CONFIG, KEPT])
    def test_unless_they_are_the_same(self, build, flags):
        assert self.layer(build, file("/x", b"same", flags=flags), b"same").own == set()

    def test_where_a_ghost_belongs_it_is_left_alone(self, build):
        assert self.layer(build, ghost("/x"), b"mine").own == set()


class TestUpgrade:
    @pytest.fixture
    def upgraded(self, build, tmp_path):
        """The last of three layers: the old package, a file of the host, the new package with what wants it."""

        def made(one: Made, other: Made, *others: Made, change: bytes | None = None, remove: str = ""):
            first = build(one, *others)
            first.layers(" ".join(["a", *(made.name for made in others)]))
            below = dict(first.tree.entries)
            if change is not None:
                below["x"] = trees.file(change)
            if remove:
                del below[remove]
            second = Build(tmp_path / "second", [other, WANTS])
            layers = second.layers("wants", base=Tree(below))
            return second, layers[0]

        return made

    def test_it_is_told(self, upgraded):
        _, layer = upgraded(old(), new())
        assert {one.name: one.replaces for one in layer.packages.new} == {"a": "1-1", "wants": ""}

    def test_what_nobody_owns_any_more_goes(self, upgraded):
        shared = package("b", given=[folder("/d"), file("/d/both")])
        files = [folder("/d"), file("/d/f"), file("/d/both"), folder("/e"), file("/e/f")]
        _, layer = upgraded(old(*files), new(file("/d/g")), shared)
        assert set(layer.removed) == {"d/f", "e"}

    def test_a_directory_with_something_in_it_stays(self, upgraded):
        made, layer = upgraded(old(folder("/d"), file("/d/f")), new(), package("b", given={"d/b": b""}))
        assert layer.removed == ("d/f",)
        assert "d/b" in made.tree

    @pytest.mark.parametrize(
        ("flags", "change", "files"),
        [
            (CONFIG, b"old", {"x": "new"}),
            (CONFIG, b"new", {}),
            (CONFIG, b"mine", {"x": "new", "x.rpmsave": "mine"}),
            (KEPT, b"old", {"x": "new"}),
            (KEPT, b"new", {}),
            (KEPT, b"mine", {"x.rpmnew": "new"}),
        ],
    )
    def test_a_configuration_file(self, upgraded, flags, change, files):
        _, layer = upgraded(old(file("/x", b"old", flags=flags)), new(file("/x", b"new", flags=flags)), change=change)
        assert {path: layer.text(path) for path in layer.own} == files
        assert layer.removed == ()

    @pytest.mark.parametrize("flags", [CONFIG, KEPT])
    def test_a_configuration_file_that_did_not_change_stays_as_somebody_made_it(self, upgraded, flags):
        files = [file("/x", b"same", flags=flags)]
        _, layer = upgraded(old(*files), new(*files), change=b"mine")
        assert layer.own == set()

    def test_a_configuration_file_that_somebody_removed_comes_again(self, upgraded):
        _, layer = upgraded(old(file("/x", b"1", flags=KEPT)), new(file("/x", b"2", flags=KEPT)), remove="x")
        assert layer.own == {"x"}

    def test_unless_it_may_be_missing(self, upgraded):
        flags = KEPT | 8
        _, layer = upgraded(old(file("/x", b"1", flags=flags)), new(file("/x", b"2", flags=flags)), remove="x")
        assert layer.own == set()

    @pytest.mark.parametrize(("change", "removed"), [(b"old", ("x",)), (b"mine", ("x",))])
    def test_a_configuration_file_that_is_dropped(self, upgraded, change, removed):
        _, layer = upgraded(old(file("/x", b"old", flags=CONFIG)), new(), change=change)
        assert layer.removed == removed
        assert layer.own == ({"x.rpmsave"} if change == b"mine" else set())

    def test_a_ghost_that_is_dropped_goes_but_a_configuration_file_among_them(self, upgraded):
        _, layer = upgraded(old(ghost("/x")), new(), change=b"mine")
        assert layer.removed == ("x",)
        _, layer = upgraded(old(File("/x", flags=GHOST | CONFIG)), new(), change=b"mine")
        assert layer.removed == ()

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ([folder("/x")], [file("/x")]),
            ([folder("/x"), file("/x/f")], [symlink("/x", "y")]),
            ([folder("/y"), symlink("/x", "y")], [folder("/x"), file("/x/f")]),
        ],
    )
    def test_a_directory_that_would_become_something_else(self, upgraded, before, after):
        with pytest.raises(InputError, match=r"^/x is in a 2-1 and in a 1-1, which lies below, and differs: "):
            upgraded(old(*before), new(*after))

    def test_a_file_that_becomes_a_directory(self, upgraded):
        made, _ = upgraded(old(file("/x")), new(folder("/x"), file("/x/f")))
        assert made.tree.entries["x/f"].kind == "file"

    def test_of_many_files_behind_a_link_each_is_looked_up_alone(self, upgraded, monkeypatch):
        asked = []
        paths = Owners.paths
        monkeypatch.setattr(Owners, "paths", lambda owners, one: asked.append(one) or paths(owners, one))
        link = package("root", given=[folder("/usr/lib"), symlink("/lib", "usr/lib")])
        before, after = ([file(f"/lib/f{number}", data) for number in range(50)] for data in (b"1", b"2"))
        _, layer = upgraded(old(*before, requires=["root"]), new(*after), link)
        assert {layer.text(f"usr/lib/f{number}") for number in range(50)} == {"2"}
        # All that a package has: read once to erase it, once to know what lies behind links.
        assert len([one for one in asked if one.version == "1-1"]) == 2

    def test_a_file_that_moves_to_another_package(self, build, tmp_path):
        first = build(old(file("/x", b"a")))
        first.layers("a")
        taker = package("wants", given=[file("/x", b"b")], requires=["a = 2-1"])
        second = Build(tmp_path / "second", [new(), taker])
        (layer,) = second.layers("wants", base=first.tree)
        assert layer.text("x") == "b"

    def test_obsoletes_takes_the_place_of_several(self, build, tmp_path):
        first = build(old(file("/a")), package("b", "3-1", given={"b": b"", "both": b"1"}))
        first.layers("a b")
        heir = package("heir", given={"both": b"2"}, obsoletes=["a", "b < 4"], provides=["a = 9", "b = 9"])
        second = Build(tmp_path / "second", [heir])
        (layer,) = second.layers("heir", base=first.tree)
        assert set(layer.removed) == {"a", "b"}
        assert layer.text("both") == "2"
        assert second.installed == {"heir": "1.0-1"}
        assert sorted(layer.packages.new[0].replaces.split(", ")) == ["a 1-1", "b 3-1"]


def tool(name: str, color: int, **facts) -> Made:
    return package(name, given=[file("/bin/tool", name.encode(), color=color, **facts), file(f"/lib/{name}")])


def states(made: Build) -> dict[str, tuple[int, ...]]:
    """What the database says of the states of files, by the packages' names."""
    return {one.name: one.header.numbers(tags.FILESTATES) for one in database.read(made.tree) if one.header}


class TestColors:
    @pytest.mark.parametrize("layers", [["w n"], ["w", "n"], ["n", "w"]])
    @pytest.mark.parametrize(("color", "kept", "other"), [(2, "w", "n"), (1, "n", "w")])
    def test_the_preferred_one_stays(self, build, layers, color, kept, other):
        made = build(tool("n", 1), tool("w", 2))
        made.layers(*layers, prefer_color=color)
        assert text(made.tree.entries["bin/tool"]) == kept
        assert states(made) == {kept: (0, 0), other: (4, 0)}

    def test_what_is_hidden_does_not_go_with_its_package(self, build, tmp_path):
        first = build(tool("w", 2), tool("n", 1))
        first.layers("n", "w")
        second = Build(tmp_path / "second", [package("n", "2-1"), package("wants", requires=["n = 2-1"])])
        (layer,) = second.layers("wants", base=first.tree)
        assert layer.removed == ("lib/n",)
        assert text(second.tree.entries["bin/tool"]) == "w"

    @pytest.mark.parametrize("database", ["top", "remove"])
    def test_it_is_so_without_a_database_in_the_layers(self, build, database):
        made = build(tool("n", 1), tool("w", 2))
        made.layers("n", "w", database=database)
        assert text(made.tree.entries["bin/tool"]) == "w"
        assert states(made) == ({"w": (0, 0), "n": (4, 0)} if database == "top" else {})

    @pytest.mark.parametrize("layers", [["a b"], ["a", "b"]])
    @pytest.mark.parametrize(("one", "other"), [(0, 2), (1, 1), (1, 4), (8, 2)])
    def test_where_no_colour_tells_it_is_an_error(self, build, layers, one, other):
        with pytest.raises(InputError, match=r"/bin/tool is in . 1\.0-1 and in . 1\.0-1.*, and differs: other content"):
            build(tool("a", one), tool("b", other)).layers(*layers)

    @pytest.mark.parametrize("layers", [["a b"], ["b a"], ["a", "b"], ["b", "a"]])
    @pytest.mark.parametrize("color", [1, 2])
    @pytest.mark.parametrize("other", [folder("/x", color=2), symlink("/x", "y", color=2), device("/x", 1, 3, color=2)])
    def test_of_what_can_not_have_one(self, build, layers, color, other):
        """Such a header is nobody's, and what becomes of it is a layer or an error."""
        made = build(package("a", given=[file("/x", color=1), file("/y")]), package("b", given=[other]))
        with contextlib.suppress(InputError):
            made.layers(*layers, prefer_color=color)
            assert made.tree.entries["x"].kind in ("file", "symlink", "char", "directory")


class TestDatabase:
    def made(self, build) -> Build:
        return build(package("a", given={"d/a": b"a"}), package("b", given={"d/b": b"b"}))

    def test_keep(self, build):
        made = self.made(build)
        first, second = made.layers("a", "b")
        assert DATABASE in first.entries
        assert DATABASE in second.entries
        assert made.installed == {"a": "1.0-1", "b": "1.0-1"}

    def test_top(self, build):
        made = self.made(build)
        first, second, top = made.layers("a", "b", database="top")
        assert (DATABASE in first.entries, DATABASE in second.entries, DATABASE in top.entries) == (False, False, True)
        assert made.installed == {"a": "1.0-1", "b": "1.0-1"}

    def test_remove(self, build):
        made = self.made(build)
        layers = made.layers("a", "b", "a", database="remove")
        assert not any(DATABASE in layer.entries for layer in layers)
        assert layers[2].packages.below == ("a 1.0-1",)

    @pytest.mark.parametrize("database", ["top", "remove"])
    def test_without_it_a_layer_is_the_same_whatever_lies_below(self, build, database):
        made = self.made(build)
        alone, above = made.layers("b", database=database)[0], made.layers("a", "b", database=database)[1]
        assert alone.entries == above.entries

    def test_it_lies_where_a_package_of_the_layer_leads(self, build):
        link = package(
            "rpm", given=[folder("/usr/lib/sysimage/rpm"), symlink("/var/lib/rpm", "../../usr/lib/sysimage/rpm")]
        )
        made = build(link, package("a"))
        for layer in made.layers("rpm", "a"):
            assert "usr/lib/sysimage/rpm/rpmdb.sqlite" in layer.entries
        assert made.installed == {"rpm": "1.0-1", "a": "1.0-1"}

    @pytest.mark.parametrize("database", ["keep", "top"])
    def test_a_link_where_it_lies_below(self, build, database):
        link = package("rpm", given=[symlink("/var/lib/rpm", "../../usr/lib/sysimage/rpm")])
        made = build(link, package("a"))
        if database == "top":  # nothing lies below, but in the base
            assert "usr/lib/sysimage/rpm/rpmdb.sqlite" in made.layers("a", "rpm", database="top")[2].entries
        else:
            with pytest.raises(
                InputError, match=r"^rpm 1\.0-1: /var/lib/rpm is a link to '\.\./\.\./usr/lib"
            ) as caught:
                made.layers("a", "rpm")
            assert "have rpm in the first layer of packages" in caught.value.hint

    def test_a_file_for_each_package_there_is_none(self, build):
        with pytest.raises(ConfigError, match=r"OCI_PACKAGE_DATABASE: 'status\.d' has a file for each package"):
            self.made(build).layers("a", database="status.d")

    def test_that_of_a_layer_of_the_host(self, build, tmp_path):
        made = self.made(build)
        made.layers("a")
        (tmp_path / "rpmdb.sqlite").write_bytes(made.tree.entries[DATABASE].content.data)
        copy = HostCopy(str(tmp_path / "rpmdb.sqlite"), f"/{DATABASE}", "rpmdb.sqlite")
        _, last = made.layers(HostLayer("h", (copy,)), "a b")
        assert last.packages.below == ("a 1.0-1",)
        assert last.names == ["b"]
        assert made.installed == {"a": "1.0-1", "b": "1.0-1"}

    def test_time_and_number_of_the_transaction_are_the_epoch(self, build):
        made = self.made(build)
        made.layers("a", epoch=1234)
        (one,) = database.read(made.tree)
        assert isinstance(one.header, Header)
        assert [one.header.number(tag) for tag in (tags.INSTALLTIME, tags.INSTALLTID)] == [1234, 1234]
