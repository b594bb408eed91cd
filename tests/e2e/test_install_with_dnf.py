# SPDX-License-Identifier: MIT
"""dnf and rpm, as the adapter calls them: what they choose, what they leave, what is made of their failures."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support import merge, namespaces, rpms, sources, tools
from support.managers import MANAGERS, Kit
from support.rpmfeeds import opened, world
from support.rpms import STRING, STRINGS, device, file, package

from oe_oci.config import Accounts
from oe_oci.content import Literal
from oe_oci.errors import InputError, ToolError
from oe_oci.packages.native.dnf import Dnf
from oe_oci.packages.native.manager import Outcome, Place, Planned, Refused, Request
from oe_oci.packages.native.repository import repositories
from oe_oci.packages.native.scripts import Scripts
from oe_oci.packages.rpm.resolve import resolve
from oe_oci.packages.world import Policy
from oe_oci.tree import FILE, SYMLINK, Entry, Overlay, Tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from support.rpms import Made

POSTIN, POSTINPROG, PREIN, PREINPROG = 1024, 1086, 1023, 1085
PASSWD = b"root:x:0:0::/:/bin/sh\nweb:x:321:321::/:/bin/sh\n"


def script(tag: int, text: str, program: str = "<lua>") -> dict[int, rpms.Value]:
    """A scriptlet's tags; lua is rpm's own, which needs nothing in the root."""
    return {tag: (STRING, text), {POSTIN: POSTINPROG, PREIN: PREINPROG}[tag]: (STRINGS, [program])}


class Host(NamedTuple):
    """A place to install into, and a feed."""

    folder: Path

    @property
    def feed(self) -> Path:
        return self.folder / "feed"

    @property
    def root(self) -> Path:
        return self.folder / "work" / "root"

    def offer(self, *packages: Made, feed: str = "feed") -> None:
        (self.folder / feed).mkdir(exist_ok=True)
        for each in packages:
            each.write(self.folder / feed)

    def dnf(self, feeds: Sequence[str] = ("feed",), archs: Sequence[str] = ("noarch",), **policy: object) -> Dnf:
        scratch = self.folder / "work" / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        for path in (self.root, scratch):
            path.mkdir(parents=True, exist_ok=True)
        place = Place(str(self.root), str(scratch))
        chosen = Policy("rpm", "amd64", **policy)  # type: ignore[arg-type]
        scripts = Scripts(place)
        scripts.prepare()
        offered = opened(*(self.folder / each for each in feeds), archs=archs)
        return Dnf(place, repositories(offered), archs, chosen, Accounts(), scripts)

    def choose(self, *names: str, **options: object) -> list[str]:
        return shown(self.dnf(**options).resolve(Request("app", names, (), 0)))  # type: ignore[arg-type]

    def install(self, *names: str, **options: object) -> tuple[list[str], Outcome]:
        """Choose and install; the packages chosen, and how it went."""
        dnf = self.dnf(**options)  # type: ignore[arg-type]
        request = Request("app", names, (), 0)
        planned = dnf.resolve(request)
        return shown(planned), dnf.install(request, ())

    def installed(self) -> list[str]:
        """The names in rpm's database."""
        with sqlite3.connect(self.root / "var/lib/rpm/rpmdb.sqlite") as database:
            return sorted(row[0] for row in database.execute("select key from Name"))

    def found(self) -> set[str]:
        names = (path.relative_to(self.root) for path in self.root.rglob("*"))
        return {str(name) for name in names}


def shown(planned: Iterable[Planned]) -> list[str]:
    return sorted(f"{one.name} {one.version} {one.arch}" for one in planned)


def tree(entries: Mapping[str, Entry]) -> Tree:
    """A tree of some entries and the folders that they lie in."""
    upper = Overlay(Tree())
    for path, entry in entries.items():
        upper.put(path, entry, 0)
    return Tree(upper.entries)


@pytest.fixture
def host(tmp_path) -> Host:
    tools.need_root()
    tools.need("dnf", "rpm", "createrepo_c")
    (tmp_path / "feed").mkdir()
    return Host(tmp_path)


