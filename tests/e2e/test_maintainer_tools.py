# SPDX-License-Identifier: MIT
"""Scripts and triggers as dpkg, opkg and rpm themselves run them: the same ones, in this order, with these words."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from support import rpmfeeds
from support.offers import world
from support.packages import package
from support.tools import environment as of_tools
from support.tools import need, need_root, run

from oe_oci.packages import dpkg
from oe_oci.packages.maintainer import debtriggers, rpmtriggers, scripts
from oe_oci.packages.maintainer.order import deb_order, rpm_order
from oe_oci.packages.maintainer.rpmtriggers import Owner, Placed
from oe_oci.packages.package import Installed, Package
from oe_oci.packages.resolve import Selected, resolve
from oe_oci.packages.rpm import database, tags
from oe_oci.packages.rpm import resolve as rpm_resolve
from oe_oci.packages.rpm.archive import read_head
from oe_oci.packages.rpm.files import files_of
from oe_oci.scan import Directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.packages import Made

    from oe_oci.packages.maintainer.scripts import Script
    from oe_oci.packages.rpm.header import Header

NAMES = ("preinst", "postinst", "prerm", "postrm")
VARIABLES = ("D", "DPKG_ADMINDIR", "DPKG_ROOT", "PKG_ROOT", "RPM_INSTALL_PREFIX", "RPM_INSTALL_PREFIX1")
VARIABLES += tuple(f"DPKG_MAINTSCRIPT_{name}" for name in ("ARCH", "DEBUG", "NAME", "PACKAGE", "PACKAGE_REFCOUNT"))


def recording(log: Path | str) -> str:
    """A shell's words that note how a script of a package was called, by its first line."""
    values = "".join(f" {name}=${name}" for name in VARIABLES)
    return f'{{ printf "%s|" "$@"; echo "{values}"; }} >>{log}\n'


def noted(script: Script, root: Path) -> str:
    """The same by what is said of a script here; those that do not run inside of the root are no matter of tools."""
    found = {**scripts.environment(script, str(root)), "D": ""}
    return "".join(f"{word}|" for word in script.words) + "".join(
        f" {name}={found.get(name, '')}" for name in VARIABLES
    )


# ---- deb and ipk


def made(
    kind: str, name: str, version: str, log: Path, triggers: str = "", files: tuple[str, ...] = (), **fields: str
) -> Made:
    control = {each: f"#!/bin/sh\n# {each} {name} {version}\n{recording(log)}" for each in NAMES}
    given = dict.fromkeys((f"usr/share/doc/{name}/{version}", *files), b"")
    return package(
        name, version, "all", given, {**control, **({"triggers": triggers} if triggers else {})}, kind=kind, **fields
    )


def control_of(one: Made, log: Path) -> dict[str, bytes]:
    name, version = one.fields["Package"], one.fields["Version"]
    return {each: f"#!/bin/sh\n# {each} {name} {version}\n{recording(log)}".encode() for each in NAMES}


def offered(one: Made) -> Package:
    return Package(
        *(one.fields[field] for field in ("Package", "Version", "Architecture")), one.fields, "", None, None, 0
    )


def write(folder: Path, *packages: Made) -> list[Path]:
    for one in packages:
        (folder / one.name).write_bytes(one.data)
    return [folder / one.name for one in packages]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    found = tmp_path / "root"
    (found / "var/lib/dpkg/info").mkdir(parents=True)
    (found / "var/lib/dpkg/updates").mkdir()
    (found / "var/lib/dpkg/status").touch()
    return found


def on(root: Path, *words: object) -> str:
    options = "--force-script-chrootless", "--force-not-root", "--log=/dev/null", f"--root={root}"
    return run("dpkg", *options, *words, env=of_tools(DPKG_ROOT=None)).stdout


def test_words_of_dpkg(root, tmp_path):
    need("dpkg")
    log = tmp_path / "log"
    first, second = (made("deb", "alpha", version, log) for version in ("1", "2"))
    for removed, new, old in ((False, first, None), (False, second, first), (True, first, None)):
        if removed:
            on(root, "-r", "alpha")
        below = dpkg.read(Directory(str(root), "root", int))
        replaced = next((one for one in below if one.whole), None)
        former = {("alpha", "all"): control_of(old, log)} if old else {}
        selected = Selected(offered(new), "", replaced)
        (change,) = scripts.changes([selected], [control_of(new, log)], below, former)
        log.unlink(missing_ok=True)
        on(root, "-i", *write(tmp_path, new))
        expected = [one for phase in scripts.PHASES for one in scripts.deb_scripts(change, phase)]
        assert log.read_text().splitlines() == [noted(one, root) for one in expected]
        assert len(expected) == (4 if old else 2)


