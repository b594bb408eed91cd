# SPDX-License-Identifier: MIT
"""What differs between two stored images: layers, the files of the final trees, config, annotations, platform.

Pure but for reading the images. Must not know how images are made or where the difference is shown.
"""

from __future__ import annotations

import hashlib
import json
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, NamedTuple

from .content import content_digest, pieces
from .oci.layout import find_image, open_layout, read_image
from .oci.spec import Digest, Platform, as_list, as_object, as_text, as_texts
from .stored import Seen, image_tree
from .tree import BLOCK, CHAR, DIRECTORY, FILE, SYMLINK, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .content import Region
    from .members import Listing
    from .notes import Notes
    from .oci.layout import Image, Layout
    from .oci.spec import Descriptor
    from .stored import LayerPass
    from .tree import Entry, Tree

_Claim = tuple[Digest, int, str, Digest]  # what is said of a layer: its digest, size, media type and diff ID

_PLATFORM = ("os", "architecture", "variant")
# The config's own lists of facts, told apart key by key; their values may be empty and still say something.
_KEYED = ("Env", "Labels", "ExposedPorts", "Volumes")


class Side(NamedTuple):
    """One of the two images."""

    layout: str
    digest: Digest
    platform: Platform


class LayerChange(NamedTuple):
    """A layer of one image or both; a position counts from 0 at the base and is None where the layer is not there."""

    diff_id: Digest
    before: int | None
    after: int | None


class FileChange(NamedTuple):
    """A path whose facts differ: `facts` names them, each with its value before and after."""

    path: str
    facts: tuple[tuple[str, Any, Any], ...]


class ValueChange(NamedTuple):
    """A value of the config or an annotation by its key path; None where it is not there."""

    key: str
    before: Any
    after: Any


class ImageDiff(NamedTuple):
    """The difference of two images. `layers` lists all layers, those that both have too."""

    before: Side
    after: Side
    layers: tuple[LayerChange, ...]
    added: tuple[tuple[str, Entry], ...]
    removed: tuple[tuple[str, Entry], ...]
    changed: tuple[FileChange, ...]
    config: tuple[ValueChange, ...]
    annotations: tuple[ValueChange, ...]

    @property
    def empty(self) -> bool:
        """Nothing differs but, perhaps, how the layers are compressed, and times where those were not asked for."""
        return (
            self.before.platform == self.after.platform
            and all(None not in (layer.before, layer.after) for layer in self.layers)
            and not (self.added or self.removed or self.changed or self.config or self.annotations)
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "empty": self.empty,
            "before": _side_json(self.before),
            "after": _side_json(self.after),
            "layers": [_layer_json(layer) for layer in self.layers],
            "files": {
                "added": [{"path": shown(path), **_entry_json(entry)} for path, entry in self.added],
                "removed": [{"path": shown(path), **_entry_json(entry)} for path, entry in self.removed],
                "changed": [
                    {"path": shown(change.path), **{fact: {"before": a, "after": b} for fact, a, b in change.facts}}
                    for change in self.changed
                ],
            },
            "config": [value._asdict() for value in self.config],
            "annotations": [value._asdict() for value in self.annotations],
        }


def _layer_json(layer: LayerChange) -> dict[str, Any]:
    return {"diffId": str(layer.diff_id), "before": layer.before, "after": layer.after}


def _side_json(side: Side) -> dict[str, Any]:
    return {"layout": side.layout, "digest": str(side.digest), "platform": side.platform.to_json()}


def _entry_json(entry: Entry) -> dict[str, Any]:
    return dict(_facts(entry, times=True))


def diff_images(
    before: tuple[str, str | None],
    after: tuple[str, str | None],
    *,
    platform: Platform | None = None,
    limit: int | None = None,
    times: bool = False,
) -> ImageDiff:
    """Compare two images, each given as the path of its layout and a tag; modification times only with `times`.

    Raises:
        InputError: an image is damaged, or it is not clear which one is meant.
        ToolError: a file can not be read.
    """
    with open_layout(before[0], limit=limit) as first, open_layout(after[0], limit=limit) as second:
        old = read_image(first, find_image(first, before[1], platform))
        new = read_image(second, find_image(second, after[1], platform))
        common = _Common(old, new)
        lower = image_tree(first, old, limit=limit, earlier=common)
        upper = image_tree(second, new, limit=limit, earlier=common)
        with lower as (a, _), upper as (b, _):
            return ImageDiff(
                Side(first.where, old.descriptor.digest, _platform(old)),
                Side(second.where, new.descriptor.digest, _platform(new)),
                tuple(_layers(old.diff_ids, new.diff_ids)),
                tuple((path, entry) for path, entry in b.walk() if path not in a),
                tuple((path, entry) for path, entry in a.walk() if path not in b),
                tuple(_files(a, b, times=times)),
                _values(_config(old), _config(new)),
                _values(_annotations(old), _annotations(new)),
            )


