# SPDX-License-Identifier: MIT
"""What a stored image is, for people and programs: its names, layers with their sizes, and config.

Must not know how images are made.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

from .oci.layout import find_image, images, open_layout, read_image
from .oci.spec import FULL_NAME, LAYER_TYPES, Platform, as_list, as_object, as_text, as_texts
from .stored import layer_facts
from .tables import size, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .oci.spec import Descriptor, Digest
    from .stored import StoredLayer

_SHOWN = 12  # digits of a digest in a table, as docker and podman have it


class Listed(NamedTuple):
    """One of several images; `platform` is None where the layout does not state it."""

    name: str
    platform: Platform | None
    digest: Digest


class Listing(NamedTuple):
    """The images a layout holds, where it was not said which one is meant."""

    layout: str
    images: tuple[Listed, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "layout": self.layout,
            "images": [
                {
                    "name": image.name,
                    "platform": None if image.platform is None else image.platform.to_json(),
                    "digest": str(image.digest),
                }
                for image in self.images
            ],
        }


class Runtime(NamedTuple):
    """What a container made from the image runs, and how."""

    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    env: tuple[str, ...]
    user: str
    workdir: str
    ports: tuple[str, ...]
    volumes: tuple[str, ...]
    labels: Mapping[str, str]
    stop_signal: str

    def to_json(self) -> dict[str, Any]:
        value = self._asdict()
        value["stopSignal"] = value.pop("stop_signal")
        return {**value, "labels": dict(self.labels)}


class Inspection(NamedTuple):
    """One image. `names` are the layout's own and the full ones; `created` is the config's text."""

    layout: str
    names: tuple[str, ...]
    digest: Digest
    platform: Platform
    created: str
    layers: tuple[StoredLayer, ...]
    runtime: Runtime
    annotations: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        return {
            "layout": self.layout,
            "names": list(self.names),
            "digest": str(self.digest),
            "platform": self.platform.to_json(),
            "created": self.created,
            "layers": [
                {
                    "mediaType": layer.descriptor.media_type,
                    "size": layer.descriptor.size,
                    "uncompressedSize": layer.size,
                    "entries": layer.entries,
                    "digest": str(layer.descriptor.digest),
                    "diffId": str(layer.diff_id),
                    "createdBy": layer.created_by,
                }
                for layer in self.layers
            ],
            "total": dict(zip(("size", "uncompressedSize", "entries"), _totals(self.layers))),
            "config": self.runtime.to_json(),
            "annotations": dict(self.annotations),
        }


def inspect(
    path: str, tag: str | None, *, platform: Platform | None = None, limit: int | None = None
) -> Inspection | Listing:
    """Describe an image; where a layout holds several that fit and no platform was named, list them.

    Every layer is read, so that what is said of it is so and not only what the manifest claims.

    Raises:
        InputError: there is no such image, or it is damaged.
        ToolError: a file can not be read.
    """
    with open_layout(path, limit=limit) as layout:
        found = images(layout)
        fitting = [(name, d) for name, d in found if tag is None or tag in (name, name.rpartition(":")[2])]
        if platform is None and len({d.digest for _, d in fitting}) > 1:
            return Listing(layout.where, tuple(Listed(name, d.platform, d.digest) for name, d in fitting))
        descriptor = find_image(layout, tag, platform)
        image = read_image(layout, descriptor)
        where = f"{layout.where}: {image.config_descriptor.digest}"
        return Inspection(
            layout.where,
            _names(found, descriptor.digest),
            descriptor.digest,
            Platform(*(as_text(image.config, key, where, "") for key in ("os", "architecture", "variant"))),
            as_text(image.config, "created", where, ""),
            layer_facts(layout, image, limit=limit),
            _runtime(as_object(image.config.get("config") or {}, f"{where}: config"), f"{where}: config"),
            as_texts(image.manifest, "annotations", f"{layout.where}: {descriptor.digest}"),
        )


def _names(found: Iterable[tuple[str, Descriptor]], digest: Digest) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for name, descriptor in found:
        if descriptor.digest == digest:
            names.update({name: None, descriptor.annotations.get(FULL_NAME, ""): None})
    return tuple(name for name in names if name)


def _runtime(fields: Mapping[str, Any], where: str) -> Runtime:
    def texts(key: str) -> tuple[str, ...]:
        return tuple(as_text({key: value}, key, where) for value in as_list(fields, key, where))

    def keys(key: str) -> tuple[str, ...]:
        return tuple(sorted(as_object(fields.get(key) or {}, f"{where}.{key}")))

    return Runtime(
        texts("Entrypoint"),
        texts("Cmd"),
        texts("Env"),
        as_text(fields, "User", where, ""),
        as_text(fields, "WorkingDir", where, ""),
        keys("ExposedPorts"),
        keys("Volumes"),
        as_texts(fields, "Labels", where),
        as_text(fields, "StopSignal", where, ""),
    )


def _totals(layers: Iterable[StoredLayer]) -> tuple[int, int, int]:
    rows = [(layer.descriptor.size, layer.size, layer.entries) for layer in layers]
    return sum(row[0] for row in rows), sum(row[1] for row in rows), sum(row[2] for row in rows)


def render(found: Inspection | Listing) -> str:
    """The description as text for people."""
    return "\n".join(_listing_lines(found) if isinstance(found, Listing) else _image_lines(found))


def _listing_lines(listing: Listing) -> Iterator[str]:
    yield f"{_line(listing.layout)}: {len(listing.images)} images"
    yield ""
    rows = [(_line(i.name) or "-", _line(str(i.platform or "-")), str(i.digest)) for i in listing.images]
    yield table(("NAME", "PLATFORM", "DIGEST"), rows)


def _image_lines(image: Inspection) -> Iterator[str]:
    facts = [("Layout", image.layout), *(("Name", name) for name in image.names), ("Digest", str(image.digest))]
    facts += [("Platform", str(image.platform)), ("Created", image.created)]
    yield from _pairs(facts)
    yield ""
    rows: list[tuple[str, ...]] = [_layer_row(number, layer) for number, layer in enumerate(image.layers)]
    stored, unpacked, entries = _totals(image.layers)
    rows.append(("total", "", size(stored), size(unpacked), str(entries), "", "", ""))
    yield table(("LAYER", "TYPE", ">SIZE", ">UNPACKED", ">ENTRIES", "DIGEST", "DIFF ID", "CREATED BY"), rows)
    runtime = image.runtime
    settings = [
        ("Entrypoint", shlex.join(runtime.entrypoint)),
        ("Cmd", shlex.join(runtime.cmd)),
        ("User", runtime.user),
    ]
    settings += [("Workdir", runtime.workdir), ("Stop signal", runtime.stop_signal)]
    settings += [("Port", port) for port in runtime.ports] + [("Volume", volume) for volume in runtime.volumes]
    settings += [("Env", text) for text in runtime.env]
    settings += [("Label", f"{key}={value}") for key, value in sorted(runtime.labels.items())]
    settings += [("Annotation", f"{key}={value}") for key, value in sorted(image.annotations.items())]
    if any(value for _, value in settings):
        yield ""
        yield from _pairs(settings)


def _layer_row(number: int, layer: StoredLayer) -> tuple[str, ...]:
    kind = LAYER_TYPES[layer.descriptor.media_type].rpartition(".")[2]
    docker = " (docker)" if ".docker." in layer.descriptor.media_type else ""
    return (
        str(number),
        kind + docker,
        size(layer.descriptor.size),
        size(layer.size),
        str(layer.entries),
        layer.descriptor.digest.hex[:_SHOWN],
        layer.diff_id.hex[:_SHOWN],
        _line(layer.created_by)[:100],
    )


def _pairs(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Names and values in two columns, a name once for the values that follow each other; none for empty values."""
    kept = [(name, _line(value)) for name, value in pairs if value]
    width = max((len(name) for name, _ in kept), default=0)
    last = ""
    for name, value in kept:
        yield f"{'' if name == last else name:<{width}}  {value}"
        last = name


def _line(text: str) -> str:
    """Text on one line; what an image brings must not steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
