# SPDX-License-Identifier: MIT
"""How dnf is called, and what is read of its answers; dnf itself is in tests/e2e/test_install_with_dnf.py."""

from __future__ import annotations

import pytest
from support.rpmfeeds import facts, opened, package, write_feed

from oe_oci.config import Accounts
from oe_oci.errors import ToolError
from oe_oci.packages.native import dnf
from oe_oci.packages.native.dnfplugin import Failure, Item, failures, read_plan, unknown_owners
from oe_oci.packages.native.manager import Place
from oe_oci.packages.native.repository import Repository, configured, repositories
from oe_oci.packages.native.scripts import Scripts
from oe_oci.packages.world import Policy

NOBODY = Accounts()
POLICY = Policy("rpm", "amd64")

# Of runs of dnf 4.14 and rpm 4.18, as the plugin wrote them.
POST = """\
@["package", "lib"]
@["package", "app"]
warning: %post(app-1.0-1.noarch) scriptlet failed, exit status 3
@["error", "Error in POSTIN scriptlet in rpm package app"]
@["output", "hello from app\\n"]
"""
TRIGGER = """\
@["package", "my-app"]
warning: %transfiletriggerin(my-app-1:1.0~rc1-1.x86_64) scriptlet failed, signal 9
@["error", "Error in <unknown> scriptlet in rpm package my-app"]
"""
LUA = """\
@["package", "app"]
error: lua script failed: [string "%pretrans(app-1.0-1.noarch)"]:1: no luck
@["error", "Error in PRETRANS scriptlet in rpm package app"]
"""
SHELL = """\
@["package", "app"]
error: failed to exec scriptlet interpreter /bin/sh: No such file or directory
warning: %post(app-1.0-1.noarch) scriptlet failed, exit status 127
"""
OWNER = """\
@["package", "app"]
error: failed to open /etc/passwd for id/name lookup: No such file or directory
warning: user web does not exist - using root
"""
DEVICE = """\
@["package", "dev"]
@["error", "Error unpacking rpm package dev-1.0-1.noarch"]
error: unpacking of archive failed on file /dev/null;6a0b: cpio: mknod failed - Operation not permitted
error: dev-1.0-1.noarch: install failed
"""
OLDER = '@["package", "app"]\n@["error", "Non-fatal POSTIN scriptlet failure in rpm package app"]\n'
FINE = """\
@["package", "app"]
warning: /etc/app.conf created as /etc/app.conf.rpmnew
@["output", "error: said by a scriptlet that went well\\n"]
"""


@pytest.mark.parametrize(
    ("text", "package", "reason"),
    [
        (POST, "app", "its %post scriptlet failed: exit status 3"),
        (TRIGGER, "my-app", "its %transfiletriggerin scriptlet failed: signal 9"),
        (LUA, "app", "its %pretrans scriptlet failed: line 1: no luck"),
        (SHELL, "app", "/bin/sh, which a scriptlet of it needs, can not be run: No such file or directory"),
        (DEVICE, "dev", "/dev/null can not be made: mknod failed - Operation not permitted"),
        (OLDER, "app", "its POSTIN scriptlet failed"),
    ],
)
def test_what_went_wrong_is_read(text, package, reason):
    assert failures(text)[0][:2] == (package, reason)


def test_all_that_was_said_of_the_package_is_kept():
    first = failures(POST)[0]
    assert first == Failure(
        "app",
        "its %post scriptlet failed: exit status 3",
        (
            "warning: %post(app-1.0-1.noarch) scriptlet failed, exit status 3",
            "Error in POSTIN scriptlet in rpm package app",
            "hello from app",
        ),
    )


def test_owners_that_rpm_does_not_know_are_read():
    assert unknown_owners(OWNER) == [("app", "user", "web")]
    assert failures(OWNER) == unknown_owners(POST) == []


def test_what_went_well_is_no_failure():
    assert failures(FINE) == []
    assert failures("") == []


@pytest.mark.parametrize("line", ["@", "@[", '@["output"]', "@7", '@{"a": 1}', '@["package", null]', "@[[], {}]"])
def test_a_line_that_is_no_event_is_one_of_rpms(line):
    first = failures(f"{line}\nerror: no luck\n")[0]
    assert first == Failure("", "no luck", (line, "error: no luck"))