def test_words_of_opkg(root, tmp_path):
    need("opkg")
    log, configuration = tmp_path / "log", tmp_path / "opkg.conf"
    configuration.write_text("arch all 1\n")
    first, second = (made("ipk", "alpha", version, log) for version in ("1", "2"))
    for new, old in ((first, None), (second, first)):
        replaced = Installed(*offered(old)[:4]) if old else None
        former = {("alpha", "all"): control_of(old, log)} if old else {}
        selected = Selected(offered(new), "", replaced)
        (change,) = scripts.changes([selected], [control_of(new, log)], [replaced] if replaced else [], former)
        log.unlink(missing_ok=True)
        run("opkg", "-f", configuration, "-o", root, "--force-postinstall", "install", *write(tmp_path, new))
        expected = [one for phase in scripts.PHASES for one in scripts.ipk_scripts(change, phase)]
        assert log.read_text().splitlines() == [noted(one, root) for one in expected]
        assert len(expected) == (4 if old else 2)


ORDERS = {
    "chain": (
        ["a 1 ; needs b", "b 1 ; needs c | x", "c 1 ; likes d", "d 1 ; provides v (= 2)", "e 1 ; needs v (= 2)"],
        "",
    ),
    "circle": (["a 1 ; needs b, e", "b 1 ; needs c", "c 1 ; needs a, d", "d 1", "e 1"], "b"),
    "circle by name": (["a 1 ; needs b", "b 1 ; needs a", "c 1 ; needs b"], ""),
}


@pytest.mark.parametrize("case", ORDERS)
def test_order_of_dpkg(case, root, tmp_path):
    """dpkg configures packages in the order that they have here, and has no reason to put one off."""
    need("dpkg")
    texts, silent = ORDERS[case]
    known = world(*texts)
    selected = resolve(known, "app", [text.split()[0] for text in texts]).selected
    order = deb_order(known, selected, [one.package.name not in silent for one in selected])
    packages = []
    for one in order:
        fields = {
            key.replace("-", "_"): text for key, text in one.package.fields.items() if key not in ("Package", "Version")
        }
        control = {} if one.package.name in silent else {"postinst": "#!/bin/sh\n"}
        fields.pop("Architecture")
        packages.append(package(one.package.name, "1", "all", {}, control, kind="deb", **fields))
    said = on(root, "-i", *write(tmp_path, *packages))
    configured = [line.split()[2] for line in said.splitlines() if line.startswith("Setting up")]
    assert configured == [one.package.name for one in order]


def test_triggers_of_dpkg(root, tmp_path):
    need("dpkg")
    log = tmp_path / "log"
    below = [
        made("deb", "icons", "1", log, "interest /usr/share/icons\ninterest-noawait /usr/share\ninterest named\n"),
        made("deb", "lib", "1", log, "interest-noawait named\ninterest-noawait /usr/share/icons/x\n"),
        made("deb", "idle", "1", log, "interest /srv\n"),
    ]
    new = [
        made("deb", "theme", "1", log, "activate fresh\nactivate-noawait named\n", ("usr/share/icons/x/1",)),
        made("deb", "watch", "1", log, "interest-noawait fresh\ninterest /usr/share/icons\n"),
        made("deb", "later", "1", log, "activate-noawait fresh\n"),
    ]
    on(root, "-i", *write(tmp_path, *below))
    folder = root / "var/lib/dpkg/triggers"
    registered = {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in ("Unincorp", "Lock")}
    log.unlink()
    said = on(root, "-i", *write(tmp_path, *new))
    arrivals = []
    for one in new:
        name = one.fields["Package"]
        info = root / f"var/lib/dpkg/info/{name}"
        triggers = info.with_suffix(".triggers").read_bytes()
        paths = [line[1:] for line in info.with_suffix(".list").read_text().splitlines() if line != "/."]
        arrivals.append(debtriggers.Arrival(name, debtriggers.parse(triggers, name, name), paths))
    found = debtriggers.told_of_layer(debtriggers.registered(registered), arrivals)
    packages = {one.fields["Package"]: one for one in (*below, *new)}
    expected = [debtriggers.triggered(offered(packages[one.package]), b"#!/bin/sh\n", one.triggers) for one in found]
    order = [line.split()[3] for line in said.splitlines() if line.startswith("Processing triggers for")]
    assert order == [one.package for one in found]
    assert len(order) == 3
    called = [line for line in log.read_text().splitlines() if line.startswith("triggered")]
    assert called == [noted(one, root) for one in expected]


