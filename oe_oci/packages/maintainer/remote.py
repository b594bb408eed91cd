# SPDX-License-Identifier: MIT
"""The directory that scripts of packages run in, kept by a worker that has more rights there than the build.

Only what changed is sent, the bytes of files as the worker asks for them; what scripts made is read from copies that
the worker leaves for the build. What did not change has the very entry that it had. Must not know packages.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Callable

from ...content import Part, Region, Stored, pieces
from ...errors import InputError, OciError, ToolError
from ...run import Worker
from ...tree import BLOCK, CHAR, DIRECTORY, decode, encode, parent
from ..native.root import copies_in, copy_in
from .ran import Ran
from .subordinate import give_ids
from .wire import Ended, Wire, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    from ...content import Content
    from ...tree import Entry
    from .ran import Make
    from .subordinate import Setting

# Nothing of the caller's folder or environment is looked at for modules, but what this process has.
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from oe_oci.packages.maintainer.worker import main; main()"
_ERRORS = {"InputError": InputError, "ToolError": ToolError}


class RemoteWork:
    """A `Work` in the folder `folder`, by a worker in a user namespace that has the ids `given`.

    With no ids it is in no namespace. The worker imports the module of the function `sandbox`.
    Devices, which no such namespace can have, are left out of the directory; they are told of as long as nothing else
    is in their place.
    """

    def __init__(
        self,
        folder: str,
        epoch: int | None,
        jobs: int,
        sandbox: Make,
        given: tuple[Setting, ...],
    ) -> None:
        self.root = os.path.join(folder, "root")
        self.scratch = os.path.join(folder, "scratch")
        self._opening = [bool(given), folder, epoch, jobs, _named(sandbox)]
        self._given = given
        self._copies = encode(copies_in(folder))
        self._known: dict[str, Entry] = {}
        self._devices: dict[str, Entry] = {}
        self._contents: list[Content] = []
        self._numbers: dict[Content | str, int] = {}
        self._inodes: dict[Hashable, int | list[Any]] = {}
        self._reading: Iterator[memoryview] = iter(())
        self._refused: OciError | None = None
        self._dated: Callable[[str], bool] = bool

    def __enter__(self) -> RemoteWork:
        self._start()
        try:
            self._ask("open", *self._opening)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        if self._worker.finish().status:
            # It was killed, and only another one may remove what it left.
            self._start()
            with contextlib.suppress(ToolError):
                self._ask("open", *self._opening)
            self._worker.finish()

    def _start(self) -> None:
        self._worker = Worker([sys.executable, "-IBc", _PROGRAM, *sys.path])
        self._wire = Wire(self._worker.connection)

    # ---- what is asked for

    def sync(self, entries: Mapping[str, Entry]) -> None:
        devices = {path: entry for path, entry in entries.items() if entry.kind in (CHAR, BLOCK)}
        known = {path: entry for path, entry in entries.items() if path not in devices}
        gone = [path for path in self._known if path not in known]
        changed = [self._packed(path, entry) for path, entry in known.items() if self._known.get(path) != entry]
        self._ask("sync", gone, changed)
        self._known, self._devices = known, devices

    def begin(self) -> None:
        self._ask("begin")

    def scan(self, dated: Callable[[str], bool] = lambda _path: False) -> dict[str, Entry]:
        self._dated = dated
        gone, changed = self._ask("scan")
        for path in gone:
            del self._known[path]
        for value in changed:
            self._known[value[0]] = self._unpacked(value)
        self._devices = {path: entry for path, entry in self._devices.items() if self._has_room(path)}
        return {**self._known, **self._devices}

    def forget(self, path: str) -> list[str]:
        lost = [name for name in self._devices if name == path or name.startswith(f"{path}/")]
        for inner in lost:
            del self._devices[inner]
        if path in lost:
            return lost
        told = self._ask("forget", path)
        for inner in told:
            self._known.pop(inner, None)
        return [*told, *lost]

    def place(self, name: str, content: bytes) -> str:
        return str(self._ask("place", name, decode(content)))

    def run(self, argv: Sequence[str], env: Mapping[str, str], stdin: bytes = b"") -> Ran:
        return Ran(*self._ask("run", list(argv), dict(env), decode(stdin)))

    def _has_room(self, path: str) -> bool:
        """Whether a device is still where it was: nothing else is, and its directory is there."""
        up = self._known.get(parent(path))
        return path not in self._known and up is not None and up.kind == DIRECTORY

    # ---- entries

    def _packed(self, path: str, entry: Entry) -> list[Any]:
        content = None if entry.content is None else self._name(entry.content)
        inode = None if entry.inode is None else self._inodes.setdefault(entry.inode, len(self._inodes))
        return packed(path, entry, content, inode)

    def _name(self, content: Content) -> int | str:
        """What the worker knows a content by: a number that it asks for, or the digest of a copy that it made."""
        if isinstance(content, Region) and content.digest and content.path.startswith(self._copies + b"/"):
            return content.digest.hex()
        key = content.digest or content if isinstance(content, (Part, Stored)) else content
        number = self._numbers.setdefault(key, len(self._contents))
        if number == len(self._contents):
            self._contents.append(content)
        return number

    def _unpacked(self, value: list[Any]) -> Entry:
        digest, told = value[-2:]
        content = None
        if digest is not None:
            content = Region(copy_in(self._copies, digest), 0, value[6], digest=bytes.fromhex(digest))
        inode = None if told is None else tuple(told)
        if inode is not None:
            self._inodes[inode] = told
        return unpacked(value, content, inode)

    # ---- the talk

    def _ask(self, word: str, *values: Any) -> Any:
        """Have the worker do something, and give it what it asks for meanwhile."""
        try:
            self._wire.say(word, *values)
            while True:
                said, told = self._wire.hear()
                if said == "done":
                    return told[0]
                self._reply(said, told)
        except Ended as error:
            raise self._lost() from error

    def _reply(self, said: str, told: list[Any]) -> None:
        if said == "content":
            self._give(*told)
        elif said == "dated":
            self._wire.say("dated", self._dated(told[0]))
        elif said == "map":
            give_ids(self._worker.pid, self._given)
            self._wire.say("mapped")
        elif said == "error":
            name, message, hint = told
            raise _ERRORS[name](message, hint=hint)
        elif said == "refused" and self._refused is not None:
            raise self._refused
        else:
            raise RuntimeError("\n".join([said, *told]))

    def _give(self, number: int, offset: int, size: int) -> None:
        """Send a piece of a content; nothing where it can not be read, and then the worker gives up."""
        try:
            if not offset:
                self._reading = pieces(self._contents[number])
            piece = next(self._reading)
        except OciError as error:
            self._refused = error
            piece = memoryview(b"")
        assert len(piece) in (0, size)
        self._wire.send(piece)

    def _lost(self) -> ToolError:
        done = self._worker.finish()
        how = f"ended with status {done.status}"
        if done.status < 0:
            how = f"was killed by {signal.Signals(-done.status).name}"
        hint = done.errors or "start again; where it happens again, see whether the memory of this machine is enough"
        return ToolError(f"the process that has the directory for the scripts of packages {how}", hint=hint)


def _named(sandbox: Make) -> list[Any]:
    """What the worker finds a function by: module, name, and the arguments of a partial."""
    part = sandbox if isinstance(sandbox, partial) else partial(sandbox)
    return [part.func.__module__, part.func.__qualname__, part.args, part.keywords]
