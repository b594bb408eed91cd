# SPDX-License-Identifier: MIT
"""What dnf would install: asked through its own library, a few hundred times in one process, and as a program.

Shares no code with the product. All that dnf reads and writes lies in a folder of the test's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from . import tools

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_NEW = ("Install", "Upgrade", "Obsoleting", "Downgrade")
_GONE = ("Upgraded", "Obsoleted", "Downgraded")

Choice = frozenset[tuple[str, str]]  # names and versions

# Answers a line for each line: a question, and what the transaction holds, or null where dnf refuses.
_SERVER = """\
import json, logging, os, sys
import dnf, dnf.exceptions
logging.disable(logging.CRITICAL)
for line in sys.stdin:
    asked = json.loads(line)
    base = dnf.Base()
    conf = base.conf
    conf.installroot, conf.cachedir, conf.persistdir = asked["root"], asked["cache"], asked["cache"] + "/state"
    conf.logdir, conf.reposdir, conf.plugins, conf.best = asked["cache"], [], False, False
    conf.substitutions["releasever"] = "1"
    conf.install_weak_deps = asked["weak"]
    conf.exclude_from_weak_autodetect = False
    base.repos.add_new_repo("feed", conf, baseurl=["file://" + asked["feed"]])
    try:
        base.fill_sack(load_system_repo=True)
        for name in asked["names"]:
            base.install(name)
        base.resolve()
        answer = [[item.action_name, item.pkg.name, item.pkg.evr] for item in base.transaction]
    except dnf.exceptions.Error as error:
        answer = None
    base.close()
    print(json.dumps(answer), flush=True)
"""
_PLUGIN = """\
import json, os
import dnf

class Told(dnf.Plugin):
    name = "told"

    def resolved(self):
        rows = [[item.action_name, item.pkg.name, item.pkg.evr] for item in self.base.transaction]
        with open(os.environ["TOLD"], "w") as file:
            json.dump(rows, file)
"""


class Answer(NamedTuple):
    """What dnf would bring, and what it would take the place of."""

    new: Choice
    gone: Choice
    downgrades: bool = False


class Dnf:
    """dnf on a root in a folder; a context manager."""

    def __init__(self, folder: Path) -> None:
        tools.need("dnf", "rpm", "createrepo_c")
        self.root, self._cache = folder / "root", folder / "cache"
        for place in (self.root, self._cache):
            place.mkdir()
        # Debian's rpm has its database where the user's home is.
        (folder / ".rpmmacros").write_text("%_dbpath /var/lib/rpm\n", encoding="utf-8")
        self._env = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(folder)}
        # What dnf runs on has the library, which the tests' Python need not have.
        with open(shutil.which("dnf") or "", encoding="utf-8") as file:
            python = file.readline().removeprefix("#!").split()
        self._server = subprocess.Popen(
            [*python, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", env=self._env
        )

    def __enter__(self) -> Dnf:
        return self

    def __exit__(self, *_error: object) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait(60)

    def choose(self, feed: Path, names: Iterable[str], *, weak: bool) -> Answer | None:
        """What dnf would install of a feed for some names, on top of what the root has; None where it refuses."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        shutil.rmtree(self._cache)
        self._cache.mkdir()
        asked = {"root": str(self.root), "cache": str(self._cache), "feed": str(feed), "names": [*names], "weak": weak}
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        return _answer(json.loads(self._server.stdout.readline()))

    def choose_as_a_program(self, feed: Path, names: Iterable[str], *, weak: bool) -> Answer | None:
        """The same, asked as people do, and told by a plugin."""
        plugins = self._cache / "plugins"
        plugins.mkdir(exist_ok=True)
        (plugins / "told.py").write_text(_PLUGIN, encoding="utf-8")
        told, empty = self._cache / "told", self._cache / "dnf.conf"
        empty.touch()
        settings = {
            "pluginpath": plugins,
            "pluginconfpath": plugins,
            "cachedir": self._cache / "own",
            "persistdir": self._cache / "state",
            "logdir": self._cache,
            "reposdir": plugins,
            "install_weak_deps": int(weak),
            "exclude_from_weak_autodetect": 0,
            "best": 0,
            "gpgcheck": 0,
        }
        words = [f"--setopt={name}={value}" for name, value in settings.items()]
        tools.run(
            *("dnf", "-q", f"--config={empty}", f"--installroot={self.root}", "--assumeno"),
            *(f"--repofrompath=feed,file://{feed}", *words, "install", *names),
            status=1,
            env={**self._env, "TOLD": str(told)},
        )
        return _answer(json.loads(told.read_text(encoding="utf-8"))) if told.exists() else None

    def have(self, packages: Iterable[Path]) -> None:
        """Enter packages in the root's database, instead of those that were there."""
        shutil.rmtree(self.root)
        self.root.mkdir()
        files = [str(path) for path in packages]
        if files:
            how = ("-i", "--justdb", "--nodeps", "--nosignature")
            tools.run("rpm", f"--root={self.root}", *how, *files, env=self._env)


def _answer(rows: list[list[str]] | None) -> Answer | None:
    if rows is None:
        return None
    actions = {action for action, _, _ in rows}
    assert actions <= {*_NEW, *_GONE}, actions
    new, gone = (frozenset((name, evr) for action, name, evr in rows if action in words) for words in (_NEW, _GONE))
    return Answer(new, gone, "Downgrade" in actions)


def write_repository(folder: Path, packages: Iterable[tuple[str, bytes]]) -> Path:
    """A folder of packages, by their files' names, with an index by createrepo_c."""
    tools.need("createrepo_c")
    folder.mkdir()
    for name, data in packages:
        (folder / name).write_bytes(data)
    tools.run("createrepo_c", "-q", "--no-database", "--simple-md-filenames", folder)
    return folder