class _Common:
    """What is in the layers that both images have, which are read once; the second time only the blob is hashed."""

    notes: Notes | None = None

    def __init__(self, before: Image, after: Image) -> None:
        self._wanted = {*map(_claim, before.layers, before.diff_ids)} & {*map(_claim, after.layers, after.diff_ids)}
        self._seen: dict[_Claim, tuple[Region, Seen]] = {}

    def recall(self, layout: Layout, descriptor: Descriptor, diff_id: Digest) -> Seen | None:
        """What is in a layer that was read before; None where it was not, or where this blob is another one."""
        known = self._seen.get(_claim(descriptor, diff_id))
        if known is None:
            return None
        region = layout.blob(descriptor.digest)
        same = (region.stamp, region.offset) == (known[0].stamp, known[0].offset)
        return known[1] if same or _hashed(region, descriptor.digest) else None

    def keep(self, layer: LayerPass, descriptor: Descriptor, diff_id: Digest, listing: Listing) -> None:
        """Take note of a layer that the other image has too."""
        claim = _claim(descriptor, diff_id)
        if claim in self._wanted:
            self._seen[claim] = layer.region, Seen(listing, layer.size)


def _claim(layer: Descriptor, diff_id: Digest) -> _Claim:
    return layer.digest, layer.size, layer.media_type, diff_id


def _hashed(region: Region, digest: Digest) -> bool:
    """Whether bytes have a digest."""
    state = hashlib.new(digest.algorithm)
    for piece in pieces(region):
        state.update(piece)
    return state.hexdigest() == digest.hex


def _platform(image: Image) -> Platform:
    return Platform(*(as_text(image.config, key, str(image.config_descriptor.digest), "") for key in _PLATFORM))


def _layers(before: tuple[Digest, ...], after: tuple[Digest, ...]) -> Iterator[LayerChange]:
    for tag, a, a_end, b, b_end in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            yield from (LayerChange(before[a + n], a + n, b + n) for n in range(a_end - a))
        else:
            yield from (LayerChange(before[n], n, None) for n in range(a, a_end))
            yield from (LayerChange(after[n], None, n) for n in range(b, b_end))


def _files(before: Tree, after: Tree, *, times: bool) -> Iterator[FileChange]:
    for path, old in before.walk():
        new = after.entry(path)
        if new is None or _same(old, new, times=times):
            continue
        facts = dict(_facts(old, times=times)), dict(_facts(new, times=times))
        if old.inode is not None or new.inode is not None:
            for side, tree, entry in zip(facts, (before, after), (old, new)):
                side["links"] = _other_names(tree, path, entry)
        keys = dict.fromkeys((*facts[0], *facts[1]))
        found = tuple((key, facts[0].get(key), facts[1].get(key)) for key in keys)
        differing = tuple(fact for fact in found if fact[1] != fact[2])
        if differing:
            yield FileChange(path, differing)


def _same(old: Entry, new: Entry, *, times: bool) -> bool:
    """Whether nothing differs, where that is seen without a look at each fact; else it is open."""
    alike = old[:4] == new[:4] and old[5:9] == new[5:9] and (old.mtime == new.mtime or not times)
    if not alike or old.inode is not None or new.inode is not None:
        return False
    contents = [content_digest(entry.content) for entry in (old, new) if entry.content is not None]
    return contents[:1] == contents[1:]


def _facts(entry: Entry, *, times: bool) -> Iterator[tuple[str, Any]]:
    """What is compared of an entry, as a report shows it; a kind has no facts that say nothing of it."""
    yield "kind", entry.kind
    yield "mode", f"{entry.mode:04o}"
    yield "uid", entry.uid
    yield "gid", entry.gid
    if entry.kind == FILE:
        assert entry.content is not None
        yield "size", entry.size
        yield "content", "sha256:" + content_digest(entry.content)
    elif entry.kind == SYMLINK:
        yield "target", shown(entry.target)[1:]
    elif entry.kind in (BLOCK, CHAR):
        yield "device", "{}:{}".format(*entry.device)
    if entry.xattrs:
        yield "xattrs", {shown(name)[1:]: value.hex() for name, value in entry.xattrs}
    if times:
        yield "mtime", entry.mtime


