# SPDX-License-Identifier: MIT
"""Go's words for architectures, which are OCI's, and the words others have for them: Yocto, the kernel, Debian."""

from __future__ import annotations

import re

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

# Go's words, where Debian has others.
_DEBIAN = {
    "386": "i386",
    "arm": "armhf",
    "arm/v5": "armel",
    "arm/v6": "armel",
    "mips64le": "mips64el",
    "mipsle": "mipsel",
    "ppc64le": "ppc64el",
}


def architecture(word: str) -> str:
    """Go's word for an architecture by any of its names; empty where there is none."""
    if word in ARCHITECTURES:
        return word
    return next((found for pattern, found in _WORDS if re.fullmatch(pattern, word)), "")


def arm_variant(words: str) -> str:
    """The variant of an arm by words of which some have its version in them: the highest; empty where none has."""
    return next((found for found in ("v7", "v6", "v5") if f"arm{found}" in words), "")


def debian(word: str, variant: str = "") -> str:
    """Debian's word for an architecture of Go's and its variant; an arm without one is taken for v7, as engines do."""
    return _DEBIAN.get(f"{word}/{variant}") or _DEBIAN.get(word, word)


def is_other(word: str, native: str) -> bool:
    """Whether a word is that of another processor than Debian's word `native`.

    Those of arm alone do not tell, as armv8a may be either.
    """
    found = architecture(word)
    return found not in ("", "arm") and debian(found) != native
