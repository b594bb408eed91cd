# SPDX-License-Identifier: MIT
"""Files and links of an image and of packages that stand where rpm and dnf write their own, and would lead them astray.

Must not know how dnf is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import InputError
from ...tree import DIRECTORY, SYMLINK, Tree, join, parent, resolve, shown
from ..rpm import database
from .root import BUILTIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..contents import Contents

MODULES = "etc/dnf/modules.d"  # which dnf makes for itself


def check_below(tree: Tree, folder: str) -> None:
    """See that no link of the image leads dnf or rpm to this machine's files; `folder` is that of the database.

    Raises:
        InputError: there is one.
    """
    passed = resolve(tree, MODULES, follow=True).passed
    for path in (*passed, *(join(folder, name) for name in tree.names(folder))):
        entry = tree.entry(path)
        if entry is not None and entry.kind == SYMLINK:
            raise InputError(f"{shown(path)}: is a link, which dnf would follow out of the image", hint=BUILTIN)


def check_shipped(held: Sequence[Contents], lower: Tree, folder: str) -> None:
    """See that no new package has a file among those of the database in `folder`, or a link, which rpm would follow.

    `lower` is the image without the packages.

    Raises:
        InputError: one has.
    """
    for contents in held:
        for path, entry in ((member.path, member.entry) for member in contents.members):
            own = entry.kind == SYMLINK or path.rpartition("/")[2] in database.OWN
            if own and entry.kind != DIRECTORY and resolve(lower, parent(path), follow=True).path == folder:
                raise InputError(
                    f"{contents.fields['Package']}: {shown(path)} is a {entry.kind} in the place of a file of rpm's own"
                    " database",
                    hint="take it out of the package, or make it a %ghost there",
                )
