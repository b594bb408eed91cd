# SPDX-License-Identifier: MIT
"""Images on top of bases that several builders made: what comes out, what is inherited, what is refused."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support import compare, layouts, tools

from oe_oci.lint import lint_layout
from oe_oci.oci.verify import verify
from oe_oci.unpack import unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OCI = "application/vnd.oci.image"


class Base(NamedTuple):
    """A base image: what a configuration writes for it, and the layout it lies in, if it is no archive."""

    written: str
    tag: str
    layout: Path | None = None


# ---- the file system of every base here: made, then changed, so that its second layer removes and replaces


def write(path: Path, text: str = "", mode: int = 0o644, owner: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text or f"{path.name}\n", encoding="utf-8")
    os.chown(path, owner, owner)
    path.chmod(mode)


def fill(root: Path) -> None:
    for name in ("opaque/old", "opaque/other", "opaque/deep/old", "was-dir/x", "was-dir/y", "was-file", "gone/x"):
        write(root / "opt" / name)
    (root / "opt/was-link").symlink_to("was-dir")
    for name in ("hard-one", "hard-two"):
        write(root / "var" / name, "hard\n")
    (root / "var/hard-three").hardlink_to(root / "var/hard-one")
    (root / "opt/hard-four").hardlink_to(root / "var/hard-two")
    write(root / "opt/setuid", mode=0o4711, owner=1234)
    write(root / "opt/nobody-reads", mode=0)
    write(root / "opt/attributes")
    os.setxattr(root / "opt/attributes", "user.base", b"\0base")
    for name in ("kept", "removed", "replaced", "conf.d/one", "conf.d/two"):
        write(root / "etc" / name)
    for name in ("data", "deep/data"):
        write(root / "srv" / name)
    for name in ("old", "deep/old"):
        write(root / "merged" / name)
    os.mknod(root / "opt/device", 0o020640, os.makedev(1, 5))


def change(root: Path) -> None:
    for name in ("opt/opaque", "opt/was-dir", "opt/gone", "merged"):
        shutil.rmtree(root / name)
    for name in ("opt/was-file", "opt/was-link", "etc/removed", "var/hard-three", "opt/device"):
        (root / name).unlink()
    write(root / "opt/opaque/new")
    write(root / "opt/was-dir", "now a file\n")
    write(root / "opt/was-file/inside")
    write(root / "opt/was-link/inside")
    write(root / "etc/replaced", "by the second layer\n")
    (root / "srv/deep").chmod(0o750)
    write(root / "usr/merged/old", "merged\n")
    (root / "merged").symlink_to("usr/merged")


class Trees(NamedTuple):
    """The base's file system before and after its second layer, and the rootfs that new layers take from."""

    first: Path
    second: Path
    upper: Path


def copy(source: Path, target: Path) -> Path:
    tools.need("rsync")
    tools.run("rsync", "-aHAX", "--numeric-ids", f"{source}/", target)
    return target


def lay_over(lower: Path, upper: Path) -> None:
    """What `directories:/` means: add and replace, remove nothing; through the links to directories that are there."""
    tools.run("rsync", "-aHAXK", "--force", "--numeric-ids", f"{upper}/", lower)


@pytest.fixture(scope="module")
def trees(room, busybox) -> Trees:
    folder = room / "bases"
    folder.mkdir()
    first = copy(busybox, folder / "first")
    fill(first)
    second = copy(first, folder / "second")
    change(second)
    upper = folder / "upper"
    for name in ("opt/app/run", "opt/was-dir/again", "opt/opaque/newer", "merged/new", "merged/deep/new"):
        write(upper / name)
    write(upper / "merged/old", "merged\n")
    (upper / "opt/app").chmod(0o2750)
    write(upper / "opt/was-file", "a file again\n")
    write(upper / "etc/kept", "kept\n")
    write(upper / "etc/replaced", "by the new layer\n")
    write(upper / "etc/removed", "back\n")
    write(upper / "usr/bin/app", "#!/bin/sh\ncat /etc/replaced /opt/opaque/*\nexit 7\n", 0o755)
    write(upper / "usr/bin/su-app", mode=0o4755)
    (upper / "bin").symlink_to("usr/bin")
    write(upper / "var/hard-one", "another\n")
    (upper / "opt/hard-four").hardlink_to(upper / "var/hard-one")
    # The base has a directory with files there: they are hidden, with no whiteout.
    (upper / "srv").symlink_to("opt")
    os.mkfifo(upper / "opt/device")
    return Trees(first, second, upper)


# ---- builders of bases


def by_oe_oci(folder: Path, trees: Trees) -> Path:
    """Two layers; the second one removes what the first, of the host, has and the rootfs lacks."""
    conf = folder / "base.conf"
    conf.write_text(f'OCI_LAYERS = "first:host:{trees.first}:/. second:directories:/"\nOCI_HOST_OWNER = "keep"\n')
    tools.build(conf, folder / "deploy", "--rootfs", trees.second)
    return folder / "deploy"


def oe_oci_layout(folder: Path, trees: Trees) -> Base:
    layout = by_oe_oci(folder, trees) / "base-oci"
    return Base(str(layout), "latest", layout)


def oe_oci_archive(folder: Path, trees: Trees) -> Base:
    return Base(str(by_oe_oci(folder, trees) / "base-latest-oci.tar"), "latest")


def compressed_archive(folder: Path, trees: Trees) -> Base:
    deploy = by_oe_oci(folder, trees)
    with open(deploy / "base-oci-dir.tar", "rb") as plain, gzip.open(folder / "base.tar.gz", "wb", 1) as packed:
        shutil.copyfileobj(plain, packed)
    return Base(str(folder / "base.tar.gz"), "latest")


def umoci(folder: Path, trees: Trees) -> Base:
    """Layers as umoci's repack finds them, with its whiteouts.

    The link that replaces a directory gets a layer of its own: see `test_umocis_link_onto_a_directory`.
    """
    tools.need("umoci")
    layout, image = folder / "umoci", f"{folder}/umoci:repacked"
    tools.run("umoci", "init", "--layout", layout)
    tools.run("umoci", "new", "--image", image)
    tools.run("umoci", "unpack", "--image", image, folder / "one")
    copy(trees.first, folder / "one" / "rootfs")
    tools.run("umoci", "repack", "--image", image, folder / "one")
    tools.run("umoci", "unpack", "--image", image, folder / "two")
    shutil.move(folder / "two" / "rootfs" / "merged", folder / "merged")
    tools.run("umoci", "repack", "--refresh-bundle", "--image", image, folder / "two")
    shutil.move(folder / "merged", folder / "two" / "rootfs" / "merged")
    change(folder / "two" / "rootfs")
    tools.run("umoci", "repack", "--image", image, folder / "two")
    return Base(str(layout), "repacked", layout)


