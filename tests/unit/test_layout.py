# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from support.layouts import (
    INDEX,
    REF_NAME,
    Files,
    base_layer,
    blob_name,
    file,
    hardlink,
    image,
    index,
    layer,
    layout,
    replaced,
    sha256,
    symlink,
    tar,
)

from oe_oci.content import pieces
from oe_oci.errors import InputError, ToolError
from oe_oci.oci import layout as subject
from oe_oci.oci.layout import find_image, images, open_layout, read_image
from oe_oci.oci.spec import Descriptor, Platform

ARM7, ARM6 = Platform("linux", "arm", "v7"), Platform("linux", "arm", "v6")
AMD = Platform("linux", "amd64")
needs_zstd = pytest.mark.skipif(shutil.which("zstd") is None, reason="needs the zstd program")


def found(path: Path, tag: str | None = None, platform: Platform | None = None) -> Descriptor:
    with open_layout(str(path)) as opened:
        return find_image(opened, tag, platform)


def read(path: Path):
    with open_layout(str(path)) as opened:
        return read_image(opened, find_image(opened, None, None))


def refused(path: Path, text: str, act=read, *rest) -> InputError:
    with pytest.raises(InputError, match=text) as caught:
        act(path, *rest)
    assert str(path) in str(caught.value)
    return caught.value


def several(*names: str, **edits) -> Files:
    """A layout with an image for each name, all different."""
    files = Files()
    return index(files, [image(files, [layer(file(name))], tag=name, **edits) for name in names])


def for_platforms(*platforms: Platform) -> Files:
    """A layout with a nested index named 1.0, which has an image for each platform."""
    files = Files()
    entries = [
        image(
            files, [layer(file(str(platform)))], platform=platform.to_json(), descriptor=lambda d: d.pop("annotations")
        )
        for platform in platforms
    ]
    inner = files.document({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}, INDEX)
    return index(files, [{**inner, "annotations": {REF_NAME: "1.0"}}])


# ---- directories and archives


def test_an_image_as_stored(tmp_path):
    files = layout()
    made = files.images[0]
    read_back = read(files.write(tmp_path))
    assert str(read_back.descriptor.digest) == made["descriptor"]["digest"]
    assert read_back.descriptor.platform == AMD
    assert (read_back.manifest, read_back.config) == (made["manifest"], made["config"])
    assert [str(one.digest) for one in read_back.layers] == [one["digest"] for one in made["manifest"]["layers"]]
    assert [str(one) for one in read_back.diff_ids] == made["config"]["rootfs"]["diff_ids"]


@pytest.mark.parametrize("top", ["", "app-oci/", "./", "./a/b/"])
@pytest.mark.parametrize("compression", ["none", "gzip", "xz", "bzip2", pytest.param("zstd", marks=needs_zstd)])
def test_archives(tmp_path, top, compression):
    files = layout()
    path = files.archive(tmp_path / "a", top=top, compression=compression)
    assert read(path) == read(files.write(tmp_path / "plain"))
    with open_layout(str(path)) as opened:
        descriptor = read_image(opened, find_image(opened, None, None)).layers[0]
        region = opened.blob(descriptor.digest)
        assert sha256(b"".join(map(bytes, pieces(region)))) == str(descriptor.digest)
        assert opened.archived
        assert opened.top == top.replace("./", "")
        assert sorted(opened.names()) == sorted(files.files)


def test_names_in_a_directory(tmp_path):
    files = layout()
    files.write(tmp_path)
    (tmp_path / "extra").write_bytes(b"")
    with open_layout(str(tmp_path)) as opened:
        assert sorted(opened.names()) == sorted([*files.files, "blobs", "extra"])
        assert not opened.archived


