# SPDX-License-Identifier: MIT
"""Capabilities of files: their text, as rpm's headers have it, to the bytes of the attribute that Linux reads.

Follows cap_from_text(3) of the text and capabilities(7) of the attribute, whose version 2 needs no user namespace to
mean anything. Must not know headers.
"""

from __future__ import annotations

import re
import struct

from ...errors import InputError, nearest

XATTR = "security.capability"
_REVISION, _EFFECTIVE = 0x02000000, 1
_ATTRIBUTE = struct.Struct("<5I")
_LOW = 0xFFFFFFFF

# By number, as linux/capability.h has them.
_NAMES = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service "
    "net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin "
    "sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override "
    "mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore"
)
_BITS = {f"cap_{name}": 1 << number for number, name in enumerate(_NAMES.split())}
_ALL = (1 << len(_BITS)) - 1
_NUMBERS = 64  # as many bits the attribute has
_CLAUSE = re.compile(r"([A-Za-z0-9_,]*)(=[eip]*(?:[+-][eip]+)*|(?:[+-][eip]+)+)")
_OPERATION = re.compile(r"([=+-])([eip]*)")


def attribute(text: str, where: str) -> bytes:
    """The bytes of the attribute `XATTR`; a text that gives no capability has them too. `where` names the file.

    Raises:
        InputError: it is no text of capabilities, or of such as a file can not have.
    """
    sets = {"e": 0, "i": 0, "p": 0}
    for clause in text.split():
        match = _CLAUSE.fullmatch(clause)
        if match is None or not (match[1] or match[2].startswith("=")):
            raise InputError(f"{where}: capabilities {text[:200]!r}: {clause[:80]!r} is no clause of such")
        bits = _bits(match[1].lower(), text, where)
        for sign, flags in _OPERATION.findall(match[2]):
            for flag in "eip":
                if sign == "=" or (sign == "-" and flag in flags):
                    sets[flag] &= ~bits
                if sign != "-" and flag in flags:
                    sets[flag] |= bits
    effective, inheritable, permitted = sets.values()
    if effective and (permitted | inheritable) & ~effective:
        # The attribute has one bit for all of them.
        raise InputError(f"{where}: capabilities {text[:200]!r}: of a file all are effective or none")
    halves = [half for shift in (0, 32) for half in (permitted >> shift & _LOW, inheritable >> shift & _LOW)]
    return _ATTRIBUTE.pack(_REVISION | (_EFFECTIVE if effective else 0), *halves)


def _bits(names: str, text: str, where: str) -> int:
    bits = 0
    for name in names.split(",") if names else ["all"]:
        if name == "all":
            bits |= _ALL
        elif name in _BITS:
            bits |= _BITS[name]
        elif name.isdigit() and len(name) <= 2 and int(name) < _NUMBERS:
            bits |= 1 << int(name)
        else:
            message = f"{where}: capabilities {text[:200]!r}: {name[:80]!r} is none"
            raise InputError(message, hint=nearest(name, _BITS))
    return bits
