# SPDX-License-Identifier: MIT
"""The same input gives the same bytes, whoever builds it, where, and with what settings."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support import compare, tools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONF = """\
SUMMARY = "Reproducible"
PV = "1.2.3"
OCI_LAYERS = "\\
    programs:directories:/usr,/bin,/sbin,/lib \\
    host:host:../files/tool:/usr/bin/,../files:/srv/files \\
    data:files:/var/lib/special/shared,/names/grün,/names \\
    rest:directories:/etc,/dev,/locked,/opt,/var \\
"
OCI_IMAGE_LABELS = "vendor='Example GmbH' café=☃"
OCI_IMAGE_ENV_VARS = "B=2 A=1"
"""
OUTPUTS = ("app-oci.tar", "app-oci-dir.tar", "app-oci.json", "app-oci/index.json", "app-oci/oci-layout")


@pytest.fixture(scope="module")
def repository(room) -> Path:
    """A repository that holds a configuration and files of the host; its clones are what is built."""
    tools.need("git")
    path = room / "repository"
    (path / "files" / "deep").mkdir(parents=True)
    (path / "image").mkdir()
    (path / "image" / "app.conf").write_text(CONF)
    (path / "files" / "tool").write_text("#!/bin/sh\necho tool\n")
    (path / "files" / "tool").chmod(0o755)
    (path / "files" / "deep" / "data").write_bytes(bytes(range(256)) * 8192)
    (path / "files" / "link").symlink_to("deep/data")
    (path / "files" / "weiß").write_text("weiß\n")
    git(path, "init", "-q", "-b", "product")
    git(path, "add", "-A")
    git(path, "commit", "-q", "-m", "All", env=tools.environment(GIT_COMMITTER_DATE="2024-05-06T07:08:09+0200"))
    return path


def git(folder: Path, *words: str, **options: object) -> str:
    return tools.run("git", "-c", "safe.directory=*", "-C", folder, *words, **options).stdout.strip()


def clone(repository: Path, path: Path, umask: int = 0o022) -> Path:
    """A clone, made with a umask and by now older or newer than another one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tools.run("git", "clone", "-q", repository, path, umask=umask)
    os.utime(path / "files" / "tool", (umask, umask))
    return path


class Builder:
    """Builds in a clone of its own in each folder, all else chosen by the test."""

    def __init__(self, repository: Path, rootfs: Path, product: tools.Copy, room: Path) -> None:
        self._repository = repository
        self._rootfs = rootfs
        self._product = product
        self._room = room
        self._number = 0
        self.report: dict[str, Any] = {}

    def __call__(
        self,
        *words: str,
        umask: int = 0o022,
        user: bool = False,
        prefix: tuple[object, ...] = (),
        rootfs: Path | None = None,
        python: tuple[object, ...] = (),
        **env: str | None,
    ) -> dict[str, str]:
        self._number += 1
        folder = self._room / f"built {self._number}" / ("x" * self._number)
        checkout = clone(self._repository, folder / "clone", umask)
        deploy = folder / "out"
        env = {"HOME": str(folder), **env}
        if user:
            deploy.mkdir()
            tools.give_to_nobody(folder)
            prefix = (*tools.as_nobody(), *prefix)
        command = [*(python or [self._product.program]), "-m", "oe_oci", "build", checkout / "image" / "app.conf"]
        command += ["--rootfs", rootfs or self._rootfs, "--deploy-dir", deploy, *words]
        tools.run(*prefix, *command, umask=umask, env=self._product.environment(**env), cwd=folder)
        found = compare.contents(deploy)
        self.report = json.loads((deploy / "app-oci.json").read_text(encoding="utf-8"))
        assert set(OUTPUTS) <= found.keys()
        shutil.rmtree(folder)
        return found


@pytest.fixture(scope="module")
def builder(repository, small_rootfs, product) -> Iterator[Builder]:
    with tools.scratch("oe-oci-clones-", 0o755) as room:
        yield Builder(repository, small_rootfs.tar, product, room)


