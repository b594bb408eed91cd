# SPDX-License-Identifier: MIT
"""The packages chosen of the distribution's whole index are those that apt would install on an empty system.

The requests are random ones. Where the two differ, the difference must be one of `EXCEPTIONS`, by what the index says
of the packages and not by their names; docs/explanation/choosing-packages.md has the same table.
"""

from __future__ import annotations

import random
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support import apt, tools

from oe_oci.errors import ConfigError
from oe_oci.packages.feed import open_feeds
from oe_oci.packages.resolve import resolve
from oe_oci.packages.world import Policy, World

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from oe_oci.packages.feed import Feeds

REQUESTS = 100  # with recommendations, and as many without
PAIRS = 50
MOST = 0.12  # of the requests may differ; three of a hundred do, but the families they are of are large

PROVIDERS = "equal providers"
CLASHES = "packages that clash"
LEFTOVERS = "leftovers"
EXCEPTIONS = (PROVIDERS, CLASHES, LEFTOVERS)


class Case(NamedTuple):
    names: tuple[str, ...]
    recommends: bool
    apt: apt.Choice | None


class Machine(NamedTuple):
    """Who chooses, and of what."""

    index: apt.Index
    apt: apt.Apt
    feeds: Feeds

    def choose(self, names: Iterable[str], *, recommends: bool, exclude: Collection[str] = ()) -> apt.Choice:
        """What the product would install.

        Raises:
            ConfigError: it refuses.
        """
        policy = Policy("deb", apt.architecture(), recommends, frozenset(), frozenset(exclude))
        selected = resolve(World(self.feeds, [], policy), "app", list(names)).selected
        return frozenset((one.package.name, one.package.version) for one in selected)

    def ask_apt(self, requests: Iterable[tuple[str, ...]], *, recommends: bool) -> list[Case]:
        with ThreadPoolExecutor(2) as pool:
            wanted = list(requests)
            answers = pool.map(lambda names: self.apt.choose(names, recommends=recommends), wanted)
            return [Case(names, recommends, answer) for names, answer in zip(wanted, answers)]


@pytest.fixture(scope="module")
def machine() -> Machine:
    feed = apt.full_index()
    feeds = open_feeds([str(feed)], kind=None, archs=None, native=apt.architecture(), remember=None, limit=None)
    with tools.scratch("oe-oci-apt-") as folder:
        yield Machine(apt.Index(feed), apt.Apt(folder, feed), feeds)


@pytest.fixture(scope="module", params=[True, False], ids=["with recommendations", "without"])
def cases(request, machine) -> list[Case]:
    rnd = random.Random(int(request.param))
    names = machine.index.names()
    requests = [tuple(rnd.sample(names, rnd.randint(1, 5))) for _ in range(REQUESTS)]
    return machine.ask_apt(requests, recommends=request.param)


def test_the_index_is_a_whole_distribution(machine):
    assert len(machine.index.names()) > 50_000
    assert machine.feeds.names() >= set(machine.index.names())


def test_apt_says_the_same_in_both_ways(machine, cases):
    """The way that is asked here is not the one that people know."""
    for case in cases[:3]:
        assert machine.apt.simulate(case.names, recommends=case.recommends) == case.apt


def test_the_choice_is_that_of_apt(machine, cases):
    wrong, excused = [], []
    for case in cases:
        try:
            ours = machine.choose(case.names, recommends=case.recommends)
        except ConfigError as error:
            if case.apt is not None:
                wrong.append(f"{' '.join(case.names)}: refused, but apt installs {len(case.apt)}: {error}")
            continue
        if case.apt is None:
            wrong.append(f"{' '.join(case.names)}: apt refuses, here {len(ours)} are chosen")
        elif ours != case.apt:
            why, rest = excuses(machine, case, ours)
            excused.append(f"{' '.join(case.names)}: {why}")
            if machine.apt.choose(sorted(names_of(ours)), recommends=False) != ours:
                wrong.append(f"{' '.join(case.names)}: apt does not take these {len(ours)} packages as they are")
            if rest:
                wrong.append(f"{' '.join(case.names)}: {why or 'no exception'}, and {rest}")
    assert not wrong, "\n".join([f"{len(wrong)} of {len(cases)} choices are not apt's:", *wrong])
    assert len(excused) <= MOST * len(cases), "\n".join([f"{len(excused)} of {len(cases)} choices differ:", *excused])
    assert any(case.apt for case in cases)


def excuses(machine: Machine, case: Case, ours: apt.Choice) -> tuple[list[str], str]:
    """The exceptions that make a choice another one than apt's, and what of the difference they leave unexplained.

    Of what only apt takes, a package that an exception allows is asked for too, then one more, as long as the two come
    nearer to each other: all else must then be the same.
    """
    assert case.apt is not None
    why: list[str] = []
    asked: tuple[str, ...] = ()
    while ours != case.apt:
        excused = excused_packages(machine.index, case.apt, ours)
        tried = [(name, try_with(machine, case, (*asked, name))) for name in sorted(excused.keys() - set(asked))]
        name, nearest = min(tried, key=lambda one: len(one[1] ^ case.apt), default=("", ours))
        if len(nearest ^ case.apt) >= len(ours ^ case.apt):
            break
        asked, ours = (*asked, name), nearest
        why.append(f"{excused[name]}: {name}")
    if ours < case.apt and serves_as_much(machine.index, case, ours):
        why.append(f"{LEFTOVERS}: {' '.join(sorted(names_of(case.apt - ours)))}")
        ours = case.apt
    return why, "" if ours == case.apt else differences(case.apt, ours)


