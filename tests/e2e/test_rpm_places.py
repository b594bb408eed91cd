# SPDX-License-Identifier: MIT
"""Files of rpm packages that meet each other, or something that lies there: what rpm itself makes of them, we make too.

Each case is installed in steps by `rpm -U` and as layers; both fail in one step, or the trees are the same in every
fact, and so is what the databases say of the state of each file. What is not compared: times of directories, which
change as something is put into them.
"""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support import compare, tools
from support.rpmlayers import Build, kept
from support.rpms import CONFIG, GHOST, NOREPLACE, File, Made, device, file, folder, ghost, package, symlink

from oe_oci.errors import InputError
from oe_oci.packages.package import Package
from oe_oci.packages.resolve import Resolution, Selected
from oe_oci.packages.rpm import database, installer
from oe_oci.scan import Directory
from oe_oci.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from oe_oci.packages.rpm.world import World

    Below = Callable[[Path], None]
    Ours = Callable[[list[Made], Tree, int], Build]

KEPT = CONFIG | NOREPLACE
LATEST = 4_000_000_000
OBSOLETES = 1090
DATABASE = b"var/lib/rpm"
ACCOUNTS = {
    "passwd": "root:x:0:0::/:/bin/sh\nbin:x:2:2::/:/bin/sh\n",
    "group": "root:x:0:\nbin:x:2:\n",
}


# ---- what lies below


def there(path: str, data: bytes = b"mine") -> Below:
    def make(root: Path) -> None:
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        os.utime(place, (5, 5))

    return make


def directory(path: str) -> Below:
    return lambda root: (root / path).mkdir(parents=True)


def link(path: str, target: str) -> Below:
    def make(root: Path) -> None:
        (root / path).symlink_to(target)
        os.utime(root / path, (5, 5), follow_symlinks=False)

    return make


def both(*below: Below) -> Below:
    def make(root: Path) -> None:
        for each in below:
            each(root)

    return make


MERGED = both(directory("usr/bin"), link("bin", "usr/bin"))


# ---- packages


def a(*files: File, version: str = "1-1", **words: Iterable[str]) -> Made:
    return package("a", version, given=files, compression="none", **words)


def b(*files: File, version: str = "1-1", **words: Iterable[str]) -> Made:
    return package("b", version, given=files, compression="none", **words)


def c(*files: File) -> Made:
    return package("c", "1-1", given=files, compression="none")


def a2(*files: File, **words: Iterable[str]) -> Made:
    return a(*files, version="2-1", **words)


def b2(*files: File, **words: Iterable[str]) -> Made:
    return b(*files, version="2-1", **words)


class Case(NamedTuple):
    """The packages of each step, and what lies below the first one, or is changed before the last one.

    `color` is the preferred one of ELF files.
    """

    steps: list[list[Made]]
    below: Below | None = None
    change: Below | None = None
    color: int = 2


CONF, KEPT_CONF = (file("/x", b"new", flags=flags) for flags in (CONFIG, KEPT))
LINKS = (folder("/usr"), folder("/usr/bin"), symlink("/bin", "usr/bin"))
TWO_NAMES = (file("/d/f", link="1", mtime=2), file("/e/f", link="1", mtime=2))
ELF32, OTHER32, ELF64, OTHER64, N32 = (
    file("/x", data, mode, color=color, mtime=7)
    for data, mode, color in (
        (b"32", 0o755, 1),
        (b"3", 0o755, 1),
        (b"64", 0o700, 2),
        (b"6", 0o755, 2),
        (b"n", 0o755, 4),
    )
)
GHOST_FOLDER = File("/g", mode=stat.S_IFDIR | 0o755, flags=GHOST)

