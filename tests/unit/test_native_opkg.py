# SPDX-License-Identifier: MIT
"""The adapter of opkg: what it makes of what opkg said in recorded runs, how opkg is called, and what it leaves."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from support.packages import index_of, package, write_feed
from support.trees import file, with_parents

from oe_oci.errors import ToolError
from oe_oci.packages.feed import open_feeds
from oe_oci.packages.native import manager
from oe_oci.packages.native.catalog import DebianCatalog
from oe_oci.packages.native.manager import Place, Planned, Refused, Request
from oe_oci.packages.native.opkg import Opkg, coming, complaints, dated, failure, going, plainly, telling
from oe_oci.packages.native.scripts import Scripts
from oe_oci.packages.package import Installed
from oe_oci.packages.world import Policy
from oe_oci.tree import Tree

DATA = Path(__file__).parents[1] / "data"
VERSIONS = ("0.6", "0.9")


class Said(NamedTuple):
    text: str
    status: int


def recorded(version: str) -> dict[str, Said]:
    """What opkg said in recorded runs, by what each is about."""
    text = (DATA / f"opkg-{version}.txt").read_text(encoding="utf-8")
    runs = re.findall(r"(?ms)^# ([a-z ]+)\n\$ opkg [^\n]*\n(.*?)^=> ([0-9]+)$", text)
    return {name: Said(said, int(status)) for name, said, status in runs}


@pytest.fixture(scope="module", params=VERSIONS)
def said(request) -> dict[str, Said]:
    return recorded(request.param)


# ---- what opkg says


def test_a_dry_run_tells_what_comes_and_what_it_replaces(said):
    assert coming(said["dry run"].text) == [("lib+x", ""), ("rec", ""), ("app", "")]
    assert coming(said["upgrade"].text) == [("conf", "conf"), ("lib+x", "lib+x")]
    assert coming(said["renamed"].text) == [("rename", "rec")]
    assert coming(said["nothing to do"].text) == []


def test_a_dry_run_tells_what_would_go(said):
    assert going(said["removal"].text) == ["pulled"]
    assert going(said["renamed"].text) == []


FAILED = {
    "clash": ("clash", "/stage/root/usr/share/app: that file is already provided by package app"),
    "clash of kinds": ("clashdir", "/stage/root/usr/share/app: that path is currently a file"),
    "preinst": ("failpre", "its preinst failed"),
    "prerm": ("stubborn", "the prerm of what it upgrades failed"),
    "postinst": ("failpost", "its postinst ended with status 4"),
    "killed": ("killed", "its postinst ended with status 137"),
}


@pytest.mark.parametrize("run", FAILED)
def test_names_the_package_that_failed_and_why(said, run):
    assert failure(said[run].text, ["app", FAILED[run][0]]) == FAILED[run]


def test_a_package_below_that_still_fails_is_not_what_failed(said):
    assert "failpost.postinst returned 4" in said["killed"].text
    assert failure(said["killed"].text, ["noisy"]) == ("", "")


@pytest.mark.parametrize("run", ["unknown", "unsatisfiable", "conflict", "no feed", "clash", "broken", "bad line"])
def test_errors_are_read_from_the_output_whatever_the_status(said, run):
    assert complaints(said[run].text)


@pytest.mark.parametrize(
    "run", ["update", "dry run", "install", "nothing to do", "noisy", "changed conffile", "ignored"]
)
def test_what_scripts_print_is_no_error_of_opkg(said, run):
    assert (said[run].status, complaints(said[run].text)) == (0, [])


def test_progress_is_left_out_of_what_it_said(said):
    assert telling(said["install"].text) == ()
    assert telling(said["preinst"].text)[0] == "error: no disk"
    assert telling(said["unsatisfiable"].text) == (
        "Solver encountered 1 problem(s):",
        "Problem 1/1:",
        "  - conflicting requests",
        "  - nothing provides nothere >= 3 needed by needs-nothing-1.0-r0.all",
        "Solution 1:",
        "  - do not ask to install a package providing needs-nothing",
    )


# ---- what opkg writes

STATUS = b"""\
Package: new
Version: 1
Status: install ok installed
Architecture: all
Installed-Time: 1795908963

