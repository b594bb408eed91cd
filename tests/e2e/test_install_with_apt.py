# SPDX-License-Identifier: MIT
"""apt and dpkg as they are driven: in the image's directory alone, without scripts, with nothing of this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from support import compare, debian, installed, layouts, merge, packages, tools
from support.layouts import file, folder, hardlink, symlink
from support.managers import MANAGERS, Kit
from support.sources import Source
from support.sources import file as node

SCRIPTS = ("preinst", "postinst", "prerm", "postrm", "config")
REAL = ("base-files", "base-passwd", "bash", "coreutils", "curl", "dash", "git", "perl", "python3")
LAYERS = "base:packages:base-files,bash,coreutils,dash app:packages:curl,perl"


@pytest.fixture
def kit(folder) -> Kit:
    tools.need_root()
    tools.need("apt-get", "dpkg", "dpkg-deb")
    return Kit(MANAGERS["apt"], folder)


@pytest.fixture(scope="module")
def real(room) -> Path:
    """A feed of real packages, with a package of the links of a merged /usr."""
    feed = packages.write_feed(room / "feed of apt", [], index="")
    for path in debian.packages(REAL).values():
        shutil.copy(path, feed)
    return feed


def scripted(kit: Kit, name: str, version: str, **fields: str) -> packages.Made:
    """A package every script of which tells that it ran."""
    ran = kit.folder / "ran"
    scripts = {script: f"#!/bin/sh\necho {name} {script} >>{ran}\n" for script in SCRIPTS}
    extra = {"triggers": "interest /usr/share/triggers\n", "templates": "Template: a/b\nType: string\n"}
    return packages.package(
        name, version, files={f"usr/share/{name}": version.encode()}, scripts=scripts | extra, **fields
    )


def test_no_script_of_any_kind_runs(kit):
    """At installation, at an upgrade, by a trigger, by debconf; those of a base image do not either."""
    trigger = packages.package("trigger", files={"usr/share/triggers/one": b""})
    user = packages.package("user", Depends="old (>= 2)")
    old = packages.write_feed(kit.folder / "old", [scripted(kit, "old", "1"), scripted(kit, "other", "1")], index="")
    new = packages.write_feed(kit.folder / "new", [scripted(kit, "old", "2"), trigger, user], index="")
    kit.build("base", "low:packages:old,other", old)
    image = kit.build(
        "upper", "a:packages:trigger b:packages:user", new, lines=['OCI_BASE_IMAGE = "../base/deploy/app-oci"']
    )
    assert not (kit.folder / "ran").exists()
    assert image.versions() == {"old": "2", "other": "1", "trigger": "1.0", "user": "1.0"}
    (upgraded,) = (package for package in image.layer("b")["packages"] if package["name"] == "old")
    assert upgraded["scriptsNotRun"] == ["preinst", "config", "postinst"]
    info = image.root / "var/lib/dpkg/info"
    for name in ("old", "other"):
        for script in SCRIPTS:
            assert (info / f"{name}.{script}").stat().st_mode & 0o777 == 0o755
            assert f"echo {name} {script}" in (info / f"{name}.{script}").read_text()


def test_it_is_the_same_as_built_in_to_the_byte(kit, real):
    """The times of directories aside, of which dpkg changes those that it works in."""
    builtin = Kit(MANAGERS["deb builtin"], kit.folder)
    lines = ['NO_RECOMMENDATIONS = "1"']
    images = [one.build(name, LAYERS, real, lines=lines) for one, name in ((kit, "apt"), (builtin, "builtin"))]
    one, two = (merge.read_image(image.layout).merged for image in images)
    compare.assert_same(*(merge.without(tree, b"var/lib/dpkg/status") for tree in (one, two)))
    compare.assert_same(*(without_databases(tree) for tree in (one, two)), times=True)
    assert len(one) > 3000
    # dpkg keeps a blank at the end of a line.
    texts = [re.sub(r" +$", "", image.text("var/lib/dpkg/status"), flags=re.MULTILINE) for image in images]
    assert texts[0] == texts[1]
    assert apt_list(images[0].root) == apt_list(images[1].root)
    facts = [[layer["packages"] for layer in image.report["layers"]] for image in images]
    assert [sorted(one, key=str) for one in facts[0]] == [sorted(two, key=str) for two in facts[1]]


def without_databases(tree: compare.Listing) -> compare.Listing:
    return compare.without(merge.without(tree, b"var/lib/dpkg", b"var/lib/apt"), "directory")


def apt_list(root: Path) -> str:
    """What apt says is installed, and whether anyone asked for it."""
    options = ["-o", f"Dir={root}", "-o", f"Dir::State::status={root}/var/lib/dpkg/status", "-o", "Dir::Cache="]
    options += ["-o", f"Dir::State::extended_states={root}/var/lib/apt/extended_states"]
    automatic = tools.run("apt-mark", *options, "showauto").stdout
    assert "libc6\n" in automatic
    assert "bash\n" not in automatic
    return tools.run("apt", "-qq", *options, "list", "--installed").stdout + automatic


def test_nothing_of_this_machine_is_read_or_written(kit):
    """Of apt's and dpkg's folders; dpkg reads its settings in any case."""
    tools.need("strace")
    log = kit.folder / "trace"
    words = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", log, "-e", "trace=%file"]
    lib, app = scripted(kit, "lib", "1"), scripted(kit, "app", "1", Depends="lib")
    feed = packages.write_feed(kit.folder / "feed", [lib, app], index="")
    kit.run("build", "one", "app:packages:app", feed, before=words)
    calls = [call for call in log.read_text(errors="replace").splitlines() if "ENOENT" not in call]
    paths = {match[1] for match in (re.search(r'"(/[^"]*)"', call) for call in calls) if match}
    assert len(paths) > 100
    own = ("/etc/apt", "/var/lib/apt", "/var/lib/dpkg", "/var/cache/apt", "/var/log")
    used = [call for call in calls if not re.match(r"\d+ +\w*(stat|access)\w*\(", call)]
    assert [call for call in used if re.search(f'"({"|".join(own)})', call)] == []
    assert {path for path in paths if path.startswith("/etc/dpkg")} <= {"/etc/dpkg/dpkg.cfg.d", *host_settings()}
    programs = {match[1] for match in (re.search(r'execve\("([^"]*)"', call) for call in calls) if match}
    assert {"dpkg", "dpkg-deb"} <= {os.path.basename(path) for path in programs}
    assert not [path for path in programs if path.endswith(SCRIPTS)]


def host_settings() -> set[str]:
    return {str(path) for pattern in ("dpkg.cfg", "dpkg.cfg.d/*") for path in Path("/etc/dpkg").glob(pattern)}


def test_packages_of_another_architecture(kit):
    other = "arm64" if tools.run("dpkg", "--print-architecture").stdout.strip() != "arm64" else "amd64"
    lib = packages.package("lib", "1", other, files={"usr/lib/lib.so": b"so"}, Multi_Arch="same")
    data = packages.package("data", files={"usr/share/data": b""})
    app = packages.package("app", "1", other, files={"usr/bin/app": b""}, Depends="lib, data")
    more = packages.package("more", "1", other, files={"usr/bin/more": b""}, Depends="app, lib (= 1), data")
    feed = packages.write_feed(kit.folder / "feed", [lib, data, app, more], index="")
    lines = [f'OCI_IMAGE_ARCH = "{other}"']
    image = kit.build("other", "low:packages:app high:packages:more", feed, lines=lines)
    archs = {name: arch for name, (_, arch) in installed.versions("deb", image.root).items()}
    assert archs == {"lib": other, "data": "all", "app": other, "more": other}
    builtin = Kit(MANAGERS["deb builtin"], kit.folder).build(
        "own", "low:packages:app high:packages:more", feed, lines=lines
    )
    compare.assert_same(merge.read_image(image.layout).merged, merge.read_image(builtin.layout).merged)


def test_several_architectures(kit):
    native = tools.run("dpkg", "--print-architecture").stdout.strip()
    lib = packages.package("lib", "1", "i386", files={"usr/lib/i386/lib.so": b"so"}, Multi_Arch="same")
    own = packages.package("lib", "1", native, files={"usr/lib/own/lib.so": b"so"}, Multi_Arch="same")
    feed = packages.write_feed(kit.folder / "feed", [lib, own], index="")
    lines = [f'PACKAGE_ARCHS = "all i386 {native}"', f'OCI_IMAGE_ARCH = "{native}"']
    layers = "low:packages:lib high:packages:lib:i386"
    images = [
        Kit(MANAGERS[name], kit.folder).build(name.replace(" ", ""), layers, feed, lines=lines)
        for name in ("apt", "deb builtin")
    ]
    compare.assert_same(*(merge.read_image(image.layout).merged for image in images))
    assert images[0].text("var/lib/dpkg/arch") == f"{native}\ni386\n"


def test_status_d_of_a_base_becomes_one_database(kit):
    lib, app = Source("lib", files=[node("/usr/lib/lib")]), Source("app", files=[node("/usr/bin/app")], depends=["lib"])
    feed = kit.feed("feed", lib, app)
    base = Kit(MANAGERS["deb builtin"], kit.folder)
    base.build("base", "low:packages:lib", feed, lines=['OCI_PACKAGE_DATABASE = "status.d"'])
    image = kit.build("upper", "app:packages:app", feed, lines=['OCI_BASE_IMAGE = "../base/deploy/app-oci"'])
    assert image.names("app") == ["app"]
    assert image.versions() == {"lib": "1.0-1", "app": "1.0-1"}
    assert not (image.root / "var/lib/dpkg/status.d").exists() or not os.listdir(image.root / "var/lib/dpkg/status.d")


def test_links_that_lead_out_lead_nowhere_on_this_machine(kit):
    """dpkg follows links as this machine has them: /var/run of an image leads to its own /run."""
    outside = kit.folder / "outside"
    outside.mkdir()
    links = [folder("./"), folder("./srv/"), symlink("./srv/out", str(outside)), file("./srv/low")]
    low = packages.package("low", files=links)
    inner = packages.package("inner", files={f"{outside}/there".lstrip("/"): b"there"})
    high = packages.package("high", files={"srv/out/file": b"inside"}, Depends="inner")
    feed = packages.write_feed(kit.folder / "feed", [low, inner, high], index="")
    image = kit.build("links", "low:packages:low,inner high:packages:high", feed)
    assert list(outside.iterdir()) == []
    assert image.tree[b"srv/out"].target == bytes(outside)
    assert bytes(outside).lstrip(b"/") + b"/file" in image.tree


def test_a_link_in_the_database_empties_no_file_of_this_machine(kit):
    victim = kit.folder / "victim"
    victim.write_text("of this machine\n")
    bad = packages.package("bad", files=[symlink("./var/lib/dpkg/lock", str(victim))])
    said = kit.refuse("bad", "low:packages:bad", packages.write_feed(kit.folder / "feed", [bad], index=""))
    assert victim.read_text() == "of this machine\n"
    assert "bad: /var/lib/dpkg/lock is a link in the database" in said


def test_a_database_behind_a_link(kit):
    """As systems have it whose /var is no part of an image: its scripts are not run, and it is carried on."""
    base = kit.folder / "base"
    linked = packages.package("link", files=[*map(folder, ("./", "./usr/", "./usr/db/", "./var/", "./var/lib/"))])
    old, new = [scripted(kit, "old", version) for version in ("1", "2")]
    low = packages.write_feed(kit.folder / "low", [linked, old], index="")
    built = Kit(MANAGERS["deb builtin"], kit.folder).build("plain", "low:packages:link,old", low)
    shutil.copytree(built.root, base, symlinks=True)
    shutil.move(base / "var/lib/dpkg", base / "usr/db/dpkg")
    (base / "var/lib/dpkg").symlink_to("../../usr/db/dpkg")
    kit.build("base-image", "all:directories:/", lines=[f'IMAGE_ROOTFS = "{base}"'])
    user = packages.package("user", Depends="old (>= 2)")
    feed = packages.write_feed(kit.folder / "feed", [user, new], index="")
    lines = ['OCI_BASE_IMAGE = "../base-image/deploy/app-oci"']
    image = kit.build("upper", "app:packages:user", feed, lines=lines)
    assert not (kit.folder / "ran").exists()
    assert os.readlink(image.root / "var/lib/dpkg") == "../../usr/db/dpkg"
    assert image.versions() == {"link": "1.0", "old": "2", "user": "1.0"}
    assert "echo old postinst" in image.text("usr/db/dpkg/info/old.postinst")


def test_what_the_tool_said_is_in_the_error(kit):
    """Its own last lines, with names of files that people know."""
    first = Source("first", files=[node("/usr/bin/same", b"1")])
    second = Source("second", files=[node("/usr/bin/same", b"2")])
    feed = kit.feed("feed", first, second)
    said = kit.refuse("clash", "app:packages:first,second", feed)
    assert "layer 'app': apt: second: trying to overwrite '/usr/bin/same', which is also in package first 1.0-1" in said
    assert f"dpkg: error processing archive {feed}/second_1.0-1_all.deb" in said
    assert "scratch" not in said


# ---- where a build has intercepts


ASKING = '#!/bin/sh\nchmod +x "$INTERCEPT_DIR/$1"; echo "##PKGS: $2 " >>"$INTERCEPT_DIR/$1"\n'


@pytest.fixture
def task(kit):
    """Builds as a user under fakeroot, with intercepts, as BitBake's tasks do."""
    tools.need("fakeroot")
    copy = tools.Copy(kit.folder / "copy")
    hooks = kit.folder / "intercepts"
    hooks.mkdir()
    (hooks / "postinst_intercept").write_text(ASKING)
    (hooks / "postinst_intercept").chmod(0o755)
    (hooks / "cache").write_text('#!/bin/sh\necho "made" >"$D/cache"\n')

    def build(feed, layers, status=0, lines=()):
        place = kit.folder / "image"
        kit.run("lint", "image", layers, feed, status=None, lines=lines)
        tools.give_to_nobody(place)
        words = [*tools.as_nobody(), "fakeroot", copy.program, "-m", "oe_oci", "build", place / "app.conf", "--json"]
        words += ["--feed", feed, "--deploy-dir", place / "deploy", "--set", "OCI_LAYER_CACHE=0"]
        env = copy.environment(INTERCEPT_DIR=str(hooks), TMPDIR=str(place), HOME=str(place))
        return tools.run(*words, env=env, cwd="/", status=status, timeout=300)

    return build


