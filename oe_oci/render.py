# SPDX-License-Identifier: MIT
"""Reports as text for people: aligned tables, sizes in decimal units."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .preview import Preview
    from .report import BuildReport


def size(count: int) -> str:
    """A number of bytes as people read it: `999 B`, `1.5 kB`, `23.0 MB`."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.95 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{count} B" if units[0] == "B" else f"{value:.1f} {units[0]}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under their headings; those whose heading begins with `>` are aligned to the right."""
    names = [name.lstrip(">") for name in head]
    widths = [max(len(row[number]) for row in [names, *rows]) for number in range(len(head))]
    lines = []
    for row in [names, *rows]:
        cells = [
            cell.rjust(width) if name.startswith(">") else cell.ljust(width)
            for cell, width, name in zip(row, widths, head)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


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
