# SPDX-License-Identifier: MIT
"""What changes, and which layers are made anew for it: these, and no others.

Each change starts from a cache that holds all layers, of a project with two layers of packages that need others, one of
a single package, one of folders, one of a file, and one of the host. The image is then that of a build without a cache.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import pytest
from support import tools
from support.layouts import Member, file, folder, symlink
from support.packages import Made, index_of, package, xattrs

if TYPE_CHECKING:
    from pathlib import Path

EPOCH, EARLIER = 1_700_000_000, 1_600_000_000

CONF = """\
PV = "1"
SOURCE_DATE_EPOCH = "1700000000"
OCI_BASE_IMAGE = "./os/os-oci"
OCI_PACKAGE_SCRIPTS = "skip"
OCI_LAYERS = "\\
    core:packages:core \\
    prog:packages:prog \\
    tool:packages:tool \\
    conf:directories:/opt/conf \\
    motd:files:/etc/motd \\
    host:host:files/hello:/srv/ \\
"
OCI_LAYER_COMPRESSOR = "zlib"
OCI_IMAGE_TAR_OUTPUT = "0"
"""
EVERY = {"core", "prog", "tool", "conf", "motd", "host"}
PACKAGES = {"core", "prog", "tool"}
ROOTFS = {"conf", "motd"}
NONE: set[str] = set()


def prog_files(
    data: bytes = b"program",
    *,
    mode: int = 0o755,
    uid: int = 0,
    mtime: int = 5,
    more: tuple[Member, ...] = (),
    **pax: bytes,
) -> list[Member]:
    facts = (
        {"mode": mode, "uid": uid, "mtime": mtime, "pax": xattrs(**pax)}
        if pax
        else {"mode": mode, "uid": uid, "mtime": mtime}
    )
    facts = {"mode": mode, "uid": uid, "mtime": mtime, "pax": xattrs(**pax)}
    parents = [folder(f"./{path}") for path in ("", "usr/", "usr/bin/")]
    return [*parents, file("./usr/bin/prog", data, **facts), *more]


def packages() -> dict[str, Made]:
    made = [
        package("core", files={"etc/core.conf": b"core\n"}, scripts={"conffiles": "/etc/core.conf\n"}),
        package("libone", files={"usr/lib/libone.so.1": b"library one"}),
        package("prog", files=prog_files(), Depends="libone", Recommends="extra"),
        package("extra", files={"usr/share/extra": b"extra"}),
        package("tool", files={"usr/bin/tool": b"tool"}, scripts={"postinst": "#!/bin/sh\n"}),
        package("spare", files={"usr/bin/spare": b"spare"}),
    ]
    return {each.fields["Package"]: each for each in made}


class Project:
    """The project in a folder of its own; `words` are added to the command, `settings` come after the file's lines."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.conf = top / "app.conf"
        self.feeds = [top / "feed"]
        self.rootfs = top / "rootfs"
        self.deploy = top / "deploy"
        self.cache = top / "cache"
        self.words: list[object] = []
        self.env: dict[str, str] = {}

    def make(self) -> None:
        self.conf.write_text(CONF)
        self.write_feed(packages())
        for path, data in (("opt/conf/a", "a"), ("opt/conf/sub/b", "b"), ("etc/motd", "hi"), ("var/other", "other")):
            self.write(f"rootfs/{path}", data)
        (self.rootfs / "opt/conf/link").symlink_to("a")
        os.link(self.rootfs / "opt/conf/sub/b", self.rootfs / "opt/conf/sub/c")
        self.write("files/hello", "hello")
        self.age()
        self.make_base({"usr/lib/os-release": "ID=os\n"})

    def make_base(self, files: dict[str, str], **settings: str) -> None:
        shutil.rmtree(self.top / "os", ignore_errors=True)
        shutil.rmtree(self.top / "os-files", ignore_errors=True)
        for path, data in files.items():
            self.write(f"os-files/{path}", data)
        lines = [f'{name} = "{value}"\n' for name, value in settings.items()]
        (self.top / "os.conf").write_text("".join(lines))
        words = ["--rootfs", self.top / "os-files", "--set", "OCI_LAYER_CACHE=0"]
        tools.build(self.top / "os.conf", self.top / "os", *words)

    def write(self, path: str, data: str, mode: int = 0o644) -> Path:
        found = self.top / path
        found.parent.mkdir(parents=True, exist_ok=True)
        found.write_text(data)
        found.chmod(mode)
        return found

    def age(self) -> None:
        """All files of the rootfs have one time."""
        for path in [self.rootfs, *sorted(self.rootfs.rglob("*"))]:
            os.utime(path, (EARLIER, EARLIER), follow_symlinks=False)

    def write_feed(self, made: dict[str, Made], *, index: str = "Packages") -> None:
        shutil.rmtree(self.feeds[0], ignore_errors=True)
        self.feeds[0].mkdir()
        for each in made.values():
            (self.feeds[0] / each.name).write_bytes(each.data)
        if index:
            data = index_of(made.values())
            (self.feeds[0] / index).write_bytes(gzip.compress(data) if index.endswith(".gz") else data)

    def replace(self, name: str, *args: Any, **fields: Any) -> None:
        """Another package of that name in place of the one there is, and the index made anew."""
        self.write_feed({**packages(), name: package(name, *args, **fields)})

    def set(self, *lines: str) -> None:
        self.conf.write_text(self.conf.read_text() + "".join(f"{line}\n" for line in lines))

    def edit(self, old: str, new: str) -> None:
        text = self.conf.read_text()
        assert old in text
        self.conf.write_text(text.replace(old, new))

    def build(self, *words: object) -> dict[str, Any]:
        feeds = [word for each in self.feeds for word in ("--feed", each)]
        words = ("--rootfs", self.rootfs, "-q", *feeds, *self.words, *words)
        return tools.build(self.conf, self.deploy, *words, env=tools.environment(**self.env))

    def misses(self) -> tuple[dict[str, str], str]:
        """The layers that are made, each with the reason, and the manifest's digest."""
        report = self.build("--cache-dir", self.cache)
        caches = {layer["name"]: layer["cache"] for layer in report["layers"] if "cache" in layer}
        return {name: told["reason"] for name, told in caches.items() if not told["hit"]}, report["image"]["digest"]


