# SPDX-License-Identifier: MIT
"""The variables of a configuration: what was written to each, and the value that comes of it.

Must not know the syntax of a file, nor open one; `bbconf` reads files and tells this module what they say.

A name is kept as it was written: `A`, `A:foo`, `A_${B}`. What `A` is worth is decided only when somebody asks, from the
overrides then in force.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ConfigError, Fault
from .expand import Budget, CycleError, expansion, references, run
from .names import (
    EDITS,
    Location,
    Overrides,
    Target,
    base_name,
    key_fault,
    lost_edit,
    shorter,
    split_edit,
    spot_of,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from .expand import Steps, TextSteps

_WORD = re.compile(r"\S+")
_OVERRIDE_ROUNDS = 6
_OF_THE_FILE = ("FILE_DIRNAME", "THISDIR")


class _Text(NamedTuple):
    """A piece of text as written, where, and for an edit the overrides it waits for."""

    text: str
    at: Location | None
    condition: str = ""


class _Entry:
    def __init__(self, value: _Text | None = None) -> None:
        self.value = value
        self.default: _Text | None = None
        self.edits: dict[str, list[_Text]] = {}
        self.flags: dict[str, _Text] = {}
        self.flag_defaults: dict[str, _Text] = {}

    @property
    def base(self) -> _Text | None:
        return self.value or self.default

    @property
    def has_value(self) -> bool:
        return bool(self.value or self.default or self.edits)

    def written_at(self) -> Location | None:
        """Where the value was assigned, else where text was last added, else anything."""
        if self.base:
            return self.base.at
        added = [edit for kind in ("prepend", "append") for edit in self.edits.get(kind, ())]
        other = [*self.edits.get("remove", ()), *self.flag_defaults.values(), *self.flags.values()]
        return (added or other)[-1].at if added or other else None


_NOTHING = _Entry()


class Variables:
    """The resolved variables of a configuration."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._variants: dict[str, dict[str, str]] = {}  # A -> {"foo:bar": "A:foo:bar"}
        self._references: set[str] = set()
        self._overrides: Overrides | None = None  # None until somebody needs them
        self._known: dict[str, str | None] = {}
        self._budget = Budget()

    # What is asked

    def get(self, name: str) -> str | None:
        """The final value: overrides, edits and references applied; None where the variable is not set."""
        if name in self._entries or name in self._variants:
            self._settle()
        return self._known[name] if name in self._known else self._run(name, self._value(name))

    def flag(self, name: str, flag: str) -> str | None:
        """The final value of a flag, None where it is not set."""
        entry = self._entries.get(name, _NOTHING)
        raw = entry.flags.get(flag) or entry.flag_defaults.get(flag)
        return None if raw is None else self.expand(raw.text, spot_of(str(Target(name, flag)), raw.at))

    def names(self) -> Iterable[str]:
        """Every variable set in any way, by its base name: `A` for `A:append` or `A:foo`."""
        written = (key for key, entry in self._entries.items() if entry.has_value or entry.flags or entry.flag_defaults)
        return sorted({base_name(key) for key in written} - {"FILE"})

    def location(self, name: str) -> Location | None:
        """Where the value was last assigned, else last added to; None for a default of the program, or nothing."""
        self._settle()
        variant = self._variant(name)
        if variant and self._entries.get(variant, _NOTHING).has_value:
            return self.location(variant)
        return self._entries.get(name, _NOTHING).written_at()

    def referenced(self) -> frozenset[str]:
        """The base names that the text of another variable, or any name, refers to with `${…}`."""
        return frozenset(self._references)

    def expand(self, text: str, spot: str) -> str:
        """The text with its references replaced by what they are worth now; `spot` is where it stands."""
        if "${" in text:
            self._settle()
        value = self._run("", expansion(text, lambda: spot, self._budget)) or ""
        del self._known[""]
        return value

    # What the reader tells

    def set_file(self, path: str | None) -> str | None:
        """Sets `FILE`, as BitBake does around each file it reads; gives what it was."""
        before = self._entries.get("FILE", _NOTHING).value
        self.unset("FILE")
        if path is not None:
            self._entries["FILE"] = _Entry(_Text(path, None))
        return before.text if before else None

    def assign(self, target: Target, operator: str, value: str, at: Location | None) -> None:
        """One assignment, with one of the operators of the syntax."""
        own = base_name(target.key)
        self._references |= {name for name in references(value) if name != own}.union(references(target.key))
        entry = self._entries.get(target.key, _NOTHING)
        now = entry.flags.get(target.flag) if target.flag else entry.value
        if operator == "?=" and now is not None:
            value, at = now.text, now.at  # written once more, which counts where `unset` made its overrides forgotten
        text = self.expand(value, spot_of(str(target), at)) if operator == ":=" else value
        text = _combined(operator, now.text if now else "", text)
        self._budget.spend(len(text), lambda: spot_of(str(target), at))
        self._write(target, _Text(text, at), weak=operator == "??=")

    def export(self, key: str, at: Location) -> None:
        """Marks a variable for the environment of shell tasks; here only a flag."""
        self._write(Target(key, "export"), _Text("1", at))

    def unset(self, key: str) -> None:
        """Forgets a variable, its flags and edits, and which overrides it has."""
        self._forget()
        self._entries.pop(key, None)
        self._variants.pop(key, None)
        for short, override in shorter(key):
            self._variants.get(short, {}).pop(override, None)

    def unset_flag(self, key: str, flag: str) -> None:
        """Forgets a flag; a default written with `??=` stays."""
        self._entries.get(key, _NOTHING).flags.pop(flag, None)

    def finish(self) -> None:
        """Expands references in names (`A_${B}`), as BitBake does once everything is read."""
        self._settle()
        keys = {key for key, entry in self._entries.items() if entry.has_value}
        keys |= {key for key in self._variants if self._variant(key)}
        renames = {key: self.expand(key, spot_of(key, self.location(key))) for key in sorted(keys) if "${" in key}
        for old, new in renames.items():
            if old != new:
                self._rename(old, new)
        written = [key for key, entry in self._entries.items() if entry.has_value]
        lost = [key for key in written if set(key.split(":")[1:]) & {*EDITS}]
        if lost:
            raise ConfigError(lost_edit(key, self.location(key)) for key in lost)

    # Writing

    def _entry(self, key: str) -> _Entry:
        return self._entries.setdefault(key, _Entry())

    def _write(self, target: Target, text: _Text, *, weak: bool = False) -> None:
        self._forget()
        edit = split_edit(target.key)
        if target.flag:
            entry = self._entry(target.key)
            (entry.flag_defaults if weak else entry.flags)[target.flag] = text
        elif edit:
            key, kind, condition = edit
            self._entry(key).edits.setdefault(kind, []).append(text._replace(condition=condition))
            self._register(key)
        else:
            setattr(self._entry(target.key), "default" if weak else "value", text)
            self._register(target.key)

    def _register(self, key: str) -> None:
        for short, override in shorter(key):
            self._variants.setdefault(short, {})[override] = key

    def _rename(self, old: str, new: str) -> None:
        """Moves value and edits; flags stay behind and are lost, as in BitBake."""
        entry = self._entries.get(old, _NOTHING)
        fault = key_fault(Target(new), "=", entry.written_at())
        if fault:
            raise ConfigError([fault])
        if entry.base:
            self._write(Target(new), entry.base)
        for kind, edits in entry.edits.items():
            self._entry(new).edits.setdefault(kind, []).extend(edits)
        if old in self._variants:
            self._variants[new] = {}
            for variant in list(self._variants[old].values()):
                self._rename(variant, variant.replace(old, new))
        if entry.base is None and ":" in old:
            self._register(new)
        self.unset(old)

    def _forget(self) -> None:
        self._overrides = None
        self._known.clear()

    # Working out

    def _settle(self) -> None:
        """Finds the overrides in force; `OVERRIDES` may itself depend on them, so until they stay the same."""
        if self._overrides is None:
            try:
                self._try_overrides()
            except ConfigError:
                self._forget()
                raise

    def _try_overrides(self) -> None:
        found: tuple[str, ...] = ()
        for _ in range(_OVERRIDE_ROUNDS):
            self._known.clear()
            self._overrides = Overrides(found)
            found = tuple((self._run("OVERRIDES", self._value("OVERRIDES")) or "").split(":"))
            if found == self._overrides.names:
                return
        spot = spot_of("OVERRIDES", self.location("OVERRIDES"))
        raise ConfigError([Fault(spot, "the overrides change the value of OVERRIDES again and again")])

    def _variant(self, name: str) -> str | None:
        """The name, with overrides, that stands for this one now."""
        variants = self._variants.get(name)
        if not variants or not self._overrides:
            return None
        self._budget.spend(0, lambda: name, steps=len(variants))
        active = [override for override in variants if self._overrides.hold(override)]
        return variants[max(active, key=self._overrides.rank)] if active else None

    def _run(self, name: str, steps: Steps) -> str | None:
        try:
            return run(name, steps, self._value, self._known)
        except CycleError as cycle:
            fault = self._cycle(cycle.names)
        raise ConfigError([fault])

    def _cycle(self, names: list[str]) -> Fault:
        name = names[0]
        shown = [*names, name] if len(names) < 12 else [*names[:6], "…", *names[-5:], name]
        return Fault(
            spot_of(name, self.location(name)),
            f"the value refers to itself: {' → '.join(shown)}",
            f'to add to it, write {name}:append = " …", or {name} := "${{{name}}} …" for the value of that moment',
        )

    def _value(self, name: str) -> Steps:
        """One variable's value, with the variables it needs asked for on the way."""
        pieces = self._pieces(name)
        if pieces is None:
            return None
        text = yield from self._expanded(name, pieces)
        gone = set().union(*(yield from self._removals(name))) if text else set()
        return _WORD.sub(lambda word: "" if word[0] in gone else word[0], text) if gone else text

    def _expanded(self, name: str, pieces: list[_Text]) -> TextSteps:
        text = "".join(piece.text for piece in pieces)
        return expansion(text, lambda: spot_of(name, _guilty(pieces)), self._budget)

    def _pieces(self, name: str) -> list[_Text] | None:
        """What a value is put together from: what was assigned, between what was prepended and appended."""
        variant = self._variant(name)
        middle = self._pieces(variant) if variant else None
        if middle is None:
            base = self._entries.get(name, _NOTHING).base or self._built_in(name)
            middle = [base] if base else None
        after = self._edits(name, "append")
        before = self._edits(name, "prepend")
        return None if middle is None and not after and not before else [*reversed(before), *(middle or ()), *after]

    def _removals(self, name: str) -> Generator[str, str | None, list[set[str]]]:
        """The words of each removal a value suffers.

        Those written for the override in force count only if they find something in what was written for it; then they
        remove from the whole value.
        """
        found = []
        for edit in self._edits(name, "remove"):
            words = yield from self._words(name, edit)
            found.append(set(words.split()))
        variant = self._variant(name)
        pieces = self._pieces(variant) if variant else None
        if variant and pieces:
            inner = yield from self._removals(variant)
            present = set((yield from self._expanded(variant, pieces)).split()) if inner else set()
            found += [words for words in inner if words & present]
        return found

    def _words(self, name: str, edit: _Text) -> TextSteps:
        return expansion(edit.text, lambda: spot_of(f"{name}:remove", edit.at), self._budget)

    def _built_in(self, name: str) -> _Text | None:
        file = self._entries.get("FILE", _NOTHING).base
        return _Text(os.path.dirname(file.text), None) if file and name in _OF_THE_FILE else None

    def _edits(self, name: str, kind: str) -> list[_Text]:
        edits = self._entries.get(name, _NOTHING).edits.get(kind, ())
        return [
            edit for edit in edits if not edit.condition or (self._overrides and self._overrides.hold(edit.condition))
        ]


def _guilty(pieces: list[_Text]) -> Location | None:
    """Where to look for a fault of a value: its inline Python if there is some, else what was assigned."""
    python = [piece.at for piece in pieces if "${@" in piece.text]
    return next((at for at in python or [piece.at for piece in pieces] if at), None)


def _combined(operator: str, now: str, value: str) -> str:
    if operator == "+=":
        return f"{now} {value}"
    if operator == "=+":
        return f"{value} {now}"
    if operator == ".=":
        return now + value
    return value + now if operator == "=." else value
