# SPDX-License-Identifier: MIT
"""rpm's database as rpm and dnf themselves see it: the same as their own, and good to go on with."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import struct
import sys
from typing import TYPE_CHECKING

import pytest
from support import headers
from support.tools import need, need_root, run

from oe_oci.packages.database import KEEP, Step
from oe_oci.packages.rpm import database
from oe_oci.packages.rpm.entered import entered
from oe_oci.packages.rpm.header import Header
from oe_oci.scan import Directory

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from oe_oci.packages.package import Installed

EPOCH = 1_700_000_000
PATH = "var/lib/rpm/rpmdb.sqlite"
OF_INSTALLATION = (1008, 1127, 1128)

ALPHA = """\
Epoch: 2
Summary(de): Ein Alpha
Group: Some/Group
Vendor: Example ü
Requires(pre): /bin/sh
Requires(preun,post): both
Requires(postun,pretrans,posttrans): others
Requires: beta >= 1
Requires: (beta or gamma)
Requires: (x if (y if z) else w)
Requires: rpmlib(FileCaps)
Provides: virt = 1
Provides: virt = 2
Recommends: rec
Suggests: (sug and other)
Supplements: sup
Enhances: enh
Conflicts: (con < 1 unless other)
Conflicts: con
Obsoletes: obs < 2
"""
SCRIPTS = """\
%description -l de
Wort
%changelog
* Mon Jan 01 2024 A B <a@b.example> - 1
- first
%post
exit 0
%triggerin -- beta, gamma
exit 0
%triggerun -- beta, beta > 7
exit 0
%filetriggerin -- /usr/lib, /usr/share
exit 0
%filetriggerun -- /usr/share
exit 0
%transfiletriggerin -- /usr/lib
exit 0
"""
FILES = """\
%dir /etc/alpha
%config(noreplace) /etc/alpha/a.conf
%attr(4755, root, root) /usr/bin/alpha
/usr/bin/alink
%doc /usr/share/doc/alpha
%ghost /etc/alpha/ghost
"""
MADE = """\
mkdir -p %{buildroot}/etc/alpha %{buildroot}/usr/bin %{buildroot}/usr/share/doc/alpha
echo a > %{buildroot}/etc/alpha/a.conf
echo b > %{buildroot}/usr/bin/alpha
ln -s alpha %{buildroot}/usr/bin/alink
echo d > "%{buildroot}/usr/share/doc/alpha/dü d"
"""


def spec(name: str, version: str = "1", tags: str = "", made: str = "", files: str = "", more: str = "") -> str:
    head = f"Name: {name}\nVersion: {version}\nRelease: 3\nSummary: The {name}\nLicense: MIT\nBuildArch: noarch\n"
    return f"{head}{tags}%description\nText\n{more}%install\n{made}\n%files\n{files}"


SPECS = {
    "alpha": spec("alpha", "1.2", ALPHA, MADE, FILES, SCRIPTS),
    "alpha-new": spec("alpha", "1.3~rc1", ALPHA.replace("Epoch: 2", "Epoch: 3"), MADE, FILES, SCRIPTS),
    "beta": spec("beta", tags="Provides: gamma\nProvides: é\n"),
    "filesystem": spec("filesystem", made="mkdir -p %{buildroot}/usr", files="%dir /\n%dir /usr\n"),
    "killer": spec("killer", more="%post -p <lua>\nposix.kill(posix.getprocessid('pid'), 9)\n"),
    "gamma": spec("gamma", made="mkdir %{buildroot}/srv; touch %{buildroot}/srv/g", files="/srv/g\n"),
}


@pytest.fixture(scope="module")
def rpms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Packages that the real rpmbuild made, one of them signed."""
    need("rpmbuild", "rpm")
    folder, found = tmp_path_factory.mktemp("rpms"), {}
    for name, text in SPECS.items():
        (folder / f"{name}.spec").write_text(text, encoding="utf-8")
        out = folder / name
        run("rpmbuild", "-bb", "-D", f"_topdir {folder}/top", "-D", f"_rpmdir {out}", folder / f"{name}.spec")
        (found[name],) = out.rglob("*.rpm")
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    need_root()
    need("rpm")
    return made(tmp_path / "root")


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def rpm(root: Path, *words: object, status: int | None = 0) -> str:
    return run("rpm", "--root", root, "--dbpath", "/var/lib/rpm", *words, status=status).stdout


def install(root: Path, *packages: Path, how: str = "-i") -> None:
    rpm(root, how, "--nodeps", "--noscripts", "--notriggers", *packages)


def tree(root: Path) -> Directory:
    return Directory(str(root), "root", int)


def as_entered(package: Path) -> Installed:
    signature, main = (Header(data, package.name) for data in headers.split(package.read_bytes()))
    return database.installed(entered(main, signature, EPOCH))


