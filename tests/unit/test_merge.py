# SPDX-License-Identifier: MIT
"""The layouts of several platforms become one, which is whole, the same each time, and says of each what it is for."""

from __future__ import annotations

import hashlib
import json
import os
import stat

import pytest
from support.layouts import (
    FULL_NAME,
    INDEX,
    LAYER,
    MANIFEST,
    REF_NAME,
    Files,
    base_layer,
    blob_name,
    file,
    flipped,
    image,
    index,
    layer,
    replaced,
    sha256,
)

from oe_oci.errors import InputError, ToolError
from oe_oci.merge import common_name, find_platforms, merge
from oe_oci.oci.layout import find_image, open_layout
from oe_oci.oci.spec import Platform
from oe_oci.oci.verify import verify

AMD = {"os": "linux", "architecture": "amd64"}
ARM64 = {"os": "linux", "architecture": "arm64"}
ARM7 = {"os": "linux", "architecture": "arm", "variant": "v7"}
ARM6 = {"os": "linux", "architecture": "arm", "variant": "v6"}


def single(path, platform, **edits):
    """A layout of one image, whose first layer all platforms have."""
    files = Files()
    text = "".join(platform.values())
    edits = {"tag": "latest", "name": "localhost/app:latest", **edits}
    entry = image(files, [base_layer(), layer(file(f"lib/{text}"))], platform=platform, **edits)
    return index(files, [entry]).write(path)


def several(path, *platforms):
    """A layout of one nested index, with an attestation beside the images."""
    files = Files()
    entries = [image(files, [layer(file(str(each)))], platform=each, descriptor=without_names) for each in platforms]
    attestation = files.document({"schemaVersion": 2, "mediaType": MANIFEST, "layers": []}, MANIFEST)
    entries.append({**attestation, "platform": {"os": "unknown", "architecture": "unknown"}})
    inner = files.document({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}, INDEX)
    return index(files, [{**inner, "annotations": {REF_NAME: "latest"}}]).write(path)


def without_names(descriptor):
    del descriptor["annotations"]


def merged(tmp_path, *paths, target="all-oci"):
    found = [image for path in paths for image in find_platforms(str(path), "latest")]
    merge(found, str(tmp_path / target), "latest", "localhost/app:latest")
    return tmp_path / target


def entries(path):
    """The entries of the one index that a merged layout has."""
    (entry,) = json.loads((path / "index.json").read_bytes())["manifests"]
    return json.loads((path / blob_name(entry["digest"])).read_bytes())["manifests"]


