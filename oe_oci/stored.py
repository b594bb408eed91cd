# SPDX-License-Identifier: MIT
"""Reading a stored image's layers: one pass over each blob, everything it claims checked, into a tree.

Shared by what reads base images and by inspect, diff and unpack. Must not know what is built on top of an image.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, BinaryIO, Callable, NamedTuple, Protocol

from . import decompress
from .ahead import ahead, side_by_side
from .changeset import Members, apply_changeset, read_changeset
from .content import PIECE, Content, Stored, pieces
from .errors import InputError, ToolError
from .members import Recorder, Replay
from .oci.spec import LAYER_TYPES, as_list, as_object, as_text
from .stream import PieceStream
from .tree import DIRECTORY, Entry, Tree
from .untar import Archive

if TYPE_CHECKING:
    import tempfile
    from collections.abc import Generator, Iterator

    from .members import Listing
    from .notes import Notes
    from .oci.layout import Image, Layout
    from .oci.spec import Descriptor, Digest

Copy = Callable[["Descriptor"], AbstractContextManager[BinaryIO]]

_COMPRESSIONS = {"gzip": decompress.GZIP, "zstd": decompress.ZSTD, "": decompress.NONE}


class StoredLayer(NamedTuple):
    """A layer's facts: `size` is that of its tar archive, `entries` counts the archive's members.

    `created_by` is what the image's history says of it, empty where it says nothing.
    """

    descriptor: Descriptor
    diff_id: Digest
    size: int
    entries: int
    created_by: str


def compression_of(descriptor: Descriptor, where: str) -> str:
    """The compression a layer's media type names.

    Raises:
        InputError: the type is unknown, or that of a layer that may not be passed on.
    """
    kind = descriptor.media_type
    if kind in LAYER_TYPES:
        return _COMPRESSIONS[LAYER_TYPES[kind].partition("+")[2]]
    if "nondistributable" in kind or "foreign" in kind:
        raise InputError(
            f"{where}: a non-distributable layer, which may not be passed on ({kind:.120})",
            hint="take a base image without such layers; only Windows images have them",
        )
    raise InputError(f"{where}: {kind[:120]!r} is no media type of a layer")


class LayerPass:
    """A layer while it is read: its members, and how many members and bytes were seen so far."""

    def __init__(
        self, layout: Layout, descriptor: Descriptor, diff_id: Digest, limit: int | None, sink: BinaryIO | None
    ) -> None:
        self.where = f"{layout.where}: {descriptor.digest}"
        self.size = 0
        self.compression = compression_of(descriptor, self.where)
        self.region = layout.blob(descriptor.digest)
        if self.region.size != descriptor.size:
            raise InputError(f"{self.where}: has {self.region.size} bytes, its descriptor says {descriptor.size}")
        self.digest = hashlib.new(descriptor.digest.algorithm)
        self.diff_id = hashlib.new(diff_id.algorithm)
        self._sink = sink
        self.plain = self._plain(decompress.limit_for(descriptor.size, limit))
        self.archive = Archive(PieceStream(self.plain), self.where)

    @property
    def entries(self) -> int:
        return self.archive.count

    def _compressed(self) -> Iterator[memoryview]:
        for piece in pieces(self.region):
            self.digest.update(piece)
            if self._sink is not None:
                # Turned here, as a decompressor takes any OSError of its input for damage.
                with failing(f"cannot copy {self.where}"):
                    self._sink.write(piece)
            yield piece

    def _plain(self, limit: int) -> Generator[bytes, None, None]:
        unpacked = decompress.decompress(self._compressed(), self.compression, self.where, limit=limit)
        with contextlib.closing(ahead(unpacked)) as data:
            for piece in data:
                self.diff_id.update(piece)
                self.size += len(piece)
                yield piece


@contextlib.contextmanager
def failing(what: str) -> Iterator[None]:
    """Turns an OSError into the ToolError that says `what` failed; a context manager."""
    try:
        yield
    except OSError as error:
        raise ToolError(f"{what}: {error.strerror}") from error


@contextlib.contextmanager
def read_layer(
    layout: Layout, descriptor: Descriptor, diff_id: Digest, *, limit: int | None = None, sink: BinaryIO | None = None
) -> Iterator[LayerPass]:
    """Read a layer in one pass; a context manager. `sink` gets the blob's bytes as they are stored.

    What the consumer leaves unread is read on leaving the context; only then size, digest and diff ID are known to
    be right, and all that was read before must be thrown away where they are not.

    Raises:
        InputError: the blob is not what its descriptor or the config says, is damaged, or unpacks to more than
            `limit` bytes (default: what its size makes plausible).
        ToolError: it can not be read, or `sink` not be written.
    """
    layer = LayerPass(layout, descriptor, diff_id, limit, sink)
    try:
        yield layer
        for _ in layer.plain:
            pass
    except InputError as error:
        cause = _cause(layer, descriptor)
        if cause is None:
            raise
        raise cause from error
    finally:
        layer.plain.close()
    found = layer.digest.hexdigest()
    if found != descriptor.digest.hex:
        raise _other_digest(layer, descriptor, found)
    found = layer.diff_id.hexdigest()
    if found != diff_id.hex:
        raise InputError(
            f"{layer.where}: its diff ID is {diff_id.algorithm}:{found}, the image's config says {diff_id}"
        )


def _cause(layer: LayerPass, descriptor: Descriptor) -> InputError | None:
    """Why a layer could not be read, where that is said better than by what failed: it is another blob."""
    digest, head = hashlib.new(descriptor.digest.algorithm), b""
    for piece in pieces(layer.region):
        digest.update(piece)
        head = head or bytes(piece[:512])
    if digest.hexdigest() != descriptor.digest.hex:
        return _other_digest(layer, descriptor, digest.hexdigest())
    # A tar archive begins with a name, which may look like any compression.
    found = decompress.NONE if head[257:262] == b"ustar" else decompress.detect(head)
    if found != layer.compression:
        return InputError(
            f"{layer.where}: its media type says compression {layer.compression!r}, its bytes look like {found!r}",
            hint=f"the media type is {descriptor.media_type}; the tool that made the image has a fault",
        )
    return None


def _other_digest(layer: LayerPass, descriptor: Descriptor, found: str) -> InputError:
    return InputError(
        f"{layer.where}: the blob's digest is {descriptor.digest.algorithm}:{found}", hint="copy the image once more"
    )


class LayerFile:
    """A layer without compression as a file; called, it gives the path, and makes the file the first time.

    `number` is the layer's place in the image, from 0.
    """

    def __init__(self, files: LayerFiles, number: int, descriptor: Descriptor, diff_id: Digest) -> None:
        self.number = number
        self.descriptor = descriptor
        self.diff_id = diff_id
        self._files = files

    def __call__(self) -> bytes:
        return self._files.path(self.descriptor, self.diff_id)


class LayerFiles:
    """Layers unpacked into temporary files, each at most once and when first asked for; a context manager."""

    def __init__(self, layout: Layout, limit: int | None, scratch: str | None) -> None:
        self._layout = layout
        self._limit = limit
        self._scratch = scratch
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._paths: dict[Digest, bytes] = {}
        self._lock = threading.Lock()

    def path(self, descriptor: Descriptor, diff_id: Digest) -> bytes:
        with self._lock:
            if diff_id not in self._paths:
                self._paths[diff_id] = self._made(descriptor, diff_id)
            return self._paths[diff_id]

    def _made(self, descriptor: Descriptor, diff_id: Digest) -> bytes:
        import tempfile  # noqa: PLC0415 - most layers are not unpacked

        with read_layer(self._layout, descriptor, diff_id, limit=self._limit) as layer:
            if layer.compression == decompress.NONE and layer.region.offset == 0:
                return layer.region.path
            with failing(f"cannot unpack {layer.where}"):
                if self._folder is None:
                    self._folder = tempfile.TemporaryDirectory(prefix="oe-oci-", dir=self._scratch)
                name = os.path.join(self._folder.name, diff_id.hex)
                with open(name, "wb", buffering=PIECE) as file:
                    file.writelines(layer.plain)
        return os.fsencode(name)

    def close(self) -> None:
        self._paths.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> LayerFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Seen(NamedTuple):
    """What is in a layer: the members of its tar archive, and that archive's size in bytes."""

    listing: Listing
    size: int


