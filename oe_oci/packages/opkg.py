# SPDX-License-Identifier: MIT
"""opkg's database: what it says of a tree, and what a layer has of it.

Follows what opkg 0.4 to 0.6 reads and writes. Its status file has only some of a package's fields; all of them are in
the package's own file in `info`, which scanners read too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..tree import resolve, shown
from .database import (
    KEEP,
    Step,
    Writer,
    Written,
    in_order,
    lines_of,
    list_of_files,
    listed_conffiles,
    names_in,
    packages_in,
    packages_under,
    paragraph,
    read_file,
    relative,
)

if TYPE_CHECKING:
    from ..tree import Lookup, Source
    from .package import Installed

_ROOTS = "var/lib/opkg", "usr/lib/opkg"  # the latter of older systems and of OpenWrt
_FIELDS = (
    *("Package", "Version", "Depends", "Pre-Depends", "Recommends", "Suggests", "Provides", "Replaces", "Conflicts"),
    *("Status", "Essential", "Architecture", "Conffiles", "Installed-Size", "Installed-Time", "Auto-Installed"),
)


def read(tree: Source) -> tuple[Installed, ...]:
    """Every package the tree's database knows, in any state; none where there is no database.

    Raises:
        InputError: the database is damaged.
    """
    root, found = root_of(tree), listed(tree)
    known = {f"{package.name}.control" for package in found}
    names = (name for name in names_in(tree, f"{root}/info") if name.endswith(".control") and name not in known)
    found += (package for _, package in packages_under(tree, (f"{root}/info/{name}" for name in names)))
    return tuple(map(_requested, found))


def listed(tree: Source) -> list[Installed]:
    """The packages that the status file knows, which are all that opkg itself sees.

    Raises:
        InputError: it is damaged.
    """
    return packages_in(tree, f"{root_of(tree)}/status", shared=True)


def files_of(tree: Source, package: Installed) -> tuple[str, ...]:
    """The paths of an installed package, directories too; none where the database does not say.

    Raises:
        InputError: the list is damaged.
    """
    path = f"{root_of(tree)}/info/{package.name}.list"
    # A line may go on with the file's mode and what a link leads to.
    return relative((line.partition("\t")[0] for line in lines_of(read_file(tree, path))), shown(path))


def write(lower: Source, step: Step, mode: str) -> Written:
    """The database's changes on top of `lower`; `mode` is KEEP or PER_PACKAGE.

    PER_PACKAGE leaves what is shared alone, but for a package of `lower` that is replaced.

    Raises:
        InputError: the database below is damaged, or a package can not be entered in one.
    """
    writer, root = Writer(lower), root_of(lower)
    gone = {package.name for package in step.replaced}
    writer.remove_control(f"{root}/info", gone)
    for added in step.added:
        stem = f"{root}/info/{added.package.name}"
        writer.put(f"{stem}.control", paragraph(added.package.fields.items()))
        writer.put(f"{stem}.list", list_of_files(added.package, filter(None, added.paths), "\n\t"))
        if mode == KEEP:
            writer.put_control(stem, added)
    packages = in_order(step.installed)
    if mode == KEEP:
        writer.directory(f"{root}/lists")
    else:
        below = packages_in(lower, f"{root}/status", shared=True)
        packages = [package for package in in_order(below) if package.name not in gone]
        if len(packages) == len(below):
            return writer.written()
    writer.put(f"{root}/status", b"".join(_status(package, step.epoch) for package in packages))
    return writer.written()


def control_of(tree: Lookup, package: Installed, name: str) -> bytes | None:
    """A control file of an installed package, such as a script; None where the database has none of that name."""
    return read_file(tree, f"{root_of(tree)}/info/{package.name}.{name}")


def root_of(tree: Lookup) -> str:
    """The folder of the database, where it is or else where it is made."""
    known = [root for root in _ROOTS if resolve(tree, f"{root}/status", follow=True).entry is not None]
    return next(iter(known), _ROOTS[0])


def _requested(package: Installed) -> Installed:
    fields = dict(package.fields)
    return package._replace(fields=fields, requested=fields.pop("Auto-Installed", "") != "yes")


def _status(package: Installed, epoch: int) -> bytes:
    fields = {**package.fields, "Status": package.state, "Conffiles": listed_conffiles(package)}
    if package.whole:
        if epoch:
            fields.setdefault("Installed-Time", str(epoch))
        if not package.requested:
            fields["Auto-Installed"] = "yes"
    return paragraph((field, fields[field]) for field in _FIELDS if field in fields)
