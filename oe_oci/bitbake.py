# SPDX-License-Identifier: MIT
"""The class's side of BitBake: what its functions do with the datastore, and what it reads of the build.

The only module that knows `bb` and `oe`, and with `bitbake_multiarch` the only one that knows `d`. What it calls of the
rest is imported where it is used, as BitBake loads this one whenever it reads the layer. Must not know how an image is
made: a task writes its variables down as an `image.conf`, of which the command line builds.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
from typing import TYPE_CHECKING

from .bbconf import read_conf
from .bbconf.written import assignments
from .config import HostLayer, PackagesLayer, RestLayer, rootfs_variable
from .configure import configure
from .configure.baseref import is_path
from .configure.feeds import FOLDERS
from .configure.grammar import TYPES, write_layers
from .configure.settings import hint_for
from .configure.variables import LAID_OUT, TABLE, VARIABLES
from .errors import ConfigError, Fault, OciError

if TYPE_CHECKING:
    # Older BitBakes look for the source of all that can be called by a public name here.
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn, TypeVar

    from .config import Config, LayerSpec
    from .inputs import Options

    T = TypeVar("T")

TASK = "do_image_oci"
CONF = "image.conf"

# How the names of links to outputs end.
_OUTPUT = re.compile(r"-oci(\.json|(-dir)?\.tar(\.gz|\.zst)?)?$")

# What a format's package manager is built by, and what the scripts of packages call.
_NATIVES = {
    "ipk": ("opkg-native", "opkg-utils-native"),
    "rpm": ("rpm-native", "dnf-native", "createrepo-c-native"),
    "deb": ("dpkg-native", "apt-native"),
}
# Places, which decide nothing of the image, and a name that stands for many.
_PLACES = {"IMGDEPLOYDIR", "DEPLOY_DIR_IMAGE", "IMAGE_ROOTFS", "TOPDIR", "OCI_WORK_DIR", "OCI_ROOTFS_PACKAGES"}
_PLACES |= {"OCI_LAYER_CACHE", "OCI_LAYER_CACHE_DIR", LAID_OUT, *FOLDERS.values()}
# What runs before every task of an image.
_NO_HOOKS = frozenset(("extend_recipe_sysroot", "set_image_size", "setup_debugfs", "oci_begin", "oci_write_conf"))
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
            return "native"
        return value

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


# ---- when a recipe is read


def prepare(d: Any) -> None:
    """Check a recipe, and add what its task depends on; nothing where it makes no OCI image."""
    if "oci" not in (d.getVar("IMAGE_FSTYPES") or "").split():
        return
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
    d.prependVarFlag(TASK, "prefuncs", "oci_begin ")
    d.appendVarFlag(TASK, "prefuncs", " oci_write_conf")
    d.appendVarFlag(TASK, "postfuncs", " oci_refresh")


def _refuse(d: Any, faults: tuple[Fault, ...]) -> NoReturn:
    import bb

    text = "\n".join(f"{d.getVar('PN')}: {fault}" for fault in faults)
    if all(fault.where == "TARGET_ARCH" for fault in faults):
        raise bb.parse.SkipRecipe(text)  # for another machine it may be built
    bb.fatal(text)
    raise AssertionError


def _lacking(config: Config) -> tuple[Fault, ...]:
    """What the built-in installer needs and this Python has not."""
    if config.packages.manager != "builtin" or not _package_layers(config):
        return ()
    if importlib.util.find_spec("solv") is not None:
        return ()
    message = "'builtin' needs the Python package solv, which the Python that runs BitBake does not have"
    return (Fault("OCI_PACKAGE_MANAGER", message, 'install it there, or write "native"'),)


def _package_layers(config: Config) -> list[PackagesLayer]:
    return [layer for layer in config.layers if isinstance(layer, PackagesLayer)]


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
    layers = _package_layers(config)
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


# ---- when the task runs


def begin(d: Any) -> None:
    """The class's first prefunc: tells the recipe's own functions which layers there are.

    Where there are such functions, each layer of packages is laid out in a folder, and what they leave there is built.
    """
    shutil.rmtree(_folder(d), ignore_errors=True)
    _remove_earlier(d)
    _gather_intercepts(d)
    layers = _package_layers(_attempt(lambda: configuration(d)))
    d.setVar("OCI_LAYER_COUNT", str(len(layers)))
    for number, layer in enumerate(layers, 1):
        d.setVar(f"OCI_LAYER_{number}_NAME", layer.name)
    if layers and _own_prefuncs(d):
        from .folders import lay_out

        write_conf(d)
        prefix = os.path.join(d.getVar("WORKDIR"), "rootfs-oci-")
        for folder in _attempt(lambda: lay_out(_written(d), _options(), prefix)):
            d.setVar(rootfs_variable(folder.number), folder.path)


def _own_prefuncs(d: Any) -> list[str]:
    """The functions of the recipe, or of other classes, that run before the task and may change layers."""
    return [name for name in (d.getVarFlag(TASK, "prefuncs") or "").split() if name not in _NO_HOOKS]


def refresh(d: Any) -> None:
    """The class's last postfunc: makes archives and report anew where the recipe's own have changed the layout."""
    from .refresh import refresh as run

    if _attempt(lambda: run(_written(d), _options())) is not None:
        import bb

        bb.note("the layout was changed after the image was made: archives and report are made anew")


def _written(d: Any) -> Config:
    """The configuration that was written down."""
    path = os.path.join(_folder(d), CONF)
    return configure(read_conf(path, defaults={}), folder=os.path.dirname(path))


def _options() -> Options:
    from .compress import default_jobs
    from .inputs import Options

    def status(step: str) -> None:
        import bb

        bb.note(step)

    return Options(default_jobs(), status=status)


def _attempt(action: Callable[[], T]) -> T:
    """What an action returns; an error that its reader can mend ends the task with its message."""
    import bb

    try:
        return action()
    except OciError as error:
        bb.fatal(str(error))
    raise AssertionError


def _gather_intercepts(d: Any) -> None:
    """Put into one folder what scripts of packages may ask for, of every layer, as the rootfs was made with them."""
    folder = os.path.join(_folder(d), "intercepts")
    os.makedirs(folder)
    for path in (d.getVar("POSTINST_INTERCEPTS") or "").split():
        shutil.copy(path, folder)
    # For what is installed by functions of the class itself; the task's shell has them too.
    os.environ.update(INTERCEPT_DIR=folder, NATIVE_ROOT=d.getVar("STAGING_DIR_NATIVE") or "")


def _remove_earlier(d: Any) -> None:
    """Remove the outputs that an earlier run left under another name, with its date, or they are deployed again."""
    folder, ours = d.getVar("IMGDEPLOYDIR"), f"{d.getVar('IMAGE_BASENAME')}-"
    for link in os.listdir(folder) if os.path.isdir(folder) else ():
        path = os.path.join(folder, link)
        if not (link.startswith(ours) and _OUTPUT.search(link) and os.path.islink(path)):
            continue
        target = os.path.join(folder, os.path.basename(os.readlink(path)))
        os.unlink(path)
        if os.path.isdir(target):
            shutil.rmtree(target)
        elif os.path.lexists(target):
            os.unlink(target)


def write_conf(d: Any) -> None:
    """The class's last prefunc: writes down what the recipe says, all variables with plain values."""
    folder = _folder(d)
    os.makedirs(folder, exist_ok=True)
    # A function of the recipe may have set a variable since the recipe was read.
    config = _attempt(lambda: configuration(d))
    _write(os.path.join(folder, CONF), image_conf(d, config))
    for layer in config.layers:
        if isinstance(layer, RestLayer) and layer.owned == os.path.join(folder, "packages.json"):
            _write(layer.owned, json.dumps({"packages": _attempt(lambda: owned_paths(d))}))


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


