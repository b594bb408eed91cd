# SPDX-License-Identifier: MIT
from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.layouts import (
    CONFIG,
    FULL_NAME,
    INDEX,
    LAYER,
    MANIFEST,
    REF_NAME,
    Files,
    Layer,
    base_layer,
    blob_name,
    docker_manifest,
    file,
    flipped,
    folder,
    image,
    index,
    layer,
    layout,
    replaced,
    sha256,
    tar,
    to_json,
)

from oe_oci.errors import InputError
from oe_oci.oci.verify import Violation, verify

if TYPE_CHECKING:
    from pathlib import Path

needs_zstd = pytest.mark.skipif(shutil.which("zstd") is None, reason="needs the zstd program")


def check(files: Files, path: Path, tag: str | None = None) -> list[Violation]:
    """The violations, which are the same in a directory and in an archive."""
    found = verify(str(files.write(path / "d")), tag)
    assert verify(str(files.archive(path / "a.tar")), tag) == found
    return found


def only(files: Files, path: Path, rule: str, where: str = "", text: str = "") -> Violation:
    (violation,) = check(files, path)
    assert violation.rule == rule
    assert where in violation.where
    assert text in violation.message
    return violation


def rules(found: list[Violation]) -> list[str]:
    return [violation.rule for violation in found]


def digest_of(files: Files, what: str) -> str:
    made = files.images[0]
    return {
        "manifest": made["descriptor"],
        "config": made["manifest"]["config"],
        "layer": made["manifest"]["layers"][0],
    }[what]["digest"]


WHAT = ["manifest", "config", "layer"]


# ---- nothing to say


@pytest.mark.parametrize("compression", ["gzip", "none", pytest.param("zstd", marks=needs_zstd)])
def test_a_good_layout(tmp_path, compression):
    files = layout(base_layer(), layer(folder("d"), file("d/f"), compression=compression))
    for tag in (None, "1.0"):
        assert check(files, tmp_path, tag) == []
    assert check(docker_manifest(files), tmp_path) == []


def test_two_good_images_that_share_layers(tmp_path):
    files = Files()
    shared = base_layer()
    entries = [image(files, [shared, layer(file(str(n)))], tag=f"{n}.0", name=f"localhost/a:{n}.0") for n in range(2)]
    assert check(docker_manifest(index(files, entries)), tmp_path) == []


def test_a_nested_index_an_attestation_and_an_artifact(tmp_path):
    files = Files()
    plain = image(files, [base_layer()])
    unknown = {"architecture": "unknown", "os": "unknown"}
    in_toto = b'{"some":"statement"}'
    attestation = image(
        files, [Layer(in_toto, "none", "application/vnd.in-toto+json", sha256(in_toto))], platform=unknown
    )
    empty = files.blob(b"{}", "application/vnd.oci.empty.v1+json")
    artifact = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "a/b", "config": empty, "layers": [empty]}
    inner = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [plain, attestation]}
    entries = [files.document(inner, INDEX), files.document(artifact, MANIFEST), files.blob(b"?", "text/plain")]
    assert check(index(files, entries), tmp_path) == []


def test_what_may_be_left_out(tmp_path):
    files = layout(
        manifest=lambda m: m.pop("mediaType"),
        config=lambda c: c.pop("history"),
        descriptor=lambda d: (d.pop("platform"), d.pop("annotations")),
        index_edit=lambda i: i.pop("mediaType"),
    )
    assert check(files, tmp_path) == []


def test_history_of_what_made_no_layer(tmp_path):
    files = layout(config=lambda c: c["history"].insert(0, {"empty_layer": True}))
    assert check(files, tmp_path) == []


def test_blobs_nobody_refers_to_may_stay(tmp_path):
    files = layout()
    files.blob(b"left behind", "")
    files.files["blobs/blake3/unknown"] = b"algorithm"
    assert check(files, tmp_path) == []