# ---- rpm

HEAD = (
    "Name: set\nVersion: {version}\nRelease: 1\nSummary: Tests\nLicense: MIT\nBuildArch: noarch\n%description\nTests\n"
)
ALPHA = """\
%filetriggerin -n alpha -- /usr/lib /usr/share/gamma
%filetriggerin -n alpha -P 100 -- /usr/share
%transfiletriggerin -n alpha -- /usr/share/ /opt /usr/share/beta
%transfiletriggerin -n alpha -P 2000000 -- /usr/bin/x
%triggerprein -n alpha -- beta
%triggerin -n alpha -- beta > 0, gamma
%triggerun -n alpha -- beta, gamma
%triggerpostun -n alpha -- beta, gamma
"""
GAMMA = """\
%transfiletriggerin -n gamma -- /usr/share
%filetriggerin -n gamma -P 2000000 -- /usr/share
%triggerin -n gamma -- alpha
"""
PACKAGES = {
    "alpha": (
        "Prefix: /usr\nPrefix: /opt\n",
        ALPHA,
        ("usr/share/alpha", "usr/lib/libalpha.so", "usr/lib64/x", "opt/alpha"),
    ),
    "beta": ("Obsoletes: gamma\n", "", ("usr/share/beta", "usr/lib/libbeta.so", "usr/bin/x")),
    "gamma": ("", GAMMA, ("usr/share/gamma/g", "usr/share/g")),
    "delta": ("Obsoletes: alpha\n", "", ("usr/share/delta",)),
}
SCRIPTS = ("pretrans", "pre", "post", "preun", "postun", "posttrans")
NAMED = {"pre": "prein", "post": "postin"}
LOG = "/log"


def spec(version: str) -> str:
    """Packages all of whose scripts note how they are called, and what they read."""
    parts = [HEAD.format(version=version)]
    for name, (fields, triggers, files) in PACKAGES.items():
        lines = [f"%package -n {name}", f"Summary: {name}", fields + f"%description -n {name}", name]
        for head in [f"%{script} -n {name}" for script in SCRIPTS] + triggers.splitlines():
            script = head.split()[0][1:]
            called = f"{NAMED.get(script, script)} {name} {version}"
            # A file trigger's words are other ones with each rpm.
            words = "" if "file" in script else '"$@"'
            noted = f'printf "%s|" {words}; echo "$RPM_INSTALL_PREFIX $RPM_INSTALL_PREFIX1"; cat'
            lines += [head, f"{{ echo {called}; {noted}; }} >>{LOG}"]
        parts += ["\n".join([*lines, f"%files -n {name}", *(f"/{path}" for path in files)]), "\n"]
    return "".join(parts)


@pytest.fixture(scope="module")
def rpms(tmp_path_factory) -> dict[str, Path]:
    """The packages in two versions, as `alpha-1`."""
    need("rpmbuild", "rpm")
    folder = tmp_path_factory.mktemp("rpms")
    for version in "12":
        place = folder / version
        for path in (path for _, _, files in PACKAGES.values() for path in files):
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_text(version)
        (folder / "set.spec").write_text(spec(version))
        macros = {
            "_topdir": folder / "top",
            "_rpmdir": folder,
            "__os_install_post": "%{nil}",
            "_build_id_links": "none",
        }
        macros["_build_name_fmt"] = "%%{NAME}-%%{VERSION}"
        defined = [word for name, value in macros.items() for word in ("--define", f"{name} {value}")]
        run("rpmbuild", "-bb", "--quiet", "--noclean", "--buildroot", place, *defined, folder / "set.spec")
    return {f"{name}-{version}": folder / f"{name}-{version}" for name in PACKAGES for version in "12"}


@pytest.fixture
def shell(tmp_path: Path) -> Path:
    """A root with a shell, which rpm runs scripts in."""
    need_root()
    need("busybox")
    found = tmp_path / "root"
    (found / "bin").mkdir(parents=True)
    program = shutil.which("busybox")
    shutil.copy(program, found / "bin/busybox")
    for word in run("ldd", program, status=None).stdout.split():
        if word.startswith("/"):
            (found / os.path.dirname(word)[1:]).mkdir(parents=True, exist_ok=True)
            shutil.copy(os.path.realpath(word), found / word[1:])
    for name in ("sh", "cat"):
        (found / "bin" / name).symlink_to("busybox")
    return found


