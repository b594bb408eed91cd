# SPDX-License-Identifier: MIT
"""Whatever an rpm package's bytes are: its contents or an `InputError`, in bounded time, nothing written anywhere."""

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import rpms
from support.packages import COMPRESSIONS
from support.rpms import CONFIG, INT32, STRINGS, TRAILER, device, file, folder, ghost, header, package, symlink, whole

from oe_oci.content import pieces
from oe_oci.errors import InputError
from oe_oci.packages.package import Package
from oe_oci.packages.payload import Payloads
from oe_oci.packages.rpm.archive import read_head, scripts_of

fuzz = settings(derandomize=True, deadline=None, database=None, max_examples=300)

FILES = [
    folder("/etc"),
    file("/etc/shop", b"x=1\n" * 200, flags=CONFIG),
    file("/usr/bin/shop", b"s", mode=0o4755, caps="cap_net_raw=ep"),
    file("/usr/bin/a", b"shared", link="1"),
    file("/usr/lib/b", b"shared", link="1"),
    symlink("/bin", "usr/bin"),
    device("/dev/null", 1, 3),
    ghost("/var/log/shop"),
]
WHOLE = [
    package("shop", given=FILES, compression=each, large=large) for each in COMPRESSIONS for large in (False, True)
]
PLAIN = {large: rpms.cpio(rpms.files(FILES), large=large) for large in (False, True)}
NOTHING = {269: None, 273: None, 1000: None, 1004: None}  # of a signature


@st.composite
def mutated(draw, samples):
    """A valid input with some bytes changed, put in, cut out or taken twice."""
    data = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        stop = min(len(data), start + draw(st.sampled_from([0, 1, 1, 1, 4, 14, 60, 512])))
        data[start:stop] = draw(st.one_of(st.binary(max_size=16), st.just(bytes(data[start:stop]) * 2)))
    return bytes(data)


@st.composite
def archives(draw):
    """An archive whose members are any of these, in either form: names that may leave the root, or be no file's."""
    name = st.sampled_from(
        [b"./etc", b"./etc/shop", b"/bin", b"usr/bin/a", b"./usr/lib/b", b"./", b"../a", b"./a\nb", b"\xff"]
    )
    parts = []
    for _ in range(draw(st.integers(1, 8))):
        data = draw(st.sampled_from([b"", b"s", b"shared", b"usr/bin", b"x=1\n" * 200]))
        mode = draw(st.sampled_from([0o100644, 0o040755, 0o120777, 0o020666, 0, 0o777777]))
        size = draw(st.sampled_from([len(data), len(data), len(data), 0xFFFFFFFF]))
        named = rpms.newc(draw(name), mode, size)
        numbered = rpms.stripped(draw(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 8, 0xFFFFFFFF])))
        parts.append(draw(st.sampled_from([named, numbered])) + data + bytes(-len(data) % 4))
    return b"".join(parts) + draw(st.sampled_from([TRAILER, b"", TRAILER * 2]))


# A tag of files with a value that few have, in its usual type.
ODD = st.sampled_from([0, 1, 0xFFFF, stat.S_IFSOCK, 0o120777, 0o100644])
TAGS = st.one_of(
    st.tuples(st.sampled_from([1030, 1033]), st.tuples(st.just(rpms.INT16), st.lists(ODD, max_size=9))),
    st.tuples(
        st.sampled_from([1028, 1034, 1037, 1095, 1096, 1116, 1140]),
        st.tuples(st.just(INT32), st.lists(ODD, max_size=9)),
    ),
    st.tuples(
        st.sampled_from([1035, 1036, 1039, 1040, 1117, 1118, 5010, 1124, 1125, 1000, 1001, 5092]),
        st.tuples(
            st.just(STRINGS),
            st.lists(
                st.sampled_from(["", "/", "..", "a\nb", b"\xff", "=ep", "cap_x+", "a" * 5000]), min_size=1, max_size=9
            ),
        ),
    ),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def check(place, data: bytes) -> None:
    """Read as the installer does, all content too."""
    path = place / "shop.rpm"
    path.write_bytes(data)
    offer = Package("shop", "1.0-1", "noarch", {}, str(path), len(data), None, 0)
    messages = []
    try:
        with Payloads(str(place), 1000) as payloads:
            (found,) = payloads.read([offer], 1, limit=1 << 20)
            total = sum(len(p) for m in found.members if m.entry.content is not None for p in pieces(m.entry.content))
            assert total <= len(found.members) << 20
            assert not any(".." in m.path.split("/") or m.path.startswith("/") or "\n" in m.path for m in found.members)
    except InputError as error:
        messages.append(error.message)
    try:
        scripts_of(read_head(str(path), str(path)).header)
    except InputError as error:
        messages.append(error.message)
    assert all(message.startswith(f"{path}: ") and message.isprintable() for message in messages)
    assert os.listdir(place) == [path.name]
    path.unlink()


def unsummed(main: bytes, payload: bytes) -> bytes:
    """A package that no sum protects."""
    return whole(main, payload, NOTHING)


@fuzz
@given(st.one_of(st.binary(max_size=500), mutated([made.data for made in WHOLE])))
def test_whole_packages(place, data):
    check(place, data)


@fuzz
@given(mutated([made.header for made in WHOLE]), st.sampled_from([made.payload for made in WHOLE]))
def test_headers(place, main, payload):
    check(place, unsummed(main, payload))


@fuzz
@given(st.lists(TAGS, min_size=1, max_size=3), st.sampled_from(WHOLE))
def test_values_of_tags(place, changed, made):
    check(place, unsummed(header({**made.tags, **dict(changed)}), made.payload))


@fuzz
@given(st.one_of(mutated(list(PLAIN.values())), archives()), st.booleans())
def test_payloads(place, plain, large):
    made = package("shop", given=FILES, compression="none", large=large, payload=plain)
    check(place, unsummed(made.header, plain))


@fuzz
@given(st.sampled_from([made for made in WHOLE if made.tags.get(1125)]), st.data())
def test_compressed_payloads(place, made, data):
    payload = data.draw(mutated([made.payload]))
    check(place, unsummed(made.with_tags({5092: None}).header, payload))
