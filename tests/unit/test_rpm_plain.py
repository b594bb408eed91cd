# SPDX-License-Identifier: MIT
"""rpm feeds as they are read without libsolv: the same packages, and the same that a layer means by its names."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING

import pytest
from support.rpmfeeds import below, element, facts, opened, package, pkgid, primary, write_feed, write_repodata

from oe_oci.config import PackagesLayer
from oe_oci.errors import InputError, ToolError
from oe_oci.packages import libsolv
from oe_oci.packages.native.rpmcatalog import RpmCatalog
from oe_oci.packages.rpm.world import World
from oe_oci.packages.world import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from oe_oci.packages.rpm.feed import Feeds

TEXTS = (
    "shop 1:2.0-3 ; needs libc >= 2, /bin/sh, (tls or ssl), rpmlib(X) <= 4 ; likes bell ; provides store = 9",
    "libc 3 ; provides libc.so.6",
    "libc 2",
    "docs 1 noarch",
    "dash 1 ; files /bin/sh",
    "tls 1",
    "ssl 1",
    "bell 1 core2_64 ; needs libc",
    "mail-a 1 ; provides mail",
    "mail-b 1 ; provides mail",
    "alien 1 sparc64",
)
ARCHS = ("noarch", "x86_64", "core2_64")


@pytest.fixture
def plain(monkeypatch) -> Callable[..., Feeds]:
    """Feeds as an interpreter without libsolv opens them."""

    def made(*folders: Path, **how: object) -> Feeds:
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "solv", None)
            return opened(*folders, **{"archs": ARCHS, **how})

    return made


def loose(folder: Path) -> Path:
    folder.mkdir()
    for text in TEXTS:
        package(facts(text)).write(folder)
    return folder


def told(feeds: Feeds) -> list[tuple[object, ...]]:
    return sorted((*one[:3], one.path, one.size, one.digest, one.feed) for one in map(feeds.package, feeds.offered()))


@pytest.mark.parametrize("made", [lambda folder: write_feed(folder, *TEXTS), loose])
def test_the_packages_are_the_same(tmp_path, plain, made):
    folder = made(tmp_path / "feed")
    feeds, other = plain(folder), opened(folder, archs=ARCHS)
    assert told(feeds) == told(other)
    assert len(told(feeds)) == len(TEXTS)
    assert (feeds.names(), feeds.archs, feeds.metadata) == (other.names(), other.archs, other.metadata)
    assert feeds.other_archs("alien") == ("sparc64",)
    assert plain(folder, archs=None).archs == opened(folder, archs=None).archs


def test_packages_beside_an_index_are_not_taken(tmp_path, plain):
    folder = write_feed(tmp_path / "feed", "shop 1")
    package(facts("other 1")).write(folder)
    feeds = plain(folder)
    assert feeds.names() == {"shop"}
    assert feeds.unlisted("other") == str(folder / "other-1-1.x86_64.rpm")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<metadata><package>", "damaged index: no element found"),
        (element(facts("shop 1")).replace("<name>shop</name>", ""), "'' can not be the name of a package"),
        (element(facts("shop 1"), location="../shop.rpm"), "can not be the location of a package"),
        (
            element(facts("shop 1")).replace("<location ", '<location xml:base="http://else" '),
            "has no file in the feed",
        ),
    ],
)
def test_what_can_not_be_is_an_error(tmp_path, plain, text, message):
    data = text.encode() if text.startswith("<metadata>") else primary([text])
    write_repodata(tmp_path, {"primary": data})
    with pytest.raises(InputError, match=message):
        told(plain(tmp_path))


# ---- what a layer means


class Two:
    """The same feed with and without libsolv."""

    def __init__(self, feeds: Iterator[Feeds], **policy: object) -> None:
        self.catalogs = [RpmCatalog(each, Policy("rpm", "amd64", **policy)) for each in feeds]  # type: ignore[arg-type]

    def same(self, name: str, *words: object) -> object:
        found = [getattr(catalog, name)(*words) for catalog in self.catalogs]
        assert found[0] == found[1]
        return found[0]


@pytest.fixture
def two(tmp_path, plain) -> Callable[..., Two]:
    folder = write_feed(tmp_path / "feed", *TEXTS)
    return lambda **policy: Two((plain(folder), opened(folder, archs=ARCHS)), **policy)


@pytest.mark.parametrize(
    "names",
    [
        ("shop",),
        ("store", "docs"),
        ("libc.so.6",),
        ("bell:core2-64", "bell"),
        ("shop", "dash"),
        ("shopp",),
        ("mail",),
        ("alien", "mail-a"),
        ("docs:x86_64",),
    ],
)
def test_names_mean_the_same(two, names):
    layer, there = PackagesLayer("one", names), below("dash 1 ; files /bin/sh", "old 1 ; provides docs = 0")
    both = two()
    if not both.same("missing", layer, there):
        both.same("ask", layer, there)


def test_an_excluded_package_is_told_of_in_the_same_words(two):
    (fault,) = two(exclude=frozenset(["docs"])).same("missing", PackagesLayer("one", ("docs",)), ())
    assert "may not be installed: PACKAGE_EXCLUDE names it" in fault.message


@pytest.mark.parametrize("recommends", [True, False])
def test_what_asked_for_what_is_the_same(two, recommends):
    both = two(recommends=recommends)
    names = ["shop", "libc", "dash", "tls", *(["bell"] if recommends else [])]
    asked = []
    for catalog in both.catalogs:
        found = {one.name: one for one in catalog.offered((), ())}
        chosen = [found[name] for name in names]
        asked.append(catalog.askers(PackagesLayer("one", ("shop",)), (), chosen))
    assert asked[0] == asked[1] == ["", *["shop"] * (len(names) - 1)]


def test_why_there_is_no_way_is_left_to_the_tool(two):
    layer = PackagesLayer("one", ("shop",))
    without, with_it = two(exclude=frozenset(["libc"])).catalogs
    assert without.explain(layer, ()) is None
    assert "libc" in with_it.explain(layer, ()).message


def test_to_choose_here_libsolv_is_needed(tmp_path, plain, monkeypatch):
    feeds = plain(write_feed(tmp_path / "feed", "shop 1"))
    with pytest.raises(ToolError, match="needs the Python package solv") as caught:
        World(feeds, (), Policy("rpm", "amd64"))
    assert 'OCI_PACKAGE_MANAGER = "native"' in caught.value.hint
    monkeypatch.setitem(sys.modules, "solv", None)
    assert not libsolv.is_there()
    with pytest.raises(ToolError, match="needs the Python package solv"):
        libsolv.load()


def test_a_digest_that_is_none_is_read_from_the_file(tmp_path, plain):
    made = package(facts("shop 1"))
    made.write(tmp_path)
    text = element(facts("shop 1"), digest=pkgid(facts("shop 1"))).replace('type="sha256"', 'type="md5"')
    write_repodata(tmp_path, {"primary": primary([text])})
    feeds = plain(tmp_path)
    (one,) = map(feeds.package, feeds.offered())
    assert one.digest is None
    assert feeds.digest(one) == hashlib.sha256(made.data).hexdigest()
