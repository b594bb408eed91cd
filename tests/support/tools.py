# SPDX-License-Identifier: MIT
"""The programs that take images, each with a storage and a time limit of its own; nothing of theirs is left behind."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from oe_oci import digests

from . import compare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).parents[2]
NOBODY = 65534
_PRODUCT_NEEDS = ("isal", "zlib-ng", "pyzstd", "backports-zstd", "typing-extensions", "solv")

Done = subprocess.CompletedProcess[str]


def need(*programs: str) -> None:
    """Skip where one is missing."""
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"no {program}")


def need_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("not root")


def need_own_disk(path: Path) -> None:
    """Skip where no digest of a file is remembered."""
    if not digests._is_local(os.fsencode(os.path.realpath(path))):
        pytest.skip(f"{path} is on no disk of this machine's own")


def run(*argv: object, status: int | None = 0, timeout: float = 120, **options: Any) -> Done:
    """Run a program and assert its exit status, `None` for any."""
    words = [os.fsencode(word) if isinstance(word, Path) else str(word) for word in argv]
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    done: Done = subprocess.run(
        words, timeout=timeout, check=False, encoding="utf-8", errors="backslashreplace", **options
    )
    told = f"{' '.join(map(str, argv))}: status {done.returncode}\n{done.stdout or ''}{done.stderr or ''}"
    assert status is None or done.returncode == status, told
    return done


def environment(**changes: str | None) -> dict[str, str]:
    """The tests' environment with variables set, or with None unset."""
    merged = {**os.environ, **changes}
    return {name: value for name, value in merged.items() if value is not None}


# ---- the product


def oe_oci(*words: object, status: int | None = 0, env: Mapping[str, str] | None = None, **options: Any) -> Done:
    """Run the command line in a process of its own."""
    return run(sys.executable, "-m", "oe_oci", *words, status=status, env=env, **{"timeout": 300, **options})


def build(conf: Path, deploy_dir: Path, *words: object, **options: Any) -> dict[str, Any]:
    """Build an image; its report."""
    done = oe_oci("build", conf, "--deploy-dir", deploy_dir, "--json", *words, **options)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


class Copy:
    """The product where every user may read it, and an interpreter that every user may run."""

    def __init__(self, folder: Path) -> None:
        library = folder / "lib"
        shutil.copytree(ROOT / "oe_oci", library / "oe_oci", ignore=shutil.ignore_patterns("__pycache__"))
        for name in _PRODUCT_NEEDS:
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                _copy_distribution(name, library)
        self._environment = {"PYTHONPATH": str(library), "PYTHONDONTWRITEBYTECODE": "1"}
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        for program in (os.path.realpath(sys.executable), f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
            probe = [*as_nobody(), program, "-c", "import oe_oci, pyzstd; from zlib_ng import zlib_ng"]
            with contextlib.suppress(AssertionError, OSError):
                run(*probe, env=environment(**self._environment), cwd="/")
                self.program = program
                return
        pytest.skip(f"no {version} that an ordinary user may run")

    def words(self) -> list[str]:
        """The words before an interpreter and its own that have this one take them."""
        return ["sh", "-c", f'shift; exec {self.program} "$@"', "sh"]

    def environment(self, **changes: str | None) -> dict[str, str]:
        return environment(**{**self._environment, **changes})


def _copy_distribution(name: str, library: Path) -> None:
    for file in importlib.metadata.files(name) or ():
        if ".." not in file.parts and file.suffix != ".pyc":
            target = library / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), target)


def as_nobody() -> list[str]:
    """The words before a command that make it an ordinary user's."""
    need_root()
    need("setpriv")
    # setpriv itself could still start a program that the user may not; env can not.
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "env"]


def give_to_nobody(*folders: Path) -> None:
    for folder in folders:
        run("chown", "-R", f"{NOBODY}:{NOBODY}", folder)


# ---- folders


@contextlib.contextmanager
def scratch(prefix: str = "oe-oci-", mode: int = 0o700) -> Iterator[Path]:
    """A folder with a short path, for sockets, that is gone afterwards with all that was mounted in it."""
    folder = Path(os.path.realpath(tempfile.mkdtemp(prefix=prefix)))
    folder.chmod(mode)
    try:
        yield folder
    finally:
        unmount(folder)
        shutil.rmtree(folder)


