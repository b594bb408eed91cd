# SPDX-License-Identifier: MIT
from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import pytest
from support.layouts import (
    FULL_NAME,
    INDEX,
    LAYER,
    MANIFEST,
    REF_NAME,
    Files,
    Layer,
    Member,
    base_layer,
    blob_name,
    docker_manifest,
    file,
    folder,
    hardlink,
    image,
    index,
    layer,
    layout,
    replaced,
    symlink,
    tar,
)

from oe_oci.errors import InputError
from oe_oci.lint import lint_layout
from oe_oci.oci.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

    from oe_oci.oci.verify import Violation

DOCKER = "application/vnd.docker."


def check(files: Files, path: Path, tag: str | None = None) -> list[Violation]:
    """What is found, which is the same in a directory and in an archive that docker can load."""
    found = lint_layout(str(files.write(path / "d")), tag)
    if "manifest.json" not in files.files:
        files = docker_manifest(Files(dict(files.files), files.images))
        files.files["manifest.json"] = b'[{"RepoTags":["localhost/app:1.0"]}]'
    assert lint_layout(str(files.archive(path / "a.tar")), tag) == found
    return found


def only(files: Files, path: Path, rule: str, where: str = "", *texts: str) -> Violation:
    (violation,) = check(files, path)
    assert violation.rule == rule
    assert where in violation.where
    for text in texts:
        assert text in violation.message
    return violation


def in_layer(path: Path, members: list[Member], rule: str, where: str, *texts: str, lower: list[Member] = ()) -> None:
    """The rule is the only one broken by a layer, in which it is reported for `where`."""
    parts = [layer(*lower)] if lower else []
    top = layer(*members)
    files = layout(*parts, top)
    digest = files.images[0]["manifest"]["layers"][-1]["digest"]
    violation = only(files, path, rule, "", *texts)
    assert violation.where == f"{digest} {where}"


def clean(path: Path, *layers: list[Member]) -> None:
    assert check(layout(*(layer(*members) for members in layers)), path) == []


# ---- nothing to say


def test_a_clean_layout(tmp_path):
    files = docker_manifest(layout(base_layer(), layer(file("etc/.wh.hostname", b""), file("etc/x"))))
    for tag in (None, "1.0"):
        assert check(files, tmp_path, tag) == []
    assert lint_layout(str(files.archive(tmp_path / "b", compression="gzip"))) == []


def test_what_every_consumer_takes(tmp_path):
    clean(
        tmp_path,
        [
            folder("./"),
            file("./no/parent/entries"),
            file("/absolute"),
            Member("dev/null", kind=tarfile.CHRTYPE, device=(1, 3)),
            file("big-uid", uid=(1 << 32) - 2),
            file("capable", pax={"SCHILY.xattr.security.capability": "x"}),
            file("precise", mtime=1.25),
            file("a"),
            hardlink("b", "a"),
            symlink("link", "where"),
        ],
        [
            file(".wh.never-there", b""),
            symlink("link", "else"),
            file("d/new"),
            file("d/.wh..wh..opq", b""),
            file(".wh..wh.plnk/1.2"),
        ],
    )


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_compressions_every_consumer_takes(tmp_path, compression):
    part = layer(file("x"), compression=compression)
    part.blob += b"" if compression == "none" else Layer(b"").blob
    assert check(layout(part), tmp_path) == []


def test_a_nested_index_and_an_attestation(tmp_path):
    files = Files()
    entries = [
        image(files, [layer(file(name))], platform={"os": "linux", "architecture": name}) for name in ("amd64", "arm64")
    ]
    unknown = {"os": "unknown", "architecture": "unknown"}
    entries.append(image(files, [layer(file("statement"))], platform=unknown))
    inner = files.document({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}, INDEX)
    names = {REF_NAME: "1.0", FULL_NAME: "localhost/app:1.0"}
    assert check(index(files, [{**inner, "annotations": names}]), tmp_path) == []


# ---- the layout and its archive


def test_no_oci_layout(tmp_path):
    files = layout()
    del files.files["oci-layout"]
    only(files, tmp_path, "no-oci-layout", "", "containerd", "umoci")


