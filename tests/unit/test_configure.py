# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.configs import PACKAGES
from support.variables import FEED, ROOTFS, FakeVariables

from oe_oci.bbconf import read_conf
from oe_oci.config import Accounts, AutoLabels, BaseRef, Compression, Config, Names, PathRule, RootfsLayer, RunConfig
from oe_oci.configure import command_line_defaults, configure
from oe_oci.errors import ConfigError
from oe_oci.oci.spec import Platform

if TYPE_CHECKING:
    from pathlib import Path

INHERITED = ["ENTRYPOINT", "ENV_VARS", "RUNTIME_UID", "WORKINGDIR", "STOPSIGNAL", "PORTS", "VOLUMES", "LABELS"]


def made(*, defaults: dict[str, str] | None = None, **written: str) -> Config:
    return configure(FakeVariables({**ROOTFS, **written}, defaults), folder="/project")


def refused(**written: str) -> str:
    with pytest.raises(ConfigError) as raised:
        made(**written)
    return str(raised.value)


def test_nothing_but_a_rootfs() -> None:
    assert made() == Config(
        names=Names("app", "app-latest", "latest", "localhost/app:latest"),
        platform=Platform("linux", "amd64"),
        layers=(RootfsLayer("rootfs"),),
        base=None,
        run=RunConfig(default_cmd=("/bin/sh",)),
        author="",
        annotations=(),
        auto_labels=AutoLabels("", "", "", None),
        labels_from="/project",
        keep_empty=False,
        host_owner=(0, 0),
        path_rules=(),
        packages=PACKAGES,
        accounts=Accounts(),
        compression=Compression("gzip", None, "auto"),
        archives=True,
        archive_compression="",
        epoch=None,
        rootfs="/rootfs",
        deploy_dir="/deploy",
        cache_dir="/cache",
    )


class TestNames:
    @pytest.mark.parametrize(
        ("tag", "link", "full"),
        [
            ("1.0", "app-1.0", "localhost/app:1.0"),
            ("shop:1.0", "app-shop_1.0", "localhost/shop:1.0"),
            ("team/shop", "app-team_shop", "team/shop:latest"),
            ("example.com:5000/shop:2", "app-example.com_5000_shop_2", "example.com:5000/shop:2"),
            ("example.com:5000/shop", "app-example.com_5000_shop", "example.com:5000/shop:latest"),
        ],
    )
    def test_tag(self, tag: str, link: str, full: str) -> None:
        assert made(OCI_IMAGE_TAG=tag).names == Names("app", link, tag, full)

    @pytest.mark.parametrize(
        ("written", "words"),
        [
            ({}, "latest-amd64-linux"),
            ({"OCI_IMAGE_TAG": "team/shop:2", "TARGET_ARCH": "aarch64"}, "team_shop_2-arm64-linux"),
            # The word that sloci-image was given is in the name, whatever the image has.
            ({"OCI_IMAGE_ARCH": "aarch64"}, "latest-aarch64-linux"),
            ({"OCI_IMAGE_ARCH": "arm", "OCI_IMAGE_SUBARCH": "v7"}, "latest-arm-v7-linux"),
        ],
    )
    def test_archives_of_sloci_image(self, written: dict[str, str], words: str) -> None:
        names = made(OCI_IMAGE_BACKEND="sloci-image", **written).names
        assert names.archives == (f"-oci-{words}.oci-image.tar", f"-oci-{words}.oci-dir.tar")

    def test_a_written_name(self) -> None:
        assert made(OCI_IMAGE_NAME="example.com:5000/a/b__c").names.full == "example.com:5000/a/b__c:latest"

    @pytest.mark.parametrize(
        ("basename", "full"),
        [
            ("My_App+1", "localhost/my_app-1:latest"),
            ("a._b", "localhost/a-b:latest"),
            ("-a.", "localhost/a:latest"),
            ("ä", "localhost/image:latest"),
        ],
    )
    def test_the_default_name_fits_a_repository(self, basename: str, full: str) -> None:
        names = made(IMAGE_BASENAME=basename).names
        assert names.full == full
        assert names.link == f"{basename}-latest"

    def test_the_outputs_stem(self) -> None:
        assert made(IMAGE_NAME="app-qemu-2026", IMAGE_NAME_SUFFIX=".rootfs").names.stem == "app-qemu-2026.rootfs"

    def test_a_full_name_as_tag_beside_a_name_is_noted(self) -> None:
        notes = made(OCI_IMAGE_TAG="a:1", OCI_IMAGE_NAME="b").notes
        assert notes == ("OCI_IMAGE_NAME: has no effect, because OCI_IMAGE_TAG is a full name",)


