# SPDX-License-Identifier: MIT
"""Reading variables one by one while every fault is gathered, each with the place it stands at.

Must not know what any variable means.
"""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING, Callable, Protocol, TypeVar

from ..errors import ConfigError, Fault, nearest
from .variables import ORDER, VARIABLES, known_as, number_of

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")

NONE = "none"  # the word that clears what would be inherited or found

_ON = frozenset(("1", "yes", "true", "on"))
OFF = frozenset(("0", "no", "false", "off", ""))
_REFERENCE = re.compile(r"\$\{[A-Za-z0-9_.+/~:-]+\}")
_SHOWN = 120

# Names of the class this one replaces, which recipes and its own code set or read, and what to do instead.
_FORMER = (
    (r"OCI_PM_DEPENDS|OCI_IMAGE_BACKEND_INC", "remove it: no backend and no package manager is named here"),
    (r"OCI_LAYER_(\d+_NAME|COUNT)", "remove it: the names and the number of layers are those of OCI_LAYERS"),
    (r"OCI_REUSE_IMAGE", "remove it: every build writes a new image; OCI_BASE_IMAGE names one to build on"),
    (r"OCI_(MULTIARCH_.*|ARCH_TO_PLATFORM)", "remove it: it is for recipes that inherit oci-multiarch"),
)


class Location(Protocol):
    """Where something was written; `line` is 0 where there are no lines (the command line)."""

    @property
    def file(self) -> str: ...

    @property
    def line(self) -> int: ...


class VariableSource(Protocol):
    """What a front end knows of variables: their final values, and where each was written."""

    def get(self, name: str) -> str | None:
        """The value with its references resolved, None where the variable is not set. Raises ConfigError."""

    def names(self) -> Iterable[str]:
        """Every variable that is set."""

    def location(self, name: str) -> Location | None:
        """Where the value was written; None for a default, or where nothing was."""

    def referenced(self) -> frozenset[str]:
        """The names that the value of another variable refers to."""


