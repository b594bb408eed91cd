# SPDX-License-Identifier: MIT
"""libsolv, by which packages are chosen here. BitBake's interpreter lacks it; package managers have their own."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from ..errors import ToolError


def is_there() -> bool:
    """Whether packages can be chosen here."""
    return find_spec("solv") is not None


def load() -> Any:
    """Libsolv's module.

    Raises:
        ToolError: it is not there.
    """
    try:
        import solv  # noqa: PLC0415 - not for the class, nor for builds without packages
    except ImportError as error:
        raise missing() from error
    return solv


def missing() -> ToolError:
    """The error of what can not be done without it."""
    hint = 'install it for this interpreter, or set OCI_PACKAGE_MANAGER = "native"'
    return ToolError("the built-in installer needs the Python package solv, which is not there", hint=hint)
