# SPDX-License-Identifier: MIT
"""The reader of image.conf against what BitBake answered, and in its own words where it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.user import run_as_user

from oe_oci import bbconf
from oe_oci.bbconf import Location, expand, read_conf
from oe_oci.errors import ConfigError, Fault

TESTS = Path(__file__).parent.parent
CASES = json.loads((TESTS / "data/bbconf-cases.json").read_text())
PYTHON_HINT = "inline Python runs only inside BitBake: use the image-oci class, or write the value out"
LINE_HINT = 'a line is NAME = "value", require FILE, include FILE, export NAME, unset NAME, or a comment'
RECIPE_HINT = "only configuration syntax is understood here; keep this in a recipe that inherits image-oci"
NAME_HINT = "BitBake takes one name without overrides here, and for unset also a flag of two or more characters"
LOST_HINT = "an override is lower case, and what its name refers to must be set"


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Reads image.conf of a fresh folder, which is the current one."""
    monkeypatch.chdir(tmp_path)

    def read(text, *settings, defaults=None, **included):
        for name, content in {"image.conf": text, **included}.items():
            path = tmp_path / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_conf("image.conf", defaults=defaults or {}, settings=settings)

    return read


@pytest.fixture
def faults(read):
    """The faults of reading a text, or of asking for A."""

    def faults(text, *settings, **options):
        with pytest.raises(ConfigError) as caught:
            read(text, *settings, **options).get("A")
        return [tuple(fault) for fault in caught.value.faults]

    return faults


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_table(case, tmp_path):
    tmp_path = Path(os.path.realpath(tmp_path))
    for name, text in case["files"].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text.encode())

    def answers():
        variables = read_conf(
            str(tmp_path / "image.conf"), defaults=case.get("defaults", {}), settings=case.get("settings", ())
        )
        asked = {key: key.rstrip("]").partition("[") for key in case.get("expect", variables.names())}
        return {
            key: variables.flag(name, flag) if flag else variables.get(name) for key, (name, _, flag) in asked.items()
        }

    if "error" in case:
        with pytest.raises(ConfigError):
            answers()
    else:
        found = {key: value and value.replace(str(tmp_path), "@DIR@") for key, value in answers().items()}
        assert found == case["expect"]


def test_table_is_bitbakes_own():
    checkout = os.environ.get("OE_OCI_BITBAKE")
    if not checkout:
        pytest.skip("OE_OCI_BITBAKE names no checkout of bitbake")
    script = [sys.executable, str(TESTS / "compare-bbconf.py"), checkout]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_table_is_large_and_its_names_are_unique():
    assert len(CASES) > 250
    assert len({case["name"] for case in CASES}) == len(CASES)


