# SPDX-License-Identifier: MIT
"""User namespaces in which an ordinary user is root, as `unshare --map-root-user` makes them.

They are made by root, who needs no subordinate ids in this machine's own files for it; or by an ordinary user himself,
who sees files of subordinate ids that are not this machine's own.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .tools import NOBODY, as_nobody, need, need_root, run

FIRST, NUMBER = 100_000, 65_536  # of the ids that are mapped beside root

_PROGRAM = f"""
import ctypes, os, sys

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
ready, go = os.pipe(), os.pipe()
child = os.fork()
if not child:
    os.setgroups([])
    os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
    os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER | CLONE_NEWNS):
        os._exit(77)
    os.write(ready[1], b".")
    os.read(go[0], 1)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    os.execvp(sys.argv[2], sys.argv[2:])
os.close(ready[1])
if os.read(ready[0], 1):
    lines = "0 {NOBODY} 1\\n" + ("1 {FIRST} {NUMBER}\\n" if sys.argv[1] == "many" else "")
    files = {{"uid_map": lines, "gid_map": lines}}
    if sys.argv[1] != "many":
        files = {{"setgroups": "deny", **files}}
    for name, text in files.items():
        with open(f"/proc/{{child}}/{{name}}", "w") as file:
            file.write(text)
    os.write(go[1], b".")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def as_root_of_many() -> list[str]:
    """The words before a command that run it as root of a namespace with other ids too."""
    return _words("many")


def as_root_of_one() -> list[str]:
    """The words before a command that run it as root of a namespace that has no other id."""
    return _words("one")


def as_user_with_ids(ids: Path) -> list[str]:
    """The words before a command that make it an ordinary user's, who has the ids of a file and may use them."""
    user = as_nobody()
    need("newuidmap", "newgidmap", "unshare")
    if not all(Path(path).exists() for path in ("/etc/subuid", "/etc/subgid")):
        pytest.skip("no /etc/subuid, /etc/subgid")
    ids.write_text(f"{NOBODY}:{FIRST}:{NUMBER}\n", encoding="ascii")
    ids.chmod(0o644)
    mount = 'mount --bind "$0" /etc/subuid && mount --bind "$0" /etc/subgid && exec "$@"'
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount, str(ids), *user]
    if run(*words, "true", status=None).returncode:
        pytest.skip("nothing can be mounted here")
    return words


def _words(ids: str) -> list[str]:
    need_root()
    return [sys.executable, "-c", _PROGRAM, ids]
