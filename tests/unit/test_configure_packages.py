# SPDX-License-Identifier: MIT
"""Feeds, packages and accounts: what the variables make of them."""

from __future__ import annotations

import pytest
from support.configs import PACKAGES
from support.variables import FakeVariables

from oe_oci.architectures import ARCHITECTURES, debian
from oe_oci.config import Accounts, Config, DatabaseLayer, Group, PackageSettings, PackagesLayer, RestLayer, User
from oe_oci.configure import configure
from oe_oci.errors import ConfigError


def made(*feeds: str, **written: str) -> Config:
    return configure(FakeVariables({"OCI_LAYERS": "a:packages:x", **written}), folder="/project", feeds=feeds)


def packages(*feeds: str, **written: str) -> PackageSettings:
    return made(*feeds, **written).packages


def refused(*feeds: str, **written: str) -> str:
    with pytest.raises(ConfigError) as raised:
        made(*feeds, **written)
    return str(raised.value)


class TestFeeds:
    def test_of_the_command_line(self) -> None:
        assert packages("/one", "/two") == PACKAGES._replace(feeds=("/one", "/two"))

    def test_of_the_command_line_win(self) -> None:
        found = packages("/one", DEPLOY_DIR_IPK="ipk", DEPLOY_DIR_DEB="two folders")
        assert (found.feeds, found.kind) == (("/one",), None)

    def test_a_format_is_kept_for_feeds_of_the_command_line(self) -> None:
        assert packages("/one", IMAGE_PKGTYPE="deb").kind == "deb"

    @pytest.mark.parametrize("kind", ["ipk", "rpm", "deb"])
    def test_a_variable_tells_the_format(self, kind: str) -> None:
        found = packages(**{f"DEPLOY_DIR_{kind.upper()}": f"deploy/{kind}"})
        assert (found.feeds, found.kind) == ((f"/project/deploy/{kind}",), kind)

    def test_a_relative_folder_is_meant_from_topdir(self) -> None:
        assert packages(DEPLOY_DIR_IPK="ipk", TOPDIR="/build").feeds == ("/build/ipk",)

    def test_the_format_chooses_the_folder(self) -> None:
        both = {"DEPLOY_DIR_IPK": "/ipk", "DEPLOY_DIR_DEB": "/deb"}
        assert packages(**both, IMAGE_PKGTYPE="deb").feeds == ("/deb",)
        assert packages(**both, IMAGE_PKGTYPE="ipk").feeds == ("/ipk",)
        assert "IMAGE_PKGTYPE: is not set" in refused(**both)

    def test_an_unknown_format_is_one_fault_beside_both_folders(self) -> None:
        text = refused(DEPLOY_DIR_IPK="/ipk", DEPLOY_DIR_DEB="/deb", IMAGE_PKGTYPE="dep")
        assert text.count("/project/image.conf") == 1
        assert "'dep' is not known" in text

    def test_the_folder_of_the_other_format_is_no_feed(self) -> None:
        assert "give --feed DIR, or set DEPLOY_DIR_DEB" in refused(IMAGE_PKGTYPE="deb", DEPLOY_DIR_IPK="/ipk")

    def test_a_folder_that_can_not_be_read_is_not_said_to_be_missing(self) -> None:
        text = refused(DEPLOY_DIR_IPK="${DEPLOY}/ipk")
        assert "'${DEPLOY}' is not set" in text
        assert "there is none" not in text

    def test_without_layers_of_packages_feeds_do_not_matter(self) -> None:
        written = {"DEPLOY_DIR_IPK": "/ipk", "DEPLOY_DIR_RPM": "/rpm", "DEPLOY_DIR_DEB": "/deb"}
        assert packages(OCI_LAYERS="a:host:f:/f", **written) == PACKAGES
        rpm = {"IMAGE_PKGTYPE": "rpm", "OCI_PACKAGE_DATABASE": "status.d"}
        assert packages(OCI_LAYERS="a:host:f:/f", **rpm).feeds == ()


