# SPDX-License-Identifier: MIT
"""The rules of the house: what may import what, what runs on a bare Python 3.9, what --help promises."""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from support.ci import may_skip, outside_ci

from oe_oci.cli import make_parser

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "oe_oci"

# From the bottom up: a module imports from its own group and from those below. No two import each other.
GROUPS = {
    "foundations": "(top) errors progress tables architectures stream ahead notes content kept threads records "
    "questions run readers digests tree removal",
    "trees from bytes": "decompress untar members changeset scan confined inodes",
    "stored images": "oci oci.spec oci.layout oci.reach oci.rehash oci.verify stored",
    "configuration as values": "config revision labels",
    "packages of feeds": "packages packages.package packages.contents packages.paths packages.rpm packages.rpm.tags "
    "packages.rpm.header packages.rpm.sums packages.rpm.capabilities packages.rpm.cpio packages.rpm.files "
    "packages.rpm.members packages.rpm.archive packages.rpm.relation packages.rpm.rich packages.rpm.clauses "
    "packages.rpm.entries packages.rpm.primary packages.rpm.repomd packages.libsolv packages.rpm.pool "
    "packages.rpm.plain packages.control packages.version packages.relation packages.index packages.rpm.feed "
    "packages.feed packages.ar packages.archive packages.scratch packages.payload packages.world packages.prefer "
    "packages.solver "
    "packages.explain packages.resolve packages.rpm.world packages.rpm.plainworld packages.rpm.solver "
    "packages.rpm.resolve packages.maintainer packages.maintainer.order packages.maintainer.scripts "
    "packages.maintainer.rpmtriggers packages.maintainer.debtriggers",
    "what a layer holds": "transfer locking staging store memory rootfs base delta populate accounts owned "
    "packages.database packages.dpkg packages.opkg packages.rpm.btree packages.rpm.pages packages.rpm.lookups "
    "packages.rpm.sqlite packages.rpm.ndb packages.rpm.entered packages.rpm.made packages.rpm.database "
    "packages.alternatives packages.installation packages.maintainer.job packages.edits packages.laidout "
    "packages.place packages.owners "
    "packages.foreign packages.known rest packages.cut packages.installer packages.rpm.facts packages.rpm.features "
    "packages.rpm.disposition "
    "packages.rpm.place packages.rpm.installer packages.recall packages.recorded packages.native "
    "packages.native.volatile packages.native.readback packages.native.manager "
    "packages.native.updatealternatives packages.native.scripts "
    "packages.native.root "
    "packages.native.links packages.native.naming packages.native.catalog packages.native.maintainers "
    "packages.native.apt packages.native.opkg packages.native.recall packages.native.dnfplugin "
    "packages.native.rpmcatalog packages.native.repository packages.native.rpmfiles packages.native.dnf "
    "packages.native.installer packages.native.choose packages.maintainer.transaction "
    "packages.maintainer.phases packages.maintainer.defer "
    "packages.maintainer.processors "
    "packages.maintainer.ran packages.maintainer.view packages.maintainer.crowd packages.maintainer.wrapping "
    "packages.maintainer.sandbox "
    "packages.maintainer.subordinate packages.maintainer.wire packages.maintainer.worker packages.maintainer.remote "
    "packages.maintainer.work packages.maintainer.recall packages.maintainer.runner packages.maintainer.pending "
    "packages.maintainer.inside packages.maintainer.bootstrap packages.maintainer.choose plan inputs",
    "bytes from trees": "tar compress blob layer listing archive",
    "the layer cache": "survey upkeep audit differences cache",
    "the image and its files": "oci.image outputs report",
    "drivers": "earlier build folders refresh preview merge",
    "variables to configuration": "configure configure.variables configure.settings configure.names "
    "configure.platforms configure.grammar configure.laidout configure.baseref configure.ownership configure.runtime "
    "configure.feeds configure.accounts configure.rest",
    "BitBake's syntax to variables": "bbconf bbconf.names bbconf.syntax bbconf.expand bbconf.variables bbconf.written",
    "what people read": "render inspection imagediff unpack lint",
    "command line": "commands cachecommands cli __main__",
    "BitBake": "bitbake bitbake_multiarch bitbake_task",
}
MODULES_OF = {group: modules.split() for group, modules in GROUPS.items()}
FRONT = {*MODULES_OF["variables to configuration"], *MODULES_OF["BitBake's syntax to variables"]}
WRITERS = {
    *MODULES_OF["packages of feeds"],
    *MODULES_OF["what a layer holds"],
    *MODULES_OF["bytes from trees"],
    *MODULES_OF["the image and its files"],
    *MODULES_OF["the layer cache"],
    *MODULES_OF["drivers"],
} - {"base", "rootfs"}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__") or "(top)"


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


