# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from support.blobs import Layer, LayoutMaker, layer, layout, member, sha256

from oe_oci.errors import InputError
from oe_oci.imagediff import ImageDiff, LayerChange, ValueChange, diff_images, render
from oe_oci.oci.spec import Digest, Platform

if TYPE_CHECKING:
    from pathlib import Path


ARM = {"os": "linux", "architecture": "arm", "variant": "v7"}


def compare(tmp_path: Path, before: list[Layer], after: list[Layer], **options: Any) -> ImageDiff:
    old = layout(tmp_path / "old", *before, **options.pop("old", {}))
    new = layout(tmp_path / "new", *after, **options.pop("new", {}))
    diff = diff_images((old, None), (new, None), **options)
    assert json.loads(json.dumps(diff.to_json()))["empty"] == diff.empty
    text = render(diff)
    assert text.startswith(f"--- {old} sha256:")
    assert ("no difference" in text) == diff.empty
    assert text.isascii() or "ü" in text
    return diff


def files(tmp_path: Path, before: list[Any], after: list[Any], **options: Any) -> ImageDiff:
    return compare(tmp_path, [layer(*before)], [layer(*after)], **options)


def changes(diff: ImageDiff) -> dict[str, dict[str, tuple[Any, Any]]]:
    return {path: {fact: (a, b) for fact, a, b in facts} for path, facts in diff.changed}


