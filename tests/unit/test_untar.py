# SPDX-License-Identifier: MIT
from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile

import pytest
from support.layouts import (
    END,
    Member,
    extended,
    file,
    flipped,
    folder,
    hardlink,
    header,
    padded,
    record,
    records,
    symlink,
    tar,
)

from oe_oci.errors import InputError
from oe_oci.stream import FileStream, PieceStream
from oe_oci.tree import BLOCK, CHAR, DIRECTORY, FIFO, FILE, SYMLINK
from oe_oci.untar import Archive

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def read(data: bytes, *, whole: bool = False, piece: int = 1 << 20):
    """Every member with its bytes."""
    archive = Archive(PieceStream(data[i : i + piece] for i in range(0, len(data), piece)), "it", whole=whole)
    return [(member, b"".join(archive.data())) for member in archive]


def members(data: bytes, **how):
    return [member for member, _ in read(data, **how)]


def only(data: bytes, **how):
    (member,) = members(data, **how)
    return member


def refused(data: bytes, text: str, **how) -> None:
    with pytest.raises(InputError, match=text) as caught:
        read(data, **how)
    assert str(caught.value).startswith("it: ")


# ---- what Python's tarfile writes


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("piece", [1, 511, 1 << 20])
def test_every_kind_and_fact(name, piece):
    data = tar(
        [
            folder("./", mode=0o751, uid=3, gid=4, mtime=5),
            folder("dev"),
            file("file", b"x" * 1000, mode=0o4755, uid=1000, gid=1001, mtime=1_700_000_000),
            file("empty", b""),
            symlink("link", "../file"),
            hardlink("other", "./file"),
            Member("dev/null", kind=tarfile.CHRTYPE, device=(1, 3), mode=0o666),
            Member("dev/sda", kind=tarfile.BLKTYPE, device=(8, 0)),
            Member("fifo", kind=tarfile.FIFOTYPE, mode=0o600),
        ],
        format=FORMATS[name],
    )
    found = {member.path: (member, content) for member, content in read(data, whole=True, piece=piece)}
    root, _ = found[""]
    assert (root.entry.kind, root.entry.mode, root.entry.uid, root.entry.gid) == (DIRECTORY, 0o751, 3, 4)
    assert root.entry.mtime == 5
    one, content = found["file"]
    assert content == b"x" * 1000
    assert one.entry[:6] == (FILE, 0o4755, 1000, 1001, 1_700_000_000, 1000)
    assert data[one.offset : one.offset + 1000] == content
    assert found["empty"][1] == b""
    link = found["link"][0].entry
    assert (link.kind, link.mode, link.target, link.size) == (SYMLINK, 0o777, "../file", 0)
    assert found["other"][0].hardlink == "file"
    assert found["file"][0].hardlink is None
    assert (found["dev/null"][0].entry.kind, found["dev/null"][0].entry.device) == (CHAR, (1, 3))
    assert (found["dev/sda"][0].entry.kind, found["dev/sda"][0].entry.device) == (BLOCK, (8, 0))
    assert found["fifo"][0].entry.kind == FIFO


