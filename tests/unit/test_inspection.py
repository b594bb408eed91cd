# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
from typing import Any

import pytest
from support.blobs import LayoutMaker, layer, layout, member

from oe_oci.errors import InputError
from oe_oci.inspection import Inspection, Listing, inspect, render
from oe_oci.oci.spec import Platform

ARM = {"os": "linux", "architecture": "arm64", "variant": "v8"}
RUN = {
    "Entrypoint": ["/bin/app"], "Cmd": ["serve", "two words"], "Env": ["PATH=/bin", "A=\x1b[31m"], "User": "1000:1000",
    "WorkingDir": "/srv", "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Volumes": {"/data": {}},
    "Labels": {"org.example.b": "ü", "org.example.a": "1"}, "StopSignal": "SIGINT",
}  # fmt: skip


def made(path: Any) -> str:
    base = layer(member("a", bytes(5000)), member("b", b""))
    top = layer(member(".wh.a"), compression="none")._replace(media_type="application/vnd.docker.image.rootfs.diff.tar")
    history = [{"created_by": "base"}, {"empty_layer": True}, {"created_by": "make\nit"}]
    config = {"created": "2024-02-29T12:00:00Z", "history": history, "config": RUN}
    names = {"io.containerd.image.name": "docker.io/library/app:1.0"}
    return layout(path, base, top, tag="1.0", config=config, annotations={"k": "v"}, platform=ARM, names=names)


def one(path: str, *arguments: Any, **options: Any) -> Inspection:
    found = inspect(path, *(arguments or (None,)), **options)
    assert isinstance(found, Inspection)
    json.dumps(found.to_json())
    return found


def test_an_image(tmp_path):
    image = one(made(tmp_path / "a"), "1.0")
    assert image.names == ("1.0", "docker.io/library/app:1.0")
    assert image.platform == Platform("linux", "arm64", "v8")
    assert image.created == "2024-02-29T12:00:00Z"
    assert [layer.created_by for layer in image.layers] == ["base", "make\nit"]
    assert image.runtime.cmd == ("serve", "two words")
    assert image.runtime.ports == ("53/udp", "80/tcp")
    assert image.annotations == {"k": "v"}
    report = image.to_json()
    first, second = report["layers"]
    assert (first["entries"], first["uncompressedSize"], second["size"]) == (2, 10240, 10240)
    assert first["digest"].startswith("sha256:")
    assert first["diffId"] != first["digest"]
    assert second["mediaType"] == "application/vnd.docker.image.rootfs.diff.tar"
    assert report["total"] == {"size": first["size"] + 10240, "uncompressedSize": 20480, "entries": 3}
    assert report["config"]["stopSignal"] == "SIGINT"
    assert report["platform"] == {"os": "linux", "architecture": "arm64", "variant": "v8"}


def test_for_people(tmp_path):
    image = one(made(tmp_path / "a"))
    lines = render(image).splitlines()
    assert lines[0] == f"Layout    {tmp_path}/a"
    assert lines[1:3] == ["Name      1.0", "          docker.io/library/app:1.0"]
    assert lines[4:6] == ["Platform  linux/arm64/v8", "Created   2024-02-29T12:00:00Z"]
    table = lines[7:11]
    digests = [(layer.descriptor.digest.hex[:12], layer.diff_id.hex[:12]) for layer in image.layers]
    size = image.layers[0].descriptor.size
    assert table == [
        "LAYER  TYPE             SIZE  UNPACKED  ENTRIES  DIGEST        DIFF ID       CREATED BY",
        f"0      tar+gzip        {size} B   10.2 kB        2  {'  '.join(digests[0])}  base",
        f"1      tar (docker)  10.2 kB   10.2 kB        1  {'  '.join(digests[1])}  make\\nit",
        "total                10.4 kB   20.5 kB        3",
    ]
    assert lines[12:] == [
        "Entrypoint   /bin/app",
        "Cmd          serve 'two words'",
        "User         1000:1000",
        "Workdir      /srv",
        "Stop signal  SIGINT",
        "Port         53/udp",
        "             80/tcp",
        "Volume       /data",
        "Env          PATH=/bin",
        "             A=\\x1b[31m",
        "Label        org.example.a=1",
        "             org.example.b=ü",
        "Annotation   k=v",
    ]


def test_an_image_that_says_nothing(tmp_path):
    image = one(layout(tmp_path / "a", tag=None))
    assert image.names == ()
    lines = render(image).splitlines()
    assert [line.split()[0] for line in lines if line] == ["Layout", "Digest", "Platform", "LAYER", "total"]
    assert lines[-1].split() == ["total", "0", "B", "0", "B", "0"]


@pytest.fixture
def several(tmp_path) -> str:
    maker = LayoutMaker(tmp_path / "a")
    maker.image(layer(member("a", b"")), tag="1.0")
    maker.image(layer(member("b", b"")), tag="1.0", platform=ARM)
    maker.image(layer(member("c", b"")), tag="reg/app:2.0")
    return maker.path


def test_several_images_are_listed(several: str):
    listing = inspect(several, None)
    assert isinstance(listing, Listing)
    assert [(image.name, str(image.platform)) for image in listing.images] == [
        ("1.0", "linux/amd64"), ("1.0", "linux/arm64/v8"), ("reg/app:2.0", "linux/amd64")
    ]  # fmt: skip
    assert listing.to_json()["images"][1]["platform"]["variant"] == "v8"
    lines = render(listing).splitlines()
    assert lines[0].endswith("/a: 3 images")
    assert lines[2].split() == ["NAME", "PLATFORM", "DIGEST"]
    assert lines[4] == f"1.0          linux/arm64/v8  {listing.images[1].digest}"


def test_several_platforms_of_one_tag_are_listed(several: str):
    listing = inspect(several, "1.0")
    assert isinstance(listing, Listing)
    assert len(listing.images) == 2


def test_a_choice_among_several(several: str):
    assert one(several, "2.0").names == ("reg/app:2.0",)
    assert one(several, "1.0", platform=Platform("linux", "arm64")).platform.variant == "v8"
    with pytest.raises(InputError, match="no image has the tag '3'"):
        inspect(several, "3")
    with pytest.raises(InputError, match="has no image for linux/mips"):
        inspect(several, "1.0", platform=Platform("linux", "mips"))


def test_two_names_of_one_image_are_one_image(tmp_path):
    maker = LayoutMaker(tmp_path / "a")
    same = layer(member("a", b""))
    image = one(maker.image(same, tag="1").image(same, tag="latest").path)
    assert image.names == ("1", "latest")


def test_a_damaged_layer_is_an_error(tmp_path):
    lie = layer(member("a", b""))._replace(diff_id="sha256:" + "0" * 64)
    with pytest.raises(InputError, match="diff ID"):
        inspect(layout(tmp_path / "a", lie), None)
    with pytest.raises(InputError, match="unpacks to more than 100 bytes"):
        inspect(layout(tmp_path / "b", layer(member("a", b""))), None, limit=100)


@pytest.mark.parametrize(
    "run", [{"Env": "x"}, {"Env": [1]}, {"Labels": {"a": 1}}, {"User": 0}, {"ExposedPorts": ["80"]}, ["x"]]
)
def test_a_config_of_other_types(tmp_path, run: Any):
    with pytest.raises(InputError, match="expected"):
        inspect(layout(tmp_path / "a", config={"config": run}), None)
