# SPDX-License-Identifier: MIT
"""What consumers of images refuse, or show otherwise than it was meant, though the image may be whole.

Each rule stands for something a consumer was seen to do; its message says which. Whether digests and counts are right
is `verify`'s matter. Must not know how an image came to be.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Callable

from . import decompress
from .architectures import ARCHITECTURES, architecture
from .changeset import OPAQUE, WHITEOUT, Changeset, apply_changeset
from .content import pieces
from .errors import InputError
from .oci.layout import Image, images, open_layout, read_image, tagged
from .oci.rehash import within
from .oci.spec import (
    CONFIG,
    DOCKER_CONFIG,
    DOCKER_INDEX,
    FULL_NAME,
    INDEX,
    LAYER,
    LAYER_TYPES,
    MANIFEST,
    REF_NAME,
    Descriptor,
    Platform,
    as_list,
    as_object,
    parse_json,
)
from .oci.verify import Violation
from .stream import PieceStream
from .tree import DIRECTORY, SYMLINK, Entry, Tree, ancestors, join, parent, resolve, shown
from .untar import Archive

if TYPE_CHECKING:
    from .oci.layout import Layout
    from .untar import Member

MOST_LAYERS = 125

_SYSTEMS = ("aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux", "netbsd", "openbsd",
            "plan9", "solaris", "wasip1", "windows")  # fmt: skip
_OTHER_ARCHITECTURES = ("ppc", "riscv", "s390", "sparc64", "wasm")

_REF_NAME = re.compile(r"[A-Za-z0-9]+((--|[-._:@+])[A-Za-z0-9]+)*(/[A-Za-z0-9]+((--|[-._:@+])[A-Za-z0-9]+)*)*")
_PATH = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(localhost|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+|[A-Za-z0-9.-]+(?=:))(:[0-9]+)?"
_TAGGED = rf"{_PATH}(/{_PATH})*:[A-Za-z0-9_][A-Za-z0-9._-]{{0,127}}"
_FULL_NAME = re.compile(rf"{_HOST}/{_TAGGED}")
_REPO_TAG = re.compile(rf"({_HOST}/)?{_TAGGED}")

_Add = Callable[[str, str, str], None]


def lint_layout(path: str, tag: str | None = None, *, limit: int | None = None) -> list[Violation]:
    """Everything about a layout directory or archive that a consumer trips over; with `tag` about one image of it.

    A layer may unpack to `limit` bytes (default: what its size makes plausible).

    Raises:
        InputError: there is no layout at `path`, or none of its images has the tag.
        ToolError: a file can not be read, or a program that is needed is missing.
    """
    found: list[Violation] = []

    def add(rule: str, where: str, message: str) -> None:
        found.append(Violation(rule, where, message))

    with open_layout(path, limit=limit, strict=False) as layout:
        if layout.damage:
            add("unreadable", path, within(InputError(layout.damage), path))
        if layout.names():
            _lint_files(layout, add)
            for descriptor in _lint_index(layout, tag, add):
                _lint_image(layout, descriptor, limit, add)
    return list(dict.fromkeys(found))


def _lint_files(layout: Layout, add: _Add) -> None:
    names = layout.names()
    if "oci-layout" not in names:
        add("no-oci-layout", "oci-layout", "is missing; containerd and umoci refuse that")
    if layout.top:
        message = f"the layout is in the archive's directory {layout.top}; docker, podman and containerd refuse that"
        add("top-directory", layout.where, message)
    if layout.archived and "manifest.json" not in names:
        add("no-docker-manifest", layout.where, "has no manifest.json; `docker load` before Docker 29 refuses that")
    if "manifest.json" in names:
        _lint_docker_manifest(layout, add)


def _lint_docker_manifest(layout: Layout, add: _Add) -> None:
    try:
        value = json.loads(layout.document("manifest.json").decode("utf-8"))
        entries = [as_object(entry, "manifest.json") for entry in as_list({"": value}, "", "manifest.json")]
        names = [as_list(entry, "RepoTags", "manifest.json") for entry in entries]
    except (InputError, ValueError, RecursionError) as error:
        add("unreadable", "manifest.json", str(error)[:160])
        return
    for number, tags in enumerate(names):
        where = f"manifest.json[{number}]"
        if not tags:
            add("repo-tags", where, "has no RepoTags; docker loads the image without a name")
        for text in tags:
            if not isinstance(text, str) or not _REPO_TAG.fullmatch(text):
                add("repo-tags", where, f"RepoTags: docker refuses {text!r:.160}; write NAME:TAG, NAME in lower case")


def _lint_index(layout: Layout, tag: str | None, add: _Add) -> list[Descriptor]:
    """Judge index.json; the manifests of the images meant, each once."""
    entries: list[tuple[str, Descriptor]] = []
    chosen: list[tuple[str, Descriptor]] = []
    try:
        entries = _entries(layout)
        chosen = [(name, descriptor) for name, descriptor in images(layout) if not _is_artifact(layout, descriptor)]
    except InputError as error:
        add("unreadable", layout.where, within(error, layout.where))
    if tag is None and len(entries) > 1:
        # Whatever they are: podman and skopeo count before they look.
        message = f"has {len(entries)} entries; podman and skopeo refuse that where no tag is given"
        add("several-images", "index.json", message)
    if tag is not None and chosen:
        chosen = tagged(layout.where, chosen, tag)
    found = {descriptor.digest: descriptor for _, descriptor in chosen}
    for place, entry in entries:
        if entry.digest in found or entry.media_type in (INDEX, DOCKER_INDEX):
            _lint_names(entry, place, add)
    for _, descriptor in chosen:
        _lint_platform(descriptor.platform, f"descriptor of {descriptor.digest}", add)
    return list(found.values())


def _entries(layout: Layout) -> list[tuple[str, Descriptor]]:
    """What index.json itself lists, each with its place."""
    index = parse_json(layout.document("index.json"), f"{layout.where}: index.json")
    values = as_list(index, "manifests", f"{layout.where}: index.json")
    places = [f"index.json: manifests[{number}]" for number in range(len(values))]
    return [(place, Descriptor.from_json(value, place)) for place, value in zip(places, values)]


def _is_artifact(layout: Layout, descriptor: Descriptor) -> bool:
    try:
        config = parse_json(layout.verified(descriptor), str(descriptor.digest)).get("config")
    except InputError:
        return False
    kind = config.get("mediaType") if isinstance(config, dict) else None
    return isinstance(kind, str) and kind not in (CONFIG, DOCKER_CONFIG)


def _lint_names(entry: Descriptor, place: str, add: _Add) -> None:
    name = entry.annotations.get(REF_NAME, "")
    full = entry.annotations.get(FULL_NAME, "")
    if not name:
        add("no-ref-name", place, f"has no {REF_NAME}; umoci does not find the image, containerd imports nothing")
    elif not _REF_NAME.fullmatch(name):
        add("ref-name", place, f"{REF_NAME} {name!r:.160} breaks the specification's grammar; consumers may refuse it")
    if full and not _FULL_NAME.fullmatch(full):
        add("full-name", place, f"{FULL_NAME} {full!r:.160} is not REGISTRY/NAME:TAG, as containerd wants it")
    elif name and not full and not _FULL_NAME.fullmatch(name):
        message = f"has no {FULL_NAME}; containerd names the image import-DATE:{name}, podman localhost/{name}"
        add("full-name", place, message)


def _lint_platform(platform: Platform | None, place: str, add: _Add) -> None:
    if platform is None:
        add("no-platform", place, "has no platform; consumers that choose by it have to guess")
        return
    if platform.os not in _SYSTEMS:
        add("platform", place, f"{platform.os!r:.80} is no operating system in Go's words; containerd skips the image")
    if platform.architecture not in (*ARCHITECTURES, *_OTHER_ARCHITECTURES):
        right = architecture(platform.architecture)
        advice = f"; write {right}" if right else ""
        message = f"{platform.architecture!r:.80} is no architecture in Go's words; containerd skips the image"
        add("platform", place, message + advice)


def _lint_image(layout: Layout, descriptor: Descriptor, limit: int | None, add: _Add) -> None:
    try:
        image = read_image(layout, descriptor)
    except InputError as error:
        add("unreadable", str(descriptor.digest), within(error, layout.where))
        return
    _lint_config(image, add)
    if len(image.layers) > MOST_LAYERS:
        message = f"has {len(image.layers)} layers; docker refuses and podman can not mount more than {MOST_LAYERS}"
        add("too-many-layers", str(descriptor.digest), message)
    _lint_media_types(image, add)
    lower = Tree()
    for layer in image.layers:
        if layer.media_type in LAYER_TYPES:
            _lint_layer(layout, layer, limit, lower, add)


def _lint_config(image: Image, add: _Add) -> None:
    at = str(image.config_descriptor.digest)
    config = image.config
    words = [config.get(key) for key in ("os", "architecture")]
    _lint_platform(Platform(*(word if isinstance(word, str) else "" for word in words)), at, add)
    history = config.get("history")
    if isinstance(history, list):
        count = sum(not (isinstance(entry, dict) and entry.get("empty_layer")) for entry in history)
        if count != len(image.layers):
            outcome = "docker refuses that" if count > len(image.layers) else "it is shown by the wrong layers"
            add("history-count", at, f"history speaks of {count} layers, there are {len(image.layers)}; {outcome}")
    run = config.get("config")
    env = run.get("Env") if isinstance(run, dict) else None
    for text in env if isinstance(env, list) else ():
        if not isinstance(text, str) or "=" not in text:
            add("env", at, f"Env: umoci refuses {text!r:.80}, which has no '='")


def _lint_media_types(image: Image, add: _Add) -> None:
    at = str(image.descriptor.digest)
    oci = image.descriptor.media_type == MANIFEST
    docker = "has a Docker media type in an OCI manifest; umoci refuses that"
    if oci and ".docker." in image.config_descriptor.media_type:
        add("docker-media-type", f"{at}: config", f"{docker}, podman too")
    for number, layer in enumerate(image.layers):
        place = f"{at}: layers[{number}]"
        if ".nondistributable." in layer.media_type or ".foreign." in layer.media_type:
            add("nondistributable", place, "is not to be distributed: registries and archives lack its bytes")
        elif layer.media_type not in LAYER_TYPES:
            add("layer-media-type", place, f"{layer.media_type!r:.80} is no known type of layer; umoci refuses it")
        elif oci and not layer.media_type.startswith(LAYER):
            add("docker-media-type", place, docker)
        if LAYER_TYPES.get(layer.media_type, "").endswith("+zstd"):
            add("zstd-layer", place, "is compressed with zstd; docker before 23 and umoci refuse that")


def _lint_layer(layout: Layout, layer: Descriptor, limit: int | None, lower: Tree, add: _Add) -> None:
    where = str(layer.digest)
    lint = _LayerLint(lower, where, add)
    try:
        region = layout.blob(layer.digest)
        stored = pieces(region)
        first = next(stored, b"")
        most = decompress.limit_for(region.size, limit)
        compression = decompress.detect(bytes(first[:8]))
        data = decompress.decompress(itertools.chain([first], stored), compression, where, limit=most)
        for member in Archive(PieceStream(data), where):
            lint.member(member)
    except InputError as error:
        add("unreadable", where, within(InputError(within(error, layout.where)), where))
    lint.finish()


class _LayerLint:
    """One layer's members in their order, judged by those before them and by the layers below."""

    def __init__(self, lower: Tree, where: str, add: _Add) -> None:
        self._lower = lower
        self._where = where
        self._add = add
        self._names: set[str] = set()
        self._entries: dict[str, Entry] = {}
        self._removed: set[str] = set()
        self._opaque: set[str] = set()
        self._filled: set[str] = set()  # directories this layer has entries in
        self._links: list[tuple[str, str]] = []  # hard links whose target was not there before them
        self._reported: set[tuple[str, str]] = set()

    def member(self, member: Member) -> None:
        path = member.path
        name = path.rpartition("/")[2]
        if path in self._names:
            self._fault("duplicate-path", path, path, "is in the layer twice; docker and podman refuse that")
        self._names.add(path)
        if f"/{WHITEOUT}{WHITEOUT}" in f"/{path}" and name != OPAQUE:
            return  # aufs's own marks; all pass over them
        self._check_parents(path, whiteout=name.startswith(WHITEOUT))
        if name.startswith(WHITEOUT):
            self._whiteout(path, name)
        else:
            self._entry(member)

    def finish(self) -> None:
        """Judge what could not be known before the layer's end, and put the layer on top of those below."""
        for path, target in self._links:
            if target in self._entries:
                message = f"is a hard link before its target {shown(target)}; docker, podman and containerd refuse that"
                self._fault("hardlink-before-target", path, path, message)
            elif self._lower.entry(target) is not None:
                message = (
                    f"is a hard link to {shown(target)} of a lower layer; docker, podman and containerd refuse that"
                )
                self._fault("hardlink-lower", path, path, message)
            else:
                message = f"is a hard link to {shown(target)}, which is nowhere; every consumer refuses that"
                self._fault("hardlink-missing", path, path, message)
        apply_changeset(self._lower, Changeset(self._entries, tuple(self._removed), tuple(self._opaque)))

    def _fault(self, rule: str, cause: str, path: str, message: str) -> None:
        """Report a rule once for each cause: one link can have thousands of entries behind it."""
        if (rule, cause) not in self._reported:
            self._reported.add((rule, cause))
            self._add(rule, f"{self._where} {shown(path)}", message)

    def _check_parents(self, path: str, *, whiteout: bool) -> None:
        for up in ancestors(path):
            own = self._entries.get(up)
            if own is not None:
                if own.kind != DIRECTORY and whiteout:
                    message = (
                        f"is a whiteout below {shown(up)}, a {own.kind} of this layer; docker and podman refuse that"
                    )
                    self._fault("whiteout-below-link", up, path, message)
                elif own.kind != DIRECTORY and not self._leads_to_directory(up):
                    message = f"lies below {shown(up)}, a {own.kind} of this layer; docker and podman refuse that"
                    self._fault("parent-not-directory", up, path, message)
                return  # What is above it was judged with it.
            below = self._lower.entry(up)
            if below is not None and below.kind == SYMLINK and not self._hidden(up):
                message = (
                    f"goes through {shown(up)}, a link of a lower layer; docker, podman and containerd hide the link"
                )
                self._fault("lower-link", up, path, message)
                return

    def _leads_to_directory(self, path: str) -> bool:
        # Overlay drivers unpack a layer by itself, so a link to a directory of a lower layer leads nowhere.
        found = resolve(self, path, follow=True).entry
        return found is not None and found.kind == DIRECTORY

    def entry(self, path: str) -> Entry | None:
        """What this layer has at a path so far; a parent without an entry of its own is a directory."""
        implied = Entry(DIRECTORY, 0o755) if path in self._filled or not path else None
        return self._entries.get(path, implied)

    def _hidden(self, path: str) -> bool:
        """Whether a whiteout of this layer removes the path that a lower layer has."""
        above = {*ancestors(path)}
        return bool(above & self._opaque or (above | {path}) & self._removed)

    def _whiteout(self, path: str, name: str) -> None:
        directory = parent(path)
        if name == OPAQUE:
            self._opaque.add(directory)
            return
        removed = join(directory, name[len(WHITEOUT) :])
        if name[len(WHITEOUT) :] in ("", ".", ".."):
            self._fault("whiteout-name", path, path, "is a whiteout of nothing; every consumer refuses that")
            return
        if removed in self._entries or removed in self._filled:
            message = "is a whiteout of what this layer has put there; docker, podman and containerd refuse that"
            self._fault("whiteout-own-entry", path, path, message)
        elif directory in self._filled:
            message = "is a whiteout after an entry beside it; the specification wants whiteouts first"
            self._fault("whiteout-late", "", path, message)
        self._removed.add(removed)

    def _entry(self, member: Member) -> None:
        path, entry = member.path, member.entry
        if member.hardlink is not None:
            target = self._entries.get(member.hardlink)
            if target is None:
                self._links.append((path, member.hardlink))
            elif target.kind == DIRECTORY:
                self._fault(
                    "hardlink-missing", path, path, "is a hard link to a directory; every consumer refuses that"
                )
            else:
                entry = target
        if entry.kind != DIRECTORY and path in self._filled:
            message = f"is a {entry.kind} in place of a directory this layer has filled; what is in it is lost"
            self._fault("parent-not-directory", path, path, message)
        self._entries[path] = entry
        for up in ancestors(path):
            if up in self._filled:
                break
            self._filled.add(up)
