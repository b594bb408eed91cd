# SPDX-License-Identifier: MIT
"""Images whose packages' scripts ran, as rpm and opkg see them that run inside: nothing is wrong, and they go on."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support import compare, debian, merge, sources, specs, tools
from support.containers import inside, install, with_program
from support.managers import DATABASES, MANAGERS, Kit
from support.scripted import ACCOUNTS, script, shell
from support.sources import Source, file

if TYPE_CHECKING:
    from pathlib import Path

# ---- rpm

# rpm needs perl for its own scripts alone.
USERLAND = ("base-passwd", "coreutils", "dash", "grep", "rpm", "sed")
RPM = ("rpm", "--dbpath", "/var/lib/rpm")
UNREAD = ("doc", "info", "locale", "man")
LAYERS = {"low": ("shell", "accounts", "hears"), "high": ("app", "ships")}


def rpm_sources() -> list[Source]:
    """An account that owns a file, a script that changes a configuration, and a trigger on files."""
    hears = "while read path; do echo $path; done >>$D/var/heard"
    return [
        Source("shell", provides=["/bin/sh"]),
        Source("accounts", files=[file("/usr/share/accounts")], scripts={"preinst": script(ACCOUNTS)}),
        Source(
            "app",
            files=[
                file("/srv/page", mode=0o4750, user="app", group="app"),
                file("/etc/app.conf", b"a = 1\n", config=True),
                file("/var/made", mode=0o600, ghost=True),
            ],
            depends=["accounts"],
            scripts={
                "postinst": script("echo b = 2 >>$D/etc/app.conf; echo made >$D/var/made; chmod 600 $D/var/made"),
                "prerm": script("echo prerm $1 >>$D/var/told"),
                "postrm": script("echo postrm $1 >>$D/var/told"),
            },
        ),
        Source("hears", files=[file("/usr/share/hears")], scripts={"filetriggerin -- /usr/share/heard": hears}),
        Source("ships", files=[file("/usr/share/heard/one"), file("/usr/share/heard/two")]),
    ]


def rpm_later() -> list[Source]:
    """What is installed on top of them."""
    tells = {"preinst": script("grep ^app: /etc/group >>/var/told"), "postinst": script("echo later $1 >>/var/told")}
    owned = [file("/usr/share/heard/later"), file("/srv/later", user="app", group="app")]
    return [
        Source("later", files=owned, depends=["app >= 2.0", "ships", "/bin/sh"], scripts=tells),
        Source("app", "2.0-1", [file("/etc/app.conf", b"a = 2\n", config=True)], depends=["accounts"]),
    ]


class World(NamedTuple):
    """A base image with rpm and a shell, and feeds with their packages by name."""

    kit: Kit
    base: Path
    feed: Path
    rpms: dict[str, Path]
    later: dict[str, Path]


@pytest.fixture(scope="module")
def world(room) -> World:
    tools.need_root()
    tools.need("bwrap", "rpmbuild")
    place = room / "scripted"
    place.mkdir()
    debs = {name: deb for name, deb in debian.packages(USERLAND).items() if "perl" not in name}
    root = debian.unpack(debs.values(), place / "rootfs")
    for name in ("dev", "proc", "tmp", "var/tmp"):
        (root / name).mkdir()
    for name in UNREAD:
        shutil.rmtree(root / "usr/share" / name)
    for name in ("passwd", "group"):
        shutil.copy(root / f"usr/share/base-passwd/{name}.master", root / "etc" / name)
    (place / "base.conf").write_text("", encoding="utf-8")
    tools.build(place / "base.conf", place / "base", "--rootfs", root)
    kit = Kit(MANAGERS["rpm with scripts"], place)
    return World(
        kit,
        place / "base/base-oci",
        place / "feed",
        specs.write(rpm_sources(), place / "feed"),
        specs.write(rpm_later(), place),
    )


@pytest.fixture(scope="module")
def by_rpm(world) -> compare.Listing:
    """What rpm inside makes of the same packages, without what it makes for itself."""
    root = world.kit.folder / "native"
    tools.oe_oci("unpack", world.base, root)
    for layer in LAYERS.values():
        install(root, *(world.rpms[name] for name in layer), by=(*RPM, "-i"))
    tree = compare.listing(root)
    shutil.rmtree(root)
    return merge.without(tree, *DATABASES)


@pytest.mark.parametrize("way", ["run", "run:chroot"])
def test_rpm_finds_nothing_wrong_and_goes_on_inside(world, by_rpm, way):
    """But for the configuration file that a script changed."""
    layers = " ".join(f"{name}:packages:{','.join(names)}" for name, names in LAYERS.items())
    lines = [f'OCI_BASE_IMAGE = "{world.base}"', f'OCI_PACKAGE_SCRIPTS = "{way}"']
    image = world.kit.build(way.replace(":", "-"), layers, world.feed, lines=lines)
    compare.assert_same(by_rpm, image.tree)
    root = image.root
    assert inside(root, *RPM, "-Va", "--nomtime", status=1) == "S.5......  c /etc/app.conf\n"
    install(root, *world.later.values(), by=(*RPM, "-U"))
    assert image.text("var/told") == "app:x:778:\nlater 1\nprerm 1\npostrm 1\n"
    assert image.text("var/heard").endswith("/usr/share/heard/later\n")
    assert image.text("etc/app.conf") == "a = 1\nb = 2\n"
    assert image.text("etc/app.conf.rpmnew") == "a = 2\n"
    assert ((root / "srv/later").stat().st_uid, (root / "srv/later").stat().st_gid) == (777, 778)
    assert sorted(image.versions()) == ["accounts", "app", "hears", "later", "shell", "ships"]
    assert inside(root, *RPM, "-Va", "--nomtime", status=1) == "S.5......  c /etc/app.conf\n"


# ---- opkg


def upgraded(version: str) -> Source:
    scripts = {
        "postinst": script(f"echo postinst {version} $1 >>$D/var/told"),
        "prerm": script(f"echo prerm {version} $1 >>$D/var/told"),
    }
    return Source("app", version, [file("/etc/app.conf", version.encode(), config=True)], scripts=scripts)


@pytest.mark.parametrize("way", ["run", "run:chroot"])
def test_opkg_finds_all_installed_and_goes_on_inside(folder, way):
    tools.need_root()
    tools.need("bwrap", "opkg")
    kit = Kit(MANAGERS["ipk with scripts"], folder)
    makes = script("mkdir -p $D/var; echo b >>$D/etc/app.conf; echo accounts $1 >>$D/var/told")
    accounts = Source("accounts", depends=["app"], scripts={"preinst": script(ACCOUNTS), "postinst": makes})
    feed = kit.feed("feed", shell(), upgraded("1.0-1"), accounts)
    lines = [f'OCI_PACKAGE_SCRIPTS = "{way}"']
    image = kit.build("one", "low:packages:shell high:packages:accounts", feed, lines=lines)
    root = image.root
    with_program(root, "opkg")
    (root / "etc/opkg").mkdir()
    (root / "etc/opkg/opkg.conf").write_text("dest root /\narch all 1\narch x86_64 2\n", encoding="utf-8")
    assert inside(root, "opkg", "list-installed") == "accounts - 1.0-1\napp - 1.0-1\nshell - 1.0-1\n"
    tells = {name: script(f"echo later {name} $1 >>/var/told") for name in ("preinst", "postinst")}
    owned = file("/srv/later", user="app", group="app")
    later = Source("later", files=[owned], depends=["app >= 2.0", "accounts"], scripts=tells)
    made = sources.write([later, upgraded("2.0-1")], folder, "ipk", {"root": 0, "app": 1})
    install(root, *made.values(), by=("opkg", "install"))
    assert inside(root, "opkg", "list-installed").split("\n")[:3] == [
        "accounts - 1.0-1",
        "app - 2.0-1",
        "later - 1.0-1",
    ]
    assert image.text("etc/app.conf") == "1.0-1b\n"
    assert image.text("etc/app.conf-opkg") == "2.0-1"
    assert image.text("var/told").splitlines() == [
        *("postinst 1.0-1 configure", "accounts configure"),
        *("prerm 1.0-1 upgrade", "later preinst install", "postinst 2.0-1 configure", "later postinst configure"),
    ]
    assert ((root / "srv/later").stat().st_uid, (root / "srv/later").stat().st_gid) == (777, 778)
