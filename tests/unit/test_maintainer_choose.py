# SPDX-License-Identifier: MIT
"""Where scripts run if it is not said: in the image only where this machine runs its programs."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from oe_oci.errors import ToolError
from oe_oci.packages.maintainer import processors
from oe_oci.packages.maintainer.choose import mode_of
from oe_oci.packages.package import DEB, IPK, RPM


@pytest.fixture(autouse=True)
def _forget():
    processors.runs.cache_clear()
    yield
    processors.runs.cache_clear()


@pytest.fixture
def machine(monkeypatch):
    """This machine is such a one, and has emulators for these machines' numbers of ELF."""

    def is_one(name: str, *emulated: int) -> None:
        monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine=name))

        def execute(argv: list[str]) -> None:
            with open(argv[0], "rb") as file:
                head = file.read(20)
            if int.from_bytes(head[18:20], "little" if head[5] == 1 else "big") not in emulated:
                raise ToolError("Exec format error")

        monkeypatch.setattr(processors, "run", execute)

    return is_one


@pytest.mark.parametrize(
    ("kind", "architecture", "mode"),
    [
        (DEB, "amd64", "chroot"),
        (DEB, "i386", "chroot"),
        (DEB, "arm64", "chroot"),
        (DEB, "s390x", "chroot"),
        (DEB, "armhf", "offline"),
        (DEB, "unheard-of", "offline"),
        (IPK, "amd64", "offline"),
        (RPM, "amd64", "offline"),
    ],
)
def test_where_scripts_run(machine, kind, architecture, mode):
    machine("x86_64", 183, 22)
    assert mode_of("run", kind, architecture) == mode


@pytest.mark.parametrize(("said", "mode"), [("run:offline", "offline"), ("run:chroot", "chroot"), ("skip", "skip")])
def test_what_is_said_is_done(machine, said, mode):
    machine("aarch64")
    assert mode_of(said, DEB, "amd64") == mode


def test_a_machine_that_nobody_emulates():
    assert not processors._is_emulated(2, 1, 0xFFFE)