def test_docker_media_types(tmp_path):
    docker = "application/vnd.docker."
    files = Files()

    def edit(manifest):
        manifest["mediaType"] = docker + "distribution.manifest.v2+json"
        manifest["config"]["mediaType"] = docker + "container.image.v1+json"

    part = base_layer()
    part.media_type = docker + "image.rootfs.diff.tar.gzip"
    kind = docker + "distribution.manifest.v2+json"
    entry = image(files, [part], manifest=edit, descriptor=lambda d: d.update(mediaType=kind))
    assert check(index(files, [entry]), tmp_path) == []


def test_layers_that_are_not_to_be_distributed_may_be_elsewhere(tmp_path):
    part = base_layer()
    part.media_type = LAYER.replace("layer", "layer.nondistributable") + "+gzip"
    files = layout(part)
    assert check(files, tmp_path) == []
    name = blob_name(digest_of(files, "layer"))
    broken = {**files.files, name: b"x"}
    assert set(rules(check(Files(broken, files.images), tmp_path / "2"))) >= {"digest", "size"}
    del files.files[name]
    assert check(files, tmp_path / "3") == []


# ---- the layout's own files


def test_oci_layout(tmp_path):
    files = layout()
    files.files["oci-layout"] = b'{"imageLayoutVersion":"1.1.0"}'
    only(files, tmp_path / "1", "layout-version", "oci-layout", "'1.1.0'")
    files.files["oci-layout"] = b"[]"
    only(files, tmp_path / "2", "document", "oci-layout", "expected a JSON object")
    del files.files["oci-layout"]
    only(files, tmp_path / "3", "document", "oci-layout", "missing")


def test_index_json(tmp_path):
    files = layout()
    del files.files["index.json"]
    only(files, tmp_path / "1", "document", "index.json", "missing")
    files.files["index.json"] = b"{"
    only(files, tmp_path / "2", "document", "index.json", "not JSON")
    files.files["index.json"] = b'{"schemaVersion":2}'
    only(files, tmp_path / "3", "descriptor", "index.json", "manifests is None")


@pytest.mark.parametrize("version", [None, 1, 2.0, "2", True])
def test_schema_versions(tmp_path, version):
    only(layout(index_edit=lambda i: i.update(schemaVersion=version)), tmp_path / "1", "schema-version", "index.json")
    files = layout(manifest=lambda m: m.update(schemaVersion=version))
    only(files, tmp_path / "2", "schema-version", digest_of(files, "manifest"))


def test_media_types(tmp_path):
    only(layout(index_edit=lambda i: i.update(mediaType=MANIFEST)), tmp_path / "1", "media-type", "index.json")
    files = layout(manifest=lambda m: m.update(mediaType=INDEX))
    only(files, tmp_path / "2", "media-type", digest_of(files, "manifest"))
    only(layout(descriptor=lambda d: d.pop("mediaType")), tmp_path / "3", "media-type", "manifests[0]")


# ---- descriptors and blobs


@pytest.mark.parametrize("what", WHAT)
def test_a_missing_blob(tmp_path, what):
    files = layout()
    del files.files[blob_name(digest_of(files, what))]
    places = {"manifest": "index.json: manifests[0]", "config": ": config", "layer": ": layers[0]"}
    only(files, tmp_path, "missing-blob", places[what], "is missing")


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("size", [0, 1, 1 << 60])
def test_a_size_that_lies(tmp_path, what, size):
    edits = {
        "manifest": {"descriptor": lambda d: d.update(size=size)},
        "config": {"manifest": lambda m: m["config"].update(size=size)},
        "layer": {"manifest": lambda m: m["layers"][0].update(size=size)},
    }
    files = layout(**edits[what])
    only(files, tmp_path, "size", text=f"says {size} bytes, {digest_of(files, what)} has ")


