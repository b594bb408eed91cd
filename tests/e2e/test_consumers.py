# SPDX-License-Identifier: MIT
"""What is built loads under its full name into the engines, runs there, and no checker finds a fault."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support import tools

if TYPE_CHECKING:
    from collections.abc import Iterator

CONF = """\
PV = "2.4.1"
OCI_LAYERS = "programs:directories:/bin,/usr rest:directories:/"
OCI_IMAGE_ENTRYPOINT = "/bin/sh -c"
OCI_IMAGE_ENTRYPOINT_ARGS = "'echo $GREETING, $(id -u):$(id -g) in $(pwd); exit 7'"
OCI_IMAGE_ENV_VARS = "GREETING='hello, it''s me'"
OCI_IMAGE_RUNTIME_UID = "1000:1001"
OCI_IMAGE_WORKINGDIR = "/srv"
OCI_IMAGE_PORTS = "8080 53/udp"
OCI_IMAGE_VOLUMES = "/var/lib/app"
OCI_IMAGE_STOPSIGNAL = "SIGUSR1"
OCI_IMAGE_LABELS = "vendor='Example GmbH'"
OCI_IMAGE_ANNOTATIONS = "note='a note'"
"""
SAID = "hello, its me, 1000:1001 in /srv\n"
STATUS = 7


class Variant(NamedTuple):
    """Variables, and by what name and reference the image is then known."""

    settings: dict[str, str]
    name: str
    reference: str


PLAIN = Variant({}, "localhost/app:latest", "latest")
TAGS = {
    "plain": PLAIN,
    "number": Variant({"OCI_IMAGE_TAG": "2.4.1"}, "localhost/app:2.4.1", "2.4.1"),
    "full name": Variant(
        {"OCI_IMAGE_TAG": "registry.example/team/app:1.2"},
        "registry.example/team/app:1.2",
        "registry.example/team/app:1.2",
    ),
    "port": Variant(
        {"OCI_IMAGE_TAG": "registry.example:5000/app"}, "registry.example:5000/app:latest", "registry.example:5000/app"
    ),
    "name and tag": Variant({"OCI_IMAGE_TAG": "app:1.0"}, "localhost/app:1.0", "app:1.0"),
    "image name": Variant(
        {"OCI_IMAGE_NAME": "registry.example/team/shop", "OCI_IMAGE_TAG": "edge"},
        "registry.example/team/shop:edge",
        "edge",
    ),
}


class Image(NamedTuple):
    """What a build left."""

    deploy: Path
    variant: Variant
    report: dict[str, Any]

    @property
    def layout(self) -> Path:
        return self.deploy / "app-oci"

    @property
    def reference(self) -> str:
        return f"{self.layout}:{self.variant.reference}"

    @property
    def archive(self) -> Path:
        (path,) = (self.deploy / name for name in self.report["outputs"]["archives"] if "-oci.tar" in name)
        return path

    def config(self) -> dict[str, Any]:
        path = self.layout / "blobs" / self.report["image"]["config"].replace(":", "/")
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return value


@pytest.fixture(scope="module")
def make(room, busybox):
    (room / "consumers").mkdir()
    conf = room / "consumers" / "app.conf"
    conf.write_text(CONF, encoding="utf-8")
    made: dict[str, Image] = {}

    def make_image(variant: Variant = PLAIN) -> Image:
        key = repr(variant)
        if key not in made:
            deploy = room / "consumers" / str(len(made))
            words = [word for name, value in variant.settings.items() for word in ("--set", f"{name}={value}")]
            made[key] = Image(deploy, variant, tools.build(conf, deploy, "--rootfs", busybox, *words))
        return made[key]

    return make_image


@pytest.fixture(scope="module", params=TAGS)
def image(request, make) -> Image:
    return make(TAGS[request.param])


@pytest.fixture(scope="module")
def podman_() -> Iterator[tools.Podman]:
    with tools.Podman() as found:
        yield found


@pytest.fixture
def podman(podman_) -> Iterator[tools.Podman]:
    yield podman_
    podman_("rmi", "-a", "-f")


@pytest.fixture(scope="module")
def docker_() -> Iterator[tools.Docker]:
    with tools.Docker() as found:
        yield found


@pytest.fixture
def docker(docker_) -> Iterator[tools.Docker]:
    yield docker_
    if docker_.names():
        docker_("rmi", "-f", *docker_.names())


@pytest.fixture(scope="module")
def containerd_() -> Iterator[tools.Containerd]:
    with tools.Containerd() as found:
        yield found


@pytest.fixture
def containerd(containerd_) -> Iterator[tools.Containerd]:
    yield containerd_
    if containerd_.names():
        containerd_("images", "rm", "--sync", *containerd_.names())


# ---- the name, and that it runs


def load_and_run_in_podman(podman: tools.Podman, path: Path, name: str) -> None:
    assert f"Loaded image: {name}\n" in podman("load", "-q", "-i", path).stdout
    assert podman.names() == [name]
    assert podman("run", "--rm", name, status=STATUS).stdout == SAID


def load_and_run_in_docker(docker: tools.Docker, path: Path, name: str) -> None:
    assert docker("load", "-q", "-i", path).stdout == f"Loaded image: {name}\n"
    assert docker.names() == [name]
    assert docker("run", "--rm", "--network", "none", name, status=STATUS).stdout == SAID


def import_and_run_in_containerd(containerd: tools.Containerd, path: Path, name: str) -> None:
    containerd("images", "import", path)
    assert containerd.names() == [name]
    # On a busy machine ctr may end before it has copied what the container said.
    said = (containerd("run", "--rm", name, "test", status=STATUS).stdout for _ in range(5))
    assert next(filter(None, said), "") == SAID


def test_podman(image, podman):
    load_and_run_in_podman(podman, image.archive, image.variant.name)


def test_docker(image, docker):
    load_and_run_in_docker(docker, image.archive, image.variant.name)


def test_containerd(image, containerd):
    import_and_run_in_containerd(containerd, image.archive, image.variant.name)


def test_podman_runs_the_layout(image, podman):
    done = podman("run", "--rm", f"oci:{image.reference}", status=STATUS)
    assert done.stdout == SAID


def test_podman_runs_the_archive(image, podman):
    assert podman("run", "--rm", f"oci-archive:{image.archive}", status=STATUS).stdout == SAID


def test_umoci_and_runc(image, folder):
    tools.umoci_unpack(image.layout, image.variant.reference, folder / "bundle")
    assert tools.runc_run(folder / "bundle", status=STATUS).stdout == SAID


def test_links_lead_to_the_same(image, podman):
    """A link is what scripts name; its tag may hold what no file name does."""
    tag = image.variant.reference.replace("/", "_").replace(":", "_")
    link = image.deploy / f"app-{tag}-oci.tar"
    assert link.is_symlink()
    load_and_run_in_podman(podman, link, image.variant.name)
    assert (image.deploy / f"app-{tag}-oci" / "index.json").samefile(image.layout / "index.json")


# ---- skopeo


def skopeo_inspect(source: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(tools.run("skopeo", "inspect", source).stdout)
    return value


def test_skopeo(image, folder):
    """Found by its reference and without one, in the layout and in the archive, and copied without a change."""
    tools.need("skopeo")
    sources = [f"oci:{image.layout}", f"oci:{image.reference}", f"oci-archive:{image.archive}"]
    if ":" not in image.variant.reference:
        # In a name that holds a colon skopeo looks for the archive's own.
        sources.append(f"oci-archive:{image.archive}:{image.variant.reference}")
    for source in sources:
        assert skopeo_inspect(source)["Digest"] == image.report["image"]["digest"], source
    tools.skopeo_copy(f"oci-archive:{image.archive}", f"oci:{folder / 'copy'}:again")
    assert skopeo_inspect(f"oci:{folder / 'copy'}:again")["Digest"] == image.report["image"]["digest"]
    assert tools.oe_oci("verify", folder / "copy").stdout == "nothing found\n"


def test_skopeo_reads_it_as_a_docker_archive(image, docker, folder):
    tools.skopeo_copy(f"docker-archive:{image.archive}:{image.variant.name}", f"oci:{folder / 'copy'}:x")
    tools.skopeo_copy(f"oci-archive:{image.archive}", f"docker-archive:{folder / 'docker.tar'}:{image.variant.name}")
    load_and_run_in_docker(docker, folder / "docker.tar", image.variant.name)


# ---- what is loaded is what was built


def test_config_in_docker_and_podman(make, docker, podman):
    image = make()
    docker("load", "-q", "-i", image.archive)
    podman("load", "-q", "-i", image.archive)
    (in_docker,) = json.loads(docker("inspect", image.variant.name).stdout)
    (in_podman,) = json.loads(podman("inspect", image.variant.name).stdout)
    config = image.config()
    for found in (in_docker, in_podman):
        for key in (
            "Entrypoint",
            "Cmd",
            "Env",
            "User",
            "WorkingDir",
            "ExposedPorts",
            "Volumes",
            "StopSignal",
            "Labels",
        ):
            assert found["Config"][key] == config["config"][key], key
        assert found["RootFS"]["Layers"] == config["rootfs"]["diff_ids"]
        assert (found["Os"], found["Architecture"]) == (config["os"], config["architecture"])
        assert found["Id"].removeprefix("sha256:") == image.report["image"]["config"].removeprefix("sha256:")
    assert config["config"]["ExposedPorts"] == {"53/udp": {}, "8080/tcp": {}}
    assert config["config"]["Labels"]["vendor"] == "Example GmbH"
    assert config["config"]["Labels"]["org.opencontainers.image.version"] == "2.4.1"
    assert in_podman["Annotations"]["note"] == "a note"


def test_folder_in_the_other_archive_is_the_layout(make):
    image = make()
    with tarfile.open(image.deploy / "app-oci-dir.tar") as archive:
        members = {member.name: member for member in archive}
        files = {name: archive.extractfile(member).read() for name, member in members.items() if member.isfile()}
    assert {name.partition("/")[0] for name in members} == {"app-oci"}
    manifest = json.loads(files.pop("app-oci/manifest.json"))
    assert manifest[0]["RepoTags"] == [image.variant.name]
    in_layout = [Path(up, name) for up, _, names in os.walk(image.layout) for name in names]
    assert files == {str(path.relative_to(image.deploy)): path.read_bytes() for path in in_layout}
    assert tools.oe_oci("verify", image.deploy / "app-oci-dir.tar").stdout == "nothing found\n"


def test_report_names_the_archives(make):
    image = make()
    for name, facts in image.report["outputs"]["archives"].items():
        data = (image.deploy / name).read_bytes()
        assert facts == {"digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}


# ---- checkers


def test_checkers_find_nothing(image):
    for command in ("verify", "lint"):
        for path in (image.layout, image.archive):
            assert tools.oe_oci(command, path).stdout == "nothing found\n"
            assert tools.oe_oci(command, f"{path}:{image.variant.reference}").stdout == "nothing found\n"


def test_oci_image_tool(image):
    """It validates a layout; of tar archives it can walk none, skopeo's included (seen with 1.0.0-rc1)."""
    tools.need("oci-image-tool")
    words = ("--type", "image", "--ref", f"name={image.variant.reference}")
    assert "Validation succeeded" in tools.run("oci-image-tool", "validate", *words, image.layout).stdout


