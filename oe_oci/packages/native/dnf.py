# SPDX-License-Identifier: MIT
"""dnf 4 and rpm: how they are called so that they work in a directory alone, and take nothing of this machine.

dnf chooses from the feeds as repositories, and a plugin of our own tells what it does. rpm runs scriptlets in the
directory as it does with any other root. Follows dnf(8), dnf.conf(5) and rpm(8).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from typing import TYPE_CHECKING

from ...accounts import read_names
from ...content import Literal
from ...errors import ToolError
from ...run import run, run_logged
from ...tree import DIRECTORY, FILE, Entry, Overlay, Tree, encode, parent, resolve, shown
from ..foreign import check_format
from ..package import RPM as FORMAT
from ..rpm import database
from . import dnfplugin, repository
from .manager import Outcome, Planned, Refused, last_lines
from .root import BUILTIN
from .rpmfiles import MODULES, check_below, check_shipped
from .scripts import accounts
from .volatile import COMMON, RPM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...config import Accounts
    from ...tree import Source
    from ..contents import Contents
    from ..package import Installed
    from ..world import Policy
    from .manager import Place, Request
    from .scripts import Scripts

_PROGRAMS = ("dnf4", "dnf-3", "dnf")  # `dnf` alone may be version 5
# Which scriptlets write to where there is no other; an image has one of its own when it runs.
_NULL = "dev/null"
# Folders that dnf makes for itself, or that are there for _NULL; the inner ones first.
_MADE = (MODULES, "etc/dnf", "etc", "dev")
_CAPABILITY = "security.capability"

_SETTINGS = """\
[main]
pluginpath=plugins
gpgcheck=0
localpkg_gpgcheck=0
best=0
exclude_from_weak_autodetect=0
strict=1
skip_if_unavailable=0
obsoletes=1
install_weak_deps={weak}
exclude_from_weak={bad}
optional_metadata_types=filelists
ignorearch=1
installonlypkgs=
protected_packages=
clean_requirements_on_remove=0
history_record=0
metadata_expire=never
module_platform_id=platform:none
zchunk=0
color=never
log_size=0
log_rotate=0
"""
# As names that an option has on the command line lie where they say, whatever root is installed into: older ones take
# them from the root, newer ones from the present folder, and both are in one folder.
_FOLDERS = tuple(
    f"--setopt={name}={os.path.join(os.pardir, '{scratch}', folder)}"
    for name, folder in (("cachedir", "cache"), ("logdir", "log"), ("persistdir", "state"))
)
_MACROS = {
    "_db_backend": "sqlite",
    "_pkgverify_level": "digest",
    "_transaction_color": "7",
    "_install_langs": "all",
    "_excludedocs": "0",
    "_netsharedpath": "%{nil}",
    "_install_script_path": "/sbin:/bin:/usr/sbin:/usr/bin",
    "_tmppath": "/",  # or rpm makes var/tmp for the scriptlets
    "__plugindir": "/nonexistent",
}
_REMOVING = ("REMOVE", "DOWNGRADE", "DOWNGRADED")
_COMING = ("INSTALL", "UPGRADE", "OBSOLETE")
_NOISE = re.compile(r"\(try to add .*|Error: ?|Last metadata expiration check: .*|Operation aborted\.")
_FAILED_TEST = re.compile(r".*(?:install of|attempted installs of|package) (.+?)-[^-\s]+-[^-\s]+(?:\.\S+)?\s.*")


class Dnf:
    """dnf and rpm in the place `place`.

    It chooses from `repositories`; `archs` are the architectures taken, the lowest priority first. `accounts` are
    those that the image gets beside those of its files, `color` the preferred one of ELF files.
    """

    databases = tuple(f"{root}/" for root in database.ROOTS)
    volatile = (*COMMON, *RPM)
    not_run = ()
    changes_root = True

    def __init__(
        self,
        place: Place,
        repositories: Sequence[repository.Repository],
        archs: Sequence[str],
        policy: Policy,
        accounts: Accounts,
        scripts: Scripts,
    ) -> None:
        self._place = place
        self._scripts = scripts
        self._repositories = repositories
        self._archs = archs
        self._policy = policy
        self._accounts = accounts
        self._program = _find_program()
        if "$" in place.root:
            hint = f"set TMPDIR to a folder with a plain name, or {BUILTIN}"
            raise ToolError(f"dnf takes the $ in {place.root} for a variable's", hint=hint)
        self.tool = {"name": "dnf", "version": self._version(self._program), "rpm": self._version("rpm")}
        if self.tool["version"].split(".")[0] != "4":
            hint = f"install dnf 4 beside it, or {BUILTIN}"
            raise ToolError(f"{self._program} is dnf {self.tool['version']}, and dnf 4 is needed", hint=hint)
        self._check_chroot()
        self._places: list[tuple[int, str]] = []  # of the repositories, with the numbers of their feeds
        self._lower = Tree()
        self._database = database.ROOTS[0]
        self._unknown: list[tuple[str, str, str]] = []  # whom rpm did not know in the last installation

    # ---- the tree

    def prepare(self, tree: Tree, request: Request) -> Mapping[str, Entry]:
        # rpm opens its database, and dnf looks for its modules, before the root is changed.
        self._lower = tree
        self._database = resolve(tree, database.folder(tree), follow=True).path
        check_below(tree, self._database)
        upper = Overlay(tree)
        folder = upper.entry(parent(_NULL))
        if upper.entry(_NULL) is None and (folder is None or folder.kind == DIRECTORY):
            null = Entry(FILE, 0o666, mtime=request.epoch, content=Literal(b""))
            upper.put(_NULL, null, request.epoch)
        return {**tree.entries, **upper.entries}

    def installed(self, tree: Source) -> Sequence[Installed]:
        check_format(tree, FORMAT, "what lies below")
        return database.read(tree)

    def finish(
        self, found: Mapping[str, Entry], tree: Tree, request: Request, held: Sequence[Contents]
    ) -> Mapping[str, Entry]:
        entries = dict(found)
        self._leave_out(entries, tree, held)
        for path, entry in found.items():
            if path in entries and entry.xattrs and entry is not tree.entries.get(path):
                entries[path] = entry._replace(xattrs=tuple(map(_without_namespace, entry.xattrs)))
        self._own(entries, request, held)
        written = database.normalized(tree, Tree(entries), request.epoch)
        for path in written.directories:
            entries[path] = Entry(DIRECTORY, 0o755, mtime=request.epoch)
        for path, file in written.files.items():
            entries[path] = file.entry(request.epoch)
        for path in written.removed:
            entries.pop(path, None)
        return entries

    def _leave_out(self, entries: dict[str, Entry], tree: Tree, held: Sequence[Contents]) -> None:
        """Take out what is there for dnf and for scriptlets, and is no package's."""
        kept = {*tree.entries, *(member.path for contents in held for member in contents.members)}
        if _NULL not in kept:
            entries.pop(_NULL, None)
        for path in _MADE:
            if path not in kept and not any(each.startswith(f"{path}/") for each in entries):
                entries.pop(path, None)

    def _own(self, entries: dict[str, Entry], request: Request, held: Sequence[Contents]) -> None:
        """Give back the bits that rpm drops where it does not know an owner.

        Raises:
            ToolError: neither does the image.
        """
        if not self._unknown:
            return
        tree = Tree(entries)
        known = read_names(tree, self._accounts)
        for package, kind, name in self._unknown:
            if name not in (known.users if kind == "user" else known.groups):
                message = (
                    f"{package}: {_first_of(held, kind, name)} is of the {kind} '{name}', which the image does not have"
                )
                hint = "declare it in OCI_IMAGE_ACCOUNTS, or have the package that makes it in a layer below"
                raise ToolError(f"layer '{request.layer}': dnf: {message}", hint=hint)
        names = {name for _, _, name in self._unknown}
        for member in (member for contents in held for member in contents.members):
            path = resolve(tree, member.path).path if {member.user, member.group} & names else ""
            if path in entries and entries[path].kind == FILE == member.entry.kind:
                entries[path] = entries[path]._replace(mode=member.entry.mode)

    # ---- the tools

    def resolve(self, request: Request) -> Sequence[Planned]:
        self._write_settings(request)
        _, said = self._run(request, "--assumeno")
        plan = self._told(dnfplugin.PLAN)
        items = dnfplugin.read_plan(plan) if plan else []
        gone = [f"dnf would remove or downgrade {one.name} {one.version}" for one in items if one.action in _REMOVING]
        coming = [one for one in items if one.action in _COMING]
        if gone or not coming:
            raise Refused(gone or _sayings(said))
        waiting = next((one for one in coming if one.fifo), None)
        if waiting is not None and self._waits:
            message = f"{waiting.name}: rpm {self.tool['rpm']} would wait for ever at {waiting.fifo}, a fifo"
            hint = f"take rpm 4.20 or newer, or {BUILTIN}"
            raise ToolError(f"layer '{request.layer}': dnf: {message}", hint=hint)
        replaced = tuple(one.name for one in items if one.action == "OBSOLETED")
        return [Planned(one.name, one.version, one.arch, replaced) for one in coming]

    def install(self, request: Request, held: Sequence[Contents]) -> Outcome:
        check_shipped(held, self._lower, self._database)
        status, said = self._run(request, "--assumeyes")
        told = self._told(dnfplugin.TOLD)
        self._unknown = dnfplugin.unknown_owners(told)
        failed = dnfplugin.failures(told)
        if failed:
            package, reason, lines = failed[0]
            return Outcome(False, last_lines("\n".join(lines)), package, f"{reason}; {BUILTIN}")
        lines = _sayings(said)
        match = next(filter(None, map(_FAILED_TEST.fullmatch, lines)), None) if status else None
        return Outcome(status == 0, lines, match[1] if match else "", match[0].strip() if match else "")

    def _run(self, request: Request, answer: str) -> tuple[int, str]:
        """The exit status of dnf and what it said."""
        for name in (dnfplugin.PLAN, dnfplugin.TOLD):
            _remove(self._path("plugins", name))
        scratch = os.path.basename(self._place.scratch)
        argv = [self._program, "--config=dnf.conf", "--setopt=reposdir=repos", "--setopt=varsdir=/nonexistent"]
        argv += [
            "--setopt=plugins=1",
            "--setopt=pluginconfpath=/nonexistent",
            *(option.format(scratch=scratch) for option in _FOLDERS),
        ]
        argv += [f"--installroot={self._place.root}", "--releasever=none", answer, "install"]
        argv += [name.replace(":", ".") for name in request.names]
        # Scriptlets have these too: nothing of this machine's user. OpenEmbedded's rpm has its settings by the last.
        variables = {"HOME": "/", "TMPDIR": "", "SOURCE_DATE_EPOCH": str(request.epoch), **accounts(self._place)}
        variables["RPM_ETCCONFIGDIR"] = self._path("settings")
        log = self._path("output")
        status = run_logged(argv, log, env=variables, cwd=self._place.scratch)
        with open(log, encoding="utf-8", errors="backslashreplace") as file:
            return status, file.read()

    def _told(self, name: str) -> str:
        """What the plugin wrote; nothing where it did not come to it."""
        try:
            with open(self._path("plugins", name), encoding="utf-8", errors="backslashreplace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def _path(self, *names: str) -> str:
        return os.path.join(self._place.scratch, *names)

    def _write(self, text: str, *names: str) -> None:
        path = self._path(*names)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(encode(text))
        except OSError as error:
            raise ToolError(f"cannot write {path}: {error.strerror}") from error

    @property
    def _waits(self) -> bool:
        """Whether rpm opens the fifos that it makes."""
        return tuple(map(int, re.findall("[0-9]+", self.tool["rpm"])[:2])) < (4, 20)

    # ---- settings

    def _write_settings(self, request: Request) -> None:
        for folder in ("cache", "log", "state"):
            os.makedirs(self._path(folder), exist_ok=True)
        weak = int(self._policy.recommends)
        bad = ",".join(sorted(self._policy.bad_recommendations))
        self._write(_SETTINGS.format(weak=weak, bad=bad), "dnf.conf")
        settings = {
            "macros": {"_dbpath": f"/{self._database}", "_prefer_color": str(self._policy.color), **_MACROS},
            "arch": _preferences(self._archs),
            "exclude": sorted(self._policy.exclude),
            "outside": self._scripts.environment(request.epoch),
        }
        self._write(json.dumps(settings), "plugins", dnfplugin.SETTINGS)
        self._write(dnfplugin.PLUGIN, "plugins", "oe_oci.py")
        if not self._places:
            found = enumerate(self._repositories)
            self._places = [(one.feed, self._metadata(number, one)) for number, one in found]
        self._write(repository.configured(self._places), "repos", "feeds.repo")

    def _metadata(self, number: int, found: repository.Repository) -> str:
        """The folder that has the metadata of a repository, which is made where there is none."""
        if not found.loose:
            return found.folder
        folder = self._path("metadata", str(number))
        listing = os.path.join("metadata", f"{number}.list")
        self._write("".join(f"{name}\n" for name in found.loose), listing)
        os.makedirs(folder, exist_ok=True)
        repository.place_packages(found, folder)
        done = run(repository.making(found, folder, self._path(listing)))
        if done.status:
            said = "\n  ".join(last_lines(done.errors))
            raise ToolError(f"createrepo_c can not make an index of {found.folder}", hint=said)
        return folder

    # ---- what may be run

    def _version(self, program: str) -> str:
        """The version that a program tells of itself; it looks for a database at home."""
        said = run([program, "--version"], env={"HOME": self._place.scratch}).output
        match = re.search(r"[0-9]+\.[0-9A-Za-z.~]*", said)
        return match[0] if match else "unknown"

    def _check_chroot(self) -> None:
        """See that a program may have another root, as rpm has; fakeroot alone does not let it."""
        argv = [sys.executable, "-ISc", "import os, sys; os.chroot(sys.argv[1])", self._place.scratch]
        if run(argv).status:
            raise ToolError(
                "rpm changes its root, which is not allowed here",
                hint=f"run unshare --map-root-user --map-auto oe-oci … without fakeroot, or {BUILTIN}",
            )


def _first_of(held: Sequence[Contents], kind: str, name: str) -> str:
    """The first file that belongs to a user or group."""
    members = (member for contents in held for member in contents.members)
    owned = (member.path for member in members if name == (member.user if kind == "user" else member.group))
    return shown(next(owned, ""))


def _find_program() -> str:
    path = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if path is None:
        raise ToolError("there is no dnf on the PATH", hint=f"install dnf 4 and rpm, or {BUILTIN}")
    return path


def _preferences(archs: Sequence[str]) -> str:
    """Architectures as libsolv has them, the best first; `noarch` goes without saying."""
    words = [arch.replace("-", "_") for arch in reversed(archs) if arch not in ("noarch", "all", "any")]
    # One word alone it would take for all that a processor of that name can run.
    return ":".join([*dict.fromkeys(words), "none"])


def _sayings(text: str) -> tuple[str, ...]:
    """The last lines of what dnf said, from where it says what is wrong."""
    lines = last_lines(text)
    first = next((n for n, line in enumerate(lines) if line.startswith(("Error", "No match", "RPM: "))), 0)
    return tuple(line for line in lines[first:] if not _NOISE.fullmatch(line))


def _without_namespace(attribute: tuple[str, bytes]) -> tuple[str, bytes]:
    """A capability without the user namespace that it was set in: version 2, not 3."""
    name, value = attribute
    if name == _CAPABILITY and len(value) == 24 and value[3] == 3:
        return name, value[:3] + b"\2" + value[4:20]
    return attribute


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ToolError(f"cannot remove {path}: {error.strerror}") from error
