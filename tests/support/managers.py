# SPDX-License-Identifier: MIT
"""Everything that installs packages, by name, for tests that hold it to the same promises; and images made with it.

Must not use the product but by its command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from . import compare, installed, merge, samples, sources, specs, tools

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from .sources import Source

EPOCH = sources.EPOCH
NUMBERS = {**samples.NUMBERS, "app": 4321, "games": 4400}


class Manager(NamedTuple):
    """What installs: the packages' format, the value of OCI_PACKAGE_MANAGER, and the programs that it takes.

    `tool` is its name in the report, `runs` says whether scripts of packages run, `attributes` whether packages may
    have extended attributes; `scripts` is the value of OCI_PACKAGE_SCRIPTS, empty where it is not set.
    """

    kind: str
    value: str
    tool: str
    programs: tuple[str, ...] = ()
    runs: bool = False
    attributes: bool = True
    scripts: str = ""


MANAGERS = {
    "deb builtin": Manager("deb", "builtin", "builtin", scripts="skip"),
    "ipk builtin": Manager("ipk", "builtin", "builtin", scripts="skip"),
    "rpm builtin": Manager("rpm", "builtin", "builtin", scripts="skip"),
    "deb with scripts": Manager("deb", "builtin", "builtin", ("bwrap",), runs=True, scripts="run:offline"),
    "ipk with scripts": Manager("ipk", "builtin", "builtin", ("bwrap",), runs=True, scripts="run:offline"),
    "rpm with scripts": Manager("rpm", "builtin", "builtin", ("bwrap", "rpmbuild"), runs=True, scripts="run:offline"),
    # dpkg refuses a package with extended headers in its tar.
    "apt": Manager("deb", "native", "apt", ("apt-get", "dpkg", "dpkg-deb"), attributes=False),
    "dnf": Manager("rpm", "native", "dnf", ("dnf", "rpm", "rpmbuild", "createrepo_c"), runs=True),
    "opkg": Manager("ipk", "native", "opkg", ("opkg",), runs=True),
}


def write_feed(manager: Manager, place: Path, found: Iterable[Source]) -> dict[str, Path]:
    """A feed without an index; its files by the packages' names."""
    if manager.kind == "rpm":
        return specs.write(found, place)
    return sources.write(found, place, manager.kind, NUMBERS)


@dataclass(frozen=True)
class Image:
    """A built image."""

    manager: Manager
    report: dict[str, Any]
    place: Path

    @property
    def layout(self) -> Path:
        return self.place / "deploy/app-oci"

    @cached_property
    def tree(self) -> compare.Listing:
        """All layers merged, without the databases of packages."""
        return merge.without(merge.read_image(self.layout).merged, *DATABASES)

    @cached_property
    def root(self) -> Path:
        """The same on disk, databases too."""
        tools.oe_oci("unpack", self.layout, self.place / "root")
        return self.place / "root"

    def text(self, path: str) -> str:
        return (self.root / path).read_text(encoding="utf-8")

    def layer(self, name: str) -> dict[str, Any]:
        (found,) = (layer for layer in self.report["layers"] if layer["name"] == name)
        return found

    def names(self, layer: str) -> list[str]:
        """The packages that a layer brings, sorted."""
        return sorted(package["name"] for package in self.layer(layer)["packages"])

    def versions(self) -> dict[str, str]:
        """What the format's own tools say is installed."""
        found = installed.versions(self.manager.kind, self.root)
        return {name: version for name, (version, _) in found.items()}

    def digests(self) -> list[str]:
        return [layer["digest"] for layer in self.report["layers"] if "digest" in layer]


DATABASES = (*(path.encode() for path in installed.DATABASES.values()), b"var/lib/apt")


class Kit(NamedTuple):
    """Makes images with one manager, in one folder."""

    manager: Manager
    folder: Path

    def feed(self, name: str, *found: Source) -> Path:
        write_feed(self.manager, self.folder / name, found)
        return self.folder / name

    def build(self, name: str, layers: str, *feeds: Path, lines: Iterable[str] = (), **options: Any) -> Image:
        done = self.run("build", name, layers, *feeds, lines=lines, **options)
        assert done.returncode == 0, done.stderr
        return Image(self.manager, tools.json.loads(done.stdout), self.folder / name)

    def refuse(self, name: str, layers: str, *feeds: Path, lines: Iterable[str] = ()) -> str:
        """The error of a build that must fail for the input's or the tool's sake, and leaves nothing."""
        done = self.run("build", name, layers, *feeds, lines=lines, status=None)
        assert done.returncode in (2, 3), done.stderr
        assert not (self.folder / name / "deploy").exists()
        assert "Traceback" not in done.stderr
        return done.stderr

    def run(
        self,
        command: str,
        name: str,
        layers: str,
        *feeds: Path,
        lines: Iterable[str] = (),
        status: int | None = 0,
        env: Mapping[str, str] | None = None,
        before: Iterable[object] = (),
        cache: str = "",
    ) -> tools.Done:
        """Run a command of ours on a configuration in a folder of its own; `before` are the words of another one.

        The cache is its own too, or that of another one, which is named.
        """
        place = self.folder / name
        place.mkdir(exist_ok=True)
        conf = (
            f'OCI_LAYERS = "{layers}"',
            f'OCI_PACKAGE_MANAGER = "{self.manager.value}"',
            *([f'OCI_PACKAGE_SCRIPTS = "{self.manager.scripts}"'] if self.manager.scripts else []),
            f'SOURCE_DATE_EPOCH = "{EPOCH}"',
            *lines,
            "",
        )
        (place / "app.conf").write_text("\n".join(conf), encoding="utf-8")
        given = [word for feed in feeds for word in ("--feed", feed)]
        words = [command, place / "app.conf", "--json", "--cache-dir", self.folder / (cache or name) / "cache", *given]
        words += ["--deploy-dir", place / "deploy"]
        program = [*before, tools.sys.executable, "-m", "oe_oci"]
        return tools.run(*program, *words, status=status, env=env, timeout=300)
