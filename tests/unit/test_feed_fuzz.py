# SPDX-License-Identifier: MIT
"""Whatever an index, control data, a memory or a package's file holds: an `OciError` or a result, in bounded memory."""

from __future__ import annotations

import contextlib
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.packages import COMPRESSIONS, control_tar, deb, index_of, member_name, outer, package

from oe_oci.digests import Digests
from oe_oci.errors import ConfigError, InputError
from oe_oci.packages.control import identity, paragraphs, parse_control
from oe_oci.packages.feed import Remembered, open_feeds
from oe_oci.packages.index import NAMES, keep, record

fuzz = settings(derandomize=True, deadline=None, database=None, max_examples=300)
few = settings(derandomize=True, deadline=None, database=None, max_examples=100)

SHOP = package("shop", "1:2.0-1", "amd64", Depends="libc (>= 2),\n libfoo", Provides="store, web-shop (= 2)")
SAMPLES = [
    index_of([SHOP, package("libc", "3", "amd64"), package("libfoo", Provides="store")]),
    index_of([SHOP, SHOP]) + b"\n" + SHOP.entry("../x.deb", SHA256="x", Size="-1", Version="a b"),
    index_of([package("shop", kind="ipk"), package("a", arch="core2-64", kind="ipk")]),
    SHOP.entry() + b"Conffiles:\n /etc/x 0123\n /etc/y 4567\nTag: a,\n\tb\n",
]
SPLICES = st.one_of(
    st.binary(max_size=16),
    st.sampled_from(
        [b"\n", b"\n\n", b"\n ", b":", b": ", b"\0", b",", b"(", b"..", b"/", b"\r\n", b"\xff", b"Package: shop\n"]
    ),
)


@st.composite
def mutated(draw, samples):
    """A valid input with some bytes changed, put in, cut out or taken twice."""
    data = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        stop = min(len(data), start + draw(st.sampled_from([0, 1, 1, 1, 8, 64, 512])))
        data[start:stop] = draw(st.one_of(SPLICES, st.just(bytes(data[start:stop]) * 2)))
    return bytes(data)


def ask_everything(folder, remember=None) -> None:
    remembered = remember and Remembered(remember, Digests(f"{remember}/digests", began=2**63))
    feeds = open_feeds([str(folder)], kind=None, archs=None, native="amd64", remember=remembered, limit=None)
    for name in feeds.names():
        for ask in (feeds.named, feeds.providing, feeds.unlisted):
            with contextlib.suppress(InputError):
                ask(name)
        with contextlib.suppress(InputError):
            for one in feeds.named(name):
                assert one.path.startswith(f"{folder}/")
                feeds.check_present(one)


@fuzz
@given(st.one_of(st.binary(max_size=300), mutated(SAMPLES)))
def test_control_data(data):
    with contextlib.suppress(InputError):
        for fields in paragraphs(data, "it"):
            # What is read can be written again, and then says the same.
            text = "".join(f"{name}: {value}\n" for name, value in fields.items()).encode("utf-8", "surrogateescape")
            assert parse_control(text, "it") == fields
            with contextlib.suppress(InputError):
                name, *_ = identity(fields, "it")
                assert name.isascii()
                assert not set(name) & set("/\n ")


@fuzz
@given(st.one_of(st.binary(max_size=300), mutated(SAMPLES)))
def test_an_index(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("feed")
    (folder / "Packages").write_bytes(data)
    with contextlib.suppress(InputError, ConfigError):
        ask_everything(folder)


@few
@given(data=st.data(), name=st.sampled_from(NAMES[1:]))
def test_a_compressed_index(tmp_path_factory, data, name):
    folder = tmp_path_factory.mktemp("feed")
    samples = [COMPRESSIONS[name.partition(".")[2]](sample) for sample in SAMPLES]
    (folder / name).write_bytes(data.draw(mutated(samples)))
    with contextlib.suppress(InputError, ConfigError):
        ask_everything(folder)


@few
@given(data=st.data())
def test_what_is_remembered(tmp_path_factory, data):
    folder, memory = tmp_path_factory.mktemp("feed"), tmp_path_factory.mktemp("memory")
    (folder / "Packages").write_bytes(SAMPLES[0])
    ask_everything(folder, str(memory))
    (file,) = memory.iterdir()
    good = file.read_bytes()
    file.write_bytes(data.draw(st.one_of(st.binary(max_size=200), mutated([good]))))
    ask_everything(folder, str(memory))
    assert file.read_bytes() == good


@few
@given(data=st.data())
def test_a_memory_that_lies_with_a_right_checksum(tmp_path_factory, data):
    folder, memory = tmp_path_factory.mktemp("feed"), tmp_path_factory.mktemp("memory")
    (folder / "Packages").write_bytes(SAMPLES[0])
    ask_everything(folder, str(memory))
    (file,) = memory.iterdir()
    keep(str(memory), file.name[9:], data.draw(st.lists(mutated([record(SHOP.fields)]), max_size=3)))
    with contextlib.suppress(InputError, ConfigError):
        ask_everything(folder, str(memory))


@few
@given(mutated([*SAMPLES, b"Package: a\nVersion: 1\nArchitecture: all\n"]), st.sampled_from(["ar", "tar.gz"]))
def test_control_data_of_packages(tmp_path_factory, data, form):
    folder = tmp_path_factory.mktemp("feed")
    (folder / "x.ipk").write_bytes(deb(data, form=form, compression="none", control_compression="none"))
    with contextlib.suppress(InputError, ConfigError):
        ask_everything(folder, str(folder / "memory"))


@few
@given(mutated([SHOP.data, deb(SHOP.fields, form="tar.gz", compression="gz")]), st.sampled_from(["deb", "ipk"]))
def test_files_of_packages(tmp_path_factory, data, kind):
    folder = tmp_path_factory.mktemp("feed")
    (folder / f"x.{kind}").write_bytes(data)
    with contextlib.suppress(InputError, ConfigError):
        ask_everything(folder)


# ---- what is small on disk and large in memory


def peak_of(folder) -> int:
    tracemalloc.start()
    try:
        with contextlib.suppress(InputError):
            ask_everything(folder)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "unit", [bytes(1 << 20), b"\n" * (1 << 20), b" x\n" * (1 << 19), b"A: b\n" * (1 << 18), b"X" * (1 << 20)]
)
@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_bombs_of_an_index(tmp_path, unit, suffix):
    (tmp_path / f"Packages{suffix}").write_bytes(COMPRESSIONS[suffix[1:]](unit * 32))
    assert peak_of(tmp_path) < 32 << 20


def test_a_bomb_of_control_data(tmp_path):
    parts = [
        ("debian-binary", b"2.0\n"),
        (
            member_name("control.tar", "gz"),
            COMPRESSIONS["gz"](control_tar(b"Package: a\nDescription:" + b"\n x" * (8 << 20))),
        ),
        ("data.tar", b""),
    ]
    (tmp_path / "a.deb").write_bytes(outer(parts))
    assert peak_of(tmp_path) < 128 << 20
