# SPDX-License-Identifier: MIT
"""Real packages in several layers: merged they are what dpkg makes of the same packages, path by path.

What dpkg makes is computed twice: by `merge.Dpkg`, the rules in some lines of Python, from `dpkg-deb --fsys-tarfile`;
and by dpkg itself, which shows that those lines are right. No script runs in either.

/bin, /sbin, /lib and /lib64 are links into /usr as on a new system: a package of ours ships them, in the lowest layer.
What is not compared are `DATABASES`: dpkg's database, which is compared with dpkg's own by itself, and apt's.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import re
import shutil
import stat
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support import compare, debian, merge, packages, tools
from support.layouts import Member, file, folder, hardlink, symlink

if TYPE_CHECKING:
    from collections.abc import Iterator

EPOCH = 1_600_000_000  # many packages are older, many younger
DATABASES = (b"var/lib/dpkg", b"var/lib/apt")
REAL = ("base-files", "base-passwd", "bash", "coreutils", "curl", "dash", "git", "perl", "python3")
FEWEST = 60
CONF = f"""\
OCI_LAYERS = "\\
    links:packages:usr-merged-links \\
    base:packages:base-files,base-passwd,bash,coreutils,dash \\
    python:packages:python3 \\
    perl:packages:perl \\
    tools:packages:curl,git \\
    special:packages:special \\
"
NO_RECOMMENDATIONS = "1"
OCI_PACKAGE_SCRIPTS = "skip"
SOURCE_DATE_EPOCH = "{EPOCH}"
"""
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")

LINKS = packages.package(
    "usr-merged-links",
    files=[
        *map(folder, ("./", "./usr/", "./usr/bin/", "./usr/lib/", "./usr/lib64/", "./usr/sbin/")),
        *(symlink(f"./{name}", f"usr/{name}") for name in ("bin", "lib", "lib64", "sbin")),
    ],
)
LATE = EPOCH + 1000
SPECIAL = packages.package(
    "special",
    files=[
        folder("./"),
        folder("./usr/", mode=0o700, uid=77),  # is there already, and keeps its facts
        folder("./usr/share/"),
        folder("./usr/share/special/", mode=0o3770, uid=12, gid=34, mtime=LATE),
        file("./usr/share/special/su", b"su\n", mode=0o6755, uid=1234, gid=3_000_000_000, mtime=EPOCH - 5.75),
        hardlink("./usr/share/special/su-too", "./usr/share/special/su"),
        # Behind links of the lowest layer, which the package does not know.
        file("./bin/special-ping", b"ping\n", mode=0o755, pax=packages.xattrs(security__capability=CAPABILITY)),
        hardlink("./usr/lib/special-ping", "./bin/special-ping"),
        symlink("./lib/special-link", "../no/where"),
        file("./var/special/none", b"", mode=0),
        folder("./var/special/deep", pax=packages.xattrs(user__text="naïve".encode(), user__long=b"x" * 900)),
        Member("./dev/special-null", kind=tarfile.CHRTYPE, device=(1, 3), mode=0o666),
        Member("./dev/special-loop", kind=tarfile.BLKTYPE, device=(259, 70000), mode=0o660, gid=6),
        Member("./run/special-fifo", kind=tarfile.FIFOTYPE, mode=0o620),
        file(f"./srv/{'n' * 255}", b"long\n", mtime=0),
        file("./srv/grün ", b"unicode\n"),
        file("./etc/special-moved", b"old\n"),
        file("./etc/special.conf", b"conf = 1\n", mode=0o640, gid=42),
    ],
    scripts={"conffiles": "/etc/special.conf\n", "postinst": "#!/bin/sh\nexit 1\n"},
    Depends="special-taker",
)
# Is installed before `special`, as that needs it, and yet its file wins; one of its own goes to a later package.
DATA = packages.package(
    "special-data",
    files={"etc/special-moved": b"new\n", "opt/data": bytes(range(256)) * 9000, "opt/taken": b"old\n"},
    Replaces="special",
)
TAKER = packages.package(
    "special-taker", files={"opt/taken": b"new\n"}, Replaces="special-data (<< 1.1)", Depends="special-data"
)
MADE = (LINKS, SPECIAL, DATA, TAKER)


class Built(NamedTuple):
    """An image, what the report says of its layers, and the file of each package."""

    layout: Path
    layers: list[dict[str, Any]]
    files: dict[str, Path]
    report: bytes

    def order(self) -> list[dict[str, Any]]:
        return [package for layer in self.layers for package in layer["packages"]]


def write_feed(place: Path) -> dict[str, Path]:
    """A feed without an index; its files by the packages' names."""
    place = packages.write_feed(place, MADE, index="")
    found = {made.fields["Package"]: place / made.name for made in MADE}
    for name, path in debian.packages(REAL).items():
        found[name] = Path(shutil.copy(path, place))
    return found


