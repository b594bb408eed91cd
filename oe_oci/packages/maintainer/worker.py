# SPDX-License-Identifier: MIT
"""The worker: has the directory that scripts of packages run in, and does there what a build asks for.

It is a process of its own, as root of a user namespace that the build is not in. It ends with the build: when that is
there no longer a script that runs is stopped as by Ctrl-C, and the folder is removed. Must not know packages.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import signal
import socket
import threading
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any, Callable

from ...content import Part, Region
from ...errors import InputError, ToolError
from ...tree import encode, shown
from ..native.root import WorkRoot, copies_in, copy_in
from .subordinate import DENIED, Owners, enter_namespace
from .wire import Ended, Wire, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...content import Content
    from ...notes import Notes
    from ...tree import Entry
    from .ran import Sandbox

PURPOSE = "for the scripts of packages"


class _Refused(Exception):  # noqa: N818 - the build knows the fault
    """The build could not give the bytes that it was asked for."""


class _Lent:
    """A content of the build's, asked for in pieces as they are needed."""

    def __init__(self, wire: Wire, number: int) -> None:
        self.notes: Notes | None = None
        self._wire = wire
        self._number = number

    def readinto(self, view: memoryview, offset: int) -> None:
        self._wire.say("content", self._number, offset, len(view))
        if not self._wire.receive(view):
            raise _Refused


class _Servant:
    """Does what the build asks for; `entries` are what both know the directory to hold."""

    def __init__(self, connection: socket.socket, folder: str, root: WorkRoot, sandbox: Sandbox) -> None:
        self._connection = connection
        self._wire = Wire(connection)
        self._copies = encode(copies_in(folder))
        self._root = root
        self._sandbox = sandbox
        self._owners = Owners()
        self._entries: dict[str, Entry] = {}
        self._lent: dict[int, _Lent] = {}

    def sync(self, gone: list[str], changed: list[list[Any]]) -> None:
        for path, _, _, uid, gid, *_ in changed:
            self._owners.check(shown(path), uid, gid)
        lost = frozenset(gone)
        entries = {path: entry for path, entry in self._entries.items() if path not in lost}
        entries.update((value[0], self._unpacked(value)) for value in changed)
        self._root.sync(entries)
        self._entries = entries

    def _unpacked(self, value: list[Any]) -> Entry:
        name, inode = value[-2:]
        content = None if name is None else self._content(name, value[6])
        return unpacked(value, content, tuple(inode) if isinstance(inode, list) else inode)

    def _content(self, name: int | str, size: int) -> Content:
        if isinstance(name, str):
            return Region(copy_in(self._copies, name), 0, size, digest=bytes.fromhex(name))
        return Part(self._lent.setdefault(name, _Lent(self._wire, name)), 0, size, "")

    def begin(self) -> None:
        self._root.begin()

    def scan(self) -> tuple[list[str], list[list[Any]]]:
        found = self._root.scan(self._is_dated)
        gone = [path for path in self._entries if path not in found]
        changed = [_told(path, entry) for path, entry in found.items() if entry is not self._entries.get(path)]
        self._entries = found
        return gone, changed

    def _is_dated(self, path: str) -> bool:
        self._wire.say("dated", path)
        _, (is_dated,) = self._wire.hear()
        return bool(is_dated)

    def forget(self, path: str) -> list[str]:
        lost = self._root.forget(path)
        for inner in lost:
            self._entries.pop(inner, None)
        return lost

    def place(self, name: str, content: str) -> str:
        return self._sandbox.place(name, encode(content))

    def run(self, argv: list[str], env: dict[str, str], stdin: str) -> list[Any]:
        with _interrupted_at_end(self._connection):
            return list(self._sandbox.run(argv, env, stdin=encode(stdin)))


def _told(path: str, entry: Entry) -> list[Any]:
    content = entry.content
    assert content is None or isinstance(content, Region)
    return packed(path, entry, None if content is None else content.digest.hex(), entry.inode)  # type: ignore[arg-type]


@contextlib.contextmanager
def _interrupted_at_end(connection: socket.socket) -> Iterator[None]:
    """Interrupts what is done meanwhile, as Ctrl-C does, when the other side of the connection is closed."""
    inside, done = os.pipe()
    watcher = threading.Thread(target=_watch, args=(connection.fileno(), inside), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        os.close(done)
        watcher.join()
        os.close(inside)


def _watch(connection: int, done: int) -> None:
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    poll.register(done, 0)
    if connection in dict(poll.poll()):
        os.kill(os.getpid(), signal.SIGINT)


def _answer(wire: Wire, act: Callable[[], Any]) -> None:
    """Do something, and tell how it went."""
    try:
        value = act()
    except (InputError, ToolError) as error:
        wire.say("error", type(error).__name__, error.message, error.hint)
    except _Refused:
        wire.say("refused")
    except Ended:
        raise
    except Exception:  # noqa: BLE001 - raised again by the build
        wire.say("bug", traceback.format_exc())
    else:
        wire.say("done", value)


def _serve(connection: socket.socket, stack: contextlib.ExitStack) -> None:
    wire = Wire(connection)
    _, (maps, folder, epoch, jobs, (module, name, words, named)) = wire.hear()
    servants: list[_Servant] = []

    def begin() -> None:
        if maps:
            enter_namespace()
            wire.say("map")
            wire.hear()
        root = WorkRoot(folder, epoch, jobs, purpose=PURPOSE, hint=DENIED, copies=True)
        stack.enter_context(root)
        stack.callback(signal.signal, signal.SIGINT, signal.SIG_IGN)
        make = getattr(importlib.import_module(module), name)
        sandbox = make(*words, root.path, root.scratch, **named)
        servants.append(_Servant(connection, folder, root, sandbox))

    _answer(wire, begin)
    while True:
        word, values = wire.hear()
        _answer(wire, partial(getattr(servants[0], word), *values))


def main() -> None:
    """Serve the build at the other side of the socket that is the standard input, until that is closed."""
    connection = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a build in the background of a shell ignores it
    with connection, contextlib.suppress(Ended, KeyboardInterrupt), contextlib.ExitStack() as stack:
        _serve(connection, stack)


if __name__ == "__main__":
    main()
