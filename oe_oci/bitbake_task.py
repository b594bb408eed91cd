# SPDX-License-Identifier: MIT
"""The class `image-oci` when its task runs: what stands before and after the shell function that builds the image.

`d` is BitBake's datastore. What is called of the rest is imported where it is used, as BitBake loads this module
whenever it reads the layer. Must not know how an image is made: the task writes its variables down as an `image.conf`,
of which the command line builds.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import TYPE_CHECKING

from .bbconf import read_conf
from .bbconf.written import assignments
from .bitbake import TASK, Datastore, configuration
from .config import CUT, PackagesLayer, RestLayer, rootfs_variable
from .configure import configure
from .configure.grammar import TYPES, write_layers
from .configure.variables import TABLE
from .errors import ConfigError, Fault, OciError

if TYPE_CHECKING:
    # Older BitBakes look for the source of all that can be called by a public name here.
    from collections.abc import Callable, Iterable
    from typing import Any, TypeVar

    from .config import Config, LayerSpec, PackageSettings
    from .inputs import Options

    T = TypeVar("T")

CONF = "image.conf"

# How the names of links to outputs end.
_OUTPUT = re.compile(r"-oci(\.json|(-dir)?\.tar(\.gz|\.zst)?)?$")
# What runs before every task of an image.
_NO_HOOKS = frozenset(("extend_recipe_sysroot", "set_image_size", "setup_debugfs", "oci_begin", "oci_write_conf"))


def begin(d: Any) -> None:
    """The class's first prefunc: tells the recipe's own functions which layers there are.

    Where there are such functions, each layer of packages is laid out in a folder, and what they leave there is built.
    """
    shutil.rmtree(_folder(d), ignore_errors=True)
    _remove_earlier(d)
    _gather_intercepts(d)
    layers = _attempt(lambda: configuration(d)).package_layers
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
            _write(layer.owned, json.dumps(_attempt(lambda: owned(d, config.packages))))


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


def owned(d: Any, packages: PackageSettings) -> dict[str, dict[str, list[str]]]:
    """What pkgdata says of the packages in the rootfs, by its names in the database, as `oe_oci/owned.py` reads it.

    Raises:
        ConfigError: nothing tells which packages are in the rootfs.
    """
    from oe.packagedata import read_pkgdatafile

    listed = _listed(d)
    data = {name: read_pkgdatafile(os.path.join(d.getVar("PKGDATA_DIR"), "runtime-reverse", name)) for name in listed}
    value = {"packages": {name: sorted(json.loads(_field(one, "FILES_INFO") or "{}")) for name, one in data.items()}}
    if packages.manager == CUT:
        versions = {name: [*reversed(facts)] for name, facts in listed.items()}
        value.update(needs=_needs(d, data, packages), versions=versions)
    return value


def _listed(d: Any) -> dict[str, list[str]]:
    """The packages in the rootfs with architecture and version, as the list has them that do_rootfs wrote."""
    try:
        with open(_manifest(d), encoding="utf-8") as lines:
            return {words[0]: words[1:] for words in map(str.split, lines) if words}
    except OSError as error:
        message = f"{_manifest(d)}, the list of packages in the rootfs, can not be read: {error.strerror}"
        hint = 'have do_rootfs write it (write_image_manifest), or set OCI_ROOTFS_LAYER = ""'
        raise ConfigError([Fault("IMAGE_MANIFEST", message, hint)]) from error


def _needs(d: Any, data: dict[str, dict[str, str]], packages: PackageSettings) -> dict[str, list[str]]:
    """What each package depends on and recommends, of those in the rootfs, whatever name it is called by."""
    from oe.packagedata import get_package_mapping

    providers = {word: name for name, one in data.items() for word in _names(_field(one, "RPROVIDES"))}

    def found(words: Iterable[str]) -> set[str]:
        named = ((word, str(get_package_mapping(word, word, d))) for word in words)
        return {name if name in data else providers.get(name, providers.get(word, "")) for word, name in named} - {""}

    unwanted = found((*packages.bad_recommendations, *packages.exclude))
    needs = {}
    for name, one in data.items():
        recommended = found(_names(_field(one, "RRECOMMENDS"))) if packages.recommends else set()
        needs[name] = sorted((found(_names(_field(one, "RDEPENDS"))) | (recommended - unwanted)) - {name})
    return needs


def _field(data: dict[str, str], field: str) -> str:
    """What pkgdata has of a package under a variable, whose name it has with or without the package's own name."""
    return next((value for key, value in data.items() if key.partition(":")[0] == field), "")


def _names(relations: str) -> list[str]:
    """The names in the text of a relation, without versions."""
    return re.sub(r"\([^)]*\)", " ", relations).split()


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
    for number in range(1, len(config.package_layers) + 1):
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
