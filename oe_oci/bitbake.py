# SPDX-License-Identifier: MIT
"""The class `image-oci` when a recipe is read: its variables checked, its dependencies and signature added.

`d` is BitBake's datastore. What is called of the rest is imported where it is used, as BitBake loads this module
whenever it reads the layer. Must not know what the task does.
"""

from __future__ import annotations

import importlib.util
import os
import re
from typing import TYPE_CHECKING

from .config import CUT, HostLayer
from .configure import configure
from .configure.baseref import is_path
from .configure.feeds import FOLDERS
from .configure.settings import hint_for
from .configure.variables import LAID_OUT, TABLE, VARIABLES
from .errors import ConfigError, Fault

if TYPE_CHECKING:
    # Older BitBakes look for the source of all that can be called by a public name here.
    from collections.abc import Iterable
    from typing import Any, NoReturn

    from .config import Config

TASK = "do_image_oci"

# What a format's package manager is built by, and what the scripts of packages call.
_NATIVES = {
    "ipk": ("opkg-native", "opkg-utils-native"),
    "rpm": ("rpm-native", "dnf-native", "createrepo-c-native"),
    "deb": ("dpkg-native", "apt-native"),
}
# Places, which decide nothing of the image, and a name that stands for many.
_PLACES = {"IMGDEPLOYDIR", "DEPLOY_DIR_IMAGE", "IMAGE_ROOTFS", "TOPDIR", "OCI_WORK_DIR", "OCI_ROOTFS_PACKAGES"}
_PLACES |= {"OCI_LAYER_CACHE", "OCI_LAYER_CACHE_DIR", LAID_OUT, *FOLDERS.values()}
# Names of other classes, and of the one that this one replaces, that may be set without a word.
_OTHERS = re.compile(
    r"OCI_(MULTIARCH_.*|ARCH_TO_PLATFORM|IMAGE_BACKEND_INC|PM_DEPENDS|LAYER_COUNT|LAYER_[0-9]+_(ROOTFS|NAME))"
)


class Datastore:
    """A recipe's variables, as the configuration's readers ask for them.

    A few are not what the recipe has: an image's packages come from the feed that its rootfs was made of.
    """

    def __init__(self, d: Any) -> None:
        self._d = d
        self._kind = d.getVar("IMAGE_PKGTYPE") or ""

    def get(self, name: str) -> str | None:
        found = self._given(name)
        return None if found is None else str(found)

    def _given(self, name: str) -> Any:
        if name in FOLDERS.values():
            return (
                os.path.join(self._d.getVar("WORKDIR"), "oe-rootfs-repo") if name == FOLDERS.get(self._kind) else None
            )
        if name == "PACKAGE_ARCHS":
            return self._archs()
        if name == "BAD_RECOMMENDATIONS" and self._kind == "deb":
            return None  # do_rootfs warns that it can not leave them out
        value = self._d.getVar(name)
        if name == "OCI_PACKAGE_MANAGER" and value == "auto":
            return self._manager()
        if name == "OCI_PACKAGE_SCRIPTS" and value == "run" and self._d.getVar("OCI_PACKAGE_MANAGER") == "builtin":
            return "run:offline"  # as do_rootfs runs them
        return value

    def _manager(self) -> str:
        """What layers are made by: do_rootfs has installed all packages, unless each layer is to have its database.

        Of the files that no package has there must be a layer then.
        """
        there = self._d.getVar("OCI_ROOTFS_LAYER") and self._d.getVar("OCI_PACKAGE_DATABASE") == "remove"
        return CUT if there else "native"

    def _archs(self) -> Any:
        """The architectures as the format's packages name them."""
        if self._kind == "deb":
            return None  # all of them are `all` or the target's
        words = self._d.getVar("ALL_MULTILIB_PACKAGE_ARCHS") or self._d.getVar("PACKAGE_ARCHS")
        return words.replace("-", "_") if words and self._kind == "rpm" else words

    def names(self) -> Iterable[str]:
        return ()  # of what a recipe sets, much is not for this class: see `strangers`

    def location(self, _name: str) -> None:
        return None

    def referenced(self) -> frozenset[str]:
        return frozenset()


def configuration(d: Any) -> Config:
    """A recipe's configuration. Raises ConfigError with every fault."""
    return configure(Datastore(d), folder=os.path.dirname(d.getVar("FILE") or ""))


def prepare(d: Any) -> None:
    """Check a recipe, and add what its task depends on; nothing where it makes no OCI image."""
    if "oci" not in (d.getVar("IMAGE_FSTYPES") or "").split():
        return
    _depend_on_sources(d)
    try:
        config = configuration(d)
    except ConfigError as error:
        _refuse(d, error.faults)
    faults = _lacking(config)
    if faults:
        _refuse(d, faults)
    _warn(d, config)
    if d.getVar("ROOTFS_BOOTSTRAP_INSTALL") == "run-postinsts":
        d.setVar("ROOTFS_BOOTSTRAP_INSTALL", "")  # a container has no first boot
    _add_dependencies(d, config)
    _add_signature(d, config)
    # The size of a file system is no matter here, and to find it out takes longer than to make a small image.
    before = (name for name in (d.getVarFlag(TASK, "prefuncs") or "").split() if name != "set_image_size")
    d.setVarFlag(TASK, "prefuncs", " ".join(("oci_begin", *before, "oci_write_conf")))
    d.appendVarFlag(TASK, "postfuncs", " oci_refresh")


