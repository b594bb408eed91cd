# SPDX-License-Identifier: MIT
"""Reports of builds and plans as text for people."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .tables import size, table

if TYPE_CHECKING:
    from .preview import Preview
    from .report import BuildReport


def build_text(report: BuildReport, deploy_dir: str) -> str:
    """What was built, and where it is."""
    rows = [
        (
            layer.name,
            layer.kind,
            str(layer.changed),
            str(layer.removed),
            size(layer.raw_size),
            size(layer.blob.size) if layer.blob else "",
            str(layer.blob.digest)[:19] if layer.blob else layer.note,
        )
        for layer in report.layers
    ]
    head = ("LAYER", "TYPE", ">CHANGED", ">REMOVED", ">SIZE", ">BLOB", "DIGEST")
    lines = [f"{report.names.full} ({report.platform}) {report.manifest.digest}"]
    if report.base is not None:
        lines.append(f"on {report.base_layers} layers of the base image {report.base}")
    lines += ["", table(head, rows), ""]
    lines += [os.path.join(deploy_dir, name) for name in (report.layout, *report.archives)]
    return "\n".join([*lines, *(f"note: {note}" for note in report.notes)])


def plan_text(plan: Preview) -> str:
    """What would be built."""
    names = plan.config.names
    rows = [
        (
            layer.name,
            layer.kind,
            "?" if layer.changed is None else str(layer.changed),
            str(len(layer.removed)),
            "?" if layer.size is None else size(layer.size),
            layer.note or " ".join(layer.content),
        )
        for layer in plan.layers
    ]
    lines = [f"{names.full} ({plan.config.platform})"]
    if plan.base is not None:
        lines.append(f"on {plan.base_layers} layers of the base image {plan.base}")
    lines += ["", table(("LAYER", "TYPE", ">CHANGED", ">REMOVED", ">SIZE", "CONTENT"), rows), ""]
    lines.append("compressor: " + " ".join(f"{key} {value}" for key, value in plan.compressor.items()))
    lines.append("outputs: " + " ".join(plan.outputs))
    return "\n".join([*lines, *(f"note: {note}" for note in plan.config.notes)])