def test_umoci_lists_it(image):
    tools.need("umoci")
    assert tools.run("umoci", "ls", "--layout", image.layout).stdout.split() == [image.variant.reference]
    stat = json.loads(tools.run("umoci", "stat", "--json", "--image", image.reference).stdout)
    assert [entry["created_by"] for entry in stat["history"]] == [
        "oe-oci: layer programs (directories)",
        "oe-oci: layer rest (directories)",
    ]


# ---- compression, of layers and of archives, wherever the consumer takes it

UNCOMPRESSED = Variant({"OCI_LAYER_COMPRESSION": "none"}, PLAIN.name, PLAIN.reference)
ZSTD = Variant({"OCI_LAYER_COMPRESSION": "zstd:19"}, PLAIN.name, PLAIN.reference)
BEST = Variant({"OCI_LAYER_COMPRESSION": "gzip:9"}, PLAIN.name, PLAIN.reference)
ARCHIVE_GZ = Variant({"OCI_IMAGE_TAR_COMPRESSION": "gz"}, PLAIN.name, PLAIN.reference)
ARCHIVE_ZST = Variant({"OCI_IMAGE_TAR_COMPRESSION": "zst"}, PLAIN.name, PLAIN.reference)
COMPRESSIONS = {
    "uncompressed": UNCOMPRESSED,
    "zstd": ZSTD,
    "gzip 9": BEST,
    "archive gz": ARCHIVE_GZ,
    "archive zst": ARCHIVE_ZST,
}


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_compression_in_podman(make, podman, name):
    load_and_run_in_podman(podman, make(COMPRESSIONS[name]).archive, PLAIN.name)


