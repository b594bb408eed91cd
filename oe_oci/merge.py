# SPDX-License-Identifier: MIT
"""The images of several platforms, each in a layout of its own, put together into one layout with one name.

Must not know how an image came to be, or who asks for it.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from . import kept
from .errors import InputError, ToolError
from .oci.layout import images, open_layout, read_image, tagged
from .oci.spec import FULL_NAME, INDEX, LAYOUT_FILE, MANIFEST, REF_NAME, Descriptor, Digest, Platform, as_text, to_bytes
from .outputs import check_layout_place, publish_layout, write_documents
from .staging import staging
from .stored import failing
from .transfer import BlobError, bring

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .oci.layout import Image, Layout


class PlatformImage(NamedTuple):
    """An image in a layout's folder, and the platform its config says it is for.

    `blobs` are those of its config and layers; `full` is the full name it has for container engines, if any.
    """

    layout: Layout
    platform: Platform
    manifest: Descriptor
    blobs: tuple[Descriptor, ...]
    full: str

    def __str__(self) -> str:
        return f"{self.layout.where} ({self.manifest.digest})"


def find_platforms(path: str, tag: str) -> list[PlatformImage]:
    """Every image that a layout's folder has under a tag: one, or one for each of several platforms.

    Raises:
        InputError: there is no layout, none of its images has the tag, or one is damaged.
        ToolError: a file can not be read.
    """
    if os.path.isfile(path):
        raise InputError(f"{path}: is no folder with a layout")
    with open_layout(path) as layout:
        found = {descriptor.digest: descriptor for _, descriptor in tagged(path, images(layout), tag)}
        return [_platform_image(layout, descriptor) for descriptor in found.values()]


def _platform_image(layout: Layout, descriptor: Descriptor) -> PlatformImage:
    image = read_image(layout, descriptor)
    blobs = (image.config_descriptor, *image.layers)
    return PlatformImage(layout, _platform(layout, image), descriptor, blobs, descriptor.annotations.get(FULL_NAME, ""))


def _platform(layout: Layout, image: Image) -> Platform:
    where = f"{layout.where}: {image.config_descriptor.digest}"
    words = [as_text(image.config, key, where, "") for key in ("os", "architecture", "variant")]
    for key, word in zip(("os", "architecture"), words):
        if not word:
            raise InputError(f"{where}: names no {key}", hint="the tool that made the image has a fault")
    found, told = Platform(*words), image.descriptor.platform
    if told is not None and told[:2] == found[:2] and not found.variant:
        # Some builders have the variant in the index alone.
        return told
    return found


def common_name(found: Sequence[PlatformImage]) -> str:
    """The full name of all images that have one; empty where they have several, or none."""
    names = {image.full for image in found} - {""}
    return names.pop() if len(names) == 1 else ""


def merge(found: Sequence[PlatformImage], target: str, tag: str, full: str) -> Digest:
    """Make the layout `target` with one image index, named `tag` and, for container engines, `full`; its digest.

    Each blob is there once, and checked. What was at `target` is replaced once all is done.

    Raises:
        InputError: two images are for one platform, or a blob is missing or damaged.
        ToolError: a file can not be read or written. In each case the target is as it was.
    """
    index = to_bytes({"schemaVersion": 2, "mediaType": INDEX, "manifests": _entries(found)})
    descriptor = Descriptor(INDEX, Digest("sha256", hashlib.sha256(index).hexdigest()), len(index))
    entry = descriptor._replace(annotations={REF_NAME: tag, FULL_NAME: full})
    target = os.path.abspath(target)
    check_layout_place(target)
    folder, name = os.path.split(target)
    with staging(folder, name.removesuffix("-oci")) as stage, failing(f"cannot write {target}"):
        layout = os.path.join(stage, "layout")
        for source, blob in _blobs(found):
            _bring(source, blob, os.path.join(layout, "blobs"))
        documents = {
            f"blobs/sha256/{descriptor.digest.hex}": index,
            "oci-layout": LAYOUT_FILE,
            "index.json": to_bytes({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry.to_json()]}),
        }
        write_documents(layout, documents)
        publish_layout(layout, target)
    return descriptor.digest


def _entries(found: Sequence[PlatformImage]) -> list[dict[str, Any]]:
    """The manifests' descriptors in the order of their platforms, in whichever order the images come."""
    taken: dict[Platform, PlatformImage] = {}
    for image in found:
        other = taken.setdefault(image.platform.normal(), image)
        if other is not image:
            raise InputError(
                f"two images are for {image.platform}: {other} and {image}", hint="give one image for each platform"
            )
    entries = []
    for image in sorted(found, key=lambda image: image.platform):
        # A name is that of the whole.
        more = {key: text for key, text in image.manifest.annotations.items() if key not in (REF_NAME, FULL_NAME)}
        entry = image.manifest._replace(platform=image.platform, annotations=more)
        entries.append(entry._replace(media_type=entry.media_type or MANIFEST).to_json())
    return entries


def _blobs(found: Sequence[PlatformImage]) -> list[tuple[Layout, Descriptor]]:
    """Each blob once, with the layout to take it from; two sizes of one blob are found out by reading it."""
    blobs: dict[tuple[Digest, int], tuple[Layout, Descriptor]] = {}
    for image in found:
        for blob in (image.manifest, *image.blobs):
            blobs.setdefault((blob.digest, blob.size), (image.layout, blob))
    return list(blobs.values())


def _bring(layout: Layout, blob: Descriptor, folder: str) -> None:
    path = os.fsdecode(layout.blob(blob.digest).path)
    folder = os.path.join(folder, blob.digest.algorithm)
    os.makedirs(folder, exist_ok=True)
    try:
        source = kept.opened(path)
    except OSError as error:
        raise ToolError(f"cannot read {path}: {error.strerror}") from error
    try:
        bring(source, path, blob, os.path.join(folder, blob.digest.hex), trusted=False)
    except BlobError as error:
        if not error.damaged:
            raise ToolError(f"cannot read {path}: {error}") from error
        raise InputError(
            f"{layout.where}: {blob.digest}: the blob is damaged, or has not the size its descriptor says",
            hint="build the image once more",
        ) from error
    finally:
        os.close(source)
