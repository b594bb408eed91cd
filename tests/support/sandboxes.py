# SPDX-License-Identifier: MIT
"""Scripts run in a sandbox by whoever may: root, root of a namespace, an ordinary user under fakeroot or pseudo."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from . import namespaces, tools

if TYPE_CHECKING:
    from collections.abc import Mapping

WAYS = ("root", "namespace", "fakeroot", "pseudo")
ROOTS = WAYS[:2]
PROGRAMS = ("bwrap", "unshare")

# Its argument is what to run, as JSON; what it prints is how that went, and what its session tells of the owners.
_DRIVER = """
import json, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell ignores in the background
from oe_oci.errors import ToolError
from oe_oci.packages.maintainer import sandbox
from oe_oci.run import Limits
asked = json.loads(sys.argv[1])
for name in set(sandbox._PROGRAMS) - {asked["program"]}:
    del sandbox._PROGRAMS[name]
try:
    made = getattr(sandbox, asked["mode"])(asked["root"], asked["scratch"], limits=Limits(**asked["limits"]))
    path = made.place("script", asked["script"].encode())
    ran = made.run(["sh", path, *asked["words"]], asked["env"], stdin=asked["stdin"].encode())
except ToolError as error:
    print(json.dumps({"error": str(error)}))
else:
    owners = {}
    for name in os.listdir(asked["root"]):
        facts = os.lstat(os.path.join(asked["root"], name))
        owners[name] = [facts.st_uid, facts.st_gid]
    print(json.dumps({**ran._asdict(), "program": made.program, "owners": owners}))
"""


class Told(NamedTuple):
    """What the driver printed."""

    status: int = -1
    said: str = ""
    ended: str = ""
    program: str = ""
    owners: Mapping[str, list[int]] = {}
    error: str = ""

    @property
    def lines(self) -> list[str]:
        return self.said.splitlines()


class Box:
    """A root and a scratch folder in `folder`, and scripts run with them in the way `way`, isolated by `program`."""

    def __init__(self, product: tools.Copy, folder: Path, way: str, program: str) -> None:
        tools.need_root()
        tools.need(program, *({"fakeroot", "pseudo"} & {way}))
        self.root, self.scratch = folder / "root", folder / "scratch"
        self._state = folder / "state"
        self._product, self._way, self._program = product, way, program
        for path in (self.root, self.scratch, self._state):
            path.mkdir()
        if way != "root":
            tools.give_to_nobody(folder)

    def argv(self, script: str, *words: str, mode: str = "offline", **asked: Any) -> list[str]:
        """The words that run the driver."""
        env = {"D": str(self.root), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **asked.pop("env", {})}
        values = {"root": str(self.root), "scratch": str(self.scratch), "mode": mode, "program": self._program}
        values |= {"script": script, "words": words, "env": env, "stdin": asked.pop("stdin", ""), "limits": asked}
        return [*self._before(), self._product.program, "-c", _DRIVER, json.dumps(values)]

    def environment(self) -> dict[str, str]:
        """The variables of the driver."""
        return self._product.environment()

    def run(self, script: str, *words: str, **asked: Any) -> Told:
        """Run a script; `asked` are its limits, `mode`, `env` and `stdin`."""
        done = tools.run(*self.argv(script, *words, **asked), env=self.environment())
        return Told(**json.loads(done.stdout))

    def _before(self) -> list[str]:
        if self._way == "root":
            return ["env"]
        if self._way == "namespace":
            return [*namespaces.as_root_of_many(), "/usr/bin/env"]
        if self._way == "fakeroot":
            return [*tools.as_nobody(), "fakeroot"]
        return [*tools.as_nobody(), "PSEUDO_PREFIX=/usr", f"PSEUDO_LOCALSTATEDIR={self._state}", "pseudo"]


def add_busybox(root: Path) -> None:
    """An image that is a shell and its programs."""
    tools.need("busybox")
    (root / "bin").mkdir(exist_ok=True)
    shutil.copy(shutil.which("busybox") or "", root / "bin" / "busybox")
    for name in tools.run("busybox", "--list").stdout.split():
        with contextlib.suppress(FileExistsError):
            (root / "bin" / name).symlink_to("busybox")


def running(token: str) -> list[str]:
    """The processes of this machine with a word in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if token.encode() in words:
                found.append(path.parent.name)
    return found
