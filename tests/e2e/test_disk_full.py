# SPDX-License-Identifier: MIT
"""A full disk, or what may not be read or written: one message, exit status 3, and what was there is as it was."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from support import compare, tools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FULL = "No space left on device"


@pytest.fixture(scope="module")
def rootfs_gz(small_rootfs) -> Iterator[Path]:
    with tools.scratch() as folder:
        with open(folder / "rootfs.tar.gz", "wb") as file:
            tools.run("gzip", "-1", "-c", small_rootfs.tar, stdout=file)
        yield folder / "rootfs.tar.gz"


@pytest.fixture(scope="module", params=["gzip", "zstd:1", "none"])
def compression(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def needed(small_rootfs, compression) -> int:
    """The bytes of the outputs."""
    with tools.scratch() as folder:
        (folder / "app.conf").write_text(f'OCI_LAYER_COMPRESSION = "{compression}"\n')
        tools.build(folder / "app.conf", folder / "deploy", "--rootfs", small_rootfs.tar)
        return sum(path.lstat().st_size for path in (folder / "deploy").rglob("*"))


def one_message(done: tools.Done, *texts: str) -> None:
    assert done.stdout == ""
    assert done.stderr.startswith("oe-oci: ")
    assert done.stderr.count("oe-oci: ") == 1
    assert "Traceback" not in done.stderr
    for text in texts:
        assert text in done.stderr


def used(path: Path) -> tuple[int, int]:
    facts = os.statvfs(path)
    return facts.f_blocks - facts.f_bfree, facts.f_files - facts.f_ffree


# Of the outputs' size: nothing fits, a part of the layer, the layout alone, one archive more; and then all does.
@pytest.mark.parametrize("part", [0.02, 0.2, 0.5, 0.9, 1.3])
def test_full_disk(folder, small_rootfs, needed, part, compression):
    (folder / "app.conf").write_text(f'OCI_LAYER_COMPRESSION = "{compression}"\n')
    (folder / "little").mkdir()
    (folder / "little" / "file").write_text("little\n")
    with tools.tmpfs(folder / "disk", str(int(needed * part))) as disk:
        deploy = disk / "deploy"
        tools.build(folder / "app.conf", deploy, "--rootfs", folder / "little")
        before, space = compare.contents(deploy), used(disk)
        words = ("--deploy-dir", deploy, "--rootfs", small_rootfs.tar, "-q")
        if part > 1:
            # The test can pass by no other reason than that the disk is large enough.
            tools.oe_oci("build", folder / "app.conf", *words)
            assert compare.contents(deploy) != before
            return
        one_message(tools.oe_oci("build", folder / "app.conf", *words, status=3), FULL, str(disk))
        assert compare.contents(deploy) == before
        assert used(disk) == space
        for name in ("app-oci", "app-oci.tar", "app-oci-dir.tar"):
            assert tools.oe_oci("verify", deploy / name).stdout == "nothing found\n"


@pytest.mark.parametrize("size", ["1M", "12M"])
def test_full_disk_while_a_rootfs_is_unpacked(folder, rootfs_gz, size):
    (folder / "app.conf").touch()
    with tools.tmpfs(folder / "disk", size) as disk:
        done = tools.oe_oci(
            *("build", folder / "app.conf", "--deploy-dir", disk / "new" / "deploy", "--rootfs", rootfs_gz), status=3
        )
        one_message(done, FULL)
        assert list(disk.iterdir()) == []


def test_no_inodes_left(folder, small_rootfs):
    (folder / "app.conf").touch()
    with tools.tmpfs(folder / "disk", "100M,nr_inodes=7") as disk:
        done = tools.oe_oci(
            *("build", folder / "app.conf", "--deploy-dir", disk / "deploy", "--rootfs", small_rootfs.tar), status=3
        )
        one_message(done, FULL)
        assert list(disk.iterdir()) == []


def test_file_size_limit(folder, small_rootfs):
    tools.need("prlimit")
    (folder / "app.conf").touch()
    command = ["-m", "oe_oci", "build", folder / "app.conf", "--rootfs", small_rootfs.tar]
    done = tools.run(
        *("prlimit", "--fsize=1000000", sys.executable, *command, "--deploy-dir", folder / "deploy"), status=3
    )
    one_message(done, "File too large")
    assert not (folder / "deploy").exists()


def test_full_disk_while_unpacking(folder, small_rootfs):
    (folder / "app.conf").touch()
    tools.build(folder / "app.conf", folder / "deploy", "--rootfs", small_rootfs.tar)
    with tools.tmpfs(folder / "disk", "8M") as disk:
        for words in ((), ("--rootless",)):
            done = tools.oe_oci("unpack", *words, folder / "deploy" / "app-oci", disk / "root", status=3)
            one_message(done, FULL)
            assert list(disk.iterdir()) == []


@pytest.mark.parametrize("command", ["build", "inspect", "verify", "plan", "unpack"])
def test_output_that_can_not_be_written(folder, command):
    (folder / "app.conf").touch()
    (folder / "rootfs").mkdir()
    (folder / "rootfs" / "file").touch()
    tools.build(folder / "app.conf", folder / "deploy", "--rootfs", folder / "rootfs")
    words = {
        "build": (folder / "app.conf", "--rootfs", folder / "rootfs", "--deploy-dir", folder / "deploy"),
        "plan": (folder / "app.conf", "--rootfs", folder / "rootfs"),
        "unpack": (folder / "deploy" / "app-oci", folder / "unpacked"),
    }.get(command, (folder / "deploy" / "app-oci",))
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = tools.oe_oci(command, *words, stdout=full, status=3)
    assert done.stderr == f"oe-oci: {FULL}\n"


# ---- what may not be read or written


def as_user(product: tools.Copy, *words: object, status: int) -> tools.Done:
    command = [*tools.as_nobody(), product.program, "-m", "oe_oci", *words]
    return tools.run(*command, status=status, env=product.environment(HOME="/nonexistent"), cwd="/")


@pytest.fixture
def closed(folder) -> Path:
    """A rootfs with a file and a directory that an ordinary user may not read, and a folder that is theirs."""
    tools.need_root()
    for name in ("rootfs/etc", "rootfs/open", "rootfs/closed", "theirs", "mine"):
        (folder / name).mkdir(parents=True)
    (folder / "rootfs/open/file").touch()
    (folder / "rootfs/closed/file").touch()
    (folder / "rootfs/closed").chmod(0o700)
    (folder / "rootfs/etc/shadow").write_text("secret\n")
    (folder / "rootfs/etc/shadow").chmod(0)
    tools.give_to_nobody(folder / "theirs")
    return folder


@pytest.mark.parametrize(("path", "lacking"), [("/etc", "etc/shadow"), ("/closed", "closed"), ("/", "")])
def test_unreadable_rootfs(closed, product, path, lacking):
    conf = closed / "theirs" / "app.conf"
    conf.write_text(f'OCI_LAYERS = "all:directories:{path}"\n')
    words = ("build", conf, "--rootfs", closed / "rootfs", "--deploy-dir", closed / "theirs" / "deploy")
    done = as_user(product, *words, status=3)
    one_message(
        done, f"cannot read {closed / 'rootfs' / lacking}", "Permission denied", "run as root or under fakeroot"
    )
    assert sorted(os.listdir(closed / "theirs")) == ["app.conf"]
    conf.write_text('OCI_LAYERS = "all:directories:/open"\n')
    as_user(product, *words, status=0)


def test_unreadable_inputs(closed, product):
    """Each with the name of the file."""
    tools.run("tar", "-C", closed / "rootfs", "-cf", closed / "theirs" / "rootfs.tar", ".")
    (closed / "theirs" / "rootfs.tar").chmod(0)
    conf, archive = closed / "theirs" / "app.conf", closed / "theirs" / "rootfs.tar"
    conf.touch()
    words = ("--deploy-dir", closed / "theirs" / "deploy")
    one_message(
        as_user(product, "build", conf, "--rootfs", archive, *words, status=3), str(archive), "Permission denied"
    )
    conf.write_text(f'OCI_LAYERS = "secret:host:{closed}/rootfs/etc/shadow:/etc/"\n')
    done = as_user(product, "build", conf, "-q", *words, status=3)
    one_message(done, f"{closed}/rootfs/etc/shadow", "Permission denied")
    conf.write_text(f'OCI_BASE_IMAGE = "{archive}"\nOCI_LAYERS = "file:host:{closed}/rootfs/open/file:/"\n')
    one_message(as_user(product, "build", conf, "-q", *words, status=3), str(archive), "Permission denied")
    assert sorted(os.listdir(closed / "theirs")) == ["app.conf", "rootfs.tar"]


def test_deploy_folder_that_is_not_theirs(closed, product):
    conf = closed / "theirs" / "app.conf"
    conf.write_text('OCI_LAYERS = "open:directories:/open"\n')
    for deploy in (closed / "mine", closed / "mine" / "new" / "deploy"):
        done = as_user(product, "build", conf, "--rootfs", closed / "rootfs", "--deploy-dir", deploy, status=3)
        one_message(done, str(closed / "mine"), "Permission denied")
        assert list((closed / "mine").iterdir()) == []


def test_outputs_of_another_user(closed, product):
    """root built there once: the ordinary user's build fails, and root's outputs are whole."""
    conf = closed / "theirs" / "app.conf"
    conf.write_text('OCI_LAYERS = "open:directories:/open"\n')
    deploy = closed / "theirs" / "deploy"
    words = ("build", conf, "--rootfs", closed / "rootfs", "--deploy-dir", deploy)
    tools.oe_oci(*words)
    before = compare.contents(deploy)
    one_message(as_user(product, *words, status=3), str(deploy), "Permission denied")
    # Where the folder is theirs, and the layout in it is not.
    os.chown(deploy, tools.NOBODY, tools.NOBODY)
    one_message(as_user(product, *words, "--set", "PV=2", status=3), str(deploy / "app-oci"), "Permission denied")
    assert compare.contents(deploy) == before


def test_read_only_disk(folder):
    (folder / "app.conf").touch()
    (folder / "rootfs").mkdir()
    (folder / "rootfs" / "file").touch()
    with tools.tmpfs(folder / "disk", "10M") as disk:
        words = ("build", folder / "app.conf", "--rootfs", folder / "rootfs", "--deploy-dir", disk / "deploy")
        tools.oe_oci(*words)
        before = compare.contents(disk)
        tools.run("mount", "-o", "remount,ro", disk)
        one_message(tools.oe_oci(*words, status=3), "Read-only file system", str(disk))
        assert compare.contents(disk) == before
