# SPDX-License-Identifier: MIT
"""What benchmarks/ does besides running builds: its corpora, its tables, what it takes down of a run."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shlex
import shutil
from typing import TYPE_CHECKING

import pytest
import pyzstd

from benchmarks import bitbake, bootstraps, corpus, formats, limit, peers, scripts, trees
from benchmarks.main import parse
from benchmarks.managers import Managers, native
from benchmarks.measure import file_system, measure, read_image, read_packed, version_of
from benchmarks.page import page
from benchmarks.table import DONE, EXPIRED, FAILED, WRONG, Run, ratio, table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ENV = {"PATH": os.environ["PATH"]}


def run(
    scenario: str, wall: float, number: int = 1, outcome: str = DONE, compression: str = "gzip", manager: str = ""
) -> Run:
    return Run("files", number, compression, scenario, outcome, wall, 2 * wall, 50.4, 1_500_000, manager)


class TestClassInBitBake:
    def test_classes_are_compared_within_each_round(self):
        walls = {bitbake.OURS: (1, 2, 4), bitbake.INSTALLED: (1, 1, 1), bitbake.OTHER: (10, 30, 20)}
        runs = [
            bitbake.Timed("big-multi", bitbake.COLD, maker, number, walls[maker][number - 1], 4, 2_500_000)
            for number in (1, 2, 3)
            for maker in walls
        ]
        row = bitbake.report(runs[:-1], "rpm", {}).splitlines()[-1]
        times = "2.00 (1.00-4.00) | 1.00 (1.00-1.00) | 20.0 (10.0-30.0) | 12.5 | 20.0"
        assert row == f"| big-multi | empty | {times} | 2.5 (4) | 2.5 (4) | 2.5 (4) |"


class TestTable:
    def test_ratios_are_taken_within_each_round(self):
        cold, same = [run("cold", wall, wall) for wall in (1, 2, 3)], [run("same", 1, n) for n in (1, 2, 3)]
        cold[0] = run("cold", 9, 1)
        assert ratio(cold, same) == 3

    def test_rounds_without_the_base_do_not_count(self):
        same = [run("same", 1, 1), run("same", 1, 2)]
        assert ratio([run("umoci", 8, 1), run("umoci", 1, 2, EXPIRED)], same) == 8
        assert ratio([], same) is None

    def test_rows(self):
        zstd = run("cold", 0.5, compression="zstd")
        rows = table([run("umoci", 60), run("cold", 4), run("cold", 2, 2), run("same", 0.25), zstd]).splitlines()
        assert rows[2:] == [
            "| gzip | cold, empty cache | 3.00 (2.00-4.00) | 6.00 | 50 | 1.5 | 1.00x |",
            "| gzip | nothing changed | 0.250 (0.250-0.250) | 0.500 | 50 | 1.5 | 16x |",
            "| gzip | umoci flow | 60.0 (60.0-60.0) | 120.0 | 50 | 1.5 | 0.07x |",
            "| zstd | cold, empty cache | 0.500 (0.500-0.500) | 1.00 | 50 | 1.5 | 1.00x |",
        ]

    def test_package_managers_have_rows_of_their_own(self):
        runs = [run("cold", 2, manager="built in"), run("cold", 8, manager="dnf"), run("same", 1, manager="dnf")]
        cells = [row.strip("| ").split(" | ") for row in table(runs).splitlines()[2:]]
        assert [(row[1], row[-1]) for row in cells] == [
            ("built in: cold, empty cache", "1.00x"),
            ("dnf: cold, empty cache", "1.00x"),
            ("dnf: nothing changed", "8.00x"),
        ]

    def test_what_went_wrong_is_marked_and_not_counted(self):
        runs = [run("same", 1), run("same", 99, 2, WRONG), run("umoci", 99, 1, EXPIRED)]
        rows = table(runs).splitlines()[2:]
        assert rows[0].startswith("| gzip | nothing changed (**wrong image**: 1) | 1.00 (1.00-1.00) |")
        assert rows[1] == "| gzip | umoci flow (**took too long**: 1) | - | - | - | - | - |"

    def test_page(self):
        text = page([run("cold", 1)], {"files": "9 files"}, {"cores": 2})
        assert "- cores: 2\n" in text
        assert "Medians of 1 round;" in text
        assert "## Floors\n\n| Corpus |" in text
        assert "## Against others\n\n| Corpus |" in text
        assert "## files: 9 files\n\n| Layers |" in text


def contents(folder: Path) -> dict[str, str | bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_symlink() or path.is_file())
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes() for path in files
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("corpus")
    trees.make_files(str(place), 400)
    return place


class TestCorpus:
    def test_is_the_same_each_time(self, made: Path, tmp_path: Path):
        trees.make_files(str(tmp_path), 400)
        assert contents(tmp_path) == contents(made)

    def test_files(self, made: Path):
        found = contents(made / "input")
        assert len(found) == 400
        assert {path.split("/")[0] for path in found} == {*trees.TOPS.values()}
        links = [made / "input" / path for path, content in found.items() if isinstance(content, str)]
        assert len(links) == 16
        assert all(link.is_file() for link in links)
        assert corpus.describe(str(made)).startswith("400 files and links, ")

    def test_one_file_is_changed_restored_and_copied_anew(self, made: Path, tmp_path: Path):
        copy = corpus.Copy(str(made), str(tmp_path / "copy"))
        place, original = tmp_path / "copy", contents(made / "input")
        assert contents(place) == original
        copy.change()
        (changed,) = (path for path, content in contents(place).items() if content != original[path])
        assert changed.startswith("srv/")
        assert (place / changed).stat().st_size == len(original[changed])
        copy.restore()
        assert contents(place) == original
        with open(place / changed, "rb") as held:
            copy.renew()
            assert not os.path.samestat(os.fstat(held.fileno()), (place / changed).stat())
        assert contents(place) == original

    def test_unpacked_packages_in_parts_of_like_size(self, tmp_path: Path):
        document = tmp_path / "trees/tools/usr/share/doc/jq/copyright"
        document.parent.mkdir(parents=True)
        document.write_bytes(b"a" * 100)
        for number in range(31):
            (tmp_path / f"trees/base{number:02d}").write_bytes(b"b" * (500 if number == 7 else 100))
        (tmp_path / "trees/zero").touch()
        (tmp_path / "trees/zlink").symlink_to("nowhere")
        trees.make_parts(str(tmp_path), str(tmp_path / "trees"))
        parts = [contents(tmp_path / "input" / part) for part in trees.PARTS]
        assert sum(len(part) for part in parts) == 34
        assert min(len(part) for part in parts) == 1
        assert (parts[15]["zero"], parts[15]["zlink"]) == (b"", "nowhere")
        (changed,) = contents(tmp_path / "changed").items()
        assert changed == ("part15/tools/usr/share/doc/jq/copyright", b"A" * 100)

    def test_large_files_are_of_programs(self, tmp_path: Path):
        for name in "ab":
            (tmp_path / name).mkdir()
            (tmp_path / name / name).write_bytes(name.encode() * 20_000)
        (tmp_path / "a" / "small").write_bytes(b"c" * 100)
        trees.make_large(str(tmp_path), str(tmp_path), 90_000)
        found = contents(tmp_path / "input")
        assert [*found] == [f"{layer}/large.bin" for layer in sorted(trees.TOPS)]
        assert {len(data) for data in found.values()} == {90_000}
        assert {*b"".join(found.values())} == {*b"ab"}
        assert contents(tmp_path / "changed").keys() == {"tools/large.bin"}

    def test_links_are_not_read(self, tmp_path: Path):
        (tmp_path / "link").symlink_to("nowhere")
        corpus.read(str(tmp_path))

    def test_is_made_once(self, tmp_path: Path):
        chosen = corpus.Corpus("some", "--rootfs", (), lambda place: os.mkdir(f"{place}/input"))
        made = chosen.made(str(tmp_path))
        assert chosen.made(str(tmp_path)) == made
        assert os.listdir(tmp_path) == [os.path.basename(made)]


class TestMeasure:
    def test_status_and_messages(self, tmp_path: Path):
        cost = measure(["sh", "-c", "echo out; echo err >&2; exit 3"], ENV, str(tmp_path / "messages"), 60)
        assert cost.status == 3
        assert min(cost.wall, cost.peak) > 0
        assert (tmp_path / "messages").read_text() == "out\nerr\n"

    def test_what_is_no_command(self, tmp_path: Path):
        with pytest.raises(FileNotFoundError, match="/no/such can not be run"):
            measure(["/no/such"], ENV, str(tmp_path / "messages"), 60)

    def test_memory_is_that_of_the_command(self, tmp_path: Path):
        held = bytearray(b"x") * (64 << 20)
        assert measure(["true"], ENV, str(tmp_path / "messages"), 60).peak < 32
        del held

    def test_all_of_what_takes_too_long_is_stopped(self, tmp_path: Path):
        cost = measure(["sh", "-c", "sleep 600 | sleep 600"], ENV, str(tmp_path / "messages"), 0.05)
        assert cost.status is None

    def test_file_system(self, tmp_path: Path):
        assert file_system("/proc/self") == "proc"
        assert file_system(str(tmp_path)) != "unknown"


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    place = tmp_path / "layout"
    (place / "blobs" / "sha256").mkdir(parents=True)
    layer, config = (blob(place, data) for data in (b"layer", b"{}"))
    manifest = blob(place, json.dumps({"config": config, "layers": [layer]}).encode())
    (place / "index.json").write_text(json.dumps({"manifests": [manifest]}))
    return place


def blob(layout: Path, data: bytes) -> dict[str, str | int]:
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs" / "sha256" / digest).write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


class TestImage:
    def test_is_read(self, layout: Path):
        image = read_image(str(layout))
        assert [*image.layers.values()] == [5]
        assert json.loads((layout / "index.json").read_text())["manifests"][0]["digest"] == image.digest

    def test_a_damaged_layer_is_found(self, layout: Path):
        (digest,) = read_image(str(layout)).layers
        (layout / "blobs" / "sha256" / digest.partition(":")[2]).write_bytes(b"other")
        with pytest.raises(ValueError, match=digest):
            read_image(str(layout))


class TestPacked:
    TAR = (["printf", "raw"], ["tr", "a-z", "A-Z"])

    def test_is_what_a_layer_is(self, tmp_path: Path):
        done = measure(["bash", "-c", peers.packed(*self.TAR, str(tmp_path))], ENV, str(tmp_path / "said"), 60)
        assert done.status == 0
        assert (tmp_path / peers.PACKED).read_bytes() == b"RAW"
        digest = hashlib.sha256(b"RAW").hexdigest()
        assert read_packed(str(tmp_path), peers.PACKED).layers == {f"sha256:{digest}": 3}
        (tmp_path / peers.PACKED).write_bytes(b"ROW")
        with pytest.raises(ValueError, match="digest"):
            read_packed(str(tmp_path), peers.PACKED)

    def test_a_command_that_fails_is_seen(self, tmp_path: Path):
        text = peers.packed(["sh", "-c", "printf raw; exit 1"], ["cat"], str(tmp_path))
        assert measure(["bash", "-c", text], ENV, str(tmp_path / "said"), 60).status == 1

    @pytest.mark.parametrize("name", ["zlib", "zlib-ng", "pyzstd"])
    def test_limit_packs_all_of_the_bytes(self, tmp_path: Path, name: str):
        raw = b"".join(number.to_bytes(3, "big") for number in range(700_000))
        (tmp_path / "raw.tar").write_bytes(raw)
        assert limit.pack({"name": name, "level": 3}, str(tmp_path / "raw.tar"), str(tmp_path)) > 0
        assert sum(read_packed(str(tmp_path), peers.PACKED).layers.values()) < len(raw)
        made = (tmp_path / peers.PACKED).read_bytes()
        assert (pyzstd.decompress(made) if name == "pyzstd" else gzip.decompress(made)) == raw
        assert (tmp_path / "diff-id").read_text() == f"{hashlib.sha256(raw).hexdigest()}\n"

    def test_versions_are_found(self):
        assert version_of("echo", "Zstandard CLI (64-bit) v1.5.4, by") == "1.5.4"
        assert version_of("echo", "umoci version 0.4.7+ds-3+b7") == "0.4.7+ds-3+b7"
        assert version_of("echo", "buildah version 1.28.2 (image-spec 1.1.0)") == "1.28.2"


# An oe-oci that copies a layout; `build` has what it does before, and sets `package` to what it installs.
PROGRAM = """\
#!/bin/sh
{build}
mkdir "$6"
cp -R {layout} "$6/image-oci"
cat >"$6/image-oci.json" <<end
{{"compressor": {{"name": "zlib", "version": "1", "level": 6}},
 "layers": [{{"name": "base", "packages": [{{"name": "$package"}}]}}],
 "packageManager": {{"name": "dnf", "version": "4", "rpm": "5"}}}}
