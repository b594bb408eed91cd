# SPDX-License-Identifier: MIT
"""Reading an image layout: a directory, or an archive of one (image-layout.md).

Every blob's digest and size is checked where its bytes are read. Must not know packages or trees.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import decompress
from ..content import Region, pieces, stamp_of, whole
from ..errors import InputError, ToolError, nearest
from ..stream import FileStream
from ..tree import FILE
from ..untar import Archive
from .spec import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEX,
    JSON_LIMIT,
    MANIFEST,
    REF_NAME,
    Descriptor,
    Digest,
    Platform,
    as_list,
    as_object,
    as_text,
    parse_json,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARKS = ("oci-layout", "index.json")
_DEPTH = 4  # of indexes within indexes
_INDEXES = 16 << 20  # bytes of them that are read; a few small blobs can otherwise name each other without end


class Layout:
    """An opened layout. `where` is the path as the user gave it.

    Of an archive, `top` is the directory in it that the layout lies in, and `damage` what is wrong with it.
    """

    def __init__(self, where: str, files: dict[str, Region] | None = None, *, top: str = "", damage: str = "") -> None:
        self.where = where
        self.top = top
        self.damage = damage
        self._files = files

    @property
    def archived(self) -> bool:
        return self._files is not None

    def names(self) -> list[str]:
        """The files there are: those beside index.json, and the blobs."""
        if self._files is not None:
            return [name for name in self._files if re.fullmatch(r"[^/]+|blobs/[^/]+/[^/]+", name)]
        blobs = (f"blobs/{algorithm}" for algorithm in _listed(os.path.join(self.where, "blobs")))
        inner = (f"{folder}/{name}" for folder in blobs for name in _listed(os.path.join(self.where, folder)))
        return [*_listed(self.where), *inner]

    def region(self, name: str) -> Region:
        """Where a file of the layout lies. Raises InputError where it is missing or no regular file."""
        if self._files is not None:
            if name not in self._files:
                raise InputError(f"{self.where}: {name} is missing")
            return self._files[name]
        path = os.path.join(self.where, name)
        try:
            facts = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{self.where}: {name} is missing") from None
        except OSError as error:
            raise ToolError(f"cannot read {path}: {error.strerror}") from error
        if not stat.S_ISREG(facts.st_mode):
            raise InputError(f"{self.where}: {name} is no regular file")
        return Region(os.fsencode(path), 0, facts.st_size, stamp_of(facts))

    def blob(self, digest: Digest) -> Region:
        return self.region(f"blobs/{digest.algorithm}/{digest.hex}")

    def document(self, name: str) -> bytes:
        """A small file's bytes."""
        region = self.region(name)
        if region.size > JSON_LIMIT:
            raise InputError(f"{self.where}: {name} is larger than {JSON_LIMIT} bytes")
        return whole(region)

    def verified(self, descriptor: Descriptor) -> bytes:
        """The bytes of a small blob, which are what the descriptor says they are."""
        name = f"blobs/{descriptor.digest.algorithm}/{descriptor.digest.hex}"
        data = self.document(name)
        if len(data) != descriptor.size:
            raise InputError(f"{self.where}: {name} has {len(data)} bytes, its descriptor says {descriptor.size}")
        found = hashlib.new(descriptor.digest.algorithm, data).hexdigest()
        if found != descriptor.digest.hex:
            raise InputError(f"{self.where}: {name} has the digest {descriptor.digest.algorithm}:{found}")
        return data


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ToolError(f"cannot read {folder}: {error.strerror}") from error


@contextlib.contextmanager
def open_layout(
    path: str, *, limit: int | None = None, strict: bool = True, scratch: str | None = None
) -> Iterator[Layout]:
    """Open a layout directory, or an archive of one (compressed or not); a context manager.

    A compressed archive is unpacked into a temporary file first, in the folder `scratch` where given, to at most
    `limit` bytes. Unless `strict`, whatever looks like a layout is opened as far as it can be read.

    Raises:
        InputError: there is no layout, the archive is damaged, or it is another kind of archive.
        ToolError: a file can not be read.
    """
    if not os.path.lexists(path):
        raise InputError(f"{path}: there is no such layout or archive")
    with contextlib.ExitStack() as stack:
        if os.path.isdir(path):
            layout = Layout(path)
            if not strict and not {*_MARKS} & {*layout.names()}:
                raise InputError(f"{path}: holds no OCI image layout (no oci-layout file)")
        else:
            layout = stack.enter_context(_open_archive(path, limit, scratch, strict=strict))
        if strict:
            _check_version(layout)
        yield layout


