# SPDX-License-Identifier: MIT
"""Whatever bytes metadata and headers have, they are read or refused."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from support import rpms, tools
from support.rpmfeeds import element, facts, package, primary

from oe_oci.errors import InputError
from oe_oci.packages.rpm import clauses, repomd, rich
from oe_oci.packages.rpm.entered import entered
from oe_oci.packages.rpm.entries import find_rich
from oe_oci.packages.rpm.features import check_features
from oe_oci.packages.rpm.header import Header
from oe_oci.packages.rpm.primary import document
from oe_oci.packages.rpm.primary import package as metadata
from oe_oci.packages.rpm.relation import RICH, leaves, parse

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "shop 1:2-3 ; needs libc >= 2, (a or (b if c)), /bin/sh ; likes d ; obsoletes e < 1 ; files /usr/bin/shop /etc/x"
REPOMD = (
    b'<repomd><data type="primary"><checksum type="sha256">'
    + b"0" * 64
    + b'</checksum><location href="p"/></data></repomd>'
)
CHANGES = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255), st.booleans()), min_size=1, max_size=4)


def changed(data: bytes, changes: list[tuple[int, int, bool]]) -> bytes:
    """The same bytes with some changed, and cut off after some."""
    changing = bytearray(data)
    for place, byte, cut in changes:
        if changing:
            changing[place % len(changing)] = byte
            if cut and byte < 32:
                del changing[place % len(changing) :]
    return bytes(changing)


@settings(max_examples=400, deadline=None)
@given(CHANGES)
def test_headers(changes):
    data = package(facts(TEXT)).header
    with contextlib.suppress(InputError):
        header = Header(changed(data, changes), "shop")
        assert document([metadata(header)]).startswith(b"<?xml")
        check_features(header)
        assert entered(header, Header(rpms.header({1000: (rpms.INT32, 1)}, 62), "signature"), 0, {0, 2}).data


@settings(max_examples=300, deadline=None)
@given(st.text("()ab ifor<=1/", max_size=60))
def test_relations(text):
    assert all(relation.operator != RICH for relation in leaves(text))
    assert parse(text) or not text.strip()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(["(", ")", "a", "b >= 1", " ", " or ", " and ", " if ", " else ", " with ", ","])))
def test_rich_relations(parts):
    with contextlib.suppress(rich.MalformedError):
        node = rich.parse(f"({''.join(parts)}")
        assert clauses.packages(node, lambda _: 2, conflict=True) > 0
        assert clauses.packages(node, lambda _: 2, conflict=False) > 0


@settings(max_examples=200, deadline=None)
@given(CHANGES)
def test_rich_relations_of_metadata(changes):
    data = primary([element(facts(TEXT)), element(facts("other 1 ; needs (a and b) ; conflicts (c if d)"))])
    with contextlib.suppress(InputError):
        found = find_rich(io.BytesIO(changed(data, changes)), "feed")
        assert all(rich.parse(one.text).operator for one in found)


@settings(max_examples=200, deadline=None)
@given(CHANGES, st.sampled_from([REPOMD, REPOMD.replace(b"repomd", "r\xe9".encode())]))
def test_repomd(tmp_path_factory, changes, data):
    folder: Path = tmp_path_factory.getbasetemp() / "repomd"
    (folder / "repodata").mkdir(parents=True, exist_ok=True)
    (folder / "repodata" / "repomd.xml").write_bytes(changed(data, changes))
    with contextlib.suppress(InputError):
        found = repomd.read(str(folder), str(folder))
        assert os.path.realpath(found["primary"].path).startswith(os.path.realpath(folder))


def test_metadata_in_libsolv(tmp_path):
    """In a process of its own, as what crashes libsolv would end this one."""
    script = """
import contextlib, random, re, sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from support.rpmfeeds import opened, world, write_repodata
from oe_oci.errors import OciError
from oe_oci.packages.rpm.resolve import resolve
data, folder = Path(sys.argv[3]).read_bytes(), Path(sys.argv[4])
outer = [b"<", b'"', b"&#0;", b"\\xff", b"\\0", b"</package>", b"<package type='rpm'>", b"<file>", b"<rpm:requires>"]
inner = [b"(", b") ", b" or ", b" if ", b"9" * 40, b"%s%n", b":", b"-", b"", b"(((((", b"..", b"/", b"a b"]
values = [match.span(1) for match in re.finditer(b'[a-z]="([^"]*)"', data)]
read = 0
for seed in range(150):
    rnd, changing = random.Random(seed), bytearray(data)
    for begin, end in sorted(rnd.sample(values, rnd.randint(1, 4)), reverse=True):
        changing[rnd.randint(begin, end) : end] = rnd.choice(inner)
    if rnd.random() < 0.4:
        place = rnd.randrange(len(changing))
        changing[place : place + rnd.choice((0, 1, 3, 20))] = rnd.choice(outer)
    with contextlib.suppress(OciError):
        known = world(opened(write_repodata(folder, {"primary": bytes(changing)}), archs=None), "libc 1")
        read += 1
        resolve(known, "app", ["shop"])
print(read)
"""
    texts = (TEXT, "libc 2 ; provides a = 1:2-3 ; conflicts z < 2", "d 1 noarch")
    (tmp_path / "primary.xml").write_bytes(primary([element(facts(text)) for text in texts]))
    paths = [str(tools.ROOT), str(tools.ROOT / "tests"), str(tmp_path / "primary.xml"), str(tmp_path / "feed")]
    done = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 30
