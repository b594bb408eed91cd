# SPDX-License-Identifier: MIT
"""One small set of packages with all that formats of packages have in common, for every installer to install.

`older` are those of a base image, `newer` what comes on top of it, with upgrades of two of them. All folders that no
package is given here have the epoch's time and are root's, so it makes no difference that rpm's packages leave them
out.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from . import debian, sources, specs, tools
from .sources import EPOCH, NATIVE, Node, Source, file, folder, hardlink, symlink

if TYPE_CHECKING:
    from pathlib import Path

# kiosk is of a package's /etc/passwd, signage of its /etc/group, shopd is declared.
NUMBERS = {"root": 0, "kiosk": 1700, "signage": 1750, "shopd": 1800}
ACCOUNTS = "user:shopd:1800"
ACCOUNT_FILES = (b"etc/passwd", b"etc/group", b"etc/shadow", b"etc/gshadow")
CHANGED = b"lines = 7\n"  # what somebody made of a configuration file
EARLY, LATE = EPOCH - 86_400, EPOCH + 86_400
KINDS = ("ipk", "deb", "rpm")

# What a script of the set leaves, where scripts run: its first argument, which each tool has words of its own for.
SCRIPTED = "/var/lib/scripted-ran"
SCRIPTED_TEXT = {"deb": b"configure\n", "ipk": b"configure\n", "rpm": b"1\n"}
_SCRIPT = f'#!/bin/sh\necho "${{1:-}}" >"${{D:-$DPKG_ROOT}}{SCRIPTED}"\n'

_PASSWD = b"root:x:0:0:root:/root:/bin/sh\nkiosk:x:1700:1700::/srv/kiosk:/bin/sh\n"
_GROUP = b"root:x:0:\nkiosk:x:1700:\nsignage:x:1750:kiosk\n"

MERGED = Source(
    "usr-merged",
    files=[
        *map(folder, ("/usr", "/usr/bin", "/usr/lib", "/usr/lib64", "/usr/sbin", "/etc", "/var", "/var/lib")),
        folder("/var/tmp", mode=0o1777),
        *(symlink(f"/{name}", f"usr/{name}") for name in ("bin", "lib", "lib64", "sbin")),
    ],
)
USERS = Source("accounts", "3.6-1", [file("/etc/passwd", _PASSWD), file("/etc/group", _GROUP)])
LIBRARY = Source(
    "libstdc++6",
    "12.2.0~rc1-14",
    [
        file("/usr/lib/libstdc++.so.6.0.30", b"\x7fELF" + bytes(range(256)) * 300, mtime=EARLY),
        symlink("/usr/lib/libstdc++.so.6", "libstdc++.so.6.0.30", mtime=EARLY),
    ],
    NATIVE,
    provides=["libcxx-abi = 1.9"],
)
_KEPT = file("/etc/editor/colours.conf", b"colours = 8\n", config=True)
_EDITED = file("/etc/editor/editor.conf", b"lines = 5\n", config=True)
EDITOR = Source("editor", "1.0-1", [_KEPT, _EDITED, file("/usr/bin/editor", b"editor 1\n", mode=0o755)])
NEW_EDITOR = Source(
    "editor",
    "1:0.9-1",
    [
        _KEPT._replace(data=b"colours = 256\n"),
        _EDITED._replace(data=b"lines = 6\n"),
        file("/etc/editor/keys.conf", b"keys = vi\n", config=True, mode=0o640),
        file("/usr/bin/editor", b"editor 2\n", mode=0o755),
    ],
)
PLUG = Source(
    "plug", "1.0-1", [file("/usr/share/plug/data", b"1\n"), file("/usr/share/plug/gone"), file("/usr/lib/plug", b"1\n")]
)
NEW_PLUG = Source("plug", "2.0-1", [file("/usr/lib/plug", b"2\n")])

# Its file moves here from a version of another package that is older than the one it needs.
PLUG_DATA = Source(
    "plug-data",
    "2.0-1",
    [file("/usr/share/plug/data", b"2\n")],
    depends=["plug >= 2.0"],
    takes_from=["plug < 2.0"],
)
# An epoch makes 0.9 newer than 1.0.
THEMES = Source("editor-themes", files=[file("/usr/share/themes/blue")], depends=["editor >= 1:0.5"])

_SU = file("/usr/bin/kiosk-su", b"su\n", mode=0o4755, user="kiosk", group="signage", mtime=EARLY)
RIGHTS = Source(
    "rights",
    files=[
        _SU,
        file("/usr/bin/kiosk-sg", b"sg\n", mode=0o2711, group="signage"),
        file("/etc/kiosk-secret", b"secret\n", mode=0, user="shopd"),
        folder("/srv/kiosk", mode=0o3770, user="kiosk", group="signage", mtime=EARLY),
        symlink("/srv/kiosk/start", "/usr/bin/kiosk-su", user="kiosk", group="kiosk", mtime=EARLY),
        folder("/var/lib/shop", mode=0o700, user="shopd", group="shopd"),
        folder("/var/lib/shop/empty", mode=0o500, user="shopd", group="signage", mtime=EARLY),
        file("/var/lib/shop/late", b"late\n", mode=0o600, user="shopd", group="shopd", mtime=LATE),
    ],
)
# Who is only root in a user namespace can not make this.
NODES = Source("nodes", files=[Node("/dev/kiosk-null", "character device", mode=0o666, device=(1, 3))])
# rpm 4.18 opens what it makes: at a fifo it waits for ever, at a device that no driver knows it fails.
SPECIAL = Source(
    "special",
    files=[
        Node("/dev/kiosk-disk", "block device", mode=0o660, group="signage", device=(253, 200)),
        Node("/run/kiosk-fifo", "fifo", mode=0o620, user="kiosk"),
    ],
)
PROBE = Source(
    "net-probe",
    files=[
        file("/usr/bin/net-probe", b"probe\n", mode=0o755, capabilities="cap_net_raw=ep"),
        file("/usr/sbin/net-serve", b"serve\n", mode=0o750, group="signage", capabilities="cap_net_bind_service=p"),
    ],
)
_ONE, _OTHER = file("/usr/share/odd/one", b"of three names\n", mode=0o640), file("/usr/lib/odd/pair", b"pair\n")
ODD = Source(
    "odd",
    files=[
        _ONE,
        hardlink("/usr/lib/odd/one-too", _ONE),
        hardlink("/srv/odd/Eins", _ONE),
        _OTHER,
        hardlink("/usr/share/odd/pair", _OTHER),
        file("/srv/odd/größer als ☃", b"utf-8\n"),
        file("/srv/odd/two  blanks", b"blanks\n"),
        file("/srv/odd/[a-z]*?{b,c}", b"pattern\n"),
        file("/srv/odd/100%nil", b"macro\n"),
        file(f"/srv/odd/{'n' * 150}/{'m' * 200}", b"long\n"),
        file("/srv/odd/none", b""),
        folder("/srv/odd/empty folder"),
        symlink("/srv/odd/nowhere", "../no such/place"),
        symlink("/srv/odd/far", "/".join(["t" * 99] * 3)),
        # Through a link of another package, which it does not know.
        file("/bin/odd", b"#!/bin/sh\n", mode=0o755),
        file("/lib/odd/module", b"module\n"),
    ],
)
RING = (
    Source("ring-a", files=[file("/usr/share/ring/a")], depends=["ring-b"]),
    Source("ring-b", files=[file("/usr/share/ring/b")], depends=["ring-a >= 0.5~"]),
)
META = Source(
    "meta",
    depends=["absent | ring-a", "libcxx-abi >= 1.8", "libstdc++6 < 12.2.0", "libstdc++6 >= 12.2.0~beta"],
    recommends=["nice", "not-in-the-feed"],
)
NICE = Source("nice", files=[file("/usr/share/nice")])
NEW_NAME = Source("new-name", "3.0-1", [file("/usr/bin/named", b"named\n", mode=0o755)], stands_for=["old-name"])
CALLER = Source("caller", files=[file("/usr/bin/caller", b"caller\n", mode=0o755)], depends=["old-name >= 2"])
GHOSTLY = Source(
    "ghostly", files=[file("/usr/share/ghostly"), file("/var/log/ghostly.log", mode=0o600, ghost=True, config=True)]
)
SCRIPT = Source("scripted", files=[file("/usr/share/scripted")], depends=["/bin/sh"], scripts={"postinst": _SCRIPT})
RIVALS = (
    Source("rival-a", files=[file("/usr/share/rival-a")], conflicts=["rival-b < 2"]),
    Source("rival-b", files=[file("/usr/share/rival-b")]),
)


@cache
def shell() -> Source:
    """A shell that runs without anything else, so that scripts do; and the one file here with some size."""
    deb = debian.packages()["busybox-static"]
    with tools.scratch("oe-oci-shell-") as place:
        tools.run("dpkg-deb", "-x", deb, place)
        data = (place / "bin/busybox").read_bytes()
    return Source(
        "shell",
        "1:1.35.0+ds~4-2",
        [file("/bin/busybox", data, mode=0o755, mtime=EARLY), symlink("/bin/sh", "busybox", mtime=EARLY)],
        NATIVE,
        depends=["usr-merged"],
    )


class Sets(NamedTuple):
    """The packages of the base image, in an order of installation, and all those there are later, in such an order."""

    older: tuple[Source, ...]
    newer: tuple[Source, ...]


def sets() -> Sets:
    lasting = (MERGED, USERS, shell(), LIBRARY)
    more = (RIGHTS, NODES, SPECIAL, PROBE, ODD, *RING, NICE, META, NEW_NAME, CALLER, GHOSTLY, SCRIPT, *RIVALS)
    return Sets((*lasting, EDITOR, PLUG), (*lasting, NEW_EDITOR, NEW_PLUG, PLUG_DATA, THEMES, *more))


class Feeds(NamedTuple):
    """A folder of packages for the base image, and one for what is on top of it."""

    older: Path
    newer: Path


def feeds(kind: str, place: Path) -> Feeds:
    """The set as packages of a kind, in two feeds without an index."""
    made = Feeds(place / "older", place / "newer")
    for found, folder_of in zip(sets(), made):
        if kind == "rpm":
            specs.write(found, folder_of)
        else:
            sources.write(found, folder_of, kind, NUMBERS)
    return made


def file_name(source: Source, kind: str) -> str:
    """The usual name of a package's file."""
    if kind == "rpm":
        return specs.file_name(source)
    version = source.version.partition(":")[2] or source.version
    return f"{source.name}_{version}_{sources.architecture(source.arch, kind)}.{kind}"