def test_each_descriptor_of_one_blob_is_checked(tmp_path):
    files = Files()
    entry = image(files, [base_layer()])
    liar = {**entry, "size": 1, "platform": {"architecture": "arm", "os": "linux"}}
    found = check(index(files, [entry, liar]), tmp_path)
    assert [(v.rule, v.where) for v in found] == [
        ("size", "index.json: manifests[1]"),
        ("platform", "index.json: manifests[1]"),
    ]


def test_digests_that_lie(tmp_path):
    for what, old, new in (("manifest", b"{", b"{ "), ("config", b"PATH", b"HTAP")):
        files = layout()
        name = blob_name(digest_of(files, what))
        files.files[name] = files.files[name].replace(old, new)
        found = check(files, tmp_path / what)
        assert ("digest", digest_of(files, what)) in [(v.rule, v.where) for v in found]
        assert set(rules(found)) <= {"digest", "size"}
        assert f"the digest {sha256(files.files[name])}" in next(v.message for v in found if v.rule == "digest")


def test_a_layer_with_other_bytes(tmp_path):
    files = layout()
    name = blob_name(digest_of(files, "layer"))
    files.files[name] = flipped(files.files[name], 4)  # the time in the header of gzip: it unpacks to the same
    only(files, tmp_path / "1", "digest", digest_of(files, "layer"))
    files.files[name] = flipped(files.files[name], -8)
    assert rules(check(files, tmp_path / "2")) == ["digest", "compression"]


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda d: d.update(size=-1), "size in bytes"),
        (lambda d: d.update(digest="sha256:0"), "not a sha256 or sha512 digest"),
        (lambda d: d.update(annotations=[1]), "expected a JSON object"),
        (lambda d: d.update(platform="linux"), "expected a JSON object"),
    ],
)
def test_descriptors_that_are_none(tmp_path, edit, text):
    only(layout(descriptor=edit), tmp_path, "descriptor", "index.json: manifests[0]", text)


def test_sha512(tmp_path):
    files = layout()
    entry = files.images[0]["descriptor"]
    data = files.files.pop(blob_name(entry["digest"]))
    name = "sha512:" + hashlib.sha512(data).hexdigest()
    files.files[blob_name(name)] = data
    index(files, [{**entry, "digest": name}])
    assert check(files, tmp_path / "1") == []
    files.files[blob_name(name)] += b" "
    assert rules(check(files, tmp_path / "2")) == ["size", "digest"]


def test_a_diff_id_of_sha512(tmp_path):
    part = base_layer()
    part.diff_id = "sha512:" + hashlib.sha512(part.tar).hexdigest()
    assert check(layout(part), tmp_path / "1") == []
    part.diff_id = "sha512:" + "0" * 128
    only(layout(part), tmp_path / "2", "diff-id", text="unpacks to sha512:")


def test_stray_blobs_are_read_too(tmp_path):
    files = layout()
    files.files["blobs/sha256/" + "0" * 64] = b"something else"
    only(files, tmp_path / "1", "digest", "sha256:" + "0" * 64)
    files.files = layout().files
    files.files["blobs/sha256/.tmp123"] = b""
    only(files, tmp_path / "2", "blob-name", "blobs/sha256/.tmp123")


def test_a_blob_that_is_a_link(tmp_path):
    path = layout().write(tmp_path)
    (path / "blobs" / "sha256" / ("1" * 64)).symlink_to("/etc/passwd")
    (violation,) = verify(str(path))
    assert (violation.rule, violation.message) == ("blob-name", f"blobs/sha256/{'1' * 64} is no regular file")


# ---- documents


@pytest.mark.parametrize("what", ["manifest", "config"])
def test_documents_that_are_no_json(tmp_path, what):
    files = Files()
    entry = image(files, [base_layer()])
    if what == "manifest":
        bad = {**files.blob(b"[]", MANIFEST), "annotations": {REF_NAME: "1.0"}}
    else:
        bad = image(files, [base_layer()], manifest=lambda m: m.update(config=files.blob(b"[]", CONFIG)))
    only(index(files, [entry, bad]), tmp_path, "document", sha256(b"[]"), "expected a JSON object")


