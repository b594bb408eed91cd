# SPDX-License-Identifier: MIT
from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import time
from typing import TYPE_CHECKING

import pytest
import pyzstd
from support import rpms
from support.packages import write_feed as write_debs
from support.rpmfeeds import (
    element,
    facts,
    opened,
    package,
    pkgid,
    primary,
    remembered,
    world,
    write_feed,
    write_repodata,
)

from oe_oci.errors import ConfigError, InputError
from oe_oci.packages import libsolv
from oe_oci.packages.payload import Payloads
from oe_oci.packages.rpm import feed, repomd

if TYPE_CHECKING:
    from pathlib import Path

    from oe_oci.packages.rpm.feed import Feeds

LATER = time.time_ns() + 3600 * 10**9  # when a build begins that may trust what was just written


def found(feeds: Feeds, name: str) -> list[str]:
    """The packages of a name, the best first."""
    known = world(feeds).named(name, "")
    return [f"{one.version} {one.arch} {one.feed}" for one in known if one.name == name]


def one_of(feeds: Feeds, name: str):
    return world(feeds).named(name, "")[0]


def write_loose(folder: Path, *texts: str) -> Path:
    """Packages in a folder, without an index."""
    folder.mkdir(parents=True, exist_ok=True)
    for made in map(package, map(facts, texts)):
        made.write(folder)
    return folder


def write_indexed(folder: Path, *texts: str, location: str = "") -> Path:
    """Packages with an index of what their files hold."""
    write_loose(folder, *texts)
    elements = []
    for one in map(facts, texts):
        data = package(one).data
        place = location or package(one).filename
        elements.append(element(one, digest=hashlib.sha256(data).hexdigest(), size=len(data), location=place))
    return write_repodata(folder, {"primary": primary(elements)})


def refused(text: str, *folders: Path, **how) -> InputError:
    with pytest.raises(InputError, match=text) as caught:
        world(opened(*folders, **how))
    return caught.value


SHOWN = {"md5": "MD5", "sha1": "SHA-1", "sha224": "SHA-224", "sha384": "SHA-384", "sha512": "SHA-512"}
SHOP, LIBC, DOCS = "shop 1:2.0-3 ; needs libc", "libc 3", "docs 1 noarch"


# ---- what is read


@pytest.mark.parametrize("write", [write_loose, write_indexed])
def test_a_folder(tmp_path, write):
    feeds = opened(write(tmp_path / "feed", SHOP, LIBC, DOCS))
    assert (feeds.kind, feeds.archs) == ("rpm", ("noarch", "x86_64"))
    assert feeds.names() == {"shop", "libc", "docs"}
    one = one_of(feeds, "shop")
    data = package(facts(SHOP)).data
    assert one[:3] == ("shop", "1:2.0-3", "x86_64")
    assert (one.path, one.size) == (str(tmp_path / "feed" / "shop-2.0-3.x86_64.rpm"), len(data))
    assert one.digest == (hashlib.sha256(data).hexdigest() if write is write_indexed else None)
    assert one_of(feeds, "shop") is one
    feeds.check_present(one)
    os.unlink(one.path)
    with pytest.raises(InputError, match="which is not there" if write is write_indexed else "is no more"):
        feeds.check_present(one)


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha224", "sha384", "sha512"])
def test_a_checksum_of_any_kind_is_held_against_the_file(tmp_path, kind):
    made = package(facts(DOCS))
    path = made.write(tmp_path)
    said = hashlib.new(kind, made.data).hexdigest()
    text = element(facts(DOCS), size=len(made.data)).replace(pkgid(facts(DOCS)), said).replace('"sha256"', f'"{kind}"')
    one = one_of(opened(write_primary(tmp_path, primary([text]))), "docs")
    assert (one.digest, one.checksum) == (None, said)
    with Payloads() as payloads:
        (contents,) = payloads.read([one], 1)
        assert contents.digest == hashlib.sha256(made.data).hexdigest()
        path.write_bytes(rpms.package("docs", "1-1", tags={1004: (rpms.I18N, ["docs for tesTs"])}).data)
        with pytest.raises(InputError, match=f"docs-1-1.noarch.rpm: its {SHOWN[kind]} is .*, the index says {said}"):
            payloads.read([one], 1)


