# SPDX-License-Identifier: MIT
"""Images of rpm packages in several layers: they are what rpm itself makes of the same packages in the same order.

What is not compared are times of directories, which change on a disk with what is put into them, and the database as a
file: rpm itself is asked what it says.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support import compare, rpms, tools
from support.rpms import CONFIG, NOREPLACE, device, file, folder, ghost, package, symlink

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

EPOCH = 1_700_000_000
LATE = EPOCH + 1000
DATABASE = b"var/lib/rpm"
CONF = f"""\
OCI_LAYERS = "\\
    base:packages:filesystem,setup,shell \\
    lib:packages:lib \\
    app:packages:app,extra,lib32 \\
"
OCI_IMAGE_ACCOUNTS = "user:late:71"
SOURCE_DATE_EPOCH = "{EPOCH}"
NO_RECOMMENDATIONS = "1"
OCI_PACKAGE_SCRIPTS = "skip"
"""
UPGRADE = f"""\
OCI_LAYERS = "up:packages:wants"
OCI_BASE_IMAGE = "../base/out/app-oci"
OCI_PACKAGE_SCRIPTS = "skip"
SOURCE_DATE_EPOCH = "{EPOCH}"
"""

BASE = [
    package("filesystem", "3-1", given=[
        *(folder(f"/{name}") for name in ("etc", "usr", "usr/bin", "usr/lib", "usr/share", "var", "var/lib", "opt")),
        folder("/tmp", 0o1777),
        folder("/root", 0o550),
        symlink("/bin", "usr/bin"),
        symlink("/lib", "usr/lib"),
    ], compression="zst"),
    package("setup", "2.14-1", given=[
        file("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nbin:x:1:1::/:/bin/sh\n", flags=CONFIG | NOREPLACE),
        file("/etc/group", b"root:x:0:\nbin:x:1:\nadm:x:4:\n", flags=CONFIG | NOREPLACE),
    ], requires=["filesystem"], compression="xz"),
    package("shell", "5:1.0~rc1-2", given=[file("/bin/sh", b"#!sh\n", 0o755), symlink("/bin/ash", "sh")],
            requires=["setup"], provides=["/bin/sh"], compression="bz2"),
]  # fmt: skip
LIB = [
    package("lib", "1-1", "x86_64", [
        file("/lib/lib.so.1", b"lib" * 50_000, 0o755, mtime=EPOCH - 5),
        symlink("/usr/lib/lib.so", "lib.so.1"),
        folder("/usr/share/lib", 0o2750, group="adm", mtime=LATE),
        file("/usr/share/lib/old", b"1"),
        file("/etc/lib.conf", b"one\n", flags=CONFIG),
        file("/usr/bin/lib-query", b"64 bits", 0o755, color=2),
        file("/usr/bin/lib-wide", b"32 bits", 0o755, color=1),
    ], requires=["/bin/sh"], compression="zst", large=True),
]  # fmt: skip
APP = [
    package("app", "1.0-1", "x86_64", [
        file("/usr/bin/su", b"su", 0o4755, user="bin", group="adm", link="su"),
        file("/opt/app/su", b"su", 0o4755, user="bin", group="adm", link="su"),
        file("/usr/bin/ping", b"ping", 0o755, caps="cap_net_raw=ep"),
        file("/opt/app/none", b"", 0o000),
        file("/opt/app/grün ", b"name"),
        device("/opt/app/null", 1, 3),
        file("/etc/app.conf", b"conf\n", 0o640, flags=CONFIG | NOREPLACE, mtime=LATE),
        ghost("/var/lib/app.state"),
    ], requires=["lib >= 1", "extra"], tags={1024: (rpms.STRING, "exit 1"), 1086: (rpms.STRING, "/bin/sh")}),
    package("lib32", given=[  # another processor's, as dnf is to install it for this one
        file("/usr/bin/lib-query", b"32 bits", 0o755, color=1),
        file("/usr/bin/lib-wide", b"64 bits wide", 0o755, color=2),
    ]),
    package("extra", given=[folder("/usr/share/lib", 0o2750, group="adm"), file("/usr/share/lib/extra", b"x")],
            compression="none"),
]  # fmt: skip
NEWER = [
    package("lib", "2-1", "x86_64", [
        file("/lib/lib.so.2", b"lib2", 0o755),
        symlink("/usr/lib/lib.so", "lib.so.2"),
        folder("/usr/share/lib", 0o2750, group="adm"),
        file("/etc/lib.conf", b"two\n", flags=CONFIG),
    ]),
    package("heir", given=[file("/usr/share/lib/heir", b"x")], obsoletes=["extra"], provides=["extra"]),
    package("wants", requires=["lib >= 2", "heir"]),
]  # fmt: skip
MADE = [*BASE, *LIB, *APP]


class Root:
    """A root that the real rpm installs into, with no script run."""

    def __init__(self, path: Path) -> None:
        tools.need("rpm")
        tools.need_root()
        self.path = path

    def __call__(self, *words: object, status: int | None = 0) -> str:
        words = ("--define", "_transaction_color 7", *words)
        done = tools.run("rpm", "--root", self.path, "--dbpath", "/var/lib/rpm", *words, status=status, timeout=60)
        return done.stdout

    def install(self, packages: Iterable[Path]) -> None:
        for path in packages:
            self("--force-debian", "--nodeps", "--noscripts", "--nosignature", "-U", path)

    def listing(self) -> compare.Listing:
        return listed(self.path)

    def packages(self) -> list[str]:
        """What rpm says is installed."""
        text = "%{NAME} %{EPOCHNUM}:%{VERSION}-%{RELEASE} %{ARCH} %{SIGMD5} [%{FILESTATES}]\\n"
        return sorted(self("-qa", "--qf", text).splitlines())


def listed(root: Path) -> compare.Listing:
    """A tree on disk with the times of files at most the epoch, without rpm's database and times of directories."""
    found = {}
    for path, facts in compare.listing(root).items():
        if not path.startswith(DATABASE) and path != b".":
            time = 0 if facts.kind == "directory" else min(facts.mtime, EPOCH * 10**9)
            found[path] = facts._replace(mtime=time)
    return found


