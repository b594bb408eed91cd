# SPDX-License-Identifier: MIT
"""Everything an image layout says of itself, derived again from the bytes; every contradiction is listed.

Shares no code with what writes layouts, tars and compressed blobs. Must not know how an image came to be, or what
consumers make of it (`lint`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import decompress
from ..ahead import side_by_side
from ..content import pieces
from ..errors import InputError
from .layout import Layout, open_layout, tagged
from .rehash import Tee, Unpacked, unpack_layer, within
from .spec import (
    CONFIG,
    DOCKER_CONFIG,
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    FULL_NAME,
    INDEX,
    JSON_LIMIT,
    LAYER_TYPES,
    MANIFEST,
    REF_NAME,
    Descriptor,
    Digest,
    Platform,
    parse_json,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..content import Region

_Layer = tuple[Digest, str]  # a layer's digest, and the algorithm of its diff ID
_COMPRESSIONS = {"gzip": decompress.GZIP, "zstd": decompress.ZSTD}


class Violation(NamedTuple):
    """One fault: the rule it breaks; the blob, document or path in a layer it lies in; what is wrong."""

    rule: str
    where: str
    message: str


def verify(path: str, tag: str | None = None, *, limit: int | None = None) -> list[Violation]:
    """Every violation of a layout directory or archive; with `tag` only those of the image it names.

    A layer may unpack to `limit` bytes (default: what its size makes plausible).

    Raises:
        InputError: there is no layout at `path`, or none of its images has the tag.
        ToolError: a file can not be read, or a program that is needed is missing.
    """
    with open_layout(path, limit=limit, strict=False) as layout:
        check = _Verifier(layout, limit)
        if layout.damage:
            check.add("archive", path, within(InputError(layout.damage), path))
        if layout.names():
            check.run(tag)
        return list(dict.fromkeys(check.found))


class _Image(NamedTuple):
    platform: Platform | None
    config: str
    layers: tuple[str, ...]


class _Verifier:
    """Walks a layout from index.json down; a fault is added to `found`, and the walk goes on."""

    def __init__(self, layout: Layout, limit: int | None) -> None:
        self.found: list[Violation] = []
        self._layout = layout
        self._limit = limit
        self._hashed: set[Digest] = set()
        self._unpacked: dict[_Layer, Unpacked] = {}
        self._images: dict[Digest, _Image] = {}
        # By digest: the indexes that list it, and the names index.json gives it.
        self._parents: dict[Digest, set[Digest]] = {}
        self._annotations: dict[Digest, list[Mapping[str, str]]] = {}

    def add(self, rule: str, where: str, message: str) -> None:
        self.found.append(Violation(rule, where, message))

    def run(self, tag: str | None) -> None:
        names = self._layout.names()
        mark = self._top_document("oci-layout")
        version = "" if mark is None else mark.get("imageLayoutVersion")
        if mark is not None and version != "1.0.0":
            self.add("layout-version", "oci-layout", f"imageLayoutVersion is {version!r:.40}, not '1.0.0'")
        index = self._top_document("index.json")
        if index is not None:
            self._header(index, "index.json", INDEX)
            entries = self._descriptors(index, "manifests", "index.json")
            if tag is not None:
                named = [(descriptor.annotations.get(REF_NAME, ""), descriptor) for _, descriptor in entries]
                chosen = [descriptor for _, descriptor in tagged(self._layout.where, named, tag)]
                entries = [(place, descriptor) for place, descriptor in entries if descriptor in chosen]
            for _, descriptor in entries:
                self._annotations.setdefault(descriptor.digest, []).append(descriptor.annotations)
            self._walk(entries)
        if "manifest.json" in names:
            self._docker_manifest(whole=tag is None)
        if tag is None:
            self._other_blobs(names)

    def _top_document(self, name: str) -> dict[str, Any] | None:
        try:
            return parse_json(self._layout.document(name), name)
        except InputError as error:
            self.add("document", name, within(InputError(within(error, self._layout.where)), name))
            return None

    def _walk(self, entries: list[tuple[str, Descriptor]]) -> None:
        """Check what the entries name and what that names, in a list: how deep it goes is the input's choice."""
        pending = entries[::-1]
        seen: set[Digest] = set()
        while pending:
            place, descriptor = pending.pop()
            if descriptor.digest in seen:
                self._region(descriptor, place)
            elif descriptor.media_type in (INDEX, DOCKER_INDEX):
                pending.extend(reversed(self._index(descriptor, place)))
            elif descriptor.media_type in (MANIFEST, DOCKER_MANIFEST, ""):
                self._manifest(descriptor, place)
            else:
                self._blob(descriptor, place)
            seen.add(descriptor.digest)
            self._platform(descriptor, place)

    def _index(self, descriptor: Descriptor, place: str) -> list[tuple[str, Descriptor]]:
        document = self._document(descriptor, place)
        if document is None:
            return []
        self._header(document, str(descriptor.digest), descriptor.media_type)
        inner = self._descriptors(document, "manifests", str(descriptor.digest))
        for _, child in inner:
            self._parents.setdefault(child.digest, set()).add(descriptor.digest)
        return inner

    def _manifest(self, descriptor: Descriptor, place: str) -> None:
        document = self._document(descriptor, place)
        if document is None:
            return
        at = str(descriptor.digest)
        self._header(document, at, descriptor.media_type or MANIFEST)
        config = self._descriptor(document.get("config"), f"{at}: config")
        layers = self._descriptors(document, "layers", at)
        if config is None or config.media_type in (CONFIG, DOCKER_CONFIG):
            self._image(descriptor.digest, config, layers)
        elif any(_layer_type(layer) for _, layer in layers):
            self.add("config-type", f"{at}: config", f"mediaType is {config.media_type!r:.100}, not {CONFIG!r}")
            self._image(descriptor.digest, config, layers)
        else:  # An artifact: what its blobs hold is its own matter.
            for part, blob in [(f"{at}: config", config), *layers]:
                self._blob(blob, part)

    def _image(self, digest: Digest, config: Descriptor | None, layers: list[tuple[str, Descriptor]]) -> None:
        fields = self._document(config, f"{digest}: config") if config is not None else None
        diff_ids: list[Digest | None] = []
        platform = None
        if config is not None and fields is not None:
            diff_ids = self._config(fields, str(config.digest), len(layers))
            texts = [str(fields.get(key) or "") for key in ("os", "architecture", "variant")]
            platform = Platform(*texts)
        diff_ids = [*diff_ids, *[None] * len(layers)][: len(layers)]
        self._unpack([layer for _, layer in layers], diff_ids)
        for (place, layer), diff_id in zip(layers, diff_ids):
            self._layer(layer, place, diff_id)
        names = tuple(_blob_name(layer.digest) for _, layer in layers)
        self._images[digest] = _Image(platform, _blob_name(config.digest) if config else "", names)

    def _config(self, config: dict[str, Any], at: str, layers: int) -> list[Digest | None]:
        for key in ("architecture", "os"):
            if not isinstance(config.get(key), str) or not config[key]:
                self.add("config-fields", at, f"{key} is {config.get(key)!r:.40}")
        rootfs = config.get("rootfs")
        texts = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
        if not isinstance(rootfs, dict) or rootfs.get("type") != "layers" or not isinstance(texts, list):
            self.add("config-fields", at, "rootfs is not of the type 'layers' with an array of diff_ids")
            return []
        diff_ids: list[Digest | None] = []
        for number, text in enumerate(texts):
            try:
                diff_ids.append(Digest.parse(text if isinstance(text, str) else repr(text)))
            except InputError as error:
                diff_ids.append(None)
                self.add("config-fields", at, f"rootfs.diff_ids[{number}]: {error.message}")
        if len(texts) != layers:
            self.add("diff-id-count", at, f"lists {len(texts)} diff IDs, the manifest {layers} layers")
        self._history(config.get("history"), at, layers)
        return diff_ids

    def _history(self, history: object, at: str, layers: int) -> None:
        if history is None:
            return
        if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
            self.add("config-fields", at, "history is not an array of objects")
            return
        count = sum(not entry.get("empty_layer") for entry in history)
        if count != layers:
            self.add("history-count", at, f"history speaks of {count} layers, the manifest has {layers}")

    def _platform(self, descriptor: Descriptor, place: str) -> None:
        image = self._images.get(descriptor.digest)
        if descriptor.platform is None or image is None or image.platform is None:
            return
        if descriptor.platform.normal() != image.platform.normal():
            self.add("platform", place, f"says {descriptor.platform}, the config {image.platform}")

    def _unpack(self, layers: list[Descriptor], diff_ids: list[Digest | None]) -> None:
        """Read the layers that are there and were not read before."""
        wanted: dict[_Layer, Region] = {}
        for layer, diff_id in zip(layers, diff_ids):
            key = _key(layer, diff_id)
            if _layer_type(layer) and key not in self._unpacked:
                with contextlib.suppress(InputError):
                    wanted[key] = self._layout.blob(layer.digest)

        def unpack(item: tuple[_Layer, Region]) -> Unpacked:
            (digest, algorithm), region = item
            return unpack_layer(region, str(digest), (digest.algorithm, algorithm), self._limit)

        self._unpacked.update(zip(wanted, side_by_side(unpack, wanted.items())))

    def _layer(self, layer: Descriptor, place: str, diff_id: Digest | None) -> None:
        media_type = _layer_type(layer)
        if ".nondistributable." in layer.media_type or ".foreign." in layer.media_type:
            try:
                self._layout.blob(layer.digest)
            except InputError:
                return  # Its bytes are where its URLs say.
        if not media_type:
            self._blob(layer, place)
            return
        region = self._region(layer, place)
        if region is None:
            return
        at = str(layer.digest)
        done = self._unpacked[_key(layer, diff_id)]
        self._compare(layer.digest, done.stored)
        expected = _COMPRESSIONS.get(media_type.rpartition("+")[2], decompress.NONE)
        if done.compression != expected and region.size:
            self.add("compression", place, f"mediaType {layer.media_type} means {expected}, found {done.compression}")
        if done.fault:
            self.add("compression", at, done.fault)
        elif diff_id is not None and done.plain != diff_id.hex:
            self.add("diff-id", at, f"unpacks to {diff_id.algorithm}:{done.plain}, the config says {diff_id}")
        if done.tar_fault:
            self.add("tar", at, done.tar_fault)

    def _header(self, document: dict[str, Any], where: str, media_type: str) -> None:
        version = document.get("schemaVersion")
        if type(version) is not int or version != 2:
            self.add("schema-version", where, f"schemaVersion is {version!r:.40}, not 2")
        found = document.get("mediaType")
        if found is not None and found != media_type:
            self.add("media-type", where, f"mediaType is {found!r:.100}, not {media_type!r}")

    def _descriptors(self, document: dict[str, Any], key: str, where: str) -> list[tuple[str, Descriptor]]:
        values = document.get(key)
        if not isinstance(values, list):
            self.add("descriptor", where, f"{key} is {values!r:.40}, not an array")
            return []
        places = [f"{where}: {key}[{number}]" for number in range(len(values))]
        found = [(place, self._descriptor(value, place)) for place, value in zip(places, values)]
        return [(place, descriptor) for place, descriptor in found if descriptor is not None]

    def _descriptor(self, value: object, place: str) -> Descriptor | None:
        try:
            descriptor = Descriptor.from_json(value, place)
        except InputError as error:
            self.add("descriptor", place, within(error, place))
            return None
        if not descriptor.media_type:
            self.add("media-type", place, "the descriptor has no mediaType")
        return descriptor

    def _region(self, descriptor: Descriptor, place: str) -> Region | None:
        try:
            region = self._layout.blob(descriptor.digest)
        except InputError as error:
            self.add("missing-blob", place, within(error, self._layout.where))
            return None
        if region.size != descriptor.size:
            self.add("size", place, f"says {descriptor.size} bytes, {descriptor.digest} has {region.size}")
        return region

    def _compare(self, digest: Digest, found: str) -> None:
        self._hashed.add(digest)
        if digest.hex != found:
            self.add("digest", str(digest), f"its bytes have the digest {digest.algorithm}:{found}")

    def _hash(self, digest: Digest, region: Region) -> None:
        if digest not in self._hashed:
            self._compare(digest, Tee(pieces(region), digest.algorithm).finish())

    def _blob(self, descriptor: Descriptor, place: str) -> None:
        region = self._region(descriptor, place)
        if region is not None:
            self._hash(descriptor.digest, region)

    def _document(self, descriptor: Descriptor, place: str) -> dict[str, Any] | None:
        region = self._region(descriptor, place)
        if region is None:
            return None
        at = str(descriptor.digest)
        if region.size > JSON_LIMIT:
            self.add("document", at, f"is larger than {JSON_LIMIT} bytes")
            self._hash(descriptor.digest, region)
            return None
        data = b"".join(bytes(piece) for piece in pieces(region))
        self._compare(descriptor.digest, hashlib.new(descriptor.digest.algorithm, data).hexdigest())
        try:
            return parse_json(data, at)
        except InputError as error:
            self.add("document", at, within(error, at))
            return None

    def _other_blobs(self, names: list[str]) -> None:
        """Blobs nothing refers to: they may stay, but a wrong one can be taken for a right one later."""
        for name in names:
            _, _, digest_name = name.partition("blobs/")
            if not digest_name.startswith(("sha256/", "sha512/")):
                continue
            try:
                digest = Digest.parse(digest_name.replace("/", ":"))
                self._hash(digest, self._layout.blob(digest))
            except InputError as error:
                self.add("blob-name", name, within(error, self._layout.where))

    def _docker_manifest(self, *, whole: bool) -> None:
        try:
            entries = json.loads(self._layout.document("manifest.json").decode("utf-8"))
        except (InputError, ValueError, RecursionError) as error:
            self.add("docker-manifest", "manifest.json", f"can not be read: {str(error)[:120]}")
            return
        for number, entry in enumerate(entries if isinstance(entries, list) else [entries]):
            place = f"manifest.json[{number}]"
            fields = entry if isinstance(entry, dict) else {}
            fitting = {digest: image for digest, image in self._images.items() if image.config == fields.get("Config")}
            if not fitting and whole:
                self.add("docker-manifest", place, f"Config {fields.get('Config')!r:.100} is no image's of index.json")
            if not fitting:
                continue
            if not any(list(image.layers) == fields.get("Layers") for image in fitting.values()):
                self.add("docker-manifest", place, "Layers are not those of the image's manifest")
            tags = fields.get("RepoTags")
            if tags is not None and not (isinstance(tags, list) and all(isinstance(text, str) for text in tags)):
                self.add("docker-manifest", place, f"RepoTags is {tags!r:.80}, not an array of names")
            elif tags and not any(_agree(tags, self._names_of(digest)) for digest in fitting):
                self.add("docker-manifest", place, f"RepoTags {tags!r:.120} are not the names in index.json")

    def _names_of(self, digest: Digest) -> list[Mapping[str, str]]:
        """The annotations index.json has for a manifest, or for an index it is in."""
        pending, seen = [digest], {digest}
        for up in pending:
            pending.extend(sorted(self._parents.get(up, set()) - seen))
            seen.update(pending)
        return [annotations for up in pending for annotations in self._annotations.get(up, [])]


def _key(layer: Descriptor, diff_id: Digest | None) -> _Layer:
    return layer.digest, diff_id.algorithm if diff_id else "sha256"


def _blob_name(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _layer_type(layer: Descriptor) -> str:
    """The OCI type of a layer, of those too that are not to be distributed; empty for another thing."""
    plain = layer.media_type.replace(".nondistributable.", ".").replace(".foreign.", ".")
    return LAYER_TYPES.get(plain, "")


def _agree(tags: list[str], entries: list[Mapping[str, str]]) -> bool:
    """Whether docker's names of an image have one among them that index.json has too, where that has any."""
    full = {_familiar(entry[key]) for entry in entries for key in (FULL_NAME, REF_NAME) if key in entry}
    short = {entry[REF_NAME] for entry in entries if REF_NAME in entry and FULL_NAME not in entry}
    return not full or any(_familiar(text) in full or text.rpartition(":")[2] in short for text in tags)


def _familiar(name: str) -> str:
    """A name with the registry docker leaves out."""
    first, slash, _ = name.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"