CASES = {
    "facts": Case([[a(folder("/d", 0o2750), file("/d/f", b"", 0o4755, user="bin", mtime=7), symlink("/d/l", "f"))]]),
    "the same file": Case([[a(file("/d/f", mtime=7)), b(file("/d/f", mtime=9))]]),
    "the same file later": Case([[a(file("/d/f", mtime=7))], [b(file("/d/f", mtime=9))]]),
    "another mode": Case([[a(file("/d/f")), b(file("/d/f", mode=0o600))]]),
    "another mode later": Case([[a(file("/d/f"))], [b(file("/d/f", mode=0o600))]]),
    "a directory of another mode": Case([[a(folder("/d"))], [b(folder("/d", 0o700))]]),
    "a directory of another user": Case([[a(folder("/d"))], [b(folder("/d", user="bin"))]]),
    "the same link": Case([[a(symlink("/l", "x", mtime=3))], [b(symlink("/l", "x", mtime=4))]]),
    "another link": Case([[a(symlink("/l", "x"))], [b(symlink("/l", "y"))]]),
    "a file and a directory": Case([[a(file("/x")), b(folder("/x"))]]),
    "the same device": Case([[a(device("/x", 1, 3)), b(device("/x", 1, 3))]]),
    "another device": Case([[a(device("/x", 1, 3)), b(device("/x", 1, 5))]]),
    "a ghost and a file": Case([[a(ghost("/x")), b(file("/x", mode=0o600))]]),
    "a file and a ghost": Case([[a(file("/x")), b(File("/x", mode=stat.S_IFREG | 0o600, flags=GHOST))]]),
    "a ghost alone": Case([[a(ghost("/q/x"), GHOST_FOLDER)]]),
    "a ghost where something is": Case([[a(ghost("/x"))]], there("x")),
    "two names of one place": Case([[a(file("/usr/bin/t"), file("/bin/t"))]], MERGED),
    "two names of one place that differ": Case([[a(file("/usr/bin/t", b"1"), file("/bin/t", b"2"))]], MERGED),
    "hard links": Case([[a(*TWO_NAMES)]]),
    "hard links of which one is another's": Case([[a(file("/d/f", mtime=1)), b(*TWO_NAMES, file("/g", link="1"))]]),
    "hard links of which one was another's": Case([[a(file("/d/f", mtime=1))], [b(*TWO_NAMES)]]),
    "hard links the last of which is another's": Case([[a(file("/e/f", mtime=1)), b(*TWO_NAMES)]]),
    # What nobody owns.
    "a file": Case([[a(file("/x", b"new", mtime=9))]], there("x")),
    "a directory, facts": Case([[a(folder("/x", 0o700, user="bin"))]], directory("x")),
    "a directory, file": Case([[a(file("/x"))]], directory("x")),
    "a directory with something, file": Case([[a(file("/x"))]], there("x/y")),
    "a directory, link": Case([[a(symlink("/x", "y"))]], directory("x")),
    "a file, directory": Case([[a(folder("/x"), file("/x/f"))]], there("x")),
    "a file in the way": Case([[a(file("/x/f"))]], there("x")),
    "a link to a directory, directory": Case(
        [[a(folder("/x", 0o700, user="bin"), file("/x/f"))]], both(directory("y"), link("x", "y"))
    ),
    "a link to a directory, file": Case([[a(file("/x"))]], both(directory("y"), link("x", "y"))),
    "a link to a file, directory": Case([[a(folder("/x"))]], both(there("y"), link("x", "y"))),
    "a dangling link, directory": Case([[a(folder("/x"), file("/x/f"))]], link("x", "y")),
    "configuration": Case([[a(file("/x", b"new", flags=CONFIG))]], there("x")),
    "configuration that is kept": Case([[a(file("/x", b"new", flags=KEPT))]], there("x")),
    "the same configuration": Case([[a(file("/x", b"mine", flags=CONFIG, mtime=9))]], there("x")),
    "configuration, link": Case([[a(file("/x", b"new", flags=CONFIG))]], link("x", "y")),
    "configuration that is kept, link": Case([[a(file("/x", b"new", flags=KEPT))]], link("x", "y")),
    "configuration that is a link": Case([[a(symlink("/x", "z", flags=CONFIG))]], there("x")),
    "configuration of two": Case([[a(file("/x", b"n", flags=CONFIG)), b(file("/x", b"n", flags=CONFIG))]], there("x")),
    "configuration of two, kept": Case(
        [[a(file("/x", b"n", flags=KEPT)), b(file("/x", b"n", flags=KEPT))]], there("x")
    ),
    "configuration of two that differs": Case(
        [[a(file("/x", b"1", flags=CONFIG))], [b(file("/x", b"2", flags=CONFIG))]]
    ),
    # Behind links.
    "behind a link": Case([[a(folder("/bin"), file("/bin/t"))]], MERGED),
    "behind a link, facts": Case([[a(folder("/bin", 0o700))]], MERGED),
    "behind a link of this step": Case([[a(*LINKS), b(file("/bin/t"))]]),
    "behind a link of another step": Case([[a(*LINKS)], [b(file("/bin/t"))]]),
    "the same behind a link": Case([[a(*LINKS, file("/usr/bin/t"))], [b(file("/bin/t"))]]),
    "another behind a link": Case([[a(*LINKS, file("/usr/bin/t"))], [b(file("/bin/t", b"2"))]]),
    "a link and a directory": Case([[a(*LINKS), b(folder("/bin"), file("/bin/t"))]]),
    # Upgrades.
    "dropped": Case(
        [
            [a(folder("/d"), file("/d/f"), file("/d/g"), folder("/e"), file("/e/h"))],
            [a2(folder("/d"), file("/d/g", b"2"))],
        ]
    ),
    "dropped, the directory has more": Case([[a(folder("/d"), file("/d/f")), b(file("/d/x"))], [a2()]]),
    "dropped, the directory is another's too": Case([[a(folder("/d"), file("/d/f")), b(folder("/d"))], [a2()]]),
    "dropped, the file is another's too": Case([[a(file("/f")), b(file("/f"))], [a2()]]),
    "dropped, and another's now": Case([[a(file("/f"))], [a2(), b(file("/f", b"new"))]]),
    "dropped, and another's just before": Case([[a(file("/f"))], [b(file("/f", b"new")), a2()]]),
    "dropped behind a link": Case([[a(file("/bin/t"))], [a2()]], MERGED),
    "moved to behind a link": Case([[a(file("/bin/t"))], [a2(file("/usr/bin/t", b"2"))]], MERGED),
    "obsoleted": Case([[a(file("/f"), file("/g"))], [b(file("/f", b"new"), obsoletes=["a"])]]),
    "a file becomes a directory": Case([[a(file("/x"))], [a2(folder("/x"), file("/x/f"))]]),
    "a file becomes a link": Case([[a(file("/x"))], [a2(symlink("/x", "y"))]]),
    "a directory becomes a file": Case([[a(folder("/x"), file("/x/f"))], [a2(file("/x"))]]),
    "a directory becomes a link": Case([[a(folder("/x"), file("/x/f"))], [a2(folder("/y"), symlink("/x", "y"))]]),
    "an empty directory becomes a link": Case([[a(folder("/x"))], [a2(symlink("/x", "y"))]]),
    "a directory becomes a ghost": Case([[a(folder("/x"))], [a2(ghost("/x"))]]),
    "a link to a directory becomes one": Case(
        [[a(folder("/y"), symlink("/x", "y"))], [a2(folder("/x"), file("/x/f"))]]
    ),
    "a link to another's directory becomes one": Case([[a(symlink("/x", "y"))], [a2(folder("/x"))]], directory("y")),
    "a link to nothing becomes a directory": Case([[a(symlink("/x", "y"))], [a2(folder("/x"), file("/x/f"))]]),
    "a link to a directory becomes a file": Case([[a(folder("/y"), symlink("/x", "y"))], [a2(file("/x"))]]),
    "a file becomes a ghost": Case([[a(file("/x"))], [a2(ghost("/x"))]]),
    "a ghost becomes a file": Case([[a(ghost("/x"))], [a2(file("/x", b"new"))]], there("x")),
    "a ghost is dropped": Case([[a(ghost("/x"))], [a2()]], there("x")),
    "a ghost of configuration is dropped": Case([[a(File("/x", flags=GHOST | CONFIG))], [a2()]], there("x")),
    "a directory that is a ghost is dropped": Case([[a(GHOST_FOLDER)], [a2()]], directory("g")),
    "a directory that is a ghost is dropped, not empty": Case([[a(GHOST_FOLDER)], [a2()]], there("g/x")),
    "hard links in a new version": Case(
        [[a(*TWO_NAMES)], [a2(file("/d/f", b"n", link="1"), file("/g", b"n", link="1"))]]
    ),
    "configuration of two in a new version": Case(
        [
            [a(file("/x", b"1", flags=CONFIG)), b(file("/x", b"1", flags=CONFIG))],
            [a2(file("/x", b"2", flags=CONFIG)), b2(file("/x", b"2", flags=CONFIG))],
        ]
    ),
    "a link where the database is": Case([[a()], [b(symlink("/var/lib/rpm", "../x"))]]),
    # Files of two colours.
    "32 bits, 64 bits": Case([[a(ELF32), b(ELF64)]]),
    "64 bits, 32 bits": Case([[a(ELF64), b(ELF32)]]),
    "32 bits, 64 bits later": Case([[a(ELF32, file("/y"))], [b(ELF64)]]),
    "64 bits, 32 bits later": Case([[a(ELF64)], [b(ELF32, file("/y"))]]),
    "64 bits, 32 bits preferred": Case([[a(ELF64), b(ELF32)]], color=1),
    "32 bits preferred, 64 bits later": Case([[a(ELF32)], [b(ELF64)]], color=1),
    "64 bits, 32 bits preferred later": Case([[a(ELF64)], [b(ELF32)]], color=1),
    "the same in two colours": Case([[a(ELF32), b(replace(ELF32, color=2))]]),
    "neither colour is preferred": Case([[a(ELF32), b(N32)]]),
    "neither colour is preferred later": Case([[a(ELF32)], [b(N32)]]),
    "one colour is preferred": Case([[a(ELF32), b(N32)]], color=4),
    "a colour and none": Case([[a(ELF32), b(file("/x", mode=0o755))]]),
    "no colour, and one": Case([[a(file("/x", mode=0o755))], [b(ELF64)]]),
    "of one colour": Case([[a(ELF64), b(OTHER64)]]),
    "of two colours, one of which is preferred": Case([[a(ELF32), b(replace(ELF64, color=3))]]),
    "64 bits, 32 bits, 32 bits": Case([[a(ELF64), b(ELF32), c(ELF32)]]),
    "64 bits, 32 bits, other 32 bits": Case([[a(ELF64), b(ELF32), c(OTHER32)]]),
    "64 bits, 32 bits, 64 bits": Case([[a(ELF64), b(ELF32), c(ELF64)]]),
    "64 bits, 32 bits, other 64 bits": Case([[a(ELF64), b(ELF32), c(OTHER64)]]),
    "32 bits, 64 bits, 64 bits": Case([[a(ELF32), b(ELF64), c(ELF64)]]),
    "32 bits of two, 64 bits later": Case([[a(ELF32), b(ELF32)], [c(ELF64)]]),
    "32 bits, 64 bits, 32 bits, each later": Case([[a(ELF32)], [b(ELF64)], [c(ELF32)]]),
    "32 bits of which nothing is there, upgraded": Case([[a(ELF32, file("/y")), b(ELF64)], [a2(OTHER32, file("/z"))]]),
    "32 bits of which nothing is there, dropped": Case([[a(ELF32, file("/y"))], [b(ELF64)], [a2(file("/y"))]]),
    "64 bits dropped, 32 bits stay away": Case([[a(ELF32), b(ELF64)], [b2(file("/y"))]]),
    "64 bits upgraded": Case([[a(ELF32), b(ELF64)], [b2(OTHER64)]]),
    "64 bits obsoleted by 32": Case([[a(ELF64)], [b(ELF32, obsoletes=["a"])]]),
    "two colours, and a folder of them alone": Case([[a(file("/d/x", b"1", color=1)), b(file("/d/x", b"2", color=2))]]),
    "two colours behind a link": Case(
        [[a(file("/bin/t", b"1", color=1))], [b(file("/usr/bin/t", b"2", color=2))]], MERGED
    ),
    "two colours, a name of several": Case(
        [
            [a(*(replace(each, color=1, data=b"32") for each in TWO_NAMES))],
            [b(file("/e/f", b"64", color=2), file("/g", b"64"))],
        ]
    ),
    "two colours, a name of several later": Case(
        [[a(file("/d/f", b"64", color=2))], [b(*(replace(each, color=1, data=b"32") for each in TWO_NAMES))]]
    ),
    "two colours, the last name of several later": Case(
        [[a(file("/e/f", b"64", color=2))], [b(*(replace(each, color=1, data=b"32") for each in TWO_NAMES))]]
    ),
    "configuration that moves": Case([[a(file("/x", b"1", flags=CONFIG))], [a2(), b(file("/x", b"2", flags=CONFIG))]]),
}


