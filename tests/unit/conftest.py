# SPDX-License-Identifier: MIT
"""What unit tests share."""

from __future__ import annotations

import pytest

from oe_oci import digests


@pytest.fixture(autouse=True)
def local_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the tests run, in a container's layers too: their files are such as are remembered."""
    monkeypatch.setattr(digests, "_is_local", lambda _path: True)