def test_both_ways_of_reading_find_the_same_relations(tmp_path):
    text = "a 1 ; needs b >= 1:2-3, (c or d), /bin/sh ; likes e ; provides f = 2 ; conflicts g < 1 ; obsoletes h"
    told = []
    for write in (write_loose, write_indexed):
        known = world(opened(write(tmp_path / write.__name__, text, "b 1:2-3", "c 1", "sh 1 ; files /bin/sh")))
        one = known.named("a", "")[0]
        told.append(sorted(str(need.group[0]) for need in known.required(one)))
        assert [str(relation) for relation in known.provided(one, "f")] == ["f = 2"]
        assert [str(need.group[0]) for need in known.recommended(one)] == ["e"]
    assert told[0] == told[1] == ["/bin/sh", "b >= 1:2-3", "c"]


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".zst", ".bz2"])
def test_compressed_metadata(tmp_path, suffix):
    pack = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".zst": pyzstd.compress, ".bz2": bz2.compress}
    data = pack[suffix](primary([element(facts(SHOP))]))
    (tmp_path / "repodata").mkdir()
    (tmp_path / "repodata" / f"x-primary.xml{suffix}").write_bytes(data)
    sums = f'<checksum type="sha512">{hashlib.sha512(data).hexdigest()}</checksum>'
    text = f'<repomd><data type="primary">{sums}<location href="repodata/x-primary.xml{suffix}"/></data></repomd>'
    (tmp_path / "repodata" / "repomd.xml").write_text(text)
    assert found(opened(tmp_path), "shop") == ["1:2.0-3 x86_64 0"]


def test_yoctos_folders(tmp_path):
    words = ("noarch", "core2_64", "qemux86_64")
    for write in (write_loose, write_indexed):
        top = tmp_path / write.__name__
        for number, arch in enumerate(words):
            write(top / arch, f"p{number} 1 {arch}", f"all {'243'[number]} {arch}")
        feeds = opened(top, archs=("all", "any", "noarch", "core2-64", "qemux86_64"))
        assert [len(found(feeds, f"p{number}")) for number in range(3)] == [1, 1, 1]
        # The later architecture goes before the higher version, but what is for any is as good as that.
        assert found(feeds, "all") == ["3-1 qemux86_64 0", "2-1 noarch 0", "4-1 core2_64 0"]


def test_an_index_on_top_and_some_below(tmp_path):
    write_indexed(tmp_path / "a" / "b", SHOP)
    write_repodata(tmp_path, {"primary": primary([element(facts(LIBC), location="c/libc-3-1.x86_64.rpm")])})
    feeds = opened(tmp_path)
    assert one_of(feeds, "libc").path == str(tmp_path / "c" / "libc-3-1.x86_64.rpm")
    assert one_of(feeds, "shop").path == str(tmp_path / "a" / "b" / "shop-2.0-3.x86_64.rpm")


def test_packages_the_index_does_not_list(tmp_path):
    write_indexed(tmp_path, SHOP)
    write_loose(tmp_path, "docs 1 noarch", "docs-more 1 noarch")
    write_loose(tmp_path / "other", LIBC)
    feeds = opened(tmp_path)
    assert found(feeds, "docs") == []
    assert feeds.unlisted("docs") == str(tmp_path / "docs-1-1.noarch.rpm")
    assert [feeds.unlisted(name) for name in ("shop", "more", "libc")] == [None] * 3
    assert found(feeds, "libc") == ["3-1 x86_64 0"]


def test_the_first_feed_goes_before_the_higher_version(tmp_path):
    first = write_indexed(tmp_path / "1", "a 1", "b 1")
    second = write_loose(tmp_path / "2", "a 2", "c 1")
    feeds = opened(first, second)
    assert found(feeds, "a") == ["1-1 x86_64 0", "2-1 x86_64 1"]
    assert found(feeds, "c") == ["1-1 x86_64 1"]


