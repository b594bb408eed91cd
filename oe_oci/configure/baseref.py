# SPDX-License-Identifier: MIT
"""Which base image a configuration names. Must not know whether it exists."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from ..config import BaseRef
from ..errors import ConfigError
from .names import check_full_name, in_file_name
from .settings import absolute, quoted, wrong

if TYPE_CHECKING:
    from ..oci.spec import Platform
    from .settings import Settings

_RECIPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9+_-]*")
_REFERENCE_NAME = re.compile(r"[A-Za-z0-9._:@/+-]+")
_PATH = "a path on disk starts with '/', './' or '../'"
_TRANSPORTS = ("oci", "oci-archive", "docker-archive", "dir", "file")
_TRANSPORT = re.compile(rf"({'|'.join(_TRANSPORTS)}):(.*)", re.DOTALL)


def read_base(settings: Settings, platform: Platform, deploy_dir: str) -> BaseRef | None:
    """The base image, None where there is none; a recipe's image lies in `deploy_dir`."""
    name = "OCI_BASE_IMAGE"
    tag = settings.parsed("OCI_BASE_IMAGE_TAG", _tag, "latest")
    written = settings.text(name)
    if not written:
        return None
    if is_path(written):
        return BaseRef(absolute(settings.folder_of(name), written), tag, written)
    return settings.attempt(name, lambda: _of_recipe(written, tag, platform, deploy_dir), None)


def is_path(written: str) -> bool:
    """Whether a base image is named by its path, and not by the recipe that makes it."""
    return written.startswith(("/", "./", "../"))


def _of_recipe(text: str, tag: str, platform: Platform, deploy_dir: str) -> BaseRef:
    transport = _TRANSPORT.fullmatch(text)
    if transport:
        hint = f"write the path alone, {quoted(transport[2].partition(':')[0])}, and the tag as OCI_BASE_IMAGE_TAG"
        raise wrong(f"{quoted(text)} begins with a transport", hint)
    if "/" in text or "." in text.partition(":")[0]:
        raise _remote(text, platform)
    if ":" in text:
        recipe, _, wanted = text.partition(":")
        hint = f"for a recipe's image write '{recipe}' and OCI_BASE_IMAGE_TAG = \"{wanted}\"; for one of a registry"
        raise wrong(f"{quoted(text)} is no recipe's name", f"{hint} its full name")
    if not _RECIPE.fullmatch(text):
        raise wrong(f"{quoted(text)} is no recipe's name", _PATH)
    return BaseRef(os.path.join(deploy_dir, f"{text}-{in_file_name(tag)}-oci"), tag, text)


def _remote(text: str, platform: Platform) -> ConfigError:
    try:
        hint = _how_to_fetch(text.removeprefix("docker://"), platform)
    except ConfigError:
        return wrong(f"{quoted(text)} is neither a path nor the name of an image", _PATH)
    return wrong(f"{quoted(text)} is a remote image; a base is taken from disk only", hint)


def _how_to_fetch(reference: str, platform: Platform) -> str:
    """What to do where the base is an image of a registry: a recipe, or a copy. Raises ConfigError for no name."""
    bare, _, digest = reference.partition("@")
    repository, _, tag = check_full_name(bare).rpartition(":")
    folder = repository.rpartition("/")[2]
    key = bare.replace("/", "_").replace(":", "_")
    source = f"docker://{repository}@{digest}" if digest else f"docker://{bare}"
    choose = f"--override-arch {platform.architecture} " if platform.architecture else ""
    inspect = f"""
  where the digest is what this prints:
      skopeo inspect --format '{{{{.Digest}}}}' {source}"""
    return f"""\
with BitBake, fetch it with a recipe, for example {folder}-base.bb:
      LICENSE = "CLOSED"
      inherit container-bundle
      CONTAINER_BUNDLES = "{bare}"
      CONTAINER_DIGESTS[{key}] = "{digest or "sha256:…"}"
      CONTAINER_BUNDLE_DEPLOY = "1"{"" if digest else inspect}
  and build on it:
      OCI_BASE_IMAGE = "{folder}-base"
  without BitBake, copy it to the folder of this file, and build on the copy:
      skopeo {choose}copy {source} oci:{folder}:{tag}
      OCI_BASE_IMAGE = "./{folder}"
      OCI_BASE_IMAGE_TAG = "{tag}"
  {_PATH}"""


def _tag(text: str) -> str:
    if not _REFERENCE_NAME.fullmatch(text):
        raise wrong(f"{quoted(text)} is not a tag", "a tag has letters, digits, '.', '_', '-', ':', '/', '@' and '+'")
    return text
