# SPDX-License-Identifier: MIT
"""An image made of a base's manifest and config, new layers and what the configuration says. Pure: no I/O.

Follows config.md, manifest.md and image-index.md of the OCI image specification;
`docs/explanation/base-images.md` has the rules of what is inherited.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InputError
from ..labels import Automatic, inherited
from .spec import CONFIG, FULL_NAME, INDEX, LAYER_TYPES, MANIFEST, REF_NAME, Descriptor, Digest, Platform, to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..config import Config, Names, RunConfig
    from .layout import Image

MAX_LAYERS = 125  # Docker refuses more, and podman can not mount more
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What Docker's own format says of the container an image was committed from.
_LEGACY_KEYS = ("container", "container_config", "docker_version", "id", "parent", "throwaway")


class Added(NamedTuple):
    """A layer put on top: its blob's descriptor, its diff ID, and the line of history that tells of it."""

    descriptor: Descriptor
    diff_id: Digest
    created_by: str


class NewImage(NamedTuple):
    """An image's documents, as bytes, with their descriptors, and its layers from the base up."""

    config: bytes
    config_descriptor: Descriptor
    manifest: bytes
    descriptor: Descriptor
    layers: tuple[Descriptor, ...]


class Loadable(NamedTuple):
    """An image in an archive, by its config and its layers from the base up, and the full names it is to have."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    names: tuple[str, ...]


def make_image(base: Image | None, added: Sequence[Added], wanted: Config, automatic: Automatic) -> NewImage:
    """The config and manifest of `added` layers on top of `base`.

    Raises:
        InputError: more layers than runtimes take, or the base contradicts itself.
    """
    below = tuple(_as_oci(layer) for layer in base.layers) if base else ()
    layers = below + tuple(layer.descriptor for layer in added)
    check_layers(len(below), len(added))
    config = to_bytes(_config(base, added, wanted, automatic))
    config_descriptor = _describe(CONFIG, config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config_descriptor.to_json(),
        "layers": [layer.to_json() for layer in layers],
        "annotations": _annotations(wanted, automatic),
    }
    if not manifest["annotations"]:
        del manifest["annotations"]
    data = to_bytes(manifest)
    return NewImage(config, config_descriptor, data, _describe(MANIFEST, data), layers)


def check_layers(below: int, added: int) -> None:
    """Raises InputError for more layers than runtimes take, `below` of them the base's, or for none at all."""
    if below + added > MAX_LAYERS:
        raise InputError(
            f"the image has {below + added} layers, {below} of them of the base; runtimes take at most {MAX_LAYERS}",
            hint="put paths together in fewer entries of OCI_LAYERS",
        )
    if not below + added:
        raise InputError("every layer is empty, and there is no base image: nothing to build")


def _annotations(wanted: Config, automatic: Automatic) -> dict[str, str]:
    """The automatic ones, with the values that labels of the same keys were given, and those asked for."""
    given = {key: value for key, value in wanted.run.labels or () if key in automatic.annotations}
    return {**automatic.annotations, **given, **dict(wanted.annotations)}


def make_index(image: NewImage, names: Names, platform: Platform) -> bytes:
    """The layout's index.json: one entry, found by its tag and, in containerd, by its full name."""
    entry = image.descriptor._replace(platform=platform, annotations={REF_NAME: names.tag, FULL_NAME: names.full})
    return to_bytes({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry.to_json()]})


def make_docker_manifest(images: Iterable[Loadable]) -> bytes:
    """The manifest.json by which `docker load` and podman find an archive's images and their names."""

    def path(descriptor: Descriptor) -> str:
        return f"blobs/{descriptor.digest.algorithm}/{descriptor.digest.hex}"

    entries = (
        {"Config": path(image.config), "RepoTags": list(image.names), "Layers": [path(layer) for layer in image.layers]}
        for image in images
    )
    return b"[" + b",".join(map(to_bytes, entries)) + b"]"


def _describe(media_type: str, data: bytes) -> Descriptor:
    return Descriptor(media_type, Digest("sha256", hashlib.sha256(data).hexdigest()), len(data))


def _as_oci(layer: Descriptor) -> Descriptor:
    return layer._replace(media_type=LAYER_TYPES[layer.media_type])


def _config(base: Image | None, added: Sequence[Added], wanted: Config, automatic: Automatic) -> dict[str, Any]:
    platform = wanted.platform
    below = {key: value for key, value in base.config.items() if key not in _LEGACY_KEYS} if base else {}
    config = {**below, "created": automatic.created, "os": platform.os, "architecture": platform.architecture}
    config.pop("variant", None)
    if platform.variant:
        config["variant"] = platform.variant
    if wanted.author:
        config["author"] = wanted.author
    diff_ids = [str(digest) for digest in base.diff_ids] if base else []
    config["rootfs"] = {"type": "layers", "diff_ids": diff_ids + [str(layer.diff_id) for layer in added]}
    config["history"] = _history(base) + [
        {"created": automatic.created, "created_by": layer.created_by} for layer in added
    ]
    config["config"] = _run(below.get("config") or {}, wanted.run, automatic)
    return config


def _history(base: Image | None) -> list[Any]:
    """The base's history, with an entry for each of its layers: some builders write fewer, Docker refuses more."""
    if base is None:
        return []
    history = list(base.config.get("history") or [])
    missing = len(base.layers) - sum(1 for entry in history if not entry.get("empty_layer"))
    if missing < 0:
        raise InputError(f"base image {base.descriptor.digest}: its history tells of more layers than it has")
    return history + [{"comment": "a layer of the base image without history"}] * missing


def _run(below: Mapping[str, Any], run: RunConfig, automatic: Automatic) -> dict[str, Any]:
    config = dict(below)
    _command(config, run)
    for key, value in (("User", run.user), ("WorkingDir", run.workdir), ("StopSignal", run.stop_signal)):
        _set(config, key, config.get(key) if value is None else value)
    for key, words in (("ExposedPorts", run.ports), ("Volumes", run.volumes)):
        kept = {} if words == () else config.get(key) or {}
        _set(config, key, {**kept, **{word: {} for word in words or ()}})
    _set(config, "Env", _env((config.get("Env") or []) if run.env != () else [], run.env or ()))
    kept = inherited(config.get("Labels") or {}) if run.labels != () else {}
    _set(config, "Labels", {**kept, **automatic.labels, **dict(run.labels or ())})
    return config


def _command(config: dict[str, Any], run: RunConfig) -> None:
    cmd = run.cmd
    if run.entrypoint and cmd is None:
        # What the base's own entry point was given as arguments means nothing to another one.
        cmd = ()
    for key, words in (("Entrypoint", run.entrypoint), ("Cmd", cmd)):
        if words is not None:
            _set(config, key, list(words))
    if run.cmd is None and not config.get("Entrypoint") and not config.get("Cmd"):
        _set(config, "Cmd", list(run.default_cmd))


def _env(below: Sequence[str], own: Sequence[tuple[str, str]]) -> list[str]:
    """The base's variables in their order, replaced where there is a new value, then the new ones; always a PATH."""
    values = {line.partition("=")[0]: line for line in below}
    values.update((key, f"{key}={value}") for key, value in own)
    return list(values.values()) if "PATH" in values else [DEFAULT_PATH, *values.values()]


def _set(config: dict[str, Any], key: str, value: Any) -> None:
    if value:
        config[key] = value
    else:
        config.pop(key, None)
