# SPDX-License-Identifier: MIT
"""The layer of what the rootfs has beyond the layers of packages: whether there is one, and what it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config import CUT, DatabaseLayer, PackagesLayer, RestLayer
from .grammar import NAME, NAME_HINT
from .settings import quoted, wrong

if TYPE_CHECKING:
    from ..config import LayerSpec
    from .settings import Settings

_VARIABLE, _OWNED = "OCI_ROOTFS_LAYER", "OCI_ROOTFS_PACKAGES"
_OWNED_HINT = 'name a file, it holds {"packages": {"NAME": ["/path", …]}, "needs": {"NAME": ["NAME", …]}}'


def add_rest_layer(
    settings: Settings, layers: tuple[LayerSpec, ...], *, has_rootfs: bool, is_cut: bool
) -> tuple[LayerSpec, ...]:
    """The layers, with that of the rest of the rootfs at the end where one is asked for and there are packages.

    Only the packages' database comes after it, which is the last layer wherever it is one. Without packages nothing is
    added: layers of paths are of the rootfs already, and in single mode the one layer is all of it. Where layers of
    packages are cut from the rootfs there must be one.
    """
    name = settings.parsed(_VARIABLE, _name, "")
    owned = settings.path_of(_OWNED) if settings.text(_OWNED) else None
    if not any(isinstance(layer, PackagesLayer) for layer in layers):
        return layers
    if is_cut and not settings.is_faulty(_VARIABLE):
        _check_cut(settings, name, owned)
    if not name:
        return layers
    if any(layer.name == name for layer in layers):
        settings.fault(_VARIABLE, f"there is a layer '{name}' already", "write another name")
    if not has_rootfs and not settings.is_unreadable("IMAGE_ROOTFS"):
        message = f"layer '{name}': the content is taken from a root file system, and there is none"
        settings.fault(_VARIABLE, message, f"give --rootfs DIR or TAR, set IMAGE_ROOTFS, or leave {_VARIABLE} empty")
    at = next((at for at, layer in enumerate(layers) if isinstance(layer, DatabaseLayer)), len(layers))
    return (*layers[:at], RestLayer(name, owned), *layers[at:])


def _check_cut(settings: Settings, name: str, owned: str | None) -> None:
    manager = f'OCI_PACKAGE_MANAGER = "{CUT}"'
    if not name:
        message = f"is empty, and with {manager} all that no package has, such as links of alternatives, would be lost"
        settings.fault(_VARIABLE, message, 'write a name, such as "rootfs"')
    if owned is None and not settings.is_unreadable(_OWNED):
        settings.fault(_OWNED, f"is not set, and with {manager} it says what layers of packages hold", _OWNED_HINT)


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise wrong(f"{quoted(text)} is not a layer's name", NAME_HINT)
    return text
