# SPDX-License-Identifier: MIT
"""When scripts that run in the image itself run: before files are placed only where the image can run them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from support.offers import world

from oe_oci.content import Literal
from oe_oci.errors import InputError
from oe_oci.packages.maintainer.bootstrap import check_interpreter, phases_inside, phases_outside
from oe_oci.packages.maintainer.job import Job
from oe_oci.packages.package import DEB, IPK
from oe_oci.packages.resolve import resolve
from oe_oci.tree import DIRECTORY, FILE, Entry, Tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oe_oci.packages.maintainer.phases import Phases

SCRIPTS = {"preinst": b"#!/bin/sh\n", "postinst": b"#!/bin/sh\n"}


def image(*programs: str) -> Tree:
    empty = Literal(b"")
    files = {path: Entry(FILE, 0o755, size=0, content=empty) for path in programs}
    return Tree({"": Entry(DIRECTORY, 0o755), "bin": Entry(DIRECTORY, 0o755), **files})


def job(*texts: str, kind: str = DEB, below: Sequence[str] = (), **controls: dict[str, bytes]) -> Job:
    """A layer of packages; what it upgrades has the same scripts."""
    known = world(*texts, below=below, kind=kind)
    selected = resolve(known, "app", [text.split()[0] for text in texts]).selected
    held = [SimpleNamespace(control=controls.get(one.package.name, SCRIPTS), fields={}) for one in selected]
    leaving = {one.replaces[:3]: {"prerm": b"#!/bin/sh\n"} for one in selected if one.replaces}
    return Job("app", kind, selected, held, known, tuple(known.installed.values()), leaving)


def run(one: Job, tree: Tree) -> tuple[list[str], list[str]]:
    return names(phases_inside(one, tree))


def names(found: Phases) -> tuple[list[str], list[str]]:
    phases = found.before, [*found.waiting, *found.after]
    before, after = ([f"{script.package} {script.name}" for script in scripts] for scripts in phases)
    return before, after


def test_with_a_shell_below_a_preinst_runs_before_files_are_placed():
    assert run(job("a 1"), image("bin/sh")) == (["a preinst"], ["a postinst"])


@pytest.mark.parametrize(("texts", "below"), [(["a 1"], image()), (["a 1 ; essential yes"], image("bin/sh"))])
def test_where_the_image_is_not_yet_complete_all_waits(texts, below):
    assert run(job(*texts), below) == ([], ["a preinst", "a postinst"])


def test_what_needs_another_of_the_layer_waits_alone():
    found = run(job("a 1 ; pre b", "b 1", "c 1"), image("bin/sh"))
    assert found == (["b preinst", "c preinst"], ["a preinst", "b postinst", "a postinst", "c postinst"])


UPGRADE = ("a 2 ; pre b", "b 1", "c 1 ; needs a (>= 2)")


def test_what_goes_does_not_wait_for_what_comes():
    before, after = run(job(*UPGRADE, below=["a 1"]), image("bin/sh"))
    assert (before, after[0]) == (["b preinst", "a prerm", "c preinst"], "a preinst")


def test_of_an_ipk_what_comes_anew_waits_for_all_it_needs():
    before, after = run(job(*UPGRADE, kind=IPK), image("bin/sh"))
    assert (before, after[:2]) == (["b preinst"], ["a preinst", "c preinst"])
    before, after = run(job(*UPGRADE, kind=IPK, below=["a 1"]), image("bin/sh"))
    assert (before, after[0]) == (["b preinst", "a prerm", "a preinst"], "c preinst")


def test_what_lacks_its_interpreter_waits():
    scripts = {"preinst": b"#!/usr/bin/perl\n"}
    assert run(job("a 1", a=scripts), image("bin/sh")) == ([], ["a preinst"])


def test_essential_packages_and_what_they_need_are_configured_first():
    _, after = run(job("a 1", "y 1 ; essential yes ; needs z", "z 1"), image())
    assert after == [f"{name} {script}" for script in ("preinst", "postinst") for name in ("z", "y", "a")]


def test_an_image_that_lacks_an_interpreter_is_told():
    one = job("a 1", a={"postinst": b"#!/usr/bin/perl\n"})
    (script,) = phases_inside(one, image("bin/sh")).after
    with pytest.raises(InputError, match=r"layer 'app': a: its postinst needs /usr/bin/perl in the image, which has"):
        check_interpreter(one, image("bin/sh"), script)


def test_outside_of_the_image_only_debians_essential_packages_have_all_wait():
    assert names(phases_outside(job("a 1 ; pre b", "b 1"), image())) == (
        ["b preinst", "a preinst"],
        ["b postinst", "a postinst"],
    )
    found = names(phases_outside(job("a 1", "b 1 ; essential yes"), image("bin/sh")))
    assert found == ([], ["b preinst", "a preinst", "b postinst", "a postinst"])