def test_a_package_and_what_it_needs_are_installed(host):
    host.offer(
        package("app", "2:1.0-1", given=[file("/usr/bin/app", b"app\n", 0o755)], requires=["lib >= 1"]),
        package("lib", "1.5-2", given={"usr/lib/lib": b"lib\n"}),
        package("lib", "0.5-2", given={"usr/lib/lib": b"old\n"}),
    )
    chosen, outcome = host.install("app")
    assert chosen == ["app 2:1.0-1 noarch", "lib 1.5-2 noarch"]
    assert outcome.done
    assert host.installed() == ["app", "lib"]
    assert (host.root / "usr/lib/lib").read_bytes() == b"lib\n"
    # Nothing of dnf's own but an empty folder, which is left out of the image.
    assert {path for path in host.found() if not path.startswith(("usr", "var/lib/rpm"))} == {
        "etc",
        "etc/dnf",
        "etc/dnf/modules.d",
        "var",
        "var/lib",
    }


def test_a_name_that_no_feed_has_is_refused_in_dnfs_words(host):
    host.offer(package("app"))
    with pytest.raises(Refused) as refused:
        host.install("application")
    assert refused.value.said == ("No match for argument: application", "Error: Unable to find a match: application")


def test_what_can_not_be_had_is_refused_with_the_reason(host):
    host.offer(package("app", requires=["nothing-has-this"]))
    with pytest.raises(Refused) as refused:
        host.install("app")
    assert "nothing provides nothing-has-this needed by app-1.0-1.noarch" in str(refused.value)
    assert not [line for line in refused.value.said if "--skip-broken" in line]


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        (script(POSTIN, 'error("no luck")'), "its %post scriptlet failed"),
        (script(PREIN, 'error("no luck")'), "its %prein scriptlet failed"),
        (script(POSTIN, "exit 0", "/bin/sh"), "/bin/sh, which a scriptlet of it needs, can not be run"),
    ],
)
def test_a_scriptlet_that_fails_is_told_of(host, tags, reason):
    """dnf ends with status 0 for each of them."""
    host.offer(package("app", tags=tags), package("lib"))
    _, outcome = host.install("app", "lib")
    assert not outcome.done
    assert outcome.failed == "app"
    assert outcome.reason.startswith(reason)
    assert outcome.said


def test_scriptlets_know_nothing_of_this_machine(host):
    names = ("HOME", "TMPDIR", "PATH", "USER", "LANG", "D")
    text = "f = io.open('/env', 'w') " + " ".join(
        f"f:write('{n}=' .. (os.getenv('{n}') or '-') .. '\\n')" for n in names
    )
    host.offer(package("app", tags=script(POSTIN, text + " f:close()")))
    _, outcome = host.install("app")
    assert outcome.done
    told = dict(line.split("=") for line in (host.root / "env").read_text().splitlines())
    assert told == {"HOME": "/", "TMPDIR": "", "PATH": os.environ["PATH"], "USER": "-", "LANG": "-", "D": "-"}


