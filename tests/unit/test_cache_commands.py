# SPDX-License-Identifier: MIT
"""`oe-oci cache`: what it lists, finds wrong, removes and counts."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from support import caches

from oe_oci import kept
from oe_oci.audit import verify
from oe_oci.cli import main, make_parser
from oe_oci.errors import InputError
from oe_oci.kept import TAG
from oe_oci.oci.spec import Digest
from oe_oci.store import Store
from oe_oci.survey import Survey
from oe_oci.upkeep import Limits, du, gc

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86400
NAMES = ("one", "two", "three")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def layers(cache: Path, tmp_path: Path) -> dict[str, caches.Made]:
    """Three layers, used one, two and three days ago."""
    store, found = Store(str(cache)), {}
    for days, name in enumerate(NAMES, 1):
        made = found[name] = caches.make(tmp_path / "stage", name, size=10_000)
        assert made.put(store) == ""
        store.note("app", name, made.layer)
        used(cache, made, days * DAY)
    return found


def entry(cache: Path, made: caches.Made) -> Path:
    return cache / "entries" / made.layer.shape / made.layer.key


def blob(cache: Path, made: caches.Made) -> Path:
    return cache / "blobs" / "sha256" / made.layer.blob.digest.hex


def used(cache: Path, made: caches.Made, ago: float) -> None:
    then = time.time() - ago
    os.utime(entry(cache, made), (then, then))


def left(cache: Path) -> list[str]:
    return sorted(entry.layer.facts["layer"] for entry in Survey(str(cache)).entries)


def run(capsys: pytest.CaptureFixture[str], cache: Path, *words: str, status: int = 0) -> str:
    assert main(["cache", words[0], "--cache-dir", str(cache), *words[1:]]) == status, capsys.readouterr().err
    out, err = capsys.readouterr()
    assert err == ""
    return out


def as_json(capsys: pytest.CaptureFixture[str], cache: Path, *words: str, status: int = 0) -> Any:
    return json.loads(run(capsys, cache, *words, "--json", status=status))


def total(cache: Path) -> int:
    return sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())


# ---- ls and show


def test_ls_shows_what_was_used_last_first(capsys, cache, layers):
    os.utime(entry(cache, layers["two"]), (1_700_000_000, 1_700_000_000))
    lines = run(capsys, cache, "ls").splitlines()
    assert lines[0].split("  ")[0] == "KEY"
    assert [line.split()[2] for line in lines] == ["LAYER", "one", "three", "two"]
    layer = layers["two"].layer
    assert lines[3].split() == [
        *(layer.key[:12], "app", "two", "files", "10.2", "kB", layer.blob.digest.hex[:12], "2023-11-14", "22:13")
    ]
    found = as_json(capsys, cache, "ls")[2]
    made = found.pop("made")
    assert abs(made - time.time()) < 100
    assert found == {
        "key": layer.key,
        "image": "app",
        "layer": "two",
        "type": "files",
        "size": layer.blob.size,
        "blob": str(layer.blob.digest),
        "lastUsed": 1_700_000_000,
    }


def test_facts_of_another_kind_are_shown_too(capsys, cache, tmp_path):
    made = caches.make(tmp_path / "stage")
    Store(str(cache)).put(made.layer._replace(facts={"image": ["\x1b[31m"]}), made.file, made.listing)
    assert r"['\x1b[31m']" in run(capsys, cache, "ls")


def test_show(capsys, cache, layers):
    layer = layers["one"].layer
    text = run(capsys, cache, "show", layer.key[:6])
    for part in (layer.key, layer.shape, str(layer.diff_id), str(layer.blob.digest), 'more: {"size": 10000}'):
        assert part in text
    found = as_json(capsys, cache, "show", layer.key)
    assert found["diffId"] == str(layer.diff_id)
    assert found["facts"] == {"more": {"size": 10000}}


def test_show_of_no_one_key(capsys, cache, tmp_path, layers):
    for prefix, message in (("abcde", "is no key"), ("xyzxyz", "is no key"), ("0" * 12, "no entry")):
        assert main(["cache", "show", "--cache-dir", str(cache), prefix]) == 2
        assert message in capsys.readouterr().err
    made = layers["one"]
    keys = [made.layer.key[:8] + end * 56 for end in "ab"]
    for key in keys:
        Store(str(cache)).put(made.layer._replace(key=key), made.file, made.listing)
    with pytest.raises(InputError, match="more than one key begins with") as raised:
        Survey(str(cache)).entry(made.layer.key[:8])
    assert all(key in raised.value.hint for key in [*keys, made.layer.key])


@pytest.mark.parametrize("there", [False, True])
def test_an_empty_cache(capsys, cache, there):
    if there:
        cache.mkdir()
    assert run(capsys, cache, "ls") == "the cache is empty\n"
    assert run(capsys, cache, "verify") == "nothing found\n"
    assert run(capsys, cache, "gc").startswith("removed 0 B in 0 files; 0 B are left")
    assert as_json(capsys, cache, "du")["total"] == {"files": 0, "size": 0}
    assert cache.exists() == there
    assert not there or os.listdir(cache) == []


def test_the_default_folder(capsys, tmp_path, monkeypatch):
    made = caches.make(tmp_path / "stage")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    made.put(Store(str(tmp_path / "xdg" / "oe-oci")))
    assert main(["cache", "ls"]) == 0
    assert made.layer.key[:12] in capsys.readouterr().out
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    made.put(Store(str(tmp_path / ".cache" / "oe-oci")))
    assert main(["cache", "ls"]) == 0
    assert made.layer.key[:12] in capsys.readouterr().out


# ---- verify


def damaged_diff_id(cache: Path, made: caches.Made) -> None:
    layer = made.layer._replace(diff_id=Digest("sha256", "0" * 64))
    Store(str(cache)).put(layer, made.file, made.listing)


def damaged_raw_size(cache: Path, made: caches.Made) -> None:
    for size in (made.layer.raw_size - 1, made.layer.raw_size + 1):
        Store(str(cache)).put(made.layer._replace(raw_size=size), made.file, made.listing)


def damaged_type(cache: Path, made: caches.Made, media_type: str) -> None:
    blob_ = made.layer.blob._replace(media_type=media_type)
    Store(str(cache)).put(made.layer._replace(blob=blob_), made.file, made.listing)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    path.unlink()
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


LAYER = "application/vnd.oci.image.layer.v1.tar"
HEX = "0" * 64
DAMAGES = {
    "entry": (lambda cache, made: flip(entry(cache, made)), "entry latest unreferenced unreferenced"),
    "entry gone": (lambda cache, made: entry(cache, made).unlink(), "latest unreferenced unreferenced"),
    "blob": (lambda cache, made: flip(blob(cache, made)), "blob diff-id"),
    "blob gone": (lambda cache, made: blob(cache, made).unlink(), "blob"),
    "blob cut": (lambda cache, made: os.truncate(blob(cache, made), 10), "blob"),
    "listing": (lambda cache, made: flip(cache / "blobs/sha256" / made.layer.listing.digest.hex), "blob"),
    "listing gone": (lambda cache, made: (cache / "blobs/sha256" / made.layer.listing.digest.hex).unlink(), "blob"),
    "diff ID": (damaged_diff_id, "diff-id"),
    "raw size": (damaged_raw_size, "diff-id"),
    "zstd": (lambda cache, made: damaged_type(cache, made, f"{LAYER}+zstd"), "diff-id"),
    "none": (lambda cache, made: damaged_type(cache, made, LAYER), "diff-id diff-id"),
    "type": (lambda cache, made: damaged_type(cache, made, "text/plain"), "diff-id"),
    "note": (lambda cache, made: flip(cache / "latest/app/one"), "latest"),
    "other note": (lambda cache, made: (cache / "latest/app/note").write_text("x"), "latest"),
    "tag": (lambda cache, made: flip(cache / "CACHEDIR.TAG"), "tag"),
    "tag gone": (lambda cache, made: (cache / "CACHEDIR.TAG").unlink(), "tag"),
    "a blob": (lambda cache, made: (cache / "blobs/sha256" / HEX).touch(), "unreferenced"),
    "no blob": (lambda cache, made: (cache / "blobs/sha256/blob").touch(), "foreign"),
    "unfinished": (lambda cache, made: (cache / "blobs/sha256/.new-0123456789abcdef").touch(), "unfinished"),
    "no entry": (lambda cache, made: (cache / "entries" / HEX).touch(), "misplaced"),
    "a folder": (lambda cache, made: (cache / "entries" / "more").mkdir(), "foreign"),
    "a file": (lambda cache, made: (cache / "file").touch(), "foreign"),
    "a link": (lambda cache, made: (cache / "indexes").symlink_to("blobs"), "misplaced"),
    "a blob's link": (lambda cache, made: (cache / "blobs/sha256" / HEX).symlink_to("/etc/passwd"), "misplaced"),
    "locks": (lambda cache, made: ((cache / "locks").mkdir(), (cache / "locks" / HEX).touch()), "unfinished"),
    "index": (lambda cache, made: ((cache / "indexes").mkdir(), (cache / "indexes" / "a").touch()), "remembered"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_verify_finds_each_kind_of_damage(capsys, cache, layers, damage):
    assert run(capsys, cache, "verify") == "nothing found\n"
    function, rules = DAMAGES[damage]
    function(cache, layers["one"])
    found = as_json(capsys, cache, "verify", status=4)
    assert sorted(each["rule"] for each in found) == rules.split(), found
    assert {*found[0]} == {"rule", "where", "message"}
    # And gc removes what it can tell without looking into blobs.
    if found[0]["rule"] != "tag":
        gc(str(cache), Limits())
        stays = {"foreign", "remembered", "diff-id", *(["blob"] if damage in ("blob", "listing") else [])}
        assert {each.rule for each in verify(str(cache), lambda _: None)} == stays & {each["rule"] for each in found}


def test_verify_reads_a_blob_of_several_entries_once(cache, layers, tmp_path):
    made = layers["one"]
    for end in "abc":
        Store(str(cache)).put(made.layer._replace(key=end * 64), made.file, made.listing)
    flip(blob(cache, made))
    assert sorted(each.rule for each in verify(str(cache), lambda _: None)) == ["blob", "diff-id"]


def test_verify_unpacks_no_more_than_the_entry_says(cache, tmp_path):
    made = caches.make(tmp_path / "stage")
    Store(str(cache)).put(made.layer._replace(raw_size=10), made.file, made.listing)
    (found,) = verify(str(cache), lambda _: None)
    assert found.message == "unpacks to more than 10 bytes"


def test_verify_of_a_blob_that_can_not_be_read(cache, layers, monkeypatch):
    path, real = os.fsencode(blob(cache, layers["one"])), os.open

    def refuse(file, *words, **options):
        if file == path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), file)
        return real(file, *words, **options)

    monkeypatch.setattr(os, "open", refuse)
    (found,) = verify(str(cache), lambda _: None)
    assert (found.rule, found.message.endswith("Permission denied")) == ("blob", True)


# ---- gc


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "one three two"),
        (["--unused", "60h"], "one two"),
        (["--unused", "30h"], "one"),
        (["--unused", "30m"], ""),
        (["--unused", "30d"], "one three two"),
        (["--max-age", "1d"], "one three two"),
        (["--max-age", "0m"], ""),
        (["--max-size", "1G"], "one three two"),
        (["--max-size", "31000"], "one two"),
        (["--max-size", "21K"], "one"),
        (["--max-size", "0"], ""),
        (["--max-size", "21K", "--unused", "30h"], "one"),
    ],
)
def test_what_gc_leaves(capsys, cache, layers, words, expected, monkeypatch):
    now = time.time() + 5
    monkeypatch.setattr(time, "time", lambda: now)
    before = total(cache)
    would = as_json(capsys, cache, "gc", "--dry-run", *words)
    assert total(cache) == before
    assert left(cache) == ["one", "three", "two"]
    done = as_json(capsys, cache, "gc", *words)
    assert left(cache) == expected.split()
    assert done == would
    assert (done["left"], before - done["size"]) == (total(cache), total(cache))
    assert verify(str(cache), lambda _: None) == []
    assert as_json(capsys, cache, "gc", *words)["removed"] == []
    assert sorted(path.name for path in (cache / "latest").rglob("*") if path.is_file()) == expected.split()


def test_gc_tells_what_it_removed(capsys, cache, layers):
    (cache / "blobs" / "sha256" / ("0" * 64)).write_bytes(b"12345")
    done = as_json(capsys, cache, "gc", "--dry-run", "--unused", "60h", "--max-size", "21K")
    made = layers["three"]
    assert [removal["where"] for removal in done["removed"] if removal["reason"] == "garbage"] == [
        f"blobs/sha256/{'0' * 64}"
    ]
    assert {removal["where"] for removal in done["removed"] if removal["reason"] == "unused"} == {
        str(path.relative_to(cache)) for path in (entry(cache, made), blob(cache, made), cache / "latest/app/three")
    } | {f"blobs/sha256/{made.layer.listing.digest.hex}"}
    text = run(capsys, cache, "gc", "--unused", "60h", "--max-size", "21K")
    assert "  garbage: 5 B in 1 file\n  not used for too long: " in text
    assert "  used least recently: " in text
    assert run(capsys, cache, "gc", "-q") == ""


def test_gc_by_age_goes_by_when_a_layer_was_made(cache, layers, monkeypatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 10 * DAY)
    Store(str(cache)).put(layers["one"].layer, layers["one"].file, layers["one"].listing)
    monkeypatch.setattr(time, "time", lambda: now)
    used(cache, layers["one"], 0)
    removed = gc(str(cache), Limits(max_age=9 * DAY)).removed
    assert {removal.reason for removal in removed} == {"old"}
    assert left(cache) == ["three", "two"]


def test_a_blob_stays_as_long_as_an_entry_has_it(cache, layers):
    made = layers["three"]
    again = made._replace(layer=made.layer._replace(key="f" * 64))
    assert again.put(Store(str(cache))) == ""
    gc(str(cache), Limits(unused=2.5 * DAY))
    assert not entry(cache, made).exists()
    assert blob(cache, made).exists()
    assert verify(str(cache), lambda _: None) == []
    used(cache, again, 3 * DAY)
    gc(str(cache), Limits(unused=2.5 * DAY))
    assert not blob(cache, made).exists()


def test_what_builds_remember_goes_in_the_order_of_its_use(cache, layers):
    for kind, days in (("indexes", 0.5), ("archives", 1.5), ("digests", 5)):
        path = cache / kind / "app"
        kept.keep(str(path), b"oe-oci x 1\n", bytes(5000))
        os.utime(path, (time.time() - days * DAY,) * 2)
    order = []
    while total(cache) > 1000:
        done = gc(str(cache), Limits(max_size=total(cache) - 1))
        order.append({removal.where.split("/")[0] for removal in done.removed})
    layer = {"entries", "blobs", "latest"}
    assert order == [{"digests"}, layer, layer, {"archives"}, layer, {"indexes"}]


def test_what_builds_remember_goes_unused_and_has_no_age(cache, layers):
    for kind, days in (("indexes", 0.5), ("archives", 1.5), ("digests", 5)):
        path = cache / kind / "app"
        kept.keep(str(path), b"oe-oci x 1\n", bytes(5000))
        os.utime(path, (time.time() - days * DAY,) * 2)
    assert {r.where.split("/")[0] for r in gc(str(cache), Limits(max_age=0)).removed} <= {"entries", "blobs", "latest"}
    assert [removal.where for removal in gc(str(cache), Limits(unused=DAY)).removed] == ["archives/app", "digests/app"]


def test_read_is_used(cache, layers):
    path = cache / "indexes" / "app"
    kept.keep(str(path), b"oe-oci x 1\n", b"")
    os.utime(path, (time.time(), time.time() - 30 * DAY))
    assert gc(str(cache), Limits(unused=20 * DAY)).removed == ()
    os.utime(path, (time.time() - 30 * DAY, time.time() - 30 * DAY))
    assert verify(str(cache), lambda _: None) == []
    assert [removal.where for removal in gc(str(cache), Limits(unused=20 * DAY)).removed] == ["indexes/app"]


def test_a_clock_that_was_set_back(cache, layers, tmp_path):
    """All but one were used in what is the future now; the one that is in use goes after them."""
    used(cache, layers["one"], -10 * DAY)
    used(cache, layers["two"], -20 * DAY)
    used(cache, layers["three"], 0)
    assert gc(str(cache), Limits(max_age=DAY, unused=0.5 * DAY)).removed == ()
    gc(str(cache), Limits(max_size=total(cache) - 1))
    assert left(cache) == ["three", "two"]
    used(cache, layers["three"], 2 * DAY)
    gc(str(cache), Limits(max_size=total(cache) - 1))
    assert left(cache) == ["two"]


def test_a_clock_that_is_a_little_ahead_elsewhere(cache, layers):
    for name, ago in (("one", 0.5 * DAY), ("two", 0.25 * DAY), ("three", -60)):
        used(cache, layers[name], ago)
    gc(str(cache), Limits(max_size=total(cache) - 1))
    assert left(cache) == ["three", "two"]


def test_gc_refuses_what_is_no_cache(capsys, tmp_path):
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives" / "letters.zip").touch()
    for words in (["--dry-run"], []):
        assert main(["cache", "gc", "--cache-dir", str(tmp_path), "--max-size", "0", *words]) == 2
        assert "is no cache of oe-oci: it holds archives/letters.zip" in capsys.readouterr().err
    (tmp_path / "CACHEDIR.TAG").write_bytes(TAG.partition(b"\n")[0] + b"\n# another program's\n")
    assert main(["cache", "gc", "--cache-dir", str(tmp_path), "--max-size", "0"]) == 2
    assert (tmp_path / "archives" / "letters.zip").exists()
    assert main(["cache", "gc", "--cache-dir", str(tmp_path / "CACHEDIR.TAG")]) == 3
    assert "Not a directory" in capsys.readouterr().err


def test_gc_of_a_folder_that_holds_indexes_alone(cache):
    kept.keep(str(cache / "indexes" / "packages"), b"oe-oci packages 1 x\n", b"")
    assert len(gc(str(cache), Limits(max_size=0)).removed) == 1


def test_gc_leaves_what_is_not_ours(cache, layers):
    for name in ("file", "entries/notes", "blobs/other/file"):
        (cache / name).parent.mkdir(exist_ok=True)
        (cache / name).write_text("mine")
    (cache / "file").with_name("link").symlink_to("file")
    gc(str(cache), Limits(max_size=0))
    assert sorted(caches.files(cache)) == [
        *("CACHEDIR.TAG", "blobs/other/file", "entries/notes", "file", "link", "lock")
    ]


def test_gc_follows_no_link_out_of_the_folder(cache, layers, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "sha256").mkdir(parents=True)
    (elsewhere / "sha256" / ("0" * 64)).touch()
    os.rename(cache / "blobs", tmp_path / "blobs")
    (cache / "blobs").symlink_to(elsewhere)
    (cache / "entries" / ("0" * 64)).symlink_to(elsewhere)
    (cache / "latest" / "other").symlink_to(elsewhere)
    gc(str(cache), Limits(max_size=0))
    assert sorted(caches.files(cache)) == ["CACHEDIR.TAG", "lock"]
    assert (elsewhere / "sha256" / ("0" * 64)).exists()


@pytest.mark.parametrize("word", ["30", "d", "1w", "-1d", "1.5h", ""])
def test_ages_that_are_none(capsys, word):
    with pytest.raises(SystemExit):
        make_parser().parse_args(["cache", "gc", f"--unused={word}"])
    assert "is no age" in capsys.readouterr().err


@pytest.mark.parametrize(("word", "seconds"), [("90m", 5400), ("12h", 43200), ("30d", 2592000)])
def test_ages(word, seconds):
    assert make_parser().parse_args(["cache", "gc", "--max-age", word]).max_age == seconds


# ---- du


def test_du(capsys, cache, layers):
    made = layers["three"]
    made._replace(layer=made.layer._replace(key="f" * 64)).put(Store(str(cache)))
    kept.keep(str(cache / "indexes" / "app"), b"oe-oci x 1\n", bytes(100))
    (cache / "blobs" / "sha256" / ("0" * 64)).write_bytes(b"12345")
    (cache / "foreign").write_bytes(b"1")
    found = as_json(capsys, cache, "du")
    assert found["layers"] == {"files": 3, "size": sum(each.layer.blob.size for each in layers.values())}
    assert found["listings"] == {"files": 3, "size": sum(each.layer.listing.size for each in layers.values())}
    assert found["records"]["files"] == 4 + 3 + 2
    assert found["indexes"] == {"files": 1, "size": 11 + 100 + 64}
    assert found["archives"] == found["digests"] == {"files": 0, "size": 0}
    assert found["garbage"] == {"files": 1, "size": 5}
    assert found["total"]["size"] == total(cache) - 1
    assert du(str(cache))["total"] == (found["total"]["files"], found["total"]["size"])
    text = run(capsys, cache, "du")
    assert text.splitlines()[0].split() == ["WHAT", "FILES", "SIZE"]
    assert text.splitlines()[-1].split()[0] == "total"


# ---- completion


def test_completion_knows_the_commands_below(capsys):
    assert main(["completion", "bash"]) == 0
    text = capsys.readouterr().out
    program = text + (
        "\nCOMP_WORDS=(oe-oci cache gc --max); COMP_CWORD=3; _shtab_oe_oci; echo ${COMPREPLY[@]}"
        "\nCOMP_WORDS=(oe-oci cache v); COMP_CWORD=2; _shtab_oe_oci; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["--max-size --max-age", "verify"]
    assert "DIRECTORY" not in text


def test_a_command_is_needed(capsys):
    done = subprocess.run([sys.executable, "-m", "oe_oci", "cache"], capture_output=True, text=True, check=False)
    assert (done.returncode, "required: COMMAND" in done.stderr) == (2, True)