def probe(path: str) -> tuple[Region, str]:
    """An archive's file, links followed, and its compression.

    Raises:
        InputError: it is no regular file.
        ToolError: it can not be read.
    """
    # The path may be a link: the archive is named by the user, not by an untrusted input.
    real = os.path.realpath(path)
    try:
        facts = os.stat(real)
        if not stat.S_ISREG(facts.st_mode):
            raise InputError(f"{path} is no regular file")
        with open(real, "rb") as file:
            head = file.read(8)
    except OSError as error:
        raise ToolError(f"cannot read {path}: {error.strerror}") from error
    return Region(os.fsencode(real), 0, facts.st_size, stamp_of(facts)), decompress.detect(head)


@contextlib.contextmanager
def uncompressed(
    path: str, *, limit: int | None = None, scratch: str | None = None, digest: str = ""
) -> Iterator[Region]:
    """The bytes of an archive without compression: the file itself, or a temporary one that goes with the context.

    The temporary file lies in the folder `scratch` where given, else where the system has such files. `digest` is the
    SHA-256 that a compressed archive must have, in hexadecimal, where it is known.

    Raises:
        InputError: the archive is damaged, or another one.
        ToolError: it can not be read, or not be unpacked.
    """
    region, compression = probe(path)
    if compression == decompress.NONE:
        yield region
        return

    import tempfile  # noqa: PLC0415 - most have no compression

    with contextlib.ExitStack() as stack:
        most = decompress.limit_for(region.size, limit)
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="oe-oci-", dir=scratch))
            name = os.path.join(folder, "archive.tar")
            state = hashlib.sha256()
            data = _noted(pieces(region), state) if digest else pieces(region)
            with open(name, "wb") as sink:
                sink.writelines(decompress.decompress(data, compression, path, limit=most))
            size = os.stat(name).st_size
        except OSError as error:
            raise ToolError(
                f"cannot unpack {path} into {scratch or tempfile.gettempdir()}: {error.strerror}",
                hint="free some space there" + ("" if scratch else ", or set TMPDIR to another directory"),
            ) from error
        if digest and state.hexdigest() != digest:
            raise InputError(
                f"{path} changed while it was read",
                hint="nothing may write to the inputs during a build; start again when that has ended",
            )
        yield Region(os.fsencode(name), 0, size)


def _noted(data: Iterator[memoryview], state: Any) -> Iterator[memoryview]:
    for piece in data:
        state.update(piece)
        yield piece


def _archive_files(plain: Region, where: str) -> Iterator[tuple[str, Region]]:
    """The regular files of an uncompressed archive, in order; raises InputError where it is damaged."""
    links: dict[str, Region] = {}
    with open(plain.path, "rb") as file:
        for member in Archive(FileStream(file, 0, plain.size), where, whole=True):
            region: Region | None = Region(plain.path, member.offset, member.entry.size, plain.stamp)
            if member.hardlink is not None:
                region = links.get(member.hardlink)
            elif member.entry.kind != FILE:
                region = None
            if region is not None:
                links[member.path] = region
                yield member.path, region


@contextlib.contextmanager
def _open_archive(path: str, limit: int | None, scratch: str | None, *, strict: bool) -> Iterator[Layout]:
    files: dict[str, Region] = {}
    damage = ""
    with contextlib.ExitStack() as stack:
        try:
            plain = stack.enter_context(uncompressed(path, limit=limit, scratch=scratch))
            files.update(_archive_files(plain, path))
        except InputError as error:
            if strict:
                raise
            damage = error.message
        yield _in_archive(path, files, damage)


def _in_archive(path: str, files: dict[str, Region], damage: str) -> Layout:
    """The layout at the root of an archive, or in one top directory."""
    marks = [name for name in files if name.rpartition("/")[2] in _MARKS]
    if not marks and not damage:
        hint = ""
        if "manifest.json" in files:
            hint = f"it is a docker-archive; convert it: skopeo copy docker-archive:{path} oci:LAYOUT:TAG"
        raise InputError(f"{path}: holds no OCI image layout (no oci-layout file)", hint=hint)
    top = min(marks, key=len, default="").rpartition("/")[0]
    top = f"{top}/" if top else ""
    inside = {name[len(top) :]: region for name, region in files.items() if name.startswith(top)}
    return Layout(path, inside, top=top, damage=damage)


def _check_version(layout: Layout) -> None:
    version = parse_json(layout.document("oci-layout"), f"{layout.where}: oci-layout").get("imageLayoutVersion")
    if version != "1.0.0":
        raise InputError(f"{layout.where}: oci-layout: imageLayoutVersion is {version!r:.40}, expected '1.0.0'")


class Image(NamedTuple):
    """An image as stored: documents as parsed, layers from the base up with their diff IDs."""

    descriptor: Descriptor
    manifest: dict[str, Any]
    config_descriptor: Descriptor
    config: dict[str, Any]
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[Digest, ...]