class Earlier(Protocol):
    """What earlier builds found out of layers; what is found out of files goes into `notes`."""

    notes: Notes | None

    def recall(self, layout: Layout, descriptor: Descriptor, diff_id: Digest) -> Seen | None:
        """What is in a layer; None where it must be read. The layer is as `read_layer` checks it, and copied."""

    def keep(self, layer: LayerPass, descriptor: Descriptor, diff_id: Digest, listing: Listing) -> None:
        """Take note of what was read in a layer."""


class ImageTree(NamedTuple):
    """An image's final file system and its layers' facts. The contents of `tree` are readable within its context."""

    tree: Tree
    layers: tuple[StoredLayer, ...]


@contextlib.contextmanager
def image_tree(
    layout: Layout,
    image: Image,
    *,
    limit: int | None = None,
    copy: Copy | None = None,
    scratch: str | None = None,
    earlier: Earlier | None = None,
) -> Iterator[ImageTree]:
    """Read an image's layers from the base up; a context manager, as contents are unpacked when they are asked for.

    Temporary files lie in the folder `scratch` where given. `copy(descriptor)` opens what gets a layer's blob in the
    same pass; left with an error it must drop what it got. A layer that `earlier` knows is not read.

    Raises:
        InputError: a layer is not what the image says, or is damaged or hostile.
        ToolError: a blob can not be read or copied.
    """
    tree = Tree({"": Entry(DIRECTORY, 0o755)})
    layers: list[StoredLayer] = []
    with LayerFiles(layout, limit, scratch) as files:
        for number, created_by in enumerate(history(layout, image)):
            descriptor, diff_id = image.layers[number], image.diff_ids[number]
            file = LayerFile(files, number, descriptor, diff_id)
            seen = None if earlier is None else earlier.recall(layout, descriptor, diff_id)
            if seen is None:
                layer = _read(tree, layout, file, limit, copy, earlier)
                size, entries = layer.size, layer.entries
            else:
                size, entries = seen.size, len(seen.listing.members)
                _apply(tree, Replay(seen.listing), f"{layout.where}: {descriptor.digest}", file, earlier)
            layers.append(StoredLayer(descriptor, diff_id, size, entries, created_by))
        yield ImageTree(tree, tuple(layers))


