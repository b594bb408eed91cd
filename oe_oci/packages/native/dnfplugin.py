# SPDX-License-Identifier: MIT
"""A plugin for dnf 4 that writes down what dnf means to do and what becomes of it; and the reading of both.

dnf's own words are for people: its status is 0 where a package was not unpacked or a scriptlet failed. Must not know
where what it writes goes, or what a layer is.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from ...errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS, PLAN, TOLD = "settings.json", "plan.json", "told"
_EVENT = "@"  # begins a line of the plugin's own among those of rpm
_RPM = "rpm"

# Runs in dnf's interpreter. Files are opened before rpm changes the root.
PLUGIN = f"""\
import json
import os
import stat

import dnf
import dnf.callback
import dnf.transaction
import libdnf.transaction
import rpm

HERE = os.path.dirname(os.path.abspath(__file__))
PREFIX = "TransactionItemAction_"
ACTIONS = {{getattr(libdnf.transaction, n): n[len(PREFIX):] for n in dir(libdnf.transaction) if n.startswith(PREFIX)}}


class Display(dnf.callback.TransactionProgress):
    def __init__(self, file):
        super().__init__()
        self.file = file
        self.package = ""

    def tell(self, kind, text):
        self.file.write("{_EVENT}" + json.dumps([kind, text]) + "\\n")
        self.file.flush()

    def filelog(self, package, action):
        if package and str(package) != self.package:
            self.package = str(package)
            self.tell("package", package.name)

    def progress(self, package, action, ti_done, ti_total, ts_done, ts_total):
        if hasattr(package, "name"):
            self.filelog(package, action)

    def scriptout(self, msgs):
        if msgs:
            self.tell("output", msgs.decode("utf-8", "replace") if isinstance(msgs, bytes) else str(msgs))

    def error(self, message):
        self.tell("error", str(message))


def fifo_of(package):
    ts = rpm.TransactionSet()
    ts.setVSFlags(rpm._RPMVSF_NODIGESTS | rpm._RPMVSF_NOSIGNATURES)
    try:
        with open(package.localPkg(), "rb") as file:
            header = ts.hdrFromFdno(file.fileno())
    except (OSError, rpm.error):
        return ""
    found = zip(header[rpm.RPMTAG_FILENAMES], header[rpm.RPMTAG_FILEMODES])
    return next((str(name) for name, mode in found if stat.S_ISFIFO(mode & 0xFFFF)), "")


class Plugin(dnf.Plugin):
    name = "oe_oci"

    def __init__(self, base, cli):
        super().__init__(base, cli)
        with open(os.path.join(HERE, "{SETTINGS}"), encoding="utf-8") as file:
            self.settings = json.load(file)
        for name, value in self.settings["macros"].items():
            rpm.addMacro(name, value)
        if "RPM_NO_CHROOT_FOR_SCRIPTS" in os.environ:
            # OpenEmbedded's rpm: it leaves the root for scripts, and they lie where this machine has temporary files.
            rpm.delMacro("_tmppath")
            os.environ.update(self.settings["outside"])
            rpm.addMacro("_install_script_path", os.environ["PATH"])
        base.conf.substitutions["arch"] = self.settings["arch"]

    def sack(self):
        names = self.settings["exclude"]
        if names:
            self.base.sack.add_excludes(self.base.sack.query().available().filter(name=names))

    def resolved(self):
        plan = []
        for item in self.base.transaction or ():
            pkg = item.pkg
            fifo = fifo_of(pkg) if item.action in dnf.transaction.FORWARD_ACTIONS else ""
            plan.append([ACTIONS.get(item.action, ""), pkg.name, pkg.evr, pkg.arch, fifo])
        with open(os.path.join(HERE, "{PLAN}"), "w", encoding="utf-8") as file:
            json.dump(plan, file)
        self.told = open(os.path.join(HERE, "{TOLD}"), "a", encoding="utf-8")
        self.cli.demands.transaction_display = Display(self.told)

    def pre_transaction(self):
        rpm.setLogFile(self.told)
