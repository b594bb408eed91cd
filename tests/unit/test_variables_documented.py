# SPDX-License-Identifier: MIT
"""docs/reference/variables.md says what the table says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from oe_oci.configure.variables import GROUPS, TABLE, VARIABLES, Variable

TEXT = (Path(__file__).parents[2] / "docs" / "reference" / "variables.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### `([A-Z_]+(?:<n>[A-Z_]+)?)`\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL))


def _default(variable: Variable) -> str:
    if variable.default is None:
        return f"Unset: {variable.unset}."
    return f"Default: `{variable.default}`." if variable.default else "Default: empty."


@pytest.mark.parametrize("variable", TABLE, ids=lambda variable: variable.name)
def test_a_variable_is_documented_as_the_table_has_it(variable: Variable) -> None:
    paragraphs = [" ".join(text.split()) for text in SECTIONS[variable.name].strip().split("\n\n")]
    assert paragraphs == [_default(variable), variable.meaning, f"Values: {variable.values}"]


def test_the_documentation_has_no_other_variable() -> None:
    assert set(SECTIONS) == set(VARIABLES)


def test_the_table_names_each_variable_once_in_the_order_of_groups() -> None:
    assert len(VARIABLES) == len(TABLE)
    groups = list(GROUPS)
    places = [groups.index(variable.group) for variable in TABLE]
    assert places == sorted(places)


def test_what_is_unset_says_what_holds_then() -> None:
    assert all(bool(variable.unset) == (variable.default is None) for variable in TABLE)


def test_every_variable_named_in_the_text_exists() -> None:
    body, _, differences = TEXT.partition("## Differences")
    assert set(re.findall(r"`(OCI_[A-Z_]+)`", body)) <= set(VARIABLES)
    assert "OCI_IMAGE_TAR_OUTPUT" in differences
