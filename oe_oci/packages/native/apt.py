# SPDX-License-Identifier: MIT
"""apt and dpkg: how they are called so that they work in a directory alone, and take nothing of this machine.

apt chooses from an index of our own, which holds what the built-in installer could choose from. dpkg unpacks and keeps
its database; it never sees a script of a package, which without a container would be run on this machine: `dpkg-deb`
leaves them out for it, and they are put into the database afterwards. Where a build has intercepts for them those of
new packages are run here. Follows apt.conf(5), apt-get(8) and dpkg(1).
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ...confined import placing
from ...content import Literal
from ...errors import ToolError
from ...run import run, run_logged
from ...tree import FILE, Entry, Overlay, Tree, decode, parent, resolve
from .. import dpkg
from ..database import KEEP, Step, enter, lines_of, names_in, paragraph, read_file, states
from ..foreign import check_format
from ..package import DEB
from .maintainers import run_new
from .manager import Outcome, Planned, Refused, last_lines, read_log
from .root import BUILTIN
from .scripts import accounts, may_run
from .volatile import APT, COMMON, DPKG

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ...tree import Source
    from ..contents import Contents
    from ..package import Installed, Package
    from .catalog import DebianCatalog
    from .manager import Place, Request
    from .scripts import Scripts

_DATABASE = "var/lib/dpkg"
_ARCHS, _INFO = f"{_DATABASE}/arch", f"{_DATABASE}/info"
_SCRIPTS = ("preinst", "postinst", "prerm", "postrm", "config")
_CONFIGURES = re.compile(r"^Conf ([^\s:]+)", re.MULTILINE)
_INSTALLS = re.compile(r"Inst ([^\s:]+)\S* (?:\[[^\]]*\] )?\((\S+) .*?\[(\S+)\]\)")
_FAILED = re.compile(r"^dpkg: error processing (?:archive|package) (.+) \(--?[a-z-]+\):\n +(.*)$", re.MULTILINE)
_LINK = re.compile(r"\S*/scratch/feed/(?:\./)?([0-9]+)\.deb")
_PROGRESS = re.compile(
    r"Reading |Building |Get:|Need to get|After this|\(Reading|Selecting |Preparing |Setting up |Unpacking |  "
    r"|The following|[0-9]+ upgraded|Recommended|Suggested"
)
_HOOKS = re.compile(r"^\s*(?:pre|post)-invoke\b", re.MULTILINE)
_HOST_SETTINGS = ("/etc/dpkg/dpkg.cfg", "/etc/dpkg/dpkg.cfg.d/*")

# Without which apt reads this machine's settings, if only to tell its version.
_ALONE = """\
Dir::Etc "{etc}";
Dir::Etc::main "none";
Dir::Etc::parts "parts";
"""
_SETTINGS = """\
Dir::State "{state}";
Dir::State::status "{root}/var/lib/dpkg/status";
Dir::State::extended_states "{root}/var/lib/apt/extended_states";
Dir::Cache "{cache}";
Dir::Log "{log}";
Dir::Log::Planner "/dev/null";
Dir::Log::Solver "/dev/null";
Dir::Log::Terminal "/dev/null";
Dir::Log::History "/dev/null";
Dir::Etc::sourcelist "sources.list";
Dir::Etc::sourceparts "parts";
Dir::Etc::preferences "none";
Dir::Etc::preferencesparts "parts";
Dir::Etc::trusted "none";
Dir::Etc::trustedparts "parts";
Dir::Bin::dpkg "{dpkg}";
{methods}APT::Architecture "{native}";
#clear APT::Architectures;
APT::Architectures {{ {archs} }};
APT::Install-Recommends "{recommends}";
APT::Install-Suggests "false";
APT::Get::Assume-Yes "true";
APT::Get::Remove "false";
APT::Immediate-Configure "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::GzipIndexes "false";
Debug::NoLocking "true";
DPkg::Path "{bin}:{path}";
DPkg::Use-Pty "false";
DPkg::Options {{ {options} }};
"""
_OPTIONS = (
    "--force-unsafe-io",
    "--force-confdef",
    "--force-confold",
    "--force-bad-path",
    "--no-debsig",
    "--path-include=*",
)
# dpkg's own architecture is what it was made for; apt, which knows the image's, has seen to what needs what.
_FOREIGN = ("--force-architecture", "--force-depends")

_FOLDERS = (("etc", "parts"), ("state", "lists", "partial"), ("cache", "archives", "partial"))  # that apt asks for

# As dpkg calls it: `dpkg-deb --control FILE FOLDER`.
_DPKG_DEB = """\
#!/bin/sh
set -e
{program} "$@"
if [ "$1" = --control ]; then
    for folder; do :; done
    for name in {scripts}; do rm -f -- "$folder/$name"; done
