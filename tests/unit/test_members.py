# SPDX-License-Identifier: MIT
from __future__ import annotations

import io
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.layouts import file, folder, hardlink, tar

from oe_oci.content import Stored
from oe_oci.members import Listing, Recorder, Replay, from_json
from oe_oci.stream import FileStream
from oe_oci.tree import BLOCK, CHAR, DIRECTORY, FIFO, FILE, SYMLINK, Entry, decode
from oe_oci.untar import Archive, Member

names = st.binary(min_size=1, max_size=12).map(decode)
numbers = st.integers(-(2**62), 2**62)
entries = st.builds(
    Entry,
    st.sampled_from([FILE, DIRECTORY, SYMLINK, FIFO, CHAR, BLOCK]),
    st.integers(0, 0o7777),
    numbers,
    numbers,
    numbers,
    numbers,
    st.one_of(st.just(""), names),
    st.tuples(st.integers(0, 99), st.integers(0, 99)),
    st.lists(st.tuples(names, st.binary(max_size=9)), max_size=2).map(tuple),
)
members = st.builds(
    Member,
    st.one_of(st.just(""), names),
    entries,
    st.one_of(st.none(), st.just(""), names),
    numbers,
    st.one_of(names, st.just("./"), st.just("./a"), st.just("./a/")),
    st.sampled_from(["", "root", "gr\u00fcn\udcff"]),
    st.sampled_from(["", "root", "users"]),
)


def written(listing: Listing) -> Any:
    return json.loads(json.dumps(listing.to_json()))


@given(st.lists(members))
def test_nothing_is_lost(found):
    digests = [f"{number:064}" for number in range(len(found))]
    again = from_json(written(Listing(found, digests)))
    assert (again.members, again.digests) == (found, digests)


@given(st.lists(members, min_size=1))
def test_files_get_their_contents(found):
    digests = [f"{number:064}" for number in range(len(found))]

    def locate(offset: int, size: int, digest: str) -> Stored:
        return Stored(lambda: b"", offset, size, digest)

    for one, member, digest in zip(found, from_json(written(Listing(found, digests)), locate).members, digests):
        content = member.entry.content
        assert member._replace(entry=member.entry._replace(content=None)) == one
        if one.entry.kind == FILE and one.hardlink is None:
            assert isinstance(content, Stored)
            assert content[1:4] == (one.offset, one.entry.size, digest)
        else:
            assert content is None


def test_a_replay_is_as_the_archive():
    data = tar([folder("d"), file("d/f", b"1"), file("other", b"2"), hardlink("again", "d/f")])

    def seen(archive: Any) -> list[tuple[Member, str]]:
        return [(member, archive.digest() if member.path == "d/f" else "") for member in archive]

    recorder = Recorder(Archive(FileStream(io.BytesIO(data), 0, len(data)), "x", whole=True))
    first = seen(recorder)
    assert seen(Replay(recorder.listing)) == seen(Replay(from_json(written(recorder.listing)))) == first
    assert [bool(digest) for digest in recorder.listing.digests] == [False, True, False, False]
