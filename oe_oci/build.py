# SPDX-License-Identifier: MIT
"""The driver: configuration in, image and report out; calls the other modules in their order."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from .compress import Method, choose
from .config import Compression, Config, HostLayer
from .inputs import Options, open_inputs
from .labels import automatic
from .layer import write_layer
from .memory import open_memory
from .oci.image import Added, NewImage, make_docker_manifest, make_image, make_index
from .oci.spec import LAYOUT_FILE
from .outputs import check_place, layout_output, publish, write_archives, write_documents
from .plan import PlannedLayer, plan_layers
from .report import BuildReport, LayerReport
from .revision import find_revision
from .staging import staging

if TYPE_CHECKING:
    from .archive import ArchiveFacts
    from .base import Base

_ARCHIVE_LEVELS = {"gzip": 6, "zstd": 3, "none": 0}


def build(config: Config, options: Options) -> BuildReport:
    """Build an image and put its outputs into the deploy folder.

    Raises:
        ConfigError: the configuration can not be built.
        InputError: an input is damaged or does not fit.
        ToolError: the disk, a permission or a program failed. In each case the outputs are as they were.
    """
    method, for_archives = choose(config.compression), archive_method(config)
    check_place(config.deploy_dir, config.names)
    with staging(config.deploy_dir, config.names.base) as stage:
        layout = os.path.join(stage, "layout")
        os.makedirs(os.path.join(layout, "blobs", "sha256"))
        memory = open_memory(config, paranoid=options.paranoid)
        with open_inputs(config, options, memory, stage) as (base, inputs):
            layers = []
            for planned in plan_layers(config, inputs):
                options.status(f"layer {planned.spec.name}")
                layers.append(_write(planned, layout, method, config, options))
        report, image = _assemble(config, base, layers, method)
        _write_layout(layout, image, config)
        archives = _archives(stage, image, config, for_archives, options)
        report = report._replace(archives=archives, archive_compressor=for_archives.identity)
        options.status("outputs")
        text = json.dumps(report.to_json(), indent=2, ensure_ascii=False) + "\n"
        publish(stage, config.deploy_dir, config.names, archives, text.encode("utf-8", "backslashreplace"))
    return report


def host_paths(config: Config) -> list[str]:
    """The paths of the build host that go into the image, as they are written."""
    return [copy.written for spec in config.layers if isinstance(spec, HostLayer) for copy in spec.copies]


def _write(planned: PlannedLayer, layout: str, method: Method, config: Config, options: Options) -> LayerReport:
    spec, delta = planned.spec, planned.delta
    if planned.left_out:
        left_out = f"left out: {planned.left_out}"
        return LayerReport(spec.name, spec.kind, 0, 0, 0, None, None, left_out, planned.packages)
    folder = os.path.join(layout, "blobs", "sha256")
    blob = write_layer(delta, folder, method, jobs=options.jobs, epoch=config.epoch or 0)
    return LayerReport(
        spec.name,
        spec.kind,
        delta.changed,
        len(delta.removed),
        blob.raw_size,
        blob.descriptor,
        blob.diff_id,
        packages=planned.packages,
    )


def _assemble(config: Config, base: Base, layers: list[LayerReport], method: Method) -> tuple[BuildReport, NewImage]:
    digest = base.image.descriptor.digest if base.image else None
    revision = find_revision(config.labels_from) if config.labels_from else None
    auto = automatic(config.auto_labels, revision, config.epoch, int(time.time()), str(digest or ""))
    added = [
        Added(layer.blob, layer.diff_id, f"oe-oci: layer {layer.name} ({layer.kind})")
        for layer in layers
        if layer.blob is not None and layer.diff_id is not None
    ]
    image = make_image(base.image, added, config, auto)
    report = BuildReport(
        names=config.names,
        platform=config.platform,
        manifest=image.descriptor,
        config=image.config_descriptor.digest,
        created=auto.created,
        compressor=method.identity,
        base=digest,
        base_layers=len(base.image.layers) if base.image else 0,
        layers=tuple(layers),
        layout=layout_output(config.names).name,
        archives={},
        archive_compressor={},
        notes=config.notes,
    )
    return report, image


def _write_layout(layout: str, image: NewImage, config: Config) -> None:
    write_documents(
        layout,
        {
            f"blobs/sha256/{image.config_descriptor.digest.hex}": image.config,
            f"blobs/sha256/{image.descriptor.digest.hex}": image.manifest,
            "oci-layout": LAYOUT_FILE,
            "index.json": make_index(image, config.names, config.platform),
        },
    )


def archive_method(config: Config) -> Method:
    """How archives are compressed: by the pinned compressor where it can."""
    algorithm = {"": "none", "gz": "gzip", "zst": "zstd"}[config.archive_compression]
    pinned = config.compression.compressor if config.compression.algorithm == algorithm else "auto"
    return choose(Compression(algorithm, _ARCHIVE_LEVELS[algorithm], pinned), "OCI_IMAGE_TAR_COMPRESSION")


def _archives(stage: str, image: NewImage, config: Config, method: Method, options: Options) -> dict[str, ArchiveFacts]:
    if not config.archives:
        return {}
    options.status("archives")
    docker = make_docker_manifest(image, config.names)
    return write_archives(stage, config.names, docker, method, jobs=options.jobs, epoch=config.epoch or 0)
