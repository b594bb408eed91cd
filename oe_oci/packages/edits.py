# SPDX-License-Identifier: MIT
"""What somebody changed by hand of a layer that was laid out in a folder, path by path.

A path is as it was laid out where a digest of its facts is, and the file has the names that it had; of a directory its
own facts count, and not what is in it. Must not know folders or records, nor what becomes of an edit.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from ..digests import Digests
    from ..tree import Entry

_LENGTH = 32  # of a digest in a record, which is of one image and not chosen by anybody


def facts_digest(entry: Entry, digests: Digests) -> str:
    """A digest of all that a layer has of a path, but for its time and the other names of the file.

    Raises:
        InputError, ToolError: a content can not be read.
    """
    content = "" if entry.content is None else digests(entry.content).hex()
    xattrs = [(name, value.hex()) for name, value in entry.xattrs]
    text = json.dumps([*entry[:4], entry.target, entry.device, xattrs, content])
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:_LENGTH]


def linked_names(entries: Mapping[str, Entry]) -> tuple[tuple[str, ...], ...]:
    """The names of each file that has several."""
    groups: dict[Hashable, list[str]] = {}
    for path, entry in entries.items():
        if entry.inode is not None:
            groups.setdefault(entry.inode, []).append(path)
    return tuple(tuple(names) for names in groups.values() if len(names) > 1)


def find_changed(
    laid: Mapping[str, str], linked: Iterable[Iterable[str]], found: Mapping[str, Entry], digests: Digests
) -> dict[str, str]:
    """The paths of `found` that were changed or added, each with the digest of what was laid out, empty where nothing.

    `laid` has the digests of what was laid out, `linked` the names of each file that had several.

    Raises:
        InputError, ToolError: a content can not be read.
    """
    same = {path for path, entry in found.items() if path in laid and laid[path] == facts_digest(entry, digests)}
    before, after = _by_name(linked), _by_name(linked_names(found))
    return {
        path: laid.get(path, "")
        for path in found
        # Of names that part, those that changed are the edited ones.
        if path not in same or before.get(path, {path}) & same != after.get(path, {path})
    }


def _by_name(groups: Iterable[Iterable[str]]) -> dict[str, set[str]]:
    sets = map(set, groups)
    return {path: names for names in sets for path in names}