def _read(
    tree: Tree, layout: Layout, file: LayerFile, limit: int | None, copy: Copy | None, earlier: Earlier | None
) -> LayerPass:
    """Put a layer that must be read on top of `tree`."""
    descriptor, diff_id = file.descriptor, file.diff_id
    # All that can raise a bare OSError here is the copy, when it is opened or closed.
    with failing(f"cannot copy {layout.where}: {descriptor.digest}"), contextlib.ExitStack() as stack:
        sink = None if copy is None else stack.enter_context(copy(descriptor))
        layer = stack.enter_context(read_layer(layout, descriptor, diff_id, limit=limit, sink=sink))
        recorder = None if earlier is None else Recorder(layer.archive)
        _apply(tree, recorder or layer.archive, layer.where, file, earlier)
    if earlier is not None and recorder is not None:
        earlier.keep(layer, descriptor, diff_id, recorder.listing)
    return layer


def _apply(tree: Tree, members: Members, where: str, file: LayerFile, earlier: Earlier | None) -> None:
    notes = None if earlier is None else earlier.notes

    def locate(offset: int, size: int, digest: str) -> Content:
        return Stored(file, offset, size, digest, notes)

    apply_changeset(tree, read_changeset(members, where, tree, locate))


def layer_facts(layout: Layout, image: Image, *, limit: int | None = None) -> tuple[StoredLayer, ...]:
    """Every layer's facts, the base first, each checked as `image_tree` does; the files' bytes are passed over."""

    def read(made: tuple[Descriptor, Digest, str]) -> StoredLayer:
        descriptor, diff_id, created_by = made
        with read_layer(layout, descriptor, diff_id, limit=limit) as layer:
            for _ in layer.archive:
                pass
        return StoredLayer(descriptor, diff_id, layer.size, layer.entries, created_by)

    return tuple(side_by_side(read, zip(image.layers, image.diff_ids, history(layout, image))))


def history(layout: Layout, image: Image) -> list[str]:
    """What made each layer, as far as the history has it; entries without a layer are passed over."""
    where = f"{layout.where}: {image.config_descriptor.digest}"
    made: list[str] = []
    for number, value in enumerate(as_list(image.config, "history", where)):
        entry = as_object(value, f"{where}: history[{number}]")
        if not entry.get("empty_layer"):
            made.append(as_text(entry, "created_by", f"{where}: history[{number}]", ""))
    return [made[number] if number < len(made) else "" for number in range(len(image.layers))]
