# SPDX-License-Identifier: MIT
from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from oe_oci.ahead import ahead, side_by_side

if TYPE_CHECKING:
    from collections.abc import Generator


def numbers(most: int, seen: list[int], error: Exception | None = None) -> Generator[int, None, None]:
    try:
        for number in range(most):
            seen.append(number)
            yield number
        if error is not None:
            raise error
    finally:
        seen.append(-1)


def test_all_items_in_their_order():
    assert list(ahead(numbers(1000, []))) == [*range(1000)]
    assert list(ahead(numbers(0, []))) == []


def test_an_exception_comes_after_the_items_before_it():
    source = ahead(numbers(3, [], KeyError("it")))
    assert [next(source) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="it"):
        next(source)


def test_who_stops_reading_leaves_no_thread_and_nothing_open():
    threads, seen = threading.active_count(), list[int]()
    source = ahead(numbers(1_000_000, seen))
    assert next(source) == 0
    source.close()
    assert seen[-1] == -1
    assert len(seen) < 20
    assert threading.active_count() <= threads


def test_results_are_in_the_order_of_the_things():
    gate = threading.Event()

    def work(number: int) -> int:
        # The first is the last to end, where there is more than one thread.
        gate.wait(0 if number else 1)
        if number == 5:
            gate.set()
        return number * number

    assert list(side_by_side(work, range(10))) == [number * number for number in range(10)]
    assert list(side_by_side(work, [])) == []


def test_the_first_failure_in_this_order_is_told():
    def work(number: int) -> int:
        if number in (3, 7):
            raise KeyError(number)
        return number

    results = side_by_side(work, range(10))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="3"):
        next(results)
