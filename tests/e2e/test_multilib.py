# SPDX-License-Identifier: MIT
"""Packages of two kinds of ELF files at one path: dnf and the built-in installer keep the same one, and say so."""

from __future__ import annotations

import pytest
from support import compare, tools
from support.managers import MANAGERS, Kit
from support.rpms import file, package

STATES = "%{NAME} [%{FILENAMES} %{FILESTATES} ]\\n"


@pytest.fixture
def feed(folder):
    tools.need_root()
    tools.need(*MANAGERS["dnf"].programs)
    (folder / "feed").mkdir()
    for name, color, other in (("lib", 2, "lib"), ("lib32-lib", 1, "lib32")):
        files = [file("/usr/bin/query", name.encode(), 0o755, color=color), file(f"/usr/{other}/x", color=color)]
        package(name, given=files).write(folder / "feed")
    return folder / "feed"


@pytest.mark.parametrize("layers", ["a:packages:lib b:packages:lib32-lib", "a:packages:lib32-lib b:packages:lib"])
@pytest.mark.parametrize(("chosen", "kept", "other"), [("2", "lib", "lib32-lib"), ("1", "lib32-lib", "lib")])
def test_the_same_file_stays_whoever_installs(folder, feed, layers, chosen, kept, other):
    said, trees = [], []
    for name in ("rpm builtin", "dnf"):
        kit = Kit(MANAGERS[name], folder)
        image = kit.build(name.replace(" ", "-"), layers, feed, lines=[f'RPM_PREFER_ELF_ARCH = "{chosen}"'])
        trees.append(image.tree)
        query = ["rpm", "--root", image.root, "--dbpath", "/var/lib/rpm", "-qa", "--qf", STATES]
        said.append(sorted(tools.run(*query).stdout.splitlines()))
        assert image.text("usr/bin/query") == kept
    assert said[0] == said[1]
    assert [line.split()[0] for line in said[0] if "/usr/bin/query 4" in line] == [other]
    compare.assert_same(trees[0], trees[1])
