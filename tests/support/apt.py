# SPDX-License-Identifier: MIT
"""What apt would install of the distribution's whole index on an empty system. Shares no code with the product.

Nothing of the machine's apt takes part but its list of sources, from which the index is fetched once.
"""

from __future__ import annotations

import fcntl
import hashlib
import platform
import re
import shutil
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from . import debian, tools

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

_HELPER = "/usr/lib/apt/apt-helper"
_SETTINGS = """\
Dir::State "{0}";
Dir::State::status "{0}/status";
Dir::Cache "{0}";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "";
#clear APT::Architectures;
APT::Architectures {{ "{1}"; }};
APT::Sandbox::User "root";
Acquire::GzipIndexes "false";
Acquire::Languages "none";
Acquire::Retries "3";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""
_ALONE = """\
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::sourcelist "{0}";
Dir::Etc::sourceparts "/dev/null";
"""
# apt's words where there is no way; with any other error it did not try.
_REFUSED = re.compile(r"unmet dependencies|held broken packages|conflicting requests|pkgProblemResolver")

Choice = frozenset[tuple[str, str]]  # names and versions


def architecture() -> str:
    tools.need("dpkg")
    return tools.run("dpkg", "--print-architecture").stdout.strip()


# ---- the index


def full_index() -> Path:
    """A folder with `Packages`, the whole index of the distribution for this machine; fetched where it is missing."""
    tools.need("apt-get", _HELPER)
    release = "-".join(platform.freedesktop_os_release().get(key, "") for key in ("ID", "VERSION_ID"))
    key = hashlib.sha256(f"index {release} {platform.machine()}".encode()).hexdigest()[:16]
    folder = debian._CACHE / f"index-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(debian._CACHE / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "feed" / "Packages").exists():
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "feed").mkdir(parents=True)
            _fetch(folder)
    return folder / "feed"


def _fetch(folder: Path) -> None:
    with tools.scratch("oe-oci-apt-") as state:
        env = _state(state, "")
        tools.run("apt-get", "-q", "update", env=env, timeout=600)
        listed = tools.run("apt-get", "indextargets", "--format", "$(FILENAME)", "Created-By: Packages", env=env)
        lists = sorted(listed.stdout.split())
        assert lists, "apt has no list of packages: are there any sources?"
        with open(folder / "Packages", "wb") as file:
            tools.run(_HELPER, "cat-file", *lists, env=env, stdout=file)
    (folder / "Packages").rename(folder / "feed" / "Packages")


def _state(folder: Path, more: str) -> dict[str, str]:
    """A state of apt with nothing installed; the environment in which it is used."""
    for part in ("lists/partial", "archives/partial"):
        (folder / part).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "apt.conf").write_text(_SETTINGS.format(folder, architecture()) + more, encoding="utf-8")
    return tools.environment(APT_CONFIG=str(folder / "apt.conf"))


# ---- what an index says


class Entry(NamedTuple):
    """A package: its relations as names alone, each group with its alternatives."""

    rank: tuple[str, str]
    needs: tuple[tuple[str, ...], ...]
    likes: tuple[tuple[str, ...], ...]
    against: frozenset[str]
    provides: frozenset[str]


class Index:
    """The packages of an index by name, of several versions the last one listed."""

    def __init__(self, feed: Path) -> None:
        text = (feed / "Packages").read_text(encoding="utf-8", errors="surrogateescape")
        self._paragraphs: dict[str, str] = {}
        self._entries: dict[str, Entry] = {}
        self._providers: dict[str, set[str]] = {}
        for paragraph in text.split("\n\n"):
            head, _, _ = paragraph.partition("\n")
            name = head.removeprefix("Package: ")
            self._paragraphs[name] = paragraph
            if "\nProvides: " in paragraph:
                for provided in self[name].provides:
                    self._providers.setdefault(provided, set()).add(name)
        self._paragraphs.pop("", None)

    def providers(self, name: str) -> set[str]:
        """The packages that provide a name, in any version."""
        return self._providers.get(name, set())

    def names(self) -> list[str]:
        return sorted(self._paragraphs)

    def fields(self, name: str) -> dict[str, str]:
        """The fields of one line."""
        return dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", self._paragraphs[name], re.MULTILINE))

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            fields = self.fields(name)
            needs = ",".join(fields.get(field, "") for field in ("Pre-Depends", "Depends"))
            self._entries[name] = Entry(
                (fields.get("Essential", "no"), fields.get("Priority", "")),
                tuple(groups(needs)),
                tuple(groups(fields.get("Recommends", ""))),
                frozenset().union(*groups(fields.get("Conflicts", "")), *groups(fields.get("Breaks", ""))),
                frozenset().union(*groups(fields.get("Provides", ""))),
            )
        return self._entries[name]


def groups(text: str) -> Iterator[tuple[str, ...]]:
    """The names in each group of a field of relations, in order."""
    for group in text.split(","):
        if group.strip():
            yield tuple(re.split(r"[\s(:]", one.strip())[0] for one in group.split("|"))


# ---- apt


class Apt:
    """apt on an empty system, with one feed."""

    def __init__(self, folder: Path, feed: Path) -> None:
        (folder / "sources.list").write_text(f"deb [trusted=yes] file:{feed} ./\n", encoding="utf-8")
        self._env = _state(folder, _ALONE.format(folder / "sources.list"))
        tools.run("apt-get", "-q", "update", env=self._env)
        tools.run("apt-cache", "gencaches", env=self._env)

    def choose(self, names: Iterable[str], *, recommends: bool) -> Choice | None:
        """What apt would install; None where it refuses. `--print-uris` says it in a third of the time of `-s`."""
        done = self._install(("-qq", "-y", "--print-uris"), names, recommends=recommends)
        if done.returncode:
            return None
        files = (line.split("' ")[1].split(" ")[0] for line in done.stdout.splitlines())
        stems = (file.removesuffix(".deb").split("_") for file in files)
        return frozenset((name, unquote(version)) for name, version, _ in stems)

    def simulate(self, names: Iterable[str], *, recommends: bool) -> Choice | None:
        """The same by `apt-get -s install`."""
        done = self._install(("-s",), names, recommends=recommends)
        lines = re.findall(r"^Inst (\S+) \((\S+) ", done.stdout, re.MULTILINE)
        return None if done.returncode else frozenset(lines)

    def _install(self, options: Collection[str], names: Iterable[str], *, recommends: bool) -> tools.Done:
        option = f"APT::Install-Recommends={int(recommends)}"
        done = tools.run("apt-get", *options, "-o", option, "install", *names, env=self._env, status=None)
        told = done.stdout + done.stderr
        assert done.returncode == 0 or (done.returncode == 100 and _REFUSED.search(told)), told
        return done
