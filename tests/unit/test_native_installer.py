# SPDX-License-Identifier: MIT
"""What is made of what a package manager did, and what is said where it did something else than it told."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from support import trees
from support.configs import PACKAGES, config
from support.layouts import file, folder
from support.packages import package, write_feed
from support.tools import need_root

from oe_oci.config import PackagesLayer
from oe_oci.content import Literal, whole
from oe_oci.delta import apply, diff
from oe_oci.digests import Digests
from oe_oci.errors import ConfigError, InputError, ToolError
from oe_oci.packages import dpkg
from oe_oci.packages.feed import open_feeds
from oe_oci.packages.installer import policy_of
from oe_oci.packages.native.catalog import DebianCatalog
from oe_oci.packages.native.installer import NativeInstaller, Workshop
from oe_oci.packages.native.manager import Outcome, Place, Planned, Refused
from oe_oci.packages.native.root import WorkRoot
from oe_oci.packages.native.scripts import Scripts
from oe_oci.packages.native.volatile import DATED, REMOVED, Volatile
from oe_oci.packages.payload import Payloads
from oe_oci.tree import DIRECTORY, FILE, SYMLINK, Entry, Tree, ancestors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from oe_oci.packages.installer import Installation

EPOCH = 1_600_000_000
FEED = [
    package("app", files={"usr/bin/app": b"app"}, Depends="lib"),
    package(
        "lib", files=[*map(folder, ("./", "./var/", "./var/log/", "./var/log/shipped/")), file("./usr/lib/lib", b"1")]
    ),
    package("other", files={"usr/bin/other": b"other"}),
]


class Fake:
    """A package manager: puts files of names into the root, and says what a test has it say."""

    databases = ("var/lib/dpkg/",)
    volatile = (Volatile("var/log", REMOVED, "the clock"), Volatile("var/lib/dpkg", DATED, "the build"))
    not_run = ()
    changes_root = True

    def __init__(self, root: WorkRoot) -> None:
        self.root = root
        self.tool = {"name": "fake", "version": "1"}
        self.planned: list[Planned] | Refused = []
        self.outcome = Outcome(True)
        self.status: dict[str, tuple[str, str]] = {}
        self.files: dict[str, bytes] = {}
        self.seen: list[str] = []

    def prepare(self, tree: Tree, request: Any) -> dict[str, Entry]:
        self.seen = sorted(tree.entries)
        return tree.entries

    def resolve(self, request: Any) -> list[Planned]:
        if isinstance(self.planned, Refused):
            raise self.planned
        return self.planned

    def install(self, request: Any, held: Any) -> Outcome:
        for path, data in self.files.items():
            name = os.path.join(self.root.path, path)
            os.makedirs(os.path.dirname(name), exist_ok=True)
            with open(name, "wb") as file:
                file.write(data)
        text = "".join(
            f"Package: {name}\nStatus: {state}\nVersion: {version}\nArchitecture: all\n\n"
            for name, (version, state) in self.status.items()
        )
        os.makedirs(os.path.join(self.root.path, "var/lib/dpkg"), exist_ok=True)
        with open(os.path.join(self.root.path, "var/lib/dpkg/status"), "w", encoding="ascii") as file:
            file.write(text)
        return self.outcome

    def installed(self, tree: Any) -> Any:
        return dpkg.read(tree)

    def finish(self, found: Any, tree: Tree, request: Any, held: Any) -> Any:
        return found

    def will(self, *names: str, state: str = "install ok installed", **files: bytes) -> None:
        """Plan packages of version 1.0 and install them."""
        self.planned = [Planned(name, "1.0", "all") for name in names]
        self.status.update((name, ("1.0", state)) for name in names)
        self.files = {path.replace("__", "/"): data for path, data in files.items()}


class Case:
    """Layers of packages by a fake package manager, and the tree that they make."""

    def __init__(self, folder: Path, root: WorkRoot, payloads: Payloads, base: Tree, **settings: Any) -> None:
        feed = write_feed(folder / "feed", FEED)
        feeds = open_feeds([str(feed)], kind="deb", archs=None, native="amd64", remember=None, limit=None)
        packages = PACKAGES._replace(**settings)
        catalog = DebianCatalog(feeds, policy_of(packages, "deb"))
        self.tree = base
        self.manager = Fake(root)
        self.installer = NativeInstaller(
            config(packages=packages, epoch=EPOCH),
            base,
            Workshop(catalog, self.manager, Scripts(Place(root.path, root.scratch)), root, None),
            lambda found: payloads.read(found, 1),
        )

    def install(self, *names: str) -> Installation:
        found = self.installer.install(PackagesLayer("one", names), self.tree)
        digests = Digests()
        apply(
            self.tree,
            diff(self.tree, found.wanted.entries, found.wanted.removed, lambda a, b: digests(a) == digests(b)),
        )
        return found

    def refuse(self, *names: str) -> str:
        with pytest.raises((ConfigError, InputError, ToolError)) as caught:
            self.install(*names)
        return str(caught.value)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    need_root()
    with WorkRoot(str(tmp_path / "work"), EPOCH) as root, Payloads(str(tmp_path)) as payloads:

        def made(base: dict[str, Entry] | None = None, **settings: Any) -> Case:
            return Case(tmp_path, root, payloads, Tree(base or {"": Entry(DIRECTORY, 0o755)}), **settings)

        yield made


def test_what_a_tool_made_is_wanted_and_goes_on(make):
    case = make()
    case.manager.will("lib", "app", usr__bin__app=b"app", usr__lib__lib=b"1")
    found = case.install("app")
    assert [(one.name, one.asked_by) for one in found.packages.new] == [("lib", "app"), ("app", "")]
    assert found.packages.tool == {"name": "fake", "version": "1"}
    assert whole(case.tree.entries["usr/bin/app"].content) == b"app"
    assert case.tree.entries["var/lib/dpkg/status"].mtime == EPOCH
    case.manager.will("other", usr__bin__other=b"other")
    again = case.install("other", "app")
    assert sorted(again.wanted.entries) == ["usr/bin/other", "var/lib/dpkg/status"]
    assert again.packages.below == ("app 1.0",)


def test_a_layer_of_what_lies_below_asks_no_tool(make):
    case = make()
    case.manager.will("other")
    case.install("other")
    case.manager.planned = Refused(("must not be asked",))
    assert case.install("other").wanted.entries == {}


@pytest.mark.parametrize(
    ("status", "outcome", "message"),
    [
        ({}, Outcome(True), "lib 1.0 was not installed"),
        ({"lib": ("1.0", "install ok installed")}, Outcome(False), "app 1.0 was not installed"),
        ({"lib": ("1.0", "install ok unpacked")}, Outcome(True), "lib 1.0 was left 'install ok unpacked'"),
        ({"lib": ("1.0", "install reinstreq installed")}, Outcome(True), "was left 'install reinstreq installed'"),
        ({"lib": ("0.9", "install ok installed")}, Outcome(True), "lib 1.0 was not installed, but 0.9 is"),
        ({"lib": ("1.0", "deinstall ok config-files")}, Outcome(True), "lib 1.0 was not installed"),
        ({}, Outcome(False, (), "app", "its postinst failed"), "fake: app: its postinst failed"),
        ({}, Outcome(False, (), "app"), "fake: app: could not be installed"),
    ],
)
def test_the_first_package_that_is_not_there_is_named(make, status, outcome, message):
    case = make()
    case.manager.will("lib", "app")
    case.manager.status, case.manager.outcome = status, outcome
    said = case.refuse("app")
    assert message in said
    assert "layer 'one': fake: " in said


def test_what_was_not_planned_is_an_error(make):
    case = make()
    case.manager.will("lib", "app")
    case.manager.status["more"] = ("3", "install ok installed")
    assert "more 3 was installed, which it did not plan" in case.refuse("app")


def test_what_lay_below_stays(make):
    case = make()
    case.manager.will("other")
    case.install("other")
    case.manager.will("lib", "app")
    case.manager.status["other"] = ("2.0", "install ok installed")
    assert "other 1.0, which lay below, was changed" in case.refuse("app")
    del case.manager.status["other"]
    assert "other 1.0, which lay below, was removed" in case.refuse("app")


def test_all_is_there_but_the_tool_failed(make):
    case = make()
    case.manager.will("lib", "app")
    case.manager.outcome = Outcome(False, ("it is sorry",))
    said = case.refuse("app")
    assert "layer 'one': fake: failed to install app" in said
    assert "fake says:" in said
    assert "it is sorry" in said


def test_what_is_refused_is_explained(make):
    """By the reasons that the built-in installer finds, where it too finds no way, and by the tool's words."""
    case = make(exclude=("lib",))
    case.manager.planned = Refused(("no lib, no app",))
    said = case.refuse("app")
    assert "PACKAGE_EXCLUDE" in said
    assert "no lib, no app" in said
    case = make()
    case.manager.planned = Refused(("I do not want to",))
    said = case.refuse("app")
    assert "layer 'one': fake finds no way to install app" in said
    assert "I do not want to" in said


