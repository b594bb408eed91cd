# SPDX-License-Identifier: MIT
"""What rpm refuses to install by what a package says that it needs is refused as a layer too, and nothing else is."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

import pytest
from support import tools
from support.rpmfeeds import element, facts, primary
from support.rpmlayers import Build
from support.rpms import package

from oe_oci.errors import ConfigError, InputError
from oe_oci.packages.rpm.pool import Pool, spooled

if TYPE_CHECKING:
    from pathlib import Path

    from support.rpms import Made


def rpm_takes(made: Made, folder: Path) -> bool:
    """Whether the real rpm would install a package."""
    tools.need("rpm")
    words = ["--root", folder / "root", "--dbpath", "/var/lib/rpm", "--nosignature", "--force-debian", "--test"]
    (folder / "root").mkdir(exist_ok=True)
    return tools.run("rpm", *words, "-i", made.write(folder), status=None, timeout=30).returncode == 0


def is_taken(made: Made, folder: Path) -> bool:
    try:
        Build(folder / "feed", [made]).layers(made.name)
    except (ConfigError, InputError):
        return False
    return True


def features() -> list[str]:
    """The features that this rpm has."""
    tools.need("rpm")
    return re.findall(r"^ +(rpmlib\(.*\) = .*)$", tools.run("rpm", "--showrc").stdout, re.MULTILINE)


def test_every_feature_that_rpm_has_is_known(tmp_path):
    found = features()
    assert len(found) > 10
    assert is_taken(package("a", requires=[*found, *(one.replace(" = ", " <= ") for one in found)]), tmp_path)


@pytest.mark.parametrize(
    "needed",
    [
        "rpmlib(FileDigests) <= 4.6.0-2",
        "rpmlib(FileDigests) <= 4.6.0",
        "rpmlib(FileDigests) <= 4.5.9-1",
        "rpmlib(FileDigests) < 4.6.0-1",
        "rpmlib(FileDigests) < 5",
        "rpmlib(FileDigests) >= 4.6.0-1",
        "rpmlib(FileDigests) > 4.6.0-1",
        "rpmlib(FileDigests) = 4.6.0-1",
        "rpmlib(PayloadFilesHavePrefix) <= 4.0.1-1",
        "rpmlib(PayloadFilesHavePrefix) <= 4.0-2",
        "rpmlib(ShortCircuited) <= 4.9.0-1",
        "rpmlib(NothingYet) <= 9.9-1",
        "rpmlib(NothingYet)",
        "rpmlib()",
    ],
)
def test_features(needed, tmp_path):
    made = package("a", requires=[needed])
    assert is_taken(made, tmp_path) == rpm_takes(made, tmp_path)


# ---- rich relations

WORDS = ("a", "b >= 1", "c(x)", "/bin/d", "lib(y(z))(64bit) = 2:1-3", "a<b", "e")
ODD = ("a >=1", "a >=", "<", "f,", "g\t", "(", ")", "", "a b", "or")
OPERATORS = ("and", "or", "or", "with", "if", "unless", "without")


def drawn(number: int) -> list[str]:
    """Rich relations as they come: most are well formed, some nearly."""
    rnd = random.Random(number)

    def group(depth: int) -> str:
        operator = rnd.choice(OPERATORS)
        several = operator in ("and", "or", "with")
        operators = [operator] * (rnd.choice((0, 1, 1, 2, 3)) if several else 1)
        if operator in ("if", "unless") and rnd.random() < 0.4:
            operators.append("else")
        if rnd.random() < 0.06:
            operators.insert(rnd.randint(0, len(operators)), rnd.choice((*OPERATORS, "else", "xor")))
        joined = [operand(depth), *(word for each in operators for word in (each, operand(depth)))]
        text = rnd.choice((" ", " ", " ", "  ")).join(joined)
        return f"({text})" if rnd.random() < 0.98 else f"({text}"

    def operand(depth: int) -> str:
        if depth and rnd.random() < 0.35:
            return group(depth - 1)
        return rnd.choice(ODD) if rnd.random() < 0.03 else rnd.choice(WORDS)

    return sorted({group(2) for _ in range(500)})


def taken_by_rpm(texts: list[str], folder: Path) -> set[str]:
    """Those that the real rpm understands; of the others it says what is wrong."""
    tools.need("rpm")
    (folder / "root").mkdir(exist_ok=True)
    made = package("a", requires=texts).write(folder)
    words = ["--root", folder / "root", "--dbpath", "/var/lib/rpm", "--nosignature", "--force-debian", "--test"]
    said = tools.run("rpm", *words, "-ivv", made, status=None, timeout=60).stderr
    lines = re.findall(r"^D:  Requires: (\(.*?) +(?:NO|YES) +\((?:rich|cached)\)$", said, re.MULTILINE)
    return {line.strip() for line in lines} & set(texts)


@pytest.mark.parametrize("number", range(5))
def test_rich_relations(number, tmp_path):
    texts = drawn(number)
    understood = taken_by_rpm(texts, tmp_path)
    assert 50 < len(understood) < len(texts) - 50
    read = 0
    for text in texts:
        data = primary([element(facts("a 1")._replace(relations={"needs": [text]}))])
        pool = Pool()
        try:
            with spooled(data) as file:
                (one,) = pool.add(file, "feed", 0).solvables
        except InputError:
            # What rpm takes for a blank libsolv does not; and of what an `else` alone means nobody says anything.
            assert text not in understood or re.search(r"[,\t]|else", text), text
        else:
            read += 1
            assert text in understood
            # libsolv has it too, and a relation of what we read of it.
            assert len(one.lookup_deparray(pool.solv.SOLVABLE_REQUIRES)) == 1
    assert read > 0.8 * len(understood)