Change = Callable[[Project], object]


class Case(NamedTuple):
    """A change, the layers that must be made for it, what the first one's reason says, the kind of database."""

    change: Change
    made: set[str]
    reason: str = ""
    database: str = "status.d"


def prog(data: bytes = b"program", *, version: str = "1.0", depends: str = "libone", **facts: Any) -> Change:
    files = prog_files(data, **facts)
    return lambda p: p.replace("prog", version, files=files, Depends=depends, Recommends="extra")


def tool(script: str, **fields: str) -> Change:
    scripts = {"postinst": f"#!/bin/sh\n{script}"}
    return lambda p: p.replace("tool", files={"usr/bin/tool": b"tool"}, scripts=scripts, **fields)


def utime(project: Project, path: str, when: int) -> None:
    os.utime(project.rootfs / path, (when, when), follow_symlinks=False)


def touch_parent(change: Change) -> Change:
    """A change of what is in a folder, whose own time stays."""

    def wrapped(project: Project) -> None:
        change(project)
        project.age()

    return wrapped


def copied_feed(project: Project) -> None:
    shutil.copytree(project.feeds[0], project.top / "elsewhere")
    shutil.rmtree(project.feeds[0])
    project.feeds = [project.top / "elsewhere"]


def two_feeds(project: Project) -> None:
    shutil.copytree(project.feeds[0], project.top / "more")
    project.feeds = [project.top / "more", project.feeds[0]]


def reordered_index(project: Project) -> None:
    made = list(packages().values())
    (project.feeds[0] / "Packages").write_bytes(index_of(reversed(made)))


def reordered_layers(project: Project) -> None:
    lines = project.conf.read_text().splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if "tool:packages" in line)
    moved = lines.pop(place)
    project.conf.write_text("".join([*lines[: place - 2], moved, *lines[place - 2 :]]))


def as_archive(project: Project) -> None:
    tools.run("tar", "-C", project.rootfs, "--sort=name", "-czf", project.top / "rootfs.tar.gz", ".")
    project.rootfs = project.top / "rootfs.tar.gz"


def rewritten(project: Project) -> None:
    """Other bytes of the same size with the same time."""
    path = project.rootfs / "opt/conf/a"
    path.write_text("z")
    project.age()


def copied_anew(project: Project) -> None:
    shutil.copytree(project.rootfs, project.top / "copy", symlinks=True)
    os.unlink(project.top / "copy/opt/conf/sub/c")
    os.link(project.top / "copy/opt/conf/sub/b", project.top / "copy/opt/conf/sub/c")
    shutil.copystat(project.rootfs / "opt/conf/sub", project.top / "copy/opt/conf/sub")
    shutil.rmtree(project.rootfs)
    (project.top / "copy").rename(project.rootfs)