# -- what is refused, and how it is said


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("A = foo", ("image.conf:1: A", "the value is not quoted: A = foo", 'quote the value: A = "foo"')),
        ("A:append := foo", ("image.conf:1: A:append", "the value is not quoted: A:append := foo",
                             'quote the value: A:append := "foo"')),
        ("A[b] += c d", ("image.conf:1: A[b]", "the value is not quoted: A[b] += c d",
                         'quote the value: A[b] += "c d"')),
        ("A =", ("image.conf:1: A", "the value is not quoted: A =", 'quote the value: A = ""')),
        ("A = b 'c'", ("image.conf:1: A", "the value is not quoted: A = b 'c'", 'quote the value: A = "b \'c\'"')),
        ('A = b "c"', ("image.conf:1: A", 'the value is not quoted: A = b "c"', "quote the value: A = 'b \"c\"'")),
        ('A = "b', ("image.conf:1: A", 'the value has no closing quote: "b',
                    "a value that goes on in the next line ends in a backslash")),
        ('A = "b" # c', ("image.conf:1: A", 'there is text after the value: "b" # c',
                         "a comment stands on a line of its own")),
        ('A = "b";', ("image.conf:1: A", 'there is text after the value: "b";',
                      "nothing may follow the closing quote")),
        ('A = "a"b"', ("image.conf:1: A", 'the value holds the quote it stands in: "a"b"', "quote it with '")),
        ("A = 'a'b'", ("image.conf:1: A", "the value holds the quote it stands in: 'a'b'", 'quote it with "')),
        ('= "b"', ("image.conf:1", 'the assignment names no variable: = "b"', "")),
        ('  A = "b"', ("image.conf:1", 'the line begins with blanks:   A = "b"', "begin it in the first column")),
        ("\t# c", ("image.conf:1", "the line begins with blanks: \\x09# c", "begin it in the first column")),
        ("nonsense", ("image.conf:1", "the line can not be understood: nonsense", LINE_HINT)),
        ("x" * 70, ("image.conf:1", f"the line can not be understood: {'x' * 60}…", LINE_HINT)),
        ("a\x1bb", ("image.conf:1", "the line can not be understood: a\\x1bb", LINE_HINT)),
        ("unset A:foo", ("image.conf:1", "the line can not be understood: unset A:foo", NAME_HINT)),
        ("unset A[f]", ("image.conf:1", "the line can not be understood: unset A[f]", NAME_HINT)),
        ("export A B", ("image.conf:1", "the line can not be understood: export A B", NAME_HINT)),
        ("A[_content] = 'x'", ("image.conf:1: A[_content]", "a flag that begins with `_` is internal to BitBake", "")),
        ("A:append[b] = 'x'", ("image.conf:1: A:append[b]", "a flag on `:append` has no effect in BitBake",
                               "write it on the variable itself")),
        ("A:append:b ??= 'x'", ("image.conf:1: A:append:b", "`??=` on `:append` has no effect in BitBake",
                                "write it on the variable itself")),
        ("A:append:${b} = 'x'", ("image.conf:1: A:append:${b}", "BitBake would never make this edit", LOST_HINT)),
        ("A:append:FOO = 'x'", ("image.conf:1: A:append:FOO", "BitBake would never make this edit", LOST_HINT)),
        ("A:append:${B} = 'x'", ("image.conf:1: A:append:${B}", "BitBake would never make this edit", LOST_HINT)),
        ("A" + 33 * ":a" + " = 'x'", ("image.conf:1: A" + 33 * ":a", "more than 32 overrides in one name", "")),
        ("A = 'x\0'", ("image.conf:1", "the line holds a NUL byte", "")),
        ("A = 'x\\", ("image.conf:1: A", "the value has no closing quote: 'x",
                      "a value that goes on in the next line ends in a backslash")),
        ("\\\n\nA = 'x'", ("image.conf:1", "a backslash continues nothing", "take the backslash away")),
        ("# b \\\nA = 'x'", ("image.conf:1", "the comment ends in a backslash, but what follows is no comment",
                             "take the backslash away")),
        ("\ufeffA = 'x'", ("image.conf:1", "the file begins with a byte order mark",
                           "BitBake can not read it; save the file as UTF-8 without one")),
    ],
)  # fmt: skip
def test_refused_line(faults, line, fault):
    assert faults(line + "\n") == [fault]


@pytest.mark.parametrize(
    ("name", "right"),
    [("A_append", "A:append"), ("A_prepend:foo", "A:prepend:foo"), ("A_remove_foo", "A:remove:foo"),
     ("A:foo_append", "A:foo:append")],
)  # fmt: skip
@pytest.mark.parametrize("operator", ["=", "+=", "??="])
def test_old_syntax(faults, name, right, operator):
    [(where, message, hint)] = faults(f'{name} {operator} "x"\n')
    assert where == f"image.conf:1: {name}"
    assert message.endswith("is the syntax of old releases, which BitBake refuses")
    assert hint == f"write {right}"


def test_old_syntax_within_a_word(faults):
    assert faults('A_appendix = "x"\n')[0][2] == "a name can not hold `_append`"


@pytest.mark.parametrize(
    ("line", "what"),
    [("inherit image", "`inherit`"), ("inherit_defer x", "`inherit_defer`"), ("addtask x", "`addtask`"),
     ("deltask x", "`deltask`"), ("addhandler x", "`addhandler`"), ("EXPORT_FUNCTIONS x", "`EXPORT_FUNCTIONS`"),
     ("addpylib a b", "`addpylib`"), ("include_all x.conf", "`include_all`"),
     ("addfragments a b c d", "`addfragments`"), ("def f(d):", "a function"), ("do_x() {", "a function"),
     ("do_x:append () {", "a function"), ("python () {", "a function"), ("python do_x() {", "a function"),
     ("fakeroot python do_x() {", "a function")],
)  # fmt: skip
def test_what_belongs_to_a_recipe(faults, line, what):
    body = {"{": "    if true; then # \\\n    A = x\n\n}\n", ":": "    return 1 \\\n\n    # c\n\n"}.get(
        line[-1], "\n" * 4
    )
    assert faults(f"{line}\n{body}B = y\n") == [
        ("image.conf:1", f"{what} belongs to a recipe or class: {line}", RECIPE_HINT),
        ("image.conf:6: B", "the value is not quoted: B = y", 'quote the value: B = "y"'),
    ]


