# SPDX-License-Identifier: MIT
"""What a build leaves: the layout, its archives, the links to them and the report, under names users script against.

Everything is made beside and renamed into place. Must not change content.
"""

from __future__ import annotations

import contextlib
import os
import re
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from .archive import Archive, ArchiveFacts, archive_size
from .config import ARCHIVES
from .content import Region
from .errors import InputError, ToolError
from .oci.spec import as_object, parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .compress import Method
    from .config import Names
    from .content import Content

_PARTS = frozenset({"blobs", "oci-layout", "index.json"})
_FOLDER_MODE, _FILE_MODE = 0o755, 0o644  # whatever the umask
_ENDINGS = {"none": "", "gzip": ".gz", "zstd": ".zst"}
_LARGEST_REPORT = 64 << 20  # bytes


class Output(NamedTuple):
    """A finished file or folder: its name in the deploy folder and, unless empty, that of the link to it."""

    name: str
    link: str


def layout_output(names: Names) -> Output:
    return _output(names, "-oci")


def report_output(names: Names) -> Output:
    return _output(names, "-oci.json")


def archive_outputs(names: Names, algorithm: str) -> tuple[Output, Output]:
    """The archive with the layout at its root, and the one with the layout in a folder."""
    ending = _ENDINGS[algorithm]
    root, folder = (_output(names, name + ending, link + ending) for name, link in zip(names.archives, ARCHIVES))
    return root, folder


def _output(names: Names, ending: str, link: str = "") -> Output:
    name, link = names.stem + ending, names.link + (link or ending)
    return Output(name, link if link != name else "")


def write_documents(folder: str, documents: dict[str, bytes]) -> None:
    """Write a layout's small files into a staged layout."""
    for name, data in documents.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _write(path, data)


def _write(path: str, data: bytes) -> None:
    try:
        with open(path, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), _FILE_MODE)
    except OSError as error:
        raise ToolError(f"cannot write {path}: {error.strerror}") from error


def staged_file(stage: str, name: str) -> Content:
    """A file of the staged layout, by its path in it."""
    path = os.path.join(stage, "layout", name)
    return Region(os.fsencode(path), 0, os.path.getsize(path))


def staged_layout(stage: str) -> dict[str, Content]:
    """The files of the staged layout, by their path in it, sorted."""
    layout = os.path.join(stage, "layout")
    paths = (os.path.join(folder, name) for folder, _, found in os.walk(layout) for name in found)
    return {name: staged_file(stage, name) for name in sorted(os.path.relpath(path, layout) for path in paths)}


class Archives:
    """Both archives of a layout, made in `stage` by a thread while the layout is made; a context manager.

    Where the method must know how much will come, they are made at the end.
    """

    def __init__(self, stage: str, names: Names, method: Method, *, jobs: int, epoch: int) -> None:
        tops = ("", layout_output(names).name)
        self._tops = dict(zip((one.name for one in archive_outputs(names, method.algorithm)), tops))
        self._stage, self._method, self._jobs, self._epoch = stage, method, jobs, epoch
        self._files: dict[str, Content] = {}
        self._open: dict[str, Archive] = {}
        self._running: list[Future[None]] = []
        self._pool = ThreadPoolExecutor(1, "archives")

    def __enter__(self) -> Archives:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        with contextlib.ExitStack() as stack:
            for archive in self._open.values():
                stack.push(archive)

    def add(self, name: str, content: Content) -> None:
        """Add the file of a path in the layout, unless it is there; it may not change any more.

        Raises:
            ToolError: the archives can not be made.
        """
        if name in self._files:
            return
        self._files[name] = content
        if not self._method.sized:
            self._begin()
            self._write(name, content)

    def finish(self, files: Mapping[str, Content]) -> dict[str, ArchiveFacts]:
        """Add what is not there yet of these files, in their order; the facts of both archives, by name.

        Raises:
            ToolError: the disk is full or a file can not be read.
        """
        for name, content in files.items():
            self.add(name, content)
        if self._method.sized:
            self._begin()
            for name, content in self._files.items():
                self._write(name, content)
        for future in self._running:
            future.result()
        return {name: archive.finish() for name, archive in self._open.items()}

    def _begin(self) -> None:
        for name, top in self._tops.items():
            if name not in self._open:
                size = archive_size(self._files, top, self._epoch) if self._method.sized else 0
                path, options = os.path.join(self._stage, name), {"jobs": self._jobs, "epoch": self._epoch}
                self._open[name] = Archive(path, top, self._method, **options, size=size)

    def _write(self, name: str, content: Content) -> None:
        self._running += (self._pool.submit(archive.add, name, content) for archive in self._open.values())


