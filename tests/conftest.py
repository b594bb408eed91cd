# SPDX-License-Identifier: MIT
"""What every test shares: an environment of its own, and no silent skip where nothing may be skipped."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest
from support.ci import may_skip

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_NO_SKIP = any(os.environ.get(name) for name in ("CI", "OE_OCI_NO_SKIP"))
_CALLERS_OWN = re.compile(
    r"CI|OE_OCI_NO_SKIP|SOURCE_DATE_EPOCH|REPRODUCIBLE_\w+|TZ|LANG\w*|COLUMNS|(LC|GIT|XDG|OCI|BB|CONTAINERS?)_\w+"
)

# What podman and buildah can do inside a container too: no cgroups of their own, no raised limits, no network.
_CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "none"
[engine]
runtime = "runc"
"""


@pytest.fixture(scope="session", autouse=True)
def own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of who runs the tests: their home, git settings, locale, time zone and umask; and no cache."""
    home = tmp_path_factory.mktemp("home")
    containers_conf = home / "containers.conf"
    containers_conf.write_text(_CONTAINERS_CONF, encoding="utf-8")
    umask = os.umask(0o022)
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if _CALLERS_OWN.fullmatch(name):
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        # Nobody can write there: builds that are compared must all be made. A test of the cache gives it a folder.
        patch.setenv("XDG_CACHE_HOME", "/sys")
        patch.setenv("CONTAINERS_CONF", str(containers_conf))
        patch.setenv("LC_ALL", "C.UTF-8")
        patch.setenv("TZ", "UTC")
        patch.setenv("PATH", os.environ["PATH"] + ":/usr/sbin:/sbin")
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        for who in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{who}_NAME", "Test")
            patch.setenv(f"GIT_{who}_EMAIL", "test@example.com")
        yield
    os.umask(umask)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not _NO_SKIP or not report.skipped or hasattr(report, "wasxfail"):
        return
    if not may_skip(report.nodeid):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{reason}\nNothing is skipped here but what tests/outside-ci names."