class Import(NamedTuple):
    """What is imported, our own modules with a dot before them, and where: at the top, in a function, for types."""

    name: str
    place: str


def imports(name: str) -> list[Import]:
    path = SOURCES[name]
    package = path.relative_to(PACKAGE).parts[:-1]
    syntax = ast.parse(path.read_text(encoding="utf-8"))
    places = {}
    for part in ast.walk(syntax):
        if isinstance(part, ast.FunctionDef):
            places.update((id(node), "function") for node in ast.walk(part))
        elif isinstance(part, ast.If) and ast.unparse(part.test) == "TYPE_CHECKING":
            places.update((id(node), "types") for node in ast.walk(part))
    found = []
    for node in ast.walk(syntax):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = from_names(node, package)
        else:
            continue
        found += [Import(imported, places.get(id(node), "top")) for imported in names]
    return found


def from_names(node: ast.ImportFrom, package: tuple[str, ...]) -> list[str]:
    words = node.module.split(".") if node.module else []
    if node.level:
        words = [*package[: len(package) + 1 - node.level], *words]
    elif words[0] == "oe_oci":
        words = words[1:]
    else:
        return [".".join(words)]
    members = {".".join([*words, alias.name]) for alias in node.names}
    own = members & SOURCES.keys()
    rest = {".".join(words) or "(top)"} if members - own else set()
    return [f".{name}" for name in own | rest]


def own_imports(name: str, *, types: bool = True) -> set[str]:
    found = (each for each in imports(name) if types or each.place != "types")
    return {each.name[1:] for each in found if each.name.startswith(".")} - {name}


@pytest.fixture(scope="module")
def arrows() -> dict[str, set[str]]:
    return {name: own_imports(name) for name in SOURCES}


def test_every_module_has_its_place():
    placed = [module for modules in MODULES_OF.values() for module in modules]
    assert sorted(placed) == sorted(SOURCES)


def test_imports_point_down(arrows):
    height = {module: number for number, group in enumerate(MODULES_OF.values()) for module in group}
    wrong = [f"{name} imports {low}" for name in arrows for low in arrows[name] if height[low] > height[name]]
    assert not wrong


def test_no_two_modules_import_each_other(arrows):
    left = dict(arrows)
    while True:
        done = [name for name, below in left.items() if not below & left.keys()]
        if not done:
            break
        for name in done:
            del left[name]
    assert not left


def test_front_ends_make_a_configuration_and_nothing_else(arrows):
    allowed = FRONT | {"architectures", "errors", "config", "oci.spec"}
    assert {name: arrows[name] - allowed for name in FRONT if arrows[name] - allowed} == {}


def test_only_the_front_end_knows_variables(arrows):
    users = {name for name in SOURCES if arrows[name] & FRONT} - FRONT
    assert users <= {*MODULES_OF["BitBake"], "commands"}


@pytest.mark.parametrize("reader", ["oci.layout", "oci.verify", "stored", *MODULES_OF["what people read"]])
def test_readers_run_no_code_of_the_writer(reader):
    seen, more = set(), {reader}
    while more:
        seen |= more
        more = {low for name in more for low in own_imports(name, types=False)} - seen
    assert not seen & WRITERS


