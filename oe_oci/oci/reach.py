# SPDX-License-Identifier: MIT
"""What an image layout's index leads to: its blobs, and its images by their names.

Must not know how the layout came to be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import InputError
from .layout import Image, images, read_image
from .spec import (
    CONFIG,
    DOCKER_CONFIG,
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEX,
    MANIFEST,
    Descriptor,
    as_list,
    as_object,
    parse_json,
)

if TYPE_CHECKING:
    from ..content import Region
    from .layout import Layout


class Named(NamedTuple):
    """An image, and the entry of index.json that leads to it with the name it has there (ref.name), if any."""

    tag: str
    entry: Descriptor
    image: Image


def reachable(layout: Layout) -> dict[str, Region]:
    """Every blob that index.json leads to, by its path in the layout.

    Raises:
        InputError: one is missing, of another size, or a document is not what its descriptor says.
    """
    found: dict[str, Region] = {}
    index = parse_json(layout.document("index.json"), f"{layout.where}: index.json")
    pending = _descriptors(index, f"{layout.where}: index.json", "manifests")
    while pending:
        descriptor = pending.pop()
        name = f"blobs/{descriptor.digest.algorithm}/{descriptor.digest.hex}"
        if name in found:
            continue
        found[name] = layout.region(name)
        if found[name].size != descriptor.size:
            raise InputError(
                f"{layout.where}: {name} has {found[name].size} bytes, its descriptor says {descriptor.size}"
            )
        where = f"{layout.where}: {descriptor.digest}"
        if descriptor.media_type in (INDEX, DOCKER_INDEX):
            pending += _descriptors(parse_json(layout.verified(descriptor), where), where, "manifests")
        elif descriptor.media_type in (MANIFEST, DOCKER_MANIFEST, ""):
            manifest = parse_json(layout.verified(descriptor), where)
            pending += _descriptors(manifest, where, "layers")
            pending.append(Descriptor.from_json(manifest.get("config"), f"{where}: config"))
    return found


def named_images(layout: Layout) -> list[Named]:
    """The images that index.json leads to, artifacts left out, each as often as it is named.

    Raises:
        InputError: a document is missing, damaged or contradicts another.
    """
    found = []
    for tag, entry in images(layout):
        where = f"{layout.where}: {entry.digest}"
        config = as_object(parse_json(layout.verified(entry), where).get("config"), f"{where}: config")
        if config.get("mediaType") in (CONFIG, DOCKER_CONFIG, None):
            found.append(Named(tag, entry, read_image(layout, entry)))
    return found


def _descriptors(document: dict[str, object], where: str, key: str) -> list[Descriptor]:
    listed = as_list(document, key, where)
    return [Descriptor.from_json(value, f"{where}: {key}[{number}]") for number, value in enumerate(listed)]
