# SPDX-License-Identifier: MIT
"""A rebuild takes from the cache what did not change, makes what did, and says why; the image is the same each time."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support import compare, forks, tools, warm
from support.warm import HITS, LAYERS, Image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

# The product, which may not unpack anything, read a package or write a layer.
SEALED = """\
from oe_oci import build, content, decompress, digests
from oe_oci.packages import payload
real = content.content_digest

def refuse(*_, **__):
    raise AssertionError("an input was opened, or a layer made")

payload.read_package = decompress.decompress = build.LayerWriter = refuse
digests.content_digest = lambda one: refuse() if isinstance(one, (content.File, content.Region)) else real(one)
"""
FIRST = dict.fromkeys(LAYERS, "nothing is kept of it")


@pytest.fixture(scope="module")
def forked() -> Iterator[forks.Forks]:
    yield from forks.running()


@pytest.fixture(params=[False, True], ids=["rootfs.tar.gz", "rootfs folder"])
def image(request, forked) -> Iterator[Image]:
    with tools.scratch() as place:
        yield Image(place, forked, unpacked=request.param, settled=False)


@pytest.fixture(params=[False, True], ids=["rootfs.tar.gz", "rootfs folder"])
def settled(request, forked) -> Iterator[Image]:
    with tools.scratch() as place:
        tools.need_own_disk(place)
        yield Image(place, forked, unpacked=request.param)


@pytest.fixture
def cache(image) -> Path:
    return filled(image)


def filled(image: Image) -> Path:
    """A cache with the image's layers."""
    cache = image.place / "cache"
    assert image.build(cache) == FIRST
    image.clear()
    assert image.build(cache) == HITS
    return cache


def digests(image: Image) -> dict[str, str]:
    """Of the layers that were built last."""
    report = json.loads((image.out / "app-oci.json").read_text())
    return {layer["name"]: layer["digest"] for layer in report["layers"]}


def unpacked(image: Image, path: str) -> bytes:
    """What a file of the image holds, as umoci unpacks it."""
    with tools.scratch() as folder:
        return (tools.umoci_unpack(image.out / "app-oci", "latest", folder / "bundle") / path).read_bytes()


def test_nothing_changed(settled):
    """Nothing is opened, nothing made; whatever lay there before, the outputs are the same."""
    image, cache = settled, filled(settled)
    for _ in range(2):
        assert image.build(cache, before=SEALED) == HITS
        image.clear()
    assert image.build(cache, "--jobs", "4") == HITS
    assert image.build(cache, "--paranoid") == HITS


def test_sealed_is_sealed(settled):
    """The test above can fail."""
    image, cache = settled, filled(settled)
    done = image.forks(*image.words(cache, "--paranoid"), before=SEALED, status=1)
    assert "an input was opened, or a layer made" in done.stderr
    next(cache.glob("entries/*/*")).unlink()
    image.forks(*image.words(cache), before=SEALED, status=1)


def test_a_package_rebuilt_with_the_same_version(image, cache):
    """Its bytes count: the layer is made again with the right program; with the old package the old one is back."""
    old, before = digests(image), unpacked(image, "bin/tool")
    image.write_feed(warm.tool(b"TOOL"))
    right = image.cold()
    planned = image.forks(*image.words(cache, "--json", command="plan"))
    told = image.build(cache, right=right)
    assert warm.reasons(json.loads(planned.stdout)) == told
    assert told == {**HITS, "tools": told["tools"]}
    packed = [warm.tool(text).data for text in (b"tool", b"TOOL")]
    before_after = "…→".join(hashlib.sha256(data).hexdigest()[:12] for data in packed)
    assert told["tools"] == f"package tool 1.0: file digest {before_after}…"
    assert (before, unpacked(image, "bin/tool")) == (b"tool" * 900, b"TOOL" * 900)
    new = digests(image)
    assert {name for name in LAYERS if old[name] != new[name]} == {"tools"}
    image.write_feed(warm.tool())
    assert image.build(cache) == HITS
    assert (digests(image), unpacked(image, "bin/tool")) == (old, before)
    image.write_feed(warm.tool(b"TOOL"))
    assert image.build(cache, right=right) == HITS


def test_an_index_that_is_not_made_anew(image, cache):
    """The package is not what the index says: an error, with a cache as without."""
    (image.feed / warm.tool().name).write_bytes(warm.tool(b"TOOL").data)
    errors = [
        image.forks(*image.words(cache, "-q", *more), status=2).stderr for more in ((), ("--set", "OCI_LAYER_CACHE=0"))
    ]
    assert errors[0] == errors[1]
    assert "tool" in errors[0]


def test_one_file_changed(image, cache):
    (image.place / "motd").write_text("HELLO\n")
    right = image.cold()
    told = image.build(cache, right=right)
    assert told == {**HITS, "motd": told["motd"]}
    assert told["motd"].startswith("file /etc/motd: content ")
    assert unpacked(image, "etc/motd") == b"HELLO\n"
    assert image.build(cache, right=right) == HITS


def test_what_is_in_no_layer_makes_none(image, cache):
    for more in ("OCI_IMAGE_LABELS=a=b", "OCI_IMAGE_TAG=2", "IMAGE_BASENAME=other", "OCI_IMAGE_CMD=/bin/true"):
        right = image.cold("--set", more)
        image.clear()
        assert image.build(cache, "--set", more, right=right) == HITS, more


@pytest.mark.parametrize("compression", ["", "gz", "zst"])
def test_archives_of_layers_from_the_cache(image, cache, compression):
    words = ("--set", "OCI_IMAGE_TAR_OUTPUT=1", "--set", f"OCI_IMAGE_TAR_COMPRESSION={compression}")
    right = image.cold(*words)
    assert len(right) > 12
    for _ in range(2):
        assert image.build(cache, *words, right=right) == HITS


