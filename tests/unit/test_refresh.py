# SPDX-License-Identifier: MIT
"""Archives and report made anew of a layout that somebody changed."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import stat
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from support.configs import config
from support.layouts import COMPRESS, file, tar

from oe_oci.build import build
from oe_oci.config import BaseRef, Config, HostCopy, HostLayer, Names
from oe_oci.errors import InputError
from oe_oci.inputs import Options
from oe_oci.refresh import refresh

if TYPE_CHECKING:
    from pathlib import Path

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
REF, FULL = "org.opencontainers.image.ref.name", "io.containerd.image.name"


class Image:
    """A built image, whose layout is changed as other tools do it."""

    def __init__(self, folder: Path, **fields: Any) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "source").write_text("1")
        copies = (HostCopy(str(folder / "source"), "/etc/file", "source:/etc/file"),)
        layers = (HostLayer("files", copies), HostLayer("again", copies))
        given = {"layers": layers, "deploy_dir": str(folder / "deploy"), "archives": True, **fields}
        self.config: Config = config(**given)
        build(self.config, Options(2))
        self.layout = folder / "deploy" / f"{self.config.names.stem}-oci"

    @property
    def report(self) -> dict[str, Any]:
        return json.loads((self.folder / "deploy" / f"{self.config.names.stem}-oci.json").read_text())

    def outputs(self) -> dict[str, bytes]:
        found = (self.folder / "deploy").iterdir()
        return {path.name: path.read_bytes() for path in found if path.is_file() and not path.is_symlink()}

    def refresh(self) -> dict[str, Any] | None:
        return refresh(self.config, Options(2))

    def blob(self, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        path = self.layout / "blobs/sha256" / name
        path.write_bytes(data)
        path.chmod(0o600)  # as umoci makes them
        return f"sha256:{name}"

    def document(self, digest: str) -> dict[str, Any]:
        return json.loads((self.layout / "blobs/sha256" / digest.partition(":")[2]).read_text())

    @property
    def index(self) -> dict[str, Any]:
        return json.loads((self.layout / "index.json").read_text())

    def write_index(self, *entries: dict[str, Any]) -> None:
        value = {"manifests": list(entries), "schemaVersion": 2, "mediaType": self.index["mediaType"]}
        (self.layout / "index.json").unlink()
        (self.layout / "index.json").write_text(json.dumps(value))
        (self.layout / "index.json").chmod(0o600)

    def reconfigured(self, *more: bytes, **fields: Any) -> dict[str, Any]:
        """The entry of the image with another config, and with layers on top whose tars are given."""
        (entry,) = self.index["manifests"][:1]
        manifest = self.document(entry["digest"])
        image = self.document(manifest["config"]["digest"])
        image["config"].update(fields)
        for data in more:
            packed = COMPRESS["gzip"](data)
            manifest["layers"].append({"mediaType": LAYER, "digest": self.blob(packed), "size": len(packed)})
            image["rootfs"]["diff_ids"].append(f"sha256:{hashlib.sha256(data).hexdigest()}")
        text = json.dumps(image).encode()
        manifest["config"].update(digest=self.blob(text), size=len(text))
        return self.entry(manifest, entry)

    def entry(self, manifest: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(manifest).encode()
        return {**entry, "digest": self.blob(text), "size": len(text)}

    def archive(self, ending: str = "-oci.tar") -> dict[str, bytes]:
        with tarfile.open(self.folder / "deploy" / f"{self.config.names.stem}{ending}") as opened:
            return {one.name: opened.extractfile(one).read() for one in opened if one.isfile()}

    def tags(self) -> list[list[str]]:
        return [entry["RepoTags"] for entry in json.loads(self.archive()["manifest.json"])]


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return Image(tmp_path)


def test_what_the_build_wrote_is_left_alone(image):
    before = image.outputs()
    stamps = {path: path.lstat().st_mtime_ns for path in (image.folder / "deploy").rglob("*")}
    assert image.refresh() is None
    assert image.outputs() == before
    assert stamps == {path: path.lstat().st_mtime_ns for path in stamps}
    assert sorted(path.name for path in (image.folder / "deploy").iterdir()) == sorted(
        ["app-oci", *before, *(name.replace("app-", "app-latest-") for name in ["app-oci", *before])]
    )


def test_another_config_is_in_archives_and_report(image):
    before = image.report
    entry = image.reconfigured(User="65532")
    image.write_index(entry)
    report = image.refresh()
    assert report == image.report
    config_digest = image.document(entry["digest"])["config"]["digest"]
    assert (report["image"]["digest"], report["image"]["config"]) == (entry["digest"], config_digest)
    note = f"the layout was changed after the build, which had made {before['image']['digest']}"
    image_facts = {**before["image"], "digest": entry["digest"], "config": config_digest}
    expected = {**before, "image": image_facts, "outputs": report["outputs"], "notes": [note]}
    assert report == expected
    files = image.archive()
    assert files["index.json"] == (image.layout / "index.json").read_bytes()
    (loaded,) = json.loads(files["manifest.json"])
    assert loaded == {
        "Config": f"blobs/sha256/{config_digest.partition(':')[2]}",
        "RepoTags": ["localhost/app:latest"],
        "Layers": [f"blobs/sha256/{before['layers'][0]['digest'].partition(':')[2]}"],
    }
    inside = {f"app-oci/{name}": data for name, data in files.items()}
    assert image.archive("-oci-dir.tar") == inside
    for name, facts in report["outputs"]["archives"].items():
        data = (image.folder / "deploy" / name).read_bytes()
        assert facts == {"digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}


def test_what_the_index_leads_to_no_more_stays_and_is_in_no_archive(image):
    there = set(os.listdir(image.layout / "blobs/sha256"))
    mine = image.blob(b"somebody's own").partition(":")[2]
    image.write_index(image.reconfigured(User="1"))
    image.refresh()
    assert {*there, mine} < set(os.listdir(image.layout / "blobs/sha256"))
    names = {name.rpartition("/")[2] for name in image.archive() if name.startswith("blobs")}
    assert len(names) == 3
    assert len(names & there) == 1
    assert mine not in names


def test_what_others_wrote_is_readable_by_all(image):
    image.write_index(image.reconfigured(User="1"))
    image.refresh()
    referenced = {image.layout / name for name in image.archive() if name != "manifest.json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in referenced} == {0o644}


def test_a_second_time_nothing_is_to_be_done(image):
    image.write_index(image.reconfigured(User="1"))
    image.refresh()
    before = image.outputs()
    assert image.refresh() is None
    assert image.outputs() == before


def test_a_second_change_is_told_of_the_build(image):
    first = image.report["image"]["digest"]
    image.write_index(image.reconfigured(User="1"))
    image.refresh()
    image.write_index(image.reconfigured(User="2"))
    report = image.refresh()
    assert report["notes"] == [f"the layout was changed after the build, which had made {first}"]
    assert report["image"]["digest"] == image.index["manifests"][0]["digest"]


def test_a_layer_more_is_told_without_what_is_not_known(image):
    before = image.report["layers"]
    data = tar([file("home/app", b"")])
    image.write_index(image.reconfigured(data))
    report = image.refresh()
    assert report["layers"][:1] == before[:1]
    added = report["layers"][1]
    assert sorted(added) == ["diffId", "digest", "mediaType", "size"]
    assert added["diffId"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert report["layers"][2:] == before[1:]  # the one that was left out
    assert before[1]["note"] == "left out: it changes nothing"
    assert "compressor" not in report


def test_a_layer_less_is_told_of_no_more(image):
    (entry,) = image.index["manifests"]
    manifest = image.document(entry["digest"])
    fields = image.document(manifest["config"]["digest"])
    fields["rootfs"]["diff_ids"], manifest["layers"] = [], []
    text = json.dumps(fields).encode()
    manifest["config"].update(digest=image.blob(text), size=len(text))
    image.write_index(image.entry(manifest, entry))
    assert [layer["name"] for layer in image.refresh()["layers"]] == ["again"]


def test_a_layer_that_is_compressed_again_is_the_same_layer(image):
    (entry,) = image.index["manifests"]
    manifest = image.document(entry["digest"])
    path = image.layout / "blobs/sha256" / manifest["layers"][0]["digest"].partition(":")[2]
    data = gzip.compress(gzip.decompress(path.read_bytes()), 1)
    manifest["layers"][0].update(digest=image.blob(data), size=len(data))
    before = image.report["layers"][0]
    image.write_index(image.entry(manifest, entry))
    report = image.refresh()
    assert report["layers"][0] == {**before, "digest": manifest["layers"][0]["digest"], "size": len(data)}
    assert "compressor" not in report


def test_layers_of_the_base_stay_its_own(tmp_path):
    base = Image(tmp_path / "base")
    (tmp_path / "other").write_text("2")
    layer = HostLayer("more", (HostCopy(str(tmp_path / "other"), "/etc/more", "other:/etc/more"),))
    image = Image(tmp_path / "app", base=BaseRef(str(base.layout), "latest", "base"), layers=(layer,))
    before = image.report
    assert before["base"]["diffIds"] == [base.report["layers"][0]["diffId"]]
    image.write_index(image.reconfigured(User="1"))
    report = image.refresh()
    assert (report["base"], report["layers"]) == (before["base"], before["layers"])
    # Where the lowest layer is another one, nothing is said of a base.
    (entry,) = image.index["manifests"]
    manifest = image.document(entry["digest"])
    fields = image.document(manifest["config"]["digest"])
    fields["rootfs"]["diff_ids"].reverse()
    manifest["layers"].reverse()
    text = json.dumps(fields).encode()
    manifest["config"].update(digest=image.blob(text), size=len(text))
    image.write_index(image.entry(manifest, entry))
    report = image.refresh()
    assert "base" not in report
    assert [layer.get("name") for layer in report["layers"]] == ["more", None]


def test_names_that_other_tools_give(image):
    (entry,) = image.index["manifests"]
    more = {
        "2.0": {**entry["annotations"], REF: "2.0"},  # as umoci copies what else is said
        "shop:3": {REF: "shop:3"},
        "team/shop": {REF: "team/shop"},
        "own": {REF: "own", FULL: "example.com/own:1"},
    }
    image.write_index(entry, *({**entry, "annotations": annotations} for annotations in more.values()))
    report = image.refresh()
    expected = ["localhost/app:latest", "localhost/app:2.0", "shop:3", "team/shop:latest", "example.com/own:1"]
    assert image.tags() == [expected]
    assert report["image"]["name"] == "localhost/app:latest"


def test_an_image_under_another_tag_alone(image):
    (entry,) = image.index["manifests"]
    image.write_index({**entry, "annotations": {REF: "2.0"}})
    report = image.refresh()
    assert (report["image"]["name"], report["image"]["tag"]) == ("localhost/app:2.0", "2.0")
    assert image.tags() == [["localhost/app:2.0"]]


def test_two_images_are_both_loaded_and_the_builds_own_is_told_of(image):
    (entry,) = image.index["manifests"]
    other = image.reconfigured(User="7")
    image.write_index({**other, "annotations": {REF: "debug"}}, entry)
    report = image.refresh()
    assert image.tags() == [["localhost/app:latest"], ["localhost/app:debug"]]
    assert report["image"]["digest"] == entry["digest"]


def test_an_image_that_lost_its_name_is_not_loaded(image):
    """As skopeo leaves one, with what else its entry says."""
    (entry,) = image.index["manifests"]
    other = {**image.reconfigured(User="7"), "annotations": {REF: "latest"}}
    image.write_index({**entry, "annotations": {FULL: "localhost/app:latest"}}, other)
    assert image.refresh()["image"]["digest"] == other["digest"]
    assert image.tags() == [["localhost/app:latest"]]


def test_what_is_no_image_comes_along(image):
    """An artifact that refers to the image, as signatures are kept."""
    (entry,) = image.index["manifests"]
    empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": image.blob(b"{}"), "size": 2}
    artifact = {"schemaVersion": 2, "mediaType": MANIFEST, "config": empty, "layers": [empty]}
    text = json.dumps(artifact).encode()
    described = {"mediaType": MANIFEST, "digest": image.blob(text), "size": len(text)}
    image.write_index(entry, described)
    assert image.refresh()["image"]["digest"] == entry["digest"]
    assert f"blobs/{described['digest'].replace(':', '/')}" in image.archive()
    assert image.tags() == [["localhost/app:latest"]]


def test_archives_are_those_that_the_settings_ask_for(tmp_path):
    image = Image(tmp_path, archives=False)
    image.write_index(image.reconfigured(User="1"))
    assert image.refresh()["outputs"] == {"layout": "app-oci", "archives": {}}
    assert not [name for name in image.outputs() if ".tar" in name]


def test_archives_of_sloci_image_keep_their_names(tmp_path):
    archives = ("-oci-latest-arm64-linux.oci-image.tar", "-oci-latest-arm64-linux.oci-dir.tar")
    image = Image(tmp_path, names=Names("app", "app-latest", "latest", "localhost/app:latest", archives))
    before = set(image.outputs())
    image.write_index(image.reconfigured(User="1"))
    assert sorted(image.refresh()["outputs"]["archives"]) == sorted(f"app{name}" for name in archives)
    assert set(image.outputs()) == before


def test_the_same_change_makes_the_same_archives(tmp_path):
    found = []
    for name in ("one", "two"):
        image = Image(tmp_path / name)
        image.write_index(image.reconfigured(User="1"))
        image.refresh()
        found.append(image.outputs())
    assert found[0] == found[1]


# ---- what can not be refreshed


def _torn(image: Image) -> None:
    (image.layout / "index.json").write_bytes((image.layout / "index.json").read_bytes()[:-40])


def _no_index(image: Image) -> None:
    (image.layout / "index.json").unlink()


def _no_entry(image: Image) -> None:
    image.write_index()


def _no_manifest(image: Image) -> None:
    image.write_index({**image.index["manifests"][0], "digest": f"sha256:{'0' * 64}"})


def _no_layer(image: Image) -> None:
    entry = image.reconfigured(User="1")
    image.write_index(entry)
    digest = image.document(entry["digest"])["layers"][0]["digest"]
    (image.layout / "blobs/sha256" / digest.partition(":")[2]).unlink()


def _short_layer(image: Image) -> None:
    entry = image.reconfigured(User="1")
    image.write_index(entry)
    digest = image.document(entry["digest"])["layers"][0]["digest"]
    with open(image.layout / "blobs/sha256" / digest.partition(":")[2], "ab") as blob:
        blob.write(b"x")


def _other_manifest(image: Image) -> None:
    entry = image.reconfigured(User="1")
    (image.layout / "blobs/sha256" / entry["digest"].partition(":")[2]).write_bytes(b"x" * entry["size"])
    image.write_index(entry)


def _linked_index(image: Image) -> None:
    (image.layout / "index.json").rename(image.folder / "index.json")
    (image.layout / "index.json").symlink_to(image.folder / "index.json")


def _no_report(image: Image) -> None:
    (image.folder / "deploy/app-oci.json").unlink()


def _damaged_report(image: Image) -> None:
    (image.folder / "deploy/app-oci.json").write_text('{"image": []}')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_torn, "app-oci: index.json: not JSON"),
        (_no_index, "app-oci: index.json is missing"),
        (_no_entry, "app-oci: holds no image"),
        (_no_manifest, f"app-oci: blobs/sha256/{'0' * 64} is missing"),
        (_no_layer, " is missing"),
        (_short_layer, " bytes, its descriptor says "),
        (_other_manifest, " has the digest sha256:"),
        (_linked_index, "app-oci: index.json is no regular file"),
        (_no_report, "app-oci.json: there is no report of a build"),
        (_damaged_report, "app-oci.json: image: expected a JSON object"),
    ],
)
def test_damage_is_one_error_and_changes_nothing(image, damage, message):
    damage(image)
    before = image.outputs()
    with pytest.raises(InputError) as raised:
        image.refresh()
    assert message in str(raised.value)
    assert image.outputs() == before
    assert not [name for name in os.listdir(image.folder / "deploy") if "partial" in name]
