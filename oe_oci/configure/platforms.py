# SPDX-License-Identifier: MIT
"""What Yocto, the kernel and Go call a processor architecture, and the platform of an image.

Go's words are those of the OCI image specification (config.md, Platform Variants).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..architectures import ARCHITECTURES, architecture, arm_variant
from ..errors import nearest
from ..oci.spec import Platform
from .settings import quoted, wrong

if TYPE_CHECKING:
    from .settings import Settings

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
    return Platform(system, machine, arm_variant(settings.text("TUNE_FEATURES")) if machine == "arm" else "")


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
