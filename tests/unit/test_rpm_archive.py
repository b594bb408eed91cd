# SPDX-License-Identifier: MIT
from __future__ import annotations

import hashlib
import json
import stat
import tracemalloc

import pytest
from support import rpms
from support.kept import Kept, content
from support.packages import COMPRESSIONS
from support.rpms import (
    BIN,
    CONFIG,
    GHOST,
    INT32,
    INT64,
    MAGIC,
    NOREPLACE,
    STRING,
    STRINGS,
    TRAILER,
    cpio,
    device,
    file,
    folder,
    ghost,
    header,
    lead,
    newc,
    package,
    stripped,
    symlink,
    whole,
)

from oe_oci import decompress
from oe_oci.errors import InputError, ToolError
from oe_oci.packages import contents, paths
from oe_oci.packages.contents import check_identity
from oe_oci.packages.package import Package
from oe_oci.packages.recall import from_value, to_json
from oe_oci.packages.rpm import files as files_module
from oe_oci.packages.rpm.archive import read_head, read_package, scripts_of
from oe_oci.packages.rpm.header import Header
from oe_oci.tree import BLOCK, CHAR, DIRECTORY, FIFO, FILE, SYMLINK

RAW = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw=ep


@pytest.fixture
def read(tmp_path):
    """Reads a package of these bytes."""

    def read_bytes(data: bytes, *, payload=None, **how):
        path = tmp_path / "shop.rpm"
        path.write_bytes(data)
        return read_package(str(path), "shop", Kept() if payload is None else payload, **how)

    return read_bytes


@pytest.fixture
def refused(read):
    """Reading a package of these bytes ends with one clear message."""

    def refuse(data: bytes, text: str, **how) -> InputError:
        with pytest.raises(InputError, match=text) as caught:
            read(data, **how)
        assert caught.value.message.startswith("shop: ")
        assert caught.value.message.isprintable()
        return caught.value

    return refuse


@pytest.fixture
def head(tmp_path):
    """Reads the headers of a package of these bytes."""

    def read_bytes(data: bytes):
        path = tmp_path / "shop.rpm"
        path.write_bytes(data)
        return read_head(str(path), "shop")

    return read_bytes


def data_of(given=(), **how) -> bytes:
    return package("shop", "1:2.4-1", given=given, **how).data


def with_payload(given, plain: bytes) -> bytes:
    """A package whose payload is another one than its files make."""
    return data_of(given, payload=plain, compression="none")


def member(name: bytes, data: bytes = b"content\n", mode: int = 0o100644) -> bytes:
    return newc(name, mode, len(data)) + data + bytes(-len(data) % 4)


# ---- whole packages


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_compression_and_form_of_headers(read, compression, large):
    given = {"etc/shop": b"x=1\n", "usr/bin/shop": b"binary" * 40_000, "usr/share/empty": b""}
    made = package("shop", "1:2.4-1", given=given, compression=compression, large=large)
    data = made.data
    found = read(data, size=len(data), digest=hashlib.sha256(data).hexdigest())
    assert found.fields == {"Package": "shop", "Version": "1:2.4-1", "Architecture": "noarch"}
    assert found.control["header"] == made.header
    assert Header(found.control["signature"], "shop").text(269)
    assert [each.path for each in found.members] == list(given)
    assert {path: content(found, path) for path in given} == given
    contained = [each.entry.content for each in found.members]
    assert [each.digest for each in contained] == [hashlib.sha256(data).hexdigest() for data in given.values()]
    assert (found.size, found.digest) == (len(data), hashlib.sha256(data).hexdigest())