@pytest.mark.parametrize("name", FORMATS)
def test_names_that_fit_no_field(name):
    length = 250 if name == "ustar" else 5000
    long = "/".join(["d" * 50] * (length // 51)) + "/f"
    target = "t" * (100 if name == "ustar" else 4000)
    data = tar([file(long, b"abc"), symlink("s", target), hardlink("h", "t")], format=FORMATS[name])
    found = members(data, whole=True)
    assert [m.path for m in found] == [long, "s", "h"]
    assert found[1].entry.target == target
    assert found[2].hardlink == "t"


@pytest.mark.parametrize("name", ["gnu", "pax"])
def test_a_long_name_holds_for_one_member_only(name):
    long = "n" * 300
    assert [m.path for m in members(tar([file(long), file("b")], format=FORMATS[name]))] == [long, "b"]


@pytest.mark.parametrize("name", ["gnu", "pax"])
def test_large_owners_and_times_before_1970(name):
    entry = only(tar([file("f", uid=1 << 31, gid=(1 << 32) - 2, mtime=-5)], format=FORMATS[name])).entry
    assert (entry.uid, entry.gid, entry.mtime) == (1 << 31, (1 << 32) - 2, -5)


@pytest.mark.parametrize(
    ("mtime", "whole"), [(1.5, 1), (-0.5, -1), (-1.0, -1), (-1.25, -2), (0.999999, 0), (1e9 + 0.25, 1_000_000_000)]
)
def test_fractions_of_a_second_are_rounded_down(mtime, whole):
    assert only(tar([file("f", mtime=mtime)])).entry.mtime == whole


def test_non_utf8_names_are_kept_as_bytes():
    name = os.fsdecode(b"caf\xe9")
    for style in FORMATS.values():
        data = tar([file(name), symlink("l", name)], format=style)
        found = members(data)
        assert found[0].path.encode("utf-8", "surrogateescape") == b"caf\xe9"
        assert found[1].entry.target == found[0].path


def test_xattrs_are_bytes():
    values = {
        b"user.nul": b"\0\1\0",
        b"user.equals": b"a=b=",
        b"user.line": b"a\nb\n",
        b"security.capability": b"\xff\xfe",
    }
    found = only(
        extended(records(*((b"SCHILY.xattr." + key, value) for key, value in values.items()))) + header() + END
    )
    assert found.entry.xattrs == tuple(sorted((key.decode(), value) for key, value in values.items()))


def test_an_empty_xattr_is_an_xattr():
    assert only(extended(record(b"SCHILY.xattr.user.e", b"")) + header() + END).entry.xattrs == (("user.e", b""),)


@pytest.mark.parametrize("name", [b"", b"user.a\0b"])
def test_an_xattr_no_system_could_hold_is_refused(name):
    refused(extended(record(b"SCHILY.xattr." + name, b"1")) + header() + END, "attribute")


def test_other_records_are_passed_over():
    data = extended(records((b"atime", b"1.5"), (b"comment", b"x"), (b"LIBARCHIVE.xattr.user.a", b"YQ"))) + header()
    assert only(data + END).entry.xattrs == ()


# ---- global headers, and records that take back


def test_a_global_header_holds_for_all_that_follow():
    data = tar([file("a"), file("b", pax={"uid": "7"})], pax={"uid": "5", "comment": "all"})
    assert [m.entry.uid for m in members(data)] == [5, 7]


def test_a_members_records_go_before_global_ones_in_any_order():
    data = extended(record(b"uid", b"1")) + extended(record(b"uid", b"2"), b"g") + header(b"a") + header(b"b") + END
    assert [m.entry.uid for m in members(data)] == [1, 2]


def test_an_empty_record_takes_back_a_global_one():
    first = extended(records((b"uid", b"9"), (b"path", b"wrong")), b"g")
    data = first + extended(records((b"uid", b""), (b"path", b""))) + header(b"right", uid=b"0000003\0") + END
    member = only(data)
    assert (member.path, member.entry.uid) == ("right", 3)


def test_a_global_header_alone_is_an_empty_archive():
    assert members(extended(record(b"comment", b"x"), b"g") + END, whole=True) == []


# ---- GNU tar, where there is one


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs GNU tar")
@pytest.mark.parametrize("style", ["v7", "oldgnu", "gnu", "ustar", "posix"])
def test_gnu_tar(tmp_path, style):
    source = tmp_path / "in"
    long = {"v7": "n" * 90, "ustar": "d" * 90 + "/" + "n" * 90}.get(style, "n" * 120)
    (source / "sub").mkdir(parents=True)
    (source / long).parent.mkdir(exist_ok=True)
    (source / "sub" / "f").write_bytes(b"x" * 700)
    os.utime(source / "sub" / "f", (1_000_000_000, 1_000_000_000))
    os.chmod(source / "sub" / "f", 0o640)
    os.link(source / "sub" / "f", source / "sub" / "g")
    (source / long).write_bytes(b"long")
    (source / "l").symlink_to("sub/f")
    command = ["tar", f"--format={style}", "--owner=1234", "--group=567", "--sort=name", "-C", str(source), "-cf-", "."]
    data = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    found = {member.path: (member, content) for member, content in read(data, whole=True)}
    one, content = found["sub/f"]
    assert content == b"x" * 700
    assert one.entry[:6] == (FILE, 0o640, 1234, 567, 1_000_000_000, 700)
    assert found["sub/g"][0].hardlink == "sub/f"
    assert found["l"][0].entry.target == "sub/f"
    assert found[""][0].entry.kind == found["sub"][0].entry.kind == DIRECTORY
    assert found[long][1] == b"long"


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs GNU tar")
def test_gnu_sparse_members_are_refused(tmp_path):
    with open(tmp_path / "f", "wb") as sink:
        sink.seek(1 << 20)
        sink.write(b"end")
    for style in ("gnu", "posix"):
        command = ["tar", "--sparse", f"--format={style}", "-C", str(tmp_path), "-cf-", "f"]
        refused(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout, "sparse")


def test_gnus_times_are_no_prefix():
    block = header(b"name", magic=b"ustar  \0", prefix=b"07777777777\x0007777777777\0")
    assert only(block + END).path == "name"


@pytest.mark.parametrize("magic", [b"ustar\x0000", b"ustar\0\0\0"])
def test_the_prefix_goes_before_the_name(magic):
    assert only(header(b"name", magic=magic, prefix=b"a/b") + END).path == "a/b/name"


def test_the_oldest_tars_mark_directories_by_a_slash():
    data = header(b"d/", magic=b"", type=b"\0") + header(b"d/f", magic=b"", type=b"\0") + END
    assert [(m.path, m.entry.kind) for m in members(data)] == [("d", DIRECTORY), ("d/f", FILE)]


def test_volume_labels_are_passed_over():
    assert [m.path for m in members(header(b"LABEL", type=b"V") + header(b"f") + END)] == ["f"]


def test_sizes_in_base_256():
    size = b"\x80" + (3).to_bytes(11, "big")
    assert read(header(size=size) + padded(b"abc") + END)[0][1] == b"abc"


def test_a_size_in_records_goes_before_the_fields():
    data = extended(record(b"size", b"3")) + header() + padded(b"abc") + END
    assert read(data)[0][1] == b"abc"


@pytest.mark.parametrize("kind", [b"1", b"2", b"5"])
def test_links_and_directories_have_no_data_whatever_their_size(kind):
    data = header(b"a") + header(b"x", type=kind, link=b"a", size=b"00000001000\0") + header(b"b") + END
    assert [m.path for m in members(data)] == ["a", "x", "b"]


# ---- names


def test_names_are_relative_to_the_root_and_without_dots():
    data = tar([file("./a/./b"), file("a//c"), folder("d/"), hardlink("e", "./a//b")])
    found = members(data)
    assert [m.path for m in found] == ["a/b", "a/c", "d", "e"]
    assert found[3].hardlink == "a/b"
    assert found[0].raw == "./a/./b"


def test_absolute_names_begin_at_the_root_of_a_layer():
    found = members(tar([folder("/"), file("/etc/x"), hardlink("/etc/y", "/etc/x")]))
    assert [(m.path, m.hardlink) for m in found] == [("", None), ("etc/x", None), ("etc/y", "etc/x")]


@pytest.mark.parametrize("member", [file("/etc/x"), hardlink("a", "/etc/x")])
def test_absolute_names_are_refused_in_a_whole_archive(member):
    refused(tar([member]), "absolute path", whole=True)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("name", ["../x", "a/../../x", "a/..", "..", "a/../b"])
def test_names_that_climb_are_refused(name, whole):
    refused(tar([file(name)]), "leaves the root", whole=whole)
    refused(tar([file("a"), hardlink("b", name)]), "leaves the root", whole=whole)


def test_a_symbolic_link_may_say_what_it_likes():
    assert [m.entry.target for m in members(tar([symlink("a", "../../x"), symlink("b", "/x/..")]))] == [
        "../../x",
        "/x/..",
    ]


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_the_root_is_a_directory(kind):
    refused(tar([Member("./.", kind=kind, link="x")]), "root")


def test_empty_names_and_names_with_nul_are_refused():
    refused(header(b"") + END, "empty")
    refused(extended(record(b"path", b"a\0b")) + header() + END, "NUL")
    refused(extended(b"\0", b"L") + header() + END, "empty")


@pytest.mark.parametrize("kind", [b"1", b"2"])
def test_links_to_nothing_or_with_nul_are_refused(kind):
    refused(header(type=kind) + END, "is a link to")
    refused(extended(record(b"linkpath", b"a\0b")) + header(type=kind) + END, "is a link to")


# ---- damage


def test_an_archive_torn_anywhere_is_refused():
    data = tar([file("first", b"x" * 600, pax={"comment": "c"}), folder("d"), file("last", b"y" * 100)])
    ends = [0, *(member.offset + len(content) for member, content in read(data))]
    marks_begin = ends[-1] + (-ends[-1] % 512)
    for cut in range(marks_begin):
        complete = [end for end in ends if end <= cut <= end + (-end % 512)]
        if complete:
            # All content there is up to here; whether there was more only a digest can tell.
            assert len(members(data[:cut])) == ends.index(complete[-1])
        else:
            refused(data[:cut], "ends")
        refused(data[:cut], "ends", whole=True)
    for cut in range(marks_begin, len(data)):
        if (cut - marks_begin) % 512 == 0 or cut > marks_begin + 512:
            assert len(members(data[:cut])) == 3
        else:
            refused(data[:cut], "in the middle of a header")
    assert len(members(data[: marks_begin + 512], whole=True)) == 3


def test_the_last_padding_may_be_missing_in_a_layer():
    data = tar([file("f", b"hi")])[: 512 + 2]
    archive = Archive(PieceStream(iter([data])), "it")
    assert [member.path for member in archive] == ["f"]
    assert not archive.marked


def test_marked():
    archive = Archive(PieceStream(iter([tar([file("f")])])), "it")
    assert [member.path for member in archive] == ["f"]
    assert archive.marked


def test_every_flipped_bit_of_a_header_is_found_or_harmless():
    data = tar([file("f", b"abc", mtime=1)], format=tarfile.USTAR_FORMAT)
    for position in range(512):
        for bit in range(8):
            broken = flipped(data, position, bit)
            if 148 <= position < 156:
                try:
                    found = members(broken)
                except InputError:
                    continue
                assert found == members(data)  # a blank or NUL around the number
            else:
                refused(broken, "damaged|unknown")


def test_both_ways_of_summing_a_header_are_taken():
    block = header(b"caf\xe9", checksum=b"")
    signed = sum(b - 256 if b > 127 else b for b in block[:148] + b" " * 8 + block[156:])
    for total in (signed, signed + 256):
        assert len(members(header(b"caf\xe9", checksum=b"%06o\0 " % total) + END)) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"size": b"0000000008x\0"},
        {"size": b"-0000000001\0"},
        {"uid": b"12 34\0"},
        {"mtime": b"0x1\0"},
        {"mode": b"rwxr-xr\0"},
        {"type": b"3", "major": b"9\0"},
    ],
)
def test_numbers_that_are_none_are_refused(fields):
    refused(header(**fields) + END, "not a number")