def test_what_a_compressed_archive_was_unpacked_to_goes(tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    path = layout().archive(tmp_path / "a", compression="gzip")
    with open_layout(str(path)):
        assert os.listdir(tmp_path / "tmp") != []
    assert os.listdir(tmp_path / "tmp") == []
    with pytest.raises(InputError, match="more than 100 bytes"), open_layout(str(path), limit=100):
        pass
    assert os.listdir(tmp_path / "tmp") == []


def test_no_room_to_unpack(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    path = layout().archive(tmp_path / "a", compression="gzip")
    with pytest.raises(ToolError, match="cannot unpack") as caught:
        read(path)
    assert "TMPDIR" in caught.value.hint


def test_the_path_may_be_a_link(tmp_path):
    path = layout().archive(tmp_path / "a")
    (tmp_path / "link").symlink_to("a")
    assert read(tmp_path / "link") == read(path)


def test_hard_linked_blobs_in_an_archive(tmp_path):
    files = layout()
    layer_name = blob_name(files.images[0]["manifest"]["layers"][0]["digest"])
    members = [file("first", files.files[layer_name]), hardlink(layer_name, "first")]
    members += [file(name, data) for name, data in files.files.items() if name != layer_name]
    (tmp_path / "a").write_bytes(tar(members))
    with open_layout(str(tmp_path / "a")) as opened:
        descriptor = read_image(opened, find_image(opened, None, None)).layers[0]
        assert b"".join(map(bytes, pieces(opened.blob(descriptor.digest)))) == files.files[layer_name]


def test_no_such_path(tmp_path):
    refused(tmp_path / "none", "no such layout")
    (tmp_path / "dangling").symlink_to("none")
    with pytest.raises(ToolError, match="cannot read"):
        read(tmp_path / "dangling")


def test_no_layout(tmp_path):
    refused(tmp_path, "oci-layout is missing")
    (tmp_path / "a").write_bytes(tar([file("x")]))
    refused(tmp_path / "a", "holds no OCI image layout")
    (tmp_path / "text").write_bytes(b"just text")
    refused(tmp_path / "text", "damaged tar archive")
    os.mkfifo(tmp_path / "fifo")
    refused(tmp_path / "fifo", "no regular file")


def test_a_docker_archive_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "a").write_bytes(tar([file("manifest.json", b"[]"), file("x.json", b"{}")]))
    assert "skopeo copy docker-archive:" in refused(tmp_path / "a", "no OCI image layout").hint


@pytest.mark.parametrize("cut", [1, 600, 2000, -1])
def test_a_torn_archive(tmp_path, cut):
    path = layout().archive(tmp_path / "a")
    replaced(path, path.read_bytes().rstrip(b"\0")[:cut])
    refused(path, "damaged tar archive")


def test_a_torn_compressed_archive(tmp_path):
    path = layout().archive(tmp_path / "a", compression="gzip")
    replaced(path, path.read_bytes()[:-9])
    refused(path, "ends in the middle")


@pytest.mark.parametrize(
    "data", [b"{}", b'{"imageLayoutVersion":"2.0.0"}', b'{"imageLayoutVersion":1}', b"[]", b"", b"\xff"]
)
def test_the_version_of_a_layout(tmp_path, data):
    files = layout()
    files.files["oci-layout"] = data
    refused(files.write(tmp_path), "oci-layout")


# ---- whatever can be read, where that is asked for


def test_a_layout_with_faults_can_be_opened(tmp_path):
    files = layout()
    del files.files["oci-layout"]
    for path in (files.write(tmp_path / "d"), files.archive(tmp_path / "a", top="in/")):
        with open_layout(str(path), strict=False) as opened:
            assert len(images(opened)) == 1
            assert opened.damage == ""


def test_a_torn_archive_can_be_opened(tmp_path):
    files = layout()
    path = files.archive(tmp_path / "a")
    replaced(path, path.read_bytes().rstrip(b"\0")[:-1])
    with open_layout(str(path), strict=False) as opened:
        assert "damaged tar archive" in opened.damage
        assert 0 < len(opened.names()) <= len(files.files)


def test_what_is_no_layout_is_still_refused(tmp_path):
    with pytest.raises(InputError, match="no OCI image layout"), open_layout(str(tmp_path), strict=False):
        pass


# ---- blobs


def test_a_missing_blob(tmp_path):
    files = layout()
    path = files.write(tmp_path)
    (path / blob_name(files.images[0]["descriptor"]["digest"])).unlink()
    refused(path, "blobs/sha256/.* is missing")


def test_a_digest_that_lies(tmp_path):
    for which in ("descriptor", "config"):
        files = layout()
        made = files.images[0]
        digest = (made["descriptor"] if which == "descriptor" else made["manifest"]["config"])["digest"]
        path = files.write(tmp_path / which)
        data = files.files[blob_name(digest)]
        replaced(path / blob_name(digest), data.replace(b"linux", b"xunil").replace(b"vnd", b"dnv"))
        refused(path, "has the digest sha256:")


@pytest.mark.parametrize("size", [0, 1, 1 << 62])
def test_a_size_that_lies(tmp_path, size):
    refused(layout(descriptor=lambda d: d.update(size=size)).write(tmp_path), f"descriptor says {size}")


def test_a_sha512_digest(tmp_path):
    import hashlib

    files = layout()
    entry = files.images[0]["descriptor"]
    data = files.files.pop(blob_name(entry["digest"]))
    digest = f"sha512:{hashlib.sha512(data).hexdigest()}"
    files.files[blob_name(digest)] = data
    index(files, [{**entry, "digest": digest}])
    assert str(read(files.write(tmp_path)).descriptor.digest) == digest


def test_a_blob_that_is_a_link_is_refused(tmp_path):
    files = layout()
    path = files.write(tmp_path / "l")
    blob = path / blob_name(files.images[0]["descriptor"]["digest"])
    blob.rename(tmp_path / "elsewhere")
    blob.symlink_to(tmp_path / "elsewhere")
    refused(path, "no regular file")


def test_a_link_in_an_archive_is_no_blob(tmp_path):
    files = layout()
    name = blob_name(files.images[0]["descriptor"]["digest"])
    members = [file(other, data) for other, data in files.files.items() if other != name]
    (tmp_path / "a").write_bytes(tar([*members, symlink(name, "/etc/passwd")]))
    refused(tmp_path / "a", "is missing")


def test_a_directory_of_blobs_may_be_a_link(tmp_path):
    path = layout().write(tmp_path / "l")
    (path / "blobs" / "sha256").rename(tmp_path / "shared")
    (path / "blobs" / "sha256").symlink_to(tmp_path / "shared")
    assert read(path).layers


def test_a_blob_that_can_not_be_reached(tmp_path):
    path = layout().write(tmp_path)
    shutil.rmtree(path / "blobs" / "sha256")
    (path / "blobs" / "sha256").symlink_to("sha256")
    with pytest.raises(ToolError, match=r"cannot read .*symbolic links"):
        read(path)


def test_a_huge_document_is_refused_before_it_is_read(tmp_path):
    path = layout().write(tmp_path)
    with open(path / "index.json", "wb") as sink:
        sink.truncate(1 << 40)
    refused(path, "larger than")


# ---- which image


@pytest.mark.parametrize("tag", ["localhost/app:1.0", "1.0"])
def test_a_tag_is_the_whole_name_or_its_end(tmp_path, tag):
    files = several("localhost/app:1.0", "other")
    path = files.write(tmp_path)
    assert str(found(path, tag).digest) == files.images[0]["descriptor"]["digest"]


def test_the_whole_name_goes_before_the_end_of_another(tmp_path):
    files = several("localhost/app:1.0", "1.0")
    assert str(found(files.write(tmp_path), "1.0").digest) == files.images[1]["descriptor"]["digest"]


def test_an_image_without_a_name_has_any(tmp_path):
    path = layout(descriptor=lambda d: d.pop("annotations")).write(tmp_path)
    assert found(path, "whatever") == found(path)


def test_two_names_of_one_image(tmp_path):
    files = Files()
    entry = image(files, [base_layer()])
    index(files, [entry, {**entry, "annotations": {REF_NAME: "latest"}}])
    path = files.write(tmp_path)
    assert found(path).digest == found(path, "latest").digest == found(path, "1.0").digest


def test_an_unknown_tag_lists_those_there_are(tmp_path):
    error = refused(several("1.0", "latest").write(tmp_path), "tag 'lates'; its tags are: 1.0, latest", found, "lates")
    assert error.hint == "did you mean latest?"


def test_several_images_without_a_tag(tmp_path):
    error = refused(several("a", "b").write(tmp_path), "several images: a .linux/amd64., b", found)
    assert "LAYOUT:TAG" in error.hint


def test_no_image(tmp_path):
    refused(index(Files(), []).write(tmp_path), "holds no image", found)
    refused(index(Files(), []).write(tmp_path), "it names no image", found, "1.0")


def test_platforms_in_a_nested_index(tmp_path):
    files = for_platforms(AMD, ARM6, ARM7)
    path = files.write(tmp_path)
    for number, platform in enumerate((AMD, ARM6, ARM7)):
        for tag in (None, "1.0"):
            assert str(found(path, tag, platform).digest) == files.images[number]["descriptor"]["digest"]
    refused(path, "several images", found, "1.0")
    refused(path, "several images", found, "1.0", Platform("linux", "arm", "v5"))
    refused(
        path, "no image for linux/s390x; it has: linux/amd64, linux/arm/v6", found, None, Platform("linux", "s390x")
    )


def test_the_one_image_there_is_must_be_for_the_platform(tmp_path):
    path = layout().write(tmp_path)
    assert found(path, None, AMD).platform == AMD
    refused(path, "no image for linux/arm/v7; it has: linux/amd64", found, None, ARM7)


def test_what_is_no_image_is_left_out(tmp_path):
    files = Files()
    entry = image(files, [base_layer()])
    attestation = image(
        files, [layer(file("x"))], descriptor=lambda d: d.update(platform={"architecture": "unknown", "os": "unknown"})
    )
    other = files.document({"some": "thing"}, "application/x-thing")
    index(files, [attestation, other, entry])
    assert str(found(files.write(tmp_path)).digest) == entry["digest"]


def test_a_descriptor_without_media_type_is_a_manifests(tmp_path):
    assert read(layout(descriptor=lambda d: d.pop("mediaType")).write(tmp_path)).layers


def nested(depth: int, width: int = 1) -> Files:
    files = Files()
    entries = [image(files, [base_layer()])]
    for _ in range(depth):
        entries = [files.document({"schemaVersion": 2, "manifests": entries}, INDEX)] * width
    return index(files, entries)


def test_indexes_within_indexes(tmp_path):
    assert read(nested(4).write(tmp_path / "4")).layers
    refused(nested(5).write(tmp_path / "5"), "too many indexes")


def test_indexes_that_multiply_end(tmp_path, monkeypatch):
    monkeypatch.setattr(subject, "_INDEXES", 1 << 20)
    refused(nested(4, 100).write(tmp_path), "too many indexes")


def test_an_index_that_lies_about_its_digest(tmp_path):
    files = for_platforms(AMD)
    inner = json.loads(files.files["index.json"])["manifests"][0]["digest"]
    path = files.write(tmp_path)
    replaced(path / blob_name(inner), files.files[blob_name(inner)].replace(b"amd64", b"arm64"))
    refused(path, "has the digest")


# ---- documents that contradict each other


def test_other_numbers_of_layers_and_diff_ids(tmp_path):
    for number, edit in enumerate((lambda ids: ids.pop(), lambda ids: ids.append(ids[0]))):
        path = layout(config=lambda c, edit=edit: edit(c["rootfs"]["diff_ids"])).write(tmp_path / str(number))
        refused(path, "diff IDs, the manifest 1 layers")


@pytest.mark.parametrize("text", ["", "sha256:", "sha256:ABC", "md5:" + "0" * 32, "sha256:" + "0" * 63, "0" * 64])
def test_digests_that_are_none(tmp_path, text):
    edit = {"config": lambda c: c["rootfs"].update(diff_ids=[text])}
    with pytest.raises(InputError, match="not a sha256 or sha512 digest"):
        read(layout(**edit).write(tmp_path / "config"))
    refused(layout(descriptor=lambda d: d.update(digest=text)).write(tmp_path / "index"), "digest")
    refused(layout(manifest=lambda m: m["layers"][0].update(digest=text)).write(tmp_path / "manifest"), "digest")


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"null", b"\xff\xfe", b'{"a":' * 100_000, b"7" * 10_000])
def test_documents_that_are_no_json_objects(tmp_path, data):
    files = layout()
    for name in ("index.json", "oci-layout"):
        path = files.write(tmp_path / name)
        replaced(path / name, data)
        refused(path, name)


