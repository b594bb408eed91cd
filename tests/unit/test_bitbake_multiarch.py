# SPDX-License-Identifier: MIT
"""What the class oci-multiarch makes of a recipe's variables, and which layouts it puts together."""

from __future__ import annotations

import json

import pytest
from support.datastore import DataStore
from support.layouts import FULL_NAME, REF_NAME, Files, base_layer, blob_name, image, index

from oe_oci.bitbake import sources
from oe_oci.bitbake_multiarch import TASK, merge_images, prepare
from oe_oci.errors import ConfigError, InputError

GO = {"aarch64": "arm64", "x86_64": "amd64", "armv7": "arm"}
MACHINES = {"container-aarch64": "qemuarm64", "container-x86-64": "qemux86-64", "arm7": "raspberrypi2"}


def recipe(top="/top", **values):
    """A recipe's datastore with what the class and bitbake.conf set."""
    d = DataStore(
        PN="app-multiarch",
        MACHINE="genericx86",
        TOPDIR=str(top),
        TMPDIR="${TOPDIR}/tmp",
        DEPLOY_DIR_IMAGE="${TMPDIR}/deploy/images/${MACHINE}",
        BB_CURRENT_MC="",
        BBMULTICONFIG="container-aarch64 container-x86-64 arm7",
        IMAGE_BASENAME="${OCI_MULTIARCH_RECIPE}",
        OCI_MULTIARCH_OUTPUT="${DEPLOY_DIR_IMAGE}/${PN}-multiarch-oci",
        OCI_MULTIARCH_RECIPE="app",
        OCI_MULTIARCH_PLATFORMS="aarch64 x86_64",
    )
    for arch, multiconfig in (("aarch64", "container-aarch64"), ("x86_64", "container-x86-64")):
        d.setVarFlag("OCI_MULTIARCH_MC", arch, multiconfig)
        d.setVarFlag("OCI_MULTIARCH_MACHINE", arch, MACHINES[multiconfig])
        d.setVarFlag("OCI_ARCH_TO_PLATFORM", arch, GO[arch])
    for name, value in values.items():
        d.setVar(name, value)
    return d


class Configurations:
    """The files in conf/multiconfig, in place of BitBake's parser."""

    def __init__(self, **settings):
        self.settings = settings

    def __call__(self, path, d, include):
        name = path.removeprefix("conf/multiconfig/").removesuffix(".conf")
        assert include
        assert d.getVar("BB_CURRENT_MC") == name
        d.setVar("MACHINE", MACHINES[name])
        d.setVar("TMPDIR", f"${{TOPDIR}}/tmp-{name}")
        for variable, value in self.settings.items():
            d.setVar(variable, value)


def deployed(folder, platform, tag="latest", **names):
    """An image's layout in a folder."""
    files = Files()
    platform = {"os": "linux", **platform}
    entry = image(files, [base_layer()], platform=platform, tag=tag, **{"name": "localhost/app:latest", **names})
    return index(files, [entry]).write(folder)


def images(top, name="app-latest-oci"):
    """What the two multiconfigs built."""
    deployed(top / "tmp-container-aarch64/deploy/images/qemuarm64" / name, {"architecture": "arm64"})
    deployed(top / "tmp-container-x86-64/deploy/images/qemux86-64" / name, {"architecture": "amd64"})


def result(top, d=None):
    path = top / "tmp/deploy/images/genericx86/app-multiarch-multiarch-oci"
    (entry,) = json.loads((path / "index.json").read_bytes())["manifests"]
    found = json.loads((path / blob_name(entry["digest"])).read_bytes())["manifests"]
    return entry["annotations"], [each["platform"]["architecture"] for each in found]


# ---- when the recipe is parsed


def test_the_task_waits_for_each_multiconfigs_image():
    d = recipe()
    assert prepare(d) == ""
    assert d.getVarFlag(TASK, "mcdepends").split() == [
        "mc::container-aarch64:app:do_image_complete",
        "mc::container-x86-64:app:do_image_complete",
    ]


