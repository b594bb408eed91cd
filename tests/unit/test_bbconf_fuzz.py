# SPDX-License-Identifier: MIT
"""Whatever a configuration holds, it is read or refused with a ConfigError, and soon."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oe_oci.bbconf import expand, read_conf
from oe_oci.errors import ConfigError

NAMES = st.sampled_from(["A", "B", "C", "OVERRIDES", "FILE", "BBPATH", "THISDIR", "A_${B}", "${C}", "${A"])
SUFFIXES = st.lists(
    st.sampled_from([":append", ":prepend", ":remove", ":foo", ":bar", ":${B}", ":", "[ff]", "_append"]), max_size=3
)
OPERATORS = st.sampled_from(["=", "?=", "??=", ":=", "+=", "=+", ".=", "=."])
PIECES = st.sampled_from(
    ["${A}", "${B}", "${C}", "${A:foo}", "${${C}", "${", "}", "$", "{B}", "${@1}", " ", "foo", ":", "x.inc", "é"]
)
VALUES = st.lists(PIECES, max_size=6).map("".join)
ASSIGNMENTS = st.tuples(NAMES, SUFFIXES.map("".join), OPERATORS, VALUES).map(
    lambda parts: '{}{} {} "{}"'.format(*parts)
)
OTHERS = st.sampled_from(["require", "include", "unset", "export", "inherit", "#", "\\", "def f():", "x() {", "}"])
STATEMENTS = st.one_of(ASSIGNMENTS, ASSIGNMENTS, st.tuples(OTHERS, VALUES).map(" ".join), st.text(max_size=12))
TEXTS = st.tuples(st.lists(STATEMENTS, max_size=12), st.sampled_from(["\n", "\r\n", "\\\n"])).map(
    lambda t: t[1].join(t[0])
)

quickly = settings(
    derandomize=True,
    deadline=None,
    max_examples=200,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(autouse=True)
def _little_work(monkeypatch):
    monkeypatch.setattr(expand, "VALUE_LIMIT", 1 << 14)
    monkeypatch.setattr(expand, "WORK_LIMIT", 1 << 20)


def said(call, *arguments, **options):
    """What a call gives, or None where it refuses; nothing else may come of it."""
    try:
        return call(*arguments, **options)
    except ConfigError as error:
        if not error.faults or not all(fault.message for fault in error.faults):
            raise AssertionError("an error without a message") from error
        return None


def check(folder, data, others=(), extra=b""):
    """Reads a file and asks for everything."""
    (folder / "image.conf").write_bytes(data)
    (folder / "x.inc").write_bytes(extra)
    variables = said(read_conf, str(folder / "image.conf"), defaults={"C": "${A}", "D": "x"}, settings=others)
    if variables:
        for name in [*variables.names(), *variables.referenced(), "THISDIR", "OVERRIDES"]:
            said(variables.get, name)
            said(variables.location, name)
            said(variables.flag, name, "ff")


@quickly
@given(data=st.binary(max_size=200))
def test_bytes(tmp_path, data):
    check(tmp_path, data)


@quickly
@given(text=st.text(alphabet="AB:[]+.?=\"'\\# \n\r\t${}@ff", max_size=80))
def test_letters(tmp_path, text):
    check(tmp_path, text.encode())


@quickly
@given(text=TEXTS, included=TEXTS, others=st.lists(ASSIGNMENTS.map(lambda text: text.replace(" = ", "=")), max_size=2))
def test_statements(tmp_path, text, included, others):
    check(tmp_path, text.encode(), others, included.encode())


@quickly
@given(setting=st.text(max_size=20))
def test_settings(tmp_path, setting):
    check(tmp_path, b'A = "x"\n', [setting, f"A={setting}", f"A[{setting}]=x"])


@pytest.mark.parametrize(
    "text",
    [
        "export" + " " * 200_000 + "!",
        " " * 200_000 + "x",
        "A" + " " * 200_000 + "x",
        "A" * 200_000,
        "A[" + "f" * 200_000,
        "A[f" + "]" * 200_000,
        "include" + "\t" * 200_000 + "x",
        "x(" * 100_000,
        "x() {\n" * 20_000,
        'A = "' + "${" * 100_000 + '"',
        'A = "' + "${@" * 100_000 + '"',
        'A = "' + "${B}" * 100_000 + '"',
        "A" + ":a" * 100_000 + ' = "x"',
        "A:append" + ":a" * 100_000 + ' = "x"',
        'A:append = "x"\n' * 20_000,
        'A .= "xx"\n' * 20_000,
        'A := "${A}x"\n' * 20_000,
        'A = "x \\\n' + "y \\\n" * 100_000 + '"',
        "\\\n" * 100_000,
        "A = x\n" * 50_000,
        'OVERRIDES = "' + "a:" * 50_000 + '"\nA:a = "x"\n',
        "".join(f'A:o{i} = "x"\nB .= ":o{i}"\n' for i in range(5000)) + 'OVERRIDES = "${B}"\n',
        "".join(f'A{i} := "${{A{i - 1}}}${{A{i - 1}}}x"\n' for i in range(5000)),
        "".join(f'A{i} = "${{A{i + 1}}} ${{A{i + 2}}}"\n' for i in range(5000)) + 'A = "${A0}"\n',
        'A = "${V${V}"\nV = "}}${V${V"\n',
    ],
    ids=range(25),
)  # fmt: skip
def test_excess(tmp_path, text):
    check(tmp_path, text.encode())
