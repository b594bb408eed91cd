# SPDX-License-Identifier: MIT
"""Root file systems as a build makes them: packages installed by the format's own tool, with its database.

Must not use the product.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from . import sources, tools

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PROGRAMS = {"deb": ("dpkg",), "ipk": ("opkg",), "rpm": ("rpm", "rpmbuild")}
DATABASES = {"deb": "var/lib/dpkg", "ipk": "var/lib/opkg", "rpm": "var/lib/rpm"}

# Where opkg has its files is a choice of its build; here they are where a distribution has them.
OPKG = """dest root /
arch all 1
option info_dir /var/lib/opkg/info
option status_file /var/lib/opkg/status
option lists_dir /var/lib/opkg/lists
option lock_file /var/lib/opkg/lock
"""


def install(kind: str, packages: Iterable[Path], root: Path) -> Path:
    """Install packages into a folder, which is made; all they need is to be among them."""
    tools.need_root()
    tools.need(*PROGRAMS[kind])
    (root / DATABASES[kind]).mkdir(parents=True)
    for up in (root, *(root / path for path in ("var", "var/lib", DATABASES[kind]))):
        up.chmod(0o755)
    files = list(packages)
    env = tools.environment(SOURCE_DATE_EPOCH=str(sources.EPOCH))
    if kind == "deb":
        options = ("--force-script-chrootless", "--force-unsafe-io", "--log=/dev/null", f"--root={root}")
        tools.run("dpkg", *options, "--install", *files, env=env)
    elif kind == "rpm":
        tools.run("rpm", "--root", root, "--dbpath", "/var/lib/rpm", "--install", *files, env=env)
    else:
        with tools.scratch("oe-oci-opkg-") as scratch:
            conf = scratch / "opkg.conf"
            conf.write_text(OPKG + f"arch {os.uname().machine} 5\noption tmp_dir {scratch}\n")
            tools.run("opkg", "--conf", conf, "--offline-root", root, "--no-install-recommends", "install", *files)
    return root
