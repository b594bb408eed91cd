# SPDX-License-Identifier: MIT
"""Variables to a checked `Config`, or to every fault they have.

Must not open a file: whether a path exists is found out by those who read it.
"""

from __future__ import annotations

import datetime as dt
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from ..config import CUT, AutoLabels, Compression, Config, RootfsLayer
from ..errors import ConfigError
from .accounts import read_accounts
from .baseref import read_base
from .feeds import add_database_layer, read_packages
from .grammar import parse_layers
from .laidout import read_laid_out
from .names import SLOCI, read_backend, read_names
from .ownership import read_host_owner, read_path_rules
from .platforms import read_platform, target_of
from .rest import add_rest_layer
from .runtime import read_annotations, read_run_config
from .settings import NONE, OFF, Settings, one_of, quoted, use, wrong
from .variables import TABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config import LayerSpec
    from .settings import VariableSource

_LEVELS = {"gzip": (1, 9), "zstd": (1, 19)}
_COMPRESSORS = {"gzip": ("auto", "zlib-ng", "zlib"), "zstd": ("auto", "pyzstd", "zstd"), NONE: ("auto",)}
_LAST_SECOND = 253402300799  # of the year 9999: RFC 3339 writes no later one
# What PV holds where nobody chose a version: BitBake's own default, and what recipes write before a revision.
_NO_VERSION = frozenset(("", "1.0", "0.0", "git", "1.0+git", "0.0+git"))


def command_line_defaults(conf_path: str, machine: str, epoch: str, cache_dir: str) -> dict[str, str]:
    """What a recipe would inherit, for a configuration file built without BitBake.

    `machine` is as `uname -m` has it, `epoch` the SOURCE_DATE_EPOCH of the caller's environment, empty without one;
    `cache_dir` is the user's own folder of caches for this program.
    """
    target, features = target_of(machine)
    defaults = {variable.name: variable.default for variable in TABLE if variable.default is not None}
    defaults.update(
        IMAGE_BASENAME=os.path.splitext(os.path.basename(conf_path))[0],
        TOPDIR=os.path.dirname(os.path.abspath(conf_path)),
        IMGDEPLOYDIR=os.path.abspath("deploy"),
        DEPLOY_DIR_IMAGE=os.path.abspath("deploy"),
        TARGET_ARCH=target,
        OCI_LAYER_CACHE_DIR=cache_dir,
    )
    if features:
        defaults["TUNE_FEATURES"] = features
    if epoch:
        defaults["SOURCE_DATE_EPOCH"] = epoch
    return defaults


def configure(
    variables: VariableSource,
    *,
    folder: str,
    rootfs: str | None = None,
    deploy_dir: str | None = None,
    feeds: Sequence[str] = (),
    cache_dir: str | None = None,
) -> Config:
    """The configuration that the variables make; `folder` is the absolute folder of the file they come from.

    `rootfs`, `deploy_dir`, `feeds` and `cache_dir`, absolute, win over the variables that say the same.

    Raises:
        ConfigError: with every fault found, in the order of the lines they stand in.
    """
    settings = Settings(variables, folder)
    settings.check_names()
    config = _read(settings, _Places(folder, rootfs, deploy_dir, tuple(feeds), cache_dir))
    faults = settings.faults()
    if faults:
        raise ConfigError(faults)
    return config


class _Places(NamedTuple):
    """The folder of the configuration, and what the caller gives in place of variables."""

    folder: str
    rootfs: str | None
    deploy_dir: str | None
    feeds: tuple[str, ...]
    cache_dir: str | None


