# SPDX-License-Identifier: MIT
"""Feeds of the distribution's packages in each format: .deb as they are, and .ipk and .rpm made of them.

All belongs to root in those that are made, and they have no scripts, or other ones: theirs are dpkg's. Of relations
only the names stay, none is against a package, and none stands in for one that is there: each format takes the rest in
its own way.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

from benchmarks.packages import TOOLS, run, write_index
from benchmarks.scripts import PROVIDERS, scripts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

    Scripts = Mapping[str, Mapping[str, str]]  # by the package's name, and their own

# By format: the package manager's name with its programs; and what making a feed takes.
MANAGERS = {"deb": ("apt", ("apt-get", "dpkg")), "ipk": ("opkg", ("opkg",)), "rpm": ("dnf", ("dnf", "rpm"))}
SCRIPTED = ("ipk", "rpm")  # that can have scripts which are made for them
NEEDED = {"deb": TOOLS, "ipk": TOOLS, "rpm": (*TOOLS, "rpmbuild", "createrepo_c")}

_SCRIPTS = ("preinst", "postinst", "prerm", "postrm", "config", "templates", "triggers")
_AGAINST = ("Breaks", "Conflicts", "Replaces")
_RELATIONS = ("Depends", "Pre-Depends", "Provides", "Recommends", "Suggests")
# No stripping, no byte compiling, and what no package of the set lists is no fault.
_MACROS = {
    "__os_install_post": "%{nil}",
    "_binaries_in_noarch_packages_terminate_build": "0",
    "_binary_payload": "w3.zstdio",
    "_build_id_links": "none",
    "_build_name_fmt": "%%{NAME}.rpm",
    "_unpackaged_files_terminate_build": "0",
    "debug_package": "%{nil}",
}
_HEAD = "Name: set\nVersion: 1\nRelease: 1\nSummary: set\nLicense: none\n%description\n"
_PACKAGE = """\
%package -n {name}
Summary: {name}
Version: {version}
Release: {release}
{more}
AutoReqProv: no
%description -n {name}
{scripts}%files -n {name}
%defattr(-,root,root)
{files}
"""
_SECTIONS = {"preinst": "%pre", "postinst": "%post"}


def make(place: str, kind: str, feed: str, *, scripted: bool = False) -> None:
    """A feed of a format in the folder `input` of another, of the packages in `feed`, some with scripts if so."""
    debs = [os.path.join(feed, name) for name in sorted(os.listdir(feed)) if name.endswith(".deb")]
    made = os.path.join(place, "input")
    os.mkdir(made)
    scripts = scripts_of({_name(deb): _needs(deb) for deb in debs}) if scripted else {}
    _MAKERS[kind](debs, made, os.path.join(place, "unpacked"), scripts)


def _name(deb: str) -> str:
    return os.path.basename(deb).partition("_")[0]


def _needs(deb: str) -> list[str]:
    """The names of all that a package may need."""
    text = run("dpkg-deb", "--field", deb, "Pre-Depends", "Depends")
    fields = re.findall(r"^\S+: (.*)$", text, re.MULTILINE)
    return [name for field in fields for names in relations(field) for name in names]


def _names(debs: Iterable[str]) -> set[str]:
    return {_name(deb) for deb in debs}


def relations(text: str, without: Container[str] = ()) -> list[list[str]]:
    """The names in a field, alternatives together, but for some."""
    groups = [[re.split(r"[\s:(]", one.strip())[0] for one in group.split("|")] for group in text.split(",")]
    return [names for names in groups if names[0] and names[0] not in without]


def _copy(debs: Sequence[str], feed: str, _: str, __: Scripts) -> None:
    for deb in debs:
        shutil.copyfile(deb, os.path.join(feed, os.path.basename(deb)))
    write_index(feed)


def _make_ipks(debs: Sequence[str], feed: str, unpacked: str, scripts: Scripts) -> None:
    for deb in debs:
        run("dpkg-deb", "--raw-extract", deb, unpacked)
        for script in _SCRIPTS:
            if os.path.exists(path := os.path.join(unpacked, "DEBIAN", script)):
                os.unlink(path)
        for script, text in scripts.get(_name(deb), {}).items():
            with open(os.path.join(unpacked, "DEBIAN", script), "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(os.path.join(unpacked, "DEBIAN", script), 0o755)
        control = os.path.join(unpacked, "DEBIAN", "control")
        with open(control, encoding="utf-8") as file:
            text = for_opkg(file.read(), _names(debs))
        with open(control, "w", encoding="utf-8") as file:
            file.write(text)
        ipk = os.path.join(feed, os.path.basename(deb).replace(".deb", ".ipk"))
        run("dpkg-deb", "--build", "--root-owner-group", "-Zgzip", "-z1", unpacked, ipk)
        shutil.rmtree(unpacked)
    write_index(feed)


def for_opkg(control: str, real: Container[str]) -> str:
    """Control data with no relations but those that `relations` tells of."""
    lines = []
    for line in control.splitlines():
        field, _, text = line.partition(": ")
        if field in _RELATIONS:
            groups = relations(text, real if field == "Provides" else ())
            lines += [f"{field}: {', '.join(map(' | '.join, groups))}"] if groups else []
        elif field not in _AGAINST:
            lines.append(line)
    return "\n".join([*lines, ""])


# ---- rpm


def _make_rpms(debs: Sequence[str], feed: str, unpacked: str, scripts: Scripts) -> None:
    """By one run of rpmbuild, which finds all files in one folder."""
    spec, root = [_HEAD], os.path.join(unpacked, "root")
    os.makedirs(root)
    for deb in debs:
        run("dpkg-deb", "--extract", deb, root)
        fields = re.findall(r"^(\S+): (.*)$", run("dpkg-deb", "--field", deb), re.MULTILINE)
        spec.append(part_of_spec(dict(fields), _members(deb), _names(debs), scripts.get(_name(deb), {})))
    # rpmbuild looks into each file for its kind, most of its time, unless it knows of hardly any.
    for name, text in (("set.spec", "".join(spec)), ("magic", "0 string \\177ELF ELF\n")):
        with open(os.path.join(unpacked, name), "w", encoding="utf-8") as file:
            file.write(text)
    macros = {**_MACROS, "_topdir": unpacked, "_rpmdir": feed}
    defined = [word for name, value in macros.items() for word in ("--define", f"{name} {value}")]
    command = ["rpmbuild", "-bb", "--quiet", "--noclean", "--buildroot", root, *defined, f"{unpacked}/set.spec"]
    run(*command, MAGIC=os.path.join(unpacked, "magic"))
    shutil.rmtree(unpacked)
    run("createrepo_c", "--quiet", feed)


def part_of_spec(
    fields: Mapping[str, str],
    members: Iterable[tuple[str, bool]],
    real: Container[str],
    scripts: Mapping[str, str],
) -> str:
    """What a spec file says of a package with such fields; `members` are paths, and whether each is a folder."""
    epoch, _, rest = fields["Version"].rpartition(":")
    version, _, release = rest.rpartition("-")
    more = [f"Epoch: {epoch}"] if epoch else []
    more += ["BuildArch: noarch"] if fields["Architecture"] == "all" else []
    needed = [*relations(fields.get("Pre-Depends", "")), *relations(fields.get("Depends", ""))]
    more += [f"Requires: ({' or '.join(names)})" if len(names) > 1 else f"Requires: {names[0]}" for names in needed]
    more += [f"Provides: {name}" for (name,) in relations(fields.get("Provides", ""), real)]
    more += [f"Requires(pre,post): {' '.join(PROVIDERS)}"] if scripts else []
    return _PACKAGE.format(
        name=fields["Package"],
        version=(version or rest).replace("-", "."),
        release=release if version else "0",
        more="\n".join(more),
        scripts="".join(f"{_SECTIONS[script]} -n {fields['Package']}\n{text}" for script, text in scripts.items()),
        files="\n".join(f'{"%dir " if folder else ""}"{_escaped(path)}"' for path, folder in members),
    )


def _escaped(path: str) -> str:
    """A pattern that matches a path in rpmbuild's language; for braces it has none but any character."""
    return re.sub(r"[{}\\]", "?", re.sub(r"([\[\]*?%])", r"[\1]", path))


def _members(deb: str) -> Iterator[tuple[str, bool]]:
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as data,
        tarfile.open(fileobj=data.stdout, mode="r|") as archive,
    ):
        for member in archive:
            path = member.name.removeprefix(".")
            if path.strip("/"):
                yield path, member.isdir()


_MAKERS: dict[str, Callable[[Sequence[str], str, str, Scripts], None]] = {
    "deb": _copy,
    "ipk": _make_ipks,
    "rpm": _make_rpms,
}
