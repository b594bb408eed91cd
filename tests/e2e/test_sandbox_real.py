# SPDX-License-Identifier: MIT
"""Scripts of packages isolated for real: what they can reach, how they end, and what is left of them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import tools
from support.sandboxes import PROGRAMS, ROOTS, WAYS, Box, add_busybox, running

from oe_oci.packages.maintainer import crowd
from oe_oci.packages.maintainer.wrapping import CAPABILITIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Of linux/capability.h.
NUMBERS = {
    "chown": 0,
    "dac_override": 1,
    "fowner": 3,
    "fsetid": 4,
    "kill": 5,
    "setgid": 6,
    "setuid": 7,
    "sys_chroot": 18,
    "audit_write": 29,
    "setfcap": 31,
}


# Over the only folder of /proc that may be mounted over where namespaces are made: systems have binfmt_misc there.
SETTINGS = Path("/proc/sys/fs/binfmt_misc")
PRIVATE = ("/dev", "/tmp", "/var/tmp", "/run")


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def box(product, folder, program) -> Callable[[str], Box]:
    return lambda way: Box(product, folder, way, program)


@pytest.fixture
def outside() -> Iterator[Path]:
    """A folder of the machine that every user may write to, in no place that is private to a script."""
    tools.need_root()
    with tools.scratch("oe-oci-test-") as folder:
        path = Path("/var/lib") / folder.name
        path.mkdir()
        path.chmod(0o777)
        try:
            yield path
        finally:
            tools.unmount(path)
            tools.run("rm", "-r", path)


@pytest.mark.parametrize("way", WAYS)
def test_the_machine_can_not_be_changed(box, outside, way):
    (outside / "kept").write_text("kept", encoding="utf-8")
    (outside / "kept").chmod(0o666)
    with contextlib.ExitStack() as stack:
        for place in (outside / "mounted", *((SETTINGS,) if SETTINGS.is_dir() else ())):
            stack.enter_context(tools.tmpfs(place, "1m")).chmod(0o777)
        script = f"""
            for folder in / /etc /usr /var/lib /dev/shm/.. {SETTINGS} {outside} {outside}/mounted; do
                touch $folder/oe-oci-made 2>/dev/null && case $folder in /dev*) ;; *) echo "made in $folder" ;; esac
            done
            echo changed >>{outside}/kept
            rm -f {outside}/kept
            chmod 600 {outside}/kept
            mount -o remount,rw / && echo mounted
            mount -o remount,rw,bind {outside}/mounted && echo mounted
            umount {outside}/mounted && echo unmounted
            setting=/proc/sys/kernel/domainname
            (cat $setting >$setting) && echo "wrote $setting"
            unshare --user --map-root-user --mount sh -c "
                mount -o remount,rw,bind {outside}/mounted && echo mounted
                umount {outside}/mounted && echo unmounted
                touch {outside}/oe-oci-made && echo made in a namespace"
            awk '$6 ~ /^rw/ {{ print $1, $5 }}' /proc/self/mountinfo >made
            while read number place; do  # but for what something else is mounted over
                (exec 3<$place && grep -qx "mnt_id:[^0-9]*$number" /proc/self/fdinfo/3) && echo "writable $place"
            done <made
            touch $D/made made
        """
        made = box(way)
        ran = made.run(script)
        assert ran.status == 0, ran
        writable = {line.split()[1] for line in ran.lines if line.startswith("writable")}
        own = {str(made.root), str(made.scratch), "/proc"}
        assert not {path for path in writable - own if not path.startswith(PRIVATE)}, writable
        assert own <= writable
        assert not [line for line in ran.lines if line.startswith(("made in", "mounted", "unmounted", "wrote"))], ran
        assert os.listdir(outside / "mounted") == []
        assert (outside / "kept").read_text(encoding="utf-8") == "kept"
        assert (outside / "kept").stat().st_mode & 0o777 == 0o666
    assert sorted(os.listdir(outside)) == ["kept", "mounted"]
    assert "made" in ran.owners


@pytest.mark.parametrize("way", WAYS)
def test_owners_that_a_script_gives_are_seen_by_who_started_it(box, way):
    ran = box(way).run("set -e; touch $D/theirs $D/ours; chown 12:34 $D/theirs; stat -c %u:%g $D/theirs; umask")
    assert (ran.status, ran.lines) == (0, ["12:34", "0022"]), ran
    assert ran.owners["theirs"] == [12, 34]


@pytest.mark.parametrize("way", WAYS)
def test_private_places_are_empty_and_can_be_written_to(box, folder, way):
    ran = box(way).run(
        f"ls -A /run /var/tmp /dev/shm; ls -A /tmp | grep -vx {folder.name}; ls -A {folder}\n"
        "for each in /tmp /var/tmp /run /dev/shm; do echo x >$each/oe-oci-x && rm $each/oe-oci-x; done; pwd"
    )
    said = [line for line in ran.lines if line and not line.endswith(":")]
    state = ["state"] if way == "pseudo" else []
    assert (ran.status, said) == (0, ["root", "scratch", *state, str(folder / "scratch")]), ran
    assert not [path for path in ("/tmp", "/var/tmp", "/run") if os.path.exists(f"{path}/oe-oci-x")]


@pytest.mark.parametrize("way", WAYS)
def test_no_daemon_is_in_reach(box, product, outside, way):
    """Over the network, an abstract name, a socket where docker has its own, and one anywhere else."""
    name = f"oe-oci-test-{os.getpid()}"
    listeners = [socket.socket(socket.AF_INET), *(socket.socket(socket.AF_UNIX) for _ in range(3))]
    path = f"/run/{name}"
    try:
        listeners[0].bind(("127.0.0.1", 0))
        listeners[1].bind(f"\0{name}")
        listeners[2].bind(path)
        listeners[3].bind(f"{outside}/socket")
        Path(path).chmod(0o666)
        (outside / "socket").chmod(0o666)
        for each in listeners:
            each.listen()
        port = listeners[0].getsockname()[1]
        code = (
            "import socket\n"
            f"inet, unix = (('127.0.0.1', {port}), ('192.0.2.1', 80)), ('\\0{name}', '{path}', '{outside}/socket')\n"
            "for family, address in *((2, each) for each in inet), *((1, each) for each in unix):\n"
            "    try: socket.socket(family).connect(address)\n"
            "    except OSError as error: print('refused')\n"
            "print(*(name for _, name in socket.if_nameindex()))\n"
        )
        interpreter = os.path.realpath(product.program)
        ran = box(way).run(f'exec {interpreter} -ISc "$1"', code)
        assert (ran.status, ran.lines) == (0, ["refused"] * 5 + ["lo"]), ran
    finally:
        for each in listeners:
            each.close()
        Path(path).unlink(missing_ok=True)


@pytest.mark.parametrize("way", WAYS)
def test_a_script_finds_what_it_is_given_and_nothing_else(box, way, monkeypatch):
    monkeypatch.setenv("SECRET", "s")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    script = """
        env | sed 's/=.*//' | grep -vE '^(PSEUDO|FAKE|LD_)' | sort | tr '\\n' ' '; echo
        echo "$1|$ODD|$LC_ALL|$(hostname)|$(cat)"
        ls /proc/self/fd | wc -l | tr -d " "
        sed -n 's/^SigIgn:.//p' /proc/self/status
        ps -o pid= -p 1 >/dev/null && ls -d /proc/[0-9]* | wc -l
        (: </dev/tty) 2>/dev/null || echo no terminal
    """
    ran = box(way).run(script, "a  b", env={"ODD": "x 'y\" $z"}, stdin="fed", files=100)
    assert ran.status == 0, ran
    # What shells set for what they run.
    assert set(ran.lines[0].split()) - {"PWD", "OLDPWD", "SHLVL", "_"} == {"D", "LC_ALL", "ODD", "PATH"}
    assert ran.lines[1] == "a  b|x 'y\" $z|C|localhost|fed"
    # The fourth is of ls itself; pseudo has some of its own.
    assert ran.lines[2] == "4" or way == "pseudo"
    assert ran.lines[3] == "0" * 16
    assert int(ran.lines[4]) < 8
    assert ran.lines[5] == "no terminal"


@pytest.mark.parametrize("way", ROOTS)
def test_root_has_only_the_rights_that_scripts_need(box, way):
    script = """
        sed -n 's/^CapEff:.//p; s/^CapPrm:.//p; s/^NoNewPrivs:.//p' /proc/self/status
        mknod $D/device c 1 3 2>/dev/null || echo no device
        cp /usr/bin/id $D/other; chmod 4755 $D/other
        setpriv --reuid=65534 --regid=65534 --clear-groups $D/other -u
    """
    ran = box(way).run(script)
    rights = sum(1 << NUMBERS[name] for name in CAPABILITIES)
    assert ran.lines == [f"{rights:016x}", f"{rights:016x}", "1", "no device", "65534"], ran


@pytest.mark.parametrize("way", WAYS)
def test_one_that_never_ends_is_ended_with_all_that_it_started(box, way):
    token = f"oe-oci-{os.getpid()}-{way}"
    script = "echo begun; trap '' TERM INT HUP; setsid sh -c 'while :; do sleep 1; done' $1 & while :; do :; done"
    began = time.monotonic()
    ran = box(way).run(script, token, seconds=2)
    assert (ran.ended, ran.said) == ("took longer than 2 seconds", "begun\n")
    assert time.monotonic() - began < 30
    assert not running(token)


@pytest.mark.parametrize("way", WAYS)
def test_a_daemon_does_not_outlive_its_script(box, way):
    token = f"oe-oci-{os.getpid()}-{way}"
    daemon = "while :; do echo x >>$D/log; done"
    made = box(way)
    ran = made.run(f"setsid sh -c '{daemon}' $1 </dev/null >/dev/null 2>&1 & sleep 0.3; exit 7", token)
    size = (made.root / "log").stat().st_size
    assert (ran.status, ran.ended, running(token)) == (7, "", []), ran
    time.sleep(0.3)
    assert (made.root / "log").stat().st_size == size > 0


def test_of_much_that_is_said_the_last_is_kept(box):
    ran = box("root").run("yes | head -c 50000000; echo; echo the end >&2", said=100_000)
    assert (ran.status, len(ran.said)) == (0, 100_000)
    assert ran.said.endswith("y\n\nthe end\n")


def test_one_that_talks_without_end_is_ended(box):
    ran = box("root").run("yes", seconds=2, said=1000)
    assert (len(ran.said), ran.ended) == (1000, "took longer than 2 seconds")


def test_a_file_does_not_grow_without_end(box):
    made = box("root")
    ran = made.run("head -c 9000000 /dev/zero >$D/large; echo $?", size=1 << 20)
    assert (made.root / "large").stat().st_size == 1 << 20
    assert ran.lines[-1] != "0"


@pytest.mark.parametrize("way", ["namespace", "fakeroot"])
def test_a_fork_bomb_ends(box, way):
    token = f"oe-oci-{os.getpid()}-{way}"
    ran = box(way).run("bomb() { sleep 100 & bomb | bomb & }; bomb 2>/dev/null; wait", token, seconds=3, processes=100)
    assert ran.status != 0 or ran.ended or ran.said, ran
    assert not running(token)


def test_the_processes_of_root_are_counted_where_there_are_control_groups(box):
    with crowd.bounded(10) as words:
        if not words:
            pytest.skip("no control group can be made here")
    assert not os.path.exists(words[-1])
    script = "for number in $(seq 200); do sleep 20 & done; for each in /proc/[0-9]*; do echo $each; done"
    ran = box("root").run(script, processes=50)
    assert "fork" in ran.said, ran
    assert len([line for line in ran.lines if line.startswith("/proc")]) <= 50


@pytest.mark.parametrize("way", ["root", "fakeroot"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_survives_who_started_it(box, way, number):
    token = f"oe-oci-{os.getpid()}-{way}-{number}"
    made = box(way)
    argv = made.argv("echo >$D/begun; sh -c 'while :; do sleep 0.1; done' $1", token)
    process = subprocess.Popen(argv, env=made.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _wait(lambda: (made.root / "begun").exists() and running(token))
    drivers = [pid for pid in _descendants(process.pid) if b"asked" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(drivers[-1], number)
    process.wait(timeout=30)
    _wait(lambda: not running(token))


@pytest.mark.parametrize("way", ROOTS)
def test_an_image_is_the_root_and_nothing_of_ours_is_left_in_it(box, way):
    made = box(way)
    add_busybox(made.root)
    (made.root / "run").mkdir()
    (made.root / "etc").mkdir()
    (made.root / "etc" / "resolv.conf").write_text("nameserver 192.0.2.1\n", encoding="utf-8")
    if way != "root":
        tools.give_to_nobody(made.root)
    before = sorted(os.listdir(made.root))
    script = """
        [ -n "$AGAIN" ] || AGAIN=1 exec "$0" "$@"
        set -e
        pwd; echo "$1"; cat; ls /usr /home 2>&1 | head -n 1; cat /etc/resolv.conf; hostname
        echo made >/etc/made; chown 12:34 /etc/made; echo x >/tmp/left; echo x >/run/left; echo x >/dev/null
        test -e /proc/self/stat; test ! -e /sys/kernel
        echo x >"$0.x" || :
        mknod /device c 1 3 || echo no device
        v=/proc/sys/kernel/domainname; (cat $v >$v) 2>/dev/null || echo no setting
    """
    ran = made.run("#!/bin/sh\n" + script, "word", mode="chroot", env={"PATH": "/bin"}, stdin="fed\n")
    assert ran.status == 0, ran
    assert ran.lines[:3] == ["/", "word", "fed"]
    assert "No such file" in ran.lines[3]
    assert ran.lines[4:6] == ["nameserver 192.0.2.1", "localhost"]
    assert ran.lines[-2:] == ["no device", "no setting"]
    assert sorted(os.listdir(made.root)) == before
    assert (os.listdir(made.root / "run"), sorted(os.listdir(made.root / "etc"))) == ([], ["made", "resolv.conf"])
    mapped = 0 if way == "root" else 99_999
    assert (made.root / "etc" / "made").stat().st_uid == 12 + mapped


@pytest.mark.parametrize("way", ROOTS)
def test_no_way_leads_out_of_an_image(box, outside, way):
    """chroot of a folder with the working directory outside of it, and up from there."""
    made = box(way)
    add_busybox(made.root)
    up = "../" * 20
    code = f"mkdir -p /jail; cp /bin/busybox /jail/; cd /; ls {up}{outside} 2>&1; cat /proc/1/root{outside}/kept 2>&1"
    (outside / "kept").write_text("kept", encoding="utf-8")
    ran = made.run(
        f"{code}; chroot /jail /busybox ls /{up}; ls /proc/1/cwd/ | tr '\\n' ' '; umount / ; ls {outside}",
        mode="chroot",
        env={"PATH": "/bin"},
    )
    assert "kept\n" not in ran.said.replace(f"{outside}/kept", "")
    assert "No such file" in ran.said


def test_an_image_without_a_shell_is_told(box):
    told = box("root").run("exit 0", mode="chroot")
    assert "cannot run a script in isolation" in told.error
    assert "/bin/sh" in told.error


def test_fakeroot_does_not_reach_into_an_image(box):
    told = box("fakeroot").run("exit 0", mode="chroot")
    assert "under fakeroot or pseudo" in told.error
    assert "run:offline" in told.error


def _wait(done: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _descendants(pid: int) -> list[int]:
    """A process and those below it, as ps tells them."""
    parents = [line.split() for line in tools.run("ps", "-e", "-o", "pid=,ppid=").stdout.splitlines()]
    found = [pid]
    for each in found:
        found += [int(child) for child, parent in parents if int(parent) == each]
    return found