def test_a_huge_document_is_not_read(tmp_path):
    files = Files()
    data = b" " * (5 << 20)
    only(index(files, [files.blob(data, MANIFEST)]), tmp_path, "document", sha256(data), "larger than")


def test_lists_that_are_none(tmp_path):
    files = layout(manifest=lambda m: m.update(layers={"x": 1}))
    assert rules(check(files, tmp_path)) == ["descriptor", "diff-id-count", "history-count"]


def test_config_type(tmp_path):
    files = layout(manifest=lambda m: m["config"].update(mediaType="text/plain"))
    only(files, tmp_path, "config-type", ": config", "'text/plain'")


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda c: c.pop("architecture"), "architecture is None"),
        (lambda c: c.update(os=""), "os is ''"),
        (lambda c: c.update(os=7), "os is 7"),
        (lambda c: c["rootfs"].update(type="files"), "type 'layers'"),
        (lambda c: c["rootfs"].pop("diff_ids"), "diff_ids"),
        (lambda c: c["rootfs"].update(diff_ids={}), "diff_ids"),
        (lambda c: c.pop("rootfs"), "rootfs"),
        (lambda c: c["rootfs"].update(diff_ids=["sha256:x"]), "rootfs.diff_ids[0]: 'sha256:x' is not"),
        (lambda c: c["rootfs"].update(diff_ids=[7]), "rootfs.diff_ids[0]: '7' is not"),
        (lambda c: c.update(history={}), "history"),
        (lambda c: c.update(history=["x"]), "history"),
    ],
)
def test_fields_of_the_config(tmp_path, edit, text):
    files = layout(config=edit, descriptor=lambda d: d.pop("platform"))
    only(files, tmp_path, "config-fields", digest_of(files, "config"), text)


def test_counts(tmp_path):
    parts = base_layer(), layer(file("x"))
    cases = {
        "diff-id-count": [
            lambda c: c["rootfs"]["diff_ids"].pop(),
            lambda c: c["rootfs"]["diff_ids"].append(parts[0].diff_id),
        ],
        "history-count": [
            lambda c: c["history"].pop(),
            lambda c: c["history"].append({}),
            lambda c: c["history"][0].update(empty_layer=True),
        ],
    }
    for rule, edits in cases.items():
        for number, edit in enumerate(edits):
            files = layout(*parts, config=edit)
            only(files, tmp_path / f"{rule}{number}", rule, digest_of(files, "config"))


@pytest.mark.parametrize(
    "platform",
    [
        {"os": "linux", "architecture": "arm"},
        {"os": "windows", "architecture": "amd64"},
        {"os": "linux", "architecture": "amd64", "variant": "v2"},
    ],
)
def test_platform(tmp_path, platform):
    files = layout(descriptor=lambda d: d.update(platform=platform))
    only(files, tmp_path, "platform", "index.json: manifests[0]", "the config linux/amd64")


def test_spellings_of_one_platform(tmp_path):
    for number, (one, other) in enumerate(
        [
            ({"os": "linux", "architecture": "arm64"}, {"os": "linux", "architecture": "arm64", "variant": "v8"}),
            ({"os": "linux", "architecture": "arm"}, {"os": "linux", "architecture": "arm", "variant": "v7"}),
        ]
    ):
        files = layout(platform=one, descriptor=lambda d, other=other: d.update(platform=other))
        assert check(files, tmp_path / str(number)) == []


# ---- layers


def test_a_diff_id_that_lies(tmp_path):
    part = base_layer()
    right, part.diff_id = part.diff_id, "sha256:" + "1" * 64
    files = layout(part)
    only(files, tmp_path, "diff-id", digest_of(files, "layer"), f"unpacks to {right}, the config says sha256:1111")


def test_diff_ids_in_the_wrong_order(tmp_path):
    files = layout(base_layer(), layer(file("x")), config=lambda c: c["rootfs"]["diff_ids"].reverse())
    assert rules(check(files, tmp_path)) == ["diff-id", "diff-id"]


