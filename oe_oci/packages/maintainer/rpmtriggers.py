# SPDX-License-Identifier: MIT
"""rpm's triggers: scripts that a package runs when others come or go, or when files come that lie in some place.

Follows rpm 4.18 in what is run and when, and 4.20 in the words of file triggers, which older ones give no counts. Who
owns triggers is the caller's to say, in the order of their installation: those below come first, and one that is
replaced is not among them, as with 4.20. Must not run a script, nor know a database.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Callable, NamedTuple

from ...tree import encode
from ..package import RPM
from ..rpm import tags
from ..rpm.relation import SENSE, Relation
from .scripts import SHELL, Script, prefixes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ..rpm.header import Header
    from ..world import Candidate

    Counts = Mapping[str, int]  # of packages by name: how many are there, with what just came and without what goes

EARLY = 10_000  # file triggers of at least that priority run before `%post`, the others after it
_SIGNS = ((tags.LESS, "<"), (tags.GREATER, ">"), (tags.EQUAL, "="))
_NAMES = {
    tags.TRIGGERPREIN: "triggerprein",
    tags.TRIGGERIN: "triggerin",
    tags.TRIGGERUN: "triggerun",
    tags.TRIGGERPOSTUN: "triggerpostun",
}

Fits = Callable[[Relation, "Candidate"], bool]


class Trigger(NamedTuple):
    """What a package does when another one comes or goes; `sense` is when: one of `tags.TRIGGER…`.

    Those of one `number` are one script, which runs once for all.
    """

    sense: int
    relation: Relation
    number: int
    script: Script


class FileTrigger(NamedTuple):
    """What a package does when files come or go whose paths begin in one of some ways; `sense` is when."""

    sense: int
    prefixes: tuple[str, ...]
    priority: int
    number: int
    script: Script


class Owner(NamedTuple):
    """A package that is there, with what it has of triggers."""

    package: Candidate
    triggers: Sequence[Trigger]


class Placed(NamedTuple):
    """A package by its name, and the paths of the files of its that are there: absolute ones, sorted."""

    name: str
    paths: Sequence[str]


# ---- what headers say


def triggers_of(header: Header) -> list[Trigger]:
    """The triggers of a package on others.

    Raises:
        InputError: the header is damaged.
    """
    columns = _Columns(tags.TRIGGERNAME, tags.TRIGGERFLAGS, tags.TRIGGERVERSION, tags.TRIGGERINDEX)
    scripts = _scripts(header, tags.TRIGGERSCRIPTS, tags.TRIGGERSCRIPTPROG, tags.TRIGGERSCRIPTFLAGS)
    found = []
    for name, flags, version, number in _conditions(header, columns, scripts):
        sign = "".join(text for flag, text in _SIGNS if flags & flag) if flags & SENSE and version else ""
        relation = Relation(name, "", sign, version if sign else "")
        found.append(Trigger(_sense(flags), relation, number, _named(scripts[number], "", flags)))
    return found


def file_triggers_of(header: Header, *, transaction: bool = False) -> list[FileTrigger]:
    """The triggers of a package on files: of each package that brings some, or of all together in a `transaction`.

    Raises:
        InputError: the header is damaged.
    """
    columns = _TRANSACTION if transaction else _FILES
    scripts = _scripts(header, *(_TRANSACTION_SCRIPTS if transaction else _FILE_SCRIPTS))
    priorities = header.numbers(tags.TRANSFILETRIGGERPRIORITIES if transaction else tags.FILETRIGGERPRIORITIES)
    prefixes: dict[int, list[str]] = {}
    senses: dict[int, int] = {}
    for name, flags, _, number in _conditions(header, columns, scripts):
        prefixes.setdefault(number, []).append(name)
        senses.setdefault(number, flags)  # the first one decides
    if prefixes and len(priorities) != len(scripts):
        raise header.damaged(f"has {len(scripts)} file triggers and {len(priorities)} priorities")
    start = "transfile" if transaction else "file"
    return [
        FileTrigger(
            _sense(senses[number]),
            tuple(prefixes[number]),
            priorities[number],
            number,
            _named(scripts[number], start, senses[number]),
        )
        for number in sorted(prefixes)
    ]


class _Columns(NamedTuple):
    """The tags of what triggers wait for, a value each."""

    names: int
    flags: int
    versions: int
    numbers: int


_FILES = _Columns(tags.FILETRIGGERNAME, tags.FILETRIGGERFLAGS, tags.FILETRIGGERVERSION, tags.FILETRIGGERINDEX)
_TRANSACTION = _Columns(
    tags.TRANSFILETRIGGERNAME, tags.TRANSFILETRIGGERFLAGS, tags.TRANSFILETRIGGERVERSION, tags.TRANSFILETRIGGERINDEX
)
_FILE_SCRIPTS = tags.FILETRIGGERSCRIPTS, tags.FILETRIGGERSCRIPTPROG, tags.FILETRIGGERSCRIPTFLAGS
_TRANSACTION_SCRIPTS = (
    tags.TRANSFILETRIGGERSCRIPTS,
    tags.TRANSFILETRIGGERSCRIPTPROG,
    tags.TRANSFILETRIGGERSCRIPTFLAGS,
)


def _conditions(header: Header, columns: _Columns, scripts: Sequence[Script]) -> Iterator[tuple[str, int, str, int]]:
    """Names, flags, versions and the numbers of scripts."""
    names, versions = header.texts(columns.names), header.texts(columns.versions)
    flags, numbers = header.numbers(columns.flags), header.numbers(columns.numbers)
    if not len(names) == len(flags) == len(versions) == len(numbers):
        raise header.damaged(f"has {len(names)} names in its triggers, {len(flags)} flags, {len(numbers)} numbers")
    if max(numbers, default=-1) >= len(scripts):
        raise header.damaged(f"has a script number {max(numbers)} in its triggers, of {len(scripts)}")
    return zip(names, flags, versions, numbers)


def _scripts(header: Header, texts: int, programs: int, flags: int) -> list[Script]:
    """The scripts of triggers, without words and with no name yet."""
    bodies, interpreters, numbers = header.texts(texts), header.texts(programs), header.numbers(flags)
    if len(interpreters) not in (0, len(bodies)) or len(numbers) not in (0, len(bodies)):
        raise header.damaged(f"has {len(bodies)} scripts of triggers and {len(interpreters)} interpreters")
    name, arch, prefixes = header.text(tags.NAME), header.text(tags.ARCH), prefixes_of(header)
    return [
        Script(RPM, name, arch, "", (program,), encode(body), flags=how, prefixes=prefixes)
        for body, program, how in zip(bodies, interpreters or SHELL * len(bodies), numbers or (0,) * len(bodies))
    ]


def _sense(flags: int) -> int:
    return next((sense for sense in _NAMES if flags & sense), 0)


def _named(script: Script, start: str, flags: int) -> Script:
    return script._replace(name=start + _NAMES.get(_sense(flags), "trigger"))


# ---- packages


def set_off(sense: int, one: Candidate, owners: Iterable[Owner], counts: Counts, fits: Fits) -> list[Script]:
    """What a package that comes or goes has others do, and itself too where it is among the `owners`.

    `fits` says whether a package is one that a relation with its name admits.
    """
    found = []
    for owner in owners:
        trigger = _waiting(sense, owner.triggers, one, fits)
        if trigger is not None:
            found.append(_called(trigger, counts, one))
    return found


def set_off_by_others(sense: int, owner: Owner, there: Iterable[Candidate], counts: Counts, fits: Fits) -> list[Script]:
    """What a package that comes or goes does itself for those that are `there`: each script once."""
    by_name: dict[str, list[Candidate]] = {}
    for one in there:
        by_name.setdefault(one.name, []).append(one)
    done: dict[int, Script] = {}
    for each in owner.triggers:
        for one in by_name.get(each.relation.name, ()) if each.number not in done else ():
            trigger = _waiting(sense, owner.triggers, one, fits)
            if trigger is not None:
                done.setdefault(trigger.number, _called(trigger, counts, one))
    return list(done.values())


def _waiting(sense: int, triggers: Iterable[Trigger], one: Candidate, fits: Fits) -> Trigger | None:
    """The first trigger that waits for a package; with rpm too it is no more than one of each other package."""
    for trigger in triggers:
        relation = trigger.relation
        if trigger.sense == sense and relation.name == one.name and (not relation.operator or fits(relation, one)):
            return trigger
    return None


def _called(trigger: Trigger, counts: Counts, one: Candidate) -> Script:
    words = (str(counts.get(trigger.script.package, 0)), str(counts.get(one.name, 0)))
    return _with(trigger.script, words)


# ---- files


def set_off_by_files(
    sense: int, one: Placed, owners: Iterable[Sequence[FileTrigger]], counts: Counts, *, early: bool
) -> list[Script]:
    """What a package's files have all that are there do, itself among them: before its own `%post`, or after it."""
    found = []
    for trigger in _by_priority(sense, owners):
        paths = _beginning(one.paths, trigger.prefixes) if (trigger.priority >= EARLY) == early else []
        if paths:
            words = (str(counts.get(trigger.script.package, 0)), str(counts.get(one.name, 0)))
            found.append(_fed(trigger, words, paths))
    return found