fi
"""


class Apt:
    """apt and dpkg in the place `place`."""

    databases = (f"{_DATABASE}/", "var/lib/apt/")
    volatile = (*COMMON, *DPKG, *APT)
    changes_root = False

    def __init__(self, place: Place, catalog: DebianCatalog, scripts: Scripts) -> None:
        self._place = place
        self._scripts = scripts
        self._runs = may_run()
        self._catalog = catalog
        self._native = catalog.policy.native
        self._programs = {name: _program(name) for name in ("apt-get", "dpkg", "dpkg-deb")}
        _check_hooks()
        self._host = self._told("dpkg", "--print-architecture").strip()
        self._offered: list[Package] = []  # by the numbers that apt knows their files by
        self._configured: list[str] = []  # in the order in which apt means to do it
        self._write("apt.conf", _ALONE.format(etc=self._path("etc")))
        self.tool = {"name": "apt", "version": self._version("apt-get"), "dpkg": self._version("dpkg")}

    @property
    def not_run(self) -> Sequence[str]:
        return ("config",) if self._runs else ("preinst", "config", "postinst")  # that dpkg would run

    # ---- the tree

    def prepare(self, tree: Tree, request: Request) -> Mapping[str, Entry]:
        scripts = _scripts(tree)
        hidden = {path: entry for path, entry in tree.entries.items() if path not in scripts}
        upper = Overlay(Tree(hidden))
        removed: tuple[str, ...] = ()
        split = tree.entry(f"{_DATABASE}/status") is None or names_in(tree, f"{_DATABASE}/status.d")
        if split or states(dpkg.read(tree)) != states(request.installed):
            removed = self._enter(upper, tree, request)
        self._offered = self._catalog.offered(request.names, request.installed)
        archs, marks = _lines((self._host, *self._archs(request))), _place(tree, dpkg.MARKS)
        upper.put(_place(tree, _ARCHS), _file(archs, request.epoch), request.epoch)
        if tree.entry(marks) is None:
            upper.put(marks, _file(b"", request.epoch), request.epoch)  # apt would make no folder for it
        return {**{path: entry for path, entry in hidden.items() if path not in removed}, **upper.entries}

    def _enter(self, upper: Overlay, tree: Tree, request: Request) -> tuple[str, ...]:
        """Give the root a database in dpkg's own form; what of the tree's goes for it."""
        step = Step(request.installed, (), (), self._architectures(request.installed), request.epoch)
        written = dpkg.write(tree, step, KEEP)
        enter(upper, written, request.epoch)
        return written.removed

    def installed(self, tree: Source) -> Sequence[Installed]:
        check_format(tree, DEB, "what lies below")
        return dpkg.read(tree)

    def finish(
        self, found: Mapping[str, Entry], tree: Tree, request: Request, held: Sequence[Contents]
    ) -> Mapping[str, Entry]:
        entries = dict(found)
        self._finish_archs(entries, tree, request)
        self._finish_marks(entries, tree, request, held)
        # What a package was called below may lack the architecture.
        gone = {stem for contents in held for stem in (contents.fields["Package"], dpkg.stem(contents.fields))}
        entries.update((path, tree.entries[path]) for path, stem in _scripts(tree).items() if stem not in gone)
        info = _place(tree, _INFO)
        for contents in held:
            for name in _SCRIPTS:
                data = contents.control.get(name)
                if data is not None:
                    entries[f"{info}/{dpkg.stem(contents.fields)}.{name}"] = _file(data, request.epoch, 0o755)
        return entries

    def _finish_archs(self, entries: dict[str, Entry], tree: Tree, request: Request) -> None:
        """The architectures of the image's packages, without this machine's own."""
        place, known = _place(tree, _ARCHS), lines_of(read_file(tree, _ARCHS))
        there = self._architectures(dpkg.read(Tree(entries)))
        archs = list(dict.fromkeys((*(known or there[:1]), *there)))
        del entries[place]
        if archs == known:
            entries[place] = tree.entries[place]
        elif len(archs) > 1:
            entries[place] = _file(_lines(archs), request.epoch)

    def _finish_marks(self, entries: dict[str, Entry], tree: Tree, request: Request, held: Sequence[Contents]) -> None:
        """The marks of packages nobody asked for, in an order of their own and only where there are some."""
        place, data = _place(tree, dpkg.MARKS), dpkg.marks_of(dpkg.read(Tree(entries)), self._native)
        if data:
            entries[place] = _file(data, request.epoch)
        elif place not in tree:
            del entries[place]
            folder = parent(place)
            shipped = (member.path for contents in held for member in contents.members)
            if folder not in tree and folder not in shipped:
                del entries[folder]

    def _architectures(self, packages: Iterable[Installed | Package]) -> list[str]:
        return [self._native, *sorted({one.arch for one in packages} - {self._native, "all", ""})]

    def _archs(self, request: Request) -> list[str]:
        """All that apt and dpkg may meet."""
        return self._architectures((*request.installed, *self._offered))

    # ---- the tools

    def resolve(self, request: Request) -> Sequence[Planned]:
        self._write_settings(request)
        self._write_index()
        status, said = self._run("update")
        if status:
            raise Refused(last_lines(said))
        status, said = self._run("-s", "install", *request.names)
        if status:
            raise Refused(last_lines(said))
        found = filter(None, map(_INSTALLS.match, said.splitlines()))
        self._configured = _CONFIGURES.findall(said)
        return [Planned(match[1], match[2], match[3]) for match in found]

    def install(self, request: Request, held: Sequence[Contents]) -> Outcome:
        status, said = self._run("install", *request.names)
        failed = _FAILED.search(said) if status else None
        if failed is not None:
            names = {one.path: one.name for one in self._offered}
            return Outcome(False, last_lines(said), names.get(failed[1], failed[1]), failed[2])
        if status or not self._runs:
            return Outcome(status == 0, last_lines(said))
        return run_new(self._scripts, request, held, self._configured, self._path("scripts"))

    def _run(self, *words: str) -> tuple[int, str]:
        """apt-get's exit status and what it said, with the names of files that people know."""
        log = self._path("log", "output")
        variables = {
            "APT_CONFIG": self._path("apt.conf"),
            "DEBIAN_FRONTEND": "noninteractive",
            "HOME": self._path("home"),
            **accounts(self._place),
        }
        status = run_logged([self._programs["apt-get"], "-q", *words], log, env=variables, cwd=self._place.scratch)
        said = read_log(log)
        told = "".join(line for line in said.splitlines(keepends=True) if not _PROGRESS.match(line))
        return status, _LINK.sub(lambda match: self._offered[int(match[1])].path, told)

    def _told(self, program: str, word: str) -> str:
        return run([self._programs[program], word], env={"APT_CONFIG": self._path("apt.conf")}).output

    def _path(self, *names: str) -> str:
        return os.path.join(self._place.scratch, *names)

    def _write(self, name: str, text: str, mode: int = 0o644) -> None:
        path = self._path(name)
        with placing(path):
            with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)
            os.chmod(path, mode)

    def _write_settings(self, request: Request) -> None:
        folders = {name: self._path(name) for name in ("state", "cache", "log", "etc", "bin", "home", "feed")}
        for folder in (*folders.values(), *(self._path(*names) for names in _FOLDERS)):
            with placing(folder):
                os.makedirs(folder, exist_ok=True)
        # OpenEmbedded's dpkg has its database in its own sysroot, and so somewhere else in a root.
        options = [f"--root={self._place.root}", f"--admindir={self._place.root}/{_DATABASE}"]
        options += [f"--log={self._path('log', 'dpkg')}", *_OPTIONS]
        if self._native != self._host:
            options += _FOREIGN
        values: dict[str, Any] = {
            **folders,
            "root": self._place.root,
            "dpkg": self._programs["dpkg"],
            "methods": _methods(self._programs["apt-get"]),
            "native": self._native,
            "archs": _listed(self._archs(request)),
            "recommends": str(self._catalog.policy.recommends).lower(),
            "path": os.environ.get("PATH", os.defpath),
            "options": _listed(options),
        }
        self._write("apt.conf", _ALONE.format(**values) + _SETTINGS.format(**values))
        self._write("etc/sources.list", f"deb [trusted=yes] file:{quote(folders['feed'])} ./\n")
        wrapper = _DPKG_DEB.format(program=_quoted(self._programs["dpkg-deb"]), scripts=" ".join(_SCRIPTS))
        self._write("bin/dpkg-deb", wrapper, 0o755)

    def _write_index(self) -> None:
        """The packages that may be taken, each behind a link with a plain name."""
        paragraphs = []
        for number, package in enumerate(self._offered):
            self._catalog.feeds.check_present(package)
            link = self._path("feed", f"{number}.deb")
            with placing(link):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(link)
                os.symlink(os.path.realpath(package.path), link)
                size = os.stat(link).st_size if package.size is None else package.size
            fields = {**package.fields, "Recommends": self._recommends(package)}
            files = {"Filename": f"./{number}.deb", "Size": str(size), "SHA256": self._catalog.digest(package)}
            paragraphs.append(paragraph({**fields, **files}.items()))
        self._write("feed/Packages", decode(b"".join(paragraphs)))

    def _recommends(self, package: Package) -> str:
        """What a package recommends, without what BAD_RECOMMENDATIONS names."""
        bad = self._catalog.policy.bad_recommendations
        groups = [
            [one for one in group.split("|") if re.split(r"[\s(:]", one.strip())[0] not in bad]
            for group in package.fields.get("Recommends", "").split(",")
        ]
        return ",".join("|".join(group) for group in groups if group)

    def _version(self, program: str) -> str:
        """The version that a program tells of itself."""
        match = re.search(r"[0-9][0-9A-Za-z.~+-]*", self._told(program, "--version"))
        return match[0] if match else "unknown"


