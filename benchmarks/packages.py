# SPDX-License-Identifier: MIT
"""Feeds of the distribution's own packages: apt-get resolves and fetches them, dpkg-deb reads and rebuilds them."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

TOOLS = ("apt-get", "dpkg-deb")

# What the layers name, by corpus; all they depend on comes with them.
LAYERS = {
    "packages-few": {
        "base": ("base-files", "coreutils", "dash", "passwd"),
        "runtime": ("libstdc++6", "zlib1g"),
        "tools": ("jq",),
        "app": ("sqlite3",),
    },
    "packages": {
        "base": (
            *("base-files", "base-passwd", "bash", "busybox-static", "ca-certificates", "coreutils", "dash", "dpkg"),
            *("debianutils", "diffutils", "findutils", "grep", "gzip", "hostname", "init-system-helpers", "libc-bin"),
            *("login", "mount", "ncurses-base", "ncurses-bin", "netbase", "openssl", "passwd", "perl-base", "procps"),
            *("sed", "tar", "tzdata", "util-linux"),
        ),
        "runtime": (
            *("libglib2.0-0", "libgmp10", "libsqlite3-0", "libstdc++6", "libxml2", "python3", "python3-cryptography"),
            *("python3-requests", "python3-venv", "python3-yaml"),
        ),
        "tools": (
            *("curl", "file", "git", "iproute2", "iputils-ping", "jq", "less", "openssh-client", "perl", "rsync"),
            *("strace", "systemd", "tcpdump", "vim-tiny"),
        ),
        "app": (
            *("fonts-dejavu-core", "locales", "nginx-light", "python3-flask", "python3-numpy", "redis-server"),
            "sqlite3",
        ),
    },
}
CHANGED = "jq"  # a small package of the third layer
DOCUMENT = os.path.join("usr", "share", "doc", CHANGED, "copyright")  # a file of it

# By corpus: what a Debian system is made of, with scripts that rely on one another. All that they depend on comes with
# them; usr-is-merged is what a new system has in place of usrmerge.
_ESSENTIAL = (
    *("base-files", "base-passwd", "bash", "bsdutils", "coreutils", "dash", "debianutils", "diffutils", "dpkg"),
    *("findutils", "grep", "gzip", "hostname", "init-system-helpers", "libc-bin", "login", "ncurses-base"),
    *("ncurses-bin", "perl-base", "sed", "sysvinit-utils", "tar", "usr-is-merged", "util-linux"),
)
SYSTEMS = {
    "scripts-few": (*_ESSENTIAL, "jq"),
    "scripts": (
        *_ESSENTIAL,
        *("adduser", "apt", "ca-certificates", "cron", "curl", "dbus", "debconf", "fontconfig", "fonts-dejavu-core"),
        *("git", "iputils-ping", "jq", "less", "libglib2.0-bin", "locales", "logrotate", "man-db", "mount", "nano"),
        *("netbase", "openssh-server", "openssl", "passwd", "perl", "procps", "python3", "python3-yaml", "sgml-base"),
        *("shared-mime-info", "ssl-cert", "sudo", "systemd", "tzdata", "udev", "vim-tiny", "xml-core"),
    ),
}

_APT_CONF = """\
Dir::State "{0}";
Dir::State::status "{0}/status";
Dir::Cache "{0}";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "3";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
"""


def make(place: str, names: Sequence[str]) -> None:
    """A feed of packages and all they depend on, and one of them with the same version and other bytes."""
    feed, changed = os.path.join(place, "input"), os.path.join(place, "changed")
    os.mkdir(feed)
    os.mkdir(changed)
    _fetch(names, os.path.join(place, "apt"), feed)
    paragraphs = write_index(feed)
    old = file_of(CHANGED, feed)
    new = os.path.join(changed, os.path.basename(old))
    _rebuild(old, new, os.path.join(place, "unpacked"))
    _write_paragraphs(changed, {**paragraphs, os.path.basename(new): _paragraph(new)})


def file_of(name: str, feed: str) -> str:
    """The path of a package in a feed that has one version of each."""
    (path,) = glob.glob(os.path.join(feed, f"{name}_*.deb"))
    return path


def _fetch(names: Sequence[str], state: str, feed: str) -> None:
    """Fetch packages into the folder `feed`; apt's state, in which nothing is installed, is removed."""
    with _apt(state) as apt:
        apt("install", "-y", "--download-only", *names)
        for path in glob.glob(os.path.join(state, "archives", "*.deb")):
            shutil.move(path, feed)


