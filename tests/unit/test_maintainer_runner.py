# SPDX-License-Identifier: MIT
"""The scripts of a layer, run in a stand-in for a directory: what they see, what comes of them, what of failures."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING, Any, Callable

import pytest
from support.trees import directory, file, link, tree

from oe_oci.content import Literal
from oe_oci.errors import ToolError
from oe_oci.packages.maintainer.choose import Outside
from oe_oci.packages.maintainer.job import Job
from oe_oci.packages.maintainer.phases import Phases
from oe_oci.packages.maintainer.ran import Ran
from oe_oci.packages.maintainer.runner import Followers, Runner, Surroundings, Way
from oe_oci.packages.maintainer.scripts import SHELL, Script
from oe_oci.packages.native.manager import Place
from oe_oci.packages.native.volatile import REMOVED, Volatile
from oe_oci.populate import Wanted
from oe_oci.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from oe_oci.tree import Entry

EPOCH = 1_600_000_000
VOLATILE = (Volatile("var/log", REMOVED, "the clock"),)

Acts = Callable[["dict[str, Entry]"], "Ran | None"]


class Standing:
    """A `Work` that is a mapping; scripts are functions by the names of their packages."""

    def __init__(self, folder: Path) -> None:
        self.root, self.scratch = str(folder / "root"), str(folder / "scratch")
        self.entries: dict[str, Entry] = {}
        self.synced: list[set[str]] = []
        self.acts: dict[str, Acts] = {}
        self.calls: list[tuple[list[str], dict[str, str], bytes]] = []
        self.closed = False
        os.makedirs(self.scratch)

    def sync(self, entries: Mapping[str, Entry]) -> None:
        self.entries = dict(entries)
        self.synced.append({path for path in entries if path})

    def begin(self) -> None:
        pass

    def scan(self, dated: Callable[[str], bool] = lambda _: False) -> dict[str, Entry]:
        return dict(self.entries)

    def forget(self, path: str) -> list[str]:
        gone = [each for each in self.entries if f"{each}/".startswith(f"{path}/")]
        for each in gone:
            del self.entries[each]
        return gone

    def place(self, name: str, content: bytes) -> str:
        return f"/placed/{name}"

    def run(self, argv: list[str], env: dict[str, str], stdin: bytes = b"") -> Ran:
        self.calls.append((list(argv), dict(env), stdin))
        name = os.path.basename(argv[0] if len(argv) == 1 else argv[1])
        return self.acts[name](self.entries) or Ran(0, "")

    def __enter__(self) -> Standing:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True


def script(package: str, name: str = "postinst", data: bytes = b":", *words: str, **facts: Any) -> Script:
    return Script("ipk", package, "all", name, facts.pop("interpreter", SHELL), data, words, **facts)


def adds(**named: bytes | str) -> Acts:
    def act(entries: dict[str, Entry]) -> None:
        entries.update(tree(**named).entries)

    return act


def job(layer: str = "low") -> Job:
    return Job(layer, "ipk", [], [], None, ())  # type: ignore[arg-type] - phases are given


class Trial:
    def __init__(self, folder: Path, database: str = "keep") -> None:
        self.work = Standing(folder)
        self.phases = Phases([], [])
        self.started = 0
        self.root = self.work.root
        apart = () if database == "keep" else ("var/lib/opkg/",)
        self.runner = Runner(self._start, Way(lambda _job, _tree: self.phases), apart=apart, epoch=EPOCH)

    @contextlib.contextmanager
    def _start(self) -> Iterator[Surroundings]:
        self.started += 1
        found = Outside(Place(self.work.root, self.work.scratch), self._hook)
        with self.work:
            yield Surroundings(self.work, found, self.root, VOLATILE)

    def _hook(self, argv: Any, env: Any) -> tuple[int, str]:
        return self.work.run(list(argv), env)[:2]

    def install(self, lower: Tree, wanted: Wanted | None = None, layer: str = "low", **acts: Acts) -> Wanted:
        """A layer whose scripts run after files are placed, or before by the name of their package."""
        self.work.acts.update(
            {f"{name}.{'preinst' if name.startswith('pre') else 'postinst'}": acts[name] for name in acts}
        )
        first = [script(name, "preinst") for name in acts if name.startswith("pre")]
        self.phases = Phases(first, [script(name) for name in acts if not name.startswith("pre")])
        asked = job(layer)
        below = self.runner.before(asked, lower)
        return self.runner.after(asked, lower, below, wanted or Wanted({}))


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Trial]:
    return lambda database="keep": Trial(tmp_path, database)


def test_nothing_is_started_for_no_script(make):
    trial = make()
    wanted = Wanted({"a": file(b"a")})
    lower = tree(etc__passwd=b"")
    with trial.runner as runner:
        assert trial.install(lower, wanted) is wanted
        assert runner.before(job(), lower) is lower
    assert not trial.started


def test_what_scripts_see_and_what_the_layer_gets(make):
    """Those that run before see what lies below, and those after the files too; only what changed is wanted."""
    trial = make()
    lower = tree(etc__passwd=b"root", etc__old=b"old", usr__gone=b"gone")
    shipped = file(b"shipped")
    seen = []

    def last(entries: dict[str, Entry]) -> None:
        seen.append(sorted(filter(None, entries)))
        del entries["usr/gone"]
        entries["etc/passwd"] = file(b"root web app")

    with trial.runner:
        wanted = trial.install(
            lower,
            Wanted({"usr/app": shipped}, ("etc/old",)),
            pre=adds(etc__passwd=b"root web", etc__new=b"new"),
            app=last,
        )
    assert trial.work.synced[0] == {path for path in lower.entries if path}
    assert seen == [["etc", "etc/new", "etc/passwd", "usr", "usr/app", "usr/gone"]]
    assert wanted.entries["usr/app"] is shipped
    assert wanted.entries["etc/passwd"].content == Literal(b"root web app")
    assert "etc/new" in wanted.entries
    assert wanted.removed == ("etc/old", "usr/gone")
    assert (trial.started, trial.work.closed) == (1, True)


def test_what_those_before_made_is_in_the_layer_without_others(make):
    trial = make()
    lower = tree(etc__passwd=b"")
    with trial.runner:
        wanted = trial.install(lower, Wanted({"a": file(b"a")}), pre=adds(etc__new=b"new"))
    assert {"a", "etc/new"} <= wanted.entries.keys()
    assert wanted.removed == ()


def test_how_scripts_are_called(make):
    trial = make()
    trial.work.acts.update({"app.postinst": lambda _: None, "program": lambda _: None})
    trial.phases = Phases(
        [],
        [
            script("app", "postinst", b"text", "configure", "1.0", input=b"files"),
            script("app", "postinst", b"", interpreter=("/sbin/program",)),
        ],
    )
    with trial.runner as runner:
        asked, lower = job(), tree(etc__passwd=b"")
        runner.after(asked, lower, runner.before(asked, lower), Wanted({}))
    (argv, env, stdin), (other, _, _) = trial.work.calls
    assert (argv, stdin) == (["/bin/sh", "/placed/app.postinst", "configure", "1.0"], b"files")
    assert other == ["/sbin/program"]
    assert env["D"] == env["OPKG_OFFLINE_ROOT"] == trial.work.root
    assert (env["PKG_ROOT"], env["SOURCE_DATE_EPOCH"]) == (f"{trial.work.root}/", str(EPOCH))


def test_links_that_lead_out_of_the_image_stay_inside_for_scripts_alone(make):
    trial = make()
    out = link("/run")
    lower = Tree({**tree(run__lock=b"").entries, "var": directory(), "var/run": out})
    seen = []
    with trial.runner:
        wanted = trial.install(lower, app=lambda entries: seen.append(entries["var/run"].target))
    assert seen == ["../run"]
    assert "var/run" not in wanted.entries


def test_what_is_not_the_same_in_each_build_is_left_out(make):
    trial = make()
    with trial.runner:
        wanted = trial.install(tree(var__lib__x=b""), app=adds(var__log__today=b"12:00", var__lib__y=b""))
    assert "var/lib/y" in wanted.entries
    assert not [path for path in wanted.entries if path.startswith("var/log")]


@pytest.mark.parametrize(
    ("ran", "said"),
    [
        (Ran(7, "begin\n" + "more\n" * 100 + "the end\n"), "app: its postinst ended with status 7"),
        (Ran(137, "the end", "took longer than 300 seconds"), "app: its postinst took longer than 300 seconds"),
    ],
)
def test_a_failure(make, caplog, ran, said):
    """Names the script and has the last lines; all of them are in the log."""
    trial = make()
    caplog.set_level(logging.DEBUG, "oe_oci")
    with trial.runner, pytest.raises(ToolError) as caught:
        trial.install(tree(), app=lambda _: ran)
    assert str(caught.value).splitlines()[0] == f"layer 'low': {said}"
    assert "the end" in (caught.value.hint or "")
    assert "begin" not in (caught.value.hint or "")
    assert ran.said in caplog.text
    assert trial.work.closed


def test_a_failure_without_a_word(make):
    trial = make()
    with trial.runner, pytest.raises(ToolError) as caught:
        trial.install(tree(), app=lambda _: Ran(1, "\n"))
    assert caught.value.hint == "it says nothing"


@pytest.mark.parametrize("inside", [True, False])
def test_a_program_that_the_image_lacks(make, inside):
    trial = make()
    trial.root = "" if inside else trial.work.root
    with trial.runner, pytest.raises(ToolError) as caught:
        trial.install(tree(), app=lambda _: Ran(127, "sed: not found"))
    assert ("name packages with them" in caught.value.hint) == inside


def test_no_script_runs_after_one_that_fails(make):
    trial = make()
    with trial.runner, pytest.raises(ToolError, match="first: its postinst"):
        trial.install(tree(), first=lambda _: Ran(1, ""), second=lambda _: None)
    assert len(trial.work.calls) == 1


# ---- in the place of the database


@pytest.mark.parametrize("database", ["top", "remove", "status.d"])
def test_what_scripts_keep_beside_a_database_that_layers_do_not_have(make, database):
    """Later scripts see it, and change it; it is in no layer, nor are its folders."""
    trial = make(database)
    keeps = adds(var__lib__opkg__alternatives__vi=b"vim", usr__bin__vi=b"")
    with trial.runner as runner:
        low = tree(etc__passwd=b"")
        wanted = trial.install(low, one=keeps)
        assert "usr/bin/vi" in wanted.entries
        assert not [path for path in wanted.entries if path.startswith("var")]
        lower = Tree({**low.entries, **wanted.entries})
        wanted = trial.install(lower, two=adds(var__lib__opkg__alternatives__ed=b"ed"))
        assert "var/lib/opkg/alternatives/vi" in trial.work.synced[-1]
        assert not wanted.entries.keys() & {"var", "var/lib", "var/lib/opkg"}
        kept = runner.withheld(lower)
    assert {"var/lib/opkg/alternatives/vi", "var/lib/opkg/alternatives/ed", "var/lib/opkg", "var"} <= kept.keys()


def test_what_a_layer_has_in_its_place_is_the_layers(make):
    trial = make("top")
    with trial.runner as runner:
        trial.install(tree(etc__passwd=b""), one=adds(var__lib__opkg__kept__a=b"1", var__lib__opkg__b=b"1"))
        upper = tree(var__lib__opkg__kept=b"a file", var__lib__opkg__b=b"2")
        assert not runner.withheld(upper)
        trial.install(upper, two=lambda _: None)
        assert "var/lib/opkg/kept/a" not in trial.work.synced[-1]


def test_what_scripts_remove_of_it_is_gone(make):
    trial = make("top")
    lower = tree(etc__passwd=b"")
    with trial.runner as runner:
        trial.install(lower, one=adds(var__lib__opkg__kept=b"1"))
        trial.install(lower, two=lambda entries: entries.pop("var/lib/opkg/kept") and None)
        assert "var/lib/opkg/kept" not in runner.withheld(lower)


def test_with_a_database_in_each_layer_so_is_what_scripts_keep(make):
    trial = make("keep")
    lower = tree(etc__passwd=b"")
    with trial.runner as runner:
        wanted = trial.install(lower, one=adds(var__lib__opkg__kept=b"1"))
        assert not runner.withheld(lower)
    assert "var/lib/opkg/kept" in wanted.entries


# ---- intercepts


@pytest.fixture
def hooks(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "intercepts").mkdir()
    (tmp_path / "intercepts" / "cache").write_text("#!/bin/sh\n##PKGS: app \n")
    monkeypatch.setenv("INTERCEPT_DIR", str(tmp_path / "intercepts"))


def asks(trial: Trial) -> Acts:
    return lambda _: os.chmod(os.path.join(trial.work.scratch, "hooks", "cache"), 0o755)  # type: ignore[func-returns-value]


@pytest.mark.usefixtures("hooks")
def test_intercepts_that_scripts_asked_for(make):
    trial = make()
    trial.work.acts["cache"] = adds(var__cached=b"app")
    with trial.runner:
        assert "var/cached" in trial.install(tree(), app=asks(trial)).entries
        # None asked for it again.
        assert "var/cached" not in trial.install(tree(), other=lambda _: None).entries


@pytest.mark.usefixtures("hooks")
def test_an_intercept_that_fails(make, caplog):
    trial = make()
    trial.work.acts["cache"] = lambda _: Ran(3, "no cache")
    with trial.runner, pytest.raises(ToolError, match="the intercept cache, for which app asked, ended with status 3"):
        trial.install(tree(), app=asks(trial))
    trial.work.acts["cache"] = lambda _: Ran(1, "qemuwrapper: qemu usermode is not supported")
    other = make_other(trial)
    with other:
        trial.install(tree(), app=asks(trial))
    assert "the intercept cache, for which app asked, is left to the first boot" in caplog.text


def make_other(trial: Trial) -> Runner:
    trial.runner = Runner(trial._start, Way(lambda _job, _tree: trial.phases), apart=(), epoch=EPOCH)
    return trial.runner


def test_what_did_not_run(make):
    assert make().runner.left(("preinst", "config", "postinst")) == ("config",)


def test_scripts_that_set_off_one_another_without_end(make):
    trial = make()
    trial.work.acts["loop.postinst"] = lambda _: None
    way = Way(lambda _job, _tree: trial.phases, lambda _job, lower, _arrived: Followers([script("loop")], lower))
    trial.runner = Runner(trial._start, way, apart=(), epoch=EPOCH)
    with trial.runner, pytest.raises(ToolError, match="without end: those of loop") as caught:
        trial.install(tree())
    assert "OCI_PACKAGE_SCRIPTS" in caught.value.hint
    assert len(trial.work.calls) == 20