@pytest.mark.parametrize(
    "pair",
    [
        (b"size", b"1_0"),
        (b"size", b" 1"),
        (b"size", b"+1"),
        (b"uid", b"1e3"),
        (b"mtime", b"1.x"),
        (b"mtime", b"1.5.5"),
        (b"mtime", b"nan"),
        (b"gid", b"9" * 5000),
    ],
)
def test_records_that_are_no_numbers_are_refused(pair):
    refused(extended(record(*pair)) + header() + END, "not a number")


@pytest.mark.parametrize("field", ["size", "uid", "gid", "mtime"])
def test_numbers_out_of_all_bounds_are_refused(field):
    width = 12 if field in ("size", "mtime") else 8
    if width == 12:
        refused(header(**{field: b"\x80" + b"\x7f" * 11}) + END, "bounds")
        refused(header(**{field: b"\xff" + b"\x80" + b"\0" * 10}) + END, "bounds")
    refused(extended(record(field.encode(), b"9999999999999999999")) + header() + END, "bounds")


@pytest.mark.parametrize("kind", [b"0", b"5", b"L", b"x", b"V"])
def test_negative_sizes_are_refused(kind):
    refused(header(type=kind, size=b"\xff" * 12) + bytes(512) + END, "negative")


def test_negative_owners_and_devices_are_refused():
    refused(header(uid=b"\xff" * 8) + END, "out of bounds")
    refused(extended(record(b"gid", b"-1")) + header() + END, "out of bounds")
    refused(header(type=b"3", major=b"\xff" * 8) + END, "out of bounds")
    refused(header(type=b"3", minor=b"\x80" + (1 << 22).to_bytes(7, "big")) + END, "out of bounds")


