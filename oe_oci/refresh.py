# SPDX-License-Identifier: MIT
"""Archives and report of an image made anew, after somebody changed its layout in the deploy folder.

The layout is theirs from then on: it is taken as it is, and what index.json leads to no more stays where it is. Must
not know how layers are made.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from .build import archive_method
from .content import Literal
from .errors import InputError
from .oci.image import Loadable, make_docker_manifest
from .oci.layout import Layout, open_layout
from .oci.reach import Named, named_images, reachable
from .oci.spec import (
    FULL_NAME,
    INDEX,
    MANIFEST,
    REF_NAME,
    Digest,
    Platform,
    as_list,
    as_object,
    as_text,
    parse_json,
)
from .outputs import Archives, layout_output, publish, report_output, share
from .report import report_bytes
from .staging import staging

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .archive import ArchiveFacts
    from .compress import Method
    from .config import Config, Names
    from .content import Content
    from .inputs import Options
    from .oci.layout import Image

_NOTE = "the layout was changed after the build, which had made"


def refresh(config: Config, options: Options) -> dict[str, Any] | None:
    """Make archives and report anew where the layout is another one than the build wrote, or the last refresh.

    The report tells of layers what is known of them still. What another tool wrote in the layout becomes readable to
    all, as outputs are; nothing else of the layout changes. Returns the report, None where nothing was to be done.

    Raises:
        InputError: index.json, or what it leads to, is missing or damaged, or there is no report of a build.
        ToolError: the disk, a permission or a program failed. In both cases archives and report are as they were.
    """
    method = archive_method(config)
    path = os.path.join(config.deploy_dir, layout_output(config.names).name)
    with staging(config.deploy_dir, config.names.base) as stage, open_layout(path) as layout:
        before = _read_report(config)
        if _is_as_written(layout, before, config):
            return None
        blobs = reachable(layout)
        found = named_images(layout)
        chosen = _chosen(layout, found, config.names.tag)
        archives: dict[str, ArchiveFacts] = {}
        if config.archives:
            options.status("archives")
            docker = make_docker_manifest(_loadable([chosen, *found], config.names))
            files: dict[str, Content] = {name: layout.region(name) for name in ("oci-layout", "index.json")}
            files.update(blobs, **{"manifest.json": Literal(docker)})
            with Archives(stage, config.names, method, jobs=options.jobs, epoch=config.epoch or 0) as both:
                archives = both.finish(dict(sorted(files.items())))
        report = _report(before, chosen, config, archives, method)
        share(path, ["oci-layout", "index.json", *blobs])
        publish(stage, config.deploy_dir, config.names, archives, report_bytes(report))
    return report


def _read_report(config: Config) -> dict[str, Any]:
    name = report_output(config.names).name
    path = os.path.join(config.deploy_dir, name)
    try:
        with open(path, "rb") as file:
            return parse_json(file.read(), path)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no report of a build", hint="build the image again") from None


def _is_as_written(layout: Layout, report: dict[str, Any], config: Config) -> bool:
    """Whether index.json says what a build writes of the image that the report tells of."""
    where = f"{layout.where}: index.json"
    index = parse_json(layout.document("index.json"), where)
    size = [as_object(entry, f"{where}: manifests").get("size") for entry in as_list(index, "manifests", where)]
    entry = {
        "mediaType": MANIFEST,
        "digest": _digest(report, config.names),
        "size": size[0] if size else 0,
        "platform": config.platform.to_json(),
        "annotations": {REF_NAME: config.names.tag, FULL_NAME: config.names.full},
    }
    return index == {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}


def _digest(report: dict[str, Any], names: Names) -> str:
    """The manifest's digest that a report tells."""
    where = f"{report_output(names).name}: image"
    return as_text(as_object(report.get("image"), where), "digest", where)


def _chosen(layout: Layout, found: Sequence[Named], tag: str) -> Named:
    """The image that the report is to tell of: the one with the build's tag, else the first."""
    if not found:
        raise InputError(f"{layout.where}: holds no image")
    return next((one for one in found if one.tag == tag), found[0])