class TestLaidOut:
    LAYERS = "a:packages:x b:host:f:/f c:packages:y"

    def test_folders_are_counted_by_layers_of_packages(self) -> None:
        config = made(OCI_LAYERS=self.LAYERS, OCI_LAYER_2_ROOTFS="/two/", OCI_LAYER_1_ROOTFS="one", TOPDIR="/build")
        assert config.laid_out == ("/build/one", "/two")

    def test_no_feed_is_needed(self) -> None:
        assert made(OCI_LAYER_1_ROOTFS="/one").packages.feeds == ()

    def test_an_empty_value_is_none(self) -> None:
        assert made("/feed", OCI_LAYER_1_ROOTFS="", OCI_LAYER_7_ROOTFS=" ").laid_out == ()

    def test_a_fault_of_the_layers_is_no_other_one(self) -> None:
        text = refused(OCI_LAYERS="a:packages:x b:package:y", OCI_LAYER_1_ROOTFS="/one", OCI_LAYER_2_ROOTFS="/two")
        assert "OCI_LAYERS" in text
        assert "ROOTFS" not in text


def test_lists_of_packages() -> None:
    found = packages("/feed", NO_RECOMMENDATIONS="1", BAD_RECOMMENDATIONS=" a  b a", PACKAGE_EXCLUDE="g++")
    assert (found.recommends, found.bad_recommendations, found.exclude) == (False, ("b", "a"), ("g++",))


def test_the_kind_of_elf_files_that_stays() -> None:
    assert packages("/feed").prefer_color == 2
    assert packages("/feed", RPM_PREFER_ELF_ARCH="1").prefer_color == 1
    assert "RPM_PREFER_ELF_ARCH: 'elf32' is not known" in refused("/feed", RPM_PREFER_ELF_ARCH="elf32")


def test_architectures_of_packages() -> None:
    assert packages("/feed", PACKAGE_ARCHS="all any x86_64 core2-64 x86_64").archs == (
        *("all", "any", "core2-64", "x86_64"),
    )
    assert packages("/feed", PACKAGE_ARCHS="").archs is None


@pytest.mark.parametrize(
    ("target", "features", "native"),
    [
        ("i686", "", "i386"),
        ("x86_64", "", "amd64"),
        ("aarch64", "", "arm64"),
        ("arm", "arm armv7a", "armhf"),
        ("arm", "armv6", "armel"),
        ("arm", "armv5", "armel"),
        ("arm", "armv8a", "armhf"),
        ("mipsel", "", "mipsel"),
        ("mips64el", "", "mips64el"),
        ("powerpc64le", "", "ppc64el"),
        ("riscv64", "", "riscv64"),
        ("loongarch64", "", "loong64"),
    ],
)
def test_the_targets_architecture_in_debians_words(target: str, features: str, native: str) -> None:
    assert packages("/feed", TARGET_ARCH=target, TUNE_FEATURES=features).native == native


def test_every_architecture_has_a_word_of_debians() -> None:
    assert {debian(word) for word in ARCHITECTURES} == {
        *("i386", "amd64", "armhf", "arm64", "loong64", "mips", "mips64", "mips64el", "mipsel"),
        *("ppc64", "ppc64el", "riscv64", "s390x"),
    }


class TestDebiansArchitecture:
    def test_is_that_of_the_image(self) -> None:
        assert packages("/one", TARGET_ARCH="aarch64").native == "arm64"

    def test_is_as_bitbake_says_for_deb_alone(self) -> None:
        arm = {"TARGET_ARCH": "arm", "TUNE_FEATURES": "arm armv7a", "DPKG_ARCH": "armel"}
        assert packages("/one", IMAGE_PKGTYPE="deb", **arm).native == "armel"
        assert packages("/one", **arm).native == "armel"
        assert packages("/one", IMAGE_PKGTYPE="ipk", **arm).native == "armhf"

    def test_what_can_be_none_is_told(self) -> None:
        assert "DPKG_ARCH: 'x86_64' is not an architecture of deb packages" in refused("/one", DPKG_ARCH="x86_64")