def test_top_directory(tmp_path):
    path = docker_manifest(layout()).archive(tmp_path / "a", top="app-oci/")
    (violation,) = lint_layout(str(path))
    assert violation.rule == "top-directory"
    assert "app-oci/" in violation.message
    assert "docker, podman and containerd" in violation.message


def test_no_docker_manifest(tmp_path):
    (violation,) = lint_layout(str(layout().archive(tmp_path / "a")))
    assert violation.rule == "no-docker-manifest"
    assert "docker load" in violation.message


@pytest.mark.parametrize(
    "tags", [["localhost/App:1"], ["app"], ["app:"], ["a b:1"], ["app:-1"], ["x@sha256:0"], [7], [""], [], None]
)
def test_repo_tags(tmp_path, tags):
    files = docker_manifest(layout(), lambda entry: entry.update(RepoTags=tags))
    only(files, tmp_path, "repo-tags", "manifest.json[0]", "docker")


@pytest.mark.parametrize("tag", ["app:1", "me/app:1.0-x_y", "host:5000/app:1", "X.Y/a__b/c--d:1", "localhost/a:1"])
def test_good_repo_tags(tmp_path, tag):
    assert check(docker_manifest(layout(), lambda entry: entry.update(RepoTags=[tag])), tmp_path) == []


def test_manifest_json_that_is_none(tmp_path):
    for number, data in enumerate((b"{", b"[1]", b"7", b'[{"RepoTags":7}]')):
        files = layout()
        files.files["manifest.json"] = data
        only(files, tmp_path / str(number), "unreadable", "manifest.json")


# ---- names and platforms


def test_several_images(tmp_path):
    files = Files()
    index(files, [image(files, [layer(file(name))], tag=name) for name in ("a", "b")])
    only(files, tmp_path / "1", "several-images", "index.json", "2 entries", "podman", "skopeo")
    assert check(files, tmp_path / "2", "a") == []


def test_what_is_no_image_is_counted_but_not_judged(tmp_path):
    files = Files()
    other = files.blob(b"?", "application/x-thing")
    unknown = image(files, [layer(file("x"))], platform={"os": "unknown", "architecture": "unknown"})
    empty = files.blob(b"{}", "application/vnd.oci.empty.v1+json")
    artifact = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "a/b", "config": empty, "layers": [empty]}
    index(files, [image(files, [base_layer()]), files.document(artifact, MANIFEST), other, unknown])
    assert verify(str(files.write(tmp_path / "v"))) == []
    only(files, tmp_path / "l", "several-images", "index.json", "4 entries")


def test_no_ref_name(tmp_path):
    names = {FULL_NAME: "localhost/app:1.0"}
    only(
        layout(descriptor=lambda d: d.update(annotations=names)), tmp_path, "no-ref-name", "manifests[0]", "containerd"
    )


@pytest.mark.parametrize("name", [" ", "a b", "-a", "a-", "a//b", "/a", "a/", "a::b", "ä", "a---b"])
def test_ref_name(tmp_path, name):
    only(layout(tag=name), tmp_path, "ref-name", "manifests[0]", repr(name))


@pytest.mark.parametrize("name", ["1.0", "latest", "localhost/App:1.0", "a--b", "a@b", "v1+2", "a/b/c"])
def test_good_ref_names(tmp_path, name):
    assert check(layout(tag=name), tmp_path) == []


@pytest.mark.parametrize("name", ["app:1.0", "localhost/app", "localhost/App:1", "me/app:1", "localhost/a:b:c"])
def test_full_name(tmp_path, name):
    only(layout(name=name), tmp_path, "full-name", "manifests[0]", "containerd", repr(name))


def test_no_full_name(tmp_path):
    def without(entry):
        entry["annotations"].pop(FULL_NAME)

    only(layout(descriptor=without), tmp_path / "1", "full-name", "manifests[0]", "import-DATE:1.0", "localhost/1.0")
    assert check(layout(tag="localhost/app:1.0", descriptor=without), tmp_path / "2") == []