class Built(NamedTuple):
    place: Path
    report: dict[str, Any]
    files: dict[str, Path]

    def order(self) -> list[Path]:
        """The packages' files in the order of installation."""
        return [self.files[one["name"]] for layer in self.report["layers"] for one in layer.get("packages", ())]

    def unpack(self) -> Root:
        root = Root(self.place / "root")
        tools.oe_oci("unpack", self.place / "out/app-oci", root.path)
        return root


def write_feed(place: Path, packages: Iterable[rpms.Made]) -> dict[str, Path]:
    place.mkdir()
    return {one.name: one.write(place) for one in packages}


def build(place: Path, files: dict[str, Path], *words: object, conf: str = CONF) -> Built:
    place.mkdir()
    (place / "app.conf").write_text(conf, encoding="utf-8")
    feed = next(iter(files.values())).parent
    return Built(place, tools.build(place / "app.conf", place / "out", "--feed", feed, *words), files)


@pytest.fixture(scope="module")
def files(room) -> dict[str, Path]:
    return write_feed(room / "rpms", MADE)


@pytest.fixture(scope="module")
def built(room, files) -> Built:
    return build(room / "built of rpms", files)


@pytest.fixture(scope="module")
def root(built) -> Root:
    return built.unpack()


@pytest.fixture(scope="module")
def real(room, built) -> Root:
    """What rpm makes of the same packages in the same order."""
    root = Root(room / "real")
    root.path.mkdir()
    root.install(built.order())
    return root


def test_the_report(built):
    layers = built.report["layers"]
    assert [layer["name"] for layer in layers] == ["base", "lib", "app"]
    assert [[one["name"] for one in layer["packages"]] for layer in layers] == [
        ["filesystem", "setup", "shell"],
        ["lib"],
        ["extra", "lib32", "app"],
    ]
    assert layers[0]["packages"][2]["version"] == "5:1.0~rc1-2"
    assert layers[2]["packages"][2]["scriptsNotRun"] == ["postin"]


