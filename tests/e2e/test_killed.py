# SPDX-License-Identifier: MIT
"""A build that is killed, interrupted or not alone leaves whole outputs, and nothing that the next does not clear."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support import compare, tools

from oe_oci.oci.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterator

CONF = 'OCI_LAYERS = "programs:directories:/usr,/bin files:files:/var/lib/special/large rest:directories:/"\n'
PARTIAL = ".app-oci.partial"
KILLS = 20
LAYOUT = "app-oci"

# Ends itself by a signal before the n-th call that changes what the file system holds, and tells how many there were.
STOPPER = """\
import os, shutil, signal, sys
number, name, left = 0, sys.argv[1], int(sys.argv[2])

def counted(call):
    def wrapper(*words, **options):
        global number
        number += 1
        if number == left:
            os.kill(os.getpid(), getattr(signal, name))
        return call(*words, **options)
    return wrapper

from oe_oci.cli import main
for module, names in ((os, "mkdir rename replace unlink rmdir symlink chmod fchmod"), (shutil, "rmtree")):
    for each in names.split():
        setattr(module, each, counted(getattr(module, each)))
status = main(sys.argv[3:])
print(f"calls {number}")
sys.exit(status)
"""


class Work(NamedTuple):
    """What is built: an old image, whose outputs are there when the new one is begun."""

    folder: Path
    old: dict[str, str]
    new: dict[str, str]
    words: list[object]
    started: list[subprocess.Popen[str]]

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    def command(self, deploy: Path, *words: object) -> list[str]:
        command = ["build", self.folder / "app.conf", "--deploy-dir", deploy, *self.words, *words]
        return [os.fspath(word) if isinstance(word, Path) else str(word) for word in command]

    def environment(self) -> dict[str, str]:
        return tools.environment(TMPDIR=str(self.temporary))

    def start(self, deploy: Path, *words: object) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "oe_oci", *self.command(deploy, *words)]
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        process = subprocess.Popen(argv, env=self.environment(), encoding="utf-8", **options)
        self.started.append(process)
        return process

    def finish(self, deploy: Path, *words: object) -> dict[str, str]:
        tools.oe_oci(*self.command(deploy, *words), env=self.environment())
        return compare.contents(deploy)


def make_work(folder: Path, conf: str, rootfs: Path, *changes: str) -> Work:
    """`rootfs` is compressed and there is a compressed base, so that there are temporary files to forget."""
    (folder / "tmp").mkdir()
    (folder / "base-files").mkdir()
    (folder / "base-files" / "base").write_bytes(random.Random(2).randbytes(1 << 20))
    (folder / "base.conf").write_text("OCI_IMAGE_TAR_COMPRESSION = 'gz'\n")
    tools.build(folder / "base.conf", folder / "base", "--rootfs", folder / "base-files")
    with open(folder / "rootfs.tar.gz", "wb") as file:
        tools.run("gzip", "-1", "-c", rootfs, stdout=file)
    (folder / "app.conf").write_text(f'OCI_BASE_IMAGE = "./base/base-oci.tar.gz"\n{conf}')
    work = Work(folder, {}, {}, ["--rootfs", folder / "rootfs.tar.gz"], [])
    old = work.finish(folder / "old", "--set", "OCI_LAYERS=files:files:/etc/host.conf")
    settings = [word for change in changes for word in ("--set", change)]
    work = work._replace(old=old, words=[*work.words, *settings])
    return work._replace(new=work.finish(folder / "new"))


@pytest.fixture(scope="module")
def work_(small_rootfs) -> Iterator[Work]:
    with tools.scratch("oe-oci-killed-") as folder:
        yield make_work(folder, CONF, small_rootfs.tar)


@pytest.fixture
def work(work_) -> Iterator[Work]:
    yield work_
    while work_.started:
        process = work_.started.pop()
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.fixture(scope="module")
def little_work() -> Iterator[Work]:
    """Of next to nothing, for tests that build very often; archives and links of other names take the old ones' place.

    What has another name is there beside the old one for a moment.
    """
    with tools.scratch("oe-oci-killed-") as folder:
        (folder / "rootfs" / "etc").mkdir(parents=True)
        (folder / "rootfs" / "etc" / "host.conf").write_text("host\n")
        (folder / "rootfs" / "more").write_text("more\n")
        tools.run("tar", "-C", folder / "rootfs", "-cf", folder / "rootfs.tar", ".")
        conf = 'OCI_LAYERS = "etc:directories:/etc rest:directories:/"\n'
        changes = ("OCI_IMAGE_TAG=2", "OCI_IMAGE_TAR_COMPRESSION=gz")
        yield make_work(folder, conf, folder / "rootfs.tar", *changes)


def outputs(contents: dict[str, str]) -> dict[str, str]:
    """What users take: archives, report, links; and of the layout the index, which tells what belongs to it."""
    index = f"{LAYOUT}/index.json"
    return {name: value for name, value in contents.items() if "/" not in name or name == index}


def assert_whole(work: Work, deploy: Path) -> dict[str, str]:
    """Each output is the old one or the new one, all of one or of the other are there, and each is without a fault."""
    found = outputs(compare.contents(deploy))
    found.pop(PARTIAL, None)
    old, new = outputs(work.old), outputs(work.new)
    for name, value in found.items():
        assert value in (old.get(name), new.get(name)), name
    assert found.keys() >= old.keys() or found.keys() >= new.keys()
    for name in (LAYOUT, *(name for name in found if ".tar" in name and "latest" not in name)):
        assert verify(str(deploy / name)) == [], name
    json.loads((deploy / "app-oci.json").read_text(encoding="utf-8"))
    for name in found:
        assert (deploy / name).exists(), f"{name} leads nowhere"
    return found


def assert_nothing_left(work: Work, deploy: Path) -> None:
    assert list(work.temporary.iterdir()) == []
    assert not (deploy / PARTIAL).exists()


def old_outputs(work: Work, deploy: Path) -> Path:
    """A copy of the old image's outputs."""
    shutil.rmtree(deploy, ignore_errors=True)
    shutil.copytree(work.folder / "old", deploy, symlinks=True)
    return deploy


