# SPDX-License-Identifier: MIT
"""Layers laid out in folders and changed there, with the rest of the rootfs on top: the changes stay, exactly they.

All of it in one session of fakeroot, as a task of BitBake has pseudo. The rootfs is unpacked of the very packages.
"""

from __future__ import annotations

import json
import pickle
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support import compare, laidout, merge, tools
from support.managers import MANAGERS, write_feed
from support.sources import EPOCH, Source, file, folder, hardlink, symlink

if TYPE_CHECKING:
    from pathlib import Path

_APPLET = file("/usr/bin/applets", b"applets\n", mode=0o755)
BASE = Source(
    "base",
    files=[
        file("/etc/passwd", b"root::0:0:root:/root:/bin/sh\n"),
        file("/etc/shadow", b"root::15069:0:99999:7:::\n", mode=0o400),
        file("/etc/issue", b"1\n"),
        _APPLET,
        *(hardlink(f"/usr/bin/{name}", _APPLET) for name in ("ls", "vi", "wget")),
        symlink("/bin", "usr/bin"),
        folder("/var/volatile", mode=0o1777),
    ],
)
APP = Source(
    "app",
    files=[
        file("/usr/bin/app", b"app\n", mode=0o755),
        file("/etc/app/app.conf", b"a = 1\n"),
        file("/etc/app/style", b"style\n"),
        file("/etc/init.d/app", b"start\n", mode=0o755),
        file("/usr/share/doc/app/manual", b"manual\n"),
        file("/usr/share/pages/index", b"index\n"),
        folder("/var/lib/app", mode=0o700),
    ],
    depends=["base"],
)
# What do_rootfs does: it locks root's password, writes and removes.
PROCESSED = """\
sed -i 's/^root::/root:*:/' etc/passwd etc/shadow
echo 2 >etc/issue
chmod 0711 var/lib/app
chown 5:6 etc/app/app.conf
echo 2.4 >etc/version
echo more >usr/share/pages/more
echo other >etc/motd
echo same >etc/same
rm usr/bin/vi
"""
# What a recipe does, in a folder of a layer.
EDITED = {
    1: """\
echo me:x:1234:1234::/: >>etc/passwd
chmod 0750 var/volatile
rm usr/bin/wget
echo mine >etc/motd
echo same >etc/same
""",
    2: """\
chmod 4711 usr/bin/app
mkdir opt && echo new >opt/new && chown 12:34 opt/new
rm -r etc/init.d usr/share/doc
rm etc/app/style && ln -s /opt/style etc/app/style
mkdir -p var/lib/app && chown 0:7 var/lib/app
mv usr/share/pages usr/share/leaves && ln -s leaves usr/share/pages
""",
}
# The same in the finished rootfs, where what the recipe had wins, and what it removed is gone.
EXPECTED = """\
printf 'root::0:0:root:/root:/bin/sh\\nme:x:1234:1234::/:\\n' >etc/passwd
chmod 0750 var/volatile
rm usr/bin/wget
echo mine >etc/motd
chmod 4711 usr/bin/app
mkdir opt && echo new >opt/new && chown 12:34 opt/new
rm -r etc/init.d usr/share/doc
rm etc/app/style && ln -s /opt/style etc/app/style
chown 0:7 var/lib/app && chmod 0700 var/lib/app
mv usr/share/pages usr/share/leaves && ln -s leaves usr/share/pages
"""
EDITED_CUT = "chmod 4711 usr/bin/app\nrm etc/app/style\n"
NOTE = "kept as edited in the layers, without what the rootfs changed there: /etc/motd, /etc/passwd, /var/lib/app"
LISTED = """
import pickle, sys
from support import compare
pickle.dump(compare.listing(sys.argv[1]), sys.stdout.buffer)
"""


class Made(NamedTuple):
    report: dict[str, Any]
    plan: dict[str, Any]
    tree: compare.Listing
    expected: compare.Listing