def write_index(files: dict[str, Path], place: Path) -> None:
    paragraphs = []
    for path in files.values():
        data = path.read_bytes()
        text = tools.run("dpkg-deb", "--field", path).stdout
        digest = hashlib.sha256(data).hexdigest()
        paragraphs.append(f"{text}Filename: {path.name}\nSize: {len(data)}\nSHA256: {digest}\n")
    (place / "Packages.xz").write_bytes(lzma.compress("\n".join(paragraphs).encode()))


def build(folder: Path, files: dict[str, Path]) -> Built:
    folder.mkdir()
    (folder / "app.conf").write_text(CONF, encoding="utf-8")
    feed = next(iter(files.values())).parent
    report = tools.build(folder / "app.conf", folder / "deploy", "--feed", feed)
    return Built(folder / "deploy/app-oci", report["layers"], files, (folder / "deploy/app-oci.json").read_bytes())


@pytest.fixture(scope="module")
def feed(room) -> dict[str, Path]:
    return write_feed(room / "feed of debian")


@pytest.fixture(scope="module")
def built(room, feed) -> Built:
    return build(room / "built of packages", feed)


@pytest.fixture(scope="module")
def image(built) -> merge.Image:
    return merge.read_image(built.layout)


class Expected(NamedTuple):
    """What the packages of all layers are by the rules of dpkg, and those of all layers but the last."""

    whole: compare.Listing
    real: compare.Listing


@pytest.fixture(scope="module")
def expected(built) -> Expected:
    root = merge.Dpkg(EPOCH)
    listings = []
    for layer in built.layers:
        for package in layer["packages"]:
            root.unpack(built.files[package["name"]])
        root.end_layer(*DATABASES)
        listings.append(root.listing())
    return Expected(listings[-1], listings[-2])


class Unpacked(NamedTuple):
    """An image on disk, and what was there before programs ran in it."""

    root: Path
    listing: compare.Listing