def _place(tree: Tree, path: str) -> str:
    """Where a path of the database lies, behind links."""
    return resolve(tree, path, follow=True).path


def _scripts(tree: Tree) -> dict[str, str]:
    """The scripts of the packages in a database, each with what its package is called there."""
    info = _place(tree, _INFO)
    names = tree.names(info) if info in tree else ()
    stems = {name: name.rpartition(".") for name in names}
    return {f"{info}/{name}": stem for name, (stem, _, script) in stems.items() if script in _SCRIPTS}


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise ToolError(f"there is no {name} on the PATH", hint=f"install apt and dpkg, or {BUILTIN}")
    return path


def _methods(program: str) -> str:
    """Where apt finds the programs it fetches with: beside itself, as its sysroot may be elsewhere than it knows."""
    folder = os.path.join(os.path.dirname(os.path.dirname(program)), "lib", "apt", "methods")
    return f'Dir::Bin::methods "{folder}";\n' if os.path.isdir(folder) else ""


def _check_hooks() -> None:
    """See that dpkg, which reads this machine's settings whatever it is told, runs no hook of theirs.

    Raises:
        ToolError: it would.
    """
    for path in (path for pattern in _HOST_SETTINGS for path in sorted(glob.glob(pattern))):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            if _HOOKS.search(file.read()):
                raise ToolError(
                    f"{path}: dpkg would run its hooks on this machine for a package of the image",
                    hint=f"take pre-invoke and post-invoke out of it, or {BUILTIN}",
                )


def _file(data: bytes, epoch: int, mode: int = 0o644) -> Entry:
    return Entry(FILE, mode, mtime=epoch, size=len(data), content=Literal(data))


def _lines(words: Iterable[str]) -> bytes:
    return "".join(f"{word}\n" for word in dict.fromkeys(words)).encode()


def _listed(words: Iterable[str]) -> str:
    return " ".join(f'"{word}";' for word in words)


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"