def umoci_opaque(folder: Path, trees: Trees) -> Base:
    """A second layer made by hand: opaque directories, whiteouts last, without entries of parents."""
    base = umoci(folder, trees)
    layout, image = folder / "umoci", f"{folder}/umoci:opaque"
    tools.run("umoci", "new", "--image", image)
    for number, members in enumerate((None, opaque_members(trees.second))):
        path = folder / f"{number}.tar"
        if members is None:
            tools.run("tar", "--xattrs", "--xattrs-include=*", "--format=posix", "-C", trees.first, "-cf", path, ".")
        else:
            with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
                for name, source in members:
                    info = archive.gettarinfo(source, name) if source else tarfile.TarInfo(name)
                    info.uname = info.gname = ""
                    with open(source or os.devnull, "rb") if info.isreg() else open(os.devnull, "rb") as data:
                        archive.addfile(info, data)
        tools.run("umoci", "raw", "add-layer", "--image", image, path)
    return base._replace(tag="opaque", layout=layout)


def opaque_members(second: Path) -> list[tuple[str, Path | None]]:
    changed = ["opt/opaque/new", "opt/was-dir", "opt/was-link/inside", "opt/was-file", "opt/was-file/inside"]
    changed += ["etc/replaced", "srv/deep", "opt/was-link", "opt/opaque", "merged", "usr/merged", "usr/merged/old"]
    gone = ["opt/.wh.gone", "etc/.wh.removed", "var/.wh.hard-three", "opt/.wh.device", "opt/opaque/.wh..wh..opq"]
    # What replaces a directory or a link follows its whiteout, as Docker wants it.
    gone = [*gone, "opt/.wh.was-file", "opt/.wh.was-link"]
    ordered = sorted(changed, key=lambda name: name.count("/"))
    return [*((name, None) for name in gone), *((name, second / name) for name in ordered)]


def commit(buildah: tools.Buildah, trees: Trees, *words: str) -> str:
    """An image of two layers in buildah's storage."""
    container = buildah("from", "scratch")
    copy(trees.first, Path(buildah("mount", container)))
    first = buildah("commit", "-q", "--rm", *words, container)
    container = buildah("from", first)
    change(Path(buildah("mount", container)))
    return buildah("commit", "-q", "--rm", *words, container)


def buildah_overlay(folder: Path, trees: Trees) -> Base:
    with tools.Buildah("overlay") as buildah:
        buildah("push", "-q", commit(buildah, trees), f"oci:{folder}/buildah:overlay")
    return Base(str(folder / "buildah"), "overlay", folder / "buildah")


def buildah_vfs(folder: Path, trees: Trees) -> Base:
    with tools.Buildah("vfs") as buildah:
        buildah("push", "-q", commit(buildah, trees), f"oci-archive:{folder}/buildah.tar:v1")
    return Base(str(folder / "buildah.tar"), "v1")


def docker_types(folder: Path, trees: Trees) -> Base:
    """Docker's manifest and config, in a layout as some registries' mirrors write it."""
    with tools.Buildah("overlay") as buildah:
        image = commit(buildah, trees, "--format", "docker")
        buildah("push", "-q", "--format", "v2s2", image, f"dir:{folder}/docker")
    layout = folder / "layout"
    (layout / "blobs" / "sha256").mkdir(parents=True)
    for path in (folder / "docker").iterdir():
        data = path.read_bytes()
        (layout / layouts.blob_name(layouts.sha256(data))).write_bytes(data)
    manifest = (folder / "docker" / "manifest.json").read_bytes()
    media_type = json.loads(manifest)["mediaType"]
    assert media_type == "application/vnd.docker.distribution.manifest.v2+json"
    entry = {"mediaType": media_type, "digest": layouts.sha256(manifest), "size": len(manifest)}
    write_index(layout, [{**entry, "annotations": {layouts.REF_NAME: "overlay"}}])
    return Base(str(layout), "overlay", layout)


def write_index(layout: Path, entries: list[dict[str, Any]]) -> None:
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))


BUILDERS: tuple[Callable[[Path, Trees], Base], ...] = (
    oe_oci_layout,
    oe_oci_archive,
    compressed_archive,
    umoci,
    umoci_opaque,
    buildah_overlay,
    buildah_vfs,
    docker_types,
)


@pytest.fixture(scope="module", params=BUILDERS, ids=lambda builder: builder.__name__)
def base(request, room, trees) -> Base:
    folder = room / f"base-{request.param.__name__}"
    folder.mkdir()
    return request.param(folder, trees)


@pytest.fixture(scope="module")
def podman() -> Iterator[tools.Podman]:
    with tools.Podman() as found:
        yield found


# ---- images on them


class Image(NamedTuple):
    """What a build left."""

    deploy: Path
    report: dict[str, Any]

    @property
    def layout(self) -> Path:
        return self.deploy / "app-oci"

    def blob(self, digest: str) -> bytes:
        return (self.layout / layouts.blob_name(digest)).read_bytes()

    def manifest(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.blob(self.report["image"]["digest"]))
        return value

    def config(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.blob(self.report["image"]["config"]))
        return value

    def members(self, number: int) -> list[str]:
        """The names in a layer that is new; 0 is the first."""
        digest = [layer for layer in self.report["layers"] if "digest" in layer][number]["digest"]
        with tarfile.open(self.layout / layouts.blob_name(digest)) as archive:
            return archive.getnames()


def build(folder: Path, base: Base, rootfs: Path | None, conf: str, *words: str) -> Image:
    folder.mkdir(exist_ok=True)
    path = folder / "app.conf"
    path.write_text(f'OCI_BASE_IMAGE = "{base.written}"\nOCI_BASE_IMAGE_TAG = "{base.tag}"\n{conf}', encoding="utf-8")
    more = ("--rootfs", rootfs) if rootfs else ()
    return Image(folder / "deploy", tools.build(path, folder / "deploy", *more, *words))


def assert_holds(image: Image, expected: compare.Listing, folder: Path, podman: tools.Podman) -> None:
    """umoci, podman and `unpack` make of an image what is expected, and checkers find no fault of ours."""
    assert verify(str(image.layout)) == []
    # umoci and buildah write whiteouts where lint does not want them; a base's layers stay as they are.
    below = tuple(layer["digest"] for layer in image.manifest()["layers"][: image.report["base"]["layers"]])
    found = lint_layout(str(image.deploy / "app-oci.tar"))
    assert [finding for finding in found if not finding.where.startswith(below)] == []
    unpack(str(image.layout), "latest", None, str(folder / "unpacked"), rootless=False)
    compare.assert_same(expected, compare.listing(folder / "unpacked"))
    root = tools.umoci_unpack(image.layout, "latest", folder / "bundle")
    compare.assert_same(expected, compare.listing(root))
    podman("load", "-q", "-i", image.deploy / "app-oci.tar")
    podman.assert_holds("localhost/app:latest", expected)


LAYERS = """\
OCI_LAYERS = "\\
    app:directories:/opt/app,/usr \\
    same:files:/etc/kept \\
    conf:files:/etc/replaced \\
    rest:directories:/ \\
    site:host:site:/etc/conf.d/two,site:/merged/site \\
"
"""
# What the base has is in no layer of ours, but for the directories on the way.
MEMBERS = [
    {"opt", "opt/app", "opt/app/run", "usr", "usr/bin", "usr/bin/app", "usr/bin/su-app"},
    {"etc", "etc/replaced"},
    {
        *("etc", "etc/removed", "srv", "usr", "usr/merged", "usr/merged/new", "usr/merged/deep"),
        *("usr/merged/deep/new", "opt", "opt/device", "opt/hard-four", "opt/opaque", "opt/opaque/newer"),
        *("opt/was-dir", "opt/was-dir/again", "opt/was-file", "var", "var/hard-one"),
    },
    {"etc", "etc/conf.d", "etc/conf.d/two", "usr", "usr/merged", "usr/merged/site"},
]