def rebuild(work: Work, deploy: Path) -> None:
    assert work.finish(deploy) == work.new
    assert_nothing_left(work, deploy)


# ---- killed


def test_killed_at_random_moments(work, folder):
    chance = random.Random(20)
    durations = []
    for number in range(3):
        began = time.monotonic()
        work.finish(folder / f"measured-{number}")
        durations.append(time.monotonic() - began)
    duration = min(durations)
    staged = number = 0
    while number < KILLS:
        deploy = old_outputs(work, folder / "deploy")
        process = work.start(deploy)
        # One moment in each twentieth of the time, so that early and late ones are met.
        time.sleep((number + chance.random()) / KILLS * duration)
        process.kill()
        _, stderr = process.communicate()
        # Whatever is not in the staging folder would lie there for ever.
        assert list(work.temporary.iterdir()) == []
        assert_whole(work, deploy)
        if process.returncode == 0:
            # Done before it was killed: the machine is faster now than it was.
            duration *= 0.95
            continue
        assert process.returncode == -signal.SIGKILL, stderr
        number += 1
        staged += (deploy / PARTIAL).exists()
        rebuild(work, deploy)
    assert staged >= KILLS // 4


def stopped(work: Work, deploy: Path, how: str, number: int) -> tools.Done:
    argv = [sys.executable, "-c", STOPPER, how, number, *work.command(deploy)]
    return tools.run(*argv, status=None, env=work.environment())


def test_killed_before_any_change_of_the_file_system(little_work, folder):
    """Every step of publishing among them."""
    work = little_work
    done = stopped(work, old_outputs(work, folder / "deploy"), "SIGKILL", 0)
    assert done.returncode == 0, done.stderr
    count = int(done.stdout.rpartition("calls ")[2])
    assert count > 30
    states = set()
    for number in range(1, count + 1):
        deploy = old_outputs(work, folder / "deploy")
        assert stopped(work, deploy, "SIGKILL", number).returncode == -signal.SIGKILL
        assert list(work.temporary.iterdir()) == []
        states.add(tuple(assert_whole(work, deploy).items()))
        if number % 8 == 0:
            rebuild(work, deploy)
    # Old, new, and much that lies between.
    assert len(states) > 5
    rebuild(work, deploy)


