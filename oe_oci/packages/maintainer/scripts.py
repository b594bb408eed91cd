# SPDX-License-Identifier: MIT
"""Which scripts packages have, and with which words they are called in each phase of an installation.

Follows Debian's policy of maintainer scripts and dpkg 1.21, opkg 0.4 to 0.9, and rpm 4.18. debconf's `config` does not
run by itself. Must not run a script, nor know in which order packages come.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from ...tree import decode, encode
from ..package import DEB, IPK, RPM
from ..rpm import tags

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ..package import Installed, Package
    from ..resolve import Selected
    from ..rpm.header import Header
    from ..world import Candidate

    _Tags = tuple[str, int, int, int]

# The phases of an installation; each is for all packages of a layer, in their order, before the next one begins.
FIRST = "first"  # before anything else
BEFORE = "before"  # a package's files are placed
PLACED = "placed"  # its files are there
AFTER = "after"  # it is configured
REMOVED = "removed"  # what it takes the place of is gone
LAST = "last"  # all is done
PHASES = (FIRST, BEFORE, PLACED, AFTER, REMOVED, LAST)

LUA = "<lua>"  # an interpreter that is rpm itself
# What names the image's directory to scripts of OpenEmbedded that run outside of it.
ROOT_VARIABLES = ("D", "OFFLINE_ROOT", "IPKG_OFFLINE_ROOT", "OPKG_OFFLINE_ROOT")
SHELL = ("/bin/sh",)
_ADMIN = "/var/lib/dpkg"
_INTERPRETER = re.compile(rb"#![ \t]*([^ \t\r\n]+)(?:[ \t]+([^\r\n]*[^ \t\r\n]))?[ \t]*\r?(?:\n|$)")
_PROGRAM = b"\x7fELF"

# rpm's scripts with their tags: of the text, the interpreter and the flags.
_PRETRANS = "pretrans", tags.PRETRANS, tags.PRETRANSPROG, tags.PRETRANSFLAGS
_PREIN = "prein", tags.PREIN, tags.PREINPROG, tags.PREINFLAGS
_POSTIN = "postin", tags.POSTIN, tags.POSTINPROG, tags.POSTINFLAGS
_PREUN = "preun", tags.PREUN, tags.PREUNPROG, tags.PREUNFLAGS
_POSTUN = "postun", tags.POSTUN, tags.POSTUNPROG, tags.POSTUNFLAGS
_POSTTRANS = "posttrans", tags.POSTTRANS, tags.POSTTRANSPROG, tags.POSTTRANSFLAGS


class Script(NamedTuple):
    """A script of a package, and how it is called.

    `kind` is the package's format, `name` the script's name in it (`postinst`, `postin`). `interpreter` is what runs
    it, with its own words; it is empty where the script is a program itself. Without `data` it is the interpreter alone
    that runs. `words` follow the script, `input` is what it reads. `flags` are rpm's: `tags.SCRIPT_EXPAND` and
    `tags.SCRIPT_QFORMAT` say that rpm would change the text first. `instances` is for how many architectures dpkg
    has the package, `prefixes` are where rpm put its parts that can lie elsewhere.
    """

    kind: str
    package: str
    arch: str
    name: str
    interpreter: tuple[str, ...]
    data: bytes
    words: tuple[str, ...] = ()
    input: bytes = b""
    flags: int = 0
    instances: int = 1
    prefixes: tuple[str, ...] = ()


class Change(NamedTuple):
    """A deb or ipk package that comes, with its control files; and what it upgrades, `old`, with those of that.

    `configured` is the version that was configured last, empty where none was. `instances` is for how many
    architectures there is one of its name.
    """

    package: Package
    control: Mapping[str, bytes]
    old: Installed | None = None
    former: Mapping[str, bytes] = {}
    configured: str = ""
    instances: int = 1


def environment(script: Script, root: str = "") -> dict[str, str]:
    """The variables a script finds by its format; `root` is the image's directory where it runs outside of that."""
    found = dict.fromkeys(ROOT_VARIABLES, root) if root else {}
    if script.kind == DEB:
        found.update(
            DEBIAN_FRONTEND="noninteractive",
            DEBCONF_NONINTERACTIVE_SEEN="true",
            DPKG_ADMINDIR=root + _ADMIN,
            DPKG_ROOT=root,
            DPKG_MAINTSCRIPT_ARCH=script.arch,
            DPKG_MAINTSCRIPT_DEBUG="0",
            DPKG_MAINTSCRIPT_NAME=script.name,
            DPKG_MAINTSCRIPT_PACKAGE=script.package,
            DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=str(script.instances),
        )
    elif script.kind == IPK:
        found["PKG_ROOT"] = f"{root}/"
    if script.prefixes:
        found["RPM_INSTALL_PREFIX"] = script.prefixes[0]
        found.update((f"RPM_INSTALL_PREFIX{number}", prefix) for number, prefix in enumerate(script.prefixes))
    return found


# ---- deb and ipk


