# SPDX-License-Identifier: MIT
"""Whatever the bytes are: an `OciError` or a result, in bounded time and memory."""

from __future__ import annotations

import contextlib
import json
import tarfile
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.layouts import (
    COMPRESS,
    Member,
    base_layer,
    blob_name,
    docker_manifest,
    extended,
    file,
    folder,
    hardlink,
    header,
    image,
    index,
    layout,
    record,
    symlink,
    tar,
    to_json,
)
from support.layouts import Files as LayoutFiles

from oe_oci.changeset import apply_changeset, read_changeset
from oe_oci.decompress import BZIP2, GZIP, NONE, XZ, ZSTD, decompress
from oe_oci.errors import InputError, OciError
from oe_oci.lint import lint_layout
from oe_oci.oci.layout import find_image, images, open_layout, read_image
from oe_oci.oci.verify import verify
from oe_oci.stream import PieceStream
from oe_oci.tree import Tree
from oe_oci.untar import Archive

fuzz = settings(derandomize=True, deadline=None, database=None, max_examples=300)
few = settings(derandomize=True, deadline=None, database=None, max_examples=60)

SAMPLES = [
    tar([folder("d"), file("d/f", b"x" * 600, pax={"comment": "c"}), hardlink("h", "d/f"), symlink("s", "d")]),
    tar([file("n" * 150, b"abc"), Member("c", kind=tarfile.CHRTYPE, device=(1, 3))], format=tarfile.GNU_FORMAT),
    tar([file("d/.wh.x", b""), file("d/.wh..wh..opq", b""), file("f", uid=1 << 31, mtime=-1.5)]),
    extended(record(b"SCHILY.xattr.user.a", b"\0=\n")) + extended(record(b"uid", b"7"), b"g") + header() + bytes(1024),
]


@st.composite
def mutated(draw, samples):
    """A valid input with some bytes changed, put in, cut out or taken twice."""
    data = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        stop = min(len(data), start + draw(st.sampled_from([0, 1, 1, 1, 8, 512, 4096])))
        data[start:stop] = draw(st.one_of(st.binary(max_size=16), st.just(bytes(data[start:stop]) * 2)))
    return bytes(data)


@st.composite
def resummed(draw):
    """Headers whose fields are anything at all, but whose checksum is right."""
    fields = {"type": st.sampled_from([bytes([c]) for c in b"01234567xgLKVSD\0"])}
    for name, width in (("size", 12), ("uid", 8), ("mtime", 12), ("link", 100), ("major", 8), ("prefix", 155)):
        fields[name] = st.one_of(
            st.binary(max_size=width), st.sampled_from([b"\xff" * width, b"\x80" + b"\xff" * (width - 1), b"7" * width])
        )
    blocks = []
    for _ in range(draw(st.integers(1, 3))):
        chosen = draw(st.fixed_dictionaries({}, optional=fields))
        name = draw(st.sampled_from([b"f", b"d/", b"../x", b"/", b"", b".wh.f", b"a/.wh...", b"\xff\xfe"]))
        blocks.append(
            header(name, **chosen) + draw(st.sampled_from([b"", bytes(512), b"12 path=abc\n".ljust(512, b"\0")]))
        )
    return b"".join(blocks)


def read_tar(data: bytes, whole: bool) -> None:
    archive = Archive(PieceStream(iter([data])), "it", whole=whole)
    total = sum(len(piece) for member in archive for piece in archive.data())
    assert total <= len(data)


def apply_layer(data: bytes) -> None:
    tree = Tree()
    for _ in range(2):
        archive = Archive(PieceStream(iter([data])), "it")
        apply_changeset(tree, read_changeset(archive, "it", tree, None))


@fuzz
@given(st.one_of(st.binary(max_size=2000), mutated(SAMPLES), resummed()), st.booleans())
def test_untar(data, whole):
    try:
        read_tar(data, whole)
    except InputError:
        return


@fuzz
@given(st.one_of(mutated(SAMPLES), resummed()))
def test_changeset(data):
    try:
        apply_layer(data)
    except InputError:
        return


@fuzz
@given(mutated([COMPRESS[name](SAMPLES[0]) for name in (GZIP, XZ, BZIP2, ZSTD)]), st.integers(1, 5000))
def test_decompress_what_is_nearly_right(data, piece):
    for name in (GZIP, XZ, BZIP2, ZSTD, NONE):
        try:
            list(decompress((data[i : i + piece] for i in range(0, len(data), piece)), name, "it", limit=1 << 20))
        except InputError:
            continue


