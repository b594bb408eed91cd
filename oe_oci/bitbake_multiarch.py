# SPDX-License-Identifier: MIT
"""The class `oci-multiarch`: its variables, the tasks of other multiconfigs it waits for, and where their images lie.

`d` is BitBake's datastore, of which nothing else is known here. Must not know what a layout holds.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from .architectures import architecture
from .bitbake import Datastore, sources
from .errors import ConfigError, Fault, InputError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .config import Names
    from .merge import PlatformImage

    # bb.parse.handle: reads a file of a path in BBPATH into a datastore, as one that is included.
    Parse = Callable[[str, Any, bool], object]

TASK = "do_create_multiarch_index"
_FLAGS = ("OCI_MULTIARCH_MC", "OCI_MULTIARCH_MACHINE", "OCI_ARCH_TO_PLATFORM")
_READ = ("OCI_MULTIARCH_RECIPE", "OCI_MULTIARCH_PLATFORMS", "IMAGE_BASENAME", "OCI_IMAGE_NAME", "OCI_IMAGE_TAG")


class Part(NamedTuple):
    """One of the images: what OCI_MULTIARCH_PLATFORMS calls its platform, and the multiconfig that builds it."""

    recipe: str
    arch: str
    multiconfig: str

    def __str__(self) -> str:
        return f"OCI_MULTIARCH_RECIPE '{self.recipe}' for {self.arch} (multiconfig {self.multiconfig})"


def prepare(d: Any) -> str:
    """Give the task its dependencies, and what makes it run again, when the recipe is parsed.

    Returns:
        Why the recipe can not be built in this configuration, which is no fault of it; empty where it can be.

    Raises:
        ConfigError: with every fault of the variables.
    """
    if "${MCNAME}" in (d.getVar("OCI_MULTIARCH_RECIPE", False) or "") and not d.getVar("MCNAME"):
        return "OCI_MULTIARCH_RECIPE is ${MCNAME}, which is set in the recipe's variants alone"
    wanted = _parts(d)
    enabled = (d.getVar("BBMULTICONFIG") or "").split()
    for part in wanted:
        if part.multiconfig not in enabled:
            return f"OCI_MULTIARCH_MC[{part.arch}]: the multiconfig '{part.multiconfig}' is not in BBMULTICONFIG"
    _wire(d, wanted)
    return ""


def _wire(d: Any, wanted: Sequence[Part]) -> None:
    here = d.getVar("BB_CURRENT_MC") or ""
    # Dependencies leave out the name that older releases have for the multiconfig without one.
    here = "" if here == "default" else here
    for part in wanted:
        d.appendVarFlag(TASK, "mcdepends", f" mc:{here}:{part.multiconfig}:{part.recipe}:do_image_complete")
    for name in [*_READ, *(f"{name}[{part.arch}]" for part in wanted for name in _FLAGS)]:
        d.appendVarFlag(TASK, "vardeps", f" {name}")
    d.appendVarFlag(TASK, "file-checksums", "".join(f" {path}:True" for path in sources()))


def _parts(d: Any) -> list[Part]:
    """The images that are asked for.

    Raises:
        ConfigError: with every fault of the variables.
    """
    recipe, faults = _text(d, "OCI_MULTIARCH_RECIPE", "write the name of the recipe whose images are put together")
    words, more = _text(d, "OCI_MULTIARCH_PLATFORMS", "write one word for each, such as 'aarch64 x86_64'")
    faults += more
    found = []
    for arch in dict.fromkeys(words.split()):
        multiconfig = d.getVarFlag("OCI_MULTIARCH_MC", arch) or ""
        if not multiconfig:
            near = nearest(arch, d.getVarFlags("OCI_MULTIARCH_MC") or {})
            hint = near or f"set OCI_MULTIARCH_MC[{arch}] to the multiconfig that builds it"
            faults.append(Fault("OCI_MULTIARCH_PLATFORMS", f"no multiconfig is known for '{arch}'", hint))
        found.append(Part(recipe, arch, multiconfig))
    if faults:
        raise ConfigError(faults)
    return found


def _text(d: Any, name: str, hint: str) -> tuple[str, list[Fault]]:
    text = (d.getVar(name) or "").strip()
    if "${" in text:
        return "", [Fault(name, f"refers to something that is not set: '{text}'")]
    return text, [] if text else [Fault(name, "is not set", hint)]


def merge_images(d: Any, parse: Parse) -> str:
    """Make the layout OCI_MULTIARCH_OUTPUT of the images that were built; what it now holds, in one line.

    Raises:
        ConfigError: a variable is wrong.
        InputError: an image is missing, damaged, or for another platform than was asked for.
        ToolError: a file can not be read or written.
    """
    from .merge import common_name, merge

    wanted = _parts(d)
    names = _names(d)
    found = [image for part in wanted for image in _images_of(d, part, names, parse)]
    given = d.getVar("OCI_IMAGE_NAME") or "/" in names.tag or ":" in names.tag
    full = names.full if given else common_name(found) or names.full
    target = d.getVar("OCI_MULTIARCH_OUTPUT")
    try:
        digest = merge(found, target, names.tag, full)
    except InputError as error:
        raise InputError(f"OCI_MULTIARCH_RECIPE '{wanted[0].recipe}': {error.message}", hint=error.hint) from error
    return f"{full} for {', '.join(sorted(str(image.platform) for image in found))}: {target} ({digest})"


def _images_of(d: Any, part: Part, names: Names, parse: Parse) -> list[PlatformImage]:
    from .merge import find_platforms

    try:
        found = find_platforms(_find_layout(d, part, names, parse), names.tag)
        _check_platform(part, d.getVarFlag("OCI_ARCH_TO_PLATFORM", part.arch) or architecture(part.arch), found)
    except InputError as error:
        raise InputError(f"{part}: {error.message}", hint=error.hint) from error
    return found


def _check_platform(part: Part, expected: str, found: Sequence[PlatformImage]) -> None:
    """See that an image is for the architecture asked for: `arm`, `arm/v7` or `linux/arm/v7`."""
    platforms = [image.platform for image in found]
    spellings = {platform.architecture for platform in platforms} | {str(platform) for platform in platforms}
    spellings |= {f"{platform.architecture}/{platform.variant}" for platform in platforms}
    if expected and expected not in spellings:
        raise InputError(
            f"{found[0].layout.where} is for {', '.join(map(str, platforms))}, not for {expected}",
            hint=f"check MACHINE of the multiconfig, and OCI_MULTIARCH_MC[{part.arch}]",
        )


def _find_layout(d: Any, part: Part, names: Names, parse: Parse) -> str:
    """The folder of an image's layout, by the names that the classes of such images give it."""
    word = names.link[len(names.base) + 1 :]
    tried = []
    for folder, machine in _places(d, part, parse):
        words = (f"{names.link}-oci", f"{names.base}-{machine}-{word}-oci", f"{names.base}-oci")
        tried += [os.path.join(folder, each) for each in words]
    for path in tried:
        if os.path.isdir(path):
            return path
    folders = list(dict.fromkeys(os.path.dirname(path) for path in tried))
    hint = _what_there_is(names.base, folders) or f"{part.recipe} must inherit image-oci, with 'oci' in IMAGE_FSTYPES"
    raise InputError(f"no {os.path.basename(tried[0])} in {' or '.join(folders)}", hint=hint)