def noting(name: str, version: str = "1.0", more: str = "", **fields: str) -> packages.Made:
    """A package whose scripts note that they ran, and how they were called."""
    scripts = {
        script: f'#!/bin/sh\nset -e\necho "{name} {script} $*" >>"$D/ran"\n'
        for script in ("preinst", "postinst", "prerm")
    }
    scripts["postinst"] += more
    return packages.package(name, version, files={f"usr/share/{name}": version.encode()}, scripts=scripts, **fields)


def test_scripts_of_new_packages_run_outside_each_after_those_of_what_it_needs(kit, task):
    accounts = 'echo "web:x:321:321::/:/bin/sh" >>"$D/etc/passwd"; echo "web:x:321:" >>"$D/etc/group"\n'
    base = packages.package("base", files={"etc/passwd": b"root:x:0:0::/:/bin/sh\n", "etc/group": b"root:x:0:\n"})
    owned = packages.package(
        "web",
        files=[packages.Owned("./web", mode=0o4750, uid=77, gid=77, user="web", group="web")],
        scripts={"preinst": f"#!/bin/sh\n{accounts}", "config": "#!/bin/sh\nexit 1\n"},
        Depends="base",
    )
    made = [noting("b-needed", Depends="base"), noting("a-needs", Depends="b-needed", more="mknod $D/null c 1 3\n")]
    made.append(noting("asks", more="$INTERCEPT_DIR/postinst_intercept cache asks\n", Depends="a-needs"))
    feed = packages.write_feed(kit.folder / "feed", [base, owned, *made, noting("more")], index="")
    done = task(feed, "low:packages:base high:packages:asks,web top:packages:more")
    found = merge.read_image(kit.folder / "image/deploy/app-oci").merged
    root = kit.folder / "image/root"
    tools.oe_oci("unpack", kit.folder / "image/deploy/app-oci", root)
    assert (root / "ran").read_text().splitlines() == [
        "b-needed preinst install",
        "a-needs preinst install",
        "asks preinst install",
        "b-needed postinst configure",
        "a-needs postinst configure",
        "asks postinst configure",
        "more preinst install",
        "more postinst configure",
    ]
    assert (found[b"web"].uid, found[b"web"].gid, found[b"web"].mode) == (321, 321, "4750")
    assert found[b"null"].device == (1, 3)
    assert (root / "cache").read_text() == "made\n"
    layers = json.loads(done.stdout)["layers"]
    left = {
        package["name"]: package["scriptsNotRun"]
        for layer in layers
        for package in layer["packages"]
        if "scriptsNotRun" in package
    }
    assert left == {"web": ["config"]}


