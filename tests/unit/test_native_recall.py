# SPDX-License-Identifier: MIT
"""What an installation by a package manager is known by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from oe_oci.memory import Memory
from oe_oci.packages.native.manager import Request
from oe_oci.packages.native.recall import Recall
from oe_oci.packages.package import Installed
from oe_oci.store import Store
from oe_oci.tree import DIRECTORY, Entry, Tree

if TYPE_CHECKING:
    from pathlib import Path

LIB = Installed("lib", "1.0", "all", {})


class Nothing:
    """A catalog of feeds that offer nothing."""

    metadata = ()

    def offered(self, *_: Any) -> tuple[()]:
        return ()


@pytest.fixture
def key(tmp_path: Path) -> Any:
    recall = Recall(Memory(str(tmp_path)), Store(str(tmp_path)), str(tmp_path), [])
    tree = Tree({"": Entry(DIRECTORY, 0o755)})

    def made(*installed: Installed, apart: tuple[str, ...] = ()) -> str:
        return recall.key({"name": "fake"}, Request("one", ("app",), installed, 0), Nothing(), tree, apart)

    return made


def test_what_is_installed_counts_whatever_the_database_below_says(key):
    """A layer of files can replace the database; the packages of layers below are there all the same."""
    found = [key(), key(LIB), key(LIB._replace(version="2.0")), key(LIB._replace(state="install ok unpacked"))]
    assert len(set(found)) == 4
    assert key(LIB) == key(LIB)


def test_where_the_image_is_not_what_the_tool_sees_counts(key):
    assert key(apart=("var/lib/dpkg/status",)) != key()