@pytest.mark.parametrize("conf", [LAYERS, ""], ids=["layers", "single"])
def test_on_every_base(base, trees, folder, podman, conf):
    (folder / "image").mkdir()
    write(folder / "image" / "site", "of the host\n")
    image = build(folder / "image", base, trees.upper, conf + 'OCI_IMAGE_CMD = "/bin/app"\n')
    expected = copy(trees.second, folder / "expected")
    lay_over(expected, trees.upper)
    if conf:
        for name in ("etc/conf.d/two", "usr/merged/site"):
            write(expected / name, "of the host\n")
    assert_holds(image, compare.listing(expected), folder, podman)
    assert podman("run", "--rm", "localhost/app:latest", status=7).stdout == "by the new layer\nnew\nnewer\n"
    if conf:
        notes = {layer["name"]: layer.get("note") for layer in image.report["layers"]}
        assert notes == {**dict.fromkeys(("app", "conf", "rest", "site")), "same": "left out: it changes nothing"}
        assert [set(image.members(number)) for number in range(4)] == MEMBERS


def test_base_is_as_its_builder_means_it(base, trees, folder):
    """What the tests above build on is what they think it is."""
    tools.oe_oci("unpack", f"{base.written}:{base.tag}", folder / "unpacked")
    found, expected = compare.listing(folder / "unpacked"), compare.listing(trees.second)
    found[b"."] = found[b"."]._replace(mode=expected[b"."].mode)  # buildah's layers have no entry for it
    compare.assert_same(expected, found)
    names = [Path(name) for layer in read_base(base, folder)["blobs"].values() for name in tar_names(layer)]
    marks = {str(name) for name in names if name.name.startswith(".wh.")}
    assert {"etc/.wh.removed", "opt/.wh.gone", "var/.wh.hard-three"} <= marks
    assert ("opt/opaque/.wh..wh..opq" in marks) == (base.tag in ("opaque", "overlay"))


def tar_names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getnames()


def test_blobs_of_the_base_are_untouched(base, trees, folder):
    below = read_base(base, folder)
    image = build(folder / "image", base, trees.upper, "")
    assert read_base(base, folder) == below
    manifest, config = image.manifest(), image.config()
    count = len(below["layers"])
    assert count == (3 if base.tag == "repacked" else 2)
    assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]) == count + 1
    for ours, theirs in zip(manifest["layers"], below["layers"]):
        assert (ours["digest"], ours["size"]) == (theirs["digest"], theirs["size"])
        assert ours["mediaType"] == f"{OCI}.layer.v1.tar+gzip"
        assert image.blob(ours["digest"]) == below["blobs"][ours["digest"]]
    assert config["rootfs"]["diff_ids"][:count] == below["config"]["rootfs"]["diff_ids"]
    history = below["config"].get("history", [])
    assert config["history"][: len(history)] == history
    assert sum(not entry.get("empty_layer") for entry in config["history"]) == count + 1
    assert len(json.loads((image.layout / "index.json").read_text())["manifests"]) == 1
    diff_ids = below["config"]["rootfs"]["diff_ids"]
    assert image.report["base"] == {"digest": below["digest"], "layers": count, "diffIds": diff_ids}
    assert config["config"]["Labels"]["org.opencontainers.image.base.digest"] == below["digest"]
    again = build(folder / "again", base, trees.upper, "", "--jobs", "1")
    for name in ("app-oci/index.json", "app-oci.tar", "app-oci.json"):
        assert (again.deploy / name).read_bytes() == (image.deploy / name).read_bytes()


def read_base(base: Base, folder: Path) -> dict[str, Any]:
    """A base's documents and blobs, read by hand."""
    files: dict[str, bytes] = {}
    if base.layout:
        for up, _, names in os.walk(base.layout):
            for name in names:
                path = Path(up, name)
                files[str(path.relative_to(base.layout))] = path.read_bytes()
    else:
        with tarfile.open(base.written) as archive:
            for member in archive:
                if member.isfile():
                    name = member.name.removeprefix("./").removeprefix("base-oci/")
                    files[name] = archive.extractfile(member).read()  # type: ignore[union-attr]
    entries = json.loads(files["index.json"])["manifests"]
    (entry,) = (entry for entry in entries if entry["annotations"][layouts.REF_NAME] == base.tag)
    manifest = json.loads(files[layouts.blob_name(entry["digest"])])
    config = json.loads(files[layouts.blob_name(manifest["config"]["digest"])])
    blobs = {layer["digest"]: files[layouts.blob_name(layer["digest"])] for layer in manifest["layers"]}
    return {"digest": entry["digest"], "layers": manifest["layers"], "config": config, "blobs": blobs}


def test_nothing_new_is_the_base_alone(base, trees, folder, podman):
    """Every layer is left out, where the base has it all; the image is the base with another config."""
    conf = 'OCI_LAYERS = "opt:directories:/opt,/usr etc:directories:/etc"\nOCI_IMAGE_CMD = "/bin/sh -c true"\n'
    image = build(folder / "image", base, trees.second, conf)
    assert [layer["note"] for layer in image.report["layers"]] == ["left out: it changes nothing"] * 2
    assert len(image.manifest()["layers"]) == image.report["base"]["layers"]
    kept = build(folder / "kept", base, trees.second, conf + 'OCI_LAYER_KEEP_EMPTY = "1"\n')
    assert len(kept.manifest()["layers"]) == kept.report["base"]["layers"] + 2
    podman("load", "-q", "-i", kept.deploy / "app-oci.tar")
    podman("run", "--rm", "localhost/app:latest")


# ---- usr-merge: directories where the other side has links


def tree(root: Path, *names: str) -> Path:
    """Files, directories (`name/`) and links (`name -> target`)."""
    root.mkdir()
    for name in names:
        path, _, target = name.partition(" -> ")
        if target:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).symlink_to(target)
        elif name.endswith("/"):
            (root / name).mkdir(parents=True, exist_ok=True)
        else:
            write(root / name)
    return root


