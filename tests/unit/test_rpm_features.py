# SPDX-License-Identifier: MIT
"""Features that packages ask for, `rpmlib(…)`: what is said of one that is not known."""

from __future__ import annotations

import pytest
from support.rpmlayers import Build
from support.rpms import package

from oe_oci.errors import InputError


def refused(tmp_path, needed: str) -> InputError:
    build = Build(tmp_path / "feed", [package("a", requires=["b"]), package("b", requires=[needed])])
    with pytest.raises(InputError) as caught:
        build.layers("a")
    assert caught.value.message.startswith(f"{tmp_path}/feed/b-1.0-1.noarch.rpm: needs '{needed}', ")
    return caught.value


def test_a_feature_that_is_not_known(tmp_path):
    error = refused(tmp_path, "rpmlib(Telepathy) <= 7.0-1")
    assert error.message.endswith("a feature of packages that is not known here")
    assert 'OCI_PACKAGE_MANAGER = "native"' in error.hint


@pytest.mark.parametrize("version", ["1-1-1", "x", "1.x-2", "٣-1", "9" * 300 + "x"])
def test_a_version_that_is_none(tmp_path, version):
    build = Build(tmp_path / "feed", [package("a", requires=[f"rpmlib(FileDigests) <= {version}"])])
    with pytest.raises(InputError, match="a feature of packages that is not known here"):
        build.layers("a")


def test_what_is_not_whole_is_said_to_be_so(tmp_path):
    assert "--short-circuit" in refused(tmp_path, "rpmlib(ShortCircuited) <= 4.9.0-1").hint