class TestPlatform:
    @pytest.mark.parametrize(
        ("target", "found"),
        [
            ("i586", "386"),
            ("i686", "386"),
            ("x86_64", "amd64"),
            ("aarch64", "arm64"),
            ("arm", "arm"),
            ("mips", "mips"),
            ("mipsel", "mipsle"),
            ("mips64", "mips64"),
            ("mips64el", "mips64le"),
            ("powerpc64", "ppc64"),
            ("powerpc64le", "ppc64le"),
            ("riscv64", "riscv64"),
            ("loongarch64", "loong64"),
        ],
    )
    def test_target(self, target: str, found: str) -> None:
        assert made(TARGET_ARCH=target).platform == Platform("linux", found)

    @pytest.mark.parametrize("target", ["riscv32", "powerpc", "armeb", "aarch64_be", "microblaze", ""])
    def test_a_target_go_does_not_know_needs_a_word(self, target: str) -> None:
        assert "OCI_IMAGE_ARCH" in refused(TARGET_ARCH=target)
        assert made(TARGET_ARCH=target, OCI_IMAGE_ARCH="riscv64").platform.architecture == "riscv64"

    @pytest.mark.parametrize(
        ("word", "found"),
        [
            ("amd64", "amd64"),
            ("x86-64", "amd64"),
            ("i386", "386"),
            ("arm64", "arm64"),
            ("armv7l", "arm"),
            ("386", "386"),
        ],
    )
    def test_a_written_word_becomes_gos(self, word: str, found: str) -> None:
        assert made(OCI_IMAGE_ARCH=word).platform.architecture == found

    @pytest.mark.parametrize(
        ("features", "variant"),
        [
            ("arm vfp cortexa8 neon armv7a", "v7"),
            ("armv6 thumb", "v6"),
            ("armv5 thumb dsp", "v5"),
            ("aarch64 armv8a crc", ""),
            ("", ""),
        ],
    )
    def test_variant_of_arm(self, features: str, variant: str) -> None:
        assert made(TARGET_ARCH="arm", TUNE_FEATURES=features).platform == Platform("linux", "arm", variant)

    def test_variant_of_others_is_none(self) -> None:
        assert made(TARGET_ARCH="aarch64", TUNE_FEATURES="armv7").platform.variant == ""
        assert made(TARGET_ARCH="arm", TUNE_FEATURES="armv7", OCI_IMAGE_ARCH="amd64").platform.variant == ""

    def test_a_written_variant_wins_also_if_empty(self) -> None:
        assert made(TARGET_ARCH="aarch64", OCI_IMAGE_SUBARCH="v8").platform.variant == "v8"
        assert made(TARGET_ARCH="arm", TUNE_FEATURES="armv7", OCI_IMAGE_SUBARCH="").platform.variant == ""

    def test_system(self) -> None:
        assert made(OCI_IMAGE_OS="freebsd").platform.os == "freebsd"