def contents(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_one_entry_names_an_index_of_all_platforms(tmp_path):
    path = merged(tmp_path, single(tmp_path / "amd", AMD), single(tmp_path / "arm", ARM7))
    (entry,) = json.loads((path / "index.json").read_bytes())["manifests"]
    assert entry["mediaType"] == INDEX
    assert entry["annotations"] == {REF_NAME: "latest", FULL_NAME: "localhost/app:latest"}
    assert [each["platform"] for each in entries(path)] == [AMD, ARM7]
    assert [set(each) for each in entries(path)] == [{"mediaType", "digest", "size", "platform"}] * 2
    assert verify(str(path)) == []


def test_an_image_is_found_by_its_platform(tmp_path):
    paths = [single(tmp_path / "amd", AMD), single(tmp_path / "arm7", ARM7), single(tmp_path / "arm6", ARM6)]
    with open_layout(str(merged(tmp_path, *paths))) as layout:
        wanted = find_image(layout, "latest", Platform("linux", "arm", "v6"))
    assert wanted.digest == find_platforms(str(paths[2]), "latest")[0].manifest.digest


def test_each_blob_is_there_once_and_no_other(tmp_path):
    paths = [single(tmp_path / "amd", AMD), single(tmp_path / "arm", ARM64)]
    (paths[0] / "blobs/sha256" / ("0" * 64)).write_bytes(b"of nobody")
    names = os.listdir(merged(tmp_path, *paths) / "blobs/sha256")
    # Two manifests, two configs, three layers, the index.
    assert len(names) == 8
    assert "0" * 64 not in names


def test_the_order_of_the_inputs_makes_no_difference(tmp_path):
    amd, arm = single(tmp_path / "amd", AMD), single(tmp_path / "arm", ARM64)
    assert contents(merged(tmp_path, amd, arm, target="one")) == contents(merged(tmp_path, arm, amd, target="two"))


def test_an_input_may_be_for_several_platforms_itself(tmp_path):
    path = merged(tmp_path, single(tmp_path / "amd", AMD), several(tmp_path / "arms", ARM7, ARM64))
    assert [each["platform"] for each in entries(path)] == [AMD, ARM7, ARM64]
    assert verify(str(path)) == []


def test_merged_layouts_can_be_merged_again(tmp_path):
    first = merged(tmp_path, single(tmp_path / "amd", AMD), single(tmp_path / "arm", ARM64), target="first")
    second = merged(tmp_path, first, single(tmp_path / "arm6", ARM6), target="second")
    assert [each["platform"] for each in entries(second)] == [AMD, ARM6, ARM64]


def test_the_platform_is_that_of_the_config(tmp_path):
    path = single(tmp_path / "arm", ARM7, descriptor=lambda d: d.update(platform=AMD))
    assert [each["platform"] for each in entries(merged(tmp_path, path))] == [ARM7]


def test_a_variant_that_only_the_index_has(tmp_path):
    path = single(tmp_path / "arm", ARM6, config=lambda config: config.pop("variant"))
    assert [each["platform"] for each in entries(merged(tmp_path, path))] == [ARM6]


def test_only_images_of_the_tag_are_taken(tmp_path):
    files = Files()
    made = [image(files, [layer(file(tag))], platform=AMD, tag=tag) for tag in ("latest", "1.0")]
    path = merged(tmp_path, index(files, made).write(tmp_path / "amd"))
    assert [each["digest"] for each in entries(path)] == [made[0]["digest"]]


def test_one_image_under_two_tags_is_one(tmp_path):
    files = Files()
    entry = image(files, [base_layer()], platform=AMD, tag="latest")
    again = {**entry, "annotations": {REF_NAME: "localhost/app:latest"}}
    path = index(files, [entry, again]).write(tmp_path / "amd")
    assert len(find_platforms(str(path), "latest")) == 1


def test_what_else_a_descriptor_says_is_kept(tmp_path):
    path = single(tmp_path / "amd", AMD, descriptor=lambda d: d["annotations"].update(vendor="Example"))
    assert [each["annotations"] for each in entries(merged(tmp_path, path))] == [{"vendor": "Example"}]


def test_blobs_known_by_sha512(tmp_path):
    files, part = Files(), base_layer()
    digest = f"sha512:{hashlib.sha512(part.blob).hexdigest()}"
    files.files[blob_name(digest)] = part.blob
    entry = image(files, [part], tag="latest", manifest=lambda m: m["layers"][0].update(digest=digest))
    path = merged(tmp_path, index(files, [entry]).write(tmp_path / "amd"))
    assert (path / blob_name(digest)).read_bytes() == part.blob
    assert verify(str(path)) == []


# ---- what is refused


@pytest.mark.parametrize("second", [AMD, {**AMD, "variant": ""}], ids=["equal", "empty variant"])
def test_two_images_of_one_platform_are_both_named(tmp_path, second):
    one, two = single(tmp_path / "one", AMD), single(tmp_path / "two", second, name="localhost/other:latest")
    with pytest.raises(InputError, match=r"two images are for linux/amd64: .*/one \(sha256:.*/two \(sha256:"):
        merged(tmp_path, one, two)
    assert not (tmp_path / "all-oci").exists()


def test_two_spellings_of_one_platform(tmp_path):
    one, two = single(tmp_path / "one", ARM64), single(tmp_path / "two", {**ARM64, "variant": "v8"})
    with pytest.raises(InputError, match="two images are for linux/arm64/v8"):
        merged(tmp_path, one, two)


def layer_of(path):
    (found,) = find_platforms(str(path), "latest")
    assert found.blobs[-1].media_type == f"{LAYER}+gzip"
    return path / blob_name(str(found.blobs[-1].digest))


def test_a_blob_that_is_missing(tmp_path):
    path = single(tmp_path / "amd", AMD)
    found = find_platforms(str(path), "latest")
    layer_of(path).unlink()
    with pytest.raises(InputError, match=r"/amd: blobs/sha256/[0-9a-f]{64} is missing"):
        merge(found, str(tmp_path / "all-oci"), "latest", "localhost/app:latest")
    assert os.listdir(tmp_path) == ["amd"]


@pytest.mark.parametrize("damage", [lambda data: flipped(data, 20), lambda data: data[:-1], lambda data: data + b"x"])
def test_a_blob_with_other_bytes(tmp_path, damage):
    path = single(tmp_path / "amd", AMD)
    blob = layer_of(path)
    replaced(blob, damage(blob.read_bytes()))
    with pytest.raises(InputError, match=f"/amd: sha256:{blob.name}: the blob is damaged"):
        merged(tmp_path, path)
    assert os.listdir(tmp_path) == ["amd"]


def test_two_sizes_of_one_blob(tmp_path):
    one = single(tmp_path / "one", AMD)
    two = single(tmp_path / "two", ARM64, manifest=lambda m: m["layers"][0].update(size=7))
    with pytest.raises(InputError, match=r"/two: sha256:.* or has not the size"):
        merged(tmp_path, one, two)


@pytest.mark.parametrize(
    ("name", "text"),
    [("index.json", "index.json is missing"), ("oci-layout", "oci-layout is missing")],
)
def test_a_torn_layout(tmp_path, name, text):
    path = single(tmp_path / "amd", AMD)
    (path / name).unlink()
    with pytest.raises(InputError, match=f"/amd: {text}"):
        find_platforms(str(path), "latest")


def test_a_manifest_that_is_missing(tmp_path):
    path = single(tmp_path / "amd", AMD)
    entry = json.loads((path / "index.json").read_bytes())["manifests"][0]
    (path / blob_name(entry["digest"])).unlink()
    with pytest.raises(InputError, match=f"/amd: {blob_name(entry['digest'])} is missing"):
        find_platforms(str(path), "latest")


@pytest.mark.parametrize("key", ["os", "architecture"])
def test_a_config_that_names_no_platform(tmp_path, key):
    path = single(tmp_path / "amd", AMD, config=lambda config: config.pop(key))
    with pytest.raises(InputError, match=f"/amd: sha256:.*: names no {key}"):
        find_platforms(str(path), "latest")


def test_a_tag_that_is_not_there(tmp_path):
    path = single(tmp_path / "amd", AMD)
    with pytest.raises(InputError, match=r"no image has the tag '2\.0'; its tags are: latest"):
        find_platforms(str(path), "2.0")


def test_what_is_no_folder(tmp_path):
    (tmp_path / "app.tar").write_bytes(b"")
    for name, text in (("app.tar", "is no folder with a layout"), ("app", "there is no such layout")):
        with pytest.raises(InputError, match=f"/{name}: {text}"):
            find_platforms(str(tmp_path / name), "latest")


# ---- where it goes


def test_a_later_merge_takes_the_place_of_the_earlier_one(tmp_path):
    amd, arm = single(tmp_path / "amd", AMD), single(tmp_path / "arm", ARM64)
    path = merged(tmp_path, amd, arm)
    merged(tmp_path, arm)
    assert [each["platform"] for each in entries(path)] == [ARM64]
    assert len(os.listdir(path / "blobs/sha256")) == 5


def test_a_failure_leaves_the_earlier_one(tmp_path):
    amd = single(tmp_path / "amd", AMD)
    before = contents(merged(tmp_path, amd))
    arm = single(tmp_path / "arm", ARM64)
    blob = layer_of(arm)
    replaced(blob, blob.read_bytes() + b"x")
    with pytest.raises(InputError):
        merged(tmp_path, amd, arm)
    assert contents(tmp_path / "all-oci") == before
    assert sorted(os.listdir(tmp_path)) == ["all-oci", "amd", "arm"]


def test_what_is_no_layout_stays(tmp_path):
    (tmp_path / "all-oci").mkdir()
    (tmp_path / "all-oci/mine").write_text("mine")
    with pytest.raises(ToolError, match="all-oci is in the way: it holds 'mine'"):
        merged(tmp_path, single(tmp_path / "amd", AMD))


def test_modes_are_those_of_an_output(tmp_path):
    path = single(tmp_path / "amd", AMD)
    layer_of(path).chmod(0o600)
    old = os.umask(0o077)
    try:
        target = merged(tmp_path, path)
    finally:
        os.umask(old)
    modes = {stat.S_IMODE(os.stat(folder).st_mode) for folder, _, _ in os.walk(target)}
    assert modes == {0o755}
    assert {stat.S_IMODE((target / name).stat().st_mode) for name in contents(target)} == {0o644}
    assert stat.S_IMODE(layer_of(path).stat().st_mode) == 0o600


def test_the_name_that_all_images_have(tmp_path):
    same = [single(tmp_path / "a", AMD, name="example.com/a:1"), single(tmp_path / "b", ARM64, name="example.com/a:1")]
    none = several(tmp_path / "c", ARM6)
    other = single(tmp_path / "d", ARM7, name="example.com/d:1")
    found = {path.name: find_platforms(str(path), "latest") for path in (*same, none, other)}
    assert common_name([*found["a"], *found["b"], *found["c"]]) == "example.com/a:1"
    assert common_name([*found["a"], *found["d"]]) == ""
    assert common_name(found["c"]) == ""


def test_the_digest_is_that_of_the_index(tmp_path):
    found = find_platforms(str(single(tmp_path / "amd", AMD)), "latest")
    digest = merge(found, str(tmp_path / "all-oci"), "1.0", "localhost/app:1.0")
    assert str(digest) == sha256((tmp_path / "all-oci" / blob_name(str(digest))).read_bytes())
