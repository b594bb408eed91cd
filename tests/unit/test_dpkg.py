# SPDX-License-Identifier: MIT
"""dpkg's database: what is read of a base's, what a layer writes, byte for byte, and databases made to harm."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.trees import directory, fifo, file, link, tree, with_parents

from oe_oci.content import Region
from oe_oci.errors import InputError
from oe_oci.packages import database, dpkg
from oe_oci.packages.database import KEEP, PER_PACKAGE, Added, Step, conffiles, md5_of
from oe_oci.packages.package import Installed
from oe_oci.tree import Entry, Tree

ROOT = "var/lib/dpkg"
SHELL = b"""\
Package: dash
Essential: yes
Status: install ok installed
Priority: required
Section: shells
Maintainer: Someone <someone@example.com>
Architecture: amd64
Version: 0.5.12-2
Depends: debianutils (>= 5.6-0.1)
Conffiles:
 /etc/dash.rc d41d8cd98f00b204e9800998ecf8427e
 /etc/a name 0123456789abcdef0123456789abcdef obsolete
Description: POSIX-compliant shell
 A fast one.
 .
 And small.
Homepage: http://example.com/
"""
REMOVED = b"""\
Package: gone
Status: deinstall ok config-files
Maintainer: Someone <someone@example.com>
Architecture: amd64
Version: 1
Config-Version: 1
Conffiles:
 /etc/gone d41d8cd98f00b204e9800998ecf8427e
