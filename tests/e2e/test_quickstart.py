# SPDX-License-Identifier: MIT
"""The README's lines, pasted in a fresh clone: by root, by an ordinary user, again without network, without apt."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SHELL_BLOCKS = re.findall(
    r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)
NOBODY = 65534
GREETING = re.compile(r"^Hello from .+, with (\d+) packages\.$", re.MULTILINE)
ROW = re.compile(r"^(\w+) +(packages|host) +\d+ +0 .* sha256:[0-9a-f]{12}$", re.MULTILINE)
KINDS = ["packages", "packages", "packages", "host"]


def make_clone(folder: Path) -> Path:
    """The working state as a clone of its own would have it, in a folder that every user can reach."""
    git = ["git", "-c", "safe.directory=*", "-C"]
    listed = subprocess.run([*git, ROOT, "ls-files", "-zco", "--exclude-standard"], capture_output=True, check=True)
    clone = folder / "oe-oci"
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).exists():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "All"]):
        subprocess.run([*git, clone, *words], check=True)
    return clone


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    # pytest's own folders are closed to other users.
    with tempfile.TemporaryDirectory(prefix="oe-oci-quickstart-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def paste(text: str, clone: Path, *, prefix: tuple[str, ...] = (), **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, "sh", "-euc", text],
        cwd=clone,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.fixture(scope="module")
def pasted(open_folder) -> tuple[Path, subprocess.CompletedProcess[str]]:
    if not shutil.which("apt-get"):
        pytest.skip("no apt-get")
    folder = open_folder / "first user"
    folder.mkdir()
    clone = make_clone(folder)
    return clone, paste(SHELL_BLOCKS[0], clone)


@pytest.fixture(scope="module")
def pasted_without_apt(open_folder) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = open_folder / "without apt"
    programs = folder / "bin"
    programs.mkdir(parents=True)
    for place in os.environ["PATH"].split(os.pathsep):
        for name in os.listdir(place) if os.path.isdir(place) else ():
            if not name.startswith(("apt", "dpkg")) and not (programs / name).is_symlink():
                (programs / name).symlink_to(Path(place, name))
    clone = make_clone(folder)
    return clone, paste(SHELL_BLOCKS[0], clone, PATH=str(programs))


@pytest.fixture(scope="module")
def pasted_by_nobody(open_folder) -> tuple[Path, subprocess.CompletedProcess[str]]:
    if os.geteuid() != 0:
        pytest.skip("only root becomes another user")
    if not shutil.which("apt-get"):
        pytest.skip("no apt-get")
    folder = open_folder / "nobody"
    folder.mkdir()
    clone = make_clone(folder)
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", folder], check=True)
    become = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "env", "-u", "CONTAINERS_CONF")
    # root's own programs, in its home, are closed to other users.
    path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    return clone, paste(SHELL_BLOCKS[0], clone, prefix=become, HOME=str(folder), PATH=path)


def report(clone: Path) -> dict:
    return json.loads((clone / "examples/quickstart/work/deploy/quickstart-oci.json").read_text(encoding="utf-8"))


def layers(clone: Path) -> Iterator[tarfile.TarInfo]:
    blobs = clone / "examples/quickstart/work/deploy/quickstart-oci/blobs/sha256"
    for layer in report(clone)["layers"]:
        with tarfile.open(blobs / layer["digest"].partition(":")[2]) as archive:
            yield from archive


def packages(clone: Path) -> list[dict]:
    return [package for layer in report(clone)["layers"] for package in layer.get("packages", ())]


def greeted(done: subprocess.CompletedProcess[str], clone: Path) -> bool:
    """Whether the image ran, and found all packages of the report in its database."""
    match = GREETING.search(done.stdout)
    return match is not None and int(match[1]) == len(packages(clone))


def test_first_line_builds_and_runs_an_image(pasted):
    clone, done = pasted
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row[1] for row in ROW.findall(done.stdout)] == KINDS
    assert "\nnothing found\n" in done.stdout
    assert "podman run --rm oci-archive:" in done.stdout
    assert greeted(done, clone)


def test_packages_are_the_distributions(pasted):
    clone, done = pasted
    assert "packages of layer programs:\nPACKAGE " in done.stdout
    feed = clone / "examples/quickstart/work/feed"
    files = {hashlib.sha256(path.read_bytes()).hexdigest() for path in feed.glob("*.deb")}
    found = {package["name"]: package for package in packages(clone)}
    assert {package["digest"].partition(":")[2] for package in found.values()} <= files
    assert found.keys() > {"base-files", "coreutils", "dash", "dpkg", "jq", "libc6", "quickstart-merged-usr"}
    assert found["libjq1"]["askedBy"] == "jq"
    assert len(found) > 20


def test_without_apt_packages_are_made(pasted_without_apt):
    clone, done = pasted_without_apt
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row[1] for row in ROW.findall(done.stdout)] == KINDS
    made = {f"quickstart-{name}" for name in ("base", "libs", "merged-usr", "programs", "sh")}
    assert {package["name"] for package in packages(clone)} == made
    assert "\nnothing found\n" in done.stdout
    assert greeted(done, clone) or "was not run" in done.stdout


def test_podman_runs_it(pasted):
    if not shutil.which("podman"):
        pytest.skip("no podman")
    _, done = pasted
    assert "could not run" not in done.stderr


def test_image_holds_no_fault(pasted):
    clone, _ = pasted
    work = clone / "examples/quickstart/work"
    done = paste(f"'{work}/venv/bin/oe-oci' verify '{work}/deploy/quickstart-oci.tar'", clone)
    assert (done.returncode, done.stdout, done.stderr) == (0, "nothing found\n", "")


def test_again_without_network_and_with_runc_alone(pasted, tmp_path):
    clone, first = pasted
    if not shutil.which("runc") or os.geteuid() != 0:
        pytest.skip("no runc, or not root")
    assert first.returncode == 0
    refusing = tmp_path / "podman"
    refusing.write_text("#!/bin/sh\necho 'not today' >&2\nexit 125\n")
    refusing.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = paste(SHELL_BLOCKS[0], clone, prefix=("unshare", "--net"), PATH=path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not today\npodman could not run the image here" in done.stderr
    assert greeted(done, clone)


def test_engines_that_all_fail_are_an_error(pasted, tmp_path):
    clone, _ = pasted
    for engine in ("podman", "runc"):
        (tmp_path / engine).write_text("#!/bin/sh\nexit 125\n")
        (tmp_path / engine).chmod(0o755)
    done = paste(SHELL_BLOCKS[0], clone, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 3
    assert "the image is built, but could not be run by: podman runc" in done.stderr


def test_second_block_builds_the_site(pasted):
    clone, _ = pasted
    done = paste(SHELL_BLOCKS[1], clone)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row[1] for row in ROW.findall(done.stdout)] == ["packages", "packages", "host"]
    assert "packages of layer runtime:\nPACKAGE " in done.stdout
    assert "jq -Rrs length /srv/site/README.md" in done.stdout
    outputs = ["site-oci", "site-oci-dir.tar", "site-oci.json", "site-oci.tar"]
    links = [name.replace("site-", "site-latest-", 1) for name in outputs]
    assert sorted(os.listdir(clone / "deploy")) == sorted([*outputs, *links])


def test_ordinary_user_builds_the_same_layers(pasted, pasted_by_nobody):
    clone, done = pasted_by_nobody
    assert "Building" in done.stdout, done.stdout + done.stderr
    assert len(ROW.findall(done.stdout)) == 4
    # Whether an ordinary user may run containers is up to the machine; what is not run is said.
    assert greeted(done, clone) or "could not be run by" in done.stderr or "was not run" in done.stdout
    of_root = [layer["digest"] for layer in report(pasted[0])["layers"]]
    assert [layer["digest"] for layer in report(clone)["layers"]] == of_root


def test_ordinary_users_image_is_roots(pasted_by_nobody):
    clone, _ = pasted_by_nobody
    found = {entry.name: (entry.uid, entry.gid, entry.mode) for entry in layers(clone)}
    assert {uid for uid, _, _ in found.values()} == {0}
    for name in ("usr/bin/hello", "usr/bin/jq", "usr/bin/sh", "etc/passwd", "var/lib/dpkg/status"):
        assert found[name][:2] == (0, 0)
    assert found["tmp"] == (0, 0, 0o1777)
    assert found["var/local"] == (0, 50, 0o2775)


@pytest.mark.parametrize("line", ["pasted", "pasted_by_nobody", "pasted_without_apt"])
def test_nothing_is_left_outside_the_work_folder(line, request):
    clone, _ = request.getfixturevalue(line)
    git = ["git", "-c", "safe.directory=*", "-C", clone]
    status = subprocess.run([*git, "status", "--porcelain"], capture_output=True, check=True)
    assert status.stdout in (b"", b"?? site.conf\n")
