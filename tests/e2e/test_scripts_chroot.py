# SPDX-License-Identifier: MIT
"""Scripts of deb packages that run in the image itself: more than a hundred real ones, and small ones.

The tree of the real ones is held against the one that mmdebstrap makes of the same files, path by path.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support import compare, debian, merge, namespaces, samples, sources, tools
from support.sources import Source, file

EPOCH = 1_700_000_000
LINKS = ("bin", "lib", "lib64", "sbin")
ESSENTIAL = (
    *("base-files", "base-passwd", "bash", "bsdutils", "coreutils", "dash", "debianutils", "diffutils", "dpkg"),
    *("findutils", "grep", "gzip", "hostname", "init-system-helpers", "libc-bin", "login", "ncurses-base"),
    *("ncurses-bin", "perl-base", "sed", "sysvinit-utils", "tar", "usr-is-merged", "util-linux"),
)
MORE = (
    *("adduser", "apt", "ca-certificates", "cron", "curl", "dbus", "debconf", "fontconfig", "fonts-dejavu-core", "git"),
    *("iputils-ping", "jq", "less", "libglib2.0-bin", "locales", "logrotate", "man-db", "mount", "nano", "netbase"),
    *("openssh-server", "openssl", "passwd", "perl", "procps", "python3", "python3-yaml", "sgml-base"),
    *("shared-mime-info", "ssl-cert", "sudo", "systemd", "tzdata", "udev", "vim-tiny", "xml-core"),
)
FEWEST = 150
LATER = "hicolor-icon-theme"

# What differs from mmdebstrap's tree, by patterns of paths, each with the reason.
WHERE = {
    r"dev/.+": "mmdebstrap makes devices; a container has its own",
    r"run/.+": "a container has an empty one of its own",
    r"etc/(hostname|resolv\.conf)": "mmdebstrap copies those of this machine",
    r"etc/(fstab|apt/apt\.conf\.d/99mmdebstrap|apt/sources\.list)": "mmdebstrap's own",
    r"var/(cache/apt/archives|lib/apt/lists)/(partial|lock)": "apt itself ran",
    r"var/lib/apt/extended_states": "mmdebstrap's apt only unpacks, and marks nothing",
    r"var/lib/dpkg/arch": "mmdebstrap's own",
    r"var/lib/dpkg/(available|statoverride)": "empty, where dpkg makes it when it needs it",
    r"(var/lib/dpkg/(lock.*|triggers/Lock)|etc/\.pwd\.lock)": "a lock",
    r"(var/lib/dpkg/.+|var/cache/debconf/.+)-old": "what was before the last change",
    r"etc/(passwd|group|shadow|gshadow|subuid|subgid)-": "what was before the last change",
    r"etc/machine-id|var/lib/dbus/machine-id": "of a machine; mmdebstrap empties the one and removes the other",
    r"etc/ssh/ssh_host_.+": "random",
    r"etc/ssl/(private/ssl-cert-snakeoil\.key|certs/ssl-cert-snakeoil\.pem)": "random",
    r"etc/ssl/certs/[0-9a-f]{8}\.0": "named by the machine, of the certificate of its own",
    r".+/__pycache__/.+\.pyc": "compared by digests where SOURCE_DATE_EPOCH is set, by times where it is not",
    r"var/cache/(man|fontconfig)/.+": "holds times of files",
    r"var/log/fontconfig\.log": "says which folders of fonts were there, which other scripts make",
    r"usr/local/share/fonts": "made where fontconfig is configured before there is another",
    r"var/lib/dpkg/triggers/File": "its lines are in the order in which packages came",
}


class Real(NamedTuple):
    """Real packages in a folder, with the list of what to install, and a base image that has the merged /usr alone."""

    feed: Path
    names: tuple[str, ...]
    base: Path


@pytest.fixture(scope="module")
def real(room) -> Real:
    place = room / "chroot"
    found = debian.packages((*ESSENTIAL, *MORE))
    assert len(found) > FEWEST
    feed = place / "feed"
    feed.mkdir(parents=True)
    for deb in found.values():
        shutil.copy(deb, feed)
    rootfs = place / "rootfs"
    for name in LINKS:
        (rootfs / "usr" / name).mkdir(parents=True)
        (rootfs / name).symlink_to(f"usr/{name}")
    (place / "base.conf").write_text(f'SOURCE_DATE_EPOCH = "{EPOCH}"\n', encoding="utf-8")
    tools.build(place / "base.conf", place / "base", "--rootfs", rootfs)
    return Real(feed, (*ESSENTIAL, *MORE), place / "base" / "base-oci")


def conf(place: Path, base: Path | None, layers: str, *more: str) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    path = place / "app.conf"
    start = [f'OCI_BASE_IMAGE = "{base}"'] if base else []
    settings = ('OCI_PACKAGE_SCRIPTS = "run:chroot"', 'NO_RECOMMENDATIONS = "1"', f'SOURCE_DATE_EPOCH = "{EPOCH}"')
    path.write_text("\n".join([*start, f'OCI_LAYERS = "{layers}"', *settings, *more, ""]), encoding="utf-8")
    return path


class Image(NamedTuple):
    report: dict[str, Any]
    layout: Path
    tree: compare.Listing


def build(path: Path, *feeds: Path, **options: Any) -> Image:
    words = [word for feed in feeds for word in ("--feed", feed)]
    out = path.parent / "deploy"
    report = tools.build(path, out, "--cache-dir", path.parent / "cache", *words, timeout=600, **options)
    return Image(report, out / "app-oci", merge.read_image(out / "app-oci").merged)


@pytest.fixture(scope="module")
def image(real, room) -> Image:
    """All real packages in one layer."""
    return build(conf(room / "chroot" / "one", real.base, f"all:packages:{','.join(real.names)}"), real.feed)


@pytest.fixture(scope="module")
def unpacked(image, room) -> Path:
    tools.need_root()
    root = room / "chroot" / "unpacked"
    tools.oe_oci("unpack", image.layout, root)
    return root


def digests(one: Image) -> list[str]:
    return [layer["digest"] for layer in one.report["layers"]]


def inside(root: Path, *words: str, status: int | None = 0) -> str:
    return tools.run("chroot", root, *words, status=status, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}).stdout


def test_every_script_ran_and_no_package_is_left_unfinished(image, unpacked):
    packages = [one for layer in image.report["layers"] for one in layer["packages"]]
    assert len(packages) > FEWEST
    assert not [one["name"] for one in packages if "scriptsNotRun" in one]
    assert inside(unpacked, "dpkg", "--audit") == ""
    assert inside(unpacked, "dpkg", "--verify") == ""
    assert image.tree[b"var/lib/dpkg/triggers/Unincorp"].size == 0
    assert b"usr/sbin/policy-rc.d" not in image.tree


def test_another_package_can_be_installed_on_top(image, folder):
    tools.need_root()
    root = folder / "root"
    tools.oe_oci("unpack", image.layout, root)
    shutil.copy(debian.packages([LATER])[LATER], root / "later.deb")
    inside(root, "dpkg", "--install", "/later.deb")
    assert inside(root, "dpkg-query", "--show", "--showformat=${Status}", LATER) == "install ok installed"
    assert inside(root, "dpkg", "--audit") == ""


def test_again_elsewhere_and_later_it_is_the_same(real, image, folder):
    feed = folder / "another feed"
    shutil.copytree(real.feed, feed)
    again = build(conf(folder / "x", real.base, f"all:packages:{','.join(real.names)}"), feed)
    compare.assert_same(image.tree, again.tree, times=True)
    assert digests(again) == digests(image)


def test_an_ordinary_user_gets_the_same(real, image):
    with tools.scratch("oe-oci-chroot-", mode=0o755) as place:
        copy = tools.Copy(place)
        user = namespaces.as_user_with_ids(place / "ids")
        path = conf(place / "own", real.base, f"all:packages:{','.join(real.names)}")
        tools.give_to_nobody(place / "own")
        words = ["--deploy-dir", place / "own/out", "--cache-dir", place / "own/cache", "--feed", real.feed]
        env = {**copy.environment(), "HOME": str(place / "own")}
        run = [*user, copy.program, "-m", "oe_oci", "build", path, *words]
        tools.run(*run, timeout=600, env=env, cwd="/")
        found = merge.read_image(place / "own/out/app-oci")
        compare.assert_same(image.tree, found.merged, times=True)


# ---- held against mmdebstrap


@pytest.fixture(scope="module")
def bootstrapped(real, room) -> Path:
    tools.need("mmdebstrap", "dpkg-scanpackages")
    tools.need_root()
    hook = Path("/usr/share/mmdebstrap/hooks/merged-usr")
    place = room / "chroot" / "mmdebstrap"
    shutil.copytree(real.feed, place)
    index = tools.run("dpkg-scanpackages", "-m", ".", cwd=place).stdout
    (place / "Packages").write_text(index, encoding="utf-8")
    words = ["--mode=root", "--variant=custom", f"--include={','.join(real.names)}", f"--hook-dir={hook}"]
    words += ['--aptopt=APT::Install-Recommends "false"', "--format=directory"]
    env = tools.environment(SOURCE_DATE_EPOCH=str(EPOCH))
    tools.run("mmdebstrap", *words, "", place / "root", f"deb [trusted=yes] copy:{place} ./", timeout=600, env=env)
    return place / "root"


def test_the_tree_is_that_of_mmdebstrap_but_for_what_is_told_here(unpacked, bootstrapped):
    found = compare.differences(*map(by_names, (bootstrapped, unpacked)))
    told = re.compile("|".join(WHERE))
    assert [line for line in found if not told.fullmatch(line[1:].partition("'")[0])] == []


def by_names(root: Path) -> compare.Listing:
    """A tree with names for owners, and with texts in an order and without numbers that nobody chose.

    Numbers of accounts follow the order in which packages are configured, which each chooses for itself.
    """
    users, groups = ({line[2]: line[0] for line in table(root, name)} for name in ("passwd", "group"))
    tree = {
        path: facts._replace(uid=users.get(str(facts.uid)), gid=groups.get(str(facts.gid)))
        for path, facts in compare.listing(root).items()
    }
    texts = {
        "etc/passwd": [[*line[:2], groups[line[3]], *line[4:]] for line in table(root, "passwd")],
        "etc/group": [[*line[:2], *line[3:]] for line in table(root, "group")],
        "etc/shadow": table(root, "shadow"),
        "etc/gshadow": table(root, "gshadow"),
        "var/lib/dpkg/triggers/File": lines(root / "var/lib/dpkg/triggers/File"),
        # A blank at the end of a line says nothing.
        "var/lib/dpkg/status": [line.rstrip() for line in lines(root / "var/lib/dpkg/status")],
    }
    for path, found in texts.items():
        ordered = found if path.endswith("status") else sorted(found)
        tree[path.encode()] = tree[path.encode()]._replace(digest=repr(ordered), size=0)
    return tree


def table(root: Path, name: str) -> list[list[str]]:
    return [line.split(":") for line in lines(root / "etc" / name)]


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


# ---- small packages


def script(text: str) -> str:
    return f"#!/bin/sh\nset -e\n{text}\n"


@pytest.fixture(scope="module")
def small(real, room) -> Path:
    """An image with dpkg and a shell, to build upon."""
    names = ",".join((*ESSENTIAL, "debconf"))
    return build(conf(room / "chroot" / "small", real.base, f"all:packages:{names}"), real.feed).layout


def feed(place: Path, *found: Source) -> Path:
    sources.write(found, place, "deb", samples.NUMBERS)
    return place


def text(one: Image, path: str) -> str:
    root = one.layout.parent / "root"
    if not root.exists():
        tools.oe_oci("unpack", one.layout, root)
    return (root / path).read_text(encoding="utf-8")


DATABASES = ("keep", "top", "status.d", "remove")
HEARD = 'echo "$1 $2" >>/var/lib/heard'


@pytest.mark.parametrize("database", DATABASES)
def test_who_is_interested_is_told_once_by_what_lies_there_and_by_scripts(small, folder, database):
    listens = Source("listens", files=[file("/usr/share/listens")], scripts={"postinst": script(HEARD)})
    listens.scripts["triggers"] = "interest-noawait /usr/share/heard\ninterest call\n"
    ships = Source("ships", files=[file("/usr/share/heard/one"), file("/usr/share/heard/two")])
    calls = Source("calls", scripts={"postinst": script("dpkg-trigger call")}, depends=["listens"])
    made = feed(folder / "feed", listens, ships, calls)
    setting = f'OCI_PACKAGE_DATABASE = "{database}"'
    one = build(conf(folder / "x", small, "first:packages:listens second:packages:ships,calls", setting), made)
    assert text(one, "var/lib/heard") == "configure \ntriggered call /usr/share/heard\n"


@pytest.mark.parametrize("database", DATABASES)
def test_scripts_see_the_database_whatever_becomes_of_it(small, folder, database):
    look = script(
        "dpkg-query --show --showformat='${Status} ${Version}\\n' first second >/usr/share/seen\n"
        "dpkg --listfiles first >>/usr/share/seen\n"
        "dpkg --compare-versions 2 gt 1 && env | grep -c ^OFFLINE_ROOT >>/usr/share/seen || true"
    )
    first = Source("first", files=[file("/usr/share/first")])
    second = Source("second", scripts={"postinst": look}, depends=["first"])
    made = feed(folder / "feed", first, second)
    setting = f'OCI_PACKAGE_DATABASE = "{database}"'
    one = build(conf(folder / "x", small, "one:packages:first two:packages:second", setting), made)
    installed = "install ok installed 1.0-1\n"
    assert text(one, "usr/share/seen") == f"{installed}{installed}/.\n/usr\n/usr/share\n/usr/share/first\n0\n"
    status = one.layout.parent / "root/var/lib/dpkg/status"
    assert ("Package: second\n" in status.read_text(encoding="utf-8")) == (database in ("keep", "top"))


def test_what_a_preinst_diverts_lies_elsewhere(small, folder):
    divert = "dpkg-divert --package diverts --add --rename --divert /usr/share/one.real /usr/share/one >/dev/null"
    diverts = Source("diverts", files=[file("/usr/share/one", b"own\n")], scripts={"preinst": script(divert)})
    other = Source("other", files=[file("/usr/share/one", b"other\n")])
    made = feed(folder / "feed", diverts, other)
    one = build(conf(folder / "x", small, "first:packages:other second:packages:diverts"), made)
    assert [text(one, f"usr/share/{name}") for name in ("one", "one.real")] == ["own\n", "other\n"]


@pytest.mark.parametrize("database", ["keep", "remove"])
def test_what_a_postinst_of_a_lower_layer_diverts_lies_elsewhere(small, folder, database):
    """In later layers without scripts: a file of a package that comes, and one of a package that is upgraded."""
    divert = "dpkg-divert --package diverts --add --rename --divert /usr/share/NAME.real /usr/share/NAME >/dev/null"
    does = script("\n".join([*(divert.replace("NAME", name) for name in ("one", "two")), "echo own >/usr/share/one"]))
    diverts = Source("diverts", files=[file("/usr/share/own")], scripts={"postinst": does}, depends=["other"])
    other = [Source("other", f"{version}.0-1", [file("/usr/share/one", version.encode())]) for version in "12"]
    comes = Source("comes", files=[file("/usr/share/two", b"comes\n")], depends=["other >= 2.0"])
    feeds = feed(folder / "old", other[0], diverts), feed(folder / "new", other[1], comes)
    setting = f'OCI_PACKAGE_DATABASE = "{database}"'
    one = build(conf(folder / "x", small, "low:packages:diverts high:packages:comes", setting), *feeds)
    expected = {"one": "own\n", "one.real": "2", "two.real": "comes\n"}
    found = {path[10:].decode() for path in one.tree if path.startswith((b"usr/share/one", b"usr/share/two"))}
    assert found == expected.keys()
    assert {name: text(one, f"usr/share/{name}") for name in expected} == expected
    if database == "keep":
        root = folder / "root"
        tools.oe_oci("unpack", small, root)
        for name in ("old/other", "old/diverts", "new/other", "new/comes"):
            (deb,) = folder.glob(f"{name}_*.deb")
            shutil.copy(deb, root / "one.deb")
            inside(root, "dpkg", "--install", "/one.deb")
        theirs = [*(root / "usr/share").glob("one*"), *(root / "usr/share").glob("two*")]
        assert {path.name: path.read_text(encoding="utf-8") for path in theirs} == expected


def fails(path: Path, *feeds: Path) -> str:
    words = [word for each in feeds for word in ("--feed", each)]
    run = tools.oe_oci("build", path, "--deploy-dir", path.parent / "deploy", *words, status=None)
    assert run.returncode in (2, 3)
    assert not (path.parent / "deploy" / "app-oci").exists()
    return run.stderr


def test_an_image_without_a_shell_is_told(folder):
    made = feed(folder / "feed", Source("bare", scripts={"postinst": script("true")}))
    said = fails(conf(folder / "x", None, "a:packages:bare"), made)
    assert "layer 'a': bare: its postinst needs /bin/sh in the image, which has none" in said
    assert "run:offline" in said


def test_a_script_that_fails_is_told_with_what_it_said(small, folder):
    made = feed(folder / "feed", Source("bad", scripts={"postinst": script("echo no room >&2; exit 7")}))
    said = fails(conf(folder / "x", small, "a:packages:bad"), made)
    assert "layer 'a': bad: its postinst ended with status 7" in said
    assert "no room" in said


def test_a_shell_of_another_architecture_is_told_with_ways_out(folder):
    tools.need_root()
    # An ELF file for a machine that nobody has, nor emulates.
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\0\x64\x4d\x01\0\0\0" + bytes(40)
    foreign = Source("foreign", files=[file("/bin/sh", header, mode=0o755)], scripts={"postinst": script("true")})
    said = fails(conf(folder / "x", None, "a:packages:foreign"), feed(folder / "feed", foreign))
    assert "cannot run a script in isolation" in said
    assert "binfmt_misc" in said