def _depend_on_sources(d: Any) -> None:
    """Have the recipe read again where this package has changed: BitBake keeps what it found out of recipes."""
    import bb

    known = d.getVar("__depends", False) or []
    d.setVar("__depends", [*known, *((path, bb.parse.cached_mtime_noerror(path)) for path in sources())])


def _refuse(d: Any, faults: tuple[Fault, ...]) -> NoReturn:
    import bb

    text = "\n".join(f"{d.getVar('PN')}: {fault}" for fault in faults)
    if all(fault.where == "TARGET_ARCH" for fault in faults):
        raise bb.parse.SkipRecipe(text)  # for another machine it may be built
    bb.fatal(text)
    raise AssertionError


def _lacking(config: Config) -> tuple[Fault, ...]:
    """What the built-in installer needs and this Python has not."""
    if config.packages.manager != "builtin" or not config.package_layers:
        return ()
    if importlib.util.find_spec("solv") is not None:
        return ()
    message = "'builtin' needs the Python package solv, which the Python that runs BitBake does not have"
    return (Fault("OCI_PACKAGE_MANAGER", message, 'install it there, or write "native"'),)


def strangers(d: Any) -> dict[str, str]:
    """The OCI_ variables that are set and that nothing is known of, each with what may be meant."""
    used = "".join(d.getVar(variable.name, False) or "" for variable in TABLE)
    names = (name for name in d.keys() if name.startswith("OCI_") and ":" not in name)  # noqa: SIM118 - no mapping
    unknown = (
        name
        for name in sorted(names)
        if name not in VARIABLES and not _OTHERS.fullmatch(name) and f"${{{name}}}" not in used
    )
    return {name: hint_for(name) for name in unknown}


def _warn(d: Any, config: Config) -> None:
    """Warn of what the user should look at: once, and not again in each process that runs a task."""
    import bb

    if d.getVar("BB_WORKERCONTEXT") == "1":
        return
    for name, hint in strangers(d).items():
        bb.warn(f"{d.getVar('PN')}: {name}: unknown variable; {hint}")
    for layer in config.layers:
        if isinstance(layer, HostLayer):
            paths = ", ".join(copy.source for copy in layer.copies)
            bb.warn(f"{d.getVar('PN')}: OCI_LAYERS: layer '{layer.name}' takes files of this machine: {paths}")


def _add_dependencies(d: Any, config: Config) -> None:
    depends = []
    layers = config.package_layers
    if layers and config.packages.manager == "native":
        depends += [f"{recipe}:do_populate_sysroot" for recipe in _NATIVES[config.packages.kind or ""]]
    names = dict.fromkeys(name.partition(":")[0] for layer in layers for name in layer.packages)
    if names:
        d.appendVar("IMAGE_INSTALL", f" {' '.join(names)}")
    if config.base is not None and not is_path(config.base.written):
        depends.append(f"{config.base.written}:do_image_complete")
    d.appendVarFlag(TASK, "depends", "".join(f" {depend}" for depend in depends))


def _add_signature(d: Any, config: Config) -> None:
    """What decides the image and that BitBake does not see by itself."""
    names = (variable.name for variable in TABLE if variable.name not in _PLACES)
    d.appendVarFlag(TASK, "vardeps", "".join(f" {name}" for name in names))
    files = [*sources(), *(copy.source for one in config.layers if isinstance(one, HostLayer) for copy in one.copies)]
    if config.base is not None and is_path(config.base.written):
        path = config.base.path
        files.append(os.path.join(path, "index.json") if os.path.isdir(path) else path)
    d.appendVarFlag(TASK, "file-checksums", "".join(f" {path}:{os.path.exists(path)}" for path in files))


def sources() -> list[str]:
    """Every Python file of this package, by which the task's result is decided too."""
    found = []
    for folder, inner, names in os.walk(os.path.dirname(os.path.abspath(__file__))):
        inner.sort()
        found += [os.path.join(folder, name) for name in sorted(names) if name.endswith(".py")]
    return found


def rest_layer(d: Any) -> str:
    """The name of the layer of what the rootfs has beyond others, which a recipe's own may have already."""
    taken = any(word.startswith("rootfs:") for word in (d.getVar("OCI_LAYERS") or "").split())
    return "rootfs-rest" if taken else "rootfs"


def architecture(d: Any) -> str:
    """Go's word for the target's architecture; empty where it has none."""
    from .architectures import architecture as find

    return find(d.getVar("TARGET_ARCH") or "")


def variant(d: Any) -> str:
    """The variant of an arm; of other architectures there is none."""
    from .architectures import architecture as find
    from .architectures import arm_variant

    if find(d.getVar("OCI_IMAGE_ARCH") or "") != "arm":
        return ""
    # Tunes for one processor have its name as a feature; the packages that it may have are named by its version too.
    return arm_variant(d.expand("${TUNE_FEATURES} ${PACKAGE_EXTRA_ARCHS}"))