@needs_zstd
def test_a_compression_the_type_does_not_say(tmp_path):
    for number, (compression, said) in enumerate([("zstd", "+gzip"), ("gzip", ""), ("none", "+gzip"), ("xz", "+zstd")]):
        files = layout(layer(file("x"), compression=compression, media_type=LAYER + said))
        only(files, tmp_path / str(number), "compression", ": layers[0]", f"found {compression}")


def test_a_torn_blob(tmp_path):
    part = base_layer()
    part.blob = part.blob[:-9]
    files = layout(part)
    only(files, tmp_path, "compression", digest_of(files, "layer"), "ends in the middle")


def test_a_bomb(tmp_path):
    files = layout(layer(file("x", bytes(1 << 20))))
    (violation,) = verify(str(files.write(tmp_path)), limit=1 << 18)
    assert (violation.rule, violation.where) == ("compression", digest_of(files, "layer"))
    assert "unpacks to more than 262144 bytes" in violation.message


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"no tar at all", "in the middle of a header"),
        (b"no tar at all" * 100, "checksum"),
        (tar([file("x", b"y" * 5000)])[:3000], "in the middle of a file"),
        (tar([file("x", b"y" * 600)])[: 512 + 600], "no end mark"),
        (flipped(tar([file("x")]), 3), "checksum"),
        (tar([file("x")])[:1024] + bytes(512) + b"y" * 512, "after its end mark"),
        (tar([file("../x")]), "leaves the root"),
    ],
)
def test_a_tar_that_is_none(tmp_path, data, text):
    files = layout(Layer(data))
    only(files, tmp_path, "tar", digest_of(files, "layer"), text)


def test_the_digest_of_a_damaged_tar_is_that_of_all_its_bytes(tmp_path):
    part = Layer(b"no tar" * 500_000)
    part.diff_id = "sha256:" + "0" * 64
    found = check(layout(part), tmp_path)
    assert rules(found) == ["diff-id", "tar"]
    assert sha256(part.tar) in found[0].message


# ---- manifest.json


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda e: e.update(Config="x.json"), "Config 'x.json'"),
        (lambda e: e.pop("Config"), "Config None"),
        (lambda e: e["Layers"].pop(), "Layers"),
        (lambda e: e["Layers"].reverse(), "Layers"),
        (lambda e: e.update(Layers=None), "Layers"),
        (lambda e: e.update(RepoTags=["localhost/other:1.0"]), "RepoTags"),
        (lambda e: e.update(RepoTags="x"), "RepoTags"),
        (lambda e: e.update(RepoTags=[7]), "RepoTags"),
    ],
)
def test_manifest_json_that_contradicts(tmp_path, edit, text):
    files = docker_manifest(layout(base_layer(), layer(file("x"))), edit)
    only(files, tmp_path, "docker-manifest", "manifest.json[0]", text)


@pytest.mark.parametrize("data", [b"{", b"\xff", b"[7]", b"7", b'{"a":1}'])
def test_manifest_json_that_is_none(tmp_path, data):
    files = layout()
    files.files["manifest.json"] = data
    only(files, tmp_path, "docker-manifest", "manifest.json")


@pytest.mark.parametrize(
    ("names", "tags"),
    [
        ({}, ["anything:1"]),
        ({REF_NAME: "1.0"}, ["localhost/app:1.0"]),
        ({REF_NAME: "localhost/app:1.0"}, ["localhost/app:1.0"]),
        ({REF_NAME: "latest", FULL_NAME: "docker.io/library/busybox:latest"}, ["busybox:latest"]),
        ({REF_NAME: "1", FULL_NAME: "docker.io/me/app:1"}, ["me/app:1", "me/app:latest"]),
        ({REF_NAME: "1", FULL_NAME: "host:5000/app:1"}, ["host:5000/app:1"]),
        ({REF_NAME: "1"}, None),
        ({REF_NAME: "1"}, []),
    ],
)
def test_repo_tags_that_agree(tmp_path, names, tags):
    files = docker_manifest(layout(), lambda e: e.update(RepoTags=tags))
    index(files, [{**files.images[0]["descriptor"], "annotations": names}])
    assert check(files, tmp_path) == []