def test_no_platform(tmp_path):
    files = layout(descriptor=lambda d: d.pop("platform"))
    only(files, tmp_path, "no-platform", files.images[0]["descriptor"]["digest"])


def test_no_platform_in_a_nested_index(tmp_path):
    files = Files()
    entry = image(files, [base_layer()], descriptor=lambda d: d.pop("platform"))
    names = {REF_NAME: "1.0", FULL_NAME: "localhost/app:1.0"}
    inner = files.document({"schemaVersion": 2, "manifests": [entry]}, INDEX)
    only(index(files, [{**inner, "annotations": names}]), tmp_path, "no-platform", entry["digest"])


@pytest.mark.parametrize(
    ("platform", "text"),
    [
        ({"os": "linux", "architecture": "aarch64"}, "write arm64"),
        ({"os": "linux", "architecture": "x86_64"}, "write amd64"),
        ({"os": "linux", "architecture": "zx81"}, "'zx81' is no architecture"),
        ({"os": "Linux", "architecture": "amd64"}, "'Linux' is no operating system"),
    ],
)
def test_platform(tmp_path, platform, text):
    files = layout(descriptor=lambda d: d.update(platform=platform))
    only(files, tmp_path / "1", "platform", files.images[0]["descriptor"]["digest"], text, "containerd")
    found = check(layout(platform=platform), tmp_path / "2")
    assert [violation.rule for violation in found] == ["platform", "platform"]


# ---- manifest and config


def test_zstd_layer(tmp_path):
    only(layout(layer(file("x"), compression="zstd")), tmp_path, "zstd-layer", "layers[0]", "docker before 23", "umoci")


def test_docker_media_type(tmp_path):
    part = layer(file("x"), media_type=DOCKER + "image.rootfs.diff.tar.gzip")
    only(layout(part), tmp_path / "1", "docker-media-type", "layers[0]", "umoci")
    files = layout(manifest=lambda m: m["config"].update(mediaType=DOCKER + "container.image.v1+json"))
    only(files, tmp_path / "2", "docker-media-type", "config", "podman")


def test_docker_media_types_in_dockers_own_manifest(tmp_path):
    kind = DOCKER + "distribution.manifest.v2+json"

    def edit(manifest):
        manifest.update(mediaType=kind)
        manifest["config"].update(mediaType=DOCKER + "container.image.v1+json")

    part = layer(file("x"), media_type=DOCKER + "image.rootfs.diff.tar.gzip")
    files = layout(part, manifest=edit, descriptor=lambda d: d.update(mediaType=kind))
    assert check(files, tmp_path) == []


def test_nondistributable(tmp_path):
    for number, kind in enumerate(
        (LAYER.replace("layer", "layer.nondistributable"), DOCKER + "image.rootfs.foreign.diff.tar")
    ):
        files = layout(layer(file("x"), media_type=kind))
        only(files, tmp_path / str(number), "nondistributable", "layers[0]")


def test_layer_media_type(tmp_path):
    only(layout(layer(file("x"), media_type="a/b")), tmp_path, "layer-media-type", "layers[0]", "'a/b'", "umoci")


def test_too_many_layers(tmp_path):
    parts = [layer(file(f"f{number}")) for number in range(126)]
    assert check(layout(*parts[:125]), tmp_path / "125") == []
    only(layout(*parts), tmp_path / "126", "too-many-layers", "sha256:", "126", "docker", "podman")


def test_history_count(tmp_path):
    files = layout(config=lambda c: c["history"].append({}))
    only(files, tmp_path / "1", "history-count", "sha256:", "2 layers", "docker refuses")
    only(layout(config=lambda c: c["history"].pop()), tmp_path / "2", "history-count", "sha256:", "0 layers")
    assert check(layout(config=lambda c: c["history"].append({"empty_layer": True})), tmp_path / "3") == []
    assert check(layout(config=lambda c: c.pop("history")), tmp_path / "4") == []


@pytest.mark.parametrize("text", ["PATH", "", 7])
def test_env(tmp_path, text):
    only(layout(config=lambda c: c["config"].update(Env=["A=", text])), tmp_path, "env", "sha256:", repr(text), "umoci")