CASES: dict[str, Case] = {
    "nothing": Case(lambda p: None, NONE),
    "nothing, keep": Case(lambda p: None, NONE, database="keep"),
    # ---- packages
    "a package's file: other bytes": Case(prog(b"PROGRAM"), {"prog"}, "package prog 1.0: file digest"),
    "a package's file: other bytes, keep": Case(prog(b"PROGRAM"), {"prog"}, "package prog 1.0: file digest", "keep"),
    "a package's file: mode": Case(prog(mode=0o4755), {"prog"}),
    "a package's file: owner": Case(prog(uid=7), {"prog"}),
    "a package's file: time": Case(prog(mtime=6), {"prog"}),
    "a package's file: capability": Case(prog(security__capability=b"\1\0\0\2"), {"prog"}),
    "a package's file: one more": Case(prog(more=(symlink("./usr/bin/p", "prog"),)), {"prog"}),
    "a package's version": Case(prog(version="1.1"), {"prog"}, "package prog: version 1.0→1.1"),
    "a package's version, keep: the database of those above lists it": Case(
        prog(version="1.1"), {"prog", "tool"}, "package prog: version 1.0→1.1", "keep"
    ),
    "a package that another needs": Case(
        lambda p: p.replace("libone", files={"usr/lib/libone.so.1": b"LIBRARY ONE"}),
        {"prog"},
        "package libone 1.0: file digest",
    ),
    "a package that is only recommended": Case(
        lambda p: p.replace("extra", files={"usr/share/extra": b"EXTRA"}), {"prog"}, "package extra 1.0: file digest"
    ),
    "a new dependency": Case(prog(depends="libone, spare"), {"prog"}),
    "a package's description": Case(tool("", Homepage="example"), {"tool"}),
    "a package's description, without a database": Case(tool("", Homepage="example"), NONE, database="remove"),
    "a maintainer script, keep": Case(tool("true\n"), {"tool"}, database="keep"),
    "a maintainer script, where none is kept": Case(tool("true\n"), NONE),
    "a package compressed otherwise": Case(
        lambda p: p.replace(
            "core", files={"etc/core.conf": b"core\n"}, scripts={"conffiles": "/etc/core.conf\n"}, compression="gz"
        ),
        NONE,
    ),
    "a package nobody asks for": Case(lambda p: p.replace("spare", files={"usr/bin/spare": b"SPARE"}), NONE),
    "one more package in the feed": Case(
        lambda p: p.write_feed({**packages(), "new": package("new", files={"new": b""})}), NONE
    ),
    "a package the layer names besides": Case(
        lambda p: p.edit("tool:packages:tool", "tool:packages:tool,spare"), {"tool"}, "package spare 1.0: added"
    ),
    "a package the layer names that is below": Case(
        lambda p: p.edit("tool:packages:tool", "tool:packages:tool,libone"), NONE
    ),
    "NO_RECOMMENDATIONS": Case(lambda p: p.set('NO_RECOMMENDATIONS = "1"'), {"prog"}, "package extra 1.0: removed"),
    "BAD_RECOMMENDATIONS": Case(
        lambda p: p.set('BAD_RECOMMENDATIONS = "extra"'), {"prog"}, "package extra 1.0: removed"
    ),
    "PACKAGE_EXCLUDE of what nobody asks for": Case(lambda p: p.set('PACKAGE_EXCLUDE = "spare"'), NONE),
    "OCI_PACKAGE_DATABASE": Case(
        lambda p: p.set('OCI_PACKAGE_DATABASE = "keep"'), PACKAGES, "OCI_PACKAGE_DATABASE: status.d→keep"
    ),
    "a feed at another place": Case(copied_feed, NONE),
    "a feed whose index is in another order": Case(reordered_index, NONE),
    "a feed without an index": Case(lambda p: p.write_feed(packages(), index=""), NONE),
    "a feed with a compressed index": Case(lambda p: p.write_feed(packages(), index="Packages.gz"), NONE),
    "two feeds with equal packages": Case(two_feeds, NONE),
    # ---- the rootfs
    "a file of the rootfs: bytes": Case(rewritten, {"conf"}, "file /opt/conf/a: content"),
    "a file of the rootfs: size": Case(
        touch_parent(lambda p: p.write("rootfs/etc/motd", "longer")), {"motd"}, "file /etc/motd: size 2→6"
    ),
    "a file of the rootfs: mode": Case(
        lambda p: (p.rootfs / "etc/motd").chmod(0o600), {"motd"}, "file /etc/motd: mode 0644→0600"
    ),
    "a file of the rootfs: owner": Case(lambda p: os.chown(p.rootfs / "etc/motd", 5, -1), {"motd"}, "owner 0→5"),
    "a file of the rootfs: group": Case(lambda p: os.chown(p.rootfs / "etc/motd", -1, 6), {"motd"}, "group 0→6"),
    "a file of the rootfs: time": Case(lambda p: utime(p, "etc/motd", EARLIER + 1), {"motd"}, "file /etc/motd: time"),
    "a file of the rootfs: attribute": Case(
        lambda p: os.setxattr(p.rootfs / "etc/motd", "user.a", b"1"), {"motd"}, "file /etc/motd: attributes"
    ),
    "a link of the rootfs": Case(
        touch_parent(lambda p: ((p.rootfs / "opt/conf/link").unlink(), (p.rootfs / "opt/conf/link").symlink_to("b"))),
        {"conf"},
        "symlink /opt/conf/link: target a→b",
    ),
    "a new file in a folder": Case(
        touch_parent(lambda p: p.write("rootfs/opt/conf/new", "")), {"conf"}, "file /opt/conf/new: added"
    ),
    "a file less in a folder": Case(
        touch_parent(lambda p: (p.rootfs / "opt/conf/a").unlink()), {"conf"}, "file /opt/conf/a: removed"
    ),
    "a file in place of a hard link": Case(
        touch_parent(lambda p: ((p.rootfs / "opt/conf/sub/c").unlink(), p.write("rootfs/opt/conf/sub/c", "b"))),
        {"conf"},
        "file /opt/conf/sub/c: hard link to",
    ),
    "a folder's mode": Case(
        lambda p: (p.rootfs / "opt/conf/sub").chmod(0o700), {"conf"}, "directory /opt/conf/sub: mode"
    ),
    "a folder above what is taken": Case(lambda p: (p.rootfs / "opt").chmod(0o700), {"conf"}, "directory /opt: mode"),
    "a file that no layer takes": Case(touch_parent(lambda p: p.write("rootfs/var/other", "changed")), NONE),
    "a time later than the epoch": Case(lambda p: utime(p, "etc/motd", EPOCH + 5), {"motd"}),
    "the rootfs copied anew": Case(copied_anew, NONE),
    "the rootfs as an archive": Case(as_archive, NONE),
    # ---- the host
    "a file of the host: bytes": Case(lambda p: p.write("files/hello", "HELLO"), {"host"}, "file /srv/hello: content"),
    "a file of the host: executable": Case(
        lambda p: p.write("files/hello", "hello", 0o755), {"host"}, "file /srv/hello: mode"
    ),
    "a file of the host: umask": Case(lambda p: p.write("files/hello", "hello", 0o600), NONE),
    "a file of the host: owner": Case(lambda p: os.chown(p.top / "files/hello", 7, 7), NONE),
    "a file of the host: time": Case(lambda p: os.utime(p.top / "files/hello", (1, 1)), NONE),
    "OCI_HOST_OWNER": Case(lambda p: p.set('OCI_HOST_OWNER = "7:8"'), {"host"}, "owner 0→7"),
    "a source at another place": Case(
        lambda p: (p.write("other/hello", "hello"), p.edit("host:files/hello", "host:other/hello")), NONE
    ),
    "another destination": Case(lambda p: p.edit("hello:/srv/", "hello:/opt/"), {"host"}),
    # ---- what lies below
    "a base with another label": Case(
        lambda p: p.make_base({"usr/lib/os-release": "ID=os\n"}, OCI_IMAGE_LABELS="a=b"), NONE
    ),
    "a base with another file": Case(lambda p: p.make_base({"usr/lib/os-release": "ID=os\n", "srv2/x": "x"}), NONE),
    "a base that has a layer's file": Case(
        lambda p: p.make_base({"usr/lib/os-release": "ID=os\n", "opt/conf/a": "a"}),
        {"conf"},
        "file /opt/conf/a: removed",
    ),
    "a lower layer that has an upper one's file": Case(
        lambda p: p.edit("motd:files", "early:host:files/hello:/srv/ motd:files"), NONE
    ),
    # ---- what decides every layer
    "the compressor's level": Case(
        lambda p: p.set('OCI_LAYER_COMPRESSION = "gzip:1"'), EVERY, "compressor zlib: level 4→1"
    ),
    "another compressor": Case(
        lambda p: p.set('OCI_LAYER_COMPRESSOR = "zlib-ng"'), EVERY, "compressor: library zlib 1"
    ),
    "no compressor": Case(
        lambda p: p.set('OCI_LAYER_COMPRESSION = "none"', 'OCI_LAYER_COMPRESSOR = "auto"'), EVERY, "compressor: library"
    ),
    "the epoch, where times are written": Case(
        lambda p: p.set('SOURCE_DATE_EPOCH = "1700000001"'),
        {*PACKAGES, "host"},
        "SOURCE_DATE_EPOCH: 1700000000→1700000001",
    ),
    "an epoch earlier than all times": Case(lambda p: p.set('SOURCE_DATE_EPOCH = "1"'), EVERY, "SOURCE_DATE_EPOCH"),
    "accounts": Case(lambda p: p.set('OCI_IMAGE_ACCOUNTS = "user:app:500"'), {"host"}, "file /etc/group: added"),
    "rules of paths": Case(lambda p: p.set('OCI_IMAGE_PATHS = "/etc/motd:0640::"'), {"host"}, "file /etc/motd: added"),
    # ---- what decides no layer
    "labels": Case(lambda p: p.set('OCI_IMAGE_LABELS = "a=b"'), NONE),
    "annotations": Case(lambda p: p.set('OCI_IMAGE_ANNOTATIONS = "a=b"'), NONE),
    "how the image runs": Case(
        lambda p: p.set('OCI_IMAGE_CMD = "/usr/bin/prog"', 'OCI_IMAGE_ENV_VARS = "A=1"', 'OCI_IMAGE_RUNTIME_UID = "5"'),
        NONE,
    ),
    "the author": Case(lambda p: p.set('OCI_IMAGE_AUTHOR = "somebody"'), NONE),
    "the version": Case(lambda p: p.set('PV = "2"'), NONE),
    "the tag": Case(lambda p: p.set('OCI_IMAGE_TAG = "2"'), NONE),
    "the name": Case(lambda p: p.set('IMAGE_BASENAME = "shop"'), NONE),
    "a layer's name": Case(lambda p: p.edit("motd:files", "message:files"), NONE),
    "the order of layers": Case(reordered_layers, NONE),
    "a layer less": Case(lambda p: p.edit("    prog:packages:prog \\\n", ""), NONE),
    "a comment": Case(lambda p: p.set("# a comment"), NONE),
    "archives": Case(lambda p: p.set('OCI_IMAGE_TAR_OUTPUT = "1"', 'OCI_IMAGE_TAR_COMPRESSION = "gz"'), NONE),
    "another deploy folder": Case(lambda p: setattr(p, "deploy", p.top / "out"), NONE),
    "another number of threads": Case(lambda p: p.words.extend(["--jobs", "7"]), NONE),
    "--paranoid": Case(lambda p: p.words.append("--paranoid"), NONE),
    "locale and time zone": Case(lambda p: p.env.update(LC_ALL="C", TZ="Asia/Tokyo"), NONE),
}


