# SPDX-License-Identifier: MIT
"""The command line run very often: each time in a fork of one process that has everything imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HANGS = 60  # seconds, after which a run is ended by SIGALRM
# The commands' imports; what is imported later is imported in each fork again.
_SERVER = """\
import json, os, signal, sys, traceback
from oe_oci import cli, audit, build, cachecommands, commands, configure, preview, render, upkeep
from oe_oci.packages import installer, payload, place, resolve, solver, world

def child(request):
    os.setpgid(0, 0)
    for number, name in ((0, os.devnull), (1, request["out"]), (2, request["err"])):
        os.dup2(os.open(name, os.O_RDWR), number)
    sys.stdin = open(os.devnull)
    signal.alarm(request["hangs"])
    os.environ.update(request["env"])
    names = {"__name__": "before"}
    try:
        exec(request["before"], names)
        status = cli.main(request["argv"])
        if "after" in names:
            names["after"]()
    except SystemExit as error:
        status = error.code
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

for line in sys.stdin:
    pid = os.fork()
    if not pid:
        child(json.loads(line))
    _, status = os.waitpid(pid, 0)
    sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\\n")
    sys.stdout.flush()
"""


class Done(NamedTuple):
    """How a run ended: its exit status, the negated signal that ended it, and what it wrote."""

    status: int
    stdout: str
    stderr: str


class Forks:
    """Runs the product; a context manager. One run at a time."""

    def __enter__(self) -> Forks:
        self._folder = tempfile.TemporaryDirectory(prefix="oe-oci-forks-")
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen([sys.executable, "-c", _SERVER], encoding="utf-8", **pipes)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=HANGS + 10)
        self._folder.cleanup()

    def __call__(
        self, *words: object, before: str = "", status: int | None = 0, env: Mapping[str, str] | None = None
    ) -> Done:
        """Run a command and assert its status, None for any.

        `before` is run first in the same process; where it makes a function `after`, that is called at the end.
        """
        out, err = Path(self._folder.name, "out"), Path(self._folder.name, "err")
        for file in (out, err):
            file.write_bytes(b"")
        argv = [os.fsdecode(word) if isinstance(word, (bytes, Path)) else str(word) for word in words]
        request = {"argv": argv, "before": before, "out": str(out), "err": str(err), "hangs": HANGS, "env": env or {}}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        ended = int(self._process.stdout.readline())
        texts = [file.read_text(encoding="utf-8", errors="backslashreplace") for file in (out, err)]
        assert status is None or ended == status, f"{argv}: status {ended}\n{texts[0]}{texts[1]}"
        return Done(ended, *texts)


def running() -> Iterator[Forks]:
    """For a fixture."""
    with Forks() as forks:
        yield forks
