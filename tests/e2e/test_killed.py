# SPDX-License-Identifier: MIT
"""A build that is killed leaves the old image whole, and nothing that the next build does not clear."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support import tools

if TYPE_CHECKING:
    from pathlib import Path

OUTPUTS = [
    "app-latest-oci",
    "app-latest-oci-dir.tar",
    "app-latest-oci.json",
    "app-latest-oci.tar",
    "app-oci",
    "app-oci-dir.tar",
    "app-oci.json",
    "app-oci.tar",
]
MOMENTS = 20


class Project(NamedTuple):
    """A configuration, a compressed rootfs, which needs a temporary file, and a folder for temporary files."""

    folder: Path
    temporary: Path

    @property
    def deploy(self) -> Path:
        return self.folder / "deploy"

    def command(self, *words: object) -> list[str]:
        argv = [sys.executable, "-m", "oe_oci", "build", "-q", "app.conf", "--rootfs", "rootfs.tar.gz", *words]
        return list(map(str, argv))

    def start(self, *words: object) -> subprocess.Popen[bytes]:
        env = {**os.environ, "TMPDIR": str(self.temporary)}
        return subprocess.Popen(self.command(*words), cwd=self.folder, env=env, stderr=subprocess.PIPE)

    def build(self, *words: object) -> float:
        began = time.monotonic()
        process = self.start(*words)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        return time.monotonic() - began

    def outputs(self) -> dict[str, bytes | list[str]]:
        """Everything there is, to be compared."""
        found: dict[str, bytes | list[str]] = {}
        for path in sorted(self.deploy.rglob("*")):
            name = str(path.relative_to(self.deploy))
            if path.is_symlink():
                found[name] = os.fsencode(os.readlink(path))
            elif path.is_file():
                found[name] = path.read_bytes()
        return found


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "root"
    source = random.Random(4)
    for number in range(600):
        path = root / "usr" / f"d{number % 20}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.randbytes(20_000) + b"text " * 2000)
    tools.run("tar", "-C", root, "-czf", tmp_path / "rootfs.tar.gz", ".")
    (tmp_path / "app.conf").write_text(
        'OCI_LAYERS = "a:directories:/usr/d1,/usr/d2 b:directories:/"\nOCI_IMAGE_AUTO_LABELS = "0"\n'
    )
    (tmp_path / "tmp").mkdir()
    return Project(tmp_path, tmp_path / "tmp")


def assert_whole(deploy: Path) -> str:
    """The layout and the archive are each an image without fault; gives the layout's digest."""
    for name in ("app-oci", "app-oci.tar", "app-oci-dir.tar"):
        tools.oe_oci("verify", deploy / name)
    return json.loads((deploy / "app-oci" / "index.json").read_text())["manifests"][0]["digest"]


def test_killed_at_any_moment(project):
    project.build()
    duration = project.build()
    expected = project.outputs()
    digest = assert_whole(project.deploy)
    moments = random.Random(6)
    whole = set()
    for number in range(MOMENTS):
        # Another image each time, so that old and new can be told apart.
        process = project.start("--set", f"OCI_IMAGE_WORKINGDIR=/w{number}")
        time.sleep(moments.uniform(0, duration * 1.05))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        whole.add(assert_whole(project.deploy))
    assert digest in whole, "every build was done before it was killed: the test shows nothing"
    project.build()
    assert sorted(os.listdir(project.deploy)) == OUTPUTS
    assert project.outputs() == expected
    assert os.listdir(project.temporary) == []


# Run in a child that dies at a chosen call of a function that changes what is in the deploy folder.
DYING = """
import os, signal, sys
count = int(sys.argv.pop(1))
def dying(function):
    def call(*arguments, **options):
        global count
        count -= 1
        if count == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call
for name in ("rename", "replace", "unlink", "symlink", "rmdir", "mkdir", "chmod"):
    setattr(os, name, dying(getattr(os, name)))
from oe_oci.cli import main
sys.exit(main())
"""


def test_killed_between_any_two_steps_of_publishing(project):
    project.build()
    expected = project.outputs()
    survived = False
    for count in range(1, 200):
        # A compressed archive and another tag: links and archives of the old image must go.
        words = ["--set", "OCI_IMAGE_TAG=2", "--set", "OCI_IMAGE_TAR_COMPRESSION=gz"]
        argv = [sys.executable, "-c", DYING, str(count), *project.command(*words)[3:]]
        done = subprocess.run(argv, cwd=project.folder, capture_output=True, check=False)
        if done.returncode == 0:
            survived = True
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        tools.oe_oci("verify", project.deploy / "app-oci")
    assert survived
    assert count > 15
    project.build()
    assert project.outputs() == expected
    assert sorted(os.listdir(project.deploy)) == OUTPUTS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(project, number):
    project.build()
    expected = project.outputs()
    process = project.start("--set", "OCI_IMAGE_WORKINGDIR=/other")
    while not (project.deploy / ".app-oci.partial" / "layout").exists():
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors == b"oe-oci: interrupted\n"
    assert project.outputs() == expected
    assert sorted(os.listdir(project.deploy)) == OUTPUTS
    assert os.listdir(project.temporary) == []


def test_two_builds_into_one_folder(project):
    running = [project.start("--set", f"OCI_IMAGE_WORKINGDIR=/w{number % 2}") for number in range(4)]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    digest = assert_whole(project.deploy)
    with_archives = json.loads((project.deploy / "app-oci.json").read_text())
    assert with_archives["image"]["digest"] == digest
    for name, facts in with_archives["outputs"]["archives"].items():
        assert tools.run("sha256sum", project.deploy / name).stdout.split()[0] == facts["digest"].partition(":")[2]
    assert sorted(os.listdir(project.deploy)) == OUTPUTS