def test_facts_are_kept_exactly(read):
    given = [
        folder("/", mode=0o755),
        file("/usr/bin/sudo", b"s" * 700, mode=0o4755, mtime=1_600_000_000, group="sudo"),
        file("/usr/bin/ping", b"p", caps="cap_net_raw=ep"),
        folder("/var/mail", mode=0o2775, user="mail", group="mail", mtime=0xFFFFFFFF),
        folder("/tmp", mode=0o1777),
        symlink("/etc/mtab", "../proc/self/mounts"),
        device("/dev/null", 1, 3),
        device("/dev/sda", 8, 0, stat.S_IFBLK | 0o660),
        device("/run/fifo", 0, 0, stat.S_IFIFO | 0o600),
    ]
    for large in (False, True):
        found = {each.path: each for each in read(data_of(given, large=large)).members}
        entries = {path: each.entry for path, each in found.items()}
        assert entries[""][:2] == (DIRECTORY, 0o755)
        assert entries["usr/bin/sudo"][:6] == (FILE, 0o4755, 0, 0, 1_600_000_000, 700)
        assert (found["usr/bin/sudo"].user, found["usr/bin/sudo"].group) == ("root", "sudo")
        assert entries["usr/bin/ping"].xattrs == (("security.capability", RAW),)
        assert entries["var/mail"][:5] == (DIRECTORY, 0o2775, 0, 0, 0xFFFFFFFF)
        assert (found["var/mail"].user, found["var/mail"].group) == ("mail", "mail")
        assert entries["tmp"].mode == 0o1777
        assert entries["etc/mtab"][:2] == (SYMLINK, 0o777)
        assert entries["etc/mtab"].target == "../proc/self/mounts"
        assert (entries["dev/null"].kind, entries["dev/null"].device) == (CHAR, (1, 3))
        assert entries["dev/null"].mode == 0o666
        assert (entries["dev/sda"].kind, entries["dev/sda"].device) == (BLOCK, (8, 0))
        assert entries["run/fifo"].kind == FIFO
        assert len(found) == len(given)


@pytest.mark.parametrize("large", [False, True])
def test_hard_links_are_names_of_one_inode(read, large):
    given = [
        file("/a/x", b"shared", link="1", user="games"),
        file("/b/y", b"shared", link="1", user="games"),
        file("/b/z", b"shared", link="1", user="games", mode=0o755),
        file("/c/empty", b"", link="2"),
        file("/d/empty", b"", link="2"),
        file("/e", b"alone", link="3"),
    ]
    members = read(data_of(given, large=large)).members
    assert [each.hardlink for each in members] == [None, "a/x", "a/x", None, "c/empty", None]
    assert members[0].entry == members[1].entry == members[2].entry
    assert members[3].entry == members[4].entry
    assert members[0].entry.inode is not None
    assert members[0].entry.inode != members[3].entry.inode
    assert members[5].entry.inode is None
    # The facts are those of the last name, as rpm sets them when the file is whole.
    assert (members[0].entry.mode, members[0].entry.size, members[0].user) == (0o755, 6, "games")
    assert members[0].offset == members[0].entry.content.offset
    assert members[3].entry.content.size == 0


def test_what_is_recalled_is_what_was_read(read, tmp_path):
    given = [
        file("/a", b"shared", link="1"),
        file("/b", b"shared", link="1"),
        file("/bin/ping", b"p", caps="cap_net_raw=ep", group="net"),
        symlink("/c", b"\xff"),
        folder("/d"),
        device("/dev/null", 1, 3),
    ]
    for large in (False, True):
        found = read(data_of(given, large=large))
        value = json.loads(json.dumps(to_json(found, 1 << 30)))
        path = str(tmp_path / "shop.rpm")
        again = from_value(value, path, found.payload, found.digest, found.size)
        assert again._replace(control={}) == found._replace(control={})
        assert again.control == found.control


def test_ghosts_are_no_members_and_no_names_of_an_inode(read):
    given = [file("/a", b"x", link="1"), file("/b", b"x", link="1", flags=GHOST), ghost("/var/log/shop", caps="odd")]
    members = read(data_of(given, payload=cpio([file("/a", b"x")]))).members
    assert [(each.path, each.entry.inode) for each in members] == [("a", None)]


def test_configuration_files(read):
    given = [
        file("/etc/a", flags=CONFIG),
        file("/etc/b", flags=CONFIG | NOREPLACE),
        file("/etc/c"),
        rpms.File("/etc/d", flags=GHOST | CONFIG),
        folder("/etc/e", flags=CONFIG),
    ]
    assert read(data_of(given)).conffiles == ("etc/a", "etc/b")


