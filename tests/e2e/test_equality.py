# SPDX-License-Identifier: MIT
"""A root file system of real packages and special files comes out of an image as it went in, whoever unpacks it."""

from __future__ import annotations

import json
import os
import tarfile
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from conftest import EPOCH
from support import compare, tools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LAYERS = """\
    programs:directories:/usr,/bin,/sbin,/lib,/lib64 \\
    config:directories:/etc,/locked \\
    data:files:/var/lib/special/shared,/var/lib/special/large \\
    rest:directories:/ \\
"""
CONF = "OCI_IMAGE_CMD = \"/bin/sh -c 'jq -n 40+2; exit 7'\"\n"
CONFS = {"layers": f'{CONF}OCI_LAYERS = "\\\n{LAYERS}"\n', "single": CONF}
SHARED = (b"usr/share/special/shared", b"etc/special/shared", b"var/lib/special/shared", b"opt/special/shared")


class Image(NamedTuple):
    """An image, the report of its build, and what it must hold."""

    deploy: Path
    report: dict[str, Any]
    stderr: str
    expected: compare.Listing

    @property
    def layout(self) -> Path:
        return self.deploy / "app-oci"

    @property
    def archive(self) -> Path:
        return self.deploy / "app-oci.tar"


def make(folder: Path, conf: str, source: Path, expected: compare.Listing, **variables: str) -> Image:
    folder.mkdir()
    (folder / "app.conf").write_text(conf, encoding="utf-8")
    words = [word for name, value in variables.items() for word in ("--set", f"{name}={value}")]
    deploy = folder / "deploy"
    done = tools.oe_oci("build", folder / "app.conf", "--rootfs", source, "--deploy-dir", deploy, "--json", *words)
    return Image(deploy, json.loads(done.stdout), done.stderr, expected)


@pytest.fixture(scope="module")
def expected(rootfs) -> compare.Listing:
    # No archive holds a socket.
    return compare.without(compare.listing(rootfs.directory), "socket")


@pytest.fixture(scope="module", params=CONFS)
def image(request, room, rootfs, expected) -> Image:
    return make(room / request.param, CONFS[request.param], rootfs.directory, expected, SOURCE_DATE_EPOCH=str(EPOCH))


@pytest.fixture(scope="module")
def unpacked_by_umoci(image) -> Iterator[tuple[Path, compare.Listing]]:
    with tools.scratch() as folder:
        root = tools.umoci_unpack(image.layout, "latest", folder / "bundle")
        yield root, compare.listing(root)


@pytest.fixture(scope="module")
def unpacked(image) -> Iterator[compare.Listing]:
    with tools.scratch() as folder:
        tools.oe_oci("unpack", image.layout, folder / "unpacked")
        yield compare.listing(folder / "unpacked")


@pytest.fixture(scope="module")
def podman() -> Iterator[tools.Podman]:
    with tools.Podman() as found:
        yield found


# ---- what is unpacked


def test_umoci(image, unpacked_by_umoci):
    compare.assert_same(image.expected, unpacked_by_umoci[1])


def test_unpack(image, unpacked):
    compare.assert_same(image.expected, unpacked)


def test_podman(image, podman):
    podman("load", "-q", "-i", image.archive)
    podman.assert_holds("localhost/app:latest", image.expected)
    done = podman("run", "--rm", "localhost/app:latest", status=7)
    assert done.stdout == "42\n"
    done = podman("run", "--rm", "localhost/app:latest", "/usr/bin/openssl", "version")
    assert done.stdout.startswith("OpenSSL ")
    podman("rmi", "localhost/app:latest")


def test_programs_run_in_runc_and_chroot(image, unpacked_by_umoci):
    root, _ = unpacked_by_umoci
    assert tools.runc_run(root.parent, status=7).stdout == "42\n"
    script = (
        "find /usr/bin -perm -4000 -name '*-su'; stat -c %u:%g /usr/bin/special-owned; test -p /var/lib/special/fifo"
    )
    done = tools.run("chroot", root, "/bin/bash", "-ec", script)
    assert done.stdout == "/usr/bin/special-su\n1234:1234\n"


# ---- what is built


def test_archive_of_the_rootfs_makes_the_same_image(image, rootfs, room):
    again = make(
        room / f"{image.deploy.parent.name}-of-tar",
        (image.deploy.parent / "app.conf").read_text(encoding="utf-8"),
        rootfs.tar,
        {},
        SOURCE_DATE_EPOCH=str(EPOCH),
    )
    assert again.report == image.report
    for name in ("app-oci/index.json", "app-oci.tar", "app-oci-dir.tar", "app-oci.json"):
        assert (again.deploy / name).read_bytes() == (image.deploy / name).read_bytes(), name


def test_socket_is_left_out_with_a_note(image):
    assert image.stderr.count("srv/socket is a socket; left out") == 1
    assert b"srv" in image.expected


def test_verify_finds_nothing(image):
    for path in (image.layout, image.archive, image.deploy / "app-oci-dir.tar"):
        assert tools.oe_oci("verify", path).stdout == "nothing found\n"
    for path in (image.layout, image.archive):
        assert tools.oe_oci("lint", path).stdout == "nothing found\n"


def test_members_as_python_reads_them(image):
    """No path twice in a layer, parents first, links to earlier members only, nothing of the host."""
    union = set()
    for layer in image.report["layers"]:
        seen: set[str] = set()
        for member in read_layer(image, layer):
            assert member.name not in seen
            up = os.path.dirname(member.name)
            assert up in seen or not up, member.name
            seen.add(member.name)
            assert (member.uname, member.gname) == ("", "")
            assert "mtime" not in member.pax_headers
            assert member.type != tarfile.LNKTYPE or member.linkname in seen, member.name
        union |= seen
    assert {os.fsencode(name) for name in union} == set(image.expected)


def read_layer(image: Image, layer: dict[str, Any]) -> list[tarfile.TarInfo]:
    path = image.layout / "blobs" / layer["digest"].replace(":", "/")
    with tarfile.open(path, encoding="utf-8", errors="surrogateescape") as archive:
        return archive.getmembers()


def test_layers_hold_only_what_is_new(image):
    """A path is in two layers only as a directory on the way, or as a name of a file that has more in the upper one."""
    if len(image.report["layers"]) == 1:
        return
    assert [layer["name"] for layer in image.report["layers"]] == ["programs", "config", "data", "rest"]
    members = [{os.fsencode(m.name): m for m in read_layer(image, layer)} for layer in image.report["layers"]]
    again = {
        path for number, layer in enumerate(members) for lower in members[:number] for path in layer & lower.keys()
    }
    files = {path for path in again if image.expected[path].kind != "directory"}
    assert files
    for path in files:
        names = image.expected[path].names
        holders = [layer for layer in members if path in layer]
        assert len(names) > 1
        assert all(len(upper.keys() & names) > len(lower.keys() & names) for lower, upper in zip(holders, holders[1:]))
    # The names of one inode come one by one, each layer with those of the layers below.
    assert [sum(name in layer for name in SHARED) for layer in members] == [1, 2, 3, 4]


# ---- times


def clamped(facts: compare.Facts) -> compare.Facts:
    return facts._replace(mtime=max(0, min(facts.mtime // 10**9, EPOCH)) * 10**9)


def test_times_are_their_own_but_no_later_than_the_epoch(image, unpacked_by_umoci, unpacked):
    wanted = {path: clamped(facts) for path, facts in image.expected.items()}
    assert len({facts.mtime for facts in wanted.values()}) > 20
    compare.assert_same(wanted, unpacked, times=True)
    compare.assert_same(wanted, unpacked_by_umoci[1], times=True)


def test_times_without_an_epoch_are_0(small_rootfs, folder):
    image = make(folder / "image", CONF, small_rootfs.directory, {})
    tools.oe_oci("unpack", image.layout, folder / "unpacked")
    assert {facts.mtime for facts in compare.listing(folder / "unpacked").values()} == {0}


# ---- what the file system of this test's archive can not say, or needs no packages


def both(folder: Path, image: Image) -> None:
    """Compare what umoci and what `unpack` make of a small image."""
    theirs = compare.listing(tools.umoci_unpack(image.layout, "latest", folder / "bundle"))
    compare.assert_same(image.expected, theirs)
    tools.oe_oci("unpack", image.archive, folder / "unpacked")
    compare.assert_same(image.expected, compare.listing(folder / "unpacked"))


def test_hard_links_to_devices_and_fifos(folder, podman):
    """GNU tar makes no links of these, so they are not in the shared root file system."""
    tools.need_root()
    root = folder / "rootfs"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
    os.mknod(root / "a/null", 0o020666, os.makedev(1, 3))
    os.mknod(root / "a/loop", 0o060660, os.makedev(7, 8))
    os.mkfifo(root / "a/fifo")
    for name in ("null", "loop", "fifo"):
        (root / "b" / name).hardlink_to(root / "a" / name)
    conf = 'OCI_LAYERS = "a:directories:/a all:directories:/"\n'
    image = make(folder / "image", conf, root, compare.listing(root))
    both(folder, image)
    podman("load", "-q", "-i", image.archive)
    podman.assert_holds("localhost/app:latest", image.expected)


def test_root_directory(folder):
    root = folder / "rootfs"
    root.mkdir()
    (root / "file").touch()
    os.chown(root, 12, 34)
    root.chmod(0o1751)
    os.setxattr(root, "user.root", b"1")
    image = make(folder / "image", "", root, compare.listing(root))
    both(folder, image)
    with tools.Buildah("vfs") as buildah:
        container = buildah("from", f"oci:{image.layout}:latest")
        found = compare.listing(buildah("mount", container))
        assert found[b"."][:4] == image.expected[b"."][:4]


def test_root_takes_away_what_lower_layers_put(small_rootfs, folder, podman):
    """`directories:/` alone makes the union equal the rootfs, whatever layers of this image held before."""
    host = folder / "host"
    (host / "deep" / "er").mkdir(parents=True)
    (host / "deep" / "er" / "file").write_text("host\n")
    (host / "passwd").write_text("other\n")
    sources = f"{host}/deep:/opt/special/deep,{host}/deep:/names/-rf,{host}/passwd:/etc/,{host}/deep:/gone"
    conf = f'OCI_LAYERS = "host:host:{sources} all:directories:/"\n'
    listing = compare.without(compare.listing(small_rootfs.directory), "socket")
    image = make(folder / "image", conf, small_rootfs.directory, listing)
    assert image.report["layers"][1]["removed"] == 2  # opt/special/deep and gone; a file takes the place of -rf
    both(folder, image)
    podman("load", "-q", "-i", image.archive)
    podman.assert_holds("localhost/app:latest", image.expected)


def test_every_fact_is_compared(folder):
    """These tests can fail: each fact that is changed is named, and it alone."""
    tools.need_root()
    tree = folder / "tree"
    (tree / "dir").mkdir(parents=True)
    (tree / "file").write_text("one")
    (tree / "link").symlink_to("file")
    os.mknod(tree / "device", 0o020600, os.makedev(1, 3))
    before = compare.listing(tree)
    assert compare.differences(before, before, times=True) == []

    (tree / "file").write_text("two")
    (tree / "dir").chmod(0o700)
    os.chown(tree / "link", 1, 2, follow_symlinks=False)
    os.setxattr(tree / "device", "trusted.mark", b"\0")
    (tree / "more").hardlink_to(tree / "device")
    assert {line.split(" is ")[0] for line in compare.differences(before, compare.listing(tree))} == {
        "'dir': mode",
        "'file': digest",
        "'link': uid",
        "'link': gid",
        "'device': xattrs",
        "'device': names",
        "'more': should not be there",
    }
