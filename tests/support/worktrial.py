# SPDX-License-Identifier: MIT
"""Trials of the directory that scripts of packages run in, by root and by an ordinary user: each prints what came out.

As it is copied to where every user may read it, it uses the product and what is beside it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from oe_oci.content import Literal, whole
from oe_oci.packages.maintainer.work import Work, open_work
from oe_oci.tree import BLOCK, CHAR, DIRECTORY, FIFO, FILE, SYMLINK, Entry, join, order

from .unconfined import everywhere

if TYPE_CHECKING:
    from collections.abc import Mapping

EPOCH = 1_600_000_000
CAPABILITIES = [bytes.fromhex(f"0{flag}000002{bits}{'00' * 12}") for flag in "01" for bits in ("00200000", "01000000")]
IDS = (0, 1, 33, 1000, 65534, 65536)
TOP = {"": Entry(DIRECTORY, 0o755, mtime=5)}


def opened(folder: str) -> Work:
    return open_work(folder, EPOCH, 2, everywhere)


def file(data: bytes, mode: int = 0o644, **facts: Any) -> Entry:
    return Entry(FILE, mode, size=len(data), content=Literal(data), **facts)


def tell(entries: Mapping[str, Entry], before: Mapping[str, Entry]) -> list[Any]:
    """All facts of entries but what differs from one directory to the next, and whether each is the one it was."""
    names: dict[object, list[str]] = {}
    for path in sorted(entries):
        names.setdefault(entries[path].inode or path, []).append(path)
    told = []
    for path in sorted(entries):
        entry = entries[path]
        sha256 = hashlib.sha256(whole(entry.content)).hexdigest() if entry.content is not None else None
        xattrs = [(key, value.hex()) for key, value in entry.xattrs]
        facts = [*entry[:8], xattrs, sha256, names[entry.inode or path]]
        told.append([path, entry is before.get(path), facts])
    return told


# ---- random trees, and scripts that change them


def random_tree(chance: random.Random) -> dict[str, Entry]:
    entries = dict(TOP)
    folders = [""]
    for number in range(60):
        path = join(chance.choice(folders), f"{number}" + chance.choice(["", "", "\udcff", " \n", "ü"]))
        facts = {"uid": chance.choice(IDS), "gid": chance.choice(IDS), "mtime": chance.choice([0, 7, EPOCH + 5])}
        mode = chance.choice([0, 0o400, 0o644, 0o755, 0o1777, 0o2750, 0o4711, 0o6755])
        kind = chance.choice([DIRECTORY, DIRECTORY, FILE, FILE, FILE, SYMLINK, FIFO, CHAR, BLOCK])
        if kind == DIRECTORY:
            folders.append(path)
            entries[path] = Entry(DIRECTORY, mode, **facts)
        elif kind == FILE:
            xattrs = chance.choice(
                [(), (), (("security.capability", chance.choice(CAPABILITIES)), ("user.a", b"\xff\0"))]
            )
            entries[path] = file(chance.randbytes(chance.choice([0, 3, 5000])), mode, xattrs=xattrs, **facts)
            if not chance.randrange(4):
                entries[path] = entries[path]._replace(inode=("some", number))
                entries[f"{path}.link"] = entries[path]
        elif kind == SYMLINK:
            entries[path] = Entry(SYMLINK, 0o777, target=chance.choice(["a", "/b/c", "\udcfe"]), **facts)
        else:
            entries[path] = Entry(kind, mode, device=(1, 3) if kind != FIFO else (0, 0), **facts)
    return entries


def random_script(chance: random.Random, entries: Mapping[str, Entry]) -> list[list[Any]]:
    """What a script is to do; nothing to a device alone, which root could remove."""
    steps: list[list[Any]] = []
    usable = [path for path, entry in entries.items() if path and entry.kind not in (CHAR, BLOCK)]
    for number in range(12):
        path = chance.choice(usable)
        if not any(f"{path}/".startswith(f"{gone[1]}/") for gone in steps if gone[0] == "remove"):
            kind = entries[path].kind
            what = ["owner", "remove"] if kind in (SYMLINK, FIFO) else ["owner", "mode", "capability", "remove"]
            what += {FILE: ["write", "write", "replace", "link"], DIRECTORY: ["new", "new", "folder"]}.get(kind, [])
            steps.append([chance.choice(what), path, number, chance.choice(IDS), chance.choice(IDS)])
    return steps


def act(steps: list[list[Any]]) -> None:
    """Do what a random script is to."""
    for what, path, number, uid, gid in steps:
        if what == "owner":
            os.chown(path, uid, gid, follow_symlinks=False)
        elif what == "mode":
            os.chmod(path, uid % 0o10000)
        elif what == "capability":
            if os.path.isfile(path):
                os.setxattr(path, "security.capability", CAPABILITIES[number % len(CAPABILITIES)])
        elif what == "remove":
            subprocess.run(["rm", "-rf", "--", path], check=True)
        elif what == "link":
            with contextlib.suppress(FileExistsError):  # made by an earlier script
                os.link(path, f"{path}.more{number}")
        elif what == "folder":
            os.makedirs(f"{path}/made{number}", 0o750, exist_ok=True)
        else:
            target = path if what == "write" else f"{path}{'/' if what == 'new' else '.'}new{number}"
            with open(target, "ab") as opened_file:
                opened_file.write(b"%d" % number * (uid + 1))
            os.chown(target, uid, gid)
            os.chmod(target, gid % 0o10000)
            if what == "replace":
                os.rename(target, path)


def random_changes(chance: random.Random, entries: dict[str, Entry]) -> dict[str, Entry]:
    """The entries as a build could want them next."""
    changed = dict(entries)
    for path in chance.sample(sorted(entries), 8):
        entry = changed.get(path)
        if entry is None or not path:
            continue
        if not chance.randrange(3):
            changed = {name: one for name, one in changed.items() if f"{name}/".startswith(f"{path}/") is False}
        elif entry.inode is None:
            changed[path] = entry._replace(uid=chance.choice(IDS), mtime=9)
    changed["added"] = file(b"added", 0o600, uid=33)
    return changed


def random_trial(folder: str, seed: str) -> None:
    chance = random.Random(int(seed))
    entries = random_tree(chance)
    told = []
    with opened(folder) as work:
        for _ in range(3):
            work.sync(entries)
            steps = random_script(chance, dict(sorted(entries.items(), key=lambda item: order(item[0]))))
            work.begin()
            argv = [sys.executable, "-c", "from support import worktrial; worktrial.stdin_script()"]
            env = {"PYTHONPATH": os.environ["PYTHONPATH"], "PYTHONDONTWRITEBYTECODE": "1"}
            ran = work.run(argv, env, json.dumps(steps).encode())
            assert not ran.status, ran.said
            found = work.scan(lambda path: path.endswith("7"))
            told.append(tell(found, entries))
            entries = random_changes(chance, found)
    print(json.dumps([told, os.path.exists(folder)]))


def stdin_script() -> None:
    act(json.load(sys.stdin))


# ---- others


def facts_trial(folder: str) -> None:
    """What a script sees of facts, what is read back, and whose the files are outside."""
    cap = (("security.capability", CAPABILITIES[2]),)
    entries = {
        "": Entry(DIRECTORY, 0o755, uid=5, gid=6, mtime=5),
        "closed": Entry(DIRECTORY, 0, uid=33, gid=34),
        "closed/none": file(b"none", 0, uid=1000),
        "dev": Entry(DIRECTORY, 0o755),
        "dev/null": Entry(CHAR, 0o666, device=(1, 3)),
        "last": file(b"last", 0o600, uid=65536, gid=65536),
        "one": file(b"names", 0o640, gid=8, inode="i"),
        "ping": file(b"ping", 0o755, xattrs=cap),
        "su": file(b"su", 0o6755, uid=7, gid=8),
        "two": file(b"names", 0o640, gid=8, inode="i"),
    }
    with opened(folder) as work:
        work.sync(entries)
        work.begin()
        seen = work.run(
            ["sh", "-c", "stat -c '%n %a %u %g %h' closed closed/none last one su; getfattr -hd -m - -e hex ping"], {}
        )
        work.run(["sh", "-c", "cp -a ping pong; cp -a last new; echo more >> new; chown 42:43 new; chmod 600 new"], {})
        found = work.scan()
        outside = os.lstat(os.path.join(work.root, "su"))
        told = tell(found, entries)
    print(json.dumps([seen.said.splitlines(), outside.st_uid, told]))


def accounts_trial(folder: str) -> None:
    """What useradd does, by hand."""
    passwd = b"root:x:0:0:root:/root:/bin/sh\n"
    entries = {
        **TOP,
        "etc": Entry(DIRECTORY, 0o755),
        "etc/passwd": file(passwd),
        "etc/shadow": file(b"root:*:::::::\n", 0o640, gid=42),
        "home": Entry(DIRECTORY, 0o755),
    }
    script = (
        "umask 022; cp -p etc/passwd etc/passwd-; cp -p etc/shadow etc/shadow+; echo 'web:!:::::::' >> etc/shadow+;"
        "mv etc/shadow+ etc/shadow; echo web:x:999:998::/home/web:/bin/sh >> etc/passwd;"
        "mkdir -m 700 home/web; echo > home/web/.profile; chown -R 999:998 home/web"
    )
    with opened(folder) as work:
        work.sync(entries)
        work.begin()
        ran = work.run(["sh", "-ec", script], {})
        told = tell(work.scan(), entries)
    print(json.dumps([ran, told]))


def owner_trial(folder: str) -> None:
    with opened(folder) as work:
        work.sync({**TOP, "srv": Entry(DIRECTORY, 0o755, uid=70_000, gid=3)})


def sleeping_trial(folder: str) -> None:
    """Runs a script that does not end; says when it has begun."""
    with opened(folder) as work:
        work.sync({**TOP, "closed": Entry(DIRECTORY, 0, uid=33), "closed/a": file(b"a", 0, uid=7)})
        work.begin()
        with open(os.path.join(os.path.dirname(folder), "worker"), "w") as told:
            told.write(f"{work._worker.pid}\n")  # type: ignore[attr-defined]
        work.run(["sh", "-c", f"echo $$ > {folder}/../script; exec sleep 1000"], {})


def full_trial(folder: str) -> None:
    with opened(folder) as work:
        work.sync({**TOP, "big": file(bytes(64 << 20))})


if __name__ == "__main__":
    globals()[f"{sys.argv[1]}_trial"](*sys.argv[2:])
