# SPDX-License-Identifier: MIT
"""Which packages own what in the rootfs, and what they need, as the file that OCI_ROOTFS_PACKAGES names says.

Must not know which packages are in the image.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import InputError, ToolError

if TYPE_CHECKING:
    from collections.abc import Mapping

_VARIABLE = "OCI_ROOTFS_PACKAGES"
_FORM = 'it holds {"packages": {"NAME": ["/path", …]}}'
_NEEDS = 'add "needs": {"NAME": ["NAME", …]} to it, or choose another OCI_PACKAGE_MANAGER'
_LARGEST = 256 << 20  # bytes; of 50,000 packages, or a few million paths


class Owned(NamedTuple):
    """What is told of the packages in a rootfs, by their names.

    `paths` are those that each has, relative to the root; `needs` the names of the packages that it needs or
    recommends; `versions` its version and architecture.
    """

    paths: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    needs: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    versions: Mapping[str, tuple[str, ...]] = MappingProxyType({})


def read_owned(path: str, *, with_needs: bool) -> Owned:
    """What the file at a path says; `with_needs` it must say what packages need.

    Raises:
        InputError: there is no such file, or it is of another form.
        ToolError: it can not be read.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        what = "is a directory" if isinstance(error, IsADirectoryError) else "there is no such file"
        raise InputError(f"{_VARIABLE}: {path}: {what}", hint=f"set it to a file, {_FORM}; or leave it out") from None
    except OSError as error:
        raise ToolError(f"{_VARIABLE}: cannot read {path}: {error.strerror}") from error
    if len(data) > _LARGEST:
        raise _malformed(path, f"has more than {_LARGEST >> 20} MiB")
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _malformed(path, f"not JSON: {str(error)[:120]}") from None
    packages = value.get("packages") if isinstance(value, dict) else None
    if not isinstance(packages, dict):
        raise _malformed(path, "there is no object 'packages' in it")
    paths = {name: tuple(_path(path, name, each) for each in _list(path, name, packages[name])) for name in packages}
    if with_needs and "needs" not in value:
        raise InputError(f"{_VARIABLE}: {path}: does not say what packages need", hint=_NEEDS)
    return Owned(paths, _words(path, value, "needs"), _words(path, value, "versions"))


def _words(path: str, value: dict[str, Any], key: str) -> dict[str, tuple[str, ...]]:
    """Lists of words by the names of packages."""
    told = value.get(key, {})
    if not isinstance(told, dict):
        raise _malformed(path, f"'{key}' is no object")
    for name, words in told.items():
        for word in _list(path, name, words):
            if not isinstance(word, str):
                raise _malformed(path, f"'{key}' of package {name!r:.80}: {word!r:.80} is no text")
    return {name: tuple(words) for name, words in told.items()}


def _list(path: str, name: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise _malformed(path, f"package {name!r:.80}: {value!r:.80} is no list")
    return value


def _path(path: str, name: str, value: object) -> str:
    parts = value.split("/") if isinstance(value, str) and value.startswith("/") else [".."]
    if ".." in parts or "\0" in str(value):
        raise _malformed(path, f"package {name!r:.80}: {value!r:.200} is no absolute path")
    return "/".join(part for part in parts if part not in ("", "."))


def _malformed(path: str, what: str) -> InputError:
    return InputError(f"{_VARIABLE}: {path}: {what}", hint=_FORM)
