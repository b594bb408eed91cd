# SPDX-License-Identifier: MIT
"""A build where nothing changed takes the layers of the last one without planning any; where anything did, it plans."""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import shutil
import socket
from typing import TYPE_CHECKING, Any

import pytest
from support.configs import config

from oe_oci import build as build_module
from oe_oci import digests as digests_module
from oe_oci import earlier
from oe_oci.build import build
from oe_oci.config import BaseRef, HostCopy, HostLayer, PathsLayer
from oe_oci.errors import ConfigError
from oe_oci.inputs import Options
from oe_oci.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from oe_oci.report import BuildReport


class Project:
    """A rootfs, reached through a link, and a folder of the host, of which three layers are made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rootfs = folder / "rootfs"
        self.host = folder / "host"
        self.cache = folder / "cache"
        self.planned = 0
        for path in ("rootfs/etc/sub", "rootfs/opt/empty", "rootfs/var/lib", "host"):
            (folder / path).mkdir(parents=True)
        (self.rootfs / "etc/a").write_text("aaaa")
        (self.rootfs / "etc/sub/b").write_text("b")
        (self.rootfs / "etc/link").symlink_to("a")
        (self.rootfs / "opt/file").write_text("file")
        (self.rootfs / "var/lib/other").write_text("other")
        (self.host / "h").write_text("host")
        (folder / "r").symlink_to("rootfs")
        copy = HostCopy(str(self.host), "/srv/host", "host")
        self.layers = (
            PathsLayer("etc", "directories", ("/etc",)),
            PathsLayer("opt", "files", ("/opt/file", "/opt/empty")),
            PathsLayer("again", "files", ("/opt/file",)),  # which changes nothing
            HostLayer("host", (copy,)),
        )

    def build(self, *, paranoid: bool = False, **fields: Any) -> BuildReport:
        places = {"deploy_dir": str(self.folder / "deploy"), "cache_dir": str(self.cache)}
        asked = config(**{"layers": self.layers, "rootfs": str(self.folder / "r"), **places, **fields})
        return build(asked, Options(jobs=1, paranoid=paranoid))

    def repeats(self, **options: Any) -> bool:
        """Whether a build plans nothing; its image is what it is without a cache."""
        self.planned = 0
        report = self.build(**options)
        planned = self.planned
        fresh = self.build(**{**options, "cache_dir": None, "deploy_dir": str(self.folder / "fresh")})
        assert report.manifest == fresh.manifest
        assert sorted(blobs(self.folder / "deploy")) == sorted(blobs(self.folder / "fresh"))
        return not planned


def blobs(deploy: Path) -> list[str]:
    return os.listdir(deploy / "app-oci/blobs/sha256")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project on whose disk times are trusted at once."""
    monkeypatch.setattr(digests_module, "_RESOLUTION", -(10**13))
    monkeypatch.setattr(digests_module, "_is_local", lambda _path: True)
    project = Project(tmp_path)
    plan_layers = build_module.plan_layers

    def counted(*arguments):
        project.planned += 1
        return plan_layers(*arguments)

    monkeypatch.setattr(build_module, "plan_layers", counted)
    return project


def test_a_build_is_repeated(project: Project) -> None:
    first = project.build()
    assert project.repeats()
    again = project.build()
    assert again.to_json() == first.to_json()
    assert [layer.note for layer in again.layers] == ["", "", "left out: it changes nothing", ""]
    assert [layer.cache.hit for layer in again.layers if layer.cache] == [True] * 3
    assert project.repeats()


def rewrite(path: Path, text: str) -> None:
    """Another content with the same size and times, but for the one that nobody can set."""
    facts = path.stat()
    path.write_text(text)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def exchange(project: Project) -> None:
    shutil.copytree(project.rootfs, project.folder / "other", symlinks=True)
    (project.folder / "other/etc/a").write_text("bbbb")
    (project.folder / "r").unlink()
    (project.folder / "r").symlink_to("other")