def upgrade(root: Path, *packages: Path) -> list[str]:
    """What the scripts noted that rpm ran, each with what it read."""
    (root / "log").unlink(missing_ok=True)
    run("rpm", "--root", root, "--dbpath", "/var/lib/rpm", "-U", "--nodeps", *packages)
    return (root / "log").read_text().splitlines()


class Transaction:
    """All that runs when rpm packages are installed, in rpm's order, by what is said of it here."""

    def __init__(self, root: Path, headers: list[Header]) -> None:
        self.below = list(database.read(Directory(str(root), "root", int)))
        self.new = {}
        self.selected = []
        for header in headers:
            name = header.text(tags.NAME)
            gone = [one for one in self.below if one.name in (name, *header.texts(tags.OBSOLETENAME))]
            gone.sort(key=lambda one: one.name != name)
            shown = Package(name, header.text(tags.VERSION), "noarch", {}, "", None, None, 0)
            self.selected.append(Selected(shown, "", gone[0] if gone else None, tuple(gone[1:])))
            self.new[name] = header
        self.there = list(self.below)
        self.gone = {id(old) for one in self.selected for old in (one.replaces, *one.obsoletes)}
        self.counts = Counter(one.name for one in self.below)

    def run(self) -> Iterator[Script]:
        yield from self._phase(scripts.FIRST)
        for one in self.selected:
            yield from self._install(one)
        for one in self.selected:
            yield from self._erase(one)
        yield from self._phase(scripts.LAST)
        came = [placed(header) for header in self.new.values()]
        kept = [old for old in self.below if id(old) not in self.gone]
        yield from rpmtriggers.set_off_at_end(
            tags.TRIGGERIN,
            [rpmtriggers.file_triggers_of(old.header, transaction=True) for old in kept],
            came,
            self.counts,
        )
        every = [*(placed(old.header) for old in kept), *came]
        for header in self.new.values():
            own = rpmtriggers.file_triggers_of(header, transaction=True)
            yield from rpmtriggers.set_off_at_end(tags.TRIGGERIN, [own], every, self.counts)

    def _phase(self, phase: str) -> Iterator[Script]:
        for one in self.selected:
            yield from scripts.rpm_scripts(one, self.new[one.package.name], phase)

    def _install(self, one: Selected) -> Iterator[Script]:
        header = self.new[one.package.name]
        own = Owner(one.package, rpmtriggers.triggers_of(header))
        yield from self._others(tags.TRIGGERPREIN, one.package, self.there)
        yield from rpmtriggers.set_off_by_others(tags.TRIGGERPREIN, own, self.there, self.counts, _fits)
        yield from scripts.rpm_scripts(one, header, scripts.BEFORE)
        before = [placed(old.header) for old in self.there]
        self.counts[one.package.name] += 1
        new = Installed(one.package.name, one.package.version, "noarch", {}, header=header)
        self.there.append(new)
        yield from self._files(header, before, early=True)
        yield from scripts.rpm_scripts(one, header, scripts.AFTER)
        yield from self._others(tags.TRIGGERIN, new, self.there)
        yield from rpmtriggers.set_off_by_others(tags.TRIGGERIN, own, self.there, self.counts, _fits)
        yield from self._files(header, before, early=False)

    def _files(self, header: Header, before: list[Placed], *, early: bool) -> Iterator[Script]:
        owners = [rpmtriggers.file_triggers_of(old.header) for old in self.there]
        yield from rpmtriggers.set_off_by_files(tags.TRIGGERIN, placed(header), owners, self.counts, early=early)
        own = rpmtriggers.file_triggers_of(header)
        yield from rpmtriggers.set_off_by_files_there(tags.TRIGGERIN, own, before, self.counts, early=early)

    def _erase(self, one: Selected) -> Iterator[Script]:
        erased = scripts.rpm_scripts(one, self.new[one.package.name], scripts.REMOVED)
        for old in [one for one in (one.replaces, *one.obsoletes) if one is not None]:
            self.counts[old.name] -= 1
            own = Owner(old, rpmtriggers.triggers_of(old.header))
            others = [each for each in self.there if each is not old]
            yield from rpmtriggers.set_off_by_others(tags.TRIGGERUN, own, others, self.counts, _fits)
            yield from self._others(tags.TRIGGERUN, old, self.there)
            yield from erased[:2]
            yield from self._others(tags.TRIGGERPOSTUN, old, self.there)
            erased = erased[2:]
            self.there = others

    def _others(self, sense: int, one: Package | Installed, there: list[Installed]) -> list[Script]:
        owners = [Owner(each, rpmtriggers.triggers_of(each.header)) for each in there]
        return rpmtriggers.set_off(sense, one, owners, self.counts, _fits)