def publish(stage: str, deploy_dir: str, names: Names, archives: dict[str, ArchiveFacts], report: bytes) -> None:
    """Rename everything staged into place and remove what earlier builds of this image left and this one lacks.

    A layout's blobs come first and its index.json last, so that at any moment it is the old image or the new one. Where
    none is staged the one that is there stays as it is.

    Raises:
        ToolError: something that is no image layout is in the way, or the folder can not be written to.
    """
    report_name = report_output(names).name
    former = _former_archives(deploy_dir, names)
    _write(os.path.join(stage, report_name), report)
    try:
        for name in [*archives, report_name]:
            os.replace(os.path.join(stage, name), os.path.join(deploy_dir, name))
        if os.path.isdir(os.path.join(stage, "layout")):
            _move_layout(os.path.join(stage, "layout"), os.path.join(deploy_dir, layout_output(names).name))
        kept = [layout_output(names), report_output(names)]
        kept += [output for output in _every_archive(names) if output.name in archives]
        for output in kept:
            if output.link:
                _link(stage, deploy_dir, output)
        _remove_stale(deploy_dir, names, kept, former)
    except OSError as error:
        raise ToolError(f"cannot write {error.filename2 or error.filename}: {error.strerror}") from error


def share(folder: str, names: Iterable[str]) -> None:
    """Make files of a layout readable by all, as outputs are; other tools make them the caller's alone."""
    for name in names:
        path = os.path.join(folder, name)
        try:
            if os.stat(path).st_mode & 0o777 != _FILE_MODE:
                os.chmod(path, _FILE_MODE)
        except OSError as error:
            raise ToolError(f"cannot make {path} readable by all: {error.strerror}") from error


def check_layout_place(path: str) -> None:
    """See that nothing but an image layout is where a layout goes.

    Raises:
        ToolError: there is a file, or a folder that holds something else.
    """
    if os.path.lexists(path) and not os.path.isdir(path):
        raise ToolError(f"{path} is in the way: it is no folder", hint="move it away")
    strange = sorted(set(os.listdir(path)) - _PARTS) if os.path.isdir(path) else []
    if strange:
        raise ToolError(f"{path} is in the way: it holds '{strange[0]}', which is no part of a layout")
    folders = (path, os.path.join(path, "blobs"), os.path.join(path, "blobs", "sha256"))
    for folder in folders:
        # Found out before the archives are in place; a deploy folder that is closed itself shows anyway.
        if os.path.isdir(folder) and os.access(os.path.dirname(path), os.W_OK) and not os.access(folder, os.W_OK):
            raise ToolError(f"cannot write to {folder}: Permission denied", hint="another user built it; move it away")
    for place in folders:
        # What is published replaces what is there: never that of a folder somewhere else.
        if os.path.islink(place):
            raise ToolError(f"{place} is in the way: it is a link", hint="move it away")


def check_place(deploy_dir: str, names: Names) -> None:
    """See that nothing of somebody else's is where the outputs go.

    Raises:
        ToolError: there is.
    """
    check_layout_place(os.path.join(deploy_dir, layout_output(names).name))
    every = [name for output in _every_output(names) for name in output if name]
    for name in every[1:]:
        place = os.path.join(deploy_dir, name)
        if os.path.isdir(place) and not os.path.islink(place):
            raise ToolError(f"{place} is in the way: it is a folder", hint="move it away")


