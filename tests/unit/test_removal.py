# SPDX-License-Identifier: MIT
"""Folders are removed with all in them, and what is mounted in them is not touched."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from support import tools

from oe_oci.removal import mounts, remove_folder

ROOT = Path(__file__).parents[2]


def test_all_goes_whatever_its_modes(tmp_path):
    folder = tmp_path / "a folder"
    for path, mode in (("closed/inner", 0), ("read-only/inner", 0o555), ("open/inner", 0o755)):
        (folder / path).mkdir(parents=True)
        (folder / path / "file").write_bytes(b"")
        (folder / path).chmod(mode)
        (folder / path).parent.chmod(mode)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"")
    (folder / "open/link").symlink_to(outside)
    os.mkfifo(folder / "open/fifo")
    remove_folder(str(folder))
    assert not folder.exists()
    assert (outside / "kept").exists()


def test_what_is_not_there_is_no_error(tmp_path):
    remove_folder(str(tmp_path / "nothing"))
    assert mounts(str(tmp_path / "nothing")) == []


PROGRAM = """\
import sys
from oe_oci import removal
folder, blind = sys.argv[1:]
print(removal.mounts(folder))
if blind == "True":
    removal.mounts = lambda _folder: []
removal.remove_folder(folder)
"""


@pytest.mark.parametrize(
    ("what", "blind"),
    [(["--bind", "{outside}"], False), (["-t", "tmpfs", "none"], False), (["-t", "tmpfs", "none"], True)],
)
def test_what_is_mounted_stays(tmp_path, what, blind):
    """A directory of the same device, and another device, be the kernel silent; in a namespace of the test's own."""
    tools.need_root()
    tools.need("unshare", "mount")
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    for path in (folder / "a b\\c/mounted", folder / "other", outside):
        path.mkdir(parents=True)
        (path / "file").write_bytes(b"")
    place = folder / "a b\\c/mounted"
    script = (
        'place=$1; program=$2; folder=$3; python=$4; blind=$5; shift 5; mount "$@" "$place" && touch "$place/new" &&'
    )
    script += ' "$python" -c "$program" "$folder" "$blind" && ls "$place" && find "$folder" -type d -path "*/other"'
    options = [option.format(outside=outside) for option in what]
    done = tools.run(
        *("unshare", "-m", "sh", "-c", script, "sh", place, PROGRAM, folder, sys.executable, blind, *options),
        env=tools.environment(PYTHONPATH=str(ROOT)),
    )
    assert done.stdout.splitlines() == [repr([str(place)]), *(["file"] if "--bind" in what else []), "new"]
    assert (outside / "file").exists()
    assert os.listdir(folder) == ["a b\\c"]