def test_the_place_of_a_wrong_value_is_named(tmp_path):
    cases = {
        "manifests.0..size": layout(descriptor=lambda d: d.update(size="7")),
        "manifests.0..annotations.a": layout(descriptor=lambda d: d.update(annotations={"a": 1})),
        "manifests: expected": layout(index_edit=lambda i: i.update(manifests={})),
        "config: expected": layout(manifest=lambda m: m.pop("config")),
        "layers.0.: expected": layout(manifest=lambda m: m.update(layers=["x"])),
        "rootfs: expected": layout(config=lambda c: c.pop("rootfs")),
        "diff_ids": layout(config=lambda c: c["rootfs"].update(diff_ids=[7])),
    }
    for number, (text, files) in enumerate(cases.items()):
        refused(files.write(tmp_path / str(number)), text)


# ---- what other tools make


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.skipif(shutil.which("umoci") is None, reason="needs umoci")
def test_a_layout_umoci_made(tmp_path):
    path = str(tmp_path / "l")
    run("umoci", "init", "--layout", path)
    run("umoci", "new", "--image", f"{path}:t")
    assert found(Path(path), "t") == found(Path(path))
    assert read(Path(path)).layers == ()


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo")
def test_an_archive_skopeo_made(tmp_path):
    layout().write(tmp_path / "l")
    run("skopeo", "copy", f"oci:{tmp_path}/l:1.0", f"oci-archive:{tmp_path}/a.tar:x")
    assert read(tmp_path / "a.tar").diff_ids == read(tmp_path / "l").diff_ids
    run("skopeo", "copy", f"oci:{tmp_path}/l:1.0", f"docker-archive:{tmp_path}/d.tar:x:y")
    assert "skopeo" in refused(tmp_path / "d.tar", "no OCI image layout").hint
