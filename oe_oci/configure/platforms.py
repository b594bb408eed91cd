# SPDX-License-Identifier: MIT
"""What Yocto, the kernel and Go call a processor architecture, and the platform of an image.

Go's words are those of the OCI image specification (config.md, Platform Variants).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..errors import nearest
from ..oci.spec import Platform
from .settings import quoted, wrong

if TYPE_CHECKING:
    from .settings import Settings

ARCHITECTURES = (
    *("386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle"),
    *("ppc64", "ppc64le", "riscv64", "s390x"),
)

# Words of TARGET_ARCH and of `uname -m`. The big-endian kinds of arm have no word of Go's, so they are not here.
_WORDS = (
    (r"i[3-6]86|x86", "386"),
    (r"x86[_-]64", "amd64"),
    (r"arm(v[4-8].*)?", "arm"),
    (r"aarch64", "arm64"),
    (r"mips(64|isa64r6)(r6)?el", "mips64le"),
    (r"mips64(r6)?|mipsisa64r6", "mips64"),
    (r"mipsel", "mipsle"),
    (r"p(ower)?pc64(le|el)", "ppc64le"),
    (r"p(ower)?pc64", "ppc64"),
    (r"loongarch64", "loong64"),
)

# What `uname -m` says, in Yocto's words: TARGET_ARCH and TUNE_FEATURES.
_MACHINES = (
    (r"armv5.*", "arm", "armv5"),
    (r"armv6.*", "arm", "armv6"),
    (r"armv7.*", "arm", "armv7"),
    (r"arm|armv8.*", "arm", ""),
    (r"arm64", "aarch64", ""),
    (r"ppc64le", "powerpc64le", ""),
    (r"ppc64", "powerpc64", ""),
)


def architecture(word: str) -> str:
    """Go's word for an architecture by any of its names; empty where there is none."""
    if word in ARCHITECTURES:
        return word
    return next((found for pattern, found in _WORDS if re.fullmatch(pattern, word)), "")


def target_of(machine: str) -> tuple[str, str]:
    """TARGET_ARCH and TUNE_FEATURES for the machine `uname` names."""
    found = ((target, features) for pattern, target, features in _MACHINES if re.fullmatch(pattern, machine))
    return next(found, (machine, ""))


def read_platform(settings: Settings) -> Platform:
    """The platform the image is for."""
    system = settings.parsed("OCI_IMAGE_OS", _system, "linux")
    machine = _read_architecture(settings)
    if settings.is_set("OCI_IMAGE_SUBARCH"):
        return Platform(system, machine, settings.parsed("OCI_IMAGE_SUBARCH", _variant, ""))
    features = settings.text("TUNE_FEATURES") if machine == "arm" else ""
    return Platform(
        system, machine, next((variant for variant in ("v7", "v6", "v5") if f"arm{variant}" in features), "")
    )


def _read_architecture(settings: Settings) -> str:
    if settings.text("OCI_IMAGE_ARCH"):
        return settings.parsed("OCI_IMAGE_ARCH", _given, "")
    target = settings.text("TARGET_ARCH")
    found = architecture(target)
    if not found and not settings.is_unreadable("OCI_IMAGE_ARCH"):
        what = f"no architecture of images is known for {quoted(target)}" if target else "is not set"
        settings.fault("TARGET_ARCH", what, f"set OCI_IMAGE_ARCH to one of {', '.join(ARCHITECTURES)}")
    return found


def _given(word: str) -> str:
    found = architecture(word)
    if not found:
        hint = nearest(word, ARCHITECTURES) or f"write one of {', '.join(ARCHITECTURES)}"
        raise wrong(f"{quoted(word)} is not a known architecture", hint)
    return found


def _system(word: str) -> str:
    if not re.fullmatch(r"[a-z0-9]+", word):
        raise wrong(f"{quoted(word)} is not an operating system", "write a lower-case word such as 'linux'")
    return word


def _variant(word: str) -> str:
    if not re.fullmatch(r"[a-z0-9.]+", word):
        raise wrong(f"{quoted(word)} is not a variant", "write lower-case letters and digits such as 'v7'")
    return word