MERGES = {
    "link onto a directory": (
        ["bin/old", "bin/deep/old", "usr/bin/ls"],
        ["bin -> usr/bin", "usr/bin/new"],
        ["bin -> usr/bin", "usr/bin/ls", "usr/bin/new"],
    ),
    "directory onto a link": (
        ["bin -> usr/bin", "usr/bin/ls"],
        ["bin/new", "bin/deep/new"],
        ["bin -> usr/bin", "usr/bin/ls", "usr/bin/new", "usr/bin/deep/new"],
    ),
    "directory onto an absolute link": (
        ["bin -> /usr/bin", "usr/bin/ls"],
        ["bin/ls", "bin/new"],
        ["bin -> /usr/bin", "usr/bin/ls", "usr/bin/new"],
    ),
    "directory onto a chain of links": (
        ["bin -> sbin", "sbin -> usr/../usr/sbin", "usr/sbin -> bin", "usr/bin/ls"],
        ["bin/one", "sbin/two", "usr/sbin/three"],
        [
            *("bin -> sbin", "sbin -> usr/../usr/sbin", "usr/sbin -> bin", "usr/bin/ls"),
            *("usr/bin/one", "usr/bin/two", "usr/bin/three"),
        ],
    ),
    "directory onto a dangling link": (
        ["bin -> usr/bin", "etc/"],
        ["bin/new"],
        ["bin -> usr/bin", "etc/", "usr/bin/new"],
    ),
    "directory onto a link to a file": (["bin -> file", "file"], ["bin/new"], ["bin/new", "file"]),
    "link onto the same link": (["bin -> usr/bin", "usr/bin/ls"], ["bin -> usr/bin", "usr/bin/new"], None),
    "link onto another link": (
        ["bin -> usr/bin", "usr/bin/ls"],
        ["bin -> usr/sbin", "usr/sbin/new"],
        ["bin -> usr/sbin", "usr/bin/ls", "usr/sbin/new"],
    ),
    "file onto a directory": (["bin/old", "bin/deep/old"], ["bin"], ["bin"]),
    "directory onto a file": (["bin"], ["bin/new"], ["bin/new"]),
    # Which then leads to no directory any more.
    "directory onto a link whose directory becomes a file": (
        ["bin -> old/bin", "old/bin/ls", "sbin -> other", "other -> old"],
        ["bin/new", "old", "sbin/new", "other -> bin"],
        ["bin/new", "old", "sbin/new", "other -> bin"],
    ),
    "directory onto a link through a file": (["bin -> file/bin", "file"], ["bin/new"], ["bin/new", "file"]),
    "link out of the root": (
        ["bin -> ../../../usr/bin", "usr/bin/ls"],
        ["bin/new"],
        ["bin -> ../../../usr/bin", "usr/bin/ls", "usr/bin/new"],
    ),
}


def in_layout(folder: Path, root: Path, conf: str = "OCI_IMAGE_AUTO_LABELS = '0'\n") -> Base:
    """A base of one layer."""
    folder.mkdir()
    (folder / "base.conf").write_text(conf)
    tools.build(folder / "base.conf", folder / "deploy", "--rootfs", root)
    return Base(str(folder / "deploy" / "base-oci"), "latest", folder / "deploy" / "base-oci")


@pytest.mark.parametrize(
    ("name", "conf"),
    [*((name, 'OCI_LAYERS = "all:directories:/"\n') for name in MERGES), *((name, "") for name in list(MERGES)[:2])],
)
def test_merged_usr(folder, podman, name, conf):
    tools.need_root()
    lower, upper, result = MERGES[name]
    base = in_layout(folder / "base", tree(folder / "lower", *lower))
    image = build(folder / "image", base, tree(folder / "upper", *upper), conf)
    expected = compare.listing(tree(folder / "expected", *(result or sorted({*lower, *upper}))))
    assert_holds(image, expected, folder, podman)
    below = json.loads((base.layout / "index.json").read_text())["manifests"][0]["digest"]
    assert image.report["base"]["digest"] == below


@pytest.mark.parametrize(
    "layers",
    [
        "new:files:/bin/new,/bin/deep/new",
        "new:directories:/bin",
        "new:host:{upper}/bin/new:/bin/,{upper}/bin/deep:/bin/deep",
        "one:files:/bin/new two:directories:/bin/deep",
    ],
    ids=["files", "directories", "host", "both"],
)
def test_layers_through_a_link_of_the_base(folder, podman, layers):
    tools.need_root()
    lower, upper, result = MERGES["directory onto a link"]
    base = in_layout(folder / "base", tree(folder / "lower", *lower))
    rootfs = tree(folder / "upper", *upper)
    image = build(folder / "image", base, rootfs, f'OCI_LAYERS = "{layers.format(upper=rootfs)}"\n')
    assert_holds(image, compare.listing(tree(folder / "expected", *result)), folder, podman)


def test_links_of_this_image_do_not_stay(folder, podman):
    """Links that a lower layer of the same image put there are no base's: the rootfs's directories replace them."""
    tools.need_root()
    base = in_layout(folder / "base", tree(folder / "lower", "base -> kept", "kept/old"))
    host = tree(folder / "host", "opt/own -> dir", "opt/dir/old", "far -> opt/dir", "base/")
    rootfs = tree(folder / "upper", "opt/own/new", "opt/dir", "far/new", "base/new")
    layers = f'OCI_LAYERS = "host:host:{host}/opt:/opt,{host}/far:/ all:directories:/"\n'
    image = build(folder / "image", base, rootfs, layers)
    expected = tree(folder / "expected", "base -> kept", "kept/old", "kept/new", "opt/own/new", "opt/dir", "far/new")
    assert_holds(image, compare.listing(expected), folder, podman)


def test_umocis_link_onto_a_directory(folder):
    """umoci 0.4.7 writes whiteouts below the link, which podman and Docker refuse: lint tells that of the base."""
    tools.need_root()
    tools.need("umoci")
    image = f"{folder}/base:v1"
    tools.run("umoci", "init", "--layout", folder / "base")
    tools.run("umoci", "new", "--image", image)
    tools.run("umoci", "unpack", "--image", image, folder / "work")
    rootfs = folder / "work" / "rootfs"
    write(rootfs / "bin/old")
    write(rootfs / "usr/bin/ls")
    tools.run("umoci", "repack", "--refresh-bundle", "--image", image, folder / "work")
    shutil.rmtree(rootfs / "bin")
    (rootfs / "bin").symlink_to("usr/bin")
    tools.run("umoci", "repack", "--image", image, folder / "work")

    base = Base(str(folder / "base"), "v1", folder / "base")
    built = build(folder / "image", base, tree(folder / "upper", "bin/new"), 'OCI_LAYERS = "all:directories:/"\n')
    assert set(built.members(0)) == {"usr", "usr/bin", "usr/bin/new"}
    expected = compare.listing(tree(folder / "expected", "bin -> usr/bin", "usr/bin/ls", "usr/bin/new"))
    unpack(str(built.layout), "latest", None, str(folder / "unpacked"), rootless=False)
    compare.assert_same(expected, compare.listing(folder / "unpacked"))
    compare.assert_same(expected, compare.listing(tools.umoci_unpack(built.layout, "latest", folder / "bundle")))
    assert verify(str(built.layout)) == []
    below = built.manifest()["layers"][1]["digest"]
    assert [(found.rule, found.where) for found in lint_layout(str(built.layout))] == [
        ("whiteout-below-link", f"{below} /bin/.wh.old")
    ]


# ---- what is added to and taken from a base, file by file