CHANGES: dict[str, Below | None] = {
    "left": None,
    "gone": lambda _root: None,
    "changed": there("x"),
    "as the new one": there("x", b"new"),
    "a link": link("x", "n"),
    "another link": link("x", "m"),
}


def configuration() -> Case:
    """Every way in which a configuration file of two versions and what is made of it can differ, each in a folder."""
    olds = {"old": file("/x", b"old"), "same": file("/x", b"new"), "link": symlink("/x", "o")}
    news = {"new": file("/x", b"new", mtime=9), "link": symlink("/x", "n"), "same link": symlink("/x", "o"), "no": None}
    flags = ((CONFIG, CONFIG), (CONFIG, KEPT), (0, CONFIG), (0, KEPT), (CONFIG, 0), (KEPT, KEPT))
    before, after, changes = [], [], {}
    for (one, old), (other, new), (was, now), (how, change) in product(
        olds.items(), news.items(), flags, CHANGES.items()
    ):
        path = f"{one} {was}, {other} {now}, {how}"
        before.append(replace(old, path=f"/{path}/x", flags=was))
        after += [replace(new, path=f"/{path}/x", flags=now)] if new else []
        changes[path] = change

    def make(root: Path) -> None:
        for path, change in changes.items():
            if change is not None:
                (root / path / "x").unlink()
                change(root / path)

    return Case([[a(*before)], [a2(*after)]], None, make)


