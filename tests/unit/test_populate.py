# SPDX-License-Identifier: MIT
"""What layers take from the rootfs and the host, and where it comes to lie."""

from __future__ import annotations

import os

import pytest
from support.configs import config
from support.trees import directory, entries, file, link, tree, with_parents

from oe_oci.config import HostCopy, HostLayer, PathRule, PathsLayer
from oe_oci.content import content_digest
from oe_oci.delta import apply, diff
from oe_oci.digests import Digests
from oe_oci.errors import ConfigError, InputError
from oe_oci.plan import Inputs, plan_layers
from oe_oci.populate import (
    Stack,
    Wanted,
    apply_rules,
    missing_paths,
    missing_sources,
    want_host,
    want_paths,
    want_rootfs,
)
from oe_oci.tree import Tree

EMPTY = Stack(Tree(), {})
ROOTFS = tree(
    etc=directory(0o750, uid=5),
    etc__shop__conf=b"conf",
    etc__shop__deep=directory(0o700),
    usr__bin__busybox=b"bb",
    bin="usr/bin",
    usr__lib="../lib64",
    lib64__libc=b"c",
    etc__passwd="/etc/shop/conf",
    opt__escape="../../../../etc/shop",
    opt__loop="loop",
)


def paths(*names: str, kind: str = "directories") -> PathsLayer:
    return PathsLayer("app", kind, names)


def on(lower: Tree, base: dict | None = None) -> Stack:
    return Stack(lower, base or {})


def test_a_directory_comes_with_all_below_it_and_its_parents_facts():
    found = want_paths(paths("/etc/shop"), ROOTFS, EMPTY).entries
    assert list(found) == ["", "etc", "etc/shop", "etc/shop/conf", "etc/shop/deep"]
    assert found["etc"] == directory(0o750, uid=5)


def test_a_file_comes_alone():
    assert list(want_paths(paths("/etc/shop/conf", kind="files"), ROOTFS, EMPTY).entries) == [
        "",
        "etc",
        "etc/shop",
        "etc/shop/conf",
    ]


def test_links_on_the_way_come_along():
    found = want_paths(paths("/bin/busybox"), ROOTFS, EMPTY).entries
    assert set(found) == {"", "bin", "usr", "usr/bin", "usr/bin/busybox"}


def test_directories_follows_a_link_to_a_directory_and_keeps_it():
    assert {"bin", "usr/bin/busybox"} <= set(want_paths(paths("/bin"), ROOTFS, EMPTY).entries)


def test_files_takes_a_link_as_it_is():
    found = want_paths(paths("/etc/passwd", kind="files"), ROOTFS, EMPTY).entries
    assert "etc/passwd" in found
    assert "etc/shop/conf" not in found


def test_links_never_lead_out_of_the_rootfs():
    found = want_paths(paths("/opt/escape/conf"), ROOTFS, EMPTY).entries
    assert "etc/shop/conf" in found


def test_every_missing_path_is_named_with_the_nearest():
    faults = missing_paths(paths("/etc/shp/conf", "/etc/shop", "/usr/bin/busybix", "/opt/loop/x"), ROOTFS)
    assert "\n".join(map(str, faults)) == (
        "OCI_LAYERS: layer 'app': '/etc/shp/conf' is not in the rootfs\n  did you mean /etc/shop?\n"
        "OCI_LAYERS: layer 'app': '/usr/bin/busybix' is not in the rootfs\n  did you mean /usr/bin/busybox?\n"
        "OCI_LAYERS: layer 'app': '/opt/loop/x' is not in the rootfs\n  /opt/loop is a link that leads to no directory"
    )


def test_a_directory_over_a_link_below_is_written_behind_the_link():
    lower = tree(bin="usr/bin", usr__bin__sh=b"sh")
    found = want_rootfs(tree(bin__tool=b"t"), on(lower)).entries
    assert set(found) == {"", "usr/bin/tool"}


def test_a_directory_over_a_dangling_link_below_makes_what_it_leads_to():
    found = want_rootfs(tree(var__log=directory(0o750), var__log__x=b""), on(tree(var__log="volatile/log"))).entries
    assert found["var/volatile/log"] == directory(0o750)
    assert "var/volatile/log/x" in found
    assert "var/log" not in found


def test_a_directory_over_a_link_to_a_file_replaces_it():
    found = want_rootfs(tree(a__x=b""), on(tree(a="b", b=b"file"))).entries
    assert "a/x" in found


def test_a_file_that_links_below_would_hide_is_an_error_and_not_lost():
    lower = tree(b__x="../b", c="b/x")
    with pytest.raises(InputError, match="/c/x: would be lost behind a link of a lower layer"):
        want_rootfs(tree(c__x=b"1"), on(lower))