class TestManager:
    @pytest.mark.parametrize(("word", "manager"), [("", "builtin"), ("auto", "builtin"), ("native", "native")])
    def test_who_installs(self, word: str, manager: str) -> None:
        assert made("/feed", **({"OCI_PACKAGE_MANAGER": word} if word else {})).packages.manager == manager

    def test_layers_that_are_cut_need_no_feed(self) -> None:
        config = made(OCI_PACKAGE_MANAGER="rootfs", OCI_ROOTFS_PACKAGES="owned.json", **REST)
        assert (config.packages.manager, config.packages.feeds) == ("rootfs", ())

    def test_layers_that_are_cut_need_the_layer_of_the_rest_and_what_packages_have(self) -> None:
        text = refused(OCI_PACKAGE_MANAGER="rootfs", OCI_ROOTFS_LAYER="", IMAGE_ROOTFS="/rootfs")
        assert 'OCI_ROOTFS_LAYER: is empty, and with OCI_PACKAGE_MANAGER = "rootfs" all that no package has' in text
        assert 'OCI_ROOTFS_PACKAGES: is not set, and with OCI_PACKAGE_MANAGER = "rootfs" it says' in text
        text = refused(OCI_PACKAGE_MANAGER="rootfs", OCI_PACKAGE_DATABASE="status.d", **REST)
        assert "OCI_PACKAGE_DATABASE: 'status.d' is a form of the database that no package manager writes" in text

    def test_a_form_of_the_database_matters_where_packages_are_installed(self) -> None:
        """BitBake may set both for all recipes."""
        settings = {"OCI_PACKAGE_MANAGER": "native", "OCI_PACKAGE_DATABASE": "status.d"}
        assert made(OCI_LAYERS="all:directories:/", IMAGE_ROOTFS="/rootfs", **settings).packages.manager == "native"


class TestWorkDir:
    def test_is_beside_the_outputs_where_it_is_not_set(self) -> None:
        assert made("/one").work_dir is None
        assert made("/one", OCI_WORK_DIR=" ").work_dir is None

    def test_a_relative_one_is_meant_from_topdir(self) -> None:
        assert made("/one", OCI_WORK_DIR="rootfs-work", TOPDIR="/build").work_dir == "/build/rootfs-work"


class TestDatabase:
    @pytest.mark.parametrize("word", ["keep", "status.d", "remove"])
    def test_in_the_layers(self, word: str) -> None:
        config = made("/feed", OCI_PACKAGE_DATABASE=word)
        assert config.packages.database == word
        assert [layer.kind for layer in config.layers] == ["packages"]

    def test_on_top(self) -> None:
        config = made("/feed", OCI_PACKAGE_DATABASE="top", OCI_LAYERS="a:packages:x b:host:f:/f")
        assert config.layers[0] == PackagesLayer("a", ("x",))
        assert config.layers[2] == DatabaseLayer("package-database", "database")

    def test_on_top_of_nothing(self) -> None:
        config = made(OCI_PACKAGE_DATABASE="top", OCI_LAYERS="a:host:f:/f")
        assert [layer.kind for layer in config.layers] == ["host"]

    def test_its_layers_name_is_free_without_it(self) -> None:
        assert made("/feed", OCI_LAYERS="package-database:packages:x").layers[0].name == "package-database"


REST = {"OCI_ROOTFS_LAYER": "rest", "IMAGE_ROOTFS": "/rootfs"}


class TestRestOfTheRootfs:
    def test_is_the_last_layer(self) -> None:
        config = made("/feed", OCI_LAYERS="a:packages:x b:host:f:/f", OCI_ROOTFS_PACKAGES="owned.json", **REST)
        assert config.layers[2:] == (RestLayer("rest", "/project/owned.json", "rootfs-rest"),)

    def test_is_below_the_database_on_top(self) -> None:
        config = made("/feed", OCI_PACKAGE_DATABASE="top", **REST)
        assert config.layers[1:] == (RestLayer("rest", None), DatabaseLayer())

    @pytest.mark.parametrize("layers", ["all:directories:/", "a:host:f:/f", ""])
    def test_without_packages_there_is_none(self, layers: str) -> None:
        config = made(OCI_LAYERS=layers, **REST)
        assert not [layer for layer in config.layers if isinstance(layer, RestLayer)]
        assert config.notes == ()

    def test_in_single_mode_there_is_none(self) -> None:
        config = made("/feed", OCI_LAYER_MODE="single", **REST)
        assert [layer.kind for layer in config.layers] == ["rootfs"]

    def test_empty_asks_for_none(self) -> None:
        assert len(made("/feed", OCI_ROOTFS_LAYER="", IMAGE_ROOTFS="/rootfs").layers) == 1


