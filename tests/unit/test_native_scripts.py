# SPDX-License-Identifier: MIT
"""Scripts of packages that run on this machine: what they find, intercepts, and where those of a deb may run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from support import tools

from oe_oci.errors import ToolError
from oe_oci.packages.native.manager import Place
from oe_oci.packages.native.scripts import Scripts, may_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ASKING = """\
#!/bin/sh
hook=$INTERCEPT_DIR/$1
[ -f "$hook" ] || exit 1
chmod +x "$hook"
sed -i "1a $3" "$hook"
echo "##PKGS: $2 " >>"$hook"
"""


@pytest.fixture
def make(tmp_path: Path, monkeypatch) -> Callable[..., Scripts]:
    """Scripts of a place, with intercepts by their names."""

    def made(**intercepts: str) -> Scripts:
        for name in ("root", "scratch", "intercepts"):
            (tmp_path / name).mkdir(exist_ok=True)
        for name, text in {"postinst_intercept": ASKING, **intercepts}.items():
            path = tmp_path / "intercepts" / name
            path.write_text(text, encoding="utf-8")
            path.chmod(0o644 if name == "postinst_intercept" else 0o755)  # whose modes say nothing
        if intercepts:
            monkeypatch.setenv("INTERCEPT_DIR", str(tmp_path / "intercepts"))
        scripts = Scripts(Place(str(tmp_path / "root"), str(tmp_path / "scratch")))
        scripts.prepare()
        return scripts

    return made


def asked(scripts: Scripts, name: str, value: str = "value=1") -> None:
    """A script of `pkg` that asks for an intercept."""
    words = ["sh", "-c", '$INTERCEPT_DIR/postinst_intercept "$@"', "-", name, "pkg", value]
    assert scripts.run(words, 0)[0] == 0


def test_scripts_know_the_root_and_nothing_of_this_machines_user(make, tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_SECRET", "x")
    monkeypatch.setenv("NATIVE_ROOT", "/native")
    scripts = make(hook="")
    status, said = scripts.run(["env"], 1_600_000_000)
    variables = dict(line.split("=", 1) for line in said.splitlines())
    assert status == 0
    names = ("D", "OFFLINE_ROOT", "IPKG_OFFLINE_ROOT", "OPKG_OFFLINE_ROOT")
    assert [variables[name] for name in names] == [str(tmp_path / "root")] * 4
    assert (variables["SOURCE_DATE_EPOCH"], variables["NATIVE_ROOT"]) == ("1600000000", "/native")
    assert variables["HOME"] == variables["TMPDIR"] == str(tmp_path / "scratch/tmp")
    assert "SOME_SECRET" not in variables


def test_names_of_users_are_those_of_the_image_for_pseudo_too(make, tmp_path, monkeypatch):
    assert "PSEUDO_PASSWD" not in make().environment(0)
    monkeypatch.setenv("PSEUDO_PASSWD", "/rootfs:/sysroot")
    assert make().environment(0)["PSEUDO_PASSWD"] == f"{tmp_path}/root:/rootfs:/sysroot"


def test_the_update_alternatives_of_another_system_is_never_run(make, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    (other / "update-alternatives").write_text("#!/bin/sh\n")
    (other / "update-alternatives").chmod(0o755)
    monkeypatch.setenv("PATH", f"{other}:/usr/bin:/bin")
    assert make().run(["update-alternatives", "--install", "/usr/bin/vi", "vi", "/usr/bin/vim", "50"], 0) == (0, "")
    assert os.readlink(tmp_path / "root/usr/bin/vi") == "/usr/bin/vim"
    status, said = make().run(["update-alternatives", "--query", "vi"], 0)
    assert status == 2
    assert "only --install LINK NAME PATH PRIORITY and --remove NAME PATH" in said


def test_the_update_alternatives_of_opkg_is_run(make, tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    own = tmp_path / "own" / "update-alternatives"
    own.write_text('#!/bin/sh\necho "$OPKG_OFFLINE_ROOT/usr/lib/opkg/alternatives"\n')
    own.chmod(0o755)
    monkeypatch.setenv("PATH", f"{own.parent}:/usr/bin:/bin")
    assert make().run(["update-alternatives"], 0) == (0, f"{tmp_path}/root/usr/lib/opkg/alternatives\n")


def test_intercepts_that_were_asked_for_run_and_no_others(make, tmp_path, monkeypatch):
    monkeypatch.setenv("NATIVE_ROOT", "/native")
    scripts = make(
        fonts='#!/bin/sh\necho "$value $STAGING_DIR_NATIVE" >"$D/fonts"\n', icons="#!/bin/sh\ntouch $D/icons\n"
    )
    asked(scripts, "fonts", "value=7")
    assert list(scripts.intercept(0)) == []
    assert os.listdir(tmp_path / "root") == ["fonts"]
    assert (tmp_path / "root/fonts").read_text() == "7 /native\n"
    (tmp_path / "root/fonts").unlink()
    scripts.prepare()
    assert list(scripts.intercept(0)) == []
    assert os.listdir(tmp_path / "root") == []
    assert "value=7" not in (tmp_path / "intercepts/fonts").read_text()


@pytest.mark.parametrize(
    ("name", "text", "delayed"),
    [
        ("fonts", "#!/bin/sh\necho no fonts >&2\nexit 3\n", False),
        ("fonts", "#!/bin/sh\necho 'qemuwrapper: qemu usermode is not supported'\nexit 1\n", True),
        ("delay_to_first_boot", "#!/bin/sh\nexit 1\n", True),
    ],
)
def test_an_intercept_that_is_not_done_is_told_of(make, name, text, delayed):
    scripts = make(**{name: text})
    asked(scripts, name)
    (left,) = scripts.intercept(0)
    assert (left.name, left.packages, left.delayed) == (name, "pkg", delayed)
    if not delayed:
        assert (left.status, list(left.said)) == (3, ["no fonts"])


def test_what_intercepts_say_counts_for_what_is_kept(make, monkeypatch):
    none = make().told
    one = make(fonts="1").told
    other = make(fonts="2").told
    assert none != one != other != none
    assert make(fonts="1").told == one


def test_a_folder_of_intercepts_that_is_not_there_is_an_error(make, monkeypatch):
    make()
    monkeypatch.setenv("INTERCEPT_DIR", "/nowhere/at/all")
    with pytest.raises(ToolError, match="cannot read /nowhere/at/all, which INTERCEPT_DIR names"):
        make()


PROGRAM = "from oe_oci.packages.native.scripts import may_run; print(may_run())"


@pytest.mark.parametrize(
    ("before", "env", "may"),
    [
        ("root", {"INTERCEPT_DIR": "/x"}, False),
        ("user", {"INTERCEPT_DIR": "/x"}, True),
        ("fakeroot", {"INTERCEPT_DIR": "/x"}, True),
        ("fakeroot", {}, False),
        ("root fakeroot", {"INTERCEPT_DIR": "/x"}, False),
    ],
)
def test_scripts_of_a_deb_run_where_a_build_has_intercepts_and_never_as_root(before, env, may, tmp_path_factory):
    tools.need_root()
    tools.need("fakeroot")
    with tools.scratch("oe-oci-may-", 0o755) as folder:
        copy = tools.Copy(folder)
        words: list[Any] = [] if "root" in before.split() else tools.as_nobody()
        words += ["fakeroot"] if "fakeroot" in before else []
        done = tools.run(
            *words, copy.program, "-c", PROGRAM, env=copy.environment(INTERCEPT_DIR=env.get("INTERCEPT_DIR")), cwd="/"
        )
    assert done.stdout == f"{may}\n"
    assert may_run() is False