@pytest.fixture(scope="module")
def reference(builder) -> dict[str, str]:
    return builder("--jobs", "1")


def test_two_clones(builder, reference):
    assert builder() == reference


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077])
def test_umask(builder, reference, umask):
    assert builder(umask=umask) == reference


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "XYZ+11:30", ":/nowhere"])
def test_time_zone(builder, reference, zone):
    assert builder(TZ=zone) == reference


ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.mark.parametrize(
    "env",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX"},
        {"LC_ALL": "C.UTF-8"},
        ASCII,
        {"LC_ALL": None, "LANG": "tr_TR.ISO-8859-9"},
    ],
    ids=["C", "POSIX", "C.UTF-8", "ASCII", "missing"],
)
def test_locale(builder, reference, env):
    assert builder(**env) == reference


@pytest.mark.parametrize(
    "env",
    [
        {"LC_ALL": "C"},
        ASCII,
    ],
    ids=["C", "ASCII"],
)
def test_locale_and_paths_of_the_host(builder, env):
    """What the configuration, in UTF-8, says of the host is a name in UTF-8 there too."""
    layers = ("--set", "OCI_LAYERS=host:host:clone/files/weiß:/srv/weiß")
    assert builder(*layers, **env) == builder(*layers)


@pytest.mark.parametrize("seed", ["0", "1", "4294967295"])
def test_order_of_sets(builder, reference, seed):
    assert builder(PYTHONHASHSEED=seed) == reference


@pytest.mark.parametrize("jobs", ["2", "4", "7"])
def test_threads(builder, reference, jobs):
    assert builder("--jobs", jobs) == reference


def test_ordinary_user(builder, reference):
    assert builder(user=True) == reference
    assert builder("--jobs", "3", user=True, umask=0o027, TZ="Europe/Berlin", LC_ALL="C", LOGNAME="x") == reference


@pytest.mark.parametrize("program", ["gzip", "zstd", "xz", "bzip2"])
def test_compressed_rootfs(builder, reference, small_rootfs, folder, program):
    tools.need(program)
    path = folder / "rootfs"
    with open(path, "wb") as file:
        tools.run(program, "-1", "-c", small_rootfs.tar, stdout=file)
    assert builder(rootfs=path) == reference


def test_directory(builder, reference, small_rootfs):
    assert builder(rootfs=small_rootfs.directory) == reference


@pytest.mark.parametrize("user", [False, True], ids=["root", "ordinary user"])
def test_directory_under_fakeroot(builder, reference, small_rootfs, folder, user):
    """What is unpacked under fakeroot has its owners, modes, devices and attributes in fakeroot's memory only."""
    tools.need("fakeroot", "getfattr", "setfattr")
    unpacked = folder / "unpacked"
    unpacked.mkdir()
    dump = tools.run("getfattr", "-h", "-R", "-d", "-e", "hex", "-m", "-", ".", cwd=small_rootfs.directory).stdout
    (folder / "dump").write_text(dump, encoding="utf-8")
    # Attributes come last, as fakeroot 1.31 forgets the type of a file that it first hears of by one. And what tar made
    # unreadable is so on disk, until fakeroot sees a chmod.
    unpack = f"tar -C {unpacked} -xpf {small_rootfs.tar}; cd {unpacked}; setfattr -h --restore=../dump"
    script = f'{unpack}; chmod 0 etc/special/shadow locked locked/inside; exec "$@"'
    if user:
        tools.give_to_nobody(folder)
    # Without the variable root would really change owners.
    prefix = ("fakeroot", "--", "sh", "-ec", script, "sh")
    built = builder(rootfs=unpacked, prefix=prefix, user=user, FAKEROOTDONTTRYCHOWN="1")
    assert os.lstat(unpacked / "var/lib/special/mine").st_uid != 1234
    assert not os.listxattr(unpacked / "usr/bin/special-ping")
    assert built == reference