def _other_names(tree: Tree, path: str, entry: Entry) -> list[str]:
    names = [] if entry.inode is None else tree.names_of(entry.inode)
    return sorted(shown(name) for name in names if name != path)


def _annotations(image: Image) -> dict[str, Any]:
    return dict(as_texts(image.manifest, "annotations", str(image.descriptor.digest)))


def _config(image: Image) -> dict[str, Any]:
    """The config's values by their key paths, without what layers and platform say; the history is only counted."""
    where = str(image.config_descriptor.digest)
    top = {key: value for key, value in image.config.items() if key not in (*_PLATFORM, "rootfs", "history", "config")}
    run = as_object(image.config.get("config") or {}, f"{where}: config")
    found = dict(_flat(top, ""))
    found.update(_flat({key: value for key, value in run.items() if key not in _KEYED}, "config"))
    for name in _KEYED:
        if name == "Env":
            pairs = [str(text).partition("=") for text in as_list(run, name, f"{where}: config")]
            keyed: dict[str, Any] = {key: value for key, _, value in pairs}
        else:
            keyed = as_object(run.get(name) or {}, f"{where}: config.{name}")
        found.update({f"config.{name}[{_quoted(key)}]": value for key, value in keyed.items()})
    found["history"] = len(as_list(image.config, "history", where))
    return found


def _flat(fields: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Values by their key paths; one that equals a missing one (null, empty, false) is left out, as Go writes it."""
    for key, value in fields.items():
        path = (f"{prefix}." if prefix else "") + (key if key.isidentifier() and key.isascii() else _quoted(key))
        if isinstance(value, dict):
            yield from _flat(value, path)
        elif value:
            yield path, value


def _values(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[ValueChange, ...]:
    pairs = [(key, before.get(key), after.get(key)) for key in sorted({*before, *after})]
    return tuple(ValueChange(*pair) for pair in pairs if pair[1] != pair[2])


def _quoted(value: Any) -> str:
    """A value on one line of printable ASCII, whatever an image holds."""
    return json.dumps(value, sort_keys=True)


def render(diff: ImageDiff) -> str:
    """The difference as text for people: `-` before, `+` after, `~` changed."""
    lines = [f"--- {diff.before.layout} {diff.before.digest}", f"+++ {diff.after.layout} {diff.after.digest}"]
    if diff.empty:
        return "\n".join([*lines, "no difference"])
    if diff.before.platform != diff.after.platform:
        lines.append(f"platform: {diff.before.platform} -> {diff.after.platform}")
    lines += _layer_lines(diff.layers)
    if diff.added or diff.removed or diff.changed:
        lines.append(f"files: {len(diff.removed)} removed, {len(diff.added)} added, {len(diff.changed)} changed")
        lines += [f"  - {_entry_line(path, entry)}" for path, entry in diff.removed]
        lines += [f"  + {_entry_line(path, entry)}" for path, entry in diff.added]
        lines += [
            f"  ~ {shown(path)}: {', '.join(_fact_text(*fact) for fact in facts)}" for path, facts in diff.changed
        ]
    for title, values in (("config", diff.config), ("annotations", diff.annotations)):
        lines += [f"{title}:"] if values else []
        lines += [_value_line(value) for value in values]
    return "\n".join(lines)


def _layer_lines(layers: tuple[LayerChange, ...]) -> Iterator[str]:
    removed = [layer for layer in layers if layer.after is None]
    added = [layer for layer in layers if layer.before is None]
    if removed or added:
        common = len(layers) - len(removed) - len(added)
        yield f"layers: {common} common, {len(removed)} removed, {len(added)} added"
        yield from (f"  - {layer.before} {layer.diff_id}" for layer in removed)
        yield from (f"  + {layer.after} {layer.diff_id}" for layer in added)


def _entry_line(path: str, entry: Entry) -> str:
    slash = "/" if entry.kind == DIRECTORY and path else ""
    size = f" {entry.size} bytes" if entry.kind == FILE else ""
    return f"{shown(path)}{slash} {entry.kind} {entry.mode:04o} {entry.uid}:{entry.gid}{size}"


def _fact_text(fact: str, before: Any, after: Any) -> str:
    if fact == "content":
        return fact
    return f"{fact} {_plain(before)} -> {_plain(after)}"


def _plain(value: Any) -> str:
    return "none" if value is None else value if isinstance(value, str) else _quoted(value)


def _value_line(value: ValueChange) -> str:
    if value.before is None:
        return f"  + {value.key}: {_quoted(value.after)}"
    if value.after is None:
        return f"  - {value.key}: {_quoted(value.before)}"
    return f"  ~ {value.key}: {_quoted(value.before)} -> {_quoted(value.after)}"
