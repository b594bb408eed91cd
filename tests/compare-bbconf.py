#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds tests/data/bbconf-cases.json, and `oe_oci.bbconf`, against BitBake's own parser.

Usage: tests/compare-bbconf.py CHECKOUT [--update | --random N [--seed S]]

CHECKOUT is a checkout of bitbake, outside of this repository. Without an option every case of the table is read by
BitBake and must come out as recorded. With `--update` what comes out is recorded: the value of every variable and flag
that is set, and of each that the case already names. With `--random` made-up files are read by both parsers and must
come out equal.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import random
import signal
import sys
import tempfile
from pathlib import Path

TABLE = Path(__file__).parent / "data/bbconf-cases.json"
# What bitbake.conf adds for every recipe, and our reader without it.
PRELUDE = "".join(
    f"{name} = \"${{@os.path.dirname(d.getVar('FILE', False))}}\"\n" for name in ("FILE_DIRNAME", "THISDIR")
)
BUILT_IN = ("FILE", "FILE_DIRNAME", "THISDIR")


def read_by_bitbake(folder, defaults=None):
    """The datastore of folder/image.conf, as it is when a recipe is done."""
    import bb.data
    import bb.data_smart
    import bb.parse

    prelude = folder / "prelude.conf"
    prelude.write_text(PRELUDE + "".join(f'{key} ??= "{value}"\n' for key, value in (defaults or {}).items()))
    data = bb.data_smart.DataSmart()
    bb.parse.handle(str(prelude), data)
    bb.parse.handle(str(folder / "image.conf"), data)
    data = data.createCopy()
    bb.data.expandKeys(data)
    return data


def answers_of_bitbake(folder, case):
    data = read_by_bitbake(folder, case.get("defaults"))
    wanted = dict.fromkeys(case.get("expect", ()))
    for name in data:
        if name and not name.startswith("_") and name not in BUILT_IN:
            wanted[name] = None
            wanted.update(dict.fromkeys(f"{name}[{flag}]" for flag in data.getVarFlags(name) or () if flag[0] != "_"))
    for key in wanted:
        name, _, flag = key.rstrip("]").partition("[")
        value = data.getVarFlag(name, flag) if flag else data.getVar(name)
        wanted[key] = value if value is None else str(value)
    return wanted


def answers_of_ours(folder, case):
    from oe_oci.bbconf import read_conf

    variables = read_conf(str(folder / "image.conf"), defaults=case.get("defaults", {}))
    answers = {}
    for key in case["expect"] if case["expect"] is not None else variables._entries:
        name, _, flag = key.rstrip("]").partition("[")
        answers[key] = variables.flag(name, flag) if flag else variables.get(name)
    return answers


def write_files(folder, case):
    for name, text in case["files"].items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    settings = [setting.partition("=") for setting in case.get("settings", ())]
    with (folder / "image.conf").open("a") as file:
        file.writelines(f'{name} = "{value}"\n' for name, _, value in settings)


def outcome(folder, case, answers, expected_errors):
    try:
        return {"expect": {key: relative(value, folder) for key, value in sorted(answers(folder, case).items())}}
    except expected_errors as error:
        if isinstance(error, TimeoutError):
            raise
        return {"error": True, **({"why": str(error)} if answers is answers_of_ours else {})}


def relative(value, folder):
    return value and value.replace(str(folder), "@DIR@")


def run_table(root, *, update):
    table = json.loads(TABLE.read_text())
    wrong = 0
    for number, case in enumerate(table):
        folder = root / str(number)
        folder.mkdir()
        write_files(folder, case)
        found = outcome(folder, case, answers_of_bitbake, Exception)
        recorded = {key: case[key] for key in ("expect", "error") if key in case}
        if update:
            case.pop("expect", None)
            case.pop("error", None)
            case.update(found)
        elif recorded != found:
            wrong += 1
            print(f"{case['name']}: recorded {recorded}, BitBake says {found}")
    if update:
        lines = ",\n".join(" " + json.dumps(case) for case in table)
        TABLE.write_text(f"[\n{lines}\n]\n")
    print(f"{len(table)} cases, {wrong} differ")
    return bool(wrong)


def run_random(root, count, seed):
    from oe_oci.errors import ConfigError

    wrong = skipped = 0
    for number in range(count):
        folder = root / str(number)
        folder.mkdir()
        case = {"files": made_up(random.Random(f"{seed}-{number}"))}
        write_files(folder, case)
        signal.setitimer(signal.ITIMER_REAL, 5)
        try:
            theirs = outcome(folder, case, answers_of_bitbake, Exception)
        except TimeoutError:
            skipped += 1
            continue
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        ours = outcome(folder, {**case, "expect": theirs.get("expect")}, answers_of_ours, ConfigError)
        if not agree(ours, theirs):
            wrong += 1
            print(f"--- seed {seed}-{number}: ours {ours}, BitBake {theirs}")
            for name, text in case["files"].items():
                print(f"{name}:\n{text}")
    print(f"{count} files, {wrong} differ, {skipped} skipped")
    return bool(wrong)


