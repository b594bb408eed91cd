# SPDX-License-Identifier: MIT
"""An ordinary user with subordinate ids has scripts of packages run with all owners: the same as root has."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import namespaces, tools
from support.worktrial import CAPABILITIES, EPOCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parents[1] / "support"


class Trials:
    """Runs trials, by root or by a user with subordinate ids, in folders of their own."""

    def __init__(self, folder: Path) -> None:
        self._copy = tools.Copy(folder)
        (folder / "lib" / "support").mkdir()
        for name in ("__init__", "unconfined", "worktrial"):
            shutil.copy(HERE / f"{name}.py", folder / "lib" / "support")
        self.user = namespaces.as_user_with_ids(folder / "ids")
        self.places = {"root": folder / "root", "user": folder / "user"}
        for place in self.places.values():
            place.mkdir()
        tools.give_to_nobody(self.places["user"])

    def words(self, who: str, trial: str, *more: object) -> list[str]:
        before = self.user if who == "user" else []
        folder = self.places[who] / "work"
        return [*before, self._copy.program, "-m", "support.worktrial", trial, str(folder), *map(str, more)]

    @property
    def options(self) -> dict[str, Any]:
        return {"env": self._copy.environment(), "cwd": "/"}

    def __call__(self, who: str, trial: str, *more: object) -> Any:
        return json.loads(tools.run(*self.words(who, trial, *more), **self.options).stdout)

    def fails(self, trial: str) -> str:
        """The last lines of a trial by the user that ends in an error."""
        return tools.run(*self.words("user", trial), status=1, **self.options).stderr.partition("ToolError: ")[2]


@pytest.fixture(scope="module")
def trials() -> Iterator[Trials]:
    with tools.scratch("oe-oci-work-", mode=0o755) as folder:
        yield Trials(folder)


@pytest.fixture(autouse=True)
def _nothing_is_left(trials) -> Iterator[None]:
    yield
    left = {who: os.listdir(place) for who, place in trials.places.items()}
    for place in trials.places.values():
        for name in ("script", "worker"):
            (place / name).unlink(missing_ok=True)
    assert not [names for names in left.values() if "work" in names]


def test_scripts_see_all_facts_and_they_come_back(trials):
    tools.need("getfattr")
    seen, outside, told = trials("user", "facts")
    capability = CAPABILITIES[2].hex()
    assert [line for line in seen if line] == [
        "closed 0 33 34 2",
        "closed/none 0 1000 0 1",
        "last 600 65536 65536 1",
        "one 640 0 8 2",
        "su 6755 7 8 1",
        "# file: ping",
        f"security.capability=0x{capability}",
    ]
    assert outside == namespaces.FIRST + 6
    by_path = {path: (same, facts) for path, same, facts in told}
    assert [path for path, (same, _) in by_path.items() if not same] == ["new", "pong"]
    assert by_path["pong"][1][8] == [["security.capability", capability]]
    assert by_path["new"][1][1:4] == [0o600, 42, 43]
    assert trials("root", "facts")[2] == told


def test_what_adding_a_user_does_is_the_same_as_by_root(trials):
    ran, told = trials("user", "accounts")
    assert ran[:2] == [0, ""]
    facts = {path: facts for path, same, facts in told if not same}
    assert {path: each[1:5] for path, each in facts.items()} == {
        "etc/passwd": [0o644, 0, 0, EPOCH],
        "etc/passwd-": [0o644, 0, 0, 0],
        "etc/shadow": [0o640, 0, 42, EPOCH],
        "home/web": [0o700, 999, 998, EPOCH],
        "home/web/.profile": [0o644, 999, 998, EPOCH],
    }
    assert trials("root", "accounts") == [ran, told]


@pytest.mark.parametrize("seed", range(6))
def test_random_trees_and_scripts_come_out_as_by_root(trials, seed):
    user, root = (trials(who, "random", seed) for who in ("user", "root"))
    differing = [pair for one, other in zip(user[0], root[0]) for pair in zip(one, other) if pair[0] != pair[1]]
    assert not differing
    assert user == root
    assert user[1] is False
    changed = [path for told in user[0] for path, same, _ in told if not same]
    assert len(changed) > 6


def test_an_owner_that_the_user_can_not_give_is_named_with_ways_out(trials):
    error = trials.fails("owner")
    assert error.startswith(
        "/srv: its owner is 70000:3, and the subordinate ids of this user reach to user 65536\n"
        "  give the user more ids in /etc/subuid and /etc/subgid"
    )
    assert 'OCI_PACKAGE_SCRIPTS = "skip"' in error


def test_ids_that_newuidmap_refuses_are_an_error(trials):
    ids = Path(trials.user[7])
    good = ids.read_text(encoding="ascii")
    try:
        # The last range overlaps: both can not be in one namespace.
        ids.write_text(good * 2, encoding="ascii")
        assert trials.fails("owner").startswith("cannot use subordinate ids: newuidmap: ")
    finally:
        ids.write_text(good, encoding="ascii")


def test_a_full_disk_is_an_error(trials):
    with tools.tmpfs(trials.places["user"] / "small", "16m") as small:
        tools.give_to_nobody(small)
        words = trials.words("user", "full")
        words[words.index("full") + 1] = str(small / "work")
        done = tools.run(*words, status=1, **trials.options)
        assert "ToolError: cannot make /big for the scripts of packages: No space left on device" in done.stderr
        assert os.listdir(small) == []
    small.rmdir()


@contextlib.contextmanager
def started(trials: Trials, before: str = "--default-signal=INT") -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    """A build whose script does not end, the number of the script's process and that of the worker's."""
    words = ["env", before, *trials.words("user", "sleeping")]
    files = [trials.places["user"] / name for name in ("script", "worker")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **trials.options) as build:
        try:
            wait_for(lambda: all(file.exists() and file.read_text().endswith("\n") for file in files))
            script, worker = (int(file.read_text()) for file in files)
            yield build, script, worker
        finally:
            build.kill()
            for file in files:
                with contextlib.suppress(OSError):
                    os.kill(int(file.read_text()), signal.SIGKILL)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("number", "before"),
    [
        (signal.SIGKILL, "--default-signal=INT"),
        (signal.SIGINT, "--default-signal=INT"),
        (signal.SIGTERM, "--ignore-signal=INT"),  # as in the background of a shell
    ],
)
def test_a_script_ends_with_the_build_and_nothing_is_left(trials, number, before):
    with started(trials, before) as (build, script, worker):
        build.send_signal(number)
        build.wait(timeout=30)
        wait_for(lambda: not is_alive(script) and not is_alive(worker))
    assert not (trials.places["user"] / "work").exists()


def test_a_worker_that_is_killed_is_an_error(trials):
    with started(trials) as (build, _, worker):
        os.kill(worker, signal.SIGKILL)
        _, errors = build.communicate(timeout=30)
    assert build.returncode == 1
    assert b"ToolError: the process that has the directory for the scripts of packages was killed by SIGKILL" in errors