def test_repo_tags_of_an_image_in_a_nested_index(tmp_path):
    files = Files()
    entry = image(files, [base_layer()], name="localhost/a:1")
    inner = files.document({"schemaVersion": 2, "manifests": [entry]}, INDEX)
    outer = files.document({"schemaVersion": 2, "manifests": [inner]}, INDEX)
    names = [{REF_NAME: "1", FULL_NAME: f"localhost/{name}:1"} for name in "ab"]
    index(files, [{**outer, "annotations": name} for name in names])
    for number, tag in enumerate(("localhost/a:1", "localhost/b:1")):
        docker_manifest(files, lambda e, tag=tag: e.update(RepoTags=[tag]))
        assert check(files, tmp_path / str(number)) == []
    docker_manifest(files, lambda e: e.update(RepoTags=["localhost/c:1"]))
    only(files, tmp_path / "c", "docker-manifest")


def test_names_of_two_images_that_were_swapped(tmp_path):
    files = Files()
    entries = [image(files, [layer(file(name))], tag="1", name=f"localhost/{name}:1") for name in "ab"]
    docker_manifest(index(files, entries))
    entries_of = json.loads(files.files["manifest.json"])
    entries_of[0]["RepoTags"], entries_of[1]["RepoTags"] = entries_of[1]["RepoTags"], entries_of[0]["RepoTags"]
    files.files["manifest.json"] = to_json(entries_of)
    assert rules(check(files, tmp_path)) == ["docker-manifest"] * 2


# ---- everything at once


def test_one_fault_hides_no_other(tmp_path):
    first, second = base_layer(), layer(file("x"))
    first.diff_id, second.blob = "sha256:" + "2" * 64, b"\x1f\x8bgarbage"

    def config(fields):
        fields.update(os="", history=[])

    files = layout(first, second, config=config, manifest=lambda m: m.update(schemaVersion=1))
    files.files["oci-layout"] = b"{}"
    files.files["manifest.json"] = b"7"
    files.files["blobs/sha256/zzz"] = b""
    found = check(files, tmp_path)
    assert sorted(set(rules(found))) == [
        "blob-name",
        "compression",
        "config-fields",
        "diff-id",
        "docker-manifest",
        "history-count",
        "layout-version",
        "platform",
        "schema-version",
    ]
    assert len(found) == len(set(found))


def test_one_image_of_several(tmp_path):
    files = Files()
    bad = layer(file("x"))
    bad.diff_id = "sha256:" + "3" * 64
    entries = [image(files, [base_layer()], tag="good"), image(files, [bad], tag="bad", name="localhost/app:bad")]
    docker_manifest(index(files, entries), lambda e: e.update(RepoTags=["localhost/app:bad"]))
    files.files["blobs/sha256/zzz"] = b""
    assert rules(check(files, tmp_path, "bad")) == ["diff-id"]
    assert rules(check(files, tmp_path, "good")) == ["docker-manifest"]
    assert rules(check(files, tmp_path)) == ["diff-id", "docker-manifest", "blob-name"]


def test_each_blob_is_read_once(tmp_path, monkeypatch):
    from oe_oci import content

    opened = []
    original = content._opened

    def counted(path, *what):
        opened.append(path)
        return original(path, *what)

    monkeypatch.setattr(content, "_opened", counted)
    files = Files()
    shared = base_layer()
    index(files, [image(files, [shared, layer(file(name))], tag=name) for name in "ab"])
    path = files.write(tmp_path)
    assert verify(str(path)) == []
    blobs = [name for name in opened if b"/blobs/" in name]
    assert len(blobs) == len(set(blobs)) == len(files.files) - 2