def test_two_files_in_one_place_are_an_error():
    lower = tree(bin="usr/bin", usr__bin=directory())
    with pytest.raises(InputError, match="/usr/bin/x: lands at /usr/bin/x"):
        want_rootfs(tree(bin__x=b"1", usr__bin__x=b"2"), on(lower))


def test_the_root_alone_removes_what_this_image_put_there_and_the_rootfs_lacks():
    base = tree(base__file=b"b", shared__base=b"s")
    lower = Tree(base.entries)
    for path, entry in entries(own__file=b"o", shared__own=b"s").items():
        if path not in lower:
            lower.put(path, entry)
    wanted = want_paths(paths("/"), tree(etc__x=b"x"), on(lower, base.entries))
    assert sorted(wanted.removed) == ["own", "own/file", "shared/own"]


def test_other_paths_remove_nothing():
    assert want_paths(paths("/etc/shop", "/bin"), ROOTFS, on(tree(etc__old=b"1"))).removed == ()


@pytest.fixture
def host(tmp_path):
    (tmp_path / "ca.crt").write_text("cert")
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "f").write_text("1")
    (tmp_path / "tree" / "l").symlink_to("sub/f")
    (tmp_path / "link.crt").symlink_to("ca.crt")
    return tmp_path


def host_layer(*copies: tuple[object, str]) -> HostLayer:
    return HostLayer("certs", tuple(HostCopy(str(source), target, str(source)) for source, target in copies))


def wanted_host(layer, lower=None, owner=(0, 0)):
    return want_host(layer, on(lower or Tree()), 1234, owner).entries


def test_a_file_of_the_host_at_its_destination(host):
    os.chmod(host / "ca.crt", 0o640)
    found = wanted_host(host_layer((host / "ca.crt", "/etc/ssl/ca.pem")))
    assert list(found) == ["", "etc", "etc/ssl", "etc/ssl/ca.pem"]
    entry = found["etc/ssl/ca.pem"]
    assert (entry.mode, entry.uid, entry.gid, entry.mtime, entry.size) == (0o644, 0, 0, 1234, 4)
    assert found["etc"] == directory(mtime=1234)


def test_a_trailing_slash_puts_the_source_into_the_destination(host):
    found = wanted_host(host_layer((host / "ca.crt", "/etc/ssl/"), (host / "tree", "/opt/")))
    assert {"etc/ssl/ca.crt", "opt/tree/sub/f"} <= set(found)


def test_a_directory_of_the_host_becomes_the_destination(host):
    found = wanted_host(host_layer((host / "tree", "/opt/data")))
    assert {"opt/data", "opt/data/sub/f", "opt/data/l"} <= set(found)
    assert found["opt/data/l"].target == "sub/f"


def test_the_root_takes_a_directory_in_or_becomes_it(host):
    assert {"tree", "tree/sub/f"} <= set(wanted_host(host_layer((host / "tree", "/"))))
    assert {"", "sub/f", "l"} == set(wanted_host(host_layer((host / "tree", "/.")))) - {"sub"}


def test_a_source_that_is_a_link_is_followed(host):
    assert wanted_host(host_layer((host / "link.crt", "/ca")))["ca"].size == 4


def test_existing_directories_keep_their_facts(host):
    lower = Tree(with_parents({"etc": directory(0o700, uid=9)}))
    assert "etc" not in wanted_host(host_layer((host / "ca.crt", "/etc/ca"), (host / "tree", "/etc")), lower)


def test_a_destination_behind_a_link_is_its_real_place(host):
    lower = tree(bin="usr/bin", usr__bin=directory())
    found = wanted_host(host_layer((host / "ca.crt", "/bin/tool"), (host / "tree", "/bin")), lower)
    assert {"usr/bin/tool", "usr/bin/sub/f"} <= set(found)
    assert "bin" not in found


@pytest.mark.parametrize(("mode", "plain"), [(0o600, 0o644), (0o666, 0o644), (0o700, 0o755), (0o4775, 0o755)])
def test_the_umask_of_a_checkout_does_not_matter(host, mode, plain):
    os.chmod(host / "ca.crt", mode)
    os.chmod(host / "tree", mode | 0o100)
    found = wanted_host(host_layer((host / "ca.crt", "/ca"), (host / "tree", "/tree")))
    assert (found["ca"].mode, found["tree"].mode) == (plain, 0o755)
    assert wanted_host(host_layer((host / "ca.crt", "/ca")), owner=None)["ca"].mode == mode