"""


class Item(NamedTuple):
    """What becomes of a package: `INSTALL`, `UPGRADE`, `UPGRADED`, `OBSOLETED` and others of libdnf's words.

    `fifo` is one that it has, empty where it has none.
    """

    action: str
    name: str
    version: str
    arch: str
    fifo: str = ""


class Failure(NamedTuple):
    """What went wrong with a package, and all that its scriptlets, and rpm of it, said."""

    package: str
    reason: str
    said: tuple[str, ...]


def read_plan(text: str) -> list[Item]:
    """What dnf means to do.

    Raises:
        ToolError: it wrote something else.
    """
    try:
        return [Item(*map(str, each)) for each in json.loads(text)]
    except (ValueError, TypeError) as error:
        raise ToolError(f"dnf: what it means to do can not be read: {error}") from error


_SCRIPTLET = re.compile(r"(?:warning|error): (%\w+)\((.+)-[^-]+-[^-]+\) scriptlet failed(?:, (.*))?")
_LUA = re.compile(r'error: lua script failed: \[string "(%\w+)\((.+)-[^-]+-[^-]+\)"\]:(.*)')
_EXEC = re.compile(r"error: failed to exec scriptlet interpreter (\S+): (.*)")
_OWNER = re.compile(r"warning: (user|group) (.*) does not exist - using root")
_UNPACK = re.compile(r"error: unpacking of archive failed(?: on file ([^;]*)\S*)?: (?:cpio: )?(.*)")
# rpm 4.19 says so of an image without accounts; the owner that it then does not know is told too.
_OTHER = re.compile(r"error: (?!failed to open \S+ for id/name lookup)(.*)")
# How dnf calls them, for what rpm says nothing of.
_TOLD = re.compile(r"(?:Error in|Non-fatal) (\S+) scriptlet (?:failure )?in rpm package (\S+)")


def failures(text: str) -> list[Failure]:
    """What went wrong in a transaction, by what the plugin and rpm wrote; first what rpm tells, which says why."""
    by_rpm: list[tuple[str, str, str]] = []
    by_dnf: list[tuple[str, str, str]] = []
    said: dict[str, list[str]] = {}
    package = ""
    for kind, line in _lines(text):
        if kind == "package":
            package = line
            continue
        said.setdefault(package, []).append(line)
        name, reason = _reason(kind, line)
        if reason:
            (by_rpm if kind == _RPM else by_dnf).append((name or package, reason, package))
    return [Failure(name, reason, tuple(said[package])) for name, reason, package in (*by_rpm, *by_dnf)]


def unknown_owners(text: str) -> list[tuple[str, str, str]]:
    """For whom rpm took root: a package, `user` or `group`, and the name."""
    found, package = [], ""
    for kind, line in _lines(text):
        if kind == "package":
            package = line
        match = _OWNER.fullmatch(line) if kind == _RPM else None
        if match:
            found.append((package, match[1], match[2]))
    return found


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        kind, words = _event(line) or (_RPM, line)
        for each in words.splitlines():
            if each.strip():
                yield kind, each.rstrip()


def _event(line: str) -> tuple[str, str] | None:
    """What the plugin tells with a line; None of one that is rpm's."""
    try:
        kind, words = json.loads(line[1:]) if line.startswith(_EVENT) else ("", None)
    except (ValueError, TypeError):
        return None
    return (kind, words) if isinstance(kind, str) and isinstance(words, str) else None


def _reason(kind: str, line: str) -> tuple[str, str]:
    """The package that a line blames, where it names one, and for what; both empty where it blames none."""
    if kind == "error":
        told = _TOLD.fullmatch(line)
        return (told[2], f"its {told[1]} scriptlet failed") if told else ("", line)
    if kind != _RPM:
        return "", ""
    match = _SCRIPTLET.fullmatch(line)
    if match:
        return match[2], f"its {match[1]} scriptlet failed: {match[3] or 'no reason is given'}"
    match = _LUA.fullmatch(line)
    if match:
        return match[2], f"its {match[1]} scriptlet failed: line {match[3]}"
    match = _EXEC.fullmatch(line)
    if match:
        return "", f"{match[1]}, which a scriptlet of it needs, can not be run: {match[2]}"
    match = _UNPACK.fullmatch(line)
    if match:
        return "", f"{match[1] or 'its files'} can not be made: {match[2]}"
    match = _OTHER.fullmatch(line)
    return "", match[1] if match else ""