class TestLayers:
    def test_layers_make_several(self) -> None:
        config = made(**FEED, OCI_LAYERS="a:packages:x b:directories:/opt")
        assert [layer.name for layer in config.layers] == ["a", "b"]
        assert config.notes == ()

    def test_single_beside_layers_is_obeyed_with_a_note(self) -> None:
        config = made(OCI_LAYERS="a:nonsense", OCI_LAYER_MODE="single")
        assert config.layers == (RootfsLayer("rootfs"),)
        assert config.notes == ("OCI_LAYER_MODE: is 'single', so OCI_LAYERS has no effect",)

    def test_notes_of_the_grammar(self) -> None:
        notes = made(**FEED, OCI_LAYERS="a:packages:x,x").notes
        assert notes == ("OCI_LAYERS: entry 'a:packages:x,x': 'x' is there twice",)

    def test_packages_and_host_layers_need_no_rootfs(self) -> None:
        config = made(**FEED, IMAGE_ROOTFS="", OCI_LAYERS="a:packages:x b:host:f:/f")
        assert config.rootfs is None
        assert config.layers[1].copies[0].source == "/project/f"  # type: ignore[union-attr]

    def test_a_rootfs_is_meant_from_the_build_folder(self) -> None:
        assert made(IMAGE_ROOTFS="tree.tar").rootfs == "/project/tree.tar"
        assert made(IMAGE_ROOTFS="tree", TOPDIR="/build").rootfs == "/build/tree"
        assert made(IMAGE_ROOTFS="tree", TOPDIR="sub").rootfs == "/project/sub/tree"

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("", ("gzip", None)),
            ("gzip", ("gzip", None)),
            ("gzip:1", ("gzip", 1)),
            ("gzip:9", ("gzip", 9)),
            ("zstd", ("zstd", None)),
            ("zstd:19", ("zstd", 19)),
            ("none", ("none", None)),
        ],
    )
    def test_compression(self, text: str, found: tuple[str, int | None]) -> None:
        assert made(OCI_LAYER_COMPRESSION=text).compression == Compression(*found, "auto")

    @pytest.mark.parametrize("text", ["gzip:0", "gzip:10", "gzip:", "zstd:20", "zstd:0", "none:", "gzip:x", "gzip:٣"])
    def test_no_compression(self, text: str) -> None:
        assert "OCI_LAYER_COMPRESSION" in refused(OCI_LAYER_COMPRESSION=text)

    @pytest.mark.parametrize(
        ("algorithm", "good"),
        [("gzip", {"auto", "zlib-ng", "zlib"}), ("zstd", {"auto", "pyzstd", "zstd"}), ("none", {"auto"})],
    )
    def test_compressors(self, algorithm: str, good: set[str]) -> None:
        for word in ("auto", "zlib-ng", "zlib", "pyzstd", "zstd"):
            values = {"OCI_LAYER_COMPRESSION": algorithm, "OCI_LAYER_COMPRESSOR": word}
            if word in good:
                assert made(**values).compression.compressor == word
            else:
                assert "is not for" in refused(**values)

    def test_host_owner(self) -> None:
        assert made(OCI_HOST_OWNER="1000:4294967294").host_owner == (1000, 4294967294)
        assert made(OCI_HOST_OWNER="keep").host_owner is None

    def test_path_rules(self) -> None:
        rules = made(OCI_IMAGE_PATHS="/a//b:4755:0:1 '/with space:x:::5' /c:0:: /d::7: /e:remove").path_rules
        assert rules == (
            PathRule("/a/b", remove=False, mode=0o4755, uid=0, gid=1),
            PathRule("/with space:x", remove=False, mode=None, uid=None, gid=5),
            PathRule("/c", remove=False, mode=0, uid=None, gid=None),
            PathRule("/d", remove=False, mode=None, uid=7, gid=None),
            PathRule("/e", remove=True, mode=None, uid=None, gid=None),
        )

    @pytest.mark.parametrize("word", ["/a:17777::", "/a:8::", "/a:x::", "/a::-1:", "a:0::", "/a/../b:0::", "a:remove"])
    def test_no_path_rule(self, word: str) -> None:
        assert f"rule '{word}': " in refused(OCI_IMAGE_PATHS=word)