def test_an_upgrade_tells_scripts_the_version_below(kit, task):
    feed = packages.write_feed(kit.folder / "feed", [noting("up", "1.0")], index="")
    builtin = ['OCI_PACKAGE_MANAGER = "builtin"', 'OCI_PACKAGE_SCRIPTS = "skip"']
    kit.build("base", "low:packages:up", feed, lines=builtin)
    tools.give_to_nobody(kit.folder / "base")
    newer = [noting("up", "2.0"), packages.package("newer", Depends="up (>= 2)")]
    packages.write_feed(kit.folder / "newer", newer, index="")
    base = [f'OCI_BASE_IMAGE = "{kit.folder}/base/deploy/app-oci"']
    task(kit.folder / "newer", "top:packages:newer", lines=base)
    tools.oe_oci("unpack", kit.folder / "image/deploy/app-oci", kit.folder / "image/root")
    ran = (kit.folder / "image/root/ran").read_text()
    assert ran == "up preinst upgrade 1.0\nup postinst configure 1.0\n"


def test_a_script_that_fails_is_an_error_with_what_it_said(kit, task):
    bad = noting("bad", more="echo no luck; exit 7\n")
    feed = packages.write_feed(kit.folder / "feed", [bad, noting("app", Depends="bad")], index="")
    done = task(feed, "low:packages:app", status=3)
    assert "layer 'low': apt: bad: its postinst ended with status 7" in done.stderr
    assert "no luck" in done.stderr
    assert not (kit.folder / "image/deploy").exists()


