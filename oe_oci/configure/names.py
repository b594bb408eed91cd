# SPDX-License-Identifier: MIT
"""What the image and its outputs are called.

The grammar of full names is that of the distribution specification and of Docker's references.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..config import ARCHIVES, Names
from .settings import quoted, wrong

if TYPE_CHECKING:
    from ..oci.spec import Platform
    from .settings import Settings

SLOCI = "sloci-image"

_PART = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_LENGTH = 255

_TAG_HINT = "a tag has at most 128 letters, digits, '_', '.' and '-', and starts with none of '.' and '-'"
_PART_HINT = "a part has lower-case letters and digits, and between them '.', '_', '__' or '-'"


def read_names(settings: Settings, platform: Platform) -> Names:
    """The names of the image and its outputs."""
    tag, full = _read_full_name(settings)
    basename = _file_name(settings, "IMAGE_BASENAME")
    stem = settings.parsed("IMAGE_NAME", _plain, basename) + settings.parsed("IMAGE_NAME_SUFFIX", _plain, "")
    archives = _sloci_archives(settings, tag, platform) if read_backend(settings) == SLOCI else ARCHIVES
    return Names(stem, f"{basename}-{in_file_name(tag)}", tag, full, archives)


def read_backend(settings: Settings) -> str:
    """The tool by whose names archives go."""
    return settings.choice("OCI_IMAGE_BACKEND", ("umoci", SLOCI))


def _sloci_archives(settings: Settings, tag: str, platform: Platform) -> tuple[str, str]:
    """How sloci-image ends the name of an archive: with the architecture in the word that it is given."""
    words = (in_file_name(tag), settings.text("OCI_IMAGE_ARCH") or platform.architecture, platform.variant, platform.os)
    name = "-".join(word for word in words if word)
    return f"-oci-{name}.oci-image.tar", f"-oci-{name}.oci-dir.tar"


def in_file_name(tag: str) -> str:
    return tag.replace("/", "_").replace(":", "_")


def check_full_name(name: str) -> str:
    """The full name, `:latest` added where it has no tag. Raises ConfigError."""
    repository, colon, tag = name, "", ""
    if ":" in name.rpartition("/")[2]:
        repository, colon, tag = name.rpartition(":")
    _check_repository(repository)
    return f"{repository}:{check_tag(tag) if colon else 'latest'}"


def check_tag(tag: str) -> str:
    if not _TAG.fullmatch(tag):
        raise wrong(f"{quoted(tag)} is not a tag", _TAG_HINT)
    return tag


def _read_full_name(settings: Settings) -> tuple[str, str]:
    tag = settings.unicode("OCI_IMAGE_TAG")
    repository = _read_repository(settings)
    if not tag:
        settings.fault("OCI_IMAGE_TAG", "is empty", "write a tag such as 'latest', or leave the variable out")
        return "", ""
    if "/" not in tag and ":" not in tag:
        return tag, f"{repository}:{settings.attempt('OCI_IMAGE_TAG', lambda: check_tag(tag), '')}"
    if settings.is_written("OCI_IMAGE_NAME"):
        settings.note("OCI_IMAGE_NAME", "has no effect, because OCI_IMAGE_TAG is a full name")
    full = tag if "/" in tag else f"localhost/{tag}"
    return tag, settings.attempt("OCI_IMAGE_TAG", lambda: check_full_name(full), "")


def _read_repository(settings: Settings) -> str:
    basename = settings.unicode("IMAGE_BASENAME")
    name = settings.unicode("OCI_IMAGE_NAME")
    if name and (settings.is_written("OCI_IMAGE_NAME") or name != f"localhost/{basename}"):
        return settings.parsed("OCI_IMAGE_NAME", _without_tag, "")
    return f"localhost/{_as_part(basename)}"


def _without_tag(name: str) -> str:
    _, colon, tag = name.rpartition("/")[2].partition(":")
    if colon:
        raise wrong(f"{quoted(name)} ends in a tag", f"write OCI_IMAGE_TAG = \"{tag}\", and the name without ':{tag}'")
    return _check_repository(name)


def _check_repository(name: str) -> str:
    host, slash, path = name.partition("/")
    if not (slash and (host == "localhost" or "." in host or ":" in host)):
        host, path = "", name
    if host and not _HOST.fullmatch(host):
        raise wrong(f"{quoted(host)} is not a registry's host", "write it in lower case, as host or host:port")
    for part in path.split("/"):
        if not _PART.fullmatch(part):
            hint = f"write {quoted(part.lower())}" if _PART.fullmatch(part.lower()) else _PART_HINT
            what = f"{quoted(part)} can not be part of a repository's name" if part else "the name has an empty part"
            raise wrong(f"{quoted(name)}: {what}", hint)
    if len(name) > _LENGTH:
        raise wrong(f"{quoted(name)} is longer than {_LENGTH} characters", "shorten the name")
    return name


def _as_part(basename: str) -> str:
    """The short name as part of a repository's name."""
    words = re.findall(r"[a-z0-9]+|[^a-z0-9]+", basename.lower())
    parts = [word if re.fullmatch(r"[a-z0-9]+|\.|_|__|-+", word) else "-" for word in words]
    return "".join(parts).strip("._-")[: _LENGTH // 2].rstrip("._-") or "image"


def _file_name(settings: Settings, name: str) -> str:
    if not settings.unicode(name):
        settings.fault(name, "is empty", "write the image's short name")
        return ""
    return settings.parsed(name, _plain, "")


def _plain(text: str) -> str:
    if "/" in text:
        raise wrong(f"{quoted(text)} has a '/' in it", "it is part of the names of files")
    return text
