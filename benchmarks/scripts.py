# SPDX-License-Identifier: MIT
"""Scripts such as OpenEmbedded's packages have, for packages that have none: what they write lies below $D.

Where they run in the image itself, $D is empty, and the shell and the programs are the image's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# What scripts need beside coreutils and a shell, on this machine or in the image; and the packages that bring all that.
PROGRAM = "useradd"
PROVIDERS = ("coreutils", "dash", "passwd")

_EVERY, _ACCOUNT = 3, 10  # one of so many packages has scripts, and of these one adds an account
_SHELL = "#!/bin/sh\nset -e\n"
_ACCOUNTS = """\
mkdir -p $D/etc
[ -e $D/etc/passwd ] || echo root:x:0:0:root:/:/bin/sh >$D/etc/passwd
[ -e $D/etc/group ] || echo root:x:0: >$D/etc/group
useradd ${{D:+--root $D}} --system --no-create-home --home-dir / --shell /bin/false b-{name}
"""
# A link by priority, as update-alternatives makes it.
_ALTERNATIVE = """\
mkdir -p $D/etc/alternatives $D/usr/lib/alternatives
echo /usr/bin/{name} 50 >>$D/usr/lib/alternatives/{name}
best=$(sort -k 2 -n $D/usr/lib/alternatives/{name} | tail -n 1 | cut -d ' ' -f 1)
ln -sf $best $D/etc/alternatives/{name}
"""
_LIBRARIES = """\
mkdir -p $D/etc/ld.so.conf.d
echo /usr/lib/{name} >$D/etc/ld.so.conf.d/{name}.conf
cat $D/etc/ld.so.conf.d/*.conf >$D/etc/ld.so.conf
"""
_STATE = """\
mkdir -p $D/var/lib/{name}
date >/dev/null
echo configured >$D/var/lib/{name}/state
chmod 0640 $D/var/lib/{name}/state
"""
_KINDS = (_ALTERNATIVE, _LIBRARIES, _STATE)


def scripts_of(needs: Mapping[str, Iterable[str]]) -> dict[str, dict[str, str]]:
    """The scripts, by their names, of some of the packages: none of those that the scripts themselves need.

    `needs` has what each of all packages depends on, names that may be of none.
    """
    free = sorted(needs.keys() - _closure(PROVIDERS, needs))
    return {name: _scripts(name, number) for number, name in enumerate(free[::_EVERY])}


def _scripts(name: str, number: int) -> dict[str, str]:
    found = {"postinst": _SHELL + _KINDS[number % len(_KINDS)].format(name=name)}
    if number % _ACCOUNT == 0:
        found["preinst"] = _SHELL + _ACCOUNTS.format(name=name[:20])
    return found


def _closure(names: Iterable[str], needs: Mapping[str, Iterable[str]]) -> set[str]:
    found, pending = set(names), [*names]
    while pending:
        new = set(needs.get(pending.pop(), ())) - found
        found |= new
        pending += new
    return found