def test_scriptlets_outside_of_the_root_know_where_it_is(host, monkeypatch):
    """As OpenEmbedded's rpm runs them, which a program before dnf tells it to; here they stay inside."""
    (host.folder / "bin").mkdir()
    text = f'#!/bin/sh\nexport RPM_NO_CHROOT_FOR_SCRIPTS=1\nexec {shutil.which("dnf")} --setopt=plugins=False "$@"\n'
    (host.folder / "bin/dnf4").write_text(text)
    (host.folder / "bin/dnf4").chmod(0o755)
    monkeypatch.setenv("PATH", f"{host.folder}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("NATIVE_ROOT", "/native")
    names = ("D", "OFFLINE_ROOT", "IPKG_OFFLINE_ROOT", "OPKG_OFFLINE_ROOT", "NATIVE_ROOT", "PATH", "SOURCE_DATE_EPOCH")
    text = "f = io.open('/env', 'w') " + " ".join(
        f"f:write('{n}=' .. (os.getenv('{n}') or '-') .. '\\n')" for n in names
    )
    host.offer(package("app", tags=script(POSTIN, text + " f:close()")))
    _, outcome = host.install("app")
    assert outcome.done
    told = dict(line.split("=", 1) for line in (host.root / "env").read_text().splitlines())
    path = f"{host.folder}/work/scratch/bin:{os.environ['PATH']}"
    assert told == {
        **dict.fromkeys(names[:4], str(host.root)),
        "NATIVE_ROOT": "/native",
        "PATH": path,
        "SOURCE_DATE_EPOCH": "0",
    }


# ---- what is chosen


def test_recommendations_are_taken_unless_they_are_not_wanted(host):
    host.offer(package("app", recommends=["bell", "whistle"]), package("bell"), package("whistle"))

    app, bell, whistle = (f"{name} 1.0-1 noarch" for name in ("app", "bell", "whistle"))
    assert host.choose("app") == [app, bell, whistle]
    assert host.choose("app", recommends=False) == [app]
    assert host.choose("app", bad_recommendations=frozenset(["bell"])) == [app, whistle]


def test_bad_recommendations_are_taken_where_they_are_needed(host):
    host.offer(package("app", recommends=["bell"], requires=["bell"]), package("bell"))
    assert len(host.choose("app", bad_recommendations=frozenset(["bell"]))) == 2


def test_what_is_excluded_is_not_taken_for_what_else_it_provides(host):
    host.offer(
        package("app", requires=["mail"]),
        package("a-mailer", "9-1", provides=["mail"]),
        package("a-mailer-2", provides=["mail"]),
    )
    chosen = host.choose("app", exclude=frozenset(["a-mailer"]))
    assert chosen == ["a-mailer-2 1.0-1 noarch", "app 1.0-1 noarch"]


def test_the_first_feed_wins_then_the_later_architecture_then_the_higher_version(host):
    host.offer(package("app", "1.0-1", "core2_64"), package("app", "0.9-1", "qemux86_64"), package("lib", "1.0-1"))
    host.offer(package("app", "2.0-1", "qemux86_64"), package("lib", "2.0-1"), package("lib", "3.0-1"), feed="other")
    archs = ("noarch", "core2-64", "qemux86-64")
    assert host.choose("app", feeds=["feed", "other"], archs=archs) == ["app 0.9-1 qemux86_64"]
    assert host.choose("lib", feeds=["other", "feed"], archs=archs) == ["lib 3.0-1 noarch"]


@pytest.mark.parametrize("name", ["app", "wants"])
@pytest.mark.parametrize(
    "offered",
    [
        [("1-1", "qemux86_64"), ("2-1", "noarch")],
        [("2-1", "qemux86_64"), ("1-1", "noarch")],
        [("1-1", "qemux86_64"), ("1-1", "noarch")],
        [("1-1", "core2_64"), ("1-1", "noarch")],
        [("3-1", "core2_64"), ("1-1", "qemux86_64"), ("2-1", "noarch")],
        [("3-1", "core2_64"), ("2-1", "qemux86_64"), ("1-1", "noarch")],
    ],
)
def test_what_is_for_any_architecture_ranks_as_built_in(host, name, offered):
    host.offer(*(package("app", *one) for one in offered), package("wants", requires=["app"]))
    archs = ("all", "any", "noarch", "core2-64", "qemux86-64")
    found = resolve(world(opened(host.feed, archs=archs)), "app", [name]).selected
    built_in = sorted(" ".join(one.package[:3]) for one in found)
    assert host.choose(name, archs=archs) == built_in


def test_packages_for_another_processor_are_installed(host):
    host.offer(package("app", "1.0-1", "cortexa57"), package("app", "2.0-1", "x86_64"))
    chosen, outcome = host.install("app", archs=("noarch", "cortexa57"))
    assert (chosen, outcome.done) == (["app 1.0-1 cortexa57"], True)


def test_an_index_is_used_where_there_is_one_and_made_elsewhere(host):
    """Nothing is written into the feed, whatever it and the place of work are called."""
    odd = Host(host.folder / "o'd d%20#+\u00e9;")
    odd.folder.mkdir()
    odd.offer(package("c++-lib", "1.0~rc1-1"), package("loose", "1:1.0^git-1"))
    (odd.folder / "feed" / "inner").mkdir()
    odd.offer(package("listed"), feed="feed/inner")
    tools.run("createrepo_c", "-q", odd.folder / "feed" / "inner")
    odd.offer(package("unlisted"), feed="feed/inner")
    before = sorted(odd.feed.rglob("*"))
    chosen, outcome = odd.install("c++-lib", "loose", "listed")
    assert chosen == ["c++-lib 1.0~rc1-1 noarch", "listed 1.0-1 noarch", "loose 1:1.0^git-1 noarch"]
    assert outcome.done
    assert sorted(odd.feed.rglob("*")) == before
    with pytest.raises(Refused):
        odd.install("unlisted")


@pytest.mark.parametrize("manager", ["rpm builtin", "dnf"])
def test_what_lies_below_an_index_that_does_not_list_it_is_offered(folder, manager):
    tools.need_root()
    tools.need("dnf", "rpm", "createrepo_c")
    kit, feed = Kit(MANAGERS[manager], folder), folder / "feed"
    (feed / "later").mkdir(parents=True)
    package("app", requires=["lib"]).write(feed)
    tools.run("createrepo_c", "-q", feed)
    package("lib").write(feed / "later")
    package("beside").write(feed)
    assert kit.build("all", "app:packages:app", feed).names("app") == ["app", "lib"]
    assert "beside-1.0-1.noarch.rpm lies in the feed, but its index does not list it" in kit.refuse(
        "unlisted", "app:packages:beside", feed
    )


@pytest.mark.parametrize("kind", ["md5", "sha512"])
@pytest.mark.parametrize("manager", ["rpm builtin", "dnf"])
def test_a_package_is_held_against_an_index_of_any_kind(folder, kind, manager):
    tools.need_root()
    tools.need("dnf", "rpm", "createrepo_c")
    kit, feed = Kit(MANAGERS[manager], folder), folder / "feed"
    feed.mkdir()
    package("app", given={"f": b"one"}).write(feed)
    tools.run("createrepo_c", "-q", "--checksum", kind, feed)
    kit.build("right", "app:packages:app", feed)
    package("app", given={"f": b"two"}).write(feed)
    assert "app-1.0-1.noarch" in kit.refuse("wrong", "app:packages:app", feed)


# ---- on top of others


def test_what_is_below_is_upgraded_only_where_it_must_be(host):
    host.offer(package("lib", "1.0-1"), package("tool", "1.0-1"))
    host.install("lib", "tool")
    host.offer(package("lib", "2.0-1"), package("tool", "2.0-1"), package("app", requires=["lib >= 2", "tool"]))
    chosen, outcome = host.install("app")
    assert (chosen, outcome.done) == (["app 1.0-1 noarch", "lib 2.0-1 noarch"], True)
    assert host.installed() == ["app", "lib", "tool"]


def test_nothing_below_is_removed(host):
    host.offer(package("old"))
    host.install("old")
    host.offer(package("app", conflicts=["old"]))
    with pytest.raises(Refused):
        host.install("app")


def test_what_a_package_replaces_goes(host):
    host.offer(package("old"))
    host.install("old")
    host.offer(package("new", obsoletes=["old < 2"]))
    planned = host.dnf().resolve(Request("app", ("new",), (), 0))
    assert [(one.name, one.replaces) for one in planned] == [("new", ("old",))]


def test_the_database_stays_where_the_base_has_it(host):
    """Behind a link that would lead rpm, which is not yet in its root then, to this machine's own."""
    place, link = "usr/lib/sysimage/rpm", Entry(SYMLINK, 0o777, target="/usr/lib/sysimage/rpm")
    below = tree({f"{place}/rpmdb.sqlite": Entry(FILE, 0o644, content=Literal(b"")), "var/lib/rpm": link})
    host.offer(package("app"))
    dnf, request = host.dnf(), Request("app", ("app",), (), 0)
    dnf.prepare(below, request)
    dnf.resolve(request)
    assert dnf.install(request, ()).done
    assert (host.root / place / "rpmdb.sqlite").exists()
    assert not (host.root / "var").exists()


@pytest.mark.parametrize("path", ["etc", "etc/dnf", "var/lib/rpm/rpmdb.sqlite", "var/lib/rpm/.rpm.lock"])
def test_a_link_that_leads_to_this_machine_is_an_error(host, path):
    below = tree({path: Entry(SYMLINK, 0o777, target="/etc/away")})
    host.offer(package("app"))
    with pytest.raises(InputError, match=f"/{path}: is a link"):
        host.dnf().prepare(below, Request("app", ("app",), (), 0))


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (rpms.symlink("/var/lib/rpm/rpmdb.sqlite-wal", "/etc/away"), "symlink"),
        (rpms.symlink("/var/lib/rpm/of-its-own", "/etc/away"), "symlink"),
        (file("/var/lib/rpm/rpmdb.sqlite-journal"), "file"),
        (file("/var/lib/rpm/rpmdb.sqlite"), "file"),
    ],
)
def test_what_a_package_has_in_the_place_of_rpms_database_is_an_error(cli, given, kind):
    package("evil", given=[given]).write(cli.feed)
    said = cli.kit.refuse("one", "app:packages:evil", cli.feed)
    assert f"evil: {given.path} is a {kind} in the place of a file of rpm's own database" in said


