# SPDX-License-Identifier: MIT
"""Packages that rpmbuild makes: what is read of them is what rpm says of them. And large ones, in little memory."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support import packages, rpms, tools
from support.kept import Kept, content

from oe_oci.packages.rpm import capabilities
from oe_oci.packages.rpm.archive import read_head, read_package, scripts_of
from oe_oci.packages.rpm.files import files_of
from oe_oci.tree import CHAR, DIRECTORY, FIFO, FILE, SYMLINK

if TYPE_CHECKING:
    from pathlib import Path

    from oe_oci.packages.contents import Contents

# As rpm names them, and what a header then has for it.
PAYLOADS = {"w9.gzdio": "gzip", "w9.bzdio": "bzip2", "w6.xzdio": "xz", "w6.lzdio": "lzma", "w3.zstdio": "zstd",
            "w3T2.zstdio": "zstd", "w.ufdio": ""}  # fmt: skip
SOME = ["w9.gzdio", "w.ufdio"]
ALGORITHMS = {1: "MD5", 2: "SHA-1", 8: "SHA-256", 10: "SHA-512"}

SPEC = """\
Name: shop
Epoch: 3
Version: 2.4~rc1
Release: 1
Summary: Ein Laden für Tests
License: MIT
%description
A shop.
%package empty
Summary: nothing
%description empty
Nothing.
%install
cd %{buildroot}
mkdir -p a b/c etc usr/bin usr/share var/mail
echo shared > a/x; ln a/x a/w; ln a/x b/c/y
echo private > usr/bin/sudo; echo p > usr/bin/ping; echo q > usr/bin/probe
ln -s ../b/c/y a/link; ln -s /nowhere/at/all a/dangling
printf 'c=1\\n' > etc/one.conf; : > etc/two.conf
echo umlaut > "etc/ü b"; printf x > "$(printf 'etc/\\377\\376')"
seq 100000 > usr/share/numbers
%files
%dir %attr(0711,shop,shop) /a
/a/*
/b
%attr(4755,root,sudo) /usr/bin/sudo
%caps(cap_net_raw=ep) /usr/bin/ping
%caps(cap_net_admin,cap_net_raw+p) %attr(0750,-,net) /usr/bin/probe
%config(noreplace) /etc/one.conf
%config /etc/two.conf
"/etc/ü b"
/etc/?[!b-z]*
/usr/share/numbers
%dir %attr(2775,mail,mail) /var/mail
%dev(c,5,1) %attr(0600,root,tty) /dev/console
%ghost %attr(0640,shop,adm) /var/log/shop
%ghost %config /etc/made.conf
%pre
exit 0
%post -p /sbin/ldconfig
%preun
exit 0
%triggerin -- other
exit 0
%files empty
"""
FORMAT = (
    "[%{FILENAMES}\\t%{FILEMODES}\\t%{FILESIZES}\\t%{FILEMTIMES}\\t%{FILEUSERNAME}\\t%{FILEGROUPNAME}\\t%{FILECAPS}\\t"
    "%{FILELINKTOS}\\t%{FILEDIGESTS}\\t%{FILEFLAGS}\\t%{FILERDEVS}\\n]"
)


def built(place: Path, spec: str, payload: str, *words: str) -> dict[str, Path]:
    """The packages that rpmbuild makes, by name."""
    tools.need("rpmbuild")
    (place / "shop.spec").write_text(spec, encoding="utf-8")
    settings = {"_topdir": place / "top", "_rpmdir": place / "rpms", "_binary_payload": payload}
    settings.update({"_build_name_fmt": "%%{NAME}.rpm", "__os_install_post": "%{nil}", "_build_id_links": "none"})
    settings["_invalid_encoding_terminates_build"] = "0"
    defined = [word for name, value in settings.items() for word in ("--define", f"{name} {value}")]
    env = tools.environment(HOME=str(place), LC_ALL="C.UTF-8")
    tools.run("rpmbuild", "-bb", "--quiet", *defined, *words, place / "shop.spec", env=env, timeout=300)
    return {path.stem: path for path in (place / "rpms").iterdir()}


@pytest.fixture(scope="module", params=PAYLOADS)
def made(request, tmp_path_factory) -> dict[str, Path]:
    return built(tmp_path_factory.mktemp("rpms"), SPEC, request.param)


class Listed(NamedTuple):
    """A file as rpm lists it; all text."""

    path: str
    mode: str
    size: str
    mtime: str
    user: str
    group: str
    caps: str
    target: str
    digest: str
    flags: str
    device: str


def listed(path: Path) -> dict[str, Listed]:
    """The files of a package by rpm's own account, by path."""
    said = subprocess.run(["rpm", "-qp", "--qf", FORMAT, path], check=True, capture_output=True, timeout=60).stdout
    lines = said.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n")
    found = [Listed(*line.split("\t")) for line in lines if line]
    return {each.path: each for each in found}


def read(path: Path) -> Contents:
    return read_package(str(path), str(path), Kept())


def query(path: Path, form: str) -> str:
    return tools.run("rpm", "-qp", "--qf", form, path).stdout


def test_what_rpm_says_of_a_package(made):
    contents = read(made["shop"])
    assert contents.fields["Package"] == query(made["shop"], "%{NAME}")
    assert contents.fields["Version"] == query(made["shop"], "%{EPOCH}:%{VERSION}-%{RELEASE}") == "3:2.4~rc1-1"
    assert contents.fields["Architecture"] == query(made["shop"], "%{ARCH}")


def test_what_rpm_says_of_files(made):
    contents = read(made["shop"])
    said = listed(made["shop"])
    kinds = {FILE: stat.S_IFREG, DIRECTORY: stat.S_IFDIR, SYMLINK: stat.S_IFLNK, CHAR: stat.S_IFCHR, FIFO: stat.S_IFIFO}
    found = {"/" + each.path: each for each in contents.members}
    assert found.keys() == {path for path, each in said.items() if not int(each.flags) & rpms.GHOST}
    last = [each.path for each in contents.members if each.entry.inode is not None][-1]
    for path, each in found.items():
        # The names of an inode have the facts of the last one.
        rpm, entry = said["/" + last if each.entry.inode is not None else path], each.entry
        assert kinds[entry.kind] | entry.mode == int(rpm.mode), path
        assert (each.user, each.group, entry.target) == (rpm.user, rpm.group, rpm.target), path
        assert str(entry.mtime) == rpm.mtime, path
        assert os.makedev(*entry.device) == int(rpm.device), path
        if entry.kind == FILE:
            assert (str(entry.size), entry.content.digest) == (rpm.size, rpm.digest), path
        assert bool(entry.xattrs) == bool(rpm.caps), path
    configuration = {
        path[1:] for path, each in said.items() if int(each.flags) & (rpms.CONFIG | rpms.GHOST) == rpms.CONFIG
    }
    assert set(contents.conffiles) == configuration == {"etc/one.conf", "etc/two.conf"}


def test_facts_that_were_asked_for(made):
    contents = read(made["shop"])
    found = {each.path: each for each in contents.members}
    assert (found["a"].entry.mode, found["a"].user, found["a"].group) == (0o711, "shop", "shop")
    assert (found["usr/bin/sudo"].entry.mode, found["usr/bin/sudo"].group) == (0o4755, "sudo")
    assert (found["var/mail"].entry.mode, found["var/mail"].user) == (0o2775, "mail")
    assert found["dev/console"].entry.device == (5, 1)
    assert found["usr/bin/probe"].entry.xattrs[0][1].hex() == "0000000200300000000000000000000000000000"
    assert found["usr/bin/ping"].entry.xattrs[0][1].hex() == "0100000200200000000000000000000000000000"
    assert content(contents, "etc/\udcff\udcfe") == b"x"
    assert content(contents, "etc/\u00fc b") == b"umlaut\n"
    assert content(contents, "usr/share/numbers") == b"".join(b"%d\n" % n for n in range(1, 100_001))
    names = [each.path for each in contents.members if each.entry.inode is not None]
    assert sorted(names) == ["a/w", "a/x", "b/c/y"]
    assert {content(contents, name) for name in names} == {b"shared\n"}
    ghosts = [each.path for each in files_of(read_head(str(made["shop"]), "shop").header) if each.ghost]
    assert ghosts == ["etc/made.conf", "var/log/shop"]


def test_what_rpm2cpio_unpacks(made):
    tools.need("rpm2cpio")
    plain = subprocess.run(["rpm2cpio", made["shop"]], check=True, capture_output=True, timeout=60).stdout
    assert bytes(read(made["shop"]).payload) == plain


def test_what_rpm2archive_unpacks(made, tmp_path):
    tools.need("rpm2archive")
    (tmp_path / "shop.rpm").symlink_to(made["shop"])
    tools.run("rpm2archive", "-n", tmp_path / "shop.rpm")
    contents = read(made["shop"])
    with tarfile.open(tmp_path / "shop.rpm.tar", encoding="utf-8", errors="surrogateescape") as archive:
        members = archive.getmembers()
        assert [each.name.removeprefix("./") for each in members] == [each.path for each in contents.members]
        for member, each in zip(members, contents.members):
            assert (member.islnk(), member.isdir(), member.issym()) == (
                each.hardlink is not None,
                each.entry.kind == DIRECTORY,
                each.entry.kind == SYMLINK,
            )
            if each.entry.kind == FILE:
                assert content(contents, each.path) == archive.extractfile(member).read()


def test_scripts(made):
    assert scripts_of(read_head(str(made["shop"]), "shop").header) == ("prein", "postin", "triggerin")
    assert scripts_of(read_head(str(made["shop-empty"]), "shop").header) == ()


def test_a_package_of_nothing(made):
    contents = read(made["shop-empty"])
    assert contents.members == ()
    assert contents.fields["Package"] == "shop-empty"


def test_the_range_of_the_header(made, tmp_path):
    tools.need("createrepo_c", "rpm")
    (tmp_path / "shop.rpm").symlink_to(made["shop"])
    tools.run("createrepo_c", "--no-database", "--general-compress-type", "gz", tmp_path)
    primary = next((tmp_path / "repodata").glob("*primary.xml*"))
    text = packages_text(primary)
    head = read_head(str(made["shop"]), "shop")
    assert f'<rpm:header-range start="{head.start}" end="{head.end}"/>' in text


def packages_text(path: Path) -> str:
    import gzip

    return gzip.decompress(path.read_bytes()).decode()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_sums_of_files_of_every_kind(tmp_path, algorithm):
    path = built(tmp_path, SPEC, "w1.gzdio", "--define", f"_binary_filedigest_algorithm {algorithm}")["shop"]
    assert query(path, "%{FILEDIGESTALGO}") in (str(algorithm), "(none)")
    assert content(read(path), "usr/bin/sudo") == b"private\n"


def test_a_source_package_is_refused(tmp_path):
    built(tmp_path, SPEC, "w1.gzdio")
    tools.run("rpmbuild", "-bs", "--quiet", "--define", f"_topdir {tmp_path}/top", tmp_path / "shop.spec")
    (path,) = (tmp_path / "top/SRPMS").iterdir()
    with pytest.raises(Exception, match="is a source package"):
        read(path)


@pytest.mark.parametrize(
    "text",
    [
        "cap_net_raw=ep",
        "= cap_net_raw+ep",
        "cap_net_admin,cap_net_raw+p",
        "cap_net_admin=ep cap_net_raw+eip",
        "=ep",
        "all=p",
        "=p cap_chown-p",
        "cap_chown=p cap_chown=i",
        "cap_chown=ip-p",
        "cap_chown=ip+e-i",
        "41,cap_chown=p",
        "cap_chown=e",
        "=",
    ],
)
def test_capabilities_are_set_as_setcap_sets_them(tmp_path, text):
    tools.need("setcap")
    tools.need_root()
    path = tmp_path / "file"
    path.touch()
    tools.run("setcap", text, path)
    assert capabilities.attribute(text, "file") == os.getxattr(path, capabilities.XATTR)


# ---- packages that the tests make


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("compression", ["gz", "zst", "none"])
def test_rpm_takes_what_the_tests_make(tmp_path, compression, large):
    """Else tests of what is read prove little."""
    tools.need("rpm")
    tools.need_root()
    given = [
        rpms.folder("/usr", mode=0o711),
        rpms.file("/usr/a", b"shared", link="1"),
        rpms.file("/usr/lib/b", b"shared", link="1"),
        rpms.symlink("/usr/link", "a"),
        rpms.file("/usr/bin/shop", b"s" * 5000, mode=0o4755, mtime=1_600_000_000),
        rpms.ghost("/var/log/shop"),
    ]
    made = rpms.package("shop", "1:2-1", given=given, compression=compression, large=large, requires=["other >= 2"])
    path = made.write(tmp_path)
    assert "NOT OK" not in tools.run("rpm", "-Kv", "--nosignature", path).stdout
    assert "other >= 2" in tools.run("rpm", "-qp", "--requires", path).stdout
    root = tmp_path / "root"
    tools.run("rpm", "--root", root, "--dbpath", "/var/lib/rpm", "--nodeps", "-i", path)
    assert stat.S_IMODE((root / "usr").stat().st_mode) == 0o711
    assert (root / "usr/a").read_bytes() == b"shared"
    assert os.path.samefile(root / "usr/a", root / "usr/lib/b")
    assert (root / "usr/link").readlink().name == "a"
    facts = (root / "usr/bin/shop").stat()
    assert (stat.S_IMODE(facts.st_mode), facts.st_mtime, facts.st_size) == (0o4755, 1_600_000_000, 5000)
    assert tools.run("rpm", "--root", root, "--dbpath", "/var/lib/rpm", "-V", "--nodeps", "shop").stdout == ""


# ---- memory

# Reads a package and says how much memory it took at most, in KiB, and what it held; the payload goes nowhere. What
# getrusage tells is not of this process alone, but also of the one that started it.
_MEASURED = """\
import re, sys
from oe_oci.packages.rpm import capabilities
from oe_oci.packages.rpm.archive import read_package
class Nowhere:
    notes = None
    def write(self, piece): pass
    def release(self): pass
found = read_package(sys.argv[1], "shop", Nowhere(), limit=8 << 30)
peak = re.search("VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]
print(peak, sum(each.entry.size for each in found.members))
"""


def test_a_file_that_no_plain_header_could_tell_the_size_of(tmp_path):
    """Of more than 4 GiB, and so in a payload with stripped headers."""
    part, count = 64 << 20, 65
    compress = packages.COMPRESSIONS["zst"]
    big = rpms.File("/big", mode=stat.S_IFREG | 0o644, size=part * count, digest="")
    payload = compress(rpms.stripped(0)) + compress(bytes(part)) * count + compress(rpms.TRAILER)
    made = rpms.package("shop", given=[big], compression="zst", large=True, payload=b"", compress=lambda _: payload)
    peak, size = tools.run(sys.executable, "-c", _MEASURED, made.write(tmp_path), cwd=tools.ROOT).stdout.split()
    assert int(size) == part * count > 1 << 32
    assert int(peak) < 64 << 10


def test_a_package_of_many_files(tmp_path):
    given = [rpms.file(f"/usr/share/shop/{n // 100}/{n:06}", b"%d" % n) for n in range(50_000)]
    path = rpms.package("shop", given=given, compression="zst").write(tmp_path)
    peak, size = tools.run(sys.executable, "-c", _MEASURED, path, cwd=tools.ROOT).stdout.split()
    assert int(size) == sum(len(each.data) for each in given)
    assert int(peak) < 200 << 10