@pytest.mark.parametrize(("current", "named"), [("default", ""), ("arm7", "arm7")])
def test_the_recipe_may_be_in_a_multiconfig_itself(current, named):
    d = recipe(BB_CURRENT_MC=current)
    prepare(d)
    assert d.getVarFlag(TASK, "mcdepends").split()[0] == f"mc:{named}:container-aarch64:app:do_image_complete"


def test_what_makes_the_task_run_again():
    d = recipe()
    prepare(d)
    names = d.getVarFlag(TASK, "vardeps").split()
    assert {"OCI_MULTIARCH_PLATFORMS", "OCI_IMAGE_TAG", "OCI_MULTIARCH_MC[x86_64]"} <= {*names}
    assert not [name for name in names if "DIR" in name]
    assert d.getVarFlag(TASK, "file-checksums").split() == [f"{path}:True" for path in sources()]


def test_a_multiconfig_that_is_not_enabled_skips_the_recipe():
    d = recipe(BBMULTICONFIG="container-aarch64")
    assert "OCI_MULTIARCH_MC[x86_64]: the multiconfig 'container-x86-64' is not in BBMULTICONFIG" in prepare(d)
    assert d.getVarFlag(TASK, "mcdepends") is None


@pytest.mark.parametrize("values", [{}, {"MCNAME": ""}])
def test_a_recipe_for_variants_alone_is_skipped(values):
    assert "${MCNAME}" in prepare(recipe(OCI_MULTIARCH_RECIPE="${MCNAME}", **values))


def test_a_variant_of_such_a_recipe_is_not_skipped():
    d = recipe(OCI_MULTIARCH_RECIPE="${MCNAME}", MCNAME="shop")
    assert prepare(d) == ""
    assert "container-aarch64:shop:do_image_complete" in d.getVarFlag(TASK, "mcdepends")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"OCI_MULTIARCH_RECIPE": ""}, "OCI_MULTIARCH_RECIPE: is not set"),
        ({"OCI_MULTIARCH_RECIPE": "${SHOP}", "MCNAME": ""}, "OCI_MULTIARCH_RECIPE: refers to something .*{SHOP}"),
        ({"OCI_MULTIARCH_PLATFORMS": " "}, "OCI_MULTIARCH_PLATFORMS: is not set\n  write one word for each"),
        ({"OCI_MULTIARCH_PLATFORMS": "aarch46"}, "no multiconfig is known for 'aarch46'\n  did you mean aarch64"),
        ({"OCI_MULTIARCH_PLATFORMS": "mips"}, r"known for 'mips'\n  set OCI_MULTIARCH_MC\[mips\]"),
    ],
)
def test_a_variable_that_is_wrong(values, message):
    with pytest.raises(ConfigError, match=message):
        prepare(recipe(**values))


def test_all_faults_are_told():
    with pytest.raises(ConfigError) as raised:
        prepare(recipe(OCI_MULTIARCH_RECIPE="", OCI_MULTIARCH_PLATFORMS="mips s390x"))
    assert len(raised.value.faults) == 3


# ---- the task


def test_images_lie_where_each_multiconfig_puts_them(tmp_path):
    images(tmp_path)
    done = merge_images(recipe(tmp_path), Configurations())
    assert done.startswith("localhost/app:latest for linux/amd64, linux/arm64: ")
    assert result(tmp_path) == (
        {REF_NAME: "latest", FULL_NAME: "localhost/app:latest"},
        ["amd64", "arm64"],
    )


@pytest.mark.parametrize("name", ["app-qemuarm64-latest-oci", "app-oci"])
def test_other_names_of_a_layout(tmp_path, name):
    deployed(tmp_path / "tmp-container-aarch64/deploy/images/qemuarm64" / name, {"architecture": "arm64"})
    merge_images(recipe(tmp_path, OCI_MULTIARCH_PLATFORMS="aarch64"), Configurations())
    assert result(tmp_path)[1] == ["arm64"]