def test_all_of_the_rootfs_removes_what_is_this_images_own(folder, podman):
    tools.need_root()
    base = in_layout(
        folder / "base", tree(folder / "lower", "etc/base", "etc/base.d/one", "opt/base -> ../etc", "srv/")
    )
    host = tree(folder / "host", "etc/own", "etc/base.d/own", "etc/own.d/own", "opt/own -> ../etc", "srv/own", "own")
    layers = f'OCI_LAYERS = "own:host:{host}:/. all:directories:/ last:host:{host}/own:/srv/"\n'
    image = build(folder / "image", base, tree(folder / "upper", "etc/new"), layers)
    assert set(image.members(1)) == {
        *("etc", "etc/.wh.own", "etc/.wh.own.d", "etc/base.d", "etc/base.d/.wh.own", "etc/new"),
        *("opt", "opt/.wh.own", "srv", "srv/.wh.own", ".wh.own"),
    }
    assert image.report["layers"][1]["removed"] == 6
    expected = tree(folder / "expected", "etc/base", "etc/base.d/one", "opt/base -> ../etc", "srv/own", "etc/new")
    assert_holds(image, compare.listing(expected), folder, podman)


HARD_LINKS = {"same": "ab", "more": "ab", "changed": "abc", "apart": "ab", "fewer": "abc", "moved": "ab"}


def hard_linked(root: Path, groups: dict[str, str], texts: dict[str, str] | None = None) -> Path:
    """Directories, each with the names of one file."""
    for group, names in groups.items():
        first, *others = (root / group / name for name in names)
        write(first, (texts or {}).get(group, f"{group}\n"))
        for other in others:
            other.hardlink_to(first)
    return root


def test_hard_links_with_a_base(folder, podman):
    """Names of one file are together where the rootfs has them so; where it is silent they are as in the base."""
    tools.need_root()
    base = in_layout(folder / "base", hard_linked(folder / "lower", HARD_LINKS))
    changed = {name: f"{name} above\n" for name in ("changed", "apart", "fewer")}
    groups = {**HARD_LINKS, "more": "abc", "apart": "a", "fewer": "ab", "moved": "c"}
    upper = hard_linked(folder / "upper", groups, changed)
    write(upper / "apart/b", "apart\n")
    image = build(folder / "image", base, upper, 'OCI_LAYERS = "all:directories:/"\n')
    with tarfile.open(image.layout / layouts.blob_name(image.report["layers"][0]["digest"])) as archive:
        members = {member.name: member.linkname for member in archive if not member.isdir()}
    assert members == {
        "more/a": "",
        "more/b": "more/a",
        "more/c": "more/a",
        "changed/a": "",
        "changed/b": "changed/a",
        "changed/c": "changed/a",
        "apart/a": "",
        "fewer/a": "",
        "fewer/b": "fewer/a",
        "moved/c": "",
    }
    expected = hard_linked(folder / "expected", {**HARD_LINKS, "more": "abc", "apart": "a", "fewer": "ab"}, changed)
    write(expected / "apart/b", "apart\n")
    write(expected / "fewer/c", "fewer\n")
    write(expected / "moved/c", "moved\n")
    assert_holds(image, compare.listing(expected), folder, podman)


def test_rules_for_paths_of_a_base(folder, podman):
    """The last layer has again what is changed, with content and all names, and whiteouts of what is removed."""
    tools.need_root()
    lower = tree(
        folder / "lower", "etc/plain", "etc/gone", "etc/gone.d/x", "etc/conf.d/one", "bin -> usr/bin", "usr/bin/su"
    )
    hard_linked(lower, {"hard": "abc"})
    (lower / "etc/link").symlink_to("plain")
    base = in_layout(folder / "base", lower)
    rules = (
        "/etc/plain:0600:12:34 /etc/gone:remove /etc/gone.d:remove /etc/conf.d:1777:: /bin/su:4755:0:0 /hard/b:0640::7 "
        "/hard/c:remove /etc/link::5:6"
    )
    conf = f'OCI_LAYERS = "one:files:/new two:files:/newer"\nOCI_IMAGE_PATHS = "{rules}"\n'
    image = build(folder / "image", base, tree(folder / "upper", "new", "newer"), conf)
    assert set(image.members(1)) == {
        *("newer", "etc", "etc/plain", "etc/.wh.gone", "etc/.wh.gone.d", "etc/conf.d", "etc/link"),
        *("usr", "usr/bin", "usr/bin/su", "hard", "hard/.wh.c", "hard/a", "hard/b"),
    }
    expected = tree(folder / "expected", "etc/conf.d/one", "bin -> usr/bin", "new", "newer")
    write(expected / "etc/plain", mode=0o600)
    os.chown(expected / "etc/plain", 12, 34)
    (expected / "etc/conf.d").chmod(0o1777)
    write(expected / "usr/bin/su", mode=0o4755)
    (expected / "etc/link").symlink_to("plain")
    os.lchown(expected / "etc/link", 5, 6)
    hard_linked(expected, {"hard": "ab"}, {"hard": "hard\n"})
    os.chown(expected / "hard/a", 0, 7)
    (expected / "hard/a").chmod(0o640)
    assert_holds(image, compare.listing(expected), folder, podman)


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_layers_of_several_compressions(folder, podman, compression):
    """The base's layer stays as it is, whatever ours are; of zstd lint tells what refuses it."""
    tools.need_root()
    base = in_layout(folder / "base", tree(folder / "lower", "etc/base"), f'OCI_LAYER_COMPRESSION = "{compression}"\n')
    image = build(folder / "image", base, tree(folder / "upper", "etc/new"), "")
    below, above = image.manifest()["layers"]
    assert below["mediaType"] == f"{OCI}.layer.v1.tar{'+zstd' if compression == 'zstd' else ''}"
    assert above["mediaType"] == f"{OCI}.layer.v1.tar+gzip"
    assert image.blob(below["digest"]) == (base.layout / layouts.blob_name(below["digest"])).read_bytes()
    expected = compare.listing(tree(folder / "expected", "etc/base", "etc/new"))
    unpack(str(image.layout), "latest", None, str(folder / "unpacked"), rootless=False)
    compare.assert_same(expected, compare.listing(folder / "unpacked"))
    podman("load", "-q", "-i", image.deploy / "app-oci.tar")
    podman.assert_holds("localhost/app:latest", expected)
    assert verify(str(image.layout)) == []
    assert {found.rule for found in lint_layout(str(image.layout))} == (
        {"zstd-layer"} if compression == "zstd" else set()
    )


# ---- bases by recipe's name, and for several platforms


def test_recipe_name_and_path_relative_to_the_file(folder):
    tools.need_root()
    base = in_layout(folder / "base", tree(folder / "lower", "etc/base"))
    upper = tree(folder / "upper", "etc/upper")
    by_full_path = build(folder / "one", base, upper, "")
    (folder / "one" / "app.conf").write_text(
        f'OCI_BASE_IMAGE = "base"\nIMGDEPLOYDIR = "again"\nDEPLOY_DIR_IMAGE = "{folder}/base/deploy"\n'
    )
    tools.oe_oci("build", folder / "one" / "app.conf", "--rootfs", upper)
    report = json.loads((folder / "one" / "again" / "app-oci.json").read_text())
    shutil.copytree(folder / "base" / "deploy", folder / "beside" / "deploy", symlinks=True)
    beside = build(folder / "beside", Base("base", "latest"), upper, "")
    by_path = build(folder / "two", Base("../base/deploy/base-latest-oci", "latest"), upper, "")
    by_archive = build(folder / "three", Base("./../base/deploy/base-oci.tar", "latest"), upper, "")
    for built in (by_full_path, beside, by_path, by_archive):
        for layer in built.report["layers"]:
            layer.pop("cache")  # of what is printed alone
        assert built.report == report