Description: what is left of it
"""
SELECTED = b"Package: never\nStatus: install ok not-installed\nPriority: optional\n"


def base(status: bytes = b"", **files: bytes | str) -> Tree:
    """A base image with a status file and other files of the database; `__` stands for `/`, `_d_` for a dot."""
    found = {f"{ROOT}/{name.replace('_d_', '.').replace('__', '/')}": data for name, data in files.items()}
    if status:
        found[f"{ROOT}/status"] = status
    return with_files({path: link(data) if isinstance(data, str) else file(data) for path, data in found.items()})


def with_files(found: dict[str, Entry], lower: Tree | None = None) -> Tree:
    return Tree({**with_parents(found), **(lower.entries if lower else {})})


def package(name: str, version: str = "1", arch: str = "amd64", **fields: str) -> Installed:
    own = {"Package": name, "Version": version, "Architecture": arch}
    more = {key.replace("_", "-"): value for key, value in fields.items()}
    return Installed(name, version, arch, {**own, **more, "Maintainer": "x", "Description": "d"})


def added(one: Installed, paths: dict[str, bytes | None] | None = None, **control: bytes) -> Added:
    """A package of files (bytes) and directories (None)."""
    shipped = {"": None, **(paths or {})}

    def md5(path: str) -> str | None:
        data = shipped.get(path)
        return None if data is None else hashlib.md5(data).hexdigest()

    return Added(one, {"control": b"", **control}, list(shipped), md5)


def write(lower: Tree, *new: Added, replaced: tuple[Installed, ...] = (), mode: str = KEEP, archs=("amd64",)):
    names = {one.package.name for one in new}
    kept = [one for one in dpkg.read(lower) if one.name not in names]
    return dpkg.write(lower, Step([*kept, *(one.package for one in new)], new, replaced, archs), mode)


def text(written: database.Written, path: str) -> str:
    return written.files[f"{ROOT}/{path}"].data.decode()


# ---- reading


def test_no_database_is_no_package():
    assert dpkg.read(Tree({"": directory()})) == ()
    assert dpkg.read(base(b"\n\n")) == ()


def test_a_status_file_is_read_in_full_and_written_as_it_was():
    lower = base(SHELL + b"\n" + REMOVED + b"\n" + SELECTED + b"\n")
    dash, gone, never = dpkg.read(lower)
    assert (dash.name, dash.version, dash.arch, dash.state) == ("dash", "0.5.12-2", "amd64", "install ok installed")
    assert dash.fields["Depends"] == "debianutils (>= 5.6-0.1)"
    assert dash.conffiles == (
        ("etc/dash.rc", "d41d8cd98f00b204e9800998ecf8427e"),
        ("etc/a name", "0123456789abcdef0123456789abcdef obsolete"),
    )
    assert [one.whole for one in (dash, gone, never)] == [True, False, False]
    assert never.version == ""
    assert write(lower).files[f"{ROOT}/status"].data == SHELL + b"\n" + REMOVED + b"\n" + SELECTED + b"\n"


def test_bytes_that_are_no_utf_8_are_written_as_they_were():
    status = SHELL.replace(b"Someone", b"S\xf6meone") + b"\n"
    assert write(base(status)).files[f"{ROOT}/status"].data == status


def test_a_database_behind_links_is_read_and_written_where_it_lies():
    lower = tree(
        var__lib__dpkg="../../usr/lib/sysimage/dpkg",
        usr__lib__sysimage__dpkg__status="status.real",
        **{"usr__lib__sysimage__dpkg__status.real": SHELL},
    )
    assert [one.name for one in dpkg.read(lower)] == ["dash"]
    written = write(lower, added(package("new")))
    assert "usr/lib/sysimage/dpkg/status.real" in written.files
    assert "usr/lib/sysimage/dpkg/info/new.list" in written.files
    assert "usr/lib/sysimage/dpkg/updates" in written.directories
    assert not [path for path in written.files if path.startswith("var/")]


def test_distroless_packages_are_read_and_the_status_file_goes_first():
    lower = base(
        SHELL,
        status_d_d__dash=b"Package: dash\nVersion: 0\nArchitecture: amd64\n",
        status_d_d__base=b"Package: base-files\nVersion: 12\nArchitecture: amd64",
        status_d_d__base_d_md5sums=b"0123456789abcdef0123456789abcdef  usr/share/doc/x\n" + b"0" * 32 + b" *etc/y\n",
    )
    dash, files = dpkg.read(lower)
    assert dash.version == "0.5.12-2"
    assert (files.name, files.state) == ("base-files", "install ok installed")
    assert dpkg.files_of(lower, files) == ("etc", "etc/y", "usr", "usr/share", "usr/share/doc", "usr/share/doc/x")


def test_apt_marks_are_read():
    mark = b"Package: %s\nArchitecture: amd64\nAuto-Installed: %d\n"
    marks = {"var/lib/apt/extended_states": file(mark % (b"dash", 1) + b"\n" + mark % (b"gone", 0))}
    lower = with_files(marks, base(SHELL + b"\n" + REMOVED))
    assert [one.requested for one in dpkg.read(lower)] == [False, True]


@pytest.mark.parametrize(("same", "name"), [(True, "lib:amd64.list"), (True, "lib.list"), (False, "lib.list")])
def test_files_of_a_package(same, name):
    lower = base(**{"info__" + name.replace(".", "_d_"): b"/.\n/usr\n/usr/lib\n/usr/lib/a\xff b\n/usr/lib/l \n"})
    one = package("lib", Multi_Arch="same" if same else "no")
    assert dpkg.files_of(lower, one) == ("usr", "usr/lib", "usr/lib/a\udcff b", "usr/lib/l ")


def test_files_of_a_package_without_a_list():
    assert dpkg.files_of(base(SHELL), package("dash")) == ()


def test_diversions():
    lower = base(diversions=b"/usr/bin/sh\n/usr/bin/sh.distrib\ndash\n/bin/a\n/bin/b\n:\n")
    assert dpkg.read_diversions(lower) == {"usr/bin/sh": ("usr/bin/sh.distrib", "dash"), "bin/a": ("bin/b", ":")}
    assert dpkg.read_diversions(base()) == {}


@pytest.mark.parametrize(
    "data", [b"/a\n", b"/a\n/b\n", b"/a\n/b\nc", b"/a\n/../b\nc\n", b"/\n/b\nc\n", b"/a\n/a\nc\n", b"/a\n/b\n\n"]
)
def test_damaged_diversions(data):
    with pytest.raises(InputError, match="diversions: line 1") as error:
        dpkg.read_diversions(base(diversions=data))
    assert "base image" in error.value.hint


# ---- damaged and hostile databases


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (SHELL[:-5], "line 17: the file ends within a line"),
        (SHELL + b"\n" + SHELL, "line 19: package 'dash' is there twice"),
        (SHELL + b"\nPackage: torn\nStatus: install ok installed\n", "line 19: paragraph 2: has no Version of 'torn'"),
        (b"\n\n" + SHELL.replace(b"Architecture: amd64\n", b""), "line 3: paragraph 1: has no Architecture of 'dash'"),
        (SHELL.replace(b"Package: dash\n", b""), "line 1: paragraph 1: has no Package"),
        (
            SHELL.replace(b"dash\n", b"../../../etc/passwd\n", 1),
            "line 1: .* '../../../etc/passwd' can not be the Package",
        ),
        (SHELL.replace(b"amd64", b"../amd64"), "line 1: .* '../amd64' can not be the Architecture of 'dash'"),
        (SHELL.replace(b"0.5.12-2", b"1 2"), "line 1: .* '1 2' can not be the Version of 'dash'"),
        (SHELL.replace(b"ok installed", b"ok perhaps"), "line 1: paragraph 1: 'install ok perhaps' is no Status"),
        (SHELL.replace(b"Status: install ok installed\n", b""), "line 1: paragraph 1: '' is no Status"),
        (SHELL.replace(b"ok installed", b""), "line 1: paragraph 1: 'install' is no Status"),
        (SHELL.replace(b" /etc/dash.rc ", b" "), "line 1: .* is no configuration file with its MD5"),
        (b"\0\0\0\0\n", "/var/lib/dpkg/status"),
        (b" begins with a continuation\n", "/var/lib/dpkg/status"),
    ],
)
def test_a_damaged_status_file_is_told_with_its_line(status, message):
    with pytest.raises(InputError, match=message) as error:
        dpkg.read(base(status))
    assert error.value.message.startswith("/var/lib/dpkg/status")
    assert "base image" in error.value.hint


def test_the_same_package_of_two_architectures_is_two_packages():
    assert len(dpkg.read(base(SHELL + b"\n" + SHELL.replace(b"amd64", b"i386")))) == 2


@pytest.mark.parametrize("entry", [directory(), fifo(), link("status")])
def test_a_status_that_is_no_file(entry):
    with pytest.raises(InputError, match="/var/lib/dpkg/status: is a"):
        dpkg.read(Tree(with_parents({f"{ROOT}/status": entry})))


def test_a_status_d_that_is_no_directory():
    with pytest.raises(InputError, match=r"status\.d: is a file"):
        dpkg.read(base(status_d_d=b""))


def test_a_huge_status_file_is_not_read():
    huge = file()._replace(size=257 << 20, content=Region(b"/nowhere", 0, 257 << 20))
    with pytest.raises(InputError, match="more than 256 MiB"):
        dpkg.read(Tree(with_parents({f"{ROOT}/status": huge})))


def test_many_large_files_of_status_d_are_not_read_together(monkeypatch):
    monkeypatch.setattr(database, "_LIMIT", 100)
    paragraph = b"Package: %s\nVersion: 1\nArchitecture: amd64\n"
    lower = base(status_d_d__a=paragraph % b"a", status_d_d__b=paragraph % b"b", status_d_d__c=paragraph % b"c")
    with pytest.raises(InputError, match=r"/status\.d/c: the package database has more than"):
        dpkg.read(lower)


def test_a_database_in_the_middle_of_an_installation():
    with pytest.raises(InputError, match="cut off") as error:
        dpkg.read(base(SHELL, updates__0001=SHELL))
    assert "dpkg --configure -a" in error.value.hint


@pytest.mark.parametrize("line", [b"/../../etc/passwd\n", b"/a/\0b\n"])
def test_a_list_that_leads_out(line):
    with pytest.raises(InputError, match=r"info/dash\.list: .* is no path of a package"):
        dpkg.files_of(base(info__dash_d_list=line), package("dash"))


# ---- writing


def test_a_first_layer_has_all_dpkg_makes():
    files = {"etc": None, "etc/app.conf": b"", "usr": None, "usr/bin": None, "usr/bin/app": b"#!"}
    one = added(package("app", Depends="lib"), files, conffiles=b"/etc/app.conf\n", postinst=b"#!/bin/sh\n")
    one = one._replace(package=one.package._replace(conffiles=conffiles(["etc/app.conf", "etc/no"], one.md5)))
    written = write(Tree({"": directory()}), one)
    assert text(written, "status") == (
        "Package: app\nStatus: install ok installed\nMaintainer: x\nArchitecture: amd64\nVersion: 1\nDepends: lib\n"
        "Conffiles:\n /etc/app.conf d41d8cd98f00b204e9800998ecf8427e\nDescription: d\n\n"
    )
    assert text(written, "info/app.list") == "/.\n/etc\n/etc/app.conf\n/usr\n/usr/bin\n/usr/bin/app\n"
    sums = "".join(f"{hashlib.md5(data).hexdigest()}  {path}\n" for path, data in files.items() if data is not None)
    assert text(written, "info/app.md5sums") == sums
    modes = {path.rpartition("/")[2]: made.mode for path, made in written.files.items()}
    assert modes.pop("app.postinst") == 0o755
    assert set(modes.values()) == {0o644}
    empty = [path for path, made in written.files.items() if not made.data]
    assert empty == [f"{ROOT}/{name}" for name in ("available", "diversions", "statoverride", "triggers/Unincorp")]
    assert text(written, "info/format") == "1\n"
    assert written.directories == tuple(f"{ROOT}/{name}" for name in ("alternatives", "parts", "updates"))
    assert written.removed == ()
    assert list(written.files) == sorted(written.files)


def test_what_is_there_already_is_left_alone():
    lower = base(SHELL, available=b"x", diversions=b"/a\n/b\nc\n", statoverride=b"y", info__format=b"1\n")
    written = write(lower, added(package("app")))
    assert set(written.files) == {
        f"{ROOT}/{name}" for name in ("info/app.list", "info/app.md5sums", "status", "triggers/Unincorp")
    }
    assert [line for line in text(written, "status").split("\n") if line.startswith("Package")] == [
        "Package: app",
        "Package: dash",
    ]


def test_the_order_of_packages_does_not_matter():
    one = added(package("b"), triggers=b"interest /x\n")
    other = added(package("a"), triggers=b"interest /x\n")
    empty = Tree({"": directory()})
    assert write(empty, one, other) == write(empty, other, one)


def test_own_md5sums_are_kept_and_no_file_is_read_for_them():
    def never(path: str) -> str:
        raise AssertionError(path)

    one = added(package("app"), {"a": b""}, md5sums=b"own\n")._replace(md5=never)
    assert text(write(base(), one), "info/app.md5sums") == "own\n"


def test_packages_of_several_architectures_have_files_of_their_own():
    both = [added(package("lib", arch=arch, Multi_Arch="same")) for arch in ("i386", "amd64")]
    written = write(base(), *both, archs=("amd64", "i386"))
    assert text(written, "arch") == "amd64\ni386\n"
    assert f"{ROOT}/info/lib:amd64.list" in written.files
    assert f"{ROOT}/info/lib:i386.list" in written.files
    found = [line for line in text(written, "status").split("\n") if line.startswith("Arch")]
    assert found == ["Architecture: amd64", "Architecture: i386"]


def test_architectures_below_are_kept():
    lower = base(SHELL, arch=b"amd64\narmhf\n")
    assert f"{ROOT}/arch" not in write(lower, added(package("app"))).files
    assert text(write(lower, added(package("app")), archs=("amd64", "i386")), "arch") == "amd64\narmhf\ni386\n"


def test_an_upgrade_takes_the_old_control_files_away():
    lower = base(
        SHELL,
        info__dash_d_list=b"/.\n",
        info__dash_d_postinst=b"",
        info__dash_d_md5sums=b"",
        info__dash_d_static_d_list=b"",
        info__dashboard_d_list=b"",
    )
    written = write(lower, added(package("dash", "2")), replaced=dpkg.read(lower))
    assert written.removed == (f"{ROOT}/info/dash.postinst",)
    assert f"{ROOT}/info/dash.list" in written.files
    assert text(written, "status").count("Version") == 1


def test_control_files_with_odd_names_are_passed_over():
    odd = {"../../../etc/passwd": b"x", "a.b": b"x", "list": b"x", "": b"x", "new\nline": b"x"}
    written = write(base(), added(package("app"), None, **odd))
    assert {path for path in written.files if "/info/" in path} == {
        f"{ROOT}/info/{name}" for name in ("app.list", "app.md5sums", "format")
    }
    assert text(written, "info/app.list") == "/.\n"


def test_triggers_are_entered_and_those_of_replaced_packages_leave():
    triggers = b"# why\ninterest /usr/share/x # so\ninterest-noawait y\ninterest-await z\nactivate-noawait ldconfig\n"
    lower = base(
        SHELL,
        triggers__File=b"/usr/share/x dash/noawait\n/etc other\n",
        triggers__y=b"dash\n",
        triggers__z=b"other\n",
        triggers__old=b"dash/noawait\n",
        triggers__Unincorp=b"",
    )
    new = added(package("dash", "2"), triggers=triggers), added(package("lib", Multi_Arch="same"), triggers=triggers)
    written = write(lower, *new, replaced=dpkg.read(lower))
    assert text(written, "triggers/File") == "/etc other\n/usr/share/x dash\n/usr/share/x lib:amd64\n"
    assert text(written, "triggers/y") == "dash/noawait\nlib:amd64/noawait\n"
    assert text(written, "triggers/z") == "other\ndash\nlib:amd64\n"
    assert written.removed == (f"{ROOT}/triggers/old",)


@pytest.mark.parametrize(
    "line", ["interest", "interest ../x", "interest File", "interest /a b", "notify x", "interest a\x01b", "interest é"]
)
def test_triggers_that_are_not_understood(line):
    with pytest.raises(InputError, match=r"app 1: triggers: .* is not understood"):
        write(base(), added(package("app"), triggers=line.encode()))


def test_what_nobody_asked_for_is_marked_for_apt():
    new = [added(package(name, arch=arch)._replace(requested=wanted)) for name, arch, wanted in (
        ("asked", "amd64", True), ("needed", "all", False), ("lib", "i386", False))]  # fmt: skip
    written = write(base(), *new, archs=("amd64", "i386"))
    mark = b"Package: %s\nArchitecture: %s\nAuto-Installed: 1\n\n"
    marks = written.files["var/lib/apt/extended_states"].data
    assert marks == mark % (b"lib", b"i386") + mark % (b"needed", b"amd64")
    lower = with_files({path: file(made.data) for path, made in written.files.items()})
    assert {one.name: one.requested for one in dpkg.read(lower)} == {"asked": True, "needed": False, "lib": False}
    assert "var/lib/apt/extended_states" not in write(lower, archs=("amd64", "i386")).files


def test_a_package_of_status_d_moves_into_the_one_database():
    lower = base(
        status_d_d__base=b"Package: base-files\nVersion: 12\nArchitecture: amd64\n",
        status_d_d__base_d_md5sums=b"0123456789abcdef0123456789abcdef  usr/x\n",
    )
    written = write(lower, added(package("app")))
    assert written.removed == (f"{ROOT}/status.d/base", f"{ROOT}/status.d/base.md5sums")
    assert text(written, "info/base-files.list") == "/.\n/usr\n/usr/x\n"
    assert text(written, "info/base-files.md5sums") == "0123456789abcdef0123456789abcdef  usr/x\n"
    assert "Package: base-files\nStatus: install ok installed\n" in text(written, "status")


def test_status_d_has_files_of_its_own_for_each_package():
    new = added(package("app"), {"a": b"x"}, postinst=b"#!"), added(package("lib", arch="i386"))
    written = write(base(), *new, mode=PER_PACKAGE, archs=("amd64", "i386"))
    assert {path: made.data.decode() for path, made in written.files.items()} == {
        f"{ROOT}/status.d/app": "Package: app\nVersion: 1\nArchitecture: amd64\nMaintainer: x\nDescription: d\n\n",
        f"{ROOT}/status.d/app.md5sums": "9dd4e461268c8034f5c8564e155c67a6  a\n",
        f"{ROOT}/status.d/lib:i386": "Package: lib\nVersion: 1\nArchitecture: i386\nMaintainer: x\nDescription: d\n\n",
        f"{ROOT}/status.d/lib:i386.md5sums": "",
    }
    assert written.directories == written.removed == ()
    assert write(base(SHELL), *new, mode=PER_PACKAGE, archs=("amd64", "i386")) == written


def test_status_d_takes_a_replaced_package_out_of_the_database_below():
    lower = base(SHELL + b"\n" + REMOVED, info__dash_d_list=b"/.\n", info__gone_d_list=b"/.\n")
    dash = dpkg.read(lower)[0]
    written = write(lower, added(package("dash", "2")), replaced=(dash,), mode=PER_PACKAGE)
    assert written.files[f"{ROOT}/status"].data == REMOVED + b"\n"
    assert written.removed == (f"{ROOT}/info/dash.list",)
    assert f"{ROOT}/status.d/dash" in written.files


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (added(package("app"), {"a\nb": b""}), r"app 1: /a\\x0ab: a name the package database can not hold"),
        (added(package("app", Depends="x\nPackage: evil")), "'Depends'"),
        (added(package("app", **{"Evil: x\nField": "y"})), "Evil"),
        (added(package("../app")), "can not be the Package"),
    ],
)
def test_a_package_that_would_break_out_of_its_place(one, message):
    for mode in (KEEP, PER_PACKAGE):
        if mode == KEEP or "/a" not in message:
            with pytest.raises(InputError, match=message):
                write(base(), one, mode=mode)


@pytest.mark.parametrize("path", ["var", "var/lib/dpkg", "var/lib/dpkg/info"])
def test_a_file_where_the_database_has_a_directory(path):
    with pytest.raises(InputError, match=r"a file is in the way|is a file, where"):
        write(Tree(with_parents({path: file()})), added(package("app")))


def test_md5_of_content():
    assert md5_of(file(b"").content) == "d41d8cd98f00b204e9800998ecf8427e"


@given(st.binary(max_size=200), st.integers(0, len(SHELL)), st.integers(0, len(SHELL)))
def test_whatever_a_status_file_holds_there_is_an_error_or_packages_that_can_be_written(junk, start, end):
    status = SHELL[:start] + junk + SHELL[end:] + b"\n"
    try:
        found = dpkg.read(base(status))
    except InputError:
        return
    again = dpkg.read(base(write(base(status)).files[f"{ROOT}/status"].data))
    assert [(*one[:3], *one[4:]) for one in again] == sorted((*one[:3], *one[4:]) for one in found)