end
"""


class TestManagers:
    @pytest.fixture
    def measured(self, tmp_path: Path, layout: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Managers]:
        """One round with a program that does so."""
        monkeypatch.setattr("benchmarks.managers.SETTLE", 0)
        monkeypatch.setattr("benchmarks.managers.native", lambda _: "dnf")
        monkeypatch.setattr("benchmarks.peers.OE_OCI", str(tmp_path / "oe-oci"))

        def one_round(build: str, kind: str = "rpm") -> Managers:
            chosen = corpus.Corpus("some", "--feed", (), lambda place: os.mkdir(f"{place}/input"), format=kind)
            (tmp_path / "oe-oci").write_text(PROGRAM.format(build=build, layout=layout))
            (tmp_path / "oe-oci").chmod(0o755)
            managers = Managers(chosen, str(tmp_path), 60)
            managers.round(1)
            return managers

        return one_round

    def test_each_scenario_is_built_by_each_in_turn(self, measured):
        managers = measured("package=jq")
        assert [(run.scenario, run.manager, run.outcome, run.size) for run in managers.runs] == [
            ("cold", "built in", DONE, 5),
            ("cold", "dnf", DONE, 5),
            ("same", "built in", DONE, 5),
            ("same", "dnf", DONE, 5),
        ]
        assert managers.facts == {"gzip": "zlib 1, level 6", "dnf": "4, rpm 5"}

    def test_one_that_can_not_is_marked(self, measured):
        managers = measured('case "$*" in *=builtin*) exit 2;; esac; package=jq')
        assert [run.outcome for run in managers.runs] == [FAILED, DONE, FAILED, DONE]

    def test_other_packages_are_another_image(self, measured):
        managers = measured('case "$*" in *=native*) package=jp;; *) package=jq;; esac')
        assert [run.outcome for run in managers.runs] == [DONE, WRONG, DONE, WRONG]

    def test_mmdebstrap_unpacks_the_packages_that_are_in_the_image(self, measured, tmp_path: Path, monkeypatch):
        for name, text in (("mmdebstrap", 'echo mmdebstrap 1.3.5 "$@"'), ("unshare", 'shift; exec "$@"')):
            (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        monkeypatch.setattr(peers, "PIGZ", ("grep", "-o", "variant=extract --include=jq "))
        monkeypatch.setattr(peers, "can_run", lambda name: name == "mmdebstrap")
        managers = measured("package=jq", "deb")
        (run,) = (run for run in managers.runs if run.manager == "mmdebstrap")
        assert (run.scenario, run.outcome, run.size) == ("cold", DONE, len("variant=extract --include=jq \n"))
        assert managers.facts["mmdebstrap"] == "1.3.5"

    def test_one_that_is_not_there_or_not_allowed_is_left_out(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ):
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        assert native("ipk") is None
        (tmp_path / "opkg").touch(0o755)
        assert native("ipk") == "opkg"
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        assert native("ipk") is None
        assert capsys.readouterr().err == "no opkg: without opkg\nnot root: without opkg\n"


# An mmdebstrap that writes a tar of the file `status`.
BOOTSTRAP = """\
#!/bin/sh
test "$1" != --version || {{ echo mmdebstrap 1.3.5; exit; }}
cd {place} && tar -c ./var/lib/dpkg/status
"""


class TestBootstraps:
    @pytest.fixture
    def outcomes(
        self, tmp_path: Path, layout: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[[str, str], list[str]]:
        """What became of the builds of one round, by what oe-oci says of its packages and what dpkg says."""
        for program in ("bash", "pigz"):
            if not shutil.which(program):
                pytest.skip(f"no {program}")
        monkeypatch.setattr("benchmarks.bootstraps.SETTLE", 0)
        monkeypatch.setattr("benchmarks.peers.OE_OCI", str(tmp_path / "oe-oci"))
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        layers = ("merged:directories:/", "all:packages:jq,")
        chosen = corpus.Corpus("some", "--feed", layers, lambda place: os.mkdir(f"{place}/input"), scripts="run:chroot")
        status = tmp_path / "var/lib/dpkg/status"
        status.parent.mkdir(parents=True)

        def one_round(package: str, state: str) -> list[str]:
            status.write_text(f"Package: jq\nEssential: yes\nStatus: {state}\n\nPackage: gone\nStatus: none\n")
            for name, text in (
                ("oe-oci", PROGRAM.format(build=package, layout=layout)),
                ("mmdebstrap", BOOTSTRAP.format(place=tmp_path)),
                ("unshare", '#!/bin/sh\nshift; exec "$@"\n'),
            ):
                (tmp_path / name).write_text(text)
                (tmp_path / name).chmod(0o755)
            found = bootstraps.Bootstraps(chosen, str(tmp_path), 60)
            found.round(1)
            assert found.facts["mmdebstrap"] == "1.3.5"
            return [f"{run.manager} {run.scenario}: {run.outcome}" for run in found.runs]

        return one_round

    @pytest.mark.parametrize(
        ("package", "state", "outcome"),
        [
            ("package=jq", "install ok installed", DONE),
            ("package=jp", "install ok installed", WRONG),
            ("package=jq", "install ok unpacked", WRONG),
            ('package=\'jq", "scriptsNotRun": ["postinst"], "a": "\'', "install ok installed", WRONG),
        ],
    )
    def test_both_install_the_same_packages(self, outcomes, package: str, state: str, outcome: str):
        found = outcomes(package, state)
        assert found == ["built in cold: done", f"mmdebstrap cold: {outcome}", "built in same: done"]


class TestFormats:
    MEMBERS = (("/usr/.a", True), ("/usr/.a/[ {1}%", False))

    def test_a_package_in_a_spec_file(self):
        fields = {
            "Package": "libc++1",
            "Version": "1:2.0-rc1-3",
            "Architecture": "all",
            "Pre-Depends": "dpkg (>= 1.2)",
            "Depends": "python3:any (<< 4), awk | mawk",
            "Provides": "c++ (= 1), libc",
        }
        lines = formats.part_of_spec(fields, self.MEMBERS, {"libc"}, {}).splitlines()
        assert lines[0] == "%package -n libc++1"
        assert lines[2:10] == [
            *("Version: 2.0.rc1", "Release: 3", "Epoch: 1", "BuildArch: noarch"),
            *("Requires: dpkg", "Requires: python3", "Requires: (awk or mawk)", "Provides: c++"),
        ]
        assert lines[-2:] == ['%dir "/usr/.a"', '"/usr/.a/[[] ?1?[%]"']

    def test_a_version_without_a_revision(self):
        fields = {"Package": "a", "Version": "12.4", "Architecture": "any"}
        lines = formats.part_of_spec(fields, [], (), {}).splitlines()
        assert lines[2:4] == ["Version: 12.4", "Release: 0"]

    def test_scripts_in_a_spec_file(self):
        fields = {"Package": "a", "Version": "12.4", "Architecture": "any"}
        found = formats.part_of_spec(fields, [], (), {"preinst": "true\n", "postinst": "echo a\n"})
        assert "\nRequires(pre,post): coreutils dash passwd\n" in found
        assert "\n%pre -n a\ntrue\n%post -n a\necho a\n%files -n a\n" in found

    def test_control_data_that_opkg_takes_as_it_is_meant(self):
        control = "Package: a\nDepends: b:any (>= 1), c | d\nBreaks: e (<< 2)\nProvides: f, g\nDescription: (h:any)\n"
        text = "Package: a\nDepends: b, c | d\nProvides: g\nDescription: (h:any)\n"
        assert formats.for_opkg(control, {"f"}) == text
        assert "Provides" not in formats.for_opkg(control, {"f", "g"})

    def test_the_same_packages_and_layers_in_each(self):
        found = corpus.corpora()
        for name in ("packages", "packages-few"):
            assert {found[f"{name}-{kind}"].layers for kind in ("deb", "ipk", "rpm")} == {found[name].layers}
            scripted = name.replace("packages", "scripts")
            assert {found[f"{scripted}-{kind}"].layers for kind in ("ipk", "rpm")} == {found[name].layers}


class TestScripts:
    @pytest.fixture
    def found(self) -> dict[str, dict[str, str]]:
        needs = {"dash": ["libc6"], "libc6": [], "passwd": ["libc6", "libpam"], "libpam": [], "coreutils": ["gone"]}
        return scripts.scripts_of({**needs, **{f"app{number}": ["libc6", "dash"] for number in range(9)}})

    def test_some_packages_have_them_but_none_that_they_need(self, found):
        assert [*found] == ["app0", "app3", "app6"]
        assert [*found["app0"]] == ["postinst", "preinst"]

    def test_they_write_below_the_image(self, found, tmp_path: Path):
        for each in found.values():
            measure(["sh", "-c", f"D={tmp_path}/image\n{each['postinst']}"], ENV, str(tmp_path / "said"), 60)
            assert (tmp_path / "said").read_text() == ""
        assert os.readlink(tmp_path / "image/etc/alternatives/app0") == "/usr/bin/app0"
        assert (tmp_path / "image/etc/ld.so.conf").read_text() == "/usr/lib/app3\n"
        assert (tmp_path / "image/var/lib/app6/state").read_text() == "configured\n"


class TestPeers:
    def test_umoci_unpacks_before_each_layer(self):
        fills = peers.fills_of_files("/rootfs", ["usr", "opt", "srv", "var"], "/bundle")
        calls = [shlex.split(line) for line in peers.umoci_flow(fills, "/out", "/bundle").splitlines()]
        names = [call[1] if call[0] == "umoci" else call[0] for call in calls]
        again = ["rm", "unpack", "rsync", "repack"]
        assert names[:18] == ["set", "init", "new", *again[1:], *again * 3]
        assert {*names[18:]} == {"config"}

    def test_packages_are_unpacked_layer_by_layer(self, tmp_path: Path):
        (tmp_path / "jq_1_all.deb").touch()
        fills = peers.fills_of_packages(str(tmp_path), {"tools": ["jq"]}, "/bundle")
        assert [line.split()[0] for line in fills["tools"]] == ["mkdir", "dpkg-deb", "rsync"]

    def test_umoci_inserts_each_folder(self):
        calls = [shlex.split(line) for line in peers.umoci_insert("/rootfs", ["a", "b"], "/out").splitlines()]
        assert [call[-2:] for call in calls if call[1] == "insert"] == [["/rootfs/a", "/a"], ["/rootfs/b", "/b"]]

    def test_buildah_commits_each_folder_on_the_one_before(self):
        script = shlex.split(peers.buildah("/rootfs", ["a", "b"], "/out", "/store"))[-1]
        calls = re.findall(r'/run" (\w+) .*?(\S+?)(?: >/dev/null|\)|)\n', script)
        first = [("from", "scratch"), ("copy", "/a"), ("commit", "$container")]
        second = [("from", "$image"), ("copy", "/b"), ("config", "$container"), ("commit", "$container")]
        assert calls == [*first, *second, ("push", "oci:/out:latest")]

    def test_buildah_has_a_layer_for_each_folder(self):
        script = shlex.split(peers.buildah_bud("/rootfs", ["a", "b"], "/out", "/store"))[-1]
        assert "\nFROM scratch\nCOPY a /a\nCOPY b /b\n" in script

    def test_every_corpus_has_its_layers(self):
        for each in corpus.corpora().values():
            expected = 2 if each.scripts == "run:chroot" else 16 if each.name.endswith("-16") else 4
            assert len(each.layers) == expected
            assert " ".join(each.layers) in peers.configuration(each.layers)


class TestOptions:
    def test_defaults(self):
        assert (parse([]).rounds, len(parse([]).corpora)) == (3, 13)
        assert parse(["--quick"]).rounds == 1
        assert parse(["--quick", "--rounds", "2", "--only", "packages"]).corpora == ["packages"]

    def test_unknown_corpus(self, capsys: pytest.CaptureFixture[str]):
        with pytest.raises(SystemExit):
            parse(["--only", "files-10k,none"])
        assert "no such corpus: none" in capsys.readouterr().err