class Settings:
    """The variables of one configuration, and the faults and notes found so far.

    A reading method returns its fallback where it reports a fault, so that the reader goes on to the next variable.
    """

    def __init__(self, source: VariableSource, folder: str) -> None:
        self._source = source
        self._folder = folder
        self._faults: list[tuple[str, Fault]] = []
        self._unreadable: set[str] = set()
        self.notes: list[str] = []

    def literal(self, name: str) -> str:
        """The value without the space around it, or the default of the table; `${…}` that nothing sets is left."""
        text, default = None, VARIABLES[known_as(name)].default or ""
        try:
            text = self._source.get(name)
        except ConfigError as error:
            self._unreadable.add(name)
            self._faults += ((name, fault) for fault in error.faults if (name, fault) not in self._faults)
        text = ("" if _REFERENCE.search(default) else default) if text is None else text.strip()
        if "\0" in text:
            self._refuse(name, "holds a NUL character")
        return "" if name in self._unreadable else text

    def text(self, name: str) -> str:
        """The value, every reference in it resolved."""
        text = self.literal(name)
        lost = _REFERENCE.search(text)
        if lost:
            self._refuse(name, f"{quoted(lost[0])} is not set", f"set {lost[0][2:-1]}, or write the value out")
        return "" if name in self._unreadable else text

    def unicode(self, name: str) -> str:
        """The value, for a place that holds UTF-8 only."""
        text = self.text(name)
        self._check_unicode(name, text)
        return "" if name in self._unreadable else text

    def words(self, name: str) -> tuple[str, ...]:
        """The words of a value as a shell would split it; `$` is an ordinary character."""
        text = self.literal(name)
        for lost in dict.fromkeys(_REFERENCE.findall(text)):
            self.note(name, f"{quoted(lost)} is not set, and goes into the image as it is written")
        self._check_unicode(name, text)
        try:
            return tuple(shlex.split(text)) if name not in self._unreadable else ()
        except ValueError as error:
            what = "a quotation mark is not closed" if "quotation" in str(error) else "a '\\' stands before nothing"
            self._refuse(name, what, "values are shell words: quote one that holds a space or a quotation mark")
            return ()

    def parsed(self, name: str, parse: Callable[[str], T], fallback: T) -> T:
        """What `parse` makes of the value; the fallback where it is empty or `parse` raises ConfigError."""
        text = self.unicode(name)
        return self.attempt(name, lambda: parse(text), fallback) if text else fallback

    def each(self, name: str, parse: Callable[[str], T]) -> tuple[T, ...]:
        """What `parse` makes of each shell word; those for which it raises ConfigError are left out."""
        found = []
        for word in self.words(name):
            try:
                found.append(parse(word))
            except ConfigError as error:
                self._take(name, error)
        return tuple(found)

    def attempt(self, name: str, make: Callable[[], T], fallback: T) -> T:
        """What `make` returns; its faults become faults of the variable."""
        try:
            return make()
        except ConfigError as error:
            self._take(name, error)
            return fallback

    def choice(self, name: str, known: tuple[str, ...]) -> str:
        """One of the known words; where the value is empty or another, the first."""
        return self.parsed(name, lambda text: one_of(text, known), known[0])

    def switch(self, name: str) -> bool:
        word = self.text(name).lower()
        if word not in _ON | OFF:
            self.fault(name, f"{quoted(word)} is neither on nor off", "write '1' or '0'")
        return word in _ON

    def is_set(self, name: str) -> bool:
        """Whether there is a value at all, if only an empty one."""
        return name in self._unreadable or self._source.get(name) is not None

    def is_written(self, name: str) -> bool:
        """Whether the configuration itself gives the value, and not a default; one appended to counts as given."""
        default = VARIABLES[known_as(name)].default or ""
        changed = not _REFERENCE.search(default) and self.literal(name) != default
        return changed or self._source.location(name) is not None

    def has_place(self, name: str) -> bool:
        """Whether a line of the configuration gives the value, for names whose default only the caller knows."""
        return self._source.location(name) is not None

    def is_unreadable(self, name: str) -> bool:
        """Whether a fault stands for the whole value, so that what follows from its absence is no fault."""
        return name in self._unreadable

    def is_faulty(self, name: str) -> bool:
        """Whether there is a fault of the variable, so that some of what it says may be missing."""
        return any(found == name for found, _ in self._faults)

    def folder_of(self, name: str) -> str:
        """The folder from which relative paths in a value are meant: that of the file that sets it."""
        location = self._source.location(name)
        if location is None:
            return self._folder
        # On the command line a path is meant as the shell's completion gives it.
        return os.path.dirname(os.path.abspath(location.file)) if location.line else os.getcwd()

    def path_of(self, name: str) -> str:
        """The path that is a value, a relative one meant from TOPDIR."""
        return os.path.join(self._folder, self.text("TOPDIR"), self.text(name))

    def where(self, name: str) -> str:
        location = self._source.location(name)
        return name if location is None else f"{location}: {name}"

    def note(self, name: str, text: str) -> None:
        # Without the place: notes stand in the report, which must not tell where it was made.
        note = f"{name}: {text}"
        if note not in self.notes:
            self.notes.append(note)

    def fault(self, name: str, message: str, hint: str = "") -> None:
        if name not in self._unreadable:
            self._add(name, message, hint)

    def numbers(self) -> set[int]:
        """The numbers of the layers of packages that a variable is set for."""
        return set(map(number_of, self._source.names())) - {0}

    def check_names(self) -> None:
        """Refuses `OCI_` names that are in no table and that no other variable uses."""
        unknown = {name for name in self._source.names() if name.startswith("OCI_") and known_as(name) not in VARIABLES}
        for name in sorted(unknown - self._source.referenced()):
            self._add(name, "unknown variable", hint_for(name))

    def faults(self) -> tuple[Fault, ...]:
        """Every fault, in the order of the lines they stand in; then those of the command line, and of no place."""

        def place(found: tuple[str, Fault]) -> tuple[int, str, int, int]:
            location = self._source.location(found[0])
            order = ORDER.get(known_as(found[0]), len(ORDER))
            if location is None:
                return 2, "", 0, order
            return (0 if location.line else 1), location.file, location.line, order

        return tuple(fault for _, fault in sorted(self._faults, key=place))

    def _take(self, name: str, error: ConfigError) -> None:
        for fault in error.faults:
            self.fault(name, fault.message, fault.hint)

    def _check_unicode(self, name: str, text: str) -> None:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            self._refuse(name, "holds bytes that are not UTF-8", "save the file in UTF-8")

    def _refuse(self, name: str, message: str, hint: str = "") -> None:
        self.fault(name, message, hint)
        self._unreadable.add(name)

    def _add(self, name: str, message: str, hint: str) -> None:
        fault = Fault(self.where(name), message, hint)
        if (name, fault) not in self._faults:
            self._faults.append((name, fault))


def wrong(message: str, hint: str = "") -> ConfigError:
    """The error of one value, for a parser that does not know where the value stands."""
    return ConfigError([Fault("", message, hint)])


def quoted(text: str) -> str:
    """A token as messages show it: on one line, printable, and not too long."""
    if len(text) > _SHOWN:
        text = text[: _SHOWN - 1] + "…"
    return "'" + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text) + "'"


def one_of(word: str, known: tuple[str, ...]) -> str:
    """The word, if it is known. Raises ConfigError with the nearest, else with all."""
    if word not in known:
        raise wrong(f"{quoted(word)} is not known", nearest(word, known) or use(known))
    return word


def use(known: tuple[str, ...]) -> str:
    """What to write, as a hint: one of a few words."""
    *most, last = (quoted(word) if word else "nothing" for word in known)
    return f"write {', '.join(most)} or {last}" if most else f"write {last}"


def absolute(folder: str, path: str) -> str:
    """The path from a folder. `..` stays: what it leads to depends on links."""
    return os.path.join(folder, path[2:].lstrip("/") if path.startswith("./") else path)


def hint_for(name: str) -> str:
    """What to do about a variable of a name that is in no table."""
    for pattern, hint in _FORMER:
        if re.fullmatch(pattern, name):
            return hint
    import difflib  # noqa: PLC0415 - for faults alone

    tails = {_tail(known): known for known in VARIABLES}
    near = difflib.get_close_matches(_tail(name), tails, n=1, cutoff=0.7)
    near = [tails[tail] for tail in near] or [known for known in VARIABLES if known.startswith(name)]
    return f"did you mean {near[0]}?" if near else f"a variable of your own must be used by another one as ${{{name}}}"


def _tail(name: str) -> str:
    """The part of a name that tells it from the others; the common beginning would make all of them look alike."""
    return re.sub(r"^OCI_(IMAGE_|LAYER_)?", "", name)
