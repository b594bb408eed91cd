# SPDX-License-Identifier: MIT
from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
import tracemalloc

import pytest
from support.kept import Kept, content
from support.layouts import END, Member, extended, file, folder, hardlink, header, padded, record, symlink, tar
from support.packages import (
    COMPRESSIONS,
    Owned,
    ar,
    ar_header,
    control_tar,
    deb,
    member_name,
    outer,
    paragraph,
    xattrs,
)

from oe_oci import decompress
from oe_oci.errors import InputError, ToolError
from oe_oci.packages import archive as subject
from oe_oci.packages import contents, paths
from oe_oci.packages.archive import read_control, read_package
from oe_oci.packages.contents import check_identity
from oe_oci.packages.package import Package
from oe_oci.tree import BLOCK, CHAR, DIRECTORY, FIFO, FILE, SYMLINK

FIELDS = {"Package": "shop", "Version": "1:2.4-1", "Architecture": "all", "Description": "a shop"}
FORMS = ["ar", "tar.gz"]
CAPABILITY = b"\1\0\0\2\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0"


@pytest.fixture
def read(tmp_path):
    """Reads a package of these bytes."""

    def read_bytes(data: bytes, *, name: str = "shop.deb", payload=None, **how):
        path = tmp_path / name
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
        assert "\n" not in caught.value.message
        return caught.value

    return refuse


def parts(control: bytes = b"", data: bytes = b"", version: bytes = b"2.0\n") -> list[tuple[str, bytes]]:
    """The members of a package, which a test then puts in another order or changes."""
    return [
        ("debian-binary", version),
        ("control.tar.gz", control or gzip.compress(control_tar(FIELDS))),
        ("data.tar.gz", data or gzip.compress(tar([folder("./"), file("./a")]))),
    ]


def with_control(*members: Member) -> bytes:
    return outer(parts(control=gzip.compress(tar(members))))


# ---- whole packages


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_and_compression(read, form, compression):
    scripts = {"postinst": "#!/bin/sh\n", "conffiles": "/etc/shop\n", "md5sums": b"\xff", "odd": b""}
    files = {"etc/shop": b"x=1\n", "usr/bin/shop": b"binary" * 40_000}
    data = deb(FIELDS, files, scripts, compression=compression, control_compression=compression, form=form)
    found = read(data, size=len(data), digest=hashlib.sha256(data).hexdigest())
    assert {key: found.fields[key] for key in FIELDS} == FIELDS
    expected = {"control": paragraph(FIELDS), **scripts, "postinst": b"#!/bin/sh\n", "conffiles": b"/etc/shop\n"}
    assert found.control == expected
    assert found.conffiles == ("etc/shop",)
    assert [member.path for member in found.members] == ["", "etc", "usr", "usr/bin", "etc/shop", "usr/bin/shop"]
    assert {path: content(found, path) for path in files} == files
    assert (found.size, found.digest) == (len(data), hashlib.sha256(data).hexdigest())


def test_facts_are_kept_exactly(read):
    members = [
        folder("./", mode=0o755),
        file("./usr/bin/sudo", b"s" * 700, mode=0o4755, uid=0, gid=27, mtime=1_600_000_000),
        file("./usr/bin/ping", b"p", pax=xattrs(security__capability=CAPABILITY, user__a=b"b=\n")),
        folder("./var/mail", mode=0o2775, uid=1, gid=1 << 31),
        folder("./tmp", mode=0o1777),
        symlink("./etc/mtab", "../proc/self/mounts"),
        Member("./dev/null", kind=tarfile.CHRTYPE, device=(1, 3), mode=0o666),
        Member("./dev/sda", kind=tarfile.BLKTYPE, device=(8, 0), mode=0o660),
        Member("./run/fifo", kind=tarfile.FIFOTYPE, mode=0o600),
    ]
    found = {member.path: member.entry for member in read(deb(FIELDS, members)).members}
    assert found["usr/bin/sudo"][:6] == (FILE, 0o4755, 0, 27, 1_600_000_000, 700)
    assert found["usr/bin/ping"].xattrs == (("security.capability", CAPABILITY), ("user.a", b"b=\n"))
    assert found["var/mail"][:4] == (DIRECTORY, 0o2775, 1, 1 << 31)
    assert found["tmp"].mode == 0o1777
    assert (found["etc/mtab"].kind, found["etc/mtab"].target) == (SYMLINK, "../proc/self/mounts")
    assert (found["dev/null"].kind, found["dev/null"].device, found["dev/null"].mode) == (CHAR, (1, 3), 0o666)
    assert (found["dev/sda"].kind, found["dev/sda"].device) == (BLOCK, (8, 0))
    assert found["run/fifo"].kind == FIFO
    assert [path for path, entry in found.items() if entry.content is not None] == ["usr/bin/sudo", "usr/bin/ping"]