# ---- the images


# By image and layer, what is asked for there.
_ASKED = {
    "base": {"links": ("usr-merged", "accounts"), "system": ("shell", "libstdc++6", "editor", "plug")},
    "app": {
        "rights": ("rights", "nodes", "special", "net-probe"),
        "more": ("odd", "meta", "caller", "ghostly", "scripted"),
        "upgrades": ("editor-themes", "plug-data"),
    },
}
# What comes with that.
_BROUGHT = {
    "more": ("ring-a", "ring-b", "nice", "new-name"),
    "upgrades": ("editor", "plug"),
}
_MORE = {"base": "edited:host:editor.conf:/etc/editor/", "app": ""}
_LINES = {"base": "", "app": f'OCI_BASE_IMAGE = "../base/deploy/base-latest-oci"\nOCI_IMAGE_ACCOUNTS = "{ACCOUNTS}"'}


class Images:
    """Two images of the set, one on the other, less the packages that somebody's tool can not install."""

    def __init__(self, *without: str) -> None:
        self._without = without

    def layers(self) -> dict[str, set[str]]:
        """The packages that come with each layer, new ones and upgrades."""
        return {
            layer: {*names, *_BROUGHT.get(layer, ())}.difference(self._without)
            for layers in _ASKED.values()
            for layer, names in layers.items()
        }

    def write_configurations(self, place: Path, *lines: str) -> list[Path]:
        """Their configurations, each in a folder of its own, with some more lines."""
        paths = []
        for name, layers in _ASKED.items():
            asked = {
                layer: ",".join(one for one in names if one not in self._without) for layer, names in layers.items()
            }
            words = [*(f"{layer}:packages:{names}" for layer, names in asked.items()), _MORE[name]]
            path = place / name / f"{name}.conf"
            path.parent.mkdir(parents=True)
            head = (f'OCI_LAYERS = "{" ".join(words)}"', f'SOURCE_DATE_EPOCH = "{EPOCH}"', _LINES[name])
            path.write_text("\n".join([*head, *lines, ""]), encoding="utf-8")
            paths.append(path)
        (place / "base/editor.conf").write_bytes(CHANGED)
        return paths

    def expected(self, beside: str) -> sources.Tree:
        """The tree that both make, by the descriptions alone.

        `beside` is put after a new configuration file's name where somebody changed what is there.
        """
        older, newer = sets()
        tree = sources.Tree(NUMBERS, beside)
        for source in older:
            tree.install(source)
        tree.put(_EDITED._replace(data=CHANGED, config=False))
        for source in newer:
            if source.name in self.names() and source not in older:
                tree.install(source)
        return tree

    def versions(self, kind: str) -> dict[str, tuple[str, str]]:
        """What a tool is to say of the second one: versions and architectures by name."""
        return {
            source.name: (source.version, sources.architecture(source.arch, kind))
            for source in sets().newer
            if source.name in self.names()
        }

    def names(self) -> set[str]:
        """All packages that are installed in the end."""
        return set().union(*self.layers().values())
