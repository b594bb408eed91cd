# SPDX-License-Identifier: MIT
"""What the rootfs has beyond the layers: what arrives in the image, what stays as it is, and what is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.trees import device, directory, entries, fifo, file, link, tree, with_parents

from oe_oci.content import content_digest, whole
from oe_oci.delta import Delta, apply, diff
from oe_oci.errors import InputError
from oe_oci.populate import Edits, Stack
from oe_oci.rest import Packages, want_database, want_rest
from oe_oci.tree import DIRECTORY, Entry, Tree, resolve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOTHING = Tree()
STATUS = "var/lib/opkg/status"


def status(*names: str) -> bytes:
    fields = "Version: 1\nArchitecture: all\nStatus: install ok installed\n"
    return "".join(f"Package: {name}\n{fields}\n" for name in names).encode()


class Below:
    """What lies below the rest of the rootfs: a base, what layers of packages put on it, then one of host files."""

    def __init__(self, base: Tree = NOTHING, packages: Tree = NOTHING, host: Tree = NOTHING) -> None:
        self.tree = Tree({**base.entries, **packages.entries, **host.entries})
        self.stack = Stack(self.tree, base.entries, host.entries)

    def rest(
        self, rootfs: Tree, *names: str, owned: Mapping[str, Sequence[str]] | None = None, database: str = "remove"
    ) -> Delta:
        """The changes that the rest makes, which are applied."""
        wanted = want_rest(rootfs, self.stack, Packages(names, owned or {}, database)).wanted
        delta = diff(self.tree, wanted.entries, wanted.removed, same)
        apply(self.tree, delta)
        return delta

    def files(self) -> dict[str, bytes | str]:
        """What is there but for directories: contents, and what links lead to."""
        found = self.tree.entries.items()
        return {path: content_of(entry) for path, entry in found if entry.kind != DIRECTORY}


def same(one, other):
    return content_digest(one) == content_digest(other)


def content_of(entry: Entry) -> bytes | str:
    return entry.target if entry.content is None else whole(entry.content)


def below(**packages: Entry | str | bytes) -> Below:
    return Below(packages=tree(**packages))


# ---- what differs, what is missing, what is gone


def test_what_packages_brought_is_not_written_again():
    delta = below(usr__bin__sh=b"sh", etc__conf=b"1").rest(tree(usr__bin__sh=b"sh", etc__conf=b"1"))
    assert delta.empty


def test_what_was_changed_added_and_removed():
    image = below(etc__shadow=b"root::", usr__bin__sh=b"sh", usr__share__doc__sh=b"doc")
    delta = image.rest(tree(etc__shadow=b"root:*:", etc__version=b"1", usr__bin__sh=b"sh"))
    assert set(delta.entries) == {"etc", "etc/shadow", "etc/version", "usr"}
    assert delta.removed == ("usr/share",)
    assert delta.changed == 2


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (file(b"x"), file(b"x", 0o4755)),
        (file(b"x"), file(b"x", uid=7)),
        (file(b"x"), file(b"x", xattrs=(("security.capability", b"\0"),))),
        (file(b"x"), link("y")),
        (link("y"), file(b"x")),
        (link("y"), link("z")),
        (file(b"x"), directory(0o700)),
        (directory(), file(b"x")),
        (directory(), directory(0o1777, gid=5)),
        (device("c", 1, 3), device("b", 1, 3)),
        (fifo(), device("c", 1, 5)),
    ],
)
def test_every_kind_of_change_arrives(before, after):
    image = Below(packages=Tree(with_parents({"a/p": before})))
    image.rest(Tree(with_parents({"a/p": after})))
    assert image.tree.entries == with_parents({"a/p": after})


def test_a_directory_becomes_a_link_to_where_its_files_went_and_the_reverse():
    merged = tree(lib="usr/lib", usr__lib__x=b"x")
    parted = tree(lib__x=b"x", usr__lib=directory())
    for before, after in ((merged, parted), (parted, merged)):
        image = Below(packages=before)
        image.rest(after)
        assert image.tree.entries == after.entries


def test_files_that_become_one_and_that_no_longer_are():
    two, one = file(b"x", inode=("r", 1)), file(b"x", inode=("p", 1))
    image = below(a=b"x", b=b"x", c=one, d=one)
    image.rest(tree(a=two, b=two, c=b"x", d=b"x"))
    assert image.tree.names_of(("r", 1)) == ["a", "b"]
    assert len(image.tree.names_of(("p", 1))) < 2


def test_contents_are_compared_where_all_else_agrees_alone():
    image = below(a=b"one", b=file(b"one", 0o755), c=b"one", d=b"one")
    rootfs = tree(a=b"two", b=file(b"two", 0o644), c=b"three", d="one", e=b"new")
    asked = []
    wanted = want_rest(rootfs, image.stack, Packages((), {}, "remove")).wanted
    diff(image.tree, wanted.entries, wanted.removed, lambda one, other: bool(asked.append({whole(one), whole(other)})))
    assert asked == [{b"one", b"two"}]


def test_a_time_alone_is_nothing():
    assert below(a=file(b"x", mtime=1)).rest(tree(a=file(b"x", mtime=2))).empty


# ---- the base


def test_what_the_base_has_is_there_and_stays():
    base = tree(bin__sh=b"sh", etc__base=b"1", srv=directory())
    packages = tree(etc__own=b"1", srv__own=b"1", etc__both=b"1")
    image = Below(base, packages)
    delta = image.rest(tree(bin__sh=b"sh", etc__both=b"2"))
    assert image.files() == {"bin/sh": b"sh", "etc/base": b"1", "etc/both": b"2"}
    assert image.tree.entries["srv"] == directory()
    assert sorted(delta.entries) == ["etc", "etc/both", "srv"]


def test_a_file_of_the_base_that_a_layer_replaced_goes_with_the_layers():
    image = Below(tree(etc__x=b"base", etc__y=b"y"), tree(etc__x=b"own"))
    image.rest(tree(etc=directory()))
    assert image.files() == {"etc/y": b"y"}


def test_folders_go_behind_links_of_the_base():
    image = Below(tree(bin="usr/bin", usr__bin__sh=b"sh"), tree(usr__bin__app=b"1", usr__bin__gone=b"1"))
    delta = image.rest(tree(bin__app=b"2", bin__more=b"m"))
    assert image.files() == {"bin": "usr/bin", "usr/bin/sh": b"sh", "usr/bin/app": b"2", "usr/bin/more": b"m"}
    assert delta.removed == ("usr/bin/gone",)


# ---- packages that are in no layer


OWNED = {"app": ["usr/bin/app", "usr/share/both"], "tool": ["usr/bin/tool", "usr/share/tool/data", "usr/share/both"]}


def test_what_only_packages_outside_the_layers_own_is_left_out():
    image = below(usr__bin__app=b"1", usr__share__both=b"1")
    rootfs = tree(
        usr__bin__app=b"1", usr__share__both=b"2", usr__bin__tool=b"t", usr__share__tool__data=b"t", etc__new=b"n"
    )
    image.rest(rootfs, "app", owned=OWNED)
    assert image.files() == {"usr/bin/app": b"1", "usr/share/both": b"2", "etc/new": b"n"}
    assert "usr/share/tool" not in image.tree


def test_without_a_list_of_packages_all_is_taken():
    image = below(usr__bin__app=b"1")
    image.rest(tree(usr__bin__app=b"1", usr__bin__tool=b"t"), "app")
    assert image.files() == {"usr/bin/app": b"1", "usr/bin/tool": b"t"}


def test_a_file_of_nobody_brings_the_directory_of_a_package_that_is_left_out():
    image = Below()
    image.rest(
        Tree(with_parents({"opt/tool": directory(0o700), "opt/tool/x": file(b"x"), "opt/tool/state": file(b"s")})),
        owned={"tool": ["opt/tool", "opt/tool/x"]},
    )
    assert image.files() == {"opt/tool/state": b"s"}
    assert image.tree.entries["opt/tool"].mode == 0o700


def test_empty_directories_are_whose_the_list_says():
    image = Below()
    image.rest(tree(a=directory(), b=directory(), c__d=directory()), owned={"tool": ["a", "c/d"]})
    assert sorted(image.tree.entries) == ["", "b"]


def test_a_directory_that_lies_below_has_the_facts_of_the_rootfs_whatever_is_in_it():
    image = below(opt=directory())
    image.rest(tree(opt=directory(0o700), opt__tool=b"t"), owned={"tool": ["opt/tool"]})
    assert image.tree.entries == {"": directory(), "opt": directory(0o700)}


def test_what_is_left_out_does_not_take_what_layers_have_there():
    image = below(usr__bin__both=b"layer", etc__x__y=b"layer")
    delta = image.rest(tree(usr__bin__both=b"rootfs", etc__x__y="z"), owned={"tool": ["usr/bin/both", "etc/x/y"]})
    assert delta.empty


def test_packages_paths_lead_through_links_of_the_rootfs():
    image = below(lib="usr/lib", usr__lib=directory())
    owned = {"tool": ["lib/tool.so", "etc/alias/x"], "app": ["lib/app.so"]}
    rootfs = tree(lib="usr/lib", usr__lib__app_so=b"a", usr__lib__tool_so=b"t", etc__alias="real", etc__real__x=b"x")
    renamed = {path.replace("_so", ".so"): entry for path, entry in rootfs.entries.items()}
    image.rest(Tree(renamed), "app", owned=owned)
    assert image.files() == {"lib": "usr/lib", "usr/lib/app.so": b"a"}


def test_a_link_of_nobody_to_what_is_left_out_does_not_replace_that_of_a_layer():
    """Alternatives are links that belong to no package."""
    image = below(bin__ls="busybox", bin__busybox=b"b")
    rootfs = tree(
        bin__ls="ls.coreutils",
        bin__ls2="/etc/alternatives/ls2",
        etc__alternatives__ls2="../../bin/ls.coreutils",
        etc__dangling="nowhere",
        bin__busybox=b"b",
        **{"bin__ls.coreutils": b"c"},
    )
    image.rest(rootfs, "busybox", owned={"busybox": ["bin/busybox"], "coreutils": ["bin/ls.coreutils"]})
    assert image.files() == {"bin/ls": "busybox", "bin/busybox": b"b", "etc/dangling": "nowhere"}


def test_a_link_of_a_package_of_the_image_is_its_own():
    image = Below()
    image.rest(tree(a="tool", tool=b"t"), "app", owned={"app": ["a"], "tool": ["tool"]})
    assert image.files() == {"a": "tool"}


# ---- files of the host


def test_what_layers_of_host_files_put_there_stays():
    host = tree(etc__app_conf=b"host", opt__data__empty=directory(), srv="/opt/data")
    image = Below(packages=tree(etc__app_conf=b"package", usr__x=b"x"), host=host)
    image.rest(tree(etc=directory(0o750), etc__app_conf=b"package", usr__x=b"x", srv__page=b"p"))
    assert image.files() == {
        "etc/app_conf": b"host",
        "opt/data/page": b"p",
        "srv": "/opt/data",
        "usr/x": b"x",
    }
    assert "opt/data/empty" in image.tree
    assert image.tree.entries["etc"].mode == 0o750


def test_what_a_package_put_over_a_file_of_the_host_is_the_packages():
    image = Below(host=tree(etc__x=b"host"))
    apply(image.tree, diff(image.tree, entries(etc__x=b"package"), (), same))
    image.rest(tree(etc__x=b"rootfs"))
    assert image.files() == {"etc/x": b"rootfs"}


@pytest.mark.parametrize(
    ("host", "rootfs", "clash"),
    [
        (tree(a__b__f=b"h"), tree(a="c", c=directory()), ("a", "symlink", "directory")),
        (tree(a__b=directory()), tree(a__b=b"r"), ("a/b", "file", "directory")),
        (tree(a__b=b"h"), tree(a__b__c=b"r"), ("a/b", "directory", "file")),
    ],
)
def test_a_file_of_the_host_and_a_directory_can_not_be_in_one_place(host, rootfs, clash):
    path, one, other = clash
    with pytest.raises(InputError) as caught:
        Below(host=host).rest(rootfs)
    assert caught.value.message == f"/{path}: is a {one} in the rootfs, and a layer of host files has a {other} there"
    assert caught.value.hint == "change the destination in OCI_LAYERS, or leave OCI_ROOTFS_LAYER empty"


# ---- what was done by hand


class Edited(Below):
    """Layers of packages that were changed by hand: what was `laid` out at these paths is as in `now`."""

    def __init__(self, packages: Tree, now: Tree, laid: Mapping[str, str], removed: Sequence[str] = ()) -> None:
        kept = {path: entry for path, entry in packages.entries.items() if path not in removed}
        super().__init__(packages=Tree({**kept, **now.entries}))
        given = {path: now.entries[path] for path in laid}
        self.stack = Stack(self.tree, {}, given, Edits(dict(laid), frozenset(removed)))

    def overruled(self, rootfs: Tree) -> list[str]:
        return sorted(want_rest(rootfs, self.stack, Packages((), {}, "remove")).overruled)


def test_what_was_changed_by_hand_stays_and_what_was_not_is_of_the_rootfs():
    packages = tree(etc__a=b"1", etc__b=b"1", etc__c=b"1", etc__gone__d=b"1", tmp=directory(0o1777))
    now = tree(etc__a=b"mine", etc__new=b"mine", tmp=directory(0o700))
    image = Edited(packages, now, {"etc/a": "laid", "etc/new": "", "tmp": "laid"}, ["etc/gone", "etc/gone/d", "etc/c"])
    rootfs = tree(
        etc__a=b"2", etc__b=b"2", etc__c=b"2", etc__gone__d=b"2", etc__new=b"2", etc__e=b"2", tmp=directory(0o770)
    )
    assert image.overruled(rootfs) == ["etc/a", "etc/new", "tmp"]
    image.rest(rootfs)
    assert image.files() == {"etc/a": b"mine", "etc/b": b"2", "etc/e": b"2", "etc/new": b"mine"}
    assert image.tree.entries["tmp"].mode == 0o700
    assert "etc/gone" not in image.tree


def test_what_the_rootfs_lacks_stays_where_it_was_changed_by_hand():
    image = Edited(tree(a=b"1", b=b"1"), tree(a=b"mine", new=b"mine"), {"a": "laid", "new": ""})
    image.rest(Tree({"": directory()}))
    assert image.files() == {"a": b"mine", "new": b"mine"}


def test_what_was_removed_comes_with_a_later_layer_and_a_directory_with_what_else_is_in_it():
    image = Edited(tree(a=b"1", d__x=b"1"), tree(b=b"1"), {}, ["a", "d", "d/x"])
    apply(image.tree, diff(image.tree, entries(a=b"later"), (), same))
    image.rest(tree(a=b"rootfs", b=b"1", d__x=b"1", d__more=b"more"))
    assert image.files() == {"a": b"rootfs", "b": b"1", "d/more": b"more"}


def test_what_was_removed_is_known_behind_a_link_of_the_rootfs():
    image = Edited(tree(lib__x=b"1", lib__y=b"1"), tree(), {}, ["lib/x"])
    image.rest(tree(lib="usr/lib", usr__lib__x=b"1", usr__lib__y=b"1"))
    assert image.files() == {"lib": "usr/lib", "usr/lib/y": b"1"}


def test_a_directory_made_to_put_something_into_has_the_facts_of_the_rootfs():
    image = Edited(tree(), tree(var__app__mine=b"1"), {"var/app": "", "var/app/mine": ""})
    image.rest(tree(var__app=directory(0o700)))
    assert image.tree.entries["var/app"].mode == 0o700
    assert image.files() == {"var/app/mine": b"1"}


def test_a_link_put_in_place_of_a_directory_leads_what_the_rootfs_has_in_that():
    image = Edited(tree(a__x=b"1"), tree(a="b", b__x=b"1"), {"a": "laid", "b": "", "b/x": ""}, ["a/x"])
    image.rest(tree(a__x=b"2", a__more=b"2"))
    assert image.files() == {"a": "b", "b/x": b"1", "b/more": b"2"}


@pytest.mark.parametrize(
    ("now", "laid", "rootfs"),
    [
        (tree(a=b"mine"), {"a": "laid"}, tree(a__x=b"2", a__y__z=b"2")),
        (tree(a__mine=b"mine"), {"a": "laid", "a/mine": ""}, tree(a=b"2")),
        (tree(a__mine=b"mine"), {"a": "", "a/mine": ""}, tree(a="b", b=directory())),
    ],
)
def test_a_file_or_directory_made_by_hand_stays_one(now, laid, rootfs):
    image = Edited(tree(), now, laid)
    assert image.overruled(rootfs) == ["a"]
    before = image.files()
    image.rest(rootfs)
    assert image.files() == before


def test_a_change_in_a_directory_that_is_none_in_the_rootfs_is_refused():
    image = Edited(tree(var__log__x=b"1"), tree(var__log__x=b"mine"), {"var/log/x": "laid"})
    with pytest.raises(InputError) as caught:
        image.rest(tree(var__log="volatile/log"))
    assert caught.value.message == (
        "/var/log: is a symlink in the rootfs, and a layer that was changed by hand has a directory there"
    )
    assert caught.value.hint == "change the rootfs or the layer, or leave OCI_ROOTFS_LAYER empty"


# ---- the packages' database


def with_database(*names: str) -> dict[str, Entry]:
    """A rootfs's database of packages that differs from the one that a layer has."""
    return entries(var__lib__opkg__status=status(*names) + b"\n", **{"var__lib__opkg__info__a.list": b"/a\t0644\n"})


