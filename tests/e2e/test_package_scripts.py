# SPDX-License-Identifier: MIT
"""What scripts of packages do to an image: the same by the built-in installer as by a package manager itself, whoever
builds, and nothing to this machine."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import socket
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support import compare, merge, namespaces, sandboxes, sources, tools
from support.managers import MANAGERS, Image, Kit
from support.scripted import ACCOUNTS, CALLED, calling, editor, noting, script, shell
from support.sources import Source, file

if TYPE_CHECKING:
    from pathlib import Path

SCRIPTED = [name for name, manager in MANAGERS.items() if manager.scripts.startswith("run")]
NATIVES = {"ipk": "opkg", "rpm": "dnf"}
OPKG_OWN = (b"info", b"status", b"lists")


class Pair(NamedTuple):
    """A package manager itself and the built-in installer, with the same feeds."""

    native: Kit
    builtin: Kit

    def feed(self, name: str, *found: Source) -> Path:
        more = [shell()] if self.native.manager.kind == "rpm" else []
        return self.native.feed(name, *found, *more)

    def same(self, name: str, layers: str, *feeds: Path, **options: Any) -> Image:
        """The image of the built-in installer, which is the same as that of the package manager."""
        images = [kit.build(name, layers, *feeds, **options) for kit in self]
        compare.assert_same(*(image.tree for image in images))
        return images[1]


@pytest.fixture(params=NATIVES)
def pair(request, folder) -> Pair:
    tools.need_root()
    native, builtin = MANAGERS[NATIVES[request.param]], MANAGERS[f"{request.param} with scripts"]
    tools.need(*native.programs, *builtin.programs)
    for name in ("native", "builtin"):
        (folder / name).mkdir()
    return Pair(Kit(native, folder / "native"), Kit(builtin, folder / "builtin"))


@pytest.fixture(params=SCRIPTED)
def kit(request, folder) -> Kit:
    tools.need_root()
    manager = MANAGERS[request.param]
    tools.need(*manager.programs)
    return Kit(manager, folder)


def feed_of(kit: Kit, name: str, *found: Source) -> Path:
    return kit.feed(name, *found, *([shell()] if kit.manager.kind == "rpm" else []))


# ---- what they make


def test_what_scripts_write(pair):
    makes = script(
        "umask 022; cd $D/; mkdir -p etc srv/deep; echo one >etc/one; chmod 640 etc/one; chown 7:8 etc/one\n"
        "echo two >srv/two; chmod 4755 srv/two; ln -s ../one etc/link; ln srv/two srv/deep/three; mkfifo srv/pipe\n"
        "mkdir -m 1777 srv/tmp; chown 33:34 srv/deep; chmod 2750 srv/deep; echo more >>usr/share/app; rm usr/share/gone"
    )
    app = Source("app", files=[file("/usr/share/app"), file("/usr/share/gone")], scripts={"postinst": makes})
    image = pair.same("one", "app:packages:app", pair.feed("feed", app))
    tree = image.tree
    assert (tree[b"etc/one"].mode, tree[b"etc/one"].uid, tree[b"etc/one"].gid) == ("0640", 7, 8)
    assert tree[b"srv/two"].mode == "4755"
    assert tree[b"srv/two"].names == {b"srv/two", b"srv/deep/three"}
    assert (tree[b"srv/deep"].mode, tree[b"srv/deep"].uid, tree[b"srv/deep"].gid) == ("2750", 33, 34)
    assert (tree[b"srv/pipe"].kind, tree[b"etc/link"].target, tree[b"srv/tmp"].mode) == ("fifo", b"../one", "1777")
    assert image.text("usr/share/app") == "content\nmore\n"
    assert b"usr/share/gone" not in tree


def test_before_files_are_placed_and_after_in_the_order_of_needs(pair):
    chain = [noting("a", depends=["b"]), noting("b", depends=["c"]), noting("c")]
    image = pair.same("one", "app:packages:a", pair.feed("feed", *chain))
    assert image.text("var/preinst") == "c preinst\nb preinst\na preinst\n"
    lines = [f"{name} postinst\n{name} is there\n" for name in "cba"]
    assert image.text("var/postinst") == "".join(lines)
    three = pair.same("three", "x:packages:c y:packages:b z:packages:a", pair.feed("feed", *chain))
    compare.assert_same(image.tree, three.tree)


UPGRADES = [("layer", "keep"), ("layer", "top"), ("layer", "remove"), ("base", "keep"), ("base", "top")]


@pytest.mark.parametrize(("below", "database"), UPGRADES)
def test_an_upgrade(pair, below, database):
    user = Source("user", files=[file("/usr/share/user")], depends=["lib >= 2.0"])
    old, new = pair.feed("old", calling("1.0-1")), pair.feed("new", calling("2.0-1"), user)
    lines = [f'OCI_PACKAGE_DATABASE = "{database}"']
    if below == "layer":
        image = pair.same("one", "low:packages:lib high:packages:user", old, new, lines=lines)
    else:
        for kit in pair:
            kit.build("base", "low:packages:lib", old, lines=lines)
        lines += ['OCI_BASE_IMAGE = "../base/deploy/app-oci"']
        image = pair.same("one", "high:packages:user", new, lines=lines)
    found = {name: image.text(f"var/{name}") for name in CALLED}
    if pair.builtin.manager.kind == "ipk":
        assert found == {
            "preinst": "preinst 1.0-1: install\npreinst 2.0-1: upgrade 1.0-1\n",
            "postinst": "postinst 1.0-1: configure\npostinst 2.0-1: configure\n",
            "prerm": "prerm 1.0-1: upgrade 2.0-1\n",
            "postrm": "postrm 1.0-1: upgrade 2.0-1\n",
        }
    else:
        assert found == {
            "preinst": "preinst 1.0-1: 1\npreinst 2.0-1: 2\n",
            "postinst": "postinst 1.0-1: 1\npostinst 2.0-1: 2\n",
            "prerm": "prerm 1.0-1: 1\n",
            "postrm": "postrm 1.0-1: 1\n",
        }


@pytest.mark.parametrize(("below", "database"), [*UPGRADES, ("layer", "status.d")])
def test_an_upgrade_of_a_deb(folder, below, database):
    tools.need_root()
    tools.need("bwrap")
    kit = Kit(MANAGERS["deb with scripts"], folder)
    user = Source("user", files=[file("/usr/share/user")], depends=["lib >= 2.0"])
    old, new = kit.feed("old", calling("1.0-1")), kit.feed("new", calling("2.0-1"), user)
    lines = [f'OCI_PACKAGE_DATABASE = "{database}"']
    if below == "layer":
        image = kit.build("one", "low:packages:lib high:packages:user", old, new, lines=lines)
    else:
        kit.build("base", "low:packages:lib", old, lines=lines)
        lines += ['OCI_BASE_IMAGE = "../base/deploy/app-oci"']
        image = kit.build("one", "high:packages:user", new, lines=lines)
    assert {name: image.text(f"var/{name}") for name in CALLED} == {
        "preinst": "preinst 1.0-1: install\npreinst 2.0-1: upgrade 1.0-1 2.0-1\n",
        "postinst": "postinst 1.0-1: configure \npostinst 2.0-1: configure 1.0-1\n",
        "prerm": "prerm 1.0-1: upgrade 2.0-1\n",
        "postrm": "postrm 1.0-1: upgrade 2.0-1\n",
    }


# ---- what fails


def test_a_script_that_fails(pair):
    bad = script("i=0; while test $i -lt 40; do echo line $i; i=$((i+1)); done; echo it is broken >&2; exit 7")
    for name in ("preinst", "postinst"):
        app = Source("app", files=[file("/usr/share/app")], depends=["lib"], scripts={name: bad})
        lib = Source("lib", files=[file("/usr/share/lib")])
        feed = pair.feed(name, app, lib)
        for kit in pair:
            said = kit.refuse(f"bad {name}", "low:packages:lib shop:packages:app", feed)
            assert "layer 'shop'" in said
            assert "app: its " in said
            assert "it is broken" in said
            assert "Traceback" not in said
        assert "ended with status 7" in said


def test_outputs_of_an_earlier_build_stay(kit):
    good = Source("app", files=[file("/usr/share/app")])
    bad = Source("app", files=[file("/usr/share/app")], scripts={"postinst": script("exit 3")})
    kit.build("one", "app:packages:app", feed_of(kit, "good", good))
    deploy = kit.folder / "one" / "deploy"
    before = compare.contents(deploy)
    done = kit.run("build", "one", "app:packages:app", feed_of(kit, "bad", bad), status=3)
    which = "postin" if kit.manager.kind == "rpm" else "postinst"
    assert f"layer 'app': app: its {which} ended with status 3" in done.stderr
    assert "it says nothing" in done.stderr
    assert compare.contents(deploy) == before


# ---- accounts


def test_accounts_that_a_script_adds_own_files_of_other_packages(pair):
    owned = file("/srv/page", mode=0o4750, user="app", group="app")
    app = Source("app", files=[file("/usr/share/app")], depends=["accounts"])
    web = Source("web", files=[owned], depends=["accounts"])
    adds = Source(
        "accounts",
        files=[file("/usr/share/accounts")],
        scripts={"preinst": script(ACCOUNTS)},
    )
    for number, layers in enumerate(("all:packages:web,app", "low:packages:accounts high:packages:web")):
        image = pair.same(f"n{number}", layers, pair.feed("feed", adds, app, web))
        facts = image.tree[b"srv/page"]
        assert (facts.mode, facts.uid, facts.gid) == ("4750", 777, 778)


# ---- who builds


class Builder(NamedTuple):
    """Someone who runs builds: the words before a command, and the variables."""

    words: list[object]
    env: dict[str, str]
    chroots: bool = True  # whether programs may change their root


@pytest.fixture(params=["user", "fakeroot", "root under fakeroot"])
def builder(request, product, folder) -> Builder:
    """Other than root alone."""
    if request.param == "user":
        before = namespaces.as_user_with_ids(folder / "ids")
    else:
        tools.need("fakeroot")
        before = [*(tools.as_nobody() if request.param == "fakeroot" else ()), "fakeroot"]
    return Builder([*before, *product.words()], product.environment(), chroots=request.param != "fakeroot")


def run_by(builder: Builder, kit: Kit, name: str, layers: str, *feeds: Path, **options: Any) -> tools.Done:
    place = kit.folder / name
    place.mkdir()
    tools.give_to_nobody(place)
    return kit.run("build", name, layers, *feeds, before=builder.words, env=builder.env, **options)


def built_by(builder: Builder, kit: Kit, name: str, layers: str, *feeds: Path) -> Image:
    done = run_by(builder, kit, name, layers, *feeds)
    return Image(kit.manager, json.loads(done.stdout), kit.folder / name)


def test_whoever_builds_makes_the_same(kit, builder):
    makes = script(
        f"{ACCOUNTS}\ncd $D; umask 022; mkdir -p srv; echo one >srv/one; chown 7:8 srv/one; chmod 4750 srv/one\n"
        "mkdir -m 700 srv/closed; echo two >srv/closed/two; chmod 0 srv/closed/two; chown 33 srv/closed"
    )
    app = Source("app", files=[file("/usr/share/app")], depends=["lib"], scripts={"preinst": makes})
    lib = Source(
        "lib",
        files=[file("/usr/share/lib", user="app", group="app")],
        scripts={"postinst": script("ls -ln $D/usr/share/lib $D/srv >$D/listed; rm $D/listed; cat $D/srv/closed/two")},
    )
    more = Source(
        "more",
        files=[file("/usr/share/more")],
        scripts={"postinst": script("chown 0:3 $D/srv/one; chmod 4711 $D/srv/one; rm -r $D/srv/closed")},
    )
    feed = feed_of(kit, "feed", app, lib, more)
    layers = "low:packages:app high:packages:more"
    mine = kit.build("mine", layers, feed)
    theirs = built_by(builder, kit, "theirs", layers, feed)
    compare.assert_same(mine.tree, theirs.tree, times=True)
    assert theirs.digests() == mine.digests()
    facts = mine.tree[b"usr/share/lib"]
    assert (facts.uid, facts.gid) == (777, 778)
    assert (mine.tree[b"srv/one"].uid, mine.tree[b"srv/one"].gid) == (0, 3)


@pytest.mark.parametrize("native", ["apt", "opkg"])
def test_package_managers_under_fakeroot(product, folder, native):
    """apt runs scripts where there are intercepts for them, and has placed all files before the first of them."""
    tools.need("fakeroot", *MANAGERS[native].programs)
    hooks = folder / "hooks"
    hooks.mkdir()
    chain = [noting("a", depends=["b"]), noting("b", depends=["c"]), noting("c")]
    images, env = [], product.environment(INTERCEPT_DIR=str(hooks))
    for name in (native, f"{MANAGERS[native].kind} with scripts"):
        kit = Kit(MANAGERS[name], folder / name.replace(" ", "-"))
        kit.folder.mkdir()
        builder = Builder([*tools.as_nobody(), "fakeroot", *product.words()], env)
        images.append(built_by(builder, kit, "one", "app:packages:a", kit.feed("feed", *chain)))
    compare.assert_same(*(merge.without(image.tree, b"var/preinst") for image in images))
    lines = [[line for line in image.text("var/preinst").splitlines() if "there" not in line] for image in images]
    assert lines == [["c preinst", "b preinst", "a preinst"]] * 2


# ---- what packages of OpenEmbedded do


def alternatives(kit: Kit, name: str, database: str = "keep") -> Image:
    """Two editors in two layers, and a third layer with a version of the better one that is none any more."""
    user = Source("user", files=[file("/usr/share/user")], depends=["nano >= 2.0"])
    old = feed_of(kit, "old", editor("vim", 50), editor("nano", 100))
    new = feed_of(kit, "new", editor("nano", 100, "2.0-1", ours=False), user)
    lines = [f'OCI_PACKAGE_DATABASE = "{database}"']
    low = kit.build(f"{name}-low", "low:packages:vim,nano", old, lines=lines)
    assert low.tree[b"usr/bin/vi"].target == b"/usr/bin/nano"
    layers = "low:packages:vim high:packages:nano top:packages:user"
    return kit.build(name, layers, old, new, lines=lines)


@pytest.mark.parametrize("database", ["keep", "top", "remove"])
def test_alternatives_with_two_providers_and_a_removal(kit, database):
    image = alternatives(kit, "one", database)
    assert image.tree[b"usr/bin/vi"].target == b"/usr/bin/vim"
    kept = merge.read_image(image.layout).merged
    there = [path for path in kept if b"alternatives" in path]
    if kit.manager.kind == "ipk" and database == "remove":
        assert not there
    elif kit.manager.kind == "ipk":
        assert b"usr/lib/opkg/alternatives/vi" in there
        assert image.text("usr/lib/opkg/alternatives/vi").splitlines() == ["/usr/bin/vi", "/usr/bin/vim 50"]


@pytest.mark.parametrize("database", ["keep", "top", "remove"])
def test_alternatives_are_those_that_opkg_makes(folder, database):
    tools.need("opkg", "bwrap")
    images = []
    for name in ("opkg", "ipk with scripts"):
        kit = Kit(MANAGERS[name], folder / name.replace(" ", "-"))
        kit.folder.mkdir()
        images.append(merge.read_image(alternatives(kit, "one", database).layout).merged)
    compare.assert_same(*(merge.without(tree, *(b"var/lib/opkg/" + own for own in OPKG_OWN)) for tree in images))


def test_ldconfig_and_systemctl(kit):
    tools.need("ldconfig", "systemctl")
    unit = b"[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
    does = script("ldconfig -r $D; systemctl --root=$D enable app.service; systemctl preset --root=$D app.service")
    libraries = [
        file("/lib/libapp.so.1.0", b"none"),
        file("/etc/ld.so.conf", b""),
    ]
    app = Source("app", files=[file("/lib/systemd/system/app.service", unit), *libraries], scripts={"postinst": does})
    image = kit.build("one", "app:packages:app", feed_of(kit, "feed", app))
    assert b"etc/ld.so.cache" in image.tree
    assert b"etc/systemd/system/multi-user.target.wants/app.service" in image.tree
    assert not [path for path in image.tree if b"aux-cache" in path]
    again = kit.build("two", "app:packages:app", kit.folder / "feed")
    assert again.digests() == image.digests()


INTERCEPT = """#!/bin/sh
# What packages of OpenEmbedded call; this one knows what the tests need of it.
name=$1; shift
package=$1; shift
hook=$INTERCEPT_DIR/$name
sed -i "s/^##PKGS:.*/&$package /" $hook
chmod +x $hook
"""


@pytest.mark.parametrize("way", ["done", "failed"])
def test_intercepts(kit, way):
    hooks = kit.folder / "hooks"
    hooks.mkdir()
    (hooks / "postinst_intercept").write_text(INTERCEPT)
    (hooks / "postinst_intercept").chmod(0o755)
    last = "echo cache broken; exit 4" if way == "failed" else "ls $D/usr/share >$D/usr/share/list"
    (hooks / "update_cache").write_text(f"#!/bin/sh\n##PKGS: \n{last}\n")
    asks = {name: script(f"$INTERCEPT_DIR/postinst_intercept update_cache {name}") for name in ("one", "two")}
    found = [Source(name, files=[file(f"/usr/share/{name}")], scripts={"postinst": asks[name]}) for name in asks]
    found[1] = dataclasses.replace(found[1], depends=["one"])
    feed, env = feed_of(kit, "feed", *found), tools.environment(INTERCEPT_DIR=str(hooks))
    done = kit.run("build", "one", "app:packages:one,two", feed, env=env, status=3 if way == "failed" else 0)
    if way == "failed":
        assert "layer 'app': the intercept update_cache, for which one, two asked, ended with status 4" in done.stderr
        assert "cache broken" in done.stderr
    else:
        image = Image(kit.manager, json.loads(done.stdout), kit.folder / "one")
        assert image.text("usr/share/list").splitlines() == ["list", "one", "two"]


# ---- what scripts must not do


def host() -> list[str]:
    """What programs of this machine are looked for in, and what they keep, but for what interpreters compiled."""
    facts = r"%p\0%y %m %U %G %s %T@ %i %l\n"
    words = ["/etc", "/usr", "/var/lib", "-xdev", "-name", "__pycache__", "-prune", "-o", "-printf", facts]
    return sorted(tools.run("find", *words).stdout.splitlines())


HOSTILE = {
    "a network": (
        "python3 -c \"import socket; socket.create_connection(('127.0.0.1', PORT))\"",
        "Connection refused|unreachable",
    ),
    "a file of this machine": ("echo owned >>/etc/passwd", "(Read-only file system|Permission denied|cannot create)"),
    "a program of this machine": ("cp /bin/sh /usr/bin/owned-by-a-test", "(Read-only file system|Permission denied)"),
    "what this machine keeps": ("mkdir /var/lib/owned-by-a-test", "(Read-only file system|Permission denied)"),
    "owners of this machine": ("chown 7 /etc/passwd", "(Read-only file system|Operation not permitted)"),
    "what is mounted": ("mount -t tmpfs none /usr", "(permission denied|denied|must be superuser|not permitted)"),
    "other mounts": ("mount -o remount,rw / && echo >/etc/owned-by-a-test", "(denied|superuser|not permitted)"),
    "the name of this machine": ("hostname owned-by-a-test", "(must be root|not permitted|denied)"),
    "devices": ("mknod $D/disk b 8 0 && cat $D/disk", "(not permitted|denied|No such device)"),
}


@pytest.mark.parametrize("who", ["root", "user"])
def test_this_machine_is_left_as_it_is(folder, product, who):
    """Each of them fails as it does in itself, with every format."""
    tools.need_root()
    words: dict[str, Any] = {}
    if who == "user":
        user = [*namespaces.as_user_with_ids(folder / "ids"), *product.words()]
        words = {"before": user, "env": product.environment()}
    before = host()
    with socket.create_server(("127.0.0.1", 0)) as server:
        lines = [
            f"sh -e >$D/said/{number} 2>&1 <<'END' && echo it worked >>$D/said/{number} || :\n{does}\nEND"
            for number, (does, _) in enumerate(HOSTILE.values())
        ]
        text = script("\n".join(["mkdir $D/said", *lines])).replace("PORT", str(server.getsockname()[1]))
        app = Source("app", files=[file("/usr/share/app")], scripts={"postinst": text})
        for name in SCRIPTED:
            kit = Kit(MANAGERS[name], folder)
            tools.need(*kit.manager.programs)
            place = folder / kit.manager.kind
            place.mkdir()
            tools.give_to_nobody(place)
            image = kit.build(place.name, "app:packages:app", feed_of(kit, f"{place.name}-feed", app), **words)
            for number, (_, said) in enumerate(HOSTILE.values()):
                found = image.text(f"said/{number}")
                assert "it worked" not in found
                assert re.search(said, found), found
    assert before == host()


def test_links_that_a_script_makes_lead_nowhere_else(kit):
    """Neither what later layers place nor what their scripts write gets out of the image behind them."""
    victim = kit.folder / "victim"
    victim.mkdir()
    low = Source("low", files=[file("/usr/low")], scripts={"postinst": script(f"ln -s {victim} $D/srv")})
    writes = script("mkdir -p $D/srv/in; echo in >$D/srv/in/script")
    high = Source("high", files=[file("/srv/file")], scripts={"postinst": writes})
    image = kit.build("one", "low:packages:low high:packages:high", feed_of(kit, "feed", low, high))
    assert os.listdir(victim) == []
    place = f"{victim}/".encode().lstrip(b"/")
    assert {place + b"file", place + b"in/script"} <= image.tree.keys()
    assert image.tree[b"srv"].target == str(victim).encode()


@pytest.mark.parametrize("does", ["rm -rf $D/* $D", "chmod 0 $D $D/usr", "rm -rf $D/usr; ln -s . $D/usr"])
def test_a_script_that_ruins_the_image(kit, does):
    """Is an error or makes what it makes; nothing is left of it."""
    app = Source("app", files=[file("/usr/share/app")], scripts={"postinst": f"#!/bin/sh\n{does}\nexit 0\n"})
    more = Source("more", files=[file("/usr/share/more")], scripts={"postinst": script("echo more >$D/more")})
    done = kit.run("build", "one", "low:packages:app high:packages:more", feed_of(kit, "feed", app, more), status=None)
    assert done.returncode in (0, 2, 3), done.stderr
    assert "Traceback" not in done.stderr
    assert not list((kit.folder / "one").rglob("*.partial"))


def test_a_script_that_never_ends(kit):
    """Is stopped at its limit, which is a short one here."""
    place = kit.folder / "limits"
    place.mkdir()
    (place / "sitecustomize.py").write_text(
        "from oe_oci.packages.maintainer import sandbox\n"
        "from oe_oci.run import Limits\n"
        "sandbox.offline.__defaults__ = (), Limits(seconds=2)\n",
        encoding="utf-8",
    )
    token = f"oe-oci-test-{os.urandom(8).hex()}"
    waits = script(f"echo before; trap '' TERM HUP INT; while :; do sleep 1; : {token}; done")
    app = Source("app", files=[file("/usr/share/app")], scripts={"postinst": waits})
    path = os.pathsep.join([str(place), str(tools.ROOT), os.environ.get("PYTHONPATH", "")])
    env = tools.environment(PYTHONPATH=path)
    done = kit.run("build", "one", "app:packages:app", feed_of(kit, "feed", app), status=3, env=env)
    which = "postin" if kit.manager.kind == "rpm" else "postinst"
    assert f"layer 'app': app: its {which} took longer than 2 seconds" in done.stderr
    assert "    before\n" in done.stderr
    assert not sandboxes.running(token)
    assert not (kit.folder / "one" / "deploy").exists()


def test_a_daemon_ends_with_the_build(kit):
    token = f"oe-oci-test-{os.urandom(8).hex()}"
    starts = script(f"setsid sh -c 'sleep 500; : {token}' >/dev/null 2>&1 </dev/null &\nsh -c 'sleep 500 # {token}' &")
    app = Source("app", files=[file("/usr/share/app")], scripts={"postinst": starts})
    kit.build("one", "app:packages:app", feed_of(kit, "feed", app))
    assert not sandboxes.running(token)


# ---- the same again


def account_files() -> Source:
    """What the tools for accounts change."""
    texts = {"passwd": b"root:x:0:0:root:/root:/bin/sh\n", "group": b"root:x:0:\n", "shadow": b"root:*:::::::\n"}
    texts["gshadow"] = b"root:*::\n"
    nodes = [file(f"/etc/{name}", text, mode=0o600 if "shadow" in name else 0o644) for name, text in texts.items()]
    return Source("base", files=[*nodes, sources.folder("/home"), sources.folder("/etc/skel")])


def test_useradd_at_another_time_in_another_folder(kit):
    """What the tools for accounts leave is the same at any time: the day that a password was changed last, too."""
    tools.need("useradd", "groupadd")
    adds = script(
        "groupadd --prefix $D -r app; useradd --prefix $D -r -g app -d /srv -s /bin/false app\n"
        "useradd --prefix $D -m -u 1234 -s /bin/sh me"
    )
    app = Source("app", files=[file("/srv/app", user="app", group="app")], depends=["accounts"])
    accounts = Source("accounts", files=[file("/usr/share/a")], scripts={"preinst": adds})
    feed = feed_of(kit, "feed", account_files(), accounts, app)
    layers = "low:packages:base high:packages:app"
    for epoch, day in (("1700000000", "19675"), ("", "")):
        lines = [f'SOURCE_DATE_EPOCH = "{epoch}"']
        env = tools.environment(SOURCE_DATE_EPOCH=None)
        one = kit.build(f"one{epoch}", layers, feed, lines=lines, env=env)
        time.sleep(1.1)
        other = Kit(kit.manager, kit.folder / f"other{epoch}" / "deeper")
        other.folder.mkdir(parents=True)
        two = other.build("two", layers, feed, lines=lines, env={**env, "TZ": "Asia/Tokyo"})
        assert one.digests() == two.digests()
        assert [line.split(":")[2] for line in one.text("etc/shadow").splitlines() if line.startswith("me:")] == [day]
        left = {b"etc/passwd-", b"etc/group-", b"etc/shadow-", b"etc/gshadow-", b"etc/.pwd.lock", b"etc/subuid-"}
        assert not left & one.tree.keys()


@pytest.mark.parametrize("option", ["--root", "--prefix"])
def test_whoever_builds_gets_the_accounts_that_useradd_makes(kit, builder, option):
    tools.need("useradd", "groupadd")
    adds = script(f"groupadd {option} $D -r -g 45 app; useradd {option} $D -r -u 44 -g app -d /srv -s /bin/false app")
    accounts = Source("accounts", files=[file("/usr/share/a")], scripts={"preinst": adds})
    app = Source("app", files=[file("/srv/app", user="app", group="app")], depends=["accounts"])
    feed = feed_of(kit, "feed", account_files(), accounts, app)
    layers = "low:packages:base high:packages:app"
    mine = kit.build("mine", layers, feed)
    assert (mine.tree[b"srv/app"].uid, mine.tree[b"srv/app"].gid) == (44, 45)
    assert mine.tree[b"etc/shadow"].mode == "0600"
    if option == "--root" and not builder.chroots:
        done = run_by(builder, kit, "theirs", layers, feed, status=3)
        assert "groupadd: unable to chroot" in done.stderr
        return
    assert built_by(builder, kit, "theirs", layers, feed).digests() == mine.digests()


def test_useradd_is_as_opkg_runs_it(folder):
    tools.need_root()
    tools.need("opkg", "bwrap", "useradd", "groupadd")
    adds = script("groupadd --root $D -r app; useradd --root $D -m -g app -s /bin/sh app; useradd --root $D -r web")
    accounts = Source("accounts", files=[file("/usr/share/a")], scripts={"preinst": adds})
    app = Source("app", files=[file("/srv/app", user="app", group="app")], depends=["accounts"])
    pair = Pair(*(Kit(MANAGERS[name], folder / name.split()[0]) for name in ("opkg", "ipk with scripts")))
    for kit in pair:
        kit.folder.mkdir()
    image = pair.same("one", "low:packages:base high:packages:app", pair.feed("feed", account_files(), accounts, app))
    assert image.tree[b"home/app"].uid == image.tree[b"srv/app"].uid == 1000


# ---- the database


@pytest.mark.parametrize("database", ["keep", "top", "remove", "status.d"])
def test_what_scripts_keep_in_the_place_of_the_database(kit, database):
    """Scripts of later layers see it, and it is in the image where the database is."""
    places = {"deb": "var/lib/dpkg/kept", "ipk": "var/lib/opkg/kept", "rpm": "var/lib/rpm/kept"}
    place = places[kit.manager.kind]
    notes = script(f"mkdir -p $D/{place}; cat $D/{place}/* >$D/seen 2>/dev/null || :; echo NAME >>$D/{place}/NAME")
    found = [
        Source(name, files=[file(f"/usr/share/{name}")], scripts={"postinst": notes.replace("NAME", name)})
        for name in ("one", "two", "three")
    ]
    lines = [f'OCI_PACKAGE_DATABASE = "{database}"']
    layers = "low:packages:one middle:packages:two high:packages:three"
    feed = feed_of(kit, "feed", *found)
    if (kit.manager.kind, database) == ("rpm", "status.d"):
        assert "rpm has one database of all" in kit.refuse("one", layers, feed, lines=lines)
        return
    image = kit.build("one", layers, feed, lines=lines)
    assert sorted(image.text("seen").split()) == ["one", "two"]
    whole = merge.read_image(image.layout).merged
    there = {path.rpartition(b"/")[2] for path in whole if path.startswith(f"{place}/".encode())}
    assert there == ({b"one", b"two", b"three"} if database in ("keep", "top") else set())
    if database == "remove":
        assert not [path for path in whole if path.startswith(b"var")]
    if database in ("keep", "top"):
        assert image.versions().keys() >= {"one", "two", "three"}


# ---- the other values of OCI_PACKAGE_SCRIPTS


def test_skip_and_defer_and_what_is_told_of_them(kit):
    scripts = {name: script(f"echo {name} >>$D/ran") for name in ("preinst", "postinst")}
    one = Source("one", files=[file("/usr/share/one")], scripts=scripts, depends=["two"])
    two = Source("two", files=[file("/usr/share/two")], scripts=scripts)
    three = Source("three", files=[file("/usr/share/three")], scripts=scripts)
    four = Source("four", files=[file("/usr/share/four")])
    feed = feed_of(kit, "feed", one, two, three, four)
    layers = "low:packages:one high:packages:three,four"
    names = ["prein", "postin"] if kit.manager.kind == "rpm" else ["preinst", "postinst"]
    folder = f"etc/{kit.manager.kind}-postinsts"
    for value in ("skip", "defer"):
        lines = [f'OCI_PACKAGE_SCRIPTS = "{value}"']
        done = kit.run("build", value, layers, feed, lines=lines)
        image = Image(kit.manager, json.loads(done.stdout), kit.folder / value)
        assert b"ran" not in image.tree
        told = {one["name"]: one.get("scriptsNotRun") for layer in image.report["layers"] for one in layer["packages"]}
        assert {name: told[name] for name in ("one", "two", "three", "four")} == {
            **dict.fromkeys(("one", "two", "three"), names),
            "four": None,
        }
        there = sorted(path.decode() for path in image.tree if path.startswith(f"{folder}/".encode()))
        if value == "skip":
            assert not there
            assert "first boot" not in done.stderr
        else:
            assert there == [f"{folder}/000-two", f"{folder}/001-one", f"{folder}/002-three"]
            assert {image.tree[path.encode()].mode for path in there} == {"0755"}
            assert image.text(there[0]).splitlines()[-1] == "echo postinst >>$D/ran"
            assert (
                "layer 'low': left to the first boot, which a container has not: the scripts of two, one" in done.stderr
            )
            assert (
                "layer 'high': left to the first boot, which a container has not: the scripts of three" in done.stderr
            )
    ran = kit.build("run", layers, feed)
    assert not [one for layer in ran.report["layers"] for one in layer["packages"] if "scriptsNotRun" in one]
    assert sorted(ran.text("ran").split()) == sorted(["preinst", "postinst"] * 3)


def test_a_plan_runs_scripts_where_nothing_is_left(kit):
    makes = Source("accounts", files=[file("/usr/share/accounts")], scripts={"preinst": script(ACCOUNTS)})
    app = Source("app", files=[file("/srv/app", user="app", group="app")], depends=["accounts"])
    feed = feed_of(kit, "feed", makes, app)
    layers = "low:packages:accounts high:packages:app"
    temporary, work = kit.folder / "temporary", kit.folder / "work"
    temporary.mkdir()
    env = tools.environment(TMPDIR=str(temporary))
    for name, lines in (("one", []), ("two", [f'OCI_WORK_DIR = "{work}"'])):
        plan = json.loads(kit.run("plan", name, layers, feed, env=env, lines=lines).stdout)
        assert not (kit.folder / name / "deploy").exists()
        assert os.listdir(temporary) == []
        assert not work.exists() or os.listdir(work) == []
        report = kit.build(name, layers, feed, env=env, lines=lines).report
        for planned, built in zip(plan["layers"], report["layers"]):
            assert planned["packages"] == built["packages"]
            assert planned["changed"] == built["changed"]
        assert os.listdir(temporary) == []
