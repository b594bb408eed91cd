# SPDX-License-Identifier: MIT
"""opkg: how it is called so that it works in a directory alone, and what it says.

It chooses from an index of our own, which holds what the built-in installer could choose from, and it runs the scripts
of packages on this machine, as it does in OpenEmbedded's builds. It tells of errors on either output, often with the
status 0. Follows opkg 0.6 to 0.9.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from typing import TYPE_CHECKING

from ...confined import placing
from ...content import Literal, whole
from ...errors import ToolError
from ...run import run, run_logged
from ...tree import Overlay, Tree, resolve
from .. import opkg
from ..database import KEEP, Step, enter, paragraph, states
from ..foreign import check_format
from ..package import IPK
from .manager import LAST_LINES, Outcome, Place, Planned, Refused, read_log
from .root import BUILTIN
from .volatile import COMMON, OPKG

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ...tree import Entry, Source
    from ..contents import Contents
    from ..package import Installed, Package
    from .catalog import DebianCatalog
    from .manager import Request
    from .scripts import Scripts

_INDEPENDENT = ("all", "any", "noarch")
# opkg gives the path of a script to a shell, without quotes.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._+@%^,=~-]+")

_SETTINGS = """\
src packages file:{scratch}/feed
option info_dir /{database}/info
option status_file /{database}/status
option lists_dir {outside}/lists
option cache_dir {outside}/cache
option lock_file {outside}/lock
option intercepts_dir {outside}/intercepts
option tmp_dir {scratch}/tmp
option volatile_cache 1
"""
# As OpenEmbedded calls it; packages were read and compared with their digests before.
_OPTIONS = ("--force-checksum", "--prefer-arch-to-version")
_SUMS = ("SHA256", "MD5Sum")
_SCRIPTS_TOO = "--force-postinstall"

# The second is of what replaces a package that goes on as a later version.
_COMING = re.compile(r"(?:Installing|Upgrading (\S+) \(.*\) to) (\S+) \(.*\) on \S+|Upgrading (\S+) to \S+ on \S+")
_GOING = re.compile(r"Removing (\S+) \(.*\) from \S+\.\.\.")
_ERROR = re.compile(r"(?:error: | \* )(?:[a-z_0-9]+: |Solver encountered )|Solver encountered [0-9]+ problem")
_MARK = re.compile(r"(?m)^ \* |(?<=provided by package ) \* ")
_PROGRESS = re.compile(
    r"(?:Installing|Upgrading|Downloading|Configuring|Disfavor|Ignored) .*|To (?:remove|re-attempt) .* try `opkg .*"
    r"|(?:Existing conffile| The new conffile) .*|Warning when reading .* converted from .*|Removing obsolete file .*"
)
# What went wrong with which package, one pattern for each thing that opkg says of it.
_FAILURES = (
    (re.compile(r"(?m)^(\S+)\.postinst returned ([0-9]+), .*"), "its postinst ended with status {2}"),
    (re.compile(r"(?m)^.*Aborting installation of (\S+)\."), "its preinst failed"),
    (re.compile(r'(?m)^.*\b(prerm|postrm) script for package "(\S+)" failed'), "the {1} of what it upgrades failed"),
    (
        re.compile(r"(?m)^.*Package (\S+) wants? to install (?:file |directory )?(.+?)\s*\n\t(?:But )?(.*)"),
        "{2}: {3}",
    ),
    (re.compile(r"(?m)^.*Failed to extract data files for (\S+)\. .*"), "its files could not be unpacked"),
)


@contextlib.contextmanager
def plainly(place: Place) -> Iterator[Place]:
    """A place by a name that a shell takes for one word, be it that of a link."""
    if _PLAIN_PATH.fullmatch(place.root):
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="oe-oci-") as folder:
        link = os.path.join(folder, "work")
        os.symlink(os.path.dirname(place.root), link)
        yield Place(*(os.path.join(link, os.path.basename(path)) for path in place))


class Opkg:
    """opkg in the place `place`.

    Raises:
        ToolError: there is none, or it can not work there.
    """

    databases = ("var/lib/opkg/", "usr/lib/opkg/")
    volatile = (*COMMON, *OPKG)
    not_run = ()
    changes_root = False

    def __init__(self, place: Place, catalog: DebianCatalog, scripts: Scripts) -> None:
        self._place = place
        self._scripts = scripts
        # The folder of our own as opkg takes it: below the root, and yet outside.
        self._outside = os.path.relpath(place.scratch, place.root)
        self._catalog = catalog
        self._program = _program()
        if not _PLAIN_PATH.fullmatch(place.root):
            hint = f"set TMPDIR to a folder with a plain name, or {BUILTIN}"
            raise ToolError(f"opkg can not work in {place.root}, whose name a shell would take apart", hint=hint)
        self.tool = _tool(run([self._program, "--version"]).output)
        self._offered: dict[str, Package] = {}
        self._coming: list[Planned] = []

    # ---- the tree

    def prepare(self, tree: Tree, request: Request) -> Mapping[str, Entry]:
        if states(opkg.listed(tree)) == states(request.installed):
            return tree.entries
        upper = Overlay(Tree(tree.entries))
        enter(upper, opkg.write(tree, Step(request.installed, (), (), (), request.epoch), KEEP), request.epoch)
        return {**tree.entries, **upper.entries}

    def installed(self, tree: Source) -> Sequence[Installed]:
        check_format(tree, IPK, "what lies below")
        return opkg.read(tree)

    def finish(
        self,
        found: Mapping[str, Entry],
        tree: Tree,  # noqa: ARG002 - other adapters need it
        request: Request,
        held: Sequence[Contents],
    ) -> Mapping[str, Entry]:
        path = resolve(Tree(found), f"{opkg.root_of(Tree(found))}/status", follow=True).path
        content = found[path].content
        assert content is not None
        data = dated(whole(content), {contents.fields["Package"] for contents in held}, request.epoch)
        return {**found, path: found[path]._replace(size=len(data), content=Literal(data))}

    # ---- the tool

    def resolve(self, request: Request) -> Sequence[Planned]:
        self._write_settings(request)
        self._write_index(request)
        status, said = self._run(request, "update")
        if status or complaints(said):
            raise ToolError("opkg can not read the index made for it", hint="\n  ".join(telling(said)))
        status, said = self._run(request, "--noaction", "install", *request.names)
        if status or complaints(said):
            raise Refused(telling(said))
        found = coming(said)
        gone = [*going(said), *(below for name, below in found if below not in ("", name))]
        if gone:
            raise Refused([f"it would remove {', '.join(gone)}, which lies below"])
        self._coming = [self._planned(name) for name, _ in found]
        left = sorted(set(request.names) - {one.name for one in self._coming})
        if left:
            raise Refused([f"it would not install {', '.join(left)}"])
        return self._coming

    def install(self, request: Request, held: Sequence[Contents]) -> Outcome:  # noqa: ARG002 - others need it
        status, said = self._run(request, _SCRIPTS_TOO, "install", *request.names)
        failed, reason = failure(said, [one.name for one in self._coming])
        return Outcome(status == 0 and not complaints(said), telling(said), failed, reason)

    def _planned(self, name: str) -> Planned:
        package = self._offered.get(name)
        if package is None:
            raise ToolError(f"opkg means to install {name}, which it was not offered")
        return Planned(name, package.version, package.arch)

    def _run(self, request: Request, *words: str) -> tuple[int, str]:
        """The exit status of opkg and what it said, with the names of files that people know."""
        policy, log = self._catalog.policy, self._path("log")
        argv = [self._program, "--conf", self._path("opkg.conf"), "--offline-root", self._place.root, *_OPTIONS]
        if not policy.recommends:
            argv.append("--no-install-recommends")
        argv += (f"--add-ignore-recommends={name}" for name in sorted(policy.bad_recommendations))
        argv += (f"--add-exclude={name}" for name in sorted(policy.exclude))
        environment = self._scripts.environment(request.epoch)
        status = run_logged([*argv, *words], log, env=environment, cwd=self._scripts.folder)
        return status, self._renamed(read_log(log))

    def _renamed(self, said: str) -> str:
        files = {str(number): one.path for number, one in enumerate(self._offered.values())}
        cache = re.escape(f"{self._place.root}/{self._outside}/cache/volatile.")
        for where in (rf"{cache}[0-9]+/[0-9a-f]{{32}}_", re.escape(self._path("feed", ""))):
            said = re.sub(rf"{where}([0-9]+)\.ipk", lambda match: files.get(match[1], match[0]), said)
        return re.sub(rf"{re.escape(self._place.root)}/+", "/", said)

    def _path(self, *names: str) -> str:
        return os.path.join(self._place.scratch, *names)

    def _write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        with placing(path), open(path, "wb") as file:
            file.write(data)

    def _write_settings(self, request: Request) -> None:
        with placing(self._path("feed")):
            os.makedirs(self._path("feed"), exist_ok=True)
        settings = _SETTINGS.format(
            scratch=self._place.scratch,
            outside=self._outside,
            database=self._database(),
        )
        self._write("opkg.conf", (settings + self._archs(request.installed)).encode())

    def _database(self) -> str:
        known = (name.strip("/") for name in self.databases)
        there = (name for name in known if os.path.lexists(os.path.join(self._place.root, name, "status")))
        return next(there, self.databases[0].strip("/"))

    def _archs(self, installed: Iterable[Installed]) -> str:
        """The architectures, the lowest priority first: what is of none of them opkg drops from its database."""
        others = {*_INDEPENDENT, *(one.arch for one in installed if one.arch)} - set(self._catalog.feeds.archs)
        archs = [*sorted(others), *self._catalog.feeds.archs]
        return "".join(f"arch {arch} {number + 1}\n" for number, arch in enumerate(archs))

    def _write_index(self, request: Request) -> None:
        """The packages that may be taken, each behind a link with a plain name."""
        offered = self._catalog.offered(request.names, request.installed)
        self._offered = {package.name: package for package in offered}
        paragraphs = []
        for number, package in enumerate(self._offered.values()):
            self._catalog.feeds.check_present(package)
            link = self._path("feed", f"{number}.ipk")
            with placing(link):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(link)
                os.symlink(os.path.realpath(package.path), link)
                size = os.stat(link).st_size
            # opkg reads one line of a field.
            fields = {field: " ".join(value.split()) for field, value in package.fields.items() if field not in _SUMS}
            fields.update(Filename=f"{number}.ipk", Size=str(size))
            paragraphs.append(paragraph(fields.items()))
        self._write("feed/Packages", b"".join(paragraphs))


def _program() -> str:
    path = shutil.which("opkg")
    if path is None:
        hint = f"build opkg-native in OpenEmbedded, or opkg itself, and put it on the PATH; or {BUILTIN}"
        raise ToolError("there is no opkg on the PATH", hint=hint)
    return path


def _tool(said: str) -> dict[str, str]:
    """What opkg tells of its version, and of its solver's."""
    match = re.match(r"opkg version (\S+)(?: \(libsolv (\S+)\))?", said)
    known = {"version": match[1], "libsolv": match[2]} if match else {}
    return {"name": "opkg", "version": "unknown", **{key: value for key, value in known.items() if value}}


