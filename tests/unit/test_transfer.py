# SPDX-License-Identifier: MIT
from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from oe_oci import transfer as subject
from oe_oci.digests import Digests
from oe_oci.errors import InputError, ToolError
from oe_oci.transfer import transfer

if TYPE_CHECKING:
    from oe_oci.content import Region

DATA = os.urandom(3 * 4096 + 5)


@pytest.fixture
def source(tmp_path) -> Region:
    (tmp_path / "source").write_bytes(DATA)
    return Digests().file(str(tmp_path / "source"))


def transferred(source: Region, place) -> bytes:
    with open(place / "target", "wb") as file:
        transfer(source, file)
    return (place / "target").read_bytes()


def test_a_whole_file(tmp_path, source):
    before = os.stat(source.path)
    assert transferred(source, tmp_path) == DATA
    assert os.stat(source.path).st_ctime_ns == before.st_ctime_ns
    with open(tmp_path / "target", "r+b") as file:
        file.write(b"other")
    assert (tmp_path / "source").read_bytes() == DATA


def test_a_part_of_a_file(tmp_path, source):
    for offset, size in ((1, 1), (4096, 4096), (512, 9000), (512, 0)):
        part = source._replace(offset=offset, size=size)
        assert transferred(part, tmp_path) == DATA[offset : offset + size]


def test_bytes_that_can_not_be_shared(tmp_path, source, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    assert transferred(source, tmp_path) == DATA


def test_bytes_are_shared_where_they_can_be(tmp_path, source, monkeypatch):
    def clone(target, request, descriptor):
        assert request == 0x40049409
        os.write(target, os.pread(descriptor, len(DATA), 0))

    monkeypatch.setattr(fcntl, "ioctl", clone)
    monkeypatch.setattr(subject, "pieces", None)
    assert transferred(source, tmp_path) == DATA


def test_a_file_that_changed(tmp_path, source):
    os.utime(tmp_path / "source", ns=(1, 1))
    with pytest.raises(InputError, match="source changed while it was read"):
        transferred(source, tmp_path)
    os.unlink(tmp_path / "source")
    with pytest.raises(ToolError, match=r"cannot read .*source: No such file"):
        transferred(source, tmp_path)


def test_a_full_disk(tmp_path, source):
    with open("/dev/full", "wb") as file, pytest.raises(OSError, match="No space left"):
        transfer(source, file)