def test_a_folder_that_only_the_multiconfig_knows(tmp_path):
    deployed(tmp_path / "elsewhere/app-latest-oci", {"architecture": "arm", "variant": "v7"})
    d = recipe(tmp_path, OCI_MULTIARCH_PLATFORMS="armv7")
    d.setVarFlag("OCI_MULTIARCH_MC", "armv7", "arm7")
    merge_images(d, Configurations(DEPLOY_DIR_IMAGE="${TOPDIR}/elsewhere"))
    assert result(tmp_path)[1] == ["arm"]
    assert d.getVar("MACHINE") == "genericx86"


def test_the_usual_folder_where_the_multiconfigs_is_not_known(tmp_path):
    images(tmp_path)
    merge_images(recipe(tmp_path), Configurations(TMPDIR="/set/again/by/the/distribution", MACHINE="unknown"))
    assert result(tmp_path)[1] == ["amd64", "arm64"]


def test_the_name_of_the_c_library_behind_the_folder(tmp_path):
    folder = "deploy/images/qemuarm64/app-latest-oci"
    deployed(tmp_path / "tmp-container-aarch64-glibc" / folder, {"architecture": "arm64"})
    deployed(tmp_path / "tmp-container-aarch64" / folder, {"architecture": "mips"})
    d = recipe(tmp_path, OCI_MULTIARCH_PLATFORMS="aarch64", TCLIBCAPPEND="-glibc")
    merge_images(d, Configurations())
    assert result(tmp_path)[1] == ["arm64"]


@pytest.mark.parametrize(("ending", "folder"), [("-glibc", "tmp-b-glibc"), (None, "tmp-b")])
def test_a_multiconfig_that_appends_to_the_folder(tmp_path, ending, folder):
    deployed(tmp_path / folder / "deploy/images/genericx86/app-latest-oci", {"architecture": "arm64"})
    d = recipe(tmp_path, OCI_MULTIARCH_PLATFORMS="aarch64")
    if ending:
        d.setVar("TCLIBCAPPEND", ending)
        d.setVar("TMPDIR", "${TOPDIR}/tmp${TCLIBCAPPEND}")
    merge_images(d, lambda _path, there, _include: there.setVar("TMPDIR", there.getVar("TMPDIR", False) + "-b"))
    found = tmp_path / f"tmp{ending or ''}/deploy/images/genericx86/app-multiarch-multiarch-oci"
    assert (found / "index.json").exists()


def test_the_tag_finds_the_images_and_names_the_whole(tmp_path):
    folder = tmp_path / "tmp-container-aarch64/deploy/images/qemuarm64/app-2.0-oci"
    deployed(folder, {"architecture": "arm64"}, "2.0", name="localhost/app:2.0")
    merge_images(recipe(tmp_path, OCI_MULTIARCH_PLATFORMS="aarch64", OCI_IMAGE_TAG="2.0"), Configurations())
    assert result(tmp_path)[0] == {REF_NAME: "2.0", FULL_NAME: "localhost/app:2.0"}


@pytest.mark.parametrize(
    ("values", "full"),
    [
        ({}, "example.com/shop:latest"),
        ({"OCI_IMAGE_NAME": "example.com/all/${IMAGE_BASENAME}"}, "example.com/all/app:latest"),
    ],
)
def test_the_full_name(tmp_path, values, full):
    folder = tmp_path / "tmp-container-aarch64/deploy/images/qemuarm64/app-latest-oci"
    deployed(folder, {"architecture": "arm64"}, name="example.com/shop:latest")
    merge_images(recipe(tmp_path, OCI_MULTIARCH_PLATFORMS="aarch64", **values), Configurations())
    assert result(tmp_path)[0][FULL_NAME] == full


def test_images_without_one_full_name(tmp_path):
    images(tmp_path)
    folder = tmp_path / "tmp-container-aarch64/deploy/images/qemuarm64/app-latest-oci"
    deployed(folder, {"architecture": "arm64"}, name="example.com/other:latest")
    merge_images(recipe(tmp_path), Configurations())
    assert result(tmp_path)[0][FULL_NAME] == "localhost/app:latest"


