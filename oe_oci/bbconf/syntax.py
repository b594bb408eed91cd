# SPDX-License-Identifier: MIT
"""The text of a configuration as statements, with every fault of its syntax.

Must not know values, nor open a file.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Union

from ..errors import Fault
from .names import Location, Target, key_fault, spot_of

_FAULT_LIMIT = 20

_KEY = r"[A-Za-z0-9_.+${}/~:-]"
_NAME = _KEY.replace(":", "")
_FLAG = r"[A-Za-z0-9_.+-][A-Za-z0-9_.+@/-]*"
_OPERATOR = r"\?\?=|\?=|:=|\+=|=\+|\.=|=\.|="
_LEFT = rf"(?P<export>export\s+(?=\S))?(?P<key>{_KEY}*?)(?:\[(?P<flag>{_FLAG})\])?\s*(?P<operator>{_OPERATOR})\s*"
_ASSIGNMENT = re.compile(rf"{_LEFT}(?P<value>[\"'].*)", re.DOTALL)
_UNQUOTED = re.compile(rf"{_LEFT}(?P<value>[^\"'].*)?$", re.DOTALL)
_INCLUDE = re.compile(r"(include|require)\s+(\S.*)", re.DOTALL)
_EXPORT = re.compile(rf"export\s+({_NAME}+)$")
_UNSET = re.compile(rf"unset\s+({_NAME}+)(?:\[({_FLAG})\])?$")
_SETTING = re.compile(rf"(?P<key>{_KEY}+)(?:\[(?P<flag>{_FLAG})\])?=(?P<value>.*)", re.DOTALL)
_FOREIGN = re.compile(
    r"(inherit_defer|inherit|addtask|deltask|addhandler|EXPORT_FUNCTIONS|addpylib|include_all|addfragments)(?:\s|$)"
)
_FUNCTION = re.compile(r"((?:python\b|fakeroot\b|def\b|)[^(=\"']*\([^)]*\))\s*[{:]")
RECIPE_LIKE = (".inc", ".bb", ".bbclass")


class Assignment(NamedTuple):
    target: Target
    operator: str
    value: str
    exported: bool
    at: Location


class Export(NamedTuple):
    key: str
    at: Location


class Unset(NamedTuple):
    key: str
    flag: str


class Include(NamedTuple):
    verb: str
    files: str
    at: Location


Statement = Union[Assignment, Export, Unset, Include]


class Parser:
    """The statements of one file, and every fault of its syntax."""

    def __init__(self, path: str, data: bytes) -> None:
        self._path = path
        self._faults: list[Fault] = []
        self._strict = path.endswith(RECIPE_LIKE)
        self._lines = self._decode(data)
        self._next = 0

    def parse(self) -> tuple[list[Statement], list[Fault]]:
        statements: list[Statement] = []
        while self._next < len(self._lines):
            at = Location(self._path, self._next + 1)
            text = self._join(at)
            if len(self._faults) > _FAULT_LIMIT:
                self._faults[_FAULT_LIMIT:] = [Fault(str(at), "there are more faults from here on")]
                break
            if not text or text.startswith("#"):
                continue
            found = _parse_statement(text, at)
            if isinstance(found, Fault):
                self._faults.append(found)
                self._skip_body(text)
            else:
                statements.append(found)
        return statements, self._faults

    def _decode(self, data: bytes) -> list[str]:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            text = data.decode("utf-8", "replace")
            line = len(_split(data[: error.start].decode() + "?"))
            byte = data[error.start]
            self._faults.append(
                Fault(f"{self._path}:{line}", f"byte 0x{byte:02x} is not UTF-8", "save the file as UTF-8")
            )
        if text.startswith("\ufeff"):
            text = text[1:]
            hint = "BitBake can not read it; save the file as UTF-8 without one"
            self._faults.append(Fault(f"{self._path}:1", "the file begins with a byte order mark", hint))
        return _split(text)

    def _join(self, at: Location) -> str:
        """The next line with those that continue it; empty for a blank line and after a fault."""
        pieces = [self._take().rstrip()]
        if not pieces[0]:
            return ""
        while pieces and pieces[-1].endswith("\\"):
            ended = self._next >= len(self._lines)
            more = "" if ended else self._take().rstrip()
            problem = self._continuation(pieces[0], more, ended=ended)
            if problem:
                self._faults.append(Fault(str(at), *problem))
                return ""
            pieces[-1:] = [piece for piece in (pieces[-1][:-1], more) if piece]
        if not pieces:
            self._faults.append(Fault(str(at), "a backslash continues nothing", "take the backslash away"))
        return "".join(pieces)

    def _continuation(self, first: str, more: str, *, ended: bool) -> tuple[str, str] | None:
        comment = first.startswith("#")
        if comment and not more.startswith("#"):
            return "the comment ends in a backslash, but what follows is no comment", "take the backslash away"
        if self._strict and not comment and more.startswith("#"):
            return "a comment stands inside a continued line", "put it above, or below the last line of the value"
        if self._strict and first == "\\":
            return "a backslash continues nothing", "take the backslash away"
        if self._strict and ended:
            return "the last line ends in a backslash", "take the backslash away"
        return None

    def _take(self) -> str:
        self._next += 1
        return self._lines[self._next - 1]

    def _skip_body(self, text: str) -> None:
        """Passes over the body of a function, which would make a fault of each of its lines."""
        if not _FUNCTION.match(text):
            return
        if text.startswith("def"):
            while self._next < len(self._lines) and (self._lines[self._next] or " ")[0].isspace():
                self._next += 1
        elif "}" in (line.rstrip() for line in self._lines[self._next :]):
            while self._take().rstrip() != "}":
                pass


def _parse_statement(text: str, at: Location) -> Statement | Fault:
    if "\0" in text:
        return Fault(str(at), "the line holds a NUL byte")
    match = _ASSIGNMENT.match(text)
    if match:
        return _parse_assignment(match, at)
    match = _INCLUDE.match(text)
    if match:
        return Include(match[1], match[2], at)
    match = _EXPORT.match(text)
    if match:
        return Export(match[1], at)
    match = _UNSET.match(text)
    if match and len(match[2] or "  ") > 1:
        return Unset(match[1], match[2] or "")
    return _unparsed(text, at)


def _parse_assignment(match: re.Match[str], at: Location) -> Assignment | Fault:
    target = Target(match["key"], match["flag"] or "")
    quoted = match["value"]
    quote = quoted[0]
    spot = spot_of(str(target), at)
    if not target.key:
        return Fault(str(at), f"the assignment names no variable: {short(match.string)}")
    if len(quoted) < 2 or quoted[-1] != quote:
        if quote in quoted[1:]:
            hint = "a comment stands on a line of its own" if "#" in quoted else "nothing may follow the closing quote"
            return Fault(spot, f"there is text after the value: {short(quoted)}", hint)
        hint = "a value that goes on in the next line ends in a backslash"
        return Fault(spot, f"the value has no closing quote: {short(quoted)}", hint)
    if quoted[1:-1].count(quote) == 1:
        other = "'" if quote == '"' else '"'
        return Fault(spot, f"the value holds the quote it stands in: {short(quoted)}", f"quote it with {other}")
    fault = key_fault(target, match["operator"], at)
    return fault or Assignment(target, match["operator"], quoted[1:-1], bool(match["export"]), at)


def parse_setting(setting: str) -> Assignment | Fault:
    at = Location("--set", 0)
    match = _SETTING.fullmatch(setting)
    if not match or (not match["flag"] and match["key"][-1] in "+.:"):
        return Fault(
            str(at), f"no VAR=VALUE: {short(setting)}", 'VAR may be A, A:append, A:foo or A[flag], as in A = "…"'
        )
    target = Target(match["key"], match["flag"] or "")
    if "\0" in setting or re.search("[\ud800-\udfff]", setting):
        return Fault(spot_of(str(target), at), "the value is not UTF-8 text")
    return key_fault(target, "=", at) or Assignment(target, "=", match["value"], exported=False, at=at)


def _unparsed(text: str, at: Location) -> Fault:
    """The fault of a line that is no statement, with the likeliest reason."""
    spot = str(at)
    function, word = _FUNCTION.match(text), _FOREIGN.match(text)
    if function or word:
        what = f"`{word[1]}`" if word else "a function"
        hint = "only configuration syntax is understood here; keep this in a recipe that inherits image-oci"
        return Fault(spot, f"{what} belongs to a recipe or class: {short(text)}", hint)
    bare = text.lstrip()
    if bare != text and (bare.startswith("#") or not isinstance(_parse_statement(bare, at), Fault)):
        return Fault(spot, f"the line begins with blanks: {short(text)}", "begin it in the first column")
    match = _UNQUOTED.match(bare)
    if match and match["key"]:
        target = Target(match["key"], match["flag"] or "")
        value = match["value"] or ""
        quote = "'" if '"' in value else '"'
        hint = f"quote the value: {target} {match['operator']} {quote}{short(value)}{quote}"
        return Fault(spot_of(str(target), at), f"the value is not quoted: {short(text)}", hint)
    if text.startswith(("export ", "unset ")):
        hint = "BitBake takes one name without overrides here, and for unset also a flag of two or more characters"
        return Fault(spot, f"the line can not be understood: {short(text)}", hint)
    hint = 'a line is NAME = "value", require FILE, include FILE, export NAME, unset NAME, or a comment'
    return Fault(spot, f"the line can not be understood: {short(text)}", hint)


def _split(text: str) -> list[str]:
    """The lines, ended in any of the three ways."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


def short(text: str) -> str:
    shown = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text[:61])
    return shown if len(text) <= 60 else f"{shown[:60]}…"
