# SPDX-License-Identifier: MIT
"""Layers taken from earlier builds: which are, why others are not, and what is read for it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support.configs import config
from support.trees import directory, file, link, with_parents

from oe_oci import digests as digests_module
from oe_oci.cache import LayerCache, Verdict, open_cache
from oe_oci.compress import choose
from oe_oci.config import Compression, Names, PathsLayer
from oe_oci.delta import diff
from oe_oci.digests import Digests
from oe_oci.errors import InputError
from oe_oci.layer import LayerWriter, members
from oe_oci.oci.spec import Descriptor, Digest
from oe_oci.plan import PlannedLayer
from oe_oci.scan import Directory
from oe_oci.store import Store
from oe_oci.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable

METHOD = choose(Compression("gzip", 1, "zlib"))


class Built(NamedTuple):
    blob: bytes
    made: bool
    verdict: Verdict


class Project:
    """A folder `rootfs` of which one layer is made, and a cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rootfs = folder / "rootfs"
        self.store = Store(str(folder / "cache"))
        self._number = 0

    def write(self, **files: str) -> None:
        for name, text in files.items():
            path = self.rootfs / "etc" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o644)

    def planned(self, digests: Digests, layer: str = "conf") -> PlannedLayer:
        found = dict(Directory(str(self.rootfs), "rootfs", lambda _time: 0, (0, 0), digests=digests).walk(""))
        delta = diff(Tree(), found, (), lambda one, other: one == other)
        return PlannedLayer(PathsLayer(layer, "directories", ("/etc",)), delta, "", None)

    def cache(self, digests: Digests, image: str, **settings: Any) -> LayerCache:
        asked = config(names=Names(image, f"{image}-latest", "latest", "localhost/x:latest"), **settings)
        return LayerCache(self.store.folder, asked, METHOD.identity, digests)

    def build(
        self,
        image: str = "app",
        layer: str = "conf",
        digests: Digests | None = None,
        meanwhile: Callable[[], object] = lambda: None,
        **settings: Any,
    ) -> Built:
        """A build's layer; `meanwhile` happens before it is written."""
        digests = digests or Digests()
        planned, made = self.planned(digests, layer), []
        self._number += 1
        target = self.folder / f"out{self._number}"
        target.mkdir()
        cache, found = self.cache(digests, image, **settings), list(members(planned.delta, 0))

        def write(seen):
            meanwhile()
            made.append(True)
            return held.enter_context(LayerWriter(found, str(target), METHOD, jobs=1)).write(seen)

        with cache, contextlib.ExitStack() as held:
            fetched = cache.fetch(cache.subject(planned, found), str(target), write, held, lambda: None)
            blob, verdict = fetched.result()
        assert verdict.key.startswith(fetched.key)
        assert os.listdir(target) == [blob.name]
        assert blob.descriptor.size == (target / blob.name).stat().st_size
        assert verdict.hit != bool(made)
        return Built((target / blob.name).read_bytes(), bool(made), verdict)

    def look(self, image: str = "app", layer: str = "conf", **settings: Any) -> Verdict:
        digests = Digests()
        planned = self.planned(digests, layer)
        cache = self.cache(digests, image, **settings)
        return cache.look(cache.subject(planned, list(members(planned.delta, 0))))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    project.write(a="a", b="b")
    return project


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The contents that were read for their digests alone."""
    found: list[object] = []
    read = digests_module.content_digest

    def counted(content):
        found.append(content)
        return read(content)

    monkeypatch.setattr(digests_module, "content_digest", counted)
    return found


def test_a_layer_is_made_once(project: Project) -> None:
    first = project.build()
    assert first.verdict.reason == "nothing is kept of it"
    second = project.build()
    assert (second.blob, second.made) == (first.blob, False)
    assert second.verdict == Verdict(first.verdict.key, "")


def test_looking_says_what_building_does(project: Project) -> None:
    assert project.look() == Verdict("", "nothing is kept of it")
    first = project.build().verdict
    assert project.look() == Verdict(first.key, "")
    project.write(a="c")
    looked = project.look()
    assert looked == project.build().verdict
    assert looked.reason.startswith("file /etc/a: content ")
    assert len(looked.differences) == 1


def test_what_was_is_found_again(project: Project) -> None:
    first = project.build()
    project.write(a="c")
    assert project.build().made
    project.write(a="a")
    again = project.build()
    assert (again.blob, again.verdict.hit) == (first.blob, True)


def test_a_first_build_reads_each_file_once(project: Project, reads: list[object]) -> None:
    """Its contents are hashed as they are written."""
    project.build()
    assert reads == []
    project.build()
    assert len(reads) == 2  # two files, in place of making the layer


def test_what_is_remembered_is_not_read(project: Project, reads: list[object]) -> None:
    kept, soon = str(project.folder / "digests"), time.time_ns() + 10**13
    for _ in range(3):
        digests = Digests(kept, began=soon)
        project.build(digests=digests)
        digests.save()
    assert reads == []


def test_a_change_of_the_shape_reads_nothing_more(project: Project, reads: list[object]) -> None:
    project.build()
    (project.rootfs / "etc" / "a").chmod(0o600)
    built = project.build()
    assert built.verdict.reason == "file /etc/a: mode 0644→0600"
    assert reads == []


def test_a_file_that_changes_under_way_is_kept_as_it_was_written(project: Project) -> None:
    project.build()

    def change() -> None:
        """As far as opening the file tells, it is the same."""
        path = project.rootfs / "etc" / "a"
        facts = path.stat()
        path.write_text("2")
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    project.write(a="1")
    racing = project.build(meanwhile=change)
    assert racing.made
    # What was written is what is there now; what was read before the change is not to be had.
    after = project.build()
    assert (after.blob, after.made) == (racing.blob, False)
    project.write(a="1")
    before = project.build()
    assert before.made
    assert before.blob != racing.blob


def test_a_file_that_is_another_one_under_way_is_an_error(project: Project) -> None:
    """A folder on the way to it may have been exchanged: the digest would be taken for that of the other one."""
    other = project.folder / "other"
    shutil.copytree(project.rootfs, other)
    (other / "etc" / "a").write_text("z")

    def change() -> None:
        project.rootfs.rename(project.folder / "aside")
        other.rename(project.rootfs)

    with pytest.raises(InputError, match="/a changed while it was read"):
        project.build(meanwhile=change)
    assert project.build().made


def test_layers_of_other_names_and_images_are_shared(project: Project) -> None:
    first = project.build()
    other = project.build(image="other", layer="settings")
    assert (other.blob, other.made) == (first.blob, False)


def test_a_layer_is_compared_with_that_of_its_own_image(project: Project) -> None:
    project.build(image="one")
    project.write(a="22")
    project.build(image="two")
    project.write(b="33")
    assert [str(each.subject) for each in project.build(image="one").verdict.differences] == ["file /etc/a"] * 2 + [
        "file /etc/b"
    ] * 2
    project.write(b="444")
    told = project.build(image="three").verdict
    # Of another image's, the one kept last.
    assert [str(each.subject) for each in told.differences] == ["file /etc/b"] * 2


def test_an_epoch_that_is_not_in_the_layer_does_not_matter(project: Project) -> None:
    project.build(epoch=1)
    assert project.build(epoch=2).verdict.hit
    project.write(a="longer")
    assert project.build(epoch=3).verdict.reason == "file /etc/a: size 1→6"


def test_a_layer_is_compared_with_the_nearest_it_was(project: Project) -> None:
    """Not with the last one, where two kinds of image are built by turns."""
    project.write(**{f"file{number}": "x" for number in range(9)})
    project.build()
    for number in range(9):
        project.write(**{f"file{number}": "y"})
    project.build()
    for number in range(9):
        project.write(**{f"file{number}": "x"})
    project.write(a="z")
    assert [difference.subject for difference in project.build().verdict.differences] == ["file /etc/a"]


def test_a_layer_whose_listing_is_lost_is_not_the_nearest(project: Project) -> None:
    project.build()
    project.write(a="b")
    project.build()
    lost = project.store.latest("app", "conf")[1]
    (Path(project.store.folder) / "blobs" / "sha256" / lost.listing.digest.hex).unlink()
    project.write(a="c")
    assert project.build().verdict.reason.startswith("file /etc/a: content ")


def test_a_layer_that_was_expected_and_is_another_one_now_is_taken_as_it_is(project: Project, tmp_path: Path) -> None:
    project.build()
    (kept,) = project.store.latest("app", "conf")
    other = tmp_path / "other"
    other.write_bytes(b"other")
    digest = Digest("sha256", hashlib.sha256(b"other").hexdigest())
    planned, digests = project.planned(Digests()), Digests()
    with project.cache(digests, "app") as cache, contextlib.ExitStack() as held:
        cache.expect([("conf", kept.shape, kept.key)], str(tmp_path / "aside"))
        assert cache._expected[kept[:2]].result() == kept
        changed = kept._replace(blob=Descriptor(kept.blob.media_type, digest, 5))
        assert not project.store.put(changed, str(other), project.store.listing(kept) or b"")
        subject = cache.subject(planned, list(members(planned.delta, 0)))
        (tmp_path / "out").mkdir()
        blob, _ = cache.fetch(
            subject, str(tmp_path / "out"), lambda _seen: pytest.fail("made"), held, lambda: None
        ).result()
    assert blob.descriptor == changed.blob
    assert (tmp_path / "out" / blob.name).read_bytes() == b"other"


@pytest.mark.parametrize("piece", ["blob", "entry"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "removed", "folder"])
def test_damage_is_a_reason_and_is_repaired(project: Project, piece: str, damage: str) -> None:
    first = project.build()
    (latest,) = project.store.latest("app", "conf")
    cache = Path(project.store.folder)
    path = cache / "blobs" / "sha256" / latest.blob.digest.hex
    path = path if piece == "blob" else cache / "entries" / latest.shape / latest.key
    data = path.read_bytes()
    path.unlink()
    if damage == "flipped":
        path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    elif damage == "truncated":
        path.write_bytes(data[:-1])
    elif damage == "folder":
        path.mkdir()
    looked = project.look()
    built = project.build()
    assert (built.blob, built.made) == (first.blob, True)
    # Only reading all of it tells that.
    assert looked.reason == ("" if (piece, damage) == ("blob", "flipped") else built.verdict.reason)
    if (piece, damage) == ("entry", "removed"):
        assert built.verdict.reason == "nothing is kept of it"
    else:
        assert built.verdict.reason.startswith(f"its {piece}")
    assert project.build().verdict.hit


@pytest.mark.parametrize("damage", ["flipped", "truncated", "removed"])
def test_a_damaged_listing_is_put_back_by_a_hit(project: Project, damage: str) -> None:
    project.build()
    (latest,) = project.store.latest("app", "conf")
    path = Path(project.store.folder) / "blobs" / "sha256" / latest.listing.digest.hex
    data = path.read_bytes()
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(data[:-1] + (b"" if damage == "truncated" else bytes([data[-1] ^ 1])))
    assert project.build().verdict.hit
    assert path.read_bytes() == data
    project.write(a="c")
    assert project.build().verdict.reason.startswith("file /etc/a: content ")


def test_a_lost_listing_loses_the_explanation_alone(project: Project) -> None:
    project.build()
    (latest,) = project.store.latest("app", "conf")
    (Path(project.store.folder) / "blobs" / "sha256" / latest.listing.digest.hex).unlink()
    project.write(a="c")
    assert project.build().verdict.reason == "it is not the one that was kept last, whose listing is lost"


def test_a_cache_that_can_not_be_written_is_no_error(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "oe_oci")
    (project.folder / "cache").write_text("no folder")
    failure = os.strerror(errno.EEXIST)
    assert project.build().made
    assert project.build().made
    told = f"layer conf: not kept for later builds in {project.folder}/cache: {failure}"
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [told] * 2


def test_a_cache_that_may_only_be_read_is_no_reason_to_warn(
    project: Project, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", "oe_oci")
    monkeypatch.setattr(Store, "put", lambda *_: "Permission denied")
    assert project.build().made
    assert [record.levelno for record in caplog.records] == [logging.INFO]


def test_two_builds_at_once_make_a_layer_once(project: Project) -> None:
    entered, go = threading.Event(), threading.Event()

    def slowly() -> None:
        entered.set()
        assert go.wait(30)

    found: list[Built] = []
    slow = threading.Thread(target=lambda: found.append(project.build(meanwhile=slowly)))
    slow.start()
    assert entered.wait(30)
    waiting = threading.Thread(target=lambda: found.append(project.build()))
    waiting.start()
    time.sleep(0.2)
    assert found == []
    go.set()
    slow.join()
    waiting.join()
    assert sorted(built.made for built in found) == [False, True]
    assert found[0].blob == found[1].blob


def test_a_cache_is_there_unless_it_is_switched_off(tmp_path: Path) -> None:
    assert open_cache(config(cache_dir=None), METHOD.identity, Digests()) is None
    assert open_cache(config(cache_dir=str(tmp_path)), METHOD.identity, Digests()) is not None


def test_json() -> None:
    assert Verdict("1f", "").to_json() == {"hit": True, "key": "1f"}
    assert Verdict("", "why").to_json() == {"hit": False, "reason": "why"}


def test_layers_that_lie_elsewhere_have_one_key() -> None:
    """A layer that changes nothing below it is the same wherever it stands."""
    wanted = with_parents({"opt/app": file(b"app"), "opt/link": link("app")})
    below = with_parents({"usr/bin/sh": file(b"sh"), "var": directory(0o700)})
    subjects = []
    cache = LayerCache("/nowhere", config(), METHOD.identity, Digests())
    for lower in (Tree(with_parents({"": directory()})), Tree(below)):
        delta = diff(lower, wanted, (), lambda one, other: one == other)
        planned = PlannedLayer(PathsLayer("opt", "directories", ("/opt",)), delta, "", None)
        subjects.append(cache.subject(planned, list(members(delta, 0))).shape)
    assert subjects[0].digest == subjects[1].digest


def test_nothing_is_read_for_a_build_that_kept_nothing(
    project: Project, reads: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "making", lambda _store, _shape: contextlib.nullcontext(True))
    assert project.build().made
    assert not reads
