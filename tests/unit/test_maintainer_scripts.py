# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from support import headers

from oe_oci.packages.maintainer.scripts import (
    AFTER,
    BEFORE,
    FIRST,
    LAST,
    LUA,
    PHASES,
    PLACED,
    REMOVED,
    Script,
    changes,
    deb_scripts,
    environment,
    interpreter_of,
    ipk_scripts,
    rpm_scripts,
)
from oe_oci.packages.package import Installed, Package
from oe_oci.packages.resolve import Selected
from oe_oci.packages.rpm import tags
from oe_oci.packages.rpm.header import Header

NAMES = ("preinst", "postinst", "prerm", "postrm", "config")
CONTROL = {name: f"#!/bin/sh\n: new {name}\n".encode() for name in NAMES}
FORMER = {name: f"#!/bin/sh\n: old {name}\n".encode() for name in NAMES}


def package(name: str = "shop", version: str = "2", arch: str = "amd64") -> Package:
    return Package(name, version, arch, {}, f"/feed/{name}.deb", None, None, 0)


def installed(
    name: str = "shop", version: str = "1", arch: str = "amd64", state: str = "installed", **fields
) -> Installed:
    return Installed(name, version, arch, fields, f"install ok {state}")


def called(scripts, old: Installed | None = None, below=(), control=CONTROL) -> list[tuple[str, ...]]:
    """Whose script is called with what words, in all phases."""
    below = [*below, *([old] if old else [])]
    (change,) = changes([Selected(package(), "", old)], [control], below, {("shop", "amd64"): FORMER} if old else {})
    found = [(phase, script) for phase in PHASES for script in scripts(change, phase)]
    return [(phase, script.data.split()[2].decode(), script.name, *script.words) for phase, script in found]


class TestDeb:
    def test_an_installation(self):
        found = [(BEFORE, "new", "preinst", "install"), (AFTER, "new", "postinst", "configure", "")]
        assert called(deb_scripts) == found

    def test_an_upgrade(self):
        assert called(deb_scripts, installed()) == [
            (BEFORE, "old", "prerm", "upgrade", "2"),
            (BEFORE, "new", "preinst", "upgrade", "1", "2"),
            (PLACED, "old", "postrm", "upgrade", "2"),
            (AFTER, "new", "postinst", "configure", "1"),
        ]

    def test_configuration_that_was_left(self):
        left = installed(state="config-files", **{"Config-Version": "0.9"})
        assert called(deb_scripts, below=[left, installed("other"), installed(arch="i386")]) == [
            (BEFORE, "new", "preinst", "install", "0.9", "2"),
            (AFTER, "new", "postinst", "configure", "0.9"),
        ]

    def test_what_was_never_configured(self):
        old = installed(state="unpacked", **{"Config-Version": "0.9"})
        assert called(deb_scripts, old)[1:] == [
            (BEFORE, "new", "preinst", "upgrade", "1", "2"),
            (PLACED, "old", "postrm", "upgrade", "2"),
            (AFTER, "new", "postinst", "configure", "0.9"),
        ]
        assert called(deb_scripts, below=[installed(state="not-installed")])[0][2:] == ("preinst", "install")

    def test_a_package_without_scripts(self):
        assert called(deb_scripts, control={"control": b""}) == []

    def test_architectures_of_one_name(self):
        selected = [Selected(package(arch=arch), "", None) for arch in ("amd64", "arm64")]
        below = [installed(arch="i386"), installed(arch="armhf", state="not-installed"), installed("other")]
        found = changes(selected, [CONTROL, CONTROL], below, {})
        assert [one.instances for one in found] == [3, 3]
        assert environment(deb_scripts(found[1], AFTER)[0])["DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT"] == "3"

    def test_another_architecture_takes_the_place_of_one(self):
        old = installed(arch="all")
        (change,) = changes([Selected(package(), "", old)], [CONTROL], [old], {("shop", "all"): FORMER})
        assert change.instances == 1
        assert [(one.name, one.arch) for one in deb_scripts(change, BEFORE)] == [("prerm", "all"), ("preinst", "amd64")]


class TestIpk:
    def test_an_installation(self):
        found = [(BEFORE, "new", "preinst", "install"), (AFTER, "new", "postinst", "configure")]
        assert called(ipk_scripts) == found
        assert called(ipk_scripts, below=[installed(state="config-files")]) == found

    def test_an_upgrade(self):
        assert called(ipk_scripts, installed()) == [
            (BEFORE, "old", "prerm", "upgrade", "2"),
            (BEFORE, "new", "preinst", "upgrade", "1"),
            (PLACED, "old", "postrm", "upgrade", "2"),
            (AFTER, "new", "postinst", "configure"),
        ]


@pytest.mark.parametrize(
    ("data", "interpreter"),
    [
        (b"#!/bin/sh\ntrue\n", ("/bin/sh",)),
        (b"#! /usr/bin/perl -w -T \n", ("/usr/bin/perl", "-w -T")),
        (b"#!/usr/bin/env python3", ("/usr/bin/env", "python3")),
        (b"#!/bin/sh\r\n", ("/bin/sh",)),
        (b"#!/bin/b\xe4\n", ("/bin/b\udce4",)),
        (b"true\n", ("/bin/sh",)),
        (b"#!\n/bin/x\n", ("/bin/sh",)),
        (b"", ("/bin/sh",)),
        (b"\x7fELF\x02", ()),
    ],
)
def test_what_runs_a_script(data, interpreter):
    assert interpreter_of(data) == interpreter