def test_the_tree_is_what_rpm_makes(root, real):
    expected = real.listing()
    # The account that was declared, in the last layer.
    for name in (b"etc/passwd", b"etc/group", b"etc/shadow"):
        expected.pop(name, None)
    found = {
        path: facts
        for path, facts in root.listing().items()
        if path not in (b"etc/passwd", b"etc/group", b"etc/shadow")
    }
    compare.assert_same(expected, found, times=True)
    assert found[b"usr/bin/su"].names == {b"usr/bin/su", b"opt/app/su"}
    assert (found[b"usr/bin/su"].mode, found[b"usr/bin/su"].uid, found[b"usr/bin/su"].gid) == ("4755", 1, 4)
    assert list(found[b"usr/bin/ping"].xattrs) == ["security.capability"]
    assert b"var/lib/app.state" not in found
    assert [found[b"usr/bin/lib-" + name].size for name in (b"query", b"wide")] == [len("64 bits"), len("64 bits wide")]


def test_rpm_finds_its_packages_whole(root, real):
    assert root.packages() == real.packages()
    assert [line for line in root("-Va", "--nomtime", status=None).splitlines() if "/etc/" not in line] == []
    assert root("-qf", "/usr/bin/su", "/bin/sh").split() == ["app-1.0-1.x86_64", "shell-1.0~rc1-2.noarch"]
    assert root("-q", "--whatprovides", "/bin/sh").split() == ["shell-1.0~rc1-2.noarch"]
    assert root("-qs", "lib32").split() == ["wrong", "color", "/usr/bin/lib-query", "normal", "/usr/bin/lib-wide"]


@pytest.mark.parametrize("database", ["top", "remove"])
def test_the_database_elsewhere(folder, files, root, database):
    other = build(folder / "x", files, "--set", f"OCI_PACKAGE_DATABASE={database}")
    names = [layer["name"] for layer in other.report["layers"]]
    assert names == ["base", "lib", "app", *(["package-database"] if database == "top" else [])]
    found = other.unpack()
    compare.assert_same(root.listing(), found.listing(), times=True)
    if database == "top":
        assert found.packages() == root.packages()
    else:
        assert not (found.path / "var/lib/rpm").exists()


def test_what_nothing_knows_the_owner_of(folder, files):
    feed = write_feed(folder / "feed", [package("app", given=[file("/f", user="shop", mode=0o4755)])])
    (folder / "app.conf").write_text('OCI_LAYERS = "a:packages:app"\n', encoding="utf-8")
    words = ["build", folder / "app.conf", "--feed", feed["app"].parent, "--deploy-dir", folder / "out"]
    done = tools.oe_oci(*words, status=2)
    assert "OCI_IMAGE_ACCOUNTS: layer 'a': app 1.0-1: /f is of the user 'shop', which the image does not have" in (
        done.stderr
    )
    assert "declare it: user:shop:NUMBER" in done.stderr
    assert not (folder / "out" / "app-oci").exists()


def base_of(folder: Path, root: Root) -> None:
    """A base image of a root file system that rpm made."""
    (folder / "base").mkdir()
    conf = f'SOURCE_DATE_EPOCH = "{EPOCH}"\n'
    (folder / "base/app.conf").write_text(conf, encoding="utf-8")
    tools.build(folder / "base/app.conf", folder / "base/out", "--rootfs", root.path)