def test_a_plan_is_read():
    text = '[["INSTALL", "app", "2:1.0-1", "noarch", ""], ["UPGRADED", "lib", "1-1", "x86_64", "/run/fifo"]]'
    assert read_plan(text) == [
        Item("INSTALL", "app", "2:1.0-1", "noarch"),
        Item("UPGRADED", "lib", "1-1", "x86_64", "/run/fifo"),
    ]


@pytest.mark.parametrize("text", ["", "[", "7", '[["INSTALL"]]', "[7]"])
def test_what_is_no_plan_is_an_error(text):
    with pytest.raises(ToolError, match="can not be read"):
        read_plan(text)


@pytest.mark.parametrize(
    ("archs", "text"),
    [
        (["noarch", "any", "core2-64", "qemux86-64"], "qemux86_64:core2_64:none"),
        (["noarch", "x86_64"], "x86_64:none"),
        (["all"], "none"),
    ],
)
def test_the_last_architecture_is_the_best(archs, text):
    assert dnf._preferences(archs) == text


def test_a_capability_belongs_to_no_user_namespace():
    third = b"\1\0\0\3" + bytes(range(16)) + b"\xe8\3\0\0"
    second = b"\1\0\0\2" + bytes(range(16))
    assert dnf._without_namespace(("security.capability", third)) == ("security.capability", second)
    for other in (("security.capability", second), ("user.capability", third), ("security.capability", b"")):
        assert dnf._without_namespace(other) == other


def test_repositories_have_what_the_built_in_installer_finds(tmp_path):
    """Also what lies below a folder with metadata that do not list it, and no more than that."""
    indexed = write_feed(tmp_path / "one", "a 1")
    write_feed(tmp_path / "two" / "inner", "b 1")
    for text, folder in (
        ("a 1", indexed),
        ("x 1", indexed),
        ("c 1", indexed / "deep" / "er"),
        ("d 1", tmp_path / "two"),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        package(facts(text)).write(folder)
    (tmp_path / "two" / "e-1-1.src.rpm").touch()
    feeds = opened(indexed, tmp_path / "two")
    assert feeds.names() == {"a", "b", "c", "d"}
    assert repositories(feeds) == [
        Repository(str(indexed), 0),
        Repository(str(indexed), 0, ("deep/er/c-1-1.x86_64.rpm",)),
        Repository(str(tmp_path / "two" / "inner"), 1),
        Repository(str(tmp_path / "two"), 1, ("d-1-1.x86_64.rpm",)),
    ]


def test_the_first_feed_goes_before_the_others_and_odd_names_are_escaped():
    text = configured([(0, "/a b%$arch"), (1, "/c")])
    assert "baseurl=file:///a%20b%25%24arch\npriority=1\n" in text
    assert "baseurl=file:///c\npriority=2\n" in text


def make(tmp_path, monkeypatch, root: str = "root", **programs: str) -> dnf.Dnf:
    """An adapter where these programs, by their names, are all that is on the PATH, each saying its version."""
    (tmp_path / "bin").mkdir()
    for name, version in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\necho {version}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    place = Place(str(tmp_path / root), str(tmp_path / "scratch"))
    return dnf.Dnf(place, [], ["noarch"], POLICY, NOBODY, Scripts(place))


def test_where_there_is_no_dnf_the_error_has_the_ways_out(tmp_path, monkeypatch):
    with pytest.raises(ToolError, match="there is no dnf on the PATH") as caught:
        make(tmp_path, monkeypatch)
    assert 'OCI_PACKAGE_MANAGER = "builtin"' in caught.value.hint


@pytest.mark.parametrize("said", ["'dnf5 version 5.2.6.2'", "5.1.0"])
def test_dnf_5_is_an_error(tmp_path, monkeypatch, said):
    with pytest.raises(ToolError, match=r"bin/dnf is dnf 5\..*, and dnf 4 is needed"):
        make(tmp_path, monkeypatch, dnf=said, rpm="4.20.1")


def test_a_folder_whose_name_dnf_would_change_is_an_error(tmp_path, monkeypatch):
    with pytest.raises(ToolError, match=r"takes the \$ in"):
        make(tmp_path, monkeypatch, "$arch", dnf="4.14.0", rpm="4.18.0")