def groups(feed: str, layers: Mapping[str, Sequence[str]], state: str) -> dict[str, list[str]]:
    """The files of a feed that each layer brings: what it names and all that needs, but for those of layers before."""
    found: dict[str, list[str]] = {}
    seen: set[str] = set()
    names: list[str] = []
    with _apt(state, feed) as apt:
        for layer, more in layers.items():
            names += more
            uris = apt("install", "-y", "--print-uris", *names)
            files = {*re.findall(r"(?m)^'\S+' (\S+\.deb) ", uris)}
            found[layer] = sorted(files - seen)
            seen |= files
    return found


@contextlib.contextmanager
def _apt(state: str, feed: str | None = None) -> Iterator[Callable[..., str]]:
    """Runs apt-get with a state of its own in a folder, which is removed; its sources are the machine's, or a feed."""
    for part in ("lists/partial", "archives/partial"):
        os.makedirs(os.path.join(state, part))
    conf = _APT_CONF.format(state)
    if feed is not None:
        conf += f'Dir::Etc::SourceList "{state}/sources.list";\nDir::Etc::SourceParts "-";\n'
    sources = f"deb [trusted=yes] copy:{feed} ./\n"
    for file, text in (("status", ""), ("apt.conf", conf), ("sources.list", sources)):
        with open(os.path.join(state, file), "w", encoding="utf-8") as out:
            out.write(text)

    def apt(*words: str) -> str:
        return run("apt-get", "-q", "-c", os.path.join(state, "apt.conf"), *words)

    apt("update")
    yield apt
    shutil.rmtree(state)


def _rebuild(old: str, new: str, unpacked: str) -> None:
    """The same package with another text of the same size in one file of its documentation."""
    run("dpkg-deb", "--raw-extract", old, unpacked)
    with open(os.path.join(unpacked, DOCUMENT), "rb+") as file:
        before = file.read()
        file.seek(0)
        file.write(before.swapcase())
    with open(os.path.join(unpacked, "DEBIAN", "md5sums"), encoding="utf-8") as file:
        sums = file.read()
    with open(os.path.join(unpacked, "DEBIAN", "md5sums"), "w", encoding="utf-8") as file:
        file.write(sums.replace(_md5(before), _md5(before.swapcase())))
    run("dpkg-deb", "--build", "--root-owner-group", unpacked, new, SOURCE_DATE_EPOCH="1700000000")
    shutil.rmtree(unpacked)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def write_index(feed: str) -> dict[str, str]:
    """Write the index of a folder of packages; what it says of each, by the file's name."""
    paragraphs = {name: _paragraph(os.path.join(feed, name)) for name in sorted(os.listdir(feed))}
    _write_paragraphs(feed, paragraphs)
    return paragraphs


def _paragraph(path: str) -> str:
    """What the feed's index says of a package."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    more = {"Filename": os.path.basename(path), "Size": os.path.getsize(path), "SHA256": digest}
    control = run("dpkg-deb", "--field", path).rstrip("\n")
    return f"{control}\n" + "".join(f"{field}: {value}\n" for field, value in more.items())


def _write_paragraphs(folder: str, paragraphs: dict[str, str]) -> None:
    with open(os.path.join(folder, "Packages"), "w", encoding="utf-8") as file:
        file.write("\n".join(paragraphs.values()))


def run(*command: str, **env: str) -> str:
    """What a program prints; the end of the benchmark where it fails."""
    done = subprocess.run(
        command, env={**os.environ, **env}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout
