# SPDX-License-Identifier: MIT
"""Bytes that one file shares with another, where the file system can do that."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from oe_oci.digests import Digests
from oe_oci.transfer import clone

if TYPE_CHECKING:
    from oe_oci.content import Region

DATA = os.urandom(3 * 4096 + 5)


@pytest.fixture
def source(tmp_path) -> Region:
    (tmp_path / "source").write_bytes(DATA)
    return Digests().file(str(tmp_path / "source"))


@pytest.fixture
def cloning(monkeypatch) -> None:
    """A file system that can do it."""

    def ioctl(target, request, descriptor):
        assert request == 0x40049409
        os.write(target, os.pread(descriptor, len(DATA), 0))

    monkeypatch.setattr(fcntl, "ioctl", ioctl)


def cloned(source: Region, place) -> bytes | None:
    with open(place / "target", "wb") as file:
        done = clone(source, file)
    data = (place / "target").read_bytes()
    assert done or data == b""
    return data if done else None


def test_a_whole_file_whose_stamp_stays(tmp_path, source, cloning):
    before = os.stat(source.path)
    assert cloned(source, tmp_path) == DATA
    assert os.stat(source.path).st_ctime_ns == before.st_ctime_ns


def test_not_where_the_file_system_can_not(tmp_path, source, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    assert cloned(source, tmp_path) is None


def test_not_a_part_of_a_file(tmp_path, source, cloning):
    for offset, size in ((4096, 4096), (0, 4096), (4096, len(DATA) - 4096)):
        assert cloned(source._replace(offset=offset, size=size), tmp_path) is None


def test_not_a_file_that_changed(tmp_path, source, cloning):
    os.utime(tmp_path / "source", ns=(1, 1))
    assert cloned(source, tmp_path) is None
    os.unlink(tmp_path / "source")
    assert cloned(source, tmp_path) is None
    (tmp_path / "source").symlink_to("target")
    assert cloned(source, tmp_path) is None
