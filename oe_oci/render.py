# SPDX-License-Identifier: MIT
"""Reports of builds and plans as text for people."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .tables import size, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .packages.installation import InstalledPackage, LayerPackages
    from .preview import LayerPreview, Preview
    from .report import BuildReport, LayerReport


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
        lines.append(f"on {len(report.base_diff_ids)} layers of the base image {report.base}")
    lines += ["", table(head, rows), "", *_cache_text(report.layers)]
    lines += _manager_text(report.package_manager)
    silent = [one.name for layer in report.layers if layer.packages for one in layer.packages.new if one.scripts]
    if silent:
        lines += [f"scripts of {len(silent)} packages did not run: {' '.join(silent)}", ""]
    lines += [os.path.join(deploy_dir, name) for name in (report.layout, *report.archives)]
    return "\n".join([*lines, *(f"note: {note}" for note in report.notes)])


def plan_text(plan: Preview) -> str:
    """What would be built."""
    names = plan.config.names
    rows = [
        (
            layer.name,
            layer.kind,
            str(layer.changed),
            str(len(layer.removed)),
            size(layer.size),
            layer.note or " ".join(layer.content),
        )
        for layer in plan.layers
    ]
    lines = [f"{names.full} ({plan.config.platform})"]
    if plan.base is not None:
        lines.append(f"on {plan.base_layers} layers of the base image {plan.base}")
    lines += [
        "",
        table(("LAYER", "TYPE", ">CHANGED", ">REMOVED", ">SIZE", "CONTENT"), rows),
        "",
        *_cache_text(plan.layers),
    ]
    for layer in plan.layers:
        if layer.packages is not None:
            lines += _packages_text(layer.name, layer.packages)
    lines += _manager_text(plan.package_manager)
    lines.append("compressor: " + " ".join(f"{key} {value}" for key, value in plan.compressor.items()))
    lines.append("outputs: " + " ".join(plan.outputs))
    return "\n".join([*lines, *(f"note: {note}" for note in plan.notes)])


def _cache_text(layers: Sequence[LayerReport | LayerPreview]) -> list[str]:
    """Which layers need not be made, and why the others must be."""
    verdicts = [(layer.name, layer.cache) for layer in layers if layer.cache is not None]
    rows = [(name, "hit" if verdict.hit else f"miss: {verdict.reason}") for name, verdict in verdicts]
    return [table(("LAYER", "CACHE"), rows), ""] if rows else []


def _manager_text(tool: Mapping[str, str]) -> list[str]:
    """What installs packages, where that is another program."""
    words = (tool["name"], *(f"{key} {value}" for key, value in tool.items() if key != "name")) if tool else ()
    return [f"package manager: {' '.join(words)}"] if len(words) > 1 else []


def _packages_text(layer: str, packages: LayerPackages) -> list[str]:
    """The packages of a layer, in the order of installation, what asked for each, and what lies below already."""
    lines = []
    if packages.new:
        rows = [(one.name, one.version, one.arch, size(one.unpacked), _remark(one)) for one in packages.new]
        lines += [f"packages of layer {layer}:", table(("PACKAGE", "VERSION", "ARCH", ">SIZE", "ASKED BY"), rows), ""]
    if packages.below:
        lines += [f"below layer {layer} already: {' '.join(packages.below)}", ""]
    return lines


def _remark(package: InstalledPackage) -> str:
    remarks = [package.asked_by or "the layer"]
    if package.replaces:
        other = " " in package.replaces  # has another name
        remarks.append(f"{'takes the place of' if other else 'upgrade from'} {package.replaces}")
    if package.scripts:
        remarks.append(f"not run: {', '.join(package.scripts)}")
    return "; ".join(remarks)
