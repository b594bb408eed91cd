# SPDX-License-Identifier: MIT
"""The update-alternatives that scripts find: links, and the records that opkg-utils' own reads and writes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support import tools

from oe_oci.packages.native.updatealternatives import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VI = ("--install", "/usr/bin/vi", "vi")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "the root"
    (root / "usr/bin").mkdir(parents=True)
    return root


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Callable[..., str]:
    """Runs the program, and tells what it said."""
    program = tmp_path / "update-alternatives"
    program.write_text(PROGRAM, encoding="ascii")
    program.chmod(0o755)

    def ran(*words: object, status: int = 0, **variables: str) -> str:
        env = {"OPKG_OFFLINE_ROOT": f"{root}/", "PATH": "/usr/bin:/bin", **variables}
        return tools.run(program, *words, status=status, env=env).stderr

    return ran


def record(root: Path, name: str = "vi") -> list[str]:
    return (root / "usr/lib/opkg/alternatives" / name).read_text(encoding="ascii").splitlines()


def test_the_link_is_that_of_the_highest_priority_and_of_the_last_of_several(root, run):
    for name, priority, best in (("a", 50, "a"), ("b", 9, "a"), ("c", 50, "c"), ("d", -1, "c"), ("a", 50, "a")):
        run(*VI, f"/usr/bin/{name}", priority)
        assert os.readlink(root / "usr/bin/vi") == f"/usr/bin/{best}"
    assert record(root) == ["/usr/bin/vi", "/usr/bin/b 9", "/usr/bin/c 50", "/usr/bin/d -1", "/usr/bin/a 50"]


def test_a_path_of_the_directory_is_meant_as_one_of_the_image(root, run):
    run(*VI, f"{root}//usr//bin/a", 1)
    assert record(root) == ["/usr/bin/vi", "/usr/bin/a 1"]


def test_a_removal_leaves_the_next_best_and_the_last_one_nothing(root, run):
    run("--remove", "vi", "/usr/bin/a")
    run(*VI, "/usr/bin/a", 50)
    run(*VI, "/usr/bin/ab", 10)
    run("--remove", "vi", "/usr/bin/a")
    assert os.readlink(root / "usr/bin/vi") == "/usr/bin/ab"
    run("--remove", "vi", "/usr/bin/ab")
    assert not (root / "usr/bin/vi").is_symlink()
    assert os.listdir(root / "usr/lib/opkg/alternatives") == []


def test_the_directory_of_a_link_is_made_and_a_name_of_the_shells_is_no_pattern(root, run):
    run("--install", "/sbin/[", "[", "/bin/busybox", 50)
    assert os.readlink(root / "sbin/[") == "/bin/busybox"
    assert record(root, "[") == ["/sbin/[", "/bin/busybox 50"]


def test_a_file_in_the_links_place_stays_and_is_told(root, run):
    (root / "usr/bin/vi").write_text("mine", encoding="ascii")
    assert "/usr/bin/vi is to lead to /usr/bin/a, and is there already and no link" in run(
        *VI, "/usr/bin/a", 1, status=1
    )
    assert (root / "usr/bin/vi").read_text(encoding="ascii") == "mine"


def test_a_name_whose_link_lies_elsewhere_now_has_one_link(root, run):
    run(*VI, "/usr/bin/a", 2)
    run("--install", "/bin/vi", "vi", "/usr/bin/b", 1)
    assert not (root / "usr/bin/vi").is_symlink()
    assert os.readlink(root / "bin/vi") == "/usr/bin/a"
    assert record(root) == ["/bin/vi", "/usr/bin/a 2", "/usr/bin/b 1"]


@pytest.mark.parametrize(
    "words", [(), ("--query", "vi"), (*VI, "/usr/bin/a", "1", "--slave"), (*VI, "/usr/bin/a", "high"), (*VI, "/a", "")]
)
def test_words_that_are_not_known_change_nothing(root, run, words):
    assert run(*words, status=2).startswith("update-alternatives: ")
    assert not (root / "usr/lib").exists()


def test_in_an_image_of_debian_it_is_debians_own(root, run):
    """Whose packages have words that opkg-utils' does not know."""
    tools.need("dpkg")
    for name in ("etc/alternatives", "var/lib/dpkg/alternatives", "var/log", "usr/share/man"):
        (root / name).mkdir(parents=True)
    for name in ("usr/bin/vim", "usr/share/man/vim"):
        (root / name).touch()
    slave = ("--slave", "/usr/share/man/vi", "vi.man", "/usr/share/man/vim")
    run(*VI, "/usr/bin/vim", 50, *slave, DPKG_ROOT=str(root))
    for name in ("usr/bin/vi", "usr/share/man/vi"):
        assert os.readlink(root / name).startswith("/etc/alternatives/vi")
    assert os.readlink(root / "etc/alternatives/vi") == "/usr/bin/vim"
    assert not (root / "usr/lib/opkg").exists()
