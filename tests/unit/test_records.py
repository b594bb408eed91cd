# SPDX-License-Identifier: MIT
"""Digests left from build to build: found in whatever order, and left in the order they were asked for."""

from __future__ import annotations

import random

import pytest

from oe_oci import records as records_module
from oe_oci.records import KEY, RECORD, Records

COUNT = 300  # more than lie near each other


def record(number: int) -> tuple[bytes, bytes]:
    # Keys of one beginning, as those of files of one device are.
    return bytes(8) + b"%040d" % number, b"%032d" % number


def body(*numbers: int) -> bytes:
    return b"".join(b"".join(record(number)) for number in numbers)


def numbers_of(data: bytes | None) -> list[int]:
    assert data is not None
    assert len(data) % RECORD == 0
    return [int(data[at + 8 : at + KEY]) for at in range(0, len(data), RECORD)]


def test_nothing_is_left_of_nothing():
    assert not Records()
    assert Records().body() is None
    assert not Records().recall(record(0)[0], leave=True)


def test_what_is_asked_for_again_is_left_as_it_was():
    records = Records(body(*range(COUNT)))
    for number in range(COUNT):
        key, digest = record(number)
        assert records.recall(key, leave=True) == digest
        assert records.recall(key, leave=True) == digest
    assert records.body() is None


def test_what_threads_ask_for_in_another_order_now_and_then_is_left_as_it_was():
    asked = [number ^ 1 for number in range(COUNT)]
    records = Records(body(*range(COUNT)))
    assert all(records.recall(key, leave=True) == digest for key, digest in map(record, asked))
    assert records.body() is None


@pytest.mark.parametrize("asked", [[*range(COUNT // 2, COUNT), *range(COUNT // 2)], [*range(COUNT - 1)]])
def test_another_order_is_left_and_so_is_less(asked):
    records = Records(body(*range(COUNT)))
    for number in asked:
        records.recall(record(number)[0], leave=True)
    assert numbers_of(records.body()) == asked


def test_one_more_is_left_in_place_of_another():
    records = Records(body(0, 1, 2))
    for number in (0, 1):
        records.recall(record(number)[0], leave=True)
    records.add(*record(3))
    assert numbers_of(records.body()) == [0, 1, 3]


def test_what_is_not_asked_for_is_forgotten():
    records = Records(body(*range(COUNT)))
    assert records.recall(record(5)[0], leave=True)
    assert records.recall(record(7)[0], leave=False)
    assert numbers_of(records.body()) == [5]
    assert not numbers_of(Records(body(1)).body())


@pytest.mark.parametrize("seed", range(8))
def test_any_order(seed):
    chance = random.Random(seed)
    asked = chance.choices(range(2 * COUNT), k=3 * COUNT)
    records, wanted = Records(body(*range(COUNT))), []
    for number in asked:
        key, digest = record(number)
        known = records.recall(key, leave=True) or records.added(key)
        assert known == (digest if number < COUNT or number in wanted else b"")
        if not known:
            records.add(key, digest)
        if number not in wanted:
            wanted.append(number)
    left = records.body()
    assert numbers_of(left) == wanted
    again = Records(left or b"")
    assert all(again.recall(key, leave=True) == digest for key, digest in map(record, chance.sample(wanted, k=50)))


def test_all_can_be_left_without_being_asked_for():
    records = Records(body(0, 1, 2))
    records.leave_all()
    assert records.body() is None
    records.add(*record(7))
    records.leave_all()
    records.recall(record(2)[0], leave=True)
    assert numbers_of(records.body()) == [0, 1, 2, 7]


def test_a_key_that_others_share_the_hash_with_is_told_from_them(monkeypatch):
    monkeypatch.setattr(records_module, "hash", lambda _key: -1, raising=False)
    records = Records(body(*range(COUNT)))
    for number in (COUNT - 1, 0, COUNT // 2):
        key, digest = record(number)
        assert records.recall(key, leave=True) == digest
    assert not records.recall(record(COUNT)[0], leave=True)


@pytest.mark.parametrize("across", [b"\0", bytes(RECORD - 1)])
def test_what_is_no_whole_number_of_records_is_not_used(across):
    assert not Records(body(0, 1) + across)


def test_a_key_within_a_record_and_the_next_is_none():
    data = body(0, 1)
    for at in range(1, RECORD):
        assert not Records(data).recall(data[at : at + KEY], leave=True), at
