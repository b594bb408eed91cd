# SPDX-License-Identifier: MIT
"""What each command of `oe-oci cache` does with its arguments.

What a command needs is imported when it runs, so that each starts fast.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .commands import default_cache, print_findings, print_result
from .tables import size, table

if TYPE_CHECKING:
    from argparse import Namespace

    from .survey import Entry

FAILED = 3
_DIGITS = 12


def ls(arguments: Namespace) -> int:
    from .survey import Survey

    entries = Survey(_folder(arguments)).entries
    head = ["KEY", "IMAGE", "LAYER", "TYPE", ">SIZE", "BLOB", "LAST USED"]
    rows = [
        [
            entry.layer.key[:_DIGITS],
            *_names(entry).values(),
            size(entry.layer.blob.size),
            entry.layer.blob.digest.hex[:_DIGITS],
            _minute(entry.file.used),
        ]
        for entry in entries
    ]
    print_result(arguments, [_listed(entry) for entry in entries], table(head, rows) if rows else "the cache is empty")
    return 0


def show(arguments: Namespace) -> int:
    import json

    from .survey import Survey

    entry = Survey(_folder(arguments)).entry(arguments.key)
    layer = entry.layer
    facts = {name: value for name, value in layer.facts.items() if name not in ("image", "layer", "kind")}
    more = {
        "shape": layer.shape,
        "mediaType": layer.blob.media_type,
        "diffId": str(layer.diff_id),
        "uncompressedSize": layer.raw_size,
        "listing": str(layer.listing.digest),
        "facts": facts,
    }
    rows = [
        ("key", layer.key),
        *_names(entry).items(),
        ("size", size(layer.blob.size)),
        ("blob", str(layer.blob.digest)),
        ("media type", layer.blob.media_type),
        ("tar", size(layer.raw_size)),
        ("diff ID", str(layer.diff_id)),
        ("listing", str(layer.listing.digest)),
        ("shape", layer.shape),
        ("made", _minute(entry.made)),
        ("last used", _minute(entry.file.used)),
        *((name, value if isinstance(value, str) else json.dumps(value)) for name, value in sorted(facts.items())),
    ]
    text = "\n".join(f"{name}: {value}" for name, value in rows)
    print_result(arguments, {**_listed(entry), **more}, text)
    return 0


def verify(arguments: Namespace) -> int:
    from .audit import verify as run_verify

    found = run_verify(_folder(arguments), arguments.progress)
    return print_findings(arguments, [violation._asdict() for violation in found])


def gc(arguments: Namespace) -> int:
    from .upkeep import Limits
    from .upkeep import gc as run_gc

    limits = Limits(arguments.max_size, arguments.max_age, arguments.unused)
    arguments.progress("looking for what may go")
    done = run_gc(_folder(arguments), limits, dry_run=arguments.dry_run)
    total = sum(removal.size for removal in done.removed)
    value = {
        "removed": [removal._asdict() for removal in done.removed],
        "size": total,
        "left": done.left,
        "failed": [{"where": where, "message": message} for where, message in done.failed],
    }
    verb = "would remove" if arguments.dry_run else "removed"
    lines = [f"{verb} {size(total)} in {_counted(len(done.removed))}; {size(done.left)} are left"]
    for reason, told in _REASONS.items():
        sizes = [removal.size for removal in done.removed if removal.reason == reason]
        if sizes:
            lines.append(f"  {told}: {size(sum(sizes))} in {_counted(len(sizes))}")
    lines += [f"could not remove {where}: {message}" for where, message in done.failed]
    print_result(arguments, value, "\n".join(lines))
    return FAILED if done.failed else 0


_REASONS = {
    "garbage": "garbage",
    "old": "made too long ago",
    "unused": "not used for too long",
    "size": "used least recently",
}


def du(arguments: Namespace) -> int:
    from .upkeep import du as run_du

    found = run_du(_folder(arguments))
    rows = [[name, str(count), size(total)] for name, (count, total) in found.items()]
    value = {name: {"files": count, "size": total} for name, (count, total) in found.items()}
    print_result(arguments, value, table(["WHAT", ">FILES", ">SIZE"], rows))
    return 0


def _folder(arguments: Namespace) -> str:
    folder: str = arguments.cache_dir or default_cache()
    return folder


def _names(entry: Entry) -> dict[str, str]:
    facts = entry.layer.facts
    return {
        "image": str(facts.get("image", "")),
        "layer": str(facts.get("layer", "")),
        "type": str(facts.get("kind", "")),
    }


def _listed(entry: Entry) -> dict[str, Any]:
    layer = entry.layer
    return {
        "key": layer.key,
        **_names(entry),
        "size": layer.blob.size,
        "blob": str(layer.blob.digest),
        "made": entry.made,
        "lastUsed": int(entry.file.used),
    }


def _minute(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


def _counted(number: int) -> str:
    return "1 file" if number == 1 else f"{number} files"
