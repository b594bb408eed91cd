# SPDX-License-Identifier: MIT
"""Packages: the feeds they come from, which are taken, and what becomes of their database."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Callable

from ..architectures import debian
from ..config import CUT, DatabaseLayer, PackageSettings, PackagesLayer
from .grammar import PACKAGE, PACKAGE_HINT
from .settings import one_of, quoted, use, wrong

if TYPE_CHECKING:
    from ..config import LayerSpec
    from ..oci.spec import Platform
    from .settings import Settings

# The variables of feeds, by the format of their packages.
FOLDERS = {"ipk": "DEPLOY_DIR_IPK", "rpm": "DEPLOY_DIR_RPM", "deb": "DEPLOY_DIR_DEB"}
_DATABASES = ("keep", "top", "status.d", "remove")
_MANAGERS = ("auto", "native", "builtin", CUT)
_SCRIPTS = ("run", "run:offline", "run:chroot", "defer", "skip")
_COLORS = ("2", "1", "4")  # of ELF files, as rpm counts them
_DEBIAN_ARCH = re.compile(r"[a-z0-9][a-z0-9-]*")
_ARCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def read_packages(
    settings: Settings, layers: tuple[LayerSpec, ...], platform: Platform, feeds: tuple[str, ...], *, installs: bool
) -> PackageSettings:
    """The settings of packages; `feeds` are those of the command line, which win over the variables.

    Feeds and their format matter only where a layer is made of packages: BitBake sets them in every recipe. Unless the
    build `installs` packages itself there may be no feed.
    """
    takers = [layer.name for layer in layers if isinstance(layer, PackagesLayer)]
    kind = settings.parsed("IMAGE_PKGTYPE", lambda text: one_of(text, tuple(sorted(FOLDERS))), None)
    manager = settings.choice("OCI_PACKAGE_MANAGER", _MANAGERS)
    if takers and installs and manager != CUT and not feeds:
        folders = _read_folders(settings, kind)
        _check_folders(settings, folders, kind, takers)
        feeds = tuple(folders.values())
        kind = next(iter(folders), kind)
    archs = _words(settings, "PACKAGE_ARCHS", _arch)
    database = settings.choice("OCI_PACKAGE_DATABASE", _DATABASES)
    if takers and kind == "rpm" and database == "status.d":
        message = "'status.d' has a file for each package, and rpm has one database of all"
        settings.fault("OCI_PACKAGE_DATABASE", message, use(tuple(word for word in _DATABASES if word != database)))
    elif takers and manager in ("native", CUT) and database == "status.d":
        message = "'status.d' is a form of the database that no package manager writes"
        hint = 'write "keep", "top" or "remove", or OCI_PACKAGE_MANAGER = "builtin"'
        settings.fault("OCI_PACKAGE_DATABASE", message, hint)
    return PackageSettings(
        kind=kind,
        feeds=feeds,
        archs=archs or None,
        native=_native(settings, platform, kind),
        recommends=not settings.switch("NO_RECOMMENDATIONS"),
        bad_recommendations=_words(settings, "BAD_RECOMMENDATIONS", _package),
        exclude=_words(settings, "PACKAGE_EXCLUDE", _package),
        database=database,
        manager="builtin" if manager == "auto" else manager,  # which needs no rights and no program
        scripts=_scripts(settings, manager, takes=bool(takers)),
        prefer_color=int(settings.choice("RPM_PREFER_ELF_ARCH", _COLORS)),
    )


def _scripts(settings: Settings, manager: str, *, takes: bool) -> str:
    name = "OCI_PACKAGE_SCRIPTS"
    scripts = settings.choice(name, _SCRIPTS)
    if takes and settings.is_written(name) and manager in ("native", CUT):
        who = "the package manager" if manager == "native" else "whoever made the rootfs"
        message = f"'{scripts}' is for the built-in installer; with OCI_PACKAGE_MANAGER = \"{manager}\" {who} runs them"
        settings.fault(name, message, 'leave it out, or set OCI_PACKAGE_MANAGER = "builtin"')
    return scripts


def add_database_layer(
    settings: Settings, layers: tuple[LayerSpec, ...], packages: PackageSettings
) -> tuple[LayerSpec, ...]:
    """The layers, with the one of the database at the end where it is to be on top and there are packages."""
    if packages.database != "top" or not any(isinstance(layer, PackagesLayer) for layer in layers):
        return layers
    added = DatabaseLayer()
    if any(layer.name == added.name for layer in layers):
        message = f"layer '{added.name}': a layer of that name is added by OCI_PACKAGE_DATABASE = \"top\""
        settings.fault("OCI_LAYERS", message, "write another name")
    return (*layers, added)


def _native(settings: Settings, platform: Platform, kind: str | None) -> str:
    """The target's architecture in Debian's words. Of an arm its variant alone does not tell which of two it is."""
    given = settings.parsed("DPKG_ARCH", _debian_arch, "") if kind in ("deb", None) else ""
    return given or debian(platform.architecture, platform.variant)


def _read_folders(settings: Settings, kind: str | None) -> dict[str, str]:
    """The feed folders that the variables name, by their format."""
    folders = {}
    for word, name in FOLDERS.items():
        text = settings.text(name)
        if kind in (None, word) and (text or settings.is_unreadable(name)):
            folders[word] = settings.path_of(name)
            if len(text.split()) > 1:
                message = f"{quoted(text)} is more than one folder"
                settings.fault(
                    name, message, "write the path of one, without blanks; several feeds are given as --feed"
                )
    return folders


def _check_folders(settings: Settings, folders: dict[str, str], kind: str | None, takers: list[str]) -> None:
    if len(folders) > 1 and not settings.text("IMAGE_PKGTYPE"):
        *most, last = (FOLDERS[word] for word in folders)
        message = f"is not set, and {', '.join(most)} and {last} {'all' if len(most) > 1 else 'both'} are"
        settings.fault("IMAGE_PKGTYPE", message, use(tuple(folders)))
    if not folders:
        which = f"layer{'s' if len(takers) > 1 else ''} {', '.join(map(quoted, takers))}"
        *most, last = FOLDERS.values()
        hint = f"give --feed DIR, or set {FOLDERS[kind] if kind else ', '.join(most) + ' or ' + last}"
        settings.fault("OCI_LAYERS", f"{which}: packages come from a feed, and there is none", hint)


def _words(settings: Settings, name: str, parse: Callable[[str], str]) -> tuple[str, ...]:
    """Words, of equal ones the last; unlike elsewhere a `${…}` that nothing sets is a fault, as it is in a layer."""
    words = settings.each(name, parse) if settings.text(name) else ()
    return tuple(reversed(dict.fromkeys(reversed(words))))


def _package(word: str) -> str:
    if not PACKAGE.fullmatch(word):
        hint = "separate the names with blanks" if re.search("[,;|]", word) else PACKAGE_HINT
        raise wrong(f"{quoted(word)} is not a package's name", hint)
    return word


def _debian_arch(word: str) -> str:
    if not _DEBIAN_ARCH.fullmatch(word):
        raise wrong(f"{quoted(word)} is not an architecture of deb packages", "write a word such as 'amd64' or 'armhf'")
    return word


def _arch(word: str) -> str:
    if not _ARCH.fullmatch(word):
        hint = "write words such as 'all' or 'core2-64', the lowest priority first, with blanks between them"
        raise wrong(f"{quoted(word)} is not an architecture of packages", hint)
    return word