def test_directory_whose_types_fakeroot_forgot(builder, reference, small_rootfs, folder):
    """Refused, where that happens: no file is left out in silence."""
    tools.need("fakeroot")
    unpacked = folder / "unpacked"
    unpacked.mkdir()
    tools.give_to_nobody(folder)
    unpack = f"tar -C {unpacked} --xattrs --xattrs-include='*' -xpf {small_rootfs.tar}"
    prefix = ("fakeroot", "--", "sh", "-ec", f'{unpack}; exec "$@"', "sh")
    types = tools.run(*tools.as_nobody(), *prefix, "stat", "-c", "%F", unpacked / "usr/share/special/attributes").stdout
    if types == "regular file\n":
        assert builder(rootfs=unpacked, prefix=prefix, user=True) == reference
    else:
        with pytest.raises(AssertionError, match=r"status 2\n(.*\n)*.*: a file of no known type\n  under fakeroot"):
            builder(rootfs=unpacked, prefix=prefix, user=True)


def test_any_python_without_packages(builder):
    """What is not compressed depends on no library."""
    uncompressed = ("--set", "OCI_LAYER_COMPRESSION=none")
    reference = builder(*uncompressed)
    for python in ((sys.executable, "-S"), *other_pythons()):
        assert builder(*uncompressed, python=python, PYTHONPATH=str(tools.ROOT)) == reference, python


def other_pythons() -> Iterator[tuple[str, ...]]:
    for minor in range(9, 16):
        program = shutil.which(f"python3.{minor}")
        # pyenv's shim starts what the version asked for selects.
        for words in ((program,), ("env", f"PYENV_VERSION=3.{minor}", program)) if program else ():
            if tools.run(*words, "-c", "", status=None).returncode == 0:
                yield words
                break


def test_other_compressor_changes_no_content(builder, reference):
    """And the report names it, as other bytes are then right."""
    builder()
    usual = builder.report
    assert builder("--set", "OCI_LAYER_COMPRESSOR=zlib") != reference
    pinned = builder.report
    assert pinned["compressor"] != usual["compressor"]
    assert pinned["image"]["config"] == usual["image"]["config"]
    assert [layer["diffId"] for layer in pinned["layers"]] == [layer["diffId"] for layer in usual["layers"]]


def test_epoch_decides_every_time(builder, reference):
    epoch = builder(SOURCE_DATE_EPOCH="1500000000")
    assert epoch != reference
    assert builder("--set", "SOURCE_DATE_EPOCH=1500000000", TZ="America/New_York") == epoch


def test_revision_labels(repository, small_rootfs, folder):
    """Commit, branch and date come from the repository; a tracked file that is changed shows, an unknown one not."""
    checkout = clone(repository, folder / "clone")
    commit = git(repository, "rev-parse", "HEAD")
    (checkout / "untracked").touch()
    labels = build_labels(checkout, small_rootfs.tar, folder / "clean")
    assert labels == {
        "org.opencontainers.image.revision": commit,
        "org.openembedded.image.branch": "product",
        "org.opencontainers.image.ref.name": "product",
        "org.opencontainers.image.created": "2024-05-06T05:08:09Z",
        "org.opencontainers.image.version": "1.2.3",
        "vendor": "Example GmbH",
        "café": "☃",
    }
    with open(checkout / "files" / "tool", "a", encoding="utf-8") as file:
        file.write("# changed\n")
    labels = build_labels(checkout, small_rootfs.tar, folder / "dirty")
    assert labels["org.opencontainers.image.revision"] == f"{commit}-dirty"


def build_labels(checkout: Path, rootfs: Path, deploy: Path) -> dict[str, str]:
    report = tools.build(checkout / "image" / "app.conf", deploy, "--rootfs", rootfs)
    path = deploy / "app-oci" / "blobs" / report["image"]["config"].replace(":", "/")
    labels: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))["config"]["Labels"]
    return labels