def agree(ours, theirs):
    """Whether both are equal, or differ as `oe_oci.bbconf` says it does."""
    if "error" in theirs:
        return "error" in ours
    stricter = any(text in ours.get("why", "") for text in ("never make this edit", "has no effect in BitBake"))
    return stricter or ours == theirs


def made_up(rng):
    """A file, and those it may include."""
    kind = rng.random()
    if kind < 0.4:
        return {name: scrambled(rng) for name in ("image.conf", "x.inc", "x.conf")}
    if kind < 0.6:  # few names, so that they meet more often
        writer = Writer(rng, ["A", "A", "A", "B"], ["foo", "bar", "baz"])
        start = 'OVERRIDES = "foo:bar"\nA:foo = "x y foo"\n'
    else:
        writer = Writer(rng, ["A", "B", "C", "A_${B}", "${C}", "A_foo"], ["foo", "bar", "baz", "Up"])
        start = ""
    included = "".join(writer.assignment() for _ in range(3))
    text = start + "".join(writer.statement() for _ in range(rng.randint(1, 9)))
    return {"image.conf": text, "x.inc": included, "x.conf": included}


class Writer:
    """Writes random statements about given variables and overrides."""

    operators = ("=", "=", "=", "?=", "??=", ":=", "+=", "=+", ".=", "=.")
    words = (*("foo", "bar", "baz", "x", "y", "z", " ", "  ", "$", "{B}"),
             *("${A}", "${B}", "${C}", "${A_foo}", "${A:foo}", "${${C}}"))  # fmt: skip

    def __init__(self, rng, names, overrides):
        self.rng, self.names, self.overrides = rng, names, overrides

    def key(self):
        rng = self.rng
        parts = [rng.choice(self.names), *rng.sample(self.overrides, rng.choice([0, 0, 1, 1, 2]))]
        if rng.random() < 0.35:
            parts.insert(rng.randint(1, len(parts)), rng.choice(["append", "prepend", "remove"]))
        if rng.random() < 0.05:
            parts.append("${B}")
        return ":".join(parts)

    def assignment(self):
        rng = self.rng
        flag = rng.choice(["", "", "", "", "[ff]", "[gg]"])
        left = rng.choice(self.names) + flag if flag else self.key()
        value = "".join(rng.choice(self.words) for _ in range(rng.choice([0, 1, 1, 2, 3])))
        return f'{left} {rng.choice(self.operators)} "{value}"\n'

    def statement(self):
        rng, name = self.rng, self.rng.choice(self.names)
        if rng.random() > 0.2:
            return self.assignment()
        overrides = ":".join(rng.sample(["foo", "bar", "baz", "${D}"], rng.randint(0, 3)))
        others = [f'OVERRIDES = "{overrides}"', 'OVERRIDES:append = ":foo"', 'OVERRIDES:append:bar = ":baz"',
                  'D = "bar"', 'D:foo = "baz"', f"unset {name}", f"unset {name}", f"unset {name}[ff]",
                  f"export {name}", "require x.inc", "include x.conf"]  # fmt: skip
        return rng.choice(others) + "\n"


def scrambled(rng):
    """Text that is nearly a configuration: what a file is made of, in any order."""
    lines = [
        'A = "x"',
        "B += 'y z'",
        'A:append = " ${B}"',
        'A[ff] .= "x"',
        "unset A",
        "unset A[ff]",
        "export B",
        "# A",
        "",
        "require x.inc",
    ]
    atoms = [
        "A",
        "B",
        "ff",
        '"',
        "'",
        '"',
        "\\\n",
        "\\\n",
        "\\",
        "\n",
        "#",
        " ",
        "\t",
        "=",
        "+",
        ".",
        "?",
        ":",
        "[",
        "]",
        "export ",
        "unset ",
        "include ",
    ]
    pieces = []
    for _ in range(rng.randint(1, 6)):
        line = list(rng.choice(lines))
        for _ in range(rng.choice([0, 0, 1, 1, 2, 3])):
            place = rng.randint(0, len(line))
            line[place : place + rng.choice([0, 0, 1])] = rng.choice(atoms)
        pieces.append("".join(line))
    return rng.choice(["\n", "\n", "\r\n", "\r"]).join(pieces) + rng.choice(["", "\n", "\\"])


def stop(*_):
    raise TimeoutError


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--random", type=int, metavar="N")
    parser.add_argument("--seed", default="0")
    arguments = parser.parse_args()
    sys.path[:0] = [os.path.join(arguments.checkout, "lib"), str(Path(__file__).parent.parent)]
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, stop)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        root = Path(os.path.realpath(folder))
        if arguments.random:
            return run_random(root, arguments.random, arguments.seed)
        return run_table(root, update=arguments.update)


if __name__ == "__main__":
    sys.exit(main())
