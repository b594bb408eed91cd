# SPDX-License-Identifier: MIT
from __future__ import annotations

from collections import Counter

import pytest
from support import headers

from oe_oci.errors import InputError
from oe_oci.packages.maintainer.rpmtriggers import (
    FileTrigger,
    Owner,
    Placed,
    Trigger,
    file_triggers_of,
    set_off,
    set_off_at_end,
    set_off_by_files,
    set_off_by_files_there,
    set_off_by_others,
    triggers_of,
)
from oe_oci.packages.maintainer.scripts import Script
from oe_oci.packages.package import Installed
from oe_oci.packages.rpm.header import Header
from oe_oci.packages.rpm.relation import Relation
from oe_oci.packages.rpm.tags import TRIGGERIN, TRIGGERPOSTUN, TRIGGERPREIN, TRIGGERUN

LESS, EQUAL, MORE = 2, 8, 4


def header(name: str = "shop", **values) -> Header:
    return Header(headers.package(name, **values)[1], f"{name} 1")


def triggers(texts=("a\n", "b\n"), **values):
    """The tags of two triggers on three packages, or other ones."""
    given = {
        "_1065": list(texts),
        "_1092": ["/bin/sh", "<lua>"][: len(texts)],
        "_1066": ["libc", "libc", "perl"],
        "_1067": ["", "2.0-1", ""],
        "_1068": [TRIGGERIN, TRIGGERUN | LESS | EQUAL, TRIGGERIN],
        "_1069": [0, 1, 0],
        **values,
    }
    return {tag: value for tag, value in given.items() if value is not None}


class TestHeaders:
    def test_triggers(self):
        found = triggers_of(header(**triggers(), _5027=[0, 2], _1098=["/usr"]))
        assert [(one.sense, one.relation, one.number, one.script.name) for one in found] == [
            (TRIGGERIN, Relation("libc"), 0, "triggerin"),
            (TRIGGERUN, Relation("libc", "", "<=", "2.0-1"), 1, "triggerun"),
            (TRIGGERIN, Relation("perl"), 0, "triggerin"),
        ]
        script = Script("rpm", "shop", "noarch", "triggerun", ("<lua>",), b"b\n", flags=2, prefixes=("/usr",))
        assert found[1].script == script
        assert triggers_of(header()) == []

    def test_interpreters_go_without_saying(self):
        assert triggers_of(header(**triggers(_1092=None)))[0].script.interpreter == ("/bin/sh",)

    def test_file_triggers(self):
        values = {
            "_5066": ["a\n", "b\n"],
            "_5067": ["/bin/sh", "/bin/sh"],
            "_5069": ["/opt", "/usr/lib", "/usr/share"],
            "_5070": [0, 1, 0],
            "_5071": ["", "", ""],
            "_5072": [TRIGGERIN, TRIGGERPOSTUN, TRIGGERIN],
            "_5084": [1_000_000, 100],
        }
        found = file_triggers_of(header(**values))
        assert [(one.sense, one.prefixes, one.priority, one.number, one.script.name) for one in found] == [
            (TRIGGERIN, ("/opt", "/usr/share"), 1_000_000, 0, "filetriggerin"),
            (TRIGGERPOSTUN, ("/usr/lib",), 100, 1, "filetriggerpostun"),
        ]
        assert file_triggers_of(header(**values), transaction=True) == []
        # The same in the tags of whole transactions.
        moved = dict(zip(("_5076", "_5077", "_5079", "_5080", "_5081", "_5082", "_5085"), values.values()))
        found = file_triggers_of(header(**moved), transaction=True)
        assert [one.script.name for one in found] == ["transfiletriggerin", "transfiletriggerpostun"]

    @pytest.mark.parametrize(
        "values",
        [
            triggers(_1069=[0, 2, 0]),
            triggers(_1067=["", ""]),
            triggers(_1092=["/bin/sh"]),
            triggers(_5027=[1]),
            {"_5066": ["a"], "_5069": ["/"], "_5070": [0], "_5071": [""], "_5072": [TRIGGERIN]},
        ],
    )
    def test_damage(self, values):
        read = triggers_of if "_1066" in values else file_triggers_of
        with pytest.raises(InputError, match=r"^shop 1: damaged header: "):
            read(header(**values))


