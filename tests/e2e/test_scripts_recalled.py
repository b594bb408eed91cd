# SPDX-License-Identifier: MIT
"""What scripts of packages did is not done again where nothing changed that they are given, and else it is."""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING, Any

import pytest
from support import compare, installed, namespaces, tools
from support.managers import MANAGERS, Image, Kit
from support.sources import NATIVE, Source, file, hardlink, symlink

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WITH_SCRIPTS = [name for name, manager in MANAGERS.items() if manager.scripts.startswith("run")]
LAYERS = "low:packages:lib high:packages:app"
UNCACHED = 'OCI_LAYER_CACHE = "0"'
ACCOUNTS = "root:x:0:0::/:/bin/sh\n"

# Before there is a file, and after: what has its bytes in the layer, is small, was there, or goes again.
FIRST = """\
#!/bin/sh
set -e
mkdir -p $D/etc $D/var/early
echo early >$D/var/early/first
echo later gone >$D/var/early/gone
echo "app:x:77:77::/:/bin/false" >>$D/etc/passwd
"""
LAST = """\
#!/bin/sh
set -e
cd $D
mkdir -p var/made {database}
rm var/early/gone usr/share/{name}/gone
echo more >>var/early/first
head -c 2500000 /dev/zero | tr '\\0' {letter} >var/made/{name}-large
echo {name} >var/made/{name}-small
ln var/made/{name}-small var/made/{name}-link
ln usr/share/{name}/one var/made/{name}-more
ln -s {name}-small var/made/{name}-symlink
cp usr/share/{name}/copied var/made/{name}-copy
mv usr/share/{name}/moved var/made/{name}-moved
: >var/made/{name}-empty
chmod 4755 usr/share/{name}/mode
chown 12:34 usr/share/{name}/owner
touch -d @1000 usr/share/{name}/touched
mkfifo var/made/{name}-fifo
echo {name} >>{database}/mine
"""
SHELL = Source("shell", files=[file("/bin/sh", b"")])  # which rpm has packages need whose scripts it runs
NAMES = ("gone", "copied", "moved", "mode", "owner", "touched")


def source(kit: Kit, name: str, *, last: str = LAST, data: bytes = b"", **more: Any) -> Source:
    nodes = [file(f"/usr/share/{name}/{each}", f"{name} {each}\n".encode() + data) for each in NAMES]
    nodes.append(file(f"/usr/share/{name}/one", f"{name} one\n".encode() * 99))
    nodes.append(hardlink(f"/usr/share/{name}/two", nodes[-1]))
    words = {"name": name, "letter": name[0], "database": installed.DATABASES[kit.manager.kind]}
    scripts = {"preinst": FIRST, "postinst": last.format(**words)}
    return Source(name, files=[*nodes, *more.pop("files", ())], scripts=scripts, **more)


def packages(kit: Kit, **changed: Any) -> list[Source]:
    """Two packages; `changed` is of the one below where it has `lib` before it, else of the other one."""
    below = {key[4:]: value for key, value in changed.items() if key.startswith("lib_")}
    above = {key: value for key, value in changed.items() if not key.startswith("lib_")}
    return [SHELL, source(kit, "lib", **below), source(kit, "app", depends=["lib"], **above)]


@pytest.fixture(params=WITH_SCRIPTS)
def kit(request, folder) -> Kit:
    tools.need_root()
    tools.need(*MANAGERS[request.param].programs)
    return Kit(MANAGERS[request.param], folder)


@pytest.fixture
def one(folder) -> Kit:
    """One that is quick."""
    tools.need_root()
    tools.need("bwrap")
    return Kit(MANAGERS["ipk with scripts"], folder)


def hidden(kit: Kit, **changes: str | None) -> dict[str, str]:
    """An environment in which no script can run."""
    nothing = kit.folder / "nothing"
    nothing.mkdir(exist_ok=True)
    return tools.environment(PATH=str(nothing), **changes)


def would_run(kit: Kit, name: str, layers: str, *feeds: Path, cache: str = "one", **how: Any) -> bool:
    """Whether a build must run a script; it can not, and leaves the cache as it was."""
    changes = how.pop("env", {})
    done = kit.run("build", name, layers, *feeds, status=None, env=hidden(kit, **changes), cache=cache, **how)
    assert done.returncode in (0, 3), done.stderr
    assert (done.returncode == 3) == ("scripts of packages can not be isolated here" in done.stderr), done.stderr
    return done.returncode == 3


