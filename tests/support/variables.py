# SPDX-License-Identifier: MIT
"""A source of variables made from a dictionary; line numbers follow its order."""

from __future__ import annotations

from oe_oci.bbconf import Location

ROOTFS = {"IMAGE_ROOTFS": "/rootfs"}
FEED = {"DEPLOY_DIR_IPK": "/feed"}


class FakeVariables:
    """Every value counts as written in `/project/image.conf`, but those of `defaults`."""

    def __init__(self, written: dict[str, str], defaults: dict[str, str] | None = None) -> None:
        self._written = written
        usual = {
            "IMAGE_BASENAME": "app",
            "IMGDEPLOYDIR": "/deploy",
            "OCI_LAYER_CACHE_DIR": "/cache",
            "TARGET_ARCH": "x86_64",
            "TOPDIR": "/project",
        }
        self._defaults = {**usual, **(defaults or {})}

    def get(self, name: str) -> str | None:
        return self._written.get(name, self._defaults.get(name))

    def names(self) -> list[str]:
        return [*self._written, *self._defaults]

    def location(self, name: str) -> Location | None:
        names = list(self._written)
        return Location("/project/image.conf", names.index(name) + 1) if name in names else None

    def referenced(self) -> frozenset[str]:
        return frozenset(name for name in self._written for text in self._written.values() if f"${{{name}}}" in text)
