# SPDX-License-Identifier: MIT
"""Scripts of packages isolated: which program does it, with which words, what is seen, what is told where none can."""

from __future__ import annotations

import os
import socket
import sys
import time

import pytest

from oe_oci import run
from oe_oci.errors import ToolError
from oe_oci.packages.maintainer import crowd, sandbox, view, wrapping
from oe_oci.packages.maintainer.view import Mount
from oe_oci.packages.maintainer.wrapping import Identity

ROOT = Identity(0, 0, becomes_root=False, keeps_ipc=False)
USER = Identity(1000, 100, becomes_root=False, keeps_ipc=True)
MOUNTS = [
    Mount(view.READ_ONLY, "/", "/"),
    Mount(view.DEV, "/dev"),
    Mount(view.PROC, "/proc"),
    Mount(view.EMPTY, "/tmp", mode=0o1777),
    Mount(view.BIND, "/tmp/a b", "/tmp/a b"),
]
BOUNDED = run.Bounded(0, b"", started=True, is_late=False)


@pytest.fixture(autouse=True)
def anew(monkeypatch):
    sandbox._working.cache_clear()
    for name in os.environ:
        if name.startswith(("FAKE", "PSEUDO")) or name == "LD_PRELOAD":
            monkeypatch.delenv(name)
    yield
    sandbox._working.cache_clear()


class Runner:
    """Stands for the programs: those in `failing` can not isolate."""

    def __init__(self, monkeypatch, *failing, missing=()):
        self.calls = []
        self.said = b"\n"
        self._failing = failing
        monkeypatch.setattr(sandbox, "run_bounded", self)
        monkeypatch.setattr(sandbox.shutil, "which", lambda name: None if name in missing else f"/bin/{name}")

    def __call__(self, argv, *, env, stdin=b"", limits, after):
        self.calls.append((argv, env, stdin, limits))
        if any(f"/bin/{name}" in argv for name in self._failing):
            return run.Bounded(1, b"first\nunshare: no right to do so\n", started=False, is_late=False)
        return run.Bounded(3, b"caf\xe9\n", started=True, is_late=False) if argv[-1] != "true" else BOUNDED


def follow(words, *expected):
    """Whether words follow each other among others."""
    number = len(expected)
    return any(tuple(words[at : at + number]) == expected for at in range(len(words)))


# ---- words


def test_words_of_bubblewrap():
    words = wrapping.bubblewrap("/bin/bwrap", MOUNTS, {"A": "b c", "E": ""}, ROOT)
    assert words[0] == "/bin/bwrap"
    for option in (
        "--unshare-pid",
        "--unshare-net",
        "--unshare-uts",
        "--unshare-ipc",
        "--die-with-parent",
        "--clearenv",
    ):
        assert option in words
    assert "--unshare-user" not in words
    assert follow(words, "--cap-drop", "ALL", "--cap-add", "CAP_CHOWN")
    assert follow(
        words, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--perms", "1777", "--tmpfs", "/tmp"
    )
    assert follow(words, "--tmpfs", "/tmp", "--bind", "/tmp/a b", "/tmp/a b", "--clearenv")
    assert words[-7:] == ["--setenv", "A", "b c", "--setenv", "E", "", "--"]


def test_an_ordinary_user_has_a_namespace_and_no_rights_in_it():
    words = wrapping.bubblewrap("bwrap", MOUNTS, {}, USER)
    assert "--unshare-user" in words
    assert not {"--cap-add", "--uid", "--unshare-ipc"} & set(words)
    words = wrapping.bubblewrap("bwrap", MOUNTS, {}, USER._replace(becomes_root=True))
    assert follow(words, "--unshare-user", "--uid", "0", "--gid", "0")
    assert "--cap-add" in words


