# SPDX-License-Identifier: MIT
"""Root file systems of the distribution's real packages: apt resolves and fetches them, dpkg-deb unpacks them.

What was fetched stays in the user's cache folder, outside the repository and pytest's own folders. apt's state is our
own, with nothing installed, so a list always has the same closure.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

# With all they depend on. usr-is-merged is what a new system has in place of usrmerge, which needs all of perl.
PACKAGES = (
    *("base-files", "base-passwd", "bash", "busybox-static", "ca-certificates", "coreutils", "dash", "debianutils"),
    *("diffutils", "findutils", "grep", "gzip", "hostname", "iputils-ping", "jq", "login", "mount", "ncurses-bin"),
    *("netbase", "openssl", "passwd", "procps", "sed", "tar", "usr-is-merged", "util-linux"),
)
FEWEST = 60

_MERGED = ("bin", "lib", "lib64", "sbin")
# Read when the module is loaded: the tests' own environment has another home.
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "oe-oci-tests"
_APT_CONF = """\
Dir::State "{0}";
Dir::State::status "{0}/status";
Dir::Cache "{0}";
Dir::Cache::archives "{1}";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "3";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
"""


def packages(names: Iterable[str] = PACKAGES) -> dict[str, Path]:
    """The package files of `names` and of all they depend on, by package name; fetched where they are missing."""
    for tool in ("apt-get", "dpkg-deb", "tar"):
        if not shutil.which(tool):
            pytest.skip(f"no {tool}")
    wanted = sorted(names)
    release = "-".join(platform.freedesktop_os_release().get(key, "") for key in ("ID", "VERSION_ID"))
    key = hashlib.sha256(" ".join([release, platform.machine(), *wanted]).encode()).hexdigest()[:16]
    folder = _CACHE / f"packages-{key}"
    _CACHE.mkdir(parents=True, exist_ok=True)
    with open(_CACHE / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _fetch(wanted, folder)
            (folder / ".complete").touch()
    return {path.name.partition("_")[0]: path for path in sorted(folder.glob("*.deb"))}


def _fetch(names: list[str], folder: Path) -> None:
    apt = folder / "apt"
    for part in (apt / "lists" / "partial", folder / "partial"):
        part.mkdir(parents=True)
    (apt / "status").touch()
    (apt / "apt.conf").write_text(_APT_CONF.format(apt, folder), encoding="utf-8")
    command = ["apt-get", "-q", "-c", f"{apt}/apt.conf"]
    for words in (["update"], ["install", "-y", "--download-only", *names]):
        done = subprocess.run(
            [*command, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=600, check=False
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout.decode()}{done.stderr.decode()}"
    shutil.rmtree(apt)


def unpack(files: Iterable[Path], rootfs: Path) -> Path:
    """Unpack packages into `rootfs`, which is made, with /bin, /sbin and /lib as links into /usr. Runs no script."""
    for name in _MERGED:
        (rootfs / "usr" / name).mkdir(parents=True)
        (rootfs / name).symlink_to(f"usr/{name}")
    for file in files:
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", file], stdout=subprocess.PIPE) as data:
            subprocess.run(
                ["tar", "-C", rootfs, "-xp", "--keep-directory-symlink", "--numeric-owner"],
                stdin=data.stdout,
                check=True,
            )
        assert data.returncode == 0, file
    return rootfs