def test_a_ghost_of_rpms_database_is_none(cli):
    package("rpm", given=[rpms.ghost("/var/lib/rpm/rpmdb.sqlite"), file("/usr/bin/rpm")]).write(cli.feed)
    image = cli.kit.build("one", "app:packages:rpm", cli.feed)
    assert image.versions() == {"rpm": "1.0-1"}


# ---- what can not be made


def test_files_that_clash_are_told_of(host):
    host.offer(package("app", given={"usr/share/file": b"one"}), package("lib", given={"usr/share/file": b"two"}))
    _, outcome = host.install("app", "lib")
    assert not outcome.done
    assert outcome.failed in ("app", "lib")
    assert "file /usr/share/file conflicts between attempted installs of" in outcome.reason


def test_owners_are_those_of_the_image(host):
    host.offer(
        package("app", given=[file("/usr/bin/app", mode=0o4755, user="web")], requires=["accounts"]),
        package("accounts", given=[file("/etc/passwd", PASSWD)]),
    )
    _, outcome = host.install("app")
    assert outcome.done
    facts = os.stat(host.root / "usr/bin/app")
    assert (facts.st_uid, stat.S_IMODE(facts.st_mode)) == (321, 0o4755)


def test_a_fifo_at_which_rpm_would_wait_for_ever_is_an_error(host):
    if "4.18" not in tools.run("rpm", "--version").stdout:
        pytest.skip("no rpm 4.18")
    host.offer(package("app", given=[rpms.File("/run/fifo", mode=stat.S_IFIFO | 0o600)]))
    with pytest.raises(ToolError, match=r"app: rpm 4\.18.* would wait for ever at /run/fifo"):
        host.install("app")