# ---- what opkg says


def coming(said: str) -> list[tuple[str, str]]:
    """The names of packages that a dry run would install, each with that of what it takes the place of."""
    found = filter(None, map(_COMING.fullmatch, said.splitlines()))
    return [(match[2] or match[3], match[1] or "") for match in found]


def going(said: str) -> list[str]:
    """The names of packages that a dry run would remove."""
    return [match[1] for match in map(_GOING.fullmatch, said.splitlines()) if match]


def complaints(said: str) -> list[str]:
    """The lines in which opkg itself tells of an error; what scripts print is theirs."""
    return [line for line in said.splitlines() if _ERROR.match(line)]


def failure(said: str, names: Iterable[str]) -> tuple[str, str]:
    """The first of some packages that opkg says it could not install or configure, and why; both may be empty."""
    known = frozenset(names)
    text = _MARK.sub("", said)
    for pattern, reason in _FAILURES:
        for match in pattern.finditer(text):
            found = next((word for word in match.groups() if word in known), "")
            if found:
                return found, reason.format(*(match[0], *match.groups()))
    return "", ""


def telling(said: str) -> tuple[str, ...]:
    """The last lines that say more than how far it went."""
    lines = (line.rstrip().replace("\t", "  ") for line in _MARK.sub("", said).splitlines())
    return tuple(line for line in lines if line and not _PROGRESS.fullmatch(line))[-LAST_LINES:]


# ---- what opkg writes


def dated(status: bytes, names: set[str], epoch: int) -> bytes:
    """A status file whose packages of some names were installed at the epoch; sorted, as opkg's order is a hash's."""
    time = b"Installed-Time: %d\n" % epoch if epoch else b""
    found: list[tuple[bytes, bytes]] = []
    for data in re.split(rb"\n\n+", status.strip(b"\n")):
        match = re.match(rb"Package: (.*)", data)
        name = match[1] if match else b""
        text = data + b"\n"
        if name.decode("utf-8", "surrogateescape") in names:
            text = re.sub(rb"(?m)^Installed-Time: [0-9]+\n", time, text)
        found.append((name, text))
    return b"".join(text + b"\n" for _, text in sorted(found))
