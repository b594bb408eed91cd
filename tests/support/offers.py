# SPDX-License-Identifier: MIT
"""Feeds in a few words, for tests of resolving: no files behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oe_oci.packages.package import Installed, Package
from oe_oci.packages.relation import parse_relations
from oe_oci.packages.world import Policy, World

if TYPE_CHECKING:
    from collections.abc import Collection

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

    def __init__(self, *texts: str) -> None:
        self.packages = [Package(*facts(text), f"/feed/{number}.deb", 1, "00", 0) for number, text in enumerate(texts)]

    def named(self, name: str) -> list[Package]:
        return [one for one in self.packages if one.name == name]

    def providing(self, name: str) -> list[Package]:
        return [
            one
            for one in self.packages
            if any(group[0].name == name for group in parse_relations(one.fields.get("Provides", "")))
        ]

    def names(self) -> Collection[str]:
        return {one.name for one in self.packages}

    def unlisted(self, name: str) -> str | None:
        return None


def world(*texts: str, below: Collection[str] = (), kind: str = "deb", **policy: object) -> World:
    """A world of packages offered, and of those `below`."""
    installed = [Installed(*facts(text)) for text in below]
    return World(Offer(*texts), installed, Policy(kind, "amd64", **policy))