def test_a_file_of_a_copied_folder_does_not_replace_a_folder(host):
    lower = tree(etc__sub__x=b"1", etc__sub__y=b"2")
    (host / "tree" / "sub" / "f").unlink()
    (host / "tree" / "sub").rmdir()
    (host / "tree" / "sub").write_text("a file now")
    with pytest.raises(ConfigError, match="/etc/sub is a directory, which a file would replace with all that is in it"):
        wanted_host(host_layer((host / "tree", "/etc")), lower)


def test_a_given_owner_and_the_hosts_own(host):
    layer = host_layer((host / "ca.crt", "/ca"))
    assert wanted_host(layer, owner=(7, 8))["ca"][2:4] == (7, 8)
    status = os.stat(host / "ca.crt")
    assert wanted_host(layer, owner=None)["ca"][2:4] == (status.st_uid, status.st_gid)


def test_every_fault_of_host_copies_is_named(host):
    lower = tree(etc__ssl=directory(), file=b"")
    layer = host_layer((host / "ca.crt", "/etc/ssl"), (host / "ca.crt", "/file/x"), ("/dev/log-none", "/x"))
    (fault,) = missing_sources(layer)
    assert str(fault) == "OCI_LAYERS: layer 'certs': '/dev/log-none': there is no /dev/log-none"
    layer = layer._replace(copies=layer.copies[:2])
    with pytest.raises(ConfigError) as caught:
        wanted_host(layer, lower)
    assert str(caught.value).replace(str(host), "H") == (
        "OCI_LAYERS: layer 'certs': 'H/ca.crt:/etc/ssl': /etc/ssl is a directory; "
        "write '/etc/ssl/' to put the file into it\n"
        "OCI_LAYERS: layer 'certs': 'H/ca.crt:/file/x': /file is no directory"
    )


def rule(path: str, mode=None, uid=None, gid=None, remove=False) -> PathRule:
    return PathRule(path, remove, mode, uid, gid)


def ruled(lower: Tree, wanted: dict, *rules: PathRule) -> Tree:
    found = apply_rules(rules, Wanted(wanted), lower)
    apply(lower, diff(lower, found.entries, found.removed, lambda a, b: content_digest(a) == content_digest(b)))
    return lower


def test_a_rule_changes_what_lies_below_and_what_is_new():
    final = ruled(tree(a=b"1"), entries(b=b"2"), rule("/a", 0o4755), rule("/b", uid=5, gid=6))
    assert final.entries["a"].mode == 0o4755
    assert final.entries["b"][2:4] == (5, 6)


def test_a_rule_changes_every_name_of_an_inode():
    shared = file(b"1", inode=("rootfs", 1))
    final = ruled(tree(a=shared, d__b=shared), {}, rule("/a", 0o600))
    assert final.entries["d/b"].mode == 0o600
    assert sorted(final.names_of(("rootfs", 1))) == ["a", "d/b"]


def test_a_rule_brings_back_no_name_that_is_gone():
    shared = file(b"1", inode=("rootfs", 1))
    lower = tree(bin__t=shared, usr__share__x=shared, a__x=shared)
    final = ruled(lower, {"a": file(b"now a file")}, rule("/usr/share", remove=True), rule("/bin/t", 0o711))
    assert sorted(final.entries) == ["", "a", "bin", "bin/t", "usr"]


def test_a_rule_removes_from_below_and_from_the_layer_itself():
    final = ruled(tree(a__b__c=b"1"), entries(n__x=b"2"), rule("/a/b", remove=True), rule("/n", remove=True))
    assert sorted(final.entries) == ["", "a"]


def test_a_rule_removes_what_the_last_layer_brings_of_the_host(host):
    layer = host_layer((host / "tree", "/opt"))
    rules = (rule("/opt/sub", remove=True),)
    planned = list(plan_layers(config(layers=(layer,), path_rules=rules), Inputs(tree(), None, None, Digests())))
    assert [set(one.delta.entries) for one in planned] == [{"", "opt", "opt/l"}]


def test_a_rule_goes_through_links_but_changes_the_last_one_itself():
    final = ruled(tree(bin="usr/bin", usr__bin__x=b"1"), {}, rule("/bin/x", 0o700), rule("/bin", uid=3))
    assert final.entries["usr/bin/x"].mode == 0o700
    assert final.entries["bin"] == link("usr/bin", uid=3)


def test_rules_for_missing_paths_are_all_named():
    with pytest.raises(ConfigError) as caught:
        apply_rules((rule("/x", 1), rule("/y", remove=True)), Wanted({}), tree(a=b""))
    assert [fault.message for fault in caught.value.faults] == ["'/x' is not in the image", "'/y' is not in the image"]
