# SPDX-License-Identifier: MIT
"""Which tests CI may skip."""

from __future__ import annotations

from pathlib import Path


def outside_ci() -> dict[str, str]:
    """The tests that CI may skip, each with its reason."""
    lines = (Path(__file__).parents[1] / "outside-ci").read_text(encoding="utf-8").splitlines()
    entries = (line.partition("  ") for line in lines if line.strip() and not line.startswith("#"))
    return {node: reason.strip() for node, _, reason in entries}