def layout(image: Image) -> dict[str, str]:
    return compare.contents(image.layout)


def assert_as_cold(kit: Kit, image: Image, layers: str, *feeds: Path, lines: Sequence[str] = (), **how: Any) -> None:
    cold = kit.build("cold", layers, *feeds, lines=[*lines, UNCACHED], **how)
    assert layout(image) == layout(cold)


# ---- nothing changed


@pytest.mark.parametrize("database", ["keep", "remove", "top"])
def test_nothing_runs_where_nothing_changed(kit, database):
    feed, lines = kit.feed("feed", *packages(kit)), [f'OCI_PACKAGE_DATABASE = "{database}"']
    one = kit.build("one", LAYERS, feed, lines=lines)
    assert one.tree[b"var/made/lib-small"].names == {b"var/made/lib-small", b"var/made/lib-link"}
    assert one.tree[b"usr/share/app/one"].names == {
        b"usr/share/app/one",
        b"usr/share/app/two",
        b"var/made/app-more",
    }
    again = kit.build("two", LAYERS, feed, lines=lines, cache="one", env=hidden(kit))
    assert layout(again) == layout(one)
    found = [[layer.get("packages") for layer in image.report["layers"]] for image in (one, again)]
    assert found[0] == found[1]
    assert_as_cold(kit, again, LAYERS, feed, lines=lines)
    # Layers that are to be written anew have the bytes of what scripts made from the layers that were kept.
    plain = [*lines, 'OCI_LAYER_COMPRESSION = "none"']
    third = kit.build("three", LAYERS, feed, lines=plain, cache="one", env=hidden(kit))
    assert [layer["diffId"] for layer in third.report["layers"]] == [layer["diffId"] for layer in one.report["layers"]]


def test_nothing_is_made_to_work_in(one):
    feed = one.feed("feed", *packages(one))
    one.build("one", LAYERS, feed)
    (one.folder / "file").write_text("no folder\n")
    lines = [f'OCI_WORK_DIR = "{one.folder}/file"']
    assert not would_run(one, "two", LAYERS, feed, lines=lines)


def test_a_plan_runs_what_no_build_kept(one):
    feed = one.feed("feed", *packages(one))
    assert one.run("plan", "one", LAYERS, feed, status=None, env=hidden(one)).returncode == 3
    one.build("one", LAYERS, feed)
    one.run("plan", "one", LAYERS, feed, env=hidden(one))