def set_off_by_files_there(
    sense: int, triggers: Sequence[FileTrigger], there: Sequence[Placed], counts: Counts, *, early: bool
) -> list[Script]:
    """What a package that comes does itself for the files of those that are `there`, in the order of installation."""
    found = []
    for trigger in _by_priority(sense, [triggers]):
        matches = _in_packages(there, trigger.prefixes) if (trigger.priority >= EARLY) == early else []
        if matches:
            words = (str(counts.get(trigger.script.package, 0)), str(counts.get(matches[0][0], 0)))
            found.append(_fed(trigger, words, [path for _, path in matches]))
    return found


def set_off_at_end(
    sense: int, owners: Iterable[Sequence[FileTrigger]], placed: Sequence[Placed], counts: Counts
) -> list[Script]:
    """What some packages do at the end for the files of others.

    At first that is those below for what came, together; then each that came, by itself, for all that is there.
    """
    found = []
    for trigger in _by_priority(sense, owners):
        matches = _in_packages(placed, trigger.prefixes)
        if matches:
            words = (str(counts.get(trigger.script.package, 0)),)
            found.append(_fed(trigger, words, [path for _, path in matches]))
    return found


def _by_priority(sense: int, owners: Iterable[Sequence[FileTrigger]]) -> list[FileTrigger]:
    """The highest priority first; of one priority packages in their order, and a package's triggers in theirs."""
    found = (trigger for triggers in owners for trigger in sorted(triggers, key=lambda one: one.number))
    return sorted((one for one in found if one.sense == sense), key=lambda one: -one.priority)


def _beginning(paths: Sequence[str], prefixes: Iterable[str]) -> list[str]:
    """The paths that begin in each way, which can be some of them twice."""
    found = []
    for prefix in prefixes:
        for number in range(bisect_left(paths, prefix), len(paths)):
            if not paths[number].startswith(prefix):
                break
            found.append(paths[number])
    return found


def _in_packages(placed: Iterable[Placed], prefixes: Iterable[str]) -> list[tuple[str, str]]:
    """Those of all packages that have a directory which begins so, with the packages' names.

    By its whole path alone rpm finds no file in its database.
    """
    found: list[tuple[str, str]] = []
    for prefix in prefixes:
        for one in placed:
            paths = _beginning(one.paths, [prefix])
            if any(path.rindex("/") + 1 >= len(prefix) for path in paths):
                found += ((one.name, path) for path in paths)
    return found


def _fed(trigger: FileTrigger, words: tuple[str, ...], paths: Iterable[str]) -> Script:
    return _with(trigger.script, words)._replace(input=b"".join(encode(path) + b"\n" for path in paths))


def _with(script: Script, words: tuple[str, ...]) -> Script:
    """A script with words, of which a program needs none."""
    return script._replace(words=words) if script.data else script
