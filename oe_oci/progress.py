# SPDX-License-Identifier: MIT
"""What is being done, on a terminal, once it takes more than a second."""

from __future__ import annotations

import logging
import threading
import time
from typing import TextIO

LOG = logging.getLogger("oe_oci")


class Progress:
    """A line that shows the current step and its seconds; a context manager. Called with a step's name."""

    def __init__(self, stream: TextIO, *, show: bool) -> None:
        self._stream = stream
        self._show = show
        self._interrupted = False
        self._step = ""
        self._began = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __call__(self, step: str) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        LOG.info("%s", step)
        self._step = step
        self._began = time.monotonic()

    def interrupt(self, _number: int, _frame: object) -> None:
        """Handles a signal: ends what is being done, and what is half done is removed on the way out.

        Where the interpreter can not pass the exception on, as in a finaliser, the next step does not begin.
        """
        self._interrupted = True
        raise KeyboardInterrupt

    def __enter__(self) -> Progress:
        if self._show:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._show:
            self._thread.join()

    def _run(self) -> None:
        drawn = False
        while not self._ended.wait(0.25):
            seconds = time.monotonic() - self._began
            if self._step and seconds > 1:
                self._stream.write(f"\r\x1b[K{self._step} … {seconds:.0f} s")
                self._stream.flush()
                drawn = True
        if drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