@pytest.mark.parametrize(
    "data",
    [
        b"garbage",
        b"5 a=\nrest",
        b"6 a=\n",
        b"4 a=\n",
        b"0 a=b\n",
        b" a=b\n",
        b"7 abcd\n",
        b"99999999999 a=b\n",
        b"7 a=bcd",
        b"-7 a=b\n",
        b"5 a=\n\0" + b"5 a=\n",
    ],
)
def test_malformed_records_are_refused(data):
    refused(extended(data) + header() + END, "extended header is malformed")


def test_records_may_be_followed_by_nul():
    assert only(extended(record(b"uid", b"5") + b"\0\0") + header() + END).entry.uid == 5


def test_a_million_bytes_of_tiny_records_are_read_in_a_moment():
    data = extended(b"5 a=\n" * 200_000) + header() + END
    assert only(data).path == "f"


def test_extended_headers_have_a_bound():
    refused(header(type=b"x", size=b"77777777777\0") + END, "larger than 1 MiB")
    refused(header(type=b"L", size=b"00010000001\0") + END, "larger than 1 MiB")


@pytest.mark.parametrize("data", [extended(record(b"uid", b"5")), extended(b"name\0", b"L"), extended(b"name\0", b"K")])
def test_an_extended_header_without_a_member_is_refused(data):
    refused(data, "extended header")
    refused(data + END, "extended header")