class TestBase:
    def test_none(self) -> None:
        assert made(OCI_BASE_IMAGE=" ").base is None

    @pytest.mark.parametrize(
        ("written", "path"),
        [("/srv/base", "/srv/base"), ("./base.tar", "/project/base.tar"), ("../base", "/project/../base")],
    )
    def test_path(self, written: str, path: str) -> None:
        assert made(OCI_BASE_IMAGE=written, OCI_BASE_IMAGE_TAG="1.0").base == BaseRef(path, "1.0", written)

    def test_recipe(self) -> None:
        values = {"OCI_BASE_IMAGE": "container-base", "DEPLOY_DIR_IMAGE": "/images"}
        assert made(**values).base == BaseRef("/images/container-base-latest-oci", "latest", "container-base")
        assert made(**values, OCI_BASE_IMAGE_TAG="a/b:1").base == BaseRef(
            "/images/container-base-a_b_1-oci", "a/b:1", "container-base"
        )

    @pytest.mark.parametrize(
        "written",
        [
            "docker.io/library/alpine:3.19",
            "docker://docker.io/library/alpine",
            "library/alpine",
            "alpine.io",
            "localhost:5000/x",
            "localhost/x:1",
        ],
    )
    def test_remote(self, written: str) -> None:
        text = refused(OCI_BASE_IMAGE=written)
        bare = written.removeprefix("docker://")
        assert f"'{written}' is a remote image" in text
        assert "inherit container-bundle" in text
        assert f'CONTAINER_BUNDLES = "{bare}"' in text
        assert f"skopeo inspect --format '{{{{.Digest}}}}' docker://{bare}\n" in text
        assert f"skopeo --override-arch amd64 copy docker://{bare} oci:" in text

    def test_a_tag_and_a_digest(self) -> None:
        text = refused(OCI_BASE_IMAGE="quay.io/a/b:1@sha256:00ff")
        assert 'CONTAINER_BUNDLES = "quay.io/a/b:1"\n' in text
        assert 'CONTAINER_DIGESTS[quay.io_a_b_1] = "sha256:00ff"\n' in text
        assert "copy docker://quay.io/a/b@sha256:00ff oci:b:1\n" in text
        assert "skopeo inspect" not in text

    @pytest.mark.parametrize("written", ["deploy/Base", "https://example.com/x", "a/b c", "x.y z"])
    def test_neither_path_nor_image(self, written: str) -> None:
        assert "is neither a path nor the name of an image" in refused(OCI_BASE_IMAGE=written)


class TestRun:
    def test_everything(self) -> None:
        assert made(
            OCI_IMAGE_ENTRYPOINT="/bin/tini -- 'a b'",
            OCI_IMAGE_ENTRYPOINT_ARGS='--listen "it\'s"',
            OCI_IMAGE_ENV_VARS="A=1 B='x y' C= D=a=b",
            OCI_IMAGE_RUNTIME_UID="1000:users",
            OCI_IMAGE_WORKINGDIR="/srv/my app",
            OCI_IMAGE_STOPSIGNAL="SIGRTMIN+3",
            OCI_IMAGE_PORTS="8080 53/UDP 8000-8002/tcp 8001 53",
            OCI_IMAGE_VOLUMES="/data '/b c' /data",
            OCI_IMAGE_LABELS="vendor='Example GmbH' empty=",
        ).run == RunConfig(
            entrypoint=("/bin/tini", "--", "a b"),
            cmd=("--listen", "it's"),
            env=(("A", "1"), ("B", "x y"), ("C", ""), ("D", "a=b")),
            user="1000:users",
            workdir="/srv/my app",
            stop_signal="SIGRTMIN+3",
            ports=("53/tcp", "53/udp", "8000/tcp", "8001/tcp", "8002/tcp", "8080/tcp"),
            volumes=("/data", "/b c"),
            labels=(("vendor", "Example GmbH"), ("empty", "")),
            default_cmd=("/bin/sh",),
        )

    def test_none_clears(self) -> None:
        names = ["CMD", "ANNOTATIONS", *INHERITED]
        config = made(**{f"OCI_IMAGE_{name}": " none " for name in names})
        assert config.run == RunConfig((), (), (), "", "", "", (), (), (), ())
        assert config.annotations == ()

    def test_empty_inherits(self) -> None:
        names = ["ENTRYPOINT_ARGS", *INHERITED]
        assert made(**{f"OCI_IMAGE_{name}": "  " for name in names}).run == RunConfig(default_cmd=("/bin/sh",))

    def test_the_default_command_is_no_written_one(self) -> None:
        run = made(defaults={"OCI_IMAGE_CMD": "/bin/sh"}).run
        assert (run.cmd, run.default_cmd) == (None, ("/bin/sh",))
        run = made(OCI_IMAGE_CMD="/bin/sh").run
        assert (run.cmd, run.default_cmd) == (("/bin/sh",), ())
        run = made(OCI_IMAGE_CMD="").run
        assert (run.cmd, run.default_cmd) == (None, ())

    def test_none_as_a_word_can_be_quoted(self) -> None:
        assert made(OCI_IMAGE_CMD="'none'").run.cmd == ("none",)

    def test_arguments_win_over_the_command_with_a_note(self) -> None:
        config = made(OCI_IMAGE_CMD="a", OCI_IMAGE_ENTRYPOINT_ARGS="b")
        assert config.run.cmd == ("b",)
        assert config.notes == ("OCI_IMAGE_CMD: has no effect, because OCI_IMAGE_ENTRYPOINT_ARGS is set",)

    def test_the_last_of_two_holds_with_a_note(self) -> None:
        config = made(OCI_IMAGE_ENV_VARS="A=1 B=2 A=3")
        assert config.run.env == (("A", "3"), ("B", "2"))
        assert config.notes == ("OCI_IMAGE_ENV_VARS: 'A' is there twice; the last one holds",)

    def test_what_nothing_sets_stays_in_words_with_a_note(self) -> None:
        config = made(OCI_IMAGE_CMD="sh -c 'echo ${HOME} $HOME'")
        assert config.run.cmd == ("sh", "-c", "echo ${HOME} $HOME")
        assert config.notes == ("OCI_IMAGE_CMD: '${HOME}' is not set, and goes into the image as it is written",)

    @pytest.mark.parametrize("word", ["SIGTERM", "SIGRTMAX-30", "1", "64"])
    def test_signal(self, word: str) -> None:
        assert made(OCI_IMAGE_STOPSIGNAL=word).run.stop_signal == word

    @pytest.mark.parametrize("word", ["0", "TERM", "SIGNONE", "SIGRTMIN+31", "sigterm", "1.5"])
    def test_no_signal(self, word: str) -> None:
        assert "is not a signal" in refused(OCI_IMAGE_STOPSIGNAL=word)

    @pytest.mark.parametrize("word", ["0", "65536", "80/", "80/icmp", "80-", "-80", "80:80", "2-1", "8080/tcp/udp"])
    def test_no_port(self, word: str) -> None:
        assert f"OCI_IMAGE_PORTS: '{word}'" in refused(OCI_IMAGE_PORTS=word)

    def test_annotations(self) -> None:
        assert made(OCI_IMAGE_ANNOTATIONS="a.b='c d' e=f").annotations == (("a.b", "c d"), ("e", "f"))


