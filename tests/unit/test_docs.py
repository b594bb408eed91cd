# SPDX-License-Identifier: MIT
"""What the documentation says is so: its links, commands, options, configurations, messages and outputs.

In the pages, a block marked `conf` is a whole configuration; `# → NAME = "value"` in it is the value it comes to. One
whose first line is `# name.inc` is that file, for the blocks that follow. `conf wrong` is followed by its message.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support.packages import package, write_feed

from oe_oci import cli
from oe_oci.bbconf import read_conf
from oe_oci.cli import main, make_parser
from oe_oci.configure import command_line_defaults, configure
from oe_oci.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
COMMAND_LINE = (DOCS / "reference" / "command-line.md").read_text(encoding="utf-8")
CACHE = (DOCS / "reference" / "cache.md").read_text(encoding="utf-8")
OUTPUTS = (DOCS / "reference" / "outputs.md").read_text(encoding="utf-8")


class Block(NamedTuple):
    """A fenced block: the page and line it stands at, what is written behind the fence, its text."""

    page: Path
    line: int
    info: str
    text: str


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(page, text.count("\n", 0, match.start()) + 2, match[1].strip(), match[2])
    bare = re.sub(r"^```.*?^```$", lambda match: "\n" * match[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)
    for match in re.finditer(r"(?<=\n\n)(?:    .*\n|\n(?=    ))+", bare):
        lines = match[0].split("\n")
        yield Block(page, bare.count("\n", 0, match.start()) + 1, "indented", "\n".join(line[4:] for line in lines))


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


BLOCKS = [block for page in PAGES for block in blocks(page)]


def of_kind(*infos: str) -> list[Any]:
    found = [block for block in BLOCKS if block.info in infos]
    return [pytest.param(block, id=f"{name(block.page)}:{block.line}") for block in found]


# Links


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", re.sub(r"\[(.*?)\]\(.*?\)", r"\1", head)) for head in heads)
    return {head.strip().lower().replace(" ", "-") for head in plain}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page != DOCS / "index.md" and DOCS in page.parents], ids=name
)
def test_index_lists_every_page(page: Path) -> None:
    index = DOCS / "index.md"
    if page.parent.name == "adr":
        index = DOCS / "adr" / "README.md" if page.name != "README.md" else index
    assert f"]({page.relative_to(index.parent)})" in index.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=name)
def test_lines_fit(page: Path) -> None:
    long = [line for line in prose(page).splitlines() if len(line) > 120 and not line.startswith(("|", "    "))]
    assert not long


# Commands


def commands(parser: argparse.ArgumentParser | None = None) -> dict[str, argparse.ArgumentParser]:
    """Those that do something by their words."""
    found = {}
    for action in (parser or make_parser())._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                found |= {f"{name} {word}": each for word, each in commands(below).items()} or {name: below}
    return found


def options_of(words: list[str]) -> set[str]:
    """The options that a call may have, by the command it begins with."""
    for count in (2, 1):
        if " ".join(words[:count]) in commands():
            return options(commands()[" ".join(words[:count])])
    return options(make_parser())


def options(parser: argparse.ArgumentParser) -> set[str]:
    return {option for action in parser._actions for option in action.option_strings}


def calls(text: str) -> list[list[str]]:
    """The words after `oe-oci` of every call in a shell text."""
    found = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        for part in re.split(r"&&|\|\||;|\|(?![A-Z])", line):
            match = re.match(
                r"\s*(?:\$ )?(?:(?:[A-Z_]+=(?:\$\(.*?\)|\S+)|fakeroot|sudo|if|!) )*(?:\S*/)?oe-oci\s(.*)", part
            )
            if match:
                found.append(shlex.split(re.sub(r"\d?>.*", "", match[1]), comments=True))
    return found


@pytest.mark.parametrize("block", of_kind("sh", "indented"))
def test_calls_are_understood(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    for words in calls(block.text):
        if "COMMAND" in words or {"--help", "--version"} & {*words}:
            continue
        # argparse would take a part of an option's name for it.
        assert {word for word in words if word.startswith("--")} <= options_of(words)
        try:
            make_parser().parse_args(words)
        except SystemExit:
            pytest.fail(f"oe-oci {' '.join(words)}: {capsys.readouterr().err}")


# Of tar and skopeo.
OTHERS_OPTIONS = {"--acls", "--all", "--preserve-digests", "--sparse", "--xattrs"}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_options_in_the_text_exist(page: Path) -> None:
    known = {option for parser in commands().values() for option in options(parser)} | options(make_parser())
    for code in re.findall(r"`([^`\n]+)`", prose(page)):
        if re.match(r"--[a-z]|-[a-z]\b(?!-)", code) and code not in OTHERS_OPTIONS:
            assert code.split()[0] in known, code
        for words in calls(code):
            given = {word for word in words if word.startswith("-")}
            assert given <= options_of(words) or words[0] == "COMMAND", code


def section(command: str) -> str:
    page = CACHE if command.startswith("cache ") else COMMAND_LINE
    match = re.search(rf"^## `oe-oci {command}`$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert match, f"no section for {command}"
    return match[1]


@pytest.mark.parametrize("command", commands())
def test_reference_has_every_command_and_option(command: str) -> None:
    common = COMMAND_LINE.partition("## `oe-oci build`")[0] + CACHE.partition("## `oe-oci cache ls`")[0]
    for option in options(commands()[command]):
        assert re.search(rf"^\| (`[^|]*`, )?`{option}[` ]", common + section(command), re.MULTILINE), option
    assert re.search(rf"oe-oci {command}\s", section(command))


def test_reference_has_every_exit_status() -> None:
    described = re.findall(r"^\| (\d+) \|", COMMAND_LINE, re.MULTILINE)
    text = cli.__doc__ or ""
    assert described == re.findall(r"(?<!\S)(\d+) ", text[text.index("Exit status") :])
    assert described == re.findall(r"(\d+) ", (make_parser().epilog or "").partition("Exit status")[2])


@pytest.mark.parametrize(
    ("command", "module"), [("lint", "lint.py"), ("verify", "oci/verify.py"), ("cache verify", "audit.py")]
)
def test_reference_has_every_rule(command: str, module: str) -> None:
    source = (ROOT / "oe_oci" / module).read_text(encoding="utf-8")
    rules = set(re.findall(r"(?:\badd|_fault|Violation)\(\s*\"([a-z-]+)\"", source))
    if command == "lint":
        rules |= set(re.findall(r'"rule": "([a-z]+)"', (ROOT / "oe_oci" / "commands.py").read_text(encoding="utf-8")))
    listed = re.findall(r"^\| ((?:`[a-z-]+`(?:, )?)+) \|", section(command), re.MULTILINE)
    assert rules == {rule for cell in listed for rule in re.findall(r"[a-z-]+", cell)}


# Configurations


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def included(block: Block) -> str:
    match = re.match(r"# ([\w.-]+\.inc)\n", block.text)
    return match[1] if match else ""


def write_files(block: Block) -> None:
    for other in blocks(block.page):
        if other.info == "conf" and other.line < block.line and included(other):
            Path(included(other)).write_text(other.text, encoding="utf-8")
    Path("image.conf").write_text(block.text, encoding="utf-8")


def configured(folder: Path, *settings: str):
    defaults = command_line_defaults("image.conf", "x86_64", "", "/home/user/.cache/oe-oci")
    variables = read_conf("image.conf", defaults=defaults, settings=settings)
    return variables, configure(variables, folder=str(folder), feeds=["/feed"])


@pytest.mark.parametrize("block", of_kind("conf"))
def test_configuration_is_right(block: Block, elsewhere: Path) -> None:
    write_files(block)
    variables, config = configured(elsewhere, "IMAGE_ROOTFS=/rootfs")
    for variable, value in re.findall(r'^# → (\S+) = "(.*)"$', block.text, re.MULTILINE):
        assert variables.get(variable) == value, variable
    assert config.notes == ()


@pytest.mark.parametrize(
    "block", [param for param in of_kind("indented") if re.match(r"[A-Z_]+ ", param.values[0].text)]
)
def test_indented_configuration_is_right(block: Block, elsewhere: Path) -> None:
    write_files(block)
    configured(elsewhere, "IMAGE_ROOTFS=/rootfs")


@pytest.mark.parametrize("block", of_kind("conf wrong"))
def test_wrong_configuration_has_the_message_shown(block: Block, elsewhere: Path) -> None:
    write_files(block)
    (message,) = [each for each in blocks(block.page) if each.line == block.line + block.text.count("\n") + 3]
    with pytest.raises(ConfigError) as raised:
        configured(elsewhere, "IMAGE_ROOTFS=/rootfs")
    assert message.info == "text"
    assert f"{raised.value}\n" == message.text.removeprefix("oe-oci: ")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_variables_in_the_text_exist(page: Path) -> None:
    pages = [DOCS / "reference" / name for name in ("variables.md", "oci-multiarch.md")]
    table = "".join(page.read_text(encoding="utf-8") for page in pages)
    # Of the older class, and a misspelt one.
    others = {"OCI_IMAGE_BACKEND_INC", "OCI_LAYER_COUNT", "OCI_PM_DEPENDS", "OCI_REUSE_IMAGE", "OCI_IMAGE_PORT"}
    own = set(re.findall(r"^    (OCI_\w+) =", prose(page), re.MULTILINE))
    named = set(re.findall(r"\bOCI_[A-Z_]+[A-Z]\b", prose(page))) - others - own
    assert named <= set(re.findall(r"`(OCI_[A-Z_]+)[`\[]", table))


# JSON


def keys(value: Any) -> set[str]:
    if isinstance(value, list):
        return {key for each in value for key in keys(each)}
    if not isinstance(value, dict):
        return set()
    return {
        *value,
        *(key for part, inner in value.items() if part not in ("labels", "annotations") for key in keys(inner)),
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two small images the second is on the first, of two of packages too; the feed `new` upgrades a package."""
    folder = tmp_path_factory.mktemp("docs")
    rootfs = folder / "rootfs"
    (rootfs / "etc").mkdir(parents=True)
    (rootfs / "etc" / "one").write_text("1")
    (rootfs / "etc" / "two").hardlink_to(rootfs / "etc" / "one")
    (rootfs / "link").symlink_to("etc/one")
    (folder / "base.conf").write_text('OCI_LAYERS = "all:directories:/"\nOCI_IMAGE_SUBARCH = "v1"\n')
    (folder / "app.conf").write_text(
        'OCI_BASE_IMAGE = "base"\nOCI_IMAGE_SUBARCH = "v1"\nOCI_IMAGE_PATHS = "/etc:remove"\n'
        'OCI_LAYERS = "a:host:base.conf:/,base.conf:/ b:files:/link"\n'
    )
    (folder / "below.conf").write_text('OCI_LAYERS = "lib:packages:lib"\nOCI_IMAGE_SUBARCH = "v1"\n')
    (folder / "packages.conf").write_text(
        'OCI_BASE_IMAGE = "below"\nOCI_IMAGE_SUBARCH = "v1"\nOCI_LAYERS = "programs:packages:tool,lib"\n'
    )
    (folder / "upgrade.conf").write_text(
        'OCI_BASE_IMAGE = "below"\nOCI_LAYERS = "programs:packages:newer"\nOCI_PACKAGE_SCRIPTS = "skip"\n'
    )
    script = {"postinst": "#!/bin/sh\n"}
    write_feed(folder / "feed", [package("lib"), package("part"), package("tool", Depends="part")])
    write_feed(folder / "new", [package("lib", "2"), package("newer", scripts=script, Depends="lib (>= 2)")])
    return folder


