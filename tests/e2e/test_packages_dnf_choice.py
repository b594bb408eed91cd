# SPDX-License-Identifier: MIT
"""The rpm packages chosen are those that dnf would install, first on an empty root and then on top of that.

The worlds are small random ones, in files that createrepo_c makes an index of. Where the two differ, the difference
must be one of `EXCEPTIONS`, by what the packages say; docs/explanation/choosing-packages.md has the same table.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support import tools
from support.dnfchoices import Answer, Dnf, write_repository
from support.rpmfeeds import facts, opened, package, world
from support.rpmworlds import Draw

from oe_oci.errors import ConfigError
from oe_oci.packages.rpm.resolve import resolve

if TYPE_CHECKING:
    from pathlib import Path

WORLDS = 250
MOST = 0.06  # of the answers may differ; some three of a hundred do, as these worlds have many obsoletes

OLDER = "older versions"
OBSOLETED = "obsoleted in part"
UPGRADES = "upgrades"
EXCEPTIONS = (OLDER, UPGRADES, OBSOLETED)


class World(NamedTuple):
    """Packages in a feed: what they say, and the names of their files, by names and versions."""

    feed: Path
    texts: dict[tuple[str, str], str]
    files: dict[tuple[str, str], str]

    def choose(self, below: list[tuple[str, str]], names: list[str], *, weak: bool) -> Answer | None:
        """What the product would install; None where it refuses."""
        known = world(opened(self.feed), *(self.texts[one] for one in below), recommends=weak)
        try:
            selected = resolve(known, "app", names).selected
        except ConfigError:
            return None
        gone = (each for one in selected for each in (one.replaces, *one.obsoletes) if each is not None)
        return Answer(frozenset(one.package[:2] for one in selected), frozenset(each[:2] for each in gone))

    def excuse(self, below: list[tuple[str, str]], names: list[str], theirs: Answer | None, *, weak: bool) -> str:
        """The exception by which another answer is given here; empty where there is none."""
        ours = self.choose(below, names, weak=weak)
        if theirs is None:
            return ""
        if theirs.downgrades:
            return OLDER
        if (
            ours is not None
            and ours.gone < theirs.gone
            and len({*ours.new, *theirs.new}) == len({name for name, _ in (*ours.new, *theirs.new)})
        ):
            return UPGRADES
        # With what dnf took for an obsoleted name in its place, all must be the same.
        there = sorted({name for name, _ in {*below, *theirs.new} - theirs.gone})
        asked = [
            other
            for name in names
            for other in ([name] if name in there else [each for each in there if self.stands_for(each, name)])
        ]
        return OBSOLETED if asked != names and self.choose(below, asked, weak=weak) == theirs else ""

    def stands_for(self, name: str, other: str) -> bool:
        """Whether a package obsoletes another in some version."""
        said = (facts(text) for (each, _), text in self.texts.items() if each == name)
        return any(one.split()[0] == other for each in said for one in each.relations.get("obsoletes", ()))


@pytest.fixture(scope="module")
def dnf():
    with tools.scratch("oe-oci-dnf-") as folder, Dnf(folder) as started:
        yield started


def made(folder: Path, draw: Draw) -> World:
    packages = {(one.name, one.evr): (text, package(one)) for text in draw.offered for one in [facts(text)]}
    feed = write_repository(folder, [(one.filename, one.data) for _, one in packages.values()])
    texts = {known: text for known, (text, _) in packages.items()}
    return World(feed, texts, {known: one.filename for known, (_, one) in packages.items()})


def test_dnf_says_the_same_in_both_ways(tmp_path, dnf):
    """The way that is asked here is not the one that people know."""
    for seed in range(3):
        draw = Draw(seed, below=False, arch="noarch")
        known = made(tmp_path / str(seed), draw)
        dnf.have([])
        assert dnf.choose(known.feed, draw.wanted, weak=True) == dnf.choose_as_a_program(
            known.feed, draw.wanted, weak=True
        )


def test_the_choice_is_that_of_dnf(tmp_path, dnf):
    wrong, excused, asked, installed = [], [], 0, 0
    for seed in range(WORLDS):
        draw, weak = Draw(seed, below=False, arch="noarch"), bool(seed % 3)
        known = made(tmp_path / str(seed), draw)
        below: list[tuple[str, str]] = []
        for names in (draw.wanted, draw.then):
            dnf.have([known.feed / known.files[one] for one in below])
            theirs, ours = dnf.choose(known.feed, names, weak=weak), known.choose(below, names, weak=weak)
            asked += 1
            if ours != theirs:
                why = known.excuse(below, names, theirs, weak=weak)
                text = f"{seed}: {' '.join(names)} on {below}: dnf {theirs}, here {ours}"
                (excused if why else wrong).append(f"{why}: {text}")
            if theirs is None or ours != theirs:
                break
            installed += len(theirs.new)
            below = sorted({*below, *theirs.new} - theirs.gone)
    assert not wrong, "\n".join([f"{len(wrong)} of {asked} choices are not dnf's:", *wrong])
    assert len(excused) <= MOST * asked, "\n".join([f"{len(excused)} of {asked} choices differ:", *excused])
    assert installed > WORLDS


def test_the_exceptions_are_documented():
    page = (tools.ROOT / "docs/explanation/choosing-packages.md").read_text(encoding="utf-8")
    head, *rows = re.findall(r"^\| ([^|]+?) \|", page.partition("## Known differences from dnf")[2], re.MULTILINE)
    assert head == "What"
    assert {row.lower() for row in rows} == set(EXCEPTIONS)


# ---- packages without an index


def test_headers_tell_the_same_as_createrepo_c(tmp_path):
    draw = Draw(7, arch="noarch")
    texts = {
        **{text.partition(";")[0]: text for text in draw.offered},
        "odd": "odd+more 3:1.0~rc1^git-2.fc1 noarch ; needs (a or (b >= 1:2-3 and c)), d < 4:5, perl(Foo::Bar) = 1 "
        "; provides so.1(X)(64bit), e = 2:3-4 ; conflicts f <= 1 ; obsoletes g ; likes h > 2 ; supplements (i and j) "
        "; files /usr/bin/odd /etc/odd.conf /usr/share/ö",
    }
    made = [package(one) for one in map(facts, texts.values())]
    indexed = write_repository(tmp_path / "indexed", [(one.filename, one.data) for one in made])
    loose = tmp_path / "loose"
    loose.mkdir()
    for one in made:
        one.write(loose)
    assert described(loose) == described(indexed)


def described(feed: Path) -> dict[str, list[list[str]]]:
    """All relations of all packages, as libsolv has them; those to what rpm itself can do no index has."""
    feeds = opened(feed, archs=None)
    world(feeds)
    solv = feeds.pool.solv
    words = ("PROVIDES", "REQUIRES", "CONFLICTS", "OBSOLETES", "RECOMMENDS", "SUPPLEMENTS")
    keys = [getattr(solv, f"SOLVABLE_{word}") for word in words]
    return {
        f"{one} {one.lookup_location()[0]} {one.lookup_num(solv.SOLVABLE_DOWNLOADSIZE)}": [
            sorted(text for text in map(str, one.lookup_deparray(key)) if not text.startswith("rpmlib("))
            for key in keys
        ]
        for one in feeds.offered()
    }
