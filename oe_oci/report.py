# SPDX-License-Identifier: MIT
"""What was built, as values: written beside the image and printed. Holds no path of the host and no clock."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .archive import ArchiveFacts
    from .cache import Verdict
    from .config import Names
    from .oci.spec import Descriptor, Digest, Platform
    from .packages.installation import LayerPackages


class LayerReport(NamedTuple):
    """One layer of the configuration. `blob` is None for one left out, whose `note` says why.

    `packages` are those of a layer of packages. `cache` is what the layer cache said of it, None where none was asked.
    """

    name: str
    kind: str
    changed: int
    removed: int
    raw_size: int = 0
    blob: Descriptor | None = None
    diff_id: Digest | None = None
    note: str = ""
    packages: LayerPackages | None = None
    cache: Verdict | None = None

    def to_json(self, *, cache: bool = False) -> dict[str, Any]:
        value: dict[str, Any] = {"name": self.name, "type": self.kind, "changed": self.changed, "removed": self.removed}
        if self.blob is not None:
            value.update(
                diffId=str(self.diff_id),
                digest=str(self.blob.digest),
                mediaType=self.blob.media_type,
                size=self.blob.size,
                uncompressedSize=self.raw_size,
            )
        if self.packages is not None:
            value.update(self.packages.to_json())
        if cache and self.cache is not None:
            value["cache"] = self.cache.to_json()
        return {**value, "note": self.note} if self.note else value


class BuildReport(NamedTuple):
    """A finished image and its outputs, by their names in the deploy folder."""

    names: Names
    platform: Platform
    manifest: Descriptor
    config: Digest
    created: str
    compressor: dict[str, Any]
    base: Digest | None
    base_diff_ids: tuple[Digest, ...]
    layers: tuple[LayerReport, ...]
    layout: str
    archives: dict[str, ArchiveFacts]
    archive_compressor: dict[str, Any]
    notes: tuple[str, ...]

    @property
    def package_manager(self) -> dict[str, str]:
        """What installed the packages of the layers; empty where there are none."""
        return package_manager(layer.packages for layer in self.layers)

    def to_json(self, *, cache: bool = False) -> dict[str, Any]:
        """The report; with `cache` it also says which layers were made and why, which is no fact of the image."""
        value: dict[str, Any] = {
            "image": {
                "name": self.names.full,
                "tag": self.names.tag,
                "digest": str(self.manifest.digest),
                "config": str(self.config),
                "platform": self.platform.to_json(),
                "created": self.created,
            },
            "layers": [layer.to_json(cache=cache) for layer in self.layers],
            "compressor": self.compressor,
            "outputs": {
                "layout": self.layout,
                "archives": {
                    name: {"digest": f"sha256:{facts.digest}", "size": facts.size}
                    for name, facts in self.archives.items()
                },
            },
        }
        if self.archives:
            value["outputs"]["compressor"] = self.archive_compressor
        if self.package_manager:
            value["packageManager"] = self.package_manager
        if self.base is not None:
            diff_ids = list(map(str, self.base_diff_ids))
            value["base"] = {"digest": str(self.base), "layers": len(diff_ids), "diffIds": diff_ids}
        return {**value, "notes": list(self.notes)} if self.notes else value


def report_bytes(value: dict[str, Any]) -> bytes:
    """A report as the file that is one of the outputs."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def package_manager(layers: Iterable[LayerPackages | None]) -> dict[str, str]:
    """What installed the packages of an image's layers; empty where there are none."""
    return next((dict(packages.tool) for packages in layers if packages is not None), {})
