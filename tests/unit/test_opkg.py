# SPDX-License-Identifier: MIT
"""opkg's database: what is read of a base's, what a layer writes, byte for byte, and databases made to harm."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.trees import file, link, with_parents

from oe_oci.errors import InputError
from oe_oci.packages import database, opkg
from oe_oci.packages.database import KEEP, PER_PACKAGE, Added, Step
from oe_oci.packages.package import Installed
from oe_oci.tree import Tree

ROOT = "var/lib/opkg"
# As opkg writes it.
SHELL = b"""\
Package: busybox
Version: 1.36.1-r0
Depends: libc6 (>= 2.39), update-alternatives-opkg
Recommends: busybox-syslog
Provides: sh, virt (= 1)
Conflicts: old (<< 3)
Status: install user installed
Essential: yes
Architecture: core2-64
Conffiles:
 /etc/busybox.conf d41d8cd98f00b204e9800998ecf8427e
Installed-Size: 15
Installed-Time: 1700000000
Auto-Installed: yes

"""
KNOWN = b"Package: removed\nVersion: 1\nStatus: deinstall ok config-files\nArchitecture: all\n\n"


def base(status: bytes = b"", root: str = ROOT, **files: bytes) -> Tree:
    """A base image with a status file and files of `info`; `_d_` stands for a dot."""
    found = {f"{root}/info/{name.replace('_d_', '.')}": file(data) for name, data in files.items()}
    if status:
        found[f"{root}/status"] = file(status)
    return Tree(with_parents({"etc": file()._replace(kind="directory", content=None), **found}))


def package(name: str, version: str = "1", arch: str = "core2-64", **fields: str) -> Installed:
    own = {"Package": name, "Version": version, "Description": "d", "Section": "base", "License": "MIT"}
    return Installed(name, version, arch, {**own, "Architecture": arch, **fields})


def added(one: Installed, paths: tuple[str, ...] = (), **control: bytes) -> Added:
    return Added(one, {"control": b"", **control}, ("", *paths), lambda path: hashlib.md5(path.encode()).hexdigest())


def write(lower: Tree, *new: Added, replaced: tuple[Installed, ...] = (), mode: str = KEEP, epoch: int = 0):
    names = {one.package.name for one in new}
    kept = [one for one in opkg.read(lower) if one.name not in names]
    packages = [*kept, *(one.package for one in new)]
    return opkg.write(lower, Step(packages, new, replaced, ("core2-64",), epoch), mode)


def test_no_database_is_no_package():
    assert opkg.read(base()) == ()


@pytest.mark.parametrize("root", [ROOT, "usr/lib/opkg"])
def test_a_status_file_is_read_in_full_and_written_as_it_was(root):
    lower = base(SHELL + KNOWN, root)
    busybox, removed = opkg.read(lower)
    assert (busybox.name, busybox.version, busybox.arch) == ("busybox", "1.36.1-r0", "core2-64")
    assert (busybox.state, busybox.requested, busybox.whole) == ("install user installed", False, True)
    assert busybox.conffiles == (("etc/busybox.conf", "d41d8cd98f00b204e9800998ecf8427e"),)
    assert (removed.requested, removed.whole) == (True, False)
    assert write(lower, epoch=5).files[f"{root}/status"].data == SHELL + KNOWN


def test_a_database_behind_a_link():
    lower = Tree(with_parents({"var/lib": link("/data/lib"), "data/lib/opkg/status": file(SHELL)}))
    assert [one.name for one in opkg.read(lower)] == ["busybox"]
    assert "data/lib/opkg/info/app.list" in write(lower, added(package("app"))).files


def test_packages_with_a_control_file_alone_are_read():
    lower = base(
        SHELL,
        busybox_d_control=b"Package: busybox\nVersion: 0\nArchitecture: all\n",
        app_d_control=b"Package: app\nVersion: 2\nArchitecture: all\nLicense: MIT",
        app_d_list=b"/\n",
    )
    assert [(one.name, one.version, one.state) for one in opkg.read(lower)] == [
        ("busybox", "1.36.1-r0", "install user installed"),
        ("app", "2", "install ok installed"),
    ]


def test_files_of_a_package():
    lines = b"/etc/app.conf\t0100644\n/usr/bin/l\t0120777\tapp\n\t040755\n/usr/bin/b \xff\t0104755\n/usr/bin/plain\n/\n"
    files = opkg.files_of(base(app_d_list=lines), package("app"))
    assert files == ("etc/app.conf", "usr/bin/l", "usr/bin/b \udcff", "usr/bin/plain")
    assert opkg.files_of(base(), package("app")) == ()


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (SHELL[:-5], "/status: line 14: the file ends within a line"),
        (SHELL + SHELL, "/status: line 16: package 'busybox' is there twice"),
        (
            SHELL + b"Package: torn\nStatus: install ok installed\n",
            "/status: line 16: paragraph 2: has no Version of 'torn'",
        ),
        (SHELL.replace(b"busybox\n", b"../x\n", 1), "/status: line 1: .* can not be the Package"),
        (SHELL.replace(b"user installed", b"user gone"), "/status: line 1: .* is no Status"),
    ],
)
def test_a_damaged_status_file_is_told_with_its_line(status, message):
    with pytest.raises(InputError, match=message) as error:
        opkg.read(base(status))
    assert "base image" in error.value.hint


def test_a_list_that_leads_out():
    with pytest.raises(InputError, match=r"/var/lib/opkg/info/app\.list: .* is no path of a package"):
        opkg.files_of(base(app_d_list=b"/../x\t0644\n"), package("app"))


def test_many_large_control_files_are_not_read_together(monkeypatch):
    monkeypatch.setattr(database, "_LIMIT", 100)
    control = b"Package: %s\nVersion: 1\nArchitecture: all\n"
    lower = base(a_d_control=control % b"a", b_d_control=control % b"b", c_d_control=control % b"c")
    with pytest.raises(InputError, match=r"/c\.control: the package database has more than"):
        opkg.read(lower)


def test_a_first_layer_has_all_opkg_makes():
    one = package("app", Depends="lib", Provides="x", **{"Pre-Depends": "y", "OE": "app"})
    one = one._replace(conffiles=(("etc/app.conf", "ab"),), requested=False, state="install ok unpacked")
    new = added(one, ("etc", "etc/app.conf"), conffiles=b"/etc/app.conf\n", postinst=b"#!")
    written = write(base(), new, epoch=1700000000)
    status = (
        "Package: app\nVersion: 1\nDepends: lib\nPre-Depends: y\nProvides: x\nStatus: install ok unpacked\n"
        "Architecture: core2-64\nConffiles:\n /etc/app.conf ab\nInstalled-Time: 1700000000\nAuto-Installed: yes\n\n"
    )
    control = (
        "Package: app\nVersion: 1\nDescription: d\nSection: base\nLicense: MIT\nArchitecture: core2-64\n"
        "Depends: lib\nProvides: x\nPre-Depends: y\nOE: app\n\n"
    )
    assert {path: (made.data.decode(), made.mode) for path, made in written.files.items()} == {
        f"{ROOT}/info/app.conffiles": ("/etc/app.conf\n", 0o644),
        f"{ROOT}/info/app.control": (control, 0o644),
        f"{ROOT}/info/app.list": ("/etc\n/etc/app.conf\n", 0o644),
        f"{ROOT}/info/app.postinst": ("#!", 0o755),
        f"{ROOT}/status": (status, 0o644),
    }
    assert written.directories == (f"{ROOT}/lists",)
    assert written.removed == ()


def test_without_an_epoch_there_is_no_time():
    assert b"Installed-Time" not in write(base(), added(package("app"))).files[f"{ROOT}/status"].data


def test_the_order_of_packages_does_not_matter():
    one, other = added(package("b")), added(package("a"))
    assert write(base(), one, other) == write(base(), other, one)


def test_an_upgrade_takes_the_old_control_files_away():
    lower = base(SHELL + KNOWN, busybox_d_list=b"", busybox_d_prerm=b"", busybox_d_x_d_list=b"")
    written = write(lower, added(package("busybox", "2", "all")), replaced=opkg.read(lower)[:1])
    assert written.removed == (f"{ROOT}/info/busybox.prerm",)
    assert written.files[f"{ROOT}/status"].data.count(b"Package: busybox\n") == 1


def test_a_file_for_each_package_depends_on_nothing_below():
    new = added(package("app"), ("etc",), postinst=b"#!")
    written = write(base(), new, mode=PER_PACKAGE, epoch=5)
    assert set(written.files) == {f"{ROOT}/info/app.control", f"{ROOT}/info/app.list"}
    assert written.directories == written.removed == ()
    assert write(base(SHELL), new, mode=PER_PACKAGE) == written


def test_a_file_for_each_package_takes_a_replaced_one_out_of_the_status():
    lower = base(SHELL + KNOWN, busybox_d_list=b"", busybox_d_prerm=b"")
    new = added(package("busybox", "2"))
    written = write(lower, new, replaced=opkg.read(lower)[:1], mode=PER_PACKAGE)
    assert written.files[f"{ROOT}/status"].data == KNOWN
    assert written.removed == (f"{ROOT}/info/busybox.prerm",)


@pytest.mark.parametrize("name", ["a\nb", "a\tb"])
def test_a_name_the_list_can_not_hold(name):
    with pytest.raises(InputError, match="a name the package database can not hold"):
        write(base(), added(package("app"), (name,)))


def test_a_field_that_would_break_out():
    with pytest.raises(InputError, match="'Depends'"):
        write(base(), added(package("app", Depends="x\nPackage: evil")))


@given(st.binary(max_size=200), st.integers(0, len(SHELL)), st.integers(0, len(SHELL)))
def test_whatever_a_status_file_holds_there_is_an_error_or_packages_that_can_be_written(junk, start, end):
    status = SHELL[:start] + junk + SHELL[end:] + b"\n"
    try:
        found = opkg.read(base(status))
    except InputError:
        return
    again = opkg.read(base(write(base(status)).files[f"{ROOT}/status"].data))
    assert [one[:3] for one in again] == sorted(one[:3] for one in found)