def make(place: Path, edits: dict[int, str], expected: str, manager: str = "builtin") -> Made:
    """Lay out, edit and build; `expected` makes what the image is to be of the rootfs."""
    tools.need_root()
    tools.need("fakeroot", "dpkg-deb")
    debs = write_feed(MANAGERS["deb builtin"], place / "feed", (BASE, APP))
    conf = [
        'OCI_LAYERS = "base:packages:base app:packages:app"',
        f'SOURCE_DATE_EPOCH = "{EPOCH}"',
        'OCI_ROOTFS_LAYER = "rootfs"',
        'OCI_PACKAGE_DATABASE = "remove"',
        'OCI_ROOTFS_PACKAGES = "owned.json"',
        f'OCI_PACKAGE_MANAGER = "{manager}"',
    ]
    owned = {one.name: [node.path for node in one.files if node.kind != "directory"] for one in (BASE, APP)}
    (place / "owned.json").write_text(json.dumps({"packages": owned, "needs": {}}), encoding="utf-8")
    (place / "app.conf").write_text("\n".join([*conf, ""]), encoding="utf-8")
    (place / "listed.py").write_text(LISTED, encoding="utf-8")
    root, wanted, python = place / "root", place / "expected", tools.sys.executable
    words = [place / "app.conf", "--json", "--rootfs", root, "--deploy-dir", place / "deploy"]
    words += ["--cache-dir", place / "cache"]
    taken = laidout.settings((number, "", str(place / f"rootfs-oci-{number}")) for number in (1, 2))
    steps = [
        "umask 022",
        *(_words("dpkg-deb", "-x", deb, root) for deb in debs.values()),
        f"chmod 0755 {root}",
        _in(root, PROCESSED),
        _words(*laidout.program(place / "rootfs-oci-", *words, "--feed", place / "feed")) + " >/dev/null",
        *(_in(place / f"rootfs-oci-{number}", text) for number, text in edits.items()),
        f"cp -a {root} {wanted}",
        _in(wanted, expected),
        *(_words(python, "-m", "oe_oci", command, *words, *taken) + f" >{place}/{command}" for command in _COMMANDS),
        _words(python, place / "listed.py", wanted) + f" >{place}/listed",
    ]
    path = f"{tools.environment().get('PYTHONPATH', '')}:{laidout.__file__.rpartition('/support/')[0]}"
    env = tools.environment(PYTHONPATH=path)
    tools.run("fakeroot", "sh", "-ec", "\n".join(steps), env=env, timeout=300)
    report, plan = (json.loads((place / command).read_text(encoding="utf-8")) for command in _COMMANDS)
    image = merge.read_image(place / "deploy/app-oci").merged
    return Made(report, plan, image, pickle.loads((place / "listed").read_bytes()))


_COMMANDS = ("build", "plan")


def _words(*words: object) -> str:
    return shlex.join(map(str, words))


def _in(place: Path, text: str) -> str:
    return f"( cd {shlex.quote(str(place))}\n{text})"


@pytest.fixture(scope="module")
def edited(room) -> Made:
    (room / "edited").mkdir()
    return make(room / "edited", EDITED, EXPECTED)


def test_edits_are_in_the_image_and_all_else_of_the_rootfs(edited):
    compare.assert_same(edited.expected, edited.tree)


def test_the_user_is_told_of_what_the_rootfs_changed_too(edited):
    """Not of what both have the same, nor of what the rootfs has as packages brought it."""
    assert edited.report["notes"] == edited.plan["notes"] == [NOTE]


def test_edits_of_layers_cut_from_the_rootfs_are_all_that_is_changed(folder):
    made = make(folder, {2: EDITED_CUT}, EDITED_CUT, "rootfs")
    compare.assert_same(made.expected, made.tree)
    assert "notes" not in made.report


@pytest.mark.parametrize("manager", ["builtin", "rootfs"])
def test_where_nothing_is_edited_the_layers_are_the_rootfs(folder, manager):
    made = make(folder, {}, "", manager)
    compare.assert_same(made.expected, made.tree)
    assert "notes" not in made.report