def edit_image(files: layouts.Files, architecture: str, text: str, variant: str = "") -> dict[str, Any]:
    platform = {"architecture": architecture, "os": "linux", **({"variant": variant} if variant else {})}
    layer = layouts.layer(layouts.folder("etc"), layouts.file("etc/arch", text.encode()))
    return layouts.image(files, [layer], platform=platform, tag="v1")


def several_platforms(folder: Path, *, nested: bool) -> Base:
    files = layouts.Files()
    entries = [edit_image(files, "amd64", "amd64\n"), edit_image(files, "arm64", "arm64\n", "v8")]
    entries += [edit_image(files, "arm", "v6\n", "v6"), edit_image(files, "arm", "v7\n", "v7")]
    if nested:
        for entry in entries:
            del entry["annotations"]
        inner = files.document({"schemaVersion": 2, "mediaType": layouts.INDEX, "manifests": entries}, layouts.INDEX)
        entries = [{**inner, "annotations": {layouts.REF_NAME: "v1"}}]
    layouts.index(files, entries)
    return Base(str(files.write(folder / "several")), "v1")


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"OCI_IMAGE_ARCH": "amd64"}, "amd64"),
        ({"TARGET_ARCH": "aarch64"}, "arm64"),
        ({"TARGET_ARCH": "arm", "TUNE_FEATURES": "arm armv7a"}, "v7"),
        ({"OCI_IMAGE_ARCH": "arm", "OCI_IMAGE_SUBARCH": "v6"}, "v6"),
    ],
    ids=["amd64", "arm64", "arm v7", "arm v6"],
)
def test_platform_is_picked(folder, nested, settings, expected):
    base = several_platforms(folder, nested=nested)
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    (folder / "file").touch()
    image = build(folder / "image", base, None, f'OCI_LAYERS = "new:host:{folder}/file:/etc/"\n', *words)
    with tarfile.open(image.layout / layouts.blob_name(image.manifest()["layers"][0]["digest"])) as archive:
        assert archive.extractfile("etc/arch").read().decode() == f"{expected}\n"
    assert tools.oe_oci("verify", image.layout).stdout == "nothing found\n"


def test_index_made_by_buildah(folder, podman):
    tools.need_root()
    base = in_layout(folder / "base", tree(folder / "lower", "etc/base"))
    (folder / "file").touch()
    layers = f'OCI_LAYERS = "new:host:{folder}/file:/etc/"\n'
    other = build(
        folder / "other", several_platforms(folder, nested=False), None, layers, "--set", "OCI_IMAGE_ARCH=arm64"
    )
    with tools.Buildah("vfs") as buildah:
        buildah("manifest", "create", "both")
        buildah("manifest", "add", "both", f"oci:{base.layout}:latest")
        buildah("manifest", "add", "both", f"oci:{other.layout}:latest")
        buildah("manifest", "push", "-q", "--all", "both", f"oci:{folder}/both:v2")
    both = Base(str(folder / "both"), "v2")
    image = build(folder / "image", both, None, layers)
    expected = tree(folder / "expected", "etc/base")
    (expected / "etc/file").touch()
    assert_holds(image, compare.listing(expected), folder, podman)
    image = build(folder / "arm", both, None, layers, "--set", "OCI_IMAGE_ARCH=arm64", "--set", "OCI_IMAGE_SUBARCH=v8")
    assert len(image.manifest()["layers"]) == 2


# ---- what is inherited