def test_sources_are_left_out(tmp_path):
    write_loose(tmp_path, SHOP)
    (tmp_path / "shop-1-1.src.rpm").write_bytes(b"never read")
    write_repodata(tmp_path / "x", {"primary": primary([element(facts("shop 9 src")), element(facts(LIBC))])})
    feeds = opened(tmp_path, archs=None)
    assert found(feeds, "shop") == ["1:2.0-3 x86_64 0"]


def test_architectures_that_are_found(tmp_path):
    archs = ("noarch", "x86_64", "i686", "aarch64", "core2_64", "x86_64_v3")
    place = write_feed(tmp_path, *(f"p 1 {arch}" for arch in archs))
    feeds = opened(place, archs=None)
    assert feeds.archs == ("noarch", "core2_64", "x86_64")
    assert feeds.other_archs("p") == ()
    assert opened(place, archs=None, native="arm64").archs == ("noarch", "core2_64", "aarch64")
    assert "x86_64_v3" in opened(place, archs=("x86_64", "x86_64_v3")).archs


def test_files_that_primary_metadata_have_not_are_looked_up_where_one_is_needed(tmp_path, monkeypatch):
    read = []
    real = repomd.opened
    monkeypatch.setattr(
        feed.repomd, "opened", lambda one, limit: read.append(os.path.basename(one.path)) or real(one, limit)
    )
    world(opened(write_feed(tmp_path / "1", "a 1 ; needs /bin/sh", "b 1 ; files /bin/sh /usr/share/b")))
    assert read == ["primary.xml.gz"]
    read.clear()
    feeds = opened(write_feed(tmp_path / "2", "a 1 ; needs /usr/share/b", "b 1 ; files /bin/sh /usr/share/b"))
    known = world(feeds)
    world(feeds)
    assert read == ["primary.xml.gz", "filelists.xml.gz"]
    (need,) = known.required(known.named("a", "")[0])
    assert [one.name for one in need.met_by] == ["b"]


# ---- of several kinds


def test_feeds_of_three_kinds(tmp_path):
    from support.packages import package as deb

    first = write_indexed(tmp_path / "1", SHOP)
    second = write_debs(tmp_path / "2", [deb("a")])
    third = write_debs(tmp_path / "3", [deb("a", kind="ipk")])
    with pytest.raises(ConfigError) as caught:
        opened(first, second, third)
    (fault,) = caught.value.faults
    assert fault.where == "IMAGE_PKGTYPE"
    assert f".deb packages ({second}) and .ipk packages ({third}) and .rpm packages ({first})" in fault.message
    assert fault.hint == "set it to 'deb' or 'ipk' or 'rpm'"
    with pytest.raises(InputError, match=r"holds no \.rpm packages") as refusal:
        opened(second, kind="rpm")
    assert "set IMAGE_PKGTYPE to 'deb'" in refusal.value.hint


# ---- packages that are there twice


@pytest.mark.parametrize("write", [write_loose, write_indexed])
def test_one_package_in_two_places(tmp_path, write):
    feeds = opened(write(tmp_path / "1", SHOP), write(tmp_path / "2", SHOP))
    known = world(feeds)
    known.check_same(known.named("shop", ""))
    assert found(feeds, "shop") == ["1:2.0-3 x86_64 0", "1:2.0-3 x86_64 1"]
    other = write(tmp_path / "3", SHOP + ", libc > 1")
    known = world(opened(tmp_path / "1", other))
    with pytest.raises(InputError, match=r"are both shop 1:2.0-3 for x86_64, with different content"):
        known.check_same(known.named("shop", ""))


# ---- what is remembered


@pytest.mark.parametrize("write", [write_loose, write_indexed])
def test_what_was_read_is_not_read_again(tmp_path, monkeypatch, write):
    place, cache = write(tmp_path / "feed", SHOP, LIBC, DOCS), tmp_path / "cache"
    before = found(opened(place, remember=remembered(cache, LATER)), "shop")

    def fail(*_given):
        pytest.fail("read again")

    with monkeypatch.context() as patch:
        patch.setattr(feed, "read_head", fail)
        patch.setattr(feed.repomd, "opened", fail)
        feeds = opened(place, remember=remembered(cache, LATER))
        assert found(feeds, "shop") == before
        assert {one.digest is None for one in world(feeds).named("shop", "")} == {write is write_loose}
    write(place, "shop 9")
    assert "9-1 x86_64 0" in found(opened(place, remember=remembered(cache, LATER)), "shop")