CHANGES: dict[str, Callable[[Project], object]] = {
    "content": lambda project: rewrite(project.rootfs / "etc/a", "bbbb"),
    "content below": lambda project: rewrite(project.rootfs / "etc/sub/b", "c"),
    "content of a file taken by itself": lambda project: rewrite(project.rootfs / "opt/file", "elif"),
    "time": lambda project: os.utime(project.rootfs / "etc/a", (5, 5)),
    "mode": lambda project: (project.rootfs / "etc/a").chmod(0o600),
    "mode of a folder": lambda project: (project.rootfs / "etc/sub").chmod(0o700),
    "mode of a folder on the way": lambda project: (project.rootfs / "opt").chmod(0o700),
    "owner": lambda project: os.chown(project.rootfs / "etc/a", 7, 8),
    "attribute": lambda project: os.setxattr(project.rootfs / "etc/a", "user.x", b"x"),
    "target of a link": lambda project: (
        (project.rootfs / "etc/link").unlink(),
        (project.rootfs / "etc/link").symlink_to("b"),
    ),
    "new file": lambda project: (project.rootfs / "etc/new").write_text(""),
    "new file below": lambda project: (project.rootfs / "etc/sub/new").write_text(""),
    "new folder": lambda project: (project.rootfs / "etc/folder").mkdir(),
    "new file in an empty folder": lambda project: (project.rootfs / "opt/empty/new").write_text(""),
    "removed": lambda project: (project.rootfs / "etc/sub/b").unlink(),
    "renamed": lambda project: (project.rootfs / "etc/a").rename(project.rootfs / "etc/c"),
    "another name": lambda project: os.link(project.rootfs / "etc/a", project.rootfs / "etc/sub/c"),
    "another rootfs": exchange,
    "content on the host": lambda project: rewrite(project.host / "h", "tsoh"),
    "new file on the host": lambda project: (project.host / "new").write_text(""),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_noticed(project: Project, change: str) -> None:
    project.build()
    assert project.repeats()
    try:
        CHANGES[change](project)
    except OSError as error:
        assert change in ("attribute", "owner")
        pytest.skip(f"no {change} here: {error.strerror}")
    assert not project.repeats()
    assert project.repeats()


@pytest.mark.parametrize(
    "fields", [{"author": "me"}, {"epoch": 9}, {"keep_empty": True}, {"layers": "fewer"}, {"host_owner": (1, 2)}]
)
def test_another_configuration_is_another_build(project: Project, fields: dict[str, Any]) -> None:
    project.build()
    if "layers" in fields:
        fields = {"layers": project.layers[1:]}
    assert not project.repeats(**fields)
    assert project.repeats(**fields)
    assert not project.repeats()


def test_what_no_layer_takes_is_not_asked_for(project: Project) -> None:
    project.build()
    (project.rootfs / "var/lib/other").write_text("changed")
    assert project.repeats()


def test_a_changed_program_is_another_one(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = project.folder / "program"
    shutil.copytree(earlier._PROGRAM, copy)
    monkeypatch.setattr(earlier, "_PROGRAM", str(copy))
    project.build()
    (copy / "__pycache__/new.pyc").parent.mkdir(exist_ok=True)
    (copy / "__pycache__/new.pyc").write_text("")
    assert project.repeats()
    changed = copy / "oci/image.py"
    rewrite(changed, changed.read_text().replace("image", "IMAGE"))
    assert not project.repeats()
    (copy / ".#image.py").symlink_to("somebody@somewhere")  # as an editor locks it
    assert not project.repeats()
    assert project.repeats()


def test_a_program_that_is_not_there_as_files_may_have_changed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(earlier, "_PROGRAM", str(project.folder / "program.zip/oe_oci"))
    project.build()
    assert not project.repeats()


@pytest.mark.parametrize("name", ["boot", "_asker"])
def test_after_a_start_of_the_machine_and_to_somebody_else_much_is_otherwise(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    project.build()
    monkeypatch.setattr(earlier, name, lambda: b"another")
    assert not project.repeats()


def test_who_asks_is_told_by_rights_and_namespace() -> None:
    *lines, namespace = earlier._asker()
    assert [line.partition(":")[0] for line in lines] == ["Uid", "Gid", "Groups", "CapEff"]
    assert namespace == os.readlink("/proc/self/ns/user")


def test_paranoid_builds_are_planned_and_left_to_the_next(project: Project) -> None:
    project.build()
    assert not project.repeats(paranoid=True)
    assert project.repeats()


def test_a_paranoid_build_corrects_what_nothing_tells_of(project: Project) -> None:
    """As of a file that a program has mapped, and writes to once more."""
    path = project.rootfs / "etc/a"
    for attempt in range(20):
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 4) as mapped:
            mapped[:1] = b"x"
            first, before = project.build(), path.stat()
            mapped[:1] = b"y"
            if path.stat() != before:  # what was written first was put on the disk meanwhile
                assert attempt < 19
                continue
            assert project.build().manifest == first.manifest
            assert project.build(paranoid=True).manifest != first.manifest
            assert project.repeats()
            return


def test_where_a_paranoid_build_can_not_be_left_the_one_before_does_not_count(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.build()
    with monkeypatch.context() as patched:
        patched.setattr(digests_module, "_RESOLUTION", 10**13)
        project.build(paranoid=True)
    assert not project.repeats()


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [(digests_module, "_RESOLUTION", 10**13), (digests_module, "_is_local", lambda _: False)],
)
def test_times_that_do_not_tell_are_no_reason(
    project: Project, monkeypatch: pytest.MonkeyPatch, where: object, name: str, value: object
) -> None:
    """Of files that may still change in the tick of the clock, or on a disk that is not this machine's."""
    monkeypatch.setattr(where, name, value)
    project.build()
    assert not project.repeats()


def test_under_fakeroot_builds_are_planned(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attributes change there without a trace on disk."""
    monkeypatch.setenv("LD_PRELOAD", "")
    project.build()
    assert not project.repeats()


def test_a_warning_is_given_each_time(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    place = os.getcwd()
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(project.rootfs / "etc")  # as the names of sockets are short
        try:
            listening.bind("socket")
        finally:
            os.chdir(place)
        for _ in range(3):
            caplog.clear()
            project.build()
            told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
            assert [text.rpartition("/")[2] for text in told] == ["socket is a socket; left out"]


@pytest.mark.parametrize("lost", ["blobs", "entries", "archives", "listings"])
def test_a_cache_that_lost_something_is_filled_again(project: Project, lost: str) -> None:
    project.build()
    store = Store(str(project.cache))
    (kept,) = store.latest("app", "etc")
    names = {
        "blobs": f"blobs/sha256/{kept.blob.digest.hex}",
        "listings": f"blobs/sha256/{kept.listing.digest.hex}",
        "entries": f"entries/{kept.shape}/{kept.key}",
    }
    for path in [project.cache / names[lost]] if lost in names else (project.cache / lost).iterdir():
        path.unlink()
    assert not project.repeats()
    assert project.repeats()
    assert store.listing(kept) is not None


def test_digests_are_still_known_after_a_build_that_was_repeated(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.build()
    project.build()
    read = []
    content_digest = digests_module.content_digest

    def noted(content):
        read.append(os.path.basename(content.path))
        return content_digest(content)

    monkeypatch.setattr(digests_module, "content_digest", noted)
    rewrite(project.rootfs / "etc/a", "bbbb")
    project.build()
    assert read == [b"a"]


def test_layers_that_are_not_wanted_after_all_are_not_in_the_image(project: Project) -> None:
    project.build()
    rewrite(project.rootfs / "opt/file", "elif")
    report = project.build()
    assert len(blobs(project.folder / "deploy")) == 2 + sum(layer.blob is not None for layer in report.layers)
    assert [layer.cache.hit for layer in report.layers if layer.cache] == [True, False, True]


def test_digests_of_a_base_image_do_not_pile_up(project: Project) -> None:
    project.build()
    shutil.move(project.folder / "deploy", project.folder / "base")
    layers = (HostLayer("more", (HostCopy(str(project.host), "/srv/more", "host"),)),)
    on_base = {"base": BaseRef(str(project.folder / "base/app-oci"), "latest", "base"), "layers": layers}
    shutil.rmtree(project.cache)
    sizes = []
    for _ in range(4):
        project.build(**on_base)
        sizes.append(sum(path.stat().st_size for path in (project.cache / "digests").iterdir()))
    assert sizes == sizes[:1] * 4
    assert project.repeats(**on_base)


def test_outputs_in_what_is_packed_are_refused_as_ever(project: Project) -> None:
    project.build()
    shutil.rmtree(project.folder / "deploy")
    (project.folder / "deploy").symlink_to("rootfs/etc/sub")
    with pytest.raises(ConfigError, match=r"the deploy folder .* lies in .*, which goes into the image"):
        project.build()


@pytest.fixture
def one_lock(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Sees to it that a build makes one layer at a time: who makes one holds a lock until it is kept."""
    held: list[str] = []
    locked: list[str] = []
    making = Store.making

    @contextlib.contextmanager
    def noted(store, shape):
        assert not held
        held.append(shape)
        locked.append(shape)
        with making(store, shape) as waited:
            yield waited
        held.remove(shape)

    monkeypatch.setattr(Store, "making", noted)
    return locked


def test_a_build_does_not_wait_for_itself(project: Project, one_lock: list[str]) -> None:
    """Layers of one shape, one after the other."""
    (project.folder / "one").write_text("1")
    (project.folder / "two").write_text("2")
    sources = ("two", "one", "two", "one")
    copies = [HostCopy(str(project.folder / name), "/srv/x", name) for name in sources]
    layers = tuple(HostLayer(f"l{number}", (copy,)) for number, copy in enumerate(copies))
    project.build(layers=layers)
    assert len(one_lock) == 3  # the last is the second again
    assert project.repeats(layers=layers)


def test_builds_do_not_wait_for_each_other(project: Project, one_lock: list[str]) -> None:
    """One of a known shape is looked for while the next one is planned, and made where it is not there."""
    project.build()
    rewrite(project.rootfs / "etc/a", "bbbb")
    (project.rootfs / "opt/file").chmod(0o755)
    (project.host / "h").write_text("longer")
    one_lock.clear()
    project.build()
    assert len(one_lock) == 3
    assert project.repeats()


def test_an_archive_is_planned(project: Project) -> None:
    shutil.make_archive(str(project.folder / "rootfs"), "tar", project.rootfs)
    archive = {"rootfs": str(project.folder / "rootfs.tar"), "layers": project.layers[:1]}
    project.build(**archive)
    assert not project.repeats(**archive)