def test_names_that_are_no_utf8(read):
    given = [file("/usr/\u00fc b"), file(b"/usr/\xff\xfe"), symlink("/usr/l", b"\xff")]
    found = read(data_of(given))
    assert [each.path for each in found.members] == ["usr/l", "usr/\u00fc b", "usr/\udcff\udcfe"]
    assert found.members[0].entry.target == "\udcff"
    assert content(found, "usr/\udcff\udcfe") == b"content\n"


def test_nothing_in_it(read):
    assert read(data_of()).members == ()
    assert read(data_of([ghost("/a")])).members == ()


def test_packages_of_old(read):
    """Whole paths, MD5, no sums but the signature's own, no word on compression, no region."""
    tags = {5092: None, 5093: None, 1125: None, 1124: None}
    made = package("shop", given={"usr/a": b"x", "b": b"y"}, old=True, algorithm=1, tags=tags)
    for main in (made.header, header(made.tags, None)):
        found = read(whole(main, made.payload, {269: None, 273: None}))
        assert [each.path for each in found.members] == ["b", "usr/a"]
        assert content(found, "usr/a") == b"x"


@pytest.mark.parametrize("prefix", [b"./", b"/", b""])
def test_names_in_a_payload_with_and_without_a_prefix(read, prefix):
    plain = member(prefix + b"usr/a") + TRAILER
    assert content(read(with_payload({"usr/a": b"content\n"}, plain)), "usr/a") == b"content\n"


def test_a_payload_without_compression_is_not_named(read):
    made = package("shop", given={"a": b"content\n"}, compression="none")
    assert 1125 not in made.tags
    assert content(read(made.data), "a") == b"content\n"


def test_the_order_of_the_payload_counts(read):
    given = [file("/a", b"1"), file("/b", b"2"), file("/c", b"3", link="x"), file("/d", b"3", link="x")]
    plain = member(b"./d", b"") + member(b"./b", b"2") + member(b"./c", b"3") + member(b"./a", b"1") + TRAILER
    found = read(with_payload(given, plain))
    assert [each.path for each in found.members] == ["d", "b", "c", "a"]
    assert [each.hardlink for each in found.members] == [None, None, "d", None]
    assert [content(found, path) for path in "abcd"] == [b"1", b"2", b"3", b"3"]


@pytest.mark.parametrize("padding", [0, 4, 511])
def test_padding_after_the_end_mark(read, padding):
    assert read(with_payload((), TRAILER + bytes(padding))).members == ()


def test_a_checksummed_archive(read):
    plain = newc(b"./a", size=1, magic=b"070702") + b"x\0\0\0" + TRAILER
    assert content(read(with_payload({"a": b"x"}, plain)), "a") == b"x"


@pytest.mark.parametrize("algorithm", rpms.ALGORITHMS)
def test_sums_of_files_of_every_kind(read, refused, algorithm):
    found = read(data_of({"a": b"abc"}, algorithm=algorithm))
    assert found.members[0].entry.content.digest == hashlib.sha256(b"abc").hexdigest()
    plain = member(b"./a", b"abd") + TRAILER
    refused(data_of({"a": b"abc"}, algorithm=algorithm, payload=plain), "shop: /a: damaged: its sum is")


def test_a_file_without_a_sum(read):
    assert content(read(data_of([file("/a", b"abc", digest="")])), "a") == b"abc"


# ---- the head alone


def test_the_head_of_a_package(head):
    made = package("shop", given={"a": b"x"})
    data = made.data
    found = head(data)
    assert data[found.start : found.end] == MAGIC + made.header
    assert data[found.end :] == made.payload
    assert found.header.text(1000) == "shop"
    assert found.signature.number(1000) == len(data) - found.start


def test_the_head_does_not_look_at_the_payload(head):
    made = package("shop", given={"a": b"x" * 1000}, compression="none")
    assert head(made.data[:-500] + bytes(500)).header.text(1000) == "shop"


