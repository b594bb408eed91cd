# SPDX-License-Identifier: MIT
"""The one place that parses `OCI_LAYERS`: words `name:type:content` to layers.

The content of every type is split by the same rule. One that holds a `,` is split at commas only, and may end in one.
Otherwise a single `+` separates, `++` belongs to the name, in `+++` the third separates, and four or more are an error.
Pure: whether a path or a package exists is found out later.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Callable, NamedTuple, TypeVar

from ..config import HostCopy, HostLayer, PackagesLayer, PathsLayer
from ..errors import ConfigError, Fault, nearest
from .settings import absolute, quoted, use, wrong

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..config import LayerSpec

T = TypeVar("T")

TYPES = ("packages", "directories", "files", "host")

_FORM = "write name:type:content, such as tools:packages:busybox,curl"
_COPY = "write source:dest, such as files/app.conf:/etc/app.conf"
_FROM_ROOT = "write the path in the image, from '/'"
_ENDING_COMMA = "where a '+' belongs to a name, separate with ',' and end the content with ','"
NAME = re.compile(r"[A-Za-z0-9._-]+")
NAME_HINT = "a name has letters, digits, '.', '_' and '-'"
# A feed's names are narrower still; this keeps what a package manager would take for an option or a path away from it.
PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")
PACKAGE_HINT = "a package's name has letters, digits, '+', '-', '.' and '_'"
_ARCH = re.compile(r"[a-z0-9][a-z0-9-]*")  # of one package among several of a name, as Debian has them
_REFERENCE = re.compile(r"\$\{[^}]*\}")


class Layers(NamedTuple):
    """What a text says: the layers that have no fault, the faults, and what is worth a note."""

    layers: tuple[LayerSpec, ...]
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]


def parse_layers(text: str, folder: str) -> Layers:
    """The layers of a value of `OCI_LAYERS`; relative sources of host layers are meant from `folder`."""
    faults: list[Fault] = []
    notes: list[str] = []
    layers: list[LayerSpec] = []
    entries: dict[str, str] = {}
    for word in text.split():
        entry = _Entry(word, folder)
        layer = entry.layer()
        if entry.name in entries:
            entry.fault(
                f"the name '{entry.name}' is taken by entry {quoted(entries[entry.name])}", "write another name"
            )
        elif NAME.fullmatch(entry.name):
            entries[entry.name] = word
        faults += entry.faults
        notes += entry.notes
        if layer is not None and not entry.faults:
            layers.append(layer)
    return Layers(tuple(layers), tuple(faults), tuple(notes))


def split_content(content: str) -> list[str]:
    """The items of a content, an empty text for one that is missing. Raises ConfigError for four or more `+`."""
    if "," in content:
        items = content.split(",")
        return items[:-1] if not items[-1] else items
    items = [""]
    for text, signs in re.findall(r"([^+]*)(\+*)", content):
        if len(signs) > 3:
            raise wrong(f"{quoted(signs)} is ambiguous", "separate the items with ','")
        items[-1] += text + ("++" if len(signs) > 1 else "")
        if len(signs) in (1, 3):
            items.append("")
    return items


def inside_rootfs(path: str) -> str:
    """An absolute path of the image without `//`, `.` and a trailing `/`. Raises ConfigError."""
    parts = path.split("/")
    if parts[0]:
        raise wrong(f"{quoted(path)} is not an absolute path", _FROM_ROOT)
    if ".." in parts:
        raise wrong(f"{quoted(path)} has a '..' in it", "write the path without it")
    return "/" + "/".join(part for part in parts if part not in ("", "."))


class _Entry:
    """One word of OCI_LAYERS, with all that is wrong with it."""

    def __init__(self, word: str, folder: str) -> None:
        self.word = word
        self.folder = folder
        self.faults: list[Fault] = []
        self.notes: list[str] = []
        self.name, self.kind, self.content = ([*word.split(":", 2), "", ""])[:3]

    def fault(self, message: str, hint: str = "") -> None:
        self.faults.append(Fault("", f"entry {quoted(self.word)}: {message}", hint))

    def layer(self) -> LayerSpec | None:
        if self.word.count(":") < 2:
            self.name = ""
            self.faults.append(Fault("", f"entry {quoted(self.word)} is not name:type:content", _FORM))
            return None
        if not NAME.fullmatch(self.name):
            what = f"{quoted(self.name)} is not a layer's name" if self.name else "the layer's name is missing"
            self.fault(what, NAME_HINT if self.name else _FORM)
        if self.kind not in TYPES:
            what = f"unknown layer type {quoted(self.kind)}" if self.kind else "the layer's type is missing"
            self.fault(what, nearest(self.kind, TYPES) or use(TYPES))
            return None
        if self.kind == "packages":
            return PackagesLayer(self.name, self._each(_package))
        if self.kind == "host":
            return HostLayer(self.name, self._each(self._copy))
        return PathsLayer(self.name, self.kind, self._each(inside_rootfs))

    def _each(self, parse: Callable[[str], T]) -> tuple[T, ...]:
        """The items, each parsed; one that is there twice is taken once."""
        found: dict[T, str] = {}
        for item in self._items():
            lost = _REFERENCE.search(item)
            try:
                if lost:
                    raise wrong(f"{quoted(lost[0])} is not set", f"set {lost[0][2:-1]}, or write the value out")
                value = parse(item)
            except ConfigError as error:
                for fault in error.faults:
                    self.fault(fault.message, self._hint(fault.hint))
                continue
            if value in found:
                self.notes.append(f"entry {quoted(self.word)}: {quoted(item)} is there twice")
            found[value] = item
        return tuple(found)

    def _items(self) -> Iterable[str]:
        if not self.content:
            self.fault("the content is missing", _FORM)
            return []
        if self.content == ",":
            self.fault("the content is a ',' alone", _FORM)
            return []
        try:
            items = split_content(self.content)
        except ConfigError as error:
            self.fault(error.faults[0].message, error.faults[0].hint)
            return []
        for place, item in enumerate(items):
            if not item:
                self.fault(f"an empty item {_place(items, place)}", "remove the separator that is too many")
        return [item for item in items if item]

    def _hint(self, hint: str) -> str:
        torn = "+" in self.content and "," not in self.content and hint in (_FROM_ROOT, _COPY)
        return f"{hint}; {_ENDING_COMMA}" if torn else hint

    def _copy(self, item: str) -> HostCopy:
        source, colon, destination = item.rpartition(":")
        if not (colon and source and destination):
            raise wrong(f"{quoted(item)} is not source:dest", _COPY)
        path = inside_rootfs(destination)
        if destination.endswith("/"):
            path = path.rstrip("/") + "/"  # into that directory
        elif path == "/":
            path = "/."  # over the root itself
        return HostCopy(absolute(self.folder, source), path, source)


def _place(items: list[str], place: int) -> str:
    if place + 1 < len(items):
        following = items[place + 1]
        return f"before {quoted(following)}" if following else "between two separators"
    return f"after {quoted(items[place - 1])}"


def _package(item: str) -> str:
    name, colon, arch = item.partition(":")
    if PACKAGE.fullmatch(name) and (_ARCH.fullmatch(arch) if colon else True):
        return item
    hint = PACKAGE_HINT
    if "/" in item:
        hint = "a path belongs into a layer of type 'directories' or 'files'"
    elif ";" in item or "|" in item:
        hint = "separate packages with ','"
    raise wrong(f"{quoted(item)} is not a package's name", hint)