RUN = {
    "Entrypoint": ["/bin/base", "one"],
    "Cmd": ["two words", "three"],
    "Env": ["PATH=/base/bin", "A=1", "B=x=y"],
    "User": "1:2",
    "WorkingDir": "/base",
    "StopSignal": "SIGINT",
    "ExposedPorts": {"80/tcp": {}},
    "Volumes": {"/base/data": {}},
    "Labels": {"base": "1", "both": "base", "org.opencontainers.image.revision": "of the base"},
    "Healthcheck": {"Test": ["CMD", "true"]},
    "Shell": ["/bin/base", "-c"],
    "x-unknown": {"any": ["thing"]},
}
KEPT = {key: value for key, value in RUN.items() if key != "Labels"}
INHERITANCE = {
    "all": ("", {}),
    "new entry point": ('OCI_IMAGE_ENTRYPOINT = "/bin/new a b"', {"Entrypoint": ["/bin/new", "a", "b"], "Cmd": None}),
    "both": (
        'OCI_IMAGE_ENTRYPOINT = "/bin/new"\nOCI_IMAGE_ENTRYPOINT_ARGS = "x \'y z\'"',
        {"Entrypoint": ["/bin/new"], "Cmd": ["x", "y z"]},
    ),
    "arguments": ('OCI_IMAGE_ENTRYPOINT_ARGS = "x"', {"Cmd": ["x"]}),
    "command": ('OCI_IMAGE_CMD = "/bin/sh"', {"Cmd": ["/bin/sh"]}),
    "no entry point": ('OCI_IMAGE_ENTRYPOINT = "none"', {"Entrypoint": None}),
    "no command": ('OCI_IMAGE_CMD = "none"', {"Cmd": None}),
    "neither": ('OCI_IMAGE_ENTRYPOINT = "none"\nOCI_IMAGE_ENTRYPOINT_ARGS = "none"', {"Entrypoint": None, "Cmd": None}),
    "environment": ('OCI_IMAGE_ENV_VARS = "A=2 C=3"', {"Env": ["PATH=/base/bin", "A=2", "B=x=y", "C=3"]}),
    "no environment": (
        'OCI_IMAGE_ENV_VARS = "none"',
        {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
    ),
    "user": ('OCI_IMAGE_RUNTIME_UID = "7"', {"User": "7"}),
    "no user": ('OCI_IMAGE_RUNTIME_UID = "none"', {"User": None}),
    "folder": ('OCI_IMAGE_WORKINGDIR = "/new"', {"WorkingDir": "/new"}),
    "no folder": ('OCI_IMAGE_WORKINGDIR = "none"', {"WorkingDir": None}),
    "signal": ('OCI_IMAGE_STOPSIGNAL = "9"', {"StopSignal": "9"}),
    "no signal": ('OCI_IMAGE_STOPSIGNAL = "none"', {"StopSignal": None}),
    "ports": ('OCI_IMAGE_PORTS = "81"', {"ExposedPorts": {"80/tcp": {}, "81/tcp": {}}}),
    "no ports": ('OCI_IMAGE_PORTS = "none"', {"ExposedPorts": None}),
    "volumes": ('OCI_IMAGE_VOLUMES = "/new"', {"Volumes": {"/base/data": {}, "/new": {}}}),
    "no volumes": ('OCI_IMAGE_VOLUMES = "none"', {"Volumes": None}),
}


def small_base(folder: Path, run: dict[str, Any], **edits: Any) -> Base:
    def config(fields: dict[str, Any]) -> None:
        fields["config"] = run
        fields["history"].append({"created_by": "ENV A=1", "empty_layer": True})
        fields.update({"author": "base", "x-unknown": 1, "docker_version": "20.10", "container": "of the base"})

    files = layouts.layout(**{"config": config, **edits})
    return Base(str(files.write(folder / "small")), "1.0")


@pytest.mark.parametrize("name", INHERITANCE)
def test_config_is_inherited_key_by_key(folder, name):
    conf, expected = INHERITANCE[name]
    (folder / "file").touch()
    layers = f'OCI_LAYERS = "new:host:{folder}/file:/new"\nOCI_IMAGE_LABELS = "both=new"\n'
    image = build(folder / "image", small_base(folder, RUN), None, layers + conf)
    config = image.config()
    labels = config["config"].pop("Labels")
    assert config["config"] == {key: value for key, value in {**KEPT, **expected}.items() if value is not None}
    assert (labels["base"], labels["both"]) == ("1", "new")
    assert "org.opencontainers.image.revision" not in labels
    assert (config["author"], config["x-unknown"]) == ("base", 1)
    assert not config.keys() & {"docker_version", "container"}
    assert [entry.get("empty_layer", False) for entry in config["history"]] == [False, True, False]


def test_default_command_where_nobody_has_one(folder):
    (folder / "file").touch()
    layers = f'OCI_LAYERS = "new:host:{folder}/file:/new"\n'
    image = build(folder / "image", small_base(folder, {}), None, layers)
    assert image.config()["config"]["Cmd"] == ["/bin/sh"]


def test_automatic_labels_are_each_images_own(folder):
    """Of three images on each other, of which the lowest alone lies in a repository and has a version."""
    tools.need_root()
    tools.need("git")
    rootfs = tree(folder / "lowest-rootfs", "file")
    (folder / "lowest").mkdir()
    (folder / "lowest" / "base.conf").write_text('PV = "1.2"\nOCI_IMAGE_LABELS = "vendor=example"\n')
    for words in (("init", "-q", "-b", "product"), ("add", "-A"), ("commit", "-q", "-m", "All")):
        tools.run("git", "-C", folder / "lowest", *words)
    made = [tools.build(folder / "lowest" / "base.conf", folder / "lowest" / "deploy", "--rootfs", rootfs)]
    places = [folder / "lowest" / "deploy" / "base-oci"]
    for name in ("middle", "top"):
        conf = 'OCI_LAYERS = "new:files:/file"\nSOURCE_DATE_EPOCH = "86400"\n'
        image = build(folder / name, Base(str(places[-1]), "latest"), tree(folder / f"{name}-rootfs", "file"), conf)
        made.append(image.report)
        places.append(image.layout)
    prefix = "org.opencontainers.image"
    labels = [inspect_labels(path) for path in places]
    assert labels[0].keys() >= {f"{prefix}.{key}" for key in ("revision", "version", "created", "ref.name")}
    assert labels[0]["org.openembedded.image.branch"] == "product"
    for number in (1, 2):
        assert labels[number] == {
            "vendor": "example",
            f"{prefix}.created": "1970-01-02T00:00:00Z",
            f"{prefix}.base.digest": made[number - 1]["image"]["digest"],
        }


def inspect_labels(layout: Path) -> dict[str, str]:
    tools.need("skopeo")
    found: dict[str, str] = json.loads(tools.run("skopeo", "inspect", f"oci:{layout}:latest").stdout)["Labels"]
    return found


# ---- what is refused, with nothing written


def refused(folder: Path, base: Base, *words: str, settings: str = "") -> str:
    """A build that must fail for what its inputs are; the message. Nothing may be written, nothing may change."""
    (folder / "file").touch()
    path = folder / "app.conf"
    path.write_text(
        f'OCI_BASE_IMAGE = "{base.written}"\nOCI_BASE_IMAGE_TAG = "{base.tag}"\n'
        f'OCI_LAYERS = "new:host:{folder}/file:/new"\n{settings}',
        encoding="utf-8",
    )
    deploy = folder / "deploy"
    deploy.mkdir()
    (deploy / "app-oci.tar").write_text("an earlier output")
    done = tools.oe_oci("build", path, "--deploy-dir", deploy, "-q", *words, status=2)
    assert done.stdout == ""
    assert done.stderr.startswith("oe-oci: ")
    assert done.stderr.count("oe-oci: ") == 1
    assert "Traceback" not in done.stderr
    assert [(p.name, p.read_text()) for p in deploy.iterdir()] == [("app-oci.tar", "an earlier output")]
    shutil.rmtree(deploy)
    return done.stderr


def test_other_architecture(folder):
    text = refused(folder, small_base(folder, RUN), "--set", "OCI_IMAGE_ARCH=arm64")
    assert "linux/amd64" in text
    assert "linux/arm64" in text


def test_platform_that_is_not_there(folder):
    text = refused(folder, several_platforms(folder, nested=True), "--set", "OCI_IMAGE_ARCH=riscv64")
    assert "has no image for linux/riscv64; it has: linux/amd64, linux/arm/v6, linux/arm/v7, linux/arm64/v8" in text


def test_platform_that_the_config_denies(folder):
    """The index says one architecture, the config another."""
    base = small_base(
        folder, RUN, descriptor=lambda entry: entry.update(platform={"os": "linux", "architecture": "arm64"})
    )
    assert "amd64" in refused(folder, base, "--set", "OCI_IMAGE_ARCH=arm64")


def test_tag_that_is_not_there(folder):
    base = small_base(folder, RUN)._replace(tag="1.1")
    assert "no image has the tag '1.1'; its tags are: 1.0" in refused(folder, base)


@pytest.mark.parametrize(
    ("reference", "recipe", "folder_name", "tag"),
    [
        ("registry.example/library/debian:12-slim", "debian-base", "debian", "12-slim"),
        ("registry.example:5000/team/app", "app-base", "app", "latest"),
        ("debian.example/image:1", "image-base", "image", "1"),
    ],
)
def test_remote(folder, reference, recipe, folder_name, tag):
    """The way out that the message offers is one: the recipe's lines are there, and the copy can be built on."""
    text = refused(folder, Base(reference, "latest"))
    assert f"'{reference}' is a remote image; a base is taken from disk only" in text
    for line in (
        "inherit container-bundle",
        f'CONTAINER_BUNDLES = "{reference}"',
        f'CONTAINER_DIGESTS[{reference.replace("/", "_").replace(":", "_")}] = "sha256:…"',
        'CONTAINER_BUNDLE_DEPLOY = "1"',
        f"skopeo inspect --format '{{{{.Digest}}}}' docker://{reference}",
        f'OCI_BASE_IMAGE = "{recipe}"',
    ):
        assert f"{line}\n" in text
    tools.need("skopeo")
    (command,) = (line.strip() for line in text.splitlines() if " copy docker://" in line)
    source = small_base(folder, RUN)
    assert f"docker://{reference} " in command
    command = command.replace(f"docker://{reference} ", f"oci:{source.written}:{source.tag} ")
    tools.run("sh", "-euc", command.replace("skopeo", "skopeo --insecure-policy", 1), cwd=folder)
    written = text[text.index(" copy docker://") :]
    assert f'OCI_BASE_IMAGE = "./{folder_name}"\n' in written
    assert f'OCI_BASE_IMAGE_TAG = "{tag}"\n' in written
    conf = f'OCI_LAYERS = "new:host:{folder}/file:/new"\n'
    (folder / "file").touch()
    assert build(folder, Base(f"./{folder_name}", tag), None, conf).report["base"]["layers"] == 1


def test_layer_that_may_not_be_passed_on(folder):
    kind = f"{OCI}.layer.nondistributable.v1.tar+gzip"
    base = small_base(folder, RUN, manifest=lambda fields: fields["layers"][0].update(mediaType=kind))
    assert "nondistributable" in refused(folder, base)


def layer_of(path: Path) -> Path:
    """The file of a layout's first layer."""
    entry = json.loads((path / "index.json").read_text())["manifests"][0]
    manifest = json.loads((path / layouts.blob_name(entry["digest"])).read_text())
    return path / layouts.blob_name(manifest["layers"][0]["digest"])


def flip(path: Path, position: int) -> None:
    layouts.replaced(path, layouts.flipped(path.read_bytes(), position))


def flip_manifest(path: Path) -> None:
    entry = json.loads((path / "index.json").read_text())["manifests"][0]
    blob = path / layouts.blob_name(entry["digest"])
    data = blob.read_bytes()
    layouts.replaced(blob, data.replace(b'"schemaVersion": 2', b'"schemaVersion": 3'))


def truncate(path: Path) -> None:
    os.truncate(layer_of(path), layer_of(path).stat().st_size - 10)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped bit in a layer": lambda path: flip(layer_of(path), 40),
    "flipped bit in the header of a layer": lambda path: flip(layer_of(path), 5),
    "flipped bit in the last byte of a layer": lambda path: flip(layer_of(path), -1),
    "manifest": flip_manifest,
    "truncated layer": truncate,
    "empty layer": lambda path: layer_of(path).write_bytes(b""),
    "missing layer": lambda path: layer_of(path).unlink(),
    "layer that is a link": lambda path: (layer_of(path).rename(path / "x"), layer_of(path).symlink_to(path / "x")),
    "torn index": lambda path: os.truncate(path / "index.json", 30),
    "index of another kind": lambda path: (path / "index.json").write_text("[]"),
    "no index": lambda path: (path / "index.json").unlink(),
    "other version": lambda path: (path / "oci-layout").write_text('{"imageLayoutVersion":"2.0.0"}'),
}
LIES: dict[str, dict[str, Any]] = {
    "diff ID": {"config": lambda fields: fields["rootfs"].update(diff_ids=[layouts.sha256(b"x")])},
    "two diff IDs": {"config": lambda fields: fields["rootfs"]["diff_ids"].append(layouts.sha256(b"x"))},
    "size": {"manifest": lambda fields: fields["layers"][0].update(size=7)},
    "size of the config": {"manifest": lambda fields: fields["config"].update(size=7)},
    "negative size": {"manifest": lambda fields: fields["layers"][0].update(size=-1)},
    "digest that is a path": {
        "manifest": lambda fields: fields["layers"][0].update(digest="sha256:../../../etc/passwd")
    },
    "compression": {"manifest": lambda fields: fields["layers"][0].update(mediaType=f"{OCI}.layer.v1.tar+zstd")},
    "no compression": {"manifest": lambda fields: fields["layers"][0].update(mediaType=f"{OCI}.layer.v1.tar")},
    "kind of layer": {"manifest": lambda fields: fields["layers"][0].update(mediaType="application/x-squashfs")},
    "layers that are no list": {"manifest": lambda fields: fields.update(layers={})},
    "no config": {"manifest": lambda fields: fields.pop("config")},
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_base(folder, name):
    base = small_base(folder, RUN)
    DAMAGES[name](Path(base.written))
    assert f"OCI_BASE_IMAGE '{base.written}'" in refused(folder, base)


@pytest.mark.parametrize("name", LIES)
def test_base_that_lies(folder, name):
    base = small_base(folder, RUN, **LIES[name])
    assert f"OCI_BASE_IMAGE '{base.written}'" in refused(folder, base)


@pytest.mark.parametrize("where", ["header", "blob", "end"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_truncated_archive(folder, where, compression):
    path = layouts.layout().archive(folder / "base.tar", compression=compression)
    size = path.stat().st_size
    os.truncate(
        path, {"header": 100, "blob": size // 2, "end": size - 11 if compression == "gzip" else size - 10240}[where]
    )
    assert str(path) in refused(folder, Base(str(path), "1.0"))


def test_more_layers_than_runtimes_take(folder):
    """The base's count too."""
    layers = [layouts.layer(layouts.file(f"file-{number}", b"")) for number in range(124)]
    base = Base(str(layouts.layout(*layers).write(folder / "many")), "1.0")
    (folder / "file").touch()
    conf = f'OCI_LAYERS = "new:host:{folder}/file:/new'
    image = build(folder / "image", base, None, f'{conf}"\n')
    assert len(image.manifest()["layers"]) == 125
    assert verify(str(image.layout)) == lint_layout(str(image.layout)) == []
    text = refused(folder, base, settings=f'OCI_LAYERS += "more:host:{folder}/file:/more"\n')
    assert "126 layers, 124 of them of the base; runtimes take at most 125" in text


HOSTILE = {
    "leaves the root": layouts.layer(layouts.file("../escaped")),
    "leaves the root below": layouts.layer(layouts.folder("a"), layouts.file("a/../../escaped")),
    "absolute": layouts.layer(layouts.file("/escaped")),
    "absolute folder": layouts.layer(layouts.folder("/opt"), layouts.file("opt/escaped")),
    "link that leaves the root": layouts.layer(layouts.hardlink("a", "../../etc/passwd")),
    "whiteout of the parent": layouts.layer(layouts.file("a/.wh...")),
    "whiteout of the folder": layouts.layer(layouts.file("a/.wh..")),
    "whiteout without a name": layouts.layer(layouts.file("a/.wh.")),
    "no header": layouts.Layer(b"x" * 1024),
    "hard link to nothing": layouts.layer(layouts.hardlink("a", "no/such")),
    "torn": layouts.Layer(layouts.tar([layouts.file("a", b"x" * 5000)])[:3000]),
    "bomb": layouts.Layer(layouts.tar([layouts.file("zero", bytes(64 << 20))])),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_layer(folder, name):
    files = layouts.layout(HOSTILE[name])
    base = Base(str(files.write(folder / "hostile")), "1.0")
    words = ("--max-unpacked", "20M") if name == "bomb" else ()
    text = refused(folder, base, *words)
    assert f"OCI_BASE_IMAGE '{base.written}'" in text
    assert not (folder.parent / "escaped").exists()
    if name == "bomb":
        assert "--max-unpacked" in text
        tools.oe_oci("build", folder / "app.conf", "--deploy-dir", folder / "deploy", "-q", "--max-unpacked", "100M")


def test_absent_base(folder):
    assert "there is no such layout or archive" in refused(folder, Base("./nowhere", "latest"))
    text = refused(folder, Base("nothing-base", "latest"))
    assert "build the recipe nothing-base first" in text
    tools.oe_oci("build", folder / "app.conf", "--deploy-dir", folder / "none", status=2)
    assert not (folder / "none").exists()
