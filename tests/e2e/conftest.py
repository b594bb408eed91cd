# SPDX-License-Identifier: MIT
"""Root file systems and images that several end-to-end tests share, each made once in a session."""

from __future__ import annotations

import os
import random
import socket
import stat
import struct
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support import debian, samples, tools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# As setcap writes cap_net_raw+ep; one of its bytes is a NUL in the middle.
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
ACCESS_LIST = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, rights, owner)
    for tag, rights, owner in (
        (0x01, 6, 0xFFFFFFFF),
        (0x02, 6, 1234),
        (0x04, 4, 0xFFFFFFFF),
        (0x10, 6, 0xFFFFFFFF),
        (0x20, 0, 0xFFFFFFFF),
    )
)
EPOCH = 1_600_000_000  # between the times that the special files have
LONG = b"l" * 255


@pytest.fixture(scope="session")
def room() -> Iterator[Path]:
    """A folder for what is large, which ordinary users can reach and which is gone after the tests."""
    with tools.scratch("oe-oci-e2e-", 0o755) as folder:
        yield folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """A test's own folder, otherwise the same."""
    with tools.scratch("oe-oci-test-", 0o755) as path:
        yield path


class Rootfs(NamedTuple):
    """One root file system in both forms."""

    directory: Path
    tar: Path


@pytest.fixture(scope="session")
def rootfs(room: Path) -> Rootfs:
    """At least 60 real packages, and special files."""
    tools.need_root()
    tools.need("setcap", "tar")
    files = debian.packages()
    assert len(files) >= debian.FEWEST
    directory = debian.unpack(files.values(), room / "rootfs")
    add_special_files(os.fsencode(directory))
    return Rootfs(directory, make_tar(directory, room / "rootfs.tar"))


@pytest.fixture(scope="session")
def small_rootfs(room: Path) -> Rootfs:
    """A static busybox, base files and the special files."""
    tools.need_root()
    tools.need("setcap", "tar")
    directory = make_busybox(room / "small")
    add_special_files(os.fsencode(directory))
    return Rootfs(directory, make_tar(directory, room / "small.tar"))


@pytest.fixture(scope="session")
def busybox(room: Path) -> Path:
    """A static busybox and base files: enough for a container that runs a shell."""
    tools.need_root()
    return make_busybox(room / "busybox")