def test_a_package_from_elsewhere_is_an_error(make):
    case = make()
    case.manager.planned = [Planned("app", "7", "all")]
    assert "fake means to install app 7 for all, which no feed has" in case.refuse("app")


@pytest.fixture
def hooks(tmp_path, monkeypatch) -> Path:
    """A folder of intercepts."""
    (tmp_path / "hooks").mkdir()
    monkeypatch.setenv("INTERCEPT_DIR", str(tmp_path / "hooks"))
    return tmp_path / "hooks"


def asks(case: Any, name: str) -> None:
    """Have a script of the packages that the tool installs ask for an intercept."""
    install, hook = case.manager.install, os.path.join(case.manager.root.scratch, "hooks", name)

    def installed(request: Any, held: Any) -> Outcome:
        os.chmod(hook, 0o755)
        with open(hook, "a", encoding="ascii") as file:
            file.write("##PKGS: lib other \n")
        return install(request, held)

    case.manager.install = installed


def test_what_an_intercept_makes_is_in_the_layer(make, hooks):
    (hooks / "fonts").write_text("#!/bin/sh\necho fonts >$D/fonts\n")
    case = make()
    case.manager.will("other")
    asks(case, "fonts")
    case.install("other")
    assert whole(case.tree.entries["fonts"].content) == b"fonts\n"