# ---- what runs


def there(name: str, version: str = "1") -> Installed:
    return Installed(name, version, "noarch", {})


def on(owner: str, *relations: str, sense: int = TRIGGERIN, number: int = 0) -> list[Trigger]:
    """The entries of one trigger."""
    script = Script("rpm", owner, "noarch", "triggerin", ("/bin/sh",), str(number).encode())
    split = (relation.split() for relation in relations)
    return [Trigger(sense, Relation(words[0], "", *words[1:]), number, script) for words in split]


def fits(relation: Relation, one: Installed) -> bool:
    return {"<": int.__lt__, "=": int.__eq__, ">": int.__gt__}[relation.operator](
        int(one.version), int(relation.version)
    )


def ran(scripts: list[Script]) -> list[str]:
    return [" ".join((one.package, one.data.decode(), *one.words)) for one in scripts]


COUNTS = Counter(libc=2, perl=1, tcl=1, a=1, b=3, new=2, old=1)


class TestPackages:
    def test_all_that_wait_for_a_package(self):
        owners = [
            Owner(there("b"), on("b", "perl", "libc")),
            Owner(there("a"), on("a", "libc")),
            Owner(there("c"), on("c", "perl")),
        ]
        assert ran(set_off(TRIGGERIN, there("libc"), owners, COUNTS, fits)) == ["b 0 3 2", "a 0 1 2"]

    def test_versions(self):
        owners = [Owner(there("a"), on("a", "libc > 2")), Owner(there("b"), on("b", "libc < 2"))]
        assert ran(set_off(TRIGGERIN, there("libc", "1"), owners, COUNTS, fits)) == ["b 0 3 2"]

    def test_what_is_done_when(self):
        mine = [
            entry
            for number, sense in enumerate((TRIGGERPREIN, TRIGGERIN, TRIGGERUN, TRIGGERPOSTUN))
            for entry in on("a", "libc", sense=sense, number=number)
        ]
        for number, sense in enumerate((TRIGGERPREIN, TRIGGERIN, TRIGGERUN, TRIGGERPOSTUN)):
            found = set_off(sense, there("libc"), [Owner(there("a"), mine)], COUNTS, fits)
            assert ran(found) == [f"a {number} 1 2"]

    def test_one_of_each_package(self):
        mine = [*on("a", "libc > 5", number=0), *on("a", "libc", number=1), *on("a", "libc > 0", number=2)]
        assert ran(set_off(TRIGGERIN, there("libc"), [Owner(there("a"), mine)], COUNTS, fits)) == ["a 1 1 2"]

    def test_what_a_new_package_does_for_those_that_are_there(self):
        mine = [*on("a", "libc", "perl", number=1), *on("a", "perl > 5", "tcl", "none", number=0)]
        packages = [there("perl"), there("perl", "7"), there("libc"), there("tcl")]
        # The first script runs once; where it is perl's turn the first entry alone counts.
        found = set_off_by_others(TRIGGERIN, Owner(there("a"), mine), packages, COUNTS, fits)
        assert ran(found) == ["a 1 1 2", "a 0 1 1"]
        assert set_off_by_others(TRIGGERUN, Owner(there("a"), mine), packages, COUNTS, fits) == []

    def test_a_program_without_a_text_gets_no_word(self):
        (entry,) = on("a", "libc")
        entry = entry._replace(script=entry.script._replace(interpreter=("/sbin/ldconfig",), data=b""))
        (script,) = set_off(TRIGGERIN, there("libc"), [Owner(there("a"), [entry])], COUNTS, fits)
        assert script.words == ()