def test_function_without_end(faults):
    assert [fault[0] for fault in faults("do_x() {\njunk\n")] == ["image.conf:1", "image.conf:2"]


def test_faults_of_a_file_are_reported_together(faults):
    found = faults('A = x\n\nB = "\\\n  y\\\n"\nC_append = "z"\nnonsense\nD = "ok"\n', "E", "F_append=x")
    assert [fault[0] for fault in found] == [
        "image.conf:1: A", "image.conf:6: C_append", "image.conf:7", "--set", "--set: F_append",
    ]  # fmt: skip


def test_too_many_faults_are_cut(faults):
    found = faults("junk\n" * 100)
    assert len(found) == 21
    assert found[-1] == ("image.conf:22", "there are more faults from here on", "")


def test_not_utf8(faults):
    found = faults(b'A = "x"\r\nB = "\xff"\nC = x\n')
    assert found == [
        ("image.conf:2", "byte 0xff is not UTF-8", "save the file as UTF-8"),
        ("image.conf:3: C", "the value is not quoted: C = x", 'quote the value: C = "x"'),
    ]


def test_unreadable_files(tmp_path):
    def fault(path):
        with pytest.raises(ConfigError) as caught:
            read_conf(path, defaults={})
        assert caught.value.exit_code == 2
        return caught.value.faults

    missing = str(tmp_path / "no.conf")
    assert fault(missing) == (Fault(missing, "can not be read: no such file or directory"),)
    assert fault(str(tmp_path)) == (Fault(str(tmp_path), "can not be read: is a directory"),)
    large = tmp_path / "large.conf"
    large.write_bytes(b"#" * (bbconf.FILE_LIMIT + 1))
    assert fault(str(large)) == (Fault(str(large), "the file is too large for a configuration"),)


def test_file_without_permission(tmp_path):
    (tmp_path / "image.conf").write_text("include x.inc\n")
    (tmp_path / "x.inc").write_text("")
    (tmp_path / "x.inc").chmod(0)
    imports = "from oe_oci.bbconf import read_conf\nfrom oe_oci.errors import ConfigError"
    code = """
os.chdir(sys.argv[1])
try: read_conf("image.conf", defaults={})
except ConfigError as error: print(error)
"""
    said = run_as_user(imports, code, tmp_path, within=tmp_path)
    assert said == "image.conf:1: x.inc can not be read: permission denied\n"


# -- inline Python


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('A = "${@1}"', "image.conf:1: A"),
        ("A = \"x\"\nA:append = \" y ${@bb.utils.contains('X', 'y', '', 'z', d)}\"", "image.conf:2: A"),
        ('A = "${B}"\nB = "${@1}"', "image.conf:2: B"),
        ('A = "x"\nA:remove = "${@1}"', "image.conf:2: A:remove"),
        ('OVERRIDES = "foo"\nA = "x"\nA:foo = "${@1}"', "image.conf:3: A"),
        ('OVERRIDES = "${@1}"\nA = "x"', "image.conf:1: OVERRIDES"),
        ('B = "${@1}"\nC := "${B}"', "image.conf:1: B"),
        ('C := "${@1}"', "image.conf:1: C"),
        ('C[ff] := "${@1}"', "image.conf:1: C[ff]"),
        ('A = "${B}@1}"\nB = "${"', "image.conf:1: A"),
        ("A = \"${@'${X}'}\"", "image.conf:1: A"),
        ("include ${@1}.inc", "image.conf:1"),
    ],
)
def test_inline_python(faults, text, where):
    assert faults(text + "\n") == [(where, "the value holds inline Python (`${@…}`)", PYTHON_HINT)]


def test_inline_python_of_a_flag(read):
    variables = read('A[ff] = "${@1}"\nA = "x"\n')
    assert variables.get("A") == "x"
    with pytest.raises(ConfigError) as caught:
        variables.flag("A", "ff")
    assert caught.value.faults == (
        Fault("image.conf:1: A[ff]", "the value holds inline Python (`${@…}`)", PYTHON_HINT),
    )


def test_inline_python_nobody_asks_for(read):
    variables = read('A = "${@1}"\nB = "x"\nC = "${@2}"\nC = "y"\nD:foo = "${@3}"\n')
    assert [variables.get(name) for name in "BCD"] == ["x", "y", None]


# -- cycles and bombs


def test_cycle(faults):
    [(where, message, hint)] = faults('A = "${B}"\nB = "x ${C}"\nC = "${B}"\n')
    assert (where, message) == ("image.conf:2: B", "the value refers to itself: B → C → B")
    assert hint == 'to add to it, write B:append = " …", or B := "${B} …" for the value of that moment'