def test_what_another_libsolv_kept_is_read_again(tmp_path, monkeypatch):
    place, cache = write_indexed(tmp_path / "feed", SHOP), tmp_path / "cache"
    read: list[str] = []
    original = feed.repomd.opened
    monkeypatch.setattr(feed.repomd, "opened", lambda one, limit: read.append(one.path) or original(one, limit))
    solv = tmp_path / "_solv.so"
    monkeypatch.setattr(libsolv.load()._solv, "__file__", str(solv))
    for text in ("one", "one", "another"):
        solv.write_text(text)
        assert found(opened(place, remember=remembered(cache, LATER)), "shop") == ["1:2.0-3 x86_64 0"]
    assert len(read) == 2


def test_what_is_remembered_may_be_damaged(tmp_path):
    place, cache = write_indexed(tmp_path / "feed", SHOP), tmp_path / "cache"
    opened(place, remember=remembered(cache, LATER))
    for name in os.listdir(cache):
        data = (cache / name).read_bytes()
        (cache / name).write_bytes(data[: len(data) // 2] + b"?" + data[len(data) // 2 + 1 :])
    assert found(opened(place, remember=remembered(cache, LATER)), "shop") == ["1:2.0-3 x86_64 0"]


# ---- damaged and hostile feeds


def write_primary(folder: Path, data: bytes) -> Path:
    return write_repodata(folder, {"primary": data})


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9)
)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "is no XML|ends in the middle|damaged"),
        (b"hello", "is no XML"),
        (primary([element(facts(SHOP))])[:-30], "damaged index"),
        (f'<?xml version="1.0"?>{BOMB}]><metadata>&j;</metadata>'.encode(), "has a document type"),
        (b"<metadata>" + b" " * ((1 << 20) - 13) + b"<!DOCTYPE x></metadata>", "has a document type"),
        ("\ufeff<metadata/>".encode("utf-16"), "is no XML"),
        ("<metadata/>".encode("utf-16-le"), "is no XML in UTF-8"),
        (b'<?xml version="1.0" encoding="UTF-7"?><metadata/>', "is no XML in UTF-8"),
        (b"<?xml version='1.0' encoding = 'ISO-8859-1'?><metadata/>", "is no XML in UTF-8"),
        (b"<metadata>\0</metadata>", "is no XML in UTF-8"),
        (primary([f'<package type="rpm"><name>{"(" * 40000}</name>' + f'<x y="{"(" * 40000}"/>']), "more than 32768"),
        (primary(['<package type="rpm"><arch>noarch</arch></package>']), "can not be the name of a package"),
        (primary([element(facts("a 1 noarch")._replace(version="1 2"))]), "can not be the version"),
        (primary([element(facts("a 1 noarch")._replace(arch="no:arch"))]), "can not be the architecture"),
        (primary([element(facts("../a 1 noarch"))]), "can not be the name of a package"),
    ],
)
def test_damaged_metadata(tmp_path, data, text):
    refused(text, write_primary(tmp_path, data))


@pytest.mark.parametrize(
    "begin", ["", "<?xml version='1.0' encoding='us-ascii'?>", '\ufeff<?xml version="1.0" encoding = "utf-8" ?>']
)
def test_ways_to_begin(tmp_path, begin):
    data = primary([element(facts(SHOP))]).decode()
    begun = data[data.index("<metadata") :]
    assert found(opened(write_primary(tmp_path, f"{begin}{begun}".encode())), "shop") == ["1:2.0-3 x86_64 0"]


