# SPDX-License-Identifier: MIT
"""What a start imports: nothing that it does not need, which is most of the time that a small command takes."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support import packages, rpms, tools, warm

if TYPE_CHECKING:
    from pathlib import Path

CONF = """\
SOURCE_DATE_EPOCH = "1700000000"
OCI_LAYERS = "{layers}"
"""
# The modules of this package, without its name, and the others that are not of the standard library: zlib_ng for its
# version, which is a part of each layer's key, and solv.
HELP = "(top) cachecommands cli commands errors tables"
DIRECTORIES = f"""\
{HELP}
accounts ahead architectures archive base bbconf bbconf.expand bbconf.names bbconf.syntax bbconf.variables blob build
cache changeset compress config configure configure.accounts configure.baseref configure.feeds configure.grammar
configure.laidout configure.names configure.ownership configure.platforms configure.rest configure.runtime
configure.settings configure.variables content decompress delta differences digests earlier inputs kept labels layer
listing locking members memory notes oci oci.image oci.layout oci.spec outputs owned plan populate progress questions
records removal render report revision rootfs run scan staging store stored stream tar threads transfer tree untar
zlib_ng
"""
ANY_PACKAGES = f"""\
{DIRECTORIES}
confined inodes packages packages.contents packages.control packages.database packages.dpkg packages.explain
packages.feed packages.foreign packages.index packages.installation packages.libsolv packages.maintainer
packages.maintainer.bootstrap packages.maintainer.choose packages.maintainer.crowd
packages.maintainer.debtriggers packages.maintainer.defer packages.maintainer.inside packages.maintainer.job
packages.maintainer.order packages.maintainer.pending packages.maintainer.phases
packages.maintainer.processors packages.maintainer.ran packages.maintainer.recall
packages.maintainer.rpmtriggers packages.maintainer.runner packages.maintainer.sandbox
packages.maintainer.scripts packages.maintainer.transaction packages.maintainer.view
packages.maintainer.wrapping packages.native packages.native.links packages.native.manager
packages.native.readback packages.native.root packages.native.scripts packages.native.updatealternatives
packages.native.volatile packages.opkg packages.owners packages.package packages.paths packages.payload
packages.place packages.prefer packages.recall packages.recorded packages.relation packages.resolve
packages.rpm packages.rpm.btree packages.rpm.database packages.rpm.entered packages.rpm.files
packages.rpm.header packages.rpm.lookups packages.rpm.made packages.rpm.ndb packages.rpm.pages
packages.rpm.relation packages.rpm.rich packages.rpm.sqlite packages.rpm.tags packages.scratch packages.solver
packages.version packages.world solv
"""
PACKAGES = f"{ANY_PACKAGES} packages.alternatives packages.installer"
RPM_PACKAGES = f"""\
{ANY_PACKAGES}
packages.rpm.archive packages.rpm.capabilities packages.rpm.clauses packages.rpm.cpio packages.rpm.disposition
packages.rpm.entries packages.rpm.facts packages.rpm.features packages.rpm.feed packages.rpm.installer
packages.rpm.members packages.rpm.place packages.rpm.plain packages.rpm.pool packages.rpm.primary
packages.rpm.repomd packages.rpm.resolve packages.rpm.solver packages.rpm.sums packages.rpm.world
"""
# Each takes as long as a whole command should, or belongs to what such a command does not do. (lzma and bz2 are among
# what shutil imports, and logging imports traceback.)
HEAVY = {
    *("asyncio", "backports.zstd", "compression.zstd", "ctypes", "debian", "difflib", "email", "http", "ipaddress"),
    *("isal", "multiprocessing", "pyzstd", "rpmfile", "secrets", "shtab", "socket", "sqlite3", "ssl", "tarfile"),
    *("typing_extensions", "unittest", "urllib", "xml", "zipfile"),
}
if sys.version_info < (3, 14):  # whose argparse imports it
    HEAVY |= {"dataclasses", "inspect"}

PROGRAM = """\
import atexit, sys
before = set(sys.modules)
atexit.register(lambda: sys.stderr.write("\\n".join(sys.modules.keys() - before)))
from oe_oci.cli import main
sys.exit(main())
"""


class Imported(NamedTuple):
    """What a command imports: the modules of this package, with other packages, and those of the standard library."""

    named: set[str]
    standard: set[str]


def imported(*words: object) -> Imported:
    done = tools.run(sys.executable, "-c", PROGRAM, *words, env=tools.environment(PYTHONPATH=str(tools.ROOT)))
    named, standard = set(), set()
    for name in done.stderr.split():
        package, _, rest = name.partition(".")
        if package in sys.stdlib_module_names:
            standard.add(name)
        elif not package.startswith("swig_runtime_data"):  # solv's
            named.add(rest or "(top)" if package == "oe_oci" else package)
    return Imported(named, standard)


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help(word):
    found = imported(word)
    assert found.named == set(HELP.split())
    assert not found.standard & {*HEAVY, "hashlib", "json", "logging", "signal", "subprocess", "tempfile", "threading"}


class Image(NamedTuple):
    """The words that build one."""

    conf: Path
    more: tuple[object, ...]

    def build(self) -> Imported:
        """What a build imports whose layers are all known."""
        words = ("build", self.conf, "-q", "--cache-dir", self.conf.parent / "cache", *self.more)
        words = (*words, "--deploy-dir", self.conf.parent / "out")
        tools.oe_oci(*words)
        report = json.loads(tools.oe_oci(*words, "--json").stdout)
        assert not any(warm.reasons(report).values())
        return imported(*words)


def test_directories(folder):
    for name in ("one", "two"):
        (folder / "rootfs" / name).mkdir(parents=True)
        (folder / "rootfs" / name / "file").write_text(name)
    (folder / "app.conf").write_text(CONF.format(layers="one:directories:/one two:directories:/two"))
    found = Image(folder / "app.conf", ("--rootfs", folder / "rootfs")).build()
    assert found.named == set(DIRECTORIES.split())
    assert not found.standard & {*HEAVY, "random", "tempfile"}


def test_packages(folder):
    """Taken from their feed, which lists what they hold; neither a package nor the database of a tree is read."""
    made = [packages.package("lib", files={"usr/lib.so": b"lib"})]
    packages.write_feed(folder / "feed", [*made, packages.package("tool", files={"bin/tool": b""}, Depends="lib")])
    (folder / "app.conf").write_text(CONF.format(layers="lib:packages:lib tool:packages:tool"))
    found = Image(folder / "app.conf", ("--feed", folder / "feed")).build()
    assert found.named == set(PACKAGES.split())
    assert not found.standard & HEAVY


def test_rpm_packages(folder):
    """The database of the layers is not made either."""
    tools.need("createrepo_c")
    made = [rpms.package("lib", given={"usr/lib.so": b"lib"})]
    made.append(rpms.package("tool", given={"usr/bin/tool": b""}, requires=["lib"]))
    (folder / "feed").mkdir()
    for one in made:
        one.write(folder / "feed")
    tools.run("createrepo_c", "-q", folder / "feed")
    (folder / "app.conf").write_text(CONF.format(layers="lib:packages:lib tool:packages:tool"))
    found = Image(folder / "app.conf", ("--feed", folder / "feed")).build()
    assert found.named == set(RPM_PACKAGES.split())
    assert not found.standard & (HEAVY - {"xml"})  # expat
    assert not {"html", "importlib.metadata", "xml.sax", "xml.etree"} & found.standard
