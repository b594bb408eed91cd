# SPDX-License-Identifier: MIT
"""The driver: configuration in, image and report out; calls the other modules in their order."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from typing import TYPE_CHECKING, Callable, NamedTuple

from .cache import Fetched, Verdict, open_cache
from .compress import Method, choose
from .config import Compression, Config, HostLayer
from .content import Literal
from .earlier import Builds, EarlierLayer
from .inputs import Options, open_inputs
from .labels import automatic
from .layer import LayerWriter, members
from .memory import open_memory
from .oci.image import Added, Loadable, NewImage, make_docker_manifest, make_image, make_index
from .oci.spec import LAYOUT_FILE
from .outputs import Archives, check_place, layout_output, publish, staged_file, staged_layout, write_documents
from .plan import plan_layers
from .report import BuildReport, LayerReport, report_bytes
from .revision import find_revision
from .staging import staging

if TYPE_CHECKING:
    from .archive import ArchiveFacts
    from .base import Base
    from .earlier import Earlier
    from .layer import Finish, LayerBlob, Seen
    from .memory import Memory
    from .packages.installation import Installer
    from .plan import PlannedLayer


def build(config: Config, options: Options) -> BuildReport:
    """Build an image and put its outputs into the deploy folder.

    Raises:
        ConfigError: the configuration can not be built.
        InputError: an input is damaged or does not fit.
        ToolError: the disk, a permission or a program failed. In each case the outputs are as they were.
    """
    method, for_archives = choose(config.compression), archive_method(config)
    check_place(config.deploy_dir, config.names)
    with (
        staging(config.deploy_dir, config.names.base) as stage,
        open_memory(config, paranoid=options.paranoid) as memory,
        Archives(stage, config.names, for_archives, jobs=options.jobs, epoch=config.epoch or 0) as archives,
    ):
        layout = os.path.join(stage, "layout")
        layers: list[LayerReport] = []

        def done(layer: LayerReport) -> None:
            layers.append(layer)
            if config.archives and layer.blob is not None:
                name = f"blobs/sha256/{layer.blob.digest.hex}"
                archives.add(name, staged_file(stage, name))

        writer = _Writer(config, options, method, os.path.join(layout, "blobs", "sha256"), memory, done)
        with open_inputs(config, options, memory, stage) as (base, inputs), writer:
            builds = Builds(memory, config, base.image.descriptor.digest if base.image else None, method.identity)
            last = builds.last()
            if last is not None and writer.repeat(last, os.path.join(stage, "expected")):
                memory.leave_all()
            else:
                for planned in plan_layers(config, inputs):
                    writer.start(planned, inputs.installer)
                writer.finish()
                builds.leave(writer.made)
        report, image = _assemble(config, base, layers, method)
        _write_layout(layout, image, config)
        written = _finish(archives, stage, image, config, options)
        notes = (*config.notes, *writer.notes)
        report = report._replace(archives=written, archive_compressor=for_archives.identity, notes=notes)
        options.status("outputs")
        publish(stage, config.deploy_dir, config.names, written, report_bytes(report.to_json()))
    return report


def host_paths(config: Config) -> list[str]:
    """The paths of the build host that go into the image, as they are written."""
    return [copy.written for spec in config.layers if isinstance(spec, HostLayer) for copy in spec.copies]


class _Started(NamedTuple):
    """A layer that is read or looked for; `fetched` is None for one that is left out.

    `held` is what it holds until it is finished.
    """

    number: int
    report: LayerReport
    fetched: Fetched | None
    held: contextlib.ExitStack
    shape: str = ""

    @property
    def is_there(self) -> bool:
        return self.fetched is None or self.fetched.is_there()


class _Writer:
    """Writes planned layers as blobs into a staged layout, those that are kept from earlier builds as they are.

    The last part of a layer is compressed, and kept ones are looked for, while the next ones are planned; each is told
    to `done`, in order. A context manager.
    """

    def __init__(
        self,
        config: Config,
        options: Options,
        method: Method,
        folder: str,
        memory: Memory,
        done: Callable[[LayerReport], None],
    ) -> None:
        self._epoch = config.epoch or 0
        self._written, self._number = 0, len(config.layers)
        self.notes: list[str] = []
        self.made: list[EarlierLayer] = []
        self._options = options
        self._method = method
        self._folder = folder
        self._questions = memory.digests.questions
        self._stack = contextlib.ExitStack()
        cache = open_cache(config, method.identity, memory.digests, options.jobs)
        self._cache = self._stack.enter_context(cache or contextlib.nullcontext())
        self._done = done
        self._started: deque[_Started] = deque()
        os.makedirs(folder)

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def repeat(self, last: Earlier, aside: str) -> bool:
        """Take all layers that the last build had; whether nothing has changed since, and all of them are there.

        They are taken into `aside`, a new folder of the stage, beside finding out; else from there when they are asked
        for, if ever they are.
        """
        if self._cache is None:
            return False
        kept = [(layer.name, layer.shape, layer.key) for layer in last.layers if layer.key]
        self._cache.expect(kept, aside)
        if not self._questions.same(last.asked):
            self._cache.expect_no_more()
            return False
        blobs = self._cache.expected(kept, self._folder)
        if blobs is None:
            return False
        left = iter(blobs)
        for layer in last.layers:
            report = LayerReport(*layer[:4], note=layer.note)
            self._done(_with_blob(report, next(left), Verdict(layer.key, "")) if layer.key else report)
        return True

    def start(self, planned: PlannedLayer, installer: Installer | None) -> None:
        """Have a layer read or found."""
        spec, delta = planned.spec, planned.delta
        self.notes += planned.notes
        self._written += 1
        number = self._written
        self._options.status(f"layer {spec.name} ({number} of {self._number})")
        report = LayerReport(spec.name, spec.kind, delta.changed, len(delta.removed), packages=planned.packages)
        held = self._stack.enter_context(contextlib.ExitStack())
        if planned.left_out:
            if installer is not None and planned.packages is not None:
                installer.keep(delta, "", "")
            report = report._replace(changed=0, removed=0, note=f"left out: {planned.left_out}")
            self._started.append(_Started(number, report, None, held))
            return
        found = list(members(delta, self._epoch))

        def alone() -> None:
            self.finish(number)  # also as much of each one is in memory

        def write(seen: Seen | None = None) -> Finish:
            if installer is not None and planned.packages is not None:
                installer.hold()
            writer = LayerWriter(found, self._folder, self._method, jobs=self._options.jobs)
            return held.enter_context(writer).write(seen)

        shape = ""
        if self._cache is None:
            alone()
            made = write()
            fetched = Fetched("", lambda: (made(), None))
        else:
            subject = self._cache.subject(planned, found)
            shape = subject.shape.digest
            fetched = self._cache.fetch(subject, self._folder, write, held, alone)
            if installer is not None and planned.packages is not None:
                installer.keep(delta, shape, fetched.key)
        self._started.append(_Started(number, report, fetched, held, shape))
        while self._started and self._started[0].is_there:
            self._finish()

    def finish(self, before: int | None = None) -> None:
        """Finish the layers that were started, in their order: those before a number, or all."""
        while self._started and (before is None or self._started[0].number < before):
            self._finish()

    def _finish(self) -> None:
        _, report, fetched, held, shape = self._started.popleft()
        key = ""
        with held:
            result = None if fetched is None else fetched.result()
        if result is not None:
            blob, verdict = result
            report, key = _with_blob(report, blob, verdict), verdict.key if verdict else ""
        self.made.append(EarlierLayer(*report[:4], report.note, shape, key))
        self._done(report)


def _with_blob(report: LayerReport, blob: LayerBlob, verdict: Verdict | None) -> LayerReport:
    return report._replace(raw_size=blob.raw_size, blob=blob.descriptor, diff_id=blob.diff_id, cache=verdict)


def _assemble(config: Config, base: Base, layers: list[LayerReport], method: Method) -> tuple[BuildReport, NewImage]:
    digest = base.image.descriptor.digest if base.image else None
    revision = find_revision(config.labels_from) if config.labels_from else None
    auto = automatic(config.auto_labels, revision, config.epoch, int(time.time()), str(digest or ""))
    added = [
        Added(layer.blob, layer.diff_id, f"oe-oci: layer {layer.name} ({layer.kind})")
        for layer in layers
        if layer.blob is not None and layer.diff_id is not None
    ]
    image = make_image(base.image, added, config, auto)
    report = BuildReport(
        names=config.names,
        platform=config.platform,
        manifest=image.descriptor,
        config=image.config_descriptor.digest,
        created=auto.created,
        compressor=method.identity,
        base=digest,
        base_diff_ids=base.image.diff_ids if base.image else (),
        layers=tuple(layers),
        layout=layout_output(config.names).name,
        archives={},
        archive_compressor={},
        notes=(),
    )
    return report, image


def _write_layout(layout: str, image: NewImage, config: Config) -> None:
    write_documents(
        layout,
        {
            f"blobs/sha256/{image.config_descriptor.digest.hex}": image.config,
            f"blobs/sha256/{image.descriptor.digest.hex}": image.manifest,
            "oci-layout": LAYOUT_FILE,
            "index.json": make_index(image, config.names, config.platform),
        },
    )


def archive_method(config: Config) -> Method:
    """How archives are compressed: by the pinned compressor where it can."""
    algorithm = {"": "none", "gz": "gzip", "zst": "zstd"}[config.archive_compression]
    pinned = config.compression.compressor if config.compression.algorithm == algorithm else "auto"
    return choose(Compression(algorithm, None, pinned), "OCI_IMAGE_TAR_COMPRESSION")


def _finish(
    archives: Archives, stage: str, image: NewImage, config: Config, options: Options
) -> dict[str, ArchiveFacts]:
    if not config.archives:
        return {}
    options.status("archives")
    docker = make_docker_manifest([Loadable(image.config_descriptor, image.layers, (config.names.full,))])
    return archives.finish({**staged_layout(stage), "manifest.json": Literal(docker)})