class Rpm:
    """A root that the real rpm installs into."""

    def __init__(self, root: Path) -> None:
        tools.need("rpm")
        tools.need_root()
        self.root = root
        (root / "etc").mkdir(parents=True)
        for name, data in ACCOUNTS.items():
            there(f"etc/{name}", data.encode())(root)

    def install(self, packages: Iterable[Path], color: int = 2) -> str:
        """What is wrong with it, nothing where it was done."""
        words = ["--root", self.root, "--dbpath", "/var/lib/rpm", "--nodeps", "--noscripts", "--nosignature"]
        words += ["--define", "_transaction_color 7", "--define", f"_prefer_color {color}"]
        done = tools.run("rpm", *words, "--noorder", "--force-debian", "-U", *packages, status=None, timeout=30)
        return done.stderr if done.returncode else ""


def listed(listing: compare.Listing, before: compare.Listing) -> compare.Listing:
    """A tree without rpm's database, the directories on the way to that, and times of directories.

    Nor has it the time of what is as it was `before` but for that: a layer does not bring that.
    """
    found = {}
    for path, facts in listing.items():
        if not path.startswith(DATABASE) and not DATABASE.startswith(path) and path != b".":
            same = path in before and before[path]._replace(mtime=0, names=frozenset()) == facts._replace(
                mtime=0, names=frozenset()
            )
            found[path] = facts._replace(mtime=0) if facts.kind == "directory" or same else facts
    return found