class TestLabels:
    def test_author(self) -> None:
        assert made(OCI_IMAGE_AUTHOR="A", OCI_IMAGE_AUTHOR_EMAIL="a@example.com").author == "a@example.com"
        assert made(OCI_IMAGE_AUTHOR="A", OCI_IMAGE_AUTHOR_EMAIL="").author == "A"

    def test_given(self) -> None:
        labels = made(
            OCI_IMAGE_REVISION="abc", OCI_IMAGE_BRANCH="none", OCI_IMAGE_BUILD_DATE="2026-11-02T09:30:00Z", PV="2.4.1"
        ).auto_labels
        assert labels == AutoLabels("abc", None, "2026-11-02T09:30:00Z", "2.4.1")

    @pytest.mark.parametrize("word", ["0", "no", "False", "OFF", ""])
    def test_off(self, word: str) -> None:
        config = made(OCI_IMAGE_AUTO_LABELS=word, OCI_IMAGE_REVISION="abc", PV="2")
        assert config.auto_labels == AutoLabels(None, None, None, None)

    @pytest.mark.parametrize("version", ["", "1.0", "git", "1.0+git"])
    def test_a_version_that_means_nothing(self, version: str) -> None:
        assert made(PV=version).auto_labels.version is None

    @pytest.mark.parametrize(
        ("text", "date"),
        [
            ("now", "now"),
            ("none", None),
            ("", ""),
            ("2026-01-31T23:59:59.25+00:00", "2026-01-31T23:59:59.25+00:00"),
        ],
    )
    def test_date(self, text: str, date: str | None) -> None:
        assert made(OCI_IMAGE_BUILD_DATE=text).auto_labels.date == date

    @pytest.mark.parametrize(
        "text", ["today", "2026-01-31T23:59:59+01:00", "2026-01-31T24:00:00Z", "2026-01-31 10:00Z"]
    )
    def test_no_date(self, text: str) -> None:
        assert "is not a date and time in UTC" in refused(OCI_IMAGE_BUILD_DATE=text)