def test_a_short_name_of_the_images_own(tmp_path):
    images(tmp_path, "shop-latest-oci")
    merge_images(recipe(tmp_path, IMAGE_BASENAME="shop"), Configurations())
    assert result(tmp_path)[1] == ["amd64", "arm64"]


def test_an_image_that_is_not_there(tmp_path):
    with pytest.raises(InputError) as raised:
        merge_images(recipe(tmp_path), Configurations())
    folder = tmp_path / "tmp-container-aarch64/deploy/images/qemuarm64"
    assert str(raised.value) == (
        "OCI_MULTIARCH_RECIPE 'app' for aarch64 (multiconfig container-aarch64): "
        f"no app-latest-oci in {folder}\n  app must inherit image-oci, with 'oci' in IMAGE_FSTYPES"
    )


def test_an_image_with_another_tag(tmp_path):
    images(tmp_path, "app-2.0-oci")
    with pytest.raises(InputError, match=r"there is app-2\.0-oci: OCI_IMAGE_TAG must be the tag of the image"):
        merge_images(recipe(tmp_path), Configurations())


def test_an_image_that_is_damaged(tmp_path):
    images(tmp_path)
    (tmp_path / "tmp-container-x86-64/deploy/images/qemux86-64/app-latest-oci/index.json").write_text("{")
    with pytest.raises(InputError, match=r"for x86_64 \(multiconfig container-x86-64\): .*index.json: not JSON"):
        merge_images(recipe(tmp_path), Configurations())


@pytest.mark.parametrize("stated", [None, "amd64"], ids=["by the word", "by OCI_ARCH_TO_PLATFORM"])
def test_an_image_for_another_machine(tmp_path, stated):
    folder = tmp_path / "tmp-container-aarch64/deploy/images/qemuarm64/app-latest-oci"
    deployed(folder, {"architecture": "arm64"})
    d = recipe(tmp_path, OCI_MULTIARCH_PLATFORMS="x86_64" if stated is None else "pc")
    d.setVarFlag("OCI_MULTIARCH_MC", d.getVar("OCI_MULTIARCH_PLATFORMS"), "container-aarch64")
    if stated:
        d.setVarFlag("OCI_ARCH_TO_PLATFORM", "pc", stated)
    with pytest.raises(InputError, match="app-latest-oci is for linux/arm64, not for amd64\n  check MACHINE of the"):
        merge_images(d, Configurations())


@pytest.mark.parametrize("stated", ["arm", "arm/v7", "linux/arm/v7"])
def test_the_platform_as_it_may_be_stated(tmp_path, stated):
    folder = tmp_path / "tmp-arm7/deploy/images/raspberrypi2/app-latest-oci"
    deployed(folder, {"architecture": "arm", "variant": "v7"})
    d = recipe(tmp_path, OCI_MULTIARCH_PLATFORMS="pi")
    d.setVarFlag("OCI_MULTIARCH_MC", "pi", "arm7")
    d.setVarFlag("OCI_ARCH_TO_PLATFORM", "pi", stated)
    merge_images(d, Configurations())
    assert result(tmp_path)[1] == ["arm"]


def test_two_multiconfigs_for_one_platform(tmp_path):
    images(tmp_path)
    d = recipe(tmp_path, OCI_MULTIARCH_PLATFORMS="aarch64 arm64")
    d.setVarFlag("OCI_MULTIARCH_MC", "arm64", "container-aarch64")
    with pytest.raises(InputError, match="OCI_MULTIARCH_RECIPE 'app': two images are for linux/arm64"):
        merge_images(d, Configurations())


def test_a_tag_that_is_none(tmp_path):
    images(tmp_path)
    with pytest.raises(ConfigError, match="OCI_IMAGE_TAG: '-1' is not a tag"):
        merge_images(recipe(tmp_path, OCI_IMAGE_TAG="-1"), Configurations())