@pytest.mark.parametrize("word", ["keep", "status.d"])
def test_a_database_stays_where_the_rootfs_has_none(word):
    image = Below(packages=tree(var__lib__opkg__status=status("a"), var__lib__opkg__lists=directory(), a=b"1"))
    delta = image.rest(tree(a=b"1"), "a", database=word)
    assert delta.empty


def test_what_is_left_of_managers_is_taken_where_nothing_is():
    """do_rootfs without package-management removes the database alone."""
    image = Below(packages=tree(var__lib__opkg__status=status("a")))
    rootfs = tree(usr__lib__opkg__alternatives__ls=b"1", var__lib__opkg__status=b"", var__lib__opkg=directory(0o700))
    image.rest(rootfs, "a", database="keep")
    assert image.files() == {STATUS: status("a"), "usr/lib/opkg/alternatives/ls": b"1"}
    assert image.tree.entries["var/lib/opkg"].mode == 0o755


def test_what_is_left_of_managers_is_as_in_the_rootfs_where_nobody_knows_of_packages():
    """The base was made of a rootfs without a database too, in which fewer packages told of alternatives."""
    image = Below(base=tree(usr__lib__opkg__alternatives__ls=b"1"))
    image.rest(tree(usr__lib__opkg__alternatives__ls=b"1 2"), "a")
    assert image.files() == {"usr/lib/opkg/alternatives/ls": b"1 2"}