@pytest.fixture(scope="module")
def warm(room: Path) -> Callable[[str], Path]:
    """A project whose cache holds every layer, by the kind of its packages' database."""
    tools.need_root()
    found: dict[str, Path] = {}

    def project(database: str) -> Path:
        if database not in found:
            made = Project(room / f"changes-{database.replace('.', '')}")
            made.top.mkdir()
            made.make()
            made.set(f'OCI_PACKAGE_DATABASE = "{database}"')
            assert made.misses()[0].keys() == EVERY
            found[database] = made.top
        return found[database]

    return project


@pytest.fixture
def place(folder: Path) -> Path:
    return folder / "project"


@pytest.mark.parametrize("name", CASES)
def test_a_change_makes_the_layers_it_touches(name: str, warm: Callable[[str], Path], place: Path) -> None:
    change, made, reason, database = CASES[name]
    tools.run("cp", "-a", warm(database), place)
    project = Project(place)
    change(project)
    found, digest = project.misses()
    assert found.keys() == made, json.dumps(found, indent=1)
    if reason:
        assert all(reason in told for told in found.values()) or reason in found[min(made)], found
    assert project.build("--set", "OCI_LAYER_CACHE=0")["image"]["digest"] == digest
    # And what was made is there from now on.
    assert project.misses() == ({}, digest)


def test_enough_changes_are_looked_at() -> None:
    assert sum(bool(each.made) for each in CASES.values()) >= 35
    assert sum(not each.made for each in CASES.values()) >= 30
