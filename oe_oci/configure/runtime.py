# SPDX-License-Identifier: MIT
"""How the image runs, labels and annotations: shell words to the values of an image's config."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Callable

from ..config import RunConfig
from ..errors import nearest
from .settings import NONE, quoted, wrong

if TYPE_CHECKING:
    from .settings import Settings

Pairs = tuple[tuple[str, str], ...]

_QUOTED = "'a b'"
_LAST_PORT = 65535
_PROTOCOLS = ("tcp", "udp", "sctp")
_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/([A-Za-z]*))?")

# As signal(7) has them for Linux, whatever this host calls its own.
_SIGNALS = (
    *(
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGIOT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
    ),
    *("SIGSEGV", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGTERM", "SIGSTKFLT", "SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP"),
    *("SIGTTIN", "SIGTTOU", "SIGURG", "SIGXCPU", "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO", "SIGPOLL"),
    *("SIGPWR", "SIGSYS", "SIGRTMIN", "SIGRTMAX"),
)


def read_run_config(settings: Settings) -> RunConfig:
    """Everything the image's config says of running it."""
    cmd, default_cmd = _read_cmd(settings)
    return RunConfig(
        entrypoint=_command(settings, "OCI_IMAGE_ENTRYPOINT"),
        cmd=cmd,
        env=_pairs(settings, "OCI_IMAGE_ENV_VARS", "NAME=value"),
        user=_single(settings, "OCI_IMAGE_RUNTIME_UID", _user),
        workdir=_single(settings, "OCI_IMAGE_WORKINGDIR", _absolute),
        stop_signal=_single(settings, "OCI_IMAGE_STOPSIGNAL", _signal),
        ports=_read_ports(settings),
        volumes=_several(settings, "OCI_IMAGE_VOLUMES", _absolute),
        labels=_pairs(settings, "OCI_IMAGE_LABELS", "key=value"),
        default_cmd=default_cmd,
    )


def read_annotations(settings: Settings) -> Pairs:
    return _pairs(settings, "OCI_IMAGE_ANNOTATIONS", "key=value") or ()


def _read_cmd(settings: Settings) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """What is written for Cmd, and what stands in where neither that nor the base says anything."""
    arguments = _command(settings, "OCI_IMAGE_ENTRYPOINT_ARGS")
    if not settings.is_written("OCI_IMAGE_CMD"):
        return arguments, settings.words("OCI_IMAGE_CMD")
    cmd = _command(settings, "OCI_IMAGE_CMD")
    if arguments is not None and cmd is not None:
        settings.note("OCI_IMAGE_CMD", "has no effect, because OCI_IMAGE_ENTRYPOINT_ARGS is set")
    return (cmd if arguments is None else arguments), ()


def _command(settings: Settings, name: str) -> tuple[str, ...] | None:
    text = settings.literal(name)
    if text in ("", NONE):
        return () if text else None
    words = settings.words(name)
    if words and not words[0] and name != "OCI_IMAGE_ENTRYPOINT_ARGS":
        settings.fault(name, "the command is an empty word", "write the program first")
    return words


def _single(settings: Settings, name: str, parse: Callable[[str], str]) -> str | None:
    text = settings.unicode(name)
    if text in ("", NONE):
        return "" if text else None
    return settings.parsed(name, parse, "")


def _several(settings: Settings, name: str, parse: Callable[[str], str]) -> tuple[str, ...] | None:
    text = settings.literal(name)
    if text in ("", NONE):
        return () if text else None
    return tuple(dict.fromkeys(settings.each(name, parse)))


def _pairs(settings: Settings, name: str, form: str) -> Pairs | None:
    """Words `key=value`; of two with one key the last holds."""
    text = settings.literal(name)
    if text in ("", NONE):
        return () if text else None
    found: dict[str, str] = {}
    for key, value in settings.each(name, lambda word: _pair(word, form)):
        if key in found:
            settings.note(name, f"{quoted(key)} is there twice; the last one holds")
        found[key] = value
    return tuple(found.items())


def _pair(word: str, form: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not (key and equals):
        hint = f"write {form}, and quote a value that holds a space: {form.replace('value', _QUOTED)}"
        raise wrong(f"{quoted(word)} is not {form}", hint)
    return key, value


def _read_ports(settings: Settings) -> tuple[str, ...] | None:
    text = settings.literal("OCI_IMAGE_PORTS")
    if text in ("", NONE):
        return () if text else None
    ports = {port for some in settings.each("OCI_IMAGE_PORTS", _ports) for port in some}
    return tuple(f"{number}/{protocol}" for number, protocol in sorted(ports))


def _ports(word: str) -> list[tuple[int, str]]:
    match = _PORT.fullmatch(word)
    if not match:
        raise wrong(f"{quoted(word)} is not a port", "write port, port/udp or first-last/tcp")
    first, last = int(match[1]), int(match[2] or match[1])
    protocol = "tcp" if match[3] is None else match[3].lower()
    if protocol not in _PROTOCOLS:
        hint = nearest(protocol, _PROTOCOLS) or "write tcp, udp or sctp"
        raise wrong(f"{quoted(word)}: unknown protocol {quoted(match[3])}", hint)
    for number in (first, last):
        if not 1 <= number <= _LAST_PORT:
            raise wrong(f"{quoted(word)}: there is no port {number}", f"ports go from 1 to {_LAST_PORT}")
    if last < first:
        raise wrong(f"{quoted(word)}: the range ends before it begins", f"write {last}-{first}")
    return [(number, protocol) for number in range(first, last + 1)]


def _user(text: str) -> str:
    if not re.fullmatch(r"[^\s:]+(:[^\s:]+)?", text):
        raise wrong(f"{quoted(text)} is not a user", "write user or user:group, by name or number")
    return text


def _absolute(text: str) -> str:
    if not text.startswith("/"):
        raise wrong(f"{quoted(text)} is not an absolute path", "write the path in the image, from '/'")
    return text


def _signal(text: str) -> str:
    if text in _SIGNALS or re.fullmatch(r"SIGRT(MIN\+|MAX-)([1-9]|[12][0-9]|30)", text):
        return text
    if re.fullmatch(r"[1-9][0-9]?", text) and int(text) <= 64:
        return text
    named = f"SIG{text.upper()}" if f"SIG{text.upper()}" in _SIGNALS else text.upper()
    hint = nearest(named, _SIGNALS) or "write a name such as SIGTERM or SIGRTMIN+3, or a number from 1 to 64"
    raise wrong(f"{quoted(text)} is not a signal", hint)