def test_the_database_of_the_rootfs_is_taken_where_it_tells_of_the_images_packages_alone():
    image = Below(packages=tree(var__lib__opkg__status=status("a", "b"), var__lib__opkg__lists=directory()))
    image.rest(Tree(with_database("a", "b")), "a", "b", database="keep")
    assert image.tree.entries == with_database("a", "b")


@pytest.mark.parametrize("names", [("a", "tool"), ("a",)])
def test_a_database_that_tells_of_others_or_not_of_the_bases_is_left_out(names):
    base = tree(var__lib__opkg__status=status("base"))
    image = Below(base, tree(var__lib__opkg__status=status("base", "a")))
    rootfs = Tree({**with_database(*names), "x": file(b"x")})
    image.rest(rootfs, "a", "base", database="keep")
    assert image.files() == {STATUS: status("base", "a"), "x": b"x"}


@pytest.mark.parametrize("word", ["remove", "status.d", "top"])
def test_no_other_value_takes_the_database_into_this_layer(word):
    image = below(a=b"1")
    image.rest(Tree({**with_database("a"), "a": file(b"1"), "x": file(b"x")}), "a", database=word)
    assert image.files() == {"a": b"1", "x": b"x"}
    assert "var" not in image.tree


def test_what_packages_left_of_a_database_goes_where_there_is_to_be_none():
    image = below(var__lib__opkg__junk=b"1", a=b"1")
    image.rest(tree(a=b"1"), "a", database="remove")
    assert image.files() == {"a": b"1"}