def test_as_root_no_script_runs_whatever_intercepts_there_are(kit):
    feed = packages.write_feed(kit.folder / "feed", [scripted(kit, "old", "1")], index="")
    (kit.folder / "hooks").mkdir()
    image = kit.build("one", "low:packages:old", feed, env=tools.environment(INTERCEPT_DIR=str(kit.folder / "hooks")))
    assert not (kit.folder / "ran").exists()
    assert image.layer("low")["packages"][0]["scriptsNotRun"] == ["preinst", "config", "postinst"]


# ---- who may


def test_under_fakeroot_it_is_the_same(kit):
    tools.need("fakeroot")
    owned = [folder("./"), folder("./srv/", mode=0o700, uid=7), file("./srv/su", mode=0o6755, uid=8, gid=9)]
    device = layouts.Member("./srv/null", kind=tarfile.CHRTYPE, device=(1, 3))
    lib = packages.package("lib", files=[*owned, device, hardlink("./srv/more", "./srv/su", mode=0o6755, uid=8, gid=9)])
    app = packages.package("app", files={"usr/bin/app": b"app"}, Depends="lib")
    feed = packages.write_feed(kit.folder / "feed", [lib, app], index="")
    root = kit.build("root", "low:packages:lib app:packages:app", feed)
    copy = tools.Copy(kit.folder / "copy")
    place = kit.folder / "fake"
    place.mkdir()
    shutil.copy(kit.folder / "root" / "app.conf", place)
    tools.give_to_nobody(place)
    words = ["build", place / "app.conf", "--deploy-dir", place / "deploy", "--feed", feed, "--json"]
    words += ["--set", "OCI_LAYER_CACHE=0"]
    program = [*tools.as_nobody(), "fakeroot", copy.program, "-m", "oe_oci"]
    env = copy.environment(TMPDIR=str(place), HOME=str(place))
    done = tools.run(*program, *words, env=env, cwd=place)
    assert [layer["digest"] for layer in json.loads(done.stdout)["layers"]] == root.digests()
    assert merge.read_image(root.layout).merged[b"srv/su"].uid == 8