def _full_name(one: Named, names: Names) -> str:
    """The name under which engines are to know an image."""
    own = one.entry.annotations.get(FULL_NAME, "")
    # A tool that adds a name to an image copies what else the entry says of it.
    if one.tag in ("", names.tag) or (own and own != names.full):
        return own or names.full
    if re.search(r"[/:]", one.tag):
        return one.tag if ":" in one.tag.rpartition("/")[2] else f"{one.tag}:latest"
    return f"{names.full.rpartition(':')[0]}:{one.tag}"


def _loadable(found: Sequence[Named], names: Names) -> Iterator[Loadable]:
    """Each image that has a name once, with its names; of several that have one name it is the first one's."""
    owner: dict[str, Digest] = {}
    for one in found:
        owner.setdefault(_full_name(one, names), one.entry.digest)
    for digest, image in {one.entry.digest: one.image for one in found}.items():
        own = tuple(name for name, other in owner.items() if other == digest)
        if own:
            yield Loadable(image.config_descriptor, image.layers, own)


def _report(
    before: dict[str, Any], chosen: Named, config: Config, archives: dict[str, ArchiveFacts], method: Method
) -> dict[str, Any]:
    image = chosen.image
    below = _base_layers(before, image)
    layers = _layers(before, image, below)
    known = _known_blobs(before)
    report: dict[str, Any] = {"image": _facts(chosen, config), "layers": layers}
    if "compressor" in before and all(layer.get("digest", "") in known for layer in layers):
        report["compressor"] = before["compressor"]
    report["outputs"] = {
        "layout": layout_output(config.names).name,
        "archives": {n: {"digest": f"sha256:{facts.digest}", "size": facts.size} for n, facts in archives.items()},
    }
    if archives:
        report["outputs"]["compressor"] = method.identity
    if "packageManager" in before and any("packages" in layer for layer in layers):
        report["packageManager"] = before["packageManager"]
    if below:
        report["base"] = before["base"]
    notes = [note for note in as_list(before, "notes", report_output(config.names).name) if isinstance(note, str)]
    if not any(note.startswith(_NOTE) for note in notes):
        notes.append(f"{_NOTE} {_digest(before, config.names)}")
    return {**report, "notes": notes}


def _facts(chosen: Named, config: Config) -> dict[str, Any]:
    fields = chosen.image.config
    texts = (fields.get(key) for key in ("os", "architecture", "variant"))
    platform = chosen.entry.platform or Platform(*(text if isinstance(text, str) else "" for text in texts))
    facts = {
        "name": _full_name(chosen, config.names),
        "tag": chosen.tag,
        "digest": str(chosen.entry.digest),
        "config": str(chosen.image.config_descriptor.digest),
        "platform": platform.to_json(),
    }
    created = fields.get("created")
    return {**facts, "created": created} if isinstance(created, str) else facts


def _base_layers(before: dict[str, Any], image: Image) -> int:
    """How many of the image's layers are those of the base that the report tells of: all of them, or none."""
    base = before.get("base")
    diff_ids = base.get("diffIds") if isinstance(base, dict) else None
    if not isinstance(diff_ids, list) or list(map(str, image.diff_ids[: len(diff_ids)])) != diff_ids:
        return 0
    return len(diff_ids)


def _known_blobs(before: dict[str, Any]) -> set[str]:
    return {"", *(str(layer.get("digest")) for layer in _former(before))}


def _former(before: dict[str, Any]) -> list[dict[str, Any]]:
    listed = as_list(before, "layers", "report")
    return [as_object(layer, f"report: layers[{number}]") for number, layer in enumerate(listed)]


def _layers(before: dict[str, Any], image: Image, below: int) -> list[dict[str, Any]]:
    """The image's layers above the base's, with what the report knew of those that are still the same.

    Those that the build left out are told of where they were.
    """
    left, found = _former(before), []
    for descriptor, diff_id in zip(image.layers[below:], image.diff_ids[below:]):
        known: dict[str, Any] = {}
        if any(layer.get("diffId") == str(diff_id) for layer in left):
            while not known:
                layer = left.pop(0)
                if "diffId" not in layer:
                    found.append(layer)
                elif layer["diffId"] == str(diff_id):
                    known = layer
        blob = {"digest": str(descriptor.digest), "mediaType": descriptor.media_type, "size": descriptor.size}
        found.append({**known, "diffId": str(diff_id), **blob})
    return found + [layer for layer in left if "diffId" not in layer]