def test_scripts():
    def of(tags):
        return scripts_of(Header(header(tags), "shop"))

    text = (STRING, "exit 0")
    assert of({1000: text}) == ()
    assert of({1023: text, 1024: text, 1151: text, 1152: text}) == ("pretrans", "prein", "postin", "posttrans")
    assert of({1025: text, 1026: text}) == ()  # run when it is removed
    assert of({1086: (STRING, "/sbin/ldconfig")}) == ("postin",)
    assert of({1068: (INT32, [1 << 16, 1 << 25]), 1065: (STRINGS, ["", ""])}) == ("triggerprein", "triggerin")
    assert of({1068: (INT32, [1 << 17 | 1 << 3])}) == ()
    assert of({5072: (INT32, [1 << 16]), 5082: (INT32, [1 << 16])}) == ("filetriggerin", "transfiletriggerin")


# ---- what is no package, or not all of one


@pytest.mark.parametrize("data", [b"", b"!<arch>\n" * 20, b"\x1f\x8b", b"\xed\xab\xee\xdb", bytes(5000)])
def test_what_is_no_package(refused, head, data):
    refused(data, "does not begin as an rpm package does")
    with pytest.raises(InputError, match="does not begin"):
        head(data)


def test_other_formats(refused):
    made = package("shop")
    refused(made._replace(lead=lead(major=5)).data, "of a format 5, signature 5")
    refused(made._replace(lead=lead(signed=1)).data, "of a format 3, signature 1")
    assert made._replace(lead=lead(major=4)).data


def test_a_source_package(refused, head):
    made = package("shop")
    for data in (made._replace(lead=lead(kind=1)).data, made.with_tags({1044: None}).data):
        refused(data, "is a source package")
        with pytest.raises(InputError, match="is a source package"):
            head(data)


def test_torn_anywhere(refused, head):
    data = data_of([file("/a", b"abc"), symlink("/b", "a")])
    for cut in range(len(data)):
        refused(data[:cut], "damaged|does not begin")
        if cut % 20 == 0:
            with pytest.raises(InputError):
                head(data[:cut])
    refused(data[:-1], f"has {len(data) - 1} bytes, the index says {len(data)}", size=len(data))
    refused(data + b"\0", "which says")


def test_torn_anywhere_without_the_size(refused):
    made = package("shop", given=[file("/a", b"abc"), symlink("/b", "a")])
    for compression in COMPRESSIONS:
        payload = COMPRESSIONS[compression](cpio([file("/a", b"abc"), symlink("/b", "a")]))
        tags = {1125: (STRING, rpms.COMPRESSORS[compression]), 5092: None}
        torn = made.with_tags(tags if compression != "none" else {1125: None, 5092: None})
        for cut in range(len(payload)):
            data = whole(torn.header, payload[:cut])
            if compression in ("gz", "none") or cut < len(payload) - 1:
                refused(data, "damaged|ends in the middle")


def test_a_bit_flipped_anywhere(read):
    given = [file("/a", b"abc", mtime=5), symlink("/b", "a"), file("/c", b"", caps="cap_net_raw=ep")]
    made = package("shop", "1:2.4-1", given=given)
    data = made.data
    right = read(data)
    digest = hashlib.sha256(data).hexdigest()
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        if position % 20 == 0:
            with pytest.raises(InputError, match="the index says"):
                read(bytes(flipped), digest=digest)
        try:
            found = read(bytes(flipped))
        except InputError:
            continue
        # What no sum covers: the lead, and the signature itself.
        assert position < len(data) - len(made.payload) - len(made.header)
        assert [each._replace(entry=None) for each in found.members] == [e._replace(entry=None) for e in right.members]


# ---- what is said twice