def accounts(text: str) -> Accounts:
    return made("/feed", OCI_IMAGE_ACCOUNTS=text).accounts


class TestAccounts:
    @pytest.mark.parametrize(
        ("word", "user"),
        [
            ("user:shop:500", User("shop", 500, "", "/nonexistent", "/usr/sbin/nologin")),
            ("user:shop:500:media", User("shop", 500, "media", "/nonexistent", "/usr/sbin/nologin")),
            ("user:shop:500:0050", User("shop", 500, "50", "/nonexistent", "/usr/sbin/nologin")),
            ("user:shop:500:shop", User("shop", 500, "", "/nonexistent", "/usr/sbin/nologin")),
            ("user:shop:500::/srv//shop/", User("shop", 500, "", "/srv/shop", "/usr/sbin/nologin")),
            ("user:shop:500:::/bin/sh", User("shop", 500, "", "/nonexistent", "/bin/sh")),
            ("'user:_s-1$:4294967294:0:/a b:/bin/sh'", User("_s-1$", 2**32 - 2, "0", "/a b", "/bin/sh")),
        ],
    )
    def test_a_user(self, word: str, user: User) -> None:
        assert accounts(word) == Accounts((user,))

    def test_groups(self) -> None:
        found = accounts("group:media:600:shop,www,shop group:empty:0600: group:other:0".replace("0600", "601"))
        assert found.groups == (Group("media", 600, ("shop", "www")), Group("empty", 601), Group("other", 0))

    def test_own_groups(self) -> None:
        found = accounts("user:a:1 user:b:2:a user:c:3 group:c:30")
        assert found.own_groups == (Group("a", 1),)
        assert found.groups == (Group("c", 30),)

    def test_a_user_and_a_group_may_share_name_and_number(self) -> None:
        assert accounts("user:a:1 group:a:1").groups == (Group("a", 1),)

    @pytest.mark.parametrize("name", ["a" * 33, "1a", "-a", "a.b", "A", "a$b", "ä", ""])
    def test_a_name_that_is_none(self, name: str) -> None:
        assert "OCI_IMAGE_ACCOUNTS" in refused("/feed", OCI_IMAGE_ACCOUNTS=f"user:{name}:1")
        assert "OCI_IMAGE_ACCOUNTS" in refused("/feed", OCI_IMAGE_ACCOUNTS=f"group:g:1:{name},x")

    @pytest.mark.parametrize("word", ["'user:a:1::/a\nb'", "'user:a:1::/a\tb'", "user:a:1::/a:/b:/c", "user:a:1:::sh"])
    def test_a_path_that_is_none(self, word: str) -> None:
        assert "OCI_IMAGE_ACCOUNTS" in refused("/feed", OCI_IMAGE_ACCOUNTS=word)

    def test_every_fault_is_gathered(self) -> None:
        text = refused("/feed", OCI_IMAGE_ACCOUNTS="user:A:x:1y:home:sh group:b:-1:C user:d:1 user:d:2 group:e:1")
        assert [line.partition(": account ")[2] for line in text.splitlines()[:-4:2]] == [
            *(
                f"'user:A:x:1y:home:sh': {fault}"
                for fault in (
                    "'A' is not a name of a user or group",
                    "'x' is not a user or group number",
                    "'1y' is not a user or group number",
                    "'home' is not an absolute path",
                    "'sh' is not an absolute path",
                )
            ),
            "'group:b:-1:C': '-1' is not a user or group number",
            "'group:b:-1:C': 'C' is not a name of a user or group",
        ]
        assert "the user 'd' is there twice" in text
        assert "the user 'd' would get a group of that name with the number 1, which is that of the group 'e'" in text