class TestOutputs:
    @pytest.mark.parametrize("word", ["0", "no", "false", "False", "off", ""])
    def test_no_archives(self, word: str) -> None:
        assert not made(OCI_IMAGE_TAR_OUTPUT=word).archives

    @pytest.mark.parametrize("word", ["1", "true", "yes", "oci-archive"])
    def test_archives(self, word: str) -> None:
        assert made(OCI_IMAGE_TAR_OUTPUT=word).archives

    def test_compression(self) -> None:
        assert made(OCI_IMAGE_TAR_COMPRESSION="zst").archive_compression == "zst"

    def test_epoch(self) -> None:
        assert made(SOURCE_DATE_EPOCH="0").epoch == 0
        assert made(SOURCE_DATE_EPOCH="7", REPRODUCIBLE_TIMESTAMP_ROOTFS="5").epoch == 5
        assert made(SOURCE_DATE_EPOCH="7", REPRODUCIBLE_TIMESTAMP_ROOTFS="").epoch == 7
        assert "is not a time" in refused(SOURCE_DATE_EPOCH="253402300800")

    def test_keep_empty(self) -> None:
        assert made(OCI_LAYER_KEEP_EMPTY="1").keep_empty

    def test_no_folder(self) -> None:
        assert refused(IMGDEPLOYDIR="").startswith("/project/image.conf:2: IMGDEPLOYDIR: is not set")

    def test_sloci_image_makes_one_layer(self) -> None:
        assert made(OCI_IMAGE_BACKEND="sloci-image").layers == (RootfsLayer("rootfs"),)


class TestFaults:
    @pytest.mark.parametrize("name", ["OCI_IMAGE_TAG", "OCI_LAYERS", "OCI_IMAGE_CMD", "IMAGE_ROOTFS", "PV"])
    def test_nul(self, name: str) -> None:
        assert refused(**{name: "a\0b"}).endswith(f": {name}: holds a NUL character")

    @pytest.mark.parametrize("name", ["OCI_IMAGE_TAG", "OCI_IMAGE_LABELS", "OCI_IMAGE_ENTRYPOINT", "OCI_IMAGE_AUTHOR"])
    def test_bytes_that_are_no_text(self, name: str) -> None:
        assert f": {name}: holds bytes that are not UTF-8\n" in refused(**{name: "a\udcff"})

    def test_paths_may_be_any_bytes(self) -> None:
        assert made(IMAGE_ROOTFS="/a\udcff", OCI_LAYERS="a:files:/b\udcff").rootfs == "/a\udcff"

    def test_a_helper_that_is_used_is_known(self) -> None:
        assert made(OCI_MY_PORT="80", MY_PORTS="${OCI_MY_PORT}/tcp").run.ports is None

    def test_a_source_that_can_not_resolve_is_one_fault_among_others(self) -> None:
        class Broken(FakeVariables):
            def get(self, name: str) -> str | None:
                if name == "OCI_LAYERS":
                    raise ConfigError([("image.conf:1: OCI_LAYERS", "refers to itself", "")])  # type: ignore[list-item]
                return super().get(name)

        with pytest.raises(ConfigError) as raised:
            configure(Broken({"OCI_LAYERS": "", "OCI_IMAGE_TAG": ""}), folder="/project")
        assert [fault[1] for fault in raised.value.faults] == ["refers to itself", "is empty"]

    def test_odd_characters_are_shown_on_one_line(self) -> None:
        assert "'a\\nb\\x1b'" in refused(OCI_IMAGE_RUNTIME_UID="a\nb\x1b")


def conf(folder: Path, text: str, *settings: str, machine: str = "x86_64", epoch: str = "") -> Config:
    path = folder / "image.conf"
    path.write_text(text, encoding="utf-8")
    defaults = command_line_defaults(str(path), machine, epoch, "/home/user/.cache/oe-oci")
    return configure(read_conf(str(path), defaults=defaults, settings=settings), folder=str(folder))