def _fits(relation, one) -> bool:
    assert str(relation) == "beta > 0"
    return True


def placed(header: Header) -> Placed:
    return Placed(header.text(tags.NAME), sorted(f"/{file.path}" for file in files_of(header)))


def told(script: Script) -> list[str]:
    version = script.data.decode().split(f" {script.package} ", 1)[1][0]
    words = "|" if "file" in script.name else "".join(f"{word}|" for word in script.words)
    prefixes = [*script.prefixes, "", ""][:2]
    return [
        f"{script.name} {script.package} {version}",
        f"{words}{' '.join(prefixes)}",
        *script.input.decode().splitlines(),
    ]


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(["gamma-1 alpha-1", "beta-1"], id="new ones, one obsoletes another"),
        pytest.param(["alpha-1", "gamma-1", "beta-1", "beta-2"], id="upgraded below triggers"),
        pytest.param(["alpha-1", "delta-1"], id="obsoleted alone"),
        pytest.param(["gamma-1", "gamma-2"], id="upgraded with triggers on files alone"),
    ],
)
def test_scripts_and_triggers_of_rpm(steps, rpms, shell):
    for step in steps:
        paths = [rpms[name] for name in step.split()]
        known = {path.name: read_head(str(path), path.name).header for path in paths}
        below = Transaction(shell, list(known.values()))
        noted = upgrade(shell, *paths)
        # rpm's own order, as these need nothing of each other.
        order = [line.split()[1:] for line in noted if line.startswith("pretrans ")]
        below.new = {name: below.new[name] for name, _ in order}
        below.selected.sort(key=lambda one: list(below.new).index(one.package.name))
        assert noted == [line for script in below.run() for line in told(script)]


RPM_ORDERS = {
    "chain": {"a": "b", "b": "c", "c": ""},
    "needed by scripts": {"a": "b", "b": "pre:a", "c": "b"},
    "needed by scripts of the other": {"a": "post:b", "b": "a", "c": "b"},
    "after a circle": {"a": "c", "b": "c, pre:d", "c": "post:b", "d": ""},
    "wished": {"a": "order:b", "b": "order:c", "c": ""},
}
WORDS = {"": "Requires", "pre": "Requires(pre)", "post": "Requires(post)", "order": "OrderWithRequires"}


@pytest.mark.parametrize("case", RPM_ORDERS)
def test_order_of_rpm(case, tmp_path):
    need("rpmbuild", "rpm")
    need_root()
    parts, texts = [HEAD.format(version="1")], []
    for name, needs in RPM_ORDERS[case].items():
        split = [each.rpartition(":")[::2] for each in needs.split(", ") if each]
        lines = [f"{WORDS[word]}: {other}" for word, other in split]
        parts += [f"%package -n {name}\nSummary: x\n", *(f"{line}\n" for line in lines), f"%description -n {name}\nx\n"]
        parts += [f"%post -n {name}\nexit 0\n%files -n {name}\n"]
        wanted = [other for word, other in split if word != "order"]
        texts.append(f"{name} 1" + (f" ; needs {', '.join(wanted)}" if wanted else ""))
    (tmp_path / "set.spec").write_text("".join(parts))
    macros = {"_topdir": tmp_path / "top", "_rpmdir": tmp_path, "_build_name_fmt": "%%{NAME}.rpm"}
    defined = [word for name, value in macros.items() for word in ("--define", f"{name} {value}")]
    run("rpmbuild", "-bb", "--quiet", *defined, tmp_path / "set.spec")
    paths = [tmp_path / f"{name}.rpm" for name in RPM_ORDERS[case]]
    root = tmp_path / "root"
    root.mkdir()
    run("rpm", "--root", root, "--dbpath", "/var/lib/rpm", "-i", "--nodeps", "--noscripts", *paths)
    known = rpmfeeds.world(rpmfeeds.opened(rpmfeeds.write_feed(tmp_path / "feed", *texts)))
    selected = rpm_resolve.resolve(known, "app", list(RPM_ORDERS[case])).selected
    headers = [read_head(str(tmp_path / f"{one.package.name}.rpm"), "x").header for one in selected]
    order = [one.package.name for one in rpm_order(known, selected, headers)]
    assert order == [one.name for one in database.read(Directory(str(root), "root", int))]
