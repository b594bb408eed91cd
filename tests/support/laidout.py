# SPDX-License-Identifier: MIT
"""Layers of packages laid out in folders, in a process of its own, as a task of BitBake has it done."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from . import tools

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# No command does it, so the configuration is read as that of `build`.
_PROGRAM = """
import json, sys
from oe_oci import cli, commands
from oe_oci.errors import OciError
from oe_oci.folders import lay_out

arguments = cli.make_parser().parse_args(["build", *sys.argv[2:]])
arguments.progress = lambda _text: None
try:
    config, _ = commands._read_config(arguments.conf, arguments)
    json.dump(lay_out(config, commands._options(arguments), sys.argv[1]), sys.stdout)
except OciError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def program(prefix: Path, *words: object) -> list[object]:
    """The words of a command that lays out what `build` would build with these words."""
    return [sys.executable, "-c", _PROGRAM, prefix, *words]


def lay_out(prefix: Path, *words: object, before: Iterable[object] = (), **options: Any) -> list[str]:
    """Lay out the layers; the words of `build` that take them in again."""
    done = tools.run(*before, *program(prefix, *words), timeout=300, **options)
    return settings(json.loads(done.stdout))


def settings(folders: Iterable[tuple[int, str, str]]) -> list[str]:
    return [word for number, _, path in folders for word in ("--set", f"OCI_LAYER_{number}_ROOTFS={path}")]
