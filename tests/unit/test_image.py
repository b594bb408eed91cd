# SPDX-License-Identifier: MIT
"""An image's documents: what comes from the base, what from the configuration, and what runtimes need to see."""

from __future__ import annotations

import hashlib
import json

import pytest
from support.configs import config

from oe_oci.config import Names, RunConfig
from oe_oci.errors import InputError
from oe_oci.labels import Automatic
from oe_oci.oci.image import DEFAULT_PATH, Added, Loadable, make_docker_manifest, make_image, make_index
from oe_oci.oci.layout import Image
from oe_oci.oci.spec import CONFIG, LAYER, MANIFEST, Descriptor, Digest, Platform

AUTOMATIC = Automatic("2026-01-01T00:00:00Z", {"auto": "1"}, {"auto": "1"})
DOCKER = "application/vnd.docker.image.rootfs.diff.tar"


def digest(text: str) -> Digest:
    return Digest("sha256", hashlib.sha256(text.encode()).hexdigest())


def added(*names: str) -> list[Added]:
    return [Added(Descriptor(LAYER + "+gzip", digest(n), 10), digest("raw" + n), f"oe-oci: layer {n}") for n in names]


def base(run: dict | None = None, layers: int = 1, media_type: str = DOCKER + ".gzip", **top) -> Image:
    blobs = tuple(Descriptor(media_type, digest(f"base{n}"), 5) for n in range(layers))
    document = {"os": "linux", "architecture": "amd64", "config": run or {}, **top}
    ids = tuple(digest(f"id{n}") for n in range(layers))
    return Image(Descriptor(MANIFEST, digest("m"), 1), {}, Descriptor(CONFIG, digest("c"), 1), document, blobs, ids)


def documents(below: Image | None, run: RunConfig, **fields) -> tuple[dict, dict]:
    image = make_image(below, added("a", "b"), config(run=run, **fields), AUTOMATIC)
    return json.loads(image.config), json.loads(image.manifest)


def running(below: dict | None, **run) -> dict:
    image = None if below is None else base(below)
    return documents(image, RunConfig(**{"default_cmd": ("/bin/sh",), **run}))[0]["config"]


def test_an_image_from_scratch():
    document, manifest = documents(None, RunConfig(default_cmd=("/bin/sh",)), author="me@example.com")
    assert document == {
        "architecture": "amd64",
        "author": "me@example.com",
        "config": {"Cmd": ["/bin/sh"], "Env": [DEFAULT_PATH], "Labels": {"auto": "1"}},
        "created": "2026-01-01T00:00:00Z",
        "history": [
            {"created": "2026-01-01T00:00:00Z", "created_by": "oe-oci: layer a"},
            {"created": "2026-01-01T00:00:00Z", "created_by": "oe-oci: layer b"},
        ],
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [str(digest("rawa")), str(digest("rawb"))]},
    }
    assert manifest["mediaType"] == MANIFEST
    assert manifest["annotations"] == {"auto": "1"}
    assert [layer["digest"] for layer in manifest["layers"]] == [str(digest("a")), str(digest("b"))]


def test_the_variant_reaches_the_config_and_the_index_entry():
    platform = Platform("linux", "arm", "v7")
    wanted = config(platform=platform)
    image = make_image(None, added("a"), wanted, AUTOMATIC)
    assert json.loads(image.config)["variant"] == "v7"
    (entry,) = json.loads(make_index(image, wanted.names, platform))["manifests"]
    assert entry["platform"] == {"os": "linux", "architecture": "arm", "variant": "v7"}


def test_names_are_where_runtimes_look():
    names = Names("app", "app-1.0", "1.0", "registry.example/app:1.0")
    image = make_image(None, added("a"), config(names=names), AUTOMATIC)
    (entry,) = json.loads(make_index(image, names, Platform("linux", "amd64")))["manifests"]
    assert entry["annotations"] == {
        "org.opencontainers.image.ref.name": "1.0",
        "io.containerd.image.name": "registry.example/app:1.0",
    }
    (docker,) = json.loads(make_docker_manifest([Loadable(image.config_descriptor, image.layers, (names.full,))]))
    assert docker["RepoTags"] == ["registry.example/app:1.0"]
    assert docker["Layers"] == [f"blobs/sha256/{digest('a').hex}"]


def test_layers_of_the_base_come_first_with_the_equal_oci_types():
    document, manifest = documents(base(layers=2), RunConfig())
    assert [layer["digest"] for layer in manifest["layers"]][:2] == [str(digest("base0")), str(digest("base1"))]
    assert {layer["mediaType"] for layer in manifest["layers"]} == {LAYER + "+gzip"}
    assert document["rootfs"]["diff_ids"][:2] == [str(digest("id0")), str(digest("id1"))]


