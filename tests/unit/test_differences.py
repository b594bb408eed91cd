# SPDX-License-Identifier: MIT
"""Why a layer is another one than before, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.trees import device, directory, file, link

from oe_oci.content import content_digest
from oe_oci.differences import Changes, Difference, lines_of
from oe_oci.layer import Member
from oe_oci.listing import FORMAT, listing_of, shape_of
from oe_oci.tree import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable

COMPRESSOR = {"name": "zlib-ng", "version": "2.3.3", "level": 6}
APT = {"name": "apt", "version": "2.6.1", "dpkg": "1.21"}
FACTS: dict[str, Any] = {"format": FORMAT, "compressor": COMPRESSOR, "packages": [], "settings": {}}
OPENSSL = ["openssl", "amd64", "3.2.1-r0", "4f" * 32]
CURL = ["curl", "amd64", "8.5-r0", "11" * 32]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {}, []),
        ({"format": 0}, {}, [f"oe-oci: format of layers 0→{FORMAT}"]),
        ({}, {"compressor": {**COMPRESSOR, "version": "2.4.0"}}, ["compressor zlib-ng: version 2.3.3→2.4.0"]),
        ({}, {"compressor": {**COMPRESSOR, "level": 9}}, ["compressor zlib-ng: level 6→9"]),
        ({}, {"compressor": {"name": "none"}}, ["compressor: library zlib-ng 2.3.3→none"]),
        ({"manager": APT}, {"manager": {**APT, "dpkg": "1.22"}}, ["package manager apt: dpkg 1.21→1.22"]),
        ({"manager": {"name": "builtin"}}, {"manager": APT}, ["package manager: tool builtin→apt 2.6.1"]),
        ({}, {"manager": APT}, []),
        ({"packages": [OPENSSL]}, {"packages": [OPENSSL]}, []),
        (
            {"packages": [OPENSSL, CURL]},
            {"packages": [CURL, [*OPENSSL[:3], "9a" * 32]]},
            ["package openssl 3.2.1-r0: file digest 4f4f4f4f4f4f…→9a9a9a9a9a9a…"],
        ),
        (
            {"packages": [OPENSSL]},
            {"packages": [["openssl", "amd64", "3.2.2-r0", "9a" * 32]]},
            ["package openssl: version 3.2.1-r0→3.2.2-r0"],
        ),
        ({"packages": [OPENSSL]}, {"packages": [OPENSSL, CURL]}, ["package curl 8.5-r0: added"]),
        ({"packages": [OPENSSL, CURL]}, {"packages": [OPENSSL]}, ["package curl 8.5-r0: removed"]),
        (
            {"packages": [OPENSSL, CURL]},
            {"packages": [["dash", "amd64", "1", "22" * 32], [*OPENSSL[:3], "9a" * 32]]},
            [
                "package openssl 3.2.1-r0: file digest 4f4f4f4f4f4f…→9a9a9a9a9a9a…",
                "package dash 1: added",
                "package curl 8.5-r0: removed",
            ],
        ),
        (
            {"settings": {"SOURCE_DATE_EPOCH": 1}},
            {"settings": {"OCI_PACKAGE_DATABASE": "keep"}},
            ["OCI_PACKAGE_DATABASE: none→keep", "SOURCE_DATE_EPOCH: 1→none"],
        ),
        # The compressor decides every byte, a package many.
        (
            {"packages": [OPENSSL]},
            {"compressor": {**COMPRESSOR, "level": 1}, "packages": [], "settings": {"SOURCE_DATE_EPOCH": 5}},
            [
                "compressor zlib-ng: level 6→1",
                "package openssl 3.2.1-r0: removed",
                "SOURCE_DATE_EPOCH: none→5",
            ],
        ),
    ],
)
def test_facts(before: dict[str, Any], after: dict[str, Any], told: list[str]) -> None:
    assert list(map(str, Changes({**FACTS, **before}, {**FACTS, **after}, None, None).differences())) == told


def listing(*members: tuple[Any, ...]) -> bytes:
    found = [Member(path, entry, hardlink[0] if hardlink else None) for path, entry, *hardlink in members]
    shape = shape_of(found, {})
    digests = b"".join(bytes.fromhex(content_digest(content)) for content in shape.contents)
    return b"\n".join(listing_of(shape, digests))


def changes(before: Iterable[Any], after: Iterable[Any], *facts: dict[str, Any]) -> Changes:
    old, new = (frozenset(listing(*members).split(b"\n")) for members in (before, after))
    return Changes(*(facts or (FACTS, FACTS)), lines_of(old - new), lines_of(new - old))


CONF = file(b"x", 0o644)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ([("etc/a", CONF)], [("etc/a", CONF)], []),
        ([("etc/a", CONF)], [("etc/a", file(b"x", 0o600))], ["file /etc/a: mode 0644→0600"]),
        (
            [("etc/a", CONF)],
            [("etc/a", file(b"y"))],
            ["file /etc/a: content 2d711642b726…→a1fce4363854…"],
        ),
        (
            [("etc/a", CONF)],
            [("etc/a", file(b"yy", uid=1, gid=2, mtime=3))],
            [
                "file /etc/a: size 1→2",
                "file /etc/a: content 2d711642b726…→ef90d9c1ec76…",
                "file /etc/a: owner 0→1",
                "file /etc/a: group 0→2",
                "file /etc/a: time 0→3",
            ],
        ),
        ([], [("etc/a", CONF)], ["file /etc/a: added"]),
        ([("etc", directory())], [], ["directory /etc: removed"]),
        (
            [("z", directory()), ("a", directory())],
            [("etc", directory()), ("etc/a", CONF), ("z", directory(0o700))],
            ["file /etc/a: added", "directory /z: mode 0755→0700", "directory /a: removed", "directory /etc: added"],
        ),
        ([("a", link("b"))], [("a", link("c"))], ["symlink /a: target b→c"]),
        ([("a", device("c", 1, 3))], [("a", device("c", 1, 5))], ["char /a: minor 3→5"]),
        (
            [("a", CONF)],
            [("a", file(b"x", xattrs=(("security.capability", b"\1\2"),)))],
            ['file /a: attributes none→[["security.capability","0102"]]'],
        ),
        ([("a", CONF), ("b", CONF)], [("a", CONF), ("b", CONF, "a")], ["file /b: hard link to none→/a"]),
        ([], [("etc/.wh.old", Entry("file", 0o644))], ["removal of /etc/old: added"]),
        (
            [("b", CONF), ("a.b", CONF), ("a/c", CONF)],
            [("b", file(b"x", 0o600)), ("a.b", file(b"x", 0o600)), ("a/c", file(b"x", 0o600))],
            ["file /a/c: mode 0644→0600", "file /a.b: mode 0644→0600", "file /b: mode 0644→0600"],
        ),
        ([("a\n\udcff", CONF)], [], ["file /a\\x0a\\xff: removed"]),
    ],
)
def test_members(before: list[Any], after: list[Any], told: list[str]) -> None:
    assert list(map(str, changes(before, after).differences())) == told
    assert str(changes(before, after).first()) == (told[0] if told else "None")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"data": b"y"}, ["file /a: content 2d711642b726…→a1fce4363854…"]),
        ({"mtime": 2}, ["SOURCE_DATE_EPOCH: 1→2", "file /a: time 1→2"]),
        ({"mtime": 0}, ["SOURCE_DATE_EPOCH: 1→2", "file /a: time 1→0"]),
    ],
)
def test_an_epoch_is_told_where_a_member_has_it(change: dict[str, Any], told: list[str]) -> None:
    facts = [{**FACTS, "settings": {"SOURCE_DATE_EPOCH": epoch}} for epoch in (1, 2)]
    found = changes([("a", file(b"x", mtime=1))], [("a", file(**{"data": b"x", "mtime": 1, **change}))], *facts)
    assert list(map(str, found.differences())) == told


def test_a_time_of_its_own_is_not_the_epochs() -> None:
    facts = [{**FACTS, "settings": {"SOURCE_DATE_EPOCH": epoch}} for epoch in (100, 200)]
    found = changes([("a", file(b"x", mtime=5))], [("a", file(b"x", mtime=6))], *facts)
    assert list(map(str, found.differences())) == ["file /a: time 5→6"]


def test_of_very_many_differences_the_first_is_found_among_a_few() -> None:
    before = [(f"d/{number:05}", CONF) for number in range(3000)]
    after = [(path, file(b"x", 0o600)) for path, _ in before]
    found = changes(before, after)
    assert str(found.first()) == str(found.differences()[0]) == "file /d/00000: mode 0644→0600"
    assert len(found.differences()) == 3000


def test_whole_values_are_in_json() -> None:
    value = Difference("package a 1", "file digest", "4f" * 32, "9a" * 32).to_json()
    assert value == {"subject": "package a 1", "fact": "file digest", "before": "4f" * 32, "after": "9a" * 32}
