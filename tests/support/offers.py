# SPDX-License-Identifier: MIT
"""Feeds in a few words, for tests of resolving: no files behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oe_oci.packages.package import Installed, Package
from oe_oci.packages.relation import parse_relations
from oe_oci.packages.world import Policy, World

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

FIELDS = {
    "pre": "Pre-Depends",
    "needs": "Depends",
    "likes": "Recommends",
    "conflicts": "Conflicts",
    "breaks": "Breaks",
    "replaces": "Replaces",
    "provides": "Provides",
    "multi": "Multi-Arch",
    "essential": "Essential",
    "priority": "Priority",
}


def facts(text: str) -> tuple[str, str, str, dict[str, str]]:
    """`name version [arch] [; word value]…`, as `shop 1 ; needs libc (>= 2), x | y`."""
    head, *fields = (part.strip() for part in text.split(";"))
    name, version, arch = ([*head.split(), "amd64"])[:3]
    found = {FIELDS[word]: value for word, _, value in (field.partition(" ") for field in fields)}
    return name, version, arch, {"Package": name, "Version": version, "Architecture": arch, **found}


class Offer:
    """What one feed offers; of one name the first is the best."""

    def __init__(self, *texts: str, other: Mapping[str, Collection[str]]) -> None:
        self._other = other
        self._named: dict[str, list[Package]] = {}
        self._providing: dict[str, list[Package]] = {}
        for number, text in enumerate(texts):
            one = Package(*facts(text), f"/feed/{number}.deb", 1, "00", 0)
            self._named.setdefault(one.name, []).append(one)
            for name in {group[0].name: None for group in parse_relations(one.fields.get("Provides", ""))}:
                self._providing.setdefault(name, []).append(one)

    def named(self, name: str) -> list[Package]:
        return self._named.get(name, [])

    def providing(self, name: str) -> list[Package]:
        return self._providing.get(name, [])

    def names(self) -> Collection[str]:
        return {*self._named, *self._providing}

    def other_archs(self, name: str) -> Collection[str]:
        return self._other.get(name, ())

    def unlisted(self, name: str) -> str | None:
        return None


def world(
    *texts: str,
    below: Collection[str] = (),
    state: str = "install ok installed",
    kind: str = "deb",
    other: Mapping[str, Collection[str]] | None = None,
    **policy: object,
) -> World:
    """A world of packages offered, and of those `below`; `other` are the architectures of further packages."""
    installed = [Installed(*facts(text), state) for text in below]
    return World(Offer(*texts, other=other or {}), installed, Policy(kind, "amd64", **policy))