def test_what_does_not_matter_runs_nothing(one):
    """Where it is built, when and by whom, in how many threads, and how the layer is called."""
    feed = one.feed("feed", *packages(one))
    image = one.build("one", LAYERS, feed)
    env = {"TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "3", "HOME": "/nowhere"}
    assert not would_run(one, "another folder", LAYERS.replace("low", "other"), feed, env=env)
    other = one.feed("other", *packages(one))
    words = [
        "build",
        one.folder / "one/app.conf",
        "--feed",
        other,
        "--cache-dir",
        one.folder / "one/cache",
        "--jobs",
        1,
    ]
    tools.oe_oci(*words, "--deploy-dir", one.folder / "deploy", env=hidden(one))
    assert compare.contents(one.folder / "deploy/app-oci") == layout(image)


def test_the_layer_above_alone_runs_where_it_alone_is_new(kit):
    """What is recalled below is what it runs on."""
    feed = kit.feed("feed", *packages(kit))
    kit.build("one", "low:packages:lib", feed)
    image = kit.build("two", LAYERS, feed, cache="one")
    assert_as_cold(kit, image, LAYERS, feed)
    assert not would_run(kit, "three", LAYERS, feed)


def test_what_is_recalled_is_whole_though_the_scripts_of_another_layer_ran_before_and_after(one):
    """What those below made lies in the directory that scripts run in, where those above change it."""
    layers = "low:packages:lib high:packages:app top:packages:more"
    script = "#!/bin/sh\nset -e\necho changed >$D/var/made/lib-large\n"
    more = Source("more", files=[file("/usr/bin/more")], scripts={"postinst": script})
    moving = LAST + "cp var/made/lib-large var/made/large-again\n"
    feed = one.feed("feed", *packages(one, last=moving), more)
    one.build("one", layers, feed)
    for path in (one.folder / "one/cache/entries").glob("*/*"):
        if b'"layer":"low"' in path.read_bytes():
            path.unlink()
    new = one.feed(
        "new", *packages(one, last=moving), dataclasses.replace(more, scripts={"postinst": script + "true\n"})
    )
    lines = ['OCI_IMAGE_PATHS = "/var/made/large-again:0640:0:0"']
    image = one.build("two", layers, new, lines=lines, cache="one")
    assert_as_cold(one, image, layers, new, lines=lines)


# ---- what matters


def test_a_script_that_changed_runs_again(kit):
    old = kit.feed("old", *packages(kit))
    kit.build("one", LAYERS, old)
    new = kit.feed("new", *packages(kit, last=LAST + "echo new >>var/early/first\n"))
    assert would_run(kit, "two", LAYERS, new)
    image = kit.build("two", LAYERS, new, cache="one")
    assert image.text("var/early/first").endswith("new\n")
    assert_as_cold(kit, image, LAYERS, new)


def test_a_package_below_that_changed_runs_scripts_above_again(one):
    """Those below too, which see its files."""
    reading = LAST + "cat usr/share/lib/mode >>var/early/first\n"
    old = one.feed("old", *packages(one, last=reading))
    one.build("one", LAYERS, old)
    new = one.feed("new", *packages(one, last=reading, lib_data=b"changed\n"))
    assert would_run(one, "two", "low:packages:lib", new)
    assert would_run(one, "two", LAYERS, new)
    image = one.build("two", LAYERS, new, cache="one")
    assert image.text("var/early/first").endswith("lib mode\nchanged\n")
    assert_as_cold(one, image, LAYERS, new)


def test_a_file_below_that_changed_runs_scripts_again(one):
    (one.folder / "note").write_text("old\n")
    feed = one.feed("feed", *packages(one, lib_last=LAST + "cp etc/note var/made/note\n"))
    layers = f"note:host:../note:/etc/ {LAYERS}"
    one.build("one", layers, feed)
    assert not would_run(one, "two", layers, feed)
    (one.folder / "note").write_text("new\n")
    assert would_run(one, "two", layers, feed)
    image = one.build("two", layers, feed, cache="one")
    assert image.text("var/made/note") == "new\n"
    assert_as_cold(one, image, layers, feed)


@pytest.mark.parametrize(
    "line",
    [
        'SOURCE_DATE_EPOCH = "1"',
        'OCI_PACKAGE_DATABASE = "remove"',
        'OCI_IMAGE_ACCOUNTS = "user:shop:1000"',
        'OCI_PACKAGE_SCRIPTS = "run:chroot"',
    ],
)
def test_a_setting_that_reaches_scripts_runs_them_again(one, line):
    feed = one.feed("feed", *packages(one))
    one.build("one", LAYERS, feed)
    assert would_run(one, "two", LAYERS, feed, lines=[line])


def test_no_epoch_is_another_one_than_1970(one):
    feed = one.feed("feed", *packages(one))
    one.build("one", LAYERS, feed, lines=['SOURCE_DATE_EPOCH = "0"'])
    unset = {"lines": ['SOURCE_DATE_EPOCH = ""'], "env": tools.environment(SOURCE_DATE_EPOCH=None)}
    image = one.build("two", LAYERS, feed, cache="one", **unset)
    assert_as_cold(one, image, LAYERS, feed, **unset)


def test_an_intercept_that_changed_runs_scripts_again(one):
    hooks = one.folder / "hooks"
    hooks.mkdir()
    (hooks / "cache").write_text("#!/bin/sh\necho old\n")
    env = {"INTERCEPT_DIR": str(hooks)}
    feed = one.feed("feed", *packages(one))
    one.build("one", LAYERS, feed, env=tools.environment(**env))
    assert not would_run(one, "two", LAYERS, feed, env=env)
    (hooks / "cache").write_text("#!/bin/sh\necho new\n")
    assert would_run(one, "two", LAYERS, feed, env=env)
    assert would_run(one, "two", LAYERS, feed)


def test_what_is_left_to_the_first_boot_is_told_again(one):
    hooks = one.folder / "hooks"
    hooks.mkdir()
    (hooks / "delay_to_first_boot").write_text("#!/bin/sh\n")
    asking = 'chmod +x "$INTERCEPT_DIR/delay_to_first_boot"\n'
    env = {"INTERCEPT_DIR": str(hooks)}
    feed = one.feed("feed", *packages(one, last=LAST + asking))
    first = one.run("build", "one", LAYERS, feed, env=tools.environment(**env))
    again = one.run("build", "two", LAYERS, feed, env=hidden(one, **env), cache="one")
    for done in (first, again):
        assert done.stderr.count("is left to the first boot") == 1


def test_without_a_cache_scripts_run(one):
    feed = one.feed("feed", *packages(one))
    one.build("one", LAYERS, feed)
    assert would_run(one, "two", LAYERS, feed, lines=[UNCACHED])


# ---- what was kept


@pytest.mark.parametrize("damage", ["removed", "changed"])
@pytest.mark.parametrize("what", ["blobs/sha256", "archives", "entries"])
def test_what_was_kept_and_is_damaged_is_done_again(one, what, damage):
    feed = one.feed("feed", *packages(one))
    image = one.build("one", LAYERS, feed)
    for path in [path for path in (one.folder / "one/cache" / what).rglob("*") if path.is_file()]:
        data = path.read_bytes()
        path.unlink()  # the image's blob can be the same file
        if damage == "changed":
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert layout(one.build("two", LAYERS, feed, cache="one")) == layout(image)
    assert not would_run(one, "three", LAYERS, feed)


def test_a_layer_that_scripts_left_as_it_was_is_not_made_again(one):
    script = "#!/bin/sh\ntest -e $D/etc/passwd\n"
    lib = source(one, "lib", files=[file("/etc/passwd", ACCOUNTS.encode())])
    nothing = Source("nothing", files=[], scripts={"postinst": script})
    feed, lines = one.feed("feed", lib, nothing), ['OCI_PACKAGE_DATABASE = "remove"']
    layers = "low:packages:lib high:packages:nothing"
    image = one.build("one", layers, feed, lines=lines)
    assert image.layer("high")["note"] == "left out: it changes nothing"
    assert not would_run(one, "two", layers, feed, lines=lines)


def test_a_large_file_that_is_not_in_the_layer_is_made_again(one):
    """A rule for paths removed it: nothing has its bytes."""
    feed, lines = one.feed("feed", *packages(one)), ['OCI_IMAGE_PATHS = "/var/made/app-large:remove"']
    image = one.build("one", LAYERS, feed, lines=lines)
    again = one.build("two", LAYERS, feed, lines=lines, cache="one")
    assert layout(again) == layout(image)
    assert not would_run(one, "three", "low:packages:lib", feed)
    assert would_run(one, "three", LAYERS, feed)


def test_an_account_that_a_script_adds_owns_files_again(kit):
    """The owners of a layer's files are looked up among what was recalled."""
    nodes = [file("/srv/app", user="app", group="root")]
    lib = source(kit, "lib", files=[file("/etc/passwd", ACCOUNTS.encode())])
    feed = kit.feed("feed", SHELL, lib, source(kit, "app", depends=["lib"], files=nodes))
    image = kit.build("one", LAYERS, feed)
    assert image.tree[b"srv/app"].uid == 77
    again = kit.build("two", LAYERS, feed, cache="one", env=hidden(kit))
    assert layout(again) == layout(image)


# ---- whoever runs them, in either way


def test_what_an_ordinary_user_had_done_is_recalled_by_root(one, product):
    feed = one.feed("feed", *packages(one))
    cold = one.build("cold", LAYERS, feed, lines=[UNCACHED])
    user = namespaces.as_user_with_ids(one.folder / "ids")
    mine = one.folder / "mine"
    mine.mkdir()
    tools.give_to_nobody(mine)
    words = ["build", one.folder / "cold/app.conf", "--feed", feed, "--cache-dir", mine / "cache", "-q"]
    words += ["--set", "OCI_LAYER_CACHE=1", "--deploy-dir"]
    env = product.environment()
    tools.run(*user, product.program, "-m", "oe_oci", *words, mine / "deploy", env=env, cwd="/")
    assert compare.contents(mine / "deploy/app-oci") == layout(cold)
    tools.oe_oci(*words, one.folder / "deploy", env=hidden(one))
    assert compare.contents(one.folder / "deploy/app-oci") == layout(cold)


def test_scripts_that_have_the_image_as_their_root(one, busybox):
    nodes = [file("/bin/busybox", (busybox / "bin/busybox").read_bytes(), mode=0o755), symlink("/bin/sh", "busybox")]
    script = "#!/bin/sh\nbusybox mkdir /var /etc; echo made >/etc/made; busybox ln /etc/made /var/made\n"
    feed = one.feed("feed", Source("app", files=nodes, scripts={"postinst": script}))
    lines = ['OCI_PACKAGE_SCRIPTS = "run:chroot"']
    image = one.build("one", "app:packages:app", feed, lines=lines)
    assert image.text("var/made") == "made\n"
    again = one.build("two", "app:packages:app", feed, lines=lines, cache="one", env=hidden(one))
    assert layout(again) == layout(image)


def test_scripts_that_others_set_off(folder, busybox):
    """dpkg's triggers, of which each round is recalled by itself."""
    tools.need("bwrap")
    kit = Kit(MANAGERS["deb with scripts"], folder)
    shell = file("/bin/busybox", (busybox / "bin/busybox").read_bytes(), mode=0o755)
    scripts = {"postinst": '#!/bin/sh\necho "$@" >>/told\n', "triggers": "interest-noawait /srv\n"}
    low = Source("low", files=[shell, symlink("/bin/sh", "busybox")], scripts=scripts)
    feed = kit.feed("feed", low, Source("high", files=[file("/srv/high")]))
    layers, lines = "low:packages:low high:packages:high", ['OCI_PACKAGE_SCRIPTS = "run:chroot"']
    image = kit.build("one", layers, feed, lines=lines)
    assert image.text("told") == "configure \ntriggered /srv\n"
    again = kit.build("two", layers, feed, lines=lines, cache="one", env=hidden(kit))
    assert layout(again) == layout(image)


# ---- any scripts


STEPS = (
    "echo {n} >>{file}",
    "head -c {large} /dev/zero | tr '\\0' {letter} >{file}",
    "cp {other} {file}",
    "mv {other} {file}",
    "ln -f {other} {file}",
    "ln -sfn /usr/share/{n} {file}",
    "rm -rf {file}",
    "rm -rf {folder} && mkdir {folder}",
    "mkdir -p {folder}/{n}",
    "chmod {mode} {other}",
    "chown {n}:{n} {other}",
    "touch -d @{n}000 {other}",
    "cat {other} {file} >usr/share/joined; mv usr/share/joined {file}",
)


def chance(rng: random.Random) -> str:
    """A script that does some things, of which any may fail."""
    paths = [f"usr/share/{folder}/{name}" for folder in ("a", "b") for name in ("one", "two", "three")]
    lines = [
        rng.choice(STEPS).format(
            n=rng.randrange(1, 9),
            file=rng.choice(paths),
            other=rng.choice(paths),
            folder=rng.choice(["usr/share/a", "usr/share/b"]),
            mode=rng.choice(["600", "755", "4755"]),
            large=rng.choice([10, 1 << 17, 3 << 20]),
            letter=rng.choice("xyz"),
        )
        for _ in range(rng.randrange(1, 9))
    ]
    return "\n".join(["#!/bin/sh", "cd $D && mkdir -p usr/share/a usr/share/b", *lines, "exit 0"])


def chances(rng: random.Random, names: str) -> list[Source]:
    found = []
    for name in names:
        nodes = [file(f"/usr/share/{name}/{each}", rng.randbytes(rng.randrange(200))) for each in ("one", "two")]
        nodes += [hardlink(f"/usr/share/{name}/three", nodes[0])] * rng.randrange(2)
        scripts = {each: chance(rng) for each in ("preinst", "postinst") if rng.random() < 0.8}
        found.append(Source(name, files=nodes, arch=NATIVE, scripts=scripts))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_any_two_images_that_share_packages(one, seed):
    """Whatever an earlier build kept, an image is as without it, and the second time nothing runs for it."""
    rng = random.Random(seed)
    shared, old, new = chances(rng, "cd"), chances(rng, "ab"), chances(rng, "ab")
    layers = [f"{name}:packages:{name}" for name in "abcd"]
    rng.shuffle(layers)
    lines = [f'OCI_PACKAGE_DATABASE = "{rng.choice(["keep", "top", "remove"])}"']
    for number, pair in enumerate(((old, shared), (new[:1], old[1:], shared), (new, shared))):
        feed = one.feed(f"feed{number}", *(package for group in pair for package in group))
        image = one.build(f"image{number}", " ".join(layers), feed, lines=lines, cache="one")
        assert_as_cold(one, image, " ".join(layers), feed, lines=lines)
        again = one.build("again", " ".join(layers), feed, lines=lines, cache="one", env=hidden(one))
        assert layout(again) == layout(image)