@pytest.fixture
def ours(tmp_path, monkeypatch) -> Ours:
    """The same as a layer on a tree; which packages it installs and which these replace is told, not chosen."""

    def install(made: list[Made], below: Tree, color: int) -> Build:
        build = Build(tmp_path / "feed", made)

        def resolve(world: World, _layer: str, _names: object) -> Resolution:
            selected = []
            for one in made:
                obsoleted = one.tags.get(OBSOLETES, (0, []))[1]
                gone = [old for old in world.installed if old.name == one.name or old.name in obsoleted]
                path = str(build.files[one.name, one.version])
                chosen = Package(one.name, one.version, one.arch, {}, path, None, None, 0)
                selected.append(Selected(chosen, "", gone[0] if gone else None, tuple(gone[1:])))
            return Resolution(tuple(selected), ())

        monkeypatch.setattr(installer, "resolve", resolve)
        build.layers(made[0].name, base=below, epoch=LATEST, prefer_color=color)
        return build

    return install


def scanned(root: Path) -> Tree:
    """A tree on disk, with the bytes of its files as they are now."""
    found = Directory(str(root), "below", lambda mtime: mtime).walk("")
    return Tree({path: kept(entry) for path, entry in found})


def states(tree: Tree) -> dict[tuple[str, str], tuple[int, ...]]:
    """What a database says of the states of each package's files."""
    return {one[:2]: one.header.numbers(1029) for one in database.read(tree) if one.header}


def check(case: Case, root: Path, ours: Ours, folder: Path) -> None:
    rpm = Rpm(root)
    if case.below is not None:
        case.below(root)
    for number, made in enumerate(case.steps, 1):
        if number == len(case.steps) and case.change is not None:
            case.change(root)
        below, before = scanned(root), compare.listing(root)
        wrong = rpm.install([one.write(folder) for one in made], case.color)
        if wrong:
            with pytest.raises(InputError):
                ours(made, below, case.color)
            assert number == len(case.steps), wrong
            return
        build = ours(made, below, case.color)
        compare.assert_same(listed(compare.listing(root), before), listed(build.listing(), before), times=True)
        assert states(build.tree) == states(scanned(root))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_as_rpm(case, folder, ours):
    check(case, folder / "root", ours, folder)


def test_configuration_as_rpm(folder, ours):
    check(configuration(), folder / "root", ours, folder)


@pytest.mark.parametrize(
    ("name", "case", "path"),
    [
        # rpm removes the link, and with it the way to all that lies behind it.
        ("who called a link a directory goes", Case([[a(folder("/bin"), file("/bin/t"))], [a2()]], MERGED), "bin"),
        # rpm can not put anything there.
        ("below a dangling link", Case([[a(file("/x/f"))]], link("x", "y")), "y/f"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_than_rpm(name, case, path, folder, ours):
    rpm, build = Rpm(folder / "root"), None
    case.below(folder / "root")
    for made in case.steps:
        below = scanned(folder / "root")
        rpm.install([one.write(folder) for one in made])
        build = ours(made, below, case.color)
    assert path.encode() in build.listing()
    assert path.encode() not in compare.listing(rpm.root)