def write(root: Path, packages: Iterable[Installed]) -> None:
    written = database.write(tree(root), Step([*packages], (), (), ()), KEEP)
    for path in written.removed:
        (root / path).unlink()
    for path, file in written.files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(file.data)
        (root / path).chmod(file.mode)


def unpack(root: Path, package: Path) -> None:
    """The files of a package, without rpm's database."""
    bare = made(root.parent / f"{root.name}-bare")
    install(bare, package)
    shutil.rmtree(bare / "var")
    shutil.copytree(bare, root, symlinks=True, dirs_exist_ok=True)
    shutil.rmtree(bare)


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """What is in each table; the statistics that rpm has SQLite make are left out."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as found:
        names = [name for (name,) in found.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        wanted = [name for name in names if name != "sqlite_stat1"]
        return {name: sorted(found.execute(f"SELECT * FROM '{name}'"), key=repr) for name in wanted}


def schema(path: Path) -> list[tuple[str, ...]]:
    with contextlib.closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as found:
        return found.execute(
            "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name != 'sqlite_stat1'"
        ).fetchall()


def masked(blob: bytes) -> bytes:
    """A header without what differs from one installation to the next."""
    data = bytearray(blob)
    number, _ = struct.unpack_from(">II", data)
    for tag, _, offset, _ in struct.iter_unpack(">IIiI", blob[8 : 8 + 16 * number]):
        if tag in OF_INSTALLATION:
            at = 8 + 16 * number + offset
            data[at : at + 4] = bytes(4)
    return bytes(data)


QUERIES = [
    ("-qa", "--qf", "%{nevra} %{installtime} %{sha256header} %{sigmd5} %{license} %{group}\\n"),
    ("-qai",),
    ("-qa", "--changelog"),
    ("-qal",),
    ("-qa", "--requires", "--provides", "--recommends", "--suggests", "--conflicts", "--obsoletes", "--triggers"),
    ("-qa", "--filetriggers", "--scripts", "--state"),
    ("-qf", "/etc/alpha/a.conf", "/usr/share/doc/alpha/dü d", "/usr/bin/alink", "/usr"),
    ("-q", "--whatprovides", "virt", "é", "/usr/bin/alpha"),
    ("-q", "--whatrequires", "beta", "both", "w"),
    ("-q", "--whatrecommends", "rec"),
    ("-q", "--whatsuggests", "other"),
    ("-q", "--whatsupplements", "sup"),
    ("-q", "--whatenhances", "enh"),
    ("-q", "--whatconflicts", "con"),
    ("-q", "--whatobsoletes", "obs"),
    ("-q", "--triggeredby", "gamma"),
    ("-qg", "Some/Group"),
    ("-q", "alpha", "beta"),
]


def answers(root: Path) -> list[list[str]]:
    return [sorted(rpm(root, *query).splitlines()) for query in QUERIES]


def mine(tmp_path: Path, name: str, rpms: dict[str, Path], *packages: str) -> Path:
    """A root with packages whose database was written here."""
    root = made(tmp_path / name)
    for package in packages:
        unpack(root, rpms[package])
    write(root, [as_entered(rpms[package]) for package in packages])
    return root


PACKAGES = ("alpha", "beta", "filesystem")


def test_headers_and_tables_are_what_rpm_makes(root, rpms):
    install(root, *(rpms[name] for name in PACKAGES))
    theirs = rows(root / PATH)
    for _, blob in theirs["Packages"]:
        package = database.installed(Header(blob, "theirs"))
        assert masked(as_entered(rpms[package.name]).header.data) == masked(blob)
    before = schema(root / PATH)
    write(root, database.read(tree(root)))
    assert rows(root / PATH) == theirs
    assert schema(root / PATH) == before


def test_what_rpm_wrote_becomes_what_is_written_here(root, rpms, tmp_path):
    install(root, *(rpms[name] for name in reversed(PACKAGES)))
    written = database.normalized(tree(made(tmp_path / "empty")), tree(root), EPOCH)
    here = mine(tmp_path, "mine", rpms, *PACKAGES)
    assert written.files[PATH].data == (here / PATH).read_bytes()
    assert set(written.removed) == {"var/lib/rpm/.rpm.lock", f"{PATH}-shm", f"{PATH}-wal"}


def test_rpm_answers_as_it_does_of_its_own(root, rpms, tmp_path):
    install(root, *(rpms[name] for name in PACKAGES))
    written = database.normalized(tree(made(tmp_path / "empty")), tree(root), EPOCH)
    here = mine(tmp_path, "mine", rpms, *PACKAGES)
    (root / PATH).write_bytes(written.files[PATH].data)
    found = answers(here)
    assert found == answers(root)
    assert all(found)
    assert rpm(here, "-Va", "--nomtime", "--nodeps", status=None) == ""
    (here / "etc/alpha/a.conf").write_text("changed\n", encoding="utf-8")
    assert rpm(here, "-V", "--nomtime", "--nodeps", "alpha", status=1) == "S.5......  c /etc/alpha/a.conf\n"


def test_rpm_finds_nothing_wrong_and_a_rebuilt_database_says_the_same(root, rpms, tmp_path):
    here = mine(tmp_path, "mine", rpms, *PACKAGES)
    before, tables = answers(here), rows(here / PATH)
    run("rpmdb", "--root", here, "--dbpath", "/var/lib/rpm", "--verifydb")
    run("rpmdb", "--root", here, "--dbpath", "/var/lib/rpm", "--rebuilddb")
    assert answers(here) == before
    assert {name: len(found) for name, found in rows(here / PATH).items()} == {
        name: len(found) for name, found in tables.items()
    }


def test_rpm_goes_on_with_it(root, rpms, tmp_path):
    here = mine(tmp_path, "mine", rpms, *PACKAGES)
    install(here, rpms["alpha-new"], how="-U")
    rpm(here, "-e", "--nodeps", "--noscripts", "beta")
    install(here, rpms["gamma"])
    run("rpmdb", "--root", here, "--dbpath", "/var/lib/rpm", "--verifydb")
    assert sorted(rpm(here, "-qa").split()) == [
        "alpha-1.3~rc1-3.noarch",
        "filesystem-1-3.noarch",
        "gamma-1-3.noarch",
    ]
    found = {one.name: one for one in database.read(tree(here))}
    assert found["alpha"].version == "3:1.3~rc1-3"
    write(here, found.values())
    assert rpm(here, "-qf", "/srv/g", "/etc/alpha/a.conf") == "gamma-1-3.noarch\nalpha-1.3~rc1-3.noarch\n"
    assert not (here / f"{PATH}-wal").exists()


def test_a_log_that_a_killed_rpm_left_is_taken_in(root, rpms):
    install(root, rpms["beta"])
    rpm(root, "-i", rpms["killer"], status=-9)
    assert (root / f"{PATH}-wal").stat().st_size
    found = {one.name for one in database.read(tree(root))}
    assert found == {"beta", "killer"}
    copy = root.parent / "copy"
    shutil.copytree(root, copy)
    assert set(rpm(copy, "-qa", "--qf", "%{name}\n").split()) == found


def test_an_upgrade_is_written(root, rpms, tmp_path):
    here = mine(tmp_path, "mine", rpms, *PACKAGES)
    kept = [one for one in database.read(tree(here)) if one.name != "alpha"]
    write(here, [*kept, as_entered(rpms["alpha-new"])])
    assert rpm(here, "-q", "--qf", "%{evr} %{dbinstance}\n", "alpha", "beta") == "3:1.3~rc1-3 4\n1-3 2\n"
    run("rpmdb", "--root", here, "--dbpath", "/var/lib/rpm", "--verifydb")


def test_it_is_read_where_nothing_can_be_written(root, rpms, tmp_path):
    need("unshare", "mount")
    if run("unshare", "-m", "mount", "--bind", tmp_path, tmp_path, status=None).returncode:
        pytest.skip("no mounts")
    here = mine(tmp_path, "mine", rpms, "beta")
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec rpm --root "$0" --dbpath /var/lib/rpm -qa'
    assert run("unshare", "-m", "sh", "-c", script, here).stdout == "beta-1-3.noarch\n"


def test_dnf_goes_on_with_it(root, rpms, tmp_path):
    need("dnf", "createrepo_c")
    here = mine(tmp_path, "mine", rpms, "beta", "filesystem")
    feed = made(tmp_path / "feed")
    for name in ("alpha-new", "beta", "filesystem", "gamma"):
        shutil.copy(rpms[name], feed)
    run("createrepo_c", feed)
    (tmp_path / "dnf.conf").write_text(
        f"[main]\ngpgcheck=0\nplugins=0\ncachedir={tmp_path}/cache\nlogdir={tmp_path}/log\nreposdir={tmp_path}/none\n"
        f"persistdir={tmp_path}/persist\nvarsdir={tmp_path}/none\ninstall_weak_deps=0\n"
        f"[feed]\nname=feed\nbaseurl=file://{feed}\n",
        encoding="utf-8",
    )
    (made(tmp_path / "home") / ".rpmmacros").write_text("%_dbpath /var/lib/rpm\n", encoding="utf-8")
    words = ("env", f"HOME={tmp_path}/home", "dnf", "-y", "-c", tmp_path / "dnf.conf", "--installroot", here)
    more = ("--releasever=1", "--disableplugin=*")
    listed = run(*words, *more, "repoquery", "--installed", "--qf", "%{name}-%{evr}").stdout.split()
    assert sorted(listed) == ["beta-1-3", "filesystem-1-3"]
    before = tmp_path / "before"
    shutil.copytree(here, before, symlinks=True)
    run(*words, *more, "install", "gamma")
    after = database.normalized(tree(before), tree(here), EPOCH)
    write(before, [*database.read(tree(before)), as_entered(rpms["gamma"])])
    assert after.files[PATH].data == (before / PATH).read_bytes()


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of gpg with a key, which is beside it as text."""
    need("gpg", "rpmsign")
    home = tmp_path_factory.mktemp("gpg", numbered=False)
    home.chmod(0o700)
    gpg = ("gpg", "--homedir", home, "--batch", "--passphrase", "")
    run(*gpg, "--quick-generate-key", "Test <test@example.com>", "rsa2048", "sign", "never")
    (home / "key.asc").write_text(run(*gpg, "--armor", "--export").stdout, encoding="utf-8")
    run("gpgconf", "--homedir", home, "--kill", "gpg-agent", status=None)
    return home


