# SPDX-License-Identifier: MIT
"""The one door to other programs: argument lists, an explicit environment, output captured.

Must not know what the programs are for.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from .errors import InputError, ToolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


_KEPT = frozenset(("PATH", "HOME", "TMPDIR", "LD_PRELOAD", "LD_LIBRARY_PATH"))
_FAKING = ("FAKEROOT", "FAKED", "PSEUDO")  # of what fakeroot and pseudo hand on to every program


class Completed(NamedTuple):
    """What a program said."""

    status: int
    output: str
    errors: str


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


class Filter:
    """A program that turns the bytes written to it into others, in `output`; a context manager."""

    def __init__(self, argv: Sequence[str]) -> None:
        try:
            self._process = subprocess.Popen(
                argv, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except OSError as error:
            raise ToolError(f"cannot run {argv[0]}: {error.strerror}", hint=f"install {argv[0]}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.input: IO[bytes] = self._process.stdin
        self.output: IO[bytes] = self._process.stdout
        self._errors = b""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

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
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue


def filtered(argv: Sequence[str], data: Iterable[Any], where: str) -> Iterator[bytes]:
    """The output of a program fed with `data`, in pieces of at most 1 MiB; memory does not grow.

    Raises:
        InputError: the program refused the data of `where`.
    """
    failure: list[BaseException] = []
    with contextlib.ExitStack() as stack:
        program = Filter(argv)

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
        stack.callback(feeder.join)
        stack.enter_context(program)
        feeder.start()
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
