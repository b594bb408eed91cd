# SPDX-License-Identifier: MIT
"""The adapter of apt: how apt-get is called, what it may choose from, and what is made of what it says."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from support.packages import package, write_feed
from support.trees import file, with_parents

from oe_oci.errors import ToolError
from oe_oci.packages import dpkg
from oe_oci.packages.feed import open_feeds
from oe_oci.packages.native import apt
from oe_oci.packages.native.apt import Apt
from oe_oci.packages.native.catalog import DebianCatalog
from oe_oci.packages.native.manager import Outcome, Place, Planned, Refused, Request
from oe_oci.packages.native.scripts import Scripts
from oe_oci.packages.native.volatile import APT, COMMON, DATED, DPKG, OPKG, REMOVED, RPM, Volatile, matcher
from oe_oci.packages.package import Installed
from oe_oci.packages.world import Policy
from oe_oci.tree import Tree

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "package-managers.md"
PACKAGES = [
    package("app", "1:1.0", "amd64", Depends="lib", Recommends="bad | good, more"),
    package("lib", "2.0"),
    package("lib", "1.0"),
    package("more", "1.0", Depends="last"),
    package("last", "1.0"),
    package("unasked", "1.0"),
    *(package(name, "1.0") for name in ("bad", "good")),
]
FAKE = """\
#!/bin/sh
if [ "$1" = --version ]; then echo "{version}"; exit; fi
if [ "$1" = --print-architecture ]; then echo amd64; exit; fi
printf '%s\\n' "$@" >>"{folder}/arguments"
cat "{folder}/says"
exit "$(cat "{folder}/status")"
"""


class Case(NamedTuple):
    apt: Apt
    folder: Path
    scratch: Path

    def say(self, text: str, status: int = 0) -> None:
        (self.folder / "says").write_text(text)
        (self.folder / "status").write_text(str(status))

    def index(self) -> dict[str, dict[str, str]]:
        """The index that apt has, by names."""
        paragraphs = (self.scratch / "feed" / "Packages").read_text().strip().split("\n\n")
        found = [dict(line.split(": ", 1) for line in paragraph.splitlines()) for paragraph in paragraphs]
        return {fields["Package"]: fields for fields in found}


def make_case(tmp_path: Path, monkeypatch, **policy) -> Case:
    folder = tmp_path / "fake"
    for name in ("fake", "root", "scratch"):
        (tmp_path / name).mkdir()
    for name, version in (("apt-get", "apt 2.6.1 (amd64)"), ("dpkg", "version 1.21.22 (amd64)."), ("dpkg-deb", "")):
        (folder / name).write_text(FAKE.format(folder=folder, version=version))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(apt, "_HOST_SETTINGS", (str(tmp_path / "dpkg.cfg"),))
    feed = write_feed(tmp_path / "feed", PACKAGES)
    feeds = open_feeds([str(feed)], kind="deb", archs=None, native="amd64", remember=None, limit=None)
    catalog = DebianCatalog(feeds, Policy("deb", "amd64", **policy))
    place = Place(str(tmp_path / "root"), str(tmp_path / "scratch"))
    case = Case(Apt(place, catalog, Scripts(place)), folder, tmp_path / "scratch")
    case.say("")
    return case


@pytest.fixture
def case(tmp_path, monkeypatch) -> Case:
    return make_case(tmp_path, monkeypatch)


def request(*installed: Installed, names: tuple[str, ...] = ("app",)) -> Request:
    return Request("one", names, installed, 0)


def resolved(case: Case, asked: Request, tree: Tree | None = None) -> list[Planned]:
    case.apt.prepare(tree or Tree(with_parents({})), asked)
    return list(case.apt.resolve(asked))


def test_tells_its_versions(case):
    assert case.apt.tool == {"name": "apt", "version": "2.6.1", "dpkg": "1.21.22"}


def test_a_dry_run_is_a_plan(case):
    case.say(
        "Inst lib [1.0] (2.0 localhost [all])\n"
        "Inst app (1:1.0 localhost [amd64]) [more:amd64 ]\n"
        "Inst odd++:arm64 (1.0~rc1+b2 localhost:stable [arm64])\n"
        "Conf lib (2.0 localhost [all])\n"
    )
    assert resolved(case, request()) == [
        Planned("lib", "2.0", "all"),
        Planned("app", "1:1.0", "amd64"),
        Planned("odd++", "1.0~rc1+b2", "arm64"),
    ]


def test_apt_may_choose_what_could_be_chosen_built_in(case):
    """The best of each name, and nothing that has no part in it; behind plain names."""
    resolved(case, request())
    index = case.index()
    assert {name: fields["Version"] for name, fields in index.items()} == {
        "app": "1:1.0",
        "lib": "2.0",
        "more": "1.0",
        "last": "1.0",
        "bad": "1.0",
        "good": "1.0",
    }
    for name, fields in index.items():
        target = os.path.basename(os.readlink(case.scratch / "feed" / fields["Filename"]))
        assert target.startswith(f"{name}_")
        assert len(fields["SHA256"]) == 64


def test_recommendations_that_are_bad_are_none(tmp_path, monkeypatch):
    case = make_case(tmp_path, monkeypatch, bad_recommendations=("bad", "more"))
    resolved(case, request())
    assert case.index()["app"]["Recommends"].strip() == "good"
    assert case.index()["app"]["Depends"] == "lib"


def test_settings_become_settings(tmp_path, monkeypatch):
    case = make_case(tmp_path, monkeypatch, recommends=False, exclude=("more",))
    resolved(case, request())
    assert "more" not in case.index()
    assert 'APT::Install-Recommends "false";' in (case.scratch / "apt.conf").read_text()


def test_all_folders_are_ours(case):
    """No path in apt's settings is this machine's, but programs."""
    resolved(case, request())
    settings = (case.scratch / "apt.conf").read_text()
    paths = set(re.findall(r'[":=](/[^":;]*)', settings))
    assert paths - {"/usr/bin", "/bin", "/dev/null"} == {
        path for path in paths if path.startswith(str(case.folder.parent))
    }
    assert f"--root={case.folder.parent / 'root'}" in settings


def test_what_lies_below_in_the_same_version_or_newer_is_not_offered(case):
    below = [Installed("lib", "2.0", "all", {}), Installed("more", "3", "all", {})]
    resolved(case, request(*below))
    assert not {"lib", "more"} & set(case.index())


def test_a_dry_run_that_fails_is_refused(case):
    case.say("Reading package lists...\nE: Unable to correct problems\n", 100)
    with pytest.raises(Refused, match="Unable to correct") as caught:
        resolved(case, request())
    assert caught.value.said == ("E: Unable to correct problems",)


def test_names_the_package_that_failed_and_why(case, tmp_path):
    resolved(case, request())
    number = sorted(case.index()).index("app")
    case.say(
        "Selecting previously unselected package app.\n"
        f"dpkg: error processing archive {case.scratch}/feed/./{number}.deb (--unpack):\n"
        " trying to overwrite '/a', which is also in package lib 2.0\n",
        100,
    )
    path = tmp_path / "feed" / "app_1.0_amd64.deb"
    assert case.apt.install(request(), ()) == Outcome(
        False,
        (
            f"dpkg: error processing archive {path} (--unpack):",
            " trying to overwrite '/a', which is also in package lib 2.0",
        ),
        "app",
        "trying to overwrite '/a', which is also in package lib 2.0",
    )


def test_names_the_package_that_was_not_configured(case):
    resolved(case, request())
    case.say("dpkg: error processing package lib (--configure):\n dependency problems - leaving unconfigured\n", 100)
    assert case.apt.install(request(), ())[2:] == ("lib", "dependency problems - leaving unconfigured")


def test_scripts_of_packages_below_are_hidden_and_come_back(case):
    """But for those of a package that is upgraded."""
    info = "var/lib/dpkg/info"
    paths = [f"{info}/{name}.{script}" for name in ("lib", "other") for script in ("postinst", "prerm", "list")]
    tree = Tree(with_parents({path: file(path.encode()) for path in paths}))
    asked = request()
    shown = case.apt.prepare(tree, asked)
    assert {path for path in paths if path in shown} == {f"{info}/lib.list", f"{info}/other.list"}
    (contents,) = [type("C", (), {"fields": {"Package": "lib", "Architecture": "all"}, "control": {}, "members": ()})]
    kept = case.apt.finish(shown, tree, asked, [contents])
    scripts = {path for path in kept if path in paths and not path.endswith(".list")}
    assert scripts == {f"{info}/other.postinst", f"{info}/other.prerm"}


def test_the_root_has_a_database_and_the_image_none_of_this_machine(case):
    tree, asked = Tree(with_parents({})), request()
    shown = case.apt.prepare(tree, asked)
    assert {"var/lib/dpkg/status", "var/lib/dpkg/info", "var/lib/apt/extended_states"} <= set(shown)
    assert dpkg.read(Tree(shown)) == ()
    assert not {"var/lib/dpkg/arch", "var/lib/apt"} & set(case.apt.finish(shown, tree, asked, []))


def test_hooks_of_this_machine_are_an_error(tmp_path, monkeypatch, case):
    (tmp_path / "dpkg.cfg").write_text("no-debsig\n# pre-invoke=none\n")
    apt._check_hooks()
    (tmp_path / "dpkg.cfg").write_text("no-debsig\npost-invoke=ls\n")
    with pytest.raises(ToolError, match=re.escape(str(tmp_path / "dpkg.cfg"))) as caught:
        apt._check_hooks()
    assert 'OCI_PACKAGE_MANAGER = "builtin"' in caught.value.hint


def test_without_apt_the_error_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="there is no apt-get on the PATH") as caught:
        apt._program("apt-get")
    assert 'OCI_PACKAGE_MANAGER = "builtin"' in caught.value.hint


# ---- what is removed or dated


@pytest.mark.parametrize(
    ("path", "removed", "dated"),
    [
        ("var/lib/dpkg/status-old", True, True),
        ("var/lib/dpkg/status", False, True),
        ("var/lib/dpkg/info/a-old", False, True),
        ("var/log/apt/history.log", True, False),
        ("var/log/apt", True, False),
        ("var/log/aptitude", False, False),
        ("srv/var/log/apt", False, False),
        ("var/cache/apt/archives/a\nb", True, False),
    ],
)
def test_what_is_removed_and_what_is_dated(path, removed, dated):
    table = (*COMMON, *DPKG, *APT)
    assert (matcher(table, REMOVED)(path), matcher(table, DATED)(path)) == (removed, dated)


@pytest.mark.parametrize(
    ("title", "table"), [("all", COMMON), ("dpkg and apt", (*DPKG, *APT)), ("opkg", OPKG), ("rpm and dnf", RPM)]
)
def test_the_documentation_has_the_tables(title, table):
    text = DOCUMENT.read_text(encoding="utf-8")
    (section,) = re.findall(rf"^### Of {title}\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| `/([^`]+)` \| ([a-z]+) \| (.*) \|$", section, re.MULTILINE)
    assert [Volatile(*row) for row in rows] == list(table)