@pytest.mark.parametrize("kind", [b"S", b"D", b"M", b"N", b"X", b"Z", b"8"])
def test_unknown_members_are_refused(kind):
    refused(header(type=kind) + END, "sparse" if kind == b"S" else "unknown type of member")


def test_sparse_records_are_refused():
    refused(extended(record(b"GNU.sparse.major", b"1")) + header() + END, "sparse")


def test_acls_are_refused_where_nothing_may_be_lost():
    data = extended(record(b"SCHILY.acl.access", b"user::rwx")) + header() + END
    assert len(members(data)) == 1
    refused(data, "access control list", whole=True)


# ---- the end


def test_more_after_the_end_mark():
    data = tar([file("f")])
    assert len(members(data + b"trailing")) == 1
    refused(data + b"trailing", "after its end mark", whole=True)
    assert len(members(data + bytes(20480), whole=True)) == 1


def test_one_empty_block_between_members_is_damage():
    refused(header(b"a") + bytes(512) + header(b"b") + END, "after its end mark")


def test_everything_is_read_to_the_end():
    data = tar([file("f")]) + b"trailing" * 300_000
    stream = PieceStream(iter([data]))
    for _ in Archive(stream, "it"):
        pass
    assert stream.position == len(data)


def test_nothing_at_all():
    assert members(b"") == []
    refused(b"", "end mark", whole=True)
    assert members(END, whole=True) == []


# ---- how the bytes are passed over


def test_data_can_be_taken_in_part_or_not_at_all():
    data = tar([file(f"f{number}", bytes([number]) * 3_000_000) for number in range(3)])
    for stream in (PieceStream(iter([data])), FileStream(io.BytesIO(data), 0, len(data))):
        archive = Archive(stream, "it")
        found = []
        for number, member in enumerate(archive):
            if number == 0:
                assert len(next(archive.data())) == 1 << 20
            elif number == 1:
                assert b"".join(archive.data()) == bytes([1]) * 3_000_000
                assert list(archive.data()) == []
            found.append(member.path)
        assert found == ["f0", "f1", "f2"]


def test_an_archive_inside_a_file():
    data = tar([file("f", b"abc")])
    stream = FileStream(io.BytesIO(b"before" + data + b"after"), 6, len(data))
    assert paths(Archive(stream, "it", whole=True)) == ["f"]


def paths(archive: Archive) -> list[str]:
    return [member.path for member in archive]


def test_a_file_that_ends_before_its_size():
    data = tar([file("f", b"x" * 5000)])[:2000]
    stream = FileStream(io.BytesIO(data), 0, len(data))
    with pytest.raises(InputError, match="in the middle of a file"):
        paths(Archive(stream, "it"))
    archive = Archive(FileStream(io.BytesIO(data), 0, len(data)), "it")
    next(iter(archive))
    with pytest.raises(InputError, match="in the middle of a file"):
        list(archive.data())


def test_global_records_without_end():
    """Each member is looked through for them: a few kilobytes of them could take hours."""
    found = [tar([], pax={f"comment.{part}.{number}": "x" for number in range(600)}) for part in "ab"]
    headers = (data[: -(-len(data.rstrip(b"\0")) // 512) * 512] for data in found)
    refused(b"".join(headers) + tar([file("f")]), "global records")