@pytest.mark.parametrize(
    "name", ["sys_admin", "mknod", "net_admin", "sys_module", "sys_rawio", "sys_ptrace", "sys_time"]
)
def test_no_right_over_the_machine_is_given(name):
    assert name not in wrapping.CAPABILITIES
    assert "dac_read_search" not in wrapping.CAPABILITIES


def test_words_of_unshare():
    words = wrapping.unshare("/bin/unshare", MOUNTS, {"A": "b c"}, ROOT)
    assert words[:3] == ["setpriv", "--pdeathsig=KILL", "/bin/unshare"]
    assert {"--mount", "--pid", "--kill-child=KILL", "--net", "--uts", "--ipc"} <= set(words)
    assert "--map-root-user" not in words
    lines = words[words.index("-c") + 1].splitlines()
    assert lines[0] == "set -e"
    assert lines[-2:] == ["mount -n --move . /", 'exec "$@"']
    assert any(line.startswith("mount -n -o remount,bind,ro,") and line.endswith(" /sys") for line in lines)
    assert "mount -n --rbind '/tmp/a b' '/sys/tmp/a b'" in lines
    assert any("setpriv" in word for word in words[words.index("sh") :])
    assert follow(words, "env", "-i", "A=b c")
    assert words[-1] == "."


def test_an_ordinary_user_is_itself_again_within_unshare():
    words = wrapping.unshare("unshare", MOUNTS, {}, USER)
    assert "--map-root-user" in words
    assert "--ipc" not in words
    assert follow(words, "unshare", "--user", "--map-user=1000", "--map-group=100", "env", "-i")


# ---- what is seen


def test_all_of_the_machine_is_read_only_but_two_folders():
    mounts = view.of_machine(("/tmp/root", "/tmp/scratch"), ())
    assert mounts[0] == Mount(view.READ_ONLY, "/", "/")
    assert [mount.target for mount in mounts if mount.kind == view.BIND] == ["/tmp/root", "/tmp/scratch"]
    assert mounts[-2:] == [Mount(view.BIND, path, path) for path in ("/tmp/root", "/tmp/scratch")]
    assert Mount(view.EMPTY, "/tmp", mode=0o1777) in mounts
    assert Mount(view.READ_ONLY, "/proc/sys", "/proc/sys") in mounts


def test_folders_in_private_places_are_shown_where_they_are_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(view, "_PRIVATE", (str(tmp_path),))
    (tmp_path / "shown").mkdir()
    mounts = view.of_machine((), (str(tmp_path / "shown"), str(tmp_path / "none"), "/usr", "relative"))
    shown = [mount.target for mount in mounts if mount.kind == view.READ_ONLY and not mount.target.startswith("/proc")]
    assert shown == ["/", str(tmp_path / "shown")]


