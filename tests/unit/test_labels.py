# SPDX-License-Identifier: MIT
"""Automatic labels, the time an image carries, and where both come from."""

from __future__ import annotations

import os
import subprocess

import pytest

from oe_oci.config import AutoLabels
from oe_oci.errors import ToolError
from oe_oci.labels import automatic, inherited
from oe_oci.revision import Revision, find_revision

ALL = AutoLabels("", "", "", "2.4")
NONE = AutoLabels(None, None, None, None)
COMMIT = "c" * 40
HEAD = Revision(COMMIT, "main", 1700000000, False)
KEY = "org.opencontainers.image."


def test_all_labels_of_a_repository():
    found = automatic(ALL, HEAD, None, 0, "")
    assert found.labels == {
        KEY + "revision": COMMIT,
        KEY + "created": "2023-11-14T22:13:20Z",
        KEY + "version": "2.4",
        KEY + "ref.name": "main",
        "org.openembedded.image.branch": "main",
    }
    assert found.annotations == {key: value for key, value in found.labels.items() if key != KEY + "ref.name"}


def test_a_changed_tracked_file_shows():
    assert automatic(ALL, HEAD._replace(dirty=True), None, 0, "").labels[KEY + "revision"] == COMMIT + "-dirty"


def test_a_detached_head_has_no_branch():
    found = automatic(ALL, HEAD._replace(branch=""), None, 0, "").labels
    assert not {KEY + "ref.name", "org.openembedded.image.branch"} & set(found)


def test_given_values_win_over_what_is_found():
    found = automatic(AutoLabels("abc", "topic", "2026-01-02T03:04:05Z", None), HEAD, 9, 0, "").labels
    assert found[KEY + "revision"] == "abc"
    assert found[KEY + "ref.name"] == "topic"
    assert found[KEY + "created"] == "2026-01-02T03:04:05Z"


def test_switched_off_there_are_none_but_a_creation_time():
    found = automatic(NONE, HEAD, None, 0, "sha256:1")
    assert (found.labels, found.annotations, found.created) == ({}, {}, "2023-11-14T22:13:20Z")


@pytest.mark.parametrize(
    ("date", "revision", "epoch", "created"),
    [
        ("", HEAD, 60, "1970-01-01T00:01:00Z"),
        ("", HEAD, None, "2023-11-14T22:13:20Z"),
        ("", None, None, "1970-01-01T00:00:00Z"),
        ("now", HEAD, 60, "1970-01-01T00:00:07Z"),
        (None, HEAD, 0, "1970-01-01T00:00:00Z"),
    ],
)
def test_the_time_is_the_epochs_then_the_commits_then_zero(date, revision, epoch, created):
    assert automatic(ALL._replace(date=date), revision, epoch, 7, "").created == created


def test_the_bases_digest_is_told_and_its_own_automatic_labels_are_not_inherited():
    assert automatic(ALL, HEAD, None, 0, "sha256:1").labels[KEY + "base.digest"] == "sha256:1"
    kept = {KEY + "vendor": "x", "a": "b"}
    assert inherited({**kept, KEY + "revision": "1", KEY + "created": "2", KEY + "ref.name": "3"}) == kept


@pytest.fixture
def repository(tmp_path):
    def git(*words):
        env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_COMMITTER_DATE": "1700000000 +0000"}
        subprocess.run(["git", "-C", tmp_path, *words], check=True, capture_output=True, env=env)

    git("init", "-q", "-b", "trunk")
    git("config", "user.name", "n")
    git("config", "user.email", "n@example.com")
    (tmp_path / "image.conf").write_text("A = '1'\n")
    git("add", ".")
    git("commit", "-q", "-m", "x")
    return tmp_path, git


def test_a_repository_is_read(repository):
    folder, _ = repository
    found = find_revision(str(folder))
    assert len(found.commit) == 40
    assert found[1:] == ("trunk", 1700000000, False)


def test_only_tracked_files_make_it_dirty(repository):
    folder, _ = repository
    (folder / "new").write_text("x")
    os.utime(folder / "image.conf", (1, 1))
    assert not find_revision(str(folder)).dirty
    (folder / "image.conf").write_text("A = '2'\n")
    assert find_revision(str(folder)).dirty


def test_a_detached_head_is_read(repository):
    folder, git = repository
    git("checkout", "-q", "--detach")
    assert find_revision(str(folder)).branch == ""


def test_outside_a_repository_there_is_no_revision(tmp_path, monkeypatch):
    assert find_revision(str(tmp_path)) is None
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    assert find_revision(str(tmp_path)) is None, "no commit yet"
    monkeypatch.setenv("PATH", "/nonexistent")
    assert find_revision(str(tmp_path)) is None, "no git"


def test_nothing_a_checkout_brings_along_is_run(repository):
    folder, git = repository
    trap = folder / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {folder}/ran\n")
    trap.chmod(0o755)
    git("config", "core.fsmonitor", str(trap))
    git("config", "filter.My.Trap.clean", str(trap))
    git("config", "filter.My.Trap.required", "true")
    (folder / ".git" / "info" / "attributes").write_text("* filter=My.Trap\n")
    (folder / "image.conf").write_text("A = '3'\n")
    assert find_revision(str(folder)).dirty
    assert not (folder / "ran").exists()


def test_nothing_is_fetched(repository):
    folder, git = repository
    git("config", "extensions.partialClone", "origin")
    git("config", "remote.origin.url", str(folder / "none"))
    git("config", "remote.origin.promisor", "true")
    git("config", "remote.origin.uploadpack", f"touch {folder}/ran; false")
    (folder / "image.conf").write_text("A = '4'\n")
    listed = subprocess.run(
        ["git", "-C", folder, "rev-parse", "HEAD^{tree}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    (folder / ".git" / "objects" / listed[:2] / listed[2:]).unlink()
    with pytest.raises(ToolError, match="git can not read the repository"):
        find_revision(str(folder))
    assert not (folder / "ran").exists()


def test_a_branch_that_is_no_text_has_no_label(repository):
    folder, git = repository
    git("checkout", "-q", "-b", b"caf\xe9")
    assert find_revision(str(folder)).branch == ""


def test_another_users_checkout_is_read(repository):
    folder, _ = repository
    if os.geteuid():
        pytest.skip("needs root to give a checkout to another user")
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, 12345, 12345)
    assert find_revision(str(folder)) is not None
