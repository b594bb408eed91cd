# SPDX-License-Identifier: MIT
"""The one door to other programs: argument lists, an explicit environment, output captured.

Must not know what the programs are for.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import subprocess
import threading
import time
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from .errors import InputError, ToolError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence


_KEPT = frozenset(("PATH", "HOME", "TMPDIR", "LD_PRELOAD", "LD_LIBRARY_PATH"))
_FAKING = ("FAKEROOT", "FAKED", "PSEUDO")  # of what fakeroot and pseudo hand on to every program
_GRACE = 10  # seconds that what was killed has to end, before all of its process group is

# Under a shell's own names for them; dash and busybox have another for the processes than bash.
_LIMITED = """\
ulimit -c 0; ulimit -f "$1"; ulimit -n "$2"; ulimit -t "$3"
ulimit -u "$4" 2>/dev/null || ulimit -p "$4" 2>/dev/null
shift 4; exec "$@"
"""
_RESTORED = ("PIPE", "XFSZ")  # signals that Python ignores, but not for the programs that it starts
_BLOCK = 512  # bytes, in which a shell counts the size of files


class Completed(NamedTuple):
    """What a program said."""

    status: int
    output: str
    errors: str


class Limits(NamedTuple):
    """What a program may use: seconds on the clock, bytes in a file, open files, processes of a user other than root.

    `said` are the bytes that are kept of what it says, the last ones.
    """

    seconds: int = 300
    size: int = 4 << 30
    files: int = 4096
    processes: int = 8192
    said: int = 4 << 20


class Bounded(NamedTuple):
    """How a program ended that had limits, and the last that it said, both outputs in their order.

    The status is the exit status, or as shells have it 128 and the number of the signal that ended it. `started` says
    whether it said what was waited for, which is no part of `said`; `is_late` whether it was ended for its time.
    """

    status: int
    said: bytes
    started: bool
    is_late: bool


def faking() -> dict[str, str]:
    """What of the environment makes a program see what fakeroot or pseudo tell; without one of them nothing."""
    if not any(name.startswith(_FAKING) for name in os.environ):
        return {}
    loaded = ("LD_PRELOAD", "LD_LIBRARY_PATH")
    return {name: value for name, value in os.environ.items() if name in loaded or name.startswith(_FAKING)}


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a program gets of the caller's environment: where to find programs, the user's home, one locale."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_FAKING)}
    return {**kept, "LC_ALL": "C", **(extra or {})}


def run(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Completed:
    """Run a program to its end.

    Raises:
        ToolError: it can not be started. Its exit status is the caller's to judge.
    """
    try:
        done = subprocess.run(
            argv,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="surrogateescape",
        )
    except OSError as error:
        raise ToolError(f"cannot run {argv[0]}: {error.strerror}", hint=f"install {argv[0]}") from error
    return Completed(done.returncode, done.stdout, done.stderr)


def run_logged(argv: Sequence[str], log: str, *, env: Mapping[str, str] | None = None, cwd: str | None = None) -> int:
    """Run a program to its end, both its outputs in their order in the file `log`; its exit status.

    Raises:
        ToolError: it can not be started, or the log not be written.
    """
    try:
        with open(log, "wb") as file:
            done = subprocess.run(
                argv,
                env=environment(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
                umask=0o022,
            )
    except OSError as error:
        raise ToolError(f"cannot run {argv[0]}: {error.strerror}", hint=f"install {argv[0]}") from error
    return done.returncode


def run_bounded(
    argv: Sequence[str], *, env: Mapping[str, str], stdin: bytes = b"", limits: Limits, after: bytes = b""
) -> Bounded:
    """Run a program to its end, or to that of its time; all children that it has go with it.

    It has the environment `env` alone, no terminal and no signal ignored. What it says up to and with `after` is not
    kept. An interruption ends it too.

    Raises:
        ToolError: it can not be started.
    """
    with contextlib.ExitStack() as stack:
        try:
            process = stack.enter_context(_started(_limited(argv, limits), env, stack.enter_context(_fed(stdin))))
        except OSError as error:
            raise ToolError(f"cannot run {argv[0]}: {error.strerror}", hint=f"install {argv[0]}") from error
        said = _Said(process.stdout, limits.said, after)
        try:
            is_late = not said.listen(process, time.monotonic() + limits.seconds)
        except BaseException:
            _end(process)
            raise
        if is_late:
            _end(process)
        status = process.wait()
    return Bounded(status if status >= 0 else 128 - status, bytes(said.kept[-limits.said :]), said.started, is_late)


@contextlib.contextmanager
def _fed(data: bytes) -> Iterator[int]:
    """A descriptor to read the data from."""
    if not data:
        yield subprocess.DEVNULL
        return
    import tempfile  # noqa: PLC0415 - few programs are fed

    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        yield file.fileno()


def _started(argv: Sequence[str], env: Mapping[str, str], stdin: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv,
        env=env,
        cwd="/",
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        umask=0o022,
    )


def _limited(argv: Sequence[str], limits: Limits) -> list[str]:
    """The words that run a program with limits, none of them higher than what the caller has itself."""
    wanted = (
        (resource.RLIMIT_FSIZE, limits.size, _BLOCK),
        (resource.RLIMIT_NOFILE, limits.files, 1),
        (resource.RLIMIT_CPU, limits.seconds, 1),
        (resource.RLIMIT_NPROC, limits.processes, 1),
    )
    numbers = []
    for which, most, unit in wanted:
        given = resource.getrlimit(which)[1]
        numbers.append(str((most if given == resource.RLIM_INFINITY else min(most, given)) // unit))
    # A shell can not do it: what was ignored when it began stays so.
    ignored = [number.name[3:] for number in signal.Signals if signal.getsignal(number) == signal.SIG_IGN]
    signals = ",".join(name for name in ignored if name not in _RESTORED)
    before = ["env", f"--default-signal={signals}"] if signals else []
    return [*before, "sh", "-c", _LIMITED, "sh", *numbers, *argv]


class _Said:
    """What a program says, of which the last `most` bytes are kept, and nothing up to and with `after`."""

    def __init__(self, pipe: IO[bytes] | None, most: int, after: bytes) -> None:
        assert pipe is not None
        self._pipe = pipe.fileno()
        self._poll = select.poll()
        self._poll.register(self._pipe, select.POLLIN)
        self._most = most
        self._after = after
        self.kept = bytearray()
        self.started = not after

    def listen(self, process: subprocess.Popen[bytes], deadline: float) -> bool:
        """Read to the end of the program; whether that was before the `deadline`."""
        while True:
            left = deadline - time.monotonic()
            if self._poll.poll(max(0, left) * 1000):
                piece = os.read(self._pipe, 1 << 16)
                if not piece:
                    break
                self._keep(piece)
            if left <= 0:
                return False
        try:
            process.wait(max(0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        return True

    def _keep(self, piece: bytes) -> None:
        self.kept += piece
        if not self.started and self._after in self.kept:
            del self.kept[: self.kept.index(self._after) + len(self._after)]
            self.started = True
        if len(self.kept) > 2 * self._most:  # seldom, as what is kept is moved each time
            del self.kept[: -self._most]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a program and its children.

    The children first: where one is the first process of a namespace, all others in it are dead when its parent knows.
    """
    children = _children(process.pid)
    for child in children:
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE if children else 0)
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _children(parent: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit():
                with open(f"/proc/{name}/stat", "rb") as file:
                    # After the name of the program, which may hold anything, come the state and the parent.
                    if int(file.read().rpartition(b")")[2].split()[1]) == parent:
                        found.append(int(name))
    return found


class Filter:
    """A program that turns the bytes written to it into others, in `output`; a context manager."""

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        try:
            self._process = subprocess.Popen(
                argv, env=environment(env), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except OSError as error:
            raise ToolError(f"cannot run {argv[0]}: {error.strerror}", hint=f"install {argv[0]}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.input: IO[bytes] = self._process.stdin
        self.output: IO[bytes] = self._process.stdout
        self._errors = b""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        try:
            _start(self._listener, argv)
        except ToolError:
            self.__exit__()
            raise

    def _listen(self) -> None:
        assert self._process.stderr is not None
        self._errors = self._process.stderr.read()

    def finish(self) -> Completed:
        """Wait for the end; the input must be closed and the output read."""
        status = self._process.wait()
        self._listener.join()
        return Completed(status, "", self._errors.decode("utf-8", "replace").strip())

    def __enter__(self) -> Filter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        _join(self._listener)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue


def _start(thread: threading.Thread, argv: Sequence[str]) -> None:
    try:
        thread.start()
    except RuntimeError as error:
        raise ToolError(f"cannot run {argv[0]}: {error}", hint="allow more processes") from error


def _join(thread: threading.Thread) -> None:
    if thread.is_alive():  # it may never have been started
        thread.join()


class Worker:
    """A program that is spoken to over a socket, which is its standard input.

    It has a session of its own, so Ctrl-C is for its caller alone; it is to end when the other side of the socket is
    closed, by `finish` or as the caller dies.

    Raises:
        ToolError: it can not be started.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        import socket  # noqa: PLC0415 - takes as long as all else here, and few builds need it
        import tempfile  # noqa: PLC0415

        self.connection, theirs = socket.socketpair()
        self._errors = ""
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe could be held open by what it starts
        try:
            with theirs:
                self._process = subprocess.Popen(
                    argv,
                    env=environment(),
                    stdin=theirs.fileno(),
                    stdout=self._said,
                    stderr=self._said,
                    start_new_session=True,
                )
        except OSError as error:
            self.connection.close()
            self._said.close()
            raise ToolError(f"cannot run {argv[0]}: {error.strerror}", hint=f"install {argv[0]}") from error

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    def finish(self) -> Completed:
        """Hang up, and wait for the end; both its outputs are in `errors`."""
        self.connection.close()
        status = self._process.wait()
        if not self._said.closed:
            with self._said:
                self._said.seek(0)
                self._errors = self._said.read().decode("utf-8", "replace").strip()
        return Completed(status, "", self._errors)


def filtered(
    argv: Sequence[str], data: Iterable[Any], where: str, *, env: Mapping[str, str] | None = None
) -> Generator[bytes, None, None]:
    """The output of a program fed with `data`, in pieces of at most 1 MiB; memory does not grow.

    Raises:
        InputError: the program refused the data of `where`.
    """
    failure: list[BaseException] = []
    with contextlib.ExitStack() as stack:
        program = Filter(argv, env=env)

        def feed() -> None:
            try:
                with program.input as sink:
                    for piece in data:
                        sink.write(piece)
            except BrokenPipeError:
                return
            except BaseException as error:  # noqa: BLE001 - raised again by the reader
                failure.append(error)

        feeder = threading.Thread(target=feed, daemon=True)
        # After the program's end, which is also the feeder's: whoever stops reading early owns `data` again.
        stack.callback(_join, feeder)
        stack.enter_context(program)
        _start(feeder, argv)
        while True:
            piece = program.output.read1(1 << 20)  # type: ignore[attr-defined]
            if not piece:
                break
            yield piece
        feeder.join()
        done = program.finish()
    if failure:
        raise failure[0]
    if done.status:
        raise InputError(f"{where}: damaged: {argv[0]}: {done.errors}")