# ---- who may


class Cli(NamedTuple):
    """Builds by our command line as it is installed, of a feed in a folder that nobody owns."""

    kit: Kit
    copy: tools.Copy
    feed: Path

    def build(self, name: str, layers: str, before: Iterable[str], status: int = 0, **variables: str) -> tools.Done:
        self.kit.run("lint", name, layers, self.feed, status=None)
        place = self.kit.folder / name
        tools.give_to_nobody(place)
        words = ["build", place / "app.conf", "--deploy-dir", place / "deploy", "--feed", self.feed, "--json"]
        program = [*before, self.copy.program, "-m", "oe_oci", *words, "--set", "OCI_LAYER_CACHE=0"]
        env = self.copy.environment(TMPDIR=str(place), HOME=str(place), **variables)
        return tools.run(*program, status=status, env=env, cwd="/", timeout=300)


def digests(done: tools.Done) -> list[str]:
    return [layer["digest"] for layer in json.loads(done.stdout)["layers"]]


@pytest.fixture
def cli(folder) -> Cli:
    tools.need_root()
    tools.need("dnf", "rpm", "createrepo_c")
    (folder / "feed").mkdir()
    for made in (
        package("accounts", given=[file("/etc/passwd", PASSWD), file("/etc/group", b"root:x:0:\nweb:x:321:\n")]),
        package(
            "app",
            given=[
                file("/usr/bin/app", mode=0o4755, user="web", group="web"),
                file("/usr/bin/probe", mode=0o755, caps="cap_net_raw=ep"),
            ],
            requires=["accounts"],
            tags=script(POSTIN, "io.open('/etc/made', 'w'):close()"),
        ),
        package("dev", given=[device("/dev/null", 1, 3)]),
    ):
        made.write(folder / "feed")
    return Cli(Kit(MANAGERS["dnf"], folder), tools.Copy(folder / "copy"), folder / "feed")