def test_lying_checksums(tmp_path):
    place = write_primary(tmp_path, primary([element(facts(SHOP))]))
    file = place / "repodata" / "primary.xml.gz"
    file.write_bytes(gzip.compress(primary([element(facts(LIBC))]), 1, mtime=0))
    error = refused("is not the file that repomd.xml lists: its sha256 differs", place)
    assert "createrepo_c" in error.hint
    index = place / "repodata" / "repomd.xml"
    index.write_text(index.read_text().replace('"sha256"', '"crc32"'))
    refused("can not be a checksum", place)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<repomd>", "damaged index"),
        ("<repomd/>", "names no primary metadata"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><repomd>&b;</repomd>', "has a document type"),
        (" " * (1 << 20) + "<repomd/>", "has more than"),
        ('<repomd><data type="primary"><location href="../x"/></data></repomd>', "can not be the place of primary"),
        ('<repomd><data type="primary"><location href="/etc/passwd"/></data></repomd>', "can not be the place"),
        ('<repomd><data type="primary"><location href="repodata/x"/></data></repomd>', "is not there"),
        ('<repomd><data type="primary"><location xml:base="http://x" href="x"/></data></repomd>', "lie elsewhere"),
    ],
)
def test_damaged_repomd(tmp_path, text, message):
    (tmp_path / "repodata").mkdir()
    (tmp_path / "repodata" / "repomd.xml").write_text(text)
    refused(message, tmp_path)


def test_metadata_behind_a_link_out_of_the_feed(tmp_path):
    place = write_feed(tmp_path / "feed", SHOP)
    (place / "repodata" / "primary.xml.gz").rename(tmp_path / "x.gz")
    (place / "repodata" / "primary.xml.gz").symlink_to(tmp_path / "x.gz")
    refused("can not be the place of primary", place)


@pytest.mark.parametrize("location", ["../shop.rpm", "/shop.rpm", "a/../../shop.rpm", "out/shop.rpm"])
def test_a_package_outside_its_feed(tmp_path, location):
    (tmp_path / "elsewhere").mkdir()
    place = write_primary(tmp_path / "feed", primary([element(facts(SHOP), location=location)]))
    (place / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="can not be the location of a package"):
        one_of(opened(place), "shop")


def test_huge_numbers(tmp_path):
    place = write_primary(tmp_path, primary([element(facts(SHOP), size=10**30)]))
    with pytest.raises(InputError, match="can not be the size"):
        one_of(opened(place), "shop")


def test_a_bomb(tmp_path):
    data = b"<metadata>" + b" " * (64 << 20)
    refused("unpacks to more than 1000000 bytes", write_primary(tmp_path / "1", data), limit=1_000_000)
    one = primary([element(facts("a 1 ; needs /usr/share/b"))])
    place = write_repodata(tmp_path / "2", {"primary": one, "filelists": data})
    refused("filelists.xml.gz: unpacks to more than 1000000 bytes", place, limit=1_000_000)


def test_many_provides(tmp_path):
    """They cost what they weigh, and are no error."""
    provides = ", ".join(f"x{number}" for number in range(100_000))
    feeds = opened(write_feed(tmp_path, f"a 1 ; provides {provides}"))
    assert [one.name for one in world(feeds).named("x99999", "")] == ["a"]


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        ({1000: (rpms.STRING, "a b")}, "can not be a package's name"),
        ({1000: (rpms.STRING, b"a\xff")}, "can not be a package's name"),
        ({1001: (rpms.STRING, "1-2")}, "can not be a package's version"),
        ({1022: (rpms.STRING, "x:y")}, "can not be an architecture"),
        ({1048: None}, "requires"),
        ({1049: (rpms.STRINGS, ["(" * 100 + "a" + ")" * 100] * 4)}, "is no relation"),
        ({1049: (rpms.STRINGS, ["a\x01"] * 4)}, "is no relation"),
        ({1117: (rpms.STRINGS, ["a"]), 1116: (rpms.INT32, [7]), 1118: (rpms.STRINGS, ["/"])}, "directories"),
    ],
)
def test_damaged_headers(tmp_path, tags, text):
    made = rpms.package("shop", requires=["libc"]).with_tags(tags)
    (tmp_path / "shop.rpm").write_bytes(made.data)
    refused(text, tmp_path)


def test_what_is_no_package(tmp_path):
    (tmp_path / "shop.rpm").write_bytes(b"hello")
    refused("shop.rpm", tmp_path)


def test_pkgid_is_the_digest(tmp_path):
    assert one_of(opened(write_feed(tmp_path, SHOP)), "shop").digest == pkgid(facts(SHOP))