# ---- what is no layout, and archives


def test_no_layout(tmp_path):
    with pytest.raises(InputError, match="no such layout"):
        verify(str(tmp_path / "none"))
    with pytest.raises(InputError, match="no OCI image layout"):
        verify(str(tmp_path))
    (tmp_path / "a").write_bytes(tar([file("manifest.json", b"[]")]))
    with pytest.raises(InputError, match="no OCI image layout") as caught:
        verify(str(tmp_path / "a"))
    assert "skopeo" in caught.value.hint


def test_an_unknown_tag(tmp_path):
    path = layout().write(tmp_path)
    with pytest.raises(InputError, match=r"no image has the tag '2.0'; its tags are: 1.0"):
        verify(str(path), "2.0")


def test_an_archive_in_a_directory_and_compressed(tmp_path):
    path = layout().archive(tmp_path / "a", top="x/", compression="gzip")
    assert verify(str(path)) == []


def test_a_torn_archive(tmp_path):
    path = layout().archive(tmp_path / "a")
    data = path.read_bytes().rstrip(b"\0")
    for cut in range(1, len(data), 500):
        replaced(path, data[:cut])
        found = verify(str(path))
        assert found[0].rule == "archive"
        assert found[0].where == str(path)
        assert found[0].message.startswith("damaged tar archive")


def test_a_torn_compressed_archive(tmp_path):
    path = layout().archive(tmp_path / "a", compression="gzip")
    replaced(path, path.read_bytes()[:-9])
    assert verify(str(path)) == [Violation("archive", str(path), "ends in the middle of its compressed data")]


# ---- what other tools make


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.skipif(shutil.which("umoci") is None, reason="needs umoci")
def test_layouts_umoci_made(tmp_path):
    path = str(tmp_path / "l")
    run("umoci", "init", "--layout", path)
    run("umoci", "new", "--image", f"{path}:t")
    (tmp_path / "layer.tar").write_bytes(base_layer().tar)
    run("umoci", "raw", "add-layer", "--image", f"{path}:t", str(tmp_path / "layer.tar"))
    assert verify(path) == verify(path, "t") == []


@pytest.mark.skipif(shutil.which("umoci") is None, reason="needs umoci")
def test_the_tar_without_end_that_umoci_inserts(tmp_path):
    path = str(tmp_path / "l")
    run("umoci", "init", "--layout", path)
    run("umoci", "new", "--image", f"{path}:t")
    (tmp_path / "f").write_bytes(b"abc")
    run("umoci", "insert", "--image", f"{path}:t", str(tmp_path / "f"), "/f")
    found = verify(path)
    assert all((v.rule, "no end mark" in v.message) == ("tar", True) for v in found)


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo")
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_archives_skopeo_made(tmp_path, compression):
    source = layout(base_layer(), layer(file("x"))).write(tmp_path / "l")
    how = ["--dest-compress", "--dest-compress-format", compression, "--dest-force-compress-format"]
    target = f"oci-archive:{tmp_path}/a.tar:x"
    try:
        run("skopeo", "copy", *how, f"oci:{source}:1.0", target)
    except subprocess.CalledProcessError:
        run("skopeo", "copy", *how[:3], f"oci:{source}:1.0", target)
    assert verify(f"{tmp_path}/a.tar") == []


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("buildah") is None, reason="needs buildah, as root")
def test_a_layout_buildah_made(tmp_path):
    store = ["buildah", "--root", str(tmp_path / "r"), "--runroot", str(tmp_path / "rr"), "--storage-driver", "vfs"]
    (tmp_path / "f").write_bytes(b"abc")
    made = subprocess.run([*store, "from", "scratch"], check=True, capture_output=True, text=True).stdout.strip()
    run(*store, "copy", made, str(tmp_path / "f"), "/f")
    run(*store, "commit", "--format", "oci", made, f"oci:{tmp_path}/l:t")
    assert verify(str(tmp_path / "l")) == []
