# SPDX-License-Identifier: MIT
"""Layers that earlier builds made, in place of making them again; and why one is not among them.

A layer is known by its key (see `listing`), so none can be out of date. Its contents need be read for that only where
the store has a layer of the same shape; else it is written at once, and its contents are hashed on the way. Whatever is
wrong with the store costs time alone: it is never an error, and never another layer.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from .differences import EPOCH, Changes, Difference, lines_of
from .layer import LayerBlob
from .listing import FORMAT, Shape, key_of, listing_of, pack, shape_of, unpack
from .oci.spec import Descriptor, Digest
from .store import LISTING, CachedLayer, Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future
    from contextlib import ExitStack

    from .config import Config
    from .content import Content
    from .digests import Digests
    from .layer import Finish, Member, Seen
    from .listing import Contents
    from .plan import PlannedLayer

LOG = logging.getLogger("oe_oci")

_DENIED = frozenset(map(os.strerror, (errno.EACCES, errno.EPERM, errno.EROFS)))
_FIRST = "nothing is kept of it"
_LOST = "it is not the one that was kept last, whose listing is lost"

Named = tuple[str, str, str]  # a layer's name, shape and key
Write = Callable[["Seen"], "Finish"]
_Lines = tuple[set[bytes], set[bytes]]


class Verdict(NamedTuple):
    """What the cache says of a layer.

    `key` is empty where it would have to be read for that alone. `reason` is why the layer must be made, empty where it
    need not; `changes` are those from the nearest of what the layer was before.
    """

    key: str
    reason: str
    changes: Changes | None = None

    @property
    def differences(self) -> list[Difference]:
        return [] if self.changes is None else self.changes.differences()

    @property
    def hit(self) -> bool:
        return not self.reason

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {"hit": self.hit}
        if self.key:
            value["key"] = self.key
        if self.reason:
            value["reason"] = self.reason
        differences = [difference.to_json() for difference in self.differences]
        return {**value, "differences": differences} if differences else value


class Subject(NamedTuple):
    """A layer that is asked for: its name and its shape, and what else explains it.

    `lasting` is whether its contents can still be read when later layers are planned: what a package manager has
    installed may be gone by then.
    """

    name: str
    shape: Shape
    facts: dict[str, Any]
    lasting: bool


class Fetched(NamedTuple):
    """A layer on its way: `result` waits for its blob, which is there under its digest's name then, and kept.

    `is_there` says whether that need not be waited for. `key` is empty where it is not known before.
    """

    key: str
    result: Callable[[], tuple[LayerBlob, Verdict | None]]
    is_there: Callable[[], bool] = lambda: False


class LayerCache:
    """The layers kept in the folder `folder`, for one image, compressed in one way; `jobs` threads read contents.

    A context manager, whose thread looks for layers beside the caller's own work.
    """

    def __init__(
        self, folder: str, config: Config, compressor: dict[str, Any], digests: Digests, jobs: int = 1
    ) -> None:
        self._store = Store(folder)
        self._config = config
        self._compressor = compressor
        self._digests = digests
        self._jobs = jobs
        self._failed = False
        self._aside = ""
        self._expected: dict[tuple[str, str], Future[CachedLayer | None]] = {}  # by shape and key
        self._thread = ThreadPoolExecutor(1, "cache")

    def __enter__(self) -> LayerCache:
        return self

    def __exit__(self, *_: object) -> None:
        self._digests.stop()
        self._thread.shutdown(cancel_futures=True)

    def expect(self, layers: Iterable[Named], aside: str) -> None:
        """Have layers taken before it is known if they are wanted.

        Their blobs are put into `aside`, a new folder on the file system of the one that they will be asked for in.
        """
        os.mkdir(aside)
        self._aside = aside
        for _, shape, key in layers:
            self._expected[shape, key] = self._thread.submit(self._take_aside, shape, key)

    def expected(self, layers: Sequence[Named], folder: str) -> list[LayerBlob] | None:
        """Layers that were expected, their blobs put into the folder; None, and no blob there, if any can not be had.

        Raises:
            ToolError: a blob can not be written.
        """
        found = [self._expected[shape, key].result() for _, shape, key in layers]
        there = [one for one in found if one is not None]
        # Of a lost listing only a planned layer has what it takes to put it back.
        if len(there) < len(layers) or None in map(self._store.listing, there):
            return None
        for (name, _, _), one in zip(layers, there):
            self._move(one, os.path.join(folder, one.blob.digest.hex))
            self._store.note(self._config.names.base, name, one)
        return list(map(_blob, there))

    def expect_no_more(self) -> None:
        """Have none taken any more but those that are or that are asked for: some may not be wanted."""
        self._expected = {layer: expected for layer, expected in self._expected.items() if not expected.cancel()}

    def _take_aside(self, shape: str, key: str) -> CachedLayer | None:
        """Put the blob of a layer aside; None where that can not be."""
        found = self._store.find(shape, key)
        return None if isinstance(found, str) or self._store.take(found, os.path.join(self._aside, key)) else found

    def _move(self, found: CachedLayer, path: str) -> bool:
        """Put the blob of a layer that was expected at a path; whether it was, and was to be had."""
        expected = self._expected.pop(found[:2], None)
        is_there = expected is not None and expected.result() == found
        if is_there:
            os.rename(os.path.join(self._aside, found.key), path)
        return is_there

    def subject(self, planned: PlannedLayer, members: Sequence[Member]) -> Subject:
        """A planned layer, with the members that make it, as the cache knows layers."""
        spec, packages = planned.spec, planned.packages
        settings: dict[str, Any] = {} if self._config.epoch is None else {EPOCH: self._config.epoch}
        if packages is not None:
            settings["OCI_PACKAGE_DATABASE"] = self._config.packages.database
        facts = {
            "image": self._config.names.base,
            "layer": spec.name,
            "kind": spec.kind,
            "format": FORMAT,
            "compressor": self._compressor,
            "packages": [[one.name, one.arch, one.version, one.digest] for one in packages.new] if packages else [],
            "manager": dict(packages.tool) if packages else {},
            "settings": settings,
        }
        return Subject(spec.name, shape_of(members, self._compressor), facts, packages is None)

    def look(self, subject: Subject) -> Verdict:
        """Whether a layer need not be made; its contents are read as far as that takes.

        Raises:
            InputError, ToolError: a content can not be read.
        """
        earlier = self._earlier(subject)
        if not earlier and not self._store.has_shape(subject.shape.digest):
            return Verdict("", _FIRST)
        digests = self._begin(subject)()
        key = key_of(subject.shape, digests)
        found = self._store.find(subject.shape.digest, key)
        reason = found if isinstance(found, str) else self._store.lacks(found)
        if isinstance(found, CachedLayer) and not reason:
            return Verdict(key, "")
        return self._explained(subject, digests, Verdict(key, reason), earlier)

    def fetch(self, subject: Subject, folder: str, write: Write, held: ExitStack, alone: Callable[[], None]) -> Fetched:
        """A layer taken from the store, else made by `write` and kept.

        `write` makes it in `folder`, and tells of each content what it was told of itself. Until the result was waited
        for `held` keeps other builds from making the same layer. `alone` is called before that, and waits for all
        layers that this build keeps others from making: else two could each wait for what the other one holds. For a
        lasting layer of a shape that is known a thread reads contents and the blob; where it was for nothing, the layer
        is made when the result is asked for.

        Raises:
            InputError, ToolError: a content can not be read, or the folder not be written to; so does the result.
        """

        def made(reason: str) -> Fetched:
            alone()
            return self._made(subject, folder, write, held, reason)

        if not self._store.has_shape(subject.shape.digest):
            return made("")
        read = self._begin(subject)

        def fetched(taken: CachedLayer | str) -> Fetched:
            return _hit(taken) if isinstance(taken, CachedLayer) else made(taken)

        if not subject.lasting:
            return fetched(self._taken(subject, folder, read()))
        future = self._thread.submit(lambda: self._taken(subject, folder, read()))
        return Fetched("", lambda: fetched(future.result()).result(), future.done)

    def _taken(self, subject: Subject, folder: str, digests: bytes) -> CachedLayer | str:
        """The layer of these contents that is kept, its blob put into the folder.

        In its place why it can not be had, empty where there never was one.
        """
        found = self._store.find(subject.shape.digest, key_of(subject.shape, digests))
        return found if isinstance(found, str) else self._take(subject, found, digests, folder) or found

    def _take(self, subject: Subject, found: CachedLayer, digests: bytes, folder: str) -> str:
        """Put a layer's blob into the folder; why it can not be, empty where it was."""
        path = os.path.join(folder, found.blob.digest.hex)
        reason = "" if self._move(found, path) else self._store.take(found, path)
        if not reason and self._store.listing(found) is None:
            # Only who makes a layer could else put it back; a clean-up would take the whole layer for damaged.
            self._keep(subject, found.key, _blob(found), path, pack(listing_of(subject.shape, digests)))
        elif not reason:
            self._store.note(self._config.names.base, subject.name, found)
        return reason

    def _made(self, subject: Subject, folder: str, write: Write, held: ExitStack, reason: str) -> Fetched:
        """As `fetch`, of a layer that can not be had for this reason."""
        waited = held.enter_context(self._store.making(subject.shape.digest))
        if waited and self._store.has_shape(subject.shape.digest):
            taken = self._taken(subject, folder, self._begin(subject)())
            if isinstance(taken, CachedLayer):
                return _hit(taken)
            reason = taken
        read = bytearray()

        def seen(content: Content, digest: bytes) -> None:
            read.extend(digest)
            self._digests.learn(content, digest)

        finish = write(seen)
        key = key_of(subject.shape, read)
        verdict = self._explained(subject, read, Verdict(key, reason), self._earlier(subject))
        packed = pack(listing_of(subject.shape, read))

        def kept() -> tuple[LayerBlob, Verdict]:
            blob = finish()
            self._keep(subject, key, blob, os.path.join(folder, blob.name), packed)
            return blob, verdict

        return Fetched(key, kept)

    def _keep(self, subject: Subject, key: str, blob: LayerBlob, path: str, packed: bytes) -> None:
        digest = Digest("sha256", hashlib.sha256(packed).hexdigest())
        described = Descriptor(LISTING, digest, len(packed))
        made = CachedLayer(subject.shape.digest, key, *blob, described, subject.facts)
        failure = self._store.put(made, path, packed)
        if failure:
            # Who may only read a cache need not be told each time; of what is broken nobody else would tell.
            level = logging.INFO if self._failed or failure in _DENIED else logging.WARNING
            LOG.log(level, "layer %s: not kept for later builds in %s: %s", subject.name, self._store.folder, failure)
            self._failed = True
        else:
            self._store.note(self._config.names.base, subject.name, made)

    def _begin(self, subject: Subject) -> Callable[[], bytes]:
        """Have a layer's contents read where their digests are not known, which the result gives."""
        return self._digests.begin(subject.shape.contents, self._jobs)

    def _earlier(self, subject: Subject) -> list[CachedLayer]:
        """What the layer was before, the last one first."""
        return self._store.latest(self._config.names.base, subject.name)

    def _explained(
        self, subject: Subject, digests: Contents, verdict: Verdict, earlier: Sequence[CachedLayer]
    ) -> Verdict:
        """The verdict on a layer that has to be made, with the reason for that."""
        if verdict.reason:
            return verdict
        if not earlier:
            return verdict._replace(reason=_FIRST)
        changes = self._nearest(subject, digests, earlier)
        first = changes.first()
        # Without any the listing of what it was is lost.
        return verdict._replace(reason=str(first) if first else _LOST, changes=changes if first else None)

    def _nearest(self, subject: Subject, digests: Contents, earlier: Sequence[CachedLayer]) -> Changes:
        """The changes from that of the earlier layers which has the fewest; from one whose listing is there, if any."""

        def distance(found: tuple[CachedLayer, _Lines | None]) -> tuple[bool, int]:
            return found[1] is None, sum(map(len, found[1] or ()))

        nearest, lines = min(((layer, self._changed(layer, subject, digests)) for layer in earlier), key=distance)
        changed = (None, None) if lines is None else (lines_of(lines[0]), lines_of(lines[1]))
        return Changes(nearest.facts, subject.facts, *changed)

    def _changed(self, layer: CachedLayer, subject: Subject, digests: Contents) -> _Lines | None:
        """The lines of its listing that an earlier layer alone has, and those that it has not.

        None where its listing is not there, or of another format.
        """
        packed = self._store.listing(layer) if layer.facts.get("format") == FORMAT else None
        if packed is None:
            return None
        gone, come = set(unpack(packed)), set[bytes]()
        for chunk in listing_of(subject.shape, digests):
            for line in chunk.split(b"\n"):
                if line in gone:
                    gone.remove(line)
                else:
                    come.add(line)
        return gone, come


def _hit(found: CachedLayer) -> Fetched:
    return Fetched(found.key, lambda: (_blob(found), Verdict(found.key, "")), lambda: True)


def _blob(found: CachedLayer) -> LayerBlob:
    return LayerBlob(found.blob, found.diff_id, found.raw_size)


def open_cache(config: Config, compressor: dict[str, Any], digests: Digests, jobs: int = 1) -> LayerCache | None:
    """The cache of a configuration's layers, None where it asks for none."""
    return None if config.cache_dir is None else LayerCache(config.cache_dir, config, compressor, digests, jobs)