def images(layout: Layout) -> list[tuple[str, Descriptor]]:
    """Every image manifest of the layout with the name (ref.name) of its entry in index.json, which may be empty.

    Indexes within the index are gone through; what is no image (attestations, artifacts) is left out.
    """
    found: list[tuple[str, Descriptor]] = []
    index = parse_json(layout.document("index.json"), f"{layout.where}: index.json")
    pending, left = [(index, "index.json", "", 0)], _INDEXES
    while pending:
        index, name, tag, depth = pending.pop()
        for number, value in enumerate(as_list(index, "manifests", f"{layout.where}: {name}")):
            descriptor = Descriptor.from_json(value, f"{layout.where}: {name}: manifests[{number}]")
            own = descriptor.annotations.get(REF_NAME, "") or tag
            if descriptor.media_type in (MANIFEST, DOCKER_MANIFEST, ""):
                if descriptor.platform is None or descriptor.platform.os != "unknown":
                    found.append((own, descriptor))
            elif descriptor.media_type in (INDEX, DOCKER_INDEX):
                left -= descriptor.size
                if depth == _DEPTH or left < 0:
                    raise InputError(f"{layout.where}: {name}: too many indexes within indexes")
                inner = parse_json(layout.verified(descriptor), f"{layout.where}: {descriptor.digest}")
                pending.append((inner, str(descriptor.digest), own, depth + 1))
    return found


def tagged(where: str, found: list[tuple[str, Descriptor]], tag: str) -> list[tuple[str, Descriptor]]:
    """Those named `tag`: by their whole ref.name, else by what follows the last colon of it.

    Raises:
        InputError: there is none; the message lists what there is.
    """
    exact = [(name, d) for name, d in found if name == tag]
    named = exact or [(name, d) for name, d in found if name.rpartition(":")[2] == tag]
    if not named and len(found) == 1 and not found[0][0]:
        return found
    if not named:
        names = sorted({name for name, _ in found if name})
        listed = f"its tags are: {', '.join(names)}" if names else "it names no image"
        raise InputError(f"{where}: no image has the tag {tag!r}; {listed}", hint=nearest(tag, names))
    return named


def find_image(layout: Layout, tag: str | None, platform: Platform | None) -> Descriptor:
    """The one image with the tag and for the platform; None asks for any, but there may be just one.

    Raises:
        InputError: none or several fit; the message lists what there is.
    """
    found = images(layout)
    if tag is not None:
        found = tagged(layout.where, found, tag)
    if platform is not None:
        found = _for_platform(layout, found, platform)
    distinct = {descriptor.digest: descriptor for _, descriptor in found}
    if len(distinct) == 1:
        return next(iter(distinct.values()))
    if not distinct:
        raise InputError(f"{layout.where}: holds no image")
    listed = ", ".join(sorted(f"{name or d.digest} ({d.platform or 'no platform'})" for name, d in found))
    raise InputError(
        f"{layout.where}: holds several images: {listed}", hint="name one by its tag, LAYOUT:TAG, or by its platform"
    )


def _for_platform(
    layout: Layout, found: list[tuple[str, Descriptor]], platform: Platform
) -> list[tuple[str, Descriptor]]:
    # An entry may leave its platform to the config, which then tells whether it fits.
    same = [(name, d) for name, d in found if d.platform is None or d.platform[:2] == platform[:2]]
    exact = [(name, d) for name, d in same if d.platform and d.platform.variant == platform.variant]
    if not same:
        listed = ", ".join(sorted({str(d.platform) for _, d in found if d.platform}))
        raise InputError(f"{layout.where}: has no image for {platform}; it has: {listed}")
    return exact or same


def read_image(layout: Layout, descriptor: Descriptor) -> Image:
    """An image's manifest and config, checked against their digests and against each other.

    Raises:
        InputError: a blob is missing or not what its descriptor says, or the documents contradict each other.
    """
    where = f"{layout.where}: {descriptor.digest}"
    manifest = parse_json(layout.verified(descriptor), where)
    config_descriptor = Descriptor.from_json(manifest.get("config"), f"{where}: config")
    layers = tuple(
        Descriptor.from_json(value, f"{where}: layers[{number}]")
        for number, value in enumerate(as_list(manifest, "layers", where))
    )
    where = f"{layout.where}: {config_descriptor.digest}"
    config = parse_json(layout.verified(config_descriptor), where)
    rootfs = as_object(config.get("rootfs"), f"{where}: rootfs")
    texts = as_list(rootfs, "diff_ids", f"{where}: rootfs")
    diff_ids = tuple(Digest.parse(as_text({"": text}, "", f"{where}: rootfs.diff_ids")) for text in texts)
    if len(diff_ids) != len(layers):
        raise InputError(f"{where}: lists {len(diff_ids)} diff IDs, the manifest {len(layers)} layers")
    return Image(descriptor, manifest, config_descriptor, config, layers, diff_ids)
