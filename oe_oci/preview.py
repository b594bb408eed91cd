# SPDX-License-Identifier: MIT
"""What a build would do, without doing it: the layers with what they change, the names of the outputs.

Must not write anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .build import Options, archive_method, open_inputs
from .compress import choose
from .config import Config, PackagesLayer
from .oci.image import check_layers
from .outputs import archive_outputs, layout_output, report_output
from .plan import check_contents, plan_layers
from .tree import shown

if TYPE_CHECKING:
    from .oci.spec import Digest


class LayerPreview(NamedTuple):
    """A layer as it would be. Sizes and counts are None where packages that are not installed lie below."""

    name: str
    kind: str
    content: tuple[str, ...]
    changed: int | None
    removed: tuple[str, ...]
    size: int | None
    note: str


class Preview(NamedTuple):
    """A build as it would be."""

    config: Config
    compressor: dict[str, Any]
    base: Digest | None
    base_layers: int
    layers: tuple[LayerPreview, ...]
    outputs: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        names = self.config.names
        value: dict[str, Any] = {
            "image": {"name": names.full, "tag": names.tag, "platform": self.config.platform.to_json()},
            "compressor": self.compressor,
            "layers": [
                {
                    "name": layer.name,
                    "type": layer.kind,
                    "content": list(layer.content),
                    "changed": layer.changed,
                    "removed": list(layer.removed),
                    "size": layer.size,
                    "note": layer.note,
                }
                for layer in self.layers
            ],
            "outputs": list(self.outputs),
        }
        if self.base is not None:
            value["base"] = {"digest": str(self.base), "layers": self.base_layers}
        return {**value, "notes": list(self.config.notes)} if self.config.notes else value


def preview(config: Config, options: Options) -> Preview:
    """Plan a build.

    Raises:
        ConfigError, InputError, ToolError: as the build would, but for what only reading and writing can show.
    """
    outputs = [layout_output(config.names), report_output(config.names)]
    if config.archives:
        outputs += archive_outputs(config.names, archive_method(config).algorithm)
    with open_inputs(config, options) as (base, rootfs):
        if any(isinstance(spec, PackagesLayer) for spec in config.layers):
            check_contents(config, rootfs)
            layers = _unplanned(config)
        else:
            layers = [
                LayerPreview(
                    planned.spec.name,
                    planned.spec.kind,
                    content(planned.spec),
                    planned.delta.changed,
                    tuple(shown(path) for path in planned.delta.removed),
                    sum(entry.size for entry in planned.delta.entries.values()),
                    f"left out: {planned.left_out}" if planned.left_out else "",
                )
                for planned in plan_layers(config, base.tree, rootfs)
            ]
        below = len(base.image.layers) if base.image else 0
        check_layers(below, sum(not layer.note for layer in layers))
        return Preview(
            config=config,
            compressor=choose(config.compression).identity,
            base=base.image.descriptor.digest if base.image else None,
            base_layers=below,
            layers=tuple(layers),
            outputs=tuple(name for output in outputs for name in output if name),
        )


def _unplanned(config: Config) -> list[LayerPreview]:
    """Layers of packages can not be resolved yet, and what lies on them depends on them."""
    return [LayerPreview(spec.name, spec.kind, content(spec), None, (), None, "") for spec in config.layers]


def content(spec: Any) -> tuple[str, ...]:
    """What a layer is made of, as it is written."""
    if isinstance(spec, PackagesLayer):
        return spec.packages
    if hasattr(spec, "paths"):
        return tuple(spec.paths)
    if hasattr(spec, "copies"):
        return tuple(f"{copy.written}:{copy.destination}" for copy in spec.copies)
    return ("/",)