def test_owners_by_name_arrive(read):
    found = read(deb(FIELDS, [Owned("./f", user="shop", group="www"), file("./g")])).members
    assert [(member.user, member.group) for member in found] == [("shop", "www"), ("", "")]


def test_what_the_building_host_left_in_attributes_is_no_content(read):
    members = [file("./f", pax=xattrs(security__selinux=b"build_t", user__kept=b"1"))]
    assert read(deb(FIELDS, members)).members[0].entry.xattrs == (("user.kept", b"1"),)


def test_hard_links_are_names_of_one_inode(read):
    members = [
        Owned("./bin/a", b"abc", mode=0o4711, user="shop"),
        file("./other"),
        Owned("./bin/b", kind=tarfile.LNKTYPE, link="./bin/a", mode=0o600, uid=9, user="else"),
        hardlink("./bin/c", "bin/b"),
    ]
    a, other, b, c = read(deb(FIELDS, members)).members
    assert a.entry == b.entry == c.entry
    assert a.entry.inode is not None
    assert other.entry.inode is None
    assert (a.entry.mode, a.entry.uid, a.entry.size) == (0o4711, 0, 3)
    assert [m.user for m in (a, b, c)] == ["shop"] * 3


def test_names_that_are_no_utf8(read):
    found = read(deb(FIELDS, [file("./caf\udce9"), file("./ä b")]))
    assert [member.path for member in found.members] == ["caf\udce9", "ä b"]


def test_a_payload_of_nothing(read):
    assert read(deb(FIELDS, [])).members == ()


def test_any_tar_that_dpkg_reads(read):
    name = "./" + "n" * 150
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        assert [m.path for m in read(deb(FIELDS, [file(name)], tar_format=form)).members] == [name[2:]]


# ---- the control data alone


@pytest.mark.parametrize("form", FORMS)
def test_read_control_looks_at_nothing_more(tmp_path, form):
    path = tmp_path / "x"
    path.write_bytes(outer(parts(data=b"no tar at all"), form))
    assert read_control(str(path), "shop")["Package"] == "shop"


def test_read_control_of_what_has_none(tmp_path):
    path = tmp_path / "x.ipk"
    for found in (parts()[:1], [parts()[0], parts()[2]], []):
        path.write_bytes(outer(found))
        with pytest.raises(InputError, match="shop: has no member"):
            read_control(str(path), "shop")


# ---- the outer archive


@pytest.mark.parametrize("form", FORMS)
def test_ipk_may_have_any_order(read, form):
    version, control, data = parts()
    for order in ([version, data, control], [data, control, version], [control, version, data]):
        found = read(outer(order, form), name="shop.ipk")
        assert found.fields["Package"] == "shop"
        assert [member.path for member in found.members] == ["", "a"]


def test_deb_has_one_order(refused):
    version, control, data = parts()
    refused(outer([control, version, data]), "its member control.tar.gz stands where debian-binary must")
    refused(outer([version, data, control]), "its member data.tar.gz stands where control.tar must")