def publish_layout(staged: str, final: str) -> None:
    """Put a staged layout in the place of the one at `final`: blobs first, index.json last.

    Raises:
        ToolError: the folder can not be written to.
    """
    try:
        _move_layout(staged, final)
    except OSError as error:
        raise ToolError(f"cannot write {error.filename2 or error.filename}: {error.strerror}") from error


def _move_layout(staged: str, final: str) -> None:
    fresh = set()
    for folder, _, found in os.walk(os.path.join(staged, "blobs")):
        target = os.path.join(final, os.path.relpath(folder, staged))
        os.makedirs(target, exist_ok=True)
        os.chmod(target, _FOLDER_MODE)
        for name in found:
            os.replace(os.path.join(folder, name), os.path.join(target, name))
            fresh.add(os.path.join(target, name))
    os.chmod(final, _FOLDER_MODE)
    for name in ("oci-layout", "index.json"):
        os.replace(os.path.join(staged, name), os.path.join(final, name))
    for folder, _, found in os.walk(os.path.join(final, "blobs"), topdown=False):
        for name in found:
            if os.path.join(folder, name) not in fresh:
                os.unlink(os.path.join(folder, name))
        if not os.listdir(folder):
            os.rmdir(folder)


def _every_archive(names: Names) -> list[Output]:
    """The archives of an image in every compression, under the names of both tools that are known by theirs."""
    both = dict.fromkeys((names, names._replace(archives=ARCHIVES)))
    return [output for own in both for algorithm in _ENDINGS for output in archive_outputs(own, algorithm)]


def _every_output(names: Names) -> list[Output]:
    return [layout_output(names), report_output(names), *_every_archive(names)]


def _former_archives(deploy_dir: str, names: Names) -> list[str]:
    """The archives that an earlier build left, as its report has them: a tag or an architecture is in some names."""
    path = os.path.join(deploy_dir, report_output(names).name)
    own = re.compile(re.escape(layout_output(names).name) + r"([-.][^/]*)?\.tar(\.gz|\.zst)?")
    with contextlib.suppress(OSError, InputError):
        if os.path.getsize(path) <= _LARGEST_REPORT:
            with open(path, "rb") as file:
                outputs = as_object(parse_json(file.read(), path).get("outputs"), path)
            return [name for name in as_object(outputs.get("archives"), path) if own.fullmatch(name)]
    return []


def _link_ending(archive: str) -> str:
    """How the name of a link to an archive ends."""
    folder, ending = re.findall(r"(-dir)?(\.tar(?:\.gz|\.zst)?)$", archive)[0]
    return f"-oci{folder}{ending}"


def _remove_stale(deploy_dir: str, names: Names, kept: list[Output], former: list[str]) -> None:
    """Remove archives this build did not make, and links to its outputs under tags they no longer have."""
    links = {output.link for output in kept}
    archives = {*former, *(output.name for output in _every_archive(names))}
    ours = {output.name: output.name[len(names.stem) :] for output in (layout_output(names), report_output(names))}
    ours.update((archive, _link_ending(archive)) for archive in archives)
    prefix = f"{names.base}-"
    with os.scandir(deploy_dir) as found:
        stale = [
            entry.path
            for entry in found
            if entry.is_symlink()
            and entry.name not in links
            and entry.name.startswith(prefix)
            and entry.name.endswith(ours.get(os.readlink(entry.path), "\0"))
        ]
    for path in stale:
        os.unlink(path)
    for archive in archives.difference(output.name for output in kept):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(deploy_dir, archive))


def _link(stage: str, deploy_dir: str, output: Output) -> None:
    path = os.path.join(deploy_dir, output.link)
    os.symlink(output.name, os.path.join(stage, output.link))
    os.replace(os.path.join(stage, output.link), path)