def test_sums_that_differ(refused, read):
    made = package("shop", given={"a": b"x"})
    refused(made._replace(signature={273: (STRING, "0" * 64)}).data, "sum of its header is .*, not '0000")
    refused(made._replace(signature={269: (STRING, "0" * 40), 273: None}).data, "damaged: the sum of its header is")
    refused(made.with_tags({5092: (STRINGS, ["0" * 64])}).data, "damaged: the sum of its payload is")
    wrong = {1004: (BIN, bytes(16))}
    refused(made.with_tags({5092: None})._replace(signature=wrong).data, "the sum of its header and payload is")
    refused(made.with_tags({5093: (INT32, 77)}).data, "has sums of a kind 77")
    assert read(made._replace(signature={273: None, 269: None, 1004: None, 1000: None}).data).members
    assert read(made.with_tags({5092: (STRINGS, [made.tags[5092][1][0].upper()])}).data).members


def test_sizes_that_differ(refused, read):
    made = package("shop", given={"a": b"x"})
    refused(made._replace(signature={1000: (INT32, 17)}).data, r"has \d+ bytes after its signature, which says 17")
    refused(made._replace(signature={1000: None, 270: (INT64, 5 << 40)}).data, "which says 5497558138880")
    assert read(made._replace(signature={270: (INT64, len(MAGIC + made.header + made.payload))}).data).members


def test_another_digest(refused):
    data = data_of()
    error = refused(data, f"its SHA-256 is {hashlib.sha256(data).hexdigest()}, the index says 0", digest="0" * 64)
    assert error.hint == "make the index anew or fetch the package again"


def test_another_digest_is_told_before_what_it_leads_to(refused):
    for data in (b"garbage", data_of()[:-10], data_of([file("/../x")]), data_of(payload=b"")):
        refused(data, f"its SHA-256 is {hashlib.sha256(data).hexdigest()}", digest="0" * 64)
        refused(data, "damaged|does not begin|leaves", digest=hashlib.sha256(data).hexdigest())


def test_a_file_that_grows_while_it_is_read(tmp_path, refused):
    class Growing(Kept):
        def write(self, piece):
            with open(tmp_path / "shop.rpm", "ab") as sink:
                sink.write(bytes(60))
            super().write(piece)

    data = data_of({"a": bytes(1 << 20)}, compression="none")
    refused(data, "changed its size while it was read", payload=Growing())


def test_identity(read):
    found = read(data_of())
    offer = Package("shop", "1:2.4-1", "noarch", {}, "shop.rpm", None, None, 0)
    check_identity(found, offer)
    with pytest.raises(InputError, match=r"is 'shop 1:2.4-1 noarch', the index says 'shop 1:2.4-2 noarch'"):
        check_identity(found, offer._replace(version="1:2.4-2"))


def test_no_epoch_and_an_epoch_of_nothing(read):
    assert read(package("shop", "2-1").data).fields["Version"] == "2-1"
    assert read(package("shop", "0:2-1").data).fields["Version"] == "2-1"


@pytest.mark.parametrize("tag", [1000, 1001, 1002, 1022])
def test_packages_that_do_not_say_what_they_are(refused, tag):
    for value in (None, (STRING, ""), (STRING, "a b"), (STRING, "a/b"), (STRING, "a\nb"), (STRING, "\u00fc")):
        refused(package("shop").with_tags({tag: value}).data, "damaged header: no package has")
    if tag in (1001, 1002):
        refused(package("shop").with_tags({tag: (STRING, "1-2")}).data, "damaged header: no package has")


def test_no_file_and_what_is_none(tmp_path):
    (tmp_path / "folder").mkdir()
    for name, text in (("none", "there is no such file"), ("folder", "is no regular file")):
        for call in (lambda path: read_package(path, "shop", Kept()), lambda path: read_head(path, "shop")):
            with pytest.raises(InputError, match=f"shop: {text}"):
                call(f"{tmp_path}/{name}")