def _read(settings: Settings, places: _Places) -> Config:
    platform = read_platform(settings)
    deploy_dir, images = _read_deploy_dirs(settings, places.deploy_dir)
    rootfs = places.rootfs or (settings.path_of("IMAGE_ROOTFS") if settings.text("IMAGE_ROOTFS") else None)
    base = read_base(settings, platform, images)
    layers = _read_layers(settings, has_rootfs=rootfs is not None)
    _check_backend(settings, layers)
    laid_out = read_laid_out(settings, layers)
    packages = read_packages(settings, layers, platform, places.feeds, installs=not laid_out)
    layers = add_database_layer(settings, layers, packages)
    auto, epoch = _read_auto_labels(settings), _read_epoch(settings)
    return Config(
        names=read_names(settings, platform),
        platform=platform,
        layers=add_rest_layer(settings, layers, has_rootfs=rootfs is not None, is_cut=packages.manager == CUT),
        base=base,
        run=read_run_config(settings),
        author=settings.unicode("OCI_IMAGE_AUTHOR_EMAIL") or settings.unicode("OCI_IMAGE_AUTHOR"),
        annotations=read_annotations(settings),
        auto_labels=auto,
        labels_from=_repository(settings, places.folder) if _needs_repository(auto, epoch) else None,
        keep_empty=settings.switch("OCI_LAYER_KEEP_EMPTY"),
        host_owner=read_host_owner(settings),
        path_rules=read_path_rules(settings),
        packages=packages,
        accounts=read_accounts(settings),
        compression=_read_compression(settings),
        archives=settings.text("OCI_IMAGE_TAR_OUTPUT").lower() not in OFF,
        archive_compression=settings.choice("OCI_IMAGE_TAR_COMPRESSION", ("", "gz", "zst")),
        epoch=epoch,
        rootfs=rootfs,
        deploy_dir=deploy_dir,
        cache_dir=_read_cache_dir(settings, places.cache_dir),
        work_dir=settings.path_of("OCI_WORK_DIR") if settings.text("OCI_WORK_DIR") else None,
        laid_out=laid_out,
        notes=tuple(settings.notes),
    )


def _read_deploy_dirs(settings: Settings, given: str | None) -> tuple[str, str]:
    """Where the outputs go, and where the images of other recipes lie."""
    if given is None and not settings.text("IMGDEPLOYDIR"):
        settings.fault("IMGDEPLOYDIR", "is not set", "give --deploy-dir DIR, or set it")
    deploy_dir = given or settings.path_of("IMGDEPLOYDIR")
    default_place = given is not None and not settings.has_place("DEPLOY_DIR_IMAGE")
    if settings.text("DEPLOY_DIR_IMAGE") and not default_place:
        return deploy_dir, settings.path_of("DEPLOY_DIR_IMAGE")
    return deploy_dir, deploy_dir


def _read_cache_dir(settings: Settings, given: str | None) -> str | None:
    name = "OCI_LAYER_CACHE_DIR"
    if not settings.switch("OCI_LAYER_CACHE"):
        return None
    if given is None and not settings.text(name) and not settings.is_unreadable(name):
        settings.fault(name, "is not set, and OCI_LAYER_CACHE is on", "set it, or OCI_LAYER_CACHE to 0")
    return given or settings.path_of(name)


def _needs_repository(auto: AutoLabels, epoch: int | None) -> bool:
    """Whether a label, or the image's time, is to be found in the git repository."""
    return "" in (auto.revision, auto.branch) or (not auto.date and epoch is None)


def _repository(settings: Settings, folder: str) -> str:
    """The folder whose git repository the automatic labels tell of: that of the build."""
    topdir = settings.text("TOPDIR")
    return os.path.join(folder, topdir) if topdir else folder


def _read_layers(settings: Settings, *, has_rootfs: bool) -> tuple[LayerSpec, ...]:
    written = settings.literal("OCI_LAYERS")
    usual = "multi" if written else "single"
    mode = settings.parsed("OCI_LAYER_MODE", lambda text: one_of(text, ("single", "multi")), usual)
    if settings.is_unreadable("OCI_LAYERS"):
        return ()
    if mode == "multi" and not written:
        settings.fault("OCI_LAYER_MODE", "is 'multi', and OCI_LAYERS is empty", "write OCI_LAYERS, or 'single'")
        return ()
    if mode == "multi":
        return _read_several(settings, written, has_rootfs=has_rootfs)
    if written:
        settings.note("OCI_LAYER_MODE", "is 'single', so OCI_LAYERS has no effect")
    if not has_rootfs and not settings.is_unreadable("IMAGE_ROOTFS"):
        hint = "give --rootfs DIR or TAR, set IMAGE_ROOTFS, or describe layers in OCI_LAYERS"
        settings.fault("IMAGE_ROOTFS", "an image of one layer is made of a root file system, and there is none", hint)
    return (RootfsLayer("rootfs"),)