@pytest.mark.parametrize(("names", "taken"), [(("a",), True), (("a", "tool"), False), ((), False)])
def test_on_top_it_is_that_of_the_rootfs_where_it_tells_of_the_images_packages_alone(names, taken):
    stack = Stack(tree(a=b"1"), {})
    rootfs = Tree({**with_database(*names), "a": file(b"1"), "etc": directory(0o700)})
    wanted = want_database(rootfs, stack, Packages({"a", "b"}, {}, "top"))
    assert (None if wanted is None else wanted.entries) == (with_database("a") if taken else None)


def test_a_damaged_database_is_told_to_be_that_of_the_rootfs():
    with pytest.raises(InputError, match=r"^IMAGE_ROOTFS: /var/lib/opkg/status: line 1: ") as caught:
        Below().rest(tree(var__lib__opkg__status=b"Package a\n"))
    assert caught.value.hint == "make the rootfs anew, or leave OCI_ROOTFS_LAYER empty"


# ---- whatever there is

PATHS = ["a", "b", "c", "a/x", "a/y", "b/x", "a/x/1", "a/x/2", "b/x/1", "-", "a.b", "é", "\udcff", "c/d", "c/d/e"]


def nodes(source: str) -> st.SearchStrategy[Entry]:
    """Entries; those that share an inode are of one source."""
    return st.one_of(
        st.binary(max_size=1).map(file),
        st.builds(file, st.just(b"s"), st.sampled_from([0o644, 0o600]), uid=st.sampled_from([0, 1])),
        st.builds(file, st.just(b"s"), inode=st.sampled_from([(source, 1), (source, 2)])),
        st.sampled_from([0o755, 0o700]).map(directory),
        st.sampled_from(["a", "../b", "/c", "x"]).map(link),
        st.builds(device, st.just("c"), st.just(1), st.sampled_from([3, 5])),
    )


def consistent(found: dict[str, Entry]) -> Tree:
    """Without what lies below something that is no directory."""
    kept = {"": directory()}
    for path in sorted(found):
        up = path.rpartition("/")[0]
        if up in kept and kept[up].kind == DIRECTORY:
            kept[path] = found[path]
    return Tree(kept)


def trees(source: str) -> st.SearchStrategy[Tree]:
    return st.dictionaries(st.sampled_from(PATHS), nodes(source), max_size=12).map(consistent)


BASES, PACKAGES, ROOTFS = map(trees, ("base", "packages", "rootfs"))


def facts(found: Tree) -> dict[str, Entry]:
    """The facts by path, with all names of the inode in the place of what it is called."""
    names = {path: entry.inode and tuple(sorted(found.names_of(entry.inode))) for path, entry in found.entries.items()}
    single = {path: None if inode == (path,) else inode for path, inode in names.items()}
    return {path: entry._replace(inode=single[path]) for path, entry in found.entries.items()}


@settings(derandomize=True, deadline=None, max_examples=400)
@given(PACKAGES, ROOTFS)
def test_the_layers_together_are_the_rootfs(packages, rootfs):
    image = Below(packages=packages)
    image.rest(rootfs)
    assert facts(image.tree) == facts(rootfs)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(PACKAGES, ROOTFS, st.sets(st.sampled_from(PATHS), max_size=6))
