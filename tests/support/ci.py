# SPDX-License-Identifier: MIT
"""Which tests CI may skip."""

from __future__ import annotations

import re
from pathlib import Path


def outside_ci() -> dict[str, str]:
    """The tests that CI may skip, each with its reason."""
    lines = (Path(__file__).parents[1] / "outside-ci").read_text(encoding="utf-8").splitlines()
    entries = (line.partition("  ") for line in lines if line.strip() and not line.startswith("#"))
    return {node: reason.strip() for node, _, reason in entries}


def may_skip(node: str) -> bool:
    """Whether CI may skip a test, by its id: an entry is a test's, with its parameters or without, or has a `*`."""
    names = (node, node.partition("[")[0])
    entries = (re.escape(entry).replace(r"\*", ".*") for entry in outside_ci())
    return any(re.fullmatch(entry, name) for entry in entries for name in names)