def test_a_cache_of_another_compression_is_none(image, cache):
    words = ("--set", "OCI_LAYER_COMPRESSION=zstd:1")
    right = image.cold(*words)
    told = image.build(cache, *words, right=right)
    assert {reason.partition(":")[0] for reason in told.values()} == {"compressor"}
    assert image.build(cache, *words, right=right) == HITS
    image.clear()
    assert image.build(cache) == HITS


def test_without_a_cache_there_is_none(image):
    image.clear()
    done = image.forks(*image.words(image.place / "cache", "--json", "-q", "--set", "OCI_LAYER_CACHE=0"))
    report: dict[str, Any] = json.loads(done.stdout)
    assert not any("cache" in layer for layer in report["layers"])
    assert not (image.place / "cache").exists()


def test_the_folder_may_be_removed_at_any_time(image, cache):
    shutil.rmtree(cache)
    assert image.build(cache) == FIRST
    assert compare.contents(image.out) == image.right


def test_layers_stay_in_their_order_whichever_is_found_first(folder):
    """The first one takes longest to look for; one is made anew, and one left out."""
    rootfs = folder / "rootfs"
    for name in ("large", "small", "changed", "last"):
        (rootfs / name).mkdir(parents=True)
        (rootfs / name / "file").write_text(name * (1 << 20 if name == "large" else 1))
    layers = ["large:directories:/large", "small:directories:/small", "again:directories:/small"]
    layers += ["changed:directories:/changed", "last:directories:/last"]
    conf = folder / "app.conf"
    conf.write_text(f'SOURCE_DATE_EPOCH = "1700000000"\nOCI_LAYERS = "{" ".join(layers)}"\n')

    def built(*words: object) -> dict[str, Any]:
        shutil.rmtree(folder / "out", ignore_errors=True)
        words = ("build", conf, "--rootfs", rootfs, "--deploy-dir", folder / "out", "--json", *words)
        return json.loads(tools.oe_oci(*words).stdout)

    built("--cache-dir", folder / "cache")
    (rootfs / "changed" / "file").write_text("changes")
    report = built("--cache-dir", folder / "cache", "--paranoid")
    assert [layer["name"] for layer in report["layers"]] == ["large", "small", "again", "changed", "last"]
    assert [layer["cache"]["hit"] for layer in report["layers"] if "cache" in layer] == [True, True, False, True]
    assert report["layers"][2]["note"] == "left out: it changes nothing"
    fresh = built("--cache-dir", folder / "other")
    assert [layer.get("diffId") for layer in report["layers"]] == [layer.get("diffId") for layer in fresh["layers"]]
    manifests = [each["image"]["digest"] for each in (report, fresh)]
    assert manifests[0] == manifests[1]


# ---- very many small files


@pytest.fixture(scope="module")
def crowd() -> Iterator[Path]:
    """An image of one layer of 2,500 small files, built once: `conf`, `rootfs`, `out` and `cache`."""
    with tools.scratch() as place:
        for number in range(2500):
            file = place / "rootfs" / "data" / f"{number % 50:02}" / f"{number:04}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"%d\n" % number * (number % 30))
        (place / "conf").write_text('OCI_LAYERS = "data:directories:/data"\n')
        build_crowd(place)
        yield place


def build_crowd(place: Path, rootfs: str = "rootfs", prefix: Sequence[object] = ()) -> dict[str, Any]:
    """What the report says of the layer."""
    words = ("--rootfs", place / rootfs, "--deploy-dir", place / "out", "--cache-dir", place / "cache", "--jobs", "3")
    done = tools.run(*prefix, sys.executable, "-m", "oe_oci", "build", place / "conf", "--json", *words)
    (layer,) = json.loads(done.stdout)["layers"]
    return layer


@pytest.fixture
def new(crowd) -> Iterator[Path]:
    """A copy of all its files."""
    shutil.copytree(crowd / "rootfs", crowd / "new")
    yield crowd / "new"
    shutil.rmtree(crowd / "new")


@pytest.mark.parametrize("way", ["as it is", "fakeroot", "pseudo"])
def test_very_many_files_that_are_all_new(crowd, new, way):
    """One other process reads each of them, and finds what was there."""
    tools.need("strace", *{"fakeroot", "pseudo"} & {way})
    (crowd / "state").mkdir(exist_ok=True)
    # Its server would hold the output for half a minute.
    serving = 'pseudo "$@"; status=$?; pseudo -S >&2; exit $status'
    pseudo = ("env", "PSEUDO_PREFIX=/usr", f"PSEUDO_LOCALSTATEDIR={crowd / 'state'}", "sh", "-c", serving, "sh")
    faking = {"as it is": (), "fakeroot": ("fakeroot",), "pseudo": pseudo}[way]
    traced = ("strace", "-f", "-qq", "-s", "200", "-e", "trace=execve,openat", "-o", crowd / "trace", *faking)
    assert build_crowd(crowd, "new", traced)["cache"]["hit"]
    lines = (crowd / "trace").read_text().splitlines()
    (reader,) = {line.split()[0] for line in lines if f"{new}/data/07/0057" in line}
    assert any(line.split()[0] == reader and "oe_oci.readers" in line for line in lines)

    (new / "data" / "07" / "0057").write_text(f"another, {way}")
    found = build_crowd(crowd, "new", faking)["cache"]
    assert not found["hit"]
    assert "data/07/0057" in found["reason"]