def test_long_cycle_is_shown_short(faults):
    text = 'A = "${V0}"\n' + "".join(f'V{i} = "${{V{(i + 1) % 50}}}"\n' for i in range(50))
    assert faults(text)[0][1] == (
        "the value refers to itself: V0 → V1 → V2 → V3 → V4 → V5 → … → V45 → V46 → V47 → V48 → V49 → V0"
    )


def test_overrides_that_never_settle(faults):
    assert faults('A = "x"\nOVERRIDES = "a"\nOVERRIDES:a = "b"\nOVERRIDES:b = "a"\n') == [
        ("image.conf:3: OVERRIDES", "the overrides change the value of OVERRIDES again and again", "")
    ]


def test_deep_chain(read):
    text = "".join(f'V{i} = "${{V{i + 1}}}"\n' for i in range(20000))
    assert read(text + 'V20000 = "x"\n').get("V0") == "x"


def test_value_that_grows_beyond_measure(faults):
    text = 'A = "${V0}"\n' + "".join(f'V{i} = "${{V{i + 1}}}${{V{i + 1}}}"\n' for i in range(60))
    [(where, message, _)] = faults(text + 'V60 = "xxxx"\n')
    assert where.startswith("image.conf:")
    assert message == f"the value grows beyond {expand.VALUE_LIMIT} characters"


@pytest.mark.parametrize(
    "text",
    [
        'A = "x"\n' + 'A := "${A}${A}"\n' * 40,
        'A = "${V${V}"\nV = "}}${V${V"\n',
        'B = "xxxxxxxx"\n' + 'B := "${B}${B}"\n' * 18 + "".join(f'B{i} := "${{B}}"\n' for i in range(200)),
    ],
)
def test_work_without_end(faults, monkeypatch, text):
    monkeypatch.setattr(expand, "WORK_LIMIT", 16 << 20)
    [(where, message, _)] = faults(text)
    assert where.startswith("image.conf:")
    assert "grows beyond" in message or "takes too long" in message


# -- files


def test_include_locations(read):
    variables = read(
        'A = "1"\nrequire s/x.inc\nD = "\\\n  1 \\\n"\nE = "2"\n',
        s__x_inc='# c\nB = "1"\nrequire ../y.inc\n',
        y_inc='\nC = "1"\n',
    )
    places = {name: str(variables.location(name)) for name in variables.names()}
    assert places == {
        "A": "image.conf:1",
        "B": "s/x.inc:2",
        "C": "s/../y.inc:2",
        "D": "image.conf:3",
        "E": "image.conf:6",
    }


def test_location_under_another_folder(tmp_path):
    (tmp_path / "image.conf").write_text("require x.inc\n")
    (tmp_path / "x.inc").write_text('A = "1"\n')
    variables = read_conf(str(tmp_path / "image.conf"), defaults={})
    assert variables.location("A") == Location(str(tmp_path / "x.inc"), 1)


def test_fault_of_an_included_file(faults):
    assert faults("require x.inc\n", x_inc="# c\nA = x\n")[0][0] == "x.inc:2: A"


def test_require_faults(faults):
    hint = "looked for beside the file it is required in, and in the folders of BBPATH"
    assert faults("\nrequire no.inc\n") == [("image.conf:2", "no file no.inc", hint)]
    [(where, message, _)] = faults("require x.inc # why\n", x_inc="")
    assert (where, message) == ("image.conf:1", "require can not read #")
    assert faults("include x.txt\n")[0][1] == "include can not read x.txt"


def test_cyclic_require(faults):
    found = faults("require x.inc\n", x_inc="A = '1'\ninclude y.inc\n", y_inc="\nrequire x.inc\n")
    assert found == [("y.inc:2", "the file includes itself: image.conf → x.inc → y.inc → x.inc", "")]


def test_include_without_end(faults):
    files = {f"x{i}_inc": f"require x{i + 1}.inc x{i + 1}.inc\n" for i in range(12)}
    message = "more than 1000 files, or 64 inside each other, are included"
    assert faults("require x0.inc\n", **files, x12_inc="")[0][1] == message
    files = {f"x{i}_inc": f"require x{i + 1}.inc\n" for i in range(100)}
    assert faults("require x0.inc\n", **files) == [("x63.inc:1", message, "")]