def make_busybox(directory: Path) -> Path:
    files = debian.packages()
    debian.unpack([files[name] for name in ("base-files", "busybox-static", "netbase")], directory)
    (directory / "bin" / "sh").symlink_to("busybox")
    (directory / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n", encoding="utf-8")
    (directory / "etc" / "group").write_text("root:x:0:\n", encoding="utf-8")
    return directory


def make_tar(directory: Path, path: Path) -> Path:
    """As GNU tar archives a root file system with all it can keep."""
    options = ["--format=posix", "--numeric-owner", "--xattrs", "--xattrs-include=*"]
    done = tools.run("tar", *options, "-C", directory, "-cf", path, ".")
    assert "socket ignored" in done.stderr
    return path


def write(path: bytes, data: bytes = b"", mode: int = 0o644, owner: tuple[int, int] = (0, 0)) -> None:
    with open(path, "wb") as file:
        file.write(data)
    os.chown(path, *owner)
    os.chmod(path, mode)


def add_special_files(root: bytes) -> None:
    """What the file system of a product may hold, and image builders get wrong."""
    for folder in (b"usr/share/special", b"etc/special", b"var/lib/special", b"opt/special", b"names", b"srv"):
        os.makedirs(os.path.join(root, folder), exist_ok=True)
    _add_modes(root)
    _add_attributes(root)
    _add_devices(root)
    _add_links(root)
    _add_names(root)
    _add_contents(root)
    _set_times(root)


def _add_modes(root: bytes) -> None:
    write(root + b"/usr/bin/special-su", b"su", 0o4111)
    write(root + b"/usr/bin/special-sgid", b"sgid", 0o2755, (0, 42))
    write(root + b"/usr/bin/special-owned", b"owned", 0o6755, (1234, 1234))
    write(root + b"/etc/special/shadow", b"secret\n", 0)
    write(root + b"/var/lib/special/mine", b"mine\n", 0o640, (1234, 1234))
    write(root + b"/var/lib/special/huge-owner", b"", 0o644, (3000000000, 3000000001))
    for name, mode, owner in (
        (b"locked", 0, (0, 0)),
        (b"var/lib/special/sticky", 0o1777, (0, 0)),
        (b"var/lib/special/setgid", 0o2775, (1234, 50)),
        (b"var/lib/special/empty", 0o755, (0, 0)),
        (b"home/special", 0o700, (1234, 1234)),
    ):
        path = os.path.join(root, name)
        os.mkdir(path)
        if name == b"locked":
            write(path + b"/inside", b"inside\n", 0, (99, 99))
        os.chown(path, *owner)
        os.chmod(path, mode)
    # The root directory's own facts are part of the image too.
    os.chmod(root, 0o751)


def _add_attributes(root: bytes) -> None:
    ping = root + b"/usr/bin/special-ping"
    write(ping, b"ping", 0o755)
    subprocess.run(["setcap", "cap_net_raw+ep", ping], check=True)
    assert os.getxattr(ping, "security.capability") == CAPABILITY
    write(root + b"/usr/share/special/attributes", b"attributes")
    for path in (root + b"/usr/share/special/attributes", root + b"/var/lib/special/setgid"):
        os.setxattr(path, "user.text", "naïve text".encode())
        os.setxattr(path, "user.binary", b"\0\xff\n=\r\0")
        os.setxattr(path, "user.long", b"x" * 900)
        os.setxattr(path, "trusted.special", b"trusted\0")
    # An access control list is one more attribute: here user 1234 may write.
    write(root + b"/usr/share/special/listed", b"listed", 0o660)
    os.setxattr(root + b"/usr/share/special/listed", "system.posix_acl_access", ACCESS_LIST)
    link = root + b"/etc/special/attributed-link"
    os.symlink(b"nowhere", link)
    os.setxattr(link, "trusted.on-link", b"1", follow_symlinks=False)


def _add_devices(root: bytes) -> None:
    for name, kind, device in (
        (b"dev/special-null", stat.S_IFCHR | 0o666, (1, 3)),
        (b"dev/special-loop", stat.S_IFBLK | 0o660, (7, 9)),
        (b"dev/special-minor", stat.S_IFBLK | 0o600, (259, 70000)),
    ):
        os.mknod(os.path.join(root, name), kind, os.makedev(*device))
        os.chmod(os.path.join(root, name), stat.S_IMODE(kind))
    os.chown(root + b"/dev/special-loop", 0, 6)
    os.mkfifo(root + b"/var/lib/special/fifo", 0o620)
    os.chmod(root + b"/var/lib/special/fifo", 0o620)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(root + b"/srv/socket")


def _add_links(root: bytes) -> None:
    # Their layers are in this order: a link is first met in a lower one, then in those above.
    shared = root + b"/usr/share/special/shared"
    write(shared, b"of four names\n", 0o600, (1234, 1234))
    os.setxattr(shared, "user.shared", b"1")
    for folder in (b"etc", b"var/lib", b"opt"):
        os.link(shared, os.path.join(root, folder, b"special/shared"))
    write(root + b"/opt/special/pair", b"pair\n")
    os.link(root + b"/opt/special/pair", root + b"/etc/special/pair")
    os.symlink(b"/no/such place", root + b"/usr/share/special/link")
    for folder in (b"etc", b"opt"):
        name = os.path.join(root, folder, b"special/link")
        os.link(root + b"/usr/share/special/link", name, follow_symlinks=False)
    for name, target in (
        (b"dangling", b"no/such/file"),
        (b"absolute", b"/usr/bin/busybox"),
        (b"up", b"../../../../../etc/hostname"),
        (b"loop", b"loop"),
        (b"owned-link", b"shadow"),
        (b"far", b"t" * 300),
        (b"bytes", b"caf\xe9\n"),
    ):
        os.symlink(target, root + b"/etc/special/" + name)
    os.lchown(root + b"/etc/special/owned-link", 1234, 5678)


def _add_names(root: bytes) -> None:
    for name in (
        b"new\nline",
        b"caf\xe9 \xff\xfe",
        b" two  blanks ",
        b"-rf",
        b"a=b",
        b"tab\t",
        "ünïcode ☃".encode(),
        "grün".encode(),
        b"back\\slash",
        b"q'\"uote",
        b"...",
        b"%s{}$HOME*?",
        LONG,
    ):
        write(root + b"/names/" + name, name)
    long_link = root + b"/names/link-" + LONG[:250]
    os.link(root + b"/names/" + LONG, long_link)
    deep = root + b"/names/" + b"/".join([b"d" * 100] * 5)
    os.makedirs(deep)
    write(deep + b"/file", b"deep\n")
    write(deep + b"/caf\xe9", b"deep\n")
    # 100 and 101 bytes, and what ustar's prefix just takes and just does not.
    for length in (100, 101, 155, 156):
        folder = root + b"/names/" + b"p" * (length - len(b"names/"))
        os.mkdir(folder)
        write(folder + b"/" + b"n" * 100, b"")
    for name in (b".special", b".config/special/file"):
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write(path, b"hidden\n")


def _add_contents(root: bytes) -> None:
    folder = root + b"/var/lib/special/"
    noise = random.Random(1)
    for name, size in ((b"none", 0), (b"one", 1), (b"block", 512), (b"over", 513), (b"piece", 1 << 20)):
        write(folder + name, noise.randbytes(size))
    write(folder + b"large", noise.randbytes(9 << 20) + b"end")
    with open(folder + b"sparse", "wb") as file:
        file.truncate(3 << 20)
        file.seek(2 << 20)
        file.write(b"island")


def _set_times(root: bytes) -> None:
    for name, seconds in (
        (b"before", EPOCH - 1000.75),
        (b"at", EPOCH + 0.0),
        (b"after", EPOCH + 1000.25),
        (b"first", 0.0),
        (b"ancient", -86400.5),
    ):
        path = root + b"/var/lib/special/time-" + name
        write(path, name)
        os.utime(path, (seconds, seconds))
    os.utime(root + b"/var/lib/special/sticky", (EPOCH - 5000, EPOCH - 5000))
    os.utime(root + b"/etc/special/dangling", (EPOCH - 6000, EPOCH - 6000), follow_symlinks=False)


@pytest.fixture(scope="session")
def product() -> Iterator[tools.Copy]:
    """The product as every user may run it."""
    with tools.scratch("oe-oci-product-", 0o755) as folder:
        yield tools.Copy(folder)


@pytest.fixture(scope="session")
def sample_feeds(room: Path) -> Callable[[str], samples.Feeds]:
    """The set of samples as packages of a kind; made when it is first asked for."""
    made: dict[str, samples.Feeds] = {}

    def of(kind: str) -> samples.Feeds:
        if kind not in made:
            made[kind] = samples.feeds(kind, room / f"samples of {kind}")
        return made[kind]

    return of