# Docker 20.10 refuses zstd.
@pytest.mark.parametrize("name", ["uncompressed", "gzip 9", "archive gz"])
def test_compression_in_docker(make, docker, name):
    load_and_run_in_docker(docker, make(COMPRESSIONS[name]).archive, PLAIN.name)


# containerd 1.6 reads no compressed archive.
@pytest.mark.parametrize("name", ["uncompressed", "zstd", "gzip 9"])
def test_compression_in_containerd(make, containerd, name):
    import_and_run_in_containerd(containerd, make(COMPRESSIONS[name]).archive, PLAIN.name)


# umoci 0.4.7 and oci-image-tool know no zstd.
@pytest.mark.parametrize("name", ["uncompressed", "gzip 9"])
def test_compression_in_umoci_and_oci_image_tool(make, folder, name):
    image = make(COMPRESSIONS[name])
    test_umoci_and_runc(image, folder)
    test_oci_image_tool(image)


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_compression_and_checkers(make, name):
    image = make(COMPRESSIONS[name])
    if name == "zstd":
        assert tools.oe_oci("verify", image.archive).stdout == "nothing found\n"
        found = json.loads(tools.oe_oci("lint", "--json", image.archive, status=4).stdout)
        assert {finding["rule"] for finding in found} == {"zstd-layer"}
    else:
        test_checkers_find_nothing(image)
    assert skopeo_inspect(f"oci-archive:{image.archive}")["Digest"] == image.report["image"]["digest"]


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_compression_changes_no_content(make, name):
    plain, other = make(), make(COMPRESSIONS[name])
    assert other.report["image"]["config"] == plain.report["image"]["config"]
    types = {layer["mediaType"].partition(".tar")[2] for layer in other.report["layers"]}
    assert types == {{"uncompressed": "", "zstd": "+zstd"}.get(name, "+gzip")}