def test_strict_continuation_in_an_include(faults):
    assert faults("require x.inc\n", x_inc='\nA = "a \\\n# b \\\nc"\nB = "x"\\') == [
        ("x.inc:2", "a comment stands inside a continued line", "put it above, or below the last line of the value"),
        ("x.inc:4", 'the line can not be understood: c"', LINE_HINT),
        ("x.inc:5", "the last line ends in a backslash", "take the backslash away"),
    ]


# -- settings and defaults


def test_settings(read):
    settings = [
        "A=1 ${B}",
        "B:append= c",
        "C=",
        'D=it\'s "so"',
        "E[ff]=x",
        "F:foo=2",
        "G=a=b",
        "OVERRIDES=foo",
        "A=2 ${B}",
    ]
    variables = read('A = "0"\nB = "b"\nF = "0"\n', *settings)
    assert {name: variables.get(name) for name in "ABCDEFG"} == {
        "A": "2 b c", "B": "b c", "C": "", "D": 'it\'s "so"', "E": None, "F": "2", "G": "a=b",
    }  # fmt: skip
    assert variables.flag("E", "ff") == "x"
    assert variables.location("A") == Location("--set", 0)
    assert str(variables.location("A")) == "--set"
    assert str(variables.location("F")) == "--set"
    assert str(variables.location("B")) == "image.conf:2"
    assert "E" in variables.names()


@pytest.mark.parametrize(
    "setting", ["", "A", "=x", "A =x", " A=x", "A+=x", "A.=x", "A:=x", "A?=x", "A[]=x", "É=x", "A\n=x"]
)
def test_setting_that_is_none(faults, setting):
    [(where, message, hint)] = faults('A = "x"\n', setting)
    assert where == "--set"
    assert message.startswith("no VAR=VALUE: ")
    assert hint == 'VAR may be A, A:append, A:foo or A[flag], as in A = "…"'


def test_setting_faults(faults):
    assert faults("", "A=\udcff") == [("--set: A", "the value is not UTF-8 text", "")]
    assert faults("", "A_append=x")[0][2] == "write A:append"
    assert faults("", "A=${@1}")[0][0] == "--set: A"


def test_defaults(read):
    variables = read('B = "b"\nC ??= "c"\nD:append = "d"\nE += "e"\n', defaults=dict.fromkeys("ACDE", "[${B}]"))
    assert [variables.get(name) for name in "ACDE"] == ["[b]", "c", "[b]d", " e"]
    assert variables.location("A") is None
    assert str(variables.location("C")) == "image.conf:2"
    assert variables.names() == ["A", "B", "C", "D", "E"]


# -- what else can be asked


def test_names(read):
    variables = read(
        'A:append = "x"\nB:foo = "x"\nC[ff] = "x"\nexport D\nE = "x"\nunset E\nF_${G} = "x"\nG = "g"\nH[ff] ??= "x"\n'
    )
    assert variables.names() == ["A", "B", "C", "D", "F_g", "G", "H"]


def test_nothing_is_set(read):
    variables = read("")
    assert variables.names() == []
    assert variables.get("A") is None
    assert variables.flag("A", "ff") is None
    assert variables.location("A") is None


def test_location_is_that_of_the_value_in_force(read):
    variables = read(
        'OVERRIDES = "foo"\nA = "1"\nA:foo = "2"\nA:append = "3"\nB ?= "1"\nB ?= "2"\nC:append = "1"\nC:append = "2"\n'
        'D:remove = "x"\nE[ff] = "x"\nF ??= "1"\nF ??= "2"\nG_${H} = "1"\nH = "h"\nI += "1"\nI += "2"\nJ:bar = "1"\n'
    )
    lines = {name: at and at.line for name in "ABCDEFIJ" for at in [variables.location(name)]}
    assert lines == {"A": 3, "B": 5, "C": 8, "D": 9, "E": 10, "F": 12, "I": 16, "J": None}
    assert str(variables.location("G_h")) == "image.conf:13"


def test_referenced(read):
    variables = read(
        'A = "${B} ${C:foo} ${A}"\nA:append = "${D}"\nE[ff] = "${F}"\nG := "${H}"\nI_${J} = "x"\nK ??= "${${L}}"\n'
        'M = "${M}"\nN = "$O ${P Q}"\n',
        defaults={"R": "${S}"},
    )
    assert sorted(variables.referenced()) == ["B", "C", "D", "F", "H", "J", "L", "S"]


def test_asking_again_gives_the_same(read):
    variables = read('OVERRIDES = "foo"\nA = "${B}"\nB:foo = "x"\n')
    assert [variables.get("A"), variables.get("B"), variables.get("A")] == ["x", "x", "x"]
