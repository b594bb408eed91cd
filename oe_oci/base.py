# SPDX-License-Identifier: MIT
"""The base image: found, checked against what the image is for, read into a tree, its blobs copied as they are.

Must not know the layers above it.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from .errors import InputError
from .oci.layout import Image, find_image, open_layout, read_image
from .oci.spec import as_list, as_object, as_text, as_texts
from .stored import compression_of, image_tree
from .tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .config import BaseRef
    from .oci.spec import Descriptor, Platform


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
) -> Iterator[Base]:
    """Open a base image; a context manager, as its files' contents are read when they are asked for.

    `blobs` is a layout's `blobs` folder to copy the layers into, in the pass that reads them; temporary
    files lie in the folder `scratch` where given.

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
            tree = stack.enter_context(image_tree(layout, image, limit=limit, copy=copy, scratch=scratch)).tree
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
