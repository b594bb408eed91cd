# SPDX-License-Identifier: MIT
"""The command line: arguments in, exit status out. Holds no logic of its own; errors become text here.

Exit status: 0 done, 1 a bug, 2 configuration, arguments or an input's content, 3 a tool, the disk or a permission,
4 `verify`, `lint` or `diff` found something, 130 interrupted.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import sys
from typing import TYPE_CHECKING, Any

from . import __version__, cachecommands, commands
from .errors import OciError
from .tables import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .oci.spec import Platform

BUG, TOOL, INTERRUPTED = 1, 3, 130
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    for name in ("stdout", "stderr"):
        # Closed by the caller, as some daemons do.
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open as long as we run
    return _run(make_parser().parse_args(argv))


def _run(arguments: argparse.Namespace) -> int:
    # What --help and --version do without.
    import signal  # noqa: PLC0415

    from .progress import Progress  # noqa: PLC0415

    # What is made in great numbers, entries of trees, lives to the end; looking for cycles in it again and again is
    # a quarter of the time.
    gc.set_threshold(100_000, 50)
    _set_up_log(arguments.verbosity)
    try:
        with Progress(sys.stderr, show=arguments.verbosity >= 0 and sys.stderr.isatty()) as arguments.progress:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, arguments.progress.interrupt)
            status: int = arguments.run(arguments)
            sys.stdout.flush()
            gc.freeze()  # nor is there anything to be found when the process ends
            return status
    except OciError as error:
        return _failed(str(error), error.exit_code)
    except BrokenPipeError:
        # Who read our output has enough of it; nothing may be written to it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return TOOL
    except OSError as error:
        where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        return _failed(f"{where}{error.strerror or error}", TOOL)
    except KeyboardInterrupt:
        return _failed("interrupted", INTERRUPTED)
    except Exception:  # noqa: BLE001 - the last resort
        import traceback  # noqa: PLC0415

        traceback.print_exc()
        return _failed("this is a bug; please report it with the lines above", BUG)


def _failed(text: str, status: int) -> int:
    sys.stderr.write(f"oe-oci: {printable(text)}\n")
    return status


def _set_up_log(verbosity: int) -> None:
    import logging  # noqa: PLC0415 - not for --help

    levels = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("oe-oci: %(levelname)s: %(message)s"))
    logging.addLevelName(logging.WARNING, "warning")
    logging.addLevelName(logging.INFO, "note")
    logger = logging.getLogger("oe_oci")
    logger.handlers[:] = [handler]
    logger.setLevel(levels.get(verbosity, logging.DEBUG))


def make_parser() -> argparse.ArgumentParser:
    """The parser of every command; the man page and the shells' completions are made from it."""
    parser = argparse.ArgumentParser(
        prog="oe-oci",
        allow_abbrev=False,
        description="Builds multi-layer OCI container images from Yocto-style configuration.",
        epilog="Every command has --help with an example. Exit status: 0 done; 1 a bug; 2 the configuration, the "
        "arguments or the content of an input; 3 a tool, the disk or a permission; 4 verify, lint or diff found "
        "something; 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"oe-oci {__version__}")
    commands_ = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_build(commands_)
    _add_plan(commands_)
    _add_lint(commands_)
    _add_inspect(commands_)
    _add_verify(commands_)
    _add_diff(commands_)
    _add_unpack(commands_)
    _add_cache(commands_)
    _add_completion(commands_)
    return parser


def _command(subparsers: Any, name: str, run: Any, summary: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example: {example}",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print JSON on standard output")
    level = parser.add_mutually_exclusive_group()
    level.add_argument(
        "-q",
        "--quiet",
        dest="verbosity",
        action="store_const",
        const=-1,
        default=0,
        help="print errors only, and JSON where asked for",
    )
    level.add_argument("-v", "--verbose", dest="verbosity", action="count", help="print each step too")
    return parser


def _reader(subparsers: Any, name: str, run: Any, summary: str, example: str) -> argparse.ArgumentParser:
    """A command that reads what others compressed."""
    parser = _command(subparsers, name, run, summary, example)
    parser.add_argument(
        "--max-unpacked",
        metavar="SIZE",
        type=_size,
        dest="limit",
        help="bytes one compressed input may unpack to, as 500M or 20G (default: 4 GiB, or 200 times its size if more)",
    )
    return parser


def _add_configuration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rootfs", metavar="DIR|TAR", help="the root file system (IMAGE_ROOTFS)")
    parser.add_argument(
        "--feed",
        metavar="DIR",
        action="append",
        default=[],
        dest="feeds",
        help="a folder of packages, .deb, .ipk or .rpm; may be repeated, the first wins (DEPLOY_DIR_DEB, _IPK, _RPM)",
    )
    parser.add_argument("--deploy-dir", metavar="DIR", help="where outputs go (IMGDEPLOYDIR; default: ./deploy)")
    parser.add_argument(
        "--cache-dir", metavar="DIR", help="where layers are kept for later builds (OCI_LAYER_CACHE_DIR)"
    )
    parser.add_argument(
        "--paranoid",
        action="store_true",
        help="read every input again, unchanged files too, and trust no digest of an earlier build",
    )
    parser.add_argument(
        "--set",
        metavar="VAR=VALUE",
        action="append",
        default=[],
        dest="settings",
        help="set a variable, as a last line of the file would; may be repeated",
    )


def _add_build(subparsers: Any) -> None:
    parser = _reader(
        subparsers, "build", commands.build, "build an image", "oe-oci build image.conf --rootfs rootfs.tar"
    )
    parser.add_argument("conf", metavar="image.conf", help="the image's configuration, in BitBake's syntax")
    _add_configuration(parser)
    parser.add_argument("--jobs", metavar="N", type=_jobs, help="threads to use (default: one a processor)")


def _add_plan(subparsers: Any) -> None:
    parser = _reader(
        subparsers, "plan", commands.plan, "show what would be built, and build nothing", "oe-oci plan image.conf"
    )
    parser.add_argument("conf", metavar="image.conf", help="the image's configuration, in BitBake's syntax")
    _add_configuration(parser)


def _add_lint(subparsers: Any) -> None:
    parser = _reader(
        subparsers,
        "lint",
        commands.lint,
        "check a configuration, or an image against what runtimes reject",
        "oe-oci lint image.conf; oe-oci lint deploy/app-oci",
    )
    parser.add_argument("subject", metavar="image.conf|LAYOUT[:TAG]", help="a configuration, or a layout or archive")
    _add_configuration(parser)


def _add_platform(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--platform",
        metavar="OS/ARCH[/VARIANT]",
        type=_platform,
        help="the image to take where there is one for each of several platforms",
    )


def _add_image(parser: argparse.ArgumentParser, name: str = "image") -> None:
    parser.add_argument(name, metavar="LAYOUT[:TAG]", help="a layout folder or an archive of one, and the tag to take")


def _add_inspect(subparsers: Any) -> None:
    parser = _reader(
        subparsers, "inspect", commands.inspect, "show an image's layers and config", "oe-oci inspect deploy/app-oci"
    )
    _add_image(parser)
    _add_platform(parser)


def _add_verify(subparsers: Any) -> None:
    parser = _reader(
        subparsers,
        "verify",
        commands.verify,
        "derive every digest, size and count of an image again and list what is wrong",
        "oe-oci verify deploy/app-oci.tar",
    )
    _add_image(parser)


def _add_diff(subparsers: Any) -> None:
    parser = _reader(
        subparsers,
        "diff",
        commands.diff,
        "compare two images: layers, files, config",
        "oe-oci diff old/app-oci new/app-oci",
    )
    _add_image(parser, "old")
    _add_image(parser, "new")
    _add_platform(parser)
    parser.add_argument("--times", action="store_true", help="compare modification times too")


def _add_unpack(subparsers: Any) -> None:
    parser = _reader(
        subparsers,
        "unpack",
        commands.unpack,
        "write an image's final file system into a new folder",
        "oe-oci unpack deploy/app-oci rootfs",
    )
    _add_image(parser)
    parser.add_argument("destination", metavar="DIR", help="the folder to make")
    _add_platform(parser)
    parser.add_argument(
        "--rootless", action="store_true", help="keep owners and devices in a file beside DIR; needs no root"
    )


def _add_cache(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "cache",
        help="look after the layer cache",
        description="Look after the layer cache: each command has --help with an example.",
        epilog="example: oe-oci cache ls",
        allow_abbrev=False,
    )
    nested = parser.add_subparsers(metavar="COMMAND", required=True)
    listed = _command(
        nested, "ls", cachecommands.ls, "list the cached layers, the one used last first", "oe-oci cache ls"
    )
    shown = _command(nested, "show", cachecommands.show, "show a cached layer", "oe-oci cache show 3f9c2a")
    shown.add_argument("key", metavar="KEY", help="the first 6 or more digits of its key, as ls has it")
    verified = _command(
        nested,
        "verify",
        cachecommands.verify,
        "derive every digest of the cache again and list what is wrong",
        "oe-oci cache verify",
    )
    cleaned = _command(
        nested,
        "gc",
        cachecommands.gc,
        "remove what nothing leads to, and what the limits given do not leave room for",
        "oe-oci cache gc --max-size 10G --unused 30d",
    )
    cleaned.add_argument("--max-size", metavar="SIZE", type=_size, help="bytes that may stay, as 500M or 20G")
    cleaned.add_argument(
        "--max-age", metavar="AGE", type=_age, help="remove layers made longer ago, as 90m, 12h or 30d"
    )
    cleaned.add_argument("--unused", metavar="AGE", type=_age, help="remove what was not used for so long")
    cleaned.add_argument("--dry-run", action="store_true", help="tell what would be removed, and remove nothing")
    measured = _command(nested, "du", cachecommands.du, "show what the cache's bytes are spent on", "oe-oci cache du")
    for each in (listed, shown, verified, cleaned, measured):
        each.add_argument(
            "--cache-dir", metavar="DIR", help="the cache (default: $XDG_CACHE_HOME/oe-oci, or ~/.cache/oe-oci)"
        )


def _add_completion(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "completion",
        help="print a shell's completion",
        description="Print the completion of a shell.",
        epilog='example: eval "$(oe-oci completion bash)"',
    )
    parser.add_argument("shell", choices=["bash", "zsh"])
    parser.set_defaults(run=commands.completion, verbosity=0, make_parser=make_parser)


def _size(text: str) -> int:
    match = re.fullmatch(r"(\d+)([KMGT]?)(i?)B?", text, re.IGNORECASE)
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is no size; write a number and K, M, G or T")
    unit = match[2].upper()
    return int(match[1]) * (1024 ** " KMGT".index(unit) if match[3] and unit else _UNITS[unit])


def _age(text: str) -> int:
    """Seconds."""
    match = re.fullmatch(r"(\d+)([mhd])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is no age; write a number and m, h or d: minutes, hours or days")
    return int(match[1]) * {"m": 60, "h": 3600, "d": 86400}[match[2]]


def _platform(text: str) -> Platform:
    parts = text.split("/")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise argparse.ArgumentTypeError(f"'{text}' is no platform; write it as linux/amd64 or linux/arm/v7")
    from .oci.spec import Platform  # noqa: PLC0415 - seldom asked for

    return Platform(*parts)


def _jobs(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of threads from 1 to 1024")
    return int(text)