# ---- layers


def test_duplicate_path(tmp_path):
    in_layer(tmp_path / "1", [file("a"), file("b"), file("./a")], "duplicate-path", "/a", "docker and podman")
    in_layer(tmp_path / "2", [folder("d"), folder("d/")], "duplicate-path", "/d")
    in_layer(tmp_path / "3", [file("a"), file("b"), hardlink("b", "a")], "duplicate-path", "/b")
    in_layer(tmp_path / "4", [file(".wh.x", b"")] * 2, "duplicate-path", "/.wh.x")


def test_whiteout_own_entry(tmp_path):
    rule = "whiteout-own-entry"
    in_layer(tmp_path / "1", [file("d/a"), file("d/.wh.a", b"")], rule, "/d/.wh.a", "docker, podman")
    in_layer(tmp_path / "2", [file("d/a/b"), file("d/.wh.a", b"")], rule, "/d/.wh.a")
    clean(tmp_path / "3", [file("d/a")], [file("d/.wh.a", b""), file("d/a")])


def test_whiteout_late(tmp_path):
    lower = [file("d/a"), file("d/c")]
    members = [file("d/b"), file("d/.wh.a", b""), file("d/.wh.c", b"")]
    in_layer(tmp_path / "1", members, "whiteout-late", "/d/.wh.a", "specification", lower=lower)
    clean(tmp_path / "2", lower, [folder("d"), folder("e"), file("d/.wh.a", b""), file("d/b")])


def test_whiteout_below_link(tmp_path):
    lower = [folder("u"), file("d/x")]
    members = [symlink("d", "u"), file("d/.wh.x", b"")]
    in_layer(tmp_path / "1", members, "whiteout-below-link", "/d/.wh.x", "docker and podman", lower=lower)
    clean(tmp_path / "2", lower, members[::-1])


@pytest.mark.parametrize("name", [".wh.", "d/.wh.", ".wh..", ".wh..."])
def test_whiteout_name(tmp_path, name):
    in_layer(tmp_path, [file(name, b"")], "whiteout-name", f"/{name}", "every consumer")


@pytest.mark.parametrize(
    "parent",
    [file("a"), symlink("a", "nowhere"), symlink("a", "f"), Member("a", kind=tarfile.FIFOTYPE), symlink("a", "a")],
)
def test_parent_not_directory(tmp_path, parent):
    members = [file("f"), parent, file("a/b"), file("a/c/d")]
    in_layer(tmp_path, members, "parent-not-directory", "/a/b", "docker and podman", "/a, a ")


def test_a_filled_directory_that_becomes_something_else(tmp_path):
    in_layer(tmp_path / "1", [file("a/b"), symlink("a", "u")], "parent-not-directory", "/a", "is lost")
    in_layer(tmp_path / "2", [file("u/a"), file("d/e/f"), hardlink("d", "u/a")], "parent-not-directory", "/d")


def test_a_link_to_a_directory_only_lower_layers_have(tmp_path):
    members = [symlink("a", "u"), file("a/b")]
    in_layer(tmp_path / "1", members, "parent-not-directory", "/a/b", lower=[folder("u")])
    clean(tmp_path / "2", [folder("u"), *members])
    clean(tmp_path / "3", [file("u/x"), *members])
    clean(tmp_path / "4", [file("u/x"), symlink("a", "/u"), file("a/b")])


def test_lower_link(tmp_path):
    lower = [folder("usr"), folder("usr/bin"), symlink("bin", "usr/bin")]
    members = [file("bin/a"), file("bin/b"), folder("bin/c")]
    in_layer(tmp_path / "1", members, "lower-link", "/bin/a", "/bin, a link", "hide the link", lower=lower)
    in_layer(tmp_path / "2", [file("bin/.wh.a", b"")], "lower-link", "/bin/.wh.a", lower=lower)
    clean(tmp_path / "3", lower, [file("usr/bin/a")])
    clean(tmp_path / "4", lower, [folder("bin"), file("bin/a")])
    clean(tmp_path / "5", lower, [file(".wh.bin", b""), file("bin/a")])
    clean(tmp_path / "6", lower, [file(".wh..wh..opq", b""), file("bin/a")])