def test_what_is_left_out_leaves_what_lies_below_and_all_else_arrives(packages, rootfs, others):
    image = Below(packages=packages)
    before = facts(Tree(packages.entries))
    image.rest(rootfs, owned={"tool": sorted(others)})
    after, wanted = facts(image.tree), facts(rootfs)
    others = {resolve(rootfs, path).path for path in others}
    for path, entry in after.items():
        assert entry._replace(inode=None) in [
            found[path]._replace(inode=None) for found in (before, wanted) if path in found
        ]
    for path, entry in wanted.items():
        if entry.kind not in (DIRECTORY, "symlink") and path not in others:
            assert after[path]._replace(inode=None) == entry._replace(inode=None)
        if entry.kind != DIRECTORY and path in others and path not in before:
            assert path not in after


@settings(derandomize=True, deadline=None, max_examples=400)
@given(BASES, PACKAGES, ROOTFS)
def test_nothing_of_the_base_is_removed(base, packages, rootfs):
    on_base = Below(base)
    apply(on_base.tree, diff(on_base.tree, packages.entries, (), same))
    try:
        delta = on_base.rest(rootfs)
    except InputError:
        return  # two files at one place behind a link of the base
    for path in delta.removed:
        assert base.entry(path) is None or path in packages.entries
    for path, entry in rootfs.entries.items():
        if entry.kind != DIRECTORY:
            found = resolve(on_base.tree, path).entry
            assert found is not None
            assert found._replace(inode=None) == entry._replace(inode=None)
