# SPDX-License-Identifier: MIT
"""Work in threads: a generator run a few items ahead of who reads them, and the same done to several things at once.

Gains where mostly is done what lets other threads run: decompressing and hashing. Must not know what the items are.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, Callable, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 4  # items that may wait
_AT_ONCE = 4  # things at once: each takes some MiB


class _Raised(NamedTuple):
    error: BaseException


def side_by_side(work: Callable[[T], R], things: Iterable[T]) -> Iterator[R]:
    """What `work` returns for each of the things, in their order; its first exception in this order is raised.

    Then, or where this is closed, what is not yet begun is not done, and what is begun is not waited for.
    """
    results: list[SimpleQueue[R | _Raised]] = []
    pending: deque[tuple[T, SimpleQueue[R | _Raised]]] = deque()
    for thing in things:
        results.append(SimpleQueue())
        pending.append((thing, results[-1]))

    def run() -> None:
        with contextlib.suppress(IndexError):
            while True:
                thing, result = pending.popleft()
                try:
                    result.put(work(thing))
                except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
                    result.put(_Raised(error))

    for _ in range(min(len(os.sched_getaffinity(0)), _AT_ONCE, len(results))):
        threading.Thread(target=run, daemon=True).start()
    try:
        for result in results:
            found = result.get()
            if isinstance(found, _Raised):
                raise found.error
            yield found
    finally:
        pending.clear()


def ahead(source: Generator[T, None, None]) -> Generator[T, None, None]:
    """The items of `source`, and its exception; closing this ends the thread and closes `source`."""
    items: SimpleQueue[tuple[T, ...]] = SimpleQueue()
    room = threading.Semaphore(_AHEAD)
    ended = threading.Event()
    failure: list[BaseException] = []

    def run() -> None:
        try:
            for item in source:
                items.put((item,))
                room.acquire()
                if ended.is_set():
                    break
        except BaseException as error:  # noqa: BLE001 - raised again by the reader
            failure.append(error)
        finally:
            source.close()
            items.put(())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while True:
            item = items.get()
            if not item:
                break
            yield item[0]
            room.release()
    finally:
        ended.set()
        room.release()
        thread.join()
    if failure:
        raise failure[0]