def try_with(machine: Machine, case: Case, names: Iterable[str]) -> apt.Choice:
    try:
        return machine.choose((*case.names, *names), recommends=case.recommends)
    except ConfigError:
        return frozenset()


def excused_packages(index: apt.Index, expected: apt.Choice, found: apt.Choice) -> dict[str, str]:
    """The packages that only apt takes, where an exception allows for another one."""
    provided: dict[str, set[str]] = {}
    for name in names_of(found):
        for each in index[name].provides:
            provided.setdefault(each, set()).add(name)
    excused: dict[str, str] = {}
    for name in names_of(expected - found):
        one = index[name]
        equals = {other for each in one.provides for other in provided.get(each, ()) if each not in (name, other)}
        if any(index[other].rank == one.rank for other in equals):
            excused[name] = PROVIDERS
        elif any(are_clashing(index, name, other) for other in names_of(found - expected)):
            excused[name] = CLASHES
    return excused


def are_clashing(index: apt.Index, one: str, other: str) -> bool:
    """Whether one of two packages says that it can not stand beside the other, in some version."""
    first, second = index[one], index[other]
    return bool(first.against & {other, *second.provides} or second.against & {one, *first.provides})


def serves_as_much(index: apt.Index, case: Case, ours: apt.Choice) -> bool:
    """Whether for all packages of our choice the first alternative that apt's choice meets is met by ours alone."""
    assert case.apt is not None
    here, there = all_names(index, ours), all_names(index, case.apt)
    for name in names_of(ours):
        for group in (*index[name].needs, *(index[name].likes if case.recommends else ())):
            if next((one for one in group if one in there), None) not in (None, *here.intersection(group)):
                return False
    return True


def all_names(index: apt.Index, choice: apt.Choice) -> set[str]:
    """The names that packages have and those that they provide."""
    return {each for name in names_of(choice) for each in (name, *index[name].provides)}


def names_of(choice: Iterable[tuple[str, str]]) -> set[str]:
    return {name for name, _ in choice}


def differences(expected: apt.Choice, found: apt.Choice) -> str:
    more, fewer = sorted(found - expected), sorted(expected - found)
    return "; ".join(
        f"{len(these)} {text}: {' '.join('='.join(one) for one in these[:8])}{' …' if len(these) > 8 else ''}"
        for these, text in ((fewer, "only of apt's"), (more, "only here"))
        if these
    )


# ---- refusals


def test_packages_that_conflict_are_refused(machine):
    """Pairs of which one says that it conflicts with the other: both refuse, and the error names the two."""
    pairs = conflicting_pairs(machine.index, random.Random(3))
    wrong, refused = [], 0
    for case in machine.ask_apt(pairs, recommends=False):
        try:
            machine.choose(case.names, recommends=False)
        except ConfigError as error:
            refused += 1
            text = str(error)
            if case.apt is not None:
                wrong.append(f"{' '.join(case.names)}: refused, but apt installs them: {text}")
            elif not all(name in text for name in case.names):
                wrong.append(f"{' '.join(case.names)}: the error does not name both: {text}")
        else:
            if case.apt is None:
                wrong.append(f"{' '.join(case.names)}: apt refuses")
    assert not wrong, "\n".join([f"{len(wrong)} of {PAIRS} pairs:", *wrong])
    assert refused > PAIRS * 0.8, f"only {refused} of {PAIRS} pairs are refused, so this shows little"


def conflicting_pairs(index: apt.Index, rnd: random.Random) -> list[tuple[str, str]]:
    """Pairs by conflicts without a version; the other one has the name or provides it."""
    names = index.names()
    known = set(names)
    pairs: list[tuple[str, str]] = []
    while len(pairs) < PAIRS:
        one = rnd.choice(names)
        against = [part.strip() for part in index.fields(one).get("Conflicts", "").split(",")]
        for name in (part for part in against if re.fullmatch(r"[a-z0-9.+-]+", part)):
            others = [*([name] if name in known else []), *sorted(index.providers(name))]
            others = [other for other in others if other != one]
            if others:
                pairs.append((one, rnd.choice(others)))
                break
    return pairs


def test_the_exceptions_are_documented():
    page = (tools.ROOT / "docs/explanation/choosing-packages.md").read_text(encoding="utf-8")
    section = page.partition("## Known differences from apt")[2].partition("\n## ")[0]
    head, *rows = re.findall(r"^\| ([^|]+?) \|", section, re.MULTILINE)
    assert head == "What"
    assert {row.lower() for row in rows} == set(EXCEPTIONS)
