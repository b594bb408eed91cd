# SPDX-License-Identifier: MIT
"""The least that one layer of a tar's bytes costs: it is read, hashed, compressed and hashed again, by one thread.

    limit.py COMPRESSOR TAR PLACE

prints the CPU seconds of that; COMPRESSOR is what the report of oe-oci says of it, as JSON. The compressed bytes are
written to the file `layer` in the folder PLACE, and their digest to `digest`, so that they can be checked; what the
writing costs does not count. Must not know oe-oci.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
import zlib
from typing import TYPE_CHECKING, Any

import pyzstd
from zlib_ng import zlib_ng

if TYPE_CHECKING:
    from collections.abc import Mapping

_BLOCK = 1 << 20
_GZIP = 31  # zlib's window bits for a gzip member


def compressor(identity: Mapping[str, Any]) -> Any:
    """What compresses, as oe-oci describes it in its report.

    Raises:
        ValueError: there is none of that name.
    """
    name, level = identity["name"], identity["level"]
    if name == "pyzstd":
        options = {pyzstd.CParameter.compressionLevel: level, pyzstd.CParameter.checksumFlag: 1}
        # Those of jobs are of no use to one thread.
        tuned = {each: identity[each] for each in ("windowLog", "hashLog", "minMatch") if each in identity}
        options.update({getattr(pyzstd.CParameter, each): value for each, value in tuned.items()})
        return pyzstd.ZstdCompressor(options)
    libraries = {"zlib-ng": zlib_ng, "zlib": zlib}
    if name not in libraries:
        raise ValueError(f"no limit is known of '{name}'")
    return libraries[name].compressobj(level, zlib.DEFLATED, _GZIP)


def pack(identity: Mapping[str, Any], tar: str, place: str) -> float:
    """Pack a tar into a folder; the CPU seconds."""
    raw, digest, inner, spent = hashlib.sha256(), hashlib.sha256(), compressor(identity), 0.0
    with open(tar, "rb", buffering=0) as source, open(os.path.join(place, "layer"), "wb") as out:
        more = True
        while more:
            began = time.process_time()
            block = source.read(_BLOCK)
            more = bool(block)
            raw.update(block)
            made = inner.compress(block) if more else inner.flush()
            digest.update(made)
            spent += time.process_time() - began
            out.write(made)
    for file, found in (("diff-id", raw), ("digest", digest)):
        with open(os.path.join(place, file), "w", encoding="ascii") as out_of:
            out_of.write(f"{found.hexdigest()}\n")
    return spent


if __name__ == "__main__":
    print(pack(json.loads(sys.argv[1]), *sys.argv[2:]))
