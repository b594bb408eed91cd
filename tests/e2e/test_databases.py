# SPDX-License-Identifier: MIT
"""The databases as dpkg, apt and opkg themselves see them: the same as their own, and good to go on with."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support.packages import Made, package
from support.tools import need, need_root, run

from oe_oci.packages import dpkg, opkg
from oe_oci.packages.database import KEEP, Added, Step, conffiles
from oe_oci.packages.package import Installed
from oe_oci.scan import Directory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oe_oci.packages.database import Database

OWN = {"lock", "lock-frontend", "status-old", "triggers/Lock"}  # of dpkg while it works
FRESH = {"available", "diversions", "statoverride"}  # of a new system, which dpkg itself makes only when it needs them
RECORD = '#!/bin/sh\necho "$0 $@" >>"${DPKG_ROOT:-$PKG_ROOT}/ran"\n'


class Pack(NamedTuple):
    """A package, and what it is made of."""

    made: Made
    files: Mapping[str, bytes]
    control: Mapping[str, bytes | str]

    def added(self, *, requested: bool = True) -> Added:
        fields = self.made.fields
        folders = {up.as_posix() for path in self.files for up in Path(path).parents} | {"."}
        shipped = sorted(folders) + list(self.files)

        def md5(path: str) -> str | None:
            return hashlib.md5(self.files[path]).hexdigest() if path in self.files else None

        listed = [line[1:] for line in str(self.control.get("conffiles", "")).split("\n") if line]
        one = Installed(fields["Package"], fields["Version"], fields["Architecture"], fields, requested=requested)
        control = {name: data if isinstance(data, bytes) else data.encode() for name, data in self.control.items()}
        paths = ["" if path == "." else path for path in shipped]
        return Added(one._replace(conffiles=conffiles(listed, md5)), control, paths, md5)


def pack(
    name: str, version: str = "1", arch: str = "all", control: Mapping[str, str] | None = None, **fields: str
) -> Pack:
    files = {f"etc/{name}.conf": b"a = 1\n", f"usr/bin/{name}": version.encode(), f"usr/share/{name}/data": b""}
    kind = fields.pop("kind", "deb")
    extra = {"conffiles": f"/etc/{name}.conf\n", **(control or {})}
    return Pack(package(name, version, arch, files, extra, kind=kind, **fields), files, extra)


def install(
    database: Database, root: Path, *new: Pack, requested: bool = True, archs: tuple[str, ...] = ("amd64",)
) -> None:
    """A layer of packages on a directory: their files and what the database writes."""
    lower = Directory(str(root), "root", int)
    adding = [one.added(requested=requested) for one in new]
    names = {one.package.name for one in adding}
    before = database.read(lower)
    kept = [one for one in before if one.name not in names]
    replaced = [one for one in before if one.name in names]
    step = Step([*kept, *(one.package for one in adding)], adding, replaced, archs)
    written = database.write(lower, step, KEEP)
    for path in written.directories:
        (root / path).mkdir(parents=True, exist_ok=True)
    for path in written.removed:
        (root / path).unlink()
    for path, made in written.files.items():
        put(root / path, made.data, made.mode)
    for one in new:
        for path, data in one.files.items():
            put(root / path, data, 0o644)


def put(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def files_below(folder: Path) -> dict[str, tuple[bytes, int]]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mode) for path in found}


# ---- dpkg and apt


@pytest.fixture
def root(tmp_path: Path) -> Path:
    need("dpkg")
    made = tmp_path / "root"
    made.mkdir()
    return made


@pytest.fixture
def native() -> str:
    need("dpkg")
    return run("dpkg", "--print-architecture").stdout.strip()


def feed(folder: Path, *packs: Pack) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for one in packs:
        (folder / one.made.name).write_bytes(one.made.data)
    return [folder / one.made.name for one in packs]


def on(root: Path, *words: object, status: int | None = 0) -> str:
    """Run dpkg on a root; maintainer scripts run as they are, told of the root by DPKG_ROOT."""
    options = ("--force-script-chrootless", "--log=/dev/null", f"--root={root}")
    done = run("dpkg", *options, *words, status=status)
    return done.stdout


def samples(native: str) -> list[Pack]:
    triggers = "interest /usr/share/watched\ninterest-noawait /etc\ninterest-await named\nactivate-noawait other\n"
    return [
        pack("alone", "1:2.0-3", Essential="yes", Section="misc", Priority="required", Homepage="http://example.com/"),
        pack("lib", "1", native, {"shlibs": "lib 1 lib\n", "triggers": "interest-noawait named\n"}, Multi_Arch="same"),
        pack("listens", control={"triggers": triggers, "postinst": RECORD, "prerm": RECORD}),
        pack(
            "needs", Depends="alone (>= 1), lib | none", Pre_Depends="alone", Recommends="more", XB_Odd="a\n b\n .\n c"
        ),
        pack(
            "own", control={"md5sums": f"{'0' * 32}  usr/bin/own\n", "templates": "Template: own/x\n", "config": RECORD}
        ),
    ]


def test_the_database_is_what_dpkg_makes_byte_for_byte(root, native, tmp_path):
    need_root()
    packs = samples(native)
    theirs = tmp_path / "theirs"
    (theirs / "var/lib/dpkg").mkdir(parents=True)
    for file in feed(tmp_path / "feed", *packs):
        on(theirs, "--install", file)
    install(dpkg, root, *packs[:2], archs=(native,))
    install(dpkg, root, *packs[2:], archs=(native,))
    mine, dpkgs = files_below(root / "var/lib/dpkg"), files_below(theirs / "var/lib/dpkg")
    assert {path: mine[path] for path in mine if path not in FRESH} == {
        path: dpkgs[path] for path in dpkgs if path not in OWN
    }


def test_dpkg_sees_the_packages_of_all_layers_whole(root, native):
    packs = samples(native)[:4]
    install(dpkg, root, *packs[:2], archs=(native,))
    install(dpkg, root, *packs[2:], archs=(native,))
    table = run("dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", "${Package} ${db:Status-Abbrev}\n").stdout
    assert table == "alone ii \nlib ii \nlistens ii \nneeds ii \n"
    assert on(root, "--audit") == ""
    assert on(root, "--verify") == ""
    files = "/.\n/etc\n/usr\n/usr/bin\n/usr/share\n/usr/share/lib\n/etc/lib.conf\n/usr/bin/lib\n/usr/share/lib/data\n"
    assert on(root, "-L", "lib") == files
    assert on(root, "-S", "/usr/bin/needs") == "needs: /usr/bin/needs\n"
    put(root / "usr/bin/lib", b"other", 0o644)
    put(root / "etc/lib.conf", b"other", 0o644)
    assert on(root, "--verify", status=None) == "??5?????? c /etc/lib.conf\n??5??????   /usr/bin/lib\n"


def test_dpkg_goes_on_from_the_database(root, native, tmp_path):
    need_root()
    install(dpkg, root, *samples(native), archs=(native,))
    put(root / "etc/alone.conf", b"mine\n", 0o644)
    watched = {"usr/share/watched/x": b""}
    more = Pack(package("more", files=watched, Depends="needs"), watched, {})
    on(root, "--install", "--force-confold", *feed(tmp_path / "feed", more, pack("alone", "2:1")))
    ran = (root / "ran").read_text()
    assert f"{root}/var/lib/dpkg/info/listens.postinst triggered /etc /usr/share/watched\n" == ran
    assert (root / "etc/alone.conf").read_bytes() == b"mine\n"
    assert (root / "usr/bin/alone").read_bytes() == b"2:1"
    on(root, "--remove", "listens", "more")
    assert not (root / "usr/bin/listens").exists()
    on(root, "--purge", "--force-depends", "lib")
    assert not (root / "etc/lib.conf").exists()
    assert on(root, "--audit") == ""
    states = {one.name: one.state for one in dpkg.read(Directory(str(root), "root", int))}
    assert "lib" not in states
    assert states["listens"] == "deinstall ok config-files"
    # What dpkg left behind is a base for the next layer.
    install(dpkg, root, pack("last"), archs=(native,))
    assert "rc  listens" in on(root, "--list")
    assert on(root, "--audit") == ""


def test_an_upgrade_in_a_layer_leaves_what_dpkg_finds_whole(root, native):
    install(dpkg, root, *samples(native), archs=(native,))
    install(dpkg, root, pack("listens", "2"), pack("lib", "2", native), archs=(native,))
    assert on(root, "--audit") == ""
    assert on(root, "-L", "lib").startswith("/.\n")
    info = {path for path in files_below(root / "var/lib/dpkg/info") if path.startswith(("lib", "listens"))}
    assert info == {f"{name}.{kind}" for name in ("lib", "listens") for kind in ("conffiles", "list", "md5sums")}
    assert not [path for path in (root / "var/lib/dpkg/triggers").iterdir() if path.name == "named"]


def test_apt_sees_the_packages_and_which_nobody_asked_for(root, native, tmp_path):
    need("apt-get", "apt-mark")
    install(dpkg, root, pack("lib", "1", native), pack("old"), requested=False, archs=(native,))
    install(dpkg, root, pack("app", Depends="lib"), archs=(native,))
    for folder in ("etc/apt", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log/apt"):
        (root / folder).mkdir(parents=True)
    config = tmp_path / "apt.conf"
    config.write_text(f'Dir "{root}";\nDir::State::status "{root}/var/lib/dpkg/status";\nAPT::Sandbox::User "";\n')
    env = {**os.environ, "APT_CONFIG": str(config)}
    assert run("apt-mark", "showauto", env=env).stdout.split() == ["lib", "old"]
    run("apt-get", "check", env=env)
    plan = run("apt-get", "--simulate", "autoremove", env=env).stdout
    assert [line for line in plan.split("\n") if line.startswith("Remv")] == ["Remv old [1]"]
    (new,) = feed(tmp_path / "feed", pack("new", Depends="app (>= 1), lib"))
    plan = run("apt-get", "--simulate", "install", new, env=env).stdout
    assert [line.split(" (")[0] for line in plan.split("\n") if line.startswith("Inst")] == ["Inst new"]


# ---- opkg


def test_opkg_sees_the_packages_and_goes_on_from_the_database(tmp_path):
    need("opkg")
    root = tmp_path / "root"
    (root / "tmp").mkdir(parents=True)
    config = tmp_path / "opkg.conf"
    config.write_text(f"dest root /\narch all 1\narch core2-64 5\noption tmp_dir {tmp_path}\n")

    def on_root(*words: object) -> str:
        done = run("opkg", "--conf", config, "--offline-root", root, *words)
        assert " * " not in done.stderr
        return done.stdout

    needed = pack("lib", "1.0-r0", "core2-64", {"postinst": RECORD}, kind="ipk")
    install(opkg, root, needed, requested=False, archs=("core2-64",))
    install(opkg, root, pack("app", "1:1.0-r0", "all", kind="ipk", Depends="lib (>= 1)"), archs=("core2-64",))
    assert on_root("list-installed") == "app - 1:1.0-r0\nlib - 1.0-r0\n"
    files = on_root("files", "app").split("\n")[1:-1]
    assert {Path(path).relative_to(root).as_posix() for path in files} == {
        *("etc", "usr", "usr/bin", "usr/share", "usr/share/app"),
        *("etc/app.conf", "usr/bin/app", "usr/share/app/data"),
    }
    assert "Status: install ok installed\n" in on_root("status", "lib")
    feed(tmp_path, pack("more", "1", "all", kind="ipk", Depends="app"), pack("lib", "2.0-r0", "core2-64", kind="ipk"))
    on_root("install", tmp_path / "more_1_all.ipk")
    on_root("install", tmp_path / "lib_2.0-r0_core2-64.ipk")
    assert on_root("list-installed") == "app - 1:1.0-r0\nlib - 2.0-r0\nmore - 1\n"
    assert not (root / "var/lib/opkg/info/lib.postinst").exists()
    found = opkg.read(Directory(str(root), "root", int))
    assert {one.name: one.requested for one in found} == {"app": True, "lib": False, "more": True}
    on_root("remove", "more")
    on_root("--autoremove", "remove", "app")
    assert on_root("list-installed") == ""
    assert {path.name for path in (root / "usr").rglob("*")} <= {"bin", "share"}
