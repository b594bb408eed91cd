# SPDX-License-Identifier: MIT
"""Whatever a package's bytes are: its contents or an `InputError`, in bounded time, and nothing written anywhere."""

from __future__ import annotations

import gzip
import os
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.layouts import END, Member, file, folder, hardlink, header, symlink, tar
from support.packages import COMPRESSIONS, control_tar, deb, outer, xattrs

from oe_oci.content import pieces
from oe_oci.errors import InputError
from oe_oci.packages.archive import read_control
from oe_oci.packages.package import Package
from oe_oci.packages.payload import Payloads

fuzz = settings(derandomize=True, deadline=None, database=None, max_examples=300)

FIELDS = {"Package": "shop", "Version": "1.0", "Architecture": "all", "Description": "a shop\n with more lines"}
SCRIPTS = {"conffiles": b"/etc/shop\nremove-on-upgrade /etc/old\n", "postinst": b"#!/bin/sh\n", "md5sums": b"0  f\n"}
MEMBERS = [
    folder("./"),
    folder("./etc"),
    file("./etc/shop", b"x=1\n" * 200),
    file("./usr/bin/shop", b"s", mode=0o4755, pax=xattrs(security__capability=b"\1\0\0\2")),
    hardlink("./usr/bin/sh", "./usr/bin/shop"),
    symlink("./bin", "usr/bin"),
    Member("./dev/null", kind=tarfile.CHRTYPE, device=(1, 3)),
    file("./" + "n" * 120, b""),
]
PAYLOAD = tar(MEMBERS)
CONTROL = control_tar(FIELDS, SCRIPTS)
WHOLE = [
    deb(FIELDS, MEMBERS, SCRIPTS, form=form, compression=compression, control_compression=compression)
    for form in ("ar", "tar.gz")
    for compression in COMPRESSIONS
]
OUTER_TARS = [gzip.decompress(data) for data in WHOLE if data.startswith(b"\x1f\x8b")]


@st.composite
def mutated(draw, samples):
    """A valid input with some bytes changed, put in, cut out or taken twice."""
    data = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        stop = min(len(data), start + draw(st.sampled_from([0, 1, 1, 1, 8, 60, 512, 4096])))
        data[start:stop] = draw(st.one_of(st.binary(max_size=16), st.just(bytes(data[start:stop]) * 2)))
    return bytes(data)


@st.composite
def renamed(draw):
    """A tar whose members are any of these, with right checksums: names and links that may meet or leave the root."""
    name = st.sampled_from(
        [b"a", b"./a", b"a/b", b"a/b/c", b"./", b"b", b"../a", b"/a", b"a/../b", b"a\nb", b"\xff", b"a//b"]
    )
    blocks = []
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from([b"0", b"1", b"2", b"3", b"5", b"6", b"g", b"x", b"L", b"S"]))
        size = draw(st.sampled_from([b"0", b"1", b"1000", b"\x80" + b"\0" * 10 + b"\5", b"-1", b"\xff" * 12]))
        blocks.append(header(draw(name), type=kind, link=draw(name), size=size.ljust(12, b"\0")))
        blocks.append(draw(st.sampled_from([b"", bytes(512), b"12 path=abc\n".ljust(512, b"\0")])))
    return b"".join(blocks) + END


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def check(place, data: bytes, name: str) -> None:
    """Read as the installer does, all content too."""
    path = place / name
    path.write_bytes(data)
    package = Package("shop", "1.0", "all", {}, str(path), len(data), None, 0)
    messages = []
    try:
        with Payloads(str(place), 1000) as payloads:
            (found,) = payloads.read([package], 1, limit=1 << 20)
            total = sum(len(p) for m in found.members if m.entry.content is not None for p in pieces(m.entry.content))
            assert total <= len(found.members) << 20
            assert not any(".." in m.path.split("/") or m.path.startswith("/") or "\n" in m.path for m in found.members)
    except InputError as error:
        messages.append(error.message)
    try:
        read_control(str(path), str(path))
    except InputError as error:
        messages.append(error.message)
    assert all(message.startswith(f"{path}: ") and message.isprintable() for message in messages)
    assert os.listdir(place) == [name]
    path.unlink()


NAMES = st.sampled_from(["shop.deb", "shop.ipk"])


@fuzz
@given(st.one_of(st.binary(max_size=500), mutated(WHOLE)), NAMES)
def test_whole_packages(place, data, name):
    check(place, data, name)


@fuzz
@given(st.one_of(st.binary(max_size=500), mutated(OUTER_TARS)), NAMES)
def test_outer_tars(place, data, name):
    check(place, gzip.compress(data, 1), name)


@fuzz
@given(st.one_of(mutated([PAYLOAD]), renamed()), st.sampled_from(["ar", "tar.gz"]))
def test_payloads(place, data, form):
    check(place, deb(FIELDS, scripts=SCRIPTS, data_tar=data, compression="none", form=form), "shop.deb")


@fuzz
@given(st.one_of(mutated([CONTROL]), renamed()))
def test_control_data(place, data):
    parts = [("debian-binary", b"2.0\n"), ("control.tar", data), ("data.tar", PAYLOAD)]
    check(place, outer(parts), "shop.deb")


@fuzz
@given(st.one_of(st.binary(max_size=100), mutated([SCRIPTS["conffiles"]]), st.text(max_size=50).map(str.encode)))
def test_conffiles(place, data):
    check(place, deb(FIELDS, scripts={"conffiles": data}), "shop.deb")
