# SPDX-License-Identifier: MIT
"""Archives and report made anew of a changed layout, in a process of its own, as a task of BitBake has it done."""

from __future__ import annotations

import json
import sys
from typing import Any

from . import tools

# No command does it, so the configuration is read as that of `build`.
_PROGRAM = """
import json, sys
from oe_oci import cli, commands
from oe_oci.refresh import refresh

arguments = cli.make_parser().parse_args(["build", *sys.argv[1:]])
arguments.progress = lambda _text: None
config, _ = commands._read_config(arguments.conf, arguments)
json.dump(refresh(config, commands._options(arguments)), sys.stdout)
"""


def refresh(*words: object) -> dict[str, Any] | None:
    """Refresh what `build` built with these words; the report, None where nothing was to be done."""
    found: dict[str, Any] | None = json.loads(tools.run(sys.executable, "-c", _PROGRAM, *words).stdout)
    return found
