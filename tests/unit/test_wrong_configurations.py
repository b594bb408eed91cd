# SPDX-License-Identifier: MIT
"""The table of wrong configurations: each gives exactly the message it has there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from oe_oci.bbconf import read_conf
from oe_oci.configure import command_line_defaults, configure
from oe_oci.errors import ConfigError

CASES = json.loads((Path(__file__).parent.parent / "data" / "wrong-configurations.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_message(case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("image.conf").write_text(case["conf"], encoding="utf-8")
    defaults = command_line_defaults("image.conf", "x86_64", "", "/home/user/.cache/oe-oci")
    with pytest.raises(ConfigError) as raised:
        configure(read_conf("image.conf", defaults=defaults, settings=case["settings"]), folder=str(tmp_path))
    assert str(raised.value) == case["message"]
    assert raised.value.exit_code == 2


def test_the_table_is_large_and_has_no_double() -> None:
    assert len(CASES) >= 45
    assert len({case["name"] for case in CASES}) == len(CASES)
    assert len({(case["conf"], *case["settings"]) for case in CASES}) == len(CASES)
