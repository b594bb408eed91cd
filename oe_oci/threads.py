# SPDX-License-Identifier: MIT
"""The threads of a build, shared by all that it compresses, unpacks and reads side by side.

A thread keeps memory of its own for what it gives back, so few of them take less than many that come and go. What runs
in one must wait for nothing that runs in another.
"""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


@cache
def pool(jobs: int) -> ThreadPoolExecutor:
    """So many threads; whoever has work done by them sees to it that all of that is done in the end."""
    return ThreadPoolExecutor(jobs, "oe-oci")


def give_up(futures: Iterable[Future[Any]]) -> None:
    """Have nothing begun any more of what is not wanted, and wait for what was."""
    wait([future for future in futures if not future.cancel()])


# A child process has none of its parent's threads.
os.register_at_fork(after_in_child=pool.cache_clear)