def test_an_upgrade_on_a_base_that_rpm_made(folder, files, real):
    """As a change of somebody's: /etc/lib.conf was edited."""
    mine = Root(folder / "mine")
    tools.run("cp", "-a", real.path, mine.path)
    (mine.path / "etc/lib.conf").write_text("mine\n", encoding="utf-8")
    os.utime(mine.path / "etc/lib.conf", (5, 5))
    base_of(folder, mine)
    newer = write_feed(folder / "newer", NEWER)
    up = build(folder / "up", newer, conf=UPGRADE)
    (layer,) = (layer for layer in up.report["layers"] if layer["name"] == "up")
    assert {one["name"]: one.get("upgrades") for one in layer["packages"]} == {
        "lib": "1-1",
        "heir": "extra 1.0-1",
        "wants": None,
    }
    mine("--force-debian", "--nosignature", "--nodeps", "-U", *newer.values())
    found = up.unpack()
    compare.assert_same(mine.listing(), found.listing(), times=True)
    assert (found.path / "etc/lib.conf.rpmsave").read_text(encoding="utf-8") == "mine\n"
    assert found.packages() == mine.packages()
    assert found("-Va", "--nomtime", status=None) == mine("-Va", "--nomtime", status=None)


def test_rpm_goes_on_from_the_image(folder, files, built):
    """A later upgrade and an erasure by rpm itself, of what we entered in its database."""
    root = Root(folder / "root")
    tools.oe_oci("unpack", built.place / "out/app-oci", root.path)
    root("--force-debian", "--nosignature", "--nodeps", "-U", *write_feed(folder / "newer", NEWER).values())
    root("--nodeps", "--noscripts", "-e", "app")
    assert sorted(one.split()[0] for one in root.packages()) == [
        "filesystem",
        "heir",
        "lib",
        "lib32",
        "setup",
        "shell",
        "wants",
    ]
    assert not (root.path / "usr/share/lib/old").exists()
    assert not (root.path / "usr/bin/su").exists()


class Dnf:
    """dnf with a feed, and nothing of this machine's own."""

    def __init__(self, folder: Path, feed: Path) -> None:
        tools.need("dnf", "createrepo_c")
        folder.mkdir()
        tools.run("createrepo_c", feed)
        (folder / "dnf.conf").write_text(
            f"[main]\ngpgcheck=0\nplugins=0\ncachedir={folder}/cache\nlogdir={folder}/log\nreposdir={folder}/none\n"
            f"persistdir={folder}/persist\nvarsdir={folder}/none\ninstall_weak_deps=0\ntsflags=noscripts\n"
            f"[feed]\nname=feed\nbaseurl=file://{feed}\n",
            encoding="utf-8",
        )
        (folder / ".rpmmacros").write_text("%_dbpath /var/lib/rpm\n", encoding="utf-8")
        self._words = ["env", f"HOME={folder}", "dnf", "-y", "-c", folder / "dnf.conf", "--releasever=1"]

    def __call__(self, root: Path, *words: object) -> str:
        return tools.run(*self._words, "--forcearch=x86_64", "--installroot", root, *words, timeout=300).stdout


def test_on_a_base_that_dnf_made_and_dnf_goes_on(folder, files):
    feed = folder / "feed"
    write_feed(feed, MADE)
    dnf = Dnf(folder / "dnf", feed)
    base = Root(folder / "base root")
    dnf(base.path, "install", "lib")
    base_of(folder, base)
    up = build(folder / "up", files, conf=UPGRADE.replace("wants", "app"))
    (layer,) = (layer for layer in up.report["layers"] if layer["name"] == "up")
    assert [one["name"] for one in layer["packages"]] == ["extra", "app"]
    found = up.unpack()
    assert [one.split()[0] for one in found.packages()] == ["app", "extra", "filesystem", "lib", "setup", "shell"]
    assert found("-Va", "--nomtime", status=None) == ""
    assert "Nothing to do" in dnf(found.path, "install", "app", "shell")
    write_feed(folder / "newer", NEWER)
    Dnf(folder / "dnf-newer", folder / "newer")(found.path, "install", "wants")
    assert "heir" in [one.split()[0] for one in found.packages()]


@pytest.fixture(scope="module")
def blobs(built) -> list[str]:
    return [layer["digest"] for layer in built.report["layers"]]