@fuzz
@given(st.sampled_from([GZIP, XZ, BZIP2, ZSTD]), st.binary(max_size=300), st.integers(0, 9))
def test_decompress_what_only_begins_well(name, data, kept):
    head = COMPRESS[name](b"x")[:kept]
    try:
        list(decompress(iter([head + data]), name, "it", limit=1 << 20))
    except InputError:
        return


def test_what_a_header_promises_is_not_allocated():
    huge = b"%011o\0" % ((8 << 30) - 1)
    tracemalloc.start()
    try:
        for data in (
            header(size=huge) + b"abc",
            header(type=b"x", size=huge),
            header(type=b"L", size=huge),
            header(type=b"V", size=huge),
        ):
            with pytest.raises(InputError):
                read_tar(data, whole=False)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


# ---- layouts: any node of any document can be any JSON value

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["sha256:" + "0" * 64, "sha256:../../etc/passwd", "sha512:x", "\ud800", "\0", "1.0"]),
    st.lists(st.integers(0, 3), max_size=3),
    st.dictionaries(st.text(max_size=5), st.none(), max_size=2),
    st.just([[[[{}]]]]),
)


def places(value, path=()):
    """The path of every node of a document."""
    yield path
    nodes = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in nodes:
        yield from places(inner, (*path, key))


def put(value, path, new):
    """The document with one node replaced."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


def with_node(document: str, path, new) -> LayoutFiles:
    """A layout in which one node of a document is something else, and all digests are those of what is there."""
    files = LayoutFiles()
    inner = {"index": lambda d: None, "manifest": lambda d: None, "config": lambda d: None, "docker": lambda d: None}

    def edit(fields):
        changed = put(fields, path, new)
        if isinstance(changed, dict):
            fields.clear()
            fields.update(changed)

    inner[document] = edit
    entry = image(files, [base_layer()], manifest=inner["manifest"], config=inner["config"])
    index(files, [entry], inner["index"])
    plain = layout()
    return docker_manifest(plain, edit) if document == "docker" else files


def example(document: str):
    plain = layout()
    made = plain.images[0]
    return {
        "index": json.loads(plain.files["index.json"]),
        "manifest": made["manifest"],
        "config": made["config"],
        "docker": {"Config": "x", "RepoTags": ["a:b"], "Layers": ["x"]},
    }[document]


def read_all(path: str) -> None:
    with open_layout(path) as opened:
        for _, descriptor in images(opened):
            read_image(opened, descriptor)
        find_image(opened, "1.0", None)


@pytest.mark.parametrize("document", ["index", "manifest", "config", "docker"])
def test_json_of_wrong_types_at_every_place(tmp_path_factory, document):
    everywhere = [path for path in places(example(document)) if path]

    @few
    @given(st.sampled_from(everywhere), VALUES)
    def check(place, new):
        path = tmp_path_factory.mktemp("layout")
        with_node(document, place, new).write(path)
        with contextlib.suppress(InputError):
            read_all(str(path))
        for judge in (verify, lint_layout):
            assert json.dumps([violation._asdict() for violation in judge(str(path))])

    check()


@pytest.mark.parametrize("document", ["index", "manifest", "config"])
def test_each_place_with_each_kind_of_value(tmp_path, document):
    for number, place in enumerate(places(example(document))):
        for kind, new in enumerate((None, 7, "text", [], {}, [{}], True)):
            if place:
                path = tmp_path / f"{number}-{kind}"
                with_node(document, place, new).write(path)
                try:
                    read_all(str(path))
                except InputError:
                    continue


@few
@given(st.one_of(st.binary(max_size=200), VALUES.map(to_json)))
def test_documents_that_are_anything(tmp_path_factory, data):
    for name in ("index.json", "oci-layout", "manifest", "config", "manifest.json"):
        path = tmp_path_factory.mktemp("layout")
        files = layout()
        made = files.images[0]
        target = {
            "manifest": blob_name(made["descriptor"]["digest"]),
            "config": blob_name(made["manifest"]["config"]["digest"]),
        }.get(name, name)
        files.files[target] = data
        files.write(path)
        with contextlib.suppress(InputError):
            read_all(str(path))
        verify(str(path))
        lint_layout(str(path))


@few
@given(data=st.data())
def test_archives_that_are_nearly_right(tmp_path_factory, data):
    folder_ = tmp_path_factory.mktemp("archive")
    whole = docker_manifest(layout()).archive(folder_ / "a.tar").read_bytes()
    samples = [whole, COMPRESS[GZIP](whole)]
    (folder_ / "b.tar").write_bytes(data.draw(mutated(samples)))
    for judge in (read_all, verify, lint_layout):
        try:
            judge(str(folder_ / "b.tar"))
        except OciError:
            continue
