# SPDX-License-Identifier: MIT
"""docs/man/oe-oci.1 is what docs/make-man makes now, and a manual page."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "man" / "oe-oci.1"


def test_page_is_not_stale(tmp_path: Path) -> None:
    made = tmp_path / "oe-oci.1"
    # Neither the terminal nor the clock may show.
    for env in ({"COLUMNS": "40"}, {"COLUMNS": "200", "SOURCE_DATE_EPOCH": "1700000000"}):
        subprocess.run([sys.executable, ROOT / "docs" / "make-man", made], env=env, check=True)
        assert made.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8"), "stale: run docs/make-man"


def mandoc(*words: str) -> str:
    if not shutil.which("mandoc"):
        pytest.skip("no mandoc")
    argv = ["mandoc", *words, PAGE]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return re.sub(r".\x08", "", done.stdout)  # bold is a letter twice


def test_page_holds_no_error() -> None:
    assert mandoc("-T", "lint", "-W", "error") == ""


def test_page_renders() -> None:
    text = mandoc()
    for part in ("COMMANDS", "--max-unpacked SIZE", "EXIT STATUS", "EXAMPLES", "oe-oci unpack deploy/app-oci rootfs"):
        assert part in text
