# SPDX-License-Identifier: MIT
"""Where layers of packages are laid out in folders, if they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config import PackagesLayer, rootfs_variable

if TYPE_CHECKING:
    from ..config import LayerSpec
    from .settings import Settings


def read_laid_out(settings: Settings, layers: tuple[LayerSpec, ...]) -> tuple[str, ...]:
    """The folder of each layer of packages, none where no variable names one."""
    takers = [layer.name for layer in layers if isinstance(layer, PackagesLayer)]
    if settings.is_faulty("OCI_LAYERS"):
        return ()
    numbers = sorted({*range(1, len(takers) + 1), *settings.numbers()})
    given = {number: rootfs_variable(number) for number in numbers if _is_given(settings, rootfs_variable(number))}
    for number, name in given.items():
        if number > len(takers):
            count = f"{len(takers) or 'no'} layer{'' if len(takers) == 1 else 's'}"
            settings.fault(name, f"the image has {count} of packages", "remove it, or write the layer in OCI_LAYERS")
    for number, layer in enumerate(takers, 1):
        if given and number not in given:
            message = f"is not set, and {next(iter(given.values()))} is: layer '{layer}' of packages has no folder"
            settings.fault(rootfs_variable(number), message, "lay out all layers of packages, or none")
    return tuple(settings.path_of(name).rstrip("/") for name in given.values())


def _is_given(settings: Settings, name: str) -> bool:
    return bool(settings.text(name)) or settings.is_unreadable(name)