def test_keys_of_the_base_nobody_knows_are_kept_and_dockers_own_are_not():
    below = base({"Healthcheck": {"Test": ["x"]}}, **{"os.version": "1", "docker_version": "20", "container": "c"})
    document, _ = documents(below, RunConfig())
    assert document["os.version"] == "1"
    assert document["config"]["Healthcheck"] == {"Test": ["x"]}
    assert not {"docker_version", "container"} & set(document)


INHERITED = {
    "Entrypoint": ["/base"],
    "Cmd": ["--base"],
    "Env": ["A=1", "PATH=/p"],
    "User": "7",
    "WorkingDir": "/w",
    "StopSignal": "SIGINT",
    "ExposedPorts": {"80/tcp": {}},
    "Volumes": {"/v": {}},
    "Labels": {"base": "1", "org.opencontainers.image.revision": "of the base"},
}


def test_what_is_unset_is_inherited():
    assert running(INHERITED) == {**INHERITED, "Labels": {"base": "1", "auto": "1"}}


def test_what_is_cleared_is_gone():
    found = running(INHERITED, entrypoint=(), cmd=(), env=(), user="", workdir="", stop_signal="", ports=(),
                    volumes=(), labels=())  # fmt: skip
    assert found == {"Env": [DEFAULT_PATH], "Labels": {"auto": "1"}}


def test_lists_are_merged_and_the_new_value_wins():
    labels = (("base", "2"), ("auto", "u"))
    found = running(INHERITED, env=(("B", "2"), ("A", "9")), ports=("53/udp",), volumes=("/w",), labels=labels)
    assert found["Env"] == ["A=9", "PATH=/p", "B=2"]
    assert found["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert found["Volumes"] == {"/v": {}, "/w": {}}
    assert found["Labels"] == {"base": "2", "auto": "u"}


@pytest.mark.parametrize(
    ("below", "run", "entrypoint", "cmd"),
    [
        ({}, {}, None, ["/bin/sh"]),
        ({"Cmd": ["b"]}, {}, None, ["b"]),
        ({"Entrypoint": ["e"]}, {}, ["e"], None),
        ({"Entrypoint": ["e"], "Cmd": ["b"]}, {"cmd": ("c",)}, ["e"], ["c"]),
        ({"Entrypoint": ["e"], "Cmd": ["b"]}, {"entrypoint": ("n",)}, ["n"], None),
        ({"Entrypoint": ["e"], "Cmd": ["b"]}, {"entrypoint": ("n",), "cmd": ("c",)}, ["n"], ["c"]),
        ({"Entrypoint": ["e"], "Cmd": ["b"]}, {"entrypoint": ()}, None, ["b"]),
        ({"Entrypoint": ["e"]}, {"entrypoint": ()}, None, ["/bin/sh"]),
        ({"Cmd": ["b"]}, {"cmd": ()}, None, None),
        ({}, {"entrypoint": ("n",)}, ["n"], None),
    ],
)
def test_commands(below, run, entrypoint, cmd):
    found = running(below, **run)
    assert (found.get("Entrypoint"), found.get("Cmd")) == (entrypoint, cmd)


def test_history_is_kept_and_filled_up_so_that_every_layer_has_an_entry():
    history = [{"created_by": "x"}, {"created_by": "ENV", "empty_layer": True}]
    document, _ = documents(base(layers=2, history=history), RunConfig())
    assert document["history"][:2] == history
    assert sum(1 for entry in document["history"] if not entry.get("empty_layer")) == 4


def test_a_base_whose_history_has_more_layers_than_it_has_is_refused():
    with pytest.raises(InputError, match="its history tells of more layers than it has"):
        documents(base(layers=1, history=[{}, {}]), RunConfig())


def test_more_layers_than_runtimes_take_are_refused():
    assert make_image(base(layers=124), added("a"), config(), AUTOMATIC)
    with pytest.raises(InputError, match="the image has 126 layers, 125 of them of the base"):
        make_image(base(layers=125), added("a"), config(), AUTOMATIC)


def test_annotations_say_what_labels_of_the_same_key_say():
    _, manifest = documents(None, RunConfig(labels=(("auto", "mine"), ("other", "x"))))
    assert manifest["annotations"] == {"auto": "mine"}


def test_own_annotations_win():
    _, manifest = documents(None, RunConfig(), annotations=(("auto", "mine"), ("x", "y")))
    assert manifest["annotations"] == {"auto": "mine", "x": "y"}
