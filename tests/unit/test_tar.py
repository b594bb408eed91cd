# SPDX-License-Identifier: MIT
"""Tar headers: read back by Python's tarfile, and pinned byte for byte where others depend on them."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.trees import device, directory, fifo, file, link

from oe_oci import tar
from oe_oci.stream import PieceStream
from oe_oci.untar import Archive

if TYPE_CHECKING:
    from oe_oci.tree import Entry


def read(path: str, entry: Entry, hardlink: str | None = None) -> tarfile.TarInfo:
    data = tar.header(path, entry, hardlink)
    assert len(data) % 512 == 0
    body = entry.content.data if entry.content and hardlink is None else b""
    archive = io.BytesIO(data + body + bytes(tar.padding(len(body))) + tar.END)
    with tarfile.open(fileobj=archive, errors="surrogateescape") as found:
        (member,) = found.getmembers()
        return member


def test_a_plain_file_is_one_ustar_block():
    data = tar.header("etc/passwd", file(b"root", 0o4640, uid=7, gid=8, mtime=1700000000))
    assert len(data) == 512
    assert data[257:265] == b"ustar\x0000"
    assert data[265:329] == bytes(64), "no user or group names"
    # Pinned: every diff ID depends on it.
    assert hashlib.sha256(data).hexdigest() == "d451f937052b2b778719813047772e253dcba6a42dd8289a52551c7d4e5d8e84"


def test_facts_read_back():
    member = read("a", file(b"xyz", 0o6755, uid=1234, gid=5678, mtime=99))
    assert (member.mode, member.uid, member.gid, member.mtime, member.size) == (0o6755, 1234, 5678, 99, 3)


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (directory(0o1777), tarfile.DIRTYPE),
        (link("../x"), tarfile.SYMTYPE),
        (fifo(), tarfile.FIFOTYPE),
        (device("c", 1, 3), tarfile.CHRTYPE),
        (device("b", 259, 1048575), tarfile.BLKTYPE),
    ],
)
def test_every_kind(entry, kind):
    member = read("dev/x", entry)
    assert member.type == kind
    assert (member.devmajor, member.devminor) == entry.device
    assert member.linkname == entry.target


def test_directories_end_with_a_slash_and_the_root_is_a_dot():
    assert tar.header("etc", directory())[:5] == b"etc/\0"
    assert tar.header("", directory())[:3] == b"./\0"


def test_a_hard_link_has_no_data_and_no_attributes():
    member = read("b", file(b"data", xattrs=(("user.x", b"1"),)), "a")
    assert (member.type, member.linkname, member.size) == (tarfile.LNKTYPE, "a", 0)
    assert member.pax_headers == {}


@pytest.mark.parametrize("length", [99, 100, 101, 155, 156, 200, 255, 256, 257, 300, 4000])
@pytest.mark.parametrize("separator", [10, 50, 90, 1000])
def test_names_of_any_length(length, separator):
    name = "".join("/" if i % separator == separator - 1 and i < length - 1 else "n" for i in range(length))
    assert read(name, file()).name == name
    assert read(name, directory()).name == name


def test_a_long_link_target():
    assert read("a", link("t" * 101)).linkname == "t" * 101
    assert read("a", file(), "t" * 300).linkname == "t" * 300


@pytest.mark.parametrize("name", ["ünïcode", "line\nbreak", "\udcff\udcfe", "-rf", " lead", "a=b", "ü" * 90])
def test_odd_names(name):
    assert read(name, file()).name == name


def test_large_numbers_need_records_and_small_ones_do_not():
    assert len(tar.header("a", file(uid=0o7777777, gid=0o7777777))) == 512
    member = read("a", file(uid=0o10000000, gid=4294967294))
    assert (member.uid, member.gid) == (0o10000000, 4294967294)
    data = tar.header("a", file()._replace(size=8 << 30))
    assert b"size=8589934592\n" in data


def test_a_time_before_1970_is_0():
    assert read("a", file(mtime=-5)).mtime == 0


def test_attributes_keep_every_byte():
    value = bytes(range(256)) + b"=\n\0"
    data = tar.header("a", file(xattrs=(("security.capability", value), ("user.a", b""))))
    (member,) = Archive(PieceStream(iter([data + tar.END])), "x")
    assert member.entry.xattrs == (("security.capability", value), ("user.a", b""))


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.binary(max_size=1100), st.sampled_from(["user.", "trusted.overlong-name-of-an-attribute."]))
def test_a_record_states_its_own_length(value, name):
    data = tar.header("a", file(xattrs=((name, value),)))
    (member,) = Archive(PieceStream(iter([data + tar.END])), "x", whole=True)
    assert member.entry.xattrs == ((name, value),)


paths = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=60)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.lists(paths.filter(lambda name: name not in (".", "..")), min_size=1, max_size=8).map("/".join))
def test_any_name_reads_back(path):
    data = tar.header(path, file(b"")) + tar.END
    (member,) = Archive(PieceStream(iter([data])), "x", whole=True)
    assert member.path == path


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    st.text(min_size=1, max_size=120).filter(lambda name: "\0" not in name),
    st.integers(0, 1 << 23),
    st.integers(0, 9000),
)
def test_the_size_of_a_member_is_known_before_it_is_written(path, uid, size):
    entry = file(bytes(size), uid=uid)
    sink = []

    class Sink:
        write = sink.append

        def views(self, count):
            view = bytearray(count)
            yield memoryview(view)
            sink.append(bytes(view))

    tar.write_member(Sink(), path, entry)
    assert tar.member_size(path, entry) == sum(map(len, sink))
    assert tar.member_size(path, entry, path) == len(tar.header(path, entry, path))
