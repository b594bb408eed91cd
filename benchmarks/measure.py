# SPDX-License-Identifier: MIT
"""What one run costs, what it made, and what machine it ran on."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Cost(NamedTuple):
    """Of a process and all it waited for.

    `status` is its exit status, None where it was stopped as it took too long; `wall` and `cpu` (user and system) are
    seconds, `peak` the MiB of its largest process.
    """

    status: int | None
    wall: float
    cpu: float
    peak: float


# Starts a program whose messages go into a file, waits for it, and says its exit status and what it cost: seconds on
# the clock, CPU seconds, KiB. A process of its own, as the memory of the one that a program begins as counts for it.
_RUN = """
import os, sys, time
messages, *command = sys.argv[1:]
actions = [
    (os.POSIX_SPAWN_OPEN, 1, messages, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
    (os.POSIX_SPAWN_DUP2, 1, 2),
]
begun = time.monotonic()
pid = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
_, status, usage = os.wait4(pid, 0)
wall = time.monotonic() - begun
print(os.waitstatus_to_exitcode(status), wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
"""


def measure(command: list[str], env: Mapping[str, str], messages: str, timeout: float) -> Cost:
    """Run a command, whose messages go into the file `messages`.

    All that was written before is on the disk by then, so that no run pays for another's.
    """
    os.sync()
    runner = [sys.executable, "-ISc", _RUN, messages, *command]
    # In a group of their own, so that all of it can be stopped.
    with subprocess.Popen(
        runner, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            said, _ = process.communicate(timeout=timeout)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                return Cost(None, timeout, 0, 0)
            raise
    if process.returncode:
        raise FileNotFoundError(f"{command[0]} can not be run")
    status, wall, cpu, peak = said.split()
    return Cost(int(status), float(wall), float(cpu), int(peak) / 1024)


class Image(NamedTuple):
    """An image in a layout: its manifest's digest, and those of its layers with their sizes."""

    digest: str
    layers: dict[str, int]


def read_image(layout: str) -> Image:
    """The one image of a layout, once each of its blobs is found to have the digest it is named by.

    Raises:
        ValueError: a blob has not.
        OSError, KeyError: something is missing.
    """
    with open(os.path.join(layout, "index.json"), encoding="utf-8") as file:
        (entry,) = json.load(file)["manifests"]
    manifest = json.loads(_blob(layout, entry["digest"]))
    _blob(layout, manifest["config"]["digest"])
    for layer in manifest["layers"]:
        _check(layout, layer["digest"])
    return Image(entry["digest"], {layer["digest"]: layer["size"] for layer in manifest["layers"]})


def read_packed(place: str, name: str) -> Image:
    """The layer that is packed in a folder as the file `name`, once it is found to have the digest beside it.

    Raises:
        ValueError: it has not.
        OSError: something is missing.
    """
    path = os.path.join(place, name)
    with open(path, "rb") as file, open(os.path.join(place, "digest"), encoding="ascii") as said:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if said.read().split()[0] != digest:
            raise ValueError(f"{name} has not the digest that is said of it")
    return Image("", {f"sha256:{digest}": os.path.getsize(path)})


def _check(layout: str, digest: str) -> str:
    path = os.path.join(layout, "blobs", *digest.split(":"))
    with open(path, "rb") as file:
        if f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" != digest:
            raise ValueError(f"the blob {digest} is damaged")
    return path


def _blob(layout: str, digest: str) -> bytes:
    with open(_check(layout, digest), "rb") as file:
        return file.read()


def machine(work: str) -> dict[str, Any]:
    """The machine, without anything that names it."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory GiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "file system": file_system(work),
        "Python": platform.python_version(),
    }


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()


def file_system(path: str) -> str:
    """The type of the file system that holds a path."""
    path, found, kind = os.path.join(os.path.realpath(path), ""), "", "unknown"
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            mounted, _, source = line.partition(" - ")
            place = os.path.join(mounted.split()[4], "")
            if path.startswith(place) and len(place) >= len(found):
                found, kind = place, source.split()[0]
    return kind


def version_of(*command: str) -> str:
    """The version in the first line that a program prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"\d+\.[\w.+~-]*\w", done.stdout.splitlines()[0])
    return found[0] if found else "unknown"