def changes(
    selected: Sequence[Selected],
    controls: Sequence[Mapping[str, bytes]],
    installed: Sequence[Installed],
    former: Mapping[tuple[str, str], Mapping[str, bytes]],
) -> list[Change]:
    """What a layer does with deb or ipk packages; `controls` are the control files of those selected.

    `installed` are all that the database below knows, in any state; `former` has the scripts of those that are
    upgraded, by name and architecture.
    """
    known = [one for one in installed if not one.state.endswith(" not-installed")]
    upgraded = {id(one.replaces) for one in selected}
    left = {(one.name, one.arch): _configured(one) for one in known if not one.whole}
    there = {(one.name, one.arch) for one in known if id(one) not in upgraded}
    instances = Counter(name for name, _ in there.union((one.package.name, one.package.arch) for one in selected))
    found = []
    for one, control in zip(selected, controls):
        package, old = one.package, one.replaces
        scripts = former.get((old.name, old.arch), {}) if old else {}
        configured = _configured(old) if old else left.get((package.name, package.arch), "")
        found.append(Change(package, control, old, scripts, configured, instances[package.name]))
    return found


def _configured(below: Installed) -> str:
    return below.fields.get("Config-Version") or below.version


def deb_scripts(change: Change, phase: str) -> list[Script]:
    """The scripts that dpkg runs of a package in a phase."""
    new, old = change.package.version, change.old
    if phase == BEFORE:
        left = (change.configured, new) if change.configured else ()
        begin = ("upgrade", old.version, new) if old else ("install", *left)
        return [*_former(DEB, change, "prerm"), *_new(DEB, change, "preinst", begin)]
    if phase == PLACED:
        return _former(DEB, change, "postrm")
    # Where none was configured before, dpkg gives an empty word.
    return _new(DEB, change, "postinst", ("configure", change.configured)) if phase == AFTER else []


def ipk_scripts(change: Change, phase: str) -> list[Script]:
    """The scripts that opkg runs of a package in a phase."""
    if phase == BEFORE:
        begin = ("upgrade", change.old.version) if change.old else ("install",)
        return [*_former(IPK, change, "prerm"), *_new(IPK, change, "preinst", begin)]
    if phase == PLACED:
        return _former(IPK, change, "postrm")
    return _new(IPK, change, "postinst", ("configure",)) if phase == AFTER else []


def _new(kind: str, change: Change, name: str, words: tuple[str, ...]) -> list[Script]:
    package, data = change.package, change.control.get(name)
    if data is None:
        return []
    return [_script(kind, package, name, data, words)._replace(instances=change.instances)]


def _former(kind: str, change: Change, name: str) -> list[Script]:
    """A script of the package that is upgraded."""
    old, data = change.old, change.former.get(name)
    if old is None or data is None:
        return []
    return [_script(kind, old, name, data, ("upgrade", change.package.version))._replace(instances=change.instances)]


def _script(kind: str, package: Candidate, name: str, data: bytes, words: tuple[str, ...]) -> Script:
    return Script(kind, package.name, package.arch, name, interpreter_of(data), data, words)


def interpreter_of(data: bytes) -> tuple[str, ...]:
    """What runs a script by its first line, the shell where it has none; nothing where it is a program itself."""
    match = _INTERPRETER.match(data)
    if match is None:
        return () if data.startswith(_PROGRAM) else SHELL
    # As Linux does, which gives all that follows as one word.
    return tuple(map(decode, filter(None, match.groups())))


# ---- rpm


def rpm_scripts(selected: Selected, header: Header, phase: str) -> list[Script]:
    """The scripts that rpm runs of a package, whose header that is, in a phase; and of those it takes the place of.

    Unlike with rpm itself, the files of these are gone by then.

    Raises:
        InputError: a header is damaged.
    """
    gone = [one for one in (selected.replaces, *selected.obsoletes) if one is not None]
    there = 1 + sum(one.name == selected.package.name for one in gone)
    if phase == FIRST:
        # Where a package's parts lie rpm settles after that.
        return [one._replace(prefixes=()) for one in _of_header(header, _PRETRANS, there)]
    if phase == BEFORE:
        return _of_header(header, _PREIN, there)
    if phase == AFTER:
        return _of_header(header, _POSTIN, there)
    if phase == LAST:
        # Here rpm counts what is obsoleted too.
        return _of_header(header, _POSTTRANS, 2 if gone else 1)
    return list(_erased(selected, gone)) if phase == REMOVED else []


def _erased(selected: Selected, gone: Sequence[Installed]) -> Iterator[Script]:
    left = Counter([selected.package.name, *(one.name for one in gone)])
    for one in gone:
        left[one.name] -= 1
        assert one.header is not None
        yield from _of_header(one.header, _PREUN, left[one.name])
        yield from _of_header(one.header, _POSTUN, left[one.name])


def _of_header(header: Header, which: _Tags, count: int) -> list[Script]:
    """A script of a header, if it has that; `count` is how many of its package there are when all is done."""
    name, text, program, flags = which
    if text not in header and program not in header:
        return []
    data = encode(header.text(text))
    found = Script(
        RPM,
        header.text(tags.NAME),
        header.text(tags.ARCH),
        name,
        header.texts(program) or SHELL,
        data,
        # What has no text is a program that needs no word.
        (str(count),) if data else (),
        flags=header.number(flags),
        prefixes=prefixes_of(header),
    )
    return [found]


def prefixes_of(header: Header) -> tuple[str, ...]:
    """Where those parts of a package are that can lie elsewhere; they stay where they are by default."""
    return header.texts(tags.INSTPREFIXES) or header.texts(tags.PREFIXES)