# ---- as many layers as there may be


def test_most_layers(docker, podman, folder, busybox):
    count = 125
    names = [f"l{number}" for number in range(count - 1)]
    for name in names:
        (folder / name).write_text(name, encoding="utf-8")
    layers = "rootfs:directories:/ " + " ".join(f"{name}:host:{name}:/srv/" for name in names)
    conf = folder / "app.conf"
    conf.write_text(f'OCI_LAYERS = "{layers}"\nOCI_IMAGE_CMD = "/bin/sh -c \'ls /srv | wc -l\'"\n', encoding="utf-8")
    tools.build(conf, folder / "deploy", "--rootfs", busybox)
    assert tools.oe_oci("lint", folder / "deploy" / "app-oci").stdout == "nothing found\n"
    podman("load", "-q", "-i", folder / "deploy" / "app-oci.tar")
    assert podman("run", "--rm", PLAIN.name).stdout == f"{count - 1}\n"
    docker("load", "-q", "-i", folder / "deploy" / "app-oci.tar")
    assert docker("run", "--rm", "--network", "none", PLAIN.name).stdout == f"{count - 1}\n"

    (folder / "more").touch()
    with open(conf, "a", encoding="utf-8") as file:
        file.write('OCI_LAYERS += "more:host:more:/srv/"\n')
    done = tools.oe_oci("build", conf, "--rootfs", busybox, "--deploy-dir", folder / "none", status=2)
    assert "126 layers" in done.stderr
    assert not (folder / "none").exists()
