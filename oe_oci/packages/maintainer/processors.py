# SPDX-License-Identifier: MIT
"""Whose programs this machine runs: its own processor's, and those that binfmt_misc has an emulator for."""

from __future__ import annotations

import functools
import os
import struct

from ...architectures import architecture, debian
from ...errors import ToolError
from ...run import run

# What Linux calls them in an ELF file's header, by Debian's words: the class, the order of bytes, and the machine.
_ELF = {
    "amd64": (2, 1, 62),
    "arm64": (2, 1, 183),
    "armel": (1, 1, 40),
    "armhf": (1, 1, 40),
    "i386": (1, 1, 3),
    "loong64": (2, 1, 258),
    "mips64el": (2, 1, 8),
    "mipsel": (1, 1, 8),
    "ppc64el": (2, 1, 21),
    "riscv64": (2, 1, 243),
    "s390x": (2, 2, 22),
}
_ALSO = {"amd64": ("i386",)}


@functools.cache
def runs(word: str) -> bool:
    """Whether programs run here that are for the architecture which Debian calls `word`."""
    own = debian(architecture(os.uname().machine))
    return word == own or word in _ALSO.get(own, ()) or (word in _ELF and _is_emulated(*_ELF[word]))


def _is_emulated(size: int, order: int, machine: int) -> bool:
    """Whether the kernel hands programs with such a header to another one: an empty one is no format to itself."""
    head = b"\x7fELF" + bytes([size, order, 1]) + bytes(9)
    program = head + struct.pack("<HHI" if order == 1 else ">HHI", 2, machine, 1)
    file = os.memfd_create("program")
    try:
        os.write(file, program.ljust(64, b"\0"))
        run([f"/proc/{os.getpid()}/fd/{file}"])
    except ToolError:
        return False
    finally:
        os.close(file)
    return True