def test_the_same_bytes_elsewhere_and_under_another_hash(folder, files, blobs):
    feed = shutil.copytree(next(iter(files.values())).parent, folder / "another feed")
    moved = {name: feed / path.name for name, path in files.items()}
    again = build(folder / "x", moved, "--jobs", "1")
    assert [layer["digest"] for layer in again.report["layers"]] == blobs
    for seed in ("1", "2"):
        environment = tools.environment(PYTHONHASHSEED=seed, TZ="Asia/Tokyo")
        (folder / seed).mkdir()
        (folder / seed / "app.conf").write_text(CONF, encoding="utf-8")
        report = tools.build(folder / seed / "app.conf", folder / seed / "out", "--feed", feed, env=environment)
        assert [layer["digest"] for layer in report["layers"]] == blobs


@pytest.fixture(scope="module")
def product(room) -> Iterator[tools.Copy]:
    return tools.Copy(room / "product for rpms")


def test_the_same_bytes_as_another_user(folder, files, blobs, product):
    (folder / "app.conf").write_text(CONF, encoding="utf-8")
    (folder / "out").mkdir()
    tools.give_to_nobody(folder)
    feed = next(iter(files.values())).parent
    words = ["build", folder / "app.conf", "--feed", feed, "--deploy-dir", folder / "out", "--json"]
    command = [*tools.as_nobody(), product.program, "-m", "oe_oci", *words]
    done = tools.run(*command, umask=0o077, env=product.environment(HOME=str(folder)), cwd=folder)
    assert [blob for blob in blobs if blob not in done.stdout] == []


def test_a_second_build_takes_layers_and_packages_from_the_cache(folder, files, blobs):
    words = ("--cache-dir", folder / "cache")
    first = build(folder / "first", files, *words)
    second = build(folder / "second", files, *words)
    assert [layer["digest"] for layer in second.report["layers"]] == blobs
    assert all(layer["cache"]["hit"] for layer in second.report["layers"])
    assert first.report["image"]["digest"] == second.report["image"]["digest"]
    # Packages recalled, layers not: one more name changes the last layer alone.
    third = build(folder / "third", files, *words, conf=CONF.replace("app,extra", "app,extra,lib"))
    shutil.rmtree(folder / "cache")
    without = build(folder / "without", files, conf=CONF.replace("app,extra", "app,extra,lib"))
    assert third.report["image"]["digest"] == without.report["image"]["digest"]


def test_a_package_of_the_real_rpmbuild(folder):
    tools.need("rpmbuild")
    spec = folder / "real.spec"
    spec.write_text(
        "Name: real\nVersion: 1.5\nRelease: 2\nEpoch: 3\nSummary: x\nLicense: MIT\nBuildArch: noarch\n"
        "AutoReqProv: no\n%description\nx\n%install\nmkdir -p %{buildroot}/opt/real\n"
        "echo hello > %{buildroot}/opt/real/f\nln %{buildroot}/opt/real/f %{buildroot}/opt/real/g\n"
        "%files\n%dir %attr(0710,root,root) /opt/real\n%config(noreplace) /opt/real/f\n/opt/real/g\n"
        "%ghost /opt/real/h\n",
        encoding="utf-8",
    )
    words = ["rpmbuild", "-bb", "--define", f"_topdir {folder}/top", "--define", f"_rpmdir {folder}/feed", spec]
    tools.run(*words, stderr=subprocess.STDOUT)
    (path,) = (folder / "feed").rglob("*.rpm")
    conf = f'OCI_LAYERS = "a:packages:real"\nSOURCE_DATE_EPOCH = "{EPOCH}"\n'
    made = build(folder / "x", {"real": path}, conf=conf)
    real, found = Root(folder / "real root"), made.unpack()
    real.path.mkdir()
    real.install([path])
    compare.assert_same(real.listing(), found.listing(), times=True)
    assert found("-qa", "--qf", "%{NEVRA}") == "real-3:1.5-2.noarch"
    assert found("-V", "--nomtime", "real") == ""