@pytest.mark.parametrize("function", ["open", "read"])
def test_a_file_that_can_not_be_read(monkeypatch, read, function):
    def fail(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(contents.os, function, fail)
    with pytest.raises(ToolError, match="cannot read shop: Permission denied"):
        read(data_of())


# ---- headers that lie


def test_headers_beyond_the_file(refused):
    start = lead() + MAGIC
    refused(
        start + b"\0\0\0\1\x0f\xff\xff\xff" + bytes(100), "shop: signature: damaged: says that it has 1 entries and 26"
    )
    refused(start + b"\xff\xff\xff\xff\0\0\0\0" + bytes(100), "shop: signature: damaged: says that it has 4294967295")
    refused(start[:-1] + b"\1" + bytes(100), "shop: signature: damaged: no header begins at byte 96")
    made = package("shop")
    data = whole(b"\0\0\1\0\x0f\0\0\0" + made.header[8:], made.payload)
    refused(data, "shop: damaged: says that it has 256 entries and 251658240 bytes")


def test_a_region_out_of_bounds(refused):
    made = package("shop")
    refused(whole(header(made.tags, trailer=bytes(16)), made.payload), "damaged header: its region ends")


@pytest.mark.parametrize("tag", [1028, 1030, 1033, 1034, 1035, 1036, 1037, 1039, 1040, 1096, 1116, 1117])
def test_a_fact_that_not_every_file_has(refused, tag):
    made = package("shop", given={"a": b"x", "b": b"y", "c": b"z"})
    kind, values = made.tags[tag]
    refused(made.with_tags({tag: (kind, values[:2])}).data, "damaged header: ")
    refused(made.with_tags({tag: (kind, [*values, *values])}).data, "damaged header: ")


@pytest.mark.parametrize("tag", [1028, 1030, 1034, 1039, 1040, 1116, 1117])
def test_a_fact_that_no_file_has(refused, tag):
    refused(package("shop", given={"a": b"x"}).with_tags({tag: None}).data, "damaged header|but not in its header")


def test_a_file_in_a_directory_that_there_is_not(refused):
    made = package("shop", given={"a": b"x"}).with_tags({1116: (INT32, [1])})
    refused(made.data, "a file lies in its directory 1, and it has 1")


def test_a_name_twice_in_a_header(refused):
    made = package("shop", given={"a": b"x", "b": b"x"}).with_tags({1117: (STRINGS, ["a", "a"])})
    refused(made.data, "damaged header: names a file twice")


def test_facts_that_nothing_has(refused):
    refused(data_of([rpms.File("/a", mode=stat.S_IFSOCK | 0o644)]), "nothing of mode 140644 can be there")
    refused(data_of([file("/")]), "nothing of mode 100644 can be there")
    refused(data_of([symlink("/a", "")]), "a link to nothing")
    made = package("shop", given={"a": b"x"})
    refused(made.with_tags({1034: (INT64, [1 << 32])}).data, "a time out of bounds")
    refused(data_of([file("/a", caps="cap_nonsense=p")]), "shop: /a: capabilities 'cap_nonsense=p'")


def test_paths_out_of_bounds(monkeypatch, refused):
    refused(data_of([file("/" + "d/" * 2100 + "f")]), "a path of more than 4096 characters")
    refused(data_of([file("/" + "f" * 4200)]), "a path of more than 4096 characters")
    monkeypatch.setattr(files_module, "FACTS", 10_000)
    refused(data_of([file("/" + "d" * 200 + f"/{n}") for n in range(60)]), "too many long ones")
    monkeypatch.setattr(files_module, "MEMBERS", 50)
    refused(data_of([file(f"/{n}") for n in range(60)]), "has more than 50 files")
    monkeypatch.setattr(paths, "FACTS", 1000)
    refused(data_of([file(f"/{n}" + "x" * 200) for n in range(9)]), "of names and attributes")


@pytest.mark.parametrize("path", ["/../a", "/a/..", "/a/../../b"])
def test_names_that_leave_the_root(refused, path):
    refused(data_of([file(path)]), "leaves the root with '..'")
    refused(data_of([ghost(path)]), "leaves the root with '..'")
    refused(with_payload({"a": b"x"}, member(b"." + path.encode()) + TRAILER), "leaves the root with '..'")


def test_names_that_no_layer_can_hold(refused):
    refused(data_of([file("/a\nb")]), "a name with a newline")
    refused(data_of([file("/usr/.wh.a")]), "would remove a file of a lower layer")


def test_a_write_through_a_link_of_the_same_package(refused):
    for given in ([symlink("/a", "/etc"), file("/a/b")], [file("/a"), file("/a/b")]):
        refused(data_of(given), "lies in /a, which is no directory in the same package")
        plain = cpio([given[1]]).removesuffix(TRAILER) + cpio([given[0]])
        refused(with_payload(given, plain), "is no directory, but something lies in it")


# ---- payloads that are not what the header says


def test_what_one_of_both_does_not_have(refused):
    refused(with_payload({"a": b"x", "b": b"y"}, member(b"./a", b"x") + TRAILER), "/b: is in the header of the package")
    refused(with_payload({"a": b"x"}, member(b"./b", b"x") + TRAILER), "/b: is in the payload of the package, but not")
    refused(with_payload([ghost("/a")], member(b"./a", b"") + TRAILER), "/a: is a ghost, but in the payload")
    refused(with_payload({"a": b"x"}, 2 * member(b"./a", b"x") + TRAILER), "/a: is in it twice")


def test_numbers_of_files_out_of_range(refused):
    given = {"a": b"x"}
    refused(
        data_of(given, large=True, payload=stripped(1) + b"x\0\0\0" + TRAILER), "#1: is in the payload of the package"
    )
    refused(data_of(given, large=True, payload=stripped(0xFFFFFFFF) + TRAILER), "#4294967295: is in the payload")
    refused(data_of(given, large=True, payload=2 * (stripped(0) + b"x\0\0\0") + TRAILER), "/a: is in it twice")
    refused(data_of(given, large=True, payload=b"07070X0000000g\0\0" + TRAILER), "is the number of no file")


def test_facts_that_differ(refused):
    refused(
        with_payload({"a": b"x"}, member(b"./a", b"xy") + TRAILER), "has 2 bytes in the payload, and 1 by its header"
    )
    refused(with_payload({"a": b"x"}, member(b"./a", b"y") + TRAILER), "damaged: its sum is")
    refused(
        with_payload({"a": b"x"}, member(b"./a", b"x", 0o120777) + TRAILER), "is a file by its header, and something"
    )
    link = [symlink("/a", "there")]
    refused(with_payload(link, member(b"./a", b"where", 0o120777) + TRAILER), "is a link to something else")
    refused(with_payload(link, member(b"./a", b"here", 0o120777) + TRAILER), "has 4 bytes in the payload, and 5")
    refused(with_payload([folder("/a")], member(b"./a", b"x", 0o040755) + TRAILER), "has 1 bytes in the payload, and 0")
    refused(data_of([symlink("/a", "there", size=4)], large=True), "has 4 bytes in the payload, and 5")


def test_hard_links_whose_content_is_elsewhere(refused):
    given = [file("/a", b"x", link="1"), file("/b", b"x", link="1")]
    first = member(b"./a", b"x") + member(b"./b", b"") + TRAILER
    both = member(b"./a", b"x") + member(b"./b", b"x") + TRAILER
    none = member(b"./a", b"") + member(b"./b", b"") + TRAILER
    for plain, text in ((first, "has 1 bytes.* and 0"), (both, "has 1 bytes.* and 0"), (none, "has 0 bytes.* and 1")):
        refused(with_payload(given, plain), text)
    refused(with_payload(given, member(b"./a", b"") + TRAILER), "/b: is in the header of the package, but not")


def test_names_of_one_inode_with_other_content_each(refused):
    for other in (file("/b", b"y", link="1"), file("/b", b"longer", link="1")):
        given = [file("/a", b"x", link="1"), other]
        refused(data_of(given), "/a: is another name of /b, and by its header has other content")


@pytest.mark.parametrize(
    ("plain", "text"),
    [
        (b"", "ends without an end mark"),
        (b"0707", "ends without an end mark"),
        (b"070707" + bytes(200), "is not the beginning of a member"),
        (newc(b"./a")[:109], "ends without an end mark"),
        (b"070701" + b"+" * 104, "other characters than digits"),
        (newc(b"./a").replace(b"00000004", b"00000002"), "ends elsewhere than its header says"),
        (newc(b""), "a name has 1 bytes"),
        (newc(b"a" * 9000), "a name has 9001 bytes"),
        (newc(b"./a", size=0xFFFFFFFF) + b"x", "4294967295 bytes in the payload"),
        (newc(b"./a", size=1), "ends in the middle of a file"),
        (member(b"./a", b"x"), "ends without an end mark"),
        (TRAILER + bytes(700), "holds more after its end mark"),
        (TRAILER + b"x", "holds more after its end mark"),
        (TRAILER + member(b"./a", b"x") + TRAILER, "holds more after its end mark"),
    ],
)
def test_archives_that_are_damaged(refused, plain, text):
    refused(with_payload({"a": b"x"}, plain), text)


@pytest.mark.parametrize("compression", ["gz", "xz", "zst", "bz2", "lzma"])
def test_a_payload_that_is_damaged(refused, compression):
    made = package("shop", given={"a": bytes(range(256)) * 99}, compression=compression).with_tags({5092: None})
    packed = bytearray(made.payload)
    packed[len(packed) // 2] ^= 0xFF
    for payload in (packed, b"garbage, and no stream", b"\x1f\x8b", b"\x5d\0\0\x80\0" + b"\xff" * 8, b""):
        refused(made._replace(payload=bytes(payload)).data, "damaged|ends in the middle")


def test_formats_of_payloads_that_are_not_known(refused):
    made = package("shop")
    refused(made.with_tags({1124: (STRING, "drpm")}).data, "its payload is 'drpm' in 'gzip', which is not known")
    refused(made.with_tags({1125: (STRING, "lzip")}).data, "its payload is 'cpio' in 'lzip', which is not known")
    refused(made.with_tags({1125: (STRING, "xz")}).data, "damaged")


# ---- bombs


@pytest.mark.parametrize("compression", ["gz", "xz", "zst", "bz2", "lzma"])
def test_a_payload_of_far_more_than_it_seems(refused, compression):
    size = 64 << 20
    big = rpms.File("/big", mode=stat.S_IFREG, size=size, digest="")
    bomb = COMPRESSIONS[compression](newc(b"./big", size=size) + bytes(size) + TRAILER)
    assert len(bomb) < 1 << 17
    data = data_of([big], compression=compression, payload=b"", compress=lambda _: bomb)
    payload = Kept()
    tracemalloc.start()
    try:
        error = refused(data, "payload: unpacks to more than 4000000 bytes", limit=4_000_000, payload=payload)
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()
    assert "--max-unpacked" in error.hint
    assert len(payload) <= 4_000_000


def test_a_payload_beyond_what_is_plausible(monkeypatch, read, refused):
    data = data_of({"big": bytes(1 << 20)})
    monkeypatch.setattr(decompress, "PLAUSIBLE_SIZE", 1 << 20)
    refused(data, "unpacks to more than 1048576 bytes")
    assert read(data, limit=1 << 21).members


def test_a_header_of_many_nothings_takes_little_memory(refused):
    """A name of 4,000 characters, in which a million files lie."""
    count = 1 << 19
    tags = {
        1117: (STRINGS, ["a"] * count),
        1116: (INT32, [0] * count),
        1118: (STRINGS, ["/" + "d" * 4000 + "/"]),
    }
    data = package("shop").with_tags(tags).data
    tracemalloc.start()
    try:
        refused(data, "too many long ones")
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


def test_many_names_of_one_inode_cost_no_square(read):
    given = [file(f"/{n:06}", b"x", link="1") for n in range(5_000)]
    plain = b"".join(member(b"./%06d" % n, b"x" if n == 4_999 else b"") for n in range(5_000)) + TRAILER
    members = read(with_payload(given, plain)).members
    assert len({each.entry.inode for each in members}) == 1