def test_first_build_killed(work, folder):
    """Where nothing was before, nothing that looks like an image is there."""
    process = work.start(folder / "new" / "deploy")
    wait_for(folder / "new" / "deploy" / PARTIAL, process)
    process.kill()
    process.communicate()
    assert [path.name for path in (folder / "new" / "deploy").iterdir()] == [PARTIAL]
    rebuild(work, folder / "new" / "deploy")


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)


# ---- interrupted


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_interrupted(work, folder, sent):
    """Nothing is left, and what was there is as it was."""
    for number in range(4):
        deploy = old_outputs(work, folder / "deploy")
        process = work.start(deploy)
        wait_for(deploy / PARTIAL, process)
        time.sleep(number * 0.05)
        process.send_signal(sent)
        _, stderr = process.communicate(timeout=60)
        assert (process.returncode, stderr) == (130, "oe-oci: interrupted\n")
        assert compare.contents(deploy) == work.old
        assert_nothing_left(work, deploy)
    process = work.start(folder / "first" / "deploy")
    wait_for(folder / "first" / "deploy" / PARTIAL, process)
    process.send_signal(sent)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not (folder / "first").exists()


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT"])
def test_interrupted_while_publishing(little_work, folder, how):
    work = little_work
    done = stopped(work, old_outputs(work, folder / "deploy"), how, 0)
    count = int(done.stdout.rpartition("calls ")[2])
    for number in range(1 if how == "SIGTERM" else 2, count + 1, 2):
        deploy = old_outputs(work, folder / "deploy")
        done = stopped(work, deploy, how, number)
        assert done.returncode == 130, done.stderr
        assert "Traceback" not in done.stderr
        assert_whole(work, deploy)
        assert_nothing_left(work, deploy)
    rebuild(work, deploy)


# ---- not alone


def test_two_builds_at_once(work, folder):
    """The one waits for the other; what is there in the end is one of the two images, all of it."""
    words = ("--set", "OCI_IMAGE_LABELS=state=other")
    other = work.finish(folder / "other", *words)
    waited = 0
    for number in range(4):
        deploy = old_outputs(work, folder / "deploy")
        processes = [
            work.start(deploy, *(words if number % 2 else ())),
            work.start(deploy, *(() if number % 2 else words)),
        ]
        for process in processes:
            _, stderr = process.communicate(timeout=120)
            assert process.returncode == 0, stderr
            waited += "another build of this image is running" in stderr
        assert compare.contents(deploy) in (work.new, other)
        assert_nothing_left(work, deploy)
    assert waited


def test_waiting_build_goes_on_when_the_other_is_killed(work, folder):
    deploy = old_outputs(work, folder / "deploy")
    first = work.start(deploy)
    wait_for(deploy / PARTIAL / "layout", first)
    first.send_signal(signal.SIGSTOP)
    second = work.start(deploy)
    line = second.stderr.readline()
    assert "another build of this image is running" in line
    assert second.poll() is None
    first.kill()
    first.communicate()
    second.communicate(timeout=120)
    assert second.returncode == 0
    assert compare.contents(deploy) == work.new
    assert_nothing_left(work, deploy)


def test_two_images_at_once_do_not_wait(work, folder):
    """Of one folder, but of other names."""
    words = ("--set", "IMAGE_BASENAME=second")
    second = work.finish(folder / "second", *words)
    processes = [work.start(folder / "deploy"), work.start(folder / "deploy", *words)]
    for process in processes:
        _, stderr = process.communicate(timeout=120)
        assert (process.returncode, stderr) == (0, "")
    assert compare.contents(folder / "deploy") == {**work.new, **second}