class TestCommandLine:
    def test_defaults(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        defaults = command_line_defaults("conf/shop.v2.conf", "aarch64", "", "/home/user/.cache/oe-oci")
        assert defaults["IMAGE_BASENAME"] == "shop.v2"
        assert defaults["IMAGE_NAME"] == "${IMAGE_BASENAME}"
        assert defaults["TOPDIR"] == f"{tmp_path}/conf"
        assert defaults["IMGDEPLOYDIR"] == defaults["DEPLOY_DIR_IMAGE"] == f"{tmp_path}/deploy"
        assert defaults["TARGET_ARCH"] == "aarch64"
        assert defaults["OCI_IMAGE_TAG"] == "latest"
        assert not {"OCI_LAYER_MODE", "OCI_IMAGE_ARCH", "PV", "TUNE_FEATURES", "SOURCE_DATE_EPOCH"} & set(defaults)

    @pytest.mark.parametrize(
        ("machine", "platform"),
        [
            ("x86_64", "linux/amd64"),
            ("i686", "linux/386"),
            ("aarch64", "linux/arm64"),
            ("arm64", "linux/arm64"),
            ("armv7l", "linux/arm/v7"),
            ("armv6l", "linux/arm/v6"),
            ("armv5tel", "linux/arm/v5"),
            ("armv8l", "linux/arm"),
            ("ppc64le", "linux/ppc64le"),
            ("riscv64", "linux/riscv64"),
            ("s390x", "linux/s390x"),
            ("loongarch64", "linux/loong64"),
            ("mips64", "linux/mips64"),
        ],
    )
    def test_machine(self, tmp_path: Path, machine: str, platform: str) -> None:
        assert str(conf(tmp_path, "", "IMAGE_ROOTFS=/tree", machine=machine).platform) == platform

    def test_the_drawings_example(self, tmp_path: Path) -> None:
        text = r"""
SUMMARY = "Web shop front end"
PV = "2.4.1"
IMAGE_PKGTYPE = "ipk"
OCI_BASE_IMAGE = "../base/deploy/base-latest-oci"
OCI_LAYERS = "\
    runtime:packages:python3-core,libstdc++6 \
    app:packages:shop \
    config:directories:/etc/shop \
    certs:host:/etc/ssl/company-ca.crt:/etc/ssl/certs/ \
"
OCI_IMAGE_CMD = "/usr/bin/shop --listen 0.0.0.0"
OCI_IMAGE_PORTS = "8080/tcp"
OCI_IMAGE_LABELS = "vendor='Example GmbH'"
"""
        config = conf(tmp_path, text, "IMAGE_ROOTFS=/tree", "IMGDEPLOYDIR=/out", "DEPLOY_DIR_IPK=/feed")
        assert config.names == Names("image", "image-latest", "latest", "localhost/image:latest")
        assert [layer.kind for layer in config.layers] == ["packages", "packages", "directories", "host"]
        assert config.base == BaseRef(
            f"{tmp_path}/../base/deploy/base-latest-oci", "latest", "../base/deploy/base-latest-oci"
        )
        assert config.run.cmd == ("/usr/bin/shop", "--listen", "0.0.0.0")
        assert config.run.labels == (("vendor", "Example GmbH"),)
        assert config.auto_labels.version == "2.4.1"
        assert config.deploy_dir == "/out"
        assert config.notes == ()

    def test_paths_are_meant_from_the_file_that_sets_them(self, tmp_path: Path) -> None:
        common = tmp_path / "common"
        common.mkdir()
        (common / "base.inc").write_text('OCI_BASE_IMAGE = "./base"\nOCI_LAYERS = "a:host:f:/f"\n')
        config = conf(tmp_path, "require common/base.inc\n")
        assert config.base == BaseRef(f"{common}/base", "latest", "./base")
        assert config.layers[0].copies[0].source == f"{common}/f"  # type: ignore[union-attr]

    def test_a_path_of_the_command_line_is_meant_from_the_current_folder(self, tmp_path: Path) -> None:
        config = conf(tmp_path, "", "OCI_BASE_IMAGE=./base", "IMAGE_ROOTFS=/tree")
        assert config.base == BaseRef(f"{os.getcwd()}/base", "latest", "./base")

    def test_an_append_to_the_default_command_is_written(self, tmp_path: Path) -> None:
        run = conf(tmp_path, 'OCI_IMAGE_CMD:append = " -l"\n', "IMAGE_ROOTFS=/tree").run
        assert (run.cmd, run.default_cmd) == (("/bin/sh", "-l"), ())

    def test_a_name_that_refers_to_the_short_name(self, tmp_path: Path) -> None:
        names = conf(tmp_path, 'OCI_IMAGE_NAME = "example.com/${IMAGE_BASENAME}"\n', "IMAGE_ROOTFS=/tree").names
        assert names.full == "example.com/image:latest"