def test_an_intercept_that_fails_is_an_error(make, hooks):
    (hooks / "fonts").write_text("#!/bin/sh\necho no fonts\nexit 3\n")
    case = make()
    case.manager.will("other")
    asks(case, "fonts")
    said = case.refuse("other")
    assert "layer 'one': fake: the intercept fonts, for which lib, other asked, ended with status 3" in said
    assert "no fonts" in said


def test_an_intercept_for_the_first_boot_is_told_of(make, hooks, caplog):
    (hooks / "delay_to_first_boot").write_text("#!/bin/sh\nexit 1\n")
    case = make()
    case.manager.will("other")
    asks(case, "delay_to_first_boot")
    case.install("other")
    (record,) = caplog.records
    assert "the intercept delay_to_first_boot, for which lib, other asked, is left to the first boot" in record.message


def test_rights_that_are_missing_have_a_way_out(make):
    case = make()
    case.manager.will("other")
    case.manager.outcome = Outcome(False, (), "other", "mknod: Operation not permitted")
    assert 'OCI_PACKAGE_MANAGER = "builtin"' in case.refuse("other")


def test_what_no_build_has_twice_is_not_there(make):
    """But for what lay below, which is as it was, and for what a package ships."""
    case = make(trees.entries(var__log__kept=b"mine"))
    files = {"var__log__today": b"now", "var__log__shipped__today": b"now", "var__log__kept": b"mine, and more"}
    case.manager.will("lib", **files)
    case.install("lib")
    assert [path for path in case.tree.entries if path.startswith("var/log/")] == ["var/log/kept", "var/log/shipped"]
    assert whole(case.tree.entries["var/log/kept"].content) == b"mine"
    case.manager.will("other")
    case.install("other")
    root = os.path.join(case.manager.root.path, "var/log")
    assert sorted(os.listdir(root)) == ["kept", "shipped"]
    with open(os.path.join(root, "kept"), "rb") as kept:
        assert kept.read() == b"mine"


def test_without_the_database_the_tool_has_it_and_the_image_not(make):
    case = make(database="remove")
    case.manager.will("lib", usr__lib__lib=b"1")
    case.install("lib")
    assert [path for path in case.tree.entries if path.startswith("var")] == []
    case.manager.will("app", usr__bin__app=b"app")
    found = case.install("app")
    assert "var/lib/dpkg/status" in case.manager.seen
    assert [one.name for one in found.packages.new] == ["app"]
    assert [path for path in case.tree.entries if path.startswith("var")] == []


def test_the_database_comes_in_the_end(make):
    case = make(database="top")
    case.manager.will("lib", "app")
    case.install("app")
    database = case.installer.database(case.tree)
    assert set(database.entries) == {"var", "var/lib", "var/lib/dpkg", "var/lib/dpkg/status"}


@pytest.mark.parametrize("database", ["remove", "top"])
@pytest.mark.parametrize(
    ("path", "kind", "there"),
    [
        ("var/lib", FILE, "/var/lib is a file of a layer, and the database of packages has a directory there"),
        (
            "var/lib/dpkg",
            SYMLINK,
            "/var/lib/dpkg is a symlink of a layer, and the database of packages has a directory",
        ),
        (
            "var/lib/dpkg/status",
            DIRECTORY,
            "/var/lib/dpkg/status is a directory of a layer, and the database of packages has a file",
        ),
    ],
)
def test_what_is_in_the_place_of_a_database_that_is_withheld_is_told_of(make, database, path, kind, there):
    case = make(database=database)
    case.manager.will("lib", usr__lib__lib=b"1")
    case.install("lib")
    for up in reversed(list(ancestors(path))):
        case.tree.put(up, Entry(DIRECTORY, 0o755))
    case.tree.put(path, Entry(kind, 0o755, content=Literal(b"") if kind == FILE else None, target="away"))
    case.manager.will("other", usr__bin__other=b"")
    said = case.refuse("other")
    assert there in said
    assert 'OCI_PACKAGE_DATABASE = "keep"' in said
    with pytest.raises(InputError, match="and the database of packages has a"):
        case.installer.database(case.tree)


def test_a_layer_of_another_kind_brings_packages(make):
    case = make()
    case.manager.will("other", usr__bin__other=b"")
    case.install("other")
    status = case.tree.entries["var/lib/dpkg/status"]
    text = whole(status.content) + b"Package: lib\nStatus: install ok installed\nVersion: 1.0\nArchitecture: all\n\n"
    case.tree.put("var/lib/dpkg/status", status._replace(size=len(text), content=Literal(text)))
    case.installer.notice(case.tree, ["var/lib/dpkg/status"])
    case.manager.will("app", usr__bin__app=b"app")
    case.manager.status["lib"] = ("1.0", "install ok installed")
    assert [one.name for one in case.install("app").packages.new] == ["app"]