def test_an_ordinary_user_is_told_the_ways(kit):
    feed = kit.feed("feed", Source("app", files=[node("/usr/bin/app")]))
    kit.build("app", "app:packages:app", feed)
    copy = tools.Copy(kit.folder / "copy")
    words = ["build", kit.folder / "app" / "app.conf", "--deploy-dir", kit.folder / "out", "--feed", feed]
    tools.give_to_nobody(kit.folder)
    done = tools.run(
        *tools.as_nobody(),
        copy.program,
        "-m",
        "oe_oci",
        *words,
        env=copy.environment(HOME=str(kit.folder)),
        cwd="/",
        status=3,
    )
    assert "apt installs as root alone" in done.stderr
    assert "fakeroot oe-oci" in done.stderr
    assert 'OCI_PACKAGE_MANAGER = "builtin"' in done.stderr


def test_in_a_user_namespace_a_device_is_an_error(kit):
    tools.need("unshare", "newuidmap")
    feed = packages.write_feed(
        kit.folder / "feed",
        [
            packages.package(
                "dev",
                files=[
                    folder("./"),
                    folder("./dev/"),
                    layouts.Member("./dev/null", kind=tarfile.CHRTYPE, device=(1, 3)),
                ],
            )
        ],
        index="",
    )
    kit.build("root", "app:packages:dev", feed)
    no_cache = ['OCI_LAYER_CACHE = "0"']
    done = kit.run(
        "build", "user", "app:packages:dev", feed, lines=no_cache, before=["unshare", "--map-root-user"], status=3
    )
    assert "dev" in done.stderr
    assert 'OCI_PACKAGE_MANAGER = "builtin"' in done.stderr


# ---- nothing is left


def test_a_build_that_is_killed_leaves_nothing_that_the_next_one_stumbles_over(kit):
    many = [packages.package(f"p{number}", files={f"srv/{number}": b""}) for number in range(60)]
    feed = packages.write_feed(kit.folder / "feed", many, index="")
    place, layers = kit.folder / "one", "app:packages:" + ",".join(made.fields["Package"] for made in many)
    kit.run("lint", "one", layers, feed, status=None)
    words = [
        sys.executable,
        "-m",
        "oe_oci",
        "build",
        place / "app.conf",
        "--deploy-dir",
        place / "deploy",
        "--feed",
        feed,
    ]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as build:
        while not list(place.glob("deploy/.*/work/root/srv")):
            assert build.poll() is None
            time.sleep(0.02)
        os.killpg(build.pid, signal.SIGKILL)
    image = kit.build("one", "app:packages:p1", feed)
    assert image.versions() == {"p1": "1.0"}
    assert not [name for name in os.listdir(place / "deploy") if name.startswith(".")]