def test_lower_link_through_several_layers(tmp_path):
    lower = [folder("u"), symlink("l", "u")]
    clean(tmp_path / "1", lower, [file(".wh.l", b"")], [file("l/a")])
    clean(tmp_path / "2", lower, [folder("l")], [file("l/a")])
    files = layout(layer(*lower), layer(file("x")), layer(file("l/a")))
    only(files, tmp_path / "3", "lower-link")


def test_hardlink_before_target(tmp_path):
    in_layer(tmp_path, [hardlink("b", "a"), file("a")], "hardlink-before-target", "/b", "/a", "docker, podman")


def test_hardlink_lower(tmp_path):
    in_layer(tmp_path, [hardlink("b", "a")], "hardlink-lower", "/b", "/a", "docker, podman", lower=[file("a")])


def test_hardlink_missing(tmp_path):
    in_layer(tmp_path / "1", [hardlink("b", "a")], "hardlink-missing", "/b", "/a", "every consumer")
    in_layer(tmp_path / "2", [folder("a"), hardlink("b", "a")], "hardlink-missing", "/b", "directory")


def test_a_hard_link_is_what_its_target_is(tmp_path):
    lower = [symlink("a", "u"), hardlink("l", "a")]
    in_layer(tmp_path, [file("l/x")], "lower-link", "/l/x", lower=lower)


def test_odd_names_are_shown_on_one_line(tmp_path):
    (violation,) = check(layout(layer(file("a\nb"), file("a\nb"))), tmp_path)
    assert violation.where.endswith(" /a\\x0ab")


# ---- what can not be judged


def test_a_layer_that_can_not_be_read(tmp_path):
    files = layout(Layer(tar([file("a"), file("a"), file("b", b"x" * 600)])[: 512 * 6]))
    found = check(files, tmp_path)
    assert [violation.rule for violation in found] == ["duplicate-path", "unreadable"]
    assert "ends in the middle" in found[1].message


def test_a_missing_blob(tmp_path):
    for number, what in enumerate(("descriptor", "config", "layer")):
        files = layout()
        made = files.images[0]
        part = {"descriptor": made["descriptor"], "config": made["manifest"]["config"]}
        del files.files[blob_name(part.get(what, made["manifest"]["layers"][0])["digest"])]
        only(files, tmp_path / str(number), "unreadable", "sha256:", "is missing")


def test_an_index_that_can_not_be_read(tmp_path):
    files = layout()
    files.files["index.json"] = b"{"
    assert [violation.rule for violation in lint_layout(str(files.write(tmp_path)))] == ["unreadable"]


def test_a_bomb(tmp_path):
    path = layout(layer(file("x", bytes(1 << 20)))).write(tmp_path)
    (violation,) = lint_layout(str(path), limit=1 << 18)
    assert "unpacks to more than" in violation.message


def test_a_torn_archive(tmp_path):
    path = docker_manifest(layout()).archive(tmp_path / "a")
    replaced(path, path.read_bytes().rstrip(b"\0")[:-1])
    assert lint_layout(str(path))[0].rule == "unreadable"
    replaced(path, b"no archive")
    assert [violation.rule for violation in lint_layout(str(path))] == ["unreadable"]


def test_no_layout(tmp_path):
    with pytest.raises(InputError, match="no OCI image layout"):
        lint_layout(str(tmp_path))
    with pytest.raises(InputError, match="no such layout"):
        lint_layout(str(tmp_path / "none"))


def test_an_unknown_tag(tmp_path):
    with pytest.raises(InputError, match=r"its tags are: 1\.0"):
        lint_layout(str(layout().write(tmp_path)), "2.0")


def test_one_image_of_several(tmp_path):
    files = Files()
    entries = [image(files, [base_layer()], tag="good"), image(files, [layer(file("a"), file("a"))], tag="bad")]
    index(files, entries)
    assert check(files, tmp_path, "good") == []
    assert [violation.rule for violation in check(files, tmp_path, "bad")] == ["duplicate-path"]
