# SPDX-License-Identifier: MIT
"""The image specification's terms as values, to and from JSON.

Follows the OCI image specification (descriptor.md, manifest.md, image-index.md, image-layout.md). Pure: no I/O.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

LAYOUT_FILE = b'{"imageLayoutVersion":"1.0.0"}'

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"

DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"

# Layer media types a base may have: the equal OCI type, which also names the compression by its ending.
LAYER_TYPES = {
    LAYER: LAYER,
    LAYER + "+gzip": LAYER + "+gzip",
    LAYER + "+zstd": LAYER + "+zstd",
    "application/vnd.docker.image.rootfs.diff.tar": LAYER,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": LAYER + "+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": LAYER + "+zstd",
}

REF_NAME = "org.opencontainers.image.ref.name"
FULL_NAME = "io.containerd.image.name"

# A manifest, index or config larger than this is refused before it is read, as registries do.
JSON_LIMIT = 4 << 20

_ALGORITHMS = {"sha256": 64, "sha512": 128}
# One processor, two spellings: which of them is written tells nothing.
_SAME_VARIANT = {("arm64", "v8"): "", ("arm", ""): "v7"}


class Digest(NamedTuple):
    """A content's name: `sha256:<hex>` or `sha512:<hex>` (descriptor.md, Digests)."""

    algorithm: str
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Raises InputError for anything but a registered algorithm with the right number of lower-case digits."""
        algorithm, _, hexadecimal = text.partition(":")
        length = _ALGORITHMS.get(algorithm)
        if length is None or not re.fullmatch(f"[0-9a-f]{{{length}}}", hexadecimal):
            raise InputError(f"{text[:160]!r} is not a sha256 or sha512 digest")
        return cls(algorithm, hexadecimal)


class Platform(NamedTuple):
    """What a program of the image runs on, in Go's words: `linux`, `arm`, `v7`."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in self if part)

    def to_json(self) -> dict[str, Any]:
        value = {"architecture": self.architecture, "os": self.os}
        return {**value, "variant": self.variant} if self.variant else value

    def normal(self) -> Platform:
        """The one of several spellings by which platforms are compared."""
        return self._replace(variant=_SAME_VARIANT.get((self.architecture, self.variant), self.variant))


class Descriptor(NamedTuple):
    """A reference to a blob: its type, digest and exact size (descriptor.md)."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = {}

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.platform is not None:
            value["platform"] = self.platform.to_json()
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return value

    @classmethod
    def from_json(cls, value: object, where: str) -> Descriptor:
        """Raises InputError, with the place in the document, where a field is missing or of the wrong type."""
        fields = as_object(value, where)
        size = fields.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise InputError(f"{where}.size: expected a size in bytes, found {size!r:.80}")
        platform = None
        if fields.get("platform") is not None:
            entry = as_object(fields["platform"], f"{where}.platform")
            platform = Platform(*(as_text(entry, key, where, "") for key in ("os", "architecture", "variant")))
        try:
            digest = Digest.parse(as_text(fields, "digest", where))
        except InputError as error:
            raise InputError(f"{where}.digest: {error}") from None
        return cls(
            as_text(fields, "mediaType", where, ""), digest, size, platform, as_texts(fields, "annotations", where)
        )


def as_object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected a JSON object, found {value!r:.80}")
    return value


def as_list(fields: Mapping[str, Any], key: str, where: str) -> tuple[Any, ...]:
    value = fields.get(key)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InputError(f"{where}.{key}: expected a JSON array, found {value!r:.80}")
    return tuple(value)


def as_text(fields: Mapping[str, Any], key: str, where: str, default: str | None = None) -> str:
    value = fields.get(key, default)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise InputError(f"{where}.{key}: expected text, found {value!r:.80}")
    return value


def as_texts(fields: Mapping[str, Any], key: str, where: str) -> dict[str, str]:
    entries = as_object(fields.get(key) or {}, f"{where}.{key}")
    return {name: as_text(entries, name, f"{where}.{key}") for name in entries}


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """A JSON document that is an object. Raises InputError, never another, whatever the bytes are."""
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_no_number)
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # half of a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON: {str(error)[:120]}") from None
    return as_object(value, where)


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def to_bytes(value: Mapping[str, Any]) -> bytes:
    """The one form our documents have: keys sorted, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
