# SPDX-License-Identifier: MIT
"""What each command does with its arguments: calls the library, prints the result, gives the exit status.

What a command needs is imported when it runs, so that each starts fast.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

from .errors import ConfigError, InputError
from .tables import printable

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from .bbconf import Variables
    from .config import Config
    from .inputs import Options

FOUND = 4

# What a shell offers for an argument, by the name the argument has in the help.
_COMPLETED = {
    "image.conf": "FILE",
    "image.conf|LAYOUT[:TAG]": "FILE",
    "LAYOUT[:TAG]": "FILE",
    "DIR|TAR": "FILE",
    "DIR": "DIRECTORY",
}


def build(arguments: Namespace) -> int:
    import logging

    from .build import build as run_build
    from .build import host_paths
    from .render import build_text

    config, variables = _read_config(arguments.conf, arguments)
    sources = host_paths(config)
    if sources:
        told = "files of this host go into the image, which is then not the build's alone: %s"
        logging.getLogger("oe_oci").warning(told, ", ".join(sources))
    with _places(variables):
        report = run_build(config, _options(arguments))
    print_result(arguments, report.to_json(cache=True), build_text(report, config.deploy_dir))
    return 0


def plan(arguments: Namespace) -> int:
    from .preview import preview
    from .render import plan_text

    config, variables = _read_config(arguments.conf, arguments)
    with _places(variables):
        shown = preview(config, _options(arguments))
    print_result(arguments, shown.to_json(), plan_text(shown))
    return 0


def lint(arguments: Namespace) -> int:
    if _is_configuration(arguments.subject):
        findings = _lint_configuration(arguments)
    else:
        from .lint import lint_layout

        arguments.progress(f"reading {arguments.subject}")
        path, tag = _image(arguments.subject)
        findings = [violation._asdict() for violation in lint_layout(path, tag, limit=arguments.limit)]
    return print_findings(arguments, findings)


def _lint_configuration(arguments: Namespace) -> list[dict[str, str]]:
    from .preview import preview

    try:
        config, variables = _read_config(arguments.subject, arguments)
        with _places(variables):
            notes = preview(config, _options(arguments)).notes
    except ConfigError as error:
        return [{"rule": "configuration", **fault._asdict()} for fault in error.faults]
    except InputError as error:
        return [{"rule": "input", "where": "", "message": error.message, "hint": error.hint}]
    return [{"rule": "note", "where": "", "message": note} for note in notes]


def verify(arguments: Namespace) -> int:
    from .oci.verify import verify as run_verify

    arguments.progress(f"reading {arguments.image}")
    path, tag = _image(arguments.image)
    findings = [violation._asdict() for violation in run_verify(path, tag, limit=arguments.limit)]
    return print_findings(arguments, findings)


def inspect(arguments: Namespace) -> int:
    from .inspection import inspect as run_inspect
    from .inspection import render

    arguments.progress(f"reading {arguments.image}")
    path, tag = _image(arguments.image)
    found = run_inspect(path, tag, platform=arguments.platform, limit=arguments.limit)
    print_result(arguments, found.to_json(), render(found))
    return 0


def diff(arguments: Namespace) -> int:
    from .imagediff import diff_images, render

    arguments.progress(f"comparing {arguments.old} and {arguments.new}")
    old, new = _image(arguments.old), _image(arguments.new)
    found = diff_images(old, new, platform=arguments.platform, limit=arguments.limit, times=arguments.times)
    print_result(arguments, found.to_json(), render(found))
    return 0 if found.empty else FOUND


def unpack(arguments: Namespace) -> int:
    from .unpack import unpack as run_unpack

    arguments.progress(f"reading {arguments.image}")
    path, tag = _image(arguments.image)
    report = run_unpack(
        path, tag, arguments.platform, arguments.destination, rootless=arguments.rootless, limit=arguments.limit
    )
    print_result(arguments, report.to_json(), report.text())
    return 0


def completion(arguments: Namespace) -> int:
    import shtab

    parser = arguments.make_parser()
    parsers = [parser]
    for each in parsers:
        for action in each._actions:  # noqa: SLF001 - argparse has no other way
            if action.metavar in _COMPLETED:
                action.complete = getattr(shtab, _COMPLETED[action.metavar])
            elif action.metavar == "COMMAND":
                parsers += action.choices.values()
    sys.stdout.write(shtab.complete(parser, arguments.shell) + "\n")
    return 0


def _options(arguments: Namespace) -> Options:
    from .compress import default_jobs
    from .inputs import Options

    jobs = getattr(arguments, "jobs", None) or default_jobs()
    return Options(jobs, arguments.limit, arguments.progress, arguments.paranoid)


def default_cache() -> str:
    """The user's own folder of caches for this program (XDG Base Directory Specification)."""
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(os.path.abspath(caches), "oe-oci")


def _read_config(path: str, arguments: Namespace) -> tuple[Config, Variables]:
    from .bbconf import read_conf
    from .configure import command_line_defaults, configure
    from .tree import decode

    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    defaults = command_line_defaults(path, os.uname().machine, epoch, default_cache())
    # As text in UTF-8, like the file's, whatever the locale took it for.
    settings = [decode(os.fsencode(setting)) for setting in arguments.settings]
    variables = read_conf(path, defaults=defaults, settings=settings)
    config = configure(
        variables,
        folder=os.path.dirname(os.path.abspath(path)),
        rootfs=os.path.abspath(arguments.rootfs) if arguments.rootfs else None,
        deploy_dir=os.path.abspath(arguments.deploy_dir) if arguments.deploy_dir else None,
        feeds=[os.path.abspath(feed) for feed in arguments.feeds],
        cache_dir=os.path.abspath(arguments.cache_dir) if arguments.cache_dir else None,
    )
    return config, variables


@contextlib.contextmanager
def _places(variables: Variables) -> Iterator[None]:
    """Tells faults found while building where their variable was set, which only the front end knows."""
    try:
        yield
    except ConfigError as error:
        places = {fault.where: variables.location(fault.where) for fault in error.faults}
        faults = [f._replace(where=f"{places[f.where]}: {f.where}") if places[f.where] else f for f in error.faults]
        raise ConfigError(faults) from error


def _image(text: str) -> tuple[str, str | None]:
    """A layout's path and the tag after it, if any. Both may hold a colon: the longest path that exists is meant."""
    path, tag = text, None
    while not os.path.lexists(path):
        path, colon, more = path.rpartition(":")
        if not colon:
            return text, None
        tag = more if tag is None else f"{more}:{tag}"
    return path, tag


def _is_configuration(path: str) -> bool:
    """Whether a path is to be read as image.conf and not as a layout or archive."""
    from .decompress import NONE, detect

    if path.endswith(".conf") or not os.path.isfile(path):
        return path.endswith(".conf")
    with open(path, "rb") as file:
        head = file.read(512)
    return detect(head) == NONE and head[257:262] != b"ustar"


def print_result(arguments: Namespace, value: Any, text: str) -> None:
    if arguments.json:
        import json

        text = json.dumps(value, indent=2, ensure_ascii=False)
    elif arguments.verbosity < 0:
        return
    sys.stdout.write(printable(text) + "\n")


def print_findings(arguments: Namespace, findings: list[dict[str, str]]) -> int:
    lines = [": ".join(f[key] for key in ("rule", "where", "message") if f.get(key)) for f in findings]
    lines = [line + (f"\n  {finding['hint']}" if finding.get("hint") else "") for line, finding in zip(lines, findings)]
    print_result(arguments, findings, "\n".join(lines) if lines else "nothing found")
    return FOUND if findings else 0
