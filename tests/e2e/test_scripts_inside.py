# SPDX-License-Identifier: MIT
"""Scripts of ipk and rpm packages that run in the image itself: as opkg and rpm run them there."""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support import compare, installed, merge, namespaces, tools
from support.containers import install, with_program
from support.managers import DATABASES, MANAGERS, Image, Kit, write_feed
from support.scripted import ACCOUNTS, alternatives_of_opkg_utils, calling, editor, script, shell
from support.sources import Source, file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

APPLETS = ("basename", "cat", "chmod", "chown", "cp", "cut", "dirname", "echo", "env", "expr", "false", "grep", "head")
APPLETS += ("id", "ln", "ls", "mkdir", "mktemp", "mv", "printf", "pwd", "readlink", "rm", "sed", "sh", "sort", "stat")
APPLETS += ("tail", "test", "touch", "tr", "true", "uniq", "wc")
TOOLS = {"ipk": ("opkg", "install"), "rpm": ("rpm", "--dbpath", "/var/lib/rpm", "-U")}
# What would tell of a folder, or be of another format.
SHOWN = 'echo "[${D-}${OFFLINE_ROOT-}${IPKG_OFFLINE_ROOT-}${OPKG_OFFLINE_ROOT-}${DPKG_ROOT-}] ${PKG_ROOT-} $(pwd)"'

WORDS = {
    "ipk": {
        "preinst": ["preinst 1.0-1: install", "preinst 2.0-1: upgrade 1.0-1"],
        "postinst": ["postinst 1.0-1: configure", "postinst 2.0-1: configure"],
        "prerm": ["prerm 1.0-1: upgrade 2.0-1"],
        "postrm": ["postrm 1.0-1: upgrade 2.0-1"],
    },
    "rpm": {
        "preinst": ["preinst 1.0-1: 1", "preinst 2.0-1: 2"],
        "postinst": ["postinst 1.0-1: 1", "postinst 2.0-1: 2"],
        "prerm": ["prerm 1.0-1: 1"],
        "postrm": ["postrm 1.0-1: 1"],
    },
}
TRIGGERED = [
    *("triggerprein 0 1", "triggerin 1 1"),
    *("triggerprein 1 1", "triggerin 1 2", "filetriggerin", "/usr/share/heard/web"),
    *("triggerun 1 1", "triggerpostun 1 1", "transfiletriggerin", "/usr/share/heard/web"),
]


class System(NamedTuple):
    """A base image with a shell, and the format's own tool where there is one; and what builds on top of it."""

    kit: Kit
    base: Path

    def build(self, name: str, layers: str, *feeds: Path, lines: Iterable[str] = (), **options: Any) -> Image:
        return self.kit.build(name, layers, *feeds, lines=self.lines(lines), **options)

    def refuse(self, name: str, layers: str, *feeds: Path) -> str:
        return self.kit.refuse(name, layers, *feeds, lines=self.lines())

    def lines(self, more: Iterable[str] = ()) -> list[str]:
        return [f'OCI_BASE_IMAGE = "{self.base}"', *more]