class TestEnvironment:
    def test_of_dpkg(self):
        script = Script("deb", "shop", "amd64", "postinst", (), b"")
        own = {
            "DPKG_MAINTSCRIPT_ARCH": "amd64",
            "DPKG_MAINTSCRIPT_DEBUG": "0",
            "DPKG_MAINTSCRIPT_NAME": "postinst",
            "DPKG_MAINTSCRIPT_PACKAGE": "shop",
            "DEBIAN_FRONTEND": "noninteractive",
            "DEBCONF_NONINTERACTIVE_SEEN": "true",
            "DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT": "1",
        }
        assert environment(script) == {
            "DPKG_ADMINDIR": "/var/lib/dpkg",
            "DPKG_ROOT": "",
            **own,
        }
        offline = dict.fromkeys(("D", "OFFLINE_ROOT", "IPKG_OFFLINE_ROOT", "OPKG_OFFLINE_ROOT", "DPKG_ROOT"), "/r")
        assert environment(script, "/r") == {**offline, "DPKG_ADMINDIR": "/r/var/lib/dpkg", **own}

    def test_of_opkg(self):
        script = Script("ipk", "shop", "all", "postinst", (), b"")
        assert environment(script) == {"PKG_ROOT": "/"}
        assert environment(script, "/r")["PKG_ROOT"] == "/r/"
        assert environment(script, "/r")["D"] == "/r"

    def test_of_rpm(self):
        script = Script("rpm", "shop", "noarch", "postin", (), b"")
        assert environment(script) == {}
        prefixes = {f"RPM_INSTALL_PREFIX{end}": path for end, path in (("", "/usr"), ("0", "/usr"), ("1", "/opt"))}
        assert environment(script._replace(prefixes=("/usr", "/opt"))) == prefixes


# ---- rpm


def header(name: str, version: str, **scripts) -> Header:
    known = {
        "pretrans": tags.PRETRANS,
        "prein": tags.PREIN,
        "postin": tags.POSTIN,
        "preun": tags.PREUN,
        "postun": tags.POSTUN,
        "posttrans": tags.POSTTRANS,
    }
    texts = {f"_{known[script]}": f"{script} {version}" for script in known}
    return Header(headers.package(name, version, **{**texts, **scripts})[1], name)


def below(name: str, version: str = "1", **scripts) -> Installed:
    return installed(name, version)._replace(header=header(name, version, **scripts))


def run(*gone: Installed) -> list[tuple[str, str, str, tuple[str, ...]]]:
    """Of each script that runs the phase, the package, the text and the words."""
    selected = Selected(package("shop", "2"), "", gone[0] if gone else None, gone[1:])
    new = header("shop", "2")
    found = [(phase, script) for phase in PHASES for script in rpm_scripts(selected, new, phase)]
    assert all(script.name == script.data.decode().split()[0] for _, script in found)
    return [(phase, script.package, script.data.decode(), script.words) for phase, script in found]


def of_shop(*counts: str) -> list[tuple[str, str, str, tuple[str, ...]]]:
    phases = (FIRST, "pretrans"), (BEFORE, "prein"), (AFTER, "postin"), (LAST, "posttrans")
    return [(phase, "shop", f"{name} 2", (count,)) for (phase, name), count in zip(phases, counts)]


class TestRpm:
    def test_an_installation(self):
        assert run() == of_shop("1", "1", "1", "1")

    def test_an_upgrade(self):
        new = of_shop("2", "2", "2", "2")
        old = [(REMOVED, "shop", "preun 1", ("1",)), (REMOVED, "shop", "postun 1", ("1",))]
        assert run(below("shop")) == [*new[:3], *old, new[3]]

    def test_what_is_obsoleted(self):
        new = of_shop("1", "1", "1", "2")
        old = [(REMOVED, "kiosk", "preun 1", ("0",)), (REMOVED, "kiosk", "postun 1", ("0",))]
        assert run(below("kiosk")) == [*new[:3], *old, new[3]]

    def test_several_versions_below(self):
        found = run(below("shop", "1.1"), below("shop", "1.0"), below("kiosk"))
        assert found[:3] == of_shop("3", "3", "3")
        assert [(one, text, *words) for _, one, text, words in found[3:-1]] == [
            ("shop", "preun 1.1", "2"),
            ("shop", "postun 1.1", "2"),
            ("shop", "preun 1.0", "1"),
            ("shop", "postun 1.0", "1"),
            ("kiosk", "preun 1", "0"),
            ("kiosk", "postun 1", "0"),
        ]

    def test_interpreters(self):
        made = header("shop", "2", _1086=["/usr/bin/perl", "-w"], _1085="<lua>", _5021=3, _1098=["/usr"])
        selected = Selected(package(), "", None)
        (after,) = rpm_scripts(selected, made, AFTER)
        (before,) = rpm_scripts(selected, made, BEFORE)
        assert (after.interpreter, after.flags) == (("/usr/bin/perl", "-w"), tags.SCRIPT_EXPAND | tags.SCRIPT_QFORMAT)
        assert (before.interpreter, before.flags, before.prefixes) == ((LUA,), 0, ("/usr",))
        assert rpm_scripts(selected, made, FIRST)[0].interpreter == ("/bin/sh",)

    def test_a_program_without_a_text_gets_no_word(self):
        values = {1000: "shop", 1022: "noarch", 1086: "/sbin/ldconfig"}
        made = Header(headers.header(values, headers.IMMUTABLE), "shop")
        (script,) = rpm_scripts(Selected(package(), "", None), made, AFTER)
        assert (script.interpreter, script.data, script.words) == (("/sbin/ldconfig",), b"", ())
        assert rpm_scripts(Selected(package(), "", None), made, BEFORE) == []