def mounts(folder: Path) -> list[str]:
    """What is mounted at `folder` or in it, the last one first."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    places = [line.split(" ")[4] for line in lines]
    return [place for place in reversed(places) if place == str(folder) or place.startswith(f"{folder}/")]


def unmount(folder: Path) -> None:
    for place in mounts(folder):
        run("umount", "-l", place, status=None)


@contextlib.contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[Path]:
    """A small disk."""
    need_root()
    folder.mkdir(parents=True, exist_ok=folder.is_relative_to("/proc"))
    if run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", folder, status=None).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield folder
    finally:
        run("umount", folder)


# ---- consumers of images


def umoci_unpack(layout: Path, tag: str, bundle: Path) -> Path:
    """The root file system as umoci unpacks it, as root."""
    need_root()
    need("umoci")
    run("umoci", "unpack", "--image", f"{layout}:{tag}", bundle)
    return bundle / "rootfs"


def runc_run(bundle: Path, status: int | None = 0) -> Done:
    """Run what umoci unpacked."""
    need("runc")
    path = bundle / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["process"]["terminal"] = False
    path.write_text(json.dumps(config), encoding="utf-8")
    with scratch() as state:
        return run("runc", "--root", state, "run", "--bundle", bundle, state.name, status=status)


class Podman:
    """podman with its own storage; a context manager."""

    def __init__(self) -> None:
        need_root()
        need("podman", "runc")
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Podman:
        folder = self._stack.enter_context(scratch("oe-oci-podman-"))
        self._words = ["podman", "--root", folder / "root", "--runroot", folder / "run", "--tmpdir", folder / "tmp"]
        self._words += ["--storage-driver", "overlay", "--runtime", "runc"]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self, *words: object, **options: Any) -> Done:
        return run(*self._words, *words, **options)

    @contextlib.contextmanager
    def mounted(self, image: str) -> Iterator[Path]:
        """The image's file system."""
        place = Path(self("image", "mount", image).stdout.strip())
        try:
            yield place
        finally:
            self("image", "umount", image)

    def assert_holds(self, image: str, expected: compare.Listing) -> None:
        """The image's file system is the one expected.

        podman's overlay driver gives the root directory of every layer 0555, whatever `./` of the layer says: seen
        with podman 4.3.1, for umoci's layers as for ours. buildah's vfs driver takes the mode that is written.
        """
        with self.mounted(image) as place:
            found = compare.listing(place)
        if found[b"."].mode == "0555":
            found[b"."] = found[b"."]._replace(mode=expected[b"."].mode)
        compare.assert_same(expected, found)

    def names(self) -> list[str]:
        images = json.loads(self("images", "--format", "json").stdout)
        return sorted(name for image in images for name in image.get("Names") or ())


class Buildah:
    """buildah with its own storage; a context manager. Runs no container."""

    def __init__(self, driver: str) -> None:
        need_root()
        need("buildah")
        self._driver = driver
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Buildah:
        folder = self._stack.enter_context(scratch("oe-oci-buildah-"))
        self._words = ["buildah", "--root", folder / "root", "--runroot", folder / "run"]
        self._words += ["--storage-driver", self._driver]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self, *words: object) -> str:
        return run(*self._words, *words).stdout.strip()


class _Daemon:
    """A daemon in a folder of its own; a context manager."""

    def __init__(self, *programs: str) -> None:
        need_root()
        need(*programs)
        self._stack = contextlib.ExitStack()

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, argv: list[object], folder: Path, ready: Callable[[], bool]) -> None:
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(
                [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._stack.callback(_stop, process)
        deadline = time.monotonic() + 60
        while not ready():
            text = (folder / "log").read_text(encoding="utf-8", errors="replace")[-2000:]
            assert process.poll() is None, f"{argv[0]} ended: {text}"
            assert time.monotonic() < deadline, f"{argv[0]} does not answer: {text}"
            time.sleep(0.1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Containerd(_Daemon):
    """containerd and its client."""

    def __init__(self) -> None:
        super().__init__("containerd", "ctr", "runc")

    def __enter__(self) -> Containerd:
        folder = self._stack.enter_context(scratch("oe-oci-ctr-"))
        self._socket = folder / "socket"
        config = folder / "config.toml"
        config.write_text(
            f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{self._socket}"\n',
            encoding="utf-8",
        )
        self._start(
            ["containerd", "-c", config], folder, lambda: self("version", status=None, timeout=10).returncode == 0
        )
        return self

    def __call__(self, *words: object, **options: Any) -> Done:
        return run("ctr", "-a", self._socket, *words, **options)

    def names(self) -> list[str]:
        return sorted(self("images", "ls", "-q").stdout.split())


class Docker(_Daemon):
    """dockerd without a network, and its client."""

    def __init__(self) -> None:
        super().__init__("dockerd", "containerd", "runc")
        # The first of the name on the PATH need not be it.
        folders = os.environ["PATH"].split(":")
        found = (f"{folder}/docker" for folder in folders if os.access(f"{folder}/docker", os.X_OK))
        clients = [path for path in found if _is_docker(path)]
        if not clients:
            pytest.skip("no docker")
        self._client = clients[0]

    def __enter__(self) -> Docker:
        folder = self._stack.enter_context(scratch("oe-oci-docker-"))
        self._socket = folder / "socket"
        (folder / "daemon.json").write_text("{}", encoding="utf-8")
        argv = ["dockerd", "--config-file", folder / "daemon.json", "--data-root", folder / "data", "--exec-root"]
        argv += [folder / "exec", "-H", f"unix://{self._socket}", "-p", folder / "pid", "--bridge=none"]
        argv += ["--iptables=false", "--ip-forward=false", "--default-ulimit", "nofile=1024:1024"]
        self._start(argv, folder, lambda: self("info", status=None, timeout=10).returncode == 0)
        return self

    def __call__(self, *words: object, **options: Any) -> Done:
        return run(self._client, "-H", f"unix://{self._socket}", *words, **options)

    def names(self) -> list[str]:
        return sorted(self("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split())


def _is_docker(path: str) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired, OSError):
        return run(path, "--version", status=None, timeout=10).stdout.startswith("Docker version")
    return False


def skopeo_copy(source: str, target: str) -> None:
    need("skopeo")
    run("skopeo", "--insecure-policy", "copy", "-q", source, target)
