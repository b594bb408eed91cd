# SPDX-License-Identifier: MIT
"""The automatic labels, and the one time an image carries. Pure.

Follows annotations.md of the OCI image specification for the keys it defines.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .config import AutoLabels
    from .revision import Revision

REVISION = "org.opencontainers.image.revision"
CREATED = "org.opencontainers.image.created"
VERSION = "org.opencontainers.image.version"
BASE_DIGEST = "org.opencontainers.image.base.digest"
BRANCH = "org.openembedded.image.branch"
# A reserved key, and never right as a label; kept under its old name because scripts read it.
OLD_BRANCH = "org.opencontainers.image.ref.name"

# What a base says of itself in these is not true of an image built on it.
NOT_INHERITED = frozenset({REVISION, CREATED, VERSION, BASE_DIGEST, BRANCH, OLD_BRANCH})


class Automatic(NamedTuple):
    """`created` as the image's config has it; labels; the annotations that say the same."""

    created: str
    labels: dict[str, str]
    annotations: dict[str, str]


def automatic(
    wanted: AutoLabels, revision: Revision | None, epoch: int | None, now: int, base_digest: str
) -> Automatic:
    """The labels a configuration asks for, from what is known.

    `now` is the time in seconds, used for `OCI_IMAGE_BUILD_DATE = "now"` alone.
    """
    created = _created(wanted.date, revision, epoch, now)
    labels = {BASE_DIGEST: base_digest} if base_digest and any(value is not None for value in wanted) else {}
    if wanted.revision is not None:
        commit = f"{revision.commit}{'-dirty' if revision.dirty else ''}" if revision else ""
        _set(labels, REVISION, wanted.revision or commit)
    if wanted.branch is not None:
        _set(labels, BRANCH, wanted.branch or (revision.branch if revision else ""))
    if wanted.date is not None:
        labels[CREATED] = created
    if wanted.version is not None:
        _set(labels, VERSION, wanted.version)
    annotations = dict(labels)
    _set(labels, OLD_BRANCH, labels.get(BRANCH, ""))
    return Automatic(created, labels, annotations)


def _created(date: str | None, revision: Revision | None, epoch: int | None, now: int) -> str:
    if date == "now":
        return rfc3339(now)
    if date:
        return date
    if epoch is not None:
        return rfc3339(epoch)
    return rfc3339(revision.time if revision else 0)


def _set(labels: dict[str, str], key: str, value: str) -> None:
    if value:
        labels[key] = value


def rfc3339(seconds: int) -> str:
    """A time as the image's documents write it."""
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def inherited(labels: Mapping[str, str]) -> dict[str, str]:
    """A base's labels that are still true."""
    return {key: value for key, value in labels.items() if key not in NOT_INHERITED}
