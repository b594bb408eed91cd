# SPDX-License-Identifier: MIT
"""What a build would do, without doing it: the layers with what they change, the names of the outputs.

Must not write anything but what is remembered of inputs.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

from .build import archive_method
from .cache import open_cache
from .compress import choose
from .config import Config, DatabaseLayer, HostLayer, LayerSpec, PackagesLayer, PathsLayer
from .inputs import Options, open_inputs
from .layer import members
from .memory import open_memory
from .oci.image import check_layers
from .outputs import archive_outputs, layout_output, report_output
from .plan import plan_layers
from .report import package_manager
from .tree import shown

if TYPE_CHECKING:
    from .cache import LayerCache, Verdict
    from .oci.spec import Digest
    from .packages.installation import LayerPackages
    from .plan import PlannedLayer


class LayerPreview(NamedTuple):
    """A layer as it would be; `size` is that of its files in bytes, `cache` as in the report."""

    name: str
    kind: str
    content: tuple[str, ...]
    changed: int
    removed: tuple[str, ...]
    size: int
    note: str
    packages: LayerPackages | None
    cache: Verdict | None

    def to_json(self) -> dict[str, Any]:
        value = {
            "name": self.name,
            "type": self.kind,
            "content": list(self.content),
            "changed": self.changed,
            "removed": list(self.removed),
            "size": self.size,
            "note": self.note,
        }
        if self.packages is not None:
            value.update(self.packages.to_json())
        return value if self.cache is None else {**value, "cache": self.cache.to_json()}


class Preview(NamedTuple):
    """A build as it would be."""

    config: Config
    compressor: dict[str, Any]
    base: Digest | None
    base_layers: int
    layers: tuple[LayerPreview, ...]
    outputs: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def package_manager(self) -> dict[str, str]:
        """What would install the packages of the layers; empty where there are none."""
        return package_manager(layer.packages for layer in self.layers)

    def to_json(self) -> dict[str, Any]:
        names = self.config.names
        value: dict[str, Any] = {
            "image": {"name": names.full, "tag": names.tag, "platform": self.config.platform.to_json()},
            "compressor": self.compressor,
            "layers": [layer.to_json() for layer in self.layers],
            "outputs": list(self.outputs),
        }
        if self.package_manager:
            value["packageManager"] = self.package_manager
        if self.base is not None:
            value["base"] = {"digest": str(self.base), "layers": self.base_layers}
        return {**value, "notes": list(self.notes)} if self.notes else value


def preview(config: Config, options: Options) -> Preview:
    """Plan a build.

    Raises:
        ConfigError, InputError, ToolError: as the build would, but for what only reading and writing can show.
    """
    outputs = [layout_output(config.names), report_output(config.names)]
    if config.archives:
        outputs += archive_outputs(config.names, archive_method(config).algorithm)
    compressor = choose(config.compression).identity
    with (
        open_memory(config, paranoid=options.paranoid) as memory,
        open_inputs(config, options, memory) as (base, inputs),
        open_cache(config, compressor, memory.digests, options.jobs) or contextlib.nullcontext() as cache,
    ):
        layers, notes = [], list(config.notes)
        for planned in plan_layers(config, inputs):
            layers.append(_previewed(planned, cache, config.epoch or 0))
            notes += planned.notes
        below = len(base.image.layers) if base.image else 0
        check_layers(below, sum(not layer.note for layer in layers))
        return Preview(
            config=config,
            compressor=compressor,
            base=base.image.descriptor.digest if base.image else None,
            base_layers=below,
            layers=tuple(layers),
            outputs=tuple(name for output in outputs for name in output if name),
            notes=tuple(notes),
        )


def _previewed(planned: PlannedLayer, cache: LayerCache | None, epoch: int) -> LayerPreview:
    spec, delta = planned.spec, planned.delta
    verdict = None
    if cache is not None and not planned.left_out:
        verdict = cache.look(cache.subject(planned, list(members(delta, epoch))))
    return LayerPreview(
        spec.name,
        spec.kind,
        content(spec),
        delta.changed,
        tuple(shown(path) for path in delta.removed),
        sum(entry.size for entry in delta.entries.values()),
        f"left out: {planned.left_out}" if planned.left_out else "",
        planned.packages,
        verdict,
    )


def content(spec: LayerSpec) -> tuple[str, ...]:
    """What a layer is made of, as it is written."""
    if isinstance(spec, PackagesLayer):
        return spec.packages
    if isinstance(spec, PathsLayer):
        return spec.paths
    if isinstance(spec, HostLayer):
        return tuple(f"{copy.written}:{copy.destination}" for copy in spec.copies)
    return ("/var/lib",) if isinstance(spec, DatabaseLayer) else ("/",)