def owned_paths(d: Any) -> dict[str, list[str]]:
    """What each package that is in the rootfs brought there, by the names that the database has.

    Raises:
        ConfigError: nothing tells which packages are in the rootfs.
    """
    from oe.packagedata import read_pkgdatafile

    owned = {}
    try:
        with open(_manifest(d), encoding="utf-8") as lines:
            names = [line.split()[0] for line in lines if line.strip()]
    except OSError as error:
        message = f"{_manifest(d)}, the list of packages in the rootfs, can not be read: {error.strerror}"
        hint = 'have do_rootfs write it (write_image_manifest), or set OCI_ROOTFS_LAYER = ""'
        raise ConfigError([Fault("IMAGE_MANIFEST", message, hint)]) from error
    for name in names:
        data = read_pkgdatafile(os.path.join(d.getVar("PKGDATA_DIR"), "runtime-reverse", name))
        files = next((value for key, value in data.items() if key.startswith("FILES_INFO")), "{}")
        owned[name] = sorted(json.loads(files))
    return owned


def _manifest(d: Any) -> str:
    """The list of the packages in the rootfs; that of an earlier build where only the image is made anew."""
    path = str(d.getVar("IMAGE_MANIFEST") or "")
    if os.path.exists(path):
        return path
    return os.path.join(d.getVar("IMGDEPLOYDIR"), f"{d.getVar('IMAGE_LINK_NAME')}.manifest")


def _folder(d: Any) -> str:
    """The task's own folder."""
    return os.path.join(d.getVar("WORKDIR"), "oci")


def image_conf(d: Any, config: Config) -> str:
    """The text of an image.conf that says what the recipe says, whose configuration is known."""
    source = Datastore(d)
    values = {}
    for variable in TABLE:
        value = source.get(variable.name)
        if value is not None and value != variable.default:
            values[variable.name] = value
    for number in range(1, len(_package_layers(config)) + 1):
        if d.getVar(rootfs_variable(number)):
            values[rootfs_variable(number)] = d.getVar(rootfs_variable(number))
    named = [_renamed(d, layer) for layer in config.layers if layer.kind in TYPES]
    if named:
        values["OCI_LAYERS"] = write_layers(named)
    if config.base is not None:
        values["OCI_BASE_IMAGE"] = config.base.path
    heading = f"# What the recipe {d.getVar('PN')} says, as its task {TASK} found it.\n"
    return heading + assignments(values.items())


def _renamed(d: Any, layer: LayerSpec) -> LayerSpec:
    """A layer with the names that packages have got, as Debian's renaming of libraries gives them."""
    if not isinstance(layer, PackagesLayer):
        return layer
    from oe.packagedata import get_package_mapping

    return layer._replace(packages=tuple(str(get_package_mapping(name, name, d)) for name in layer.packages))