@pytest.fixture(scope="module")
def unpacked(built) -> Iterator[Unpacked]:
    tools.need_root()
    with tools.scratch("oe-oci-packages-", 0o755) as folder:
        root = folder / "root"
        tools.oe_oci("unpack", built.layout, root)
        listing = compare.listing(root)
        os.mknod(root / "dev/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        yield Unpacked(root, listing)


def compared(tree: compare.Listing) -> compare.Listing:
    return merge.without(tree, *DATABASES)


# ---- the tree


def test_the_layers_merged_are_the_packages_unpacked(expected, image):
    compare.assert_same(compared(expected.whole), compared(image.merged), times=True)
    assert len({facts.mtime for facts in expected.whole.values()}) > 30
    kinds = {facts.kind for facts in expected.whole.values()}
    assert kinds == {"file", "directory", "link", "fifo", "character device", "block device"}


def test_as_unpacked_to_a_disk(expected, unpacked):
    compare.assert_same(compared(expected.whole), compared(unpacked.listing), times=True)


def test_umoci_unpacks_the_same_and_runc_runs_it(expected, built):
    with tools.scratch("oe-oci-umoci-") as folder:
        root = tools.umoci_unpack(built.layout, "latest", folder / "bundle")
        compare.assert_same(compared(expected.whole), compared(compare.listing(root)), times=True)
        config = json.loads((folder / "bundle/config.json").read_text(encoding="utf-8"))
        config["process"]["args"] = ["python3", "-c", "import ssl, os; os.system('git --version')"]
        (folder / "bundle/config.json").write_text(json.dumps(config), encoding="utf-8")
        assert tools.runc_run(folder / "bundle").stdout.startswith("git version ")


def test_links_are_followed_and_files_replaced(image):
    """That the comparison above sees what it is for."""
    merged = image.merged
    assert merged[b"bin"].target == b"usr/bin"
    assert merged[b"usr/bin/special-ping"].xattrs == {"security.capability": CAPABILITY}
    assert merged[b"usr/bin/special-ping"].names == {b"usr/bin/special-ping", b"usr/lib/special-ping"}
    assert merged[b"usr/lib/special-link"].kind == "link"
    assert merged[b"usr"].mode == "0755"
    assert merged[b"usr/share/special/su"].mode == "6755"
    for path in (b"etc/special-moved", b"opt/taken"):
        assert merged[path].digest == hashlib.sha256(b"new\n").hexdigest()
    assert not any(path.startswith((b"bin/", b"lib/", b"sbin/", b"lib64/")) for path in merged)


def test_every_layer_holds_only_what_those_below_lack(built, image):
    """A path is in two layers only as a directory on the way, or as a file of the database."""
    assert [layer["name"] for layer in built.layers] == ["links", "base", "python", "perl", "tools", "special"]
    seen: set[bytes] = set()
    for members in image.layers:
        again = {path for path in members.keys() & seen if not path.startswith(DATABASES)}
        assert [path for path in again if not members[path].isdir()] == []
        on_the_way = {up for path in members.keys() - again for up in merge.parents(path)}
        assert again <= on_the_way
        seen |= members.keys()
    names = [package["name"] for package in built.order()]
    assert len(set(names)) == len(names) >= FEWEST


# ---- dpkg itself


@pytest.fixture(scope="module")
def dpkgs(built) -> Iterator[Path]:
    """What dpkg makes of the real packages without their scripts, in the same order."""
    tools.need_root()
    with tools.scratch("oe-oci-dpkg-", 0o755) as folder:
        files = [built.files[package["name"]] for package in built.order() if package["name"] in real(built)]
        (folder / "root/var/lib/dpkg").mkdir(parents=True)
        stripped = [without_scripts(path, folder / path.name) for path in files]
        options = (f"--root={folder}/root", "--log=/dev/null", "--force-unsafe-io", "--force-depends")
        tools.run("dpkg", *options, "--install", *stripped)
        yield folder / "root"


def real(built: Built) -> list[str]:
    return [name for name in built.files if not name.startswith("special")]


def without_scripts(path: Path, target: Path) -> Path:
    """The same package, without the scripts that dpkg would run."""
    scripts = ("preinst", "postinst", "prerm", "postrm", "config")
    kept = {name: data for name, data in merge.control_files(path).items() if name not in scripts}
    control = packages.control_tar(kept.pop("control"), kept)
    found = [
        ("control.tar", control) if name.startswith("control.tar") else (name, data)
        for name, data in merge.parts(path.read_bytes())
    ]
    target.write_bytes(packages.ar(found))
    return target


def test_dpkg_itself_unpacks_the_same(expected, dpkgs):
    """The rules in Python above are those of dpkg. It has no time for directories, and takes no extended header."""
    theirs = compare.listing(dpkgs)
    theirs[b"."] = theirs[b"."]._replace(mode=expected.real[b"."].mode)  # which dpkg does not make
    compare.assert_same(compared(expected.real), compared(theirs))


def test_the_database_is_dpkgs_own(built, unpacked, dpkgs):
    """Of the real packages every file of it, byte for byte, but for the scripts that dpkg here did not get."""
    ours, theirs = (root / "var/lib/dpkg" for root in (unpacked.root, dpkgs))
    names = {path.name for path in (theirs / "info").iterdir()}
    assert len([name for name in names if name.endswith(".list")]) >= FEWEST
    assert {
        name for name in names if (ours / "info" / name).read_bytes() != (theirs / "info" / name).read_bytes()
    } == set()
    more = {path.name for path in (ours / "info").iterdir()} - names
    assert {name for name in more if not name.startswith("special")} == {
        f"{name}.{script}"
        for name in {re.sub(r"\.list$", "", name) for name in names if name.endswith(".list")}
        for script in ("preinst", "postinst", "prerm", "postrm", "config")
        if (ours / "info" / f"{name}.{script}").exists()
    }
    mine, dpkgs_own = paragraphs(ours / "status"), paragraphs(theirs / "status")
    assert [name for name in mine if not name.startswith("special")] == list(dpkgs_own)
    for name, text in dpkgs_own.items():
        # dpkg keeps blanks at the end of a description's first line.
        assert mine[name].split("\n") == [line.rstrip() for line in text.split("\n")]
    for name in ("triggers/File", "triggers/Unincorp", "diversions", "arch"):
        found = [(path / name).read_bytes() if (path / name).exists() else b"" for path in (ours, theirs)]
        assert found[0] == found[1], name


def paragraphs(status: Path) -> dict[str, str]:
    found = status.read_text(encoding="utf-8").split("\n\n")
    return {text.partition("\n")[0].removeprefix("Package: "): text for text in found if text.strip()}


def test_dpkg_finds_every_package_whole(built, unpacked):
    def dpkg(*words: str) -> str:
        return tools.run("dpkg", f"--root={unpacked.root}", *words).stdout

    table = re.findall(r"^(\w\w)\s+(\S+)\s+(\S+)\s+(\S+)", dpkg("-l").partition("+++-")[2], re.MULTILINE)
    listed = {(state, name.partition(":")[0], version, arch) for state, name, version, arch in table}
    assert listed == {
        ("ii", *(package[key] for key in ("name", "version", "architecture"))) for package in built.order()
    }
    assert dpkg("--audit") == ""
    assert dpkg("--verify") == ""
    assert dpkg("-S", "/usr/bin/git") == "git: /usr/bin/git\n"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("python3 -c 'import ssl, sqlite3, ctypes; print(ssl.OPENSSL_VERSION)'", "OpenSSL "),
        ("perl -MPOSIX -e 'print POSIX::floor(42.5)'", "42"),
        ("git --version", "git version "),
        ("cd /tmp && git init -q x && git -C x status --short && echo clean", "clean"),
        ("curl --version", "curl "),
        ("dpkg -s git", "Package: git\nStatus: install ok installed\n"),
        ("bash -c 'echo $BASH_VERSION'", "5."),
    ],
)
def test_programs_run(unpacked, command, said):
    done = tools.run(
        "chroot", unpacked.root, "/bin/sh", "-ec", command, env={"PATH": "/usr/bin:/usr/sbin", "HOME": "/tmp"}
    )
    assert done.stdout.startswith(said), done.stdout


# ---- the feed and the report


def test_an_index_changes_nothing(built, room):
    files = write_feed(room / "feed with an index")
    write_index(files, room / "feed with an index")
    again = build(room / "built of an index", files)
    assert again.report == built.report


def test_the_report_names_what_was_not_run(built):
    by_name = {package["name"]: package for package in built.order()}
    assert by_name["special"]["scriptsNotRun"] == ["postinst"]
    for name, package in by_name.items():
        control = merge.control_files(built.files[name])
        assert package.get("scriptsNotRun", []) == [one for one in ("preinst", "config", "postinst") if one in control]
        digest = hashlib.sha256(built.files[name].read_bytes()).hexdigest()
        assert package["digest"] == f"sha256:{digest}"
        assert package["size"] == built.files[name].stat().st_size
    for top in ("python3", "perl", "curl", "git", "special"):
        assert "askedBy" not in by_name[top]
    assert by_name["libcurl4"]["askedBy"] == "curl"


def test_setuid_and_devices_are_really_there(unpacked):
    assert (unpacked.root / "usr/share/special/su").lstat().st_mode & stat.S_ISUID
    assert stat.S_ISBLK((unpacked.root / "dev/special-loop").lstat().st_mode)