def config(tmp_path: Path, before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    diff = compare(tmp_path, [], [], old={"config": before}, new={"config": after})
    assert diff._replace(config=()).empty
    return {key: (a, b) for key, a, b in diff.config}


def test_an_image_equals_itself(tmp_path):
    one = [layer(member("a", b"1"), member("b", kind="h", link="a"), member("c", kind="c", device=(1, 3)))]
    diff = compare(tmp_path, one, one)
    assert diff.empty
    assert diff.before.digest == diff.after.digest
    assert diff.layers == (LayerChange(Digest.parse(one[0].diff_id), 0, 0),)
    assert render(diff).endswith("\nno difference")


def test_another_compression_is_no_difference(tmp_path):
    diff = compare(tmp_path, [layer(member("a", b"1"))], [layer(member("a", b"1"), compression="none")])
    assert diff.empty
    assert diff.before.digest != diff.after.digest


def test_layers_by_position(tmp_path):
    a, b, c, d = (layer(member(name, b"")) for name in "abcd")
    diff = compare(tmp_path, [a, b, c], [a, d, c, b])
    ids = {item.diff_id: name for item, name in zip((a, b, c, d), "abcd")}
    found = [(ids[str(change.diff_id)], change.before, change.after) for change in diff.layers]
    assert found == [("a", 0, 0), ("d", None, 1), ("c", None, 2), ("b", 1, 3), ("c", 2, None)]
    assert [path for path, _ in diff.added] == ["d"]
    assert "layers: 2 common, 1 removed, 2 added\n" in render(diff)
    assert f"  - 2 {c.diff_id}\n  + 1 {d.diff_id}\n  + 2 {c.diff_id}" in render(diff)


def test_the_same_files_in_other_layers(tmp_path):
    diff = compare(
        tmp_path, [layer(member("a", b""), member("b", b""))], [layer(member("a", b"")), layer(member("b", b""))]
    )
    assert not diff.empty
    assert (diff.added, diff.removed, diff.changed) == ((), (), ())


def test_paths_added_and_removed(tmp_path):
    diff = files(
        tmp_path,
        [member("a", b"12"), member("d/x", b"")],
        [member(b"\xff\n", b"1", uid=3), member("l", kind="l", link="x")],
    )
    assert [path for path, _ in diff.removed] == ["a", "d", "d/x"]
    assert [path for path, _ in diff.added] == ["l", "\udcff\n"]
    text = render(diff)
    assert "files: 3 removed, 2 added, 0 changed\n" in text
    assert "  - /a file 0644 0:0 2 bytes\n  - /d/ directory 0755 0:0\n" in text
    assert "  + /\\xff\\x0a file 0644 3:0 1 bytes" in text
    listed = diff.to_json()["files"]
    assert listed["added"][0]["target"] == "x"
    assert listed["removed"][0]["content"] == sha256(b"12")


def test_every_fact_of_a_file(tmp_path):
    cap = {"security.capability": b"\1\0"}
    before = [
        member("same", b"1", mtime=1), member("mode", b"1"), member("owner", b""), member("data", b"12"),
        member("size", b"1"), member("link", kind="l", link="x"), member("node", kind="c", device=(1, 3)),
        member("cap", b""), member("kind", b""), member("dir", kind="d"), member("one", b"1"), member("two", b"1"),
        member("pipe", kind="p"),
    ]  # fmt: skip
    after = [
        member("same", b"1", mtime=2), member("mode", b"1", mode=0o4755), member("owner", b"", uid=1, gid=2),
        member("data", b"21"), member("size", b"11"), member("link", kind="l", link="\x1b"),
        member("node", kind="c", device=(1, 5)), member("cap", b"", xattrs=cap), member("kind", kind="l", link="x"),
        member("dir", kind="d", mode=0o700), member("one", b"1"), member("two", kind="h", link="one"),
        member("pipe", kind="p", uid=1),
    ]  # fmt: skip
    diff = files(tmp_path, before, after)
    found = changes(diff)
    assert found.pop("data") == {"content": (sha256(b"12"), sha256(b"21"))}
    assert found.pop("size") == {"size": (1, 2), "content": (sha256(b"1"), sha256(b"11"))}
    assert found.pop("kind") == {
        "kind": ("file", "symlink"), "mode": ("0644", "0777"), "size": (0, None), "content": (sha256(b""), None),
        "target": (None, "x"),
    }  # fmt: skip
    assert found == {
        "mode": {"mode": ("0644", "4755")},
        "owner": {"uid": (0, 1), "gid": (0, 2)},
        "link": {"target": ("x", "\\x1b")},
        "node": {"device": ("1:3", "1:5")},
        "cap": {"xattrs": (None, {"security.capability": "0100"})},
        "dir": {"mode": ("0755", "0700")},
        "one": {"links": ([], ["/two"])},
        "two": {"links": ([], ["/one"])},
        "pipe": {"uid": (0, 1)},
    }
    text = render(diff)
    assert "  ~ /owner: uid 0 -> 1, gid 0 -> 2\n" in text
    assert "  ~ /data: content\n" in text
    assert '  ~ /cap: xattrs none -> {"security.capability": "0100"}' in text


def test_times_only_where_asked_for(tmp_path):
    before, after = [member("a", b"", mtime=1)], [member("a", b"", mtime=2)]
    assert files(tmp_path / "1", before, after).changed == ()
    assert changes(files(tmp_path / "2", before, after, times=True)) == {"a": {"mtime": (1, 2)}}


def test_host_attributes_are_no_difference(tmp_path):
    labelled = [member("a", b"", xattrs={"security.selinux": b"x"})]
    assert files(tmp_path, labelled, [member("a", b"")]).changed == ()


def test_config_key_by_key(tmp_path):
    before = {
        "author": "me", "created": "2020-01-01T00:00:00Z",
        "config": {
            "Env": ["PATH=/bin", "GONE=1", "EMPTY=", "SAME=a=b"], "Labels": {"a.b": "1", "old": "x"}, "User": "0",
            "ExposedPorts": {"80/tcp": {}}, "Cmd": ["sh"], "Healthcheck": {"Test": ["CMD", "x"], "Interval": 5},
        },
    }  # fmt: skip
    after = {
        "author": "you", "created": "2020-01-01T00:00:00Z",
        "config": {
            "Env": ["SAME=a=b", "PATH=/bin:/sbin"], "Labels": {"a.b": "2", "new": ""}, "Volumes": {"/data": {}},
            "Cmd": ["sh", "-l"], "Healthcheck": {"Test": ["CMD", "y"], "Interval": 5}, "odd key": True,
        },
    }  # fmt: skip
    assert config(tmp_path, before, after) == {
        "author": ("me", "you"),
        'config.Env["PATH"]': ("/bin", "/bin:/sbin"),
        'config.Env["GONE"]': ("1", None),
        'config.Env["EMPTY"]': ("", None),
        'config.Labels["a.b"]': ("1", "2"),
        'config.Labels["old"]': ("x", None),
        'config.Labels["new"]': (None, ""),
        "config.User": ("0", None),
        'config.ExposedPorts["80/tcp"]': ({}, None),
        'config.Volumes["/data"]': (None, {}),
        "config.Cmd": (["sh"], ["sh", "-l"]),
        "config.Healthcheck.Test": (["CMD", "x"], ["CMD", "y"]),
        'config."odd key"': (None, True),
    }


def test_what_says_nothing_is_as_good_as_missing(tmp_path):
    docker = {
        "Hostname": "",
        "Tty": False,
        "OnBuild": None,
        "Labels": None,
        "Env": None,
        "Volumes": {},
        "Entrypoint": [],
    }
    assert config(tmp_path, {"config": docker}, {"config": None}) == {}


def test_history_is_counted(tmp_path):
    before = {"history": [{"created_by": "x", "empty_layer": True}]}
    assert config(tmp_path / "1", before, {}) == {"history": (1, 0)}
    assert config(tmp_path / "2", before, {"history": [{"created_by": "y", "empty_layer": True}]}) == {}


def test_annotations_and_platform(tmp_path):
    diff = compare(
        tmp_path, [], [],
        old={"annotations": {"a": "1", "b": "2"}, "tag": "x"},
        new={"annotations": {"b": "3\x1b[m"}, "tag": "y", "platform": ARM},
    )  # fmt: skip
    assert diff.annotations == (ValueChange("a", "1", None), ValueChange("b", "2", "3\x1b[m"))
    assert (diff.before.platform, diff.after.platform) == (Platform("linux", "amd64"), Platform("linux", "arm", "v7"))
    assert diff.config == ()
    text = render(diff)
    assert "platform: linux/amd64 -> linux/arm/v7\n" in text
    assert 'annotations:\n  - a: "1"\n  ~ b: "2" -> "3\\u001b[m"' in text


def test_two_tags_of_one_layout(tmp_path):
    maker = LayoutMaker(tmp_path / "a")
    maker.image(layer(member("a", b"")), tag="1").image(layer(member("b", b"")), tag="2")
    diff = diff_images((maker.path, "1"), (maker.path, "2"))
    assert ([path for path, _ in diff.added], [path for path, _ in diff.removed]) == (["b"], ["a"])
    with pytest.raises(InputError, match="several images"):
        diff_images((maker.path, None), (maker.path, "2"))


def test_the_limit_holds_for_both(tmp_path):
    big = [layer(member("zeros", bytes(1 << 20)))]
    for number, pair in enumerate(((big, []), ([], big))):
        with pytest.raises(InputError, match="unpacks to more than 1000"):
            compare(tmp_path / str(number), *pair, limit=1000)


def test_a_layer_that_both_have_is_held_against_its_digest_in_each(tmp_path):
    made = layer(member("f", b"1" * 5000))
    one, two = layout(tmp_path / "one", made), layout(tmp_path / "two", made)
    assert diff_images((one, None), (two, None)).empty
    blob = tmp_path / "two" / "blobs" / "sha256" / made.digest[7:]
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    with pytest.raises(InputError, match=f"^{two}: {made.digest}: the blob's digest is"):
        diff_images((one, None), (two, None))
