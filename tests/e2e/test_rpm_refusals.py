# SPDX-License-Identifier: MIT
"""What rpm refuses to install by what a package says that it needs is refused as a layer too, and nothing else is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from support import tools
from support.rpmlayers import Build
from support.rpms import package

from oe_oci.errors import ConfigError, InputError

if TYPE_CHECKING:
    from pathlib import Path

    from support.rpms import Made


def rpm_takes(made: Made, folder: Path) -> bool:
    """Whether the real rpm would install a package."""
    tools.need("rpm")
    words = ["--root", folder / "root", "--dbpath", "/var/lib/rpm", "--nosignature", "--force-debian", "--test"]
    (folder / "root").mkdir(exist_ok=True)
    return tools.run("rpm", *words, "-i", made.write(folder), status=None, timeout=30).returncode == 0


def is_taken(made: Made, folder: Path) -> bool:
    try:
        Build(folder / "feed", [made]).layers(made.name)
    except (ConfigError, InputError):
        return False
    return True


def features() -> list[str]:
    """The features that this rpm has."""
    tools.need("rpm")
    return re.findall(r"^ +(rpmlib\(.*\) = .*)$", tools.run("rpm", "--showrc").stdout, re.MULTILINE)


def test_every_feature_that_rpm_has_is_known(tmp_path):
    found = features()
    assert len(found) > 10
    assert is_taken(package("a", requires=[*found, *(one.replace(" = ", " <= ") for one in found)]), tmp_path)


@pytest.mark.parametrize(
    "needed",
    [
        "rpmlib(FileDigests) <= 4.6.0-2",
        "rpmlib(FileDigests) <= 4.6.0",
        "rpmlib(FileDigests) <= 4.5.9-1",
        "rpmlib(FileDigests) < 4.6.0-1",
        "rpmlib(FileDigests) < 5",
        "rpmlib(FileDigests) >= 4.6.0-1",
        "rpmlib(FileDigests) > 4.6.0-1",
        "rpmlib(FileDigests) = 4.6.0-1",
        "rpmlib(PayloadFilesHavePrefix) <= 4.0.1-1",
        "rpmlib(PayloadFilesHavePrefix) <= 4.0-2",
        "rpmlib(ShortCircuited) <= 4.9.0-1",
        "rpmlib(NothingYet) <= 9.9-1",
        "rpmlib(NothingYet)",
        "rpmlib()",
    ],
)
def test_features(needed, tmp_path):
    made = package("a", requires=[needed])
    assert is_taken(made, tmp_path) == rpm_takes(made, tmp_path)