def output(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    monkeypatch.chdir(folder)
    assert main(words) in (0, 4), capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_json_fields_are_described(
    built: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = OUTPUTS[OUTPUTS.index("| Field |") :] + section("build")
    of_packages = OUTPUTS[OUTPUTS.index("### Packages") :]
    feeds = ["--feed", "feed", "--feed", "new"]
    wanted = [
        (["build", "base.conf", "--rootfs", "rootfs"], report),
        (["build", "base.conf", "--rootfs", "rootfs", "--set", "OCI_LAYER_COMPRESSION=none"], report),
        (["build", "app.conf", "--rootfs", "rootfs"], report),
        (["plan", "app.conf", "--rootfs", "rootfs"], section("plan")),
        (["plan", "app.conf", "--rootfs", "rootfs", "--set", "OCI_LAYER_COMPRESSION=none"], section("plan")),
        (["build", "below.conf", *feeds], report),
        (["build", "packages.conf", *feeds], report),
        (["build", "upgrade.conf", *feeds], report),
        (["plan", "upgrade.conf", *feeds], section("plan") + of_packages),
        (["lint", "app.conf"], section("lint")),
        (["inspect", "deploy/app-oci"], section("inspect")),
        (["diff", "deploy/base-oci", "deploy/app-oci"], section("diff")),
        (["unpack", "--rootless", "deploy/app-oci", "out"], section("unpack")),
    ]
    for words, text in wanted:
        found = output(built, monkeypatch, capsys, words[0], "--json", "-q", *words[1:])
        assert found
        bare = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        described = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", bare))))
        names = keys(found) - {key for key in keys(found) if key.endswith(".tar")}
        assert names <= described, words


def test_example_of_the_report_has_the_fields_of_a_report(
    built: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = (
        json.loads(block.text) for block in BLOCKS if block.info == "json" and block.page.name == "outputs.md"
    )
    output(built, monkeypatch, capsys, "build", "--json", "below.conf", "--feed", "feed")
    output(built, monkeypatch, capsys, "build", "--json", "packages.conf", "--feed", "feed", "--set", "PV=2")
    found = json.loads(Path("deploy/packages-oci.json").read_text(encoding="utf-8"))
    del found["image"]["platform"]["variant"]
    for value in (example, found):
        value["outputs"]["archives"] = list(value["outputs"]["archives"].values())
    assert keys(found) == keys(example)


# The tutorial


def masked(text: str) -> str:
    """What a machine prints without what differs between machines: numbers, digests, sizes, architecture, blanks."""
    text = re.sub(r"\b(amd64|arm64)\b", "ARCH", text)
    text = re.sub(r"\b[0-9a-f]{12,64}\b", "HEX", text)
    text = re.sub(r"\d+(\.\d+)?( [kMG]?B\b)?", "N", text)
    return re.sub(r"[ \t]+", " ", text).strip()


def test_tutorial_prints_what_it_shows(tmp_path: Path) -> None:
    programs = ("cat", "ldd", "ls", "python3", "sh")
    if not all(map(shutil.which, programs)):
        pytest.skip(f"needs {', '.join(programs)}")
    pairs: list[tuple[str, list[str]]] = []
    for block in sorted(blocks(DOCS / "tutorial.md"), key=lambda block: block.line):
        if block.info == "sh":
            elsewhere = re.match(r"(podman|docker|python3) ", block.text)  # what a test can not do, or has done
            pairs.append(("" if elsewhere else block.text, []))
        elif block.info == "text":
            pairs[-1][1].append(block.text)
    program = tmp_path / "bin" / "oe-oci"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m oe_oci "$@"\n')
    program.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    mark = "=== end of a block ==="
    script = "".join(f"{{ {text or ':'}\n}} 2>&1\necho '{mark}'\n" for text, _ in pairs)
    env = {"PATH": f"{program.parent}:/usr/bin:/bin", "HOME": str(home), "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
    # It begins in a clone, and goes to a folder of its own.
    done = subprocess.run(["sh", "-c", script], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    printed = done.stdout.replace(str(home), "/home/you").split(f"{mark}\n")
    assert len(printed) == len(pairs) + 1
    for found, (text, shown) in zip(printed, pairs):
        if text and shown:
            assert masked(found) == masked("".join(shown)), text
        elif text:
            assert found == ""
