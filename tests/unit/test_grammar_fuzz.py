# SPDX-License-Identifier: MIT
"""Whatever the text is: layers, or faults of the configuration; never anything else."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.variables import ROOTFS, FakeVariables

from oe_oci.config import PackagesLayer
from oe_oci.configure import configure
from oe_oci.configure.grammar import parse_layers, split_content
from oe_oci.configure.variables import TABLE
from oe_oci.errors import ConfigError

_fuzz = settings(derandomize=True, deadline=None, max_examples=300)

# Text as a person might write it, and text nobody would; with what non-UTF-8 bytes of a file become.
_PIECES = ["a", "app", "packages", "directories", "files", "host", ":", "+", "++", "+++", ",", "/", "..", ".", "/etc/x"]
_pieces = st.lists(st.sampled_from([*_PIECES, " ", "\n", "${X}", "\udcff", "\0", "'", "=", "8080"]), max_size=30)
_texts = st.text() | st.text(alphabet=":+,/. abc-_'\"\\=$\n") | _pieces.map("".join)


@_fuzz
@given(_texts)
@example(":::")
@example("a:packages:++")
@example("a:host:::")
def test_any_text_gives_layers_or_faults(text: str) -> None:
    layers, faults, _ = parse_layers(text, "/project")
    assert len(layers) + len(faults) >= len(text.split())
    assert len({layer.name for layer in layers}) == len(layers)


@_fuzz
@given(st.dictionaries(st.sampled_from([variable.name for variable in TABLE]), _texts, max_size=6))
def test_any_values_give_a_configuration_or_its_error(values: dict[str, str]) -> None:
    try:
        configure(FakeVariables({**ROOTFS, **values}), folder="/project")
    except ConfigError as error:
        lines = str(error).split("\n")
    else:
        lines = [" "]
    assert "".join(lines).isprintable()
    assert all(lines)


@_fuzz
@given(st.lists(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,8}", fullmatch=True), min_size=1, unique=True))
def test_packages_joined_by_commas_are_the_same_packages(packages: list[str]) -> None:
    layers, faults, _ = parse_layers(f"a:packages:{','.join(packages)},", "/")
    assert not faults
    assert layers == (PackagesLayer("a", tuple(packages)),)


@_fuzz
@given(st.text(alphabet="ab+,", min_size=1))
def test_a_content_written_with_commas_is_the_same_content(content: str) -> None:
    """A comma at the end makes a single item that holds a `+` whole."""
    try:
        items = split_content(content)
    except ConfigError:
        return
    assert split_content(",".join(items) + ",") == items


@_fuzz
@given(st.lists(st.sampled_from(["a", "libstdc++", "g++", "x-1.0", "c++2"]), min_size=1))
def test_a_single_plus_separates_names_with_two(names: list[str]) -> None:
    assert split_content("+".join(names)) == names