def _what_there_is(basename: str, folders: Iterable[str]) -> str:
    """What an image that is not where it is looked for may be called instead, as a hint."""
    for folder in folders:
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        there = [name for name in names if name.startswith(f"{basename}-") and name.endswith("-oci")]
        if there:
            return f"there is {there[0]}: OCI_IMAGE_TAG must be the tag of the image"
    return ""


def _places(d: Any, part: Part, parse: Parse) -> Iterable[tuple[str, str]]:
    """Where a multiconfig puts its images, and for which machine, the likeliest first.

    A task has no datastore but its own. So what conf/multiconfig sets is set in a copy of it; what is decided after
    that file, by the distribution, is as in this configuration.
    """
    there = d.createCopy()
    there.setVar("BB_CURRENT_MC", part.multiconfig)
    # Older releases put it behind TMPDIR, after all that files say.
    ending = "${TCLIBCAPPEND}"
    there.setVar("TMPDIR", (d.getVar("TMPDIR", False) or "").removesuffix(ending))
    parse(os.path.join("conf", "multiconfig", f"{part.multiconfig}.conf"), there, True)
    machine, folder = there.getVar("MACHINE") or "", there.getVar("DEPLOY_DIR_IMAGE")
    if d.getVar("TCLIBCAPPEND"):
        there.setVar("TMPDIR", there.getVar("TMPDIR", False) + ending)
        yield there.getVar("DEPLOY_DIR_IMAGE"), machine
    yield folder, machine
    machine = d.getVarFlag("OCI_MULTIARCH_MACHINE", part.arch) or machine
    yield os.path.join(d.getVar("TOPDIR"), f"tmp-{part.multiconfig}", "deploy", "images", machine), machine


def _names(d: Any) -> Names:
    """What the whole is called; the images of the multiconfigs are found by the same names."""
    from .configure.names import read_names
    from .configure.settings import Settings
    from .oci.spec import Platform

    settings = Settings(Datastore(d), "")
    names = read_names(settings, Platform("linux", ""))
    if settings.faults():
        raise ConfigError(settings.faults())
    return names
