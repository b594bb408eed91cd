# SPDX-License-Identifier: MIT
"""Outputs appear whole or not at all, under their names, and nothing stays beside them."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import tarfile
import threading

import pytest
from support.configs import config

import oe_oci.staging
from oe_oci.build import Options, build
from oe_oci.config import Compression, HostCopy, HostLayer, Names, PathsLayer, RootfsLayer
from oe_oci.errors import ConfigError, InputError, ToolError
from oe_oci.staging import staging

ALL = [
    "app-latest-oci",
    "app-latest-oci-dir.tar",
    "app-latest-oci.json",
    "app-latest-oci.tar",
    "app-oci",
    "app-oci-dir.tar",
    "app-oci.json",
    "app-oci.tar",
]


def run(tmp_path, content: str = "1", **fields):
    source = tmp_path / "source"
    source.write_text(content)
    layer = HostLayer("files", (HostCopy(str(source), "/etc/file", "source:/etc/file"),))
    wanted = config(**{"layers": (layer,), "deploy_dir": str(tmp_path / "deploy"), "archives": True, **fields})
    return build(wanted, Options(2))


def listed(tmp_path) -> list[str]:
    return sorted(os.listdir(tmp_path / "deploy"))


def test_every_output_and_link_has_its_name(tmp_path):
    run(tmp_path)
    assert listed(tmp_path) == ALL
    for name in ALL[:4]:
        assert os.readlink(tmp_path / "deploy" / name) == name.replace("-latest", "")


def test_compressed_archives_have_an_ending(tmp_path):
    run(tmp_path)
    run(tmp_path, archive_compression="gz")
    assert [name for name in listed(tmp_path) if "tar" in name] == [
        "app-latest-oci-dir.tar.gz",
        "app-latest-oci.tar.gz",
        "app-oci-dir.tar.gz",
        "app-oci.tar.gz",
    ]


def test_no_archives_leaves_none_of_an_earlier_build(tmp_path):
    run(tmp_path)
    run(tmp_path, archives=False)
    assert listed(tmp_path) == ["app-latest-oci", "app-latest-oci.json", "app-oci", "app-oci.json"]


def test_the_links_of_another_image_of_the_name_are_left_alone(tmp_path):
    run(tmp_path)
    other = Names("app-2", "app-latest", "latest", "localhost/app:latest")
    run(tmp_path, names=other)
    run(tmp_path, archives=False)
    assert os.readlink(tmp_path / "deploy" / "app-latest-oci.tar") == "app-2-oci.tar"


def test_links_of_a_tag_the_image_no_longer_has_are_removed(tmp_path):
    run(tmp_path, names=Names("app", "app-1.0", "1.0", "localhost/app:1.0"))
    (tmp_path / "deploy" / "mine").symlink_to("elsewhere")
    (tmp_path / "deploy" / "production").symlink_to("app-oci")
    run(tmp_path, archive_compression="gz")
    assert [name for name in listed(tmp_path) if (tmp_path / "deploy" / name).is_symlink()] == [
        "app-latest-oci",
        "app-latest-oci-dir.tar.gz",
        "app-latest-oci.json",
        "app-latest-oci.tar.gz",
        "mine",
        "production",
    ]


def sloci(tag: str = "latest", arch: str = "arm64") -> Names:
    words = f"{tag}-{arch}-linux"
    archives = (f"-oci-{words}.oci-image.tar", f"-oci-{words}.oci-dir.tar")
    return Names("app", f"app-{tag}", tag, f"localhost/app:{tag}", archives)


def test_archives_of_sloci_image_have_its_names_and_the_usual_links(tmp_path):
    report = run(tmp_path, names=sloci()).to_json()
    links = {name: os.readlink(tmp_path / "deploy" / name) for name in listed(tmp_path) if "latest-oci" in name}
    assert links == {
        "app-latest-oci": "app-oci",
        "app-latest-oci-dir.tar": "app-oci-latest-arm64-linux.oci-dir.tar",
        "app-latest-oci.json": "app-oci.json",
        "app-latest-oci.tar": "app-oci-latest-arm64-linux.oci-image.tar",
    }
    assert sorted(report["outputs"]["archives"]) == [links["app-latest-oci-dir.tar"], links["app-latest-oci.tar"]]
    assert listed(tmp_path) == sorted([*links, *links.values()])
    with tarfile.open(tmp_path / "deploy" / links["app-latest-oci-dir.tar"]) as archive:
        assert {name.partition("/")[0] for name in archive.getnames()} == {"app-oci"}


def test_nothing_stays_under_names_that_outputs_no_longer_have(tmp_path):
    other = tmp_path / "deploy" / "app-oci-x-oci-latest-arm64-linux.oci-image.tar"
    for names in (sloci("1.0", "aarch64"), sloci(), sloci("2.0"), Names("app", "app-latest", "latest", "a/b:c")):
        run(tmp_path, names=names)
        other.touch()  # of another image, though it begins like ours
        expected = 8 + 1
        assert len(listed(tmp_path)) == expected
        assert all((tmp_path / "deploy" / name).exists() for name in listed(tmp_path))
    other.unlink()
    assert listed(tmp_path) == ALL


@pytest.mark.parametrize("text", ["", "{", "[]", '{"outputs": 1}', '{"outputs": {"archives": ["../source"]}}'])
def test_a_damaged_report_of_an_earlier_build_is_no_matter(tmp_path, text):
    run(tmp_path)
    (tmp_path / "deploy" / "app-oci.json").write_text(text)
    run(tmp_path)
    assert listed(tmp_path) == ALL


def test_a_report_names_nothing_but_its_own_archives(tmp_path):
    run(tmp_path)
    names = ["../source", "other-oci.tar", "app-ocix.tar", "app-oci/../../source.tar", "app-oci.json"]
    value = {"outputs": {"archives": {name: {} for name in names}}}
    (tmp_path / "deploy" / "app-oci.json").write_text(json.dumps(value))
    for name in ("other-oci.tar", "app-ocix.tar"):
        (tmp_path / "deploy" / name).touch()
    run(tmp_path)
    assert (tmp_path / "source").exists()
    assert listed(tmp_path) == sorted([*ALL, "other-oci.tar", "app-ocix.tar"])


def test_a_pinned_compressor_makes_the_archives_too(tmp_path):
    report = run(tmp_path, archive_compression="gz", compression=Compression("gzip", 6, "zlib"))
    assert report.to_json()["outputs"]["compressor"]["name"] == "zlib"
    assert (tmp_path / "deploy" / "app-oci.tar.gz").read_bytes()[:2] == b"\x1f\x8b"


def test_the_umask_reaches_no_output(tmp_path):
    old = os.umask(0o077)
    try:
        run(tmp_path)
    finally:
        os.umask(old)
    for folder, _folders, files in os.walk(tmp_path / "deploy" / "app-oci"):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o755
        assert {stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode) for name in files} <= {0o644}
    assert stat.S_IMODE(os.stat(tmp_path / "deploy" / "app-oci.tar").st_mode) == 0o644


def test_a_rebuild_leaves_only_the_blobs_of_the_new_image(tmp_path):
    run(tmp_path)
    run(tmp_path, "2")
    assert len(os.listdir(tmp_path / "deploy" / "app-oci" / "blobs" / "sha256")) == 3


def test_an_archive_is_the_layout_and_what_docker_needs(tmp_path):
    run(tmp_path)
    with tarfile.open(tmp_path / "deploy" / "app-oci.tar") as archive:
        names = archive.getnames()
        docker = json.load(archive.extractfile("manifest.json"))
        assert docker[0]["RepoTags"] == ["localhost/app:latest"]
        assert {docker[0]["Config"], *docker[0]["Layers"], "oci-layout", "index.json"} <= set(names)
    assert "manifest.json" not in os.listdir(tmp_path / "deploy" / "app-oci")
    with tarfile.open(tmp_path / "deploy" / "app-oci-dir.tar") as archive:
        assert archive.getnames() == ["app-oci", *(f"app-oci/{name}" for name in names)]


def test_the_report_tells_the_archives_digests_and_no_path(tmp_path):
    report = run(tmp_path)
    text = (tmp_path / "deploy" / "app-oci.json").read_text()
    assert json.loads(text) == report.to_json()
    assert str(tmp_path) not in text


def test_a_failed_build_leaves_the_old_outputs_and_nothing_else(tmp_path):
    run(tmp_path)
    before = {name: (tmp_path / "deploy" / name).read_bytes() for name in ALL if name.endswith((".tar", ".json"))}
    with pytest.raises(InputError, match="every layer is empty"):
        run(tmp_path, layers=())
    assert listed(tmp_path) == ALL
    assert before == {name: (tmp_path / "deploy" / name).read_bytes() for name in before}


def test_a_failed_first_build_leaves_not_even_the_folder(tmp_path):
    with pytest.raises(InputError):
        run(tmp_path, layers=(), deploy_dir=str(tmp_path / "a" / "b"))
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("place", ["app-oci", "app-oci/blobs", "app-oci/blobs/sha256"])
def test_a_link_in_the_way_is_not_followed(tmp_path, place):
    run(tmp_path)
    path = tmp_path / "deploy" / place
    path.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "mine").write_text("keep")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ToolError, match="is in the way"):
        run(tmp_path, "2")
    assert (tmp_path / "elsewhere" / "mine").read_text() == "keep"


@pytest.mark.parametrize("name", ["app-oci", "app-latest-oci", "app-oci-dir.tar", "app-latest-oci.tar.gz"])
def test_a_folder_in_the_way_is_not_touched(tmp_path, name):
    (tmp_path / "deploy" / name).mkdir(parents=True)
    (tmp_path / "deploy" / name / "mine").write_text("keep")
    with pytest.raises(ToolError, match="is in the way"):
        run(tmp_path)
    assert (tmp_path / "deploy" / name / "mine").read_text() == "keep"


def test_what_a_killed_build_left_is_cleared(tmp_path):
    left = tmp_path / "deploy" / ".app-oci.partial" / "layout" / "blobs"
    left.mkdir(parents=True)
    (left / "junk").write_text("x")
    blobs = tmp_path / "deploy" / "app-oci" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (blobs / ("0" * 64)).write_text("half published")
    run(tmp_path)
    assert listed(tmp_path) == ALL
    assert not (blobs / ("0" * 64)).exists()


def test_two_builds_of_one_image_take_turns(tmp_path):
    order = []
    inside = threading.Event()

    def second():
        inside.wait()
        with staging(str(tmp_path), "app") as path:
            order.append(("second", os.listdir(path)))

    thread = threading.Thread(target=second)
    thread.start()
    with staging(str(tmp_path), "app") as path:
        (tmp_path / ".app-oci.partial" / "mine").write_text("x")
        inside.set()
        thread.join(0.3)
        order.append(("first", os.listdir(path)))
    thread.join()
    assert order == [("first", ["mine"]), ("second", [])]
    assert os.listdir(tmp_path) == []


def test_builds_of_different_images_do_not_wait(tmp_path):
    with staging(str(tmp_path), "one"), staging(str(tmp_path), "two"):
        assert sorted(os.listdir(tmp_path)) == [".one-oci.partial", ".two-oci.partial"]


def test_a_folder_that_can_not_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolError, match=r"cannot make the folder .*/file: File exists"):
        run(tmp_path, deploy_dir=str(tmp_path / "file" / "deploy"))


def test_a_dangling_link_as_the_deploy_folder_is_a_clear_error(tmp_path):
    (tmp_path / "deploy").symlink_to("nowhere/x")
    with pytest.raises(ToolError, match=r"cannot make the folder .*deploy: File exists"):
        run(tmp_path)


def test_what_a_killed_build_of_another_name_left_is_cleared(tmp_path):
    (tmp_path / "deploy" / ".app-oci.partial" / "layout").mkdir(parents=True)
    run(tmp_path, names=Names("app-20260101", "app-latest", "latest", "localhost/app:latest"))
    assert ".app-oci.partial" not in listed(tmp_path)


def test_a_deploy_folder_in_what_is_packed_is_refused(tmp_path):
    layer = HostLayer("all", (HostCopy(str(tmp_path), "/all", "."),))
    with pytest.raises(
        ConfigError, match=r"OCI_LAYERS: the deploy folder .*/deploy lies in .*, which goes into the image"
    ):
        run(tmp_path, layers=(layer,))
    with pytest.raises(ConfigError, match="IMAGE_ROOTFS: the deploy folder"):
        run(tmp_path, layers=(RootfsLayer("rootfs"),), rootfs=str(tmp_path))
    with pytest.raises(ConfigError, match="IMAGE_ROOTFS: the deploy folder"):
        run(tmp_path, layers=(PathsLayer("a", "directories", ("/deploy",)),), rootfs=str(tmp_path))
    (tmp_path / "usr").mkdir()
    assert run(tmp_path, layers=(PathsLayer("a", "directories", ("/usr",)),), rootfs=str(tmp_path))


def test_many_processes_at_once_leave_one_whole_image(tmp_path):
    (tmp_path / "image.conf").write_text('OCI_LAYERS = "a:host:data:/"\nOCI_IMAGE_AUTO_LABELS = "0"\n')
    (tmp_path / "data").mkdir()
    for number in range(50):
        (tmp_path / "data" / f"f{number}").write_bytes(os.urandom(5000))
    argv = [sys.executable, "-m", "oe_oci", "build", "-q", "image.conf"]
    running = [subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.DEVNULL) for _ in range(5)]
    assert [process.wait(60) for process in running] == [0] * 5
    index = json.loads((tmp_path / "deploy" / "image-oci" / "index.json").read_text())
    digest = index["manifests"][0]["digest"].partition(":")[2]
    assert (tmp_path / "deploy" / "image-oci" / "blobs" / "sha256" / digest).exists()
    data = io.BytesIO((tmp_path / "deploy" / "image-oci.tar").read_bytes())
    with tarfile.open(fileobj=data) as archive:
        assert json.load(archive.extractfile("index.json")) == index


@pytest.mark.parametrize("locked", [False, True])
def test_interrupted_before_anything_is_made_leaves_nothing(locked, tmp_path, monkeypatch):
    lock = oe_oci.staging._lock

    def interrupted(descriptor: int, path: str) -> None:
        if locked:
            lock(descriptor, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(oe_oci.staging, "_lock", interrupted)
    with pytest.raises(KeyboardInterrupt), staging(str(tmp_path / "new" / "deploy"), "app"):
        pass
    assert list(tmp_path.iterdir()) == []
