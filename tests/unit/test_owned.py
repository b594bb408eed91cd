# SPDX-License-Identifier: MIT
"""The file that says which package owns what in the rootfs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from oe_oci.errors import InputError
from oe_oci.owned import Owned, read_owned
from oe_oci.tree import decode

if TYPE_CHECKING:
    from pathlib import Path

HINT = 'it holds {"packages": {"NAME": ["/path", …]}}'


def test_paths_are_as_a_tree_has_them(tmp_path: Path) -> None:
    odd = decode(b"etc/\xff")
    value = {"packages": {"a": ["/usr//bin/./a", f"/{odd}", "/"], "libb++": []}, "more": 1}
    (tmp_path / "f").write_text(json.dumps(value), encoding="utf-8")
    assert read_owned(str(tmp_path / "f"), with_needs=False) == Owned({"a": ("usr/bin/a", odd, ""), "libb++": ()})


def test_what_packages_need_and_their_versions(tmp_path: Path) -> None:
    value = {"packages": {}, "needs": {"a": ["b", "c"], "b": []}, "versions": {"a": ["1.0-r0", "core2-64"]}}
    (tmp_path / "f").write_text(json.dumps(value), encoding="utf-8")
    assert read_owned(str(tmp_path / "f"), with_needs=True)[1:] == (
        {"a": ("b", "c"), "b": ()},
        {"a": ("1.0-r0", "core2-64")},
    )


def test_what_packages_need_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "f").write_text('{"packages": {}}')
    with pytest.raises(InputError) as caught:
        read_owned(str(tmp_path / "f"), with_needs=True)
    assert caught.value.message == f"OCI_ROOTFS_PACKAGES: {tmp_path}/f: does not say what packages need"
    assert "OCI_PACKAGE_MANAGER" in caught.value.hint


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b'{"packages": \xff}', "not JSON: 'utf-8' codec can't decode byte 0xff in position 13: invalid start byte"),
        (b"[" * 100_000, "not JSON: maximum recursion depth exceeded"),
        (b"null", "there is no object 'packages' in it"),
        (b'{"package": {}}', "there is no object 'packages' in it"),
        (b'{"packages": []}', "there is no object 'packages' in it"),
        (b'{"packages": {"a": {"/x": 1}}}', "package 'a': {'/x': 1} is no list"),
        (b'{"packages": {"a": ["/x", 1]}}', "package 'a': 1 is no absolute path"),
        (b'{"packages": {"a": [""]}}', "package 'a': '' is no absolute path"),
        (b'{"packages": {"a": ["/x/../y"]}}', "package 'a': '/x/../y' is no absolute path"),
        (b'{"packages": {}, "needs": []}', "'needs' is no object"),
        (b'{"packages": {}, "needs": {"a": "b"}}', "package 'a': 'b' is no list"),
        (b'{"packages": {}, "versions": {"a": [1]}}', "'versions' of package 'a': 1 is no text"),
        (b'{"packages": {"a": ["/x\\u0000"]}}', r"package 'a': '/x\x00' is no absolute path"),
    ],
)
def test_what_is_of_another_form(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_owned(str(tmp_path / "f"), with_needs=False)
    assert caught.value.message.startswith(f"OCI_ROOTFS_PACKAGES: {tmp_path}/f: {message}")
    assert caught.value.hint == HINT


@pytest.mark.parametrize(
    ("name", "message"),
    [("none", "there is no such file"), ("f/x", "there is no such file"), ("", "is a directory")],
)
def test_what_is_no_file(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        read_owned(f"{tmp_path}/{name}", with_needs=False)
    assert caught.value.message == f"OCI_ROOTFS_PACKAGES: {tmp_path}/{name}: {message}"
    assert caught.value.hint == f"set it to a file, {HINT}; or leave it out"