def files(owner: str, *prefixes: str, priority: int = 1_000_000, number: int = 0, sense=TRIGGERIN) -> FileTrigger:
    script = Script("rpm", owner, "noarch", "filetriggerin", ("/bin/sh",), str(number).encode())
    return FileTrigger(sense, prefixes, priority, number, script)


def fed(scripts: list[Script]) -> list[str]:
    return [f"{told}: {one.input.decode()}" for told, one in zip(ran(scripts), scripts)]


class TestFiles:
    NEW = Placed("new", ("/usr/bin/x", "/usr/lib", "/usr/lib/l", "/usr/lib64/m", "/usr/share/s"))
    OLD = Placed("old", ("/usr/lib/k", "/usr/share/t"))

    def test_paths_that_begin_so(self):
        owners = [[files("a", "/usr/share", "/usr/lib")], [files("b", "/opt")], [files("b", "/usr/lib/", number=1)]]
        assert fed(set_off_by_files(TRIGGERIN, self.NEW, owners, COUNTS, early=True)) == [
            "a 0 1 2: /usr/share/s\n/usr/lib\n/usr/lib/l\n/usr/lib64/m\n",
            "b 1 3 2: /usr/lib/l\n",
        ]
        assert set_off_by_files(TRIGGERUN, self.NEW, owners, COUNTS, early=True) == []

    def test_priorities(self):
        mine = [files("a", "/", number=1, priority=9999), files("a", "/", number=0, priority=10_000)]
        others = [files("b", "/", number=number, priority=20_000 - number % 2) for number in range(3)]
        found = set_off_by_files(TRIGGERIN, self.NEW, [mine, others], COUNTS, early=True)
        assert ran(found) == ["b 0 3 2", "b 2 3 2", "b 1 3 2", "a 0 1 2"]
        assert ran(set_off_by_files(TRIGGERIN, self.NEW, [mine], COUNTS, early=False)) == ["a 1 1 2"]

    def test_what_a_new_package_does_for_files_that_are_there(self):
        mine = [files("a", "/usr/share", "/usr/lib"), files("a", "/opt", number=1)]
        found = set_off_by_files_there(TRIGGERIN, mine, [self.OLD, self.NEW], COUNTS, early=True)
        paths = "/usr/share/t\n/usr/share/s\n/usr/lib/k\n/usr/lib\n/usr/lib/l\n/usr/lib64/m\n"
        assert fed(found) == [f"a 0 1 1: {paths}"]
        assert set_off_by_files_there(TRIGGERIN, mine, [self.OLD], COUNTS, early=False) == []

    def test_the_end(self):
        owners = [[files("b", "/usr/share")], [files("a", "/usr/lib", priority=2_000_000)]]
        assert fed(set_off_at_end(TRIGGERIN, owners, [self.NEW, self.OLD], COUNTS)) == [
            "a 0 1: /usr/lib\n/usr/lib/l\n/usr/lib64/m\n/usr/lib/k\n",
            "b 0 3: /usr/share/s\n/usr/share/t\n",
        ]

    def test_what_is_searched_later_is_found_by_its_directory(self):
        for prefix, found in (("/usr/bin/x", []), ("/usr/bin/", ["a 0 1"]), ("/usr/bin", ["a 0 1"])):
            assert ran(set_off_at_end(TRIGGERIN, [[files("a", prefix)]], [self.NEW], COUNTS)) == found
            assert ran(set_off_by_files(TRIGGERIN, self.NEW, [[files("a", prefix)]], COUNTS, early=True))

    def test_names_that_are_no_text(self):
        odd = Placed("new", ("/usr/\udce4",))
        (script,) = set_off_by_files(TRIGGERIN, odd, [[files("a", "/usr")]], COUNTS, early=True)
        assert script.input == b"/usr/\xe4\n"