def test_names_with_a_slash_at_their_end(read):
    made = b"!<arch>\n"
    for name, data in parts():
        made += ar_header(name.encode() + b"/", len(data)) + data + b"\n" * (len(data) % 2)
    assert read(made).fields["Package"] == "shop"


@pytest.mark.parametrize("form", FORMS)
def test_members_to_pass_over(read, form):
    version, control, data = parts()
    extra = ("_gpgorigin", b"signed")
    assert read(outer([version, extra, control, extra, data, extra], form)).fields["Package"] == "shop"
    # deb(5): whatever comes after the last one is to be ignored.
    assert read(outer([version, control, data, ("later", b"abc")], form)).fields["Package"] == "shop"


@pytest.mark.parametrize("form", FORMS)
def test_members_that_have_no_place(refused, form):
    version, control, data = parts()
    for name in ("evil", "control", "data.tar.rar", "control.tar.rar", "debian-binary.gz", "x\x1b[2J"):
        refused(outer([version, (name, b"abc"), control, data], form), "has no place in a package")
    refused(ar([version, ("//", b"long names"), control, data]), "its member '/' has no place")
    refused(ar([("", b""), *parts()]), "its member '' has no place")


@pytest.mark.parametrize("form", FORMS)
def test_a_member_twice(refused, form):
    version, control, data = parts()
    refused(outer([version, control, data, data], form), "two members data.tar")
    refused(outer([version, control, data, control], form), "two members control.tar")
    refused(outer([version, control, ("control.tar", control_tar({})), data], form), "two members control.tar")
    refused(outer([version, control, data, version], form), "two members debian-binary")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("missing", ["debian-binary", "control.tar", "data.tar"])
def test_a_missing_member(refused, form, missing):
    found = [part for part in parts() if not part[0].startswith(missing)]
    refused(outer(found, form), f"has no member {missing}", name="shop.ipk")


def test_members_without_end(refused):
    version, control, data = parts()
    refused(outer([version, *[("_", b"")] * 1000, control, data]), "more than 100 members")


@pytest.mark.parametrize("text", [b"3.0\n", b"", b"2", b"2.\n", b"2.x\n", b"12.0\n", b" 2.0\n", b"\xff", b"2.0 \n"])
def test_another_version_of_the_format(refused, text):
    refused(outer(parts(version=text)), "only 2.x is known")


def test_a_later_version_of_the_format_that_is_compatible(read):
    assert read(outer(parts(version=b"2.17\nmore\n"))).fields["Package"] == "shop"


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"text", b"\x7fELF", END, b"PK\3\4", b"\xed\xab\xee\xdb", tar([file("a")])]
)
def test_what_is_no_package(refused, data):
    refused(data, "neither an ar archive nor a gzipped tar")


def test_an_outer_tar_holds_files_only(refused):
    version, control, _ = parts()
    for odd in (symlink("data.tar.gz", "/etc/passwd"), hardlink("data.tar.gz", "control.tar.gz"), folder("x")):
        members = [file(*version), file(*control), odd]
        refused(gzip.compress(tar(members)), "is no regular file")


@pytest.mark.parametrize("form", FORMS)
def test_torn_anywhere(read, refused, form):
    whole = deb(FIELDS, [file("./a", b"abc")], form=form, compression="gz")
    for cut in range(len(whole)):
        data = whole[:cut]
        if cut == len(whole) - 1 and form == "ar" and whole.endswith(b"\n"):
            assert read(data).members  # only the last padding is missing
            continue
        refused(data, "damaged|ends in the middle|no member|neither|only 2.x")
        refused(data, f"has {cut} bytes, the index says {len(whole)}", size=len(whole))


@pytest.mark.parametrize("form", FORMS)
def test_a_bit_flipped_anywhere(read, form):
    whole = deb(FIELDS, [file("./a", b"abc")], form=form, compression="gz")
    digest = hashlib.sha256(whole).hexdigest()
    for position in range(len(whole)):
        data = bytearray(whole)
        data[position] ^= 1 << position % 8
        with pytest.raises(InputError, match="the index says"):
            read(bytes(data), digest=digest)
        try:
            read(bytes(data))
        except InputError:
            continue


# ---- what the index says


def test_another_digest(refused):
    data = deb(FIELDS)
    error = refused(data, f"its SHA-256 is {hashlib.sha256(data).hexdigest()}, the index says 0", digest="0" * 64)
    assert error.hint == "make the index anew or fetch the package again"


def test_another_digest_is_told_before_what_it_leads_to(refused):
    for data in (b"garbage", deb(FIELDS)[:-100], deb(FIELDS, [file("../x")]), outer(parts(control=b"\xff" * 99))):
        refused(data, f"its SHA-256 is {hashlib.sha256(data).hexdigest()}", digest="0" * 64)
        refused(data, "damaged|neither|leaves the root", digest=hashlib.sha256(data).hexdigest())


def test_another_size(refused):
    data = deb(FIELDS)
    refused(data, f"has {len(data)} bytes, the index says 7", size=7, digest="0" * 64)


def test_a_file_that_grows_while_it_is_read(tmp_path, refused):
    class Growing(Kept):
        def write(self, piece):
            with open(tmp_path / "shop.deb", "ab") as sink:
                sink.write(bytes(60))
            super().write(piece)

    refused(deb(FIELDS), "changed its size while it was read", payload=Growing())


@pytest.mark.parametrize("changed", [{"name": "other"}, {"version": "2.4-1"}, {"arch": "amd64"}])
def test_identity(read, changed):
    package = Package("shop", "1:2.4-1", "all", {}, "feed/shop.deb", None, None, 0)
    contents = read(deb(FIELDS))
    check_identity(contents, package)
    wanted = package._replace(**changed)
    expected = f"feed/shop.deb: is 'shop 1:2.4-1 all', the index says '{wanted.name} {wanted.version} {wanted.arch}'"
    with pytest.raises(InputError) as caught:
        check_identity(contents, wanted)
    assert caught.value.message == expected


# ---- files that are none


def test_no_file(tmp_path):
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    for name, text in (("none", "no such"), ("file/x", "no such"), ("", "no regular"), ("fifo", "no regular")):
        for call in (lambda path: read_package(path, "shop", Kept()), lambda path: read_control(path, "shop")):
            with pytest.raises(InputError, match=f"shop: (there is|is) {text}"):
                call(f"{tmp_path}/{name}")


@pytest.mark.parametrize("function", ["open", "read"])
def test_a_file_that_can_not_be_read(monkeypatch, read, function):
    def fail(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(contents.os, function, fail)
    with pytest.raises(ToolError, match="cannot read shop: Permission denied"):
        read(deb(FIELDS))


# ---- control.tar


def test_control_data_is_files_in_one_folder(refused):
    control = file("./control", paragraph(FIELDS))
    for odd in (
        folder("./sub"),
        file("./sub/postinst"),
        symlink("./postinst", "/bin/sh"),
        hardlink("./postinst", "control"),
        Member("./null", kind=tarfile.CHRTYPE, device=(1, 3)),
        file("./new\nline"),
    ):
        refused(with_control(control, odd), r"control.tar.gz: /.*regular files in one folder")


@pytest.mark.parametrize("name", ["../control", "/etc/passwd", "a/../../b"])
def test_control_data_that_leaves_its_folder(refused, name):
    refused(with_control(file("./control", paragraph(FIELDS)), file(name)), "leaves the root|absolute path")


def test_two_control_files(refused):
    refused(with_control(*[file("./control", paragraph(FIELDS))] * 2), "/control: is in it twice")
    control = file("./control", paragraph(FIELDS))
    refused(with_control(control, file("postinst"), file("./postinst")), "/postinst: is in it twice")


def test_no_control_file(refused):
    refused(with_control(folder("./"), file("./postinst")), "control.tar.gz: holds no file 'control'")
    refused(with_control(), "control.tar.gz: holds no file 'control'")


def test_a_control_file_that_is_none(refused):
    refused(deb(b"no paragraph\n"), "shop: ")


def test_a_control_file_beyond_bounds(monkeypatch, refused):
    monkeypatch.setattr(subject, "_CONTROL_FILE", 1 << 20)
    big = file("./postinst", bytes((1 << 20) + 1))
    refused(with_control(file("./control", paragraph(FIELDS)), big), "/postinst: has more than 1 MiB")


@pytest.mark.parametrize("compression", ["gz", "xz", "zst", "bz2", "lzma"])
def test_control_data_beyond_bounds(monkeypatch, refused, compression):
    monkeypatch.setattr(subject, "_CONTROL_LIMIT", 1 << 20)
    bomb = COMPRESSIONS[compression](control_tar(FIELDS) + bytes(64 << 20))
    assert len(bomb) < 1 << 17
    version, _, data = parts()
    error = refused(ar([version, (f"control.tar.{compression}", bomb), data]), "unpacks to more than 1048576 bytes")
    assert error.hint == ""


# ---- conffiles


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        (b"", ()),
        (b"/etc/a\n/etc/b c\n", ("etc/a", "etc/b c")),
        (b"/etc/a", ("etc/a",)),
        (b"\n/etc/a \t\r\n \x0b\n", ("etc/a",)),
        (b"//etc/./a/\n/etc/a\n", ("etc/a",)),
        (b"remove-on-upgrade /etc/old\n/etc/new\n", ("etc/new",)),
        (b"remove-on-upgrade\t /etc/old", ()),
        (b"/etc/caf\xe9\n", ("etc/caf\udce9",)),
    ],
)
def test_conffiles(read, text, paths):
    assert read(deb(FIELDS, [], {"conffiles": text})).conffiles == paths


@pytest.mark.parametrize(
    "text", [b"etc/a", b"unknown /etc/a", b"remove-on-upgrade", b"remove-on-upgrade etc/a", b"a b /etc/c", b"\xff\xfe"]
)
def test_conffiles_that_are_no_absolute_paths(refused, text):
    refused(deb(FIELDS, [], {"conffiles": b"/etc/x\n" + text}), "conffiles: '.*' is no absolute path")


@pytest.mark.parametrize(
    "text", [b"/../etc/a", b"/etc/../../a", b"/..", b"/", b"/.", b"/a\0b", b"remove-on-upgrade /../x"]
)
def test_conffiles_outside_the_root(refused, text):
    refused(deb(FIELDS, [], {"conffiles": text}), "conffiles: '.*' is no path of a file inside the root")


# ---- hostile payloads


@pytest.mark.parametrize("name", ["../x", "./../x", "./usr/../../x", "usr/.."])
def test_names_that_leave_the_root(refused, name):
    refused(deb(FIELDS, [file(name)]), "data.tar.xz: '.*' *: leaves the root")


def test_absolute_names(refused):
    refused(deb(FIELDS, [file("/etc/passwd")]), "data.tar.xz: '/etc/passwd': absolute path")


def test_names_with_a_newline(refused):
    refused(deb(FIELDS, [file("./a\nb")]), r"data.tar.xz: /a\\x0ab: a name with a newline")
    refused(deb(FIELDS, [folder("./a\n")]), "a name with a newline")


def test_names_nothing_could_open(refused):
    refused(deb(FIELDS, [file("./" + "d/" * 2050 + "f")]), "more than 4096 characters")


def test_a_path_twice(refused):
    for again in (
        file("./usr/a"),
        folder("usr/a"),
        file("usr/./a"),
        symlink("usr//a", "b"),
        hardlink("usr/a", "usr/a"),
    ):
        refused(deb(FIELDS, [file("./usr/a"), again]), "data.tar.xz: /usr/a: is in it twice")
    refused(deb(FIELDS, [folder("./usr"), folder("./usr/")]), "/usr: is in it twice")
    refused(deb(FIELDS, [folder("./"), folder(".")]), "/: is in it twice")


def test_a_write_through_a_link_of_the_same_package(refused):
    for link in (symlink("./a", "/etc"), symlink("./a", "../.."), symlink("./a", "b"), file("./a")):
        for below in ("./a/x", "a/b/c"):
            refused(deb(FIELDS, [folder("./"), link, file(below)]), "lies in /a, which is no directory")
            refused(deb(FIELDS, [file(below), link]), "/a: is no directory, but something lies in it")
    refused(deb(FIELDS, [file("./f"), file("./a/x"), hardlink("./a", "f")]), "/a: is no directory, but")
    refused(deb(FIELDS, [file("./f"), hardlink("./a", "f"), file("./a/x")]), "lies in /a, which is no directory")


def test_directories_may_come_late_or_not_at_all(read):
    found = read(deb(FIELDS, [file("./a/b/c"), folder("./a"), symlink("./l", "a"), file("./a/d")]))
    assert [member.path for member in found.members] == ["a/b/c", "a", "l", "a/d"]


def test_hard_links_to_outside(refused):
    refused(deb(FIELDS, [hardlink("./a", "../../etc/passwd")]), "leaves the root")
    refused(deb(FIELDS, [hardlink("./a", "/etc/passwd")]), "absolute path")
    for link in (hardlink("./a", "etc/passwd"), hardlink("./a", "a")):
        refused(deb(FIELDS, [link]), "/a: hard link to /.*, which is no earlier file of the package")
    for target in (symlink("./t", "/etc/passwd"), folder("./t"), Member("./t", kind=tarfile.CHRTYPE)):
        refused(deb(FIELDS, [target, hardlink("./a", "t")]), "hard link to /t, which is no earlier file")
    refused(deb(FIELDS, [symlink("./d", "/etc"), hardlink("./a", "d/passwd")]), "hard link to /d/passwd")
    refused(deb(FIELDS, [hardlink("./a", "t"), file("./t")]), "hard link to /t, which is no earlier file")


def test_what_tar_can_hold_and_a_package_not(refused):
    refused(deb(FIELDS, data_tar=header(b"s", type=b"s") + END), "unknown type of member")
    refused(deb(FIELDS, data_tar=header(b"s", type=b"S") + END), "sparse members are not read")
    refused(deb(FIELDS, data_tar=header(b"a")), "ends without an end mark")
    refused(deb(FIELDS, data_tar=header(b"a") + END + b"x"), "holds more after its end mark|ends in the middle")
    refused(deb(FIELDS, data_tar=b""), "ends without an end mark")


@pytest.mark.parametrize("compression", ["gz", "xz", "zst", "bz2", "lzma"])
def test_a_payload_that_is_damaged(refused, compression):
    packed = bytearray(COMPRESSIONS[compression](tar([file("./a", bytes(range(256)) * 99)])))
    packed[len(packed) // 2] ^= 0xFF
    version, control, _ = parts()
    refused(ar([version, control, (member_name("data.tar", compression), bytes(packed))]), "damaged|ends in the middle")
    for garbage in (b"garbage, and no stream", b"\x1f\x8b", b"\x5d\0\0\x80\0" + b"\xff" * 8, b""):
        refused(ar([version, control, (member_name("data.tar", compression), garbage)]), "damaged|ends in the middle")


def test_a_compression_that_is_not_that_of_the_name(refused):
    version, control, (_, data) = parts()
    for name in ("data.tar", "data.tar.xz", "data.tar.zst", "data.tar.bz2", "data.tar.lzma"):
        refused(ar([version, control, (name, data)]), "damaged")


# ---- bombs


@pytest.mark.parametrize("compression", ["gz", "xz", "zst", "bz2", "lzma"])
@pytest.mark.parametrize("form", FORMS)
def test_a_payload_of_far_more_than_it_seems(refused, form, compression):
    size = 64 << 20
    bomb = COMPRESSIONS[compression](header(b"big", size=b"%011o\0" % size) + bytes(size) + END)
    assert len(bomb) < 1 << 17
    data = outer([*parts()[:2], (member_name("data.tar", compression), bomb)], form)
    payload = Kept()
    tracemalloc.start()
    try:
        error = refused(data, "data.tar.*: unpacks to more than 4000000 bytes", limit=4_000_000, payload=payload)
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()
    assert "--max-unpacked" in error.hint
    assert len(payload) <= 4_000_000


def test_a_payload_beyond_what_is_plausible(monkeypatch, read, refused):
    data = deb(FIELDS, [file("./big", bytes(1 << 20))])
    monkeypatch.setattr(decompress, "PLAUSIBLE_SIZE", 1 << 20)
    refused(data, "unpacks to more than 1048576 bytes")
    assert read(data, limit=1 << 21).members


def test_an_outer_archive_of_far_more_than_it_seems(monkeypatch, refused):
    monkeypatch.setattr(subject, "_CONTROL_LIMIT", 1 << 20)
    members = [file(name, data) for name, data in parts()[:2]]
    bomb = gzip.compress(tar([*members, file("_x", bytes(8 << 20)), file(*parts()[2])]))
    refused(bomb, "shop: unpacks to more than", limit=1 << 20)


def test_too_many_members(monkeypatch, refused):
    monkeypatch.setattr(paths, "MEMBERS", 10)
    refused(deb(FIELDS, [file(f"./{n}") for n in range(11)]), "data.tar.xz: has more than 10 members")


def test_names_and_attributes_beyond_bounds(monkeypatch, refused):
    monkeypatch.setattr(paths, "FACTS", 1 << 20)
    for members in (
        [file("./" + str(n) * 3 + "n" * 2000) for n in range(600)],
        [symlink(f"./{n}", "t" * 2000) for n in range(600)],
        [file(f"./{n}", pax=xattrs(user__a=b"v" * 2000)) for n in range(600)],
        [file(f"./{n}/" + "d/" * 1000 + "f") for n in range(10)],
    ):
        refused(deb(FIELDS, members), "more than 1 MiB of names and attributes")


@pytest.mark.parametrize("kind", [b"x", b"g"])
def test_headers_that_no_member_follows(monkeypatch, refused, kind):
    monkeypatch.setattr(subject, "_HEADERS", 1 << 20)
    monkeypatch.setattr(contents, "_PIECE", 1 << 12)
    headers = b"".join(extended(record(b"k%d" % n, b"v" * 60_000), kind) for n in range(40))
    refused(deb(FIELDS, data_tar=headers + header(b"a") + END), "more than 1 MiB of headers or of nothing")
    refused(deb(FIELDS, data_tar=header(b"a") + END + bytes(2 << 20)), "more than 1 MiB of headers or of nothing")


def test_content_is_not_taken_for_headers(monkeypatch, read):
    monkeypatch.setattr(subject, "_HEADERS", 1 << 18)  # as much as is read at once
    files = {f"f{n}": bytes([n]) * 20_000 * n for n in range(20)}
    found = read(deb(FIELDS, files, compression="none"))
    assert {name: content(found, name) for name in files} == files


def test_many_small_pieces_are_kept_as_few(read):
    packed = b"".join(gzip.compress(bytes([byte]), 0) for byte in tar([file("./a", b"x" * 9000)]))
    payload = Kept()
    kept = []
    payload.write = lambda piece: (kept.append(len(piece)), payload.extend(piece))  # type: ignore[method-assign]
    assert content(read(outer(parts(data=packed)), payload=payload), "a") == b"x" * 9000
    assert len(kept) == 1


def test_a_file_of_a_size_that_lies(refused):
    for size in (b"7" * 11 + b"\0", b"\x80" + b"\0" * 6 + b"\xff" * 5, b"%011o\0" % 2000):
        refused(deb(FIELDS, data_tar=header(b"a", size=size) + padded(b"abc") + END), "ends in the middle|out of all")
    refused(deb(FIELDS, data_tar=header(b"a", size=b"\xff" * 12) + END), "a size is negative")