def _read_several(settings: Settings, written: str, *, has_rootfs: bool) -> tuple[LayerSpec, ...]:
    name = "OCI_LAYERS"
    found = parse_layers(written, settings.folder_of(name))
    for fault in found.faults:
        settings.fault(name, fault.message, fault.hint)
    for note in found.notes:
        settings.note(name, note)
    takers = [layer.name for layer in found.layers if layer.kind in ("directories", "files")]
    if takers and not has_rootfs and not settings.is_unreadable("IMAGE_ROOTFS"):
        which = f"layer{'s' if len(takers) > 1 else ''} {', '.join(map(quoted, takers))}"
        message = f"{which}: the content is taken from a root file system, and there is none"
        settings.fault(name, message, "give --rootfs DIR or TAR, or set IMAGE_ROOTFS")
    return found.layers


def _check_backend(settings: Settings, layers: tuple[LayerSpec, ...]) -> None:
    name = "OCI_IMAGE_BACKEND"
    if read_backend(settings) != SLOCI:
        return
    several = not all(isinstance(layer, RootfsLayer) for layer in layers)
    for present, variable in ((several, "OCI_LAYERS"), (bool(settings.text("OCI_BASE_IMAGE")), "OCI_BASE_IMAGE")):
        if present:
            settings.fault(name, f"'{SLOCI}' excludes {variable}", f"remove {name} or {variable}")


def _read_auto_labels(settings: Settings) -> AutoLabels:
    names = ("OCI_IMAGE_REVISION", "OCI_IMAGE_BRANCH")
    revision, branch = (None if text == NONE else text for text in map(settings.unicode, names))
    date = settings.parsed("OCI_IMAGE_BUILD_DATE", _date, "")
    version = settings.unicode("PV")
    if not settings.switch("OCI_IMAGE_AUTO_LABELS"):
        return AutoLabels(None, None, None, None)
    return AutoLabels(revision, branch, None if date == NONE else date, None if version in _NO_VERSION else version)


def _date(text: str) -> str:
    if text in ("now", NONE):
        return text
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|\+00:00)", text, re.ASCII)
    try:
        if match:
            dt.datetime.fromisoformat(f"{match[1]}T{match[2]}+00:00")
            return text
    except ValueError:
        pass
    hint = "write it as 2026-11-02T09:30:00Z, 'now' for the time of the build, or 'none'"
    raise wrong(f"{quoted(text)} is not a date and time in UTC", hint)


def _read_compression(settings: Settings) -> Compression:
    name = "OCI_LAYER_COMPRESSOR"
    usual: tuple[str, int | None] = ("gzip", None)
    algorithm, level = settings.parsed("OCI_LAYER_COMPRESSION", _algorithm, usual)
    known = tuple(dict.fromkeys(word for words in _COMPRESSORS.values() for word in words))
    compressor = settings.choice(name, known)
    if compressor not in _COMPRESSORS[algorithm]:
        message = f"'{compressor}' is not for OCI_LAYER_COMPRESSION = \"{algorithm}\""
        settings.fault(name, message, use(_COMPRESSORS[algorithm]))
    return Compression(algorithm, level, compressor)


def _algorithm(text: str) -> tuple[str, int | None]:
    word, colon, level = text.partition(":")
    algorithm = one_of(word, ("gzip", "zstd", NONE))
    if algorithm == NONE:
        if colon:
            raise wrong(f"{quoted(text)}: 'none' has no level", "write 'none'")
        return NONE, None
    if not colon:
        return algorithm, None
    first, last = _LEVELS[algorithm]
    if not re.fullmatch(r"[0-9]{1,2}", level) or not first <= int(level) <= last:
        raise wrong(f"{quoted(level)} is not a level of {algorithm}", f"write a number from {first} to {last}")
    return algorithm, int(level)


def _read_epoch(settings: Settings) -> int | None:
    reproducible = "REPRODUCIBLE_TIMESTAMP_ROOTFS"
    return settings.parsed(reproducible if settings.text(reproducible) else "SOURCE_DATE_EPOCH", _epoch, None)


def _epoch(text: str) -> int | None:
    if not re.fullmatch(r"[0-9]{1,12}", text) or int(text) > _LAST_SECOND:
        raise wrong(f"{quoted(text)} is not a time", "write whole seconds since 1970, such as the output of date +%s")
    return int(text)