Package: below
Version: 1
Status: install user installed
Architecture: all
Installed-Time: 1500000000
Auto-Installed: yes

"""


def test_new_packages_were_installed_at_the_epoch_and_others_when_they_were():
    below = STATUS[STATUS.index(b"Package: below") :]
    new = STATUS[: STATUS.index(b"Package: below")]
    assert dated(STATUS, {"new"}, 1600000000) == below + new.replace(b"1795908963", b"1600000000")
    assert dated(STATUS, {"new"}, 0) == below + new.replace(b"Installed-Time: 1795908963\n", b"")


# ---- how opkg is called


PACKAGES = [
    package("app", "1:1.0-r0", "core2-64", kind="ipk", Depends="lib", Recommends="more"),
    package("lib", "2.0-r0", "all", kind="ipk"),
    package("lib", "1.0-r0", "all", kind="ipk"),
    package("more", "1.0-r0", "all", kind="ipk", Depends="bad"),
    package("bad", "1.0-r0", "all", kind="ipk"),
]
FAKE = """\
#!/bin/sh
if [ "$1" = --version ]; then echo "opkg version 0.9.0+git (libsolv 0.7.23)"; exit; fi
env >"{folder}/environment"; umask >>"{folder}/umask"
printf '%s\\n' "$@" >>"{folder}/arguments"
case " $* " in *" update "*) cat "{folder}/updates" ;; *) cat "{folder}/says" ;; esac
"""


class Case(NamedTuple):
    opkg: Opkg
    folder: Path

    def say(self, text: str) -> None:
        (self.folder / "says").write_text(text)

    def variables(self) -> dict[str, str]:
        lines = (self.folder / "environment").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def request(self, *installed: Installed, names: tuple[str, ...] = ("app",), epoch: int = 0) -> Request:
        return Request("one", names, installed, epoch)


@pytest.fixture
def case(tmp_path, monkeypatch) -> Case:
    return make_case(tmp_path, monkeypatch, Policy("ipk", "amd64"))


def make_case(tmp_path: Path, monkeypatch, policy: Policy, archs: tuple[str, ...] = ("all", "core2-64")) -> Case:
    folder = tmp_path / "fake"
    for name in ("fake", "root", "scratch"):
        (tmp_path / name).mkdir()
    (folder / "says").write_text("Installing app (1.0) on root\n")
    (folder / "updates").write_text("Updated source 'packages'.\n")
    (folder / "opkg").write_text(FAKE.format(folder=folder))
    (folder / "opkg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    feed = write_feed(tmp_path / "feed", PACKAGES)
    feeds = open_feeds([str(feed)], kind="ipk", archs=archs, native="amd64", remember=None, limit=None)
    place = Place(str(tmp_path / "root"), str(tmp_path / "scratch"))
    scripts = Scripts(place)
    scripts.prepare()
    return Case(Opkg(place, DebianCatalog(feeds, policy), scripts), folder)


def test_plans_the_packages_of_the_index(case):
    case.say(
        "Upgrading lib (1.0-r0) to lib (2.0) on root\nInstalling bad (1.0) on root\nUpgrading app to 1.0 on root\n"
    )
    planned = case.opkg.resolve(case.request(names=("app", "lib")))
    assert planned == [
        Planned("lib", "2.0-r0", "all"),
        Planned("bad", "1.0-r0", "all"),
        Planned("app", "1:1.0-r0", "core2-64"),
    ]


def test_the_index_has_what_may_be_taken_behind_plain_names(case, tmp_path):
    case.opkg.resolve(case.request())
    index = (tmp_path / "scratch/feed/Packages").read_text()
    found = dict(re.findall(r"(?ms)^Package: (\S+)$.*?^Filename: (\S+)$", index))
    targets = {name: os.path.basename(os.readlink(tmp_path / "scratch/feed" / path)) for name, path in found.items()}
    assert targets == {
        "app": "app_1.0-r0_core2-64.ipk",
        "lib": "lib_2.0-r0_all.ipk",
        "more": "more_1.0-r0_all.ipk",
        "bad": "bad_1.0-r0_all.ipk",
    }
    assert "Version: 1:1.0-r0\n" in index
    assert f"Size: {len(PACKAGES[0].data)}\n" in index


def test_all_folders_of_opkg_but_its_database_are_outside_the_root(case, tmp_path):
    case.opkg.resolve(case.request())
    lines = (tmp_path / "scratch/opkg.conf").read_text().splitlines()
    options = dict(line.split(" ")[1:] for line in lines if line.startswith("option "))
    scratch = str(tmp_path / "scratch")
    for name in ("lists_dir", "cache_dir", "lock_file", "intercepts_dir"):
        assert os.path.normpath(f"{tmp_path}/root/{options[name]}").startswith(f"{scratch}/")
    assert options["tmp_dir"].startswith(scratch)
    assert (options["info_dir"], options["status_file"]) == ("/var/lib/opkg/info", "/var/lib/opkg/status")


def test_the_database_of_older_systems_is_gone_on_with(case, tmp_path):
    (tmp_path / "root/usr/lib/opkg").mkdir(parents=True)
    (tmp_path / "root/usr/lib/opkg/status").write_text("")
    case.opkg.resolve(case.request())
    assert "option status_file /usr/lib/opkg/status\n" in (tmp_path / "scratch/opkg.conf").read_text()


def test_architectures_have_their_priorities_and_those_below_are_known(case, tmp_path):
    case.opkg.resolve(case.request(Installed("old", "1", "armv5te", {})))
    text = (tmp_path / "scratch/opkg.conf").read_text()
    assert re.findall(r"(?m)^arch (\S+) ([0-9]+)$", text) == [
        ("any", "1"),
        ("armv5te", "2"),
        ("noarch", "3"),
        ("all", "4"),
        ("core2-64", "5"),
    ]


def test_scripts_know_the_root_and_run_with_the_usual_modes(case, tmp_path, monkeypatch):
    umask = os.umask(0o077)
    try:
        case.opkg.resolve(case.request(epoch=1600000000))
        assert "--force-postinstall" not in (case.folder / "arguments").read_text().split()
        case.opkg.install(case.request(epoch=1600000000), ())
    finally:
        os.umask(umask)
    variables = case.variables()
    assert (variables["D"], variables["SOURCE_DATE_EPOCH"]) == (str(tmp_path / "root"), "1600000000")
    assert "--force-postinstall" in (case.folder / "arguments").read_text().split()
    assert set((case.folder / "umask").read_text().split()) == {"0022"}


def test_settings_of_packages_become_options(tmp_path, monkeypatch):
    policy = Policy("ipk", "amd64", recommends=False, bad_recommendations={"b", "a"}, exclude={"never"})
    case = make_case(tmp_path, monkeypatch, policy)
    case.opkg.resolve(case.request())
    words = (case.folder / "arguments").read_text().split()
    assert {"--no-install-recommends", "--add-ignore-recommends=a", "--add-exclude=never"} <= set(words)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Removing lib (1.0) from root...\nInstalling app (1.0) on root\n", "it would remove lib, which lies below"),
        ("Upgrading lib (1.0-r0) to app (1.0) on root\n", "it would remove lib, which lies below"),
        ("No packages installed or removed.\n", "it would not install app"),
        ("error: opkg_conf_parse_file: bad\nInstalling app (1.0) on root\n", "error: opkg_conf_parse_file: bad"),
    ],
)
def test_a_dry_run_that_removes_lacks_or_complains_is_refused(case, text, said):
    case.say(text)
    with pytest.raises(Refused) as caught:
        case.opkg.resolve(case.request())
    assert caught.value.said == (said,)


def test_an_index_that_opkg_can_not_read_is_no_fault_of_the_packages(case):
    (case.folder / "updates").write_text("error: opkg_download_file: Packages: No such file.\n")
    with pytest.raises(ToolError, match="can not read the index") as caught:
        case.opkg.resolve(case.request())
    assert "No such file" in caught.value.hint


def test_of_what_scripts_print_only_the_last_is_kept(case, monkeypatch):
    case.say("Installing app (1.0) on root\n")
    case.opkg.resolve(case.request())
    monkeypatch.setattr(manager, "_LOG_LIMIT", 100)
    case.say("x" * 200 + "\nthe last\n")
    outcome = case.opkg.install(case.request(), ())
    assert (outcome.done, outcome.said) == (True, ("x" * 90, "the last"))


def test_messages_have_the_names_of_files_that_people_know(case, tmp_path):
    case.say("Installing app (1.0) on root\n")
    case.opkg.resolve(case.request())
    scratch = tmp_path / "scratch"
    case.say(
        f"error: open_inner: {tmp_path}/root/../scratch/cache/volatile.9/{'0' * 32}_0.ipk\n"
        f"error: check_data_file_clashes: Package app wants to install file {tmp_path}/root/usr/a b\n"
        "\tBut that file is already provided by package b\n"
        f"error: opkg_download_file: file:{scratch}/feed/1.ipk\n"
    )
    outcome = case.opkg.install(case.request(), ())
    assert (outcome.done, outcome.failed) == (False, "app")
    assert outcome.reason == "/usr/a b: that file is already provided by package b"
    text = "\n".join(outcome.said)
    assert str(scratch) not in text
    assert f"{tmp_path}/feed/app_1.0-r0_core2-64.ipk" in text


def test_a_database_that_opkg_does_not_see_is_written_for_it(case):
    info = index_of(PACKAGES[1:2]).replace(b"\n\n", b"\n")
    tree = Tree(with_parents({"var/lib/opkg/info/lib.control": file(info), "var/lib/opkg/info/lib.list": file()}))
    installed = tuple(case.opkg.installed(tree))
    assert [one.name for one in installed] == ["lib"]
    entries = Tree(case.opkg.prepare(tree, case.request(*installed)))
    assert [one.shown for one in case.opkg.installed(entries)] == ["lib 2.0-r0"]
    assert "var/lib/opkg/status" in entries
    assert case.opkg.prepare(entries, case.request(*installed)) == entries.entries


def test_tells_its_versions(case):
    assert case.opkg.tool == {"name": "opkg", "version": "0.9.0+git", "libsolv": "0.7.23"}


def test_without_opkg_the_error_says_what_to_do(tmp_path, monkeypatch, case):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="there is no opkg on the PATH") as caught:
        Opkg(case.opkg._place, case.opkg._catalog, case.opkg._scripts)
    assert "builtin" in caught.value.hint


@pytest.mark.parametrize("name", ["a b", "a;b", "a$b", "a'b", "a:b", "\u00e4"])
def test_a_folder_whose_name_a_shell_would_take_apart_has_another_one(case, tmp_path, name):
    place = Place(str(tmp_path / name / "root"), str(tmp_path / name / "scratch"))
    with pytest.raises(ToolError, match="can not work in"):
        Opkg(place, case.opkg._catalog, Scripts(place))
    for path in place:
        Path(path).mkdir(parents=True)
    with plainly(place) as plain:
        Opkg(plain, case.opkg._catalog, Scripts(plain))
        (Path(plain.root) / "file").touch()
        assert Path(plain.root, "../scratch").samefile(place.scratch)
    assert (Path(place.root) / "file").exists()
    assert not Path(plain.root).exists()