def test_signatures_and_keys_are_kept(root, rpms, key, tmp_path):
    signed = tmp_path / "signed.rpm"
    shutil.copy(rpms["gamma"], signed)
    macros = {"__gpg": shutil.which("gpg"), "_gpg_path": key, "_gpg_name": "Test"}
    run("rpmsign", *(f"-D{name} {value}" for name, value in macros.items()), "--addsign", signed)
    run("gpgconf", "--homedir", key, "--kill", "gpg-agent", status=None)
    run("rpmkeys", "--root", root, "--dbpath", "/var/lib/rpm", "--import", key / "key.asc")
    install(root, signed)
    theirs = rows(root / PATH)
    (blob,) = (blob for _, blob in theirs["Packages"] if database.installed(Header(blob, "")).name == "gamma")
    assert masked(as_entered(signed).header.data) == masked(blob)
    assert {267, 268} & {*Header(blob, "")}
    before = rpm(root, "-qa", "--qf", "%{nevra} %{rsaheader:pgpsig} %{pubkeys}\n")
    write(root, database.read(tree(root)))
    assert rows(root / PATH) == theirs
    assert rpm(root, "-qa", "--qf", "%{nevra} %{rsaheader:pgpsig} %{pubkeys}\n") == before
    assert rpm(root, "-q", "gpg-pubkey").startswith("gpg-pubkey-")
    run("rpmkeys", "--root", root, "--dbpath", "/var/lib/rpm", "--checksig", signed)


