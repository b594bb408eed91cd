# SPDX-License-Identifier: MIT
"""The base image: found, checked against what the image is for, read into a tree, its blobs copied as they are.

Must not know the layers above it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from . import decompress
from .content import pieces
from .errors import InputError
from .members import from_json
from .oci.layout import Image, find_image, open_layout, read_image
from .oci.spec import as_list, as_object, as_text, as_texts
from .stored import Seen, compression_of, failing, image_tree
from .transfer import clone
from .tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .config import BaseRef
    from .content import Region
    from .members import Listing
    from .memory import Memory
    from .oci.layout import Layout
    from .oci.spec import Descriptor, Digest, Platform
    from .stored import Copy, LayerPass

_KIND = "layer 1"  # the number changes with what is kept of a layer


class Base(NamedTuple):
    """A base image and its final file system; scratch has no image and an empty tree."""

    image: Image | None
    tree: Tree


@contextlib.contextmanager
def open_base(
    ref: BaseRef | None,
    platform: Platform,
    *,
    blobs: str | None = None,
    limit: int | None = None,
    scratch: str | None = None,
    memory: Memory | None = None,
) -> Iterator[Base]:
    """Open a base image; a context manager, as its files' contents are read when they are asked for.

    `blobs` is a layout's `blobs` folder to copy the layers into, in the pass that reads them; temporary
    files lie in the folder `scratch` where given. A layer that `memory` knows is not read.

    Raises:
        InputError: there is no such image, it is for another platform, damaged, or may not be passed on.
        ToolError: it can not be read or copied.
    """
    if ref is None:
        yield Base(None, Tree())
        return
    with contextlib.ExitStack() as stack:
        try:
            layout = stack.enter_context(open_layout(ref.path, limit=limit, scratch=scratch))
            image = read_image(layout, find_image(layout, ref.tag, platform))
            _check(image, platform, layout.where)
            copy = None if blobs is None else lambda descriptor: _copied(blobs, descriptor)
            earlier = _Earlier(memory, limit, copy) if memory is not None and memory.keeps else None
            found = image_tree(layout, image, limit=limit, copy=copy, scratch=scratch, earlier=earlier)
            tree = stack.enter_context(found).tree
        except InputError as error:
            hint = error.hint
            if not os.path.lexists(ref.path) and "/" not in ref.written:
                hint = f"build the recipe {ref.written} first; a path begins with '/', './' or '../'"
            raise InputError(f"OCI_BASE_IMAGE '{ref.written}': {error.message}", hint=hint) from error
        yield Base(image, tree)


def _check(image: Image, platform: Platform, where: str) -> None:
    found = tuple(image.config.get(key) for key in ("os", "architecture"))
    if found != platform[:2]:
        raise InputError(
            f"{where}: is for {found[0]}/{found[1]}, the image for {platform}",
            hint="set OCI_IMAGE_ARCH and OCI_IMAGE_OS, or take another base",
        )
    _check_config(image.config, f"{where}: {image.config_descriptor.digest}")
    for layer in image.layers:
        compression_of(layer, f"{where}: {layer.digest}")


def _check_config(config: dict[str, Any], where: str) -> None:
    """See that what is inherited is of the types that the specification's config.md says."""
    for number, entry in enumerate(as_list(config, "history", where)):
        as_object(entry, f"{where}: history[{number}]")
    where = f"{where}: config"
    run = as_object(config.get("config") or {}, where)
    for key in ("Env", "Entrypoint", "Cmd"):
        for word in as_list(run, key, where):
            as_text({key: word}, key, where)
    for key in ("ExposedPorts", "Volumes"):
        as_object(run.get(key) or {}, f"{where}.{key}")
    for key in ("User", "WorkingDir", "StopSignal"):
        as_text(run, key, where, "")
    as_texts(run, "Labels", where)


@contextlib.contextmanager
def _copied(blobs: str, descriptor: Descriptor) -> Iterator[BinaryIO]:
    folder = os.path.join(blobs, descriptor.digest.algorithm)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, descriptor.digest.hex), "wb") as file:
        yield file
        os.fchmod(file.fileno(), 0o644)


class _Earlier:
    """What earlier builds found out of the layers of base images, kept under the SHA-256 of their blobs."""

    def __init__(self, memory: Memory, limit: int | None, copy: Copy | None) -> None:
        self.notes = memory.notes
        self._memory = memory
        self._limit = limit
        self._copy = copy

    def recall(self, layout: Layout, descriptor: Descriptor, diff_id: Digest) -> Seen | None:
        value = self._memory.recall(descriptor.digest.hex, _KIND) if descriptor.digest.algorithm == "sha256" else None
        if value is None:
            return None
        region, where = layout.blob(descriptor.digest), f"{layout.where}: {descriptor.digest}"
        # Whatever is not as it was is told by reading the layer.
        expected = descriptor.size, compression_of(descriptor, where), str(diff_id)
        if (region.size, value["compression"], value["diffId"]) != expected:
            return None
        if value["size"] > decompress.limit_for(descriptor.size, self._limit):
            return None
        with failing(f"cannot copy {where}"):
            digest = self._copied(region, descriptor)
        return Seen(from_json(value["members"]), value["size"]) if digest == descriptor.digest.hex else None

    def _copied(self, region: Region, descriptor: Descriptor) -> str:
        """The SHA-256 of a blob, which is copied; read only where it is not known, or copying takes that anyway."""
        with contextlib.ExitStack() as stack:
            sink = None if self._copy is None else stack.enter_context(self._copy(descriptor))
            known = self._memory.digests.known(region)
            if known and (sink is None or clone(region, sink)):
                return known.hex()
            state = hashlib.sha256()
            for piece in pieces(region):
                state.update(piece)
                if sink is not None:
                    sink.write(piece)
        if state.digest() != known:
            self._memory.digests.learn(region, state.digest())
        return state.hexdigest()

    def keep(self, layer: LayerPass, descriptor: Descriptor, diff_id: Digest, listing: Listing) -> None:
        if descriptor.digest.algorithm == "sha256":
            facts = {"compression": layer.compression, "diffId": str(diff_id), "size": layer.size}
            self._memory.digests.learn(layer.region, bytes.fromhex(descriptor.digest.hex))
            self._memory.keep(descriptor.digest.hex, _KIND, {**facts, "members": listing.to_json()})