def test_one_module_starts_processes():
    doors = {"subprocess", "multiprocessing", "pty", "asyncio"}
    users = {name for name in SOURCES for imported, _ in imports(name) if imported.split(".")[0] in doors}
    assert users == {"run"}
    text = "".join(path.read_text(encoding="utf-8") for name, path in SOURCES.items() if name != "run")
    assert not [call for call in ("os.system(", "os.popen(", "os.fork(", "os.exec", "os.spawn") if call in text]


def test_one_module_knows_bitbake():
    users = {name for name in SOURCES for imported, _ in imports(name) if imported.split(".")[0] in ("bb", "oe")}
    assert users == {"bitbake", "bitbake_task"}


def test_third_party_modules_are_imported_where_used():
    at_top = [
        f"{name} imports {imported}"
        for name in SOURCES
        for imported, place in imports(name)
        if place != "function"
        and not imported.startswith(".")
        and imported.split(".")[0] not in sys.stdlib_module_names
    ]
    assert not at_top


def test_runs_on_python_3_9_without_packages():
    names = ["oe_oci" if name == "(top)" else f"oe_oci.{name}" for name in SOURCES if name != "__main__"]
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {', '.join(names)}; print(sys.version_info[:2])"
    done = subprocess.run([*python_3_9(), "-ISBWerror", "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("(3, 9)\n", "")


def python_3_9() -> list[str]:
    """The words that start it; pyenv's shim starts what the version asked for selects."""
    program = shutil.which("python3.9")
    for words in ([program], ["env", "PYENV_VERSION=3.9", program]) if program else ():
        if subprocess.run([*words, "-c", ""], capture_output=True, check=False).returncode == 0:
            return words
    pytest.skip("no python3.9")


def commands(parser: argparse.ArgumentParser | None = None) -> list[str]:
    """The commands' words, a command that has more below it among them."""
    found = []
    for action in (parser or make_parser())._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                found += [name, *(f"{name} {more}" for more in commands(below))]
    return found


def show_help(*words: str) -> str:
    """What --help prints in a new interpreter, which must have loaded nothing that it does not need."""
    heavy = ("isal", "zlib_ng", "pyzstd", "shtab", "zstandard", "oe_oci.build", "oe_oci.oci.verify", "oe_oci.store")
    program = (
        "import atexit, sys\n"
        f"loaded = lambda: print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)\n"
        "atexit.register(loaded)\n"
        "from oe_oci.cli import main\n"
        f"sys.exit(main([*{words!r}, '--help']))\n"
    )
    env = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "[]\n")
    return done.stdout


@pytest.mark.parametrize("above", [[], ["cache"]])
def test_help_lists_every_command(above):
    text = show_help(*above)
    assert "example" in text
    words = [command.split() for command in commands()]
    below = {command[-1] for command in words if command[:-1] == above}
    assert below
    assert below <= {line.split()[0] for line in text.splitlines() if line.startswith("    ")}


@pytest.mark.parametrize("command", commands())
def test_help_of_a_command_has_an_example(command):
    assert f"oe-oci {command}" in show_help(*command.split()).rpartition("example: ")[2]


def test_ci_runs_the_line_of_the_readme():
    line = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1]
    assert f"\n```sh\n{line}\n```\n" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("node", "reason"), outside_ci().items())
def test_what_ci_skips_exists_and_says_why(node, reason):
    pattern, _, function = node.partition("::")
    texts = [path.read_text(encoding="utf-8") for path in ROOT.glob(pattern)]
    assert texts
    assert "*" in function or any(f"def {function}(" in text for text in texts)
    assert reason


def test_ci_skips_what_is_listed_and_nothing_else():
    assert may_skip("tests/e2e/test_package_managers.py::test_what_is_provided[opkg]")
    assert may_skip("tests/unit/test_house.py::test_runs_on_python_3_9_without_packages")
    assert not may_skip("tests/e2e/test_package_managers.py::test_what_is_provided[apt]")
    assert not may_skip("tests/e2e/test_packages_apt.py::test_what_is_provided")