# Reads a root's database and writes it anew; says how long that took, in seconds, and how much memory at most, in KiB.
_MEASURED = """\
import sys, time
from oe_oci.packages.database import KEEP, Step
from oe_oci.packages.rpm import database
from oe_oci.scan import Directory
started, tree = time.process_time(), Directory(sys.argv[1], "root", int)
written = database.write(tree, Step(database.read(tree), (), (), ()), KEEP)
(made,) = written.files.values()
assert made.data == open(f"{sys.argv[1]}/var/lib/rpm/rpmdb.sqlite", "rb").read()
(most,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(time.process_time() - started, most)
"""


def test_many_packages_and_one_of_many_files(root):
    """2,000 packages of ten files each and one of 30,000: a database of 10 MiB."""
    packages = [package("many", {f"/usr/share/many/{at % 300}/file {at}": b"" for at in range(30_000)})]
    for at in range(2_000):
        files = {f"/usr/share/p{at}/{number}": b"" for number in range(10)}
        packages.append(package(f"p{at}", files, _1049=[f"p{at - 1}", "lib"], _1048=[0, 0], _1050=["", ""]))
    write(root, packages)
    seconds, memory = run(sys.executable, "-c", _MEASURED, root).stdout.split()
    assert float(seconds) < 30
    assert int(memory) < 200 << 10
    assert len(rpm(root, "-qa").split()) == 2_001
    assert rpm(root, "-q", "--whatrequires", "p77", "--qf", "%{name}\n") == "p78\n"
    assert rpm(root, "-q", "--whatprovides", "/usr/share/many/299/file 29999", "--qf", "%{name}\n") == "many\n"
    assert len(rpm(root, "-ql", "many").splitlines()) == 30_000
    run("rpmdb", "--root", root, "--dbpath", "/var/lib/rpm", "--verifydb")


def package(name: str, files: dict[str, bytes], **tags: headers.Value) -> Installed:
    signature, main = headers.package(name, files=files, **tags)
    return database.installed(entered(Header(main, name), Header(signature, name), EPOCH))
