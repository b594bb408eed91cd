# SPDX-License-Identifier: MIT
"""The real opkg: its scripts, its database, and that it leaves this machine alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from support import compare, layouts, merge, tools
from support.layouts import file, symlink
from support.packages import Made, package, write_feed

if TYPE_CHECKING:
    from pathlib import Path

EPOCH = 1_600_000_000


@pytest.fixture(autouse=True)
def with_opkg() -> None:
    tools.need_root()
    tools.need("opkg")


@pytest.fixture
def folder_with(folder: Path) -> Any:
    """A folder for an image, and a feed of packages."""

    def make(*made: Made, index: str = "") -> tuple[Path, Path]:
        return folder / "image", write_feed(folder / "feed", made, index=index)

    return make


def ipk(name: str, version: str = "1.0-r0", arch: str = "all", files: Any = None, **more: Any) -> Made:
    found = {f"usr/share/{name}": name.encode()} if files is None else files
    return package(name, version, arch, found, kind="ipk", **more)


def build(
    place: Path, layers: str, feed: Path, *lines: str, before: tuple[str, ...] = (), more: Any = (), **options: Any
) -> tools.Done:
    """Build an image `app` with opkg in a folder."""
    place.mkdir(parents=True)
    text = [f'OCI_LAYERS = "{layers}"', 'OCI_PACKAGE_MANAGER = "native"', f'SOURCE_DATE_EPOCH = "{EPOCH}"', *lines]
    (place / "app.conf").write_text("\n".join([*text, ""]), encoding="utf-8")
    words = [
        *before,
        tools.sys.executable,
        "-m",
        "oe_oci",
        "build",
        place / "app.conf",
        "--feed",
        feed,
        "--json",
        *more,
    ]
    return tools.run(*words, "--deploy-dir", place / "deploy", **{"status": 0, **options})


def merged(place: Path) -> compare.Listing:
    return merge.read_image(place / "deploy/app-oci").merged


def unpacked(place: Path) -> Path:
    tools.oe_oci("unpack", place / "deploy/app-oci", place / "root")
    return place / "root"


# ---- scripts


def script(text: str) -> str:
    return f"#!/bin/sh\nset -e\n{text}\n"


def test_scripts_run_with_the_root_they_ask_for(folder_with):
    place, feed = folder_with(
        ipk(
            "app",
            scripts={
                "preinst": script('[ -d "$D" ]; mkdir -p "$D/var/lib/app"'),
                "postinst": script('echo "$SOURCE_DATE_EPOCH" >"$OPKG_OFFLINE_ROOT/var/lib/app/made"'),
            },
        )
    )
    build(place, "app:packages:app", feed)
    found = merged(place)[b"var/lib/app/made"]
    assert (found.mode, found.mtime) == ("0644", EPOCH * 10**9)
    assert (unpacked(place) / "var/lib/app/made").read_text() == f"{EPOCH}\n"


@pytest.mark.parametrize(
    ("scripts", "reason"),
    [
        ({"postinst": script("echo disk gone >&2; exit 7")}, "its postinst ended with status 7"),
        ({"preinst": script("echo disk gone; exit 7")}, "its preinst failed"),
        ({"postinst": script("echo disk gone; kill -9 $$")}, "its postinst ended with status 137"),
    ],
)
def test_a_script_that_fails_is_an_error(folder_with, scripts, reason):
    """opkg ends with the status 0 where a postinst failed."""
    place, feed = folder_with(ipk("app", Depends="weak"), ipk("weak", scripts=scripts))
    done = build(place, "one:packages:app", feed, status=3)
    assert f"layer 'one': opkg: weak: {reason}" in done.stderr
    assert "disk gone" in done.stderr
    assert not (place / "deploy").exists()


def test_a_script_sees_the_times_that_files_of_layers_below_have_in_the_image(folder_with):
    place, feed = folder_with(
        ipk("low", scripts={"postinst": script('echo low >"$D/low"; ln "$D/low" "$D/low2"; ln -s low "$D/low3"')}),
        ipk("high", scripts={"postinst": script('stat -c %Y "$D/low" "$D/low2" "$D/low3" >"$D/seen"')}),
    )
    build(place, "low:packages:low high:packages:high", feed)
    assert (unpacked(place) / "seen").read_text() == f"{EPOCH}\n" * 3


def test_an_owner_that_a_script_gives_a_file_stays(folder_with):
    place, feed = folder_with(ipk("app", scripts={"postinst": script('chown 12:34 "$D/usr/share/app"')}))
    build(place, "app:packages:app", feed)
    found = merged(place)[b"usr/share/app"]
    assert (found.uid, found.gid) == (12, 34)


def test_a_script_may_change_accounts_of_a_layer_below(folder_with):
    """Declared ones are added to those that were there."""
    accounts = b"root:x:0:0::/root:/bin/sh\ngames:x:5:60::/usr/games:/bin/sh\n"
    place, feed = folder_with(
        ipk("base", files={"etc/passwd": accounts, "etc/group": b"root:x:0:\n"}),
        ipk("app", scripts={"postinst": script('sed -i /games/d "$D/etc/passwd"')}),
    )
    layers = "low:packages:base high:packages:app top:packages:base"
    build(place, layers, feed, 'OCI_IMAGE_ACCOUNTS = "user:app:4321"', 'OCI_LAYER_KEEP_EMPTY = "1"')
    text = (unpacked(place) / "etc/passwd").read_text()
    assert "games" not in text
    assert "app:x:4321:" in text


def test_a_script_never_meets_another_systems_update_alternatives(folder_with, folder, monkeypatch):
    other = folder / "bin/update-alternatives"
    other.parent.mkdir()
    other.write_text(f"#!/bin/sh\ntouch {folder}/ran\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{other.parent}:{tools.os.environ['PATH']}")
    command = "update-alternatives --install /usr/bin/ed ed /usr/bin/app 50"
    place, feed = folder_with(ipk("app", scripts={"postinst": script(command)}))
    build(place, "one:packages:app", feed)
    assert str((unpacked(place) / "usr/bin/ed").readlink()) == "/usr/bin/app"
    assert not (folder / "ran").exists()


# ---- this machine


def test_links_of_layers_below_lead_nowhere_on_this_machine(folder_with, folder):
    """Neither what a package ships nor what an upgrade removes is written or removed behind them."""
    outside = folder / "outside"
    outside.mkdir()
    for name in ("old", "obsolete"):
        (outside / name).write_text("of this machine\n")
    ways = [symlink("./abs", str(outside)), symlink("./etc/up", "../" * 30 + str(outside)[1:])]
    place, feed = folder_with(
        ipk("ways", files=[*folders(str(outside)), *ways]),
        ipk("app", files=[file("./abs/old", b"1\n"), file("./abs/obsolete"), file("./etc/up/more", b"more\n")]),
    )
    build(place, "ways:packages:ways app:packages:app", feed)
    newer = write_feed(
        folder / "newer", [ipk("app", "2.0-r0", files=[file("./abs/old", b"2\n")]), ipk("new", Depends="app (>= 2)")]
    )
    base = f'OCI_BASE_IMAGE = "{place}/deploy/app-oci"'
    build(folder / "upgraded", "new:packages:new", newer, base)
    assert {path.name: path.read_text() for path in outside.iterdir()} == dict.fromkeys(
        ("old", "obsolete"), "of this machine\n"
    )
    found, at = merged(folder / "upgraded"), str(outside)[1:].encode()
    assert found[b"abs"].target == str(outside).encode()
    assert found[b"etc/up"].target.startswith(b"../../")
    assert {path for path in found if path.startswith(at + b"/")} == {at + b"/old"}
    first = merged(place)
    assert {path for path in first if path.startswith(at + b"/")} == {at + b"/old", at + b"/obsolete", at + b"/more"}


def folders(path: str) -> list[Any]:
    """A folder and those it lies in, as members of a package."""
    parts = path.strip("/").split("/")
    return [layouts.folder("./" + "/".join(parts[: number + 1]) + "/") for number in range(len(parts))]


def test_files_behind_a_link_of_the_same_layer_that_leads_out_are_refused(folder_with, folder):
    outside = folder / "outside"
    outside.mkdir()
    place, feed = folder_with(
        ipk("ways", files=[symlink("./abs", str(outside))]), ipk("app", files=[file("./abs/file")])
    )
    done = build(place, "one:packages:ways,app", feed, status=2)
    assert "app: /abs lies behind the link /abs" in done.stderr
    assert not list(outside.iterdir())


# ---- its database


def test_packages_below_of_no_architecture_of_ours_stay_in_the_database(folder_with, folder):
    """opkg itself drops what it is not told of when it writes its database."""
    place, feed = folder_with(ipk("old", arch="armv5te"), index="Packages")
    build(place, "one:packages:old", feed, 'PACKAGE_ARCHS = "all armv5te"')
    newer = write_feed(folder / "newer", [ipk("new", arch="cortexa57")])
    base = f'OCI_BASE_IMAGE = "{place}/deploy/app-oci"'
    build(folder / "upper", "one:packages:new", newer, base, 'PACKAGE_ARCHS = "all cortexa57"')
    status = (unpacked(folder / "upper") / "var/lib/opkg/status").read_text()
    assert status.count("Status: install ok installed\n") == 2
    assert status.count(f"Installed-Time: {EPOCH}\n") == 2


def test_what_is_needed_on_further_lines_and_far_to_the_right_is_seen(folder_with):
    many = [ipk(f"part-{number}") for number in range(600)]
    names = [one.fields["Package"] for one in many]
    place, feed = folder_with(*many, ipk("app", Depends=f"{names[0]},\n {names[1]},\n {', '.join(names[2:])}"))
    done = build(place, "one:packages:app", feed)
    (layer,) = json.loads(done.stdout)["layers"]
    assert {package["name"] for package in layer["packages"]} == {"app", *names}


def test_the_same_layers_by_every_kind_of_root_and_under_any_umask(folder_with, folder):
    tools.need("fakeroot")
    _, feed = folder_with(
        ipk("app", files=[layouts.folder("./opt/", mode=0o1777, gid=5), file("./opt/su", uid=1234, mode=0o4755)]),
        ipk("lib", scripts={"postinst": script('echo x >"$D/etc-made"; mkdir "$D/made"')}),
    )
    layers = "app:packages:app lib:packages:lib"
    ways = {"image": (), "fake": ("fakeroot",), "umask": ("sh", "-c", 'umask 077; exec "$@"', "-")}
    done = [build(folder / name, layers, feed, before=words) for name, words in ways.items()]
    one, *others = ([layer["digest"] for layer in json.loads(each.stdout)["layers"]] for each in done)
    assert others == [one, one]


def test_a_lock_of_a_package_that_a_later_script_writes_to_stays_the_packages(folder_with):
    low = ipk("low", files={"etc/.pwd.lock": b"shipped\n"})
    high = ipk("high", scripts={"postinst": 'echo more >>"$D/etc/.pwd.lock"\n'})
    place, feed = folder_with(low, high, ipk("top"))
    build(place, "low:packages:low high:packages:high top:packages:top", feed)
    root = place / "root"
    tools.oe_oci("unpack", place / "deploy/app-oci", root)
    assert (root / "etc/.pwd.lock").read_bytes() == b"shipped\n"


def test_whether_there_are_intercepts_counts_for_the_cache(folder_with, folder):
    app = ipk("app", scripts={"postinst": '[ -z "$INTERCEPT_DIR" ] || echo yes >"$D/usr/share/with"\n'})
    place, feed = folder_with(app)
    words = ("--cache-dir", folder / "cache")
    build(place, "app:packages:app", feed, more=words)
    assert b"usr/share/with" not in merged(place)
    again = folder / "again"
    (folder / "intercepts").mkdir()
    build(again, "app:packages:app", feed, more=words, env=tools.environment(INTERCEPT_DIR=str(folder / "intercepts")))
    assert b"usr/share/with" in merged(again)


@pytest.mark.parametrize("status", [0, 1])
def test_what_a_script_mounts_is_an_error_and_is_not_touched(folder_with, folder, status):
    """Nor does a later build touch it; in a namespace of the test's own, where it stays mounted in between."""
    tools.need("unshare", "mount")
    outside = folder / "outside"
    outside.mkdir()
    (outside / "kept").write_text("of this machine\n")
    mounting = f'mkdir -p "$D/mnt/in"; mount --bind {outside} "$D/mnt/in"; exit {status}'
    place, feed = folder_with(ipk("app", scripts={"postinst": script(mounting)}))
    twice = ("unshare", "-m", "sh", "-c", '"$@"; "$@"', "-")
    done = build(place, "app:packages:app", feed, before=twice, status=3)
    partial = f"{place}/deploy/.app-oci.partial"
    mounted = f"{partial}/work/root/mnt/in"
    first, second = (line for line in done.stderr.splitlines() if line.startswith("oe-oci: "))
    assert first.endswith(f"layer 'app': opkg: a script of a package mounted something at {mounted}, and left it there")
    assert second.endswith(f"an earlier build left {partial}, in which something is mounted at {mounted}")
    assert (outside / "kept").read_text() == "of this machine\n"
    left = [path.relative_to(partial) for path in tools.Path(partial).rglob("*")]
    assert sorted(map(str, left)) == ["work", "work/root", "work/root/mnt", "work/root/mnt/in"]