def test_root_of_a_user_namespace_makes_the_same(cli):
    layers = "low:packages:accounts app:packages:app"
    image = cli.kit.build("root", layers, cli.feed)
    done = cli.build("user", layers, namespaces.as_root_of_many())
    assert digests(done) == image.digests()
    found = merge.read_image(cli.kit.folder / "user/deploy/app-oci").merged
    assert (found[b"usr/bin/app"].mode, found[b"usr/bin/app"].uid) == ("4755", 321)
    assert found[b"usr/bin/probe"].xattrs == {"security.capability": sources.CAPABILITIES["cap_net_raw=ep"]}
    assert b"etc/made" in found


def test_under_pseudo_it_is_the_same(cli):
    tools.need("pseudo")
    layers = "app:packages:app,dev"
    image = cli.kit.build("root", layers, cli.feed)
    (cli.kit.folder / "state").mkdir()
    tools.give_to_nobody(cli.kit.folder / "state")
    before = [*tools.as_nobody(), "pseudo"]
    state = str(cli.kit.folder / "state")
    done = cli.build("pseudo", layers, before, PSEUDO_PREFIX="/usr", PSEUDO_LOCALSTATEDIR=state)
    assert digests(done) == image.digests()
    assert image.tree[b"dev/null"].kind == "character device"


@pytest.mark.parametrize(
    ("name", "before", "reason"),
    [
        ("dev", namespaces.as_root_of_many, "dnf: dev: /dev/null can not be made: mknod failed"),
        ("app", namespaces.as_root_of_one, "dnf: app: /usr/bin/app can not be made: chown failed"),
    ],
)
def test_what_a_user_namespace_can_not_make_is_an_error(cli, name, before, reason):
    done = cli.build("user", f"app:packages:{name}", before(), status=3)
    assert f"layer 'app': {reason}" in done.stderr
    assert 'OCI_PACKAGE_MANAGER = "builtin"' in done.stderr
    assert not (cli.kit.folder / "user" / "deploy").exists()


def test_fakeroot_is_not_enough(cli):
    tools.need("fakeroot")
    done = cli.build("fake", "app:packages:app", [*tools.as_nobody(), "fakeroot"], status=3)
    assert "rpm changes its root, which is not allowed here" in done.stderr
    assert "unshare --map-root-user --map-auto oe-oci" in done.stderr


def test_an_ordinary_user_is_told_the_ways(cli):
    done = cli.build("user", "app:packages:app", tools.as_nobody(), status=3)
    assert "dnf installs as root alone" in done.stderr
    assert "unshare --map-root-user --map-auto oe-oci" in done.stderr