def test_sockets_are_closed_where_nothing_else_hides_them(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert os.path.realpath(tmp_path / "socket") in view.sockets()
    closed = ["/run/a", "/srv/b", "/srv/scratch/c", "/tmp/d"]
    mounts = view.of_machine(("/srv/scratch",), (), closed)
    assert [mount.target for mount in mounts if mount.source == "/dev/null"] == ["/srv/b"]


def test_what_an_image_lacks_is_made_and_gone_again(tmp_path):
    (tmp_path / "run").mkdir()
    with view.of_image(str(tmp_path), "/scripts") as mounts:
        assert sorted(os.listdir(tmp_path)) == ["dev", "proc", "run", "tmp"]
    assert os.listdir(tmp_path) == ["run"]
    assert mounts[0] == Mount(view.BIND, "/", str(tmp_path))
    assert mounts[-2:] == [Mount(view.EMPTY, "/run", mode=0o755), Mount(view.READ_ONLY, "/tmp/oe-oci", "/scripts")]


def test_links_of_an_image_lead_where_they_lead_in_it(tmp_path):
    (tmp_path / "var" / "volatile" / "tmp").mkdir(parents=True)
    (tmp_path / "var" / "tmp").symlink_to("volatile/tmp")
    (tmp_path / "tmp").symlink_to("/../var/tmp")
    (tmp_path / "run").symlink_to("../../var")
    with view.of_image(str(tmp_path), "/scripts") as mounts:
        targets = [mount.target for mount in mounts if mount.kind == view.EMPTY]
    assert targets == ["/var/volatile/tmp", "/var"]
    assert mounts[-1].target == "/var/volatile/tmp/oe-oci"


@pytest.mark.parametrize("target", ["/nowhere", "tmp", "/etc/passwd", "/", "../../.."])
def test_an_image_that_leads_astray_is_refused(tmp_path, target):
    (tmp_path / "tmp").symlink_to(target)
    with pytest.raises(ToolError, match="/tmp of the image is no directory"), view.of_image(str(tmp_path), "/scripts"):
        pass
    assert os.listdir(tmp_path) == ["tmp"]


# ---- choice and messages


def test_bubblewrap_is_taken_where_it_works(monkeypatch, tmp_path):
    runner = Runner(monkeypatch)
    made = sandbox.offline(str(tmp_path / "root"), str(tmp_path / "scratch"))
    assert made.program == "bwrap"
    assert sandbox.decides("offline") == {"mode": "offline", "limits": [300, 4 << 30, 4096]}
    sandbox.offline(str(tmp_path / "root"), str(tmp_path / "scratch"))
    assert len(runner.calls) == 1  # tried once


@pytest.mark.parametrize("how", [{"missing": ("bwrap",)}, {"failing": "bwrap"}])
def test_unshare_is_taken_else(monkeypatch, tmp_path, how):
    Runner(monkeypatch, *filter(None, [how.get("failing")]), missing=how.get("missing", ()))
    assert sandbox.offline(str(tmp_path), str(tmp_path)).program == "unshare"


def test_where_nothing_can_isolate_the_reasons_are_told(monkeypatch, tmp_path):
    Runner(monkeypatch, "unshare", missing=("bwrap",))
    with pytest.raises(ToolError) as raised:
        sandbox.offline(str(tmp_path), str(tmp_path))
    assert raised.value.message == (
        "scripts of packages can not be isolated here: no bwrap; unshare: no right to do so"
    )
    assert "install bubblewrap" in raised.value.hint
    assert 'OCI_PACKAGE_SCRIPTS = "skip"' in raised.value.hint


def test_what_a_script_gets(monkeypatch, tmp_path):
    runner = Runner(monkeypatch)
    monkeypatch.setenv("SECRET", "s")
    limits = run.Limits(seconds=5)
    made = sandbox.offline(str(tmp_path / "root"), str(tmp_path / "scratch"), limits=limits)
    path = made.place("a.postinst", b"exit 3")
    assert path == str(tmp_path / "scratch" / "scripts" / "a.postinst")
    ran = made.run(["sh", path], {"D": "/r", "TZ": "x", "LC_ALL": "x"}, stdin=b"fed")
    assert ran == (3, "caf\\xe9\n", "")
    argv, env, stdin, given = runner.calls[-1]
    assert argv[-4:] == ["sh", str(tmp_path / "scratch"), "sh", path]
    assert follow(argv, "--setenv", "D", "/r", "--setenv", "LC_ALL", "C") or follow(argv, "--setenv", "LC_ALL", "C")
    assert not {"TZ", "SECRET"} & set(argv)
    assert set(env) == {"PATH", "LC_ALL"}
    assert (stdin, given) == (b"fed", limits)


def test_a_script_has_a_path_in_the_image(monkeypatch, tmp_path):
    runner = Runner(monkeypatch)
    (tmp_path / "root").mkdir()
    made = sandbox.chroot(str(tmp_path / "root"), str(tmp_path / "scratch"))
    assert made.place("a.postinst", b"") == "/tmp/oe-oci/a.postinst"
    made.run(["sh", "/tmp/oe-oci/a.postinst"], {})
    argv = runner.calls[-1][0]
    assert follow(argv, "--bind", str(tmp_path / "root"), "/")
    assert follow(argv, "--ro-bind", str(tmp_path / "scratch" / "scripts"), "/tmp/oe-oci")
    assert argv[-3:] == ["/", "sh", "/tmp/oe-oci/a.postinst"]


def test_under_fakeroot_its_queues_are_seen_and_no_chown_is_tried(monkeypatch, tmp_path):
    runner = Runner(monkeypatch)
    monkeypatch.setenv("FAKEROOTKEY", "7")
    monkeypatch.setenv("LD_PRELOAD", "libfakeroot-sysv.so")
    monkeypatch.setattr(sandbox, "_who", lambda _mode: USER)
    sandbox.offline(str(tmp_path), str(tmp_path)).run(["true", "x"], {})
    argv, env, _, _ = runner.calls[-1]
    assert "LD_PRELOAD" not in env
    assert follow(argv, "--setenv", "FAKEROOTKEY", "7")
    assert follow(argv, "--setenv", "LD_PRELOAD", "libfakeroot-sysv.so")
    assert follow(argv, "--setenv", "FAKEROOTDONTTRYCHOWN", "1")


def test_under_pseudo_what_isolates_is_not_told_anything(monkeypatch, tmp_path):
    runner = Runner(monkeypatch)
    monkeypatch.setattr(view, "_PRIVATE", (str(tmp_path),))
    (tmp_path / "state").mkdir()
    monkeypatch.setenv("PSEUDO_LOCALSTATEDIR", str(tmp_path / "state"))
    monkeypatch.setenv("LD_PRELOAD", "libpseudo.so")
    sandbox.offline(str(tmp_path / "root"), str(tmp_path / "scratch")).run(["true", "x"], {})
    argv, env, _, _ = runner.calls[-1]
    assert env["PSEUDO_UNLOAD"] == "1"
    assert "PSEUDO_UNLOAD" not in argv
    assert follow(argv, "--ro-bind", str(tmp_path / "state"), str(tmp_path / "state"))


@pytest.mark.parametrize(
    ("mode", "preload", "message"),
    [
        (sandbox.chroot, "libfakeroot-sysv.so", "under fakeroot or pseudo"),
        (sandbox.offline, "libfakeroot-tcp.so", "over which this fakeroot works"),
    ],
)
def test_where_what_fakeroot_tells_could_not_be_seen_it_is_told(monkeypatch, tmp_path, mode, preload, message):
    Runner(monkeypatch)
    monkeypatch.setenv("FAKEROOTKEY", "7")
    monkeypatch.setenv("LD_PRELOAD", preload)
    with pytest.raises(ToolError, match=message):
        mode(str(tmp_path), str(tmp_path))


@pytest.mark.parametrize(("failures", "ends_well"), [(2, True), (3, False)])
def test_a_view_that_changed_meanwhile_is_made_anew(monkeypatch, tmp_path, failures, ends_well):
    left = [run.Bounded(1, b"bwrap: gone\n", started=False, is_late=False)] * failures
    made = Runner(monkeypatch) and sandbox.offline(str(tmp_path), str(tmp_path))
    monkeypatch.setattr(sandbox, "run_bounded", lambda *_, **__: left.pop() if left else BOUNDED)
    if ends_well:
        assert made.run(["true"], {}).status == 0
    else:
        with pytest.raises(ToolError, match="cannot run a script in isolation: bwrap: gone"):
            made.run(["true"], {})


# ---- control groups


@pytest.fixture
def groups(monkeypatch, tmp_path):
    """Stands for a control group with room for others, whose files are made with them."""
    monkeypatch.setattr(crowd, "_around", lambda: [str(tmp_path / "none"), str(tmp_path)])
    made = crowd.tempfile.mkdtemp

    def with_files(**asked):
        folder = made(**asked)
        with open(f"{folder}/pids.max", "w", encoding="ascii") as file:
            file.write("max\n")
        return folder

    monkeypatch.setattr(crowd.tempfile, "mkdtemp", with_files)
    return tmp_path


def test_a_control_group_has_its_limit_and_its_end(groups):
    (groups / "oe-oci-0-left").mkdir()
    (groups / f"oe-oci-{os.getpid()}-other").mkdir()
    with crowd.bounded(7) as words:
        with open(f"{words[-1]}/pids.max", encoding="ascii") as file:
            assert file.read().startswith("7")
        assert sorted(os.listdir(groups)) == sorted([f"oe-oci-{os.getpid()}-other", os.path.basename(words[-1])])
        os.unlink(f"{words[-1]}/pids.max")  # as the kernel's own files do not keep a group
    assert os.listdir(groups) == [f"oe-oci-{os.getpid()}-other"]


def test_a_folder_that_is_no_control_group_is_left_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(crowd, "_around", lambda: [str(tmp_path)])
    with crowd.bounded(7) as words:
        assert words == []
    assert os.listdir(tmp_path) == []


# ---- a program with limits


def bounded(code, *, limits=sandbox._LIMITS, **more):
    return run.run_bounded([sys.executable, "-ISc", code], env={"PATH": os.defpath, "A": "b"}, limits=limits, **more)


def test_it_has_what_it_is_given():
    code = (
        "import os, sys; print(os.environ['A'], sys.stdin.read(), os.getcwd(), os.getsid(0) == os.getpid(), flush=True)"
    )
    done = bounded(f"{code}; print('err', file=sys.stderr); sys.exit(5)", stdin=b"x" * 100_000)
    assert done == (5, b"b " + b"x" * 100_000 + b" / True\nerr\n", True, False)


def test_a_signal_is_told_as_shells_do():
    assert bounded("import os; os.kill(os.getpid(), 9)").status == 137


def test_what_is_said_before_it_starts_is_not_kept():
    assert bounded("print('x<go>y')", after=b"<go>")[1:] == (b"y\n", True, False)
    assert bounded("print('x')", after=b"<go>")[1:] == (b"x\n", False, False)


def test_of_what_is_said_the_last_is_kept():
    limits = run.Limits(said=1000)
    done = bounded("print('<go>' + 'x' * 3000000 + 'end')", limits=limits, after=b"<go>")
    assert (len(done.said), done.said[-5:], done.started) == (1000, b"xend\n", True)


def test_time_is_limited():
    began = time.monotonic()
    done = bounded("print('a', flush=True); import time; time.sleep(100)", limits=run.Limits(seconds=1))
    assert done.is_late
    assert done.said == b"a\n"
    assert time.monotonic() - began < 20


def test_limits_are_no_higher_than_those_of_the_caller():
    code = "import resource as r; print([r.getrlimit(x) for x in (r.RLIMIT_CORE, r.RLIMIT_NOFILE, r.RLIMIT_FSIZE)])"
    done = bounded(code, limits=run.Limits(files=64, size=1 << 20))
    assert done.said.decode() == f"[(0, 0), (64, 64), ({1 << 20}, {1 << 20})]\n"
    highest = run.resource.getrlimit(run.resource.RLIMIT_NOFILE)[1]
    assert bounded(code, limits=run.Limits(files=1 << 40)).said.decode().split(", ")[3] == f"{highest})"


def test_no_signal_stays_ignored(monkeypatch):
    before = run.signal.signal(run.signal.SIGHUP, run.signal.SIG_IGN)
    try:
        done = bounded("import signal; print(signal.getsignal(signal.SIGHUP) is signal.SIG_DFL)")
    finally:
        run.signal.signal(run.signal.SIGHUP, before)
    assert done.said == b"True\n"


def test_a_program_that_is_not_there():
    assert run.run_bounded(["/no/such"], env={"PATH": os.defpath}, limits=run.Limits()).status == 127
