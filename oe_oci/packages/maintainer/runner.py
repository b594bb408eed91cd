# SPDX-License-Identifier: MIT
"""The scripts of a layer's packages, run in a directory that holds the image, and what they made of it.

Those that run before the files are placed see what lies below; so accounts that they add are known when owners are
looked up by their names. Must not know formats of packages, nor how a script is kept apart from this machine.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Callable, NamedTuple, Protocol

from ...delta import Delta, apply
from ...errors import ToolError
from ...populate import Wanted
from ...tree import DIRECTORY, Tree, ancestors
from ..installation import with_database
from ..native.manager import last_lines
from ..native.readback import read_back
from .recall import Done
from .scripts import environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ...tree import Entry
    from ..native.scripts import Left
    from ..native.volatile import Volatile
    from .job import Job
    from .phases import Phases
    from .ran import Ran
    from .recall import Recall
    from .scripts import Script
    from .work import Work

LOG = logging.getLogger("oe_oci")

_ROUNDS = 20  # of scripts that others set off
_NOT_FOUND = 127  # a shell's status where it knows no such program


class Found(Protocol):
    """What scripts find."""

    def disguised(self, tree: Tree) -> Mapping[str, Entry]:
        """What a tree has otherwise, or besides, as long as scripts run in it."""

    def place(self, script: Script, tree: Tree) -> str:
        """Where a script is in a tree itself, which is run then; empty where it is nowhere."""

    def beside(self, script: Script, job: Job) -> Mapping[str, bytes]:
        """The files that a script finds in its own folder, where it is not run in the tree, by their names."""

    def prepare(self) -> None:
        """Make ready what is no part of the image.

        Raises:
            ToolError: it can not be made.
        """

    def environment(self, epoch: int) -> Mapping[str, str]:
        """The variables of scripts."""

    def own(self, script: Script) -> Mapping[str, str]:
        """The variables of a script alone, besides those of its format."""

    def intercept(self, epoch: int) -> Iterable[Left]:
        """Run the intercepts that scripts asked for; those that were not done.

        Raises:
            ToolError: one can not be started.
        """


class Surroundings(NamedTuple):
    """Where scripts of a format run: the work, and what they find there.

    `root` is what they call the image's directory, empty where it is their own root. `volatile` is what they leave that
    is not the same in each build. `check` sees that a tree can run a script, where it is the tree that does.
    """

    work: Work
    found: Found
    root: str
    volatile: Sequence[Volatile]
    check: Callable[[Job, Tree, Script], None] | None = None


class Followers(NamedTuple):
    """Scripts that others set off, with the tree as they are to find it."""

    scripts: Sequence[Script]
    tree: Tree


class Way(NamedTuple):
    """How scripts of a format are run.

    `phases` are a layer's scripts on top of a tree. `follow` finds, where there is such a thing, those that others set
    off: by what a layer's packages hold, or where the last word is False by what scripts did alone. `never` are the
    names of scripts that do not run.
    """

    phases: Callable[[Job, Tree], Phases]
    follow: Callable[[Job, Tree, bool], Followers] | None = None
    never: tuple[str, ...] = ("config",)


class Runner:
    """Runs the scripts of layer after layer; a context manager. `start` is called for the first that is to run.

    `apart` are where the packages' database lies, each with a `/` at its end, where it does not belong into the layers;
    `epoch` is the time of the build. `recall` knows what scripts did in earlier builds, None where nothing is kept.
    """

    def __init__(
        self,
        start: Callable[[], contextlib.AbstractContextManager[Surroundings]],
        way: Way,
        *,
        apart: tuple[str, ...],
        epoch: int,
        recall: Recall | None = None,
    ) -> None:
        self._start = start
        self._way = way
        self._apart = apart
        self._epoch = epoch
        self._recall = recall
        self._stack = contextlib.ExitStack()
        self._started: Surroundings | None = None
        self._coming: tuple[Job, Phases] | None = None
        # The database as scripts know it, where the image does not have it, or not yet; and what it lacks of a tree's.
        self._withheld: dict[str, Entry] = {}
        self._lost: set[str] = set()
        # What a tree had there when that was noted.
        self._under: dict[str, Entry | None] = {}

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # ---- for installers

    def before(self, job: Job, tree: Tree) -> Tree:
        if self._recall is not None:
            self._recall.begin()
        phases = self._way.phases(job, tree)
        self._coming = job, phases
        if not phases.before:
            return tree
        return Tree(self._without_database(tree, self._run(job, self._whole(tree), phases.before)))

    def after(self, job: Job, tree: Tree, below: Tree, wanted: Wanted) -> Wanted:
        assert self._coming is not None
        assert self._coming[0].selected is job.selected
        (_, scripts, waiting), self._coming = self._coming[1], None
        if below is tree and not (waiting or scripts) and self._way.follow is None and job.written is None:
            return wanted
        if job.owned is None:
            scripts, waiting = [*waiting, *scripts], ()
        placed = Tree(below.entries)
        apply(placed, Delta(wanted.entries, wanted.removed, 0))
        whole = self._with_database(job, self._whole(placed))
        after = self._run_all(job, self._waited(job, whole, waiting), scripts)
        entries = self._without_database(placed, after.entries)
        if below is tree and after is whole:
            return wanted
        changed = {path: entry for path, entry in entries.items() if entry is not tree.entries.get(path)}
        return Wanted(changed, tuple(sorted(path for path in tree.entries if path not in entries)))

    def waits(self) -> bool:
        return self._coming is not None and bool(self._coming[1].waiting)

    def left(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in names if name in self._way.never)

    def keep(self, delta: Delta, shape: str, key: str) -> None:
        if self._recall is not None:
            self._recall.keep(delta, shape, key)

    def withheld(self, tree: Tree) -> Mapping[str, Entry]:
        stale = self._stale(tree)
        return {
            path: entry
            for path, entry in self._withheld.items()
            if path not in stale and all(up not in tree or tree.entries[up].kind == DIRECTORY for up in ancestors(path))
        }

    # ---- running

    def _waited(self, job: Job, tree: Tree, scripts: Sequence[Script]) -> Tree:
        """What is there after the scripts that waited for the files; the same tree where there is none."""
        if not scripts:
            return tree
        after = Tree(self._run(job, tree, scripts))
        return Tree({**after.entries, **job.owned(after)}) if job.owned is not None else after

    def _run_all(self, job: Job, tree: Tree, scripts: Sequence[Script]) -> Tree:
        """What is there after scripts and all that they set off; the same tree where there is none."""
        after = Tree(self._run(job, tree, scripts)) if scripts else tree
        if self._way.follow is None:
            return after
        for number in range(_ROUNDS):
            scripts, after = self._way.follow(job, after, not number)
            if not scripts:
                return after
            after = Tree(self._run(job, after, scripts))
        names = ", ".join(dict.fromkeys(script.package for script in scripts))
        message = f"layer '{job.layer}': triggers of packages set off one another without end: those of {names}"
        hint = 'leave one of them out of OCI_LAYERS, or set OCI_PACKAGE_SCRIPTS = "run:offline", which sets off none'
        raise ToolError(message, hint=hint)

    def _run(self, job: Job, whole: Tree, scripts: Sequence[Script]) -> dict[str, Entry]:
        """What is there after scripts where `whole` was before, by an earlier build or by running them."""
        done, key = None, ""
        if self._recall is not None:
            key = self._recall.key(scripts, job.held, whole, {*self._withheld, *self._lost})
            done = self._recall.find(key, whole)
        if done is None:
            done = self._done(job, whole, scripts)
            if self._recall is not None:
                self._recall.note(key, whole, done)
        for message in done.left:
            LOG.warning("layer '%s': %s", job.layer, message)
        return dict(done.entries)

    def _done(self, job: Job, whole: Tree, scripts: Sequence[Script]) -> Done:
        """What a directory holds after scripts that held `whole` before."""
        work, found, _, volatile, check = self._surroundings()
        if check is not None:
            for script in scripts:
                check(job, whole, script)
        disguised = found.disguised(whole)
        work.sync({**whole.entries, **disguised})
        found.prepare()
        work.begin()
        for script in scripts:
            self._run_one(job, script, whole)
        left = tuple(self._intercept(job))
        entries = read_back(work, whole, job.held, volatile)
        for path, entry in disguised.items():
            if entries.get(path) == entry:
                del entries[path]
                if path in whole.entries:
                    entries[path] = whole.entries[path]
        return Done(entries, left)

    def _surroundings(self) -> Surroundings:
        if self._started is None:
            self._started = self._stack.enter_context(self._start())
        return self._started

    def _run_one(self, job: Job, script: Script, tree: Tree) -> None:
        work, found, root, *_ = self._surroundings()
        file = []
        if script.data:
            file = [found.place(script, tree) or self._place(job, script)]
        variables = {**found.environment(self._epoch), **environment(script, root), **found.own(script)}
        ran = work.run([*script.interpreter, *file, *script.words], variables, script.input)
        LOG.debug("%s: %s says:\n%s", script.package, script.name, ran.said)
        if ran.status or ran.ended:
            reason = ran.ended or f"ended with status {ran.status}"
            message = f"layer '{job.layer}': {script.package}: its {script.name} {reason}"
            # Before the files are placed there are those of layers below alone.
            lower = self._coming is not None
            raise ToolError(message, hint=_said(ran, inside=not root, lower=lower))

    def _place(self, job: Job, script: Script) -> str:
        work, found, *_ = self._surroundings()
        for name, data in found.beside(script, job).items():
            work.place(name, data)
        return work.place(f"{script.package}.{script.name}", script.data)

    def _intercept(self, job: Job) -> Iterator[str]:
        """Run the intercepts that scripts asked for; what there is to say of those left to the first boot."""
        for left in self._surroundings().found.intercept(self._epoch):
            asked = f"the intercept {left.name}, for which {left.packages or 'a package'} asked"
            if not left.delayed:
                hint = "\n  ".join(["it says:", *(f"  {line}" for line in left.said)]) if left.said else ""
                raise ToolError(f"layer '{job.layer}': {asked}, ended with status {left.status}", hint=hint)
            yield f"{asked}, is left to the first boot, which a container has not"

    # ---- the database

    def _whole(self, tree: Tree) -> Tree:
        """A tree with the database as scripts know it."""
        if not self._under:
            return tree
        lost = self._lost - self._stale(tree)
        kept = {path: entry for path, entry in tree.entries.items() if path not in lost}
        return Tree({**kept, **self.withheld(tree)})

    def _stale(self, tree: Tree) -> set[str]:
        """What a layer of another kind has brought since: that counts more."""
        return {path for path, entry in self._under.items() if tree.entries.get(path) is not entry}

    def _with_database(self, job: Job, tree: Tree) -> Tree:
        """A tree with the database as it is to be after a layer."""
        if job.written is None:
            return tree
        wanted = with_database(tree, Wanted({}), job.written(tree), self._epoch)
        whole = Tree(tree.entries)
        apply(whole, Delta(wanted.entries, wanted.removed, 0))
        return whole

    def _without_database(self, tree: Tree, entries: dict[str, Entry]) -> dict[str, Entry]:
        """What the image is to have of what scripts left: in the place of the database what it had there before."""
        if not self._apart:
            return entries
        mine = {path for path in entries if self._is_apart(path) and entries[path] is not tree.entries.get(path)}
        self._lost = {path for path in tree.entries if path not in entries and self._is_apart(path)}
        lonely = {up for path in mine for up in ancestors(path) if up in entries and up not in tree}
        if lonely:
            others = (path for path in entries if path not in lonely and path not in mine)
            lonely.difference_update([up for path in others for up in ancestors(path)])
        self._withheld = {path: entry for path, entry in entries.items() if path in mine or path in lonely}
        self._under = {path: tree.entries.get(path) for path in (*self._withheld, *self._lost)}
        kept = {path: entry for path, entry in entries.items() if path not in self._withheld}
        return {**kept, **{path: entry for path, entry in self._under.items() if entry is not None}}

    def _is_apart(self, path: str) -> bool:
        return f"{path}/".startswith(self._apart)


def _said(ran: Ran, *, inside: bool, lower: bool) -> str:
    """What a script said last, as a hint; and what may help."""
    lines = last_lines(ran.said)
    told = ["it says:", *(f"  {line}" for line in lines)] if lines else ["it says nothing"]
    if inside and ran.status == _NOT_FOUND:
        told.append("the image must have the programs that it calls: name packages with them, such as sed, grep and")
        where = "in a layer below" if lower else "in this layer or in one below"
        told.append(f"coreutils, which packages rely on without saying so, {where}")
    return "\n  ".join(told)