@pytest.fixture(scope="module", params=TOOLS)
def system(request, room) -> System:
    tools.need_root()
    tools.need("bwrap", "busybox")
    kind = request.param
    place = room / f"inside-{kind}"
    root = place / "rootfs"
    for name in ("bin", "etc/opkg", "dev", "proc", "run", "tmp", "usr/bin", "usr/lib", "var/lib", "var/run", "var/tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "", root / "bin")
    for name in APPLETS:
        (root / "bin" / name).symlink_to("busybox")
    if shutil.which(TOOLS[kind][0]):
        with_program(root, TOOLS[kind][0])
    if kind == "rpm":
        shutil.copytree("/usr/lib/rpm", root / "usr/lib/rpm", symlinks=True)
    (root / "etc/opkg/opkg.conf").write_text("dest root /\narch all 1\n", encoding="utf-8")
    (place / "base.conf").write_text("", encoding="utf-8")
    tools.build(place / "base.conf", place / "base", "--rootfs", root)
    return System(Kit(MANAGERS[f"{kind} with scripts"]._replace(scripts="run:chroot"), place), place / "base/base-oci")


# ---- held against the tools


def layers_of(kind: str) -> dict[str, list[Source]]:
    """Packages by the layers that bring them."""
    chain = [ordered("a", "b"), ordered("b", "c"), ordered("c")]
    accounts = Source("accounts", files=[file("/usr/share/accounts")], scripts={"preinst": script(ACCOUNTS)})
    low = [*base_shell(kind), *chain, accounts, dataclasses.replace(calling("1.0-1"), depends=["a"])]
    where = Source("where", files=[file("/usr/share/where")], scripts={"postinst": script(f"{SHOWN} >>/var/where")})
    owned = file("/srv/page", mode=0o4750, user="app", group="app")
    web = Source("web", files=[owned, file("/usr/share/heard/web")], depends=["accounts", "lib >= 2.0"])
    more = [watch(), program()] if kind == "rpm" else []
    return {"low": low, "middle": [where, *more], "high": [calling("2.0-1"), web, *([last()] if kind == "rpm" else [])]}


def base_shell(kind: str) -> list[Source]:
    """What rpm must know of the shell that the base has."""
    return [Source("base-shell", provides=["/bin/sh"])] if kind == "rpm" else []


def ordered(name: str, *needs: str) -> Source:
    """A package whose scripts note that they run; the last one, that all it needs is there."""
    scripts = {each: script(f"echo {name} {each} >>/var/{each}") for each in ("preinst", "postinst")}
    scripts["postinst"] += "".join(f"test -e /usr/share/{one}\n" for one in (name, *needs))
    return Source(name, files=[file(f"/usr/share/{name}")], scripts=scripts, depends=needs)


def last() -> Source:
    """A package with the other scripts of rpm, one of which is no more than a program."""
    scripts = {name: script(f'echo {name} "$@" >>/var/last') for name in ("pretrans", "posttrans")}
    return Source("last", depends=["web"], scripts={**scripts, "postinst -p /bin/program": ""})


def program() -> Source:
    return Source("program", files=[file("/bin/program", script('echo program "$@" >>/var/last').encode(), mode=0o755)])


def watch() -> Source:
    """A package with triggers of all kinds, on another one and on files."""
    on = ("triggerprein", "triggerin", "triggerun", "triggerpostun")
    scripts = {f"{name} -- lib": f'echo {name} "$@" >>/var/triggers' for name in on}
    # What words these get rpm changed in between.
    for name in ("filetriggerin", "transfiletriggerin"):
        scripts[f"{name} -- /usr/share/heard"] = f"echo {name} >>/var/triggers; cat >>/var/triggers"
    return Source("watch", scripts=scripts)


@pytest.fixture(scope="module")
def feeds(system) -> dict[str, dict[str, Path]]:
    """The packages of each layer by name, in a folder of its own."""
    found = layers_of(system.kit.manager.kind)
    return {name: write_feed(system.kit.manager, system.kit.folder / name, found[name]) for name in found}


@pytest.fixture(scope="module")
def image(system, feeds) -> Image:
    return system.build("all", layers(feeds), *folders(feeds))


def layers(feeds: dict[str, dict[str, Path]]) -> str:
    return " ".join(f"{name}:packages:{','.join(made)}" for name, made in feeds.items())


def folders(feeds: dict[str, dict[str, Path]]) -> list[Path]:
    return [next(iter(made.values())).parent for made in feeds.values()]


def test_what_happens_is_what_the_tool_does_inside(system, feeds, image, folder):
    kind = system.kit.manager.kind
    tools.need(TOOLS[kind][0])
    tools.oe_oci("unpack", system.base, folder / "root")
    for made in feeds.values():
        install(folder / "root", *made.values(), by=TOOLS[kind])
    compare.assert_same(merge.without(compare.listing(folder / "root"), *DATABASES), image.tree)


def test_in_which_order_with_which_words(system, image):
    kind = system.kit.manager.kind
    assert image.text("var/where") == ("[] / /\n" if kind == "ipk" else "[]  /\n")
    words = WORDS[kind]
    before = ["c preinst", "b preinst", "a preinst"]
    after = ["c postinst", "b postinst", "a postinst"]
    assert image.text("var/preinst").splitlines() == [*before, *words["preinst"]]
    assert image.text("var/postinst").splitlines() == [*after, *words["postinst"]]
    assert image.text("var/prerm").splitlines() == words["prerm"]
    assert image.text("var/postrm").splitlines() == words["postrm"]
    facts = image.tree[b"srv/page"]
    assert (facts.mode, facts.uid, facts.gid) == ("4750", 777, 778)
    if kind == "rpm":
        assert image.text("var/last") == "pretrans 1\nprogram\nposttrans 1\n"
        assert image.text("var/triggers").splitlines() == TRIGGERED


def test_an_ordinary_user_gets_the_same(system, feeds, image, product, folder):
    (folder / "user").mkdir()
    tools.give_to_nobody(folder / "user")
    kit = system.kit._replace(folder=folder)
    user = {"before": [*namespaces.as_user_with_ids(folder / "ids"), *product.words()], "env": product.environment()}
    theirs = kit.build("user", layers(feeds), *folders(feeds), lines=system.lines(), **user)
    compare.assert_same(image.tree, theirs.tree, times=True)
    assert theirs.digests() == image.digests()


# ---- what is not there yet


def test_accounts_of_scripts_that_wait_for_a_shell_own_files(system, folder):
    """All is in one layer, on nothing."""
    kit = system.kit._replace(folder=folder)
    adds = Source(
        "adds", depends=["shell"], scripts={"preinst": script(ACCOUNTS), "postinst": script("ls -l /srv/page >/seen")}
    )
    owned = Source("owned", files=[file("/srv/page", mode=0o4750, user="app", group="app")], depends=["adds"])
    feed = kit.feed("feed", shell(), adds, owned)
    image = kit.build("one", "all:packages:owned", feed)
    facts = image.tree[b"srv/page"]
    assert (facts.mode, facts.uid, facts.gid) == ("4750", 777, 778)
    assert image.text("seen").split()[2:4] == ["app", "app"]
    # Nor does any of it run again, where the layer alone is written anew.
    lines, env = ['OCI_LAYER_COMPRESSION = "none"'], tools.environment(PATH=str(folder))
    again = kit.build("two", "all:packages:owned", feed, lines=lines, cache="one", env=env)
    assert again.layer("all")["diffId"] == image.layer("all")["diffId"]


def test_a_script_waits_for_what_its_package_needs_before(system, folder):
    kit = system.kit._replace(folder=folder)
    tool = Source("tool", files=[file("/bin/adds", script(ACCOUNTS).encode(), mode=0o755)])
    needs = Source(
        "needs",
        files=[file("/srv/page", user="app", group="app")],
        early=["tool"],
        scripts={"preinst": "#!/bin/sh\nadds\n"},
    )
    image = kit.build(
        "one", "all:packages:needs", kit.feed("feed", tool, needs, *base_shell(kit.manager.kind)), lines=system.lines()
    )
    assert (image.tree[b"srv/page"].uid, image.tree[b"srv/page"].gid) == (777, 778)


@pytest.mark.parametrize("when", ["preinst", "postinst"])
def test_a_program_that_is_missing_is_told_with_where_to_have_it(system, folder, when):
    kit = system.kit._replace(folder=folder)
    app = Source("app", files=[file("/usr/share/app")], scripts={when: script("echo so far; useradd app")})
    feed = kit.feed("feed", app, *base_shell(kit.manager.kind))
    said = kit.refuse("one", "shop:packages:app", feed, lines=system.lines())
    name = {"preinst": "prein", "postinst": "postin"}[when] if kit.manager.kind == "rpm" else when
    assert f"layer 'shop': app: its {name} ended with status 127" in said
    assert "so far\n" in said
    assert "useradd: not found" in said
    assert ("in a layer below" if when == "preinst" else "in this layer or in one below") in said


def test_an_image_without_a_shell_is_told(system, folder):
    kit = system.kit._replace(folder=folder)
    app = Source("app", files=[file("/usr/share/app")], scripts={"postinst": script("true")})
    said = kit.refuse("one", "shop:packages:app", kit.feed("feed", app, *base_shell(kit.manager.kind)))
    name = "postin" if kit.manager.kind == "rpm" else "postinst"
    assert f"layer 'shop': app: its {name} needs /bin/sh in the image, which has none" in said
    assert '"run:offline" for the shell of this machine' in said


# busybox has an rpm of its own, which it would rather take.
QUERIES = {
    "ipk": "opkg list-installed",
    "rpm": "/bin/rpm --dbpath /var/lib/rpm -qa --qf '%%{name} - %%{version}-%%{release}\\n' | sort",
}


PLACE = {kind: f"{place}/".encode() for kind, place in installed.DATABASES.items()}


@pytest.mark.parametrize("database", ["keep", "top"])
def test_scripts_see_the_database_whatever_becomes_of_it(system, folder, database):
    kind = system.kit.manager.kind
    tools.need(TOOLS[kind][0])
    kit = system.kit._replace(folder=folder)
    first = Source("first", files=[file("/usr/share/first")])
    looks = {"preinst": script(f"{QUERIES[kind]} >/before"), "postinst": script(f"{QUERIES[kind]} >/after")}
    second = Source("second", files=[file("/usr/share/second")], scripts=looks)
    feed = kit.feed("feed", first, second, *base_shell(kind))
    layers = f"one:packages:first{',base-shell' if kind == 'rpm' else ''} two:packages:second"
    lines = system.lines([f'OCI_PACKAGE_DATABASE = "{database}"'])
    image = kit.build("one", layers, feed, lines=lines)
    below = ["base-shell - 1.0-1", "first - 1.0-1"][kind == "ipk" :]
    assert image.text("before").splitlines() == below
    assert image.text("after").splitlines() == [*below, "second - 1.0-1"]
    # Nor do they leave anything there.
    skipped = kit.build("none", layers, feed, lines=[*lines, 'OCI_PACKAGE_SCRIPTS = "skip"'])
    trees = (merge.read_image(one.layout).merged for one in (image, skipped))
    own, plain = ({path: facts for path, facts in tree.items() if path.startswith(PLACE[kind])} for tree in trees)
    compare.assert_same(plain, own)
    assert own


@pytest.mark.parametrize("system", ["ipk"], indirect=True)
@pytest.mark.parametrize("database", ["keep", "remove"])
def test_alternatives_by_the_program_of_the_image(system, folder, database):
    """Two editors in two layers, and a third layer with a version of the better one that is none any more."""
    tools.need("opkg")
    kit = system.kit._replace(folder=folder)
    own = Source("own", files=[file("/usr/bin/update-alternatives", alternatives_of_opkg_utils(), mode=0o755)])
    user = Source("user", files=[file("/usr/share/user")], depends=["nano >= 2.0"])
    found = [[own, editor("vim", 50)], [editor("nano", 100)], [editor("nano", 100, "2.0-1", ours=False), user]]
    feeds = {f"feed{at}": write_feed(kit.manager, folder / f"feed{at}", each) for at, each in enumerate(found)}
    lines = system.lines([f'OCI_PACKAGE_DATABASE = "{database}"'])
    layers = "low:packages:own,vim middle:packages:nano high:packages:user"
    image = kit.build("one", layers, *folders(feeds), lines=lines)
    tree = merge.read_image(image.layout).merged
    assert tree[b"usr/bin/vi"].target == b"/usr/bin/vim"
    if database == "remove":
        assert not [path for path in tree if b"usr/lib/opkg" in path]
        return
    tools.oe_oci("unpack", system.base, folder / "root")
    for made in feeds.values():
        install(folder / "root", *made.values(), by=TOOLS["ipk"])
    trees = compare.listing(folder / "root"), tree
    compare.assert_same(*(merge.without(each, b"var/lib/opkg") for each in trees))
